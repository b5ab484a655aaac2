//! Pages that one owner has, each on its own. What stands in them is the owner's affair.

use super::{Pool, Run};
use crate::store::memory::refusal::OutOfMemory;
use crate::store::memory::region::Line;
use crate::sync::Arc;

/// Pages of a pool that one owner has, each on its own. They go back with it.
pub(crate) struct Pages {
    pool: Arc<Pool>,
    pages: Vec<Run>,
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
        self.pages.push(self.pool.take(1)?);
        Ok(())
    }

    /// Gives back those from number `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.pages.len() {
            self.pool.give(self.pages.drain(len..));
        }
    }

    /// The cache lines of page number `index`, below [`Pages::len`].
    #[inline]
    pub(crate) fn lines(&self, index: usize) -> &[Line] {
        let first = self.pages[index].first as usize;
        self.pool.region().lines(first..first + 1)
    }

    /// Bytes beside the pages themselves.
    pub(crate) fn overhead(&self) -> usize {
        self.pages.capacity() * size_of::<Run>()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
