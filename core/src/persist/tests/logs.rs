//! Logs: what is acknowledged is there again, whatever happens in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{info, run, session, wait_until};
use crate::{Clock, Config, Engine, ErrorKind, Session};

pub(super) fn open_with(folder: &Path, more: &str) -> crate::Result<Engine> {
    let config = Config::from_text(format!("enable-debug-command yes\n{more}").as_bytes())?;
    Engine::builder().path(folder).config(config).open()
}

fn open(folder: &Path) -> Engine {
    open_with(folder, "").unwrap()
}

/// What a kill would leave at this moment: what was written to files, mapped or not. Nobody may be writing.
pub(super) fn as_killed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn log_file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("appendonlydir/appendonly.aof.{number}.incr.aof"))
}

fn digest(session: &mut Session) -> String {
    run(session, "DEBUG DIGEST")
}

const LINES: [&str; 14] = [
    "SET text value",
    "SET late value PX 100000",
    "INCRBY number 41",
    "APPEND text more",
    "HSET hash f 1 g 2",
    "HPEXPIRE hash 100000 FIELDS 1 f",
    "RPUSH list a b c",
    "LPOP list",
    "SADD set 1 2 3 x",
    "SPOP set",
    "ZADD zset 1.5 a 2 b",
    "XADD stream * f v",
    "SETRANGE range 1000 x",
    "MSET a 1 b 2",
];

#[test]
fn what_was_acknowledged_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mut own = session(&engine);
    for line in LINES {
        assert!(!run(&mut own, line).starts_with('-'), "{line}");
        let copy = as_killed(folder.path());
        let again = open(copy.path());
        assert_eq!(digest(&mut session(&again)), digest(&mut own), "behind {line}");
    }
    run(&mut own, "SELECT 5");
    for line in ["MULTI", "SET a 1", "DEL a", "SELECT 6", "SET b 2", "EXEC"] {
        run(&mut own, line);
    }
    run(&mut own, &format!("SET long {}", "x".repeat(3 << 20)));
    run(&mut own, "SET behind it");
    let before = digest(&mut own);
    assert_eq!(digest(&mut session(&open(as_killed(folder.path()).path()))), before);
    drop((own, engine));
    let engine = open(folder.path());
    assert_eq!(digest(&mut session(&engine)), before);
    assert!(engine.opening_notes().is_empty(), "{:?}", engine.opening_notes());
    assert_eq!(info(&mut session(&engine), "aof_enabled"), "1");
}

#[test]
fn typed_calls_are_logged_too() {
    let folder = tempfile::tempdir().unwrap();
    {
        let engine = open(folder.path());
        let db = engine.database(0).unwrap();
        db.set("text", "value").unwrap();
        db.set("text", "other").unwrap();
        db.incr("number", 7).unwrap();
        db.hset("hash", "field", "value").unwrap();
        db.set("gone", "soon").unwrap();
        db.delete("gone").unwrap();
    }
    let mut session = session(&open(folder.path()));
    assert_eq!(run(&mut session, "MGET text number gone"), "*3 $5 other $1 7 $-1");
    assert_eq!(run(&mut session, "HGET hash field"), "$5 value");
}

#[test]
fn the_files_are_the_servers() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "aof-timestamp-enabled yes\nbase-format rdb\n").unwrap();
    let mut session = session(&engine);
    for line in ["SET a 1", "SELECT 3", "MULTI", "SET b 2", "INCR b", "EXEC"] {
        run(&mut session, line);
    }
    drop((session, engine));
    let manifest = fs::read_to_string(folder.path().join("appendonlydir/appendonly.aof.manifest")).unwrap();
    let expected =
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    assert_eq!(manifest, expected);
    let log = fs::read_to_string(log_file(folder.path(), 1)).unwrap();
    let words: Vec<&str> = log.split("\r\n").filter(|word| !word.starts_with(['*', '$', '#'])).collect();
    assert_eq!(words.join(" ").trim_end(), "SELECT 0 SET a 1 SELECT 3 MULTI SET b 2 INCR b EXEC");
    assert!(log.starts_with("#KS:0:") && log.contains("\r\n#TS:") && log.contains(":0:"), "{log}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for entry in fs::read_dir(folder.path().join("appendonlydir")).unwrap().map(Result::unwrap) {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }
}

