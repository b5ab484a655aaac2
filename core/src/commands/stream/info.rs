//! XINFO: what is known of streams, groups and consumers.

use super::{no_group, now, reply_entry, reply_id, reply_range, stream_of};
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Context, Read, Reply, Session, is_token};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::StreamRef;
use crate::value::stream::Id;
use crate::value::stream::groups::{ConsumerRef, GroupRef, NEVER, UNKNOWN};

/// Holds the commands that look into streams.
#[derive(Command)]
#[command(
    name = "XINFO", group = Stream, since = "5.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct XInfo {}

/// A stream that has to be there.
fn needed<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<StreamRef<'d>> {
    stream_of(db, key)?.ok_or_else(Error::no_such_key)
}

fn field(reply: &mut Reply, name: &str) {
    reply.bulk(name.as_bytes());
}

fn count(reply: &mut Reply, name: &str, value: usize) {
    field(reply, name);
    reply.count(value);
}

fn id(reply: &mut Reply, name: &str, value: Id) {
    field(reply, name);
    reply_id(reply, value);
}

fn integer_or_null(reply: &mut Reply, name: &str, value: Option<i64>) {
    field(reply, name);
    match value {
        Some(value) => reply.integer(value),
        None => reply.null(),
    }
}

fn entries_read(group: &GroupRef<'_>) -> Option<i64> {
    Some(group.entries_read()).filter(|read| *read != UNKNOWN)
}

/// All of it, up to so many entries of each kind.
struct Full {
    count: Option<i64>,
}

impl<'a> Arg<'a> for Full {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        args: &[
            ArgSpec { name: "full", kind: ArgKind::PureToken, token: Some("FULL"), ..ArgSpec::PLAIN },
            ArgSpec {
                name: "count",
                kind: ArgKind::Integer,
                token: Some("COUNT"),
                optional: true,
                ..ArgSpec::PLAIN
            },
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let wrong = || {
            Error::command("unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")
        };
        match *args.take_rest() {
            [full] if is_token(full, "FULL") => Ok(Self { count: None }),
            [full, token, count] if is_token(full, "FULL") && is_token(token, "COUNT") => {
                let count = num::parse_i64(count).ok_or_else(Error::not_an_integer)?;
                Ok(Self { count: Some(count) })
            }
            _ => Err(wrong()),
        }
    }

    fn encode(&self, out: &mut Argv) {
        out.push(b"FULL".to_vec());
        if let Some(count) = self.count {
            out.extend([b"COUNT".to_vec(), count.to_string().into_bytes()]);
        }
    }
}

