//! How whoever waits for a session learns that something has come: by a descriptor that event loops can watch, or by a bell that threads sleep at.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::Wake;
use parking_lot::{Condvar, Mutex};

/// A descriptor that is readable from when something has come until that was read.
///
/// A pair of sockets, since these are everywhere. How much stands in it means nothing; whether there is anything does.
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

/// What threads sleep at until something has come.
#[derive(Default)]
pub struct Bell {
    /// How often it rang.
    rung: Mutex<u64>,
    rings: Condvar,
}

impl Bell {
    /// How often it rang by now, for [`Bell::wait`].
    pub fn rung(&self) -> u64 {
        *self.rung.lock()
    }

    /// Sleeps until it rings once more than `rung` times, or so long at most.
    pub fn wait(&self, rung: u64, time: Option<Duration>) {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        let mut now = self.rung.lock();
        while *now == rung {
            match until {
                None => self.rings.wait(&mut now),
                Some(until) if self.rings.wait_until(&mut now, until).timed_out() => return,
                Some(_) => {}
            }
        }
    }
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock() += 1;
        self.rings.notify_all();
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
