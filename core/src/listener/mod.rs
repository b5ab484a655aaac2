//! A listener: lets Valkey's clients talk RESP2 and RESP3 to an engine over TCP, encrypted or not, and Unix sockets.
//!
//! One thread accepts at all places (`accept.rs`, `sockets.rs`) and ends idle clients; workers (`workers.rs`) serve the connections (`connection.rs`,
//! `transport.rs`), as many as the option `io-threads` says. What is encrypted with is in `encryption.rs`.

mod accept;
mod address;
mod connection;
mod encryption;
mod sockets;
#[cfg(test)]
mod tests;
mod transport;
mod workers;

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use accept::Acceptor;
use rustls::ServerConfig;
use sockets::Door;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Face, Place};
use crate::os;
use crate::sync::Mutex;

/// Sockets that listen. Dropping it stops accepting; connections that are open go on.
///
/// Of the options it honours `io-threads`, `maxclients`, `timeout`, `tcp-keepalive`, `tcp-backlog`, `protected-mode`, `requirepass`, `client-query-buffer-limit`,
/// `client-output-buffer-limit`, `maxmemory-clients`, `proto-max-bulk-len` and those that begin with `tls-`, and writes to the standard error what Valkey writes to its log about clients that it ends.
pub struct Listener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a listener's thread and others know of each other.
struct Shared {
    engine: Engine,
    /// Whether it listens where the options `bind` and `port` say.
    follows: bool,
    stopping: AtomicBool,
    /// The process that the thread is in.
    generation: u64,
    /// Something written here ends the thread's sleep.
    waker: UnixStream,
    /// Those who wait until it listens where the options say; none can once the thread has ended.
    waiting: Mutex<Option<Vec<SyncSender<bool>>>>,
    places: Mutex<Vec<Place>>,
    /// What encrypted connections are encrypted with, if there are such places.
    encryption: Mutex<Option<Arc<ServerConfig>>>,
}

impl Listener {
    /// Listens on `address`, whatever the options say; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn bind(engine: &Engine, address: impl ToSocketAddrs) -> Result<Listener> {
        Self::bind_any(engine, address.to_socket_addrs()?.map(Place::Tcp))
    }

    /// Listens at the path of a Unix socket, whatever the options say. A socket that nobody listens on any more gives way; the file goes with the listener.
    ///
    /// # Errors
    /// The path is too long, another file is there, somebody listens there, or the system refuses.
    pub fn bind_path(engine: &Engine, path: impl Into<PathBuf>) -> Result<Listener> {
        Self::bind_any(engine, [Place::Unix(path.into())])
    }

    /// Listens at the first of these places that can be listened at.
    fn bind_any(engine: &Engine, places: impl IntoIterator<Item = Place>) -> Result<Listener> {
        let backlog = sockets::backlog(engine.config());
        let mut last = Error::new(ErrorKind::Io, "ERR there is no address to listen on");
        for place in places {
            match sockets::open(&place, backlog) {
                Ok(door) => return Self::start(engine, false, vec![door]),
                Err(error) => last = sockets::describe(&place, &error),
            }
        }
        Err(last)
    }

    /// Listens where the options `bind` and `port` say, and follows them when CONFIG SET changes them. Without a `bind` that is the loopback address.
    /// As a server does, it raises the process's limit of descriptors to what `maxclients` needs, or else lowers `maxclients`.
    ///
    /// # Errors
    /// An address can't be bound, or the options name none.
    pub fn serve(engine: &Engine) -> Result<Listener> {
        let wanted = engine.config().hot().maxclients() as u64;
        if let Some(most) = sockets::most_clients(wanted) {
            warn(format_args!("maxclients has been reduced to {most} to compensate for low ulimit"));
            let most = most.max(1).to_string();
            let lowered = engine.config().set_for(true, &[(b"maxclients", most.as_bytes())]);
            drop(lowered.map_err(Error::from)?);
        }
        let doors = sockets::open_all(engine.config())?;
        if doors.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "ERR Configured to not listen anywhere"));
        }
        Self::start(engine, true, doors)
    }

    fn start(engine: &Engine, follows: bool, doors: Vec<Door>) -> Result<Listener> {
        let is_encrypted = doors.iter().any(Door::is_encrypted);
        let encryption = is_encrypted.then(|| encryption::by_options(engine.config())).transpose()?;
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            follows,
            stopping: AtomicBool::new(false),
            generation: os::generation(),
            waker,
            waiting: Mutex::new(Some(Vec::new())),
            places: Mutex::default(),
            encryption: Mutex::new(encryption),
        });
        // Before the first client can ask: INFO tells where the engine listens.
        let acceptor = Acceptor::new(shared.clone(), doors, woken)?;
        let thread = std::thread::Builder::new()
            .name("keystead-accept".into())
            .spawn(move || acceptor.run())
            .inspect_err(|_| shared.show(&[]))?;
        let face: Weak<dyn Face> = Arc::downgrade(&(shared.clone() as Arc<dyn Face>));
        engine.inner.network.enter(face);
        Ok(Listener { shared, thread: Some(thread) })
    }

    /// The addresses it listens on at the moment, encrypted ones among them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.places.lock().iter().filter_map(Place::address).collect()
    }

    /// All that it listens at, as [`Engine::listen`] takes it: `127.0.0.1:6379`, `unix:/run/app.sock`, `tls:127.0.0.1:6380`.
    pub fn places(&self) -> Vec<String> {
        self.shared.places.lock().iter().map(Place::to_string).collect()
    }

    /// Waits until the listener ends: a server does so on SHUTDOWN.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.show(&[]);
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake();
        // A forked child has no such thread.
        if self.shared.is_here()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Whether the thread is in this process, and not in the one that forked it.
    fn is_here(&self) -> bool {
        self.generation == os::generation()
    }

    fn wake(&self) {
        // A full pipe wakes as well as a byte more.
        let _ = std::io::Write::write(&mut &self.waker, &[0]);
    }

    /// Tells where it listens from now on.
    fn show(&self, places: &[Place]) {
        let before = std::mem::replace(&mut *self.places.lock(), places.to_vec());
        before.iter().for_each(|place| self.engine.inner.network.stopped_listening(place));
        places.iter().for_each(|place| self.engine.inner.network.listens(place.clone()));
    }

    /// What encrypted connections are encrypted with from now on.
    fn encryption(&self) -> Option<Arc<ServerConfig>> {
        self.encryption.lock().clone()
    }
}

