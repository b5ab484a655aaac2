//! Values with memory of their own: what all of them can be asked, whatever their type.
//!
//! An entry holds the root of such a value, a few words that are numbers. How roots come into entries and out of them is the keyspace's affair.

use crate::store::HashSeed;
use crate::store::memory::chunks::PutPages;
use crate::store::memory::words::Words;
use crate::store::memory::{Pool, Region};
use crate::store::wheel::Wheel;
use crate::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A root as it stands in an entry, and what its numbers refer to.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a> {
    pub(crate) words: Words<'a>,
    pub(crate) region: &'a Region,
    pub(crate) seed: &'a HashSeed,
}

/// A value that stands in no entry, or not at the moment. It owns its pages, unless an entry does.
///
/// What has to do with deadlines concerns types whose elements can expire by themselves; the others leave it as it is here.
pub(crate) trait Rooted: std::fmt::Debug + Send {
    /// The value of a root. Whoever calls this sees to it that the pages have one owner. Timers are set apart.
    fn of(root: Words<'_>, pool: &Arc<Pool>) -> Self
    where
        Self: Sized;

    /// Calls `visit` with the words of the root, as they are to stand in an entry.
    fn with_root(&self, visit: &mut dyn FnMut(&[AtomicU64]));

    /// A copy that shares the pages, without timers. O(1).
    fn share(&self) -> Self
    where
        Self: Sized;

    /// Hands the pages on, copies of which `put` keeps elsewhere, and returns the root that a value of those has. Timers are not in it. O(pages).
    ///
    /// # Errors
    /// The first of `put`.
    fn copy_pages(&self, put: PutPages<'_>) -> crate::Result<Vec<u64>>;

    /// Whether an entry that holds the root owns the pages, which then outlive this.
    fn set_left(&mut self, has_left: bool);

    /// Counts its pages as gone, though they go when it is dropped.
    fn depart(&mut self);

    /// Elements, roughly what dropping it costs.
    fn elements(&self) -> usize;

    /// Bytes of the pages of such a value.
    fn page_bytes(root: Root<'_>, pool: &Pool) -> usize
    where
        Self: Sized;

    /// A time not after the earliest deadline of an element.
    fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// Removes the elements whose deadline has passed and returns their names. Those for whose removal there is no memory stay until the next time.
    fn take_expired(&mut self, _: &HashSeed, _now: u64) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The time for which the key's shard needs a timer it does not have yet; it is expected to be armed then.
    fn timer_to_arm(&mut self) -> Option<u64> {
        None
    }

    /// Forgets that the shard of its key has a timer for it: it is another key's now.
    fn forget_timer(&mut self) {}

    /// The timers of elements, which are no part of the root.
    fn take_wheel(&mut self) -> Option<Box<Wheel>> {
        None
    }

    /// Timers for all elements with a deadline, as far as there is memory: in place of some that are lost.
    fn timers_anew(&self, _: &HashSeed) -> Box<Wheel> {
        Box::default()
    }

    /// Gives it the timers of its elements.
    fn set_wheel(&mut self, _: Option<Box<Wheel>>) {}

    /// Notes where the shard keeps the timers from now on.
    fn set_wheel_place(&mut self, _: Option<usize>) {}

    /// Where the shard keeps the timers.
    fn wheel_place(_: Root<'_>) -> Option<usize>
    where
        Self: Sized,
    {
        None
    }
}

/// What [`Rooted`] asks of a value that is nothing but its `collection`.
macro_rules! as_its_collection {
    () => {
        fn of(root: Words<'_>, pool: &Arc<Pool>) -> Self {
            Self { collection: Collection::of(root, pool.clone()) }
        }

        fn with_root(&self, visit: &mut dyn FnMut(&[std::sync::atomic::AtomicU64])) {
            visit(self.collection.root());
        }

        fn copy_pages(&self, put: $crate::store::memory::chunks::PutPages<'_>) -> $crate::Result<Vec<u64>> {
            self.collection.copy_pages(put)
        }

        fn share(&self) -> Self {
            Self { collection: self.collection.share() }
        }

        fn set_left(&mut self, has_left: bool) {
            self.collection.set_left(has_left);
        }

        fn depart(&mut self) {
            self.collection.depart();
        }
    };
}
pub(crate) use as_its_collection;
