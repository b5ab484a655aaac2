//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT and HPERSIST: deadlines of single fields.

use super::edit;
use super::fields::{FieldNames, words, wrong_count};
use crate::alloc;
use crate::command::{Args, Command, Reply, Write};
use crate::commands::generic::expire::Conditions;
use crate::commands::string::expiry::{Late, TimeUnit, deadline_from};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};
use crate::value::hash::fields::Fields;

const NO_FIELD: i64 = -2;
const NOT_SET: i64 = 0;
const SET: i64 = 1;
const DELETED: i64 = 2;
const NO_DEADLINE: i64 = -1;

/// Declares one of the four commands; they differ in the unit and origin of the time, and in what the server's manual says of the conditions.
macro_rules! expire_command {
    ($(#[$attribute:meta])* $name:ident, $time:ident, $unit:ident $(, since $since:literal)?) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, UPDATE)]
            key: Key<'a>,
            #[arg(kind = Integer)]
            $time: Late<'a>,
            $(#[arg(since = $since)])?
            condition: Conditions,
            fields: FieldNames<'a>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let Clause { key, time, condition, fields } = Clause::parse(args)?;
                Ok(Self { key, $time: time, condition, fields })
            }
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                let deadline = deadline(self.$time, TimeUnit::$unit, db.now(), <Self as crate::command::Parse<'_>>::SPEC.name)?;
                expire(db, &self.key, deadline, self.condition, &self.fields.names, reply)
            }
        }
    };
}

expire_command! {
    /// Sets the time to live of fields of a hash in seconds.
    ///
    /// Returns per field: -2 no such field, 0 the condition did not hold, 1 set, 2 deleted because the time has passed.
    #[derive(Command)]
    #[command(
        name = "HEXPIRE", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -6,
        flags(WRITE, FAST), custom_parse,
        reply = "array(int)",
    )]
    HExpire, seconds, Seconds
}

expire_command! {
    /// Sets the time to live of fields of a hash in milliseconds.
    ///
    /// Returns per field: -2 no such field, 0 the condition did not hold, 1 set, 2 deleted because the time has passed.
    #[derive(Command)]
    #[command(
        name = "HPEXPIRE", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -6,
        flags(WRITE, FAST), custom_parse,
        reply = "array(int)",
    )]
    HPExpire, milliseconds, Milliseconds, since "9.0.0"
}

expire_command! {
    /// Sets the deadline of fields of a hash as a Unix time in seconds.
    ///
    /// Returns per field: -2 no such field, 0 the condition did not hold, 1 set, 2 deleted because the time has passed.
    #[derive(Command)]
    #[command(
        name = "HEXPIREAT", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -6,
        flags(WRITE, FAST), custom_parse,
        reply = "array(int)",
    )]
    HExpireAt, unix_time_seconds, UnixSeconds, since "9.0.0"
}

expire_command! {
    /// Sets the deadline of fields of a hash as a Unix time in milliseconds.
    ///
    /// Returns per field: -2 no such field, 0 the condition did not hold, 1 set, 2 deleted because the time has passed.
    #[derive(Command)]
    #[command(
        name = "HPEXPIREAT", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -6,
        flags(WRITE, FAST), custom_parse,
        reply = "array(int)",
    )]
    HPExpireAt, unix_time_milliseconds, UnixMilliseconds, since "9.0.0"
}

/// What the four commands have in common: `key time [conditions] FIELDS count field ...`.
struct Clause<'a> {
    key: Key<'a>,
    time: Late<'a>,
    condition: Conditions,
    fields: FieldNames<'a>,
}

impl<'a> Clause<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        use crate::command::Arg;
        let key = Key::parse(args)?;
        let time = Late::parse(args)?;
        let conditions = args
            .rest()
            .iter()
            .position(|word| word.eq_ignore_ascii_case(b"FIELDS"))
            .ok_or_else(wrong_count)?;
        let condition = Conditions::of(args.take(conditions))?;
        let fields = FieldNames::parse(args)?;
        Ok(Self { key, time, condition, fields })
    }
}

fn deadline(time: Late<'_>, unit: TimeUnit, now: u64, command: &str) -> Result<i64> {
    deadline_from(0, time, unit, now, command).map(|deadline| deadline as i64)
}

fn expire(
    db: &mut Db<'_>,
    key: &Key<'_>,
    deadline: i64,
    conditions: Conditions,
    names: &[&[u8]],
    reply: &mut Reply,
) -> Result<()> {
    let results = edit(db, key, |fields| {
        fields.expect_each(names);
        alloc::collected(names.iter().map(|name| expire_one(fields, name, deadline, conditions)))
    })?;
    let results = results.unwrap_or_else(|| vec![NO_FIELD; names.len()]);
    reply.array(results.len());
    results.iter().for_each(|result| reply.integer(*result));
    let with = |wanted: i64| -> Vec<&[u8]> {
        names.iter().zip(&results).filter(|(_, result)| **result == wanted).map(|(name, _)| *name).collect()
    };
    let (set, deleted) = (with(SET), with(DELETED));
    if !set.is_empty() {
        db.notify(EventClass::Hash, "hexpire", key.bytes());
        let deadline = deadline.to_string();
        db.propagate(|| words(&[b"HPEXPIREAT", key.bytes(), deadline.as_bytes()], &set));
    }
    if !deleted.is_empty() {
        db.notify(EventClass::Hash, "hexpired", key.bytes());
        let argv = [&b"HDEL"[..], key.bytes()].into_iter().chain(deleted);
        db.propagate(|| argv);
    }
    Ok(())
}

fn expire_one(fields: &mut Fields<'_>, name: &[u8], deadline: i64, conditions: Conditions) -> i64 {
    let Some(old) = fields.deadline(name) else { return NO_FIELD };
    if !conditions.allow(old, deadline) {
        return NOT_SET;
    }
    if deadline <= fields.now() as i64 {
        fields.remove(name);
        return DELETED;
    }
    fields.set_deadline(name, Some(deadline as u64));
    SET
}

/// Removes the deadline of fields of a hash.
///
/// Returns per field: -2 no such field, -1 it had none, 1 removed.
#[derive(Command)]
#[command(
    name = "HPERSIST", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
    flags(WRITE, FAST),
    reply = "array(int)",
)]
pub struct HPersist<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    fields: FieldNames<'a>,
}

impl Write for HPersist<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let names = &self.fields.names;
        let results = edit(db, &self.key, |fields| {
            fields.expect_each(names);
            let mut persist = |name: &&[u8]| match fields.deadline(name) {
                None => NO_FIELD,
                Some(None) => NO_DEADLINE,
                Some(Some(_)) => {
                    fields.set_deadline(name, None);
                    SET
                }
            };
            alloc::collected(names.iter().map(&mut persist))
        })?;
        let results = results.unwrap_or_else(|| vec![NO_FIELD; names.len()]);
        reply.array(results.len());
        results.iter().for_each(|result| reply.integer(*result));
        if results.contains(&SET) {
            db.notify(EventClass::Hash, "hpersist", self.key.bytes());
        }
        Ok(())
    }
}
