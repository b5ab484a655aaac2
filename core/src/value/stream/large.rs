//! A large stream: its entries in nodes that are found through a tree, and what is told about all of them. Groups are [`super::groups`]' affair, and a short
//! one without any is [`super::packed`].
//!
//! Everything stands in blocks of one collection, so a copy shares all of it. Nodes end where the server's would, by the sizes that its own would have: what
//! `XTRIM ~` takes away, and what `XINFO STREAM` counts, are nodes. A node that has no entries left goes, but for one whose entries went by `XTRIM MINID`
//! though it had a later one, deleted before: the server keeps it.
//!
//! ```text
//! own numbers   the tree of nodes, which weigh what they have of entries; the block below; half a word: number of nodes
//! block         last ID (2 words) | greatest deleted ID (2) | entries ever added | the tree of groups (2)
//! ```

use super::id::Id;
use super::node::{self, Entry, Head, Node};
use super::packed::{self, Numbers};
use crate::store::collection::tree::{Anchor, Items, Place, Tree, TreeMut};
use crate::store::collection::{Collection, Own, View};
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Ref};
use crate::sync::Arc;
use crate::value::rooted::{Root, Rooted, as_its_collection};

const NODES: Own = Own::Half;
const TOLD: Own = Own::Third;

/// Words of the block of numbers.
const TOLD_WORDS: usize = 7;
const LAST: usize = 0;
const DELETED: usize = 2;
const ADDED: usize = 4;
const GROUPS: usize = 5;

/// Nodes in the order of their IDs.
struct Nodes;

impl Items for Nodes {
    const UNIT: bool = false;

    fn hint(view: View<'_>, item: Ref) -> u64 {
        node::id_of(view, item).ms
    }
}

/// How long nodes may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeLimits {
    /// Bytes of the server's listpack; 0 is no limit.
    pub(crate) bytes: usize,
    /// Entries, those that were deleted included; 0 is no limit.
    pub(crate) entries: usize,
}

impl NodeLimits {
    /// Bytes that no node of the server's has more than.
    pub(crate) const MOST_BYTES: usize = 1 << 30;

    /// Whether a node of so many bytes and entries takes no other, of so many bytes.
    pub(super) fn is_full(self, bytes: usize, entries: u64, more: usize) -> bool {
        let most = if self.bytes == 0 { Self::MOST_BYTES } else { self.bytes.min(Self::MOST_BYTES) };
        bytes.saturating_add(more) >= most || (self.entries > 0 && entries >= self.entries as u64)
    }
}

/// Which entries are trimmed: the first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// As many as there are above this number.
    Length(u64),
    /// Those before this ID.
    Before(Id),
}

