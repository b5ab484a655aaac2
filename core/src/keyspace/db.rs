//! A database as a command sees it: the only way to entries.
//!
//! Here, and only here, expired keys become invisible, accesses are stamped and counted, memory is accounted for, WATCH marks are
//! raised, snapshots get old versions, and changes are recorded for the log and for observers; so no command can forget
//! any of it. What to lock is decided in `command::run`, how an entry is stored in [`super::shard`].

mod copies;
mod effects;
mod met;
mod several;
mod views;

use std::cell::{Cell, RefCell};

use smallvec::SmallVec;

use super::Keyspace;
use super::collection::expire_elements;
use super::entry::Head;
use super::evictor::Created;
use super::hooks::EventClass;
use super::locks::{Locks, Several};
use super::shard::ShardData;
use crate::alloc;
use crate::error::Result;
use crate::evict::Event as Use;
use crate::store::key;
use crate::store::key::Key;
use crate::store::memory::{PAGE, Ref};
use crate::sync::Ordering;
use crate::value::editing::LazyTime;
use crate::value::long::LongString;
use crate::value::string::{self, is_embedded, over_deadline};
use crate::value::{Kind, MAX_IN_ARENA, NewValue};
pub(crate) use effects::Aftermath;
use effects::Effects;
use met::Met;
pub(crate) use views::Copied;
pub use views::{Entry, EntryMut};

/// The locked part of a database.
pub struct Db<'e> {
    pub(super) keyspace: &'e Keyspace,
    pub(super) index: usize,
    /// The number of the session that it works for; 0 is nobody's.
    pub(super) client: u64,
    /// Unix milliseconds, read once per command and only when a deadline has to be judged; 0 is "not yet".
    now: Cell<u64>,
    pub(super) locks: Locks<'e>,
    /// Keys that reads met and that are seen to once the command is done.
    met: RefCell<Vec<Met>>,
    /// Something was changed, so the shards' memory has to be reported.
    has_changed: bool,
    /// Nothing that it finds is stamped.
    leaves_no_stamps: bool,
    /// It finds what has expired.
    finds_expired: bool,
    /// It stores no string as an integer.
    keeps_texts: bool,
    // Declared behind the locks: what is dropped here is dropped after the unlock.
    pub(super) effects: Effects,
}

impl<'e> Db<'e> {
    /// The part of a database that is locked, for a session's work: the database's number, and the session's, 0 for nobody's.
    pub(crate) fn new(keyspace: &'e Keyspace, (index, client): (usize, u64), locks: Locks<'e>) -> Self {
        Self {
            keyspace,
            index,
            client,
            now: Cell::new(0),
            locks,
            met: RefCell::default(),
            has_changed: false,
            leaves_no_stamps: false,
            finds_expired: false,
            keeps_texts: false,
            effects: Effects::default(),
        }
    }

    /// Leaves no stamps on what it finds, or finds what has expired as if it had not.
    #[cold]
    pub(crate) fn be_told(&mut self, leaves_no_stamps: bool, finds_expired: bool) {
        (self.leaves_no_stamps, self.finds_expired) = (leaves_no_stamps, finds_expired);
    }

    /// From now on strings are stored as they came, also those that are integers, or no longer: the server stores what scripts set so.
    #[cfg(feature = "scripting")]
    pub(crate) fn keep_texts(&mut self, does: bool) {
        self.keeps_texts = does;
    }

