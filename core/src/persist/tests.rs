//! Snapshots on disk: written while others write, loaded again, and what goes wrong.

mod backups;
mod faults;
mod logs;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Manner, Task};
use crate::{Config, Engine, ErrorKind, Form, Session};

fn open(folder: &Path, more: &str) -> crate::Result<Engine> {
    let text = format!("dir {}\nsave \"\"\nenable-debug-command yes\n{more}", folder.display());
    Engine::builder().config(Config::from_text(text.as_bytes())?).durable().open()
}

pub(super) fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&words)).trim_end().replace("\r\n", " ")
}

pub(super) fn session(engine: &Engine) -> Session {
    engine.session(Form::Resp)
}

/// A number of INFO persistence, or a word.
pub(super) fn info(session: &mut Session, name: &str) -> String {
    let told = run(session, "INFO persistence");
    let found = told.split(' ').find_map(|line| line.strip_prefix(&format!("{name}:")));
    found.unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

fn wait_for_save(session: &mut Session) {
    wait_until("the snapshot", || info(session, "rdb_bgsave_in_progress") == "0");
}

#[test]
fn what_is_saved_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let engine = open(folder.path(), "").unwrap();
        let mut session = session(&engine);
        for line in
            ["SET text value", "SET late value PX 1", "HSET hash f 1", "SELECT 3", "SET other 1 EX 9900"]
        {
            run(&mut session, line);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(info(&mut session, "rdb_changes_since_last_save"), "4");
        assert_eq!(run(&mut session, "SAVE"), "+OK");
        assert_eq!(info(&mut session, "rdb_changes_since_last_save"), "0");
        run(&mut session, "SET behind the-snapshot");
    }
    let engine = open(folder.path(), "").unwrap();
    let mut session = session(&engine);
    assert_eq!(run(&mut session, "GET text"), "$5 value");
    assert_eq!(run(&mut session, "HGET hash f"), "$1 1");
    assert_eq!(run(&mut session, "EXISTS late"), ":0");
    run(&mut session, "SELECT 3");
    assert!(run(&mut session, "TTL other").starts_with(":9"));
    assert_eq!(run(&mut session, "DBSIZE"), ":1");
    assert_eq!(info(&mut session, "rdb_changes_since_last_save"), "0");
}

#[test]
fn a_snapshot_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), "").unwrap();
    let mut own = session(&engine);
    for number in 0..20_000 {
        run(&mut own, &format!("SET filler:{number} {number}"));
    }
    for pair in 0..4 {
        run(&mut own, &format!("MSET one:{pair} 0 other:{pair} 0"));
        run(&mut own, &format!("RPUSH list:{pair} 0"));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for pair in 0..4 {
            let (engine, stop) = (&engine, &stop);
            scope.spawn(move || {
                let mut session = session(engine);
                while !stop.load(Ordering::Relaxed) {
                    for line in ["MULTI", "INCR one:N", "INCR other:N", "RPUSH list:N 1", "EXEC"] {
                        run(&mut session, &line.replace('N', &pair.to_string()));
                    }
                }
            });
        }
        for _ in 0..5 {
            assert_eq!(run(&mut own, "BGSAVE"), "+Background saving started");
            wait_for_save(&mut own);
            assert_eq!(info(&mut own, "rdb_last_bgsave_status"), "ok");
            let copy = tempfile::tempdir().unwrap();
            fs::copy(folder.path().join("dump.rdb"), copy.path().join("dump.rdb")).unwrap();
            let loaded = open(copy.path(), "").unwrap();
            let mut loaded = session(&loaded);
            assert_eq!(run(&mut loaded, "DBSIZE"), ":20012");
            for pair in 0..4 {
                let one = run(&mut loaded, &format!("GET one:{pair}"));
                assert_eq!(one, run(&mut loaded, &format!("GET other:{pair}")));
                let count: u64 = one.split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(run(&mut loaded, &format!("LLEN list:{pair}")), format!(":{}", count + 1));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the snapshot");
}

#[test]
fn large_collections_are_saved_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), "").unwrap();
    let mut own = session(&engine);
    for number in 0..3000 {
        for line in
            ["SADD set m:N", "ZADD zset N m:N", "HSET hash f:N v:N", "RPUSH list e:N", "XADD stream N-1 f N"]
        {
            run(&mut own, &line.replace('N', &(number + 1).to_string()));
        }
    }
    run(&mut own, &format!("SET string {}", "x".repeat(200_000)));
    run(&mut own, "HPEXPIRE hash 1000000 FIELDS 2 f:7 f:8");
    let before = run(&mut own, "DEBUG DIGEST");
    assert_eq!(run(&mut own, "SAVE"), "+OK");
    run(&mut own, "DEL set zset");
    assert_eq!(run(&mut own, "DEBUG RELOAD NOSAVE"), "+OK");
    assert_eq!(run(&mut own, "DEBUG DIGEST"), before);
    assert_eq!(run(&mut own, "DEBUG RELOAD"), "+OK");
    assert_eq!(run(&mut own, "DEBUG DIGEST"), before);
    assert_eq!(run(&mut session(&open(folder.path(), "").unwrap()), "DEBUG DIGEST"), before);
    assert!(run(&mut own, "DEBUG RELOAD NOSAVE NOFLUSH").contains("twice"));
    assert_eq!(run(&mut own, "DEBUG RELOAD NOSAVE NOFLUSH MERGE"), "+OK");
    assert_eq!(run(&mut own, "DEBUG DIGEST"), before);
}

