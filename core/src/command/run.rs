//! The only place that locks: resolves a command, queues it in a transaction or runs it, and settles what it did.
//!
//! The order is always the same: parse, find the keys' shards, check the memory limit, lock the shards in ascending order, execute, hand the
//! effects to the log while still holding them, unlock, then free and notify. Nothing is locked while anything executed already holds
//! a lock, so commands can't wait for each other in a circle.

use std::time::Duration;

use smallvec::SmallVec;

use super::block::Outcome;
use super::reply::Form;
use super::spec::{self, Flags, Spec};
use super::tracking::Reader;
use super::{Args, Parse, Read, Reply, Session, Write};
use crate::clients::SessionState;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Keyspace;
use crate::keyspace::escalation::Patience;
use crate::keyspace::hooks::Appended;
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Group};
use crate::local::Local;
use crate::sync::{Arc, Ordering};

/// Parses a command from its whole argv, executes it and writes the reply.
pub type Run = for<'c, 'e, 'a> fn(&mut Context<'c, 'e>, &'a [&'a [u8]], &mut Reply) -> Result<()>;

/// A command found by name.
pub struct Found {
    /// What it declares; a subcommand's own spec where the name has two words.
    pub spec: &'static Spec,
    /// Its number in the order of the list.
    pub id: usize,
    /// Parses and executes it.
    pub(crate) run: Run,
}

/// No command, or none with such arguments.
#[derive(Debug)]
pub struct Unresolved {
    /// The number of the command, if the name was one.
    pub(crate) id: Option<usize>,
    /// What the client is told.
    pub error: Error,
}

/// What a command runs in.
pub struct Context<'c, 'e> {
    pub(crate) engine: &'c Arc<Local>,
    pub(crate) session: &'c mut SessionState,
    /// The shards that a transaction holds for all its commands.
    pub(crate) transaction: Option<Locked<'c, 'e>>,
}

/// The locks of a running transaction and what its commands have done so far.
pub(crate) struct Locked<'c, 'e> {
    pub(crate) db: &'c mut Db<'e>,
    pub(crate) effects: &'c mut Group,
    /// An option was set: the engine looks at it once the locks are released.
    pub(crate) options_changed: &'c mut bool,
}

/// Executes one command of a session, for which `resolved` was found, and writes its reply, or its error, to `reply`; or has the session wait for it.
pub(crate) fn execute(
    engine: &Arc<Local>,
    session: &mut SessionState,
    resolved: Result<&Found, Unresolved>,
    argv: &[&[u8]],
    reply: &mut Reply,
) -> Outcome {
    let start = reply.len();
    session.begin_reply();
    let is_known = resolved.as_ref().map_or_else(|unresolved| unresolved.id.is_some(), |_| true);
    let mut context = Context { engine, session, transaction: None };
    context.adopt_standing();
    if let Err(error) = dispatch(&mut context, resolved, argv, reply) {
        reply.truncate(start);
        reply.error(&error);
    }
    reply.close_all();
    if session.wishes.is_some() {
        let is_of_clients = is_known && argv.first().is_some_and(|name| name.eq_ignore_ascii_case(b"CLIENT"));
        session.end_caching(is_of_clients);
    }
    if session.blocked.is_none() {
        leave_out(session, reply, start);
    }
    if session.has_sent_messages {
        // What came while it was subscribed, which it may no longer be.
        session.take_messages(reply);
    }
    if session.blocked.is_some() { Outcome::Blocked } else { Outcome::Replied }
}

/// Takes the reply of a command back, from there on, where the client wants none. Messages, which some have beside, it gets.
#[inline]
pub(crate) fn leave_out(session: &SessionState, reply: &mut Reply, start: usize) {
    if session.leaves_reply_out() && !session.has_sent_messages {
        reply.truncate(start);
        if reply.form() == Form::Tape {
            // It has one reply for each command.
            reply.null();
        }
    }
}

fn dispatch(
    context: &mut Context<'_, '_>,
    resolved: Result<&Found, Unresolved>,
    argv: &[&[u8]],
    reply: &mut Reply,
) -> Result<()> {
    let limit = context.engine.config.hot().proto_max_bulk_len();
    let longest = argv.iter().map(|word| word.len()).max().unwrap_or(0);
    let resolved =
        if longest > limit { Err(Unresolved { id: None, error: Error::too_long() }) } else { resolved };
    let admitted = resolved.and_then(|found| {
        let refused = |error| Unresolved { id: Some(found.id), error };
        admit(context, found, argv).map(|()| found).map_err(refused)
    });
    let found = match admitted {
        Ok(found) => found,
        Err(Unresolved { id, error }) => {
            let stats = &context.engine.stats;
            if let Some(id) = id {
                context.session.counters(stats).of(id).rejected();
                context.session.began(id);
            }
            context.session.poison_transaction();
            let error = context.abort_if_exec(argv, error);
            context.engine.stats.count_error(&error);
            return Err(error);
        }
    };
    if context.engine.may_be_paused() && context.wait_for_pause((found.spec, found.id), argv, reply)? {
        return Ok(());
    }
    if context.session.in_transaction() && is_queued(found.spec) {
        let queued = context.session.queue(found.id, argv, super::pause::may_change(found.spec));
        if queued.is_err() {
            context.session.poison_transaction();
        }
        queued?;
        let outer = reply.begin(usize::MAX);
        reply.simple("QUEUED");
        return reply.end(outer);
    }
    call(context, found, argv, reply)
}

/// Whether a command waits for EXEC where a transaction is open.
fn is_queued(spec: &Spec) -> bool {
    const IMMEDIATE: &[&str] = &["exec", "discard", "multi", "watch", "quit", "reset"];
    // Most are told by their group: names take longer to compare.
    let may_be_immediate = matches!(spec.group, spec::Group::Transactions | spec::Group::Connection);
    !may_be_immediate || !IMMEDIATE.contains(&spec.name)
}

/// What is checked before a command is queued or run.
fn admit(context: &Context<'_, '_>, found: &Found, argv: &[&[u8]]) -> Result<()> {
    let flags = found.spec.flags;
    let must_authenticate = !context.session.is_authenticated() && !context.engine.users.default_is_open();
    if must_authenticate && !flags.contains(Flags::NO_AUTH) {
        return Err(Error::new(ErrorKind::NoAuth, "NOAUTH Authentication required."));
    }
    if context.session.in_transaction() && (flags.contains(Flags::NO_MULTI) || found.spec.outside) {
        return Err(Error::command(format_args!(
            "Command '{}' not allowed inside a transaction",
            found.spec.name
        )));
    }
    if flags.contains(Flags::PROTECTED) {
        context.refuse_protected(found.spec)?;
    }
    context.admit_user(found, argv)?;
    if context.engine.has_busy_script() && !flags.contains(Flags::ALLOW_BUSY) {
        return Err(context.busy());
    }
    if flags.contains(Flags::WRITE)
        && let Some(refusal) = context.engine.keyspace.hooks.refusal()
    {
        return Err(refusal);
    }
    if !context.engine.make_room() && flags.contains(Flags::DENYOOM) {
        return Err(Error::out_of_memory());
    }
    let is_about_keys =
        [Flags::WRITE, Flags::READONLY, Flags::MAY_REPLICATE].iter().any(|flag| flags.contains(*flag));
    if is_about_keys && context.session.info.is_monitor.load(Ordering::Relaxed) {
        // The server takes who monitors for a replica here.
        return Err(Error::command("Replica can't interact with the keyspace"));
    }
    if context.session.may_only_subscribe() && !is_for_subscribers(found.spec.name) {
        return Err(Error::command(format_args!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            found.spec.name
        )));
    }
    Ok(())
}

