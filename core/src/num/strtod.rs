//! The grammar of C's `strtod` and `strtold`, as a scanner that says what a text is before anyone computes its value.
//!
//! What out-of-range values mean is decided by the callers in `double.rs` and `long_double.rs`.

use rustc_apfloat::{Float, Round, ieee::Double};

/// Exponents beyond this, in tens or twos, give infinity or zero in every format for any text Valkey takes (a mantissa of at most
/// 512 million digits is a matter of bulk size; five thousand, of long doubles).
const EXPONENT_CLAMP: i64 = 2_000_000_000;

/// A text that is a number as a whole.
pub(super) struct Number<'a> {
    negative: bool,
    form: Form<'a>,
}

enum Form<'a> {
    Infinity,
    Decimal { mantissa: &'a str, exponent: i64 },
    Hexadecimal { mantissa: &'a str, exponent: i64 },
}

/// Reads all of `text`, or nothing. NaN in any spelling is no number here.
pub(super) fn scan(text: &[u8]) -> Option<Number<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let form = if text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("infinity") {
        Form::Infinity
    } else if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let (mantissa, exponent) = split_exponent(hex, ['p', 'P'], |byte| byte.is_ascii_hexdigit())?;
        Form::Hexadecimal { mantissa, exponent }
    } else {
        let (mantissa, exponent) = split_exponent(text, ['e', 'E'], |byte| byte.is_ascii_digit())?;
        Form::Decimal { mantissa, exponent }
    };
    Some(Number { negative, form })
}

fn split_exponent(text: &str, marks: [char; 2], is_digit: fn(u8) -> bool) -> Option<(&str, i64)> {
    let (mantissa, exponent) = match text.split_once(marks) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let mut points = 0;
    let mut digits = 0;
    for byte in mantissa.bytes() {
        match byte {
            b'.' => points += 1,
            _ if is_digit(byte) => digits += 1,
            _ => return None,
        }
    }
    (points <= 1 && digits > 0).then_some((mantissa, exponent))
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude =
        digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_CLAMP));
    Some(if negative { -magnitude } else { magnitude })
}

impl Number<'_> {
    /// Whether the text is in the hexadecimal form.
    pub(super) fn is_hexadecimal(&self) -> bool {
        matches!(self.form, Form::Hexadecimal { .. })
    }

    /// Whether the text spells infinity (and is not merely too large).
    pub(super) fn is_infinity(&self) -> bool {
        matches!(self.form, Form::Infinity)
    }

    /// Whether the text spells zero (and is not merely too small).
    pub(super) fn is_zero(&self) -> bool {
        match &self.form {
            Form::Infinity => false,
            Form::Decimal { mantissa, .. } | Form::Hexadecimal { mantissa, .. } => {
                mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'))
            }
        }
    }

    /// The nearest double, infinity and zero where the range ends.
    pub(super) fn to_f64(&self) -> f64 {
        let magnitude = match &self.form {
            Form::Decimal { mantissa, exponent: 0 } => {
                mantissa.parse().expect("the scanner let only digits and a point pass")
            }
            Form::Decimal { mantissa, exponent } => {
                format!("{mantissa}e{exponent}").parse().expect("the scanner let only a decimal number pass")
            }
            _ => f64::from_bits(self.magnitude::<Double>().to_bits() as u64),
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// The nearest value of another binary format.
    pub(super) fn to_float<F: Float>(&self) -> F {
        let magnitude = self.magnitude::<F>();
        if self.negative { -magnitude } else { magnitude }
    }

    fn magnitude<F: Float>(&self) -> F {
        match &self.form {
            Form::Infinity => F::INFINITY,
            _ if self.is_zero() => F::ZERO,
            Form::Decimal { mantissa, exponent } => decimal(mantissa, *exponent),
            Form::Hexadecimal { mantissa, exponent } => hexadecimal(mantissa, *exponent),
        }
    }
}

/// Decimal exponents beyond which the value of `0.d1d2...` (first digit not zero) is out of any format we know.
const DECIMAL_LIMIT: i64 = 6000;

/// The number below one with the same digits, and the power of ten that was taken out: the float library
/// takes only exponents of a few thousand, whatever the digits are.
fn decimal<F: Float>(mantissa: &str, exponent: i64) -> F {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let scale = exponent + whole.len() as i64 - (all.len() - digits.len()) as i64;
    if scale > DECIMAL_LIMIT {
        return F::INFINITY;
    }
    if scale < -DECIMAL_LIMIT {
        return F::ZERO;
    }
    let digits = digits.trim_end_matches('0');
    F::from_str_r(&format!("0.{digits}e{scale}"), Round::NearestTiesToEven)
        .expect("the text is a decimal number with a small exponent")
        .value
}

/// Sums hexadecimal digits exactly: the first 30 fit any format's fraction, the rest only breaks ties.
fn hexadecimal<F: Float>(mantissa: &str, exponent: i64) -> F {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let (head, tail) = digits.split_at(digits.len().min(30));
    let sticky = u128::from(tail.bytes().any(|byte| byte != b'0'));
    let head_value = u128::from_str_radix(head, 16).expect("the scanner let only hexadecimal digits pass");
    let scale = exponent + 4 * (tail.len() as i64 - fraction.len() as i64) - 1;
    let Some(significand) = head_value.checked_mul(2) else {
        unreachable!("30 digits and a bit fit 128 bits")
    };
    round_scaled(significand | sticky, scale)
}

/// `significand * 2^scale`, rounded once. The library's own scaling rounds only at the end, but its conversion from
/// an integer rounds too: the number of bits kept is therefore chosen from the exponent first.
fn round_scaled<F: Float>(significand: u128, scale: i64) -> F {
    let top = scale + i64::from(127 - significand.leading_zeros());
    if top > i64::from(F::MAX_EXP) {
        return F::INFINITY;
    }
    let lowest = (top - F::PRECISION as i64 + 1).max(i64::from(F::MIN_EXP) - F::PRECISION as i64 + 1);
    let rounded = match lowest - scale {
        0 => significand,
        drop if drop < 0 => return F::from_u128(significand).value.scalbn(scale as i32),
        drop if drop > 128 => 0,
        drop => shift_right_rounded(significand, drop as u32),
    };
    F::from_u128(rounded).value.scalbn(lowest as i32)
}

/// Shifts by 1 to 128 bits, to nearest, ties to even.
pub(super) fn shift_right_rounded(value: u128, shift: u32) -> u128 {
    let kept = value.checked_shr(shift).unwrap_or(0);
    let rest = if shift == 128 { value } else { value & ((1 << shift) - 1) };
    let half = 1u128 << (shift - 1);
    kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
}
