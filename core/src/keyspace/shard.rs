//! One shard: its arena, and per database a table and a timing wheel. How values with memory of their own are kept is in [`super::owned`].
//!
//! Storage only: a shard finds, stores, changes and drops entries and keeps the accounts true. When an entry counts as
//! expired, and whom a change concerns, is decided in [`super::db`].

mod adoption;
mod clearing;
mod timers;

use super::entry::{self, Head, Parts};
use super::field_wheels::FieldWheels;
use super::moving::Progress;
use super::shared::Shared;
use super::snapshot::Visit;
use super::stored::Stored;
use super::watch::Watchers;
use crate::store::key::{HashSeed, Key};
use crate::store::memory::{Arena, Buckets, OutOfMemory, Ref};
use crate::store::table::{BUCKET, Index, Table};
use crate::store::wheel::Wheel;
use crate::value::{Kind, MAX_IN_ARENA, NewValue, Owned, Value};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::Arc;

/// What a shard's lock guards.
pub(crate) struct ShardData {
    pub(crate) arena: Arena,
    pub(super) wheels: FieldWheels,
    /// Entries whose values may have memory of their own.
    pub(super) owners: usize,
    /// By the places of databases.
    pub(super) spaces: Vec<Space>,
    pub(super) compaction: Option<Progress>,
    /// How far the snapshot that is being written has come here.
    pub(super) visit: Option<Box<Visit>>,
    pub(crate) watchers: Watchers,
    pub(crate) stats: ShardStats,
    pub(super) shared: Arc<Shared>,
    number: usize,
    /// The memory last added to the engine's total.
    pub(crate) reported_bytes: usize,
}

/// One database's part of the shard.
pub(crate) struct Space {
    pub(crate) table: Table,
    buckets: Arc<Buckets>,
    wheel: Option<Box<Wheel>>,
    /// Timers that were left when those of keys that are gone were last looked for.
    timers_kept: usize,
    pub(crate) with_deadline: usize,
    /// Sum of the deadlines of all entries, for the average time to live.
    pub(crate) deadlines: u128,
    /// Keys with deadlines inside their values.
    pub(crate) with_inside: usize,
    /// No database has it any more: it is the snapshot's.
    is_retired: bool,
}

impl Space {
    fn new(buckets: Arc<Buckets>) -> Self {
        Self {
            table: Table::default(),
            buckets,
            wheel: None,
            timers_kept: 0,
            with_deadline: 0,
            deadlines: 0,
            with_inside: 0,
            is_retired: false,
        }
    }

    /// Bytes of home and overflow buckets.
    pub(crate) fn table_bytes(&self) -> usize {
        self.table.home_bytes() + self.table.overflow_count() as usize * BUCKET
    }

    fn timers(&self) -> usize {
        self.wheel.as_ref().map_or(0, |wheel| wheel.len())
    }

    /// As many timers as there may be before those of keys that are gone are looked for.
    fn timers_allowed(&self) -> usize {
        /// Stale timers that are not worth the walk.
        const FEW: usize = 32;
        let of_keys = self.with_deadline + self.with_deadline / 2 + self.table.len() / 4 + FEW;
        // Timers of fields are no key's: what the last walk left is what there is to keep.
        of_keys.max(2 * self.timers_kept)
    }

    fn clear(&mut self, arena: &mut Arena, seed: &HashSeed, shard: usize) {
        self.table.clear(&mut Stored { buckets: &self.buckets, arena, seed, shard });
        self.forget_deadlines();
    }

    fn forget_deadlines(&mut self) {
        self.wheel = None;
        (self.with_deadline, self.deadlines, self.with_inside, self.timers_kept) = (0, 0, 0, 0);
    }
}

/// Counters kept under the lock, summed over the shards when somebody asks.
#[derive(Default)]
pub(crate) struct ShardStats {
    pub(crate) expired: Cell<u64>,
    /// Changes of keys since the start.
    pub(crate) changes: Cell<u64>,
}

impl ShardStats {
    /// Counts a change of a key.
    #[inline]
    pub(crate) fn count_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }
}

