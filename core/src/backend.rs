//! What an engine that stands elsewhere offers: another process's, or a server's.
//!
//! An [`crate::Engine`] over a backend keeps no key of its own. Its typed calls and sessions go the long way, since nothing is found where short cuts
//! look and nothing there is silent, and the long way leads here. So an engine in this process pays nothing for there being others. A backend may keep
//! strings near in the engine's own keyspace, where reads find them; what they are worth is its own affair.

use std::sync::OnceLock;
use std::time::Duration;

use crate::command::Reply;
use crate::error::Result;

/// An engine elsewhere. Its methods may wait; they are never called under a lock.
pub trait Backend: Send + Sync {
    /// Executes a command that depends on no session, in the database of this number, and appends its reply, in the form of `reply`. What goes
    /// wrong is a reply too: of kind [`crate::ErrorKind::Io`] where the other side can't be reached.
    fn execute(&self, db: usize, argv: &[&[u8]], reply: &mut Reply);

    /// A client of its own there, on database 0. If the other side can't be reached, its commands say so.
    fn connect(&self) -> Box<dyn Connection>;

    /// The database that clients begin in.
    fn default_db(&self) -> usize {
        0
    }

    /// What is known of what is kept near; `None` where nothing is.
    fn near_stats(&self) -> Option<NearStats> {
        None
    }

    /// Drops what is kept near.
    fn flush_near(&self) {}

    /// Ends it, after the last handle of the engine.
    ///
    /// # Errors
    /// Something that was acknowledged could not be brought to the other side.
    fn close(&self) -> Result<()>;
}

/// What is known of a near cache and its remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Reads of commands that were answered by what is near, those of typed calls aside.
    pub hits: u64,
    /// Reads that were not.
    pub misses: u64,
    /// Values that were kept.
    pub fills: u64,
    /// Values that were not, since their key was written while they were fetched.
    pub fills_dropped: u64,
    /// Keys that the remote said have changed.
    pub invalidations: u64,
    /// Times that everything near was dropped.
    pub flushes: u64,
    /// Reads that waited for the fetch of another.
    pub joined: u64,
    /// Links so far; 0 if there has been none.
    pub generation: u64,
    /// Whether there is a link now, so that reads can be answered by what is near.
    pub is_linked: bool,
    /// The remote does not track what clients read: nothing is kept near.
    pub is_refused: bool,
    /// Bytes that what is near takes, its tables included.
    pub bytes: usize,
    /// The most that what is near can be behind the remote, if the link breaks without anybody noticing.
    pub staleness_bound: Duration,
    /// Whether calls to the remote are made.
    pub breaker: BreakerState,
}

/// What a remote's breaker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// One call is made, to see whether the remote is there again.
    HalfOpen,
    /// No call is made.
    Open,
}

impl BreakerState {
    /// Its name, as metrics tell it.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half-open",
            BreakerState::Open => "open",
        }
    }
}

/// A client of an engine elsewhere: its database, protocol, transaction and watched keys are kept there. Dropping it ends it.
pub trait Connection: Send {
    /// Executes a command and appends its reply, in the form of `reply`; errors are replies too. HELLO sets the protocol of `reply`.
    fn execute(&mut self, argv: &[&[u8]], reply: &mut Reply);

    /// Executes commands in turn, without waiting for one reply before the next is sent.
    fn execute_all(&mut self, commands: &[&[&[u8]]], reply: &mut Reply) {
        commands.iter().for_each(|argv| self.execute(argv, reply));
    }

    /// The database that SELECT chose.
    fn db(&self) -> usize;

    /// Ends a transaction and watches no key any more, and goes to a database: as DISCARD, UNWATCH and SELECT would.
    fn clean(&mut self, db: usize);

    /// Whether it is to be ended: QUIT was executed, or the other side has ended it.
    fn is_quitting(&self) -> bool;
}

/// Whether the name of an engine is the URL of a server that it is to stand in.
pub(crate) fn is_url(name: &str) -> bool {
    const SCHEMES: [&str; 7] = ["valkey", "redis", "valkeys", "rediss", "valkey+unix", "unix", "sentinel"];
    name.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// Runs the waits for other sides: for a language whose threads hold a lock that others need meanwhile.
pub type Waiter = fn(&mut (dyn FnMut() + Send));

static WAITER: OnceLock<Waiter> = OnceLock::new();

/// Has waits for other sides run by this. The first counts: there is one language in a process that knows of such a lock.
pub fn set_waiter(waiter: Waiter) {
    let _ = WAITER.set(waiter);
}

/// Waits for the other side.
#[cfg_attr(not(feature = "remote"), allow(dead_code, reason = "nobody waits"))]
pub(crate) fn wait<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let Some(waiter) = WAITER.get() else { return work() };
    let (mut work, mut result) = (Some(work), None);
    waiter(&mut || result = work.take().map(|work| work()));
    result.expect("a waiter runs what it is given")
}

#[cfg(test)]
pub(crate) mod tests;
