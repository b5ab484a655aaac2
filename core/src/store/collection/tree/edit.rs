//! Changing a tree. What is to be written to is made the tree's own first, so a refusal of memory changes nothing.

use std::borrow::Cow;
use std::marker::PhantomData;

use smallvec::SmallVec;

use super::node::{CHILDREN, Child, FIRST_LEAF_WORDS, INNER_WORDS, Inner, LEAF_WORDS, Leaf};
use super::{Anchor, Items, Place, ROOT, SHORT_LEAF, Step, Tree, WEIGHT};
use crate::store::collection::Collection;
use crate::store::collection::Own;
use crate::store::memory::{OutOfMemory, Ref};

/// A tree to change. See the module's text.
pub(crate) struct TreeMut<'c, I> {
    collection: &'c mut Collection,
    anchor: Anchor,
    items: PhantomData<I>,
}

/// What the parent of a changed node has to note.
struct Note {
    /// The first item below it and its hint, if that is another.
    first: Option<(Ref, u64)>,
    /// A node behind it that has taken over a part of it.
    new: Option<Child>,
}

impl<'c, I: Items> TreeMut<'c, I> {
    /// The one tree of a collection.
    pub(crate) fn new(collection: &'c mut Collection) -> Self {
        Self::anchored(collection, Anchor::Own)
    }

    /// One of several trees.
    pub(crate) fn anchored(collection: &'c mut Collection, anchor: Anchor) -> Self {
        Self { collection, anchor, items: PhantomData }
    }

