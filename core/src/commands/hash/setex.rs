//! HSETEX: sets fields together with their deadlines.

use super::edit_or_create;
use super::fields::{FieldValues, KeyOrFields, TOKEN};
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::commands::string::expiry::{ExpireOrKeep, choose};
use crate::error::Result;
use crate::keyspace::{Db, EventClass};
use crate::value::hash::fields::Fields;

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum KeyCondition {
    #[arg(token = "NX")]
    Nx,
    #[arg(token = "XX")]
    Xx,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum FieldCondition {
    #[arg(token = "FNX")]
    Fnx,
    #[arg(token = "FXX")]
    Fxx,
}

/// Sets fields of a hash and when they expire.
///
/// Returns 1 if all were set, 0 if a condition did not hold and none was. A time in the past removes the fields.
#[derive(Command)]
#[command(
    name = "HSETEX", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of fields being set.", arity = -6,
    flags(WRITE, DENYOOM, FAST), custom_parse,
    reply = "int",
)]
pub struct HSetEx<'a> {
    #[key(RW, INSERT)]
    key: KeyOrFields<'a>,
    #[arg(oneof)]
    key_condition: Option<KeyCondition>,
    #[arg(oneof)]
    fields_condition: Option<FieldCondition>,
    #[arg(oneof)]
    expiration: Option<ExpireOrKeep<'a>>,
    fields: FieldValues<'a>,
}

impl<'a> HSetEx<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = KeyOrFields::parse(args)?;
        let mut options = args.split_before(TOKEN);
        let (mut key_condition, mut fields_condition, mut expiration) = (None, None, None);
        while let Some(word) = options.peek() {
            if KeyCondition::begins(word) {
                choose(&mut key_condition, KeyCondition::parse(&mut options)?, KeyCondition::may_repeat)?;
            } else if FieldCondition::begins(word) {
                let condition = FieldCondition::parse(&mut options)?;
                choose(&mut fields_condition, condition, FieldCondition::may_repeat)?;
            } else {
                choose(&mut expiration, ExpireOrKeep::parse(&mut options)?, ExpireOrKeep::may_repeat)?;
            }
        }
        Ok(Self { key, key_condition, fields_condition, expiration, fields: FieldValues::parse(args)? })
    }
}

impl Write for HSetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let exists = match db.peek(&self.key.key) {
            Some(entry) => entry.value().hash().map(|_| true)?,
            None => false,
        };
        let key_allows = match self.key_condition {
            None => true,
            Some(KeyCondition::Nx) => !exists,
            Some(KeyCondition::Xx) => exists,
        };
        if !key_allows {
            reply.integer(0);
            return Ok(());
        }
        let deadline = self.expiration.map(|expiration| expiration.deadline(0, db.now(), "hsetex"));
        let deadline = deadline.transpose()?.flatten();
        let set = edit_or_create(db, &self.key.key, |fields| self.set(fields, deadline))?;
        if set {
            db.notify(EventClass::Hash, "hset", self.key.key.bytes());
            if deadline.is_some() {
                db.notify(EventClass::Hash, "hexpire", self.key.key.bytes());
            }
            let has_passed = deadline.is_some_and(|deadline| deadline <= db.now());
            db.propagate(|| if has_passed { self.removal() } else { self.effect(deadline) });
        }
        reply.integer(set.into());
        Ok(())
    }
}

impl HSetEx<'_> {
    fn set(&self, fields: &mut Fields<'_>, deadline: Option<u64>) -> Result<bool> {
        let data = &self.fields.data;
        let allowed = match self.fields_condition {
            None => true,
            Some(FieldCondition::Fnx) => data.iter().all(|(field, _)| fields.get(field).is_none()),
            Some(FieldCondition::Fxx) => data.iter().all(|(field, _)| fields.get(field).is_some()),
        };
        if !allowed {
            return Ok(false);
        }
        fields.expect(data.len(), || data.iter().map(|(field, value)| field.len() + value.len()).sum());
        let has_passed = deadline.is_some_and(|deadline| deadline <= fields.now());
        let keep = matches!(self.expiration, Some(ExpireOrKeep::KeepTtl));
        for (field, value) in data {
            if has_passed {
                fields.remove(field);
                continue;
            }
            let deadline = if keep { fields.deadline(field).flatten() } else { deadline };
            fields.set(field, value, deadline);
        }
        Ok(true)
    }

    /// What setting fields with a deadline that has passed comes to, for the log.
    fn removal(&self) -> Argv {
        let words = [b"HDEL".to_vec(), self.key.key.bytes().to_vec()];
        words.into_iter().chain(self.fields.data.iter().map(|(field, _)| field.to_vec())).collect()
    }

    /// The same with an absolute deadline and without conditions, for the log.
    fn effect(&self, deadline: Option<u64>) -> Argv {
        let mut argv = vec![b"HSETEX".to_vec()];
        self.key.encode(&mut argv);
        match (self.expiration, deadline) {
            (_, Some(deadline)) => argv.extend([b"PXAT".to_vec(), deadline.to_string().into_bytes()]),
            (Some(ExpireOrKeep::KeepTtl), None) => argv.push(b"KEEPTTL".to_vec()),
            _ => {}
        }
        self.fields.encode(&mut argv);
        argv
    }
}
