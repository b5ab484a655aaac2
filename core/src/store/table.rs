//! A hash table of 32-bit references: 64-byte buckets of one-byte tags, grown and shrunk one bucket at a time.
//! What a reference leads to is left to the caller, who compares entries and gives their hashes.
//!
//! **Buckets.** A bucket is one cache line: 12 tags (the top byte of the hash, never 0; 0 is an empty slot), a link to
//! an overflow bucket, 12 references. A probe compares all tags at once. Overflow buckets have 11 slots: the place of
//! the twelfth reference holds the way back, so that one can be moved without a search. All buckets of a chain but the
//! last are full, no overflow bucket is empty, and the overflow buckets fill the indices from 0 up: freeing one moves
//! the last into its place. So the memory is what the entries need, and every slot can be drawn at random.
//!
//! **Growth** is linear hashing (Litwin 1980), in rounds. With `n = 2^k` buckets at the start of a round and `b` by now, a
//! hash belongs to `h mod 2n` if that is below `b`, else to `h mod n`. Above 9.5 entries per bucket of `n` a round is due:
//! each insert first splits one bucket, about ten entries, until there are `2n`. Below 2.5 entries per bucket of the larger
//! power each removal merges the last bucket into its twin, which needs no hashes. So no operation ever does more than a
//! constant amount of work, apart from allocating a segment. Growth that finds no memory is put off, not an error.
//!
//! **Memory.** Overflow buckets stand in segments of 1, 2, 4, 8... buckets, which never move and live as long
//! as the index; from a page on a segment is mapped, so that memory follows the number of buckets; pages are given back
//! while it shrinks. So do the home buckets of a table that is part of a large value. Those of the keyspace's tables, which
//! are what is read most, stand in pages of the engine's [`Pool`].
//!
//! **Readers without the lock** probe the [`Index`], all of whose words are atomic. Whatever a writer does meanwhile,
//! they find nothing but references that were once in it; whether those still hold is for their sequence counter to say.
//!
//! **Hash bits.** 0 to 39 choose the bucket, 40 to 47 are the shard's, 56 to 63 are the tag.
//!
//! **Scan** (Pieter Noordhuis's reverse binary cursor). The cursor walks the buckets of the small space `n`, visiting
//! each with its twin of `n..b`, with the bits counted from the top down. Growing or shrinking only appends to or cuts
//! from the low end of that order, so buckets already visited stay behind the cursor: whatever is there throughout is
//! visited at least once.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytemuck::TransparentWrapper;
use smallvec::SmallVec;

use super::arena::Ref;
use super::pool::{Pool, Run};
use crate::os::{self, Line, OutOfMemory, Segments, Spans};
use crate::sync::{Arc, Mutex};

/// Slots of a home bucket.
const SLOTS: usize = 12;
const ALL: u32 = (1 << SLOTS) - 1;
/// Home buckets are never more than this: links need a bit to tell home from overflow.
const MOST_BUCKETS: u32 = 1 << 30;
/// Buckets of a page: how many must go before memory is given back.
const PAGE_BUCKETS: u32 = (os::PAGE / size_of::<Bucket>()) as u32;
/// Buckets that a page is not given back for yet, so that it is not taken again at once.
const SPARE: u32 = 16;

/// Eight words, written under the shard's lock alone, by relaxed stores: tags 0 to 7; tags 8 to 11 below the link (0, or the overflow
/// bucket's index + 1); then two references each.
#[derive(bytemuck::TransparentWrapper)]
#[repr(transparent)]
struct Bucket(Line);

