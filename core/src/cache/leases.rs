//! Leases: who loads a missing key, and who waits for it, whatever the language and the kind of waiting.
//!
//! A lease is an engine's, for the bytes of a key in one of its databases. All of them stand in one table, since loads of one engine may wait for
//! loads of another.
//!
//! How a key is read, loaded and stored is left to [`crate::database::loads`] and the languages; here are only numbers and links, under one mutex
//! that no hit ever takes.
//!
//! # How it works
//! Whoever misses a key asks. The first gets the key's **lease** and loads; the others get a **wait**, and are told how the load ended: with its
//! value, with its error, or that they must look again. A lease ends with its holder, however that goes.
//!
//! Nobody waits in vain:
//! * **Circles.** A caller says which loads it runs within, and whether waiting keeps its thread from running anything else. Each wait is an
//!   edge from those loads to the one waited for; a thread that is blocked holds up every load that runs on it, too. If the lease that is
//!   in the way leads back to the caller along such edges, the caller takes its place and loads by itself. O(loads and waits that hang together).
//! * **Patience.** A lease that is older than its patience is taken over by whoever asks next; the new one gets twice as much, so that a slow
//!   load is begun again a few times at most, whatever the number of those who wait. Whichever of them ends first serves all who came later.
//! * **Changes.** A lease has a flag that any change of the key raises, see [`crate::keyspace::watch`]. What was loaded before the change is not
//!   stored, and who comes after it does not wait for it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timer};
use crate::keyspace::watch::WatchFlag;
use crate::os::{self, Guard};
use crate::sync::Arc;
use crate::sync::{Mutex, MutexGuard};

/// The number of a load. Later loads have higher numbers; none is used twice.
pub(crate) type LoadId = u64;

/// Where a load runs, for the language that began it: an event loop, say, of which those who would wait want to know whether it runs.
pub type Runner = Arc<dyn Any + Send + Sync>;

/// What is called when a load has ended. It runs in the thread that ends it, under no lock of the engine.
pub(crate) type Waker = Box<dyn FnOnce() + Send>;

/// How long a load may take before somebody else begins it again.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that patience grows to.
const MOST_PATIENCE: Duration = Duration::from_secs(64);

/// Who asks for a key.
#[derive(Clone, Default)]
pub struct Caller<'a> {
    /// The loads that the caller runs within: those of [`crate::database::Load::within`] of whatever load called it. Loads that have ended don't count.
    pub within: &'a [u64],
    /// The thread that the caller runs on, see [`this_thread`].
    pub thread: u64,
    /// Waiting would keep the thread from running anything else.
    pub blocks: bool,
    /// Where the load would run, if the caller gets to load.
    pub runner: Option<Runner>,
}

/// How a load ended, for those who waited.
#[derive(Clone)]
pub enum Landing {
    /// With this value, as stored.
    Value(Arc<[u8]>),
    /// With nothing to store.
    Nothing,
    /// With an error, which only its own language can read.
    Failed(Arc<dyn Any + Send + Sync>),
    /// Without a result, or with one that is in the engine: look again.
    Again,
}

impl Landing {
    /// Whether it answers everybody who wanted the key.
    fn is_answer(&self) -> bool {
        matches!(self, Landing::Value(_) | Landing::Nothing)
    }
}

/// The number of this thread; none is used twice in a process.
pub fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that is about to end has lost its number, and will load nothing.
    OWN.try_with(|own| *own).unwrap_or(0)
}

/// Which lease in the way is no reason to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// None but those that would never end.
    Hopeless,
    /// This one: the caller knows that it will not end.
    This(LoadId),
    /// Any: the caller wants to load whatever others do.
    Any,
}

/// What asking leads to.
pub(crate) enum Asked {
    /// The caller loads.
    Lead(Lease),
    /// The caller waits: the number of its wait.
    Wait(u64),
}

/// The holder's part of a lease.
pub(crate) struct Lease {
    pub(crate) id: LoadId,
    /// Raised once the key has changed.
    pub(crate) changed: WatchFlag,
    /// The loads it runs within, itself included.
    pub(crate) within: Box<[LoadId]>,
}

/// The leases of this process.
pub(crate) static LEASES: LazyLock<Leases> = LazyLock::new(Leases::default);

/// A key of a database of an engine.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The engine's number.
    pub(crate) engine: u64,
    pub(crate) db: usize,
    pub(crate) key: Box<[u8]>,
}

/// A table of leases.
pub(crate) struct Leases {
    table: Mutex<Table>,
    patience: Duration,
}

impl Default for Leases {
    fn default() -> Self {
        Self { table: Mutex::default(), patience: PATIENCE }
    }
}

