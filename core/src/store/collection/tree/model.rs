//! A tree beside a plain list of what it should hold: shape, order and weights after each step, with shared copies and refused memory. For tests, and for
//! the fuzz target `tree`.

use super::*;
use crate::store::collection::Collection;
use crate::store::memory::{Pool, refusal};
use crate::sync::Arc;

/// Items are numbers, ordered by themselves; their hints are what is left of them when the last four bits are off, so some are equal.
pub(super) struct Numbers<const UNIT: bool>;

impl<const UNIT: bool> Items for Numbers<UNIT> {
    const UNIT: bool = UNIT;

    fn hint(_: View<'_>, item: Ref) -> u64 {
        u64::from(item.get() >> 4)
    }
}

/// A tree, and the items and weights that it should hold.
pub(super) struct Tried<const UNIT: bool> {
    collection: Collection,
    pub(super) model: Vec<(u32, u64)>,
}

pub(super) fn item(number: u32) -> Ref {
    Ref::new(number).expect("no item is 0")
}

impl<const UNIT: bool> Tried<UNIT> {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()), model: Vec::new() }
    }

    pub(super) fn share(&self) -> Self {
        Self { collection: self.collection.share(), model: self.model.clone() }
    }

    pub(super) fn tree(&self) -> Tree<'_, Numbers<UNIT>> {
        Tree::new(self.collection.view())
    }

    pub(super) fn edit(&mut self) -> TreeMut<'_, Numbers<UNIT>> {
        TreeMut::new(&mut self.collection)
    }

    pub(super) fn seek(&self, number: u32) -> Place {
        self.tree().seek(u64::from(number >> 4), |other| other.get() < number)
    }

    fn weight(&self, weight: u32) -> u32 {
        if UNIT { 1 } else { weight }
    }

    /// Inserts a number that is not there, or gives it another weight if it is; false, and nothing, without memory.
    pub(super) fn put(&mut self, number: u32, weight: u32) -> bool {
        let (place, weight) = (self.seek(number), self.weight(weight));
        let entry = (number, u64::from(weight));
        match self.model.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) => {
                let is_done = self.edit().set(&place, item(number), weight).is_ok();
                if is_done {
                    self.model[at] = entry;
                }
                is_done
            }
            Err(at) => {
                let is_done = self.edit().insert(place, item(number), weight).is_ok();
                if is_done {
                    self.model.insert(at, entry);
                }
                is_done
            }
        }
    }

    /// Takes out a number that is there; what was owned before is removed whatever happens. False, and nothing, without memory.
    fn take(&mut self, number: u32) -> bool {
        let Ok(at) = self.model.binary_search_by_key(&number, |(number, _)| *number) else { return true };
        let place = self.seek(number);
        if self.edit().own(&place).is_err() {
            return false;
        }
        refusal::set(true);
        self.edit().remove(&place).expect("the way there is its own");
        self.model.remove(at);
        true
    }

    /// Takes out the item that holds an element; false, and nothing, without memory.
    fn remove(&mut self, position: u64) -> bool {
        let Some((place, offset)) = self.tree().at(position) else { return true };
        let mut before = 0;
        let at = self.model.iter().position(|(_, weight)| {
            before += weight;
            position < before
        });
        let at = at.expect("an item holds the element");
        assert_eq!(
            (place.before(), offset),
            (before - self.model[at].1, position + self.model[at].1 - before)
        );
        let is_done = self.edit().remove(&place).is_ok();
        if is_done {
            self.model.remove(at);
        }
        is_done
    }

    /// That a node below which a parent says this is so.
    pub(super) fn check_node(&self, child: node::Child, height: u32, is_only: bool, nodes: &mut usize) {
        let tree = self.tree();
        *nodes += 1;
        if height == 0 {
            let leaf = tree.leaf(child.node);
            assert!(leaf.len() > 0 && leaf.len() <= node::Leaf::<Numbers<UNIT>>::MOST);
            let first = leaf.item(0);
            assert_eq!((child.first, child.hint), (first, Numbers::<UNIT>::hint(tree.view, first)));
            assert_eq!(child.weight, (0..leaf.len()).map(|at| leaf.weight(at)).sum::<u64>());
            return;
        }
        let inner = tree.inner(child.node);
        assert!(inner.len() > usize::from(is_only) && inner.len() <= node::CHILDREN);
        assert_eq!((child.first, child.hint), (inner.first(0), inner.hint(0)));
        assert_eq!(child.weight, inner.total());
        (0..inner.len()).for_each(|at| self.check_node(inner.get(at), height - 1, false, nodes));
    }

    pub(super) fn check(&self) {
        let (tree, model) = (self.tree(), &self.model);
        let total = model.iter().map(|(_, weight)| weight).sum::<u64>();
        assert_eq!(tree.weight(), total);
        let mut nodes = 0;
        if let Some((root, height)) = tree.root() {
            let (first, _) = model[0];
            let hint = u64::from(first >> 4);
            let child = node::Child { node: root, first: item(first), hint, weight: total };
            self.check_node(child, height, true, &mut nodes);
        } else {
            assert!(model.is_empty());
        }
        let listed = |(item, weight): (Ref, u64)| (item.get(), weight);
        let mut walk = tree.walk(tree.first());
        let forward: Vec<_> = std::iter::from_fn(|| walk.next()).map(listed).collect();
        assert_eq!(&forward, model);
        assert_eq!(walk.place.before(), total);
        let backward: Vec<_> = std::iter::from_fn(|| walk.previous()).map(listed).collect();
        assert!(backward.iter().rev().eq(model));
        assert_eq!(walk.place.before(), 0);
        let mut before = 0;
        for (number, weight) in model {
            let place = self.seek(*number);
            assert_eq!(place.before(), before);
            assert_eq!(tree.item(&place).map(listed), Some((*number, *weight)));
            before += weight;
        }
        assert_eq!(tree.end().before(), total);
        assert!(tree.item(&tree.end()).is_none() && tree.at(total).is_none());
    }
}

