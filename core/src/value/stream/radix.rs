//! How many nodes a radix tree of keys of 16 bytes has, of the kind that the server keeps its nodes of a stream in: what `XINFO STREAM` tells.
//!
//! Such a tree has a node for each key, where it ends; one for each place where keys part; and one for each run of bytes that all keys behind it share. What a
//! key adds to it follows from a few others: those beside it, and those beside and at the ends of the keys that begin as it does.

use std::ops::RangeInclusive;

const BYTES: usize = 16;

/// Nodes of a tree without keys.
pub(super) const EMPTY: usize = 1;

/// What there is around a range of keys, and in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// The last key before it.
    pub(super) before: Option<u128>,
    /// The first and the last key in it.
    pub(super) ends: Option<(u128, u128)>,
    /// The first key behind it.
    pub(super) behind: Option<u128>,
}

/// Bytes that both keys begin with.
fn shared(one: u128, other: u128) -> usize {
    (one ^ other).leading_zeros() as usize / 8
}

/// How many nodes a tree without this key has more with it. `around` tells of its keys.
pub(super) fn added_by(key: u128, around: impl Fn(RangeInclusive<u128>) -> Around) -> usize {
    let beside = around(key..=key);
    let most = |others: [Option<u128>; 2]| others.into_iter().flatten().map(|other| shared(key, other)).max();
    let Some(fork) = most([beside.before, beside.behind]) else { return 1 };
    // Where it leaves the others there may be a fork already.
    let behind_fork = u128::MAX.checked_shr(fork as u32 * 8).unwrap_or(0);
    let alike = around(key & !behind_fork..=key | behind_fork);
    let (first, last) = alike.ends.expect("one beside it begins as it does");
    let next = shared(first, last);
    let end_and_run = 1 + usize::from(fork + 1 < BYTES);
    if next == fork {
        return end_and_run;
    }
    // A run is cut: the fork takes a byte out of it.
    let start = most([alike.before, alike.behind]).map_or(0, |fork_above| fork_above + 1);
    end_and_run + usize::from(start < fork) + usize::from(fork + 1 < next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// All nodes, from the top of the tree down.
    fn nodes(keys: &[[u8; BYTES]], from: usize) -> usize {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return EMPTY };
        if from == BYTES {
            return 1;
        }
        let shared = first.iter().zip(last).take_while(|(one, other)| one == other).count();
        if shared > from {
            return 1 + nodes(keys, shared);
        }
        1 + keys
            .chunk_by(|one, other| one[from] == other[from])
            .map(|keys| nodes(keys, from + 1))
            .sum::<usize>()
    }

    fn around(keys: &BTreeSet<u128>, range: RangeInclusive<u128>) -> Around {
        let (start, end) = range.clone().into_inner();
        let mut within = keys.range(range);
        let first = within.next().copied();
        Around {
            before: keys.range(..start).next_back().copied(),
            ends: first.map(|first| (first, within.next_back().copied().unwrap_or(first))),
            behind: keys.range((std::ops::Bound::Excluded(end), std::ops::Bound::Unbounded)).next().copied(),
        }
    }

    fn number() -> impl Strategy<Value = u128> {
        let times = prop_oneof![0..400_u64, 0..70_000_u64, any::<u64>()];
        (times, prop_oneof![Just(0), 0..3_u64, any::<u64>()])
            .prop_map(|(ms, seq)| u128::from(ms) << 64 | u128::from(seq))
    }

    proptest! {
        #[test]
        fn what_keys_around_share_tells_what_a_key_adds(changes in prop::collection::vec(number(), 0..80)) {
            let (mut keys, mut count) = (BTreeSet::new(), EMPTY);
            // What comes a second time goes, and in the end all go.
            for number in changes.iter().chain(&changes) {
                if keys.remove(number) {
                    count -= added_by(*number, |range| around(&keys, range));
                } else {
                    count += added_by(*number, |range| around(&keys, range));
                    keys.insert(*number);
                }
                let texts: Vec<_> = keys.iter().map(|key| key.to_be_bytes()).collect();
                prop_assert_eq!(count, nodes(&texts, 0), "{:?}", keys);
            }
        }
    }
}
