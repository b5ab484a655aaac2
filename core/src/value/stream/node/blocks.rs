//! The blocks in which a large stream's nodes stand: made, changed where they stand or in another block, and freed.

use smallvec::SmallVec;

use super::super::id::Id;
use super::{HEAD, Head, Node, Written, first};
use crate::store::collection::{Collection, View};
use crate::store::memory::chunks::PAGE_WORDS;
use crate::store::memory::{OutOfMemory, Ref};
use crate::value::editing::Splice;
use crate::value::listpack::{self, Listpack};
use crate::value::patch::Patch;

/// A node with one entry, in a block of at least so many words, if it is not longer than a page.
///
/// # Errors
/// [`OutOfMemory`].
pub(in crate::value::stream) fn create(
    collection: &mut Collection,
    id: Id,
    fields: &[&[u8]],
    room: usize,
) -> Result<Ref, OutOfMemory> {
    let mut elements = Written::new();
    let mut head = first(id, fields, &mut elements)?;
    let empty = Listpack::new(&listpack::EMPTY);
    let patch = empty.splice(empty.end(), 0, &elements);
    head.len = patch.len_after(listpack::EMPTY.len());
    let mut pack = with_room_for(head.len)?;
    pack.extend_from_slice(&listpack::EMPTY);
    patch.apply_to(&mut pack);
    let needed = head.needed_words();
    head.words = if needed > PAGE_WORDS {
        needed.next_multiple_of(PAGE_WORDS)
    } else {
        needed.max(room.min(PAGE_WORDS))
    };
    store(collection, head, &pack)
}

fn with_room_for<T>(items: usize) -> Result<Vec<T>, OutOfMemory> {
    crate::alloc::with_room_for(items).map_err(|_| OutOfMemory)
}

/// A node in a block of its own.
///
/// # Errors
/// [`OutOfMemory`].
pub(in crate::value::stream) fn store(
    collection: &mut Collection,
    head: Head,
    pack: &[u8],
) -> Result<Ref, OutOfMemory> {
    let block = collection.alloc(head.words)?;
    head.write(collection.view(), block);
    collection.write(block, HEAD, [pack]);
    Ok(block)
}

