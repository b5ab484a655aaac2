//! The nodes of a large list: blocks of its collection, each with a listpack, or with one element that is too large for any.
//! Which nodes there are, and in which order, is [`super::large`]'s affair.
//!
//! ```text
//! first byte (u32) | length (u32) | the server's size (u32) | words of the block (u32), top bit: one element | room | content | room
//! ```
//! There is room on either side, so that pushing and popping moves nothing at either end; an edit in the middle moves what is shorter.

use smallvec::SmallVec;

use super::sizes;
use crate::store::collection::{Collection, View};
use crate::store::memory::chunks::PAGE_WORDS;
use crate::store::memory::{OutOfMemory, Ref};
use crate::value::editing::Splice;
use crate::value::listpack::{Element, Listpack};
use crate::value::patch::Patch;

const HEAD: usize = 16;
const HEAD_WORDS: usize = HEAD / 8;
const PLAIN: u32 = 1 << 31;

/// What stands before a node's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    start: usize,
    len: usize,
    /// Bytes of the server's listpack of the elements, or of the one element.
    pub(super) size: usize,
    words: usize,
    /// It is one element that is too large for listpacks.
    pub(super) is_plain: bool,
}

impl Head {
    pub(super) fn of(view: View<'_>, block: Ref) -> Self {
        let bytes = view.bytes(block, 0, HEAD);
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Self {
            start: number(0) as usize,
            len: number(4) as usize,
            size: number(8) as usize,
            words: (number(12) & !PLAIN) as usize,
            is_plain: number(12) & PLAIN != 0,
        }
    }

    fn bytes(self) -> [u8; HEAD] {
        let words = self.words as u32 | if self.is_plain { PLAIN } else { 0 };
        let numbers = [self.start as u32, self.len as u32, self.size as u32, words];
        let mut bytes = [0; HEAD];
        bytes
            .chunks_exact_mut(4)
            .zip(numbers)
            .for_each(|(to, number)| to.copy_from_slice(&number.to_le_bytes()));
        bytes
    }

    /// Bytes that the content may have.
    fn room(self) -> usize {
        (self.words - HEAD_WORDS) * 8
    }

    /// Whether the block is far longer than it needs to be with a content of `len` bytes: one of a smaller class would hold twice as much.
    fn is_roomy(self, len: usize) -> bool {
        class_of(HEAD_WORDS + (2 * len).div_ceil(8)).is_some_and(|class| class < self.words)
    }
}

/// The elements of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    Pack(Listpack<'a>),
    Plain(&'a [u8]),
}

impl<'a> Content<'a> {
    pub(super) fn of(view: View<'a>, block: Ref) -> Self {
        Self::at(view, block, Head::of(view, block))
    }

    /// Those of a node whose head is known.
    pub(super) fn at(view: View<'a>, block: Ref, head: Head) -> Self {
        let bytes = view.bytes(block, HEAD + head.start, head.len);
        if head.is_plain { Self::Plain(bytes) } else { Self::Pack(Listpack::new(bytes)) }
    }

    pub(super) fn get(self, at: usize) -> Option<Element<'a>> {
        match self {
            Self::Pack(pack) => pack.get(at),
            Self::Plain(bytes) => (at == 0).then_some(Element::Bytes(bytes)),
        }
    }

    /// Visits the elements from number `at` on, in either direction, until `visit` says no. Says whether it never did. O(elements).
    pub(super) fn each(
        self,
        at: usize,
        backwards: bool,
        visit: &mut impl FnMut(Element<'a>) -> bool,
    ) -> bool {
        match self {
            Self::Plain(bytes) => visit(Element::Bytes(bytes)),
            Self::Pack(pack) if backwards => {
                let end = pack.seek(at + 1).expect("the element is there");
                pack.iter_until(end).rev().all(visit)
            }
            Self::Pack(pack) => pack.iter_from(pack.seek(at).expect("the element is there")).all(visit),
        }
    }
}

/// Words of the blocks of short nodes. There are few classes, so that a block that a node has outgrown is the next node's.
const CLASSES: [usize; 3] = [16, 64, 256];

fn class_of(words: usize) -> Option<usize> {
    CLASSES.into_iter().find(|class| words <= *class)
}

/// What a node is expected to grow to.
#[derive(Clone, Copy)]
pub(super) enum Growth {
    /// Not beyond what it is.
    None,
    /// Some, at both ends. One that is no longer short gets so many pages at least.
    Some { pages: usize },
}

/// Words of a block for so many bytes.
fn words_for(len: usize, growth: Growth) -> usize {
    let exact = HEAD_WORDS + len.div_ceil(8);
    match growth {
        Growth::None if exact <= PAGE_WORDS => exact,
        // Runs are of whole pages.
        Growth::None => exact.next_multiple_of(PAGE_WORDS),
        Growth::Some { pages } => class_of(exact)
            .unwrap_or_else(|| exact.div_ceil(PAGE_WORDS).next_power_of_two().max(pages) * PAGE_WORDS),
    }
}

