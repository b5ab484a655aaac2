//! A large list: a counted sequence of nodes, each a listpack of some elements, or one element that is too large for any.
//! What a node is is the affair of [`super::node`]; how the nodes are found that of [`crate::store::collection::tree`].
//!
//! Nodes end where the server's would: which are made, split and merged follows its rules, by the sizes that it would see ([`super::sizes`]). So a list
//! has the encoding that the server says it has. Finding a node is O(log n), an edit in it O(its elements).
//!
//! A list that is a listpack to the server, but too large for its entry here, is one node without a limit.

mod merging;

use super::node::{self, Content, Growth, Head};
use super::sizes::{self, Fill};
use super::{End, Large};
use crate::store::collection::tree::{Items, Place, Tree, TreeMut};
use crate::store::collection::{Collection, Own, View};
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Ref};
use crate::sync::Arc;
use crate::value::listpack::{Element, Listpack};
use crate::value::patch::Patch;
use crate::value::rooted::{Root, Rooted, as_its_collection};

/// The limit of its nodes, and above it whether it is a listpack to the server.
const FORM: Own = Own::Half;
const IS_LISTPACK: u64 = 1 << 16;

/// Nodes, which weigh what they have of elements.
struct Nodes;

impl Items for Nodes {
    const UNIT: bool = false;

    fn hint(_: View<'_>, _: Ref) -> u64 {
        0
    }
}

/// A large list that is changed: one that stands in no entry, or not at the moment. It owns its memory.
pub(crate) struct List {
    collection: Collection,
}

impl<'a> Large<'a> {
    pub(crate) fn new(root: Root<'a>) -> Self {
        Self { view: View::new(root.words, root.region) }
    }

