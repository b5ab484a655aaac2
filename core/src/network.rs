//! What listeners count and where they listen, for INFO.
//!
//! Listening and serving is the listener's work.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use crate::os::Guard;
use crate::sync::Mutex;

/// Where connections are accepted.
#[cfg_attr(not(feature = "listener"), allow(dead_code, reason = "only listeners, and some tests, make them"))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    /// Encrypted.
    Tls(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Tls(address) => write!(f, "tls:{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    /// The address, if it has one.
    #[cfg(feature = "listener")]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Place::Tcp(address) | Place::Tls(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }
}

/// Has others serve what a thread serves beside its connection: set by the listeners.
static RELIEF: OnceLock<fn()> = OnceLock::new();

/// Says how to [`relieve`].
#[cfg(feature = "listener")]
pub(crate) fn relieve_by(relief: fn()) {
    RELIEF.get_or_init(|| relief);
}

/// What this thread does takes long. If it serves connections, another one serves the others from now on.
#[cfg_attr(not(feature = "scripting"), expect(dead_code, reason = "only scripts take so long"))]
pub(crate) fn relieve() {
    if let Some(relief) = RELIEF.get() {
        relief();
    }
}

/// A listener, as the engine knows it.
pub(crate) trait Face: Send + Sync {
    /// Listens where the options say now. Where that is not possible it listens as before and says false.
    fn follow(&self) -> bool;

    /// Takes over certificates and what else the options say of encryption. Where that is not possible it goes on as before and says false.
    fn follow_encryption(&self) -> bool;

    /// How many clients the system lets it serve, if that is fewer than so many.
    fn most_clients(&self, wanted: u64) -> Option<u64>;

    /// Looks at the options again.
    fn look(&self);

    /// Whether it listens where the options say.
    fn is_server(&self) -> bool;

    /// Listens no more, if it is a server.
    fn end(&self);
}

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
    /// Connections ended since too much of a request had been received.
    pub(crate) overfull: AtomicU64,
    /// Connections ended since too much waited to be sent.
    pub(crate) too_slow: AtomicU64,
    /// Connections that are open.
    #[cfg(feature = "listener")]
    pub(crate) open: AtomicUsize,
    /// Connections that have more unsent than a soft limit allows, and are not ended yet.
    #[cfg(feature = "listener")]
    pub(crate) slow: AtomicUsize,
    /// Connections ended since clients took too much memory.
    pub(crate) evicted: AtomicU64,
    /// Bytes that connections hold.
    pub(crate) held: Arc<AtomicUsize>,
    listeners: Mutex<Vec<Place>>,
    faces: Mutex<Vec<Weak<dyn Face>>>,
    /// Held while options are set, so that a setting that fails restores what it found. Comes after the locks of shards.
    pub(crate) setting: Mutex<()>,
}

impl Network {
    /// Waits until no options are being set. Whoever sets some may wait for a listener, which may want any lock but those of shards.
    pub(crate) fn freeze_setting<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.setting.lock()));
    }

    /// Locks the lists of listeners.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.listeners.lock()));
        held.push(Box::new(self.faces.lock()));
    }

    /// Has a listener hear of options.
    #[cfg(feature = "listener")]
    pub(crate) fn enter(&self, face: Weak<dyn Face>) {
        let mut faces = self.faces.lock();
        faces.retain(|other| other.strong_count() > 0);
        faces.push(face);
    }

    fn faces(&self) -> Vec<Arc<dyn Face>> {
        self.faces.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Has the listeners that follow the options `bind` and `port` do so. Says whether all could.
    pub(crate) fn follow(&self) -> bool {
        self.faces().iter().all(|face| face.follow())
    }

    /// Has the listeners take over what the options say of encryption. Says whether all could.
    pub(crate) fn follow_encryption(&self) -> bool {
        self.faces().iter().all(|face| face.follow_encryption())
    }

    /// How many clients the system lets the listeners serve, if that is fewer than so many.
    pub(crate) fn most_clients(&self, wanted: u64) -> Option<u64> {
        self.faces().iter().filter_map(|face| face.most_clients(wanted)).min()
    }

    /// Tells the listeners that options have changed.
    pub(crate) fn look(&self) {
        self.faces().iter().for_each(|face| face.look());
    }

    /// Whether there is a server: a listener that listens where the options say.
    pub(crate) fn is_server(&self) -> bool {
        self.faces().iter().any(|face| face.is_server())
    }

    /// Ends the server.
    pub(crate) fn end(&self) {
        self.faces().iter().for_each(|face| face.end());
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
    pub(crate) fn listens(&self, place: Place) {
        self.listeners.lock().push(place);
    }

    #[cfg(feature = "listener")]
    pub(crate) fn stopped_listening(&self, place: &Place) {
        let mut listeners = self.listeners.lock();
        if let Some(at) = listeners.iter().position(|own| own == place) {
            listeners.remove(at);
        }
    }

    /// Where connections are accepted, in the order of opening.
    pub(crate) fn listeners(&self) -> Vec<Place> {
        self.listeners.lock().clone()
    }

    /// Forgets the counts.
    pub(crate) fn reset(&self) {
        let Self { input, output, reads, writes, rejected, overfull, too_slow, evicted, .. } = self;
        let counters = [input, output, reads, writes, rejected, overfull, too_slow, evicted];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
    }
}
