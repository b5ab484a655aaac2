//! The logical clock of eviction: what access stamps are made of, in one word that every read may load.
//!
//! A stamp by wall time is too coarse for an in-process cache, where 100,000 requests fall into 10 ms. So the clock counts keys created,
//! in steps of 1/4096 of the keys: at most 4096 ticks pass between the use of a key and its turn to go, whatever the rate of requests, and small
//! caches are exact. A hit loads the word and writes nothing but its entry's stamp. How ticks relate to wall time is
//! `keyspace::access`'s business.

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Bits of a stamp, and so of the clock.
const BITS: u32 = 31;
const MASK: u32 = (1 << BITS) - 1;
/// Where a new clock stands.
pub(crate) const CLOCK_START: u32 = 0;
/// No stamp: stamps have 31 bits.
const NO_STAMP: u32 = u32::MAX;
/// Bits of the clock that fit beside the adaptive policy's counter.
pub(crate) const SHORT_BITS: u32 = 29;
/// Hashes are sampled by as many low bits.
pub(crate) const SAMPLE_BITS: u32 = 24;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// The clock in the low half; in the high half the window of the adaptive policy, in ticks.
    word: AtomicU64,
    /// Keys whose hash has low bits below it are sampled; 0 samples none.
    threshold: AtomicU64,
    /// The stamp that needs no change, where that is the clock; else what no stamp ever is.
    present: AtomicUsize,
}

impl Ticks {
    /// Clock and window.
    #[inline]
    pub(crate) fn read(&self) -> (u32, u32) {
        let word = self.word.load(Ordering::Relaxed);
        (word as u32, (word >> 32) as u32)
    }

    /// The clock.
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.read().0
    }

    /// Has the clock stand there.
    pub(crate) fn begin_at(&self, clock: u32) {
        self.change(|_, window| (clock & MASK, window));
    }

    /// Moves the clock on by one tick.
    pub(crate) fn advance(&self) {
        self.change(|now, window| (now.wrapping_add(1) & MASK, window));
        if self.shown().is_some() {
            self.set_shown(true);
        }
    }

    /// The stamp that a use would not change: the clock, or what no stamp ever is.
    #[inline(always)]
    pub(crate) fn present(&self) -> u32 {
        self.present.load(Ordering::Relaxed) as u32
    }

    /// The clock, where stamps are that.
    #[inline(always)]
    pub(crate) fn shown(&self) -> Option<u32> {
        Some(self.present()).filter(|stamp| *stamp != NO_STAMP)
    }

    /// Says whether stamps are the clock, so that [`Ticks::present`] shows it.
    pub(crate) fn set_shown(&self, shown: bool) {
        let stamp = if shown { self.now() } else { NO_STAMP };
        self.present.store(stamp as usize, Ordering::Relaxed);
    }

    /// Sets the adaptive policy's window.
    pub(crate) fn set_window(&self, ticks: u32) {
        self.change(|now, _| (now, ticks));
    }

    fn change(&self, change: impl Fn(u32, u32) -> (u32, u32)) {
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            let (now, window) = change(old as u32, (old >> 32) as u32);
            let new = u64::from(now) | u64::from(window) << 32;
            match self.word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => old = changed,
            }
        }
    }

    /// Whether the key of this hash is sampled.
    #[inline]
    pub(crate) fn samples(&self, hash: u64) -> bool {
        hash & ((1 << SAMPLE_BITS) - 1) < self.threshold.load(Ordering::Relaxed)
    }

    /// Samples this share of all keys, from 0 to 1.
    pub(crate) fn set_sampled_share(&self, share: f64) {
        let all = (1u64 << SAMPLE_BITS) as f64;
        self.threshold.store((share.clamp(0.0, 1.0) * all) as u64, Ordering::Relaxed);
    }
}

/// Ticks from `then` to `now` on a clock of `bits` bits.
#[inline]
pub(crate) fn age(now: u32, then: u32, bits: u32) -> u32 {
    now.wrapping_sub(then) & ((1 << bits) - 1)
}

/// Ticks since a whole stamp.
#[inline]
pub(crate) fn stamp_age(now: u32, stamp: u32) -> u32 {
    age(now, stamp, BITS)
}

/// The stamp so many ticks ago.
pub(crate) fn stamp_of_age(now: u32, age: u32) -> u32 {
    now.wrapping_sub(age) & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_wraps_without_touching_the_window() {
        let ticks = Ticks { word: AtomicU64::new(u64::from(MASK)), ..Ticks::default() };
        ticks.set_window(7);
        ticks.advance();
        assert_eq!(ticks.read(), (0, 7));
        assert_eq!(ticks.present(), 0);
        ticks.set_shown(false);
        ticks.advance();
        assert_eq!((ticks.now(), ticks.present()), (1, NO_STAMP));
        assert_eq!(stamp_age(ticks.now(), MASK), 2);
        assert_eq!(age(3, (1 << SHORT_BITS) - 2, SHORT_BITS), 5);
    }

    #[test]
    fn the_threshold_samples_the_share_it_is_told() {
        let ticks = Ticks::default();
        assert!(!ticks.samples(0));
        ticks.set_sampled_share(1.0);
        assert!(ticks.samples(u64::MAX));
        ticks.set_sampled_share(0.25);
        let mut hash = 1u64;
        let sampled = (0..10_000).filter(|_| {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 29;
            ticks.samples(hash)
        });
        assert!((2_300..2_700).contains(&sampled.count()));
    }
}
