//! Readers, writers, the reaper, the evictor and compaction at once, checked against models: `stress SECONDS [SEED]`.
//!
//! Each writer has keys of its own and a model of them; everybody reads everybody's keys. A value tells its key and how often it was
//! written, over and over, so a torn or misplaced one shows. It may only be missing where it was deleted, has expired, or a
//! memory limit was set since it was written.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keystead::{Database, Engine, Form, SetOptions, Ttl};
use keystead_benches::uniform;

const WRITERS: u64 = 3;
const READERS: u64 = 2;
const KEYS: u64 = 20_000;

/// What all threads share.
struct Arena<'e> {
    engine: &'e Engine,
    stop: AtomicBool,
    /// Counts up whenever a memory limit is set or lifted; odd while one is.
    limits: AtomicU64,
    checks: AtomicU64,
}

/// What a writer knows of a key.
#[derive(Clone, Copy)]
struct Written {
    round: u64,
    len: usize,
    expires: Option<Instant>,
    /// [`Arena::limits`] before it was written.
    limits: u64,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(seconds) = args.next().and_then(|seconds| seconds.parse().ok()) else {
        eprintln!("usage: stress SECONDS [SEED]");
        return ExitCode::FAILURE;
    };
    let seed: u64 = args.next().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let engine = Engine::new();
    let arena = Arena {
        engine: &engine,
        stop: AtomicBool::new(false),
        limits: AtomicU64::new(0),
        checks: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let arena = &arena;
            scope.spawn(move || write(arena, writer, seed + writer));
        }
        for reader in 0..READERS {
            let arena = &arena;
            scope.spawn(move || read(arena, seed + 100 + reader));
        }
        disturb(&arena, Duration::from_secs(seconds));
        arena.stop.store(true, Ordering::Relaxed);
    });
    eprintln!("{} checks, nothing found", arena.checks.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}

fn database(engine: &Engine) -> Database {
    engine.database(0).expect("there is a first database")
}

fn key(writer: u64, number: u64) -> String {
    format!("w{writer}:{number}")
}

/// The text of a value: its key and round, repeated and cut to its length.
fn text(key: &str, round: u64, len: usize) -> Vec<u8> {
    format!("{key}@{round};").into_bytes().into_iter().cycle().take(len).collect()
}

/// Whether the bytes are a text of that key, of whatever round.
fn is_whole(key: &str, bytes: &[u8]) -> bool {
    let head = format!("{key}@");
    if bytes.len() <= head.len() {
        return head.as_bytes().starts_with(bytes);
    }
    let Some(digits) = bytes.strip_prefix(head.as_bytes()) else { return false };
    let Some(end) = digits.iter().position(|byte| *byte == b';') else {
        return digits.iter().all(u8::is_ascii_digit);
    };
    let period = head.len() + end + 1;
    bytes.iter().zip(&bytes[period.min(bytes.len())..]).all(|(one, other)| one == other)
}

fn write(arena: &Arena<'_>, writer: u64, seed: u64) {
    let db = database(arena.engine);
    let mut draw = uniform(u64::MAX);
    (0..seed).for_each(|_| {
        draw();
    });
    let mut model: HashMap<u64, Written> = HashMap::new();
    let mut round = 0;
    while !arena.stop.load(Ordering::Relaxed) {
        round += 1;
        let (what, number) = (draw() % 16, draw() % KEYS);
        let key = key(writer, number);
        match what {
            0..6 => {
                let limits = arena.limits.load(Ordering::SeqCst);
                let len = (draw() % [20, 60, 300, 1_500, 9_000][(draw() % 5) as usize]) as usize;
                let ttl = (draw().is_multiple_of(4)).then(|| Duration::from_millis(draw() % 400 + 1));
                let expires = ttl.map(|ttl| Instant::now() + ttl);
                let stored = db.set_with(
                    &key,
                    text(&key, round, len),
                    SetOptions::new().ttl(ttl.map_or(Ttl::None, Ttl::After)),
                );
                if stored.is_ok() {
                    model.insert(number, Written { round, len, expires, limits });
                }
            }
            6..8 => {
                let known = model.remove(&number);
                let existed = db.delete(&key).expect("there is no log");
                assert!(!existed || known.is_some(), "{key} was there after it was deleted");
            }
            8 => {
                if let Some(known) = model.get_mut(&number) {
                    let ttl = Duration::from_millis(draw() % 2_000 + 1);
                    let until = Instant::now() + ttl;
                    if db.expire(&key, ttl).expect("a time to live") {
                        known.expires = Some(until);
                    }
                }
            }
            9 => {
                let field = format!("f{}", draw() % 40);
                let name = format!("h{writer}:{}", number % 200);
                // Refused without memory, which is right.
                let _ = db.hset(&name, field.as_bytes(), text(&name, round, 30));
                let whole = db.hget_with(name.as_bytes(), field.as_bytes(), |value| {
                    value.is_none_or(|value| is_whole(&name, value))
                });
                assert!(whole.expect("a hash"), "{name} {field}");
            }
            _ => check(arena, &db, &key, model.get(&number).copied()),
        }
    }
}

