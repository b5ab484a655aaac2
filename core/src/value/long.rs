//! Long strings: bytes in a run of pages of their own, and strings that grow, with room behind them.
//! Short ones stand in their entries.
//!
//! An entry holds twelve bytes: the number of the first page and the length. Copies share the run until one is written to.

use crate::store::memory::chunks::words_of;
use crate::store::memory::words::Block;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Region};
use crate::sync::Arc;

/// Strings that grow move to pages at this size, in bytes.
pub(crate) const GROWING: usize = PAGE;

/// Bytes in an entry.
pub(crate) const STORED: usize = 12;

/// A long string that stands in no entry, or not at the moment. It owns its pages.
pub(crate) struct LongString {
    pool: Arc<Pool>,
    first: u32,
    len: usize,
    has_departed: bool,
    /// An entry owns the pages.
    has_left: bool,
}

/// First page and length, as they stand in an entry.
fn read(stored: &[u8]) -> (u32, usize) {
    let (first, len) = stored.split_at(4);
    let first = u32::from_le_bytes(first.try_into().expect("a number of four bytes"));
    let len = u64::from_le_bytes(len.try_into().expect("a number of eight bytes"));
    (first, len as usize)
}

/// The text of the string that an entry holds.
pub(crate) fn text<'a>(stored: &[u8], region: &'a Region) -> &'a [u8] {
    let (first, len) = read(stored);
    Block::new(words_of(region, first)).bytes(0, len)
}

/// Bytes that its pages take.
pub(crate) fn page_bytes(stored: &[u8], pool: &Pool) -> usize {
    pool.run(read(stored).0).pages as usize * PAGE
}

impl LongString {
    /// A string with room for `capacity` bytes, if that is more than it has.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there are no pages for it.
    pub(crate) fn new(pool: &Arc<Pool>, text: &[u8], capacity: usize) -> Result<Self, OutOfMemory> {
        let pages = capacity.max(text.len()).div_ceil(PAGE).max(1);
        let run = pool.take_shareable(pages)?;
        words_of(pool.region(), run.first).write(0, [text]);
        Ok(Self {
            pool: pool.clone(),
            first: run.first,
            len: text.len(),
            has_departed: false,
            has_left: false,
        })
    }

    /// The string that an entry holds. Whoever calls this sees to it that there is one owner.
    pub(crate) fn of(stored: &[u8], pool: &Arc<Pool>) -> Self {
        let (first, len) = read(stored);
        Self { pool: pool.clone(), first, len, has_departed: false, has_left: false }
    }

    /// What is to stand in an entry; whoever puts it there forgets the string.
    pub(crate) fn stored(&self) -> [u8; STORED] {
        let mut stored = [0; STORED];
        stored[..4].copy_from_slice(&self.first.to_le_bytes());
        stored[4..].copy_from_slice(&(self.len as u64).to_le_bytes());
        stored
    }

    /// A copy, which shares the pages. O(1).
    pub(crate) fn share(&self) -> Self {
        self.pool.share(self.first);
        Self {
            pool: self.pool.clone(),
            first: self.first,
            len: self.len,
            has_departed: false,
            has_left: false,
        }
    }

    /// Whether an entry that holds what is [stored](Self::stored) owns the pages, which then outlive this.
    pub(crate) fn set_left(&mut self, has_left: bool) {
        self.has_left = has_left;
    }

    /// Counts its pages as gone, though they go when it is dropped.
    pub(crate) fn depart(&mut self) {
        if !std::mem::replace(&mut self.has_departed, true) {
            self.pool.depart(self.pages());
        }
    }

    fn pages(&self) -> usize {
        self.pool.run(self.first).pages as usize
    }

