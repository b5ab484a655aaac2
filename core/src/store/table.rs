//! A hash table of 32-bit references: 64-byte buckets of one-byte tags, grown and shrunk one bucket at a time.
//! Where buckets stand is left to the caller's [`Storage`], and what a reference leads to as well: it compares entries and gives their hashes.
//!
//! **Buckets.** A bucket is 64 bytes: 12 tags (the top byte of the hash, never 0; 0 is an empty slot), a link to
//! an overflow bucket, 12 references. A probe compares all tags at once. All buckets of a chain but the
//! last are full, and no overflow bucket is empty: the memory is what the entries need.
//!
//! **Growth** is linear hashing (Litwin 1980), in rounds. With `n = 2^k` buckets at the start of a round and `b` by now, a
//! hash belongs to `h mod 2n` if that is below `b`, else to `h mod n`. Above 9.75 entries per bucket of `n` a round is due:
//! each insert first splits one bucket, about ten entries, until there are `2n`. Below 2.5 entries per bucket of the larger
//! power each removal merges the last bucket into its twin, which needs no hashes. So no operation ever does more than a
//! constant amount of work. Growth that finds no memory is put off, not an error.
//!
//! **Readers without the lock** probe the [`Index`], all of whose words are atomic. Whatever a writer does meanwhile, they find numbers
//! that may lead anywhere in the region; whether those mean anything is for their sequence counter to say.
//!
//! **Hash bits.** 0 to 39 choose the bucket, 40 to 47 are the shard's, 56 to 63 are the tag.
//!
//! **Scan** (Pieter Noordhuis's reverse binary cursor). The cursor walks the buckets of the small space `n`, visiting
//! each with its twin of `n..b`, with the bits counted from the top down. Growing or shrinking only appends to or cuts
//! from the low end of that order, so buckets already visited stay behind the cursor: whatever is there throughout is
//! visited at least once.

mod bucket;
mod build;
mod index;

use smallvec::SmallVec;

use super::memory::words::prefetch;
use super::memory::{OutOfMemory, Ref};
pub(crate) use bucket::{BUCKET, Bucket};
use bucket::{SLOTS, slots, tag_of};
pub(crate) use build::BucketWords;
pub(crate) use index::{Index, Probe};

/// Home buckets are never more than this.
const MOST_BUCKETS: u32 = 1 << 31;

/// How many home buckets a table has, and which a hash belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Homes {
    len: u32,
    /// The number of them at the start of the round, less one.
    mask: u32,
}

impl Homes {
    fn of(len: u32) -> Self {
        Self { len, mask: if len == 0 { 0 } else { (1 << len.ilog2()) - 1 } }
    }

    /// Both numbers in one word, for readers without the lock.
    #[inline(always)]
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.mask) << 32 | u64::from(self.len)
    }

    /// Reads what [`Homes::to_word`] wrote.
    #[inline(always)]
    pub(crate) fn from_word(word: u64) -> Self {
        Self { len: word as u32, mask: (word >> 32) as u32 }
    }

    /// The home bucket of a hash.
    #[inline(always)]
    fn home(self, hash: u64) -> u32 {
        let wide = hash as u32 & (self.mask << 1 | 1);
        if wide < self.len { wide } else { wide & self.mask }
    }
}

/// The buckets of a table, to read.
pub(crate) trait Lines {
    /// A home bucket, if it is there.
    fn home(&self, index: u32) -> Option<Bucket<'_>>;

    /// An overflow bucket, if one can be there.
    fn overflow(&self, link: Ref) -> Option<Bucket<'_>>;
}

/// Where the buckets of a table stand, to change it.
pub(crate) trait Storage: Lines {
    /// Makes room for one more home bucket, which is zero.
    fn add_home(&mut self, index: u32) -> Result<(), OutOfMemory>;

    /// The last home bucket, which is zero, is not needed.
    fn drop_home(&mut self, index: u32);

    /// An overflow bucket, which is zero.
    fn add_overflow(&mut self) -> Result<Ref, OutOfMemory>;

    /// An overflow bucket is not needed.
    fn drop_overflow(&mut self, link: Ref);

    /// The hash of an entry of the table.
    fn hash(&self, entry: Ref) -> u64;

    /// Hints that the hash of an entry will be asked for, a few changes from now.
    fn prefetch(&self, _entry: Ref) {}

