//! The nodes of a stream: blocks of its collection, each with the entries that one node of the server's has.
//! Which nodes there are is [`super::large`]'s affair.
//!
//! ```text
//! words 0-1  the node's ID: that of the entry that it began with
//! words 2-3  the last ID that was added to it
//! word 4     bytes of the listpack, above them the words of the block
//! word 5     bytes of the server's listpack without its two counts, above them the entries that were deleted
//! listpack   number of fields | fields | entries
//! entry      time and number, as differences to the node's ID | 0 | values                                | elements before this one
//!            time and number, as differences to the node's ID | number of fields | field, value, ...      | elements before this one
//! ```
//! The fields that a node begins with are those of its first entry; an entry that has the same ones does not repeat them. A deleted entry leaves nothing but
//! its share in word 5: the server goes on counting it.

mod blocks;

use smallvec::SmallVec;

use super::id::Id;
use crate::store::collection::View;
use crate::store::memory::{OutOfMemory, Ref};
use crate::value::list::sizes;
use crate::value::listpack::{Element, Iter, Listpack};
use crate::value::patch::Patch;
pub(super) use blocks::{append, copy, create, delete, delete_first, fit, free, store};

const HEAD_WORDS: usize = 6;
const HEAD: usize = HEAD_WORDS * 8;
/// Elements of an entry beside its fields and values: two of the ID, how many fields, how many elements.
const AROUND: usize = 4;

/// What stands before the listpack of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: Id,
    pub(super) last: Id,
    pub(super) len: usize,
    pub(super) words: usize,
    pub(super) body: usize,
    pub(super) deleted: usize,
}

impl Head {
    pub(super) fn of(view: View<'_>, block: Ref) -> Self {
        let words = view.words(block);
        let word = |at| u64::from_le(words.word(at));
        let low = |at| word(at) as u32 as usize;
        let high = |at| (word(at) >> 32) as usize;
        Self {
            id: Id { ms: word(0), seq: word(1) },
            last: Id { ms: word(2), seq: word(3) },
            len: low(4),
            words: high(4),
            body: low(5),
            deleted: high(5),
        }
    }

    /// Writes it over that of a block.
    fn write(self, view: View<'_>, block: Ref) {
        let both = |low: usize, high: usize| low as u64 | (high as u64) << 32;
        let head = [
            self.id.ms,
            self.id.seq,
            self.last.ms,
            self.last.seq,
            both(self.len, self.words),
            both(self.body, self.deleted),
        ];
        let words = view.words(block).first(HEAD_WORDS);
        head.into_iter().enumerate().for_each(|(at, word)| words.set_word(at, word.to_le()));
    }

    /// Words that the block needs.
    pub(super) fn needed_words(self) -> usize {
        HEAD_WORDS + self.len.div_ceil(8)
    }

    /// Bytes of the server's listpack, if so many entries are left.
    pub(super) fn server_bytes(self, live: u64) -> usize {
        let of = |count: usize| sizes::of_element(Element::Int(count as i64));
        self.body + of(live as usize) + of(self.deleted)
    }

    /// Entries that it has had, if so many are left.
    pub(super) fn entries(self, live: u64) -> u64 {
        self.deleted as u64 + live
    }
}

/// The ID of a node.
pub(super) fn id_of(view: View<'_>, block: Ref) -> Id {
    let words = view.words(block);
    Id { ms: u64::from_le(words.word(0)), seq: u64::from_le(words.word(1)) }
}

/// A node that is read.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(super) head: Head,
    pack: Listpack<'a>,
    /// Fields that it begins with.
    fields: usize,
}

fn number(element: Element<'_>) -> i64 {
    match element {
        Element::Int(number) => number,
        Element::Bytes(_) => unreachable!("what an entry is told by are numbers"),
    }
}

impl<'a> Node<'a> {
    pub(super) fn of(view: View<'a>, block: Ref) -> Self {
        let head = Head::of(view, block);
        Self::new(head, Listpack::new(view.bytes(block, HEAD, head.len)))
    }

    pub(super) fn new(head: Head, pack: Listpack<'a>) -> Self {
        let fields = pack.iter().next().map_or(0, number) as usize;
        Self { head, pack, fields }
    }

    /// The ID that those of its entries are told by.
    pub(crate) fn id(&self) -> Id {
        self.head.id
    }

    /// Whether it ever had an entry.
    pub(super) fn is_begun(&self) -> bool {
        !self.pack.is_empty()
    }

