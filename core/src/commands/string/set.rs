//! SET and the older commands that are special cases of it.

use super::expiry::{Late, TimeUnit, positive_deadline};
use crate::alloc;
use crate::command::{Arg, Command, Reply, Write};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;

/// Stores a string under a key, whatever the key held before.
///
/// Returns `OK`, or null where the condition did not hold. With GET it returns the previous string instead.
#[derive(Command)]
#[command(
    name = "SET", group = String, since = "1.0.0", complexity = "O(1)", arity = -3,
    flags(WRITE, DENYOOM),
    history(("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."), ("6.0.0", "Added the `KEEPTTL` option."), ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."), ("7.0.0", "Allowed the `NX` and `GET` options to be used together."), ("8.1.0", "Added the `IFEQ` option.")),
    reply = "ok | null | bulk",
)]
pub struct Set<'a> {
    #[key(RW, ACCESS, UPDATE, VARIABLE_FLAGS, notes = "RW and ACCESS due to the optional `GET` argument")]
    key: Key<'a>,
    value: &'a [u8],
    #[arg(oneof)]
    condition: Option<Condition<'a>>,
    #[arg(token = "GET", since = "6.2.0")]
    get: bool,
    #[arg(oneof)]
    expiration: Option<Expiration<'a>>,
}

#[derive(Arg, Clone, Copy)]
enum Condition<'a> {
    #[arg(token = "NX", since = "2.6.12")]
    Nx,
    #[arg(token = "XX", since = "2.6.12")]
    Xx,
    #[arg(token = "IFEQ", name = "comparison-value", once, since = "8.1.0")]
    IfEq(&'a [u8]),
}

#[derive(Arg, Clone, Copy)]
enum Expiration<'a> {
    #[arg(token = "EX", name = "seconds", since = "2.6.12")]
    Ex(Late<'a>),
    #[arg(token = "PX", name = "milliseconds", since = "2.6.12")]
    Px(Late<'a>),
    #[arg(token = "EXAT", name = "unix-time-seconds", kind = UnixTime, since = "6.2.0")]
    ExAt(Late<'a>),
    #[arg(token = "PXAT", name = "unix-time-milliseconds", kind = UnixTime, since = "6.2.0")]
    PxAt(Late<'a>),
    #[arg(token = "KEEPTTL", since = "6.0.0")]
    KeepTtl,
}

impl Write for Set<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let deadline = match self.expiration {
            Some(Expiration::Ex(value)) => Some((value, TimeUnit::Seconds)),
            Some(Expiration::Px(value)) => Some((value, TimeUnit::Milliseconds)),
            Some(Expiration::ExAt(value)) => Some((value, TimeUnit::UnixSeconds)),
            Some(Expiration::PxAt(value)) => Some((value, TimeUnit::UnixMilliseconds)),
            Some(Expiration::KeepTtl) | None => None,
        };
        let deadline =
            deadline.map(|(value, unit)| positive_deadline(value, unit, db.now(), "set")).transpose()?;
        let keep = matches!(self.expiration, Some(Expiration::KeepTtl));
        let old =
            if self.get || self.condition.is_some() || keep { self.examine(db)? } else { Old::default() };
        if let (true, Some(text)) = (self.get, &old.text) {
            reply.bulk(text);
        } else if self.get || !old.allows {
            reply.null();
        } else {
            reply.ok();
        }
        if !old.allows {
            return Ok(());
        }
        reply.check()?;
        let deadline = if keep { old.deadline } else { deadline };
        if !keep && deadline.is_some_and(|deadline| deadline <= db.now()) {
            remove_as_expired(db, &self.key);
            return Ok(());
        }
        if deadline.is_some() && !keep {
            db.propagate_set(&self.key, self.value, deadline);
        } else if self.condition.is_some() || self.get {
            let keep = keep.then_some(&b"KEEPTTL"[..]);
            db.propagate(|| [b"SET", self.key.bytes(), self.value].into_iter().chain(keep));
        }
        store(db, &self.key, self.value, deadline)
    }
}

/// What SET has to know of the value it replaces.
struct Old {
    text: Option<Vec<u8>>,
    deadline: Option<u64>,
    allows: bool,
}

impl Default for Old {
    fn default() -> Self {
        Old { text: None, deadline: None, allows: true }
    }
}

impl Set<'_> {
    fn examine(&self, db: &Db<'_>) -> Result<Old> {
        let entry = if self.get { db.lookup(&self.key) } else { db.peek(&self.key) };
        let text = match &entry {
            Some(entry) if self.get || matches!(self.condition, Some(Condition::IfEq(_))) => {
                Some(entry.value().text()?)
            }
            _ => None,
        };
        let allows = match self.condition {
            None => true,
            Some(Condition::Nx) => entry.is_none(),
            Some(Condition::Xx) => entry.is_some(),
            Some(Condition::IfEq(expected)) => text.is_some_and(|text| *text == *expected),
        };
        let text = text.filter(|_| self.get).map(|text| alloc::copied(&text)).transpose()?;
        Ok(Old { text, deadline: entry.and_then(|entry| entry.deadline()), allows })
    }
}

