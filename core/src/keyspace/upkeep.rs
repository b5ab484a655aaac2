//! Keeping the engine's memory in shape, from time to time: made ready before it is needed, joined to huge pages, given back.
//!
//! How is the affair of [`crate::store::memory`]; moving entries together is [`super::compaction`]'s.

use std::time::Duration;

use super::Keyspace;
use crate::store::memory::{Buckets, Pace};

/// Time after which nothing else that may take as long is begun in a round: other engines wait.
const BUDGET: Duration = Duration::from_millis(2);

/// What is done at every tick. Says whether there is more to do, even if the engine is not used any more. The caller holds no lock.
pub(crate) fn round(keyspace: &Keyspace) -> bool {
    let timer = keyspace.clock.timer();
    let has_time = || timer.elapsed() < BUDGET;
    let pool = &keyspace.shared.pool;
    let tables = keyspace.shared.all_buckets();
    let (pace, may_grow) = (pool.look(), keyspace.may_grow());
    // What was made ready is given back, and huge pages are made, once the pool is calm.
    let mut goes_on = pace != Pace::Calm;
    if pace == Pace::Fast && may_grow {
        // One of each at a time: a huge page may take milliseconds.
        pool.prepare();
        let _ = has_time() && tables.iter().any(|buckets| buckets.prepare());
    } else if pace == Pace::Calm || !may_grow {
        pool.dismiss();
        tables.iter().for_each(|buckets| buckets.dismiss());
    }
    // A huge page of a chunk that is nearly empty would take memory for nothing.
    if pace == Pace::Calm && keyspace.used_bytes() > pool.used_bytes() / 2 {
        let found = pool.collapse() || tables.iter().any(|buckets| buckets.collapse());
        goes_on |= found || pool.may_collapse();
    }
    for buckets in tables.iter().filter(|buckets| buckets.has_shrunk()) {
        goes_on |= !trim_buckets(keyspace, buckets, has_time);
    }
    while pool.trim_some() {
        if !has_time() {
            return true;
        }
    }
    goes_on
}

/// Gives all memory that nobody uses back to the system. O(shards + chunks).
pub(crate) fn trim(keyspace: &Keyspace) {
    keyspace.shared.all_buckets().iter().for_each(|buckets| _ = trim_buckets(keyspace, buckets, || true));
    keyspace.shared.pool.trim();
}

/// Gives rows that no table reaches back, as long as there is time; false if some are left.
fn trim_buckets(keyspace: &Keyspace, buckets: &Buckets, has_time: impl Fn() -> bool) -> bool {
    let length = |shard| keyspace.lock(shard).table_length(buckets.space());
    buckets.trim_while(|| keyspace.made_shards().map(length).max().unwrap_or(0), has_time)
}
