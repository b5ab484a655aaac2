//! The keyspace: 256 shards, each one mutex over an arena of entries and the tables that find them.
//!
//! Commands reach entries only through [`Db`]; what they do with them is their own affair.

pub(crate) mod access;
pub(crate) mod compaction;
pub(crate) mod db;
pub(crate) mod entry;
pub(crate) mod guard;
pub(crate) mod hash;
pub(crate) mod heap;
pub(crate) mod hooks;
pub(crate) mod locks;
pub(crate) mod overwrite;
pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod shard;
pub(crate) mod survey;
pub(crate) mod versions;
pub(crate) mod watch;
pub(crate) mod whole;

pub use crate::store::{HashSeed, Key};
pub use db::{Db, Entry, EntryMut};
pub use hooks::{Argv, Effect, Event, EventClass, Journal, Observer};
pub use versions::{Version, Versions};

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crossbeam_utils::CachePadded;

use crate::clock::Clock;
use crate::config::{Config, MAXMEMORY_POLICIES};
use crate::os::Guard;
use crate::store::key::SHARDS;
use crate::striped::Lookups;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use access::Recording;
use guard::{Shard, ShardGuard};
use hooks::Hooks;
use shard::ShardData;
use versions::Counters;

/// Indices of the policies that count accesses instead of timing them, as bits: it is asked at every access.
const FREQUENCY_POLICIES: u32 = {
    let (mut bits, mut index) = (0, 0);
    while index < MAXMEMORY_POLICIES.len() {
        if let [.., b'l', b'f', b'u'] = MAXMEMORY_POLICIES[index].as_bytes() {
            bits |= 1 << index;
        }
        index += 1;
    }
    bits
};

/// All shards of an engine, and what every access needs beside them.
pub(crate) struct Keyspace {
    pub(crate) shards: Box<[Shard; SHARDS]>,
    present_stamp: CachePadded<AtomicU32>,
    /// Look-ups, by whether they found the key.
    pub(crate) lookups: Lookups,
    pub(crate) seed: HashSeed,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) hooks: Hooks,
    /// Counters for caches beside the engine.
    pub(crate) counters: Counters,
    /// Bytes in use by all shards, as far as they have reported.
    used: CachePadded<AtomicUsize>,
    /// The most that `used` was seen at.
    peak: AtomicUsize,
    /// Changes of whole databases; those of single keys are counted in the shards.
    pub(crate) dirty: CachePadded<AtomicU64>,
    /// Fields of hashes that have expired.
    pub(crate) expired_fields: AtomicU64,
}

impl Keyspace {
    pub(crate) fn new(clock: Clock, config: Arc<Config>) -> Self {
        let seed = HashSeed::of_process();
        let shards = (0..SHARDS).map(|_| Shard::new(seed)).collect::<Vec<_>>().try_into();
        let keyspace = Self {
            shards: shards.unwrap_or_else(|_| unreachable!("as many as there are")),
            present_stamp: CachePadded::new(AtomicU32::new(u32::MAX)),
            lookups: Lookups::new(),
            seed,
            clock,
            config,
            hooks: Hooks::default(),
            counters: Counters::default(),
            used: CachePadded::new(AtomicUsize::new(0)),
            peak: AtomicUsize::new(0),
            dirty: CachePadded::new(AtomicU64::new(0)),
            expired_fields: AtomicU64::new(0),
        };
        keyspace.refresh_stamp();
        keyspace
    }

    /// The versions of keys, counted from now on.
    pub(crate) fn versions(&self) -> Versions {
        // Whoever locks a shard after this sees the counters; whoever held one before has finished what it wrote.
        let settle = || (0..SHARDS).for_each(|shard| drop(self.lock(shard)));
        Versions::new(self.counters.open(settle), self.seed, self.clock.clone())
    }

    /// Locks every shard, and what hooks are guarded by.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.extend((0..SHARDS).map(|shard| Box::new(self.lock(shard)) as Box<dyn Guard + 'a>));
        self.hooks.freeze(held);
    }

    /// Locks a shard.
    #[inline]
    pub(crate) fn lock(&self, shard: usize) -> ShardGuard<'_> {
        self.shards[shard].lock(|shard, at| shard.stamp(at, self.recording(), self.clock.coarse_ms()))
    }

    /// Whether an access now to an entry of that stamp may change it. One load.
    #[inline(always)]
    pub(crate) fn is_touch_due(&self, stamp: u32) -> bool {
        stamp != self.present_stamp.load(Ordering::Relaxed)
    }

    /// Brings what [`Keyspace::is_touch_due`] compares with up to date: the present time, or what no stamp ever is where every access counts.
    pub(crate) fn refresh_stamp(&self) {
        let stamp = match self.recording() {
            Recording::Recency => self.first_stamp(),
            Recording::Frequency { .. } => u32::MAX,
        };
        self.present_stamp.store(stamp, Ordering::Relaxed);
    }

    /// How many accesses readers may note in a shard before one of them takes its lock to stamp the entries.
    #[inline]
    pub(crate) fn touch_limit(&self) -> u32 {
        u32::MAX
    }

    /// Whether a deadline, in unix milliseconds, has passed.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: u64) -> bool {
        self.clock.has_passed(deadline)
    }

    /// Bytes used by entries, tables, wheels and heap values; each shard may be off by [`Keyspace::REPORT_STEP`].
    pub(crate) fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Remembers that `used` bytes are in use if it never was more; returns the most that was seen.
    pub(crate) fn note_peak(&self, used: usize) -> usize {
        used.max(self.peak.fetch_max(used, Ordering::Relaxed))
    }

    /// Shards report a change of their memory only beyond this, to keep the total's cache line quiet.
    const REPORT_STEP: usize = 4096;

    /// Adds what a shard's memory changed by to the total.
    #[inline]
    pub(crate) fn report(&self, shard: &mut ShardData) {
        let bytes = shard.bytes();
        let before = shard.reported_bytes;
        if bytes.abs_diff(before) >= Self::REPORT_STEP {
            self.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
            shard.reported_bytes = bytes;
        }
    }

    /// How access stamps are kept now.
    #[inline]
    pub(crate) fn recording(&self) -> Recording {
        let hot = self.config.hot();
        if FREQUENCY_POLICIES & 1 << hot.maxmemory_policy() != 0 {
            Recording::Frequency {
                factor: hot.lfu_log_factor() as u32,
                decay_minutes: hot.lfu_decay_time() as u32,
            }
        } else {
            Recording::Recency
        }
    }

    /// The command by which the log removes an expired key.
    pub(crate) fn expired_delete_command(&self) -> &'static [u8] {
        if self.config.hot().lazyfree_lazy_expire() { b"UNLINK" } else { b"DEL" }
    }

    /// The stamp of an entry created now, by the coarse clock.
    pub(crate) fn first_stamp(&self) -> u32 {
        self.recording().first(self.clock.coarse_ms())
    }
}
