//! Least recently used, exact but for the length of a tick: `allkeys-lru` and `volatile-lru`.
//!
//! A calendar of buckets, each for a span of stamps, from the oldest to the present one; a record lies in the bucket of the stamp that
//! its key had when it was filed. To evict, the oldest bucket is opened: each record whose key was used since moves to the bucket of its
//! present stamp, the others are sorted by stamp and go in that order. So a key is looked at once for each time that it reached the oldest
//! bucket, about twice for each eviction, and no hit ever moves anything.
//!
//! Valkey takes the best of a few samples instead, and its stamps are seconds: up to 8 points of hit ratio at in-process rates.

use super::calendar::Calendar;
use super::shelf::NARROW;
use super::ticks::{Ticks, stamp_age};
use super::{Eviction, Facts, Keys, Policy, Record, Verdict};

/// A new key moves the clock on once in as many parts of all keys.
const TICKS_PER_TURN: usize = 4096;
/// A bucket is closed at so many records at most.
const BUCKET: usize = 4 * NARROW;
/// Records sorted at once: what one call may take beyond its effort.
const FRONT: usize = 1024;

/// Records at which a bucket is closed, of so many in all: 1/32 of them, in whole chunks, since the places left in a chunk are lost. Where
/// that is less than a chunk, 1/8 of them: a few dozen chunks take more than a few hundred records, and their number changes with each key.
fn full(len: usize) -> usize {
    match len / 32 / NARROW * NARROW {
        0 => (len / 8).clamp(1, NARROW),
        whole => whole.min(BUCKET),
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Lru {
    volatile: bool,
    buckets: Calendar,
    /// What was in the oldest bucket, by stamp, the oldest last.
    front: Vec<(u32, Record)>,
    len: usize,
    /// Keys filed since the last tick.
    filed: usize,
}

impl Lru {
    pub(crate) fn new(volatile: bool) -> Self {
        Self { volatile, buckets: Calendar::default(), front: Vec::new(), len: 0, filed: 0 }
    }

    fn put(&mut self, record: Record, stamp: u32, now: u32) {
        let full = full(self.len);
        let last = self.buckets.len().checked_sub(1).and_then(|last| self.buckets.get(last));
        if last.is_none_or(|(start, len)| len >= full && start != now) {
            self.buckets.begin(now);
        }
        let age = stamp_age(now, stamp);
        let after = self.buckets.partition_point(|start| stamp_age(now, start) >= age);
        self.buckets.push(after.saturating_sub(1), record);
        self.len += 1;
    }

    /// Whether a key still belongs to this policy.
    fn is_mine(&self, facts: &Facts) -> bool {
        !self.volatile || facts.deadline.is_some()
    }

    /// Sorts what is left of the oldest bucket into the front. Returns `false` if there is no bucket.
    fn open_oldest(&mut self, keys: &mut dyn Keys, ticks: &Ticks, effort: &mut usize) -> bool {
        let now = ticks.now();
        while self.buckets.get(0).is_some_and(|(_, len)| len == 0) {
            self.buckets.end_first();
        }
        let end = self.buckets.get(1).map(|(start, _)| stamp_age(now, start));
        for _ in 0..FRONT {
            let Some(record) = self.buckets.pop() else { break };
            self.len -= 1;
            *effort = effort.saturating_sub(1);
            let mut seen = None;
            keys.examine(record, &mut |facts| {
                seen = Some(facts);
                Verdict::Keep
            });
            let Some(facts) = seen.filter(|facts| self.is_mine(facts)) else { continue };
            if end.is_some_and(|end| stamp_age(now, facts.stamp) <= end) {
                self.put(record, facts.stamp, now);
            } else {
                self.front.push((facts.stamp, record));
                self.len += 1;
            }
        }
        self.front.sort_by_key(|(stamp, _)| stamp_age(now, *stamp));
        !self.front.is_empty() || self.buckets.len() > 0
    }
}

impl Policy for Lru {
    fn file(&mut self, record: Record, stamp: u32, ticks: &Ticks) {
        self.put(record, stamp, ticks.now());
        self.filed += 1;
        if self.filed > self.len / TICKS_PER_TURN {
            self.filed = 0;
            ticks.advance();
        }
    }

    fn evict(&mut self, keys: &mut dyn Keys, ticks: &Ticks, effort: &mut usize) -> Eviction {
        loop {
            if *effort == 0 {
                return Eviction::OutOfEffort;
            }
            let Some((stamp, record)) = self.front.pop() else {
                if !self.open_oldest(keys, ticks, effort) {
                    return Eviction::NoCandidate;
                }
                continue;
            };
            self.len -= 1;
            *effort -= 1;
            let mut used_at = None;
            let mut evicted = false;
            let volatile = self.volatile;
            keys.examine(record, &mut |facts| {
                if volatile && facts.deadline.is_none() {
                    return Verdict::Keep;
                }
                if facts.stamp != stamp {
                    used_at = Some(facts.stamp);
                    return Verdict::Keep;
                }
                evicted = true;
                Verdict::Evict
            });
            if let Some(stamp) = used_at {
                self.put(record, stamp, ticks.now());
            }
            if evicted {
                return Eviction::Evicted;
            }
        }
    }

    fn records(&self) -> usize {
        self.len
    }

    fn bytes(&self) -> usize {
        self.buckets.bytes() + self.front.len() * size_of::<(u32, Record)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::fake::Fake;
    use crate::store::random;

    #[test]
    fn the_cache_holds_what_was_used_last() {
        for capacity in [1, 20, 100, 3_000] {
            let mut cache = Fake::new("allkeys-lru");
            let (mut order, mut hits, mut exact_hits) = (Vec::<u64>::new(), 0, 0);
            for _ in 0..20 * capacity {
                let key = random() % (2 * capacity as u64);
                let key = key * key / (2 * capacity as u64);
                hits += usize::from(cache.request(key, capacity));
                exact_hits += usize::from(order.contains(&key));
                order.retain(|other| *other != key);
                order.push(key);
                if order.len() > capacity {
                    order.remove(0);
                }
            }
            // Uses between two new keys have no order among themselves.
            assert!(hits.abs_diff(exact_hits) <= 20 + capacity / 10, "{hits}, {exact_hits} at {capacity}");
            let strangers = order.iter().filter(|key| !cache.has(**key)).count();
            assert!(strangers <= 5 + capacity / 50, "{strangers} at {capacity}");
        }
    }

    #[test]
    fn memory_grows_with_keys_and_not_in_steps() {
        let bytes_per_key = |capacity: usize| {
            let mut cache = Fake::new("allkeys-lru");
            let mut sum = 0;
            for request in 0..20 * capacity {
                let key = random() % (4 * capacity as u64);
                cache.request(key * key / (4 * capacity as u64), capacity);
                sum += if request >= 10 * capacity { cache.policy.bytes() } else { 0 };
            }
            sum as f64 / (10 * capacity * capacity) as f64
        };
        // On either side of where the number of chunks in a bucket changes, or that of records in a bucket of one.
        for (below, above) in [(250, 260), (1_500, 1_600), (3_000, 3_150)] {
            let (before, after) = (bytes_per_key(below), bytes_per_key(above));
            assert!(before.max(after) < 12.0, "{before} and {after} bytes a key at {below} and {above}");
            assert!((before - after).abs() < 3.0, "{before} and {after} bytes a key at {below} and {above}");
        }
    }

    #[test]
    fn records_of_removed_keys_and_of_keys_without_deadline_are_dropped() {
        let mut cache = Fake::new("volatile-lru");
        for key in 0..100 {
            cache.create(key, (key % 2 == 0).then_some(1_000));
        }
        (0..50).for_each(|key| cache.remove(key));
        let victims: Vec<Eviction> = (0..26).map(|_| cache.evict()).collect();
        assert_eq!(victims[24..], [Eviction::Evicted, Eviction::NoCandidate]);
        assert_eq!(cache.evicted, (50..100).step_by(2).collect::<Vec<_>>());
        assert_eq!(cache.policy.records(), 0);
    }
}
