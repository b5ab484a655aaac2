//! FUNCTION: the libraries of functions.
//!
//! What changes them holds every shard: so it stands in the log at its place, and no function runs meanwhile.

use super::script::{FlushType, help_of, told};
use crate::command::{Arg, Args, Command, Context, Parse, Reply, Session};
use crate::error::{Error, Result};
use crate::pattern::glob_matches;
use crate::rdb;
use crate::script::functions;
use crate::scripts::libraries::{Libraries, Library};

/// A container for function commands.
///
/// See its subcommands.
#[derive(Command)]
#[command(
    name = "FUNCTION", group = Scripting, since = "7.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Function {}

/// Changes the libraries, if `change` succeeds, and puts the command into the log.
fn change<'a, C: Parse<'a>>(
    context: &mut Context<'_, '_>,
    command: &C,
    change: impl FnOnce(&mut Libraries) -> Result<()>,
) -> Result<()> {
    let words = command.encode();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let engine = context.engine;
    context.with_keyspace(&words, |db| {
        let mut libraries = Libraries::clone(&functions::of(engine));
        change(&mut libraries)?;
        functions::replace(engine, libraries);
        db.add_changes(1);
        Ok(())
    })
}

fn wrong_number(name: &str) -> Error {
    Error::command(format_args!(
        "unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP."
    ))
}

/// Deletes a library and its functions.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "FUNCTION|DELETE", group = Scripting, since = "7.0.0", complexity = "O(1)", arity = 3,
    flags(WRITE, NOSCRIPT), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    session, whole_keyspace, reply = "ok",
)]
pub struct FunctionDelete<'a> {
    library_name: &'a [u8],
}

impl Session for FunctionDelete<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        change(context, self, |libraries| {
            if libraries.remove(self.library_name) {
                Ok(())
            } else {
                Err(Error::command("Library not found"))
            }
        })?;
        reply.ok();
        Ok(())
    }
}

/// Dumps all libraries into a serialized binary payload.
///
/// Returns the payload, for FUNCTION RESTORE.
#[derive(Command)]
#[command(
    name = "FUNCTION|DUMP", group = Scripting, since = "7.0.0", complexity = "O(N) where N is the number of functions", arity = 2,
    flags(NOSCRIPT), acl(SCRIPTING), reply = "bulk",
)]
pub struct FunctionDump {}

impl Session for FunctionDump {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let codes = functions::of(context.engine).codes();
        reply.bulk(&rdb::dumped_functions(&codes, context.engine.config.hot())?);
        Ok(())
    }
}

/// Deletes all libraries and functions.
///
/// Returns `OK`. They are freed at once, whatever the mode.
#[derive(Command)]
#[command(
    name = "FUNCTION|FLUSH", group = Scripting, since = "7.0.0", complexity = "O(N) where N is the number of functions deleted", arity = -2,
    flags(WRITE, NOSCRIPT), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    custom_parse, session, whole_keyspace, reply = "ok",
)]
pub struct FunctionFlush {
    #[arg(oneof)]
    flush_type: Option<FlushType>,
}

impl FunctionFlush {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        let flush_type = match args.remaining() {
            0 => None,
            1 if args.skip_token("ASYNC") => Some(FlushType::Async),
            1 if args.skip_token("SYNC") => Some(FlushType::Sync),
            1 => return Err(Error::command("FUNCTION FLUSH only supports SYNC|ASYNC option")),
            _ => return Err(wrong_number("FLUSH")),
        };
        Ok(Self { flush_type })
    }
}

impl Session for FunctionFlush {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        change(context, self, |libraries| {
            *libraries = Libraries::default();
            Ok(())
        })?;
        reply.ok();
        Ok(())
    }
}

/// Returns helpful text about the different subcommands.
///
/// Returns an array of lines.
#[derive(Command)]
#[command(
    name = "FUNCTION|HELP", group = Scripting, since = "7.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE), acl(SCRIPTING), reply = "array(simple)",
)]
pub struct FunctionHelp {}

