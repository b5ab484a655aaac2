//! When an engine sleeps and wakes, and that its deadlines are kept meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use crate::background::{self, Work};
use crate::clock::{Clock, Timer};
use crate::fork;
use crate::keyspace::{Event, Observer};
use crate::patience::wait_until;
use crate::pulse::Totals;
use crate::sync::Arc;
use crate::{Engine, Form, SetOptions, Ttl};
use std::sync::mpsc::{Sender, channel};

fn timer() -> Timer {
    Clock::system().timer()
}

fn set(engine: &Engine, key: &str, ttl: Ttl) {
    engine.database(0).unwrap().set_with(key, "value", SetOptions::new().ttl(ttl)).unwrap();
}

fn wait_for_sleep(engine: &Engine) {
    wait_until("it falls asleep", || engine.inner.task().is_asleep());
}

/// Waits until an engine without deadlines has no turns: one that falls asleep may still have memory to give back.
fn wait_for_rest(engine: &Engine) {
    wait_for_sleep(engine);
    wait_until("its turns end", || !background::is_scheduled(engine.inner.task()));
}

/// Milliseconds that the engine's clock is late by.
fn lateness(engine: &Engine) -> u64 {
    let clock = &engine.inner.keyspace.clock;
    clock.now_ms() - clock.coarse_ms()
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn an_engine_that_nobody_uses_has_no_rounds() {
    let engine = Engine::new();
    assert!(engine.inner.task().is_asleep());
    set(&engine, "key", Ttl::None);
    assert!(!engine.inner.task().is_asleep());
    wait_for_rest(&engine);
    let rounds = engine.inner.pulse.rounds();
    assert!(rounds >= 10, "{rounds}: as long as it may be used again");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(engine.inner.pulse.rounds(), rounds);
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn whatever_uses_an_engine_after_a_sleep_finds_the_time_right() {
    type Use = fn(&Engine);
    let uses: [(&str, Use); 8] = [
        ("a read", |engine| _ = engine.database(0).unwrap().get("key").unwrap()),
        ("a read of a large value", |engine| _ = engine.database(0).unwrap().get("large").unwrap()),
        ("a question", |engine| assert!(engine.database(0).unwrap().contains("key").unwrap())),
        ("an overwrite", |engine| set(engine, "key", Ttl::None)),
        ("a new key", |engine| set(engine, "another", Ttl::None)),
        ("a counter", |engine| _ = engine.database(0).unwrap().incr("counter", 1).unwrap()),
        ("a field", |engine| _ = engine.database(0).unwrap().hset("hash", b"field", b"v").unwrap()),
        ("a session", |engine| _ = engine.session(Form::Resp)),
    ];
    for policy in ["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-adaptive"] {
        let config =
            crate::Config::from_text(format!("maxmemory 100mb\nmaxmemory-policy {policy}\n").as_bytes());
        let engine = Engine::builder().config(config.unwrap()).open().unwrap();
        let db = engine.database(0).unwrap();
        db.set("large", "v".repeat(10_000)).unwrap();
        set(&engine, "key", Ttl::None);
        db.incr("counter", 1).unwrap();
        for (what, act) in uses {
            wait_for_rest(&engine);
            std::thread::sleep(Duration::from_millis(100));
            assert!(lateness(&engine) >= 90, "{what}: nobody keeps the clock");
            let clock = &engine.inner.keyspace.clock;
            let before = clock.now_ms();
            act(&engine);
            assert!(clock.coarse_ms() >= before, "{what} under {policy}");
        }
    }
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn a_key_that_is_read_after_a_sleep_was_used_just_now() {
    let engine = Engine::new();
    let mut session = engine.session(Form::Resp);
    set(&engine, "read", Ttl::None);
    set(&engine, "left", Ttl::None);
    wait_for_sleep(&engine);
    std::thread::sleep(Duration::from_millis(2_500));
    let start = timer();
    assert!(engine.database(0).unwrap().get("read").unwrap().is_some());
    let mut idle_s = |key: &[u8]| {
        let reply = String::from_utf8(session.execute(&[b"OBJECT", b"IDLETIME", key]).to_vec()).unwrap();
        reply[1..].trim().parse::<u64>().unwrap()
    };
    let (read, left) = (idle_s(b"read"), idle_s(b"left"));
    // The stamp's clock moves every half second.
    let most = (start.elapsed() + Duration::from_millis(500)).as_secs();
    assert!(read <= most, "{read} s after {most}");
    assert!(left >= 2, "{left} s");
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn reads_alone_keep_an_engine_awake() {
    let engine = Engine::new();
    let db = engine.database(0).unwrap();
    set(&engine, "key", Ttl::None);
    let start = timer();
    let mut longest = Duration::ZERO;
    while start.elapsed() < Duration::from_millis(500) {
        let before = timer();
        db.get("key").unwrap();
        std::thread::sleep(Duration::from_millis(1));
        longest = longest.max(before.elapsed());
        // On a busy machine nothing may have read for as long.
        assert!(!engine.inner.task().is_asleep() || longest > Duration::from_millis(90));
    }
}

/// Tells what has expired, and when.
struct Listener(std::sync::Mutex<Sender<(String, Duration)>>, Timer);

impl Observer for Listener {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}
    fn notified(&self, event: &Event<'_>) {
        if event.name == "expired" {
            let key = String::from_utf8(event.key.to_vec()).unwrap();
            self.0.lock().unwrap().send((key, self.1.elapsed())).unwrap();
        }
    }
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn deadlines_of_a_sleeping_engine_are_kept() {
    let engine = Engine::new();
    let (sender, heard) = channel();
    let start = timer();
    engine.observe(Arc::new(Listener(std::sync::Mutex::new(sender), start)));
    let left = |ms: u64| Duration::from_millis(ms).saturating_sub(start.elapsed());
    set(&engine, "never", Ttl::None);
    // The second comes before the first, and the third before what the thread sleeps for at most.
    for (key, ms) in [("late", 1_700), ("early", 600), ("later", 1_720)] {
        set(&engine, key, Ttl::After(left(ms)));
    }
    let mut session = engine.session(Form::Resp);
    session.execute(&[b"HSET", b"hash", b"f", b"1", b"g", b"2"]);
    let field = left(900).as_millis().to_string();
    session.execute(&[b"HPEXPIRE", b"hash", field.as_bytes(), b"FIELDS", b"1", b"f"]);
    drop(session);
    wait_for_sleep(&engine);
    // On a busy machine several may be reclaimed at once, in any order.
    let mut when: HashMap<String, Duration> = HashMap::new();
    wait_until("three keys expire", || {
        when.extend(heard.try_iter());
        when.len() == 3
    });
    let late = |(key, ms)| when[key].saturating_sub(Duration::from_millis(ms));
    let mut lateness: Vec<_> = [("early", 600), ("late", 1_700), ("later", 1_720)].map(late).to_vec();
    assert!(engine.inner.task().is_asleep(), "nobody has used it");
    lateness.sort_unstable();
    // A tick; the rest is what a busy machine takes. How late they really are, `cargo xtask bench limits` tells.
    assert!(lateness[0] < Duration::from_millis(250), "{lateness:?}");
    let fields = engine.inner.keyspace.expired_fields.load(crate::sync::Ordering::Relaxed);
    assert_eq!((fields, engine.database(0).unwrap().len().unwrap()), (1, 2));
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn an_engine_that_is_closed_by_its_own_observer_ends() {
    struct Closer(std::sync::Mutex<Option<Engine>>);
    impl Observer for Closer {
        fn modified(&self, _: usize, _: &[u8], _: u64) {}
        fn notified(&self, event: &Event<'_>) {
            if event.name == "expired" {
                drop(self.0.lock().unwrap().take());
            }
        }
    }
    let engine = Engine::new();
    let weak = Arc::downgrade(&engine.inner);
    let closer = Arc::new(Closer(std::sync::Mutex::new(None)));
    engine.observe(closer.clone());
    set(&engine, "key", Ttl::After(Duration::from_millis(50)));
    *closer.0.lock().unwrap() = Some(engine);
    wait_until("it ends", || weak.strong_count() == 0);
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn what_is_closed_is_gone_at_once() {
    for round in 0..300 {
        let engine = Engine::new();
        let weak = Arc::downgrade(&engine.inner);
        set(&engine, "key", Ttl::After(Duration::from_millis(1 + round % 5)));
        std::thread::sleep(Duration::from_micros(100 * round));
        let forks = fork::forks::ended();
        drop(engine);
        let is_gone = weak.strong_count() == 0;
        // A fork of another test keeps all engines while it lasts, and ends those that were closed meanwhile.
        assert!(is_gone || forks.is_none() || fork::forks::ended() != forks);
    }
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn switched_off_expiry_goes_on_once_it_is_switched_on() {
    let config = crate::Config::from_text(b"enable-debug-command yes\n").unwrap();
    let engine = Engine::builder().config(config).open().unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"]), b"+OK\r\n");
    set(&engine, "key", Ttl::After(Duration::from_millis(20)));
    wait_for_rest(&engine);
    assert_eq!(engine.database(0).unwrap().len().unwrap(), 1);
    let rounds = engine.inner.pulse.rounds();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(engine.inner.pulse.rounds(), rounds, "nothing is due as long as it is off");
    assert_eq!(session.execute(&[b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1"]), b"+OK\r\n");
    wait_until("it is reclaimed", || engine.database(0).unwrap().is_empty().unwrap());
}

/// A fork locks all, as this does; it once had the statistics by then and waited for the pulse.
#[test]
fn who_samples_the_pace_is_told_by_the_statistics_while_all_is_being_locked() {
    let engine = Engine::new();
    let local = &engine.inner;
    std::thread::scope(|scope| {
        local.pulse.sample(u64::MAX, || {
            let (begin, begun) = channel();
            scope.spawn(move || {
                begin.send(()).unwrap();
                local.freeze(&mut Vec::new());
            });
            begun.recv().unwrap();
            // Until it comes to the pulse.
            std::thread::sleep(Duration::from_millis(50));
            let (tell, told) = channel();
            scope.spawn(move || tell.send(local.stats.commands_processed()));
            let commands = told.recv_timeout(Duration::from_secs(20)).expect("the statistics are free");
            Totals { commands, input: 0, output: 0 }
        });
    });
}
