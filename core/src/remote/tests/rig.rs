//! A remote whose moves the tests decide: a small server that tracks as Valkey does, and that can be slow, silent, gone or wrong.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::resp::{Decoder, Value};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};
use crate::{Clock, Engine};

/// The server.
#[derive(Clone)]
pub(super) struct Server(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

/// What tests change; everything happens under its mutex, one command at a time.
pub(super) struct State {
    /// Values, and when they end, in milliseconds.
    strings: HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    hashes: HashMap<Vec<u8>, Fields>,
    /// Keys that connections read with tracking.
    tracked: HashMap<Vec<u8>, BTreeSet<u64>>,
    peers: HashMap<u64, Peer>,
    next: u64,
    /// All commands that came, but for greetings.
    pub(super) log: Vec<(u64, Vec<Vec<u8>>)>,
    /// What would be sent waits until [`Server::release`].
    is_holding: bool,
    /// Nothing is read, and nothing sent.
    is_frozen: bool,
    /// Connections are closed as they come.
    pub(super) refuses: bool,
    pub(super) tracking_reply: &'static [u8],
    pub(super) hello_reply: Option<&'static [u8]>,
    pub(super) version: &'static str,
    pub(super) role: &'static str,
    pub(super) connections: usize,
    /// Replies that stand in the place of a command's own.
    pub(super) instead: HashMap<&'static str, Vec<u8>>,
    is_over: bool,
}

/// Values, and the milliseconds that they have left.
type Fields = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

struct Peer {
    socket: TcpStream,
    unsent: Vec<u8>,
    tracks: bool,
    queue: Option<Vec<Vec<Vec<u8>>>>,
    watched: bool,
}

/// So long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
#[track_caller]
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Clock::system().timer();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: still not so");
        thread::sleep(Duration::from_millis(1));
    }
}

