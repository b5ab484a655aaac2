//! Power that goes at any moment takes nothing that was promised, and leaves nothing that was never written.
//!
//! A child writes with several threads and does all that files are changed by; a library that is loaded into it (`power/recorder.c`) records each change of a
//! file, and each sync. Then the power goes at random places of the record: a disk (`power/disk.rs`) has what was synced, and of the rest whatever it likes.
//! An engine is opened on that. The next child goes on from there, so that losses follow upon losses.
//!
//! `KEYSTEAD_LOSSES` says how many (120).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "power/disk.rs"]
mod disk;
#[path = "power/random.rs"]
mod random;
#[path = "power/trace.rs"]
mod trace;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use disk::{Disk, Drops, Left};
use keystead::{Config, Engine, Form, Session};
use random::Random;
use trace::{Event, Timed};

const THREADS: usize = 3;
const FOLDER: &str = "KEYSTEAD_RECORDED_FOLDER";
const NOTES: &str = "KEYSTEAD_RECORDED_NOTES";
const RECORD: &str = "KEYSTEAD_RECORD";
const OPTIONS: &str = "KEYSTEAD_POWER_OPTIONS";

/// Operations of each thread.
const OPERATIONS: usize = 150;

/// Time between two ticks of the child, which tell how late its threads are.
const TICK: Duration = Duration::from_millis(20);

/// How many operations of each thread there are.
type Counts = [usize; THREADS];

fn open(folder: &Path, options: &str) -> keystead::Result<Engine> {
    let config = Config::from_text(options.as_bytes())?;
    Engine::builder().path(folder.join("app.ks")).config(config).open()
}

fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&words)).into_owned()
}

/// What an operation writes: now and then more than the ring takes.
fn text(thread: usize, number: usize) -> String {
    let len = match number {
        _ if number.is_multiple_of(61) => 300_000,
        _ if number.is_multiple_of(7) => 3000,
        _ => number % 40,
    };
    format!("{thread}.{number}:").repeat(1 + len / 6)
}

/// Whether an operation is a transaction.
fn is_group(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// How many operations a thread has done. All that it says of them is true.
fn count(session: &mut Session, thread: usize) -> usize {
    let list = session.execute(&[b"LRANGE", format!("list:{thread}").as_bytes(), b"0", b"-1"]).to_vec();
    let list = String::from_utf8(list).expect("nothing else was written");
    let found: Vec<&str> = list.split("\r\n").skip(2).step_by(2).collect();
    for (index, found) in found.iter().enumerate() {
        let expected = text(thread, index + 1);
        let at = found.bytes().zip(expected.bytes()).position(|(found, expected)| found != expected);
        assert!(*found == expected, "thread {thread}: element {} is another from byte {at:?} on", index + 1);
    }
    let groups = found.len() / 3;
    let told = run(session, &format!("MGET last:{thread} groups:{thread}"));
    let told: Vec<usize> =
        told.split("\r\n").skip(2).step_by(2).filter_map(|word| word.parse().ok()).collect();
    let expected = if groups == 0 { vec![] } else { vec![groups * 3, groups] };
    assert_eq!(told, expected, "thread {thread}: a transaction of {} is not whole", found.len());
    found.len()
}

/// The child: writes, and ends.
#[test]
#[ignore = "a part of the other tests, which start it"]
fn child() {
    let folder = PathBuf::from(std::env::var(FOLDER).expect("the other test sets it"));
    let options = std::env::var(OPTIONS).expect("as well");
    let notes = OpenOptions::new().write(true).open(std::env::var(NOTES).expect("as well")).unwrap();
    let note = |text: String| (&notes).write_all(text.as_bytes()).unwrap();
    let engine = open(&folder, &options).expect("the other test has opened the same");
    note("open".to_owned());
    let (is_done, is_slow) = (AtomicBool::new(false), options.contains("everysec"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                note("tick".to_owned());
            }
        });
        let others = || {
            let mut session = engine.session(Form::Resp);
            let mut random = Random::of(Random::seed());
            let begins = !options.contains("appendonly no");
            while !is_done.load(Ordering::Relaxed) {
                match random.below(8) {
                    0 | 1 => {
                        note("saving".to_owned());
                        if run(&mut session, "SAVE") == "+OK\r\n" && !begins {
                            note("saved".to_owned());
                        }
                    }
                    2 => drop(run(&mut session, "BGSAVE SCHEDULE")),
                    3 if begins => {
                        note("off".to_owned());
                        assert_eq!(run(&mut session, "CONFIG SET appendonly no"), "+OK\r\n");
                        std::thread::sleep(Duration::from_millis(random.below(20)));
                        note("saving".to_owned());
                        if run(&mut session, "CONFIG SET appendonly yes") == "+OK\r\n" {
                            note("on".to_owned());
                        }
                    }
                    _ => drop(run(&mut session, "BGREWRITEAOF")),
                }
                std::thread::sleep(Duration::from_millis(random.below(if is_slow { 400 } else { 40 })));
            }
        };
        let other = scope.spawn(others);
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (engine, note) = (&engine, &note);
                scope.spawn(move || write(engine, thread, is_slow, note))
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
        other.join().unwrap();
    });
    engine.close().unwrap();
}

