//! Marks on keys of this shard: of sessions that WATCH them, and of loads whose results must not undo a change.
//!
//! The two differ in what raises them. WATCH hears of what changed a key, its expiry included. A load hears of whoever set or removed the key, and of
//! attempts to remove it though it is missing: that is how a key is invalidated while its value is being loaded. That a key expires or is
//! evicted says nothing about the value that is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

use super::db::Db;
use crate::store::key::Key;

/// The flag that a session reads at EXEC, and a load before it stores: something it watches was touched.
pub(crate) type WatchFlag = Arc<AtomicBool>;

/// A load, and the flag that it looks at before it stores.
type LoadFlag = (u64, WatchFlag);

/// The watched keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers {
    keys: HashMap<(usize, Box<[u8]>), Vec<WatchFlag>>,
    loads: HashMap<(usize, Box<[u8]>), Vec<LoadFlag>>,
}

impl Watchers {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.loads.is_empty()
    }

    /// Keys that sessions watch.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Has `flag` raised when the key changes. Watching twice is watching once.
    pub(crate) fn add(&mut self, db: usize, key: &[u8], flag: &WatchFlag) {
        let flags = self.keys.entry((db, key.into())).or_default();
        if !flags.iter().any(|other| Arc::ptr_eq(other, flag)) {
            flags.push(flag.clone());
        }
    }

    pub(crate) fn remove(&mut self, db: usize, key: &[u8], flag: &WatchFlag) {
        let place = (db, Box::from(key));
        if let Some(flags) = self.keys.get_mut(&place) {
            flags.retain(|other| !Arc::ptr_eq(other, flag));
            if flags.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    /// Has `flag` raised when somebody but this load, or one that began before it, sets or removes the key.
    pub(crate) fn add_load(&mut self, db: usize, key: &[u8], load: u64, flag: &WatchFlag) {
        self.loads.entry((db, key.into())).or_default().push((load, flag.clone()));
    }

    pub(crate) fn remove_load(&mut self, db: usize, key: &[u8], load: u64) {
        let place = (db, Box::from(key));
        if let Some(loads) = self.loads.get_mut(&place) {
            loads.retain(|(other, _)| *other != load);
            if loads.is_empty() {
                self.loads.remove(&place);
            }
        }
    }

    /// Raises the flags of the loads of a key.
    #[cold]
    fn void(&self, db: usize, key: &[u8]) {
        if let Some(loads) = self.loads.get(&(db, Box::from(key))) {
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

    /// Raises the flags of those who WATCH a key that changed.
    pub(crate) fn touch(&self, db: usize, key: &[u8]) {
        if let Some(flags) = self.keys.get(&(db, Box::from(key))) {
            flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
        }
    }

    /// Raises the flags of all keys of `db` for which `changed` holds.
    pub(crate) fn touch_where(&self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        for ((own, key), flags) in &self.keys {
            if *own == db && changed(key) {
                flags.iter().for_each(|flag| flag.store(true, Ordering::Release));
            }
        }
    }
}

impl Db<'_> {
    /// Has the loads of a key know that somebody set or removed it, or tried to.
    #[inline]
    pub(super) fn void_loads(&self, key: &Key<'_>) {
        let watchers = &self.locks.shard(key.shard()).watchers;
        if !watchers.loads.is_empty() {
            watchers.void(self.index, key.bytes());
        }
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
