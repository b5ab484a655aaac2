//! A counted B+ tree of 32-bit block references, in the blocks of a [`Collection`]: the order of a sorted set, a list or a stream.
//! What an item is, and what it is ordered by, is left to the tree's user, who also owns the blocks that items refer to.
//!
//! **Items** stand in leaves, each with a weight: what it counts for in positions. Members of a sorted set weigh 1 each ([`Items::UNIT`]), and their
//! weights take no room; a listpack weighs as much as it has elements. An inner node knows of each child how much is below it, the first item there, and
//! that item's *hint*: a number that never falls from one item to the next. So positions, ranks and most comparisons need nothing but the nodes, and
//! an item itself is only looked at where hints are equal.
//!
//! ```text
//! anchor    the collection's first own number, or a word of a block: the top node, above it the height, and the words of a top leaf that is short; the
//!           second number, or the next word: the weight of all
//! leaf      count (u32) | items (u32 each)                                   of unit weight
//!           count (u32) | nothing (u32) | item (u32), weight (u32) | ...     else
//! inner     count (u32) | nothing (u32) | child (u32), first item (u32) | ... | weights (u64 each) | hints (u64 each)
//! ```
//!
//! **Shape.** A node that is full is split in halves; at either end of the tree it stays full and the item begins a node of its own, so that what is filled in
//! order leaves no gaps. The first leaf begins short and doubles, so that a tree of few items is small. A node that falls below a quarter is merged with a neighbour if both fill three quarters of one, and an empty one goes. So all
//! operations are O(log n), and each writes to one node a level, to twice as many where nodes are split or merged.
//!
//! **Sharing and memory.** Whoever changes the tree makes the nodes from the root to the place its own first, and takes the blocks that new nodes need;
//! only then it writes. So a refusal leaves the tree as it was. A merge that finds no memory is put off.
//!
//! **Places** ([`Place`]) are ways from the root to a gap between two items. A change of the tree makes all of them invalid.

mod edit;
mod node;

use std::marker::PhantomData;

use smallvec::SmallVec;

use super::{Own, View};
use crate::store::memory::Ref;
pub(crate) use edit::TreeMut;
use node::{Inner, Leaf};

/// The top node, and above it the height: 0 if that is a leaf.
const ROOT: Own = Own::First;
const WEIGHT: Own = Own::Second;
/// From this bit on the words of a top leaf that is shorter than others.
const SHORT_LEAF: u32 = 40;

/// Where it is noted which node is the top one, and the weight of all. A collection can have many trees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    /// In the collection's own numbers.
    Own,
    /// In two words of a block, from this one on. They are zero while the tree is empty.
    In(Ref, usize),
}

/// What the items of a tree are.
pub(crate) trait Items {
    /// Whether each weighs 1. Their weights take no room then.
    const UNIT: bool;

    /// A number that is never less than that of an item before this one; the same for all where there is no such number.
    fn hint(view: View<'_>, item: Ref) -> u64;
}

/// A step on the way to a place: a node, and which of its children or items.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: Ref,
    at: u32,
}

/// A gap between two items, or before the first, or behind the last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// From the root to the leaf; none in an empty tree.
    steps: SmallVec<[Step; 6]>,
    before: u64,
}

impl Place {
    /// The weight of all items before it: the rank, or the position, of the item behind it. O(1).
    pub(crate) fn before(&self) -> u64 {
        self.before
    }
}

/// A tree to read. See the module's text.
pub(crate) struct Tree<'a, I> {
    view: View<'a>,
    anchor: Anchor,
    items: PhantomData<I>,
}

impl<I> Clone for Tree<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Tree<'_, I> {}

impl<'a, I: Items> Tree<'a, I> {
    /// The one tree of a collection.
    pub(crate) fn new(view: View<'a>) -> Self {
        Self::anchored(view, Anchor::Own)
    }

    /// One of several trees.
    pub(crate) fn anchored(view: View<'a>, anchor: Anchor) -> Self {
        Self { view, anchor, items: PhantomData }
    }