/// Whether a RESP2 connection that is subscribed may execute a command.
fn is_for_subscribers(name: &str) -> bool {
    const COMMANDS: [&str; 9] = [
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "ping",
        "quit",
        "reset",
    ];
    COMMANDS.contains(&name)
}

/// Runs an admitted command, measures it and counts it.
pub(crate) fn call(
    context: &mut Context<'_, '_>,
    found: &Found,
    argv: &[&[u8]],
    reply: &mut Reply,
) -> Result<()> {
    let engine = context.engine;
    let start = reply.len();
    let timer = engine.keyspace.clock.timer();
    context.session.began(found.id);
    let outer = reply.begin(engine.config.hot().max_reply_bytes());
    let mut result = if context.session.is_restricted() && matches!(found.spec.name, "sort" | "sort_ro") {
        context.refuse_sort(found, argv).and_then(|()| (found.run)(context, argv, reply))
    } else {
        (found.run)(context, argv, reply)
    };
    if let Err(left_out) = reply.end(outer)
        && result.is_ok()
    {
        result = Err(left_out);
    }
    let elapsed = timer.elapsed();
    if engine.is_monitored() {
        context.show_to_monitors(found, argv);
    }
    if let Some(blocked) = &mut context.session.blocked {
        (blocked.command, blocked.elapsed) = (found.id, elapsed);
        return result;
    }
    context.session.ended();
    let error = result.as_ref().err();
    let replied = error.map_or_else(|| reply.len() - start, |error| error.as_bytes().len() + ERROR_FRAME);
    count(engine, context.session, found, argv, elapsed, replied, error);
    // Whoever ends its own connection within EXEC gets no more than it had by then.
    #[cfg(debug_assertions)]
    let has_usual_reply = !context.session.has_sent_messages && !context.session.leaves_reply_out();
    #[cfg(debug_assertions)]
    if result.is_ok() && !context.session.quitting && has_usual_reply {
        super::shape::check(found.spec, &reply.as_bytes()[start..], reply.form());
    }
    result
}