#[test]
fn what_is_remembered_of_use_is_kept() {
    for (policy, ask) in [("allkeys-lru", "OBJECT IDLETIME k"), ("allkeys-lfu", "OBJECT FREQ k")] {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("maxmemory 100mb\nmaxmemory-policy {policy}\nlfu-decay-time 0\n");
        let payload = {
            let engine = open(folder.path(), &options).unwrap();
            let mut session = session(&engine);
            run(&mut session, "SET k v");
            session.execute(&[b"DUMP", b"k"]).to_vec()
        };
        let payload =
            &payload[payload.iter().position(|byte| *byte == b'\n').unwrap() + 1..payload.len() - 2];
        let engine = open(folder.path(), &options).unwrap();
        let mut first = session(&engine);
        let option: [&[u8]; 2] =
            if ask.ends_with("IDLETIME k") { [b"IDLETIME", b"5000"] } else { [b"FREQ", b"77"] };
        first.execute(&[b"RESTORE", b"k", b"0", payload, option[0], option[1]]);
        let before = run(&mut first, ask);
        assert_ne!(before, ":0");
        run(&mut first, "SAVE");
        let mut second = session(&open(folder.path(), &options).unwrap());
        let (before, after) = (number(&before), number(&run(&mut second, ask)));
        assert!((before..before + 60).contains(&after), "{policy}: {before}, {after}");
    }
}

fn number(reply: &str) -> u64 {
    reply[1..].parse().unwrap_or_else(|_| panic!("{reply}"))
}

#[test]
fn snapshots_are_taken_as_the_options_say() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), "save 1 2\n").unwrap();
    let mut session = session(&engine);
    run(&mut session, "SET a 1");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(info(&mut session, "rdb_saves"), "0", "one change is too few");
    run(&mut session, "SET b 1");
    wait_until("the snapshot", || folder.path().join("dump.rdb").exists());
    wait_for_save(&mut session);
    assert_eq!(info(&mut session, "rdb_changes_since_last_save"), "0");
}

#[test]
fn writes_are_refused_while_snapshots_fail() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let engine = open(&inner, "save 3600 1\n").unwrap();
    let mut session = session(&engine);
    run(&mut session, "SET k v");
    fs::remove_dir(&inner).unwrap();
    assert!(run(&mut session, "SAVE").contains("No such file"));
    assert_eq!(run(&mut session, "BGSAVE"), "+Background saving started");
    wait_for_save(&mut session);
    assert_eq!(info(&mut session, "rdb_last_bgsave_status"), "err");
    assert!(run(&mut session, "SET k w").starts_with("-MISCONF Valkey is configured to save RDB"));
    assert_eq!(run(&mut session, "GET k"), "$1 v");
    let db = engine.database(0).unwrap();
    assert_eq!(db.set("k", "w").unwrap_err().kind(), ErrorKind::Misconf);
    assert_eq!(db.incr("number", 1).unwrap_err().kind(), ErrorKind::Misconf);
    assert_eq!(db.delete("k").unwrap_err().kind(), ErrorKind::Misconf);
    run(&mut session, "CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(run(&mut session, "SET k w"), "+OK");
    run(&mut session, "CONFIG SET stop-writes-on-bgsave-error yes");
    assert!(run(&mut session, "SET k v").starts_with("-MISCONF"));
    fs::create_dir(&inner).unwrap();
    assert_eq!(run(&mut session, "SAVE"), "+OK");
    assert_eq!(run(&mut session, "SET k v"), "+OK");
    db.set("k", "w").unwrap();
}

