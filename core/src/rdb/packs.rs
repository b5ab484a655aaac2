//! The server's packed collections: listpacks and intsets, read and written, and ziplists and zipmaps, which only older servers wrote.
//!
//! Each is one string. What is read may be anybody's: every length is checked, and what stands at the end has to be the end.

use super::decoder::{Damage, Result};
use crate::alloc;
use crate::error;
use crate::value::listpack::Element;

const END: u8 = 0xff;

/// A pack whose elements are read one after the other.
pub(super) struct Pack<'a> {
    left: &'a [u8],
    next: Next,
    /// What the pack says; `None` if it can't say.
    count: Option<u64>,
    read: u64,
}

type Next = for<'a> fn(&mut &'a [u8]) -> Option<Element<'a>>;

const WRONG: Damage = Damage::Data("a packed collection is damaged");

fn take<'a>(left: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(len)?;
    *left = rest;
    Some(taken)
}

fn take_array<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*taken)
}

/// A little-endian integer of up to eight bytes, two's complement.
fn integer(left: &mut &[u8], len: usize) -> Option<i64> {
    let mut bytes = [0; 8];
    bytes[8 - len..].copy_from_slice(take(left, len)?);
    Some(i64::from_le_bytes(bytes) >> (64 - 8 * len))
}

impl<'a> Pack<'a> {
    /// A listpack: bytes (u32) | elements (u16) | elements | end.
    pub(super) fn listpack(bytes: &'a [u8]) -> Result<Self> {
        Self::framed(bytes, 6, 4, listpack_element).ok_or(WRONG)
    }

    /// A ziplist: bytes (u32) | where the last element is (u32) | elements (u16) | elements | end.
    pub(super) fn ziplist(bytes: &'a [u8]) -> Result<Self> {
        Self::framed(bytes, 10, 8, ziplist_element).ok_or(WRONG)
    }

    fn framed(bytes: &'a [u8], head: usize, count_at: usize, next: Next) -> Option<Self> {
        /// There are so many elements or more.
        const UNKNOWN: u16 = u16::MAX;
        let [len, count] = [bytes.first_chunk::<4>()?.as_slice(), bytes.get(count_at..)?.get(..2)?];
        let len = u32::from_le_bytes(*len.first_chunk()?);
        let count = u16::from_le_bytes(*count.first_chunk()?);
        let (end, left) = bytes.get(head..)?.split_last()?;
        let is_whole = len as usize == bytes.len() && *end == END;
        let count = (count != UNKNOWN).then_some(count.into());
        is_whole.then_some(Self { left, next, count, read: 0 })
    }

    /// A zipmap: elements (u8) | (key length | key | value length | room behind it (u8) | value | room) ... | end. Keys and values are its elements, in turn.
    pub(super) fn zipmap(bytes: &'a [u8]) -> Result<ZipMap<'a>> {
        match bytes {
            [_, left @ .., END] => Ok(ZipMap { left, is_value: false }),
            _ => Err(WRONG),
        }
    }

    /// Elements that it says it has, or that it has had up to now.
    pub(super) fn expected(&self) -> u64 {
        self.count.unwrap_or(self.read)
    }

    /// The next element; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>> {
        if self.left.is_empty() {
            let is_all = self.count.is_none_or(|count| count == self.read);
            return if is_all { Ok(None) } else { Err(WRONG) };
        }
        self.read += 1;
        (self.next)(&mut self.left).map(Some).ok_or(WRONG)
    }

    /// The next two elements; `None` at the end.
    pub(super) fn next_two(&mut self) -> Result<Option<(Element<'a>, Element<'a>)>> {
        let Some(one) = self.next()? else { return Ok(None) };
        Ok(Some((one, self.next()?.ok_or(WRONG)?)))
    }

    /// The next element, which is an integer.
    pub(super) fn next_int(&mut self) -> Result<i64> {
        match self.next()? {
            Some(Element::Int(int)) => Ok(int),
            _ => Err(Damage::Data("a listpack has no number where one has to be")),
        }
    }
}

/// The elements of a zipmap.
pub(super) struct ZipMap<'a> {
    left: &'a [u8],
    is_value: bool,
}

