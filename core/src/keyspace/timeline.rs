//! When the logical clock stood at what: how stamps become times again, for OBJECT IDLETIME.
//!
//! A sample is taken every 10 ms at most. When there are many, those go that lie closer together than a 128th of their age, so a time is
//! known to within so small a part of its distance. What stamps are is [`super::access`]'s.

use super::access::CALM_TICK_MS;
use crate::evict::ticks::{CLOCK_START, stamp_age, stamp_of_age};

/// Samples kept: 64 KiB. A year of samples every 10 ms comes to 2,900.
const MOST: usize = 4096;
/// Part of its age to which a time is known.
const PRECISION: u64 = 128;

/// Samples of the clock, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    samples: Vec<(u32, u64)>,
}

impl Timeline {
    /// Notes that the clock stands at `clock` at `now_ms`, if it moved since the last note.
    pub(crate) fn note(&mut self, clock: u32, now_ms: u64) {
        if self.samples.last().is_some_and(|last| last.0 == clock) {
            return;
        }
        if self.samples.len() == MOST {
            self.thin_out(now_ms);
        }
        self.samples.push((clock, now_ms));
    }

    /// Notes where the clock began, if nothing was noted yet: it may have moved since.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        if self.samples.is_empty() {
            self.samples.push(self.first(now_ms));
        }
    }

    /// The first sample, or what it is if it is taken now.
    fn first(&self, now_ms: u64) -> (u32, u64) {
        self.samples.first().copied().unwrap_or((CLOCK_START, now_ms))
    }

    /// Milliseconds since the clock was last seen to have moved; very many if it never was, or if the time went back.
    pub(crate) fn stood_still_for(&self, now_ms: u64) -> u64 {
        self.samples.last().and_then(|last| now_ms.checked_sub(last.1)).unwrap_or(u64::MAX)
    }

    fn thin_out(&mut self, now_ms: u64) {
        let mut kept = 1;
        for next in 1..self.samples.len() {
            let (_, time) = self.samples[next];
            let before = self.samples[kept.max(2) - 2].1;
            let is_close = kept > 1 && time - before <= now_ms.saturating_sub(time) / PRECISION;
            kept += usize::from(!is_close);
            self.samples[kept - 1] = self.samples[next];
        }
        self.samples.truncate(kept);
    }

    /// Milliseconds since an access that was stamped `stamp`. O(log samples).
    ///
    /// Before the first sample the clock is taken to have moved as it does while it is calm: what comes from elsewhere may be older.
    pub(crate) fn idle_ms(&self, stamp: u32, clock: u32, now_ms: u64) -> u64 {
        let age = stamp_age(clock, stamp);
        let (first, time) = self.first(now_ms);
        if let Some(before @ 1..) = age.checked_sub(stamp_age(clock, first)) {
            return now_ms.saturating_sub(time) + u64::from(before) * CALM_TICK_MS;
        }
        let after = self.samples.partition_point(|sample| stamp_age(clock, sample.0) > age);
        self.samples.get(after).map_or(0, |sample| now_ms.saturating_sub(sample.1))
    }

    /// The stamp of an access so many milliseconds ago. O(log samples).
    pub(crate) fn stamp_of(&self, idle_ms: u64, clock: u32, now_ms: u64) -> u32 {
        /// Half of the clock's round: what is older would look new.
        const OLDEST: u32 = 1 << 30;
        let older = self.samples.partition_point(|sample| now_ms.saturating_sub(sample.1) >= idle_ms);
        if let Some(last) = older.checked_sub(1) {
            return self.samples[last].0;
        }
        let (first, time) = self.first(now_ms);
        let ticks_before = (idle_ms - now_ms.saturating_sub(time)) / CALM_TICK_MS;
        let age = u64::from(stamp_age(clock, first)) + ticks_before;
        stamp_of_age(clock, age.min(OLDEST.into()) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_are_known_to_a_part_in_hundreds_of_their_length() {
        let mut timeline = Timeline::default();
        let start = u32::MAX >> 1;
        for tick in 0..100_000u32 {
            timeline.note(start.wrapping_add(tick) & u32::MAX >> 1, u64::from(tick) * 10);
        }
        let now = 99_999;
        let clock = start.wrapping_add(now) & u32::MAX >> 1;
        for ago in [0, 1, 100, 5_000, 50_000, 99_999] {
            let stamp = clock.wrapping_sub(ago) & u32::MAX >> 1;
            let idle = timeline.idle_ms(stamp, clock, u64::from(now) * 10);
            let expected = u64::from(ago) * 10;
            assert!(idle <= expected && expected - idle <= expected / 100, "{idle} for {expected}");
        }
        assert!(timeline.samples.len() <= MOST);
    }

    #[test]
    fn a_stamp_tells_the_time_that_it_was_made_for() {
        let (mut timeline, start) = (Timeline::default(), 77);
        for tick in 0..1_000 {
            timeline.note(start + tick, 5_000_000 + u64::from(tick) * CALM_TICK_MS);
        }
        let (clock, now) = (start + 999, 5_000_000 + 999 * CALM_TICK_MS);
        // What is older than the first sample, 499.5 seconds ago, is known all the same.
        for seconds in [0, 1, 7, 400, 499, 500, 1_000, 1_000_000] {
            let stamp = timeline.stamp_of(seconds * 1_000, clock, now);
            assert_eq!(timeline.idle_ms(stamp, clock, now) / 1_000, seconds, "{seconds}");
        }
        let oldest = timeline.stamp_of(u64::MAX, clock, now);
        assert!(timeline.idle_ms(oldest, clock, now) > 1 << 38);
        // Before the first sample the clock began just now, however far it has come.
        let timeline = Timeline::default();
        let idle = |stamp| timeline.idle_ms(stamp, 9, 70_000);
        assert_eq!((idle(timeline.stamp_of(5_000, 9, 70_000)), idle(0), idle(5), idle(9)), (5_000, 0, 0, 0));
    }

    #[test]
    fn an_access_after_the_last_sample_was_just_now() {
        let mut timeline = Timeline::default();
        timeline.note(5, 1_000);
        timeline.note(5, 9_000);
        assert_eq!(timeline.idle_ms(5, 8, 9_000), 8_000);
        assert_eq!(timeline.idle_ms(8, 8, 9_000), 0);
    }
}
