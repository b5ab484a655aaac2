//! Making an image of what a snapshot gives. What is ready is taken by whoever writes the file, which may be written in any order.

use std::collections::HashMap;

use super::{CLOCK, DatabaseImage, Image, Layout, ShardImage, StampKind, TableImage};
use crate::error::{Error, Result};
use crate::keyspace::db::{Copied, Entry};
use crate::keyspace::entry::Parts;
use crate::keyspace::evictor::Stamps;
use crate::keyspace::owned::padding;
use crate::keyspace::snapshot::SnapshotWriter;
use crate::store::key::{HashSeed, SHARDS, shard_of};
use crate::store::memory::arena::{LARGEST, huge_pages};
use crate::store::memory::words::{Block, Words};
use crate::store::memory::{Arena, PAGE, buckets};
use crate::store::table::{BUCKET, BucketWords, Table};
use crate::sync::Mutex;
use crate::value::Owned;

/// Pages of the longest run that small entries of a shard are put into; the first is of one, and each is as long as all before it.
const LONGEST_RUN: usize = 16;
/// Pages that numbers of blocks lead to.
const MOST_PAGES: u64 = 1 << 23;
/// Stamps whose translations are remembered.
const TRANSLATED: usize = 32;
/// Words of a page.
const UNITS: u32 = (PAGE / 8) as u32;

/// Bytes of the image: where they begin, counted from the first page, and what they are.
type Bytes = (u64, Vec<u8>);

/// See the module's text.
pub(crate) struct Builder {
    seed: HashSeed,
    made_ms: u64,
    stamps: Stamps,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Pages that have a number.
    pages: u64,
    keys: u64,
    shareable: u32,
    /// Runs of pages that can be shared: the first, and how many.
    records: Vec<(u32, u32)>,
    ready: Vec<Bytes>,
    waiting: Vec<Waiting>,
    shards: Vec<Shard>,
    databases: Vec<Database>,
    places: HashMap<usize, u32>,
    /// The database that was asked for last, and its place.
    last: Option<(usize, u32)>,
    /// Stamps that were translated, by their last bits, and what they came to.
    translated: [Option<(u32, u32)>; TRANSLATED],
    error: Option<Error>,
}

/// A key whose value has memory of its own.
struct Waiting {
    at: Place,
    key: Vec<u8>,
    deadline: Option<u64>,
    stamp: u32,
    value: Owned,
}

/// Where an entry belongs.
#[derive(Clone, Copy)]
struct Place {
    database: u32,
    hash: u64,
}

#[derive(Default)]
struct Shard {
    image: ShardImage,
    open: Run,
    /// Hashes and references of entries, by the places of databases.
    entries: Vec<Vec<(u64, u32)>>,
}

/// A run that is being filled.
#[derive(Default)]
struct Run {
    first: u32,
    /// Bytes that it has room for, and of blocks in it.
    room: usize,
    len: usize,
    bytes: Vec<u8>,
}

struct Database {
    image: DatabaseImage,
    /// Rows of home buckets.
    lines: Vec<BucketWords>,
}

/// What an image comes to.
pub(crate) struct Built {
    pub(crate) image: Image,
    /// Runs that can be shared: the first page, and how many.
    pub(crate) records: Vec<(u32, u32)>,
    /// Home buckets, by the places of databases.
    pub(crate) buckets: Vec<Vec<BucketWords>>,
}

impl SnapshotWriter for Builder {
    fn entry(&self, db: usize, entry: &Entry<'_>) {
        let mut state = self.state.lock();
        let added = state.add(self, db, entry);
        if let Err(error) = added {
            state.error.get_or_insert(error);
        }
    }
}

impl Builder {
    /// Begins an image of keys that are hashed so.
    pub(crate) fn new(seed: HashSeed, made_ms: u64, stamps: Stamps) -> Self {
        // Number 0 is no reference.
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        let state = State { pages: 1, shards, ..State::default() };
        Self { seed, made_ms, stamps, state: Mutex::new(state) }
    }

