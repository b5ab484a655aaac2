//! A listener: lets Valkey's clients talk RESP2 and RESP3 to an engine over TCP.
//!
//! One thread accepts for all addresses (`accept.rs`) and ends idle clients; each connection has a thread of its own (`connection.rs`), with plain
//! blocking sockets. Unix sockets, TLS and an event loop are not here yet.

mod accept;
mod connection;
mod signal;
mod sockets;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use accept::Acceptor;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::network::Face;
use crate::os;
use crate::sync::Mutex;

/// Sockets that listen. Dropping it stops accepting; connections that are open go on.
///
/// Of the options it honours `maxclients`, `timeout`, `tcp-keepalive`, `tcp-backlog`, `protected-mode`, `requirepass`, `client-query-buffer-limit` and
/// `proto-max-bulk-len`, and writes to the standard error what Valkey writes to its log about clients that it ends.
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
    addresses: Mutex<Vec<SocketAddr>>,
}

impl Listener {
    /// Listens on `address`, whatever the options say; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn bind(engine: &Engine, address: impl ToSocketAddrs) -> Result<Listener> {
        let backlog = sockets::backlog(engine.config());
        let mut last = Error::new(ErrorKind::Io, "ERR there is no address to listen on");
        for address in address.to_socket_addrs()? {
            match sockets::open(address, backlog) {
                Ok(socket) => return Self::start(engine, false, vec![socket]),
                Err(error) => last = sockets::describe(address, &error),
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
        let sockets = sockets::open_all(engine.config())?;
        if sockets.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "ERR Configured to not listen anywhere"));
        }
        Self::start(engine, true, sockets)
    }

    fn start(engine: &Engine, follows: bool, sockets: Vec<std::net::TcpListener>) -> Result<Listener> {
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
            addresses: Mutex::default(),
        });
        // Before the first client can ask: INFO tells where the engine listens.
        let acceptor = Acceptor::new(shared.clone(), sockets, woken)?;
        let thread = std::thread::Builder::new()
            .name("keystead-accept".into())
            .spawn(move || acceptor.run())
            .inspect_err(|_| shared.show(&[]))?;
        let face: Weak<dyn Face> = Arc::downgrade(&(shared.clone() as Arc<dyn Face>));
        engine.inner.network.enter(face);
        Ok(Listener { shared, thread: Some(thread) })
    }

    /// The addresses it listens on at the moment.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.addresses.lock().clone()
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
    fn show(&self, addresses: &[SocketAddr]) {
        let before = std::mem::replace(&mut *self.addresses.lock(), addresses.to_vec());
        before.into_iter().for_each(|address| self.engine.inner.network.stopped_listening(address));
        addresses.iter().for_each(|address| self.engine.inner.network.listens(*address));
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
