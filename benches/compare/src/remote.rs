//! An engine that stands in a real server: what is near beside an engine in this process, and what is not beside redis-rs.

use std::net::TcpListener;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use keystead::{Database, Engine, SetOptions};
use redis::Commands;

use crate::measure::{Clock, in_turn, print_pair};
use crate::valkey::Server;

/// Values of as many bytes as elsewhere.
const VALUE: [u8; 64] = [b'v'; 64];
/// Keys that are read again and again.
const KEYS: usize = 10_000;
/// Callers at once.
const THREADS: usize = 64;

/// Measures all of it, with this many rounds.
pub fn run(scale: usize, rounds: usize) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let server = Server::with(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("it is a URL");
    let mut connection = client.get_connection().expect("the server is there");
    let engine = Engine::open(format!("valkey://127.0.0.1:{port}?near=1gb")).expect("it is a URL");
    let patience = Instant::now() + Duration::from_secs(10);
    while !engine.near_stats().is_some_and(|stats| stats.is_linked) {
        assert!(Instant::now() < patience, "there is no link");
        std::thread::sleep(Duration::from_millis(1));
    }
    let near = engine.database(0).expect("there is one");
    let local = Engine::new().database(0).expect("there is one");
    hits(&near, &local, &mut connection, rounds);
    let misses = 20_000 / scale;
    for number in 0..misses * (rounds + 1) * 2 {
        let () = connection.set(name(number), &VALUE[..]).expect("it is set");
    }
    one_by_one(&near, &mut connection, misses, rounds);
    of_many(&near, &client, misses, rounds);
    drop(server);
}

fn name(number: usize) -> String {
    format!("key:{number:012}")
}

fn reads(db: &Database, keys: &[String]) -> f64 {
    let mut buffer = [0; 64];
    let time = Clock::Thread.time(|| {
        for key in keys {
            let found = db.get_into(key, &mut buffer).expect("it can be read");
            assert_eq!(std::hint::black_box(found), Some(64));
        }
    });
    time / keys.len() as f64
}

fn hits(near: &Database, local: &Database, connection: &mut redis::Connection, rounds: usize) {
    let keys: Vec<String> = (0..KEYS).map(|number| format!("hit:{number:012}")).collect();
    for key in &keys {
        let () = connection.set(key, &VALUE[..]).expect("it is set");
        local.set(key, VALUE).expect("it is set");
    }
    reads(near, &keys);
    let many: Vec<String> = keys.iter().cycle().take(KEYS * 20).cloned().collect();
    // At most 1.3 times as long.
    let goal = Some(1.0 / 1.3);
    let measured = in_turn(rounds, || reads(near, &many), || reads(local, &many));
    print_pair("remote", "near hit, beside a GET in process", "Keystead, in process", &measured, goal);
    // What is near has an end, which has to be looked at.
    for key in &keys {
        let ends = SetOptions::new().expires_in(Duration::from_secs(3_600));
        local.set_with(key, VALUE, ends).expect("it is set");
    }
    let measured = in_turn(rounds, || reads(near, &many), || reads(local, &many));
    let peer = "Keystead, in process, with a time to live";
    print_pair("remote", "near hit, beside a GET of a key that ends", peer, &measured, goal);
}

/// Each key is read for the first time.
fn one_by_one(near: &Database, connection: &mut redis::Connection, misses: usize, rounds: usize) {
    let (mut ours, mut theirs) = (0, 0);
    let rounds = in_turn(
        rounds,
        || {
            let keys: Vec<String> = (ours..ours + misses).map(name).collect();
            ours += misses;
            let time = Clock::Wall.time(|| {
                for key in &keys {
                    assert!(near.get(key).expect("it can be read").is_some());
                }
            });
            time / misses as f64
        },
        || {
            let keys: Vec<String> = (theirs..theirs + misses).map(name).collect();
            theirs += misses;
            let time = Clock::Wall.time(|| {
                for key in &keys {
                    let value: Option<Vec<u8>> = connection.get(key).expect("it can be read");
                    assert!(value.is_some());
                }
            });
            time / misses as f64
        },
    );
    print_pair("remote", "miss, one caller", "redis-rs 1.8", &rounds, Some(1.0 / 1.1));
}

/// Many callers at once: on one link, and on a connection each.
fn of_many(near: &Database, client: &redis::Client, misses: usize, rounds: usize) {
    let begin = misses * (rounds + 1);
    let (mut ours, mut theirs) = (begin, begin);
    let share = |from: usize, thread: usize| {
        let each = misses / THREADS;
        (from + thread * each..from + (thread + 1) * each).map(name).collect::<Vec<String>>()
    };
    let timed = |work: &(dyn Fn(usize, &Barrier) + Sync)| {
        let start = Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn({
                        let start = &start;
                        move || work(thread, start)
                    })
                })
                .collect();
            start.wait();
            let begun = Instant::now();
            threads.into_iter().for_each(|thread| thread.join().expect("it reads"));
            begun.elapsed().as_nanos() as f64 / misses as f64
        })
    };
    let rounds = in_turn(
        rounds,
        || {
            let from = ours;
            ours += misses;
            timed(&|thread, start| {
                let keys = share(from, thread);
                start.wait();
                keys.iter().for_each(|key| assert!(near.get(key).expect("it can be read").is_some()));
            })
        },
        || {
            let from = theirs;
            theirs += misses;
            timed(&|thread, start| {
                let (keys, mut connection) =
                    (share(from, thread), client.get_connection().expect("the server is there"));
                start.wait();
                for key in &keys {
                    let value: Option<Vec<u8>> = connection.get(key).expect("it can be read");
                    assert!(value.is_some());
                }
            })
        },
    );
    print_pair(
        "remote",
        "misses of 64 threads, on one link",
        "redis-rs 1.8, a connection each",
        &rounds,
        Some(2.0),
    );
}
