//! What can be sorted.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::value::listpack::Element;
use crate::value::{ListRef, SetRef, Value, ZSetRef};

/// A value whose elements are sorted. A key that does not exist has none.
pub(super) enum Source<'d> {
    Nothing,
    List(ListRef<'d>),
    Set(SetRef<'d>),
    ZSet(ZSetRef<'d>),
}

impl<'d> Source<'d> {
    /// # Errors
    /// WRONGTYPE for types that are not sorted.
    pub(super) fn of(value: Option<Value<'d>>) -> Result<Self> {
        match value {
            None => Ok(Source::Nothing),
            Some(Value::List(list)) => Ok(Source::List(list)),
            Some(Value::Set(set)) => Ok(Source::Set(set)),
            Some(Value::ZSet(zset)) => Ok(Source::ZSet(zset)),
            Some(_) => Err(Error::wrong_type()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::List(list) => list.len(),
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }

    /// Whether it is a sorted set in a listpack, which the server unpacks to sort it.
    pub(super) fn is_packed_zset(&self) -> bool {
        matches!(self, Source::ZSet(zset) if zset.is_packed())
    }

    /// Whether its elements have an order of their own, which they keep where nothing is to be sorted.
    pub(super) fn has_order(&self) -> bool {
        match self {
            Source::Nothing | Source::List(_) | Source::ZSet(_) => true,
            Source::Set(_) => false,
        }
    }

    /// Whether its elements are visited in an order that follows from what was done to it, as that of a table does not.
    pub(super) fn has_places(&self) -> bool {
        !matches!(self, Source::Set(set) if !set.is_packed())
    }

    /// Visits the elements until `visit` breaks; those with an order of their own backwards, if that is asked for.
    pub(super) fn each_until(
        &self,
        is_backwards: bool,
        mut visit: impl FnMut(Element<'d>) -> ControlFlow<()>,
    ) {
        match self {
            Source::Nothing => {}
            Source::List(list) => {
                let first = if is_backwards { list.len() - 1 } else { 0 };
                list.each_from(first, is_backwards, |element| visit(element).is_continue());
            }
            Source::Set(set) => {
                let _ = set.each_until(visit);
            }
            Source::ZSet(zset) => zset.walk(0..zset.len(), is_backwards, |member, _| visit(member)),
        }
    }
}
