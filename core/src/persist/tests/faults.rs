//! What others do to files, or while they are written, or while an engine ends: power losses, servers, forks, snapshots of the program's own, waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::logs::{as_killed, log_file, open_with};
use super::{info, run, session, wait_until};
use crate::{Config, Engine, Session};

fn open(folder: &Path) -> Engine {
    let config = Config::from_text(b"enable-debug-command yes\n").unwrap();
    Engine::builder().path(folder).config(config).open().unwrap()
}

fn digest(session: &mut Session) -> String {
    run(session, "DEBUG DIGEST")
}

#[test]
fn what_a_power_loss_has_torn_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "appendfsync always\n").unwrap();
    let mut own = session(&engine);
    run(&mut own, "SET a 1");
    let synced = fs::read(log_file(folder.path(), 1)).unwrap();
    run(&mut own, &format!("SET b {}", "x".repeat(5000)));
    let copy = as_killed(folder.path());
    // The ring is not synced, either.
    fs::remove_file(copy.path().join("appendonlydir/appendonly.aof.ring")).unwrap();
    let path = log_file(copy.path(), 1);
    let mut torn = fs::read(&path).unwrap();
    torn[synced.len() + 2000..][..512].fill(0);
    fs::write(&path, &torn).unwrap();
    let refused = open_with(copy.path(), "aof-load-truncated no\n").map(drop).unwrap_err().to_string();
    assert!(refused.contains("Unexpected end of file"), "{refused}");
    for file in [torn, [&synced[..], &[0; 700]].concat()] {
        fs::write(&path, &file).unwrap();
        let engine = open(copy.path());
        assert_eq!(run(&mut session(&engine), "MGET a b"), "*2 $1 1 $-1");
        assert!(engine.opening_notes()[0].contains("not written whole"), "{:?}", engine.opening_notes());
        drop(engine);
        assert!(fs::read(&path).unwrap().starts_with(&synced));
    }
}

#[test]
fn what_a_server_has_appended_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut session(&open(folder.path())), "SET a 1");
    let path = log_file(folder.path(), 1);
    let log = fs::read_to_string(&path).unwrap() + "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    fs::write(&path, &log).unwrap();
    let engine = open(folder.path());
    let mut own = session(&engine);
    run(&mut own, "SET c 3");
    let copy = as_killed(folder.path());
    assert_eq!(run(&mut session(&open(copy.path())), "MGET a b c"), "*3 $1 1 $1 2 $1 3");
    drop((own, engine));
    assert!(fs::read_to_string(log_file(folder.path(), 2)).unwrap().starts_with("#KS:0:"));
    assert_eq!(fs::read_to_string(&path).unwrap(), log);
    assert_eq!(run(&mut session(&open(folder.path())), "MGET a b c"), "*3 $1 1 $1 2 $1 3");
}

#[cfg(unix)]
#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_process_may_fork_while_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let mut own = session(&engine);
    for number in 0..10_000 {
        run(&mut own, &format!("SET filler:{number} {number}"));
    }
    for (command, running, status) in [
        ("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status"),
        ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status"),
    ] {
        let mut forked = 0;
        // It may be over before the process forks: then once more.
        for round in 0..30 {
            assert!(run(&mut own, command).ends_with(" started"));
            forked += u32::from(info(&mut own, running) == "1");
            let is_well = crate::os::in_fork(|| {
                let mut session = session(&engine);
                run(&mut session, "GET filler:7") == "$1 7"
                    && run(&mut session, "SET filler:7 child") == "+OK"
                    && (10..2000).all(|number| run(&mut session, &format!("DEL filler:{number}")) == ":1")
            });
            assert!(is_well, "{command}");
            run(&mut own, &format!("SET behind {round}"));
            wait_until(command, || info(&mut own, running) == "0");
            assert_eq!(info(&mut own, status), "ok");
            if forked >= 3 {
                break;
            }
        }
        assert!(forked > 0, "{command} was over before each fork");
    }
    run(&mut own, "SAVE");
    let before = digest(&mut own);
    assert_eq!(run(&mut own, "DEBUG RELOAD NOSAVE"), "+OK");
    assert_eq!(digest(&mut own), before);
    drop((own, engine));
    assert_eq!(digest(&mut session(&open(folder.path()))), before);
}

