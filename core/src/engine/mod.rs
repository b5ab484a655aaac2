//! The handle to an engine: opening and closing it, and its sessions.
//!
//! What it consists of is [`crate::local`]'s; the typed methods of the hot commands are [`crate::Database`]'s, everything else goes through
//! [`Session::execute`].

pub(crate) mod blocking;
pub(crate) mod session;
pub(crate) mod tasks;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Weak};
use std::time::Duration;

use crate::alloc;
use crate::backend::{self, Backend, NearStats};
use crate::background;
use crate::clients::ClientAddress;
#[cfg(feature = "listener")]
use crate::clients::Link;
use crate::clock::Clock;
use crate::command::{Form, block};
use crate::commands::connection::client_list::describe;
use crate::commands::table;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::keyspace::locks::Locks;
use crate::keyspace::{HashSeed, Journal, Observer, Versions};
use crate::local::Local;
use crate::os::{self, Guard};
use crate::persist::files;
use crate::persist::loading::stored_seed;
use crate::recovery;
#[cfg(feature = "remote")]
use crate::remote;
use crate::sync::{Arc, Condvar, Mutex};
use session::Session;

/// A handle to an engine. Clones are the same engine; it ends with the last of them, on the thread that drops it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Local>,
    open: Arc<Open>,
}

/// What the handles of an engine share: with the last of them the engine is closed, on the thread that lets go of it.
struct Open {
    inner: Arc<Local>,
    /// Where the engine stands, if that is elsewhere; nothing once it was closed.
    backend: Option<Arc<dyn Backend>>,
    /// How many have opened it and have not left. Grows, and comes to an end of the engine, only with the registry of names locked.
    openings: AtomicUsize,
    /// The process that opened it.
    generation: u64,
}

impl Open {
    /// Ends what stands elsewhere.
    fn close(&mut self) -> Result<()> {
        self.backend.take().map_or(Ok(()), |backend| backend.close())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nobody is left who could hear of an error.
        let _ = self.close();
        self.inner.persistence.end(&self.inner.keyspace);
        background::leave(&self.inner.keyspace.task);
        // Registries that outlive a model are none of its business.
        if cfg!(not(loom)) {
            fork::forget(&self.inner);
        }
        if self.inner.persistence.is_kept() {
            forget_name(&mut NAMED.lock(), self);
        }
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    const fn is_send<T: Send + 'static>() {}
    is_send_and_sync::<Engine>();
    is_send::<Session>();
};

/// Engines that were opened by name: those that are kept on disk until they have ended, all others while they are alive.
static NAMED: LazyLock<Mutex<HashMap<String, Named>>> = LazyLock::new(Mutex::default);

/// One of them has ended.
static LEFT: LazyLock<Condvar> = LazyLock::new(Condvar::default);

/// An engine that was opened by name.
struct Named {
    open: Weak<Open>,
    is_kept: bool,
    /// The process that opened it: in a child of that nobody ends what was ending when it was forked.
    generation: u64,
}

impl Named {
    /// Whether nobody has it any more, and it has its folder until another thread has ended it.
    fn is_ending(&self) -> bool {
        self.is_kept && self.generation == os::generation() && self.open.strong_count() == 0
    }
}

/// Takes an engine that has ended off the registry of names.
fn forget_name(named: &mut HashMap<String, Named>, open: &Open) {
    named.retain(|_, found| !std::ptr::eq(found.open.as_ptr(), open));
    LEFT.notify_all();
}

/// How an engine is to be opened.
#[derive(Default)]
pub struct Builder {
    name: Option<String>,
    config: Config,
    clock: Option<Clock>,
    seed: Option<HashSeed>,
    backend: Option<Arc<dyn Backend>>,
    is_durable: bool,
    path: Option<PathBuf>,
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

