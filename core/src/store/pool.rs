//! The memory of an engine: pages that its shards take and give back, laid out so that the system can use huge pages.
//! What stands in them is left to arenas and tables.
//!
//! **Why.** An engine's memory is read at random, and 256 shards with mappings of their own get no huge page: each read then misses
//! the processor's cache of page tables as well. Taken from common huge pages, the same memory is read a quarter faster.
//!
//! **Chunks.** The pages stand in chunks of one huge page each, those in extents of growing size. Runs of pages are taken from the
//! lowest chunk that has room, so that the highest empty first (as in A. Hunter et al., "Beyond malloc efficiency to
//! fleet efficiency: a hugepage-aware memory allocator", OSDI 2021, where the fullest come first).
//!
//! **Huge pages** take long to be zeroed, and hold memory that is not in use yet. So a chunk is used page by page, unless it was made
//! ready before it was needed. [`Pool::prepare`], called by the background thread, keeps a few ready once the engine is large; of those
//! that had to be used before, [`Pool::collapse`] makes huge pages when they are full and the engine does not grow.
//!
//! **Idle pages** have memory behind them and nobody who uses them. They are kept for whoever comes next, up to a small share of those
//! in use; what is above that goes back to the system, from the top down, whole chunks first. That takes the system long, so it is not done
//! where pages are given back, under the lock of a shard for which readers wait, but by [`Pool::trim_some`], which callers without locks
//! go by: at the end of a write and between the shards that a background task goes through. On their way, pages count as taken.
//!
//! The pool is a leaf among locks: whoever holds it takes no other.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::os::{Extent, Guard, HUGE_PAGE, Line, OutOfMemory, PAGE};
use crate::sync::{Arc, Mutex};

/// Pages of a chunk.
const PAGES: usize = HUGE_PAGE / PAGE;
/// The most pages of a run, as a logarithm: a chunk.
pub(crate) const LONGEST_RUN: u32 = PAGES.ilog2();
/// Chunks of the first extent; each further one is twice as long, up to `MOST_CHUNKS`.
const FIRST_CHUNKS: usize = if cfg!(miri) { 1 } else { 16 };
const MOST_CHUNKS: usize = 512;

/// Pages in use for each chunk that is kept ready.
const PAGES_PER_READY: usize = 16 * PAGES;
const MOST_READY: usize = 4;

/// Looks in a row at which nothing was taken before chunks are collapsed.
const CALM: u32 = 10;

/// One idle page in so many may stay, within these limits.
const IDLE_SHARE: usize = 128;
const IDLE_LEAST: usize = 64;
const IDLE_MOST: usize = 8 * PAGES;
/// Pages that are given back at once, and at most as many more: it takes the system 100 to 300 us.
const GIVEN_BACK_AT_ONCE: usize = PAGES;

/// Pages taken from a pool: `2^log` of them, beginning with number `first`, a multiple of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    first: u32,
    log: u32,
}

/// See the module's text. A new one has taken nothing from the system.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Pages that have memory behind them and are not in use.
    idle: AtomicUsize,
    in_use: AtomicUsize,
    /// More are idle than may stay.
    has_surplus: AtomicBool,
}

#[derive(Default)]
struct State {
    extents: Vec<Arc<Extent>>,
    chunks: Vec<Chunk>,
    /// For runs of each length: no chunk below has one that is free.
    hints: [usize; LONGEST_RUN as usize + 1],
    in_use: usize,
    idle: usize,
    ready: usize,
    /// The chunk that is looked at next for whether it should become a huge page.
    next: usize,
    /// Runs taken so far, those at the last look, and how many looks in a row there were no more.
    takes: u64,
    takes_seen: u64,
    calm: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody uses it, and no memory is behind it.
    #[default]
    Raw,
    /// The background thread is putting memory behind it.
    Preparing,
    /// One huge page that nobody uses.
    Ready,
    Used,
}

#[derive(Clone, Default)]
struct Chunk {
    stage: Stage,
    /// Pages that are in use or on their way back to the system.
    taken: Bits,
    /// Pages that have memory behind them.
    backed: Bits,
    /// The system was asked for a huge page, and nothing was given back since.
    is_huge: bool,
}

/// Idle pages of a chunk on their way back to the system. A process forked meanwhile does without them: a few megabytes at most.
struct Parting {
    number: usize,
    pages: Bits,
    extent: Arc<Extent>,
    /// Where the chunk begins in its extent.
    offset: usize,
}

/// One bit a page.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Bits([u64; PAGES / 64]);

