//! Snapshots in Keystead's own format: the memory of an engine as it is used, which opening maps. Byte by byte it is in `docs/snapshot.md`.
//!
//! What stands in that memory is [`crate::keyspace::image`]'s affair. Head, meta and each page have a checksum. Those of the pages are verified before the
//! memory is used where that takes no time, or an option asks for it, else in the background.

mod format;
mod writer;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::files;
use super::loading::{Loaded, Time};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::image::{Image, Layout, StampKind};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, HashSeed, Keyspace, scan};
use crate::rdb::{self, KeyRecord, Usage};
use format::Head;
#[cfg(feature = "fuzzing")]
pub(crate) use format::repair;
pub(super) use writer::{save, save_held};

/// What names of files of this format end in.
const ENDING: &str = ".ks";

/// Bytes of a page.
const PAGE: usize = 4096;

/// Where the first page stands; other parts begin at multiples of this, too. No system has larger pages.
const PAGES_AT: u64 = 64 << 10;

/// Bytes that are verified at once.
const PIECE: usize = 256 * PAGE;

/// Files up to this length are verified before they are used: it takes some ten milliseconds.
const SHORT: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// Whether a file of this name is written in this format.
pub(crate) fn is_named_so(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes())
}

/// Whether a file of this path is one of these, by its name or its beginning. It is read from its beginning, and is again afterwards.
///
/// # Errors
/// The system's.
pub(crate) fn is_one(file: &mut File, path: &Path) -> io::Result<bool> {
    if is_named_so(path) {
        return Ok(true);
    }
    let mut head = Vec::new();
    file.rewind()?;
    file.by_ref().take(format::MAGIC.len() as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head == format::MAGIC)
}

/// The number that keys are hashed by in a file, if it is one of these.
pub(crate) fn seed_in(path: &Path) -> Option<HashSeed> {
    let head = Head::read(&File::open(path).ok()?, path).ok()?;
    Some(HashSeed::of(head.seed))
}

/// A file whose head and meta are whole and sound.
pub(crate) struct MappedFile {
    file: File,
    path: PathBuf,
    image: Image,
    layout: Layout,
    keys: u64,
    functions: Vec<Vec<u8>>,
    /// Where the checksums of all pages between head and meta stand; how long they are, and their own.
    sums: (u64, u64, u32),
}

impl MappedFile {
    /// Reads head and meta. O(pages).
    ///
    /// # Errors
    /// It is damaged, of another version, or can't be read.
    pub(crate) fn open(file: File, path: &Path) -> Result<Self> {
        let head = Head::read(&file, path)?;
        format::read(file, path, &head)
    }

    /// Compares all pages with their checksums. `goes_on` is asked every megabyte. O(bytes).
    ///
    /// # Errors
    /// One is damaged, which the text says with the place, or can't be read.
    pub(crate) fn verify(&self, mut goes_on: impl FnMut() -> bool) -> Result<()> {
        let told = |error| files::told("Reading", &self.path, &error);
        let mut file = self.file.try_clone().map_err(told)?;
        let checksums = format::read_sums(&mut file, &self.path, self.sums)?;
        let mut piece = vec![0; PIECE];
        file.seek(SeekFrom::Start(PAGE as u64)).map_err(told)?;
        for (number, checksums) in checksums.chunks(PIECE / PAGE).enumerate() {
            if !goes_on() {
                break;
            }
            let piece = &mut piece[..checksums.len() * PAGE];
            file.read_exact(piece).map_err(told)?;
            let pages = piece.chunks(PAGE).zip(checksums);
            if let Some(page) = pages.clone().position(|(page, sum)| crc32fast::hash(page) != *sum) {
                let at = (PAGE + number * PIECE + page * PAGE) as u64;
                return Err(damaged(&self.path, at, "a page's checksum is wrong"));
            }
        }
        Ok(())
    }

