//! Integers of any width within a string: where they are, what they are, and what becomes of them when they get too large.

use crate::error::{Error, Result};
use crate::num;

/// What is done where a value does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The low bits of it are kept.
    Wrap,
    /// It becomes the nearest that does.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// The kind of an integer: 1 to 64 bits with a sign, or 1 to 63 without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) is_signed: bool,
    pub(super) bits: u32,
}

/// Bytes that an integer reaches into, at most.
const REACH: usize = 9;

impl Width {
    /// Reads `i16`, `u8` and the like.
    pub(super) fn read(word: &[u8]) -> Result<Self> {
        let width = match word {
            [b'i', digits @ ..] => (true, digits, 64),
            [b'u', digits @ ..] => (false, digits, 63),
            _ => (false, &[][..], 0),
        };
        let (is_signed, digits, most) = width;
        let bits = num::parse_i64(digits).filter(|bits| (1..=most).contains(bits));
        bits.map(|bits| Self { is_signed, bits: bits as u32 }).ok_or_else(|| {
            Error::command(
                "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )
        })
    }

    /// The integer that stands at an offset in a string, which is followed by zeroes.
    pub(super) fn get(self, text: &[u8], offset: usize) -> i64 {
        let window = window(text, offset / 8) << (offset % 8);
        let (above, value) = (128 - self.bits, window);
        if self.is_signed { (value as i128 >> above) as i64 } else { (value >> above) as i64 }
    }

    /// The bytes from that of the offset on, with an integer put in its place: as many as it reaches into.
    pub(super) fn put(self, text: &[u8], offset: usize, value: i64) -> ([u8; 16], usize) {
        let (before, above) = ((offset % 8) as u32, 128 - self.bits);
        let ones = u128::MAX << above >> before;
        let placed = (value as u128) << above >> before;
        let bytes = (window(text, offset / 8) & !ones | placed).to_be_bytes();
        (bytes, (before + self.bits).div_ceil(8) as usize)
    }

    /// The byte behind the last that an integer at that offset reaches into.
    pub(super) fn end(self, offset: usize) -> usize {
        (offset + self.bits as usize).div_ceil(8)
    }

    /// A sum as it is stored. `None`: it does not fit, and is not to be.
    pub(super) fn fit(self, sum: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = match self.is_signed {
            true => (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1),
            false => (0, (1_i128 << self.bits) - 1),
        };
        if (least..=most).contains(&sum) {
            return Some(sum as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => Some(sum.clamp(least, most) as i64),
            Overflow::Wrap => {
                let above = 128 - self.bits;
                let low = sum << above;
                Some(if self.is_signed { (low >> above) as i64 } else { (low as u128 >> above) as i64 })
            }
        }
    }

    /// What a word for a new value stands for. Without a sign a negative one is far beyond all that fit; so is, as to the server, one from which the
    /// greatest that fits is farther than 63 bits can say.
    pub(super) fn asked(self, value: i64) -> i128 {
        let is_far = self.bits < 64 && ((1_i64 << (self.bits - 1)) - 1).checked_sub(value).is_none();
        if self.is_signed && !is_far { i128::from(value) } else { i128::from(value as u64) }
    }
}

/// The bytes from `at` on as the high bytes of a number.
fn window(text: &[u8], at: usize) -> u128 {
    let mut bytes = [0; 16];
    let there = text.get(at..).unwrap_or_default();
    let len = there.len().min(REACH);
    bytes[..len].copy_from_slice(&there[..len]);
    u128::from_be_bytes(bytes)
}
