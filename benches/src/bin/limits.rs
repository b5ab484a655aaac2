//! What the engine promises at its limits, measured in a process of its own: `limits CASE [SCALE]`, one JSON object per line.
//! Which figures are good enough stands beside them; `cargo xtask bench limits` judges.
//!
//! SCALE divides the numbers of keys, for a quick look.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keystead::{Condition, Config, Database, Engine, Ttl};
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
        "rearm" => rearm(scale),
        _ => {
            eprintln!(
                "usage: limits bytes-16|bytes-16-ttl|bytes-64|hash-10|hash-1000|memory-limit|mass-expiry|growth|rearm [SCALE]"
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

fn store(db: &Database, number: u64, value: &[u8], ttl: Ttl) {
    db.set(key(number), value, ttl, Condition::Always).expect("there is memory");
}

fn bytes_per_key(name: &str, len: usize, ttl: Option<u64>, goal: f64, scale: u64) {
    let count = 5_000_000 / scale;
    let ttl = ttl.map_or(Ttl::None, |seconds| Ttl::After(Duration::from_secs(seconds)));
    let engine = Engine::new();
    let db = database(&engine);
    let before = resident();
    (0..count).for_each(|number| store(&db, number, &[b'v'; 64][..len], ttl));
    let per_key = |keys: usize| (resident() - before) as f64 / keys as f64;
    report(&format!("{name}: bytes per key by RSS"), "bytes", per_key(db.len()), goal);
    // A third goes, a third changes its size and back, a third is new.
    let mut draw = uniform(count);
    (0..count / 3).for_each(|_| {
        db.delete(key(draw()));
    });
    (0..count / 3).for_each(|_| store(&db, draw(), &[b'w'; 200][..len * 3], ttl));
    (0..count).for_each(|number| store(&db, number, &[b'v'; 64][..len], ttl));
    // The background thread ends what moving together has begun.
    std::thread::sleep(Duration::from_secs(3));
    report(
        &format!("{name}: after random deletes and changes of size"),
        "bytes",
        per_key(db.len()),
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
            db.hset(key(number), field.as_bytes(), &[b'v'; 16]).expect("a hash");
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
                    db.get_into(&key(u64::MAX / 2 + draw()), &mut buffer).expect("a string");
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
            while watched.len() > OTHERS as usize {
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
    let growths: Vec<Vec<f64>> = (0..REPEATS).map(|_| slowest_sets(5_000_000 / scale)).collect();
    let growths: Vec<&[f64]> = growths.iter().map(|slowest| &slowest[..]).collect();
    report("growth: worst single SET to 5 M keys, CPU time", "us", worst(&least_of(&growths)), 1000.0);
    let name = "growth: worst single SET to 5 M keys, CPU time, worst of the growths";
    tell(name, "us", worst(&growths.concat()));
}

/// Microseconds of CPU time that the slowest SET took, of every ten thousand.
fn slowest_sets(count: u64) -> Vec<f64> {
    let engine = Engine::new();
    let db = database(&engine);
    let mut slowest = vec![0.0; count.div_ceil(10_000) as usize];
    let mut before = thread_ns();
    for number in 0..count {
        store(&db, number, &[b'v'; 64], Ttl::None);
        let now = thread_ns();
        let slowest = &mut slowest[number as usize / 10_000];
        *slowest = f64::max(*slowest, (now - before) as f64 / 1000.0);
        before = now;
    }
    slowest
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
