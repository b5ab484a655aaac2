//! Data that goes between files of a server and the folder of an engine, by way of an engine in memory, and between engines. What import and export share.
//!
//! Which files there are is [`crate::persist::source`]'s to say; how commands are repeated is [`crate::recovery`]'s.

#[cfg(feature = "remote")]
pub(crate) mod copying;
mod export;
mod import;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::commands::table;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Db;
use crate::keyspace::locks::Locks;
use crate::keyspace::survey::Survey;
use crate::persist::log_reader::Source;
use crate::persist::saving;
use crate::persist::source;
use crate::recovery::{self, End};
pub use export::{Export, export, export_watched};
pub use import::{import, import_watched};

/// How far work on files is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How much of it is done: bytes that were read, or keys that were written.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// What is being done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Files are read; it is counted in bytes.
    Reading,
    /// Files are written; it is counted in keys.
    Writing,
}

/// Hears how far work is, many times.
pub type Watch<'w> = dyn FnMut(Progress) + 'w;

/// More databases than anybody has.
const DATABASES: &str = "2147483647";

/// What an engine in memory is made with. Files may have more databases than the engine that reads them by default.
fn config() -> Result<Config> {
    let config = Config::default();
    config.set_option("databases", DATABASES)?;
    Ok(config)
}

/// An engine in memory with what the files hold that a path stands for. Nothing in it expires any more: its clock stands.
fn load(path: &Path, config: Config, watch: &mut Watch<'_>) -> Result<Engine> {
    let found = source::find(path)?;
    let clock = Clock::manual(Clock::system().now_ms());
    let engine = Engine::builder().config(config).clock(clock).open()?;
    let reading = Reading::of(&found.sources, watch);
    let heard = |bytes| reading.heard(bytes);
    recovery::repeat(&engine.inner, table::resolve, &found.sources, (End::PassedOver, &heard))?;
    engine.reap();
    Ok(engine)
}

/// Adds up what is read of several files.
pub(crate) struct Reading<'a, 'w> {
    watch: RefCell<&'a mut Watch<'w>>,
    total: u64,
    /// Bytes of the files before, and of the one that is being read.
    before: Cell<u64>,
    now: Cell<u64>,
}

impl<'a, 'w> Reading<'a, 'w> {
    /// Of these files, one after the other.
    pub(crate) fn of(sources: &[Source], watch: &'a mut Watch<'w>) -> Self {
        let len = |source: &Source| {
            let written = source.path.metadata().map_or(0, |file| file.len());
            written + source.missing.len() as u64
        };
        let total = sources.iter().map(len).sum();
        Self { watch: RefCell::new(watch), total, before: Cell::new(0), now: Cell::new(0) }
    }

    /// So many bytes of a file have been read.
    pub(crate) fn heard(&self, bytes: u64) {
        if bytes < self.now.get() {
            self.before.set(self.before.get() + self.now.get());
        }
        self.now.set(bytes);
        let done = self.before.get() + bytes;
        (self.watch.borrow_mut())(Progress { stage: Stage::Reading, done, total: self.total.max(done) });
    }
}

/// Writes with a thread of its own while the caller's tells how far that is. `write` says so by what it is given.
fn write<R: Send>(
    total: u64,
    progress: &saving::Progress,
    watch: &mut Watch<'_>,
    write: impl FnOnce() -> Result<R> + Send,
) -> Result<R> {
    /// Time between two looks.
    const LOOK: Duration = Duration::from_millis(50);
    let mut tell = || watch(Progress { stage: Stage::Writing, done: progress.keys(), total });
    thread::scope(|scope| {
        let (ends, ended) = mpsc::channel::<()>();
        let writing = move || {
            // It is dropped when all is done.
            let _ends = ends;
            write()
        };
        let writer = thread::Builder::new().name("keystead-save".into()).spawn_scoped(scope, writing);
        let writer = writer.map_err(|error| Error::io("Starting a thread", &error))?;
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            tell();
        }
        tell();
        writer.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "ERR The writer has panicked")))
    })
}

/// What all databases have.
fn survey(engine: &Engine) -> Survey {
    let keyspace = &engine.inner.keyspace;
    Db::new(keyspace, (0, 0), Locks::all(keyspace)).survey()
}

/// What is to be said of an engine that was loaded from `source`, and what it was written to.
fn told(engine: &Engine, survey: &Survey, target: &Path) -> Vec<String> {
    let mut told = engine.opening_notes();
    let used = survey.databases.iter().filter(|db| db.keys > 0);
    let (last, count) = (used.clone().map(|db| db.index).max(), used.count());
    let databases = if count > 1 { format!(" in {count} databases") } else { String::new() };
    told.push(format!("{}: {} keys{databases}", target.display(), survey.keys()));
    if let Some(last) = last.filter(|last| *last >= Config::default().hot().databases()) {
        told.push(format!(
            "Database {last} has keys: whoever opens it needs the option `databases {}`",
            last + 1
        ));
    }
    told
}
