//! CLIENT ID, GETNAME, SETNAME, SETINFO, INFO and HELP. The list of all clients is in [`super::client_list`], what ends them in
//! [`super::client_kill`], how they are served in [`super::client_modes`].

use super::client_list::describe;
use crate::clients::Trait;
use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::error::{Error, Result, until_zero};

/// Holds the commands about clients.
#[derive(Command)]
#[command(
    name = "CLIENT", group = Connection, since = "2.4.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Client {}

/// Returns the number of the session.
///
/// Returns it; numbers only grow.
#[derive(Command)]
#[command(
    name = "CLIENT|ID", group = Connection, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "int",
)]
pub struct ClientId {}

impl Session for ClientId {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.session.set_trait(Trait::KNOWS_ITS_NUMBER, true);
        reply.integer(context.session.info.id as i64);
        Ok(())
    }
}

/// Returns the name of the session.
///
/// Returns null where none was set.
#[derive(Command)]
#[command(
    name = "CLIENT|GETNAME", group = Connection, since = "2.6.9", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "bulk | null",
)]
pub struct ClientGetName {}

impl Session for ClientGetName {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let names = context.session.info.names.lock();
        reply.bulk_or_null((!names.name.is_empty()).then_some(names.name.as_bytes()));
        Ok(())
    }
}

/// Names the session; an empty name removes it.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "CLIENT|SETNAME", group = Connection, since = "2.6.9", complexity = "O(1)", arity = 3,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct ClientSetName<'a> {
    connection_name: &'a [u8],
}

impl Session for ClientSetName<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        check_name(self.connection_name)?;
        context.session.info.names.lock().name = String::from_utf8_lossy(self.connection_name).into_owned();
        reply.ok();
        Ok(())
    }
}

/// Whether a text may stand in CLIENT LIST, whose fields are separated by spaces.
fn is_one_word(text: &[u8]) -> bool {
    until_zero(text).iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if is_one_word(name) {
        return Ok(());
    }
    Err(Error::command("Client names cannot contain spaces, newlines or special characters."))
}

/// Tells which client library the session is used by.
///
/// Returns `OK`. The attributes are LIB-NAME and LIB-VER.
#[derive(Command)]
#[command(
    name = "CLIENT|SETINFO", group = Connection, since = "7.2.0", complexity = "O(1)", arity = 4,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    custom_parse, reply = "ok",
)]
pub struct ClientSetInfo<'a> {
    attr: Attribute<'a>,
}

#[derive(Arg, Clone, Copy)]
enum Attribute<'a> {
    #[arg(token = "LIB-NAME", name = "libname")]
    LibraryName(&'a [u8]),
    #[arg(token = "LIB-VER", name = "libver")]
    LibraryVersion(&'a [u8]),
}

impl<'a> ClientSetInfo<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (name, value) = (args.required()?, args.required()?);
        let attr = match &until_zero(name).to_ascii_lowercase()[..] {
            b"lib-name" => Attribute::LibraryName(value),
            b"lib-ver" => Attribute::LibraryVersion(value),
            _ => return Err(Error::repeating("Unrecognized option '", name, "'")),
        };
        if !is_one_word(value) {
            return Err(Error::repeating(
                "",
                name,
                " cannot contain spaces, newlines or special characters.",
            ));
        }
        Ok(Self { attr })
    }
}

impl Session for ClientSetInfo<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let mut names = context.session.info.names.lock();
        let names = &mut *names;
        let (field, value) = match self.attr {
            Attribute::LibraryName(value) => (&mut names.library, value),
            Attribute::LibraryVersion(value) => (&mut names.library_version, value),
        };
        *field = String::from_utf8_lossy(value).into_owned();
        reply.ok();
        Ok(())
    }
}

/// Describes the session as CLIENT LIST does.
///
/// Returns one line.
#[derive(Command)]
#[command(
    name = "CLIENT|INFO", group = Connection, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE), tips("nondeterministic_output"),
    reply = "verbatim",
)]
pub struct ClientInfo {}

impl Session for ClientInfo {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let line = describe(&context.session.info, context.engine.keyspace.clock.coarse_ms());
        reply.verbatim(b"txt", line.as_bytes());
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "CLIENT|HELP", group = Connection, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct ClientHelp {}

impl Session for ClientHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "CLIENT",
            &[
                (
                    "CACHING (YES|NO)",
                    "Whether the keys of the next command are tracked, with OPTIN or OPTOUT.",
                ),
                ("CAPA <option> [options...]", "Tells what the client can do: REDIRECT."),
                ("GETNAME", "The name of this session."),
                ("GETREDIR", "Which session is told of changed keys in this one's place."),
                ("ID", "The number of this session."),
                (
                    "IMPORT-SOURCE (ON|OFF)",
                    "Whether this session sees keys that have expired, while import-mode is on.",
                ),
                ("INFO", "This session, described as CLIENT LIST does."),
                ("KILL <ip:port>", "Ends the connection from there."),
                (
                    "KILL <option> <value> [...]",
                    "Ends the connections that pass LIST's filters, but for this one unless SKIPME says no.",
                ),
                (
                    "LIST [options ...]",
                    "All sessions, or those of a TYPE, USER, ADDR, LADDR, ID, NAME, DB and so on, or without them (NOT-TYPE).",
                ),
                ("NO-EVICT (ON|OFF)", "Whether this session is spared where clients take too much memory."),
                ("NO-TOUCH (ON|OFF)", "Whether this session's commands are no use of keys."),
                ("PAUSE <timeout> [WRITE|ALL]", "Has commands wait for so many milliseconds."),
                ("REPLY (ON|OFF|SKIP)", "Whether this session gets replies."),
                ("SETINFO <option> <value>", "Tells LIB-NAME or LIB-VER of the client library."),
                ("SETNAME <name>", "Names this session."),
                (
                    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
                    "Whether this session is told of changes of the keys that it has read, or of all that begin with prefixes.",
                ),
                ("TRACKINGINFO", "How this session tracks."),
                (
                    "UNBLOCK <id> [TIMEOUT|ERROR]",
                    "Ends the wait of that session as if its time were over, or with an error.",
                ),
                ("UNPAUSE", "Ends the pause."),
            ],
        );
        Ok(())
    }
}