    /// Writes bytes from `from` on, whatever is there; what lies between the end and `from` becomes zeroes. O(bytes), amortised, if the pages are
    /// not shared.
    ///
    /// # Errors
    /// [`OutOfMemory`] when there are no pages for it; nothing has changed.
    pub(crate) fn write(&mut self, from: usize, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let end = from + bytes.len();
        if bytes.is_empty() && from <= self.len {
            return Ok(());
        }
        let grows = end > self.pages() * PAGE;
        if grows || self.pool.is_shared(self.first) {
            // A quarter of room more, so that growing copies each byte a few times at most.
            let capacity = if grows { end + end / 4 } else { self.len };
            let old = Block::new(words_of(self.pool.region(), self.first)).bytes(0, self.len);
            let new = Self::new(&self.pool, old, capacity.max(end));
            let new = new.or_else(|_| Self::new(&self.pool, old, end.max(self.len)))?;
            // Those of an entry that is being edited go as well: what is written replaces them.
            self.has_left = false;
            *self = new;
        }
        let words = words_of(self.pool.region(), self.first);
        const ZEROES: [u8; 512] = [0; 512];
        while self.len < from {
            let gap = ZEROES.len().min(from - self.len);
            words.write(self.len, [&ZEROES[..gap]]);
            self.len += gap;
        }
        words.write(from, [bytes]);
        self.len = self.len.max(end);
        Ok(())
    }
}

impl std::fmt::Debug for LongString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongString").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for LongString {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        if self.has_departed {
            self.pool.arrive(self.pages());
        }
        self.pool.release(self.first, |_| ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(string: &LongString) -> Vec<u8> {
        text(&string.stored(), string.pool.region()).to_vec()
    }

    #[test]
    fn it_grows_and_is_overwritten_as_a_vector_is() {
        let pool = Arc::<Pool>::default();
        let mut string = LongString::new(&pool, b"some text", 0).unwrap();
        let mut model = b"some text".to_vec();
        for (from, len) in
            [(9, 100), (0, 3), (50, 5000), (7000, 9), (7009, 70_000), (1_000_000, 1), (5, 999_995)]
        {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + from) as u8).collect();
            string.write(from, &bytes).unwrap();
            model.resize(model.len().max(from + len), 0);
            model[from..from + len].copy_from_slice(&bytes);
            assert!(text_of(&string) == model, "{from} {len}");
            assert!(string.pages() * PAGE < model.len() * 5 / 4 + 2 * PAGE);
        }
        assert_eq!(pool.shareable_bytes(), string.pages() * PAGE);
        drop(string);
        assert_eq!((pool.used_bytes(), pool.shareable_bytes()), (0, 0));
    }

    #[test]
    fn copies_share_until_one_is_written_to() {
        let pool = Arc::<Pool>::default();
        let mut one = LongString::new(&pool, &[b'a'; 10_000], 0).unwrap();
        let mut copy = one.share();
        let mut other = LongString::of(&copy.stored(), &pool);
        copy.set_left(true);
        assert_eq!(pool.used_bytes(), 3 * PAGE);
        other.write(3, b"bcd").unwrap();
        assert_eq!((pool.used_bytes(), &text_of(&other)[..7]), (6 * PAGE, &b"aaabcda"[..]));
        assert_eq!(text_of(&one), [b'a'; 10_000]);
        one.write(10_000, b"e").unwrap();
        assert_eq!(pool.used_bytes(), 6 * PAGE, "nobody else has it now");
        other.depart();
        assert_eq!(pool.shareable_bytes(), 3 * PAGE);
        drop((one, other));
        assert_eq!((pool.used_bytes(), pool.shareable_bytes()), (0, 0));
    }

    #[test]
    fn without_memory_nothing_changes() {
        let pool = Arc::<Pool>::default();
        let mut string = LongString::new(&pool, &[b'a'; 4000], 0).unwrap();
        crate::store::memory::refusal::set(true);
        assert_eq!(string.write(4000, &[b'b'; 100]), Err(OutOfMemory));
        string.write(4000, &[b'b'; 96]).unwrap();
        crate::store::memory::refusal::set(false);
        assert_eq!(text_of(&string)[3999..], [&b"a"[..], &[b'b'; 96]].concat());
    }
}