/// A node of a listpack, in the middle of its room.
pub(super) fn store_pack(
    collection: &mut Collection,
    pack: &[u8],
    size: usize,
    growth: Growth,
) -> Result<Ref, OutOfMemory> {
    let words = words_for(pack.len(), growth);
    let start = ((words - HEAD_WORDS) * 8 - pack.len()) / 2;
    let head = Head { start, len: pack.len(), size, words, is_plain: false };
    let block = collection.alloc(words)?;
    collection.write(block, 0, [&head.bytes()]);
    collection.write(block, HEAD + start, [pack]);
    Ok(block)
}

/// A node of one element: packed, and expected to grow, or else too large for that.
pub(super) fn store_one(
    collection: &mut Collection,
    element: &[u8],
    growth: Option<Growth>,
) -> Result<Ref, OutOfMemory> {
    let Some(growth) = growth else {
        let words = words_for(element.len(), Growth::None);
        let head = Head { start: 0, len: element.len(), size: element.len(), words, is_plain: true };
        let block = collection.alloc(words)?;
        collection.write(block, 0, [&head.bytes()[..], element]);
        return Ok(block);
    };
    let element = Element::of(element);
    let empty = Listpack::new(&crate::value::listpack::EMPTY);
    let mut pack = crate::value::listpack::EMPTY.to_vec();
    empty.splice(empty.end(), 0, &[element]).apply_to(&mut pack);
    store_pack(collection, &pack, sizes::EMPTY + sizes::of_element(element), growth)
}

/// Gives the block of a node back.
pub(super) fn free(collection: &mut Collection, block: Ref) {
    let words = Head::of(collection.view(), block).words;
    collection.free(block, words);
}

/// Changes the listpack of a node, which has `size` bytes in the server then. Returns where it is: the same block, or another one; then the old one is as
/// it was, and the caller's to free.
///
/// # Errors
/// [`OutOfMemory`]; nothing has changed.
pub(super) fn patch(
    collection: &mut Collection,
    block: Ref,
    patch: &Patch,
    (size, growth): (usize, Growth),
) -> Result<Ref, OutOfMemory> {
    let head = Head::of(collection.view(), block);
    let len = patch.len_after(head.len);
    let fits = len <= head.room();
    if !fits || head.is_roomy(len) {
        let mut pack = collection.view().bytes(block, HEAD + head.start, head.len).to_vec();
        patch.apply_to(&mut pack);
        match store_pack(collection, &pack, size, growth) {
            Ok(block) => return Ok(block),
            Err(error) if !fits => return Err(error),
            // What is only too long does as it is.
            Err(_) => {}
        }
    }
    collection.own(block)?;
    let mut at = InBlock { collection, block, head: Head { size, ..head } };
    patch.apply_to(&mut at);
    let head = at.head.bytes();
    collection.write(block, 0, [&head]);
    Ok(block)
}

/// Gives a node that will not grow soon a block without much room, if it has one with more. Returns where it is, as [`patch`] does.
pub(super) fn fit(collection: &mut Collection, block: Ref) -> Ref {
    let head = Head::of(collection.view(), block);
    let words = words_for(head.len, Growth::None);
    if head.is_plain || head.words <= words + words / 8 {
        return block;
    }
    let pack = collection.view().bytes(block, HEAD + head.start, head.len).to_vec();
    store_pack(collection, &pack, head.size, Growth::None).unwrap_or(block)
}

/// The listpack of a node where it stands, in a block of its list's own that is long enough for what becomes of it.
struct InBlock<'c> {
    collection: &'c mut Collection,
    block: Ref,
    head: Head,
}

impl InBlock<'_> {
    /// Moves `len` bytes of the content.
    fn shift(&mut self, from: usize, to: usize, len: usize) {
        if len > 0 && from != to {
            let bytes: SmallVec<[u8; 256]> =
                SmallVec::from_slice(self.collection.view().bytes(self.block, HEAD + from, len));
            self.collection.write(self.block, HEAD + to, [&bytes]);
        }
    }
}

impl Splice for InBlock<'_> {
    fn bytes(&self) -> &[u8] {
        self.collection.view().bytes(self.block, HEAD + self.head.start, self.head.len)
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        let Head { start, len, .. } = self.head;
        let (behind, after) = (len - at - removed, len - removed + new.len());
        let grown = new.len() as isize - removed as isize;
        // The shorter side moves, if it has somewhere to go; else all moves, and there is room on that side for a while.
        let to = if at <= behind {
            let fits = start as isize >= grown;
            if fits { start.wrapping_add_signed(-grown) } else { self.head.room() - after }
        } else {
            let fits = (start + len) as isize + grown <= self.head.room() as isize;
            if fits { start } else { 0 }
        };
        let old_rest = start + at + removed;
        let new_rest = to + at + new.len();
        if new_rest > old_rest {
            // The rest goes right: first, lest it is written over.
            self.shift(old_rest, new_rest, behind);
            self.shift(start, to, at);
        } else {
            self.shift(start, to, at);
            self.shift(old_rest, new_rest, behind);
        }
        self.collection.write(self.block, HEAD + to + at, [new]);
        (self.head.start, self.head.len) = (to, after);
    }
}
