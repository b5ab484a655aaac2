//! Whom the keyspace tells about changes: the log, and observers such as tracking and notifications.
//!
//! The keyspace calls these at fixed points of every command and knows nothing of who listens. Whoever cares for few keys marks them
//! ([`super::watch`]) instead of observing all.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::journal::{Group, Journal, Ticket};
use super::turns::{Turn, Turns};
use crate::error::{Error, Result};
use crate::os::Guard;
use crate::sync::{AtomicU32, Mutex, Ordering};

/// Classes of keyspace events, as `notify-keyspace-events` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after Valkey's classes")]
pub enum EventClass {
    Generic,
    String,
    Hash,
    List,
    Set,
    ZSet,
    Stream,
    Expired,
    Evicted,
    New,
    KeyMiss,
}

/// Something that happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'k> {
    /// Its class.
    pub class: EventClass,
    /// Valkey's name of the event, such as `set` or `expire`.
    pub name: &'static str,
    /// Database of the key.
    pub db: usize,
    /// The key.
    pub key: &'k [u8],
    /// The number of the session that did it, as CLIENT ID tells it; 0 for whoever has none: typed calls of the process, and the engine itself.
    pub client: u64,
}

/// What an observer wants to hear of. What nobody wants is not collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// [`Observer::modified`] and [`Observer::flushed`].
    pub changes: bool,
    /// [`Observer::notified`] of what happens to keys.
    pub events: bool,
    /// [`Observer::notified`] of reads of keys that are not there.
    pub misses: bool,
}

impl Interest {
    fn is_in(self, class: EventClass) -> bool {
        if class == EventClass::KeyMiss { self.misses } else { self.events }
    }
}

/// Hears of changes after the shards are unlocked, in the order in which they were made, before the command that made them returns: on the thread that made
/// them, or on one that was just telling what came before them. Of what expires or is evicted it also hears on the background thread.
///
/// It may use engines and close them; what it changes is told after what is being told. It must not wait for another thread that changes keys, closes the
/// engine or forks: these wait for it.
pub trait Observer: Send + Sync {
    /// What it wants to hear of; asked once, when it begins to observe.
    fn interest(&self) -> Interest {
        Interest { changes: true, events: true, misses: false }
    }

    /// The key was created, changed or removed: cached copies are stale. `client` is the session that did it, as in [`Event::client`].
    fn modified(&self, db: usize, key: &[u8], client: u64);

    /// Every key of a database, or of all of them, is gone or has become another: all cached copies are stale.
    fn flushed(&self, _db: Option<usize>) {}

    /// A keyspace event.
    fn notified(&self, event: &Event<'_>);
}

/// Publishes what happens to keys while their shards are locked: so it is told in the order in which it happened, whichever threads did it. It locks
/// nothing of a keyspace.
pub(crate) trait Publisher: Send + Sync {
    /// Puts an event where it is heard, and returns what wakes those who hear it, to be done when nothing is locked.
    fn publish(&self, event: &Event<'_>) -> Option<Waking>;
}

/// A key that has changed, and the number of the session that did it, 0 for whoever has none.
pub(crate) type Tracked = (Box<[u8]>, u64);

/// Tells clients that may keep keys of those that have changed.
pub(crate) trait Tracker: Send + Sync {
    /// The key, whose shard is locked, has changed by the session of that number. What wakes those who were told is added to `wakings`, to be done when nothing
    /// is locked. Says whether the key is to be broadcast then, too.
    fn changed(&self, key: &[u8], client: u64, wakings: &mut Vec<Waking>) -> bool;

    /// All keys of a database, or of all, are gone.
    fn flushed(&self, wakings: &mut Vec<Waking>);

    /// These keys have changed, by one piece of work. The caller holds no lock.
    fn broadcast(&self, changed: Vec<Tracked>);

