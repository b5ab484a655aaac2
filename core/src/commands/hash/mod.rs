//! Commands on hashes.
//!
//! How hashes are stored is [`crate::value::hash`]'s affair.

pub(crate) mod all;
pub(crate) mod delete;
pub(crate) mod expire;
pub(crate) mod fields;
pub(crate) mod get;
pub(crate) mod getex;
pub(crate) mod incr;
pub(crate) mod random;
pub(crate) mod scan;
pub(crate) mod set;
pub(crate) mod setex;
pub(crate) mod ttl;

use crate::command::Reply;
use crate::error::Result;
use crate::keyspace::{Db, Key, collection};
use crate::value::HashRef;
use crate::value::hash::fields::Fields;
use crate::value::listpack::Element;

/// The hash of a key, for reading; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE.
pub(crate) fn hash_of<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<HashRef<'d>>> {
    db.lookup(key).map(|entry| entry.value().hash()).transpose()
}

/// Changes the hash of a key; `None` if there is none. What `change` leaves empty is removed.
///
/// # Errors
/// WRONGTYPE, out of memory, or whatever `change` returns; it must fail before it changes anything.
fn edit<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<Option<R>> {
    collection::edit(db, key, change)
}

/// As [`edit`], but creates the hash if need be.
///
/// # Errors
/// As there.
fn edit_or_create<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<R> {
    collection::edit_or_create(db, key, change)
}

/// Writes an element as a bulk string, or null.
pub(crate) fn reply_element(reply: &mut Reply, element: Option<Element<'_>>) {
    match element {
        Some(element) => element.with(|bytes| reply.bulk(bytes)),
        None => reply.null(),
    }
}
