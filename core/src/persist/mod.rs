//! Data on disk: snapshots in files of the server's format, and the log of all writes.
//!
//! What an engine keeps is said by its options; who opens it says whether it keeps anything by itself. How commands are repeated from the log is not this
//! module's affair.

pub(crate) mod backups;
mod commands;
mod frames;
pub(crate) mod loading;
mod lock;
pub(crate) mod log;
pub(crate) mod log_reader;
pub(crate) mod logging;
pub(crate) mod manifest;
pub(crate) mod mapped;
mod ring;
pub(crate) mod saving;
pub(crate) mod source;
pub(crate) mod staging;
mod status;
mod syncing;
pub(crate) mod writing;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::background::NEVER;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
pub(crate) use crate::files;
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Group, Journal, Keyspace, Ticket};
use crate::os::{self, Frozen, Guard};
use crate::rdb::Version;
use crate::sync::Arc;
use crate::sync::apart::{Condvar, Mutex};
use backups::Backups;
use loading::Loaded;
use lock::Lock;
use log::Log;
use logging::{Files, Logging};
use mapped::MappedFile;
use saving::{Progress, Purpose};
use status::State;
pub(crate) use status::{Status, Task, Tries};
use writing::Form;

/// What snapshots are written as.
const SNAPSHOT_FORM: Form = Form::Rdb(Version::Valkey);

/// What an engine has on disk, and what is being written.
#[derive(Default)]
pub(crate) struct Persistence {
    state: Mutex<State>,
    /// Nothing is being written any more.
    idle: Condvar,
    /// Libraries of functions that were loaded; they are kept as they are.
    functions: Mutex<Vec<Vec<u8>>>,
    /// How often they were loaded.
    functions_version: AtomicU64,
    /// The thread that writes a snapshot or rewrites the log, or did, and the process that it belongs to.
    saver: Mutex<Option<(u64, JoinHandle<()>)>>,
    logging: Mutex<Option<Logging>>,
    files: Mutex<Files>,
    backups: Mutex<Backups>,
    /// The lock of the folder.
    lock: Mutex<Option<Lock>>,
    /// Snapshots are written by themselves, as the options say.
    is_durable: AtomicBool,
    /// What whoever opened the engine should know.
    notes: Mutex<Vec<String>>,
    /// What is used, and not verified yet.
    unverified: Mutex<Option<MappedFile>>,
    /// What is used is damaged.
    damage: OnceLock<Error>,
    /// Why nothing is written to the folder any more.
    given_up: OnceLock<Error>,
}

/// Takes the place of a log that has ended, so that nothing is acknowledged which is in none.
struct Refusing(Error);

impl Journal for Refusing {
    fn refusal(&self) -> Option<Error> {
        Some(self.0.clone())
    }

    fn append(&self, _: &Group) -> Result<Ticket> {
        Err(self.0.clone())
    }
}

/// A log that takes no writes, for this reason.
pub(crate) fn refusing(error: Error) -> Arc<dyn Journal> {
    Arc::new(Refusing(error))
}

/// What is told where an engine has ended.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "ERR this engine is closed")
}

/// Who waits for something to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Whoever asked for it, and hears how it went.
    Waited,
    /// Nobody: how it went is remembered.
    Background,
}

/// What asking for something to be written in the background comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Started,
    Scheduled,
}

/// How the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogStatus {
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    /// Those it had when it was rewritten last, or when the engine began.
    pub(crate) bytes_at_rewrite: u64,
    /// Bytes that are not in the file yet.
    pub(crate) pending: u64,
    /// Syncs that came late.
    pub(crate) delayed: u64,
    /// The last attempt to write went well.
    pub(crate) is_well: bool,
}