impl Bucket {
    #[inline(always)]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.0.0[at]
    }

    #[inline(always)]
    fn head(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    fn set_head(&self, at: usize, word: u64) {
        self.word(at).store(word, Ordering::Relaxed);
    }

    #[inline(always)]
    fn matches(&self, tag: u8) -> u32 {
        os::matching_bytes([self.head(0), self.head(1)], tag) & ALL
    }

    #[inline]
    fn occupied(&self) -> u32 {
        !self.matches(0) & ALL
    }

    #[inline(always)]
    fn entry(&self, slot: usize) -> u32 {
        (self.word(2 + slot / 2).load(Ordering::Relaxed) >> (slot % 2 * 32)) as u32
    }

    #[inline]
    fn set_entry(&self, slot: usize, entry: u32) {
        let (word, shift) = (self.word(2 + slot / 2), slot % 2 * 32);
        let other = word.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
        word.store(other | u64::from(entry) << shift, Ordering::Relaxed);
    }

    #[inline]
    fn entries(&self) -> impl Iterator<Item = Ref> + '_ {
        slots(self.occupied()).filter_map(|slot| Ref::new(self.entry(slot)))
    }

    #[inline(always)]
    fn link(&self) -> u32 {
        (self.head(1) >> 32) as u32
    }

    fn set_link(&self, link: u32) {
        self.set_head(1, self.head(1) & 0xffff_ffff | u64::from(link) << 32);
    }

    /// An overflow bucket's predecessor.
    fn back(&self) -> Node {
        Node(self.entry(SLOTS - 1))
    }

    fn set_back(&self, node: Node) {
        self.set_entry(SLOTS - 1, node.0);
    }

    fn tag(&self, slot: usize) -> u8 {
        (self.head(slot / 8) >> (slot % 8 * 8)) as u8
    }

    #[inline]
    fn put(&self, slot: usize, (tag, entry): (u8, u32)) {
        let shift = slot % 8 * 8;
        let word = self.head(slot / 8) & !(0xff << shift) | u64::from(tag) << shift;
        self.set_head(slot / 8, word);
        self.set_entry(slot, entry);
    }

    /// Empties a slot and returns what was in it.
    fn take(&self, slot: usize) -> (u8, u32) {
        let content = (self.tag(slot), self.entry(slot));
        self.put(slot, (0, 0));
        content
    }

    fn empty(&self) {
        self.0.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn copy_from(&self, other: &Bucket) {
        for (to, from) in self.0.0.iter().zip(&other.0.0) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// The set bits' positions.
#[inline]
fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (slot < 32).then_some(slot as usize)
    })
}

/// A bucket's place: the index of a home bucket or, with the top bit, of an overflow bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node(u32);

impl Node {
    const OVERFLOW: u32 = 1 << 31;

    fn home(index: u32) -> Self {
        Self(index)
    }

    fn overflow(index: u32) -> Self {
        Self(index | Self::OVERFLOW)
    }

    /// What a link leads to.
    fn linked(link: u32) -> Option<Self> {
        link.checked_sub(1).map(Self::overflow)
    }

    fn is_overflow(self) -> bool {
        self.0 & Self::OVERFLOW != 0
    }

    fn index(self) -> u32 {
        self.0 & !Self::OVERFLOW
    }

    /// The slots that hold entries there.
    fn slots(self) -> u32 {
        if self.is_overflow() { ALL >> 1 } else { ALL }
    }
}

/// Where buckets stand.
pub(crate) trait Storage {
    /// The line with this number, if it is there.
    fn line(&self, index: u32) -> Option<&Line>;

    /// How many lines there are.
    fn capacity(&self) -> u32;

    /// Adds some, all zero. Not for two threads at once.
    fn grow(&self) -> Result<(), OutOfMemory>;

    /// All lines from this one on are zero and not needed. Unless this is the first, [`SPARE`] can be used again without fail.
    fn shrink(&self, len: u32);

    /// Memory that this number of lines takes, in bytes.
    fn bytes(&self, len: u32) -> usize;
}

/// Segments of doubling size, of their own.
pub(crate) struct Own {
    segments: Segments<Line, 1>,
    /// Segments allocated so far.
    allocated: AtomicU32,
}

impl Own {
    const fn new() -> Self {
        Self { segments: Segments::new(), allocated: AtomicU32::new(0) }
    }
}

