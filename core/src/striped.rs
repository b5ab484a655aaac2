//! Counters that threads bump without sharing a cache line: one stripe a thread, summed when somebody asks.
//!
//! Which thread has which stripe is decided once in its life, for all counters of the process.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use crate::os::Guard;

/// Stripes that belong to one thread each; all further threads share another.
const OWN: usize = 64;

/// What loom would model of it says nothing about the engine: hence std's mutex whatever the build.
static FREE: std::sync::LazyLock<Mutex<Vec<usize>>> =
    std::sync::LazyLock::new(|| Mutex::new((0..OWN).rev().collect()));

fn free() -> MutexGuard<'static, Vec<usize>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Two counters side by side: look-ups that found something and look-ups that did not.
pub(crate) struct Lookups {
    stripes: Box<[CachePadded<[AtomicU64; 2]>; OWN]>,
    shared: CachePadded<[AtomicU64; 2]>,
    /// What had been counted at the last reset.
    forgotten: [AtomicU64; 2],
}

impl Lookups {
    pub(crate) fn new() -> Self {
        let stripes: Vec<_> = (0..OWN).map(|_| CachePadded::default()).collect();
        let Ok(stripes) = stripes.try_into() else { unreachable!("as many as there are") };
        Self { stripes, shared: CachePadded::default(), forgotten: Default::default() }
    }

    /// Counts one look-up.
    #[inline]
    pub(crate) fn count(&self, is_hit: bool) {
        let which = usize::from(is_hit);
        match self.stripes.get(STRIPE.get()) {
            // Nobody else writes it: no need for an atomic addition.
            Some(own) => own[which].store(own[which].load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            None => self.count_otherwise(which),
        }
    }

    #[cold]
    fn count_otherwise(&self, which: usize) {
        let stripe = if STRIPE.get() == UNDECIDED { decide() } else { OWN };
        self.stripes.get(stripe).unwrap_or(&self.shared)[which].fetch_add(1, Ordering::Relaxed);
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
        let stripes = self.stripes.iter().chain([&self.shared]);
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
}
