//! Counters that threads bump without sharing a cache line: one stripe a thread, summed when somebody asks.
//!
//! Which thread has which stripe is decided once in its life, for all counters of the process.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::os::{Board, Guard};
use crate::sync::Arc;
use crate::sync::apart::{Mutex, MutexGuard};

/// Stripes that belong to one thread each; all further threads share another.
const OWN: usize = 64;
/// As many of them stand in a counter from the start: all that most processes need. The others take memory once a thread counts in them.
const NEAR: usize = 16;

/// What loom would model of it says nothing about the engine.
static FREE: std::sync::LazyLock<Mutex<Vec<usize>>> =
    std::sync::LazyLock::new(|| Mutex::new((0..OWN).rev().collect()));

fn free() -> MutexGuard<'static, Vec<usize>> {
    FREE.lock()
}

const UNDECIDED: usize = usize::MAX;

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(UNDECIDED) };
    static LEASE: Lease = const { Lease };
}

/// Gives the stripe of an ending thread to another.
struct Lease;

impl Drop for Lease {
    fn drop(&mut self) {
        let stripe = STRIPE.replace(OWN);
        if stripe < OWN {
            free().push(stripe);
        }
    }
}

#[cold]
fn decide() -> usize {
    // A thread that is ending already shares the last stripe.
    let leased = LEASE.try_with(|_| ()).is_ok();
    let stripe = leased.then(|| free().pop()).flatten().unwrap_or(OWN);
    STRIPE.set(stripe);
    stripe
}

/// Keeps the list of free stripes locked, across a fork.
pub(crate) fn freeze() -> Box<dyn Guard> {
    Box::new(Frozen { _free: free() })
}

struct Frozen {
    _free: MutexGuard<'static, Vec<usize>>,
}

impl Guard for Frozen {}

/// The number of this thread's stripe, below 65.
pub(crate) fn stripe() -> usize {
    if STRIPE.get() == UNDECIDED { decide() } else { STRIPE.get() }
}

/// Something of an engine that is made when it is first needed.
pub(crate) struct OnDemand<T>(Board<T, 1>);

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(Board::new())
    }
}

impl<T: Default> OnDemand<T> {
    /// What was made, if it was.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get(0)
    }

    /// What was made, now if not before.
    #[inline]
    pub(crate) fn get_or_make(&self) -> &T {
        self.get().unwrap_or_else(|| self.make())
    }

    /// Under a lock that forks hold, so that no child finds the board locked by a thread that it has not.
    #[cold]
    fn make(&self) -> &T {
        let _free = free();
        if self.get().is_none() {
            self.0.set(0, Some(&Arc::new(T::default())));
        }
        self.get().expect("made above")
    }
}

type Pair = CachePadded<[AtomicU64; 2]>;

/// Two counters side by side: look-ups that found something and look-ups that did not.
pub(crate) struct Lookups {
    near: [Pair; NEAR],
    far: OnDemand<Far>,
    shared: Pair,
    /// What had been counted at the last reset.
    forgotten: [AtomicU64; 2],
}

struct Far([Pair; OWN - NEAR]);

impl Default for Far {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Pair::default()))
    }
}

/// Counts where nobody else writes: no need for an atomic addition.
#[inline]
fn count_alone(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self {
            near: std::array::from_fn(|_| Pair::default()),
            far: OnDemand::default(),
            shared: Pair::default(),
            forgotten: Default::default(),
        }
    }

    /// Counts one look-up.
    #[inline]
    pub(crate) fn count(&self, is_hit: bool) {
        let which = usize::from(is_hit);
        match self.near.get(STRIPE.get()) {
            Some(own) => count_alone(&own[which]),
            None => self.count_otherwise(which),
        }
    }

    #[cold]
    #[inline(never)]
    fn count_otherwise(&self, which: usize) {
        let stripe = stripe();
        match (self.near.get(stripe), stripe.checked_sub(NEAR)) {
            (Some(own), _) => count_alone(&own[which]),
            (_, Some(far)) if stripe < OWN => count_alone(&self.far.get_or_make().0[far][which]),
            _ => _ = self.shared[which].fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Hits and misses since the last reset.
    pub(crate) fn sum(&self) -> (u64, u64) {
        let since = |which: usize| self.total(which) - self.forgotten[which].load(Ordering::Relaxed);
        (since(1), since(0))
    }

    /// Counts from 0 again.
    pub(crate) fn reset(&self) {
        (0..2).for_each(|which| self.forgotten[which].store(self.total(which), Ordering::Relaxed));
    }

    fn total(&self, which: usize) -> u64 {
        let far = self.far.get().into_iter().flat_map(|far| &far.0);
        let stripes = self.near.iter().chain(far).chain([&self.shared]);
        stripes.map(|stripe| stripe[which].load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_look_up_of_any_thread_is_lost() {
        let lookups = Lookups::new();
        for _ in 0..3 {
            std::thread::scope(|scope| {
                let count = || (0..100).for_each(|at| lookups.count(at % 4 == 0));
                let threads: Vec<_> = (0..OWN + 10).map(|_| scope.spawn(count)).collect();
                // ThreadSanitizer sees joins, and not how a scope waits.
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        }
        let threads = 3 * (OWN as u64 + 10);
        assert_eq!(lookups.sum(), (threads * 25, threads * 75));
        lookups.reset();
        lookups.count(true);
        assert_eq!(lookups.sum(), (1, 0));
    }

    #[test]
    fn what_is_needed_by_several_threads_at_once_is_made_once() {
        let made = OnDemand::<AtomicU64>::default();
        assert!(made.get().is_none());
        std::thread::scope(|scope| {
            let count = || made.get_or_make().fetch_add(1, Ordering::Relaxed);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(count)).collect();
            threads.into_iter().for_each(|thread| _ = thread.join().unwrap());
        });
        assert_eq!(made.get().unwrap().load(Ordering::Relaxed), 8);
    }
}
