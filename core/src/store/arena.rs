//! The memory of one shard: blocks of whole 8-byte units, addressed by 32-bit references.
//! What stands in a block, and who may touch it when, is left to the shard; so are allocations above 1 MiB.
//!
//! **Spans.** References number the units of spans of 32 KiB from 1 up; the pool says where each span is. So the address is a base from an
//! array plus the reference. When the open run is full, the lowest span that is not in use is opened; for larger
//! blocks a run of several in a row. In a small arena the run is but the first pages of a span: half of it is left open on average, and half a block at
//! the end of each, so that a length of the root of (arena * block) leaves least (`run_bytes`). A span goes back to the pool when none of its blocks is left, which only compaction and clearing know. The whole holds 32 GiB.
//!
//! **Classes.** Up to 1 KiB every multiple of 8 bytes is a class of its own; above, each doubling has 8 classes, so
//! that less than 12.5 % is lost. Freed blocks of a class form a list threaded through the blocks themselves. A request
//! takes a block of its own class, else splits the smallest block that leaves a usable rest, else takes fresh units at
//! the end. Nothing is ever merged. All of it is O(1).
//!
//! **Compaction.** Blocks of many sizes that come and go leave holes that fit nothing. [`Arena::condemn`] then sets all spans
//! in use aside and begins with others; the owner moves its blocks there, a few at a time, while it goes on working; what
//! is freed meanwhile in a condemned span is merely forgotten. At the end the condemned spans go back to the pool.
//!
//! **Readers without the lock** see the memory as [`Words`]: by relaxed atomic loads, whatever a writer does meanwhile.
//! All writes are relaxed atomic stores of words, so nothing here is a data race; whether what was read belongs together
//! is for the reader's sequence counter to say.
//!
//! # Unsafe: invariants
//! - A slice of bytes covers only words that a bounds-checked slice of a run's atomics covers; all of that memory
//!   is initialised, since extents are zeroed.
//! - Slices ([`Block::bytes`]) borrow the arena, and every store but [`Arena::set_word`]'s needs it mutably: so none
//!   changes under a slice. The caller of `set_word` holds no slice over that word: it is an entry's first word, which
//!   is never part of one.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pool::{LONGEST_RUN, Pool, Run};
use crate::os::{OutOfMemory, PAGE, Spans, prefetch};

/// Bytes of a unit, and the alignment of every block.
pub(crate) const UNIT: usize = 8;
/// The largest allocation, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

/// Units of a span.
const SPAN: usize = 1 << 12;
/// Blocks of the size asked for that a new run of spans holds, if that is not too long, so that little is left at its end.
const BLOCKS_OF_A_RUN: usize = 8;
/// Bytes that a run costs beside its memory, about: in the directory of spans, in the lists of runs, and at its end.
const PER_RUN: usize = 128;
const FINE_UNITS: usize = 128;
const CLASSES: usize = FINE_UNITS + 10 * 8;
/// No block is split to leave less than this many units: nothing in a shard is that small.
const SMALLEST_REST: usize = 3;

/// The length of a run that is opened for a block, in bytes, when the arena has handed out `used`: a power of two.
fn run_bytes(used: usize, block: usize) -> usize {
    let least_left = 1 << (used.max(1).ilog2() + (block + PER_RUN).ilog2()).div_ceil(2);
    let most = (block * BLOCKS_OF_A_RUN).clamp(SPAN * UNIT, PAGE << LONGEST_RUN);
    // The very first unit stays unused, since its number would be 0.
    least_left.min(most).max(block + UNIT).max(PAGE).next_power_of_two().min(PAGE << LONGEST_RUN)
}

/// Where a block is: the number of its first unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct Ref(NonZeroU32);

