//! The end of a log that has not been written to its file yet, in a mapped file of its own: so it outlives the process, for the price of a copy.
//!
//! **Layout**, little-endian: magic (8 bytes) | number of the log's file (u64) | seed (u64) | checksum of these (u32) | zeroes up to [`HEAD`]; then a circle of
//! records, each at a multiple of 8: place in the log's file (u64) | length (u32) | checksum (u32) | bytes. None goes over the end of the circle.
//!
//! The checksum of a record is a keyed hash of its place, its length and its bytes: the key is the seed, which is random. So a record that a killed process left
//! half done is none, nor is one of an earlier round, and nobody who chooses the bytes can have them hold one. Whoever recovers looks for records everywhere
//! and takes those that go on where the file ends. What a power loss has left is told in the same way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use memmap2::MmapMut;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

use super::files::Replacement;
use crate::error::{Error, Result};
use crate::os;

/// Bytes of the circle. What is appended before it is half full stays in the processor's cache.
const SIZE: usize = 1 << 20;
const HEAD: usize = 64;
const MAGIC: &[u8; 8] = b"KSRING01";

/// Bytes before those of a record.
const RECORD_HEAD: usize = 16;

/// The longest record.
pub(super) const LONGEST: usize = SIZE / 4;

/// See the module's text.
pub(super) struct Ring {
    map: MmapMut,
    secrets: RapidSecrets,
    /// Where the next record goes.
    tail: usize,
    /// Bytes that are in use.
    used: usize,
}

fn header(number: u64, seed: u64) -> [u8; HEAD] {
    let mut header = [0; HEAD];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&seed.to_le_bytes());
    let checksum = checksum(&RapidSecrets::seed(seed), number, &header[..24]);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The checksum of a record, or of a header.
#[inline]
fn checksum(secrets: &RapidSecrets, place: u64, bytes: &[u8]) -> u32 {
    let hash = rapidhash_v3_micro_inline::<true, false>(bytes, secrets);
    // An odd multiple, so that each place gives another one.
    let mixed = hash ^ place.wrapping_add(bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32) as u32
}

impl Ring {
    /// An empty one for the log's file of a number, in a file that is made, or taken over.
    ///
    /// # Errors
    /// It can't be made or mapped.
    pub(super) fn open(path: &Path, number: u64) -> Result<Self> {
        let told = |error: io::Error| Error::io(format_args!("Mapping {}", path.display()), &error);
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) if file.metadata().map_err(told)?.len() == (HEAD + SIZE) as u64 => file,
            _ => Self::create(path)?,
        };
        let map = os::map_file(&file).map_err(told)?;
        let mut ring = Self { map, secrets: RapidSecrets::seed(0), tail: 0, used: 0 };
        ring.begin(number);
        Ok(ring)
    }

    /// A file with room for all, which is taken from the disk now: later nobody could be told that there is none.
    fn create(path: &Path) -> Result<File> {
        let mut replacement = Replacement::begin(path)?;
        let mut zeroes = io::repeat(0).take((HEAD + SIZE) as u64);
        let copied = io::copy(&mut zeroes, replacement.file());
        copied.map_err(|error| Error::io(format_args!("Writing {}", path.display()), &error))?;
        replacement.commit()
    }

    /// Empties it for a file of the log.
    pub(super) fn begin(&mut self, number: u64) {
        let seed = crate::store::random();
        self.secrets = RapidSecrets::seed(seed);
        (self.tail, self.used) = (0, 0);
        self.map[..HEAD].copy_from_slice(&header(number, seed));
    }

    /// Puts a record there, if there is room for it. Its bytes belong at `place` in the log's file.
    #[inline]
    pub(super) fn put(&mut self, place: u64, bytes: &[u8]) -> bool {
        let len = size(bytes.len());
        // What is left at the end stays as it is.
        let is_round = self.tail + len > SIZE;
        let skipped = if is_round { SIZE - self.tail } else { 0 };
        if self.used + skipped + len > SIZE {
            return false;
        }
        let at = if is_round { 0 } else { self.tail };
        let record = &mut self.map[HEAD + at..][..len];
        record[RECORD_HEAD..][..bytes.len()].copy_from_slice(bytes);
        record[..8].copy_from_slice(&place.to_le_bytes());
        record[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        record[12..16].copy_from_slice(&checksum(&self.secrets, place, bytes).to_le_bytes());
        self.tail = at + len;
        self.used += skipped + len;
        true
    }

    /// Bytes that are in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether so much is in use that it should be emptied soon.
    #[inline]
    pub(super) fn is_filling(&self) -> bool {
        self.used > SIZE / 2
    }

    /// Gives back the bytes that were in use first.
    pub(super) fn free(&mut self, bytes: usize) {
        self.used -= bytes;
    }
}

/// What a ring has for a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// What the file goes on with.
    pub(super) missing: Vec<u8>,
    /// It has what goes on nowhere, or is of another file. A power loss may bring that back while the file grows, or one gets the number of the other:
    /// such a ring has to go.
    pub(super) has_more: bool,
}

