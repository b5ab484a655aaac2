//! The storage of a collection: elements in blocks of words, found through a bucket table. A large collection is a small arena.
//! What elements are is left to their type, which says how long one is and what it is hashed by ([`Elements`]). It stays whole: all of it reads and writes the numbers of one root.
//!
//! **Root.** All that a collection is hangs from its root, a few words that stand in the entry of its key: numbers, no pointers. While the collection
//! is small, buckets and blocks stand there, too; one that outgrows a page has both in pages of its own ([`super::memory::chunks`]), and a root of fixed
//! size. So a copy takes the root and shares the pages.
//!
//! ```text
//! word 0-1  the table's numbers
//! word 2    form: 0 small, 1 in pages; from bit 8 the height of the tree of bucket pages, from 16 that of block pages; the upper half is the type's
//! word 3-5  the type's
//! word 6    small: words of blocks, and above them those given up; in pages: next fresh word and the end of its page
//! small:    word 7 home buckets, and above them the first block given up, plus one; then these buckets, then blocks
//! in pages: word 7 pages of blocks, and above them the first that is vacant, plus one; 8 pages, and above them words in use; 9-26 free blocks by
//!           size; 27-42 the root of bucket pages; 43-58 that of block pages
//! ```
//!
//! **References** of the table name blocks. Where a type has marked ones ([`Elements::MARKED`]), a reference may also be an element itself, a number of 30
//! bits, which takes no block; or name a block that is filled by a text of whole words, and tell its length, so that there is no head.
//!
//! **Blocks** are named by the number of their first word plus one; each stands in one page, or, if it is longer, in a run of pages of its own. Freed
//! blocks of a size form a list threaded through them, as an arena's do. A small collection has them in one list, for when it has pages, and is
//! written anew when they are many ([`Collection::is_wasteful`]).

mod editor;
pub(crate) mod tree;
mod view;

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use super::key::HashSeed;
use super::memory::chunks::{self, MARK, PAGE_WORDS, PutPages, ROOT_WORDS};
use super::memory::words::Words;
use super::memory::{OutOfMemory, PAGE, Pool, Ref};
use super::table::{BUCKET, Table};
use crate::sync::Arc;
use editor::Editor;
pub(crate) use view::{Held, View};

/// What elements are: bytes that tell their own length.
pub(crate) trait Elements {
    /// Whether there are marked references.
    const MARKED: bool = false;

    /// The hash of a number that stands in the table itself.
    fn hash_of_number(_: &HashSeed, number: u32) -> u64 {
        unreachable!("{number}: none of these elements is a number");
    }

    /// Bytes of the element that begins there. As many bytes as any head takes are there, or all that are left.
    fn size(head: &[u8]) -> usize;

    /// What an element is hashed by.
    fn key(element: &[u8]) -> &[u8];
}

/// The longest root of a small collection, in words: a page.
const SMALL: usize = PAGE_WORDS;
const SMALL_HEAD: usize = 8;
const HOMES: usize = 7;
/// Words of the root of a collection in pages.
const PAGED: usize = 59;
const FORM: usize = 2;
const SPACE: usize = 6;
const BLOCK_PAGES: usize = 7;
const COUNTS: usize = 8;
const LISTS: usize = 9;
const BUCKET_ROOT: usize = 27;
const BLOCK_ROOT: usize = BUCKET_ROOT + ROOT_WORDS;
const _: () = assert!(BLOCK_ROOT + ROOT_WORDS == PAGED);

/// The bit of a marked reference: a number, or, if the next bit is set as well, a block without a head.
const MARKED: u32 = 1 << 31;
const WHOLE: u32 = 1 << 30;
/// Runs of pages for blocks are fewer than this, so that no block's number has the mark.
const MOST_RUNS: usize = (MARKED as usize / PAGE_WORDS) - 1;
/// Bits of a number that is an element itself.
pub(crate) const NUMBER_BITS: u32 = 30;
/// A block without a head is told by a number of so many bits; its length in words, less one, stands above that.
const WHOLE_BITS: u32 = 27;
const LONGEST_WHOLE: usize = 8 << (NUMBER_BITS - WHOLE_BITS);

