//! The clients of an engine: the registry of their sessions, what CLIENT INFO and CLIENT LIST tell about each, and what a session remembers
//! (`state.rs`, `subscriptions.rs`). Who hears what is published is in `channels.rs`, what others have for a client is in `outbox.rs`, how they end its wait in `blocking.rs`, who sees all commands in `monitors.rs`.

mod blocking;
mod channels;
mod link;
mod monitors;
mod outbox;
mod pause;
mod standing;
mod state;
mod subscriptions;
mod tracking;
mod traits;
mod transaction;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::acl::User;
use crate::keyspace::watch::WatchFlag;
use crate::os::{Frozen, Guard};
use crate::sync::{Arc, Mutex};
pub(crate) use blocking::{Blocking, Ending};
pub(crate) use channels::{Channels, Kind as SubscriptionKind};
pub(crate) use link::{Buffers, Link};
use monitors::Monitors;
pub use outbox::Wake;
pub(crate) use outbox::{Awaited, Late, Outbox};
pub(crate) use pause::{Pause, Paused};
pub(crate) use standing::Standing;
use standing::Standings;
pub(crate) use state::{Blocked, SessionState, Watched};
use subscriptions::{Subscribed, Subscriptions};
pub(crate) use tracking::{Tracking, Wishes};
pub(crate) use traits::{Trait, Traits};
pub(crate) use transaction::Transaction;

/// What others may know of a session. Written by the session itself, read by CLIENT LIST.
pub(crate) struct ClientInfo {
    pub(crate) id: u64,
    pub(crate) address: ClientAddress,
    /// Who it acts as, and what that means for it.
    standings: Standings,
    /// The connection that it came by, if the engine's listener serves it.
    pub(crate) link: Option<Arc<Link>>,
    /// Its connection was ended by somebody else: nothing of it is executed any more.
    cut: AtomicBool,
    /// Something of it is being executed.
    #[cfg(feature = "listener")]
    pub(crate) busy: AtomicBool,
    pub(crate) created_ms: u64,
    pub(crate) names: Mutex<ClientNames>,
    pub(crate) db: AtomicUsize,
    pub(crate) resp3: AtomicBool,
    /// Number of the last command in the command table; `usize::MAX` before the first.
    pub(crate) last_command: AtomicUsize,
    pub(crate) last_seen_ms: AtomicU64,
    pub(crate) commands: AtomicU64,
    /// Commands in the transaction; -1 before the first MULTI or WATCH.
    pub(crate) queued: AtomicI64,
    pub(crate) in_transaction: AtomicBool,
    /// Bytes received from it and sent to it; none in process.
    pub(crate) input: AtomicU64,
    pub(crate) output: AtomicU64,
    pub(crate) watching: AtomicUsize,
    /// Raised when one of the watched keys changes.
    pub(crate) watch_flag: WatchFlag,
    /// Its replies are tapes, and not RESP.
    pub(crate) reads_tape: bool,
    /// It sees each command that is executed.
    pub(crate) is_monitor: AtomicBool,
    /// How it has asked to be served.
    pub(crate) traits: Traits,
    /// Who is told in its place of keys that have changed; 0 if nobody.
    pub(crate) redirects_to: AtomicU64,
    /// What it is subscribed to.
    pub(crate) subscribed: Subscribed,
    /// What other threads have for it.
    pub(crate) outbox: Outbox,
    /// Bytes of the words of the command that it waits with.
    pub(crate) held_words: AtomicUsize,
    /// Its wait for the reply of its last command.
    blocking: Mutex<Option<Arc<dyn Blocking>>>,
}

impl ClientInfo {
    /// Watched keys; none once one of them has changed, since EXEC looks at none any more.
    pub(crate) fn watched(&self) -> usize {
        if self.has_lost() { 0 } else { self.watching.load(Ordering::Relaxed) }
    }

    /// Who is told in its place of keys that have changed, as CLIENT GETREDIR tells it: 0 if it is told itself, -1 if it does not track.
    pub(crate) fn redirect(&self) -> i64 {
        match self.traits.has(Trait::TRACKING) {
            true => self.redirects_to.load(Ordering::Relaxed) as i64,
            false => -1,
        }
    }

    /// Whether it has a connection that can be ended.
    pub(crate) fn has_connection(&self) -> bool {
        self.link.is_some()
    }

    /// Its wait, if it waits for the reply of a command.
    pub(crate) fn blocking(&self) -> Option<Arc<dyn Blocking>> {
        self.blocking.lock().clone()
    }

    /// It waits from now on, or no longer.
    pub(crate) fn set_blocking(&self, blocking: Option<Arc<dyn Blocking>>) {
        let before = std::mem::replace(&mut *self.blocking.lock(), blocking);
        // Outside: it may be the last to know the client.
        drop(before);
    }