impl Ref {
    /// The reference with this number, unless it is 0.
    #[inline]
    pub(crate) fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number, as stored in tables and files.
    #[inline]
    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

/// The memory of an arena, shared with those who read without its lock.
pub(crate) struct Memory(Units);

type Units = Spans<AtomicU64, SPAN, WINDOW>;

/// Words that can be read from any block on: the head of an entry, a short key, and a value of up to [`LONGEST_COPY`].
pub(crate) const WINDOW: usize = 3 + 256 / UNIT + LONGEST_COPY / UNIT + 8;

/// See the module's text.
pub(crate) struct Arena {
    pool: Arc<Pool>,
    memory: Arc<Memory>,
    in_use: Slots,
    condemned: Slots,
    condemned_bytes: usize,
    /// No span below is vacant.
    vacant: usize,
    /// Next fresh unit, and where the run of spans that it is in begins and ends.
    fresh: u64,
    start: u64,
    end: u64,
    /// Units of the runs in use but the last.
    filled: u64,
    used: usize,
    /// Bytes at the ends of runs that were too short for what came next, less what larger free blocks were split for.
    ends: usize,
    free: [u32; CLASSES],
    nonempty: [u64; CLASSES.div_ceil(64)],
}

/// A set of spans, and the runs of pages that they are.
#[derive(Default)]
struct Slots {
    bits: Vec<u64>,
    runs: Vec<(usize, Run)>,
}

impl Slots {
    #[inline]
    fn contains(&self, span: usize) -> bool {
        self.bits.get(span / 64).is_some_and(|word| word >> (span % 64) & 1 != 0)
    }

    fn add(&mut self, spans: Range<usize>, run: Run) {
        let first = spans.start;
        if self.bits.len() < spans.end.div_ceil(64) {
            self.bits.resize(spans.end.div_ceil(64), 0);
        }
        spans.for_each(|span| self.bits[span / 64] |= 1 << (span % 64));
        self.runs.push((first, run));
    }
}

/// The memory from a block's first word to the end of its run of spans, read by relaxed atomic loads.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a [AtomicU64]);

/// [`Words`] that nobody writes while the arena is borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    words: Words<'a>,
    arena: PhantomData<&'a Arena>,
}

/// The longest run of bytes that [`Words::copy`] copies.
pub(crate) const LONGEST_COPY: usize = 256;

/// Room on the stack for the copy that a reader without the lock makes.
pub(crate) struct Scratch([MaybeUninit<u64>; LONGEST_COPY / UNIT + 4]);