impl Bits {
    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn all() -> Self {
        Self([u64::MAX; PAGES / 64])
    }

    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// The words that a run touches, with its bits in each.
    fn words(first: usize, log: u32) -> (Range<usize>, u64) {
        let count = 1_usize << log;
        if count >= 64 {
            return (first / 64..(first + count) / 64, u64::MAX);
        }
        (first / 64..first / 64 + 1, ((1 << count) - 1) << (first % 64))
    }

    fn set(&mut self, first: usize, log: u32, is_set: bool) {
        let (words, bits) = Self::words(first, log);
        self.0[words].iter_mut().for_each(|word| *word = if is_set { *word | bits } else { *word & !bits });
    }

    fn count_in(&self, first: usize, log: u32) -> usize {
        let (words, bits) = Self::words(first, log);
        self.0[words].iter().map(|word| (word & bits).count_ones() as usize).sum()
    }

    /// The first run of `2^log` zeroes at a multiple of its length.
    fn vacancy(&self, log: u32) -> Option<usize> {
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
    fn runs(self) -> impl Iterator<Item = Range<usize>> {
        let is_set = move |at: usize| at < PAGES && self.0[at / 64] >> (at % 64) & 1 != 0;
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = (at..PAGES).find(|at| is_set(*at))?;
            at = (start..=PAGES).find(|at| !is_set(*at)).unwrap_or(PAGES);
            Some(start..at)
        })
    }
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

impl Parting {
    fn give_back(&self) {
        for pages in self.pages.runs() {
            self.extent.give_back(self.offset + pages.start * PAGE..self.offset + pages.end * PAGE);
        }
    }
}

impl Chunk {
    fn idle(&self) -> Bits {
        self.backed.minus(self.taken)
    }
}

impl Pool {
    /// Takes `2^log` pages, at most [`LONGEST_RUN`], and says where they are. Their contents are arbitrary. O(chunks) at worst, mostly O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system gives no more address space.
    pub(crate) fn take(&self, log: u32) -> Result<(Run, Arc<Extent>, usize), OutOfMemory> {
        #[cfg(test)]
        crate::os::refusal::check()?;
        let mut state = self.state.lock();
        let run = state.take(log)?;
        self.publish(&state);
        let (extent, offset) = state.place(run.first as usize / PAGES);
        Ok((run, extent.clone(), offset + run.first as usize % PAGES * PAGE))
    }

    /// Takes runs back.
    pub(crate) fn give(&self, runs: impl IntoIterator<Item = Run>) {
        let mut state = self.state.lock();
        runs.into_iter().for_each(|run| state.give(run));
        self.publish(&state);
    }

    /// Makes one chunk ready if there should be one more; false if there are enough. Not for two threads at once. Takes as long as
    /// the system needs for a huge page.
    pub(crate) fn prepare(&self) -> bool {
        let mut state = self.state.lock();
        if state.ready >= state.wanted() {
            return false;
        }
        let Ok(number) = state.raw_chunk() else { return false };
        state.chunks[number].stage = Stage::Preparing;
        let (extent, offset) = state.place(number);
        let extent = extent.clone();
        drop(state);
        extent.populate_huge(offset..offset + HUGE_PAGE);
        let mut state = self.state.lock();
        state.chunks[number] =
            Chunk { stage: Stage::Ready, taken: Bits::default(), backed: Bits::all(), is_huge: true };
        state.idle += PAGES;
        state.ready += 1;
        self.publish(&state);
        true
    }

    /// Gives the chunks that are ready back to the system: the engine shall not grow.
    pub(crate) fn dismiss(&self) {
        self.part_with(|state, parting| state.keep_ready(0, parting));
    }

    /// Has the system make a huge page of a full chunk that is none, once, if there is one among the next few, and nothing was taken since the last
    /// `CALM` calls; false if not. Not for two threads at once. Takes the system milliseconds, in which readers of the chunk may have
    /// to wait, and whoever touches new memory does: so not while the engine grows.
    pub(crate) fn collapse(&self) -> bool {
        /// Chunks looked at in one call.
        const FEW: usize = 64;
        let mut state = self.state.lock();
        state.calm = if state.takes == state.takes_seen { state.calm.saturating_add(1) } else { 0 };
        state.takes_seen = state.takes;
        if state.calm < CALM {
            return false;
        }
        let Some(number) = state.next_to_collapse(FEW) else { return false };
        state.chunks[number].is_huge = true;
        let (extent, offset) = state.place(number);
        let extent = extent.clone();
        drop(state);
        extent.collapse(offset..offset + HUGE_PAGE);
        true
    }

    /// Gives all idle pages back to the system. O(chunks).
    pub(crate) fn trim(&self) {
        self.part_with(|state, parting| state.trim(0, 0, parting));
    }

