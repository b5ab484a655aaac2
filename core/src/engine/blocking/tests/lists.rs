//! Lists that are waited for: nothing that is popped for a waiter is lost with it. Many at once are in `tests/blocking.rs`.

use std::time::Duration;

use super::*;

fn waits(engine: &Engine, line: &str) -> Session {
    let mut session = engine.session(Form::Resp);
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    assert_eq!(session.begin(&argv), Outcome::Blocked, "{line}");
    session
}

#[test]
fn what_was_popped_for_who_has_gone_is_put_back_where_it_was() {
    for (command, left) in [
        ("BLPOP k 0", "*3 $1 1 $1 2 $1 3"),
        ("BRPOP k 0", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k LEFT COUNT 2", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k RIGHT COUNT 2", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k RIGHT COUNT 9", "*3 $1 1 $1 2 $1 3"),
        // This one has arrived somewhere else.
        ("BLMOVE k j LEFT RIGHT 0", "*2 $1 2 $1 3"),
    ] {
        for is_dropped in [false, true] {
            let engine = engine();
            let mut host = engine.session(Form::Resp);
            let mut waiting = waits(&engine, command);
            assert_eq!(execute(&mut host, "RPUSH k 1 2 3"), ":3");
            if is_dropped {
                drop(waiting);
            } else {
                assert!(!waiting.cancel(), "it was served");
                waiting.abandon();
                assert!(!waiting.is_blocked());
                assert_eq!(execute(&mut waiting, "PING"), "+PONG", "and goes on");
            }
            assert_eq!(execute(&mut host, "LRANGE k 0 -1"), left, "{command}");
            assert_eq!(queues(&engine), (0, false));
        }
    }
}

#[test]
fn what_is_put_back_goes_to_the_next_who_waits() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let gone = waits(&engine, "BLPOP k 0");
    let mut next = waits(&engine, "BLPOP j k 0");
    assert_eq!(execute(&mut host, "RPUSH k 1"), ":1");
    assert!(!next.try_take());
    drop(gone);
    assert_eq!(taken(&mut next), "*2 $1 k $1 1");
    assert_eq!(execute(&mut host, "EXISTS k"), ":0");
    // And to nobody if the key is something else by then: that is all that is lost.
    let gone = waits(&engine, "BLPOP k 0");
    execute(&mut host, "RPUSH k 1");
    execute(&mut host, "SET k v");
    drop(gone);
    assert_eq!(execute(&mut host, "GET k"), "$1 v");
}

#[test]
fn the_log_has_what_is_put_back() {
    let engine = engine();
    let ear = std::sync::Arc::new(Ear::default());
    engine.set_journal(Some(ear.clone()));
    let mut host = engine.session(Form::Resp);
    let gone = waits(&engine, "BLMPOP 0 1 k RIGHT COUNT 2");
    execute(&mut host, "RPUSH k 1 2 3");
    drop(gone);
    assert_eq!(*ear.heard.lock(), ["RPUSH k 1 2 3", "RPOP k 2", "RPUSH k 2 3"]);
    ear.heard.lock().clear();
    let mut one = waits(&engine, "BLMOVE j l LEFT RIGHT 0");
    let mut two = waits(&engine, "BRPOPLPUSH l m 0");
    execute(&mut host, "LPUSH j x");
    assert_eq!((taken(&mut one), taken(&mut two)), ("$1 x".into(), "$1 x".into()));
    assert_eq!(*ear.heard.lock(), ["LPUSH j x", "LMOVE j l LEFT RIGHT", "RPOPLPUSH l m"]);
}

#[test]
fn another_type_is_waited_past_and_an_error_where_it_is_met() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let mut waiting = waits(&engine, "BLPOP s k 0");
    execute(&mut host, "SET s v");
    assert!(!waiting.try_take());
    execute(&mut host, "RPUSH k a");
    assert!(taken(&mut waiting).starts_with("-WRONGTYPE"));
    assert_eq!(execute(&mut host, "LRANGE k 0 -1"), "*1 $1 a");
    execute(&mut host, "DEL k");
    let mut waiting = waits(&engine, "BLMOVE k s LEFT LEFT 0");
    execute(&mut host, "RPUSH k a");
    assert!(taken(&mut waiting).starts_with("-WRONGTYPE"));
    assert_eq!(execute(&mut host, "LRANGE k 0 -1"), "*1 $1 a");
}

#[test]
fn fractions_of_seconds_are_waited_for() {
    let engine = engine();
    let mut waiting = waits(&engine, "BLPOP k 0.25");
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(250)));
    engine.advance(Duration::from_millis(250));
    assert_eq!(taken(&mut waiting), "*-1");
    let waiting = waits(&engine, "BLMOVE k j LEFT LEFT 0.0001");
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(1)));
}
