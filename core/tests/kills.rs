//! Processes that are killed at random moments, again and again, lose nothing that they had acknowledged.
//!
//! `KEYSTEAD_KILLS` says how many (45). Each child writes with several threads, and rewrites the log or takes a snapshot all the time; behind each write it notes
//! in a file what was acknowledged. A group of writes is there as a whole or not at all, in the log and in the snapshot.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keystead::{Config, Engine, Form, Session};

const THREADS: u64 = 3;
const FOLDER: &str = "KEYSTEAD_KILLED_FOLDER";
const POLICY: &str = "KEYSTEAD_KILLED_POLICY";

fn open(folder: &Path, policy: &str) -> Engine {
    let config = Config::from_text(format!("appendfsync {policy}\n").as_bytes()).unwrap();
    Engine::builder()
        .path(folder.join("app.ks"))
        .config(config)
        .open()
        .expect("what a kill leaves can be opened")
}

fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = String::from_utf8_lossy(session.execute(&words)).into_owned();
    assert!(!reply.starts_with('-'), "{line}: {reply}");
    reply
}

/// The number that a command replies, be it as a text.
fn number(session: &mut Session, line: &str) -> u64 {
    let reply = run(session, line);
    reply.trim_start_matches(':').trim().rsplit("\r\n").next().unwrap().parse().unwrap_or(0)
}

/// The child: writes until it is killed.
#[test]
#[ignore = "a part of the other test, which starts it"]
fn child() {
    let folder = std::env::var(FOLDER).expect("the other test sets it");
    let folder = Path::new(&folder);
    let engine = open(folder, &std::env::var(POLICY).expect("as well"));
    let notes = OpenOptions::new().write(true).open(folder.join("notes")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, notes) = (&engine, &notes);
            scope.spawn(move || write(engine, thread, notes));
        }
        let mut session = engine.session(Form::Resp);
        loop {
            for command in ["BGREWRITEAOF", "BGSAVE", "SAVE"] {
                session.execute(&[command.as_bytes()]);
                std::thread::sleep(Duration::from_millis(15));
            }
        }
    });
}

fn write(engine: &Engine, thread: u64, notes: &File) {
    let (mut session, db) = (engine.session(Form::Resp), engine.database(0).unwrap());
    let begun = number(&mut session, &format!("GET count:{thread}"));
    for round in begun + 1.. {
        run(&mut session, &format!("RPUSH list:{thread} {round}"));
        for line in ["MULTI", "INCR one:#", "HINCRBY other:# f 1", "EXEC"] {
            run(&mut session, &line.replace('#', &thread.to_string()));
        }
        if round.is_multiple_of(64) {
            let long = round.to_string().repeat(20_000);
            run(&mut session, &format!("SET long:{thread} {long}"));
        }
        db.set(format!("text:{thread}"), round.to_string()).unwrap();
        db.incr(format!("count:{thread}"), 1).unwrap();
        notes.write_all_at(&round.to_le_bytes(), thread * 8).unwrap();
    }
}

/// What the child noted last.
fn noted(folder: &Path, thread: u64) -> u64 {
    let mut bytes = [0; 8];
    File::open(folder.join("notes")).unwrap().read_exact_at(&mut bytes, thread * 8).unwrap();
    u64::from_le_bytes(bytes)
}

