//! Client tracking: which clients may keep a copy of which keys, and who is told of all keys that begin with a prefix.
//!
//! Keys are known by their names, whatever database they are in, as in the server. Who tracks writes down what it has read while the shards of what it
//! reads are locked, and whoever changes a key asks here while that is: so no change goes unheard. What they are told, and how,
//! is [`crate::command`]'s affair.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{ClientInfo, Trait};
use crate::os::{self, Guard};
use crate::store::{HashSeed, random};
use crate::sync::{Arc, Mutex};

/// Parts of the table with a lock of their own.
const STRIPES: usize = if cfg!(loom) { 1 } else { 64 };

/// The clients that may keep a key, by their numbers. Who has gone since stays until the key changes.
type Readers = SmallVec<[u64; 2]>;

type Keys = HashMap<Box<[u8]>, Readers>;

/// Clients that are to be told.
pub(crate) type Told = SmallVec<[Arc<ClientInfo>; 2]>;

/// What keys begin with, and who is told of them.
type Prefix<Clients> = (Box<[u8]>, Clients);

/// A client that tracks, and [`os::generation`] of the process in which it does.
struct Tracker {
    client: Arc<ClientInfo>,
    generation: u64,
}

/// See the module's text.
pub(crate) struct Tracking {
    seed: HashSeed,
    keys: Box<[Mutex<Keys>]>,
    /// How many keys there are, and readers of them.
    key_count: AtomicUsize,
    item_count: AtomicUsize,
    trackers: Mutex<HashMap<u64, Tracker>>,
    /// Who is told of keys that begin so.
    prefixes: Mutex<BTreeMap<Box<[u8]>, Readers>>,
    prefix_count: AtomicUsize,
    /// Where the search for keys to forget goes on.
    next_stripe: AtomicU64,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            seed: HashSeed::random(),
            keys: (0..STRIPES).map(|_| Mutex::default()).collect(),
            key_count: AtomicUsize::new(0),
            item_count: AtomicUsize::new(0),
            trackers: Mutex::default(),
            prefixes: Mutex::default(),
            prefix_count: AtomicUsize::new(0),
            next_stripe: AtomicU64::new(0),
        }
    }
}

