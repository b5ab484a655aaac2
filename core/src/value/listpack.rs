//! A packed sequence of byte strings, the encoding of small hashes, lists and sorted sets.
//! Where its bytes are kept is left to the caller, as is which limits make a collection leave it.
//!
//! ```text
//! count (u32, little-endian) | joint | payload 0 | joint | payload 1 | joint | ... | payload n-1 | joint
//! ```
//! Each element has a one-byte *code*, which says how long its payload is; a joint is the exclusive or of the codes on
//! both sides of it, and at both ends the missing code counts as 0. So one byte per element serves walking in both
//! directions: whoever comes from the left knows the left code and gets the right one, and the other way round.
//!
//! | code | element | payload |
//! |---|---|---|
//! | 0..=127 | string of that many bytes | the string |
//! | 128..=143 | string of up to 4,095 bytes, the length's top 4 bits in the code | length byte, string, length byte |
//! | 144, 145 | longer string | length of 3 or 4 bytes, string, the same length |
//! | 146..=153 | integer of 1 to 8 bytes, little-endian, two's complement | the integer |
//! | 154..=255 | the integers 0 to 101 | nothing |
//!
//! A string that is the usual way to write a 64-bit integer is always stored as one, and always in the shortest form; so
//! two elements are equal exactly if code and payload are, and a search compares bytes without decoding.
//!
//! No element is larger than in Valkey's listpack, and most are a byte smaller. Getting an element by its index and
//! searching are O(n); the length and both ends are O(1); an edit moves the bytes behind it.

use super::patch::{Insertion, Patch, SHORT as SHORT_PATCH};

pub(crate) const COUNT_BYTES: usize = 4;
const STRING_12: u8 = 128;
const STRING_24: u8 = 144;
const STRING_32: u8 = 145;
/// The code of an integer of `w` bytes is this plus `w`.
const INT: u8 = 145;
const INLINE: u8 = 154;

/// The bytes of a listpack without elements.
pub(crate) const EMPTY: [u8; COUNT_BYTES + 1] = [0; COUNT_BYTES + 1];

/// An element as it is stored: integers come back as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Element<'a> {
    /// A string that reads as a 64-bit integer.
    Int(i64),
    /// Any other string.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The stored form of a string.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        parse_int(bytes).map_or(Self::Bytes(bytes), Self::Int)
    }

    /// Appends the string.
    #[cfg_attr(
        not(any(test, feature = "fuzzing")),
        expect(dead_code, reason = "elements of lists and sorted sets")
    )]
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        self.with(|bytes| out.extend_from_slice(bytes));
    }

    /// Hands the string to `use_bytes`.
    #[inline]
    pub(crate) fn with<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Int(int) => use_bytes(itoa::Buffer::new().format(int).as_bytes()),
            Self::Bytes(bytes) => use_bytes(bytes),
        }
    }

    /// Whether it is this string.
    #[cfg_attr(
        not(any(test, feature = "fuzzing")),
        expect(dead_code, reason = "elements of lists and sorted sets")
    )]
    pub(crate) fn eq(self, string: &[u8]) -> bool {
        self.with(|bytes| bytes == string)
    }

    /// Length of the string in bytes.
    pub(crate) fn len(self) -> usize {
        self.with(<[u8]>::len)
    }

    /// Bytes that it takes in a listpack, at most.
    #[inline]
    fn most_bytes(self) -> usize {
        /// The code and two lengths of four bytes, or an integer of eight.
        const AROUND: usize = 9;
        match self {
            Self::Int(_) => AROUND,
            Self::Bytes(bytes) => AROUND + bytes.len(),
        }
    }
}

/// The integer that this string is the usual way to write, if any: no plus sign, no leading zero, no "-0".
pub(crate) fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut size = 0_u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        size = size * 10 + u64::from(digit - b'0');
    }
    if negative { 0_i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() }
}

