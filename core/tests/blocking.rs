//! Pushers, poppers, those who cancel and those who die: every element that is pushed is popped exactly once, in order per key.
//!
//! It runs for `KEYSTEAD_STRESS_SECONDS`, a few if nobody says how many; `cargo xtask test long` asks for ten minutes. Each element is noted before it is
//! pushed and crossed out by who has its reply, so a second pop is found at once, and a lost one when all is over and the keys are empty. Lists are popped
//! from the left, sorted sets from the lowest score, if nothing else is said; elements of a source are numbered, and a number is also its score.
//!
//! Order is held where it is promised. What was popped for somebody who has gone is put back where it stood, but others may have popped what stands behind
//! meanwhile (ARCHITECTURE.md, "Who waits"). So there are three kinds of keys, each as a list and as a sorted set:
//!
//! * **Solo**: one pusher and one popper, who cancels, abandons what has come, and dies, all the time. When it has gone it lets a push end that is under way,
//!   since that is who puts back what is about to come. Nobody else can pop in between: the elements come exactly in the order in which they were pushed,
//!   none missing.
//! * **Calm**: many pushers and poppers. Poppers cancel (and take what has come nevertheless), time out and are unblocked, so nothing is put back: each popper
//!   gets the elements of each pusher in their order.
//! * **Wild**: many of both. Poppers also abandon what has come, drop their sessions, and pop from the other end; clients on TCP close their half of the
//!   connection, or vanish. Each element is popped once. So it is where clients on TCP are killed while they are served, at keys of their own.
//!
//! A reply that was written to a socket is its client's. So clients that close or are killed read to the end what was written, and those that vanish move
//! elements (BLMOVE), which then stand in the one list or in the other.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keystead::{Engine, Form, Outcome, Session};
// The thread sanitizer does not see into the standard library's.
use parking_lot::Mutex;

const PUSHERS: usize = 3;
/// Solo keys of each type, each with a pusher and a popper of its own.
const SOLOS: usize = 2;
/// Keys of the other kinds, of each type.
const KEYS: usize = 3;
const CALM: usize = 3;
const WILD: usize = 4;
/// Elements that may be on their way: few, so that there are mostly more who wait than what they wait for.
const MOST: usize = 300;

fn time() -> Duration {
    let seconds = std::env::var("KEYSTEAD_STRESS_SECONDS");
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds")))
}

/// Numbers that look random, others for each thread.
struct Random(u64);

