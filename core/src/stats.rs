//! What is counted about commands: calls, time, refusals and failures by command, errors by code.
//!
//! Counters are striped over cache lines by session, so that counting costs no traffic between cores; they are summed when somebody
//! asks. Hot commands in their plainest form are all counted, but one in 256 is timed, whose time stands for those around it: sums and
//! histograms cover every call. A stripe takes memory once a session that has it executes a command. Hits, misses and expirations are counted in the shards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::alloc;
use crate::error::Error;
use crate::latency::Histogram;
use crate::os::{Frozen, Guard};
use crate::sync::{Arc, Mutex};

/// Sessions are spread over this many stripes.
const STRIPES: usize = 8;

/// The counters of an engine.
pub(crate) struct Stats {
    /// How many commands there are.
    commands: usize,
    stripes: Mutex<[Option<Arc<Stripe>>; STRIPES]>,
    errors: Mutex<BTreeMap<String, u64>>,
    /// Whether histograms are kept: `latency-tracking`.
    tracks: AtomicBool,
}

/// Counters of all commands, which some of the sessions count in.
pub(crate) struct Stripe {
    commands: Box<[CommandCounters]>,
}

/// The counters of one command in one stripe.
#[derive(Default)]
pub(crate) struct CommandCounters {
    calls: AtomicU64,
    /// Those calls whose time is in the sums; see [`CommandCounters::called_untimed`].
    timed: AtomicU64,
    /// What the last call took that was timed.
    last_nanoseconds: AtomicU64,
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

/// Of so many calls of a hot command one is timed.
const SAMPLED: u64 = 256;

/// Codes counted by name; beyond that many, a client must be inventing them.
const MAX_ERROR_CODES: usize = 128;

impl Stats {
    /// Counters of so many commands.
    pub(crate) fn new(commands: usize) -> Self {
        let tracks = AtomicBool::new(true);
        Self { commands, stripes: Mutex::default(), errors: Mutex::default(), tracks }
    }

    /// Whether histograms are kept from now on. Calls that were not timed up to here count as before.
    pub(crate) fn track(&self, tracks: bool) {
        let tracked = self.tracks.swap(tracks, Ordering::Relaxed);
        if tracked == tracks {
            return;
        }
        for stripe in self.stripes() {
            stripe.commands.iter().for_each(|counters| counters.settle(tracked));
        }
    }

    /// The stripe that the session of this number counts in: its own, or, where there is no memory for that, another's.
    ///
    /// The first of an engine is made whatever it takes.
    pub(crate) fn stripe(&self, session: u64) -> Arc<Stripe> {
        let mut stripes = self.stripes.lock();
        let at = session as usize % STRIPES;
        if stripes[at].is_none() {
            let counters = (0..self.commands).map(|_| CommandCounters::default());
            let commands = match (alloc::collected(counters.clone()), stripes.iter().flatten().next()) {
                (Ok(commands), _) => commands,
                (Err(_), Some(other)) => return other.clone(),
                (Err(_), None) => counters.collect(),
            };
            stripes[at] = Some(Arc::new(Stripe { commands: commands.into_boxed_slice() }));
        }
        stripes[at].clone().expect("made above")
    }

    /// The stripes that there are.
    fn stripes(&self) -> Vec<Arc<Stripe>> {
        self.stripes.lock().iter().flatten().cloned().collect()
    }

    /// Locks the stripes, their histograms and the errors.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        let stripes = self.stripes.lock();
        for stripe in stripes.iter().flatten() {
            held.push(Box::new(Frozen::new(stripe.clone(), Stripe::freeze)));
        }
        held.push(Box::new(stripes));
        held.push(Box::new(self.errors.lock()));
    }

    /// Counts an error reply by its code.
    pub(crate) fn count_error(&self, error: &Error) {
        let code = String::from_utf8_lossy(error.code()).into_owned();
        let mut errors = self.errors.lock();
        if errors.len() < MAX_ERROR_CODES || errors.contains_key(&code) {
            *errors.entry(code).or_default() += 1;
        }
    }

    /// The sums of the command of this number.
    pub(crate) fn of(&self, command: usize) -> CommandStats {
        let mut sum = CommandStats::default();
        let tracks = self.tracks.load(Ordering::Relaxed);
        for stripe in self.stripes() {
            let counters = stripe.of(command);
            let calls = counters.calls.load(Ordering::Relaxed);
            let untimed = counters.untimed();
            let last = counters.last_nanoseconds.load(Ordering::Relaxed);
            sum.calls += calls;
            sum.nanoseconds += counters.nanoseconds.load(Ordering::Relaxed) + untimed * last;
            sum.rejected += counters.rejected.load(Ordering::Relaxed);
            sum.failed += counters.failed.load(Ordering::Relaxed);
            if let Some(own) = &*counters.latency.lock() {
                let latency = sum.latency.get_or_insert_default();
                latency.merge(own);
                if tracks {
                    latency.record(last, untimed);
                }
            }
        }
        sum
    }

    /// Commands executed by all sessions.
    pub(crate) fn commands_processed(&self) -> u64 {
        let calls = |counters: &CommandCounters| counters.calls.load(Ordering::Relaxed);
        self.stripes().iter().flat_map(|stripe| &stripe.commands).map(calls).sum()
    }

