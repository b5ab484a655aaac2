//! Loads of an engine: what is stored and what not, ends of all kinds, many threads.

use super::*;
use crate::cache::this_thread;
use crate::{Engine, Form, SetOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn database() -> Database {
    Engine::new().database(0).unwrap()
}

#[track_caller]
fn lead(db: &Database, key: &str, within: &[u64]) -> Load {
    let caller = Caller { within, thread: this_thread(), blocks: true, runner: None };
    match db.begin_load(key.as_bytes(), &caller) {
        Begun::Lead(load) => load,
        Begun::Wait(_) => panic!("somebody else loads {key}"),
    }
}

fn value(db: &Database, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn whoever_changes_a_key_meanwhile_knows_better() {
    type Change = (&'static str, bool);
    // Words, and whether they are a change of the key `k`, which is missing.
    let changes: &[Change] = &[
        ("SET k new", true),
        ("INCR k", true),
        ("APPEND k new", true),
        ("HSET k f v", true),
        ("MSET x 1 k new", true),
        ("SET k new PX 60000", true),
        ("DEL k", true),
        ("UNLINK x k", true),
        ("FLUSHDB", true),
        ("FLUSHALL", true),
        ("SWAPDB 0 1", true),
        ("RENAME full k", true),
        ("COPY full k", true),
        ("SET other new", false),
        ("DEL other", false),
        ("GET k", false),
        ("EXISTS k", false),
        ("EXPIRE k 5", false),
        ("SET k new XX", false),
        ("RENAME full other", false),
    ];
    for (line, is_change) in changes {
        let db = database();
        let mut session = db.engine().session(Form::Resp);
        db.set("full", "old").unwrap();
        let load = lead(&db, "k", &[]);
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        session.execute(&words);
        let before = session.execute(&[b"EXISTS", b"k"]).to_vec();
        let stored = load.store(b"loaded", Ttl::None).unwrap();
        assert_eq!(stored, !is_change, "{line}");
        load.land(Landing::Nothing);
        if *is_change {
            assert_eq!(session.execute(&[b"EXISTS", b"k"]), before, "{line}");
        }
    }
}

#[test]
fn typed_calls_are_changes_too() {
    let changes: &[fn(&Database)] = &[
        |db| {
            db.set("k", "new").unwrap();
        },
        |db| {
            db.set_with("k", "new", SetOptions::new().if_absent()).unwrap();
        },
        |db| {
            db.incr("k", 1).unwrap();
        },
        |db| {
            db.delete("k").unwrap();
        },
        |db| {
            db.delete_many(&["other", "k"]).unwrap();
        },
        |db| db.set_many(&[("other", "1"), ("k", "2")], Ttl::None).unwrap(),
        |db| {
            db.clear(b"").unwrap();
        },
        |db| {
            db.clear(b"k").unwrap();
        },
        |db| {
            db.hset("k", b"f", b"v").unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let db = database();
        let load = lead(&db, "k", &[]);
        change(&db);
        assert!(!load.store(b"loaded", Ttl::None).unwrap(), "{number}");
        drop(load);
        assert!(lead(&db, "k", &[]).store(b"loaded", Ttl::None).unwrap());
    }
    let db = database();
    let load = lead(&db, "k", &[]);
    db.clear(b"other").unwrap();
    db.engine().database(1).unwrap().set("k", "elsewhere").unwrap();
    db.engine().database(1).unwrap().clear(b"").unwrap();
    assert!(load.store(b"loaded", Ttl::After(Duration::from_secs(5))).unwrap());
    assert!(db.ttl("k").unwrap().flatten().is_some());
}

#[test]
fn no_mark_stays_behind() {
    let db = database();
    for key in ["a", "b", "a"] {
        drop(lead(&db, key, &[]));
        lead(&db, key, &[]).land(Landing::Nothing);
        db.begin_refresh(key.as_bytes(), &Caller::default()).store(b"v", Ttl::None).unwrap();
    }
    let keyspace = &db.inner().keyspace;
    for shard in keyspace.made_shards() {
        assert!(keyspace.lock(shard).watchers.is_empty());
    }
}

#[test]
fn watched_keys_hear_of_what_loads_store() {
    let db = database();
    let mut session = db.engine().session(Form::Resp);
    session.execute(&[b"WATCH", b"k"]);
    let load = lead(&db, "k", &[]);
    // An attempt to remove what is not there is none of their business.
    session.execute(&[b"DEL", b"k"]);
    session.execute(&[b"MULTI"]);
    assert_eq!(session.execute(&[b"EXEC"]), b"*0\r\n");
    drop(load);
    session.execute(&[b"WATCH", b"k"]);
    lead(&db, "k", &[]).store(b"v", Ttl::None).unwrap();
    session.execute(&[b"MULTI"]);
    assert_eq!(session.execute(&[b"EXEC"]), b"*-1\r\n");
}

#[test]
fn the_result_of_a_load_outlives_that_of_the_loads_within_it() {
    let db = database();
    let outer = lead(&db, "k", &[]);
    let inner = lead(&db, "k", outer.within());
    assert!(inner.store(b"inner", Ttl::None).unwrap());
    inner.land(Landing::Again);
    assert!(outer.store(b"outer", Ttl::None).unwrap());
    assert_eq!(value(&db, "k").as_deref(), Some("outer"));
}

#[test]
fn of_two_loads_the_one_that_began_later_is_kept() {
    for later_first in [true, false] {
        let db = database();
        let early = lead(&db, "k", &[]);
        let late = db.begin_refresh(b"k", &Caller::default());
        if later_first {
            assert!(late.store(b"late", Ttl::None).unwrap());
            assert!(!early.store(b"early", Ttl::None).unwrap());
        } else {
            assert!(early.store(b"early", Ttl::None).unwrap());
            assert!(late.store(b"late", Ttl::None).unwrap());
        }
        assert_eq!(value(&db, "k").as_deref(), Some("late"));
    }
}

#[test]
fn expiry_of_the_old_value_does_not_lose_a_refresh() {
    let engine = Engine::builder().clock(crate::Clock::manual(1_000_000)).open().unwrap();
    let db = engine.database(0).unwrap();
    db.set_with("k", "old", SetOptions::new().expires_in(Duration::from_millis(5))).unwrap();
    let load = db.begin_refresh(b"k", &Caller::default());
    engine.advance(Duration::from_millis(50));
    assert!(load.store(b"new", Ttl::None).unwrap());
    assert_eq!(value(&db, "k").as_deref(), Some("new"));
}

#[test]
fn a_load_that_is_dropped_goes_to_another() {
    let db = database();
    let (load, waiting) = (lead(&db, "k", &[]), AtomicBool::new(false));
    let id = Some(load.id());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let caller = Caller { thread: this_thread(), blocks: true, ..Caller::default() };
            let Begun::Wait(wait) = db.begin_load(b"k", &caller) else { panic!("it is being loaded") };
            assert_eq!(wait.target(), id);
            waiting.store(true, Ordering::Release);
            let landing = wait.block(wait.left()).unwrap();
            drop(wait);
            assert!(matches!(landing, Landing::Again));
            matches!(db.begin_load(b"k", &caller), Begun::Lead(_))
        });
        while !waiting.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        drop(load);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_wait_ends_after_its_time() {
    let db = database();
    let _load = lead(&db, "k", &[]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let caller = Caller { thread: this_thread(), blocks: true, ..Caller::default() };
            let Begun::Wait(wait) = db.begin_load(b"k", &caller) else { panic!("it is being loaded") };
            assert!(wait.block(Duration::from_millis(10)).is_none());
            assert!(matches!(wait.give_up(&caller), Begun::Lead(_)));
        });
    });
}