impl Random {
    fn new(thread: usize) -> Self {
        Self((thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    /// A time in which something may or may not happen.
    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.below(400) as u64)
    }
}

/// An element: who has pushed it, and its number.
type Element = (usize, u64);

/// What everybody knows.
#[derive(Default)]
struct Shared {
    /// Pushed, and not yet in the hands of a popper.
    open: Mutex<HashSet<Element>>,
    is_over: AtomicBool,
    /// Nobody pops any more.
    is_done: AtomicBool,
    popped: AtomicU64,
    /// Commands that had to wait.
    waited: AtomicU64,
    cancelled: AtomicU64,
    abandoned: AtomicU64,
    died: AtomicU64,
    /// Sessions that may be unblocked, clients that may be killed.
    calm_ids: Mutex<Vec<String>>,
    mortal_ids: Mutex<Vec<String>>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes elements before they are pushed; false if the time is over.
    fn note(&self, elements: &[Element]) -> bool {
        loop {
            let mut open = self.open.lock();
            if self.is_over() {
                return false;
            }
            if open.len() < MOST {
                assert!(elements.iter().all(|element| open.insert(*element)), "numbers are new");
                return true;
            }
            drop(open);
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Crosses out the elements of a reply, and returns them.
    fn take(&self, reply: &[u8]) -> Vec<Element> {
        let elements = elements(reply);
        let mut open = self.open.lock();
        for element in &elements {
            assert!(open.remove(element), "{element:?} was popped twice, or never pushed");
        }
        self.popped.fetch_add(elements.len() as u64, Ordering::Relaxed);
        elements
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The elements in a reply, whatever its form: no other line begins as they do.
fn elements(reply: &[u8]) -> Vec<Element> {
    let text = std::str::from_utf8(reply).unwrap();
    assert!(!text.starts_with('-') || text.starts_with("-UNBLOCKED"), "{text}");
    let lines = text.split("\r\n").filter_map(|line| line.strip_prefix("e"));
    let parts = lines.map(|line| line.split_once('-').unwrap());
    parts.map(|(source, number)| (source.parse().unwrap(), number.parse().unwrap())).collect()
}

fn argv(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn spawn<R: Send + 'static>(
    engine: &Engine,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Engine, &Shared) -> R + Send + 'static,
) -> JoinHandle<R> {
    let (engine, shared) = (engine.clone(), shared.clone());
    std::thread::spawn(move || work(&engine, &shared))
}

/// Pushes elements in one command, or in a transaction.
fn push(session: &mut Session, key: &str, elements: &[Element], in_transaction: bool) {
    let words = elements.iter().map(|(source, number)| match key.contains("zset") {
        true => format!("{number} e{source}-{number}"),
        false => format!("e{source}-{number}"),
    });
    let command = if key.contains("zset") { "ZADD" } else { "RPUSH" };
    let line = format!("{command} {key} {}", words.collect::<Vec<_>>().join(" "));
    let lines = if in_transaction { vec!["MULTI", &line, "EXEC"] } else { vec![&*line] };
    for line in lines {
        let reply = session.execute(&argv(line));
        assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(reply));
    }
}

/// Pushes to keys that it chooses each time, until all is over; returns how many elements. It holds `gate` while it pushes.
fn pusher(engine: &Engine, shared: &Shared, source: usize, keys: &[String], gate: &Mutex<()>) -> u64 {
    let (mut random, mut session, mut pushed) = (Random::new(source), engine.session(Form::Resp), 0);
    loop {
        let elements: Vec<Element> =
            (0..1 + random.below(4) as u64).map(|at| (source, pushed + at)).collect();
        if !shared.note(&elements) {
            return pushed;
        }
        let (key, in_transaction) = (&keys[random.below(keys.len())], random.below(4) == 0);
        let pushing = gate.lock();
        push(&mut session, key, &elements, in_transaction);
        drop(pushing);
        pushed += elements.len() as u64;
        if random.below(6) == 0 {
            std::thread::sleep(random.moment());
        }
    }
}

/// The only one who pops a key, whose elements are those of one source. Returns the number that comes next.
fn solo(engine: &Engine, shared: &Shared, source: usize, key: &str, gate: &Mutex<()>) -> u64 {
    let (mut random, mut session, mut next) = (Random::new(source + 100), engine.session(Form::Resp), 0);
    while !shared.is_over() {
        let line = match (key.contains("zset"), random.below(3)) {
            (true, 0) => format!("BZMPOP 0.01 1 {key} MIN COUNT 3"),
            (true, _) => format!("BZPOPMIN {key} 0.01"),
            (false, 0) => format!("BLMPOP 0.01 1 {key} LEFT COUNT 3"),
            (false, _) => format!("BLPOP {key} 0.01"),
        };
        if session.begin(&argv(&line)) == Outcome::Blocked {
            count(&shared.waited);
            if give_up_or_wait(&mut session, engine, shared, &mut random) {
                drop(gate.lock());
            }
        }
        for (from, number) in shared.take(session.replies()) {
            assert_eq!((from, number), (source, next), "{key} is popped in order");
            next += 1;
        }
        session.clear_replies();
    }
    next
}

/// Does one of the things that somebody does who waits. Says whether it has gone without a look at what has come, or is about to.
fn give_up_or_wait(session: &mut Session, engine: &Engine, shared: &Shared, random: &mut Random) -> bool {
    match random.below(7) {
        way @ 0..3 => {
            if way > 0 && session.wait(Some(random.moment())) {
                return false;
            }
            count(&shared.abandoned);
            session.abandon();
            true
        }
        3 => {
            // Asleep, so that nobody looks whether something has come.
            std::thread::sleep(random.moment());
            count(&shared.died);
            *session = engine.session(Form::Resp);
            true
        }
        4 => {
            cancel(session, shared, random);
            false
        }
        _ => {
            assert!(session.wait(None));
            false
        }
    }
}

/// Cancels, and takes what has come nevertheless.
fn cancel(session: &mut Session, shared: &Shared, random: &mut Random) {
    std::thread::sleep(random.moment());
    if session.cancel() {
        count(&shared.cancelled);
    } else {
        assert!(session.wait(None));
    }
}

/// One of many who pop keys of which nothing is put back. Each source's elements of a key come in their order.
fn calm(engine: &Engine, shared: &Shared, own: usize) {
    let (mut random, mut session) = (Random::new(own + 200), engine.session(Form::Resp));
    let id = String::from_utf8(session.execute(&[b"CLIENT", b"ID"]).to_vec()).unwrap();
    shared.calm_ids.lock().push(id.trim_start_matches(':').trim_end().to_owned());
    session.clear_replies();
    let mut last: BTreeMap<(String, usize), u64> = BTreeMap::new();
    while !shared.is_over() {
        let (first, second) = (random.below(KEYS), random.below(KEYS));
        let line = match random.below(5) {
            0 => format!("BLPOP calm-list{first} 0.01"),
            1 => format!("BLPOP calm-list{first} calm-list{second} 0.02"),
            2 => format!("BLMPOP 0.005 2 calm-list{first} calm-list{second} LEFT COUNT 3"),
            3 => format!("BZPOPMIN calm-zset{first} calm-zset{second} 0.01"),
            _ => format!("BZMPOP 0.01 2 calm-zset{first} calm-zset{second} MIN COUNT 2"),
        };
        if session.begin(&argv(&line)) == Outcome::Blocked {
            count(&shared.waited);
            if random.below(4) == 0 {
                cancel(&mut session, shared, &mut random);
            } else {
                assert!(session.wait(None));
            }
        }
        let reply = String::from_utf8(session.replies().to_vec()).unwrap();
        let key = reply.split("\r\n").find(|line| line.starts_with("calm")).unwrap_or_default();
        for (source, number) in shared.take(reply.as_bytes()) {
            let before = last.insert((key.to_owned(), source), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{key}: {number} of {source} behind {before:?}"
            );
        }
        session.clear_replies();
    }
}

/// A command that pops wild keys, or moves an element from one to another, for so many seconds.
fn wild_command(random: &mut Random, seconds: &str) -> String {
    let (first, second) = (random.below(KEYS), random.below(KEYS));
    match random.below(8) {
        0 => format!("BLPOP wild-list{first} {seconds}"),
        1 => format!("BLPOP wild-list{first} wild-list{second} {seconds}"),
        2 => format!("BRPOP wild-list{first} wild-list{second} {seconds}"),
        3 => format!("BLMPOP {seconds} 2 wild-list{first} wild-list{second} RIGHT COUNT 3"),
        4 => format!("BZPOPMIN wild-zset{first} wild-zset{second} {seconds}"),
        5 => format!("BZPOPMAX wild-zset{first} {seconds}"),
        6 => format!("BZMPOP {seconds} 2 wild-zset{first} wild-zset{second} MAX COUNT 2"),
        _ => format!("BLMOVE wild-list{first} wild-list{second} RIGHT LEFT {seconds}"),
    }
}

/// One of many who pop keys and may have gone when it is their turn.
fn wild(engine: &Engine, shared: &Shared, own: usize) {
    let (mut random, mut session) = (Random::new(own + 300), engine.session(Form::Resp));
    while !shared.is_over() {
        let line = wild_command(&mut random, "0.01");
        if session.begin(&argv(&line)) == Outcome::Blocked {
            count(&shared.waited);
            give_up_or_wait(&mut session, engine, shared, &mut random);
        }
        if !line.starts_with("BLMOVE") {
            shared.take(session.replies());
        }
        session.clear_replies();
    }
}

/// Unblocks those who pop calm keys, in either way, and kills clients, until nobody is left.
fn meddler(engine: &Engine, shared: &Shared) {
    let (mut random, mut session) = (Random::new(400), engine.session(Form::Resp));
    while !shared.is_done.load(Ordering::Relaxed) {
        let mut lines = Vec::new();
        let calm = shared.calm_ids.lock();
        if !calm.is_empty() {
            let way = ["TIMEOUT", "ERROR"][random.below(2)];
            lines.push(format!("CLIENT UNBLOCK {} {way}", calm[random.below(calm.len())]));
        }
        drop(calm);
        lines.extend(shared.mortal_ids.lock().drain(..).map(|id| format!("CLIENT KILL ID {id}")));
        for line in lines {
            session.execute(&argv(&line));
        }
        std::thread::sleep(random.moment());
    }
}

/// Clients on TCP, who live and die.
#[cfg(feature = "listener")]
mod mortal {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{Shutdown, SocketAddr, TcpStream};

    use super::*;

    pub(super) fn mortal(engine: &Engine, address: SocketAddr, shared: &Shared, own: usize) {
        let mut random = Random::new(own + 500);
        let mut lethal = Lethal::new(engine, own);
        while !shared.is_over() {
            let mut stream = TcpStream::connect(address).unwrap();
            let command = wild_command(&mut random, "0");
            match random.below(4) {
                0 => vanish(stream, &mut random),
                1 => lethal.killed(stream, shared),
                2 => {
                    // This one lives until it has had enough.
                    let lines = format!("{}\r\n{}\r\nQUIT\r\n", pop(&mut random), pop(&mut random));
                    stream.write_all(lines.as_bytes()).unwrap();
                    shared.take(&rest(&mut stream));
                    continue;
                }
                _ => {
                    stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
                    std::thread::sleep(random.moment());
                    stream.shutdown(Shutdown::Write).unwrap();
                    let replies = rest(&mut stream);
                    if !command.starts_with("BLMOVE") {
                        shared.take(&replies);
                    }
                }
            }
            count(&shared.died);
        }
    }

    /// What comes until the connection ends.
    fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).unwrap();
        replies
    }

