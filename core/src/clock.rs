//! The only file that reads time.
//!
//! What deadlines and stamps mean is left to those who keep them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time: the system's, one that a test moves by hand, or one that is leased. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Arc<Source>,
}

#[derive(Debug)]
struct Source {
    /// A test drives the clock.
    is_manual: bool,
    /// Microseconds since the epoch at which the clock stands; 0 is the system's time, [`LEASED`] that of its lease.
    stands_at_us: AtomicU64,
    /// Milliseconds since the epoch as of the last [`Clock::refresh`].
    coarse_ms: AtomicU64,
    #[cfg(feature = "remote")]
    leased: Option<Leased>,
}

/// What a clock that is leased stands at.
#[cfg(feature = "remote")]
const LEASED: u64 = u64::MAX;

/// A time that setting the system's clock does not move, and up to when deadlines are worth anything.
#[cfg(feature = "remote")]
#[derive(Debug)]
struct Leased {
    start: Instant,
    /// Unix microseconds at the start.
    start_us: u64,
    /// What [`os::late_steady_ms`](crate::os::late_steady_ms) said at the start.
    start_tick_ms: Option<u64>,
    /// In milliseconds of this clock: from then on every deadline has passed.
    until_ms: AtomicU64,
}

#[cfg(feature = "remote")]
impl Leased {
    fn now_us(&self) -> u64 {
        self.start_us + self.start.elapsed().as_micros() as u64
    }

    /// Its time in milliseconds, off by less than [`LATE_MS`]: the ticks that it is reckoned from are late by half of that at most.
    #[inline]
    fn late_ms(&self) -> u64 {
        if let (Some(start_ms), Some(now_ms)) = (self.start_tick_ms, crate::os::late_steady_ms()) {
            return self.start_us / 1000 + (now_ms - start_ms);
        }
        self.now_us() / 1000
    }

    /// By the lease, and by the deadline, exact where the late time leaves a doubt.
    #[inline(never)]
    fn has_passed(&self, deadline_ms: u64) -> bool {
        let end_ms = deadline_ms.min(self.until_ms.load(Ordering::Acquire));
        end_ms <= self.late_ms() + LATE_MS && end_ms <= self.now_us() / 1000
    }
}

/// More than [`Clock::late_ms`] is ever late by, in milliseconds.
pub(crate) const LATE_MS: u64 = 20;

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Timer(Instant);

impl Timer {
    /// Time since [`Clock::timer`].
    #[inline]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Notices when the system's time is set, or when the machine has slept: what counts in unix time then has another distance.
#[derive(Debug)]
pub(crate) struct Jumps {
    timer: Timer,
    /// Unix milliseconds when the timer stood at 0, as of the last look.
    start_ms: u64,
}

impl Jumps {
    /// A difference that rounding and what [`Jumps::look`] takes don't make.
    const LEAST_MS: u64 = 5;

    pub(crate) fn new() -> Self {
        Self { timer: Timer(Instant::now()), start_ms: Clock::system_ms() }
    }

    /// The time in unix milliseconds, and whether it has jumped since the last look.
    pub(crate) fn look(&mut self) -> (u64, bool) {
        let elapsed = || self.timer.elapsed().as_millis() as u64;
        // A thread that is set aside between its looks at two clocks has seen no jump.
        let (now_ms, elapsed_ms) = loop {
            let (before, now_ms, after) = (elapsed(), Clock::system_ms(), elapsed());
            if after - before <= 1 {
                break (now_ms, after);
            }
        };
        (now_ms, self.jumped(now_ms, elapsed_ms))
    }

    fn jumped(&mut self, now_ms: u64, elapsed_ms: u64) -> bool {
        let start_ms = now_ms.wrapping_sub(elapsed_ms);
        let has_jumped =
            start_ms.wrapping_sub(self.start_ms).min(self.start_ms.wrapping_sub(start_ms)) > Self::LEAST_MS;
        if has_jumped {
            self.start_ms = start_ms;
        }
        has_jumped
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self {
            source: Arc::new(Source {
                is_manual: false,
                stands_at_us: AtomicU64::new(0),
                coarse_ms: AtomicU64::new(system_us() / 1000),
                #[cfg(feature = "remote")]
                leased: None,
            }),
        }
    }

    /// A clock that goes on evenly from the system's time, whoever sets that, and by which every deadline has passed until [`Clock::lease`] says otherwise:
    /// for what is worth keeping only as long as somebody vouches for it.
    #[cfg(feature = "remote")]
    pub(crate) fn leased() -> Self {
        let start_us = system_us();
        let start_tick_ms = crate::os::late_steady_ms();
        let leased = Leased { start: Instant::now(), start_us, start_tick_ms, until_ms: AtomicU64::new(0) };
        let coarse_ms = AtomicU64::new(start_us / 1000);
        let stands_at_us = AtomicU64::new(LEASED);
        Self { source: Arc::new(Source { is_manual: false, stands_at_us, coarse_ms, leased: Some(leased) }) }
    }

    /// Has deadlines of a leased clock count until then, in its own milliseconds; 0 ends the lease. Whoever reads a key next goes by it.
    #[cfg(feature = "remote")]
    pub(crate) fn lease(&self, until_ms: u64) {
        if let Some(leased) = &self.source.leased {
            leased.until_ms.store(until_ms, Ordering::Release);
        }
    }

    /// Unix time of the system in milliseconds.
    pub(crate) fn system_ms() -> u64 {
        system_us() / 1000
    }

