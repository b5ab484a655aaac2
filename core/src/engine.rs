//! The engine: opening and closing, sessions, the background thread, and what is counted.
//!
//! The typed methods of the hot commands are in [`crate::hot`]; everything else goes through [`Session::execute`].

use std::collections::HashMap;
use std::fmt::Write as _;
#[cfg(feature = "listener")]
use std::net::TcpStream;
use std::sync::{LazyLock, Weak};
use std::time::Duration;

use crate::background;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::command::Form;
use crate::commandlog::CommandLogs;
use crate::config::Config;
use crate::error::Result;
use crate::keyspace::evictor::Room;
use crate::keyspace::locks::Locks;
use crate::keyspace::{HashSeed, Journal, Keyspace, Observer, Versions};
use crate::latency::LatencyMonitor;
use crate::network::Network;
use crate::os::Guard;
use crate::pulse::Pulse;
use crate::rounds::Rounds;
use crate::session::{ClientAddress, Session};
use crate::stats::Stats;
use crate::sync::{Arc, Mutex};

/// A handle to an engine. Clones are the same engine; it ends with the last of them, on the thread that drops it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    /// Kept for its end.
    _open: Arc<Open>,
}

/// What the handles of an engine share: with the last of them the engine is closed, on the thread that lets go of it.
struct Open {
    inner: Arc<Inner>,
}

impl Drop for Open {
    fn drop(&mut self) {
        background::leave(&self.inner.keyspace.task);
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    const fn is_send<T: Send + 'static>() {}
    is_send_and_sync::<Engine>();
    is_send::<Session>();
};

/// Everything an engine consists of.
pub(crate) struct Inner {
    pub(crate) keyspace: Keyspace,
    pub(crate) config: Arc<Config>,
    /// No other engine of this process has it, not even a later one.
    pub(crate) number: u64,
    pub(crate) clients: Clients,
    pub(crate) stats: Stats,
    pub(crate) command_logs: CommandLogs,
    pub(crate) latency: Mutex<LatencyMonitor>,
    pub(crate) network: Network,
    pub(crate) pulse: Pulse,
    pub(crate) started_ms: u64,
    pub(crate) run_id: String,
    pub(crate) rounds: Rounds,
}

/// Engines that were opened by name and are alive.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<Open>>>> = LazyLock::new(Mutex::default);

/// How an engine is to be opened.
#[derive(Default)]
pub struct Builder {
    name: Option<String>,
    config: Config,
    clock: Option<Clock>,
    seed: Option<HashSeed>,
}

impl Builder {
    /// The name under which every opener in this process gets the same engine.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The options; they count only for whoever opens the engine first.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The clock, by default the system's. With a manual one there is no background thread: time moves, and expired keys
    /// are reclaimed, only in [`Engine::advance`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed that keys are hashed with, by default a random one.
    #[cfg(test)]
    pub(crate) fn seed(mut self, seed: HashSeed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the engine.
    ///
    /// # Errors
    /// Options that can't be honoured.
    pub fn open(self) -> Result<Engine> {
        let seed = self.seed.unwrap_or_else(HashSeed::random);
        let Some(name) = self.name else {
            return Ok(Engine::of(Open::new(self.config, self.clock, seed)));
        };
        let mut named = NAMED.lock();
        if let Some(open) = named.get(&name).and_then(Weak::upgrade) {
            return Ok(Engine::of(open));
        }
        named.retain(|_, engine| engine.strong_count() > 0);
        let open = Open::new(self.config, self.clock, seed);
        named.insert(name, Arc::downgrade(&open));
        Ok(Engine::of(open))
    }
}

impl Engine {
    /// A private engine with default options.
    pub fn new() -> Engine {
        Engine::of(Open::new(Config::default(), None, HashSeed::random()))
    }

    fn of(open: Arc<Open>) -> Engine {
        Engine { inner: open.inner.clone(), _open: open }
    }

    /// The engine of this name in this process, opened with default options if nobody has yet.
    ///
    /// # Errors
    /// None today; names that stand for files will have some.
    pub fn open(name: impl Into<String>) -> Result<Engine> {
        Engine::builder().name(name).open()
    }

    /// Chooses options before opening.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A session whose replies are of `form`.
    pub fn session(&self, form: Form) -> Session {
        self.session_from(form, ClientAddress::InProcess)
    }

    /// A session of a client behind a socket.
    pub fn session_from(&self, form: Form, address: ClientAddress) -> Session {
        Session::new(self.clone(), form, address, None)
    }

    /// A session of the client at the other end of a connection, which can be ended from outside.
    #[cfg(feature = "listener")]
    pub(crate) fn session_on(&self, socket: Arc<TcpStream>) -> std::io::Result<Session> {
        let (peer, local) = (socket.peer_addr()?.to_string(), socket.local_addr()?.to_string());
        Ok(Session::new(self.clone(), Form::Resp, ClientAddress::Socket { peer, local }, Some(socket)))
    }