impl Storage for Own {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        self.segments.get(index)
    }

    fn capacity(&self) -> u32 {
        (1 << self.allocated.load(Ordering::Relaxed)) - 1
    }

    fn grow(&self) -> Result<(), OutOfMemory> {
        let next = self.allocated.load(Ordering::Relaxed);
        self.segments.grow(next as usize)?;
        self.allocated.store(next + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back one page at a time; the segment stays, so that as many lines can be used again without fail.
    fn shrink(&self, len: u32) {
        if len == 0 {
            for segment in 0..self.allocated.load(Ordering::Relaxed) {
                self.segments.give_back_zeroes(segment as usize, 0..1 << segment);
            }
            return;
        }
        let segment = (len + 1).ilog2();
        let at = len + 1 - (1 << segment);
        if at.is_multiple_of(PAGE_BUCKETS) {
            let end = (at + PAGE_BUCKETS).min(1 << segment);
            self.segments.give_back_zeroes(segment as usize, at as usize..end as usize);
        }
    }

    /// Small segments count whole, mapped ones as far as they are in use.
    #[inline]
    fn bytes(&self, len: u32) -> usize {
        const SMALL: u32 = PAGE_BUCKETS - 1;
        let mapped = len.saturating_sub(SMALL).next_multiple_of(PAGE_BUCKETS);
        (self.capacity().min(SMALL) + mapped) as usize * size_of::<Line>()
    }
}

/// Pages of a pool.
#[repr(C)]
pub(crate) struct Pooled {
    spans: Spans<Line, { PAGE_BUCKETS as usize }>,
    pool: Arc<Pool>,
    pages: Mutex<Vec<Run>>,
    capacity: AtomicU32,
}

impl Pooled {
    fn new(pool: Arc<Pool>) -> Self {
        Self { pool, spans: Spans::new(), pages: Mutex::new(Vec::new()), capacity: AtomicU32::new(0) }
    }
}

impl Storage for Pooled {
    #[inline(always)]
    fn line(&self, index: u32) -> Option<&Line> {
        self.spans.get(index)
    }

    fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    fn grow(&self) -> Result<(), OutOfMemory> {
        let (run, extent, offset) = self.pool.take(0)?;
        let mut pages = self.pages.lock();
        if let Err(error) = self.spans.put(pages.len(), PAGE_BUCKETS.ilog2(), &extent, offset) {
            self.pool.give([run]);
            return Err(error);
        }
        let lines = self.spans.rest(self.capacity()).unwrap_or_default();
        lines.iter().for_each(|line| Bucket::wrap_ref(line).empty());
        pages.push(run);
        self.capacity.store(pages.len() as u32 * PAGE_BUCKETS, Ordering::Relaxed);
        Ok(())
    }

    fn shrink(&self, len: u32) {
        let kept = if len == 0 { 0 } else { (len + SPARE).div_ceil(PAGE_BUCKETS) };
        if kept * PAGE_BUCKETS < self.capacity() {
            self.capacity.store(kept * PAGE_BUCKETS, Ordering::Relaxed);
            let mut pages = self.pages.lock();
            (kept as usize..pages.len()).for_each(|page| self.spans.take(page));
            self.pool.give(pages.drain(kept as usize..));
        }
    }

    /// Pages count whole, but for a first one alone: 256 of them are more than a small limit.
    #[inline]
    fn bytes(&self, len: u32) -> usize {
        let lines = if len > PAGE_BUCKETS { self.capacity() } else { len };
        lines as usize * size_of::<Line>()
    }
}

/// Buckets `0..len`; those from `len` on are zero.
#[repr(C)]
struct Buckets<S> {
    len: AtomicU32,
    storage: S,
}

impl<S: Storage> Buckets<S> {
    const fn new(storage: S) -> Self {
        Self { storage, len: AtomicU32::new(0) }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<&Bucket> {
        self.storage.line(index).map(Bucket::wrap_ref)
    }

    #[inline]
    fn at(&self, index: u32) -> &Bucket {
        self.get(index).expect("links and indices stay below len")
    }

    /// Hints that the bucket will be read soon.
    #[inline]
    fn prefetch(&self, index: u32) {
        if let Some(line) = self.storage.line(index) {
            os::prefetch(line);
        }
    }

    /// Makes sure that the next `more` pushes succeed.
    fn reserve(&self, more: u32) -> Result<(), OutOfMemory> {
        while self.storage.capacity() - self.len() < more {
            self.storage.grow()?;
        }
        Ok(())
    }

    /// Adds an empty bucket and returns its index.
    fn push(&self) -> Result<u32, OutOfMemory> {
        self.reserve(1)?;
        let index = self.len();
        self.len.store(index + 1, Ordering::Relaxed);
        Ok(index)
    }

    /// Drops the last bucket. It can be pushed again without fail.
    fn pop(&self) {
        let last = self.len() - 1;
        self.at(last).empty();
        self.len.store(last, Ordering::Relaxed);
        self.storage.shrink(last);
    }

    fn clear(&self) {
        self.iter().for_each(Bucket::empty);
        self.len.store(0, Ordering::Relaxed);
        self.storage.shrink(0);
    }

    fn iter(&self) -> impl Iterator<Item = &Bucket> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Memory in use, in bytes.
    #[inline]
    fn bytes(&self) -> usize {
        self.storage.bytes(self.len())
    }
}

/// The buckets, shared with those who read without the shard's lock. What every look-up needs stands in its first cache line, here and in what
/// it is made of: mask, number of home buckets, and where they are.
#[repr(C, align(64))]
pub(crate) struct Index<S = Pooled> {
    /// The number of home buckets at the start of the round, less one.
    mask: AtomicU32,
    home: Buckets<S>,
    overflow: Buckets<Own>,
}

impl<S: Storage> Index<S> {
    const fn new(home: S) -> Self {
        Self { home: Buckets::new(home), overflow: Buckets::new(Own::new()), mask: AtomicU32::new(0) }
    }

    /// The entry of that hash for which `eq` is true. O(1); `eq` is asked about one entry in 256 in vain.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let mut probe = self.probe(hash);
        while let Some(entry) = probe.next(self) {
            if eq(entry) {
                return Some(entry);
            }
        }
        None
    }

    /// The entries whose tag is that of the hash, one after the other.
    #[inline(always)]
    pub(crate) fn probe(&self, hash: u64) -> Probe<'_> {
        let (tag, bucket) = (tag_of(hash), self.home.get(self.home_of(hash)));
        Probe { tag, matches: bucket.map_or(0, |bucket| bucket.matches(tag)), bucket, links: 0 }
    }

    /// The first entry whose tag is that of the hash: most likely the one that [`Index::find`] finds.
    #[inline(always)]
    pub(crate) fn first_candidate(&self, hash: u64) -> Option<Ref> {
        let bucket = self.home.get(self.home_of(hash))?;
        let matches = bucket.matches(tag_of(hash));
        if matches == 0 { None } else { Ref::new(bucket.entry(matches.trailing_zeros() as usize)) }
    }

    /// Whether entries of this hash may stand in overflow buckets.
    pub(crate) fn overflows(&self, hash: u64) -> bool {
        self.home.get(self.home_of(hash)).is_some_and(|bucket| bucket.link() != 0)
    }

    /// Hints that the bucket of this hash will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.home.prefetch(self.home_of(hash));
    }

    #[inline(always)]
    fn mask(&self) -> u32 {
        self.mask.load(Ordering::Relaxed)
    }

    /// The home bucket's index.
    #[inline(always)]
    fn home_of(&self, hash: u64) -> u32 {
        let mask = self.mask();
        let wide = hash as u32 & (mask << 1 | 1);
        if wide < self.home.len() { wide } else { wide & mask }
    }

    fn bucket(&self, node: Node) -> &Bucket {
        if node.is_overflow() { self.overflow.at(node.index()) } else { self.home.at(node.index()) }
    }

    fn chain(&self, home: u32) -> impl Iterator<Item = &Bucket> {
        let next = |bucket: &&Bucket| self.overflow.get(bucket.link().checked_sub(1)?);
        std::iter::successors(self.home.get(home), next)
    }
}