impl Face for Shared {
    fn follow(&self) -> bool {
        if !self.follows || !self.is_here() {
            return true;
        }
        let (answer, answered) = sync_channel(1);
        match &mut *self.waiting.lock() {
            Some(waiting) => waiting.push(answer),
            None => return true,
        }
        self.wake();
        // The thread ends without an answer only when the listener ends.
        answered.recv().unwrap_or(true)
    }

    fn follow_encryption(&self) -> bool {
        if !self.is_here() {
            return true;
        }
        let is_used = self.places.lock().iter().any(|place| matches!(place, Place::Tls(_)));
        // A port may follow in the same CONFIG SET; who has none does not care what the certificates are.
        let may_be = self.follows && self.engine.config().tls_port() != 0;
        if !is_used && !may_be {
            return true;
        }
        match encryption::by_options(self.engine.config()) {
            Ok(encryption) => {
                *self.encryption.lock() = Some(encryption);
                true
            }
            Err(error) => {
                warn(format_args!("{error}"));
                false
            }
        }
    }

    fn most_clients(&self, wanted: u64) -> Option<u64> {
        sockets::most_clients(wanted)
    }

    fn look(&self) {
        if self.is_here() {
            self.wake();
        }
    }

    fn is_server(&self) -> bool {
        self.follows && self.is_here()
    }

    fn end(&self) {
        if self.is_server() {
            self.stopping.store(true, Ordering::Release);
            self.wake();
        }
    }
}

/// Writes to where the log of a server goes.
fn warn(text: std::fmt::Arguments<'_>) {
    eprintln!("{text}");
}

/// A warning that strangers can cause as often as they like: written once a minute at most.
struct Quiet {
    until_ms: AtomicU64,
}

impl Quiet {
    const MS: u64 = 60_000;

    const fn new() -> Quiet {
        Quiet { until_ms: AtomicU64::new(0) }
    }

    fn warn(&self, engine: &Engine, text: std::fmt::Arguments<'_>) {
        let now_ms = engine.inner.keyspace.clock.now_ms();
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        if until_ms <= now_ms {
            self.until_ms.store(now_ms + Self::MS, Ordering::Relaxed);
            warn(text);
        }
    }
}
