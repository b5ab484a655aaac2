//! INCR, DECR, INCRBY, DECRBY: one addition, four spellings.

use super::set::integer_of;
use crate::command::{Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::value::NewValue;

/// Adds one to the integer of a key; a missing key counts as 0.
///
/// Returns the new value.
#[derive(Command)]
#[command(
    name = "INCR", group = String, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct Incr<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
}

impl Write for Incr<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(add(db, &self.key, 1)?);
        Ok(())
    }
}

/// Subtracts one from the integer of a key; a missing key counts as 0.
///
/// Returns the new value.
#[derive(Command)]
#[command(
    name = "DECR", group = String, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct Decr<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
}

impl Write for Decr<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(add(db, &self.key, -1)?);
        Ok(())
    }
}

/// Adds a number to the integer of a key; a missing key counts as 0.
///
/// Returns the new value.
#[derive(Command)]
#[command(
    name = "INCRBY", group = String, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct IncrBy<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    increment: i64,
}

impl Write for IncrBy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(add(db, &self.key, self.increment)?);
        Ok(())
    }
}

/// Subtracts a number from the integer of a key; a missing key counts as 0.
///
/// Returns the new value.
#[derive(Command)]
#[command(
    name = "DECRBY", group = String, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct DecrBy<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    decrement: i64,
}

impl Write for DecrBy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let increment =
            self.decrement.checked_neg().ok_or_else(|| Error::command("decrement would overflow"))?;
        reply.integer(add(db, &self.key, increment)?);
        Ok(())
    }
}

/// Adds to the integer of a key and returns the sum. The deadline stays.
///
/// # Errors
/// WRONGTYPE, not an integer, or overflow; the value stays as it was.
pub(crate) fn add(db: &mut Db<'_>, key: &Key<'_>, increment: i64) -> Result<i64> {
    let sum = match db.lookup_mut(key) {
        Some(mut entry) => {
            let sum = integer_of(entry.value())?
                .checked_add(increment)
                .ok_or_else(|| Error::command("increment or decrement would overflow"))?;
            entry.set_value(NewValue::Int(sum))?;
            sum
        }
        None => {
            db.insert(key, NewValue::Int(increment), None)?;
            increment
        }
    };
    db.notify(EventClass::String, "incrby", key.bytes());
    Ok(sum)
}
