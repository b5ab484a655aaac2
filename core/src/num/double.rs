//! Doubles: scores, bounds of ranges and coordinates as they come in, and the text they are answered with.
//!
//! The digits themselves are made in `grisu.rs`, the grammar is `strtod.rs`'s.

use super::{grisu, integer::write_i64, strtod};

/// Parses a double the way Valkey takes scores and increments: all of `text`, in the decimal grammar of C's `strtod`.
///
/// `inf` and `infinity` are taken in any case. Refused are the empty string, spaces, hexadecimal forms, NaN, and finite texts whose value overflows to
/// infinity or underflows to zero.
#[inline]
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    /// As many digits as are exact, whatever they are.
    const DIGITS: usize = 15;
    if (1..=DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |all, digit| all * 10 + u64::from(digit - b'0')) as f64);
    }
    parse_any_f64(text)
}

fn parse_any_f64(text: &[u8]) -> Option<f64> {
    let number = scan(text)?;
    let value = number.to_f64();
    let out_of_range = match value {
        value if value.is_infinite() => !number.is_infinity(),
        value => value == 0.0 && !number.is_zero(),
    };
    if out_of_range { None } else { Some(value) }
}

/// Parses a bound of a score range (`ZRANGEBYSCORE`, `ZCOUNT`, ...; without its `(`), which is laxer than [`parse_f64`]: the empty string (zero) passes,
/// the text ends at its first NUL byte, and what does not fit becomes infinity or zero.
pub(crate) fn parse_f64_bound(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    scan(text).map(|number| number.to_f64())
}

/// The hexadecimal form is one of long doubles alone.
fn scan(text: &[u8]) -> Option<strtod::Number<'_>> {
    strtod::scan(text).filter(|number| !number.is_hexadecimal())
}

/// Half the range of `i64`: integers up to here are written as integers.
const INTEGER_LIMIT: f64 = (i64::MAX / 2) as f64;

/// Appends `value` as Valkey writes scores, in RESP2 strings and RESP3 doubles (without `,`) alike.
///
/// The text parses back to the same double, `inf`, `-inf` and `nan` included.
pub(crate) fn write_f64(buf: &mut Vec<u8>, value: f64) {
    if value != 0.0 && value.abs() <= INTEGER_LIMIT && value.trunc() == value {
        write_i64(buf, value as i64);
    } else {
        write_f64_shortest(buf, value);
    }
}

/// As [`write_f64`], but that integers have an exponent where it makes them shorter: `1e+8`. So DEBUG DIGEST tells scores.
pub(crate) fn write_f64_shortest(buf: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        buf.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        buf.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        buf.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else {
        if value < 0.0 {
            buf.push(b'-');
        }
        let digits = grisu::digits(value.abs());
        place_digits(buf, digits.as_bytes(), digits.exponent);
    }
}

/// Appends `value` with 17 significant digits and no trailing zeros, as C's `%.17g`: what ZSCAN tells of a large sorted set.
pub(crate) fn write_f64_17(buf: &mut Vec<u8>, value: f64) {
    const DIGITS: i32 = 17;
    if !value.is_finite() || value == 0.0 {
        return write_f64(buf, value);
    }
    let text = format!("{value:.16e}");
    let (mantissa, exponent) = text.split_once('e').expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    let text = if (-4..DIGITS).contains(&exponent) {
        format!("{value:.*}", (DIGITS - 1 - exponent) as usize)
    } else {
        mantissa.to_owned()
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    buf.extend_from_slice(text.as_bytes());
    if !(-4..DIGITS).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        buf.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    }
}

fn place_digits(buf: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let scientific = exponent + count - 1;
    if exponent >= 0 && scientific < count + 7 {
        buf.extend_from_slice(digits);
        pad_zeros(buf, exponent);
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        place_point(buf, digits, count + exponent);
    } else {
        place_exponent(buf, digits, scientific);
    }
}

fn place_point(buf: &mut Vec<u8>, digits: &[u8], whole: i32) {
    if whole <= 0 {
        buf.extend_from_slice(b"0.");
        pad_zeros(buf, -whole);
        buf.extend_from_slice(digits);
    } else {
        let (whole, fraction) = digits.split_at(whole as usize);
        buf.extend_from_slice(whole);
        buf.push(b'.');
        buf.extend_from_slice(fraction);
    }
}

fn place_exponent(buf: &mut Vec<u8>, digits: &[u8], scientific: i32) {
    buf.push(digits[0]);
    if digits.len() > 1 {
        buf.push(b'.');
        buf.extend_from_slice(&digits[1..]);
    }
    buf.extend_from_slice(if scientific < 0 { b"e-" } else { b"e+" });
    write_i64(buf, i64::from(scientific.abs()));
}

