//! What is counted about commands: calls, time, refusals and failures by command, errors by code.
//!
//! Counters are striped over cache lines by thread, so that counting costs no traffic between cores; they are summed when somebody
//! asks. A stripe takes memory once a thread that has it executes a command. Hits, misses and expirations are counted in the shards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::command::table::{self, Found};
use crate::error::Error;
use crate::latency::Histogram;
use crate::os::{Board, Guard};
use crate::sync::{Arc, Mutex};

/// Threads are spread over this many stripes.
const STRIPES: usize = 8;

/// The counters of an engine.
pub(crate) struct Stats {
    stripes: Board<Stripe, STRIPES>,
    /// Held by whoever makes a stripe, and across a fork, since the board's own lock is not.
    making: Mutex<()>,
    errors: Mutex<BTreeMap<String, u64>>,
}

struct Stripe {
    commands: Box<[CommandCounters]>,
}

#[derive(Default)]
struct CommandCounters {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    latency: Mutex<Option<Box<Histogram>>>,
}

/// The sums of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStats {
    pub(crate) calls: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Option<Histogram>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { stripes: Board::new(), making: Mutex::default(), errors: Mutex::default() }
    }
}

impl Default for Stripe {
    fn default() -> Self {
        Self { commands: (0..table::count()).map(|_| CommandCounters::default()).collect() }
    }
}

/// Codes counted by name; beyond that many, a client must be inventing them.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    #[inline]
    fn own(&self) -> &Stripe {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
        }
        let place = STRIPE.with(|stripe| *stripe);
        self.stripes.get(place).unwrap_or_else(|| self.make(place))
    }

    #[cold]
    fn make(&self, place: usize) -> &Stripe {
        let _making = self.making.lock();
        if self.stripes.get(place).is_none() {
            self.stripes.set(place, Some(&Arc::default()));
        }
        self.stripes.get(place).expect("made above")
    }

    /// The stripes that there are.
    fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        (0..STRIPES).filter_map(|place| self.stripes.get(place))
    }

    /// The counters of all commands in all stripes.
    fn counters(&self) -> impl Iterator<Item = &CommandCounters> {
        self.stripes().flat_map(|stripe| &stripe.commands)
    }

    /// Locks the making of stripes, the histograms and the errors.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.making.lock()));
        held.push(Box::new(self.counters().map(|counters| counters.latency.lock()).collect::<Vec<_>>()));
        held.push(Box::new(self.errors.lock()));
    }

    /// Counts a command that was executed.
    #[inline]
    pub(crate) fn called(&self, found: Found, elapsed: Duration, error: Option<&Error>, track_latency: bool) {
        let counters = &self.own().commands[found.id];
        let nanoseconds = elapsed.as_nanos() as u64;
        counters.calls.fetch_add(1, Ordering::Relaxed);
        counters.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if track_latency {
            counters.latency.lock().get_or_insert_default().record(nanoseconds);
        }
        if let Some(error) = error {
            counters.failed.fetch_add(1, Ordering::Relaxed);
            self.count_error(error);
        }
    }

    /// Counts a command that was refused before it could run.
    pub(crate) fn rejected(&self, found: Option<Found>, error: &Error) {
        if let Some(found) = found {
            self.own().commands[found.id].rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.count_error(error);
    }

    fn count_error(&self, error: &Error) {
        let code = String::from_utf8_lossy(error.code()).into_owned();
        let mut errors = self.errors.lock();
        if errors.len() < MAX_ERROR_CODES || errors.contains_key(&code) {
            *errors.entry(code).or_default() += 1;
        }
    }

    /// The sums of one command.
    pub(crate) fn of(&self, found: Found) -> CommandStats {
        let mut sum = CommandStats::default();
        for stripe in self.stripes() {
            let counters = &stripe.commands[found.id];
            sum.calls += counters.calls.load(Ordering::Relaxed);
            sum.nanoseconds += counters.nanoseconds.load(Ordering::Relaxed);
            sum.rejected += counters.rejected.load(Ordering::Relaxed);
            sum.failed += counters.failed.load(Ordering::Relaxed);
            if let Some(own) = &*counters.latency.lock() {
                sum.latency.get_or_insert_default().merge(own);
            }
        }
        sum
    }

    /// Commands executed by all sessions.
    pub(crate) fn commands_processed(&self) -> u64 {
        self.counters().map(|counters| counters.calls.load(Ordering::Relaxed)).sum()
    }

    /// Error replies by code.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// Forgets everything, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        for counters in self.counters() {
            for counter in [&counters.calls, &counters.nanoseconds, &counters.rejected, &counters.failed] {
                counter.store(0, Ordering::Relaxed);
            }
            *counters.latency.lock() = None;
        }
        self.errors.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_together_and_stripes_made_as_they_come() {
        let stats = Stats::default();
        assert_eq!((stats.stripes().count(), stats.commands_processed()), (0, 0));
        let ping = table::find(&[b"PING"]).expect("a command");
        let call = || stats.called(ping, Duration::from_nanos(5), None, true);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2 * STRIPES).map(|_| scope.spawn(call)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let sum = stats.of(ping);
        assert_eq!((sum.calls, sum.nanoseconds, stats.commands_processed()), (16, 80, 16));
        assert!(sum.latency.is_some() && stats.stripes().count() > 0);
        stats.reset();
        assert_eq!((stats.of(ping).calls, stats.commands_processed()), (0, 0));
    }
}
