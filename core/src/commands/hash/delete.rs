//! HDEL and HGETDEL.

use super::fields::FieldNames;
use super::{edit, reply_element};
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Removes fields of a hash, and the hash with its last field.
///
/// Returns how many existed.
#[derive(Command)]
#[command(
    name = "HDEL", group = Hash, since = "2.0.0", complexity = "O(N) where N is the number of fields to be removed.", arity = -3,
    flags(WRITE, FAST),
    history(("2.4.0", "Accepts multiple `field` arguments.")),
    reply = "int",
)]
pub struct HDel<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    field: Vec<&'a [u8]>,
}

impl Write for HDel<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(remove(db, &self.key, &self.field)?);
        Ok(())
    }
}

/// Removes fields and says how many existed.
pub(super) fn remove(db: &mut Db<'_>, key: &Key<'_>, names: &[&[u8]]) -> Result<usize> {
    let removed = edit(db, key, |fields| Ok(fields.remove_all(names)))?.unwrap_or_default();
    if removed > 0 {
        db.notify_of_edit(EventClass::Hash, "hdel", key.bytes());
    }
    Ok(removed)
}

/// Returns the values of fields of a hash and removes the fields.
///
/// Returns null for each field that does not exist.
#[derive(Command)]
#[command(
    name = "HGETDEL", group = Hash, since = "9.1.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
    flags(WRITE, FAST),
    reply = "array(bulk | null)",
)]
pub struct HGetDel<'a> {
    #[key(RW, ACCESS, DELETE)]
    key: Key<'a>,
    fields: FieldNames<'a>,
}

impl Write for HGetDel<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = db.peek(&self.key).map(|entry| entry.value().hash()).transpose()?;
        reply.array(self.fields.names.len());
        // A field named twice is there once: the first mention takes it.
        for (position, field) in self.fields.names.iter().enumerate() {
            let is_first = !self.fields.names[..position].contains(field);
            reply_element(reply, hash.filter(|_| is_first).and_then(|hash| hash.get(field, db.now())));
        }
        reply.check()?;
        if remove(db, &self.key, &self.fields.names)? > 0 {
            let words = [&b"HDEL"[..], self.key.bytes()].into_iter().chain(self.fields.names.iter().copied());
            db.propagate(|| words);
        }
        Ok(())
    }
}
