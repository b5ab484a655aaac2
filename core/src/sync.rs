//! The one shim over synchronisation primitives: std's in builds, loom's under `cfg(loom)`.
//!
//! Everything that loom models imports from here, so that the same source runs under the model checker. The mutex is std's and not
//! parking_lot's because of fork: a contended parking_lot mutex leaves its state in a process-wide table that no fork handler can
//! reach, while std's is one word on Linux, which the handlers hold across the fork. In the engine's own tests the order of locks is watched, too.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
// Loom's own Arc knows no weak references; counting them is not what the models are about.
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(any(not(test), loom, tsan))]
mod plain;
#[cfg(any(not(test), loom, tsan))]
pub(crate) use plain::{Condvar, Mutex, MutexGuard};

#[cfg(any(loom, all(test, not(tsan))))]
mod watched;
#[cfg(all(test, not(any(loom, tsan))))]
pub(crate) use watched::{Condvar, Mutex, MutexGuard};

/// The same for what loom would model in vain: counters, and names that are set once.
pub(crate) mod apart {
    #[cfg(loom)]
    pub(crate) use super::watched::{Condvar, Mutex, MutexGuard};
    #[cfg(not(loom))]
    pub(crate) use super::{Condvar, Mutex, MutexGuard};
}
