//! Tests of sessions that wait: order, transactions, chains, time, races, forks; and of monitors in the process.

mod commands;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::command::Form;
use crate::command::run::{self, Context, Locked};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Effect, Event, Group, Journal, Observer, Ticket};
use crate::sync::Mutex;
use crate::{Clock, Config, Engine};
pub(crate) use commands::begin;
use commands::found;

/// Opens a session that waits.
fn blocked(engine: &Engine, line: &str) -> Session {
    let mut session = engine.session(Form::Resp);
    assert_eq!(begin(&mut session, line), Outcome::Blocked, "{line}");
    assert!(session.is_blocked() && !session.try_take() && session.replies().is_empty());
    session
}

fn execute(session: &mut Session, line: &str) -> String {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&argv)).replace("\r\n", " ").trim().to_owned()
}

/// The late reply.
fn taken(session: &mut Session) -> String {
    assert!(session.try_take() && !session.is_blocked());
    let reply = String::from_utf8_lossy(session.replies()).replace("\r\n", " ").trim().to_owned();
    session.clear_replies();
    reply
}

fn engine() -> Engine {
    Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap()
}

/// Awaited keys, and marks of any kind.
fn queues(engine: &Engine) -> (usize, bool) {
    let keyspace = &engine.inner.keyspace;
    let awaited = keyspace.made_shards().map(|shard| keyspace.lock(shard).watchers.awaited()).sum();
    (awaited, keyspace.hooks.may_hear())
}

#[test]
fn what_is_there_is_taken_at_once_and_the_rest_waited_for() {
    let engine = engine();
    let mut session = engine.session(Form::Resp);
    execute(&mut session, "MSET b 1 c 2");
    assert_eq!(begin(&mut session, "TAKE 0 a b c"), Outcome::Replied);
    assert_eq!(session.replies(), b"*2\r\n$1\r\nb\r\n$1\r\n1\r\n");
    let mut waiting = blocked(&engine, "TAKE 0 a b");
    assert_eq!(queues(&engine), (2, true));
    assert_eq!(execute(&mut session, "SET b 3"), "+OK");
    assert_eq!(taken(&mut waiting), "*2 $1 b $1 3");
    assert_eq!((queues(&engine), execute(&mut session, "EXISTS a b c")), ((0, false), ":1".into()));
    // An error comes at once.
    execute(&mut session, "HSET h f v");
    assert_eq!(begin(&mut waiting, "TAKE 0 a h"), Outcome::Replied);
    assert!(waiting.replies().starts_with(b"-WRONGTYPE"));
    assert_eq!(queues(&engine), (0, false));
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let engine = engine();
    let mut pusher = engine.session(Form::Resp);
    let mut waiters: Vec<Session> =
        (0..20).map(|at| blocked(&engine, ["TAKE 0 k", "TAKE 0 x k", "TAKE 0 k y"][at % 3])).collect();
    for (at, waiter) in waiters.iter_mut().enumerate() {
        assert!(!waiter.try_take());
        execute(&mut pusher, &format!("SET k {at}"));
        let length = at.to_string().len();
        assert_eq!(taken(waiter), format!("*2 $1 k ${length} {at}"));
    }
    assert_eq!(queues(&engine), (0, false));
}

