//! The nodes of a tree: what stands in their words, and moving it.

use std::marker::PhantomData;

use super::Items;
use crate::store::memory::Ref;
use crate::store::memory::chunks::{set_slot, slot};
use crate::store::memory::words::Words;

/// Words of a leaf: 63 items of unit weight, 31 of others. Four cache lines; other lengths have not been measured yet.
pub(super) const LEAF_WORDS: usize = 32;
/// Words of the first leaf of a tree, while it has few items. Doubled until it is as long as others.
pub(super) const FIRST_LEAF_WORDS: usize = 4;
/// Children of an inner node.
pub(super) const CHILDREN: usize = 21;
/// Words of an inner node.
pub(super) const INNER_WORDS: usize = 1 + 3 * CHILDREN;

/// A leaf.
pub(super) struct Leaf<'a, I> {
    words: Words<'a>,
    items: PhantomData<I>,
}

impl<I> Clone for Leaf<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Leaf<'_, I> {}

fn reference(number: u32) -> Ref {
    Ref::new(number).expect("nodes hold references")
}

impl<'a, I: Items> Leaf<'a, I> {
    /// Items of a full one.
    pub(super) const MOST: usize = Self::most_in(LEAF_WORDS);

    /// Items of a full one of so many words.
    pub(super) const fn most_in(words: usize) -> usize {
        if I::UNIT { words * 2 - 1 } else { words - 1 }
    }

    pub(super) fn new(words: Words<'a>) -> Self {
        Self { words, items: PhantomData }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.words.word(0) as u32 as usize
    }

    #[inline]
    pub(super) fn item(self, at: usize) -> Ref {
        reference(if I::UNIT { slot(self.words, 1 + at) } else { self.words.word(1 + at) as u32 })
    }

    #[inline]
    pub(super) fn weight(self, at: usize) -> u64 {
        if I::UNIT { 1 } else { self.words.word(1 + at) >> 32 }
    }

    /// The weight of the first `len` items.
    pub(super) fn weight_of_first(self, len: usize) -> u64 {
        if I::UNIT { len as u64 } else { (0..len).map(|at| self.weight(at)).sum() }
    }

    pub(super) fn set_len(self, len: usize) {
        set_slot(self.words, 0, len as u32);
    }

    pub(super) fn set(self, at: usize, item: Ref, weight: u32) {
        if I::UNIT {
            set_slot(self.words, 1 + at, item.get());
        } else {
            self.words.set_word(1 + at, u64::from(weight) << 32 | u64::from(item.get()));
        }
    }

    /// Puts an item before number `at`; there is room for it.
    pub(super) fn insert(self, at: usize, item: Ref, weight: u32) {
        let (words, len) = (self.words, self.len());
        if I::UNIT {
            let (first, last) = (1 + at, 1 + len);
            for index in (first / 2 + 1..=last / 2).rev() {
                words.set_word(index, words.word(index) << 32 | words.word(index - 1) >> 32);
            }
            if first.is_multiple_of(2) {
                words.set_word(first / 2, words.word(first / 2) << 32);
            }
        } else {
            (at..len).rev().for_each(|at| words.set_word(2 + at, words.word(1 + at)));
        }
        self.set(at, item, weight);
        self.set_len(len + 1);
    }

    /// Takes item number `at` out.
    pub(super) fn remove(self, at: usize) {
        let (words, len) = (self.words, self.len());
        if I::UNIT {
            let (first, last) = (1 + at, len);
            let next = |index: usize| if index < last / 2 { words.word(index + 1) << 32 } else { 0 };
            if first.is_multiple_of(2) {
                words.set_word(first / 2, words.word(first / 2) >> 32 | next(first / 2));
            } else {
                words.set_word(first / 2, words.word(first / 2) & 0xffff_ffff | next(first / 2));
            }
            for index in first / 2 + 1..=last / 2 {
                words.set_word(index, words.word(index) >> 32 | next(index));
            }
        } else {
            (at + 1..len).for_each(|at| words.set_word(at, words.word(1 + at)));
        }
        self.set_len(len - 1);
    }

    /// Moves the items from number `at` on to the end of another leaf, which has room for them.
    pub(super) fn move_to(self, at: usize, other: Leaf<'_, I>) {
        let (len, behind) = (self.len(), other.len());
        (at..len).for_each(|from| other.set(behind + from - at, self.item(from), self.weight(from) as u32));
        other.set_len(behind + len - at);
        self.set_len(at);
    }
}

/// What an inner node knows of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) node: Ref,
    pub(super) first: Ref,
    pub(super) hint: u64,
    pub(super) weight: u64,
}

/// An inner node.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a>(pub(super) Words<'a>);

impl Inner<'_> {
    #[inline]
    pub(super) fn len(self) -> usize {
        self.0.word(0) as usize
    }

    #[inline]
    pub(super) fn child(self, at: usize) -> Ref {
        reference(self.0.word(1 + at) as u32)
    }

    #[inline]
    pub(super) fn first(self, at: usize) -> Ref {
        reference((self.0.word(1 + at) >> 32) as u32)
    }

    #[inline]
    pub(super) fn weight(self, at: usize) -> u64 {
        self.0.word(1 + CHILDREN + at)
    }

    #[inline]
    pub(super) fn hint(self, at: usize) -> u64 {
        self.0.word(1 + 2 * CHILDREN + at)
    }

    pub(super) fn get(self, at: usize) -> Child {
        Child { node: self.child(at), first: self.first(at), hint: self.hint(at), weight: self.weight(at) }
    }

    pub(super) fn set_len(self, len: usize) {
        self.0.set_word(0, len as u64);
    }

    pub(super) fn set_weight(self, at: usize, weight: u64) {
        self.0.set_word(1 + CHILDREN + at, weight);
    }

    pub(super) fn set_first(self, at: usize, first: Ref, hint: u64) {
        self.0.set_word(1 + at, u64::from(first.get()) << 32 | u64::from(self.child(at).get()));
        self.0.set_word(1 + 2 * CHILDREN + at, hint);
    }

    pub(super) fn set(self, at: usize, child: Child) {
        self.0.set_word(1 + at, u64::from(child.first.get()) << 32 | u64::from(child.node.get()));
        self.set_weight(at, child.weight);
        self.0.set_word(1 + 2 * CHILDREN + at, child.hint);
    }

    /// Puts a child before number `at`; there is room for it.
    pub(super) fn insert(self, at: usize, child: Child) {
        let len = self.len();
        (at..len).rev().for_each(|from| self.set(from + 1, self.get(from)));
        self.set(at, child);
        self.set_len(len + 1);
    }

    /// Takes child number `at` out.
    pub(super) fn remove(self, at: usize) {
        let len = self.len();
        (at + 1..len).for_each(|from| self.set(from - 1, self.get(from)));
        self.set_len(len - 1);
    }

    /// The weight below it.
    pub(super) fn total(self) -> u64 {
        (0..self.len()).map(|at| self.weight(at)).sum()
    }

    /// Moves the children from number `at` on to the end of another node, which has room for them.
    pub(super) fn move_to(self, at: usize, other: Inner<'_>) {
        let (len, behind) = (self.len(), other.len());
        (at..len).for_each(|from| other.set(behind + from - at, self.get(from)));
        other.set_len(behind + len - at);
        self.set_len(at);
    }
}
