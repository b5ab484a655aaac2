//! A session: the state of one client of the engine, in process or behind a socket.
//!
//! It knows its database, protocol, transaction and watched keys. What commands do with keys is not its affair.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Engine;
use crate::backend::{Backend, Connection};
use crate::clients::{ClientAddress, Link, SessionState};
use crate::command::{Form, Outcome, Reply, keys, run};
use crate::commands::table;
use crate::keyspace::read::prefetch;
use crate::local::Local;
use crate::sync::Arc;
use crate::typed::{Typed, hot};

/// One client's view of an [`Engine`]: executes commands one after the other and remembers SELECT, MULTI, WATCH, HELLO and CLIENT.
///
/// Sessions are cheap; give each thread its own.
pub struct Session {
    pub(super) client: Client,
    /// The client that it has elsewhere, if the engine is there.
    pub(super) connection: Option<Box<dyn Connection>>,
    pub(super) reply: Reply,
    /// When it is woken though nothing has come, unix milliseconds.
    pub(super) alarm: Option<u64>,
}

/// A session without its replies.
pub(super) struct Client {
    pub(super) engine: Engine,
    pub(super) state: SessionState,
}

impl Typed for Client {
    #[inline(always)]
    fn local(&self) -> &Arc<Local> {
        &self.engine.inner
    }

    #[inline(always)]
    fn db(&self) -> usize {
        self.state.db
    }

    #[inline(always)]
    fn client(&self) -> u64 {
        self.state.info.id
    }

    #[inline(always)]
    fn backend(&self) -> Option<&dyn Backend> {
        self.engine.backend()
    }
}

impl hot::InSession for Client {
    #[inline(always)]
    fn state(&self) -> &SessionState {
        &self.state
    }
}

impl Session {
    pub(crate) fn new(engine: Engine, form: Form, address: ClientAddress, link: Option<Arc<Link>>) -> Self {
        engine.inner.ensure_background();
        let now_ms = engine.inner.keyspace.clock.coarse_ms();
        let default = engine.inner.users.default_user();
        let info = engine.inner.clients.register(default, address, link, form == Form::Tape, now_ms);
        engine.inner.begin_as_default(&info);
        let state = SessionState::new(info);
        let connection = engine.backend().map(Backend::connect);
        Self { client: Client { engine, state }, connection, reply: Reply::new(form), alarm: None }
    }

    /// Executes one command and returns the reply, in the form that the session was opened with. A command that has to wait keeps the calling
    /// thread waiting; [`Session::begin`] does not.
    ///
    /// Errors are replies too: `-ERR ...` in RESP, an error item on a tape.
    #[inline]
    pub fn execute(&mut self, argv: &[&[u8]]) -> &[u8] {
        self.reply.clear();
        self.execute_pipelined(argv);
        self.reply.as_bytes()
    }

    /// Executes one command, as [`Session::execute`] does, and appends its reply to those that [`Session::replies`] shows.
    #[inline]
    pub fn execute_pipelined(&mut self, argv: &[&[u8]]) {
        if self.run(argv) == Outcome::Blocked {
            self.wait(None);
        }
    }