    /// Makes the buckets of a chain the table's own: they may have been shared.
    fn own(&mut self, _home: u32) -> Result<(), OutOfMemory> {
        Ok(())
    }
}

/// A bucket's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Home(u32),
    Overflow(Ref),
}

/// The numbers of a table, whose buckets stand in some [`Storage`]: always the same one. See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Table {
    homes: Homes,
    len: u32,
    overflows: u32,
    /// No chain has more overflow buckets.
    longest: u32,
}

impl Table {
    /// How many home buckets there are.
    #[inline(always)]
    pub(crate) fn homes(&self) -> Homes {
        self.homes
    }

    /// Number of home buckets.
    pub(crate) fn home_count(&self) -> u32 {
        self.homes.len
    }

    /// Number of overflow buckets.
    pub(crate) fn overflow_count(&self) -> u32 {
        self.overflows
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of home buckets.
    #[inline]
    pub(crate) fn home_bytes(&self) -> usize {
        self.homes.len as usize * BUCKET
    }

    /// Whether the numbers fit each other, so that what is looked for at random is found: one of a file may be anything.
    pub(crate) fn is_sound(&self) -> bool {
        let most = (u64::from(self.homes.len) + u64::from(self.overflows)) * SLOTS as u64;
        (self.homes.len > 0) == (self.len > 0)
            && u64::from(self.len) <= most
            && self.longest <= self.overflows
            && self.overflows <= self.len
    }

    /// Two words that [`Table::from_words`] makes the same table of.
    pub(crate) fn to_words(self) -> [u64; 2] {
        [
            u64::from(self.len) << 32 | u64::from(self.homes.len),
            u64::from(self.longest) << 32 | u64::from(self.overflows),
        ]
    }

    /// Reads what [`Table::to_words`] wrote.
    #[inline]
    pub(crate) fn from_words([first, second]: [u64; 2]) -> Self {
        Self {
            homes: Homes::of(first as u32),
            len: (first >> 32) as u32,
            overflows: second as u32,
            longest: (second >> 32) as u32,
        }
    }

    /// The entry of that hash for which `eq` is true. O(1); `eq` is asked about one entry in 256 in vain.
    #[inline]
    pub(crate) fn find(&self, lines: &impl Lines, hash: u64, eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let (node, slot) = self.locate(lines, hash, eq)?;
        Ref::new(bucket(lines, node).entry(slot))
    }

    /// Adds an entry that is not in the table. O(1): splits at most one bucket.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the table then holds what it held before.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        storage: &mut impl Storage,
        hash: u64,
        entry: Ref,
    ) -> Result<(), OutOfMemory> {
        if self.homes.len == 0 {
            storage.add_home(0)?;
            self.homes = Homes::of(1);
        }
        if u64::from(self.len) * 4 > (u64::from(self.homes.mask) + 1) * 39 {
            // Without memory for it the table works on, fuller.
            let _ = self.split(storage);
            self.foresee_split(storage);
        }
        let home = self.homes.home(hash);
        storage.own(home)?;
        self.append(storage, home, (tag_of(hash), entry.get()), &mut SmallVec::new())?;
        self.len += 1;
        Ok(())
    }

    /// Puts `new` in the place of `old`, of the same hash; false if `old` is not there. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] where the buckets are shared; nothing has changed.
    #[inline]
    pub(crate) fn replace(
        &self,
        storage: &mut impl Storage,
        hash: u64,
        old: Ref,
        new: Ref,
    ) -> Result<bool, OutOfMemory> {
        storage.own(self.homes.home(hash))?;
        let found = self.locate(storage, hash, |entry| entry == old);
        if let Some((node, slot)) = found {
            bucket(storage, node).set_entry(slot, new.get());
        }
        Ok(found.is_some())
    }

    /// Takes out the entry of that hash for which `eq` is true. O(1): merges at most one bucket.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the buckets are shared; nothing has changed.
    #[inline]
    pub(crate) fn remove(
        &mut self,
        storage: &mut impl Storage,
        hash: u64,
        eq: impl FnMut(Ref) -> bool,
    ) -> Result<Option<Ref>, OutOfMemory> {
        let home = self.homes.home(hash);
        if self.homes.len > 0 {
            storage.own(home)?;
        }
        let Some((node, slot)) = self.locate(storage, hash, eq) else { return Ok(None) };
        let entry = self.erase(storage, home, node, slot);
        self.len -= 1;
        if u64::from(self.len) * 2 < u64::from(self.homes.len.next_power_of_two()) * 5 && self.homes.len > 1 {
            // Without memory for it the table stays as large as it is.
            let _ = self.merge(storage);
        }
        Ok(entry)
    }

