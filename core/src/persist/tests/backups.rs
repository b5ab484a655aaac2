//! Backups: when they are taken, which are kept, and what goes wrong. The clock is held.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{info, run, session, wait_for_save, wait_until};
use crate::{Clock, Config, Engine, Session};

const HOUR: Duration = Duration::from_secs(3600);
/// Sunday, 1 November 2026, 02:30 UTC.
const START_MS: u64 = 1_793_500_200_000;

fn open(folder: &Path, now_ms: u64, more: &str) -> Engine {
    let text = format!("backup-schedule \"daily 03:00\"\nbackup-keep 2\n{more}");
    let config = Config::from_text(text.as_bytes()).unwrap();
    Engine::builder().path(folder).config(config).clock(Clock::manual(now_ms)).open().unwrap()
}

/// Moves the clock, and waits until nothing is being written.
fn advance(engine: &Engine, session: &mut Session, time: Duration) {
    engine.advance(time);
    wait_for_save(session);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("backups")).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn they_are_taken_when_the_schedule_says() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), START_MS, "");
    let mut own = session(&engine);
    run(&mut own, "SET a 1");
    advance(&engine, &mut own, Duration::ZERO);
    assert_eq!(names(folder.path()), ["backup-20261101T023000Z.rdb"], "there was none");
    advance(&engine, &mut own, HOUR / 2 - Duration::from_millis(1));
    assert_eq!(names(folder.path()).len(), 1);
    run(&mut own, "SET b 1");
    let changes = info(&mut own, "rdb_changes_since_last_save");
    advance(&engine, &mut own, Duration::from_millis(1));
    let first = ["backup-20261101T023000Z.rdb", "backup-20261101T030000Z.rdb"];
    assert_eq!(names(folder.path()), first);
    assert_eq!(info(&mut own, "rdb_changes_since_last_save"), changes, "it is no save");
    for hours in [23, 1, 1] {
        advance(&engine, &mut own, hours * HOUR);
    }
    let then = ["backup-20261101T030000Z.rdb", "backup-20261102T030000Z.rdb"];
    assert_eq!(names(folder.path()), then);
    let backups = folder.path().join("backups");
    let other = Engine::new();
    other.restore(backups.join(then[0])).unwrap();
    assert_eq!(run(&mut session(&other), "MGET a b"), "*2 $1 1 $1 1");
    assert_eq!(own.execute(&[b"CONFIG", b"SET", b"backup-schedule", b""]), b"+OK\r\n");
    advance(&engine, &mut own, 100 * HOUR);
    assert_eq!(names(folder.path()), then);
    assert!(crate::check(folder.path()).unwrap().iter().any(|found| found.contains(then[1])));
}

#[test]
fn what_was_missed_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    for (hours, count) in [(0, 1), (1, 2), (2, 2), (99, 3), (100, 3)] {
        let engine = open(folder.path(), START_MS + hours * 3_600_000, "backup-keep 9\n");
        advance(&engine, &mut session(&engine), Duration::ZERO);
        assert_eq!(names(folder.path()).len(), count, "{hours}: {:?}", names(folder.path()));
    }
}

#[test]
fn what_goes_wrong_is_told_as_of_other_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), START_MS, "save 3600 1\n");
    let mut own = session(&engine);
    fs::write(folder.path().join("backups"), "in its way").unwrap();
    advance(&engine, &mut own, Duration::ZERO);
    assert_eq!(info(&mut own, "rdb_last_bgsave_status"), "err");
    wait_until("writes to be refused", || run(&mut own, "SET a 1").starts_with("-MISCONF"));
    fs::remove_file(folder.path().join("backups")).unwrap();
    advance(&engine, &mut own, Duration::from_secs(59));
    assert_eq!(names(folder.path()), [""; 0], "it is tried again after a minute");
    advance(&engine, &mut own, Duration::from_secs(1));
    assert_eq!(names(folder.path()), ["backup-20261101T023100Z.rdb"]);
    assert_eq!(info(&mut own, "rdb_last_bgsave_status"), "ok");
    wait_until("writes to be taken again", || run(&mut own, "SET a 1") == "+OK");
}

#[test]
fn an_engine_in_memory_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("dir {}\nbackup-schedule hourly\n", folder.path().display());
    let config = Config::from_text(text.as_bytes()).unwrap();
    let engine = Engine::builder().config(config).clock(Clock::manual(START_MS)).open().unwrap();
    advance(&engine, &mut session(&engine), HOUR);
    assert_eq!(names(folder.path()), [""; 0]);
}
