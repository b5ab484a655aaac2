//! The engine under many threads at once, against what must hold whatever the order: small enough for the sanitizers.
//!
//! Single commands are tested beside their code, interleavings of a few locks in the crate's loom models.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use keystead::{Clock, Config, Engine, Form, Item, Session};

/// Rounds of each thread.
const ROUNDS: usize = if cfg!(any(sanitized, miri)) { 300 } else { 1_500 };

fn argv(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn run<'s>(session: &'s mut Session, line: &str) -> Item<'s> {
    let (item, rest) = Item::read(session.execute(&argv(line))).expect("a whole reply");
    assert!(rest.is_empty(), "one reply to {line}");
    item
}

fn integer(session: &mut Session, line: &str) -> i64 {
    match run(session, line) {
        Item::Integer(number) => number,
        other => panic!("{line}: {other:?}"),
    }
}

/// A thread with a session of its own. Scopes are avoided: the thread sanitizer does not see how they wait.
fn spawn<R: Send + 'static>(
    engine: &Engine,
    work: impl FnOnce(&mut Session) -> R + Send + 'static,
) -> JoinHandle<R> {
    let engine = engine.clone();
    std::thread::spawn(move || work(&mut engine.session(Form::Tape)))
}

fn join<R>(threads: Vec<JoinHandle<R>>) -> Vec<R> {
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}

#[test]
fn pairs_written_together_are_read_together() {
    let engine = Engine::new();
    let mut threads = Vec::new();
    for thread in 0..2 {
        threads.push(spawn(&engine, move |session| {
            for round in 0..ROUNDS {
                let pair = round % 7;
                let value = thread * ROUNDS + round;
                // In either order: locks are taken by shard, not by position.
                let (first, second) = if round % 2 == 0 { ("left", "right") } else { ("right", "left") };
                run(session, &format!("MSET {first}:{pair} {value} {second}:{pair} {value}"));
                if round % 50 == 0 {
                    run(session, "FLUSHALL");
                }
            }
        }));
    }
    for _ in 0..2 {
        threads.push(spawn(&engine, |session| {
            for round in 0..ROUNDS {
                let line = format!("MGET left:{0} right:{0}", round % 7);
                let Item::Array(pair) = run(session, &line) else { panic!("{line}") };
                assert_eq!(pair[0], pair[1]);
            }
        }));
    }
    join(threads);
}

#[test]
fn watched_counters_lose_no_update() {
    let engine = Engine::new();
    let threads = (0..3).map(|_| {
        spawn(&engine, |session| {
            let mut done = 0;
            for _ in 0..ROUNDS {
                run(session, "WATCH counter shadow");
                let seen = match run(session, "GET counter") {
                    Item::Bulk(text) => std::str::from_utf8(text).unwrap().parse::<i64>().unwrap(),
                    _ => 0,
                };
                run(session, "MULTI");
                run(session, &format!("SET counter {}", seen + 1));
                run(session, "INCR shadow");
                match run(session, "EXEC") {
                    Item::Array(replies) => {
                        assert_eq!(replies[1], Item::Integer(seen + 1), "both counters move together");
                        done += 1;
                    }
                    Item::NullArray => {}
                    other => panic!("{other:?}"),
                }
            }
            done
        })
    });
    let done: i64 = join(threads.collect()).into_iter().sum();
    let session = &mut engine.session(Form::Tape);
    assert!(done > 0);
    assert_eq!(run(session, "GET counter"), Item::Bulk(done.to_string().as_bytes()));
    assert_eq!(run(session, "GET shadow"), Item::Bulk(done.to_string().as_bytes()));
}

#[test]
fn typed_calls_and_sessions_share_counters() {
    let engine = Engine::new();
    let mut threads = Vec::new();
    for _ in 0..2 {
        threads.push(spawn(&engine, |session| {
            for _ in 0..ROUNDS {
                integer(session, "INCR hits");
                integer(session, "HINCRBY page hits 1");
                run(session, "PEXPIRE hits 100000");
            }
        }));
        let db = engine.database(0).unwrap();
        threads.push(std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                db.incr("hits", 1).unwrap();
                db.get_with(b"hits", |found| assert!(found.is_some())).unwrap();
            }
        }));
    }
    join(threads);
    let session = &mut engine.session(Form::Tape);
    assert_eq!(integer(session, "INCRBY hits 0"), 4 * ROUNDS as i64);
    assert_eq!(integer(session, "HINCRBY page hits 0"), 2 * ROUNDS as i64);
}

