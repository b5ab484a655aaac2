//! Who sees each command that is executed: the clients that said MONITOR.
//!
//! What a line says is [`crate::command::monitor`]'s.

use crate::clients::ClientInfo;
use crate::os::{self, Guard};
use crate::sync::{Arc, Mutex};

/// A client that monitors, and [`os::generation`] of the process in which it does.
struct Monitor {
    client: Arc<ClientInfo>,
    generation: u64,
}

/// The monitoring clients of an engine.
#[derive(Default)]
pub(crate) struct Monitors(Mutex<Vec<Monitor>>);

impl Monitors {
    /// Locks what it guards.
    pub(crate) fn freeze(&self) -> Box<dyn Guard + '_> {
        Box::new(self.0.lock())
    }

    /// Has a client see commands from now on. `changed` is told, one change at a time, whether there is anybody.
    pub(crate) fn enter(&self, client: &Arc<ClientInfo>, changed: impl FnOnce(bool)) {
        let mut monitors = self.0.lock();
        monitors.push(Monitor { client: client.clone(), generation: os::generation() });
        changed(true);
    }

    /// Ends that.
    pub(crate) fn leave(&self, id: u64, changed: impl FnOnce(bool)) {
        let mut monitors = self.0.lock();
        monitors.retain(|monitor| monitor.client.id != id);
        changed(!monitors.is_empty());
    }

    /// Those who see commands now. Whoever forked this process sees its own.
    pub(crate) fn all(&self, changed: impl FnOnce(bool)) -> Vec<Arc<ClientInfo>> {
        let mut monitors = self.0.lock();
        let before = monitors.len();
        monitors.retain(|monitor| monitor.generation == os::generation());
        if monitors.len() != before {
            changed(!monitors.is_empty());
        }
        monitors.iter().map(|monitor| monitor.client.clone()).collect()
    }
}
