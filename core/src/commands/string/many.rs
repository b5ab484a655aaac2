//! MGET, MSET and MSETNX: several keys in one atomic step.

use super::set::announce;
use crate::command::{Arg, Command, Read, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Returns the strings of several keys.
///
/// Returns null for each key that does not exist or holds no string.
#[derive(Command)]
#[command(
    name = "MGET", group = String, since = "1.0.0", complexity = "O(N) where N is the number of keys to retrieve.", arity = -2,
    flags(READONLY, FAST), tips("request_policy:multi_shard"),
    reply = "array(bulk | null)",
)]
pub struct MGet<'a> {
    #[key(RO, ACCESS, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for MGet<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.array(self.key.len());
        for key in &self.key {
            match db.lookup(key).map(|entry| entry.value().text()) {
                Some(Ok(text)) => reply.bulk(&text),
                Some(Err(_)) | None => reply.null(),
            }
        }
        Ok(())
    }
}

/// A key and its new string.
#[derive(Arg)]
pub(super) struct KeyValue<'a> {
    #[arg(key_spec = 0)]
    pub(super) key: Key<'a>,
    pub(super) value: &'a [u8],
}

/// Stores several strings.
///
/// Returns `OK`; it cannot fail half-way.
#[derive(Command)]
#[command(
    name = "MSET", group = String, since = "1.0.1", complexity = "O(N) where N is the number of keys to set.", arity = -3,
    flags(WRITE, DENYOOM), tips("request_policy:multi_shard", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct MSet<'a> {
    #[key(OW, UPDATE, last = -1, step = 2)]
    data: Vec<KeyValue<'a>>,
}

impl Write for MSet<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        store_all(db, &self.data)?;
        reply.ok();
        Ok(())
    }
}

/// Stores several strings if none of the keys exists.
///
/// Returns 1 if they were stored, 0 if at least one key exists and nothing was.
#[derive(Command)]
#[command(
    name = "MSETNX", group = String, since = "1.0.1", complexity = "O(N) where N is the number of keys to set.", arity = -3,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct MSetNx<'a> {
    #[key(OW, INSERT, last = -1, step = 2)]
    data: Vec<KeyValue<'a>>,
}

impl Write for MSetNx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let free = !self.data.iter().any(|pair| db.contains(&pair.key));
        if free {
            store_all(db, &self.data)?;
        }
        reply.integer(free.into());
        Ok(())
    }
}

fn store_all(db: &mut Db<'_>, data: &[KeyValue<'_>]) -> Result<()> {
    store_several(db, data, |_, _| None)
}

/// Stores all of these strings, or none where there is no memory for them. `deadline` is asked when it is a key's turn.
pub(super) fn store_several(
    db: &mut Db<'_>,
    data: &[KeyValue<'_>],
    deadline: impl Fn(&Db<'_>, &Key<'_>) -> Option<u64>,
) -> Result<()> {
    let string = |number: usize| (&data[number].key, data[number].value);
    db.insert_strings(data.len(), string, deadline, |db, number, deadline| {
        announce(db, &data[number].key, deadline);
    })
}
