//! HGETALL, HKEYS and HVALS.

use super::hash_of;
use crate::command::{Command, Read, Reply};
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Returns all fields of a hash with their values.
///
/// Returns an empty map where there is no such hash. O(fields).
#[derive(Command)]
#[command(
    name = "HGETALL", group = Hash, since = "2.0.0", complexity = "O(N) where N is the size of the hash.", arity = 2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "map(bulk, bulk)",
)]
pub struct HGetAll<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for HGetAll<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(hash) = hash_of(db, &self.key)? else {
            reply.map(0);
            return Ok(());
        };
        reply.map(hash.len(db.now()));
        hash.each(db.now(), |field, value| {
            field.with(|field| reply.bulk(field));
            value.with(|value| reply.bulk(value));
        });
        Ok(())
    }
}

/// Returns the names of all fields of a hash.
///
/// Returns an empty array where there is no such hash. O(fields).
#[derive(Command)]
#[command(
    name = "HKEYS", group = Hash, since = "2.0.0", complexity = "O(N) where N is the size of the hash.", arity = 2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "array(bulk)",
)]
pub struct HKeys<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for HKeys<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(hash) = hash_of(db, &self.key)? else {
            reply.array(0);
            return Ok(());
        };
        reply.array(hash.len(db.now()));
        hash.each(db.now(), |field, _| field.with(|field| reply.bulk(field)));
        Ok(())
    }
}

/// Returns the values of all fields of a hash.
///
/// Returns an empty array where there is no such hash. O(fields).
#[derive(Command)]
#[command(
    name = "HVALS", group = Hash, since = "2.0.0", complexity = "O(N) where N is the size of the hash.", arity = 2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "array(bulk)",
)]
pub struct HVals<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for HVals<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(hash) = hash_of(db, &self.key)? else {
            reply.array(0);
            return Ok(());
        };
        reply.array(hash.len(db.now()));
        hash.each(db.now(), |_, value| value.with(|value| reply.bulk(value)));
        Ok(())
    }
}
