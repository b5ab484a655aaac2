//! How INFO prints a number or text, and the quotients it prints.
//!
//! Which field has which form is in `fields.rs`.

use std::{fmt::Write as _, time::Duration};

use super::Snapshot;

/// A field's content and form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Datum<'a> {
    /// Digits.
    Uint(u64),
    /// Digits, signed.
    Int(i64),
    /// As it is.
    Text(&'a str),
    /// Bytes with a unit and two digits behind the point.
    Human(u64),
    /// Two digits behind the point and a percent sign.
    Percent(f64),
    /// Two digits behind the point.
    Ratio(f64),
    /// Seconds with six digits behind the point.
    Seconds(Duration),
    /// `ok` or `err`.
    Status(bool),
}

impl Datum<'_> {
    pub(super) fn write(&self, out: &mut String) {
        let result = match self {
            Self::Uint(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Text(text) => out.write_str(text),
            Self::Human(bytes) => write_human(out, *bytes),
            Self::Percent(value) => write!(out, "{value:.2}%"),
            Self::Ratio(value) => write!(out, "{value:.2}"),
            Self::Seconds(time) => write!(out, "{}.{:06}", time.as_secs(), time.subsec_micros()),
            Self::Status(ok) => out.write_str(if *ok { "ok" } else { "err" }),
        };
        result.expect("writing to a string does not fail");
    }
}

fn write_human(out: &mut String, bytes: u64) -> std::fmt::Result {
    const UNITS: [(u32, char); 5] = [(50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => write!(out, "{:.2}{unit}", bytes as f64 / (1u64 << shift) as f64),
        None => write!(out, "{bytes}B"),
    }
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}

pub(super) fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

/// Share of the data in what was allocated since the engine was empty.
pub(super) fn dataset_percent(s: &Snapshot) -> f64 {
    let dataset = s.used_memory.saturating_sub(s.used_memory_overhead);
    percent(dataset, s.used_memory.saturating_sub(s.used_memory_startup))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(datum: Datum<'_>) -> String {
        let mut out = String::new();
        datum.write(&mut out);
        out
    }

    #[test]
    fn sizes_are_the_servers() {
        for (bytes, text) in [
            (0, "0B"),
            (272, "272B"),
            (1023, "1023B"),
            (32_768, "32.00K"),
            (68_608, "67.00K"),
            (1_475_288, "1.41M"),
            (538_199_656, "513.27M"),
            (25_276_514_304, "23.54G"),
            (1 << 40, "1.00T"),
            (1 << 51, "2.00P"),
        ] {
            assert_eq!(written(Datum::Human(bytes)), text);
        }
    }

    #[test]
    fn fractions_have_two_digits_and_seconds_six() {
        assert_eq!(written(Datum::Percent(percent(1_475_288, 538_199_656))), "0.27%");
        assert_eq!(written(Datum::Ratio(ratio(11_993_088, 11_924_480))), "1.01");
        assert_eq!(written(Datum::Ratio(ratio(1, 0))), "0.00");
        assert_eq!(written(Datum::Seconds(Duration::from_micros(1_654_420))), "1.654420");
        assert_eq!(written(Datum::Int(difference(1, 3))), "-2");
    }
}
