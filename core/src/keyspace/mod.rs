//! The keyspace: 256 shards, each one mutex over an arena of entries and the tables that find them.
//!
//! Commands reach entries only through [`Db`]; what they do with them is their own affair.

pub(crate) mod access;
pub(crate) mod collection;
pub(crate) mod compaction;
pub(crate) mod db;
pub(crate) mod deadlines;
pub(crate) mod edits;
pub(crate) mod entry;
pub(crate) mod escalation;
pub(crate) mod evictor;
pub(crate) mod field_wheels;
pub(crate) mod guard;
pub(crate) mod hearing;
pub(crate) mod hooks;
pub(crate) mod image;
pub(crate) mod insert;
pub(crate) mod journal;
pub(crate) mod locks;
pub(crate) mod moving;
pub(crate) mod overwrite;
pub(crate) mod owned;
pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod shard;
pub(crate) mod shared;
pub(crate) mod snapshot;
pub(crate) mod stored;
pub(crate) mod survey;
pub(crate) mod timeline;
pub(crate) mod turns;
pub(crate) mod upkeep;
pub(crate) mod versions;
pub(crate) mod victims;
pub(crate) mod waiting;
pub(crate) mod watch;
pub(crate) mod whole;

pub use crate::store::{HashSeed, Key};
pub use db::{Db, Entry, EntryMut};
pub use hooks::{Event, EventClass, Interest, Observer};
pub use journal::{Effect, Group, Journal, Ticket};
pub use versions::{Version, Versions};

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::background::Task;
use crate::clock::Clock;
use crate::config::{Config, POLICIES, Rule};
use crate::evict::Event as Use;
use crate::evict::memory;
use crate::os::Guard;
use crate::rdb::Making;
use crate::store::key::SHARDS;
use crate::store::memory::Ref;
use crate::striped::Lookups;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use access::{CALM_TICK_MS, Recording};
use escalation::Escalation;
use evictor::{Evictor, Stamps};
use guard::{Shard, ShardGuard, Turn, Work};
use hooks::Hooks;
use shard::ShardData;
use shared::{ShardLine, Shared};
use versions::Counters;
use waiting::Arrivals;

/// All shards of an engine, and what every access needs beside them.
pub(crate) struct Keyspace {
    /// The line to the background thread.
    pub(crate) task: Task,
    pub(crate) shards: Box<[Shard; SHARDS]>,
    /// How scripts come to more shards than they asked for first.
    pub(crate) escalation: Escalation,
    pub(crate) evictor: Evictor,
    /// Which shard is having its entries moved together.
    pub(crate) turn: Arc<Turn>,
    /// What readers without the lock share.
    pub(crate) shared: Arc<Shared>,
    /// Look-ups, by whether they found the key.
    pub(crate) lookups: Lookups,
    pub(crate) seed: HashSeed,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) hooks: Hooks,
    /// Who began to wait when.
    pub(crate) arrivals: Arrivals,
    /// Whether the background thread reclaims what has expired; DEBUG can stop it.
    pub(crate) active_expiry: AtomicBool,
    /// What has expired is left where it is by those who meet it.
    pub(crate) keeps_expired: AtomicBool,
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
    /// How far timers of keys that came with an image have been armed, if some are left.
    arming: Mutex<Option<image::Arming>>,
    /// One more than the generation of the process that is writing a snapshot; 0 if none is.
    pub(crate) snapshot: AtomicU64,
}

