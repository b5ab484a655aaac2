//! How the cache face writes values, so that any language reads what another wrote; this page is the format's only description.
//!
//! Serialising lists, maps and objects is left to each language: here a value is bare, or a tag byte and a payload.
//!
//! # The rule
//! A value is written **bare** if its bare form reads back as the same value, else **behind its tag byte**. Bare forms are what `SET`
//! and `GET` of any Valkey client exchange, so text and counters are plain strings there:
//!
//! | bare bytes | read as |
//! |---|---|
//! | a canonical decimal integer that fits 64 bits, as `INCR` writes it | integer |
//! | any other valid UTF-8 | text |
//! | anything else that begins with no tag byte | bytes |
//!
//! | tag | payload |
//! |---|---|
//! | `0xF8` integer | a canonical integer that fits 64 bits; JavaScript writes a BigInt so that a number could hold, which bare would come back as one. Others write integers bare |
//! | `0xF9` text | UTF-8; written for text that looks like an integer, such as `"42"` |
//! | `0xFA` bytes | as they are; written for bytes that are valid UTF-8 or begin with a tag byte |
//! | `0xFB` float | IEEE 754 double, 8 bytes, little-endian |
//! | `0xFC` JSON | UTF-8 (RFC 8259); null, booleans and integers beyond 64 bits too |
//! | `0xFD` MessagePack | one object |
//! | `0xFE` private | of one language, never read by another: Python writes 16 bytes of keyed BLAKE2b and a pickle |
//! | `0xFF` | reserved, for compressed values |
//!
//! No byte above `0xF7` begins valid UTF-8, so text never collides with a tag; bytes that would are tagged.

/// First byte of a tagged value.
#[allow(missing_docs, reason = "the module's table says what they are")]
pub mod tag {
    pub const INTEGER: u8 = 0xF8;
    pub const TEXT: u8 = 0xF9;
    pub const BYTES: u8 = 0xFA;
    pub const FLOAT: u8 = 0xFB;
    pub const JSON: u8 = 0xFC;
    pub const MESSAGE_PACK: u8 = 0xFD;
    pub const PRIVATE: u8 = 0xFE;
    /// The lowest byte that is a tag, known or reserved.
    pub const FIRST: u8 = 0xF8;
}

/// A value as it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored<'a> {
    /// An integer.
    Integer(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A double.
    Float(f64),
    /// A payload for a codec of the language, and its tag: JSON, MessagePack or private.
    Encoded(u8, &'a [u8]),
    /// Begins with a tag but does not continue as that tag demands, or has a reserved one.
    Unreadable,
}

/// Reads a value. O(length).
#[inline]
pub fn read(value: &[u8]) -> Stored<'_> {
    match value.first() {
        Some(&first) if first >= tag::FIRST => read_tagged(first, &value[1..]),
        _ => match integer(value) {
            Some(number) => Stored::Integer(number),
            None => std::str::from_utf8(value).map_or(Stored::Bytes(value), Stored::Text),
        },
    }
}

fn read_tagged(first: u8, payload: &[u8]) -> Stored<'_> {
    match first {
        tag::INTEGER => integer(payload).map_or(Stored::Unreadable, Stored::Integer),
        tag::TEXT => std::str::from_utf8(payload).map_or(Stored::Unreadable, Stored::Text),
        tag::BYTES => Stored::Bytes(payload),
        tag::FLOAT => match payload.try_into() {
            Ok(word) => Stored::Float(f64::from_bits(u64::from_le_bytes(word))),
            Err(_) => Stored::Unreadable,
        },
        tag::JSON | tag::MESSAGE_PACK | tag::PRIVATE => Stored::Encoded(first, payload),
        _ => Stored::Unreadable,
    }
}

/// The tag that text must be written behind; `None`: bare. O(1).
#[inline]
pub fn text_tag(text: &str) -> Option<u8> {
    integer(text.as_bytes()).map(|_| tag::TEXT)
}

/// The tag that bytes must be written behind; `None`: bare. O(length).
#[inline]
pub fn bytes_tag(bytes: &[u8]) -> Option<u8> {
    let is_bare =
        bytes.first().is_some_and(|first| *first < tag::FIRST) && std::str::from_utf8(bytes).is_err();
    (!is_bare).then_some(tag::BYTES)
}

/// The payload of a float, behind [`tag::FLOAT`].
pub fn float_payload(number: f64) -> [u8; 8] {
    number.to_bits().to_le_bytes()
}

/// Whether stored bytes are bare text without a closer look: ASCII that does not begin as an integer does. False says nothing: [`read`] knows.
/// O(1).
#[inline(always)]
pub fn is_plain_text(value: &[u8], is_ascii: bool) -> bool {
    is_ascii && value.first().is_none_or(|first| !first.is_ascii_digit() && *first != b'-')
}

/// A canonical integer: what its own text would be. O(1).
#[inline]
pub fn integer(text: &[u8]) -> Option<i64> {
    let first = *text.first()?;
    if text.len() > 20 || !(first.is_ascii_digit() || first == b'-') {
        return None;
    }
    crate::num::parse_i64(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tag: Option<u8>, payload: &[u8]) -> Vec<u8> {
        tag.into_iter().chain(payload.iter().copied()).collect()
    }

    #[test]
    fn text_comes_back_as_text() {
        for text in
            ["", "a", "42", "-1", "042", "-0", "9223372036854775808", "1.5", "größe", "\u{10ffff}", "-"]
        {
            let bytes = written(text_tag(text), text.as_bytes());
            assert_eq!(read(&bytes), Stored::Text(text), "{text:?}");
        }
        assert_eq!(text_tag("hello"), None);
        assert_eq!(text_tag("42"), Some(tag::TEXT));
    }

    #[test]
    fn bytes_come_back_as_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [b"".as_slice(), b"a", b"42", b"\xff\xd8", b"\x80", b"\xc3\x28", b"\xfb12345678", &all] {
            let stored = written(bytes_tag(bytes), bytes);
            assert_eq!(read(&stored), Stored::Bytes(bytes), "{bytes:?}");
        }
        assert_eq!(bytes_tag(b"\x80\x02"), None);
    }

    #[test]
    fn every_first_byte_of_text_is_below_the_tags() {
        for letter in ['\0', '\u{7f}', '\u{80}', '\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}']
        {
            assert!(letter.to_string().as_bytes()[0] < tag::FIRST);
        }
    }

    #[test]
    fn numbers_come_back_as_numbers() {
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(read(number.to_string().as_bytes()), Stored::Integer(number));
            let tagged = written(Some(tag::INTEGER), number.to_string().as_bytes());
            assert_eq!(read(&tagged), Stored::Integer(number));
        }
        for number in [0.0, -0.0, 1.5, f64::INFINITY, f64::MIN_POSITIVE] {
            assert_eq!(read(&written(Some(tag::FLOAT), &float_payload(number))), Stored::Float(number));
        }
        assert!(
            matches!(read(&written(Some(tag::FLOAT), &float_payload(f64::NAN))), Stored::Float(n) if n.is_nan())
        );
    }

    #[test]
    fn what_nobody_wrote_is_told() {
        for bytes in [
            b"\xf8".as_slice(),
            b"\xf8x",
            b"\xf8042",
            b"\xf89223372036854775808",
            b"\xff123",
            b"\xfb123",
            b"\xf9\xff",
        ] {
            assert_eq!(read(bytes), Stored::Unreadable, "{bytes:?}");
        }
        assert_eq!(read(b"\xfc[1]"), Stored::Encoded(tag::JSON, b"[1]"));
    }
}