/// What is missing at the end of the log's file of a number, which is so many bytes long. O(bytes of the ring).
///
/// # Errors
/// There is a ring, and it can't be read.
pub(super) fn recover(path: &Path, number: u64, len: u64) -> io::Result<Recovered> {
    let mut ring = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovered::default()),
        other => other?,
    };
    let others = Recovered { missing: Vec::new(), has_more: true };
    let mut head = Vec::new();
    ring.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let Some(seed) = head.get(16..24).and_then(|seed| seed.try_into().ok()) else { return Ok(others) };
    let seed = u64::from_le_bytes(seed);
    if head != header(number, seed) {
        return Ok(others);
    }
    let mut circle = Vec::with_capacity(SIZE);
    ring.take(SIZE as u64).read_to_end(&mut circle)?;
    let secrets = RapidSecrets::seed(seed);
    let (mut records, mut at) = (Vec::new(), 0);
    while at < circle.len() {
        match record_at(&circle, at, &secrets, len) {
            Some(record) => {
                at += size(record.1.len());
                records.push(record);
            }
            None => at += 8,
        }
    }
    records.sort_unstable_by_key(|record| record.0);
    let mut missing = Vec::new();
    for (place, record) in records {
        let end = len + missing.len() as u64;
        let Some(known) = end.checked_sub(place) else {
            return Ok(Recovered { missing, has_more: true });
        };
        if let Some(new) = record.get(usize::try_from(known).unwrap_or(usize::MAX)..) {
            missing.extend_from_slice(new);
        }
    }
    Ok(Recovered { missing, has_more: false })
}

/// Bytes that a record takes which has so many.
fn size(bytes: usize) -> usize {
    (RECORD_HEAD + bytes).next_multiple_of(8)
}

/// The record that is there, if it may go on where the file ends. Others are not looked at: the length of one is the place of another in most of what is
/// none, and checksums of all these would take as long as the square of their number.
fn record_at<'c>(
    circle: &'c [u8],
    at: usize,
    secrets: &RapidSecrets,
    file_end: u64,
) -> Option<(u64, &'c [u8])> {
    let (head, rest) = circle.get(at..)?.split_at_checked(RECORD_HEAD)?;
    let place = u64::from_le_bytes(*head.first_chunk()?);
    let len = u32::from_le_bytes(*head[8..].first_chunk()?);
    let bytes = rest.get(..len as usize).filter(|bytes| !bytes.is_empty() && bytes.len() <= LONGEST)?;
    let within = file_end.saturating_sub(LONGEST as u64)..=file_end.saturating_add(SIZE as u64);
    if !within.contains(&place) || place + u64::from(len) <= file_end {
        return None;
    }
    (head[12..] == checksum(secrets, place, bytes).to_le_bytes()).then_some((place, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of a ring, and the folder that it is in.
    fn place() -> (std::path::PathBuf, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (folder.path().join("ring"), folder)
    }

    fn missing(path: &Path, len: u64) -> Vec<u8> {
        recover(path, 1, len).unwrap().missing
    }

    #[test]
    fn what_was_put_is_recovered_as_far_as_it_goes_on() {
        let (path, _folder) = place();
        let mut ring = Ring::open(&path, 7).unwrap();
        for (at, word) in [(0, "zero"), (4, "four"), (8, "eight"), (20, "gap")] {
            assert!(ring.put(at, word.as_bytes()));
        }
        drop(ring);
        let recovered = |number, len| {
            let Recovered { missing, has_more } = recover(&path, number, len).unwrap();
            (String::from_utf8(missing).unwrap(), has_more)
        };
        assert_eq!(recovered(7, 0), ("zerofoureight".into(), true));
        assert_eq!(recovered(7, 6), ("ureight".into(), true), "the file may end within a record");
        assert_eq!(recovered(7, 13), (String::new(), true));
        assert_eq!(recovered(7, 20), ("gap".into(), false));
        assert_eq!(recovered(7, 23), (String::new(), false));
        assert_eq!(recovered(8, 0), (String::new(), true), "of another file");
        assert_eq!(recover(&path.with_file_name("none"), 7, 0).unwrap(), Recovered::default());
        drop(Ring::open(&path, 7).unwrap());
        assert_eq!(recovered(7, 0), (String::new(), false), "it begins anew");
    }

    #[test]
    fn it_goes_round_and_round() {
        let (path, _folder) = place();
        let mut ring = Ring::open(&path, 1).unwrap();
        let (mut place, mut written, mut pending) = (0, 0, 0);
        let mut all = Vec::new();
        for round in 0_u32..40_000 {
            let bytes = round.to_le_bytes().repeat(1 + round as usize % 500);
            if !ring.put(place, &bytes) {
                assert!(ring.is_filling());
                ring.free(std::mem::take(&mut pending));
                assert_eq!(ring.used(), 0);
                written = place;
                assert!(ring.put(place, &bytes));
            }
            pending = ring.used();
            place += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
        assert_eq!(missing(&path, written), all[written as usize..]);
    }

    #[test]
    fn a_full_ring_of_short_records_is_read_once() {
        let (path, _folder) = place();
        let mut ring = Ring::open(&path, 1).unwrap();
        let (mut place, word) = (0_u64, b"a short record, as most are");
        while ring.put(place, word) {
            place += word.len() as u64;
        }
        assert_eq!(missing(&path, 0).len() as u64, place);
        assert_eq!(missing(&path, place - 30).len(), 30);
        assert_eq!(missing(&path, place), b"");
    }

    #[test]
    fn damage_ends_what_is_recovered() {
        let (path, _folder) = place();
        let mut ring = Ring::open(&path, 1).unwrap();
        for place in 0..10 {
            ring.put(place * 8, format!("record {place}").as_bytes());
        }
        drop(ring);
        let whole = std::fs::read(&path).unwrap();
        let full = missing(&path, 0);
        assert_eq!(full.len(), 80);
        for byte in (0..HEAD / 2).chain(HEAD..HEAD + 10 * 24) {
            let mut changed = whole.clone();
            changed[byte] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let left = missing(&path, 0);
            assert!(full.starts_with(&left), "byte {byte}");
            assert!(left.len() < full.len() || (28..HEAD).contains(&byte), "byte {byte}");
        }
        for len in 0..HEAD + 300 {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(full.starts_with(&missing(&path, 0)));
        }
    }
}
