//! Counting and finding bits in bytes, a word or more at a time.

use std::ops::Range;

/// Words that are added up side by side; the compiler makes vectors of them.
const LANES: usize = 4;
type Lanes = [u64; LANES];
/// Bytes that a round of counting takes.
const BLOCK: usize = 16 * LANES * 8;

/// Adds three bits at each place: what is carried, and what stays.
#[inline(always)]
fn add(a: Lanes, b: Lanes, c: Lanes) -> (Lanes, Lanes) {
    let (mut carried, mut stays) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let half = a[lane] ^ b[lane];
        carried[lane] = a[lane] & b[lane] | half & c[lane];
        stays[lane] = half ^ c[lane];
    }
    (carried, stays)
}

fn ones_of(lanes: Lanes) -> u64 {
    lanes.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// The number of bits that are 1. O(length).
///
/// Sixteen words are added up place by place before anything is counted, so there is one count to sixteen words: the method of Harley and Seal (W. Muła,
/// N. Kurz, D. Lemire, "Faster population counts using AVX2 instructions", 2018), without any instruction that not every processor has.
pub(super) fn ones(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let (mut ones, mut twos, mut fours, mut eights) = ([0; LANES], [0; LANES], [0; LANES], [0; LANES]);
    let mut sixteens = 0;
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let lanes =
            |at: usize| -> Lanes { std::array::from_fn(|lane| u64::from_le_bytes(words[at * LANES + lane])) };
        let mut carried_eights = [[0; LANES]; 2];
        for (half, carried_eight) in carried_eights.iter_mut().enumerate() {
            let mut carried_fours = [[0; LANES]; 2];
            for (quarter, carried_four) in carried_fours.iter_mut().enumerate() {
                let at = half * 8 + quarter * 4;
                let (two_a, stays) = add(ones, lanes(at), lanes(at + 1));
                let (two_b, stays) = add(stays, lanes(at + 2), lanes(at + 3));
                ones = stays;
                (*carried_four, twos) = add(twos, two_a, two_b);
            }
            (*carried_eight, fours) = add(fours, carried_fours[0], carried_fours[1]);
        }
        let (carried, stays) = add(eights, carried_eights[0], carried_eights[1]);
        eights = stays;
        sixteens += ones_of(carried);
    }
    let (words, bytes) = rest.as_chunks::<8>();
    let left: u64 = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum();
    let last: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
    16 * sixteens + 8 * ones_of(eights) + 4 * ones_of(fours) + 2 * ones_of(twos) + ones_of(ones) + left + last
}

/// The bits of a byte that lie in a range of offsets, as a mask. The byte's own begin at `first`.
fn mask(bits: &Range<usize>, first: usize) -> u8 {
    let before = bits.start.saturating_sub(first).min(8) as u32;
    let behind = (first + 8).saturating_sub(bits.end).min(8) as u32;
    let from_start = 0xff_u8.checked_shr(before).unwrap_or(0);
    from_start & 0xff_u8.checked_shl(behind).unwrap_or(0)
}

/// The number of bits that are 1 in a range of offsets, which lies in the bytes. O(length).
pub(super) fn ones_in(bytes: &[u8], bits: Range<usize>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let outside = |at: usize| u64::from((bytes[at] & !mask(&bits, at * 8)).count_ones());
    let beyond = if last > first { outside(last) } else { 0 };
    ones(&bytes[first..=last]) - outside(first) - beyond
}

/// The offset of the first bit with that value in a range of offsets, which lies in the bytes. O(length).
pub(super) fn find(bytes: &[u8], bits: Range<usize>, value: bool) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    // What is looked for is 1 after that.
    let flip = if value { 0 } else { 0xff };
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let found = |at: usize| {
        let byte = (bytes[at] ^ flip) & mask(&bits, at * 8);
        (byte != 0).then(|| at * 8 + byte.leading_zeros() as usize)
    };
    found(first).or_else(|| {
        let between = bytes.get(first + 1..last).unwrap_or_default();
        let at = first + 1 + other_than(between, flip).unwrap_or(between.len());
        if at <= last { found(at) } else { None }
    })
}

/// Where the first byte is that is another.
fn other_than(bytes: &[u8], byte: u8) -> Option<usize> {
    const BLOCK: usize = 64;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let differs = |block: &[u8; BLOCK]| block.iter().fold(0, |all, other| all | (other ^ byte)) != 0;
    let start = blocks.iter().position(differs).unwrap_or(blocks.len()) * BLOCK;
    bytes[start..].iter().position(|other| *other != byte).map(|at| start + at)
}