    /// A clock that stands at `start_ms` unix milliseconds until [`Clock::advance`] moves it.
    pub fn manual(start_ms: u64) -> Self {
        let stands_at_us = AtomicU64::new((start_ms * 1000).max(1));
        let coarse_ms = AtomicU64::new(start_ms);
        Self {
            source: Arc::new(Source {
                is_manual: true,
                stands_at_us,
                coarse_ms,
                #[cfg(feature = "remote")]
                leased: None,
            }),
        }
    }

    /// Whether a test drives it.
    pub fn is_manual(&self) -> bool {
        self.source.is_manual
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// If it is the system's clock.
    pub fn advance(&self, time: Duration) {
        assert!(self.is_manual(), "only a manual clock can be moved");
        self.source.stands_at_us.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.refresh();
    }

    /// Has the clock stand at a time, in unix milliseconds, as long as `work` lasts: what was done then is done again.
    pub(crate) fn held_at<R>(&self, ms: u64, work: impl FnOnce() -> R) -> R {
        /// Goes on as before, whatever happens.
        struct Held<'c>(&'c Clock, u64);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.source.stands_at_us.store(self.1, Ordering::Relaxed);
                self.0.refresh();
            }
        }
        let _held = Held(self, self.source.stands_at_us.load(Ordering::Relaxed));
        self.hold_at(ms);
        work()
    }

    /// Moves a clock that is held.
    pub(crate) fn hold_at(&self, ms: u64) {
        self.source.stands_at_us.store(ms.max(1).saturating_mul(1000), Ordering::Relaxed);
        self.refresh();
    }

    /// Unix time in microseconds. About 20 ns.
    #[inline]
    pub fn now_us(&self) -> u64 {
        match self.source.stands_at_us.load(Ordering::Relaxed) {
            0 => system_us(),
            time => self.other_us(time),
        }
    }

    /// Unix time in milliseconds. About 20 ns.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// Unix time in milliseconds as of the last [`Clock::refresh`]. One load.
    #[inline]
    pub fn coarse_ms(&self) -> u64 {
        self.source.coarse_ms.load(Ordering::Relaxed)
    }

    /// Unix time in milliseconds as the system last noted it, at most 10 ms late. About 5 ns, and right without a background thread.
    #[inline]
    pub fn late_ms(&self) -> u64 {
        match self.source.stands_at_us.load(Ordering::Relaxed) {
            0 => crate::os::late_ms().unwrap_or_else(|| self.now_ms()),
            time => self.other_us(time) / 1000,
        }
    }

    #[cfg(not(feature = "remote"))]
    #[inline(always)]
    fn other_us(&self, stands_at_us: u64) -> u64 {
        stands_at_us
    }

    /// The time of a clock that is not the system's. Apart, so that the system's takes no longer for there being others.
    #[cfg(feature = "remote")]
    #[cold]
    #[inline(never)]
    fn other_us(&self, stands_at_us: u64) -> u64 {
        match &self.source.leased {
            Some(leased) if stands_at_us == LEASED => leased.now_us(),
            _ => stands_at_us,
        }
    }

    /// Whether a deadline in unix milliseconds has passed: exact, but the exact clock is only asked where the late one leaves a doubt.
    #[inline]
    pub fn has_passed(&self, deadline_ms: u64) -> bool {
        #[cfg(feature = "remote")]
        if let Some(leased) = &self.source.leased {
            return leased.has_passed(deadline_ms);
        }
        deadline_ms <= self.late_ms() + LATE_MS && deadline_ms <= self.now_ms()
    }

    /// Brings the coarse time up to date.
    pub fn refresh(&self) {
        self.source.coarse_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Starts measuring. Runs on the monotonic clock of the system, even beside a manual one.
    #[inline]
    pub fn timer(&self) -> Timer {
        Timer(Instant::now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

fn system_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(1_000);
        let other = clock.clone();
        clock.advance(Duration::from_millis(250));
        assert_eq!((other.now_ms(), other.coarse_ms(), other.now_us()), (1_250, 1_250, 1_250_000));
    }

    #[test]
    fn a_time_that_is_set_is_noticed_once_either_way() {
        let mut jumps = Jumps { timer: Clock::system().timer(), start_ms: 1_000_000 };
        let steps = [(1_000_000, 0), (1_004_001, 4_000), (1_090_000, 90_000)];
        assert!(steps.iter().all(|(now, elapsed)| !jumps.jumped(*now, *elapsed)));
        for now in [5_000_000, 900_000] {
            assert!(jumps.jumped(now, 91_000));
            assert!(!jumps.jumped(now + 10, 91_010));
        }
    }

    #[cfg(feature = "remote")]
    #[test]
    fn by_a_leased_clock_deadlines_count_while_the_lease_does() {
        let clock = Clock::leased();
        let (now, hour) = (clock.now_ms(), 3_600_000);
        assert!(clock.has_passed(now + hour));
        clock.lease(now + hour);
        assert!(!clock.has_passed(now + hour) && clock.has_passed(now));
        clock.lease(clock.now_ms());
        assert!(clock.has_passed(now + hour));
        clock.lease(now + hour);
        clock.lease(0);
        assert!(clock.has_passed(u64::MAX));
    }

    #[test]
    fn the_coarse_time_stands_until_it_is_refreshed() {
        let clock = Clock::system();
        let coarse = clock.coarse_ms();
        assert!(coarse <= clock.now_ms());
        clock.refresh();
        assert!(clock.coarse_ms() >= coarse);
    }
}
