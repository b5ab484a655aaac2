//! HGET, HMGET, HEXISTS, HSTRLEN and HLEN.

use super::{hash_of, reply_element};
use crate::command::{Command, Read, Reply};
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Returns the value of a field of a hash.
///
/// Returns null where there is no such hash or field.
#[derive(Command)]
#[command(
    name = "HGET", group = Hash, since = "2.0.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "bulk | null",
)]
pub struct HGet<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    field: &'a [u8],
}

impl Read for HGet<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key)?;
        reply_element(reply, hash.and_then(|hash| hash.get(self.field, db.now())));
        Ok(())
    }
}

/// Returns the values of several fields of a hash.
///
/// Returns null for each field that does not exist.
#[derive(Command)]
#[command(
    name = "HMGET", group = Hash, since = "2.0.0", complexity = "O(N) where N is the number of fields being requested.", arity = -3,
    flags(READONLY, FAST),
    reply = "array(bulk | null)",
)]
pub struct HMGet<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    field: Vec<&'a [u8]>,
}

impl Read for HMGet<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key)?;
        reply.array(self.field.len());
        for field in &self.field {
            reply_element(reply, hash.and_then(|hash| hash.get(field, db.now())));
        }
        Ok(())
    }
}

/// Tells whether a field exists in a hash.
///
/// Returns 1 or 0.
#[derive(Command)]
#[command(
    name = "HEXISTS", group = Hash, since = "2.0.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct HExists<'a> {
    #[key(RO)]
    key: Key<'a>,
    field: &'a [u8],
}

impl Read for HExists<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key)?;
        reply.integer(hash.is_some_and(|hash| hash.get(self.field, db.now()).is_some()).into());
        Ok(())
    }
}

/// Returns the length of the value of a field.
///
/// Returns 0 where there is no such hash or field.
#[derive(Command)]
#[command(
    name = "HSTRLEN", group = Hash, since = "3.2.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct HStrLen<'a> {
    #[key(RO)]
    key: Key<'a>,
    field: &'a [u8],
}

impl Read for HStrLen<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key)?;
        reply.count(hash.and_then(|hash| hash.get(self.field, db.now())).map_or(0, |value| value.len()));
        Ok(())
    }
}

/// Returns the number of fields of a hash.
///
/// Returns 0 where there is no such hash.
#[derive(Command)]
#[command(
    name = "HLEN", group = Hash, since = "2.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct HLen<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for HLen<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        // While nothing is reclaimed, fields that have expired are counted: nothing has expired at the beginning of time.
        let now = if db.reclaims() { db.now() } else { 0 };
        reply.count(hash_of(db, &self.key)?.map_or(0, |hash| hash.len(now)));
        Ok(())
    }
}
