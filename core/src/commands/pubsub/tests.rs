//! Tests of publishing and subscribing in one process: what sessions hear, in which order, and how much.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::command::tape::Item;
use crate::commands::testing::words;
use crate::sync::Arc;
use crate::{Engine, Form, Session, Wake};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

fn run(session: &mut Session, line: &str) -> String {
    String::from_utf8(session.execute(&words(line)).to_vec()).unwrap().replace("\r\n", " ")
}

/// The words and numbers of the next message of a session that reads tapes.
fn heard(session: &mut Session) -> Option<String> {
    let message = session.next_push(AT_ONCE).unwrap()?;
    let (item, rest) = Item::read(&message).unwrap();
    assert!(rest.is_empty());
    let Item::Push(items) = item else { panic!("no message: {item:?}") };
    let text = |item: &Item<'_>| match item {
        Item::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
        Item::Integer(number) => number.to_string(),
        Item::Null => "-".to_owned(),
        other => panic!("{other:?}"),
    };
    Some(items.iter().map(text).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_session_that_reads_tapes_is_told_by_messages_and_may_do_everything() {
    let engine = Engine::new();
    let (mut hears, mut tells) = (engine.session(Form::Tape), engine.session(Form::Resp));
    let ok = engine.session(Form::Tape).execute(&[b"SET", b"k", b"v"]).to_vec();
    assert_eq!(hears.execute(&words("SUBSCRIBE a b")), ok);
    assert_eq!(hears.execute(&words("PSUBSCRIBE a*")), ok);
    assert_eq!(run(&mut tells, "PUBLISH a x"), ":2 ");
    assert_eq!(hears.execute(&words("UNSUBSCRIBE b c")), ok);
    assert_eq!(run(&mut tells, "PUBLISH b y"), ":0 ");
    assert!(hears.is_pushed_to());
    let told = [
        "subscribe a 1",
        "subscribe b 2",
        "psubscribe a* 3",
        "message a x",
        "pmessage a* a x",
        "unsubscribe b 2",
        "unsubscribe c 2",
    ];
    told.iter().for_each(|message| assert_eq!(heard(&mut hears).as_deref(), Some(*message)));
    assert_eq!(heard(&mut hears), None);
    assert_eq!(hears.execute(&words("UNSUBSCRIBE")), ok);
    assert_eq!(hears.execute(&words("SUNSUBSCRIBE")), ok);
    assert_eq!(heard(&mut hears).as_deref(), Some("unsubscribe a 1"));
    assert_eq!(heard(&mut hears).as_deref(), Some("sunsubscribe - 0"));
    assert!(hears.is_pushed_to());
    assert_eq!(hears.execute(&words("RESET")).len(), 10);
    assert!(!hears.is_pushed_to());
    assert_eq!(run(&mut tells, "PUBSUB NUMPAT"), ":0 ");
}

#[test]
fn replies_and_messages_of_a_session_that_speaks_resp_come_in_their_order() {
    let engine = Engine::new();
    let (mut hears, mut tells) = (engine.session(Form::Resp), engine.session(Form::Resp));
    assert_eq!(run(&mut hears, "SUBSCRIBE a b"), "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 ");
    assert!(run(&mut hears, "GET k").starts_with("-ERR Can't execute 'get'"));
    assert_eq!(run(&mut hears, "PING x"), "*2 $4 pong $1 x ");
    assert_eq!(run(&mut tells, "PUBLISH a 1"), ":1 ");
    // What was published before comes before the end of the subscription.
    let last = "*3 $7 message $1 a $1 1 *3 $11 unsubscribe $1 a :1 *3 $11 unsubscribe $1 b :0 ";
    assert_eq!(run(&mut hears, "UNSUBSCRIBE"), last);
    assert_eq!((run(&mut hears, "GET k").as_str(), hears.is_pushed_to()), ("$-1 ", false));
    run(&mut hears, "HELLO 3");
    run(&mut hears, "SUBSCRIBE a");
    assert_eq!(run(&mut hears, "PUBLISH a 2"), ":1 ");
    let message = hears.next_push(AT_ONCE).unwrap().unwrap();
    assert_eq!(&*message, b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n2\r\n");
    // Once it speaks RESP2 it may only subscribe, by every way.
    run(&mut hears, "HELLO 2");
    assert!(run(&mut hears, "GET k").starts_with("-ERR Can't execute 'get'"));
}

#[test]
fn a_dropped_session_hears_nothing_and_keeps_nothing() {
    let engine = Engine::new();
    let mut tells = engine.session(Form::Resp);
    for form in [Form::Tape, Form::Resp] {
        let mut hears = engine.session(form);
        for line in ["SUBSCRIBE a", "PSUBSCRIBE *", "SSUBSCRIBE a"] {
            hears.execute(&words(line));
        }
        assert_eq!(run(&mut tells, "PUBLISH a x"), ":2 ");
        drop(hears);
        assert_eq!(run(&mut tells, "PUBLISH a x"), ":0 ");
        assert_eq!(run(&mut tells, "SPUBLISH a x"), ":0 ");
        assert_eq!(run(&mut tells, "PUBSUB CHANNELS"), "*0 ");
    }
}

#[test]
fn a_slow_subscriber_loses_messages_and_holds_up_nobody() {
    let engine = Engine::new();
    let (mut slow, mut quick, mut tells) =
        (engine.session(Form::Tape), engine.session(Form::Tape), engine.session(Form::Resp));
    run(&mut tells, "CONFIG SET client-output-buffer-limit pubsub\x20");
    let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 1000 0 0"];
    assert_eq!(tells.execute(&set), b"+OK\r\n");
    for session in [&mut slow, &mut quick] {
        session.execute(&words("SUBSCRIBE a"));
        assert_eq!(heard(session).as_deref(), Some("subscribe a 1"));
    }
    for number in 0..50 {
        assert_eq!(run(&mut tells, &format!("PUBLISH a {number}")), ":2 ");
        assert_eq!(heard(&mut quick), Some(format!("message a {number}")));
    }
    assert_eq!(
        slow.next_push(AT_ONCE).unwrap_err().to_string(),
        "ERR messages were dropped: too many waited to be read"
    );
    let rest = std::iter::from_fn(|| heard(&mut slow)).collect::<Vec<_>>();
    assert!(rest.len() < 50 && rest.last().is_some_and(|last| last == "message a 49"), "{rest:?}");
}

#[test]
fn nobody_who_has_unsubscribed_hears_more_and_who_hears_does_in_order() {
    const ROUNDS: usize = if cfg!(miri) { 3 } else { 300 };
    let engine = Engine::new();
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let tellers: Vec<_> = (0..2)
            .map(|teller| {
                let (engine, stop) = (engine.clone(), stop.clone());
                scope.spawn(move || {
                    let mut session = engine.session(Form::Resp);
                    for number in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        run(&mut session, &format!("PUBLISH channel {teller}:{number}"));
                    }
                })
            })
            .collect();
        let hearers: Vec<_> = ["SUBSCRIBE channel", "PSUBSCRIBE chan*"]
            .map(|subscribe| {
                let engine = engine.clone();
                scope.spawn(move || {
                    let mut session = engine.session(Form::Tape);
                    let unsubscribe = format!("{}UNSUBSCRIBE", subscribe.split_once("SUB").unwrap().0);
                    for _ in 0..ROUNDS {
                        session.execute(&words(subscribe));
                        let mut last = [None::<u64>; 2];
                        let mut seen = 0;
                        session.execute(&words(&unsubscribe));
                        let all: Vec<String> = std::iter::from_fn(|| heard(&mut session)).collect();
                        for message in &all[1..all.len() - 1] {
                            let (teller, number) =
                                message.rsplit_once(' ').unwrap().1.split_once(':').unwrap();
                            let (teller, number) =
                                (teller.parse::<usize>().unwrap(), number.parse().unwrap());
                            assert!(
                                last[teller].is_none_or(|last| last + 1 == number),
                                "{message} after {last:?}"
                            );
                            last[teller] = Some(number);
                            seen += 1;
                        }
                        assert!(
                            all[0].contains("subscribe") && all[all.len() - 1].contains("unsubscribe"),
                            "{seen}"
                        );
                        assert_eq!(heard(&mut session), None);
                    }
                })
            })
            .into_iter()
            .collect();
        let ends: Vec<_> = hearers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
        ends.into_iter().for_each(|end| end.unwrap());
    });
}