    /// The folder that the engine is kept in: it is made if it is not there, and what is in it is loaded. Every write goes to a log there, unless the option
    /// `appendonly` says otherwise. Every opener in this process gets the same engine; other processes are refused. It takes the place of a name.
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Loads what the folder `dir` has and goes on to keep it, as the options say: as a server does, which is started in that folder.
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// The seed that keys are hashed with, by default a random one: for tests and counts that must come out alike.
    #[doc(hidden)]
    pub fn seed(mut self, seed: HashSeed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the engine stands, if not in this process.
    #[doc(hidden)]
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Opens the engine.
    ///
    /// # Errors
    /// Options that can't be honoured, a name and a path at once, the system has no memory for an engine, or what is on disk is damaged or can't be read.
    pub fn open(self) -> Result<Engine> {
        /// More than an engine takes before anything is stored. It is made of many parts, which are not asked for one by one.
        const BYTES: usize = 1 << 20;
        drop(alloc::with_room_for::<u8>(BYTES)?);
        let Builder { mut name, config, clock, seed, backend, is_durable, path } = self;
        if name.as_deref().is_some_and(backend::is_url) {
            return open_remote(name.unwrap_or_default(), config, is_durable || path.is_some());
        }
        let mut kept = if is_durable { Kept::Folder } else { Kept::Nowhere };
        if let Some(path) = path {
            if name.is_some() {
                return Err(Error::new(ErrorKind::Usage, "ERR an engine has a name or a path, not both"));
            }
            name = Some(format!("path:{}", adopt_path(&config, &path)?.display()));
            kept = Kept::Locked;
        } else if config.is_set("appendonly") && config.hot().appendonly() {
            kept = Kept::Folder;
        }
        let stored = || (kept != Kept::Nowhere).then(|| stored_seed(&config)).flatten();
        let seed = seed.or_else(stored).unwrap_or_else(HashSeed::random);
        let Some(name) = name else {
            return Open::new(config, clock, seed, (backend, kept)).map(Engine::of);
        };
        open_named(name, kept, || Open::new(config, clock, seed, (backend, kept)))
    }
}

/// The engine of a name in this process, which `open` makes if there is none.
fn open_named(name: String, kept: Kept, open: impl FnOnce() -> Result<Arc<Open>>) -> Result<Engine> {
    let mut named = NAMED.lock();
    while let Some(found) = named.get(&name) {
        if let Some(open) = found.open.upgrade() {
            open.openings.fetch_add(1, Ordering::Relaxed);
            return Ok(Engine::of(open));
        }
        if !found.is_ending() {
            break;
        }
        named = LEFT.wait(named, None);
    }
    named.retain(|_, found| found.open.strong_count() > 0 || found.is_ending());
    let open = open()?;
    let (is_kept, generation) = (kept != Kept::Nowhere, os::generation());
    named.insert(name, Named { open: Arc::downgrade(&open), is_kept, generation });
    Ok(Engine::of(open))
}

#[cfg(not(feature = "remote"))]
fn open_remote(_: String, _: Config, _: bool) -> Result<Engine> {
    let text =
        "ERR an engine that stands in a Valkey, as its URL says, needs the feature `remote` of the crate";
    Err(Error::new(ErrorKind::Usage, text))
}

/// Opens an engine that stands where a URL says.
#[cfg(feature = "remote")]
fn open_remote(url: String, config: Config, has_place: bool) -> Result<Engine> {
    if has_place {
        return Err(Error::new(
            ErrorKind::Usage,
            "ERR what a remote keeps is on its own disk: an engine has a path or a URL",
        ));
    }
    let (address, options) = remote::parse(&url)?;
    open_named(url, Kept::Nowhere, || {
        if !config.is_set("maxmemory") {
            config.set_option("maxmemory", &options.near_bytes().to_string())?;
        }
        if !config.is_set("maxmemory-policy") {
            config.set_option("maxmemory-policy", "allkeys-adaptive")?;
        }
        Open::elsewhere(config, Clock::leased(), |local| {
            Ok(Arc::new(remote::Remote::new(address, options, local)?))
        })
    })
}

/// Where an engine is kept beside memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nowhere,
    /// In the folder that the option `dir` names.
    Folder,
    /// In such a folder, which is the engine's alone.
    Locked,
}

/// Has an engine's folder, which is made if it is not there, be what `dir` names. It keeps a log and no snapshots unless the options say otherwise. Returns
/// the folder's full path.
fn adopt_path(config: &Config, path: &Path) -> Result<PathBuf> {
    let told = |error: std::io::Error| Error::io(format_args!("Opening {}", path.display()), &error);
    files::create_folder(path).map_err(told)?;
    let path = path.canonicalize().map_err(told)?;
    let text = path.to_str().ok_or_else(|| Error::new(ErrorKind::Usage, "ERR a path has to be UTF-8"))?;
    config.set_option("dir", text)?;
    for (option, value) in [("appendonly", "yes"), ("save", ""), ("base-format", "snapshot")] {
        if !config.is_set(option) {
            config.set_option(option, value)?;
        }
    }
    if !config.hot().appendonly() && !config.is_set("dbfilename") {
        config.set_option("dbfilename", "dump.ks")?;
    }
    Ok(path)
}

impl Engine {
    /// Writes all databases, as they are now, to a file, which takes the place of what was there: of Valkey's format (RDB), or, where its name
    /// ends in `.ks`, of Keystead's own, which opening maps. Others go on meanwhile. O(data).
    ///
    /// # Errors
    /// The file can't be written: what was there is there. Or the engine stands elsewhere.
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<()> {
        self.refuse_elsewhere()?;
        self.inner.persistence.snapshot(&self.inner.keyspace, path.as_ref())
    }

