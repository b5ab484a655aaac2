//! HELLO and AUTH: protocol and identity.

use super::client::check_name;
use crate::acl::{DEFAULT_USER, Origin};
use crate::command::spec::ArgSpec;
use crate::command::{Arg, Args, Argv, Command, Context, Reply, Session};
use crate::commands::server::module::write_modules;
use crate::config::VALKEY_VERSION;
use crate::error::{Error, ErrorKind, Result};
use crate::info::REDIS_VERSION;
use crate::num;

/// Chooses the protocol and tells about the engine.
///
/// Returns a map of facts. May authenticate and name the session at once.
#[derive(Command)]
#[command(
    name = "HELLO", group = Connection, since = "6.0.0", complexity = "O(1)", arity = -1,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    history(("8.1.0", "A new `availability_zone` field is added to the response if the `availability-zone` config is set."), ("6.2.0", "`protover` made optional; when called without arguments the command reports the current connection's context.")),
    secrets = hello_secrets, custom_parse, reply = "map(bulk, any)",
)]
pub struct Hello<'a> {
    #[arg(oneof)]
    arguments: Option<HelloArguments<'a>>,
    #[arg(hidden)]
    name: Spelled<'a>,
}

/// The name of the command as the client spelled it: the log of refusals has it so.
struct Spelled<'a>(&'a [u8]);

impl<'a> Arg<'a> for Spelled<'a> {
    const SPEC: ArgSpec = ArgSpec::PLAIN;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self(args.spelled()))
    }

    fn encode(&self, _: &mut Argv) {}
}

#[derive(Arg)]
struct HelloArguments<'a> {
    protover: i64,
    #[arg(oneof)]
    auth: Option<Credentials<'a>>,
    #[arg(token = "SETNAME")]
    clientname: Option<&'a [u8]>,
}

#[derive(Arg)]
#[arg(token = "AUTH")]
struct Credentials<'a> {
    username: &'a [u8],
    password: &'a [u8],
}

impl<'a> Hello<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let name = Spelled::parse(args)?;
        let arguments =
            args.next().map(|version| HelloArguments::of(version, args.take_rest())).transpose()?;
        Ok(Self { arguments, name })
    }
}

impl<'a> HelloArguments<'a> {
    fn of(version: &[u8], options: &[&'a [u8]]) -> Result<Self> {
        let mut wishes = Self { protover: protocol(version)?, auth: None, clientname: None };
        let mut words = options.iter().copied();
        while let Some(word) = words.next() {
            let wrong = || Error::repeating("Syntax error in HELLO option '", word, "'");
            if word.eq_ignore_ascii_case(b"AUTH") && words.len() >= 2 {
                let both = words.next().zip(words.next());
                wishes.auth = both.map(|(username, password)| Credentials { username, password });
            } else if word.eq_ignore_ascii_case(b"SETNAME") && words.len() >= 1 {
                wishes.clientname = words.next();
            } else {
                return Err(wrong());
            }
        }
        Ok(wishes)
    }
}

/// User and password, as far as the server reads.
fn hello_secrets(argv: &[&[u8]]) -> Vec<usize> {
    let mut secrets = Vec::new();
    let mut at = if argv.get(1).is_some_and(|version| protocol(version).is_ok()) { 2 } else { argv.len() };
    while let Some(word) = argv.get(at) {
        let left = argv.len() - at - 1;
        if word.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
            secrets.extend([at + 1, at + 2]);
            at += 3;
        } else if word.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
            at += 2;
        } else {
            break;
        }
    }
    secrets
}

/// All words, if they are as many as the command takes.
fn auth_secrets(argv: &[&[u8]]) -> Vec<usize> {
    if argv.len() > 3 { Vec::new() } else { (1..argv.len()).collect() }
}

fn protocol(version: &[u8]) -> Result<i64> {
    match num::parse_i64(version) {
        Some(version @ 2..=3) => Ok(version),
        Some(_) => Err(Error::new(ErrorKind::NoProto, "NOPROTO unsupported protocol version")),
        None => Err(Error::command("Protocol version is not an integer or out of range")),
    }
}

impl Session for Hello<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let name = self.arguments.as_ref().and_then(|wishes| wishes.clientname);
        if let Some(name) = name {
            check_name(name)?;
        }
        if let Some(Credentials { username, password }) =
            self.arguments.as_ref().and_then(|wishes| wishes.auth.as_ref())
        {
            context.authenticate(self.name.0, username, password)?;
        }
        if !context.session.is_authenticated() {
            return Err(Error::new(
                ErrorKind::NoAuth,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ));
        }
        if let Some(name) = name {
            context.session.info.names.lock().name = String::from_utf8_lossy(name).into_owned();
        }
        if let Some(wishes) = &self.arguments {
            let resp3 = wishes.protover == 3;
            reply.set_resp3(resp3);
            context.session.set_resp3(resp3);
        }
        introduce(context, reply);
        Ok(())
    }
}

fn introduce(context: &Context<'_, '_>, reply: &mut Reply) {
    let zone = context.engine.config.text("availability-zone").filter(|zone| !zone.is_empty());
    reply.map(7 + usize::from(zone.is_some()));
    let (server, version) = match context.engine.config.text("extended-redis-compatibility").as_deref() {
        Some(b"yes") => ("redis", REDIS_VERSION),
        _ => ("valkey", VALKEY_VERSION),
    };
    for (name, value) in [("server", server), ("version", version)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if reply.resp3() { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(context.session.info.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    write_modules(reply);
    if let Some(zone) = zone {
        reply.bulk(b"availability_zone");
        reply.bulk(&zone);
    }
}

/// Tells who the client is.
///
/// Returns `OK`. Without a name it is the default user.
#[derive(Command)]
#[command(
    name = "AUTH", group = Connection, since = "1.0.0", complexity = "O(N) where N is the number of passwords defined for the user", arity = -2,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    history(("6.0.0", "Added ACL style (username and password).")),
    secrets = auth_secrets, custom_parse, reply = "ok",
)]
pub struct Auth<'a> {
    #[arg(since = "6.0.0")]
    username: Option<&'a [u8]>,
    password: &'a [u8],
    #[arg(hidden)]
    name: Spelled<'a>,
}

impl<'a> Auth<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let name = Spelled::parse(args)?;
        match *args.take_rest() {
            [password] => Ok(Self { username: None, password, name }),
            [username, password] => Ok(Self { username: Some(username), password, name }),
            _ => Err(Error::syntax()),
        }
    }
}

impl Session for Auth<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let default = context.engine.users.default_user();
        if self.username.is_none() && default.rights().needs_no_password() {
            return Err(Error::command(
                "AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        context.authenticate(self.name.0, self.username.unwrap_or(DEFAULT_USER), self.password)?;
        reply.ok();
        Ok(())
    }
}

impl Context<'_, '_> {
    /// Has the session act as a user. `command` is what the client asks for it by.
    fn authenticate(&mut self, command: &[u8], user: &[u8], password: &[u8]) -> Result<()> {
        let client = &self.session.info;
        if !self.engine.authenticate(client, user, password) {
            let is_queued = self.transaction.is_some() || self.session.in_transaction();
            let origin = if is_queued { Origin::Transaction } else { Origin::TopLevel };
            self.engine.note_stranger(client, user, origin, command);
            return Err(Error::new(
                ErrorKind::WrongPass,
                "WRONGPASS invalid username-password pair or user is disabled.",
            ));
        }
        self.session.adopt_standing(client.standing());
        Ok(())
    }
}
