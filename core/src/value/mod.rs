//! Values: what a key can hold, as commands read it, and the part of it that lives on the heap.
//!
//! Each type has its file; encodings such as the listpack have theirs.

pub(crate) mod hash;
mod kind;
pub(crate) mod listpack;

pub(crate) mod string;

use crate::error::{Error, Result};
use hash::Hash;

pub use hash::HashRef;
pub(crate) use kind::{Kind, MAX_IN_ARENA, NewValue};

pub use string::Text;

/// A value being read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A string that is a 64-bit integer.
    Int(i64),
    /// Any other string.
    Str(&'a [u8]),
    /// A hash.
    Hash(HashRef<'a>),
}

impl<'a> Value<'a> {
    /// The name that TYPE replies.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Int(_) | Value::Str(_) => "string",
            Value::Hash(_) => "hash",
        }
    }

    /// The text of a string.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    #[inline]
    pub fn text(&self) -> Result<Text<'a>> {
        match *self {
            Value::Int(number) => Ok(Text::number(number)),
            Value::Str(bytes) => Ok(Text::Bytes(bytes)),
            Value::Hash(_) => Err(Error::wrong_type()),
        }
    }

    /// The hash.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn hash(&self) -> Result<HashRef<'a>> {
        match *self {
            Value::Hash(hash) => Ok(hash),
            _ => Err(Error::wrong_type()),
        }
    }
}

/// A value that its entry owns on the shard's heap.
#[derive(Clone, Debug)]
pub(crate) enum HeapValue {
    /// A string too large for the arena, or one that grows.
    Str(Vec<u8>),
    /// A hash that outgrew the listpack.
    Hash(Box<Hash>),
}

impl HeapValue {
    /// Bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            HeapValue::Str(bytes) => bytes.capacity(),
            HeapValue::Hash(hash) => hash.bytes(),
        }
    }

    /// Number of allocations it consists of, roughly: what dropping it costs.
    pub(crate) fn elements(&self) -> usize {
        match self {
            HeapValue::Str(_) => 1,
            HeapValue::Hash(hash) => hash.len(),
        }
    }

    /// The hash, to change it.
    pub(crate) fn as_hash_mut(&mut self) -> Option<&mut Hash> {
        match self {
            HeapValue::Hash(hash) => Some(hash),
            HeapValue::Str(_) => None,
        }
    }

    pub(crate) fn as_value(&self) -> Value<'_> {
        match self {
            HeapValue::Str(bytes) => Value::Str(bytes),
            HeapValue::Hash(hash) => Value::Hash(HashRef::table(hash)),
        }
    }
}

impl Default for HeapValue {
    fn default() -> Self {
        HeapValue::Str(Vec::new())
    }
}
