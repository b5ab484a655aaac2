//! SMOVE.

use super::{remove, set_to_change};
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::set::members::Members;

/// Moves a member from one set to another, which is created if need be.
///
/// Returns 1 if it was moved, 0 if it is no member of the first set. Where both are the same set nothing is changed.
#[derive(Command)]
#[command(
    name = "SMOVE", group = Set, since = "1.0.0", complexity = "O(1)", arity = 4,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct SMove<'a> {
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
    member: &'a [u8],
}

impl Write for SMove<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(source) = set_to_change(db, &self.source)? else {
            reply.integer(0);
            return Ok(());
        };
        set_to_change(db, &self.destination)?;
        let is_there = source.has(self.member);
        if is_there && self.source.bytes() != self.destination.bytes() {
            self.move_it(db)?;
        }
        reply.integer(is_there.into());
        Ok(())
    }
}

impl SMove<'_> {
    /// Adds before it removes: what was added can be taken back, since its memory is there. A set that was unpacked for it stays so.
    fn move_it(&self, db: &mut Db<'_>) -> Result<()> {
        // Before they hear of the other, as on a server.
        db.tell_trackers(&self.source);
        let before = db.recorded();
        let is_new = collection::edit_or_create(db, &self.destination, |members: &mut Members<'_>| {
            Ok(members.add_one(self.member))
        })?;
        let created = db.hold_events(before);
        let the_member = || std::iter::once(self.member);
        if let Err(error) = remove::remove(db, &self.source, the_member()) {
            if is_new {
                remove::remove(db, &self.destination, the_member())?;
            }
            db.forget_since(before);
            return Err(error);
        }
        db.notify_of_edit(EventClass::Set, "srem", self.source.bytes());
        db.announce(created);
        if is_new {
            db.notify(EventClass::Set, "sadd", self.destination.bytes());
        }
        Ok(())
    }
}
