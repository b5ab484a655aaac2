//! Keys that exist only as stamps: what policies are tested on, without an engine.
//!
//! Filing, using and removing them is done as the keyspace would.

use std::collections::HashMap;

use super::{Event, Eviction, Facts, Keys, Policy, Record, Verdict, adaptive, policy};
use crate::config::{EvictionPolicy, Rule};
use crate::evict::ticks::Ticks;
use crate::store::random;

/// A cache of numbers under a policy.
pub(crate) struct Fake {
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) ticks: Ticks,
    adaptive: bool,
    /// Facts by the record's shard and id.
    keys: HashMap<(u8, u32), (u64, Facts)>,
    pub(crate) evicted: Vec<u64>,
}

/// The test's side of [`Keys`].
struct Side<'f> {
    keys: &'f mut HashMap<(u8, u32), (u64, Facts)>,
    evicted: &'f mut Vec<u64>,
}

impl Keys for Side<'_> {
    fn examine(&mut self, record: Record, judge: &mut dyn FnMut(Facts) -> Verdict) -> bool {
        let place = (record.shard, record.id);
        let Some((key, facts)) = self.keys.get_mut(&place) else { return false };
        match judge(*facts) {
            Verdict::Keep => {}
            Verdict::Stamp(stamp) => facts.stamp = stamp,
            Verdict::Evict => {
                self.evicted.push(*key);
                self.keys.remove(&place);
            }
        }
        true
    }

    fn draw(&mut self) -> Option<(Record, Facts)> {
        let chosen = random().checked_rem(self.keys.len() as u64)?;
        let (key, facts) = self.keys.values().nth(chosen as usize)?;
        Some((record(*key), *facts))
    }
}

fn record(key: u64) -> Record {
    let mixed = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Record::new(mixed ^ mixed >> 31, 0)
}

impl Fake {
    pub(crate) fn new(name: &str) -> Self {
        let chosen = EvictionPolicy::named(name).expect("there is such a policy");
        Self {
            policy: policy(chosen, 5).expect("the policy evicts"),
            ticks: Ticks::default(),
            adaptive: chosen.rule == Rule::Adaptive,
            keys: HashMap::new(),
            evicted: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn has(&self, key: u64) -> bool {
        self.facts(key).is_some()
    }

    pub(crate) fn facts(&self, key: u64) -> Option<Facts> {
        let Record { shard, id, .. } = record(key);
        self.keys.get(&(shard, id)).map(|(_, facts)| *facts)
    }

    /// Uses a key. Says whether it was there.
    pub(crate) fn touch(&mut self, key: u64) -> bool {
        let was_there = self.use_stamp(key);
        if was_there {
            self.policy.observe(record(key).digest(), Event::Used);
        }
        was_there
    }

    /// The same without a word to the policy.
    pub(crate) fn use_stamp(&mut self, key: u64) -> bool {
        let Record { shard, id, .. } = record(key);
        let (now, window) = self.ticks.read();
        let Some((_, facts)) = self.keys.get_mut(&(shard, id)) else { return false };
        facts.stamp =
            if self.adaptive { adaptive::used(facts.stamp, now, window).unwrap_or(facts.stamp) } else { now };
        facts.frequency = facts.frequency.saturating_add(1);
        true
    }

    /// Creates a key without a deadline, and without a word to the policy. Returns what it would be told.
    pub(crate) fn insert(&mut self, key: u64) -> (Record, u32) {
        let (record, stamp) = (record(key), self.ticks.now());
        self.keys.insert((record.shard, record.id), (key, Facts { stamp, deadline: None, frequency: 1 }));
        (record, stamp)
    }

    /// Creates a key.
    pub(crate) fn create(&mut self, key: u64, deadline: Option<u64>) {
        let stamp = self.ticks.now();
        let Record { shard, id, .. } = record(key);
        self.keys.insert((shard, id), (key, Facts { stamp, deadline, frequency: 1 }));
        self.policy.observe(record(key).digest(), Event::Created);
        self.policy.file(record(key), stamp, &self.ticks);
    }

    /// Removes a key as a command does.
    pub(crate) fn remove(&mut self, key: u64) {
        let Record { shard, id, .. } = record(key);
        self.keys.remove(&(shard, id));
        self.policy.observe(record(key).digest(), Event::Removed);
    }

    /// Shows the keys to another policy.
    pub(crate) fn with_side<R>(&mut self, show: impl FnOnce(&mut dyn Keys) -> R) -> R {
        show(&mut Side { keys: &mut self.keys, evicted: &mut self.evicted })
    }

    pub(crate) fn evict(&mut self) -> Eviction {
        let mut side = Side { keys: &mut self.keys, evicted: &mut self.evicted };
        self.policy.evict(&mut side, &self.ticks, &mut { 100_000 })
    }

    /// Uses a key, or creates it in a cache of so many keys. Says whether it was there.
    pub(crate) fn request(&mut self, key: u64, capacity: usize) -> bool {
        if self.touch(key) {
            return true;
        }
        while self.len() >= capacity {
            assert_eq!(self.evict(), Eviction::Evicted);
        }
        self.create(key, None);
        false
    }
}
