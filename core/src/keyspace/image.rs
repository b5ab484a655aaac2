//! Images: what a file holds so that an engine can go on with it where it stands, as the memory that entries and tables are made of.
//!
//! An image is made by a [`Builder`] from what a [snapshot](super::snapshot) gives: for each shard a dense arena and a dense table of each database, with
//! values' pages beside them, all at the numbers at which they will be used. [`Keyspace::adopt`] takes it over: what an engine keeps beside such memory is
//! little, and follows from [`Image`]. Timers are in no file: those of keys are armed bit by bit ([`Keyspace::arm_adopted`]), since look-ups judge deadlines
//! by themselves.
//!
//! How an image stands in a file is [`crate::persist`]'s affair.

mod builder;

use std::fs::File;
use std::io;
use std::time::Duration;

use super::Keyspace;
use super::access::Recording;
use crate::store::key::SHARDS;
pub(crate) use builder::{Builder, Built};

/// Where the clock of stamps stands in every image, at the time when that is made; it counts [`super::access::CALM_TICK_MS`].
pub(crate) const CLOCK: u32 = 1 << 30;

/// What stamps of an image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum StampKind {
    /// When an entry was used last.
    Recency = 0,
    /// Minutes and a counter.
    Frequency = 1,
    /// When it was filed, and a counter.
    Reuse = 2,
}

impl StampKind {
    pub(super) fn of(recording: Recording) -> Self {
        match recording {
            Recording::Recency { .. } => Self::Recency,
            Recording::Frequency { .. } => Self::Frequency,
            Recording::Reuse { .. } => Self::Reuse,
        }
    }
}

/// What there is in an image beside its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// What keys are hashed with.
    pub(crate) seed: u64,
    /// Unix milliseconds at which it was made.
    pub(crate) made_ms: u64,
    /// A [`StampKind`].
    pub(crate) stamps: u32,
    /// Pages of entries and values.
    pub(crate) pages: u32,
    /// Those of them that are values'.
    pub(crate) shareable: u32,
    pub(crate) databases: Vec<DatabaseImage>,
    /// By number.
    pub(crate) shards: Vec<ShardImage>,
}

/// A database's home buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseImage {
    pub(crate) number: u64,
    /// Buckets of the longest table: one of each shard is a row.
    pub(crate) rows: u32,
}

/// What a shard has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardImage {
    /// Bytes of blocks in its runs.
    pub(crate) used: u64,
    /// Entries whose values have roots.
    pub(crate) owners: u64,
    /// First pages and lengths of runs that hold blocks, and of those that hold one huge block each.
    pub(crate) runs: Vec<(u32, u32)>,
    pub(crate) huge: Vec<(u32, u32)>,
    pub(crate) tables: Vec<TableImage>,
}

/// The table of a database in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableImage {
    /// The place of the database in the image.
    pub(crate) database: u32,
    /// As of [`crate::store::table::Table::to_words`].
    pub(crate) table: [u64; 2],
    /// Keys with deadlines, and the sum of these.
    pub(crate) with_deadline: u64,
    pub(crate) deadlines: u128,
    /// Entries with deadlines inside their values.
    pub(crate) inside: Vec<u32>,
}

/// Where the memory of an image stands in a file, in bytes from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) pages: u64,
    pub(crate) records: u64,
    /// By the places of databases.
    pub(crate) buckets: Vec<u64>,
}

impl Keyspace {
    /// Whether nothing was ever stored here, and keys are hashed as in an image.
    pub(crate) fn can_adopt(&self, image: &Image) -> bool {
        self.seed.number() == image.seed && self.made_shards().next().is_none()
    }

    /// Goes on with an image, which is whole and sound, where it stands in a file: mapped, if `maps` says so and the system can. Nobody uses the keyspace
    /// yet, and it [can](Self::can_adopt). O(shards), and O(fields) of hashes that have some with deadlines.
    ///
    /// # Errors
    /// There is no memory, or the file can't be read: the keyspace is of no use then.
    pub(crate) fn adopt(
        &self,
        image: &Image,
        layout: &Layout,
        (file, maps): (&File, bool),
    ) -> io::Result<()> {
        let pages = (image.pages as usize, layout.pages);
        self.shared.pool.adopt((file, maps), pages, (image.shareable as usize, layout.records))?;
        for (database, offset) in image.databases.iter().zip(&layout.buckets) {
            let place = self.shared.make_place(database.number as usize);
            self.shared.buckets(place).adopt((file, maps), *offset, database.rows)?;
        }
        let elapsed_ms = self.clock.now_ms().saturating_sub(image.made_ms);
        self.evictor.begin_at(CLOCK, elapsed_ms, self.clock.coarse_ms());
        self.show_stamp();
        self.spare_mapped();
        let databases: Vec<usize> = image.databases.iter().map(|found| found.number as usize).collect();
        let is_used = |shard: &ShardImage| !shard.tables.is_empty();
        for (number, shard) in image.shards.iter().enumerate().filter(|(_, shard)| is_used(shard)) {
            let mut guard = self.lock(number);
            guard.adopt(shard, &databases);
            self.report(&mut guard);
        }
        self.evictor.file_all(self);
        if image.shards.iter().flat_map(|shard| &shard.tables).any(|table| table.with_deadline > 0) {
            *self.arming.lock() = Some(Arming::default());
        }
        if self.clock.is_manual() {
            while self.arm_adopted(Duration::MAX) {}
        }
        self.wake();
        Ok(())
    }

    /// Whether pages of the file that the keyspace goes on with are gone.
    pub(crate) fn has_lost(&self) -> bool {
        self.shared.pool.has_lost() || self.shared.all_buckets().iter().any(|buckets| buckets.has_lost())
    }

    /// Has the system read the neighbours of what is missing of a mapped file along with it, or not.
    pub(crate) fn read_ahead(&self, reads: bool) {
        self.shared.pool.read_ahead(reads);
        self.shared.all_buckets().iter().for_each(|buckets| buckets.read_ahead(reads));
    }

    /// Arms timers of keys that came with an image, for some time. Says whether there are more. The caller holds no lock.
    pub(crate) fn arm_adopted(&self, time: Duration) -> bool {
        let Some(mut arming) = *self.arming.lock() else { return false };
        let timer = self.clock.timer();
        while arming.shard < SHARDS && timer.elapsed() < time {
            if !self.shared.is_made(arming.shard) {
                arming = Arming { shard: arming.shard + 1, ..Arming::default() };
                continue;
            }
            let mut shard = self.lock(arming.shard);
            match shard.arm_chain(arming.place, arming.cursor) {
                Some(0) => arming = Arming { place: arming.place + 1, cursor: 0, ..arming },
                Some(cursor) => arming.cursor = cursor,
                None => arming = Arming { shard: arming.shard + 1, ..Arming::default() },
            }
            if arming.cursor == 0 {
                self.report(&mut shard);
            }
        }
        let is_left = arming.shard < SHARDS;
        *self.arming.lock() = is_left.then_some(arming);
        is_left
    }
}

/// How far timers have been armed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arming {
    shard: usize,
    place: usize,
    cursor: u64,
}