#[derive(Default)]
struct Table {
    /// The lease of each key for those who come now.
    current: HashMap<Place, LoadId>,
    under_way: HashMap<LoadId, UnderWay>,
    waits: HashMap<u64, Waiting>,
    /// What blocked threads wait for; more than one where a signal handler waits in the middle of a wait.
    blocked: HashMap<u64, Vec<LoadId>>,
    last: u64,
    /// Loads that others began anew because they took too long.
    overdue: u64,
    /// [`os::generation`] of the process whose loads these are.
    generation: u64,
}

/// A load under way.
struct UnderWay {
    place: Place,
    thread: u64,
    runner: Option<Runner>,
    changed: WatchFlag,
    begun: Timer,
    patience: Duration,
    /// The lease that took its place.
    newer: Option<LoadId>,
    /// Who waits for it.
    waits: Vec<u64>,
    /// What is waited for within it, as often as it is.
    waits_for: Vec<LoadId>,
}

struct Waiting {
    target: LoadId,
    within: Box<[LoadId]>,
    blocked: Option<u64>,
    landing: Option<Landing>,
    waker: Option<Waker>,
}

impl Leases {
    /// Locks what it guards.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.table.lock())
    }

    /// Asks for a key.
    pub(crate) fn ask(&self, clock: &Clock, place: &Place, caller: &Caller<'_>, over: Over) -> Asked {
        let mut table = self.lock();
        let mut patience = self.patience;
        let in_the_way = table.current.get(place).copied();
        if let Some(id) = in_the_way {
            let other = &table.under_way[&id];
            let is_overdue = other.begun.elapsed() >= other.patience;
            let is_outdated = other.changed.load(Ordering::Acquire);
            if is_overdue {
                patience = (2 * other.patience).min(MOST_PATIENCE);
                table.overdue += 1;
            }
            let is_reason = match over {
                Over::Hopeless => true,
                Over::This(which) => which != id,
                Over::Any => false,
            };
            if is_reason && !is_overdue && !is_outdated && !table.is_circle(id, caller) {
                return Asked::Wait(table.wait(id, caller));
            }
        }
        let lease = table.lead(clock, place, caller, patience);
        if let Some(other) = in_the_way.and_then(|id| table.under_way.get_mut(&id))
            && !other.changed.load(Ordering::Acquire)
        {
            other.newer = Some(lease.id);
        }
        Asked::Lead(lease)
    }

    /// Ends a load, and tells those who wait for it.
    pub(crate) fn land(&self, id: LoadId, landing: &Landing) {
        let (load, wakers) = self.lock().land(id, landing);
        wakers.into_iter().for_each(|waker| waker());
        // Outside: what a language said about where it runs may be its last reference.
        drop(load);
    }

    /// How the load ended that this wait is for; `None`: it has not.
    pub(crate) fn landing(&self, wait: u64) -> Option<Landing> {
        match self.lock().waits.get(&wait) {
            Some(waiting) => waiting.landing.clone(),
            // Of the parent of this process.
            None => Some(Landing::Again),
        }
    }

    /// How many loads others began anew because they took too long, and how many wait at present.
    pub(crate) fn counts(&self) -> (u64, usize) {
        let table = self.lock();
        (table.overdue, table.waits.len())
    }

    /// Has `waker` called when the load has ended, at once if it has.
    pub(crate) fn on_landing(&self, wait: u64, waker: Waker) {
        let mut table = self.lock();
        let old = match table.waits.get_mut(&wait) {
            Some(waiting) if waiting.landing.is_none() => waiting.waker.replace(waker),
            _ => {
                drop(table);
                return waker();
            }
        };
        drop(table);
        // Outside: a waker may own what comes back here when it goes.
        drop(old);
    }

    /// The load that this wait is for, and where it runs.
    pub(crate) fn target(&self, wait: u64) -> Option<(LoadId, Option<Runner>)> {
        let table = self.lock();
        let target = table.waits.get(&wait)?.target;
        Some((target, table.under_way.get(&target).and_then(|other| other.runner.clone())))
    }

    /// How long this wait has yet to last at most: then its caller must ask again.
    pub(crate) fn left(&self, wait: u64) -> Duration {
        let table = self.lock();
        let target = table.waits.get(&wait).and_then(|waiting| table.under_way.get(&waiting.target));
        target.map_or(Duration::ZERO, |target| target.patience.saturating_sub(target.begun.elapsed()))
    }

    /// Ends a wait.
    pub(crate) fn leave(&self, wait: u64) {
        let left = self.lock().leave(wait);
        drop(left);
    }

    /// What loads of keys that begin alike have loaded is not to be stored.
    pub(crate) fn void(&self, engine: u64, db: usize, prefix: &[u8]) {
        let table = self.lock();
        let is_concerned =
            |place: &Place| place.engine == engine && place.db == db && place.key.starts_with(prefix);
        let concerned = table.under_way.values().filter(|load| is_concerned(&load.place));
        concerned.for_each(|one| one.changed.store(true, Ordering::Release));
    }

    /// The table, without the loads of a parent process: they run in threads that don't exist here.
    fn lock(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        let here = os::generation();
        if table.generation != here {
            let of_parent = std::mem::take(&mut *table);
            (table.generation, table.last) = (here, of_parent.last);
            // Loops of the parent want no waking, and what belongs to them no end here.
            std::mem::forget(of_parent);
        }
        table
    }
}