    /// Makes entries of what waits for it, whose values' pages `write` gets, and takes what is ready. The caller holds no lock.
    ///
    /// # Errors
    /// There is no memory or no number left, or the first of `write`.
    pub(crate) fn take_ready(&self, mut write: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<Vec<Bytes>> {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for Waiting { at, key, deadline, stamp, value } in waiting {
            let root = value.copy_pages(&mut |words: Words<'_>| {
                let pages = words.len() as u32 / UNITS;
                let first = self.state.lock().take_shareable(pages)?;
                write(u64::from(first) * PAGE as u64, Block::new(words).bytes(0, words.len() * 8))?;
                Ok(first)
            })?;
            let mut bytes = vec![0; padding(key.len())];
            root.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
            let parts = Parts {
                kind: value.kind(),
                key: &key,
                value: &bytes,
                deadline,
                stamp,
                ascii: false,
                is_saved: false,
            };
            let mut entry = Vec::with_capacity(parts.size());
            parts.copy_out(&mut entry);
            let mut state = self.state.lock();
            let placed = state.place(at, &entry, deadline)?;
            let shard = &mut state.shards[shard_of(at.hash)].image;
            shard.owners += 1;
            if value.next_deadline().is_some() {
                table_of(shard, at.database).inside.push(placed);
            }
        }
        let mut state = self.state.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.ready)),
        }
    }

    /// How many keys have been given.
    pub(crate) fn keys(&self) -> u64 {
        self.state.lock().keys
    }

    /// Makes the tables of a shard, of which everything has been given and nothing waits. O(entries).
    ///
    /// # Errors
    /// There is no number left.
    pub(crate) fn finish_shard(&self, shard: usize) -> Result<()> {
        self.state.lock().finish_shard(shard)
    }

    /// Ends the image, of whose shards all have been finished and everything has been taken.
    pub(crate) fn end(&self) -> Built {
        let mut state = self.state.lock();
        let State { pages, shareable, records, shards, databases, .. } = std::mem::take(&mut *state);
        let image = Image {
            seed: self.seed.number(),
            made_ms: self.made_ms,
            stamps: StampKind::of(self.stamps.recording()) as u32,
            pages: pages as u32,
            shareable,
            databases: databases.iter().map(|database| database.image).collect(),
            shards: shards.into_iter().map(|shard| shard.image).collect(),
        };
        let buckets = databases.into_iter().map(|database| database.lines).collect();
        Built { image, records, buckets }
    }
}

fn table_of(shard: &mut ShardImage, database: u32) -> &mut TableImage {
    let at = shard.tables.iter().position(|table| table.database == database);
    let at = at.unwrap_or_else(|| {
        shard.tables.push(TableImage {
            database,
            table: [0; 2],
            with_deadline: 0,
            deadlines: 0,
            inside: Vec::new(),
        });
        shard.tables.len() - 1
    });
    &mut shard.tables[at]
}

impl State {
    fn add(&mut self, builder: &Builder, db: usize, entry: &Entry<'_>) -> Result<()> {
        let (key, deadline) = (entry.key(), entry.deadline());
        self.keys += 1;
        let stamp = self.translate(&builder.stamps, entry.stamp());
        let place = Place { database: self.database(db), hash: builder.seed.hash(key) };
        if entry.is_apart() {
            let Copied::Owned(Some(value)) = entry.share_without_timers() else {
                unreachable!("a value with memory of its own is shared")
            };
            self.waiting.push(Waiting { at: place, key: key.to_vec(), deadline, stamp, value });
            return Ok(());
        }
        // Where it belongs is where it is written first.
        let at = self.room(shard_of(place.hash), entry.size())?;
        match at {
            Room::InRun(at) => {
                let run = &mut self.shards[shard_of(place.hash)].open;
                entry.copy_out(stamp, &mut run.bytes);
                self.note(place, at, deadline);
            }
            Room::Huge(first) => {
                let mut bytes = Vec::with_capacity(entry.size());
                entry.copy_out(stamp, &mut bytes);
                self.ready.push((u64::from(first) * PAGE as u64, bytes));
                self.note(place, first * UNITS, deadline);
            }
        }
        Ok(())
    }

    fn database(&mut self, number: usize) -> u32 {
        if let Some((_, place)) = self.last.filter(|(last, _)| *last == number) {
            return place;
        }
        let Self { places, databases, .. } = self;
        let place = *places.entry(number).or_insert_with(|| {
            let image = DatabaseImage { number: number as u64, rows: 0 };
            databases.push(Database { image, lines: Vec::new() });
            databases.len() as u32 - 1
        });
        self.last = Some((number, place));
        place
    }

    fn translate(&mut self, stamps: &Stamps, stamp: u32) -> u32 {
        let known = &mut self.translated[stamp as usize % TRANSLATED];
        match *known {
            Some((from, to)) if from == stamp => to,
            _ => {
                let to = stamps.at_clock(stamp, CLOCK);
                *known = Some((stamp, to));
                to
            }
        }
    }

    fn take_pages(&mut self, pages: u32) -> Result<u32> {
        let first = self.pages;
        if first + u64::from(pages) > MOST_PAGES {
            return Err(Error::no_memory());
        }
        self.pages += u64::from(pages);
        Ok(first as u32)
    }

    fn take_shareable(&mut self, pages: u32) -> Result<u32> {
        let first = self.take_pages(pages)?;
        self.shareable += pages;
        self.records.push((first, pages));
        Ok(first)
    }

    /// Puts an entry, whose value has a root, where it belongs. Returns its reference.
    fn place(&mut self, place: Place, bytes: &[u8], deadline: Option<u64>) -> Result<u32> {
        let at = match self.room(shard_of(place.hash), bytes.len())? {
            Room::InRun(at) => {
                self.shards[shard_of(place.hash)].open.bytes.extend_from_slice(bytes);
                at
            }
            Room::Huge(first) => {
                self.ready.push((u64::from(first) * PAGE as u64, bytes.to_vec()));
                first * UNITS
            }
        };
        self.note(place, at, deadline);
        Ok(at)
    }

