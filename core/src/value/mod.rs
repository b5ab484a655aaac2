//! Values: what a key can hold, as commands read it, and those that stand in no entry, or are too large for one.
//!
//! Each type has its file; encodings such as the listpack have theirs.

pub(crate) mod hash;
mod kind;
pub(crate) mod listpack;
pub(crate) mod long;

pub(crate) mod string;

use crate::error::{Error, Result};
use hash::Hash;
use long::LongString;

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

/// A value that has memory of its own and stands in no entry, or not at the moment: dropping it gives the memory back.
#[derive(Debug)]
pub(crate) enum Owned {
    /// A string too large for an entry, or one that grows.
    Str(LongString),
    /// A hash that outgrew the listpack.
    Hash(Hash),
}

impl Owned {
    /// What the entry of such a value is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Owned::Str(_) => Kind::Long,
            Owned::Hash(_) => Kind::HashTable,
        }
    }

    /// Elements, roughly what dropping it costs.
    pub(crate) fn elements(&self) -> usize {
        match self {
            Owned::Str(_) => 1,
            Owned::Hash(hash) => hash.len(),
        }
    }

    /// A copy that shares its memory.
    pub(crate) fn share(&self) -> Self {
        match self {
            Owned::Str(string) => Owned::Str(string.share()),
            Owned::Hash(hash) => Owned::Hash(hash.share()),
        }
    }

    /// Whether an entry that holds the root owns the memory, which then outlives this.
    pub(crate) fn set_left(&mut self, has_left: bool) {
        match self {
            Owned::Str(string) => string.set_left(has_left),
            Owned::Hash(hash) => hash.set_left(has_left),
        }
    }

    /// Counts what it takes as gone, though it goes when it is dropped.
    pub(crate) fn depart(&mut self) {
        match self {
            Owned::Str(string) => string.depart(),
            Owned::Hash(hash) => hash.depart(),
        }
    }
}
