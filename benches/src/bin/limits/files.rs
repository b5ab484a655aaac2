//! What is on disk: opening, reading what is mapped, saving, and the log.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use keystead::{Config, Database, Engine, Form};
use keystead_benches::{key, uniform};

use super::{REPEATS, database, least_of, report, slowest_in_parts, sorted, tell, thread_ns, worst};

const VALUE: [u8; 64] = [b'v'; 64];

fn open(folder: &Path) -> Engine {
    let config = Config::from_text(b"auto-aof-rewrite-percentage 0\n").expect("a valid configuration");
    Engine::builder().path(folder).config(config).open().expect("the folder can be opened")
}

fn fill(db: &Database, count: u64) {
    (0..count).for_each(|number| db.set(key(number), VALUE).expect("there is memory"));
}

fn save(engine: &Engine) -> f64 {
    let start = Instant::now();
    assert_eq!(engine.session(Form::Resp).execute(&[b"SAVE"]), b"+OK\r\n");
    start.elapsed().as_secs_f64()
}

fn median(figures: Vec<f64>) -> f64 {
    let at = figures.len() / 2;
    sorted(figures)[at]
}

/// The base of an engine that was closed.
fn base(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder.join("appendonlydir")).expect("there is a log");
    let mut files = files.map(|file| file.expect("it can be listed").path());
    files.find(|path| path.extension().is_some_and(|ending| ending == "ks")).expect("there is a base")
}

/// kB of this process that nobody shares.
fn private_kb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells what a process takes");
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("it tells this");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Five million keys of 16 + 64 bytes.
pub fn files(scale: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.ks");
    let count = 5_000_000 / scale;
    {
        let engine = open(&path);
        fill(&database(&engine), count);
        report("files: 5 M keys saved, synced", "s", median((0..3).map(|_| save(&engine)).collect()), 1.0);
        pauses(&engine, count);
        save(&engine);
    }
    let len = base(&path).metadata().expect("it is there").len() as f64;
    tell("files: bytes per key in the file", "bytes", len / count as f64);
    let first_get = |before: &dyn Fn()| {
        before();
        let start = Instant::now();
        let engine = open(&path);
        assert!(database(&engine).get(key(count / 2)).expect("a string").is_some());
        start.elapsed().as_secs_f64() * 1000.0
    };
    let hot = median((0..20).map(|_| first_get(&|| ())).collect());
    report("files: open to first GET, page cache hot", "ms", hot, 1.0);
    let cold = || {
        let file = File::open(base(&path)).expect("it is there");
        file.sync_all().expect("it can be synced");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("the system takes advice");
    };
    report("files: open to first GET, cold", "ms", median((0..5).map(|_| first_get(&cold)).collect()), 5.0);
    reads(&path, count, len);
    logged(folder.path());
}

/// The longest call while a snapshot is written.
fn pauses(engine: &Engine, count: u64) {
    let runs: Vec<Vec<f64>> = (0..REPEATS)
        .map(|_| {
            let done = AtomicBool::new(false);
            let db = database(engine);
            std::thread::scope(|scope| {
                let caller = scope.spawn(|| {
                    let (mut draw, mut buffer, mut times) = (uniform(count), [0; 64], Vec::new());
                    while !done.load(Ordering::Relaxed) {
                        for is_write in [false, true] {
                            let (key, start) = (key(draw()), thread_ns());
                            if is_write {
                                db.set(key, VALUE).expect("there is memory");
                            } else {
                                db.get_into(key, &mut buffer).expect("a string");
                            }
                            times.push((thread_ns() - start) as u32);
                        }
                    }
                    slowest_in_parts(&times)
                });
                save(engine);
                done.store(true, Ordering::Relaxed);
                caller.join().expect("the caller ends")
            })
        })
        .collect();
    let runs: Vec<&[f64]> = runs.iter().map(Vec::as_slice).collect();
    let max = sorted(runs.iter().map(|run| worst(run)).collect());
    report("files: longest GET or SET during a save, CPU time", "us", worst(&least_of(&runs)), 1000.0);
    tell("files: longest GET or SET during a save, of the best save", "us", max[0]);
    tell("files: longest GET or SET during a save, of the worst save", "us", max[REPEATS - 1]);
}

/// GETs from the map beside those from memory.
fn reads(path: &Path, count: u64, len: f64) {
    const CALLS: u64 = 1_000_000;
    let (mapped, memory) = (open(path), Engine::new());
    let [mapped_db, memory_db] = [&mapped, &memory].map(database);
    fill(&memory_db, count);
    let mut buffer = [0; 64];
    let before = private_kb();
    for number in 0..count {
        assert!(mapped_db.get_into(key(number), &mut buffer).expect("a string").is_some());
    }
    let grown = (private_kb() - before) * 1024.0 / len * 100.0;
    report("files: private memory after reading every key once", "% of the file", grown.max(0.0), 5.0);
    let mut draw = uniform(count);
    let mut time = |db: &Database| {
        let start = thread_ns();
        (0..CALLS).for_each(|_| _ = db.get_into(key(draw()), &mut buffer).expect("a string"));
        (thread_ns() - start) as f64 / CALLS as f64
    };
    let rounds = (0..REPEATS).map(|_| time(&mapped_db) / time(&memory_db)).collect();
    report("files: GET from the map, times of GET from memory, CPU time", "x", median(rounds), 1.2);
}

/// SETs with the log beside those without.
fn logged(folder: &Path) {
    const KEYS: u64 = 100_000;
    const CALLS: u64 = 1_000_000;
    let (logged, plain) = (open(&folder.join("log.ks")), Engine::new());
    let [logged_db, plain_db] = [&logged, &plain].map(database);
    [&logged_db, &plain_db].into_iter().for_each(|db| fill(db, KEYS));
    let mut draw = uniform(KEYS);
    let mut time = |db: &Database| {
        let (start, wall) = (thread_ns(), Instant::now());
        (0..CALLS).for_each(|_| db.set(key(draw()), VALUE).expect("there is memory"));
        ((thread_ns() - start) as f64 / CALLS as f64, wall.elapsed().as_nanos() as f64 / CALLS as f64)
    };
    let rounds: Vec<_> = (0..REPEATS).map(|_| (time(&logged_db), time(&plain_db))).collect();
    let more = rounds.iter().map(|(with, without)| with.0 - without.0).collect();
    let times = rounds.iter().map(|(with, without)| with.1 / without.1).collect();
    report("files: SET with the log, more than without, CPU time", "ns", median(more), 150.0);
    report("files: SET with the log (everysec), times of without", "x", median(times), 1.0 / 0.6);
}
