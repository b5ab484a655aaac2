//! Rules R13 to R19, each by its number, and what the options say: what is served, and what it costs.

use std::thread;
use std::time::Duration;

use super::rig::{Server, until};
use super::{PATIENT, database, get, settle};
use crate::{ErrorKind, Form};

/// R13: commands whose words run together are not one.
#[test]
fn r13_words_databases_and_keys_are_told_apart() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    for (field, value) in [("a", "1"), ("b", "2"), ("ab", "3")] {
        server.set_field("h", field, value, None);
    }
    let mut session = engine.session(Form::Resp);
    for _ in 0..2 {
        assert_eq!(session.execute(&[b"HMGET", b"h", b"a", b"b"]), b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        assert_eq!(session.execute(&[b"HMGET", b"h", b"ab"]), b"*1\r\n$1\r\n3\r\n");
    }
    assert_eq!(server.count("HMGET", "h"), 2);
    server.set("k", "one");
    let db = database(&engine);
    settle(&server, &db, "k");
    let asked = server.count("GET", "k");
    // Other databases have nothing near.
    engine.database(1).unwrap().get("k").unwrap();
    session.execute(&[b"SELECT", b"1"]);
    session.execute(&[b"GET", b"k"]);
    assert_eq!(server.count("GET", "k"), asked + 2);
    assert!(engine.database(u32::MAX as usize).is_err(), "it is where replies are near");
}

/// R14: what would change how a connection speaks is never said on the link, and not said at all where nobody would hear the answer.
#[test]
fn r14_sessions_have_connections_of_their_own() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let mut session = engine.session(Form::Resp);
    for words in
        [&["SUBSCRIBE", "c"][..], &["MONITOR"], &["CLIENT", "REPLY", "OFF"], &["CLIENT", "TRACKING", "ON"]]
    {
        let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = String::from_utf8_lossy(session.execute(&argv)).into_owned();
        assert!(reply.starts_with("-ERR ") && reply.contains("is not available"), "{reply}");
    }
    session.execute(&[b"SELECT", b"3"]);
    let state = server.state();
    let (peer, _) = state.log.iter().rfind(|(_, words)| words[0] == b"SELECT" && words[1] == b"3").unwrap();
    let link = state.log.iter().map(|(peer, _)| *peer).min().unwrap();
    assert_ne!(*peer, link);
}

/// What a session says of its connection is no other session's.
#[test]
fn r14_a_marked_connection_stays_its_session_s() {
    let server = Server::start();
    server.state().instead.insert("CLIENT", b"+OK\r\n".to_vec());
    let engine = server.unlinked(&format!("{PATIENT}&near=0"));
    let (mut named, mut other) = (engine.session(Form::Resp), engine.session(Form::Resp));
    assert_eq!(named.execute(&[b"CLIENT", b"SETNAME", b"me"]), b"+OK\r\n");
    named.execute(&[b"DEL", b"mine"]);
    other.execute(&[b"DEL", b"theirs"]);
    other.execute(&[b"DEL", b"theirs too"]);
    named.execute(&[b"DEL", b"mine too"]);
    let state = server.state();
    let peer = |key: &[u8]| {
        state
            .log
            .iter()
            .find(|(_, words)| words.get(1).is_some_and(|word| word == key))
            .map(|(peer, _)| *peer)
    };
    assert_eq!(peer(b"mine"), peer(b"mine too"));
    assert_eq!(peer(b"theirs"), peer(b"theirs too"));
    assert_ne!(peer(b"mine"), peer(b"theirs"));
}

/// R15: many want one key: one fetch. It is lost with the link: all of them end, with what the remote has.
#[test]
fn r15_one_fetch_for_all_and_no_wait_without_an_end() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.hold();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| get(&db, "k"))).collect();
        until("all wait", || engine.near_stats().unwrap().joined == 99);
        server.await_command("GET", "k", 1);
        assert_eq!(server.count("GET", "k"), 1);
        server.release();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().as_deref(), Some("one")));
    });
    server.set("k", "two");
    until("the old value is gone", || engine.near_stats().unwrap().invalidations == 1);
    server.hold();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| get(&db, "k"))).collect();
        until("all wait", || engine.near_stats().unwrap().joined == 198);
        server.cut();
        server.release();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().as_deref(), Some("two")));
    });
}

