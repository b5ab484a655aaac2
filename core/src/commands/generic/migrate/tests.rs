//! What targets are told, what becomes of keys whatever they reply, and what others may do meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::commands::testing::{Ear, ask, engine, execute};
use crate::keyspace::{Effect, Group, Journal, Ticket};
use crate::sync::{Arc, Mutex};
use crate::{Engine, Form, Outcome, Session};

/// What a target does with a command.
enum Answer {
    Say(&'static str),
    /// Says so, and ends the connection.
    Close(&'static str),
    /// Says nothing and keeps the connection.
    Hang,
}

use Answer::{Close, Hang, Say};

const OK: Answer = Say("+OK\r\n");

type Answers = Box<dyn FnMut(&[String]) -> Answer + Send>;

/// A server that answers as it is told to.
struct Target {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Target {
    fn new(answers: impl FnMut(&[String]) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (answers, told) = (Arc::new(Mutex::new(Box::new(answers) as Answers)), heard.clone());
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (answers, told) = (answers.clone(), told.clone());
                std::thread::spawn(move || serve(socket.unwrap(), number + 1, &answers, &told));
            }
        });
        Self { port, heard }
    }

    /// What it was told since the last time, each with the number of the connection, and without payloads.
    fn heard(&self) -> String {
        std::mem::take(&mut *self.heard.lock()).join(", ")
    }

    /// Has a session move keys here, and returns the reply.
    fn take(&self, session: &mut Session, line: &str) -> String {
        let line = line.replace("TO", &format!("MIGRATE 127.0.0.1 {}", self.port));
        ask(session, &line)
    }

    /// Has a session begin to.
    fn begin(&self, session: &mut Session, line: &str) {
        let line = line.replace("TO", &format!("MIGRATE 127.0.0.1 {}", self.port));
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(session.begin(&words), Outcome::Blocked);
    }
}

fn serve(socket: TcpStream, number: usize, answers: &Mutex<Answers>, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while let Some(words) = command(&mut reader) {
        let shown = words.iter().enumerate().filter(|(at, _)| words[0] != "RESTORE" || *at != 3);
        let shown: Vec<&str> = shown.map(|(_, word)| word.as_str()).collect();
        heard.lock().push(format!("{number} {}", shown.join(" ")));
        let answer = answers.lock()(&words);
        match answer {
            Say(text) => drop((&socket).write_all(text.as_bytes())),
            Close(text) => {
                // All that was sent is read, or the end would overtake the text.
                drop((&socket).write_all(text.as_bytes()));
                drop(socket.shutdown(std::net::Shutdown::Write));
                drop(std::io::copy(&mut reader, &mut std::io::sink()));
                return;
            }
            Hang => drop(std::io::copy(&mut reader, &mut std::io::sink())),
        }
    }
}

fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut number = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim()[1..].parse::<usize>().unwrap())
    };
    let count = number()?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut word = vec![0; line.trim()[1..].parse::<usize>().ok()? + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// Notes what a log gets.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Journal for Log {
    fn append(&self, group: &Group) -> crate::Result<Ticket> {
        let words = |effect: Effect<'_>| {
            effect
                .words()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        self.0.lock().extend(group.effects().map(words));
        Ok(Ticket(1))
    }
}

fn engine_of(lines: &[&str]) -> (Engine, Session) {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    lines.iter().for_each(|line| assert!(!ask(&mut session, line).starts_with('-')));
    (engine, session)
}

