//! Ghosts: the keys that were evicted not long ago, in 4 bytes each.
//!
//! A ghost is 16 bits of a digest and the time of its eviction, counted in evictions. They lie in buckets of 16, one cache line, chosen
//! by the digest; a new ghost takes the place of the oldest of its bucket. A key that was never here is taken for a ghost once in
//! 4,000 questions, which costs it a better place than it has earned and nothing else.

/// Ghosts in a bucket.
const WAYS: usize = 16;
/// Resolution of a ghost's age: parts of the number of ghosts.
const STEPS: usize = 4096;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// Fingerprint in the upper half, time in the lower; 0 is vacant.
    slots: Vec<u32>,
    /// Ghosts there is room for.
    capacity: usize,
    /// Evictions so far.
    evictions: u64,
    /// Evictions that one step of time stands for.
    per_step: u64,
}

impl Ghosts {
    /// Makes room for as many ghosts, unless the room there is is about right. Forgets all if it is not.
    pub(crate) fn fit(&mut self, capacity: usize) {
        let capacity = capacity.max(WAYS);
        if capacity > self.capacity || capacity < self.capacity / 2 {
            // Room to grow, and buckets are not filled evenly.
            self.capacity = capacity + capacity / 8;
            self.slots = vec![0; (self.capacity * 4 / 3).next_multiple_of(WAYS)];
            self.per_step = (self.capacity / STEPS).max(1) as u64;
            self.evictions = self.per_step;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * 4
    }

    fn now(&self) -> u16 {
        (self.evictions / self.per_step.max(1)) as u16
    }

    fn bucket(&self, digest: u64) -> std::ops::Range<usize> {
        let buckets = (self.slots.len() / WAYS) as u64;
        let first = (((digest >> 32) * buckets) >> 32) as usize * WAYS;
        first..first + WAYS
    }

    /// Remembers a key that is being evicted. O(1).
    pub(crate) fn add(&mut self, digest: u64) {
        if self.slots.is_empty() {
            return;
        }
        self.evictions += 1;
        let now = self.now();
        let bucket = self.bucket(digest);
        let place = self.slots[bucket].iter_mut().max_by_key(|slot| match **slot {
            0 => u32::MAX,
            slot => u32::from(now.wrapping_sub(slot as u16)),
        });
        *place.expect("a bucket has slots") = fingerprint(digest) << 16 | u32::from(now);
    }

    /// Whether the key was evicted within the last `within` evictions; it is a ghost no more. O(1).
    pub(crate) fn take(&mut self, digest: u64, within: usize) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let (now, bucket) = (self.now(), self.bucket(digest));
        let found = self.slots[bucket].iter_mut().find(|slot| **slot >> 16 == fingerprint(digest));
        found.is_some_and(|slot| {
            let age = u64::from(now.wrapping_sub(*slot as u16)) * self.per_step;
            *slot = 0;
            age <= within as u64
        })
    }
}

/// Never 0.
fn fingerprint(digest: u64) -> u32 {
    (digest as u32 & 0xffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::Record;

    fn digest(number: u64) -> u64 {
        Record::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0).digest()
    }

    #[test]
    fn ghosts_are_remembered_for_as_long_as_asked() {
        for capacity in [20, 1_000, 100_000] {
            let mut ghosts = Ghosts::default();
            assert!(!ghosts.take(digest(1), 10));
            ghosts.fit(capacity);
            for number in 0..3 * capacity as u64 {
                ghosts.add(digest(number));
            }
            let last = 3 * capacity as u64 - 1;
            assert!(ghosts.take(digest(last), capacity) && !ghosts.take(digest(last), capacity));
            let known = (2 * capacity as u64..last).filter(|number| ghosts.take(digest(*number), capacity));
            assert!(known.count() as f64 >= 0.9 * capacity as f64 - 2.0, "{capacity}");
            let old = (0..capacity as u64).filter(|number| ghosts.take(digest(*number), capacity));
            assert!(old.count() < 1 + capacity / 500, "{capacity}");
        }
    }
}
