//! The pages of an engine's region: runs of them are taken and given back, laid out so that the system can use huge pages.
//! What stands in them is left to arenas and whoever else takes some; home buckets have regions of their own ([`super::buckets`]).
//!
//! **Why.** An engine's memory is read at random, and 256 shards with mappings of their own get no huge page: each read then misses
//! the processor's cache of page tables as well. Taken from common huge pages, the same memory is read a quarter faster.
//!
//! **Chunks** are the huge pages of the region. Runs of pages are taken from the lowest chunk that has room, so that the highest empty
//! first (as in A. Hunter et al., "Beyond malloc efficiency to fleet efficiency: a hugepage-aware memory allocator", OSDI 2021, where
//! the fullest come first). Runs that are longer than a chunk begin with one that nobody uses. A run is its address: it never moves.
//!
//! **Huge pages** take long to be zeroed, and hold memory that is not in use yet. So a chunk is used page by page, unless it was made
//! ready before it was needed. While a large engine grows fast ([`Pool::look`]), the background thread keeps one ready ([`Pool::prepare`]), and gives it
//! back when nothing grows; of those that had to be used before, [`Pool::collapse`] then makes huge pages when they are full.
//!
//! **Idle pages** have memory behind them and nobody who uses them. They are kept for whoever comes next, up to a small share of those
//! in use; what is above that goes back to the system, from the top down, whole chunks first. That takes the system long, so it is not done
//! where pages are given back, under the lock of a shard for which readers wait, but by [`Pool::trim_some`], which callers without locks
//! go by: at the end of a write and between the shards that a background task goes through. On their way, pages count as taken.
//!
//! The pool is a leaf among locks: whoever holds it takes no other.

mod adoption;
mod bits;
mod held;
mod pages;
mod run;
mod shareable;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::refusal::OutOfMemory;
use super::region::{HUGE_PAGE, PAGE, Region};
use crate::os::Guard;
use crate::sync::Mutex;
use bits::{Bits, parts};
pub(crate) use held::Held;
pub(crate) use pages::Pages;
pub(crate) use run::Run;

/// Address space of an engine's entries: as much as references of 32 bits lead to. ThreadSanitizer's shadow has less room.
const SPACE: usize = if cfg!(tsan) { 1 << 30 } else { 32 << 30 };
/// Pages of a chunk.
const PAGES: usize = HUGE_PAGE / PAGE;
/// The most pages of a run, as a logarithm: a chunk.
pub(crate) const LONGEST_RUN: u32 = PAGES.ilog2();
/// Pages in use for each chunk that is kept ready.
const PAGES_PER_READY: usize = 16 * PAGES;
const MOST_READY: usize = 1;

/// Looks in a row at which nothing was taken before a pool is calm.
const CALM: u32 = 10;
/// Pages taken between two looks that make it grow fast: a chunk within a second.
const FAST: u64 = 6;

/// One idle page in so many may stay, within these limits.
const IDLE_SHARE: usize = 128;
const IDLE_LEAST: usize = 64;
const IDLE_MOST: usize = 8 * PAGES;
/// Pages that are given back at once, and at most as many more: it takes the system 100 to 300 us.
const GIVEN_BACK_AT_ONCE: usize = PAGES;

/// See the module's text. A new one has taken nothing from the system but address space.
pub(crate) struct Pool {
    region: Region,
    /// A word for each page: of the first page of a run that can be shared, by how many it is.
    records: Region,
    /// Pages of such runs, and of those among them that belong to values on their way out.
    shareable: AtomicUsize,
    departed: AtomicUsize,
    state: Mutex<State>,
    /// Pages that have memory behind them and are not in use.
    idle: AtomicUsize,
    in_use: AtomicUsize,
    /// More are idle than may stay.
    has_surplus: AtomicBool,
}

impl Default for Pool {
    fn default() -> Self {
        Self::of(SPACE)
    }
}

#[derive(Default)]
struct State {
    chunks: Vec<Chunk>,
    /// The most chunks that the region has.
    most: usize,
    /// For runs of each length, as a logarithm: no chunk below has one that is free.
    hints: [usize; LONGEST_RUN as usize + 1],
    in_use: usize,
    idle: usize,
    ready: usize,
    /// The last chunk that was ready and came into use: what is idle in it is about to be used.
    filling: Option<usize>,
    /// The chunk that is looked at next for whether it should become a huge page.
    next: usize,
    /// Pages taken since the last look, and how many looks in a row there were none.
    taken: u64,
    calm: u32,
    /// Chunks looked at in a row of which none was to become a huge page.
    passed_over: usize,
    /// Chunks at the end that are [held](Held) for some threads.
    held: usize,
    /// Pages that are taken in pieces, and which of these are in use, as bits.
    in_pieces: Vec<(u32, u8)>,
}

