//! The home buckets of one database, of all shards side by side: bucket `b` of shard `s` is line `shards * b + s` of a region.
//! What stands in them is the table's affair; buckets that overflow are blocks of the arenas.
//!
//! **Rows.** The buckets of one number are a row. Keys are spread evenly over the shards, so their tables are of nearly one length,
//! and the region is in use without holes up to there. A bucket is found by its number: no directory lies between.
//!
//! **Growing.** A shard may use rows below the ceiling as it likes, under its own lock. Above, it asks, which raises the ceiling.
//!
//! **Giving back.** What is above the ceiling is nobody's. The ceiling is lowered first, then each shard is asked for the length of its table,
//! under its lock: whoever grew before is seen, whoever grows after asks. Rows that are left behind are zero, and read as zeroes again.
//! Where two do so at once, what the first was told holds for the ceiling that it was told under: only who lowered it last goes on.
//!
//! **Huge pages.** As the pool's chunks, pieces of the region are made ready ahead of a table that grows, and those that were used
//! before are made huge pages once nothing grows.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::refusal::OutOfMemory;
use super::region::{HUGE_PAGE, Line, PAGE, Region};
use crate::os::Guard;
use crate::store::key::SHARDS;
use crate::sync::Mutex;

/// Address space of a database's home buckets: for a thousand million keys.
const SPACE: usize = if cfg!(tsan) { 64 << 20 } else { 8 << 30 };
/// The databases that have as much: the first that are used. The others have room for eighty million keys.
const LARGE: usize = 16;
/// Bytes of a row.
pub(crate) const ROW: usize = SHARDS * size_of::<Line>();
/// Rows of a huge page.
const PIECE: u32 = (HUGE_PAGE / ROW) as u32;
/// Pieces in use for each that is kept ready, and the most of these.
const PIECES_PER_READY: u32 = 8;
const MOST_READY: u32 = 1;
/// Rows that may stay behind the longest table, at least.
const FEW: u32 = if ROW < PAGE { (4 * PAGE / ROW) as u32 } else { 4 };

/// See the module's text.
pub(crate) struct Buckets {
    region: Region,
    /// Its place among the databases.
    space: usize,
    ceiling: AtomicU32,
    /// A table became shorter since the last look.
    shrunk: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rows that may have memory behind them.
    backed: u32,
    /// Pieces that are huge pages, as far as one knows.
    huge: Vec<bool>,
    /// How often the ceiling was lowered.
    lowered: u64,
}

fn bytes_of(rows: Range<u32>) -> Range<usize> {
    rows.start as usize * ROW..rows.end as usize * ROW
}

impl Buckets {
    /// None yet, for the database at this place.
    pub(crate) fn new(space: usize) -> Self {
        // Whoever has a hundred databases has few keys in most of them, and address space ends, too.
        Self::of(space, if space < LARGE { SPACE } else { SPACE / 16 })
    }

