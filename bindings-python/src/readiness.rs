//! A descriptor that event loops can watch: readable from when something has come for a session until that was read.
//!
//! A pair of sockets, since these are everywhere. How much stands in it means nothing; whether there is anything does.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use keystead::Wake;

/// See the module's text.
pub struct Readiness {
    watched: UnixStream,
    signal: UnixStream,
}

impl Readiness {
    /// One that is not readable.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let (watched, signal) = UnixStream::pair()?;
        watched.set_nonblocking(true)?;
        signal.set_nonblocking(true)?;
        Ok(Self { watched, signal })
    }

    /// The number of the descriptor, which is open for as long as this lives.
    pub fn descriptor(&self) -> i32 {
        self.watched.as_raw_fd()
    }

    /// Has it be readable no longer.
    pub fn lower(&self) {
        let mut bytes = [0; 256];
        while (&self.watched).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}

impl Wake for Readiness {
    fn wake(&self) {
        // What is full is readable.
        let _ = (&self.signal).write(&[0]);
    }
}

/// Wakes two.
struct Both(Arc<dyn Wake>, Arc<dyn Wake>);

impl Wake for Both {
    fn wake(&self) {
        self.0.wake();
        self.1.wake();
    }
}

/// What wakes both of these, as far as they are there.
pub fn both(one: Option<Arc<dyn Wake>>, other: Option<Arc<dyn Wake>>) -> Option<Arc<dyn Wake>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Arc::new(Both(one, other))),
        (one, other) => one.or(other),
    }
}
