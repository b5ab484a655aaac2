//! GET and its relatives that touch the key while reading it, and STRLEN.

use super::expiry::ExpireOrPersist;
use crate::command::{Command, Read, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Returns the string of a key.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "GET", group = String, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "bulk | null",
)]
pub struct Get<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for Get<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        match db.lookup(&self.key) {
            Some(entry) => reply.bulk(&entry.value().text()?),
            None => reply.null(),
        }
        Ok(())
    }
}

/// Returns the string of a key and deletes the key.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "GETDEL", group = String, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(WRITE, FAST),
    reply = "bulk | null",
)]
pub struct GetDel<'a> {
    #[key(RW, ACCESS, DELETE)]
    key: Key<'a>,
}

impl Write for GetDel<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(entry) = db.lookup(&self.key) else {
            reply.null();
            return Ok(());
        };
        reply.bulk(&entry.value().text()?);
        reply.check()?;
        db.remove(&self.key);
        db.notify(EventClass::Generic, "del", self.key.bytes());
        db.propagate(|| vec![b"DEL".to_vec(), self.key.bytes().to_vec()]);
        Ok(())
    }
}

/// Returns the string of a key and changes when the key expires.
///
/// Without an option it is GET. A time in the past deletes the key.
#[derive(Command)]
#[command(
    name = "GETEX", group = String, since = "6.2.0", complexity = "O(1)", arity = -2,
    flags(WRITE, FAST),
    reply = "bulk | null",
)]
pub struct GetEx<'a> {
    #[key(RW, ACCESS, UPDATE, notes = "RW and UPDATE because it changes the TTL")]
    key: Key<'a>,
    #[arg(oneof)]
    expiration: Option<ExpireOrPersist<'a>>,
}

impl Write for GetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let deadline = self.expiration.map(|expiration| expiration.deadline(1, db.now(), "getex"));
        let deadline = deadline.transpose()?.flatten();
        let Some(entry) = db.lookup(&self.key) else {
            reply.null();
            return Ok(());
        };
        reply.bulk(&entry.value().text()?);
        reply.check()?;
        match deadline {
            Some(deadline) => expire_at(db, &self.key, deadline),
            None if self.expiration.is_some() => persist(db, &self.key),
            None => Ok(()),
        }
    }
}

fn expire_at(db: &mut Db<'_>, key: &Key<'_>, deadline: u64) -> Result<()> {
    if deadline <= db.now() {
        db.remove(key);
        db.notify(EventClass::Generic, "del", key.bytes());
        db.propagate(|| vec![b"UNLINK".to_vec(), key.bytes().to_vec()]);
        return Ok(());
    }
    if let Some(mut entry) = db.lookup_mut(key) {
        entry.set_deadline(Some(deadline))?;
    }
    db.notify(EventClass::Generic, "expire", key.bytes());
    db.propagate(|| vec![b"PEXPIREAT".to_vec(), key.bytes().to_vec(), deadline.to_string().into_bytes()]);
    Ok(())
}

fn persist(db: &mut Db<'_>, key: &Key<'_>) -> Result<()> {
    let Some(mut entry) = db.lookup_mut(key) else { return Ok(()) };
    if entry.deadline().is_some() {
        entry.set_deadline(None)?;
        db.notify(EventClass::Generic, "persist", key.bytes());
        db.propagate(|| vec![b"PERSIST".to_vec(), key.bytes().to_vec()]);
    }
    Ok(())
}

/// Returns the length of the string of a key.
///
/// Returns 0 where there is no such key.
#[derive(Command)]
#[command(
    name = "STRLEN", group = String, since = "2.2.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct StrLen<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for StrLen<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        match db.lookup(&self.key) {
            Some(entry) => reply.count(entry.value().text()?.len()),
            None => reply.integer(0),
        }
        Ok(())
    }
}
