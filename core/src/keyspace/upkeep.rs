//! Keeping the engine's memory in shape, from time to time: made ready before it is needed, joined to huge pages, given back.
//!
//! How is the affair of [`crate::store::memory`]; moving entries together is [`super::compaction`]'s.

use super::Keyspace;
use crate::store::memory::{Buckets, Pace};

/// What is done at every tick. The caller holds no lock.
pub(crate) fn round(keyspace: &Keyspace) {
    let pool = &keyspace.shared.pool;
    let tables = keyspace.shared.all_buckets();
    let (pace, may_grow) = (pool.look(), keyspace.may_grow());
    if pace == Pace::Fast && may_grow {
        // One of each at a time: a huge page may take milliseconds.
        pool.prepare();
        let _ = tables.iter().any(|buckets| buckets.prepare());
    } else if pace == Pace::Calm || !may_grow {
        pool.dismiss();
        tables.iter().for_each(|buckets| buckets.dismiss());
    }
    // A huge page of a chunk that is nearly empty would take memory for nothing.
    if pace == Pace::Calm && keyspace.used_bytes() > pool.used_bytes() / 2 && !pool.collapse() {
        let _ = tables.iter().any(|buckets| buckets.collapse());
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