/// A stream that is read.
#[derive(Clone, Copy)]
pub struct StreamRef<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Packed(&'a [u8]),
    Large(View<'a>),
}

impl<'a> StreamRef<'a> {
    pub(crate) fn large(root: Root<'a>) -> Self {
        Self(Form::Large(View::new(root.words, root.region)))
    }

    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Form::Packed(bytes))
    }

    /// The numbers of a packed one.
    fn numbers(self) -> Option<Numbers> {
        match self.0 {
            Form::Packed(bytes) => Some(Numbers::of(bytes)),
            Form::Large(_) => None,
        }
    }

    /// The collection of a large one.
    pub(super) fn view(self) -> View<'a> {
        match self.0 {
            Form::Large(view) => view,
            Form::Packed(_) => unreachable!("the caller has asked"),
        }
    }

    pub(super) fn is_packed(self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    fn told(self) -> Ref {
        Ref::new(self.view().own(TOLD) as u32).expect("a stream begins with its numbers")
    }

    /// Word number `at` of a block.
    pub(super) fn word(self, block: Ref, at: usize) -> u64 {
        u64::from_le(self.view().word_of(block, at))
    }

    pub(super) fn id_at(self, block: Ref, at: usize) -> Id {
        Id { ms: self.word(block, at), seq: self.word(block, at + 1) }
    }

    fn tree(self) -> Tree<'a, Nodes> {
        Tree::new(self.view())
    }

    /// Where the tree of groups hangs.
    pub(super) fn groups_anchor(self) -> Anchor {
        Anchor::In(self.told(), GROUPS)
    }

    /// Number of entries. O(1).
    pub(crate) fn len(self) -> u64 {
        self.numbers().map_or_else(|| self.tree().weight(), |numbers| numbers.live)
    }

    /// The greatest ID that was ever added, or set.
    pub(crate) fn last_id(self) -> Id {
        self.numbers().map_or_else(|| self.id_at(self.told(), LAST), |numbers| numbers.last)
    }

    /// The greatest ID that was deleted by name.
    pub(crate) fn max_deleted_id(self) -> Id {
        self.numbers().map_or_else(|| self.id_at(self.told(), DELETED), |numbers| numbers.deleted)
    }

    /// How many entries were ever added.
    pub(crate) fn entries_added(self) -> u64 {
        self.numbers().map_or_else(|| self.word(self.told(), ADDED), |numbers| numbers.added)
    }

    /// How many nodes there are.
    pub(crate) fn nodes(self) -> usize {
        match self.0 {
            Form::Packed(bytes) => usize::from(packed::node(bytes).is_begun()),
            Form::Large(view) => view.own(NODES) as u32 as usize,
        }
    }

    /// The first entry. O(log nodes).
    pub(crate) fn first(self) -> Option<Entry<'a>> {
        self.end(false)
    }

    /// The last entry. O(log nodes).
    pub(crate) fn last(self) -> Option<Entry<'a>> {
        self.end(true)
    }

    fn end(self, is_last: bool) -> Option<Entry<'a>> {
        let mut found = None;
        self.each(Id::MIN, Id::MAX, is_last, |entry| {
            found = Some(entry);
            false
        });
        found
    }

    /// The ID of the first entry; `0-0` without entries. O(log nodes).
    pub(crate) fn first_id(self) -> Id {
        self.first().map_or(Id::MIN, |entry| entry.id)
    }

    /// The place of the node in which an entry of this ID would be, if it is in any.
    fn place_of(self, id: Id) -> Option<(Place, Ref, u64)> {
        let place = self.tree().seek(id.ms, |item| node::id_of(self.view(), item) <= id);
        let mut walk = self.tree().walk(place);
        let (block, live) = walk.previous()?;
        Some((walk.into_place(), block, live))
    }

    /// Whether there is an entry of this ID. O(log nodes + entries of a node).
    pub(crate) fn has(self, id: Id) -> bool {
        match self.0 {
            Form::Packed(bytes) => packed::node(bytes).has(id),
            Form::Large(view) => self.place_of(id).is_some_and(|(_, block, _)| Node::of(view, block).has(id)),
        }
    }

    /// The entry of this ID. O(log nodes + entries of a node).
    pub(crate) fn get(self, id: Id) -> Option<Entry<'a>> {
        let mut found = None;
        self.each(id, id, false, |entry| {
            found = Some(entry);
            false
        });
        found
    }

    /// Visits the entries from an ID to another, both included, in order or in reverse, until `visit` says no. O(log nodes) and the entries.
    pub(crate) fn each(self, from: Id, to: Id, reverse: bool, mut visit: impl FnMut(Entry<'a>) -> bool) {
        if from > to {
            return;
        }
        let view = match self.0 {
            Form::Large(view) => view,
            Form::Packed(bytes) => {
                packed::node(bytes).each(from, to, reverse, visit);
                return;
            }
        };
        if reverse {
            let place = self.tree().seek(to.ms, |item| node::id_of(view, item) <= to);
            let mut walk = self.tree().walk(place);
            while let Some((block, _)) = walk.previous() {
                if !Node::of(view, block).each(from, to, true, &mut visit) {
                    return;
                }
            }
            return;
        }
        let place = self.place_of(from).map_or_else(|| self.tree().first(), |(place, ..)| place);
        let mut walk = self.tree().walk(place);
        while let Some((block, _)) = walk.next() {
            if !Node::of(view, block).each(from, to, false, &mut visit) {
                return;
            }
        }
    }

    /// How many nodes a trim changes at most. `is_rough`: whole ones only. O(these nodes).
    pub(crate) fn nodes_to_trim(self, how: Trim, is_rough: bool) -> usize {
        let (mut nodes, mut len) = (0, self.len());
        let fate = |head: Head, len, live| match how {
            Trim::Length(most) => (len >= most + live, len > most),
            Trim::Before(id) => (head.last < id, head.id < id),
        };
        let view = match self.0 {
            Form::Large(view) => view,
            Form::Packed(bytes) => {
                let (goes_whole, goes_in_part) = fate(packed::node(bytes).head, len, len);
                return usize::from(goes_whole || (goes_in_part && !is_rough));
            }
        };
        let mut walk = self.tree().walk(self.tree().first());
        while let Some((block, live)) = walk.next() {
            let (goes_whole, goes_in_part) = fate(Head::of(view, block), len, live);
            if !goes_whole || !goes_in_part {
                return nodes + usize::from(goes_in_part && !is_rough);
            }
            len -= live;
            nodes += 1;
        }
        nodes
    }

    /// How many nodes the server's radix tree of the nodes' IDs has: what follows from these alone. O(nodes).
    pub(crate) fn radix_nodes(self) -> usize {
        let mut count = super::radix::Counter::default();
        match self.0 {
            Form::Packed(bytes) => count.add(packed::node(bytes).head.id.key()),
            Form::Large(view) => {
                let mut walk = self.tree().walk(self.tree().first());
                while let Some((block, _)) = walk.next() {
                    count.add(node::id_of(view, block).key());
                }
            }
        }
        count.nodes()
    }
}

