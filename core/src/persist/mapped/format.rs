//! What stands in a file beside memory: its head and its meta, all numbers little-endian.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::{MappedFile, PAGE, PAGES_AT, damaged};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::image::{DatabaseImage, Image, ShardImage, StampKind, TableImage};
use crate::persist::files;
use crate::store::key::SHARDS;
use crate::store::memory::buckets;
use crate::store::table::Table;

/// What a file begins with, and the version that is read and written.
pub(super) const MAGIC: &[u8] = b"KEYSTEAD";
const VERSION: u32 = 1;

/// Bytes of the head before its checksum.
const HEAD: usize = PAGE - 4;

/// References of a page: one for each 8 bytes.
const UNITS: u32 = (PAGE / 8) as u32;

/// The last time that a file can be made, in unix milliseconds: no clock that counts microseconds goes further.
const LATEST_MS: u64 = i64::MAX as u64 / 1000;

/// Pages that references lead to.
const MOST_PAGES: u32 = 1 << 23;

/// See `docs/snapshot.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the file.
    pub(super) len: u64,
    pub(super) made_ms: u64,
    pub(super) seed: u64,
    pub(super) stamps: u32,
    pub(super) pages: u32,
    pub(super) shareable: u32,
    pub(super) meta_at: u64,
    pub(super) meta_len: u64,
    pub(super) meta_checksum: u32,
    pub(super) databases: u32,
    pub(super) keys: u64,
    /// That of the checksums of pages, which stand behind the meta.
    pub(super) sums_checksum: u32,
}

impl Head {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(PAGE));
        out.0.extend_from_slice(MAGIC);
        out.u32(VERSION);
        out.u32(PAGE as u32);
        out.u64(self.len);
        out.u64(self.made_ms);
        out.u64(self.seed);
        out.u32(self.stamps);
        out.u32(self.pages);
        out.u32(self.shareable);
        out.u32(SHARDS as u32);
        out.u64(self.meta_at);
        out.u64(self.meta_len);
        out.u32(self.meta_checksum);
        out.u32(self.databases);
        out.u64(self.keys);
        out.u32(self.sums_checksum);
        out.0.resize(HEAD, 0);
        let checksum = crc32fast::hash(&out.0);
        out.u32(checksum);
        out.0
    }

    /// Reads a head.
    ///
    /// # Errors
    /// It is damaged, of another version, or can't be read.
    pub(super) fn read(mut file: &File, path: &Path) -> Result<Self> {
        let mut bytes = vec![0; PAGE];
        let read = file.rewind().and_then(|()| file.read_exact(&mut bytes));
        read.map_err(|error| short(path, &error))?;
        if !bytes.starts_with(MAGIC) {
            return Err(damaged(path, 0, "it does not begin as a snapshot of Keystead does"));
        }
        let (head, checksum) = bytes.split_at(HEAD);
        let mut cursor = In(&head[MAGIC.len()..]);
        let version = cursor.u32().unwrap_or_default();
        if version != VERSION {
            let text = format!("ERR Can't handle version {version} of the snapshot {}", path.display());
            return Err(Error::new(ErrorKind::Io, text));
        }
        if checksum != crc32fast::hash(head).to_le_bytes() {
            return Err(damaged(path, 0, "the checksum of its head is wrong"));
        }
        let mut read = || {
            let page = cursor.u32()?;
            let head = Self {
                len: cursor.u64()?,
                made_ms: cursor.u64()?,
                seed: cursor.u64()?,
                stamps: cursor.u32()?,
                pages: cursor.u32()?,
                shareable: cursor.u32()?,
                meta_at: (cursor.u32()? == SHARDS as u32).then_some(cursor.u64()?)?,
                meta_len: cursor.u64()?,
                meta_checksum: cursor.u32()?,
                databases: cursor.u32()?,
                keys: cursor.u64()?,
                sums_checksum: cursor.u32()?,
            };
            (page == PAGE as u32 && (1..=MOST_PAGES).contains(&head.pages)).then_some(head)
        };
        read().ok_or_else(|| damaged(path, MAGIC.len() as u64, "its head makes no sense"))
    }
}

/// What a file that ends too early comes to.
fn short(path: &Path, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return damaged(path, 0, "it is cut off");
    }
    files::told("Reading", path, error)
}

/// The meta of an image.
pub(super) fn meta(image: &Image, functions: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Out(Vec::new());
    for database in &image.databases {
        out.u64(database.number);
        out.u32(database.rows);
    }
    for shard in &image.shards {
        out.u64(shard.used);
        out.u64(shard.owners);
        for runs in [&shard.runs, &shard.huge] {
            out.u32(runs.len() as u32);
            for (first, pages) in runs {
                out.u32(*first);
                out.u32(*pages);
            }
        }
        out.u32(shard.tables.len() as u32);
        for table in &shard.tables {
            out.u32(table.database);
            table.table.iter().for_each(|word| out.u64(*word));
            out.u64(table.with_deadline);
            out.0.extend_from_slice(&table.deadlines.to_le_bytes());
            out.numbers(&table.inside);
        }
    }
    out.u32(functions.len() as u32);
    for library in functions {
        out.u64(library.len() as u64);
        out.0.extend_from_slice(library);
    }
    out.0
}

