//! Tests of the adaptive policy: scans, loops, and caches that change their size.

use super::*;
use crate::evict::fake::Fake;
use crate::evict::miniature::alone::Alone;

/// Hits among requests by a number that says which key comes next.
fn hits(capacity: usize, requests: u64, key: impl Fn(u64) -> u64) -> u64 {
    let mut cache = Fake::new("allkeys-adaptive");
    let hits = (0..requests).map(|at| u64::from(cache.request(key(at), capacity))).sum();
    assert_eq!(cache.len(), cache.policy.records().min(capacity));
    hits
}

#[test]
fn a_scan_does_not_displace_what_is_used() {
    // Every other request goes to one of 50 keys, the rest never come again.
    let hits = hits(100, 40_000, |at| if at % 2 == 0 { at / 2 % 50 } else { 1_000 + at });
    assert!(hits > 19_000, "{hits}");
}

#[test]
fn part_of_a_loop_that_is_too_long_stays() {
    let hits = hits(900, 200_000, |at| at % 1_000);
    assert!(hits > 100_000, "{hits} where LRU has none");
}

#[test]
fn part_of_a_loop_stays_that_is_longer_than_all_that_is_remembered() {
    let hits = hits(100, 400_000, |at| at % 1_100);
    assert!(hits > 20_000, "{hits} of 36,363 that could be");
}

#[test]
fn a_cache_may_outgrow_its_miniatures_and_become_small_again() {
    let mut cache = Fake::new("allkeys-adaptive");
    for capacity in [300, 5_000, 200, 9_000, 1_500] {
        let mut hits = 0;
        for at in 0..60_000_u64 {
            // Half the requests go to a third of what fits, the others to keys that do not come again.
            let key =
                if at % 2 == 0 { at / 2 % (capacity as u64 / 3) } else { at + 100_000 * capacity as u64 };
            hits += u32::from(cache.request(key, capacity));
            if at % 5_000 == 0 {
                cache.remove(at / 2 % 70);
            }
        }
        assert!(hits > 23_000, "{hits} with {capacity}");
        // Removed keys leave records in queues, but not in a cache that has none.
        let most = if capacity > 1024 { capacity + 12 } else { capacity };
        assert!(cache.len() == capacity && (capacity..=most).contains(&cache.policy.records()));
    }
}

#[test]
fn what_comes_back_soon_and_then_never_again_is_kept_that_long() {
    // New keys that come back 700 requests later, amid a workload that loves its main queue.
    let hits = hits(500, 200_000, |at| at / 2 - if at % 2 == 1 { 350.min(at / 2) } else { 0 });
    assert!(hits > 85_000, "{hits}");
}

#[test]
fn removed_keys_leave_records_that_are_not_taken_for_their_successors() {
    let mut cache = Fake::new("allkeys-adaptive");
    for round in 0..10 {
        for key in 0..1_000 {
            cache.remove(key);
            cache.request(key + round % 2, 2_000);
        }
    }
    while cache.evict() == Eviction::Evicted {}
    assert_eq!((cache.len(), cache.policy.records()), (0, 0));
}

/// A cache of numbers that lives by one choice, with the queues of the policy.
struct Queues {
    policy: Adaptive,
    choice: Choice,
    keys: Fake,
    capacity: usize,
}

impl Queues {
    fn new(choice: Choice, capacity: usize) -> Self {
        let mut policy = Adaptive::new(false);
        let keys = Fake::new("allkeys-adaptive");
        // As after the first eviction.
        policy.fits = capacity;
        policy.fit_window(&choice, &keys.ticks);
        policy.ghosts.fit((capacity as f64 * MOST_GHOSTS) as usize);
        Self { policy, choice, keys, capacity }
    }

    /// Uses a key, or creates it. Says whether it was there.
    fn request(&mut self, key: u64) -> bool {
        let Self { policy, choice, keys, capacity } = self;
        if keys.use_stamp(key) {
            return true;
        }
        while keys.len() >= *capacity {
            let now = keys.ticks.now();
            let evicted = keys.with_side(|side| {
                policy.evict_from_queues(side, choice, AGING, now, &mut usize::MAX.clone())
            });
            assert_eq!(evicted, Eviction::Evicted);
        }
        let (record, stamp) = keys.insert(key);
        policy.file_by(choice, record, stamp);
        policy.count_filed(&keys.ticks);
        false
    }
}

/// Loops, scans and keys that are used more the lower they are.
fn request(state: &mut u64, at: u64, keys: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let draw = *state >> 33;
    match at / 7_000 % 3 {
        0 => draw % keys * (draw / keys % 101) / 100,
        1 => at % (keys / 2),
        _ if draw.is_multiple_of(2) => draw / 2 % 60,
        _ => at % keys,
    }
}

#[test]
fn queues_do_what_a_miniature_of_the_same_choice_does() {
    const KEYS: u64 = 3_000;
    for choice in CHOICES {
        for capacity in [1, 40, 700] {
            // Ghosts of the cache are remembered in 16 bits and forgotten in buckets. Without any all is the same, but for the ghost of the moment
            // that another key is taken for, once in 65,536 requests.
            let choice = Choice { ghosts: 0.0, ..choice };
            let (mut queues, mut miniature) =
                (Queues::new(choice, capacity), Alone::new(choice, capacity, KEYS as usize));
            let mut state = 1;
            for at in 0..21_000 {
                let key = request(&mut state, at, KEYS);
                assert_eq!(
                    queues.request(key),
                    miniature.request(key),
                    "{choice:?} of {capacity}: {key} at {at}"
                );
            }
            assert!((0..KEYS).all(|key| queues.keys.has(key) == miniature.holds(key)));
        }
    }
}

#[test]
fn ghosts_make_little_difference_between_queues_and_miniature() {
    const KEYS: u64 = 3_000;
    for choice in CHOICES {
        let (mut queues, mut miniature) = (Queues::new(choice, 700), Alone::new(choice, 700, KEYS as usize));
        let (mut state, mut hits) = (1, [0_u32; 2]);
        for at in 0..100_000 {
            let key = request(&mut state, at, KEYS);
            hits[0] += u32::from(queues.request(key));
            hits[1] += u32::from(miniature.request(key));
        }
        assert!(hits[0].abs_diff(hits[1]) < 1_000, "{choice:?}: {hits:?} of 100,000");
    }
}
