//! An engine over another one of the process behaves as that one does, and as an engine of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::{Backend, Connection};
use crate::cache::{Caller, Landing};
use crate::command::Reply;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::{Begun, Clock, Condition, Database, Engine, Form, Load, Session, SetOptions, Ttl};

/// An engine of this process as if it stood elsewhere.
pub(crate) struct Loopback {
    engine: Engine,
    is_down: AtomicBool,
    closed: AtomicUsize,
}

impl Loopback {
    /// It, and an engine over it.
    pub(crate) fn open() -> (Arc<Loopback>, Engine) {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let (is_down, closed) = (AtomicBool::new(false), AtomicUsize::new(0));
        let loopback = Arc::new(Loopback { engine, is_down, closed });
        let linked = Engine::builder().clock(Clock::manual(1_000_000)).backend(Arc::new(loopback.clone()));
        (loopback, linked.open().unwrap())
    }
}

impl Backend for Arc<Loopback> {
    fn execute(&self, db: usize, argv: &[&[u8]], reply: &mut Reply) {
        let mut connection = self.connect();
        connection.clean(db);
        connection.execute(argv, reply);
    }

    fn connect(&self) -> Box<dyn Connection> {
        let forms = [Form::Resp, Form::Tape];
        let sessions = forms.map(|form| self.engine.session(form));
        Box::new(Looped { loopback: self.clone(), sessions, used: 0 })
    }

    fn close(&self) -> Result<()> {
        self.closed.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) { Err(unreachable()) } else { Ok(()) }
    }
}

fn unreachable() -> Error {
    Error::new(ErrorKind::Io, "ERR the other side does not answer")
}

/// A client there: a session for each form, of which the connection's user uses one.
struct Looped {
    loopback: Arc<Loopback>,
    sessions: [Session; 2],
    used: usize,
}

impl Connection for Looped {
    fn execute(&mut self, argv: &[&[u8]], reply: &mut Reply) {
        if self.loopback.is_down.load(Ordering::Relaxed) {
            return reply.error(&unreachable());
        }
        self.used = usize::from(reply.form() == Form::Tape);
        let session = &mut self.sessions[self.used];
        session.execute(argv);
        reply.set_resp3(session.resp3());
        reply.verbatim_replies(session.replies());
    }

    fn db(&self) -> usize {
        self.sessions[self.used].db()
    }

    fn clean(&mut self, db: usize) {
        self.sessions.iter_mut().for_each(|session| session.clean(db));
    }

    fn is_quitting(&self) -> bool {
        self.sessions[self.used].is_quitting()
    }
}

#[test]
fn only_urls_of_servers_name_what_stands_elsewhere() {
    assert!(
        Engine::is_remote("valkey://h") && Engine::is_remote("rediss://h") && Engine::is_remote("unix:///s")
    );
    assert!(Engine::is_remote("sentinel://h/name"));
    assert!(
        !Engine::is_remote("sessions")
            && !Engine::is_remote("keystead://app.ks")
            && !Engine::is_remote("path:/x")
    );
    #[cfg(not(feature = "remote"))]
    assert_eq!(Engine::open("valkey://h").unwrap_err().kind(), ErrorKind::Usage);
}

fn keep_nothing(engine: &Engine) {
    let keyspace = &engine.inner.keyspace;
    assert_eq!(keyspace.made_shards().map(|shard| keyspace.lock(shard).len(0)).sum::<usize>(), 0);
}

/// What a typed call returned, in words.
fn call(db: &Database, number: u8, key: u8, other: u8) -> String {
    let (name, value) = (format!("key:{}", key % 6), format!("{other}"));
    let ttl = match other % 3 {
        0 => Ttl::None,
        1 => Ttl::Keep,
        _ => Ttl::After(Duration::from_secs(60)),
    };
    let condition = match other % 5 {
        0 => Condition::IfAbsent,
        1 => Condition::IfPresent,
        _ => Condition::Always,
    };
    let names = [name.clone(), "key:0".into(), "none".into(), name.clone()];
    match number % 20 {
        0 => format!("{:?}", db.get(&name)),
        1 => format!("{:?}", db.set(&name, &value)),
        2 | 3 => format!("{:?}", db.set_with(&name, &value, SetOptions::new().ttl(ttl).condition(condition))),
        4 => format!("{:?}", db.set_many(&[(&name, &value), (&"key:1".into(), &value)], ttl)),
        5 => format!("{:?}", db.hset(&name, "field", &value)),
        6 => format!("{:?} {:?}", db.hget(&name, "field"), db.hget(&name, "none")),
        7 => format!("{:?}", db.incr(&name, i64::from(other) - 100)),
        8 => format!("{:?}", db.delete(&name)),
        9 => format!("{:?}", db.delete_many(&names)),
        10 => format!("{:?}", db.contains(&name)),
        11 => format!("{:?}", db.count_existing(&names)),
        12 => format!("{:?}", db.ttl(&name)),
        13 => format!("{:?}", db.expire(&name, Duration::from_millis(u64::from(other) * 500 + 1))),
        14 => format!("{:?}", db.persist(&name)),
        15 => {
            let mut seen = Vec::new();
            let read = db.get_many_with(&names, |at, found| {
                seen.push((at, found.map(|found| (found.text.to_vec(), found.is_ascii))));
            });
            format!("{read:?} {seen:?}")
        }
        16 => {
            let text = |found: Option<crate::Found<'_>>| {
                (found.map(|found| found.text.to_vec()), other.is_multiple_of(2))
            };
            format!("{:?}", db.take_with(name.as_bytes(), text))
        }
        17 => format!("{:?} {:?} {:?}", db.len(), db.is_empty(), db.count("key:")),
        18 => {
            let mut buffer = [0; 2];
            let read = db.get_into(&name, &mut buffer);
            let fits = read.as_ref().ok().copied().flatten().unwrap_or(0).min(2);
            format!("{read:?} {:?}", &buffer[..fits])
        }
        _ if other == 0 => format!("{:?}", db.clear("")),
        _ if other < 20 => format!("{:?}", db.clear(&name)),
        _ => format!("{:?}", db.page(0, name.as_bytes())),
    }
}

