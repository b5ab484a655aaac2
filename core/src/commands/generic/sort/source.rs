//! What can be sorted.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::value::listpack::Element;
use crate::value::{SetRef, Value};

/// A value whose elements are sorted. A key that does not exist has none.
pub(super) enum Source<'d> {
    Nothing,
    Set(SetRef<'d>),
}

impl<'d> Source<'d> {
    /// # Errors
    /// WRONGTYPE for types that are not sorted.
    pub(super) fn of(value: Option<Value<'d>>) -> Result<Self> {
        match value {
            None => Ok(Source::Nothing),
            Some(Value::Set(set)) => Ok(Source::Set(set)),
            Some(_) => Err(Error::wrong_type()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::Set(set) => set.len(),
        }
    }

    /// Whether its elements have an order of their own, which they keep where nothing is to be sorted.
    pub(super) fn has_order(&self) -> bool {
        match self {
            Source::Nothing => true,
            Source::Set(_) => false,
        }
    }

    /// Visits the elements until `visit` breaks; those with an order of their own backwards, if that is asked for.
    pub(super) fn each_until(&self, _is_backwards: bool, visit: impl FnMut(Element<'d>) -> ControlFlow<()>) {
        match self {
            Source::Nothing => {}
            Source::Set(set) => {
                let _ = set.each_until(visit);
            }
        }
    }
}
