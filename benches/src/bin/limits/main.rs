//! What the engine promises at its limits, measured in a process of its own: `limits CASE [SCALE]`, one JSON object per line.
//! Which figures are good enough stands beside them; `cargo xtask bench limits` judges.
//!
//! SCALE divides the numbers of keys, for a quick look.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod files;
mod scripts;
mod types;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keystead::{Clock, Config, Database, Engine, Event, Form, Observer, SetOptions, Ttl};
use keystead_benches::{key, uniform};
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let case = args.next().unwrap_or_default();
    let scale = args.next().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    match case.as_str() {
        "bytes-16" => bytes_per_key("16 + 16 bytes", 16, None, 54.0, scale),
        "bytes-16-ttl" => bytes_per_key("16 + 16 bytes with a deadline", 16, Some(3600), 68.0, scale),
        "bytes-64" => bytes_per_key("16 + 64 bytes", 64, None, 104.0, scale),
        "hash-10" => hashes("hash of 10 fields, 4 + 16 bytes", 500_000 / scale, 10, 302.0),
        "hash-1000" => hashes("hash of 1,000 fields, 7 + 16 bytes", 5_000 / scale, 1_000, 0.75 * 57_343.0),
        "memory-limit" => memory_limit(scale),
        "mass-expiry" => mass_expiry(scale),
        "growth" => growth(scale),
        "hash-growth" => hash_growth(scale),
        "hash-copy" => hash_copy(scale),
        "small-engine" => small_engine(scale),
        "rearm" => rearm(scale),
        "idle" => idle(scale),
        "type-memory" => types::memory(scale),
        "type-calls" => types::calls(scale),
        "type-growth" => types::growth(scale),
        "type-copies" => types::copies(scale),
        "scripts" => scripts::scripts(scale),
        "files" => files::files(scale),
        _ => {
            eprintln!(
                "usage: limits bytes-16|bytes-16-ttl|bytes-64|hash-10|hash-1000|memory-limit|mass-expiry|growth|hash-growth|hash-copy|small-engine|rearm|idle|type-memory|type-calls|type-growth|type-copies|scripts|files [SCALE]"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One figure: at most `goal` is good.
fn report(case: &str, unit: &str, figure: f64, goal: f64) {
    println!(r#"{{"face":"engine","case":"{case}","unit":"{unit}","ours":{figure:.3},"goal":{goal:.3}}}"#);
}

/// A figure that is not judged.
fn tell(case: &str, unit: &str, figure: f64) {
    println!(r#"{{"face":"engine","case":"{case}","unit":"{unit}","ours":{figure:.3},"goal":null}}"#);
}

fn database(engine: &Engine) -> Database {
    engine.database(0).expect("there is a first database")
}

fn keys_in(db: &Database) -> usize {
    db.len().expect("the engine is in this process")
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells what a process takes");
    let pages: usize =
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number");
    pages * rustix::param::page_size()
}

/// CPU time of this thread, in nanoseconds.
fn thread_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// CPU time of this process, in nanoseconds.
fn process_ns() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn store(db: &Database, number: u64, value: &[u8], ttl: Ttl) {
    db.set_with(key(number), value, SetOptions::new().ttl(ttl)).expect("there is memory");
}

fn bytes_per_key(name: &str, len: usize, ttl: Option<u64>, goal: f64, scale: u64) {
    let count = 5_000_000 / scale;
    let ttl = ttl.map_or(Ttl::None, |seconds| Ttl::After(Duration::from_secs(seconds)));
    let engine = Engine::new();
    let db = database(&engine);
    let before = resident();
    (0..count).for_each(|number| store(&db, number, &[b'v'; 64][..len], ttl));
    let per_key = |keys: usize| (resident() - before) as f64 / keys as f64;
    report(&format!("{name}: bytes per key by RSS"), "bytes", per_key(keys_in(&db)), goal);
    // A third goes, a third changes its size and back, a third is new.
    let mut draw = uniform(count);
    (0..count / 3).for_each(|_| {
        db.delete(key(draw())).expect("there is no log");
    });
    (0..count / 3).for_each(|_| store(&db, draw(), &[b'w'; 200][..len * 3], ttl));
    (0..count).for_each(|number| store(&db, number, &[b'v'; 64][..len], ttl));
    // The background thread ends what moving together has begun.
    std::thread::sleep(Duration::from_secs(3));
    report(
        &format!("{name}: after random deletes and changes of size"),
        "bytes",
        per_key(keys_in(&db)),
        goal * 1.15,
    );
}

fn hashes(name: &str, count: u64, fields: usize, goal: f64) {
    let engine = Engine::new();
    let db = database(&engine);
    let before = resident();
    for number in 0..count {
        for field in 0..fields {
            let field = if fields <= 10 { format!("f{field:03}") } else { format!("f{field:06}") };
            db.hset(key(number), field.as_bytes(), [b'v'; 16]).expect("a hash");
        }
    }
    report(&format!("{name}: bytes by RSS"), "bytes", (resident() - before) as f64 / count as f64, goal);
}

/// Ten times the limit passes through, in sizes from a few bytes to kilobytes.
fn memory_limit(scale: u64) {
    let limit = 256 * 1024 * 1024 / scale as usize;
    let config = format!("maxmemory {limit}\nmaxmemory-policy allkeys-lru\n");
    let config = Config::from_text(config.as_bytes()).expect("a valid configuration");
    let before = resident();
    let engine = Engine::builder().config(config).open().expect("an engine opens");
    let db = database(&engine);
    let (mut passed, mut most, mut number) = (0, 0, 0);
    let mut draw = uniform(u64::MAX);
    let value = vec![b'v'; 8192];
    while passed < 10 * limit {
        // The sizes change with time: what is freed rarely fits what comes.
        let phase = (passed * 7 / limit) as u32;
        let len = (draw() % (16 << (phase % 10))) as usize + 1;
        store(
            &db,
            number,
            &value[..len],
            if number.is_multiple_of(3) { Ttl::After(Duration::from_secs(900)) } else { Ttl::None },
        );
        passed += len + 16;
        number += 1;
        if number % 4096 == 0 {
            most = most.max(resident());
        }
    }
    report(
        "maxmemory holds: growth of the process, mixed sizes",
        "x limit",
        (most - before) as f64 / limit as f64,
        1.1,
    );
}

/// How often what takes a second or so is done.
const REPEATS: usize = 5;

fn sorted<T: PartialOrd>(mut figures: Vec<T>) -> Vec<T> {
    figures.sort_by(|one, other| one.partial_cmp(other).expect("figures can be compared"));
    figures
}

/// Two million keys expire in the same millisecond, while somebody reads others.
fn mass_expiry(scale: u64) {
    let runs: Vec<Expiry> = (0..REPEATS).map(|_| Expiry::of(2_000_000 / scale)).collect();
    let all = |figure: fn(&Expiry) -> f64| sorted(runs.iter().map(figure).collect());
    let (took, p999) = (all(|run| run.took.as_secs_f64()), all(|run| run.p999));
    let (max, max_before) = (all(|run| worst(&run.slowest)), all(|run| run.max_before));
    let slowest: Vec<&[f64]> = runs.iter().map(|run| &run.slowest[..]).collect();
    report("mass expiry: 2 M keys of one millisecond reclaimed", "s", took[REPEATS / 2], 1.0);
    report("mass expiry: GET p99.9 meanwhile", "us", p999[REPEATS / 2], 50.0);
    report("mass expiry: GET max meanwhile", "us", worst(&least_of(&slowest)), 1000.0);
    tell("mass expiry: GET max meanwhile, of the best expiry", "us", max[0]);
    tell("mass expiry: GET max meanwhile, of the worst expiry", "us", max[REPEATS - 1]);
    let name = "the machine: GET max beside an idle loop, the best of as many";
    tell(name, "us", max_before[0]);
    let name = "the machine: GET max beside an idle loop, the worst of as many";
    tell(name, "us", max_before[REPEATS - 1]);
}

/// What one mass expiry took. GETs in microseconds on the wall.
struct Expiry {
    took: Duration,
    p999: f64,
    /// The longest GET in each part of the time.
    slowest: Vec<f64>,
    /// The longest GET of the same loop before anything expired, beside a thread that shares nothing: what the machine does to a reader.
    max_before: f64,
}

impl Expiry {
    fn of(count: u64) -> Self {
        const OTHERS: u64 = 10_000;
        let engine = Engine::new();
        let db = database(&engine);
        (0..OTHERS).for_each(|number| store(&db, u64::MAX / 2 + number, &[b'v'; 64], Ttl::None));
        let at = Instant::now() + Duration::from_secs(8);
        for number in 0..count {
            store(
                &db,
                number,
                &[b'v'; 64],
                Ttl::After(at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))),
            );
        }
        assert!(Instant::now() < at, "filling took too long for the deadline");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut draw, mut buffer) = (uniform(OTHERS), [0; 64]);
                let mut get = || {
                    db.get_into(key(u64::MAX / 2 + draw()), &mut buffer).expect("a string");
                };
                sleep_until(at - Duration::from_millis(1000));
                let is_over = || Instant::now() >= at - Duration::from_millis(100);
                let before = std::thread::scope(|scope| {
                    scope.spawn(|| while !is_over() {});
                    times(&mut get, is_over)
                });
                sleep_until(at);
                (before, times(&mut get, || done.load(Ordering::Relaxed)))
            });
            sleep_until(at);
            let watched = database(&engine);
            while keys_in(&watched) > OTHERS as usize {
                std::thread::sleep(Duration::from_millis(5));
            }
            let took = at.elapsed();
            done.store(true, Ordering::Relaxed);
            // Sorted only now: it takes longer than the reader has before the deadline.
            let (before, during) = reader.join().expect("the reader ends");
            let slowest = slowest_in_parts(&during);
            let (before, during) = (sorted(before), sorted(during));
            Self { took, p999: percentile(&during, 0.999), slowest, max_before: percentile(&before, 1.0) }
        })
    }
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Nanoseconds that each call took on the wall.
fn times(mut call: impl FnMut(), is_over: impl Fn() -> bool) -> Vec<u32> {
    let mut times = Vec::with_capacity(50_000_000);
    while !is_over() {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_nanos() as u32);
    }
    times
}