/// Returns what is known of a stream.
///
/// Returns a map. With FULL it holds entries, groups, consumers and what is pending, up to COUNT of each; 10 if nothing is said, 0 is all.
#[derive(Command)]
#[command(
    name = "XINFO|STREAM", group = Stream, since = "5.0.0", complexity = "O(1)", arity = -3,
    flags(READONLY),
    history(("6.0.0", "Added the `FULL` modifier."), ("7.0.0", "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields"), ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`.")),
    custom_parse, reply = "map(bulk, any)",
)]
pub struct XInfoStream<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    full_block: Option<Full>,
    /// What is wrong with the words behind the key: told only if that is a stream.
    #[arg(hidden)]
    refused: Option<Error>,
}

impl<'a> XInfoStream<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = Key::parse(args)?;
        let full_block = Option::<Full>::parse(args);
        Ok(match full_block {
            Ok(full_block) => Self { key, full_block, refused: None },
            Err(error) => Self { key, full_block: None, refused: Some(error) },
        })
    }
}

impl Read for XInfoStream<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        /// What is shown if nothing is said.
        const SHOWN: i64 = 10;
        let stream = needed(db, &self.key)?;
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        reply.map(if self.full_block.is_some() { 9 } else { 10 });
        count(reply, "length", stream.len() as usize);
        count(reply, "radix-tree-keys", stream.nodes());
        count(reply, "radix-tree-nodes", stream.radix_nodes());
        id(reply, "last-generated-id", stream.last_id());
        id(reply, "max-deleted-entry-id", stream.max_deleted_id());
        field(reply, "entries-added");
        reply.integer(stream.entries_added() as i64);
        id(reply, "recorded-first-entry-id", stream.first_id());
        if let Some(full) = &self.full_block {
            let shown = full.count.filter(|count| *count >= 0).unwrap_or(SHOWN);
            let most = if shown == 0 { usize::MAX } else { shown as usize };
            field(reply, "entries");
            reply_range(reply, stream, (Id::MIN, Id::MAX), (false, most), |_| ());
            field(reply, "groups");
            reply.array(stream.group_count());
            stream.groups().for_each(|group| full_group(reply, &group, most));
            return Ok(());
        }
        count(reply, "groups", stream.group_count());
        for (name, entry) in [("first-entry", stream.first()), ("last-entry", stream.last())] {
            field(reply, name);
            match entry {
                Some(entry) => reply_entry(reply, &entry),
                None => reply.null(),
            }
        }
        Ok(())
    }
}

fn full_group(reply: &mut Reply, group: &GroupRef<'_>, most: usize) {
    reply.map(7);
    field(reply, "name");
    reply.bulk(group.name());
    id(reply, "last-delivered-id", group.last_id());
    integer_or_null(reply, "entries-read", entries_read(group));
    integer_or_null(reply, "lag", group.lag());
    count(reply, "pel-count", group.pending_count());
    field(reply, "pending");
    let mut left = most.min(group.pending_count());
    reply.array(left);
    if left > 0 {
        group.each_pending(Id::MIN, |pending| {
            reply.array(4);
            reply_id(reply, pending.id);
            reply.bulk(pending.consumer_name());
            reply.integer(pending.delivered);
            reply.integer(pending.count);
            left -= 1;
            left > 0 && !reply.is_full()
        });
    }
    field(reply, "consumers");
    reply.array(group.consumer_count());
    group.consumers().for_each(|consumer| full_consumer(reply, &consumer, most));
}

fn full_consumer(reply: &mut Reply, consumer: &ConsumerRef<'_>, most: usize) {
    reply.map(5);
    field(reply, "name");
    reply.bulk(consumer.name());
    field(reply, "seen-time");
    reply.integer(consumer.seen());
    field(reply, "active-time");
    reply.integer(consumer.active());
    count(reply, "pel-count", consumer.pending_count());
    field(reply, "pending");
    let mut left = most.min(consumer.pending_count());
    reply.array(left);
    if left > 0 {
        consumer.each_pending(Id::MIN, |pending| {
            reply.array(3);
            reply_id(reply, pending.id);
            reply.integer(pending.delivered);
            reply.integer(pending.count);
            left -= 1;
            left > 0 && !reply.is_full()
        });
    }
}

/// Returns the groups of a stream.
///
/// Returns a map of each: how many consumers it has, how much is pending, and how far it has come.
#[derive(Command)]
#[command(
    name = "XINFO|GROUPS", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 3,
    flags(READONLY),
    history(("7.0.0", "Added the `entries-read` and `lag` fields")),
    reply = "array(map(bulk, any))",
)]
pub struct XInfoGroups<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for XInfoGroups<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let stream = needed(db, &self.key)?;
        reply.array(stream.group_count());
        for group in stream.groups() {
            reply.map(6);
            field(reply, "name");
            reply.bulk(group.name());
            count(reply, "consumers", group.consumer_count());
            count(reply, "pending", group.pending_count());
            id(reply, "last-delivered-id", group.last_id());
            integer_or_null(reply, "entries-read", entries_read(&group));
            integer_or_null(reply, "lag", group.lag());
        }
        Ok(())
    }
}

/// Returns the consumers of a group.
///
/// Returns a map of each: how much is pending, and the milliseconds since it asked for something and since it got something, or -1.
#[derive(Command)]
#[command(
    name = "XINFO|CONSUMERS", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 4,
    flags(READONLY), tips("nondeterministic_output"),
    history(("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`.")),
    reply = "array(map(bulk, any))",
)]
pub struct XInfoConsumers<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    group: &'a [u8],
}

impl Read for XInfoConsumers<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = needed(db, &self.key)?.group(self.group);
        let group = group.ok_or_else(|| no_group(&self.key, self.group))?;
        let now = now(db);
        reply.array(group.consumer_count());
        for consumer in group.consumers() {
            let since = |time: i64| now.saturating_sub(time).max(0);
            reply.map(4);
            field(reply, "name");
            reply.bulk(consumer.name());
            count(reply, "pending", consumer.pending_count());
            field(reply, "idle");
            reply.integer(since(consumer.seen()));
            field(reply, "inactive");
            reply.integer(if consumer.active() == NEVER { NEVER } else { since(consumer.active()) });
        }
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "XINFO|HELP", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct XInfoHelp {}

impl Session for XInfoHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "XINFO",
            &[
                ("CONSUMERS <key> <group>", "The consumers of a group."),
                ("GROUPS <key>", "The groups of a stream."),
                ("STREAM <key> [FULL [COUNT <count>]]", "What is known of a stream."),
            ],
        );
        Ok(())
    }
}
