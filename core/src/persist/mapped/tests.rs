//! Snapshots of Keystead's own format: what was saved is there again, mapped or read, and damage is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{Head, altered};
use super::{MappedFile, PAGES_AT, seed_in};
use crate::keyspace::image::{DatabaseImage, Image};
use crate::persist::tests::{info, run, session, wait_until};
use crate::store::HashSeed;
use crate::{Clock, Config, Engine, Session};

fn open_with(folder: &Path, more: &str) -> crate::Result<Engine> {
    let config = Config::from_text(format!("enable-debug-command yes\n{more}").as_bytes())?;
    Engine::builder().path(folder).config(config).open()
}

/// Something of every type and encoding, in several databases; more of each key with a larger `size`.
fn fill(session: &mut Session, size: usize) {
    for db in [0, 3, 12] {
        run(session, &format!("SELECT {db}"));
        for line in [
            "SET text value",
            "SET number 12345",
            "SET late value PX 100000",
            "HSET hash f 1 g 2",
            "HSET short-lived f 1 g 2 h 3",
            "HPEXPIRE short-lived 100000 FIELDS 1 f",
            "RPUSH list a b c",
            "SADD ints 1 2 3",
            "SADD set a b c",
            "ZADD zset 1.5 a 2 b",
            "DEL stream groups",
            "XADD stream 1-1 f v",
            "XADD groups 1-1 f v",
            "XGROUP CREATE groups g 0",
            "XREADGROUP GROUP g c STREAMS groups >",
            "SETBIT bits 100000 1",
            "PFADD log a b c",
        ] {
            let reply = run(session, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        run(session, &format!("SET long {}", "x".repeat(80_000 + size)));
        run(session, &format!("SET {} v", "long-key".repeat(200)));
        run(session, &format!("SET {} v", "huge-key".repeat(200_000)));
        run(session, &format!("SET {} {}", "k".repeat(300), "v".repeat(60_000)));
        for at in 0..size {
            for line in [
                format!("SET key:{at} {at}-{}", "v".repeat(at % 300)),
                format!("SET due:{at} {at} PX {}", 1_000_000 + at),
                format!("HSET large f{at} {at}"),
                format!("RPUSH sequence {at}"),
                format!("SADD members m{at}"),
                format!("ZADD scores {at} m{at}"),
                format!("XADD entries {}-1 f {at}", at + 1),
            ] {
                run(session, &line);
            }
        }
    }
    run(session, "SELECT 0");
}

fn base(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("appendonlydir/appendonly.aof.{number}.base.ks"))
}

fn digest(session: &mut Session) -> String {
    run(session, "DEBUG DIGEST")
}

/// Everything that a client sees of a database.
fn sizes(session: &mut Session) -> String {
    let mut sizes = String::new();
    for db in [0, 3, 12] {
        run(session, &format!("SELECT {db}"));
        sizes += &run(session, "DBSIZE");
        for key in
            ["text", "number", "hash", "large", "sequence", "members", "scores", "entries", "groups", "long"]
        {
            sizes += &run(session, &format!("OBJECT ENCODING {key}"));
        }
        sizes += &run(session, "XINFO STREAM entries");
        sizes += &run(session, "HPEXPIRETIME short-lived FIELDS 2 f g");
    }
    run(session, "SELECT 0");
    sizes
}

#[test]
fn what_was_saved_is_there_again_mapped_or_read() {
    for (size, how) in
        [(0, ""), (1000, ""), (1000, "snapshot-map no\n"), (1000, "snapshot-verify-at-open yes\n")]
    {
        let folder = tempfile::tempdir().unwrap();
        let (before, told) = {
            let mut session = session(&open_with(folder.path(), "").unwrap());
            fill(&mut session, size);
            assert_eq!(run(&mut session, "SAVE"), "+OK");
            assert!(base(folder.path(), 2).exists() && !base(folder.path(), 1).exists());
            run(&mut session, "SET behind the-base");
            (digest(&mut session), sizes(&mut session))
        };
        let engine = open_with(folder.path(), how).unwrap();
        assert!(engine.opening_notes().is_empty());
        assert!(
            engine.inner.keyspace.shared.region().is_spared(crate::store::memory::Ref::new(600).unwrap())
                != how.contains("map")
        );
        let mut session = session(&engine);
        assert_eq!(digest(&mut session), before, "{size} {how}");
        assert_eq!(sizes(&mut session), told, "{size} {how}");
        // All of it can be changed, and is there again after that, too.
        fill(&mut session, size / 2);
        run(&mut session, "DEL large members");
        assert_eq!(run(&mut session, "SELECT 3"), "+OK");
        run(&mut session, "FLUSHDB");
        let before = digest(&mut session);
        drop((session, engine));
        let engine = open_with(folder.path(), how).unwrap();
        let mut session = crate::persist::tests::session(&engine);
        assert_eq!(digest(&mut session), before, "{size} {how}");
        run(&mut session, "FLUSHALL");
        assert_eq!(run(&mut session, "DBSIZE"), ":0");
    }
}

#[test]
fn every_byte_is_guarded() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open_with(folder.path(), "").unwrap());
        run(&mut session, "SET text value PX 1000000");
        run(&mut session, "RPUSH list a b c");
        run(&mut session, "SAVE");
    }
    let path = base(folder.path(), 2);
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let read = MappedFile::open(fs::File::open(&path).unwrap(), &path);
        let error = read.and_then(|file| file.verify(|| true)).expect_err(what).to_string();
        assert!(
            error.contains("2.base.ks is damaged at byte") || error.contains("version"),
            "{what}: {error}"
        );
        error
    };
    for at in (0..whole.len()).filter(|at| at % 997 == 0 || *at < 120 || whole[*at] != 0) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        refused(&bytes, &format!("byte {at}"));
    }
    for len in (0..whole.len()).step_by(4093).chain([1, 100, 4095, 4096, whole.len() - 1]) {
        refused(&whole[..len], &format!("cut at {len}"));
    }
    let error = refused(&[&whole[..], b"x"].concat(), "a byte more");
    assert_eq!(open_with(folder.path(), "").err().unwrap().to_string(), error);
    fs::write(&path, &whole).unwrap();
    let mut session = session(&open_with(folder.path(), "").unwrap());
    assert_eq!(run(&mut session, "GET text"), "$5 value");
}

