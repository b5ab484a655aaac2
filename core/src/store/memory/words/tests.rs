//! Tests of words: bytes that match. Reading and writing them is tested with the arena.

use super::*;

#[test]
fn both_ways_to_match_bytes_agree() {
    let mut seed = 1_u64;
    for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let words = [seed & (seed >> 32) & 0x0303_0303_0303_0303, seed & 0x8001_0301_8001_0301];
        for byte in [0, 1, 2, 3, 0x80, 0xff] {
            let plain = (0..16)
                .fold(0, |bits, at| bits | u32::from((words[at / 8] >> (at % 8 * 8)) as u8 == byte) << at);
            assert_eq!(matching_bytes(words, byte), plain, "{words:x?} {byte}");
            assert_eq!(matching_bytes_portable(words, byte), plain, "{words:x?} {byte}");
        }
    }
}

#[test]
fn prefetch_takes_any_address() {
    prefetch(std::ptr::null::<u8>());
    prefetch(&5_u64);
}