impl Scratch {
    /// Room that holds nothing yet.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); LONGEST_COPY / UNIT + 4])
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

impl Arena {
    /// An empty arena, which has taken nothing from the pool yet.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            memory: Arc::new(Memory(Spans::new())),
            in_use: Slots::default(),
            condemned: Slots::default(),
            condemned_bytes: 0,
            vacant: 0,
            fresh: 0,
            start: 0,
            end: 0,
            filled: 0,
            used: 0,
            ends: 0,
            free: [0; CLASSES],
            nonempty: [0; CLASSES.div_ceil(64)],
        }
    }

    /// Bytes that an allocation of `bytes` (at most [`LARGEST`]) takes.
    #[inline]
    pub(crate) fn class_bytes(bytes: usize) -> usize {
        class_units(class_of(units_of(bytes))) * UNIT
    }

    /// A block of at least `bytes`, its contents arbitrary. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system gives no more, the arena has reached 32 GiB, or `bytes` is above [`LARGEST`].
    #[inline]
    pub(crate) fn alloc(&mut self, bytes: usize) -> Result<Ref, OutOfMemory> {
        if bytes > LARGEST {
            return Err(OutOfMemory);
        }
        let class = class_of(units_of(bytes));
        let block = match Ref::new(self.free[class]) {
            Some(block) => self.unlink(class, block),
            None => self.alloc_otherwise(class)?,
        };
        self.used += class_units(class) * UNIT;
        Ok(block)
    }

    /// Takes back the block that `alloc(bytes)` returned. O(1).
    #[inline]
    pub(crate) fn free(&mut self, block: Ref, bytes: usize) {
        let class = class_of(units_of(bytes));
        let bytes = class_units(class) * UNIT;
        debug_assert!(self.used >= bytes, "more freed than allocated");
        debug_assert_ne!(self.word(block, 0), Self::link(block, self.word(block, 0) as u32), "freed twice");
        self.used -= bytes;
        if !self.is_condemned(block) {
            self.push_free(class, block);
        }
    }

    /// Whether the block is in a condemned span, so that it has to be moved.
    #[inline]
    pub(crate) fn is_condemned(&self, block: Ref) -> bool {
        self.condemned.contains(span_of(block))
    }

    #[inline]
    fn is_condemning(&self) -> bool {
        !self.condemned.runs.is_empty()
    }

    /// Bytes of holes: what the spans in use have handed out and got back, less what no moving of blocks would gain.
    #[inline]
    pub(crate) fn holes(&self) -> usize {
        if self.is_condemning() { 0 } else { (self.reserved() - self.used).saturating_sub(self.ends) }
    }

    /// Sets all spans in use aside: from now on blocks come from others. The owner shall move every block of which
    /// [`is_condemned`](Self::is_condemned) is true, and then call [`release_condemned`](Self::release_condemned).
    pub(crate) fn condemn(&mut self) {
        debug_assert!(!self.is_condemning(), "one compaction at a time");
        self.condemned_bytes = self.reserved();
        self.condemned = std::mem::take(&mut self.in_use);
        self.forget();
    }

    /// Moves a block of `bytes` to a span that is not condemned, and returns where it is now. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`]; the block is where it was.
    pub(crate) fn relocate(&mut self, block: Ref, bytes: usize) -> Result<Ref, OutOfMemory> {
        let new = self.alloc(bytes)?;
        let words = bytes.div_ceil(UNIT);
        let (from, to) = (self.block(block).words, self.block(new).words);
        (0..words).for_each(|at| to.at(at).store(from.word(at), Ordering::Relaxed));
        self.free(block, bytes);
        Ok(new)
    }

    /// Gives the condemned spans, in which no block is left, back to the pool.
    pub(crate) fn release_condemned(&mut self) {
        let condemned = std::mem::take(&mut self.condemned);
        self.condemned_bytes = 0;
        self.release(condemned);
    }

    fn release(&mut self, slots: Slots) {
        slots.runs.iter().for_each(|(first, _)| self.memory.0.take(*first));
        self.vacant = 0;
        self.pool.give(slots.runs.into_iter().map(|(_, run)| run));
    }

    /// Begins with no span and no free block.
    fn forget(&mut self) {
        (self.fresh, self.start, self.end, self.filled, self.ends) = (0, 0, 0, 0, 0);
        self.free = [0; CLASSES];
        self.nonempty = [0; CLASSES.div_ceil(64)];
    }

    /// The pool whose pages it takes.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What readers without the lock share.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The block, to read.
    ///
    /// # Panics
    /// If no span of this arena holds the reference.
    #[inline]
    pub(crate) fn block(&self, block: Ref) -> Block<'_> {
        Block { words: self.memory.words(block).unwrap_or_else(|| outside()), arena: PhantomData }
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
        let words = self.block(block).words;
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        words.check(from + bytes);
        let bits = (from % UNIT * 8) as u32;
        let mut writer = WordWriter { words, next: from / UNIT, pending: 0, bits };
        if bits > 0 {
            writer.pending = words.word(writer.next) & low(bits);
        }
        parts.iter().for_each(|part| writer.push(part));
        writer.finish();
    }

    /// The first words of the block, to write to; `None` only if no segment of this arena holds the reference.
    #[inline(always)]
    pub(crate) fn window_mut(&mut self, block: Ref) -> Option<WindowMut<'_>> {
        self.memory.0.window(block.get()).map(|words| WindowMut { words, arena: PhantomData })
    }

    /// What a window of this arena shows, to write to.
    #[inline(always)]
    pub(crate) fn writable<'a>(&'a mut self, window: Window<'a>) -> WindowMut<'a> {
        WindowMut { words: window.0, arena: PhantomData }
    }

    /// The block's word number `index` (in 8-byte units), by a relaxed atomic load.
    #[inline]
    pub(crate) fn word(&self, block: Ref, index: usize) -> u64 {
        self.block(block).words.word(index)
    }

    /// Stores a word, relaxed. The caller holds no slice over it.
    #[inline]
    pub(crate) fn set_word(&self, block: Ref, index: usize, word: u64) {
        self.block(block).words.at(index).store(word, Ordering::Relaxed);
    }

    /// Stores what `change` makes of the block's first word, relaxed, unless it is the same. The caller holds the lock, and no slice over it.
    #[inline]
    pub(crate) fn change_first(&self, block: Ref, change: impl FnOnce(u64) -> u64) {
        let Window([first, ..]) = self.memory.window(block).unwrap_or_else(|| outside());
        let old = first.load(Ordering::Relaxed);
        let new = change(old);
        if new != old {
            first.store(new, Ordering::Relaxed);
        }
    }

    /// Bytes handed out and not freed, as [`class_bytes`](Self::class_bytes) counts them.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes at the end of the open run that no block has reached, but for a page: they mostly have memory behind them. A page is left out since 256
    /// of them are more than a small limit.
    #[inline]
    pub(crate) fn kept(&self) -> usize {
        ((self.end - self.fresh) as usize * UNIT).saturating_sub(PAGE)
    }

    /// Bytes that blocks have reached in the spans in use: the most they can cost in memory.
    #[inline]
    pub(crate) fn reserved(&self) -> usize {
        (self.filled + self.fresh - self.start) as usize * UNIT
    }

    /// Bytes that blocks had reached in the condemned spans.
    pub(crate) fn condemned_bytes(&self) -> usize {
        self.condemned_bytes
    }

    /// Frees everything and gives the memory back to the pool.
    pub(crate) fn clear(&mut self) {
        self.release_condemned();
        let in_use = std::mem::take(&mut self.in_use);
        self.release(in_use);
        self.used = 0;
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
        self.free[class] = word as u32;
        if cfg!(debug_assertions) {
            self.set_word(block, 0, 0);
        }
        if word as u32 == 0 {
            self.nonempty[class / 64] &= !(1 << (class % 64));
        }
        block
    }

    #[inline]
    fn push_free(&mut self, class: usize, block: Ref) {
        self.set_word(block, 0, Self::link(block, self.free[class]));
        self.free[class] = block.get();
        self.nonempty[class / 64] |= 1 << (class % 64);
    }

    /// The first class from `from` on that has a free block.
    fn nonempty_from(&self, from: usize) -> Option<usize> {
        let mut index = from / 64;
        let mut word = self.nonempty.get(index)? & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = *self.nonempty.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    #[cold]
    fn alloc_otherwise(&mut self, class: usize) -> Result<Ref, OutOfMemory> {
        let units = class_units(class);
        let enough = (units + SMALLEST_REST).min(LARGEST / UNIT);
        if let Some(larger) = self.nonempty_from(class_of(enough).max(class + 1)) {
            let block = Ref::new(self.free[larger]).expect("the bitmap says the list is not empty");
            self.unlink(larger, block);
            self.scatter(block.get() + units as u32, class_units(larger) - units);
            // Where blocks are of many sizes, the ends of runs serve the small ones.
            self.ends = self.ends.saturating_sub(units * UNIT);
            return Ok(block);
        }
        if self.end - self.fresh < units as u64 {
            self.open_span(units)?;
        }
        let block = Ref::new(self.fresh as u32).expect("unit 0 is never fresh");
        self.fresh += units as u64;
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

    /// Goes on to the lowest span that is not in use, or run of spans for that many units; what is left of this one goes to the free lists.
    fn open_span(&mut self, units: usize) -> Result<(), OutOfMemory> {
        let run_units = run_bytes(self.used, units * UNIT) / UNIT;
        let count = run_units.div_ceil(SPAN);
        let is_vacant = |first: &usize| {
            (*first > 0 || units < run_units)
                && (*first..first + count)
                    .all(|span| !self.in_use.contains(span) && !self.condemned.contains(span))
        };
        let lowest = self.vacant / count * count;
        let first = (lowest..Units::MOST).step_by(count).find(is_vacant).ok_or(OutOfMemory)?;
        let (run, extent, offset) = self.pool.take((run_units * UNIT / PAGE).ilog2())?;
        if let Err(error) = self.memory.0.put(first, run_units.ilog2(), &extent, offset) {
            self.pool.give([run]);
            return Err(error);
        }
        if self.end > self.start {
            self.filled += self.end - self.start;
            self.ends += (self.end - self.fresh) as usize * UNIT;
            self.scatter(self.fresh as u32, (self.end - self.fresh) as usize);
        }
        self.in_use.add(first..first + count, run);
        if count == 1 && first == self.vacant {
            self.vacant += 1;
        }
        self.start = (first * SPAN) as u64;
        self.end = self.start + run_units as u64;
        self.fresh = self.start.max(1);
        Ok(())
    }
}

#[inline]
fn span_of(block: Ref) -> usize {
    block.get() as usize / SPAN
}

impl Memory {
    /// The memory at a reference, unless its span is not there.
    #[inline(always)]
    pub(crate) fn words(&self, block: Ref) -> Option<Words<'_>> {
        self.0.rest(block.get()).map(Words)
    }

    /// The first words at a reference, unless its span is not there.
    #[inline(always)]
    pub(crate) fn window(&self, block: Ref) -> Option<Window<'_>> {
        self.0.window(block.get()).map(Window)
    }
}