fn pad_zeros(buf: &mut Vec<u8>, count: i32) {
    buf.resize(buf.len() + count as usize, b'0');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut buf = Vec::new();
        write_f64(&mut buf, value);
        String::from_utf8(buf).unwrap()
    }

    /// Lines of "bits text": what the server answered to ZADD INCR with the double of these bits.
    const SERVER_DOUBLES: &str = include_str!("../../tests/data/doubles.txt");

    #[test]
    fn doubles_are_written_as_the_server_does() {
        let mut count = 0;
        for line in SERVER_DOUBLES.lines() {
            let (bits, text) = line.split_once(' ').unwrap();
            let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
            assert_eq!(written(value), text);
            assert_eq!(parse_f64(text.as_bytes()).unwrap().to_bits(), value.to_bits());
            count += 1;
        }
        assert!(count > 300);
    }

    /// As `printf("%.17g")` writes them.
    #[test]
    fn seventeen_digits() {
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (1e-5, "1.0000000000000001e-05"),
            (1e-4, "0.0001"),
            (0.000123, "0.00012300000000000001"),
            (1e300, "1.0000000000000001e+300"),
            (100.0, "100"),
            (-2.25, "-2.25"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (5e-324, "4.9406564584124654e-324"),
            (0.3333333333333333, "0.33333333333333331"),
            (-0.0, "-0"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut buf = Vec::new();
            write_f64_17(&mut buf, value);
            assert_eq!(String::from_utf8(buf).unwrap(), text);
        }
    }

    #[test]
    fn forms_of_the_server() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (1e18, "1000000000000000000"),
            (9e18, "9e+18"),
            (9223372036854775807.0, "9223372036854776000"),
            (1e23, "99999999999999990000000"),
            (12345e17, "1234499999999999900000"),
            (0.000015, "0.000015"),
            (1.5e-6, "1.5e-6"),
            (1.23456e-5, "1.23456e-5"),
            (1e-7, "1e-7"),
        ] {
            assert_eq!(written(value), text);
        }
    }

    #[test]
    fn texts_the_server_refuses_as_a_score() {
        let refused = [
            "",
            " 1",
            "1 ",
            "\t1",
            "nan",
            "NaN",
            "-nan",
            "nan(abc)",
            ".",
            "-",
            "+",
            "--1",
            "1e",
            "1e5x",
            "0x",
            "0xg",
            "0x10",
            "-0x1.8p-2",
            "0X1P+4",
            "0x0p-99999",
            "1_0",
            "1,5",
            "1d",
            "inf ",
            "infi",
            "infinityx",
            "in",
            "0x1p",
            "0x1.p",
            "0x1p+",
            "1e400",
            "1e-400",
            "2e-324",
            "1\0",
            "\x001",
            "1.7976931348623159e308",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ];
        for text in refused {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn texts_the_server_takes_as_a_score() {
        for (text, value) in [
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("+INF", f64::INFINITY),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1", 1.0),
            ("00012", 12.0),
            ("4.9e-324", f64::from_bits(1)),
            ("1e-320", 1e-320),
            ("0e99999", 0.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text:?}");
        }
    }

    #[test]
    fn bounds_are_laxer() {
        assert_eq!(parse_f64_bound(b""), Some(0.0));
        assert_eq!(parse_f64_bound(b"+1"), Some(1.0));
        assert_eq!(parse_f64_bound(b"1\0junk"), Some(1.0));
        assert_eq!(parse_f64_bound(b"1e400"), Some(f64::INFINITY));
        assert_eq!(parse_f64_bound(b"2e-324"), Some(0.0));
        assert_eq!(parse_f64_bound(b"1 "), None);
        assert_eq!(parse_f64_bound(b" 1"), None);
        assert_eq!(parse_f64_bound(b"0x10"), None);
        assert_eq!(parse_f64_bound(b"nan"), None);
        assert_eq!(parse_f64_bound(b"abc"), None);
    }

    proptest! {
        #[test]
        fn written_doubles_parse_back(bits: u64) {
            let value = f64::from_bits(bits);
            if !value.is_nan() {
                prop_assert_eq!(parse_f64(written(value).as_bytes()).unwrap().to_bits(), bits);
            }
        }

        #[test]
        fn any_bytes_parse_or_not_without_panic(text: Vec<u8>) {
            let _ = parse_f64(&text);
            let _ = parse_f64_bound(&text);
        }
    }
}
