//! What readers without a lock share: a line for each shard, the home buckets of each database, and the pages that entries stand in.
//!
//! What such readers do with it is in [`super::read`]; who writes to it holds a shard's lock ([`super::guard`]).

use super::deadlines::Deadlines;
use super::entry::Head;
use crate::os::{Board, Frozen, Guard};
use crate::store::key::{HashSeed, Key, SHARDS, shard_of};
use crate::store::memory::words::Window;
use crate::store::memory::{Buckets, Pool, Ref, Region};
use crate::store::sequence::Sequence;
use crate::store::table::{Homes, Index, Probe};
use crate::sync::{Arc, AtomicU32, AtomicUsize, Mutex, Ordering};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Databases that can be read without a lock: as many as the lengths of their tables fit a shard's line. The first that are used are;
/// the others take the lock.
pub(crate) const SHARED_SPACES: usize = 6;

/// Databases whose place is found without a look into a map, and those of them that readers without a lock ask for.
const LISTED: usize = 64;
const READ: usize = 16;

/// The line of a shard: all that a look-up needs of it.
#[repr(C, align(64))]
pub(crate) struct ShardLine {
    pub(super) sequence: Sequence,
    homes: [std::sync::atomic::AtomicU64; SHARED_SPACES],
    /// How many notes of touches there are.
    pub(super) noted: std::sync::atomic::AtomicU32,
    /// Somebody has locked the shard, so that it has its data.
    pub(super) is_made: std::sync::atomic::AtomicBool,
}

/// Notes of touches that fit before somebody has to take the lock for them.
pub(super) const TOUCHES: usize = 16;

impl ShardLine {
    fn new() -> Self {
        Self {
            sequence: Sequence::new(),
            homes: [const { std::sync::atomic::AtomicU64::new(0) }; SHARED_SPACES],
            noted: std::sync::atomic::AtomicU32::new(0),
            is_made: std::sync::atomic::AtomicBool::new(false),
        }
    }
}

/// See the module's text.
pub(crate) struct Shared {
    lines: [ShardLine; SHARDS],
    /// Which place each database has, plus one.
    listed: [AtomicU32; LISTED],
    /// The home buckets of each database that can be read without a lock.
    tables: Board<Buckets, READ>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) seed: HashSeed,
    /// Entries to stamp, by shard: reference in the upper half, low half of the sequence count in the lower.
    notes: Region,
    pub(crate) deadlines: Deadlines,
    places: Mutex<Places>,
    databases: AtomicUsize,
}

/// The places of databases: a database keeps its place, and its home buckets, until SWAPDB exchanges them.
#[derive(Default)]
struct Places {
    unlisted: HashMap<usize, u32>,
    buckets: Vec<Arc<Buckets>>,
    /// Places that no database has: those that may be used again, and those whose tables a snapshot has.
    free: Vec<usize>,
    retired: Vec<usize>,
}

/// What looking something up by way of what is shared comes to.
pub(super) enum Lookup<T> {
    Found(T),
    Missing,
    /// Only whoever holds the lock can tell: a writer is at work, the database is not shared, or an entry with long lengths is on the way.
    NeedsLock,
}

/// Where an entry is, and its head.
#[derive(Clone, Copy)]
pub(super) struct Located<'s> {
    pub(super) at: Ref,
    pub(super) window: Window<'s>,
    pub(super) head: Head,
}

impl Shared {
    pub(crate) fn new(seed: HashSeed, task: u64) -> Arc<Self> {
        Arc::new(Self {
            lines: std::array::from_fn(|_| ShardLine::new()),
            listed: std::array::from_fn(|_| AtomicU32::new(0)),
            tables: Board::new(),
            pool: Arc::default(),
            seed,
            notes: Region::reserve(SHARDS * TOUCHES * size_of::<u64>()),
            deadlines: Deadlines::new(task),
            places: Mutex::default(),
            databases: AtomicUsize::new(0),
        })
    }

    /// The line of a shard.
    #[inline(always)]
    pub(super) fn line(&self, shard: usize) -> &ShardLine {
        &self.lines[shard % SHARDS]
    }

