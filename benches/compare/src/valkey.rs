//! A real Valkey of our own, behind a Unix socket with one client: as a store to compare with, and for its memory and its mass expiry.
//!
//! The server's path is in `KEYSTEAD_ORACLE`. The client speaks as much RESP as the cases need, without a library's overhead.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keystead_benches::{key, uniform};

use crate::measure::Clock;
use crate::stores::{BATCH, Key, Store, Value};

/// Commands under way at once while a server is filled.
const PIPELINE: usize = 1000;

/// A server that ends with this value.
pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts one without persistence, with its defaults otherwise.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Server::start`], with more options.
    pub fn with(options: &[&str]) -> Self {
        let program = std::env::var_os("KEYSTEAD_ORACLE").expect("KEYSTEAD_ORACLE names a valkey-server");
        let folder = std::env::temp_dir().join(format!("keystead-compare-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the socket");
        let mut command = Command::new(program);
        command
            .args(["--port", "0", "--save", "", "--enable-debug-command", "yes", "--unixsocket"])
            .arg(folder.join("socket"));
        command.arg("--dir").arg(&folder).args(options).stdout(Stdio::null());
        let server = Self { child: command.spawn().expect("valkey-server starts"), folder };
        let patience = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(server.socket()).is_err() {
            assert!(Instant::now() < patience, "valkey-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Bytes of the server in memory.
    fn resident(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))
            .expect("Linux tells what a process takes");
        let pages: usize =
            text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number");
        pages * rustix::param::page_size()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail in a way that somebody could do something about.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// "Valkey" and the version that the server tells.
pub fn name() -> String {
    let output = std::env::var_os("KEYSTEAD_ORACLE")
        .and_then(|path| Command::new(path).arg("--version").output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    format!("Valkey {}", version.unwrap_or("of unknown version"))
}

struct Client {
    socket: BufReader<UnixStream>,
    request: Vec<u8>,
    line: Vec<u8>,
}

impl Client {
    fn connect(path: &Path) -> Self {
        let socket = UnixStream::connect(path).expect("the server listens");
        Self { socket: BufReader::with_capacity(1 << 16, socket), request: Vec::new(), line: Vec::new() }
    }

    /// Adds a command to what is sent next.
    fn add(&mut self, words: &[&[u8]]) {
        write!(self.request, "*{}\r\n", words.len()).expect("memory can be written to");
        for word in words {
            write!(self.request, "${}\r\n", word.len()).expect("memory can be written to");
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
    }

    fn send(&mut self) {
        self.socket.get_mut().write_all(&self.request).expect("the server reads");
        self.request.clear();
    }

    /// The text that a command replies.
    fn text(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.add(words);
        self.send();
        let mut text = vec![0; usize::try_from(self.head()).expect("a text has a length") + 2];
        self.socket.read_exact(&mut text).expect("the server answers");
        text.truncate(text.len() - 2);
        text
    }

    /// The number in the next line of a reply, whatever its type; 0 for a text.
    fn head(&mut self) -> i64 {
        self.line.clear();
        self.socket.read_until(b'\n', &mut self.line).expect("the server answers");
        let text = String::from_utf8_lossy(&self.line);
        assert!(!text.starts_with('-') && !text.is_empty(), "the server says {text:?}");
        text[1..].trim_end().parse().unwrap_or(0)
    }

    /// Reads a reply, whatever it is.
    fn reply(&mut self) {
        let head = self.head();
        match (self.line[0], u64::try_from(head)) {
            (b'*', Ok(len)) => (0..len).for_each(|_| self.reply()),
            (b'$', Ok(len)) => {
                let read = std::io::copy(&mut self.socket.by_ref().take(len + 2), &mut std::io::sink());
                assert_eq!(read.expect("the server answers"), len + 2, "the connection has ended");
            }
            _ => {}
        }
    }

    /// Reads a bulk string of the expected length; false if it is missing.
    fn bulk(&mut self, buffer: &mut Value) -> bool {
        let length = self.head();
        if length < 0 {
            return false;
        }
        assert_eq!(length, 64, "a value of the length that was set");
        self.socket.read_exact(buffer).expect("the server answers");
        self.socket.read_exact(&mut [0; 2]).expect("a line ends");
        true
    }

    /// Sends many commands in pipelines; replies must be of one line.
    fn many(&mut self, count: u64, mut command: impl FnMut(&mut Self, u64)) {
        let mut number = 0;
        while number < count {
            let end = count.min(number + PIPELINE as u64);
            (number..end).for_each(|number| command(self, number));
            self.send();
            for _ in number..end {
                self.head();
            }
            number = end;
        }
    }
}

/// The server with one client.
pub struct Valkey {
    client: Mutex<Client>,
    // Ends after its client.
    _server: Server,
}

impl Valkey {
    fn client(&self) -> std::sync::MutexGuard<'_, Client> {
        self.client.lock().expect("no other thread panicked")
    }
}

impl Store for Valkey {
    const CLOCK: Clock = Clock::Wall;
    const SLOWNESS: usize = 50;
    const SHARED: bool = false;

    fn open(_: usize) -> Self {
        let server = Server::start();
        Self { client: Mutex::new(server.client()), _server: server }
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        let mut client = self.client();
        client.add(&[b"GET", key]);
        client.send();
        client.bulk(buffer)
    }

    fn set(&self, key: &Key, value: &Value) {
        let mut client = self.client();
        client.add(&[b"SET", key, value]);
        client.send();
        client.head();
    }

    fn get_many(&self, keys: &[Key; BATCH], buffers: &mut [Value; BATCH]) -> usize {
        let mut client = self.client();
        let words: Vec<&[u8]> =
            std::iter::once(&b"MGET"[..]).chain(keys.iter().map(|key| &key[..])).collect();
        client.add(&words);
        client.send();
        assert_eq!(client.head(), BATCH as i64, "MGET answers for each key");
        buffers.iter_mut().filter_map(|buffer| client.bulk(buffer).then_some(())).count()
    }

    fn fill(&self, keys: &[Key], value: &Value) {
        self.client().many(keys.len() as u64, |client, at| client.add(&[b"SET", &keys[at as usize], value]));
    }
}

/// Prints what Valkey needs for what `limits` of keystead-benches measures of ours, under the same names.
fn print(case: &str, unit: &str, figure: f64, peer: &str) {
    println!(r#"{{"face":"engine","case":"{case}","unit":"{unit}","peer":"{peer}","theirs":{figure:.3}}}"#);
}

/// Bytes per key by RSS, strings and hashes.
pub fn memory(scale: u64) {
    let peer = name();
    for (case, len, ttl) in [
        ("16 + 16 bytes", 16, false),
        ("16 + 16 bytes with a deadline", 16, true),
        ("16 + 64 bytes", 64, false),
    ] {
        let count = 5_000_000 / scale;
        let value = &[b'v'; 64][..len];
        let bytes = growth(count, |client, number| match ttl {
            true => client.add(&[b"SET", &key(number), value, b"EX", b"3600"]),
            false => client.add(&[b"SET", &key(number), value]),
        });
        print(&format!("{case}: bytes per key by RSS"), "bytes", bytes, &peer);
    }
    for (case, count, fields) in [
        ("hash of 10 fields, 4 + 16 bytes", 500_000 / scale, 10),
        ("hash of 1,000 fields, 7 + 16 bytes", 5_000 / scale, 1_000),
    ] {
        let names: Vec<String> = (0..fields)
            .map(|at| if fields <= 10 { format!("f{at:03}") } else { format!("f{at:06}") })
            .collect();
        let bytes = growth(count, |client, number| {
            let key = key(number);
            let mut words: Vec<&[u8]> = vec![b"HSET", &key];
            names.iter().for_each(|name| words.extend([name.as_bytes(), b"vvvvvvvvvvvvvvvv"]));
            client.add(&words);
        });
        print(&format!("{case}: bytes by RSS"), "bytes", bytes, &peer);
    }
    memory_of_types(scale, &peer);
}

/// Bytes of a list, set or sorted set by RSS: the keys of `limits type-memory`.
fn memory_of_types(scale: u64, peer: &str) {
    let strings = |at: u64| key(at).to_vec();
    let integers = |at: u64| (1_000_000 + at).to_string().into_bytes();
    type Text = fn(u64) -> Vec<u8>;
    let cases: [(&str, &[u8], u64, Text); 8] = [
        ("list of 10 strings", b"RPUSH", 10, strings),
        ("set of 10 strings", b"SADD", 10, strings),
        ("set of 10 integers", b"SADD", 10, integers),
        ("sorted set of 10", b"ZADD", 10, strings),
        ("set of 1,000 strings", b"SADD", 1_000, strings),
        ("set of 1,000 integers", b"SADD", 1_000, integers),
        ("sorted set of 1,000", b"ZADD", 1_000, strings),
        ("list of 1,000 strings", b"RPUSH", 1_000, strings),
    ];
    for (case, command, elements, text) in cases {
        let count = 5_000_000 / elements / scale;
        let texts: Vec<[Vec<u8>; 2]> =
            (0..elements).map(|at| [at.to_string().into_bytes(), text(at)]).collect();
        let bytes = growth(count, |client, number| {
            let key = key(number);
            let mut words: Vec<&[u8]> = vec![command, &key];
            for [score, text] in &texts {
                if command == b"ZADD" {
                    words.push(score);
                }
                words.push(text);
            }
            client.add(&words);
        });
        print(&format!("{case}: bytes by RSS"), "bytes", bytes, peer);
    }
}

/// What calls take on the wall, with one of them under way at a time: those of `limits type-calls`.
pub fn calls(scale: u64) {
    const SMALL: u64 = 1_000;
    const CALLS: u64 = 10 * SMALL;
    let (peer, server) = (name(), Server::start());
    let mut client = server.client();
    let score = |number: u64| (number * 7919 % 10_007).to_string();
    let mut time = |case: &str, count: u64, command: &mut dyn FnMut(&mut Client, u64)| {
        let start = Instant::now();
        for number in 0..count {
            command(&mut client, number);
            client.send();
            client.reply();
        }
        print(&format!("{case}, CPU time"), "ns", start.elapsed().as_nanos() as f64 / count as f64, &peer);
    };
    let element = key;
    time("LPUSH to lists of up to 10", CALLS, &mut |client, number| {
        client.add(&[b"LPUSH", &key(number % SMALL), &element(number)]);
    });
    time("RPOP from lists of up to 10", CALLS, &mut |client, number| {
        client.add(&[b"RPOP", &key(number % SMALL)]);
    });
    time("SADD to sets of up to 10", CALLS, &mut |client, number| {
        client.add(&[b"SADD", &key(SMALL + number % SMALL), &element(number)]);
    });
    time("ZADD to sorted sets of up to 10", CALLS, &mut |client, number| {
        client.add(&[b"ZADD", &key(2 * SMALL + number % SMALL), score(number).as_bytes(), &element(number)]);
    });
    time("XADD to streams of up to 10", CALLS, &mut |client, number| {
        client.add(&[b"XADD", &key(3 * SMALL + number % SMALL), b"*", b"field", &element(number)]);
    });
    let large = 100_000 / scale;
    let mut draw = uniform(large);
    server.client().many(large, |client, number| {
        client.add(&[b"ZADD", b"large", draw().to_string().as_bytes(), &element(number)]);
    });
    let calls = CALLS.min(large);
    time("ZRANK of 100,000 members", calls, &mut |client, _| {
        client.add(&[b"ZRANK", b"large", &element(draw())]);
    });
    time("ZRANGE of 10 of 100,000 members", calls, &mut |client, _| {
        let from = draw();
        client.add(&[b"ZRANGE", b"large", from.to_string().as_bytes(), (from + 9).to_string().as_bytes()]);
    });
}

/// What scripts and transactions take: the procedure of `limits scripts`.
pub fn scripts() {
    const CLIENTS: u64 = 1_000;
    const CALLS: u64 = 10 * CLIENTS;
    const LIMIT: &[u8] = include_bytes!("../../src/limit.lua");
    let (peer, server) = (name(), Server::start());
    let mut client = server.client();
    let time = |number: u64| (10_000_000 + number / CLIENTS * 10).to_string();
    let digest = client.text(&[b"SCRIPT", b"LOAD", LIMIT]);
    let mut measure = |case: &str, count: u64, command: &mut dyn FnMut(&mut Client, u64)| {
        let start = Instant::now();
        for number in 0..count {
            command(&mut client, number);
            client.send();
            client.reply();
        }
        let each = start.elapsed().as_nanos() as f64 / count as f64;
        print(&format!("{case}, CPU time"), "ns", each, &peer);
    };
    measure("EVALSHA of a sliding-window limit, its key declared", CALLS, &mut |client, number| {
        let (name, now) = (key(number % CLIENTS), time(number));
        client.add(&[b"EVALSHA", &digest, b"1", &name, now.as_bytes(), b"40", b"4"]);
    });
    measure("EVALSHA of a sliding-window limit, its key not declared", CALLS, &mut |client, number| {
        let (name, now) = (key(CLIENTS + number % CLIENTS), time(number));
        client.add(&[b"EVALSHA", &digest, b"0", now.as_bytes(), b"40", b"4", &name]);
    });
}

/// How many bytes a server grows by per command.
fn growth(count: u64, command: impl FnMut(&mut Client, u64)) -> f64 {
    let server = Server::start();
    let before = server.resident();
    server.client().many(count, command);
    (server.resident() - before) as f64 / count as f64
}

/// Two million keys expire in the same millisecond, while somebody reads others: the procedure of `limits mass-expiry`.
pub fn mass_expiry(scale: u64) {
    const OTHERS: u64 = 10_000;
    const FIRST: u64 = u64::MAX / 2;
    let (peer, count, server) = (name(), 2_000_000 / scale, Server::start());
    let mut client = server.client();
    client.many(OTHERS, |client, number| client.add(&[b"SET", &key(FIRST + number), &[b'v'; 64]]));
    let ahead = Duration::from_secs(15);
    let at = Instant::now() + ahead;
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970") + ahead;
    let deadline = deadline.as_millis().to_string();
    client.many(count, |client, number| {
        client.add(&[b"SET", &key(number), &[b'v'; 64], b"PXAT", deadline.as_bytes()]);
    });
    assert!(Instant::now() < at, "filling took too long for the deadline");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut client, mut draw, mut buffer, mut times) =
                (server.client(), uniform(OTHERS), [0; 64], Vec::new());
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.add(&[b"GET", &key(FIRST + draw())]);
                client.send();
                client.bulk(&mut buffer);
                times.push(start.elapsed().as_nanos() as f64 / 1000.0);
            }
            times
        });
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        loop {
            client.add(&[b"DBSIZE"]);
            client.send();
            if client.head() as u64 <= OTHERS {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = at.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        let mut times = reader.join().expect("the reader ends");
        times.sort_by(f64::total_cmp);
        print("mass expiry: 2 M keys of one millisecond reclaimed", "s", took, &peer);
        print("mass expiry: GET p99.9 meanwhile", "us", times[times.len() * 999 / 1000], &peer);
        print("mass expiry: GET max meanwhile", "us", times[times.len() - 1], &peer);
    });
}

/// Five million keys on disk: saved, loaded by another server, and the longest call while a forked process writes them; and SETs with a log beside those
/// without. The figures of `limits files` that a server has.
pub fn files(scale: u64) {
    const VALUE: [u8; 64] = [b'v'; 64];
    let (peer, count) = (name(), 5_000_000 / scale);
    let fill = |server: &Server, count| {
        server.client().many(count, |client, number| client.add(&[b"SET", &key(number), &VALUE]));
    };
    let server = Server::start();
    fill(&server, count);
    let mut client = server.client();
    let mut saves: Vec<f64> = (0..3)
        .map(|_| {
            let start = Instant::now();
            client.add(&[b"SAVE"]);
            client.send();
            client.reply();
            start.elapsed().as_secs_f64()
        })
        .collect();
    saves.sort_by(f64::total_cmp);
    print("files: 5 M keys saved, synced", "s", saves[1], &peer);
    // What its own clients see of a fork, on the wall.
    let mut longest = f64::INFINITY;
    for _ in 0..5 {
        client.add(&[b"BGSAVE"]);
        client.send();
        client.reply();
        let (mut draw, mut worst, end) = (uniform(count), 0.0, Instant::now() + Duration::from_secs(3));
        while Instant::now() < end {
            let start = Instant::now();
            client.add(&[b"SET", &key(draw()), &VALUE]);
            client.send();
            client.reply();
            worst = f64::max(worst, start.elapsed().as_nanos() as f64 / 1000.0);
        }
        longest = longest.min(worst);
        std::thread::sleep(Duration::from_secs(5));
    }
    print("files: longest GET or SET during a save, CPU time", "us", longest, &peer);
    let start = Instant::now();
    client.add(&[b"DEBUG", b"RELOAD", b"NOSAVE"]);
    client.send();
    client.reply();
    print("files: open to first GET, page cache hot", "ms", start.elapsed().as_secs_f64() * 1000.0, &peer);
    drop((client, server));
    let set = |options: &[&str]| {
        let server = Server::with(options);
        fill(&server, 100_000);
        let start = Instant::now();
        fill(&server, 1_000_000 / scale);
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..5)
        .map(|_| set(&["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"]) / set(&[]))
        .collect();
    times.sort_by(f64::total_cmp);
    print("files: SET with the log (everysec), times of without", "x", times[2], &peer);
}
