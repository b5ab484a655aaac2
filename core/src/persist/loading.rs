//! Reading snapshots into an engine.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::logging::Places;
use super::mapped::{self, Adopted, MappedFile};
use super::{Persistence, changes, changes_in, files, snapshot_path};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, HashSeed, Keyspace};
use crate::num;
use crate::rdb::{FileReader, KeyRecord, Record, Usage};

/// What a file had.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) keys: u64,
    /// Keys that were left out because they have expired.
    pub(crate) expired: u64,
    /// Libraries of functions, opaque.
    pub(crate) functions: Vec<Vec<u8>>,
}

/// Which time keys expire by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// That of now.
    Present,
    /// That at which the file was written, at which the clock stands then: it is held.
    OfFile,
}

/// [`read`] of a snapshot of any format, of this path.
///
/// # Errors
/// As there.
pub(crate) fn read_any(
    keyspace: &Keyspace,
    (mut file, path): (File, &Path),
    time: Time,
    put: impl FnMut(KeyRecord) -> Result<()>,
) -> Result<Loaded> {
    let told = |error| files::told("Reading", path, &error);
    if mapped::is_one(&mut file, path).map_err(told)? {
        return MappedFile::open(file, path)?.each_key(keyspace, time, put);
    }
    Ok(read(keyspace, &mut file, time, put)?.0)
}

/// Reads a file of the server's format and hands its keys to `put`. Returns what there was, and what was read behind its end.
///
/// # Errors
/// It is damaged, or can't be read, or `put` fails: the keys before were handed over.
pub(crate) fn read(
    keyspace: &Keyspace,
    file: &mut dyn Read,
    time: Time,
    mut put: impl FnMut(KeyRecord) -> Result<()>,
) -> Result<(Loaded, Vec<u8>)> {
    let (mut loaded, mut now) = (Loaded::default(), keyspace.clock.now_ms() as i64);
    let mut reader = FileReader::begin(file, keyspace.making())?;
    while let Some(record) = reader.next()? {
        match record {
            Record::Key(record) if record.deadline.is_some_and(|at| at <= now) => {
                loaded.expired += 1;
            }
            Record::Key(record) => {
                put(record)?;
                loaded.keys += 1;
            }
            Record::Function(library) => loaded.functions.push(library),
            Record::Note(name, note) if name == b"ctime" => {
                let written_s = num::parse_i64(&note).and_then(|time| u64::try_from(time).ok());
                if let (Time::OfFile, Some(written_s)) = (time, written_s) {
                    keyspace.clock.hold_at(written_s.saturating_mul(1000));
                    now = keyspace.clock.now_ms() as i64;
                }
            }
            Record::Note(..) => {}
        }
    }
    Ok((loaded, reader.into_rest()))
}

/// Puts a key into an engine that nobody uses yet.
///
/// # Errors
/// It is there, or there is no memory for it.
pub(crate) fn put(keyspace: &Keyspace, record: KeyRecord) -> Result<()> {
    let (index, hash) = (record.db, keyspace.seed.hash(&record.key));
    let mut db = Db::new(keyspace, (index, 0), Locks::one(keyspace, hash));
    put_into(&mut db, record, Twice::Refused)?;
    db.finish_unasked(index);
    Ok(())
}

/// What is done about a key that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twice {
    Refused,
    Replaced,
}

/// Puts a key into databases whose shards are locked.
///
/// # Errors
/// It is there and not to be replaced, or there is no memory for it.
pub(crate) fn put_into(db: &mut Db<'_>, record: KeyRecord, twice: Twice) -> Result<()> {
    let KeyRecord { db: index, key, deadline, usage, value } = record;
    let home = db.select(index);
    let key = db.key(&key);
    if twice == Twice::Refused && db.contains(&key) {
        let text = format!("ERR The file has the key '{}' twice", key.bytes().escape_ascii());
        return Err(Error::new(ErrorKind::Io, text));
    }
    let stamp = usage.and_then(|usage| stamp_of(db, usage));
    let put = value.with(|value| db.restore(&key, value, deadline.map(|at| at.max(0) as u64), stamp));
    db.select(home);
    put
}

