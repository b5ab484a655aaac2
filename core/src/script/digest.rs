//! Sums by which scripts are called.

use sha1::{Digest as _, Sha1};

use crate::scripts::Digest;

/// The sum of a script, in small hexadecimal digits.
pub(crate) fn digest_of(text: &[u8]) -> Digest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digest = [0; 40];
    for (pair, byte) in digest.chunks_exact_mut(2).zip(Sha1::digest(text)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_nothing() {
        assert_eq!(&digest_of(b""), b"da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