    /// A shard's note number `number`, if there is memory for it.
    #[inline]
    pub(super) fn note(&self, shard: usize, number: usize) -> Option<&std::sync::atomic::AtomicU64> {
        let at = shard % SHARDS * TOUCHES + number % TOUCHES;
        if self.notes.committed() == 0 && self.notes.commit(1).is_err() {
            return None;
        }
        self.notes.line(at / 8).map(|line| &line.0[at % 8])
    }

    /// Whether anybody has locked a shard yet. One that nobody has holds nothing.
    #[inline]
    pub(crate) fn is_made(&self, shard: usize) -> bool {
        self.line(shard).is_made.load(Ordering::Relaxed)
    }

    /// Where entries are.
    #[inline(always)]
    pub(crate) fn region(&self) -> &Region {
        self.pool.region()
    }

    /// The place of a database plus one, 0 if nothing was ever stored in it.
    #[inline(always)]
    fn listed(&self, db: usize) -> u32 {
        match self.listed.get(db) {
            Some(place) => place.load(Ordering::Relaxed),
            None => self.unlisted(db),
        }
    }

    #[cold]
    fn unlisted(&self, db: usize) -> u32 {
        self.places.lock().unlisted.get(&db).copied().unwrap_or(0)
    }

    /// The place of a database, if anything was ever stored in it. For whoever holds a shard's lock.
    #[inline]
    pub(crate) fn place_of(&self, db: usize) -> Option<usize> {
        self.listed(db).checked_sub(1).map(|place| place as usize)
    }

    /// The same, given to it if need be. The caller is writing to a shard.
    #[inline(always)]
    pub(super) fn make_place(&self, db: usize) -> usize {
        match self.place_of(db) {
            Some(place) => place,
            None => self.find_or_give_place(db),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_or_give_place(&self, db: usize) -> usize {
        let mut places = self.places.lock();
        let known = self.listed.get(db).map_or_else(
            || places.unlisted.get(&db).copied().unwrap_or(0),
            |place| place.load(Ordering::Relaxed),
        );
        if known > 0 {
            return known as usize - 1;
        }
        self.give_place(&mut places, db)
    }

    fn give_place(&self, places: &mut Places, db: usize) -> usize {
        let place = places.free.pop().unwrap_or(places.buckets.len());
        if place == places.buckets.len() {
            places.buckets.push(Arc::new(Buckets::new(place)));
        }
        self.put(places, db, place as u32 + 1);
        place
    }

    /// Gives a database another place, since a snapshot needs its table. The caller is writing to every shard.
    pub(super) fn renew(&self, db: usize) {
        let mut places = self.places.lock();
        places.retired.extend(self.place_of(db));
        self.give_place(&mut places, db);
    }

    /// Has the places that were left to a snapshot used again. Their tables are empty.
    pub(super) fn reuse_places(&self) {
        let mut places = self.places.lock();
        let Places { free, retired, .. } = &mut *places;
        free.append(retired);
        // The lowest first: these can be read without a lock.
        free.sort_unstable_by(|one, other| other.cmp(one));
    }

    /// The number of the database at each place. For whoever holds every shard.
    pub(super) fn databases_by_place(&self) -> Vec<Option<usize>> {
        let places = self.places.lock();
        let mut databases = vec![None; places.buckets.len()];
        let listed = self.listed.iter().map(|place| place.load(Ordering::Relaxed)).enumerate();
        for (db, place) in listed.chain(places.unlisted.iter().map(|(db, place)| (*db, *place))) {
            if let Some(at) = (place as usize).checked_sub(1) {
                databases[at] = Some(db);
            }
        }
        databases
    }

    /// Gives a database a place, plus one, or none (0).
    fn put(&self, places: &mut Places, db: usize, place: u32) {
        let read = (place as usize).checked_sub(1).filter(|place| *place < SHARED_SPACES);
        self.tables.set(db, read.map(|place| &places.buckets[place]));
        self.databases.fetch_max(db + 1, Ordering::Relaxed);
        match self.listed.get(db) {
            Some(listed) => listed.store(place, Ordering::Relaxed),
            None => drop(places.unlisted.insert(db, place)),
        }
    }

    /// Exchanges two databases. The caller is writing to every shard.
    pub(super) fn swap(&self, one: usize, other: usize) {
        let (of_one, of_other) = (self.listed(one), self.listed(other));
        let mut places = self.places.lock();
        self.put(&mut places, one, of_other);
        self.put(&mut places, other, of_one);
    }

    /// The numbers of all databases that were ever used, in order, and perhaps some more: their count does not grow with their numbers.
    pub(crate) fn databases(&self) -> SmallVec<[usize; LISTED]> {
        let end = self.databases.load(Ordering::Relaxed);
        let mut numbers: SmallVec<[usize; LISTED]> = (0..end.min(LISTED)).collect();
        if end > LISTED {
            numbers.extend(self.places.lock().unlisted.keys().copied());
            numbers[LISTED..].sort_unstable();
        }
        numbers
    }

    /// The home buckets at a place, which some database has.
    pub(super) fn buckets(&self, place: usize) -> Arc<Buckets> {
        self.places.lock().buckets[place].clone()
    }

    /// The home buckets of all databases.
    pub(crate) fn all_buckets(&self) -> Vec<Arc<Buckets>> {
        self.places.lock().buckets.clone()
    }

    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        for buckets in self.all_buckets() {
            held.push(Box::new(Frozen::new(buckets, |buckets, held| held.push(buckets.freeze()))));
        }
        held.push(Box::new(self.places.lock()));
        held.push(self.pool.freeze());
    }

    /// Tells readers without the lock how long a shard's table is. The caller is writing to the shard.
    #[inline]
    pub(super) fn publish(&self, shard: usize, place: usize, homes: Homes) {
        if let Some(word) = self.line(shard).homes.get(place) {
            word.store(homes.to_word(), Ordering::Relaxed);
        }
    }

    /// The table of a database in a shard, if there is one and it can be read without the lock.
    #[inline(always)]
    pub(super) fn index(&self, db: usize, shard: usize) -> Option<Index<'_>> {
        let buckets = self.tables.get(db)?;
        let homes = self.line(shard).homes.get(buckets.space())?;
        let homes = Homes::from_word(homes.load(Ordering::Relaxed));
        Some(Index { buckets, region: self.region(), shard: shard % SHARDS, homes })
    }

