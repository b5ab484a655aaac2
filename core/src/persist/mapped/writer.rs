//! Writing a file, part by part, wherever that stands in it: with plain writes, which take half the time of writes through a map.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::format::{self, Head};
use super::{PAGE, PAGES_AT};
use crate::error::{Error, Result};
use crate::keyspace::image::{Builder, Built};
use crate::keyspace::snapshot::SnapshotWriter;
use crate::keyspace::{Db, Entry, Keyspace, scan};
use crate::persist::files::{self, Replacement};
use crate::persist::saving::{Progress, visit};
use crate::persist::syncing::Syncing;
use crate::store::key::SHARDS;
use crate::sync::Arc;

/// Writes a snapshot of all databases to a file, which takes the place of what was there. `meanwhile` is done at the moment that the snapshot is of.
/// Returns how many bytes the file has. O(data).
///
/// # Errors
/// As of [`crate::persist::saving::save`].
pub(in crate::persist) fn save(
    keyspace: &Keyspace,
    target: &Path,
    functions: &[Vec<u8>],
    progress: &Progress,
    meanwhile: impl FnOnce(),
) -> Result<u64> {
    let mut replacement = Replacement::begin(target)?;
    let out = Writer::new(keyspace, replacement.file(), target);
    let builder = Arc::new(builder_of(keyspace));
    let writer: Arc<dyn SnapshotWriter> = builder.clone();
    let out = thread::scope(|scope| {
        // One step is written while the next one is visited; no more of them wait in memory.
        let (sender, steps) = sync_channel(1);
        let own = &*builder;
        let writing = thread::Builder::new().name("keystead-write".into());
        let writing = writing.spawn_scoped(scope, move || write_steps(out, own, steps, progress));
        let writing = writing.map_err(|error| files::told("Writing", target, &error))?;
        let visited = visit(keyspace, &writer, progress, meanwhile, |visited| {
            sender.send(visited).map_err(|_| Error::command("what is visited is not written"))
        });
        drop(sender);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where writing has failed that is why visiting has.
        written.and_then(|out| visited.map(|()| out))
    })?;
    let bytes = out.end(&builder, functions)?;
    replacement.commit()?;
    Ok(bytes)
}

/// Writes what an image has, each time that so many shards have been visited.
fn write_steps<'f>(
    mut out: Writer<'f>,
    builder: &Builder,
    steps: Receiver<usize>,
    progress: &Progress,
) -> Result<Writer<'f>> {
    let mut finished = 0;
    for visited in steps {
        out.take(builder)?;
        while finished < visited {
            builder.finish_shard(finished)?;
            finished += 1;
        }
        progress.count(builder.keys());
    }
    Ok(out)
}

/// As [`save`], of databases whose shards are all locked.
///
/// # Errors
/// The file can't be written: then the old one is there.
pub(in crate::persist) fn save_held(db: &mut Db<'_>, target: &Path, functions: &[Vec<u8>]) -> Result<u64> {
    let keyspace = db.keyspace();
    let mut replacement = Replacement::begin(target)?;
    let mut out = Writer::new(keyspace, replacement.file(), target);
    let builder = builder_of(keyspace);
    let home = db.index();
    for index in db.databases() {
        db.select(index);
        scan::each_stored(db, |entry: Entry<'_>| builder.entry(index, &entry));
    }
    db.select(home);
    out.take(&builder)?;
    (0..SHARDS).try_for_each(|shard| builder.finish_shard(shard))?;
    let bytes = out.end(&builder, functions)?;
    replacement.commit()?;
    Ok(bytes)
}

fn builder_of(keyspace: &Keyspace) -> Builder {
    Builder::new(keyspace.seed, keyspace.clock.now_ms(), keyspace.stamps())
}

/// A file that is being written.
struct Writer<'f> {
    file: &'f mut File,
    target: &'f Path,
    /// Of each page behind the head; of those that were not written that of zeroes.
    checksums: Vec<u32>,
    of_zeroes: u32,
    syncing: Syncing,
}

impl<'f> Writer<'f> {
    fn new(keyspace: &Keyspace, file: &'f mut File, target: &'f Path) -> Self {
        let (checksums, of_zeroes) = (Vec::new(), crc32fast::hash(&[0; PAGE]));
        let syncing = Syncing::begin(file, keyspace.config.hot().rdb_save_incremental_fsync());
        Self { file, target, checksums, of_zeroes, syncing }
    }

    /// Writes what an image has ready.
    fn take(&mut self, builder: &Builder) -> Result<()> {
        let ready = builder.take_ready(|at, bytes| self.write(PAGES_AT + at, bytes))?;
        ready.into_iter().try_for_each(|(at, bytes)| self.write(PAGES_AT + at, &bytes))
    }

    /// Writes bytes that begin with a page; the rest of their last one is zeroes.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let first = (at / PAGE as u64) as usize - 1;
        let end = first + bytes.len().div_ceil(PAGE);
        if self.checksums.len() < end {
            self.checksums.resize(end, self.of_zeroes);
        }
        for (checksum, page) in self.checksums[first..end].iter_mut().zip(bytes.chunks(PAGE)) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(page);
            hasher.update(&[0; PAGE][page.len()..]);
            *checksum = hasher.finalize();
        }
        self.put(at, bytes).map_err(|error| files::told("Writing", self.target, &error))
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)?;
        self.syncing.wrote(bytes.len());
        Ok(())
    }

    /// Writes what is left, when all shards have been finished. Returns the length of the file.
    fn end(mut self, builder: &Builder, functions: &[Vec<u8>]) -> Result<u64> {
        self.take(builder)?;
        let Built { image, records, buckets } = builder.end();
        let (layout, end) = image.layout(PAGES_AT, PAGES_AT);
        if !records.is_empty() {
            let all = bytemuck::allocation::try_zeroed_vec(image.pages as usize);
            let mut all: Vec<u64> = all.map_err(|()| Error::no_memory())?;
            records.iter().for_each(|(first, pages)| all[*first as usize] = u64::from(*pages) << 32 | 1);
            self.write(layout.records, bytemuck::cast_slice(&all))?;
        }
        for (at, lines) in layout.buckets.iter().zip(&buckets) {
            self.write(*at, bytemuck::cast_slice(lines))?;
        }
        let meta_at = end.next_multiple_of(PAGES_AT);
        self.checksums.resize((meta_at / PAGE as u64) as usize - 1, self.of_zeroes);
        let meta = format::meta(&image, functions);
        let sums: Vec<u8> = self.checksums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let tables = image.shards.iter().flat_map(|shard| &shard.tables);
        let head = Head {
            len: meta_at + (meta.len() + sums.len()) as u64,
            made_ms: image.made_ms,
            seed: image.seed,
            stamps: image.stamps,
            pages: image.pages,
            shareable: image.shareable,
            meta_at,
            meta_len: meta.len() as u64,
            meta_checksum: crc32fast::hash(&meta),
            databases: image.databases.len() as u32,
            sums_checksum: crc32fast::hash(&sums),
            keys: tables.map(|table| table.table[0] >> 32).sum(),
        };
        let behind = [meta, sums].concat();
        let written = self.put(meta_at, &behind).and_then(|()| self.put(0, &head.bytes()));
        let synced = written.and_then(|()| self.syncing.end());
        synced.map_err(|error| files::told("Writing", self.target, &error))?;
        Ok(head.len)
    }
}
