//! How short cuts tell the log and observers of a change, without the collecting that [`super::Db`] does for commands of any kind.

use super::Keyspace;
use super::hooks::{Appended, Event, EventClass, Hooks, Waking, Writable};
use super::journal::Group;
use super::shard::ShardData;
use super::turns::Turn;
use crate::error::Result;
use crate::store::key::Key;
use crate::value::MAX_IN_ARENA;

/// Those who hear of one change that a short cut makes.
pub(super) trait Hear {
    /// Whether they are all there are who care for the key. Asked under the lock of the shard.
    fn stand_for(&mut self, hooks: &Hooks, shard: &ShardData, db: usize, key: Key<'_>) -> bool;

    /// This has become of the key, whose shard is still locked.
    fn changed(&mut self, shard: &ShardData, db: usize, key: &[u8], became: Became);
}

/// What has become of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Created,
    Changed,
    Removed,
}

/// Nobody listens.
pub(super) struct Nobody;

impl Hear for Nobody {
    #[inline(always)]
    fn stand_for(&mut self, hooks: &Hooks, shard: &ShardData, _: usize, _: Key<'_>) -> bool {
        hooks.are_silent() && shard.watchers.is_empty()
    }

    #[inline(always)]
    fn changed(&mut self, _: &ShardData, _: usize, _: &[u8], _: Became) {}
}

/// The log, the observers, and whoever watches the key.
pub(super) struct Listeners<'k> {
    keyspace: &'k Keyspace,
    /// Who makes the change.
    client: u64,
    named: Named,
    became: Became,
    /// The change as the log takes it.
    group: Group,
    /// The log, from when the shard is locked.
    log: Option<Writable>,
    appended: Result<Option<Appended>>,
    wakings: Vec<Waking>,
    /// To tell the observers.
    turn: Option<Turn<'k>>,
}

/// What a change of a key may be announced as, in order: that the key is new, what was done, and what that has led to.
pub(crate) type Events = [(EventClass, &'static str); 3];

/// Those of an edit, which may leave nothing.
pub(crate) const fn events_of(class: EventClass, name: &'static str) -> Events {
    [(EventClass::New, "new"), (class, name), (EventClass::Generic, "del")]
}

/// Those of SET, which may set a deadline.
static SET: Events = [(EventClass::New, "new"), (EventClass::String, "set"), (EventClass::Generic, "expire")];

/// How a change of a key is announced.
#[derive(Clone, Copy)]
pub(super) struct Named {
    events: &'static Events,
    /// The key has a new deadline.
    expires: bool,
}

impl Named {
    /// SET.
    #[inline]
    pub(super) fn set(expires: bool) -> Self {
        Self { events: &SET, expires }
    }

    /// An edit.
    #[inline]
    pub(super) fn edit(events: &'static Events) -> Self {
        Self { events, expires: false }
    }

    /// All that is announced.
    #[inline]
    fn told(self, became: Became) -> &'static [(EventClass, &'static str)] {
        let has_last = self.expires || became == Became::Removed;
        &self.events[usize::from(became != Became::Created)..]
            [..1 + usize::from(became == Became::Created) + usize::from(has_last)]
    }
}

impl<'k> Listeners<'k> {
    /// All listeners of a session's change by so many bytes of key and value; `None` where no short cut is taken. None writes what is long, and what the
    /// log gets is put down before there is an error to return.
    #[inline(always)]
    pub(super) fn of(keyspace: &'k Keyspace, client: u64, bytes: usize, named: Named) -> Option<Self> {
        let hooks = &keyspace.hooks;
        let may_be = bytes <= MAX_IN_ARENA && hooks.allow_short_cuts() && !hooks.are_refused();
        may_be.then(|| Self {
            keyspace,
            client,
            named,
            became: Became::Changed,
            group: Group::default(),
            log: None,
            appended: Ok(None),
            wakings: Vec::new(),
            turn: None,
        })
    }

    /// Puts down what the log will get, before anything is locked.
    pub(super) fn log(&mut self, command: impl FnOnce(&mut Group)) {
        if self.keyspace.hooks.are_logged() {
            command(&mut self.group);
        }
    }

    /// Wakes whoever hears of what happened to a key, tells observers, and waits for the log if that has to be. The caller holds no shard.
    ///
    /// # Errors
    /// The log cannot keep the change, which stands.
    #[inline(always)]
    pub(super) fn tell(self, db: usize, key: &[u8]) -> Result<()> {
        let Self { client, named, became, group, appended, wakings, turn, .. } = self;
        group.recycle();
        if !wakings.is_empty() {
            wake(wakings);
        }
        if let Some(turn) = turn {
            tell_observers(turn, named.told(became), (db, key, client));
        }
        appended?.map_or(Ok(()), Appended::wait)
    }
}

#[cold]
fn wake(wakings: Vec<Waking>) {
    wakings.into_iter().for_each(|waking| waking());
}

#[inline(never)]
fn tell_observers(
    turn: Turn<'_>,
    told: &[(EventClass, &'static str)],
    (db, key, client): (usize, &[u8], u64),
) {
    let modified = std::iter::once((db, key, client));
    let events = told.iter().map(|&(class, name)| Event { class, name, db, key, client });
    turn.tell_borrowed(modified, events);
}

impl Hear for Listeners<'_> {
    #[inline]
    fn stand_for(&mut self, hooks: &Hooks, shard: &ShardData, db: usize, key: Key<'_>) -> bool {
        // Those who wait for the key are served by `Db` alone.
        if shard.watchers.is_awaited(db, &key) {
            return false;
        }
        // A log that came after the change was put down has to get it from whoever does it over, who also finds the error of one that takes none.
        self.log = hooks.writable();
        self.log.is_some() != self.group.is_empty()
    }

    fn changed(&mut self, shard: &ShardData, db: usize, key: &[u8], became: Became) {
        let hooks = &self.keyspace.hooks;
        shard.watchers.touch(db, key);
        shard.watchers.void(db, key);
        self.became = became;
        if let Some(log) = self.log.take() {
            self.appended = log.append(&self.group);
        }
        if hooks.are_published() {
            let client = self.client;
            for &(class, name) in self.named.told(became) {
                hooks.publish(&Event { class, name, db, key, client }, &mut self.wakings);
            }
        }
        if hooks.are_tracked() {
            hooks.track_one(key, self.client, &mut self.wakings);
        }
        self.turn = hooks.turn();
    }
}

/// SET as the log takes it: with an absolute deadline, unix milliseconds.
pub(crate) fn log_set(group: &mut Group, db: usize, key: &[u8], value: &[u8], deadline: Option<u64>) {
    let mut digits = itoa::Buffer::new();
    match deadline {
        None => group.push(db, [b"SET", key, value]),
        Some(deadline) => group.push(db, [b"SET", key, value, b"PXAT", digits.format(deadline).as_bytes()]),
    }
}
