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
//! **Memory.** Home and overflow buckets stand in segments of 1, 1, 2, 4, 8... buckets, which never move; from 64 KiB on
//! a segment is mapped, so that memory follows the number of buckets; pages are given back while it shrinks.
//!
//! **Hash bits.** 0 to 39 choose the bucket, 40 to 47 are the shard's, 56 to 63 are the tag.
//!
//! **Scan** (Pieter Noordhuis's reverse binary cursor). The cursor walks the buckets of the small space `n`, visiting
//! each with its twin of `n..b`, with the bits counted from the top down. Growing or shrinking only appends to or cuts
//! from the low end of that order, so buckets already visited stay behind the cursor: whatever is there throughout is
//! visited at least once.
#![allow(dead_code)]

use smallvec::SmallVec;

use super::arena::Ref;
use crate::os::{self, OutOfMemory, Zeroed};

/// Slots of a home bucket.
const SLOTS: usize = 12;
const ALL: u32 = (1 << SLOTS) - 1;
/// Home buckets are never more than this: links need a bit to tell home from overflow.
const MOST_BUCKETS: u32 = 1 << 30;
/// Buckets of a page: how many must go before memory is given back.
const PAGE_BUCKETS: u32 = (os::PAGE / size_of::<Bucket>()) as u32;

#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    /// Tags 0 to 7, and tags 8 to 11 below the link (0, or the overflow bucket's index + 1).
    head: [u64; 2],
    refs: [u32; SLOTS],
}

const EMPTY: Bucket = Bucket { head: [0; 2], refs: [0; SLOTS] };

impl Bucket {
    #[inline(always)]
    fn matches(&self, tag: u8) -> u32 {
        os::matching_bytes(self.head, tag) & ALL
    }

    #[inline]
    fn occupied(&self) -> u32 {
        !self.matches(0) & ALL
    }

