//! Versions of keys: what a cache beside the engine compares to know whether the value it keeps still holds.
//!
//! Near caches themselves are the bindings' part: they keep a value with its [`Version`] and ask [`Versions::is_current`] at each hit.
//!
//! # How it works
//! The key's hash chooses one of [`SLOTS`] counters. Whatever changes a key counts its slot up under the lock of the key's shard,
//! after the change; flushing and swapping databases count up all of them. A slot belongs to one shard, so no counter has
//! two writers at a time. A reader loads the counter *before* it reads the value and keeps both: if the value was old, the
//! counter moves before the write returns, and the copy is never served after that. Keys that share a slot (5 million keys: 76)
//! only cost each other a look at the engine.
//!
//! Time moves no counter: a deadline is part of the [`Version`]. The counters are 32 bits wide, so a copy that isn't looked at for exactly
//! a multiple of 2^32 changes of its slot would pass for current.
//!
//! Nothing is counted, and nothing allocated, until somebody asks for the versions.

use std::sync::{Arc, OnceLock};

use crate::clock::{Clock, LATE_MS};
use crate::store::key::{HashSeed, Key, SHARDS};
use crate::sync::{AtomicBool, AtomicU32, Ordering};

/// Number of counters, a power of two and at least one a shard: 256 KiB in all.
pub const SLOTS: usize = if cfg!(loom) { SHARDS } else { 1 << 16 };

/// Lowest bit of the hash that chooses the slot. The shard's bits are among the slot's.
const SLOT_SHIFT: u32 = crate::store::key::SHARD_SHIFT;

/// The counters of a keyspace, once somebody wants them.
#[derive(Default)]
pub(crate) struct Counters {
    /// Set once the slots are there. A flag of its own because loom does not see into `OnceLock`.
    wanted: AtomicBool,
    slots: OnceLock<Arc<[AtomicU32]>>,
}

impl Counters {
    /// Counts up a key's slot. The caller holds the key's shard and has changed the key.
    #[inline(always)]
    pub(crate) fn bump(&self, hash: u64) {
        if let Some(slots) = self.wanted() {
            count_up(&slots[slot(hash)]);
        }
    }

    /// Counts up every slot. The caller holds all shards and has changed any number of keys.
    pub(crate) fn bump_all(&self) {
        if let Some(slots) = self.wanted() {
            slots.iter().for_each(count_up);
        }
    }

    #[inline]
    fn wanted(&self) -> Option<&Arc<[AtomicU32]>> {
        if self.wanted.load(Ordering::Acquire) { self.slots.get() } else { None }
    }

    /// The counters, made if need be; `settle` must wait for every write that may not have seen them.
    pub(crate) fn open(&self, settle: impl FnOnce()) -> Arc<[AtomicU32]> {
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| AtomicU32::new(0)).collect()).clone();
        self.wanted.store(true, Ordering::Release);
        // Every time: whoever made them may not have come that far yet.
        settle();
        slots
    }
}

