//! WATCH marks: which sessions must hear that a key of this shard changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

/// The flag that a session reads at EXEC: something it watches was touched.
pub(crate) type WatchFlag = Arc<AtomicBool>;

/// The watched keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers {
    keys: HashMap<(usize, Box<[u8]>), Vec<WatchFlag>>,
}

impl Watchers {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys with at least one mark.
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

    /// Raises the flags of a key that changed.
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
