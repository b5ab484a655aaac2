//! MULTI and DISCARD: opening a transaction, and dropping it.

use std::sync::atomic::Ordering;

use crate::command::{Command, Context, Reply, Session};
use crate::error::{Error, Result};

/// Starts a transaction: the commands that follow are queued until EXEC.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "MULTI", group = Transactions, since = "1.2.0", complexity = "O(1)", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_MULTI, ALLOW_BUSY),
    reply = "ok",
)]
pub struct Multi {}

impl Session for Multi {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.session.in_transaction() {
            return Err(Error::command("MULTI calls can not be nested"));
        }
        context.session.begin_transaction();
        context.session.info.queued.store(0, Ordering::Relaxed);
        context.session.info.in_transaction.store(true, Ordering::Relaxed);
        reply.ok();
        Ok(())
    }
}

/// Drops the commands queued since MULTI and all WATCH marks.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "DISCARD", group = Transactions, since = "2.0.0", complexity = "O(N), when N is the number of queued commands", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY),
    reply = "ok",
)]
pub struct Discard {}

impl Session for Discard {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.session.end_transaction().is_none() {
            return Err(Error::command("DISCARD without MULTI"));
        }
        context.unwatch();
        reply.ok();
        Ok(())
    }
}
