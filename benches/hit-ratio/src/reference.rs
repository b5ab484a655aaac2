//! What the policies are measured against: exact LRU, and OPT (Belady), which knows the future.

use std::collections::BinaryHeap;

const NONE: u32 = u32::MAX;

/// Hits of exact LRU: a doubly linked list over the keys' numbers.
pub fn lru(requests: &[u32], unique: usize, capacity: usize) -> u64 {
    // One more place, the list's two ends, closes the ring.
    let ends = unique;
    let (mut before, mut after) = (vec![NONE; unique + 1], vec![NONE; unique + 1]);
    (before[ends], after[ends]) = (ends as u32, ends as u32);
    let (mut hits, mut len) = (0, 0);
    for key in requests {
        let at = *key as usize;
        if before[at] != NONE {
            hits += 1;
            unlink(&mut before, &mut after, at);
        } else if len == capacity {
            let oldest = before[ends] as usize;
            unlink(&mut before, &mut after, oldest);
        } else {
            len += 1;
        }
        let newest = after[ends];
        (before[at], after[at]) = (ends as u32, newest);
        (before[newest as usize], after[ends]) = (*key, *key);
    }
    hits
}

fn unlink(before: &mut [u32], after: &mut [u32], at: usize) {
    let (previous, next) = (before[at], after[at]);
    (after[previous as usize], before[next as usize]) = (next, previous);
    before[at] = NONE;
}

/// Hits of OPT: evicts the key whose next use lies farthest ahead.
pub fn opt(requests: &[u32], unique: usize, capacity: usize) -> u64 {
    let (mut next, mut last) = (vec![NONE; requests.len()], vec![NONE; unique]);
    for (position, key) in requests.iter().enumerate().rev() {
        next[position] = std::mem::replace(&mut last[*key as usize], position as u32);
    }
    // The next use of each key held; the heap has stale entries beside it.
    let mut held: Vec<Option<u32>> = vec![None; unique];
    let mut farthest: BinaryHeap<(u32, u32)> = BinaryHeap::new();
    let (mut hits, mut len) = (0, 0);
    for (position, key) in requests.iter().enumerate() {
        if held[*key as usize].is_some() {
            hits += 1;
        } else if len == capacity {
            while let Some((use_, victim)) = farthest.pop() {
                if held[victim as usize] == Some(use_) {
                    held[victim as usize] = None;
                    break;
                }
            }
        } else {
            len += 1;
        }
        held[*key as usize] = Some(next[position]);
        farthest.push((next[position], *key));
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_is_one_too_long_starves_lru_and_not_opt() {
        let requests: Vec<u32> = (0..400).map(|at| at % 4).collect();
        assert_eq!(lru(&requests, 4, 3), 0);
        assert_eq!(lru(&requests, 4, 4), 396);
        // Once filled, OPT misses every third request.
        assert!((260..=266).contains(&opt(&requests, 4, 3)), "{}", opt(&requests, 4, 3));
    }

    #[test]
    fn the_least_recently_used_key_goes() {
        assert_eq!(lru(&[0, 1, 0, 2, 0, 1], 3, 2), 2);
    }
}
