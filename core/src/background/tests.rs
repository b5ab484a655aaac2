//! Turns of engines that are made up: their order, what waits for what, and the end of the thread's work.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::patience::{SOME_TIME, wait_until};

/// An engine whose turns are what a test says.
struct Fake {
    task: Task,
    turns: AtomicUsize,
    act: Box<dyn Fn(&Fake) -> Next + Send + Sync>,
}

impl Work for Fake {
    fn task(&self) -> &Task {
        &self.task
    }

    fn turn(&self) -> Next {
        self.turns.fetch_add(1, Ordering::SeqCst);
        (self.act)(self)
    }

    fn fall_asleep(&self) {}
}

impl Fake {
    fn entered(act: impl Fn(&Fake) -> Next + Send + Sync + 'static) -> Arc<Fake> {
        let fake = Arc::new(Fake { task: Task::new(false), turns: AtomicUsize::new(0), act: Box::new(act) });
        enter(fake.clone());
        fake
    }

    fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }
}

const DONE: Next = Next { at: NEVER, is_idle: true };
/// Turns that stand still until they are let go: what the test hears of, and says.
fn held_up() -> (Arc<Fake>, Receiver<()>, Sender<()>) {
    let ((begun, hear), (let_go, may_go)) = (channel(), channel::<()>());
    let may_go = std::sync::Mutex::new(may_go);
    let fake = Fake::entered(move |_| {
        begun.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        DONE
    });
    hasten(fake.task.id, 0);
    hear.recv_timeout(SOME_TIME).unwrap();
    (fake, hear, let_go)
}

#[test]
fn turns_come_in_the_order_of_their_times_on_common_ticks() {
    let mut schedule = Schedule::new();
    // No thread of this schedule's own: what it starts looks at the other.
    schedule.thread = os::generation();
    let fake =
        || Arc::new(Fake { task: Task::new(false), turns: AtomicUsize::new(0), act: Box::new(|_| DONE) });
    let ids: Vec<u64> = (0..3)
        .map(|_| {
            let work = fake();
            let id = work.task.id;
            schedule.slots.insert(id, Slot { work, at: NEVER, is_leaving: false });
            id
        })
        .collect();
    assert!(matches!(schedule.next_step(0), Step::SleepUntil(NEVER)));
    for (id, at) in [(ids[0], 5_003), (ids[1], 5_009), (ids[2], 4_991), (ids[2], 6_000)] {
        assert!(schedule.hasten(id, at));
    }
    assert!(matches!(schedule.next_step(1_000), Step::SleepUntil(2_000)), "not longer than a second");
    assert!(matches!(schedule.next_step(4_999), Step::SleepUntil(5_000)));
    let turn = |schedule: &mut Schedule, now| match schedule.next_step(now) {
        Step::Turn(id, _) => {
            schedule.begin_turn(id);
            id
        }
        _ => panic!("there is a turn"),
    };
    assert_eq!(turn(&mut schedule, 5_015), ids[2]);
    // It has more to do: the others first.
    schedule.end_turn(ids[2], Next { at: 5_015, is_idle: false }, 5_016);
    assert_eq!(turn(&mut schedule, 5_016), ids[0]);
    // What somebody arms during the turn counts, and so does what the turn knows.
    assert!(schedule.hasten(ids[0], 5_095));
    schedule.end_turn(ids[0], Next { at: 5_555, is_idle: false }, 5_016);
    assert_eq!(turn(&mut schedule, 5_016), ids[1]);
    schedule.end_turn(ids[1], DONE, 5_016);
    assert_eq!(turn(&mut schedule, 5_016), ids[2]);
    schedule.end_turn(ids[2], DONE, 5_017);
    assert!(matches!(schedule.next_step(5_017), Step::SleepUntil(5_100)));
    schedule.forks = 1;
    assert!(matches!(schedule.next_step(9_000), Step::Pause));
    schedule.forks = 0;
    schedule.hasten_all(4_000);
    assert_eq!([4_000; 3].map(|now| turn(&mut schedule, now)).len(), 3, "the time was set");
    schedule.slots.clear();
    schedule.queue.clear();
    assert!(matches!(schedule.next_step(0), Step::Linger));
}