fn start(folder: &Path, policy: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(FOLDER, folder).env(POLICY, policy);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn check(folder: &Path, policy: &str, round: usize) {
    let engine = open(folder, policy);
    let mut session = engine.session(Form::Resp);
    for thread in 0..THREADS {
        let last = noted(folder, thread);
        let what = format!("round {round}, {policy}, thread {thread}, {last} noted");
        let [list, one, other, text, count] =
            ["LLEN list:#", "GET one:#", "HGET other:# f", "GET text:#", "GET count:#"]
                .map(|line| number(&mut session, &line.replace('#', &thread.to_string())));
        assert_eq!(one, other, "{what}: a transaction is whole");
        for (name, value) in [("list", list), ("one", one), ("text", text), ("count", count)] {
            assert!((last..=last + 1).contains(&value), "{what}: {name} is {value}");
        }
        assert!(list >= one && one >= text && text >= count, "{what}: {list} {one} {text} {count}");
        // The child goes on where it had counted to: what came behind that is taken back.
        run(&mut session, &format!("LTRIM list:{thread} 0 {}", count as i64 - 1));
        for line in ["SET one:# =", "HSET other:# f =", "SET text:# ="] {
            run(&mut session, &line.replace('#', &thread.to_string()).replace('=', &count.to_string()));
        }
        let long = run(&mut session, &format!("GET long:{thread}"));
        let bytes = long.split("\r\n").nth(1).unwrap_or_default();
        assert!(bytes.is_empty() || is_repeated(bytes), "{what}: a long value is torn");
    }
}

/// The snapshot that was finished last is whole, and of one moment.
fn check_snapshot(folder: &Path, what: &str) {
    let found = folder.join("app.ks/dump.rdb");
    if !found.exists() {
        return;
    }
    let copy = tempfile::tempdir().unwrap();
    fs::copy(found, copy.path().join("dump.rdb")).unwrap();
    let text = format!("dir {}\nappendonly no\n", copy.path().display());
    let config = Config::from_text(text.as_bytes()).unwrap();
    let engine = Engine::builder().config(config).durable().open().expect(what);
    let mut session = engine.session(Form::Resp);
    for thread in 0..THREADS {
        let [list, one, other, text] = ["LLEN list:#", "GET one:#", "HGET other:# f", "GET text:#"]
            .map(|line| number(&mut session, &line.replace('#', &thread.to_string())));
        assert!(one == other && list >= one && one >= text, "{what}: {list} {one} {other} {text}");
    }
}

fn is_repeated(text: &str) -> bool {
    let unit = &text[..text.len() / 20_000];
    text.as_bytes().chunks(unit.len()).all(|chunk| chunk == unit.as_bytes())
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let kills: usize = std::env::var("KEYSTEAD_KILLS").map_or(45, |kills| kills.parse().expect("a number"));
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let mut seed = u64::from(nanoseconds) | 1;
    for policy in ["everysec", "always", "no"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), [0; 8 * THREADS as usize]).unwrap();
        for round in 0..kills.div_ceil(3) {
            let before: Vec<u64> = (0..THREADS).map(|thread| noted(folder.path(), thread)).collect();
            let mut child = start(folder.path(), policy);
            let begun = Instant::now();
            while (0..THREADS).any(|thread| noted(folder.path(), thread) == before[thread as usize]) {
                let ended = child.try_wait().unwrap();
                if ended.is_some() || begun.elapsed() > Duration::from_secs(60) {
                    let _ = child.kill();
                    let output = child.wait_with_output().unwrap();
                    panic!("the child does not write: {}", String::from_utf8_lossy(&output.stderr));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_micros(seed % 60_000));
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "round {round}, {policy}: {said}");
            check_snapshot(folder.path(), &format!("round {round}, {policy}: the snapshot"));
            check(folder.path(), policy, round);
        }
        leaves_nothing(folder.path(), policy);
    }
}

/// What killed processes were writing, or had yet to remove, is gone once the log has been rewritten.
fn leaves_nothing(folder: &Path, policy: &str) {
    let engine = open(folder, policy);
    let mut session = engine.session(Form::Resp);
    // The folder's files are the manifest, the ring, a base and what was written since.
    let begun = Instant::now();
    loop {
        session.execute(&[b"BGREWRITEAOF"]);
        let files = fs::read_dir(folder.join("app.ks/appendonlydir")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        if names.len() == 4 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{policy}: {names:?} are left");
        std::thread::sleep(Duration::from_millis(5));
    }
}