fn now_ms() -> u64 {
    Clock::system().now_ms()
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State {
            strings: HashMap::new(),
            hashes: HashMap::new(),
            tracked: HashMap::new(),
            peers: HashMap::new(),
            next: 0,
            log: Vec::new(),
            is_holding: false,
            is_frozen: false,
            refuses: false,
            tracking_reply: b"+OK\r\n",
            hello_reply: None,
            version: "9.1.2",
            role: "master",
            connections: 0,
            instead: HashMap::new(),
            is_over: false,
        };
        let address = listener.local_addr().unwrap();
        let server =
            Server(Arc::new(Shared { address, state: Mutex::new(state), changed: Condvar::default() }));
        let own = server.clone();
        thread::spawn(move || own.accept(&listener));
        server
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// The URL of the server with these options.
    pub(super) fn url(&self, options: &str) -> String {
        format!("valkey://{}/0?{options}", self.0.address)
    }

    /// An engine that stands there and is linked. Each has a URL of its own.
    pub(super) fn engine(&self, options: &str) -> Engine {
        let engine = self.unlinked(options);
        until("a link", || engine.near_stats().is_some_and(|stats| stats.is_linked));
        engine
    }

    pub(super) fn unlinked(&self, options: &str) -> Engine {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        // Engines of one URL would be one.
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Engine::open(self.url(&format!("{options}&pool_size={}", 1000 + number))).unwrap()
    }

    /// Another client sets a key.
    pub(super) fn set(&self, key: &str, value: &str) {
        let mut state = self.state();
        state.strings.insert(key.into(), (value.into(), None));
        state.tell(key.as_bytes(), None);
        state.send_all();
    }

    pub(super) fn set_for(&self, key: &str, value: &str, ttl: Duration) {
        let mut state = self.state();
        state.strings.insert(key.into(), (value.into(), Some(now_ms() + ttl.as_millis() as u64)));
        state.tell(key.as_bytes(), None);
        state.send_all();
    }

    pub(super) fn set_field(&self, key: &str, field: &str, value: &str, ttl_ms: Option<i64>) {
        let mut state = self.state();
        state.hashes.entry(key.into()).or_default().insert(field.into(), (value.into(), ttl_ms));
        state.tell(key.as_bytes(), None);
        state.send_all();
    }

    /// What is sent from now on waits.
    pub(super) fn hold(&self) {
        self.state().is_holding = true;
    }

    /// What waits is sent, each connection's in one piece.
    pub(super) fn release(&self) {
        let mut state = self.state();
        state.is_holding = false;
        state.send_all();
    }

    /// Nothing is read any more, and nothing sent: as if the network were gone.
    pub(super) fn freeze(&self) {
        self.state().is_frozen = true;
    }

    pub(super) fn thaw(&self) {
        let mut state = self.state();
        state.is_frozen = false;
        state.send_all();
        drop(state);
        self.0.changed.notify_all();
    }

    /// Ends all connections.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        for (_, peer) in state.peers.drain() {
            let _ = peer.socket.shutdown(Shutdown::Both);
        }
        state.tracked.clear();
    }

    /// Sends bytes to all connections that track.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.state();
        state
            .peers
            .values_mut()
            .filter(|peer| peer.tracks)
            .for_each(|peer| peer.unsent.extend_from_slice(bytes));
        state.send_all();
    }

    /// Connections that there are.
    pub(super) fn connected(&self) -> usize {
        self.state().peers.len()
    }

    /// How often a command of this name and key has come.
    pub(super) fn count(&self, name: &str, key: &str) -> usize {
        let is_one = |words: &Vec<Vec<u8>>| {
            words[0].eq_ignore_ascii_case(name.as_bytes())
                && words.get(1).is_some_and(|word| word == key.as_bytes())
        };
        self.state().log.iter().filter(|(_, words)| is_one(words)).count()
    }

    /// Waits until such a command has come so often.
    #[track_caller]
    pub(super) fn await_command(&self, name: &str, key: &str, times: usize) {
        until(&format!("{times} times {name} {key}"), || self.count(name, key) >= times);
    }

    fn accept(&self, listener: &TcpListener) {
        for socket in listener.incoming() {
            let Ok(socket) = socket else { return };
            let mut state = self.state();
            if state.is_over {
                return;
            }
            state.connections += 1;
            if state.refuses {
                continue;
            }
            state.next += 1;
            let number = state.next;
            let own = socket.try_clone().unwrap();
            socket.set_nodelay(true).unwrap();
            let peer = Peer { socket, unsent: Vec::new(), tracks: false, queue: None, watched: false };
            state.peers.insert(number, peer);
            drop(state);
            let server = self.clone();
            thread::spawn(move || server.serve(number, own));
        }
    }

    fn serve(&self, number: u64, mut socket: TcpStream) {
        let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
        while let Ok(len @ 1..) = socket.read(&mut buffer) {
            decoder.feed(&buffer[..len]);
            let mut state = self.state();
            while state.is_frozen {
                state = self.0.changed.wait(state, None);
            }
            while let Ok(Some(Value::Array(words))) = decoder.next() {
                let words: Vec<Vec<u8>> = words
                    .into_iter()
                    .map(|word| match word {
                        Value::Bulk(word) => word,
                        other => panic!("{other:?} is no word"),
                    })
                    .collect();
                state.run(number, words);
            }
            state.send_all();
        }
        let mut state = self.state();
        state.peers.remove(&number);
        state.tracked.values_mut().for_each(|who| {
            who.remove(&number);
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.state.lock().is_over = true;
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn send_all(&mut self) {
        if self.is_holding || self.is_frozen {
            return;
        }
        for peer in self.peers.values_mut() {
            let _ = peer.socket.write_all(&peer.unsent);
            peer.unsent.clear();
        }
    }

    /// Tells those who track a key that it has changed; the writer, too, but behind its reply.
    fn tell(&mut self, key: &[u8], writer: Option<(u64, &mut Vec<u8>)>) {
        let mut message = b">2\r\n$10\r\ninvalidate\r\n*1\r\n".to_vec();
        Value::Bulk(key.to_vec()).write(&mut message);
        let (own, behind) = match writer {
            Some((own, behind)) => (own, Some(behind)),
            None => (0, None),
        };
        let who = self.tracked.remove(key).unwrap_or_default();
        if let Some(behind) = behind
            && who.contains(&own)
        {
            behind.extend_from_slice(&message);
        }
        for number in who {
            if number != own
                && let Some(peer) = self.peers.get_mut(&number)
            {
                peer.unsent.extend_from_slice(&message);
            }
        }
    }

    fn run(&mut self, number: u64, words: Vec<Vec<u8>>) {
        let text = |at: usize| {
            words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).unwrap_or_default()
        };
        let name = text(0);
        let is_greeting = matches!(&*name, "HELLO" | "PING" | "ROLE") || name == "CLIENT";
        if !is_greeting {
            self.log.push((number, words.clone()));
        }
        let mut behind = Vec::new();
        let queues = self.peers.get(&number).is_some_and(|peer| peer.queue.is_some());
        let reply: Vec<u8> = match &*name {
            "EXEC" => {
                let Some(peer) = self.peers.get_mut(&number) else { return };
                let queue = peer.queue.take().unwrap_or_default();
                let tracks = peer.tracks;
                peer.watched = false;
                let mut reply = format!("*{}\r\n", queue.len()).into_bytes();
                for words in queue {
                    reply.extend(self.execute(number, &words, tracks, &mut behind));
                }
                reply
            }
            "DISCARD" => {
                let Some(peer) = self.peers.get_mut(&number) else { return };
                (peer.queue, peer.watched) = (None, false);
                b"+OK\r\n".to_vec()
            }
            _ if queues => {
                let Some(queue) = self.peers.get_mut(&number).and_then(|peer| peer.queue.as_mut()) else {
                    return;
                };
                queue.push(words);
                b"+QUEUED\r\n".to_vec()
            }
            "MULTI" => {
                let Some(peer) = self.peers.get_mut(&number) else { return };
                peer.queue = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            _ => {
                let Some(peer) = self.peers.get_mut(&number) else { return };
                let tracks = peer.tracks;
                self.execute(number, &words, tracks, &mut behind)
            }
        };
        if let Some(peer) = self.peers.get_mut(&number) {
            peer.unsent.extend(reply);
            peer.unsent.extend(behind);
        }
    }

    fn execute(&mut self, number: u64, words: &[Vec<u8>], tracks: bool, behind: &mut Vec<u8>) -> Vec<u8> {
        let text = |at: usize| {
            words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).unwrap_or_default()
        };
        let bulk = |bytes: Option<&[u8]>| {
            let mut reply = Vec::new();
            bytes.map_or(Value::Null, |bytes| Value::Bulk(bytes.to_vec())).write(&mut reply);
            reply
        };
        let name = text(0);
        if let Some(instead) = self.instead.get(&*name) {
            return instead.clone();
        }
        let key = words.get(1).cloned().unwrap_or_default();
        let now = now_ms();
        if self.strings.get(&key).is_some_and(|(_, end)| end.is_some_and(|end| end <= now)) {
            self.strings.remove(&key);
        }
        if tracks && matches!(&*name, "GET" | "PTTL" | "HGET" | "HMGET" | "HPTTL" | "STRLEN") {
            self.tracked.entry(key.clone()).or_default().insert(number);
        }
        match &*name {
            "HELLO" => self.hello_reply.map_or_else(
                || {
                    let parts = ["server", "valkey", "version", self.version, "role", self.role];
                    let head: &[u8] = if text(1) == "3" { b"%3\r\n" } else { b"*6\r\n" };
                    let parts = parts.iter().flat_map(|part| bulk(Some(part.as_bytes())));
                    head.iter().copied().chain(parts).collect()
                },
                <[u8]>::to_vec,
            ),
            "CLIENT" if text(1) == "TRACKING" => {
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.tracks = self.tracking_reply == b"+OK\r\n";
                }
                self.tracking_reply.to_vec()
            }
            "PING" => b"+PONG\r\n".to_vec(),
            "ROLE" => [&b"*1\r\n"[..], &bulk(Some(self.role.as_bytes()))].concat(),
            "SELECT" => b"+OK\r\n".to_vec(),
            "WATCH" | "UNWATCH" => {
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.watched = name == "WATCH";
                }
                b"+OK\r\n".to_vec()
            }
            "GET" if self.hashes.contains_key(&key) => b"-WRONGTYPE Operation against a key\r\n".to_vec(),
            "GET" => bulk(self.strings.get(&key).map(|(value, _)| &value[..])),
            "STRLEN" => {
                format!(":{}\r\n", self.strings.get(&key).map_or(0, |(value, _)| value.len())).into_bytes()
            }
            "PTTL" => {
                let left = match self.strings.get(&key) {
                    Some((_, Some(end))) => end.saturating_sub(now) as i64,
                    Some(_) => -1,
                    None => {
                        if self.hashes.contains_key(&key) {
                            -1
                        } else {
                            -2
                        }
                    }
                };
                format!(":{left}\r\n").into_bytes()
            }
            "HGET" => {
                bulk(self.hashes.get(&key).and_then(|hash| hash.get(&words[2])).map(|(value, _)| &value[..]))
            }
            "HMGET" => {
                let mut reply = format!("*{}\r\n", words.len() - 2).into_bytes();
                for field in &words[2..] {
                    reply.extend(bulk(
                        self.hashes.get(&key).and_then(|hash| hash.get(field)).map(|(value, _)| &value[..]),
                    ));
                }
                reply
            }
            "HPTTL" => {
                let mut reply = format!("*{}\r\n", words.len() - 4).into_bytes();
                for field in &words[4..] {
                    let found = self.hashes.get(&key).and_then(|hash| hash.get(field));
                    let left = found.map_or(-2, |(_, ttl)| ttl.unwrap_or(-1));
                    reply.extend(format!(":{left}\r\n").into_bytes());
                }
                reply
            }
            "SET" => {
                self.strings.insert(key.clone(), (words[2].clone(), None));
                self.tell(&key, Some((number, behind)));
                b"+OK\r\n".to_vec()
            }
            "DEL" => {
                let existed = self.strings.remove(&key).is_some();
                self.tell(&key, Some((number, behind)));
                format!(":{}\r\n", i32::from(existed)).into_bytes()
            }
            "INCRBY" => {
                let before =
                    self.strings.get(&key).and_then(|(text, _)| crate::num::parse_i64(text)).unwrap_or(0);
                let sum = before + crate::num::parse_i64(&words[2]).unwrap_or(0);
                self.strings.insert(key.clone(), (sum.to_string().into_bytes(), None));
                self.tell(&key, Some((number, behind)));
                format!(":{sum}\r\n").into_bytes()
            }
            "FLUSHALL" | "FLUSHDB" => {
                self.strings.clear();
                self.hashes.clear();
                self.tracked.clear();
                let message = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
                for (other, peer) in &mut self.peers {
                    if peer.tracks && *other != number {
                        peer.unsent.extend_from_slice(message);
                    }
                }
                b"+OK\r\n".to_vec()
            }
            _ => format!("-ERR unknown command '{name}'\r\n").into_bytes(),
        }
    }
}
