//! Access stamps: what an entry remembers of its last use, in 31 bits, for OBJECT and for eviction.
//!
//! Under the LRU policies a stamp is a time in ticks of 10 ms (248 days until it wraps; Valkey's one second is too coarse
//! at the rates of an in-process cache). Under the LFU policies it is Valkey's pair of a decay time in minutes (16 bits) and a
//! logarithmic counter (8 bits): the chance to count up is 1 / ((counter - 5) * factor + 1), and the counter goes down by one
//! every `lfu-decay-time` minutes.

use crate::store::random;

/// Milliseconds per tick of an LRU stamp.
pub(crate) const TICK_MS: u64 = 10;
const STAMP_BITS: u32 = 31;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const LFU_INITIAL: u8 = 5;

/// How stamps are kept, chosen by `maxmemory-policy` and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Time of the last access.
    Recency,
    /// Logarithmic frequency with decay.
    Frequency {
        /// `lfu-log-factor`.
        factor: u32,
        /// `lfu-decay-time`, minutes; 0 never decays.
        decay_minutes: u32,
    },
}

impl Recording {
    /// The stamp of a new entry at `now`.
    pub(crate) fn first(self, now_ms: u64) -> u32 {
        match self {
            Recording::Recency => tick(now_ms),
            Recording::Frequency { .. } => frequency_stamp(minutes(now_ms), LFU_INITIAL),
        }
    }

    /// The stamp after an access at `now` to an entry stamped `old`.
    #[inline]
    pub(crate) fn next(self, old: u32, now_ms: u64) -> u32 {
        match self {
            Recording::Recency => tick(now_ms),
            Recording::Frequency { factor, .. } => {
                let counter = self.frequency(old, now_ms);
                frequency_stamp(minutes(now_ms), count_up(counter, factor))
            }
        }
    }

    /// The decayed frequency counter of a stamp; meaningless under recency.
    pub(crate) fn frequency(self, stamp: u32, now_ms: u64) -> u8 {
        let Recording::Frequency { decay_minutes, .. } = self else { return 0 };
        let (since, counter) = ((stamp >> 8) as u16, stamp as u8);
        let elapsed = minutes(now_ms).wrapping_sub(since);
        match u32::from(elapsed).checked_div(decay_minutes) {
            Some(periods) => counter.saturating_sub(periods.min(255) as u8),
            None => counter,
        }
    }

    /// Milliseconds since the access that a stamp remembers; meaningless under frequency.
    pub(crate) fn idle_ms(self, stamp: u32, now_ms: u64) -> u64 {
        (u64::from(tick(now_ms)).wrapping_sub(u64::from(stamp)) & STAMP_MASK) * TICK_MS
    }
}

#[inline]
fn tick(now_ms: u64) -> u32 {
    ((now_ms / TICK_MS) & STAMP_MASK) as u32
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
    fn idle_time_survives_the_wrap_of_the_stamp() {
        let wrap = (1 << STAMP_BITS) * TICK_MS;
        let stamp = Recording::Recency.first(wrap - 1_000);
        assert_eq!(Recording::Recency.idle_ms(stamp, wrap + 2_000), 3_000);
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
    }

    #[test]
    fn without_decay_time_nothing_decays() {
        let recording = Recording::Frequency { factor: 0, decay_minutes: 0 };
        let stamp = recording.next(recording.first(0), 0);
        assert_eq!(recording.frequency(stamp, u64::from(u16::MAX) * 60_000), LFU_INITIAL + 1);
    }
}