/// R15: who waits has a deadline.
#[test]
fn r15_a_wait_ends_with_its_time() {
    let server = Server::start();
    server.set("k", "one");
    let db = database(&server.engine("heartbeat=1s&deadline=20s&timeout=50ms"));
    server.hold();
    let error = db.get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(String::from_utf8_lossy(error.as_bytes()).contains("did not reply in time"), "{error:?}");
    server.release();
    until("it serves again", || matches!(db.get("k"), Ok(Some(_))));
}

/// R16: a server that is gone is not hammered.
#[test]
fn r16_a_lost_server_is_asked_ever_less_often() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    server.state().refuses = true;
    server.cut();
    let before = server.state().connections;
    thread::sleep(Duration::from_secs(3));
    let tried = server.state().connections - before;
    // Delays double from 100 ms; without them there would be thousands.
    assert!((1..=40).contains(&tried), "{tried}");
    server.state().refuses = false;
    until("a link", || engine.near_stats().unwrap().is_linked);
}

/// R16: many that lose one server come back each by itself, without asking it more than they have to.
#[test]
fn r16_many_near_caches_lose_one_server() {
    // Opening an engine takes a tenth of a second without optimisation.
    const ENGINES: usize = if cfg!(debug_assertions) { 30 } else { 200 };
    let server = Server::start();
    server.set("k", "one");
    let engines: Vec<_> = (0..ENGINES).map(|_| server.unlinked(PATIENT)).collect();
    let linked =
        || engines.iter().filter(|engine| engine.near_stats().is_some_and(|stats| stats.is_linked)).count();
    until("all are linked", || linked() == ENGINES);
    engines.iter().for_each(|engine| assert_eq!(get(&database(engine), "k").as_deref(), Some("one")));
    let connections = server.state().connections;
    let asked = server.count("GET", "k");
    server.cut();
    until("all are linked again", || {
        linked() == ENGINES
            && engines.iter().all(|engine| engine.near_stats().is_some_and(|stats| stats.generation == 2))
    });
    engines.iter().for_each(|engine| assert_eq!(get(&database(engine), "k").as_deref(), Some("one")));
    // One connection each, and one fetch of the one key that each reads.
    assert_eq!(server.state().connections - connections, ENGINES);
    assert_eq!(server.count("GET", "k") - asked, ENGINES);
}

/// R18: a message within a reply ends the link; attributes are passed over.
#[test]
fn r18_messages_stand_between_replies_only() {
    let server = Server::start();
    server.set("k", "one");
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.state().instead.insert("GET", b"|1\r\n+ttl\r\n:3\r\n$5\r\nnoted\r\n".to_vec());
    assert_eq!(get(&db, "k").as_deref(), Some("noted"));
    server.state().instead.insert("GET", b"*1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".to_vec());
    db.delete("k").unwrap();
    let _ = db.get("k");
    server.state().instead.clear();
    server.set("k", "two");
    until("another link", || engine.near_stats().unwrap().generation >= 2);
    until("it serves again", || matches!(db.get("k"), Ok(Some(value)) if value == b"two"));
}

/// R19: what is near has its limit, and what is large is not kept.
#[test]
fn r19_what_is_near_stays_within_its_bound() {
    let server = Server::start();
    let engine = server.engine(&format!("{PATIENT}&near=2mb"));
    let db = database(&engine);
    server.set("large", &"x".repeat(300 << 10));
    for _ in 0..2 {
        assert_eq!(get(&db, "large").map(|value| value.len()), Some(300 << 10));
    }
    assert_eq!(server.count("GET", "large"), 2);
    let value = "v".repeat(1000);
    for number in 0..4_000 {
        server.set(&format!("key:{number}"), &value);
        assert!(get(&db, &format!("key:{number}")).is_some());
    }
    let stats = engine.near_stats().unwrap();
    // The engine makes room before it stores, so the last value may stand beyond.
    assert!(stats.bytes <= (2 << 20) + (4 << 10), "{}", stats.bytes);
    assert!(stats.fills > 3_900, "{stats:?}");
}

