//! A large stream: its entries in nodes that are found through a tree, and what is told about all of them. Groups are [`super::groups`]' affair, and a short
//! one without any is [`super::packed`].
//!
//! Everything stands in blocks of one collection, so a copy shares all of it. Nodes end where the server's would, by the sizes that its own would have: what
//! `XTRIM ~` takes away, and what `XINFO STREAM` counts, are nodes. A node that has no entries left goes, but for one whose entries went by `XTRIM MINID`
//! though it had a later one, deleted before: the server keeps it.
//!
//! ```text
//! own numbers   the tree of nodes, which weigh what they have of entries; the block below; half a word: number of nodes
//! block         last ID (2 words) | greatest deleted ID (2) | entries ever added | the tree of groups (2) | nodes of the server's radix tree, less one
//! ```

use super::id::Id;
use super::node::{self, Head, Node};
use super::packed::{self, Numbers};
use super::radix;
use super::reading::StreamRef;
use crate::store::collection::tree::{Items, Place, Tree, TreeMut};
use crate::store::collection::{Collection, Own, View};
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Ref};
use crate::sync::Arc;
use crate::value::rooted::{Root, Rooted, as_its_collection};

pub(super) const NODES: Own = Own::Half;
pub(super) const TOLD: Own = Own::Third;

/// Words of the block of numbers.
const TOLD_WORDS: usize = 8;
pub(super) const LAST: usize = 0;
pub(super) const DELETED: usize = 2;
pub(super) const ADDED: usize = 4;
pub(super) const GROUPS: usize = 5;
pub(super) const RADIX: usize = 7;

/// Nodes in the order of their IDs.
pub(super) struct Nodes;

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
        StreamRef::of(self.collection.view())
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
            let told = stream.as_ref().told();
            stream.set_word(told, RADIX, 1);
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
                let stream = self.as_ref();
                let added = radix::added_by(id.key(), |keys| stream.around(keys));
                let end = stream.tree().end();
                if let Err(error) = self.edit().insert(end, block, 1) {
                    node::free(&mut self.collection, block);
                    return Err(error);
                }
                self.count_nodes(1);
                self.set_word(told, RADIX, self.as_ref().word(told, RADIX) + added as u64);
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
        let (told, id) = (self.own_told()?, node::id_of(self.collection.view(), block));
        self.edit().remove(place)?;
        node::free(&mut self.collection, block);
        self.count_nodes(-1);
        let added = radix::added_by(id.key(), |keys| self.as_ref().around(keys));
        self.set_word(told, RADIX, self.as_ref().word(told, RADIX) - added as u64);
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
        let told = self.as_ref().told();
        self.set_word(told, RADIX, stream.word(stream.told(), RADIX));
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