    /// Moves a manual clock forward and reclaims what has expired by then. Returns how many keys and fields were reclaimed.
    ///
    /// # Panics
    /// If the engine runs on the system's clock.
    pub fn advance(&self, time: Duration) -> usize {
        self.inner.keyspace.sample_clock();
        self.inner.keyspace.clock.advance(time);
        self.inner.keyspace.refresh_stamp();
        self.reap()
    }

    /// Reclaims everything that has expired by now, as the background thread does on its own. Returns how much that was.
    pub fn reap(&self) -> usize {
        crate::expire::reaper::reap(&self.inner.keyspace)
    }

    /// Sends the effects of all write commands to `journal` from now on, or to none with `None`, and returns the journal before. Each effect goes to
    /// one of them: every shard is locked meanwhile. O(shards).
    pub fn set_journal(&self, journal: Option<Arc<dyn Journal>>) -> Option<Arc<dyn Journal>> {
        let _held = Locks::all(&self.inner.keyspace);
        self.inner.keyspace.hooks.set_journal(journal)
    }

    /// Tells `observer` of changes from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.inner.keyspace.hooks.observe(observer);
    }

    /// Tells `observer` of no change that begins after this. Says whether it observed.
    pub fn unobserve(&self, observer: &Arc<dyn Observer>) -> bool {
        self.inner.keyspace.hooks.unobserve(observer)
    }

    /// The versions of keys, for caches beside the engine. The first call makes all writes count from then on.
    pub fn versions(&self) -> Versions {
        self.inner.keyspace.versions()
    }

    /// The engine's number: no other of this process has it, not even one opened later by the same name.
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Bytes in use by data, tables and timers.
    pub fn used_bytes(&self) -> usize {
        self.inner.keyspace.used_bytes()
    }

    /// The options.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("run_id", &self.inner.run_id).finish_non_exhaustive()
    }
}

impl Open {
    fn new(config: Config, clock: Option<Clock>, seed: HashSeed) -> Arc<Open> {
        let inner = Inner::new(config, clock, seed);
        background::enter(inner.clone());
        Arc::new(Open { inner })
    }
}

impl Inner {
    fn new(config: Config, clock: Option<Clock>, seed: HashSeed) -> Arc<Inner> {
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let clock = clock.unwrap_or_default();
        let config = Arc::new(config);
        let inner = Arc::new(Inner {
            number: LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            started_ms: clock.now_ms(),
            keyspace: Keyspace::new(clock, config.clone(), seed),
            config,
            clients: Clients::default(),
            stats: Stats::default(),
            command_logs: CommandLogs::default(),
            network: Network::default(),
            pulse: Pulse::default(),
            latency: Mutex::new(LatencyMonitor::default()),
            run_id: run_id(),
            rounds: Rounds::default(),
        });
        // Registries that outlive a model are none of its business.
        if cfg!(not(loom)) {
            crate::fork::protect(&inner);
        }
        inner
    }

    /// Locks everything: the shards first, since whoever holds one may take the others, never the other way round.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        self.keyspace.freeze(held);
        self.network.freeze_setting(held);
        self.clients.freeze(held);
        self.stats.freeze(held);
        self.config.freeze(held);
        self.command_logs.freeze(held);
        held.push(Box::new(self.latency.lock()));
        self.network.freeze(held);
        self.pulse.freeze(held);
    }

    /// Tells the background thread that the engine is in use, if it does not know. What depends on the clock comes after it.
    #[inline(always)]
    pub(crate) fn ensure_background(&self) {
        if !self.keyspace.task.is_told() {
            self.keyspace.wake();
        }
    }

    /// Takes over options that the keyspace does not look at by itself. A limit that was lowered is worked towards at once, and further by the
    /// background thread.
    pub(crate) fn options_changed(&self) {
        self.keyspace.evictor.adopt(&self.keyspace);
        self.keyspace.show_stamp();
        self.keyspace.report_all();
        self.make_room();
        self.network.look();
    }

    /// Evicts as far as needed and allowed, and says whether a command that may take memory can run.
    #[inline]
    pub(crate) fn make_room(&self) -> bool {
        !self.keyspace.is_over_limit() || self.evict()
    }

    #[cold]
    fn evict(&self) -> bool {
        let timer = self.keyspace.clock.timer();
        let room = self.keyspace.make_room();
        self.note_latency("eviction-cycle", timer.elapsed());
        room != Room::None
    }
}

/// Locks the registry of names.
pub(crate) fn freeze_names() -> Box<dyn Guard> {
    Box::new(NAMED.lock())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if cfg!(not(loom)) {
            crate::fork::forget(self);
        }
    }
}

/// Forty random hexadecimal digits.
fn run_id() -> String {
    let mut digits = String::with_capacity(40);
    (0..5).for_each(|_| {
        write!(digits, "{:08x}", crate::store::random() as u32).expect("strings can be written to");
    });
    digits
}
