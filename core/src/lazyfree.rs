//! Drops values that left the keyspace: after the unlock, and the big ones on a thread of their own.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use crate::sync::Mutex;
use crate::value::HeapValue;

/// Values that take longer than about a tenth of a millisecond to drop go to the thread.
const SLOW_TO_DROP: usize = 1024;

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
    static THREAD: OnceLock<Mutex<Option<(u32, Sender<Vec<HeapValue>>)>>> = OnceLock::new();
    let mut thread = THREAD.get_or_init(|| Mutex::new(None)).lock();
    let process = std::process::id();
    if let Some((owner, sender)) = &*thread
        && *owner == process
    {
        return Some(sender.clone());
    }
    let (sender, receiver) = channel::<Vec<HeapValue>>();
    let started = std::thread::Builder::new()
        .name("keystead-lazyfree".into())
        .spawn(move || receiver.into_iter().for_each(drop));
    started.ok()?;
    *thread = Some((process, sender.clone()));
    Some(sender)
}
