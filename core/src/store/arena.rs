//! The memory of one shard: blocks of whole 8-byte units, addressed by 32-bit references.
//! What stands in a block, and who may touch it when, is left to the shard; so are allocations above 1 MiB.
//!
//! **Segments.** Segment `k` has `2^(13+k)` units (64 KiB, 128 KiB, ...). References number the units through all
//! segments from 1 up, so `ref + 2^13` has its top bit at `13 + k`: the address is a count of leading zeros, one load
//! from an inline array, and an addition. A segment is mapped when the one before it is full, never moves, and is
//! unmapped only with the arena. The whole holds 32 GiB.
//!
//! **Classes.** Up to 1 KiB every multiple of 8 bytes is a class of its own; above, each doubling has 8 classes, so
//! that less than 12.5 % is lost. Freed blocks of a class form a list threaded through the blocks themselves. A request
//! takes a block of its own class, else splits the smallest block that leaves a usable rest, else takes fresh units at
//! the end. Nothing is ever merged: that is compaction's part. All of it is O(1).
//!
//! # Unsafe: invariants
//! - `bases[k]` for every `k` whose units are below `limit` is the start of a live mapping of segment `k`, less the
//!   segment's first unit number, so that adding a unit number gives the address.
//! - Every access checks that its range ends below `limit` and stays inside one segment. So no reference, however
//!   wrong, reaches memory that is not this arena's; and all of that memory is initialised, since maps are zeroed.
//! - `bytes` borrows `&self` and `bytes_mut` `&mut self`. Only [`Arena::set_word`] writes through `&self`: its caller
//!   must hold no slice from [`Arena::bytes`] over that word. The word is one that only `word` and `set_word` touch
//!   while others may be reading (an entry's access stamp).

use std::num::NonZeroU32;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::os::{self, Mapping, OutOfMemory};

/// Bytes of a unit, and the alignment of every block.
pub(crate) const UNIT: usize = 8;
/// The largest allocation, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

const FIRST_SEGMENT: u64 = 1 << 13;
const SEGMENTS: usize = 19;
const FINE_UNITS: usize = 128;
const CLASSES: usize = FINE_UNITS + 10 * 8;
/// No block is split to leave less than this many units: nothing in a shard is that small.
const SMALLEST_REST: usize = 3;

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

/// See the module's text.
pub(crate) struct Arena {
    /// Start of each mapped segment less its first unit number (in the numbering offset by [`FIRST_SEGMENT`]).
    /// One more than there can be, so that any reference's segment is in the array without a check.
    bases: [*mut u8; SEGMENTS + 1],
    /// First unit number that is not mapped, offset by [`FIRST_SEGMENT`].
    limit: u64,
    /// Next fresh unit number, same offset.
    fresh: u64,
    /// End of the segment that `fresh` is in; later segments up to `limit` are left from before a `clear`.
    end: u64,
    used: usize,
    free: [u32; CLASSES],
    nonempty: [u64; CLASSES.div_ceil(64)],
    mappings: Vec<Mapping>,
}

