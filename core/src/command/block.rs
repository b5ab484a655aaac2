//! Commands that may have to wait: what they do, what is kept of them meanwhile, and what they reply in the end.
//!
//! How waiters queue, and when they are served, is [`crate::keyspace::waiting`]'s affair. A command is attempted anew each time, with the words it
//! came with, so there is one way to do it. What waits for no key, as WAIT, is never served: its time passes, or somebody unblocks it.

use std::time::Duration;

use smallvec::SmallVec;

use super::permit::Permit;
use super::reply::Form;
use super::run::{self, Context, Found};
use super::spec::Flags;
use super::tracking::Reader;
use super::{Args, Parse, Reply};
use crate::alloc;
use crate::clients::{Blocked, Blocking, ClientInfo, Ending, Late, SessionState};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::waiting::{Serve, Waiter};
use crate::keyspace::{Db, Group, Key, Keyspace};
use crate::local::Local;
use crate::num::{self, LongDouble};
use crate::persist;
use crate::sync::{Arc, Mutex};

/// Whether a command has replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The reply is written.
    Replied,
    /// The session waits: the reply comes later.
    Blocked,
}

/// What an attempt at a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is done, and its reply is written.
    Done,
    /// It has to wait: nothing was changed, nothing written.
    Wait,
}

/// A command that waits for keys where it finds nothing.
pub trait Block {
    /// The type that it waits for, as TYPE calls it: it is attempted anew when an awaited key has a value of that type, and an error then is its reply.
    /// `None`: any type, and one that it cannot use is no error for who waits already.
    const AWAITED: Option<&'static str> = None;

    /// Whether it is attempted anew as well when an awaited key is gone, or has a value of another type.
    const AWAITS_LOSS: bool = false;

    /// Does it, if it can. The shards of its keys are locked. Run again whenever one of the awaited keys was changed, perhaps by a thread of another
    /// session. Effects that repeating its words would not have are put into the log by [`Db::propagate`]. What only the reply has from then on can be
    /// put back by [`Db::can_undo`].
    ///
    /// # Errors
    /// The error reply; it must come before any change.
    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt>;

    /// How long it waits at most; for ever, if `None`.
    fn patience(&self) -> Option<Duration>;

    /// Writes the reply of a wait that was in vain.
    fn give_up(&self, reply: &mut Reply) {
        reply.null_array();
    }

    /// Writes the reply of one that a transaction does not let begin.
    fn decline(&self, reply: &mut Reply) {
        self.give_up(reply);
    }

    /// Puts other words in the place of those that would mean something else when it is attempted anew. `words`: all of them, the command's name included.
    ///
    /// # Errors
    /// The system has no memory.
    fn settle_words(&self, _: &Db<'_>, _words: &mut [Box<[u8]>]) -> Result<()> {
        Ok(())
    }

    /// Calls `visit` for each key that it waits for. The shards of its other keys are locked as well when it is attempted.
    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8]));
}

/// Milliseconds of a time are an `i64` for the server, and so is the end of the wait: this is some three centuries less.
const MOST_MS: i64 = 9_223_362_000_000_000_000;

/// A time to wait in milliseconds, as commands on streams take it; 0 is for ever (`None`).
///
/// # Errors
/// No integer, a negative one, or one that is too large.
pub(crate) fn patience_of_milliseconds(text: &[u8]) -> Result<Option<Duration>> {
    let wrong = || Error::command("timeout is not an integer or out of range");
    match num::parse_i64(text).ok_or_else(wrong)? {
        ..0 => Err(Error::command("timeout is negative")),
        milliseconds if milliseconds > MOST_MS => Err(Error::command("timeout is out of range")),
        0 => Ok(None),
        milliseconds => Ok(Some(Duration::from_millis(milliseconds as u64))),
    }
}

