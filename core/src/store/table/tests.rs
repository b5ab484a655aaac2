//! Tests of the table: its structure after every step, against a map, and what a scan promises.
//! What entries mean is left out here too: they are numbers.
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::bucket::ALL;
use super::*;
use crate::store::memory::{Arena, Buckets, PAGE, Pool, refusal};
use crate::sync::Arc;

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

/// The tables of two shards, interleaved as the keyspace's are; entries' hashes are what `hash` says.
struct Rows<H> {
    buckets: Arc<Buckets>,
    arena: Arena,
    shard: usize,
    hash: H,
}

impl<H> Lines for Rows<H> {
    fn home(&self, index: u32) -> Option<Bucket<'_>> {
        Some(Bucket(&self.buckets.line(self.shard, index)?.0))
    }

    fn overflow(&self, link: Ref) -> Option<Bucket<'_>> {
        self.arena.region().eight(link).map(Bucket)
    }
}

impl<H: Fn(Ref) -> u64> Storage for Rows<H> {
    fn add_home(&mut self, index: u32) -> Result<(), OutOfMemory> {
        self.buckets.grow(index)
    }

    fn drop_home(&mut self, _: u32) {
        self.buckets.note_shrinking();
    }

    fn add_overflow(&mut self) -> Result<Ref, OutOfMemory> {
        let link = self.arena.alloc(BUCKET)?;
        self.overflow(link).unwrap().clear();
        Ok(link)
    }

    fn drop_overflow(&mut self, link: Ref) {
        self.arena.free(link, BUCKET);
    }

    fn hash(&self, entry: Ref) -> u64 {
        (self.hash)(entry)
    }
}

/// A table with its storage.
struct Kept<H> {
    table: Table,
    rows: Rows<H>,
}

impl<H: Fn(Ref) -> u64> Kept<H> {
    fn new(hash: H) -> Self {
        Self::beside(&Arc::new(Buckets::new(0)), 0, hash)
    }

    fn beside(buckets: &Arc<Buckets>, shard: usize, hash: H) -> Self {
        let arena = Arena::new(Arc::<Pool>::default());
        Self { table: Table::default(), rows: Rows { buckets: buckets.clone(), arena, shard, hash } }
    }

    fn insert(&mut self, hash: u64, entry: Ref) -> Result<(), OutOfMemory> {
        self.table.insert(&mut self.rows, hash, entry)
    }

    fn remove(&mut self, hash: u64, eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        self.table.remove(&mut self.rows, hash, eq).unwrap()
    }

    fn find(&self, hash: u64, mut eq: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let found = self.table.find(&self.rows, hash, &mut eq);
        // Readers without the lock find the same.
        let region = self.rows.arena.region();
        let homes = Homes::from_word(self.table.homes().to_word());
        let index = Index { buckets: &self.rows.buckets, region, shard: self.rows.shard, homes };
        index.prefetch(hash);
        let mut probe = index.probe(hash);
        let seen = std::iter::from_fn(|| probe.next()).find(|entry| eq(*entry));
        assert_eq!(seen, found);
        assert!(found.is_none() || index.first_candidate(hash).is_some() || index.overflows(hash));
        found
    }

    fn entries(&self) -> Vec<Ref> {
        let mut entries = Vec::new();
        self.table.each(&self.rows, |entry| entries.push(entry));
        entries.sort_unstable();
        entries
    }

    /// Checks everything the module's text says of the structure.
    fn check(&self) {
        let Self { table, rows } = self;
        let (mut entries, mut overflow) = (0, HashSet::new());
        let homes = table.homes;
        assert!(homes.len == 0 || homes.len.ilog2() == (homes.mask + 1).ilog2());
        assert!((homes.mask + 1).is_power_of_two());
        for index in 0..homes.len {
            let (mut node, mut links) = (Node::Home(index), 0);
            loop {
                let bucket = bucket(rows, node);
                for slot in slots(bucket.occupied()) {
                    let hash = rows.hash(entry(bucket.entry(slot)));
                    assert_eq!((homes.home(hash), tag_of(hash)), (index, bucket.tag(slot)));
                }
                entries += bucket.occupied().count_ones() as usize;
                let Some(next) = bucket.link() else { break };
                assert_eq!(bucket.occupied(), ALL, "only the last of a chain has room");
                node = Node::Overflow(next);
                links += 1;
                assert!(super::bucket(rows, node).occupied() != 0 && overflow.insert(next));
            }
            assert!(links <= table.longest);
        }
        assert_eq!((entries, overflow.len()), (table.len(), table.overflows as usize));
        assert_eq!(rows.arena.used(), overflow.len() * BUCKET);
        let beyond = (homes.len..).map_while(|index| rows.home(index));
        assert!(beyond.take(4000).all(|bucket| (0..8).all(|at| bucket.word(at) == 0)));
        let read = Table::from_words(table.to_words());
        let numbers = |table: &Table| (table.homes, table.len, table.overflows, table.longest);
        assert_eq!(numbers(&read), numbers(table));
    }
}