    /// Has all databases hold what a file of Valkey's format (RDB) or of Keystead's own holds, and nothing else. Nobody sees some of it; an engine with a log writes that anew
    /// before this returns, and refuses writes until then. O(data).
    ///
    /// # Errors
    /// The file is damaged, is of another version, or can't be read: nothing has changed. Or there is no memory for it, the log can't be written, or the
    /// engine stands elsewhere.
    pub fn restore(&self, path: impl AsRef<Path>) -> Result<()> {
        self.refuse_elsewhere()?;
        self.inner.restore(path.as_ref())
    }

    /// Ends the server that listens where the engine's options say, as SHUTDOWN does: behind a snapshot, if the options ask for some.
    ///
    /// # Errors
    /// There is no server, or the snapshot can't be written: it goes on.
    pub fn shut_down(&self) -> Result<()> {
        self.inner.shut_down(None, false)
    }

    /// Ends what is written to disk: the process is about to end. What was acknowledged is there; later writes are not logged.
    #[doc(hidden)]
    pub fn end_files(&self) {
        self.inner.persistence.end(&self.inner.keyspace);
    }

    fn refuse_elsewhere(&self) -> Result<()> {
        match self.backend() {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Usage, "ERR the engine stands elsewhere")),
        }
    }

    /// What whoever opened the engine should know of what was on disk: what was imported, completed or cut off. Empty where there is nothing to say.
    pub fn opening_notes(&self) -> Vec<String> {
        self.inner.persistence.notes()
    }

    /// A private engine with default options.
    pub fn new() -> Engine {
        let open = Open::new(Config::default(), None, HashSeed::random(), (None, Kept::Nowhere));
        Engine::of(open.expect("nothing is loaded"))
    }

    fn of(open: Arc<Open>) -> Engine {
        Engine { inner: open.inner.clone(), open }
    }

    /// Gives this handle up, as dropping it does, and says whether all went well if it was the last: sessions and databases are handles, too.
    ///
    /// # Errors
    /// The engine stands elsewhere, and something that was acknowledged could not be brought there.
    pub fn close(self) -> Result<()> {
        Arc::into_inner(self.open).map_or(Ok(()), |mut open| open.close())
    }

    /// Gives up one opening of the engine, of which each [`Builder::open`] is one; the handle remains. With the last of them an engine that is kept on disk
    /// ends, whatever handles there are: what was acknowledged is on the disk, the folder is free, nothing can be written any more, and who waits for keys hears so. For languages
    /// that let go of handles when they like.
    ///
    /// # Errors
    /// Something that was acknowledged can't be brought to the disk.
    #[doc(hidden)]
    pub fn close_opening(&self) -> Result<()> {
        let mut named = NAMED.lock();
        if !self.open.leave() || !self.inner.persistence.is_kept() {
            return Ok(());
        }
        let ended = self.inner.persistence.close(&self.inner.keyspace);
        forget_name(&mut named, &self.open);
        drop(named);
        block::end_all(&self.inner);
        ended
    }

    /// Whether it is kept on disk.
    #[doc(hidden)]
    pub fn is_kept(&self) -> bool {
        self.inner.persistence.is_kept()
    }

    /// As [`Engine::close_opening`], but ends nothing: that is left to the last handle.
    #[doc(hidden)]
    pub fn drop_opening(&self) {
        self.open.leave();
    }

    /// Whether it stands elsewhere: its calls may have to wait for a network.
    #[doc(hidden)]
    pub fn stands_elsewhere(&self) -> bool {
        self.backend().is_some()
    }

    /// The number of the database that sessions begin in: 0, or the one that the URL of a remote names.
    pub fn default_db(&self) -> usize {
        self.backend().map_or(0, Backend::default_db)
    }

    /// What is known of what is kept near of a remote; `None` of an engine that stands in this process, and where nothing is kept.
    pub fn near_stats(&self) -> Option<NearStats> {
        self.backend().and_then(Backend::near_stats)
    }

    /// Drops what is kept near of a remote: the next read of each key asks it. O(keys that are near).
    pub fn flush_near(&self) {
        if let Some(backend) = self.backend() {
            backend.flush_near();
        }
    }

    /// Where it stands, if not in this process.
    #[inline(always)]
    pub(crate) fn backend(&self) -> Option<&dyn Backend> {
        self.open.backend.as_deref()
    }

    /// The engine of this name in this process, opened with default options if nobody has yet. With feature `remote`, a name such as `valkey://host:6379/0` is the URL
    /// of a server that the engine stands in: `docs/remote.md` has its options. It is not waited for: calls tell where nobody is.
    ///
    /// # Errors
    /// A URL that makes no sense.
    pub fn open(name: impl Into<String>) -> Result<Engine> {
        Engine::builder().name(name).open()
    }

    /// Whether a name is the URL of a remote: `valkey://host:6379/0`.
    pub fn is_remote(name: &str) -> bool {
        backend::is_url(name)
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
    pub(crate) fn session_on(&self, link: Arc<Link>, address: ClientAddress) -> Session {
        Session::new(self.clone(), Form::Resp, address, Some(link))
    }

    /// Moves a manual clock forward, reclaims what has expired by then, wakes sessions whose waits are over, and begins a backup if one is due. Returns how many keys and fields were
    /// reclaimed.
    ///
    /// # Panics
    /// If the engine runs on the system's clock.
    pub fn advance(&self, time: Duration) -> usize {
        self.inner.keyspace.sample_clock();
        self.inner.keyspace.clock.advance(time);
        self.inner.keyspace.refresh_stamp();
        let now_ms = self.inner.keyspace.clock.now_ms();
        self.inner.clients.nudge_due(now_ms);
        self.inner.targets.close_idle(now_ms);
        self.inner.back_up_if_due(now_ms);
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
    #[doc(hidden)]
    pub fn versions(&self) -> Versions {
        self.inner.keyspace.versions()
    }

    /// The engine's number: no other of this process has it, not even one opened later by the same name.
    #[doc(hidden)]
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Whether this process was forked from the one that opened the engine: what is here is a copy then, whose changes nobody else sees. False of an
    /// engine that stands elsewhere.
    pub fn is_copy(&self) -> bool {
        self.backend().is_none() && self.open.generation != os::generation()
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
    /// One whose backend is made of its parts.
    #[cfg(feature = "remote")]
    fn elsewhere(
        config: Config,
        clock: Clock,
        backend: impl FnOnce(Arc<Local>) -> Result<Arc<dyn Backend>>,
    ) -> Result<Arc<Open>> {
        let open = Open::new(config, Some(clock), HashSeed::random(), (None, Kept::Nowhere))?;
        let Some(mut open) = Arc::into_inner(open) else {
            return Err(Error::new(ErrorKind::Internal, "ERR the engine is in use"));
        };
        open.inner.stand_elsewhere();
        open.backend = Some(backend(open.inner.clone())?);
        Ok(Arc::new(open))
    }

    fn new(
        config: Config,
        clock: Option<Clock>,
        seed: HashSeed,
        (backend, kept): (Option<Arc<dyn Backend>>, Kept),
    ) -> Result<Arc<Open>> {
        let inner = Local::new(config, clock, seed, (table::catalog(), describe));
        inner.rename_commands()?;
        inner.open_users()?;
        if kept == Kept::Locked {
            inner.persistence.lock_folder(&inner.config)?;
        }
        if kept != Kept::Nowhere {
            if let Err(error) = recovery::open(&inner, table::resolve) {
                inner.persistence.end(&inner.keyspace);
                return Err(error);
            }
            inner.persistence.set_durable();
            inner.verify_in_background();
        }
        if backend.is_some() {
            inner.stand_elsewhere();
        }
        if cfg!(not(loom)) {
            fork::protect(&inner, freeze_names);
        }
        background::enter(inner.clone());
        let openings = AtomicUsize::new(1);
        Ok(Arc::new(Open { inner, backend, openings, generation: os::generation() }))
    }

    /// One who opened it has left. Says whether that was the last.
    fn leave(&self) -> bool {
        self.openings.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Locks the registry of names.
fn freeze_names() -> Box<dyn Guard> {
    Box::new(NAMED.lock())
}
