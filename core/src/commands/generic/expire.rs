//! EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT: one deadline in four notations.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::commands::string::expiry::{Late, TimeUnit};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::{Db, EventClass, Key};

/// NX, XX, GT, LT: any number of them, as long as they go together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl<'a> Arg<'a> for Conditions {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        optional: true,
        args: &[condition("nx", "NX"), condition("xx", "XX"), condition("gt", "GT"), condition("lt", "LT")],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Conditions::of(args.take_rest())
    }

    fn encode(&self, out: &mut Argv) {
        for (set, token) in [(self.nx, "NX"), (self.xx, "XX"), (self.gt, "GT"), (self.lt, "LT")] {
            if set {
                out.push(token.as_bytes().to_vec());
            }
        }
    }
}

impl Conditions {
    /// Reads them from their words.
    pub(crate) fn of(words: &[&[u8]]) -> Result<Self> {
        let mut all = Conditions::default();
        for word in words {
            match &until_zero(word).to_ascii_lowercase()[..] {
                b"nx" => all.nx = true,
                b"xx" => all.xx = true,
                b"gt" => all.gt = true,
                b"lt" => all.lt = true,
                _ => return Err(Error::repeating("Unsupported option ", word, "")),
            }
        }
        if all.nx && (all.xx || all.gt || all.lt) {
            return Err(Error::command("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if all.gt && all.lt {
            return Err(Error::command("GT and LT options at the same time are not compatible"));
        }
        Ok(all)
    }
}

const fn condition(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { name, token: Some(token), kind: ArgKind::PureToken, ..ArgSpec::PLAIN }
}

impl Conditions {
    /// Whether a deadline may take the place of `old`; no deadline is later than every other.
    pub(crate) fn allow(self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|old| old as i64);
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

/// Sets the time to live of a key in seconds.
///
/// Returns 1 if it was set, 0 if there is no such key or the condition did not hold. A time in the past deletes the key.
#[derive(Command)]
#[command(
    name = "EXPIRE", group = Generic, since = "1.0.0", complexity = "O(1)", arity = -3,
    flags(WRITE, FAST),
    history(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")),
    reply = "int",
)]
pub struct Expire<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    seconds: Late<'a>,
    #[arg(since = "7.0.0")]
    condition: Conditions,
}

impl Write for Expire<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(expire(db, &self.key, self.seconds, TimeUnit::Seconds, self.condition, "expire")?);
        Ok(())
    }
}

/// Sets the time to live of a key in milliseconds.
///
/// Returns 1 if it was set, 0 if there is no such key or the condition did not hold. A time in the past deletes the key.
#[derive(Command)]
#[command(
    name = "PEXPIRE", group = Generic, since = "2.6.0", complexity = "O(1)", arity = -3,
    flags(WRITE, FAST),
    history(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")),
    reply = "int",
)]
pub struct PExpire<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    milliseconds: Late<'a>,
    #[arg(since = "7.0.0")]
    condition: Conditions,
}

impl Write for PExpire<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(expire(
            db,
            &self.key,
            self.milliseconds,
            TimeUnit::Milliseconds,
            self.condition,
            "pexpire",
        )?);
        Ok(())
    }
}

/// Sets the deadline of a key as a Unix time in seconds.
///
/// Returns 1 if it was set, 0 if there is no such key or the condition did not hold. A time in the past deletes the key.
#[derive(Command)]
#[command(
    name = "EXPIREAT", group = Generic, since = "1.2.0", complexity = "O(1)", arity = -3,
    flags(WRITE, FAST),
    history(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")),
    reply = "int",
)]
pub struct ExpireAt<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    #[arg(kind = UnixTime)]
    unix_time_seconds: Late<'a>,
    #[arg(since = "7.0.0")]
    condition: Conditions,
}

impl Write for ExpireAt<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let time = self.unix_time_seconds;
        reply.integer(expire(db, &self.key, time, TimeUnit::UnixSeconds, self.condition, "expireat")?);
        Ok(())
    }
}

/// Sets the deadline of a key as a Unix time in milliseconds.
///
/// Returns 1 if it was set, 0 if there is no such key or the condition did not hold. A time in the past deletes the key.
#[derive(Command)]
#[command(
    name = "PEXPIREAT", group = Generic, since = "2.6.0", complexity = "O(1)", arity = -3,
    flags(WRITE, FAST),
    history(("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")),
    reply = "int",
)]
pub struct PExpireAt<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    #[arg(kind = UnixTime)]
    unix_time_milliseconds: Late<'a>,
    #[arg(since = "7.0.0")]
    condition: Conditions,
}

impl Write for PExpireAt<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let time = self.unix_time_milliseconds;
        reply.integer(expire(db, &self.key, time, TimeUnit::UnixMilliseconds, self.condition, "pexpireat")?);
        Ok(())
    }
}

fn expire(
    db: &mut Db<'_>,
    key: &Key<'_>,
    time: Late<'_>,
    unit: TimeUnit,
    conditions: Conditions,
    command: &str,
) -> Result<i64> {
    let time = time.value()?;
    let deadline = unit.deadline(time, db.now()).ok_or_else(|| Error::invalid_expire(command))?;
    let Some(old) = db.peek(key).map(|entry| entry.deadline()) else { return Ok(0) };
    if !conditions.allow(old, deadline) {
        return Ok(0);
    }
    set_or_delete(db, key, deadline)?;
    Ok(1)
}

/// Gives an existing key a deadline, or deletes it if that has passed.
pub(crate) fn set_or_delete(db: &mut Db<'_>, key: &Key<'_>, deadline: i64) -> Result<()> {
    if deadline <= db.now() as i64 {
        db.expire_now(key);
        let command = db.keyspace().expired_delete_command().to_vec();
        db.propagate(|| vec![command, key.bytes().to_vec()]);
        return Ok(());
    }
    if let Some(mut entry) = db.lookup_mut(key) {
        entry.set_deadline(Some(deadline as u64))?;
    }
    db.notify(EventClass::Generic, "expire", key.bytes());
    db.propagate(|| vec![b"PEXPIREAT".to_vec(), key.bytes().to_vec(), deadline.to_string().into_bytes()]);
    Ok(())
}