impl ShardData {
    pub(crate) fn new(number: usize, shared: &Arc<Shared>) -> Self {
        Self {
            arena: Arena::new(shared.pool.clone()),
            wheels: FieldWheels::default(),
            owners: 0,
            spaces: Vec::new(),
            compaction: None,
            visit: None,
            watchers: Watchers::default(),
            stats: ShardStats::default(),
            shared: shared.clone(),
            number,
            reported_bytes: 0,
        }
    }

    /// Database `db`, if anything was ever stored in it.
    #[inline]
    pub(crate) fn space(&self, db: usize) -> Option<&Space> {
        self.spaces.get(self.shared.place_of(db)?)
    }

    fn number_of(&mut self, db: usize) -> usize {
        let place = self.shared.make_place(db);
        while self.spaces.len() <= place {
            self.spaces.push(Space::new(self.shared.buckets(self.spaces.len())));
        }
        place
    }

    fn space_mut(&mut self, db: usize) -> &mut Space {
        let number = self.number_of(db);
        &mut self.spaces[number]
    }

    /// The table at a place, to change it: what it becomes is told to readers without the lock.
    pub(super) fn change_table<R>(
        &mut self,
        place: usize,
        change: impl FnOnce(&mut Table, &mut Stored<'_>) -> R,
    ) -> R {
        let Self { arena, spaces, shared, number, .. } = self;
        let Space { table, buckets, .. } = &mut spaces[place];
        let result = change(table, &mut Stored { buckets, arena, seed: &shared.seed, shard: *number });
        shared.publish(*number, place, table.homes());
        result
    }

    /// Entries of database `db`, expired ones that nobody reclaimed yet included.
    pub(crate) fn len(&self, db: usize) -> usize {
        self.space(db).map_or(0, |space| space.table.len())
    }

    /// Home buckets of the table at a place.
    pub(crate) fn table_length(&self, place: usize) -> u32 {
        self.spaces.get(place).map_or(0, |space| space.table.home_count())
    }

    /// The numbers of all databases that were ever used, in order.
    pub(crate) fn databases(&self) -> impl Iterator<Item = usize> + use<> {
        self.shared.databases().into_iter()
    }

    /// The buckets of a space, to read.
    fn lines<'s>(&'s self, space: &'s Space) -> Index<'s> {
        Index {
            buckets: &space.buckets,
            region: self.arena.region(),
            shard: self.number,
            homes: space.table.homes(),
        }
    }

    /// Finds the entry of a key, expired or not. O(1).
    #[inline(always)]
    pub(crate) fn find(&self, db: usize, key: &Key<'_>) -> Option<Ref> {
        let region = self.arena.region();
        let mut probe = self.lines(self.space(db)?).probe(key.hash());
        while let Some(at) = probe.next() {
            if entry::key_is(region, at, key.bytes()) {
                return Some(at);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn head(&self, at: Ref) -> Head {
        Head::read(&self.arena, at)
    }

    /// Gives the entry at `at` the stamp that `next` makes of the present one.
    #[inline]
    pub(crate) fn stamp(&self, at: Ref, next: impl FnOnce(u32) -> u32) {
        entry::stamp(&self.arena, at, next);
    }

    /// The value of the entry at `at`.
    #[inline]
    pub(crate) fn value(&self, at: Ref) -> Value<'_> {
        self.value_of(at, self.head(at))
    }

    /// The value of the entry at `at`, whose head this is.
    #[inline]
    pub(super) fn value_of(&self, at: Ref, head: Head) -> Value<'_> {
        head.kind().read(head.value(&self.arena, at), || self.root(at, head))
    }

    /// Bytes that the entry at `at` takes: its allocation, and what it owns beside it.
    pub(crate) fn entry_bytes(&self, at: Ref) -> usize {
        let head = self.head(at);
        Arena::class_bytes(head.size()) + self.owned_bytes(at, head)
    }

    /// Stores an entry for a key that has none.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn create(
        &mut self,
        db: usize,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        stamp: u32,
    ) -> Result<Ref, OutOfMemory> {
        let is_owned = matches!(value, NewValue::Owned(_));
        let at = self.create_plain(db, key, value, deadline, stamp)?;
        if is_owned {
            self.inside_changed(db, false, self.has_inside(at));
        }
        Ok(at)
    }

    /// [`ShardData::create`] of a value without deadlines inside.
    ///
    /// # Errors
    /// As there.
    pub(super) fn create_plain(
        &mut self,
        db: usize,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        stamp: u32,
    ) -> Result<Ref, OutOfMemory> {
        let number = self.number_of(db);
        let is_saved = self.is_born_ahead(number, key.hash());
        let at = self.store(key.bytes(), value, deadline, stamp, is_saved)?;
        let inserted = self.change_table(number, |table, stored| table.insert(stored, key.hash(), at));
        if let Err(error) = inserted {
            self.discard(at);
            return Err(error);
        }
        let space = &mut self.spaces[number];
        if let Some(deadline) = deadline {
            space.with_deadline += 1;
            space.deadlines += u128::from(deadline);
            self.arm(db, key.hash(), deadline);
        }
        Ok(at)
    }

    /// Stores an entry that is to [take the place](Self::take_place) of that with this head, and that no table refers to yet.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(super) fn store_beside(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        head: Head,
    ) -> Result<Ref, OutOfMemory> {
        self.store(key.bytes(), value, deadline, head.stamp(), head.is_saved())
    }

