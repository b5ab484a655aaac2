//! Strings: how a new one is encoded, and its text whatever the encoding.

use std::ops::Deref;

use crate::num;
use crate::value::Kind;
use crate::value::NewValue;

/// Longest text of a 64-bit integer.
const MAX_INTEGER_TEXT: usize = 20;

/// The text of a string value: borrowed, or written out from an integer.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Bytes as they are stored.
    Bytes(&'a [u8]),
    /// The decimal digits of an integer, right-aligned, and where they begin.
    Number([u8; MAX_INTEGER_TEXT], usize),
}

impl Text<'_> {
    /// The text of an integer.
    pub fn number(number: i64) -> Self {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        let mut room = [0; MAX_INTEGER_TEXT];
        let start = MAX_INTEGER_TEXT - digits.len();
        room[start..].copy_from_slice(digits);
        Text::Number(room, start)
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Text::Bytes(bytes) => bytes,
            Text::Number(room, start) => &room[*start..],
        }
    }
}

/// The integer that a text is stored as, if it is one.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    let may_be_one = bytes.len() <= MAX_INTEGER_TEXT && bytes.last().is_some_and(u8::is_ascii_digit);
    if may_be_one { num::parse_i64(bytes) } else { None }
}

/// The integer of an entry that holds one.
#[inline]
pub(crate) fn stored_integer(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("an integer is eight bytes"))
}

/// A string that arrived in one piece: stored as an integer where it is one, else as it came.
#[inline]
pub(crate) fn encode(bytes: &[u8]) -> NewValue<'_> {
    integer(bytes).map_or(NewValue::Bytes(Kind::Embedded, bytes), NewValue::Int)
}

/// Bytes of the allocation in which a short string of Valkey's stands together with its key.
const SHARED: usize = 128;
/// What a deadline takes in it.
const DEADLINE: usize = 8;

/// What stands in that allocation beside key and value: the header of the object, those of the two texts, and their ends.
#[inline(always)]
const fn overhead(key_len: usize) -> usize {
    if key_len < 32 { 15 } else { 17 }
}

/// Whether Valkey would report `embstr` rather than `raw` for a string that arrived in one piece: there the key and the value share one
/// allocation. A deadline does not count, unless there was no room for it beside the key alone: then the string moved out.
pub(crate) fn is_embedded(key_len: usize, value_len: usize, has_deadline: bool) -> bool {
    const LONGEST_WITH_DEADLINE: usize = 107;
    key_len + value_len + overhead(key_len) <= SHARED && (!has_deadline || key_len <= LONGEST_WITH_DEADLINE)
}

/// A new value as it is to be stored over one that had a deadline: what no longer shares the allocation with key and deadline in Valkey is
/// `raw` there from then on.
pub(crate) fn over_deadline(key_len: usize, value: NewValue<'_>) -> NewValue<'_> {
    match value {
        NewValue::Bytes(kind, bytes) => {
            NewValue::Bytes(kind_over_deadline(key_len, kind, bytes.len()), bytes)
        }
        other => other,
    }
}

/// [`over_deadline`] for bytes of which kind and length are known.
#[inline(always)]
pub(crate) fn kind_over_deadline(key_len: usize, kind: Kind, len: usize) -> Kind {
    if kind == Kind::Embedded && key_len + len + overhead(key_len) + DEADLINE > SHARED {
        Kind::Raw
    } else {
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_become_integers() {
        let is_integer = |text: &str| matches!(encode(text.as_bytes()), NewValue::Int(_));
        for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_integer(text), "{text}");
        }
        for text in ["", "-", "01", "+1", "1 ", " 1", "-0", "9223372036854775808", "1e3"] {
            assert!(!is_integer(text), "{text}");
        }
    }

    #[test]
    fn the_text_of_an_integer_is_its_digits() {
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(&*Text::number(number), number.to_string().as_bytes());
        }
    }
}