/// Reads the meta of a file with this head.
///
/// # Errors
/// It is damaged, or can't be read.
pub(super) fn read(mut file: File, path: &Path, head: &Head) -> Result<MappedFile> {
    let len = file.metadata().map_err(|error| files::told("Reading", path, &error))?.len();
    if len != head.len {
        return Err(damaged(path, len.min(head.len), "it is cut off, or goes on"));
    }
    let behind = head.len.checked_sub(head.meta_at).and_then(|rest| rest.checked_sub(head.meta_len));
    let pages = (head.meta_at / PAGE as u64).checked_sub(1);
    let fits = head.meta_at.is_multiple_of(PAGE as u64)
        && behind.zip(pages).is_some_and(|(behind, pages)| behind == pages * size_of::<u32>() as u64);
    if !fits {
        return Err(damaged(path, 0, "its head makes no sense"));
    }
    let part = (head.meta_at, head.meta_len);
    let meta = read_part(&mut file, path, part, (head.meta_checksum, "its meta"))?;
    let decoded = decode(&mut In(&meta), head).filter(|(image, _)| is_sound(image, head));
    let nonsense = || damaged(path, head.meta_at, "its meta makes no sense");
    let (image, functions) = decoded.ok_or_else(nonsense)?;
    let (layout, end) = image.layout(PAGES_AT, PAGES_AT);
    let sums_at = head.meta_at + head.meta_len;
    if end > head.meta_at {
        return Err(nonsense());
    }
    let (path, keys) = (path.to_owned(), head.keys);
    Ok(MappedFile {
        file,
        path,
        image,
        layout,
        keys,
        functions,
        sums: (sums_at, head.len - sums_at, head.sums_checksum),
    })
}

/// Reads the checksums of pages, which have one themselves.
///
/// # Errors
/// They are damaged, or can't be read.
pub(super) fn read_sums(
    file: &mut File,
    path: &Path,
    (at, len, checksum): (u64, u64, u32),
) -> Result<Vec<u32>> {
    let bytes = read_part(file, path, (at, len), (checksum, "its checksums"))?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

/// Reads a part that the file has.
fn read_part(
    file: &mut File,
    path: &Path,
    (at, len): (u64, u64),
    (checksum, name): (u32, &str),
) -> Result<Vec<u8>> {
    let mut part = crate::alloc::with_room_for(len as usize)?;
    part.resize(len as usize, 0);
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut part));
    read.map_err(|error| short(path, &error))?;
    if crc32fast::hash(&part) != checksum {
        return Err(damaged(path, at, &format!("the checksum of {name} is wrong")));
    }
    Ok(part)
}

fn decode(meta: &mut In<'_>, head: &Head) -> Option<(Image, Vec<Vec<u8>>)> {
    let mut databases = Vec::new();
    for _ in 0..head.databases {
        databases.push(DatabaseImage { number: meta.u64()?, rows: meta.u32()? });
    }
    let mut shards = Vec::new();
    for _ in 0..SHARDS {
        let mut shard = ShardImage { used: meta.u64()?, owners: meta.u64()?, ..ShardImage::default() };
        for runs in [&mut shard.runs, &mut shard.huge] {
            for _ in 0..meta.u32()? {
                runs.push((meta.u32()?, meta.u32()?));
            }
        }
        for _ in 0..meta.u32()? {
            shard.tables.push(TableImage {
                database: meta.u32()?,
                table: [meta.u64()?, meta.u64()?],
                with_deadline: meta.u64()?,
                deadlines: u128::from_le_bytes(meta.array()?),
                inside: meta.numbers()?,
            });
        }
        shards.push(shard);
    }
    let mut functions = Vec::new();
    for _ in 0..meta.u32()? {
        let len = usize::try_from(meta.u64()?).ok()?;
        functions.push(meta.take(len)?.to_vec());
    }
    let Head { seed, made_ms, stamps, pages, shareable, .. } = *head;
    let image = Image { seed, made_ms, stamps, pages, shareable, databases, shards };
    meta.0.is_empty().then_some((image, functions))
}

