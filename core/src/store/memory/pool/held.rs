//! Pages that a thread is sure of: for several changes of which all are made, or none.

use std::cell::Cell;

use super::{PAGES, Pool};
use crate::store::memory::refusal;
use crate::store::memory::region::HUGE_PAGE;

thread_local! {
    /// Chunks that are held for this thread. It holds some of one pool at a time, while it changes one value.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// Chunks at the end of the region that are committed, and that other threads leave to this one, until it is dropped.
pub(crate) struct Held<'p> {
    pool: &'p Pool,
    chunks: usize,
}

impl Pool {
    /// Sees to it that this thread can take so many pages, in runs of any length, whatever others take meanwhile. `None` where memory is short, or some
    /// are held for it already.
    pub(crate) fn hold(&self, pages: usize) -> Option<Held<'_>> {
        if refusal::is_near() || OWN.get() > 0 {
            return None;
        }
        let mut state = self.state.lock();
        let chunks = pages.div_ceil(PAGES);
        let count = state.chunks.len() + state.held + chunks;
        let is_there = count <= state.most
            && self.region.commit(count * HUGE_PAGE).is_ok()
            && self.records.commit(count * PAGES * size_of::<u64>()).is_ok();
        if !is_there {
            return None;
        }
        state.held += chunks;
        OWN.set(chunks);
        Some(Held { pool: self, chunks })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.pool.state.lock().held -= self.chunks;
        OWN.set(0);
    }
}

/// Chunks that are held for this thread.
pub(super) fn of_this_thread() -> usize {
    OWN.get()
}
