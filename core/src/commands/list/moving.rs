//! LMOVE and RPOPLPUSH, and BLMOVE and BRPOPLPUSH, which wait for a list.

use std::time::Duration;

use super::{Side, announce_pop, announce_push, edit, list_to_change};
use crate::alloc;
use crate::command::{Arg, Args, Attempt, Block, Command, Reply, Write, patience_of_seconds};
use crate::error::Result;
use crate::keyspace::{Db, Key, collection};
use crate::value::list::{Elements, End};

/// Moves an element from an end of a list to an end of another, or of the same, and replies it; false, and no reply, if there is no such list.
fn relocate(
    db: &mut Db<'_>,
    (source, from): (&Key<'_>, End),
    (destination, to): (&Key<'_>, End),
    reply: &mut Reply,
) -> Result<bool> {
    let Some(list) = list_to_change(db, source)? else { return Ok(false) };
    let is_from_nodes = list.is_in_nodes();
    let element = list.end(from).expect("a list has an element").with(alloc::copied)?;
    list_to_change(db, destination)?;
    reply.bulk(&element);
    reply.check()?;
    if source.bytes() == destination.bytes() {
        edit(db, source, |list| {
            list.turn(from, to, &element, is_from_nodes);
            Ok(())
        })?;
        announce_push(db, destination, to);
        announce_pop(db, source, from);
        return Ok(true);
    }
    let before = db.recorded();
    collection::edit_or_create(db, destination, |list: &mut Elements<'_>| {
        list.push_moved(to, &element, is_from_nodes);
        Ok(())
    })?;
    announce_push(db, destination, to);
    let popped = edit(db, source, |list| {
        list.remove_end(from);
        Ok(())
    });
    if let Err(error) = popped {
        // What the push has taken is there for this: it cannot fail.
        edit(db, destination, |list| {
            list.remove_end(to);
            Ok(())
        })?;
        db.forget_since(before);
        return Err(error);
    }
    announce_pop(db, source, from);
    Ok(true)
}

fn relocate_or_null(
    db: &mut Db<'_>,
    source: (&Key<'_>, End),
    destination: (&Key<'_>, End),
    reply: &mut Reply,
) -> Result<()> {
    if !relocate(db, source, destination, reply)? {
        reply.null();
    }
    Ok(())
}

fn side_of(side: Side) -> &'static [u8] {
    match side {
        Side::Left => b"LEFT",
        Side::Right => b"RIGHT",
    }
}

/// Moves an element from an end of a list to an end of another, or of the same.
///
/// Returns the element, or null where there is no such list.
#[derive(Command)]
#[command(
    name = "LMOVE", group = List, since = "6.2.0", complexity = "O(1)", arity = 5,
    flags(WRITE, DENYOOM),
    reply = "bulk | null",
)]
pub struct LMove<'a> {
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
    wherefrom: Side,
    whereto: Side,
}

impl Write for LMove<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let (from, to) = (self.wherefrom.into(), self.whereto.into());
        relocate_or_null(db, (&self.source, from), (&self.destination, to), reply)
    }
}

/// Moves the last element of a list to the beginning of another, or of the same.
///
/// Returns the element, or null where there is no such list.
#[derive(Command)]
#[command(
    name = "RPOPLPUSH", group = List, since = "1.2.0", complexity = "O(1)", arity = 3,
    flags(WRITE, DENYOOM),
    reply = "bulk | null",
)]
pub struct RPopLPush<'a> {
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
}

impl Write for RPopLPush<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        relocate_or_null(db, (&self.source, End::Right), (&self.destination, End::Left), reply)
    }
}

/// Moves an element from an end of a list to an end of another, or of the same, or waits for one.
///
/// Returns the element, null when the time is over. A time of 0 seconds is for ever.
#[derive(Command)]
#[command(
    name = "BLMOVE", group = List, since = "6.2.0", complexity = "O(1)", arity = 6,
    flags(WRITE, DENYOOM, BLOCKING),
    custom_parse, reply = "bulk | null | nullarray",
)]
pub struct BLMove<'a> {
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
    wherefrom: Side,
    whereto: Side,
    #[arg(kind = Double)]
    timeout: &'a [u8],
    #[arg(hidden)]
    patience: Option<Duration>,
}

impl<'a> BLMove<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (source, destination) = (Key::parse(args)?, Key::parse(args)?);
        let (wherefrom, whereto) = (Side::parse(args)?, Side::parse(args)?);
        let timeout = args.required()?;
        let patience = patience_of_seconds(timeout)?;
        Ok(Self { source, destination, wherefrom, whereto, timeout, patience })
    }
}

impl Block for BLMove<'_> {
    const AWAITED: Option<&'static str> = Some("list");

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let (from, to) = (self.wherefrom.into(), self.whereto.into());
        if !relocate(db, (&self.source, from), (&self.destination, to), reply)? {
            return Ok(Attempt::Wait);
        }
        let (source, destination) = (self.source.bytes(), self.destination.bytes());
        db.propagate(|| [b"LMOVE", source, destination, side_of(self.wherefrom), side_of(self.whereto)]);
        Ok(Attempt::Done)
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn decline(&self, reply: &mut Reply) {
        reply.null();
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        visit(self.source.bytes());
    }
}

/// Moves the last element of a list to the beginning of another, or of the same, or waits for one.
///
/// Returns the element, null when the time is over. A time of 0 seconds is for ever.
#[derive(Command)]
#[command(
    name = "BRPOPLPUSH", group = List, since = "2.2.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM, BLOCKING),
    history(("6.0.0", "`timeout` is interpreted as a double instead of an integer.")),
    custom_parse, reply = "bulk | null | nullarray",
)]
pub struct BRPopLPush<'a> {
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    #[arg(key_spec = 1)]
    destination: Key<'a>,
    #[arg(kind = Double)]
    timeout: &'a [u8],
    #[arg(hidden)]
    patience: Option<Duration>,
}

impl<'a> BRPopLPush<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (source, destination) = (Key::parse(args)?, Key::parse(args)?);
        let timeout = args.required()?;
        Ok(Self { source, destination, timeout, patience: patience_of_seconds(timeout)? })
    }
}

impl Block for BRPopLPush<'_> {
    const AWAITED: Option<&'static str> = Some("list");

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        if !relocate(db, (&self.source, End::Right), (&self.destination, End::Left), reply)? {
            return Ok(Attempt::Wait);
        }
        db.propagate(|| [b"RPOPLPUSH", self.source.bytes(), self.destination.bytes()]);
        Ok(Attempt::Done)
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn decline(&self, reply: &mut Reply) {
        reply.null();
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        visit(self.source.bytes());
    }
}
