//! A near cache behind a network that fails at random, beside a real server: no read is older than the bound, and none waits for longer than it may.
//!
//! `KEYSTEAD_FAULTS_SECONDS` says for how long (`cargo xtask test long`: half an hour), `KEYSTEAD_SEED` which faults.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use keystead::{Database, Engine, ErrorKind};
use keystead_tests::rng::Rng;
use keystead_tests::server::{Pair, Server};

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// What is sent waits, and comes later.
    Held,
    /// What is sent is lost, and nobody is told.
    Lost,
    /// A byte at a time.
    Dripping,
}

/// Stands between clients and a server.
struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    weather: Mutex<Weather>,
    sockets: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Proxy {
    fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, sockets) = (Mutex::new(Weather::Fair), Mutex::default());
        let shared = Arc::new(Shared { server, weather, sockets, is_over: AtomicBool::new(false) });
        let own = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if own.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(server) = TcpStream::connect(own.server) else { continue };
                let halves = [(&client, &server), (&server, &client)];
                for (from, to) in halves {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let own = own.clone();
                    thread::spawn(move || own.carry(from, to));
                }
                own.sockets.lock().unwrap().extend([client, server]);
            }
        });
        Proxy { address, shared }
    }

    fn turn(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    fn cut(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        const PAUSE: Duration = Duration::from_millis(1);
        let mut buffer = [0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            let mut rest = &buffer[..len];
            while !rest.is_empty() {
                if self.is_over.load(Ordering::Acquire) {
                    return;
                }
                let weather = *self.weather.lock().unwrap();
                let share = match weather {
                    Weather::Fair => rest.len(),
                    Weather::Dripping => 1,
                    Weather::Lost => {
                        // What has begun to be lost can't be mended: the stream has a hole.
                        let _ = from.set_read_timeout(Some(Duration::from_secs(3)));
                        while let Ok(1..) = from.read(&mut buffer) {}
                        let _ = to.shutdown(Shutdown::Both);
                        return;
                    }
                    Weather::Held => {
                        thread::sleep(PAUSE);
                        continue;
                    }
                };
                if to.write_all(&rest[..share]).is_err() {
                    return;
                }
                rest = &rest[share..];
                if weather == Weather::Dripping {
                    thread::sleep(PAUSE);
                }
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

const KEYS: usize = 8;
/// More values than any key is given.
const VALUES: usize = 4_000_000;

/// What was written, and when.
struct History {
    begun: Instant,
    /// When the write of a value had ended, in microseconds after the beginning; 0 while it has not. The values of a key are 1, 2, 3 and so on.
    ended: Vec<Vec<AtomicU64>>,
    reads: AtomicUsize,
    failures: AtomicUsize,
}

impl History {
    fn new(values: usize) -> History {
        let ended = (0..KEYS).map(|_| (0..values).map(|_| AtomicU64::new(0)).collect()).collect();
        History { begun: Instant::now(), ended, reads: AtomicUsize::new(0), failures: AtomicUsize::new(0) }
    }

    fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64 + 1
    }

    /// Reads a key, and checks that its value was current at some instant from the bound before the read to its end.
    fn read(&self, db: &Database, key: usize, bound: Duration, longest: Duration) {
        let begun_us = self.now_us();
        let read = db.get(format!("key:{key}"));
        let took = Duration::from_micros(self.now_us() - begun_us);
        assert!(took <= longest, "a read waited for {took:?}");
        match read {
            Ok(value) => {
                self.reads.fetch_add(1, Ordering::Relaxed);
                let value: usize =
                    String::from_utf8(value.expect("it was written")).unwrap().parse().unwrap();
                let next = self.ended[key].get(value + 1).map_or(0, |ended| ended.load(Ordering::Acquire));
                let since_us = begun_us.saturating_sub(bound.as_micros() as u64);
                assert!(
                    next == 0 || next >= since_us,
                    "key {key} was read as {value} at {begun_us} us, but {} was there at {next} us",
                    value + 1
                );
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_read_is_older_than_the_bound_whatever_the_network_does() {
    let time = Duration::from_secs(number("KEYSTEAD_FAULTS_SECONDS", 10));
    let seed = number("KEYSTEAD_SEED", 1);
    let server = Server::start(&Pair::from_env().unwrap().oracle).unwrap();
    let proxy = Proxy::before(server.address());
    let options = "heartbeat=100ms&deadline=200ms&timeout=500ms&connect_timeout=200ms";
    let engine = Engine::open(format!("valkey://{}/0?{options}", proxy.address)).unwrap();
    let bound = engine.near_stats().unwrap().staleness_bound;
    // Three tries at most, each behind connecting, and what a busy machine adds.
    let longest = Duration::from_secs(5);
    let history = History::new(VALUES.min(20_000 * (time.as_secs() as usize + 1)));
    let is_over = AtomicBool::new(false);
    let db = engine.database(0).unwrap();
    let mut direct = server.client().unwrap();
    for (key, ended) in history.ended.iter().enumerate() {
        direct.call(&["SET", &format!("key:{key}"), "1"]).unwrap();
        ended[1].store(history.now_us(), Ordering::Release);
    }
    thread::scope(|scope| {
        let until_over = |work: &mut dyn FnMut()| {
            while !is_over.load(Ordering::Acquire) {
                work();
            }
        };
        for reader in 0..3_u64 {
            let (history, db) = (&history, &db);
            scope.spawn(move || {
                let mut rng = Rng::new(seed * 100 + reader);
                until_over(&mut || history.read(db, rng.below(KEYS), bound, longest));
            });
        }
        // Another client writes, past the network's faults.
        let (history, server) = (&history, &server);
        scope.spawn(move || {
            let (mut client, mut rng) = (server.client().unwrap(), Rng::new(seed * 100 + 50));
            let mut values = [1; KEYS];
            until_over(&mut || {
                let key = rng.below(KEYS);
                if values[key] + 2 < history.ended[key].len() {
                    values[key] += 1;
                    client.call(&["SET", &format!("key:{key}"), &values[key].to_string()]).unwrap();
                    history.ended[key][values[key]].store(history.now_us(), Ordering::Release);
                }
                thread::sleep(Duration::from_micros(rng.below(2_000) as u64));
            });
        });
        // This process writes, too: what it has written it reads.
        let own = &db;
        scope.spawn(move || {
            let mut written = 0_u64;
            until_over(&mut || {
                let next = written + 1;
                let mut known = own.set("own", next.to_string()).is_ok();
                if !known {
                    // It may have been done, or not: who asks the server past the faults knows.
                    let told = server.client().unwrap().call(&["GET", "own"]).unwrap();
                    known = told.text() == Some(next.to_string().as_bytes());
                }
                written = if known { next } else { written };
                if let Ok(Some(value)) = own.get("own") {
                    let value: u64 = String::from_utf8(value).unwrap().parse().unwrap();
                    // One that was sent and not answered may come later.
                    assert!(value >= written, "{value} after {written} was written");
                    written = value;
                }
            });
        });
        let (mut rng, start) = (Rng::new(seed), Instant::now());
        let mut faults = 0;
        while start.elapsed() < time {
            faults += 1;
            match rng.below(8) {
                0 => proxy.cut(),
                1 => proxy.turn(Weather::Lost),
                2 => proxy.turn(Weather::Held),
                3 => proxy.turn(Weather::Dripping),
                4 => drop(
                    direct.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", "MAXAGE", "100000"]),
                ),
                5 => drop(direct.call(&["CLIENT", "PAUSE", "150", "ALL"])),
                6 => {
                    drop(direct.call(&["CONFIG", "SET", "tracking-table-max-keys", ["0", "2"][rng.below(2)]]))
                }
                _ => {}
            }
            thread::sleep(Duration::from_millis(rng.below(400) as u64));
            proxy.turn(Weather::Fair);
            thread::sleep(Duration::from_millis(rng.below(600) as u64));
        }
        is_over.store(true, Ordering::Release);
        let (reads, failures) =
            (history.reads.load(Ordering::Relaxed), history.failures.load(Ordering::Relaxed));
        let stats = engine.near_stats().unwrap();
        println!(
            "{faults} faults, {reads} reads, {failures} errors, {} links, {} fills",
            stats.generation, stats.fills
        );
        assert!(reads > 1000 && stats.generation > 1 && stats.fills > 10, "{stats:?}");
    });
}