impl Session for FunctionHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let lines: &[(&str, &[&str])] = &[
            (
                "LOAD [REPLACE] <FUNCTION CODE>",
                &["Create a new library with the given library name and code."],
            ),
            ("DELETE <LIBRARY NAME>", &["Delete the given library."]),
            (
                "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
                &[
                    "Return general information on all the libraries:",
                    "* Library name",
                    "* The engine used to run the Library",
                    "* Functions list",
                    "* Library code (if WITHCODE is given)",
                    "It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
                ],
            ),
            (
                "STATS",
                &[
                    "Return information about the current function running:",
                    "* Function name",
                    "* Command used to run the function",
                    "* Duration in MS that the function is running",
                    "If no function is running, return nil",
                    "In addition, returns a list of available engines.",
                ],
            ),
            ("KILL", &["Kill the current running function."]),
            (
                "FLUSH [ASYNC|SYNC]",
                &[
                    "Delete all the libraries.",
                    "When called without the optional mode argument, the behavior is determined by the",
                    "lazyfree-lazy-user-flush configuration directive. Valid modes are:",
                    "* ASYNC: Asynchronously flush the libraries.",
                    "* SYNC: Synchronously flush the libraries.",
                ],
            ),
            (
                "DUMP",
                &[
                    "Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
                ],
            ),
            (
                "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
                &[
                    "Restore the libraries represented by the given payload, it is possible to give a restore policy to",
                    "control how to handle existing libraries (default APPEND):",
                    "* FLUSH: delete all existing libraries.",
                    "* APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
                    "* REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
                    "  libraries with the new libraries (notice that even on this option there is a chance of failure",
                    "  in case of functions name collision with another library).",
                ],
            ),
        ];
        help_of(reply, "FUNCTION", lines);
        Ok(())
    }
}

/// Terminates a function during execution.
///
/// Returns `OK`: the function ends soon. One that has written is not ended.
#[derive(Command)]
#[command(
    name = "FUNCTION|KILL", group = Scripting, since = "7.0.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, ALLOW_BUSY), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:one_succeeded"),
    reply = "ok",
)]
pub struct FunctionKill {}

impl Session for FunctionKill {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.scripts.kill(true).map_err(|error| told(error, true))?;
        reply.ok();
        Ok(())
    }
}

/// Returns information about all libraries.
///
/// Returns an array with a map about each.
#[derive(Command)]
#[command(
    name = "FUNCTION|LIST", group = Scripting, since = "7.0.0", complexity = "O(N) where N is the number of functions", arity = -2,
    flags(NOSCRIPT), acl(SCRIPTING), tips("nondeterministic_output_order"),
    custom_parse, reply = "array(any)",
)]
pub struct FunctionList<'a> {
    #[arg(token = "LIBRARYNAME")]
    library_name_pattern: Option<&'a [u8]>,
    #[arg(token = "WITHCODE")]
    withcode: bool,
}

impl<'a> FunctionList<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (mut library_name_pattern, mut withcode) = (None, false);
        while args.remaining() > 0 {
            if !withcode && args.skip_token("WITHCODE") {
                withcode = true;
            } else if library_name_pattern.is_none() && args.skip_token("LIBRARYNAME") {
                let pattern = args.next();
                library_name_pattern =
                    Some(pattern.ok_or_else(|| Error::command("library name argument was not given"))?);
            } else {
                return Err(Error::repeating("Unknown argument ", args.required()?, ""));
            }
        }
        Ok(Self { library_name_pattern, withcode })
    }
}

impl Session for FunctionList<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let libraries = functions::of(context.engine);
        let is_meant = |library: &&crate::sync::Arc<Library>| {
            self.library_name_pattern.is_none_or(|pattern| glob_matches(pattern, &library.name, true))
        };
        let open = reply.open_array();
        let mut count = 0;
        for library in libraries.iter().filter(is_meant) {
            count += 1;
            reply.map(if self.withcode { 4 } else { 3 });
            reply.bulk(b"library_name");
            reply.bulk(&library.name);
            reply.bulk(b"engine");
            reply.bulk(b"LUA");
            reply.bulk(b"functions");
            reply.array(library.functions.len());
            for function in &library.functions {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(&function.name);
                reply.bulk(b"description");
                reply.bulk_or_null(function.description.as_deref());
                reply.bulk(b"flags");
                let names: Vec<&str> = function.flags.names().collect();
                reply.set(names.len());
                names.iter().for_each(|name| reply.simple(name));
            }
            if self.withcode {
                reply.bulk(b"library_code");
                reply.bulk(&library.code);
            }
        }
        reply.close(open, count);
        Ok(())
    }
}

