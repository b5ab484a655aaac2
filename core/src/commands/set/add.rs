//! SADD.

use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::set::members::Members;

/// Adds members to a set, which is created if need be.
///
/// Returns how many are new.
#[derive(Command)]
#[command(
    name = "SADD", group = Set, since = "1.0.0", complexity = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", arity = -3,
    flags(WRITE, DENYOOM, FAST),
    history(("2.4.0", "Accepts multiple `member` arguments.")),
    reply = "int",
)]
pub struct SAdd<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    member: Vec<&'a [u8]>,
}

impl Write for SAdd<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let added = collection::edit_or_create(db, &self.key, |members: &mut Members<'_>| {
            Ok(members.add_all(&self.member))
        })?;
        if added > 0 {
            db.notify(EventClass::Set, "sadd", self.key.bytes());
        }
        reply.count(added);
        Ok(())
    }
}