/// The option `on_down`.
#[test]
fn a_remote_that_is_down_is_answered_for_as_the_options_say() {
    let down = |options: &str| {
        let server = Server::start();
        server.set("k", "one");
        let engine = server.engine(&format!("{PATIENT}&timeout=200ms&{options}"));
        let db = database(&engine);
        settle(&server, &db, "k");
        server.state().refuses = true;
        server.cut();
        until("the link is lost", || !engine.near_stats().unwrap().is_linked);
        let read = db.get("k").map_err(|error| error.kind());
        let missing = db.get("missing").map_err(|error| error.kind());
        assert_eq!(db.set("k", "two").map_err(|error| error.kind()), Err(ErrorKind::Io));
        (read, missing, db.get("k").map_err(|error| error.kind()))
    };
    let lost = Err(ErrorKind::Io);
    assert_eq!(down("on_down=error"), (lost.clone(), lost.clone(), lost.clone()));
    assert_eq!(down("on_down=miss"), (Ok(None), Ok(None), Ok(None)));
    // A write that may have been executed ends what was served stale.
    assert_eq!(down("on_down=stale:1m"), (Ok(Some(b"one".to_vec())), lost.clone(), lost));
}

/// Keys of one MGET are fetched together, and kept one by one.
#[test]
fn many_keys_are_near_one_by_one() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    server.set("a", "1");
    server.set("b", "2");
    server.set_field("h", "f", "v", None);
    let read = || {
        let mut values = Vec::new();
        let keys = ["a", "none", "b", "h"];
        db.get_many_with(&keys, |_, found| values.push(found.map(|found| found.text.to_vec()))).unwrap();
        values
    };
    let expected = vec![Some(b"1".to_vec()), None, Some(b"2".to_vec()), None];
    assert_eq!(read(), expected);
    assert_eq!(read(), expected);
    let counts = ["a", "none", "b"].map(|key| server.count("GET", key));
    assert_eq!(counts, [1, 1, 1]);
    server.set("b", "3");
    until("the new value", || read()[2] == Some(b"3".to_vec()));
    assert_eq!(server.count("GET", "a"), 1);
}

/// Closing ends the link's thread and its connections.
#[test]
fn closing_leaves_nobody_connected() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    db.set("k", "one").unwrap();
    drop(db);
    engine.close().unwrap();
    until("all have gone", || server.connected() == 0);
}

/// Commands of one call go together, transactions among them.
#[test]
fn commands_that_are_executed_together_are_sent_together() {
    let server = Server::start();
    let engine = server.engine(PATIENT);
    let db = database(&engine);
    let mut session = engine.session(Form::Resp);
    let commands: [&[&[u8]]; 9] = [
        &[b"SET", b"k", b"one"],
        &[b"GET", b"k"],
        &[b"MULTI"],
        &[b"SET", b"k", b"two"],
        &[b"GET", b"k"],
        &[b"EXEC"],
        &[b"NONSENSE"],
        &[b"GET", b"k"],
        &[b"INCRBY", b"n", b"2"],
    ];
    server.set("k", "zero");
    settle(&server, &db, "k");
    // So that there is a connection: no greeting is answered while the server holds.
    assert_eq!(session.execute(&[b"DEL", b"none"]), b":0\r\n");
    session.clear_replies();
    server.hold();
    let replies = thread::scope(|scope| {
        let sent = scope.spawn(|| {
            session.execute_all(&commands);
            session.replies().to_vec()
        });
        // The last has come before the first was answered.
        server.await_command("INCRBY", "n", 1);
        server.release();
        sent.join().unwrap()
    });
    let expected = "+OK\r\n$3\r\none\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$3\r\ntwo\r\n-ERR unknown command 'NONSENSE'\r\n$3\r\ntwo\r\n:2\r\n";
    assert_eq!(String::from_utf8_lossy(&replies), expected);
    assert_eq!(get(&db, "k").as_deref(), Some("two"));
    // An open transaction stays on its connection.
    session.clear_replies();
    session.execute_all(&[&[&b"MULTI"[..]][..], &[b"SET", b"k", b"three"]]);
    assert_eq!(session.replies(), b"+OK\r\n+QUEUED\r\n");
    assert_eq!(get(&db, "k").as_deref(), Some("two"));
    assert_eq!(session.execute(&[b"EXEC"]), b"*1\r\n+OK\r\n");
    assert_eq!(get(&db, "k").as_deref(), Some("three"));
    // Where the replies end, errors stand in their place.
    server.hold();
    let replies = thread::scope(|scope| {
        let sent = scope.spawn(|| {
            session.clear_replies();
            session.execute_all(&[&[&b"INCRBY"[..], b"n", b"1"][..], &[b"INCRBY", b"n", b"1"]]);
            String::from_utf8_lossy(session.replies()).into_owned()
        });
        server.await_command("INCRBY", "n", 3);
        server.cut();
        server.release();
        sent.join().unwrap()
    });
    assert_eq!(replies.matches("-ERR the remote").count(), 2, "{replies}");
}
