//! CONFIG: reads and changes the options. What options there are, and what they accept, is [`crate::config`]'s.

use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::config::{Before, ConfigError};
use crate::error::{Error, Result};
use crate::local::Local;

/// Holds the commands about options.
#[derive(Command)]
#[command(
    name = "CONFIG", group = Server, since = "2.0.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Config {}

/// Returns the values of the options that match patterns.
///
/// Returns a map of names and values.
#[derive(Command)]
#[command(
    name = "CONFIG|GET", group = Server, since = "2.0.0", complexity = "O(N) when N is the number of configuration parameters provided", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    history(("7.0.0", "Added the ability to pass multiple pattern parameters in one call")),
    reply = "map(bulk, bulk)",
)]
pub struct ConfigGet<'a> {
    parameter: Vec<&'a [u8]>,
}

impl Session for ConfigGet<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let found = context.engine.config.get(&self.parameter);
        reply.map(found.len());
        for (name, value) in found {
            reply.bulk(&name);
            reply.bulk(&value);
        }
        Ok(())
    }
}

#[derive(Arg)]
struct Setting<'a> {
    parameter: &'a [u8],
    value: &'a [u8],
}

/// Sets options, all of them or none.
///
/// Returns `OK`. The new values count from the next command on.
#[derive(Command)]
#[command(
    name = "CONFIG|SET", group = Server, since = "2.0.0", complexity = "O(N) when N is the number of configuration parameters provided", arity = -4,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    history(("7.0.0", "Added the ability to set multiple parameters in one call.")),
    custom_parse, reply = "ok",
)]
pub struct ConfigSet<'a> {
    data: Vec<Setting<'a>>,
}

impl<'a> ConfigSet<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        if !args.remaining().is_multiple_of(2) {
            return Err(Error::syntax());
        }
        let pairs = args.take_rest().chunks_exact(2);
        Ok(Self { data: pairs.map(|pair| Setting { parameter: pair[0], value: pair[1] }).collect() })
    }
}

impl Session for ConfigSet<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let pairs: Vec<(&[u8], &[u8])> =
            self.data.iter().map(|setting| (setting.parameter, setting.value)).collect();
        let before = set(context, &pairs)?;
        let is_log_set =
            self.data.iter().any(|setting| setting.parameter.eq_ignore_ascii_case(b"appendonly"));
        if is_log_set && context.transaction.is_none() && context.engine.adopt_log().is_err() {
            context.engine.config.restore(before);
            let reason = "Unable to turn on AOF. Check server logs.".to_owned();
            return Err(ConfigError::argument(b"appendonly", reason).into());
        }
        // A transaction holds locks that this needs; EXEC does it when it has released them.
        match &mut context.transaction {
            None => context.engine.options_changed(),
            Some(transaction) => *transaction.options_changed = true,
        }
        reply.ok();
        Ok(())
    }
}

/// Sets options, or none of them where a listener can't do what they say.
fn set(context: &Context<'_, '_>, pairs: &[(&[u8], &[u8])]) -> Result<Before, ConfigError> {
    let engine = context.engine;
    let _alone = engine.network.setting.lock();
    let before = engine.config.set_for(context.session.info.address.is_local(), pairs)?;
    for (name, _) in pairs {
        if let Err((option, reason)) = apply(engine, name) {
            engine.config.restore(before);
            return Err(ConfigError::argument(option.as_bytes(), reason));
        }
    }
    if pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"requirepass")) {
        engine.adopt_password();
    }
    Ok(before)
}

/// Options that listeners encrypt by.
const ENCRYPTION: [&str; 13] = [
    "tls-cert-file",
    "tls-key-file",
    "tls-key-file-pass",
    "tls-ca-cert-file",
    "tls-ca-cert-dir",
    "tls-auth-clients",
    "tls-protocols",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-prefer-server-ciphers",
    "tls-session-caching",
    "tls-session-cache-size",
    "tls-session-cache-timeout",
];

/// Has the listeners do what an option says, if it is one of theirs.
///
/// # Errors
/// The option, and why they can't.
fn apply(engine: &Local, name: &[u8]) -> Result<(), (&'static str, String)> {
    let is = |option: &str| name.eq_ignore_ascii_case(option.as_bytes());
    let follow = |option, reason: &str| match engine.network.follow() {
        true => Ok(()),
        false => Err((option, reason.to_owned())),
    };
    const UNABLE: &str = "Unable to listen on this port. Check server logs.";
    if is("port") {
        follow("port", UNABLE)
    } else if is("tls-port") {
        match engine.network.follow_encryption() {
            true => follow("tls-port", UNABLE),
            false => Err(("tls-port", "Unable to update TLS configuration. Check server logs.".to_owned())),
        }
    } else if let Some(option) = ENCRYPTION.iter().find(|option| is(option)) {
        match engine.network.follow_encryption() {
            true => Ok(()),
            false => Err((option, "Unable to update TLS configuration. Check server logs.".to_owned())),
        }
    } else if is("bind") {
        follow("bind", "Failed to bind to specified addresses.")
    } else if is("maxclients")
        && let Some(most) = engine.network.most_clients(engine.config.hot().maxclients() as u64)
    {
        let reason = "The operating system is not able to handle the specified number of clients, try with";
        Err(("maxclients", format!("{reason} {most}")))
    } else {
        Ok(())
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        // A name need not be UTF-8.
        match &error {
            ConfigError::Unknown(name) => {
                Error::repeating("Unknown option or number of arguments for CONFIG SET - '", name, "'")
            }
            ConfigError::Argument { name, reason } => Error::repeating(
                "CONFIG SET failed (possibly related to argument '",
                name,
                &format!("') - {reason}"),
            ),
        }
    }
}

/// Resets the statistics that INFO and LATENCY HISTOGRAM print.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "CONFIG|RESETSTAT", group = Server, since = "2.0.0", complexity = "O(1)", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    whole_keyspace, reply = "ok",
)]
pub struct ConfigResetStat {}

impl Session for ConfigResetStat {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.with_keyspace(&[], |db| {
            db.reset_counters();
            Ok(())
        })?;
        let engine = context.engine;
        engine.stats.reset();
        engine.scripts.reset();
        engine.network.reset();
        engine.clients.reset_opened();
        engine.pulse.reset();
        engine.keyspace.evictor.counters.reset();
        crate::lazyfree::reset_freed();
        reply.ok();
        Ok(())
    }
}

/// Writes the options to the file that they were read from.
///
/// Returns `OK`. Comments and order stay; options without a line are added where they differ from their defaults.
#[derive(Command)]
#[command(
    name = "CONFIG|REWRITE", group = Server, since = "2.8.0", complexity = "O(1)", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:all_succeeded"),
    reply = "ok",
)]
pub struct ConfigRewrite {}

impl Session for ConfigRewrite {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let engine = context.engine;
        let users = match engine.config.acl_file() {
            Some(_) => Vec::new(),
            None => engine.users.all().iter().map(|user| user.directive()).collect(),
        };
        engine.config.rewrite_file(&users)?;
        reply.ok();
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "CONFIG|HELP", group = Server, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct ConfigHelp {}

impl Session for ConfigHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "CONFIG",
            &[
                ("GET <pattern> [<pattern> ...]", "Options that match a pattern, and their values."),
                ("SET <option> <value> [<option> <value> ...]", "Sets options, all of them or none."),
                ("RESETSTAT", "Resets the statistics."),
                ("REWRITE", "Writes the options to the file that they were read from."),
            ],
        );
        Ok(())
    }
}
