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

use std::ops::Range;

use smallvec::SmallVec;

const COUNT_BYTES: usize = 4;
const STRING_12: u8 = 128;
const STRING_24: u8 = 144;
const STRING_32: u8 = 145;
/// The code of an integer of `w` bytes is this plus `w`.
const INT: u8 = 145;
const INLINE: u8 = 154;

/// The bytes of a listpack without elements.
pub(crate) const EMPTY: [u8; COUNT_BYTES + 1] = [0; COUNT_BYTES + 1];

/// An element as it is stored: integers come back as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    #[cfg_attr(not(test), expect(dead_code, reason = "elements of lists and sorted sets"))]
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
    #[cfg_attr(not(test), expect(dead_code, reason = "elements of lists and sorted sets"))]
    pub(crate) fn eq(self, string: &[u8]) -> bool {
        self.with(|bytes| bytes == string)
    }

    /// Length of the string in bytes.
    pub(crate) fn len(self) -> usize {
        self.with(<[u8]>::len)
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

    fn write_payload(&self, out: &mut SmallVec<[u8; 64]>) {
        out.extend_from_slice(self.fixed());
        if is_string(self.code) {
            out.extend_from_slice(self.string);
            out.extend_from_slice(self.fixed());
        }
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
    #[cfg_attr(not(test), expect(dead_code, reason = "for listpacks that come from files"))]
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

    /// The element at an index. O(distance to the nearer end).
    #[cfg_attr(not(test), expect(dead_code, reason = "elements of lists by index"))]
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
        let wanted = Encoded::new(Element::Bytes(string));
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
        let wanted = Encoded::new(Element::Bytes(string));
        if wanted.fixed_len != 0 {
            return self.behind_unusual(string);
        }
        // Code and payload tell the element; most others differ in the code, and nearly all in the first bytes.
        let (first, bits) = beginning(wanted.string);
        let (mut joint, mut left) = (COUNT_BYTES, 0);
        for _ in 0..self.len() / 2 {
            let code = self.bytes[joint] ^ left;
            let next = joint + 1 + self.payload_len_at(joint, code);
            let next_code = self.bytes[next] ^ code;
            let is_it = || match self.bytes[joint + 1..].first_chunk() {
                Some(eight) if (u64::from_le_bytes(*eight) ^ first) & bits != 0 => false,
                Some(_) if bits != u64::MAX => true,
                _ => self.bytes[joint + 1..next] == *wanted.string,
            };
            if code == wanted.code && is_it() {
                let size = self.payload_len_at(next, next_code);
                return Some(decode(next_code, &self.bytes[next + 1..next + 1 + size]));
            }
            (joint, left) = (next + 1 + self.payload_len_at(next, next_code), next_code);
        }
        None
    }

    #[inline(never)]
    fn behind_unusual(self, string: &[u8]) -> Option<Element<'a>> {
        self.element(self.skip(self.find(string, 0, 2)?, 1)?)
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

    /// Works out an edit: `remove` elements from `at` on make place for those of `insert`. O(size of the edit).
    ///
    /// # Panics
    /// If there are fewer than `remove` elements from there on.
    pub(crate) fn splice(self, at: Position, remove: usize, insert: &[Element<'_>]) -> Patch {
        let end = self.skip(at, remove).expect("only existing elements are removed");
        let mut bytes = SmallVec::new();
        let mut left = at.left;
        for element in insert {
            let encoded = Encoded::new(*element);
            bytes.push(left ^ encoded.code);
            encoded.write_payload(&mut bytes);
            left = encoded.code;
        }
        let right = self.bytes[end.joint] ^ end.left;
        bytes.push(left ^ right);
        let count = u32::try_from(self.len() - remove + insert.len()).expect("fewer than 2^32 elements");
        Patch { range: at.joint..end.joint + 1, bytes, count }
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

/// An edit of one listpack, worked out but not made: the caller can get memory of the right size first.
#[derive(Debug)]
pub(crate) struct Patch {
    range: Range<usize>,
    bytes: SmallVec<[u8; 64]>,
    count: u32,
}

impl Patch {
    /// Length in bytes of the listpack after the edit, given the one before it.
    pub(crate) fn len_after(&self, before: usize) -> usize {
        before - self.range.len() + self.bytes.len()
    }

    /// Number of elements after the edit.
    #[cfg_attr(not(test), expect(dead_code, reason = "limits of lists and sorted sets"))]
    pub(crate) fn count_after(&self) -> usize {
        self.count as usize
    }

    /// Writes the edited listpack to `out`, which is [`len_after`](Self::len_after) bytes long.
    #[cfg_attr(not(test), expect(dead_code, reason = "edits that need another block"))]
    pub(crate) fn write(&self, old: &[u8], out: &mut [u8]) {
        let (before, rest) = out.split_at_mut(self.range.start);
        let (new, after) = rest.split_at_mut(self.bytes.len());
        before.copy_from_slice(&old[..self.range.start]);
        new.copy_from_slice(&self.bytes);
        after.copy_from_slice(&old[self.range.end..]);
        self.write_count(out);
    }

    /// Makes the edit where the listpack is; `bytes` may be longer than it, and must hold both the old and the new one.
    /// `len` is the length of the old one. Returns the new one's.
    pub(crate) fn apply(&self, bytes: &mut [u8], len: usize) -> usize {
        let new_end = self.range.start + self.bytes.len();
        bytes.copy_within(self.range.end..len, new_end);
        bytes[self.range.start..new_end].copy_from_slice(&self.bytes);
        self.write_count(bytes);
        self.len_after(len)
    }

    /// Makes the edit in a vector.
    pub(crate) fn apply_to(&self, bytes: &mut Vec<u8>) {
        let (old, new) = (bytes.len(), self.len_after(bytes.len()));
        bytes.resize(old.max(new), 0);
        self.apply(bytes, old);
        bytes.truncate(new);
    }

    fn write_count(&self, bytes: &mut [u8]) {
        bytes[..COUNT_BYTES].copy_from_slice(&self.count.to_le_bytes());
    }
}

/// Adds elements at the end. O(what is added).
pub(crate) fn push(bytes: &mut Vec<u8>, elements: &[Element<'_>]) {
    let len = Listpack::new(bytes).len();
    insert(bytes, len, elements);
}

/// Adds elements before the one at `index`; the count means the end.
///
/// # Panics
/// If `index` is above the count.
pub(crate) fn insert(bytes: &mut Vec<u8>, index: usize, elements: &[Element<'_>]) {
    edit(bytes, index, 0, elements);
}

/// Puts an element in the place of the one at `index`.
///
/// # Panics
/// If there is none at `index`.
pub(crate) fn replace(bytes: &mut Vec<u8>, index: usize, element: Element<'_>) {
    edit(bytes, index, 1, &[element]);
}

/// Removes `count` elements from `index` on.
///
/// # Panics
/// If there are fewer.
pub(crate) fn remove(bytes: &mut Vec<u8>, index: usize, count: usize) {
    edit(bytes, index, count, &[]);
}

fn edit(bytes: &mut Vec<u8>, index: usize, removed: usize, inserted: &[Element<'_>]) {
    let listpack = Listpack::new(bytes);
    let at = listpack.seek(index).expect("an index within the listpack");
    listpack.splice(at, removed, inserted).apply_to(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CASES: u32 = if cfg!(miri) { 4 } else { 400 };

    fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = EMPTY.to_vec();
        for element in elements {
            push(&mut bytes, &[Element::Bytes(element)]);
        }
        bytes
    }

    fn unpack(bytes: &[u8]) -> Vec<Vec<u8>> {
        let to_vec = |element: Element<'_>| element.with(<[u8]>::to_vec);
        Listpack::validate(bytes).expect("edits leave a valid listpack").iter().map(to_vec).collect()
    }

    /// What an element takes in Valkey's listpack, by its documented format.
    fn size_in_valkey(bytes: &[u8]) -> usize {
        let entry = match parse_int(bytes) {
            Some(0..=127) => 1,
            Some(-4096..=4095) => 2,
            Some(-0x8000..=0x7fff) => 3,
            Some(-0x80_0000..=0x7f_ffff) => 4,
            Some(-0x8000_0000..=0x7fff_ffff) => 5,
            Some(_) => 9,
            None if bytes.len() < 64 => 1 + bytes.len(),
            None if bytes.len() < 4096 => 2 + bytes.len(),
            None => 5 + bytes.len(),
        };
        entry + [128, 16_383, 2_097_151, 268_435_455].iter().filter(|&&limit| entry >= limit).count() + 1
    }

    #[test]
    fn a_hash_of_ten_fields_takes_225_bytes() {
        let elements: Vec<_> = (0..10)
            .flat_map(|i| [format!("f{i:03}").into_bytes(), format!("value-{i:010}").into_bytes()])
            .collect();
        assert_eq!(pack(&elements).len(), 225);
        assert_eq!(EMPTY.len(), 5);
    }

    #[test]
    fn integers_are_those_written_the_usual_way() {
        let yes = [
            "0",
            "1",
            "-1",
            "101",
            "102",
            "127",
            "-128",
            "128",
            "9223372036854775807",
            "-9223372036854775808",
        ];
        for text in yes {
            let int = text.parse().unwrap();
            assert_eq!(parse_int(text.as_bytes()), Some(int));
            let bytes = pack(&[text.into()]);
            assert_eq!(Listpack::new(&bytes).get(0), Some(Element::Int(int)));
        }
        let no = [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            "1 ",
            " 1",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
        ];
        for text in no.into_iter().chain(["99999999999999999999", "1e3", "0x1", "00"]) {
            assert_eq!(parse_int(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn all_lengths_and_widths_come_back_from_both_ends() {
        let lengths = [0, 1, 63, 64, 127, 128, 129, 255, 256, 4095, 4096, 65_535, 65_536];
        let mut elements: Vec<_> = lengths.map(|len| vec![b'x'; len]).into();
        if !cfg!(miri) {
            elements.extend([vec![1; 0xff_ffff], vec![2; 0x100_0000]]);
        }
        for shift in 0..64 {
            for int in [1_i64 << shift, (1_i64 << shift).wrapping_sub(1), -1 << shift, (-1 << shift) ^ 1] {
                elements.push(int.to_string().into_bytes());
            }
        }
        let bytes = pack(&elements);
        assert_eq!(unpack(&bytes), elements);
        let mut backward: Vec<_> =
            Listpack::new(&bytes).iter().rev().map(|e| e.with(<[u8]>::to_vec)).collect();
        backward.reverse();
        assert_eq!(backward, elements);
        for element in &elements {
            let size = pack(std::slice::from_ref(element)).len() - EMPTY.len();
            assert!(size <= size_in_valkey(element), "{size} for {} bytes", element.len());
        }
    }

    #[test]
    fn find_takes_only_every_stride() {
        let bytes = pack(&["a", "b", "b", "c", "7", "a"].map(|s| s.as_bytes().to_vec()));
        let listpack = Listpack::new(&bytes);
        let index =
            |string: &str, start, stride| listpack.find(string.as_bytes(), start, stride).map(|at| at.index);
        assert_eq!(index("b", 0, 1), Some(1));
        assert_eq!(index("b", 0, 2), Some(2));
        assert_eq!(index("c", 0, 2), None);
        assert_eq!(index("c", 1, 2), Some(3));
        assert_eq!(index("7", 0, 2), Some(4));
        assert_eq!(index("07", 0, 1), None);
        assert_eq!(index("a", 6, 1), None);
        assert_eq!(index("a", 7, 1), None);
        let field = listpack.find(b"b", 0, 2).unwrap();
        assert_eq!(listpack.element(listpack.skip(field, 1).unwrap()), Some(Element::Bytes(b"c")));
        assert_eq!(listpack.skip(field, 5), None);
    }

    #[test]
    fn what_stands_behind_a_field_is_found_whatever_its_length() {
        let texts =
            (0..20).map(|len| vec![b'f'; len]).chain([vec![b'f'; 127], vec![b'f'; 130], vec![b'f'; 5000]]);
        let numbers = ["0", "101", "102", "-1", "123456789"].map(|text| text.as_bytes().to_vec());
        let fields: Vec<_> = texts.chain(numbers).collect();
        let elements: Vec<_> = fields
            .iter()
            .enumerate()
            .flat_map(|(at, field)| [field.clone(), format!("v{at}").into()])
            .collect();
        let bytes = pack(&elements);
        let listpack = Listpack::new(&bytes);
        for (at, field) in fields.iter().enumerate() {
            let value = format!("v{at}");
            assert_eq!(listpack.behind(field), Some(Element::Bytes(value.as_bytes())), "{}", field.len());
            // The last field there is: nothing but its value stands behind it.
            let alone = pack(&[field.clone(), Vec::new()]);
            assert_eq!(Listpack::new(&alone).behind(field), Some(Element::Bytes(b"")));
            let mut other = field.clone();
            other.extend_from_slice(b"?");
            assert_eq!(Listpack::new(&alone).behind(&other), None);
            if let Some(last) = other.len().checked_sub(2) {
                other.truncate(last + 1);
                other[last] ^= 0x40;
                assert_eq!(Listpack::new(&alone).behind(&other), None);
            }
        }
        assert_eq!((listpack.behind(b"v0"), Listpack::new(&EMPTY).behind(b"")), (None, None));
    }

    fn string() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..40),
            1 => prop::collection::vec(any::<u8>(), 100..300),
            1 => prop::collection::vec(any::<u8>(), 4000..4200),
            3 => any::<i64>().prop_map(|int| int.to_string().into_bytes()),
            3 => (-300_i64..300).prop_map(|int| int.to_string().into_bytes()),
            2 => (any::<i64>(), 0..64_u32).prop_map(|(int, shift)| (int >> shift).to_string().into_bytes()),
            1 => "-?[0-9]{1,21}".prop_map(String::into_bytes),
            2 => prop::sample::select(vec![&b"a"[..], b"b", b"", b"1"]).prop_map(<[u8]>::to_vec),
        ]
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(Vec<u8>),
        Insert(usize, Vec<Vec<u8>>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
        Splice(usize, usize, Vec<Vec<u8>>),
    }

    fn op() -> impl Strategy<Value = Op> {
        let strings = || prop::collection::vec(string(), 0..4);
        prop_oneof![
            4 => string().prop_map(Op::Push),
            2 => (any::<usize>(), strings()).prop_map(|(at, new)| Op::Insert(at, new)),
            3 => (any::<usize>(), string()).prop_map(|(at, new)| Op::Replace(at, new)),
            2 => (any::<usize>(), 0..4_usize).prop_map(|(at, count)| Op::Remove(at, count)),
            2 => (any::<usize>(), 0..4_usize, strings()).prop_map(|(at, count, new)| Op::Splice(at, count, new)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]

        #[test]
        fn behaves_as_a_vector(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 8 } else { 40 })) {
            let mut bytes = EMPTY.to_vec();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for op in ops {
                match op {
                    Op::Push(new) => {
                        push(&mut bytes, &[Element::Bytes(&new)]);
                        model.push(new);
                    }
                    Op::Insert(at, new) => {
                        let at = at % (model.len() + 1);
                        let elements: Vec<_> = new.iter().map(|new| Element::of(new)).collect();
                        insert(&mut bytes, at, &elements);
                        model.splice(at..at, new);
                    }
                    Op::Replace(at, new) if !model.is_empty() => {
                        let at = at % model.len();
                        replace(&mut bytes, at, Element::Bytes(&new));
                        model[at] = new;
                    }
                    Op::Replace(..) => {}
                    Op::Remove(at, count) => {
                        let at = at % (model.len() + 1);
                        let count = count.min(model.len() - at);
                        remove(&mut bytes, at, count);
                        model.drain(at..at + count);
                    }
                    Op::Splice(at, count, new) => {
                        let at = at % (model.len() + 1);
                        let count = count.min(model.len() - at);
                        let elements: Vec<_> = new.iter().map(|new| Element::Bytes(new)).collect();
                        let listpack = Listpack::new(&bytes);
                        let patch = listpack.splice(listpack.seek(at).unwrap(), count, &elements);
                        let mut out = vec![0xee; patch.len_after(bytes.len())];
                        patch.write(&bytes, &mut out);
                        prop_assert_eq!(patch.count_after(), model.len() - count + new.len());
                        bytes = out;
                        model.splice(at..at + count, new);
                    }
                }
                prop_assert_eq!(&unpack(&bytes), &model);
                prop_assert_eq!(&bytes, &pack(&model), "one form only");
            }
            let listpack = Listpack::new(&bytes);
            prop_assert_eq!((listpack.len(), listpack.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(bytes.len() <= 7 + model.iter().map(|e| size_in_valkey(e)).sum::<usize>());
            prop_assert_eq!((listpack.get(model.len()), listpack.seek(model.len() + 1)), (None, None));
            for (index, string) in model.iter().enumerate() {
                let element = listpack.get(index).unwrap();
                prop_assert!(element.eq(string) && element.len() == string.len());
                prop_assert!(!element.eq(b"not there"));
                let mut out = vec![9];
                element.write_to(&mut out);
                prop_assert_eq!(&out[1..], &string[..]);
                for stride in 1..3 {
                    let expected = (index..model.len()).step_by(stride).find(|&at| model[at] == *string);
                    prop_assert_eq!(listpack.find(string, index % stride, stride).map(|at| at.index),
                        (index % stride..model.len()).step_by(stride).find(|&at| model[at] == *string));
                    let found = listpack.find(string, index, stride).unwrap();
                    prop_assert_eq!(Some(found.index), expected);
                    prop_assert_eq!(Some(found), listpack.seek(found.index));
                }
            }
            // Both ends at once meet in the middle.
            let mut iter = listpack.iter();
            let (mut front, mut back) = (Vec::new(), Vec::new());
            while let Some(element) = iter.next() {
                front.push(element.with(<[u8]>::to_vec));
                back.extend(iter.next_back().map(|element| element.with(<[u8]>::to_vec)));
            }
            front.extend(back.into_iter().rev());
            prop_assert_eq!(front, model);
        }

        /// Bytes from anywhere are refused or readable, never a panic.
        #[test]
        fn validate_stands_any_bytes(
            strings in prop::collection::vec(string(), 0..5),
            damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
            cut in prop::option::of(any::<usize>()),
        ) {
            let mut bytes = pack(&strings);
            for (at, byte) in damage {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut % (bytes.len() + 1));
            }
            if let Some(listpack) = Listpack::validate(&bytes) {
                let forward: Vec<_> = listpack.iter().collect();
                let mut backward: Vec<_> = listpack.iter().rev().collect();
                backward.reverse();
                prop_assert_eq!(forward, backward);
            }
        }
    }
}