    fn note(&mut self, place: Place, at: u32, deadline: Option<u64>) {
        let shard = &mut self.shards[shard_of(place.hash)];
        let database = place.database as usize;
        if shard.entries.len() <= database {
            shard.entries.resize_with(database + 1, Vec::new);
        }
        shard.entries[database].push((place.hash, at));
        if let Some(deadline) = deadline {
            let table = table_of(&mut shard.image, place.database);
            table.with_deadline += 1;
            table.deadlines += u128::from(deadline);
        }
    }

    /// Room for a block of so many bytes in the open run of a shard: whoever asks for it writes the block at its end; or pages of its own.
    fn room(&mut self, shard: usize, bytes: usize) -> Result<Room> {
        if bytes > LARGEST {
            let pages = huge_pages(bytes) as u32;
            let first = self.take_pages(pages)?;
            self.shards[shard].image.huge.push((first, pages));
            return Ok(Room::Huge(first));
        }
        let class = Arena::class_bytes(bytes);
        let run = &mut self.shards[shard].open;
        let at = run.len;
        if at + class > run.room {
            self.open_run(shard, class)?;
            return self.room(shard, bytes);
        }
        // What was written last may be shorter than its block.
        run.bytes.resize(at, 0);
        run.len += class;
        let shard = &mut self.shards[shard];
        shard.image.used += class as u64;
        Ok(Room::InRun(shard.open.first * UNITS + (at / 8) as u32))
    }

    fn open_run(&mut self, shard: usize, class: usize) -> Result<()> {
        self.close_run(shard);
        let before: u32 = self.shards[shard].image.runs.iter().map(|(_, pages)| pages).sum();
        let pages = (before as usize).clamp(1, LONGEST_RUN).max(class.div_ceil(PAGE));
        let first = self.take_pages(pages as u32)?;
        let bytes = crate::alloc::with_room_for(pages * PAGE)?;
        let shard = &mut self.shards[shard];
        shard.image.runs.push((first, pages as u32));
        shard.open = Run { first, room: pages * PAGE, len: 0, bytes };
        Ok(())
    }

    fn close_run(&mut self, shard: usize) {
        let run = std::mem::take(&mut self.shards[shard].open);
        if run.len > 0 {
            self.ready.push((u64::from(run.first) * PAGE as u64, run.bytes));
        }
    }

    fn finish_shard(&mut self, shard: usize) -> Result<()> {
        let entries = std::mem::take(&mut self.shards[shard].entries);
        for (database, entries) in entries.iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
            let mut homes: Vec<(u32, BucketWords)> = Vec::with_capacity(entries.len() / 5);
            let overflow = |words: BucketWords| {
                let Room::InRun(at) = self.room(shard, BUCKET)? else { unreachable!("buckets are short") };
                let run = &mut self.shards[shard].open;
                words.iter().for_each(|word| run.bytes.extend_from_slice(&word.to_le_bytes()));
                Ok::<u32, Error>(at)
            };
            let table = Table::build(entries, overflow, |home, words| homes.push((home, words)))?;
            let Database { image, lines } = &mut self.databases[database];
            image.rows = image.rows.max(table.home_count());
            let wanted = image.rows as usize * SHARDS;
            if lines.len() < wanted {
                // Zeroes of the system's, which nobody has to write: whoever gives an entry early waits for this.
                let longer = bytemuck::allocation::try_zeroed_vec(wanted).map_err(|()| Error::no_memory())?;
                let shorter = std::mem::replace(lines, longer);
                lines[..shorter.len()].copy_from_slice(&shorter);
            }
            homes.into_iter().for_each(|(home, words)| lines[home as usize * SHARDS + shard] = words);
            table_of(&mut self.shards[shard].image, database as u32).table = table.to_words();
        }
        self.close_run(shard);
        Ok(())
    }
}

/// Where a block is to be.
enum Room {
    /// At the end of the open run: its number.
    InRun(u32),
    /// In pages of its own: the first.
    Huge(u32),
}

impl Image {
    /// Where its memory stands in a file whose pages begin at `pages`, each part at a multiple of `align`, and where the last part ends.
    pub(crate) fn layout(&self, pages: u64, align: u64) -> (Layout, u64) {
        let mut end = pages + u64::from(self.pages) * PAGE as u64;
        let mut part = |bytes: u64| {
            let start = end.next_multiple_of(align);
            end = start + bytes;
            start
        };
        let records = part((u64::from(self.pages) * 8).next_multiple_of(PAGE as u64));
        let buckets =
            self.databases.iter().map(|found| part(u64::from(found.rows) * buckets::ROW as u64)).collect();
        (Layout { pages, records, buckets }, end)
    }
}
