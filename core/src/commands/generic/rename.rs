//! RENAME, RENAMENX, COPY and MOVE: a value changes its place.

use crate::command::{Command, DbIndex, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};

/// Renames a key; what the new name held is gone.
///
/// Returns `OK`. The deadline moves along.
#[derive(Command)]
#[command(
    name = "RENAME", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE),
    reply = "ok",
)]
pub struct Rename<'a> {
    #[key(RW, ACCESS, DELETE)]
    key: Key<'a>,
    #[key(OW, UPDATE)]
    #[arg(key_spec = 1)]
    newkey: Key<'a>,
}

impl Write for Rename<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        rename(db, &self.key, &self.newkey)?;
        reply.ok();
        Ok(())
    }
}

/// Renames a key unless the new name is taken.
///
/// Returns 1 if it was renamed, 0 if the new name exists.
#[derive(Command)]
#[command(
    name = "RENAMENX", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, FAST),
    history(("3.2.0", "The command no longer returns an error when source and destination names are the same.")),
    reply = "int",
)]
pub struct RenameNx<'a> {
    #[key(RW, ACCESS, DELETE)]
    key: Key<'a>,
    #[key(OW, INSERT)]
    #[arg(key_spec = 1)]
    newkey: Key<'a>,
}

impl Write for RenameNx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if !db.contains(&self.key) {
            return Err(Error::no_such_key());
        }
        let free = !db.contains(&self.newkey);
        if free {
            rename(db, &self.key, &self.newkey)?;
        }
        reply.integer(free.into());
        Ok(())
    }
}

fn rename(db: &mut Db<'_>, from: &Key<'_>, to: &Key<'_>) -> Result<()> {
    if from.bytes() == to.bytes() {
        return if db.contains(from) { Ok(()) } else { Err(Error::no_such_key()) };
    }
    db.relocate(from, to, db.index())?.ok_or_else(Error::no_such_key)?;
    db.notify(EventClass::Generic, "rename_from", from.bytes());
    db.notify(EventClass::Generic, "rename_to", to.bytes());
    Ok(())
}

/// Copies the value of a key, and its deadline, to another key or another database.
///
/// Returns 1 if it was copied, 0 if the source does not exist or the destination does and REPLACE was not given.
#[derive(Command)]
#[command(
    name = "COPY", group = Generic, since = "6.2.0", complexity = "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.", arity = -3,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct Copy<'a> {
    #[key(RO, ACCESS)]
    source: Key<'a>,
    #[key(OW, UPDATE)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
    #[arg(token = "DB")]
    destination_db: Option<DbIndex>,
    #[arg(token = "REPLACE")]
    replace: bool,
}

impl Write for Copy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let target = self.destination_db.map_or(db.index(), |index| index.0);
        if target == db.index() && self.source.bytes() == self.destination.bytes() {
            return Err(Error::command("source and destination objects are the same"));
        }
        reply.integer(self.copy(db, target)?.into());
        Ok(())
    }
}

impl Copy<'_> {
    fn copy(&self, db: &mut Db<'_>, target: usize) -> Result<bool> {
        db.lookup(&self.source);
        let Some((mut value, deadline)) = db.copy(&self.source) else { return Ok(false) };
        let home = db.select(target);
        let free = self.replace || !db.contains(&self.destination);
        let copied = match free {
            true => db.insert_from_elsewhere(&self.destination, value.as_new(), deadline),
            false => Ok(()),
        };
        if free && copied.is_ok() {
            db.arm_inside(&self.destination);
            db.notify(EventClass::Generic, "copy_to", self.destination.bytes());
        }
        db.select(home);
        copied.map(|()| free)
    }
}

/// Moves a key to another database.
///
/// Returns 1 if it was moved, 0 if it does not exist or the other database has a key of this name.
#[derive(Command)]
#[command(
    name = "MOVE", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct Move<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    db: DbIndex,
}

impl Write for Move<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let target = self.db.0;
        if target == db.index() {
            return Err(Error::command("source and destination objects are the same"));
        }
        let home = db.select(target);
        let taken = db.contains(&self.key);
        db.select(home);
        let moved = !taken && db.relocate(&self.key, &self.key, target)?.is_some();
        if moved {
            db.notify(EventClass::Generic, "move_from", self.key.bytes());
            db.select(target);
            db.notify(EventClass::Generic, "move_to", self.key.bytes());
            db.select(home);
        }
        reply.integer(moved.into());
        Ok(())
    }
}