#[test]
fn damage_of_a_large_file_is_found_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open_with(folder.path(), "").unwrap());
        (0..400).for_each(|at| _ = run(&mut session, &format!("SET key:{at} {}", "v".repeat(10_000))));
        run(&mut session, "SAVE");
    }
    let path = base(folder.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(10_000).rposition(|bytes| bytes.iter().all(|byte| *byte == b'v')).unwrap();
    bytes[at + 5_000] = b'w';
    fs::write(&path, bytes).unwrap();
    assert!(open_with(folder.path(), "snapshot-verify-at-open yes\n").is_err());
    let engine = open_with(folder.path(), "").unwrap();
    let mut session = session(&engine);
    wait_until("writes to be refused", || run(&mut session, "SET k v").contains("checksum is wrong"));
    assert!(run(&mut session, "SAVE").contains("checksum is wrong"));
    assert_eq!(run(&mut session, "STRLEN key:7"), ":10000");
}

#[test]
fn what_expires_is_reclaimed_though_no_timer_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open_with(folder.path(), "").unwrap());
        for at in 0..300 {
            run(&mut session, &format!("SET key:{at} v PX {}", if at % 2 == 0 { 400 } else { 900_000 }));
        }
        run(&mut session, "HSET hash f 1 g 2");
        run(&mut session, "HPEXPIRE hash 400 FIELDS 1 f");
        run(&mut session, "HSET gone f 1");
        run(&mut session, "HPEXPIRE gone 400 FIELDS 1 f");
        run(&mut session, "SAVE");
    }
    let engine = open_with(folder.path(), "").unwrap();
    let mut session = session(&engine);
    wait_until("keys and fields to go", || run(&mut session, "DBSIZE") == ":151");
    wait_until("the field to go", || run(&mut session, "HLEN hash") == ":1");
    assert_eq!(info(&mut session, "rdb_last_load_keys_loaded").parse::<u32>().unwrap() % 302, 0);
    assert_eq!(run(&mut session, "HPEXPIRE hash 1 FIELDS 1 g"), "*1 :1");
    wait_until("the last field to go", || run(&mut session, "EXISTS hash") == ":0");
}

