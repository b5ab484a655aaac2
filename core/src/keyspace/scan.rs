//! Walks over a whole database: SCAN's cursor, and a fair random key.
//!
//! A cursor is the shard's index in the low eight bits and the table's own cursor above them. The table guarantees that an entry
//! present from the first call to the last is returned at least once; shards are visited in order, so the database does too.

use super::db::{Db, Entry};
use crate::store::key::SHARDS;
use crate::store::random;

const SHARD_BITS: u32 = 8;

/// Visits entries, live ones and those that have expired, from `cursor` on until about `count` entries were looked at; returns the next cursor, 0 at the end.
pub(crate) fn scan<'d>(
    db: &'d Db<'_>,
    cursor: u64,
    count: usize,
    mut visit: impl FnMut(Entry<'d>, bool),
) -> u64 {
    let mut shard_index = (cursor & ((1 << SHARD_BITS) - 1)) as usize;
    let mut table_cursor = cursor >> SHARD_BITS;
    let mut seen = 0;
    while shard_index < SHARDS {
        let shard = db.locks().shard(shard_index);
        if shard.space(db.index()).is_some() {
            loop {
                table_cursor = shard.scan(db.index(), table_cursor, |at| {
                    seen += 1;
                    let entry = Entry::at(shard, at);
                    let is_live = db.live_entry(shard, at).is_some();
                    visit(entry, is_live);
                });
                if table_cursor == 0 {
                    break;
                }
                if seen >= count {
                    return (table_cursor << SHARD_BITS) | shard_index as u64;
                }
            }
        }
        table_cursor = 0;
        shard_index += 1;
        if seen >= count && shard_index < SHARDS {
            return shard_index as u64;
        }
    }
    0
}

/// Visits every live entry.
pub(crate) fn each<'d>(db: &'d Db<'_>, mut visit: impl FnMut(Entry<'d>)) {
    for index in db.locks().indices() {
        let shard = db.locks().shard(index);
        shard.each(db.index(), |at| {
            if let Some(entry) = db.live_entry(shard, at) {
                visit(entry);
            }
        });
    }
}

/// Visits every entry, live or not.
pub(crate) fn each_stored<'d>(db: &'d Db<'_>, mut visit: impl FnMut(Entry<'d>)) {
    for index in db.locks().indices() {
        let shard = db.locks().shard(index);
        shard.each(db.index(), |at| visit(Entry::at(shard, at)));
    }
}

/// A key drawn with equal chances: a shard by its share of the entries, then an entry of its table.
pub(crate) fn random_key<'d>(db: &'d Db<'_>) -> Option<&'d [u8]> {
    /// Draws that may meet an expired entry before a full walk decides whether a live one exists.
    const DRAWS: usize = 100;
    let total = db.len() as u64;
    if total == 0 {
        return None;
    }
    for _ in 0..DRAWS {
        let mut left = ((u128::from(random()) * u128::from(total)) >> 64) as usize;
        for index in 0..SHARDS {
            let shard = db.locks().shard(index);
            let own = shard.len(db.index());
            if left < own {
                let at = shard.random(db.index(), &mut random)?;
                if let Some(entry) = db.live_entry(shard, at) {
                    return Some(entry.key());
                }
                break;
            }
            left -= own;
        }
    }
    let mut live = Vec::new();
    each(db, |entry| live.push(entry.key()));
    (!live.is_empty()).then(|| live[(random() % live.len() as u64) as usize])
}