/// Stores a string and announces it; the heart of every command that sets one.
pub(crate) fn store(db: &mut Db<'_>, key: &Key<'_>, value: &[u8], deadline: Option<u64>) -> Result<()> {
    db.insert(key, db.encode(value), deadline)?;
    announce(db, key, deadline);
    Ok(())
}

/// Tells who subscribed to it that a string was set.
pub(crate) fn announce(db: &mut Db<'_>, key: &Key<'_>, deadline: Option<u64>) {
    db.notify(EventClass::String, "set", key.bytes());
    if deadline.is_some() {
        db.notify(EventClass::Generic, "expire", key.bytes());
    }
}

/// A value whose deadline has passed is not stored, but takes the place of the old one all the same.
fn remove_as_expired(db: &mut Db<'_>, key: &Key<'_>) {
    if db.expire_now(key) {
        let command = db.keyspace().expired_delete_command().to_vec();
        db.propagate(|| vec![command, key.bytes().to_vec()]);
    }
}

/// Stores a string under a key that does not exist yet.
///
/// Returns 1 if it was stored, 0 if the key exists.
#[derive(Command)]
#[command(
    name = "SETNX", group = String, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct SetNx<'a> {
    #[key(OW, INSERT)]
    key: Key<'a>,
    value: &'a [u8],
}

impl Write for SetNx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let absent = !db.contains(&self.key);
        if absent {
            store(db, &self.key, self.value, None)?;
        }
        reply.integer(absent.into());
        Ok(())
    }
}

/// Stores a string and its time to live in seconds.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "SETEX", group = String, since = "2.0.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM),
    reply = "ok",
)]
pub struct SetEx<'a> {
    #[key(OW, UPDATE)]
    key: Key<'a>,
    seconds: Late<'a>,
    value: &'a [u8],
}

impl Write for SetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        set_for(db, &self.key, self.value, self.seconds, TimeUnit::Seconds, "setex")?;
        reply.ok();
        Ok(())
    }
}

/// Stores a string and its time to live in milliseconds.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "PSETEX", group = String, since = "2.6.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM),
    reply = "ok",
)]
pub struct PSetEx<'a> {
    #[key(OW, UPDATE)]
    key: Key<'a>,
    milliseconds: Late<'a>,
    value: &'a [u8],
}

impl Write for PSetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        set_for(db, &self.key, self.value, self.milliseconds, TimeUnit::Milliseconds, "psetex")?;
        reply.ok();
        Ok(())
    }
}

fn set_for(
    db: &mut Db<'_>,
    key: &Key<'_>,
    value: &[u8],
    time: Late<'_>,
    unit: TimeUnit,
    command: &str,
) -> Result<()> {
    let deadline = positive_deadline(time, unit, db.now(), command)?;
    db.propagate_set(key, value, Some(deadline));
    store(db, key, value, Some(deadline))
}

/// Stores a string and returns the one that was there.
///
/// Returns the previous string, or null where there was none.
#[derive(Command)]
#[command(
    name = "GETSET", group = String, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "bulk | null",
)]
pub struct GetSet<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    value: &'a [u8],
}

impl Write for GetSet<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        match db.lookup(&self.key) {
            Some(entry) => reply.bulk(&entry.value().text()?),
            None => reply.null(),
        }
        reply.check()?;
        db.propagate_set(&self.key, self.value, None);
        store(db, &self.key, self.value, None)
    }
}

/// Deletes a key if it holds a string equal to the given one.
///
/// Returns 1 if it was deleted, 0 if it does not exist or differs.
#[derive(Command)]
#[command(
    name = "DELIFEQ", group = String, since = "9.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct DelIfEq<'a> {
    #[key(RM, DELETE)]
    key: Key<'a>,
    value: &'a [u8],
}

impl Write for DelIfEq<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let equal = match db.peek(&self.key) {
            Some(entry) => *entry.value().text()? == *self.value,
            None => false,
        };
        if equal {
            db.remove(&self.key);
            db.notify(EventClass::Generic, "del", self.key.bytes());
            db.propagate(|| vec![b"DEL".to_vec(), self.key.bytes().to_vec()]);
        }
        reply.integer(equal.into());
        Ok(())
    }
}

/// The integer that a string holds.
///
/// # Errors
/// WRONGTYPE, or not an integer.
pub(crate) fn integer_of(value: crate::value::Value<'_>) -> Result<i64> {
    match value {
        crate::value::Value::Int(number) => Ok(number),
        other => num::parse_i64(&other.text()?)
            .ok_or_else(|| Error::new(ErrorKind::Command, "ERR value is not an integer or out of range")),
    }
}
