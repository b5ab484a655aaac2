//! The thread of a listener: accepts connections, turns away those it can't serve, ends idle ones, and moves to other addresses.
//!
//! It sleeps until a connection comes, the first idle client is due, or somebody wakes it. Connections are served by `workers.rs`, as `connection.rs` says.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::connection::Connection;
use super::sockets::{Door, Visitor};
use super::workers::Workers;
use super::{Quiet, Shared, encryption, sockets, warn};
use crate::clients::{ClientInfo, Link};
use crate::config::{BufferClass, Value};
use crate::engine::Engine;

/// How long the thread waits when the system lacks what a connection needs, before it tries again.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often idle clients are looked for at most.
const ROUND: Duration = Duration::from_millis(50);

const FULL: &str = "-ERR max number of clients reached\r\n";

const DENIED: &str = "-DENIED Running in protected mode because protected mode is enabled and no password is set for the default user. In this mode \
    connections are only accepted from the loopback interface. If you want to connect from external computers, you may adopt one of the following \
    solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting from the \
    same host the server is running, however MAKE SURE it's not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this \
    change permanent. 2) Alternatively you can just disable the protected mode by editing the configuration file, and setting the protected mode \
    option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the \
    '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do one of the above things in \
    order for the server to start accepting connections from the outside.\r\n";

/// The thread's own part of a listener.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    workers: Workers,
    woken: UnixStream,
    /// A descriptor to do without when there are none left: with it a client can be told so.
    reserve: Option<File>,
}