    /// The weight of all items. O(1).
    pub(crate) fn weight(self) -> u64 {
        match self.anchor {
            Anchor::Own => self.view.own(WEIGHT),
            Anchor::In(block, at) => self.view.word_of(block, at + 1),
        }
    }

    fn root_word(self) -> u64 {
        match self.anchor {
            Anchor::Own => self.view.own(ROOT),
            Anchor::In(block, at) => self.view.word_of(block, at),
        }
    }

    /// The top node and the height.
    fn root(self) -> Option<(Ref, u32)> {
        let word = self.root_word();
        Some((Ref::new(word as u32)?, (word >> 32) as u32 & 0xff))
    }

    /// Words of the top node, if it is a leaf.
    fn top_leaf_words(self) -> usize {
        match self.root_word() >> SHORT_LEAF {
            0 => node::LEAF_WORDS,
            words => words as usize,
        }
    }

    fn inner(self, node: Ref) -> Inner<'a> {
        Inner(self.view.words(node))
    }

    fn leaf(self, node: Ref) -> Leaf<'a, I> {
        Leaf::new(self.view.words(node))
    }

    /// The place before the first item of which `is_before` is false. An item whose hint is less is before it, one whose hint is greater is not, and `is_before`
    /// is asked about the others alone. It must be true for some first items and false for all behind them. O(log n).
    pub(crate) fn seek(self, hint: u64, mut is_before: impl FnMut(Ref) -> bool) -> Place {
        let mut place = Place::default();
        let Some((mut node, height)) = self.root() else { return place };
        for _ in 0..height {
            let inner = self.inner(node);
            // The first item of the first child makes no difference: there is nowhere before it to go.
            let at = first_where(1, inner.len(), |at| match inner.hint(at) {
                other if other == hint => !is_before(inner.first(at)),
                other => other > hint,
            }) - 1;
            node = place.step(inner, node, at);
        }
        let leaf = self.leaf(node);
        let at = first_where(0, leaf.len(), |at| {
            let item = leaf.item(at);
            match I::hint(self.view, item) {
                other if other == hint => !is_before(item),
                other => other > hint,
            }
        });
        place.end_in(leaf, node, at);
        place
    }

    /// The place of the item that holds element number `position`, counted by weight from 0, and which of the item's elements that is; `None` beyond the
    /// last. O(log n).
    pub(crate) fn at(self, position: u64) -> Option<(Place, u64)> {
        if position >= self.weight() {
            return None;
        }
        let mut place = Place::default();
        let (mut node, height) = self.root()?;
        for _ in 0..height {
            let inner = self.inner(node);
            let (mut at, mut before) = (0, place.before);
            while at + 1 < inner.len() && before + inner.weight(at) <= position {
                before += inner.weight(at);
                at += 1;
            }
            place.before = before;
            place.steps.push(Step { node, at: at as u32 });
            node = inner.child(at);
        }
        let leaf = self.leaf(node);
        let mut left = position - place.before;
        let mut at = if I::UNIT { left as usize } else { 0 };
        if I::UNIT {
            left = 0;
        }
        while !I::UNIT && left >= leaf.weight(at) {
            left -= leaf.weight(at);
            at += 1;
        }
        place.end_in(leaf, node, at);
        Some((place, left))
    }

    /// The place before the first item. O(log n).
    pub(crate) fn first(self) -> Place {
        let mut place = Place::default();
        if let Some((node, height)) = self.root() {
            self.descend(&mut place, node, height, false);
        }
        place
    }

    /// The place behind the last item. O(log n).
    pub(crate) fn end(self) -> Place {
        let mut place = Place { before: self.weight(), ..Place::default() };
        if let Some((node, height)) = self.root() {
            self.descend(&mut place, node, height, true);
        }
        place
    }

    /// Lengthens a way by that to one end of what is below a node of this height.
    fn descend(self, place: &mut Place, mut node: Ref, height: u32, to_end: bool) {
        for _ in 0..height {
            let inner = self.inner(node);
            let at = if to_end { inner.len() - 1 } else { 0 };
            place.steps.push(Step { node, at: at as u32 });
            node = inner.child(at);
        }
        let at = if to_end { self.leaf(node).len() } else { 0 };
        place.steps.push(Step { node, at: at as u32 });
    }

    /// The item behind a place, and its weight. O(1), or O(log n) at the end of a node.
    pub(crate) fn item(self, place: &Place) -> Option<(Ref, u64)> {
        let step = place.steps.last()?;
        let leaf = self.leaf(step.node);
        if (step.at as usize) < leaf.len() {
            return Some((leaf.item(step.at as usize), leaf.weight(step.at as usize)));
        }
        self.walk(place.clone()).next()
    }

    /// Goes over the items from a place on, in either direction.
    pub(crate) fn walk(self, place: Place) -> Walk<'a, I> {
        let leaf = place.steps.last().map(|step| self.leaf(step.node));
        Walk { tree: self, place, leaf }
    }
}

