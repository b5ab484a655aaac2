//! Marks on keys of a shard: of those who must hear that just these change, as sessions that WATCH them, of loads whose results must not undo a
//! change, and of those who wait for something to take ([`super::waiting`]).
//!
//! The two differ in what raises them. WATCH hears of what changed a key, its expiry included. A load hears of whoever set or removed the key, and of
//! attempts to remove it though it is missing: that is how a key is invalidated while its value is being loaded. That a key expires or is
//! evicted says nothing about the value that is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{Equivalent, HashMap};

use super::Keyspace;
use super::db::Db;
use super::hooks::Hooks;
use super::waiting::Queues;
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

/// Who has a mark on a key.
enum Marker {
    /// It hears of every change.
    Watch(Arc<dyn Watch>),
    /// A load, by its number, and the flag that it looks at before it stores: it hears of whoever sets or removes the key.
    Load(u64, WatchFlag),
    /// Somebody waits for it: [`super::waiting`].
    Queue,
}

impl Marker {
    fn touched(&self, db: usize, key: &[u8]) {
        if let Marker::Watch(watch) = self {
            watch.touched(db, key);
        }
    }

    fn void(&self) {
        if let Marker::Load(_, flag) = self {
            flag.store(true, Ordering::Release);
        }
    }
}

/// The marked keys of one shard.
#[derive(Default)]
pub(crate) struct Watchers {
    marks: HashMap<(usize, Box<[u8]>), Vec<Marker>>,
    /// Who waits for keys. Each of these keys has a mark.
    pub(super) queues: Queues,
}

fn are_one<A: ?Sized, B: ?Sized>(one: &Arc<A>, other: &Arc<B>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

impl Watchers {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Keys that sessions watch.
    pub(crate) fn len(&self) -> usize {
        let is_watch = |marker: &Marker| matches!(marker, Marker::Watch(_));
        self.marks.values().filter(|markers| markers.iter().any(is_watch)).count()
    }

    /// Has `watch` hear when the key changes. Watching twice is watching once.
    pub(crate) fn add<W: Watch + 'static>(
        &mut self,
        hooks: &Hooks,
        db: usize,
        key: Box<[u8]>,
        watch: &Arc<W>,
    ) {
        let is_it = |marker: &Marker| matches!(marker, Marker::Watch(other) if are_one(other, watch));
        self.mark(hooks, db, key, Marker::Watch(watch.clone()), is_it);
    }

    /// Ends that.
    pub(crate) fn remove<W: Watch>(&mut self, hooks: &Hooks, db: usize, key: &[u8], watch: &Arc<W>) {
        let is_it = |marker: &Marker| matches!(marker, Marker::Watch(other) if are_one(other, watch));
        self.unmark(hooks, db, key, is_it);
    }

    /// Has `flag` raised when somebody but this load, or one that began before it, sets or removes the key.
    pub(crate) fn add_load(&mut self, hooks: &Hooks, db: usize, key: &[u8], load: u64, flag: &WatchFlag) {
        self.mark(hooks, db, key.into(), Marker::Load(load, flag.clone()), |_| false);
    }

    /// Ends that.
    pub(crate) fn remove_load(&mut self, hooks: &Hooks, db: usize, key: &[u8], load: u64) {
        self.unmark(hooks, db, key, |marker| matches!(marker, Marker::Load(other, _) if *other == load));
    }

    /// Marks a key that somebody waits for.
    pub(super) fn mark_awaited(&mut self, hooks: &Hooks, db: usize, key: &[u8]) {
        self.mark(hooks, db, key.into(), Marker::Queue, |marker| matches!(marker, Marker::Queue));
    }

    /// Ends that.
    pub(super) fn unmark_awaited(&mut self, hooks: &Hooks, db: usize, key: &[u8]) {
        self.unmark(hooks, db, key, |marker| matches!(marker, Marker::Queue));
    }

    /// Adds a mark to a key, unless it has it.
    fn mark(
        &mut self,
        hooks: &Hooks,
        db: usize,
        key: Box<[u8]>,
        marker: Marker,
        is_it: impl Fn(&Marker) -> bool,
    ) {
        let markers = self.marks.entry((db, key)).or_default();
        if !markers.iter().any(is_it) {
            markers.push(marker);
            hooks.count_mark();
        }
    }

    /// Takes a mark from a key, if it has it.
    fn unmark(&mut self, hooks: &Hooks, db: usize, key: &[u8], is_it: impl Fn(&Marker) -> bool) {
        let Some(markers) = self.marks.get_mut(&Place(db, key)) else { return };
        if let Some(at) = markers.iter().position(is_it) {
            markers.swap_remove(at);
            hooks.uncount_mark();
        }
        if markers.is_empty() {
            self.marks.remove(&Place(db, key));
        }
    }

    /// Tells those who watch a key that it changed.
    #[inline]
    pub(crate) fn touch(&self, db: usize, key: &[u8]) {
        if !self.is_empty() {
            self.tell(db, key, Marker::touched);
        }
    }

    /// Raises the flags of the loads of a key that somebody set or removed, or tried to.
    #[inline]
    pub(crate) fn void(&self, db: usize, key: &[u8]) {
        if !self.is_empty() {
            self.tell(db, key, |marker, _, _| marker.void());
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, db: usize, key: &[u8], tell: fn(&Marker, usize, &[u8])) {
        if let Some(markers) = self.marks.get(&Place(db, key)) {
            markers.iter().for_each(|marker| tell(marker, db, key));
        }
    }

    /// Tells those who watch keys of `db` for which `changed` holds.
    pub(crate) fn touch_where(&self, db: usize, mut changed: impl FnMut(&[u8]) -> bool) {
        for ((own, key), markers) in &self.marks {
            if *own == db && changed(key) {
                markers.iter().for_each(|marker| marker.touched(db, key));
            }
        }
    }

    /// Raises the flags of all loads of a database, or of every one.
    pub(crate) fn void_all(&self, db: Option<usize>) {
        let of_db = self.marks.iter().filter(|((own, _), _)| db.is_none_or(|db| *own == db));
        of_db.flat_map(|(_, markers)| markers).for_each(Marker::void);
    }

    /// Takes the loads of a key out, so that they do not hear of what is done meanwhile.
    fn take_loads(&mut self, db: usize, key: &[u8]) -> Vec<Marker> {
        let Some(markers) = self.marks.get_mut(&Place(db, key)) else { return Vec::new() };
        let is_load = |marker: &mut Marker| matches!(marker, Marker::Load(..));
        let loads = markers.extract_if(.., is_load).collect();
        if markers.is_empty() {
            self.marks.remove(&Place(db, key));
        }
        loads
    }

    /// Puts back what was taken.
    fn put_loads(&mut self, db: usize, key: &[u8], loads: Vec<Marker>) {
        if !loads.is_empty() {
            self.marks.entry((db, key.into())).or_default().extend(loads);
        }
    }
}

impl Keyspace {
    /// Has the loads of a key know that somebody elsewhere sets or removes it, or tries to.
    pub(crate) fn void_loads(&self, db: usize, key: &Key<'_>) {
        self.lock(key.shard()).watchers.void(db, key.bytes());
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
        let db = self.index;
        let loads = self.locks.shard_mut(key.shard()).watchers.take_loads(db, key.bytes());
        let written = write(self);
        for marker in &loads {
            if let Marker::Load(other, _) = marker
                && *other < load
                && !within.contains(other)
            {
                marker.void();
            }
        }
        self.locks.shard_mut(key.shard()).watchers.put_loads(db, key.bytes(), loads);
        written
    }
}
