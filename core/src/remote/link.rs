//! The tracked link: one connection to the remote that reads for the near cache, and by which the remote says what is no longer true.
//!
//! One thread at a time reads it ([`Reader`]), and keeps what comes before it reads on (R1 of `docs/remote.md`): a reply and the invalidation behind it stand in the order in which
//! the remote did them. That is the thread of the link, or one that waits for its own reply: to be woken by another would take as long as the remote does.
//! Any thread writes: requests of several go together, in the order of the queue of those who wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;

use super::address::{Address, OnDown, Options};
use super::breaker::{Breaker, before_connecting};
use super::codec;
use super::flight::{Answer, Flight, Lost, Slot};
use super::near::{Fetched, Near};
use super::plain::Greeting;
use super::transport::{Transport, is_silence};
use crate::clock::Clock;
use crate::resp::{Decoder, Value};
use crate::sync::{Arc, Condvar, Mutex};
use crate::targets::Place;

/// Fetches under way on a link; more wait (R16).
const MOST_FETCHES: usize = 64;
/// Heartbeats between two looks at whether the remote is a primary still (R12).
const ROLE_EVERY: u32 = 5;
/// So long after a caller has read, another may; the thread of the link looks less often meanwhile.
const CALLERS_READ: Duration = Duration::from_millis(1);
/// How long a remote that refuses tracking is left alone before it is asked again.
const REFUSED: Duration = Duration::from_secs(60);