    /// Has the memory of the entry that a hash most likely leads to fetched, for whoever is about to take the lock: what misses the cache
    /// after it does so alone. Returns where that is; `None` if it leads to none, so that most likely there is no such key.
    #[inline(always)]
    pub(super) fn prefetch(&self, db: usize, hash: u64) -> Option<(Ref, Window<'_>)> {
        let at = self.index(db, shard_of(hash))?.first_candidate(hash)?;
        let window = self.region().window(at)?;
        window.prefetch();
        Some((at, window))
    }

    /// Looks a key up. Without the lock the answer holds only if the sequence stood still meanwhile.
    #[inline(always)]
    pub(super) fn look_up(&self, db: usize, key: &Key<'_>) -> Lookup<Located<'_>> {
        let Some(index) = self.index(db, key.shard()) else {
            return if self.listed(db) == 0 { Lookup::Missing } else { Lookup::NeedsLock };
        };
        let mut probe = index.probe(key.hash());
        let Some(at) = probe.next() else { return Lookup::Missing };
        if let Some(window) = self.region().window(at)
            && let Some(head) = Head::short_of_any(window, key.bytes())
        {
            return Lookup::Found(Located { at, window, head });
        }
        self.look_further(probe, at, key)
    }

    /// Goes on with a look-up at an entry that is most likely not the key's.
    #[inline(never)]
    fn look_further<'s>(&'s self, mut probe: Probe<'s>, mut at: Ref, key: &Key<'_>) -> Lookup<Located<'s>> {
        loop {
            let Some(window) = self.region().window(at) else { return Lookup::NeedsLock };
            let Some(head) = Head::short(window) else { return Lookup::NeedsLock };
            if head.is_seen_of(window, key.bytes()) {
                return Lookup::Found(Located { at, window, head });
            }
            match probe.next() {
                Some(next) => at = next,
                None => return Lookup::Missing,
            }
        }
    }
}
