//! What ZUNION and its relatives take: sorted sets, and sets, whose members have the score 1.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::listpack::Element;
use crate::value::{SetRef, Value, ZSetRef};

/// What a key that is taken holds.
#[derive(Clone, Copy)]
pub(super) enum Input<'d> {
    /// There is no such key.
    Missing,
    Set(SetRef<'d>),
    ZSet(ZSetRef<'d>),
}

impl<'d> Input<'d> {
    /// What a key holds.
    ///
    /// # Errors
    /// WRONGTYPE.
    pub(super) fn of(db: &'d Db<'_>, key: &Key<'_>) -> Result<Self> {
        match db.lookup(key).map(|entry| entry.value()) {
            None => Ok(Self::Missing),
            Some(Value::Set(set)) => Ok(Self::Set(set)),
            Some(Value::ZSet(zset)) => Ok(Self::ZSet(zset)),
            Some(_) => Err(Error::wrong_type()),
        }
    }

    /// Number of members.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Set(set) => set.len(),
            Self::ZSet(zset) => zset.len(),
        }
    }

    /// The score of a member.
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Set(set) => set.has(member).then_some(1.0),
            Self::ZSet(zset) => zset.score(member),
        }
    }

    /// Calls `visit` with each member and its score, until it breaks off.
    pub(super) fn walk(&self, mut visit: impl FnMut(Element<'d>, f64) -> ControlFlow<()>) {
        match self {
            Self::Missing => {}
            Self::Set(set) => {
                let _ = set.each_until(|member| visit(member, 1.0));
            }
            Self::ZSet(zset) => zset.walk(0..zset.len(), false, visit),
        }
    }
}