impl Keyspace {
    pub(crate) fn new(clock: Clock, config: Arc<Config>, seed: HashSeed) -> Self {
        // What loom would model of a thread that waits for time says nothing.
        let task = Task::new(clock.is_manual() || cfg!(loom));
        let (turn, shared) = (Arc::default(), Shared::new(seed, task.id()));
        let shards =
            (0..SHARDS).map(|number| Shard::new(number, &turn, &shared)).collect::<Vec<_>>().try_into();
        let keyspace = Self {
            task,
            shards: shards.unwrap_or_else(|_| unreachable!("as many as there are")),
            escalation: Escalation::default(),
            evictor: Evictor::new(),
            turn,
            shared,
            lookups: Lookups::new(),
            seed,
            clock,
            config,
            hooks: Hooks::default(),
            arrivals: Arrivals::default(),
            active_expiry: AtomicBool::new(true),
            keeps_expired: AtomicBool::new(false),
            counters: Counters::default(),
            used: CachePadded::new(AtomicUsize::new(0)),
            peak: AtomicUsize::new(0),
            dirty: CachePadded::new(AtomicU64::new(0)),
            expired_fields: AtomicU64::new(0),
            arming: Mutex::default(),
            snapshot: AtomicU64::new(0),
        };
        keyspace.refresh_stamp();
        keyspace.evictor.adopt(&keyspace);
        keyspace
    }

    /// The versions of keys, counted from now on.
    pub(crate) fn versions(&self) -> Versions {
        // Whoever locks a shard after this sees the counters; whoever held one before has finished what it wrote.
        let settle = || self.shards.iter().for_each(|shard| drop(shard.hold()));
        Versions::new(self.counters.open(settle), self.seed, self.clock.clone())
    }

