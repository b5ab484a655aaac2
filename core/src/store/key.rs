//! A key with its hash: computed once per command, used for the shard, the bucket and the tag.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

/// Number of shards of a keyspace, a power of two.
pub(crate) const SHARDS: usize = if cfg!(loom) { 2 } else { 256 };

/// Bits of the hash that choose the shard. The table takes its bucket from the bits below and its tag from the top
/// byte; the three must never overlap, or tables fill unevenly.
pub(crate) const SHARD_SHIFT: u32 = 40;

/// The secrets that an engine hashes keys with, random so that nobody can prepare colliding ones. They follow from one number, which a
/// file can hold.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed {
    secrets: RapidSecrets,
    number: u64,
}

impl HashSeed {
    /// A seed that nobody can foresee; under loom, which needs the same steps each time, always the same.
    pub fn random() -> Self {
        if cfg!(loom) {
            return Self::of(1);
        }
        use std::hash::{BuildHasher, RandomState};
        Self::of(RandomState::new().hash_one(std::process::id()))
    }

    /// The seed that follows from a number.
    pub fn of(number: u64) -> Self {
        Self { secrets: RapidSecrets::seed(number), number }
    }

    /// The number that it follows from.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The hash of `bytes`, 64 well mixed bits.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        rapidhash_v3_micro_inline::<true, false>(bytes, &self.secrets)
    }
}

/// A key's bytes together with their hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> Key<'a> {
    /// Hashes `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], seed: &HashSeed) -> Self {
        Self::with_hash(bytes, seed.hash(bytes))
    }

    /// A key whose hash is known: for calls that take both in registers, where a `Key` would have to be in memory.
    #[inline(always)]
    pub(crate) fn with_hash(bytes: &'a [u8], hash: u64) -> Self {
        Self { bytes, hash }
    }

    /// The key itself.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The index of its shard.
    #[inline]
    pub(crate) fn shard(&self) -> usize {
        shard_of(self.hash)
    }
}

/// The shard that a hash belongs to.
#[inline]
pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> SHARD_SHIFT) as usize % SHARDS
}

/// What a timer remembers of a key: its tag and bucket bits, enough to find it again wherever its entry moved.
#[inline]
pub(crate) fn timer_id(hash: u64) -> u32 {
    ((hash >> 56) as u32) << 24 | (hash as u32 & 0x00ff_ffff)
}

/// [`hash_of_timer`], with the bits of the shard that the timer is of.
pub(crate) fn hash_in(shard: usize, id: u32) -> u64 {
    hash_of_timer(id) | (shard as u64) << SHARD_SHIFT
}

/// A hash with the bucket and tag bits that [`timer_id`] kept. Enough for tables of up to 2^24 buckets, 190 million
/// entries in one shard.
#[inline]
pub(crate) fn hash_of_timer(id: u32) -> u64 {
    u64::from(id >> 24) << 56 | u64::from(id & 0x00ff_ffff)
}
