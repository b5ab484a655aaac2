//! Streams: reading one. How entries are stored is told in [`packed`], [`large`] and [`node`], reading them is [`reading`]'s, groups in [`groups`], how either is changed in [`editing`].

pub(crate) mod editing;
pub(crate) mod groups;
mod id;
mod large;
mod node;
pub(crate) mod packed;
mod radix;
mod reading;

pub(crate) use editing::Entries;
pub(crate) use groups::{GroupId, UNKNOWN};
pub(crate) use id::Id;
pub(crate) use large::{NodeLimits, Stream, Trim};
pub(crate) use node::{Entry, Node};
pub use reading::StreamRef;

use super::Value;
use crate::error::{Error, Result};

impl<'a> Value<'a> {
    /// The stream.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn stream(&self) -> Result<StreamRef<'a>> {
        match *self {
            Value::Stream(stream) => Ok(stream),
            _ => Err(Error::wrong_type()),
        }
    }
}