/// An element ready to be written or compared.
struct Encoded<'a> {
    code: u8,
    /// An integer's bytes, or the length before and after a long string.
    fixed: [u8; 8],
    fixed_len: usize,
    string: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn new(element: Element<'a>) -> Self {
        let element = if let Element::Bytes(bytes) = element { Element::of(bytes) } else { element };
        let (code, fixed, fixed_len, string) = match element {
            Element::Int(int @ 0..=101) => (INLINE + int as u8, 0, 0, &[][..]),
            Element::Int(int) => {
                // Bits that differ from the sign, and the sign itself.
                let width = (65 - (int ^ (int >> 63)).leading_zeros()).div_ceil(8) as usize;
                (INT + width as u8, int as u64, width, &[][..])
            }
            Element::Bytes(string) => {
                let len = string.len();
                let (code, fixed_len) = match len {
                    0..=127 => (len as u8, 0),
                    128..=0xfff => (STRING_12 | (len >> 8) as u8, 1),
                    0x1000..=0xff_ffff => (STRING_24, 3),
                    _ => (STRING_32, 4),
                };
                (code, len as u64, fixed_len, string)
            }
        };
        Self { code, fixed: fixed.to_le_bytes(), fixed_len, string }
    }

    fn fixed(&self) -> &[u8] {
        &self.fixed[..self.fixed_len]
    }

    /// Writes the payload and returns its length.
    #[inline]
    fn write_payload(&self, out: &mut [u8]) -> usize {
        let (string, fixed) = (self.string.len(), self.fixed_len);
        if fixed == 0 {
            out[..string].copy_from_slice(self.string);
            return string;
        }
        out[..fixed].copy_from_slice(self.fixed());
        if !is_string(self.code) {
            return fixed;
        }
        out[fixed..fixed + string].copy_from_slice(self.string);
        out[fixed + string..fixed + string + fixed].copy_from_slice(self.fixed());
        string + fixed * 2
    }

    /// Whether a payload of the same code is this one's.
    #[inline]
    fn is_payload(&self, payload: &[u8]) -> bool {
        if self.fixed_len == 0 {
            return payload == self.string;
        }
        payload.len() == self.fixed_len * if is_string(self.code) { 2 } else { 1 } + self.string.len()
            && payload.starts_with(self.fixed())
            && (!is_string(self.code) || payload[self.fixed_len..].starts_with(self.string))
    }
}

/// Writes elements with all joints around them, between elements of these codes. Returns how many bytes that are.
#[inline(always)]
fn write_elements(out: &mut [u8], (mut left, right): (u8, u8), elements: &[Element<'_>]) -> usize {
    let mut len = 0;
    for element in elements {
        let encoded = Encoded::new(*element);
        out[len] = left ^ encoded.code;
        len += 1 + encoded.write_payload(&mut out[len + 1..]);
        left = encoded.code;
    }
    out[len] = left ^ right;
    len + 1
}

/// The first eight bytes of a string as a number, and which of its bits they are where it is shorter.
#[inline(always)]
fn beginning(string: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    match *string {
        [] => (0, 0),
        [a] => (a.into(), 0xff),
        [a, b] => (u64::from(a) | u64::from(b) << 8, 0xffff),
        [a, b, c] => (u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16, 0xff_ffff),
        _ => match (string.first_chunk(), string.first_chunk(), string.last_chunk()) {
            (Some(eight), ..) => (u64::from_le_bytes(*eight), u64::MAX),
            (_, Some(first), Some(last)) => {
                let bits = string.len() as u32 * 8;
                (number(first) | number(last) << (bits - 32), (1 << bits) - 1)
            }
            _ => unreachable!("there are four bytes"),
        },
    }
}

#[inline]
fn is_string(code: u8) -> bool {
    code <= STRING_32
}

/// Bytes of the length that a code has on both sides of its string.
#[inline]
fn length_bytes(code: u8) -> usize {
    match code {
        STRING_12..STRING_24 => 1,
        STRING_24 => 3,
        STRING_32 => 4,
        _ => 0,
    }
}

/// Length of the payload, for codes whose payload holds it given those bytes of it.
#[inline]
fn payload_len(code: u8, length: &[u8]) -> usize {
    let long = || length.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
    match code {
        0..STRING_12 => code.into(),
        STRING_12..STRING_24 => 2 + (usize::from(code & 15) << 8 | usize::from(length[0])),
        STRING_24 => 6 + long(),
        STRING_32 => 8 + long(),
        INLINE.. => 0,
        _ => (code - INT).into(),
    }
}

fn decode(code: u8, payload: &[u8]) -> Element<'_> {
    match code {
        0..STRING_12 => Element::Bytes(payload),
        STRING_12..=STRING_32 => {
            let around = length_bytes(code);
            Element::Bytes(&payload[around..payload.len() - around])
        }
        INLINE.. => Element::Int((code - INLINE).into()),
        _ => {
            let mut bytes = [0; 8];
            bytes[8 - payload.len()..].copy_from_slice(payload);
            Element::Int(i64::from_le_bytes(bytes) >> (64 - 8 * payload.len()))
        }
    }
}

