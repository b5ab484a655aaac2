//! Chunks of records, side by side without a hole: the memory of containers that hold many records.
//! How chunks hang together is the containers' business ([`super::records`], [`super::calendar`]).
//!
//! A chunk that is given up is filled with the last one, so what is kept is always as long as what is in it, whatever grew and
//! shrank before; pages behind the last chunk go back to the system. The memory is a region of its own and not from an allocator
//! shared with others, in which chunks of all ages would hold each other's pages.
//!
//! **A chunk** is 256 bytes: a link to the next, one back to whoever names it, two times, and 48 records of database 0; or
//! 26 of any database. Links are a chunk's number plus one, so that 0 is none.

use std::alloc::{Layout, handle_alloc_error};

use super::Record;
use super::ticks::SHORT_BITS;
use crate::store::memory::words::Words;
use crate::store::memory::{PAGE, Ref, Region};

/// Words of a chunk, and those before its records.
const WORDS: usize = 32;
const HEAD: usize = 2;
/// Records of database 0 in a chunk, and of others.
pub(crate) const NARROW: usize = 48;
const WIDE: usize = 26;
const BYTES: usize = WORDS * size_of::<u64>();
/// Chunks of a page.
const OF_A_PAGE: usize = PAGE / BYTES;
/// Links have so many bits.
const LINK_BITS: u32 = 25;

/// Address space of a shelf: for all chunks that links can name.
const SPACE: usize = if cfg!(tsan) { 64 << 20 } else { BYTES << LINK_BITS };

/// See the module's text.
#[derive(Default)]
pub(crate) struct Shelf {
    /// Reserved with the first chunk.
    region: Option<Region>,
    len: u32,
    /// Chunks whose pages have not been given back.
    touched: u32,
}

/// A chunk: shared, since the shelf's memory is, and changed only by who holds the shelf mutably.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'s>(Words<'s>);

/// Where so many chunks end: the first names none, as no link is 0.
fn end_of(chunks: u32) -> usize {
    (chunks as usize + 1) * BYTES
}

impl Shelf {
    /// Bytes of the chunks; pages behind the last are kept up to a page, or up to a 16th of what is in use.
    pub(crate) fn bytes(&self) -> usize {
        self.len as usize * BYTES
    }

    /// The chunk that a link names.
    pub(crate) fn chunk(&self, link: u32) -> Chunk<'_> {
        let first = Ref::new(link * WORDS as u32).expect("links begin with one");
        let words = self.region.as_ref().and_then(|region| region.words(first)).expect("the chunk is there");
        Chunk(words.first(WORDS))
    }

    /// A link to a chunk more, which is empty and linked to nothing. O(1).
    pub(crate) fn add(&mut self) -> u32 {
        self.len += 1;
        assert!(self.len >> LINK_BITS == 0, "a shelf has room for a thousand million records");
        let region = self.region.get_or_insert_with(|| Region::reserve(SPACE));
        if region.commit(end_of(self.len)).is_err() {
            handle_alloc_error(Layout::new::<[u64; WORDS]>());
        }
        self.touched = self.touched.max(self.len);
        (0..HEAD).for_each(|at| self.chunk(self.len).set(at, 0));
        self.len
    }

    /// Gives up a chunk. Returns the link that named the last one, which has taken its place, unless it was that itself:
    /// what refers to it, the caller knows by its links. O(1) on average.
    pub(crate) fn remove(&mut self, link: u32) -> Option<u32> {
        let last = self.len;
        if link != last {
            let (from, to) = (self.chunk(last), self.chunk(link));
            (0..WORDS).for_each(|at| to.set(at, from.get(at)));
        }
        self.len -= 1;
        if (self.touched - self.len) as usize > OF_A_PAGE.max(self.len as usize / 16) {
            self.give_back();
        }
        (link != last).then_some(last)
    }

    fn give_back(&mut self) {
        if let Some(region) = &self.region {
            let pages = |chunks| end_of(chunks).next_multiple_of(PAGE);
            region.give_back(pages(self.len)..pages(self.touched));
        }
        self.touched = self.len;
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf")
            .field("len", &self.len)
            .field("touched", &self.touched)
            .finish_non_exhaustive()
    }
}

