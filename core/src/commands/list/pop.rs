//! LPOP and RPOP, and BLPOP and BRPOP, which wait for a list.

use std::time::Duration;

use super::{announce_pop, announce_push, edit, list_to_change, reply_element, reply_elements};
use crate::alloc;
use crate::command::{Arg, Args, Attempt, Block, Command, Reply, Write, patience_of_seconds};
use crate::commands::pops::blocking_pop_command;
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key, collection};
use crate::num;
use crate::value::ListRef;
use crate::value::list::{Elements, End};

/// Pops up to so many elements from an end of a list. `write` writes them into the reply before they go: told the list, and how many. Says how many
/// there were; `None` if there is no list.
pub(super) fn take(
    db: &mut Db<'_>,
    key: &Key<'_>,
    (end, most): (End, usize),
    reply: &mut Reply,
    write: impl FnOnce(&mut Reply, ListRef<'_>, usize),
) -> Result<Option<usize>> {
    // For a waiter that may have gone: what it gets can be given back.
    let is_waiter = db.serves_waiter();
    let name = if is_waiter { alloc::boxed(key.bytes())? } else { Box::default() };
    let mut given = Vec::new();
    let taken = edit(db, key, |list| {
        let count = most.min(list.len());
        write(reply, list.as_ref(), count);
        reply.check()?;
        if is_waiter {
            given = copies(list.as_ref(), end, count)?;
        }
        let start = if end == End::Left { 0 } else { list.len() - count };
        list.remove_range(start, count);
        Ok(count)
    })?;
    if taken.is_some() {
        announce_pop(db, key, end);
    }
    if is_waiter && taken.is_some() {
        db.can_undo(key, move |db| give_back(db, &name, end, &given));
    }
    Ok(taken)
}

/// The first elements from an end on, in the order in which they are popped.
fn copies(list: ListRef<'_>, end: End, count: usize) -> Result<Vec<Box<[u8]>>> {
    let mut all = alloc::with_room_for(count)?;
    let mut copied = Ok(());
    let from = if end == End::Left { 0 } else { list.len() - 1 };
    list.each_from(from, end == End::Right, |element| {
        match element.with(alloc::boxed) {
            Ok(element) => all.push(element),
            Err(error) => copied = Err(error),
        }
        copied.is_ok() && all.len() < count
    });
    copied.map(|()| all)
}

/// Puts elements back where they were popped.
fn give_back(db: &mut Db<'_>, key: &[u8], end: End, popped: &[Box<[u8]>]) -> Result<()> {
    let key = db.key(key);
    let elements: Vec<&[u8]> = popped.iter().rev().map(|element| &**element).collect();
    collection::edit_or_create(db, &key, |list: &mut Elements<'_>| {
        list.push(end, &elements);
        Ok(())
    })?;
    announce_push(db, &key, end);
    let command: &[u8] = if end == End::Left { b"LPUSH" } else { b"RPUSH" };
    db.propagate(|| [command, key.bytes()].into_iter().chain(elements.iter().copied()));
    Ok(())
}

/// Writes popped elements, the first that goes first.
pub(super) fn reply_popped(reply: &mut Reply, list: ListRef<'_>, end: End, count: usize) {
    let from = if end == End::Left { 0 } else { list.len() - 1 };
    reply_elements(reply, list, from, count, end == End::Right);
}

/// The command that pops from an end.
pub(super) fn command_of(end: End) -> &'static [u8] {
    if end == End::Left { b"LPOP" } else { b"RPOP" }
}

/// Declares LPOP or RPOP.
macro_rules! pop_command {
    ($(#[$attribute:meta])* $name:ident, $end:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, ACCESS, DELETE)]
            key: Key<'a>,
            #[arg(since = "6.2.0")]
            count: Option<i64>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let key = Key::parse(args)?;
                if args.remaining() > 1 {
                    return Err(args.arity_error());
                }
                let positive = |text| num::parse_i64(text).filter(|count| *count >= 0);
                let wrong = || Error::command("value is out of range, must be positive");
                let count = args.next().map(|text| positive(text).ok_or_else(wrong)).transpose()?;
                Ok(Self { key, count })
            }
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                pop(db, &self.key, $end, self.count, reply)
            }
        }
    };
}

