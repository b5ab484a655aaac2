//! DEBUG: subcommands for tests. `enable-debug-command` decides who may use it; only what tests of clients and of the engine itself need
//! is here; what the server has beside stands with its reason in `tests/debug_differences.txt`. DEBUG PROTOCOL, DIGEST and POPULATE have files of their own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{debug_digest, debug_populate, debug_protocol};
use crate::command::{Args, Command, Context, Reply, Session, is_token};
use crate::commands::table;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::access::Recording;
use crate::num;
use crate::persist::loading::Twice;
use crate::rdb;
use crate::recovery;

/// Holds subcommands for tests.
///
/// Returns what the subcommand returns; DEBUG HELP lists them.
#[derive(Command)]
#[command(
    name = "DEBUG", group = Server, since = "1.0.0", complexity = "Depends on subcommand.", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE, PROTECTED, SYSCMD),
    whole_keyspace, custom_parse, no_args, reply = "any",
)]
pub struct Debug<'a> {
    arguments: Vec<&'a [u8]>,
}

impl<'a> Debug<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { arguments: args.take_rest().to_vec() })
    }

    fn unknown(&self) -> Error {
        let before = "unknown subcommand or wrong number of arguments for '";
        Error::repeating(before, self.arguments[0], "'. Try DEBUG HELP.")
    }
}

impl Session for Debug<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let (name, rest) = self.arguments.split_first().expect("the arity promises a subcommand");
        match (&name.to_ascii_lowercase()[..], rest) {
            (b"sleep", [seconds]) => sleep(seconds),
            (b"set-active-expire", [flag]) => {
                context.engine.keyspace.active_expiry.store(leading_integer(flag) != 0, Ordering::Relaxed);
            }
            (b"error", [text]) => {
                // A reply like any other: the command has not failed.
                reply.error(&Error::from_bytes(ErrorKind::Command, text.to_vec()));
                return Ok(());
            }
            (b"protocol", [kind]) => return debug_protocol::write(kind, reply),
            (b"object", [key, options @ ..]) => {
                let is_fast = options.first().is_some_and(|option| is_token(option, "FAST"));
                return object(context, key, is_fast, reply);
            }
            (b"digest", []) => {
                let digest = context.with_keyspace(&[], |db| Ok(debug_digest::of_all(db)))?;
                reply.simple(&digest.text());
                return Ok(());
            }
            (b"digest-value", keys) => {
                return context.with_keyspace(&[], |db| {
                    reply.array(keys.len());
                    keys.iter().for_each(|key| reply.simple(&debug_digest::of_value(db, key).text()));
                    Ok(())
                });
            }
            (b"populate", [_] | [_, _] | [_, _, _]) => debug_populate::populate(context, rest)?,
            (b"reload", options) => reload(context, options)?,
            (b"loadaof", []) => load_log(context)?,
            (b"help", []) => {
                help(reply);
                return Ok(());
            }
            _ => return Err(self.unknown()),
        }
        reply.ok();
        Ok(())
    }
}

/// Holds up the session, not the engine: other sessions go on.
fn sleep(seconds: &[u8]) {
    let seconds = num::parse_f64(seconds).filter(|seconds| *seconds > 0.0).unwrap_or(0.0);
    std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
}

/// The number that a text begins with, 0 where there is none.
fn leading_integer(text: &[u8]) -> i64 {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    num::parse_i64(&text[..end]).unwrap_or(0)
}

/// How a key is stored. `is_fast` leaves the length of the value out.
fn object(context: &mut Context<'_, '_>, key: &[u8], is_fast: bool, reply: &mut Reply) -> Result<()> {
    context.with_keyspace(&[], |db| {
        let key = db.key(key);
        let entry = db.peek(&key).ok_or_else(Error::no_such_key)?;
        let recording = db.keyspace().recording();
        let access = if let Recording::Frequency { .. } = recording {
            let frequency = recording.frequency(entry.stamp(), db.now());
            format!("lfu_freq:{frequency} lfu_access_time_minutes:0")
        } else {
            let idle_s = db.keyspace().idle_ms(entry.stamp()).unwrap_or(0) / 1000;
            format!("lru:{} lru_seconds_idle:{idle_s}", entry.stamp())
        };
        let length = if is_fast {
            String::new()
        } else {
            let length = rdb::serialized_len(entry.value(), db.keyspace().config.hot())?;
            format!("serializedlength:{length} ")
        };
        reply.simple(&format!("Value at:0x0 refcount:1 encoding:{} {length}{access}", entry.encoding()));
        Ok(())
    })
}

/// Writes a snapshot, empties all databases and loads it, as far as the options let it. The log hears nothing: what there is is what there was.
fn reload(context: &mut Context<'_, '_>, options: &[&[u8]]) -> Result<()> {
    let (mut saves, mut empties, mut twice) = (true, true, Twice::Refused);
    for option in options {
        match () {
            () if is_token(option, "NOSAVE") => saves = false,
            () if is_token(option, "NOFLUSH") => empties = false,
            () if is_token(option, "MERGE") => twice = Twice::Replaced,
            () => {
                return Err(Error::command(
                    "DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    let persistence = &context.engine.persistence;
    context.with_keyspace(&[], |db| {
        let recorded = db.recorded();
        if saves {
            persistence.save_held(db)?;
        }
        if empties {
            db.clear_all();
        }
        let reloaded = persistence.reload(db, twice);
        db.forget_since(recorded);
        reloaded
    })
}

/// Empties all databases and loads the log, which hears nothing of it.
fn load_log(context: &mut Context<'_, '_>) -> Result<()> {
    let engine = context.engine;
    context.with_keyspace(&[], |db| {
        let recorded = db.recorded();
        let log = db.keyspace().hooks.set_journal(None);
        db.clear_all();
        let loaded = recovery::reload(engine, table::resolve, db);
        db.keyspace().hooks.set_journal(log);
        db.forget_since(recorded);
        loaded
    })
}

fn help(reply: &mut Reply) {
    crate::commands::help(
        reply,
        "DEBUG",
        &[
            ("DIGEST", "A number for all data: the same in every server that has the same."),
            ("DIGEST-VALUE [<key> ...]", "A number for the value of each key."),
            ("ERROR <text>", "Replies with an error of this text."),
            ("LOADAOF", "Removes all keys and loads the log again."),
            ("OBJECT <key>", "How a key and its value are stored."),
            (
                "POPULATE <count> [<prefix>] [<size>]",
                "Makes so many strings, `key:0` and so on; the log does not hear of them.",
            ),
            ("PROTOCOL <type>", "Replies with a value of this type."),
            (
                "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
                "Writes a snapshot, removes all keys and loads it again. With MERGE keys may be there before.",
            ),
            (
                "SET-ACTIVE-EXPIRE <0|1>",
                "Stops or starts the reaper of expired keys; they stay invisible all the same.",
            ),
            ("SLEEP <seconds>", "Holds up the session."),
        ],
    );
}
