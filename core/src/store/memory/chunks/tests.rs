//! Tests of chunks: trees of every height, and copies that share pages until they are written to, against vectors.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::super::refusal;
use super::*;
use crate::sync::Arc;

/// A tree with its root, and a page counted for each number below its length.
struct Tree {
    pool: Arc<Pool>,
    root: [AtomicU64; ROOT_WORDS],
    height: u32,
}

impl Tree {
    fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: pool.clone(), root: [const { AtomicU64::new(0) }; ROOT_WORDS], height: 0 }
    }

    fn chunks(&self) -> Chunks<'_> {
        Chunks::new(Words::new(&self.root), self.height)
    }

    fn add(&mut self, index: usize, mark: u64) -> Result<(), OutOfMemory> {
        self.height = self.chunks().raise(&self.pool, index)?;
        let page = self.pool.take_shareable(1)?.first;
        words_of(self.pool.region(), page).set_word(7, mark);
        match self.chunks().put(&self.pool, index, page + 1) {
            Ok(before) => assert_eq!(before, 0),
            Err(error) => {
                self.pool.release(page, |_| ());
                return Err(error);
            }
        }
        Ok(())
    }

    fn read(&self, index: usize) -> Option<u64> {
        Some(self.chunks().words(self.pool.region(), index)?.word(7))
    }

    fn write(&self, index: usize, mark: u64) {
        self.chunks().own(&self.pool, index).unwrap().set_word(7, mark);
    }

    fn copy(&self) -> Self {
        self.chunks().share(&self.pool);
        let mut copy = Self::new(&self.pool);
        copy.height = self.height;
        Words::new(&copy.root).copy_from(Words::new(&self.root), ROOT_WORDS);
        copy
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.chunks().release(&self.pool);
    }
}

#[test]
fn a_tree_of_every_height_finds_its_pages_and_gives_them_back() {
    let pool = Arc::<Pool>::default();
    let mut tree = Tree::new(&pool);
    assert_eq!((tree.read(0), tree.read(1 << 20)), (None, None));
    let indices = [0, 31, 32, 1023, 1024, ROOT_SLOTS * SLOTS - 1, ROOT_SLOTS * SLOTS, 1 << 21];
    for (mark, index) in indices.into_iter().enumerate() {
        tree.add(index, mark as u64).unwrap();
    }
    assert_eq!(tree.height, 2);
    let expected = indices.iter().enumerate();
    assert!(expected.into_iter().all(|(mark, index)| tree.read(*index) == Some(mark as u64)));
    assert!([1, 33, 5000, (1 << 21) + 1, room(2)].iter().all(|index| tree.read(*index).is_none()));
    assert!(pool.used_bytes() < 30 * PAGE, "ways are shared: {}", pool.used_bytes() / PAGE);
    assert_eq!(pool.shareable_bytes(), pool.used_bytes());
    drop(tree);
    assert_eq!((pool.used_bytes(), pool.shareable_bytes()), (0, 0));
}

#[test]
fn a_copy_of_many_pages_costs_none_and_each_write_its_way() {
    let pool = Arc::<Pool>::default();
    let mut tree = Tree::new(&pool);
    (0..5000).for_each(|index| tree.add(index, index as u64).unwrap());
    let before = pool.used_bytes();
    let copy = tree.copy();
    assert_eq!(pool.used_bytes(), before);
    assert!(copy.chunks().is_shared(&pool, 17) && tree.chunks().is_shared(&pool, 4999));
    tree.write(17, 1_000_000);
    copy.write(4999, 2_000_000);
    assert_eq!(pool.used_bytes(), before + 4 * PAGE, "a page and the one that leads to it, twice");
    assert_eq!([tree.read(17), copy.read(17)], [Some(1_000_000), Some(17)]);
    assert_eq!([tree.read(4999), copy.read(4999)], [Some(4999), Some(2_000_000)]);
    tree.write(18, 3);
    assert_eq!((pool.used_bytes(), copy.read(18)), (before + 5 * PAGE, Some(18)));
    drop(tree);
    assert_eq!(pool.used_bytes(), before);
    copy.write(3, 9);
    assert_eq!((pool.used_bytes(), copy.read(3)), (before, Some(9)), "nobody else has it now");
}

#[test]
fn runs_of_several_pages_and_marks_are_slots_too() {
    let pool = Arc::<Pool>::default();
    let tree = Tree::new(&pool);
    let run = pool.take_shareable(5).unwrap();
    let words = words_of(pool.region(), run.first);
    (0..run.units()).for_each(|at| words.set_word(at, at as u64));
    tree.chunks().put(&pool, 3, run.first + 1).unwrap();
    tree.chunks().put(&pool, 4, MARK | 77).unwrap();
    assert_eq!((tree.chunks().marked(pool.region(), 4), tree.read(4)), (77, None));
    let copy = tree.copy();
    copy.chunks().own(&pool, 3).unwrap().set_word(2000, 5);
    assert_eq!(pool.used_bytes(), 10 * PAGE);
    assert_eq!(copy.chunks().words(pool.region(), 3).unwrap().word(2559), 2559);
    assert_eq!(tree.chunks().words(pool.region(), 3).unwrap().word(2000), 2000);
    drop((tree, copy));
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn without_memory_nothing_changes_but_who_owns_what() {
    let pool = Arc::<Pool>::default();
    let mut tree = Tree::new(&pool);
    (0..32).for_each(|index| tree.add(index, index as u64).unwrap());
    let copy = tree.copy();
    refusal::set(true);
    assert_eq!(tree.add(32, 0), Err(OutOfMemory));
    assert!(copy.chunks().own(&pool, 5).is_err());
    refusal::set(false);
    assert!(
        (0..32).all(|index| tree.read(index) == Some(index as u64) && copy.read(index) == Some(index as u64))
    );
    tree.add(32, 32).unwrap();
    refusal::set(true);
    assert!(tree.chunks().own(&pool, 5).is_err(), "the page is shared still");
    refusal::set(false);
    tree.write(5, 50);
    assert_eq!([tree.read(5), copy.read(5)], [Some(50), Some(5)]);
    drop((tree, copy));
    assert_eq!(pool.used_bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 60 }))]

    /// Copies of copies, written to in any order, dropped in any order.
    #[test]
    fn trees_are_vectors(steps in prop::collection::vec((0..5_u8, any::<usize>(), any::<usize>()), 1..120)) {
        let pool = Arc::<Pool>::default();
        let mut trees: Vec<(Tree, Vec<u64>)> = vec![(Tree::new(&pool), Vec::new())];
        for (step, (action, which, place)) in steps.into_iter().enumerate() {
            if trees.is_empty() {
                trees.push((Tree::new(&pool), Vec::new()));
            }
            let which = which % trees.len();
            let (tree, model) = &mut trees[which];
            match action {
                0 => for _ in 0..place % 40 {
                    tree.add(model.len(), step as u64).unwrap();
                    model.push(step as u64);
                },
                1 | 2 if !model.is_empty() => {
                    let place = place % model.len();
                    tree.write(place, step as u64);
                    model[place] = step as u64;
                }
                3 => {
                    let copy = (tree.copy(), model.clone());
                    trees.push(copy);
                }
                4 => drop(trees.swap_remove(which)),
                _ => {}
            }
            for (tree, model) in &trees {
                prop_assert!((0..model.len() + 1).all(|index| tree.read(index) == model.get(index).copied()));
            }
        }
        drop(trees);
        prop_assert_eq!(pool.used_bytes(), 0);
    }
}
