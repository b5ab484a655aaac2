//! Who waits for keys: a queue for each awaited key of a database, in the shard of the key, in order of arrival.
//!
//! What is waited for, and what is replied then, is a [`Serve`]'s affair; how the waiter itself is woken is [`crate::clients`]'s.
//!
//! # How it works
//! A session that finds nothing to take queues under the very locks under which it looked: nobody can bring something in between. Whoever then
//! changes an awaited key serves the queue when all of its own work is done, and before it unlocks: nobody else ever sees what a waiter was there
//! for first. A key that serving has changed is served in turn. A waiter that finds nothing keeps its place.
//!
//! **Locks.** A waiter may wait for several keys and write to others (a list that elements are moved to). So whoever writes to awaited keys holds
//! the shards of all keys of all their waiters, and of those that wait for what these write to. It finds out when it has its own shards, and begins
//! anew with more of them, before anything is executed ([`Locks::with_waiters`]). What changes keys without that, as expiry does, serves them right
//! after its unlock ([`serve_later`]).
//!
//! **Leaving.** Served or not, a waiter leaves all its queues under the locks of all its keys, and exactly once: [`Waiter::claim`] lets one of
//! those through who would serve it, end its time, unblock it or drop it.
//!
//! **Costs.** An awaited key is a marked one ([`super::watch`]): writes to other keys go on taking their short cuts. Queueing, leaving and finding
//! the first are O(log waiters) a key.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Keyspace;
use super::db::Db;
use super::hooks::{Appended, Hooks};
use super::journal::Group;
use super::locks::Locks;
use super::watch::Watchers;
use crate::error::Result;
use crate::os;
use crate::store::key::{Key, shard_of};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// What a waiter wants done.
pub(crate) trait Serve: Send + Sync {
    /// Tries to do it, with the shards of all its keys locked, puts its effects into `effects`, and says whether it is done. Where it is not,
    /// nothing has changed. What is replied is kept for [`Serve::served`]. `db` works for the waiter's session meanwhile.
    fn serve(&self, db: &mut Db<'_>, effects: &mut Group) -> bool;

    /// Whether a value of a type, as TYPE calls it, is what it waits for; `None`: that the key is gone.
    fn awaits(&self, type_name: Option<&str>) -> bool {
        type_name.is_some()
    }

    /// It was done, and nothing is locked any more: wakes the waiter. `logged`: whether the log could keep the effects.
    fn served(&self, keyspace: &Keyspace, logged: Result<()>);
}

/// Puts back what was taken for a waiter which will never know of it.
pub(crate) struct Undo {
    db: usize,
    /// The hash of the key that it is put back to.
    hash: u64,
    act: Act,
}

/// What puts it back.
type Act = Box<dyn FnOnce(&mut Db<'_>) -> Result<()> + Send>;

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undo").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Undo {
    /// Does it, and serves whoever waits for that. The caller holds no shard. Without memory, or where the key has another type by now, it is lost.
    pub(crate) fn run(self, keyspace: &Keyspace) {
        let mut db = Db::new(keyspace, (self.db, 0), Locks::one_with_waiters(keyspace, self.hash));
        // Nobody is left to be told.
        let _ = (self.act)(&mut db);
        db.finish_unasked(self.db);
    }
}

/// A key of a database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) db: usize,
    pub(crate) key: Box<[u8]>,
}

/// A session that waits.
pub(crate) struct Waiter {
    /// Greater for who came later.
    ticket: u64,
    /// Its database and its number.
    origin: (usize, u64),
    /// Where it queues.
    places: Box<[Place]>,
    /// The hashes of all keys that it may touch.
    hashes: Box<[u64]>,
    is_over: AtomicBool,
    /// [`os::generation`] of the process that it waits in.
    generation: u64,
    serve: Arc<dyn Serve>,
}

/// Numbers those who wait.
#[derive(Default)]
pub(crate) struct Arrivals(AtomicU64);

