//! Tests of the table: its structure after every step, against a map, and what a scan promises.
//! What entries mean is left out here too: they are numbers.
use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const CASES: u32 = if cfg!(miri) { 3 } else { 150 };

fn entry(number: u32) -> Ref {
    Ref::new(number).unwrap()
}

/// A good hash of small numbers (splitmix64).
fn spread(number: u32) -> u64 {
    let mut z = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn rng(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        spread((seed >> 32) as u32) ^ spread(seed as u32).rotate_left(17)
    }
}

impl<S: Storage> Table<S> {
    /// Checks everything the module's text says of the structure.
    fn check(&self, hash: impl Fn(Ref) -> u64) {
        let (mut entries, mut overflow) = (0, HashSet::new());
        assert!(
            self.index.home.len() == 0 || self.index.home.len().ilog2() == (self.index.mask() + 1).ilog2()
        );
        assert!((self.index.mask() + 1).is_power_of_two());
        for index in 0..self.index.home.len() {
            let mut node = Node::home(index);
            loop {
                let bucket = self.index.bucket(node);
                for slot in slots(bucket.occupied()) {
                    let hash = hash(entry(bucket.entry(slot)));
                    assert_eq!((self.index.home_of(hash), tag_of(hash)), (index, bucket.tag(slot)));
                }
                assert_eq!(bucket.occupied() & !node.slots(), 0);
                entries += bucket.occupied().count_ones() as usize;
                let Some(next) = Node::linked(bucket.link()) else { break };
                assert_eq!(bucket.occupied(), node.slots(), "only the last of a chain has room");
                assert_eq!(self.index.bucket(next).back(), node);
                assert!(self.index.bucket(next).occupied() != 0 && overflow.insert(next.index()));
                node = next;
            }
        }
        assert_eq!(entries, self.len);
        assert_eq!(overflow.len(), self.index.overflow.len() as usize);
        beyond_are_empty(&self.index.home);
        beyond_are_empty(&self.index.overflow);
    }
}

fn beyond_are_empty<S: Storage>(buckets: &Buckets<S>) {
    assert!(buckets.len() <= buckets.storage.capacity());
    let beyond = (buckets.len()..buckets.storage.capacity()).map(|index| buckets.at(index));
    assert!(beyond.take(4000).all(|bucket| bucket.0.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)));
}

fn pooled() -> Table {
    Table::in_pool(Arc::default())
}

#[test]
fn an_empty_table_allocates_nothing() {
    let mut table = Table::new();
    assert_eq!((table.len(), table.bytes(), table.scan(0, |_| ())), (0, 0, 0));
    assert_eq!((table.find(5, |_| true), table.remove(5, |_| true)), (None, None));
    assert_eq!((table.random(&mut rng(1)), table.iter().next()), (None, None));
    assert!(!table.replace(5, entry(1), entry(2)));
    table.index().prefetch(5);
    table.insert(5, entry(1), |_| 5).unwrap();
    assert!(table.bytes() <= 64);
}

#[test]
fn grows_and_shrinks_in_pieces() {
    grow_and_shrink(Table::new());
    let pool = Arc::<Pool>::default();
    grow_and_shrink(Table::in_pool(pool.clone()));
    assert!(pool.used_bytes() <= 3 * os::PAGE, "pages go back: {}", pool.used_bytes());
}

fn grow_and_shrink<S: Storage>(mut table: Table<S>) {
    let count = if cfg!(miri) { 300 } else { 300_000 };
    let (mut most, mut before) = (0, 0);
    for number in 1..=count {
        table.insert(spread(number), entry(number), |e| spread(e.get())).unwrap();
        assert!(table.index.home.len() - before <= 1);
        before = table.index.home.len();
        let load = f64::from(number) / f64::from(table.index.home.len());
        assert!(number < 20 || (4.5..=10.6).contains(&load), "{load} at {number}");
        most = most.max(table.bytes());
    }
    table.check(|e| spread(e.get()));
    assert!(most < count as usize * 16 + 3 * os::PAGE, "{most}");
    for number in 1..=count {
        table.index().prefetch(spread(number));
        assert_eq!(table.find(spread(number), |e| e.get() == number), Some(entry(number)));
    }
    let mut before = table.index.home.len();
    for number in 1..=count {
        assert_eq!(table.remove(spread(number), |e| e.get() == number), Some(entry(number)));
        assert!(before - table.index.home.len() <= 1);
        before = table.index.home.len();
        assert!((table.len() as u64 * 2 + 10) >= u64::from(table.index.home.len()) * 2, "merging keeps up");
    }
    table.check(|e| spread(e.get()));
    assert!(table.bytes() <= 3 * os::PAGE, "{} left of {most}", table.bytes());
}