/// The link of a remote, alive or not.
pub(super) struct Link {
    address: Address,
    options: Options,
    encryption: Option<Arc<ClientConfig>>,
    pub(super) near: Arc<Near>,
    breaker: Arc<Breaker>,
    live: ArcSwapOption<Live>,
    is_closing: AtomicBool,
    /// What the thread waits at between attempts.
    pause: (Mutex<()>, Condvar),
    /// Links so far.
    pub(super) generation: AtomicU64,
    /// The remote does not track.
    pub(super) is_refused: AtomicBool,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// A link that is alive: one generation. What is near was fetched by it, and goes with it (R2).
struct Live {
    transport: Transport,
    out: Mutex<Out>,
    /// Something left the queue.
    moved: Condvar,
    reader: Mutex<Reader>,
    /// When a caller read last, in the engine's milliseconds.
    caller_read_ms: AtomicU64,
    /// A caller has left replies of others to the thread of the link, which waits there while callers read.
    left: (Mutex<Left>, Condvar),
}

#[derive(Default)]
struct Left {
    is_left: bool,
    /// The thread of the link waits there.
    is_awaited: bool,
}

/// Who has it reads the link.
struct Reader {
    decoder: Decoder,
    buffer: Vec<u8>,
    /// When what was answered last had been sent: until then it is known that all that was said had been heard.
    proven_ms: u64,
    is_over: bool,
}

#[derive(Default)]
struct Out {
    queue: VecDeque<Pending>,
    /// What has not been sent yet.
    unsent: Vec<u8>,
    is_writing: bool,
    fetches: usize,
    /// Threads that wait until fewer fetches are under way.
    waiting: usize,
    last_sent_ms: u64,
    is_over: bool,
}

/// A request that was sent, or is about to be.
struct Pending {
    /// Replies in front of the one that answers, which are still to come, and those that have.
    before: usize,
    early: Vec<Value>,
    sent_ms: u64,
    kind: Kind,
}

enum Kind {
    Fetch(Arc<Flight>),
    Call(Arc<Slot>),
    Beat,
    Role,
}

/// Why a link is over.
#[derive(Debug)]
enum Over {
    Closed,
    Silent,
    Protocol,
    NoPrimary,
}

impl Link {
    /// A link, which its own thread brings up and keeps up.
    pub(super) fn open(
        address: Address,
        options: Options,
        encryption: Option<Arc<ClientConfig>>,
        near: Arc<Near>,
        breaker: Arc<Breaker>,
    ) -> std::io::Result<Arc<Link>> {
        let link = Arc::new(Link {
            address,
            options,
            encryption,
            near,
            breaker,
            live: ArcSwapOption::empty(),
            is_closing: AtomicBool::new(false),
            pause: Default::default(),
            generation: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let own = link.clone();
        let thread = thread::Builder::new().name("keystead-link".into()).spawn(move || own.run())?;
        *link.thread.lock() = Some(thread);
        Ok(link)
    }

    /// Ends it, and waits for its thread: no longer than connecting takes.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        let held = self.pause.0.lock();
        self.pause.1.notify_all();
        drop(held);
        if let Some(live) = &*self.live.load() {
            live.transport.shut_down();
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Ends the link that there is, so that another is made: to whoever is the primary by now.
    pub(super) fn reset(&self) {
        if let Some(live) = &*self.live.load() {
            // First nothing is served any more: whoever reads sees the end of the connection a little later.
            self.near.lease(0);
            live.transport.shut_down();
        }
    }

    /// Whether there is a link, to this server.
    pub(super) fn is_to(&self, place: &Place) -> bool {
        self.live.load().as_ref().is_some_and(|live| live.transport.place() == Some(place))
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load().is_some()
    }

    /// Asks for how long the remote keeps a key, and then for what a command says of it. False if there is no link: nobody will land the flight.
    ///
    /// The link tracks whatever it reads, since it reads for nothing else: that takes two commands, where to ask for tracking and for one moment (`CLIENT CACHING`, `MULTI`) took five. What
    /// is written between the two is told between their replies, so that the time of the one is not taken for that of the other.
    pub(super) fn fetch(&self, flight: &Arc<Flight>, argv: &[&[u8]], fields: &[&[u8]]) -> bool {
        let mut bytes = Vec::with_capacity(128 + 2 * codec::encoded_len(argv));
        codec::encode(&mut bytes, &[b"PTTL", &flight.key]);
        if !fields.is_empty() {
            let mut count = itoa::Buffer::new();
            let words = [b"HPTTL", &flight.key[..], b"FIELDS", count.format(fields.len()).as_bytes()];
            codec::encode(&mut bytes, &[&words, fields].concat());
        }
        codec::encode(&mut bytes, argv);
        let before = 1 + usize::from(!fields.is_empty());
        self.send(&bytes, before, Kind::Fetch(flight.clone()))
    }

    /// Sends a command that depends on no session. `None` if there is no link: it was not sent.
    pub(super) fn call(&self, argv: &[&[u8]]) -> Option<Arc<Slot>> {
        let mut bytes = Vec::with_capacity(codec::encoded_len(argv));
        codec::encode(&mut bytes, argv);
        let slot = Arc::new(Slot::default());
        self.send(&bytes, 0, Kind::Call(slot.clone())).then_some(slot)
    }

    fn send(&self, bytes: &[u8], before: usize, kind: Kind) -> bool {
        let live = self.live.load_full();
        live.is_some_and(|live| self.send_on(&live, bytes, before, kind))
    }

    fn send_on(&self, live: &Live, bytes: &[u8], before: usize, kind: Kind) -> bool {
        let is_fetch = matches!(kind, Kind::Fetch(_));
        let mut out = live.out.lock();
        while is_fetch && out.fetches >= MOST_FETCHES && !out.is_over {
            out.waiting += 1;
            out = live.moved.wait(out, None);
            out.waiting -= 1;
        }
        if out.is_over {
            return false;
        }
        let sent_ms = self.near.now_ms();
        out.fetches += usize::from(is_fetch);
        out.last_sent_ms = sent_ms;
        out.queue.push_back(Pending { before, early: Vec::new(), sent_ms, kind });
        out.unsent.extend_from_slice(bytes);
        if out.is_writing {
            // Who writes will write this, too.
            return true;
        }
        out.is_writing = true;
        while !out.unsent.is_empty() && !out.is_over {
            let unsent = std::mem::take(&mut out.unsent);
            drop(out);
            if live.transport.write_all(&unsent).is_err() {
                // Who reads will hear of it.
                live.transport.shut_down();
            }
            out = live.out.lock();
        }
        out.is_writing = false;
        true
    }

    fn run(&self) {
        let mut attempt = 0;
        while !self.is_closing.load(Ordering::Acquire) {
            let wait = match self.establish() {
                Ok(Some(live)) => {
                    attempt = 0;
                    self.serve(live);
                    before_connecting(0)
                }
                Ok(None) => REFUSED,
                Err(error) => {
                    self.breaker.connection_failed(&error);
                    attempt += 1;
                    before_connecting(attempt)
                }
            };
            let held = self.pause.0.lock();
            if !self.is_closing.load(Ordering::Acquire) {
                drop(self.pause.1.wait(held, Some(wait)));
            }
        }
    }

    /// Connects and has the remote track what this link reads; `None` where it does not.
    fn establish(&self) -> std::io::Result<Option<Live>> {
        let Options { connect_timeout, deadline, .. } = self.options;
        let transport =
            Transport::connect(&self.address, self.encryption.as_ref(), connect_timeout, deadline)?;
        let mut greeting = Greeting::new(&transport, connect_timeout);
        let hello = greeting.hello(&self.address, true)?;
        let tracks = hello.as_ref().is_ok_and(Greeted::can_track);
        if let Err(told) = &hello {
            // A remote that is loading, or that knows no such user, may change its mind.
            if !told.starts_with(b"NOPROTO") && !told.starts_with(b"ERR unknown command") {
                return Err(std::io::Error::other(String::from_utf8_lossy(told).into_owned()));
            }
        }
        if hello.as_ref().is_ok_and(|greeted| greeted.role != b"master") {
            return Err(std::io::Error::other("it is no primary"));
        }
        if !tracks || !greeting.is_ok(&[b"CLIENT", b"TRACKING", b"ON"])? {
            self.is_refused.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let proven_ms = self.near.now_ms();
        greeting.select(self.address.db)?;
        transport.set_read_timeout(self.tick())?;
        self.is_refused.store(false, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
        // Where old values were served meanwhile, they end here.
        self.near.lease(0);
        self.near.drop_all();
        self.near.lease(proven_ms + self.bound_ms());
        self.breaker.succeeded();
        let out = Out { last_sent_ms: proven_ms, ..Out::default() };
        let reader =
            Reader { decoder: Decoder::default(), buffer: vec![0; 64 << 10], proven_ms, is_over: false };
        Ok(Some(Live {
            transport,
            out: Mutex::new(out),
            moved: Condvar::default(),
            reader: Mutex::new(reader),
            caller_read_ms: AtomicU64::new(0),
            left: Default::default(),
        }))
    }

    fn tick(&self) -> Duration {
        (self.options.heartbeat.min(self.options.deadline) / 4).max(Duration::from_millis(1))
    }

    /// Waits for an answer, for so long at most: reads the link meanwhile, if nobody does.
    pub(super) fn wait(&self, slot: &Slot, most: Duration) -> Answer {
        let timer = Clock::system().timer();
        let Some(live) = self.live.load_full() else { return slot.wait(most) };
        if let Some(mut reader) = live.reader.try_lock() {
            while !slot.is_filled() && !reader.is_over && timer.elapsed() < most {
                live.caller_read_ms.store(self.near.now_ms(), Ordering::Relaxed);
                if self.read_on(&live, &mut reader).is_err() {
                    // The thread of the link finds it ended.
                    live.transport.shut_down();
                    break;
                }
            }
            drop(reader);
            if !live.out.lock().queue.is_empty() {
                let mut left = live.left.0.lock();
                left.is_left = true;
                if left.is_awaited {
                    live.left.1.notify_all();
                }
            }
        }
        slot.wait(most.saturating_sub(timer.elapsed()))
    }

    fn bound_ms(&self) -> u64 {
        self.options.bound().as_millis() as u64
    }

    fn serve(&self, live: Live) {
        let live = Arc::new(live);
        self.live.store(Some(live.clone()));
        let _why = self.watch(&live);
        // First nothing is served any more, then it goes (R3), and only then is anybody told that there is no link.
        self.near.lease(0);
        live.transport.shut_down();
        // Who reads has vouched for it once more, perhaps.
        let mut reader = live.reader.lock();
        reader.is_over = true;
        match self.options.on_down {
            OnDown::Stale(time) if !self.is_closing.load(Ordering::Acquire) => {
                self.near.lease(reader.proven_ms + (time.as_millis() as u64).max(self.bound_ms()));
            }
            _ => {
                self.near.lease(0);
                self.near.drop_all();
            }
        }
        drop(reader);
        self.live.store(None);
        let mut out = live.out.lock();
        out.is_over = true;
        let lost = std::mem::take(&mut out.queue);
        drop(out);
        live.moved.notify_all();
        for pending in lost {
            self.answer(pending.kind, Err(Lost::Link));
        }
    }

    fn answer(&self, kind: Kind, answer: Answer) {
        match kind {
            Kind::Fetch(flight) => {
                self.near.land(&flight, None);
                flight.slot.fill(answer);
            }
            Kind::Call(slot) => slot.fill(answer),
            Kind::Beat | Kind::Role => {}
        }
    }

    /// Reads what no caller does, and looks whether the remote is there, until the link is over.
    fn watch(&self, live: &Live) -> Over {
        let mut beats = 0;
        loop {
            if let Err(over) = self.read_what_is_left(live) {
                return over;
            }
            if self.is_closing.load(Ordering::Acquire) {
                return Over::Closed;
            }
            let out = live.out.lock();
            // Behind the lock: what others send is stamped under it.
            let now_ms = self.near.now_ms();
            let (oldest, last_sent_ms) = (out.queue.front().map(|oldest| oldest.sent_ms), out.last_sent_ms);
            drop(out);
            if oldest.is_some_and(|sent_ms| now_ms - sent_ms > self.options.deadline.as_millis() as u64) {
                return Over::Silent;
            }
            if oldest.is_none() && now_ms - last_sent_ms >= self.options.heartbeat.as_millis() as u64 {
                beats += 1;
                let is_role = beats % ROLE_EVERY == 0;
                let (bytes, kind): (&[u8], _) = match is_role {
                    true => (b"*1\r\n$4\r\nROLE\r\n", Kind::Role),
                    false => (b"*1\r\n$4\r\nPING\r\n", Kind::Beat),
                };
                self.send_on(live, bytes, 0, kind);
            }
        }
    }

    fn read_what_is_left(&self, live: &Live) -> Result<(), Over> {
        let last_ms = live.caller_read_ms.load(Ordering::Relaxed);
        if self.near.now_ms() <= last_ms + CALLERS_READ.as_millis() as u64 {
            // Callers read for themselves, until one has its reply before others have theirs.
            let mut left = live.left.0.lock();
            if !left.is_left {
                left.is_awaited = true;
                left = live.left.1.wait(left, Some(CALLERS_READ));
                left.is_awaited = false;
            }
            if !std::mem::take(&mut left.is_left) {
                return Ok(());
            }
        } else if !live.transport.wait(self.tick()) {
            return Ok(());
        }
        let Some(mut reader) = live.reader.try_lock() else { return Ok(()) };
        // Where nothing comes, it is time to look how long that has been so.
        while self.read_on(live, &mut reader)? && !live.out.lock().queue.is_empty() {}
        Ok(())
    }

    /// Reads once, and takes what is complete. False: nothing has come for a while.
    fn read_on(&self, live: &Live, reader: &mut Reader) -> Result<bool, Over> {
        match live.transport.read(&mut reader.buffer) {
            Ok(0) => return Err(Over::Closed),
            Ok(len) => reader.decoder.feed(&reader.buffer[..len]),
            Err(error) if is_silence(&error) => return Ok(false),
            Err(_) => return Err(Over::Closed),
        }
        loop {
            match reader.decoder.next() {
                Ok(Some(value)) => self.take(live, value, &mut reader.proven_ms)?,
                Ok(None) => return Ok(true),
                Err(_) => return Err(Over::Protocol),
            }
        }
    }

    /// Takes what has come, before anything that came behind it is looked at.
    fn take(&self, live: &Live, value: Value, proven_ms: &mut u64) -> Result<(), Over> {
        let value = match value {
            Value::Attributed { value, .. } => *value,
            value => value,
        };
        if codec::has_push_within(&value) {
            return Err(Over::Protocol);
        }
        if let Value::Push(parts) = &value {
            return self.hear(live, parts);
        }
        let mut out = live.out.lock();
        let Some(first) = out.queue.front_mut() else { return Err(Over::Protocol) };
        if first.before > 0 {
            first.before -= 1;
            first.early.push(value);
            return Ok(());
        }
        let Some(pending) = out.queue.pop_front() else { return Err(Over::Protocol) };
        out.fetches -= usize::from(matches!(pending.kind, Kind::Fetch(_)));
        let has_waiters = out.waiting > 0;
        drop(out);
        if has_waiters {
            live.moved.notify_all();
        }
        // What it said before it replied was said after this was asked.
        *proven_ms = pending.sent_ms;
        self.near.lease(pending.sent_ms + self.bound_ms());
        match pending.kind {
            Kind::Fetch(flight) => self.land(&flight, pending.sent_ms, &pending.early, value),
            Kind::Role => return is_primary(&value).then_some(()).ok_or(Over::NoPrimary),
            Kind::Beat => {}
            Kind::Call(slot) => slot.fill(Ok(Arc::new(value))),
        }
        Ok(())
    }

    /// `early` is how long the key has left, and its fields if it was asked for some.
    fn land(&self, flight: &Flight, asked_ms: u64, early: &[Value], value: Value) {
        let left = |reply: &Value| match reply {
            Value::Integer(left @ 0..) => Some(*left as u64),
            _ => None,
        };
        let of_fields = early.get(1).and_then(|fields| match fields {
            Value::Array(fields) => fields.iter().filter_map(left).min(),
            _ => None,
        });
        let ttl_ms = early.first().and_then(left).into_iter().chain(of_fields).min();
        let is_kept = early.iter().chain([&value]).all(|reply| codec::failure(reply).is_none());
        let fetched = Fetched { value: &value, asked_ms, ttl_ms, cap: self.options.ttl_cap };
        self.near.land(flight, is_kept.then_some(&fetched));
        flight.slot.fill(Ok(Arc::new(value)));
    }

    /// Hears what is no longer true (R8).
    fn hear(&self, live: &Live, parts: &[Value]) -> Result<(), Over> {
        let (Some(Value::Bulk(kind) | Value::Simple(kind)), rest) = (parts.first(), parts.get(1)) else {
            return Ok(());
        };
        match (&kind[..], rest) {
            (b"invalidate", Some(Value::Array(keys))) => {
                let keys = keys
                    .iter()
                    .filter_map(|key| if let Value::Bulk(key) = key { Some(&key[..]) } else { None });
                for key in keys {
                    self.near.hear(key);
                    live.soil_half(|half| *half.key == *key);
                }
            }
            (b"invalidate", _) => {
                self.near.drop_all();
                live.soil_half(|_| true);
            }
            (b"tracking-redir-broken", _) => return Err(Over::Protocol),
            _ => {}
        }
        Ok(())
    }
}

impl Live {
    /// A key has changed: if it is the one whose time has come and whose value has not, they are not of one moment.
    fn soil_half(&self, is_it: impl FnOnce(&Flight) -> bool) {
        if let Some(Pending { early, kind: Kind::Fetch(flight), .. }) = self.out.lock().queue.front()
            && !early.is_empty()
            && is_it(flight)
        {
            flight.soil();
        }
    }
}

/// What a remote says of itself in its greeting.
pub(super) struct Greeted {
    pub(super) role: Vec<u8>,
    pub(super) version: Vec<u8>,
}

impl Greeted {
    /// Messages stand within replies of servers before 7.2.
    fn can_track(&self) -> bool {
        let mut parts =
            self.version.split(|byte| *byte == b'.').map(|part| crate::num::parse_u64(part).unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (7, 2)
    }
}

fn is_primary(role: &Value) -> bool {
    match role {
        Value::Array(parts) => matches!(parts.first(), Some(Value::Bulk(role)) if role == b"master"),
        // A user who may not ask does not know.
        value => codec::failure(value).is_some_and(|told| told.starts_with(b"NOPERM")),
    }
}
