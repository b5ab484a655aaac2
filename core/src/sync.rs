//! The one shim over synchronisation primitives: std's in builds, loom's under `cfg(loom)`.
//!
//! Everything that loom models imports from here, so that the same source runs under the model checker. The mutex is std's and not
//! parking_lot's because of fork: a contended parking_lot mutex leaves its state in a process-wide table that no fork handler can
//! reach, while std's is one word on Linux, which the handlers hold across the fork.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
// Loom's own Arc knows no weak references; counting them is not what the models are about.
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(not(any(loom, tsan)))]
use std::sync as imp;

#[cfg(loom)]
use loom::sync as imp;

// ThreadSanitizer does not see into std's mutex, which comes compiled without it.
#[cfg(all(tsan, not(loom)))]
use parking_lot as imp;

pub(crate) type MutexGuard<'a, T> = imp::MutexGuard<'a, T>;

/// A mutex without poisoning: a panic under it ends one command, not the engine.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(all(tsan, not(loom)))]
        return self.0.lock();
        #[cfg(not(all(tsan, not(loom))))]
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        #[cfg(all(tsan, not(loom)))]
        return self.0.try_lock();
        #[cfg(not(all(tsan, not(loom))))]
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// The same for what loom would model in vain: counters, and names that are set once.
pub(crate) mod apart {
    #[cfg(tsan)]
    use parking_lot as imp;
    #[cfg(not(tsan))]
    use std::sync as imp;

    pub(crate) type MutexGuard<'a, T> = imp::MutexGuard<'a, T>;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(imp::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(imp::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            #[cfg(tsan)]
            return self.0.lock();
            #[cfg(not(tsan))]
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
