//! A hierarchical timing wheel of one shard's timers, in ticks of 1 ms, without handles and without cancelling.
//! What a timer's id leads to, and whether that still has to expire, is left to the caller.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6. There are 6 levels of 256 slots;
//! a slot of level `l` spans `256^l` ms. A timer due in less than `256^(l+1)` ms goes to the first such `l`, into the slot
//! that its deadline falls in. When the clock enters a slot, its timers are given to the caller, who knows the deadlines:
//! those gone are dropped, those due expire, the others are filed again, further down. So a timer costs 4 bytes and is
//! looked at once per level: twice for a deadline within 65 s, three times within 4.6 h. Level 5 covers 8,900 years;
//! later deadlines wait there.
//!
//! Nobody cancels: a deleted key's timer is dropped when its slot comes up. Nobody re-arms when a deadline moves away:
//! the timer comes up early and is filed again. Only a deadline that comes nearer needs another timer.
//!
//! **Memory.** A slot is a list of 64-byte chunks of 15 ids; only the first chunk has room. Chunks stand in one store per
//! wheel, which grows in segments of at most 4 KiB, so that nothing is ever copied, and is rebuilt when three quarters of
//! it are free. The segments of a page are pages of the engine's [`Pool`], if the wheel is a shard's: from the allocator, timers of keys that are
//! long gone would leave holes that no entry can use. Levels (1 KiB) are there while they hold timers. Arming is O(1).
//!
//! **Clock steps.** Forward: the slots in between come up at once, in order. Backward by up to a second: the wheel stands
//! still, and timers armed for what it takes for the past come up at every advance. Further backward: every
//! timer is given once to the caller and filed anew.

use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::{Line, OutOfMemory, PAGE, Pages, Pool};
use crate::sync::Arc;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
/// Later deadlines count as this one, and come up early.
const LAST: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
/// A clock that steps back by more than this, in ms, has all timers filed anew.
const BACKWARD: u64 = 1000;

/// What became of a timer that came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// It has expired, or what it stood for is no more: drop it.
    Gone,
    /// It is due at this deadline (absolute, in ms) and comes up again.
    Later(u64),
}

/// What one call of [`Wheel::advance`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Timers given to the caller.
    pub(crate) fired: usize,
    /// The budget ended first: more timers are waiting to be given.
    pub(crate) more: bool,
}

/// See the module's text.
pub(crate) struct Wheel {
    /// The tick up to which slots have been emptied, in ms.
    now: u64,
    len: usize,
    chunks: Chunks,
    levels: [Option<Box<Level>>; LEVELS],
    /// Lists whose time has come, to be given to the caller.
    due: Vec<List>,
    /// Timers that were armed for the past: they come up at the next advance.
    late: List,
    /// Timers that came up and are not due by the caller's clock, which is behind the wheel's. They come up at the next
    /// advance after all of `due` was given, lest they come up over and over and keep the others waiting.
    early: List,
}

impl Default for Wheel {
    /// An empty wheel whose clock stands at the beginning, with memory of its own.
    fn default() -> Self {
        Self::new(0)
    }
}

/// A list of chunks: its first chunk's index + 1, or 0.
type List = u32;

#[derive(Clone)]
struct Level {
    slots: [List; SLOTS],
    occupied: [u64; SLOTS / 64],
}

impl Level {
    /// How many slots ahead of position `now` the next occupied one is, from 1 to 256.
    fn ahead(&self, now: usize) -> Option<u64> {
        let first = (now + 1) % SLOTS;
        // The word of `first` comes twice: its upper part at the start, its lower part at the end.
        for step in 0..=SLOTS / 64 {
            let word = (first / 64 + step) % (SLOTS / 64);
            let mask = match step {
                0 => u64::MAX << (first % 64),
                4 => !(u64::MAX << (first % 64)),
                _ => u64::MAX,
            };
            let bits = self.occupied[word] & mask;
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(((slot + SLOTS - first) % SLOTS) as u64 + 1);
            }
        }
        None
    }

    fn take(&mut self, slot: usize) -> List {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::take(&mut self.slots[slot])
    }
}