impl<'a> Words<'a> {
    /// Word number `index`, if the run reaches that far.
    #[inline(always)]
    pub(crate) fn get(self, index: usize) -> Option<u64> {
        self.0.get(index).map(|word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn word(self, index: usize) -> u64 {
        self.at(index).load(Ordering::Relaxed)
    }

    #[inline]
    fn at(self, index: usize) -> &'a AtomicU64 {
        self.0.get(index).unwrap_or_else(|| outside())
    }

    /// Whether the bytes from word `from` on are these; false if the run does not reach that far.
    #[inline(always)]
    pub(crate) fn equal(self, from: usize, bytes: &[u8]) -> bool {
        let Some(words) = self.0.get(from..from + bytes.len().div_ceil(UNIT)) else { return false };
        let (chunks, rest) = bytes.as_chunks::<UNIT>();
        let mut words = words.iter().map(|word| word.load(Ordering::Relaxed));
        chunks.iter().zip(&mut words).all(|(chunk, word)| word == whole(chunk))
            && words
                .next()
                .is_none_or(|word| u64::from_le(word) & low(rest.len() as u32 * 8) == partial(rest))
    }

    #[inline]
    fn check(self, bytes: usize) {
        if bytes.div_ceil(UNIT) > self.0.len() {
            outside();
        }
    }
}

/// The first [`WINDOW`] words at a reference, read by relaxed atomic loads. They may belong to several blocks, or to none.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a>(&'a [AtomicU64; WINDOW]);

impl Window<'_> {
    /// Hints that its first words will be read soon: three cache lines, which hold most entries.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        let start = self.0.as_ptr().cast::<u8>();
        [0, 64, 128].into_iter().for_each(|line| prefetch(start.wrapping_add(line)));
    }

    /// Word number `index`, below [`WINDOW`].
    #[inline(always)]
    pub(crate) fn word(self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }

    /// Whether the bytes from word `from` on are these; false if the window does not reach that far.
    #[inline(always)]
    pub(crate) fn equal(self, from: usize, bytes: &[u8]) -> bool {
        if from + bytes.len() / UNIT >= WINDOW {
            return false;
        }
        let chunks = bytes.as_chunks::<UNIT>();
        let mut at = from;
        for chunk in chunks.0 {
            // SAFETY: below `from + bytes.len() / UNIT`, which is below `WINDOW`.
            if unsafe { self.load(at) } != whole(chunk) {
                return false;
            }
            at += 1;
        }
        // SAFETY: as above.
        chunks.1.is_empty()
            || u64::from_le(unsafe { self.load(at) }) & low(chunks.1.len() as u32 * 8) == partial(chunks.1)
    }

    /// The eight bytes from byte `from` on as a little-endian number; `None` if the window does not reach that far.
    #[inline(always)]
    pub(crate) fn eight(self, from: usize) -> Option<u64> {
        let (at, bits) = (from / UNIT, (from % UNIT * 8) as u32);
        let word = |at: usize| self.0.get(at).map(|word| u64::from_le(word.load(Ordering::Relaxed)));
        let low = word(at)? >> bits;
        if bits == 0 { Some(low) } else { Some(low | word(at + 1)? << (64 - bits)) }
    }

    /// Copies `len` bytes from byte `from` on and returns them; `None` if they are more than [`LONGEST_COPY`] or reach beyond the window.
    #[inline(always)]
    pub(crate) fn copy(self, from: usize, len: usize, scratch: &mut Scratch) -> Option<&[u8]> {
        let (first, end) = (from / UNIT, from + len);
        if len > LONGEST_COPY || end > (WINDOW - 4) * UNIT {
            return None;
        }
        let words = end.div_ceil(UNIT) - first;
        let mut at = 0;
        // Four words a turn, the last turn perhaps some too many: the compiler leaves loops of atomic loads as they are.
        while at < words {
            // SAFETY: `at + 3` is below `words + 3`, which the scratch has room for; the window goes on for 4 words behind `end`.
            unsafe {
                self.copy_word(first, at, scratch);
                self.copy_word(first, at + 1, scratch);
                self.copy_word(first, at + 2, scratch);
                self.copy_word(first, at + 3, scratch);
            }
            at += 4;
        }
        let start = scratch.0.as_ptr().cast::<u8>().wrapping_add(from % UNIT);
        // SAFETY: the words that hold these bytes were just written to the front of the scratch.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Copies `len` bytes from byte `from` on, as many as fit, to `buffer`; false if they are more than [`LONGEST_COPY`] or reach beyond
    /// the window.
    #[inline(always)]
    pub(crate) fn copy_into(self, from: usize, len: usize, buffer: &mut [u8]) -> bool {
        if !from.is_multiple_of(UNIT) || len > buffer.len() {
            return self.copy_part(from, len, buffer);
        }
        if len > LONGEST_COPY || from + len > (WINDOW - 1) * UNIT {
            return false;
        }
        let (whole, rest) = buffer[..len].as_chunks_mut::<UNIT>();
        let mut at = from / UNIT;
        for room in whole {
            // SAFETY: a word of a range that ends within the window.
            *room = unsafe { self.load(at) }.to_le().to_le_bytes();
            at += 1;
        }
        if !rest.is_empty() {
            // SAFETY: as above.
            let bytes = unsafe { self.load(at) }.to_le().to_le_bytes();
            rest.copy_from_slice(&bytes[..rest.len()]);
        }
        true
    }

    #[inline(never)]
    fn copy_part(self, from: usize, len: usize, buffer: &mut [u8]) -> bool {
        let mut scratch = Scratch::new();
        let copy = self.copy(from, len, &mut scratch);
        if let Some(bytes) = copy {
            let fits = len.min(buffer.len());
            buffer[..fits].copy_from_slice(&bytes[..fits]);
        }
        copy.is_some()
    }

    /// # Safety
    /// `index` is below [`WINDOW`].
    #[inline(always)]
    unsafe fn load(self, index: usize) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { self.0.get_unchecked(index) }.load(Ordering::Relaxed)
    }

    /// # Safety
    /// `first + at` is below [`WINDOW`], and `at` is a word of the scratch.
    #[inline(always)]
    unsafe fn copy_word(self, first: usize, at: usize, scratch: &mut Scratch) {
        // SAFETY: the caller's promise.
        unsafe { scratch.0.get_unchecked_mut(at).write(self.load(first + at)) };
    }
}