#[test]
fn time_is_that_of_the_log_while_it_is_loaded() {
    const START: u64 = 1_700_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let open = |now| Engine::builder().path(folder.path()).clock(Clock::manual(now)).open().unwrap();
    {
        let engine = open(START);
        let mut session = session(&engine);
        for line in
            ["SET short 1 PX 100", "SET longer 1 PX 100", "HSET hash f 1 g 2", "HPEXPIRE hash 100 FIELDS 1 f"]
        {
            run(&mut session, line);
        }
        engine.advance(Duration::from_millis(50));
        for line in ["INCR short", "INCR longer", "PEXPIRE longer 1000000", "HINCRBY hash f 5"] {
            run(&mut session, line);
        }
    }
    let engine = open(START + 60_000);
    let mut session = session(&engine);
    assert_eq!(
        run(&mut session, "EXISTS short"),
        ":0",
        "it has expired in the meantime, whatever was done with it"
    );
    assert_eq!(run(&mut session, "GET longer"), "$1 2");
    assert_eq!(run(&mut session, "PTTL longer"), ":940050");
    assert_eq!(run(&mut session, "HGETALL hash"), "*2 $1 g $1 2");
    assert_eq!(run(&mut session, "TIME"), "*2 $10 1700000060 $1 0");
}

#[test]
fn a_rewritten_log_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mut own = session(&engine);
    for number in 0..5000 {
        run(&mut own, &format!("SET filler:{number} {number}"));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for pair in 0..3 {
            let (engine, stop) = (&engine, &stop);
            scope.spawn(move || {
                let mut session = session(engine);
                while !stop.load(Ordering::Relaxed) {
                    for line in [
                        "MULTI",
                        "INCR one:N",
                        "INCR other:N",
                        "RPUSH list:N 1",
                        "EXEC",
                        "SPOP set:N",
                        "SADD set:N 1 2 3",
                    ] {
                        run(&mut session, &line.replace('N', &pair.to_string()));
                    }
                }
            });
        }
        // With a snapshot or with commands to begin with, in turn.
        for preamble in ["yes", "no", "yes", "yes", "no"] {
            assert_eq!(run(&mut own, &format!("CONFIG SET aof-use-rdb-preamble {preamble}")), "+OK");
            assert_eq!(run(&mut own, "BGREWRITEAOF"), "+Background append only file rewriting started");
            wait_until("the rewrite", || info(&mut own, "aof_rewrite_in_progress") == "0");
            assert_eq!(info(&mut own, "aof_last_bgrewrite_status"), "ok");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let before = digest(&mut own);
    let copy = as_killed(folder.path());
    assert_eq!(digest(&mut session(&open(copy.path()))), before);
    let mut files: Vec<_> = fs::read_dir(folder.path().join("appendonlydir"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = ["6.base.ks", "6.incr.aof", "manifest", "ring"];
    assert_eq!(files, expected.map(|name| format!("appendonly.aof.{name}")));
}

#[test]
fn a_log_that_grows_is_rewritten_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "auto-aof-rewrite-min-size 10kb\n").unwrap();
    let mut session = session(&engine);
    for _ in 0..3 {
        for number in 0..2000 {
            run(&mut session, &format!("SET k {number}"));
        }
        // What is written during a rewrite counts as the log's length after it: there may be more of it than the least that is rewritten.
        wait_until("the log to be as short as the options say", || {
            let [now, base] = ["aof_current_size", "aof_base_size"]
                .map(|name| info(&mut session, name).parse::<u64>().unwrap());
            now <= 10 << 10 || (base > 0 && now < 2 * base)
        });
    }
    // The first base is a hundred bytes.
    assert!(info(&mut session, "aof_rewrites").parse::<u64>().unwrap() >= 1);
    assert_eq!(run(&mut session, "GET k"), "$4 1999");
}

#[test]
fn an_end_that_is_cut_off_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open(folder.path()));
        for line in ["SET a 1", "MULTI", "SET b 1", "SET c 1", "EXEC"] {
            run(&mut session, line);
        }
    }
    let path = log_file(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).rev() {
        fs::write(&path, &whole[..len]).unwrap();
        if len.is_multiple_of(20) && len > 0 {
            let refused = open_with(folder.path(), "aof-load-truncated no\n");
            let is_whole = refused.is_ok();
            let text = refused.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(is_whole || text.contains("Unexpected end of file"), "{len}: {text}");
            fs::write(&path, &whole[..len]).unwrap();
        }
        let engine = open(folder.path());
        let mut session = session(&engine);
        let left = fs::metadata(&path).unwrap().len();
        assert_eq!(
            engine.opening_notes().is_empty(),
            left == len as u64,
            "{len}: {:?}",
            engine.opening_notes()
        );
        assert_eq!(run(&mut session, "EXISTS b"), run(&mut session, "EXISTS c"), "{len}");
        drop((session, engine));
        assert_eq!(fs::read(&path).unwrap(), whole[..left as usize], "{len}");
    }
}