// SAFETY: the pointers lead into `mappings`, which the arena owns.
unsafe impl Send for Arena {}

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
    /// An empty arena, which has mapped nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            bases: [null_mut(); SEGMENTS + 1],
            limit: FIRST_SEGMENT,
            fresh: FIRST_SEGMENT,
            end: FIRST_SEGMENT,
            used: 0,
            free: [0; CLASSES],
            nonempty: [0; CLASSES.div_ceil(64)],
            mappings: Vec::new(),
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
        self.push_free(class, block);
    }

    /// The first `len` bytes of the block.
    #[inline]
    pub(crate) fn bytes(&self, block: Ref, len: usize) -> &[u8] {
        let start = self.address(block, len);
        // SAFETY: `address` checked that the range is mapped and in one segment; see the invariants for writers.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// `len` bytes of the block from byte `from` on, none of the words before it.
    #[inline]
    pub(crate) fn bytes_from(&self, block: Ref, from: usize, len: usize) -> &[u8] {
        let start = self.address(block, from + len);
        // SAFETY: as in `bytes`, of which this is the end.
        unsafe { std::slice::from_raw_parts(start.add(from), len) }
    }

    /// The first `len` bytes of the block, to write.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, block: Ref, len: usize) -> &mut [u8] {
        let start = self.address(block, len);
        // SAFETY: as in `bytes`; `&mut self` makes it the only reference into the arena.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// The block's word number `index` (in 8-byte units), by a relaxed atomic load.
    #[inline]
    pub(crate) fn word(&self, block: Ref, index: usize) -> u64 {
        self.atomic(block, index).load(Ordering::Relaxed)
    }

    /// Stores a word, relaxed. The caller holds no slice of [`bytes`](Self::bytes) over it.
    #[inline]
    pub(crate) fn set_word(&self, block: Ref, index: usize, word: u64) {
        self.atomic(block, index).store(word, Ordering::Relaxed);
    }

    /// Hints that the block will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, block: Ref) {
        let unit = u64::from(block.get()) + FIRST_SEGMENT;
        if let Some(base) = self.bases.get(segment_of(unit)) {
            os::prefetch(base.wrapping_add(unit as usize * UNIT));
        }
    }

    /// Bytes handed out and not freed, as [`class_bytes`](Self::class_bytes) counts them.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes that blocks have ever reached since the arena was new or cleared: the most it can cost in memory.
    #[inline]
    pub(crate) fn reserved(&self) -> usize {
        (self.fresh - FIRST_SEGMENT) as usize * UNIT
    }

    /// Frees everything and gives the memory back to the system, but keeps the address space.
    pub(crate) fn clear(&mut self) {
        let mut first = FIRST_SEGMENT;
        for mapping in &mut self.mappings {
            if first >= self.fresh {
                break;
            }
            let reached = (self.fresh - first) as usize * UNIT;
            mapping.advise_free(0..reached.min(mapping.len()).next_multiple_of(os::PAGE));
            first *= 2;
        }
        (self.fresh, self.end) = (FIRST_SEGMENT, FIRST_SEGMENT);
        self.used = 0;
        self.free = [0; CLASSES];
        self.nonempty = [0; CLASSES.div_ceil(64)];
    }

    /// The address of a range of this arena.
    #[inline]
    fn address(&self, block: Ref, bytes: usize) -> *mut u8 {
        let unit = u64::from(block.get()) + FIRST_SEGMENT;
        let last = unit + (bytes.max(1) as u64 - 1) / UNIT as u64;
        // Of two numbers with the same top bit, and only of those, the difference is below what they share.
        assert!(last < self.limit && unit ^ last < unit & last, "reference outside the arena");
        self.bases[segment_of(unit)].wrapping_add(unit as usize * UNIT)
    }

    #[inline]
    fn atomic(&self, block: Ref, index: usize) -> &AtomicU64 {
        let start = self.address(block, (index + 1) * UNIT).wrapping_add(index * UNIT);
        // SAFETY: `address` checked the range; units are 8-byte aligned; nobody reads the word non-atomically while
        // another thread writes it (invariants).
        unsafe { AtomicU64::from_ptr(start.cast()) }
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
            return Ok(block);
        }
        while self.end - self.fresh < units as u64 {
            self.open_segment()?;
        }
        let block = (self.fresh - FIRST_SEGMENT) as u32;
        self.fresh += units as u64;
        Ok(Ref::new(block).expect("unit 0 is never fresh"))
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

    /// Goes on to the next segment; what is left of this one goes to the free lists.
    fn open_segment(&mut self) -> Result<(), OutOfMemory> {
        if self.end == self.limit {
            self.map_segment()?;
        }
        let (first, rest) = ((self.fresh - FIRST_SEGMENT) as u32, (self.end - self.fresh) as usize);
        // The very first unit stays unused: its number would be 0.
        self.fresh = self.end.max(FIRST_SEGMENT + 1);
        self.end *= 2;
        self.scatter(first, rest);
        Ok(())
    }

    fn map_segment(&mut self) -> Result<(), OutOfMemory> {
        let segment = segment_of(self.limit);
        if segment == SEGMENTS {
            return Err(OutOfMemory);
        }
        self.mappings.try_reserve(1).map_err(|_| OutOfMemory)?;
        let bytes = self.limit as usize * UNIT;
        let mapping = os::map(bytes)?;
        self.bases[segment] = mapping.start().as_ptr().wrapping_sub(bytes);
        self.mappings.push(mapping);
        self.limit *= 2;
        Ok(())
    }
}

