//! Tests of values with memory of their own: one owner each, whatever fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::key::{Key, SHARDS};
use crate::store::memory::refusal;
use crate::{Clock, Engine, Form};

#[test]
fn a_panic_in_an_edit_gives_nothing_away() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let (db, keyspace) = (engine.database(0).unwrap(), &engine.inner.keyspace);
    for number in 0..1_000 {
        db.hset("h", format!("f{number}").as_bytes(), [b'v'; 50]).unwrap();
    }
    db.set("s", vec![b's'; 100_000]).unwrap();
    let pages = keyspace.shared.pool.shareable_bytes();
    for name in [b"h", b"s"] {
        let key = Key::new(name, &keyspace.seed);
        let mut shard = keyspace.lock(key.shard());
        let at = shard.find(0, &key).unwrap();
        let edit = || shard.edit_owned(0, key.hash(), at, |_, _| -> ((), bool) { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(edit)).is_err());
    }
    assert_eq!(keyspace.shared.pool.shareable_bytes(), pages);
    let value = db.hget_with(b"h", b"f7", |found| found.map(<[u8]>::to_vec)).unwrap();
    assert_eq!((value, db.get("s").unwrap().map(|text| text.len())), (Some(vec![b'v'; 50]), Some(100_000)));
    assert!(db.delete("h").unwrap() && db.delete("s").unwrap());
    assert!(crate::lazyfree::leads_to(|| keyspace.shared.pool.shareable_bytes() == 0));
}

#[test]
fn a_key_that_finds_no_room_under_another_name_keeps_its_own() {
    let clock = Clock::manual(1_000_000);
    let engine = Engine::builder().clock(clock.clone()).open().unwrap();
    let db = engine.database(0).unwrap();
    let mut session = engine.session(Form::Resp);
    let mut run = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8(session.execute(&words).to_vec()).unwrap()
    };
    for number in 0..1_000 {
        db.hset("h", format!("f{number}").as_bytes(), [b'v'; 50]).unwrap();
    }
    run("HPEXPIRE h 5000 FIELDS 2 f1 f2");
    db.set("packed", vec![b'p'; 60_000]).unwrap();
    db.set("long", vec![b'l'; 100_000]).unwrap();
    const ALL: [&str; 4] = ["HGETALL h", "GET packed", "GET long", "HPTTL h FIELDS 2 f1 f2"];
    let before = ALL.map(&mut run);
    assert!(before.iter().all(|reply| reply.len() > 10 && !reply.starts_with('-')));
    for name in ["h", "packed", "long"] {
        refusal::set(true);
        let renamed = [run(&format!("RENAME {name} other")), run(&format!("MOVE {name} 3"))];
        refusal::set(false);
        assert!(renamed.iter().all(|reply| reply.starts_with("-OOM")), "{name}: {renamed:?}");
        assert_eq!(run("EXISTS other h packed long"), ":3\r\n");
    }
    assert!(ALL.map(&mut run) == before);
    let pages = engine.inner.keyspace.shared.pool.shareable_bytes();
    for name in ["h", "packed", "long"] {
        assert_eq!(run(&format!("RENAME {name} other-{name}")), "+OK\r\n");
        assert_eq!(run(&format!("MOVE other-{name} 3")), ":1\r\n");
    }
    assert_eq!(engine.inner.keyspace.shared.pool.shareable_bytes(), pages, "one owner each");
    assert_eq!(
        (run("DBSIZE"), run("SELECT 3"), run("DBSIZE")),
        (":0\r\n".into(), "+OK\r\n".into(), ":3\r\n".into())
    );
    assert_eq!(run("HPTTL other-h FIELDS 2 f1 f3"), "*2\r\n:5000\r\n:-1\r\n");
    clock.advance(std::time::Duration::from_secs(6));
    engine.reap();
    assert_eq!((run("HLEN other-h"), run("STRLEN other-long")), (":998\r\n".into(), ":100000\r\n".into()));
}

#[test]
fn timers_of_fields_are_not_looked_through_at_every_delete() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let keyspace = &engine.inner.keyspace;
    let mut session = engine.session(Form::Resp);
    let mut run = |line: String| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        session.execute(&words).to_vec()
    };
    for number in 0..20_000 {
        run(format!("HSET h:{number} f v"));
        assert_eq!(run(format!("HPEXPIRE h:{number} 86400000 FIELDS 1 f")), b"*1\r\n:1\r\n");
    }
    for number in 0..8_000 {
        run(format!("SET x:{number} 1 EX 100"));
        run(format!("DEL x:{number}"));
    }
    let mut timers = 0;
    for shard in 0..SHARDS {
        let (armed, allowed) = keyspace.lock(shard).timers(0);
        timers += armed;
        assert!(armed <= allowed, "the next delete would look through {armed} timers again: {allowed}");
    }
    assert!(timers >= 20_000);
}
