//! XGROUP: making and ending groups and consumers.

use super::id::{self, GroupStart};
use super::{announce_consumer, edit, no_group, now, stream_to_change};
use crate::command::{Arg, Args, Command, Context, Reply, Session, Write};
use crate::error::{Error, ErrorKind, Result, until_zero};
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::num;
use crate::value::StreamRef;
use crate::value::stream::groups::{GroupRef, NEVER, UNKNOWN};
use crate::value::stream::{Entries, Id};

/// Holds the commands about consumer groups.
#[derive(Command)]
#[command(
    name = "XGROUP", group = Stream, since = "5.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct XGroup {}

/// A stream that has to be there.
fn stream_of_group<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<StreamRef<'d>> {
    stream_to_change(db, key)?.ok_or_else(|| {
        Error::command(
            "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        )
    })
}

/// A group that has to be there.
fn group_of<'d>(db: &'d Db<'_>, key: &Key<'_>, name: &[u8]) -> Result<GroupRef<'d>> {
    stream_of_group(db, key)?.group(name).ok_or_else(|| no_group(key, name))
}

/// The words behind those that CREATE and SETID have in common.
#[derive(Default)]
struct Options {
    mkstream: bool,
    entriesread: Option<i64>,
}

impl Options {
    fn parse(args: &mut Args<'_>, may_create: bool) -> Result<Self> {
        let mut options = Self::default();
        while args.remaining() > 0 {
            if may_create && args.skip_token("MKSTREAM") {
                options.mkstream = true;
            } else if args.remaining() > 1 && args.skip_token("ENTRIESREAD") {
                let read = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
                if read < 0 && read != UNKNOWN {
                    return Err(Error::command("value for ENTRIESREAD must be positive or -1"));
                }
                options.entriesread = Some(read);
            } else {
                let before = "unknown subcommand or wrong number of arguments for '";
                return Err(Error::repeating(before, args.spelled(), "'. Try XGROUP HELP."));
            }
        }
        Ok(options)
    }
}

/// Makes a consumer group that goes on from an ID.
///
/// Returns `OK`. `$` is the last ID of the stream; with MKSTREAM a stream that is missing is created.
#[derive(Command)]
#[command(
    name = "XGROUP|CREATE", group = Stream, since = "5.0.0", complexity = "O(1)", arity = -5,
    flags(WRITE, DENYOOM),
    history(("7.0.0", "Added the `entries_read` named argument.")),
    custom_parse, reply = "ok",
)]
pub struct XGroupCreate<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    group: &'a [u8],
    id_selector: GroupStart<'a>,
    #[arg(token = "MKSTREAM")]
    mkstream: bool,
    #[arg(token = "ENTRIESREAD", display = "entries-read")]
    entriesread: Option<i64>,
}

impl<'a> XGroupCreate<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, group, id_selector) = (Key::parse(args)?, args.required()?, GroupStart::parse(args)?);
        let Options { mkstream, entriesread } = Options::parse(args, true)?;
        Ok(Self { key, group, id_selector, mkstream, entriesread })
    }

    fn create(&self, stream: &mut Entries<'_>, start: Id, is_new: bool) -> Result<()> {
        if stream.as_ref().group(self.group).is_some() {
            return Err(Error::new(ErrorKind::Command, "BUSYGROUP Consumer Group name already exists"));
        }
        let read = self.entriesread.unwrap_or(UNKNOWN);
        if stream.alter_unheard(1, |stream| stream.add_group(self.group, start, read)).is_some() {
            if is_new {
                stream.heard();
            }
            stream.log();
        }
        Ok(())
    }
}

impl Write for XGroupCreate<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let stream = stream_to_change(db, &self.key)?;
        if stream.is_none() && !self.mkstream {
            stream_of_group(db, &self.key)?;
        }
        let start = match until_zero(self.id_selector.0) {
            b"$" => stream.map_or(Id::MIN, |stream| stream.last_id()),
            _ => id::exact(self.id_selector.0, 0)?,
        };
        let is_new = stream.is_none();
        collection::edit_or_create(db, &self.key, |stream| self.create(stream, start, is_new))?;
        db.notify(EventClass::Stream, "xgroup-create", self.key.bytes());
        reply.ok();
        Ok(())
    }
}

/// Has a consumer group go on from another ID.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "XGROUP|SETID", group = Stream, since = "5.0.0", complexity = "O(1)", arity = -5,
    flags(WRITE),
    history(("7.0.0", "Added the optional `entries_read` argument.")),
    custom_parse, reply = "ok",
)]
pub struct XGroupSetId<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    group: &'a [u8],
    id_selector: GroupStart<'a>,
    #[arg(token = "ENTRIESREAD", display = "entries-read")]
    entriesread: Option<i64>,
}

