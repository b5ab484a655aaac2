//! Tests of what two servers side by side do not show: events, the log, sizes, bounds, and memory that is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commands::testing::{engine, run};
use crate::keyspace::{Event, Group, Journal, Observer, Ticket};
use crate::store::memory::refusal;
use crate::sync::Mutex;
use crate::{Engine, Form, Outcome, Session};

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        let key = String::from_utf8_lossy(event.key);
        self.0.lock().push(format!("{:?}:{}:{key}", event.class, event.name));
    }
}

#[test]
fn events_have_the_names_and_the_order_of_the_server() {
    let engine = engine("");
    let recorder = Arc::new(Recorder::default());
    engine.observe(recorder.clone());
    let mut session = engine.session(Form::Resp);
    let mut events = |line: &str| {
        run(&mut session, line);
        std::mem::take(&mut *recorder.0.lock()).join(" ")
    };
    assert_eq!(events("ZADD z 1 a 2 b 3 c 4 d"), "New:new:z ZSet:zadd:z");
    assert_eq!(events("ZADD z 1 a"), "");
    assert_eq!(events("ZADD z XX 5 nope"), "");
    assert_eq!(events("ZADD z 2 a"), "ZSet:zadd:z");
    assert_eq!(events("ZADD z INCR 2 a"), "ZSet:zincr:z");
    assert_eq!(events("ZINCRBY z 1 a"), "ZSet:zincr:z");
    assert_eq!(events("ZINCRBY z 0 a"), "");
    assert_eq!(events("ZREM z nope"), "");
    assert_eq!(events("ZREM z a"), "ZSet:zrem:z");
    assert_eq!(events("ZREMRANGEBYRANK z 5 9"), "");
    assert_eq!(events("ZREMRANGEBYRANK z 0 0"), "ZSet:zremrangebyrank:z");
    assert_eq!(events("ZREMRANGEBYSCORE z 3 3"), "ZSet:zremrangebyscore:z");
    assert_eq!(events("ZREMRANGEBYLEX z - +"), "ZSet:zremrangebylex:z Generic:del:z");
    assert_eq!(events("ZADD z 1 a 2 b 3 c 4 d"), "New:new:z ZSet:zadd:z");
    assert_eq!(events("ZRANGESTORE d z 0 1"), "New:new:d ZSet:zrangestore:d");
    assert_eq!(events("ZRANGESTORE d z 9 1"), "Generic:del:d");
    assert_eq!(events("ZRANGESTORE d z 9 1"), "");
    assert_eq!(events("ZUNIONSTORE d 1 z"), "New:new:d ZSet:zunionstore:d");
    assert_eq!(events("ZINTERSTORE d 1 z"), "ZSet:zinterstore:d");
    assert_eq!(events("ZDIFFSTORE d 1 z"), "ZSet:zdiffstore:d");
    assert_eq!(events("ZDIFFSTORE d 2 z z"), "Generic:del:d");
    assert_eq!(events("ZPOPMIN z"), "ZSet:zpopmin:z");
    assert_eq!(events("ZPOPMIN z 0"), "");
    assert_eq!(events("BZPOPMAX z 0"), "ZSet:zpopmax:z");
    assert_eq!(events("ZMPOP 2 none z MIN COUNT 9"), "ZSet:zpopmin:z Generic:del:z");
    assert_eq!(events("ZADD z 1 a"), "New:new:z ZSet:zadd:z");
    assert_eq!(events("ZREM z a"), "ZSet:zrem:z Generic:del:z");
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Journal for Log {
    fn append(&self, group: &Group) -> crate::Result<Ticket> {
        let words = |words: Vec<&[u8]>| String::from_utf8_lossy(&words.join(&b' ')).into_owned();
        self.0.lock().extend(group.effects().map(|effect| words(effect.words().collect())));
        Ok(Ticket::default())
    }
}

/// As an append-only file of 9.1.2 has it.
#[test]
fn the_log_gets_what_was_taken() {
    let engine = engine("");
    let log = Arc::new(Log::default());
    assert!(engine.set_journal(Some(log.clone())).is_none());
    let mut session = engine.session(Form::Resp);
    let mut effects = |line: &str| {
        run(&mut session, line);
        std::mem::take(&mut *log.0.lock()).join("; ")
    };
    effects("ZADD k 1 a 2 b 3 c 4 d 5 e 6 f 7 g");
    assert_eq!(effects("ZPOPMIN k"), "ZPOPMIN k");
    assert_eq!(effects("ZPOPMAX k 1"), "ZPOPMAX k 1");
    assert_eq!(effects("BZPOPMIN none k 0"), "ZPOPMIN k");
    assert_eq!(effects("BZPOPMAX none k 0"), "ZPOPMAX k");
    assert_eq!(effects("BZMPOP 0 2 none k MIN COUNT 2"), "ZPOPMIN k 2");
    assert_eq!(effects("ZADD k INCR 2.5 e"), "ZADD k INCR 2.5 e");
    assert_eq!(effects("ZADD k XX 2.5 nope"), "");
    assert_eq!(effects("ZMPOP 2 none k MAX COUNT 10"), "ZPOPMAX k 1");
    assert_eq!(effects("ZPOPMIN k"), "");
    assert_eq!(effects("ZMPOP 1 k MIN"), "");
}

#[test]
fn small_sorted_sets_take_no_more_than_the_servers() {
    // `memory_usage` of 9.1.2 and its table's part, as GOALS has it, for keys of 10 bytes.
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let members: Vec<String> = (0..10).map(|number| format!("{} member:{number:09}", number * 10)).collect();
    (0..2000)
        .for_each(|number| drop(run(&mut session, &format!("ZADD z:{number:08} {}", members.join(" ")))));
    let reply = run(&mut session, "MEMORY USAGE z:00000007");
    let bytes: usize = reply.trim_start_matches(':').trim_end().parse().unwrap();
    assert!(bytes <= 297, "{bytes}");
}

#[test]
fn a_reply_without_a_bound_is_an_error_and_takes_no_memory() {
    let engine = engine("max-reply-bytes 1mb");
    for form in [Form::Resp, Form::Tape] {
        let mut session = engine.session(form);
        run(&mut session, "FLUSHALL");
        run(&mut session, "ZADD small 1 a");
        let long = "v".repeat(1000);
        for number in 0..3000 {
            run(&mut session, &format!("ZADD large {number} {long}{number}"));
        }
        let mut fails = |line: &str| {
            let reply = run(&mut session, line);
            assert!(reply.len() < 5000, "{line}");
            reply.contains("max-reply-bytes")
        };
        for line in [
            "ZRANDMEMBER small -1000000000",
            "ZRANDMEMBER large -9223372036854775807",
            "ZRANDMEMBER large 2000",
            "ZRANGE large 0 -1",
            "ZRANGE large -inf +inf BYSCORE WITHSCORES",
            "ZUNION 2 large small",
            "ZPOPMIN large 2000",
            "ZPOPMAX large 3000",
            "ZMPOP 1 large MIN COUNT 2000",
            "BZMPOP 0 1 large MIN COUNT 2000",
            "ZSCAN large 0 COUNT 3000",
        ] {
            assert!(fails(line), "{line}");
        }
        assert!(!fails("ZRANDMEMBER small -3") && !fails("ZPOPMIN large 3") && !fails("ZRANGE large 0 3"));
        assert!(
            form == Form::Tape || run(&mut session, "ZCARD large") == ":2997\r\n",
            "nothing else was taken"
        );
    }
}

/// Each command is refused memory at each point where it asks for some.
#[test]
fn where_memory_is_refused_nothing_has_changed() {
    let engine = engine("");
    let log = Arc::new(Log::default());
    let mut session = engine.session(Form::Resp);
    let long = "l".repeat(9000);
    let pairs = |from: usize, to: usize, name: &str| {
        (from..to)
            .map(|number| format!("{} {name}{number}", number * 7919 % 3001))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let middle = |name: &str| {
        (0..80)
            .map(|number| format!("{number}.5 {name}{number}{}", "y".repeat(90)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let setup = [
        format!("ZADD large {}", pairs(0, 3000, "w")),
        format!("ZADD other {}", pairs(2000, 2500, "w")),
        "ZADD packed 1 a 2 b 3 c 4 w1".to_owned(),
        format!("ZADD small 1 {long} 2 w7"),
        "SADD set w1 w2 w2100".to_owned(),
    ];
    let keys = ["large", "other", "packed", "small", "new", "large2", "other2", "small2"];
    let reset = |session: &mut Session| {
        run(session, "FLUSHALL");
        setup.iter().for_each(|line| drop(run(session, line)));
        // Memory that is shared has to be copied before anything is written.
        for key in ["large", "other", "small"] {
            run(session, &format!("COPY {key} {key}2"));
        }
    };
    let state = |session: &mut Session| {
        let members = keys.map(|key| {
            (
                run(session, &format!("ZRANGE {key} 0 -1 WITHSCORES")),
                run(session, &format!("OBJECT ENCODING {key}")),
            )
        });
        (members, run(session, "DBSIZE"))
    };
    let commands = [
        "ZADD large 77 x".to_owned(),
        "ZADD large 2999.5 w5".to_owned(),
        "ZADD large 0 w2999".to_owned(),
        format!("ZADD large 1 {long}"),
        format!("ZADD large 1 x 2 {long} 3 w1 4 w7 {}", middle("a")),
        format!("ZADD packed {}", middle("b")),
        format!("ZADD packed 1 {long}"),
        format!("ZADD packed 9 a 8 {}", "z".repeat(60)),
        format!("ZADD small {}", middle("c")),
        format!("ZADD small 7 {long}"),
        format!("ZADD new {}", middle("d")),
        "ZINCRBY large 1000.5 w900".to_owned(),
        "ZADD large XX CH 1 w1 2 w2 3 w3 4 nope".to_owned(),
        "ZREM large w17".to_owned(),
        "ZREM large w1 nope w900 w1800 w2700".to_owned(),
        format!("ZREM small {long}"),
        "ZPOPMIN large".to_owned(),
        "ZPOPMAX large 200".to_owned(),
        "ZMPOP 2 new large MIN COUNT 20".to_owned(),
        "BZPOPMIN new large 0".to_owned(),
        "BZMPOP 0 1 large MAX COUNT 20".to_owned(),
        "ZREMRANGEBYRANK large 10 2900".to_owned(),
        "ZREMRANGEBYSCORE large 100 140".to_owned(),
        "ZREMRANGEBYLEX small - +".to_owned(),
        "ZRANGESTORE new large 0 -1".to_owned(),
        "ZRANGESTORE large large 100 500 BYSCORE".to_owned(),
        "ZUNIONSTORE new 3 large other set".to_owned(),
        "ZUNIONSTORE large 2 large other WEIGHTS 2 3".to_owned(),
        "ZINTERSTORE new 2 large other".to_owned(),
        "ZDIFFSTORE other 2 large other".to_owned(),
    ];
    let mut refused = BTreeMap::new();
    for command in &commands {
        reset(&mut session);
        let before = state(&mut session);
        engine.set_journal(Some(log.clone()));
        for allowed in 0.. {
            log.0.lock().clear();
            refusal::after(allowed);
            let reply = run(&mut session, command);
            refusal::set(false);
            if !reply.starts_with("-OOM") {
                assert!(!reply.starts_with('-'), "{command}: {reply}");
                break;
            }
            let name = &command[..command.len().min(30)];
            assert!(log.0.lock().is_empty(), "{name} {allowed}");
            assert!(state(&mut session) == before, "{name} {allowed}");
            *refused.entry(command.split(' ').next().unwrap()).or_insert(0) += 1;
        }
        engine.set_journal(None);
    }
    let all = [
        "BZMPOP",
        "BZPOPMIN",
        "ZADD",
        "ZDIFFSTORE",
        "ZINCRBY",
        "ZINTERSTORE",
        "ZMPOP",
        "ZPOPMAX",
        "ZPOPMIN",
        "ZRANGESTORE",
        "ZREM",
        "ZREMRANGEBYRANK",
        "ZREMRANGEBYSCORE",
        "ZUNIONSTORE",
    ];
    assert!(all.iter().all(|name| refused.contains_key(name)), "{refused:?}");
}

/// A waiter is served with what the last of a transaction's commands leaves, and what it takes is logged as a command of its own.
#[test]
fn a_waiter_is_served_once_and_logged() {
    let engine = engine("");
    let log = Arc::new(Log::default());
    engine.set_journal(Some(log.clone()));
    let (mut waiting, mut session) = (engine.session(Form::Resp), engine.session(Form::Resp));
    let words: [&[u8]; 4] = [b"BZPOPMAX", b"none", b"z", b"0"];
    assert_eq!(waiting.begin(&words), crate::command::Outcome::Blocked);
    run(&mut session, "SET z text");
    assert!(!waiting.try_take(), "another type serves nobody");
    run(&mut session, "DEL z");
    log.0.lock().clear();
    run(&mut session, "ZADD z 1 a 2 b");
    assert!(waiting.try_take());
    assert_eq!(waiting.replies(), b"*3\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\n2\r\n");
    assert_eq!(*log.0.lock(), ["ZADD z 1 a 2 b", "ZPOPMAX z"]);
    assert_eq!(run(&mut session, "ZRANGE z 0 -1"), "*1\r\n$1\r\na\r\n");
}

#[test]
fn what_was_popped_for_who_has_gone_is_put_back() {
    let engine = Engine::new();
    let mut session = engine.session(Form::Resp);
    let mut run = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8(session.execute(&words).to_vec()).unwrap()
    };
    for wait in ["BZPOPMIN z 0", "BZPOPMAX none z 0", "BZMPOP 0 1 z MIN COUNT 5"] {
        let mut gone = engine.session(Form::Tape);
        let words: Vec<&[u8]> = wait.split(' ').map(str::as_bytes).collect();
        assert_eq!(gone.begin(&words), Outcome::Blocked);
        assert_eq!(run("ZADD z 1.5 a -inf b 0.1 c"), ":3\r\n");
        assert_ne!(run("ZCARD z"), ":3\r\n", "{wait}");
        // Who adds it anew keeps it.
        if wait == "BZPOPMAX none z 0" {
            run("ZADD z 7 a");
        }
        drop(gone);
        let score = if wait == "BZPOPMAX none z 0" { "$1\r\n7" } else { "$3\r\n1.5" };
        let all = format!("*6\r\n$1\r\nb\r\n$4\r\n-inf\r\n$1\r\nc\r\n$3\r\n0.1\r\n$1\r\na\r\n{score}\r\n");
        assert_eq!(run("ZRANGE z 0 -1 WITHSCORES"), all, "{wait}");
        run("DEL z");
    }
    // The next who waits gets it.
    let (mut gone, mut next) = (engine.session(Form::Tape), engine.session(Form::Resp));
    for waiter in [&mut gone, &mut next] {
        assert_eq!(waiter.begin(&[b"BZPOPMIN", b"z", b"0"]), Outcome::Blocked);
    }
    run("ZADD z 1 m");
    assert!(!next.try_take());
    drop(gone);
    assert!(next.try_take());
    assert_eq!(next.replies(), b"*3\r\n$1\r\nz\r\n$1\r\nm\r\n$1\r\n1\r\n");
}
