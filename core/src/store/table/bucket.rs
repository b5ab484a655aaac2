//! One bucket of a table: its words, and nothing but that. Which buckets hang together is the table's affair.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::memory::Ref;
use crate::store::memory::words::matching_bytes;

/// Slots of a bucket.
pub(super) const SLOTS: usize = 12;
pub(super) const ALL: u32 = (1 << SLOTS) - 1;
/// Bytes of a bucket.
pub(crate) const BUCKET: usize = 64;

/// Eight words, written under the owner's lock alone, by relaxed stores: tags 0 to 7; tags 8 to 11 below the link (0, or the overflow
/// bucket's reference); then two references each.
#[derive(Clone, Copy)]
pub(crate) struct Bucket<'a>(pub(crate) &'a [AtomicU64; 8]);

impl Bucket<'_> {
    #[inline(always)]
    pub(super) fn word(self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_word(self, at: usize, word: u64) {
        self.0[at].store(word, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn matches(self, tag: u8) -> u32 {
        matching_bytes([self.word(0), self.word(1)], tag) & ALL
    }

    #[inline]
    pub(super) fn occupied(self) -> u32 {
        !self.matches(0) & ALL
    }

    #[inline(always)]
    pub(super) fn entry(self, slot: usize) -> u32 {
        (self.word(2 + slot / 2) >> (slot % 2 * 32)) as u32
    }

    #[inline]
    pub(super) fn set_entry(self, slot: usize, entry: u32) {
        let (at, shift) = (2 + slot / 2, slot % 2 * 32);
        self.set_word(at, self.word(at) & !(0xffff_ffff << shift) | u64::from(entry) << shift);
    }

    #[inline]
    pub(super) fn entries(self) -> impl Iterator<Item = Ref> {
        slots(self.occupied()).filter_map(move |slot| Ref::new(self.entry(slot)))
    }

    #[inline(always)]
    pub(crate) fn link(self) -> Option<Ref> {
        Ref::new((self.word(1) >> 32) as u32)
    }

    pub(super) fn set_link(self, link: Option<Ref>) {
        let link = u64::from(link.map_or(0, Ref::get));
        self.set_word(1, self.word(1) & 0xffff_ffff | link << 32);
    }

    pub(super) fn tag(self, slot: usize) -> u8 {
        (self.word(slot / 8) >> (slot % 8 * 8)) as u8
    }

    #[inline]
    pub(super) fn put(self, slot: usize, (tag, entry): (u8, u32)) {
        let shift = slot % 8 * 8;
        self.set_word(slot / 8, self.word(slot / 8) & !(0xff << shift) | u64::from(tag) << shift);
        self.set_entry(slot, entry);
    }

    /// Empties a slot and returns what was in it.
    pub(super) fn take(self, slot: usize) -> (u8, u32) {
        let content = (self.tag(slot), self.entry(slot));
        self.put(slot, (0, 0));
        content
    }

    /// What a bucket with this content is in words: at most [`SLOTS`] tags and references, and the number of an overflow bucket, or 0.
    pub(super) fn words(content: impl Iterator<Item = (u8, u32)>, link: u32) -> [u64; 8] {
        let mut words = [0; 8];
        words[1] = u64::from(link) << 32;
        for (slot, (tag, entry)) in content.enumerate() {
            words[slot / 8] |= u64::from(tag) << (slot % 8 * 8);
            words[2 + slot / 2] |= u64::from(entry) << (slot % 2 * 32);
        }
        words
    }

    pub(crate) fn clear(self) {
        (0..8).for_each(|at| self.set_word(at, 0));
    }
}

/// The set bits' positions.
#[inline]
pub(super) fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (slot < 32).then_some(slot as usize)
    })
}

#[inline(always)]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}