/// A [`Window`] for the one who writes there. The arena is borrowed mutably: nobody holds a slice.
pub(crate) struct WindowMut<'a> {
    words: &'a [AtomicU64; WINDOW],
    arena: PhantomData<&'a mut Arena>,
}

impl WindowMut<'_> {
    /// Stores word number `index`, below [`WINDOW`].
    #[inline(always)]
    pub(crate) fn set_word(&mut self, index: usize, word: u64) {
        self.words[index].store(word, Ordering::Relaxed);
    }

    /// Writes `bytes` from byte `from` on and says whether all of them are ASCII; `None` if the window does not reach that far. What
    /// stands behind them in their last word may change.
    #[inline(always)]
    pub(crate) fn write(&mut self, from: usize, bytes: &[u8]) -> Option<bool> {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        if from.checked_add(bytes.len())? > (WINDOW - 1) * UNIT {
            return None;
        }
        let (chunks, rest) = bytes.as_chunks::<UNIT>();
        let (mut at, bits, mut seen) = (from / UNIT, (from % UNIT * 8) as u32, 0);
        let mut pending = 0;
        // SAFETY: here and below: all stores are to words of `from..from + bytes.len()`, or to the one behind them, within the window.
        unsafe {
            if bits == 0 {
                for chunk in chunks {
                    self.store(at, whole(chunk));
                    seen |= whole(chunk);
                    at += 1;
                }
            } else {
                pending = u64::from_le(self.words[at].load(Ordering::Relaxed)) & low(bits);
                for chunk in chunks {
                    let word = u64::from_le(whole(chunk));
                    self.store(at, (pending | word << bits).to_le());
                    pending = word >> (64 - bits);
                    seen |= word;
                    at += 1;
                }
            }
            if !rest.is_empty() {
                let word = partial(rest);
                seen |= word;
                self.store(at, (pending | word << bits).to_le());
                if rest.len() as u32 * 8 + bits > 64 {
                    self.store(at + 1, (word >> (64 - bits)).to_le());
                }
            } else if bits > 0 {
                self.store(at, pending.to_le());
            }
        }
        Some(seen & HIGH == 0)
    }

    /// # Safety
    /// `index` is below [`WINDOW`].
    #[inline(always)]
    unsafe fn store(&mut self, index: usize, word: u64) {
        // SAFETY: the caller's promise.
        unsafe { self.words.get_unchecked(index) }.store(word, Ordering::Relaxed);
    }
}

