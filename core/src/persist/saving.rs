//! Writing all databases, as they are at one moment, to a file, while everybody goes on reading and writing: of the server's format here, of our own where
//! the file's name [says so](mapped::is_named_so).
//!
//! What comes from the snapshot is encoded under the lock of its shard where that is short; what is longer is copied or shared, and encoded by the thread
//! that writes the file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::files::{self, Replacement};
use super::mapped;
use super::syncing::Syncing;
use super::writing::{Form, Records, Writer};
use crate::config::{POLICIES, Rule, VALKEY_VERSION};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::db::Copied;
use crate::keyspace::evictor::Stamps;
use crate::keyspace::snapshot::{Snapshot, SnapshotWriter};
use crate::keyspace::survey::DatabaseSurvey;
use crate::keyspace::{Db, Entry, Keyspace, scan};
use crate::rdb::{FileWriter, KeyInfo, Usage, Version};
use crate::sync::{Arc, Mutex};

/// Bytes of entries that are visited with a shard locked.
const STEP: usize = 16 << 10;

/// Bytes of a value above which it is encoded when its shard is unlocked again.
const LONGEST_AT_ONCE: usize = 1 << 10;

/// A key whose value is encoded later.
struct Waiting {
    db: usize,
    key: Vec<u8>,
    deadline: Option<u64>,
    usage: Option<Usage>,
    value: Copied,
}

/// What the snapshot has given and the file has not got.
#[derive(Default)]
struct Given {
    records: Records,
    /// The database of records, and where those end.
    runs: Vec<(usize, usize)>,
    waiting: Vec<Waiting>,
    /// How many entries that are.
    keys: u64,
    /// There was no memory to encode something.
    error: Option<Error>,
}

/// Receives the entries of a snapshot.
struct Collector {
    given: Mutex<Given>,
    form: Form,
    compresses: bool,
    usage: UsageReader,
}

/// What is written of the use of keys: what the policy goes by, as the server does it.
#[derive(Clone, Copy)]
enum UsageKind {
    None,
    Idle,
    Frequency,
}

impl UsageKind {
    fn of(keyspace: &Keyspace) -> Self {
        match POLICIES[keyspace.config.hot().maxmemory_policy()].rule {
            Rule::Lru | Rule::Adaptive => Self::Idle,
            Rule::Lfu => Self::Frequency,
            _ => Self::None,
        }
    }
}

/// As [`UsageKind`] says, as of the beginning.
struct UsageReader {
    kind: UsageKind,
    stamps: Stamps,
}

impl UsageReader {
    fn new(keyspace: &Keyspace) -> Self {
        Self { kind: UsageKind::of(keyspace), stamps: keyspace.stamps() }
    }

    fn read(&self, entry: &Entry<'_>) -> Option<Usage> {
        match self.kind {
            UsageKind::None => None,
            UsageKind::Idle => self.stamps.idle_ms(entry.stamp()).map(|idle| Usage::Idle(idle / 1000)),
            UsageKind::Frequency => Some(Usage::Frequency(self.stamps.frequency(entry.stamp()))),
        }
    }
}

impl SnapshotWriter for Collector {
    fn entry(&self, db: usize, entry: &Entry<'_>) {
        let (deadline, usage) = (entry.deadline(), self.usage.read(entry));
        let mut given = self.given.lock();
        let Given { records, runs, waiting, keys, error } = &mut *given;
        *keys += 1;
        if entry.value_len() > LONGEST_AT_ONCE || entry.is_apart() {
            let (key, value) = (entry.key().to_vec(), entry.share());
            waiting.push(Waiting { db, key, deadline, usage, value });
            return;
        }
        match records.push(
            self.form,
            KeyInfo { key: entry.key(), deadline, usage },
            entry.value(),
            self.compresses,
        ) {
            Ok(end) => match runs.last_mut() {
                Some(last) if last.0 == db => last.1 = end,
                _ => runs.push((db, end)),
            },
            Err(failed) => drop(error.get_or_insert(failed)),
        }
    }
}

/// What a file is written for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A snapshot of its own.
    Snapshot,
    /// A log begins with it.
    Base,
}

/// Whether a file that is being written is still wanted, and how far it is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    is_cancelled: AtomicBool,
    keys: AtomicU64,
}

impl Progress {
    /// Has the writing end soon, without a file.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// So many keys have been written.
    pub(super) fn count(&self, keys: u64) {
        self.keys.store(keys, Ordering::Relaxed);
    }

    /// How many keys have been written.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }
}