    fn tree(self) -> Tree<'a, Nodes> {
        Tree::new(self.view)
    }

    /// Number of elements. O(1).
    pub(super) fn len(self) -> usize {
        self.tree().weight() as usize
    }

    /// Whether it is a listpack to the server.
    pub(super) fn is_listpack(self) -> bool {
        self.view.own(FORM) & IS_LISTPACK != 0
    }

    fn fill(self) -> Fill {
        Fill::from_bits(self.view.own(FORM) as u16)
    }

    /// The element at an index. O(log n + elements of a node).
    pub(super) fn get(self, index: usize) -> Option<Element<'a>> {
        let (place, offset) = self.tree().at(index as u64)?;
        let (block, _) = self.tree().item(&place)?;
        Content::of(self.view, block).get(offset as usize)
    }

    /// Visits the elements from an index on, in either direction, until `visit` says no. O(log n) and the elements.
    pub(super) fn each(self, from: usize, backwards: bool, visit: &mut impl FnMut(Element<'a>) -> bool) {
        let Some((place, offset)) = self.tree().at(from as u64) else { return };
        let mut walk = self.tree().walk(place);
        if backwards {
            walk.next();
        }
        let mut from = Some(offset as usize);
        while let Some((block, count)) = if backwards { walk.previous() } else { walk.next() } {
            let first = if backwards { count as usize - 1 } else { 0 };
            if !Content::of(self.view, block).each(from.take().unwrap_or(first), backwards, visit) {
                return;
            }
        }
    }

    /// Visits the nodes in order.
    pub(super) fn each_node(self, mut visit: impl FnMut(Content<'a>)) {
        let mut walk = self.tree().walk(self.tree().first());
        while let Some((block, _)) = walk.next() {
            visit(Content::of(self.view, block));
        }
    }

    /// Bytes of its pages.
    pub(super) fn page_bytes(self) -> usize {
        self.view.pages() * PAGE
    }
}

/// A node found.
struct Found {
    place: Place,
    block: Ref,
    head: Head,
    count: usize,
}

impl Found {
    /// Its size and its number of elements.
    fn extent(&self) -> (usize, usize) {
        (self.head.size, self.count)
    }

    /// The position of its first element.
    fn start(&self) -> usize {
        self.place.before() as usize
    }

    fn end(&self) -> usize {
        self.start() + self.count
    }
}

impl List {
    /// An empty one.
    pub(super) fn empty(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()) }
    }

    /// A list of one node with these elements. O(n).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn of_pack(pack: &[u8], pool: &Arc<Pool>) -> Result<Self, OutOfMemory> {
        let mut list = Self::empty(pool);
        list.push_node(Listpack::new(pack), Growth::Some { pages: 1 })?;
        Ok(list)
    }

    /// Adds a node of these elements behind the others, if there are any. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn push_node(&mut self, pack: Listpack<'_>, growth: Growth) -> Result<(), OutOfMemory> {
        if pack.is_empty() {
            return Ok(());
        }
        let size = sizes::of_pack(pack);
        let block = node::store_pack(&mut self.collection, pack.bytes(), size, growth)?;
        self.insert_node(self.as_ref().len(), block, pack.len())
    }

    /// Adds an element in a node of its own behind the others. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn push_alone(&mut self, element: &[u8]) -> Result<(), OutOfMemory> {
        self.insert_one(self.as_ref().len(), element)
    }

    pub(crate) fn as_ref(&self) -> Large<'_> {
        Large { view: self.collection.view() }
    }

    /// Sets the limit of its nodes, and whether it is a listpack to the server.
    pub(super) fn set_form(&mut self, fill: Fill, is_listpack: bool) {
        let flag = if is_listpack { IS_LISTPACK } else { 0 };
        self.collection.set_own(FORM, u64::from(fill.bits()) | flag);
    }

    fn edit(&mut self) -> TreeMut<'_, Nodes> {
        TreeMut::new(&mut self.collection)
    }

    /// The node that holds an element, and which of its elements that is.
    fn find(&self, index: usize) -> Option<(Found, usize)> {
        let list = self.as_ref();
        let (place, offset) = list.tree().at(index as u64)?;
        let (block, count) = list.tree().item(&place)?;
        Some((
            Found { head: Head::of(list.view, block), place, block, count: count as usize },
            offset as usize,
        ))
    }

    fn node_of(&self, index: usize) -> Option<Found> {
        self.find(index).map(|(node, _)| node)
    }

    fn before(&self, node: &Found) -> Option<Found> {
        self.node_of(node.start().checked_sub(1)?)
    }

    fn after(&self, node: &Found) -> Option<Found> {
        self.node_of(node.end())
    }

    /// The one node that there is: its size, and its listpack.
    pub(super) fn only_pack(&self) -> Option<(usize, &[u8])> {
        let node = self.node_of(0)?;
        if node.head.is_plain || node.count < self.as_ref().len() {
            return None;
        }
        match Content::of(self.collection.view(), node.block) {
            Content::Pack(pack) => Some((node.head.size, pack.bytes())),
            Content::Plain(_) => None,
        }
    }

    pub(super) fn limit(&self) -> Fill {
        self.as_ref().fill()
    }

    /// What its nodes grow to.
    fn growth(&self) -> Growth {
        Growth::Some { pages: self.limit().pages() }
    }

    fn is_large(&self, len: usize) -> bool {
        !self.as_ref().is_listpack() && self.limit().is_large(len)
    }

    fn has_room(&self, node: Option<&Found>, len: usize) -> bool {
        let Some(node) = node.filter(|node| !node.head.is_plain) else { return false };
        self.as_ref().is_listpack() || self.limit().has_room(node.extent(), len)
    }

    fn pack(&self, node: &Found) -> Listpack<'_> {
        match Content::at(self.collection.view(), node.block, node.head) {
            Content::Pack(pack) => pack,
            Content::Plain(_) => unreachable!("the caller knows that it is packed"),
        }
    }

    /// Has a node that is there begin at a position between two nodes. Without memory it is freed.
    fn insert_node(&mut self, index: usize, block: Ref, count: usize) -> Result<(), OutOfMemory> {
        let tree = self.as_ref().tree();
        let place = if index == self.as_ref().len() {
            tree.end()
        } else {
            let (place, offset) = tree.at(index as u64).expect("the position is in the list");
            debug_assert_eq!(offset, 0, "nodes begin between nodes");
            place
        };
        let inserted = self.edit().insert(place, block, count as u32);
        if inserted.is_err() {
            node::free(&mut self.collection, block);
        }
        inserted
    }

    /// Inserts a node of one element.
    fn insert_one(&mut self, index: usize, element: &[u8]) -> Result<(), OutOfMemory> {
        let growth = if self.is_large(element.len()) { None } else { Some(self.growth()) };
        let block = node::store_one(&mut self.collection, element, growth)?;
        self.insert_node(index, block, 1)
    }

    fn remove_node(&mut self, node: &Found) -> Result<(), OutOfMemory> {
        self.edit().remove(&node.place)?;
        node::free(&mut self.collection, node.block);
        Ok(())
    }

    /// Changes the listpack of a node, which has `size` bytes in the server then, and is not empty.
    fn patch(&mut self, node: &Found, patch: &Patch, size: usize) -> Result<(), OutOfMemory> {
        let count = patch.count_after() as u32;
        self.edit().own(&node.place)?;
        let growth = self.growth();
        let block = node::patch(&mut self.collection, node.block, patch, (size, growth))?;
        self.edit().set(&node.place, block, count)?;
        if block != node.block {
            node::free(&mut self.collection, node.block);
        }
        Ok(())
    }

    /// Adds an element to a node that has room, as its element number `offset`.
    fn add(&mut self, node: &Found, offset: usize, element: &[u8]) -> Result<(), OutOfMemory> {
        let (pack, element) = (self.pack(node), Element::of(element));
        let patch = pack.splice(pack.seek(offset).expect("it is in the node"), 0, &[element]);
        self.patch(node, &patch, node.head.size + sizes::of_element(element))
    }

    /// Takes away elements of a node, but not all of them.
    fn thin(&mut self, node: &Found, offset: usize, count: usize) -> Result<(), OutOfMemory> {
        let pack = self.pack(node);
        let at = pack.seek(offset).expect("it is in the node");
        let gone: usize = pack.iter_from(at).take(count).map(sizes::of_element).sum();
        let patch = pack.splice(at, count, &[]);
        self.patch(node, &patch, node.head.size - gone)
    }

    /// Gives what will not grow soon no more room than it needs.
    fn fit(&mut self, node: &Found) {
        if self.edit().own(&node.place).is_err() {
            return;
        }
        let block = node::fit(&mut self.collection, node.block);
        if block != node.block && self.edit().set(&node.place, block, node.count as u32).is_ok() {
            node::free(&mut self.collection, node.block);
        }
    }

    /// Pushes an element to an end. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(super) fn push(&mut self, end: End, element: &[u8]) -> Result<(), OutOfMemory> {
        let len = self.as_ref().len();
        let (index, last) = match end {
            End::Left => (0, self.node_of(0)),
            End::Right => (len, len.checked_sub(1).and_then(|last| self.node_of(last))),
        };
        if !self.has_room(last.as_ref(), element.len()) {
            self.insert_one(index, element)?;
            let full = match end {
                End::Left => self.node_of(1),
                End::Right => len.checked_sub(1).and_then(|last| self.node_of(last)),
            };
            full.iter().for_each(|full| self.fit(full));
            return Ok(());
        }
        let node = last.expect("there is one with room");
        let offset = if end == End::Left { 0 } else { node.count };
        self.add(&node, offset, element)
    }

    /// Takes out the element at an end, after `read` has had it; `None` where that says no, and all stays, or there is none. Beside what it has made of the
    /// element it is told whether there may be one node left. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(super) fn pop<R>(
        &mut self,
        end: End,
        read: impl FnOnce(Element<'_>) -> Option<R>,
    ) -> Result<Option<(R, bool)>, OutOfMemory> {
        let len = self.as_ref().len();
        let index = if end == End::Left { 0 } else { len.saturating_sub(1) };
        let Some(node) = self.node_of(index) else { return Ok(None) };
        let content = Content::at(self.collection.view(), node.block, node.head);
        let pack = match content {
            Content::Pack(pack) if node.count > 1 => pack,
            Content::Pack(_) | Content::Plain(_) => {
                let Some(read) = content.get(0).and_then(read) else { return Ok(None) };
                self.remove_node(&node)?;
                self.tidy();
                return Ok(Some((read, true)));
            }
        };
        let at = if end == End::Left { pack.start() } else { pack.before_last().expect("it has elements") };
        let element = pack.element(at).expect("it has elements");
        let Some(read) = read(element) else { return Ok(None) };
        let size = node.head.size - sizes::of_element(element);
        let patch = pack.splice(at, 1, &[]);
        self.patch(&node, &patch, size)?;
        self.tidy();
        Ok(Some((read, node.count == len)))
    }

    /// Removes elements from an index on: as many as there are. O(log n) a node, and the elements of two nodes.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what has not been removed by then is there, unless it is one node's.
    pub(super) fn remove_range(&mut self, start: usize, count: usize) -> Result<(), OutOfMemory> {
        let mut left = count;
        while left > 0
            && let Some((node, offset)) = self.find(start)
        {
            let gone = left.min(node.count - offset);
            if gone == node.count {
                self.remove_node(&node)?;
            } else {
                self.thin(&node, offset, gone)?;
            }
            left -= gone;
        }
        self.tidy();
        Ok(())
    }

    /// Inserts an element before another, or behind it. O(log n + elements of some nodes).
    ///
    /// # Errors
    /// [`OutOfMemory`]; whoever needs the list as it was has a copy.
    pub(super) fn insert(&mut self, index: usize, behind: bool, element: &[u8]) -> Result<(), OutOfMemory> {
        let (node, offset) = self.find(index).expect("the other element is there");
        let gap = if behind { offset + 1 } else { offset };
        let is_at_end = if behind { gap == node.count } else { gap == 0 };
        let at = node.start() + gap;
        if self.is_large(element.len()) {
            if !is_at_end {
                self.split(&node, gap)?;
            }
            return self.insert_one(at, element);
        }
        if self.has_room(Some(&node), element.len()) {
            return self.add(&node, gap, element);
        }
        if is_at_end {
            let neighbour = if behind { self.after(&node) } else { self.before(&node) };
            return match neighbour.filter(|node| self.has_room(Some(node), element.len())) {
                Some(next) if behind => self.add(&next, 0, element),
                Some(previous) => self.add(&previous, previous.count, element),
                None => self.insert_one(at, element),
            };
        }
        self.split(&node, gap)?;
        // It goes to the part that the other element is not in.
        let part = self.node_of(if behind { at } else { at - 1 }).expect("both parts have elements");
        self.add(&part, if behind { 0 } else { part.count }, element)?;
        self.merge_around(if behind { index } else { index + 1 })
    }

    /// Puts another element in the place of one. O(log n + elements of a node).
    ///
    /// # Errors
    /// As [`List::insert`].
    pub(super) fn replace(&mut self, index: usize, element: &[u8]) -> Result<(), OutOfMemory> {
        let (node, offset) = self.find(index).expect("the element is there");
        let is_large = self.is_large(element.len());
        if !node.head.is_plain && !is_large {
            let (pack, element) = (self.pack(&node), Element::of(element));
            let at = pack.seek(offset).expect("it is in the node");
            let before = sizes::of_element(pack.element(at).expect("it is in the node"));
            let patch = pack.splice(at, 1, &[element]);
            return self.patch(&node, &patch, node.head.size - before + sizes::of_element(element));
        }
        if node.head.is_plain {
            if is_large {
                self.edit().own(&node.place)?;
                let block = node::store_one(&mut self.collection, element, None)?;
                self.edit().set(&node.place, block, 1)?;
                node::free(&mut self.collection, node.block);
                return Ok(());
            }
            self.insert(index, true, element)?;
            let node = self.node_of(index).expect("it is before the new one");
            return self.remove_node(&node);
        }
        // A node of its own between two parts of this one.
        if offset + 1 < node.count {
            self.split(&node, offset + 1)?;
        }
        self.insert_one(index + 1, element)?;
        let node = self.node_of(index).expect("it is before the new one");
        if node.count == 1 {
            return self.remove_node(&node);
        }
        self.thin(&node, node.count - 1, 1)?;
        self.merge_around(index)
    }

    /// Removes elements that are equal to this one, up to so many, from either end, and says how many. O(n).
    ///
    /// # Errors
    /// As [`List::insert`].
    pub(super) fn remove_equal(
        &mut self,
        end: End,
        element: &[u8],
        most: usize,
    ) -> Result<usize, OutOfMemory> {
        let (mut removed, mut at) = (0, if end == End::Left { 0 } else { self.as_ref().len() });
        while removed < most {
            let index = if end == End::Left { Some(at) } else { at.checked_sub(1) };
            let Some(node) = index.and_then(|index| self.node_of(index)) else { break };
            let gone = self.remove_equal_of(&node, end, element, most - removed)?;
            removed += gone;
            at = if end == End::Left { node.end() - gone } else { node.start() };
        }
        self.tidy();
        Ok(removed)
    }

    fn remove_equal_of(
        &mut self,
        node: &Found,
        end: End,
        element: &[u8],
        most: usize,
    ) -> Result<usize, OutOfMemory> {
        let content = Content::of(self.collection.view(), node.block);
        let pack = match content {
            Content::Plain(bytes) if bytes == element => return self.remove_node(node).map(|()| 1),
            Content::Plain(_) => return Ok(0),
            Content::Pack(pack) => pack,
        };
        let Some(kept) = super::without(pack, end, element, most) else { return Ok(0) };
        let gone = node.count - kept.len();
        if kept.is_empty() {
            drop(kept);
            return self.remove_node(node).map(|()| gone);
        }
        let size = sizes::EMPTY + kept.iter().copied().map(sizes::of_element).sum::<usize>();
        let patch = pack.splice(pack.seek(0).expect("there is a beginning"), node.count, &kept);
        drop(kept);
        self.patch(node, &patch, size).map(|()| gone)
    }

    /// Writes a list anew that is short and mostly holes. Without memory it stays as it is.
    fn tidy(&mut self) {
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
        self.collection.set_own(FORM, other.collection.view().own(FORM));
        let (view, growth) = (other.collection.view(), Growth::None);
        let mut walk = other.as_ref().tree().walk(other.as_ref().tree().first());
        while let Some((block, count)) = walk.next() {
            let size = Head::of(view, block).size;
            let block = match Content::of(view, block) {
                Content::Pack(pack) => node::store_pack(&mut self.collection, pack.bytes(), size, growth)?,
                Content::Plain(bytes) => node::store_one(&mut self.collection, bytes, None)?,
            };
            self.insert_node(self.as_ref().len(), block, count as usize)?;
        }
        Ok(())
    }

    pub(super) fn is_in_pages(&self) -> bool {
        self.collection.is_in_pages()
    }

    /// Pages that it has.
    pub(super) fn pages(&self) -> usize {
        self.collection.view().pages()
    }
}

impl Rooted for List {
    as_its_collection!();

    /// Its pages, if it has elements: those are what dropping it costs.
    fn elements(&self) -> usize {
        if self.as_ref().len() == 0 { 0 } else { self.pages().max(1) }
    }

    fn page_bytes(root: Root<'_>, _: &Pool) -> usize {
        Large::new(root).page_bytes()
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("len", &self.as_ref().len()).finish_non_exhaustive()
    }
}
