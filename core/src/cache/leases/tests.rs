//! Who leads, who waits, and who must not: by numbers of loads and threads alone.

use super::*;
use std::sync::atomic::AtomicUsize;

struct Bench {
    leases: Leases,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self { leases: Leases::default(), clock: Clock::system() }
    }

    fn ask(&self, key: &str, caller: &Caller<'_>) -> Asked {
        self.ask_over(key, caller, Over::Hopeless)
    }

    fn ask_over(&self, key: &str, caller: &Caller<'_>, over: Over) -> Asked {
        self.leases.ask(&self.clock, &place(0, key), caller, over)
    }

    #[track_caller]
    fn lead(&self, key: &str, caller: &Caller<'_>) -> Lease {
        match self.ask(key, caller) {
            Asked::Lead(lease) => lease,
            Asked::Wait(_) => panic!("{key} is another's to load"),
        }
    }

    #[track_caller]
    fn wait(&self, key: &str, caller: &Caller<'_>) -> u64 {
        match self.ask(key, caller) {
            Asked::Wait(wait) => wait,
            Asked::Lead(_) => panic!("nobody loads {key}"),
        }
    }

    fn value(&self, wait: u64) -> Option<Vec<u8>> {
        match self.leases.landing(wait)? {
            Landing::Value(value) => Some(value.to_vec()),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        let table = self.leases.lock();
        let Table { current, under_way, waits, blocked, .. } = &*table;
        current.is_empty() && under_way.is_empty() && waits.is_empty() && blocked.is_empty()
    }
}

fn place(engine: u64, key: &str) -> Place {
    Place { engine, db: 0, key: key.as_bytes().into() }
}

fn on(thread: u64) -> Caller<'static> {
    Caller { thread, blocks: true, ..Caller::default() }
}

fn task(thread: u64) -> Caller<'static> {
    Caller { thread, ..Caller::default() }
}

fn value(text: &str) -> Landing {
    Landing::Value(text.as_bytes().into())
}

#[test]
fn one_leads_and_the_others_get_what_it_loaded() {
    let bench = Bench::new();
    let lease = bench.lead("k", &on(1));
    let waits = [bench.wait("k", &on(2)), bench.wait("k", &task(3)), bench.wait("k", &task(3))];
    bench.lead("other", &on(4));
    let elsewhere = [place(1, "k"), Place { db: 1, ..place(0, "k") }];
    for place in elsewhere {
        assert!(matches!(bench.leases.ask(&bench.clock, &place, &on(5), Over::Hopeless), Asked::Lead(_)));
    }
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = || {
        let woken = woken.clone();
        Box::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        })
    };
    bench.leases.on_landing(waits[0], wake());
    bench.leases.on_landing(waits[1], wake());
    assert!(waits.iter().all(|wait| bench.leases.landing(*wait).is_none()));
    bench.leases.land(lease.id, &value("v"));
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    bench.leases.on_landing(waits[2], wake());
    assert_eq!(woken.load(Ordering::Relaxed), 3, "who comes late is called at once");
    assert!(waits.iter().all(|wait| bench.value(*wait).as_deref() == Some(b"v")));
    bench.lead("k", &on(2));
    bench.leases.land(lease.id, &value("twice"));
    assert_eq!(bench.value(waits[0]).as_deref(), Some(b"v".as_slice()));
}

#[test]
fn nothing_is_left_when_all_is_over() {
    let bench = Bench::new();
    let outer = bench.lead("a", &on(1));
    let within = Caller { within: &outer.within, ..on(1) };
    let inner = bench.lead("b", &within);
    let nested = Caller { within: &inner.within, ..on(2) };
    let third = bench.lead("c", &on(3));
    let waits = [bench.wait("c", &nested), bench.wait("c", &task(4)), bench.wait("b", &on(4))];
    bench.leases.leave(waits[0]);
    bench.leases.leave(waits[0]);
    for lease in [&third, &outer, &inner] {
        bench.leases.land(lease.id, &Landing::Again);
    }
    waits.iter().for_each(|wait| bench.leases.leave(*wait));
    assert!(bench.is_empty());
}

#[test]
fn a_load_that_needs_its_own_key_does_not_wait_for_itself() {
    let bench = Bench::new();
    let outer = bench.lead("k", &task(1));
    let inner = bench.lead("k", &Caller { within: &outer.within, ..task(1) });
    assert_eq!(*inner.within, [outer.id, inner.id]);
    // Tasks that the loader began share one load among them.
    let sibling = bench.wait("k", &Caller { within: &outer.within, ..task(1) });
    let stranger = bench.wait("k", &task(2));
    bench.leases.land(inner.id, &value("inner"));
    assert!([sibling, stranger].iter().all(|wait| bench.value(*wait).as_deref() == Some(b"inner")));
    bench.leases.land(outer.id, &value("outer"));
    // What has ended is no reason: a task may outlive the load that began it.
    let caller = Caller { within: &inner.within, ..task(1) };
    let again = bench.lead("k", &caller);
    assert_eq!(*again.within, [again.id]);
    bench.wait("k", &caller);
}