    /// Locks the evictor, every shard, and what hooks are guarded by.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.escalation.turn()));
        self.evictor.freeze(held);
        held.push(Box::new(self.shards.iter().map(|shard| shard.hold()).collect::<Vec<_>>()));
        self.shared.freeze(held);
        self.evictor.freeze_timeline(held);
        held.push(Box::new(self.arming.lock()));
        self.hooks.freeze(held);
    }

    /// The shards that anybody has locked yet: the others hold nothing.
    pub(crate) fn made_shards(&self) -> impl Iterator<Item = usize> + '_ {
        (0..SHARDS).filter(|shard| self.shared.is_made(*shard))
    }

    /// Locks a shard.
    #[inline]
    pub(crate) fn lock(&self, shard: usize) -> ShardGuard<'_> {
        self.shards[shard].lock(|shard, noted| self.stamp(shard, noted))
    }

    /// [`Keyspace::lock`] for an overwrite, which `work` is: see [`Shard::in_place`]. `line` is the shard's.
    #[inline(always)]
    fn in_place<R>(&self, shard: usize, line: &ShardLine, work: impl Work<Done = R>) -> Option<R> {
        self.shards[shard].in_place(line, |shard, noted| self.stamp(shard, noted), work)
    }

    /// [`Keyspace::lock`] for who holds other shards; nothing if it is to give way instead.
    pub(crate) fn lock_beside(&self, shard: usize, gives_way: impl Fn() -> bool) -> Option<ShardGuard<'_>> {
        self.shards[shard].lock_beside(gives_way, |shard, noted| self.stamp(shard, noted))
    }

    /// [`Keyspace::lock`] if nobody holds the lock.
    pub(crate) fn try_lock(&self, shard: usize) -> Option<ShardGuard<'_>> {
        self.shards[shard].try_lock(|shard, noted| self.stamp(shard, noted))
    }

    /// Whether an access now to an entry of that stamp may change it. One load.
    #[inline(always)]
    pub(crate) fn is_touch_due(&self, stamp: u32) -> bool {
        stamp != self.evictor.ticks.present()
    }

    /// The stamp of every access now, where that is a time and nobody else wants to know of the access. One load.
    #[inline(always)]
    pub(crate) fn present_stamp(&self) -> Option<u32> {
        self.evictor.ticks.shown()
    }

    /// Moves the clock of stamps on with the time, and has [`Keyspace::is_touch_due`] compare with it; or with what no stamp ever is, where
    /// every access counts.
    pub(crate) fn refresh_stamp(&self) {
        let step_ms = if self.config.hot().maxmemory() == 0 { CALM_TICK_MS } else { 0 };
        let is_time = matches!(self.recording(), Recording::Recency { .. });
        self.evictor.tick(is_time.then_some(step_ms), self.clock.coarse_ms());
        self.show_stamp();
    }

    /// Has the next access come to [`Keyspace::wake_if_asleep`], or a write to the line to the background thread.
    pub(crate) fn hide_stamp(&self) {
        self.evictor.ticks.set_shown(false);
    }

    /// Brings the clocks up to date after a time without use, and has the background thread keep them so. Takes locks that may be taken by who
    /// holds a shard's.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&self) {
        if self.task.is_asleep() {
            self.clock.refresh();
            self.refresh_stamp();
        }
        self.task.tell();
    }

    /// What an access by which [`Keyspace::present_stamp`] says nothing begins with, if it was not told to the background thread.
    #[inline]
    pub(crate) fn wake_if_asleep(&self) {
        if self.task.is_asleep() {
            self.wake();
        }
    }

    /// Notes what the clock of stamps stands at now, before the time moves on.
    pub(crate) fn sample_clock(&self) {
        self.evictor.tick(None, self.clock.coarse_ms());
    }

    /// Has [`Keyspace::is_touch_due`] follow the configured policy.
    pub(crate) fn show_stamp(&self) {
        self.evictor.ticks.set_shown(matches!(self.recording(), Recording::Recency { .. }));
    }

    /// Stamps an access to each of these entries of a locked shard.
    #[inline]
    pub(crate) fn stamp(&self, shard: &ShardData, entries: impl IntoIterator<Item = Ref>) {
        if let Some(stamp) = self.present_stamp() {
            entries.into_iter().for_each(|at| shard.stamp(at, |_| stamp));
        } else {
            let (recording, now_ms) = (self.recording(), self.clock.coarse_ms());
            entries.into_iter().for_each(|at| shard.stamp(at, |old| recording.next(old, now_ms)));
        }
    }

    /// Stamps a read of an entry of a locked shard, unless that is [spared](Self::spare_mapped).
    #[inline]
    pub(crate) fn stamp_read(&self, shard: &ShardData, at: Ref) {
        if !self.shared.region().is_spared(at) {
            self.stamp(shard, [at]);
        }
    }

    /// Has reads of entries that are mapped from a file leave them as they are, as long as nothing can be evicted: else each would have its page copied. Their
    /// idle times go on until they are written to or moved.
    pub(crate) fn spare_mapped(&self) {
        self.shared.region().spare(self.config.hot().maxmemory() == 0);
    }

    /// How many accesses readers may note in a shard before one of them takes its lock to stamp the entries.
    #[inline]
    pub(crate) fn touch_limit(&self) -> u32 {
        if self.evictor.is_exact() { 1 } else { u32::MAX }
    }

    /// Whether a use of an entry of that stamp has to be recorded in it. Tells the evictor of the use, if it samples the key.
    #[inline]
    pub(crate) fn used(&self, hash: u64, stamp: u32) -> bool {
        self.evictor.note(hash, Use::Used);
        self.recording().is_due(stamp)
    }

    /// Whether a deadline, in unix milliseconds, has passed.
    #[inline]
    pub(crate) fn has_passed(&self, deadline: u64) -> bool {
        self.clock.has_passed(deadline)
    }

    /// Bytes used by entries, tables, wheels, pages of values and the records of eviction; each shard may be off by what
    /// [`memory::unreported`] allows.
    #[inline]
    pub(crate) fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed) + self.evictor.bytes() + self.shared.pool.shareable_bytes()
    }

    /// Whether memory is worth fetching before several keys are looked up: of a smaller keyspace most is in the processor's caches anyway.
    #[inline]
    pub(crate) fn is_worth_fetching(&self) -> bool {
        const CACHED: usize = 2 << 20;
        self.used.load(Ordering::Relaxed) > CACHED
    }

    /// Whether memory should be made ready for what is stored next: there is no limit, or it is not near.
    pub(crate) fn may_grow(&self) -> bool {
        let limit = self.config.hot().maxmemory();
        limit == 0 || (self.used_bytes() as u64) < limit / 8 * 7
    }

    /// Remembers that `used` bytes are in use if it never was more; returns the most that was seen.
    pub(crate) fn note_peak(&self, used: usize) -> usize {
        used.max(self.peak.fetch_max(used, Ordering::Relaxed))
    }

    /// Adds what a shard's memory changed by to the total.
    #[inline]
    pub(crate) fn report(&self, shard: &mut ShardData) {
        let bytes = shard.bytes();
        let before = shard.reported_bytes;
        if bytes.abs_diff(before) > memory::unreported(self.config.hot().maxmemory()) {
            self.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
            shard.reported_bytes = bytes;
        }
    }

    /// Brings the total up to date after the limit changed, and with it what shards may keep to themselves. O(shards).
    pub(crate) fn report_all(&self) {
        self.made_shards().for_each(|shard| self.report(&mut self.lock(shard)));
    }

    /// How access stamps are kept now.
    #[inline]
    pub(crate) fn recording(&self) -> Recording {
        let hot = self.config.hot();
        let rule = POLICIES[hot.maxmemory_policy()].rule;
        if rule == Rule::Lfu {
            return Recording::Frequency {
                factor: hot.lfu_log_factor() as u32,
                decay_minutes: hot.lfu_decay_time() as u32,
            };
        }
        let (now, window) = self.evictor.ticks.read();
        if rule == Rule::Adaptive { Recording::Reuse { now, window } } else { Recording::Recency { now } }
    }

    /// Milliseconds since the access that a stamp remembers, or, under the adaptive policies, since the key was filed; `None` where accesses
    /// are counted instead.
    pub(crate) fn idle_ms(&self, stamp: u32) -> Option<u64> {
        let clock = self.recording().clock_of(stamp)?;
        Some(self.evictor.idle_ms(clock, self.clock.coarse_ms()))
    }

    /// What values that are read are made with.
    pub(crate) fn making(&self) -> Making<'_> {
        let Self { config, shared, seed, clock, .. } = self;
        Making { options: config.hot(), pool: &shared.pool, seed, clock }
    }

    /// What stamps come to as of now.
    pub(crate) fn stamps(&self) -> Stamps {
        self.evictor.stamps(self.recording(), self.clock.coarse_ms())
    }

    /// The stamp of an entry that was last used so many milliseconds ago; `None` under policies that remember no such time.
    pub(crate) fn stamp_of_idle(&self, idle_ms: u64) -> Option<u32> {
        let is_recency = matches!(self.recording(), Recording::Recency { .. });
        is_recency.then(|| self.evictor.stamp_of(idle_ms, self.clock.coarse_ms()))
    }

    /// The command by which the log removes an evicted key.
    pub(crate) fn evicted_delete_command(&self) -> &'static [u8] {
        if self.config.hot().lazyfree_lazy_eviction() { b"UNLINK" } else { b"DEL" }
    }

    /// The command by which the log removes an expired key.
    pub(crate) fn expired_delete_command(&self) -> &'static [u8] {
        if self.config.hot().lazyfree_lazy_expire() { b"UNLINK" } else { b"DEL" }
    }

    /// The command by which the log removes a key that another command does away with.
    pub(crate) fn implied_delete_command(&self) -> &'static [u8] {
        if self.config.hot().lazyfree_lazy_server_del() { b"UNLINK" } else { b"DEL" }
    }

    /// The stamp of an entry created now, by the coarse clock.
    #[inline]
    pub(crate) fn first_stamp(&self) -> u32 {
        self.present_stamp().unwrap_or_else(|| self.recording().first(self.clock.coarse_ms()))
    }
}
