//! Keeps the data within `maxmemory`: evicts before a write, and in the background when the limit was lowered.
//!
//! Which key goes is for the policies in [`crate::evict`] to say; how entries are found and removed is [`super::victims`]'.
//!
//! **Order of locks**: the evictor's first, then one shard's at a time. Nobody who holds a shard waits for the evictor: commands hand over
//! the keys they created after they have unlocked, and a reader whose ring of uses is full only tries. Forks take the evictor before
//! the shards.
//!
//! **Which keys have a record**: those created since the policy was chosen, and those that the scan has found, which begins when a policy is
//! chosen while there are keys, when databases were emptied or exchanged, and when most records have become stale because commands removed
//! their keys. While it runs, only keys with a record can be evicted; who finds none takes a step of the scan.

use std::time::Duration;

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use super::Keyspace;
use super::access::{CALM_TICK_MS, Recording};
use super::db::Aftermath;
use super::timeline::Timeline;
use super::victims::Victims;
use crate::config::{EvictionPolicy, POLICIES, Scope};
use crate::evict::adaptive;
use crate::evict::memory::{Counters, time_limit_us};
use crate::evict::ticks::{Ticks, stamp_age, stamp_of_age};
use crate::evict::uses::Uses;
use crate::evict::{self, Event, Eviction, Policy, Record};
use crate::os::Guard;
use crate::store::key::{Key, SHARDS};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};

/// Keys evicted between two looks at the clock.
const BATCH: usize = 16;
/// Keys that one call of a policy may look at before it is asked again.
const EFFORT: usize = 256;
/// Entries filed in one step of the scan, about.
const SCAN_STEP: usize = 1024;
/// Below as many keys readers stamp what they read at once, so that the order of uses is exact.
const EXACT_BELOW: usize = 1 << 17;
/// A time slice of the background thread.
const SLICE: Duration = Duration::from_micros(500);

/// See the module's text.
pub(crate) struct Evictor {
    pub(crate) ticks: CachePadded<Ticks>,
    pub(crate) counters: Counters,
    uses: Uses,
    timeline: Mutex<Timeline>,
    /// Number of the policy in force plus one; 0 without a limit or a policy that evicts.
    chosen: AtomicUsize,
    /// Which new keys are filed: [`NONE`], [`VOLATILE`] or [`ALL`].
    filed: AtomicUsize,
    /// Records have lost their keys on a large scale.
    stale: AtomicBool,
    /// Bytes that the policy keeps.
    bytes: AtomicUsize,
    /// Whether there are so few keys that their uses are ordered exactly.
    exact: AtomicBool,
    state: Mutex<State>,
}

const NONE: usize = 0;
const VOLATILE: usize = 1;
const ALL: usize = 2;

#[derive(Default)]
struct State {
    policy: Option<Box<dyn Policy>>,
    samples: usize,
    scan: Option<Scan>,
    /// Keys filed since the records were last compared with the keys.
    filed: usize,
    fullest: usize,
}

/// Where the scan for keys without records stands.
#[derive(Clone, Copy, Default)]
struct Scan {
    shard: usize,
    db: usize,
    cursor: u64,
}

impl Scan {
    /// Where it goes on behind this shard; `None` at the end.
    fn next_shard(self) -> Option<Self> {
        let shard = self.shard + 1;
        (shard < SHARDS).then(|| Self { shard, ..Self::default() })
    }
}

/// A key to file once its shard is unlocked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Created {
    pub(crate) hash: u64,
    pub(crate) db: u32,
    pub(crate) stamp: u32,
}

/// What came of an attempt to get below the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The data is within the limit.
    Made,
    /// Time ran out: the background thread goes on.
    Underway,
    /// Nothing can be evicted.
    None,
}

/// What stamps of entries come to, as of one moment.
pub(crate) struct Stamps {
    recording: Recording,
    timeline: Timeline,
    clock: u32,
    now_ms: u64,
}

impl Stamps {
    /// Milliseconds since the access, or since the key was filed, that a stamp remembers; `None` where accesses are counted instead.
    pub(crate) fn idle_ms(&self, stamp: u32) -> Option<u64> {
        let clock = self.recording.clock_of(stamp)?;
        // Half of the clock's round: what looks older was used, or filed, since, as entries are while a snapshot is written.
        let half = if matches!(self.recording, Recording::Reuse { .. }) { 1 << 28 } else { 1 << 30 };
        let is_later = stamp_age(self.clock, clock) > half;
        Some(if is_later { 0 } else { self.timeline.idle_ms(clock, self.clock, self.now_ms) })
    }

    /// How stamps are kept.
    pub(crate) fn recording(&self) -> Recording {
        self.recording
    }