impl Arrivals {
    /// A number that no other has.
    pub(crate) fn number(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Waiter {
    /// One that waits for keys of a session's database, and may touch all keys of these hashes, theirs among them.
    pub(crate) fn new(
        arrivals: &Arrivals,
        origin: (usize, u64),
        keys: impl IntoIterator<Item = Box<[u8]>>,
        hashes: impl IntoIterator<Item = u64>,
        serve: Arc<dyn Serve>,
    ) -> Arc<Waiter> {
        let mut places: Vec<Place> = keys.into_iter().map(|key| Place { db: origin.0, key }).collect();
        places.sort_unstable();
        places.dedup();
        Arc::new(Waiter {
            ticket: arrivals.number(),
            origin,
            places: places.into(),
            hashes: hashes.into_iter().collect(),
            is_over: AtomicBool::new(false),
            generation: os::generation(),
            serve,
        })
    }

    /// Whether it waits in this process, and not in the one that forked it.
    pub(crate) fn is_here(&self) -> bool {
        self.generation == os::generation()
    }

    /// Ends the wait; true for one caller only.
    fn claim(&self) -> bool {
        !self.is_over.swap(true, Ordering::AcqRel)
    }

    /// Leaves all queues, by locks that are held and cover all its keys, or else by its own. Says whether the wait was on until now: otherwise
    /// somebody else has ended it. O(keys * log waiters).
    pub(crate) fn leave(&self, keyspace: &Keyspace, held: Option<&mut Locks<'_>>) -> bool {
        match held {
            Some(locks) => self.leave_by(keyspace, locks),
            None => self.leave_by(keyspace, &mut Locks::of(keyspace, self.origin.0, &self.hashes)),
        }
    }

    fn leave_by(&self, keyspace: &Keyspace, locks: &mut Locks<'_>) -> bool {
        let was_waiting = self.claim();
        if was_waiting {
            self.dequeue(keyspace, locks);
        }
        was_waiting
    }

    fn dequeue(&self, keyspace: &Keyspace, locks: &mut Locks<'_>) {
        for Place { db, key } in &self.places {
            let name = Key::new(key, &keyspace.seed);
            locks.shard_mut(name.shard()).watchers.dequeue(&keyspace.hooks, *db, &name, self.ticket);
        }
    }
}

/// The queue of a key.
struct Queue {
    place: Place,
    waiters: BTreeMap<u64, Arc<Waiter>>,
    /// Hashes of the other keys that its waiters may touch. Some may be of waiters that have left.
    others: SmallVec<[u64; 2]>,
}

/// The queues of a shard, by the hashes of their keys.
#[derive(Default)]
pub(super) struct Queues(HashMap<u64, SmallVec<[Queue; 1]>>);

impl Queues {
    #[inline(never)]
    fn get(&self, db: usize, key: &Key<'_>) -> Option<&Queue> {
        let mut queues = self.0.get(&key.hash())?.iter();
        queues.find(|queue| queue.place.db == db && *queue.place.key == *key.bytes())
    }

    /// Awaited keys.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(SmallVec::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The awaited keys of a database.
    fn places_in(&self, db: usize) -> impl Iterator<Item = &Place> {
        self.0.values().flatten().map(|queue| &queue.place).filter(move |place| place.db == db)
    }
}

impl Watchers {
    /// Whether anybody waits for a key.
    #[inline]
    pub(super) fn is_awaited(&self, db: usize, key: &Key<'_>) -> bool {
        !self.queues.is_empty() && self.queues.get(db, key).is_some()
    }

    /// Whether anybody waits for any key.
    #[inline]
    pub(super) fn has_waiters(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Keys that are waited for.
    pub(crate) fn awaited(&self) -> usize {
        self.queues.len()
    }

    fn enqueue(&mut self, hooks: &Hooks, place: &Place, hash: u64, waiter: &Arc<Waiter>) {
        let queues = self.queues.0.entry(hash).or_default();
        let at = queues.iter().position(|queue| queue.place == *place).unwrap_or_else(|| {
            queues.push(Queue { place: place.clone(), waiters: BTreeMap::new(), others: SmallVec::new() });
            queues.len() - 1
        });
        let queue = &mut queues[at];
        for other in waiter.hashes.iter().filter(|other| **other != hash) {
            if !queue.others.contains(other) {
                queue.others.push(*other);
            }
        }
        queue.waiters.insert(waiter.ticket, waiter.clone());
        self.mark_awaited(hooks, place.db, &place.key);
    }

    fn dequeue(&mut self, hooks: &Hooks, db: usize, key: &Key<'_>, ticket: u64) {
        let Some(queues) = self.queues.0.get_mut(&key.hash()) else { return };
        let is_it = |queue: &Queue| queue.place.db == db && *queue.place.key == *key.bytes();
        let Some(at) = queues.iter().position(is_it) else { return };
        queues[at].waiters.remove(&ticket);
        if queues[at].waiters.is_empty() {
            queues.swap_remove(at);
            if queues.is_empty() {
                self.queues.0.remove(&key.hash());
            }
            self.unmark_awaited(hooks, db, key.bytes());
        }
    }

    /// The first who waits for a key with a ticket of at least that.
    fn next_waiter(&self, db: usize, key: &Key<'_>, from: u64) -> Option<Arc<Waiter>> {
        let (_, waiter) = self.queues.get(db, key)?.waiters.range(from..).next()?;
        Some(waiter.clone())
    }
}

impl<'e> Locks<'e> {
    /// Locks the shards of keys with these hashes that are about to be written to, as [`Locks::of`] does, and with them those of all keys that
    /// whoever waits for these may touch.
    pub(crate) fn with_waiters(keyspace: &'e Keyspace, db: usize, hashes: &[u64]) -> Self {
        let locks = Locks::of(keyspace, db, hashes);
        if locks.any(|shard| shard.watchers.has_waiters()) {
            Self::widened(keyspace, locks, hashes)
        } else {
            locks
        }
    }

    /// [`Locks::with_waiters`] of one key.
    #[inline]
    pub(crate) fn one_with_waiters(keyspace: &'e Keyspace, hash: u64) -> Self {
        let locks = Locks::one(keyspace, hash);
        if locks.shard(shard_of(hash)).watchers.has_waiters() {
            return Self::widened(keyspace, locks, &[hash]);
        }
        locks
    }

    #[cold]
    #[inline(never)]
    fn widened(keyspace: &'e Keyspace, mut locks: Locks<'e>, hashes: &[u64]) -> Self {
        let mut wanted: Vec<u64> = hashes.to_vec();
        loop {
            let before = wanted.len();
            // What is found on the way is looked at, too, where its shard is locked by now.
            let mut at = 0;
            while let Some(hash) = wanted.get(at).copied() {
                at += 1;
                if !locks.has(shard_of(hash)) {
                    continue;
                }
                for queue in locks.shard(shard_of(hash)).watchers.queues.0.get(&hash).into_iter().flatten() {
                    for other in &queue.others {
                        if !wanted.contains(other) {
                            wanted.push(*other);
                        }
                    }
                }
            }
            if wanted.len() == before || wanted.iter().all(|hash| locks.has(shard_of(*hash))) {
                return locks;
            }
            // Nobody who holds a shard waits for another.
            drop(locks);
            locks = Locks::of(keyspace, 0, &wanted);
        }
    }
}

/// A waiter whose wish was done, and what the log has of it.
pub(super) struct Served {
    waiter: Arc<Waiter>,
    appended: Result<Option<Appended>>,
}

impl Served {
    /// Wakes it, once the log is as safe as it promises. The caller holds no shard.
    pub(super) fn tell(self, keyspace: &Keyspace) {
        let logged = self.appended.and_then(|appended| appended.map_or(Ok(()), Appended::wait));
        self.waiter.serve.served(keyspace, logged);
    }
}

/// Awaited keys that have changed.
#[derive(Default)]
pub(super) struct Ready {
    /// In the order in which they did.
    places: Vec<Place>,
    noted: BTreeSet<Place>,
}

impl Ready {
    fn note(&mut self, place: &Place) {
        if self.noted.insert(place.clone()) {
            self.places.push(place.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl Db<'_> {
    /// Queues a session for its keys, whose shards are locked.
    pub(crate) fn enqueue(&mut self, waiter: &Arc<Waiter>) {
        let keyspace = self.keyspace;
        for place in &waiter.places {
            let key = Key::new(&place.key, &keyspace.seed);
            self.locks.shard_mut(key.shard()).watchers.enqueue(&keyspace.hooks, place, key.hash(), waiter);
        }
    }

    /// Whether it works for a waiter.
    pub(crate) fn serves_waiter(&self) -> bool {
        self.effects.rare.as_ref().is_some_and(|rare| rare.serves)
    }

    /// Has `act` put back to a key what was just taken from it for a waiter, if that is never told of it. Where it changes anything, it says what the log
    /// gets ([`Db::propagate`]).
    pub(crate) fn can_undo(
        &mut self,
        key: &Key<'_>,
        act: impl FnOnce(&mut Db<'_>) -> Result<()> + Send + 'static,
    ) {
        let (db, hash) = (self.index, key.hash());
        self.effects.rare().undo = Some(Undo { db, hash, act: Box::new(act) });
    }

    /// Takes out how to put back what was taken.
    pub(crate) fn take_undo(&mut self) -> Option<Undo> {
        self.effects.rare.as_mut()?.undo.take()
    }

    /// Has those who wait for a key served at the end of the work, if there are any.
    pub(crate) fn note_ready(&mut self, key: &Key<'_>) {
        let db = self.index;
        if self.locks.shard(key.shard()).watchers.is_awaited(db, key) {
            self.effects.rare().ready.note(&Place { db, key: key.bytes().into() });
        }
    }

    /// The same for all keys of databases. Every shard is locked.
    pub(super) fn note_all_ready(&mut self, databases: &[usize]) {
        for index in self.locks.indices() {
            let queues = &self.locks.shard(index).watchers.queues;
            let places: Vec<Place> = databases.iter().flat_map(|db| queues.places_in(*db)).cloned().collect();
            places.iter().for_each(|place| self.effects.rare().ready.note(place));
        }
    }

    /// Serves those who wait for keys that were changed, until nobody finds anything more. The work itself is done, its effects are the log's.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_waiters(&mut self) {
        let home = (self.index, self.client);
        while let Some(rare) = &mut self.effects.rare
            && !rare.ready.is_empty()
        {
            for place in std::mem::take(&mut rare.ready).places {
                self.serve_queue(place);
            }
        }
        (self.index, self.client) = home;
    }

    fn serve_queue(&mut self, place: Place) {
        let keyspace = self.keyspace;
        let key = Key::new(&place.key, &keyspace.seed);
        let mut from = 0;
        loop {
            let watchers = &self.locks.shard(key.shard()).watchers;
            let Some(waiter) = watchers.next_waiter(place.db, &key, from) else { return };
            from = waiter.ticket + 1;
            if !waiter.is_here() {
                // It waits in the process that forked this one.
                self.locks.shard_mut(key.shard()).watchers.dequeue(
                    &keyspace.hooks,
                    place.db,
                    &key,
                    waiter.ticket,
                );
                continue;
            }
            if !waiter.hashes.iter().all(|hash| self.locks.has(shard_of(*hash))) {
                // Those behind it keep their places, too.
                return self.effects.rare().later.push(place);
            }
            self.index = place.db;
            let type_name = self.peek(&key).map(|entry| entry.value().type_name());
            if !waiter.serve.awaits(type_name) {
                continue;
            }
            (self.index, self.client) = waiter.origin;
            let mut effects = Group::default();
            self.effects.rare().serves = true;
            let is_served = waiter.serve.serve(self, &mut effects);
            self.effects.rare().serves = false;
            if is_served && waiter.claim() {
                waiter.dequeue(keyspace, &mut self.locks);
                let appended = keyspace.hooks.append(&effects);
                self.effects.rare().served.push(Served { waiter, appended });
            } else if !effects.is_empty() {
                // What had expired. That the log cannot keep it is for the log to remember.
                let _ = keyspace.hooks.append(&effects);
            }
        }
    }
}

/// Serves those who wait for a key that was changed by who had not locked all that they may touch. The caller holds no shard.
pub(super) fn serve_later(keyspace: &Keyspace, place: &Place) {
    let key = Key::new(&place.key, &keyspace.seed);
    let mut db = Db::new(keyspace, (place.db, 0), Locks::one_with_waiters(keyspace, key.hash()));
    db.note_ready(&key);
    db.finish_unasked(place.db);
}
