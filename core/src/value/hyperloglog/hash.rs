//! Which register an element belongs to, and what it has to say there.
//!
//! The hash is MurmurHash64A, the 64-bit variant of MurmurHash2 (Austin Appleby, public domain), read as little-endian on every machine. It and the
//! seed are part of the format: two sketches can be merged only if both hashed alike.

use super::{INDEX_BITS, REGISTERS, Rank};

/// The seed of the format.
const SEED: u64 = 0xadc8_3b19;

const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// MurmurHash64A of bytes, with the format's seed. O(length).
fn murmur64a(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> SHIFT)
}

/// The register of an element, from the low bits of its hash, and its rank: one more than the zeroes at the low end of the others. O(length).
pub(crate) fn place(element: &[u8]) -> (usize, Rank) {
    let hash = murmur64a(element);
    let rest = hash >> INDEX_BITS | 1 << (u64::BITS - INDEX_BITS);
    (hash as usize % REGISTERS, rest.trailing_zeros() as Rank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Registers and ranks that a real server showed by PFDEBUG DECODE.
    #[test]
    fn elements_go_where_the_server_puts_them() {
        let places: [(&[u8], usize, Rank); 5] =
            [(b"a", 12_711, 2), (b"b", 15_780, 1), (b"c", 8436, 1), (b"", 5938, 2), (b"0123456789", 1021, 2)];
        for (element, index, rank) in places {
            assert_eq!(place(element), (index, rank), "{}", element.escape_ascii());
        }
    }
}
