//! Tests of tasks that wait: with an executor, and poll by poll.

use std::sync::Arc as Shared;
use std::task::Wake as StdWake;
use std::time::Duration;

use futures_executor::block_on;

use super::*;
use crate::command::Form;
use crate::{Clock, Engine};

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", " ").trim().to_owned()
}

fn execute(session: &mut Session, line: &str) -> String {
    text(session.execute(&words(line)))
}

async fn execute_async(session: &mut Session, line: &str) -> String {
    text(session.execute_async(&words(line)).await)
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl StdWake for Woken {
    fn wake(self: Shared<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn one_thread_awaits_many_sessions() {
    const TASKS: usize = 50;
    let engine = Engine::builder().open().unwrap();
    let tasks = (0..TASKS).map(|_| {
        let mut session = engine.session(Form::Resp);
        async move { execute_async(&mut session, "BLPOP jobs 0").await }
    });
    let mut pusher = engine.session(Form::Resp);
    let pushing = std::thread::spawn(move || {
        while !execute(&mut pusher, "INFO clients").contains("blocked_clients:50 ") {
            std::thread::yield_now();
        }
        (0..TASKS).for_each(|job| _ = execute(&mut pusher, &format!("RPUSH jobs {job}")));
        execute(&mut pusher, "EXISTS jobs")
    });
    // Served in the order in which they came.
    let taken = block_on(futures_util::future::join_all(tasks));
    let jobs: Vec<String> = (0..TASKS).map(|job| job.to_string()).collect();
    let expected = jobs.iter().map(|job| format!("*2 $4 jobs ${} {job}", job.len()));
    assert_eq!(taken, expected.collect::<Vec<_>>());
    assert_eq!(pushing.join().unwrap(), ":0");
}

#[test]
fn what_replies_at_once_is_ready_at_the_first_poll() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(block_on(execute_async(&mut session, "SET k v")), "+OK");
    assert_eq!(block_on(execute_async(&mut session, "NOPE")).split(' ').next(), Some("-ERR"));
    // Nothing is done before the first poll.
    let argv = words("SET k other");
    drop(session.execute_async(&argv));
    assert_eq!(execute(&mut session, "GET k"), "$1 v");
}

#[test]
fn the_time_of_a_task_ends_though_nobody_uses_the_engine() {
    let engine = Engine::builder().open().unwrap();
    let mut session = engine.session(Form::Resp);
    // Long enough for the engine to fall asleep meanwhile.
    assert_eq!(block_on(execute_async(&mut session, "BLPOP none 0.3")), "*-1");
    assert_eq!(engine.inner.alarms.len(), 0);
    assert_eq!(execute(&mut session, "PING"), "+PONG");
}

#[test]
fn a_task_that_is_given_up_loses_nothing() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let [mut waits, mut pushes] = [(); 2].map(|()| engine.session(Form::Resp));
    let woken = Shared::new(Woken::default());
    let waker = woken.clone().into();
    let mut context = Context::from_waker(&waker);
    let argv = words("BLPOP jobs 10");
    for is_served in [false, true] {
        let mut task = waits.execute_async(&argv);
        assert!(Pin::new(&mut task).poll(&mut context).is_pending());
        assert_eq!(engine.inner.alarms.len(), 1);
        if is_served {
            let before = woken.count();
            assert_eq!(execute(&mut pushes, "RPUSH jobs one two"), ":2");
            assert!(woken.count() > before);
        }
        drop(task);
        assert_eq!(engine.inner.alarms.len(), 0);
    }
    assert_eq!(execute(&mut pushes, "LRANGE jobs 0 -1"), "*2 $3 one $3 two");
    // The session goes on, and its task is woken no more.
    let before = woken.count();
    assert_eq!(execute(&mut waits, "BLPOP jobs 0"), "*2 $4 jobs $3 one");
    assert_eq!(woken.count(), before);
}

#[test]
fn messages_are_awaited() {
    let engine = Engine::builder().open().unwrap();
    let [mut hears, mut tells] = [(); 2].map(|()| engine.session(Form::Resp));
    hears.execute(&[b"HELLO", b"3"]);
    execute(&mut hears, "SUBSCRIBE news");
    let waker = Waker::noop();
    let mut task = hears.next_push_async();
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(waker)).is_pending());
    // What is given up has taken none.
    drop(task);
    let teller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        ["one", "two"].map(|word| execute(&mut tells, &format!("PUBLISH news {word}")))
    });
    for word in ["one", "two"] {
        let message = block_on(hears.next_push_async()).unwrap();
        assert_eq!(text(&message), format!(">3 $7 message $4 news $3 {word}"));
    }
    assert_eq!(teller.join().unwrap(), [":1", ":1"]);
}
