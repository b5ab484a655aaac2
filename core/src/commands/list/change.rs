//! LSET, LINSERT, LREM and LTRIM.

use super::{edit, from_beginning, list_to_change, range};
use crate::command::spec::ArgSpec;
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::value::list::End;

/// A number whose sign can be changed.
pub(super) struct Long(i64);

pub(super) fn long_of(text: &[u8]) -> Result<i64> {
    const LEAST: i64 = -i64::MAX;
    match num::parse_i64(text).ok_or_else(Error::not_an_integer)? {
        number if number < LEAST => Err(Error::command(format_args!(
            "value is out of range, value must between {LEAST} and {}",
            i64::MAX
        ))),
        number => Ok(number),
    }
}

impl<'a> Arg<'a> for Long {
    const SPEC: ArgSpec = <i64 as Arg<'a>>::SPEC;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        long_of(args.required()?).map(Self)
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

/// Sets the element at an index of a list.
///
/// Returns `OK`. A negative index counts from the end; one that is beyond either end is an error, as is a missing list.
#[derive(Command)]
#[command(
    name = "LSET", group = List, since = "1.0.0", complexity = "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).", arity = 4,
    flags(WRITE, DENYOOM),
    reply = "ok",
)]
pub struct LSet<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    index: &'a [u8],
    element: &'a [u8],
}

impl Write for LSet<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if list_to_change(db, &self.key)?.is_none() {
            return Err(Error::no_such_key());
        }
        let index = num::parse_i64(self.index).ok_or_else(Error::not_an_integer)?;
        let is_set = edit(db, &self.key, |list| {
            // The server makes room first, wherever the index is.
            list.make_room(1, self.element.len());
            let index = usize::try_from(from_beginning(index, list.len())).ok();
            let index = index.filter(|index| *index < list.len());
            index.iter().for_each(|index| list.set(*index, self.element));
            Ok(index.is_some())
        })?;
        if is_set != Some(true) {
            return Err(Error::command("index out of range"));
        }
        db.notify(EventClass::List, "lset", self.key.bytes());
        reply.ok();
        Ok(())
    }
}

#[derive(Arg, Clone, Copy)]
enum Where {
    #[arg(token = "BEFORE")]
    Before,
    #[arg(token = "AFTER")]
    After,
}

/// Inserts an element before or after another in a list.
///
/// Returns how many elements the list has then, -1 where there is no such other element, 0 where there is no such list.
#[derive(Command)]
#[command(
    name = "LINSERT", group = List, since = "2.2.0", complexity = "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).", arity = 5,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct LInsert<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    r#where: Where,
    pivot: &'a [u8],
    element: &'a [u8],
}

impl Write for LInsert<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let is_behind = matches!(self.r#where, Where::After);
        let len = edit(db, &self.key, |list| {
            let is_inserted = list.insert(self.pivot, is_behind, self.element);
            Ok(is_inserted.then(|| list.len()))
        })?;
        match len {
            None => reply.integer(0),
            Some(None) => reply.integer(-1),
            Some(Some(len)) => {
                db.notify(EventClass::List, "linsert", self.key.bytes());
                reply.count(len);
            }
        }
        Ok(())
    }
}

/// Removes elements of a list that are equal to one, and the list with its last element.
///
/// Returns how many it removed: up to `count` from the beginning, from the end if it is negative, all if it is 0.
#[derive(Command)]
#[command(
    name = "LREM", group = List, since = "1.0.0", complexity = "O(N+M) where N is the length of the list and M is the number of elements removed.", arity = 4,
    flags(WRITE),
    reply = "int",
)]
pub struct LRem<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    count: Long,
    element: &'a [u8],
}

impl Write for LRem<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let end = if self.count.0 < 0 { End::Right } else { End::Left };
        let most = match self.count.0.unsigned_abs() {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let removed = edit(db, &self.key, |list| Ok(list.remove_equal(end, self.element, most)))?;
        let removed = removed.unwrap_or(0);
        if removed > 0 {
            db.notify_of_edit(EventClass::List, "lrem", self.key.bytes());
        }
        reply.count(removed);
        Ok(())
    }
}

/// Removes all elements of a list but those between two indexes, both included, and the list if none is left.
///
/// Returns `OK`. Negative indexes count from the end.
#[derive(Command)]
#[command(
    name = "LTRIM", group = List, since = "1.0.0", complexity = "O(N) where N is the number of elements to be removed by the operation.", arity = 4,
    flags(WRITE),
    reply = "ok",
)]
pub struct LTrim<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    start: i64,
    stop: i64,
}

impl Write for LTrim<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let trimmed = edit(db, &self.key, |list| {
            let len = list.len();
            let (first, count) = range(self.start, self.stop, len);
            list.keep(first, count);
            Ok(())
        })?;
        if trimmed.is_some() {
            db.notify_of_edit(EventClass::List, "ltrim", self.key.bytes());
        }
        reply.ok();
        Ok(())
    }
}
