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

/// What C's `atoi` makes of a text: the digits behind spaces and a sign, whatever follows them, cut to 32 bits; 0 without digits. O(length).
///
/// The standard leaves open what becomes of numbers beyond 32 bits: as in glibc, they are cut, and those beyond 64 bits are the greatest or the least of 64.
pub(crate) fn atoi(text: &[u8]) -> i32 {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = digits.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit <= 9);
    let size = digits.fold(0_i128, |size, digit| size.saturating_mul(10).saturating_add(digit.into()));
    let number = if is_negative { -size } else { size };
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i32
}

/// Appends the decimal form of `value`.
pub(crate) fn write_i64(buf: &mut Vec<u8>, value: i64) {
    buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Numbers below this have at most eight digits.
pub(crate) const MOST_SHORT: u64 = 100_000_000;

/// The decimal form of a number below [`MOST_SHORT`]: up to eight digits, the first in the lowest byte, and how many they are. All digits are found at
/// once, in lanes of one register ("How to print integers really fast", Khuong 2017). About 35 instructions.
#[inline]
pub(crate) fn short_decimal(number: u32) -> (u64, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // Two lanes of four digits, four of two, eight of one. In lanes of that size the products are exact divisions by 100 and by 10.
    let fours = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (twos - 10 * tens) << 8;
    // The last digit stays, even if it is 0.
    let leading_zeros = (digits | 1 << 56).trailing_zeros() / 8;
    ((digits | ZEROS) >> (leading_zeros * 8), 8 - leading_zeros as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn atoi_takes_what_c_takes() {
        for (text, number) in [
            ("2", 2),
            (" \t\r\n+2", 2),
            ("-2abc", -2),
            ("02.5", 2),
            ("", 0),
            ("abc", 0),
            ("+-2", 0),
            ("- 2", 0),
            ("0x2", 0),
            ("4294967298", 2),
            ("-4294967294", 2),
            ("9223372036854775807", -1),
            ("99999999999999999999", -1),
            ("-99999999999999999999", 0),
        ] {
            assert_eq!(atoi(text.as_bytes()), number, "{text:?}");
        }
    }

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

    #[test]
    fn short_numbers_are_written_as_all_others() {
        let text = |number: u32| {
            let (digits, len) = short_decimal(number);
            String::from_utf8(digits.to_le_bytes()[..len].to_vec()).unwrap()
        };
        let edges = (0..8).flat_map(|power| (0..3).map(move |more| 10_u32.pow(power) + more - 1));
        for number in (0..20_000).chain(edges).chain((0..10_000).map(|high| high * 10_000 + 9_999 - high)) {
            assert_eq!(text(number), number.to_string());
        }
        assert_eq!(text(MOST_SHORT as u32 - 1), "99999999");
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
