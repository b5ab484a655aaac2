//! Models of the engine's locking that loom runs through every interleaving: several shards at once, EXEC, WATCH, the reaper, those who wait.
//!
//! There are two shards under loom, and each model has a key in either. Memory safety is the sanitizers' business.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use crate::command::Outcome;
use crate::engine::blocking::tests::begin;
use crate::keyspace::{Event, HashSeed, Interest, Key, Observer};
use crate::{Clock, Config, Engine, Form, Session};

/// Steps of one interleaving: a command takes some twenty locks and atomics.
const MAX_BRANCHES: usize = 20_000;

/// Words of a thread's stack: what is not optimised needs more than loom's own 32 KiB.
const STACK: usize = 32 * 1024;

/// A thread of a model.
fn thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    thread::Builder::new().stack_size(STACK).spawn(work).unwrap()
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let run = Arc::new(run);
    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    let interleavings = Arc::new(AtomicUsize::new(0));
    let counted = interleavings.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let run = run.clone();
        thread(move || run()).join().unwrap();
    });
    assert!(interleavings.load(Ordering::Relaxed) > 1, "a model without a choice shows nothing");
}

fn engine() -> Engine {
    // Nothing may depend on how long a command took: loom wants the same steps each time.
    let config = Config::from_text(b"slowlog-log-slower-than -1\nlatency-tracking no\n").unwrap();
    Engine::builder().config(config).clock(Clock::manual(1_000)).open().unwrap()
}

/// Two keys that live in different shards.
fn keys() -> [&'static [u8]; 2] {
    let names: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
    let shard = |name: &[u8]| Key::new(name, &HashSeed::random()).shard();
    let mut other = names.into_iter().filter(|name| shard(name) != shard(names[0]));
    // One seed in 128 puts all eight into one shard; the models hold then, too.
    [names[0], other.next().unwrap_or(names[1])]
}

fn run(session: &mut Session, argv: &[&[u8]]) -> String {
    String::from_utf8(session.execute(argv).to_vec()).unwrap()
}

fn spawn<R: Send + 'static>(
    engine: &Engine,
    work: impl FnOnce(&mut Session) -> R + Send + 'static,
) -> JoinHandle<R> {
    let engine = engine.clone();
    thread(move || work(&mut engine.session(Form::Resp)))
}

#[test]
fn loom_a_read_without_the_lock_sees_whole_values_and_its_own_writes() {
    model(|| {
        let ([key, _], engine) = (keys(), engine());
        let db = engine.database(0).unwrap();
        let set = |db: &crate::Database, value: &str| {
            db.set(key, value).unwrap();
        };
        set(&db, "one");
        let reading = engine.database(0).unwrap();
        let reader = thread(move || {
            let seen = reading.get(key).unwrap().unwrap();
            assert!(seen == b"one" || seen == b"two", "{seen:?}");
        });
        set(&db, "two");
        assert_eq!(db.get(key).unwrap().unwrap(), b"two");
        reader.join().unwrap();
        assert_eq!(db.get(key).unwrap().unwrap(), b"two");
    });
}

#[test]
fn loom_pairs_written_in_opposite_order_stay_pairs() {
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let ahead = spawn(&engine, move |session| run(session, &[b"MSET", a, b"1", b, b"1"]));
        let mut session = engine.session(Form::Resp);
        run(&mut session, &[b"MSET", b, b"2", a, b"2"]);
        ahead.join().unwrap();
        let pair = run(&mut session, &[b"MGET", a, b]);
        assert!(["1", "2"].iter().any(|v| pair == format!("*2\r\n$1\r\n{v}\r\n$1\r\n{v}\r\n")), "{pair}");
    });
}

#[test]
fn loom_readers_see_whole_pairs() {
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let writer = spawn(&engine, move |session| run(session, &[b"MSET", a, b"1", b, b"1"]));
        let pair = run(&mut engine.session(Form::Resp), &[b"MGET", b, a]);
        let whole = ["*2\r\n$-1\r\n$-1\r\n", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n"];
        assert!(whole.contains(&pair.as_str()), "{pair}");
        writer.join().unwrap();
    });
}