    /// The tree to read.
    pub(crate) fn as_ref(&self) -> Tree<'_, I> {
        Tree::anchored(self.collection.view(), self.anchor)
    }

    fn inner(&self, node: Ref) -> Inner<'_> {
        self.as_ref().inner(node)
    }

    fn leaf(&self, node: Ref) -> Leaf<'_, I> {
        self.as_ref().leaf(node)
    }

    fn set_root(&mut self, root: Option<Ref>, height: u32) {
        let number = root.map_or(0, Ref::get);
        self.note(ROOT, u64::from(height) << 32 | u64::from(number));
    }

    /// Has the tree be one leaf of so many words.
    fn set_top_leaf(&mut self, leaf: Ref, words: usize) {
        let short = if words < LEAF_WORDS { words as u64 } else { 0 };
        self.note(ROOT, short << SHORT_LEAF | u64::from(leaf.get()));
    }

    fn add_weight(&mut self, change: u64) {
        let weight = self.as_ref().weight().wrapping_add(change);
        self.note(WEIGHT, weight);
    }

    /// Writes one of the two numbers of the anchor, which is the tree's own.
    fn note(&mut self, which: Own, value: u64) {
        match self.anchor {
            Anchor::Own => self.collection.set_own(which, value),
            Anchor::In(block, at) => {
                let at = if matches!(which, Own::First) { at } else { at + 1 };
                self.collection.view().words(block).set_word(at, value);
            }
        }
    }

    fn own_anchor(&self) -> Result<(), OutOfMemory> {
        match self.anchor {
            Anchor::Own => Ok(()),
            Anchor::In(block, _) => self.collection.own(block),
        }
    }

    /// Makes the nodes on the way to the item behind a place the tree's own, and no other's: changing or removing it needs no memory then, whatever is inserted
    /// meanwhile. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed but for who owns what.
    ///
    /// # Panics
    /// If there is no item.
    pub(crate) fn own(&self, place: &Place) -> Result<(), OutOfMemory> {
        self.own_way(&self.at_item(place))
    }

    fn own_way(&self, place: &Place) -> Result<(), OutOfMemory> {
        self.own_anchor()?;
        place.steps.iter().try_for_each(|step| self.collection.own(step.node))
    }

    /// Inserts an item at a place. `weight` is 1 where all weigh 1. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn insert(&mut self, mut place: Place, item: Ref, weight: u32) -> Result<(), OutOfMemory> {
        let Some((root, height)) = self.as_ref().root() else {
            self.own_anchor()?;
            let leaf = self.collection.alloc(FIRST_LEAF_WORDS)?;
            self.leaf(leaf).set_len(0);
            self.leaf(leaf).insert(0, item, weight);
            self.set_top_leaf(leaf, FIRST_LEAF_WORDS);
            self.add_weight(weight.into());
            return Ok(());
        };
        self.own_way(&place)?;
        let root = if height == 0 { self.lengthen(root, &mut place)? } else { root };
        let mut new_nodes = self.new_nodes(&place)?.into_iter();
        let mut steps = place.steps.iter().rev();
        let is_at_end = (is_first(&place), place.before == self.as_ref().weight());
        let leaf = *steps.next().expect("a place in a tree that has a root is in a leaf");
        let mut note = self.insert_into_leaf(leaf, (item, weight), &mut new_nodes, is_at_end);
        for step in steps {
            note = self.note_in(*step, note, weight.into(), &mut new_nodes, is_at_end);
        }
        if let Some(right) = note.new {
            let top = new_nodes.next().expect("a new root was taken");
            let left = self.child_of(root, height);
            let inner = self.inner(top);
            inner.set_len(0);
            inner.insert(0, left);
            inner.insert(1, right);
            self.set_root(Some(top), height + 1);
        }
        self.add_weight(weight.into());
        Ok(())
    }

    /// Has the one leaf that there is be longer, if it is short and full. Returns which it is then.
    fn lengthen(&mut self, leaf: Ref, place: &mut Place) -> Result<Ref, OutOfMemory> {
        let words = self.as_ref().top_leaf_words();
        if words == LEAF_WORDS || self.leaf(leaf).len() < Leaf::<I>::most_in(words) {
            return Ok(leaf);
        }
        let longer = self.collection.alloc(2 * words)?;
        self.leaf(longer).set_len(0);
        self.leaf(leaf).move_to(0, self.leaf(longer));
        self.set_top_leaf(longer, 2 * words);
        self.collection.free(leaf, words);
        place.steps[0].node = longer;
        Ok(longer)
    }

    /// Blocks for the nodes that an insertion at a place makes: all of them, or none is taken. In the order in which they are needed.
    fn new_nodes(&mut self, place: &Place) -> Result<SmallVec<[Ref; 4]>, OutOfMemory> {
        let is_full = |(height, step): (usize, &Step)| match height {
            0 => self.leaf(step.node).len() == Leaf::<I>::MOST,
            _ => self.inner(step.node).len() == CHILDREN,
        };
        let full = place.steps.iter().rev().enumerate().take_while(|step| is_full(*step)).count();
        let count = if full == place.steps.len() { full + 1 } else { full };
        let mut nodes = SmallVec::new();
        for height in 0..count {
            match self.collection.alloc(words_of(height)) {
                Ok(node) => nodes.push(node),
                Err(error) => {
                    // Backwards, so that a small root ends where it did.
                    for (height, node) in nodes.into_iter().enumerate().rev() {
                        self.collection.free(node, words_of(height));
                    }
                    return Err(error);
                }
            }
        }
        Ok(nodes)
    }

    fn insert_into_leaf(
        &self,
        Step { node, at }: Step,
        (item, weight): (Ref, u32),
        new_nodes: &mut impl Iterator<Item = Ref>,
        is_at_end: (bool, bool),
    ) -> Note {
        let (leaf, at) = (self.leaf(node), at as usize);
        let mut note = Note { first: (at == 0).then(|| (item, self.hint(item))), new: None };
        if leaf.len() < Leaf::<I>::MOST {
            leaf.insert(at, item, weight);
            return note;
        }
        let new = new_nodes.next().expect("a node was taken for each that is full");
        let (right, cut) = (self.leaf(new), cut(leaf.len(), at, is_at_end));
        right.set_len(0);
        leaf.move_to(cut, right);
        if at < cut || (at == cut && right.len() > 0) {
            leaf.insert(at, item, weight);
        } else {
            right.insert(at - cut, item, weight);
        }
        note.new = Some(self.child_of(new, 0));
        note
    }

    /// Notes in an inner node what has become of a child, below which there is so much weight more.
    fn note_in(
        &self,
        Step { node, at }: Step,
        Note { first, new }: Note,
        weight: u64,
        new_nodes: &mut impl Iterator<Item = Ref>,
        is_at_end: (bool, bool),
    ) -> Note {
        let (inner, at) = (self.inner(node), at as usize);
        let moved = new.map_or(0, |new| new.weight);
        inner.set_weight(at, inner.weight(at) + weight - moved);
        if let Some((first, hint)) = first {
            inner.set_first(at, first, hint);
        }
        let mut note = Note { first: first.filter(|_| at == 0), new: None };
        let Some(new) = new else { return note };
        let place = at + 1;
        if inner.len() < CHILDREN {
            inner.insert(place, new);
            return note;
        }
        let node = new_nodes.next().expect("a node was taken for each that is full");
        let (right, cut) = (self.inner(node), cut(inner.len(), place, is_at_end));
        right.set_len(0);
        inner.move_to(cut, right);
        if place <= cut && right.len() > 0 {
            inner.insert(place, new);
        } else {
            right.insert(place - cut, new);
        }
        let first = right.get(0);
        note.new = Some(Child { node, weight: right.total(), ..first });
        note
    }

    fn hint(&self, item: Ref) -> u64 {
        I::hint(self.collection.view(), item)
    }

    /// What a parent knows of a node of this height, which is not empty.
    fn child_of(&self, node: Ref, height: u32) -> Child {
        if height > 0 {
            let inner = self.inner(node);
            return Child { node, weight: inner.total(), ..inner.get(0) };
        }
        let leaf = self.leaf(node);
        let first = leaf.item(0);
        Child { node, first, hint: self.hint(first), weight: leaf.weight_of_first(leaf.len()) }
    }

    /// Puts another reference and weight in the place of the item behind `place`, whose hint may be another as well; its order is the same. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    ///
    /// # Panics
    /// If there is no item.
    pub(crate) fn set(&mut self, place: &Place, item: Ref, weight: u32) -> Result<(), OutOfMemory> {
        let place = self.at_item(place);
        self.own_way(&place)?;
        let (step, above) = place.steps.split_last().expect("there is an item");
        let (leaf, at) = (self.leaf(step.node), step.at as usize);
        let change = u64::from(weight).wrapping_sub(leaf.weight(at));
        leaf.set(at, item, weight);
        let mut first = (at == 0).then(|| (item, self.hint(item)));
        for step in above.iter().rev() {
            let (inner, at) = (self.inner(step.node), step.at as usize);
            inner.set_weight(at, inner.weight(at).wrapping_add(change));
            if let Some((item, hint)) = first {
                inner.set_first(at, item, hint);
            }
            first = first.filter(|_| at == 0);
        }
        self.add_weight(change);
        Ok(())
    }

    /// Takes out the item behind a place. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`] where the way there is shared; nothing has changed. None after [`TreeMut::own`].
    ///
    /// # Panics
    /// If there is no item.
    pub(crate) fn remove(&mut self, place: &Place) -> Result<(), OutOfMemory> {
        let place = self.at_item(place);
        self.own_way(&place)?;
        let (step, above) = place.steps.split_last().expect("there is an item");
        let (leaf, at) = (self.leaf(step.node), step.at as usize);
        let weight = leaf.weight(at);
        leaf.remove(at);
        let mut is_empty = leaf.len() == 0;
        let mut first = (at == 0 && !is_empty).then(|| (leaf.item(0), self.hint(leaf.item(0))));
        for (height, step) in above.iter().rev().enumerate() {
            let (inner, at) = (self.inner(step.node), step.at as usize);
            if is_empty {
                let child = inner.child(at);
                inner.remove(at);
                self.collection.free(child, words_of(height));
                let inner = self.inner(step.node);
                is_empty = inner.len() == 0;
                first = (at == 0 && !is_empty).then(|| (inner.first(0), inner.hint(0)));
                continue;
            }
            inner.set_weight(at, inner.weight(at) - weight);
            if let Some((item, hint)) = first {
                inner.set_first(at, item, hint);
            }
            first = first.filter(|_| at == 0);
            self.merge_around(step.node, at, height);
        }
        self.add_weight(weight.wrapping_neg());
        self.lower();
        Ok(())
    }

    /// The place of the item behind a place: the same, but for one at the end of a node.
    fn at_item<'p>(&self, place: &'p Place) -> Cow<'p, Place> {
        if place.steps.last().is_some_and(|step| (step.at as usize) < self.leaf(step.node).len()) {
            return Cow::Borrowed(place);
        }
        let mut walk = self.as_ref().walk(place.clone());
        walk.next().expect("there is an item");
        walk.previous();
        Cow::Owned(walk.into_place())
    }

    fn len_of(&self, node: Ref, height: usize) -> usize {
        if height == 0 { self.leaf(node).len() } else { self.inner(node).len() }
    }

    /// Merges child number `at`, of this height, with a neighbour, if it is short of items and both fit into one. Without memory it stays short.
    fn merge_around(&mut self, parent: Ref, at: usize, height: usize) {
        let inner = self.inner(parent);
        let most = if height == 0 { Leaf::<I>::MOST } else { CHILDREN };
        let len = |at: usize| self.len_of(inner.child(at), height);
        if len(at) >= most / 4 {
            return;
        }
        let fits = |left: &usize| left + 1 < inner.len() && len(*left) + len(left + 1) <= most * 3 / 4;
        let Some(left) = [at.wrapping_sub(1), at].into_iter().filter(|left| *left < inner.len()).find(fits)
        else {
            return;
        };
        let (to, from) = (inner.get(left), inner.get(left + 1));
        // Nothing is written to the one that goes but that it is empty.
        if self.collection.own(to.node).and_then(|()| self.collection.own(from.node)).is_err() {
            return;
        }
        if height == 0 {
            self.leaf(from.node).move_to(0, self.leaf(to.node));
        } else {
            self.inner(from.node).move_to(0, self.inner(to.node));
        }
        let inner = self.inner(parent);
        inner.set_weight(left, to.weight + from.weight);
        inner.remove(left + 1);
        self.collection.free(from.node, words_of(height));
    }

    /// Takes away top nodes that lead to one node, or to none.
    fn lower(&mut self) {
        while let Some((root, height)) = self.as_ref().root() {
            if height == 0 {
                if self.leaf(root).len() == 0 {
                    let words = self.as_ref().top_leaf_words();
                    self.set_root(None, 0);
                    self.collection.free(root, words);
                }
                return;
            }
            let inner = self.inner(root);
            match inner.len() {
                0 => self.set_root(None, 0),
                1 => {
                    let child = inner.child(0);
                    self.set_root(Some(child), height - 1);
                }
                _ => return,
            }
            self.collection.free(root, INNER_WORDS);
        }
    }
}

fn words_of(height: usize) -> usize {
    if height == 0 { LEAF_WORDS } else { INNER_WORDS }
}

fn is_first(place: &Place) -> bool {
    place.steps.iter().all(|step| step.at == 0)
}

/// Where a full node is cut that something is inserted into: in the middle, but at the tree's ends before or behind everything.
fn cut(len: usize, at: usize, (is_at_first, is_at_last): (bool, bool)) -> usize {
    match (is_at_first, is_at_last) {
        (_, true) if at == len => len,
        (true, _) => 1,
        _ => len / 2,
    }
}
