//! Long strings: bytes in a run of pages of their own, and strings that grow, with room behind them.
//! Short ones stand in their entries.
//!
//! The root is two words: the number of the first page, and the length. Copies share the run until one is written to.

use std::sync::atomic::AtomicU64;

use super::rooted::{Root, Rooted};
use crate::store::memory::chunks::{PAGE_WORDS, PutPages, words_of};
use crate::store::memory::words::{Block, Words};
use crate::store::memory::{OutOfMemory, PAGE, Pool};
use crate::sync::Arc;

/// Strings that grow move to pages at this size, in bytes.
pub(crate) const GROWING: usize = PAGE;

/// A long string that stands in no entry, or not at the moment. It owns its pages.
pub(crate) struct LongString {
    pool: Arc<Pool>,
    first: u32,
    len: usize,
    has_departed: bool,
    /// An entry owns the pages.
    has_left: bool,
}

/// First page and length.
fn read(root: Words<'_>) -> (u32, usize) {
    (root.word(0) as u32, root.word(1) as usize)
}

/// The text of the string of a root.
pub(crate) fn text(root: Root<'_>) -> &[u8] {
    let (first, len) = read(root.words);
    Block::new(words_of(root.region, first)).bytes(0, len)
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

impl Rooted for LongString {
    fn of(root: Words<'_>, pool: &Arc<Pool>) -> Self {
        let (first, len) = read(root);
        Self { pool: pool.clone(), first, len, has_departed: false, has_left: false }
    }

    fn with_root(&self, visit: &mut dyn FnMut(&[AtomicU64])) {
        visit(&[u64::from(self.first), self.len as u64].map(AtomicU64::new));
    }

    fn copy_pages(&self, put: PutPages<'_>) -> crate::Result<Vec<u64>> {
        let words = self.pages() * PAGE_WORDS;
        let first = put(words_of(self.pool.region(), self.first).first(words))?;
        Ok(vec![u64::from(first), self.len as u64])
    }

    fn share(&self) -> Self {
        self.pool.share(self.first);
        let Self { first, len, .. } = *self;
        Self { pool: self.pool.clone(), first, len, has_departed: false, has_left: false }
    }

    fn set_left(&mut self, has_left: bool) {
        self.has_left = has_left;
    }

    fn depart(&mut self) {
        if !std::mem::replace(&mut self.has_departed, true) {
            self.pool.depart(self.pages());
        }
    }

    fn elements(&self) -> usize {
        1
    }

    fn page_bytes(root: Root<'_>, pool: &Pool) -> usize {
        pool.run(read(root.words).0).pages as usize * PAGE
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
    use crate::store::HashSeed;
    use std::sync::atomic::Ordering;

    fn root(string: &LongString) -> [AtomicU64; 2] {
        let mut words = Vec::new();
        string.with_root(&mut |root| {
            words.extend(root.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed))));
        });
        words.try_into().expect("two words")
    }

    fn text_of(string: &LongString) -> Vec<u8> {
        let (root, seed) = (root(string), HashSeed::of(1));
        text(Root { words: Words::new(&root), region: string.pool.region(), seed: &seed }).to_vec()
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
        let mut other = LongString::of(Words::new(&root(&copy)), &pool);
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