/// A search along one chain.
pub(crate) struct Probe<'a> {
    bucket: Option<&'a Bucket>,
    matches: u32,
    tag: u8,
    links: u32,
}

impl<'a> Probe<'a> {
    /// The next entry with the tag.
    #[inline(always)]
    pub(crate) fn next<S: Storage>(&mut self, index: &'a Index<S>) -> Option<Ref> {
        let mut bucket = self.bucket?;
        while self.matches == 0 {
            bucket = self.follow(index, bucket)?;
        }
        let slot = self.matches.trailing_zeros() as usize;
        self.matches &= self.matches - 1;
        Ref::new(bucket.entry(slot))
    }

    #[inline(always)]
    fn follow<S: Storage>(&mut self, index: &'a Index<S>, bucket: &Bucket) -> Option<&'a Bucket> {
        // A chain that a writer is changing could lead a reader in circles.
        self.links += 1;
        let next = bucket.link().checked_sub(1).filter(|_| self.links < MOST_LINKS);
        self.bucket = next.and_then(|next| index.overflow.get(next));
        self.matches = self.bucket.map_or(0, |bucket| bucket.matches(self.tag));
        self.bucket
    }
}

/// See the module's text.
pub(crate) struct Table<S = Pooled> {
    index: Arc<Index<S>>,
    len: usize,
}

/// Longer than any chain: at 9.5 entries a bucket the hashes would have to agree.
const MOST_LINKS: u32 = 1 << 20;

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

impl Table {
    /// An empty table in the pages of a pool, of which it has taken none yet.
    pub(crate) fn in_pool(pool: Arc<Pool>) -> Self {
        Self { index: Arc::new(Index::new(Pooled::new(pool))), len: 0 }
    }
}

impl Table<Own> {
    /// An empty table with memory of its own, of which it has none yet.
    pub(crate) fn new() -> Self {
        Self { index: Arc::new(Index::new(Own::new())), len: 0 }
    }
}

impl<S: Storage> Table<S> {
    /// What readers without the lock share.
    pub(crate) fn index(&self) -> &Arc<Index<S>> {
        &self.index
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry of that hash for which `eq` is true. O(1); `eq` is asked about one entry in 256 in vain.
    #[inline]
    pub(crate) fn find(&self, hash: u64, eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        self.index.find(hash, eq)
    }

    /// Adds an entry that is not in the table. `rehash` gives the hash of any entry in it. O(1): splits at most one
    /// bucket.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the table is then as before.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        entry: Ref,
        rehash: impl Fn(Ref) -> u64,
    ) -> Result<(), OutOfMemory> {
        if self.index.home.len() == 0 {
            self.index.home.push()?;
        }
        if self.len as u64 * 2 > (u64::from(self.index.mask()) + 1) * 19 {
            // Without memory for it the table works on, fuller.
            let _ = self.split(rehash);
        }
        self.append(self.index.home_of(hash), (tag_of(hash), entry.get()))?;
        self.len += 1;
        Ok(())
    }