proptest! {
    #[test]
    fn typed_calls_do_what_they_do_in_process(
        calls in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..200),
        number in 0..3_usize,
    ) {
        let (loopback, linked) = Loopback::open();
        let own = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let (own, linked) = (own.database(number).unwrap(), linked.database(number).unwrap());
        for (call_number, key, other) in calls {
            prop_assert_eq!(call(&own, call_number, key, other), call(&linked, call_number, key, other));
        }
        let other_side = loopback.engine.database(number).unwrap();
        prop_assert_eq!(own.len(), other_side.len());
        keep_nothing(linked.engine());
    }
}

#[test]
fn sessions_keep_their_state_on_the_other_side() {
    let lines = [
        "SET k 1",
        "GET k",
        "INCR k",
        "HSET h f v",
        "HGET h f",
        "SELECT 3",
        "GET k",
        "SET k three",
        "MULTI",
        "INCR k",
        "GET k",
        "EXEC",
        "WATCH k",
        "MULTI",
        "NONSENSE",
        "EXEC",
        "HELLO 3",
        "HGETALL h",
        "SELECT 0",
        "HGETALL h",
        "CONFIG SET hash-max-listpack-entries 7",
        "CONFIG GET hash-max-listpack-entries",
        "OBJECT ENCODING h",
        "RESET",
        "HGETALL h",
        "SELECT 17",
        "QUIT",
    ];
    for form in [Form::Resp, Form::Tape] {
        let (loopback, linked) = Loopback::open();
        let mut here = Engine::new().session(form);
        let mut there = linked.session(form);
        for line in lines {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            if !line.starts_with("HELLO") {
                assert_eq!(here.execute(&argv), there.execute(&argv), "{line}");
            } else {
                // Its reply tells the client's number.
                here.execute(&argv);
                there.execute(&argv);
            }
            assert_eq!((here.db(), here.resp3()), (there.db(), there.resp3()), "{line}");
            assert_eq!(here.is_quitting(), there.is_quitting(), "{line}");
        }
        let pipeline: [&[&[u8]]; 3] = [&[b"SET", b"k", b"2"], &[b"GET", b"k"], &[b"GET", b"none"]];
        for session in [&mut here, &mut there] {
            session.clear_replies();
            session.execute_all(&pipeline);
        }
        assert_eq!(here.replies(), there.replies());
        there.execute(&[b"MULTI"]);
        there.clean(2);
        there.execute(&[b"SET", b"two", b"2"]);
        assert!(loopback.engine.database(2).unwrap().contains("two").unwrap());
        keep_nothing(&linked);
    }
}

#[test]
fn an_unreachable_other_side_is_an_error_everywhere() {
    let (loopback, linked) = Loopback::open();
    let db = linked.database(1).unwrap();
    db.set("k", "v").unwrap();
    let mut session = linked.session(Form::Resp);
    loopback.is_down.store(true, Ordering::Relaxed);
    for number in 0..19 {
        let outcome = call(&db, number, 0, 2);
        assert!(outcome.contains("does not answer"), "{number}: {outcome}");
    }
    assert!(db.clear("").is_err() && db.clear("key").is_err() && db.count("key").is_err());
    assert_eq!(session.execute(&[b"GET", b"k"]), b"-ERR the other side does not answer\r\n");
    let load = lead(&db, "k");
    assert_eq!(load.store(b"v", Ttl::None).unwrap_err().kind(), ErrorKind::Io);
    load.land(Landing::Nothing);
    loopback.is_down.store(false, Ordering::Relaxed);
    assert_eq!(db.get("k").unwrap().unwrap(), b"v");
    keep_nothing(&linked);
}