#[test]
fn random_is_uniform() {
    for count in [1, 7, 30, 95, 200] {
        let mut table = Table::new();
        for number in 1..=count {
            table.insert(spread(number), entry(number), |e| spread(e.get())).unwrap();
        }
        let (mut next, mut seen) = (rng(7), BTreeMap::new());
        let draws = if cfg!(miri) { 20 } else { 1000 * count };
        for _ in 0..draws {
            *seen.entry(table.random(&mut next).unwrap().get()).or_insert(0_u32) += 1;
        }
        if cfg!(miri) {
            continue;
        }
        // Chi-squared, with a margin of five deviations.
        let mean = 1000.0;
        let chi: f64 =
            (1..=count).map(|n| (f64::from(*seen.get(&n).unwrap_or(&0)) - mean).powi(2) / mean).sum();
        let freedom = f64::from(count - 1);
        assert!(chi <= freedom + 5.0 * (2.0 * freedom).sqrt() + 1.0, "{count}: {chi}");
    }
}

#[test]
fn one_hash_for_all_makes_a_long_chain_that_still_works() {
    let mut table = Table::new();
    for number in 1..=200 {
        table.insert(77, entry(number), |_| 77).unwrap();
    }
    table.check(|_| 77);
    for number in (1..=200).step_by(3) {
        assert_eq!(table.remove(77, |e| e.get() == number), Some(entry(number)));
    }
    table.check(|_| 77);
    assert_eq!(table.iter().count(), table.len());
    assert_eq!(table.find(77, |e| e.get() == 200), Some(entry(200)));
}

#[test]
fn without_memory_the_table_fills_up_and_works_on() {
    let rehash = |e: Ref| spread(e.get());
    let mut table = Table::new();
    os::refusal::set(true);
    assert_eq!(table.insert(spread(1), entry(1), rehash), Err(OutOfMemory));
    assert_eq!(table.len(), 0);
    os::refusal::set(false);
    (1..=150).for_each(|number| table.insert(spread(number), entry(number), rehash).unwrap());
    os::refusal::set(true);
    let mut number = 151;
    while table.insert(spread(number), entry(number), rehash).is_ok() {
        number += 1;
    }
    table.check(rehash);
    assert_eq!(table.len(), number as usize - 1);
    assert_eq!(table.find(spread(number), |e| e.get() == number), None);
    for gone in 1..number {
        assert_eq!(table.remove(spread(gone), |e| e.get() == gone), Some(entry(gone)));
        table.check(rehash);
    }
    os::refusal::set(false);
    (1..=500).for_each(|number| table.insert(spread(number), entry(number), rehash).unwrap());
    table.check(rehash);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    Remove(u16),
    Replace(u16),
    InsertMany(u16),
    RemoveMany(u16),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => any::<u16>().prop_map(Op::Insert),
        10 => any::<u16>().prop_map(Op::Remove),
        5 => any::<u16>().prop_map(Op::Replace),
        5 => (0..if cfg!(miri) { 30_u16 } else { 600 }).prop_map(Op::InsertMany),
        5 => (0..if cfg!(miri) { 30_u16 } else { 700 }).prop_map(Op::RemoveMany),
        1 => Just(Op::Clear),
    ]
}

/// Keys are numbers; an entry is any free reference; hashes are spread, or crowded into few buckets and tags.
struct Model<S> {
    table: Table<S>,
    crowded: bool,
    next: u32,
    by_key: BTreeMap<u16, Ref>,
    key_of: HashMap<Ref, u16>,
}

fn hash_of(crowded: bool, key: u16) -> u64 {
    let hash = spread(u32::from(key));
    if crowded { hash & 0x0100_0000_0000_0707 } else { hash }
}

