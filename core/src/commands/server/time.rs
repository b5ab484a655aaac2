//! TIME, ROLE and LOLWUT: small questions to the engine.

use crate::command::{Args, Command, Context, Reply, Session, is_token};
use crate::config::VALKEY_VERSION;
use crate::error::{Error, Result};
use crate::num::{parse_f64, parse_i64};

/// Returns the engine's time.
///
/// Returns unix seconds and the microseconds of the current second.
#[derive(Command)]
#[command(
    name = "TIME", group = Server, since = "2.6.0", complexity = "O(1)", arity = 1,
    flags(LOADING, STALE, FAST), tips("nondeterministic_output"),
    reply = "array(bulk)",
)]
pub struct Time {}

impl Session for Time {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        const MICROSECONDS: u64 = 1_000_000;
        let now = context.engine.keyspace.clock.now_us();
        reply.array(2);
        reply.bulk_integer((now / MICROSECONDS) as i64);
        reply.bulk_integer((now % MICROSECONDS) as i64);
        Ok(())
    }
}

/// Returns the role in replication: an engine is a primary without replicas.
///
/// Returns `master`, the replication offset and the replicas.
#[derive(Command)]
#[command(
    name = "ROLE", group = Server, since = "2.8.12", complexity = "O(1)", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, FAST), acl(ADMIN, DANGEROUS),
    reply = "array(bulk | int | array(bulk))",
)]
pub struct Role {}

impl Session for Role {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(0);
        reply.array(0);
        Ok(())
    }
}

/// Returns the version of Valkey that the engine follows.
///
/// Returns a line of text. The server draws computer art for some values of VERSION; here all give the same line.
#[derive(Command)]
#[command(
    name = "LOLWUT", group = Server, since = "5.0.0", complexity = "", arity = -1,
    flags(READONLY, FAST),
    session, custom_parse, reply = "verbatim",
)]
pub struct Lolwut {
    #[arg(token = "VERSION")]
    version: Option<i64>,
}

impl Lolwut {
    /// What the version's drawing takes is checked as there, though nothing is drawn.
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        let words = args.take_rest();
        let integer = |word: &[u8]| parse_i64(word).ok_or_else(Error::not_an_integer);
        let (version, words) = match words {
            [token, version, rest @ ..] if is_token(token, "VERSION") => (Some(integer(version)?), rest),
            _ => (None, words),
        };
        let integers = |count: usize| words.iter().take(count).try_for_each(|word| integer(word).map(drop));
        match version {
            Some(5) => integers(3)?,
            Some(6) => integers(2)?,
            // The server looks at the first digit alone.
            None | Some(9 | 90..=99 | 900..=999) => {
                if !matches!(words.len(), 0 | 2 | 4) {
                    return Err(Error::command("Syntax error. Use: LOLWUT [columns rows] [real imaginary]"));
                }
                integers(2)?;
                let is_float = |word: &&[u8]| parse_f64(word).is_some();
                if !words.iter().skip(2).all(is_float) {
                    return Err(Error::not_a_float());
                }
            }
            Some(_) => {}
        }
        Ok(Self { version })
    }
}

impl Session for Lolwut {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let _ = self.version;
        reply.verbatim(b"txt", format!("Valkey ver.{VALKEY_VERSION}\n").as_bytes());
        Ok(())
    }
}
