//! SCRIPT: the scripts that are cached, and the one that runs.

use super::eval::{digest_in, script_called};
use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::commands::help;
use crate::error::{Error, ErrorKind, Result};
use crate::script as machinery;
use crate::scripts::NotKilled;
use crate::sync::Arc;

/// A container for Lua scripts management commands.
///
/// See its subcommands.
#[derive(Command)]
#[command(
    name = "SCRIPT", group = Scripting, since = "2.6.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Script {}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[arg(token = "YES")]
    Yes,
    #[arg(token = "SYNC")]
    Sync,
    #[arg(token = "NO")]
    No,
}

/// Sets the debug mode of server-side Lua scripts.
///
/// Returns `OK` for `NO`. There is no debugger.
#[derive(Command)]
#[command(
    name = "SCRIPT|DEBUG", group = Scripting, since = "3.2.0", complexity = "O(1)", arity = -3,
    flags(NOSCRIPT), acl(SCRIPTING), custom_parse, reply = "ok",
)]
pub struct ScriptDebug<'a> {
    #[arg(oneof)]
    mode: Mode,
    #[arg(since = "9.1.0")]
    engine: Option<&'a [u8]>,
}

impl<'a> ScriptDebug<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let mode = match &args.required()?.to_ascii_lowercase()[..] {
            b"yes" => Mode::Yes,
            b"sync" => Mode::Sync,
            b"no" => Mode::No,
            _ => return Err(Error::command("Use SCRIPT DEBUG YES/SYNC/NO")),
        };
        let engine = args.next();
        args.finish()?;
        Ok(Self { mode, engine })
    }
}

impl Session for ScriptDebug<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if let Some(engine) = self.engine
            && !engine.eq_ignore_ascii_case(b"lua")
        {
            return Err(Error::repeating("Could not find scripting engine '", engine, "'"));
        }
        if self.mode != Mode::No {
            return Err(Error::command("There is no debugger for scripts in this engine"));
        }
        reply.ok();
        Ok(())
    }
}

/// Determines whether server-side Lua scripts exist in the script cache.
///
/// Returns an array with 1 for each script that is there, and 0 for the others.
#[derive(Command)]
#[command(
    name = "SCRIPT|EXISTS", group = Scripting, since = "2.6.0",
    complexity = "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).", arity = -3,
    flags(NOSCRIPT, STALE), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:agg_logical_and"),
    reply = "array(int)",
)]
pub struct ScriptExists<'a> {
    sha1: Vec<&'a [u8]>,
}

impl Session for ScriptExists<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.array(self.sha1.len());
        for word in &self.sha1 {
            let exists = digest_in(word).is_some_and(|digest| context.engine.scripts.contains(&digest));
            reply.integer(exists.into());
        }
        Ok(())
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlushType {
    #[arg(token = "ASYNC")]
    Async,
    #[arg(token = "SYNC")]
    Sync,
}

/// Removes all server-side Lua scripts from the script cache.
///
/// Returns `OK`. The texts of scripts are freed at once, whatever the mode.
#[derive(Command)]
#[command(
    name = "SCRIPT|FLUSH", group = Scripting, since = "2.6.0", complexity = "O(N) with N being the number of scripts in cache", arity = -2,
    flags(NOSCRIPT, STALE), acl(SCRIPTING), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    history(("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")),
    custom_parse, reply = "ok",
)]
pub struct ScriptFlush {
    #[arg(oneof, since = "6.2.0")]
    flush_type: Option<FlushType>,
}

impl ScriptFlush {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        let flush_type = if args.remaining() == 0 {
            None
        } else if args.remaining() == 1 && args.skip_token("ASYNC") {
            Some(FlushType::Async)
        } else if args.remaining() == 1 && args.skip_token("SYNC") {
            Some(FlushType::Sync)
        } else {
            return Err(Error::command("SCRIPT FLUSH only support SYNC|ASYNC option"));
        };
        Ok(Self { flush_type })
    }
}

impl Session for ScriptFlush {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.scripts.flush();
        reply.ok();
        Ok(())
    }
}

/// Returns helpful text about the different subcommands.
///
/// Returns an array of lines.
#[derive(Command)]
#[command(
    name = "SCRIPT|HELP", group = Scripting, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE), acl(SCRIPTING), reply = "array(simple)",
)]
pub struct ScriptHelp {}

