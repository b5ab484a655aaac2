//! A survey of the whole keyspace: what all shards hold and have counted, for INFO and MEMORY. It needs every shard.
//!
//! How the numbers are shown is the commands' business.

use std::collections::BTreeMap;

use super::Keyspace;
use super::db::Db;
use super::shard::ShardStats;
use crate::sync::Ordering;

/// Sums over all shards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// Look-ups that found a key.
    pub(crate) hits: u64,
    /// Look-ups that found none.
    pub(crate) misses: u64,
    /// Keys reclaimed because they had expired.
    pub(crate) expired: u64,
    /// Changes of keys since the start.
    pub(crate) changes: u64,
    /// Bytes in use.
    pub(crate) bytes: usize,
    /// Bytes that the arenas hold, freed blocks included, and what is beside them.
    pub(crate) reserved: usize,
    /// Keys with a WATCH mark.
    pub(crate) watched: usize,
    /// Keys that somebody waits for.
    pub(crate) awaited: usize,
    /// One for each database that was ever used, in the order of their numbers.
    pub(crate) databases: Vec<DatabaseSurvey>,
}

/// Sums over one database.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatabaseSurvey {
    /// Its number.
    pub(crate) index: usize,
    /// Keys, expired ones that nobody reclaimed yet included.
    pub(crate) keys: usize,
    /// Keys with a deadline.
    pub(crate) with_deadline: usize,
    /// Keys with deadlines inside their values.
    pub(crate) with_inside: usize,
    /// Sum of those deadlines, unix milliseconds.
    deadlines: u128,
    /// Bytes of the tables.
    pub(crate) table_bytes: usize,
    /// Bytes of the timing wheels.
    pub(crate) wheel_bytes: usize,
}

impl DatabaseSurvey {
    /// Average time to live of keys with a deadline, in milliseconds, as of `now_ms`; 0 if there are none.
    pub(crate) fn average_ttl(&self, now_ms: u64) -> u64 {
        let count = self.with_deadline.max(1) as u128;
        (self.deadlines / count).saturating_sub(u128::from(now_ms)) as u64
    }
}

impl Survey {
    /// Keys of all databases.
    pub(crate) fn keys(&self) -> usize {
        self.databases.iter().map(|database| database.keys).sum()
    }

    /// Bytes of tables and wheels.
    pub(crate) fn overhead(&self) -> usize {
        self.databases.iter().map(|database| database.table_bytes + database.wheel_bytes).sum()
    }
}

impl Keyspace {
    /// How many keys each database has, and how many of them have a deadline; those that have expired and are still there are counted. Shards are looked at
    /// one after the other. O(shards * databases).
    pub(crate) fn sizes(&self) -> BTreeMap<usize, (u64, u64)> {
        let mut sizes = BTreeMap::<usize, (u64, u64)>::new();
        for shard in self.made_shards() {
            let shard = self.lock(shard);
            for db in shard.databases() {
                let Some(space) = shard.space(db) else { continue };
                let size = sizes.entry(db).or_default();
                size.0 += space.table.len() as u64;
                size.1 += space.with_deadline as u64;
            }
        }
        sizes
    }
}

impl Db<'_> {
    /// Looks at every shard. O(shards * databases).
    pub(crate) fn survey(&self) -> Survey {
        let databases = self.databases().into_iter();
        let databases = databases.map(|index| DatabaseSurvey { index, ..DatabaseSurvey::default() });
        let mut sum = Survey { databases: databases.collect(), ..Survey::default() };
        (sum.hits, sum.misses) = self.keyspace.lookups.sum();
        for index in self.locks.indices() {
            let shard = self.locks.shard(index);
            sum.expired += shard.stats.expired.get();
            sum.changes += shard.stats.changes.get();
            sum.bytes += shard.bytes();
            sum.reserved += shard.reserved_bytes();
            sum.watched += shard.watchers.len();
            sum.awaited += shard.watchers.awaited();
            for database in &mut sum.databases {
                let Some(space) = shard.space(database.index) else { continue };
                let (table_bytes, wheel_bytes) = shard.overhead_bytes(database.index);
                database.keys += space.table.len();
                database.with_deadline += space.with_deadline;
                database.deadlines += space.deadlines;
                database.with_inside += space.with_inside;
                database.table_bytes += table_bytes;
                database.wheel_bytes += wheel_bytes;
            }
        }
        sum
    }

    /// Forgets hits, misses and expirations, as CONFIG RESETSTAT asks.
    pub(crate) fn reset_counters(&mut self) {
        self.keyspace.lookups.reset();
        self.keyspace.expired_fields.store(0, Ordering::Relaxed);
        self.locks.each_mut(|shard| shard.stats = ShardStats::default());
    }
}
