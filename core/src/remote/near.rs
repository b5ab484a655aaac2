//! What of a remote is kept near: as long as the link vouches for it, and never after a write.
//!
//! Strings stand in the engine's own keyspace under their own keys, where typed reads find them as those of any engine. What other commands replied
//! stands in a database of its own ([`REPLIES`]): a hash for each key, whose fields are the commands. So an invalidation is two removals, and both have
//! the engine's memory limit and policy.
//!
//! The clock of such an engine is leased ([`Clock::lease`](crate::clock::Clock::lease)): everything near has a deadline, and by that clock all have
//! passed once nobody vouches for them. So serving stops at once, whoever reads, and a reader that runs on after its process was stopped finds nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::flight::Flight;
use crate::backend::Backend;
use crate::command::Reply;
use crate::commands::generic::delete::delete;
use crate::commands::string::set::store;
use crate::keyspace::Db;
use crate::keyspace::locks::Locks;
use crate::keyspace::read::read_one;
use crate::local::Local;
use crate::resp::Value;
use crate::sync::{Arc, Mutex};
use crate::typed::Typed;

/// The database that replies other than strings stand in. No remote has one of that number.
const REPLIES: usize = u32::MAX as usize;

/// Tables of keys that are being fetched or written, each under a mutex of its own.
const STRIPES: usize = 64;

/// What is near, of one database of the remote.
pub(super) struct Near {
    local: Arc<Local>,
    pub(super) db: usize,
    /// The most bytes of one value.
    longest: usize,
    stripes: Box<[Mutex<Stripe>]>,
    pub(super) counts: Counts,
}

type Stripe = HashMap<Box<[u8]>, Busy>;

/// A key that is being fetched or written.
#[derive(Default)]
struct Busy {
    flights: Vec<Arc<Flight>>,
    /// Writes that have been begun and not ended.
    writers: usize,
}

/// What happened so far.
#[derive(Default)]
pub(super) struct Counts {
    /// Reads answered by what is near, those of typed calls aside: these the engine counts.
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) fills: AtomicU64,
    /// Replies that were not kept, since their key was written meanwhile.
    pub(super) fills_dropped: AtomicU64,
    pub(super) invalidations: AtomicU64,
    pub(super) flushes: AtomicU64,
    /// Reads that waited for another's fetch.
    pub(super) joined: AtomicU64,
}

impl Counts {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The keyspace of what is near, as typed calls see it.
struct Place<'n> {
    local: &'n Arc<Local>,
    db: usize,
}

impl Typed for Place<'_> {
    fn local(&self) -> &Arc<Local> {
        self.local
    }

    fn db(&self) -> usize {
        self.db
    }

    /// It is here, whatever else of the engine is elsewhere.
    fn backend(&self) -> Option<&dyn Backend> {
        None
    }
}

/// What asking for a value leads to.
pub(super) enum Begun {
    /// The caller fetches it.
    Lead(Arc<Flight>),
    /// Somebody does.
    Join(Arc<Flight>),
}

/// What a reply was asked for, as far as keeping it goes.
pub(super) struct Fetched<'v> {
    pub(super) value: &'v Value,
    /// When it was asked for, by the engine's clock.
    pub(super) asked_ms: u64,
    /// For how long the remote keeps it; `None` for ever, and for what it does not have.
    pub(super) ttl_ms: Option<u64>,
    /// The longest that it may be kept.
    pub(super) cap: Duration,
}

/// A write that has begun. Dropped, it has ended: with a reply, or without.
pub(super) struct Writing<'n> {
    near: &'n Near,
    keys: Vec<Box<[u8]>>,
    whole: bool,
}