    /// Gives some of the pages that are idle beyond what may stay back to the system; false if there are none. The caller holds no lock. O(chunks),
    /// and what the system takes.
    #[inline]
    pub(crate) fn trim_some(&self) -> bool {
        self.has_surplus.load(Ordering::Relaxed) && self.trim_surplus()
    }

    #[cold]
    fn trim_surplus(&self) -> bool {
        self.part_with(|state, parting| {
            let (idle, most) = (state.idle_beside_ready(), state.may_be_idle());
            if idle > most {
                let wanted = state.wanted();
                state.trim((most / 2).max(idle.saturating_sub(GIVEN_BACK_AT_ONCE)), wanted, parting);
            }
        })
    }

    /// Gives the pages that `choose` picks back to the system, without the lock; false if it picks none.
    fn part_with(&self, choose: impl FnOnce(&mut State, &mut Vec<Parting>)) -> bool {
        let mut parting = Vec::new();
        let mut state = self.state.lock();
        choose(&mut state, &mut parting);
        self.publish(&state);
        drop(state);
        if parting.is_empty() {
            return false;
        }
        parting.iter().for_each(Parting::give_back);
        let mut state = self.state.lock();
        parting.into_iter().for_each(|gone| state.parted(&gone));
        self.publish(&state);
        true
    }

    /// Bytes that have memory behind them and nobody who uses them.
    #[inline]
    pub(crate) fn idle_bytes(&self) -> usize {
        self.idle.load(Ordering::Relaxed) * PAGE
    }

    /// Bytes that were taken and not given back.
    pub(crate) fn used_bytes(&self) -> usize {
        self.in_use.load(Ordering::Relaxed) * PAGE
    }

    /// Holds the pool across a fork.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.state.lock())
    }

    fn publish(&self, state: &State) {
        self.idle.store(state.idle, Ordering::Relaxed);
        self.in_use.store(state.in_use, Ordering::Relaxed);
        self.has_surplus.store(state.idle_beside_ready() > state.may_be_idle(), Ordering::Relaxed);
    }
}

/// Pages of a pool that one owner has, each on its own. They go back with it.
pub(crate) struct Pages {
    pool: Arc<Pool>,
    pages: Vec<(Run, Arc<Extent>, usize)>,
}

impl Pages {
    /// None yet.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, pages: Vec::new() }
    }

    /// None yet, of the same pool.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.pool.clone())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Takes one more, its contents arbitrary.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the system gives no more.
    pub(crate) fn add(&mut self) -> Result<(), OutOfMemory> {
        self.pages.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.pages.push(self.pool.take(0)?);
        Ok(())
    }

    /// The cache lines of page number `index`, below [`Pages::len`].
    #[inline]
    pub(crate) fn lines(&self, index: usize) -> &[Line] {
        let (_, extent, offset) = &self.pages[index];
        extent.lines(*offset..*offset + PAGE)
    }

    /// Bytes beside the pages themselves.
    pub(crate) fn overhead(&self) -> usize {
        self.pages.capacity() * size_of::<(Run, Arc<Extent>, usize)>()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            self.pool.give(self.pages.drain(..).map(|(run, ..)| run));
        }
    }
}

impl State {
    /// The first of the next `count` chunks, round and round, that is full and no huge page.
    fn next_to_collapse(&mut self, count: usize) -> Option<usize> {
        (0..count.min(self.chunks.len())).find_map(|_| {
            let number = self.next % self.chunks.len();
            self.next = number + 1;
            let chunk = &self.chunks[number];
            (chunk.stage == Stage::Used && !chunk.is_huge && chunk.taken == Bits::all()).then_some(number)
        })
    }

