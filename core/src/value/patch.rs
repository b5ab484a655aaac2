//! An edit of packed bytes, worked out but not made: the caller can get memory of the right size first.

use std::ops::Range;

use smallvec::SmallVec;

use super::MAX_IN_ARENA;
use super::editing::Splice;
use super::listpack::COUNT_BYTES;
use crate::store::memory::OutOfMemory;

/// Bytes that a patch inserts, and how many of them need no memory of their own.
pub(super) type Insertion = SmallVec<[u8; SHORT]>;
pub(super) const SHORT: usize = 64;

/// Packed bytes as they are after an edit.
pub(crate) type Patched = SmallVec<[u8; 256]>;

/// See the module's text. `FRONT`: how many bytes at the beginning it may write over, those of a listpack if nothing is said.
#[derive(Debug)]
pub(crate) struct Patch<const FRONT: usize = COUNT_BYTES> {
    range: Range<usize>,
    bytes: Insertion,
    count: usize,
    head: Option<[u8; FRONT]>,
}

impl Patch {
    /// The same of bytes that so many others stand before, whose first ones these take the place of.
    pub(super) fn behind<const FRONT: usize>(self, others: usize, front: [u8; FRONT]) -> Patch<FRONT> {
        let Self { range, bytes, count, .. } = self;
        Patch::new(range.start + others..range.end + others, bytes, count, Some(front))
    }
}

impl<const FRONT: usize> Patch<FRONT> {
    /// `bytes` take the place of those of `range`, and `head` that of the first bytes, which are no part of the range. There are `count` elements then.
    pub(super) fn new(
        range: Range<usize>,
        bytes: Insertion,
        count: usize,
        head: Option<[u8; FRONT]>,
    ) -> Self {
        Self { range, bytes, count, head }
    }

    /// Length in bytes after the edit, given the one before it.
    pub(crate) fn len_after(&self, before: usize) -> usize {
        before - self.range.len() + self.bytes.len()
    }

    /// Whether the bytes can stand in an entry after the edit, given those before it.
    pub(crate) fn is_within(&self, before: &[u8]) -> bool {
        self.len_after(before.len()) <= MAX_IN_ARENA
    }

    /// Number of elements after the edit.
    pub(crate) fn count_after(&self) -> usize {
        self.count
    }

    /// Makes the edit.
    pub(crate) fn apply_to(&self, bytes: &mut (impl Splice + ?Sized)) {
        bytes.splice(self.range.start, self.range.len(), &self.bytes);
        if let Some(head) = &self.head {
            bytes.splice(0, FRONT, head);
        }
    }

    /// What the edit makes of these bytes, in pieces, one after the other.
    #[inline]
    pub(crate) fn applied_to<'p>(&'p self, bytes: &'p [u8]) -> [&'p [u8]; 4] {
        let (before, behind) = (&bytes[..self.range.start], &bytes[self.range.end..]);
        match &self.head {
            Some(head) => [head, &before[FRONT..], &self.bytes, behind],
            None => [&[], before, &self.bytes, behind],
        }
    }

    /// The same in one piece.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn joined_with(&self, bytes: &[u8]) -> Result<Patched, OutOfMemory> {
        let mut patched = Patched::new();
        patched.try_reserve_exact(self.len_after(bytes.len())).map_err(|_| OutOfMemory)?;
        self.applied_to(bytes).iter().for_each(|piece| patched.extend_from_slice(piece));
        Ok(patched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_patched_where_they_stand_or_in_a_copy() {
        let before = b"headtheir middle and end";
        let text = SmallVec::from_slice(b"beginning");
        for (head, after) in
            [(Some(*b"HEAD"), "HEADtheir beginning and end"), (None, "headtheir beginning and end")]
        {
            let patch = Patch::new(10..16, text.clone(), 3, head);
            let mut bytes = before.to_vec();
            patch.apply_to(&mut bytes);
            assert_eq!(bytes, after.as_bytes());
            assert_eq!(&patch.joined_with(before).unwrap()[..], after.as_bytes());
            assert_eq!((patch.len_after(before.len()), patch.count_after()), (after.len(), 3));
        }
    }
}