#[test]
fn crossed_loads_do_not_wait_for_each_other() {
    let bench = Bench::new();
    let a = bench.lead("a", &task(1));
    let b = bench.lead("b", &task(1));
    let c = bench.lead("c", &on(2));
    bench.wait("b", &Caller { within: &a.within, ..task(1) });
    let wait = bench.wait("c", &Caller { within: &b.within, ..task(1) });
    let over = bench.lead("a", &Caller { within: &c.within, ..on(2) });
    bench.leases.land(over.id, &Landing::Again);
    // Without b's wait there is no circle.
    bench.leases.leave(wait);
    bench.lead("a", &on(9));
    bench.wait("a", &Caller { within: &c.within, ..on(2) });
}

#[test]
fn a_thread_does_not_wait_for_what_it_holds_up() {
    let bench = Bench::new();
    // Of a task on this thread, and of whoever waits for that task.
    let task_load = bench.lead("task", &task(1));
    let other = bench.lead("other", &on(2));
    bench.wait("task", &Caller { within: &other.within, ..on(2) });
    let over = bench.lead("other", &on(1));
    bench.leases.land(over.id, &Landing::Again);
    bench.lead("task", &on(1));
    bench.wait("task", &task(1));
    // While thread 1 waits for thread 3, all its tasks do.
    let third = bench.lead("third", &on(3));
    bench.wait("third", &on(1));
    let _ = (task_load, third);
    bench.lead("task", &on(3));
}

#[test]
fn a_load_that_takes_too_long_is_begun_again_with_twice_the_patience() {
    // Twice as long must be enough for what follows on a busy machine.
    let patience = Duration::from_millis(500);
    let bench = Bench { leases: Leases { patience, ..Leases::default() }, ..Bench::new() };
    let first = bench.lead("k", &on(1));
    let early = bench.wait("k", &on(2));
    assert!(bench.leases.left(early) <= patience);
    std::thread::sleep(patience);
    assert_eq!(bench.leases.left(early), Duration::ZERO);
    let second = bench.lead("k", &on(2));
    let wait = bench.wait("k", &on(3));
    assert!(bench.leases.left(wait) > patience);
    // Whichever ends first serves those who came for the other.
    bench.leases.land(first.id, &value("slow"));
    assert_eq!(bench.value(wait).as_deref(), Some(b"slow".as_slice()));
    assert_eq!(bench.leases.target(wait).unwrap().0, second.id);
    bench.wait("k", &on(4));
    bench.leases.land(second.id, &value("second"));
    bench.lead("k", &on(4));
}

#[test]
fn failures_are_for_those_who_waited_for_that_load() {
    let bench = Bench::new();
    let first = bench.lead("k", &on(1));
    let (early, _) = (bench.wait("k", &on(2)), bench.leases.leave(0));
    let Asked::Lead(second) = bench.ask_over("k", &on(3), Over::This(first.id)) else {
        panic!("the first load was given up");
    };
    let late = bench.wait("k", &on(4));
    bench.leases.land(first.id, &Landing::Failed(Arc::new("down")));
    let Some(Landing::Failed(error)) = bench.leases.landing(early) else { panic!("it failed") };
    assert_eq!(error.downcast_ref::<&str>(), Some(&"down"));
    assert!(bench.leases.landing(late).is_none());
    // A load that was given up by another is not given up twice.
    assert!(matches!(bench.ask_over("k", &on(5), Over::This(first.id)), Asked::Wait(_)));
    bench.leases.land(second.id, &Landing::Nothing);
    assert!(matches!(bench.leases.landing(late), Some(Landing::Nothing)));
}

#[test]
fn who_comes_after_a_change_begins_anew() {
    let bench = Bench::new();
    let first = bench.lead("k:1", &on(1));
    let early = bench.wait("k:1", &on(2));
    bench.leases.void(0, 0, b"k:2");
    bench.leases.void(0, 1, b"k:");
    bench.leases.void(1, 0, b"k:");
    bench.wait("k:1", &on(3));
    bench.leases.void(0, 0, b"k:");
    assert!(first.changed.load(Ordering::Acquire));
    bench.lead("k:1", &on(4));
    let late = bench.wait("k:1", &on(5));
    bench.leases.land(first.id, &value("old"));
    assert_eq!(bench.value(early).as_deref(), Some(b"old".as_slice()));
    assert!(bench.leases.landing(late).is_none(), "what is from before the change is not for who came after");
}

#[test]
fn threads_have_numbers_of_their_own() {
    let here = this_thread();
    assert_eq!(here, this_thread());
    assert_ne!(here, std::thread::spawn(this_thread).join().unwrap());
}