#[test]
fn every_way_to_bring_a_key_serves_those_who_wait() {
    let lines: [&[&str]; 13] = [
        &["SET k v"],
        &["SET k v EX 100"],
        &["SETNX k v"],
        &["APPEND k v"],
        &["MSET j 1 k v"],
        &["INCR k"],
        &["SETRANGE k 0 v"],
        &["SET j v", "RENAME j k"],
        &["SET j v", "COPY j k"],
        &["SELECT 3", "SET k v", "MOVE k 0"],
        &["SELECT 3", "SET k v", "SWAPDB 0 3"],
        &["MULTI", "SET k v", "EXEC"],
        &["SELECT 5", "SET j v", "COPY j k DB 0"],
    ];
    for lines in lines {
        let engine = engine();
        let mut pusher = engine.session(Form::Resp);
        let mut waiting = blocked(&engine, "TAKE 0 k");
        for line in lines {
            assert!(!waiting.try_take(), "before {line}");
            let reply = execute(&mut pusher, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        let value = if lines == ["INCR k"] { "1" } else { "v" };
        assert_eq!(taken(&mut waiting), format!("*2 $1 k $1 {value}"), "{lines:?}");
        assert_eq!(queues(&engine), (0, false));
        assert_eq!(execute(&mut engine.session(Form::Resp), "EXISTS k"), ":0");
    }
    // And so do typed calls.
    let engine = engine();
    let db = engine.database(0).unwrap();
    let ttl = crate::SetOptions::new().ttl(crate::Ttl::After(Duration::from_secs(9)));
    let bring: [&dyn Fn(); 4] = [
        &|| db.set("k", "v").unwrap(),
        &|| assert!(db.set_with("k", "v", ttl).unwrap()),
        &|| assert_eq!(db.incr("k", 1).unwrap(), 1),
        &|| db.set_many(&[("k", "v"), ("j", "v")], crate::Ttl::None).unwrap(),
    ];
    for bring in bring {
        let mut waiting = blocked(&engine, "TAKE 0 k");
        bring();
        assert!(taken(&mut waiting).starts_with("*2 $1 k $1"));
        assert!(db.get("k").unwrap().is_none());
    }
}

#[test]
fn other_writes_serve_nobody() {
    let engine = engine();
    let mut pusher = engine.session(Form::Resp);
    let mut waiting = blocked(&engine, "TAKE 0 k");
    // Another key, another database, another type, a key that is gone again, one that expires at once.
    for line in [
        "SET j v",
        "SELECT 1",
        "SET k v",
        "SELECT 0",
        "HSET k f v",
        "DEL k",
        "MULTI",
        "SET k v",
        "DEL k",
        "EXEC",
        "FLUSHALL",
        "SET k v PXAT 1",
    ] {
        execute(&mut pusher, line);
        assert!(!waiting.try_take(), "{line}");
    }
    assert_eq!(queues(&engine), (1, true));
    assert!(waiting.cancel() && !waiting.is_blocked() && !waiting.cancel());
    assert_eq!(queues(&engine), (0, false));
    execute(&mut pusher, "SET k v");
    assert_eq!(execute(&mut waiting, "GET k"), "$1 v");
}

#[test]
fn a_transaction_serves_when_it_has_ended_and_in_order() {
    let engine = engine();
    let mut pusher = engine.session(Form::Resp);
    let mut one = blocked(&engine, "TAKE 0 b");
    let mut two = blocked(&engine, "TAKE 0 b a");
    let mut three = blocked(&engine, "TAKE 0 a");
    for line in ["MULTI", "SET a 1", "GET a", "SET b 2", "SET a 3", "GET a"] {
        execute(&mut pusher, line);
    }
    assert!(!one.try_take() && !two.try_take());
    // It sees its own writes; then a is served first, since it changed first, and whoever is attempted takes by the order of its own words.
    assert_eq!(execute(&mut pusher, "EXEC"), "*5 +OK $1 1 +OK +OK $1 3");
    assert_eq!(taken(&mut two), "*2 $1 b $1 2");
    assert_eq!(taken(&mut three), "*2 $1 a $1 3");
    assert!(!one.try_take());
    execute(&mut pusher, "SET b 4");
    assert_eq!(taken(&mut one), "*2 $1 b $1 4");
    assert_eq!((queues(&engine), execute(&mut pusher, "DBSIZE")), ((0, false), ":0".into()));
}

#[test]
fn nothing_waits_in_a_transaction() {
    let engine = engine();
    let mut session = engine.session(Form::Resp);
    let keyspace = &engine.inner.keyspace;
    let mut db = Db::new(keyspace, (0, 1), Locks::all(keyspace));
    let (mut effects, mut options_changed) = (Group::default(), false);
    let Session { client, reply, .. } = &mut session;
    let locked = Locked { db: &mut db, effects: &mut effects, options_changed: &mut options_changed };
    let mut context =
        Context { engine: &engine.inner, session: &mut client.state, transaction: Some(locked) };
    run::call(&mut context, &found(b"TAKE"), &[b"TAKE", b"0", b"k"], reply).unwrap();
    run::call(&mut context, &found(b"PASS"), &[b"PASS", b"0", b"k", b"j"], reply).unwrap();
    db.release();
    assert_eq!(session.replies(), b"*-1\r\n$-1\r\n");
    assert!(!session.is_blocked());
    assert_eq!(queues(&engine), (0, false));
}

#[test]
fn what_serving_changes_is_served_in_turn() {
    // By every pusher: with one lock, with several, and with all.
    for push in ["SET a x", "MSET a x z 1", "RENAME o a"] {
        let engine = engine();
        let mut pusher = engine.session(Form::Resp);
        execute(&mut pusher, "SET o x");
        let mut chain: Vec<Session> =
            ["c d", "b c", "d e", "a b"].map(|keys| blocked(&engine, &format!("PASS 0 {keys}"))).into();
        let mut last = blocked(&engine, "TAKE 0 e");
        execute(&mut pusher, push);
        for waiting in &mut chain {
            assert_eq!(taken(waiting), "+OK", "{push}");
        }
        assert_eq!(taken(&mut last), "*2 $1 e $1 x", "{push}");
        assert_eq!(queues(&engine), (0, false));
        assert_eq!(execute(&mut pusher, "EXISTS a b c d e"), ":0");
    }
}

#[test]
fn a_wait_ends_when_its_time_is_over() {
    let engine = engine();
    let mut waiting = blocked(&engine, "TAKE 50 a b");
    let mut other = blocked(&engine, "PASS 100 a b");
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(50)));
    engine.advance(Duration::from_millis(49));
    assert!(!waiting.try_take() && !waiting.wait(Some(Duration::ZERO)));
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(1)));
    engine.advance(Duration::from_millis(1));
    assert_eq!(taken(&mut waiting), "*-1");
    assert_eq!(queues(&engine), (1, true));
    std::thread::scope(|scope| {
        let parked = scope.spawn(|| {
            assert!(other.wait(None));
            taken(&mut other)
        });
        engine.advance(Duration::from_millis(50));
        assert_eq!(parked.join().unwrap(), "$-1");
    });
    assert_eq!((queues(&engine), other.time_left()), ((0, false), None));
    // By the system's clock, nobody has to move anything.
    let engine = Engine::new();
    let mut waiting = blocked(&engine, "TAKE 5 k");
    assert!(waiting.wait(None));
    assert_eq!(taken(&mut waiting), "*-1");
    assert_eq!(execute(&mut waiting, "WAIT 1 5"), ":0");
    assert_eq!(waiting.begin(&[b"WAIT", b"1", b"5"]), Outcome::Blocked);
    while !waiting.wait(Some(Duration::from_millis(1))) {}
    assert_eq!(waiting.replies(), b":0\r\n");
}