/// Microseconds that this share of the calls did not exceed, of sorted times.
fn percentile(times: &[u32], share: f64) -> f64 {
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len() - 1)).map_or(0.0, |ns| f64::from(*ns) / 1000.0)
}

/// Microseconds that the longest call took, in each of as many parts as the time of all calls is divided into.
fn slowest_in_parts(times: &[u32]) -> Vec<f64> {
    const PARTS: u64 = 20;
    let all: u64 = times.iter().map(|ns| u64::from(*ns)).sum();
    let mut slowest = vec![0.0; PARTS as usize];
    let mut passed = 0;
    for ns in times {
        let slowest = &mut slowest[(passed * PARTS / all) as usize];
        *slowest = f64::max(*slowest, f64::from(*ns) / 1000.0);
        passed += u64::from(*ns);
    }
    slowest
}

fn worst(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// The least figure of each place, of several runs that go the same way: a pause of the engine's own comes at the same place in each, one of
/// the machine's does not.
fn least_of(runs: &[&[f64]]) -> Vec<f64> {
    let at = |place: usize| runs.iter().map(move |run| run[place]).fold(f64::INFINITY, f64::min);
    (0..runs[0].len()).map(at).collect()
}

/// The longest that one SET takes while the table grows to five million keys.
fn growth(scale: u64) {
    judge_pauses("growth: worst single SET to 5 M keys, CPU time", "growths", || {
        let engine = Engine::new();
        let db = database(&engine);
        slowest_calls(5_000_000 / scale, 10_000, |number| store(&db, number, &[b'v'; 64], Ttl::None))
    });
}

/// The longest that one HSET takes while a hash grows to a million fields.
fn hash_growth(scale: u64) {
    judge_pauses("hash growth: worst single HSET to 1 M fields, CPU time", "growths", || {
        let engine = Engine::new();
        let db = database(&engine);
        slowest_calls(1_000_000 / scale, 10_000, |number| set_field(&db, b"hash", number, b'v'))
    });
}

/// The longest that COPY of a hash of a million fields takes, and that an HSET to either of the two takes afterwards, when they may still share
/// what has not changed.
fn hash_copy(scale: u64) {
    let name = "hash copy: COPY of 1 M fields and 20,000 HSETs after it, worst, CPU time";
    let copies: Vec<Vec<f64>> = judge_pauses(name, "copies", || slowest_of_copy(1_000_000 / scale));
    let alone: Vec<f64> = copies.iter().map(|slowest| slowest[0]).collect();
    tell("hash copy: COPY alone, least of the copies", "us", sorted(alone)[0]);
    let after: Vec<&[f64]> = copies.iter().map(|slowest| &slowest[1..]).collect();
    tell("hash copy: worst single HSET after it", "us", worst(&least_of(&after)));
}

/// Microseconds of CPU time: of COPY, then of the slowest of each thousand HSETs. Those to the source and those to the copy take turns, and change
/// different fields.
fn slowest_of_copy(fields: u64) -> Vec<f64> {
    const PART: u64 = 1_000;
    const SOURCE: &[u8] = b"source";
    const COPY: &[u8] = b"copy";
    let engine = Engine::new();
    let db = database(&engine);
    (0..fields).for_each(|number| set_field(&db, SOURCE, number, b'v'));
    let mut session = engine.session(Form::Resp);
    let mut copied = Vec::new();
    let mut slowest = slowest_calls(1, 1, |_| {
        copied.extend_from_slice(session.execute(&[b"COPY", SOURCE, COPY]));
    });
    assert_eq!(copied, b":1\r\n");
    let holds = |hash: &[u8], number: u64, byte: u8| {
        let is_so = |found: Option<&[u8]>| found == Some(&[byte; 16]);
        db.hget_with(hash, field(number), is_so).expect("a hash")
    };
    let mut draw = uniform(fields / 2);
    for _ in 0..10 {
        for (hash, other, odd, byte) in [(SOURCE, COPY, 0, b's'), (COPY, SOURCE, 1, b'c')] {
            let changed: Vec<u64> = (0..PART).map(|_| draw() * 2 + odd).collect();
            slowest.extend(slowest_calls(PART, PART, |at| set_field(&db, hash, changed[at as usize], byte)));
            assert!(holds(hash, changed[0], byte) && holds(other, changed[0], b'v'), "hashes of their own");
        }
    }
    slowest
}

/// Does what `run` does five times, each time the same way, and judges the worst of the least figures of each place; tells the worst of all beside
/// it. Returns the figures of each run.
fn judge_pauses(name: &str, runs: &str, mut run: impl FnMut() -> Vec<f64>) -> Vec<Vec<f64>> {
    let all: Vec<Vec<f64>> = (0..REPEATS).map(|_| run()).collect();
    let slowest: Vec<&[f64]> = all.iter().map(|slowest| &slowest[..]).collect();
    report(name, "us", worst(&least_of(&slowest)), 1000.0);
    tell(&format!("{name}, worst of the {runs}"), "us", worst(&slowest.concat()));
    all
}

/// Microseconds of CPU time that the slowest call took, of every `part` of them.
fn slowest_calls(count: u64, part: u64, mut call: impl FnMut(u64)) -> Vec<f64> {
    let mut slowest = vec![0.0; count.div_ceil(part) as usize];
    let mut before = thread_ns();
    for number in 0..count {
        call(number);
        let now = thread_ns();
        let slowest = &mut slowest[(number / part) as usize];
        *slowest = f64::max(*slowest, (now - before) as f64 / 1000.0);
        before = now;
    }
    slowest
}

/// The field of a number: seven bytes.
fn field(number: u64) -> [u8; 7] {
    let mut field = *b"f000000";
    field[1..].copy_from_slice(&key(number)[10..]);
    field
}

fn set_field(db: &Database, hash: &[u8], number: u64, byte: u8) {
    db.hset(hash, field(number), [byte; 16]).expect("a hash");
}

/// What an engine of ten keys takes, and what opening and closing one takes: with its background thread, and without it.
fn small_engine(scale: u64) {
    const KEYS: u64 = 10;
    let count = (200 / scale).max(1);
    let default: fn() -> Engine = Engine::new;
    let manual = || Engine::builder().clock(Clock::manual(1_000_000)).open().expect("an engine opens");
    let filled = |open: fn() -> Engine| {
        let engine = open();
        let db = database(&engine);
        (0..KEYS).for_each(|number| store(&db, number, &[b'v'; 16], Ttl::None));
        engine
    };
    // The first has what all engines of a process share made, and the memory of its thread is given to the next.
    let mut engines = vec![filled(default), filled(manual)];
    let mut kilobytes = |open: fn() -> Engine| {
        let before = resident();
        engines.extend((0..count).map(|_| filled(open)));
        // By then the background threads have run.
        std::thread::sleep(Duration::from_millis(500));
        (resident() - before) as f64 / count as f64 / 1024.0
    };
    report("small engine: ten keys of 16 + 16 bytes, by RSS", "KB", kilobytes(default), 100.0);
    tell("small engine: ten keys of 16 + 16 bytes, without a background thread", "KB", kilobytes(manual));
    drop(engines);
    let median = |open: fn() -> Engine| {
        let round = || {
            let start = Instant::now();
            (0..count).for_each(|_| drop(open()));
            start.elapsed().as_secs_f64() * 1e6 / count as f64
        };
        sorted((0..REPEATS).map(|_| round()).collect())[REPEATS / 2]
    };
    report("small engine: open and close", "us", median(default), 200.0);
    tell("small engine: open and close, without a background thread", "us", median(manual));
}

/// What a hundred engines take that somebody has used and nobody uses any more, and how soon they reclaim what expires then.
fn idle(scale: u64) {
    const ENGINES: usize = 100;
    let time = Duration::from_secs((10 / scale).max(1));
    let (expired, heard) = channel();
    let engines: Vec<Engine> = (0..ENGINES)
        .map(|_| {
            let engine = Engine::new();
            let db = database(&engine);
            (0..1_000).for_each(|number| store(&db, number, &[b'v'; 64], Ttl::None));
            store(&db, 1_000, b"session", Ttl::After(Duration::from_secs(3600)));
            engine.observe(Arc::new(Expirations(Mutex::new(expired.clone()))));
            engine
        })
        .collect();
    // By then they have fallen asleep.
    std::thread::sleep(Duration::from_secs(1));
    let before = process_ns();
    std::thread::sleep(time);
    let taken = (process_ns() - before) as f64 / time.as_nanos() as f64;
    report("100 idle engines: processor", "%", taken * 100.0, 0.5);
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux tells of threads").count();
    report("100 idle engines: threads of the process", "threads", threads as f64, 4.0);
    let mut late = Vec::new();
    for (number, engine) in engines.iter().enumerate() {
        // All at other places between two ticks, and long enough for the engine to fall asleep before.
        let ttl = Duration::from_millis(300 + number as u64 * 7);
        store(&database(engine), 2_000, b"soon", Ttl::After(ttl));
        late.push(Instant::now() + ttl);
    }
    let mut late: Vec<f64> = late
        .into_iter()
        .map(|at| {
            let expired = heard.recv_timeout(Duration::from_secs(60)).expect("a key expires");
            expired.saturating_duration_since(at).as_secs_f64() * 1000.0
        })
        .collect();
    late = sorted(late);
    report("100 idle engines: a key reclaimed after its deadline, median", "ms", late[ENGINES / 2], 10.0);
    tell("100 idle engines: a key reclaimed after its deadline, worst of 100", "ms", late[ENGINES - 1]);
}

/// Tells when keys expired.
struct Expirations(Mutex<Sender<Instant>>);

impl Observer for Expirations {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}
    fn notified(&self, event: &Event<'_>) {
        if event.name == "expired" {
            self.0.lock().expect("nobody panics").send(Instant::now()).expect("somebody listens");
        }
    }
}

/// A sliding session: each use gives the key a later deadline. No timer may be added for it.
fn rearm(scale: u64) {
    let engine = Engine::new();
    let db = database(&engine);
    let keys = 1_000;
    (0..keys).for_each(|number| store(&db, number, b"session", Ttl::After(Duration::from_secs(1800))));
    let slide = |times: u64| {
        for round in 0..times {
            db.expire(key(round % keys), Duration::from_secs(1800)).expect("a time to live");
        }
    };
    // By then the background thread has its stack, too.
    slide(100_000 / scale);
    std::thread::sleep(Duration::from_millis(100));
    let before = resident();
    slide(1_000_000 / scale);
    report("1 M sliding re-arms: growth", "bytes", resident().saturating_sub(before) as f64, 65_536.0);
}