impl<'a> Block<'a> {
    /// The same memory by atomic loads.
    #[inline]
    pub(crate) fn words(self) -> Words<'a> {
        self.words
    }

    /// `len` bytes from byte `from` on.
    ///
    /// # Panics
    /// If they reach beyond the run of spans.
    #[inline]
    pub(crate) fn bytes(self, from: usize, len: usize) -> &'a [u8] {
        self.words.check(from + len);
        let start = self.words.0.as_ptr().cast::<u8>();
        // SAFETY: `check` saw that the range is mapped; nobody writes there while the arena is borrowed (invariants).
        unsafe { std::slice::from_raw_parts(start.add(from), len) }
    }
}

/// Puts bytes together into words and stores these.
struct WordWriter<'a> {
    words: Words<'a>,
    next: usize,
    /// The bytes of the word `next` that are known so far, and how many bits they are.
    pending: u64,
    bits: u32,
}

impl WordWriter<'_> {
    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<UNIT>();
        if self.bits == 0 {
            let end = self.next + chunks.len();
            let words = self.words.0.get(self.next..end).unwrap_or_else(|| outside());
            for (word, chunk) in words.iter().zip(chunks) {
                word.store(whole(chunk), Ordering::Relaxed);
            }
            self.next = end;
        } else {
            for chunk in chunks {
                let word = u64::from_le(whole(chunk));
                self.store((self.pending | word << self.bits).to_le());
                self.pending = word >> (64 - self.bits);
            }
        }
        if rest.is_empty() {
            return;
        }
        let (word, bits) = (partial(rest), rest.len() as u32 * 8);
        let joined = self.pending | word << self.bits;
        if self.bits + bits >= 64 {
            self.store(joined.to_le());
            // Shifting by all 64 bits would need `bits` to be 64: a rest is shorter.
            self.pending = word >> (64 - self.bits);
            self.bits = self.bits + bits - 64;
        } else {
            self.pending = joined;
            self.bits += bits;
        }
    }

    #[inline]
    fn store(&mut self, word: u64) {
        self.words.at(self.next).store(word, Ordering::Relaxed);
        self.next += 1;
    }

    #[inline]
    fn finish(mut self) {
        if self.bits > 0 {
            let kept = u64::from_le(self.words.word(self.next)) & !low(self.bits);
            self.store((kept | self.pending).to_le());
        }
    }
}

/// The lowest `bits` bits, fewer than 64.
#[inline]
fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Eight bytes as the word that they are in memory.
#[inline]
fn whole(bytes: &[u8; UNIT]) -> u64 {
    u64::from_le_bytes(*bytes).to_le()
}

/// One to seven bytes as a number, the first lowest.
#[inline(always)]
fn partial(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        u64::from(first) | u64::from(last) << ((n - 4) * 8)
    } else {
        let byte = |at: usize| u64::from(bytes[at]) << (at * 8);
        byte(0) | byte(n / 2) | byte(n - 1)
    }
}

#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("reference outside the arena")
}

#[cfg(test)]
mod tests;
