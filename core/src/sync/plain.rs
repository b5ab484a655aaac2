//! Mutexes as programs have them: std's, loom's under `cfg(loom)`, and parking_lot's for ThreadSanitizer.

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
    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
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

/// What threads wait at that hold such a mutex.
#[derive(Debug)]
pub(crate) struct Condvar(imp::Condvar);

impl Default for Condvar {
    fn default() -> Self {
        Self(imp::Condvar::new())
    }
}

impl Condvar {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(imp::Condvar::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits until it is notified, for so long at most, if a time is given. May return earlier.
    #[cfg(not(all(tsan, not(loom))))]
    pub(crate) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Option<std::time::Duration>,
    ) -> MutexGuard<'a, T> {
        match time {
            None => self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner),
            Some(time) => {
                self.0.wait_timeout(guard, time).unwrap_or_else(std::sync::PoisonError::into_inner).0
            }
        }
    }

    #[cfg(all(tsan, not(loom)))]
    pub(crate) fn wait<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        time: Option<std::time::Duration>,
    ) -> MutexGuard<'a, T> {
        match time {
            None => self.0.wait(&mut guard),
            Some(time) => _ = self.0.wait_for(&mut guard, time),
        }
        guard
    }
}
