//! DUMP, RESTORE and RESTORE-ASKING: a value as bytes, in the server's own format.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Parse, Read, Reply, Write};
use crate::commands::string::expiry::Late;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::persist::loading::stamp_of;
use crate::rdb::{self, Usage};

/// Writes the value of a key in the format of RDB, for RESTORE.
///
/// Returns the bytes, or null where there is no such key. They hold no deadline of the key.
#[derive(Command)]
#[command(
    name = "DUMP", group = Generic, since = "2.6.0", complexity = "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).", arity = 2,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "bulk | null",
)]
pub struct Dump<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for Dump<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(entry) = db.lookup(&self.key) else {
            reply.null();
            return Ok(());
        };
        reply.bulk(&rdb::dumped(entry.value(), db.keyspace().config.hot())?);
        Ok(())
    }
}

/// Seconds since a value was last used.
#[derive(Clone, Copy)]
struct IdleTime(u64);

impl<'a> Arg<'a> for IdleTime {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let seconds = u64::try_from(integer(args)?);
        seconds.map(Self).map_err(|_| Error::command("Invalid IDLETIME value, must be >= 0"))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_string().into_bytes());
    }
}

/// A logarithmic access frequency.
#[derive(Clone, Copy)]
struct Frequency(u8);

impl<'a> Arg<'a> for Frequency {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let frequency = u8::try_from(integer(args)?);
        frequency.map(Self).map_err(|_| Error::command("Invalid FREQ value, must be >= 0 and <= 255"))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_string().into_bytes());
    }
}

fn integer(args: &mut Args<'_>) -> Result<i64> {
    num::parse_i64(args.required()?).ok_or_else(Error::not_an_integer)
}

/// Makes a key of the bytes that DUMP wrote.
///
/// Returns `OK`. It is an error if there is such a key and REPLACE was not given. A time to live of 0 is none; a time in the past makes no key.
#[derive(Command)]
#[command(
    name = "RESTORE", group = Generic, since = "2.6.0", complexity = "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).", arity = -4,
    flags(WRITE, DENYOOM), acl(DANGEROUS),
    history(("3.0.0", "Added the `REPLACE` modifier."), ("5.0.0", "Added the `ABSTTL` modifier."), ("5.0.0", "Added the `IDLETIME` and `FREQ` options.")),
    reply = "ok",
)]
pub struct Restore<'a> {
    #[key(OW, UPDATE)]
    key: Key<'a>,
    ttl: Late<'a>,
    serialized_value: &'a [u8],
    #[arg(token = "REPLACE", since = "3.0.0")]
    replace: bool,
    #[arg(token = "ABSTTL", since = "5.0.0")]
    absttl: bool,
    #[arg(token = "IDLETIME", since = "5.0.0", without = "frequency")]
    seconds: Option<IdleTime>,
    #[arg(token = "FREQ", since = "5.0.0", without = "seconds")]
    frequency: Option<Frequency>,
}

impl Write for Restore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        restore(self, db, reply, |plain| plain.encode())
    }
}

/// An internal command for migrating keys in a cluster.
///
/// It is RESTORE: there is no cluster, in which it would reach a slot that is being imported.
#[derive(Command)]
#[command(
    name = "RESTORE-ASKING", group = Server, since = "3.0.0", complexity = "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).", arity = -4,
    flags(WRITE, DENYOOM, ASKING, SYSCMD), acl(KEYSPACE, DANGEROUS),
    history(("3.0.0", "Added the `REPLACE` modifier."), ("5.0.0", "Added the `ABSTTL` modifier."), ("5.0.0", "Added the `IDLETIME` and `FREQ` options.")),
    reply = "ok",
)]
pub struct RestoreAsking<'a> {
    #[key(OW, UPDATE)]
    key: Key<'a>,
    ttl: Late<'a>,
    serialized_value: &'a [u8],
    #[arg(token = "REPLACE", since = "3.0.0")]
    replace: bool,
    #[arg(token = "ABSTTL", since = "5.0.0")]
    absttl: bool,
    #[arg(token = "IDLETIME", since = "5.0.0", without = "frequency")]
    seconds: Option<IdleTime>,
    #[arg(token = "FREQ", since = "5.0.0", without = "seconds")]
    frequency: Option<Frequency>,
}

impl Write for RestoreAsking<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let Self { key, ttl, serialized_value, replace, absttl, seconds, frequency } = *self;
        let plain = Restore { key, ttl, serialized_value, replace, absttl, seconds, frequency };
        restore(&plain, db, reply, |plain| {
            let Restore { key, ttl, serialized_value, replace, absttl, seconds, frequency } = *plain;
            RestoreAsking { key, ttl, serialized_value, replace, absttl, seconds, frequency }.encode()
        })
    }
}

/// Does what is asked for. `encode`: the words of the command of a changed one, for the log.
fn restore(
    asked: &Restore<'_>,
    db: &mut Db<'_>,
    reply: &mut Reply,
    encode: impl Fn(&Restore<'_>) -> Argv,
) -> Result<()> {
    if !asked.replace && db.contains(&asked.key) {
        return Err(Error::new(ErrorKind::BusyKey, "BUSYKEY Target key name already exists."));
    }
    let ttl = asked.ttl.value()?;
    if ttl < 0 {
        return Err(Error::command("Invalid TTL value, must be >= 0"));
    }
    let value = rdb::restored(asked.serialized_value, db.keyspace().making())?;
    let deadline = (ttl != 0).then(|| if asked.absttl { ttl } else { ttl.wrapping_add(db.now() as i64) });
    if deadline.is_some_and(|deadline| deadline <= db.now() as i64) {
        asked.remove(db);
    } else {
        let stamp = asked.stamp(db);
        value.with(|value| db.restore(&asked.key, value, deadline.map(|deadline| deadline as u64), stamp))?;
        db.notify(EventClass::Generic, "restore", asked.key.bytes());
        if let Some(deadline) = deadline {
            db.propagate(|| {
                let ttl = deadline.to_string();
                encode(&Restore { ttl: Late(ttl.as_bytes()), absttl: true, ..*asked })
            });
        }
    }
    reply.ok();
    Ok(())
}

impl Restore<'_> {
    /// What REPLACE of a value that has expired comes to.
    fn remove(&self, db: &mut Db<'_>) {
        if db.remove(&self.key) {
            db.notify(EventClass::Generic, "del", self.key.bytes());
            let command = db.keyspace().implied_delete_command().to_vec();
            db.propagate(|| [command, self.key.bytes().to_vec()]);
        }
    }

    /// When it was used, as far as the policy remembers such.
    fn stamp(&self, db: &Db<'_>) -> Option<u32> {
        let counted = self.frequency.map(|Frequency(counter)| Usage::Frequency(counter));
        let usage = counted.or_else(|| self.seconds.map(|IdleTime(seconds)| Usage::Idle(seconds)));
        usage.and_then(|usage| stamp_of(db, usage))
    }
}

#[cfg(test)]
mod tests;
