//! Integers: the strict decimal form that Valkey takes and stores, and its inverse.
//!
//! Ranges narrower than 64 bits are checked by the callers, who know the error text.

/// Parses the canonical decimal form of an `i64`: no plus sign, no leading zeros, no spaces, no `-0`.
///
/// Canonical means that `write_i64` of the result gives the same bytes back, which is what lets a string
/// value be stored as an integer. O(length), at most 20 bytes are looked at.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => {
            let magnitude = parse_u64(digits)?;
            if magnitude == 0 { None } else { 0i64.checked_sub_unsigned(magnitude) }
        }
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Parses the canonical decimal form of a `u64`; the rules are those of [`parse_i64`] without the sign.
pub(crate) fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [] => None,
        [b'0'] => Some(0),
        [b'0', ..] => None,
        _ if text.len() > 20 => None,
        _ => text.iter().try_fold(0u64, |value, byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value.checked_mul(10)?.checked_add(u64::from(digit))
        }),
    }
}

/// Appends the decimal form of `value`.
pub(crate) fn write_i64(buf: &mut Vec<u8>, value: i64) {
    buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_form_is_an_integer() {
        for text in ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "0x1", "--1", "00", "1\0", "٣"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-1"), Some(-1));
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn the_whole_range_is_taken_and_nothing_beyond_it() {
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"9223372036854775808"), None);
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"99999999999999999999"), None);
        assert_eq!(parse_u64(b"100000000000000000000"), None);
    }

    proptest! {
        #[test]
        fn writing_and_parsing_are_inverse(value: i64) {
            let mut buf = Vec::new();
            write_i64(&mut buf, value);
            prop_assert_eq!(parse_i64(&buf), Some(value));
        }

        #[test]
        fn what_parses_is_canonical(text in "-?[0-9]{0,21}") {
            if let Some(value) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            }
        }
    }
}