impl Chunk<'_> {
    const TIME_MASK: u64 = (1 << SHORT_BITS) - 1;

    fn get(self, at: usize) -> u64 {
        self.0.word(at)
    }

    fn set(self, at: usize, word: u64) {
        self.0.set_word(at, word);
    }

    /// `bits` bits of a word from `shift` on.
    fn field(self, at: usize, shift: u32, bits: u32) -> u32 {
        (self.get(at) >> shift & ((1 << bits) - 1)) as u32
    }

    fn set_field(self, at: usize, shift: u32, bits: u32, value: u32) {
        let mask = ((1 << bits) - 1) << shift;
        self.set(at, self.get(at) & !mask | (u64::from(value) << shift & mask));
    }

    /// The next chunk's link, 0 if there is none.
    pub(crate) fn next(self) -> u32 {
        self.field(0, 0, LINK_BITS)
    }

    pub(crate) fn set_next(self, link: u32) {
        self.set_field(0, 0, LINK_BITS, link);
    }

    /// What the container keeps here to find who names this chunk.
    pub(crate) fn back(self) -> u32 {
        self.field(0, 32, 32)
    }

    pub(crate) fn set_back(self, back: u32) {
        self.set_field(0, 32, 32, back);
    }

    /// Records in it.
    pub(crate) fn len(self) -> usize {
        self.field(0, LINK_BITS, 6) as usize
    }

    fn set_len(self, len: usize) {
        self.set_field(0, LINK_BITS, 6, len as u32);
    }

    fn is_wide(self) -> bool {
        self.field(0, 31, 1) != 0
    }

    /// Two times of the container's, of [`SHORT_BITS`] bits.
    pub(crate) fn times(self) -> (u32, u32) {
        let word = self.get(1);
        ((word & Self::TIME_MASK) as u32, (word >> 32 & Self::TIME_MASK) as u32)
    }

    pub(crate) fn set_times(self, one: u32, other: u32) {
        self.set(1, u64::from(one) & Self::TIME_MASK | (u64::from(other) & Self::TIME_MASK) << 32);
    }

    /// Where the ids, the databases and the shards begin, in bytes; narrow chunks have no databases.
    fn columns(self) -> (usize, usize, usize) {
        let ids = HEAD * size_of::<u64>();
        if self.is_wide() { (ids, ids + 4 * WIDE, ids + 8 * WIDE) } else { (ids, 0, ids + 4 * NARROW) }
    }

    fn read32(self, byte: usize) -> u32 {
        self.field(byte / 8, (byte % 8 * 8) as u32, 32)
    }

    fn write32(self, byte: usize, value: u32) {
        self.set_field(byte / 8, (byte % 8 * 8) as u32, 32, value);
    }

    pub(crate) fn record(self, index: usize) -> Record {
        let (ids, dbs, shards) = self.columns();
        let db = if self.is_wide() { self.read32(dbs + 4 * index) } else { 0 };
        let shard = self.field((shards + index) / 8, ((shards + index) % 8 * 8) as u32, 8) as u8;
        Record { db, shard, id: self.read32(ids + 4 * index) }
    }

    /// Puts a record behind the others, if there is room for one of its database.
    pub(crate) fn push(self, record: Record) -> bool {
        let len = self.len();
        if len == 0 {
            self.set_field(0, 31, 1, u32::from(record.db != 0));
        }
        let wide = self.is_wide();
        if len == if wide { WIDE } else { NARROW } || (record.db != 0 && !wide) {
            return false;
        }
        let (ids, dbs, shards) = self.columns();
        self.write32(ids + 4 * len, record.id);
        if wide {
            self.write32(dbs + 4 * len, record.db);
        }
        let at = shards + len;
        self.set_field(at / 8, (at % 8 * 8) as u32, 8, u32::from(record.shard));
        self.set_len(len + 1);
        true
    }

    /// Takes out the last record.
    pub(crate) fn pop(self) -> Option<Record> {
        let last = self.len().checked_sub(1)?;
        let record = self.record(last);
        self.set_len(last);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, db: u32) -> Record {
        Record { db, shard: number as u8, id: number.wrapping_mul(0x9e37_79b9) }
    }

    #[test]
    fn a_chunk_keeps_what_it_is_given() {
        let mut shelf = Shelf::default();
        for (db, room) in [(0, NARROW), (7, WIDE)] {
            let chunk = shelf.add();
            let chunk = shelf.chunk(chunk);
            chunk.set_next(5);
            chunk.set_back(u32::MAX);
            chunk.set_times(1 << SHORT_BITS | 3, (1 << SHORT_BITS) - 1);
            let pushed = (0..100).filter(|number| chunk.push(record(*number, db))).count();
            assert_eq!((pushed, chunk.len()), (room, room));
            assert!((0..room).all(|at| chunk.record(at) == record(at as u32, db)));
            assert_eq!(
                (chunk.next(), chunk.back(), chunk.times()),
                (5, u32::MAX, (3, (1 << SHORT_BITS) - 1))
            );
            assert_eq!(chunk.pop(), Some(record(room as u32 - 1, db)));
            // A chunk of any database takes those of the first, and not the other way round.
            assert_eq!((chunk.push(record(1, 3)), chunk.push(record(2, 0))), (db != 0, db == 0));
        }
    }

    #[test]
    fn the_last_chunk_fills_a_hole_and_pages_go_back() {
        let mut shelf = Shelf::default();
        for number in 1..=1_000 {
            let link = shelf.add();
            assert!(shelf.chunk(link).push(record(number, 0)));
        }
        assert_eq!(shelf.bytes(), 256_000);
        assert_eq!((shelf.remove(10), shelf.remove(999)), (Some(1_000), None));
        assert_eq!(shelf.chunk(10).record(0), record(1_000, 0));
        (3..=998).rev().for_each(|link| assert_eq!(shelf.remove(link), None));
        assert_eq!(shelf.bytes(), 512);
        assert!(shelf.touched <= 18, "{}", shelf.touched);
        assert_eq!((shelf.chunk(1).record(0), shelf.chunk(2).record(0)), (record(1, 0), record(2, 0)));
        let link = shelf.add();
        assert_eq!((link, shelf.chunk(link).len()), (3, 0), "what it held before is forgotten");
    }
}
