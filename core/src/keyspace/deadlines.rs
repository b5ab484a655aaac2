//! When each shard has something to reclaim next, for the background thread: it locks the shards whose time has come, and sleeps until the next.
//!
//! What is due in a shard its wheels know ([`crate::store::wheel`]); who reclaims it is [`crate::expire::reaper`].
//!
//! **No deadline is slept through.** Who arms a timer writes the shard's time first and then looks when the thread is going to look; the thread first
//! takes back what it promised, then reads the shards' times, and then promises anew. A fence stands between the two steps on either side, so
//! one of the two sees the other: either the thread reads the time, or the writer finds no promise that is early enough, and hastens the thread.

use super::SHARDS;
use crate::background::{self, NEVER};
use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence};

/// See the module's text. Unix milliseconds.
pub(crate) struct Deadlines {
    /// Not after the first deadline in the shard. Written by who holds its lock.
    by_shard: [AtomicU64; SHARDS],
    /// When the thread will have read `by_shard`, at the latest.
    promised: AtomicU64,
    /// Which shard is looked at first, so that none has to wait for all before it each time.
    first: AtomicUsize,
    /// The engine's number in the background.
    task: u64,
}

impl Deadlines {
    pub(crate) fn new(task: u64) -> Self {
        Self {
            by_shard: std::array::from_fn(|_| AtomicU64::new(NEVER)),
            promised: AtomicU64::new(NEVER),
            first: AtomicUsize::new(0),
            task,
        }
    }

    /// Notes that a timer was armed in a shard. The caller holds its lock.
    #[inline(always)]
    pub(super) fn note(&self, shard: usize, deadline: u64) {
        if deadline < self.by_shard[shard % SHARDS].load(Ordering::Relaxed) {
            self.note_earlier(shard, deadline);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_earlier(&self, shard: usize, deadline: u64) {
        if self.is_unexpected(shard, deadline) {
            background::hasten(self.task, deadline);
        }
    }

    /// Whether the thread has to be told that this is the first deadline of a shard now.
    fn is_unexpected(&self, shard: usize, deadline: u64) -> bool {
        self.by_shard[shard % SHARDS].store(deadline, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        deadline < self.promised.load(Ordering::Relaxed)
            && deadline < self.promised.fetch_min(deadline, Ordering::Relaxed)
    }

    /// Begins to look what is due. Only for one thread at a time to matter.
    pub(crate) fn begin(&self) {
        self.promised.store(NEVER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The shards where something may be due at `now`.
    pub(crate) fn due(&self, now: u64) -> impl Iterator<Item = usize> + '_ {
        let first = self.first.load(Ordering::Relaxed);
        (first..first + SHARDS)
            .map(|shard| shard % SHARDS)
            .filter(move |shard| self.by_shard[*shard].load(Ordering::Relaxed) <= now)
    }

    /// Has the next look begin with that shard.
    pub(crate) fn go_on_at(&self, shard: usize) {
        self.first.store(shard % SHARDS, Ordering::Relaxed);
    }

    /// Notes when something is due in a shard next. The caller holds its lock.
    pub(crate) fn set(&self, shard: usize, next: u64) {
        self.by_shard[shard % SHARDS].store(next, Ordering::Relaxed);
    }

    /// When something is due next in any shard.
    pub(crate) fn earliest(&self) -> u64 {
        self.by_shard.iter().map(|next| next.load(Ordering::Relaxed)).min().unwrap_or(NEVER)
    }

    /// Promises to look again by that time.
    pub(crate) fn promise(&self, at: u64) {
        self.promised.fetch_min(at, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn loom_no_deadline_is_slept_through() {
        loom::model(|| {
            let deadlines = Arc::new(Deadlines::new(0));
            // Promised before: the thread will be there at 50, which is now.
            deadlines.promise(50);
            let writing = deadlines.clone();
            let writer = loom::thread::spawn(move || writing.is_unexpected(0, 70));
            deadlines.begin();
            let next = deadlines.earliest().min(900);
            deadlines.promise(next);
            let hastened = writer.join().unwrap();
            assert!(next <= 70 || hastened, "nobody is there at 70");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(loom, ignore = "no model")]
    fn only_what_comes_before_the_thread_hastens_it() {
        let deadlines = Deadlines::new(0);
        assert!(deadlines.is_unexpected(0, 500), "it has promised nothing");
        assert!(!deadlines.is_unexpected(1, 600));
        deadlines.begin();
        assert_eq!(deadlines.earliest(), 500);
        deadlines.promise(100);
        assert!(!deadlines.is_unexpected(1, 150));
        assert!(deadlines.is_unexpected(0, 99) && !deadlines.is_unexpected(0, 99));
        assert_eq!(deadlines.due(100).collect::<Vec<_>>(), [0]);
        deadlines.go_on_at(1);
        assert_eq!(deadlines.due(150).collect::<Vec<_>>(), [1, 0]);
        deadlines.set(0, NEVER);
        assert_eq!(deadlines.earliest(), 150);
        deadlines.note(1, 160);
        deadlines.note(1, 140);
        assert_eq!(deadlines.earliest(), 140);
    }
}