    /// Clients that are killed while they are served: the element is in the reply, or back in its key. It is pushed when they wait: a command that finds
    /// an element at once is like any other, and its reply is lost with the connection, as it is on a server.
    struct Lethal {
        session: Session,
        keys: [String; 2],
        source: usize,
        number: u64,
    }

    impl Lethal {
        fn new(engine: &Engine, own: usize) -> Self {
            let keys = [format!("killed-list{own}"), format!("killed-zset{own}")];
            Self { session: engine.session(Form::Resp), keys, source: 900 + own, number: 0 }
        }

        /// Waits until CLIENT LIST tells so of a client.
        fn await_told(&mut self, id: &str, is_so: impl Fn(&str) -> bool) {
            let words: [&[u8]; 4] = [b"CLIENT", b"LIST", b"ID", id.as_bytes()];
            while !is_so(std::str::from_utf8(self.session.execute(&words)).unwrap()) {
                std::thread::sleep(Duration::from_micros(20));
            }
        }

        fn killed(&mut self, mut stream: TcpStream, shared: &Shared) {
            let element = (self.source, self.number);
            if !shared.note(&[element]) {
                return;
            }
            let key = self.keys[self.number as usize % 2].clone();
            self.number += 1;
            let command = if key.contains("zset") { "BZPOPMIN" } else { "BLPOP" };
            stream.write_all(format!("CLIENT ID\r\n{command} {key} 0\r\n").as_bytes()).unwrap();
            let mut reader = BufReader::new(&stream);
            let mut id = String::new();
            reader.read_line(&mut id).unwrap();
            let id = id.trim_start_matches(':').trim_end();
            self.await_told(id, |told| told.contains(" flags=b "));
            shared.mortal_ids.lock().push(id.to_owned());
            push(&mut self.session, &key, &[element], false);
            let mut reply = Vec::new();
            reader.read_to_end(&mut reply).unwrap();
            // The thread of the connection puts it back, which may take a moment.
            if elements(&reply).is_empty() {
                let words: [&[u8]; 3] = [command.as_bytes(), key.as_bytes(), b"300"];
                reply = self.session.execute(&words).to_vec();
            }
            assert_eq!(shared.take(&reply), [element], "{key}: in the reply, or back");
        }
    }