    /// A string that arrived in one piece, as it is to be stored.
    #[inline]
    pub(crate) fn encode<'v>(&self, text: &'v [u8]) -> NewValue<'v> {
        if self.keeps_texts { NewValue::Bytes(Kind::Embedded, text) } else { string::encode(text) }
    }

    /// The database's number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The number of the session that it works for, as CLIENT ID tells it; 0 for typed calls of the process and for the engine's own work.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// Makes another database the one that keys are looked up in, and returns the previous one.
    pub fn select(&mut self, index: usize) -> usize {
        std::mem::replace(&mut self.index, index)
    }

    pub(crate) fn keyspace(&self) -> &'e Keyspace {
        self.keyspace
    }

    /// A key with its hash.
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key::new(bytes, &self.keyspace.seed)
    }

    /// Whether what has expired is reclaimed in the background.
    pub(crate) fn reclaims(&self) -> bool {
        self.keyspace.active_expiry.load(Ordering::Relaxed)
    }

    /// Unix time in milliseconds; the same for the whole command, script or transaction.
    pub fn now(&self) -> u64 {
        if self.now.get() == 0 {
            self.now.set(self.keyspace.clock.now_ms());
        }
        self.now.get()
    }

    /// Takes this as the time, in unix milliseconds: a deadline was reckoned from it. Nobody may have asked [`Db::now`] yet.
    pub(crate) fn go_by(&self, now: u64) {
        self.now.set(now);
    }

    /// The time for whoever may need it while this is borrowed.
    pub(super) fn lazy_time(&self) -> LazyTime<'e> {
        LazyTime::new(&self.keyspace.clock, self.now.get())
    }

    /// Goes by the time that was read, if it was; nobody may have asked [`Db::now`] since [`Db::lazy_time`].
    pub(super) fn remember_time(&self, time: &LazyTime<'_>) {
        self.now.set(time.read());
    }

    #[inline]
    fn shard(&self, key: &Key<'_>) -> &ShardData {
        self.locks.shard(key.shard())
    }

    #[inline]
    fn shard_mut(&mut self, key: &Key<'_>) -> &mut ShardData {
        self.locks.shard_mut(key.shard())
    }

    pub(crate) fn locks(&self) -> &Locks<'e> {
        &self.locks
    }

    pub(crate) fn locks_mut(&mut self) -> &mut Locks<'e> {
        &mut self.locks
    }

    /// Locks all shards, unless those of the keys that `each` visits are locked: a script that touches a key which it did not declare may touch any.
    #[inline]
    pub(crate) fn cover(&mut self, each: impl FnOnce(&mut dyn FnMut(&Key<'_>))) {
        if self.locks.are_complete() {
            return;
        }
        let mut is_covered = true;
        each(&mut |key| is_covered &= self.locks.has(key.shard()));
        if !is_covered {
            self.cover_all();
        }
    }

    /// Locks all shards, if a script holds those of the keys that it declared.
    pub(crate) fn cover_all(&mut self) {
        if !self.locks.are_complete() {
            let locks = std::mem::replace(&mut self.locks, Locks::Some(Several::default()));
            self.locks = locks.escalated(self.keyspace);
        }
    }

    #[inline]
    fn is_expired(&self, shard: &ShardData, at: Ref) -> bool {
        shard.head(at).deadline(&shard.arena, at).is_some_and(|deadline| deadline <= self.now())
            && !self.finds_expired
    }

    /// Finds a key for reading: counts a hit or a miss and stamps the access. O(1).
    #[inline]
    pub fn lookup(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let found = self.lookup_untouched(key);
        if let Some(entry) = &found
            && !self.leaves_no_stamps
        {
            self.keyspace.evictor.note(key.hash(), Use::Used);
            self.keyspace.stamp_read(entry.shard, entry.at);
        }
        found
    }

    /// As [`Db::lookup`], and stamps the access whatever the session has asked for.
    pub(crate) fn touch(&self, key: &Key<'_>) -> bool {
        let found = self.lookup_untouched(key);
        if let Some(entry) = &found {
            self.keyspace.evictor.note(key.hash(), Use::Used);
            self.keyspace.stamp_read(entry.shard, entry.at);
        }
        found.is_some()
    }

    /// Finds a key and leaves no trace: neither a hit nor an access. O(1).
    #[inline]
    pub fn peek(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let shard = self.shard(key);
        let at = shard.find(self.index, key)?;
        if self.is_expired(shard, at) {
            self.found_stale(key.bytes());
            return None;
        }
        Some(Entry { shard, at })
    }

    /// Finds a key for a question about it that is no use of it: counts a hit or a miss, stamps nothing. O(1).
    #[inline]
    pub fn lookup_untouched(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let found = self.lookup_untold(key);
        if found.is_none() && self.keyspace.hooks.want_misses() {
            self.found_missing(key.bytes());
        }
        found
    }

    /// As [`Db::lookup_untouched`], and nobody hears of a miss.
    #[inline]
    pub(crate) fn lookup_untold(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let found = self.peek(key);
        self.keyspace.lookups.count(found.is_some());
        found
    }

    /// Whether the key exists, without a trace.
    pub fn contains(&self, key: &Key<'_>) -> bool {
        self.peek(key).is_some()
    }

    /// Whether an entry of the key is there but past its deadline: what WATCH has to remember.
    pub(crate) fn is_stale(&self, key: &Key<'_>) -> bool {
        let shard = self.shard(key);
        shard.find(self.index, key).is_some_and(|at| self.is_expired(shard, at))
    }

    /// Finds a key for writing and stamps the access; reclaims it if it has expired. O(1).
    #[inline]
    pub fn lookup_mut<'d>(&'d mut self, key: &Key<'d>) -> Option<EntryMut<'d, 'e>> {
        let at = self.find_live(key)?;
        self.stamp(key, at);
        Some(EntryMut { db: self, key: *key, at })
    }

    /// As [`Db::lookup_mut`], for the engine's own work: no access is stamped.
    pub(crate) fn lookup_mut_untouched<'d>(&'d mut self, key: &Key<'d>) -> Option<EntryMut<'d, 'e>> {
        let at = self.find_live(key)?;
        Some(EntryMut { db: self, key: *key, at })
    }

    /// As [`Db::lookup_mut`], for a collection: elements of it that have expired go first, lest a write leaves nothing else. While nothing is reclaimed
    /// they stay, and no write finds them.
    pub(super) fn lookup_collection<'d>(&'d mut self, key: &Key<'d>) -> Option<EntryMut<'d, 'e>> {
        let mut at = self.find_live(key)?;
        if self.is_due_inside(key, at) && self.reclaims() {
            expire_elements(self, key);
            at = self.find_live(key)?;
        }
        self.stamp(key, at);
        Some(EntryMut { db: self, key: *key, at })
    }

    /// Whether something inside the value of an entry may have expired.
    #[inline]
    fn is_due_inside(&self, key: &Key<'_>, at: Ref) -> bool {
        let shard = self.shard(key);
        let head = shard.head(at);
        head.kind().owns()
            && shard.value_of(at, head).next_deadline().is_some_and(|deadline| deadline <= self.now())
    }

    /// Stamps an access to an entry.
    #[inline]
    fn stamp(&self, key: &Key<'_>, at: Ref) {
        if !self.leaves_no_stamps {
            self.keyspace.evictor.note(key.hash(), Use::Used);
            self.keyspace.stamp(self.shard(key), [at]);
        }
    }

    #[inline]
    fn find_live(&mut self, key: &Key<'_>) -> Option<Ref> {
        let shard = self.shard(key);
        let at = shard.find(self.index, key)?;
        if self.is_expired(shard, at) {
            self.expire(key, at);
            return None;
        }
        Some(at)
    }

    /// Removes a key whose deadline was set to a time that has passed: it has expired, and is counted and announced as such. Says
    /// whether it was there. O(1).
    pub(crate) fn expire_now(&mut self, key: &Key<'_>) -> bool {
        let Some(at) = self.find_live(key) else { return false };
        self.delete(key, at);
        bump(&self.shard(key).stats.expired);
        self.notify(EventClass::Expired, "expired", key.bytes());
        self.modified(key);
        true
    }

    /// Stores a value, whatever was there before; the old deadline goes with the old value. A deadline that has passed removes the key. O(1).
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn insert(&mut self, key: &Key<'_>, value: NewValue<'_>, deadline: Option<u64>) -> Result<()> {
        self.put(key, value, deadline, over_deadline)
    }

    /// Stores a string that begins with so many zeroes under a key that has none. O(length).
    ///
    /// # Errors
    /// As [`Db::insert`].
    pub(crate) fn insert_padded(&mut self, key: &Key<'_>, zeroes: usize, text: &[u8]) -> Result<()> {
        let len = zeroes + text.len();
        if len <= MAX_IN_ARENA {
            let mut whole = vec![0; len];
            whole[zeroes..].copy_from_slice(text);
            return self.insert(key, NewValue::Bytes(Kind::Raw, &whole), None);
        }
        let mut string = LongString::new(&self.keyspace.shared.pool, &[], len)?;
        string.write(zeroes, text)?;
        self.insert(key, NewValue::Owned(string.into()), None)
    }

    /// A string of so many bytes, to be inserted. `fill` writes a part of it, which begins at some byte; parts come in order. O(length).
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn filled(&self, len: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<Copied> {
        if len <= MAX_IN_ARENA {
            let mut whole = alloc::with_room_for(len)?;
            whole.resize(len, 0);
            fill(0, &mut whole);
            return Ok(Copied::Bytes(Kind::Raw, whole));
        }
        let mut string = LongString::new(&self.keyspace.shared.pool, &[], len)?;
        let mut part = [0; PAGE];
        for start in (0..len).step_by(PAGE) {
            let part = &mut part[..PAGE.min(len - start)];
            fill(start, part);
            string.write(start, part)?;
        }
        Ok(Copied::Owned(Some(string.into())))
    }

    #[inline]
    fn put(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        over_deadline: impl for<'v> FnOnce(usize, NewValue<'v>) -> NewValue<'v>,
    ) -> Result<()> {
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            self.expire_now(key);
            return Ok(());
        }
        match self.find_live(key) {
            Some(at) => {
                let (db, shard) = (self.index, self.shard(key));
                shard.preserve(db, key.hash(), at);
                let had_deadline = shard.head(at).has_deadline();
                let value = if had_deadline { over_deadline(key.bytes().len(), value) } else { value };
                let (at, old) = self.shard_mut(key).replace(db, key.hash(), at, value, deadline)?;
                self.effects.discard(old);
                self.stamp(key, at);
                if deadline.is_some() && !had_deadline {
                    self.gained_deadline(key, at);
                }
            }
            None => {
                let stamp = self.keyspace.first_stamp();
                let db = self.index;
                self.shard_mut(key).create(db, key, value, deadline, stamp)?;
                self.keyspace.evictor.note(key.hash(), Use::Created);
                if self.keyspace.evictor.files(deadline.is_some()) {
                    self.file(key, stamp);
                }
                self.notify(EventClass::New, "new", key.bytes());
            }
        }
        self.modified(key);
        Ok(())
    }

    /// Removes a key and says whether it was there. O(1); large values are dropped after the unlock.
    pub fn remove(&mut self, key: &Key<'_>) -> bool {
        match self.find_live(key) {
            Some(at) => {
                self.delete(key, at);
                self.modified(key);
                true
            }
            None => {
                self.void_loads(key);
                false
            }
        }
    }

    /// Remembers to give the evictor a record of the key.
    #[cold]
    fn file(&mut self, key: &Key<'_>, stamp: u32) {
        self.effects.created.push(Created { hash: key.hash(), db: self.index as u32, stamp });
    }

    #[inline]
    fn gained_deadline(&mut self, key: &Key<'_>, at: Ref) {
        if self.keyspace.evictor.files_deadlines() {
            let stamp = self.shard(key).head(at).stamp();
            self.file(key, stamp);
        }
    }

    /// Removes a key because memory is short, tells the log and the observers.
    pub(crate) fn evict(&mut self, key: &Key<'_>) {
        let Some(at) = self.shard(key).find(self.index, key) else { return };
        self.has_changed = true;
        self.erase(key, at);
        let db = self.index;
        self.shard_mut(key).drop_idle_wheel(db);
        self.log_removal(self.keyspace.evicted_delete_command(), key);
        self.notify(EventClass::Evicted, "evicted", key.bytes());
        self.mark(key);
        if !self.keyspace.config.hot().lazyfree_lazy_eviction()
            && let Some(rare) = &mut self.effects.rare
        {
            rare.drop_here = true;
        }
    }

    fn delete(&mut self, key: &Key<'_>, at: Ref) {
        self.keyspace.evictor.note(key.hash(), Use::Removed);
        self.erase(key, at);
    }

    fn erase(&mut self, key: &Key<'_>, at: Ref) {
        self.preserve(key, at);
        let db = self.index;
        let owned = self.shard_mut(key).delete(db, key.hash(), at);
        self.effects.discard(owned);
    }

    /// Arms a timer for a key.
    pub(super) fn arm(&mut self, key: &Key<'_>, deadline: u64) {
        let db = self.index;
        self.shard_mut(key).arm(db, key.hash(), deadline);
    }

    /// Reclaims an expired entry, tells the log and the observers.
    fn expire(&mut self, key: &Key<'_>, at: Ref) {
        self.delete(key, at);
        bump(&self.shard(key).stats.expired);
        self.log_removal(self.keyspace.expired_delete_command(), key);
        self.notify(EventClass::Expired, "expired", key.bytes());
        self.mark(key);
    }

    /// Gives an entry that is about to change to the snapshot that is being written, if that needs it.
    #[inline]
    fn preserve(&self, key: &Key<'_>, at: Ref) {
        self.shard(key).preserve(self.index, key.hash(), at);
    }

    /// Records a change of a key: for WATCH, for the log, for observers.
    #[inline]
    fn modified(&mut self, key: &Key<'_>) {
        self.effects.changes += 1;
        self.shard(key).stats.count_change();
        self.void_loads(key);
        self.mark(key);
    }

    /// Records a change of a key that only the log hears of: WATCH and those who wait for the key do not.
    pub(super) fn modified_unheard(&mut self, key: &Key<'_>) {
        self.effects.changes += 1;
        self.shard(key).stats.count_change();
    }

    #[inline]
    fn mark(&mut self, key: &Key<'_>) {
        let db = self.index;
        let shard = self.shard(key);
        if !shard.watchers.is_empty() {
            shard.watchers.touch(db, key.bytes());
            self.note_ready(key);
        }
        self.keyspace.counters.bump(key.hash());
        self.tell_trackers(key);
        if self.keyspace.hooks.want_changes() {
            let client = self.client;
            self.effects.rare().told.modified.push((db, key.bytes().into(), client));
        }
    }

    /// Tells clients that may keep a key that it has changed.
    #[inline]
    pub(crate) fn tell_trackers(&mut self, key: &Key<'_>) {
        if self.keyspace.hooks.are_tracked() {
            self.effects.track(&self.keyspace.hooks, key.bytes(), self.client);
        }
    }

    /// Number of keys in this database, expired ones that the reaper has not reached included. O(shards).
    pub fn len(&self) -> usize {
        self.locks.indices().into_iter().map(|index| self.locks.shard(index).len(self.index)).sum()
    }

    /// Whether the database holds no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A fair random key that is not expired. Expected O(1); O(keys) where nearly all have expired.
    pub(crate) fn random_key(&self) -> Option<&[u8]> {
        super::scan::random_key(self)
    }

    /// Entries of a locked shard that a timer of this id may stand for: those of its bucket and tag.
    pub(crate) fn timer_candidates(&self, shard: usize, id: u32) -> SmallVec<[Ref; 4]> {
        let mut found = SmallVec::new();
        self.locks.shard(shard).find_by(self.index, key::hash_of_timer(id), |at| {
            found.push(at);
            false
        });
        found
    }

    /// The entry at a reference, expired or not.
    pub(crate) fn entry_at(&self, shard: usize, at: Ref) -> Entry<'_> {
        Entry { shard: self.locks.shard(shard), at }
    }

    /// Bytes that an entry of this key's table takes in it, on average.
    pub(crate) fn slot_bytes(&self, key: &Key<'_>) -> usize {
        self.shard(key).space(self.index).map_or(0, |space| space.table_bytes() / space.table.len().max(1))
    }

    /// Reclaims a key that has expired.
    pub(crate) fn expire_key(&mut self, key: &Key<'_>) {
        let found = self.find_live(key);
        debug_assert!(found.is_none(), "only an expired key is reclaimed");
    }

    pub(crate) fn live_entry<'d>(&self, shard: &'d ShardData, at: Ref) -> Option<Entry<'d>> {
        (!self.is_expired(shard, at)).then_some(Entry { shard, at })
    }
}

#[inline]
fn bump(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// The kind of a value without its key: a string that was too long to share the key's allocation stays `raw` under any other.
fn apart_from_key(head: &Head) -> Kind {
    match head.kind() {
        Kind::Embedded if !is_embedded(head.key_len, head.value_len, head.has_deadline()) => Kind::Raw,
        kind => kind,
    }
}