    /// Its listpack.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.pack.bytes()
    }

    /// Whether it has an entry. O(elements).
    pub(super) fn has(&self, id: Id) -> bool {
        let mut entries = self.entries();
        entries.skip_before(id);
        entries.next().is_some_and(|entry| entry.id == id)
    }

    /// Writes what another entry behind the others is told by, and returns the head of the node with it, but for its lengths. `fields`: fields and values,
    /// in turn.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn next<'w>(
        &self,
        id: Id,
        fields: &[&'w [u8]],
        elements: &mut Written<'w>,
    ) -> Result<Head, OutOfMemory> {
        let size = encode(&self.head, id, fields, self.has_fields(fields), elements)?;
        Ok(Head { last: id, body: self.head.body + size, ..self.head })
    }

    /// Its listpack with these elements more.
    pub(super) fn splice_end(&self, elements: &[Element<'_>]) -> Patch {
        self.pack.splice(self.pack.end(), 0, elements)
    }

    /// The fields that it begins with.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = Element<'a>> + use<'a> {
        self.pack.iter().skip(1).take(self.fields)
    }

    /// Whether these are the fields that it begins with. `fields`: fields and values, in turn.
    fn has_fields(&self, fields: &[&[u8]]) -> bool {
        if fields.len() != 2 * self.fields {
            return false;
        }
        let mut names = self.pack.iter();
        names.next();
        fields.iter().step_by(2).all(|field| names.next() == Some(Element::of(field)))
    }

    /// Visits the entries from an ID to another, both included, in order or in reverse. Says whether there may be others behind them: `visit` has not said no,
    /// and it has met none outside.
    pub(super) fn each(
        &self,
        from: Id,
        to: Id,
        reverse: bool,
        mut visit: impl FnMut(Entry<'a>) -> bool,
    ) -> bool {
        let mut entries = self.entries();
        if reverse {
            let mut until = entries.rev().skip_while(|entry| entry.id > to);
            return until.all(|entry| entry.id >= from && visit(entry));
        }
        entries.skip_before(from);
        entries.all(|entry| entry.id <= to && visit(entry))
    }

    /// The entries, from either end.
    pub(crate) fn entries(&self) -> Entries<'a> {
        let mut iter = self.pack.iter();
        iter.by_ref().take(1 + self.fields).for_each(|_| ());
        Entries { iter, node: *self }
    }

    /// Which element the entry of this ID begins with, how many it has, and how many entries are before it. O(elements).
    fn find(&self, id: Id) -> Option<(usize, usize)> {
        let mut entries = self.entries();
        loop {
            let at = self.pack.len() - entries.iter.len();
            let entry = entries.next()?;
            if entry.id == id {
                return Some((at, self.pack.len() - entries.iter.len() - at));
            }
            if entry.id > id {
                return None;
            }
        }
    }

    /// Elements of the first entries.
    fn elements_of_first(&self, count: usize) -> usize {
        let mut entries = self.entries();
        let before = entries.iter.len();
        entries.by_ref().take(count).for_each(drop);
        before - entries.iter.len()
    }
}

/// The entries of a node.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    iter: Iter<'a>,
    node: Node<'a>,
}

type Elements<'a> = SmallVec<[Element<'a>; 12]>;

/// Those of an entry on its way into a node.
pub(super) type Written<'w> = SmallVec<[Element<'w>; 16]>;

impl<'a> Entries<'a> {
    fn id(&self, ms: Element<'_>, seq: Element<'_>) -> Id {
        let Id { ms: base_ms, seq: base_seq } = self.node.head.id;
        Id { ms: base_ms.wrapping_add(number(ms) as u64), seq: base_seq.wrapping_add(number(seq) as u64) }
    }

