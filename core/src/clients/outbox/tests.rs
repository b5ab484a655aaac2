//! Tests of outboxes: order, bounds, wakers, parked threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn message(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

#[test]
fn messages_come_in_order_and_too_many_are_dropped_and_told() {
    let outbox = Outbox::default();
    assert!(outbox.push(&message("one"), 7) && outbox.push(&message("four"), 7));
    assert_eq!((outbox.bytes(), outbox.len()), (7, 2));
    assert_eq!(outbox.take_push(), Ok(Some(message("one"))));
    assert!(!outbox.push(&message("fourteen"), 7));
    assert_eq!((outbox.bytes(), outbox.len()), (0, 0));
    assert!(outbox.push(&message("after"), 7));
    assert_eq!(outbox.take_push(), Err(Lost));
    assert_eq!(outbox.take_push(), Ok(Some(message("after"))));
    assert_eq!(outbox.take_push(), Ok(None));
    assert!(!outbox.push(&message("x"), 0));
    outbox.forget_pushes();
    assert_eq!(outbox.take_push(), Ok(None));
}

#[test]
fn whatever_comes_wakes_the_client() {
    let (outbox, bell) = (Outbox::default(), Arc::new(Bell::default()));
    assert!(outbox.deliver(1, Late::default()).is_none());
    outbox.set_waker(Some(bell.clone()));
    assert!(outbox.deliver(2, Late { bytes: b"late".to_vec(), ..Late::default() }).is_none());
    outbox.push(&message("m"), 10);
    outbox.nudge();
    assert_eq!(bell.0.load(Ordering::Relaxed), 3);
    outbox.set_waker(None);
    outbox.nudge();
    assert_eq!((bell.0.load(Ordering::Relaxed), Arc::strong_count(&bell)), (3, 1));
    assert_eq!(outbox.take_late().unwrap().bytes, b"late");
    assert!(outbox.take_late().is_none());
}

#[test]
fn a_parked_thread_goes_on_when_something_comes() {
    let outbox = Outbox::default();
    // Nothing to wait for.
    outbox.park(Awaited::Late, Some(Duration::ZERO));
    outbox.push(&message("m"), 10);
    outbox.park(Awaited::Push, None);
    outbox.nudge();
    outbox.park(Awaited::Late, None);
    std::thread::scope(|scope| {
        let parked = scope.spawn(|| {
            outbox.park(Awaited::Late, None);
            outbox.take_late().unwrap().bytes
        });
        assert!(outbox.deliver(2, Late { bytes: b"late".to_vec(), ..Late::default() }).is_none());
        assert_eq!(parked.join().unwrap(), b"late");
    });
}

#[test]
fn a_refused_reply_comes_back_now_or_later() {
    let outbox = Outbox::default();
    assert!(outbox.deliver(1, Late { bytes: b"one".to_vec(), ..Late::default() }).is_none());
    assert_eq!(outbox.refuse(1).unwrap().bytes, b"one");
    assert!(outbox.take_late().is_none());
    // It is still to come, and the session waits for another by then.
    assert!(outbox.refuse(2).is_none());
    assert!(outbox.deliver(3, Late { bytes: b"three".to_vec(), ..Late::default() }).is_none());
    assert_eq!(outbox.deliver(2, Late { bytes: b"two".to_vec(), ..Late::default() }).unwrap().bytes, b"two");
    assert_eq!(outbox.take_late().unwrap().bytes, b"three");
    assert!(outbox.deliver(2, Late::default()).is_none(), "once");
}
