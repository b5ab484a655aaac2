//! The process-wide table of open handles, and the engines that names keep alive.
//!
//! JavaScript knows a handle only as a number; `hot.rs` keeps what it looked up here, per isolate.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keystead::{
    Config, Databases, Engine, Error, ErrorKind, Form, Numbered, Outcome, Result, Session, Versions, Wake,
    Wire,
};
use parking_lot::Mutex;

use crate::loads::Loads;
use crate::outcome::{self, usage};

/// What a caller can do with: commands that wait, and messages.
#[derive(Clone, Copy, Default)]
pub struct Expected {
    pub waits: bool,
    pub pushes: bool,
}

/// What a handle stands for: one client of an engine.
pub struct Store {
    databases: Databases,
    /// The database that the session chose last.
    current: AtomicUsize,
    closed: AtomicBool,
    session: Mutex<Option<Session>>,
    /// The connection that it is, if a client speaks RESP to it.
    wire: Mutex<Option<Wire>>,
    name: Option<String>,
    /// Made when a near cache first asks: from then on writes count.
    versions: OnceLock<Versions>,
    pub loads: Loads,
}

impl Store {
    fn new(engine: &Engine, name: Option<String>) -> Self {
        Self {
            databases: Databases::of(engine),
            current: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            session: Mutex::new(None),
            wire: Mutex::new(None),
            name,
            versions: OnceLock::new(),
            loads: Loads::default(),
        }
    }

    /// The database that typed calls go to.
    #[inline]
    pub fn database(&self) -> Numbered<'_> {
        let chosen = self.databases.get(self.current.load(Ordering::Relaxed));
        chosen.expect("the session has chosen one that there is")
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.databases.engine()
    }

    /// The versions of the engine's keys.
    #[inline]
    pub fn versions(&self) -> &Versions {
        self.versions.get_or_init(|| self.databases.engine().versions())
    }

    /// Whether the handle was closed since it was looked up.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Executes commands in the handle's session, which is made when first needed, and lets `read` see the tape of their replies. One that has to wait
    /// fails, or, if that is `expected`, ends the commands: its reply comes with [`Store::take_reply`]. One that has messages pushed fails unless they are.
    pub fn execute<'a, R>(
        &self,
        commands: &[&'a [&'a [u8]]],
        expected: Expected,
        read: impl FnOnce(&[u8], Outcome) -> R,
    ) -> R {
        let mut session = self.session.lock();
        let session = session.get_or_insert_with(|| {
            let mut session = self.databases.engine().session(Form::Tape);
            session.refuse_pushes(true);
            session
        });
        session.clear_replies();
        if expected.pushes {
            session.refuse_pushes(false);
        }
        let mut rest = commands;
        while !rest.is_empty() {
            rest = &rest[session.begin_all(rest)..];
            if session.is_blocked() {
                if expected.waits {
                    break;
                }
                // The isolate's thread must not, unless the command goes on all the same, as MIGRATE does: its outcome is to be known.
                if session.cancel() {
                    session.reply().error(&no_waiting());
                } else {
                    session.wait(None);
                }
            }
        }
        if expected.pushes {
            session.refuse_pushes(true);
        }
        self.current.store(session.db(), Ordering::Relaxed);
        let outcome = if session.is_blocked() { Outcome::Blocked } else { Outcome::Replied };
        read(session.replies(), outcome)
    }

    /// Lets `read` see the reply of the command that had to wait, if it has come or its time is over.
    pub fn take_reply<R>(&self, read: impl FnOnce(&[u8], Outcome) -> R) -> R {
        let mut session = self.session.lock();
        let Some(session) = session.as_mut().filter(|session| session.is_blocked()) else {
            return read(&[], Outcome::Replied);
        };
        session.clear_replies();
        let outcome = if session.try_take() { Outcome::Replied } else { Outcome::Blocked };
        read(session.replies(), outcome)
    }

    /// Lets `read` see the oldest message pushed to the session; not if there is none.
    ///
    /// # Errors
    /// There were too many: those before this call were dropped.
    pub fn take_push<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let mut session = self.session.lock();
        let Some(session) = session.as_mut() else { return Ok(None) };
        Ok(session.next_push(Some(Duration::ZERO))?.map(|message| read(&message)))
    }

    /// Has the session call `waker` when the reply of the command that had to wait has come, or a message.
    pub fn wake_by(&self, waker: Arc<dyn Wake>) {
        if let Some(session) = &*self.session.lock() {
            session.set_waker(Some(waker));
        }
    }

    /// Has the handle be a connection, which calls `waker` when something has come.
    pub fn open_wire(&self, waker: Arc<dyn Wake>) {
        let wire = Wire::new(self.engine());
        wire.set_waker(Some(waker));
        let before = self.wire.lock().replace(wire);
        drop(before);
    }

    /// Does something with the connection that the handle is.
    ///
    /// # Errors
    /// It is none, or what is done fails.
    pub fn with_wire<R>(&self, act: impl FnOnce(&mut Wire) -> outcome::Outcome<R>) -> outcome::Outcome<R> {
        match &mut *self.wire.lock() {
            Some(wire) => act(wire),
            None => Err(usage("ERR the handle is no connection")),
        }
    }

    /// After how long to look for the reply though nothing has come, if ever.
    pub fn time_left(&self) -> Option<Duration> {
        self.session.lock().as_ref()?.time_left()
    }
}

