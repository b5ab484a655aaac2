//! Clients that mean no good to a listener: whatever they do, others are answered, and the process does not grow.
//!
//! It runs for `KEYSTEAD_HOSTILE_SECONDS`, a few if nobody says how many; `cargo xtask test long` asks for ten minutes. All at once: some send without end and never
//! read, some send without end and read, some close their half of the connection, some come and go, some announce strings that never come, some send bytes
//! at random, and a crowd of up to ten thousand does nothing at all. A witness asks all the time, and hears the right replies. When they have gone
//! nothing is left of them.

#![cfg(feature = "listener")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keystead::{Engine, Form, Listener};

/// As many as are known to be a problem for a thread each.
const CROWD: usize = 10_000;
/// Nobody waits longer for a reply, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Replies that one who does not read asks for.
const VALUE: usize = 64 << 10;
/// Bytes that all of them together may have the process grow by: buffers of sockets are the system's.
const MOST: usize = 256 << 20;

fn time() -> Duration {
    let seconds = std::env::var("KEYSTEAD_HOSTILE_SECONDS");
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds")))
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What the hostile share.
struct Scene {
    address: SocketAddr,
    ends: AtomicBool,
    /// Connections that were begun.
    begun: AtomicU64,
}

impl Scene {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    fn connect(&self) -> TcpStream {
        loop {
            if let Ok(stream) = TcpStream::connect(self.address) {
                self.begun.fetch_add(1, Ordering::Relaxed);
                stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                return stream;
            }
            // The queue is full, or descriptors are short for a moment.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

type Hostile = fn(&Scene, &mut Random);

/// Sends without end, and reads nothing.
fn never_reads(scene: &Scene, _: &mut Random) {
    let mut stream = scene.connect();
    let requests = b"GET value\r\n".repeat(500);
    let mut is_stuck = 0;
    while scene.goes_on() && is_stuck < 20 {
        is_stuck = if stream.write(&requests).is_err() { is_stuck + 1 } else { 0 };
    }
}

/// Sends without end, and reads what comes.
fn endless_pipeline(scene: &Scene, random: &mut Random) {
    let mut stream = scene.connect();
    let mut replies = vec![0; 256 << 10];
    for _ in 0..200 {
        let requests = format!("SET k{} v\r\nINCR n\r\nGET k1\r\n", random.next() % 1000).repeat(300);
        if !scene.goes_on() || stream.write(requests.as_bytes()).is_err() {
            return;
        }
        let _ = stream.read(&mut replies);
    }
}

/// Closes the half that sends, and leaves or reads the replies.
fn half_closed(scene: &Scene, random: &mut Random) {
    let mut stream = scene.connect();
    let requests: &[u8] = match random.next() % 3 {
        0 => b"BLPOP nothing 0\r\n",
        1 => b"SUBSCRIBE c\r\n",
        _ => b"GET value\r\nGET value\r\nGET val",
    };
    let _ = stream.write(requests);
    let _ = stream.shutdown(Shutdown::Write);
    if random.next().is_multiple_of(2) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
}

/// Comes and goes.
fn churn(scene: &Scene, random: &mut Random) {
    let mut stream = scene.connect();
    if random.next().is_multiple_of(2) {
        let _ = stream.write(b"PING\r\n");
    }
    if random.next().is_multiple_of(2) {
        let _ = stream.read(&mut [0; 16]);
    }
}

/// Announces much, and sends little of it.
fn never_comes(scene: &Scene, random: &mut Random) {
    let mut stream = scene.connect();
    let header: &[u8] = match random.next() % 4 {
        0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nxxx",
        1 => b"*2147483647\r\n$3\r\nSET\r\n",
        2 => b"*1000000\r\n$536870912\r\n",
        _ => b"MULTI\r\nSET a b\r\n*5\r\n$4\r\nMSET",
    };
    let _ = stream.write(header);
    std::thread::sleep(Duration::from_millis(20));
}

/// Sends bytes at random, some of which begin as requests do.
fn noise(scene: &Scene, random: &mut Random) {
    let mut stream = scene.connect();
    for _ in 0..20 {
        let mut bytes: Vec<u8> = (0..random.next() % 2000).map(|_| random.next() as u8).collect();
        if random.next().is_multiple_of(2) {
            bytes.splice(..0, *b"*2\r\n$3\r\nGET\r\n$");
        }
        if stream.write(&bytes).is_err() {
            return;
        }
    }
}

const HOSTILES: [Hostile; 6] = [never_reads, endless_pipeline, half_closed, churn, never_comes, noise];

/// Bytes of this process in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells what a process takes");
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Connects as many as there are descriptors for; each takes two, since both ends are in this process.
fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    let many = CROWD.min((limit as usize).saturating_sub(300) / 2);
    (0..many).map(|_| TcpStream::connect(address).unwrap()).collect()
}

fn info(engine: &Engine, name: &str) -> usize {
    let text = String::from_utf8(engine.session(Form::Resp).execute(&[b"INFO"]).to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.parse().unwrap()
}

#[test]
fn nothing_stops_or_bloats_the_process() {
    let options: [&[u8]; 2] = [b"--maxclients", b"20000"];
    let config = keystead::Config::from_arguments(&options).unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let listener = Listener::bind(&engine, "127.0.0.1:0").unwrap();
    let address = listener.addresses()[0];
    engine.session(Form::Resp).execute(&[b"SET", b"value", &vec![b'x'; VALUE]]);
    let scene = Arc::new(Scene { address, ends: AtomicBool::new(false), begun: AtomicU64::new(0) });
    let crowd = crowd(address);
    let before = resident();
    let threads: Vec<JoinHandle<()>> = HOSTILES
        .into_iter()
        .enumerate()
        .map(|(number, hostile)| {
            let scene = scene.clone();
            std::thread::spawn(move || {
                let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1));
                while scene.goes_on() {
                    hostile(&scene, &mut random);
                }
            })
        })
        .collect();
    let mut witness = TcpStream::connect(address).unwrap();
    witness.set_read_timeout(Some(PATIENCE)).unwrap();
    let (start, mut asked, mut most) = (Instant::now(), 0u64, 0);
    while start.elapsed() < time() {
        let word = asked.to_string();
        witness.write_all(format!("ECHO {word}\r\n").as_bytes()).unwrap();
        let expected = format!("${}\r\n{word}\r\n", word.len());
        let mut reply = vec![0; expected.len()];
        witness.read_exact(&mut reply).expect("others are answered");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
        asked += 1;
        most = most.max(resident());
        assert!(most < before + MOST, "{} bytes more", most - before);
    }
    scene.ends.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let connected = crowd.len();
    drop(crowd);
    // The witness, and who asks.
    let patience = Instant::now();
    while info(&engine, "connected_clients") > 2 {
        assert!(patience.elapsed() < PATIENCE, "{} are left", info(&engine, "connected_clients"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(info(&engine, "mem_clients_normal") < 1 << 20);
    let begun = scene.begun.load(Ordering::Relaxed);
    println!(
        "{begun} hostile connections beside {connected} idle ones, {asked} replies; {most} bytes at most, {before} before"
    );
}
