//! What is being written, and how the last times went.

use std::time::Duration;

use super::Manner;
use super::saving::{Progress, Saved};
use crate::background::NEVER;
use crate::error::Result;
use crate::os;
use crate::sync::Arc;

/// A snapshot that is being written.
pub(super) struct Running {
    pub(super) progress: Arc<Progress>,
    pub(super) manner: Manner,
    /// The process that writes it; in a child of that nobody does.
    pub(super) generation: u64,
    /// Unix seconds; `None` before it has begun in earnest.
    pub(super) started: Option<u64>,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct State {
    pub(super) running: Option<Running>,
    /// One is to be written as soon as nothing else is.
    pub(super) is_scheduled: bool,
    pub(super) last_save_s: u64,
    last_tried_s: u64,
    pub(super) has_failed: bool,
    last_took: Option<Duration>,
    saves: u64,
    /// Changes up to the last snapshot.
    pub(super) changes_saved: u64,
    pub(super) keys_loaded: u64,
    pub(super) keys_expired: u64,
}

/// What INFO says of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Changes since the last snapshot.
    pub(crate) changes: u64,
    pub(crate) is_saving: bool,
    pub(crate) last_save_s: u64,
    pub(crate) has_failed: bool,
    /// Seconds that the last one took.
    pub(crate) last_took_s: Option<u64>,
    /// Seconds that this one has taken.
    pub(crate) takes_s: Option<u64>,
    pub(crate) saves: u64,
    pub(crate) keys_loaded: u64,
    pub(crate) keys_expired: u64,
}

impl State {
    pub(super) fn new(now_s: u64) -> Self {
        Self { last_save_s: now_s, ..Self::default() }
    }

    /// Whether one is being written.
    pub(super) fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.generation == os::generation())
    }

    /// When the next is due by pairs of seconds and changes, if there are no more changes than these.
    pub(super) fn next_save_ms(&self, changes: u64, points: &[(u64, u64)]) -> u64 {
        /// After a failure the next one waits so long.
        const RETRY_S: u64 = 5;
        if self.is_running() {
            return NEVER;
        }
        let changes = changes - self.changes_saved;
        let due = points.iter().filter(|point| changes >= point.1.max(1));
        let due = due.map(|point| self.last_save_s.saturating_add(point.0).saturating_add(1)).min();
        let retry = if self.has_failed { self.last_tried_s + RETRY_S } else { 0 };
        due.map_or(NEVER, |due| due.max(retry).saturating_mul(1000))
    }

    pub(super) fn started(&mut self, now_s: u64) {
        self.last_tried_s = now_s;
        self.saves += 1;
        if let Some(running) = &mut self.running {
            running.started = Some(now_s);
        }
    }

    /// One has ended, that began when there had been so many changes.
    pub(super) fn ended(
        &mut self,
        saved: &Result<Saved>,
        changes: u64,
        now_s: u64,
        took: Duration,
        is_cancelled: bool,
    ) {
        let running = self.running.take();
        let is_remembered = running.is_some_and(|running| running.manner == Manner::Background);
        if is_remembered {
            self.last_took = Some(took);
            self.has_failed |= saved.is_err() && !is_cancelled;
        }
        if saved.is_ok() {
            self.changes_saved = changes;
            self.last_save_s = now_s;
            self.has_failed = false;
        }
    }

    pub(super) fn status(&self, changes: u64, now_s: u64) -> Status {
        let started = self.running.as_ref().and_then(|running| running.started);
        Status {
            changes: changes - self.changes_saved,
            is_saving: self.is_running(),
            last_save_s: self.last_save_s,
            has_failed: self.has_failed,
            last_took_s: self.last_took.map(|took| took.as_secs()),
            takes_s: started.map(|started| now_s.saturating_sub(started)),
            saves: self.saves,
            keys_loaded: self.keys_loaded,
            keys_expired: self.keys_expired,
        }
    }
}
