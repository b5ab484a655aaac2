//! A session: the state of one client of the engine, in process or behind a socket.
//!
//! It knows its database, protocol, transaction and watched keys. What commands do with keys is not its affair.

use std::net::TcpStream;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::clients::ClientInfo;
use crate::command::spec::Spec;
use crate::command::table::{self, Found};
use crate::command::{Form, Reply, keys, run};
use crate::config::Config;
use crate::engine::Engine;
use crate::keyspace::read::{BATCH, prefetch};
use crate::keyspace::{Key, Keyspace};
use crate::sync::Arc;

/// One client's view of an [`Engine`]: executes commands one after the other and remembers SELECT, MULTI, WATCH, HELLO and CLIENT.
///
/// Sessions are cheap; give each thread its own.
pub struct Session {
    engine: Engine,
    state: State,
    reply: Reply,
}

/// What commands can see and change of a session.
pub(crate) struct State {
    pub(crate) db: usize,
    pub(crate) authenticated: bool,
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watched: Vec<Watched>,
    /// The client asked to end (QUIT).
    pub(crate) quitting: bool,
}

/// Commands between MULTI and EXEC.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Vec<Queued>,
    /// A command could not be queued: EXEC will refuse.
    pub(crate) poisoned: bool,
    /// Bytes of the words in the queue.
    bytes: usize,
}

/// A command waiting for EXEC.
pub(crate) struct Queued {
    pub(crate) found: Found,
    pub(crate) argv: Vec<Box<[u8]>>,
}

/// A key under WATCH.
pub(crate) struct Watched {
    pub(crate) db: usize,
    pub(crate) key: Box<[u8]>,
}

impl Session {
    pub(crate) fn new(
        engine: Engine,
        form: Form,
        address: ClientAddress,
        socket: Option<Arc<TcpStream>>,
    ) -> Self {
        engine.inner.ensure_background();
        let now_ms = engine.inner.keyspace.clock.coarse_ms();
        let info = engine.inner.clients.register(address, socket, now_ms);
        let authenticated = !requires_password(&engine.inner.config);
        let state =
            State { db: 0, authenticated, info, transaction: None, watched: Vec::new(), quitting: false };
        Self { engine, state, reply: Reply::new(form) }
    }

    /// Executes one command and returns the reply, in the form that the session was opened with.
    ///
    /// Errors are replies too: `-ERR ...` in RESP, an error item on a tape.
    pub fn execute(&mut self, argv: &[&[u8]]) -> &[u8] {
        self.reply.clear();
        self.run(argv);
        self.reply.as_bytes()
    }

    /// Executes one command and appends its reply to those that [`Session::replies`] shows.
    pub fn execute_pipelined(&mut self, argv: &[&[u8]]) {
        self.run(argv);
    }

    /// Executes commands in turn and appends their replies, as [`Session::execute_pipelined`] does, but has the memory of the keys of several of
    /// them fetched at once.
    pub fn execute_all<'w, C: AsRef<[&'w [u8]]>>(&mut self, commands: &[C]) {
        for batch in commands.chunks(BATCH) {
            self.prefetch(batch);
            batch.iter().for_each(|argv| self.run(argv.as_ref()));
        }
    }

    fn prefetch<'w, C: AsRef<[&'w [u8]]>>(&self, commands: &[C]) {
        let keyspace = &self.engine.inner.keyspace;
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
        prefetch(keyspace, self.state.db, &hashes, |hash| *hash);
    }

    fn run(&mut self, argv: &[&[u8]]) {
        let inner = &self.engine.inner;
        inner.ensure_background();
        self.state.info.last_seen_ms.store(inner.keyspace.clock.coarse_ms(), Ordering::Relaxed);
        run::execute(&self.engine.inner, &mut self.state, argv, &mut self.reply);
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
        self.engine.inner.network.received(bytes);
        self.state.info.input.fetch_add(bytes as u64, Ordering::Relaxed);
        self.state.info.busy.store(true, Ordering::Relaxed);
        self.seen();
    }

    /// Counts bytes that a listener is about to send.
    #[cfg(feature = "listener")]
    pub(crate) fn sending(&self, bytes: usize) {
        self.engine.inner.network.sent(bytes);
        self.state.info.output.fetch_add(bytes as u64, Ordering::Relaxed);
        self.state.info.busy.store(false, Ordering::Relaxed);
        self.seen();
    }

    /// Notes that the client has taken or sent something just now.
    #[cfg(feature = "listener")]
    pub(crate) fn seen(&self) {
        let now_ms = self.engine.inner.keyspace.clock.late_ms();
        self.state.info.last_seen_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Bytes of the commands that wait for EXEC.
    #[cfg(feature = "listener")]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.transaction.as_ref().map_or(0, |transaction| transaction.bytes)
    }

    /// Whether the client may execute more than AUTH.
    #[cfg(feature = "listener")]
    pub(crate) fn is_authenticated(&self) -> bool {
        self.state.authenticated
    }

    /// The sink, for what a listener writes itself, such as protocol errors.
    pub fn reply(&mut self) -> &mut Reply {
        &mut self.reply
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The database that SELECT chose.
    pub fn db(&self) -> usize {
        self.state.db
    }

    /// The session's number, as CLIENT ID tells it.
    pub fn id(&self) -> u64 {
        self.state.info.id
    }

    /// Whether the client's connection is to be ended: QUIT was executed, or CLIENT KILL for it.
    pub fn is_quitting(&self) -> bool {
        self.state.quitting || self.state.info.is_cut()
    }

    /// Whether the session speaks RESP3.
    pub fn resp3(&self) -> bool {
        self.reply.resp3()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.state.unwatch(&self.engine.inner.keyspace);
        self.engine.inner.clients.forget(self.state.info.id);
    }
}