#[test]
fn loom_transactions_lock_the_union_of_their_keys() {
    fn count(session: &mut Session, first: &[u8], second: &[u8]) -> String {
        run(session, &[b"MULTI"]);
        run(session, &[b"INCR", first]);
        run(session, &[b"INCR", second]);
        run(session, &[b"EXEC"])
    }
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let ahead = spawn(&engine, move |session| count(session, a, b));
        let one = count(&mut engine.session(Form::Resp), b, a);
        let mut both = [one, ahead.join().unwrap()];
        both.sort();
        assert_eq!(both, ["*2\r\n:1\r\n:1\r\n", "*2\r\n:2\r\n:2\r\n"]);
    });
}

#[test]
fn loom_watched_counters_lose_no_update() {
    fn count(session: &mut Session, key: &[u8]) -> bool {
        run(session, &[b"WATCH", key]);
        let seen = run(session, &[b"STRLEN", key]) == ":1\r\n";
        run(session, &[b"MULTI"]);
        run(session, &[b"APPEND", key, b"x"]);
        if seen {
            run(session, &[b"APPEND", key, b"y"]);
        }
        run(session, &[b"EXEC"]) != "*-1\r\n"
    }
    model(|| {
        let (key, engine) = (keys()[0], engine());
        let ahead = spawn(&engine, move |session| count(session, key));
        let mut session = engine.session(Form::Resp);
        let mine = count(&mut session, key);
        let done = [mine, ahead.join().unwrap()].iter().filter(|done| **done).count();
        // Whoever came second saw the first one's letter, or did nothing.
        let expected = if done == 2 { ":3\r\n" } else { ":1\r\n" };
        assert!(done > 0);
        assert_eq!(run(&mut session, &[b"STRLEN", key]), expected);
    });
}

#[test]
fn loom_a_copy_with_a_current_version_is_what_was_written_last() {
    model(|| {
        let (key, engine) = (keys()[0], engine());
        let versions = engine.versions();
        let writer = spawn(&engine, move |session| run(session, &[b"SET", key, b"v"]));
        let mut session = engine.session(Form::Resp);
        let version = versions.version_of(key);
        let copy = run(&mut session, &[b"GET", key]);
        writer.join().unwrap();
        if versions.is_current(&version) {
            assert_eq!(copy, "$1\r\nv\r\n");
        }
    });
}

#[test]
fn loom_whoever_asks_for_versions_misses_no_later_write() {
    model(|| {
        let (key, engine) = (keys()[0], engine());
        let writer = spawn(&engine, move |session| run(session, &[b"SET", key, b"v"]));
        let versions = engine.versions();
        let version = versions.version_of(key);
        let copy = run(&mut engine.session(Form::Resp), &[b"GET", key]);
        writer.join().unwrap();
        if versions.is_current(&version) {
            assert_eq!(copy, "$1\r\nv\r\n");
        }
    });
}

#[test]
fn loom_the_reaper_spares_keys_whose_deadline_moved() {
    model(|| {
        let (key, engine) = (keys()[0], engine());
        let mut session = engine.session(Form::Resp);
        run(&mut session, &[b"SET", key, b"v", b"PXAT", b"1001"]);
        let longer = spawn(&engine, move |session| run(session, &[b"PEXPIREAT", key, b"9000"]));
        engine.advance(Duration::from_millis(100));
        let moved = longer.join().unwrap();
        assert_eq!(run(&mut session, &[b"EXISTS", key]), moved, "a key lives if its deadline moved in time");
        assert_eq!(run(&mut session, &[b"DBSIZE"]), moved, "and is gone otherwise");
    });
}

#[test]
fn loom_whoever_waits_is_served_or_has_cancelled() {
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let mut waiting = engine.session(Form::Resp);
        let line = format!("TAKE 0 {} {}", a.escape_ascii(), b.escape_ascii());
        assert_eq!(begin(&mut waiting, &line), Outcome::Blocked);
        let pusher = spawn(&engine, move |session| run(session, &[b"SET", b, b"v"]));
        let is_cancelled = waiting.cancel();
        assert_eq!(pusher.join().unwrap(), "+OK\r\n");
        let left = run(&mut engine.session(Form::Resp), &[b"EXISTS", b]);
        assert_eq!(left, if is_cancelled { ":1\r\n" } else { ":0\r\n" });
        // Who is too late to cancel finds the reply.
        assert!(is_cancelled || waiting.try_take() && waiting.replies().starts_with(b"*2"));
    });
}

