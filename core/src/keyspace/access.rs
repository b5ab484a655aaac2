//! Access stamps: what an entry remembers of its use, in 31 bits, for OBJECT and for eviction.
//!
//! Under the LRU policies, and without any, a stamp is the logical clock of [`crate::evict::ticks`], which moves on with the time: every
//! 500 ms, under a memory limit every 10 ms and with the keys that are created: Valkey's one second is too coarse at the rates of an
//! in-process cache. Under the adaptive policies it is a small counter and the clock when the key was filed; there the clock moves with the keys
//! only. Under the LFU policies it is Valkey's pair of a decay time in minutes (16 bits) and a logarithmic counter (8 bits): the chance to
//! count up is 1 / ((counter - 5) * factor + 1), and the counter goes down by one every `lfu-decay-time` minutes.

use crate::evict::adaptive;
use crate::store::random;

/// Milliseconds between two moves of the clock while nothing can be evicted: OBJECT IDLETIME tells seconds, and most accesses to a key
/// that is asked for again and again have nothing to write.
pub(crate) const CALM_TICK_MS: u64 = 500;
const LFU_INITIAL: u8 = 5;

/// How stamps are kept, chosen by `maxmemory-policy` and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Time of the last access.
    Recency {
        /// The clock.
        now: u32,
    },
    /// Logarithmic frequency with decay.
    Frequency {
        /// `lfu-log-factor`.
        factor: u32,
        /// `lfu-decay-time`, minutes; 0 never decays.
        decay_minutes: u32,
    },
    /// A counter of uses since the key was filed.
    Reuse {
        /// The clock.
        now: u32,
        /// Ticks after filing in which uses do not count.
        window: u32,
    },
}

impl Recording {
    /// The stamp of an entry that is created at `now_ms`.
    pub(crate) fn first(self, now_ms: u64) -> u32 {
        match self {
            Recording::Recency { now } => now,
            Recording::Frequency { .. } => frequency_stamp(minutes(now_ms), LFU_INITIAL),
            Recording::Reuse { now, .. } => adaptive::first_stamp(now),
        }
    }

    /// The stamp after an access at `now_ms` to an entry stamped `old`.
    #[inline]
    pub(crate) fn next(self, old: u32, now_ms: u64) -> u32 {
        match self {
            Recording::Recency { now } => now,
            Recording::Frequency { factor, .. } => {
                let counter = self.frequency(old, now_ms);
                frequency_stamp(minutes(now_ms), count_up(counter, factor))
            }
            Recording::Reuse { now, window } => adaptive::used(old, now, window).unwrap_or(old),
        }
    }

    /// Whether an access may change the stamp `old`.
    #[inline]
    pub(crate) fn is_due(self, old: u32) -> bool {
        match self {
            Recording::Recency { now } => now != old,
            Recording::Frequency { .. } => true,
            Recording::Reuse { now, window } => adaptive::used(old, now, window).is_some(),
        }
    }

    /// The decayed frequency counter of a stamp; 0 under other policies.
    pub(crate) fn frequency(self, stamp: u32, now_ms: u64) -> u8 {
        let Recording::Frequency { decay_minutes, .. } = self else { return 0 };
        let (since, counter) = ((stamp >> 8) as u16, stamp as u8);
        let elapsed = minutes(now_ms).wrapping_sub(since);
        match u32::from(elapsed).checked_div(decay_minutes) {
            Some(periods) => counter.saturating_sub(periods.min(255) as u8),
            None => counter,
        }
    }

    /// The stamp of an entry whose frequency counter is that; `None` under other policies.
    pub(crate) fn stamp_of_frequency(self, counter: u8, now_ms: u64) -> Option<u32> {
        matches!(self, Recording::Frequency { .. }).then(|| frequency_stamp(minutes(now_ms), counter))
    }

    /// The clock as it stood when `stamp` was written; `None` where stamps hold no clock.
    pub(crate) fn clock_of(self, stamp: u32) -> Option<u32> {
        match self {
            Recording::Recency { .. } => Some(stamp),
            Recording::Frequency { .. } => None,
            Recording::Reuse { now, .. } => Some(adaptive::clock_of(stamp, now)),
        }
    }
}

fn minutes(now_ms: u64) -> u16 {
    (now_ms / 60_000) as u16
}

fn frequency_stamp(minutes: u16, counter: u8) -> u32 {
    (u32::from(minutes) << 8) | u32::from(counter)
}

fn count_up(counter: u8, factor: u32) -> u8 {
    let base = u64::from(counter.saturating_sub(LFU_INITIAL));
    let odds = base * u64::from(factor) + 1;
    if counter < u8::MAX && random().is_multiple_of(odds) { counter + 1 } else { counter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_count_only_after_the_window_and_up_to_three() {
        let mut stamp = Recording::Reuse { now: 100, window: 10 }.first(0);
        assert!(!Recording::Reuse { now: 110, window: 10 }.is_due(stamp));
        for now in [111, 112, 113, 114] {
            stamp = Recording::Reuse { now, window: 10 }.next(stamp, 0);
        }
        let recording = Recording::Reuse { now: 500, window: 10 };
        assert!(!recording.is_due(stamp));
        assert_eq!((stamp >> 29, recording.clock_of(stamp)), (3, Some(100)));
    }

    #[test]
    fn a_counter_grows_with_use_and_decays_with_time() {
        let recording = Recording::Frequency { factor: 10, decay_minutes: 1 };
        let mut stamp = recording.first(0);
        assert_eq!(recording.frequency(stamp, 0), LFU_INITIAL);
        for _ in 0..100_000 {
            stamp = recording.next(stamp, 0);
        }
        let reached = recording.frequency(stamp, 0);
        // Valkey documents 142 after 100,000 hits at factor 10.
        assert!((110..=175).contains(&reached), "{reached}");
        assert_eq!(recording.frequency(stamp, 10 * 60_000), reached - 10);
        assert_eq!(recording.frequency(stamp, 300 * 60_000), 0);
        let restored = recording.stamp_of_frequency(200, 60_000).unwrap();
        assert_eq!(recording.frequency(restored, 2 * 60_000), 199);
        assert_eq!(Recording::Recency { now: 1 }.stamp_of_frequency(200, 0), None);
    }

    #[test]
    fn without_decay_time_nothing_decays() {
        let recording = Recording::Frequency { factor: 0, decay_minutes: 0 };
        let stamp = recording.next(recording.first(0), 0);
        assert_eq!(recording.frequency(stamp, u64::from(u16::MAX) * 60_000), LFU_INITIAL + 1);
    }
}
