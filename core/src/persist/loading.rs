//! Reading snapshots into an engine.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::files;
use super::mapped::{self, MappedFile};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Keyspace};
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
    if mapped::is_named_so(path) || mapped::begins_so(&mut file).map_err(told)? {
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
