//! The 80-bit long double of x86-64, in which `INCRBYFLOAT` and `HINCRBYFLOAT` compute.
//!
//! Computed in software so that every platform answers with the bytes of a server on x86-64. The error texts are the commands'.

use rustc_apfloat::{
    Float, FloatConvert,
    ieee::{Double, X87DoubleExtended},
};

use super::strtod;

/// Longer texts are refused, as the server's buffer would not hold them with their terminator.
const MAX_TEXT: usize = 5 * 1024 - 1;

/// Digits behind the point in the text form.
const FRACTION_DIGITS: usize = 17;

/// An x87 double-extended number: 64 bits of significand, 15 of exponent. Never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Parses a stored value or an increment: all of `text`, in the grammar of `strtold`.
    ///
    /// Refused are spaces, NaN, texts above 5119 bytes, and finite texts that overflow or underflow to
    /// zero. Infinity is a number here; the commands refuse it by [`LongDouble::is_finite`].
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let number = strtod::scan(text)?;
        let value = number.to_float::<X87DoubleExtended>();
        let out_of_range =
            value.is_infinite() && !number.is_infinity() || value.is_zero() && !number.is_zero();
        if out_of_range { None } else { Some(Self(value)) }
    }

    /// The same number in the wider format, exactly: what `GEOPOS` prints its coordinates through.
    pub(crate) fn from_f64(value: f64) -> Self {
        Self(Double::from_bits(u128::from(value.to_bits())).convert(&mut false).value)
    }

    /// The nearest double; infinity and zero where their range ends.
    pub(crate) fn to_f64(self) -> f64 {
        let double: Double = self.0.convert(&mut false).value;
        f64::from_bits(double.to_bits() as u64)
    }

    /// The sum, rounded to nearest, ties to even. The sum of infinities of opposite sign is NaN, which
    /// [`LongDouble::is_finite`] says no to as well.
    pub(crate) fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).value)
    }

    /// Whether the number is neither infinite nor the NaN of an impossible sum.
    pub(crate) fn is_finite(&self) -> bool {
        self.0.is_finite()
    }

    /// Appends the decimal form with 17 digits behind the point, trailing zeros (and then the point) cut off.
    ///
    /// At most 4,933 digits. O(1) below 2^64, quadratic in the number of digits above.
    ///
    /// # Panics
    /// In debug builds, where the number is not finite.
    pub(crate) fn write_human(&self, buf: &mut Vec<u8>) {
        debug_assert!(self.is_finite());
        let bits = self.0.to_bits();
        let significand = u128::from(bits as u64);
        let exponent = ((bits >> 64) & 0x7fff) as i32;
        // The integer bit is explicit in this format, so subnormals differ from normals only here.
        let scale = exponent.max(1) - 16383 - 63;
        let start = buf.len();
        if self.0.is_negative() {
            buf.push(b'-');
        }
        if scale >= 0 {
            write_large(buf, significand, scale as u32);
        } else {
            write_with_fraction(buf, significand, -scale as u32);
        }
        if &buf[start..] == b"-0" {
            buf.remove(start);
        }
    }
}

/// `significand / 2^shift` to 17 digits behind the point, rounded on the exact value, ties to even.
fn write_with_fraction(buf: &mut Vec<u8>, significand: u128, shift: u32) {
    const UNIT: u128 = 10u128.pow(FRACTION_DIGITS as u32);
    // 64 bits of significand and 57 of 10^17 leave room in 128.
    let scaled = if shift > 128 { 0 } else { strtod::shift_right_rounded(significand * UNIT, shift) };
    buf.extend_from_slice((scaled / UNIT).to_string().as_bytes());
    let fraction = format!("{:017}", scaled % UNIT);
    let kept = fraction.trim_end_matches('0');
    if !kept.is_empty() {
        buf.push(b'.');
        buf.extend_from_slice(kept.as_bytes());
    }
}

