//! Snapshots: all databases as they are at one moment, handed to a writer bit by bit while everybody goes on reading and writing.
//! What the writer makes of it is its own affair.
//!
//! **Visits.** The snapshot visits the tables of each shard by the cursor of SCAN, so tables may grow and shrink meanwhile. An entry has been visited if it
//! lies behind the cursor of its shard: the order of visits is that of the bits of hashes, counted from the top down, so that this is one comparison.
//! Entries that move within their shard stay where they are in that order.
//!
//! **Early.** Whoever changes or removes an entry that lies ahead of the cursor gives it to the writer first, and marks it: *saved*. An entry that
//! is created ahead of the cursor is marked as well: it is no part of the snapshot. The visit clears marks in passing and passes marked entries over.
//! So behind the cursor nothing is marked, and when all is visited nothing is: the next snapshot begins as the first did.
//!
//! **Whole tables.** Tables belong to places, which a snapshot goes by, and databases have places. SWAPDB exchanges places: nothing is to be saved.
//! FLUSHALL and FLUSHDB give the database another place and leave the table, as it is, to the snapshot, which frees what it visits. That takes no more
//! time than without a snapshot; the memory comes back as the visit goes on.
//!
//! **Cost.** While no snapshot is written, a write under a shard's lock tests one pointer. While one is, short cuts go on, except for the first change of each
//! entry ahead.

use std::cell::Cell;
use std::ops::DerefMut;

use smallvec::SmallVec;

use super::Keyspace;
use super::db::Entry;
use super::entry;
use super::shard::ShardData;
use super::stored::rehash;
use crate::lazyfree;
use crate::os;
use crate::store::key::{Key, SHARDS};
use crate::store::memory::Ref;
use crate::store::memory::words::prefetch;
use crate::sync::{Arc, Ordering};
use crate::value::Owned;

/// Gets the entries of a snapshot.
pub(crate) trait SnapshotWriter: Send + Sync {
    /// An entry as it was when the snapshot began, expired or not, and the number that its database had then. Each comes once, in no order, while its shard
    /// is locked: the writer copies it, or [shares](Entry::share) what it is too large to copy, and calls nothing that comes back to the engine.
    fn entry(&self, db: usize, entry: &Entry<'_>);
}

/// How far a snapshot has come in one shard.
pub(super) struct Visit {
    /// `None`: it was given up, and only marks are cleared.
    writer: Option<Arc<dyn SnapshotWriter>>,
    /// The process that it is written in; in a child of that nobody writes it.
    generation: u64,
    /// The number of the database at each place, as it was when the snapshot began.
    databases: Arc<[Option<usize>]>,
    place: Cell<usize>,
    cursor: Cell<u64>,
    /// What is left of a table that belongs to the snapshot alone was given before that did: it is freed only.
    is_freeing: Cell<bool>,
    /// An entry was marked, so that marks have to be cleared.
    has_marked: Cell<bool>,
}

/// Whether a hash lies behind a cursor of [`crate::store::table::Table::scan`].
fn is_behind(hash: u64, cursor: u64) -> bool {
    hash.reverse_bits() < cursor.reverse_bits()
}

impl Visit {
    fn writer(&self) -> Option<&dyn SnapshotWriter> {
        self.writer.as_deref().filter(|_| self.generation == os::generation())
    }

    /// Whether the snapshot will come to entries of this hash at a place.
    fn is_ahead(&self, place: usize, hash: u64) -> bool {
        self.is_unfinished(place) && (place > self.place.get() || !is_behind(hash, self.cursor.get()))
    }

    /// Whether it has not visited all of the table at a place yet.
    fn is_unfinished(&self, place: usize) -> bool {
        (self.place.get()..self.databases.len()).contains(&place) && self.writer().is_some()
    }

    fn is_done(&self) -> bool {
        self.place.get() >= self.databases.len()
    }

    /// Goes on at `cursor`, or with the next place.
    fn go_on(&self, cursor: u64) {
        self.cursor.set(cursor);
        if cursor == 0 {
            self.place.set(self.place.get() + 1);
        }
    }
}

impl ShardData {
    /// Gives an entry that is about to change, or to go, to the snapshot that is being written, if it needs it.
    #[inline]
    pub(super) fn preserve(&self, db: usize, hash: u64, at: Ref) {
        if self.visit.is_some() && self.is_needed(db, hash, at) {
            self.give_early(db, at);
        }
    }

