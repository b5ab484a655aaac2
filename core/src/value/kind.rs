//! Kinds: type and encoding of a value in one number, and values on their way into an entry.
//!
//! Where the bytes of a value are kept is the keyspace's affair.

use super::Owned;

/// Type and encoding of a value, in five bits of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// String: a 64-bit integer.
    Int = 0,
    /// Hash: a listpack in the entry.
    HashPacked = 1,
    /// String: bytes that arrived in one piece and are short (`embstr`).
    Embedded = 2,
    /// String: bytes in the entry. Both kinds of text differ in the lowest bit alone, so that one comparison tells them from the rest.
    Raw = 3,
    /// String: bytes in pages of their own.
    Long = 4,
    /// Hash: a table; its root stands in the entry.
    HashTable = 5,
}

impl Kind {
    /// What short texts are, both of them.
    pub(crate) const TEXTS: [Kind; 2] = [Kind::Embedded, Kind::Raw];

    /// The bits of a header that hold a kind.
    pub(crate) const MASK: u64 = 0x1f;

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Kind {
        match bits & Kind::MASK {
            0 => Kind::Int,
            1 => Kind::HashPacked,
            2 => Kind::Embedded,
            3 => Kind::Raw,
            4 => Kind::Long,
            5 => Kind::HashTable,
            other => unreachable!("no kind {other}: headers are only written from kinds"),
        }
    }

    /// Whether the value may have memory beside its entry.
    #[inline]
    pub(crate) fn owns(self) -> bool {
        matches!(self, Kind::Long | Kind::HashTable)
    }
}

/// A value on its way into an entry.
#[derive(Debug)]
pub(crate) enum NewValue<'a> {
    /// Bytes of a string or a packed collection.
    Bytes(Kind, &'a [u8]),
    /// An integer string.
    Int(i64),
    /// A value with memory of its own.
    Owned(Owned),
}

/// Strings and packed collections above this many bytes stand in no entry.
pub(crate) const MAX_IN_ARENA: usize = 64 * 1024;
