//! Drops values that left the keyspace: after the unlock, and the big ones on a thread of their own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::os::{self, Guard};
use crate::sync::Mutex;
use crate::value::Owned;

/// Values of more elements than this, which take about a tenth of a millisecond to drop, go to the thread.
const SLOW_TO_DROP: usize = 1024;

type Mailbox = Sender<Vec<Owned>>;

/// The thread of this process: the generation that started it, and how to reach it.
static THREAD: LazyLock<Mutex<Option<(u64, Mailbox)>>> = LazyLock::new(Mutex::default);

/// Values handed to the thread and not yet dropped, and values dropped by it: sums over all engines of the process.
static PENDING: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// Drops values without holding up the caller.
pub(crate) fn discard(garbage: Vec<Owned>) {
    if garbage.is_empty() {
        return;
    }
    let elements: usize = garbage.iter().map(|value| value.elements()).sum();
    if elements > SLOW_TO_DROP {
        let count = garbage.len() as u64;
        if let Some(sender) = sender() {
            PENDING.fetch_add(count, Ordering::Relaxed);
            // The thread lives as long as the process.
            let _ = sender.send(garbage);
        }
        // If there is no thread, the values are dropped here.
    }
}

/// Values that wait for the thread.
pub(crate) fn pending() -> u64 {
    PENDING.load(Ordering::Relaxed)
}

/// Values that the thread has dropped so far.
pub(crate) fn freed() -> u64 {
    FREED.load(Ordering::Relaxed)
}

/// Whether something becomes so while the thread has values to drop, or is so when it has none. A large value is there still when the command that removed it
/// has replied.
#[cfg(test)]
pub(crate) fn leads_to(is_so: impl Fn() -> bool) -> bool {
    while pending() > 0 && !is_so() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    is_so()
}

/// Starts counting the dropped values anew.
pub(crate) fn reset_freed() {
    FREED.store(0, Ordering::Relaxed);
}

fn drop_counted(garbage: Vec<Owned>) {
    let count = garbage.len() as u64;
    drop(garbage);
    PENDING.fetch_sub(count, Ordering::Relaxed);
    FREED.fetch_add(count, Ordering::Relaxed);
}

/// The channel to the thread of this process; a forked child starts its own.
fn sender() -> Option<Mailbox> {
    let mut thread = THREAD.lock();
    let here = os::generation();
    if let Some((owner, sender)) = &*thread
        && *owner == here
    {
        return Some(sender.clone());
    }
    let (sender, receiver) = channel::<Vec<Owned>>();
    let run = move || receiver.into_iter().for_each(drop_counted);
    std::thread::Builder::new().name("keystead-lazyfree".into()).spawn(run).ok()?;
    // What waits in the parent's channel is the parent's to drop.
    PENDING.store(0, Ordering::Relaxed);
    // The parent's channel may have been caught by the fork in the middle of something: it is left alone.
    std::mem::forget(thread.replace((here, sender.clone())));
    Some(sender)
}

/// Holds the lock on the thread's channel, for a fork.
pub(crate) fn freeze() -> Box<dyn Guard> {
    Box::new(THREAD.lock())
}