impl Persistence {
    /// As of an engine that begins now, at `now_s` unix seconds.
    pub(crate) fn new(now_s: u64) -> Self {
        Self { state: Mutex::new(State::new(now_s)), ..Self::default() }
    }

    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.state.lock()));
        held.push(Box::new(self.backups.lock()));
        held.push(Box::new(self.functions.lock()));
        held.push(Box::new(self.saver.lock()));
        held.push(Box::new(self.files.lock()));
        held.push(Box::new(self.lock.lock()));
        held.push(Box::new(self.notes.lock()));
        held.push(Box::new(self.unverified.lock()));
        let logging = self.logging.lock();
        let log = logging.as_ref().map(|logging| logging.log.clone());
        held.push(Box::new(logging));
        if let Some(log) = log {
            held.push(Box::new(Frozen::new(log, Log::freeze)));
        }
    }

    /// Locks the engine's folder for it alone, which is made if it is not there.
    ///
    /// # Errors
    /// Another engine has it, or it can't be made.
    pub(crate) fn lock_folder(&self, config: &Config) -> Result<()> {
        let folder = folder(config);
        files::create_folder(&folder).map_err(|error| files::told("Creating", &folder, &error))?;
        *self.lock.lock() = Some(Lock::of(&folder)?);
        files::remove_abandoned(&folder, &text(config, "dbfilename").to_string_lossy());
        Ok(())
    }

    fn unlock_folder(&self) {
        if let Some(lock) = self.lock.lock().take() {
            lock.unlock();
        }
    }

    /// Sees to it that the folder is this engine's, though somebody may have removed it and made it again.
    ///
    /// # Errors
    /// It is not there, or another engine has it.
    fn renew_lock(&self) -> Result<()> {
        self.lock.lock().as_mut().map_or(Ok(()), Lock::renew)
    }

    /// Notes what whoever opened the engine should know.
    pub(crate) fn note(&self, text: String) {
        self.notes.lock().push(text);
    }

    /// What whoever opened the engine should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().clone()
    }

    /// Keeps the libraries of functions that a log has, as they are.
    pub(crate) fn keep_functions(&self, functions: Vec<Vec<u8>>) {
        *self.functions.lock() = functions;
        self.functions_version.fetch_add(1, Ordering::Relaxed);
    }

    /// The libraries of functions, and how often such were loaded.
    pub(crate) fn functions(&self) -> (Vec<Vec<u8>>, u64) {
        (self.functions.lock().clone(), self.functions_version.load(Ordering::Relaxed))
    }

    /// How often libraries of functions were loaded.
    #[cfg(feature = "scripting")]
    pub(crate) fn functions_version(&self) -> u64 {
        self.functions_version.load(Ordering::Relaxed)
    }

    /// Keeps the libraries of functions that the engine has made of those that were loaded, and of others.
    #[cfg(feature = "scripting")]
    pub(crate) fn set_functions(&self, functions: Vec<Vec<u8>>) {
        *self.functions.lock() = functions;
    }

    /// Lets go of files, which belong to the process that this one is a child of: that one holds the lock of the folder, and goes on with the log.
    pub(crate) fn disown(&self) {
        let is_kept = self.is_kept();
        if self.lock.lock().take().is_some() || is_kept {
            let text =
                "ERR this process has a copy: what is on disk belongs to the process that it was forked from";
            // What was given up before stays so.
            let _ = self.given_up.set(Error::new(ErrorKind::Usage, text));
        }
        if let Some(Logging { log, .. }) = &*self.logging.lock() {
            log.disown();
        }
    }

    /// Has snapshots written by themselves from now on, as the options say.
    pub(crate) fn set_durable(&self) {
        self.is_durable.store(true, Ordering::Relaxed);
    }

    /// Whether snapshots are written by themselves.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable.load(Ordering::Relaxed) && self.given_up.get().is_none()
    }

    /// Whether snapshots are written, or the log is written anew, without anybody asking.
    pub(crate) fn acts_by_itself(&self) -> bool {
        self.is_kept() && self.given_up.get().is_none()
    }

    /// Whether the engine is kept on disk by itself.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_durable.load(Ordering::Relaxed) || self.is_logging()
    }

    /// Refuses to write to the folder that was given up.
    ///
    /// # Errors
    /// It was.
    pub(crate) fn check_folder(&self) -> Result<()> {
        self.given_up.get().cloned().map_or(Ok(()), Err)
    }

    /// Whether the engine has ended although there are handles.
    pub(crate) fn is_closed(&self) -> bool {
        self.given_up.get().is_some_and(|error| error.kind() == ErrorKind::Closed)
    }

    /// As [`Persistence::end`] while there are handles: from now on all writes are refused.
    ///
    /// # Errors
    /// Something that was acknowledged can't be written.
    pub(crate) fn close(&self, keyspace: &Keyspace) -> Result<()> {
        let _ = self.given_up.set(closed());
        self.give_up();
        // What another thread was about to begin has been cancelled, too.
        let mut state = self.state.lock();
        while state.running().is_some() {
            state = self.idle.wait(state, None);
        }
        drop(state);
        {
            let _all = Locks::all(keyspace);
            keyspace.hooks.set_journal(Some(refusing(closed())));
        }
        let ended = self.end_log();
        self.unlock_folder();
        ended
    }

    /// Gives up what is being written, waits until nothing is, and ends the log.
    pub(crate) fn end(&self, keyspace: &Keyspace) {
        self.give_up();
        self.end_logging(keyspace);
        self.unlock_folder();
    }

    /// Gives up what is being written, and waits until nothing is.
    pub(crate) fn give_up(&self) {
        {
            let mut state = self.state.lock();
            for task in [Task::Save, Task::Rewrite] {
                state.cancel(task);
                state.tries(task).is_scheduled = false;
            }
        }
        let saver = self.saver.lock().take();
        if let Some((generation, thread)) = saver
            && generation == os::generation()
        {
            // One that panicked has ended, too.
            if thread.join().is_err() {
                self.forget();
            }
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
        self.state.lock().loaded(changes, loaded.keys, loaded.expired);
        self.keep_functions(loaded.functions);
    }

    /// Writes a snapshot to the file that the options name. O(data).
    ///
    /// # Errors
    /// Another is being written, or the file can't be.
    pub(crate) fn save(&self, keyspace: &Keyspace) -> Result<()> {
        let progress = self.begin(Task::Save, Manner::Waited)?;
        self.run(keyspace, &progress)
    }

    /// [`Persistence::save`] of databases whose shards are all locked.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn save_held(&self, db: &mut Db<'_>) -> Result<()> {
        self.begin(Task::Save, Manner::Waited)?;
        let (clock, timer) = (&db.keyspace().clock, db.keyspace().clock.timer());
        self.state.lock().started(clock.now_ms() / 1000);
        let functions = self.functions.lock().clone();
        let changes = changes_in(db);
        let saved = saving::save_held(db, &snapshot_path(&db.keyspace().config), &functions);
        self.saved(&saved, changes, clock.now_ms() / 1000, timer.elapsed());
        saved.map(drop)
    }

    /// Keeps a file that is used to be verified by [`Persistence::take_unverified`].
    pub(crate) fn verify_later(&self, file: MappedFile) {
        *self.unverified.lock() = Some(file);
    }

    /// What is used, and not verified yet. Whoever takes it verifies it.
    pub(crate) fn take_unverified(&self) -> Option<MappedFile> {
        self.unverified.lock().take()
    }

    /// Notes that what is used is damaged: nothing is written to the folder any more, and no write may begin.
    pub(crate) fn set_damaged(&self, error: Error) {
        let _ = self.given_up.set(error.clone());
        let _ = self.damage.set(error);
    }

    /// How what is used is damaged, if it is.
    pub(crate) fn damage(&self) -> Option<Error> {
        self.damage.get().cloned()
    }

    /// Begins to write something; whoever begins writes it.
    ///
    /// # Errors
    /// Something is being written, or the folder was given up.
    pub(crate) fn begin(&self, task: Task, manner: Manner) -> Result<Arc<Progress>> {
        let mut state = self.state.lock();
        self.check_folder()?;
        state.begin(task, manner)
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
        let log = self.log();
        let is_base = log.is_some() && is_base_the_snapshot(&keyspace.config);
        let saved = self.renew_lock().and_then(|()| {
            beside_log(log.as_deref(), || match &log {
                Some(log) if is_base => {
                    let form = Form::of_base(keyspace.config.hot());
                    self.try_rewrite(keyspace, (progress, form), Some(log), false).map(|()| 0)
                }
                _ => {
                    let what = (Purpose::Snapshot, Form::of_file(&target), &functions[..]);
                    saving::save(keyspace, &target, what, progress, || ())
                }
            })
        });
        self.saved(&saved, before, keyspace.clock.now_ms() / 1000, timer.elapsed());
        saved.map(drop)
    }

    /// Writes a snapshot of an engine that is nobody else's to a file of this path. O(data).
    ///
    /// # Errors
    /// It can't be written: what was there is there.
    pub(crate) fn write_snapshot(
        &self,
        keyspace: &Keyspace,
        target: &Path,
        form: Form,
        progress: &Progress,
    ) -> Result<u64> {
        let functions = self.functions.lock().clone();
        saving::save(keyspace, target, (Purpose::Snapshot, form, &functions), progress, || ())
    }

    fn saved(&self, saved: &Result<u64>, changes: u64, now_s: u64, took: Duration) {
        let mut state = self.state.lock();
        if saved.is_ok() {
            state.saved(changes, now_s);
        }
        state.ended(saved.is_ok(), took);
        self.idle.notify_all();
    }

    /// Writes a snapshot to a file of this path, as soon as nothing else is being written. O(data).
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn snapshot(&self, keyspace: &Keyspace, target: &Path) -> Result<()> {
        let progress = self.begin_in_turn(Task::Save)?;
        let timer = keyspace.clock.timer();
        let functions = self.functions.lock().clone();
        let what = (Purpose::Snapshot, Form::of_file(target), &functions[..]);
        let saved =
            beside_log(self.log().as_deref(), || saving::save(keyspace, target, what, &progress, || ()));
        self.state.lock().ended(saved.is_ok(), timer.elapsed());
        self.idle.notify_all();
        saved.map(drop)
    }

    /// Begins to write something as soon as nothing else is being written.
    fn begin_in_turn(&self, task: Task) -> Result<Arc<Progress>> {
        let mut state = self.state.lock();
        while state.running().is_some() {
            state = self.idle.wait(state, None);
        }
        state.begin(task, Manner::Waited)
    }

    /// Forgets what was begun and will not be written.
    pub(crate) fn forget(&self) {
        self.state.lock().forget();
        self.idle.notify_all();
    }

    /// Has the snapshot that is being written, or was asked for, given up. Says which.
    pub(crate) fn cancel_save(&self) -> Option<Begun> {
        let mut state = self.state.lock();
        if state.cancel(Task::Save) {
            return Some(Begun::Started);
        }
        std::mem::take(&mut state.tries(Task::Save).is_scheduled).then_some(Begun::Scheduled)
    }

    /// Has something written as soon as something else is not any more, which is being written. Says whether there is.
    pub(crate) fn schedule(&self, task: Task) -> bool {
        let mut state = self.state.lock();
        let waits = state.running().is_some_and(|running| running != task);
        state.tries(task).is_scheduled |= waits;
        waits
    }

    /// What was to be written when nothing else is. It is asked for once.
    pub(crate) fn take_scheduled(&self) -> Option<Task> {
        let mut state = self.state.lock();
        let tasks = [Task::Rewrite, Task::Save];
        tasks.into_iter().find(|task| std::mem::take(&mut state.tries(*task).is_scheduled))
    }

    /// Whether the last snapshot could not be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().tries(Task::Save).failures > 0
    }

    /// Whether the disk has all that was appended to the log by now; with `waits` it has then. `None` where there is no log.
    ///
    /// # Errors
    /// It can't be written or synced.
    pub(crate) fn is_log_safe(&self, waits: bool) -> Option<Result<bool>> {
        let log = self.log()?;
        Some(if waits { log.sync().map(|()| true) } else { Ok(log.is_synced()) })
    }

    /// What INFO says of the log, if there is one.
    pub(crate) fn log_status(&self) -> Option<LogStatus> {
        let log = self.log()?;
        let (bytes, bytes_at_rewrite) = self.log_sizes();
        Some(LogStatus {
            bytes,
            bytes_at_rewrite,
            pending: log.pending() as u64,
            delayed: log.delayed.load(Ordering::Relaxed),
            is_well: log.is_well(),
        })
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

/// Whether the base of a log takes the place of a snapshot: nobody has named another file for that.
fn is_base_the_snapshot(config: &Config) -> bool {
    config.hot().base_format() != 0 && !config.is_set("dbfilename")
}

/// Does what keeps a disk busy, while a log knows of it.
fn beside_log<R>(log: Option<&Log>, work: impl FnOnce() -> R) -> R {
    let tell = |is_saving| {
        if let Some(log) = log {
            log.is_saving.store(is_saving, Ordering::Relaxed);
        }
    };
    tell(true);
    let result = work();
    tell(false);
    result
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