/// Creates a library.
///
/// Returns its name.
#[derive(Command)]
#[command(
    name = "FUNCTION|LOAD", group = Scripting, since = "7.0.0", complexity = "O(1) (considering compilation time is redundant)", arity = -3,
    flags(WRITE, DENYOOM, NOSCRIPT), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    custom_parse, session, whole_keyspace, reply = "bulk",
)]
pub struct FunctionLoad<'a> {
    #[arg(token = "REPLACE")]
    replace: bool,
    function_code: &'a [u8],
}

impl<'a> FunctionLoad<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let mut replace = false;
        while args.remaining() > 1 {
            if !args.skip_token("REPLACE") {
                return Err(Error::repeating("Unknown option given: ", args.required()?, ""));
            }
            replace = true;
        }
        Ok(Self { replace, function_code: args.required()? })
    }
}

impl Session for FunctionLoad<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let engine = context.engine;
        let name = functions::name_of(self.function_code)?;
        change(context, self, |libraries| {
            if !self.replace && libraries.get(&name.0).is_some() {
                return Err(Error::repeating("Library '", &name.0, "' already exists"));
            }
            let library = functions::load(engine, self.function_code, name.clone())?;
            libraries.remove(&name.0);
            functions::insert(libraries, library)
        })?;
        reply.bulk(&name.0);
        Ok(())
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Policy {
    #[arg(token = "FLUSH")]
    Flush,
    #[arg(token = "APPEND")]
    Append,
    #[arg(token = "REPLACE")]
    Replace,
}

/// Restores all libraries from a payload.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "FUNCTION|RESTORE", group = Scripting, since = "7.0.0", complexity = "O(N) where N is the number of functions on the payload", arity = -3,
    flags(WRITE, DENYOOM, NOSCRIPT), acl(SCRIPTING), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    custom_parse, session, whole_keyspace, reply = "ok",
)]
pub struct FunctionRestore<'a> {
    serialized_value: &'a [u8],
    #[arg(oneof)]
    policy: Option<Policy>,
}

impl<'a> FunctionRestore<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let serialized_value = args.required()?;
        if args.remaining() > 1 {
            return Err(wrong_number("RESTORE"));
        }
        let policy = match args.next().map(<[u8]>::to_ascii_lowercase).as_deref() {
            None => None,
            Some(b"flush") => Some(Policy::Flush),
            Some(b"append") => Some(Policy::Append),
            Some(b"replace") => Some(Policy::Replace),
            Some(_) => {
                let text = "Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
                return Err(Error::command(text));
            }
        };
        Ok(Self { serialized_value, policy })
    }
}

impl Session for FunctionRestore<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let engine = context.engine;
        let codes = rdb::restored_functions(self.serialized_value, engine.config.hot())?;
        change(context, self, |libraries| {
            let policy = self.policy.unwrap_or(Policy::Append);
            if policy == Policy::Flush {
                *libraries = Libraries::default();
            }
            for code in &codes {
                let name = functions::name_of(code)?;
                if policy == Policy::Replace {
                    libraries.remove(&name.0);
                } else if libraries.get(&name.0).is_some() {
                    return Err(Error::repeating("Library ", &name.0, " already exists"));
                }
                let library = functions::load(engine, code, name)?;
                functions::insert(libraries, library)?;
            }
            Ok(())
        })?;
        reply.ok();
        Ok(())
    }
}

/// Returns information about a function during execution.
///
/// Returns a map with the function that runs, and with what there is of libraries and functions.
#[derive(Command)]
#[command(
    name = "FUNCTION|STATS", group = Scripting, since = "7.0.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, ALLOW_BUSY), acl(SCRIPTING),
    tips("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    reply = "map(bulk, any)",
)]
pub struct FunctionStats {}

impl Session for FunctionStats {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let scripts = &context.engine.scripts;
        if scripts.runs_function(0) == Some(false) {
            return Err(told(crate::scripts::NotKilled::Other, true));
        }
        reply.map(2);
        reply.bulk(b"running_script");
        match scripts.running_function() {
            None => reply.null(),
            Some(running) => {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(&running.name);
                reply.bulk(b"command");
                reply.array(running.words.len());
                running.words.iter().for_each(|word| reply.bulk(word));
                reply.bulk(b"duration_ms");
                reply.count(running.elapsed.as_millis() as usize);
            }
        }
        let libraries = functions::of(context.engine);
        reply.bulk(b"engines");
        reply.map(1);
        reply.bulk(b"LUA");
        reply.map(2);
        reply.bulk(b"libraries_count");
        reply.count(libraries.iter().len());
        reply.bulk(b"functions_count");
        reply.count(libraries.functions());
        Ok(())
    }
}
