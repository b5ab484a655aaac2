//! The table of a database in one shard as its storage: home buckets beside those of the other shards, overflow buckets in the arena.

use super::entry::Head;
use crate::store::key::HashSeed;
use crate::store::memory::words::prefetch;
use crate::store::memory::{Arena, Buckets, OutOfMemory, Ref};
use crate::store::table::{BUCKET, Bucket, Lines, Storage};

/// The buckets of a table, and the arena that it refers to.
pub(super) struct Stored<'s> {
    pub(super) buckets: &'s Buckets,
    pub(super) arena: &'s mut Arena,
    pub(super) seed: &'s HashSeed,
    pub(super) shard: usize,
}

impl Lines for Stored<'_> {
    #[inline]
    fn home(&self, index: u32) -> Option<Bucket<'_>> {
        Some(Bucket(&self.buckets.line(self.shard, index)?.0))
    }

    #[inline]
    fn overflow(&self, link: Ref) -> Option<Bucket<'_>> {
        self.arena.region().eight(link).map(Bucket)
    }
}

impl Storage for Stored<'_> {
    fn add_home(&mut self, index: u32) -> Result<(), OutOfMemory> {
        self.buckets.grow(index)
    }

    fn drop_home(&mut self, _: u32) {
        self.buckets.note_shrinking();
    }

    fn add_overflow(&mut self) -> Result<Ref, OutOfMemory> {
        let link = self.arena.alloc(BUCKET)?;
        self.overflow(link).expect("a block is in the region").clear();
        Ok(link)
    }

    fn drop_overflow(&mut self, link: Ref) {
        self.arena.free(link, BUCKET);
    }

    #[inline]
    fn hash(&self, entry: Ref) -> u64 {
        rehash(self.arena, self.seed, entry)
    }

    #[inline]
    fn prefetch(&self, entry: Ref) {
        if let Some(head) = self.arena.region().eight(entry) {
            prefetch(head);
        }
    }
}

/// The hash of the key of an entry.
pub(super) fn rehash(arena: &Arena, seed: &HashSeed, at: Ref) -> u64 {
    seed.hash(Head::read(arena, at).key(arena, at))
}
