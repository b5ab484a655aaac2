//! APPEND.

use super::check_length;
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Appends to the string of a key; a missing key counts as empty.
///
/// Returns the new length. Appending to the same key again and again costs O(appended bytes) each time, amortised.
#[derive(Command)]
#[command(
    name = "APPEND", group = String, since = "2.0.0", complexity = "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by the server will double the free space available on every reallocation.", arity = 3,
    flags(WRITE, DENYOOM, FAST),
    reply = "int",
)]
pub struct Append<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    value: &'a [u8],
}

impl Write for Append<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let length = match db.peek(&self.key) {
            Some(entry) => Some(entry.value().text()?.len()),
            None => None,
        };
        let total = length.unwrap_or(0) + self.value.len();
        check_length(db, total)?;
        match (length, db.lookup_mut(&self.key)) {
            (Some(length), Some(mut entry)) => entry.write_string(length, self.value)?,
            _ => db.insert(&self.key, db.encode(self.value), None)?,
        }
        db.notify(EventClass::String, "append", self.key.bytes());
        reply.count(total);
        Ok(())
    }
}
