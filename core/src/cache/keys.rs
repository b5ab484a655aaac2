//! Walking over keys that begin alike: what listing, counting and clearing a part of a database have in common.
//!
//! Locks and what becomes of the keys are [`crate::database::keys`]'s. A walk goes by SCAN's cursor and its promise: a key that exists throughout is
//! met, perhaps twice while the table grows; one that comes or goes meanwhile may be.

use crate::keyspace::{Db, scan};

/// Entries looked at in one go, with all shards locked.
const PAGE: usize = 1000;

/// The keys that begin with `prefix`, from `cursor` on, and the next cursor, 0 at the end. O(1).
pub(crate) fn page(db: &Db<'_>, cursor: u64, prefix: &[u8]) -> (u64, Vec<Vec<u8>>) {
    let mut keys = Vec::new();
    let next = scan::scan(db, cursor, PAGE, |entry, is_live| {
        if is_live && entry.key().starts_with(prefix) {
            keys.push(entry.key().to_vec());
        }
    });
    (next, keys)
}
