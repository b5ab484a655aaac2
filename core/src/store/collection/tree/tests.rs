//! A tree beside a plain list of what it should hold: shape, order and weights after each step, with shared copies and refused memory.

use proptest::prelude::*;

use super::*;
use crate::store::collection::Collection;
use crate::store::memory::{Pool, refusal};
use crate::sync::Arc;

/// Items are numbers, ordered by themselves; their hints are what is left of them when the last four bits are off, so some are equal.
struct Numbers<const UNIT: bool>;

impl<const UNIT: bool> Items for Numbers<UNIT> {
    const UNIT: bool = UNIT;

    fn hint(_: View<'_>, item: Ref) -> u64 {
        u64::from(item.get() >> 4)
    }
}

/// A tree, and the items and weights that it should hold.
struct Tried<const UNIT: bool> {
    collection: Collection,
    model: Vec<(u32, u64)>,
}

fn item(number: u32) -> Ref {
    Ref::new(number).unwrap()
}

impl<const UNIT: bool> Tried<UNIT> {
    fn new(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()), model: Vec::new() }
    }

    fn share(&self) -> Self {
        Self { collection: self.collection.share(), model: self.model.clone() }
    }

    fn tree(&self) -> Tree<'_, Numbers<UNIT>> {
        Tree::new(self.collection.view())
    }

    fn edit(&mut self) -> TreeMut<'_, Numbers<UNIT>> {
        TreeMut::new(&mut self.collection)
    }

    fn seek(&self, number: u32) -> Place {
        self.tree().seek(u64::from(number >> 4), |other| other.get() < number)
    }

    fn weight(&self, weight: u32) -> u32 {
        if UNIT { 1 } else { weight }
    }

    /// Inserts a number that is not there, or gives it another weight if it is; false, and nothing, without memory.
    fn put(&mut self, number: u32, weight: u32) -> bool {
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
        let at = at.unwrap();
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
    fn check_node(&self, child: node::Child, height: u32, is_only: bool, nodes: &mut usize) {
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

    fn check(&self) {
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
        assert_eq!(walk.place().before(), total);
        let backward: Vec<_> = std::iter::from_fn(|| walk.previous()).map(listed).collect();
        assert!(backward.iter().rev().eq(model));
        assert_eq!(walk.place().before(), 0);
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

#[derive(Clone, Debug)]
enum Op {
    Put(u32, u32),
    /// Numbers in a row, upwards or downwards.
    Row(u32, bool),
    /// At a part of all elements, so many times.
    Remove(u32, usize),
    Take(u32),
    /// The same done to the copy.
    Copy,
    Swap,
}

fn op() -> impl Strategy<Value = Op> {
    let number = prop_oneof![1..60_u32, 1..3_000_u32, 1..u32::MAX];
    prop_oneof![
        6 => (number.clone(), 1..9_u32).prop_map(|(number, weight)| Op::Put(number, weight)),
        2 => (number.clone(), any::<bool>()).prop_map(|(number, up)| Op::Row(number, up)),
        3 => number.clone().prop_map(Op::Take),
        4 => (any::<u32>(), 1..40_usize).prop_map(|(part, times)| Op::Remove(part, times)),
        1 => Just(Op::Copy),
        1 => Just(Op::Swap),
    ]
}

fn run<const UNIT: bool>(ops: &[(Op, usize)]) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 60 }))]

    #[test]
    fn a_tree_of_unit_weights_is_a_list(ops in prop::collection::vec((op(), 0..30_usize), 1..40)) {
        run::<true>(&ops);
    }

    #[test]
    fn a_tree_of_weights_is_a_list(ops in prop::collection::vec((op(), 0..30_usize), 1..40)) {
        run::<false>(&ops);
    }
}

/// Several levels, filled and emptied in each direction.
#[test]
fn a_tree_of_many_levels_keeps_its_order() {
    let count: u32 = if cfg!(miri) { 300 } else { 40_000 };
    let pool = Arc::<Pool>::default();
    let orders: [fn(u32, u32) -> u32; 3] = [
        |at, _| at,
        |at, count| count - 1 - at,
        |at, count| (u64::from(at) * 7_919 % u64::from(count)) as u32,
    ];
    for order in orders {
        let mut tried = Tried::<true>::new(&pool);
        for at in 0..count {
            let number = 1 + order(at, count);
            let place = tried.seek(number);
            tried.edit().insert(place, item(number), 1).unwrap();
        }
        tried.model = (1..=count).map(|number| (number, 1)).collect();
        tried.check();
        assert!(cfg!(miri) || tried.tree().root().is_some_and(|(_, height)| height >= 2));
        for at in (0..count).filter(|at| at % 10 != 0) {
            let place = tried.seek(1 + order(at, count));
            tried.edit().remove(&place).unwrap();
        }
        tried.model = (0..count).filter(|at| at % 10 == 0).map(|at| (1 + order(at, count), 1)).collect();
        tried.model.sort_unstable();
        tried.check();
    }
}

/// What is filled in order leaves no gaps, in either direction.
#[test]
fn nodes_that_are_filled_in_order_are_full() {
    let pool = Arc::<Pool>::default();
    for up in [true, false] {
        let mut tried = Tried::<true>::new(&pool);
        let count = 63 * 21;
        for at in 0..count {
            let number = if up { 1 + at } else { count - at };
            let place = tried.seek(number);
            tried.edit().insert(place, item(number), 1).unwrap();
        }
        tried.model = (1..=count).map(|number| (number, 1)).collect();
        tried.check();
        let mut nodes = 0;
        let (root, height) = tried.tree().root().unwrap();
        let child = node::Child { node: root, first: item(1), hint: 0, weight: count.into() };
        tried.check_node(child, height, true, &mut nodes);
        assert!(nodes <= 23 + 2, "{nodes}");
    }
}

/// An insertion that splits nodes up to the root, in a copy: whenever memory ends, the tree is as it was, and so are both at the end.
#[test]
fn an_insertion_without_memory_changes_nothing() {
    let pool = Arc::<Pool>::default();
    let mut tried = Tried::<false>::new(&pool);
    // Full nodes, each of which has to be split.
    for number in 1.. {
        let splits = |tried: &Tried<false>| {
            let place = tried.seek(77);
            place.steps.iter().rev().enumerate().all(|(height, step)| match height {
                0 => tried.tree().leaf(step.node).len() == node::Leaf::<Numbers<false>>::MOST,
                _ => tried.tree().inner(step.node).len() == node::CHILDREN,
            }) && place.steps.len() > 1
        };
        if splits(&tried) {
            break;
        }
        assert!(number < 3_000, "it is full at some time");
        tried.put(number * 100, 3);
    }
    // The first leaf is full; fill the gap before the second.
    let before = tried.share();
    let mut refused = 0;
    for allowed in 0.. {
        refusal::after(allowed);
        let is_done = tried.put(77, 5);
        refusal::set(false);
        tried.check();
        if is_done {
            break;
        }
        refused += 1;
    }
    assert!(refused >= 2, "{refused}");
    before.check();
    drop(before);
    tried.check();
}