    /// Whether the snapshot that is being written needs an entry as it is.
    #[cold]
    #[inline(never)]
    fn is_needed(&self, db: usize, hash: u64, at: Ref) -> bool {
        let (Some(visit), Some(place)) = (&self.visit, self.shared.place_of(db)) else { return false };
        visit.is_ahead(place, hash) && !self.head(at).is_saved()
    }

    /// [`ShardData::is_needed`] of the entry of a key.
    #[cold]
    #[inline(never)]
    pub(super) fn is_key_needed(&self, db: usize, key: &[u8], hash: u64) -> bool {
        self.find(db, &Key::with_hash(key, hash)).is_some_and(|at| self.is_needed(db, hash, at))
    }

    #[cold]
    fn give_early(&self, db: usize, at: Ref) {
        let (Some(visit), Some(place)) = (&self.visit, self.shared.place_of(db)) else { return };
        self.give(visit, place, at);
        visit.has_marked.set(true);
        entry::set_saved(&self.arena, at, true);
    }

    fn give(&self, visit: &Visit, place: usize, at: Ref) {
        if let (Some(writer), Some(db)) = (visit.writer(), visit.databases[place]) {
            writer.entry(db, &Entry::at(self, at));
        }
    }

    /// Whether an entry that is created at a place has to be marked, so that the snapshot passes it over.
    #[inline]
    pub(super) fn is_born_ahead(&self, place: usize, hash: u64) -> bool {
        let Some(visit) = &self.visit else { return false };
        let is_ahead = visit.is_ahead(place, hash);
        visit.has_marked.set(visit.has_marked.get() || is_ahead);
        is_ahead
    }

    /// Whether the snapshot that is being written needs the table at a place.
    pub(super) fn needs_table(&self, place: usize) -> bool {
        self.table_len(place) > 0 && self.visit.as_ref().is_some_and(|visit| visit.is_unfinished(place))
    }

    /// Visits entries of some `budget` bytes. Says whether all have been visited.
    fn visit(&self, visit: &Visit, budget: usize) {
        let mut left = budget as isize;
        while left > 0 && !visit.is_done() && !self.is_retired(visit.place.get()) {
            let (place, cursor) = (visit.place.get(), visit.cursor.get());
            // All of a chain are fetched at once.
            let mut chain = SmallVec::<[Ref; 32]>::new();
            let next = self.scan_place(place, cursor, |at| {
                if let Some(head) = self.arena.region().eight(at) {
                    prefetch(head);
                }
                chain.push(at);
            });
            chain.into_iter().for_each(|at| left -= self.pass(visit, place, cursor, at) as isize);
            visit.go_on(next);
        }
    }

    /// Passes an entry. Returns its bytes.
    fn pass(&self, visit: &Visit, place: usize, cursor: u64, at: Ref) -> usize {
        let head = self.head(at);
        if head.is_saved() {
            entry::set_saved(&self.arena, at, false);
        } else if !is_behind(rehash(&self.arena, &self.shared.seed, at), cursor) {
            // Where the table became shorter some of a chain may be behind.
            self.give(visit, place, at);
        }
        head.size()
    }

    /// As [`ShardData::visit`] for a table that belongs to the snapshot alone: what is visited is freed.
    fn visit_retired(&mut self, visit: &Visit, budget: usize) -> Vec<Owned> {
        let (mut left, mut garbage) = (budget as isize, Vec::new());
        while left > 0 && !visit.is_done() && self.is_retired(visit.place.get()) {
            let (place, cursor) = (visit.place.get(), visit.cursor.get());
            let (entries, next) = self.take_chain(place, cursor);
            for at in entries {
                if visit.is_freeing.get() {
                    left -= self.head(at).size() as isize;
                } else {
                    left -= self.pass(visit, place, cursor, at) as isize;
                }
                garbage.extend(self.discard(at));
            }
            visit.is_freeing.set(visit.is_freeing.get() || next == 0);
            if next == 0 && self.table_len(place) > 0 {
                // What lay behind the cursor when the table was left to the snapshot.
                visit.cursor.set(0);
                continue;
            }
            if next == 0 {
                self.readmit(place);
                visit.is_freeing.set(false);
            }
            visit.go_on(next);
        }
        garbage
    }