#[test]
fn damage_keeps_the_engine_closed() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut session = session(&open(folder.path()));
        for line in ["SET a 1", "SET b 1"] {
            run(&mut session, line);
        }
    }
    let path = log_file(folder.path(), 1);
    let own = fs::read_to_string(&path).unwrap();
    // As a server writes it: nothing but its commands tells what it should be.
    let whole: String = own.split_inclusive('\n').filter(|line| !line.starts_with("#KS:")).collect();
    let refused = |damaged: &str, text: &str| {
        fs::write(&path, damaged).unwrap();
        let error = open_with(folder.path(), "").map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(text), "{error}");
    };
    refused(&whole.replacen("*3", "*x", 1), "damaged at byte 23");
    refused(&whole.replacen("SET", "SEX", 1), "unknown command 'SEX'");
    refused(&whole.replacen("$3\r\nSET", "$5\r\nBLPOP", 1), "no command for a log");
    refused(&own.replacen("$1\r\n1", "$1\r\n2", 1), "is damaged behind byte");
    refused(&own.replacen("*3", "*x", 1), "is damaged behind byte 0");
    fs::write(&path, &own).unwrap();
    let manifest = folder.path().join("appendonlydir/appendonly.aof.manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("seq 1", "seq x")).unwrap();
    assert!(open_with(folder.path(), "").map(drop).unwrap_err().to_string().contains("manifest"));
    fs::write(&manifest, text.replace("1.incr", "2.incr")).unwrap();
    assert!(open_with(folder.path(), "").map(drop).unwrap_err().to_string().contains("No such file"));
    fs::write(&manifest, text).unwrap();
    assert_eq!(run(&mut session(&open(folder.path())), "MGET a b"), "*2 $1 1 $1 1", "nothing was changed");
}

#[test]
fn commands_that_fail_are_told() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut session(&open(folder.path())), "SET a text");
    let path = log_file(folder.path(), 1);
    let log =
        fs::read_to_string(&path).unwrap() + "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n";
    fs::write(&path, log).unwrap();
    let engine = open(folder.path());
    assert_eq!(run(&mut session(&engine), "MGET a b"), "*2 $4 text $1 1");
    assert!(engine.opening_notes()[0].starts_with("1 commands of the log had errors for replies"));
}

#[test]
fn a_folder_is_one_engines() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    run(&mut session(&engine), "SET k v");
    let same = open(&folder.path().join("../").join(folder.path().file_name().unwrap()));
    assert_eq!(run(&mut session(&same), "GET k"), "$1 v", "every opener in this process has the same");
    let text = format!("dir {}\nappenddirname .\n", folder.path().display());
    let config = Config::from_text(text.as_bytes());
    let other = config.and_then(|config| Engine::builder().config(config).durable().open());
    drop(other);
    drop((engine, same));
    assert_eq!(run(&mut session(&open(folder.path())), "GET k"), "$1 v");
}

#[test]
fn the_log_can_be_ended_and_begun() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "appendonly no\n").unwrap();
    let mut own = session(&engine);
    run(&mut own, "SET before it");
    assert!(!folder.path().join("appendonlydir").exists());
    assert_eq!(run(&mut own, "CONFIG SET appendonly yes"), "+OK");
    run(&mut own, "SET with it");
    let copy = as_killed(folder.path());
    assert_eq!(run(&mut session(&open(copy.path())), "MGET before with"), "*2 $2 it $2 it");
    assert_eq!(run(&mut own, "CONFIG SET appendonly no"), "+OK");
    assert_eq!(info(&mut own, "aof_enabled"), "0");
    run(&mut own, "SET without it");
    assert_eq!(run(&mut own, "CONFIG SET appendonly yes"), "+OK");
    for line in
        ["MULTI", "CONFIG SET appendonly no", "SET k v", "EXEC", "MULTI", "CONFIG SET appendonly yes", "EXEC"]
    {
        run(&mut own, line);
    }
    let copy = as_killed(folder.path());
    assert_eq!(run(&mut session(&open(copy.path())), "MGET without k"), "*2 $2 it $1 v");
}

