//! Trees beside their model: any edits, those that make many levels, and those that are refused memory.

use proptest::prelude::*;

use super::model::{Numbers, Op, Tried, item, run};
use super::*;
use crate::store::memory::{Pool, refusal};
use crate::sync::Arc;

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
