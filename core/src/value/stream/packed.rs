//! A short stream without groups, as bytes that stand in the entry of its key: its numbers, and one node. Most streams begin as this, and a stream that
//! outgrows it goes on as [`super::large`].
//!
//! ```text
//! bytes 0-15   the greatest ID
//! bytes 16-31  the greatest ID that was deleted
//! bytes 32-39  entries ever added
//! bytes 40-55  the node's ID
//! bytes 56-71  the last ID that was added to it
//! bytes 72-75  entries that it has
//! bytes 76-79  bytes of the server's listpack without its two counts
//! bytes 80-83  entries that were deleted from it
//! listpack     as in a large stream's node
//! ```
//! Only what a new one begins as has no node: an empty listpack. A node that the server would keep without entries still has its fields.

use super::id::Id;
use super::large::NodeLimits;
use super::node::{self, Head, Node, Written};
use crate::store::memory::OutOfMemory;
use crate::value::listpack::{self, Listpack};
use crate::value::patch::Patch;

/// Bytes before the listpack.
const NUMBERS: usize = 84;

/// Bytes that any change writes: the numbers, and the listpack's own.
pub(crate) const FRONT: usize = NUMBERS + listpack::COUNT_BYTES;

/// Bytes of the longest one. The server's nodes are of as many, unless told otherwise, so that a stream is mostly large with its second node.
pub(super) const MOST: usize = 4096;

/// What a new one begins as.
pub(crate) const EMPTY: [u8; NUMBERS + listpack::EMPTY.len()] = [0; NUMBERS + listpack::EMPTY.len()];

/// The numbers of a packed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) last: Id,
    pub(super) deleted: Id,
    pub(super) added: u64,
    pub(super) live: u64,
}

fn word(bytes: &[u8], from: usize) -> u64 {
    u64::from_le_bytes(*bytes[from..].first_chunk().expect("the numbers are there"))
}

fn id(bytes: &[u8], from: usize) -> Id {
    Id { ms: word(bytes, from), seq: word(bytes, from + 8) }
}

fn half(bytes: &[u8], from: usize) -> usize {
    u32::from_le_bytes(*bytes[from..].first_chunk().expect("the numbers are there")) as usize
}

impl Numbers {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            last: id(bytes, 0),
            deleted: id(bytes, 16),
            added: word(bytes, 32),
            live: half(bytes, 72) as u64,
        }
    }

    /// With the head of the node, as they stand before the listpack.
    fn bytes(self, node: Head) -> [u8; NUMBERS] {
        let mut bytes = [0; NUMBERS];
        let words = [
            self.last.ms,
            self.last.seq,
            self.deleted.ms,
            self.deleted.seq,
            self.added,
            node.id.ms,
            node.id.seq,
            node.last.ms,
            node.last.seq,
            self.live | (node.body as u64) << 32,
        ];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        bytes[80..].copy_from_slice(&(node.deleted as u32).to_le_bytes());
        bytes
    }
}

/// The one node.
pub(super) fn node(bytes: &[u8]) -> Node<'_> {
    let pack = Listpack::new(&bytes[NUMBERS..]);
    let len = bytes.len() - NUMBERS;
    Node::new(
        Head {
            id: id(bytes, 40),
            last: id(bytes, 56),
            len,
            words: 0,
            body: half(bytes, 76),
            deleted: half(bytes, 80),
        },
        pack,
    )
}

/// A stream of these numbers and of one node.
///
/// # Errors
/// [`OutOfMemory`].
pub(super) fn packed(numbers: Numbers, node: &Node<'_>) -> Result<Vec<u8>, OutOfMemory> {
    let pack = node.bytes();
    let mut bytes = crate::alloc::with_room_for(NUMBERS + pack.len()).map_err(|_| OutOfMemory)?;
    bytes.extend_from_slice(&numbers.bytes(node.head));
    bytes.extend_from_slice(pack);
    Ok(bytes)
}

/// Bytes that a stream of this node would have.
pub(super) fn len_of(node: &Node<'_>) -> usize {
    NUMBERS + node.bytes().len()
}

/// Works out what a packed stream is with another entry, and its ID, which `next` makes of the greatest one. `fields`: fields and values, in turn.
/// `None`: there is no ID, no memory, or it would be packed no longer. O(bytes of the entry, and of the names of fields).
pub(crate) fn adding(
    bytes: &[u8],
    next: impl FnOnce(Id) -> Option<Id>,
    fields: &[&[u8]],
    limits: NodeLimits,
) -> Option<(Patch<FRONT>, Id)> {
    let (mut numbers, node) = (Numbers::of(bytes), node(bytes));
    let id = next(numbers.last)?;
    let mut elements = Written::new();
    let head = if node.is_begun() {
        let more = fields.iter().map(|text| text.len()).sum();
        if limits.is_full(node.head.server_bytes(numbers.live), node.head.entries(numbers.live), more) {
            return None;
        }
        node.next(id, fields, &mut elements).ok()?
    } else {
        node::first(id, fields, &mut elements).ok()?
    };
    let patch = node.splice_end(&elements);
    numbers = Numbers { last: id, added: numbers.added.wrapping_add(1), live: numbers.live + 1, ..numbers };
    let mut front = [0; FRONT];
    let (to_numbers, to_count) = front.split_at_mut(NUMBERS);
    to_numbers.copy_from_slice(&numbers.bytes(head));
    to_count.copy_from_slice(&(patch.count_after() as u32).to_le_bytes());
    let patch = patch.behind(NUMBERS, front);
    (patch.len_after(bytes.len()) <= MOST).then_some((patch, id))
}
