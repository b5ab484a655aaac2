//! The accounts of eviction: how exactly shards report their memory, and what evictions are counted.
//!
//! What a shard's memory is, the shard knows; what is done when the limit is passed is `keyspace::evictor`'s.

use crate::sync::{AtomicU64, Ordering};

/// The largest change of its memory that a shard keeps to itself, in bytes, to keep the total's cache line quiet.
const MOST_UNREPORTED: u64 = 4096;

/// Changes of a shard's memory up to this many bytes need not be reported. With 256 shards the total is then off by less than 1/256 of the
/// limit, and by less than 1 MiB.
#[inline]
pub(crate) fn unreported(limit: u64) -> usize {
    if limit == 0 { MOST_UNREPORTED as usize } else { (limit >> 16).min(MOST_UNREPORTED) as usize }
}

/// What one call of the evictor may cost, in microseconds; `None` is no bound.
///
/// `tenacity` is `maxmemory-eviction-tenacity`, 0 to 100: Valkey's scale, linear up to half a millisecond at 10 and then 15 % more for
/// each step.
pub(crate) fn time_limit_us(tenacity: usize) -> Option<u64> {
    match tenacity {
        0..=10 => Some(50 * tenacity as u64),
        11..=99 => Some((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64),
        _ => None,
    }
}

/// Counters for INFO.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    evicted: AtomicU64,
    /// Milliseconds above the limit, up to the last return below it.
    exceeded_ms: AtomicU64,
    /// Unix milliseconds since when the data is above the limit; 0 if it is not.
    exceeded_since: AtomicU64,
}

impl Counters {
    /// Counts evicted keys.
    pub(crate) fn add_evicted(&self, keys: u64) {
        self.evicted.fetch_add(keys, Ordering::Relaxed);
    }

    /// Evicted keys.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Remembers whether the data is above the limit.
    pub(crate) fn note_exceeded(&self, exceeded: bool, now_ms: u64) {
        let since = self.exceeded_since.load(Ordering::Relaxed);
        if exceeded && since == 0 {
            self.exceeded_since.store(now_ms.max(1), Ordering::Relaxed);
        } else if !exceeded && since != 0 && self.exceeded_since.swap(0, Ordering::Relaxed) == since {
            self.exceeded_ms.fetch_add(now_ms.saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// Milliseconds above the limit: in all, and since it was last passed.
    pub(crate) fn exceeded_ms(&self, now_ms: u64) -> (u64, u64) {
        let since = self.exceeded_since.load(Ordering::Relaxed);
        let current = if since == 0 { 0 } else { now_ms.saturating_sub(since) };
        (self.exceeded_ms.load(Ordering::Relaxed) + current, current)
    }

    /// Forgets what was counted, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        self.evicted.store(0, Ordering::Relaxed);
        self.exceeded_ms.store(0, Ordering::Relaxed);
        self.exceeded_since.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_all_shards_stays_below_a_256th() {
        for limit in [1, 1_000, 100_000, 1 << 30, 1 << 40] {
            assert!(unreported(limit) as u64 * 256 <= limit / 256 && unreported(limit) <= 4096, "{limit}");
        }
        assert_eq!(unreported(0), 4096);
    }

    #[test]
    fn tenacity_is_valkeys() {
        assert_eq!(time_limit_us(0), Some(0));
        assert_eq!(time_limit_us(10), Some(500));
        assert!((1_000..1_010).contains(&time_limit_us(15).unwrap()));
        assert!(time_limit_us(99).unwrap() > 100_000_000);
        assert_eq!(time_limit_us(100), None);
    }

    #[test]
    fn time_above_the_limit_adds_up() {
        let counters = Counters::default();
        for (exceeded, now) in [(true, 100), (true, 150), (false, 160), (false, 170), (true, 200)] {
            counters.note_exceeded(exceeded, now);
        }
        assert_eq!(counters.exceeded_ms(230), (90, 30));
        counters.reset();
        assert_eq!(counters.exceeded_ms(230), (0, 0));
    }
}
