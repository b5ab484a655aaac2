//! One fetch of a value for all who want it, and what they wait at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Value;
use crate::sync::{Arc, Condvar, Mutex};

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The connection ended before the reply came. What was asked for may have been done.
    Link,
    /// It did not come in time. What was asked for may still be done.
    Late,
}

impl Lost {
    pub(super) fn error(self, endpoint: &super::address::Endpoint) -> Error {
        let why = match self {
            Lost::Link => "the connection was lost before it replied",
            Lost::Late => "it did not reply in time",
        };
        Error::new(ErrorKind::Io, format!("ERR the remote {endpoint}: {why}"))
    }
}

/// What comes in answer to a request.
pub(super) type Answer = Result<Arc<Value>, Lost>;

/// A place that a reply is put into once, and that any number of threads wait at.
#[derive(Default)]
pub(super) struct Slot {
    place: Mutex<SlotPlace>,
    filled: Condvar,
}

#[derive(Default)]
struct SlotPlace {
    answer: Option<Answer>,
    /// Somebody has to be woken, which is a system call even if it is nobody.
    has_waiters: bool,
}

impl Slot {
    /// Gives those who wait their answer, if none has had one.
    pub(super) fn fill(&self, answer: Answer) {
        let mut place = self.place.lock();
        if place.answer.is_none() {
            place.answer = Some(answer);
            let has_waiters = place.has_waiters;
            drop(place);
            if has_waiters {
                self.filled.notify_all();
            }
        }
    }

    /// Whether the answer has come.
    pub(super) fn is_filled(&self) -> bool {
        self.place.lock().answer.is_some()
    }

    /// Waits for the answer, for so long at most.
    pub(super) fn wait(&self, most: Duration) -> Answer {
        let timer = Clock::system().timer();
        let mut place = self.place.lock();
        loop {
            if let Some(answer) = &place.answer {
                return answer.clone();
            }
            let left = most.saturating_sub(timer.elapsed());
            if left.is_zero() {
                return Err(Lost::Late);
            }
            place.has_waiters = true;
            place = self.filled.wait(place, Some(left));
        }
    }
}

/// A fetch under way of what one command says of a key.
pub(super) struct Flight {
    pub(super) key: Box<[u8]>,
    /// The command, its words told apart.
    pub(super) command: Box<[u8]>,
    /// The key was written since the fetch began, so that what comes may be old: it is for those who wait, and for nobody later.
    is_dirty: AtomicBool,
    pub(super) slot: Slot,
}

impl Flight {
    pub(super) fn new(key: &[u8], command: &[u8], is_dirty: bool) -> Self {
        Self {
            key: key.into(),
            command: command.into(),
            is_dirty: AtomicBool::new(is_dirty),
            slot: Slot::default(),
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    pub(super) fn soil(&self) {
        self.is_dirty.store(true, Ordering::Release);
    }
}
