//! The table encoding of a set: a collection of members.
//!
//! A member that reads as an integer of 30 bits stands in the table itself and takes no block: a set of a thousand integers takes 8 bytes a member then,
//! where blocks would double that. A string of 8, 16, ... 64 bytes has a block without a head. All others have one with a head:
//!
//! ```text
//! byte 0     0-239 the length of a string that follows; else
//!            240, 241 a length of 2 or 8 bytes, and then the string; 242, 243 an integer of 7 or 8 bytes     (little-endian)
//! ...        padding to 8
//! ```
//!
//! So an integer has one form only, and a string that reads as one is always stored as one.

use std::ops::ControlFlow;

use crate::store::collection::{Collection, Elements, Held, NUMBER_BITS, View, can_be_whole};
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Ref};
use crate::store::{HashSeed, random};
use crate::sync::Arc;
use crate::value::listpack::Element;
use crate::value::rooted::as_its_collection;
use crate::value::{Root, Rooted};

const LENGTH_2: u8 = 240;
const LENGTH_8: u8 = 241;
const INTEGER_7: u8 = 242;
const INTEGER_8: u8 = 243;

/// Members.
struct Members;

impl Elements for Members {
    const MARKED: bool = true;

    fn hash_of_number(seed: &HashSeed, number: u32) -> u64 {
        seed.hash(&number.to_le_bytes())
    }

    #[inline]
    fn size(head: &[u8]) -> usize {
        let (from, len) = payload(head);
        from + len
    }

    #[inline]
    fn key(element: &[u8]) -> &[u8] {
        &element[payload(element).0..]
    }
}

/// Where the string or the integer begins, and how long it is.
#[inline]
fn payload(head: &[u8]) -> (usize, usize) {
    match head[0] {
        len @ 0..LENGTH_2 => (1, len.into()),
        LENGTH_2 => (3, u16::from_le_bytes([head[1], head[2]]).into()),
        LENGTH_8 => {
            let length = head[1..9].try_into().expect("it is eight bytes");
            (9, u64::from_le_bytes(length) as usize)
        }
        INTEGER_7 => (1, 7),
        _ => (1, 8),
    }
}

/// The member that a reference stands for.
#[inline]
fn member_of(held: Held<'_>) -> Element<'_> {
    match held {
        Held::Number(number) => Element::Int(integer_of(number)),
        Held::Whole(string) => Element::Bytes(string),
        Held::Bytes(element) => member_of_block(element),
    }
}

fn member_of_block(element: &[u8]) -> Element<'_> {
    let (from, len) = payload(element);
    let payload = &element[from..from + len];
    if element[0] < INTEGER_7 {
        return Element::Bytes(payload);
    }
    let mut integer = [0; 8];
    integer[8 - len..].copy_from_slice(payload);
    Element::Int(i64::from_le_bytes(integer) >> (64 - 8 * len))
}

/// The integer that a number in the table stands for.
fn integer_of(number: u32) -> i64 {
    const UNUSED: u32 = 64 - NUMBER_BITS;
    i64::from(number) << UNUSED >> UNUSED
}

/// How a member is stored.
enum Stored<'m> {
    Number(u32),
    Block(Block<'m>),
}

/// What a block holds, in two parts.
struct Block<'m> {
    head: [u8; 9],
    head_len: usize,
    string: &'m [u8],
    /// What it is hashed by begins there in its head; a string stands behind that.
    key_at: usize,
}

impl Stored<'_> {
    fn hash(&self, seed: &HashSeed) -> u64 {
        match self {
            Stored::Number(number) => Members::hash_of_number(seed, *number),
            Stored::Block(block) => seed.hash(block.key()),
        }
    }
}

impl Block<'_> {
    fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }

    /// What it is hashed by.
    fn key(&self) -> &[u8] {
        if self.string.is_empty() { &self.head()[self.key_at..] } else { self.string }
    }
}

impl<'m> Stored<'m> {
    /// Of a member of which an integer is told as such.
    #[inline]
    fn new(member: Element<'m>) -> Self {
        let mut head = [0; 9];
        match member {
            Element::Int(integer) if bits_of(integer) <= NUMBER_BITS => {
                Stored::Number(integer as u32 & ((1 << NUMBER_BITS) - 1))
            }
            Element::Int(integer) => {
                let len = if bits_of(integer) <= 56 { 7 } else { 8 };
                head[0] = if len == 7 { INTEGER_7 } else { INTEGER_8 };
                head[1..].copy_from_slice(&integer.to_le_bytes());
                Stored::Block(Block { head, head_len: 1 + len, string: &[], key_at: 1 })
            }
            Element::Bytes(string) => {
                let len = string.len();
                let head_len = if len < LENGTH_2.into() {
                    head[0] = len as u8;
                    1
                } else if let Ok(short) = u16::try_from(len) {
                    head[0] = LENGTH_2;
                    head[1..3].copy_from_slice(&short.to_le_bytes());
                    3
                } else {
                    head[0] = LENGTH_8;
                    head[1..].copy_from_slice(&(len as u64).to_le_bytes());
                    9
                };
                Stored::Block(Block { head, head_len, string, key_at: head_len })
            }
        }
    }
}

/// Bits of an integer, its sign included.
fn bits_of(integer: i64) -> u32 {
    65 - (integer ^ (integer >> 63)).leading_zeros()
}