    /// It no longer waits, if the wait of this number is the one that is on.
    pub(crate) fn end_blocking(&self, number: u64) {
        let mut blocking = self.blocking.lock();
        let ended = blocking.take_if(|wait| wait.number() == number);
        drop(blocking);
        // Outside, as above.
        drop(ended);
    }

    /// Bytes that its connection holds.
    #[cfg(feature = "listener")]
    pub(crate) fn held(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.held())
    }

    /// Ends its connection.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        if let Some(link) = &self.link {
            link.cut();
        }
    }

    /// Whether its connection was ended by [`ClientInfo::cut`].
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Whether a watched key has changed: EXEC will do nothing.
    pub(crate) fn has_lost(&self) -> bool {
        self.watch_flag.load(Ordering::Acquire)
    }
}

/// What the client told about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientNames {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Clients {
    open: Mutex<BTreeMap<u64, Arc<ClientInfo>>>,
    next_id: AtomicU64,
    opened: AtomicU64,
    pub(crate) monitors: Monitors,
    pub(crate) channels: Channels,
    pub(crate) pause: Pause,
    pub(crate) tracking: Tracking,
}

impl Clients {
    pub(crate) fn register(
        &self,
        user: &Arc<User>,
        address: ClientAddress,
        link: Option<Arc<Link>>,
        reads_tape: bool,
        now_ms: u64,
    ) -> Arc<ClientInfo> {
        let info = Arc::new(ClientInfo {
            id: self.next_id.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            standings: Standings::new(user.clone()),
            link,
            cut: AtomicBool::new(false),
            #[cfg(feature = "listener")]
            busy: AtomicBool::new(false),
            created_ms: now_ms,
            names: Mutex::new(ClientNames::default()),
            db: AtomicUsize::new(0),
            resp3: AtomicBool::new(false),
            last_command: AtomicUsize::new(usize::MAX),
            last_seen_ms: AtomicU64::new(now_ms),
            commands: AtomicU64::new(0),
            queued: AtomicI64::new(-1),
            in_transaction: AtomicBool::new(false),
            input: AtomicU64::new(0),
            output: AtomicU64::new(0),
            watching: AtomicUsize::new(0),
            watch_flag: WatchFlag::default(),
            reads_tape,
            is_monitor: AtomicBool::new(false),
            traits: Traits::default(),
            redirects_to: AtomicU64::new(0),
            subscribed: Subscribed::default(),
            outbox: Outbox::default(),
            held_words: AtomicUsize::new(0),
            blocking: Mutex::default(),
        });
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(info.id, info.clone());
        info
    }

    /// Starts counting opened sessions anew, as CONFIG RESETSTAT asks.
    pub(crate) fn reset_opened(&self) {
        self.opened.store(0, Ordering::Relaxed);
    }

    pub(crate) fn forget(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    /// Locks the registry, and the names, the wait and the outbox of every session: in a child, CLIENT LIST still reads of other threads' sessions.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        // Who publishes holds a channel while it fills outboxes.
        self.channels.freeze(held);
        self.tracking.freeze(held);
        let open = self.open.lock();
        for info in open.values() {
            let names = Frozen::new(info.clone(), |info: &ClientInfo, held| {
                held.push(Box::new(info.names.lock()));
                held.push(Box::new(info.blocking.lock()));
                held.push(info.outbox.freeze());
            });
            held.push(Box::new(names));
        }
        held.push(self.monitors.freeze());
        held.push(self.pause.freeze());
        held.push(Box::new(open));
    }

    /// Every open session, by id.
    pub(crate) fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.open.lock().values().cloned().collect()
    }

    /// Has those look again whose waits are over at a time, in unix milliseconds.
    pub(crate) fn nudge_due(&self, now_ms: u64) {
        let is_due = |deadline_ms: u64| deadline_ms <= now_ms;
        for client in self.all() {
            if client.blocking().and_then(|wait| wait.deadline_ms()).is_some_and(is_due) {
                client.outbox.nudge();
            }
        }
    }

    /// The open session of this number.
    pub(crate) fn of(&self, id: u64) -> Option<Arc<ClientInfo>> {
        self.open.lock().get(&id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Sessions opened since the start.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
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
    /// Behind the Unix socket of this path.
    Unix(String),
}

impl ClientAddress {
    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            ClientAddress::InProcess | ClientAddress::Unix(_) => true,
            ClientAddress::Socket { peer, .. } => {
                peer.parse::<std::net::SocketAddr>().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
        }
    }

    /// The client's own address, empty in process.
    pub(crate) fn peer(&self) -> Cow<'_, str> {
        self.both().0
    }

    /// The client's own address and where it came in; both empty in process.
    pub(crate) fn both(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        match self {
            ClientAddress::InProcess => ("".into(), "".into()),
            ClientAddress::Socket { peer, local } => (peer.into(), local.into()),
            ClientAddress::Unix(path) => (format!("{path}:0").into(), format!("{path}:0").into()),
        }
    }
}
