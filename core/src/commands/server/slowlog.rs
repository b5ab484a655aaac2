//! SLOWLOG: the log of slow commands by its older name. The three logs and their commands are in [`super::commandlog`].

use super::commandlog::{DEFAULT_COUNT, parse_count, write_entries};
use crate::command::{Args, Command, Context, Reply, Session};
use crate::commandlog::Log;
use crate::error::{Error, Result};

/// Holds the commands about the log of slow commands.
#[derive(Command)]
#[command(
    name = "SLOWLOG", group = Server, since = "2.2.12", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct SlowLog {}

/// Returns the newest entries of the log of slow commands.
///
/// Returns ten of them unless told otherwise, all with -1: number, unix time, microseconds, arguments, address and name of the client.
#[derive(Command)]
#[command(
    name = "SLOWLOG|GET", group = Server, since = "2.2.12", complexity = "O(N) where N is the number of entries returned", arity = -2,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "nondeterministic_output"),
    history(("4.0.0", "Added client IP address, port and name to the reply.")),
    custom_parse, reply = "array(array(int | bulk | array(bulk)))",
)]
pub struct SlowLogGet {
    count: Option<i64>,
}

impl SlowLogGet {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        if args.remaining() > 1 {
            let before = "unknown subcommand or wrong number of arguments for '";
            return Err(Error::repeating(before, args.spelled(), "'. Try SLOWLOG HELP."));
        }
        Ok(Self { count: args.next().map(parse_count).transpose()? })
    }
}

impl Session for SlowLogGet {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        write_entries(context, Log::Slow, self.count.unwrap_or(DEFAULT_COUNT), reply);
        Ok(())
    }
}

/// Returns the number of entries of the log of slow commands.
#[derive(Command)]
#[command(
    name = "SLOWLOG|LEN", group = Server, since = "2.2.12", complexity = "O(1)", arity = 2,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
    reply = "int",
)]
pub struct SlowLogLen {}

impl Session for SlowLogLen {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.count(context.engine.command_logs.of(Log::Slow).lock().len());
        Ok(())
    }
}

/// Empties the log of slow commands.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "SLOWLOG|RESET", group = Server, since = "2.2.12", complexity = "O(N) where N is the number of entries in the slowlog", arity = 2,
    flags(ADMIN, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct SlowLogReset {}

impl Session for SlowLogReset {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.command_logs.of(Log::Slow).lock().reset();
        reply.ok();
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "SLOWLOG|HELP", group = Server, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct SlowLogHelp {}

impl Session for SlowLogHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "SLOWLOG",
            &[
                ("GET [<count>]", "The newest entries, ten unless told otherwise, all with -1."),
                ("LEN", "The number of entries."),
                ("RESET", "Empties the log."),
            ],
        );
        Ok(())
    }
}
