//! Rules R1 to R10, each by its number: what is read, and how old it may be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::rig::{Server, State, until};
use super::{PATIENT, database, get, settle};
use crate::{Clock, ErrorKind, Form};

#[test]
fn what_was_read_is_near() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    for _ in 0..10 {
        assert_eq!((get(&db, "k").as_deref(), get(&db, "none")), (Some("one"), None));
    }
    assert_eq!((server.count("GET", "k"), server.count("GET", "none")), (1, 1));
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"GET", b"k"]), b"$3\r\none\r\n");
    assert_eq!(session.execute(&[b"STRLEN", b"k"]), b":3\r\n");
    assert_eq!(session.execute(&[b"strlen", b"k"]), b":3\r\n");
    assert_eq!((server.count("GET", "k"), server.count("STRLEN", "k")), (1, 1));
    let stats = engine.near_stats().unwrap();
    assert_eq!((stats.fills, stats.generation, stats.is_linked), (3, 1, true));
}

#[test]
fn a_write_of_another_is_seen() {
    let server = Server::start();
    server.set("k", "one");
    let db = database(&server.engine(PATIENT));
    assert_eq!(get(&db, "k").as_deref(), Some("one"));
    server.set("k", "two");
    until("the new value", || get(&db, "k").as_deref() == Some("two"));
    assert_eq!(server.count("GET", "k"), 2);
    server.set("none", "now");
    assert_eq!(get(&db, "none").as_deref(), Some("now"));
}

/// R1: the reply and the invalidation behind it come in one piece.
#[test]
fn r1_a_value_that_ends_as_it_comes_is_not_kept() {
    let server = Server::start();
    server.set("k", "one");
    let db = database(&server.engine(PATIENT));
    for round in 0..200 {
        let (before, after) = (format!("before {round}"), format!("after {round}"));
        server.set("k", &before);
        until("the value is new", || get(&db, "k").as_deref() == Some(&*before));
        server.set("other", "x");
        db.delete("k").unwrap();
        server.set("k", &before);
        let asked = server.count("GET", "k");
        server.hold();
        thread::scope(|scope| {
            let reader = scope.spawn(|| get(&db, "k"));
            server.await_command("GET", "k", asked + 1);
            server.set("k", &after);
            server.release();
            assert_eq!(reader.join().unwrap().as_deref(), Some(&*before));
        });
        until("what came behind it counts", || get(&db, "k").as_deref() == Some(&*after));
    }
}

/// R1, as a race of threads: what is read is never older than a value that was current when the read began, less the flight of one message.
#[test]
fn r1_readers_and_a_writer_race() {
    let server = Server::start();
    server.set("k", "0");
    let db = database(&server.engine(PATIENT));
    let (written, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_over.load(Ordering::Acquire) {
                    let value: u64 = get(&db, "k").unwrap().parse().unwrap();
                    assert!(value >= last, "{value} after {last}");
                    last = value;
                }
            });
        }
        for number in 1..3_000_u64 {
            server.set("k", &number.to_string());
            written.store(number, Ordering::Release);
        }
        until("the last value", || get(&db, "k").as_deref() == Some("2999"));
        is_over.store(true, Ordering::Release);
    });
}

/// R2: a fetch that was under way when the link was lost brings nothing into the next generation.
#[test]
fn r2_a_fetch_does_not_outlive_its_link() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.hold();
    thread::scope(|scope| {
        let reader = scope.spawn(|| get(&db, "k"));
        server.await_command("GET", "k", 1);
        server.cut();
        server.release();
        server.set("k", "two");
        assert_eq!(reader.join().unwrap().as_deref(), Some("two"));
    });
    until("another link", || engine.near_stats().unwrap().generation == 2);
    until("the new value", || get(&db, "k").as_deref() == Some("two"));
    server.set("k", "three");
    until("the newest value", || get(&db, "k").as_deref() == Some("three"));
}

/// R3: nothing near is served without a link.
#[test]
fn r3_a_lost_link_ends_what_is_near() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    settle(&server, &db, "k");
    server.state().refuses = true;
    server.cut();
    until("the link is lost", || !engine.near_stats().unwrap().is_linked);
    let error = db.get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    server.set("k", "two");
    server.state().refuses = false;
    until("the remote is back", || matches!(db.get("k"), Ok(Some(value)) if value == b"two"));
}

