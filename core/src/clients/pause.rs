//! CLIENT PAUSE: until when commands wait, and which.
//!
//! What a command that waits for the end is, [`crate::command::pause`] knows.

use crate::os::Guard;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// A pause that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Unix milliseconds.
    pub(crate) until_ms: u64,
    /// All commands wait, not those alone that may change something.
    pub(crate) all: bool,
}

/// Whether the clients of an engine are paused.
#[derive(Default)]
pub(crate) struct Pause {
    is_on: AtomicBool,
    paused: Mutex<Option<Paused>>,
}

impl Pause {
    /// Locks what it guards.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.paused.lock())
    }

    /// Begins a pause, or lengthens the one that is on; who is in it already is not let out of it. `changed` is told, one change at a time, that there is one.
    pub(crate) fn begin(&self, until_ms: u64, all: bool, now_ms: u64, changed: impl FnOnce(bool)) {
        let mut paused = self.paused.lock();
        let before = paused.filter(|before| before.until_ms > now_ms);
        *paused = Some(Paused {
            until_ms: before.map_or(until_ms, |before| before.until_ms.max(until_ms)),
            all: all || before.is_some_and(|before| before.all),
        });
        self.is_on.store(true, Ordering::Release);
        changed(true);
    }

    /// Ends it, whenever it would.
    pub(crate) fn end(&self, changed: impl FnOnce(bool)) {
        let mut paused = self.paused.lock();
        *paused = None;
        self.is_on.store(false, Ordering::Release);
        changed(false);
    }

    /// The pause that is on at this time. `changed` is told, as above, if it is over.
    #[inline]
    pub(crate) fn at(&self, now_ms: impl FnOnce() -> u64, changed: impl FnOnce(bool)) -> Option<Paused> {
        if !self.is_on.load(Ordering::Acquire) {
            return None;
        }
        let mut paused = self.paused.lock();
        let is_over = paused.is_none_or(|paused| paused.until_ms <= now_ms());
        if is_over {
            *paused = None;
            self.is_on.store(false, Ordering::Release);
            changed(false);
        }
        *paused
    }
}
