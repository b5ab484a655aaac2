//! Sets of the pages of one chunk, and where pages lie among chunks. What a set is of is the pool's affair.

use std::ops::Range;

use super::PAGES;

/// One bit a page.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(pub(super) [u64; PAGES / 64]);

impl Bits {
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn all() -> Self {
        Self([u64::MAX; PAGES / 64])
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// The words that pages touch, with their bits in each.
    fn words(pages: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
        (pages.start / 64..pages.end.div_ceil(64)).map(move |word| {
            let (from, to) = (pages.start.max(word * 64) % 64, pages.end.min(word * 64 + 64) - word * 64);
            (word, (u64::MAX << from) & (u64::MAX >> (64 - to)))
        })
    }

    pub(super) fn set(&mut self, pages: Range<usize>, is_set: bool) {
        for (word, bits) in Self::words(pages) {
            let word = &mut self.0[word];
            *word = if is_set { *word | bits } else { *word & !bits };
        }
    }

    pub(super) fn count_in(&self, pages: Range<usize>) -> usize {
        Self::words(pages).map(|(word, bits)| (self.0[word] & bits).count_ones() as usize).sum()
    }

    /// The first run of `2^log` zeroes at a multiple of its length.
    pub(super) fn vacancy(&self, log: u32) -> Option<usize> {
        if log >= 6 {
            let words = 1 << (log - 6);
            let at = self.0.chunks_exact(words).position(|words| words.iter().all(|word| *word == 0))?;
            return Some(at * words * 64);
        }
        self.0.iter().enumerate().find_map(|(at, word)| {
            // Each bit is set if it and those behind it in the run are; then only beginnings of runs are kept.
            let mut free = !word;
            (0..log).for_each(|step| free &= free >> (1 << step));
            let free = free & beginnings(log);
            (free != 0).then(|| at * 64 + free.trailing_zeros() as usize)
        })
    }

    /// The runs of ones, longest possible.
    pub(super) fn runs(self) -> impl Iterator<Item = Range<usize>> {
        let is_set = move |at: usize| at < PAGES && self.0[at / 64] >> (at % 64) & 1 != 0;
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = (at..PAGES).find(|at| is_set(*at))?;
            at = (start..=PAGES).find(|at| !is_set(*at)).unwrap_or(PAGES);
            Some(start..at)
        })
    }
}

/// The chunks that pages lie in, with the pages in each.
pub(super) fn parts(pages: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    (pages.start / PAGES..pages.end.div_ceil(PAGES)).map(move |number| {
        let first = number * PAGES;
        (number, pages.start.max(first) - first..pages.end.min(first + PAGES) - first)
    })
}

/// The bits at multiples of `2^log`, below 64.
fn beginnings(log: u32) -> u64 {
    match log {
        0 => u64::MAX,
        1 => 0x5555_5555_5555_5555,
        2 => 0x1111_1111_1111_1111,
        3 => 0x0101_0101_0101_0101,
        4 => 0x0001_0001_0001_0001,
        _ => 0x0000_0001_0000_0001,
    }
}