/// R3: half of a message, and then the end.
#[test]
fn r3_a_link_that_ends_within_a_message_is_lost() {
    for bytes in [
        &b">2\r\n$10\r\ninvalid"[..],
        b">2\r\n$19\r\ntracking-redir-broken\r\n:7\r\n",
        b"?\r\n",
        b"+WHO ASKED\r\n",
    ] {
        let server = Server::start();
        server.set("k", "one");
        let engine = server.engine(PATIENT);
        let db = database(&engine);
        settle(&server, &db, "k");
        server.push(bytes);
        if bytes.starts_with(b">2\r\n$10") {
            server.cut();
        }
        until("another link", || engine.near_stats().unwrap().generation == 2);
        assert_eq!(get(&db, "k").as_deref(), Some("one"));
    }
}

/// R4: a network that swallows everything is noticed within the bound though calls wait: the link is lost, and nobody vouches for it meanwhile.
#[test]
fn r4_silence_is_noticed_while_calls_wait() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine("heartbeat=100ms&deadline=300ms&timeout=5s&connect_timeout=100ms");
    let db = database(&engine);
    settle(&server, &db, "k");
    server.freeze();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn({
                    let db = &db;
                    move || db.get(format!("other {number}")).map(|_| ())
                })
            })
            .collect();
        until("the link is lost", || !engine.near_stats().unwrap().is_linked);
        server.thaw();
        waiting.into_iter().for_each(|waiting| drop(waiting.join().unwrap()));
    });
    until("the remote is back", || matches!(db.get("k"), Ok(Some(_))));
}

/// R4: a network that swallows everything is noticed within the bound, by every read.
#[test]
fn r4_silence_ends_what_is_near() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine("heartbeat=100ms&deadline=400ms&timeout=100ms&connect_timeout=100ms");
    let db = database(&engine);
    settle(&server, &db, "k");
    server.freeze();
    let frozen = Clock::system().timer();
    let mut last_hit = Duration::ZERO;
    until("a read that is no hit", || match db.get("k") {
        Ok(Some(_)) => {
            last_hit = frozen.elapsed();
            false
        }
        _ => true,
    });
    let bound = engine.near_stats().unwrap().staleness_bound;
    assert_eq!(bound, Duration::from_millis(500));
    // The proof that counts was asked for before the network went.
    assert!(last_hit <= bound, "{last_hit:?}");
    server.thaw();
    until("the remote is back", || matches!(db.get("k"), Ok(Some(_))));
}

/// R5: what can't be told how long it lives is not kept.
#[test]
fn r5_what_has_no_known_end_is_not_kept() {
    let server = Server::start();
    server.set("k", "one");
    server
        .state()
        .instead
        .insert("PTTL", b"-NOPERM this user has no permissions to run the 'pttl' command\r\n".to_vec());
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    for _ in 0..3 {
        assert_eq!(get(&db, "k").as_deref(), Some("one"));
    }
    assert_eq!((server.count("GET", "k"), engine.near_stats().unwrap().fills), (3, 0));
}

/// R1 and R10: a key that is written between the replies of its time and its value.
#[test]
fn r10_a_time_and_a_value_are_of_one_moment() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    for message in [&b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"[..], b">2\r\n$10\r\ninvalidate\r\n_\r\n"]
    {
        // The key had no end when that was asked for, and has one by now.
        server.state().instead.insert("PTTL", [b":-1\r\n", message].concat());
        server.set("k", "one");
        until("it is not near", || {
            let (fills, dropped) =
                (engine.near_stats().unwrap().fills, engine.near_stats().unwrap().fills_dropped);
            assert_eq!(get(&db, "k").as_deref(), Some("one"));
            let stats = engine.near_stats().unwrap();
            stats.fills == fills && stats.fills_dropped == dropped + 1
        });
    }
}

