//! Sizes in bytes with units, as options and a few commands take them.
//!
//! Ranges are checked by the callers.

/// Parses `1gb`, `100k`, `17`: decimal digits and a unit in any case (none or `b`; `k`, `m`, `g` of 1000, `kb`, `mb`, `gb` of 1024).
///
/// As on the server, missing digits are zero, too many give the greatest number, and products wrap at 2^64.
pub(crate) fn parse_memory(text: &[u8]) -> Option<u64> {
    let unit_start = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_start);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = digits
        .iter()
        .fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(number.wrapping_mul(factor))
}

/// The size with the greatest unit that divides it, as CONFIG REWRITE writes it.
pub(crate) fn format_memory(bytes: u64) -> String {
    for (unit, shift) in [("gb", 30), ("mb", 20), ("kb", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_the_servers() {
        for (text, expected) in [
            ("1b", Some(1)),
            ("1k", Some(1000)),
            ("1kB", Some(1024)),
            ("1m", Some(1_000_000)),
            ("1g", Some(1_000_000_000)),
            ("1GB", Some(1 << 30)),
            ("", Some(0)),
            ("gb", Some(0)),
            ("01", Some(1)),
            ("17179869184gb", Some(0)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1t", None),
            ("1 gb", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1.5gb", None),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn formatted_sizes_parse_back(bytes: u64) {
            prop_assert_eq!(parse_memory(format_memory(bytes).as_bytes()), Some(bytes));
        }
    }
}