impl<'a> ZipMap<'a> {
    /// The next key and value; `None` at the end.
    pub(super) fn next_two(&mut self) -> Result<Option<(Element<'a>, Element<'a>)>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let two = self.text().and_then(|key| self.text().map(|value| (key, value)));
        two.map(Some).ok_or(WRONG)
    }

    fn text(&mut self) -> Option<Element<'a>> {
        const LONG: u8 = 254;
        let len = match take_array(&mut self.left)? {
            [END] => return None,
            [LONG] => u32::from_le_bytes(take_array(&mut self.left)?) as usize,
            [len] => len.into(),
        };
        let [room] = if self.is_value { take_array(&mut self.left)? } else { [0] };
        self.is_value = !self.is_value;
        let text = take(&mut self.left, len)?;
        take(&mut self.left, room.into())?;
        Some(Element::of(text))
    }
}

/// The encodings of a listpack's elements, by their first bytes.
mod listpack {
    /// Up to here a byte is the integer that it encodes.
    pub(super) const INT_7: u8 = 0x7f;
    pub(super) const STRING_6: u8 = 0x80;
    pub(super) const INT_13: u8 = 0xc0;
    pub(super) const STRING_12: u8 = 0xe0;
    pub(super) const STRING_32: u8 = 0xf0;
    pub(super) const INT_16: u8 = 0xf1;
    pub(super) const INT_24: u8 = 0xf2;
    pub(super) const INT_32: u8 = 0xf3;
    pub(super) const INT_64: u8 = 0xf4;
}

/// An element of a listpack: encoding | content | how many bytes these are, to be read backwards.
fn listpack_element<'a>(left: &mut &'a [u8]) -> Option<Element<'a>> {
    let before = left.len();
    let [first] = take_array(left)?;
    let element = match first {
        ..=listpack::INT_7 => Element::Int(first.into()),
        listpack::STRING_6..listpack::INT_13 => Element::of(take(left, (first & 0x3f).into())?),
        listpack::INT_13..listpack::STRING_12 => {
            let [low] = take_array(left)?;
            let bits = u16::from(first & 0x1f) << 8 | u16::from(low);
            Element::Int(((bits << 3) as i16 >> 3).into())
        }
        listpack::STRING_12..listpack::STRING_32 => {
            let [low] = take_array(left)?;
            Element::of(take(left, usize::from(first & 0xf) << 8 | usize::from(low))?)
        }
        listpack::STRING_32 => {
            let len = u32::from_le_bytes(take_array(left)?);
            Element::of(take(left, len as usize)?)
        }
        listpack::INT_16 => Element::Int(integer(left, 2)?),
        listpack::INT_24 => Element::Int(integer(left, 3)?),
        listpack::INT_32 => Element::Int(integer(left, 4)?),
        listpack::INT_64 => Element::Int(integer(left, 8)?),
        _ => return None,
    };
    let (behind, count) = backwards(before - left.len());
    (take(left, count)? == &behind[5 - count..]).then_some(element)
}

/// A length that is read backwards: seven bits a byte, the lowest last, and a bit in all but the first that there is more. In the last so many bytes.
fn backwards(len: usize) -> ([u8; 5], usize) {
    let count = match len {
        ..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut bytes = [0; 5];
    for at in 0..count {
        let more = if at + 1 < count { 0x80 } else { 0 };
        bytes[4 - at] = (len >> (7 * at)) as u8 & 0x7f | more;
    }
    (bytes, count)
}

/// An element of a ziplist: length of the one before it | encoding | content.
fn ziplist_element<'a>(left: &mut &'a [u8]) -> Option<Element<'a>> {
    const LONG: u8 = 254;
    match take_array(left)? {
        [END] => return None,
        [LONG] => drop(take_array::<4>(left)?),
        [_] => {}
    }
    let [first] = take_array(left)?;
    Some(match first {
        ..0x40 => Element::of(take(left, first.into())?),
        0x40..0x80 => {
            let [low] = take_array(left)?;
            Element::of(take(left, usize::from(first & 0x3f) << 8 | usize::from(low))?)
        }
        0x80..0xc0 => {
            let len = u32::from_be_bytes(take_array(left)?);
            Element::of(take(left, len as usize)?)
        }
        0xc0 => Element::Int(integer(left, 2)?),
        0xd0 => Element::Int(integer(left, 4)?),
        0xe0 => Element::Int(integer(left, 8)?),
        0xf0 => Element::Int(integer(left, 3)?),
        0xfe => Element::Int(integer(left, 1)?),
        // One more than the integer.
        0xf1..=0xfd => Element::Int(i64::from(first & 0xf) - 1),
        _ => return None,
    })
}

