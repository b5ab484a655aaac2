//! How many nodes a radix tree of keys of 16 bytes has, of the kind that the server keeps its nodes of a stream in: what `XINFO STREAM` tells.
//!
//! Such a tree has a node for each key, where it ends; one for each place where keys part; and one for each run of bytes that all keys behind it share. So the number follows from
//! how many bytes neighbours in order have in common.

use smallvec::SmallVec;

const BYTES: usize = 16;

/// Counts while keys come in ascending order. O(1) a key, amortised.
#[derive(Default)]
pub(super) struct Counter {
    last: Option<u128>,
    /// Where keys part on the way to the last one, from the shortest way on.
    forks: SmallVec<[usize; BYTES]>,
    /// Ends, forks, and runs between them that are closed.
    nodes: usize,
}

impl Counter {
    pub(super) fn add(&mut self, key: u128) {
        self.nodes += 1;
        let Some(last) = self.last.replace(key) else { return };
        let shared = (last ^ key).leading_zeros() as usize / 8;
        let mut below = BYTES;
        while let Some(fork) = self.forks.last().copied().filter(|fork| *fork > shared) {
            self.forks.pop();
            self.close(fork, below);
            below = fork;
        }
        if self.forks.last() != Some(&shared) {
            self.forks.push(shared);
            self.nodes += 1;
        }
        self.close(shared, below);
    }

    /// Counts the run from behind a fork to what is below it, if there is one.
    fn close(&mut self, fork: usize, below: usize) {
        self.nodes += usize::from(below > fork + 1);
    }

    /// The number of nodes.
    pub(super) fn nodes(mut self) -> usize {
        if self.last.is_none() {
            return 1;
        }
        let mut below = BYTES;
        while let Some(fork) = self.forks.pop() {
            self.close(fork, below);
            below = fork;
        }
        // What all keys begin with.
        self.nodes + usize::from(below > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, from the top of the tree down.
    fn nodes(keys: &[[u8; BYTES]], from: usize) -> usize {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return 1 };
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

    proptest! {
        #[test]
        fn what_neighbours_share_tells_the_number(numbers in prop::collection::btree_set(prop_oneof![0..400_u64, 0..70_000_u64, any::<u64>()], 0..80)) {
            let keys: Vec<[u8; BYTES]> = numbers.iter().map(|number| {
                let mut key = [0; BYTES];
                key[2..10].copy_from_slice(&number.to_be_bytes());
                key
            }).collect();
            let mut counter = Counter::default();
            keys.iter().for_each(|key| counter.add(u128::from_be_bytes(*key)));
            prop_assert_eq!(counter.nodes(), nodes(&keys, 0));
        }
    }
}
