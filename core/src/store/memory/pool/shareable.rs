//! Runs that several values share, as copies of each other do: each is counted by how many use it. Who uses what is [`super::super::chunks`]' affair.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Pool, Run};
use crate::store::memory::refusal::OutOfMemory;
use crate::store::memory::region::PAGE;

impl Pool {
    /// As [`Pool::take`], for a run that several can share: it goes back with the last of them, by [`Pool::release`].
    ///
    /// # Errors
    /// As [`Pool::take`].
    pub(crate) fn take_shareable(&self, pages: usize) -> Result<Run, OutOfMemory> {
        let run = self.take(pages)?;
        if let Err(error) = self.records.commit((run.first as usize + 1) * size_of::<u64>()) {
            self.give([run]);
            return Err(error);
        }
        self.record(run.first).store(u64::from(run.pages) << 32 | 1, Ordering::Relaxed);
        self.shareable.fetch_add(pages, Ordering::Relaxed);
        Ok(run)
    }

    /// Pages in the upper half, by how many they are used in the lower.
    fn record(&self, first: u32) -> &AtomicU64 {
        let line = self.records.line(first as usize / 8).expect("a run that can be shared has a record");
        &line.0[first as usize % 8]
    }

    /// The run that begins with this page, and can be shared.
    #[inline]
    pub(crate) fn run(&self, first: u32) -> Run {
        Run::of(first as usize, (self.record(first).load(Ordering::Relaxed) >> 32) as usize)
    }

    /// Counts one more user of the run that begins with this page.
    pub(crate) fn share(&self, first: u32) {
        let users = self.record(first).fetch_add(1, Ordering::Relaxed) as u32;
        assert!(users < u32::MAX, "a run has fewer users than references to it fit the memory");
    }

    /// Whether the run that begins with this page has more than one user. If it has not, the caller is that one, and sees all that others did to it.
    #[inline]
    pub(crate) fn is_shared(&self, first: u32) -> bool {
        self.record(first).load(Ordering::Acquire) as u32 > 1
    }

    /// Ends one use of the run that begins with this page. If it was the last, `last` is called and the run goes back.
    pub(crate) fn release(&self, first: u32, last: impl FnOnce(Run)) {
        // As a counted pointer does: what others did to the run comes before it is used again.
        let before = self.record(first).fetch_sub(1, Ordering::Release);
        if before as u32 == 1 {
            std::sync::atomic::fence(Ordering::Acquire);
            let run = Run::of(first as usize, (before >> 32) as usize);
            last(run);
            self.shareable.fetch_sub(run.pages as usize, Ordering::Relaxed);
            self.give([run]);
        }
    }

    /// Bytes of runs that can be shared, but for those of values that are on their way out.
    #[inline]
    pub(crate) fn shareable_bytes(&self) -> usize {
        let departed = self.departed.load(Ordering::Relaxed);
        self.shareable.load(Ordering::Relaxed).saturating_sub(departed) * PAGE
    }

    /// So many pages are of a value that nobody can reach any more: they count as gone.
    pub(crate) fn depart(&self, pages: usize) {
        self.departed.fetch_add(pages, Ordering::Relaxed);
    }

    /// So many that had departed are gone.
    pub(crate) fn arrive(&self, pages: usize) {
        self.departed.fetch_sub(pages, Ordering::Relaxed);
    }
}
