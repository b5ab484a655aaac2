//! The sizes by which the server decides how a list is stored, and its limits. What is stored here is smaller: these are only compared.
//!
//! The server counts bytes of its own listpacks. So that OBJECT ENCODING answers as it does, and so that nodes end where its nodes end, each node
//! keeps the size that the server's would have.

use crate::store::memory::PAGE;
use crate::value::listpack::{Element, Listpack};

/// Bytes of the server's listpack without elements.
pub(in crate::value) const EMPTY: usize = 7;

/// Bytes above which a node is full where its elements are counted, and an element has a node to itself.
const SAFETY: usize = 8192;

/// What an element takes beyond its own bytes, as a node is asked whether it has room.
const OVERHEAD: usize = 8;

/// The bytes that nodes may have where `list-max-listpack-size` is negative: -1 for the first.
const LEVELS: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill(i32);

impl Fill {
    /// The option as it was set.
    pub(crate) fn of_option(value: i64) -> Self {
        Self(i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX }))
    }

    /// As a list with nodes keeps it from when it is made: in 16 bits.
    pub(super) fn of_nodes(self) -> Self {
        Self(self.0.clamp(-(LEVELS.len() as i32), i32::from(i16::MAX)))
    }

    pub(super) fn bits(self) -> u16 {
        self.of_nodes().0 as i16 as u16
    }

    pub(super) fn from_bits(bits: u16) -> Self {
        Self(i32::from(bits as i16))
    }

    /// Bytes and elements that a node may have.
    fn limits(self) -> (usize, usize) {
        match usize::try_from(self.0) {
            Ok(elements) => (usize::MAX, elements.max(1)),
            Err(_) => {
                let level = (self.0.unsigned_abs() as usize - 1).min(LEVELS.len() - 1);
                (LEVELS[level], usize::MAX)
            }
        }
    }

    /// Pages that a node is given when it is no longer short: one or two.
    pub(super) fn pages(self) -> usize {
        if self.limits().0 > PAGE && self.0 < 0 { 2 } else { 1 }
    }

    /// Whether a node of so many bytes and elements is more than one may be.
    pub(super) fn is_exceeded(self, bytes: usize, elements: usize) -> bool {
        match self.limits() {
            (usize::MAX, most) => bytes > SAFETY || elements > most,
            (most, _) => bytes > most,
        }
    }

    /// Whether a list of one node of so many bytes and elements has become small enough for a listpack: by half the limits.
    pub(super) fn is_fallen_below(self, bytes: usize, elements: usize) -> bool {
        let (most_bytes, most_elements) = self.limits();
        bytes <= most_bytes / 2 && elements <= most_elements / 2
    }

    /// The same for one that was made in one piece: by the limits.
    pub(super) fn allows_listpack(self, bytes: usize, elements: usize) -> bool {
        let (most_bytes, most_elements) = self.limits();
        bytes <= most_bytes && elements <= most_elements
    }

    /// Whether an element of so many bytes has a node to itself.
    pub(super) fn is_large(self, len: usize) -> bool {
        match self.limits() {
            (usize::MAX, _) => len > SAFETY,
            (most, _) => len > most,
        }
    }

    /// Whether a node of so many bytes and elements has room for another element.
    pub(super) fn has_room(self, (bytes, elements): (usize, usize), len: usize) -> bool {
        !self.is_large(len) && !self.is_exceeded(bytes + len + OVERHEAD, elements + 1)
    }

    /// Whether two nodes may become one.
    pub(super) fn may_merge(self, left: (usize, usize), right: (usize, usize)) -> bool {
        !self.is_exceeded(left.0 + right.0 - EMPTY, left.1 + right.1)
    }
}