/// An edit. No number is 0.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "fuzzing", derive(arbitrary::Arbitrary))]
pub(super) enum Op {
    /// A number, and its weight.
    Put(
        #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::number))] u32,
        #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::weight))] u32,
    ),
    /// Numbers in a row, upwards or downwards.
    Row(#[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::number))] u32, bool),
    /// At a part of all elements, so many times.
    Remove(u32, #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::times))] usize),
    Take(#[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::number))] u32),
    /// The same done to the copy.
    Copy,
    Swap,
}

pub(super) fn run<const UNIT: bool>(ops: &[(Op, usize)]) {
    let pool = Arc::<Pool>::default();
    let mut tried = Tried::<UNIT>::new(&pool);
    let mut copy = tried.share();
    for (op, refused) in ops {
        // Most have all the memory they want.
        if *refused < 6 {
            refusal::after(*refused);
        }
        match op {
            Op::Put(number, weight) => {
                tried.put(*number, *weight);
            }
            Op::Row(start, up) => {
                for step in 0..150 {
                    let step = if *up { step } else { 149 - step };
                    tried.put(start.saturating_add(step * 3), 1 + step % 4);
                }
            }
            Op::Remove(part, times) => {
                for _ in 0..*times {
                    let position = (u128::from(tried.tree().weight()) * u128::from(*part)) >> 32;
                    tried.remove(position as u64);
                }
            }
            Op::Take(number) => {
                // One that is there, mostly.
                let at = *number as usize % tried.model.len().max(1);
                let number = tried.model.get(at).map_or(*number, |(number, _)| *number);
                tried.take(number);
            }
            Op::Copy => copy = tried.share(),
            Op::Swap => std::mem::swap(&mut tried, &mut copy),
        }
        refusal::set(false);
        tried.check();
    }
    copy.check();
    for mut tried in [tried, copy] {
        while !tried.model.is_empty() {
            assert!(tried.remove(tried.tree().weight() / 2));
        }
        tried.check();
        assert_eq!(tried.tree().root(), None);
    }
    assert_eq!(pool.used_bytes(), 0);
}

#[cfg(feature = "fuzzing")]
mod fuzzed {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::*;

    /// What a fuzzer makes of its bytes.
    #[derive(Arbitrary, Debug)]
    pub struct Input {
        is_unit: bool,
        /// With how often memory is given to each, modulo some: for ever, mostly.
        ops: Vec<(Op, u8)>,
    }

    impl Input {
        /// Runs it.
        ///
        /// # Panics
        /// If a tree is not what its model is.
        pub fn run(self) {
            /// Each is followed by a look at everything.
            const MOST: usize = 60;
            let allowed = |times: u8| usize::from(times % 30);
            let ops = self.ops.into_iter().take(MOST).map(|(op, times)| (op, allowed(times)));
            let ops: Vec<_> = ops.collect();
            if self.is_unit { run::<true>(&ops) } else { run::<false>(&ops) }
        }
    }

    /// A number: near others mostly.
    pub(super) fn number(from: &mut Unstructured<'_>) -> Result<u32> {
        let number = match from.int_in_range(0..=2)? {
            0 => u8::arbitrary(from)?.into(),
            1 => u16::arbitrary(from)?.into(),
            _ => u32::arbitrary(from)?,
        };
        Ok(number.max(1))
    }

    pub(super) fn weight(from: &mut Unstructured<'_>) -> Result<u32> {
        from.int_in_range(1..=9)
    }

    pub(super) fn times(from: &mut Unstructured<'_>) -> Result<usize> {
        from.int_in_range(1..=100)
    }
}

#[cfg(feature = "fuzzing")]
pub use fuzzed::Input;
