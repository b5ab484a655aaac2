//! LLEN, LINDEX and LRANGE.

use super::{from_beginning, list_of, range, reply_element, reply_elements};
use crate::command::{Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;

/// Returns the number of elements of a list.
///
/// Returns 0 where there is no such list.
#[derive(Command)]
#[command(
    name = "LLEN", group = List, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct LLen<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for LLen<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(list_of(db, &self.key)?.map_or(0, |list| list.len()));
        Ok(())
    }
}

/// Returns the element at an index of a list.
///
/// A negative index counts from the end. Returns null where there is no such element.
#[derive(Command)]
#[command(
    name = "LINDEX", group = List, since = "1.0.0", complexity = "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).", arity = 3,
    flags(READONLY),
    reply = "bulk | null",
)]
pub struct LIndex<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    index: &'a [u8],
}

impl Read for LIndex<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        // The list is looked for first: without one the index may be anything.
        let Some(list) = list_of(db, &self.key)? else {
            reply.null();
            return Ok(());
        };
        let index = num::parse_i64(self.index).ok_or_else(Error::not_an_integer)?;
        let index = usize::try_from(from_beginning(index, list.len())).ok();
        reply_element(reply, index.and_then(|index| list.get(index)));
        Ok(())
    }
}

/// Returns the elements of a list between two indexes, both included.
///
/// Negative indexes count from the end; what lies beyond the ends is left out.
#[derive(Command)]
#[command(
    name = "LRANGE", group = List, since = "1.0.0", complexity = "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.", arity = 4,
    flags(READONLY),
    reply = "array(bulk)",
)]
pub struct LRange<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    start: i64,
    stop: i64,
}

impl Read for LRange<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(list) = list_of(db, &self.key)? else {
            reply.array(0);
            return Ok(());
        };
        let (first, count) = range(self.start, self.stop, list.len());
        reply_elements(reply, list, first, count, false);
        Ok(())
    }
}