fn write(engine: &Engine, thread: usize, is_slow: bool, note: &dyn Fn(String)) {
    let mut session = engine.session(Form::Resp);
    let begun = count(&mut session, thread);
    for number in begun + 1..=begun + OPERATIONS {
        note(format!("begun {thread} {number}"));
        let push = format!("RPUSH list:{thread} {}", text(thread, number));
        if is_group(number) {
            let lines = ["MULTI", &push, "SET last:# =", "INCR groups:#", "EXEC"];
            for line in lines {
                run(&mut session, &line.replace('#', &thread.to_string()).replace('=', &number.to_string()));
            }
        } else {
            assert_eq!(run(&mut session, &push), format!(":{number}\r\n"));
        }
        note(format!("done {thread} {number}"));
        let pause = if is_slow { 20_000 } else { 200 };
        std::thread::sleep(Duration::from_micros(pause * (number as u64 % 4)));
    }
}

/// A process that is starting has the descriptors of this one for a moment, and with them the locks of folders.
static STARTING: RwLock<()> = RwLock::new(());

/// Runs a command and says how it went.
fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = {
        let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        command.spawn().expect("there is such a program")
    };
    child.wait_with_output().unwrap()
}

/// Builds the recorder.
fn recorder(folder: &Path) -> PathBuf {
    let (library, source) = (folder.join("recorder.so"), "tests/power/recorder.c");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut compile = Command::new("cc");
    compile.args(["-std=c11", "-O2", "-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source);
    let output = output(&mut compile);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// Runs a child in a folder and returns its record.
fn record(at: &Path, options: &str) -> Vec<Timed> {
    let (notes, record) = (at.join("notes"), at.join("record"));
    File::create(&notes).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--ignored", "--nocapture"]);
    child.env(FOLDER, at.join("disk")).env(NOTES, &notes).env(RECORD, &record).env(OPTIONS, options);
    let output = output(child.env("LD_PRELOAD", at.join("recorder.so")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("panicked"), "{} {said}", output.status);
    trace::parse(&fs::read(record).unwrap())
}

/// What has to be there.
#[derive(Default)]
struct Promised {
    /// As of the opening, what was there, and then what was promised.
    counts: Counts,
    done: Counts,
    begun: Counts,
    /// What was done when something began that has it on the disk when it ends.
    saving: Counts,
    is_log_on: bool,
    /// Each operation that was done, with the event's number and time.
    history: Vec<(usize, u64, usize, usize)>,
    ticks: Vec<u64>,
    begins: Vec<(usize, usize, usize)>,
}

impl Promised {
    fn apply(&mut self, index: usize, timed: &Timed, options: &str) {
        let Event::Noted(note) = &timed.event else { return };
        let words: Vec<&str> = note.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "open" => self.is_log_on = !options.contains("appendonly no"),
            "begun" => {
                self.begun[number(1)] = number(2);
                self.begins.push((index, number(1), number(2)));
            }
            "done" => {
                self.done[number(1)] = number(2);
                self.history.push((index, timed.ns, number(1), number(2)));
                if self.is_log_on && options.contains("always") {
                    self.counts[number(1)] = number(2);
                }
            }
            "saving" => self.saving = self.done,
            "saved" => self.counts = self.saving,
            "off" => self.is_log_on = false,
            "on" => {
                self.is_log_on = true;
                self.counts = if options.contains("always") { self.done } else { self.saving };
            }
            "tick" => self.ticks.push(timed.ns),
            _ => panic!("{note}"),
        }
    }

    /// What has to be there under `everysec` if the power goes now. Threads that were late are not the log's fault.
    fn by_time(&self, now: u64, options: &str) -> Counts {
        let mut counts = self.counts;
        if self.is_log_on && options.contains("everysec") {
            let recent = self.ticks.iter().rev().take_while(|tick| now - **tick < 2_000_000_000);
            let times: Vec<u64> = [now].into_iter().chain(recent.copied()).collect();
            let late = times.windows(2).map(|pair| pair[0] - pair[1]).max().unwrap_or(0);
            let before = now.saturating_sub(1_000_000_000 + 2 * late);
            for (_, ns, thread, number) in &self.history {
                if *ns < before {
                    counts[*thread] = counts[*thread].max(*number);
                }
            }
        }
        counts
    }
}

/// One way of keeping data, with losses one after the other.
struct Losses {
    at: tempfile::TempDir,
    options: String,
    random: Random,
    /// The oldest that was lost under `everysec`.
    oldest: Duration,
}

impl Losses {
    fn new(options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        recorder(at.path());
        fs::create_dir(at.path().join("disk")).unwrap();
        let options = format!("save \"\"\nauto-aof-rewrite-min-size 100kb\n{options}\n");
        Self { at, options, random: Random::of(Random::seed()), oldest: Duration::ZERO }
    }

    /// Has the power go so many times in the life of one process. The next one finds what the last of these has left.
    fn round(&mut self, times: usize, found: &mut Counts) -> Result<(), String> {
        let root = self.at.path().join("disk");
        let mut disk = Disk::of(&root, |_| false);
        let events = record(self.at.path(), &self.options);
        let last = self.lose(&mut disk, &events, times, *found)?;
        // The record has all: what it makes of the folder is what the process has made of it.
        let whole = self.fresh("whole");
        disk.lose((&root, &whole), Left::ALL, &mut self.random);
        let difference = output(Command::new("diff").arg("-rq").arg(&root).arg(&whole));
        assert!(difference.status.success(), "{}", String::from_utf8_lossy(&difference.stdout));
        fs::remove_dir_all(&root).unwrap();
        fs::rename(self.at.path().join("next"), &root).unwrap();
        *found = last;
        Ok(())
    }

    fn fresh(&self, name: &str) -> PathBuf {
        let folder = self.at.path().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Has the power go so many times while things are done to a disk. Returns what the last of these has left, in the folder `next`.
    fn lose(
        &mut self,
        disk: &mut Disk,
        events: &[Timed],
        times: usize,
        found: Counts,
    ) -> Result<Counts, String> {
        let root = self.at.path().join("disk");
        let opened = events.iter().position(|timed| matches!(&timed.event, Event::Noted(_))).unwrap_or(0);
        // In one case of ten the power goes while the engine is opened, or a little later.
        let places = (0..times).map(|_| {
            let is_early = self.random.below(10) == 0;
            let (start, end) = if is_early { (0, opened + 20) } else { (opened, events.len()) };
            start + self.random.below((end - start + 1) as u64) as usize
        });
        let mut places: Vec<usize> = places.collect();
        places.sort_unstable();
        let mut promised = Promised { counts: found, done: found, begun: found, ..Promised::default() };
        let (mut place, mut last) = (places.into_iter().peekable(), found);
        for index in 0..=events.len() {
            while place.next_if_eq(&index).is_some() {
                let (left, next) = (Left::any(&mut self.random), self.fresh("next"));
                disk.lose((&root, &next), left, &mut self.random);
                let now = index.checked_sub(1).map_or(0, |before| events[before].ns);
                let counts = self.check(&next, &promised, now);
                last = counts.map_err(|error| {
                    format!("{error}; {left:?}, event {index} of {}, {}", events.len(), self.options)
                })?;
            }
            if let Some(timed) = events.get(index) {
                disk.apply(index, &timed.event);
                promised.apply(index, timed, &self.options);
            }
        }
        Ok(last)
    }

    /// Opens what is left, in a copy.
    fn check(&mut self, left: &Path, promised: &Promised, now: u64) -> Result<Counts, String> {
        let copy = self.at.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(left, &copy);
        let (options, twice) = (self.options.clone(), self.random.below(4) == 0);
        let counts = std::panic::catch_unwind(|| {
            let first = counts_in(&copy, &options);
            if twice {
                assert_eq!(counts_in(&copy, &options), first, "it is opened once more");
            }
            first
        });
        let counts = counts.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        })?;
        let expected = promised.by_time(now, &self.options);
        for thread in 0..THREADS {
            let range = expected[thread]..=promised.begun[thread];
            if !range.contains(&counts[thread]) {
                return Err(format!("thread {thread}: {} operations are there of {range:?}", counts[thread]));
            }
        }
        // What had ended before something began that is there, is there.
        let begins = promised.begins.iter().filter(|(_, thread, number)| *number <= counts[*thread]);
        let last = begins.map(|begin| begin.0).max().unwrap_or(0);
        for (index, ns, thread, number) in &promised.history {
            if *number > counts[*thread] {
                self.oldest = self.oldest.max(Duration::from_nanos(now - ns));
                if *index < last {
                    return Err(format!(
                        "thread {thread}: operation {number} is missing, later ones are there"
                    ));
                }
            }
        }
        Ok(counts)
    }
}

fn counts_in(folder: &Path, options: &str) -> Counts {
    let _opening = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let engine = open(folder, options).unwrap_or_else(|error| panic!("opening: {error}"));
    let mut session = engine.session(Form::Resp);
    std::array::from_fn(|thread| count(&mut session, thread))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Sanitizers have their own ideas of what is loaded before the C library.
fn is_sanitized() -> bool {
    ["ASAN_OPTIONS", "TSAN_OPTIONS"].iter().any(|name| std::env::var_os(name).is_some())
}

fn number_of_losses() -> usize {
    if is_sanitized() {
        return 0;
    }
    std::env::var("KEYSTEAD_LOSSES").map_or(120, |losses| losses.parse().expect("a number"))
}

fn nothing_promised_is_lost(options: &str) {
    /// Losses in the life of a process, and processes with one folder: there is more to look at with each.
    const AT_ONCE: usize = 10;
    const IN_A_ROW: usize = 4;
    let mut oldest = Duration::ZERO;
    let (mut losses, mut found) = (Losses::new(options), Counts::default());
    for round in 0..number_of_losses().div_ceil(4 * AT_ONCE) {
        if round > 0 && round.is_multiple_of(IN_A_ROW) {
            (losses, found) = (Losses::new(options), Counts::default());
        }
        if let Err(error) = losses.round(AT_ONCE, &mut found) {
            panic!("round {round}: {error}, in {}", losses.at.keep().display());
        }
        oldest = oldest.max(losses.oldest);
    }
    eprintln!("{options}: the oldest operation that was lost was {oldest:?} old");
}

#[test]
fn always() {
    nothing_promised_is_lost("appendfsync always");
}

#[test]
fn every_second() {
    nothing_promised_is_lost("appendfsync everysec");
}

#[test]
fn never() {
    nothing_promised_is_lost("appendfsync no");
}

#[test]
fn snapshots_alone() {
    nothing_promised_is_lost("appendonly no");
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    // Each takes the syncs of some files, or of a folder's entries, for such as were never done.
    let planted: [(&str, Drops); 5] = [
        ("the folder of the log", |name| name.ends_with("appendonlydir/")),
        ("the folder of the engine", |name| name.ends_with("app.ks/")),
        ("increments", |name| name.ends_with(".incr.aof")),
        ("bases", |name| name.ends_with(".base.ks")),
        ("manifests", |name| name.ends_with(".manifest")),
    ];
    if is_sanitized() {
        return;
    }
    let mut losses = Losses::new("appendfsync always");
    let events = record(losses.at.path(), &losses.options);
    for (what, drops) in planted {
        let empty = losses.fresh("empty");
        let lost = losses.lose(&mut Disk::of(&empty, drops), &events, 60, Counts::default());
        assert!(lost.is_err(), "nobody misses the syncs of {what}");
    }
}
