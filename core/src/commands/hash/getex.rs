//! HGETEX: reads fields and changes their deadlines.

use super::fields::{FieldNames, words};
use super::{hash_of, reply_element};
use crate::command::{Command, Reply, Write};
use crate::commands::string::expiry::ExpireOrPersist;
use crate::error::Result;
use crate::keyspace::hash::edit;
use crate::keyspace::{Db, EventClass, Key};

/// Returns the values of fields of a hash and changes when they expire.
///
/// Returns null for each field that does not exist. A time in the past deletes the fields.
#[derive(Command)]
#[command(
    name = "HGETEX", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
    flags(WRITE, FAST),
    reply = "array(bulk | null)",
)]
pub struct HGetEx<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    #[arg(oneof)]
    expiration: Option<ExpireOrPersist<'a>>,
    fields: FieldNames<'a>,
}

impl Write for HGetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let deadline =
            self.expiration.map(|expiration| expiration.deadline(db.now(), "hgetex")).transpose()?.flatten();
        let hash = hash_of(db, &self.key)?;
        reply.array(self.fields.0.len());
        for field in &self.fields.0 {
            reply_element(reply, hash.and_then(|hash| hash.get(field, db.now())));
        }
        match (self.expiration, deadline) {
            (None, _) => Ok(()),
            (Some(_), Some(deadline)) if deadline <= db.now() => self.delete(db),
            (Some(_), deadline) => self.set_deadline(db, deadline),
        }
    }
}

impl HGetEx<'_> {
    fn delete(&self, db: &mut Db<'_>) -> Result<()> {
        let names = &self.fields.0;
        let removed =
            edit(db, &self.key, |fields| Ok(names.iter().filter(|name| fields.remove(name)).count()))?;
        if removed.is_some_and(|removed| removed > 0) {
            db.notify(EventClass::Hash, "hexpired", self.key.bytes());
            let argv = [&b"HDEL"[..], self.key.bytes()].into_iter().chain(names.iter().copied());
            db.propagate(|| argv);
        }
        Ok(())
    }

    fn set_deadline(&self, db: &mut Db<'_>, deadline: Option<u64>) -> Result<()> {
        let changed = edit(db, &self.key, |fields| {
            let mut changed: Vec<&[u8]> = Vec::new();
            for name in &self.fields.0 {
                if fields.deadline(name).is_some_and(|old| deadline.is_some() || old.is_some()) {
                    fields.set_deadline(name, deadline);
                    changed.push(name);
                }
            }
            Ok(changed)
        })?;
        let changed = changed.unwrap_or_default();
        if changed.is_empty() {
            return Ok(());
        }
        match deadline {
            Some(deadline) => {
                db.notify(EventClass::Hash, "hexpire", self.key.bytes());
                db.propagate(|| {
                    words(&[b"HPEXPIREAT", self.key.bytes(), deadline.to_string().as_bytes()], &changed)
                });
            }
            None => {
                db.notify(EventClass::Hash, "hpersist", self.key.bytes());
                db.propagate(|| words(&[b"HPERSIST", self.key.bytes()], &changed));
            }
        }
        Ok(())
    }
}