#[test]
fn a_session_that_waits_does_nothing_else() {
    let engine = engine();
    let mut waiting = blocked(&engine, "TAKE 0 k");
    for line in ["GET k", "SET k v", "PING", "MULTI"] {
        assert_eq!(execute(&mut waiting, line), "-ERR the session waits for the reply of its last command");
    }
    waiting.clear_replies();
    engine.database(0).unwrap().set("k", "v").unwrap();
    assert_eq!(taken(&mut waiting), "*2 $1 k $1 v");
    assert_eq!(execute(&mut waiting, "GET k"), "$-1");
}

#[test]
fn whoever_goes_leaves_all_its_queues() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let (dropped, mut unblocked, mut other) =
        (blocked(&engine, "TAKE 0 a b"), blocked(&engine, "TAKE 0 b c"), blocked(&engine, "TAKE 0 a c"));
    assert_eq!(queues(&engine), (3, true));
    drop(dropped);
    let info = execute(&mut host, "INFO clients");
    assert!(info.contains("blocked_clients:2 ") && info.contains("total_blocking_keys:3 "), "{info}");
    assert_eq!(execute(&mut host, &format!("CLIENT UNBLOCK {}", unblocked.id())), ":1");
    assert_eq!(taken(&mut unblocked), "*-1");
    assert_eq!(queues(&engine), (2, true));
    execute(&mut host, "MULTI");
    execute(&mut host, &format!("CLIENT UNBLOCK {} ERROR", other.id()));
    execute(&mut host, "SET a v");
    assert_eq!(execute(&mut host, "EXEC"), "*2 :1 +OK");
    assert_eq!(taken(&mut other), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    assert_eq!((queues(&engine), execute(&mut host, "GET a")), ((0, false), "$1 v".into()));
    // A session of the host can't be killed, and waits on.
    let mut waiting = blocked(&engine, "TAKE 0 k");
    assert_eq!(execute(&mut host, "CLIENT KILL TYPE normal"), ":0");
    execute(&mut host, "SET k v");
    assert_eq!(taken(&mut waiting), "*2 $1 k $1 v");
}

