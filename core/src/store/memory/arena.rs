//! The memory of one shard: blocks of whole 8-byte units of the engine's region, addressed by 32-bit references.
//! What stands in a block, and who may touch it when, is left to the shard; large values take pages of their own ([`super::chunks`]).
//!
//! **Runs.** Blocks are cut from an open run of pages of the pool; when it is full, another is taken. In a small arena a run is short: half of it is
//! left open on average, and half a block at the end of each, so that a length of the root of (arena * block) leaves least (`run_bytes`). A run goes
//! back to the pool when none of its blocks is left, which only compaction and clearing know.
//!
//! **Classes.** Up to 1 KiB every multiple of 8 bytes is a class of its own; above, each doubling has 8 classes, so
//! that less than 12.5 % is lost. Freed blocks of a class form a list threaded through the blocks themselves. A request
//! takes a block of its own class, else splits the smallest block that leaves a usable rest, else takes fresh units at
//! the end. Nothing is ever merged. All of it is O(1).
//!
//! **Huge blocks**, above 1 MiB, take pages of their own, and give them back when they are freed: only keys of that length have any.
//!
//! **Compaction.** Blocks of many sizes that come and go leave holes that fit nothing. [`Arena::condemn`] then sets all runs
//! in use aside and begins with others; the owner moves its blocks there, a few at a time, while it goes on working; what
//! is freed meanwhile in a condemned run is merely forgotten. At the end the condemned runs go back to the pool.

use std::sync::Arc;

use super::pool::{LONGEST_RUN, Pool, Run};
use super::refusal::OutOfMemory;
use super::region::{PAGE, Ref, Region, UNIT};
use super::words::{Block, Window, WindowMut};

/// The largest block that is cut from a run, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

/// Units of the longest run that is taken for small blocks.
const LONG_RUN: usize = 1 << 12;
/// Blocks of the size asked for that a new run holds, if that is not too long, so that little is left at its end.
const BLOCKS_OF_A_RUN: usize = 8;
/// Bytes that a run costs beside its memory, about: in the lists of runs, and at its end.
const PER_RUN: usize = 128;
const FINE_UNITS: usize = 128;
const CLASSES: usize = FINE_UNITS + 10 * 8;
/// No block is split to leave less than this many units: nothing in a shard is that small.
const SMALLEST_REST: usize = 3;

/// The length of a run that is opened for a block, in bytes, when the arena has handed out `used`: a power of two.
fn run_bytes(used: usize, block: usize) -> usize {
    let least_left = 1 << (used.max(1).ilog2() + (block + PER_RUN).ilog2()).div_ceil(2);
    let most = (block * BLOCKS_OF_A_RUN).clamp(LONG_RUN * UNIT, PAGE << LONGEST_RUN);
    // The very first unit stays unused, since its number would be 0.
    least_left.min(most).max(block + UNIT).max(PAGE).next_power_of_two().min(PAGE << LONGEST_RUN)
}

/// See the module's text.
pub(crate) struct Arena {
    pool: Arc<Pool>,
    in_use: Vec<Run>,
    /// Sorted.
    condemned: Vec<Run>,
    condemned_bytes: usize,
    /// Next fresh unit, and where the run that it is in begins and ends.
    fresh: usize,
    start: usize,
    end: usize,
    /// Units of the runs in use but the last.
    filled: usize,
    used: usize,
    /// Bytes at the ends of runs that were too short for what came next, less what larger free blocks were split for.
    ends: usize,
    free: FreeLists,
    /// Huge blocks, in no order.
    huge: Vec<Run>,
    huge_bytes: usize,
}

/// Free blocks by class, from the first that was freed on: a shard that holds little takes little.
#[derive(Default)]
struct FreeLists(Option<Box<Lists>>);

struct Lists {
    first: [u32; CLASSES],
    nonempty: [u64; CLASSES.div_ceil(64)],
}

impl FreeLists {
    /// The first block of a class.
    #[inline]
    fn first(&self, class: usize) -> Option<Ref> {
        Ref::new(self.0.as_ref()?.first[class])
    }

    /// Makes a block the first of its class, or none.
    #[inline]
    fn set_first(&mut self, class: usize, block: u32) {
        let lists = self.0.get_or_insert_with(|| {
            Box::new(Lists { first: [0; CLASSES], nonempty: [0; CLASSES.div_ceil(64)] })
        });
        lists.first[class] = block;
        let bit = 1 << (class % 64);
        let word = &mut lists.nonempty[class / 64];
        *word = if block == 0 { *word & !bit } else { *word | bit };
    }