    /// Puts `new` in the place of `old`, of the same hash; false if `old` is not there. O(1).
    #[inline]
    pub(crate) fn replace(&mut self, hash: u64, old: Ref, new: Ref) -> bool {
        let found = self.locate(hash, |entry| entry == old);
        if let Some((node, slot)) = found {
            self.index.bucket(node).set_entry(slot, new.get());
        }
        found.is_some()
    }

    /// Takes out the entry of that hash for which `eq` is true. O(1): merges at most one bucket.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let (node, slot) = self.locate(hash, eq)?;
        let entry = self.erase(node, slot);
        self.len -= 1;
        if self.len as u64 * 2 < u64::from(self.index.home.len().next_power_of_two()) * 5
            && self.index.home.len() > 1
        {
            // Without memory for it the table stays as large as it is.
            let _ = self.merge();
        }
        entry
    }

    /// Takes out everything and gives the memory back, up to a few pages. O(buckets).
    pub(crate) fn clear(&mut self) {
        self.index.home.clear();
        self.index.overflow.clear();
        self.index.mask.store(0, Ordering::Relaxed);
        self.len = 0;
    }

    /// Visits a few entries and returns the cursor to go on with: 0 begins an iteration and 0 ends it. Any cursor is
    /// valid. Entries present during the whole iteration are visited at least once. O(1).
    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(Ref)) -> u64 {
        if self.index.home.len() == 0 {
            return 0;
        }
        let index = cursor as u32 & self.index.mask();
        self.index.chain(index).flat_map(Bucket::entries).for_each(&mut visit);
        let twin = index + self.index.mask() + 1;
        if twin < self.index.home.len() {
            self.index.chain(twin).flat_map(Bucket::entries).for_each(&mut visit);
        }
        self.after(cursor)
    }

    /// As [`Table::scan`], but `relocate` may say that an entry is elsewhere from now on.
    ///
    /// # Errors
    /// What `relocate` returns; the entries before the one it failed at have been moved.
    pub(crate) fn relocate<E>(
        &mut self,
        cursor: u64,
        mut relocate: impl FnMut(Ref) -> Result<Option<Ref>, E>,
    ) -> Result<u64, E> {
        if self.index.home.len() == 0 {
            return Ok(0);
        }
        let home = cursor as u32 & self.index.mask();
        for home in [home, home + self.index.mask() + 1] {
            for bucket in self.index.chain(home) {
                for slot in slots(bucket.occupied()) {
                    if let Some(at) = Ref::new(bucket.entry(slot))
                        && let Some(new) = relocate(at)?
                    {
                        bucket.set_entry(slot, new.get());
                    }
                }
            }
        }
        Ok(self.after(cursor))
    }

    /// The cursor that follows, in the order of bits counted from the top down.
    fn after(&self, cursor: u64) -> u64 {
        (cursor | !u64::from(self.index.mask())).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// A uniformly random entry; `rng` gives uniform 64-bit numbers.
    ///
    /// Draws among all slots of all buckets until one holds an entry. Each entry has one slot, so all are equally
    /// likely. Takes 12 draws for a single entry, 1.3 to 2.4 while growing and about 6 at the lowest fill, before a
    /// merge is due.
    pub(crate) fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<Ref> {
        if self.len == 0 {
            return None;
        }
        let slots = (u64::from(self.index.home.len()) + u64::from(self.index.overflow.len())) * SLOTS as u64;
        loop {
            let drawn = ((u128::from(rng()) * u128::from(slots)) >> 64) as u64;
            let (index, slot) = ((drawn / SLOTS as u64) as u32, (drawn % SLOTS as u64) as usize);
            let bucket = match index.checked_sub(self.index.home.len()) {
                None => self.index.home.at(index),
                Some(index) => self.index.overflow.at(index),
            };
            if bucket.tag(slot) != 0 {
                return Ref::new(bucket.entry(slot));
            }
        }
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref> + '_ {
        self.index.home.iter().chain(self.index.overflow.iter()).flat_map(Bucket::entries)
    }

    /// Memory in use beside the struct itself, in bytes. O(1).
    pub(crate) fn bytes(&self) -> usize {
        self.index.home.bytes() + self.index.overflow.bytes()
    }

    #[inline]
    fn locate(&self, hash: u64, mut eq: impl FnMut(Ref) -> bool) -> Option<(Node, usize)> {
        let tag = tag_of(hash);
        let home = self.index.home_of(hash);
        let (mut node, mut bucket) = (Node::home(home), self.index.home.get(home)?);
        loop {
            for slot in slots(bucket.matches(tag)) {
                if Ref::new(bucket.entry(slot)).is_some_and(&mut eq) {
                    return Some((node, slot));
                }
            }
            node = Node::linked(bucket.link())?;
            bucket = self.index.bucket(node);
        }
    }

    /// The last bucket of the chain that `node` is in.
    #[inline]
    fn tail(&self, mut node: Node) -> Node {
        while let Some(next) = Node::linked(self.index.bucket(node).link()) {
            node = next;
        }
        node
    }

    /// Adds to the end of a chain.
    #[inline]
    fn append(&mut self, home: u32, content: (u8, u32)) -> Result<(), OutOfMemory> {
        let tail = self.tail(Node::home(home));
        let bucket = self.index.bucket(tail);
        let vacant = bucket.matches(0) & tail.slots();
        if vacant != 0 {
            bucket.put(vacant.trailing_zeros() as usize, content);
            return Ok(());
        }
        let index = self.index.overflow.push()?;
        let bucket = self.index.overflow.at(index);
        bucket.put(0, content);
        bucket.set_back(tail);
        self.index.bucket(tail).set_link(index + 1);
        Ok(())
    }

    /// Empties a slot, filling it from the end of the chain.
    fn erase(&mut self, node: Node, slot: usize) -> Option<Ref> {
        let tail = self.tail(node);
        let (_, entry) = self.index.bucket(node).take(slot);
        if tail != node {
            let bucket = self.index.bucket(tail);
            let last = bucket.occupied().ilog2() as usize;
            let content = bucket.take(last);
            self.index.bucket(node).put(slot, content);
        }
        if tail.is_overflow() && self.index.bucket(tail).occupied() == 0 {
            self.drop_tail(tail);
        }
        Ref::new(entry)
    }

    /// Unlinks an overflow bucket at the end of its chain; the last of all overflow buckets takes its place.
    fn drop_tail(&mut self, tail: Node) {
        let back = self.index.bucket(tail).back();
        self.index.bucket(back).set_link(0);
        let (index, last) = (tail.index(), self.index.overflow.len() - 1);
        if index != last {
            let moved = self.index.overflow.at(last);
            self.index.overflow.at(index).copy_from(moved);
            self.index.bucket(moved.back()).set_link(index + 1);
            if let Some(next) = Node::linked(moved.link()) {
                self.index.bucket(next).set_back(tail);
            }
        }
        self.index.overflow.pop();
    }

    /// Empties a chain. Its overflow buckets can be pushed again without fail.
    fn take_chain(&mut self, home: u32) -> SmallVec<[(u8, u32); 3 * SLOTS]> {
        let mut content = SmallVec::new();
        loop {
            let tail = self.tail(Node::home(home));
            let bucket = self.index.bucket(tail);
            content.extend(slots(bucket.occupied()).map(|slot| (bucket.tag(slot), bucket.entry(slot))));
            if !tail.is_overflow() {
                bucket.empty();
                return content;
            }
            self.drop_tail(tail);
        }
    }

    /// Adds a home bucket and moves what belongs there from its twin.
    #[inline(never)]
    fn split(&mut self, rehash: impl Fn(Ref) -> u64) -> Result<(), OutOfMemory> {
        if self.index.home.len() == MOST_BUCKETS {
            return Err(OutOfMemory);
        }
        let n = self.index.mask() + 1;
        let goes = |entry: u32| Ref::new(entry).is_some_and(|entry| rehash(entry) & u64::from(n) != 0);
        let to = self.index.home.push()?;
        let from = to - n;
        if self.index.home.at(from).link() == 0 {
            let (source, target) = (self.index.home.at(from), self.index.home.at(to));
            // All hashes first: their cache misses overlap.
            let going = slots(source.occupied())
                .fold(0, |bits, slot| bits | u32::from(goes(source.entry(slot))) << slot);
            for (at, slot) in slots(going).enumerate() {
                target.put(at, source.take(slot));
            }
        } else {
            // Two chains never need more overflow buckets than the one had.
            for content in self.take_chain(from) {
                let home = if goes(content.1) { to } else { from };
                self.append(home, content).expect("the chain's own buckets are there again");
            }
        }
        if self.index.home.len() == 2 * n {
            self.index.mask.store(2 * n - 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Moves the last home bucket's entries to its twin and drops the bucket.
    #[inline(never)]
    fn merge(&mut self) -> Result<(), OutOfMemory> {
        let last = self.index.home.len() - 1;
        let mask = (1 << last.ilog2()) - 1;
        let twin = last & mask;
        let (moving, staying) = (self.index.home.at(last), self.index.home.at(twin));
        let joined = moving.occupied().count_ones() + staying.occupied().count_ones();
        if joined > SLOTS as u32 || moving.link() != 0 || staying.link() != 0 {
            // Joining two partly filled ends can take two buckets more.
            self.index.overflow.reserve(2)?;
        }
        let content = self.take_chain(last);
        self.index.home.pop();
        self.index.mask.store(mask, Ordering::Relaxed);
        for content in content {
            self.append(twin, content).expect("room was reserved");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