/// A time to wait in seconds, as blocking commands take it; 0 is for ever (`None`).
///
/// # Errors
/// No number, a negative one, or one that is too large.
pub(crate) fn patience_of_seconds(text: &[u8]) -> Result<Option<Duration>> {
    const MOST: f64 = MOST_MS as f64;
    let seconds = LongDouble::parse(text);
    let seconds = seconds.ok_or_else(|| Error::command("timeout is not a float or out of range"))?;
    match (seconds.to_f64() * 1000.0).ceil() {
        milliseconds if milliseconds < 0.0 => Err(Error::command("timeout is negative")),
        milliseconds if milliseconds > MOST => Err(Error::command("timeout is out of range")),
        0.0 => Ok(None),
        milliseconds => Ok(Some(Duration::from_millis(milliseconds as u64))),
    }
}

/// Attempts a command anew; the derive knows how, since it takes the struct for any lifetime.
pub type Again = for<'d, 'e, 'a> fn(&'d mut Db<'e>, &'a [&'a [u8]], &'d mut Reply) -> Result<Attempt>;

/// [`Again`] of a command.
///
/// # Errors
/// Those of [`Block::attempt`].
pub fn again<'a, C: Parse<'a> + Block>(
    db: &mut Db<'_>,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
) -> Result<Attempt> {
    let (name, arguments) = argv.split_at(C::NAME_WORDS);
    let (seed, databases) = (db.keyspace().seed, db.keyspace().config.hot().databases());
    let command = C::parse(&mut Args::new(arguments, C::SPEC, seed, databases).named(name))?;
    command.attempt(db, reply)
}