#[test]
fn replies_come_in_the_form_of_the_waiter() {
    let engine = engine();
    let mut pusher = engine.session(Form::Resp);
    let mut tape = engine.session(Form::Tape);
    let mut modern = engine.session(Form::Resp);
    modern.execute(&[b"HELLO", b"3"]);
    assert_eq!(begin(&mut tape, "TAKE 0 k"), Outcome::Blocked);
    assert_eq!(begin(&mut modern, "TAKE 10 k"), Outcome::Blocked);
    execute(&mut pusher, "SET k v");
    assert!(tape.try_take());
    let (item, rest) = crate::Item::read(tape.replies()).unwrap();
    assert_eq!(
        (item, rest.len()),
        (crate::Item::Array(vec![crate::Item::Bulk(b"k"), crate::Item::Bulk(b"v")]), 0)
    );
    engine.advance(Duration::from_millis(10));
    assert_eq!(taken(&mut modern), "_");
    // And are bounded as others are.
    let mut waiting = blocked(&engine, "TAKE 0 k");
    engine.config().set(&[(b"max-reply-bytes", b"1mb")]).unwrap();
    execute(&mut pusher, &format!("SET k {}", "v".repeat(2 << 20)));
    assert_eq!(taken(&mut waiting), "-ERR the reply is larger than max-reply-bytes");
    assert_eq!(execute(&mut pusher, "EXISTS k"), ":1");
}

/// Notes what a log and an observer hear.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<String>>,
    refuses: std::sync::atomic::AtomicBool,
}

impl Journal for Ear {
    fn append(&self, group: &Group) -> Result<Ticket> {
        let words = |effect: Effect<'_>| {
            effect
                .words()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        self.heard.lock().push(group.effects().map(words).collect::<Vec<_>>().join(" | "));
        Ok(Ticket(self.heard.lock().len() as u64))
    }

    fn wait(&self, _: Ticket) -> Result<()> {
        let refuses = self.refuses.load(std::sync::atomic::Ordering::Relaxed);
        if refuses { Err(Error::new(ErrorKind::Io, "ERR the disk is full")) } else { Ok(()) }
    }
}

impl Observer for Ear {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        if event.name == "taken" {
            self.heard.lock().push(format!("{} takes {}", event.client, String::from_utf8_lossy(event.key)));
        }
    }
}

#[test]
fn the_log_gets_what_is_served_behind_what_brought_it_and_observers_hear_who_took_it() {
    let engine = engine();
    let ear = std::sync::Arc::new(Ear::default());
    engine.set_journal(Some(ear.clone()));
    engine.observe(ear.clone());
    let mut pusher = engine.session(Form::Resp);
    let mut one = blocked(&engine, "TAKE 0 a");
    let mut two = blocked(&engine, "TAKE 0 b");
    for line in ["MULTI", "SET a 1", "SET b 2", "EXEC"] {
        execute(&mut pusher, line);
    }
    assert_eq!((taken(&mut one), taken(&mut two)), ("*2 $1 a $1 1".into(), "*2 $1 b $1 2".into()));
    assert_eq!(*ear.heard.lock(), ["SET a 1 | SET b 2", "DEL a", "DEL b", "2 takes a", "3 takes b"]);
    // What it can't keep is an error for either, and has been done.
    assert_eq!(begin(&mut one, "TAKE 0 a"), Outcome::Blocked);
    ear.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(execute(&mut pusher, "SET a 3"), "-ERR the disk is full");
    assert_eq!(taken(&mut one), "-ERR the disk is full");
    assert_eq!(execute(&mut pusher, "EXISTS a"), ":0");
}