/// A place between two elements, or at an end: where an element begins. Valid until the next edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Index of the element that begins here; the count at the end.
    pub(crate) index: usize,
    joint: usize,
    left: u8,
}

/// A listpack to read. See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// Reads bytes that this module wrote; for bytes from elsewhere see [`validate`](Self::validate). O(1).
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Reads bytes from anywhere: None unless this module could have written them. O(n).
    #[cfg_attr(
        not(any(test, feature = "fuzzing")),
        expect(dead_code, reason = "for listpacks that come from files")
    )]
    pub(crate) fn validate(bytes: &'a [u8]) -> Option<Self> {
        let count = bytes.get(..COUNT_BYTES)?;
        let count = u32::from_le_bytes(count.try_into().ok()?);
        let (mut joint, mut left) = (COUNT_BYTES, 0);
        for _ in 0..count {
            let code = bytes.get(joint)? ^ left;
            let around = length_bytes(code);
            let length = bytes.get(joint + 1..)?.get(..around)?;
            let payload = bytes[joint + 1..].get(..payload_len(code, length))?;
            let encoded = Encoded::new(decode(code, payload));
            if encoded.code != code
                || payload[payload.len() - around..] != *length
                || !encoded.is_payload(payload)
            {
                return None;
            }
            (joint, left) = (joint + 1 + payload.len(), code);
        }
        (bytes.len() == joint + 1 && bytes[joint] == left).then_some(Self { bytes })
    }

    /// Number of elements. O(1).
    #[inline]
    pub(crate) fn len(self) -> usize {
        let count = self.bytes[..COUNT_BYTES].try_into().expect("a listpack begins with its count");
        u32::from_le_bytes(count) as usize
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Length in bytes. O(1).
    pub(crate) fn bytes_len(self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no elements. O(1).
    pub(crate) fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The elements, from either end.
    #[inline]
    pub(crate) fn iter(self) -> Iter<'a> {
        let (len, last) = (self.len(), self.bytes.len() - 1);
        Iter { bytes: self.bytes, front: (COUNT_BYTES, 0), back: (last, 0), left: len }
    }

    /// The elements from a position on.
    pub(crate) fn iter_from(self, at: Position) -> Iter<'a> {
        Iter { front: (at.joint, at.left), left: self.len() - at.index, ..self.iter() }
    }

    /// The elements before a position.
    pub(crate) fn iter_until(self, at: Position) -> Iter<'a> {
        Iter { back: (at.joint, self.bytes[at.joint] ^ at.left), left: at.index, ..self.iter() }
    }

    /// The element at an index. O(distance to the nearer end).
    pub(crate) fn get(self, index: usize) -> Option<Element<'a>> {
        self.element(self.seek(index)?)
    }

    /// Where the element of this index begins; the count gives the end; None beyond. O(distance to the nearer end).
    pub(crate) fn seek(self, index: usize) -> Option<Position> {
        let mut iter = self.iter();
        let len = iter.left;
        if index > len {
            return None;
        }
        if index <= len / 2 {
            for _ in 0..index {
                iter.raw_next();
            }
            return Some(Position { index, joint: iter.front.0, left: iter.front.1 });
        }
        for _ in index..len {
            iter.raw_next_back();
        }
        let (joint, right) = iter.back;
        Some(Position { index, joint, left: self.bytes[joint] ^ right })
    }

    /// The element that begins at a position; None at the end. O(1).
    pub(crate) fn element(self, at: Position) -> Option<Element<'a>> {
        self.iter_from(at).next()
    }

    /// The position `by` elements further; None beyond the end. O(by).
    pub(crate) fn skip(self, at: Position, by: usize) -> Option<Position> {
        let mut iter = self.iter_from(at);
        for _ in 0..by {
            iter.raw_next()?;
        }
        Some(Position { index: at.index + by, joint: iter.front.0, left: iter.front.1 })
    }

    /// The first element from index `start` on, in steps of `stride` (at least 1), that is this string: with 0 and 2 a hash's field.
    pub(crate) fn find(self, string: &[u8], start: usize, stride: usize) -> Option<Position> {
        self.find_element(Element::Bytes(string), start, stride)
    }

    /// As [`find`](Self::find), for an element of which an integer may be told as such.
    pub(crate) fn find_element(self, element: Element<'_>, start: usize, stride: usize) -> Option<Position> {
        let wanted = Encoded::new(element);
        let Position { mut joint, mut left, .. } = self.seek(start)?;
        let (mut next, len) = (start, self.len());
        for index in start..len {
            let code = self.bytes[joint] ^ left;
            let size = self.payload_len_at(joint, code);
            if index == next {
                if code == wanted.code && wanted.is_payload(&self.bytes[joint + 1..joint + 1 + size]) {
                    return Some(Position { index, joint, left });
                }
                next += stride;
            }
            (joint, left) = (joint + 1 + size, code);
        }
        None
    }

    /// Of elements taken two by two, the second of the first pair that begins with this string: the value of a hash's field. O(n).
    #[inline(always)]
    pub(crate) fn behind(self, string: &[u8]) -> Option<Element<'a>> {
        let at = self.find_pair(string)?;
        let code = self.bytes[at.joint] ^ at.left;
        let size = self.payload_len_at(at.joint, code);
        Some(decode(code, &self.bytes[at.joint + 1..at.joint + 1 + size]))
    }

    /// Where that begins.
    #[inline(always)]
    pub(crate) fn find_pair(self, string: &[u8]) -> Option<Position> {
        let wanted = Encoded::new(Element::Bytes(string));
        if wanted.fixed_len != 0 {
            return self.find_unusual_pair(string);
        }
        // Code and payload tell the element; most others differ in the code, and nearly all in the first bytes.
        let (first, bits) = beginning(wanted.string);
        let (mut joint, mut left) = (COUNT_BYTES, 0);
        for pair in 0..self.len() / 2 {
            let code = self.bytes[joint] ^ left;
            let next = joint + 1 + self.payload_len_at(joint, code);
            let next_code = self.bytes[next] ^ code;
            let is_it = || match self.bytes[joint + 1..].first_chunk() {
                Some(eight) if (u64::from_le_bytes(*eight) ^ first) & bits != 0 => false,
                Some(_) if bits != u64::MAX => true,
                _ => self.bytes[joint + 1..next] == *wanted.string,
            };
            if code == wanted.code && is_it() {
                return Some(Position { index: 2 * pair + 1, joint: next, left: code });
            }
            (joint, left) = (next + 1 + self.payload_len_at(next, next_code), next_code);
        }
        None
    }

    #[inline(never)]
    fn find_unusual_pair(self, string: &[u8]) -> Option<Position> {
        self.skip(self.find(string, 0, 2)?, 1)
    }

    /// The position behind the last element. O(1).
    pub(crate) fn end(self) -> Position {
        let joint = self.bytes.len() - 1;
        Position { index: self.len(), joint, left: self.bytes[joint] }
    }

    /// Bytes of the payload to the right of a joint, whose code is this.
    #[inline(always)]
    fn payload_len_at(self, joint: usize, code: u8) -> usize {
        match code {
            0..STRING_12 => usize::from(code),
            INLINE.. => 0,
            _ => payload_len(code, &self.bytes[joint + 1..][..length_bytes(code)]),
        }
    }

    /// The position before the first element. O(1).
    pub(crate) fn start(self) -> Position {
        Position { index: 0, joint: COUNT_BYTES, left: 0 }
    }

    /// The position before the last element; `None` if there is none. O(1).
    pub(crate) fn before_last(self) -> Option<Position> {
        let mut iter = self.iter();
        iter.raw_next_back()?;
        let (joint, right) = iter.back;
        Some(Position { index: iter.left, joint, left: self.bytes[joint] ^ right })
    }

    /// Works out an edit: `remove` elements from `at` on make place for those of `insert`. O(size of the edit).
    ///
    /// # Panics
    /// If there are fewer than `remove` elements from there on.
    pub(crate) fn splice(self, at: Position, remove: usize, insert: &[Element<'_>]) -> Patch {
        let end = match remove {
            0 => at,
            _ => self.skip(at, remove).expect("only existing elements are removed"),
        };
        let most = 1 + insert.iter().map(|element| element.most_bytes()).sum::<usize>();
        let codes = (at.left, self.bytes[end.joint] ^ end.left);
        let bytes = if most <= SHORT_PATCH {
            let mut bytes = [0; SHORT_PATCH];
            let len = write_elements(&mut bytes, codes, insert);
            Insertion::from_buf_and_len(bytes, len)
        } else {
            let mut bytes = vec![0; most];
            let len = write_elements(&mut bytes, codes, insert);
            bytes.truncate(len);
            Insertion::from_vec(bytes)
        };
        let count = u32::try_from(self.len() - remove + insert.len()).expect("fewer than 2^32 elements");
        let head = (remove != insert.len()).then(|| count.to_le_bytes());
        Patch::new(at.joint..end.joint + 1, bytes, count as usize, head)
    }
}