/// A listpack that is being written.
pub(super) struct PackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl PackWriter {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 6], count: 0 }
    }

    /// Appends an element.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn push(&mut self, element: Element<'_>) -> error::Result<()> {
        /// What a string takes beside its bytes, at most.
        const AROUND: usize = 10;
        let room = AROUND + if let Element::Bytes(bytes) = element { bytes.len() } else { 0 };
        self.bytes.try_reserve(room).map_err(|_| error::Error::no_memory())?;
        let before = self.bytes.len();
        match element {
            Element::Int(int) => self.push_int(int),
            Element::Bytes(bytes) => {
                match bytes.len() {
                    len @ ..64 => self.bytes.push(listpack::STRING_6 | len as u8),
                    len @ 64..4096 => {
                        self.bytes.extend([listpack::STRING_12 | (len >> 8) as u8, len as u8]);
                    }
                    len => {
                        self.bytes.push(listpack::STRING_32);
                        self.bytes.extend((len as u32).to_le_bytes());
                    }
                }
                self.bytes.extend_from_slice(bytes);
            }
        }
        let (behind, count) = backwards(self.bytes.len() - before);
        self.bytes.extend_from_slice(&behind[5 - count..]);
        self.count += 1;
        Ok(())
    }

    fn push_int(&mut self, int: i64) {
        let (encoding, len) = match int {
            0..=127 => return self.bytes.push(int as u8),
            -4096..=4095 => {
                let bits = int as u16 & 0x1fff;
                return self.bytes.extend([listpack::INT_13 | (bits >> 8) as u8, bits as u8]);
            }
            -0x8000..=0x7fff => (listpack::INT_16, 2),
            -0x80_0000..=0x7f_ffff => (listpack::INT_24, 3),
            -0x8000_0000..=0x7fff_ffff => (listpack::INT_32, 4),
            _ => (listpack::INT_64, 8),
        };
        self.bytes.push(encoding);
        self.bytes.extend_from_slice(&int.to_le_bytes()[..len]);
    }

    /// The whole.
    ///
    /// # Errors
    /// There is no memory, or it is longer than a listpack can be.
    pub(super) fn finish(mut self) -> error::Result<Vec<u8>> {
        self.bytes.try_reserve(1).map_err(|_| error::Error::no_memory())?;
        self.bytes.push(END);
        let len = u32::try_from(self.bytes.len()).map_err(|_| error::Error::too_long())?;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[4..6].copy_from_slice(&count.to_le_bytes());
        Ok(self.bytes)
    }
}

/// An intset of integers in order: bytes of each (u32) | number (u32) | integers.
///
/// # Errors
/// There is no memory.
pub(super) fn intset(ints: impl ExactSizeIterator<Item = i64> + Clone) -> error::Result<Vec<u8>> {
    let width = ints.clone().map(width_of).max().unwrap_or(2);
    let mut bytes = alloc::with_room_for(8 + width * ints.len())?;
    bytes.extend((width as u32).to_le_bytes());
    bytes.extend((ints.len() as u32).to_le_bytes());
    ints.for_each(|int| bytes.extend_from_slice(&int.to_le_bytes()[..width]));
    Ok(bytes)
}

fn width_of(int: i64) -> usize {
    if i16::try_from(int).is_ok() {
        2
    } else if i32::try_from(int).is_ok() {
        4
    } else {
        8
    }
}

