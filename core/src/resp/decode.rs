//! Incremental decoder of RESP2 and RESP3 replies into [`Value`]s.
//!
//! Sending requests and matching replies to them is left to the users of a connection.
//!
//! A reply is decoded once it is complete. Until then only its length is looked for, in [`Skip`], which remembers its place, so that a
//! large reply arriving in many pieces is scanned once and not from the start each time.

use std::fmt;
use std::ops::Range;

use super::value::Value;
use crate::num;

/// Deeper nesting is refused, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The first byte of a reply is none of the protocol's.
    UnknownKind(u8),
    /// A number, length, boolean or verbatim string is malformed.
    Malformed(u8),
    /// Replies are nested deeper than 128 levels.
    TooDeep,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "unknown kind of reply '{}'", kind.escape_ascii()),
            Self::Malformed(kind) => write!(f, "malformed reply of kind '{}'", kind.escape_ascii()),
            Self::TooDeep => write!(f, "reply nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes received from a server and the place reached in them.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buf: Vec<u8>,
    start: usize,
    skip: Skip,
}

impl Decoder {
    /// Appends received bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buf.drain(..self.start);
        self.start = 0;
        self.buf.extend_from_slice(bytes);
    }

    /// The next complete reply, if there is one.
    ///
    /// # Errors
    /// Bytes that are no reply; the decoder is of no use afterwards.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, DecodeError> {
        match self.next_frame()? {
            Some(frame) => Value::read(self.bytes(frame)).map(Some),
            None => Ok(None),
        }
    }

    /// Where the next complete reply stands, if there is one; [`Decoder::bytes`] has it until more is fed.
    ///
    /// # Errors
    /// As [`Decoder::next`]; what [`Value::read`] finds wrong is not found here.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Range<usize>>, DecodeError> {
        if !self.skip.advance(&self.buf[self.start..])? {
            return Ok(None);
        }
        let from = self.start;
        self.start += self.skip.at;
        self.skip = Skip::default();
        Ok(Some(from..self.start))
    }

    /// The bytes at a place that [`Decoder::next_frame`] told.
    pub(crate) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.buf[frame]
    }
}

impl Value {
    /// Decodes a complete reply.
    ///
    /// # Errors
    /// A part of it is malformed.
    pub(crate) fn read(frame: &[u8]) -> Result<Value, DecodeError> {
        Reader { bytes: frame, at: 0 }.value()
    }
}

/// Finds the end of a reply: at each step one header or string is passed, and the values still missing at each level
/// are counted.
#[derive(Debug, Default)]
struct Skip {
    at: usize,
    searched: usize,
    missing: Vec<u64>,
}

impl Skip {
    fn advance(&mut self, bytes: &[u8]) -> Result<bool, DecodeError> {
        loop {
            let Some(header) = self.header(bytes)? else { return Ok(false) };
            let end = match header.payload {
                Some(len) => header.end + len + 2,
                None => header.end,
            };
            if end > bytes.len() {
                return Ok(false);
            }
            (self.at, self.searched) = (end, 0);
            if self.count(header.children)? {
                return Ok(true);
            }
        }
    }

    /// Notes that a value was passed which is followed by `children` more; true when the reply is complete.
    fn count(&mut self, children: u64) -> Result<bool, DecodeError> {
        if children > 0 {
            if self.missing.len() == MAX_DEPTH {
                return Err(DecodeError::TooDeep);
            }
            self.missing.push(children);
            return Ok(false);
        }
        while let Some(missing) = self.missing.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return Ok(false);
            }
            self.missing.pop();
        }
        Ok(true)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        let from = self.at + self.searched;
        match memchr::memchr(b'\n', &bytes[from..]) {
            Some(offset) => Header::parse(bytes, self.at, from + offset).map(Some),
            None => {
                self.searched = bytes.len() - self.at;
                Ok(None)
            }
        }
    }
}