#[test]
fn wakers_are_called_when_nothing_is_locked() {
    /// Publishes itself, and writes, when it is woken.
    struct Echo(Engine, AtomicUsize);
    impl Wake for Echo {
        fn wake(&self) {
            if self.1.fetch_add(1, Ordering::SeqCst) < 2 {
                let mut session = self.0.session(Form::Resp);
                assert_eq!(run(&mut session, "SET k woken"), "+OK ");
                run(&mut session, "PUBLISH channel again");
                run(&mut session, "SUBSCRIBE channel");
            }
        }
    }
    let engine = Engine::new();
    let (mut hears, mut tells) = (engine.session(Form::Tape), engine.session(Form::Resp));
    hears.execute(&words("SUBSCRIBE channel"));
    hears.execute(&words("PSUBSCRIBE *"));
    let echo = Arc::new(Echo(engine.clone(), AtomicUsize::new(0)));
    hears.set_waker(Some(echo.clone()));
    assert_eq!(run(&mut tells, "PUBLISH channel x"), ":2 ");
    for line in ["MULTI", "SET k v", "PUBLISH channel y", "EXEC"] {
        run(&mut tells, line);
    }
    assert!(echo.1.load(Ordering::SeqCst) >= 4);
    hears.set_waker(None);
}

#[test]
fn events_are_published_as_long_as_they_are_asked_for() {
    let config = crate::Config::from_text(b"notify-keyspace-events Eg$x\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut hears = engine.session(Form::Tape);
    hears.execute(&words("PSUBSCRIBE __key*"));
    assert_eq!(heard(&mut hears).as_deref(), Some("psubscribe __key* 1"));
    let db = engine.database(3).unwrap();
    // Typed calls tell as commands do.
    db.set("k", "v").unwrap();
    assert_eq!(heard(&mut hears).as_deref(), Some("pmessage __key* __keyevent@3__:set k"));
    db.delete("k").unwrap();
    assert_eq!(heard(&mut hears).as_deref(), Some("pmessage __key* __keyevent@3__:del k"));
    db.hset("h", b"f", b"v").unwrap();
    assert_eq!(heard(&mut hears), None);
    db.set_with("brief", "v", crate::SetOptions::new().ttl(crate::Ttl::After(Duration::from_millis(1))))
        .unwrap();
    assert_eq!(heard(&mut hears).as_deref(), Some("pmessage __key* __keyevent@3__:set brief"));
    assert_eq!(heard(&mut hears).as_deref(), Some("pmessage __key* __keyevent@3__:expire brief"));
    // Nobody asks for it: the background reclaims it.
    let message = hears.next_push(None).unwrap().unwrap();
    let (item, _) = Item::read(&message).unwrap();
    assert!(format!("{item:?}").contains("expired") || matches!(item, Item::Push(_)));
    let mut session = engine.session(Form::Resp);
    session.execute(&[b"CONFIG", b"SET", b"notify-keyspace-events", b""]);
    db.set("k", "v").unwrap();
    assert_eq!(heard(&mut hears), None);
    session.execute(&[b"CONFIG", b"SET", b"notify-keyspace-events", b"KA"]);
    db.set("k", "w").unwrap();
    assert_eq!(heard(&mut hears).as_deref(), Some("pmessage __key* __keyspace@3__:k set"));
}

/// What expires is told by the background, right after the command that set the deadline.
#[test]
fn messages_of_a_key_come_in_the_order_of_its_changes() {
    let config = crate::Config::from_text(b"notify-keyspace-events EA\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut hears = engine.session(Form::Tape);
    hears.execute(&words("PSUBSCRIBE __key*"));
    heard(&mut hears).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                for turn in 0..500 {
                    let line = ["SET k v", "DEL k", "SET k v PX 1", "PEXPIRE k 1"][(thread + turn) % 4];
                    session.execute(&words(line));
                }
            });
        }
    });
    engine.database(0).unwrap().set("end", "v").unwrap();
    let (mut exists, mut gone) = (false, 0);
    while let Some(told) = heard(&mut hears).filter(|told| !told.ends_with("set end")) {
        let name = told.rsplit(':').next().unwrap().strip_suffix(" k").unwrap().to_owned();
        match &name[..] {
            "set" => exists = true,
            "expire" => assert!(exists),
            "del" | "expired" => {
                assert!(std::mem::replace(&mut exists, false), "{name} after it went");
                gone += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(gone > 100, "{gone}");
}

#[test]
fn within_a_transaction_events_and_messages_stand_in_the_order_of_its_commands() {
    let config = crate::Config::from_text(b"notify-keyspace-events EAm\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut hears = engine.session(Form::Tape);
    for line in ["MULTI", "SET a v", "PSUBSCRIBE *", "SET b v", "PUBLISH channel x", "GET c", "DEL a", "EXEC"]
    {
        hears.execute(&words(line));
    }
    let told: Vec<_> = std::iter::from_fn(|| heard(&mut hears)).collect();
    let expected = [
        "psubscribe * 1",
        "pmessage * __keyevent@0__:set b",
        "pmessage * channel x",
        "pmessage * __keyevent@0__:keymiss c",
        "pmessage * __keyevent@0__:del a",
    ];
    assert_eq!(told, expected);
}

#[test]
fn reads_of_keys_that_are_not_there_are_told_by_every_way_to_read() {
    let config = crate::Config::from_text(b"notify-keyspace-events Em\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let (mut hears, mut session) = (engine.session(Form::Tape), engine.session(Form::Resp));
    hears.execute(&words("PSUBSCRIBE __key*"));
    heard(&mut hears).unwrap();
    let db = engine.database(0).unwrap();
    db.hset("h", b"f", b"v").unwrap();
    db.set("there", "v").unwrap();
    let mut buffer = [0; 8];
    let mut misses = |what: &str, count: usize, read: &mut dyn FnMut()| {
        read();
        for _ in 0..count {
            let told = heard(&mut hears);
            assert_eq!(told.as_deref(), Some("pmessage __key* __keyevent@0__:keymiss k"), "{what}");
        }
        assert_eq!(heard(&mut hears), None, "{what}");
    };
    misses("get", 1, &mut || assert_eq!(db.get("k").unwrap(), None));
    misses("get_into", 1, &mut || assert_eq!(db.get_into("k", &mut buffer).unwrap(), None));
    misses("get_many_with", 2, &mut || db.get_many_with(&["k", "there", "k"], |_, _| ()).unwrap());
    misses("contains", 1, &mut || assert!(!db.contains("k").unwrap()));
    misses("count_existing", 1, &mut || assert_eq!(db.count_existing(&["there", "k"]).unwrap(), 1));
    misses("hget", 1, &mut || assert_eq!(db.hget("k", "f").unwrap(), None));
    misses("hget of a field", 0, &mut || assert_eq!(db.hget("h", "g").unwrap(), None));
    misses("ttl", 1, &mut || assert_eq!(db.ttl("k").unwrap(), None));
    for line in ["GET k", "EXISTS k", "HGET k f", "MGET there k", "TTL k", "LLEN k", "EVENTS"] {
        let count = usize::from(line != "EVENTS");
        misses(line, count, &mut || drop(session.execute(&words(line)).to_vec()));
    }
    let stats = engine.session(Form::Resp).execute(&[b"INFO", b"stats"]).to_vec();
    let stats = String::from_utf8(stats).unwrap();
    assert!(stats.contains("keyspace_misses:14\r\n") && stats.contains("keyspace_hits:4\r\n"), "{stats}");
    session.execute(&[b"CONFIG", b"SET", b"notify-keyspace-events", b"EA"]);
    misses("unasked", 0, &mut || assert_eq!(db.get("k").unwrap(), None));
}

#[test]
#[cfg(all(unix, not(any(miri, tsan))))]
fn a_forked_child_tells_nobody_of_its_parent() {
    let engine = Engine::new();
    let mut hears = engine.session(Form::Tape);
    hears.execute(&words("SUBSCRIBE a"));
    hears.execute(&words("PSUBSCRIBE a"));
    assert!(crate::os::in_fork(|| {
        let mut session = engine.session(Form::Resp);
        let none = run(&mut session, "PUBLISH a x") == ":0 " && run(&mut session, "PUBSUB NUMPAT") == ":0 ";
        let mut child = engine.session(Form::Tape);
        child.execute(&words("SUBSCRIBE a"));
        none && run(&mut session, "PUBLISH a x") == ":1 "
    }));
    let mut tells = engine.session(Form::Resp);
    assert_eq!(run(&mut tells, "PUBLISH a x"), ":2 ");
}
