//! Commands on lists.
//!
//! How lists are stored is [`crate::value::list`]'s affair.

pub(crate) mod change;
pub(crate) mod get;
pub(crate) mod moving;
pub(crate) mod mpop;
pub(crate) mod pop;
pub(crate) mod position;
pub(crate) mod push;

use crate::command::{Arg, Reply};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::ListRef;
use crate::value::list::{Elements, End};
use crate::value::listpack::Element;

/// An end of a list, as commands name it.
#[derive(Arg, Clone, Copy)]
pub(crate) enum Side {
    #[arg(token = "LEFT")]
    Left,
    #[arg(token = "RIGHT")]
    Right,
}

impl From<Side> for End {
    fn from(side: Side) -> Self {
        match side {
            Side::Left => End::Left,
            Side::Right => End::Right,
        }
    }
}

/// The list of a key, for reading; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE.
pub(crate) fn list_of<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<ListRef<'d>>> {
    db.lookup(key).map(|entry| entry.value().list()).transpose()
}

/// As [`list_of`], for a command that goes on to write: neither a hit nor a miss.
///
/// # Errors
/// WRONGTYPE.
fn list_to_change<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<ListRef<'d>>> {
    db.peek(key).map(|entry| entry.value().list()).transpose()
}

/// Changes the list of a key; `None` if there is none. What `change` leaves empty is removed.
///
/// # Errors
/// WRONGTYPE, out of memory, or whatever `change` returns; it must fail before it changes anything.
fn edit<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Elements<'_>) -> Result<R>,
) -> Result<Option<R>> {
    collection::edit(db, key, change)
}

/// Writes an element as a bulk string, or null.
fn reply_element(reply: &mut Reply, element: Option<Element<'_>>) {
    match element {
        Some(element) => element.with(|bytes| reply.bulk(bytes)),
        None => reply.null(),
    }
}

/// Writes so many elements from an index on, in either direction, as far as the reply has room.
fn reply_elements(reply: &mut Reply, list: ListRef<'_>, from: usize, count: usize, backwards: bool) {
    reply.array(count);
    let mut left = count;
    if left == 0 {
        return;
    }
    list.each_from(from, backwards, |element| {
        element.with(|bytes| reply.bulk(bytes));
        left -= 1;
        left > 0 && !reply.is_full()
    });
}

/// Announces that elements were pushed.
fn announce_push(db: &mut Db<'_>, key: &Key<'_>, end: End) {
    db.notify(EventClass::List, if end == End::Left { "lpush" } else { "rpush" }, key.bytes());
}

/// Announces that elements were popped, ahead of what became of the key.
fn announce_pop(db: &mut Db<'_>, key: &Key<'_>, end: End) {
    db.notify_of_edit(EventClass::List, if end == End::Left { "lpop" } else { "rpop" }, key.bytes());
}

/// An index counted from the beginning, of one that counts from the end if it is negative; may be beyond either end.
fn from_beginning(index: i64, len: usize) -> i64 {
    if index < 0 { index.saturating_add(len as i64) } else { index }
}

/// The elements from `start` to `stop`, both included and counted as above: the first, and how many; none if that is no range.
fn range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let start = from_beginning(start, len).max(0);
    let stop = from_beginning(stop, len).min(len as i64 - 1);
    if start > stop { (0, 0) } else { (start as usize, (stop - start) as usize + 1) }
}

#[cfg(test)]
mod tests;