#[test]
fn waits_are_counted_when_they_end() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let mut waiting = blocked(&engine, "TAKE 0 k");
    let calls = |host: &mut Session| {
        let stats = execute(host, "INFO commandstats");
        stats.split(' ').find(|line| line.starts_with("cmdstat_client:")).map(str::to_owned)
    };
    assert_eq!(calls(&mut host), None);
    execute(&mut host, "SET k v");
    taken(&mut waiting);
    assert!(calls(&mut host).unwrap().starts_with("cmdstat_client:calls=1,"));
    assert_eq!(begin(&mut waiting, "TAKE 0 k"), Outcome::Blocked);
    // As in the server one that waits for keys is not counted if it has no reply.
    assert!(waiting.cancel());
    assert!(calls(&mut host).unwrap().starts_with("cmdstat_client:calls=1,"));
}

#[cfg(unix)]
#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_forked_child_serves_nobody_who_waits_in_its_parent() {
    let engine = Engine::new();
    let mut own = blocked(&engine, "TAKE 0 k j");
    let mut monitor = engine.session(Form::Resp);
    assert_eq!(execute(&mut monitor, "MONITOR"), "+OK");
    assert!(crate::os::in_fork_by_steps(|trail| {
        let mut session = engine.session(Form::Resp);
        execute(&mut session, "SET k child");
        trail.step("wrote");
        assert_eq!(execute(&mut session, "GET k"), "$5 child");
        let mut waiting = blocked(&engine, "TAKE 0 j");
        execute(&mut session, "SET j other");
        assert_eq!(taken(&mut waiting), "*2 $1 j $5 other");
        trail.step("served its own");
        // What waited in the parent waits no more here.
        assert_eq!(taken(&mut own), "*-1");
        assert!(monitor.next_push(Some(Duration::ZERO)).unwrap().is_none());
        true
    }));
    let mut session = engine.session(Form::Resp);
    assert_eq!(execute(&mut session, "SET k parent"), "+OK");
    assert_eq!(taken(&mut own), "*2 $1 k $6 parent");
}