/// Counts a command that has replied so many bytes, and shows it to the logs.
pub(super) fn count(
    engine: &Local,
    session: &SessionState,
    found: &Found,
    argv: &[&[u8]],
    elapsed: Duration,
    replied: usize,
    error: Option<&Error>,
) {
    let counters = session.counters(&engine.stats).of(found.id);
    counters.called(elapsed, engine.config.hot().latency_tracking());
    if let Some(error) = error {
        counters.failed();
        engine.stats.count_error(error);
    }
    engine.note_if_remarkable(found, argv, elapsed, replied, session);
}

/// The error of EXEC where another one keeps it from running.
pub(crate) fn discarded_because_of(error: &Error) -> Error {
    let reason = error.as_bytes().strip_prefix(b"ERR ").unwrap_or(error.as_bytes());
    Error::from_bytes(
        ErrorKind::ExecAborted,
        [b"EXECABORT Transaction discarded because of: ", reason].concat(),
    )
}

/// Bytes around the text of an error reply.
const ERROR_FRAME: usize = "-\r\n".len();

/// Runs a command that reads keys.
pub fn read<'a, C: Parse<'a> + Read>(
    context: &mut Context<'_, '_>,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
) -> Result<()> {
    let command: C = parse(context, argv)?;
    match context.reader() {
        None => context.with_db(&command, argv, |db| command.execute(db, reply)),
        Some(reader) => read_for(&reader, context, &command, argv, reply),
    }
}

/// [`read`] for a session that tracks.
#[cold]
#[inline(never)]
fn read_for<'a, C: Parse<'a> + Read>(
    reader: &Reader,
    context: &mut Context<'_, '_>,
    command: &C,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
) -> Result<()> {
    context.with_db(command, argv, |db| {
        let result = command.execute(db, reply);
        reader.has_read(db, |visit| command.each_key(&mut |key| visit(key.bytes())));
        result
    })
}

/// Runs a command that may change keys.
pub fn write<'a, C: Parse<'a> + Write>(
    context: &mut Context<'_, '_>,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
) -> Result<()> {
    let command: C = parse(context, argv)?;
    context.with_db(&command, argv, |db| command.execute(db, reply))
}

/// Runs a command about the session or the engine.
pub fn session<'a, C: Parse<'a> + Session>(
    context: &mut Context<'_, '_>,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
) -> Result<()> {
    let command: C = parse(context, argv)?;
    command.execute(context, reply)
}

/// Runs a container of subcommands without a subcommand: its arity has refused that already, unless it answers on its own.
pub fn container(_: &mut Context<'_, '_>, argv: &[&[u8]], _: &mut Reply) -> Result<()> {
    Err(Error::arity(&String::from_utf8_lossy(argv[0]).to_lowercase()))
}

pub(super) fn parse<'a, C: Parse<'a>>(context: &Context<'_, '_>, argv: &'a [&'a [u8]]) -> Result<C> {
    let (name, arguments) = argv.split_at(C::NAME_WORDS);
    let (seed, databases) = (context.engine.keyspace.seed, context.engine.config.hot().databases());
    C::parse(&mut Args::new(arguments, C::SPEC, seed, databases).named(name))
}

impl Context<'_, '_> {
    /// Waits while a script runs, before any lock is taken: whoever waited for the locks themselves would never look up.
    ///
    /// # Errors
    /// It has run for longer than others are to wait.
    #[inline]
    pub(crate) fn wait_for_script(&self) -> Result<()> {
        if self.engine.has_script() { self.wait_for_running_script() } else { Ok(()) }
    }

    #[cold]
    fn wait_for_running_script(&self) -> Result<()> {
        /// Whoever has seen so many scripts come and go waits for the locks like all others, lest more of them come first.
        const MOST_SCRIPTS: u32 = 8;
        let scripts = &self.engine.scripts;
        let (mut patience, mut changes, mut run) = (Patience::default(), 0, scripts.runs());
        while self.engine.has_script() {
            if self.engine.has_busy_script() {
                return Err(self.busy());
            }
            if std::mem::replace(&mut run, scripts.runs()) != run {
                changes += 1;
            }
            if changes > MOST_SCRIPTS {
                break;
            }
            patience.wait();
        }
        Ok(())
    }

    /// The error of those who come while a script runs for too long.
    #[cold]
    fn busy(&self) -> Error {
        let is_function = self.engine.scripts.runs_function(self.session.info.id).unwrap_or(false);
        let how = if is_function { "FUNCTION KILL" } else { "SCRIPT KILL" };
        let text =
            format!("BUSY Valkey is busy running a script. You can only call {how} or SHUTDOWN NOSAVE.");
        Error::new(ErrorKind::Busy, text)
    }
}