    /// The same, in a region of so many bytes, if there are as many.
    fn of(space: usize, bytes: usize) -> Self {
        Self {
            region: Region::reserve(bytes),
            space,
            ceiling: AtomicU32::new(0),
            shrunk: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Whether pages of the file are gone.
    pub(crate) fn has_lost(&self) -> bool {
        self.region.has_lost()
    }

    /// As [`Region::read_ahead`].
    pub(crate) fn read_ahead(&self, reads: bool) {
        self.region.read_ahead(reads);
    }

    /// Its place among the databases.
    #[inline(always)]
    pub(crate) fn space(&self) -> usize {
        self.space
    }

    /// A bucket, if its row was ever in use.
    #[inline(always)]
    pub(crate) fn line(&self, shard: usize, index: u32) -> Option<&Line> {
        self.region.line(index as usize * SHARDS + shard)
    }

    /// Has the first `rows` be what stands in a file from `offset` on. Nobody uses the buckets yet.
    ///
    /// # Errors
    /// As of [`Region::adopt`].
    pub(crate) fn adopt(&self, (file, maps): (&File, bool), offset: u64, rows: u32) -> io::Result<()> {
        self.region.adopt(file, offset, bytes_of(0..rows).end, maps)?;
        let mut state = self.state.lock();
        self.ceiling.store(rows, Ordering::Relaxed);
        state.backed = rows;
        // The system is not asked for huge pages of a file.
        state.huge = vec![true; (rows / PIECE) as usize];
        Ok(())
    }

    /// Sees to it that a shard can use this row. The caller holds the shard's lock.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the region is full, or the system gives no more.
    #[inline]
    pub(crate) fn grow(&self, row: u32) -> Result<(), OutOfMemory> {
        if row < self.ceiling.load(Ordering::Relaxed) { Ok(()) } else { self.raise(row) }
    }

    #[cold]
    fn raise(&self, row: u32) -> Result<(), OutOfMemory> {
        let most = (self.region.len() / ROW) as u32;
        if row >= most {
            // Every insert of a table that can't grow comes here: no lock for that.
            return Err(OutOfMemory);
        }
        let mut state = self.state.lock();
        let ceiling = self.ceiling.load(Ordering::Relaxed);
        if row >= ceiling {
            let wanted = (row + 1 + row / 64).min(most);
            self.region.commit(bytes_of(0..wanted).end)?;
            self.ceiling.store(wanted, Ordering::Relaxed);
            state.backed = state.backed.max(wanted);
        }
        Ok(())
    }

    /// Notes that a table became shorter.
    #[inline]
    pub(crate) fn note_shrinking(&self) {
        if !self.shrunk.load(Ordering::Relaxed) {
            self.shrunk.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a table became shorter since this was last asked, so that [`Buckets::trim`] may gain something.
    pub(crate) fn has_shrunk(&self) -> bool {
        self.shrunk.swap(false, Ordering::Relaxed)
    }

    /// Gives rows that no table reaches back to the system. `tallest` takes each shard's lock and says how many buckets the longest table has.
    #[cfg(test)]
    pub(crate) fn trim(&self, tallest: impl Fn() -> u32) {
        assert!(self.trim_while(tallest, || true));
    }

    /// The same, a piece at a time, as long as `has_time`. False if some are left: there is something to gain then, as if a table became shorter.
    pub(crate) fn trim_while(&self, tallest: impl Fn() -> u32, has_time: impl Fn() -> bool) -> bool {
        let longest = tallest();
        let kept = longest + (longest / 16).max(FEW);
        let kept = if kept >= PIECE { kept.next_multiple_of(PIECE) } else { kept };
        let turn = {
            let mut state = self.state.lock();
            if state.backed <= kept {
                return true;
            }
            self.ceiling.fetch_min(kept, Ordering::Relaxed);
            state.lowered += 1;
            state.lowered
        };
        let longest = tallest();
        loop {
            // What is raised meanwhile waits for one piece at most.
            let mut state = self.state.lock();
            if state.lowered != turn {
                // A shard may have grown above the present ceiling since it was asked here: the other one sees it.
                return true;
            }
            let kept = self.ceiling.load(Ordering::Relaxed).max(longest);
            if state.backed <= kept {
                return true;
            }
            if !has_time() {
                drop(state);
                self.note_shrinking();
                return false;
            }
            self.give_back_last(&mut state, kept);
        }
    }

    /// Gives the pieces that are ready back to the system: no table grows, or none shall.
    pub(crate) fn dismiss(&self) {
        // The lock is let go of after each piece, as in `trim`.
        while {
            let mut state = self.state.lock();
            let kept = self.ceiling.load(Ordering::Relaxed).next_multiple_of(PIECE);
            self.give_back_last(&mut state, kept)
        } {}
    }

    /// Gives the last piece back to the system, but for the rows below `kept`; false if there is nothing to give.
    fn give_back_last(&self, state: &mut State, kept: u32) -> bool {
        if state.backed <= kept {
            return false;
        }
        let from = kept.max(state.backed.saturating_sub(1) / PIECE * PIECE);
        self.region.give_back(bytes_of(from..state.backed));
        self.region.prefer_small_pages(bytes_of(from..state.backed));
        state.backed = from;
        state.huge.truncate((from / PIECE) as usize);
        true
    }

    /// Makes one piece ready ahead of the tables if there should be one more; false if there are enough, or a table became shorter since the
    /// last look: what is made ready would be given back at once. Takes as long as the system needs for a huge page.
    pub(crate) fn prepare(&self) -> bool {
        if self.shrunk.load(Ordering::Relaxed) {
            return false;
        }
        let pieces = self.ceiling.load(Ordering::Relaxed).div_ceil(PIECE);
        let ready = (pieces / PIECES_PER_READY).min(MOST_READY);
        let next = {
            let mut state = self.state.lock();
            let next = state.backed.div_ceil(PIECE);
            if next >= pieces + ready || self.region.commit(bytes_of(0..(next + 1) * PIECE).end).is_err() {
                return false;
            }
            state.backed = (next + 1) * PIECE;
            state.huge.resize(next as usize, false);
            state.huge.push(true);
            next
        };
        self.region.populate_huge(bytes_of(next * PIECE..(next + 1) * PIECE));
        true
    }

    /// Has the system make a huge page of a piece that is in use and none; false if there is none. Readers of the piece may have to
    /// wait for milliseconds: not while the engine grows.
    pub(crate) fn collapse(&self) -> bool {
        let full = (self.ceiling.load(Ordering::Relaxed) / PIECE) as usize;
        let piece = {
            let mut state = self.state.lock();
            if state.huge.len() < full {
                state.huge.resize(full, false);
            }
            let Some(piece) = state.huge[..full].iter().position(|is_huge| !is_huge) else { return false };
            state.huge[piece] = true;
            piece as u32
        };
        self.region.collapse(bytes_of(piece * PIECE..(piece + 1) * PIECE));
        true
    }

    /// Holds it across a fork.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.state.lock())
    }

    /// Bytes that may have memory behind them.
    #[cfg(test)]
    pub(crate) fn backed_bytes(&self) -> usize {
        bytes_of(0..self.state.lock().backed).end
    }
}

#[cfg(test)]
mod tests;