#[test]
fn uses_are_remembered_and_reading_leaves_the_map_alone() {
    for (policy, more) in
        [("noeviction", ""), ("allkeys-lru", "maxmemory 100mb\n"), ("allkeys-lfu", "lfu-log-factor 0\n")]
    {
        let folder = tempfile::tempdir().unwrap();
        let open = |at_ms| {
            let config = format!("enable-debug-command yes\nmaxmemory-policy {policy}\n{more}");
            let config = Config::from_text(config.as_bytes()).unwrap();
            let clock = Clock::manual(at_ms);
            Engine::builder().path(folder.path()).config(config).clock(clock).open().unwrap()
        };
        {
            let engine = open(1_000_000);
            let mut session = session(&engine);
            run(&mut session, "SET old v");
            (0..50).for_each(|_| _ = run(&mut session, "GET old"));
            engine.advance(Duration::from_secs(100));
            run(&mut session, "SET new v");
            engine.advance(Duration::from_secs(20));
            run(&mut session, "SAVE");
        }
        let engine = open(1_180_000);
        let mut session = session(&engine);
        if policy == "allkeys-lfu" {
            let count = |session: &mut Session, key| run(session, &format!("OBJECT FREQ {key}"));
            let (old, new) = (count(&mut session, "old"), count(&mut session, "new"));
            assert!(old[1..].parse::<u32>().unwrap() > new[1..].parse::<u32>().unwrap(), "{old} {new}");
            continue;
        }
        assert_eq!(run(&mut session, "OBJECT IDLETIME old"), ":180", "{policy}");
        assert_eq!(run(&mut session, "OBJECT IDLETIME new"), ":80", "{policy}");
        run(&mut session, "GET old");
        // Where nothing can be evicted, no page is copied for it.
        let expected = if policy == "noeviction" { ":180" } else { ":0" };
        assert_eq!(run(&mut session, "OBJECT IDLETIME old"), expected, "{policy}");
        run(&mut session, "SET new w");
        assert_eq!(run(&mut session, "OBJECT IDLETIME new"), ":0", "{policy}");
    }
}

#[test]
fn copies_go_where_there_is_something_and_where_keys_are_hashed_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.ks");
    let (before, told) = {
        let engine = open_with(&folder.path().join("app"), "").unwrap();
        let mut session = session(&engine);
        fill(&mut session, 200);
        engine.snapshot(&copy).unwrap();
        (digest(&mut session), sizes(&mut session))
    };
    let config = Config::from_text(b"enable-debug-command yes\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut own = session(&engine);
    run(&mut own, "SET something else");
    engine.restore(&copy).unwrap();
    assert_eq!((digest(&mut own), sizes(&mut own)), (before, told));
    // A file that is damaged changes nothing.
    let mut bytes = fs::read(&copy).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&copy, bytes).unwrap();
    assert!(engine.restore(&copy).is_err());
    assert_eq!(digest(&mut own), digest(&mut own));
    // Of another seed.
    let path = folder.path().join("app");
    let before = {
        let mut session = session(&open_with(&path, "").unwrap());
        run(&mut session, "SAVE");
        digest(&mut session)
    };
    let seed = seed_in(&base(&path, 2)).unwrap().number();
    let config = Config::from_text(b"enable-debug-command yes\n").unwrap();
    let other = Engine::builder().path(&path).config(config).seed(HashSeed::of(seed ^ 1)).open().unwrap();
    assert_eq!(digest(&mut session(&other)), before);
}