impl<'a> XGroupSetId<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, group, id_selector) = (Key::parse(args)?, args.required()?, GroupStart::parse(args)?);
        let Options { entriesread, .. } = Options::parse(args, false)?;
        Ok(Self { key, group, id_selector, entriesread })
    }
}

impl Write for XGroupSetId<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = group_of(db, &self.key, self.group)?.id;
        let start = match until_zero(self.id_selector.0) {
            b"$" => stream_of_group(db, &self.key)?.last_id(),
            _ => id::any(self.id_selector.0, 0)?,
        };
        edit(db, &self.key, |stream| {
            let read = self.entriesread.unwrap_or(UNKNOWN);
            if stream.alter_unheard(1, |stream| stream.set_group(group, start, read)).is_some() {
                stream.log();
            }
            Ok(())
        })?;
        db.notify(EventClass::Stream, "xgroup-setid", self.key.bytes());
        reply.ok();
        Ok(())
    }
}

/// Ends a consumer group, with all that is pending of its.
///
/// Returns whether it was there. Who waits to read for it gets an error.
#[derive(Command)]
#[command(
    name = "XGROUP|DESTROY", group = Stream, since = "5.0.0", complexity = "O(N) where N is the number of entries in the group's pending entries list (PEL).", arity = 4,
    flags(WRITE),
    reply = "int",
)]
pub struct XGroupDestroy<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    group: &'a [u8],
}

impl Write for XGroupDestroy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = stream_of_group(db, &self.key)?.group(self.group);
        let Some((group, size)) =
            group.map(|group| (group.id, group.pending_count() + group.consumer_count()))
        else {
            reply.integer(0);
            return Ok(());
        };
        edit(db, &self.key, |stream| {
            if stream.alter_unheard(2 + 2 * size, |stream| stream.remove_group(group)).is_some() {
                stream.log();
            }
            Ok(())
        })?;
        db.notify(EventClass::Stream, "xgroup-destroy", self.key.bytes());
        db.note_ready(&self.key);
        reply.integer(1);
        Ok(())
    }
}

/// Makes a consumer of a group.
///
/// Returns whether it is new.
#[derive(Command)]
#[command(
    name = "XGROUP|CREATECONSUMER", group = Stream, since = "6.2.0", complexity = "O(1)", arity = 5,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct XGroupCreateConsumer<'a> {
    #[key(RW, INSERT)]
    key: Key<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
}

impl Write for XGroupCreateConsumer<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = group_of(db, &self.key, self.group)?;
        let (id, is_new) = (group.id, group.consumer(self.consumer).is_none());
        if is_new {
            let times = (now(db), NEVER);
            edit(db, &self.key, |stream| {
                if stream.alter_unheard(1, |stream| stream.add_consumer(id, self.consumer, times)).is_some() {
                    stream.log();
                }
                Ok(())
            })?;
            announce_consumer(db, &self.key);
        }
        reply.integer(is_new.into());
        Ok(())
    }
}

/// Removes a consumer of a group, with what is pending of its.
///
/// Returns how many entries that were.
#[derive(Command)]
#[command(
    name = "XGROUP|DELCONSUMER", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 5,
    flags(WRITE),
    reply = "int",
)]
pub struct XGroupDelConsumer<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
}

impl Write for XGroupDelConsumer<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = group_of(db, &self.key, self.group)?;
        let id = group.id;
        let Some((consumer, pending)) =
            group.consumer(self.consumer).map(|consumer| (consumer.id, consumer.pending_count()))
        else {
            reply.integer(0);
            return Ok(());
        };
        edit(db, &self.key, |stream| {
            let changes = 2 + 2 * pending;
            if stream.alter_unheard(changes, |stream| stream.remove_consumer(id, consumer)).is_some() {
                stream.log();
            }
            Ok(())
        })?;
        db.notify(EventClass::Stream, "xgroup-delconsumer", self.key.bytes());
        reply.count(pending);
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "XGROUP|HELP", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct XGroupHelp {}

impl Session for XGroupHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "XGROUP",
            &[
                ("CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]", "Makes a group."),
                ("CREATECONSUMER <key> <group> <consumer>", "Makes a consumer of a group."),
                ("DELCONSUMER <key> <group> <consumer>", "Removes a consumer of a group."),
                ("DESTROY <key> <group>", "Ends a group."),
                ("SETID <key> <group> <id|$> [ENTRIESREAD <count>]", "Has a group go on from another ID."),
            ],
        );
        Ok(())
    }
}
