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
mod tests;