/// An iterator over the elements, from both ends.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    bytes: &'a [u8],
    /// The joint in front, and the code to its left.
    front: (usize, u8),
    /// The joint at the back, and the code to its right.
    back: (usize, u8),
    left: usize,
}

impl<'a> Iter<'a> {
    /// Where the next element begins, of an iterator that goes on to the end.
    #[inline]
    pub(crate) fn position(&self, pack: Listpack<'_>) -> Position {
        Position { index: pack.len() - self.left, joint: self.front.0, left: self.front.1 }
    }

    /// Code and payload of the next element.
    #[inline]
    fn raw_next(&mut self) -> Option<(u8, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let (joint, left) = self.front;
        let code = self.bytes[joint] ^ left;
        let rest = &self.bytes[joint + 1..];
        let payload = &rest[..payload_len(code, &rest[..length_bytes(code)])];
        self.front = (joint + 1 + payload.len(), code);
        Some((code, payload))
    }

    #[inline]
    fn raw_next_back(&mut self) -> Option<(u8, &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let (joint, right) = self.back;
        let code = self.bytes[joint] ^ right;
        let length = &self.bytes[joint - length_bytes(code)..joint];
        let payload = &self.bytes[joint - payload_len(code, length)..joint];
        self.back = (joint - payload.len() - 1, code);
        Some((code, payload))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        self.raw_next().map(|(code, payload)| decode(code, payload))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.raw_next_back().map(|(code, payload)| decode(code, payload))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
