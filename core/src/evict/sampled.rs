//! The best of a few samples: LFU, random and TTL policies, as Valkey has them.
//!
//! Each eviction draws `maxmemory-samples` keys and remembers the best victims of this and earlier draws in a pool of 16. Over all keys
//! they are drawn from the tables and nothing is kept; over keys with a deadline they are drawn from a bag of records, since such
//! keys may be few among many.

use super::records::{Bag, RECORD_BYTES};
use super::ticks::Ticks;
use super::{Eviction, Facts, Keys, Policy, Record, Verdict};
use crate::store::random;

/// Victims remembered from one eviction to the next.
const POOL: usize = 16;

/// What makes a key worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing: any key goes.
    None,
    /// The count of its accesses.
    Frequency,
    /// The time it has left to live.
    Deadline,
}

impl Worth {
    fn of(self, facts: &Facts) -> u64 {
        match self {
            Worth::None => 0,
            Worth::Frequency => u64::from(facts.frequency),
            Worth::Deadline => facts.deadline.unwrap_or(u64::MAX),
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Sampled {
    worth: Worth,
    volatile: bool,
    samples: usize,
    /// Keys with a deadline, if only they are evicted.
    bag: Bag,
    /// By worth, the least last.
    pool: Vec<(u64, Record)>,
}

impl Sampled {
    pub(crate) fn new(worth: Worth, volatile: bool, samples: usize) -> Self {
        let samples = if worth == Worth::None { 1 } else { samples };
        Self { worth, volatile, samples, bag: Bag::default(), pool: Vec::with_capacity(POOL + 1) }
    }

    fn draw(&mut self, keys: &mut dyn Keys, effort: &mut usize) -> Option<(Record, Facts)> {
        if !self.volatile {
            *effort = effort.saturating_sub(1);
            return keys.draw();
        }
        while self.bag.len() > 0 && *effort > 0 {
            *effort -= 1;
            let index = (random() % self.bag.len() as u64) as usize;
            let record = self.bag.get(index);
            let mut seen = None;
            keys.examine(record, &mut |facts| {
                seen = Some(facts);
                Verdict::Keep
            });
            match seen.filter(|facts| facts.deadline.is_some()) {
                Some(facts) => return Some((record, facts)),
                None => _ = self.bag.swap_remove(index),
            }
        }
        None
    }

    fn fill_pool(&mut self, keys: &mut dyn Keys, effort: &mut usize) {
        for _ in 0..self.samples {
            let Some((record, facts)) = self.draw(keys, effort) else { return };
            if self.pool.iter().any(|(_, other)| *other == record) {
                continue;
            }
            let worth = self.worth.of(&facts);
            let place = self.pool.partition_point(|(other, _)| *other > worth);
            self.pool.insert(place, (worth, record));
            if self.pool.len() > POOL {
                self.pool.remove(0);
            }
        }
    }
}

impl Policy for Sampled {
    fn file(&mut self, record: Record, _: u32, _: &Ticks) {
        if self.volatile {
            self.bag.push(record);
        }
    }

    fn evict(&mut self, keys: &mut dyn Keys, _: &Ticks, effort: &mut usize) -> Eviction {
        loop {
            self.fill_pool(keys, effort);
            while let Some((worth, record)) = self.pool.pop() {
                let mut evicted = false;
                let (volatile, rule) = (self.volatile, self.worth);
                keys.examine(record, &mut |facts| {
                    // A key that became worth more since it was drawn has to be drawn again.
                    if volatile && facts.deadline.is_none() || rule.of(&facts) > worth {
                        return Verdict::Keep;
                    }
                    evicted = true;
                    Verdict::Evict
                });
                if evicted {
                    return Eviction::Evicted;
                }
            }
            if *effort == 0 {
                return Eviction::OutOfEffort;
            }
            if self.volatile && self.bag.len() == 0 {
                return Eviction::NoCandidate;
            }
            if !self.volatile && keys.draw().is_none() {
                return Eviction::NoCandidate;
            }
        }
    }

    fn records(&self) -> usize {
        self.bag.len()
    }

    fn bytes(&self) -> usize {
        self.bag.len() * RECORD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::fake::Fake;

    #[test]
    fn keys_used_less_go_before_keys_used_more() {
        let mut cache = Fake::new("allkeys-lfu");
        for key in 0..500 {
            cache.create(key, None);
            (0..key % 10).for_each(|_| _ = cache.touch(key));
        }
        (0..250).for_each(|_| assert_eq!(cache.evict(), Eviction::Evicted));
        let gone = |uses| cache.evicted.iter().filter(|key| *key % 10 == uses).count();
        // Of 50 each; 48 with a standard deviation of 1.5, and none, where chance alone would take 25.
        assert!(gone(0) >= 38 && gone(9) <= 5, "{} and {}", gone(0), gone(9));
    }

    #[test]
    fn a_key_used_since_it_was_drawn_stays() {
        let mut cache = Fake::new("allkeys-lfu");
        // So many samples of so few keys see nearly all of them.
        cache.policy = Box::new(Sampled::new(Worth::Frequency, false, 64));
        (0..17).for_each(|key| cache.create(key, None));
        cache.evict();
        let left: Vec<u64> = (0..17).filter(|key| cache.has(*key)).collect();
        for key in &left[1..] {
            (0..20).for_each(|_| _ = cache.touch(*key));
        }
        (0..4).for_each(|_| assert_eq!(cache.evict(), Eviction::Evicted));
        assert!(!cache.has(left[0]), "what the pool remembers of the others is out of date");
    }

    #[test]
    fn near_deadlines_go_first_and_only_keys_with_one_go_at_all() {
        for name in ["volatile-ttl", "volatile-random", "volatile-lfu"] {
            let mut cache = Fake::new(name);
            for key in 0..600 {
                cache.create(key, (key % 3 == 0).then_some(1_000 + key));
            }
            (0..100).for_each(|_| assert_eq!(cache.evict(), Eviction::Evicted, "{name}"));
            assert!(cache.evicted.iter().all(|key| key % 3 == 0), "{name}");
            if name == "volatile-ttl" {
                let sum: u64 = cache.evicted.iter().sum();
                assert!(sum / 100 < 220, "{}", sum / 100);
            }
            (0..100).for_each(|_| assert_eq!(cache.evict(), Eviction::Evicted, "{name}"));
            assert_eq!((cache.evict(), cache.len()), (Eviction::NoCandidate, 400), "{name}");
        }
    }

    #[test]
    fn every_key_goes_by_chance() {
        let mut cache = Fake::new("allkeys-random");
        (0..200).for_each(|key| cache.create(key, None));
        (0..100).for_each(|_| assert_eq!(cache.evict(), Eviction::Evicted));
        let early = cache.evicted.iter().filter(|key| **key < 100).count();
        assert!((25..=75).contains(&early), "{early}");
    }
}