    /// Takes out everything. O(buckets).
    pub(crate) fn clear(&mut self, storage: &mut impl Storage) {
        for home in (0..self.homes.len).rev() {
            let mut link = storage.home(home).and_then(Bucket::link);
            while let Some(next) = link {
                link = bucket(storage, Node::Overflow(next)).link();
                storage.drop_overflow(next);
            }
            bucket(storage, Node::Home(home)).clear();
            storage.drop_home(home);
        }
        *self = Self::default();
    }

    /// Visits a few entries and returns the cursor to go on with: 0 begins an iteration and 0 ends it. Any cursor is
    /// valid. Entries present during the whole iteration are visited at least once. O(1).
    pub(crate) fn scan(&self, lines: &impl Lines, cursor: u64, mut visit: impl FnMut(Ref)) -> u64 {
        if self.homes.len == 0 {
            return 0;
        }
        for home in self.twins(cursor) {
            chain(lines, home).flat_map(Bucket::entries).for_each(&mut visit);
        }
        self.after(cursor)
    }

    /// Takes out what [`Table::scan`] would visit. Buckets stay, empty, for [`Table::clear`]; nothing else may be done with the table meanwhile.
    pub(crate) fn take_chain(
        &mut self,
        storage: &mut impl Storage,
        cursor: u64,
        mut visit: impl FnMut(Ref),
    ) -> u64 {
        if self.homes.len == 0 {
            return 0;
        }
        for home in self.twins(cursor) {
            let mut spare = SmallVec::new();
            let content = self.take_content(storage, home, &mut spare);
            self.len -= content.len() as u32;
            content.into_iter().filter_map(|(_, entry)| Ref::new(entry)).for_each(&mut visit);
            spare.into_iter().for_each(|spare| storage.drop_overflow(spare));
        }
        self.after(cursor)
    }

    /// As [`Table::scan`], but `relocate` may say that an entry, or an overflow bucket, is elsewhere from now on: it has copied it there.
    ///
    /// # Errors
    /// What `relocate` returns; what came before the one it failed at has been moved.
    pub(crate) fn relocate<S: Lines, E>(
        &self,
        storage: &mut S,
        cursor: u64,
        mut relocate: impl FnMut(&mut S, Block) -> Result<Option<Ref>, E>,
    ) -> Result<u64, E> {
        if self.homes.len == 0 {
            return Ok(0);
        }
        for home in self.twins(cursor) {
            let mut next = Some(Node::Home(home));
            while let Some(node) = next {
                for slot in slots(bucket(storage, node).occupied()) {
                    if let Some(at) = Ref::new(bucket(storage, node).entry(slot))
                        && let Some(new) = relocate(storage, Block::Entry(at))?
                    {
                        bucket(storage, node).set_entry(slot, new.get());
                    }
                }
                let link = bucket(storage, node).link();
                if let Some(at) = link
                    && let Some(new) = relocate(storage, Block::Overflow(at))?
                {
                    bucket(storage, node).set_link(Some(new));
                }
                next = bucket(storage, node).link().map(Node::Overflow);
            }
        }
        Ok(self.after(cursor))
    }

    /// The home buckets that a cursor stands for: one, or one and its twin.
    fn twins(&self, cursor: u64) -> impl Iterator<Item = u32> + use<> {
        let home = cursor as u32 & self.homes.mask;
        let twin = u64::from(home) + u64::from(self.homes.mask) + 1;
        let twin = (twin < u64::from(self.homes.len)).then_some(twin as u32);
        [home].into_iter().chain(twin)
    }