#[test]
fn the_last_handle_closes_the_other_side_and_hears_of_errors() {
    let (loopback, linked) = Loopback::open();
    let (db, session) = (linked.database(0).unwrap(), linked.session(Form::Resp));
    linked.clone().close().unwrap();
    drop(session);
    let last = db.engine().clone();
    linked.close().unwrap();
    drop(db);
    assert_eq!(loopback.closed.load(Ordering::Relaxed), 0);
    loopback.is_down.store(true, Ordering::Relaxed);
    assert_eq!(last.close().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(loopback.closed.load(Ordering::Relaxed), 1);

    let (loopback, linked) = Loopback::open();
    drop(linked);
    assert_eq!(loopback.closed.load(Ordering::Relaxed), 1);
    Engine::new().close().unwrap();
}

fn lead(db: &Database, key: &str) -> Load {
    match db.begin_load(key.as_bytes(), &Caller::default()) {
        Begun::Lead(load) => load,
        Begun::Wait(_) => panic!("nobody else loads {key}"),
    }
}

#[test]
fn loads_undo_nothing_that_anybody_does_there() {
    let (loopback, linked) = Loopback::open();
    let db = linked.database(2).unwrap();
    let there = loopback.engine.database(2).unwrap();
    let changes: &[(&str, &dyn Fn())] = &[
        ("there", &|| there.set("k", "new").unwrap()),
        ("here", &|| db.set("k", "new").unwrap()),
        ("deleted here, though it was missing", &|| assert!(!db.delete("k").unwrap())),
        ("deleted here among others", &|| assert_eq!(db.delete_many(&["other", "k"]).unwrap(), 0)),
        ("cleared here by a prefix", &|| assert_eq!(db.clear("k").unwrap(), 0)),
        ("all cleared here", &|| assert_eq!(db.clear("").unwrap(), 0)),
        ("set here with others", &|| db.set_many(&[("other", "v"), ("k", "new")], Ttl::None).unwrap()),
    ];
    for (what, change) in changes {
        there.clear("").unwrap();
        let load = lead(&db, "k");
        change();
        let before = there.get("k").unwrap();
        assert!(!load.store(b"loaded", Ttl::None).unwrap(), "{what}");
        load.land(Landing::Again);
        assert_eq!(there.get("k").unwrap(), before, "{what}");
    }
    there.clear("").unwrap();
    let load = lead(&db, "k");
    there.set("other", "new").unwrap();
    assert!(load.store(b"loaded", Ttl::After(Duration::from_secs(5))).unwrap());
    load.land(Landing::Nothing);
    assert_eq!(there.ttl("k").unwrap(), Some(Some(Duration::from_secs(5))));
    let refresh = db.begin_refresh(b"k", &Caller::default());
    assert!(refresh.store(b"newer", Ttl::None).unwrap());
    assert_eq!(there.get("k").unwrap().unwrap(), b"newer");
}

#[test]
fn copies_beside_the_engine_are_never_current() {
    let (loopback, linked) = Loopback::open();
    let (db, versions) = (linked.database(0).unwrap(), linked.versions());
    db.set("k", "v").unwrap();
    let read = |found: Option<crate::Found<'_>>, version| (found.map(|found| found.text.to_vec()), version);
    let (value, version) = db.get_versioned_with(&versions, b"k", read).unwrap();
    assert_eq!(value.unwrap(), b"v");
    assert!(!versions.is_current(&version));
    loopback.engine.database(0).unwrap().set("k", "w").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), b"w");
}

#[test]
fn taking_goes_on_until_nobody_is_in_between() {
    let (loopback, linked) = Loopback::open();
    let (db, there) = (linked.database(0).unwrap(), loopback.engine.database(0).unwrap());
    there.set("k", "0").unwrap();
    let mut seen = Vec::new();
    let last = db.take_with(b"k", |found| {
        seen.push(found.map(|found| found.text.to_vec()));
        if seen.len() < 3 {
            there.set("k", seen.len().to_string()).unwrap();
        }
        (seen.len(), true)
    });
    assert_eq!(last.unwrap(), 3);
    assert_eq!(seen, [Some(b"0".to_vec()), Some(b"1".to_vec()), Some(b"2".to_vec())]);
    assert!(there.is_empty().unwrap());
}

#[test]
fn an_empty_key_is_a_key_there_too() {
    let (_loopback, linked) = Loopback::open();
    let db = linked.database(0).unwrap();
    for key in ["", "*", "a*", "ab", "a[b]", "a\\"] {
        db.set(key, "v").unwrap();
    }
    assert_eq!(db.page(0, b"").unwrap().1.len(), 6);
    assert_eq!((db.count("a").unwrap(), db.count("a*").unwrap(), db.count("a[").unwrap()), (4, 1, 1));
    assert_eq!((db.clear("a\\").unwrap(), db.clear("*").unwrap(), db.len().unwrap()), (1, 1, 4));
}
