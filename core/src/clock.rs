//! The one place that reads time: a clock that is real, or moved by hand in tests.
//!
//! Who needs the time keeps a clone; who may read it (access functions, the executor, the reaper) is ruled by the architecture.

#![allow(dead_code)]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A clock; clones share one source and one coarse tick.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    /// Unix time in milliseconds at the last refresh.
    coarse_ms: AtomicU64,
}

enum Source {
    /// The system's clocks; monotonic time counts from the instant kept here.
    Real(Instant),
    /// Microseconds of unix time, and those it started with.
    Manual { now_us: AtomicU64, start_us: u64 },
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_manual() { "manual" } else { "real" };
        f.debug_struct("Clock").field("kind", &kind).field("coarse_ms", &self.coarse_ms()).finish()
    }
}

impl Clock {
    /// The system's time.
    pub(crate) fn real() -> Self {
        Self::new(Source::Real(Instant::now()))
    }

    /// A clock that stands at `start_ms`, unix milliseconds, until it is advanced.
    pub(crate) fn manual(start_ms: u64) -> Self {
        let start_us = start_ms * 1000;
        Self::new(Source::Manual { now_us: AtomicU64::new(start_us), start_us })
    }

    fn new(source: Source) -> Self {
        let clock = Self(Arc::new(Inner { source, coarse_ms: AtomicU64::new(0) }));
        clock.refresh();
        clock
    }

    /// Whether the clock is moved by hand.
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.0.source, Source::Manual { .. })
    }

    /// Moves a manual clock forward, for all its clones, and refreshes the coarse tick.
    ///
    /// # Panics
    /// On a real clock, which nobody can move.
    pub(crate) fn advance(&self, by: Duration) {
        let Source::Manual { now_us, .. } = &self.0.source else {
            panic!("only a manual clock can be advanced")
        };
        now_us.fetch_add(by.as_micros() as u64, Relaxed);
        self.refresh();
    }

    /// Unix time in milliseconds. About 20 ns on a real clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// Unix time in microseconds. It follows adjustments of the system's clock, and may step back with it.
    pub(crate) fn now_us(&self) -> u64 {
        match &self.0.source {
            Source::Real(_) => {
                // A system clock before 1970 counts as 1970.
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
            }
            Source::Manual { now_us, .. } => now_us.load(Relaxed),
        }
    }

    /// Nanoseconds since the clock was made; never steps back.
    pub(crate) fn mono_ns(&self) -> u64 {
        match &self.0.source {
            Source::Real(start) => start.elapsed().as_nanos() as u64,
            Source::Manual { now_us, start_us } => (now_us.load(Relaxed) - start_us) * 1000,
        }
    }

    /// Starts measuring a span of monotonic time.
    pub(crate) fn start_timer(&self) -> Timer {
        Timer { start_ns: self.mono_ns() }
    }

    /// Unix time in milliseconds as of the last [`Clock::refresh`]: one relaxed load.
    pub(crate) fn coarse_ms(&self) -> u64 {
        self.0.coarse_ms.load(Relaxed)
    }

    /// Brings the coarse tick up to date and returns it. Called by the background thread and by whoever has read the time anyway.
    pub(crate) fn refresh(&self) -> u64 {
        let now = self.now_ms();
        self.0.coarse_ms.store(now, Relaxed);
        now
    }
}

/// A span being measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    start_ns: u64,
}

impl Timer {
    /// Nanoseconds since the start, by the clock the timer came from.
    pub(crate) fn elapsed_ns(&self, clock: &Clock) -> u64 {
        clock.mono_ns() - self.start_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_advanced() {
        let clock = Clock::manual(1_000);
        let clone = clock.clone();
        let timer = clock.start_timer();
        assert_eq!((clock.now_ms(), clock.now_us(), clock.mono_ns()), (1_000, 1_000_000, 0));
        clone.advance(Duration::from_micros(1_500));
        assert_eq!((clock.now_ms(), clock.now_us(), clock.coarse_ms()), (1_001, 1_001_500, 1_001));
        assert_eq!(timer.elapsed_ns(&clock), 1_500_000);
    }

    #[test]
    fn a_real_clock_runs() {
        let clock = Clock::real();
        let timer = clock.start_timer();
        // 2020 and 2100: enough to tell a unix time in milliseconds from any other unit.
        assert!((1_577_836_800_000..4_102_444_800_000).contains(&clock.now_ms()));
        assert!(clock.coarse_ms() > 0 && !clock.is_manual());
        while timer.elapsed_ns(&clock) < 2_000_000 {
            std::hint::spin_loop();
        }
        assert!(clock.refresh() >= clock.coarse_ms());
        assert!(clock.mono_ns() >= 2_000_000);
    }

    #[test]
    #[should_panic(expected = "only a manual clock")]
    fn a_real_clock_cannot_be_advanced() {
        Clock::real().advance(Duration::from_secs(1));
    }
}
