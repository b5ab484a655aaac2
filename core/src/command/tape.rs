//! Reads the tape form of replies: a tag byte, then per tag
//!
//! ```text
//! null, ok, null array      nothing
//! simple, bulk, big number,
//! verbatim                  u32 length, bytes (verbatim: format, ':', text)
//! error                     u8 kind, u32 length, bytes
//! integer, double           eight bytes
//! boolean                   one byte
//! array, set, push          u32 count, then that many items
//! map                       u32 pairs, then twice as many items
//! ```
//!
//! All numbers are little-endian. Bindings with their own decoder (Python, Node) follow this page.

use super::reply::tag;

/// A reply decoded from a tape, borrowing its strings.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named after RESP's types")]
pub enum Item<'t> {
    Null,
    NullArray,
    Simple(&'t [u8]),
    Bulk(&'t [u8]),
    Integer(i64),
    Error {
        /// Number of the `ErrorKind`.
        kind: u8,
        /// The whole text.
        text: &'t [u8],
    },
    Double(f64),
    Boolean(bool),
    /// Format, colon and text.
    Verbatim(&'t [u8]),
    BigNumber(&'t [u8]),
    Array(Vec<Item<'t>>),
    /// Keys and values in turn.
    Map(Vec<Item<'t>>),
    Set(Vec<Item<'t>>),
    Push(Vec<Item<'t>>),
}

impl<'t> Item<'t> {
    /// Whether the item at the start of a tape is a push, without reading it.
    pub fn is_push(tape: &[u8]) -> bool {
        tape.first() == Some(&tag::PUSH)
    }

    /// Reads one item and returns it with what stands behind it; `None` if the tape ends within, or there is no memory for the items of
    /// an array.
    pub fn read(tape: &'t [u8]) -> Option<(Item<'t>, &'t [u8])> {
        let (head, rest) = tape.split_first()?;
        Some(match *head {
            tag::NULL => (Item::Null, rest),
            tag::NULL_ARRAY => (Item::NullArray, rest),
            tag::OK => (Item::Simple(b"OK"), rest),
            tag::SIMPLE => bytes(rest, Item::Simple)?,
            tag::BULK => bytes(rest, Item::Bulk)?,
            tag::VERBATIM => bytes(rest, Item::Verbatim)?,
            tag::BIG_NUMBER => bytes(rest, Item::BigNumber)?,
            tag::ERROR => {
                let (kind, rest) = rest.split_first()?;
                bytes(rest, |text| Item::Error { kind: *kind, text })?
            }
            tag::INTEGER => word(rest, |word| Item::Integer(word as i64))?,
            tag::DOUBLE => word(rest, |word| Item::Double(f64::from_bits(word)))?,
            tag::BOOLEAN => {
                let (value, rest) = rest.split_first()?;
                (Item::Boolean(*value != 0), rest)
            }
            tag::ARRAY => items(rest, 1, Item::Array)?,
            tag::MAP => items(rest, 2, Item::Map)?,
            tag::SET => items(rest, 1, Item::Set)?,
            tag::PUSH => items(rest, 1, Item::Push)?,
            _ => return None,
        })
    }
}

fn length(tape: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = tape.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length) as usize, rest))
}

fn bytes<'t>(tape: &'t [u8], make: impl FnOnce(&'t [u8]) -> Item<'t>) -> Option<(Item<'t>, &'t [u8])> {
    let (length, rest) = length(tape)?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((make(bytes), rest))
}

fn word<'t>(tape: &'t [u8], make: impl FnOnce(u64) -> Item<'t>) -> Option<(Item<'t>, &'t [u8])> {
    let (word, rest) = tape.split_first_chunk::<8>()?;
    Some((make(u64::from_le_bytes(*word)), rest))
}

fn items<'t>(
    tape: &'t [u8],
    per_count: usize,
    make: impl FnOnce(Vec<Item<'t>>) -> Item<'t>,
) -> Option<(Item<'t>, &'t [u8])> {
    let (count, mut rest) = length(tape)?;
    let mut items = Vec::new();
    for _ in 0..count * per_count {
        let (item, behind) = Item::read(rest)?;
        items.try_reserve(1).ok()?;
        items.push(item);
        rest = behind;
    }
    Some((make(items), rest))
}
