//! Commands on sorted sets.
//!
//! How sorted sets are stored is [`crate::value::zset`]'s affair.

pub(crate) mod add;
pub(crate) mod algebra;
pub(crate) mod bounds;
pub(crate) mod get;
pub(crate) mod input;
pub(crate) mod pop;
pub(crate) mod random;
pub(crate) mod range;
pub(crate) mod remove;
pub(crate) mod scan;

use std::ops::{ControlFlow, Range};

use crate::command::Reply;
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::ZSetRef;
use crate::value::listpack::Element;
use crate::value::zset::members::{Builder, Members};

/// The sorted set of a key, for reading; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE.
pub(crate) fn zset_of<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<ZSetRef<'d>>> {
    db.lookup(key).map(|entry| entry.value().zset()).transpose()
}

/// Changes the sorted set of a key; `None` if there is none. What `change` leaves empty is removed.
///
/// # Errors
/// WRONGTYPE, out of memory, or whatever `change` returns; it must fail before it changes anything.
fn edit<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Members<'_>) -> Result<R>,
) -> Result<Option<R>> {
    collection::edit(db, key, change)
}

/// As [`edit`], but creates the sorted set if need be.
///
/// # Errors
/// As there.
fn edit_or_create<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Members<'_>) -> Result<R>,
) -> Result<R> {
    collection::edit_or_create(db, key, change)
}

/// Stores a new sorted set under a key, whatever was there; where it is empty the key is removed. Returns how many members it has.
///
/// # Errors
/// Out of memory; nothing has changed.
pub(crate) fn store(db: &mut Db<'_>, key: &Key<'_>, new: Builder, event: &'static str) -> Result<usize> {
    let len = new.len();
    if len > 0 {
        new.with(|value| db.insert(key, value, None))?;
        db.notify(EventClass::ZSet, event, key.bytes());
    } else if db.remove(key) {
        db.notify(EventClass::Generic, "del", key.bytes());
    }
    Ok(len)
}

/// Writes the head of so many members, with their scores or without.
fn reply_head(reply: &mut Reply, count: usize, withscores: bool) {
    reply.array(if withscores && !reply.resp3() { count.saturating_mul(2) } else { count });
}

/// Writes a member behind such a head.
fn reply_member(reply: &mut Reply, member: Element<'_>, score: f64, withscores: bool) {
    if withscores && reply.resp3() {
        reply.array(2);
    }
    member.with(|member| reply.bulk(member));
    if withscores {
        reply.double(score);
    }
}

/// Writes the members of these ranks. Stops where the reply is full.
fn reply_ranks(reply: &mut Reply, zset: ZSetRef<'_>, ranks: Range<usize>, reverse: bool, withscores: bool) {
    reply_head(reply, ranks.len(), withscores);
    zset.walk(ranks, reverse, |member, score| {
        reply_member(reply, member, score, withscores);
        until_full(reply)
    });
}

/// Writes a score, or null.
fn reply_score(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// Goes on until the reply is full.
fn until_full(reply: &Reply) -> ControlFlow<()> {
    if reply.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests;