/// `significand * 2^shift`, an integer of up to 4,933 digits.
fn write_large(buf: &mut Vec<u8>, significand: u128, shift: u32) {
    const LIMB: u128 = 10u128.pow(18);
    let mut limbs = vec![(significand % LIMB) as u64, (significand / LIMB) as u64];
    let mut left = shift;
    while left > 0 {
        let step = left.min(60);
        let mut carry = 0;
        for limb in &mut limbs {
            let wide = (u128::from(*limb) << step) + carry;
            *limb = (wide % LIMB) as u64;
            carry = wide / LIMB;
        }
        while carry > 0 {
            limbs.push((carry % LIMB) as u64);
            carry /= LIMB;
        }
        left -= step;
    }
    while limbs.len() > 1 && limbs.last() == Some(&0) {
        limbs.pop();
    }
    let mut limbs = limbs.iter().rev();
    let first = limbs.next().expect("there are always two limbs to begin with");
    buf.extend_from_slice(first.to_string().as_bytes());
    for limb in limbs {
        buf.extend_from_slice(format!("{limb:018}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let sum = LongDouble::parse(a.as_bytes())?.add(LongDouble::parse(b.as_bytes())?);
        let mut buf = Vec::new();
        sum.is_finite().then(|| sum.write_human(&mut buf))?;
        Some(String::from_utf8(buf).unwrap())
    }

    /// Lines of "value increment answer": SET and INCRBYFLOAT on the server, random operands.
    const SERVER_SUMS: &str = include_str!("../../tests/data/incrbyfloat.txt");

    #[test]
    fn sums_are_the_servers() {
        let mut count = 0;
        for line in SERVER_SUMS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            assert_eq!(sum(fields[0], fields[1]).as_deref(), Some(fields[2]), "{line}");
            count += 1;
        }
        assert!(count > 300);
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(sum("1e-4952", "0"), None);
        assert_eq!(sum("1.8e-4951", "0"), None);
        assert_eq!(sum("1.9e-4951", "0").as_deref(), Some("0"));
        assert_eq!(sum("0x1p-16446", "0"), None);
        assert_eq!(sum("0x1p-16445", "0").as_deref(), Some("0"));
        assert_eq!(sum("0x1p16384", "0"), None);
        assert_eq!(sum("0x1p16383", "0x1p16383"), None);
        assert_eq!(sum("1e4932", "0").unwrap().len(), 4933);
        assert_eq!(sum("1e4933", "0"), None);
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("-inf", "0"), None);
    }

    #[test]
    fn doubles_are_printed_as_geopos_does() {
        for (value, text) in [
            (13.361389338970184, "13.36138933897018433"),
            (38.115_556_395_496_3, "38.11555639549629859"),
            (-0.5, "-0.5"),
            (0.1, "0.10000000000000001"),
        ] {
            let mut buf = Vec::new();
            LongDouble::from_f64(value).write_human(&mut buf);
            assert_eq!(String::from_utf8(buf).unwrap(), text);
        }
        assert!(!LongDouble::from_f64(f64::INFINITY).is_finite());
    }

    #[test]
    fn zero_has_no_sign_in_text() {
        for (a, b) in [("-0", "-0"), ("-1", "1"), ("0", "-1e-18"), ("-1e-20", "0")] {
            assert_eq!(sum(a, b).as_deref(), Some("0"));
        }
    }

    #[test]
    fn texts_longer_than_the_servers_buffer_are_refused() {
        assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
    }

    proptest! {
        #[test]
        fn integers_are_exact(a in -(1i64 << 62)..(1i64 << 62), b in -(1i64 << 62)..(1i64 << 62)) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()).unwrap(), (a + b).to_string());
        }

        #[test]
        fn powers_of_two_are_exact(shift in 0u32..127) {
            let text = (1u128 << shift).to_string();
            prop_assert_eq!(sum(&text, "0").unwrap(), text);
        }

        #[test]
        fn any_bytes_parse_or_not_without_panic(text: Vec<u8>) {
            let _ = LongDouble::parse(&text);
        }
    }
}