/// All keys, by a whole iteration.
fn scan(session: &mut Session) -> HashSet<Vec<u8>> {
    let (mut cursor, mut found) = ("0".to_owned(), HashSet::new());
    loop {
        let Item::Array(reply) = run(session, &format!("SCAN {cursor} COUNT 20")) else { panic!("SCAN") };
        let [Item::Bulk(next), Item::Array(keys)] = &reply[..] else { panic!("{reply:?}") };
        found.extend(keys.iter().map(|key| match key {
            Item::Bulk(key) => key.to_vec(),
            other => panic!("{other:?}"),
        }));
        cursor = String::from_utf8(next.to_vec()).expect("a cursor is a number");
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn scans_find_what_stays_while_the_rest_comes_and_goes() {
    let engine = Engine::new();
    let db = engine.database(0).unwrap();
    let stays: HashSet<Vec<u8>> = (0..100).map(|i| format!("stays:{i}").into_bytes()).collect();
    stays.iter().for_each(|key| {
        db.set(key, "value").unwrap();
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for thread in 0..2 {
        let stop = stop.clone();
        threads.push(spawn(&engine, move |session| {
            for round in 0..ROUNDS * 4 {
                // Small deadlines, so that the reaper, look-ups and deletions meet over the same keys.
                let key = format!("goes:{thread}:{}", round % 500);
                match round % 4 {
                    0 => run(session, &format!("SET {key} value PX 3")),
                    1 => run(session, &format!("HSETEX {key}:hash PX 2 FIELDS 2 a 1 b 2")),
                    2 => run(session, &format!("DEL goes:{thread}:{}", (round + 250) % 500)),
                    _ => run(session, &format!("RENAME goes:{thread}:{} renamed", round % 500)),
                };
            }
            stop.store(true, Ordering::Release);
        }));
    }
    threads.push(spawn(&engine, move |session| {
        while !stop.load(Ordering::Acquire) {
            let found = scan(session);
            assert!(
                stays.is_subset(&found),
                "{} of {} found",
                found.intersection(&stays).count(),
                stays.len()
            );
        }
    }));
    join(threads);
    std::thread::sleep(Duration::from_millis(10));
    engine.reap();
    let session = &mut engine.session(Form::Tape);
    // Renamed keys carry their deadlines along, hashes of expired fields are gone.
    assert_eq!(integer(session, "DBSIZE"), 100);
}

#[test]
fn the_reaper_spares_a_lease_that_is_renewed_in_time() {
    const LEASE_MS: u64 = 10;
    let clock = Clock::manual(1_000_000);
    let engine = Engine::builder().clock(clock.clone()).open().unwrap();
    run(&mut engine.session(Form::Tape), "SET lease holder PX 10");
    let renewed_at = Arc::new(AtomicU64::new(clock.now_ms()));
    let done = Arc::new(AtomicBool::new(false));
    let (renewals, stop, time) = (renewed_at.clone(), done.clone(), clock.clone());
    let renewing = spawn(&engine, move |session| {
        while !stop.load(Ordering::Acquire) {
            // Each renewal leaves a timer behind that is due before the new deadline.
            let before = time.now_ms();
            assert_eq!(integer(session, &format!("PEXPIRE lease {LEASE_MS}")), 1);
            renewals.store(before, Ordering::Release);
        }
    });
    let reaping = engine.clone();
    let reaper = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            // Time never gets further than half a lease beyond the last renewal.
            while !renewing.is_finished()
                && clock.now_ms() >= renewed_at.load(Ordering::Acquire) + LEASE_MS / 2
            {
                std::thread::yield_now();
            }
            assert_eq!(reaping.advance(Duration::from_millis(1)), 0);
        }
        done.store(true, Ordering::Release);
        renewing
    });
    reaper.join().expect("nothing is reaped").join().expect("the lease is always there to be renewed");
    assert_eq!(engine.advance(Duration::from_millis(LEASE_MS)), 1);
}

#[test]
fn everything_at_once_leaves_a_consistent_engine() {
    const LINES: &[&str] = &[
        "SET a 1",
        "GET a",
        "MSET a 1 b 2 c 3",
        "MGET a b c",
        "DEL a b",
        "SETRANGE d 2000 x",
        "APPEND d y",
        "COPY a b REPLACE",
        "RENAME b c",
        "MOVE c 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "FLUSHALL ASYNC",
        "KEYS *",
        "RANDOMKEY",
        "DBSIZE",
        "HSET h f 1 g 2",
        "HPEXPIRE h 1 FIELDS 1 f",
        "HGETALL h",
        "HRANDFIELD h 2",
        "PEXPIRE a 1",
        "TTL a",
        "OBJECT ENCODING a",
        "INFO",
        "CLIENT LIST",
        "CLIENT SETNAME me",
        "CONFIG SET maxmemory-policy allkeys-lfu",
        "CONFIG SET maxmemory-policy noeviction",
        "MEMORY STATS",
        "SLOWLOG GET",
        "LATENCY HISTOGRAM",
        "CONFIG RESETSTAT",
        "SORT h",
        "TOUCH a b c",
        "GETEX a PX 5",
    ];
    let engine = Engine::new();
    let threads = (0..4).map(|thread| {
        spawn(&engine, move |session| {
            for round in 0..ROUNDS / 2 {
                let line = LINES[(round * (thread * 2 + 1) + thread * 5) % LINES.len()];
                run(session, line);
                if round % 40 == 0 {
                    run(session, "MULTI");
                    (0..3).for_each(|i| drop(run(session, LINES[(round + i) % LINES.len()])));
                    run(session, "EXEC");
                }
            }
        })
    });
    join(threads.collect());
    let session = &mut engine.session(Form::Tape);
    run(session, "FLUSHALL");
    assert_eq!(integer(session, "DBSIZE"), 0);
    assert_eq!(run(session, "SET after 1"), Item::Simple(b"OK"));
}

fn with_many_databases() -> Engine {
    let config = Config::from_arguments(&[b"--databases", b"128"]).unwrap();
    Engine::builder().config(config).open().unwrap()
}

#[test]
fn tables_that_grow_and_shrink_lose_nothing_while_memory_is_given_back() {
    const KEYS: usize = ROUNDS * 10;
    let engine = with_many_databases();
    let done = Arc::new(AtomicBool::new(false));
    let purging: Vec<_> = (0..2)
        .map(|_| {
            let done = done.clone();
            spawn(&engine, move |session| {
                while !done.load(Ordering::Acquire) {
                    run(session, "MEMORY PURGE");
                }
            })
        })
        .collect();
    let writing = (0..2).map(|thread| {
        let engine = engine.clone();
        std::thread::spawn(move || {
            // The place of the first database is found without a lock, that of the other is not.
            let db = engine.database([0, 100][thread]).unwrap();
            for round in 0..3 {
                for key in 0..KEYS {
                    db.set(format!("{key}"), format!("{round}:{key}")).unwrap();
                    let earlier = key / 2 + 1;
                    let expected = (earlier <= key).then(|| format!("{round}:{earlier}").into_bytes());
                    let seen = db.get(format!("{earlier}")).unwrap();
                    assert!(expected.is_none() || seen == expected, "{earlier} in round {round}: {seen:?}");
                }
                assert_eq!(db.len().unwrap(), KEYS);
                for key in 0..KEYS {
                    let expected = format!("{round}:{key}").into_bytes();
                    assert_eq!(db.get(format!("{key}")).unwrap(), Some(expected), "{key} in round {round}");
                    assert!(db.delete(format!("{key}")).unwrap(), "{key} in round {round}");
                }
                assert_eq!(db.len().unwrap(), 0);
            }
        })
    });
    join(writing.collect());
    done.store(true, Ordering::Release);
    join(purging);
}

#[test]
fn databases_that_are_exchanged_are_never_seen_in_part() {
    const KEYS: usize = 20;
    let engine = with_many_databases();
    // The places of the first two are found without a lock, those of the others are not.
    let pairs = [[0, 1], [1, 70], [70, 71]];
    for pair in pairs {
        for (db, value) in pair.into_iter().zip(["one", "other"]) {
            let db = engine.database(db).unwrap();
            (0..KEYS).for_each(|key| db.set(format!("{key}"), value).map(drop).unwrap());
        }
        let done = Arc::new(AtomicBool::new(false));
        let reading: Vec<_> = pair
            .into_iter()
            .map(|number| {
                let (db, done) = (engine.database(number).unwrap(), done.clone());
                spawn(&engine, move |session| {
                    run(session, &format!("SELECT {number}"));
                    let mut seen = HashSet::new();
                    for round in 0.. {
                        if done.load(Ordering::Acquire) && round > ROUNDS {
                            return seen;
                        }
                        let key = round % KEYS;
                        seen.insert(db.get(format!("{key}")).unwrap().expect("either database has the key"));
                        assert!(db.get(format!("no:{key}")).unwrap().is_none());
                        let line = format!("MGET {key} {}", (key + 1) % KEYS);
                        let Item::Array(both) = run(session, &line) else { panic!("{line}") };
                        assert_eq!(both[0], both[1]);
                    }
                    seen
                })
            })
            .collect();
        let session = &mut engine.session(Form::Tape);
        for _ in 0..ROUNDS {
            run(session, &format!("SWAPDB {} {}", pair[0], pair[1]));
        }
        done.store(true, Ordering::Release);
        for seen in join(reading) {
            assert!(seen.iter().all(|value| matches!(value.as_slice(), b"one" | b"other")), "{seen:?}");
        }
    }
}
