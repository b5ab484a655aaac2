//! HGETEX: reads fields and changes their deadlines.

use super::fields::{FieldNames, KeyOrFields, TOKEN, words};
use super::{edit, hash_of, reply_element};
use crate::alloc;
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::commands::string::expiry::{ExpireOrPersist, choose};
use crate::error::Result;
use crate::keyspace::{Db, EventClass};

/// Returns the values of fields of a hash and changes when they expire.
///
/// Returns null for each field that does not exist. A time in the past deletes the fields.
#[derive(Command)]
#[command(
    name = "HGETEX", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
    flags(WRITE, FAST), custom_parse,
    reply = "array(bulk | null)",
)]
pub struct HGetEx<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: KeyOrFields<'a>,
    #[arg(oneof)]
    expiration: Option<ExpireOrPersist<'a>>,
    fields: FieldNames<'a>,
}

impl<'a> HGetEx<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = KeyOrFields::parse(args)?;
        let mut options = args.split_before(TOKEN);
        let mut expiration = None;
        while options.remaining() > 0 {
            let option = ExpireOrPersist::parse(&mut options)?;
            choose(&mut expiration, option, ExpireOrPersist::may_repeat)?;
        }
        Ok(Self { key, expiration, fields: FieldNames::parse(args)? })
    }
}

impl Write for HGetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key.key)?;
        let deadline = self.expiration.map(|expiration| expiration.deadline(0, db.now(), "hgetex"));
        let deadline = deadline.transpose()?.flatten();
        reply.array(self.fields.names.len());
        let removes = deadline.is_some_and(|deadline| deadline <= db.now());
        for (position, field) in self.fields.names.iter().enumerate() {
            // The first mention of a field has removed it.
            let is_gone = removes && self.fields.names[..position].contains(field);
            reply_element(reply, hash.filter(|_| !is_gone).and_then(|hash| hash.get(field, db.now())));
        }
        reply.check()?;
        match (self.expiration, deadline) {
            (None, _) => Ok(()),
            (Some(_), Some(deadline)) if deadline <= db.now() => self.delete(db),
            (Some(_), deadline) => self.set_deadline(db, deadline),
        }
    }
}

impl HGetEx<'_> {
    fn delete(&self, db: &mut Db<'_>) -> Result<()> {
        let names = &self.fields.names;
        let removed = edit(db, &self.key.key, |fields| Ok(fields.remove_all(names)))?;
        if removed.is_some_and(|removed| removed > 0) {
            db.notify(EventClass::Hash, "hexpired", self.key.key.bytes());
            let argv = [&b"HDEL"[..], self.key.key.bytes()].into_iter().chain(names.iter().copied());
            db.propagate(|| argv);
        }
        Ok(())
    }

    fn set_deadline(&self, db: &mut Db<'_>, deadline: Option<u64>) -> Result<()> {
        let changed = edit(db, &self.key.key, |fields| {
            fields.expect_each(&self.fields.names);
            let mut changed: Vec<&[u8]> = alloc::with_room_for(self.fields.names.len())?;
            for name in &self.fields.names {
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
                db.notify(EventClass::Hash, "hexpire", self.key.key.bytes());
                db.propagate(|| {
                    words(&[b"HPEXPIREAT", self.key.key.bytes(), deadline.to_string().as_bytes()], &changed)
                });
            }
            None => {
                db.notify(EventClass::Hash, "hpersist", self.key.key.bytes());
                db.propagate(|| words(&[b"HPERSIST", self.key.key.bytes()], &changed));
            }
        }
        Ok(())
    }
}