impl std::fmt::Debug for StreamRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        self.each(Id::MIN, Id::MAX, false, |entry| {
            list.entry(&entry);
            true
        });
        list.finish()
    }
}

/// A stream that is changed: one that stands in no entry, or not at the moment. It owns its memory.
///
/// Changes that need memory make sure of it first, each for itself. Who makes several announces them, so that all are made or none.
pub(crate) struct Stream {
    pub(super) collection: Collection,
}

impl Stream {
    /// An empty one.
    pub(crate) fn empty(pool: &Arc<Pool>) -> Self {
        let mut stream = Self { collection: Collection::new(pool.clone()) };
        let told = stream.collection.store([&[0; TOLD_WORDS * 8]]).expect("a root has room for so little");
        stream.collection.set_own(TOLD, told.get().into());
        stream
    }

    pub(crate) fn as_ref(&self) -> StreamRef<'_> {
        StreamRef(Form::Large(self.collection.view()))
    }

    fn edit(&mut self) -> TreeMut<'_, Nodes> {
        TreeMut::new(&mut self.collection)
    }

    /// Writes a word of a block that is the stream's own.
    pub(super) fn set_word(&mut self, block: Ref, at: usize, word: u64) {
        self.collection.view().words(block).set_word(at, word.to_le());
    }

    pub(super) fn set_id(&mut self, block: Ref, at: usize, id: Id) {
        self.set_word(block, at, id.ms);
        self.set_word(block, at + 1, id.seq);
    }

    fn own_told(&self) -> Result<Ref, OutOfMemory> {
        let told = self.as_ref().told();
        self.collection.own(told)?;
        Ok(told)
    }

    /// Sets the greatest ID; those that may be left are the greatest deleted one and the number of entries ever added. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn set_ids(
        &mut self,
        last: Id,
        deleted: Option<Id>,
        added: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let told = self.own_told()?;
        self.set_id(told, LAST, last);
        if let Some(deleted) = deleted {
            self.set_id(told, DELETED, deleted);
        }
        if let Some(added) = added {
            self.set_word(told, ADDED, added);
        }
        Ok(())
    }

    /// What packed bytes hold.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn unpack(bytes: &[u8], pool: &Arc<Pool>) -> Result<Self, OutOfMemory> {
        let (numbers, node) = (Numbers::of(bytes), packed::node(bytes));
        let mut stream = Self::empty(pool);
        stream.set_ids(numbers.last, Some(numbers.deleted), Some(numbers.added))?;
        if node.is_begun() {
            let head = Head { words: node.head.needed_words(), ..node.head };
            let block = node::store(&mut stream.collection, head, node.bytes())?;
            stream.edit().insert(Place::default(), block, numbers.live as u32)?;
            stream.count_nodes(1);
        }
        Ok(stream)
    }

    /// The bytes that it packs into, if it is short and has no groups. Without memory for them it stays as it is.
    pub(super) fn pack(&self) -> Option<Vec<u8>> {
        let stream = self.as_ref();
        if stream.nodes() != 1 || stream.group_count() > 0 {
            return None;
        }
        let (block, live) = stream.tree().item(&stream.tree().first())?;
        let node = Node::of(stream.view(), block);
        // One that has pages needs no others for a while.
        let most = if self.is_in_pages() { packed::MOST / 2 } else { packed::MOST };
        let (last, deleted, added) = (stream.last_id(), stream.max_deleted_id(), stream.entries_added());
        let fits = packed::len_of(&node) <= most;
        fits.then(|| packed::packed(Numbers { last, deleted, added, live }, &node).ok()).flatten()
    }

    /// Nodes and groups: with one that goes it may become short enough to be packed.
    pub(super) fn parts(&self) -> usize {
        self.as_ref().nodes() + self.as_ref().group_count()
    }

    /// Adds an entry, whose ID is greater than all before it. `fields`: fields and values, in turn. O(log nodes + bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn append(&mut self, id: Id, fields: &[&[u8]], limits: NodeLimits) -> Result<(), OutOfMemory> {
        let told = self.own_told()?;
        let stream = self.as_ref();
        let mut walk = stream.tree().walk(stream.tree().end());
        let last = walk.previous();
        let place = walk.into_place();
        let more = fields.iter().map(|text| text.len()).sum();
        match last {
            Some((block, live)) if !is_full(stream.view(), (block, live), limits, more) => {
                self.edit().own(&place)?;
                let moved =
                    node::append(&mut self.collection, block, (id, fields), |view| usual_words(view, 1))?;
                self.put(&place, (block, moved), live + 1);
            }
            _ => {
                let room = if self.is_in_pages() { usual_words(stream.view(), 0) } else { 0 };
                let block = node::create(&mut self.collection, id, fields, room)?;
                let end = self.as_ref().tree().end();
                if let Err(error) = self.edit().insert(end, block, 1) {
                    node::free(&mut self.collection, block);
                    return Err(error);
                }
                self.count_nodes(1);
                if let Some((full, _)) = last {
                    node::fit(&mut self.collection, full);
                }
            }
        }
        self.set_id(told, LAST, id);
        let added = self.as_ref().entries_added();
        self.set_word(told, ADDED, added.wrapping_add(1));
        Ok(())
    }

    /// Has the node of a place, the way to which is the tree's own, be the block that it has moved to, with so many entries.
    fn put(&mut self, place: &Place, (before, block): (Ref, Ref), live: u64) {
        let put = self.edit().set(place, block, live as u32);
        debug_assert!(put.is_ok(), "the way there is nobody else's");
        if block != before {
            node::free(&mut self.collection, before);
        }
    }

    fn count_nodes(&mut self, change: isize) {
        let nodes = self.as_ref().nodes().wrapping_add_signed(change);
        self.collection.set_own(NODES, nodes as u64);
    }

    fn remove_node(&mut self, place: &Place, block: Ref) -> Result<(), OutOfMemory> {
        self.edit().remove(place)?;
        node::free(&mut self.collection, block);
        self.count_nodes(-1);
        Ok(())
    }

    /// Deletes the entry of an ID and says whether it was there. O(log nodes + entries of a node).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn delete(&mut self, id: Id) -> Result<bool, OutOfMemory> {
        let Some((place, block, live)) = self.as_ref().place_of(id) else { return Ok(false) };
        if !Node::of(self.collection.view(), block).has(id) {
            return Ok(false);
        }
        let told = self.own_told()?;
        if live == 1 {
            self.remove_node(&place, block)?;
        } else {
            self.edit().own(&place)?;
            let moved = node::delete(&mut self.collection, block, id)?;
            self.put(&place, (block, moved.expect("it is there")), live - 1);
        }
        if id > self.as_ref().max_deleted_id() {
            self.set_id(told, DELETED, id);
        }
        Ok(true)
    }

    /// Takes entries away at the beginning, and says how many. `is_rough`: whole nodes only, and no more entries than `limit`, if that is not 0.
    /// O(log nodes) a node.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what has gone by then is gone.
    pub(crate) fn trim(&mut self, how: Trim, is_rough: bool, limit: u64) -> Result<u64, OutOfMemory> {
        let mut gone = 0;
        loop {
            let stream = self.as_ref();
            let (len, place) = (stream.len(), stream.tree().first());
            let Some((block, live)) = stream.tree().item(&place) else { return Ok(gone) };
            let (goes, surplus) = match how {
                Trim::Length(most) if len <= most => return Ok(gone),
                Trim::Length(most) => (len - live >= most, len - most),
                Trim::Before(id) => {
                    let entries = Node::of(stream.view(), block).entries();
                    let is_before = Head::of(stream.view(), block).last < id;
                    (
                        is_before,
                        if is_before { 0 } else { entries.take_while(|entry| entry.id < id).count() as u64 },
                    )
                }
            };
            if limit > 0 && gone + live > limit {
                return Ok(gone);
            }
            if goes {
                self.remove_node(&place, block)?;
                gone += live;
                continue;
            }
            if !is_rough && surplus > 0 {
                self.edit().own(&place)?;
                let moved = node::delete_first(&mut self.collection, block, surplus as usize)?;
                self.put(&place, (block, moved), live - surplus);
                gone += surplus;
            }
            return Ok(gone);
        }
    }

    /// Writes a stream anew that is short and mostly holes. Without memory it stays as it is.
    pub(crate) fn tidy(&mut self) {
        if !self.collection.is_wasteful() {
            return;
        }
        let mut new = Self::empty(self.collection.pool());
        if new.take_over(self).is_ok() && (!self.is_in_pages() || new.collection.move_to_pages().is_ok()) {
            // Its pages go, whoever owned them: the new root takes the old one's place.
            self.collection.set_left(false);
            *self = new;
        }
    }

    fn take_over(&mut self, other: &Self) -> Result<(), OutOfMemory> {
        let stream = other.as_ref();
        let (deleted, added) = (stream.max_deleted_id(), stream.entries_added());
        self.set_ids(stream.last_id(), Some(deleted), Some(added))?;
        self.copy_groups(stream)?;
        let mut walk = stream.tree().walk(stream.tree().first());
        while let Some((block, live)) = walk.next() {
            let block = node::copy(stream.view(), block, &mut self.collection)?;
            let end = self.as_ref().tree().end();
            self.edit().insert(end, block, live as u32)?;
            self.count_nodes(1);
        }
        Ok(())
    }

    pub(crate) fn is_in_pages(&self) -> bool {
        self.collection.is_in_pages()
    }

    /// Pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.collection.view().pages()
    }
}

/// Words that a node will need, but for the last ones that are not counted: entries are mostly alike, so about as many as the one before it.
fn usual_words(view: View<'_>, skipped: usize) -> usize {
    let tree = Tree::<Nodes>::new(view);
    let mut walk = tree.walk(tree.end());
    for _ in 0..skipped {
        walk.previous();
    }
    let words = walk.previous().map_or(0, |(block, _)| Head::of(view, block).needed_words());
    words + words / 32
}

fn is_full(view: View<'_>, (block, live): (Ref, u64), limits: NodeLimits, more: usize) -> bool {
    let head = Head::of(view, block);
    limits.is_full(head.server_bytes(live), head.entries(live), more)
}

impl Rooted for Stream {
    as_its_collection!();

    /// Its pages: those are what dropping it costs.
    fn elements(&self) -> usize {
        self.pages().max(1)
    }

    fn page_bytes(root: Root<'_>, _: &Pool) -> usize {
        View::new(root.words, root.region).pages() * PAGE
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("len", &self.as_ref().len()).finish_non_exhaustive()
    }
}
