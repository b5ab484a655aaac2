//! A database as a command sees it: the only way to entries.
//!
//! Here, and only here, expired keys become invisible, accesses are stamped and counted, memory is accounted for, WATCH marks are
//! raised, snapshots get old versions, and changes are recorded for the log and for observers; so no command can forget
//! any of it. What to lock is decided in `command::run`, how an entry is stored in [`super::shard`].

use std::cell::{Cell, RefCell};

use smallvec::SmallVec;

use super::Keyspace;
use super::entry::{self, Head};
use super::evictor::Created;
use super::hooks::{Argv, Effect, Event, EventClass, Snapshot};
use super::locks::Locks;
use super::shard::ShardData;
use crate::error::{Error, Result};
use crate::evict::Event as Use;
use crate::store::key;
use crate::store::key::{HashSeed, Key};
use crate::store::memory::Ref;
use crate::value::long::{self, LongString};
use crate::value::string::{is_embedded, over_deadline};
use crate::value::{Kind, NewValue, Owned, Value};

/// The locked part of a database.
pub struct Db<'e> {
    pub(super) keyspace: &'e Keyspace,
    pub(super) index: usize,
    /// Unix milliseconds, read once per command and only when a deadline has to be judged; 0 is "not yet".
    now: Cell<u64>,
    pub(super) locks: Locks<'e>,
    /// Expired keys that reads met; reclaimed once the command is done.
    stale: RefCell<Vec<(usize, Box<[u8]>)>>,
    /// Something was changed, so the shards' memory has to be reported.
    has_changed: bool,
    // Declared behind the locks: what is dropped here is dropped after the unlock.
    pub(super) effects: Effects,
}

/// What a command did, for those who must hear of it.
#[derive(Default)]
pub(super) struct Effects {
    changes: u64,
    /// Keys that the evictor needs a record of.
    created: SmallVec<[Created; 1]>,
    /// What few commands have, so that the others need not carry it.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(super) struct Rare {
    expired_fields: u64,
    /// The commands that replace the one being executed in the log; `None`: log it as it came.
    rewritten: Option<Vec<Effect>>,
    /// Deletions of expired keys met on the way, logged before the command.
    expirations: Vec<Effect>,
    modified: Vec<(usize, Box<[u8]>)>,
    events: Vec<Event>,
    pub(super) garbage: Vec<Owned>,
    /// The garbage is dropped by this thread, whatever it costs.
    pub(super) drop_here: bool,
    /// Databases of which all keys changed; `None` stands for all databases.
    pub(super) flushed: Vec<Option<usize>>,
}

/// What is left to do for a piece of work once nothing is locked: observers hear, garbage is dropped.
pub(crate) struct Aftermath(Box<Rare>);

impl Aftermath {
    /// Does it. The caller holds no lock.
    pub(crate) fn settle(self, keyspace: &Keyspace) {
        self.0.release(keyspace);
    }
}

impl Rare {
    /// What is done after the unlock: observers hear, garbage is dropped.
    fn release(self, keyspace: &Keyspace) {
        keyspace.expired_fields.fetch_add(self.expired_fields, crate::sync::Ordering::Relaxed);
        if !self.modified.is_empty() || !self.events.is_empty() {
            keyspace.hooks.tell(&self.modified, &self.events);
        }
        if !self.flushed.is_empty() {
            keyspace.hooks.tell_flushed(&self.flushed);
        }
        if self.drop_here {
            drop(self.garbage);
        } else {
            crate::lazyfree::discard(self.garbage);
        }
    }
}

impl Effects {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Values to drop after the unlock.
    pub(super) fn discard(&mut self, values: impl IntoIterator<Item = Owned>) {
        for mut value in values {
            // What nobody can reach is no reason to evict more.
            value.depart();
            self.rare().garbage.push(value);
        }
    }
}

impl<'e> Db<'e> {
    pub(crate) fn new(keyspace: &'e Keyspace, index: usize, locks: Locks<'e>) -> Self {
        Self {
            keyspace,
            index,
            now: Cell::new(0),
            locks,
            stale: RefCell::default(),
            has_changed: false,
            effects: Effects::default(),
        }
    }