fn pop(db: &mut Db<'_>, key: &Key<'_>, end: End, count: Option<i64>, reply: &mut Reply) -> Result<()> {
    match count {
        None => {
            let write = |reply: &mut Reply, list: ListRef<'_>, _| reply_element(reply, list.end(end));
            if take(db, key, (end, 1), reply, write)?.is_none() {
                reply.null();
            }
        }
        Some(0) => match list_to_change(db, key)? {
            Some(_) => reply.array(0),
            None => reply.null_array(),
        },
        Some(count) => {
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            let write = |reply: &mut Reply, list: ListRef<'_>, count| reply_popped(reply, list, end, count);
            if take(db, key, (end, most), reply, write)?.is_none() {
                reply.null_array();
            }
        }
    }
    Ok(())
}

pop_command! {
    /// Removes elements from the beginning of a list, and the list with its last element.
    ///
    /// Without a count returns the element, or null where there is no such list. With one returns up to that many elements.
    #[derive(Command)]
    #[command(
        name = "LPOP", group = List, since = "1.0.0", complexity = "O(N) where N is the number of elements returned", arity = -2,
        flags(WRITE, FAST),
        history(("6.2.0", "Added the `count` argument.")),
        custom_parse, reply = "bulk | null | array(bulk) | nullarray",
    )]
    LPop, End::Left
}

pop_command! {
    /// Removes elements from the end of a list, and the list with its last element.
    ///
    /// Without a count returns the element, or null where there is no such list. With one returns up to that many elements, the last first.
    #[derive(Command)]
    #[command(
        name = "RPOP", group = List, since = "1.0.0", complexity = "O(N) where N is the number of elements returned", arity = -2,
        flags(WRITE, FAST),
        history(("6.2.0", "Added the `count` argument.")),
        custom_parse, reply = "bulk | null | array(bulk) | nullarray",
    )]
    RPop, End::Right
}

/// Pops an element of the first of these lists that there is.
fn take_first(db: &mut Db<'_>, keys: &[Key<'_>], end: End, reply: &mut Reply) -> Result<Attempt> {
    for key in keys {
        let write = |reply: &mut Reply, list: ListRef<'_>, _| {
            reply.array(2);
            reply.bulk(key.bytes());
            reply_element(reply, list.end(end));
        };
        if take(db, key, (end, 1), reply, write)?.is_some() {
            db.propagate(|| [command_of(end), key.bytes()]);
            return Ok(Attempt::Done);
        }
    }
    Ok(Attempt::Wait)
}

blocking_pop_command! {
    /// Removes the first element of the first of several lists that there is, or waits for one.
    ///
    /// Returns key and element, null when the time is over. A time of 0 seconds is for ever.
    #[derive(Command)]
    #[command(
        name = "BLPOP", group = List, since = "2.0.0", complexity = "O(N) where N is the number of provided keys.", arity = -3,
        flags(WRITE, BLOCKING),
        history(("6.0.0", "`timeout` is interpreted as a double instead of an integer.")),
        custom_parse, reply = "array(bulk) | nullarray",
    )]
    BLPop, "list", take_first, End::Left
}

blocking_pop_command! {
    /// Removes the last element of the first of several lists that there is, or waits for one.
    ///
    /// Returns key and element, null when the time is over. A time of 0 seconds is for ever.
    #[derive(Command)]
    #[command(
        name = "BRPOP", group = List, since = "2.0.0", complexity = "O(N) where N is the number of provided keys.", arity = -3,
        flags(WRITE, BLOCKING),
        history(("6.0.0", "`timeout` is interpreted as a double instead of an integer.")),
        custom_parse, reply = "array(bulk) | nullarray",
    )]
    BRPop, "list", take_first, End::Right
}
