//! Tests of turns: the order in which observers hear, and who waits for whom.

use super::*;
use crate::keyspace::{Interest, Observer};
use crate::sync::Arc;
use crate::{Engine, Form, Session};
use std::time::Duration;

fn run(session: &mut Session, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    assert_ne!(session.execute(&words)[0], b'-', "{line}");
}

/// Notes events as `name key`, and has something done at each.
#[derive(Default)]
struct Ear<A = fn(&str)> {
    heard: Mutex<Vec<String>>,
    act: Option<A>,
}

impl<A: Fn(&str) + Send + Sync> Observer for Ear<A> {
    fn interest(&self) -> Interest {
        Interest { changes: false, events: true, misses: true }
    }

    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        let told = format!("{} {}", event.name, event.key.escape_ascii());
        self.heard.lock().push(told.clone());
        if let Some(act) = &self.act {
            act(&told);
            self.heard.lock().push(format!("end of {told}"));
        }
    }
}

fn engine_with<A: Fn(&str) + Send + Sync + 'static>(act: Option<A>) -> (Engine, Arc<Ear<A>>) {
    let (engine, ear) = (Engine::new(), Arc::new(Ear { heard: Mutex::default(), act }));
    engine.observe(ear.clone());
    (engine, ear)
}

/// The event of a key that was deleted stands behind that of the key's coming to be, for each time.
#[test]
fn events_of_a_key_come_in_the_order_of_its_changes() {
    const KEYS: [&str; 2] = ["one", "other"];
    let (engine, ear) = engine_with::<fn(&str)>(None);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                for turn in 0..1_000 {
                    let key = KEYS[(thread + turn) % 2];
                    match (thread * 7 + turn * 3) % 5 {
                        0 => run(&mut session, &format!("SET {key} v")),
                        1 => run(&mut session, &format!("DEL {key}")),
                        2 => {
                            ["MULTI", "SET one w", "DEL other", "EXEC"]
                                .iter()
                                .for_each(|line| run(&mut session, line));
                        }
                        // Whoever reclaims it, this thread or the background.
                        3 => run(&mut session, &format!("SET {key} v PX 1")),
                        _ => run(&mut session, &format!("GET {key}")),
                    }
                }
            });
        }
    });
    let heard = ear.heard.lock();
    for key in KEYS {
        let mut exists = false;
        let mut gone = 0;
        let told: Vec<_> =
            heard.iter().filter_map(|told| told.strip_suffix(key)?.strip_suffix(' ')).collect();
        for (at, name) in told.iter().enumerate() {
            let so_far = &told[at.saturating_sub(8)..=at];
            match *name {
                "new" => assert!(!std::mem::replace(&mut exists, true), "{so_far:?}"),
                "set" | "expire" => assert!(exists, "{so_far:?}"),
                "del" | "expired" => {
                    assert!(std::mem::replace(&mut exists, false), "{so_far:?}");
                    gone += 1;
                }
                "keymiss" => {}
                other => panic!("{other}"),
            }
        }
        assert!(gone > 100, "{gone} of {}", heard.len());
    }
}

#[test]
fn what_an_observer_does_is_told_after_what_it_hears() {
    let engine = Engine::new();
    let weak = Arc::new(engine.clone());
    let act = move |told: &str| {
        if told == "set a" {
            run(&mut weak.session(Form::Resp), "SET b w");
        }
    };
    let ear = Arc::new(Ear { heard: Mutex::default(), act: Some(act) });
    engine.observe(ear.clone());
    for line in ["SET a v", "SET a w"] {
        ear.heard.lock().clear();
        run(&mut engine.session(Form::Resp), line);
        let heard: Vec<_> = ear.heard.lock().iter().filter(|told| !told.contains("new")).cloned().collect();
        assert_eq!(heard, ["set a", "end of set a", "set b", "end of set b"]);
    }
    let observer: std::sync::Arc<dyn Observer> = ear;
    assert!(engine.inner.keyspace.hooks.unobserve(&observer));
}

fn batch(key: &str) -> Batch {
    Batch::copied(
        [].into_iter(),
        [Event { class: EventClass::String, name: "set", db: 0, key: key.as_bytes(), client: 0 }].into_iter(),
    )
}

#[test]
fn whoever_is_before_tells_what_was_left() {
    let (engine, ear) = engine_with::<fn(&str)>(None);
    let hooks = &engine.inner.keyspace.hooks;
    let [first, second, third, fourth] = [(); 4].map(|()| Turn::take(hooks));
    assert!(first.begin() && !third.begin(), "this thread has the first one");
    fourth.leave(batch("fourth"));
    third.tell(batch("third"));
    drop(second);
    assert!(ear.heard.lock().is_empty());
    first.tell(batch("first"));
    assert_eq!(*ear.heard.lock(), ["set first", "set third", "set fourth"]);
    Turn::take(hooks).tell(batch("fifth"));
    assert_eq!(ear.heard.lock().len(), 4);
    assert_eq!(TAKEN.with(Cell::get), 0);
}

#[test]
fn a_thread_waits_for_its_turn() {
    let (engine, ear) = engine_with::<fn(&str)>(None);
    let hooks = &engine.inner.keyspace.hooks;
    let first = Turn::take(hooks);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&mut engine.session(Form::Resp), "SET k v"));
        while hooks.turns.behind.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(engine.database(0).unwrap().get("k").unwrap().is_some(), "it has happened, and is untold");
        assert!(ear.heard.lock().is_empty() && !waiting.is_finished());
        first.tell(batch("first"));
    });
    assert_eq!(*ear.heard.lock(), ["set first", "new k", "set k"]);
}

#[test]
fn a_panic_of_an_observer_takes_no_turn_from_others() {
    let (engine, ear) = engine_with(Some(|told: &str| assert_ne!(told, "set bad", "as planned")));
    let hooks = &engine.inner.keyspace.hooks;
    let [first, left, next] = [(); 3].map(|()| Turn::take(hooks));
    left.leave(batch("bad"));
    next.leave(batch("next"));
    let told = std::panic::catch_unwind(AssertUnwindSafe(|| first.tell(batch("bad"))));
    assert!(told.is_err());
    let heard = ear.heard.lock();
    assert_eq!(*heard, ["set bad", "set bad", "set next", "end of set next"]);
}

#[cfg(unix)]
#[test]
#[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
fn a_forked_child_waits_for_no_turn_of_its_parent() {
    let (engine, ear) = engine_with::<fn(&str)>(None);
    let hooks = &engine.inner.keyspace.hooks;
    let [first, second] = [(); 2].map(|()| Turn::take(hooks));
    second.leave(batch("of the parent"));
    // As in an observer that forks.
    let is_fine = os::in_fork(|| {
        let mut others = std::thread::scope(|scope| {
            scope.spawn(|| run(&mut engine.session(Form::Resp), "SET k v")).join().is_ok()
        });
        others &= first.begin();
        run(&mut engine.session(Form::Resp), "SET k w");
        others && *ear.heard.lock() == ["new k", "set k", "set k"]
    });
    assert!(is_fine);
    first.tell(batch("first"));
    assert_eq!(*ear.heard.lock(), ["set first", "set of the parent"]);
}
