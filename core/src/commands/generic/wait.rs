//! WAIT and WAITAOF: waiting for replicas and for the log.
//!
//! There are no replicas, so a session that waits for some waits for its time to pass.

use std::time::Duration;

use crate::command::{Command, Context, Reply, Session};
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::num;

/// Waits until so many replicas have what the session has written.
///
/// Returns how many have it: none. It waits as long as it may for those that were asked for; a time of 0 is for ever.
#[derive(Command)]
#[command(
    name = "WAIT", group = Generic, since = "3.0.0", complexity = "O(1)", arity = 3,
    flags(BLOCKING), acl(CONNECTION), tips("request_policy:all_shards", "response_policy:agg_min"),
    reply = "int",
)]
pub struct Wait<'a> {
    #[arg(kind = Integer)]
    numreplicas: &'a [u8],
    #[arg(kind = Integer)]
    timeout: &'a [u8],
}

impl Session for Wait<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let keyspace = &context.engine.keyspace;
        let replicas = num::parse_i64(self.numreplicas).ok_or_else(Error::not_an_integer)?;
        let patience = patience(keyspace, self.timeout)?;
        let argv: [&[u8]; 3] = [b"WAIT", self.numreplicas, self.timeout];
        if replicas <= 0 || !context.wait_for_nobody(&argv, patience, reply, |reply| reply.integer(0))? {
            reply.integer(0);
        }
        Ok(())
    }
}

/// Waits until what the session has written is safe in the log, here and on so many replicas.
///
/// Returns whether it is here, and how many replicas there are.
#[derive(Command)]
#[command(
    name = "WAITAOF", group = Generic, since = "7.2.0", complexity = "O(1)", arity = 4,
    flags(BLOCKING), acl(CONNECTION), tips("request_policy:all_shards", "response_policy:agg_min"),
    reply = "array(int)",
)]
pub struct WaitAof<'a> {
    #[arg(kind = Integer)]
    numlocal: &'a [u8],
    #[arg(kind = Integer)]
    numreplicas: &'a [u8],
    #[arg(kind = Integer)]
    timeout: &'a [u8],
}

impl Session for WaitAof<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let keyspace = &context.engine.keyspace;
        let local = num::parse_i64(self.numlocal).ok_or_else(Error::not_an_integer)?;
        if !(0..=1).contains(&local) {
            return Err(Error::command("value is out of range, value must between 0 and 1"));
        }
        let replicas = num::parse_i64(self.numreplicas).filter(|replicas| *replicas >= 0);
        let replicas = replicas.ok_or_else(|| Error::command("value is out of range, must be positive"))?;
        let patience = patience(keyspace, self.timeout)?;
        // What stands in a log that the program keeps is as safe as that promises before its write returns.
        let is_logged = keyspace.hooks.are_logged();
        if local > 0 && !is_logged {
            return Err(Error::command(
                "WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ));
        }
        // The engine's own log is synced here, unless a transaction holds locks meanwhile.
        let waits = local > 0 && context.transaction.is_none();
        let is_safe = context.engine.persistence.is_log_safe(waits).transpose()?.unwrap_or(is_logged);
        let here = i64::from(is_safe);
        let tell = |reply: &mut Reply| {
            reply.array(2);
            reply.integer(here);
            reply.integer(0);
        };
        let argv: [&[u8]; 4] = [b"WAITAOF", self.numlocal, self.numreplicas, self.timeout];
        if here >= local && replicas == 0 || !context.wait_for_nobody(&argv, patience, reply, tell)? {
            tell(reply);
        }
        Ok(())
    }
}

/// A time in milliseconds, where 0 is for ever (`None`).
fn patience(keyspace: &Keyspace, timeout: &[u8]) -> Result<Option<Duration>> {
    let milliseconds =
        num::parse_i64(timeout).ok_or_else(|| Error::command("timeout is not an integer or out of range"))?;
    match u64::try_from(milliseconds) {
        Err(_) => Err(Error::command("timeout is negative")),
        Ok(0) => Ok(None),
        Ok(patience)
            if keyspace.clock.now_ms().checked_add(patience).is_none_or(|end| end > i64::MAX as u64) =>
        {
            Err(Error::command("timeout is out of range"))
        }
        Ok(patience) => Ok(Some(Duration::from_millis(patience))),
    }
}