/// The first line of a value.
struct Header {
    kind: u8,
    /// Behind the line.
    end: usize,
    /// Length of the string that follows.
    payload: Option<usize>,
    /// Values that follow and belong to this one.
    children: u64,
}

impl Header {
    fn parse(bytes: &[u8], start: usize, newline: usize) -> Result<Self, DecodeError> {
        let kind = bytes[start];
        let text = line_text(bytes, start, newline)?;
        let end = newline + 1;
        let leaf = Self { kind, end, payload: None, children: 0 };
        Ok(match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => leaf,
            b'$' | b'!' | b'=' => match parse_len(kind, text)? {
                Some(len) => Self {
                    payload: Some(usize::try_from(len).map_err(|_| DecodeError::Malformed(kind))?),
                    ..leaf
                },
                None => leaf,
            },
            b'*' | b'~' | b'>' => Self { children: parse_len(kind, text)?.unwrap_or(0), ..leaf },
            b'%' => Self { children: parse_len(kind, text)?.unwrap_or(0) * 2, ..leaf },
            b'|' => Self { children: parse_len(kind, text)?.unwrap_or(0) * 2 + 1, ..leaf },
            other => return Err(DecodeError::UnknownKind(other)),
        })
    }
}

fn line_text(bytes: &[u8], start: usize, newline: usize) -> Result<&[u8], DecodeError> {
    match &bytes[start..newline] {
        [_, text @ .., b'\r'] => Ok(text),
        [kind, ..] => Err(DecodeError::Malformed(*kind)),
        [] => Err(DecodeError::UnknownKind(b'\n')),
    }
}

/// A length; -1 is RESP2's null. Lengths that no memory holds are refused, so that sums of them cannot overflow.
fn parse_len(kind: u8, text: &[u8]) -> Result<Option<u64>, DecodeError> {
    match num::parse_i64(text) {
        Some(-1) if matches!(kind, b'$' | b'*') => Ok(None),
        Some(len @ 0..=0xffff_ffff) => Ok(Some(len as u64)),
        _ => Err(DecodeError::Malformed(kind)),
    }
}

/// Builds the value of a reply known to be complete and not too deep.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        let newline =
            memchr::memchr(b'\n', &self.bytes[start..]).expect("the reply was found complete") + start;
        let header = Header::parse(self.bytes, start, newline)?;
        let text = line_text(self.bytes, start, newline)?;
        self.at = header.end;
        let malformed = DecodeError::Malformed(header.kind);
        Ok(match header.kind {
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b':' => Value::Integer(num::parse_i64(text).ok_or(malformed)?),
            b',' => Value::Double(parse_double(text).ok_or(malformed)?),
            b'#' => Value::Boolean(match text {
                b"t" => true,
                b"f" => false,
                _ => return Err(malformed),
            }),
            b'(' => Value::BigNumber(text.to_vec()),
            b'_' => Value::Null,
            b'$' | b'!' | b'=' => match header.payload {
                None => Value::Null,
                Some(len) => self.string(header.kind, len)?,
            },
            b'*' if text == b"-1" => Value::Null,
            b'*' => Value::Array(self.values(header.children)?),
            b'~' => Value::Set(self.values(header.children)?),
            b'>' => Value::Push(self.values(header.children)?),
            b'%' => Value::Map(self.pairs(header.children / 2)?),
            b'|' => Value::Attributed {
                attributes: self.pairs(header.children / 2)?,
                value: Box::new(self.value()?),
            },
            other => return Err(DecodeError::UnknownKind(other)),
        })
    }

    fn string(&mut self, kind: u8, len: usize) -> Result<Value, DecodeError> {
        let text = &self.bytes[self.at..self.at + len];
        if &self.bytes[self.at + len..self.at + len + 2] != b"\r\n" {
            return Err(DecodeError::Malformed(kind));
        }
        self.at += len + 2;
        Ok(match (kind, text) {
            (b'$', text) => Value::Bulk(text.to_vec()),
            (b'!', text) => Value::BulkError(text.to_vec()),
            (_, [a, b, c, b':', text @ ..]) => Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() },
            _ => return Err(DecodeError::Malformed(kind)),
        })
    }

    fn values(&mut self, count: u64) -> Result<Vec<Value>, DecodeError> {
        (0..count).map(|_| self.value()).collect()
    }

    fn pairs(&mut self, count: u64) -> Result<Vec<(Value, Value)>, DecodeError> {
        (0..count).map(|_| Ok((self.value()?, self.value()?))).collect()
    }
}

fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"nan" | b"-nan" => Some(f64::NAN),
        _ => num::parse_f64(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Value>, Option<DecodeError>) {
        let mut decoder = Decoder::default();
        let mut values = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            loop {
                match decoder.next() {
                    Ok(Some(value)) => values.push(value),
                    Ok(None) => break,
                    Err(error) => return (values, Some(error)),
                }
            }
        }
        (values, None)
    }

    #[test]
    fn null_has_three_spellings() {
        let (values, error) = decode_pieces([&b"$-1\r\n*-1\r\n_\r\n"[..]]);
        assert_eq!((values, error), (vec![Value::Null, Value::Null, Value::Null], None));
    }

    #[test]
    fn a_line_may_not_end_in_a_bare_newline() {
        assert_eq!(decode_pieces([&b"+OK\n"[..]]).1, Some(DecodeError::Malformed(b'+')));
        assert_eq!(decode_pieces([&b"\n"[..]]).1, Some(DecodeError::UnknownKind(b'\n')));
        assert_eq!(decode_pieces([&b"?x\r\n"[..]]).1, Some(DecodeError::UnknownKind(b'?')));
    }

    #[test]
    fn malformed_parts_are_errors() {
        for bytes in [
            "$-2\r\n",
            "$x\r\n",
            "*4294967296\r\n",
            "#x\r\n",
            ":1.5\r\n",
            ",x\r\n",
            "%-1\r\n",
            "=2\r\nab\r\n",
            "$1\r\nabc",
            "~-1\r\n",
        ] {
            assert_eq!(
                decode_pieces([bytes.as_bytes()]).1,
                Some(DecodeError::Malformed(bytes.as_bytes()[0])),
                "{bytes}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |depth| [&b"*1\r\n".repeat(depth)[..], b":1\r\n"].concat();
        assert_eq!(decode_pieces([&deep(MAX_DEPTH)[..]]).0.len(), 1);
        assert_eq!(decode_pieces([&deep(MAX_DEPTH + 1)[..]]).1, Some(DecodeError::TooDeep));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let line = "[^\r\n]{0,8}".prop_map(String::into_bytes);
        let leaf = prop_oneof![
            Just(Value::Null),
            line.clone().prop_map(Value::Simple),
            line.prop_map(Value::Error),
            any::<Vec<u8>>().prop_map(Value::BulkError),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>()
                .prop_filter("NaN is not equal to itself", |value| !value.is_nan())
                .prop_map(Value::Double),
            any::<bool>().prop_map(Value::Boolean),
            "-?[1-9][0-9]{0,40}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
            any::<Vec<u8>>().prop_map(Value::Bulk),
            any::<Vec<u8>>().prop_map(|text| Value::Verbatim { format: *b"txt", text }),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Set),
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Push),
                pairs.clone().prop_map(Value::Map),
                (pairs, inner)
                    .prop_map(|(attributes, value)| Value::Attributed { attributes, value: Box::new(value) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn written_values_come_back(values in prop::collection::vec(any_value(), 0..4), piece in 1usize..40) {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| value.write(&mut bytes));
            prop_assert_eq!(decode_pieces(bytes.chunks(piece)), (values, None));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in "[*$+:,%|~>=!_#(0-9a\r\n-]{0,40}", piece in 1usize..8) {
            decode_pieces(bytes.as_bytes().chunks(piece));
        }
    }
}
