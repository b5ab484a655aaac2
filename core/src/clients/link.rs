//! A client's connection as others know it: they can end it, and ask what it holds.
//!
//! The listener serves it, and writes the figures.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::net::{Shutdown, shutdown};

/// Bytes that a connection has in its buffers. They are zero while it is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffers {
    /// Received, and not executed.
    pub(crate) input: usize,
    /// Room for more of that.
    pub(crate) input_free: usize,
    /// Replies that were not sent.
    pub(crate) output: usize,
    /// Room for replies, those included.
    pub(crate) output_room: usize,
}

/// See the module's text.
#[cfg_attr(not(feature = "listener"), expect(dead_code, reason = "only listeners make them"))]
pub(crate) struct Link {
    socket: Arc<OwnedFd>,
    /// What all connections hold together.
    held_by_all: Arc<AtomicUsize>,
    input: AtomicUsize,
    input_free: AtomicUsize,
    output: AtomicUsize,
    output_room: AtomicUsize,
    /// Commands of a transaction.
    queued: AtomicUsize,
    /// What is counted of it in `held_by_all`.
    held: AtomicUsize,
    /// Since when it has more unsent than the soft limit allows, unix milliseconds; 0 if it has not.
    above_since_ms: AtomicU64,
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg_attr(not(feature = "listener"), expect(dead_code, reason = "only listeners make them"))]
impl Link {
    /// What a connection takes beside its buffers: its session and its task.
    pub(crate) const LEAST: usize = 2048;

    pub(crate) fn new(socket: OwnedFd, held_by_all: Arc<AtomicUsize>) -> Self {
        held_by_all.fetch_add(Self::LEAST, Ordering::Relaxed);
        Self {
            socket: Arc::new(socket),
            held_by_all,
            input: AtomicUsize::new(0),
            input_free: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            output_room: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            held: AtomicUsize::new(Self::LEAST),
            above_since_ms: AtomicU64::new(0),
        }
    }

    /// The socket, which never blocks.
    #[cfg(feature = "listener")]
    pub(crate) fn socket(&self) -> &Arc<OwnedFd> {
        &self.socket
    }

    /// Ends it: whoever serves it is woken.
    pub(super) fn cut(&self) {
        // It may have ended already.
        let _ = shutdown(&*self.socket, Shutdown::Both);
    }

    /// Tells what is in the buffers, of a transaction, and of messages; only who serves it does. Says whether it holds more than before.
    pub(crate) fn show(&self, buffers: Buffers, queued: usize, messages: usize) -> bool {
        let Buffers { input, input_free, output, output_room } = buffers;
        self.input.store(input, Ordering::Relaxed);
        self.input_free.store(input_free, Ordering::Relaxed);
        self.output.store(output, Ordering::Relaxed);
        self.output_room.store(output_room, Ordering::Relaxed);
        self.queued.store(queued, Ordering::Relaxed);
        let held = Self::LEAST + input + input_free + output_room + queued + messages;
        let before = self.held.swap(held, Ordering::Relaxed);
        if held >= before {
            self.held_by_all.fetch_add(held - before, Ordering::Relaxed);
        } else {
            self.held_by_all.fetch_sub(before - held, Ordering::Relaxed);
        }
        held > before
    }

    /// What was told last.
    pub(crate) fn buffers(&self) -> Buffers {
        Buffers {
            input: self.input.load(Ordering::Relaxed),
            input_free: self.input_free.load(Ordering::Relaxed),
            output: self.output.load(Ordering::Relaxed),
            output_room: self.output_room.load(Ordering::Relaxed),
        }
    }

    /// Bytes of the commands that waited for EXEC then.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Bytes that it takes in all.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// It has more unsent than the soft limit allows since that time, in unix milliseconds, or 0.
    #[cfg(feature = "listener")]
    pub(crate) fn set_above_since(&self, ms: u64) {
        self.above_since_ms.store(ms, Ordering::Relaxed);
    }

    /// See [`Link::set_above_since`].
    #[cfg(feature = "listener")]
    pub(crate) fn above_since_ms(&self) -> u64 {
        self.above_since_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.held_by_all.fetch_sub(self.held.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