/// Where a client is, for CLIENT LIST.
#[derive(Clone, Debug)]
pub enum ClientAddress {
    /// In this process.
    InProcess,
    /// Behind a socket: its own address and the listener's.
    Socket {
        /// Peer.
        peer: String,
        /// Listener.
        local: String,
    },
}

impl ClientAddress {
    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            ClientAddress::InProcess => true,
            ClientAddress::Socket { peer, .. } => {
                peer.parse::<std::net::SocketAddr>().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
        }
    }

    /// The client's own address, empty in process.
    pub(crate) fn peer(&self) -> &str {
        match self {
            ClientAddress::InProcess => "",
            ClientAddress::Socket { peer, .. } => peer,
        }
    }
}

impl State {
    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether a command is queued instead of run.
    pub(crate) fn queues(&self, spec: &Spec) -> bool {
        const IMMEDIATE: &[&str] = &["exec", "discard", "multi", "watch", "quit", "reset"];
        self.in_transaction() && !IMMEDIATE.contains(&spec.name)
    }

    pub(crate) fn queue(&mut self, found: Found, argv: &[&[u8]]) {
        let transaction = self.transaction.as_mut().expect("queueing happens in a transaction");
        transaction.bytes += argv.iter().map(|word| word.len()).sum::<usize>();
        transaction.queue.push(Queued { found, argv: argv.iter().map(|word| Box::from(*word)).collect() });
        self.info.last_command.store(found.id, Ordering::Relaxed);
        self.info.queued.store(transaction.queue.len() as i64, Ordering::Relaxed);
    }

    pub(crate) fn poison_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.poisoned = true;
        }
    }

    /// Ends a transaction and returns it.
    pub(crate) fn end_transaction(&mut self) -> Option<Transaction> {
        let ended = self.transaction.take();
        if ended.is_some() {
            self.info.queued.store(0, Ordering::Relaxed);
            self.info.in_transaction.store(false, Ordering::Relaxed);
        }
        ended
    }

    /// Remembers a command for CLIENT LIST.
    #[inline]
    pub(crate) fn began(&self, found: Found) {
        self.info.last_command.store(found.id, Ordering::Relaxed);
        self.info.db.store(self.db, Ordering::Relaxed);
    }

    /// Counts a command that has ended; the one that asks is not counted yet.
    #[inline]
    pub(crate) fn ended(&self) {
        self.info.commands.store(self.info.commands.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Forgets everything that the client chose, as RESET asks.
    pub(crate) fn reset(&mut self, keyspace: &Keyspace, config: &Config) {
        self.end_transaction();
        self.unwatch(keyspace);
        self.db = 0;
        self.authenticated = !requires_password(config);
        self.info.resp3.store(false, Ordering::Relaxed);
        self.info.names.lock().name.clear();
    }

    /// Drops all WATCH marks.
    pub(crate) fn unwatch(&mut self, keyspace: &Keyspace) {
        for watched in self.watched.drain(..) {
            let key = Key::new(&watched.key, &keyspace.seed);
            let watchers = &mut keyspace.lock(key.shard()).watchers;
            watchers.remove(&keyspace.hooks, watched.db, &watched.key, &self.info.watch_flag);
        }
        self.info.watch_flag.store(false, Ordering::Release);
        self.info.watching.store(0, Ordering::Relaxed);
    }
}

fn requires_password(config: &Config) -> bool {
    config.text("requirepass").is_some_and(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Form, Ttl};

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
                db.set(format!("key:{number}"), [b'v'; 100], Ttl::None, Condition::Always).unwrap();
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
