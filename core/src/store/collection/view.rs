//! A collection that is read, where its root stands. Changing one is the affair of [`super::Collection`].

use super::{
    BLOCK_PAGES, BLOCK_ROOT, BUCKET_ROOT, COUNTS, Elements, FORM, HOMES, MARKED, OF_A_PAGE, Own, SMALL_HEAD,
    WHOLE, WHOLE_BITS, half, whole_block,
};
use crate::store::key::HashSeed;
use crate::store::memory::chunks::{Chunks, PAGE_WORDS, ROOT_WORDS};
use crate::store::memory::words::{Block, Words};
use crate::store::memory::{Ref, Region};
use crate::store::table::{Bucket, Lines, Table};

/// A collection that is read: its root, and where its pages are.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) root: Words<'a>,
    pub(super) region: &'a Region,
}

/// What a reference of the table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held<'a> {
    /// A number.
    Number(u32),
    /// A text that has a block without a head.
    Whole(&'a [u8]),
    /// An element, from its first byte to its last.
    Bytes(&'a [u8]),
}

impl<'a> View<'a> {
    /// The collection of a root that nobody writes to meanwhile.
    #[inline]
    pub(crate) fn new(root: Words<'a>, region: &'a Region) -> Self {
        Self { root, region }
    }

    #[inline]
    pub(crate) fn table(self) -> Table {
        Table::from_words([self.root.word(0), self.root.word(1)])
    }

    /// Number of elements.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.table().len()
    }

    /// A number of the type's.
    #[inline]
    pub(crate) fn own(self, which: Own) -> u64 {
        let (at, shift) = which.place();
        self.root.word(at) >> shift
    }

    /// Home buckets that stand in a small root.
    #[inline]
    pub(super) fn homes(self) -> usize {
        half(self.root.word(HOMES), false)
    }

    #[inline]
    pub(super) fn is_paged(self) -> bool {
        self.root.word(FORM) & 0xff != 0
    }

    pub(super) fn bucket_pages(self) -> Chunks<'a> {
        Chunks::new(self.root.from(BUCKET_ROOT).first(ROOT_WORDS), (self.root.word(FORM) >> 8) as u32 & 0xff)
    }

    pub(super) fn block_pages(self) -> Chunks<'a> {
        Chunks::new(self.root.from(BLOCK_ROOT).first(ROOT_WORDS), (self.root.word(FORM) >> 16) as u32 & 0xff)
    }

    /// Pages that it has beside its root.
    pub(crate) fn pages(self) -> usize {
        if !self.is_paged() {
            return 0;
        }
        let (buckets, blocks) =
            (self.table().home_count().div_ceil(OF_A_PAGE), half(self.root.word(BLOCK_PAGES), false));
        let ways = self.bucket_pages().ways(buckets as usize) + self.block_pages().ways(blocks);
        half(self.root.word(COUNTS), false) + ways
    }

    /// The words from a block's first to the end of its page, or of its run.
    #[inline]
    pub(crate) fn words(self, block: Ref) -> Words<'a> {
        let at = block.get() as usize - 1;
        if self.is_paged() {
            let words =
                self.block_pages().words(self.region, at / PAGE_WORDS).expect("a block's page is there");
            return words.from(at % PAGE_WORDS);
        }
        self.root.from(SMALL_HEAD + self.homes() * 8 + at)
    }

    /// Bytes of a block, from byte `from` on. There are so many.
    #[inline]
    pub(crate) fn bytes(self, block: Ref, from: usize, len: usize) -> &'a [u8] {
        Block::new(self.words(block)).bytes(from, len)
    }

    /// Word number `at` of a block. There are so many.
    #[inline]
    pub(crate) fn word_of(self, block: Ref, at: usize) -> u64 {
        self.words(block).word(at)
    }

    /// An element, from its first byte to its last.
    #[inline]
    pub(crate) fn element<E: Elements>(self, block: Ref) -> &'a [u8] {
        let words = self.words(block);
        let left =
            if self.is_paged() { PAGE_WORDS - (block.get() as usize - 1) % PAGE_WORDS } else { words.len() };
        let bytes = Block::new(words);
        let head = bytes.bytes(0, left * 8);
        let size = E::size(head);
        head.get(..size).unwrap_or_else(|| bytes.bytes(0, size))
    }

    /// The element, or the number, that a reference stands for.
    #[inline]
    pub(crate) fn held<E: Elements>(self, entry: Ref) -> Held<'a> {
        if E::MARKED && entry.get() & MARKED != 0 {
            return self.marked(entry);
        }
        Held::Bytes(self.element::<E>(entry))
    }

    fn marked(self, entry: Ref) -> Held<'a> {
        if entry.get() & WHOLE == 0 {
            return Held::Number(entry.get() & !MARKED);
        }
        let words = ((entry.get() & !(MARKED | WHOLE)) >> WHOLE_BITS) as usize + 1;
        Held::Whole(Block::new(self.words(whole_block(entry))).bytes(0, words * 8))
    }

    /// The element with this key. O(1).
    #[inline]
    pub(crate) fn find<E: Elements>(self, seed: &HashSeed, key: &[u8]) -> Option<(Ref, &'a [u8])> {
        let mut found = None;
        let block = self.table().find(&self, seed.hash(key), |block| {
            let element = self.element::<E>(block);
            let is_it = E::key(element) == key;
            if is_it {
                found = Some(element);
            }
            is_it
        })?;
        Some((block, found?))
    }

    /// The reference of this hash for whose element `is_it` holds. O(1).
    #[inline]
    pub(crate) fn find_held<E: Elements>(
        self,
        hash: u64,
        mut is_it: impl FnMut(Held<'a>) -> bool,
    ) -> Option<Ref> {
        self.table().find(&self, hash, |entry| is_it(self.held::<E>(entry)))
    }

    /// Visits all elements, in no order.
    pub(crate) fn each<E: Elements>(self, mut visit: impl FnMut(&'a [u8])) {
        self.table().each(&self, |block| visit(self.element::<E>(block)));
    }

    /// Visits a few references and returns the cursor to go on with, as [`Table::scan`].
    pub(crate) fn scan_references(self, cursor: u64, visit: impl FnMut(Ref)) -> u64 {
        self.table().scan(&self, cursor, visit)
    }

    /// A uniformly random reference.
    pub(crate) fn random_reference(self, rng: &mut impl FnMut() -> u64) -> Option<Ref> {
        self.table().random(&self, rng)
    }

    /// Visits a few elements and returns the cursor to go on with, as [`Table::scan`].
    pub(crate) fn scan<E: Elements>(self, cursor: u64, mut visit: impl FnMut(&'a [u8])) -> u64 {
        self.table().scan(&self, cursor, |block| visit(self.element::<E>(block)))
    }

    /// A uniformly random element.
    pub(crate) fn random<E: Elements>(self, rng: &mut impl FnMut() -> u64) -> Option<&'a [u8]> {
        Some(self.element::<E>(self.table().random(&self, rng)?))
    }
}

impl Lines for View<'_> {
    #[inline]
    fn home(&self, index: u32) -> Option<Bucket<'_>> {
        self.home_of(index)
    }

    #[inline]
    fn overflow(&self, link: Ref) -> Option<Bucket<'_>> {
        Some(Bucket(self.words(link).eight(0)))
    }
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn home_of(self, index: u32) -> Option<Bucket<'a>> {
        if !self.is_paged() {
            let is_there = (index as usize) < self.homes();
            return is_there.then(|| Bucket(self.root.eight(SMALL_HEAD + index as usize * 8)));
        }
        let words = self.bucket_pages().words(self.region, (index / OF_A_PAGE) as usize)?;
        Some(Bucket(words.eight((index % OF_A_PAGE) as usize * 8)))
    }
}