/// Of elements that many threads bring and take, give up waiting for and time out at, each is taken once.
#[test]
fn nothing_is_lost_or_served_twice() {
    const PUSHERS: usize = 2;
    const TAKERS: usize = 3;
    let each = if cfg!(miri) { 10 } else { 1500 };
    let engine = Engine::new();
    let left = AtomicUsize::new(PUSHERS * each);
    let keys = ["one", "two", "three", "four"];
    let taken = Mutex::new(BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (engine, keys) = (&engine, &keys);
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                for number in 0..each {
                    let mut at = number * 7 + pusher;
                    // Nobody's element is overwritten.
                    while execute(
                        &mut session,
                        &format!("SET {} {pusher}:{number} NX", keys[at % keys.len()]),
                    ) != "+OK"
                    {
                        at += 1;
                        std::thread::yield_now();
                    }
                }
            });
        }
        for taker in 0..TAKERS {
            let (engine, keys, left, all) = (&engine, &keys, &left, &taken);
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                let mut round = taker;
                while left.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                    round += 1;
                    let own: Vec<&str> =
                        (0..1 + round % 3).map(|at| keys[(round + at) % keys.len()]).collect();
                    let timeout_ms = if round.is_multiple_of(5) { 1 } else { 20 };
                    if begin(&mut session, &format!("TAKE {timeout_ms} {}", own.join(" ")))
                        == Outcome::Blocked
                    {
                        if round.is_multiple_of(3) && session.cancel() {
                            continue;
                        }
                        // Too late to cancel: it comes.
                        assert!(session.wait(None));
                    }
                    let reply = String::from_utf8_lossy(session.replies()).into_owned();
                    let mut words = reply.split("\r\n");
                    if words.next() == Some("*2") {
                        *all.lock().entry(words.nth(3).unwrap().to_owned()).or_default() += 1;
                        left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let taken = taken.lock();
    assert_eq!(taken.len(), PUSHERS * each);
    assert!(taken.values().all(|times| *times == 1));
    assert_eq!(
        (queues(&engine), execute(&mut engine.session(Form::Resp), "DBSIZE")),
        ((0, false), ":0".into())
    );
}

#[test]
fn a_monitor_in_the_process_reads_lines() {
    let engine = engine();
    let mut monitor = engine.session(Form::Resp);
    let mut tape = engine.session(Form::Tape);
    let mut other = engine.session(Form::Resp);
    assert!(monitor.next_push(Some(Duration::ZERO)).unwrap().is_none() && !monitor.is_pushed_to());
    assert_eq!(
        (execute(&mut monitor, "MONITOR"), execute(&mut monitor, "MONITOR")),
        ("+OK".into(), String::new())
    );
    tape.execute(&[b"MONITOR"]);
    assert_eq!(tape.execute(&[b"MONITOR"]), [1]);
    // Hot commands too.
    execute(&mut other, "GET k");
    engine.advance(Duration::from_micros(250));
    execute(&mut other, "select 2");
    let line = |session: &mut Session| {
        String::from_utf8(session.next_push(Some(Duration::ZERO)).unwrap().unwrap().to_vec()).unwrap()
    };
    assert_eq!(line(&mut monitor), "+1000.000000 [0 unix:in-process] \"GET\" \"k\"\r\n");
    assert_eq!(line(&mut monitor), "+1000.000250 [2 unix:in-process] \"select\" \"2\"\r\n");
    assert!(monitor.next_push(Some(Duration::ZERO)).unwrap().is_none());
    let first = tape.next_push(None).unwrap().unwrap();
    assert_eq!(
        crate::Item::read(&first).unwrap().0,
        crate::Item::Simple(b"1000.000000 [0 unix:in-process] \"GET\" \"k\"")
    );
    assert_eq!(execute(&mut monitor, "RESET"), "+RESET");
    // Nothing of before it comes after it; and who has gone sees nothing.
    drop(tape);
    assert!(monitor.next_push(Some(Duration::ZERO)).unwrap().is_none() && !engine.inner.measures_all());
}

#[test]
fn a_session_without_a_reader_is_no_monitor() {
    let engine = engine();
    let mut session = engine.session(Form::Resp);
    session.refuse_pushes(true);
    assert_eq!(session.execute(&[b"MONITOR"]), b"-ERR nobody reads what is pushed to this session\r\n");
    assert!(!session.is_pushed_to() && !engine.inner.is_monitored());
    assert_eq!(session.execute(&[b"PING"]), b"+PONG\r\n");
}

#[test]
fn a_monitor_that_does_not_read_loses_lines_and_is_told_so() {
    let config = Config::from_text(b"client-output-buffer-limit normal 1kb 0 0\n").unwrap();
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).config(config).open().unwrap();
    let (mut monitor, mut other) = (engine.session(Form::Resp), engine.session(Form::Resp));
    execute(&mut monitor, "MONITOR");
    let line = format!("ECHO {}", "x".repeat(280));
    (0..4).for_each(|_| drop(execute(&mut other, &line)));
    let lost = monitor.next_push(None).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Usage);
    // The fourth found no room, and took the others with it.
    assert!(monitor.next_push(Some(Duration::ZERO)).unwrap().is_none());
    execute(&mut other, "PING");
    assert!(monitor.next_push(None).unwrap().unwrap().ends_with(b"\"PING\"\r\n"));
    assert!(!monitor.is_quitting() && monitor.is_pushed_to());
}

mod lists;