/// How pages are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    Fast,
    Slow,
    /// None for a while.
    Calm,
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
struct Release {
    number: usize,
    pages: Bits,
    /// No memory is left behind the chunk.
    is_last: bool,
}

impl Chunk {
    fn idle(&self) -> Bits {
        self.backed.minus(self.taken)
    }
}

impl Pool {
    /// The pages of a region of so many bytes, if there are as many.
    fn of(space: usize) -> Self {
        let region = Region::reserve(space);
        let state = State { most: region.len() / HUGE_PAGE, ..State::default() };
        Self {
            records: Region::reserve(region.len() / PAGE * size_of::<u64>()),
            region,
            shareable: AtomicUsize::new(0),
            departed: AtomicUsize::new(0),
            state: Mutex::new(state),
            idle: AtomicUsize::new(0),
            in_use: AtomicUsize::new(0),
            has_surplus: AtomicBool::new(false),
        }
    }

    /// Where the pages are.
    #[inline(always)]
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Takes so many pages in a row. Their contents are arbitrary. O(chunks) at worst, mostly O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] when the region is full, or the system gives no more.
    pub(crate) fn take(&self, pages: usize) -> Result<Run, OutOfMemory> {
        super::refusal::check()?;
        let mut state = self.state.lock();
        let run = state.take(pages, &self.region);
        self.publish(&state);
        run
    }

    /// Takes an eighth of a page: what the first few blocks of a shard need. A small engine has one for each shard that it has keys in.
    ///
    /// # Errors
    /// As [`Pool::take`].
    pub(crate) fn take_piece(&self) -> Result<Run, OutOfMemory> {
        super::refusal::check()?;
        let mut state = self.state.lock();
        let run = state.take_piece(&self.region);
        self.publish(&state);
        run
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
        let Ok(number) = state.raw_chunk(&self.region) else { return false };
        if self.region.commit((number + 1) * HUGE_PAGE).is_err() {
            return false;
        }
        state.chunks[number].stage = Stage::Preparing;
        drop(state);
        self.region.populate_huge(bytes_of(number));
        let mut state = self.state.lock();
        state.chunks[number] =
            Chunk { stage: Stage::Ready, taken: Bits::default(), backed: Bits::all(), is_huge: true };
        state.idle += PAGES;
        state.ready += 1;
        self.publish(&state);
        true
    }

    /// Gives the chunks that are ready back to the system: the engine does not grow, or shall not.
    pub(crate) fn dismiss(&self) {
        self.release_idle(|state, releases| state.keep_ready(0, releases));
    }

    /// How pages were taken since the last look, which was a tick ago.
    pub(crate) fn look(&self) -> Pace {
        self.state.lock().look()
    }

    /// Has the system make a huge page of a full chunk that is none, once, if there is one among the next few; false if not. Not for two threads at
    /// once. Takes the system milliseconds, in which readers of the chunk may have to wait, and whoever touches new memory does: so only while it is
    /// [calm](Pace::Calm).
    pub(crate) fn collapse(&self) -> bool {
        /// Chunks looked at in one call.
        const FEW: usize = 64;
        let mut state = self.state.lock();
        let Some(number) = state.next_to_collapse(FEW) else { return false };
        state.chunks[number].is_huge = true;
        drop(state);
        self.region.collapse(bytes_of(number));
        true
    }

    /// Whether [`Pool::collapse`] may find something: it has not looked at all chunks since anything was taken.
    pub(crate) fn may_collapse(&self) -> bool {
        let state = self.state.lock();
        state.passed_over < state.chunks.len()
    }

    /// Gives all idle pages back to the system. O(chunks).
    pub(crate) fn trim(&self) {
        self.release_idle(|state, releases| state.trim(0, 0, releases));
    }

    /// Gives some of the pages that are idle beyond what may stay back to the system; false if there are none. The caller holds no lock. O(chunks),
    /// and what the system takes.
    #[inline]
    pub(crate) fn trim_some(&self) -> bool {
        self.has_surplus.load(Ordering::Relaxed) && self.trim_surplus()
    }

    #[cold]
    fn trim_surplus(&self) -> bool {
        self.release_idle(|state, releases| {
            let (idle, most) = (state.idle_beside_ready(), state.may_be_idle());
            if idle > most {
                let wanted = state.wanted();
                state.trim((most / 2).max(idle.saturating_sub(GIVEN_BACK_AT_ONCE)), wanted, releases);
            }
        })
    }

    /// Gives the pages that `choose` picks back to the system, without the lock; false if it picks none.
    fn release_idle(&self, choose: impl FnOnce(&mut State, &mut Vec<Release>)) -> bool {
        let mut releases = Vec::new();
        let mut state = self.state.lock();
        choose(&mut state, &mut releases);
        self.publish(&state);
        drop(state);
        if releases.is_empty() {
            return false;
        }
        releases.iter().for_each(|gone| self.give_back(gone));
        let mut state = self.state.lock();
        releases.into_iter().for_each(|gone| state.end_release(&gone));
        self.publish(&state);
        true
    }

    /// Gives pages of a chunk back to the system.
    fn give_back(&self, gone: &Release) {
        let start = bytes_of(gone.number).start;
        for pages in gone.pages.runs() {
            self.region.give_back(start + pages.start * PAGE..start + pages.end * PAGE);
        }
        if gone.is_last {
            self.region.prefer_small_pages(bytes_of(gone.number));
        }
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

/// Where a chunk is in the region.
fn bytes_of(number: usize) -> Range<usize> {
    number * HUGE_PAGE..(number + 1) * HUGE_PAGE
}

impl State {
    /// The first of the next `count` chunks, round and round, that is full and no huge page.
    fn next_to_collapse(&mut self, count: usize) -> Option<usize> {
        let found = (0..count.min(self.chunks.len())).find_map(|_| {
            let number = self.next % self.chunks.len();
            self.next = number + 1;
            self.passed_over += 1;
            let chunk = &self.chunks[number];
            (chunk.stage == Stage::Used && !chunk.is_huge && chunk.taken == Bits::all()).then_some(number)
        });
        if found.is_some() {
            self.passed_over = 0;
        }
        found
    }

    /// Chunks that are ready.
    fn ready(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.chunks.len()).filter(|number| self.chunks[*number].stage == Stage::Ready)
    }

    /// Pages that are idle, but for those of chunks that are ready and of the one that is being filled.
    fn idle_beside_ready(&self) -> usize {
        self.idle - self.ahead()
    }

    /// Pages that are idle because they were made ready.
    fn ahead(&self) -> usize {
        self.ready * PAGES + self.filling.map_or(0, |number| self.chunks[number].idle().count())
    }

    /// How many of these may stay.
    fn may_be_idle(&self) -> usize {
        (self.in_use / IDLE_SHARE).clamp(IDLE_LEAST, IDLE_MOST)
    }

    /// How many chunks should be ready.
    fn wanted(&self) -> usize {
        (self.in_use / PAGES_PER_READY).min(MOST_READY)
    }

    fn look(&mut self) -> Pace {
        let taken = std::mem::take(&mut self.taken);
        if taken == 0 {
            self.calm = self.calm.saturating_add(1);
        } else {
            (self.calm, self.passed_over) = (0, 0);
        }
        match taken {
            FAST.. => Pace::Fast,
            _ if self.calm >= CALM => Pace::Calm,
            _ => Pace::Slow,
        }
    }

    fn take(&mut self, pages: usize, region: &Region) -> Result<Run, OutOfMemory> {
        let (number, first) =
            if pages <= PAGES { self.room(pages, region)? } else { (self.long_room(pages, region)?, 0) };
        let first = number * PAGES + first;
        region.commit((first + pages) * PAGE)?;
        if pages > PAGES {
            // The last chunk may have room left.
            let last = (first + pages - 1) / PAGES;
            self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(last));
        }
        self.taken += pages as u64;
        self.in_use += pages;
        for (number, pages) in parts(first..first + pages) {
            let chunk = &mut self.chunks[number];
            if chunk.stage == Stage::Ready {
                self.ready -= 1;
                self.filling = Some(number);
            }
            chunk.stage = Stage::Used;
            self.idle -= chunk.backed.count_in(pages.clone());
            chunk.taken.set(pages.clone(), true);
            chunk.backed.set(pages, true);
        }
        Ok(Run::of(first, pages))
    }

    fn take_piece(&mut self, region: &Region) -> Result<Run, OutOfMemory> {
        if self.in_pieces.last().is_none_or(|(_, used)| *used == u8::MAX) {
            let page = self.take(1, region)?;
            self.in_pieces.push((page.first, 0));
        }
        let (page, used) = self.in_pieces.last_mut().expect("there is one that is not full");
        let piece = used.trailing_ones();
        *used |= 1 << piece;
        Ok(Run { first: *page, pages: 0, piece: piece as u8 })
    }

    /// Takes a piece back, and its page once none of it is in use. The page that has room now comes last, where the next piece is taken from.
    fn give_piece(&mut self, run: Run) {
        let at =
            self.in_pieces.iter().position(|(page, _)| *page == run.first).expect("the page is in pieces");
        let used = &mut self.in_pieces[at].1;
        debug_assert!(*used & 1 << run.piece != 0, "given back twice");
        *used &= !(1 << run.piece);
        let is_unused = *used == 0;
        let (page, _) = self.in_pieces[at];
        let last = self.in_pieces.len() - 1;
        self.in_pieces.swap(at, last);
        if is_unused {
            self.in_pieces.pop();
            self.give(Run::of(page as usize, 1));
        }
    }

    /// The lowest chunk in use that has room for so many pages, or else one that is ready, or a raw one; and where in it.
    fn room(&mut self, pages: usize, region: &Region) -> Result<(usize, usize), OutOfMemory> {
        let log = pages.next_power_of_two().ilog2();
        let vacancy = |number: usize| {
            let chunk = &self.chunks[number];
            (chunk.stage == Stage::Used).then(|| Some((number, chunk.taken.vacancy(log)?))).flatten()
        };
        let found = (self.hints[log as usize]..self.chunks.len()).find_map(vacancy);
        let place = match found.or_else(|| Some((self.ready().next()?, 0))) {
            Some(place) => place,
            None => (self.raw_chunk(region)?, 0),
        };
        if found.is_none() {
            self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(place.0));
        }
        // None of those between had room.
        self.hints[log as usize] = place.0;
        Ok(place)
    }

    /// The first of as many chunks in a row as so many pages take, which nobody uses.
    fn long_room(&mut self, pages: usize, region: &Region) -> Result<usize, OutOfMemory> {
        let count = pages.div_ceil(PAGES);
        let is_free = |chunk: &Chunk| chunk.taken == Bits::default() && chunk.stage != Stage::Preparing;
        let mut free = 0;
        for number in 0..self.chunks.len() {
            free = if is_free(&self.chunks[number]) { free + 1 } else { 0 };
            if free == count {
                return Ok(number + 1 - count);
            }
        }
        let first = self.chunks.len() - free;
        self.add_chunks(first + count, region)?;
        Ok(first)
    }

    /// The lowest raw chunk.
    fn raw_chunk(&mut self, region: &Region) -> Result<usize, OutOfMemory> {
        if let Some(number) = self.chunks.iter().position(|chunk| chunk.stage == Stage::Raw) {
            return Ok(number);
        }
        let number = self.chunks.len();
        self.add_chunks(number + 1, region)?;
        Ok(number)
    }

    /// Makes them so many, and leaves what is held for other threads.
    fn add_chunks(&mut self, count: usize, region: &Region) -> Result<(), OutOfMemory> {
        let of_others = self.held - held::of_this_thread();
        if count + of_others > self.most {
            return Err(OutOfMemory);
        }
        if of_others > 0 {
            region.commit((count + of_others) * HUGE_PAGE)?;
        }
        self.chunks.resize(count, Chunk::default());
        Ok(())
    }

    fn give(&mut self, run: Run) {
        if run.pages == 0 {
            return self.give_piece(run);
        }
        let first = run.first as usize;
        self.in_use -= run.pages as usize;
        self.idle += run.pages as usize;
        for (number, pages) in parts(first..first + run.pages as usize) {
            let chunk = &mut self.chunks[number];
            debug_assert_eq!(chunk.taken.count_in(pages.clone()), pages.len(), "given back twice");
            chunk.taken.set(pages, false);
            self.hints.iter_mut().for_each(|hint| *hint = (*hint).min(number));
        }
    }

    /// Releases the chunks that are ready, but for the lowest few. If it keeps none, that which is being filled has no privilege either.
    fn keep_ready(&mut self, few: usize, releases: &mut Vec<Release>) {
        self.filling = self.filling.filter(|_| few > 0);
        if self.ready > few {
            let spare: Vec<usize> = self.ready().skip(few).collect();
            releases.extend(spare.into_iter().filter_map(|number| self.begin_release(number)));
        }
    }

    /// Releases idle pages until at most `most` are left, but for those of `ready` chunks: with chunks that nobody uses
    /// first, then with those that are no huge pages.
    fn trim(&mut self, most: usize, ready: usize, releases: &mut Vec<Release>) {
        self.keep_ready(ready, releases);
        let most = most + self.ahead();
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
                if goes(&self.chunks[number]) && self.filling != Some(number) {
                    releases.extend(self.begin_release(number));
                }
            }
        }
    }

    /// Begins to release the idle pages of a chunk, if it has any: until [`State::end_release`] they are nobody's.
    fn begin_release(&mut self, number: usize) -> Option<Release> {
        let pages = self.chunks[number].idle();
        if pages == Bits::default() {
            return None;
        }
        let chunk = &mut self.chunks[number];
        if chunk.stage == Stage::Ready {
            self.ready -= 1;
        }
        chunk.stage = Stage::Used;
        chunk.taken = chunk.taken.plus(pages);
        // It is full now, but nobody shall make a huge page of it.
        chunk.is_huge = true;
        self.idle -= pages.count();
        Some(Release { number, pages, is_last: chunk.backed == pages })
    }

    /// No memory is behind these pages any more.
    fn end_release(&mut self, gone: &Release) {
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