    /// Executes commands in turn and appends their replies, as [`Session::execute_pipelined`] does, but has the memory of the keys of several of
    /// them fetched at once.
    pub fn execute_all<'w, C: AsRef<[&'w [u8]]>>(&mut self, commands: &[C]) {
        let mut rest = commands;
        while !rest.is_empty() {
            rest = &rest[self.begin_all(rest)..];
            self.wait(None);
        }
    }

    pub(super) fn prefetch<'w, C: AsRef<[&'w [u8]]>>(&self, commands: &[C]) {
        let keyspace = &self.client.engine.inner.keyspace;
        if commands.len() < 2 || !keyspace.is_worth_fetching() {
            return;
        }
        let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
        for argv in commands.iter().map(AsRef::as_ref) {
            if let Ok(found) = table::resolve(argv) {
                keys::each_position(found.spec, argv, |position, _| {
                    hashes.push(keyspace.seed.hash(argv[position]));
                });
            }
        }
        prefetch(keyspace, self.client.state.db, &hashes, |hash| *hash);
    }

    #[inline(always)]
    pub(super) fn run(&mut self, argv: &[&[u8]]) -> Outcome {
        if hot::execute(&self.client, argv, &mut self.reply) {
            return Outcome::Replied;
        }
        self.run_any(argv)
    }

    #[inline(never)]
    fn run_any(&mut self, argv: &[&[u8]]) -> Outcome {
        if let Some(connection) = &mut self.connection {
            connection.execute(argv, &mut self.reply);
            return Outcome::Replied;
        }
        if self.is_blocked() {
            return self.refuse_while_blocked();
        }
        let inner = &self.client.engine.inner;
        inner.ensure_background();
        self.client.state.info.last_seen_ms.store(inner.keyspace.clock.coarse_ms(), Ordering::Relaxed);
        if inner.has_renames() {
            return self.run_renamed(argv);
        }
        run::execute(
            &self.client.engine.inner,
            &mut self.client.state,
            table::resolve(argv),
            argv,
            &mut self.reply,
        )
    }

    /// Runs a command of an engine where some have other names.
    #[cold]
    #[inline(never)]
    fn run_renamed(&mut self, argv: &[&[u8]]) -> Outcome {
        let Client { engine, state } = &mut self.client;
        let words = engine.inner.own_words(argv);
        let (resolved, words) = match &words {
            Some(words) => (table::resolve(words), &words[..]),
            None => (Err(table::unresolved(argv)), argv),
        };
        run::execute(&engine.inner, state, resolved, words, &mut self.reply)
    }

    /// The replies since the last [`Session::clear_replies`].
    pub fn replies(&self) -> &[u8] {
        self.reply.as_bytes()
    }

    /// Forgets the replies that were read.
    pub fn clear_replies(&mut self) {
        self.reply.clear();
    }

    /// Counts bytes that a listener has received for the session.
    #[cfg(feature = "listener")]
    pub(crate) fn received(&self, bytes: usize) {
        let Client { engine, state } = &self.client;
        engine.inner.network.received(bytes);
        state.info.input.fetch_add(bytes as u64, Ordering::Relaxed);
        state.info.busy.store(true, Ordering::Relaxed);
        self.seen();
    }

    /// Counts bytes that a listener is about to send.
    #[cfg(feature = "listener")]
    pub(crate) fn sending(&self, bytes: usize) {
        let Client { engine, state } = &self.client;
        engine.inner.network.sent(bytes);
        state.info.output.fetch_add(bytes as u64, Ordering::Relaxed);
        state.info.busy.store(false, Ordering::Relaxed);
        self.seen();
    }

    /// Notes that the client has taken or sent something just now.
    #[cfg(feature = "listener")]
    pub(crate) fn seen(&self) {
        let now_ms = self.client.engine.inner.keyspace.clock.late_ms();
        self.client.state.info.last_seen_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Bytes of the commands that wait for EXEC.
    #[cfg(feature = "listener")]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.client.state.transaction.as_ref().map_or(0, |transaction| transaction.bytes())
    }

    /// Whether the client may execute more than AUTH.
    #[cfg(feature = "listener")]
    pub(crate) fn is_authenticated(&self) -> bool {
        let Client { engine, state } = &self.client;
        state.is_authenticated() || self.connection.is_some() || engine.inner.users.default_is_open()
    }

    /// Acts as the user of this name, who has shown a certificate. False if there is no such user, or it is off.
    #[cfg(feature = "listener")]
    pub(crate) fn act_as(&mut self, name: &[u8]) -> bool {
        let Client { engine, state } = &mut self.client;
        let is_one = engine.inner.identify(&state.info, name);
        state.adopt_standing(state.info.standing());
        is_one
    }

    /// Its connection, if it has one.
    #[cfg(feature = "listener")]
    pub(crate) fn link(&self) -> Option<&Link> {
        self.client.state.info.link.as_deref()
    }

    /// Whether it is subscribed to anything.
    #[cfg(feature = "listener")]
    pub(crate) fn is_subscribed(&self) -> bool {
        self.client.state.info.subscribed.is_any()
    }

    /// Bytes of messages that wait for it.
    #[cfg(feature = "listener")]
    pub(crate) fn message_bytes(&self) -> usize {
        if self.is_pushed_to() { self.client.state.info.outbox.bytes() } else { 0 }
    }

    /// Where its client is.
    #[cfg(feature = "listener")]
    pub(crate) fn peer(&self) -> String {
        self.client.state.info.address.peer().into_owned()
    }

    /// The sink, for what a listener writes itself, such as protocol errors.
    #[doc(hidden)]
    pub fn reply(&mut self) -> &mut Reply {
        &mut self.reply
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.client.engine
    }

    /// The database that SELECT chose.
    pub fn db(&self) -> usize {
        self.connection.as_ref().map_or(self.client.state.db, |connection| connection.db())
    }

    /// Ends what one of several users of the session has left behind, an open transaction and watched keys, and goes to a database: as DISCARD,
    /// UNWATCH and SELECT would; CLIENT REPLY is ON again. O(watched keys).
    #[inline]
    pub fn clean(&mut self, db: usize) {
        if let Some(connection) = &mut self.connection {
            connection.clean(db);
            return;
        }
        let Client { engine, state } = &mut self.client;
        if !state.is_plain() || !state.watched.is_empty() {
            state.end_transaction();
            state.unwatch(&engine.inner.keyspace);
            state.set_replies(true);
        }
        state.select(db);
    }

    /// The session's number, as CLIENT ID tells it.
    pub fn id(&self) -> u64 {
        self.client.state.info.id
    }

    /// Whether the client's connection is to be ended: QUIT was executed, or CLIENT KILL for it.
    pub fn is_quitting(&self) -> bool {
        self.client.state.quitting
            || self.client.state.info.is_cut()
            || self.connection.as_ref().is_some_and(|connection| connection.is_quitting())
    }

    /// Whether the session speaks RESP3.
    pub fn resp3(&self) -> bool {
        self.reply.resp3()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abandon();
        self.client.engine.inner.set_monitor(&self.client.state.info, false);
        self.client.engine.inner.clone().stop_tracking(&mut self.client.state);
        self.client.state.unsubscribe_all(&self.client.engine.inner.clients.channels);
        self.client.state.unwatch(&self.client.engine.inner.keyspace);
        self.client.engine.inner.clients.forget(self.client.state.info.id);
        self.client.engine.inner.forget_standing(&self.client.state.info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;

    #[test]
    fn commands_that_are_executed_together_reply_as_one_by_one() {
        let engine = Engine::new();
        let db = engine.database(0).unwrap();
        let mut session = engine.session(Form::Resp);
        let commands: [&[&[u8]]; 12] = [
            &[b"SET", b"a", b"1"],
            &[b"GET", b"key:7"],
            &[b"MGET", b"a", b"key:8", b"none"],
            &[b"EXISTS", b"a", b"a", b"none"],
            &[],
            &[b"NONSENSE", b"a"],
            &[b"GET"],
            &[b"OBJECT", b"ENCODING", b"a"],
            &[b"SORT", b"none", b"STORE"],
            &[b"DEL", b"a", b"none"],
            &[b"PING"],
            &[b"GET", b"a"],
        ];
        let mut one_by_one = Vec::new();
        commands.iter().for_each(|argv| one_by_one.extend_from_slice(session.execute(argv)));
        // With nothing but misses, and then with enough keys for their memory to be worth fetching.
        for keys in [0, 30_000] {
            for number in 0..keys {
                db.set(format!("key:{number}"), [b'v'; 100]).unwrap();
            }
            assert_eq!(engine.inner.keyspace.is_worth_fetching(), keys > 0);
            db.delete_many(&["key:7", "key:8"]).unwrap();
            session.clear_replies();
            session.execute_all(&commands);
            assert_eq!(session.replies(), one_by_one);
            session.clear_replies();
        }
        let alone: [&[&[u8]]; 1] = [&[b"GET", b"key:9"]];
        session.execute_all(&alone);
        assert_eq!(session.replies(), [b"$100\r\n".as_slice(), &[b'v'; 100], b"\r\n"].concat());
    }
}
