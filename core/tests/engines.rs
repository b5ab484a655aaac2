//! Engines that come and go, and many at once: what they leave behind is nothing.
//!
//! What one engine takes is measured by `cargo xtask bench limits`.

#![cfg(all(target_os = "linux", not(miri), not(tsan)))]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use keystead::{Clock, Engine, Form, SetOptions, Ttl};

/// Engines that are opened and closed in turn: `cargo xtask test soak` asks for many.
fn in_turn() -> usize {
    std::env::var("KEYSTEAD_ENGINES").map_or(3_000, |count| count.parse().expect("a number"))
}

/// What the process takes is the tests' common concern.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    threads: usize,
    descriptors: usize,
    mappings: usize,
    resident: usize,
}

impl Taken {
    fn now() -> Self {
        // What the allocator keeps for itself is not the engines'.
        let engine = Engine::builder().clock(Clock::manual(1_000)).open().unwrap();
        assert_eq!(engine.session(Form::Resp).execute(&[b"MEMORY", b"PURGE"]), b"+OK\r\n");
        drop(engine);
        let count = |path: &str| std::fs::read_dir(path).unwrap().count();
        let text = |path: &str| std::fs::read_to_string(path).unwrap();
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            mappings: text("/proc/self/maps").lines().count(),
            resident: text("/proc/self/statm").split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096,
        }
    }

    /// Waits until the process takes as little as then, but for some memory: the thread ends a little after the last engine.
    fn comes_back(self, memory: usize) {
        let start = Instant::now();
        loop {
            let now = Self::now();
            // The address sanitizer keeps what was freed for a while.
            let is_kept = std::env::var_os("ASAN_OPTIONS").is_some();
            // An allocator cuts its arenas into a few mappings more.
            let is_back = now.threads <= self.threads
                && now.descriptors == self.descriptors
                && (is_kept || now.mappings <= self.mappings + 16)
                && (is_kept || now.resident <= self.resident + memory);
            if is_back {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{now:?} after {self:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Uses an engine as a program does: for a deadline in its time, one beyond it, and none.
fn use_it(engine: &Engine, number: usize) {
    let db = engine.database(0).unwrap();
    let ttl = |ms: u64| Ttl::After(Duration::from_millis(ms));
    for (key, ttl) in [("soon", ttl(1 + number as u64 % 3)), ("session", ttl(3_600_000)), ("ever", Ttl::None)]
    {
        db.set_with(key, format!("{number}"), SetOptions::new().ttl(ttl)).unwrap();
    }
    assert_eq!(db.get("ever").unwrap().unwrap(), number.to_string().as_bytes());
}

#[test]
fn engines_that_are_opened_and_closed_in_turn_leave_nothing() {
    let _alone = alone();
    let round = |number: usize| {
        let engine = if number.is_multiple_of(5) {
            Engine::open(format!("engine {}", number % 7)).unwrap()
        } else {
            Engine::new()
        };
        if !number.is_multiple_of(3) {
            use_it(&engine, number);
        }
    };
    // What all engines share is made, and the allocator has what it needs.
    (0..500).for_each(round);
    std::thread::sleep(Duration::from_millis(500));
    let before = Taken::now();
    (0..in_turn()).for_each(round);
    before.comes_back(4 << 20);
}

#[test]
fn two_thousand_engines_share_a_thread_and_leave_nothing() {
    const ENGINES: usize = 2_000;
    let _alone = alone();
    (0..20).for_each(|number| use_it(&Engine::new(), number));
    std::thread::sleep(Duration::from_millis(500));
    let before = Taken::now();
    let engines: Vec<Engine> = (0..ENGINES).map(|_| Engine::new()).collect();
    engines.iter().enumerate().for_each(|(number, engine)| use_it(engine, number));
    let open = Taken::now();
    assert!(open.threads <= before.threads + 1, "{open:?} after {before:?}");
    assert_eq!(open.descriptors, before.descriptors);
    let start = Instant::now();
    let mut left: Vec<_> = engines.iter().map(|engine| engine.database(0).unwrap()).collect();
    while !left.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "{} have not reclaimed what expired", left.len());
        left.retain(|db| db.len().unwrap() > 2);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop((left, engines));
    // What the allocator keeps of some 140 MB.
    before.comes_back(24 << 20);
}

#[test]
fn engines_come_and_go_on_all_threads_at_once() {
    let _alone = alone();
    // The allocator keeps memory for so many threads.
    come_and_go();
    let before = Taken::now();
    come_and_go();
    before.comes_back(16 << 20);
}

fn come_and_go() {
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            std::thread::spawn(move || {
                for number in 0..200 {
                    let engine = Engine::new();
                    use_it(&engine, number);
                    let shared = Engine::open("shared").unwrap();
                    shared.database(thread).unwrap().incr("count", 1).unwrap();
                    // Every other is closed by another thread.
                    if number % 2 == 0 {
                        std::thread::spawn(move || drop(engine)).join().unwrap();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_path_can_be_opened_while_other_threads_close_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.ks");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                for _ in 0..100 {
                    let engine =
                        Engine::builder().path(&path).open().expect("whoever had it is of this process");
                    engine.database(0).unwrap().incr("count", 1).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let engine = Engine::builder().path(&path).open().unwrap();
    assert_eq!(engine.database(0).unwrap().incr("count", 0).unwrap(), 400);
}

#[test]
fn a_name_and_a_path_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.ks");
    let error = Engine::builder().name("named").path(&path).open().unwrap_err();
    assert_eq!(error.kind(), keystead::ErrorKind::Usage, "{error}");
    assert!(!path.exists());
}