/// Adds an entry behind the others. A node that outgrows its block gets another that is about as long as nodes become: `usual` knows. Returns where the node is: the same block, or another one; then the old one is as it was, and the caller's to free.
///
/// # Errors
/// [`OutOfMemory`]; nothing has changed.
pub(in crate::value::stream) fn append(
    collection: &mut Collection,
    block: Ref,
    (id, fields): (Id, &[&[u8]]),
    usual: fn(View<'_>) -> usize,
) -> Result<Ref, OutOfMemory> {
    let node = Node::of(collection.view(), block);
    let mut elements = Written::new();
    let head = node.next(id, fields, &mut elements)?;
    let patch = node.splice_end(&elements);
    change(collection, block, head, (&patch, usual))
}

/// Takes an entry out of a node that has others, as [`append`] does. `None`: it is not there.
///
/// # Errors
/// As there.
pub(in crate::value::stream) fn delete(
    collection: &mut Collection,
    block: Ref,
    id: Id,
) -> Result<Option<Ref>, OutOfMemory> {
    let node = Node::of(collection.view(), block);
    let Some((at, count)) = node.find(id) else { return Ok(None) };
    take(collection, block, (at, count), 1).map(Some)
}

/// Takes the first entries out of a node, as [`append`] does: so many.
///
/// # Errors
/// As there.
pub(in crate::value::stream) fn delete_first(
    collection: &mut Collection,
    block: Ref,
    entries: usize,
) -> Result<Ref, OutOfMemory> {
    let node = Node::of(collection.view(), block);
    let (at, count) = (1 + node.fields, node.elements_of_first(entries));
    take(collection, block, (at, count), entries)
}

fn take(
    collection: &mut Collection,
    block: Ref,
    (at, count): (usize, usize),
    entries: usize,
) -> Result<Ref, OutOfMemory> {
    let node = Node::of(collection.view(), block);
    let patch = node.pack.splice(node.pack.seek(at).expect("the elements are there"), count, &[]);
    let head = Head { deleted: node.head.deleted + entries, ..node.head };
    change(collection, block, head, (&patch, |_| 0))
}

/// Words of a block for a node that has outgrown one.
fn grown(needed: usize, is_small: bool) -> usize {
    match needed {
        // It can be lengthened again where it stands.
        _ if is_small => needed + (needed / 16).max(2),
        ..=PAGE_WORDS => (needed + needed / 4).clamp(16, PAGE_WORDS),
        _ => (needed + needed / 2).next_multiple_of(PAGE_WORDS),
    }
}

/// Changes the listpack of a node, whose head is to be this one, but for its lengths.
fn change(
    collection: &mut Collection,
    block: Ref,
    mut head: Head,
    (patch, usual): (&Patch, fn(View<'_>) -> usize),
) -> Result<Ref, OutOfMemory> {
    let before = head.len;
    head.len = patch.len_after(before);
    let needed = head.needed_words();
    if needed > head.words {
        let words = grown(needed, !collection.is_in_pages());
        if !collection.extend(block, head.words, words - head.words) {
            head.words = grown(needed, false).max(usual(collection.view()).min(PAGE_WORDS));
            return store_anew(collection, block, head, (patch, before));
        }
        head.words = words;
    } else if head.len < before
        && needed * 3 < head.words
        && let Ok(shorter) =
            store_anew(collection, block, Head { words: rounded(needed), ..head }, (patch, before))
    {
        return Ok(shorter);
    }
    collection.own(block)?;
    let mut at = InBlock { collection, block, len: before };
    patch.apply_to(&mut at);
    head.write(collection.view(), block);
    Ok(block)
}

fn rounded(needed: usize) -> usize {
    if needed > PAGE_WORDS { needed.next_multiple_of(PAGE_WORDS) } else { needed }
}

fn store_anew(
    collection: &mut Collection,
    block: Ref,
    head: Head,
    (patch, before): (&Patch, usize),
) -> Result<Ref, OutOfMemory> {
    let mut pack = with_room_for(before.max(head.len))?;
    pack.extend_from_slice(collection.view().bytes(block, HEAD, before));
    patch.apply_to(&mut pack);
    store(collection, head, &pack)
}

/// Gives a node that will not grow any more no more room than it needs. Returns the words of its block. The way to it is the tree's own.
pub(in crate::value::stream) fn fit(collection: &mut Collection, block: Ref) -> usize {
    let mut head = Head::of(collection.view(), block);
    let (words, needed) = (head.words, head.needed_words());
    if words > PAGE_WORDS || needed == words || collection.own(block).is_err() {
        return needed;
    }
    head.words = needed;
    head.write(collection.view(), block);
    collection.shorten(block, words, needed);
    needed
}

/// A copy of a node of another collection.
///
/// # Errors
/// [`OutOfMemory`].
pub(in crate::value::stream) fn copy(
    view: View<'_>,
    block: Ref,
    to: &mut Collection,
) -> Result<Ref, OutOfMemory> {
    let head = Head::of(view, block);
    let head = Head { words: rounded(head.needed_words()), ..head };
    store(to, head, view.bytes(block, HEAD, head.len))
}

/// Gives the block of a node back.
pub(in crate::value::stream) fn free(collection: &mut Collection, block: Ref) {
    let words = Head::of(collection.view(), block).words;
    collection.free(block, words);
}

/// The listpack of a node where it stands, in a block of its stream's own that is long enough for what becomes of it.
struct InBlock<'c> {
    collection: &'c mut Collection,
    block: Ref,
    len: usize,
}

impl InBlock<'_> {
    /// Moves `len` bytes, a piece at a time, from the end that is not written over.
    fn shift(&mut self, from: usize, to: usize, len: usize) {
        const PIECE: usize = 1024;
        let mut moved = 0;
        while moved < len && from != to {
            let piece = PIECE.min(len - moved);
            let at = if to < from { moved } else { len - moved - piece };
            let bytes: SmallVec<[u8; PIECE]> =
                SmallVec::from_slice(self.collection.view().bytes(self.block, HEAD + from + at, piece));
            self.collection.write(self.block, HEAD + to + at, [&bytes]);
            moved += piece;
        }
    }
}

impl Splice for InBlock<'_> {
    fn bytes(&self) -> &[u8] {
        self.collection.view().bytes(self.block, HEAD, self.len)
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        self.shift(at + removed, at + new.len(), self.len - at - removed);
        self.collection.write(self.block, HEAD + at, [new]);
        self.len = self.len - removed + new.len();
    }
}
