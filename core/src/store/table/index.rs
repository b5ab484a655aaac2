//! A keyspace's table as readers without its shard's lock see it. Whether what they saw holds is for their sequence counter to say.

use super::bucket::{Bucket, tag_of};
use super::{Homes, Lines};
use crate::store::memory::words::prefetch;
use crate::store::memory::{Buckets, Ref, Region};

/// A keyspace's table, for those who may read it without the lock of its shard.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    pub(crate) buckets: &'a Buckets,
    pub(crate) region: &'a Region,
    pub(crate) shard: usize,
    pub(crate) homes: Homes,
}

impl Lines for Index<'_> {
    #[inline(always)]
    fn home(&self, index: u32) -> Option<Bucket<'_>> {
        Some(Bucket(&self.buckets.line(self.shard, index)?.0))
    }

    #[inline(always)]
    fn overflow(&self, link: Ref) -> Option<Bucket<'_>> {
        self.region.eight(link).map(Bucket)
    }
}

impl<'a> Index<'a> {
    #[inline(always)]
    fn bucket(self, hash: u64) -> Option<Bucket<'a>> {
        Some(Bucket(&self.buckets.line(self.shard, self.homes.home(hash))?.0))
    }

    /// The entries whose tag is that of the hash, one after the other.
    #[inline(always)]
    pub(crate) fn probe(self, hash: u64) -> Probe<'a> {
        let (tag, bucket) = (tag_of(hash), self.bucket(hash));
        Probe {
            region: self.region,
            tag,
            matches: bucket.map_or(0, |bucket| bucket.matches(tag)),
            bucket,
            links: 0,
        }
    }

    /// The first entry whose tag is that of the hash: most likely the one that is looked for.
    #[inline(always)]
    pub(crate) fn first_candidate(self, hash: u64) -> Option<Ref> {
        let bucket = self.bucket(hash)?;
        let matches = bucket.matches(tag_of(hash));
        if matches == 0 { None } else { Ref::new(bucket.entry(matches.trailing_zeros() as usize)) }
    }

    /// Whether entries of this hash may stand in overflow buckets.
    pub(crate) fn overflows(self, hash: u64) -> bool {
        self.bucket(hash).is_some_and(|bucket| bucket.link().is_some())
    }

    /// Hints that the bucket of this hash will be read soon.
    #[inline]
    pub(crate) fn prefetch(self, hash: u64) {
        if let Some(bucket) = self.bucket(hash) {
            prefetch(bucket.0);
        }
    }
}

/// A search along one chain.
pub(crate) struct Probe<'a> {
    region: &'a Region,
    bucket: Option<Bucket<'a>>,
    matches: u32,
    tag: u8,
    links: u32,
}

/// Longer than any chain: at 9.75 entries a bucket the hashes would have to agree.
const MOST_LINKS: u32 = 1 << 20;

impl<'a> Probe<'a> {
    /// The next entry with the tag.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Ref> {
        let mut bucket = self.bucket?;
        while self.matches == 0 {
            bucket = self.follow(bucket)?;
        }
        let slot = self.matches.trailing_zeros() as usize;
        self.matches &= self.matches - 1;
        Ref::new(bucket.entry(slot))
    }

    #[inline(always)]
    fn follow(&mut self, bucket: Bucket<'a>) -> Option<Bucket<'a>> {
        // A chain that a writer is changing could lead a reader in circles.
        self.links += 1;
        let next = bucket.link().filter(|_| self.links < MOST_LINKS);
        self.bucket = next.and_then(|next| self.region.eight(next)).map(Bucket);
        self.matches = self.bucket.map_or(0, |bucket| bucket.matches(self.tag));
        self.bucket
    }
}