#[test]
fn what_there_is_without_a_log_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    {
        let engine = open_with(folder.path(), "appendonly no\ndbfilename dump.rdb\n").unwrap();
        let mut session = session(&engine);
        run(&mut session, "SET k snapshot");
        assert_eq!(run(&mut session, "SAVE"), "+OK");
    }
    let snapshot = fs::read(folder.path().join("dump.rdb")).unwrap();
    let engine = open(folder.path());
    assert_eq!(run(&mut session(&engine), "GET k"), "$8 snapshot");
    assert!(engine.opening_notes()[0].contains("snapshot was imported"));
    drop(engine);
    // A log of one file, first without and then with a snapshot before it.
    let command = b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$3\r\nlog\r\n";
    for (start, value) in [(&b""[..], "$3 log"), (&snapshot[..], "$11 snapshotlog")] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dump.rdb"), &snapshot).unwrap();
        fs::write(folder.path().join("appendonly.aof"), [start, command].concat()).unwrap();
        let engine = open(folder.path());
        assert_eq!(run(&mut session(&engine), "GET k"), value);
        assert!(engine.opening_notes()[0].contains("appendonly.aof was imported"));
        drop(engine);
        let engine = open(folder.path());
        assert_eq!(run(&mut session(&engine), "GET k"), value);
        assert!(engine.opening_notes().is_empty());
    }
}

#[test]
fn the_log_is_loaded_again_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mut session = session(&engine);
    for line in LINES {
        run(&mut session, line);
    }
    let before = digest(&mut session);
    assert_eq!(run(&mut session, "DEBUG LOADAOF"), "+OK");
    assert_eq!(digest(&mut session), before);
    run(&mut session, "INCR number");
    assert_eq!(run(&mut session, "DEBUG LOADAOF"), "+OK");
    assert_eq!(run(&mut session, "GET number"), "$2 42");
}

#[test]
fn functions_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = log_file(folder.path(), 1);
    fs::write(&path, "*4\r\n$8\r\nFUNCTION\r\n$4\r\nLOAD\r\n$7\r\nREPLACE\r\n$5\r\n#!lua\r\n").unwrap();
    let rewrite = |format: &str| {
        let engine = open_with(folder.path(), &format!("base-format {format}\n")).unwrap();
        let mut session = session(&engine);
        run(&mut session, "BGREWRITEAOF");
        wait_until("the rewrite", || info(&mut session, "aof_rewrite_in_progress") == "0");
    };
    // From the log to our own format, from that to itself and to the server's, and back.
    for (number, format) in (2..).zip(["snapshot", "snapshot", "rdb", "rdb", "snapshot"]) {
        rewrite(format);
        let (ending, library) =
            if format == "rdb" { ("rdb", &b"\xf5\x05#!lua"[..]) } else { ("ks", &b"#!lua"[..]) };
        let base =
            fs::read(folder.path().join(format!("appendonlydir/appendonly.aof.{number}.base.{ending}")));
        assert!(base.unwrap().windows(library.len()).any(|bytes| bytes == library), "{number} {format}");
    }
}

#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_child_has_a_copy_and_leaves_the_folder_to_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mut own = session(&engine);
    run(&mut own, "SET k parent");
    let is_well = crate::os::in_fork(|| {
        let mut session = engine.session(crate::Form::Resp);
        let read = run(&mut session, "GET k") == "$6 parent";
        let wrote = run(&mut session, "SET k child") == "+OK" && run(&mut session, "GET k") == "$5 child";
        let lines =
            ["BGREWRITEAOF", "SAVE", "BGSAVE", "CONFIG SET appendonly no", "CONFIG SET appendonly yes"];
        let replies = lines.map(|line| run(&mut session, line).starts_with('-'));
        let left = replies == [true, true, true, false, true];
        read && wrote && left && engine.snapshot(folder.path().join("copy")).is_ok()
    });
    assert!(is_well);
    assert_eq!(info(&mut own, "aof_last_write_status"), "ok");
    assert!(!log_file(folder.path(), 2).exists(), "the child has begun a file of the log");
    run(&mut own, "SET other parent");
    assert_eq!(run(&mut own, "GET k"), "$6 parent");
    // A child that lives on does not keep the lock.
    let path = folder.path().to_owned();
    let reopened = crate::os::in_fork(move || {
        drop((own, engine));
        open_with(&path, "").is_err()
    });
    assert!(reopened, "the parent has the folder");
}

#[test]
fn whoever_asks_waits_until_the_log_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "appendfsync no\n").unwrap();
    let mut session = session(&engine);
    run(&mut session, "SET k v");
    assert_eq!(run(&mut session, "WAITAOF 0 0 0"), "*2 :0 :0");
    assert_eq!(run(&mut session, "WAITAOF 1 0 0"), "*2 :1 :0");
    assert_eq!(run(&mut session, "WAITAOF 0 0 0"), "*2 :1 :0");
    for line in ["MULTI", "SET k w", "WAITAOF 1 0 0"] {
        run(&mut session, line);
    }
    assert_eq!(run(&mut session, "EXEC"), "*2 +OK *2 :1 :0", "what it did itself is appended when it ends");
}