    /// Chunks that are ready.
    fn ready(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.chunks.len()).filter(|number| self.chunks[*number].stage == Stage::Ready)
    }

    /// Pages that are idle, but for those of chunks that are ready.
    fn idle_beside_ready(&self) -> usize {
        self.idle - self.ready * PAGES
    }

    /// How many of these may stay.
    fn may_be_idle(&self) -> usize {
        (self.in_use / IDLE_SHARE).clamp(IDLE_LEAST, IDLE_MOST)
    }

    /// How many chunks should be ready.
    fn wanted(&self) -> usize {
        (self.in_use / PAGES_PER_READY).min(MOST_READY)
    }

    /// Where a chunk is.
    fn place(&self, number: usize) -> (&Arc<Extent>, usize) {
        let mut first = 0;
        for extent in &self.extents {
            let chunks = extent.len() / HUGE_PAGE;
            if number - first < chunks {
                return (extent, (number - first) * HUGE_PAGE);
            }
            first += chunks;
        }
        unreachable!("a chunk's number is below that of all chunks")
    }

    fn take(&mut self, log: u32) -> Result<Run, OutOfMemory> {
        let number = self.with_room(log)?;
        let chunk = &mut self.chunks[number];
        let first = chunk.taken.vacancy(log).expect("the chunk was chosen for its room");
        self.idle -= chunk.backed.count_in(first, log);
        chunk.taken.set(first, log, true);
        chunk.backed.set(first, log, true);
        self.in_use += 1 << log;
        self.takes += 1;
        Ok(Run { first: (number * PAGES + first) as u32, log })
    }

    /// The lowest chunk in use that has room for a run, or else one that is ready, or a raw one.
    fn with_room(&mut self, log: u32) -> Result<usize, OutOfMemory> {
        let hint = self.hints[log as usize];
        let has_room = |number: &usize| {
            let chunk = &self.chunks[*number];
            chunk.stage == Stage::Used && chunk.taken.vacancy(log).is_some()
        };
        let found = (hint..self.chunks.len()).find(has_room);
        let number = match found.or_else(|| self.ready().next()) {
            Some(number) => number,
            None => self.raw_chunk()?,
        };
        if self.chunks[number].stage == Stage::Ready {
            self.ready -= 1;
        }
        self.chunks[number].stage = Stage::Used;
        if found.is_none() {
            self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(number));
        }
        // None of those between had room.
        self.hints[log as usize] = number;
        Ok(number)
    }

    /// The lowest raw chunk.
    fn raw_chunk(&mut self) -> Result<usize, OutOfMemory> {
        if let Some(number) = self.chunks.iter().position(|chunk| chunk.stage == Stage::Raw) {
            return Ok(number);
        }
        let number = self.chunks.len();
        let chunks = (FIRST_CHUNKS << self.extents.len().min(16)).min(MOST_CHUNKS);
        self.extents.push(Arc::new(Extent::reserve(chunks * HUGE_PAGE)?));
        self.chunks.resize(number + chunks, Chunk::default());
        Ok(number)
    }

    fn give(&mut self, run: Run) {
        let (number, first) = (run.first as usize / PAGES, run.first as usize % PAGES);
        let chunk = &mut self.chunks[number];
        debug_assert_eq!(chunk.taken.count_in(first, run.log), 1 << run.log, "given back twice");
        chunk.taken.set(first, run.log, false);
        self.in_use -= 1 << run.log;
        self.idle += 1 << run.log;
        self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(number));
    }

    /// Parts with the chunks that are ready, but for the lowest few.
    fn keep_ready(&mut self, few: usize, parting: &mut Vec<Parting>) {
        if self.ready > few {
            let spare: Vec<usize> = self.ready().skip(few).collect();
            parting.extend(spare.into_iter().filter_map(|number| self.part(number)));
        }
    }

    /// Parts with idle pages until at most `most` are left, but for those of `ready` chunks: with chunks that nobody uses
    /// first, then with those that are no huge pages.
    fn trim(&mut self, most: usize, ready: usize, parting: &mut Vec<Parting>) {
        self.keep_ready(ready, parting);
        let most = most + self.ready * PAGES;
        let unused = |chunk: &Chunk| chunk.stage == Stage::Used && chunk.taken == Bits::default();
        let orders: [&dyn Fn(&Chunk) -> bool; 3] =
            [&unused, &|chunk| chunk.stage == Stage::Used && !chunk.is_huge, &|chunk| {
                chunk.stage == Stage::Used
            }];
        for goes in orders {
            for number in (0..self.chunks.len()).rev() {
                if self.idle <= most {
                    return;
                }
                if goes(&self.chunks[number]) {
                    parting.extend(self.part(number));
                }
            }
        }
    }

    /// Parts with the idle pages of a chunk, if it has any: until [`State::parted`] they are nobody's.
    fn part(&mut self, number: usize) -> Option<Parting> {
        let pages = self.chunks[number].idle();
        if pages == Bits::default() {
            return None;
        }
        let (extent, offset) = self.place(number);
        let parting = Parting { number, pages, extent: extent.clone(), offset };
        let chunk = &mut self.chunks[number];
        if chunk.stage == Stage::Ready {
            self.ready -= 1;
        }
        chunk.stage = Stage::Used;
        chunk.taken = chunk.taken.plus(pages);
        // It is full now, but nobody shall make a huge page of it.
        chunk.is_huge = true;
        self.idle -= pages.count();
        Some(parting)
    }

    /// No memory is behind these pages any more.
    fn parted(&mut self, gone: &Parting) {
        let chunk = &mut self.chunks[gone.number];
        chunk.taken = chunk.taken.minus(gone.pages);
        chunk.backed = chunk.backed.minus(gone.pages);
        chunk.is_huge = false;
        if chunk.backed == Bits::default() {
            chunk.stage = Stage::Raw;
        }
        self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(gone.number));
    }
}

#[cfg(test)]
mod tests;