/// The segment of a unit number offset by [`FIRST_SEGMENT`].
#[inline]
fn segment_of(unit: u64) -> usize {
    (unit.ilog2() - FIRST_SEGMENT.ilog2()) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CASES: u32 = if cfg!(miri) { 4 } else { 200 };

    #[test]
    fn classes_waste_little_and_are_consistent() {
        for units in 1..=LARGEST / UNIT {
            let class = class_of(units);
            let size = class_units(class);
            assert!(size >= units && (units <= FINE_UNITS && size == units || (size - units) * 8 < units));
            assert!(class == 0 || class_units(class - 1) < units);
            assert!(class_units(class_within(units)) <= units);
            if cfg!(miri) && units > 2000 {
                break;
            }
        }
        assert_eq!(class_of(LARGEST / UNIT), CLASSES - 1);
        assert_eq!(class_units(CLASSES - 1), LARGEST / UNIT);
    }

    #[test]
    fn an_empty_arena_maps_nothing() {
        let mut arena = Arena::new();
        assert_eq!((arena.mappings.len(), arena.used(), arena.reserved()), (0, 0, 0));
        arena.clear();
        arena.prefetch(Ref::new(77).unwrap());
        arena.prefetch(Ref::new(u32::MAX).unwrap());
        arena.alloc(1).unwrap();
        assert_eq!((arena.mappings.len(), arena.used()), (1, 8));
    }

    #[test]
    fn the_largest_block_skips_to_a_segment_that_holds_it() {
        let mut arena = Arena::new();
        let large = arena.alloc(LARGEST).unwrap();
        arena.bytes_mut(large, LARGEST).fill(1);
        let reserved = arena.reserved();
        // What was skipped serves the small ones.
        for _ in 0..1000 {
            arena.alloc(100).unwrap();
        }
        assert_eq!(arena.reserved(), reserved);
        assert_eq!(arena.alloc(LARGEST + 1), Err(OutOfMemory));
    }

    #[test]
    fn freed_blocks_are_reused_and_split() {
        let mut arena = Arena::new();
        let block = arena.alloc(800).unwrap();
        arena.free(block, 800);
        assert_eq!(arena.alloc(800), Ok(block));
        arena.free(block, 800);
        let small = arena.alloc(40).unwrap();
        assert_eq!(small, block, "the larger free block is split");
        assert_eq!(arena.alloc(760).unwrap().get(), block.get() + 5, "and its rest used");
        assert_eq!(arena.used(), 800);
    }

    #[test]
    #[should_panic(expected = "outside the arena")]
    fn a_wild_reference_is_refused() {
        let mut arena = Arena::new();
        arena.alloc(10).unwrap();
        arena.bytes(Ref::new(1 << 20).unwrap(), 1);
    }

    #[test]
    #[should_panic(expected = "outside the arena")]
    fn a_range_over_the_end_of_a_segment_is_refused() {
        let mut arena = Arena::new();
        for _ in 0..200 {
            arena.alloc(1000).unwrap();
        }
        arena.bytes(Ref::new(8191).unwrap(), 17);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_double_free_is_caught_in_debug_builds() {
        let mut arena = Arena::new();
        let block = arena.alloc(24).unwrap();
        arena.alloc(24).unwrap();
        arena.free(block, 24);
        arena.free(block, 24);
    }

    #[test]
    fn without_memory_it_works_on_with_what_it_has() {
        let mut arena = Arena::new();
        os::refusal::set(true);
        assert_eq!(arena.alloc(8), Err(OutOfMemory));
        os::refusal::set(false);
        let first = arena.alloc(1000).unwrap();
        os::refusal::set(true);
        let fitting = std::iter::from_fn(|| arena.alloc(1000).ok()).count();
        assert_eq!((fitting, arena.used()), (64, 65_000));
        arena.free(first, 1000);
        assert_eq!(arena.alloc(1000), Ok(first));
        arena.alloc(500).expect("the end of the segment has room");
        os::refusal::set(false);
        arena.alloc(1000).unwrap();
    }

    #[test]
    fn words_are_the_bytes() {
        let mut arena = Arena::new();
        let block = arena.alloc(24).unwrap();
        arena.set_word(block, 1, 0x0102_0304_0506_0708);
        assert_eq!(arena.word(block, 1), 0x0102_0304_0506_0708);
        let bytes: [u8; 8] = arena.bytes(block, 24)[8..16].try_into().unwrap();
        assert_eq!(bytes, bytemuck::cast::<u64, [u8; 8]>(0x0102_0304_0506_0708));
    }

    #[test]
    #[cfg_attr(miri, ignore)]
    fn many_segments() {
        let mut arena = Arena::new();
        let blocks: Vec<_> = (0..200_000_u64)
            .map(|i| {
                let block = arena.alloc(104).unwrap();
                arena.bytes_mut(block, 104).fill(i as u8);
                arena.set_word(block, 0, i);
                block
            })
            .collect();
        assert!(arena.mappings.len() > 7);
        for (i, &block) in blocks.iter().enumerate() {
            assert_eq!(arena.word(block, 0), i as u64);
            assert!(arena.bytes(block, 104)[8..].iter().all(|&b| b == i as u8));
        }
        let mapped = arena.mappings.len();
        arena.clear();
        for _ in 0..200_000 {
            arena.alloc(104).unwrap();
        }
        assert_eq!(arena.mappings.len(), mapped, "cleared segments are used again");
    }

    #[derive(Clone, Debug)]
    enum Op {
        Alloc(usize),
        Free(usize),
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            30 => (0..300_usize).prop_map(Op::Alloc),
            5 => (0..20_000_usize).prop_map(Op::Alloc),
            1 => (0..LARGEST + 1).prop_map(Op::Alloc),
            30 => any::<usize>().prop_map(Op::Free),
            1 => Just(Op::Clear),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]

        /// Blocks keep what was written, never overlap, and the count of used bytes is exact.
        #[test]
        fn behaves_as_a_list_of_vectors(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 40 } else { 400 })) {
            let mut arena = Arena::new();
            let mut model: Vec<(Ref, Vec<u8>)> = Vec::new();
            for (step, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Alloc(bytes) => {
                        let block = arena.alloc(bytes).unwrap();
                        let content: Vec<u8> = (0..bytes).map(|i| (i ^ step) as u8).collect();
                        arena.bytes_mut(block, bytes).copy_from_slice(&content);
                        model.push((block, content));
                    }
                    Op::Free(at) if !model.is_empty() => {
                        let (block, content) = model.swap_remove(at % model.len());
                        prop_assert_eq!(arena.bytes(block, content.len()), &content[..]);
                        arena.free(block, content.len());
                    }
                    Op::Free(_) => {}
                    Op::Clear => {
                        arena.clear();
                        model.clear();
                    }
                }
                let used: usize = model.iter().map(|(_, content)| Arena::class_bytes(content.len())).sum();
                prop_assert_eq!(arena.used(), used);
                prop_assert!(arena.reserved() >= used);
            }
            for (block, content) in &model {
                prop_assert_eq!(arena.bytes(*block, content.len()), &content[..]);
            }
            let mut ranges: Vec<_> = model
                .iter()
                .map(|(block, content)| (block.get() as usize, Arena::class_bytes(content.len()) / UNIT))
                .collect();
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        }
    }
}
