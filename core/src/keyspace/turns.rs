//! The order in which observers hear of changes: that in which the changes were made, whichever threads made them.
//!
//! Whoever changes a key takes a turn while the key's shard is locked, so the turns of a key come in the order of its changes. What there is to tell is told
//! when nothing is locked, one turn after the other: whoever has the turn tells, and whoever is behind waits, or leaves what it has to tell to the one
//! before. Waiting is for threads that nobody's turn can depend on; see [`Turn::begin`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use super::hooks::{Event, EventClass, Hooks};
use crate::os::{self, Guard};
use crate::sync::{AtomicU32, AtomicU64, Condvar, Mutex, Ordering, fence};

/// See the module's text.
pub(crate) struct Turns {
    /// The number of the turn that is taken next.
    next: AtomicU64,
    /// Whose turn it is.
    current: AtomicU64,
    /// Turns behind the current one that somebody waits for or has left: whoever ends a turn has to look.
    behind: AtomicU32,
    left: Mutex<BTreeMap<u64, Batch>>,
    came: Condvar,
    /// The process, and not its parent.
    generation: AtomicU64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(0),
            current: AtomicU64::new(0),
            behind: AtomicU32::new(0),
            left: Mutex::default(),
            came: Condvar::default(),
            generation: AtomicU64::new(os::generation()),
        }
    }
}

/// What observers are to hear of one piece of work.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) modified: Vec<(usize, Box<[u8]>, u64)>,
    pub(crate) events: Vec<Happened>,
    /// Databases of which all keys changed; `None` stands for all databases.
    pub(crate) flushed: Vec<Option<usize>>,
}

/// An event with a key of its own.
pub(crate) struct Happened {
    pub(crate) class: EventClass,
    pub(crate) name: &'static str,
    pub(crate) db: usize,
    pub(crate) key: Box<[u8]>,
    pub(crate) client: u64,
}

impl Happened {
    pub(super) fn event(&self) -> Event<'_> {
        Event { class: self.class, name: self.name, db: self.db, key: &self.key, client: self.client }
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.modified.is_empty() && self.events.is_empty() && self.flushed.is_empty()
    }

    /// Of what was borrowed.
    pub(super) fn copied<'k>(
        modified: impl Iterator<Item = (usize, &'k [u8], u64)>,
        events: impl Iterator<Item = Event<'k>>,
    ) -> Self {
        let happened =
            |Event { class, name, db, key, client }| Happened { class, name, db, key: key.into(), client };
        Self {
            modified: modified.map(|(db, key, client)| (db, key.into(), client)).collect(),
            events: events.map(happened).collect(),
            flushed: Vec::new(),
        }
    }

    fn tell(&self, hooks: &Hooks) {
        if !self.modified.is_empty() || !self.events.is_empty() {
            let modified = self.modified.iter().map(|(db, key, client)| (*db, &**key, *client));
            hooks.tell(modified, self.events.iter().map(Happened::event));
        }
        if !self.flushed.is_empty() {
            hooks.tell_flushed(&self.flushed);
        }
    }
}

#[cfg(not(loom))]
thread_local! {
    /// Turns that this thread has taken and that have not ended.
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}
#[cfg(loom)]
loom::thread_local! {
    static TAKEN: Cell<u32> = Cell::new(0);
}

/// A turn to tell. Dropping it ends it.
pub(crate) struct Turn<'k> {
    hooks: &'k Hooks,
    number: u64,
}

impl Turns {
    /// Locks what it guards.
    pub(super) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.left.lock())
    }

    /// In a forked child: whoever had a turn in the parent does not exist.
    #[cold]
    fn begin_anew(&self) {
        let mut left = self.left.lock();
        if self.generation.load(Ordering::Relaxed) != os::generation() {
            left.clear();
            self.behind.store(0, Ordering::SeqCst);
            self.current.store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
            self.generation.store(os::generation(), Ordering::Relaxed);
        }
    }

    /// Ends a turn, and tells those behind it that were left.
    fn end(&self, hooks: &Hooks, mut number: u64) {
        // In a forked child, what the parent's threads had has been passed over.
        while self.current.load(Ordering::Acquire) == number {
            number += 1;
            self.current.store(number, Ordering::Release);
            // Whoever is behind says so and then looks whose turn it is: one of both sees the other.
            fence(Ordering::SeqCst);
            if self.behind.load(Ordering::Relaxed) == 0 {
                return;
            }
            let mut left = self.left.lock();
            let Some(batch) = left.remove(&number) else {
                self.came.notify_all();
                return;
            };
            self.behind.fetch_sub(1, Ordering::Relaxed);
            drop(left);
            // Those behind it have their turn even if an observer panics, which is no fault of this thread's work.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| batch.tell(hooks)));
        }
    }
}

impl<'k> Turn<'k> {
    /// Takes the next turn. The caller holds the shards that it is about.
    #[inline]
    pub(super) fn take(hooks: &'k Hooks) -> Self {
        let turns = &hooks.turns;
        if turns.generation.load(Ordering::Relaxed) != os::generation() {
            turns.begin_anew();
        }
        Self::with(hooks, turns.next.fetch_add(1, Ordering::Relaxed))
    }

    fn with(hooks: &'k Hooks, number: u64) -> Self {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        Self { hooks, number }
    }

    /// Waits until it is its turn, which lasts until the drop, and says whether it is. Not so where this thread has another turn that has not ended: it may be
    /// telling just now, and an observer has come back. The caller holds no lock.
    #[inline]
    pub(super) fn begin(&self) -> bool {
        self.hooks.turns.current.load(Ordering::Acquire) >= self.number || self.wait()
    }

    #[cold]
    fn wait(&self) -> bool {
        if TAKEN.with(Cell::get) > 1 {
            return false;
        }
        let turns = &self.hooks.turns;
        turns.behind.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut left = turns.left.lock();
        while turns.current.load(Ordering::Acquire) < self.number {
            left = turns.came.wait(left, None);
        }
        turns.behind.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Has a batch told when the turn has come, by this thread if that is now.
    pub(super) fn leave(self, batch: Batch) {
        let turns = &self.hooks.turns;
        turns.behind.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut left = turns.left.lock();
        if turns.current.load(Ordering::Acquire) < self.number {
            left.insert(self.number, batch);
            drop(left);
            self.forget();
            return;
        }
        turns.behind.fetch_sub(1, Ordering::Relaxed);
        drop(left);
        batch.tell(self.hooks);
    }

    /// Tells in its turn what is borrowed.
    #[inline]
    pub(super) fn tell_borrowed<'e>(
        self,
        modified: impl Iterator<Item = (usize, &'e [u8], u64)> + Clone,
        events: impl Iterator<Item = Event<'e>> + Clone,
    ) {
        if self.begin() {
            self.hooks.tell(modified, events);
        } else {
            self.leave(Batch::copied(modified, events));
        }
    }

    /// Tells a batch in its turn.
    pub(super) fn tell(self, batch: Batch) {
        if self.begin() { batch.tell(self.hooks) } else { self.leave(batch) }
    }

    /// Somebody else ends it.
    fn forget(self) {
        TAKEN.with(|taken| taken.set(taken.get() - 1));
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turns = &self.hooks.turns;
        if turns.current.load(Ordering::Acquire) >= self.number {
            turns.end(self.hooks, self.number);
        } else {
            Turn::with(self.hooks, self.number).leave(Batch::default());
        }
        TAKEN.with(|taken| taken.set(taken.get() - 1));
    }
}

#[cfg(test)]
mod tests;
