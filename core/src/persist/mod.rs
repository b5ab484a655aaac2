//! Data on disk: snapshots in files of the server's format, and the log of all writes.
//!
//! What an engine keeps is said by its options; who opens it says whether it keeps anything by itself. How commands are repeated from the log is not this
//! module's affair.

pub(crate) mod files;
pub(crate) mod loading;
pub(crate) mod saving;
mod status;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::background::NEVER;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::keyspace::{Db, Keyspace};
use crate::os::{self, Guard};
use crate::sync::{Arc, Mutex};
use loading::{Loaded, Twice};
use saving::{Progress, Purpose};
pub(crate) use status::Status;
use status::{Running, State};

/// What an engine has on disk, and what is being written.
#[derive(Default)]
pub(crate) struct Persistence {
    state: Mutex<State>,
    /// Libraries of functions that were loaded; they are kept as they are.
    functions: Mutex<Vec<Vec<u8>>>,
    /// The thread that writes a snapshot, or did, and the process that it belongs to.
    saver: Mutex<Option<(u64, JoinHandle<()>)>>,
    /// Snapshots are written by themselves, as the options say.
    is_durable: AtomicBool,
}

/// Who waits for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Whoever asked for it, and hears how it went.
    Waited,
    /// Nobody: how it went is remembered.
    Background,
}

/// What asking for a snapshot in the background comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Started,
    Scheduled,
}