impl Table {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Gives the key's lease to the caller.
    fn lead(&mut self, clock: &Clock, place: &Place, caller: &Caller<'_>, patience: Duration) -> Lease {
        let id = self.next();
        let changed = WatchFlag::new(AtomicBool::new(false));
        let load = UnderWay {
            place: place.clone(),
            thread: caller.thread,
            runner: caller.runner.clone(),
            changed: changed.clone(),
            begun: clock.timer(),
            patience,
            newer: None,
            waits: Vec::new(),
            waits_for: Vec::new(),
        };
        let within = self.alive(caller.within).chain([id]).collect();
        self.under_way.insert(id, load);
        self.current.insert(place.clone(), id);
        Lease { id, changed, within }
    }

    /// The loads among these that are under way.
    fn alive(&self, ids: &[LoadId]) -> impl Iterator<Item = LoadId> {
        ids.iter().copied().filter(|id| self.under_way.contains_key(id))
    }

    fn wait(&mut self, target: LoadId, caller: &Caller<'_>) -> u64 {
        let id = self.next();
        let within: Box<[LoadId]> = self.alive(caller.within).collect();
        for load in &within {
            self.under_way.get_mut(load).expect("it was under way just now").waits_for.push(target);
        }
        let blocked = caller.blocks.then_some(caller.thread);
        if let Some(thread) = blocked {
            self.blocked.entry(thread).or_default().push(target);
        }
        self.under_way.get_mut(&target).expect("the caller has just seen it").waits.push(id);
        self.waits.insert(id, Waiting { target, within, blocked, landing: None, waker: None });
        id
    }

    /// Whether the load waits, however indirectly, for the caller.
    fn is_circle(&self, load: LoadId, caller: &Caller<'_>) -> bool {
        let (mut seen, mut next) = (Vec::new(), vec![load]);
        while let Some(id) = next.pop() {
            let Some(load) = self.under_way.get(&id).filter(|_| !seen.contains(&id)) else { continue };
            if caller.within.contains(&id) || caller.blocks && load.thread == caller.thread {
                return true;
            }
            seen.push(id);
            next.extend(&load.waits_for);
            next.extend(self.blocked.get(&load.thread).into_iter().flatten());
        }
        false
    }

    /// Takes a load out and returns whom to wake.
    fn land(&mut self, id: LoadId, landing: &Landing) -> (Option<UnderWay>, Vec<Waker>) {
        let Some(mut load) = self.under_way.remove(&id) else { return (None, Vec::new()) };
        if self.current.get(&load.place) == Some(&id) {
            self.current.remove(&load.place);
        }
        let mut wakers = self.tell(std::mem::take(&mut load.waits), landing);
        // Those who took over wanted the same, and began later: an answer is one for whoever waits for them.
        let mut newer = load.newer.filter(|_| landing.is_answer());
        while let Some(other) = newer.and_then(|id| self.under_way.get_mut(&id)) {
            let waits = std::mem::take(&mut other.waits);
            newer = other.newer;
            wakers.extend(self.tell(waits, landing));
        }
        (Some(load), wakers)
    }

    fn tell(&mut self, waits: Vec<u64>, landing: &Landing) -> Vec<Waker> {
        let mut tell = |wait| {
            let waiting = self.waits.get_mut(&wait)?;
            waiting.landing = Some(landing.clone());
            waiting.waker.take()
        };
        waits.into_iter().filter_map(&mut tell).collect()
    }

    fn leave(&mut self, wait: u64) -> Option<Waiting> {
        let waiting = self.waits.remove(&wait)?;
        if let Some(target) = self.under_way.get_mut(&waiting.target) {
            target.waits.retain(|other| *other != wait);
        }
        for load in &waiting.within {
            if let Some(load) = self.under_way.get_mut(load) {
                remove_one(&mut load.waits_for, waiting.target);
            }
        }
        if let Some(thread) = waiting.blocked
            && let Some(targets) = self.blocked.get_mut(&thread)
        {
            remove_one(targets, waiting.target);
            if targets.is_empty() {
                self.blocked.remove(&thread);
            }
        }
        Some(waiting)
    }
}

fn remove_one(ids: &mut Vec<LoadId>, id: LoadId) {
    if let Some(place) = ids.iter().position(|other| *other == id) {
        ids.swap_remove(place);
    }
}

#[cfg(test)]
mod tests;