impl Tracking {
    /// Locks what it guards, before the outboxes.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        // Who is the last to end to track forgets all keys meanwhile.
        held.push(Box::new(self.trackers.lock()));
        self.keys.iter().for_each(|stripe| held.push(Box::new(stripe.lock())));
        held.push(Box::new(self.prefixes.lock()));
    }

    /// Has a client track from now on. `changed` is told, one change at a time, that there is somebody.
    pub(super) fn enter(&self, client: &Arc<ClientInfo>, changed: impl FnOnce(bool)) {
        let mut trackers = self.trackers.lock();
        trackers.insert(client.id, Tracker { client: client.clone(), generation: os::generation() });
        changed(true);
    }

    /// Ends that. `changed` is told if nobody is left.
    pub(super) fn leave(&self, id: u64, changed: impl FnOnce(bool)) {
        let mut trackers = self.trackers.lock();
        if trackers.remove(&id).is_some() && trackers.is_empty() {
            changed(false);
            // Nobody hears of them any more: who tracks anew later begins anew.
            self.forget_all();
        }
    }

    /// How many clients track.
    pub(crate) fn trackers(&self) -> usize {
        self.trackers.lock().len()
    }

    /// All clients that track, in the order of their numbers. O(clients).
    pub(crate) fn all(&self) -> Vec<Arc<ClientInfo>> {
        let trackers = self.trackers.lock();
        let here = trackers.values().filter(|tracker| tracker.generation == os::generation());
        let mut all: Vec<_> = here.map(|tracker| tracker.client.clone()).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    fn tracker(&self, id: u64) -> Option<Arc<ClientInfo>> {
        let trackers = self.trackers.lock();
        let tracker = trackers.get(&id).filter(|tracker| tracker.generation == os::generation())?;
        Some(tracker.client.clone())
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<Keys> {
        &self.keys[self.seed.hash(key) as usize % STRIPES]
    }

    /// A client may keep what it has read of a key. Without memory it is not written down, and says so by `false`. O(readers).
    #[must_use]
    pub(crate) fn remember(&self, key: &[u8], client: u64) -> bool {
        let mut stripe = self.stripe(key).lock();
        if let Some(readers) = stripe.get_mut(key) {
            if readers.contains(&client) {
                return true;
            }
            if readers.try_reserve(1).is_err() {
                return false;
            }
            readers.push(client);
        } else {
            let Ok(key) = crate::alloc::boxed(key) else { return false };
            if stripe.try_reserve(1).is_err() {
                return false;
            }
            stripe.insert(key, SmallVec::from_slice(&[client]));
            self.key_count.fetch_add(1, Ordering::Relaxed);
        }
        self.item_count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The key has changed, so that nobody may keep it any more. Returns those who could, and are still there and track single keys.
    pub(crate) fn forget(&self, key: &[u8]) -> Told {
        if self.key_count.load(Ordering::Acquire) == 0 {
            return SmallVec::new();
        }
        let Some(readers) = self.stripe(key).lock().remove(key) else { return SmallVec::new() };
        self.forgotten(&readers);
        self.single(&readers)
    }

    fn forgotten(&self, readers: &Readers) {
        self.key_count.fetch_sub(1, Ordering::Relaxed);
        self.item_count.fetch_sub(readers.len(), Ordering::Relaxed);
    }

    fn single(&self, readers: &Readers) -> Told {
        let clients = readers.iter().filter_map(|id| self.tracker(*id));
        clients.filter(|client| !client.traits.has(Trait::BROADCAST)).collect()
    }

    /// No key is there any more.
    pub(crate) fn forget_all(&self) {
        for stripe in &self.keys {
            let mut stripe = stripe.lock();
            stripe.values().for_each(|readers| self.forgotten(readers));
            stripe.clear();
        }
    }

    /// Forgets a key, to be called while there are more than `most`, and returns it with those who could keep it.
    pub(crate) fn forget_one_above(&self, most: usize) -> Option<(Box<[u8]>, Told)> {
        while self.key_count.load(Ordering::Relaxed) > most {
            let at = self.next_stripe.fetch_add(1, Ordering::Relaxed) as usize % STRIPES;
            let mut stripe = self.keys[at].lock();
            let len = stripe.len();
            // Whichever it is: the table's order follows from a hash that nobody knows.
            let victim = stripe.keys().nth(if len > 8 { random() as usize % 8 } else { 0 }).cloned();
            if let Some(key) = victim
                && let Some(readers) = stripe.remove(&key)
            {
                drop(stripe);
                self.forgotten(&readers);
                return Some((key, self.single(&readers)));
            }
        }
        None
    }

    /// Has a client told of all keys that begin so.
    pub(super) fn enter_prefix(&self, prefix: &[u8], client: u64) {
        let mut prefixes = self.prefixes.lock();
        prefixes.entry(prefix.into()).or_default().push(client);
        self.prefix_count.store(prefixes.len(), Ordering::Release);
    }

    /// Ends that.
    pub(super) fn leave_prefix(&self, prefix: &[u8], client: u64) {
        let mut prefixes = self.prefixes.lock();
        if let Some(clients) = prefixes.get_mut(prefix) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                prefixes.remove(prefix);
            }
        }
        self.prefix_count.store(prefixes.len(), Ordering::Release);
    }

    /// Whether anybody is told by prefixes. One load.
    #[inline]
    pub(crate) fn has_prefixes(&self) -> bool {
        self.prefix_count.load(Ordering::Acquire) > 0
    }

    /// The prefixes with those who are told of their keys, in order. O(prefixes and clients).
    pub(crate) fn prefixes(&self) -> Vec<Prefix<Vec<Arc<ClientInfo>>>> {
        let prefixes: Vec<Prefix<Readers>> =
            self.prefixes.lock().iter().map(|(prefix, clients)| (prefix.clone(), clients.clone())).collect();
        let with_clients = |(prefix, clients): Prefix<Readers>| {
            let mut clients: Vec<_> = clients.iter().filter_map(|id| self.tracker(*id)).collect();
            clients.sort_unstable_by_key(|client| client.id);
            (prefix, clients)
        };
        prefixes.into_iter().map(with_clients).collect()
    }

    /// How many keys, readers of keys, and prefixes there are.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (
            self.key_count.load(Ordering::Relaxed),
            self.item_count.load(Ordering::Relaxed),
            self.prefix_count.load(Ordering::Relaxed),
        )
    }
}

/// What a session has asked to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Its reads count only after CLIENT CACHING YES.
    pub(crate) optin: bool,
    /// They do not count after CLIENT CACHING NO.
    pub(crate) optout: bool,
    /// It was one of these before the command.
    pub(crate) caching: bool,
    /// Beginnings of the keys that it is told of, in order.
    pub(crate) prefixes: std::collections::BTreeSet<Box<[u8]>>,
}

impl Wishes {
    /// Whether the reads of a command count.
    pub(crate) fn count_reads(&self) -> bool {
        (!self.optin || self.caching) && !(self.optout && self.caching)
    }
}