/// The stamp of a key of this use, as far as the policy remembers such.
pub(crate) fn stamp_of(db: &Db<'_>, usage: Usage) -> Option<u32> {
    let keyspace = db.keyspace();
    match usage {
        Usage::Idle(seconds) => keyspace.stamp_of_idle(seconds.saturating_mul(1000)),
        Usage::Frequency(counter) => keyspace.recording().stamp_of_frequency(counter, db.now()),
    }
}

impl Persistence {
    /// Reads the last snapshot into databases whose shards are all locked.
    ///
    /// # Errors
    /// There is none, it is damaged, or it can't be read; the keys before are there.
    pub(crate) fn reload(&self, db: &mut Db<'_>, twice: Twice) -> Result<()> {
        let keyspace = db.keyspace();
        let path = last_snapshot(&keyspace.config);
        let file = File::open(&path).map_err(|error| files::told("Opening", &path, &error))?;
        let put = |record| put_into(db, record, twice);
        let loaded = read_any(keyspace, (file, &path), Time::Present, put)?;
        let changes = changes_in(db);
        self.loaded(changes, loaded);
        Ok(())
    }

    /// Reads the snapshot that the options name, if there is one, into an engine that nobody uses yet. Says whether there is.
    ///
    /// # Errors
    /// It is damaged, or it can't be read.
    pub(crate) fn load(&self, keyspace: &Keyspace) -> Result<bool> {
        let Some(path) = found_snapshot(&keyspace.config) else { return Ok(false) };
        let mut file = File::open(&path).map_err(|error| files::told("Opening", &path, &error))?;
        let mut put = |record| put(keyspace, record);
        let told = |error| files::told("Reading", &path, &error);
        let loaded = if mapped::is_one(&mut file, &path).map_err(told)? {
            let file = MappedFile::open(file, &path)?;
            match file.adopt(keyspace, Time::Present, |file| self.verify_later(file))? {
                Adopted::Whole(loaded) => loaded,
                Adopted::Not(file) => file.each_key(keyspace, Time::Present, put)?,
            }
        } else {
            read(keyspace, &mut file, Time::Present, &mut put)?.0
        };
        self.loaded(changes(keyspace), loaded);
        Ok(true)
    }

    /// Has databases, whose shards are all locked, hold what a snapshot holds, and nothing else. O(data).
    ///
    /// # Errors
    /// It is damaged or can't be read: nothing has changed. Or there is no memory for it.
    pub(crate) fn restore(&self, db: &mut Db<'_>, path: &Path) -> Result<()> {
        let keyspace = db.keyspace();
        let told = |error| files::told("Opening", path, &error);
        let file = File::open(path).map_err(told)?;
        // The same file, whatever takes its place meanwhile.
        let again = file.try_clone().map_err(told)?;
        read_any(keyspace, (again, path), Time::Present, |_| Ok(()))?;
        db.clear_all();
        let put = |record| put_into(db, record, Twice::Refused);
        let loaded = read_any(keyspace, (file, path), Time::Present, put)?;
        self.keep_functions(loaded.functions);
        Ok(())
    }
}

/// The snapshots that an engine may begin with where there is no log.
fn found_snapshot(config: &Config) -> Option<PathBuf> {
    let named = snapshot_path(config);
    // Without a log a folder has one of our own format, and none is named when it is opened with a log.
    let others = ["dump.ks", "dump.rdb"].map(|name| named.with_file_name(name));
    let others = others.into_iter().filter(|_| config.hot().base_format() != 0);
    let there = [named.clone()].into_iter().chain(others).filter(|path| path.exists());
    there.max_by_key(|path| path.metadata().and_then(|found| found.modified()).ok())
}

/// The file that SAVE has written last.
fn last_snapshot(config: &Config) -> PathBuf {
    let base = config.hot().appendonly() && super::is_base_the_snapshot(config);
    base.then(|| Places::of(config).base()).flatten().unwrap_or_else(|| snapshot_path(config))
}

/// What keys are hashed with in what an engine begins with, if that is of Keystead's own format: an engine that hashes them so can go on with it where it
/// stands.
pub(crate) fn stored_seed(config: &Config) -> Option<HashSeed> {
    let base = config.hot().appendonly().then(|| Places::of(config).base()).flatten();
    mapped::seed_in(&base.or_else(|| found_snapshot(config))?)
}
