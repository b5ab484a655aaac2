//! How sessions of the process are served otherwise: what of it a socket has no part in. The scripts compare the rest with the server.

use std::time::Duration;

use crate::command::Outcome;
use crate::commands::testing::{ask, engine, run, words};
use crate::{Form, Session};

/// The message that has come, in one line; empty if there is none.
fn heard(session: &mut Session) -> String {
    let message = session.next_push(Some(Duration::ZERO)).unwrap();
    message.map_or_else(String::new, |message| String::from_utf8_lossy(&message).replace("\r\n", " "))
}

#[test]
fn sessions_of_the_process_hear_of_keys_that_they_have_read() {
    let engine = engine("");
    let db = engine.database(0).unwrap();
    let (mut reads, mut writes) = (engine.session(Form::Resp), engine.session(Form::Resp));
    run(&mut reads, "HELLO 3");
    assert!(!reads.is_pushed_to());
    assert_eq!(ask(&mut reads, "CLIENT TRACKING ON"), "+OK");
    assert!(reads.is_pushed_to());
    for key in ["a", "b", "c", "h"] {
        assert_eq!(ask(&mut reads, &format!("EXISTS {key}")), ":0");
    }
    // Typed calls, their short cuts, and commands.
    db.set("a", "1").unwrap();
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 a ");
    db.set("a", "2").unwrap();
    db.incr("b", 1).unwrap();
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 b ");
    run(&mut writes, "SET c 1");
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 c ");
    run(&mut writes, "HSET h f 1");
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 h ");
    assert_eq!(ask(&mut reads, "HGET h f"), "$1 1");
    run(&mut writes, "HSET h f 2");
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 h ");
    assert_eq!(ask(&mut reads, "GET a"), "$1 2");
    db.delete("a").unwrap();
    assert_eq!(heard(&mut reads), ">2 $10 invalidate *1 $1 a ");
    assert_eq!(heard(&mut reads), "");
    // By prefixes, of short cuts too.
    let mut hears = engine.session(Form::Tape);
    run(&mut hears, "HELLO 3");
    run(&mut hears, "CLIENT TRACKING ON BCAST PREFIX x");
    db.set("x1", "1").unwrap();
    db.set("y1", "1").unwrap();
    run(&mut writes, "LPUSH x2 a");
    let tapes = [heard(&mut hears), heard(&mut hears), heard(&mut hears)];
    assert!(tapes[0].contains("x1") && tapes[1].contains("x2") && tapes[2].is_empty(), "{tapes:?}");
    drop(hears);
    drop(reads);
    let info = run(&mut writes, "INFO everything");
    for field in ["tracking_clients:0", "tracking_total_keys:0", "tracking_total_prefixes:0"] {
        assert!(info.contains(field), "{field}");
    }
    assert!(engine.inner.keyspace.hooks.are_silent());
}

#[test]
fn who_has_nobody_to_tell_is_told_so() {
    let engine = engine("");
    let (mut reads, mut other) = (engine.session(Form::Resp), engine.session(Form::Resp));
    run(&mut reads, "HELLO 3");
    run(&mut other, "HELLO 3");
    let id = other.id();
    assert_eq!(ask(&mut reads, &format!("CLIENT TRACKING ON REDIRECT {id}")), "+OK");
    run(&mut reads, "GET a");
    engine.database(0).unwrap().set("a", "1").unwrap();
    assert!(other.is_pushed_to());
    assert_eq!((heard(&mut other).as_str(), heard(&mut reads).as_str()), (">2 $10 invalidate *1 $1 a ", ""));
    run(&mut reads, "GET a");
    drop(other);
    engine.database(0).unwrap().set("a", "2").unwrap();
    assert_eq!(heard(&mut reads), format!(">2 $21 tracking-redir-broken :{id} "));
    assert!(run(&mut reads, "CLIENT INFO").contains(" flags=tR "));
    assert!(run(&mut reads, "CLIENT TRACKINGINFO").contains("broken_redirect"));
}

#[test]
fn who_reads_no_messages_tracks_nothing_itself() {
    let engine = engine("");
    let (mut session, other) = (engine.session(Form::Resp), engine.session(Form::Resp));
    session.refuse_pushes(true);
    assert!(ask(&mut session, "CLIENT TRACKING ON").starts_with("-ERR nobody reads"));
    assert_eq!(ask(&mut session, &format!("CLIENT TRACKING ON REDIRECT {}", other.id())), "+OK");
}

#[test]
fn no_change_goes_unheard_however_many_threads_write() {
    const ROUNDS: u64 = 3000;
    let engine = crate::Engine::new();
    let mut reads = engine.session(Form::Resp);
    run(&mut reads, "HELLO 3");
    run(&mut reads, "CLIENT TRACKING ON");
    let writer = std::thread::spawn({
        let engine = engine.clone();
        move || {
            let db = engine.database(0).unwrap();
            (1..=ROUNDS).for_each(|round| db.set("k", round.to_string()).unwrap());
        }
    });
    // Whoever has read anything but the last value is told.
    let last = format!("${} {ROUNDS}", ROUNDS.to_string().len());
    loop {
        let read = ask(&mut reads, "GET k");
        if read == last {
            break;
        }
        let message = reads.next_push(Some(Duration::from_secs(20))).unwrap();
        assert!(message.is_some(), "{read} is kept for ever");
    }
    writer.join().unwrap();
}