/// Whether any key has a mark.
fn has_marks(engine: &Engine) -> bool {
    let keyspace = &engine.inner.keyspace;
    keyspace.made_shards().any(|shard| !keyspace.lock(shard).watchers.is_empty())
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn what_has_arrived_is_removed_and_logged_at_once() {
    let (engine, mut session) = engine_of(&["MSET a 1 b 2 c 3"]);
    let (log, ear) = (std::sync::Arc::new(Log::default()), std::sync::Arc::new(Ear::default()));
    engine.set_journal(Some(log.clone()));
    engine.observe(ear.clone());
    let target = Target::new(|words| {
        if words[0] == "RESTORE" && words[1] == "b" { Say("-BUSYKEY it is there\r\n") } else { OK }
    });
    let reply = target.take(&mut session, "TO  0 30000 KEYS a b none c");
    assert_eq!(reply, "-ERR Target instance replied with error: BUSYKEY it is there");
    assert_eq!(target.heard(), "1 SELECT 0, 1 RESTORE a 0, 1 RESTORE b 0, 1 RESTORE c 0");
    assert_eq!(ask(&mut session, "EXISTS a b c"), ":1");
    assert_eq!(*log.0.lock(), ["DEL a c"]);
    assert_eq!(ear.heard(), "del a, del c");
    assert!(!has_marks(&engine));
    // With COPY nothing is removed, and nobody need hear of changes.
    assert_eq!(
        target.take(&mut session, "TO b 0 30000 COPY REPLACE"),
        "-ERR Target instance replied with error: BUSYKEY it is there"
    );
    assert_eq!(target.heard(), "1 SELECT 0, 1 RESTORE b 0 REPLACE");
    assert_eq!(target.take(&mut session, "TO none 0 30000"), "+NOKEY");
    assert_eq!(log.0.lock().len(), 1);
    // A key that is named twice goes once.
    ask(&mut session, "SET a 1");
    assert_eq!(target.take(&mut session, "TO  0 30000 KEYS a a"), "+OK");
    assert_eq!(log.0.lock().last().unwrap(), "DEL a");
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn connections_are_kept_for_ten_seconds() {
    let (engine, mut session) = engine_of(&["SET k v"]);
    let target = Target::new(|_| OK);
    let cached = |session: &mut Session| {
        ask(session, "INFO stats")
            .split(' ')
            .find(|line| line.starts_with("migrate_cached"))
            .map(str::to_owned)
    };
    for (line, heard) in [
        ("TO k 0 30000 COPY", "1 SELECT 0, 1 RESTORE k 0"),
        ("TO k 0 30000 COPY AUTH x", "1 AUTH x, 1 RESTORE k 0"),
        ("TO k 3 30000 COPY AUTH x AUTH2 y z", "1 AUTH y z, 1 SELECT 3, 1 RESTORE k 0"),
        ("TO k 3 30000 COPY", "1 RESTORE k 0"),
    ] {
        assert_eq!(target.take(&mut session, line), "+OK");
        assert_eq!(target.heard(), heard);
    }
    engine.advance(Duration::from_millis(9_999));
    assert_eq!(cached(&mut session).unwrap(), "migrate_cached_sockets:1");
    engine.advance(Duration::from_millis(1));
    assert_eq!(cached(&mut session).unwrap(), "migrate_cached_sockets:0");
    assert_eq!(target.take(&mut session, "TO k 3 30000 COPY"), "+OK");
    assert_eq!(target.heard(), "2 SELECT 3, 2 RESTORE k 0");
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn a_connection_that_ended_is_made_anew_once() {
    let (_engine, mut session) = engine_of(&["MSET a 1 b 2"]);
    let mut calls = 0;
    let target = Target::new(move |words| {
        let is_restore = words[0] == "RESTORE";
        calls += usize::from(is_restore);
        // The kept connection ends at its second use.
        if is_restore && calls == 2 { Close("") } else { OK }
    });
    assert_eq!(target.take(&mut session, "TO a 0 30000 COPY"), "+OK");
    assert_eq!(target.take(&mut session, "TO a 0 30000"), "+OK");
    assert_eq!(target.heard(), "1 SELECT 0, 1 RESTORE a 0, 1 RESTORE a 0, 2 SELECT 0, 2 RESTORE a 0");
    // One that always ends is an error.
    let closing = Target::new(|words| if words[0] == "RESTORE" { Close("") } else { OK });
    let reading = "-IOERR error or timeout reading to target instance";
    assert_eq!(closing.take(&mut session, "TO b 0 30000"), reading);
    assert_eq!(closing.heard(), "1 SELECT 0, 1 RESTORE b 0, 2 SELECT 0, 2 RESTORE b 0");
    // And so is one that ends in the middle of a reply: what was answered before has arrived.
    ask(&mut session, "SET a 1");
    let halved = Target::new(|words| if words[1] == "b" { Close("+O") } else { OK });
    assert_eq!(halved.take(&mut session, "TO  0 30000 KEYS a b"), reading);
    assert_eq!(halved.heard(), "1 SELECT 0, 1 RESTORE a 0, 1 RESTORE b 0");
    assert_eq!(ask(&mut session, "MGET a b"), "*2 $-1 $1 2");
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn nothing_is_removed_that_may_not_have_arrived() {
    let (engine, mut session) = engine_of(&["MSET a 1 b 2"]);
    let refused = "-ERR Target instance replied with error: ";
    for (answers, line, reply) in [
        (("-WRONGPASS no\r\n", "", ""), "TO  0 30000 AUTH x KEYS a b", format!("{refused}WRONGPASS no")),
        (("+OK\r\n", "-ERR no DB\r\n", ""), "TO  0 30000 AUTH x KEYS a b", format!("{refused}ERR no DB")),
        (("-one\r\n", "-two\r\n", "-three\r\n"), "TO  0 30000 AUTH2 x y KEYS a b", format!("{refused}one")),
        (("", "", "-a\0b\r\n"), "TO a 0 30000", format!("{refused}a")),
        (("", "", ":1\r\n"), "TO a 0 30000", "-IOERR error or timeout reading to target instance".to_owned()),
        (
            ("", "HTTP/1.1 400 Bad Request\r\n", ""),
            "TO a 0 30000",
            "-IOERR error or timeout reading to target instance".to_owned(),
        ),
        (("", "", "+OK\n"), "TO a 0 30000", "-IOERR error or timeout reading to target instance".to_owned()),
    ] {
        let (auth, select, restore) = answers;
        let target = Target::new(move |words| {
            let own = match &words[0][..] {
                "AUTH" => auth,
                "SELECT" => select,
                _ => restore,
            };
            if own.is_empty() { OK } else { Say(own) }
        });
        assert_eq!(target.take(&mut session, line), reply, "{line}");
        assert!(target.heard().split(", ").all(|word| word.starts_with("1 ")));
        assert_eq!(ask(&mut session, "EXISTS a b"), ":2");
    }
    // Nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let writing = "-IOERR error or timeout writing to target instance";
    for (port, reply) in [
        (port.to_string(), writing),
        ("65536".to_owned(), writing),
        ("-1".to_owned(), "-IOERR error or timeout connecting to the client"),
    ] {
        assert_eq!(ask(&mut session, &format!("MIGRATE 127.0.0.1 {port} a 0 30000")), reply);
    }
    assert_eq!(
        execute(&mut session, &[b"MIGRATE", b"\xff", b"1", b"a", b"0", b"9"]),
        "-IOERR error or timeout connecting to the client\r\n"
    );
    assert!(!has_marks(&engine));
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn others_go_on_while_a_target_hangs() {
    let (engine, mut session) = engine_of(&["MSET a 1 b 2"]);
    let target = Target::new(|words| if words[0] == "RESTORE" { Hang } else { OK });
    target.begin(&mut session, "TO  0 50 KEYS a b");
    let mut other = engine.session(Form::Resp);
    assert_eq!(ask(&mut other, "MGET a b"), "*2 $1 1 $1 2");
    assert_eq!(ask(&mut other, "SET a 3"), "+OK");
    session.wait(None);
    assert_eq!(session.replies(), b"-IOERR error or timeout reading to target instance\r\n");
    assert_eq!(ask(&mut other, "MGET a b"), "*2 $1 3 $1 2");
    assert!(!has_marks(&engine));
    assert!(ask(&mut other, "INFO errorstats").contains("errorstat_IOERR:count=1"));
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn what_was_changed_meanwhile_stays_and_is_named() {
    let (engine, mut session) = engine_of(&["MSET a 1 b 2 c 3 d 4", "SET e 5 PX 500"]);
    let (other, clock) = (engine.clone(), engine.clone());
    let target = Target::new(move |words| {
        let mut session = other.session(Form::Resp);
        match &words[1][..] {
            "a" => drop(ask(&mut session, "APPEND a x")),
            "b" => drop(ask(&mut session, "DEL b")),
            // The value that was sent expires, too.
            "e" => drop(clock.advance(Duration::from_millis(500))),
            _ => {}
        }
        OK
    });
    assert_eq!(
        target.take(&mut session, "TO  0 30000 KEYS a b c e"),
        "-ERR key 'a' was changed while it was moved: it is kept, and the target has its value of before (and another key)"
    );
    assert_eq!(ask(&mut session, "MGET a b c d e"), "*5 $2 1x $-1 $-1 $1 4 $-1");
    assert!(!has_marks(&engine));
    // With another error both are told.
    let other = engine.clone();
    let target = Target::new(move |words| match &words[1][..] {
        "a" => {
            ask(&mut other.session(Form::Resp), "APPEND a x");
            OK
        }
        "d" => Say("-BUSYKEY d\r\n"),
        _ => OK,
    });
    assert_eq!(
        target.take(&mut session, "TO  0 30000 KEYS a d"),
        "-ERR Target instance replied with error: BUSYKEY d; ERR key 'a' was changed while it was moved: it is kept, and the target has its value of before"
    );
    // Its own removal is a change to whoever watches the key.
    let target = Target::new(|_| OK);
    ask(&mut session, "WATCH d");
    assert_eq!(target.take(&mut session, "TO d 0 30000"), "+OK");
    ask(&mut session, "MULTI");
    assert_eq!(ask(&mut session, "EXEC"), "*-1");
}

#[test]
fn transactions_refuse_it() {
    let (engine, mut session) = engine_of(&["SET k v", "MULTI"]);
    let refused = "-ERR Command 'migrate' not allowed inside a transaction";
    assert_eq!(ask(&mut session, "MIGRATE 127.0.0.1 1 k 0 100"), refused);
    assert!(ask(&mut session, "EXEC").starts_with("-EXECABORT"));
    assert!(!has_marks(&engine));
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn who_goes_is_not_waited_for() {
    let (engine, mut session) = engine_of(&["SET k v"]);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let target = Target::new(move |words| {
        if words[0] == "RESTORE" {
            wait.recv().unwrap();
        }
        OK
    });
    target.begin(&mut session, "TO k 0 60000");
    assert!(!session.cancel() && !session.postpone());
    drop(session);
    let mut other = engine.session(Form::Tape);
    assert_eq!(ask(&mut other, "EXISTS k").len(), 9);
    go.send(()).unwrap();
    while engine.database(0).unwrap().len().unwrap() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Who reads tapes gets one.
    let mut tape = engine.session(Form::Tape);
    let ok = ask(&mut tape, "SET k v");
    let target = Target::new(|_| OK);
    assert_eq!(target.take(&mut tape, "TO k 0 30000"), ok);
}

#[test]
#[cfg_attr(miri, ignore = "has sockets")]
fn thousands_go_at_once() {
    let (engine, mut session) = engine_of(&[]);
    let target =
        Target::new(
            |words| if words[0] == "RESTORE" && words[1] == "k1500" { Say("-ERR not this\r\n") } else { OK },
        );
    let mut line = "TO  0 30000 KEYS".to_owned();
    for number in 0..3000 {
        ask(&mut session, &format!("SET k{number} v"));
        line.push_str(&format!(" k{number}"));
    }
    assert_eq!(target.take(&mut session, &line), "-ERR Target instance replied with error: ERR not this");
    assert_eq!(target.heard().split(", ").count(), 3001);
    assert_eq!(ask(&mut session, "KEYS *"), "*1 $5 k1500");
    assert!(!has_marks(&engine));
}

#[test]
#[cfg_attr(any(miri, tsan), ignore = "moves 64 MB")]
fn a_slow_reader_gets_a_large_value() {
    const LEN: usize = 64 << 20;
    let (_engine, mut session) =
        engine_of(&["CONFIG SET rdbcompression no", "SET k x", &format!("SETRANGE k {} x", LEN - 1)]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reader = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let (mut part, mut got) = (vec![0; 32 << 10], 0);
        while got < LEN {
            got += socket.read(&mut part).unwrap();
            std::thread::yield_now();
        }
        socket.write_all(b"+OK\r\n+OK\r\n").unwrap();
        while socket.read(&mut part).unwrap() > 0 {}
    });
    assert_eq!(ask(&mut session, &format!("MIGRATE 127.0.0.1 {port} k 0 30000")), "+OK");
    assert_eq!(ask(&mut session, "EXISTS k"), ":0");
    drop((session, _engine));
    reader.join().unwrap();
    // One that reads nothing is waited for as long as the timeout says.
    let (_engine, mut session) =
        engine_of(&["CONFIG SET rdbcompression no", "SET k x", &format!("SETRANGE k {} x", LEN - 1)]);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    assert_eq!(
        ask(&mut session, &format!("MIGRATE 127.0.0.1 {port} k 0 20")),
        "-IOERR error or timeout writing to target instance"
    );
    assert_eq!(ask(&mut session, "EXISTS k"), ":1");
}

#[cfg(unix)]
#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_forked_child_has_neither_the_thread_nor_the_connections() {
    let (engine, mut session) = engine_of(&["MSET a 1 b 2"]);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let target = Target::new(move |words| {
        if words[1] == "b" {
            wait.recv().unwrap();
        }
        OK
    });
    assert_eq!(target.take(&mut session, "TO a 0 30000 COPY"), "+OK");
    target.begin(&mut session, "TO b 0 60000");
    let survived = crate::os::in_fork(|| {
        session.wait(None);
        let lost = session.replies() == b"-ERR the thread of the command stayed behind in a fork\r\n";
        let mut other = engine.session(Form::Resp);
        lost && ask(&mut other, "INFO stats").contains("migrate_cached_sockets:0")
            && ask(&mut other, "MGET a b") == "*2 $1 1 $1 2"
    });
    assert!(survived);
    go.send(()).unwrap();
    session.wait(None);
    assert_eq!(session.replies(), b"+OK\r\n");
}
