//! Snapshots to disk: who writes them, and when.

use std::sync::atomic::Ordering;

use super::Local;
use crate::background::NEVER;
use crate::error::{Error, Result};
use crate::persist::Manner;
use crate::persist::saving::Progress;

/// Milliseconds between two looks at whether a snapshot is due.
const LOOK_MS: u64 = 1000;

impl Local {
    /// Writes a snapshot and waits for it. O(data).
    ///
    /// # Errors
    /// Another is being written, or it can't be.
    pub(crate) fn save(&self) -> Result<()> {
        self.persistence.save(&self.keyspace)?;
        self.refuse_if_unsaved();
        Ok(())
    }

    /// Begins a snapshot that a thread of its own writes.
    ///
    /// # Errors
    /// Another is being written, or there can be no thread.
    pub(crate) fn save_in_background(&self) -> Result<()> {
        let progress = self.persistence.begin(Manner::Background)?;
        let engine = self.own.upgrade().expect("whoever has a reference keeps it alive");
        let own = progress.clone();
        self.spawn_saver(&progress, move || {
            // INFO says how it went, and refused writes.
            let _ = engine.persistence.run(&engine.keyspace, &own);
            engine.saved_in_background();
        })
    }

    fn spawn_saver(&self, progress: &Progress, run: impl FnOnce() + Send + 'static) -> Result<()> {
        match std::thread::Builder::new().name("keystead-save".into()).spawn(run) {
            Ok(thread) => {
                self.persistence.keep_saver(thread);
                Ok(())
            }
            Err(error) => {
                progress.cancel();
                self.persistence.forget();
                Err(Error::io("Starting a thread", &error))
            }
        }
    }

    fn saved_in_background(&self) {
        self.refuse_if_unsaved();
        if self.persistence.take_scheduled() {
            // One that can't begin is tried no more.
            let _ = self.save_in_background();
        }
    }

    /// Refuses writes while snapshots fail, if the options ask for that and for snapshots.
    pub(crate) fn refuse_if_unsaved(&self) {
        let hot = self.config.hot();
        let refuses = hot.stop_writes_on_bgsave_error()
            && !self.config.save_points().is_empty()
            && self.persistence.has_failed();
        self.keyspace.hooks.refuse(refuses.then(Error::unsaved));
    }

    /// Begins a snapshot if one is due by now. Returns when to look again, in unix milliseconds.
    pub(super) fn save_if_due(&self, now_ms: u64) -> u64 {
        if !self.persistence.is_durable() {
            return NEVER;
        }
        let next = self.next_look_ms.load(Ordering::Relaxed);
        if now_ms < next {
            return next;
        }
        let points = self.config.save_points();
        let due = self.persistence.next_save_ms(&self.keyspace, &points);
        if due <= now_ms {
            let _ = self.save_in_background();
        }
        let next = if due == NEVER { NEVER } else { due.max(now_ms + LOOK_MS) };
        // What is changed meanwhile comes with a use of the engine, after which it has turns again.
        self.next_look_ms.store(now_ms + LOOK_MS, Ordering::Relaxed);
        next
    }
}
