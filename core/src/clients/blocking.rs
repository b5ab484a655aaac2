//! A client that waits for the reply of its last command, as others see it: they may end the wait.
//!
//! What it waits for is [`crate::command::block`]'s affair, how it queues [`crate::keyspace::waiting`]'s.

use crate::keyspace::Keyspace;
use crate::keyspace::locks::Locks;

/// How a wait ends if nobody serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its time is over, or somebody has it end as if it were.
    TimedOut,
    /// Somebody has it end with an error.
    Unblocked,
    /// The engine has ended, so that nothing can be done any more.
    Closed,
    /// Nobody wants the reply any more.
    Gone,
}

/// A wait. Exactly one of those who would serve it or end it does.
pub(crate) trait Blocking: Send + Sync {
    /// Leaves all queues, by locks that are held and cover all its keys, or else by its own. Says whether the wait was on until now; the caller is
    /// then the one to call [`Blocking::end`].
    fn leave(&self, keyspace: &Keyspace, held: Option<&mut Locks<'_>>) -> bool;

    /// Replies what such an end is replied with, and wakes the client. The caller holds no shard.
    fn end(&self, how: Ending);

    /// Takes no reply any more, not one that has come either: what was done for it is put back, now or by whoever is about to deliver it. For one that
    /// [left](Blocking::leave) too late. The caller holds no shard.
    fn refuse(&self, keyspace: &Keyspace);

    /// Whether it waits for keys, or to begin: the server counts such a command only when it has replied.
    fn awaits_keys(&self) -> bool;

    /// Whether the command has not begun, and is to be when the wait ends.
    fn is_postponed(&self) -> bool {
        false
    }

    /// Tells it from all other waits.
    fn number(&self) -> u64;

    /// When its time is over, in unix milliseconds, if ever.
    fn deadline_ms(&self) -> Option<u64>;

    /// Whether it is this process that it waits in, and not the one that forked it.
    fn is_here(&self) -> bool;
}