    /// Puts the entry `new` in the place of that at `at`, of the same key, and returns what that owned.
    pub(super) fn take_place(&mut self, db: usize, hash: u64, at: Ref, new: Ref) -> Option<Owned> {
        let deadline = |at| self.head(at).deadline(&self.arena, at);
        let (before, after) = (deadline(at), deadline(new));
        self.inside_changed(db, self.has_inside(at), self.has_inside(new));
        self.refer(db, hash, at, new);
        let old = self.discard(at);
        self.deadline_changed(db, hash, before, after);
        old
    }

    /// Frees an entry that no table refers to.
    pub(super) fn discard(&mut self, at: Ref) -> Option<Owned> {
        let head = self.head(at);
        let owned = head.kind().owns().then(|| self.unload(at, head));
        self.arena.free(at, head.size());
        owned
    }

    /// Gives the entry at `at` another value and deadline. Returns where it is now, and what it owned before.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn replace(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        value: NewValue<'_>,
        deadline: Option<u64>,
    ) -> Result<(Ref, Option<Owned>), OutOfMemory> {
        let head = self.head(at);
        let before = head.deadline(&self.arena, at);
        let had_inside = self.has_inside(at);
        let encoded = self.encode(value, head.key_len)?;
        // The entry goes on owning what it owns unless another takes its place.
        let old = head.kind().owns().then(|| self.unload(at, head));
        match self.rewrite(db, hash, at, head, encoded.kind(), encoded.bytes(), deadline) {
            Ok(at) => {
                self.settle(encoded);
                self.deadline_changed(db, hash, before, deadline);
                self.inside_changed(db, had_inside, self.has_inside(at));
                Ok((at, old))
            }
            Err(error) => {
                self.abandon(encoded);
                if let Some(old) = old {
                    self.reload(at, old);
                }
                Err(error)
            }
        }
    }

    /// Writes another deadline over that of an entry, `before`, whose words these are.
    #[inline(always)]
    pub(super) fn move_deadline(&mut self, db: usize, hash: u64, at: Ref, before: u64, deadline: u64) {
        entry::overwrite_deadline(&self.arena, at, deadline);
        self.deadline_changed(db, hash, Some(before), Some(deadline));
    }

    /// Writes another value of that kind and another deadline into an entry, or another entry with them. Returns where it is now.
    #[expect(clippy::too_many_arguments, reason = "the parts of an entry")]
    pub(super) fn rewrite(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        head: Head,
        kind: Kind,
        bytes: &[u8],
        deadline: Option<u64>,
    ) -> Result<Ref, OutOfMemory> {
        let ascii = is_ascii(kind, bytes);
        if head.overwrite(&mut self.arena, at, kind, bytes, deadline, ascii) {
            return Ok(at);
        }
        let key = KeyCopy::of(head.key(&self.arena, at))?;
        let (stamp, is_saved) = (head.stamp(), head.is_saved());
        let parts = Parts { kind, key: key.bytes(), value: bytes, deadline, stamp, ascii, is_saved };
        let size = head.size();
        let new = parts.store(&mut self.arena)?;
        self.refer(db, hash, at, new);
        self.arena.free(at, size);
        Ok(new)
    }

    /// Has the table refer to an entry where it is now.
    pub(super) fn refer(&mut self, db: usize, hash: u64, at: Ref, new: Ref) {
        let number = self.number_of(db);
        let replaced = self.change_table(number, |table, stored| table.replace(stored, hash, at, new));
        debug_assert_eq!(replaced, Ok(true), "an entry that was found is in the table");
    }

    fn store(
        &mut self,
        key: &[u8],
        value: NewValue<'_>,
        deadline: Option<u64>,
        stamp: u32,
        is_saved: bool,
    ) -> Result<Ref, OutOfMemory> {
        let parts =
            |kind, value| Parts { kind, key, value, deadline, stamp, ascii: is_ascii(kind, value), is_saved };
        // What owns nothing needs no care.
        match value {
            NewValue::Bytes(kind, bytes) if bytes.len() <= MAX_IN_ARENA => {
                return parts(kind, bytes).store(&mut self.arena);
            }
            NewValue::Int(number) => return parts(Kind::Int, &number.to_le_bytes()).store(&mut self.arena),
            _ => {}
        }
        let encoded = self.encode(value, key.len())?;
        match parts(encoded.kind(), encoded.bytes()).store(&mut self.arena) {
            Ok(at) => {
                self.settle(encoded);
                Ok(at)
            }
            Err(error) => {
                self.abandon(encoded);
                Err(error)
            }
        }
    }

    /// Changes or removes the deadline of the entry at `at` and returns where it is now.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn set_deadline(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        deadline: Option<u64>,
    ) -> Result<Ref, OutOfMemory> {
        let head = self.head(at);
        let before = head.deadline(&self.arena, at);
        let at = match (before, deadline) {
            (None, None) => return Ok(at),
            (Some(_), Some(deadline)) => {
                entry::overwrite_deadline(&self.arena, at, deadline);
                at
            }
            _ => self.resize_for_deadline(db, hash, at, head, deadline)?,
        };
        self.deadline_changed(db, hash, before, deadline);
        Ok(at)
    }

    fn resize_for_deadline(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        head: Head,
        deadline: Option<u64>,
    ) -> Result<Ref, OutOfMemory> {
        let (key, value) = head.key_and_value(&self.arena, at);
        let (key, value) = (KeyCopy::of(key)?, KeyCopy::of(value)?);
        let parts = Parts {
            kind: head.kind(),
            key: key.bytes(),
            value: value.bytes(),
            deadline,
            stamp: head.stamp(),
            ascii: head.ascii(),
            is_saved: head.is_saved(),
        };
        let new = parts.store(&mut self.arena)?;
        self.refer(db, hash, at, new);
        self.arena.free(at, head.size());
        Ok(new)
    }

    /// Removes the entry at `at` and returns what it owned. O(1).
    pub(crate) fn delete(&mut self, db: usize, hash: u64, at: Ref) -> Option<Owned> {
        let deadline = self.head(at).deadline(&self.arena, at);
        let number = self.number_of(db);
        let removed =
            self.change_table(number, |table, stored| table.remove(stored, hash, |other| other == at));
        debug_assert_eq!(removed, Ok(Some(at)), "an entry that was found is in the table");
        self.inside_changed(db, self.has_inside(at), false);
        let space = &mut self.spaces[number];
        if let Some(deadline) = deadline {
            space.with_deadline -= 1;
            space.deadlines -= u128::from(deadline);
        }
        let owned = self.discard(at);
        if deadline.is_some() {
            self.drop_stale_timers(db);
        }
        owned
    }

    fn each_of(&self, space: &Space, visit: impl FnMut(Ref)) {
        space.table.each(&self.lines(space), visit);
    }

    /// Visits all entries of database `db`, in no order.
    pub(crate) fn each(&self, db: usize, visit: impl FnMut(Ref)) {
        if let Some(space) = self.space(db) {
            self.each_of(space, visit);
        }
    }

    /// Visits a few entries of database `db` and returns the cursor to go on with, as [`Table::scan`].
    pub(crate) fn scan(&self, db: usize, cursor: u64, visit: impl FnMut(Ref)) -> u64 {
        self.space(db).map_or(0, |space| space.table.scan(&self.lines(space), cursor, visit))
    }

    /// A uniformly random entry of database `db`.
    pub(crate) fn random(&self, db: usize, rng: &mut impl FnMut() -> u64) -> Option<Ref> {
        let space = self.space(db)?;
        space.table.random(&self.lines(space), rng)
    }

    /// The entry of database `db` and of that hash for which `is_it` is true. Bits of the hash that choose no bucket need not be known.
    pub(crate) fn find_by(&self, db: usize, hash: u64, is_it: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let space = self.space(db)?;
        space.table.find(&self.lines(space), hash, is_it)
    }

    /// Writes bytes over those of a string from `from` on; its length stays.
    pub(crate) fn edit_string(&mut self, at: Ref, from: usize, bytes: &[u8]) {
        let head = self.head(at);
        self.arena.write(at, head.value_at() + from, [bytes]);
        // Whether the last other byte has gone is not worth a look at all of them.
        entry::set_ascii(&self.arena, at, head.ascii() && bytes.is_ascii());
    }

    /// Puts `new` in the place of `removed` bytes of a packed collection from `from` on. Its block [has room](Head::has_room_for) for what it becomes.
    /// Returns the head that the entry has then. O(bytes behind).
    #[inline]
    pub(super) fn splice(&mut self, at: Ref, head: Head, from: usize, removed: usize, new: &[u8]) -> Head {
        let place = head.value_at() + from;
        if removed == new.len() {
            self.arena.write(at, place, [new]);
            return head;
        }
        let behind = &head.value(&self.arena, at)[from + removed..];
        let behind: SmallVec<[u8; 256]> = SmallVec::from_slice(behind);
        self.arena.write(at, place, [new, &behind]);
        head.resized(&self.arena, at, head.value_len - removed + new.len())
    }

    /// Entries of the table at a place.
    pub(super) fn table_len(&self, place: usize) -> usize {
        self.spaces.get(place).map_or(0, |space| space.table.len())
    }

    /// [`ShardData::scan`] of the table at a place.
    pub(super) fn scan_place(&self, place: usize, cursor: u64, visit: impl FnMut(Ref)) -> u64 {
        self.spaces.get(place).map_or(0, |space| space.table.scan(&self.lines(space), cursor, visit))
    }

    /// Bytes that this shard uses: entries, tables, wheels. Pages of values are counted by the pool.
    pub(crate) fn bytes(&self) -> usize {
        let spaces = self
            .spaces
            .iter()
            .map(|space| space.table.home_bytes() + space.wheel.as_ref().map_or(0, |wheel| wheel.bytes()));
        self.arena.used() + self.arena.kept() + self.wheels.bytes() + spaces.sum::<usize>()
    }

    /// Bytes that the arena's blocks have reached, holes and what is being moved included, and what is beside them.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.bytes() - self.arena.used() + self.arena.reserved() + self.arena.condemned_bytes()
    }

    /// Bytes of tables and wheels of database `db`: what is overhead beside the entries.
    pub(crate) fn overhead_bytes(&self, db: usize) -> (usize, usize) {
        self.space(db).map_or((0, 0), |space| {
            (space.table_bytes(), space.wheel.as_ref().map_or(0, |wheel| wheel.bytes()))
        })
    }
}

fn is_ascii(kind: Kind, value: &[u8]) -> bool {
    Kind::TEXTS.contains(&kind) && value.is_ascii()
}

/// A key, or a value, copied out of the arena while its entry is rewritten; short keys need no allocation.
struct KeyCopy {
    bytes: SmallVec<[u8; 64]>,
}

impl KeyCopy {
    fn of(key: &[u8]) -> Result<Self, OutOfMemory> {
        let mut bytes = SmallVec::new();
        bytes.try_reserve_exact(key.len()).map_err(|_| OutOfMemory)?;
        bytes.extend_from_slice(key);
        Ok(Self { bytes })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
