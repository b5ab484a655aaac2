//! LPUSH, LPUSHX, RPUSH and RPUSHX.

use super::{announce_push, edit};
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, Key, collection};
use crate::value::list::{Elements, End};

/// Pushes elements to an end of a list, which is created if need be, and says how many it has then.
fn push(db: &mut Db<'_>, key: &Key<'_>, end: End, elements: &[&[u8]]) -> Result<usize> {
    let len = collection::edit_or_create(db, key, |list: &mut Elements<'_>| {
        list.push(end, elements);
        Ok(list.len())
    })?;
    announce_push(db, key, end);
    Ok(len)
}

/// The same for a list that is there; 0 if there is none.
fn push_to_list(db: &mut Db<'_>, key: &Key<'_>, end: End, elements: &[&[u8]]) -> Result<usize> {
    let len = edit(db, key, |list| {
        list.push(end, elements);
        Ok(list.len())
    })?;
    if len.is_some() {
        announce_push(db, key, end);
    }
    Ok(len.unwrap_or(0))
}

/// Declares a command that pushes.
macro_rules! push_command {
    ($(#[$attribute:meta])* $name:ident, $push:ident, $end:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, INSERT)]
            key: Key<'a>,
            element: Vec<&'a [u8]>,
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                reply.count($push(db, &self.key, $end, &self.element)?);
                Ok(())
            }
        }
    };
}

push_command! {
    /// Pushes elements to the beginning of a list, which is created if need be.
    ///
    /// Returns how many elements the list has then. The last that is named is the first of the list.
    #[derive(Command)]
    #[command(
        name = "LPUSH", group = List, since = "1.0.0", complexity = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", arity = -3,
        flags(WRITE, DENYOOM, FAST),
        history(("2.4.0", "Accepts multiple `element` arguments.")),
        reply = "int",
    )]
    LPush, push, End::Left
}

push_command! {
    /// Pushes elements to the beginning of a list that exists.
    ///
    /// Returns how many elements the list has then, 0 where there is no such list.
    #[derive(Command)]
    #[command(
        name = "LPUSHX", group = List, since = "2.2.0", complexity = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", arity = -3,
        flags(WRITE, DENYOOM, FAST),
        history(("4.0.0", "Accepts multiple `element` arguments.")),
        reply = "int",
    )]
    LPushX, push_to_list, End::Left
}

push_command! {
    /// Pushes elements to the end of a list, which is created if need be.
    ///
    /// Returns how many elements the list has then.
    #[derive(Command)]
    #[command(
        name = "RPUSH", group = List, since = "1.0.0", complexity = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", arity = -3,
        flags(WRITE, DENYOOM, FAST),
        history(("2.4.0", "Accepts multiple `element` arguments.")),
        reply = "int",
    )]
    RPush, push, End::Right
}

push_command! {
    /// Pushes elements to the end of a list that exists.
    ///
    /// Returns how many elements the list has then, 0 where there is no such list.
    #[derive(Command)]
    #[command(
        name = "RPUSHX", group = List, since = "2.2.0", complexity = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", arity = -3,
        flags(WRITE, DENYOOM, FAST),
        history(("4.0.0", "Accepts multiple `element` arguments.")),
        reply = "int",
    )]
    RPushX, push_to_list, End::Right
}