impl Wheel {
    /// An empty wheel whose clock stands at `now_ms`, with memory of its own.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self::of(Chunks::default(), now_ms)
    }

    /// The same, with memory from the engine's pool.
    pub(crate) fn in_pool(pool: &Arc<Pool>, now_ms: u64) -> Self {
        Self::of(Chunks { pages: Some(Box::new(Pages::new(pool.clone()))), ..Chunks::default() }, now_ms)
    }

    fn of(chunks: Chunks, now_ms: u64) -> Self {
        Self {
            now: now_ms.min(LAST),
            len: 0,
            chunks,
            levels: [const { None }; LEVELS],
            due: Vec::new(),
            late: 0,
            early: 0,
        }
    }

    /// Adds a timer. A deadline already past comes up at the next advance. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; the wheel is then as before.
    #[inline]
    pub(crate) fn arm(&mut self, deadline_ms: u64, id: u32) -> Result<(), OutOfMemory> {
        self.file(deadline_ms, id)?;
        self.len += 1;
        Ok(())
    }

    /// Moves the clock to `now_ms` and gives every timer whose slot has come to `fire`, at most `budget` of them.
    ///
    /// While the result says `more`, call again, with the same clock or a later one. A timer is given at the first
    /// advance to its deadline or later, or before that, never after. O(timers given + slots that came up).
    pub(crate) fn advance(
        &mut self,
        now_ms: u64,
        budget: usize,
        mut fire: impl FnMut(u32) -> Fired,
    ) -> Progress {
        let now = now_ms.min(LAST);
        if self.due.is_empty() {
            self.due.extend(take_list(&mut self.early));
        }
        self.due.extend(take_list(&mut self.late));
        if now + BACKWARD < self.now {
            self.step_back(now);
        }
        let mut progress = Progress::default();
        while self.next_due(now) {
            if progress.fired == budget {
                progress.more = true;
                break;
            }
            let id = self.pop_due();
            progress.fired += 1;
            match fire(id) {
                Fired::Gone => self.len -= 1,
                Fired::Later(deadline) => {
                    let filed = if deadline <= self.now {
                        self.chunks.push(&mut self.early, id)
                    } else {
                        self.file(deadline, id)
                    };
                    if filed.is_err() {
                        self.put_back(id);
                        progress.more = true;
                        break;
                    }
                }
            }
        }
        self.shrink();
        progress
    }

    /// The first ids that the next advance will give, of those whose time is known to have come. None before the first advance to that time.
    pub(crate) fn upcoming(&self) -> impl Iterator<Item = u32> + '_ {
        let mut list = self.due.last().copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let chunk = (list != 0).then(|| self.chunks.chunk(list))?;
            list = chunk.next();
            Some((0..chunk.count()).rev().map(move |index| chunk.id(index)))
        })
        .flatten()
    }

    /// When advancing next can do anything, in absolute ms: not after the nearest deadline. None for an empty wheel.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        if self.late != 0 || self.early != 0 || !self.due.is_empty() {
            return Some(self.now);
        }
        (0..LEVELS).filter_map(|level| self.next_start(level)).min()
    }

    /// When to advance next, in absolute ms, once it was advanced to `now_ms`. Timers that are not due by a clock that was set back have no place in the
    /// wheel: they are asked after every few milliseconds.
    pub(crate) fn next_look(&self, now_ms: u64) -> Option<u64> {
        const FEW: u64 = 10;
        let next = self.next_tick()?;
        Some(if next <= self.now { now_ms + FEW } else { next })
    }

    /// Number of timers, those among them that the caller no longer needs.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Memory in use beside the struct itself, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let levels = self.levels.iter().flatten().count() * size_of::<Level>();
        self.chunks.bytes() + levels + self.due.capacity() * size_of::<List>()
    }

    /// Forgets all timers and frees the memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::of(self.chunks.anew(), self.now);
    }

    /// Another wheel with the same timers, with memory of its own. O(bytes).
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            now: self.now,
            len: self.len,
            chunks: self.chunks.duplicate(),
            levels: self.levels.clone(),
            due: self.due.clone(),
            late: self.late,
            early: self.early,
        }
    }

    /// Puts a timer where the clock will find it.
    #[inline]
    fn file(&mut self, deadline: u64, id: u32) -> Result<(), OutOfMemory> {
        let deadline = deadline.min(LAST);
        if deadline <= self.now {
            return self.chunks.push(&mut self.late, id);
        }
        let level = ((deadline - self.now).ilog2() / SLOT_BITS) as usize;
        let slot = slot_of(deadline, level);
        let level = match &mut self.levels[level] {
            Some(level) => level,
            none => none.insert(Box::new(Level { slots: [0; SLOTS], occupied: [0; SLOTS / 64] })),
        };
        self.chunks.push(&mut level.slots[slot], id)?;
        level.occupied[slot / 64] |= 1 << (slot % 64);
        Ok(())
    }

    /// When the next occupied slot of a level begins.
    fn next_start(&self, level: usize) -> Option<u64> {
        let ahead = self.levels[level].as_ref()?.ahead(slot_of(self.now, level))?;
        let shift = level as u32 * SLOT_BITS;
        Some(((self.now >> shift) + ahead) << shift)
    }

    /// Makes sure that a due list stands ready, moving the clock up to `now`; false if none is due by then.
    #[inline]
    fn next_due(&mut self, now: u64) -> bool {
        while self.due.is_empty() {
            let starts: [Option<u64>; LEVELS] = std::array::from_fn(|level| self.next_start(level));
            let Some(next) = starts.iter().flatten().copied().min().filter(|&next| next <= now) else {
                self.now = self.now.max(now);
                return false;
            };
            self.now = next;
            // All that begin now, in one go: from here on their positions mean one turn later.
            for (index, start) in starts.into_iter().enumerate() {
                if start == Some(next)
                    && let Some(level) = &mut self.levels[index]
                {
                    self.due.push(level.take(slot_of(next, index)));
                }
            }
        }
        true
    }

    #[inline]
    fn pop_due(&mut self) -> u32 {
        let list = self.due.last_mut().expect("a due list stands ready");
        let id = self.chunks.pop(list);
        if *list == 0 {
            self.due.pop();
        }
        id
    }

    /// Keeps a timer for which there was no memory elsewhere. The pop before has left room for it.
    fn put_back(&mut self, id: u32) {
        let mut list = self.due.pop().unwrap_or(0);
        self.chunks.push(&mut list, id).expect("the chunk that the id came from has room or is free");
        self.due.push(list);
    }

    /// The clock went back: all timers become due, to be filed anew.
    fn step_back(&mut self, now: u64) {
        self.now = now;
        for level in self.levels.iter_mut().flatten() {
            self.due.extend(level.slots.iter_mut().map(std::mem::take).filter(|&list| list != 0));
            level.occupied = [0; SLOTS / 64];
        }
    }

    /// Frees memory that is far from being needed.
    fn shrink(&mut self) {
        if self.len == 0 {
            self.clear();
            return;
        }
        for level in &mut self.levels {
            level.take_if(|level| level.occupied == [0; SLOTS / 64]);
        }
        if self.chunks.wasteful() {
            let lists = self.levels.iter_mut().flatten().flat_map(|level| level.slots.iter_mut());
            self.chunks.rebuild(lists.chain(&mut self.due).chain([&mut self.late, &mut self.early]));
        }
    }
}