/// One writer at a time: a plain store suffices. Released, so that whoever sees the new count sees the change.
#[inline]
fn count_up(slot: &AtomicU32) {
    slot.store(slot.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

#[inline]
fn slot(hash: u64) -> usize {
    (hash >> SLOT_SHIFT) as usize % SLOTS
}

/// What a copy of a value must be kept with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Index of the key's counter in [`Versions::slots`].
    pub slot: u32,
    /// What the counter showed before the value was read.
    pub count: u32,
    /// When the key expires, in unix milliseconds; `u64::MAX` is never.
    pub deadline: u64,
}

/// The counters of an engine. They outlive it as long as somebody holds them, but then nobody moves them.
#[derive(Clone, Debug)]
pub struct Versions {
    slots: Arc<[AtomicU32]>,
    seed: HashSeed,
    clock: Clock,
}

impl Versions {
    pub(crate) fn new(slots: Arc<[AtomicU32]>, seed: HashSeed, clock: Clock) -> Self {
        Self { slots, seed, clock }
    }

    /// The counters, in one piece of memory that never moves: one for each slot of keys.
    pub fn slots(&self) -> &[AtomicU32] {
        &self.slots
    }

    /// The index of a key's counter, the same in every database.
    #[inline]
    pub fn slot_of(&self, key: &[u8]) -> usize {
        slot(Key::new(key, &self.seed).hash())
    }

    /// The version of a key, to be taken before its value is read; whoever knows the key's deadline puts it in.
    #[inline]
    pub fn version_of(&self, key: &[u8]) -> Version {
        self.version_at(&Key::new(key, &self.seed))
    }

    #[inline]
    pub(crate) fn version_at(&self, key: &Key<'_>) -> Version {
        let slot = slot(key.hash());
        Version { slot: slot as u32, count: self.slots[slot].load(Ordering::Acquire), deadline: u64::MAX }
    }

    /// Whether a copy of this version is what a look at the engine would give. `false` may also mean that the engine must be asked: its
    /// slot moved for another key's sake, or its deadline is less than 20 ms away. A load, and for keys with a
    /// deadline the system's coarse clock.
    #[inline]
    pub fn is_current(&self, version: &Version) -> bool {
        self.slots[version.slot as usize].load(Ordering::Acquire) == version.count
            && (version.deadline == u64::MAX || self.clock.late_ms() + LATE_MS < version.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Engine, Form, SetOptions};
    use std::time::Duration;

    fn database() -> Database {
        Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap().database(0).unwrap()
    }

    fn read(db: &Database, versions: &Versions, key: &[u8]) -> (Option<Vec<u8>>, Version) {
        let read =
            |found: Option<crate::Found<'_>>, version| (found.map(|found| found.text.to_vec()), version);
        db.get_versioned_with(versions, key, read).unwrap()
    }

    #[test]
    fn slots_belong_to_one_shard() {
        let seed = HashSeed::random();
        let mut shards = vec![None; SLOTS];
        for index in 0..200_000u32 {
            let key = index.to_le_bytes();
            let key = Key::new(&key, &seed);
            assert_eq!(*shards[slot(key.hash())].get_or_insert(key.shard()), key.shard());
        }
    }

    #[test]
    fn every_kind_of_change_ends_a_version() {
        let db = database();
        let engine = db.engine().clone();
        let versions = engine.versions();
        let mut session = engine.session(Form::Resp);
        for line in [
            "SET k 2",
            "SET k 2 EX 100",
            "APPEND k x",
            "SETRANGE k 0 y",
            "EXPIRE k 50",
            "PERSIST k",
            "SET n 1",
            "INCR n",
            "DEL k",
            "RENAME n k",
            "COPY k n",
            "HSET h f 1",
            "HDEL h f",
            "FLUSHDB",
            "FLUSHALL",
            "SWAPDB 0 1",
            "UNLINK other",
            "GETDEL k",
            "SET k 1 PX 1",
            "GETEX k PERSIST",
            "MOVE k 3",
        ] {
            session.execute(&[b"SET", b"other", b"1"]);
            let names: [&[u8]; 4] = [b"k", b"n", b"h", b"other"];
            let before = names.map(|name| versions.version_of(name));
            let was =
                names.map(|name| (dump(&mut session, name), session.execute(&[b"PTTL", name]).to_vec()));
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            session.execute(&words);
            let now =
                names.map(|name| (dump(&mut session, name), session.execute(&[b"PTTL", name]).to_vec()));
            for index in 0..names.len() {
                let changed = was[index] != now[index];
                assert!(
                    !changed || !versions.is_current(&before[index]),
                    "{line} changed {:?}",
                    names[index]
                );
            }
        }
    }

    fn dump(session: &mut crate::Session, key: &[u8]) -> Vec<u8> {
        let mut text = session.execute(&[b"GET", key]).to_vec();
        text.extend_from_slice(session.execute(&[b"HGETALL", key]));
        text
    }

    #[test]
    fn reading_ends_no_version_and_other_slots_stay() {
        let db = database();
        db.set("k", "v").unwrap();
        let versions = db.engine().versions();
        let (value, version) = read(&db, &versions, b"k");
        assert_eq!(value.unwrap(), b"v");
        assert_eq!(version, versions.version_of(b"k"));
        let other = (0..)
            .map(|n: u32| n.to_string())
            .find(|key| versions.slot_of(key.as_bytes()) != version.slot as usize);
        db.set(other.unwrap(), "v").unwrap();
        assert!(versions.is_current(&version));
        db.set("k", "w").unwrap();
        assert!(!versions.is_current(&version));
    }

    #[test]
    fn a_version_ends_before_its_deadline_and_with_the_expired_key() {
        let db = database();
        db.set_with("k", "v", SetOptions::new().expires_in(Duration::from_secs(1))).unwrap();
        let versions = db.engine().versions();
        let (_, version) = read(&db, &versions, b"k");
        assert_eq!(version.deadline, 1_001_000);
        db.engine().advance(Duration::from_millis(979));
        assert!(versions.is_current(&version));
        db.engine().advance(Duration::from_millis(1));
        assert!(!versions.is_current(&version));
        let before = versions.version_of(b"k");
        db.engine().advance(Duration::from_millis(20));
        assert_ne!(versions.version_of(b"k"), before, "the reaper took the key");
        assert_eq!(read(&db, &versions, b"k").0, None);
    }

    #[test]
    fn nothing_stale_is_served_once_a_write_has_returned() {
        let db = Engine::new().database(0).unwrap();
        let written = std::sync::atomic::AtomicU64::new(0);
        let done = std::sync::atomic::AtomicBool::new(false);
        db.set("k", 0u64.to_le_bytes()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let versions = db.engine().versions();
                    let mut kept: Option<(u64, Version)> = None;
                    while !done.load(Ordering::Relaxed) {
                        let least = written.load(Ordering::SeqCst);
                        let value = match &kept {
                            Some((value, version)) if versions.is_current(version) => *value,
                            _ => {
                                let (text, version) = read(&db, &versions, b"k");
                                let value = u64::from_le_bytes(text.unwrap().try_into().unwrap());
                                kept = Some((value, version));
                                value
                            }
                        };
                        assert!(value >= least, "{value} was served after {least} was written");
                    }
                });
            }
            for number in 1..20_000u64 {
                db.set("k", number.to_le_bytes()).unwrap();
                written.store(number, Ordering::SeqCst);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
