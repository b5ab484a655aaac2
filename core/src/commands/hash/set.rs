//! HSET, its old name HMSET, and HSETNX.

use super::edit_or_create;
use crate::command::{Arg, Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// A field and its new value.
#[derive(Arg)]
struct FieldValue<'a> {
    field: &'a [u8],
    value: &'a [u8],
}

/// Sets fields of a hash, which is created if need be.
///
/// Returns how many fields are new. A deadline that a field had is gone.
#[derive(Command)]
#[command(
    name = "HSET", group = Hash, since = "2.0.0", complexity = "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.", arity = -4,
    flags(WRITE, DENYOOM, FAST),
    history(("4.0.0", "Accepts multiple `field` and `value` arguments.")),
    reply = "int",
)]
pub struct HSet<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    data: Vec<FieldValue<'a>>,
}

impl Write for HSet<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(set_all(db, &self.key, &self.data)?);
        Ok(())
    }
}

/// Sets fields of a hash, which is created if need be; the old name of HSET.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "HMSET", group = Hash, since = "2.0.0", complexity = "O(N) where N is the number of fields being set.", arity = -4,
    flags(WRITE, DENYOOM, FAST),
    reply = "ok",
)]
pub struct HMSet<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    data: Vec<FieldValue<'a>>,
}

impl Write for HMSet<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        set_all(db, &self.key, &self.data)?;
        reply.ok();
        Ok(())
    }
}

fn set_all(db: &mut Db<'_>, key: &Key<'_>, data: &[FieldValue<'_>]) -> Result<usize> {
    let created = edit_or_create(db, key, |fields| {
        fields.make_room_for(data.len());
        fields.expect(data.len(), || data.iter().map(|pair| pair.field.len() + pair.value.len()).sum());
        data.iter().for_each(|pair| fields.make_room(&[pair.field, pair.value]));
        Ok(data.iter().filter(|pair| fields.set(pair.field, pair.value, None)).count())
    })?;
    db.notify(EventClass::Hash, "hset", key.bytes());
    Ok(created)
}

/// Sets one field and says whether it is new.
pub(crate) fn set_field(db: &mut Db<'_>, key: &Key<'_>, field: &[u8], value: &[u8]) -> Result<bool> {
    Ok(set_all(db, key, &[FieldValue { field, value }])? == 1)
}

/// Sets a field of a hash unless it exists.
///
/// Returns 1 if it was set, 0 if it exists.
#[derive(Command)]
#[command(
    name = "HSETNX", group = Hash, since = "2.0.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct HSetNx<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    field: &'a [u8],
    value: &'a [u8],
}

impl Write for HSetNx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let set = edit_or_create(db, &self.key, |fields| {
            let free = fields.get(self.field).is_none();
            if free {
                fields.set(self.field, self.value, None);
            }
            Ok(free)
        })?;
        if set {
            db.notify(EventClass::Hash, "hset", self.key.bytes());
        }
        reply.integer(set.into());
        Ok(())
    }
}