    fn entry(&self, id: Id, fields: usize, values: Elements<'a>) -> Entry<'a> {
        Entry { id, node: (fields == 0).then_some(self.node), values }
    }

    /// Leaves out the entries before an ID. O(elements).
    pub(super) fn skip_before(&mut self, from: Id) {
        loop {
            let mut ahead = self.iter.clone();
            let (Some(ms), Some(seq), Some(fields)) = (ahead.next(), ahead.next(), ahead.next()) else {
                return;
            };
            if self.id(ms, seq) >= from {
                return;
            }
            ahead.by_ref().take(self.values(number(fields) as usize) + 1).for_each(|_| ());
            self.iter = ahead;
        }
    }

    /// Elements between the head of an entry and its end.
    fn values(&self, fields: usize) -> usize {
        if fields == 0 { self.node.fields } else { 2 * fields }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let ms = self.iter.next()?;
        let (seq, fields) = (self.iter.next()?, number(self.iter.next()?) as usize);
        let count = self.values(fields);
        let values = self.iter.by_ref().take(count).collect();
        self.iter.next();
        Some(self.entry(self.id(ms, seq), fields, values))
    }
}

impl<'a> DoubleEndedIterator for Entries<'a> {
    fn next_back(&mut self) -> Option<Entry<'a>> {
        let count = number(self.iter.next_back()?) as usize;
        let mut values: Elements<'a> = self.iter.by_ref().rev().take(count).collect();
        let (ms, seq, fields) = (values.pop()?, values.pop()?, number(values.pop()?) as usize);
        values.reverse();
        Some(self.entry(self.id(ms, seq), fields, values))
    }
}

/// An entry of a stream.
pub(crate) struct Entry<'a> {
    pub(crate) id: Id,
    /// Where its fields are, if not among the values.
    node: Option<Node<'a>>,
    values: Elements<'a>,
}

impl<'a> Entry<'a> {
    /// Whether its fields are those that its node begins with.
    pub(crate) fn has_same_fields(&self) -> bool {
        self.node.is_some()
    }

    /// Its values, with its fields where these are not the node's.
    pub(crate) fn values(&self) -> &[Element<'a>] {
        &self.values
    }

    /// Fields and values together.
    pub(crate) fn len(&self) -> usize {
        if self.node.is_some() { 2 * self.values.len() } else { self.values.len() }
    }

    /// Visits fields and values, in turn.
    pub(crate) fn each(&self, mut visit: impl FnMut(Element<'a>)) {
        match &self.node {
            None => self.values.iter().copied().for_each(visit),
            Some(node) => node.names().zip(&self.values).for_each(|(name, value)| {
                visit(name);
                visit(*value);
            }),
        }
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = f.debug_list();
        all.entry(&self.id);
        self.each(|element| {
            all.entry(&element);
        });
        all.finish()
    }
}

/// Writes the elements of an entry behind those that are there, and returns the bytes that the server's listpack has of it.
///
/// # Errors
/// [`OutOfMemory`].
fn encode<'w>(
    head: &Head,
    id: Id,
    fields: &[&'w [u8]],
    is_same: bool,
    elements: &mut Written<'w>,
) -> Result<usize, OutOfMemory> {
    let int = |number: u64| Element::Int(number as i64);
    let server = |element: Element<'_>| sizes::of_element(element);
    let (ms, seq) = (int(id.ms.wrapping_sub(head.id.ms)), int(id.seq.wrapping_sub(head.id.seq)));
    let pairs = fields.len() / 2;
    let (told, step, from) = if is_same { (0, 2, 1) } else { (pairs, 1, 0) };
    elements.try_reserve(AROUND + fields.len()).map_err(|_| OutOfMemory)?;
    elements.extend([ms, seq, int(told as u64)]);
    // Its flags, the ID, what is said, and the number of all that; the number of fields only where they are.
    let mut size = server(Element::Int(if is_same { 2 } else { 0 })) + server(ms) + server(seq);
    let mut count = 3;
    for value in fields.iter().skip(from).step_by(step) {
        let value = Element::of(value);
        size += server(value);
        count += 1;
        elements.push(value);
    }
    elements.push(int(count));
    if !is_same {
        size += server(int(pairs as u64));
        count += 1;
    }
    Ok(size + server(int(count)))
}

/// Writes the elements of a node with one entry, and returns its head, but for its lengths. `fields`: fields and values, in turn.
///
/// # Errors
/// [`OutOfMemory`].
pub(super) fn first<'w>(
    id: Id,
    fields: &[&'w [u8]],
    elements: &mut Written<'w>,
) -> Result<Head, OutOfMemory> {
    let head = Head { id, last: id, len: 0, words: 0, body: 0, deleted: 0 };
    let count = Element::Int((fields.len() / 2) as i64);
    elements.try_reserve(1 + fields.len() + AROUND).map_err(|_| OutOfMemory)?;
    // The server ends the fields with a zero.
    let mut body = sizes::EMPTY + sizes::of_element(count) + sizes::of_element(Element::Int(0));
    elements.push(count);
    for name in fields.iter().step_by(2) {
        let name = Element::of(name);
        body += sizes::of_element(name);
        elements.push(name);
    }
    body += encode(&head, id, fields, true, elements)?;
    Ok(Head { body, ..head })
}
