//! A stream that is read, whether it is packed or large.

use std::ops::RangeInclusive;

use super::id::Id;
use super::large::{ADDED, DELETED, GROUPS, LAST, NODES, Nodes, RADIX, TOLD, Trim};
use super::node::{self, Entry, Head, Node};
use super::packed::{self, Numbers};
use super::radix::{self, Around};
use crate::store::collection::View;
use crate::store::collection::tree::{Anchor, Place, Tree};
use crate::store::memory::Ref;
use crate::value::rooted::Root;

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
        Self::of(View::new(root.words, root.region))
    }

    pub(super) fn of(view: View<'a>) -> Self {
        Self(Form::Large(view))
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

    pub(super) fn told(self) -> Ref {
        Ref::new(self.view().own(TOLD) as u32).expect("a stream begins with its numbers")
    }

    /// Word number `at` of a block.
    pub(super) fn word(self, block: Ref, at: usize) -> u64 {
        u64::from_le(self.view().word_of(block, at))
    }

    pub(super) fn id_at(self, block: Ref, at: usize) -> Id {
        Id { ms: self.word(block, at), seq: self.word(block, at + 1) }
    }

    pub(super) fn tree(self) -> Tree<'a, Nodes> {
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
    pub(super) fn place_of(self, id: Id) -> Option<(Place, Ref, u64)> {
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

    /// Visits the nodes in order, each with the number of its entries.
    ///
    /// # Errors
    /// The first that `visit` returns; it is not called again.
    pub(crate) fn each_node<E>(self, mut visit: impl FnMut(Node<'a>, u64) -> Result<(), E>) -> Result<(), E> {
        let view = match self.0 {
            Form::Large(view) => view,
            Form::Packed(bytes) => {
                let node = packed::node(bytes);
                return if node.is_begun() { visit(node, self.len()) } else { Ok(()) };
            }
        };
        let mut walk = self.tree().walk(self.tree().first());
        while let Some((block, live)) = walk.next() {
            visit(Node::of(view, block), live)?;
        }
        Ok(())
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

    /// How many nodes the server's radix tree of the nodes' IDs has: what follows from these alone. O(1).
    pub(crate) fn radix_nodes(self) -> usize {
        match self.0 {
            // One key is a run and an end.
            Form::Packed(_) => radix::EMPTY + self.nodes(),
            Form::Large(_) => radix::EMPTY + self.word(self.told(), RADIX) as usize,
        }
    }

    /// What nodes there are around a range of their keys. O(log nodes).
    pub(super) fn around(self, keys: RangeInclusive<u128>) -> Around {
        let (tree, id_of) = (self.tree(), |item| node::id_of(self.view(), item));
        let (from, to) = (Id::of_key(*keys.start()), Id::of_key(*keys.end()));
        let beside = |place: Place| {
            let before = tree.walk(place.clone()).previous();
            let key = |(item, _)| id_of(item).key();
            (before.map(key), tree.walk(place).next().map(key))
        };
        let (before, first) = beside(tree.seek(from.ms, |item| id_of(item) < from));
        let (last, behind) = beside(tree.seek(to.ms, |item| id_of(item) <= to));
        Around { before, ends: first.filter(|first| keys.contains(first)).zip(last), behind }
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
