//! Sessions that are to look at a time whether that is over which they wait: tasks have no thread that could sleep until then, so that the background
//! thread wakes them.

use std::collections::BTreeMap;

use crate::background::{self, NEVER, Task};
use crate::clients::ClientInfo;
use crate::os::Guard;
use crate::sync::{Arc, Mutex};

/// See the module's text.
#[derive(Default)]
pub(crate) struct Alarms {
    /// By unix milliseconds and the session's number.
    set: Mutex<BTreeMap<(u64, u64), Arc<ClientInfo>>>,
}

impl Alarms {
    /// Has a session woken at this time, within a tick of the background thread.
    pub(crate) fn set(&self, at_ms: u64, client: &Arc<ClientInfo>, task: &Task) {
        self.set.lock().insert((at_ms, client.id), client.clone());
        // Whoever takes a turn meanwhile has either seen the alarm or is told of it now.
        background::hasten(task.id(), at_ms);
    }

    /// Takes an alarm back.
    pub(crate) fn clear(&self, at_ms: u64, client: &ClientInfo) {
        self.set.lock().remove(&(at_ms, client.id));
    }

    /// Wakes those whose time has come.
    pub(super) fn ring(&self, now_ms: u64) {
        let due = {
            let mut set = self.set.lock();
            if set.first_key_value().is_none_or(|((at, _), _)| *at > now_ms) {
                return;
            }
            let later = set.split_off(&(now_ms.saturating_add(1), 0));
            std::mem::replace(&mut *set, later)
        };
        due.values().for_each(|client| client.outbox.wake());
    }

    /// When the next rings.
    pub(super) fn earliest(&self) -> u64 {
        self.set.lock().first_key_value().map_or(NEVER, |((at, _), _)| *at)
    }

    /// How many are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.set.lock().len()
    }

    /// Locks what it guards.
    pub(super) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.set.lock()));
    }
}