    /// The database's number.
    pub fn index(&self) -> usize {
        self.index
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

    /// Unix time in milliseconds; the same for the whole command, script or transaction.
    pub fn now(&self) -> u64 {
        if self.now.get() == 0 {
            self.now.set(self.keyspace.clock.now_ms());
        }
        self.now.get()
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

    #[inline]
    fn is_expired(&self, shard: &ShardData, at: Ref) -> bool {
        shard.head(at).deadline(&shard.arena, at).is_some_and(|deadline| deadline <= self.now())
    }

    /// Finds a key for reading: counts a hit or a miss and stamps the access. O(1).
    #[inline]
    pub fn lookup(&self, key: &Key<'_>) -> Option<Entry<'_>> {
        let found = self.peek(key);
        self.keyspace.lookups.count(found.is_some());
        if let Some(entry) = &found {
            stamp(self.keyspace, entry.shard, entry.at, key.hash());
        }
        found
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

    /// Has a key that was met and had expired reclaimed when the command has ended.
    pub(crate) fn found_stale(&self, key: &[u8]) {
        self.stale.borrow_mut().push((self.index, key.into()));
    }

    /// Finds a key for a question about it that is no use of it: counts a hit or a miss, stamps nothing. O(1).
    pub fn lookup_untouched(&self, key: &Key<'_>) -> Option<Entry<'_>> {
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
        stamp(self.keyspace, self.shard(key), at, key.hash());
        Some(EntryMut { db: self, key: *key, at })
    }

    /// As [`Db::lookup_mut`], for the engine's own work: no access is stamped.
    pub(crate) fn lookup_mut_untouched<'d>(&'d mut self, key: &Key<'d>) -> Option<EntryMut<'d, 'e>> {
        let at = self.find_live(key)?;
        Some(EntryMut { db: self, key: *key, at })
    }

    /// Counts fields that have expired.
    pub(crate) fn count_expired_fields(&mut self, count: usize) {
        self.effects.rare().expired_fields += count as u64;
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

    /// Stores a value that comes from another key: in Valkey it takes the place of an entry, not of a value. Else as [`Db::insert`].
    ///
    /// # Errors
    /// As [`Db::insert`].
    pub(crate) fn insert_from_elsewhere(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
    ) -> Result<()> {
        self.put(key, value, deadline, |_, value| value)
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
                self.preserve(key, at);
                let db = self.index;
                let had_deadline = self.shard(key).head(at).has_deadline();
                let value = if had_deadline { over_deadline(key.bytes().len(), value) } else { value };
                let (at, old) = self.shard_mut(key).replace(db, key.hash(), at, value, deadline)?;
                self.effects.discard(old);
                stamp(self.keyspace, self.shard(key), at, key.hash());
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
            None => false,
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

    /// Has the log remove a key before whatever the command does.
    fn log_removal(&mut self, command: &[u8], key: &Key<'_>) {
        if self.keyspace.hooks.journal().is_some() {
            let argv = vec![command.to_vec(), key.bytes().to_vec()];
            let db = self.index;
            self.effects.rare().expirations.push(Effect { db, argv });
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

    /// Takes the value and the deadline of a key out of the database, to put them elsewhere. O(1).
    pub(crate) fn take(&mut self, key: &Key<'_>) -> Option<(Taken, Option<u64>)> {
        let at = self.find_live(key)?;
        self.keyspace.evictor.note(key.hash(), Use::Removed);
        self.preserve(key, at);
        let db = self.index;
        let shard = self.shard_mut(key);
        let head = shard.head(at);
        let deadline = head.deadline(&shard.arena, at);
        let taken = match head.kind() {
            Kind::Int => match shard.value(at) {
                Value::Int(number) => Taken::Int(number),
                _ => unreachable!("the kind says integer"),
            },
            kind if kind.owns() => {
                let owned = shard.delete(db, key.hash(), at).expect("the kind says that it owns something");
                self.modified(key);
                return Some((Taken::Owned(Some(owned)), deadline));
            }
            _ => Taken::Bytes(apart_from_key(&head), head.value(&shard.arena, at).to_vec()),
        };
        shard.delete(db, key.hash(), at);
        self.modified(key);
        Some((taken, deadline))
    }

    /// A copy of the value and the deadline of a key. O(size of the value), but at most of 64 KiB: what is larger is shared.
    pub(crate) fn copy(&mut self, key: &Key<'_>) -> Option<(Taken, Option<u64>)> {
        let at = self.find_live(key)?;
        let shard = self.shard(key);
        let head = shard.head(at);
        let taken = match shard.value(at) {
            Value::Int(number) => Taken::Int(number),
            _ if head.kind().owns() => Taken::Owned(Some(shard.share(at))),
            _ => Taken::Bytes(apart_from_key(&head), head.value(&shard.arena, at).to_vec()),
        };
        Some((taken, head.deadline(&shard.arena, at)))
    }

    /// Moves a value with its deadline to another key, or to a key of another database, over whatever is there. `None`: no such key.
    ///
    /// # Errors
    /// The system has no memory; then the value is lost to both.
    pub(crate) fn relocate(&mut self, from: &Key<'_>, to: &Key<'_>, target: usize) -> Result<Option<()>> {
        let Some((mut value, deadline)) = self.take(from) else { return Ok(None) };
        let home = self.select(target);
        let moved = self.insert_from_elsewhere(to, value.as_new(), deadline);
        self.adopt_field_deadlines(to);
        self.select(home);
        moved.map(Some)
    }

    /// Arms the timer of a value that was inserted whole and has deadlines inside.
    pub(crate) fn adopt_field_deadlines(&mut self, key: &Key<'_>) {
        let Some(entry) = self.peek(key) else { return };
        if let Value::Hash(hash) = entry.value()
            && let Some(deadline) = hash.next_deadline()
        {
            let db = self.index;
            self.shard_mut(key).arm(db, key.hash(), deadline);
        }
    }

    /// Reclaims an expired entry, tells the log and the observers.
    fn expire(&mut self, key: &Key<'_>, at: Ref) {
        self.delete(key, at);
        bump(&self.shard(key).stats.expired);
        self.log_removal(self.keyspace.expired_delete_command(), key);
        self.notify(EventClass::Expired, "expired", key.bytes());
        self.mark(key);
    }

    /// Hands the version of an entry that a running snapshot has not visited yet to its writer, before it changes.
    ///
    #[inline]
    fn preserve(&mut self, key: &Key<'_>, at: Ref) {
        if let Some(snapshot) = self.keyspace.hooks.snapshot() {
            preserve_for(&*snapshot, self.shard(key), at, self.index);
        }
    }

    /// Reclaims the expired keys that reads met.
    fn reclaim_stale(&mut self) {
        let home = self.index;
        for (db, name) in std::mem::take(self.stale.get_mut()) {
            self.index = db;
            let key = self.key(&name);
            self.find_live(&key);
        }
        self.index = home;
    }

    /// Records a change of a key: for WATCH, for the log, for observers.
    #[inline]
    fn modified(&mut self, key: &Key<'_>) {
        self.effects.changes += 1;
        self.shard(key).stats.count_change();
        self.mark(key);
    }

    #[inline]
    fn mark(&mut self, key: &Key<'_>) {
        let db = self.index;
        let shard = self.shard(key);
        if !shard.watchers.is_empty() {
            shard.watchers.touch(db, key.bytes());
        }
        self.keyspace.counters.bump(key.hash());
        if self.keyspace.hooks.observed() {
            self.effects.rare().modified.push((db, key.bytes().into()));
        }
    }

    /// Announces a keyspace event to whoever subscribed to its class.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        if self.keyspace.hooks.observed() {
            let event = Event { class, name, db: self.index, key: key.into() };
            self.effects.rare().events.push(event);
        }
    }

    /// Writes these words to the log in place of the command that is being executed. May be called several times; without a log the words
    /// are never made.
    ///
    /// Commands whose repetition would not have the same effect call it: relative deadlines, random choices, floats.
    pub fn propagate(&mut self, argv: impl FnOnce() -> Argv) {
        if self.keyspace.hooks.journal().is_some() {
            let effect = Effect { db: self.index, argv: argv() };
            self.effects.rare().rewritten.get_or_insert_default().push(effect);
        }
    }

    /// Logs the removal of expired fields before whatever the command does. `changes` are those it had made by then: expiry is none of
    /// them, or a command that goes on to change nothing would be logged.
    pub(super) fn log_expired_fields(&mut self, key: &Key<'_>, fields: Vec<Vec<u8>>, changes: u64) {
        self.effects.changes = changes;
        if self.keyspace.hooks.journal().is_some() {
            let words = [b"HDEL".to_vec(), key.bytes().to_vec()];
            let argv = words.into_iter().chain(fields).collect();
            let db = self.index;
            self.effects.rare().expirations.push(Effect { db, argv });
        }
    }

    /// Closes a piece of work that came without words, unlocks and frees.
    pub(crate) fn finish(self, db: usize) {
        let keyspace = self.keyspace;
        if let Some(aftermath) = self.finish_later(db) {
            aftermath.settle(keyspace);
        }
    }

    /// As [`Db::finish`], but leaves to the caller what is to be done when no lock is held any more.
    pub(crate) fn finish_later(mut self, db: usize) -> Option<Aftermath> {
        let mut effects = Vec::new();
        self.settle(db, &[], &mut effects);
        if !effects.is_empty()
            && let Some(journal) = self.keyspace.hooks.journal()
        {
            journal.append(&effects);
        }
        self.unlock()
    }

    /// How many changes the command has made so far.
    pub fn changes(&self) -> u64 {
        self.effects.changes
    }

    /// Counts changes that no single key stands for, such as FLUSHALL's.
    pub(crate) fn add_changes(&mut self, changes: u64) {
        self.effects.changes += changes;
        self.keyspace.dirty.fetch_add(changes, crate::sync::Ordering::Relaxed);
    }

    /// Closes one command: hands its effects to the log while the shards are still locked.
    pub(crate) fn settle(&mut self, db: usize, argv: &[&[u8]], into: &mut Vec<Effect>) {
        self.reclaim_stale();
        let changes = std::mem::take(&mut self.effects.changes);
        let mut rewritten = None;
        if let Some(rare) = &mut self.effects.rare {
            rewritten = rare.rewritten.take();
            into.append(&mut rare.expirations);
        }
        if changes > 0 {
            self.has_changed = true;
            if self.keyspace.hooks.journal().is_some() {
                match rewritten {
                    Some(effects) => into.extend(effects),
                    None => into.push(Effect { db, argv: argv.iter().map(|word| word.to_vec()).collect() }),
                }
            }
        }
    }

    /// Ends the work: accounts memory, unlocks, then drops what was removed and tells the observers.
    pub(crate) fn release(self) {
        let keyspace = self.keyspace;
        if let Some(aftermath) = self.unlock() {
            aftermath.settle(keyspace);
        }
    }

    #[inline]
    fn unlock(mut self) -> Option<Aftermath> {
        let keyspace = self.keyspace;
        if self.has_changed || self.effects.rare.is_some() {
            self.locks.each_mut(|shard| keyspace.report(shard));
        }
        let Self { locks, effects, has_changed, .. } = self;
        drop(locks);
        if has_changed {
            super::compaction::help(keyspace);
        }
        if !effects.created.is_empty() {
            keyspace.evictor.file(&effects.created);
        }
        effects.rare.map(Aftermath)
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

/// Hands an entry to the writer of a running snapshot unless it has been visited.
pub(super) fn preserve_for(snapshot: &dyn Snapshot, shard: &ShardData, at: Ref, db: usize) {
    if shard.head(at).epoch() != snapshot.epoch() {
        snapshot.preserve(&Entry { shard, at }, db);
        entry::set_epoch(&shard.arena, at, snapshot.epoch());
    }
}

#[inline]
fn stamp(keyspace: &Keyspace, shard: &ShardData, at: Ref, hash: u64) {
    keyspace.evictor.note(hash, Use::Used);
    keyspace.stamp(shard, [at]);
}

#[inline]
fn bump(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// The kind of a packed value without its key: a string that was too long to share the key's allocation stays `raw` under any other.
fn apart_from_key(head: &Head) -> Kind {
    match head.kind() {
        Kind::Embedded if !is_embedded(head.key_len, head.value_len, head.has_deadline()) => Kind::Raw,
        kind => kind,
    }
}

/// A value taken out of the keyspace or copied from it.
#[derive(Debug)]
pub(crate) enum Taken {
    Int(i64),
    Bytes(Kind, Vec<u8>),
    Owned(Option<Owned>),
}

impl Taken {
    /// As a value to insert, once.
    pub(crate) fn as_new(&mut self) -> NewValue<'_> {
        match self {
            Taken::Int(number) => NewValue::Int(*number),
            Taken::Bytes(kind, bytes) => NewValue::Bytes(*kind, bytes),
            Taken::Owned(owned) => {
                let mut owned = owned.take().expect("a value is inserted once");
                if let Owned::Hash(hash) = &mut owned {
                    hash.forget_timer();
                }
                NewValue::Owned(owned)
            }
        }
    }
}

/// An entry being read.
pub struct Entry<'d> {
    shard: &'d ShardData,
    at: Ref,
}

impl<'d> Entry<'d> {
    pub(super) fn at(shard: &'d ShardData, at: Ref) -> Self {
        Self { shard, at }
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> Value<'d> {
        self.shard.value(self.at)
    }

    /// Its key.
    pub fn key(&self) -> &'d [u8] {
        self.shard.head(self.at).key(&self.shard.arena, self.at)
    }

    /// Its deadline in unix milliseconds, if it has one.
    pub fn deadline(&self) -> Option<u64> {
        self.shard.head(self.at).deadline(&self.shard.arena, self.at)
    }

    /// Whether a string value is known to be pure ASCII; bindings choose the cheaper conversion by it.
    #[inline]
    pub fn is_ascii(&self) -> bool {
        self.shard.head(self.at).ascii()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.shard.head(self.at).kind()
    }

    /// Bytes of the value as it stands in the entry.
    pub(crate) fn value_len(&self) -> usize {
        self.shard.head(self.at).value_len
    }

    pub(crate) fn stamp(&self) -> u32 {
        self.shard.head(self.at).stamp()
    }

    /// Bytes of memory that the entry takes.
    pub fn bytes(&self) -> usize {
        self.shard.entry_bytes(self.at)
    }
}

/// An entry being changed. Every change through it is recorded.
pub struct EntryMut<'d, 'e> {
    db: &'d mut Db<'e>,
    key: Key<'d>,
    at: Ref,
}

impl<'d, 'e> EntryMut<'d, 'e> {
    /// Its value.
    pub fn value(&self) -> Value<'_> {
        self.db.shard(&self.key).value(self.at)
    }

    /// Its deadline in unix milliseconds, if it has one.
    pub fn deadline(&self) -> Option<u64> {
        let shard = self.db.shard(&self.key);
        shard.head(self.at).deadline(&shard.arena, self.at)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.db.shard(&self.key).head(self.at).kind()
    }

    /// The bytes of the value as they stand in the entry: a string's or a packed collection's.
    pub(crate) fn bytes(&self) -> &[u8] {
        let shard = self.db.shard(&self.key);
        shard.head(self.at).value(&shard.arena, self.at)
    }

    /// The database, for its clock, log and events.
    pub fn db(&mut self) -> &mut Db<'e> {
        self.db
    }

    /// Gives the entry another value; its deadline stays.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn set_value(&mut self, value: NewValue<'_>) -> Result<()> {
        let deadline = self.deadline();
        self.db.preserve(&self.key, self.at);
        let value = if deadline.is_some() { over_deadline(self.key.bytes().len(), value) } else { value };
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let (at, old) = self.db.shard_mut(&self.key).replace(db, hash, at, value, deadline)?;
        self.at = at;
        self.db.effects.discard(old);
        self.db.modified(&self.key);
        Ok(())
    }

    /// Sets or removes the deadline, in unix milliseconds.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub fn set_deadline(&mut self, deadline: Option<u64>) -> Result<()> {
        if deadline.is_none() {
            self.stay_apart_from_key()?;
        }
        self.db.preserve(&self.key, self.at);
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let had_deadline = self.db.shard(&self.key).head(at).has_deadline();
        self.at = self.db.shard_mut(&self.key).set_deadline(db, hash, at, deadline)?;
        if deadline.is_some() && !had_deadline {
            self.db.gained_deadline(&self.key, self.at);
        }
        self.db.modified(&self.key);
        Ok(())
    }

    /// What had no room beside its key and a deadline is `raw` also when the deadline goes.
    fn stay_apart_from_key(&mut self) -> Result<()> {
        let head = self.db.shard(&self.key).head(self.at);
        let is_embedded = |has_deadline| is_embedded(head.key_len, head.value_len, has_deadline);
        if head.kind() != Kind::Embedded || is_embedded(head.has_deadline()) || !is_embedded(false) {
            return Ok(());
        }
        let text = self.bytes().to_vec();
        self.set_value(NewValue::Bytes(Kind::Raw, &text))
    }

    /// Writes bytes over those of a string in the entry, its length unchanged.
    fn edit_bytes(&mut self, from: usize, bytes: &[u8]) -> Result<()> {
        self.db.preserve(&self.key, self.at);
        let at = self.at;
        self.db.shard_mut(&self.key).edit_string(at, from, bytes);
        self.db.modified(&self.key);
        Ok(())
    }

    /// Edits the value, if it has memory of its own. `edit` says whether it changed anything beside what it returns.
    ///
    /// # Errors
    /// The system has no memory for the entry; nothing has changed.
    pub(crate) fn edit_owned<R>(
        &mut self,
        edit: impl FnOnce(&mut Owned, &HashSeed) -> (R, bool),
    ) -> Result<Option<R>> {
        if !self.kind().owns() {
            return Ok(None);
        }
        self.db.preserve(&self.key, self.at);
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let (at, result, changed) = self.db.shard_mut(&self.key).edit_owned(db, hash, at, edit)?;
        self.at = at;
        if changed {
            self.db.modified(&self.key);
        }
        Ok(Some(result))
    }

    /// Writes bytes over those of a string from `from` on, with zeroes before them where it is shorter. A string that grows beyond a page gets pages of its
    /// own. O(bytes), amortised, O(length) for shorter strings.
    ///
    /// # Errors
    /// WRONGTYPE, or the system has no memory; nothing has changed.
    pub(crate) fn write_string(&mut self, from: usize, bytes: &[u8]) -> Result<()> {
        let written = self.edit_owned(|value, _| match value {
            Owned::Str(string) => {
                let written = string.write(from, bytes);
                (written.map_err(Error::from), written.is_ok())
            }
            Owned::Hash(_) => (Err(Error::wrong_type()), false),
        })?;
        if let Some(written) = written {
            return written;
        }
        let text = self.value().text()?;
        let end = from + bytes.len();
        if end <= text.len() && self.kind() == Kind::Raw {
            return self.edit_bytes(from, bytes);
        }
        let mut whole = text.to_vec();
        whole.resize(whole.len().max(end), 0);
        whole[from..end].copy_from_slice(bytes);
        if whole.len() < long::GROWING {
            return self.set_value(NewValue::Bytes(Kind::Raw, &whole));
        }
        let pool = &self.db.keyspace.shared.pool;
        let string = LongString::new(pool, &whole, whole.len() + whole.len() / 4)?;
        self.set_value(NewValue::Owned(Owned::Str(string)))
    }

    /// Arms a timer for something inside the value, such as a field with a deadline.
    pub(crate) fn arm(&mut self, deadline: u64) {
        let (db, hash) = (self.db.index, self.key.hash());
        self.db.shard_mut(&self.key).arm(db, hash, deadline);
    }

    /// Removes the entry.
    pub fn remove(self) {
        self.db.delete(&self.key, self.at);
        self.db.modified(&self.key);
    }
}

impl From<crate::store::memory::OutOfMemory> for Error {
    fn from(_: crate::store::memory::OutOfMemory) -> Self {
        Error::new(crate::ErrorKind::OutOfMemory, "OOM the system has no memory for this value")
    }
}