    /// The cursor that follows, in the order of bits counted from the top down.
    fn after(&self, cursor: u64) -> u64 {
        (cursor | !u64::from(self.homes.mask)).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// A uniformly random entry; `rng` gives uniform 64-bit numbers.
    ///
    /// Draws a home bucket and a place in the longest chain until one holds an entry: each place is as likely as any other. Takes 2 to 6
    /// draws, mostly, and one cache line each.
    pub(crate) fn random(&self, lines: &impl Lines, rng: &mut impl FnMut() -> u64) -> Option<Ref> {
        if self.len == 0 {
            return None;
        }
        let places = SLOTS as u64 * (u64::from(self.longest) + 1);
        let all = u128::from(self.homes.len) * u128::from(places);
        loop {
            let drawn = ((u128::from(rng()) * all) >> 64) as u64;
            let (home, place) = ((drawn / places) as u32, (drawn % places) as usize);
            let mut found = chain(lines, home).skip(place / SLOTS);
            if let Some(bucket) = found.next()
                && bucket.tag(place % SLOTS) != 0
            {
                return Ref::new(bucket.entry(place % SLOTS));
            }
        }
    }

    /// Visits all entries, in no order.
    pub(crate) fn each(&self, lines: &impl Lines, visit: impl FnMut(Ref)) {
        (0..self.homes.len).flat_map(|home| chain(lines, home)).flat_map(Bucket::entries).for_each(visit);
    }

    #[inline]
    fn locate(
        &self,
        lines: &impl Lines,
        hash: u64,
        mut eq: impl FnMut(Ref) -> bool,
    ) -> Option<(Node, usize)> {
        let tag = tag_of(hash);
        let mut node = Node::Home(self.homes.home(hash));
        let mut bucket = lines.home(self.homes.home(hash)).filter(|_| self.len > 0)?;
        loop {
            for slot in slots(bucket.matches(tag)) {
                if Ref::new(bucket.entry(slot)).is_some_and(&mut eq) {
                    return Some((node, slot));
                }
            }
            let link = bucket.link()?;
            node = Node::Overflow(link);
            bucket = lines.overflow(link)?;
        }
    }

    /// Adds to the end of a chain. A bucket that it lacks is taken from those that are spare, if there are any.
    #[inline]
    fn append(
        &mut self,
        storage: &mut impl Storage,
        home: u32,
        content: (u8, u32),
        spare: &mut SmallVec<[Ref; 4]>,
    ) -> Result<(), OutOfMemory> {
        let (tail, links) = tail(storage, home);
        let last = bucket(storage, tail);
        let vacant = last.matches(0);
        if vacant != 0 {
            last.put(vacant.trailing_zeros() as usize, content);
            return Ok(());
        }
        let link = match spare.pop() {
            Some(spare) => spare,
            None => storage.add_overflow()?,
        };
        bucket(storage, Node::Overflow(link)).put(0, content);
        bucket(storage, tail).set_link(Some(link));
        self.overflows += 1;
        self.longest = self.longest.max(links + 1);
        Ok(())
    }

    /// Empties a slot, filling it from the end of the chain.
    fn erase(&mut self, storage: &mut impl Storage, home: u32, node: Node, slot: usize) -> Option<Ref> {
        let (tail, _) = tail(storage, home);
        let (_, entry) = bucket(storage, node).take(slot);
        if tail != node {
            let last = bucket(storage, tail);
            let content = last.take(last.occupied().ilog2() as usize);
            bucket(storage, node).put(slot, content);
        }
        if let Node::Overflow(link) = tail
            && bucket(storage, tail).occupied() == 0
        {
            let before = chain(storage, home).find(|bucket| bucket.link() == Some(link));
            before.expect("an overflow bucket is linked").set_link(None);
            storage.drop_overflow(link);
            self.forget_overflow(1);
        }
        Ref::new(entry)
    }

    fn forget_overflow(&mut self, count: u32) {
        self.overflows -= count;
        if self.overflows == 0 {
            self.longest = 0;
        }
    }

    /// Empties a chain. Its overflow buckets, zero now, are added to those that are spare.
    fn take_content(
        &mut self,
        storage: &mut impl Storage,
        home: u32,
        spare: &mut SmallVec<[Ref; 4]>,
    ) -> SmallVec<[(u8, u32); 3 * SLOTS]> {
        let mut content = SmallVec::new();
        let mut next = Some(Node::Home(home));
        while let Some(node) = next {
            let bucket = bucket(storage, node);
            content.extend(slots(bucket.occupied()).map(|slot| (bucket.tag(slot), bucket.entry(slot))));
            next = bucket.link().map(Node::Overflow);
            bucket.clear();
            if let Node::Overflow(link) = node {
                spare.push(link);
                self.forget_overflow(1);
            }
        }
        content
    }

    /// Has the memory fetched that the next split needs, and the bucket that the one after it does: other shards have their turn before, so that it
    /// comes in time.
    fn foresee_split(&self, storage: &impl Storage) {
        let next = self.homes.len - (self.homes.mask + 1);
        if let Some(bucket) = storage.home(next) {
            bucket.entries().for_each(|entry| storage.prefetch(entry));
        }
        if let Some(bucket) = storage.home(next + 1) {
            prefetch(bucket.0);
        }
    }

    /// Adds a home bucket and moves what belongs there from its twin.
    #[inline(never)]
    fn split(&mut self, storage: &mut impl Storage) -> Result<(), OutOfMemory> {
        if self.homes.len == MOST_BUCKETS {
            return Err(OutOfMemory);
        }
        let n = self.homes.mask + 1;
        let to = self.homes.len;
        let from = to - n;
        storage.own(from)?;
        storage.add_home(to)?;
        self.homes = Homes::of(to + 1);
        let goes = |storage: &_, entry: u32| {
            Ref::new(entry).is_some_and(|entry| Storage::hash(storage, entry) & u64::from(n) != 0)
        };
        let source = bucket(storage, Node::Home(from));
        if source.link().is_none() {
            // All hashes first: their cache misses overlap.
            let going = slots(source.occupied())
                .fold(0, |bits, slot| bits | u32::from(goes(storage, source.entry(slot))) << slot);
            let target = bucket(storage, Node::Home(to));
            for (at, slot) in slots(going).enumerate() {
                target.put(at, source.take(slot));
            }
            return Ok(());
        }
        // Two chains never need more overflow buckets than the one had.
        let mut spare = SmallVec::new();
        for content in self.take_content(storage, from, &mut spare) {
            let home = if goes(storage, content.1) { to } else { from };
            self.append(storage, home, content, &mut spare).expect("the chain's own buckets are spare");
        }
        spare.into_iter().for_each(|spare| storage.drop_overflow(spare));
        Ok(())
    }

    /// Moves the last home bucket's entries to its twin and drops the bucket.
    #[inline(never)]
    fn merge(&mut self, storage: &mut impl Storage) -> Result<(), OutOfMemory> {
        let last = self.homes.len - 1;
        let homes = Homes::of(last);
        let twin = last & homes.mask;
        storage.own(last)?;
        storage.own(twin)?;
        let mut spare = SmallVec::new();
        let (moving, staying) = (bucket(storage, Node::Home(last)), bucket(storage, Node::Home(twin)));
        let joined = moving.occupied().count_ones() + staying.occupied().count_ones();
        if joined > SLOTS as u32 || staying.link().is_some() {
            // Joining two partly filled ends can take a bucket more than both had.
            spare.push(storage.add_overflow()?);
        }
        let content = self.take_content(storage, last, &mut spare);
        self.homes = homes;
        storage.drop_home(last);
        for content in content {
            self.append(storage, twin, content, &mut spare).expect("a bucket is spare");
        }
        spare.into_iter().for_each(|spare| storage.drop_overflow(spare));
        Ok(())
    }
}

/// What a table refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Entry(Ref),
    Overflow(Ref),
}

#[inline]
fn bucket(lines: &impl Lines, node: Node) -> Bucket<'_> {
    let found = match node {
        Node::Home(index) => lines.home(index),
        Node::Overflow(link) => lines.overflow(link),
    };
    found.expect("a table's buckets are there")
}

#[inline]
fn chain(lines: &impl Lines, home: u32) -> impl Iterator<Item = Bucket<'_>> {
    std::iter::successors(lines.home(home), |bucket| lines.overflow(bucket.link()?))
}

/// The last bucket of a chain, and how many links lead to it.
#[inline]
fn tail(lines: &impl Lines, home: u32) -> (Node, u32) {
    let (mut node, mut links) = (Node::Home(home), 0);
    while let Some(link) = bucket(lines, node).link() {
        (node, links) = (Node::Overflow(link), links + 1);
    }
    (node, links)
}

#[cfg(test)]
mod tests;
