//! The dense form: 16,384 registers of six bits, one behind the other, from the lowest bit of the first byte on.
//!
//! Eight registers take six bytes. They are spread to a byte each by three steps that halve the distance, as one word; so all registers take some
//! thousands of instructions, and the compiler finds the widest maximum for the bytes.

use super::{REGISTERS, Rank, Registers};

/// Bits of a register.
const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;
/// Registers that are handled as one word, and their bytes.
const GROUP: usize = 8;
const GROUP_BYTES: usize = GROUP * BITS / 8;
const GROUP_MASK: u64 = (1 << (GROUP * BITS)) - 1;
/// Bytes of all registers.
pub(super) const BYTES: usize = REGISTERS * BITS / 8;

/// The first of the two bytes that a register may reach into, and its place there.
fn locate(index: usize) -> (usize, u32) {
    (index * BITS / 8, (index * BITS % 8) as u32)
}

/// Two bytes from `at` on; the second is 0 behind the end.
fn pair(registers: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([registers[at], registers.get(at + 1).copied().unwrap_or(0)])
}

/// The rank in a register. O(1).
pub(super) fn get(registers: &[u8], index: usize) -> Rank {
    let (at, shift) = locate(index);
    (pair(registers, at) >> shift & MASK) as Rank
}

/// The bytes to write, and where, so that a register holds a rank. O(1).
pub(super) fn written(registers: &[u8], index: usize, rank: Rank) -> (usize, [u8; 2], usize) {
    let (at, shift) = locate(index);
    let pair = pair(registers, at) & !(MASK << shift) | u16::from(rank) << shift;
    (at, pair.to_le_bytes(), 2.min(registers.len() - at))
}

/// Puts a rank into a register. O(1).
pub(super) fn set(registers: &mut [u8], index: usize, rank: Rank) {
    let (at, bytes, len) = written(registers, index, rank);
    registers[at..at + len].copy_from_slice(&bytes[..len]);
}

/// Eight registers of six bits as eight bytes.
#[inline]
fn spread(packed: u64) -> u64 {
    let halves = packed & 0x00ff_ffff | (packed & 0xffff_ff00_0000) << 8;
    let quarters = halves & 0x0000_0fff_0000_0fff | (halves & 0x00ff_f000_00ff_f000) << 4;
    quarters & 0x003f_003f_003f_003f | (quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2
}

/// The reverse of [`spread`].
#[inline]
fn gathered(bytes: u64) -> u64 {
    let quarters = bytes & 0x003f_003f_003f_003f | (bytes & 0x3f00_3f00_3f00_3f00) >> 2;
    let halves = quarters & 0x0000_0fff_0000_0fff | (quarters & 0x0fff_0000_0fff_0000) >> 4;
    halves & 0x00ff_ffff | (halves & 0x00ff_ffff_0000_0000) >> 8
}

/// Groups that are handled together. The loops over them are plain, so that the compiler makes vectors of the words.
const BATCH: usize = 64;
const BATCH_BYTES: usize = BATCH * GROUP_BYTES;

/// Raises each register to that of the dense form, where that is greater. O(registers).
pub(super) fn merge(packed: &[u8], into: &mut Registers) {
    let (batches, _) = packed.as_chunks::<BATCH_BYTES>();
    let (registers, _) = into.as_chunks_mut::<{ BATCH * GROUP }>();
    for (batch, registers) in batches.iter().zip(registers) {
        let mut words = [0; BATCH];
        for (at, word) in words.iter_mut().enumerate() {
            // The last whole word of the batch holds its last group in its high bytes.
            let from = (at * GROUP_BYTES).min(BATCH_BYTES - 8);
            let bytes = batch[from..].first_chunk().expect("a whole word is left");
            *word = u64::from_le_bytes(*bytes);
        }
        words[BATCH - 1] >>= 8 * (8 - GROUP_BYTES);
        for word in &mut words {
            *word = spread(*word & GROUP_MASK);
        }
        for (group, word) in registers.as_chunks_mut::<GROUP>().0.iter_mut().zip(words) {
            for (register, rank) in group.iter_mut().zip(word.to_le_bytes()) {
                *register = (*register).max(rank);
            }
        }
    }
}

/// Writes all registers in the dense form. O(registers).
pub(super) fn pack(registers: &Registers, packed: &mut [u8]) {
    let (batches, _) = packed.as_chunks_mut::<BATCH_BYTES>();
    let (registers, _) = registers.as_chunks::<{ BATCH * GROUP }>();
    for (batch, registers) in batches.iter_mut().zip(registers) {
        let mut words = [0; BATCH];
        for (word, group) in words.iter_mut().zip(registers.as_chunks::<GROUP>().0) {
            *word = u64::from_le_bytes(*group);
        }
        for word in &mut words {
            *word = gathered(*word);
        }
        for (group, word) in batch.as_chunks_mut::<GROUP_BYTES>().0.iter_mut().zip(words) {
            group.copy_from_slice(&word.to_le_bytes()[..GROUP_BYTES]);
        }
    }
}