impl<'e> Context<'_, 'e> {
    /// EXEC that is refused itself ends its transaction.
    fn abort_if_exec(&mut self, argv: &[&[u8]], error: Error) -> Error {
        if !argv.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC")) {
            return error;
        }
        self.session.end_transaction();
        self.session.unwatch(&self.engine.keyspace);
        discarded_because_of(&error)
    }

    /// DEBUG is for whoever `enable-debug-command` names, as MODULE's loading is by `enable-module-command`: nobody, everybody, or clients of this machine.
    fn refuse_protected(&self, spec: &Spec) -> Result<()> {
        let (option, name) = match spec.name {
            "debug" => ("enable-debug-command", "DEBUG"),
            _ => ("enable-module-command", "MODULE"),
        };
        let allowed = match self.engine.config.text(option).as_deref() {
            Some(b"yes") => true,
            Some(b"local") => self.session.info.address.is_local(),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        Err(Error::command(format_args!(
            "{name} command not allowed. If the {option} option is set to \"local\", you can run it from a local \
             connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )))
    }

    /// Runs `run` on a session's database, with the shards of the command's keys locked. `argv` is what the log gets if it changes anything.
    pub(crate) fn with_db<'a, C: Parse<'a>>(
        &mut self,
        command: &C,
        argv: &[&[u8]],
        run: impl FnOnce(&mut Db<'_>) -> Result<()>,
    ) -> Result<()> {
        let index = self.session.db;
        self.with_locks(argv, |keyspace| locks_for(keyspace, index, command), |db| cover(db, command), run)
    }

    /// Runs `work` on the whole keyspace, with every shard locked. `argv` is what the log gets if it changes anything.
    pub(crate) fn with_keyspace<R>(
        &mut self,
        argv: &[&[u8]],
        work: impl FnOnce(&mut Db<'_>) -> Result<R>,
    ) -> Result<R> {
        self.with_locks(argv, |keyspace| Locks::all(keyspace), |db| db.cover_all(), work)
    }

    /// Runs `work` under the locks of the running transaction, which `cover` has taken if they are not all yet, or else under those that `lock` takes.
    fn with_locks<R>(
        &mut self,
        argv: &[&[u8]],
        lock: impl for<'k> FnOnce(&'k Keyspace) -> Locks<'k>,
        cover: impl FnOnce(&mut Db<'_>),
        work: impl FnOnce(&mut Db<'_>) -> Result<R>,
    ) -> Result<R> {
        let index = self.session.db;
        if let Some(Locked { db, effects, .. }) = &mut self.transaction {
            db.select(index);
            cover(db);
            let result = db.brace(argv).and_then(|()| work(db));
            db.settle(index, argv, effects);
            return result;
        }
        self.wait_for_script()?;
        let keyspace = &self.engine.keyspace;
        let mut db = Db::new(keyspace, self.session.origin(), lock(keyspace));
        self.session.instruct(&mut db);
        let result = db.brace(argv).and_then(|()| work(&mut db));
        let mut effects = Group::default();
        db.settle(index, argv, &mut effects);
        let released = release(db, &effects);
        effects.recycle();
        released.and(result)
    }
}

/// Appends effects to the log, ends the work, and waits for the log if that has to be.
///
/// # Errors
/// The log cannot keep the effects. The changes stand.
pub(crate) fn release(db: Db<'_>, effects: &Group) -> Result<()> {
    let appended = db.keyspace().hooks.append(effects);
    db.release();
    appended?.map_or(Ok(()), Appended::wait)
}

fn locks_for<'e, 'a, C: Parse<'a>>(keyspace: &'e Keyspace, db: usize, command: &C) -> Locks<'e> {
    if C::SPEC.whole_keyspace {
        return Locks::all(keyspace);
    }
    let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
    command.each_key(&mut |key| hashes.push(key.hash()));
    if C::SPEC.flags.contains(Flags::WRITE) {
        Locks::with_waiters(keyspace, db, &hashes)
    } else {
        Locks::of(keyspace, db, &hashes)
    }
}

/// Sees to it that the shards of a command are locked: a script has locked those of the keys that it declared.
fn cover<'a, C: Parse<'a>>(db: &mut Db<'_>, command: &C) {
    match C::SPEC.whole_keyspace {
        true => db.cover_all(),
        false => db.cover(|visit| command.each_key(&mut |key| visit(key))),
    }
}

/// Whether running the command means locking every shard.
pub(crate) fn needs_every_shard(spec: &Spec) -> bool {
    spec.whole_keyspace
}