/// The integers of an intset.
pub(super) fn ints_of(bytes: &[u8]) -> Result<impl ExactSizeIterator<Item = i64> + '_> {
    const WRONG: Damage = Damage::Data("an intset is damaged");
    let (width, rest) = bytes.split_first_chunk().ok_or(WRONG)?;
    let (count, rest) = rest.split_first_chunk().ok_or(WRONG)?;
    let (width, count) = (u32::from_le_bytes(*width) as usize, u32::from_le_bytes(*count) as usize);
    if ![2, 4, 8].contains(&width) || !rest.len().is_multiple_of(width) || rest.len() / width != count {
        return Err(WRONG);
    }
    let ints = rest.chunks_exact(width).map(move |mut int| integer(&mut int, width).unwrap_or_default());
    // It is searched by halves: those out of order would never be found.
    if !ints.clone().is_sorted_by(|one, next| one < next) {
        return Err(WRONG);
    }
    Ok(ints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(pack: Result<Pack<'_>>) -> Option<Vec<Vec<u8>>> {
        let mut pack = pack.ok()?;
        let mut all = Vec::new();
        while let Some(element) = pack.next().ok()? {
            all.push(element.with(<[u8]>::to_vec));
        }
        Some(all)
    }

    fn texts() -> Vec<Vec<u8>> {
        let strings = [0, 1, 63, 64, 4095, 4096, 16_380, 70_000].map(|len| vec![b'x'; len]);
        let ints = (0..63).flat_map(|shift| [-1_i64, 0, 1].map(|by| (1_i64 << shift) + by));
        let ints = ints.flat_map(|int| [int, -int]).chain([i64::MIN, i64::MAX]);
        ints.map(|int| int.to_string().into_bytes()).chain(strings).collect()
    }

    #[test]
    fn a_listpack_is_read_as_it_was_written_and_no_part_of_it() {
        let texts = texts();
        let mut pack = PackWriter::new();
        texts.iter().for_each(|text| pack.push(Element::of(text)).unwrap());
        let bytes = pack.finish().unwrap();
        assert_eq!(elements(Pack::listpack(&bytes)), Some(texts));
        let mut short = PackWriter::new();
        ["a", "300", "-70000", "text"]
            .iter()
            .for_each(|text| short.push(Element::of(text.as_bytes())).unwrap());
        let bytes = short.finish().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(elements(Pack::listpack(&bytes[..len])), None, "{len} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(END);
        assert_eq!(elements(Pack::listpack(&longer)), None);
    }

    #[test]
    fn bytes_of_9_1_2_are_written() {
        let mut pack = PackWriter::new();
        ["f", "1", "g", "x"].iter().for_each(|text| pack.push(Element::of(text.as_bytes())).unwrap());
        assert_eq!(
            pack.finish().unwrap(),
            b"\x12\x00\x00\x00\x04\x00\x81f\x02\x01\x01\x81g\x02\x81x\x02\xff"
        );
        let ints = intset([1, 70_000].into_iter()).unwrap();
        assert_eq!(ints, b"\x04\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00p\x11\x01\x00");
    }

    #[test]
    fn ziplists_and_zipmaps_are_read() {
        // Of Redis 6: `ZADD z 1 one -2 two`, a list of all widths, and `HSET` of 2.4.
        let ziplist = b"\x21\x00\x00\x00\x1b\x00\x00\x00\x04\x00\x00\x03two\x05\xfe\xfe\x03\x03one\x05\xf2\x02\xc0\x00\x01\xff";
        let mut whole = ziplist.to_vec();
        whole[0] = whole.len() as u8;
        whole[8] = 5;
        let expected: Vec<Vec<u8>> =
            ["two", "-2", "one", "1", "256"].map(|text| text.as_bytes().to_vec()).to_vec();
        assert_eq!(elements(Pack::ziplist(&whole)), Some(expected));
        for len in 0..whole.len() {
            assert_eq!(elements(Pack::ziplist(&whole[..len])), None, "{len} bytes");
        }
        let zipmap = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff";
        let mut map = Pack::zipmap(zipmap).unwrap();
        let mut read = Vec::new();
        while let Some((key, value)) = map.next_two().unwrap() {
            read.extend([key, value]);
        }
        assert_eq!(read, [&b"foo"[..], b"bar", b"hello", b"world"].map(Element::of));
        assert!(Pack::zipmap(b"\x01\x03fo\xff").unwrap().next_two().is_err());
    }

    #[test]
    fn intsets_are_in_order_and_whole() {
        for ints in [vec![], vec![-5, 7], vec![i64::from(i32::MIN), 3], vec![i64::MIN, 0, i64::MAX]] {
            let bytes = intset(ints.iter().copied()).unwrap();
            assert_eq!(ints_of(&bytes).unwrap().collect::<Vec<_>>(), ints);
            assert!(ints_of(&bytes[..bytes.len() - 1]).is_err());
        }
        for wrong in [
            &b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0"[..],
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x03\0\0\0\0\0\0\0",
        ] {
            assert!(ints_of(wrong).is_err());
        }
    }
}
