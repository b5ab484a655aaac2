//! Marks on keys of a shard: of those who must hear that just these change, as sessions that WATCH them, and of loads whose results must not undo a
//! change.
//!
//! The two differ in what raises them. WATCH hears of what changed a key, its expiry included. A load hears of whoever set or removed the key, and of
//! attempts to remove it though it is missing: that is how a key is invalidated while its value is being loaded. That a key expires or is
//! evicted says nothing about the value that is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{Equivalent, HashMap};

use super::db::Db;
use super::hooks::Hooks;
use crate::store::key::Key;

/// Hears that a marked key changed, while its shard is locked: it may do no more than remember it.
pub(crate) trait Watch: Send + Sync {
    /// The key was created, changed or removed.
    fn touched(&self, db: usize, key: &[u8]);
}

/// The flag that a session reads at EXEC, and a load before it stores: something it watches was touched.
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

/// A load, and the flag that it looks at before it stores.
type LoadFlag = (u64, WatchFlag);

/// The marked keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers {
    keys: HashMap<(usize, Box<[u8]>), Marks>,
    loads: HashMap<(usize, Box<[u8]>), Vec<LoadFlag>>,
}

fn are_one<A: ?Sized, B: ?Sized>(one: &Arc<A>, other: &Arc<B>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl Watchers {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.loads.is_empty()
    }

    /// Keys that sessions watch.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Has `watch` hear when the key changes. Watching twice is watching once.
    pub(crate) fn add<W: Watch + 'static>(
        &mut self,
        hooks: &Hooks,
        db: usize,
        key: Box<[u8]>,
        watch: &Arc<W>,
    ) {
        let marks = self.keys.entry((db, key)).or_default();
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
    #[inline]
    pub(crate) fn touch(&self, db: usize, key: &[u8]) {
        if !self.keys.is_empty() {
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

    /// Has `flag` raised when somebody but this load, or one that began before it, sets or removes the key.
    pub(crate) fn add_load(&mut self, hooks: &Hooks, db: usize, key: &[u8], load: u64, flag: &WatchFlag) {
        self.loads.entry((db, key.into())).or_default().push((load, flag.clone()));
        hooks.count_mark();
    }

    /// Ends that.
    pub(crate) fn remove_load(&mut self, hooks: &Hooks, db: usize, key: &[u8], load: u64) {
        let Some(loads) = self.loads.get_mut(&Place(db, key)) else { return };
        if let Some(at) = loads.iter().position(|(other, _)| *other == load) {
            loads.remove(at);
            hooks.uncount_mark();
        }
        if loads.is_empty() {
            self.loads.remove(&Place(db, key));
        }
    }

    /// Raises the flags of the loads of a key that somebody set or removed, or tried to.
    #[inline]
    pub(crate) fn void(&self, db: usize, key: &[u8]) {
        if !self.loads.is_empty() {
            self.raise(db, key);
        }
    }

    #[cold]
    #[inline(never)]
    fn raise(&self, db: usize, key: &[u8]) {
        if let Some(loads) = self.loads.get(&Place(db, key)) {
            loads.iter().for_each(|(_, flag)| flag.store(true, Ordering::Release));
        }
    }

    /// Raises the flags of all loads of a database, or of every one.
    pub(crate) fn void_all(&self, db: Option<usize>) {
        for ((own, _), loads) in &self.loads {
            if db.is_none_or(|db| *own == db) {
                loads.iter().for_each(|(_, flag)| flag.store(true, Ordering::Release));
            }
        }
    }
}

impl Db<'_> {
    /// Has the loads of a key know that somebody set or removed it, or tried to.
    #[inline]
    pub(super) fn void_loads(&self, key: &Key<'_>) {
        self.locks.shard(key.shard()).watchers.void(self.index, key.bytes());
    }

    /// Runs a write of a load. It is news to the loads of the key that began before, but for those it runs within, and to nobody else.
    pub(crate) fn as_load<R>(
        &mut self,
        key: &Key<'_>,
        within: &[u64],
        load: u64,
        write: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let place = (self.index, Box::from(key.bytes()));
        let loads = self.locks.shard_mut(key.shard()).watchers.loads.remove(&place);
        let written = write(self);
        if let Some(loads) = loads {
            for (other, flag) in &loads {
                if *other < load && !within.contains(other) {
                    flag.store(true, Ordering::Release);
                }
            }
            self.locks.shard_mut(key.shard()).watchers.loads.insert(place, loads);
        }
        written
    }
}
