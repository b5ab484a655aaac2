//! Commands on sets.
//!
//! How sets are stored is [`crate::value::set`]'s affair.

pub(crate) mod add;
pub(crate) mod get;
pub(crate) mod inter;
pub(crate) mod moving;
pub(crate) mod pop;
pub(crate) mod random;
pub(crate) mod remove;
pub(crate) mod scan;
pub(crate) mod union;

use std::ops::ControlFlow;

use crate::command::Reply;
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};
use crate::value::SetRef;
use crate::value::listpack::Element;
use crate::value::set::build::{Builder, Built};

/// The set of a key, for reading; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE.
pub(crate) fn set_of<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<SetRef<'d>>> {
    db.lookup(key).map(|entry| entry.value().set()).transpose()
}

/// As [`set_of`], for a command that goes on to write: neither a hit nor a miss.
///
/// # Errors
/// WRONGTYPE.
fn set_to_change<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<SetRef<'d>>> {
    db.peek(key).map(|entry| entry.value().set()).transpose()
}

/// Writes a member as a bulk string.
fn reply_member(reply: &mut Reply, member: Element<'_>) {
    member.with(|bytes| reply.bulk(bytes));
}

/// A set that is to be stored.
fn builder<'e>(db: &Db<'e>) -> Builder<'e> {
    let keyspace = db.keyspace();
    Builder::new(keyspace.config.hot(), &keyspace.shared.pool, &keyspace.seed)
}

/// Stores what was made of other sets, whatever was there before, and replies how many members it has. Without members the key goes.
///
/// # Errors
/// There is no memory; nothing has changed.
fn store(
    db: &mut Db<'_>,
    destination: &Key<'_>,
    built: Option<Built>,
    event: &'static str,
    reply: &mut Reply,
) -> Result<()> {
    let len = built.as_ref().map_or(0, Built::len);
    if let Some(built) = built {
        built.with(|value| db.insert(destination, value, None))?;
        db.notify(EventClass::Set, event, destination.bytes());
    } else if db.remove(destination) {
        db.notify(EventClass::Generic, "del", destination.bytes());
    }
    reply.count(len);
    Ok(())
}

/// Goes on until the reply is full.
fn until_full(reply: &Reply) -> ControlFlow<()> {
    if reply.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests;