#[test]
fn many_threads_load_once() {
    let db = database();
    let loads = AtomicUsize::new(0);
    let round = |number: usize| {
        let key = format!("k{number}");
        let caller = Caller { thread: this_thread(), blocks: true, ..Caller::default() };
        loop {
            if let Some(found) = value(&db, &key) {
                return found;
            }
            match db.begin_load(key.as_bytes(), &caller) {
                Begun::Lead(load) => {
                    if let Some(found) = value(&db, &key) {
                        load.land(Landing::Again);
                        return found;
                    }
                    loads.fetch_add(1, Ordering::Relaxed);
                    load.store(key.as_bytes(), Ttl::None).unwrap();
                    load.land(Landing::Value(Arc::from(key.as_bytes())));
                }
                Begun::Wait(wait) => {
                    wait.block(Duration::from_secs(60)).expect("nobody is that slow");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|number| assert_eq!(round(number), format!("k{number}"))));
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 500);
}

#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_forked_child_does_not_wait_for_loads_of_its_parent() {
    let db = database();
    let load = lead(&db, "k", &[]);
    let other = Caller { thread: this_thread() + 1, ..Caller::default() };
    let Begun::Wait(wait) = db.begin_load(b"k", &other) else { panic!("it is being loaded") };
    assert!(crate::os::in_fork(|| {
        let Begun::Lead(own) = db.begin_load(b"k", &other) else { return false };
        own.store(b"v", Ttl::None).is_ok_and(|stored| stored)
            && matches!(wait.landing(), Some(Landing::Again))
    }));
    assert!(wait.landing().is_none());
    load.land(Landing::Nothing);
    assert!(matches!(wait.landing(), Some(Landing::Nothing)));
}