    /// The first class from `from` on that has a free block.
    fn nonempty_from(&self, from: usize) -> Option<usize> {
        let nonempty = &self.0.as_ref()?.nonempty;
        let mut index = from / 64;
        let mut word = nonempty.get(index)? & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = *nonempty.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }
}

/// The class of a block of `units`, rounding up.
#[inline]
fn class_of(units: usize) -> usize {
    if units <= FINE_UNITS {
        return units - 1;
    }
    let last = units - 1;
    let log = last.ilog2() as usize;
    FINE_UNITS + (log - 7) * 8 + ((last >> (log - 3)) & 7)
}

/// Units of a block of that class.
#[inline]
fn class_units(class: usize) -> usize {
    if class < FINE_UNITS {
        return class + 1;
    }
    let step = class - FINE_UNITS;
    (9 + step % 8) << (step / 8 + 4)
}

/// The largest class not above `units`.
fn class_within(units: usize) -> usize {
    let class = class_of(units.min(LARGEST / UNIT));
    if class_units(class) > units { class - 1 } else { class }
}

#[inline]
fn units_of(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

/// Pages of a huge block: one unit more than it has, since number 0 is no reference.
pub(crate) fn huge_pages(bytes: usize) -> usize {
    (bytes + UNIT).div_ceil(PAGE)
}

impl Arena {
    /// An empty arena, which has taken nothing from the pool yet.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            in_use: Vec::new(),
            condemned: Vec::new(),
            condemned_bytes: 0,
            fresh: 0,
            start: 0,
            end: 0,
            filled: 0,
            used: 0,
            ends: 0,
            free: FreeLists::default(),
            huge: Vec::new(),
            huge_bytes: 0,
        }
    }

    /// The arena whose runs hold blocks of `used` bytes in all, huge ones not counted. None of what is between them is used.
    pub(crate) fn adopted(pool: Arc<Pool>, runs: Vec<Run>, huge: Vec<Run>, used: usize) -> Self {
        let units = |runs: &[Run]| runs.iter().map(|run| run.units()).sum::<usize>();
        let (filled, huge_bytes) = (units(&runs), units(&huge) * UNIT);
        let ends = filled * UNIT - used;
        Self { in_use: runs, filled, used, ends, huge, huge_bytes, ..Self::new(pool) }
    }

    /// Bytes that an allocation of `bytes` takes.
    #[inline]
    pub(crate) fn class_bytes(bytes: usize) -> usize {
        if bytes > LARGEST {
            return huge_pages(bytes) * PAGE;
        }
        class_units(class_of(units_of(bytes))) * UNIT
    }

    /// A block of at least `bytes`, its contents arbitrary. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system gives no more, or the region is full.
    #[inline]
    pub(crate) fn alloc(&mut self, bytes: usize) -> Result<Ref, OutOfMemory> {
        let class = class_of(units_of(bytes));
        if class >= CLASSES {
            return self.alloc_huge(bytes);
        }
        let block = match self.free.first(class) {
            Some(block) => self.unlink(class, block),
            None => self.alloc_otherwise(class)?,
        };
        self.used += class_units(class) * UNIT;
        Ok(block)
    }

    #[cold]
    #[inline(never)]
    fn alloc_huge(&mut self, bytes: usize) -> Result<Ref, OutOfMemory> {
        self.huge.try_reserve(1).map_err(|_| OutOfMemory)?;
        let run = self.pool.take(huge_pages(bytes))?;
        self.huge.push(run);
        self.huge_bytes += run.units() * UNIT;
        Ok(Ref::new(run.start().max(1) as u32).expect("number 0 is left out"))
    }

    #[cold]
    #[inline(never)]
    fn free_huge(&mut self, block: Ref) {
        let at = self.huge.iter().position(|run| run.holds(block)).expect("a huge block is freed once");
        let run = self.huge.swap_remove(at);
        self.huge_bytes -= run.units() * UNIT;
        self.pool.give([run]);
    }

    /// Takes back the block that `alloc(bytes)` returned. O(1), O(huge blocks) for one of these.
    #[inline]
    pub(crate) fn free(&mut self, block: Ref, bytes: usize) {
        if bytes > LARGEST {
            return self.free_huge(block);
        }
        let class = class_of(units_of(bytes));
        let bytes = class_units(class) * UNIT;
        debug_assert!(self.used >= bytes, "more freed than allocated");
        debug_assert_ne!(self.word(block, 0), Self::link(block, self.word(block, 0) as u32), "freed twice");
        self.used -= bytes;
        if !self.is_condemned(block) {
            self.push_free(class, block);
        }
    }

    /// Whether the block is in a condemned run, so that it has to be moved. O(log runs) while entries are moved together.
    #[inline]
    pub(crate) fn is_condemned(&self, block: Ref) -> bool {
        self.is_condemning() && {
            let behind = self.condemned.partition_point(|run| run.start() <= block.get() as usize);
            behind > 0 && self.condemned[behind - 1].holds(block)
        }
    }

    #[inline]
    fn is_condemning(&self) -> bool {
        !self.condemned.is_empty()
    }

    /// Bytes of holes: what the runs in use have handed out and got back, less what no moving of blocks would gain.
    #[inline]
    pub(crate) fn holes(&self) -> usize {
        if self.is_condemning() { 0 } else { (self.reserved_in_runs() - self.used).saturating_sub(self.ends) }
    }

    /// Sets all runs in use aside: from now on blocks come from others. The owner shall move every block of which
    /// [`is_condemned`](Self::is_condemned) is true, and then call [`release_condemned`](Self::release_condemned).
    pub(crate) fn condemn(&mut self) {
        debug_assert!(!self.is_condemning(), "one compaction at a time");
        self.condemned_bytes = self.reserved_in_runs();
        self.condemned = std::mem::take(&mut self.in_use);
        self.condemned.sort_unstable();
        self.forget();
    }

    /// Moves a block of `bytes` to a run that is not condemned, and returns where it is now. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`]; the block is where it was.
    pub(crate) fn relocate(&mut self, block: Ref, bytes: usize) -> Result<Ref, OutOfMemory> {
        let new = self.alloc(bytes)?;
        self.block(new).words().copy_from(self.block(block).words(), bytes.div_ceil(UNIT));
        self.free(block, bytes);
        Ok(new)
    }

    /// Gives the condemned runs, in which no block is left, back to the pool.
    pub(crate) fn release_condemned(&mut self) {
        self.condemned_bytes = 0;
        self.pool.give(std::mem::take(&mut self.condemned));
    }

    /// Begins with no run and no free block.
    fn forget(&mut self) {
        (self.fresh, self.start, self.end, self.filled, self.ends) = (0, 0, 0, 0, 0);
        self.free = FreeLists::default();
    }

    /// The pool whose pages it takes.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Where its blocks are.
    #[inline(always)]
    pub(crate) fn region(&self) -> &Region {
        self.pool.region()
    }

    /// The block, to read.
    ///
    /// # Panics
    /// If the reference leads beyond the region.
    #[inline]
    pub(crate) fn block(&self, block: Ref) -> Block<'_> {
        Block::new(self.region().words(block).unwrap_or_else(|| outside()))
    }

    /// The first `len` bytes of the block.
    #[cfg(test)]
    pub(crate) fn bytes(&self, block: Ref, len: usize) -> &[u8] {
        self.block(block).bytes(0, len)
    }

    /// `len` bytes of the block from byte `from` on, none of the words before it.
    #[inline]
    pub(crate) fn bytes_from(&self, block: Ref, from: usize, len: usize) -> &[u8] {
        self.block(block).bytes(from, len)
    }

    /// Writes `parts`, one after the other, from byte `from` of the block on, word by word. The bytes behind them in
    /// the last word stay.
    #[inline]
    pub(crate) fn write<const N: usize>(&mut self, block: Ref, from: usize, parts: [&[u8]; N]) {
        self.block(block).words().write(from, parts);
    }

    /// The first words of the block, to write to; `None` only if the reference leads beyond the region.
    #[inline(always)]
    pub(crate) fn window_mut(&mut self, block: Ref) -> Option<WindowMut<'_>> {
        self.region().window(block).map(Window::writable)
    }

    /// What a window shows, to write to.
    #[inline(always)]
    pub(crate) fn writable<'a>(&'a mut self, window: Window<'a>) -> WindowMut<'a> {
        window.writable()
    }

    /// The block's word number `index` (in 8-byte units), by a relaxed atomic load.
    #[inline]
    pub(crate) fn word(&self, block: Ref, index: usize) -> u64 {
        self.block(block).words().word(index)
    }

    /// Stores a word, relaxed. The caller holds no slice over it.
    #[inline]
    pub(crate) fn set_word(&self, block: Ref, index: usize, word: u64) {
        self.block(block).words().set_word(index, word);
    }

    /// Stores what `change` makes of the block's first word, relaxed, unless it is the same. The caller holds the lock, and no slice over it.
    #[inline]
    pub(crate) fn change_first(&self, block: Ref, change: impl FnOnce(u64) -> u64) {
        let window = self.region().window(block).unwrap_or_else(|| outside());
        let old = window.word(0);
        let new = change(old);
        if new != old {
            window.set_first(new);
        }
    }

    /// Bytes handed out and not freed, as [`class_bytes`](Self::class_bytes) counts them.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used + self.huge_bytes
    }

    /// Bytes at the end of the open run that no block has reached, but for a page: they mostly have memory behind them. A page is left out since 256
    /// of them are more than a small limit.
    #[inline]
    pub(crate) fn kept(&self) -> usize {
        ((self.end - self.fresh) * UNIT).saturating_sub(PAGE)
    }

    /// Bytes that blocks have reached in the runs in use: the most they can cost in memory.
    #[inline]
    pub(crate) fn reserved(&self) -> usize {
        self.reserved_in_runs() + self.huge_bytes
    }

    #[inline]
    fn reserved_in_runs(&self) -> usize {
        (self.filled + self.fresh - self.start) * UNIT
    }

    /// Bytes that blocks had reached in the condemned runs.
    pub(crate) fn condemned_bytes(&self) -> usize {
        self.condemned_bytes
    }

    /// Frees everything and gives the memory back to the pool.
    pub(crate) fn clear(&mut self) {
        self.release_condemned();
        self.pool.give(std::mem::take(&mut self.in_use));
        self.pool.give(std::mem::take(&mut self.huge));
        (self.used, self.huge_bytes) = (0, 0);
        self.forget();
    }

    /// What a free block's first word holds: the next one of its list, and a mark that tells it is free.
    fn link(block: Ref, next: u32) -> u64 {
        u64::from(!block.get() ^ 0x5bd1_e995) << 32 | u64::from(next)
    }

    #[inline]
    fn unlink(&mut self, class: usize, block: Ref) -> Ref {
        let word = self.word(block, 0);
        debug_assert_eq!(word, Self::link(block, word as u32), "a freed block was written to");
        self.free.set_first(class, word as u32);
        if cfg!(debug_assertions) {
            self.set_word(block, 0, 0);
        }
        block
    }

    #[inline]
    fn push_free(&mut self, class: usize, block: Ref) {
        let next = self.free.first(class).map_or(0, Ref::get);
        self.set_word(block, 0, Self::link(block, next));
        self.free.set_first(class, block.get());
    }

    #[cold]
    fn alloc_otherwise(&mut self, class: usize) -> Result<Ref, OutOfMemory> {
        let units = class_units(class);
        let enough = (units + SMALLEST_REST).min(LARGEST / UNIT);
        if let Some(larger) = self.free.nonempty_from(class_of(enough).max(class + 1)) {
            let block = self.free.first(larger).expect("the bitmap says the list is not empty");
            self.unlink(larger, block);
            self.scatter(block.get() + units as u32, class_units(larger) - units);
            // Where blocks are of many sizes, the ends of runs serve the small ones.
            self.ends = self.ends.saturating_sub(units * UNIT);
            return Ok(block);
        }
        if self.end - self.fresh < units {
            self.open_run(units)?;
        }
        let block = Ref::new(self.fresh as u32).expect("unit 0 is never fresh");
        self.fresh += units;
        if cfg!(debug_assertions) {
            // Whoever had the memory before may have marked it as free.
            self.set_word(block, 0, 0);
        }
        Ok(block)
    }

    /// Puts a run of units on the free lists, in as few blocks as the classes allow.
    fn scatter(&mut self, mut first: u32, mut units: usize) {
        while units > 0 {
            let class = class_within(units);
            self.push_free(class, Ref::new(first).expect("unit 0 is never part of a run"));
            first += class_units(class) as u32;
            units -= class_units(class);
        }
    }

    /// Takes another run, for blocks of so many units; what is left of the open one goes to the free lists.
    fn open_run(&mut self, units: usize) -> Result<(), OutOfMemory> {
        self.in_use.try_reserve(1).map_err(|_| OutOfMemory)?;
        let is_first = self.in_use.is_empty() && !self.is_condemning();
        let run = if is_first && units * 2 <= Run::PIECE {
            self.pool.take_piece()?
        } else {
            self.pool.take(run_bytes(self.used, units * UNIT) / PAGE)?
        };
        if self.end > self.start {
            self.filled += self.end - self.start;
            self.ends += (self.end - self.fresh) * UNIT;
            self.scatter(self.fresh as u32, self.end - self.fresh);
        }
        self.in_use.push(run);
        self.start = run.start();
        self.end = self.start + run.units();
        // Number 0 is no reference.
        self.fresh = self.start.max(1);
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("reference outside the region")
}

#[cfg(test)]
mod tests;
