//! HELLO and AUTH: protocol and identity.

use std::sync::atomic::Ordering;

use super::client::check_name;
use crate::command::{Args, Command, Context, Reply, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::num;

/// The version of Valkey whose behaviour the engine has.
pub(crate) const VALKEY_VERSION: &str = "8.1.8";

/// Chooses the protocol and tells about the engine.
///
/// Returns a map of facts. May authenticate and name the session at once.
#[derive(Command)]
#[command(
    name = "HELLO", group = Connection, since = "6.0.0", complexity = "O(1)", arity = -1,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    history(("8.1.0", "A new `availability_zone` field is added to the response if the `availability-zone` config is set."), ("6.2.0", "`protover` made optional; when called without arguments the command reports the current connection's context.")),
    custom_parse, no_args, reply = "map(bulk, any)",
)]
pub struct Hello<'a> {
    arguments: Vec<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { arguments: args.take_rest().to_vec() })
    }
}

/// What HELLO was asked for.
#[derive(Default)]
struct Wishes<'a> {
    resp3: Option<bool>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Wishes<'a> {
    fn of(arguments: &[&'a [u8]]) -> Result<Self> {
        let mut wishes = Wishes::default();
        let mut words = arguments.iter().copied();
        if let Some(version) = words.next() {
            wishes.resp3 = Some(protocol(version)?);
        }
        while let Some(word) = words.next() {
            let wrong = || {
                let text = [b"ERR Syntax error in HELLO option '", word, b"'"].concat();
                Error::from_bytes(ErrorKind::Command, text)
            };
            if word.eq_ignore_ascii_case(b"AUTH") && words.len() >= 2 {
                wishes.credentials = words.next().zip(words.next());
            } else if word.eq_ignore_ascii_case(b"SETNAME") && words.len() >= 1 {
                wishes.name = words.next();
            } else {
                return Err(wrong());
            }
        }
        Ok(wishes)
    }
}

fn protocol(version: &[u8]) -> Result<bool> {
    match num::parse_i64(version) {
        Some(2) => Ok(false),
        Some(3) => Ok(true),
        Some(_) => Err(Error::new(ErrorKind::NoProto, "NOPROTO unsupported protocol version")),
        None => Err(Error::command("Protocol version is not an integer or out of range")),
    }
}

impl Session for Hello<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let wishes = Wishes::of(&self.arguments)?;
        if let Some(name) = wishes.name {
            check_name(name)?;
        }
        if let Some((user, password)) = wishes.credentials {
            context.authenticate(user, password)?;
        }
        if !context.session.authenticated {
            return Err(Error::new(
                ErrorKind::NoAuth,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ));
        }
        if let Some(name) = wishes.name {
            context.session.info.names.lock().name = String::from_utf8_lossy(name).into_owned();
        }
        if let Some(resp3) = wishes.resp3 {
            reply.set_resp3(resp3);
            context.session.info.resp3.store(resp3, Ordering::Relaxed);
        }
        introduce(context, reply);
        Ok(())
    }
}

fn introduce(context: &Context<'_, '_>, reply: &mut Reply) {
    reply.map(7);
    for (name, value) in [("server", "valkey"), ("version", VALKEY_VERSION)] {
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
    reply.array(0);
}

/// Tells who the client is.
///
/// Returns `OK`. Until ACLs arrive the only user is `default`, whose password is `requirepass`.
#[derive(Command)]
#[command(
    name = "AUTH", group = Connection, since = "1.0.0", complexity = "O(N) where N is the number of passwords defined for the user", arity = -2,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    history(("6.0.0", "Added ACL style (username and password).")),
    custom_parse, reply = "ok",
)]
pub struct Auth<'a> {
    #[arg(since = "6.0.0")]
    username: Option<&'a [u8]>,
    password: &'a [u8],
}

impl<'a> Auth<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        match *args.take_rest() {
            [password] => Ok(Self { username: None, password }),
            [username, password] => Ok(Self { username: Some(username), password }),
            _ => Err(Error::syntax()),
        }
    }
}

impl Session for Auth<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if self.username.is_none() && !context.requires_password() {
            return Err(Error::command(
                "AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        context.authenticate(self.username.unwrap_or(b"default"), self.password)?;
        reply.ok();
        Ok(())
    }
}

impl Context<'_, '_> {
    fn requires_password(&self) -> bool {
        self.engine.config.text("requirepass").is_some_and(|password| !password.is_empty())
    }

    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Result<()> {
        let expected = self.engine.config.text("requirepass").unwrap_or_default();
        let is_right =
            user == b"default" && (expected.is_empty() || constant_time_equal(&expected, password));
        if !is_right {
            return Err(Error::new(
                ErrorKind::WrongPass,
                "WRONGPASS invalid username-password pair or user is disabled.",
            ));
        }
        self.session.authenticated = true;
        Ok(())
    }
}

/// Compares in a time that depends on the lengths only, so that a password can't be guessed letter by letter.
fn constant_time_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