#[test]
fn tracking_ends_while_the_process_forks() {
    let engine = crate::Engine::new();
    let turns = std::thread::spawn({
        let engine = engine.clone();
        move || {
            let mut session = engine.session(Form::Resp);
            for _ in 0..2000 {
                for line in ["HELLO 3", "CLIENT TRACKING ON", "GET a", "CLIENT TRACKING OFF"] {
                    run(&mut session, line);
                }
            }
        }
    });
    let db = engine.database(0).unwrap();
    while !turns.is_finished() {
        db.set("a", "1").unwrap();
        let mut held = Vec::new();
        engine.inner.clients.tracking.freeze(&mut held);
    }
    turns.join().unwrap();
    assert!(engine.inner.keyspace.hooks.are_silent());
}

#[test]
fn a_pause_holds_sessions_of_the_process_but_no_typed_calls() {
    let engine = engine("");
    let clock = engine.inner.keyspace.clock.clone();
    let (mut admin, mut session) = (engine.session(Form::Resp), engine.session(Form::Resp));
    run(&mut session, "SET a 1");
    run(&mut admin, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(session.begin(&words("GET a")), Outcome::Replied);
    assert_eq!(session.begin(&words("SET a 2")), Outcome::Blocked);
    engine.database(0).unwrap().set("b", "1").unwrap();
    assert!(!session.try_take());
    assert_eq!(session.time_left(), Some(Duration::from_millis(1000)));
    // Lengthened: who waits waits on.
    run(&mut admin, "CLIENT PAUSE 2000 WRITE");
    clock.advance(Duration::from_millis(1500));
    assert!(!session.try_take() && session.is_blocked());
    clock.advance(Duration::from_millis(500));
    assert!(session.try_take());
    assert_eq!(session.replies(), b"+OK\r\n");
    assert_eq!(ask(&mut admin, "GET a"), "$1 2");
    assert!(!engine.inner.measures_all());
    // Ended, cancelled, and in a pipeline.
    run(&mut admin, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(session.begin(&words("INCR n")), Outcome::Blocked);
    assert_eq!(ask(&mut admin, "CLIENT UNPAUSE"), "+OK");
    assert!(session.try_take());
    assert_eq!(session.replies(), b":1\r\n");
    run(&mut admin, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(session.begin(&words("INCR n")), Outcome::Blocked);
    assert!(session.cancel());
    run(&mut admin, "CLIENT UNPAUSE");
    assert_eq!(ask(&mut session, "GET n"), "$1 1");
}

#[test]
fn a_thread_waits_for_the_end_of_a_pause() {
    let engine = crate::Engine::new();
    let mut admin = engine.session(Form::Resp);
    run(&mut admin, "CLIENT PAUSE 100000 ALL");
    let waits = std::thread::spawn({
        let mut session = engine.session(Form::Resp);
        move || ask(&mut session, "INCR n")
    });
    while engine.inner.clients.all().iter().all(|client| client.blocking().is_none()) {
        std::thread::yield_now();
    }
    // Who has said ALL waits too: only the clock, or whoever is in the process, ends it.
    assert_eq!(admin.begin(&words("CLIENT UNPAUSE")), Outcome::Blocked);
    engine.inner.end_pause();
    assert_eq!(waits.join().unwrap(), ":1");
    assert!(admin.wait(None));
}

#[test]
fn tapes_have_null_for_replies_that_are_left_out() {
    let engine = engine("");
    let (mut tape, mut resp) = (engine.session(Form::Tape), engine.session(Form::Resp));
    let null = tape.execute(&words("GET none")).to_vec();
    for session in [&mut tape, &mut resp] {
        assert_eq!(session.begin(&words("CLIENT REPLY OFF")), Outcome::Replied);
    }
    assert_eq!(tape.execute(&words("SET a 1")), null);
    assert_eq!(resp.execute(&words("SET a 1")), b"");
    assert_eq!(resp.execute(&words("CLIENT REPLY ON")), b"+OK\r\n");
    // Who takes the session over gets replies.
    tape.clean(0);
    assert_ne!(tape.execute(&words("GET a")), null);
    resp.execute(&words("MULTI"));
    resp.execute(&words("REPLCONF ACK 1"));
    assert_eq!(resp.execute(&words("EXEC")), b"*1\r\n$-1\r\n");
    assert_eq!(resp.execute(&words("REPLCONF ACK 1")), b"");
    resp.execute(&words("CLIENT REPLY SKIP"));
    assert_eq!(resp.execute(&words("GET a")), b"");
    assert_eq!(resp.execute(&words("GET a")), b"$1\r\n1\r\n");
}

#[test]
fn the_words_of_who_waits_are_told_as_their_memory() {
    let engine = engine("");
    let (mut waits, mut looks) = (engine.session(Form::Resp), engine.session(Form::Resp));
    let key = "k".repeat(1000);
    let told = |looks: &mut Session, id: u64| {
        let line =
            String::from_utf8_lossy(looks.execute(&words(&format!("CLIENT LIST ID {id}")))).into_owned();
        let figure = |name: &str| line.split(' ').find_map(|part| part.strip_prefix(name).map(str::to_owned));
        (figure("argv-mem="), figure("tot-mem="))
    };
    let both = |bytes: &str| (Some(bytes.to_owned()), Some(bytes.to_owned()));
    let id = waits.id();
    assert_eq!(told(&mut looks, id), both("0"));
    assert_eq!(waits.begin(&words(&format!("BLPOP {key} 0"))), Outcome::Blocked);
    // As 9.1.2 tells it: the words themselves.
    assert_eq!(told(&mut looks, id), both("1006"));
    run(&mut looks, &format!("RPUSH {key} x"));
    assert!(waits.wait(None));
    assert_eq!(told(&mut looks, id), both("0"));
}