fn no_waiting() -> Error {
    Error::new(
        ErrorKind::Usage,
        "ERR the command would have to wait, which this call does not: the client of keystead/ioredis does",
    )
}

/// Bits of a handle that say its place in the table; those above count how often the place was used.
const PLACE_BITS: u32 = 20;
const PLACES: usize = 1 << PLACE_BITS;
const GENERATIONS: u32 = 1 << (31 - PLACE_BITS);

#[derive(Default)]
struct Slot {
    generation: u32,
    store: Option<Arc<Store>>,
}

/// An engine with a name, and how many handles on it are open.
///
/// A worker that ends without closing leaves its count behind, so its engine's data outlives it.
struct Named {
    engine: Engine,
    handles: usize,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    named: HashMap<String, Named>,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

/// The place of a handle in the table.
#[inline]
pub fn place(handle: u32) -> usize {
    handle as usize & (PLACES - 1)
}

impl Table {
    fn insert(&mut self, store: Store) -> Result<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.slots.len() < PLACES => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            None => return Err(Error::new(ErrorKind::Usage, "ERR too many open handles")),
        };
        let slot = &mut self.slots[place];
        slot.store = Some(Arc::new(store));
        Ok(slot.generation << PLACE_BITS | place as u32)
    }

    fn get(&self, handle: u32) -> Option<&Arc<Store>> {
        let slot = self.slots.get(place(handle))?;
        slot.store.as_ref().filter(|_| slot.generation == handle >> PLACE_BITS)
    }

    fn remove(&mut self, handle: u32) -> Option<Arc<Store>> {
        self.get(handle)?;
        let slot = &mut self.slots[place(handle)];
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(place(handle));
        slot.store.take()
    }

    /// Counts a handle of a name less; the engine, if that was the last.
    fn release(&mut self, name: &str) -> Option<Named> {
        let named = self.named.get_mut(name)?;
        named.handles -= 1;
        if named.handles == 0 { self.named.remove(name) } else { None }
    }
}

/// Where an engine is found by whoever opens it.
pub enum Place {
    /// By this handle alone.
    Own,
    Name(String),
    /// In a folder, where its data outlives it: no count of handles keeps it.
    Path(PathBuf),
}

/// Opens a handle on the engine of a place, or on a new one.
///
/// # Errors
/// Options that can't be honoured, or what is in the folder can't be had.
pub fn open(place: Place, config: Config) -> Result<u32> {
    // Not under the table's lock: loading may take long.
    let engine = match place {
        Place::Own => Engine::builder().config(config).open()?,
        Place::Path(path) => Engine::builder().path(path).config(config).open()?,
        Place::Name(name) => return open_named(name, config),
    };
    TABLE.lock().get_or_insert_with(Table::default).insert(Store::new(&engine, None))
}

fn open_named(name: String, config: Config) -> Result<u32> {
    let mut table = TABLE.lock();
    let table = table.get_or_insert_with(Table::default);
    let engine = match table.named.get_mut(&name) {
        Some(named) => {
            named.handles += 1;
            named.engine.clone()
        }
        None => {
            if Engine::is_remote(&name) {
                let text = "ERR an engine in a Valkey elsewhere has calls that wait, which would hold up the event loop: this package can't have one yet";
                return Err(Error::new(ErrorKind::Usage, text));
            }
            let engine = Engine::builder().name(name.clone()).config(config).open()?;
            table.named.insert(name.clone(), Named { engine: engine.clone(), handles: 1 });
            engine
        }
    };
    table.insert(Store::new(&engine, Some(name)))
}

/// Opens another handle on a handle's engine.
///
/// # Errors
/// The handle is not open.
pub fn duplicate(handle: u32) -> Result<u32> {
    let mut table = TABLE.lock();
    let table = table.get_or_insert_with(Table::default);
    let store = table.get(handle).ok_or_else(closed)?;
    let (engine, name) = (store.databases.engine().clone(), store.name.clone());
    if let Some(named) = name.as_ref().and_then(|name| table.named.get_mut(name)) {
        named.handles += 1;
    }
    table.insert(Store::new(&engine, name))
}

/// Closes a handle; says whether it was open. The engine ends with its last handle.
pub fn close(handle: u32) -> bool {
    end(handle, true)
}

/// Ends a handle of a worker that has ended; an engine with a name stays, since nobody said that its data is no longer needed.
pub fn abandon(handle: u32) {
    end(handle, false);
}

fn end(handle: u32, is_release: bool) -> bool {
    let mut guard = TABLE.lock();
    let table = guard.get_or_insert_with(Table::default);
    let Some(store) = table.remove(handle) else { return false };
    store.closed.store(true, Ordering::Relaxed);
    let name = store.name.as_ref().filter(|_| is_release);
    let ended = name.and_then(|name| table.release(name));
    // An engine may take long to drop: not under the table's lock.
    drop(guard);
    store.loads.clear();
    drop(store.session.lock().take());
    drop(store.wire.lock().take());
    drop((ended, store));
    true
}

/// What a handle stands for, while it is open.
pub fn find(handle: u32) -> Option<Arc<Store>> {
    TABLE.lock().as_ref()?.get(handle).cloned()
}

/// The error of calls through a closed handle.
pub fn closed() -> Error {
    Error::new(ErrorKind::Closed, "ERR the cache is closed")
}