impl Near {
    pub(super) fn new(local: Arc<Local>, db: usize, bytes: u64) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(Stripe::new())).collect();
        let longest = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
        Self { local, db, longest, stripes, counts: Counts::default() }
    }

    /// The engine's time, in milliseconds, that deadlines here count in.
    pub(super) fn now_ms(&self) -> u64 {
        self.local.keyspace.clock.now_ms()
    }

    /// Vouches for all that is near until then.
    pub(super) fn lease(&self, until_ms: u64) {
        self.local.keyspace.clock.lease(until_ms);
    }

    /// Drops everything, and has no fetch under way keep what it brings. The lease has to be over, or what is being read meanwhile is still served.
    pub(super) fn drop_all(&self) {
        for stripe in &self.stripes {
            stripe.lock().values().flat_map(|busy| &busy.flights).for_each(|flight| flight.soil());
        }
        let keyspace = &self.local.keyspace;
        let mut db = Db::new(keyspace, (self.db, 0), Locks::all(keyspace));
        db.clear_all();
        // Nothing of it is logged, so nothing can fail.
        let _ = db.finish(self.db);
        Counts::add(&self.counts.flushes);
    }

    /// The remote says that a key has changed.
    pub(super) fn hear(&self, key: &[u8]) {
        Counts::add(&self.counts.invalidations);
        self.invalidate(key);
    }

    /// Drops what is near of a key.
    fn invalidate(&self, key: &[u8]) {
        for db in [self.db, REPLIES] {
            let place = Place { local: &self.local, db };
            let key = place.key(key);
            // Most invalidations are of keys that left long ago, and of one of both.
            if !self.has(&key, db) {
                continue;
            }
            let keyspace = &self.local.keyspace;
            let mut db = Db::new(keyspace, (db, 0), Locks::one(keyspace, key.hash()));
            delete(&mut db, std::slice::from_ref(&key));
            let _ = db.finish(place.db);
        }
    }

    fn has(&self, key: &crate::keyspace::Key<'_>, db: usize) -> bool {
        let keyspace = &self.local.keyspace;
        keyspace.lock(key.shard()).find(db, key).is_some()
    }

    /// Replies to a command from what is near, if it is there.
    pub(super) fn reply(&self, key: &[u8], command: &[u8], is_get: bool, reply: &mut Reply) -> bool {
        let is_found = self.find(key, command, is_get, |value| super::codec::write(value, reply)).is_some();
        self.count_read(is_found);
        is_found
    }

    pub(super) fn count_read(&self, is_hit: bool) {
        Counts::add(if is_hit { &self.counts.hits } else { &self.counts.misses });
    }

    /// Calls `read` with what is near of what a command says of a key.
    pub(super) fn find<R>(
        &self,
        key: &[u8],
        command: &[u8],
        is_get: bool,
        read: impl FnOnce(&Value) -> R,
    ) -> Option<R> {
        let keyspace = &self.local.keyspace;
        if is_get {
            let place = Place { local: &self.local, db: self.db };
            let text = read_one(keyspace, self.db, &place.key(key), |seen| {
                seen.and_then(|seen| seen.value.text().ok().map(|text| text.to_vec()))
            });
            if let Some(text) = text {
                return Some(read(&Value::Bulk(text)));
            }
        }
        let place = Place { local: &self.local, db: REPLIES };
        let frame = place.hget_with(key, command, |frame| frame.map(<[u8]>::to_vec)).ok().flatten()?;
        Value::read(&frame).ok().map(|value| read(&value))
    }

    fn stripe(&self, key: &[u8]) -> &Mutex<Stripe> {
        let hash = self.local.keyspace.seed.hash(key);
        &self.stripes[hash as usize % STRIPES]
    }

    /// Begins to fetch what a command says of a key, or joins who does.
    pub(super) fn begin(&self, key: &[u8], command: &[u8]) -> Begun {
        let mut stripe = self.stripe(key).lock();
        let busy = stripe.entry(key.into()).or_default();
        let is_same = |flight: &&Arc<Flight>| *flight.command == *command && !flight.is_dirty();
        if let Some(flight) = busy.flights.iter().find(is_same) {
            Counts::add(&self.counts.joined);
            return Begun::Join(flight.clone());
        }
        let flight = Arc::new(Flight::new(key, command, busy.writers > 0));
        busy.flights.push(flight.clone());
        Begun::Lead(flight)
    }

    /// Ends a fetch, and keeps what it brought if it may be kept. For the thread alone that reads the link, before it reads on: what stands behind the
    /// reply there was sent later.
    pub(super) fn land(&self, flight: &Flight, fetched: Option<&Fetched<'_>>) {
        let mut stripe = self.stripe(&flight.key).lock();
        let Some(busy) = stripe.get_mut(&flight.key) else { return };
        busy.flights.retain(|other| !std::ptr::eq(&**other, flight));
        let may_be_kept = !flight.is_dirty() && busy.writers == 0;
        if busy.writers == 0 && busy.flights.is_empty() {
            stripe.remove(&flight.key);
        }
        match fetched {
            Some(fetched) if may_be_kept => self.keep(flight, fetched),
            Some(_) => Counts::add(&self.counts.fills_dropped),
            None => {}
        }
    }

    /// Under the mutex of the key's stripe: a write that begins removes what is kept here.
    fn keep(&self, flight: &Flight, fetched: &Fetched<'_>) {
        let Fetched { value, asked_ms, ttl_ms, cap } = *fetched;
        let cap = cap.as_millis() as u64;
        let deadline = asked_ms + ttl_ms.map_or(cap, |ttl| ttl.min(cap));
        if deadline <= self.now_ms() {
            return;
        }
        let is_get = super::cacheable::is_get(&flight.command);
        let kept = match value {
            Value::Bulk(text) if is_get => {
                self.is_short(text.len() + flight.key.len())
                    && self.put(self.db, &flight.key, |db, key| store(db, key, text, Some(deadline)))
            }
            value => {
                let mut frame = Vec::new();
                value.write(&mut frame);
                self.is_short(frame.len() + flight.key.len() + flight.command.len())
                    && self.put(REPLIES, &flight.key, |db, key| {
                        let before = db.peek(key).and_then(|entry| entry.deadline());
                        crate::commands::hash::set::set_field(db, key, &flight.command, &frame)?;
                        if let Some(mut entry) = db.lookup_mut(key) {
                            entry
                                .set_deadline(Some(before.map_or(deadline, |before| before.min(deadline))))?;
                        }
                        Ok(())
                    })
            }
        };
        if kept {
            Counts::add(&self.counts.fills);
        }
    }

    fn is_short(&self, length: usize) -> bool {
        length <= self.longest
    }

    /// Stores something near, if there is room.
    fn put(
        &self,
        db: usize,
        key: &[u8],
        work: impl FnOnce(&mut Db<'_>, &crate::keyspace::Key<'_>) -> crate::Result<()>,
    ) -> bool {
        let place = Place { local: &self.local, db };
        self.local.ensure_background();
        self.local.make_room() && place.write(&place.key(key), work).is_ok()
    }

    /// A write of these keys is about to be sent: what is near of them goes, and nothing that is fetched until it has ended is kept.
    pub(super) fn begin_write<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Writing<'_> {
        let keys: Vec<Box<[u8]>> = keys.into_iter().map(Box::from).collect();
        for key in &keys {
            let mut stripe = self.stripe(key).lock();
            let busy = stripe.entry(key.clone()).or_default();
            busy.writers += 1;
            self.invalidate(key);
        }
        Writing { near: self, keys, whole: false }
    }

    /// A write of all keys is about to be sent.
    pub(super) fn begin_flush(&self) -> Writing<'_> {
        self.drop_all();
        Writing { near: self, keys: Vec::new(), whole: true }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if self.whole {
            self.near.drop_all();
        }
        for key in &self.keys {
            let mut stripe = self.near.stripe(key).lock();
            let Some(busy) = stripe.get_mut(key) else { continue };
            busy.writers -= 1;
            // What was fetched while it was under way may be from before it.
            busy.flights.iter().for_each(|flight| flight.soil());
            if busy.writers == 0 && busy.flights.is_empty() {
                stripe.remove(key);
            }
        }
    }
}
