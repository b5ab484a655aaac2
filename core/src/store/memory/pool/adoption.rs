//! A pool that begins with the pages of a file.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use super::bits::parts;
use super::{Chunk, PAGES, Pool, Stage};
use crate::store::memory::region::PAGE;

impl Pool {
    /// Whether pages of the file are gone.
    pub(crate) fn has_lost(&self) -> bool {
        self.region.has_lost() || self.records.has_lost()
    }

    /// As [`Region::read_ahead`].
    pub(crate) fn read_ahead(&self, reads: bool) {
        self.region.read_ahead(reads);
        self.records.read_ahead(reads);
    }

    /// Has the first `pages` be what stands in a file, and in use; `records` says where in it their records stand, and `shareable` how many of them are of
    /// runs that can be shared. Nobody uses the pool yet.
    ///
    /// # Errors
    /// As of [`Region::adopt`].
    pub(crate) fn adopt(
        &self,
        (file, maps): (&File, bool),
        (pages, at): (usize, u64),
        (shareable, records): (usize, u64),
    ) -> io::Result<()> {
        self.region.adopt(file, at, pages * PAGE, maps)?;
        self.records.adopt(file, records, (pages * size_of::<u64>()).next_multiple_of(PAGE), maps)?;
        self.shareable.store(shareable, Ordering::Relaxed);
        let mut state = self.state.lock();
        // The system is not asked for huge pages of a file.
        let used = Chunk { stage: Stage::Used, is_huge: true, ..Chunk::default() };
        state.chunks.resize(pages.div_ceil(PAGES), used);
        for (number, pages) in parts(0..pages) {
            let chunk = &mut state.chunks[number];
            chunk.taken.set(pages.clone(), true);
            chunk.backed.set(pages, true);
        }
        state.in_use = pages;
        self.publish(&state);
        Ok(())
    }
}
