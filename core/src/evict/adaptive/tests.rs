//! Tests of the adaptive policy: scans, loops, and caches that change their size.

use super::*;
use crate::evict::fake::Fake;

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
