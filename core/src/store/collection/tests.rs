//! Tests of collections that types do not see: the form that a root takes, and its numbers. The rest is tested by what is built on it, hashes first.

use super::*;

/// Elements of which the first byte tells the length, and the second is the key.
struct Bytes;

impl Elements for Bytes {
    fn size(head: &[u8]) -> usize {
        head[0].into()
    }

    fn key(element: &[u8]) -> &[u8] {
        &element[1..2]
    }
}

fn element(key: u8, len: u8) -> Vec<u8> {
    let mut bytes = vec![key; len.into()];
    bytes[0] = len;
    bytes
}

#[test]
fn lists_of_free_blocks_go_by_size() {
    let lists: Vec<usize> = (1..=PAGE_WORDS).map(list_of).collect();
    assert!((0..EXACT).all(|at| lists[at] == at) && lists.is_sorted());
    assert_eq!((list_of(33), list_of(64), list_of(65), list_of(PAGE_WORDS)), (32, 32, 33, 35));
    assert!(LISTS + list_of(PAGE_WORDS) / 2 < BUCKET_ROOT);
}

#[test]
fn a_collection_moves_to_pages_when_it_outgrows_one_and_keeps_its_numbers() {
    let (pool, seed) = (Arc::<Pool>::default(), HashSeed::of(5));
    let mut collection = Collection::new(pool.clone());
    collection.set_own(Own::Half, 9);
    collection.set_own(Own::Third, u64::MAX);
    for key in 0..=255 {
        let is_small = !collection.is_in_pages();
        assert!(collection.root().len() <= SMALL && is_small == (pool.used_bytes() == 0));
        collection.insert::<Bytes, 1>(&seed, &[key], [&element(key, 40)]).unwrap();
    }
    assert!(collection.is_in_pages() && collection.root().len() == PAGED);
    assert_eq!(collection.view().len(), 256);
    let own = [Own::Half, Own::First, Own::Second, Own::Third].map(|which| collection.view().own(which));
    assert_eq!(own, [9, 0, 0, u64::MAX]);
    for key in 0..=255 {
        let (block, bytes) = collection.view().find::<Bytes>(&seed, &[key]).unwrap();
        assert_eq!(bytes, element(key, 40));
        let size = bytes.len();
        collection.replace::<Bytes, 1>(&seed, &[key], (block, size), [&element(key, 40 + key / 2)]).unwrap();
    }
    for key in 0..=255 {
        let (block, bytes) = collection.view().find::<Bytes>(&seed, &[key]).unwrap();
        assert_eq!(bytes, element(key, 40 + key / 2));
        let size = bytes.len();
        collection.remove::<Bytes>(&seed, &[key], (block, size)).unwrap();
        assert!(collection.view().find::<Bytes>(&seed, &[key]).is_none());
    }
    assert_eq!((collection.view().len(), half(collection.word(COUNTS), true)), (0, 0));
    assert_eq!(pool.used_bytes(), collection.view().pages() * PAGE);
}

#[test]
fn a_small_collection_forgets_holes_until_it_is_wasteful() {
    let (pool, seed) = (Arc::<Pool>::default(), HashSeed::of(5));
    let mut collection = Collection::new(pool);
    for key in 0..20 {
        collection.insert::<Bytes, 1>(&seed, &[key], [&element(key, 64)]).unwrap();
    }
    let mut removed = 0;
    while !collection.is_wasteful() {
        let (block, bytes) = collection.view().find::<Bytes>(&seed, &[removed]).unwrap();
        let size = bytes.len();
        collection.remove::<Bytes>(&seed, &[removed], (block, size)).unwrap();
        removed += 1;
    }
    assert!((8..=12).contains(&removed), "{removed}");
    let mut left = Vec::new();
    collection.view().each::<Bytes>(|element| left.push(element[1]));
    left.sort_unstable();
    assert!(left.into_iter().eq(removed..20));
}