#[test]
fn an_engine_ends_with_its_last_opening_whatever_handles_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (open(folder.path()), open(folder.path()));
    let (db, mut own) = (first.database(0).unwrap(), session(&second));
    run(&mut own, "SET a 1");
    first.close_opening().unwrap();
    db.set("b", "2").unwrap();
    second.close_opening().unwrap();
    assert_eq!(db.set("c", "3").unwrap_err().kind(), ErrorKind::Closed);
    for line in ["SET c 3", "BGREWRITEAOF", "SAVE", "CONFIG SET appendonly yes"] {
        assert!(run(&mut own, line).starts_with('-'), "{line}");
    }
    first.snapshot(folder.path().join("copy")).unwrap();
    assert_eq!(first.restore(folder.path().join("copy")).unwrap_err().kind(), ErrorKind::Closed);
    let again = open(folder.path());
    assert_eq!(run(&mut session(&again), "MGET a b c"), "*3 $1 1 $1 2 $-1");
    drop((first, second, db, own));
    run(&mut session(&again), "SET d 4");
    assert!(again.inner.persistence.is_kept(), "the end of the old one is not that of the new one");
    assert_eq!(open(folder.path()).number(), again.number());
    let private = Engine::new();
    private.close_opening().unwrap();
    private.database(0).unwrap().set("a", "1").unwrap();
}

#[test]
fn whoever_opens_while_another_thread_ends_the_engine_waits_for_that() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..30 {
                    open(folder.path()).database(0).unwrap().incr("opened", 1).unwrap();
                }
            });
        }
    });
    assert_eq!(run(&mut session(&open(folder.path())), "GET opened"), "$3 120");
}

#[test]
fn nothing_is_written_while_there_can_be_no_log_of_what_was_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, away) = (folder.path().join("appendonlydir"), folder.path().join("away"));
    let engine = open(folder.path());
    let mut own = session(&engine);
    run(&mut own, "SET a 1");
    engine.snapshot(folder.path().join("copy")).unwrap();
    run(&mut own, "SET a 2");
    fs::rename(&logs, &away).unwrap();
    fs::write(&logs, "in the way").unwrap();
    engine.restore(folder.path().join("copy")).unwrap_err();
    assert_eq!(run(&mut own, "GET a"), "$1 1");
    assert!(run(&mut own, "SET b 1").starts_with('-'), "it would be in no log");
    fs::remove_file(&logs).unwrap();
    fs::rename(&away, &logs).unwrap();
    engine.restore(folder.path().join("copy")).unwrap();
    assert_eq!(run(&mut own, "SET b 1"), "+OK");
    drop((own, engine));
    assert_eq!(run(&mut session(&open(folder.path())), "MGET a b"), "*2 $1 1 $1 1");
}

#[test]
fn an_increment_is_a_new_file_whatever_an_earlier_life_has_left_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let (orphan, link) = (log_file(folder.path(), 2), folder.path().join("link"));
    fs::write(&orphan, "of an earlier life").unwrap();
    fs::hard_link(&orphan, &link).unwrap();
    assert!(run(&mut session(&engine), "BGREWRITEAOF").starts_with('+'));
    wait_until("the rewrite", || info(&mut session(&engine), "aof_rewrite_in_progress") == "0");
    assert!(fs::read(&orphan).unwrap().starts_with(b"#KS:"), "it is the log's now");
    assert_eq!(fs::read_to_string(&link).unwrap(), "of an earlier life", "which a power loss may bring back");
}

#[test]
fn an_engine_ends_while_others_write_and_rewrite() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let engine = open(folder.path());
        let written = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let db = engine.database(0).unwrap();
                (1..).take_while(|_| db.incr("count", 1).is_ok()).count()
            });
            scope.spawn(|| {
                let mut session = session(&engine);
                let copy = folder.path().join("copy");
                while !run(&mut session, "BGREWRITEAOF").contains("this engine is closed") {
                    let _ = engine.snapshot(&copy);
                }
            });
            std::thread::sleep(Duration::from_millis(3 * round));
            engine.close_opening().unwrap();
            writer.join().unwrap()
        });
        let again = open(folder.path());
        assert_eq!(again.database(0).unwrap().incr("count", 0).unwrap(), written as i64, "round {round}");
        again.database(0).unwrap().delete("count").unwrap();
    }
}
