//! MODULE: the engine loads none. The interpreter of scripts is a module of the server, which has it built in, and is listed as such.

use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::error::{Error, Result};

/// Holds the commands about modules.
#[derive(Command)]
#[command(
    name = "MODULE", group = Server, since = "4.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Module {}

/// Lists the modules.
///
/// Returns name, version, path and arguments of each: the interpreter of scripts, which is built in.
#[derive(Command)]
#[command(
    name = "MODULE|LIST", group = Server, since = "4.0.0", complexity = "O(N) where N is the number of loaded modules.", arity = 2,
    flags(ADMIN, NOSCRIPT), tips("nondeterministic_output_order"),
    reply = "array(map(bulk, any))",
)]
pub struct ModuleList {}

impl Session for ModuleList {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        write_modules(reply);
        Ok(())
    }
}

/// Writes what MODULE LIST and HELLO tell of modules.
pub(crate) fn write_modules(reply: &mut Reply) {
    reply.array(1);
    reply.map(4);
    for (name, value) in [("name", Some("lua")), ("ver", None), ("path", Some("lua"))] {
        reply.bulk(name.as_bytes());
        match value {
            Some(value) => reply.bulk(value.as_bytes()),
            None => reply.integer(1),
        }
    }
    reply.bulk(b"args");
    reply.array(0);
}

fn not_loaded() -> Error {
    Error::command("Error loading the extension. Please check the server logs.")
}

/// Loads a module.
///
/// Returns an error: modules of the server have nothing in the engine to call.
#[derive(Command)]
#[command(
    name = "MODULE|LOAD", group = Server, since = "4.0.0", complexity = "O(1)", arity = -3,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, PROTECTED),
    custom_parse, reply = "any",
)]
pub struct ModuleLoad<'a> {
    path: &'a [u8],
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

impl<'a> ModuleLoad<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { path: args.required()?, arg: args.take_rest().to_vec() })
    }
}

impl Session for ModuleLoad<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(not_loaded())
    }
}

/// Loads a module with options of its own.
///
/// Returns an error, as MODULE LOAD does.
#[derive(Command)]
#[command(
    name = "MODULE|LOADEX", group = Server, since = "7.0.0", complexity = "O(1)", arity = -3,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, PROTECTED),
    custom_parse, reply = "any",
)]
pub struct ModuleLoadEx<'a> {
    path: &'a [u8],
    #[arg(token = "CONFIG", multiple_token, optional)]
    configs: Vec<Setting<'a>>,
    #[arg(token = "ARGS", optional)]
    args: Vec<&'a [u8]>,
}

#[derive(Arg)]
struct Setting<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> ModuleLoadEx<'a> {
    /// The server reads what stands behind the path, and tells of no error of it but that nothing is loaded.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let path = args.required()?;
        args.take_rest();
        Ok(Self { path, configs: Vec::new(), args: Vec::new() })
    }
}

impl Session for ModuleLoadEx<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(not_loaded())
    }
}

/// Unloads a module.
///
/// Returns an error: none was loaded.
#[derive(Command)]
#[command(
    name = "MODULE|UNLOAD", group = Server, since = "4.0.0", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, PROTECTED),
    reply = "any",
)]
pub struct ModuleUnload<'a> {
    name: &'a [u8],
}

impl Session for ModuleUnload<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(Error::command("Error unloading module: no such module with that name"))
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "MODULE|HELP", group = Server, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct ModuleHelp {}

impl Session for ModuleHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "MODULE",
            &[
                ("LIST", "The modules that there are."),
                ("LOAD <path> [<arg> ...]", "Loads a module; the engine can load none."),
                (
                    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
                    "Loads a module with options; the engine can load none.",
                ),
                ("UNLOAD <name>", "Unloads a module."),
            ],
        );
        Ok(())
    }
}
