//! What goes in and comes out of a connection without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Wire;
use crate::{Clock, Config, Engine, Form, Wake};

/// What has come out since the last time.
fn taken(wire: &mut Wire) -> String {
    let text = String::from_utf8(wire.output().to_vec()).unwrap();
    wire.clear_output();
    text
}

fn said(wire: &mut Wire, lines: &str) -> String {
    wire.receive(lines.as_bytes()).unwrap();
    taken(wire)
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn requests_may_come_in_any_pieces() {
    let mut wire = Wire::new(&Engine::new());
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\nGET k\r\n*1\r\n$4\r\nPING\r\n";
    for byte in bytes {
        wire.receive(&[*byte]).unwrap();
    }
    assert_eq!(taken(&mut wire), "+OK\r\n$4\r\na\r\nb\r\n+PONG\r\n");
    assert!(!wire.has_ended());
}

#[test]
fn what_comes_behind_a_command_that_waits_waits_too() {
    let engine = Engine::new();
    let mut wire = Wire::new(&engine);
    let calls = Arc::new(Calls::default());
    wire.set_waker(Some(calls.clone()));
    assert_eq!(said(&mut wire, "PING\r\nBLPOP jobs 0\r\nINCR n\r\nBLPOP jobs 0\r\nINCR n\r\n"), "+PONG\r\n");
    assert!(wire.is_blocked());
    assert_eq!(wire.time_left(), None);
    let mut other = engine.session(Form::Resp);
    other.execute(&[b"RPUSH", b"jobs", b"one"]);
    assert_eq!(calls.0.load(Ordering::Relaxed), 1);
    wire.look();
    assert_eq!(taken(&mut wire), "*2\r\n$4\r\njobs\r\n$3\r\none\r\n:1\r\n");
    assert!(wire.is_blocked());
    other.execute(&[b"RPUSH", b"jobs", b"two"]);
    assert_eq!(said(&mut wire, "PING\r\n"), "*2\r\n$4\r\njobs\r\n$3\r\ntwo\r\n:2\r\n+PONG\r\n");
}

#[test]
fn a_wait_ends_with_its_time() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut wire = Wire::new(&engine);
    assert_eq!(said(&mut wire, "BLPOP none 2\r\nPING\r\n"), "");
    assert_eq!(wire.time_left(), Some(Duration::from_secs(2)));
    engine.advance(Duration::from_secs(2));
    wire.look();
    assert_eq!(taken(&mut wire), "*-1\r\n+PONG\r\n");
}

#[test]
fn who_goes_while_it_waits_takes_nothing_along() {
    let engine = Engine::new();
    let mut wire = Wire::new(&engine);
    wire.receive(b"BLPOP jobs 0\r\n").unwrap();
    let mut other = engine.session(Form::Resp);
    other.execute(&[b"RPUSH", b"jobs", b"one"]);
    drop(wire);
    assert_eq!(other.execute(&[b"LRANGE", b"jobs", b"0", b"-1"]), b"*1\r\n$3\r\none\r\n");
}

#[test]
fn messages_and_invalidations_are_pushed() {
    let engine = Engine::new();
    let (mut wire, mut other) = (Wire::new(&engine), Wire::new(&engine));
    assert!(said(&mut wire, "HELLO 3\r\n").starts_with("%7\r\n"));
    assert!(!wire.hears());
    assert_eq!(said(&mut wire, "SUBSCRIBE news\r\n"), ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    assert!(wire.hears());
    assert_eq!(said(&mut other, "PUBLISH news hi\r\n"), ":1\r\n");
    // What came before the command stands before its reply.
    assert_eq!(
        said(&mut wire, "CLIENT TRACKING on\r\n"),
        ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n+OK\r\n"
    );
    assert_eq!(
        said(&mut wire, "GET k\r\nUNSUBSCRIBE\r\n"),
        "_\r\n>3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"
    );
    assert!(!wire.hears());
    said(&mut other, "SET k v\r\n");
    wire.look();
    assert_eq!(taken(&mut wire), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
}

#[test]
fn it_ends_with_quit_and_with_what_is_no_request() {
    let engine = Engine::new();
    let mut wire = Wire::new(&engine);
    assert_eq!(said(&mut wire, "QUIT\r\nPING\r\n"), "+OK\r\n");
    assert!(wire.has_ended());
    assert_eq!(said(&mut wire, "PING\r\n"), "");
    let mut wire = Wire::new(&engine);
    assert_eq!(said(&mut wire, "*1\r\n!4\r\n"), "-ERR Protocol error: expected '$', got '!'\r\n");
    assert!(wire.has_ended());
}

#[test]
fn it_ends_where_too_much_waits_to_become_a_request() {
    let config = Config::default();
    config.set_option("client-query-buffer-limit", "1mb").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut wire = Wire::new(&engine);
    wire.receive(b"*2\r\n$4\r\nECHO\r\n$4000000\r\n").unwrap();
    wire.receive(&[b'x'; 900_000]).unwrap();
    assert!(!wire.has_ended());
    wire.receive(&[b'x'; 900_000]).unwrap();
    assert!(wire.has_ended());
}

#[test]
fn who_does_not_take_its_messages_ends() {
    let config = Config::default();
    config.set_option("client-output-buffer-limit", "pubsub 1kb 0 0").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let (mut wire, mut other) = (Wire::new(&engine), Wire::new(&engine));
    said(&mut wire, "SUBSCRIBE news\r\n");
    let message = "x".repeat(600);
    for _ in 0..3 {
        said(&mut other, &format!("PUBLISH news {message}\r\n"));
    }
    wire.look();
    assert!(wire.has_ended());
}
