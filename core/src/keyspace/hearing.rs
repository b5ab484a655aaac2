//! How short cuts tell the log and observers of a change, without the collecting that [`super::Db`] does for commands of any kind.

use super::Keyspace;
use super::hooks::{Appended, Event, EventClass, Hooks};
use super::journal::Group;
use super::shard::ShardData;
use crate::error::Result;
use crate::store::key::Key;
use crate::value::MAX_IN_ARENA;

/// Those who hear of one change that a short cut makes.
pub(super) trait Hear {
    /// Whether they are all there are who care for the key. Asked under the lock of the shard.
    fn stand_for(&self, hooks: &Hooks, shard: &ShardData, db: usize, key: Key<'_>) -> bool;

    /// The key was changed, and its shard is still locked.
    fn changed(&mut self, shard: &ShardData, db: usize, key: &[u8]);
}

/// Nobody listens.
pub(super) struct Nobody;

impl Hear for Nobody {
    #[inline(always)]
    fn stand_for(&self, hooks: &Hooks, shard: &ShardData, _: usize, _: Key<'_>) -> bool {
        hooks.are_silent() && shard.watchers.is_empty()
    }

    #[inline(always)]
    fn changed(&mut self, _: &ShardData, _: usize, _: &[u8]) {}
}

/// The log, the observers, and whoever watches the key.
pub(super) struct Listeners<'k> {
    keyspace: &'k Keyspace,
    /// Who makes the change.
    client: u64,
    /// The change as the log takes it.
    group: Group,
    appended: Result<Option<Appended>>,
}

impl<'k> Listeners<'k> {
    /// All listeners of a session's change by so many bytes of key and value; `None` where no short cut is taken. None writes what is long, and what the
    /// log gets is put down before there is an error to return.
    ///
    /// # Errors
    /// The log refuses writes.
    pub(super) fn of(keyspace: &'k Keyspace, client: u64, bytes: usize) -> Result<Option<Self>> {
        if bytes > MAX_IN_ARENA || !keyspace.hooks.allow_short_cuts() {
            return Ok(None);
        }
        match keyspace.hooks.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Some(Self { keyspace, client, group: Group::default(), appended: Ok(None) })),
        }
    }

    /// Puts down what the log will get, before anything is locked.
    pub(super) fn log(&mut self, command: impl FnOnce(&mut Group)) {
        if self.keyspace.hooks.are_logged() {
            command(&mut self.group);
        }
    }

    /// Tells observers of what happened to a key, and waits for the log if that has to be. The caller holds no shard.
    ///
    /// # Errors
    /// The log cannot keep the change, which stands.
    pub(super) fn tell(self, db: usize, key: &[u8], events: &[(EventClass, &'static str)]) -> Result<()> {
        let (hooks, client) = (&self.keyspace.hooks, self.client);
        let modified = std::iter::once((db, key, client));
        let events = events.iter().map(|&(class, name)| Event { class, name, db, key, client });
        hooks.tell(modified, events);
        self.appended?.map_or(Ok(()), Appended::wait)
    }

    /// [`Listeners::tell`] of a string that was set.
    ///
    /// # Errors
    /// As there.
    pub(super) fn tell_set(self, db: usize, key: &[u8], is_new: bool, expires: bool) -> Result<()> {
        let all = [(EventClass::New, "new"), (EventClass::String, "set"), (EventClass::Generic, "expire")];
        self.tell(db, key, &all[usize::from(!is_new)..2 + usize::from(expires)])
    }
}

impl Hear for Listeners<'_> {
    #[inline]
    fn stand_for(&self, hooks: &Hooks, shard: &ShardData, db: usize, key: Key<'_>) -> bool {
        // A log that came after the change was put down has to get it from whoever does it over. Those who wait for the key are served by `Db` alone.
        hooks.are_logged() != self.group.is_empty() && !shard.watchers.is_awaited(db, &key)
    }

    fn changed(&mut self, shard: &ShardData, db: usize, key: &[u8]) {
        shard.watchers.touch(db, key);
        shard.watchers.void(db, key);
        self.appended = self.keyspace.hooks.append(&self.group);
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