fn spread_entry(entry: Ref) -> u64 {
    spread(entry.get())
}

#[test]
fn an_empty_table_allocates_nothing() {
    let mut kept = Kept::new(|_| 5);
    assert_eq!(
        (kept.table.len(), kept.table.home_bytes(), kept.table.scan(&kept.rows, 0, |_| ())),
        (0, 0, 0)
    );
    assert_eq!((kept.find(5, |_| true), kept.remove(5, |_| true)), (None, None));
    assert_eq!((kept.table.random(&kept.rows, &mut rng(1)), kept.entries().len()), (None, 0));
    assert_eq!(kept.rows.buckets.backed_bytes(), 0);
    kept.insert(5, entry(1)).unwrap();
    assert!(kept.table.home_bytes() <= 64);
}

#[test]
fn grows_and_shrinks_in_pieces() {
    let mut kept = Kept::new(spread_entry);
    // Under ThreadSanitizer a region of home buckets has room for 4096 of each shard; when it is full, growth is put off.
    let count = if cfg!(miri) {
        300
    } else if cfg!(tsan) {
        30_000
    } else {
        300_000
    };
    let mut before = 0;
    for number in 1..=count {
        kept.insert(spread(number), entry(number)).unwrap();
        assert!(kept.table.home_count() - before <= 1);
        before = kept.table.home_count();
        let load = f64::from(number) / f64::from(kept.table.home_count());
        assert!(number < 20 || (4.5..=10.6).contains(&load), "{load} at {number}");
    }
    kept.check();
    let most = kept.table.home_bytes() + kept.rows.arena.used();
    assert!(most < count as usize * 16 + 3 * PAGE, "{most}");
    for number in 1..=count {
        assert_eq!(kept.find(spread(number), |e| e.get() == number), Some(entry(number)));
    }
    let mut before = kept.table.home_count();
    for number in 1..=count {
        assert_eq!(kept.remove(spread(number), |e| e.get() == number), Some(entry(number)));
        assert!(before - kept.table.home_count() <= 1);
        before = kept.table.home_count();
        assert!((kept.table.len() as u64 * 2 + 10) >= u64::from(before) * 2, "merging keeps up");
    }
    kept.check();
    assert!(kept.table.home_bytes() <= 3 * PAGE && kept.rows.arena.used() == 0);
}

