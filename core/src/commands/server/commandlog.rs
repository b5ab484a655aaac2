//! COMMANDLOG: the logs of slow commands, large requests and large replies. Which commands enter them is [`crate::command`]'s.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Context, Reply, Session};
use crate::commandlog::Log;
use crate::error::{Error, Result};
use crate::num;

/// Entries that SLOWLOG GET returns without a count.
pub(super) const DEFAULT_COUNT: i64 = 10;

/// The count of entries; -1 stands for all.
pub(super) fn parse_count(text: &[u8]) -> Result<i64> {
    let count = num::parse_i64(text).filter(|count| *count >= -1);
    count.ok_or_else(|| Error::command("count should be greater than or equal to -1"))
}

/// Writes the newest entries of a log.
pub(super) fn write_entries(context: &Context<'_, '_>, log: Log, count: i64, reply: &mut Reply) {
    let log = context.engine.command_logs.of(log).lock();
    let entries = log.get(usize::try_from(count).ok());
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time as i64);
        reply.integer(entry.value as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.client_addr.as_bytes());
        reply.bulk(&entry.client_name);
    }
}

const fn name(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { name, token: Some(token), kind: ArgKind::PureToken, ..ArgSpec::PLAIN }
}

impl<'a> Arg<'a> for Log {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            name("slow", "SLOW"),
            name("large-request", "LARGE-REQUEST"),
            name("large-reply", "LARGE-REPLY"),
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        match &args.required()?.to_ascii_lowercase()[..] {
            b"slow" => Ok(Log::Slow),
            b"large-request" => Ok(Log::LargeRequest),
            b"large-reply" => Ok(Log::LargeReply),
            _ => Err(Error::command("type should be one of the following: slow, large-request, large-reply")),
        }
    }

    fn encode(&self, out: &mut Argv) {
        let names: [&[u8]; 3] = [b"slow", b"large-request", b"large-reply"];
        out.push(names[*self as usize].to_vec());
    }
}

/// Holds the commands about the command logs.
#[derive(Command)]
#[command(
    name = "COMMANDLOG", group = Server, since = "8.1.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct CommandLog {}

/// Returns the newest entries of a command log.
///
/// Returns as many as asked for, all with -1: number, unix time, microseconds or bytes, arguments, address and name of the client.
#[derive(Command)]
#[command(
    name = "COMMANDLOG|GET", group = Server, since = "8.1.0", complexity = "O(N) where N is the number of entries returned", arity = 4,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "nondeterministic_output"),
    custom_parse, reply = "array(array(int | bulk | array(bulk)))",
)]
pub struct CommandLogGet {
    count: i64,
    r#type: Log,
}

impl CommandLogGet {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        Ok(Self { count: parse_count(args.required()?)?, r#type: Log::parse(args)? })
    }
}

impl Session for CommandLogGet {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        write_entries(context, self.r#type, self.count, reply);
        Ok(())
    }
}

/// Returns the number of entries of a command log.
#[derive(Command)]
#[command(
    name = "COMMANDLOG|LEN", group = Server, since = "8.1.0", complexity = "O(1)", arity = 3,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
    reply = "int",
)]
pub struct CommandLogLen {
    r#type: Log,
}

impl Session for CommandLogLen {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.count(context.engine.command_logs.of(self.r#type).lock().len());
        Ok(())
    }
}

/// Empties a command log.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "COMMANDLOG|RESET", group = Server, since = "8.1.0", complexity = "O(N) where N is the number of entries in the commandlog", arity = 3,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct CommandLogReset {
    r#type: Log,
}

impl Session for CommandLogReset {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.command_logs.of(self.r#type).lock().reset();
        reply.ok();
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "COMMANDLOG|HELP", group = Server, since = "8.1.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct CommandLogHelp {}

impl Session for CommandLogHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "COMMANDLOG",
            &[
                (
                    "GET <count> <type>",
                    "The newest entries of a log: slow, large-request or large-reply. All with -1.",
                ),
                ("LEN <type>", "The number of entries of a log."),
                ("RESET <type>", "Empties a log."),
            ],
        );
        Ok(())
    }
}
