//! What makes engines survive `fork`: every lock is held across it, so that a child never inherits one that nobody will release.
//!
//! The child keeps a usable copy of every private engine; the threads of the parent don't exist there and are started again on
//! first use, when [`os::generation`] differs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Once, OnceLock, Weak};

use crate::background;
use crate::cache::leases::LEASES;
use crate::commands::table;
use crate::config;
use crate::lazyfree;
use crate::local::Local;
use crate::os::{self, Frozen, Guard};
use crate::striped;
use crate::sync::{Arc, Mutex, MutexGuard};

/// Every engine by its address, which is its own until it has left.
type Engines = BTreeMap<usize, Weak<Local>>;

static ENGINES: LazyLock<Mutex<Engines>> = LazyLock::new(Mutex::default);

/// What a forking thread holds. The background goes first, which who holds an engine's lock may wait for. The list goes before the engines, which
/// leave it if meanwhile everybody else has let go of them, and the registries last, so that the next fork waits for all of it.
struct Held {
    background: background::Held,
    _list: MutexGuard<'static, Engines>,
    _engines: Vec<Frozen>,
    _registries: Vec<Box<dyn Guard>>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Locks the registry of the engines' names, which is above this file.
static FREEZE_NAMES: OnceLock<fn() -> Box<dyn Guard>> = OnceLock::new();

/// Has the engine's locks held across every later fork, and what `freeze_names` locks.
pub(crate) fn protect(engine: &Arc<Local>, freeze_names: fn() -> Box<dyn Guard>) {
    static HANDLERS: Once = Once::new();
    FREEZE_NAMES.get_or_init(|| freeze_names);
    HANDLERS.call_once(|| {
        // Without memory for the handlers a fork is as dangerous as it is without Keystead.
        let _ = os::on_fork(before, after, after_in_child);
    });
    ENGINES.lock().insert(address(engine), Arc::downgrade(engine));
}

/// Takes an engine that ends off the list.
pub(crate) fn forget(engine: &Local) {
    ENGINES.lock().remove(&address(engine));
}

fn address(engine: &Local) -> usize {
    std::ptr::from_ref(engine).addr()
}

/// Takes every lock: first the registries, then engine by engine. Forks of several threads queue at the first. Before all of them ends the turn that
/// some engine has in the background, which takes such locks.
extern "C" fn before() {
    #[cfg(test)]
    forks::BEGUN.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    // A table that another thread is making at its first use would never be finished in the child.
    table::make();
    config::make_tables();
    background::pause();
    let named = FREEZE_NAMES.get().map(|freeze| freeze());
    let list = ENGINES.lock();
    let engines =
        list.values().filter_map(Weak::upgrade).map(|engine| Frozen::new(engine, Local::freeze)).collect();
    let registries =
        named.into_iter().chain([LEASES.freeze(), lazyfree::freeze(), striped::freeze()]).collect();
    let background = background::hold();
    let held = Held { background, _list: list, _engines: engines, _registries: registries };
    HELD.with(|place| *place.borrow_mut() = Some(held));
}

extern "C" fn after() {
    HELD.with(|place| place.borrow_mut().take());
    #[cfg(test)]
    forks::ENDED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

/// Forks of this process, counted for tests: one holds all engines while it lasts.
#[cfg(test)]
pub(crate) mod forks {
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(super) static BEGUN: AtomicU64 = AtomicU64::new(0);
    pub(super) static ENDED: AtomicU64 = AtomicU64::new(0);

    /// How many have ended, where none is under way.
    pub(crate) fn ended() -> Option<u64> {
        let ended = ENDED.load(Ordering::SeqCst);
        (BEGUN.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

extern "C" fn after_in_child() {
    os::begin_generation();
    HELD.with(|place| {
        if let Some(held) = &mut *place.borrow_mut() {
            held.background.begin_anew();
        }
    });
    after();
    // What is on disk belongs to the parent.
    let engines: Vec<_> = ENGINES.lock().values().filter_map(Weak::upgrade).collect();
    engines.iter().for_each(|engine| engine.disown());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;
    use crate::store::key::SHARDS;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The child must not run the test harness on: it answers through its exit code.
    fn child_survives(engine: &Engine) -> bool {
        os::in_fork_by_steps(|trail| {
            trail.step("to open a database and count");
            let db = engine.database(0).expect("database 0 exists");
            let counted = db.incr("forks", 1);
            let before = trail.check(&format!("INCR: {counted:?}"), counted.is_ok());
            trail.step("to open a session");
            let mut session = engine.session(crate::Form::Resp);
            let keyspace = &engine.inner.keyspace;
            trail.step("to lock all shards");
            let expired = || (0..SHARDS).map(|shard| keyspace.lock(shard).stats.expired.get()).sum::<u64>();
            let already = expired();
            trail.step("to SET");
            let reply = session.execute(&[b"SET", b"child", b"1", b"PX", b"20"]);
            let answered =
                trail.check(&format!("SET: {}", String::from_utf8_lossy(reply)), reply == b"+OK\r\n");
            // Nobody asks for the key: only a background thread of the child can reclaim it, or evict it. On a busy machine it may have done so by now.
            let full = db.len().unwrap();
            trail.step("to wait for the key to go");
            let reclaimed = (0..1000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                expired() > already || db.len().unwrap() < full
            });
            let what = || {
                format!(
                    "reclaimed: {} expired after {already}, {} of {full} keys",
                    expired(),
                    db.len().unwrap()
                )
            };
            let reclaimed = reclaimed || trail.check(&what(), false);
            trail.step("to list the clients");
            let listed = session.execute(&[b"CLIENT", b"LIST"]).starts_with(b"$");
            trail.step("to end");
            before && answered && reclaimed && trail.check("CLIENT LIST", listed)
        })
    }

    #[test]
    #[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
    fn children_of_a_busy_process_live_and_work() {
        survive(&Engine::new(), 100, forks(40), |_| true);
    }

    #[test]
    #[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
    fn children_of_an_evicting_process_live_and_work() {
        let words: [&[u8]; 4] = [b"--maxmemory", b"20kb", b"--maxmemory-policy", b"allkeys-adaptive"];
        let config = crate::Config::from_arguments(&words).unwrap();
        let engine = Engine::builder().config(config).open().unwrap();
        // Many times as many as there is room for, whatever they are hashed to: some are evicted all the time, also after CONFIG RESETSTAT.
        let keys = 10_000;
        survive(&engine, keys, forks(12), |engine| engine.inner.keyspace.evictor.counters.evicted() > 0);
    }

    /// How often to fork: `cargo xtask test soak` has it done less often, but anew each time.
    fn forks(usual: usize) -> usize {
        std::env::var("KEYSTEAD_FORKS").map_or(usual, |forks| forks.parse().expect("a number"))
    }

    /// Commands that between them take every lock of an engine.
    const ALL_LOCKS: [&str; 16] = [
        "CLIENT LIST",
        "CLIENT SETNAME busy",
        "INFO everything",
        "NOSUCH command",
        "CONFIG SET notify-keyspace-events KEAm maxmemory-samples 5",
        "CONFIG SET notify-keyspace-events Km",
        "SUBSCRIBE channel",
        "PUBLISH channel message",
        "UNSUBSCRIBE channel",
        "SLOWLOG GET",
        "LATENCY LATEST",
        "LATENCY HISTOGRAM",
        "CONFIG GET *",
        "OBJECT IDLETIME other",
        "BLPOP none 0.001",
        "CONFIG RESETSTAT",
    ];

    /// Forks so often while other threads work, each with so many keys, from the moment when they have come so far.
    fn survive(engine: &Engine, keys: u64, rounds: usize, is_time: fn(&Engine) -> bool) {
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..3)
            .map(|thread| {
                let (engine, stop) = (engine.clone(), stop.clone());
                std::thread::spawn(move || {
                    let db = engine.database(0).unwrap();
                    let mut session = engine.session(crate::Form::Tape);
                    for round in 0u64.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = format!("{thread}:{}", round % keys);
                        db.set(&key, "value").unwrap();
                        session.execute(&[b"MSET", key.as_bytes(), b"1", b"other", b"2"]);
                        let line = ALL_LOCKS[round as usize % ALL_LOCKS.len()];
                        session.execute(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
                    }
                })
            })
            .collect();
        while !is_time(engine) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let alive = (0..rounds).filter(|_| child_survives(engine)).count();
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(alive, rounds);
    }
}