/// Compares what is stored with what its only writer knows.
fn check(arena: &Arena<'_>, db: &Database, key: &str, known: Option<Written>) {
    let found = db.get(key).expect("a string");
    // A millisecond for deadlines that are cut to whole ones.
    let now = Instant::now();
    arena.checks.fetch_add(1, Ordering::Relaxed);
    match (known, found) {
        (Some(known), Some(found)) => {
            assert!(found == text(key, known.round, known.len), "{key}: not what was written last");
            let overdue = known.expires.is_some_and(|expires| now > expires + Duration::from_secs(2));
            assert!(!overdue, "{key} outlived its deadline");
        }
        (Some(known), None) => {
            let limits = arena.limits.load(Ordering::SeqCst);
            let evicted = known.limits % 2 == 1 || limits != known.limits;
            let expired = known.expires.is_some_and(|expires| now + Duration::from_millis(2) >= expires);
            assert!(evicted || expired, "{key} was lost");
        }
        (None, found) => assert!(found.is_none(), "{key} is there and was never written, or was deleted"),
    }
}

fn read(arena: &Arena<'_>, seed: u64) {
    let db = database(arena.engine);
    let mut draw = uniform(u64::MAX);
    (0..seed).for_each(|_| {
        draw();
    });
    while !arena.stop.load(Ordering::Relaxed) {
        let keys: Vec<String> = (0..16).map(|_| key(draw() % WRITERS, draw() % KEYS)).collect();
        let (one, many) = keys.split_at(8);
        for key in one {
            let whole =
                db.get_with(key.as_bytes(), |found| found.is_none_or(|found| is_whole(key, &found.text)));
            assert!(whole.expect("a string"), "{key}: torn, or another's");
        }
        let read = db.get_many_with(many, |at, found| {
            assert!(
                found.is_none_or(|found| is_whole(&many[at], &found.text)),
                "{}: torn, or another's",
                many[at]
            );
        });
        read.expect("the engine is in this process");
        arena.checks.fetch_add(16, Ordering::Relaxed);
    }
}

/// Limits memory and lifts the limit again, has memory compacted, and empties and swaps databases that nobody else uses.
fn disturb(arena: &Arena<'_>, time: Duration) {
    let mut session = arena.engine.session(Form::Resp);
    let policies: [&[u8]; 4] = [b"allkeys-lru", b"allkeys-lfu", b"allkeys-adaptive", b"volatile-ttl"];
    let end = Instant::now() + time;
    for round in 0_usize.. {
        if Instant::now() >= end || arena.stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_millis(150));
        let mut run = |argv: &[&[u8]]| {
            let reply = session.execute(argv).to_vec();
            assert!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(&reply));
        };
        match round % 8 {
            2 => {
                arena.limits.fetch_add(1, Ordering::SeqCst);
                run(&[
                    b"CONFIG",
                    b"SET",
                    b"maxmemory-policy",
                    policies[round / 8 % policies.len()],
                    b"maxmemory",
                    b"20mb",
                ]);
            }
            4 => {
                run(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
                arena.limits.fetch_add(1, Ordering::SeqCst);
            }
            5 => run(&[b"MEMORY", b"PURGE"]),
            6 => {
                run(&[b"SELECT", b"2"]);
                run(&[b"MSET", b"a", b"1", b"b", b"2", b"c", b"3"]);
                run(&[b"SWAPDB", b"2", b"3"]);
                run(&[b"FLUSHDB"]);
                run(&[b"SELECT", b"0"]);
            }
            _ => run(&[b"INFO"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_values_are_told_from_whole_ones() {
        for len in [0, 1, 3, 5, 7, 30, 500] {
            assert!(is_whole("w1:2", &text("w1:2", 77, len)), "{len}");
        }
        let mut torn = text("w1:2", 77, 60);
        torn[40] = b'x';
        assert!(!is_whole("w1:2", &torn) && !is_whole("w1:3", &text("w1:2", 77, 60)));
        let mixed = [&text("w1:2", 77, 30)[..], &text("w1:2", 78, 60)[30..]].concat();
        assert!(!is_whole("w1:2", &mixed));
    }
}
