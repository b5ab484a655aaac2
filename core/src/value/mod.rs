//! Values: what a key can hold, as commands read it, and those that stand in no entry, or are too large for one.
//!
//! Each type has its file, encodings such as the listpack have theirs, and [`kind`] has a row for each way in which a value is stored.

pub(crate) mod editing;
pub(crate) mod hash;
pub(crate) mod hyperloglog;
pub(crate) mod intset;
mod kind;
pub(crate) mod list;
pub(crate) mod listpack;
pub(crate) mod long;
pub(crate) mod patch;
mod rooted;
pub(crate) mod set;
pub(crate) mod stream;
pub(crate) mod string;
pub(crate) mod zset;

use crate::error::{Error, Result};

pub use hash::HashRef;
pub use kind::Value;
pub(crate) use kind::{Kind, MAX_IN_ARENA, NewValue, Owned, Type};
pub use list::ListRef;
pub(crate) use rooted::{Root, Rooted};
pub use set::SetRef;
pub use stream::StreamRef;
pub use string::Text;
pub use zset::ZSetRef;

impl<'a> Value<'a> {
    /// The name that TYPE replies.
    pub fn type_name(&self) -> &'static str {
        self.data_type().name()
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
            _ => Err(Error::wrong_type()),
        }
    }
}
