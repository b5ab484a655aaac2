//! Storage of a large hash's fields: blocks of 4-byte words in one growing vector, addressed by 32-bit references.
//!
//! A miniature of the shard's arena, without mappings of its own: hashes come in any number and size. What stands in a block
//! is [`super::table`]'s affair.

use hashbrown::HashMap;

use crate::store::memory::Ref;

/// Freed blocks up to this many words are kept by size in an array, larger ones in a map.
const SMALL: usize = 32;

/// Bytes of a word.
const WORD: usize = 4;

/// The words of one hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    words: Vec<u32>,
    /// First free block of each small size; a free block's first word is the next.
    free: [u32; SMALL],
    free_large: HashMap<u32, Vec<u32>>,
}

impl Slots {
    /// Words that so many bytes take.
    pub(crate) fn words_for(bytes: usize) -> usize {
        bytes.div_ceil(WORD)
    }

    /// A block of `count` words, its content whatever was there. O(1) amortised.
    pub(crate) fn alloc(&mut self, count: usize) -> Ref {
        let reused = self.reuse(count);
        Ref::new(reused.unwrap_or_else(|| self.extend(count))).expect("positions are counted from one")
    }

    fn reuse(&mut self, count: usize) -> Option<u32> {
        if count >= SMALL {
            return self.free_large.get_mut(&(count as u32))?.pop();
        }
        let first = self.free[count];
        if first == 0 {
            return None;
        }
        self.free[count] = self.words[first as usize - 1];
        Some(first)
    }

    /// Appends a block and returns its position, counted from one.
    fn extend(&mut self, count: usize) -> u32 {
        let at = self.words.len();
        let needed = at + count;
        if needed > self.words.capacity() {
            // A sixteenth of slack: a hash's memory is judged against its payload.
            self.words.reserve_exact(count.max(at / 16));
        }
        self.words.resize(needed, 0);
        u32::try_from(at + 1).expect("a hash holds less than 16 GiB")
    }

    /// Gives a block of `count` words back.
    pub(crate) fn free(&mut self, block: Ref, count: usize) {
        if count >= SMALL {
            self.free_large.entry(count as u32).or_default().push(block.get());
        } else {
            self.words[block.get() as usize - 1] = self.free[count];
            self.free[count] = block.get();
        }
    }

    /// The bytes from a block's start to the end of the vector.
    #[inline]
    pub(crate) fn bytes_from(&self, block: Ref) -> &[u8] {
        bytemuck::cast_slice(&self.words[block.get() as usize - 1..])
    }

    /// As [`Slots::bytes_from`], to write.
    pub(crate) fn bytes_from_mut(&mut self, block: Ref) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.words[block.get() as usize - 1..])
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        let large: usize = self.free_large.values().map(|blocks| blocks.capacity() * 4 + 40).sum();
        self.words.capacity() * WORD + large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_blocks_serve_again() {
        let mut slots = Slots::default();
        for words in [1, 3, SMALL - 1, SMALL, 100] {
            let first = slots.alloc(words);
            slots.bytes_from_mut(first)[..WORD].fill(7);
            let other = slots.alloc(words);
            let size = slots.bytes();
            slots.free(first, words);
            slots.free(other, words);
            let again = [slots.alloc(words), slots.alloc(words)];
            assert!(again.contains(&first) && again.contains(&other), "{words}");
            assert!(slots.bytes() <= size + 80);
        }
    }
}
