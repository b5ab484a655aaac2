//! APPEND.

use super::check_length;
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EntryMut, EventClass, Key};
use crate::value::HeapValue;
use crate::value::Kind;
use crate::value::NewValue;
use crate::value::string::encode;

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
        let length = match db.lookup(&self.key) {
            Some(entry) => Some(entry.value().text()?.len()),
            None => None,
        };
        let total = length.unwrap_or(0) + self.value.len();
        check_length(db, total)?;
        match (length, db.lookup_mut(&self.key)) {
            (Some(_), Some(mut entry)) => grow(&mut entry, self.value)?,
            _ => db.insert(&self.key, encode(self.value), None)?,
        }
        db.notify(EventClass::String, "append", self.key.bytes());
        reply.count(total);
        Ok(())
    }
}

/// Strings that are appended to move to the heap at this size, where they grow by doubling.
const GROWING: usize = 1024;

fn grow(entry: &mut EntryMut<'_, '_>, tail: &[u8]) -> Result<()> {
    let grown = entry.edit_heap(|value| match value {
        HeapValue::Str(bytes) => {
            bytes.extend_from_slice(tail);
            ((), true)
        }
        HeapValue::Hash(_) => unreachable!("the caller has checked the type"),
    });
    if grown.is_some() {
        return Ok(());
    }
    let mut bytes = entry.value().text()?.to_vec();
    bytes.extend_from_slice(tail);
    if bytes.len() >= GROWING {
        entry.set_value(NewValue::Heap(Kind::RawHeap, HeapValue::Str(bytes)))
    } else {
        entry.set_value(NewValue::Bytes(Kind::Raw, &bytes))
    }
}