    /// Goes on with a snapshot, if it has not visited everything here. Says whether it has.
    fn go_on(guard: &mut impl DerefMut<Target = Self>, budget: usize) -> (bool, Vec<Owned>) {
        let Some(visit) = &guard.visit else { return (true, Vec::new()) };
        guard.visit(visit, budget);
        let is_retired = guard.is_retired(visit.place.get());
        let mut garbage = Vec::new();
        if is_retired && let Some(visit) = guard.deref_mut().visit.take() {
            garbage = guard.visit_retired(&visit, budget);
            guard.visit = Some(visit);
        }
        (guard.visit.as_ref().is_none_or(|visit| visit.is_done()), garbage)
    }

    /// Has a snapshot that was given up clear its marks and free its tables.
    fn give_up_snapshot(&mut self) {
        let is_clean = (0..self.spaces.len()).all(|place| !self.is_retired(place));
        self.visit = self.visit.take().filter(|visit| visit.has_marked.get() || !is_clean);
        if let Some(visit) = &mut self.visit {
            visit.writer = None;
        }
    }
}

/// A snapshot that is being written. One that is dropped before its end is given up; this takes the time that its marks take to be cleared.
pub(crate) struct Snapshot<'k> {
    keyspace: &'k Keyspace,
    /// The shard that comes next.
    next: usize,
}

impl<'k> Snapshot<'k> {
    /// Begins: the snapshot is of this moment, at which no key changes and `meanwhile` is done. `None` while another is being written. O(shards).
    pub(crate) fn begin(
        keyspace: &'k Keyspace,
        writer: &Arc<dyn SnapshotWriter>,
        meanwhile: impl FnOnce(),
    ) -> Option<Self> {
        let generation = os::generation();
        let before = keyspace.snapshot.swap(generation + 1, Ordering::Acquire);
        if before == generation + 1 {
            return None;
        }
        if before != 0 {
            // The process that this one was forked from was writing one.
            let mut left = Self { keyspace, next: 0 };
            left.clean_up();
            std::mem::forget(left);
        }
        // Shards that nobody has locked hold nothing, and what comes into them is no part of the snapshot.
        let _turn = keyspace.escalation.turn();
        let mut shards: Vec<_> = keyspace.shards.iter().map(|shard| shard.hold()).collect();
        let databases: Arc<[_]> = keyspace.shared.databases_by_place().into();
        for shard in shards.iter_mut().filter_map(|shard| shard.as_mut()) {
            shard.visit = Some(Box::new(Visit {
                writer: Some(writer.clone()),
                generation,
                databases: databases.clone(),
                place: Cell::new(0),
                cursor: Cell::new(0),
                is_freeing: Cell::new(false),
                has_marked: Cell::new(false),
            }));
        }
        meanwhile();
        drop(shards);
        Some(Self { keyspace, next: 0 })
    }

    /// How many shards have been visited whole.
    pub(crate) fn visited(&self) -> usize {
        self.next
    }

    /// Visits entries of some `budget` bytes, with one shard locked. False when the writer has got all.
    pub(crate) fn step(&mut self, budget: usize) -> bool {
        let keyspace = self.keyspace;
        while self.next < SHARDS && !keyspace.shared.is_made(self.next) {
            self.next += 1;
        }
        if self.next == SHARDS {
            return false;
        }
        let mut shard = keyspace.lock(self.next);
        let (is_done, garbage) = ShardData::go_on(&mut shard, budget);
        if is_done {
            self.next += 1;
        }
        if shard.is_writing() {
            keyspace.report(&mut shard);
        }
        drop(shard);
        lazyfree::discard(garbage);
        true
    }

    /// Leaves no mark behind, and no table.
    fn clean_up(&mut self) {
        /// Bytes that are visited with a shard locked.
        const BUDGET: usize = 16 << 10;
        if self.next < SHARDS {
            self.each_shard(ShardData::give_up_snapshot);
            while self.step(BUDGET) {}
        }
        self.each_shard(|shard| shard.visit = None);
        self.keyspace.shared.reuse_places();
    }

    fn each_shard(&self, mut change: impl FnMut(&mut ShardData)) {
        for index in self.keyspace.made_shards() {
            if let Some(shard) = &mut *self.keyspace.shards[index].hold() {
                change(shard);
            }
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.clean_up();
        self.keyspace.snapshot.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