    /// A stamp as it is where the clock of stamps stands at `clock` as of now, and moves as it does while it is calm.
    pub(crate) fn at_clock(&self, stamp: u32, clock: u32) -> u32 {
        /// Half of the clock's round: what is older would look new.
        const OLDEST: u64 = 1 << 28;
        let Some(idle_ms) = self.idle_ms(stamp) else { return stamp };
        let then = stamp_of_age(clock, (idle_ms / CALM_TICK_MS).min(OLDEST) as u32);
        if matches!(self.recording, Recording::Reuse { .. }) {
            adaptive::with_clock(stamp, then)
        } else {
            then
        }
    }

    /// The frequency counter of a stamp; 0 under policies without.
    pub(crate) fn frequency(&self, stamp: u32) -> u8 {
        self.recording.frequency(stamp, self.now_ms)
    }
}

impl Evictor {
    pub(crate) fn new() -> Self {
        Self {
            ticks: CachePadded::default(),
            counters: Counters::default(),
            uses: Uses::default(),
            timeline: Mutex::default(),
            chosen: AtomicUsize::new(0),
            filed: AtomicUsize::new(NONE),
            stale: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            exact: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Locks the evictor, for a fork. Before any shard.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.state.lock()));
    }

    /// Locks what is asked by those who hold a shard. After all shards.
    pub(crate) fn freeze_timeline<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.timeline.lock()));
    }

    /// Bytes of the records that the policy keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a key that is created, or that gets its first deadline (`volatile`), has to be filed.
    #[inline]
    pub(crate) fn files(&self, volatile: bool) -> bool {
        match self.filed.load(Ordering::Relaxed) {
            NONE => false,
            VOLATILE => volatile,
            _ => true,
        }
    }

    /// Whether a key that gets a deadline only now has to be filed.
    #[inline]
    pub(crate) fn files_deadlines(&self) -> bool {
        self.filed.load(Ordering::Relaxed) == VOLATILE
    }

    /// Whether readers shall stamp what they read at once.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.load(Ordering::Relaxed)
    }

    /// Records are stale on a large scale: the keys are scanned anew.
    pub(crate) fn forget_records(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Takes note of what happened to a key, if it is sampled. Waits for nobody.
    #[inline]
    pub(crate) fn note(&self, hash: u64, event: Event) {
        if self.ticks.samples(hash) && self.uses.leave(hash, event) {
            self.drain();
        }
    }

    #[cold]
    fn drain(&self) {
        if let Some(mut state) = self.state.try_lock() {
            self.hand_on(&mut state);
        }
    }

    fn hand_on(&self, state: &mut State) {
        let Some(policy) = &mut state.policy else { return };
        self.uses.drain(|hash, event| policy.observe(Record::new(hash, 0).digest(), event));
    }

    /// Files keys that were created. The caller holds no shard.
    pub(crate) fn file(&self, created: &[Created]) {
        let mut state = self.state.lock();
        self.hand_on(&mut state);
        let State { policy: Some(policy), filed, .. } = &mut *state else { return };
        for key in created {
            policy.file(Record::new(key.hash, key.db as usize), key.stamp, &self.ticks);
        }
        *filed += created.len();
        self.account(&**policy);
    }

    fn account(&self, policy: &dyn Policy) {
        self.bytes.store(policy.bytes(), Ordering::Relaxed);
        let exact = policy.records() < EXACT_BELOW;
        if exact != self.exact.load(Ordering::Relaxed) {
            self.exact.store(exact, Ordering::Relaxed);
        }
    }

    /// Samples the clock, and where stamps are times, moves it on if it stood still for so many milliseconds. Called at every tick of the
    /// background thread.
    pub(crate) fn tick(&self, step_ms: Option<u64>, now_ms: u64) {
        let mut timeline = self.timeline.lock();
        let is_due = step_ms.is_some_and(|step| timeline.stood_still_for(now_ms) >= step);
        timeline.begin(now_ms);
        if is_due {
            self.ticks.advance();
        }
        timeline.note(self.ticks.now(), now_ms);
    }

    /// Milliseconds since an access that was stamped `stamp`.
    pub(crate) fn idle_ms(&self, stamp: u32, now_ms: u64) -> u64 {
        self.timeline.lock().idle_ms(stamp, self.ticks.now(), now_ms)
    }

    /// What stamps come to as of now, for whoever has no keyspace at hand later.
    pub(crate) fn stamps(&self, recording: Recording, now_ms: u64) -> Stamps {
        Stamps { recording, timeline: self.timeline.lock().clone(), clock: self.ticks.now(), now_ms }
    }

    /// Begins anew with a clock that stood at `clock` so many milliseconds ago, and moved as it does while it is calm.
    pub(crate) fn begin_at(&self, clock: u32, ago_ms: u64, now_ms: u64) {
        let now = clock.wrapping_add((ago_ms / CALM_TICK_MS).min(u64::from(u32::MAX)) as u32);
        self.ticks.begin_at(now);
        *self.timeline.lock() = Timeline::default();
        self.timeline.lock().note(self.ticks.now(), now_ms);
    }

    /// The stamp of an access so many milliseconds ago.
    pub(crate) fn stamp_of(&self, idle_ms: u64, now_ms: u64) -> u32 {
        self.timeline.lock().stamp_of(idle_ms, self.ticks.now(), now_ms)
    }

    /// Takes over the configured policy. O(1), O(shards * databases) if it has changed.
    pub(crate) fn adopt(&self, keyspace: &Keyspace) {
        let hot = keyspace.config.hot();
        let wanted = if hot.maxmemory() == 0 { 0 } else { hot.maxmemory_policy() + 1 };
        if self.chosen.load(Ordering::Relaxed) != wanted {
            let mut state = self.state.lock();
            self.choose(keyspace, &mut state, wanted, hot.maxmemory_samples());
        }
    }

    /// Files all keys anew, as if the policy had just been chosen: they did not come one by one. O(shards * databases).
    pub(crate) fn file_all(&self, keyspace: &Keyspace) {
        let (mut state, chosen) = (self.state.lock(), self.chosen.load(Ordering::Relaxed));
        self.choose(keyspace, &mut state, chosen, keyspace.config.hot().maxmemory_samples());
    }

    fn choose(&self, keyspace: &Keyspace, state: &mut State, wanted: usize, samples: usize) {
        let chosen = wanted.checked_sub(1).map(|index| &POLICIES[index]);
        let policy = chosen.and_then(|chosen| evict::policy(chosen, samples));
        let files = match chosen.and_then(EvictionPolicy::files) {
            None => NONE,
            Some(Scope::Volatile) => VOLATILE,
            Some(Scope::All) => ALL,
        };
        *state = State { policy, samples, scan: None, filed: 0, fullest: state.fullest };
        self.ticks.set_sampled_share(0.0);
        self.uses.drain(|_, _| {});
        self.bytes.store(0, Ordering::Relaxed);
        self.exact.store(files != NONE, Ordering::Relaxed);
        self.filed.store(files, Ordering::Relaxed);
        // Whoever locks a shard after it was counted files the keys that it creates, and a scan would file them once more.
        let scans = files != NONE && keyspace.count_keys(files == VOLATILE) > 0;
        state.scan = scans.then(Scan::default);
        self.chosen.store(wanted, Ordering::Relaxed);
    }

    /// Evicts until the data is within the limit, nothing is left to evict, or `time` has passed. The caller holds no lock.
    pub(crate) fn make_room(&self, keyspace: &Keyspace, time: Option<Duration>) -> Room {
        self.adopt(keyspace);
        let timer = keyspace.clock.timer();
        loop {
            let mut aftermath = Vec::new();
            let room = self.evict_some(keyspace, &mut self.state.lock(), &mut aftermath);
            // Observers hear without any lock: they may come back.
            aftermath.into_iter().for_each(|of_one| of_one.settle_unasked(keyspace));
            if let Some(room) = room {
                return room;
            }
            if time.is_some_and(|time| timer.elapsed() >= time) {
                return Room::Underway;
            }
        }
    }

    /// Evicts up to [`BATCH`] keys; `None` if more have to go.
    fn evict_some<'k>(
        &self,
        keyspace: &'k Keyspace,
        state: &mut State,
        aftermath: &mut Vec<Aftermath<'k>>,
    ) -> Option<Room> {
        self.renew(keyspace, state);
        self.hand_on(state);
        let State { policy, scan, filed, fullest, .. } = state;
        let Some(policy) = policy else { return Some(Room::None) };
        let mut victims = Victims::new(keyspace, fullest, aftermath);
        let mut room = None;
        for _ in 0..BATCH {
            if !keyspace.is_over_limit() {
                room = Some(Room::Made);
                break;
            }
            match policy.evict(&mut victims, &self.ticks, &mut { EFFORT }) {
                Eviction::Evicted | Eviction::OutOfEffort => self.account(&**policy),
                Eviction::NoCandidate if scan.is_some() => self.scan(keyspace, scan, &mut **policy),
                Eviction::NoCandidate => {
                    // The keys may have gone by a command while the policy looked for them.
                    room = Some(if keyspace.is_over_limit() { Room::None } else { Room::Made });
                    break;
                }
            }
        }
        self.account(&**policy);
        self.counters.add_evicted(victims.evicted);
        self.compare(keyspace, &**policy, filed);
        room
    }

    /// Compares the number of records with that of keys, once for every so many keys filed.
    fn compare(&self, keyspace: &Keyspace, policy: &dyn Policy, filed: &mut usize) {
        if *filed > policy.records() / 2 + SCAN_STEP {
            *filed = 0;
            let keys = keyspace.count_keys(self.filed.load(Ordering::Relaxed) == VOLATILE);
            if policy.records() > 2 * keys + SCAN_STEP {
                self.forget_records();
            }
        }
    }

    /// Begins anew if the policy's parameters changed or its records are stale.
    fn renew(&self, keyspace: &Keyspace, state: &mut State) {
        let samples = keyspace.config.hot().maxmemory_samples();
        if self.stale.swap(false, Ordering::Relaxed) || state.samples != samples {
            self.choose(keyspace, state, self.chosen.load(Ordering::Relaxed), samples);
        }
    }

    /// Files the next part of the keys that were there before the policy.
    fn scan(&self, keyspace: &Keyspace, scan: &mut Option<Scan>, policy: &mut dyn Policy) {
        let Some(at) = scan else { return };
        let volatile = self.filed.load(Ordering::Relaxed) == VOLATILE;
        if !keyspace.shared.is_made(at.shard) {
            *scan = at.next_shard();
            return;
        }
        let guard = keyspace.lock(at.shard);
        let mut found: SmallVec<[Created; 32]> = SmallVec::new();
        let db = at.db;
        if guard.space(db).is_some() {
            loop {
                at.cursor = guard.scan(db, at.cursor, |entry| {
                    let head = guard.head(entry);
                    if !volatile || head.has_deadline() {
                        let key = Key::new(head.key(&guard.arena, entry), &keyspace.seed);
                        found.push(Created { hash: key.hash(), db: db as u32, stamp: head.stamp() });
                    }
                });
                if at.cursor == 0 || found.len() >= SCAN_STEP {
                    break;
                }
            }
        }
        if at.cursor == 0 {
            match guard.databases().find(|db| *db > at.db) {
                Some(next) => at.db = next,
                None => *scan = at.next_shard(),
            }
        }
        drop(guard);
        for key in found {
            policy.file(Record::new(key.hash, key.db as usize), key.stamp, &self.ticks);
        }
    }

    /// What the background thread does at every tick: takes over changed options, files what has no record yet, and evicts while the data
    /// exceeds a limit that was lowered. Returns how long it evicted, if it did, and whether there is more to do even if the engine is not used.
    pub(crate) fn work(&self, keyspace: &Keyspace) -> (Option<Duration>, bool) {
        self.adopt(keyspace);
        if self.chosen.load(Ordering::Relaxed) == 0 {
            return (None, false);
        }
        let timer = keyspace.clock.timer();
        let mut is_scanning = false;
        while timer.elapsed() < SLICE {
            let mut state = self.state.lock();
            self.renew(keyspace, &mut state);
            let State { scan, policy: Some(policy), filed, .. } = &mut *state else { break };
            self.compare(keyspace, &**policy, filed);
            is_scanning = scan.is_some();
            if !is_scanning {
                break;
            }
            self.scan(keyspace, scan, &mut **policy);
            self.account(&**policy);
        }
        if !keyspace.is_over_limit() {
            self.counters.note_exceeded(false, keyspace.clock.coarse_ms());
            return (None, is_scanning);
        }
        let mut slices = 0;
        let mut is_underway = true;
        while is_underway && slices < 10 {
            is_underway = self.make_room(keyspace, Some(SLICE)) == Room::Underway;
            slices += 1;
        }
        self.counters.note_exceeded(keyspace.is_over_limit(), keyspace.clock.coarse_ms());
        (Some(timer.elapsed()), is_scanning || is_underway)
    }
}

impl Keyspace {
    /// Whether the data exceeds `maxmemory`. Two loads.
    #[inline]
    pub(crate) fn is_over_limit(&self) -> bool {
        let limit = self.config.hot().maxmemory();
        limit != 0 && self.used_bytes() as u64 > limit
    }

    /// Gets below `maxmemory` before a write, as long as `maxmemory-eviction-tenacity` allows. The caller holds no lock.
    pub(crate) fn make_room(&self) -> Room {
        if !self.is_over_limit() {
            return Room::Made;
        }
        let time = time_limit_us(self.config.hot().maxmemory_eviction_tenacity()).map(Duration::from_micros);
        let room = self.evictor.make_room(self, time);
        self.evictor.counters.note_exceeded(self.is_over_limit(), self.clock.now_ms());
        room
    }

    /// All keys, or all with a deadline. O(shards * databases).
    fn count_keys(&self, volatile: bool) -> usize {
        let count = |shard| {
            let guard = self.lock(shard);
            let spaces = guard.databases().filter_map(|db| guard.space(db));
            spaces.map(|space| if volatile { space.with_deadline } else { space.table.len() }).sum::<usize>()
        };
        self.made_shards().map(count).sum()
    }
}

#[cfg(test)]
mod tests;