impl Persistence {
    /// As of an engine that begins now, at `now_s` unix seconds.
    pub(crate) fn new(now_s: u64) -> Self {
        Self { state: Mutex::new(State::new(now_s)), ..Self::default() }
    }

    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.state.lock()));
        held.push(Box::new(self.functions.lock()));
        held.push(Box::new(self.saver.lock()));
    }

    /// Has snapshots written by themselves from now on, as the options say.
    pub(crate) fn set_durable(&self) {
        self.is_durable.store(true, Ordering::Relaxed);
    }

    /// Whether snapshots are written by themselves.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable.load(Ordering::Relaxed)
    }

    /// Gives up the snapshot that is being written, and waits until nothing is.
    pub(crate) fn end(&self) {
        self.cancel();
        self.cancel();
        let saver = self.saver.lock().take();
        if let Some((generation, thread)) = saver
            && generation == os::generation()
        {
            // One that panicked has ended, too.
            let _ = thread.join();
        }
    }

    /// Remembers the thread that writes the snapshot that was begun.
    pub(crate) fn keep_saver(&self, thread: JoinHandle<()>) {
        *self.saver.lock() = Some((os::generation(), thread));
    }

    /// How far things are at `now_s` unix seconds, when there have been so many changes.
    pub(crate) fn status(&self, changes: u64, now_s: u64) -> Status {
        self.state.lock().status(changes, now_s)
    }

    /// Unix seconds of the last snapshot; before the first that of the start.
    pub(crate) fn last_save_s(&self) -> u64 {
        self.state.lock().last_save_s
    }

    /// Takes the databases, in which there have been so many changes, for what was saved: they have been loaded.
    fn loaded(&self, changes: u64, loaded: Loaded) {
        let mut state = self.state.lock();
        state.changes_saved = changes;
        (state.keys_loaded, state.keys_expired) = (loaded.keys, loaded.expired);
        drop(state);
        *self.functions.lock() = loaded.functions;
    }

    /// Writes a snapshot to the file that the options name. O(data).
    ///
    /// # Errors
    /// Another is being written, or the file can't be.
    pub(crate) fn save(&self, keyspace: &Keyspace) -> Result<()> {
        let progress = self.begin(Manner::Waited)?;
        self.run(keyspace, &progress)
    }

    /// [`Persistence::save`] of databases whose shards are all locked.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn save_held(&self, db: &mut Db<'_>) -> Result<()> {
        let progress = self.begin(Manner::Waited)?;
        let (clock, timer) = (&db.keyspace().clock, db.keyspace().clock.timer());
        self.state.lock().started(clock.now_ms() / 1000);
        let functions = self.functions.lock().clone();
        let changes = changes_in(db);
        let saved = saving::save_held(db, &snapshot_path(&db.keyspace().config), &functions);
        self.state.lock().ended(
            &saved,
            changes,
            clock.now_ms() / 1000,
            timer.elapsed(),
            progress.is_cancelled(),
        );
        saved.map(drop)
    }

    /// Reads the snapshot that the options name into databases whose shards are all locked.
    ///
    /// # Errors
    /// There is none, it is damaged, or it can't be read; the keys before are there.
    pub(crate) fn reload(&self, db: &mut Db<'_>, twice: Twice) -> Result<()> {
        let path = snapshot_path(&db.keyspace().config);
        let mut file = File::open(&path).map_err(|error| files::told("Opening", &path, &error))?;
        let (loaded, _) =
            loading::read(db.keyspace(), &mut file, |record| loading::put_into(db, record, twice))?;
        let changes = changes_in(db);
        self.loaded(changes, loaded);
        Ok(())
    }

    /// Reads the snapshot that the options name, if there is one, into an engine that nobody uses yet. Says whether there is.
    ///
    /// # Errors
    /// It is damaged, or it can't be read.
    pub(crate) fn load(&self, keyspace: &Keyspace) -> Result<bool> {
        let path = snapshot_path(&keyspace.config);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| files::told("Opening", &path, &error))?,
        };
        let (loaded, _) = loading::read(keyspace, &mut file, |record| loading::put(keyspace, record))?;
        self.loaded(changes(keyspace), loaded);
        Ok(true)
    }

    /// Begins a snapshot: [`Persistence::run`] writes it.
    ///
    /// # Errors
    /// Another is being written.
    pub(crate) fn begin(&self, manner: Manner) -> Result<Arc<Progress>> {
        let mut state = self.state.lock();
        if state.is_running() {
            return Err(Error::command("Background save already in progress"));
        }
        let progress = Arc::new(Progress::default());
        let (progress_of_it, generation) = (progress.clone(), os::generation());
        state.running = Some(Running { progress: progress_of_it, manner, generation, started: None });
        Ok(progress)
    }

    /// Writes the snapshot that was begun.
    ///
    /// # Errors
    /// The file can't be written, or it was cancelled.
    pub(crate) fn run(&self, keyspace: &Keyspace, progress: &Progress) -> Result<()> {
        let (timer, before) = (keyspace.clock.timer(), changes(keyspace));
        self.state.lock().started(keyspace.clock.now_ms() / 1000);
        let functions = self.functions.lock().clone();
        let target = snapshot_path(&keyspace.config);
        let saved = saving::save(keyspace, &target, (Purpose::Snapshot, &functions), progress, || ());
        let now_s = keyspace.clock.now_ms() / 1000;
        self.state.lock().ended(&saved, before, now_s, timer.elapsed(), progress.is_cancelled());
        saved.map(drop)
    }

    /// Forgets a snapshot that was begun and will not be written.
    pub(crate) fn forget(&self) {
        self.state.lock().running = None;
    }

    /// Has the snapshot that is being written, or was asked for, given up. Says which.
    pub(crate) fn cancel(&self) -> Option<Begun> {
        let mut state = self.state.lock();
        if let Some(running) = state.running.as_ref().filter(|_| state.is_running()) {
            running.progress.cancel();
            return Some(Begun::Started);
        }
        std::mem::take(&mut state.is_scheduled).then_some(Begun::Scheduled)
    }

    /// Whether a snapshot was to be written when there is none. It is asked for once.
    pub(crate) fn take_scheduled(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_scheduled)
    }

    /// Whether the last snapshot could not be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().has_failed
    }

    /// When a snapshot is due by these pairs of seconds and changes, if nothing changes until then: unix milliseconds.
    pub(crate) fn next_save_ms(&self, keyspace: &Keyspace, points: &[(u64, u64)]) -> u64 {
        if points.is_empty() {
            return NEVER;
        }
        let changes = changes(keyspace);
        self.state.lock().next_save_ms(changes, points)
    }
}

/// The file that the options name for snapshots.
pub(crate) fn snapshot_path(config: &Config) -> PathBuf {
    folder(config).join(text(config, "dbfilename"))
}

/// The folder that the options name.
pub(crate) fn folder(config: &Config) -> PathBuf {
    PathBuf::from(text(config, "dir"))
}

fn text(config: &Config, name: &str) -> std::ffi::OsString {
    let bytes = config.text(name).unwrap_or_default();
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(bytes);
    #[cfg(not(unix))]
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// [`changes`] as of databases whose shards are all locked.
fn changes_in(db: &mut Db<'_>) -> u64 {
    let mut changes = db.keyspace().dirty.load(Ordering::Relaxed);
    db.locks_mut().each_mut(|shard| changes += shard.stats.changes.get());
    changes
}

/// Changes of keys since the engine began.
pub(crate) fn changes(keyspace: &Keyspace) -> u64 {
    let shards = keyspace.made_shards().map(|shard| keyspace.lock(shard).stats.changes.get());
    shards.sum::<u64>() + keyspace.dirty.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
