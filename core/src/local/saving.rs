//! Snapshots to disk: who writes them, and when.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Local;
use crate::background::NEVER;
use crate::error::{Error, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Keyspace};
use crate::persist::saving::Progress;
use crate::persist::{Manner, Persistence, Task, refusing};

/// Milliseconds between two looks at whether a snapshot is due.
const LOOK_MS: u64 = 1000;

/// Time that an engine has for itself before its file is read whole, to be verified.
const SETTLED: Duration = Duration::from_millis(200);

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

    /// Begins to write a snapshot, or the log anew, by a thread of its own.
    ///
    /// # Errors
    /// Something is being written, or there can be no thread.
    pub(crate) fn write_in_background(&self, task: Task) -> Result<()> {
        self.begin_in_background(task, move |persistence, keyspace, progress| match task {
            Task::Save => persistence.run(keyspace, progress),
            Task::Rewrite => persistence.rewrite(keyspace, progress, false),
        })
    }

    fn begin_in_background(
        &self,
        task: Task,
        write: impl FnOnce(&Persistence, &Keyspace, &Progress) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let progress = self.persistence.begin(task, Manner::Background)?;
        let engine = self.own.upgrade().expect("whoever has a reference keeps it alive");
        let own = progress.clone();
        self.spawn_saver(&progress, move || {
            // INFO says how it went, and refused writes.
            let _ = write(&engine.persistence, &engine.keyspace, &own);
            engine.refuse_if_unsaved();
            if let Some(next) = engine.persistence.take_scheduled() {
                // One that can't begin is tried no more.
                let _ = engine.write_in_background(next);
            }
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

    /// Ends the server, behind a snapshot if `saves` says so, or, where it says nothing, the options. What fails stops that unless it `is_forced`.
    ///
    /// # Errors
    /// There is no server, or the snapshot can't be written: it goes on.
    pub(crate) fn shut_down(&self, saves: Option<bool>, is_forced: bool) -> Result<()> {
        if !self.network.is_server() {
            return Err(Error::command("There is no server to shut down: close the engine instead"));
        }
        if saves.unwrap_or_else(|| !self.config.save_points().is_empty()) {
            self.persistence.give_up();
            let failed = || Error::command("Errors trying to SHUTDOWN. Check logs.");
            self.save().map_err(|_| failed()).or_else(|error| if is_forced { Ok(()) } else { Err(error) })?;
        }
        self.network.end();
        Ok(())
    }

    /// Has all databases hold what a snapshot holds, and nothing else. Until that is on disk, too, no write may begin. O(data).
    ///
    /// # Errors
    /// It is damaged or can't be read, or the engine is closed: nothing has changed. Or there is no memory for it, or the log can't be written anew.
    pub(crate) fn restore(&self, path: &Path) -> Result<()> {
        let keyspace = &self.keyspace;
        if self.persistence.is_closed() {
            return self.persistence.check_folder();
        }
        keyspace.hooks.refuse(Some(Error::loading()));
        let mut db = Db::new(keyspace, (0, 0), Locks::all(keyspace));
        // What the log has is the state before, until it has been written anew.
        let log = keyspace.hooks.set_journal(None);
        let restored = self.persistence.restore(&mut db, path);
        if restored.is_err() && db.changes() == 0 {
            keyspace.hooks.set_journal(log);
            db.release();
            self.refuse_if_unsaved();
            return restored;
        }
        let is_logged = log.is_some();
        drop(log);
        if is_logged {
            // Who has waited for a shard since before writes were refused would be in no log.
            keyspace.hooks.set_journal(Some(refusing(Error::loading())));
        }
        db.finish_unasked(0);
        let logged = if is_logged { self.begin_log_anew() } else { Ok(()) };
        self.refuse_if_unsaved();
        restored.and(logged)
    }

    /// Begins a log of what there is in place of one that nobody appends to any more. If that fails no write may begin until it is tried again: it would be
    /// acknowledged, and in no log.
    fn begin_log_anew(&self) -> Result<()> {
        let keyspace = &self.keyspace;
        // What it has not written is the state before.
        let _ = self.persistence.end_log();
        self.persistence.begin_logging(keyspace).inspect_err(|error| {
            let _all = Locks::all(keyspace);
            keyspace.hooks.set_journal(Some(refusing(error.clone())));
        })
    }

    /// What is used is damaged: no write may begin any more, and nothing is written to disk.
    pub(super) fn set_damaged(&self, error: Error) {
        if self.persistence.damage().is_none() {
            self.persistence.set_damaged(error);
            self.refuse_if_unsaved();
        }
    }

    /// Verifies what is used and was not verified yet, by a thread of its own.
    pub(crate) fn verify_in_background(&self) {
        let Some(file) = self.persistence.take_unverified() else { return };
        let own = self.own.clone();
        let verify = move || {
            // Whoever opens the engine reads the first keys meanwhile.
            std::thread::sleep(SETTLED);
            let goes_on = || own.strong_count() > 0;
            let verified = if goes_on() { file.verify(goes_on) } else { Ok(()) };
            let Some(engine) = own.upgrade() else { return };
            engine.keyspace.read_ahead(true);
            if let Err(error) = verified {
                engine.set_damaged(error);
            }
        };
        // Without a thread it is as if nobody had asked.
        if std::thread::Builder::new().name("keystead-verify".into()).spawn(verify).is_err() {
            self.keyspace.read_ahead(true);
        }
    }

    /// Lets go of what is on disk: this process is a child of the one that it belongs to.
    pub(crate) fn disown(&self) {
        self.persistence.disown();
        if self.persistence.is_logging() {
            self.keyspace.hooks.set_journal(None);
        }
    }

    /// Begins or ends the log, if the options say something else than what is done.
    ///
    /// # Errors
    /// It can't be begun.
    pub(crate) fn adopt_log(&self) -> Result<()> {
        let wanted = self.config.hot().appendonly();
        if wanted == self.persistence.is_logging() {
            return Ok(());
        }
        if wanted {
            self.persistence.check_folder()?;
            self.persistence.lock_log(&self.config)?;
            self.persistence.begin_logging(&self.keyspace)
        } else {
            self.persistence.end_logging(&self.keyspace);
            Ok(())
        }
    }

    /// Refuses writes while snapshots fail, if the options ask for that and for snapshots.
    pub(crate) fn refuse_if_unsaved(&self) {
        let hot = self.config.hot();
        let refuses = hot.stop_writes_on_bgsave_error()
            && !self.config.save_points().is_empty()
            && self.persistence.has_failed();
        let damage = self.persistence.damage();
        self.keyspace.hooks.refuse(damage.or_else(|| refuses.then(Error::unsaved)));
    }

    /// Begins a backup if one is due by now. Returns when the next one is, in unix milliseconds.
    pub(crate) fn back_up_if_due(&self, now_ms: u64) -> u64 {
        if !self.persistence.is_durable() {
            return NEVER;
        }
        let due = self.persistence.next_backup_ms(&self.config, now_ms);
        if due <= now_ms {
            // While something else is being written it has to wait.
            let _ = self.begin_in_background(Task::Save, move |persistence, keyspace, progress| {
                persistence.back_up(keyspace, progress, now_ms)
            });
        }
        due
    }

    /// Begins a snapshot, or to rewrite the log, if that is due by now. Returns when to look again, in unix milliseconds.
    pub(super) fn save_if_due(&self, now_ms: u64) -> u64 {
        if !self.persistence.acts_by_itself() {
            return NEVER;
        }
        let next = self.next_look_ms.load(Ordering::Relaxed);
        if now_ms < next {
            return next;
        }
        if self.persistence.is_rewrite_due(&self.config) {
            let _ = self.write_in_background(Task::Rewrite);
        }
        // An engine in memory that keeps a log takes no snapshots.
        let is_durable = self.persistence.is_durable();
        let points = if is_durable { self.config.save_points() } else { Vec::new() };
        let due = self.persistence.next_save_ms(&self.keyspace, &points);
        if due <= now_ms {
            let _ = self.write_in_background(Task::Save);
        }
        let due = due.min(self.back_up_if_due(now_ms));
        let next = if due == NEVER { NEVER } else { due.max(now_ms + LOOK_MS) };
        // What is changed meanwhile comes with a use of the engine, after which it has turns again.
        self.next_look_ms.store(now_ms + LOOK_MS, Ordering::Relaxed);
        next
    }
}
