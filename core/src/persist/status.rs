//! What is being written, and how the last times went.

use std::time::Duration;

use super::Manner;
use super::saving::Progress;
use crate::background::NEVER;
use crate::error::{Error, Result};
use crate::os;
use crate::sync::Arc;

/// What can be written, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A snapshot.
    Save,
    /// A log anew.
    Rewrite,
}

/// Something that is being written.
pub(super) struct Running {
    task: Task,
    progress: Arc<Progress>,
    manner: Manner,
    /// The process that writes it; in a child of that nobody does.
    generation: u64,
    /// Unix seconds; `None` before it has begun in earnest.
    started: Option<u64>,
}

/// How often something was tried in the background, and how it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    pub(crate) is_running: bool,
    /// One is to begin as soon as nothing else is being written.
    pub(crate) is_scheduled: bool,
    /// Failures since the last one that went well.
    pub(crate) failures: u64,
    pub(crate) count: u64,
    /// How long the last one took.
    pub(crate) last_took: Option<Duration>,
    /// Seconds that the one of the moment has taken.
    pub(crate) takes_s: Option<u64>,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct State {
    running: Option<Running>,
    saves: Tries,
    rewrites: Tries,
    pub(super) last_save_s: u64,
    last_tried_s: u64,
    /// Changes up to the last snapshot.
    changes_saved: u64,
    keys_loaded: u64,
    keys_expired: u64,
}

/// What INFO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Changes since the last snapshot.
    pub(crate) changes: u64,
    pub(crate) last_save_s: u64,
    pub(crate) keys_loaded: u64,
    pub(crate) keys_expired: u64,
    pub(crate) saves: Tries,
    pub(crate) rewrites: Tries,
}

impl State {
    pub(super) fn new(now_s: u64) -> Self {
        Self { last_save_s: now_s, ..Self::default() }
    }

    /// What is being written.
    pub(super) fn running(&self) -> Option<Task> {
        let running = self.running.as_ref().filter(|running| running.generation == os::generation())?;
        Some(running.task)
    }

    pub(super) fn tries(&mut self, task: Task) -> &mut Tries {
        match task {
            Task::Save => &mut self.saves,
            Task::Rewrite => &mut self.rewrites,
        }
    }

    /// Begins to write something.
    ///
    /// # Errors
    /// Something is being written.
    pub(super) fn begin(&mut self, task: Task, manner: Manner) -> Result<Arc<Progress>> {
        if let Some(running) = self.running() {
            return Err(Error::command(match (task, running) {
                (Task::Save, Task::Save) => "Background save already in progress",
                (Task::Rewrite, Task::Rewrite) => "Background append only file rewriting already in progress",
                (Task::Save, Task::Rewrite) => {
                    "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE \
                     whenever possible."
                }
                (Task::Rewrite, Task::Save) => {
                    "Can't execute an AOF background rewriting. Please check the server logs for more information."
                }
            }));
        }
        let progress = Arc::new(Progress::default());
        let (own, generation) = (progress.clone(), os::generation());
        self.running = Some(Running { task, progress: own, manner, generation, started: None });
        self.tries(task).is_scheduled = false;
        Ok(progress)
    }

    /// Has what is being written given up. Says whether there is something of the kind.
    pub(super) fn cancel(&mut self, task: Task) -> bool {
        let is_running = self.running() == Some(task);
        if let Some(running) = self.running.as_ref().filter(|_| is_running) {
            running.progress.cancel();
        }
        is_running
    }

    /// Forgets what was begun and will not be written.
    pub(super) fn forget(&mut self) {
        self.running = None;
    }

    /// What was begun has begun in earnest.
    pub(super) fn started(&mut self, now_s: u64) {
        let Some(running) = &mut self.running else { return };
        running.started = Some(now_s);
        let task = running.task;
        self.tries(task).count += 1;
        if task == Task::Save {
            self.last_tried_s = now_s;
        }
    }

    /// What was being written has ended.
    pub(super) fn ended(&mut self, is_well: bool, took: Duration) {
        let Some(running) = self.running.take() else { return };
        let tries = self.tries(running.task);
        if running.manner == Manner::Background {
            tries.last_took = Some(took);
            tries.failures += u64::from(!is_well && !running.progress.is_cancelled());
        }
        if is_well {
            tries.failures = 0;
        }
    }

    /// There is a snapshot of what there was when there had been so many changes.
    pub(super) fn saved(&mut self, changes: u64, now_s: u64) {
        self.changes_saved = changes;
        self.last_save_s = now_s;
    }

    /// What there is, when there have been so many changes, was loaded.
    pub(super) fn loaded(&mut self, changes: u64, keys: u64, expired: u64) {
        self.changes_saved = changes;
        (self.keys_loaded, self.keys_expired) = (keys, expired);
    }

    /// When the next snapshot is due by pairs of seconds and changes, if there are no more changes than these.
    pub(super) fn next_save_ms(&self, changes: u64, points: &[(u64, u64)]) -> u64 {
        /// After a failure the next one waits so long.
        const RETRY_S: u64 = 5;
        if self.running().is_some() {
            return NEVER;
        }
        let changes = changes - self.changes_saved;
        let due = points.iter().filter(|point| changes >= point.1.max(1));
        let due = due.map(|point| self.last_save_s.saturating_add(point.0).saturating_add(1)).min();
        let retry = if self.saves.failures > 0 { self.last_tried_s + RETRY_S } else { 0 };
        due.map_or(NEVER, |due| due.max(retry).saturating_mul(1000))
    }

    pub(super) fn status(&self, changes: u64, now_s: u64) -> Status {
        let told = |task, tries: Tries| {
            let running = self.running.as_ref().filter(|running| running.task == task);
            let started = running.and_then(|running| running.started);
            let is_running = self.running() == Some(task);
            Tries { is_running, takes_s: started.map(|started| now_s.saturating_sub(started)), ..tries }
        };
        Status {
            changes: changes - self.changes_saved,
            last_save_s: self.last_save_s,
            keys_loaded: self.keys_loaded,
            keys_expired: self.keys_expired,
            saves: told(Task::Save, self.saves),
            rewrites: told(Task::Rewrite, self.rewrites),
        }
    }
}
