//! The three logs of remarkable commands. Which commands those are is [`crate::command`]'s affair; how entries are kept, that of [`crate::latency`].

use crate::latency::SlowLog;
use crate::os::Guard;
use crate::sync::Mutex;

/// One of the three logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Commands that took long; entries count microseconds.
    Slow,
    /// Commands with large arguments; entries count bytes.
    LargeRequest,
    /// Commands with large replies; entries count bytes.
    LargeReply,
}

/// The logs of an engine.
#[derive(Default)]
pub(crate) struct CommandLogs {
    logs: [Mutex<SlowLog>; 3],
}

impl CommandLogs {
    /// Locks all three.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.extend(self.logs.iter().map(|log| Box::new(log.lock()) as Box<dyn Guard + 'a>));
    }

    pub(crate) fn of(&self, log: Log) -> &Mutex<SlowLog> {
        &self.logs[log as usize]
    }
}