/// Writes a snapshot of all databases to a file, which takes the place of what was there. `meanwhile` is done at the moment that the snapshot is of.
/// Returns how many bytes the file has. O(data).
///
/// # Errors
/// Another snapshot is being written, this one was cancelled, or the file can't be written: then the old one is there.
pub(crate) fn save(
    keyspace: &Keyspace,
    target: &Path,
    (purpose, form, functions): (Purpose, Form, &[Vec<u8>]),
    progress: &Progress,
    meanwhile: impl FnOnce(),
) -> Result<u64> {
    if form == Form::Mapped {
        return mapped::save(keyspace, target, functions, progress, meanwhile);
    }
    let hot = keyspace.config.hot();
    let mut replacement = Replacement::begin(target)?;
    let collector = Arc::new(Collector {
        given: Mutex::default(),
        form,
        compresses: hot.rdb_compression(),
        usage: UsageReader::new(keyspace),
    });
    let writer: Arc<dyn SnapshotWriter> = collector.clone();
    // What others write meanwhile may make them a little wrong: they are for whoever makes room.
    let sizes = keyspace.sizes();
    let file = replacement.file();
    let told = |error: io::Error| files::told("Writing", target, &error);
    let syncing = Syncing::begin(file, hot.rdb_save_incremental_fsync());
    let mut pieces = Pieces { file, syncing };
    let (about, now_s) = ((&notes(keyspace, purpose)[..], sizes), keyspace.clock.now_ms() / 1000);
    let mut out = Writer::begin(&mut pieces, form, hot, about, now_s)?;
    functions.iter().try_for_each(|library| out.function(library))?;
    visit(keyspace, &writer, progress, meanwhile, |_| collector.pass_on(keyspace, &mut out, progress))?;
    let bytes = out.end()?;
    pieces.syncing.end().map_err(told)?;
    replacement.commit()?;
    Ok(bytes)
}

/// Has a snapshot of this moment, at which `meanwhile` is done, give all entries to a writer. `pass_on` is called in between and at the end, with no lock
/// held, with how many shards have been visited.
///
/// # Errors
/// Another snapshot is being written, this one was cancelled, or the first of `pass_on`.
pub(super) fn visit(
    keyspace: &Keyspace,
    writer: &Arc<dyn SnapshotWriter>,
    progress: &Progress,
    meanwhile: impl FnOnce(),
    mut pass_on: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut snapshot = Snapshot::begin(keyspace, writer, meanwhile)
        .ok_or_else(|| Error::command("Background save already in progress"))?;
    while snapshot.step(STEP) && !progress.is_cancelled() {
        pass_on(snapshot.visited())?;
    }
    if progress.is_cancelled() {
        return Err(Error::new(ErrorKind::Io, "ERR The snapshot was cancelled"));
    }
    pass_on(snapshot.visited())
}

/// As [`save`], of databases whose shards are all locked.
///
/// # Errors
/// The file can't be written: then the old one is there.
pub(crate) fn save_held(db: &mut Db<'_>, target: &Path, functions: &[Vec<u8>]) -> Result<u64> {
    if mapped::is_named_so(target) {
        return mapped::save_held(db, target, functions);
    }
    let keyspace = db.keyspace();
    let (hot, usage) = (keyspace.config.hot(), UsageReader::new(keyspace));
    let mut replacement = Replacement::begin(target)?;
    let out =
        FileWriter::begin(replacement.file(), hot, Version::Valkey, &notes(keyspace, Purpose::Snapshot))?;
    let size = |db: &DatabaseSurvey| (db.index, (db.keys as u64, db.with_deadline as u64));
    let mut out = out.with_sizes(db.survey().databases.iter().map(size).collect());
    functions.iter().try_for_each(|library| out.function(library))?;
    let (mut written, home) = (Ok(()), db.index());
    for index in db.databases() {
        db.select(index);
        scan::each(db, |entry| {
            if written.is_ok() {
                let info =
                    KeyInfo { key: entry.key(), deadline: entry.deadline(), usage: usage.read(&entry) };
                written = out.key(index, info, entry.value());
            }
        });
    }
    db.select(home);
    written?;
    let bytes = out.end()?;
    replacement.commit()?;
    Ok(bytes)
}

impl Collector {
    /// Writes what has been given.
    fn pass_on(&self, keyspace: &Keyspace, out: &mut Writer<'_>, progress: &Progress) -> Result<()> {
        let given = std::mem::take(&mut *self.given.lock());
        if let Some(error) = given.error {
            return Err(error);
        }
        let mut start = 0;
        for (db, end) in given.runs {
            out.record(db, &given.records.bytes(self.form)[std::mem::replace(&mut start, end)..end])?;
        }
        for Waiting { db, key, deadline, usage, value } in given.waiting {
            let info = KeyInfo { key: &key, deadline, usage };
            value.read(keyspace, |value| out.key(db, info, value))?;
        }
        progress.keys.fetch_add(given.keys, Ordering::Relaxed);
        Ok(())
    }
}

/// A file that is synced bit by bit.
struct Pieces<'f> {
    file: &'f mut File,
    syncing: Syncing,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.syncing.wrote(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The notes that the server writes.
fn notes(keyspace: &Keyspace, purpose: Purpose) -> Vec<(&'static str, String)> {
    vec![
        ("valkey-ver", VALKEY_VERSION.to_owned()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (keyspace.clock.now_ms() / 1000).to_string()),
        ("used-mem", keyspace.used_bytes().to_string()),
        ("aof-base", u8::from(purpose == Purpose::Base).to_string()),
    ]
}