impl Place {
    /// Goes on to a child.
    fn step(&mut self, inner: Inner<'_>, node: Ref, at: usize) -> Ref {
        self.before += (0..at).map(|at| inner.weight(at)).sum::<u64>();
        self.steps.push(Step { node, at: at as u32 });
        inner.child(at)
    }

    fn end_in<I: Items>(&mut self, leaf: Leaf<'_, I>, node: Ref, at: usize) {
        self.before += leaf.weight_of_first(at);
        self.steps.push(Step { node, at: at as u32 });
    }
}

/// The first number of a range for which `is_it`, or its end; it is false for some first numbers and true for the others.
fn first_where(from: usize, to: usize, mut is_it: impl FnMut(usize) -> bool) -> usize {
    let (mut from, mut to) = (from, to.max(from));
    while from < to {
        let middle = from.midpoint(to);
        if is_it(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// A walk over items, from a place on. Each step is O(1), but for O(log n) from node to node.
pub(crate) struct Walk<'a, I> {
    tree: Tree<'a, I>,
    place: Place,
    /// The leaf of the place.
    leaf: Option<Leaf<'a, I>>,
}

impl<I: Items> Walk<'_, I> {
    /// Where it has come to.
    pub(crate) fn into_place(self) -> Place {
        self.place
    }

    /// The item behind the place, with its weight; the place is behind it then.
    pub(crate) fn next(&mut self) -> Option<(Ref, u64)> {
        let at = self.place.steps.last()?.at as usize;
        if at == self.leaf?.len() && !self.turn(true) {
            return None;
        }
        let (leaf, step) = (self.leaf?, self.place.steps.last_mut()?);
        let at = step.at as usize;
        step.at += 1;
        self.place.before += leaf.weight(at);
        Some((leaf.item(at), leaf.weight(at)))
    }

    /// The item before the place, with its weight; the place is before it then.
    pub(crate) fn previous(&mut self) -> Option<(Ref, u64)> {
        if self.place.steps.last()?.at == 0 && !self.turn(false) {
            return None;
        }
        let (leaf, step) = (self.leaf?, self.place.steps.last_mut()?);
        step.at -= 1;
        let at = step.at as usize;
        self.place.before -= leaf.weight(at);
        Some((leaf.item(at), leaf.weight(at)))
    }

    /// Goes to the nearer end of the next leaf, or of the previous one; false, and stays, if there is none.
    fn turn(&mut self, forward: bool) -> bool {
        let steps = &mut self.place.steps;
        for height in 1..steps.len() {
            let index = steps.len() - 1 - height;
            let step = &mut steps[index];
            let inner = self.tree.inner(step.node);
            let at = if forward { step.at as usize + 1 } else { (step.at as usize).wrapping_sub(1) };
            if at < inner.len() {
                step.at = at as u32;
                steps.truncate(index + 1);
                self.tree.descend(&mut self.place, inner.child(at), height as u32 - 1, !forward);
                self.leaf = self.place.steps.last().map(|step| self.tree.leaf(step.node));
                return true;
            }
        }
        false
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