    /// Forgets keys where there are more than there may be. Called by the background; the caller holds no lock.
    fn trim(&self);
}

/// Wakes those who hear of an event.
pub(crate) type Waking = Box<dyn FnOnce() + Send>;

/// An observer and what it wants to hear of.
#[derive(Clone)]
struct Listener {
    observer: Arc<dyn Observer>,
    interest: Interest,
}

/// The listeners of one keyspace.
#[derive(Default)]
pub(crate) struct Hooks {
    journal: ArcSwapOption<Arc<dyn Journal>>,
    observers: ArcSwap<Vec<Listener>>,
    publisher: ArcSwapOption<Arc<dyn Publisher>>,
    tracker: ArcSwapOption<Arc<dyn Tracker>>,
    /// Why no write may begin, log or not.
    refused: ArcSwapOption<Error>,
    /// Held by whoever changes the list of observers.
    changing: Mutex<()>,
    /// Who there is, as bits, so that one load tells that there is nobody.
    present: AtomicU32,
    /// Marks on keys, of all shards.
    marks: AtomicU32,
    /// Who tells the observers when.
    pub(super) turns: Turns,
}

/// The event of [`EventClass::KeyMiss`].
pub(super) const KEY_MISS: &str = "keymiss";

const JOURNAL: u32 = 1;
const CHANGES: u32 = 2;
const EVENTS: u32 = 4;
/// The keys are an engine's elsewhere: whoever changes one asks there.
const ELSEWHERE: u32 = 16;
const MISSES: u32 = 32;
const PUBLISHED_EVENTS: u32 = 64;
const PUBLISHED_MISSES: u32 = 128;
const REFUSED: u32 = 256;
/// Clients may keep keys.
const TRACKED: u32 = 512;
/// Short cuts are not taken, for tests to compare.
#[cfg(test)]
const LONG_WAY: u32 = 8;

type Loaded = arc_swap::Guard<Option<Arc<Arc<dyn Journal>>>>;

/// Something that was appended to the log, and may have to be waited for.
#[must_use]
pub(crate) struct Appended {
    journal: Loaded,
    ticket: Ticket,
}

/// A log that takes writes.
pub(super) struct Writable(Loaded);

impl Writable {
    /// Appends a group. The caller has held the shards that it is about since it got this.
    ///
    /// # Errors
    /// The log cannot take it.
    #[inline]
    pub(super) fn append(self, group: &Group) -> Result<Option<Appended>> {
        let Self(journal) = self;
        let ticket = journal.as_ref().map(|journal| journal.append(group)).transpose()?;
        Ok(ticket.map(|ticket| Appended { journal, ticket }))
    }
}

impl Appended {
    /// Waits until it is as safe as the log promises. The caller holds no shard.
    pub(crate) fn wait(self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.wait(self.ticket))
    }
}

impl Hooks {
    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.changing.lock()));
        held.push(self.turns.freeze());
    }

    /// Sets the log, or ends it with `None`, and returns the one before. The caller holds every shard, so that each change goes to one of them.
    pub(crate) fn set_journal(&self, journal: Option<Arc<dyn Journal>>) -> Option<Arc<dyn Journal>> {
        self.set_present(JOURNAL, journal.is_some());
        let before = self.journal.swap(journal.map(Arc::new));
        before.map(|journal| (*journal).clone())
    }

    /// Whether there is a log. Changes only while every shard is locked.
    #[inline]
    pub(crate) fn are_logged(&self) -> bool {
        self.present.load(Ordering::Acquire) & JOURNAL != 0
    }

    /// Why no write may begin at present.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Error> {
        if self.present.load(Ordering::Acquire) & (JOURNAL | REFUSED) == 0 {
            return None;
        }
        self.refused
            .load_full()
            .map(|error| (*error).clone())
            .or_else(|| self.journal.load().as_ref()?.refusal())
    }

    /// Whether all writes are refused, log or not.
    #[inline]
    pub(super) fn are_refused(&self) -> bool {
        self.present.load(Ordering::Acquire) & REFUSED != 0
    }

    /// Refuses all writes that begin from now on with this error, or, with `None`, no more.
    pub(crate) fn refuse(&self, error: Option<Error>) {
        let refuses = error.is_some();
        self.refused.store(error.map(Arc::new));
        self.set_present(REFUSED, refuses);
    }

    /// The log, if there is one and it takes writes.
    #[inline]
    pub(super) fn writable(&self) -> Option<Writable> {
        if !self.are_logged() {
            return None;
        }
        let journal = self.journal.load();
        let takes_writes =
            !self.are_refused() && journal.as_ref().is_some_and(|journal| journal.refusal().is_none());
        takes_writes.then_some(Writable(journal))
    }

    /// Appends a group to the log, if there is one and the group is not empty. The caller holds the shards that it is about.
    ///
    /// # Errors
    /// The log cannot take it.
    pub(crate) fn append(&self, group: &Group) -> Result<Option<Appended>> {
        if group.is_empty() || !self.are_logged() {
            return Ok(None);
        }
        Writable(self.journal.load()).append(group)
    }

    /// Tells this observer of changes from now on.
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        let interest = observer.interest();
        self.change_observers(|observers| observers.push(Listener { observer, interest }));
    }

    /// Tells this observer of no change that begins after this. Says whether it observed.
    pub(crate) fn unobserve(&self, observer: &Arc<dyn Observer>) -> bool {
        let mut found = false;
        self.change_observers(|observers| {
            observers.retain(|listener| {
                let is_it = std::ptr::addr_eq(Arc::as_ptr(&listener.observer), Arc::as_ptr(observer));
                found |= is_it;
                !is_it
            });
        });
        found
    }

    /// Has this one publish events, and reads of keys that are not there, from now on; nobody, where neither is wanted.
    pub(crate) fn set_publisher(&self, publisher: Arc<dyn Publisher>, events: bool, misses: bool) {
        self.publisher.store((events || misses).then(|| Arc::new(publisher)));
        self.set_present(PUBLISHED_EVENTS, events);
        self.set_present(PUBLISHED_MISSES, misses);
    }

    /// Has this one tell clients of keys that have changed from now on, or nobody.
    pub(crate) fn set_tracker(&self, tracker: Option<Arc<dyn Tracker>>) {
        let is_there = tracker.is_some();
        self.tracker.store(tracker.map(Arc::new));
        self.set_present(TRACKED, is_there);
    }

    /// Whether clients may keep keys.
    #[inline]
    pub(super) fn are_tracked(&self) -> bool {
        self.present.load(Ordering::Acquire) & TRACKED != 0
    }

    /// Tells clients of a key that has changed, as [`Tracker::changed`] does.
    #[cold]
    pub(super) fn track(&self, key: &[u8], client: u64, wakings: &mut Vec<Waking>) -> bool {
        self.tracker.load().as_ref().is_some_and(|tracker| tracker.changed(key, client, wakings))
    }

    /// As [`Hooks::track`], of the only key that a piece of work has changed: what is to be done when nothing is locked is in `wakings`.
    #[cold]
    pub(super) fn track_one(&self, key: &[u8], client: u64, wakings: &mut Vec<Waking>) {
        if let Some(tracker) = &*self.tracker.load()
            && tracker.changed(key, client, wakings)
        {
            let (tracker, tracked) = (tracker.clone(), (key.into(), client));
            wakings.push(Box::new(move || tracker.broadcast(vec![tracked])));
        }
    }

    /// Tells clients that keys are gone, as [`Tracker::flushed`] does.
    #[cold]
    pub(super) fn track_flush(&self, wakings: &mut Vec<Waking>) {
        if let Some(tracker) = &*self.tracker.load() {
            tracker.flushed(wakings);
        }
    }

    /// Tells clients of keys that one piece of work has changed. The caller holds no lock.
    #[cold]
    pub(super) fn broadcast(&self, changed: Vec<Tracked>) {
        if let Some(tracker) = &*self.tracker.load() {
            tracker.broadcast(changed);
        }
    }

    /// Has keys forgotten that clients may keep, where there are too many. The caller holds no lock.
    pub(crate) fn trim_tracked(&self) {
        if self.are_tracked()
            && let Some(tracker) = &*self.tracker.load()
        {
            tracker.trim();
        }
    }

    /// Whether anything is published.
    #[inline]
    pub(super) fn are_published(&self) -> bool {
        self.present.load(Ordering::Acquire) & (PUBLISHED_EVENTS | PUBLISHED_MISSES) != 0
    }

    /// Publishes an event. What is to be done about it when nothing is locked is added to `wakings`.
    pub(super) fn publish(&self, event: &Event<'_>, wakings: &mut Vec<Waking>) {
        if let Some(publisher) = &*self.publisher.load() {
            wakings.extend(publisher.publish(event));
        }
    }

    fn change_observers(&self, change: impl FnOnce(&mut Vec<Listener>)) {
        let _changing = self.changing.lock();
        let mut observers = Vec::clone(&self.observers.load());
        change(&mut observers);
        self.set_present(CHANGES, observers.iter().any(|listener| listener.interest.changes));
        self.set_present(EVENTS, observers.iter().any(|listener| listener.interest.events));
        self.set_present(MISSES, observers.iter().any(|listener| listener.interest.misses));
        self.observers.store(Arc::new(observers));
    }

    fn set_present(&self, who: u32, is_there: bool) {
        if is_there {
            self.present.fetch_or(who, Ordering::Release);
        } else {
            self.present.fetch_and(!who, Ordering::Release);
        }
    }

    /// Has whoever changes a key go the long way, which leads to an engine elsewhere.
    pub(crate) fn stand_elsewhere(&self) {
        self.set_present(ELSEWHERE, true);
    }

    /// Whether nobody wants to know of any change. One load.
    #[inline]
    pub(crate) fn are_silent(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    /// Whether anybody listens, or watches a key.
    pub(crate) fn may_hear(&self) -> bool {
        !self.are_silent() || self.marks.load(Ordering::Relaxed) > 0
    }

    /// A key was marked. The caller holds its shard.
    pub(crate) fn count_mark(&self) {
        self.marks.fetch_add(1, Ordering::Relaxed);
    }

    /// A mark of a key was taken away. The caller holds its shard.
    pub(crate) fn uncount_mark(&self) {
        self.marks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Has every write go the long way from now on.
    #[cfg(test)]
    pub(crate) fn take_no_short_cut(&self) {
        self.set_present(LONG_WAY, true);
    }

    /// Whether short cuts may be taken.
    pub(crate) fn allow_short_cuts(&self) -> bool {
        #[cfg(test)]
        return self.present.load(Ordering::Acquire) & LONG_WAY == 0;
        #[cfg(not(test))]
        true
    }

    /// Whether anybody wants to hear of changes of all keys; asked before anything is collected for them.
    #[inline]
    pub(crate) fn want_changes(&self) -> bool {
        self.present.load(Ordering::Acquire) & CHANGES != 0
    }

    /// Whether anybody wants to hear of events.
    #[inline]
    pub(crate) fn want_events(&self) -> bool {
        self.present.load(Ordering::Acquire) & (EVENTS | PUBLISHED_EVENTS) != 0
    }

    /// Whether anybody wants to hear of reads of keys that are not there.
    #[inline]
    pub(crate) fn want_misses(&self) -> bool {
        self.present.load(Ordering::Acquire) & (MISSES | PUBLISHED_MISSES) != 0
    }

    /// Tells that a key was read that is not there, by nobody's session. The caller holds no lock.
    #[cold]
    pub(super) fn tell_miss(&self, db: usize, key: &[u8]) {
        let event = Event { class: EventClass::KeyMiss, name: KEY_MISS, db, key, client: 0 };
        let mut wakings = Vec::new();
        self.publish(&event, &mut wakings);
        wakings.into_iter().for_each(|waking| waking());
        self.tell([].into_iter(), [event].into_iter());
    }

    /// Tells the observers that all keys of databases changed.
    pub(crate) fn tell_flushed(&self, flushed: &[Option<usize>]) {
        for listener in self.observers.load().iter().filter(|listener| listener.interest.changes) {
            flushed.iter().for_each(|db| listener.observer.flushed(*db));
        }
    }

    /// A turn to tell the observers of changes, if there are any. The caller holds the shards of the keys that it is about.
    #[inline]
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        (self.present.load(Ordering::Acquire) & (CHANGES | EVENTS | MISSES) != 0).then(|| Turn::take(self))
    }

    /// Tells the observers what happened to keys. The caller has the turn, if changes are told.
    pub(crate) fn tell<'k>(
        &self,
        modified: impl Iterator<Item = (usize, &'k [u8], u64)> + Clone,
        events: impl Iterator<Item = Event<'k>> + Clone,
    ) {
        // They may come back, and observe no longer: the list is theirs, not locked.
        for Listener { observer, interest } in self.observers.load().iter() {
            if interest.changes {
                modified.clone().for_each(|(db, key, client)| observer.modified(db, key, client));
            }
            if interest.events || interest.misses {
                let heard = events.clone().filter(|event| interest.is_in(event.class));
                heard.for_each(|event| observer.notified(&event));
            }
        }
    }
}