#[test]
fn a_deadline_has_no_mark_beyond_all_time() {
    let fake = Fake::entered(|_| DONE);
    for at in [u64::MAX, u64::MAX - 1, u64::MAX / TICK_MS * TICK_MS] {
        hasten(fake.task.id, at);
    }
    leave(&fake.task);
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn whoever_has_more_to_do_than_a_turn_does_not_hold_up_the_others() {
    let busy = |_: &Fake| {
        let start = Clock::system().timer();
        while start.elapsed() < Duration::from_millis(1) {}
        Next { at: 0, is_idle: false }
    };
    let busy = [Fake::entered(busy), Fake::entered(busy)];
    busy.iter().for_each(|busy| hasten(busy.task.id, 0));
    wait_until("both have turns", || busy.iter().all(|busy| busy.turns() > 2));
    let (seen, hear) = channel();
    let other = Fake::entered(move |_| {
        seen.send(Clock::system_ms()).unwrap();
        DONE
    });
    let mut late = Vec::new();
    for _ in 0..10 {
        let at = Clock::system_ms() + 20;
        hasten(other.task.id, at);
        late.push(hear.recv_timeout(SOME_TIME).unwrap().saturating_sub(at));
    }
    late.sort_unstable();
    // A tick and some turns; the rest is what a busy machine takes.
    assert!(late[3] <= 250, "{late:?}");
    assert!(busy[0].turns().abs_diff(busy[1].turns()) <= 10 + busy[0].turns() / 4, "they take turns");
    busy.iter().chain([&other]).for_each(|fake| leave(&fake.task));
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn who_leaves_waits_for_its_own_turn_only() {
    let (fake, _hear, let_go) = held_up();
    let other = Fake::entered(|_| DONE);
    hasten(other.task.id, 0);
    leave(&other.task);
    assert_eq!(other.turns(), 0, "the thread was busy all the time");
    let weak = Arc::downgrade(&fake);
    let (left, hear) = channel();
    let leaving = std::thread::spawn(move || {
        leave(&fake.task);
        left.send(()).unwrap();
        assert_eq!(Arc::strong_count(&fake), 1, "the schedule has let go");
    });
    assert!(hear.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
    let_go.send(()).unwrap();
    leaving.join().unwrap();
    assert!(weak.upgrade().is_none());
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn who_leaves_in_its_own_turn_does_not_wait() {
    let fake = Fake::entered(|fake| {
        leave(&fake.task);
        Next { at: 0, is_idle: false }
    });
    let weak = Arc::downgrade(&fake);
    hasten(fake.task.id, 0);
    drop(fake);
    wait_until("the engine ends with its turn", || weak.upgrade().is_none());
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn a_panic_ends_a_turn_and_not_the_thread() {
    let fake = Fake::entered(|fake| {
        assert!(fake.turns() > 1, "expected by the test");
        DONE
    });
    fake.task.tell();
    wait_until("the first turn", || fake.turns() == 1);
    wait_until("a turn after the panic", || {
        // The use may be told before that turn has ended.
        fake.task.tell();
        fake.turns() >= 2
    });
    leave(&fake.task);
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn a_use_that_is_told_during_the_last_turn_keeps_the_engine_awake() {
    let ((begun, hear), (let_go, may_go)) = (channel(), channel::<()>());
    let may_go = std::sync::Mutex::new(may_go);
    let fake = Fake::entered(move |fake| {
        let was_told = fake.task.was_told();
        begun.send(was_told).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        Next { at: NEVER, is_idle: !was_told }
    });
    // Its turn, at which the use is known, comes only once the thread is free.
    let (other, _other_hears, other_may_go) = held_up();
    fake.task.tell();
    assert!(!fake.task.is_asleep() && fake.task.is_told());
    other_may_go.send(()).unwrap();
    leave(&other.task);
    assert!(hear.recv_timeout(SOME_TIME).unwrap());
    assert!(!fake.task.is_told(), "the next use is told again");
    hasten(fake.task.id, 0);
    let_go.send(()).unwrap();
    assert!(!hear.recv_timeout(SOME_TIME).unwrap());
    fake.task.tell();
    let_go.send(()).unwrap();
    assert!(hear.recv_timeout(SOME_TIME).unwrap(), "what was told in a turn is the next one's");
    assert!(!fake.task.is_asleep());
    hasten(fake.task.id, 0);
    let_go.send(()).unwrap();
    assert!(!hear.recv_timeout(SOME_TIME).unwrap());
    let_go.send(()).unwrap();
    wait_until("it falls asleep", || fake.task.is_asleep());
    leave(&fake.task);
}

#[test]
#[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
fn a_fork_waits_for_the_turn_of_the_moment_and_keeps_others_from_beginning() {
    let (fake, _hear, let_go) = held_up();
    let (paused, hear) = channel();
    let forking = std::thread::spawn(move || {
        pause();
        paused.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(SCHEDULE.lock().running.is_none());
        drop(hold());
    });
    assert!(hear.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
    let_go.send(()).unwrap();
    hear.recv_timeout(SOME_TIME).unwrap();
    forking.join().unwrap();
    let other = Fake::entered(|_| DONE);
    hasten(other.task.id, 0);
    wait_until("turns go on", || other.turns() == 1);
    [&fake, &other].into_iter().for_each(|fake| leave(&fake.task));
}
