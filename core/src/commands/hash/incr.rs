//! HINCRBY and HINCRBYFLOAT.

use super::edit_or_create;
use crate::command::{Command, Reply, Write};
use crate::commands::string::incrbyfloat::LateDouble;
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num::{self, LongDouble};

/// Adds a number to the integer of a field; a missing field counts as 0.
///
/// Returns the new value. The field's deadline stays.
#[derive(Command)]
#[command(
    name = "HINCRBY", group = Hash, since = "2.0.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct HIncrBy<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    field: &'a [u8],
    increment: i64,
}

impl Write for HIncrBy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let sum = edit_or_create(db, &self.key, |fields| {
            let old = match fields.get(self.field) {
                Some(value) => value
                    .with(num::parse_i64)
                    .ok_or_else(|| Error::command("hash value is not an integer"))?,
                None => 0,
            };
            let sum = old
                .checked_add(self.increment)
                .ok_or_else(|| Error::command("increment or decrement would overflow"))?;
            let deadline = fields.deadline(self.field).flatten();
            fields.set(self.field, sum.to_string().as_bytes(), deadline);
            Ok(sum)
        })?;
        db.notify(EventClass::Hash, "hincrby", self.key.bytes());
        reply.integer(sum);
        Ok(())
    }
}

/// Adds a floating point number to the number of a field; a missing field counts as 0.
///
/// Returns the new value as a string. The field's deadline stays.
#[derive(Command)]
#[command(
    name = "HINCRBYFLOAT", group = Hash, since = "2.6.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM, FAST),
    reply = "bulk",
)]
pub struct HIncrByFloat<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    field: &'a [u8],
    increment: LateDouble<'a>,
}

impl Write for HIncrByFloat<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let increment = LongDouble::parse(self.increment.0).ok_or_else(Error::not_a_float)?;
        if !increment.is_finite() {
            return Err(Error::command("value is NaN or Infinity"));
        }
        let (text, deadline) = edit_or_create(db, &self.key, |fields| {
            let old = match fields.get(self.field) {
                Some(value) => value
                    .with(LongDouble::parse)
                    .ok_or_else(|| Error::command("hash value is not a float"))?,
                None => LongDouble::parse(b"0").expect("zero is a number"),
            };
            let sum = old.add(increment);
            if !sum.is_finite() {
                return Err(Error::command("increment would produce NaN or Infinity"));
            }
            let mut text = Vec::new();
            sum.write_human(&mut text);
            let deadline = fields.deadline(self.field).flatten();
            fields.set(self.field, &text, deadline);
            Ok((text, deadline))
        })?;
        db.notify(EventClass::Hash, "hincrbyfloat", self.key.bytes());
        reply.bulk(&text);
        self.log(db, text, deadline);
        Ok(())
    }
}

impl HIncrByFloat<'_> {
    fn log(&self, db: &mut Db<'_>, text: Vec<u8>, deadline: Option<u64>) {
        let (key, field) = (self.key.bytes().to_vec(), self.field.to_vec());
        db.propagate(|| match deadline {
            None => vec![b"HSET".to_vec(), key, field, text],
            Some(deadline) => {
                let deadline = deadline.to_string().into_bytes();
                let head = vec![
                    b"HSETEX".to_vec(),
                    key,
                    b"PXAT".to_vec(),
                    deadline,
                    b"FIELDS".to_vec(),
                    b"1".to_vec(),
                ];
                head.into_iter().chain([field, text]).collect()
            }
        });
    }
}
