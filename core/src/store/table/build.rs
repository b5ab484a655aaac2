//! A table that is made at once of all that it holds, for a file.

use super::bucket::{Bucket, SLOTS, tag_of};
use super::{Homes, Table};

/// A bucket as it stands in a file.
pub(crate) type BucketWords = [u64; 8];

impl Table {
    /// The table of these hashes and references, as dense as one that has grown to that length. `overflow` stores an overflow bucket and returns its number,
    /// `home` stores a home bucket, and is called for all of them but empty ones. O(entries).
    ///
    /// # Errors
    /// The first of `overflow`.
    pub(crate) fn build<E>(
        entries: &[(u64, u32)],
        mut overflow: impl FnMut(BucketWords) -> Result<u32, E>,
        mut home: impl FnMut(u32, BucketWords),
    ) -> Result<Self, E> {
        let mut table = Self { len: entries.len() as u32, ..Self::default() };
        if entries.is_empty() {
            return Ok(table);
        }
        // As `insert` has it: above 9.75 entries a bucket a round is due.
        let homes = (entries.len() as u64 * 4).div_ceil(39).next_power_of_two() as u32;
        table.homes = Homes::of(homes);
        let mut ends = vec![0u32; homes as usize + 1];
        entries.iter().for_each(|(hash, _)| ends[table.homes.home(*hash) as usize + 1] += 1);
        (0..homes as usize).for_each(|at| ends[at + 1] += ends[at]);
        let mut next = ends.clone();
        let mut sorted = vec![(0u8, 0u32); entries.len()];
        for (hash, entry) in entries {
            let place = &mut next[table.homes.home(*hash) as usize];
            sorted[*place as usize] = (tag_of(*hash), *entry);
            *place += 1;
        }
        for index in 0..homes {
            let chain = &sorted[ends[index as usize] as usize..ends[index as usize + 1] as usize];
            let mut link = 0;
            for (place, content) in chain.chunks(SLOTS).enumerate().rev() {
                let words = Bucket::words(content.iter().copied(), link);
                if place == 0 {
                    home(index, words);
                } else {
                    link = overflow(words)?;
                    table.overflows += 1;
                    table.longest = table.longest.max(place as u32);
                }
            }
        }
        Ok(table)
    }
}