impl Session for ScriptHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let lines: &[(&str, &[&str])] = &[
            (
                "DEBUG (YES|SYNC|NO) [<engine_name>]",
                &[
                    "Set the debug mode for subsequent scripts executed of the specified engine.",
                    "Default engine name: 'lua'",
                ],
            ),
            (
                "EXISTS <sha1> [<sha1> ...]",
                &["Return information about the existence of the scripts in the script cache."],
            ),
            (
                "FLUSH [ASYNC|SYNC]",
                &[
                    "Flush the Lua scripts cache. Very dangerous on replicas.",
                    "When called without the optional mode argument, the behavior is determined",
                    " by the lazyfree-lazy-user-flush configuration directive. Valid modes are:",
                    "* ASYNC: Asynchronously flush the scripts cache.",
                    "* SYNC: Synchronously flush the scripts cache.",
                ],
            ),
            ("KILL", &["Kill the currently executing Lua script."]),
            ("LOAD <script>", &["Load a script into the scripts cache without executing it."]),
            ("SHOW <sha1>", &["Show a script from the scripts cache."]),
        ];
        help_of(reply, "SCRIPT", lines);
        Ok(())
    }
}

/// Writes a HELP some of whose subcommands need several lines.
pub(super) fn help_of(reply: &mut Reply, container: &str, subcommands: &[(&str, &[&str])]) {
    let lines: Vec<(&str, &str)> = subcommands.iter().map(|(usage, what)| (*usage, what[0])).collect();
    if subcommands.iter().all(|(_, what)| what.len() == 1) {
        return help(reply, container, &lines);
    }
    let count: usize = subcommands.iter().map(|(_, what)| 1 + what.len()).sum();
    reply.array(1 + count + 2);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, what) in subcommands.iter().chain(&[("HELP", &["Print this help."][..])]) {
        reply.simple(usage);
        what.iter().for_each(|line| reply.simple(&format!("    {line}")));
    }
}

/// What whoever wanted to end a script is told.
pub(super) fn told(error: NotKilled, function: bool) -> Error {
    match error {
        NotKilled::NotBusy => Error::new(ErrorKind::Command, "NOTBUSY No scripts in execution right now."),
        NotKilled::Unkillable => Error::new(
            ErrorKind::Command,
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script \
             termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        ),
        NotKilled::Other => {
            let how = if function { "SCRIPT KILL" } else { "FUNCTION KILL" };
            let text =
                format!("BUSY Valkey is busy running a script. You can only call {how} or SHUTDOWN NOSAVE.");
            Error::new(ErrorKind::Busy, text)
        }
    }
}

/// Terminates a server-side Lua script during execution.
///
/// Returns `OK`: the script ends soon. One that has written is not ended.
#[derive(Command)]
#[command(
    name = "SCRIPT|KILL", group = Scripting, since = "2.6.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, ALLOW_BUSY), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:one_succeeded"),
    reply = "ok",
)]
pub struct ScriptKill {}

impl Session for ScriptKill {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.scripts.kill(false).map_err(|error| told(error, false))?;
        reply.ok();
        Ok(())
    }
}

/// Loads a server-side Lua script to the script cache.
///
/// Returns its SHA-1 sum, by which EVALSHA calls it. It stays until SCRIPT FLUSH.
#[derive(Command)]
#[command(
    name = "SCRIPT|LOAD", group = Scripting, since = "2.6.0", complexity = "O(N) with N being the length in bytes of the script body.", arity = 3,
    flags(NOSCRIPT, STALE), acl(SCRIPTING), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "bulk",
)]
pub struct ScriptLoad<'a> {
    script: &'a [u8],
}

impl Session for ScriptLoad<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let script = Arc::new(machinery::parse(self.script)?);
        machinery::check(&script)?;
        context.engine.scripts.keep(&script, true);
        reply.bulk(&script.digest);
        Ok(())
    }
}

/// Shows a server-side Lua script in the script cache.
///
/// Returns its text.
#[derive(Command)]
#[command(
    name = "SCRIPT|SHOW", group = Scripting, since = "8.0.0", complexity = "O(1).", arity = 3,
    flags(NOSCRIPT, STALE), acl(SCRIPTING), reply = "bulk",
)]
pub struct ScriptShow<'a> {
    sha1: &'a [u8],
}

impl Session for ScriptShow<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.bulk(&script_called(context, self.sha1)?.body);
        Ok(())
    }
}
