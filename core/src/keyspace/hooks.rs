//! Whom the keyspace tells about changes: the log, and observers such as tracking, blocked clients and notifications.
//!
//! The keyspace calls these at fixed points of every command and knows nothing of who listens.

use std::sync::{Arc, OnceLock};

use super::db::Entry;
use crate::os::Guard;
use crate::sync::{AtomicU32, Mutex, Ordering};

/// Receives the effects of write commands, in their order per key.
pub trait Journal: Send + Sync {
    /// Called while the shards of the commands' keys are locked. Several commands are one atomic group.
    fn append(&self, commands: &[Effect]);
}

/// The words of a command.
pub type Argv = Vec<Vec<u8>>;

/// A command to repeat on a copy of the data to get the same effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Database it applies to.
    pub db: usize,
    /// The words of the command.
    pub argv: Argv,
}

/// Classes of keyspace events, as `notify-keyspace-events` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after Valkey's classes")]
pub enum EventClass {
    Generic,
    String,
    Hash,
    Expired,
    Evicted,
    New,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its class.
    pub class: EventClass,
    /// Valkey's name of the event, such as `set` or `expire`.
    pub name: &'static str,
    /// Database of the key.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
}

/// Hears of changes after the shards are unlocked, on the thread that made them; of what expired or was evicted also on the background thread.
///
/// It may use engines and close them, but must not wait for another thread that closes the engine or forks: these wait for the background thread.
pub trait Observer: Send + Sync {
    /// The key was created, changed or removed: cached copies are stale and blocked clients may be served.
    fn modified(&self, db: usize, key: &[u8]);

    /// Every key of a database, or of all of them, is gone or has become another: all cached copies are stale.
    fn flushed(&self, _db: Option<usize>) {}

    /// A keyspace event.
    fn notified(&self, event: &Event);
}

/// A snapshot being written: gets the version of every entry as it was when the snapshot began.
pub(crate) trait Snapshot: Send + Sync {
    /// Entries that carry this bit have been visited.
    fn epoch(&self) -> bool;

    /// Called under the shard's lock before an entry that was not visited changes or goes.
    fn preserve(&self, entry: &Entry<'_>, db: usize);
}

/// The listeners of one keyspace.
#[derive(Default)]
pub(crate) struct Hooks {
    snapshot: Mutex<Option<Arc<dyn Snapshot>>>,
    journal: OnceLock<Arc<dyn Journal>>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    /// Who there is, as bits, so that one load tells that there is nobody.
    present: AtomicU32,
}

const SNAPSHOT: u32 = 1;
const JOURNAL: u32 = 2;
const OBSERVER: u32 = 4;

impl Hooks {
    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.snapshot.lock()));
        held.push(Box::new(self.observers.lock()));
    }

    /// Begins a snapshot, or ends it with `None`. The caller holds every shard.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "snapshots begin with the persistence layer; the hook is tested")
    )]
    pub(crate) fn set_snapshot(&self, snapshot: Option<Arc<dyn Snapshot>>) {
        match snapshot {
            Some(_) => self.present.fetch_or(SNAPSHOT, Ordering::Release),
            None => self.present.fetch_and(!SNAPSHOT, Ordering::Release),
        };
        *self.snapshot.lock() = snapshot;
    }

    /// The running snapshot.
    #[inline]
    pub(crate) fn snapshot(&self) -> Option<Arc<dyn Snapshot>> {
        if self.present.load(Ordering::Acquire) & SNAPSHOT == 0 {
            return None;
        }
        self.snapshot.lock().clone()
    }

    /// Sets the log, once in the life of a keyspace. Returns whether it was accepted.
    pub(crate) fn set_journal(&self, journal: Arc<dyn Journal>) -> bool {
        let accepted = self.journal.set(journal).is_ok();
        self.present.fetch_or(JOURNAL, Ordering::Release);
        accepted
    }

    pub(crate) fn journal(&self) -> Option<&dyn Journal> {
        self.journal.get().map(|journal| &**journal)
    }

    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.lock().push(observer);
        self.present.fetch_or(OBSERVER, Ordering::Release);
    }

    /// Whether nobody wants to know of any change. One load.
    #[inline]
    pub(crate) fn are_silent(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    /// Whether anybody observes; checked before anything is collected for them.
    #[inline]
    pub(crate) fn observed(&self) -> bool {
        self.present.load(Ordering::Acquire) & OBSERVER != 0
    }

    /// Tells the observers that all keys of databases changed.
    pub(crate) fn tell_flushed(&self, flushed: &[Option<usize>]) {
        let observers = self.observers.lock().clone();
        for observer in observers.iter() {
            flushed.iter().for_each(|db| observer.flushed(*db));
        }
    }

    pub(crate) fn tell(&self, modified: &[(usize, Box<[u8]>)], events: &[Event]) {
        let observers = self.observers.lock().clone();
        for observer in observers.iter() {
            modified.iter().for_each(|(db, key)| observer.modified(*db, key));
            events.iter().for_each(|event| observer.notified(event));
        }
    }
}
