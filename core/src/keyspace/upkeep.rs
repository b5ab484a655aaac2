//! Keeping the engine's memory in shape, from time to time: made ready before it is needed, joined to huge pages, given back.
//!
//! How is the affair of [`crate::store::memory`]; moving entries together is [`super::compaction`]'s.

use super::Keyspace;
use crate::store::memory::Buckets;

/// Huge pages made ready in one round: each may take milliseconds.
const READY_AT_ONCE: usize = 2;

/// What is done at every tick. The caller holds no lock.
pub(crate) fn round(keyspace: &Keyspace) {
    let pool = &keyspace.shared.pool;
    let tables = keyspace.shared.all_buckets();
    // A huge page of a chunk that is nearly empty would take memory for nothing.
    if keyspace.used_bytes() > pool.used_bytes() / 2 && !pool.collapse() && pool.is_calm() {
        let _ = tables.iter().any(|buckets| buckets.collapse());
    }
    if keyspace.may_grow() {
        (0..READY_AT_ONCE).take_while(|_| pool.prepare()).count();
        (0..READY_AT_ONCE).take_while(|_| tables.iter().any(|buckets| buckets.prepare())).count();
    } else {
        pool.dismiss();
    }
    for buckets in tables.iter().filter(|buckets| buckets.has_shrunk()) {
        trim_buckets(keyspace, buckets);
    }
    while pool.trim_some() {}
}

/// Gives all memory that nobody uses back to the system. O(shards + chunks).
pub(crate) fn trim(keyspace: &Keyspace) {
    keyspace.shared.all_buckets().iter().for_each(|buckets| trim_buckets(keyspace, buckets));
    keyspace.shared.pool.trim();
}

fn trim_buckets(keyspace: &Keyspace, buckets: &Buckets) {
    let length = |shard| keyspace.lock(shard).table_length(buckets.space());
    buckets.trim(|| keyspace.made_shards().map(length).max().unwrap_or(0));
}