impl<S: Storage> Model<S> {
    fn new(table: Table<S>, crowded: bool) -> Self {
        Self { table, crowded, next: 0, by_key: BTreeMap::new(), key_of: HashMap::new() }
    }

    fn insert(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        let found = self.table.find(hash, |e| self.key_of[&e] == key);
        assert_eq!(found, self.by_key.get(&key).copied());
        if found.is_none() {
            self.next += 1;
            let new = entry(self.next);
            let (key_of, crowded) = (&self.key_of, self.crowded);
            self.table.insert(hash, new, |e| hash_of(crowded, key_of[&e])).unwrap();
            self.key_of.insert(new, key);
            self.by_key.insert(key, new);
        }
    }

    fn remove(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        let removed = self.table.remove(hash, |e| self.key_of[&e] == key);
        assert_eq!(removed, self.by_key.remove(&key));
        removed.map(|removed| self.key_of.remove(&removed));
    }

    fn replace(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        self.next += 1;
        let new = entry(self.next);
        match self.by_key.get_mut(&key) {
            Some(old) => {
                assert!(self.table.replace(hash, *old, new));
                self.key_of.remove(old);
                self.key_of.insert(new, key);
                *old = new;
            }
            None => assert!(!self.table.replace(hash, new, new)),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Insert(key) => self.insert(key),
            Op::Remove(key) => self.remove(self.some_key(key)),
            Op::Replace(key) => self.replace(self.some_key(key)),
            Op::InsertMany(count) => (0..count).for_each(|i| self.insert(i.wrapping_mul(257) ^ count)),
            Op::RemoveMany(count) => {
                let keys: Vec<_> = self.by_key.keys().copied().take(count.into()).collect();
                keys.into_iter().for_each(|key| self.remove(key));
            }
            Op::Clear => {
                self.table.clear();
                self.by_key.clear();
                self.key_of.clear();
            }
        }
    }

    /// A key near this one that is there, if any is.
    fn some_key(&self, key: u16) -> u16 {
        self.by_key.range(key..).next().map_or(key, |(&key, _)| key)
    }
}

fn as_a_map<S: Storage>(mut model: Model<S>, ops: &[Op]) -> Result<(), TestCaseError> {
    for op in ops {
        model.apply(op);
        model.table.check(|e| hash_of(model.crowded, model.key_of[&e]));
        prop_assert_eq!(model.table.len(), model.by_key.len());
    }
    let mut entries: Vec<_> = model.table.iter().collect();
    let mut expected: Vec<_> = model.by_key.values().copied().collect();
    entries.sort_unstable();
    expected.sort_unstable();
    prop_assert_eq!(entries, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn behaves_as_a_map(crowded: bool, ops in prop::collection::vec(op(), 0..if cfg!(miri) { 12 } else { 60 })) {
        as_a_map(Model::new(Table::new(), crowded), &ops)?;
        as_a_map(Model::new(pooled(), crowded), &ops)?;
    }

    /// Valkey's guarantee, with writes of all kinds between the steps.
    #[test]
    fn scan_visits_all_that_stays(
        crowded: bool,
        start in 0..if cfg!(miri) { 60_u16 } else { 2000 },
        ops in prop::collection::vec(op(), 1..40),
        every in 1_usize..6,
    ) {
        let mut model = Model::new(pooled(), crowded);
        (0..start).for_each(|key| model.insert(key));
        let mut stayed: HashSet<u16> = model.by_key.keys().copied().collect();
        let (mut visited, mut cursor, mut steps) = (HashSet::new(), 0, 0);
        loop {
            cursor = model.table.scan(cursor, |e| {
                visited.insert(model.key_of[&e]);
            });
            prop_assert!(cursor < 1 << 40);
            steps += 1;
            if cursor == 0 {
                break;
            }
            if steps % every == 0 && steps / every <= 200 {
                model.apply(&ops[steps / every % ops.len()]);
                stayed.retain(|key| model.by_key.contains_key(key));
            }
        }
        prop_assert!(stayed.is_subset(&visited), "{:?}", stayed.difference(&visited).collect::<Vec<_>>());
    }
}