    /// Error replies by code.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// Forgets everything, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        for counters in self.stripes().iter().flat_map(|stripe| &stripe.commands) {
            let CommandCounters { calls, timed, nanoseconds, rejected, failed, .. } = counters;
            for counter in [calls, timed, nanoseconds, rejected, failed] {
                counter.store(0, Ordering::Relaxed);
            }
            *counters.latency.lock() = None;
        }
        self.errors.lock().clear();
    }
}

impl Stripe {
    /// Locks the histograms.
    fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        let locked = self.commands.iter().map(|counters| counters.latency.lock());
        held.push(Box::new(locked.collect::<Vec<_>>()));
    }

    /// The counters of the command of this number.
    #[inline(always)]
    pub(crate) fn of(&self, command: usize) -> &CommandCounters {
        &self.commands[command]
    }
}

impl CommandCounters {
    /// Counts a call that was refused before it could run.
    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error of a call that ran.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call and the time it took, which also stands for the calls since the last timed one.
    #[inline]
    pub(crate) fn called(&self, elapsed: Duration, track_latency: bool) {
        let nanoseconds = elapsed.as_nanos() as u64;
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let stands_for = calls.saturating_sub(self.timed.swap(calls, Ordering::Relaxed)).max(1);
        self.last_nanoseconds.store(nanoseconds, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds * stands_for, Ordering::Relaxed);
        if track_latency {
            self.latency.lock().get_or_insert_default().record(nanoseconds, stands_for);
        }
    }

    /// Has the calls that were not timed since the last one that was count as long as that.
    fn settle(&self, track_latency: bool) {
        let calls = self.calls.load(Ordering::Relaxed);
        let untimed = calls.saturating_sub(self.timed.swap(calls, Ordering::Relaxed));
        let last = self.last_nanoseconds.load(Ordering::Relaxed);
        self.nanoseconds.fetch_add(last * untimed, Ordering::Relaxed);
        if track_latency
            && untimed > 0
            && let Some(latency) = &mut *self.latency.lock()
        {
            latency.record(last, untimed);
        }
    }

    /// Counts a call that was not timed. It is taken to have been as long as the next one that is.
    #[inline]
    pub(crate) fn called_untimed(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that were not timed since the last that was.
    pub(crate) fn untimed(&self) -> u64 {
        self.calls.load(Ordering::Relaxed).saturating_sub(self.timed.load(Ordering::Relaxed))
    }

    /// Whether the next call should be timed: one in [`SAMPLED`], the first included.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.calls.load(Ordering::Relaxed).is_multiple_of(SAMPLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_together_and_stripes_made_as_they_come() {
        let (stats, ping) = (Stats::new(3), 1);
        assert_eq!((stats.stripes().len(), stats.commands_processed()), (0, 0));
        std::thread::scope(|scope| {
            for session in 0..2 * STRIPES as u64 {
                let stripe = stats.stripe(session);
                scope.spawn(move || stripe.of(ping).called(Duration::from_nanos(5), true));
            }
        });
        let sum = stats.of(ping);
        assert_eq!((sum.calls, sum.nanoseconds, stats.commands_processed()), (16, 80, 16));
        assert_eq!((sum.latency.unwrap().count(), stats.stripes().len()), (16, STRIPES));
        stats.reset();
        assert_eq!((stats.of(ping).calls, stats.commands_processed()), (0, 0));
    }

    #[test]
    fn a_session_for_whose_stripe_there_is_no_memory_counts_in_another() {
        let mut stats = Stats::new(1);
        let first = stats.stripe(3);
        stats.commands = usize::MAX;
        assert!(Arc::ptr_eq(&stats.stripe(4), &first) && Arc::ptr_eq(&stats.stripe(3), &first));
        assert_eq!(stats.stripes().len(), 1);
    }

    /// Of the first command: calls, nanoseconds, and calls in the histogram.
    fn sums(stats: &Stats) -> (u64, u64, u64) {
        let sum = stats.of(0);
        (sum.calls, sum.nanoseconds, sum.latency.map_or(0, |latency| latency.count()))
    }

    #[test]
    fn calls_that_were_not_timed_count_as_long_as_one_that_was() {
        let stats = Stats::new(1);
        let stripe = stats.stripe(0);
        let counters = stripe.of(0);
        let sums = || sums(&stats);
        assert!(counters.is_due());
        counters.called(Duration::from_nanos(10), true);
        assert!(!counters.is_due());
        (0..3).for_each(|_| counters.called_untimed());
        assert_eq!(sums(), (4, 40, 4));
        counters.called(Duration::from_nanos(20), true);
        assert_eq!(sums(), (5, 10 + 4 * 20, 5));
        (5..SAMPLED).for_each(|_| counters.called_untimed());
        assert!(counters.is_due());
    }

    #[test]
    fn only_calls_while_latencies_are_tracked_are_in_the_histogram() {
        let stats = Stats::new(1);
        let stripe = stats.stripe(0);
        let counters = stripe.of(0);
        let sums = || sums(&stats);
        counters.called(Duration::from_nanos(10), true);
        (0..3).for_each(|_| counters.called_untimed());
        stats.track(false);
        assert_eq!(sums(), (4, 40, 4), "those before");
        (0..5).for_each(|_| counters.called_untimed());
        assert_eq!(sums(), (9, 90, 4));
        counters.called(Duration::from_nanos(20), false);
        counters.called_untimed();
        assert_eq!(sums(), (11, 40 + 6 * 20 + 20, 4));
        stats.track(true);
        assert_eq!(sums(), (11, 180, 4));
        counters.called_untimed();
        assert_eq!(sums(), (12, 200, 5));
    }
}
