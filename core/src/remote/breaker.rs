//! When calls to a remote are not even tried, and how long to wait before trying again.

use std::io;
use std::time::Duration;

use crate::backend::BreakerState;
use crate::clock::{Clock, Timer};
use crate::error;
use crate::sync::Mutex;

/// The last calls that count.
const CALLS: u32 = 20;
/// So many connections that failed in a row open it.
const CONNECTIONS: u32 = 5;
/// How long it stays open at first, and at most.
const OPEN: Duration = Duration::from_secs(1);
const MOST_OPEN: Duration = Duration::from_secs(30);

/// Delays between attempts to connect: their bound doubles from the first to the second of these.
const CONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The same for calls.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A random share of a delay that doubles with each attempt: full jitter, so that many clients of one server don't come back at once
/// (Brooker, "Exponential Backoff And Jitter", AWS 2015).
fn jittered((first, most): (Duration, Duration), attempt: u32) -> Duration {
    let bound = first.saturating_mul(1 << attempt.min(16)).min(most);
    bound.mul_f64(share())
}

/// Before the attempt of this number, from 0, to connect.
pub(super) fn before_connecting(attempt: u32) -> Duration {
    jittered(CONNECT, attempt)
}

/// Before a call is tried again, for the first time with 0.
pub(super) fn before_retry(attempt: u32) -> Duration {
    jittered(RETRY, attempt)
}

/// A random number from 0 to 1.
pub(super) fn share() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}

/// Opens when at least half of the last 20 calls failed, or five connections in a row; then lets one call try, each time after twice as long.
#[derive(Default)]
pub(super) struct Breaker(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The last calls, the latest in the lowest bit, and how many there were: 1 is a failure.
    failures: u32,
    calls: u32,
    connections_failed: u32,
    /// Why the last of them did.
    reason: String,
    open: Option<Opened>,
}

struct Opened {
    since: Timer,
    wait: Duration,
    times: u32,
    is_tried: bool,
}

impl Breaker {
    /// Whether a call may be made now. Whoever is told so by a breaker that is open has to tell how the call went.
    pub(super) fn allows(&self) -> bool {
        let mut inner = self.0.lock();
        let Some(open) = &mut inner.open else { return true };
        let is_time = open.since.elapsed() >= open.wait;
        let is_allowed = is_time && !open.is_tried;
        open.is_tried |= is_time;
        is_allowed
    }

    pub(super) fn state(&self) -> BreakerState {
        match &self.0.lock().open {
            None => BreakerState::Closed,
            Some(open) if open.since.elapsed() >= open.wait => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        let mut inner = self.0.lock();
        if inner.open.is_some() {
            *inner = Inner::default();
        }
        inner.connections_failed = 0;
        inner.note(false);
    }

    /// A call was not answered in time, or answered by a server that can't serve.
    pub(super) fn failed(&self) {
        let mut inner = self.0.lock();
        inner.note(true);
        let is_bad = inner.calls >= CALLS && 2 * inner.failures.count_ones() >= CALLS;
        if is_bad || inner.open.is_some() {
            inner.trip();
        }
    }

    /// Why connecting failed last.
    pub(super) fn reason(&self) -> String {
        self.0.lock().reason.clone()
    }

    /// Connecting failed, for this reason.
    pub(super) fn connection_failed(&self, reason: &io::Error) {
        let mut inner = self.0.lock();
        inner.reason = error::reason(reason);
        inner.connections_failed += 1;
        if inner.connections_failed >= CONNECTIONS || inner.open.is_some() {
            inner.trip();
        }
    }
}

impl Inner {
    fn note(&mut self, is_failure: bool) {
        self.failures = (self.failures << 1 | u32::from(is_failure)) & ((1 << CALLS) - 1);
        self.calls = (self.calls + 1).min(CALLS);
    }

    fn trip(&mut self) {
        let times = self.open.as_ref().map_or(0, |open| open.times + 1);
        // One that has not been waited for is none that came after trying.
        if self.open.as_ref().is_some_and(|open| !open.is_tried) {
            return;
        }
        let bound = OPEN.saturating_mul(1 << times.min(8)).min(MOST_OPEN);
        // At least half of it, so that it is open for some time.
        let wait = bound.mul_f64(0.5 + share() / 2.0);
        self.open = Some(Opened { since: Clock::system().timer(), wait, times, is_tried: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> io::Error {
        io::Error::other("gone")
    }

    #[test]
    fn it_opens_when_half_of_the_last_calls_failed() {
        let breaker = Breaker::default();
        (0..19).for_each(|call| if call % 2 == 0 { breaker.failed() } else { breaker.succeeded() });
        assert!(breaker.allows() && breaker.state() == BreakerState::Closed);
        breaker.failed();
        assert!(!breaker.allows() && breaker.state() == BreakerState::Open);
    }

    #[test]
    fn it_opens_when_nobody_is_there_and_lets_one_try() {
        let breaker = Breaker::default();
        (0..4).for_each(|_| breaker.connection_failed(&gone()));
        breaker.succeeded();
        (0..4).for_each(|_| breaker.connection_failed(&gone()));
        assert!(breaker.allows());
        breaker.connection_failed(&gone());
        assert!(!breaker.allows());
        assert_eq!(breaker.reason(), "gone");
        let wait = breaker.0.lock().open.as_ref().map(|open| open.wait);
        assert!(wait >= Some(OPEN / 2) && wait <= Some(OPEN), "{wait:?}");
        let overdue = |breaker: &Breaker| breaker.0.lock().open.as_mut().unwrap().wait = Duration::ZERO;
        overdue(&breaker);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!([breaker.allows(), breaker.allows()], [true, false]);
        breaker.connection_failed(&gone());
        assert!(!breaker.allows());
        let wait = breaker.0.lock().open.as_ref().map(|open| open.wait);
        assert!(wait >= Some(OPEN) && wait <= Some(2 * OPEN), "{wait:?}");
        overdue(&breaker);
        assert!(breaker.allows());
        breaker.succeeded();
        assert!(breaker.allows() && breaker.state() == BreakerState::Closed);
    }

    #[test]
    fn delays_stay_within_their_bounds() {
        for attempt in 0..40 {
            assert!(before_connecting(attempt) <= (CONNECT.0 * (1 << attempt.min(10))).min(CONNECT.1));
            assert!(before_retry(attempt) <= (RETRY.0 * (1 << attempt.min(10))).min(RETRY.1));
        }
    }
}