#[test]
fn one_snapshot_is_written_at_a_time_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), "").unwrap();
    let mut session = session(&engine);
    let progress = engine.inner.persistence.begin(Task::Save, Manner::Waited).unwrap();
    for line in ["SAVE", "BGSAVE", "BGSAVE SCHEDULE"] {
        assert_eq!(run(&mut session, line), "-ERR Background save already in progress", "{line}");
    }
    assert_eq!(run(&mut session, "BGSAVE CANCEL"), "+Background saving cancelled");
    let error = engine.inner.persistence.run(&engine.inner.keyspace, &progress).unwrap_err();
    assert!(error.to_string().contains("cancelled"));
    let nothing = "-ERR Background saving is currently not in progress or scheduled";
    assert_eq!(run(&mut session, "BGSAVE CANCEL"), nothing);
    assert_eq!(info(&mut session, "rdb_last_bgsave_status"), "ok");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_snapshot_keeps_the_engine_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dump.rdb"), b"REDIS0011\xff\0\0\0\0\0\0\0\x01").unwrap();
    let error = open(folder.path(), "").map(drop).unwrap_err();
    assert!(error.to_string().contains("its checksum is wrong"), "{error}");
    assert!(open(folder.path(), "rdbchecksum no\n").is_ok());
}

#[test]
fn an_engine_that_is_closed_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let engine = open(folder.path(), "").unwrap();
        let mut session = session(&engine);
        for number in 0..2000 {
            run(&mut session, &format!("SET key:{number} {number}"));
        }
        run(&mut session, "BGSAVE");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "dump.rdb"), "{left:?}");
}

#[test]
fn snapshots_go_to_any_path_and_come_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.rdb");
    for path in [None, Some(folder.path().join("app.ks"))] {
        let builder = Engine::builder().config(Config::from_text(b"enable-debug-command yes\n").unwrap());
        let engine = match &path {
            None => builder.open().unwrap(),
            Some(path) => builder.path(path).open().unwrap(),
        };
        let mut own = session(&engine);
        for line in ["SET text value EX 1000", "RPUSH list a b", "SELECT 2", "SET other 1", "SELECT 0"] {
            run(&mut own, line);
        }
        let before = run(&mut own, "DEBUG DIGEST");
        engine.snapshot(&copy).unwrap();
        for line in ["SET more 1", "DEL list", "FLUSHALL", "SET x 1"] {
            run(&mut own, line);
        }
        let other = run(&mut own, "DEBUG DIGEST");
        assert!(engine.restore(folder.path().join("none")).is_err());
        let damaged = folder.path().join("damaged");
        let bytes = fs::read(&copy).unwrap();
        fs::write(&damaged, &bytes[..bytes.len() - 3]).unwrap();
        assert!(engine.restore(&damaged).is_err());
        assert_eq!(run(&mut own, "DEBUG DIGEST"), other, "nothing was changed");
        engine.restore(&copy).unwrap();
        assert_eq!(run(&mut own, "DEBUG DIGEST"), before);
        assert_eq!(run(&mut own, "APPEND text more"), ":9");
        let after = run(&mut own, "DEBUG DIGEST");
        drop((own, engine));
        if let Some(path) = path {
            let config = Config::from_text(b"enable-debug-command yes\n").unwrap();
            let engine = Engine::builder().path(path).config(config).open().unwrap();
            assert_eq!(run(&mut session(&engine), "DEBUG DIGEST"), after);
        }
    }
}