/// What one attempt to accept came to.
enum Accepted {
    /// A connection was served or turned away.
    One,
    /// Nobody waits.
    None,
    /// The system lacks descriptors or memory.
    Nothing,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>, doors: Vec<Door>, woken: UnixStream) -> io::Result<Acceptor> {
        let workers = Workers::new(shared.engine.config().io_threads())?;
        let acceptor = Acceptor { shared, doors, workers, woken, reserve: reserve() };
        acceptor.show();
        Ok(acceptor)
    }

    fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    fn show(&self) {
        let places: Vec<_> = self.doors.iter().map(|door| door.place().clone()).collect();
        self.shared.show(&places);
    }

    pub(super) fn run(mut self) {
        let mut is_lacking = false;
        loop {
            let next = end_idle(self.engine()).into_iter().chain(end_slow(self.engine())).min();
            let ready = self.sleep(is_lacking, next);
            if self.shared.stopping.load(Ordering::Acquire) {
                self.shared.waiting.lock().take();
                return;
            }
            self.hire();
            let has_moved = self.move_if_asked();
            // Who is left out is still there at the next turn.
            is_lacking = !has_moved && !ready.into_iter().all(|index| self.accept(index));
        }
    }

    /// Waits until there is something to do. Returns the sockets with connections; with something lacking none is looked at, and the wait is short.
    fn sleep(&self, is_lacking: bool, next: Option<Duration>) -> Vec<usize> {
        let limit = if is_lacking { Some(next.map_or(PATIENCE, |next| next.min(PATIENCE))) } else { next };
        let limit = limit.map(|limit| Timespec::try_from(limit).expect("an hour at most"));
        let listening = if is_lacking { &[] } else { &self.doors[..] };
        let mut places: Vec<PollFd<'_>> = vec![PollFd::new(&self.woken, PollFlags::IN)];
        places.extend(listening.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        if poll(&mut places, limit.as_ref()).is_err() {
            // A signal: everything is looked at again.
            return Vec::new();
        }
        if !places[0].revents().is_empty() {
            self.drain();
        }
        let is_ready = |(index, place): (usize, &PollFd<'_>)| (!place.revents().is_empty()).then_some(index);
        places[1..].iter().enumerate().filter_map(is_ready).collect()
    }

    fn drain(&self) {
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    /// Moves to where the options say, for all who have asked by now; says whether anybody has.
    fn move_if_asked(&mut self) -> bool {
        let asked = self.shared.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default();
        if asked.is_empty() {
            return false;
        }
        let shared = self.shared.clone();
        let moved = sockets::follow(shared.engine.config(), &mut self.doors);
        if let Err(error) = &moved {
            warn(format_args!("{error}"));
        }
        self.show();
        let fine = moved.is_ok();
        // Whoever asked waits for the answer.
        for answer in asked {
            let _ = answer.send(fine);
        }
        true
    }

    /// Accepts some of the connections that wait at a socket; says whether the system has what more of them would need.
    fn accept(&mut self, index: usize) -> bool {
        let option = match self.doors[index].is_encrypted() {
            true => "max-new-tls-connections-per-cycle",
            false => "max-new-connections-per-cycle",
        };
        let most = match self.engine().config().value(option) {
            Some(Value::Int(most)) => most,
            _ => 1,
        };
        for _ in 0..most {
            match self.accept_one(index) {
                Accepted::One => {}
                Accepted::None => return true,
                Accepted::Nothing => return false,
            }
        }
        true
    }

    fn accept_one(&mut self, index: usize) -> Accepted {
        match self.doors[index].accept() {
            Ok(visitor) => {
                self.admit(visitor, self.doors[index].is_encrypted());
                self.reserve = self.reserve.take().or_else(reserve);
                Accepted::One
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => Accepted::None,
                Some(Errno::MFILE | Errno::NFILE) => self.turn_away(index),
                Some(Errno::NOMEM | Errno::NOBUFS) => Accepted::Nothing,
                // The client has gone meanwhile.
                _ => Accepted::One,
            },
        }
    }

    /// Tells a client that there is no descriptor for it, by means of the reserve.
    fn turn_away(&mut self, index: usize) -> Accepted {
        static QUIET: Quiet = Quiet::new();
        QUIET.warn(self.engine(), format_args!("Accepting client connection: no file descriptors are left"));
        if self.reserve.take().is_none() {
            self.reserve = reserve();
            return Accepted::Nothing;
        }
        let accepted = self.doors[index].accept();
        if let Ok(visitor) = &accepted {
            self.refuse(&visitor.socket, FULL);
        }
        let outcome = if accepted.is_ok() { Accepted::One } else { Accepted::Nothing };
        // The client's descriptor becomes the reserve again.
        drop(accepted);
        self.reserve = reserve();
        outcome
    }

    fn refuse(&self, socket: &OwnedFd, text: &str) {
        self.engine().inner.network.rejected.fetch_add(1, Ordering::Relaxed);
        // It fits what a socket takes at once; the client may be gone.
        let _ = rustix::io::ioctl_fionbio(socket, true);
        let _ = send(socket, text.as_bytes(), SendFlags::NOSIGNAL);
    }

    /// Has a connection served, or refuses it.
    fn admit(&self, visitor: Visitor, is_encrypted: bool) {
        let engine = self.engine();
        // Who has not shaken hands yet would not understand it.
        let refuse = |text| self.refuse(&visitor.socket, if is_encrypted { "" } else { text });
        if engine.inner.network.open.load(Ordering::Relaxed) >= engine.config().hot().maxclients() {
            return refuse(FULL);
        }
        if visitor.ip.is_some_and(|peer| is_denied(engine, peer)) {
            return refuse(DENIED);
        }
        let encryption = match self.shared.encryption() {
            Some(encryption) if is_encrypted => encryption::accept(&encryption).map(Some),
            _ => Ok(None),
        };
        let Ok(encryption) = encryption else { return refuse("") };
        if sockets::prepare(&visitor, engine.config()).is_err() {
            return;
        }
        let Visitor { socket, address, .. } = visitor;
        let link = Arc::new(Link::new(socket, engine.inner.network.held.clone()));
        let (open, engine) = (Open::new(engine), engine.clone());
        self.workers.place().serve(move || async move {
            let _open = open;
            // Without a place in the system's list of sockets it can't be served.
            if let Ok(connection) = Connection::new(&engine, link, address, encryption) {
                // The task would have room for it twice.
                Box::new(connection).await;
            }
        });
    }

    /// Has as many workers as the option `io-threads` says.
    fn hire(&mut self) {
        let wanted = self.engine().config().io_threads();
        if let Err(error) = self.workers.resize(wanted) {
            warn(format_args!("Starting a thread for connections: {error}"));
        }
    }
}

/// One of the connections that are open, counted while it lives.
struct Open(Engine);

impl Open {
    fn new(engine: &Engine) -> Open {
        engine.inner.network.open.fetch_add(1, Ordering::Relaxed);
        Open(engine.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.inner.network.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether protected mode keeps a client out: it is of another machine, and no password is set.
pub(super) fn is_denied(engine: &Engine, peer: IpAddr) -> bool {
    let is_on = engine.inner.config.value("protected-mode") == Some(Value::Bool(true));
    let needs_no_password = engine.inner.users.default_user().rights().needs_no_password();
    is_on && needs_no_password && !peer.to_canonical().is_loopback()
}

/// Ends the connections of clients that have been idle for `timeout` seconds. Returns when to look again, if ever without being woken.
fn end_idle(engine: &Engine) -> Option<Duration> {
    let limit_ms = match engine.config().hot().timeout() {
        0 => return None,
        seconds => seconds.saturating_mul(1000),
    };
    let now_ms = engine.inner.keyspace.clock.now_ms();
    let mut next = None;
    // Who waits, or monitors, is not idle.
    let may_be_idle =
        |client: &Arc<ClientInfo>| client.blocking().is_none() && !client.is_monitor.load(Ordering::Relaxed);
    let clients = engine.inner.clients.all();
    for client in clients.iter().filter(|client| client.has_connection()).filter(|client| may_be_idle(client))
    {
        let idle_ms = match client.busy.load(Ordering::Relaxed) {
            true => 0,
            false => now_ms.saturating_sub(client.last_seen_ms.load(Ordering::Relaxed)),
        };
        if idle_ms > limit_ms {
            client.cut();
        } else {
            let left_ms = limit_ms - idle_ms + 1;
            next = Some(next.map_or(left_ms, |next: u64| next.min(left_ms)));
        }
    }
    next.map(|left_ms| Duration::from_millis(left_ms.min(3_600_000)).max(ROUND))
}

/// Ends the connections of clients that have had more replies unsent than the soft limit allows, for longer than it allows. Returns when to look again.
fn end_slow(engine: &Engine) -> Option<Duration> {
    if engine.inner.network.slow.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let now_ms = engine.inner.keyspace.clock.now_ms();
    let mut next = None;
    for client in engine.inner.clients.all() {
        let Some(since_ms) = client.link.as_ref().map(|link| link.above_since_ms()).filter(|ms| *ms > 0)
        else {
            continue;
        };
        let class = if client.subscribed.is_any() { BufferClass::PubSub } else { BufferClass::Normal };
        let longest_ms = engine.config().push_limit(class).soft_ms;
        let above_ms = now_ms.saturating_sub(since_ms);
        if above_ms > longest_ms {
            engine.inner.network.too_slow.fetch_add(1, Ordering::Relaxed);
            client.cut();
        } else {
            let left_ms = longest_ms - above_ms + 1;
            next = Some(next.map_or(left_ms, |next: u64| next.min(left_ms)));
        }
    }
    next.map(|left_ms| Duration::from_millis(left_ms).max(ROUND))
}
