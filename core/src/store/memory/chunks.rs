//! Pages of one value, numbered from 0 up and found through a tree; values that are copies of each other share them until one is written to.
//! What stands in the pages is left to the value.
//!
//! **The tree.** A root of 32 slots stands with the value. Of height 0 its slots are the pages; of height `h` each leads to a page of 1024 slots of a
//! tree of height `h - 1`. A tree that is full becomes a slot of a higher one. So growing never moves more than a root, and 32 slots lead to 128
//! KiB, 128 MiB or 128 GiB.
//!
//! **Copies** take the root and count one user more of what its slots lead to: O(1). Whoever writes makes the way from its root to the page its own
//! first ([`Chunks::own`]): shared pages on it are copied, and the pages of slots counted once more each. O(height) pages.
//!
//! A slot is 0 if there is nothing, else a page's number plus one. The top bit marks what is none of the tree's business.

use std::sync::atomic::AtomicU64;

use super::pool::{Pool, Run};
use super::refusal::OutOfMemory;
use super::region::{PAGE, Region, UNIT};
use super::words::Words;

/// Slots of a root, and words of it.
const ROOT_SLOTS: usize = 32;
pub(crate) const ROOT_WORDS: usize = ROOT_SLOTS / 2;
/// Words of a page, and slots of one that leads to others.
pub(crate) const PAGE_WORDS: usize = PAGE / UNIT;
const SLOTS: usize = PAGE_WORDS * 2;
const SLOT_BITS: u32 = SLOTS.ilog2();
/// A slot that leads to no page, but holds a number for whoever owns the tree.
pub(crate) const MARK: u32 = 1 << 31;

/// The words of a run.
pub(crate) fn words_of(region: &Region, first: u32) -> Words<'_> {
    region.words_from(first as usize * PAGE_WORDS).expect("pages of values are committed")
}

/// A page of zeroes that can be shared.
pub(crate) fn zeroed(pool: &Pool) -> Result<Run, OutOfMemory> {
    let run = pool.take_shareable(1)?;
    let words = words_of(pool.region(), run.first);
    (0..PAGE_WORDS).for_each(|at| words.set_word(at, 0));
    Ok(run)
}

/// Half of a word: number `index` of all halves.
#[inline]
pub(crate) fn slot(words: Words<'_>, index: usize) -> u32 {
    (words.word(index / 2) >> (index % 2 * 32)) as u32
}

#[inline]
pub(crate) fn set_slot(words: Words<'_>, index: usize, value: u32) {
    let shift = index % 2 * 32;
    let other = words.word(index / 2) & !(0xffff_ffff << shift);
    words.set_word(index / 2, other | u64::from(value) << shift);
}

/// The page that a slot leads to.
#[inline]
fn page(slot: u32) -> Option<u32> {
    if slot & MARK == 0 { slot.checked_sub(1) } else { None }
}

/// Keeps a copy of a run of pages, and returns the number of the first page of that.
pub(crate) type PutPages<'p> = &'p mut dyn FnMut(Words<'_>) -> crate::Result<u32>;

/// A tree: its root's words and its height. Numbers of pages below what the height allows can be asked for.
#[derive(Clone, Copy)]
pub(crate) struct Chunks<'c> {
    root: Words<'c>,
    height: u32,
}

/// Pages that a tree of this height leads to.
#[inline(always)]
fn room(height: u32) -> usize {
    ROOT_SLOTS << (SLOT_BITS * height)
}

/// The tree of this height that page number `index` is in, among its neighbours.
#[inline(always)]
fn index_at(index: usize, height: u32) -> usize {
    index >> (SLOT_BITS * height)
}

impl<'c> Chunks<'c> {
    pub(crate) fn new(root: Words<'c>, height: u32) -> Self {
        Self { root, height }
    }

    /// The slot of page number `index`.
    #[inline]
    fn find(self, region: &Region, index: usize) -> u32 {
        // Those of most values, in half the instructions.
        match self.height {
            0 if index < ROOT_SLOTS => slot(self.root, index),
            1 if index < ROOT_SLOTS * SLOTS => page(slot(self.root, index / SLOTS))
                .map_or(0, |below| slot(words_of(region, below), index % SLOTS)),
            _ => self.find_below(region, index),
        }
    }

    #[inline(never)]
    fn find_below(self, region: &Region, index: usize) -> u32 {
        if index >= room(self.height) {
            return 0;
        }
        let mut found = slot(self.root, index_at(index, self.height));
        for height in (0..self.height).rev() {
            let Some(page) = page(found) else { return 0 };
            found = slot(words_of(region, page), index_at(index, height) % SLOTS);
        }
        found
    }