#[test]
fn snapshots_without_a_log_are_of_the_same_format() {
    let folder = tempfile::tempdir().unwrap();
    let open = || open_with(folder.path(), "appendonly no\n").unwrap();
    let before = {
        let mut session = session(&open());
        fill(&mut session, 50);
        assert_eq!(run(&mut session, "SAVE"), "+OK");
        digest(&mut session)
    };
    assert!(folder.path().join("dump.ks").exists());
    let engine = open();
    let mut session = session(&engine);
    assert_eq!(digest(&mut session), before);
    run(&mut session, "SET more v");
    assert_eq!(run(&mut session, "DEBUG RELOAD"), "+OK");
    assert_ne!(digest(&mut session), before);
    assert_eq!(run(&mut session, "DEL more"), ":1");
    assert_eq!(digest(&mut session), before);
    assert_eq!(run(&mut session, "SAVE"), "+OK");
    run(&mut session, "FLUSHALL");
    drop((session, engine));
    // With a log it is where that begins.
    let engine = open_with(folder.path(), "").unwrap();
    assert!(engine.opening_notes()[0].contains("snapshot was imported"));
    let mut session = crate::persist::tests::session(&engine);
    assert_eq!(digest(&mut session), before);
    // DEBUG RELOAD NOSAVE goes back to what was saved last.
    assert_eq!(run(&mut session, "SAVE"), "+OK");
    run(&mut session, "SET more v");
    assert_eq!(run(&mut session, "DEBUG RELOAD NOSAVE"), "+OK");
    assert_eq!(digest(&mut session), before);
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(tsan, ignore = "ThreadSanitizer handles the signal itself")]
fn a_file_that_somebody_cuts_off_does_not_end_the_process() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open_with(folder.path(), "").unwrap());
        (0..400).for_each(|at| _ = run(&mut session, &format!("SET key:{at} {}", "v".repeat(5_000))));
        run(&mut session, "SAVE");
    }
    let engine = open_with(folder.path(), "").unwrap();
    let file = fs::OpenOptions::new().write(true).open(base(folder.path(), 2)).unwrap();
    file.set_len(PAGES_AT).unwrap();
    let mut session = session(&engine);
    let found = (0..400).filter(|at| run(&mut session, &format!("GET key:{at}")).starts_with("$5000"));
    assert!(found.count() < 400);
    // By whoever notices first: who verifies the file, or who looks after the map.
    wait_until("writes to be refused", || run(&mut session, "SET k v").starts_with('-'));
}

#[test]
fn keys_that_came_with_a_file_are_evicted() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-adaptive", "allkeys-random", "volatile-ttl"] {
        let folder = tempfile::tempdir().unwrap();
        {
            let mut session = session(&open_with(folder.path(), "").unwrap());
            (0..500)
                .for_each(|at| _ = run(&mut session, &format!("SET key:{at} {} EX 9999", "v".repeat(5_000))));
            run(&mut session, "SAVE");
        }
        let limits = format!("maxmemory 2mb\nmaxmemory-policy {policy}\n");
        let engine = open_with(folder.path(), &limits).unwrap();
        let mut session = session(&engine);
        for at in 0..200 {
            let reply = run(&mut session, &format!("SET new:{at} {} EX 9999", "v".repeat(5_000)));
            assert_eq!(reply, "+OK", "{policy} {at}");
        }
        let left = run(&mut session, "DBSIZE")[1..].parse::<u32>().unwrap();
        assert!((200..420).contains(&left), "{policy}: {left}");
    }
}

/// A file whose checksums are right, and numbers are not.
type Change = fn(&mut Head, &mut Image);

