//! Workloads that benchmarks share: keys, values and the order they are asked in.

/// The key of a number: sixteen bytes.
pub fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    for (place, digit) in key[4..].iter_mut().rev().scan(number, |rest, place| {
        let digit = *rest % 10;
        *rest /= 10;
        Some((place, digit))
    }) {
        *place = b'0' + digit as u8;
    }
    key
}

/// Numbers below `count` in an order without pattern, each about as often (SplitMix64).
pub fn uniform(count: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) as u128 * count as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_numbers() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(123_456), b"key:000000123456");
        let mut next = uniform(10);
        assert!((0..1000).all(|_| next() < 10));
    }
}