/// Runs a command that may have to wait for keys.
///
/// # Errors
/// Those of the command.
pub fn block<'a, C: Parse<'a> + Block>(
    context: &mut Context<'_, '_>,
    argv: &'a [&'a [u8]],
    reply: &mut Reply,
    again: Again,
) -> Result<()> {
    let command: C = run::parse(context, argv)?;
    let may_wait = context.transaction.is_none();
    let is_read = !C::SPEC.flags.contains(Flags::WRITE);
    let reader = context.reader().filter(|_| is_read);
    let keyspace = &context.engine.keyspace;
    let deadline_ms = deadline_of(keyspace, command.patience());
    let (origin, info) = (context.session.origin(), context.session.info.clone());
    let mut pending = Pending::new(keyspace, info, deadline_ms, reply);
    command.give_up(&mut pending.given_up);
    let permit = Permit::of(context.engine, &pending.info, C::SPEC);
    let mut blocked = None;
    context.with_db(&command, argv, |db| {
        let attempt = command.attempt(db, reply);
        if let Some(reader) = &reader {
            reader.has_read(db, |visit| command.each_key(&mut |key| visit(key.bytes())));
        }
        if attempt? == Attempt::Done {
            return Ok(());
        }
        if !may_wait {
            command.decline(reply);
            return Ok(());
        }
        let mut keys = Vec::new();
        let mut copied = Ok(());
        command.each_awaited(&mut |key| match alloc::boxed(key) {
            Ok(key) => keys.push(key),
            Err(error) => copied = Err(error),
        });
        copied?;
        let mut hashes: SmallVec<[u64; 8]> = SmallVec::new();
        command.each_key(&mut |key: &Key<'_>| hashes.push(key.hash()));
        let mut read = Vec::new();
        if reader.is_some() {
            command.each_key(&mut |key: &Key<'_>| read.push(key.bytes().into()));
        }
        let words = owned(argv)?;
        let mut settled = owned(argv)?;
        command.settle_words(db, &mut settled)?;
        pending.retry = Some(Retry {
            words: settled,
            again,
            awaited: C::AWAITED,
            awaits_loss: C::AWAITS_LOSS,
            reader,
            keys: read,
            permit,
        });
        let pending = Arc::new(pending);
        let waiter = Waiter::new(&db.keyspace().arrivals, origin, keys, hashes, pending.clone());
        let wait = Arc::new(Wait { waiter: waiter.clone(), pending });
        // Before anybody can serve it, so that nobody who does finds it missing.
        wait.pending.info.set_blocking(Some(wait.clone()));
        db.enqueue(&waiter);
        blocked = Some((wait, words));
        Ok(())
    })?;
    if let Some((wait, words)) = blocked {
        context.session.block(of_session(wait.clone(), words));
        end_if_closed(context.engine, &*wait);
    }
    Ok(())
}

/// Ends a wait that began when an engine has ended. Whoever ends one ends all that have begun, after it has said so.
fn end_if_closed(engine: &Local, wait: &dyn Blocking) {
    if engine.persistence.is_closed() && wait.leave(&engine.keyspace, None) {
        wait.end(Ending::Closed);
    }
}

/// Ends all waits of an engine that has ended.
pub(crate) fn end_all(engine: &Local) {
    for wait in engine.clients.all().iter().filter_map(|client| client.blocking()) {
        end_if_closed(engine, &*wait);
    }
}

impl Context<'_, '_> {
    /// Has the session wait for so long, or for ever, and reply then what `give_up` writes; for nobody serves it. Says whether it does: a transaction
    /// lets nothing wait.
    ///
    /// # Errors
    /// The system has no memory.
    pub(crate) fn wait_for_nobody(
        &mut self,
        argv: &[&[u8]],
        patience: Option<Duration>,
        reply: &Reply,
        give_up: impl FnOnce(&mut Reply),
    ) -> Result<bool> {
        if self.transaction.is_some() {
            return Ok(false);
        }
        let words = owned(argv)?;
        let keyspace = &self.engine.keyspace;
        let info = self.session.info.clone();
        let mut pending = Pending::new(keyspace, info, deadline_of(keyspace, patience), reply);
        give_up(&mut pending.given_up);
        let pending = Arc::new(pending);
        let waiter = Waiter::new(&keyspace.arrivals, self.session.origin(), [], [], pending.clone());
        let wait = Arc::new(Wait { waiter, pending });
        wait.pending.info.set_blocking(Some(wait.clone()));
        self.session.block(of_session(wait.clone(), words));
        end_if_closed(self.engine, &*wait);
        Ok(true)
    }

    /// Has the session wait until a time, in unix milliseconds, and begin the command anew then.
    ///
    /// # Errors
    /// The system has no memory.
    pub(super) fn postpone(&mut self, argv: &[&[u8]], until_ms: u64, reply: &Reply) -> Result<()> {
        let words = owned(argv)?;
        let keyspace = &self.engine.keyspace;
        let info = self.session.info.clone();
        let mut pending = Pending::new(keyspace, info, Some(until_ms), reply);
        pending.is_postponed = true;
        let pending = Arc::new(pending);
        let waiter = Waiter::new(&keyspace.arrivals, self.session.origin(), [], [], pending.clone());
        let wait = Arc::new(Wait { waiter, pending });
        wait.pending.info.set_blocking(Some(wait.clone()));
        self.session.block(of_session(wait.clone(), words));
        end_if_closed(self.engine, &*wait);
        Ok(())
    }

    /// Ends the wait of a client, if it waits for anything; says whether it did. Waits of a process that forked this one are not ended.
    pub(crate) fn unblock(&mut self, client: &ClientInfo, how: Ending) -> bool {
        // Who waits for the end of a pause is let go with it alone, or with its connection.
        let is_let_go = |wait: &Arc<dyn Blocking>| how == Ending::Gone || !wait.is_postponed();
        let Some(blocking) = client.blocking().filter(is_let_go) else { return false };
        let keyspace = &self.engine.keyspace;
        let Some(locked) = &mut self.transaction else {
            let was_on = blocking.leave(keyspace, None);
            if was_on {
                blocking.end(how);
            }
            return was_on;
        };
        // Nobody may be woken under a lock.
        locked.db.cover_all();
        let was_on = blocking.leave(keyspace, Some(locked.db.locks_mut()));
        if was_on {
            locked.db.after_unlock(Box::new(move || blocking.end(how)));
        }
        was_on
    }
}

fn deadline_of(keyspace: &Keyspace, patience: Option<Duration>) -> Option<u64> {
    let patience_ms = u64::try_from(patience?.as_millis()).unwrap_or(u64::MAX);
    Some(keyspace.clock.now_ms().saturating_add(patience_ms))
}

/// Words that outlive their caller.
///
/// # Errors
/// The system has no memory.
pub(super) fn owned(argv: &[&[u8]]) -> Result<Box<[Box<[u8]>]>> {
    let mut words = alloc::with_room_for(argv.len())?;
    for word in argv {
        words.push(alloc::boxed(word)?);
    }
    Ok(words.into())
}

/// What the session keeps. Which command it is, and how long it ran, is filled in by who runs it.
pub(super) fn of_session(wait: Arc<dyn Blocking>, words: Box<[Box<[u8]>]>) -> Blocked {
    Blocked { wait, command: 0, words, elapsed: Duration::ZERO, is_coming: false }
}

/// A reply of this form that is not the session's.
pub(super) fn sink(form: Form, resp3: bool) -> Reply {
    let mut reply = Reply::new(form);
    reply.set_resp3(resp3);
    reply
}

/// A command that waits, and its waiter.
struct Wait {
    waiter: Arc<Waiter>,
    pending: Arc<Pending>,
}

/// What is kept of a command that waits.
struct Pending {
    /// Tells it from all other waits.
    number: u64,
    info: Arc<ClientInfo>,
    deadline_ms: Option<u64>,
    /// It has not begun, and does when the wait ends.
    is_postponed: bool,
    form: Form,
    resp3: bool,
    /// The reply if it is not served.
    given_up: Reply,
    /// How it is attempted anew, if it waits for keys.
    retry: Option<Retry>,
    /// The reply from when it is served to when nothing is locked any more.
    kept: Mutex<Option<Late>>,
}

struct Retry {
    words: Box<[Box<[u8]>]>,
    again: Again,
    awaited: Option<&'static str>,
    awaits_loss: bool,
    /// Who writes down what is read, and the keys.
    reader: Option<Reader>,
    keys: Vec<Box<[u8]>>,
    permit: Permit,
}

impl Pending {
    /// One that replies as `reply` does.
    fn new(keyspace: &Keyspace, info: Arc<ClientInfo>, deadline_ms: Option<u64>, reply: &Reply) -> Self {
        let (form, resp3) = (reply.form(), reply.resp3());
        let (given_up, number) = (sink(form, resp3), keyspace.arrivals.number());
        let (retry, kept, is_postponed) = (None, Mutex::default(), false);
        Self { number, info, deadline_ms, is_postponed, form, resp3, given_up, retry, kept }
    }

    fn failed(&self, error: Error) -> Late {
        let mut reply = sink(self.form, self.resp3);
        reply.error(&error);
        Late { bytes: reply.as_bytes().to_vec(), error: Some(error), ..Late::default() }
    }

    /// Hands the reply over, unless nobody wants it any more: then it comes back.
    fn deliver(&self, late: Late) -> Option<Late> {
        self.info.end_blocking(self.number);
        self.info.outbox.deliver(self.number, late)
    }
}

impl Serve for Pending {
    fn awaits(&self, type_name: Option<&str>) -> bool {
        let Some(retry) = &self.retry else { return type_name.is_some() };
        retry.awaits_loss || type_name.is_some_and(|name| retry.awaited.is_none_or(|awaited| awaited == name))
    }

    fn serve(&self, db: &mut Db<'_>, effects: &mut Group) -> bool {
        let Some(Retry { words, again, awaited, reader, keys, permit, .. }) = &self.retry else {
            return false;
        };
        let argv: SmallVec<[&[u8]; 8]> = words.iter().map(|word| &**word).collect();
        if let Err(error) = permit.check(&self.info, &argv, db.index()) {
            *self.kept.lock() = Some(self.failed(error));
            return true;
        }
        let mut reply = sink(self.form, self.resp3);
        let outer = reply.begin(db.keyspace().config.hot().max_reply_bytes());
        let index = db.index();
        let attempt = db.brace(&argv).and_then(|()| again(db, &argv, &mut reply));
        if let Some(reader) = reader {
            reader.has_read(db, |visit| keys.iter().for_each(|key| visit(key)));
        }
        db.settle(index, &argv, effects);
        let attempt = reply.end(outer).and(attempt);
        reply.close_all();
        let undo = db.take_undo();
        let late = match attempt {
            Ok(Attempt::Wait) => return false,
            Err(error) if error.kind() == ErrorKind::WrongType && awaited.is_none() => return false,
            Ok(Attempt::Done) => Late { bytes: reply.as_bytes().to_vec(), undo, ..Late::default() },
            Err(error) => self.failed(error),
        };
        *self.kept.lock() = Some(late);
        true
    }

    fn served(&self, keyspace: &Keyspace, logged: Result<()>) {
        let kept = self.kept.lock().take().unwrap_or_default();
        let refused = self.deliver(match logged {
            Ok(()) => kept,
            Err(error) => self.failed(error),
        });
        if let Some(undo) = refused.and_then(|late| late.undo) {
            undo.run(keyspace);
        }
    }
}

impl Blocking for Wait {
    fn leave(&self, keyspace: &Keyspace, held: Option<&mut Locks<'_>>) -> bool {
        self.waiter.leave(keyspace, held)
    }

    fn end(&self, how: Ending) {
        // Nothing was done: if nobody wants the reply, there is nothing to put back.
        match how {
            Ending::TimedOut if self.pending.is_postponed => {
                drop(self.pending.deliver(Late { is_postponed: true, ..Late::default() }));
            }
            Ending::TimedOut => {
                let bytes = self.pending.given_up.as_bytes().to_vec();
                drop(self.pending.deliver(Late { bytes, ..Late::default() }));
            }
            Ending::Unblocked => {
                let text = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
                let late = self.pending.failed(Error::new(ErrorKind::Command, text));
                drop(self.pending.deliver(Late { is_unblocked: true, ..late }));
            }
            Ending::Closed => drop(self.pending.deliver(self.pending.failed(persist::closed()))),
            Ending::Gone => self.pending.info.end_blocking(self.pending.number),
        }
    }

    fn refuse(&self, keyspace: &Keyspace) {
        self.pending.info.end_blocking(self.pending.number);
        let late = self.pending.info.outbox.refuse(self.pending.number);
        if let Some(undo) = late.and_then(|late| late.undo) {
            undo.run(keyspace);
        }
    }

    fn awaits_keys(&self) -> bool {
        self.pending.retry.is_some() || self.pending.is_postponed
    }

    fn is_postponed(&self) -> bool {
        self.pending.is_postponed
    }

    fn number(&self) -> u64 {
        self.pending.number
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.pending.deadline_ms
    }

    fn is_here(&self) -> bool {
        self.waiter.is_here()
    }
}

/// Counts a command that had to wait, now that its reply has come, and appends the reply.
pub(crate) fn finish(
    engine: &Local,
    session: &SessionState,
    blocked: &Blocked,
    found: &Found,
    late: &Late,
    reply: &mut Reply,
) {
    let argv: SmallVec<[&[u8]; 8]> = blocked.words.iter().map(|word| &**word).collect();
    #[cfg(debug_assertions)]
    if late.error.is_none() {
        super::shape::check(found.spec, &late.bytes, reply.form());
    }
    reply.append(&late.bytes);
    session.ended();
    if late.is_unblocked {
        abandoned(engine, session, blocked);
        session.counters(&engine.stats).of(found.id).rejected();
        late.error.iter().for_each(|error| engine.stats.count_error(error));
        return;
    }
    run::count(engine, session, found, &argv, blocked.elapsed, late.bytes.len(), late.error.as_ref());
}

/// Counts a command that had to wait and has no reply of its own.
pub(crate) fn abandoned(engine: &Local, session: &SessionState, blocked: &Blocked) {
    let counters = session.counters(&engine.stats).of(blocked.command);
    counters.called(blocked.elapsed, engine.config.hot().latency_tracking());
}