    /// The words of page number `index`, and of what follows it in its run.
    #[inline]
    pub(crate) fn words(self, region: &Region, index: usize) -> Option<Words<'_>> {
        Some(words_of(region, page(self.find(region, index))?))
    }

    /// The number that stands in a slot with the [`MARK`].
    pub(crate) fn marked(self, region: &Region, index: usize) -> u32 {
        self.find(region, index) & !MARK
    }

    /// Pages of slots that lead to the first `len` pages.
    pub(crate) fn ways(self, len: usize) -> usize {
        (1..=self.height).map(|height| len.div_ceil(1 << (SLOT_BITS * height))).sum()
    }

    /// Whether page number `index` is somebody else's, too.
    pub(crate) fn is_shared(self, pool: &Pool, index: usize) -> bool {
        let mut found = slot(self.root, index_at(index, self.height));
        for height in (0..self.height).rev() {
            let Some(first) = page(found) else { return false };
            if pool.is_shared(first) {
                return true;
            }
            found = slot(words_of(pool.region(), first), index_at(index, height) % SLOTS);
        }
        page(found).is_some_and(|first| pool.is_shared(first))
    }

    /// Makes page number `index`, which is there, the tree's own and returns its words.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed but for who owns what.
    pub(crate) fn own(self, pool: &Pool, index: usize) -> Result<Words<'_>, OutOfMemory> {
        let (words, at) = self.own_way(pool, index)?;
        let first = own_slot(pool, words, at, false)?;
        Ok(words_of(pool.region(), first))
    }

    /// Makes the pages that lead to number `index` the tree's own. Returns the words that its slot stands in, and where.
    fn own_way<'p>(self, pool: &'p Pool, index: usize) -> Result<(Words<'p>, usize), OutOfMemory>
    where
        'c: 'p,
    {
        assert!(index < room(self.height), "the tree is high enough");
        let (mut words, mut at): (Words<'p>, usize) = (self.root, index_at(index, self.height));
        for height in (0..self.height).rev() {
            let first = own_slot(pool, words, at, true)?;
            words = words_of(pool.region(), first);
            at = index_at(index, height) % SLOTS;
        }
        Ok((words, at))
    }

    /// Makes a tree so high that it can lead to page number `index`. Returns its height.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn raise(self, pool: &Pool, index: usize) -> Result<u32, OutOfMemory> {
        let mut height = self.height;
        while index >= room(height) {
            let below = zeroed(pool)?.first;
            words_of(pool.region(), below).copy_from(self.root, ROOT_WORDS);
            (0..ROOT_WORDS).for_each(|at| self.root.set_word(at, 0));
            set_slot(self.root, 0, below + 1);
            height += 1;
        }
        Ok(height)
    }

    /// Has number `index` lead to a page, or hold a number with the [`MARK`], or nothing (0). Returns what was there. The tree is high enough.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed but for who owns what.
    pub(crate) fn put(self, pool: &Pool, index: usize, value: u32) -> Result<u32, OutOfMemory> {
        let (words, at) = self.own_way(pool, index)?;
        let before = slot(words, at);
        set_slot(words, at, value);
        Ok(before)
    }

    /// Hands the pages on, copies of which `put` keeps elsewhere, and writes the root that leads to those. O(pages).
    ///
    /// # Errors
    /// The first of `put`.
    pub(crate) fn copy_pages(self, pool: &Pool, root: &mut [u64], put: PutPages<'_>) -> crate::Result<()> {
        copy_slots(pool, self.root, self.height, root, put)
    }

    /// Counts one more user of everything, who has a copy of the root.
    pub(crate) fn share(self, pool: &Pool) {
        (0..ROOT_SLOTS).filter_map(|at| page(slot(self.root, at))).for_each(|first| pool.share(first));
    }

    /// Ends this use of everything. O(pages) if it was the last.
    pub(crate) fn release(self, pool: &Pool) {
        (0..ROOT_SLOTS).for_each(|at| release(pool, slot(self.root, at), self.height));
    }
}

/// Makes the run that a slot leads to the tree's own, or a page of slots, if nothing is there yet. Returns its first page.
fn own_slot(pool: &Pool, words: Words<'_>, at: usize, leads_on: bool) -> Result<u32, OutOfMemory> {
    let Some(first) = page(slot(words, at)) else {
        assert!(leads_on, "only pages that are there are written to");
        let new = zeroed(pool)?.first;
        set_slot(words, at, new + 1);
        return Ok(new);
    };
    if !pool.is_shared(first) {
        return Ok(first);
    }
    let run = pool.run(first);
    let new = pool.take_shareable(run.pages as usize)?.first;
    let (from, to) = (words_of(pool.region(), first), words_of(pool.region(), new));
    to.copy_from(from, run.units());
    if leads_on {
        (0..SLOTS).filter_map(|at| page(slot(to, at))).for_each(|first| pool.share(first));
    }
    set_slot(words, at, new + 1);
    // The other user may have gone meanwhile.
    release(pool, first + 1, u32::from(leads_on));
    Ok(new)
}

/// Writes slots like these, but of copies of what they lead to: trees of this height.
fn copy_slots(
    pool: &Pool,
    slots: Words<'_>,
    height: u32,
    copy: &mut [u64],
    put: PutPages<'_>,
) -> crate::Result<()> {
    for at in 0..copy.len() * 2 {
        let slot = slot(slots, at);
        let copied = match page(slot) {
            None => slot,
            Some(first) if height == 0 => {
                put(words_of(pool.region(), first).first(pool.run(first).units()))? + 1
            }
            Some(first) => {
                let mut below = [0; PAGE_WORDS];
                copy_slots(pool, words_of(pool.region(), first), height - 1, &mut below, put)?;
                put(Words::new(&below.map(AtomicU64::new)))? + 1
            }
        };
        copy[at / 2] |= u64::from(copied) << (at % 2 * 32);
    }
    Ok(())
}

fn release(pool: &Pool, slot_value: u32, height: u32) {
    let Some(first) = page(slot_value) else { return };
    pool.release(first, |_| {
        if height > 0 {
            let words = words_of(pool.region(), first);
            (0..SLOTS).for_each(|at| release(pool, slot(words, at), height - 1));
        }
    });
}

#[cfg(test)]
mod tests;
