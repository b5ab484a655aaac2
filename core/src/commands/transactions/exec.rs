//! EXEC: runs what MULTI queued, under the locks of all its keys.

use smallvec::SmallVec;

use crate::clients::{SessionState, Transaction};
use crate::command::run::{self, Locked, needs_every_shard};
use crate::command::spec::{Flags, Spec};
use crate::command::{Command, Context, Reply, Session, keys};
use crate::commands::table;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Group, Key, Keyspace};

/// Runs the commands queued since MULTI, as one atomic step.
///
/// Returns their replies, or null where a watched key has changed. A command that fails does not stop the others.
#[derive(Command)]
#[command(
    name = "EXEC", group = Transactions, since = "1.2.0", complexity = "Depends on commands in the transaction", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, SKIP_COMMANDLOG),
    reply = "array(any) | nullarray",
)]
pub struct Exec {}

impl Session for Exec {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let Some(transaction) = context.session.end_transaction() else {
            return Err(Error::command("EXEC without MULTI"));
        };
        let result = context.exec(&transaction, reply);
        context.unwatch();
        result
    }
}

impl Context<'_, '_> {
    fn exec(&mut self, transaction: &Transaction, reply: &mut Reply) -> Result<()> {
        if transaction.poisoned {
            return Err(Error::new(
                ErrorKind::ExecAborted,
                "EXECABORT Transaction discarded because of previous errors.",
            ));
        }
        let has = |flag: Flags| transaction.numbers().any(|number| spec_of(number).flags.contains(flag));
        if has(Flags::WRITE)
            && let Some(refusal) = self.engine.keyspace.hooks.refusal()
        {
            return Err(run::discarded_because_of(&refusal));
        }
        if has(Flags::DENYOOM) && !self.engine.make_room() {
            return Err(run::discarded_because_of(&Error::out_of_memory()));
        }
        self.wait_for_script()?;
        let keyspace = &self.engine.keyspace;
        let mut db = Db::new(
            keyspace,
            self.session.origin(),
            locks_of(keyspace, self.session, transaction, has(Flags::WRITE)),
        );
        self.session.instruct(&mut db);
        if self.watched_changed(&mut db) {
            db.release();
            reply.null_array();
            return Ok(());
        }
        let (mut effects, mut options_changed) = (Group::default(), false);
        reply.array(transaction.len());
        let mut last = None;
        for (number, argv) in transaction.commands() {
            let locked = Locked { db: &mut db, effects: &mut effects, options_changed: &mut options_changed };
            self.run_queued(number, &argv, locked, reply);
            if self.session.quitting {
                last.get_or_insert(reply.len());
            }
        }
        // Whoever has ended its own connection hears nothing of what came after that.
        if let Some(last) = last {
            reply.truncate(last);
        }
        let released = run::release(db, &effects);
        if options_changed {
            self.engine.options_changed();
        }
        released
    }

    fn run_queued(&mut self, number: usize, argv: &[&[u8]], locked: Locked<'_, '_>, reply: &mut Reply) {
        let start = reply.len();
        let mut context = Context { engine: self.engine, session: self.session, transaction: Some(locked) };
        let found = &table::all()[number];
        let admitted = context.admit_queued(found, argv);
        if let Err(error) = &admitted {
            context.engine.stats.count_error(error);
        }
        if let Err(error) = admitted.and_then(|()| run::call(&mut context, found, argv, reply)) {
            reply.truncate(start);
            reply.error(&error);
        } else if std::mem::take(&mut self.session.has_no_reply) {
            // The reply of the transaction has one for each command.
            reply.null();
        }
    }

    /// Whether a watched key was changed or has expired since WATCH.
    fn watched_changed(&self, db: &mut Db<'_>) -> bool {
        if self.session.info.has_lost() {
            return true;
        }
        self.session.watched.iter().any(|watched| {
            let home = db.select(watched.db);
            let stale = db.is_stale(&db.key(&watched.key));
            db.select(home);
            stale
        })
    }
}

fn spec_of(number: usize) -> &'static Spec {
    table::all()[number].spec
}

/// Locks the shards of all queued commands and of the watched keys.
fn locks_of<'e>(
    keyspace: &'e Keyspace,
    session: &SessionState,
    transaction: &Transaction,
    writes: bool,
) -> Locks<'e> {
    let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
    for (number, argv) in transaction.commands() {
        if needs_every_shard(spec_of(number)) {
            return Locks::all(keyspace);
        }
        keys::each_position(spec_of(number), &argv, |position, _| {
            hashes.push(Key::new(argv[position], &keyspace.seed).hash());
        });
    }
    hashes.extend(session.watched.iter().map(|watched| Key::new(&watched.key, &keyspace.seed).hash()));
    if writes {
        Locks::with_waiters(keyspace, session.db, &hashes)
    } else {
        Locks::of(keyspace, session.db, &hashes)
    }
}
