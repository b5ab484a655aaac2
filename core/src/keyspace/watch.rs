//! Marks on keys of a shard: who must hear that just these change. WATCH sets such marks; whoever waits for a key or caches it may too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{Equivalent, HashMap};

use super::hooks::Hooks;

/// Hears that a marked key changed, while its shard is locked: it may do no more than remember it.
pub(crate) trait Watch: Send + Sync {
    /// The key was created, changed or removed.
    fn touched(&self, db: usize, key: &[u8]);
}

/// The flag that a session reads at EXEC: something it watches was touched.
pub(crate) type WatchFlag = Arc<AtomicBool>;

impl Watch for AtomicBool {
    fn touched(&self, _: usize, _: &[u8]) {
        self.store(true, Ordering::Release);
    }
}

/// A database and a key of it.
#[derive(Hash)]
struct Place<'k>(usize, &'k [u8]);

impl Equivalent<(usize, Box<[u8]>)> for Place<'_> {
    fn equivalent(&self, (db, key): &(usize, Box<[u8]>)) -> bool {
        (self.0, self.1) == (*db, key)
    }
}

/// Those who watch one key.
type Marks = Vec<Arc<dyn Watch>>;

/// The marked keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers {
    keys: HashMap<(usize, Box<[u8]>), Marks>,
}

fn are_one<A: ?Sized, B: ?Sized>(one: &Arc<A>, other: &Arc<B>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl Watchers {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys with at least one mark.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Has `watch` hear when the key changes. Watching twice is watching once.
    pub(crate) fn add<W: Watch + 'static>(&mut self, hooks: &Hooks, db: usize, key: &[u8], watch: &Arc<W>) {
        let marks = self.keys.entry((db, key.into())).or_default();
        if !marks.iter().any(|other| are_one(other, watch)) {
            marks.push(watch.clone());
            hooks.count_mark();
        }
    }

    /// Ends that.
    pub(crate) fn remove<W: Watch>(&mut self, hooks: &Hooks, db: usize, key: &[u8], watch: &Arc<W>) {
        let Some(marks) = self.keys.get_mut(&Place(db, key)) else { return };
        if let Some(at) = marks.iter().position(|other| are_one(other, watch)) {
            marks.swap_remove(at);
            hooks.uncount_mark();
        }
        if marks.is_empty() {
            self.keys.remove(&Place(db, key));
        }
    }

    /// Tells those who watch a key that it changed.
    #[inline(always)]
    pub(crate) fn touch(&self, db: usize, key: &[u8]) {
        if !self.is_empty() {
            self.tell(db, key);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, db: usize, key: &[u8]) {
        if let Some(marks) = self.keys.get(&Place(db, key)) {
            marks.iter().for_each(|watch| watch.touched(db, key));
        }
    }

    /// Tells those who watch keys of `db` for which `changed` holds.
    pub(crate) fn touch_where(&self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        for ((own, key), marks) in &self.keys {
            if *own == db && changed(key) {
                marks.iter().for_each(|watch| watch.touched(db, key));
            }
        }
    }
}
