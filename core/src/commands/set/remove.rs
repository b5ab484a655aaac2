//! SREM.

use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::set::members::Members;

/// Removes members of a set, and the set with its last member.
///
/// Returns how many were there.
#[derive(Command)]
#[command(
    name = "SREM", group = Set, since = "1.0.0", complexity = "O(N) where N is the number of members to be removed.", arity = -3,
    flags(WRITE, FAST),
    history(("2.4.0", "Accepts multiple `member` arguments.")),
    reply = "int",
)]
pub struct SRem<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    member: Vec<&'a [u8]>,
}

impl Write for SRem<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let removed = remove(db, &self.key, self.member.iter().copied())?;
        if removed > 0 {
            db.notify_of_edit(EventClass::Set, "srem", self.key.bytes());
        }
        reply.count(removed);
        Ok(())
    }
}

/// Removes members, and the set with its last; how many were there.
///
/// # Errors
/// WRONGTYPE, or there is no memory; nothing has changed.
pub(super) fn remove<'n>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    names: impl ExactSizeIterator<Item = &'n [u8]>,
) -> Result<usize> {
    let removed = collection::edit(db, key, |members: &mut Members<'_>| Ok(members.remove_all(names)))?;
    Ok(removed.unwrap_or_default())
}