/// Whether the numbers of an image fit each other and the file: runs lie in its pages and do not overlap, tables in their rows. So no sum of them overflows.
fn is_sound(image: &Image, head: &Head) -> bool {
    let are_distinct = are_distinct(image.databases.iter().map(|database| database.number));
    let rows: u64 = image.databases.iter().map(|database| u64::from(database.rows)).sum();
    let have_room = rows <= head.len / buckets::ROW as u64;
    let mut runs: Vec<(u32, u32)> =
        image.shards.iter().flat_map(|shard| shard.runs.iter().chain(&shard.huge)).copied().collect();
    runs.sort_unstable();
    // Number 0 is no reference.
    let (mut free, mut of_entries) = (1, 0);
    let are_apart = runs.into_iter().all(|(first, pages)| {
        let is_apart = first >= free && pages > 0;
        free = first.saturating_add(pages);
        of_entries += u64::from(pages);
        is_apart && free <= image.pages
    });
    let tables = image.shards.iter().flat_map(|shard| &shard.tables);
    let keys: u64 = tables.map(|table| Table::from_words(table.table).len() as u64).sum();
    are_distinct
        && have_room
        && are_apart
        && of_entries + u64::from(image.shareable) < u64::from(image.pages)
        && keys == head.keys
        && image.stamps <= StampKind::Reuse as u32
        && image.made_ms <= LATEST_MS
        && image.shards.iter().all(|shard| is_shard_sound(image, shard))
}

fn are_distinct<T: Ord>(numbers: impl Iterator<Item = T>) -> bool {
    let mut numbers: Vec<T> = numbers.collect();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn is_shard_sound(image: &Image, shard: &ShardImage) -> bool {
    let bytes: u64 = shard.runs.iter().map(|(_, pages)| u64::from(*pages) * PAGE as u64).sum();
    let len: u64 = shard.tables.iter().map(|table| Table::from_words(table.table).len() as u64).sum();
    let mut held: Vec<(u32, u32)> = shard.runs.iter().chain(&shard.huge).copied().collect();
    held.sort_unstable();
    let is_held = |at: u32| {
        let page = at / UNITS;
        let behind = held.partition_point(|(first, _)| *first <= page);
        behind > 0 && page - held[behind - 1].0 < held[behind - 1].1
    };
    let is_table_sound = |table: &TableImage| {
        let database = image.databases.get(table.database as usize);
        let found = Table::from_words(table.table);
        database.is_some_and(|database| found.home_count() <= database.rows)
            && found.is_sound()
            && table.with_deadline <= found.len() as u64
            && (table.with_deadline > 0 || table.deadlines == 0)
            && table.inside.len() <= found.len()
            && table.inside.iter().all(|at| is_held(*at))
    };
    shard.used <= bytes
        && shard.used.is_multiple_of(8)
        && shard.owners <= len
        && are_distinct(shard.tables.iter().map(|table| table.database))
        && shard.tables.iter().all(is_table_sound)
}

/// Gives a file head and meta of other numbers, and what follows from these, with checksums that are right.
#[cfg(test)]
pub(super) fn altered(file: &[u8], change: impl FnOnce(&mut Head, &mut Image)) -> Vec<u8> {
    let path = Path::new("altered.ks");
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes")) as usize;
    let (meta_at, end) = (number(56), number(56) + number(64));
    let scratch = tempfile::tempfile().expect("there is a folder for temporary files");
    io::Write::write_all(&mut &scratch, file).expect("it has room");
    let mut head = Head::read(&scratch, path).expect("it was whole");
    let (mut image, functions) = decode(&mut In(&file[meta_at..end]), &head).expect("it was whole");
    change(&mut head, &mut image);
    let meta = meta(&image, &functions);
    let (before, grown) = (head.meta_len, meta.len() as u64);
    if before == (end - meta_at) as u64 {
        head.meta_len = grown;
        head.len = head.len.wrapping_add(grown).wrapping_sub(before);
    }
    head.databases = image.databases.len() as u32;
    let bytes = [&file[PAGE..meta_at], &meta, &file[end..]].concat();
    repair([head.bytes(), bytes].concat())
}

/// Puts checksums that are right where head, meta and the checksums of pages have theirs, as far as these parts are there. What pages have stays.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn repair(mut file: Vec<u8>) -> Vec<u8> {
    if file.len() < PAGE {
        return file;
    }
    let number = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?) as usize);
    let sums = number(56).zip(number(64)).and_then(|(at, len)| {
        let end = at.checked_add(len)?;
        Some((crc32fast::hash(file.get(at..end)?), crc32fast::hash(file.get(end..)?)))
    });
    let put = |file: &mut [u8], at: usize, sum: u32| file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    if let Some((meta, sums)) = sums {
        put(&mut file, 72, meta);
        put(&mut file, 88, sums);
    }
    let sum = crc32fast::hash(&file[..HEAD]);
    put(&mut file, HEAD, sum);
    file
}

/// Numbers that are written one after the other.
struct Out(Vec<u8>);

impl Out {
    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// How many, and each.
    fn numbers(&mut self, numbers: &[u32]) {
        self.u32(numbers.len() as u32);
        numbers.iter().for_each(|number| self.u32(*number));
    }
}

/// Bytes that are read one after the other, and are left.
struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn numbers(&mut self) -> Option<Vec<u32>> {
        let len = self.u32()? as usize;
        let bytes = self.take(len.checked_mul(4)?)?;
        Some(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }
}