fn take_list(list: &mut List) -> Option<List> {
    Some(std::mem::take(list)).filter(|&list| list != 0)
}

/// The slot that a time falls in.
#[inline]
fn slot_of(time: u64, level: usize) -> usize {
    (time >> (level as u32 * SLOT_BITS)) as usize % SLOTS
}

/// Ids of a chunk: its first half word holds the next chunk's index + 1, and how many ids there are.
const CHUNK: usize = 15;

/// One cache line: the link, then the ids, each half a word. The words are atomic since they may stand in a page that served an arena before, at
/// which readers without a lock may still look.
#[derive(Clone, Copy)]
struct Chunk<'c>(&'c Line);

impl Chunk<'_> {
    const COUNT_BITS: u32 = 4;

    #[inline]
    fn get(self, at: usize) -> u32 {
        (self.0.0[at / 2].load(Ordering::Relaxed) >> (at % 2 * 32)) as u32
    }

    #[inline]
    fn set(self, at: usize, half: u32) {
        let (word, shift) = (&self.0.0[at / 2], at % 2 * 32);
        let other = word.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
        word.store(other | u64::from(half) << shift, Ordering::Relaxed);
    }

    #[inline]
    fn count(self) -> usize {
        (self.get(0) & 15) as usize
    }

    #[inline]
    fn next(self) -> List {
        self.get(0) >> Self::COUNT_BITS
    }

    #[inline]
    fn set_link(self, next: List, count: usize) {
        self.set(0, next << Self::COUNT_BITS | count as u32);
    }

    #[inline]
    fn id(self, index: usize) -> u32 {
        self.get(1 + index)
    }

    #[inline]
    fn set_id(self, index: usize, id: u32) {
        self.set(1 + index, id);
    }

    fn copy_from(self, other: Chunk<'_>) {
        for (to, from) in self.0.0.iter().zip(&other.0.0) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Chunks in segments of 1, 1, 2, 4... 32, and from then on of 64.
#[derive(Default)]
struct Chunks {
    segments: Vec<Vec<Line>>,
    /// The segments of 64, if the wheel is a shard's.
    pages: Option<Box<Pages>>,
    /// Chunks ever taken from the segments.
    taken: u32,
    free: List,
    free_len: u32,
}

impl Chunks {
    const MOST: u32 = 1 << (32 - Chunk::COUNT_BITS);
    /// Chunks of a large segment, as a power of two.
    const LARGE_BITS: u32 = (PAGE / size_of::<Line>()).ilog2();
    /// The number of the first large segment.
    const FIRST_LARGE: usize = Self::LARGE_BITS as usize + 1;

    /// None, from where these are.
    fn anew(&self) -> Self {
        Self { pages: self.pages.as_ref().map(|pages| Box::new(pages.anew())), ..Self::default() }
    }

    /// The same chunks elsewhere: not for those in pages of a pool, which are a shard's.
    fn duplicate(&self) -> Self {
        debug_assert!(self.pages.is_none(), "a shard's wheel has no double");
        let segments = self.segments.iter().map(|lines| {
            let copy = |line: &Line| {
                Line(std::array::from_fn(|at| AtomicU64::new(line.0[at].load(Ordering::Relaxed))))
            };
            lines.iter().map(copy).collect()
        });
        Self {
            segments: segments.collect(),
            pages: None,
            taken: self.taken,
            free: self.free,
            free_len: self.free_len,
        }
    }

    /// Segment and position in it.
    #[inline]
    fn locate(index: u32) -> (usize, usize) {
        let large = index >> Self::LARGE_BITS;
        if large > 0 {
            return ((large + Self::LARGE_BITS) as usize, (index % (1 << Self::LARGE_BITS)) as usize);
        }
        let segment = u32::BITS - index.leading_zeros();
        (segment as usize, (index ^ ((1 << segment) >> 1)) as usize)
    }

    fn segment_len(segment: usize) -> usize {
        1 << segment.saturating_sub(1).min(Self::LARGE_BITS as usize)
    }

    /// How many segments there are.
    fn segments(&self) -> usize {
        self.segments.len() + self.pages.as_ref().map_or(0, |pages| pages.len())
    }

    fn open_segment(&mut self) -> Result<(), OutOfMemory> {
        let segment = self.segments();
        if segment >= Self::FIRST_LARGE
            && let Some(pages) = &mut self.pages
        {
            return pages.add();
        }
        let mut lines = Vec::new();
        lines.try_reserve_exact(Self::segment_len(segment)).map_err(|_| OutOfMemory)?;
        lines.resize_with(Self::segment_len(segment), || Line([const { AtomicU64::new(0) }; 8]));
        self.segments.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.segments.push(lines);
        Ok(())
    }

    #[inline]
    fn chunk(&self, list: List) -> Chunk<'_> {
        let (segment, at) = Self::locate(list - 1);
        if segment >= Self::FIRST_LARGE
            && let Some(pages) = &self.pages
        {
            return Chunk(&pages.lines(segment - Self::FIRST_LARGE)[at]);
        }
        Chunk(&self.segments[segment][at])
    }

    #[inline]
    fn push(&mut self, list: &mut List, id: u32) -> Result<(), OutOfMemory> {
        if *list != 0 {
            let chunk = self.chunk(*list);
            let count = chunk.count();
            if count < CHUNK {
                chunk.set_id(count, id);
                chunk.set_link(chunk.next(), count + 1);
                return Ok(());
            }
        }
        let first = self.alloc()?;
        let chunk = self.chunk(first);
        chunk.set_link(*list, 1);
        chunk.set_id(0, id);
        *list = first;
        Ok(())
    }

    /// Takes an id from a list that is not empty.
    #[inline]
    fn pop(&mut self, list: &mut List) -> u32 {
        let (first, free) = (*list, self.free);
        let chunk = self.chunk(first);
        let count = chunk.count() - 1;
        let id = chunk.id(count);
        if count > 0 {
            chunk.set_link(chunk.next(), count);
        } else {
            *list = chunk.next();
            chunk.set_link(free, 0);
            self.free = first;
            self.free_len += 1;
        }
        id
    }

    fn alloc(&mut self) -> Result<List, OutOfMemory> {
        if self.free != 0 {
            let list = self.free;
            self.free = self.chunk(list).next();
            self.free_len -= 1;
            return Ok(list);
        }
        if self.taken == Self::MOST - 1 {
            return Err(OutOfMemory);
        }
        if Self::locate(self.taken).0 == self.segments() {
            self.open_segment()?;
        }
        self.taken += 1;
        Ok(self.taken)
    }

    /// Memory in use, in bytes.
    fn bytes(&self) -> usize {
        let chunks = match self.segments() {
            0 => 0,
            small if small <= Self::FIRST_LARGE => 1 << (small - 1),
            all => (all - Self::FIRST_LARGE + 1) << Self::LARGE_BITS,
        };
        let lists = self.segments.capacity() * size_of::<Vec<Line>>();
        chunks * size_of::<Line>() + lists + self.pages.as_ref().map_or(0, |pages| pages.overhead())
    }

    fn wasteful(&self) -> bool {
        self.taken > 64 && self.free_len > self.taken / 4 * 3
    }

    /// Copies the chunks of all lists to others and drops these, unless there is no memory for that.
    fn rebuild<'a>(&mut self, lists: impl Iterator<Item = &'a mut List>) {
        let mut new = self.anew();
        if new.reserve(self.taken - self.free_len).is_err() {
            return;
        }
        for list in lists {
            let mut from = std::mem::take(list);
            let mut last: List = 0;
            while from != 0 {
                let chunk = self.chunk(from);
                from = chunk.next();
                let to = new.alloc().expect("room was reserved");
                new.chunk(to).copy_from(chunk);
                new.chunk(to).set_link(0, chunk.count());
                if last == 0 {
                    *list = to;
                } else {
                    new.chunk(last).set_link(to, new.chunk(last).count());
                }
                last = to;
            }
        }
        *self = new;
    }

    /// Opens the segments for the first `count` chunks.
    fn reserve(&mut self, count: u32) -> Result<(), OutOfMemory> {
        while self.segments() <= Self::locate(count.max(1) - 1).0 {
            self.open_segment()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
