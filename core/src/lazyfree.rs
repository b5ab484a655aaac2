//! Drops values that left the keyspace: after the unlock, and the big ones on a thread of their own.

use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

use crate::fork;
use crate::os::Guard;
use crate::sync::Mutex;
use crate::value::HeapValue;

/// Values of more elements than this, which take about a tenth of a millisecond to drop, go to the thread.
const SLOW_TO_DROP: usize = 1024;

/// The thread of this process: the generation that started it, and how to reach it.
static THREAD: LazyLock<Mutex<Option<(u64, Sender<Vec<HeapValue>>)>>> = LazyLock::new(Mutex::default);

/// Drops values without holding up the caller.
pub(crate) fn discard(garbage: Vec<HeapValue>) {
    if garbage.is_empty() {
        return;
    }
    let elements: usize = garbage.iter().map(HeapValue::elements).sum();
    if elements > SLOW_TO_DROP {
        // If there is no thread, the values are dropped here.
        let _ = sender().map(|sender| sender.send(garbage));
    }
}

/// The channel to the thread of this process; a forked child starts its own.
fn sender() -> Option<Sender<Vec<HeapValue>>> {
    let mut thread = THREAD.lock();
    let here = fork::generation();
    if let Some((owner, sender)) = &*thread
        && *owner == here
    {
        return Some(sender.clone());
    }
    let (sender, receiver) = channel::<Vec<HeapValue>>();
    let run = move || receiver.into_iter().for_each(drop);
    std::thread::Builder::new().name("keystead-lazyfree".into()).spawn(run).ok()?;
    // The parent's channel may have been caught by the fork in the middle of something: it is left alone.
    std::mem::forget(thread.replace((here, sender.clone())));
    Some(sender)
}

/// Holds the lock on the thread's channel, for a fork.
pub(crate) fn freeze() -> Box<dyn Guard> {
    Box::new(THREAD.lock())
}