/// The first shard that has a table with deadlines of fields.
fn table(image: &mut Image) -> &mut crate::keyspace::image::TableImage {
    let mut tables = image.shards.iter_mut().flat_map(|shard| &mut shard.tables);
    tables.find(|table| !table.inside.is_empty()).expect("there is one")
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open_with(folder.path(), "").unwrap());
        for line in [
            "SET text value",
            "HSET hash f 1 g 2",
            "HPEXPIRE hash 1000000 FIELDS 1 f",
            "SETBIT bits 100000 1",
        ] {
            run(&mut session, line);
        }
        run(&mut session, "SAVE");
    }
    let path = base(folder.path(), 2);
    let whole = fs::read(&path).unwrap();
    let changes: &[(&str, Change)] = &[
        ("made", |head, _| head.made_ms = u64::MAX),
        ("stamps", |head, _| head.stamps = 3),
        ("pages", |head, _| head.pages = 1 << 23),
        ("no pages", |head, _| head.pages = 1),
        ("shareable", |head, _| head.shareable = head.pages),
        ("meta at 0", |head, _| head.meta_at = 0),
        ("meta in a page", |head, _| head.meta_at += 8),
        ("meta at the end", |head, _| head.meta_at = u64::MAX - 4095),
        ("length of the meta", |head, _| head.meta_len = u64::MAX),
        ("meta goes on", |head, _| head.meta_len += 4),
        ("keys", |head, _| head.keys += 1),
        ("rows", |_, image| image.databases[0].rows = u32::MAX),
        ("no rows", |_, image| image.databases[0].rows = 0),
        ("rows that overflow", |_, image| {
            let more = DatabaseImage { number: 0, rows: u32::MAX };
            image.databases.extend((1..1 << 18).map(|number| DatabaseImage { number, ..more }));
        }),
        ("a database twice", |_, image| image.databases.push(image.databases[0])),
        ("a table of no database", |_, image| table(image).database = 1),
        ("longest chain", |_, image| table(image).table[1] |= u64::MAX << 32),
        ("overflow", |_, image| table(image).table[1] |= 0xffff_ffff),
        ("entries", |head, image| {
            table(image).table[0] |= u64::MAX << 32;
            let tables = image.shards.iter().flat_map(|shard| &shard.tables);
            head.keys = tables.map(|table| table.table[0] >> 32).sum();
        }),
        ("deadlines", |_, image| table(image).with_deadline = 4),
        ("deadlines of none", |_, image| table(image).deadlines = 1),
        ("inside nothing", |_, image| table(image).inside[0] = 0),
        ("inside what is free", |_, image| table(image).inside[0] = (image.pages) * 512),
        ("inside twice", |_, image| {
            let inside = &mut table(image).inside;
            inside.push(inside[0]);
        }),
        ("used", |_, image| image.shards.iter_mut().for_each(|shard| shard.used = 1 << 40)),
        ("owners", |_, image| image.shards[0].owners = u64::MAX),
        ("runs", |_, image| {
            let run = (image.pages - 1, 2);
            image.shards[0].runs.push(run);
        }),
        ("runs that overlap", |_, image| {
            let runs: Vec<_> = image.shards.iter().flat_map(|shard| shard.runs.clone()).collect();
            image.shards[0].huge.push(runs[0]);
        }),
    ];
    for (what, change) in changes {
        fs::write(&path, altered(&whole, change)).unwrap();
        let error = open_with(folder.path(), "").err().unwrap_or_else(|| panic!("{what}: it was opened"));
        assert!(error.to_string().contains("makes no sense"), "{what}: {error}");
    }
    // Where no hash begins that is in the table, no timer is armed, and nothing else happens.
    for offset in [1, 2, 3] {
        let change = |_: &mut Head, image: &mut Image| table(image).inside[0] += offset;
        fs::write(&path, altered(&whole, change)).unwrap();
        let mut session = session(&open_with(folder.path(), "").unwrap());
        assert_eq!(run(&mut session, "HGET hash f"), "$1 1");
    }
    // Many databases take no longer than their number.
    let many = |_: &mut Head, image: &mut Image| {
        image.databases.extend((1..300_000).map(|number| DatabaseImage { number, rows: 0 }));
    };
    fs::write(&path, altered(&whole, many)).unwrap();
    let error = open_with(folder.path(), "").err().unwrap().to_string();
    assert!(error.contains("more databases than"), "{error}");
    fs::write(&path, altered(&whole, |_, _| ())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}
