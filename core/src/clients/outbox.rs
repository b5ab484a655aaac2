//! What other threads have for a client: the reply of a command that had to wait, and messages pushed to it.
//!
//! Writing replies is [`crate::command`]'s, sending them a face's. Here is only the box: whoever puts something in wakes the client, which takes it
//! out. A client's thread may park at the box, or have a [`Wake`] called.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Clock;
use crate::config::PushLimit;
use crate::error::Error;
use crate::keyspace::waiting::Undo;
use crate::os::Guard;
use crate::sync::{Arc, Condvar, Mutex};

/// Is called when something has come for a session. It runs on any thread, under no lock of the engine.
pub trait Wake: Send + Sync {
    /// Wakes whoever waits. It must not wait for anything itself.
    fn wake(&self);
}

/// A reply that came late, in the form of its session.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) bytes: Vec<u8>,
    /// What it says, if it is an error.
    pub(crate) error: Option<Error>,
    /// There is no reply: the command is to be begun anew.
    pub(crate) is_postponed: bool,
    /// The error is that somebody else ended the wait.
    pub(crate) is_unblocked: bool,
    /// Puts back what it alone has, where nobody takes it.
    pub(crate) undo: Option<Undo>,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inner {
    late: Option<Late>,
    /// Waits whose replies nobody takes any more, though they are about to come.
    refused: SmallVec<[u64; 1]>,
    pushes: VecDeque<Arc<[u8]>>,
    /// Bytes of the messages.
    bytes: usize,
    /// Since when they are above the soft limit, unix milliseconds; 0 if they are not.
    above_since_ms: u64,
    /// There were more than fit; all were dropped.
    has_lost: bool,
    /// The client is to look again, though nothing has come.
    nudged: bool,
    waker: Option<Arc<dyn Wake>>,
}

/// What a thread parks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Late,
    Push,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Outbox {
    /// Locks what it guards.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.inner.lock())
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        let waker = inner.waker.clone();
        drop(inner);
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Puts the late reply of a wait in, or returns it if it was [refused](Self::refuse). The caller holds no shard.
    pub(crate) fn deliver(&self, wait: u64, late: Late) -> Option<Late> {
        let mut late = Some(late);
        self.change(|inner| match inner.refused.iter().position(|refused| *refused == wait) {
            Some(at) => drop(inner.refused.swap_remove(at)),
            None => inner.late = late.take(),
        });
        late
    }

    /// Takes the late reply of a wait out, or sees to it that it does not get in: its one reply has come, or is about to. Nobody waits for another.
    pub(crate) fn refuse(&self, wait: u64) -> Option<Late> {
        let mut inner = self.inner.lock();
        let late = inner.late.take();
        if late.is_none() {
            inner.refused.push(wait);
        }
        late
    }

    /// Has the client look again.
    pub(crate) fn nudge(&self) {
        self.change(|inner| inner.nudged = true);
    }

    /// Puts a message in, and says whether it fits into the limit. If not, all messages are dropped, and the client is told so. Nobody is woken: the
    /// caller does that by [`Outbox::wake`] when it holds no lock.
    pub(crate) fn put(&self, message: &Arc<[u8]>, limit: &PushLimit, now_ms: u64) -> bool {
        self.inner.lock().put(message, limit, now_ms)
    }

    /// Wakes the client, for what was [put](Outbox::put) in. The caller holds no shard.
    pub(crate) fn wake(&self) {
        self.change(|_| ());
    }

    /// Takes the late reply out.
    pub(crate) fn take_late(&self) -> Option<Late> {
        self.inner.lock().late.take()
    }

    /// Takes the oldest message out. `Err`: some were dropped before it.
    pub(crate) fn take_push(&self) -> Result<Option<Arc<[u8]>>, Lost> {
        let mut inner = self.inner.lock();
        if std::mem::take(&mut inner.has_lost) {
            return Err(Lost);
        }
        let message = inner.pushes.pop_front();
        inner.bytes -= message.as_ref().map_or(0, |message| message.len());
        Ok(message)
    }

    /// Bytes of messages that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().pushes.len()
    }

    /// Drops the messages.
    pub(crate) fn forget_pushes(&self) {
        let mut inner = self.inner.lock();
        inner.drop_pushes();
        inner.has_lost = false;
    }

    /// Has `waker` called from now on whenever something comes.
    pub(crate) fn set_waker(&self, waker: Option<Arc<dyn Wake>>) {
        let before = std::mem::replace(&mut self.inner.lock().waker, waker);
        // Outside: it may own what comes back here when it goes.
        drop(before);
    }

    /// Parks this thread until what it waits for has come, somebody nudges it, or a time has passed. May return earlier.
    pub(crate) fn park(&self, what: Awaited, time: Option<Duration>) {
        let timer = Clock::system().timer();
        let mut inner = self.inner.lock();
        loop {
            let has_come = match what {
                Awaited::Late => inner.late.is_some(),
                Awaited::Push => !inner.pushes.is_empty() || inner.has_lost,
            };
            let left = time.map(|time| time.saturating_sub(timer.elapsed()));
            if has_come || std::mem::take(&mut inner.nudged) || left == Some(Duration::ZERO) {
                return;
            }
            inner = self.arrived.wait(inner, left);
        }
    }
}

impl Inner {
    fn put(&mut self, message: &Arc<[u8]>, limit: &PushLimit, now_ms: u64) -> bool {
        let bytes = self.bytes.saturating_add(message.len());
        if bytes <= limit.soft {
            self.above_since_ms = 0;
        } else if self.above_since_ms == 0 {
            self.above_since_ms = now_ms;
        }
        let is_above_for_long =
            self.above_since_ms > 0 && now_ms.saturating_sub(self.above_since_ms) > limit.soft_ms;
        let fits = bytes <= limit.hard && !is_above_for_long && self.pushes.try_reserve(1).is_ok();
        if fits {
            self.bytes = bytes;
            self.pushes.push_back(message.clone());
        } else {
            self.drop_pushes();
            self.has_lost = true;
        }
        fits
    }

    fn drop_pushes(&mut self) {
        self.pushes = VecDeque::new();
        (self.bytes, self.above_since_ms) = (0, 0);
    }
}

/// Messages were dropped since there were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

#[cfg(test)]
mod tests;
