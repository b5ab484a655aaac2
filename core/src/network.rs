//! What listeners count and where they listen, for INFO.
//!
//! Listening and serving is the listener's work.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::os::Guard;
use crate::sync::Mutex;

/// Traffic of all connections since the start or the last CONFIG RESETSTAT.
#[derive(Default)]
pub(crate) struct Network {
    /// Bytes received.
    pub(crate) input: AtomicU64,
    /// Bytes sent.
    pub(crate) output: AtomicU64,
    /// Times something was received.
    pub(crate) reads: AtomicU64,
    /// Times something was sent.
    pub(crate) writes: AtomicU64,
    /// Connections turned away.
    pub(crate) rejected: AtomicU64,
    listeners: Mutex<Vec<SocketAddr>>,
}

impl Network {
    /// Locks the list of listeners.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.listeners.lock()));
    }

    #[cfg(feature = "listener")]
    pub(crate) fn received(&self, bytes: usize) {
        self.input.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(feature = "listener")]
    pub(crate) fn sent(&self, bytes: usize) {
        if bytes > 0 {
            self.output.fetch_add(bytes as u64, Ordering::Relaxed);
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cfg(feature = "listener")]
    pub(crate) fn listens(&self, address: SocketAddr) {
        self.listeners.lock().push(address);
    }

    #[cfg(feature = "listener")]
    pub(crate) fn stopped_listening(&self, address: SocketAddr) {
        self.listeners.lock().retain(|own| *own != address);
    }

    /// Where connections are accepted, in the order of opening.
    pub(crate) fn listeners(&self) -> Vec<SocketAddr> {
        self.listeners.lock().clone()
    }

    /// Forgets the counts.
    pub(crate) fn reset(&self) {
        for counter in [&self.input, &self.output, &self.reads, &self.writes, &self.rejected] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}