/// R5: a remote that does not track is used without anything near.
#[test]
fn r5_a_remote_that_refuses_tracking_serves_all_the_same() {
    type Refuse = fn(&mut State);
    let refusals: [Refuse; 3] = [
        |state| state.tracking_reply = b"-NOPERM User default has no permissions\r\n",
        |state| state.hello_reply = Some(b"-NOPROTO unsupported protocol version\r\n"),
        |state| state.version = "6.2.7",
    ];
    for (number, refuse) in refusals.into_iter().enumerate() {
        let server = Server::start();
        server.set("k", "one");
        refuse(&mut server.state());
        let engine = server.unlinked(PATIENT);
        until("the refusal", || engine.near_stats().unwrap().is_refused);
        if number == 1 {
            // Plain connections don't need the protocol.
            server.state().hello_reply = None;
        }
        let db = database(&engine);
        for _ in 0..3 {
            assert_eq!(get(&db, "k").as_deref(), Some("one"));
        }
        assert_eq!(server.count("GET", "k"), 3);
        let stats = engine.near_stats().unwrap();
        assert!(!stats.is_linked && stats.fills == 0);
    }
}

/// R6: after a write of one's own returned, nobody of the process reads what was before.
#[test]
fn r6_own_writes_are_read_back_at_once() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    db.set("k", "0").unwrap();
    let written = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let least = written.load(Ordering::Acquire);
                    let value: u64 = get(&db, "k").unwrap().parse().unwrap();
                    assert!(value >= least, "{value} after {least} was written");
                }
            });
        }
        for number in 1..1_000 {
            db.set("k", number.to_string()).unwrap();
            written.store(number, Ordering::Release);
        }
        is_over.store(true, Ordering::Release);
    });
}

/// R6: the trap of NOLOOP: one's own write, then another's.
#[test]
fn r6_what_was_written_here_is_tracked_still() {
    let server = Server::start();
    let db = database(&server.engine(PATIENT));
    db.set("k", "own").unwrap();
    settle(&server, &db, "k");
    db.set("k", "own again").unwrap();
    settle(&server, &db, "k");
    server.set("k", "theirs");
    until("the value of another", || get(&db, "k").as_deref() == Some("theirs"));
}

/// R6: a write that timed out here and is executed there later.
#[test]
fn r6_a_write_that_comes_late_is_seen() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine("heartbeat=200ms&deadline=5s&timeout=100ms");
    let db = database(&engine);
    settle(&server, &db, "k");
    server.freeze();
    let error = db.set("k", "late").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    server.thaw();
    until("the late value", || matches!(db.get("k"), Ok(Some(value)) if value == b"late"));
}

/// R6: a fetch that began before a write ended is nobody's later.
#[test]
fn r6_a_fetch_that_a_write_overtakes_is_not_kept() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.hold();
    thread::scope(|scope| {
        let reader = scope.spawn(|| get(&db, "k"));
        server.await_command("GET", "k", 1);
        let writer = scope.spawn(|| db.set("k", "two").unwrap());
        server.await_command("SET", "k", 1);
        server.release();
        assert_eq!(reader.join().unwrap().as_deref(), Some("one"));
        writer.join().unwrap();
    });
    let stats = engine.near_stats().unwrap();
    assert_eq!((stats.fills, stats.fills_dropped), (0, 1));
    assert_eq!(get(&db, "k").as_deref(), Some("two"));
}

/// R7: nothing near is served or kept in a transaction, or while keys are watched.
#[test]
fn r7_transactions_and_watches_ask_the_remote() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    settle(&server, &db, "k");
    let asked = server.count("GET", "k");
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"GET", b"k"]), b"$3\r\none\r\n");
    assert_eq!(server.count("GET", "k"), asked);
    session.execute(&[b"WATCH", b"k"]);
    assert_eq!(session.execute(&[b"GET", b"k"]), b"$3\r\none\r\n");
    assert_eq!(server.count("GET", "k"), asked + 1);
    assert_eq!(session.execute(&[b"MULTI"]), b"+OK\r\n");
    assert_eq!(session.execute(&[b"GET", b"k"]), b"+QUEUED\r\n");
    assert_eq!(session.execute(&[b"SET", b"k", b"two"]), b"+QUEUED\r\n");
    assert_eq!(get(&db, "k").as_deref(), Some("one"), "nothing was written yet");
    assert_eq!(session.execute(&[b"EXEC"]), b"*2\r\n$3\r\none\r\n+OK\r\n");
    assert_eq!(get(&db, "k").as_deref(), Some("two"));
    let asked = server.count("GET", "k");
    settle(&server, &db, "k");
    assert_eq!(session.execute(&[b"GET", b"k"]), b"$3\r\ntwo\r\n");
    assert!(server.count("GET", "k") <= asked + 1, "the session reads what is near again");
}