/// Freed blocks of up to so many words have a list for each size, longer ones for each doubling.
const EXACT: usize = 32;
/// Longer blocks that are looked at for one that fits.
const LOOKS: usize = 8;
/// Buckets of a page.
const OF_A_PAGE: u32 = (PAGE / BUCKET) as u32;

/// The numbers of a root that the type keeps: three words, and half of one.
#[derive(Clone, Copy)]
pub(crate) enum Own {
    Half,
    First,
    Second,
    Third,
}

impl Own {
    fn place(self) -> (usize, u32) {
        match self {
            Own::Half => (FORM, 32),
            Own::First => (3, 0),
            Own::Second => (4, 0),
            Own::Third => (5, 0),
        }
    }
}

fn half(word: u64, upper: bool) -> usize {
    (if upper { word >> 32 } else { word }) as u32 as usize
}

/// A collection that is changed: a root that stands in no entry, or not at the moment. It owns its pages.
pub(crate) struct Collection {
    root: Vec<AtomicU64>,
    pool: Arc<Pool>,
    /// Counted as gone already.
    has_departed: bool,
    /// An entry owns the pages.
    has_left: bool,
}

impl Collection {
    /// An empty one.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self {
            root: (0..SMALL_HEAD).map(|_| AtomicU64::new(0)).collect(),
            pool,
            has_departed: false,
            has_left: false,
        }
    }

    /// The collection of a root as it stands in an entry. Whoever calls this sees to it that the pages have one owner.
    pub(crate) fn of(root: Words<'_>, pool: Arc<Pool>) -> Self {
        /// Words that most edits take at most: then the root need not be copied again.
        const EDIT: usize = 16;
        let mut words = Vec::with_capacity(root.len() + EDIT);
        words.extend((0..root.len()).map(|at| AtomicU64::new(root.word(at))));
        Self { root: words, pool, has_departed: false, has_left: false }
    }

    /// The root, as it is to stand in an entry. Whoever puts it there forgets the collection.
    pub(crate) fn root(&self) -> &[AtomicU64] {
        &self.root
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { root: Words::new(&self.root), region: self.pool.region() }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// A copy, which shares the pages. O(1).
    pub(crate) fn share(&self) -> Self {
        if self.view().is_paged() {
            self.view().bucket_pages().share(&self.pool);
            self.view().block_pages().share(&self.pool);
        }
        Self::of(Words::new(&self.root), self.pool.clone())
    }

    /// Hands the pages on, copies of which `put` keeps elsewhere, and returns the root that a collection of those has. O(pages).
    ///
    /// # Errors
    /// The first of `put`.
    pub(crate) fn copy_pages(&self, put: PutPages<'_>) -> crate::Result<Vec<u64>> {
        let mut root: Vec<u64> = (0..self.root.len()).map(|at| self.word(at)).collect();
        if self.view().is_paged() {
            let view = self.view();
            for (tree, at) in [(view.bucket_pages(), BUCKET_ROOT), (view.block_pages(), BLOCK_ROOT)] {
                let root = &mut root[at..at + ROOT_WORDS];
                root.fill(0);
                tree.copy_pages(&self.pool, root, put)?;
            }
        }
        Ok(root)
    }

    /// Whether an entry that holds the [root](Self::root) owns the pages, which then outlive this.
    pub(crate) fn set_left(&mut self, has_left: bool) {
        self.has_left = has_left;
    }

    /// Counts its pages as gone, though they go when it is dropped.
    pub(crate) fn depart(&mut self) {
        if !std::mem::replace(&mut self.has_departed, true) {
            self.pool.depart(self.view().pages());
        }
    }

    /// Whether it has pages beside its root, which is of fixed size then.
    pub(crate) fn is_in_pages(&self) -> bool {
        self.view().is_paged()
    }

    fn word(&self, at: usize) -> u64 {
        Words::new(&self.root).word(at)
    }

    fn set_word(&self, at: usize, word: u64) {
        Words::new(&self.root).set_word(at, word);
    }

    fn set_half(&self, at: usize, upper: bool, value: usize) {
        let (value, word) = (value as u32, self.word(at));
        self.set_word(
            at,
            if upper {
                word & 0xffff_ffff | u64::from(value) << 32
            } else {
                word & !0xffff_ffff | u64::from(value)
            },
        );
    }

    /// Sets a number of the type's.
    pub(crate) fn set_own(&mut self, which: Own, value: u64) {
        match which {
            Own::Half => self.set_half(FORM, true, value as usize),
            _ => self.set_word(which.place().0, value),
        }
    }

    fn set_table(&self, table: Table) {
        for (at, word) in table.to_words().into_iter().enumerate() {
            self.set_word(at, word);
        }
    }

    /// Whether blocks that were given up take so much more than those in use that it should be written anew; it is short then.
    pub(crate) fn is_wasteful(&self) -> bool {
        /// Words that are copied within some ten microseconds.
        const SHORT: usize = 8192;
        if self.view().is_paged() {
            let (pages, used) = (self.view().pages(), half(self.word(COUNTS), true));
            return used <= SHORT
                && pages > 8
                && (pages - 4) * PAGE_WORDS > 4 * (used + self.view().table().home_count() as usize * 8);
        }
        let (blocks, given_up) = (half(self.word(SPACE), false), half(self.word(SPACE), true));
        given_up > 8 && given_up * 2 > blocks
    }

    /// Adds an element that is not there, in parts, and returns where it is. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn insert<E: Elements, const N: usize>(
        &mut self,
        seed: &HashSeed,
        key: &[u8],
        parts: [&[u8]; N],
    ) -> Result<Ref, OutOfMemory> {
        let block = self.store(parts)?;
        let mut table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let inserted = table.insert(&mut editor, seed.hash(key), block);
        self.set_table(table);
        match inserted {
            Ok(()) => Ok(block),
            Err(error) => {
                self.free(block, words_in(&parts));
                Err(error)
            }
        }
    }

    /// Writes another element of the same key over the one at `block`, whose bytes are so many. Returns where it is now. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn replace<E: Elements, const N: usize>(
        &mut self,
        seed: &HashSeed,
        key: &[u8],
        (block, size): (Ref, usize),
        parts: [&[u8]; N],
    ) -> Result<(), OutOfMemory> {
        let (before, after) = (size.div_ceil(8), words_in(&parts));
        if before == after && self.own_block(block, after) {
            self.view().words(block).write(0, parts);
            return Ok(());
        }
        let new = self.store(parts)?;
        let table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let replaced = table.replace(&mut editor, seed.hash(key), block, new);
        debug_assert!(replaced != Ok(false), "an element that was found is in the table");
        self.free(if replaced.is_ok() { block } else { new }, if replaced.is_ok() { before } else { after });
        replaced.map(|_| ())
    }

    /// Removes the element at `block`, whose bytes are so many. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] where its buckets are shared; nothing has changed.
    pub(crate) fn remove<E: Elements>(
        &mut self,
        seed: &HashSeed,
        key: &[u8],
        (block, size): (Ref, usize),
    ) -> Result<(), OutOfMemory> {
        let mut table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let removed = table.remove(&mut editor, seed.hash(key), |other| other == block);
        self.set_table(table);
        removed.map(|_| self.free(block, size.div_ceil(8)))
    }

    /// Adds a number of [`NUMBER_BITS`] that is not there. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn insert_number<E: Elements>(
        &mut self,
        seed: &HashSeed,
        number: u32,
    ) -> Result<(), OutOfMemory> {
        let mut table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let inserted = table.insert(&mut editor, E::hash_of_number(seed, number), reference_of(number));
        self.set_table(table);
        inserted
    }

    /// Adds a text that is not there in a block without a head, if it [can have](can_be_whole) one; false if not. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn insert_whole<E: Elements>(
        &mut self,
        seed: &HashSeed,
        text: &[u8],
    ) -> Result<bool, OutOfMemory> {
        if !can_be_whole(text.len()) {
            return Ok(false);
        }
        let (block, words) = (self.store([text])?, text.len() / 8);
        if block.get() >> WHOLE_BITS != 0 {
            // In a collection of more than a gigabyte.
            self.free(block, words);
            return Ok(false);
        }
        let reference = block.get() | (words as u32 - 1) << WHOLE_BITS | WHOLE | MARKED;
        let reference = Ref::new(reference).expect("it has a bit");
        let mut table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let inserted = table.insert(&mut editor, seed.hash(text), reference);
        self.set_table(table);
        inserted.inspect_err(|_| self.free(block, words)).map(|()| true)
    }

    /// Removes the element of a reference, whose hash this is. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] where its buckets are shared; nothing has changed.
    pub(crate) fn remove_reference<E: Elements>(
        &mut self,
        seed: &HashSeed,
        hash: u64,
        reference: Ref,
    ) -> Result<(), OutOfMemory> {
        let freed = match self.view().held::<E>(reference) {
            Held::Number(_) => None,
            Held::Whole(text) => Some((whole_block(reference), text.len() / 8)),
            Held::Bytes(element) => Some((reference, element.len().div_ceil(8))),
        };
        let mut table = self.view().table();
        let mut editor = Editor::<E> { collection: self, seed, elements: PhantomData };
        let removed = table.remove(&mut editor, hash, |other| other == reference);
        self.set_table(table);
        removed?;
        if let Some((block, words)) = freed {
            self.free(block, words);
        }
        Ok(())
    }

    /// A block with this content, which is in no table: whoever stores it keeps its number, and [frees](Self::free) it. O(length).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn store<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<Ref, OutOfMemory> {
        let block = self.alloc(words_in(&parts))?;
        self.view().words(block).write(0, parts);
        Ok(block)
    }

    /// Makes a block the collection's own, so that it can be written to. O(1), or O(length) of a shared one above a page.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed but for who owns what.
    pub(crate) fn own(&self, block: Ref) -> Result<(), OutOfMemory> {
        if self.view().is_paged() {
            self.view().block_pages().own(&self.pool, (block.get() as usize - 1) / PAGE_WORDS)?;
        }
        Ok(())
    }

    /// Writes `parts`, one after the other, from byte `from` of a block on, which is its [own](Self::own) and long enough.
    pub(crate) fn write<const N: usize>(&mut self, block: Ref, from: usize, parts: [&[u8]; N]) {
        self.view().words(block).write(from, parts);
    }

    /// Makes the words of a block the collection's own; false if they can't be, or if that would be dearer than another block.
    fn own_block(&self, block: Ref, words: usize) -> bool {
        if !self.view().is_paged() {
            return true;
        }
        let index = (block.get() as usize - 1) / PAGE_WORDS;
        let is_whole_run = words > PAGE_WORDS;
        let view = self.view();
        if is_whole_run && view.block_pages().is_shared(&self.pool, index) {
            return false;
        }
        view.block_pages().own(&self.pool, index).is_ok()
    }

    /// A block of so many words, whatever stands in them, which is in no table. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn alloc(&mut self, words: usize) -> Result<Ref, OutOfMemory> {
        if !self.view().is_paged() {
            if self.root.len() + words <= SMALL {
                let at = half(self.word(SPACE), false);
                self.root.extend((0..words).map(|_| AtomicU64::new(0)));
                self.set_half(SPACE, false, at + words);
                return Ok(block_at(at));
            }
            self.move_to_pages()?;
        }
        let at = self.alloc_in_pages(words)?;
        self.set_half(COUNTS, true, half(self.word(COUNTS), true) + words);
        Ok(block_at(at))
    }

    fn alloc_in_pages(&mut self, words: usize) -> Result<usize, OutOfMemory> {
        if words > PAGE_WORDS {
            let pages = words.div_ceil(PAGE_WORDS);
            return Ok(self.add_block_page(pages)? * PAGE_WORDS);
        }
        if let Some(at) = self.take_exact(words)? {
            return Ok(at);
        }
        let (fresh, end) = (half(self.word(SPACE), false), half(self.word(SPACE), true));
        if end - fresh < words {
            if let Some(at) = self.take_longer(words)? {
                return Ok(at);
            }
            let page = self.add_block_page(1)?;
            if end > fresh {
                self.give_up(fresh, end - fresh);
            }
            self.set_half(SPACE, false, page * PAGE_WORDS + words);
            self.set_half(SPACE, true, (page + 1) * PAGE_WORDS);
            return Ok(page * PAGE_WORDS);
        }
        // The open page may be shared by now.
        self.view().block_pages().own(&self.pool, fresh / PAGE_WORDS)?;
        self.set_half(SPACE, false, fresh + words);
        Ok(fresh)
    }

    /// Takes a run of pages for blocks and returns its number.
    fn add_block_page(&mut self, pages: usize) -> Result<usize, OutOfMemory> {
        let (len, vacant) = (half(self.word(BLOCK_PAGES), false), half(self.word(BLOCK_PAGES), true));
        let index = vacant.checked_sub(1).unwrap_or(len);
        if index >= MOST_RUNS {
            return Err(OutOfMemory);
        }
        let next = if vacant > 0 { self.view().block_pages().marked(self.pool.region(), index) } else { 0 };
        self.raise(false, index)?;
        let run = self.pool.take_shareable(pages)?;
        if let Err(error) = self.view().block_pages().put(&self.pool, index, run.first + 1) {
            self.pool.release(run.first, |_| ());
            return Err(error);
        }
        if vacant > 0 {
            self.set_half(BLOCK_PAGES, true, next as usize);
        } else {
            self.set_half(BLOCK_PAGES, false, len + 1);
        }
        self.count_pages(pages as isize);
        Ok(index)
    }

    fn raise(&mut self, of_buckets: bool, index: usize) -> Result<(), OutOfMemory> {
        let view = self.view();
        let (tree, shift) = if of_buckets { (view.bucket_pages(), 8) } else { (view.block_pages(), 16) };
        let height = tree.raise(&self.pool, index)?;
        self.set_word(FORM, self.word(FORM) & !(0xff << shift) | u64::from(height) << shift);
        Ok(())
    }

    fn count_pages(&self, change: isize) {
        self.set_half(COUNTS, false, half(self.word(COUNTS), false).wrapping_add_signed(change));
    }

    /// Lengthens a block of so many words by some more where it stands, if it is the last of a small collection that has room. Says whether it did.
    pub(crate) fn extend(&mut self, block: Ref, words: usize, more: usize) -> bool {
        let used = half(self.word(SPACE), false);
        let is_last = block.get() as usize - 1 + words == used;
        if self.view().is_paged() || !is_last || self.root.len() + more > SMALL {
            return false;
        }
        self.root.extend((0..more).map(|_| AtomicU64::new(0)));
        self.set_half(SPACE, false, used + more);
        true
    }

    /// Gives the end of a block of so many words back, which is not longer than a page: from word `kept` on.
    pub(crate) fn shorten(&mut self, block: Ref, words: usize, kept: usize) {
        debug_assert!(kept < words && words <= PAGE_WORDS, "runs of pages are given back whole");
        self.free(block_at(block.get() as usize - 1 + kept), words - kept);
    }

    /// Gives a block of so many words back, which nothing refers to any more.
    pub(crate) fn free(&mut self, block: Ref, words: usize) {
        let at = block.get() as usize - 1;
        if !self.view().is_paged() {
            let used = half(self.word(SPACE), false);
            if at + words == used {
                self.root.truncate(self.root.len() - words);
                self.set_half(SPACE, false, at);
            } else {
                let next = half(self.word(HOMES), true);
                self.view().words(block).set_word(0, free_word(words, next));
                self.set_half(HOMES, true, at + 1);
                self.set_half(SPACE, true, half(self.word(SPACE), true) + words);
            }
            return;
        }
        self.set_half(COUNTS, true, half(self.word(COUNTS), true) - words);
        if words > PAGE_WORDS {
            let vacant = half(self.word(BLOCK_PAGES), true);
            let index = at / PAGE_WORDS;
            if let Ok(slot) = self.view().block_pages().put(&self.pool, index, MARK | vacant as u32) {
                self.set_half(BLOCK_PAGES, true, index + 1);
                self.pool.release(slot - 1, |_| ());
                self.count_pages(-(words.div_ceil(PAGE_WORDS) as isize));
            }
            return;
        }
        self.give_up(at, words);
    }

    /// Puts words on the list of their size. Where their page is shared and there is no memory for another, they are lost until the collection is
    /// written anew.
    fn give_up(&mut self, at: usize, words: usize) {
        let Ok(page) = self.view().block_pages().own(&self.pool, at / PAGE_WORDS) else { return };
        let list = list_of(words);
        page.set_word(at % PAGE_WORDS, free_word(words, self.first_free(list)));
        self.set_first_free(list, at + 1);
    }

    fn first_free(&self, list: usize) -> usize {
        half(self.word(LISTS + list / 2), !list.is_multiple_of(2))
    }

    fn set_first_free(&self, list: usize, first: usize) {
        self.set_half(LISTS + list / 2, !list.is_multiple_of(2), first);
    }

    /// The length of a free block, and the next of its list.
    fn free_block(&self, at: usize) -> (usize, usize) {
        let word = self.view().words(block_at(at)).word(0);
        (half(word, true), half(word, false))
    }

    /// The first free block of exactly this size.
    fn take_exact(&mut self, words: usize) -> Result<Option<usize>, OutOfMemory> {
        let list = list_of(words);
        let first = self.first_free(list);
        if words > EXACT || first == 0 {
            return Ok(None);
        }
        let at = first - 1;
        self.view().block_pages().own(&self.pool, at / PAGE_WORDS)?;
        self.set_first_free(list, self.free_block(at).1);
        Ok(Some(at))
    }

    /// Part of a longer free block.
    fn take_longer(&mut self, words: usize) -> Result<Option<usize>, OutOfMemory> {
        for list in list_of(words)..=list_of(PAGE_WORDS) {
            let (mut before, mut next) = (None, self.first_free(list));
            for _ in 0..LOOKS {
                let Some(at) = next.checked_sub(1) else { break };
                let (len, behind) = self.free_block(at);
                if len >= words {
                    self.view().block_pages().own(&self.pool, at / PAGE_WORDS)?;
                    match before {
                        None => self.set_first_free(list, behind),
                        Some(before) => {
                            let page = self.view().block_pages().own(&self.pool, before / PAGE_WORDS)?;
                            let (len, _) = self.free_block(before);
                            page.set_word(before % PAGE_WORDS, free_word(len, behind));
                        }
                    }
                    if len > words {
                        self.give_up(at + words, len - words);
                    }
                    return Ok(Some(at));
                }
                (before, next) = (Some(at), behind);
            }
        }
        Ok(None)
    }

    /// Moves buckets and blocks out of the root, unless they are. Blocks keep their numbers.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn move_to_pages(&mut self) -> Result<(), OutOfMemory> {
        if self.is_in_pages() {
            return Ok(());
        }
        let (homes, blocks) = (self.view().homes(), half(self.word(SPACE), false));
        let given_up = half(self.word(SPACE), true);
        let old = std::mem::take(&mut self.root);
        self.root = (0..PAGED).map(|_| AtomicU64::new(0)).collect();
        let old = Words::new(&old);
        Words::new(&self.root).copy_from(old, SPACE);
        self.set_word(FORM, old.word(FORM) | 1);
        let moved = (|| {
            if homes > 0 {
                self.add_bucket_page(0)?;
            }
            if blocks > 0 {
                self.add_block_page(1)?;
            }
            Ok(())
        })();
        if let Err(error) = moved {
            self.release();
            self.root = (0..old.len()).map(|at| AtomicU64::new(old.word(at))).collect();
            return Err(error);
        }
        let view = self.view();
        if let Some(page) = view.bucket_pages().words(self.pool.region(), 0) {
            page.copy_from(old.from(SMALL_HEAD), homes * 8);
        }
        if let Some(page) = view.block_pages().words(self.pool.region(), 0) {
            page.copy_from(old.from(SMALL_HEAD + homes * 8), blocks);
            self.set_half(SPACE, false, blocks);
            self.set_half(SPACE, true, PAGE_WORDS);
        }
        self.set_half(COUNTS, true, blocks - given_up);
        let mut next = half(old.word(HOMES), true);
        while let Some(at) = next.checked_sub(1) {
            let (words, behind) = self.free_block(at);
            self.give_up(at, words);
            next = behind;
        }
        Ok(())
    }

    fn add_bucket_page(&mut self, index: usize) -> Result<(), OutOfMemory> {
        self.raise(true, index)?;
        let page = chunks::zeroed(&self.pool)?.first;
        match self.view().bucket_pages().put(&self.pool, index, page + 1) {
            // What could not be dropped for lack of memory.
            Ok(before @ 1..) => self.pool.release(before - 1, |_| ()),
            Ok(_) => self.count_pages(1),
            Err(error) => {
                self.pool.release(page, |_| ());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Without memory to make the way there its own, the page stays.
    fn drop_bucket_page(&mut self, index: usize) {
        if let Ok(before @ 1..) = self.view().bucket_pages().put(&self.pool, index, 0) {
            self.pool.release(before - 1, |_| ());
            self.count_pages(-1);
        }
    }

    /// Ends the use of all pages.
    fn release(&mut self) {
        if self.view().is_paged() {
            self.view().bucket_pages().release(&self.pool);
            self.view().block_pages().release(&self.pool);
        }
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        // Before the pages go, so that a process forked meanwhile counts rather too much than too little.
        if self.has_departed {
            self.pool.arrive(self.view().pages());
        }
        self.release();
    }
}

fn words_in<const N: usize>(parts: &[&[u8]; N]) -> usize {
    parts.iter().map(|part| part.len()).sum::<usize>().div_ceil(8).max(1)
}

/// The first word of a free block.
fn free_word(words: usize, next: usize) -> u64 {
    (words as u64) << 32 | next as u64
}

fn block_at(at: usize) -> Ref {
    Ref::new(at as u32 + 1).expect("numbers are counted from one")
}

/// The reference that is a number itself.
fn reference_of(number: u32) -> Ref {
    Ref::new(number | MARKED).expect("it has a bit")
}

/// Whether a text of that length fills a block without a head.
pub(crate) fn can_be_whole(len: usize) -> bool {
    (8..=LONGEST_WHOLE).contains(&len) && len.is_multiple_of(8)
}

/// The block of a reference to one without a head.
#[inline]
fn whole_block(reference: Ref) -> Ref {
    Ref::new(reference.get() & ((1 << WHOLE_BITS) - 1)).expect("blocks are counted from one")
}

/// The list of free blocks of so many words.
fn list_of(words: usize) -> usize {
    if words <= EXACT { words - 1 } else { EXACT + (words - 1).ilog2() as usize - EXACT.ilog2() as usize }
}

#[cfg(test)]
mod tests;
