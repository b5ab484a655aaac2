//! TTL, PTTL, EXPIRETIME, PEXPIRETIME and PERSIST.

use crate::command::{Command, Read, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

const NO_KEY: i64 = -2;
const NO_DEADLINE: i64 = -1;

/// The deadline of a key put through `show`, or the codes for "no key" and "no deadline".
fn deadline(db: &Db<'_>, key: &Key<'_>, show: impl FnOnce(i64, i64) -> i64) -> i64 {
    match db.lookup_untouched(key).map(|entry| entry.deadline()) {
        None => NO_KEY,
        Some(None) => NO_DEADLINE,
        Some(Some(deadline)) => show(deadline as i64, db.now() as i64),
    }
}

/// Milliseconds to seconds, to the nearest.
pub(crate) fn seconds(milliseconds: i64) -> i64 {
    // A deadline may be the last millisecond of 64 bits.
    ((milliseconds as u64 + 500) / 1000) as i64
}

/// Returns the time to live of a key in seconds.
///
/// Returns -1 where the key does not expire, -2 where it does not exist.
#[derive(Command)]
#[command(
    name = "TTL", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST), tips("nondeterministic_output"),
    history(("2.8.0", "Added the -2 reply.")),
    reply = "int",
)]
pub struct Ttl<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for Ttl<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(deadline(db, &self.key, |deadline, now| seconds((deadline - now).max(0))));
        Ok(())
    }
}

/// Returns the time to live of a key in milliseconds.
///
/// Returns -1 where the key does not expire, -2 where it does not exist.
#[derive(Command)]
#[command(
    name = "PTTL", group = Generic, since = "2.6.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST), tips("nondeterministic_output"),
    history(("2.8.0", "Added the -2 reply.")),
    reply = "int",
)]
pub struct PTtl<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for PTtl<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(deadline(db, &self.key, |deadline, now| (deadline - now).max(0)));
        Ok(())
    }
}

/// Returns the deadline of a key as a Unix time in seconds.
///
/// Returns -1 where the key does not expire, -2 where it does not exist.
#[derive(Command)]
#[command(
    name = "EXPIRETIME", group = Generic, since = "7.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct ExpireTime<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for ExpireTime<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(deadline(db, &self.key, |deadline, _| seconds(deadline)));
        Ok(())
    }
}

/// Returns the deadline of a key as a Unix time in milliseconds.
///
/// Returns -1 where the key does not expire, -2 where it does not exist.
#[derive(Command)]
#[command(
    name = "PEXPIRETIME", group = Generic, since = "7.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct PExpireTime<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for PExpireTime<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(deadline(db, &self.key, |deadline, _| deadline));
        Ok(())
    }
}

/// Removes the deadline of a key.
///
/// Returns 1 if there was one, 0 if there was none or the key does not exist.
#[derive(Command)]
#[command(
    name = "PERSIST", group = Generic, since = "2.2.0", complexity = "O(1)", arity = 2,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct Persist<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
}

impl Write for Persist<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(mut entry) = db.lookup_mut(&self.key).filter(|entry| entry.deadline().is_some()) else {
            reply.integer(0);
            return Ok(());
        };
        entry.set_deadline(None)?;
        db.notify(EventClass::Generic, "persist", self.key.bytes());
        reply.integer(1);
        Ok(())
    }
}