    #[inline]
    fn entries(&self) -> impl Iterator<Item = Ref> + '_ {
        slots(self.occupied()).filter_map(|slot| Ref::new(self.refs[slot]))
    }

    #[inline(always)]
    fn link(&self) -> u32 {
        (self.head[1] >> 32) as u32
    }

    fn set_link(&mut self, link: u32) {
        self.head[1] = self.head[1] & 0xffff_ffff | u64::from(link) << 32;
    }

    /// An overflow bucket's predecessor.
    fn back(&self) -> Node {
        Node(self.refs[SLOTS - 1])
    }

    fn set_back(&mut self, node: Node) {
        self.refs[SLOTS - 1] = node.0;
    }

    fn tag(&self, slot: usize) -> u8 {
        (self.head[slot / 8] >> (slot % 8 * 8)) as u8
    }

    #[inline]
    fn put(&mut self, slot: usize, (tag, entry): (u8, u32)) {
        let shift = slot % 8 * 8;
        let word = &mut self.head[slot / 8];
        *word = *word & !(0xff << shift) | u64::from(tag) << shift;
        self.refs[slot] = entry;
    }

    /// Empties a slot and returns what was in it.
    fn take(&mut self, slot: usize) -> (u8, u32) {
        let content = (self.tag(slot), self.refs[slot]);
        self.put(slot, (0, 0));
        content
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

/// Buckets `0..len` in segments of 1, 1, 2, 4, 8...; those from `len` on are zero.
struct Buckets {
    segments: Vec<Zeroed<Bucket>>,
    len: u32,
}

impl Buckets {
    const fn new() -> Self {
        Self { segments: Vec::new(), len: 0 }
    }

    /// Segment and position in it.
    #[inline(always)]
    fn locate(index: u32) -> (usize, usize) {
        // 2i + 1 has its top bit at the segment's number, and below it twice the position, plus one.
        let odd = u64::from(index) << 1 | 1;
        let segment = odd.ilog2();
        (segment as usize, ((odd ^ (1 << segment)) >> 1) as usize)
    }

    fn segment_len(segment: usize) -> usize {
        1 << segment.saturating_sub(1)
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<&Bucket> {
        let (segment, at) = Self::locate(index);
        self.segments.get(segment)?.get(at)
    }

    #[inline]
    fn at(&self, index: u32) -> &Bucket {
        self.get(index).expect("links and indices stay below len")
    }

    #[inline]
    fn at_mut(&mut self, index: u32) -> &mut Bucket {
        let (segment, at) = Self::locate(index);
        &mut self.segments[segment][at]
    }

    fn capacity(&self) -> u32 {
        (1 << self.segments.len()) >> 1
    }

    /// Makes sure that the next `more` pushes succeed.
    fn reserve(&mut self, more: u32) -> Result<(), OutOfMemory> {
        while self.capacity() - self.len < more {
            self.segments.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
            self.segments.push(Zeroed::new(Self::segment_len(self.segments.len()))?);
        }
        Ok(())
    }

    /// Adds an empty bucket and returns its index.
    fn push(&mut self) -> Result<u32, OutOfMemory> {
        self.reserve(1)?;
        self.len += 1;
        Ok(self.len - 1)
    }

    /// Drops the last bucket. The segments stay, so that as many can be pushed again without fail, until `trim`.
    fn pop(&mut self) {
        self.len -= 1;
        let (segment, at) = Self::locate(self.len);
        let segment = &mut self.segments[segment];
        segment[at] = EMPTY;
        if at % PAGE_BUCKETS as usize == 0 && size_of_val(&**segment) >= Zeroed::<Bucket>::LAZY {
            segment.release(at..at + PAGE_BUCKETS as usize);
        }
    }

    /// Frees segments that are far from being needed.
    #[inline]
    fn trim(&mut self) {
        while self.len <= self.capacity() / 4 && !self.segments.is_empty() {
            self.segments.pop();
            if self.segments.is_empty() {
                self.segments = Vec::new();
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.segments.iter().flat_map(|segment| segment.iter()).take(self.len as usize)
    }

    /// Memory in use, in bytes: small segments whole, mapped ones as far as they are in use.
    fn bytes(&self) -> usize {
        const SMALL: usize = Zeroed::<Bucket>::LAZY / size_of::<Bucket>();
        let small = (self.capacity() as usize).min(SMALL);
        let mapped = (self.len as usize).saturating_sub(SMALL).next_multiple_of(PAGE_BUCKETS as usize);
        (small + mapped) * size_of::<Bucket>() + self.segments.capacity() * size_of::<Zeroed<Bucket>>()
    }
}

/// See the module's text.
pub(crate) struct Table {
    home: Buckets,
    overflow: Buckets,
    /// The number of home buckets at the start of the round, less one.
    mask: u32,
    len: usize,
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

impl Table {
    /// An empty table, which has allocated nothing yet.
    pub(crate) const fn new() -> Self {
        Self { home: Buckets::new(), overflow: Buckets::new(), mask: 0, len: 0 }
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry of that hash for which `eq` is true. O(1); `eq` is asked about one entry in 256 in vain.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let tag = tag_of(hash);
        let mut bucket = self.home.get(self.home_of(hash))?;
        loop {
            let mut matches = bucket.matches(tag);
            while matches != 0 {
                if let Some(entry) = Ref::new(bucket.refs[matches.trailing_zeros() as usize])
                    && eq(entry)
                {
                    return Some(entry);
                }
                matches &= matches - 1;
            }
            bucket = self.overflow.get(bucket.link().checked_sub(1)?)?;
        }
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
        if self.home.len == 0 {
            self.home.push()?;
        }
        if self.len as u64 * 2 > (u64::from(self.mask) + 1) * 19 {
            // Without memory for it the table works on, fuller.
            let _ = self.split(rehash);
        }
        self.append(self.home_of(hash), (tag_of(hash), entry.get()))?;
        self.len += 1;
        Ok(())
    }

    /// Puts `new` in the place of `old`, of the same hash; false if `old` is not there. O(1).
    #[inline]
    pub(crate) fn replace(&mut self, hash: u64, old: Ref, new: Ref) -> bool {
        let found = self.locate(hash, |entry| entry == old);
        if let Some((node, slot)) = found {
            self.bucket_mut(node).refs[slot] = new.get();
        }
        found.is_some()
    }

    /// Takes out the entry of that hash for which `eq` is true. O(1): merges at most one bucket.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let (node, slot) = self.locate(hash, eq)?;
        let entry = self.erase(node, slot);
        self.len -= 1;
        if self.len as u64 * 2 < u64::from(self.home.len.next_power_of_two()) * 5 && self.home.len > 1 {
            // Without memory for it the table stays as large as it is.
            let _ = self.merge();
        }
        self.home.trim();
        self.overflow.trim();
        entry
    }

    /// Visits a few entries and returns the cursor to go on with: 0 begins an iteration and 0 ends it. Any cursor is
    /// valid. Entries present during the whole iteration are visited at least once. O(1).
    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(Ref)) -> u64 {
        if self.home.len == 0 {
            return 0;
        }
        let index = cursor as u32 & self.mask;
        self.chain(index).flat_map(Bucket::entries).for_each(&mut visit);
        let twin = index + self.mask + 1;
        if twin < self.home.len {
            self.chain(twin).flat_map(Bucket::entries).for_each(&mut visit);
        }
        (cursor | !u64::from(self.mask)).reverse_bits().wrapping_add(1).reverse_bits()
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
        let slots = (u64::from(self.home.len) + u64::from(self.overflow.len)) * SLOTS as u64;
        loop {
            let drawn = ((u128::from(rng()) * u128::from(slots)) >> 64) as u64;
            let (index, slot) = ((drawn / SLOTS as u64) as u32, (drawn % SLOTS as u64) as usize);
            let bucket = match index.checked_sub(self.home.len) {
                None => self.home.at(index),
                Some(index) => self.overflow.at(index),
            };
            if bucket.tag(slot) != 0 {
                return Ref::new(bucket.refs[slot]);
            }
        }
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref> + '_ {
        self.home.iter().chain(self.overflow.iter()).flat_map(Bucket::entries)
    }

    /// Forgets all entries and frees the memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Memory in use beside the struct itself, in bytes. O(1).
    pub(crate) fn bytes(&self) -> usize {
        self.home.bytes() + self.overflow.bytes()
    }

    /// Hints that the bucket of this hash will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(bucket) = self.home.get(self.home_of(hash)) {
            os::prefetch(bucket);
        }
    }

    /// The home bucket's index.
    #[inline(always)]
    fn home_of(&self, hash: u64) -> u32 {
        let wide = hash as u32 & (self.mask << 1 | 1);
        if wide < self.home.len { wide } else { wide & self.mask }
    }

    fn bucket(&self, node: Node) -> &Bucket {
        if node.is_overflow() { self.overflow.at(node.index()) } else { self.home.at(node.index()) }
    }

    fn bucket_mut(&mut self, node: Node) -> &mut Bucket {
        if node.is_overflow() { self.overflow.at_mut(node.index()) } else { self.home.at_mut(node.index()) }
    }

    fn chain(&self, home: u32) -> impl Iterator<Item = &Bucket> {
        let next = |bucket: &&Bucket| self.overflow.get(bucket.link().checked_sub(1)?);
        std::iter::successors(self.home.get(home), next)
    }

    #[inline]
    fn locate(&self, hash: u64, mut eq: impl FnMut(Ref) -> bool) -> Option<(Node, usize)> {
        let tag = tag_of(hash);
        let home = self.home_of(hash);
        let (mut node, mut bucket) = (Node::home(home), self.home.get(home)?);
        loop {
            for slot in slots(bucket.matches(tag)) {
                if Ref::new(bucket.refs[slot]).is_some_and(&mut eq) {
                    return Some((node, slot));
                }
            }
            node = Node::linked(bucket.link())?;
            bucket = self.bucket(node);
        }
    }

    /// The last bucket of the chain that `node` is in.
    #[inline]
    fn tail(&self, mut node: Node) -> Node {
        while let Some(next) = Node::linked(self.bucket(node).link()) {
            node = next;
        }
        node
    }

    /// Adds to the end of a chain.
    #[inline]
    fn append(&mut self, home: u32, content: (u8, u32)) -> Result<(), OutOfMemory> {
        let tail = self.tail(Node::home(home));
        let bucket = self.bucket_mut(tail);
        let vacant = bucket.matches(0) & tail.slots();
        if vacant != 0 {
            bucket.put(vacant.trailing_zeros() as usize, content);
            return Ok(());
        }
        let index = self.overflow.push()?;
        let bucket = self.overflow.at_mut(index);
        bucket.put(0, content);
        bucket.set_back(tail);
        self.bucket_mut(tail).set_link(index + 1);
        Ok(())
    }

    /// Empties a slot, filling it from the end of the chain.
    fn erase(&mut self, node: Node, slot: usize) -> Option<Ref> {
        let tail = self.tail(node);
        let (_, entry) = self.bucket_mut(node).take(slot);
        if tail != node {
            let bucket = self.bucket_mut(tail);
            let last = bucket.occupied().ilog2() as usize;
            let content = bucket.take(last);
            self.bucket_mut(node).put(slot, content);
        }
        if tail.is_overflow() && self.bucket(tail).occupied() == 0 {
            self.drop_tail(tail);
        }
        Ref::new(entry)
    }

    /// Unlinks an overflow bucket at the end of its chain; the last of all overflow buckets takes its place.
    fn drop_tail(&mut self, tail: Node) {
        let back = self.bucket(tail).back();
        self.bucket_mut(back).set_link(0);
        let (index, last) = (tail.index(), self.overflow.len - 1);
        if index != last {
            let moved = *self.overflow.at(last);
            *self.overflow.at_mut(index) = moved;
            self.bucket_mut(moved.back()).set_link(index + 1);
            if let Some(next) = Node::linked(moved.link()) {
                self.bucket_mut(next).set_back(tail);
            }
        }
        self.overflow.pop();
    }

    /// Empties a chain. Its overflow buckets can be pushed again without fail.
    fn take_chain(&mut self, home: u32) -> SmallVec<[(u8, u32); 3 * SLOTS]> {
        let mut content = SmallVec::new();
        loop {
            let tail = self.tail(Node::home(home));
            let bucket = self.bucket_mut(tail);
            content.extend(slots(bucket.occupied()).map(|slot| (bucket.tag(slot), bucket.refs[slot])));
            if !tail.is_overflow() {
                *bucket = EMPTY;
                return content;
            }
            self.drop_tail(tail);
        }
    }

    /// Adds a home bucket and moves what belongs there from its twin.
    #[inline(never)]
    fn split(&mut self, rehash: impl Fn(Ref) -> u64) -> Result<(), OutOfMemory> {
        if self.home.len == MOST_BUCKETS {
            return Err(OutOfMemory);
        }
        let n = self.mask + 1;
        let goes = |entry: u32| Ref::new(entry).is_some_and(|entry| rehash(entry) & u64::from(n) != 0);
        let to = self.home.push()?;
        let from = to - n;
        if self.home.at(from).link() == 0 {
            let source = *self.home.at(from);
            // All hashes first: their cache misses overlap.
            let going = slots(source.occupied())
                .fold(0, |bits, slot| bits | u32::from(goes(source.refs[slot])) << slot);
            let (mut stays, mut moves) = (source, EMPTY);
            for (at, slot) in slots(going).enumerate() {
                moves.put(at, stays.take(slot));
            }
            *self.home.at_mut(from) = stays;
            *self.home.at_mut(to) = moves;
        } else {
            // Two chains never need more overflow buckets than the one had.
            for content in self.take_chain(from) {
                let home = if goes(content.1) { to } else { from };
                self.append(home, content).expect("the chain's own buckets are there again");
            }
        }
        if self.home.len == 2 * n {
            self.mask = 2 * n - 1;
        }
        Ok(())
    }

    /// Moves the last home bucket's entries to its twin and drops the bucket.
    #[inline(never)]
    fn merge(&mut self) -> Result<(), OutOfMemory> {
        let last = self.home.len - 1;
        let mask = (1 << last.ilog2()) - 1;
        let twin = last & mask;
        let (moving, staying) = (self.home.at(last), self.home.at(twin));
        let joined = moving.occupied().count_ones() + staying.occupied().count_ones();
        if joined > SLOTS as u32 || moving.link() != 0 || staying.link() != 0 {
            // Joining two partly filled ends can take two buckets more.
            self.overflow.reserve(2)?;
        }
        let content = self.take_chain(last);
        self.home.pop();
        self.mask = mask;
        for content in content {
            self.append(twin, content).expect("room was reserved");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    const CASES: u32 = if cfg!(miri) { 3 } else { 150 };

    fn entry(number: u32) -> Ref {
        Ref::new(number).unwrap()
    }

    /// A good hash of small numbers (splitmix64).
    fn spread(number: u32) -> u64 {
        let mut z = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn rng(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            spread((seed >> 32) as u32) ^ spread(seed as u32).rotate_left(17)
        }
    }

    impl Table {
        /// Checks everything the module's text says of the structure.
        fn check(&self, hash: impl Fn(Ref) -> u64) {
            let (mut entries, mut overflow) = (0, HashSet::new());
            assert!(self.home.len == 0 || self.home.len.ilog2() == (self.mask + 1).ilog2());
            assert!((self.mask + 1).is_power_of_two());
            for index in 0..self.home.len {
                let mut node = Node::home(index);
                loop {
                    let bucket = self.bucket(node);
                    for slot in slots(bucket.occupied()) {
                        let hash = hash(entry(bucket.refs[slot]));
                        assert_eq!((self.home_of(hash), tag_of(hash)), (index, bucket.tag(slot)));
                    }
                    assert_eq!(bucket.occupied() & !node.slots(), 0);
                    entries += bucket.occupied().count_ones() as usize;
                    let Some(next) = Node::linked(bucket.link()) else { break };
                    assert_eq!(bucket.occupied(), node.slots(), "only the last of a chain has room");
                    assert_eq!(self.bucket(next).back(), node);
                    assert!(self.bucket(next).occupied() != 0 && overflow.insert(next.index()));
                    node = next;
                }
            }
            assert_eq!(entries, self.len);
            assert_eq!(overflow.len(), self.overflow.len as usize);
            for buckets in [&self.home, &self.overflow] {
                let beyond = buckets.segments.iter().flat_map(|s| s.iter()).skip(buckets.len as usize);
                assert!(beyond.take(4000).all(|b| b.head == [0; 2] && b.refs == [0; SLOTS]));
                assert!(buckets.len <= buckets.capacity());
            }
        }
    }

    #[test]
    fn an_empty_table_allocates_nothing() {
        let mut table = Table::new();
        assert_eq!((table.len(), table.bytes(), table.scan(0, |_| ())), (0, 0, 0));
        assert_eq!((table.find(5, |_| true), table.remove(5, |_| true)), (None, None));
        assert_eq!((table.random(&mut rng(1)), table.iter().next()), (None, None));
        assert!(!table.replace(5, entry(1), entry(2)));
        table.prefetch(5);
        table.insert(5, entry(1), |_| 5).unwrap();
        assert!(table.bytes() <= 64 + 16);
    }

    #[test]
    fn grows_and_shrinks_in_pieces() {
        let count = if cfg!(miri) { 300 } else { 300_000 };
        let mut table = Table::new();
        let (mut most, mut before) = (0, 0);
        for number in 1..=count {
            table.insert(spread(number), entry(number), |e| spread(e.get())).unwrap();
            assert!(table.home.len - before <= 1);
            before = table.home.len;
            let load = f64::from(number) / f64::from(table.home.len);
            assert!(number < 20 || (4.5..=10.6).contains(&load), "{load} at {number}");
            most = most.max(table.bytes());
        }
        table.check(|e| spread(e.get()));
        assert!(most < count as usize * 16 + 4096, "{most}");
        for number in 1..=count {
            table.prefetch(spread(number));
            assert_eq!(table.find(spread(number), |e| e.get() == number), Some(entry(number)));
        }
        let mut before = table.home.len;
        for number in 1..=count {
            assert_eq!(table.remove(spread(number), |e| e.get() == number), Some(entry(number)));
            assert!(before - table.home.len <= 1);
            before = table.home.len;
            assert!((table.len() as u64 * 2 + 10) >= u64::from(table.home.len) * 2, "merging keeps up");
        }
        table.check(|e| spread(e.get()));
        assert!(table.bytes() <= 1024, "{} left of {most}", table.bytes());
    }

    #[test]
    fn random_is_uniform() {
        for count in [1, 7, 30, 95, 200] {
            let mut table = Table::new();
            for number in 1..=count {
                table.insert(spread(number), entry(number), |e| spread(e.get())).unwrap();
            }
            let (mut next, mut seen) = (rng(7), BTreeMap::new());
            let draws = if cfg!(miri) { 20 } else { 1000 * count };
            for _ in 0..draws {
                *seen.entry(table.random(&mut next).unwrap().get()).or_insert(0_u32) += 1;
            }
            if cfg!(miri) {
                continue;
            }
            // Chi-squared, with a margin of five deviations.
            let mean = 1000.0;
            let chi: f64 =
                (1..=count).map(|n| (f64::from(*seen.get(&n).unwrap_or(&0)) - mean).powi(2) / mean).sum();
            let freedom = f64::from(count - 1);
            assert!(chi <= freedom + 5.0 * (2.0 * freedom).sqrt() + 1.0, "{count}: {chi}");
        }
    }

    #[test]
    fn one_hash_for_all_makes_a_long_chain_that_still_works() {
        let mut table = Table::new();
        for number in 1..=200 {
            table.insert(77, entry(number), |_| 77).unwrap();
        }
        table.check(|_| 77);
        for number in (1..=200).step_by(3) {
            assert_eq!(table.remove(77, |e| e.get() == number), Some(entry(number)));
        }
        table.check(|_| 77);
        assert_eq!(table.iter().count(), table.len());
        assert_eq!(table.find(77, |e| e.get() == 200), Some(entry(200)));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u16),
        Remove(u16),
        Replace(u16, u16),
        InsertMany(u16),
        RemoveMany(u16),
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            10 => any::<u16>().prop_map(Op::Insert),
            10 => any::<u16>().prop_map(Op::Remove),
            5 => any::<(u16, u16)>().prop_map(|(old, new)| Op::Replace(old, new)),
            5 => (0..if cfg!(miri) { 30_u16 } else { 600 }).prop_map(Op::InsertMany),
            5 => (0..if cfg!(miri) { 30_u16 } else { 700 }).prop_map(Op::RemoveMany),
            1 => Just(Op::Clear),
        ]
    }

    /// Keys are numbers; an entry is any free reference; hashes are spread, or crowded into few buckets and tags.
    struct Model {
        table: Table,
        crowded: bool,
        next: u32,
        by_key: BTreeMap<u16, Ref>,
        key_of: HashMap<Ref, u16>,
    }

    impl Model {
        fn new(crowded: bool) -> Self {
            Self { table: Table::new(), crowded, next: 0, by_key: BTreeMap::new(), key_of: HashMap::new() }
        }

        fn hash(crowded: bool, key: u16) -> u64 {
            let hash = spread(u32::from(key));
            if crowded { hash & 0x0100_0000_0000_0707 } else { hash }
        }

        fn insert(&mut self, key: u16) {
            let hash = Self::hash(self.crowded, key);
            let found = self.table.find(hash, |e| self.key_of[&e] == key);
            assert_eq!(found, self.by_key.get(&key).copied());
            if found.is_none() {
                self.next += 1;
                let new = entry(self.next);
                let (key_of, crowded) = (&self.key_of, self.crowded);
                self.table.insert(hash, new, |e| Self::hash(crowded, key_of[&e])).unwrap();
                self.key_of.insert(new, key);
                self.by_key.insert(key, new);
            }
        }

        fn remove(&mut self, key: u16) {
            let hash = Self::hash(self.crowded, key);
            let removed = self.table.remove(hash, |e| self.key_of[&e] == key);
            assert_eq!(removed, self.by_key.remove(&key));
            removed.map(|removed| self.key_of.remove(&removed));
        }

        fn replace(&mut self, key: u16) {
            let hash = Self::hash(self.crowded, key);
            self.next += 1;
            let new = entry(self.next);
            match self.by_key.get_mut(&key) {
                Some(old) => {
                    assert!(self.table.replace(hash, *old, new));
                    self.key_of.remove(old);
                    self.key_of.insert(new, key);
                    *old = new;
                }
                None => assert!(!self.table.replace(hash, new, new)),
            }
        }

        fn apply(&mut self, op: &Op) {
            match *op {
                Op::Insert(key) => self.insert(key),
                Op::Remove(key) => self.remove(self.some_key(key)),
                Op::Replace(key, _) => self.replace(self.some_key(key)),
                Op::InsertMany(count) => (0..count).for_each(|i| self.insert(i.wrapping_mul(257) ^ count)),
                Op::RemoveMany(count) => {
                    let keys: Vec<_> = self.by_key.keys().copied().take(count.into()).collect();
                    keys.into_iter().for_each(|key| self.remove(key));
                }
                Op::Clear => {
                    self.table.clear();
                    self.by_key.clear();
                    self.key_of.clear();
                }
            }
        }

        /// A key near this one that is there, if any is.
        fn some_key(&self, key: u16) -> u16 {
            self.by_key.range(key..).next().map_or(key, |(&key, _)| key)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]

        #[test]
        fn behaves_as_a_map(crowded: bool, ops in prop::collection::vec(op(), 0..if cfg!(miri) { 12 } else { 60 })) {
            let mut model = Model::new(crowded);
            for op in &ops {
                model.apply(op);
                model.table.check(|e| Model::hash(crowded, model.key_of[&e]));
                prop_assert_eq!(model.table.len(), model.by_key.len());
            }
            let mut entries: Vec<_> = model.table.iter().collect();
            let mut expected: Vec<_> = model.by_key.values().copied().collect();
            entries.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(entries, expected);
        }

        /// Valkey's guarantee, with writes of all kinds between the steps.
        #[test]
        fn scan_visits_all_that_stays(
            crowded: bool,
            start in 0..if cfg!(miri) { 60_u16 } else { 2000 },
            ops in prop::collection::vec(op(), 1..40),
            every in 1_usize..6,
        ) {
            let mut model = Model::new(crowded);
            (0..start).for_each(|key| model.insert(key));
            let mut stayed: HashSet<u16> = model.by_key.keys().copied().collect();
            let (mut visited, mut cursor, mut steps) = (HashSet::new(), 0, 0);
            loop {
                cursor = model.table.scan(cursor, |e| {
                    visited.insert(model.key_of[&e]);
                });
                prop_assert!(cursor < 1 << 40);
                steps += 1;
                if cursor == 0 {
                    break;
                }
                if steps % every == 0 && steps / every <= 200 {
                    model.apply(&ops[steps / every % ops.len()]);
                    stayed.retain(|key| model.by_key.contains_key(key));
                }
            }
            prop_assert!(stayed.is_subset(&visited), "{:?}", stayed.difference(&visited).collect::<Vec<_>>());
        }
    }
}