/// Bytes of an element in the server's listpack.
pub(in crate::value) fn of_element(element: Element<'_>) -> usize {
    let encoded = match element {
        Element::Int(0..=127) => 1,
        Element::Int(-4096..=4095) => 2,
        Element::Int(int) => match 65 - (int ^ (int >> 63)).leading_zeros() {
            ..=16 => 3,
            17..=24 => 4,
            25..=32 => 5,
            _ => 9,
        },
        Element::Bytes(bytes) => match bytes.len() {
            len @ ..64 => 1 + len,
            len @ 64..4096 => 2 + len,
            len => 5 + len,
        },
    };
    let behind = match encoded {
        ..=127 => 1,
        128..16383 => 2,
        16383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    encoded + behind
}

/// Bytes of the server's listpack of these elements. O(n).
pub(super) fn of_pack(pack: Listpack<'_>) -> usize {
    EMPTY + pack.iter().map(of_element).sum::<usize>()
}

/// Whether the server's listpack of these elements, and so many raw bytes of `more` elements beside them, is more than `fill` allows. O(1) but near the
/// limit, where it is O(n).
pub(super) fn outgrows(fill: Fill, pack: Listpack<'_>, raw: usize, more: usize) -> bool {
    /// Bytes that an element takes more in the server's listpack, at most; at least it is none.
    const MOST_MORE: usize = 4;
    const HEADS: usize = EMPTY - crate::value::listpack::EMPTY.len();
    let (len, elements) = (pack.bytes_len() + HEADS + raw, pack.len() + more);
    if !fill.is_exceeded(len + MOST_MORE * pack.len(), elements) {
        return false;
    }
    fill.is_exceeded(len, elements) || fill.is_exceeded(of_pack(pack) + raw, elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::patch::Patch;

    fn pack(elements: &[&[u8]]) -> Vec<u8> {
        let mut bytes = crate::value::listpack::EMPTY.to_vec();
        let elements: Vec<_> = elements.iter().map(|bytes| Element::Bytes(bytes)).collect();
        let patch: Patch = Listpack::new(&bytes).splice(Listpack::new(&bytes).end(), 0, &elements);
        patch.apply_to(&mut bytes);
        bytes
    }

    #[test]
    fn an_element_takes_up_to_four_bytes_more_than_here_and_never_less() {
        let mut texts: Vec<Vec<u8>> = (0..200)
            .chain([4094, 4095, 4096, 16_370, 16_384, 70_000, 3_000_000])
            .map(|len| vec![b'x'; len])
            .collect();
        for shift in 0..63 {
            texts.extend([-1_i64, 0, 1].map(|by| ((1_i64 << shift) + by).to_string().into_bytes()));
            texts.extend([-1_i64, 0, 1].map(|by| ((-1_i64 << shift) + by).to_string().into_bytes()));
        }
        for text in &texts {
            let bytes = pack(&[text]);
            let own = bytes.len() - crate::value::listpack::EMPTY.len();
            let server = of_pack(Listpack::new(&bytes)) - EMPTY;
            assert!((own..=own + 4).contains(&server), "{} bytes: {own} {server}", text.len());
        }
    }

    #[test]
    fn limits_are_bytes_or_elements() {
        let fill = |value| Fill::of_option(value);
        assert!(!fill(-2).is_exceeded(8192, 1 << 20) && fill(-2).is_exceeded(8193, 1));
        assert!(!fill(-9).is_exceeded(65_536, 1) && fill(-9).is_exceeded(65_537, 1));
        assert!(!fill(4).is_exceeded(8192, 4) && fill(4).is_exceeded(10, 5) && fill(4).is_exceeded(8193, 1));
        assert!(!fill(0).is_exceeded(10, 1) && fill(0).is_exceeded(10, 2));
        assert!(fill(-2).is_fallen_below(4096, 1 << 20) && !fill(-2).is_fallen_below(4097, 1));
        assert!(fill(5).is_fallen_below(8000, 2) && !fill(5).is_fallen_below(10, 3));
        for value in [-9, -5, -1, 0, 1, 32_767, 100_000] {
            let nodes = fill(value).of_nodes();
            assert_eq!(Fill::from_bits(fill(value).bits()), nodes);
        }
    }
}