    fn pop(random: &mut Random) -> String {
        loop {
            let command = wild_command(random, "0.003");
            if !command.starts_with("BLMOVE") {
                return command;
            }
        }
    }

    /// Closes without a look at what has come.
    fn vanish(mut stream: TcpStream, random: &mut Random) {
        let (from, to) = (random.below(KEYS), random.below(KEYS));
        stream
            .write_all(format!("BLMOVE wild-list{from} wild-list{to} LEFT RIGHT 0\r\n").as_bytes())
            .unwrap();
        std::thread::sleep(random.moment());
    }
}

/// Waits until INFO says so.
fn await_info(session: &mut Session, line: &str) {
    while !String::from_utf8_lossy(session.execute(&[b"INFO"])).contains(&format!("{line}\r\n")) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Pops what is left of a key.
fn drain(session: &mut Session, shared: &Shared, key: &str) -> Vec<Element> {
    let command = if key.contains("zset") { "ZPOPMIN" } else { "LPOP" };
    shared.take(session.execute(&[command.as_bytes(), key.as_bytes(), b"1000"]))
}

#[test]
fn every_element_that_is_pushed_is_popped_once_and_in_order() {
    let (engine, shared) = (Engine::new(), Arc::new(Shared::default()));
    let names = |kind: &str, count: usize| -> Vec<String> {
        let of = |ty: &'static str| (0..count).map(move |at| format!("{kind}-{ty}{at}"));
        of("list").chain(of("zset")).collect()
    };
    let (solos, many) = (names("solo", SOLOS), [names("calm", KEYS), names("wild", KEYS)].concat());
    let mut pushers = Vec::new();
    let mut poppers = Vec::new();
    let mut solo_poppers = Vec::new();
    for source in 0..PUSHERS {
        let (keys, gate) = (many.clone(), Mutex::default());
        let work = move |engine: &Engine, shared: &Shared| pusher(engine, shared, source, &keys, &gate);
        pushers.push(spawn(&engine, &shared, work));
    }
    for (at, key) in solos.iter().enumerate() {
        let (source, keys, key) = (PUSHERS + at, [key.clone()], key.clone());
        let gate = Arc::new(Mutex::default());
        let its_gate = gate.clone();
        let work = move |engine: &Engine, shared: &Shared| pusher(engine, shared, source, &keys, &its_gate);
        pushers.push(spawn(&engine, &shared, work));
        let work = move |engine: &Engine, shared: &Shared| solo(engine, shared, source, &key, &gate);
        solo_poppers.push(spawn(&engine, &shared, work));
    }
    poppers.extend(
        (0..CALM).map(|own| spawn(&engine, &shared, move |engine, shared| calm(engine, shared, own))),
    );
    poppers.extend(
        (0..WILD).map(|own| spawn(&engine, &shared, move |engine, shared| wild(engine, shared, own))),
    );
    #[cfg(feature = "listener")]
    let listener = keystead::Listener::bind(&engine, "127.0.0.1:0").unwrap();
    #[cfg(feature = "listener")]
    poppers.extend((0..2).map(|own| {
        let address = listener.addresses()[0];
        spawn(&engine, &shared, move |engine, shared| mortal::mortal(engine, address, shared, own))
    }));
    let meddler = spawn(&engine, &shared, meddler);

    let start = Instant::now();
    // Who ends before has failed.
    let any_ended = || any_ended(&pushers) || any_ended(&poppers) || any_ended(&solo_poppers);
    while start.elapsed() < time() && !any_ended() {
        std::thread::sleep(Duration::from_millis(20));
    }
    shared.is_over.store(true, Ordering::Relaxed);
    let pushed: Vec<u64> = join(pushers);
    let nexts: Vec<u64> = join(solo_poppers);
    join(poppers);
    shared.is_done.store(true, Ordering::Relaxed);
    meddler.join().expect("no thread panics");

    let mut session = engine.session(Form::Resp);
    await_info(&mut session, "blocked_clients:0");
    await_info(&mut session, "connected_clients:1");
    let info = String::from_utf8(session.execute(&[b"INFO", b"clients"]).to_vec()).unwrap();
    assert!(info.contains("total_blocking_keys:0\r\n"), "{info}");
    for (at, key) in solos.iter().enumerate() {
        let mut next = nexts[at];
        for element in drain(&mut session, &shared, key) {
            assert_eq!(element, (PUSHERS + at, next), "{key} is popped in order");
            next += 1;
        }
        assert_eq!(next, pushed[PUSHERS + at], "all of {key}");
    }
    for key in &many {
        drain(&mut session, &shared, key);
    }
    let lost = shared.open.lock();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(session.execute(&[b"DBSIZE"]), b":0\r\n");
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert!(read(&shared.popped) >= pushed.iter().sum::<u64>());
    println!(
        "{} elements in {:.0} s; {} waits, {} cancelled, {} abandoned, {} died",
        read(&shared.popped),
        start.elapsed().as_secs_f64(),
        read(&shared.waited),
        read(&shared.cancelled),
        read(&shared.abandoned),
        read(&shared.died)
    );
    for counter in [&shared.popped, &shared.waited, &shared.cancelled, &shared.abandoned, &shared.died] {
        assert!(read(counter) > 0, "nothing was tried");
    }
}

fn any_ended<R>(threads: &[JoinHandle<R>]) -> bool {
    threads.iter().any(JoinHandle::is_finished)
}

fn join<R>(threads: Vec<JoinHandle<R>>) -> Vec<R> {
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}