/// A set with a table that is read.
#[derive(Clone, Copy)]
pub(crate) struct TableRef<'a> {
    view: View<'a>,
    seed: &'a HashSeed,
}

impl<'a> TableRef<'a> {
    #[inline]
    pub(crate) fn new(root: Root<'a>) -> Self {
        Self { view: View::new(root.words, root.region), seed: root.seed }
    }

    /// The reference of a member, and its hash.
    fn find(&self, member: Element<'_>) -> Option<(Ref, u64)> {
        let hash = Stored::new(member).hash(self.seed);
        let found = self.view.find_held::<Members>(hash, |held| member_of(held) == member);
        found.map(|reference| (reference, hash))
    }

    /// Whether a member is there: one that reads as an integer is told as such. O(1).
    pub(crate) fn contains(&self, member: Element<'_>) -> bool {
        self.find(member).is_some()
    }

    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        self.view.len()
    }

    fn member(&self, entry: Ref) -> Element<'a> {
        member_of(self.view.held::<Members>(entry))
    }

    /// Visits members, in no order, until `visit` breaks.
    pub(crate) fn each_until(
        &self,
        mut visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut cursor, mut flow) = (0, ControlFlow::Continue(()));
        loop {
            // Nothing is changed meanwhile, so each is met once.
            cursor = self.view.scan_references(cursor, |entry| {
                if flow.is_continue() {
                    flow = visit(self.member(entry));
                }
            });
            if cursor == 0 || flow.is_break() {
                return flow;
            }
        }
    }

    /// Visits some members from a cursor on and returns the next, 0 at the end.
    pub(crate) fn scan(&self, mut cursor: u64, count: usize, mut visit: impl FnMut(Element<'a>)) -> u64 {
        let mut seen = 0;
        loop {
            cursor = self.view.scan_references(cursor, |entry| {
                seen += 1;
                visit(self.member(entry));
            });
            if cursor == 0 || seen >= count {
                return cursor;
            }
        }
    }

    /// A member drawn with equal chances, with a number that no other member has; `None` if there is none.
    pub(crate) fn random(&self) -> Option<(u32, Element<'a>)> {
        let entry = self.view.random_reference(&mut random)?;
        Some((entry.get(), self.member(entry)))
    }

    fn page_bytes(&self) -> usize {
        self.view.pages() * PAGE
    }
}

/// A set with a table that is changed: one that stands in no entry, or not at the moment. It owns its memory.
pub(crate) struct Set {
    collection: Collection,
}

impl Set {
    /// An empty one.
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()) }
    }

    pub(crate) fn as_ref<'a>(&'a self, seed: &'a HashSeed) -> TableRef<'a> {
        TableRef { view: self.collection.view(), seed }
    }

    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        self.collection.view().len()
    }

    /// Whether its memory is in pages, beside the root.
    pub(super) fn has_pages(&self) -> bool {
        self.collection.is_in_pages()
    }

    /// Adds a member and says whether it is new. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn add(&mut self, seed: &HashSeed, member: Element<'_>) -> Result<bool, OutOfMemory> {
        if self.as_ref(seed).contains(member) {
            return Ok(false);
        }
        insert(&mut self.collection, seed, member)?;
        self.tidy(seed);
        Ok(true)
    }

    /// Removes a member and says whether it was there. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] where its memory is shared; nothing has changed.
    pub(crate) fn remove(&mut self, seed: &HashSeed, member: Element<'_>) -> Result<bool, OutOfMemory> {
        let Some((reference, hash)) = self.as_ref(seed).find(member) else { return Ok(false) };
        self.collection.remove_reference::<Members>(seed, hash, reference)?;
        self.tidy(seed);
        Ok(true)
    }

    /// Writes a set anew that is short and mostly holes.
    fn tidy(&mut self, seed: &HashSeed) {
        if !self.collection.is_wasteful() {
            return;
        }
        let mut new = Collection::new(self.collection.pool().clone());
        let copied = self.as_ref(seed).each_until(|member| match insert(&mut new, seed, member) {
            Ok(()) => ControlFlow::Continue(()),
            Err(OutOfMemory) => ControlFlow::Break(()),
        });
        // A root in an entry that is of fixed size stays one: putting it back can't fail. Without memory all stays as it is.
        if copied.is_continue() && (!self.collection.is_in_pages() || new.move_to_pages().is_ok()) {
            // Its pages go, whoever owned them: the new root takes the old one's place.
            self.collection.set_left(false);
            self.collection = new;
        }
    }
}

/// Adds a member that is not there.
fn insert(collection: &mut Collection, seed: &HashSeed, member: Element<'_>) -> Result<(), OutOfMemory> {
    match Stored::new(member) {
        Stored::Number(number) => collection.insert_number::<Members>(seed, number),
        Stored::Block(block) => {
            if can_be_whole(block.string.len()) && collection.insert_whole::<Members>(seed, block.string)? {
                return Ok(());
            }
            collection.insert::<Members, 2>(seed, block.key(), [block.head(), block.string])?;
            Ok(())
        }
    }
}

impl Rooted for Set {
    as_its_collection!();

    fn elements(&self) -> usize {
        self.len()
    }

    fn page_bytes(root: Root<'_>, _: &Pool) -> usize {
        TableRef::new(root).page_bytes()
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