    /// Has a keyspace go on with it, if that [can](Keyspace::can_adopt). Whether its pages are what was written may have to be found out later.
    ///
    /// # Errors
    /// It is damaged, or can't be read, or there is no memory.
    pub(crate) fn adopt(
        self,
        keyspace: &Keyspace,
        time: Time,
        verify_later: impl FnOnce(Self),
    ) -> Result<Adopted> {
        if !keyspace.can_adopt(&self.image) {
            return Ok(Adopted::Not(self));
        }
        let hot = keyspace.config.hot();
        let len = self.sums.1 / 4 * PAGE as u64;
        let is_verified = len <= SHORT || hot.snapshot_verify_at_open();
        if is_verified {
            self.verify(|| true)?;
        }
        self.check_databases(keyspace)?;
        if time == Time::OfFile {
            keyspace.clock.hold_at(self.image.made_ms);
        }
        let maps = hot.snapshot_map() && files::is_local(files::folder_of(&self.path));
        let adopted = keyspace.adopt(&self.image, &self.layout, (&self.file, maps));
        adopted.map_err(|error| files::told("Opening", &self.path, &error))?;
        let loaded = Loaded { keys: self.keys, expired: 0, functions: self.functions.clone() };
        if !is_verified {
            // The first reads wait for their own pages alone; who verifies reads all of it.
            keyspace.read_ahead(false);
            verify_later(self);
        }
        Ok(Adopted::Whole(loaded))
    }

    fn check_databases(&self, keyspace: &Keyspace) -> Result<()> {
        let most = keyspace.config.hot().databases() as u64;
        if self.image.databases.iter().any(|database| database.number >= most) {
            let text = format!("ERR {} has more databases than `databases` says", self.path.display());
            return Err(Error::new(ErrorKind::Io, text));
        }
        Ok(())
    }

    /// Hands all keys to `put`, as values of `keyspace`. O(bytes).
    ///
    /// # Errors
    /// It is damaged, or can't be read, or there is no memory, or `put` fails: the keys before were handed over.
    pub(crate) fn each_key(
        &self,
        keyspace: &Keyspace,
        time: Time,
        mut put: impl FnMut(KeyRecord) -> Result<()>,
    ) -> Result<Loaded> {
        self.verify(|| true)?;
        self.check_databases(keyspace)?;
        if time == Time::OfFile {
            keyspace.clock.hold_at(self.image.made_ms);
        }
        let (hot, now) = (keyspace.config.hot(), keyspace.clock.now_ms());
        let clock = Clock::manual(self.image.made_ms);
        let own = Keyspace::new(clock, keyspace.config.clone(), HashSeed::of(self.image.seed));
        let maps = hot.snapshot_map() && files::is_local(files::folder_of(&self.path));
        let adopted = own.adopt(&self.image, &self.layout, (&self.file, maps));
        adopted.map_err(|error| files::told("Opening", &self.path, &error))?;
        let mut loaded = Loaded { functions: self.functions.clone(), ..Loaded::default() };
        let mut db = Db::new(&own, (0, 0), Locks::all(&own));
        for database in &self.image.databases {
            let index = database.number as usize;
            db.select(index);
            let mut done = Ok(());
            scan::each_stored(&db, |entry| {
                if done.is_err() {
                    return;
                }
                let deadline = entry.deadline();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    loaded.expired += 1;
                    return;
                }
                done = rdb::dumped(entry.value(), hot).and_then(|payload| {
                    let value = rdb::restored(&payload, keyspace.making())?;
                    let (key, usage) = (entry.key().to_vec(), self.usage(&own, entry.stamp()));
                    let deadline = deadline.map(|deadline| deadline as i64);
                    put(KeyRecord { db: index, key, deadline, usage, value })
                });
                loaded.keys += u64::from(done.is_ok());
            });
            done?;
        }
        Ok(loaded)
    }

    fn usage(&self, own: &Keyspace, stamp: u32) -> Option<Usage> {
        if self.image.stamps == StampKind::Frequency as u32 {
            return Some(Usage::Frequency(stamp as u8));
        }
        own.idle_ms(stamp).map(|idle_ms| Usage::Idle(idle_ms / 1000))
    }
}

#[cfg(feature = "fuzzing")]
impl MappedFile {
    /// What keys are hashed with in it.
    pub(crate) fn seed(&self) -> HashSeed {
        HashSeed::of(self.image.seed)
    }
}

/// What it comes to that a keyspace shall go on with a file.
pub(crate) enum Adopted {
    /// It does: what the file had.
    Whole(Loaded),
    /// It can't, since it has something, or hashes keys otherwise.
    Not(MappedFile),
}

fn damaged(path: &Path, at: u64, what: &str) -> Error {
    let text = format!("ERR The snapshot {} is damaged at byte {at}: {what}", path.display());
    Error::new(ErrorKind::Io, text)
}

#[cfg(test)]
mod tests;