#[test]
fn loom_whoever_abandons_a_wait_loses_no_element() {
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let mut waiting = engine.session(Form::Resp);
        assert_eq!(waiting.begin(&[b"BLPOP", a, b, b"0"]), Outcome::Blocked);
        let pusher = spawn(&engine, move |session| run(session, &[b"RPUSH", b, b"v"]));
        waiting.abandon();
        assert!(!waiting.is_blocked());
        assert_eq!(pusher.join().unwrap(), ":1\r\n");
        // Popped for it or not, and put back by whichever of both threads.
        assert_eq!(run(&mut engine.session(Form::Resp), &[b"LRANGE", b, b"0", b"-1"]), "*1\r\n$1\r\nv\r\n");
    });
}

#[test]
fn loom_a_parked_waiter_is_woken() {
    model(|| {
        let ([a, _], engine) = (keys(), engine());
        let ahead = engine.clone();
        let waiter = thread(move || {
            let mut session = ahead.session(Form::Resp);
            if begin(&mut session, &format!("TAKE 0 {}", a.escape_ascii())) == Outcome::Blocked {
                assert!(session.wait(None));
            }
            session.replies().to_vec()
        });
        run(&mut engine.session(Form::Resp), &[b"SET", a, b"v"]);
        assert_eq!(waiter.join().unwrap(), b"*2\r\n$1\r\na\r\n$1\r\nv\r\n");
    });
}

#[test]
fn loom_two_pushes_serve_two_waiters_once_each() {
    model(|| {
        let ([a, b], engine) = (keys(), engine());
        let take = |keys: [&[u8]; 2]| {
            let mut session = engine.session(Form::Resp);
            let line = format!("TAKE 0 {} {}", keys[0].escape_ascii(), keys[1].escape_ascii());
            assert_eq!(begin(&mut session, &line), Outcome::Blocked);
            session
        };
        let mut waiters = [take([a, b]), take([b, a])];
        let ahead = spawn(&engine, move |session| run(session, &[b"SET", a, b"1"]));
        run(&mut engine.session(Form::Resp), &[b"SET", b, b"2"]);
        ahead.join().unwrap();
        let mut taken: Vec<u8> = waiters
            .iter_mut()
            .map(|waiter| {
                assert!(waiter.try_take());
                waiter.replies()[waiter.replies().len() - 3]
            })
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, b"12");
        assert_eq!(run(&mut engine.session(Form::Resp), &[b"DBSIZE"]), ":0\r\n");
    });
}

#[test]
fn loom_observers_hear_in_the_order_of_the_changes() {
    /// Notes the names of events.
    #[derive(Default)]
    struct Ear(std::sync::Mutex<Vec<&'static str>>);
    impl Observer for Ear {
        fn interest(&self) -> Interest {
            Interest { changes: false, events: true, misses: false }
        }

        fn modified(&self, _: usize, _: &[u8], _: u64) {}

        fn notified(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(event.name);
        }
    }
    model(|| {
        let ([key, _], engine) = (keys(), engine());
        run(&mut engine.session(Form::Resp), &[b"SET", key, b"1"]);
        let ear = Arc::new(Ear::default());
        engine.observe(ear.clone());
        let other = spawn(&engine, move |session| run(session, &[b"DEL", key]));
        run(&mut engine.session(Form::Resp), &[b"SET", key, b"2"]);
        other.join().unwrap();
        let exists = run(&mut engine.session(Form::Resp), &[b"EXISTS", key]) == ":1\r\n";
        let heard = ear.0.lock().unwrap();
        let expected: [&[&str]; 2] = [&["set", "del"], &["del", "new", "set"]];
        assert_eq!(**heard, *expected[usize::from(exists)]);
    });
}