/// R8: messages are taken whole, and unknown ones left alone.
#[test]
fn r8_messages_of_all_forms() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    let keys = ["a", "b\0\r\nc", "d"];
    for key in keys {
        server.set(key, "one");
        settle(&server, &db, key);
    }
    let asked = || keys.map(|key| server.count("GET", key));
    let read = || keys.iter().for_each(|key| assert!(get(&db, key).is_some()));
    let before = asked();
    server.push(b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n>2\r\n$10\r\ninvalidate\r\n*0\r\n>1\r\n+odd\r\n");
    let heard = engine.near_stats().unwrap().invalidations;
    server.push(b">2\r\n$10\r\ninvalidate\r\n*2\r\n$5\r\nb\0\r\nc\r\n$1\r\nd\r\n");
    until("it was heard", || engine.near_stats().unwrap().invalidations == heard + 2);
    read();
    assert_eq!(asked(), [before[0], before[1] + 1, before[2] + 1]);
    keys.iter().for_each(|key| settle(&server, &db, key));
    let before = asked();
    let flushes = engine.near_stats().unwrap().flushes;
    server.push(b">2\r\n$10\r\ninvalidate\r\n_\r\n");
    until("it was heard", || engine.near_stats().unwrap().flushes == flushes + 1);
    read();
    assert_eq!(asked(), before.map(|count| count + 1));
}

/// R8: a flush of another, and one's own.
#[test]
fn r8_flushes_drop_everything() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.set("k", "one");
    settle(&server, &db, "k");
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"FLUSHALL"]), b"+OK\r\n");
    assert_eq!(get(&db, "k"), None);
}

/// R10: a value ends here no later than there, reckoned from when it was asked for.
#[test]
fn r10_a_value_ends_with_its_time() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.set_for("k", "short", Duration::from_millis(50));
    assert_eq!(get(&db, "k").as_deref(), Some("short"));
    thread::sleep(Duration::from_millis(60));
    assert_eq!(get(&db, "k"), None);
    // The reply comes when the value has ended there.
    let heard = engine.near_stats().unwrap().invalidations;
    server.set_for("k", "shorter", Duration::from_millis(30));
    until("that there was none is no longer near", || engine.near_stats().unwrap().invalidations > heard);
    server.hold();
    thread::scope(|scope| {
        let reader = scope.spawn(|| get(&db, "k"));
        server.await_command("GET", "k", 3);
        thread::sleep(Duration::from_millis(60));
        server.release();
        reader.join().unwrap();
    });
    assert_eq!(get(&db, "k"), None);
}

/// R10: nothing is kept longer than the cap.
#[test]
fn r10_a_cap_ends_what_has_no_time() {
    let server = Server::start();
    let db = database(&server.engine(&format!("{PATIENT}&ttl_cap=50ms")));
    server.set("k", "one");
    get(&db, "k");
    let asked = server.count("GET", "k");
    thread::sleep(Duration::from_millis(70));
    get(&db, "k");
    assert_eq!(server.count("GET", "k"), asked + 1);
}

/// R10b: a field of a hash ends on time, though nobody tells.
#[test]
fn r10_a_field_ends_with_its_time() {
    let server = Server::start();
    let db = database(&server.engine(PATIENT));
    server.set_field("h", "short", "one", Some(40));
    server.set_field("h", "long", "two", None);
    let read = |field: &str| db.hget("h", field).unwrap();
    assert_eq!((read("short"), read("long")), (Some(b"one".to_vec()), Some(b"two".to_vec())));
    let asked = server.count("HGET", "h");
    assert_eq!(asked, 2);
    thread::sleep(Duration::from_millis(60));
    read("short");
    assert_eq!(server.count("HGET", "h"), asked + 1);
}