#[test]
fn random_is_uniform() {
    for count in [1, 7, 30, 95, 200] {
        let mut kept = Kept::new(spread_entry);
        for number in 1..=count {
            kept.insert(spread(number), entry(number)).unwrap();
        }
        let (mut next, mut seen) = (rng(7), BTreeMap::new());
        let draws = if cfg!(miri) { 20 } else { 1000 * count };
        for _ in 0..draws {
            let drawn = kept.table.random(&kept.rows, &mut next).unwrap();
            *seen.entry(drawn.get()).or_insert(0_u32) += 1;
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
    let mut kept = Kept::new(|_| 77);
    for number in 1..=200 {
        kept.insert(77, entry(number)).unwrap();
    }
    kept.check();
    for number in (1..=200).step_by(3) {
        assert_eq!(kept.remove(77, |e| e.get() == number), Some(entry(number)));
    }
    kept.check();
    assert_eq!(kept.entries().len(), kept.table.len());
    assert_eq!(kept.find(77, |e| e.get() == 200), Some(entry(200)));
    let drawn = kept.table.random(&kept.rows, &mut rng(3)).unwrap();
    assert!(kept.entries().contains(&drawn));
}

#[test]
fn without_memory_the_table_fills_up_and_works_on() {
    let mut kept = Kept::new(spread_entry);
    refusal::set(true);
    assert_eq!(kept.insert(spread(1), entry(1)), Err(OutOfMemory));
    assert_eq!(kept.table.len(), 0);
    refusal::set(false);
    (1..=150).for_each(|number| kept.insert(spread(number), entry(number)).unwrap());
    refusal::set(true);
    let mut number = 151;
    while kept.insert(spread(number), entry(number)).is_ok() {
        number += 1;
    }
    kept.check();
    assert_eq!(kept.table.len(), number as usize - 1);
    assert_eq!(kept.find(spread(number), |e| e.get() == number), None);
    for gone in 1..number {
        assert_eq!(kept.remove(spread(gone), |e| e.get() == gone), Some(entry(gone)));
        kept.check();
    }
    refusal::set(false);
    (1..=500).for_each(|number| kept.insert(spread(number), entry(number)).unwrap());
    kept.check();
}

#[test]
fn entries_and_overflow_buckets_are_told_to_move() {
    let mut kept = Kept::new(|entry: Ref| spread(entry.get() % 10_000));
    (1..10_000).for_each(|number| kept.insert(spread(number), entry(number)).unwrap());
    assert!(kept.table.overflow_count() > 10);
    kept.rows.arena.condemn();
    let (mut cursor, mut moved) = (0, 0);
    loop {
        let step = kept.table.relocate(&mut kept.rows, cursor, |rows, block| match block {
            Block::Entry(at) => Ok::<_, OutOfMemory>((at.get() < 10_000).then(|| entry(at.get() + 10_000))),
            Block::Overflow(at) if rows.arena.is_condemned(at) => {
                moved += 1;
                rows.arena.relocate(at, BUCKET).map(Some)
            }
            Block::Overflow(_) => Ok(None),
        });
        cursor = step.unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(moved, kept.table.overflow_count());
    kept.rows.arena.release_condemned();
    kept.check();
    assert!(kept.entries().iter().map(|entry| entry.get()).eq(10_001..20_000));
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
struct Model {
    kept: Kept<Box<dyn Fn(Ref) -> u64>>,
    crowded: bool,
    next: u32,
    by_key: BTreeMap<u16, Ref>,
    key_of: Rc<RefCell<HashMap<Ref, u16>>>,
}

fn hash_of(crowded: bool, key: u16) -> u64 {
    let hash = spread(u32::from(key));
    if crowded { hash & 0x0100_0000_0000_0707 } else { hash }
}

impl Model {
    fn new(buckets: &Arc<Buckets>, shard: usize, crowded: bool) -> Self {
        let key_of = Rc::<RefCell<HashMap<Ref, u16>>>::default();
        let known = key_of.clone();
        let hash: Box<dyn Fn(Ref) -> u64> = Box::new(move |entry| hash_of(crowded, known.borrow()[&entry]));
        Self { kept: Kept::beside(buckets, shard, hash), crowded, next: 0, by_key: BTreeMap::new(), key_of }
    }

    fn key(&self, entry: Ref) -> u16 {
        self.key_of.borrow()[&entry]
    }

    fn insert(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        let found = self.kept.find(hash, |e| self.key(e) == key);
        assert_eq!(found, self.by_key.get(&key).copied());
        if found.is_none() {
            self.next += 1;
            let new = entry(self.next);
            self.kept.insert(hash, new).unwrap();
            self.key_of.borrow_mut().insert(new, key);
            self.by_key.insert(key, new);
        }
    }

    fn remove(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        let key_of = self.key_of.clone();
        let removed = self.kept.remove(hash, |e| key_of.borrow()[&e] == key);
        assert_eq!(removed, self.by_key.remove(&key));
        removed.map(|removed| self.key_of.borrow_mut().remove(&removed));
    }

    fn replace(&mut self, key: u16) {
        let hash = hash_of(self.crowded, key);
        self.next += 1;
        let new = entry(self.next);
        let Kept { table, rows } = &mut self.kept;
        match self.by_key.get_mut(&key) {
            Some(old) => {
                assert!(table.replace(rows, hash, *old, new).unwrap());
                let mut key_of = self.key_of.borrow_mut();
                key_of.remove(old);
                key_of.insert(new, key);
                *old = new;
            }
            None => assert!(!table.replace(rows, hash, new, new).unwrap()),
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
                self.kept.table.clear(&mut self.kept.rows);
                self.by_key.clear();
                self.key_of.borrow_mut().clear();
            }
        }
    }

    /// A key near this one that is there, if any is.
    fn some_key(&self, key: u16) -> u16 {
        self.by_key.range(key..).next().map_or(key, |(&key, _)| key)
    }

    fn check(&self) {
        self.kept.check();
        assert_eq!(self.kept.table.len(), self.by_key.len());
        let mut expected: Vec<_> = self.by_key.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(self.kept.entries(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Two shards side by side grow and shrink as they like, and what no table reaches is given back between.
    #[test]
    fn behaves_as_maps(crowded: bool, ops in prop::collection::vec((any::<bool>(), op()), 0..if cfg!(miri) { 12 } else { 60 })) {
        let buckets = Arc::new(Buckets::new(0));
        let mut models = [Model::new(&buckets, 0, crowded), Model::new(&buckets, 1, false)];
        for (other, op) in ops {
            models[usize::from(other)].apply(&op);
            if buckets.has_shrunk() {
                let longest = || models.iter().map(|model| model.kept.table.home_count()).max().unwrap();
                buckets.trim(longest);
                prop_assert!(buckets.backed_bytes() <= (longest() as usize * 17 / 16 + 6).max(PAGE) * crate::store::key::SHARDS * BUCKET);
            }
            models.iter().for_each(Model::check);
        }
    }

    /// Valkey's guarantee, with writes of all kinds between the steps.
    #[test]
    fn scan_visits_all_that_stays(
        crowded: bool,
        start in 0..if cfg!(miri) { 60_u16 } else { 2000 },
        ops in prop::collection::vec(op(), 1..40),
        every in 1_usize..6,
    ) {
        let mut model = Model::new(&Arc::new(Buckets::new(0)), 0, crowded);
        (0..start).for_each(|key| model.insert(key));
        let mut stayed: HashSet<u16> = model.by_key.keys().copied().collect();
        let (mut visited, mut cursor, mut steps) = (HashSet::new(), 0, 0);
        loop {
            cursor = model.kept.table.scan(&model.kept.rows, cursor, |e| {
                visited.insert(model.key(e));
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