#[test]
fn a_log_hears_of_snapshots_that_the_program_takes() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder.path().join("app.ks"));
    let mut own = session(&engine);
    for number in 0..2000 {
        run(&mut own, &format!("SET filler:{number} {number}"));
    }
    let (log, is_done) = (engine.inner.persistence.log().unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                engine.snapshot(folder.path().join("copy")).unwrap();
            }
        });
        wait_until("the log to hear of a snapshot", || log.is_saving.load(Ordering::Relaxed));
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(!log.is_saving.load(Ordering::Relaxed));
}

#[test]
fn the_log_of_an_engine_in_memory_is_rewritten_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("dir {}\nauto-aof-rewrite-min-size 10kb\n", folder.path().display());
    let engine = Engine::builder().config(Config::from_text(text.as_bytes()).unwrap()).open().unwrap();
    let mut own = session(&engine);
    assert_eq!(run(&mut own, "CONFIG SET appendonly yes"), "+OK");
    let begun = info(&mut own, "aof_rewrites");
    for number in 0..2000 {
        run(&mut own, &format!("SET k {number}"));
    }
    wait_until("the log to be rewritten", || info(&mut own, "aof_rewrites") != begun);
    assert_eq!(info(&mut own, "rdb_saves"), "0");
    assert!(!folder.path().join("dump.rdb").exists());
}

#[test]
fn whoever_waits_for_keys_hears_that_the_engine_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let closed = "-ERR this engine is closed";
    std::thread::scope(|scope| {
        let lines = ["BLPOP list 0", "XREAD BLOCK 0 STREAMS stream $", "WAIT 1 0"];
        let waiting = lines.map(|line| {
            let mut own = session(&engine);
            scope.spawn(move || run(&mut own, line))
        });
        let mut own = session(&engine);
        wait_until("all of them to wait", || run(&mut own, "INFO clients").contains("blocked_clients:3"));
        engine.close_opening().unwrap();
        for (waiting, line) in waiting.into_iter().zip(lines) {
            assert_eq!(waiting.join().unwrap(), closed, "{line}");
        }
        for line in lines {
            assert_eq!(run(&mut own, line), closed, "{line}");
        }
    });
}

fn ring_of(folder: &Path) -> PathBuf {
    folder.join("appendonlydir/appendonly.aof.ring")
}

/// Opens an engine and says whether it took over the ring that was there, as a power loss may bring that back while it does.
fn takes_over_its_ring(folder: &Path) -> bool {
    let (link, before) = (folder.join("link"), fs::read(ring_of(folder)).unwrap());
    fs::hard_link(ring_of(folder), &link).unwrap();
    let engine = open_with(folder, "").unwrap();
    assert!(ring_of(folder).exists());
    let is_taken = fs::read(&link).unwrap() != before;
    drop(engine);
    is_taken
}

#[test]
fn a_ring_with_what_goes_on_nowhere_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "").unwrap();
    run(&mut session(&engine), "SET a 1");
    let killed = as_killed(folder.path());
    assert!(takes_over_its_ring(killed.path()), "all that it has is in the file now");
    run(&mut session(&engine), "SET b 2");
    let killed = as_killed(folder.path());
    let mut ring = fs::read(ring_of(killed.path())).unwrap();
    // The record of the first write, of which the file has nothing.
    ring[64 + 20] ^= 1;
    fs::write(ring_of(killed.path()), ring).unwrap();
    fs::write(log_file(killed.path(), 1), "").unwrap();
    assert!(!takes_over_its_ring(killed.path()), "the second goes on nowhere");
}

#[test]
fn a_ring_of_an_increment_that_no_manifest_names_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open_with(folder.path(), "").unwrap();
    run(&mut session(&engine), "SET a 1");
    let before = as_killed(folder.path());
    assert!(run(&mut session(&engine), "BGREWRITEAOF").starts_with('+'));
    wait_until("the rewrite", || info(&mut session(&engine), "aof_rewrite_in_progress") == "0");
    run(&mut session(&engine), "SET ghost 1");
    // The power went, and the disk had all of the ring and nothing of the manifest. The next increment will have the number of the one that is gone.
    fs::copy(ring_of(folder.path()), ring_of(before.path())).unwrap();
    assert!(!takes_over_its_ring(before.path()));
}
