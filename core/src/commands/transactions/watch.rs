//! WATCH and UNWATCH: optimistic locking by marks on keys.

use std::sync::atomic::Ordering;

use crate::alloc;
use crate::clients::Watched;
use crate::command::{Command, Context, Reply, Session};
use crate::error::{Error, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Key};

/// Marks keys: the next EXEC does nothing if one of them has changed by then.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "WATCH", group = Transactions, since = "2.2.0", complexity = "O(1) for every key.", arity = -2,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_MULTI, ALLOW_BUSY),
    session, reply = "ok",
)]
pub struct Watch<'a> {
    #[key(RO, last = -1)]
    key: Vec<Key<'a>>,
}

impl Session for Watch<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.session.in_transaction() {
            return Err(Error::command("WATCH inside MULTI is not allowed"));
        }
        for key in &self.key {
            context.watch(key)?;
        }
        reply.ok();
        Ok(())
    }
}

/// Drops all WATCH marks.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "UNWATCH", group = Transactions, since = "2.2.0", complexity = "O(1)", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, FAST, ALLOW_BUSY),
    reply = "ok",
)]
pub struct Unwatch {}

impl Session for Unwatch {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        // Within a transaction its own locks are held, and the marks go with EXEC anyway.
        if context.transaction.is_none() {
            context.unwatch();
        }
        reply.ok();
        Ok(())
    }
}

impl Context<'_, '_> {
    fn watch(&mut self, key: &Key<'_>) -> Result<()> {
        let state = &mut *self.session;
        let known = state.watched.iter().any(|other| other.db == state.db && *other.key == *key.bytes());
        if known {
            return Ok(());
        }
        let (name, mark) = (alloc::boxed(key.bytes())?, alloc::boxed(key.bytes())?);
        let keyspace = &self.engine.keyspace;
        let mut db = Db::new(keyspace, state.origin(), Locks::one(keyspace, key.hash()));
        if db.is_stale(key) {
            // It counts as missing from now on; its removal later must not look like a change.
            db.expire_key(key);
        }
        let watchers = &mut db.locks_mut().shard_mut(key.shard()).watchers;
        watchers.add(&self.engine.keyspace.hooks, state.db, mark, &state.info.watch_flag);
        state.watched.push(Watched { db: state.db, key: name });
        // CLIENT INFO tells -1 of sessions that never began anything like a transaction.
        state.info.queued.fetch_max(0, Ordering::Relaxed);
        state.info.watching.store(state.watched.len(), Ordering::Relaxed);
        db.finish_unasked(state.db);
        Ok(())
    }

    pub(crate) fn unwatch(&mut self) {
        self.session.unwatch(&self.engine.keyspace);
    }
}
