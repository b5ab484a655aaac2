//! Records in buckets, one for each span of stamps: the container of the LRU policy.
//! When a bucket is begun or opened is the policy's.
//!
//! A bucket is a list of chunks, of which only the first has room.

use std::collections::VecDeque;

use super::Record;
use super::shelf::Shelf;

/// The bit of a chunk's way back that says that a bucket names it, by its number, and not a chunk.
const BY_BUCKET: u32 = 1 << 31;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    buckets: VecDeque<Bucket>,
    /// Buckets ever taken out: the number of the first one, but for the topmost bit.
    taken: u32,
    shelf: Shelf,
}

#[derive(Debug)]
struct Bucket {
    /// The first stamp that belongs here.
    start: u32,
    first: u32,
    len: u32,
}

impl Calendar {
    /// Number of buckets.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.shelf.bytes()
    }

    /// First stamp and number of records of the bucket at that place.
    pub(crate) fn get(&self, place: usize) -> Option<(u32, usize)> {
        self.buckets.get(place).map(|bucket| (bucket.start, bucket.len as usize))
    }

    /// How many buckets there are before the first whose first stamp is not `early`.
    pub(crate) fn partition_point(&self, mut early: impl FnMut(u32) -> bool) -> usize {
        self.buckets.partition_point(|bucket| early(bucket.start))
    }

    /// Begins another bucket, behind the others. O(1) on average.
    pub(crate) fn begin(&mut self, start: u32) {
        self.buckets.push_back(Bucket { start, first: 0, len: 0 });
    }

    /// Takes out the first bucket, which is empty. O(1) on average.
    pub(crate) fn end_first(&mut self) {
        let first = self.buckets.pop_front();
        debug_assert!(first.is_none_or(|bucket| bucket.len == 0 && bucket.first == 0));
        self.taken = self.taken.wrapping_add(1);
        if self.buckets.len() < self.buckets.capacity() / 4 {
            self.buckets.shrink_to(2 * self.buckets.len());
        }
    }

    /// Puts a record into a bucket. O(1).
    pub(crate) fn push(&mut self, place: usize, record: Record) {
        let back = BY_BUCKET | self.taken.wrapping_add(place as u32);
        let Self { buckets, shelf, .. } = self;
        let bucket = &mut buckets[place];
        bucket.len += 1;
        if bucket.first != 0 && shelf.chunk(bucket.first).push(record) {
            return;
        }
        let (new, old) = (shelf.add(), bucket.first);
        let chunk = shelf.chunk(new);
        chunk.push(record);
        chunk.set_back(back);
        chunk.set_next(old);
        if old != 0 {
            shelf.chunk(old).set_back(new);
        }
        bucket.first = new;
    }

    /// Takes a record out of the first bucket. O(1).
    pub(crate) fn pop(&mut self) -> Option<Record> {
        let Self { buckets, shelf, .. } = self;
        let bucket = buckets.front_mut().filter(|bucket| bucket.len > 0)?;
        bucket.len -= 1;
        let first = bucket.first;
        let chunk = shelf.chunk(first);
        let record = chunk.pop();
        if chunk.len() == 0 {
            bucket.first = chunk.next();
            if bucket.first != 0 {
                shelf.chunk(bucket.first).set_back(BY_BUCKET | self.taken);
            }
            if shelf.remove(first).is_some() {
                self.refer(first);
            }
        }
        record
    }

    /// Has those who refer to a chunk that was moved name it by its new link.
    fn refer(&mut self, link: u32) {
        let chunk = self.shelf.chunk(link);
        let (back, next) = (chunk.back(), chunk.next());
        if next != 0 {
            self.shelf.chunk(next).set_back(link);
        }
        if back & BY_BUCKET == 0 {
            self.shelf.chunk(back).set_next(link);
        } else {
            let place = back.wrapping_sub(self.taken) & !BY_BUCKET;
            self.buckets[place as usize].first = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of lists.
        #[test]
        fn buckets_keep_their_records(
            taken in prop::sample::select(vec![0, u32::MAX - 3, BY_BUCKET - 2]),
            steps in prop::collection::vec((0..10u8, any::<prop::sample::Index>(), 0..60u32), 1..if cfg!(miri) { 20 } else { 300 }),
        ) {
            let mut calendar = Calendar { taken, ..Calendar::default() };
            let mut model: VecDeque<Vec<u32>> = VecDeque::new();
            let mut number = 0;
            for (step, index, count) in steps {
                match step {
                    0 | 1 => {
                        calendar.begin(model.len() as u32);
                        model.push_back(Vec::new());
                    }
                    2..6 if !model.is_empty() => for _ in 0..count {
                        number += 1;
                        let place = index.index(model.len());
                        let db = if number % 50 == 0 { 3 } else { 0 };
                        calendar.push(place, Record { db, shard: number as u8, id: number });
                        model[place].push(number);
                    },
                    _ => for _ in 0..count {
                        let Some(first) = model.front_mut() else { break };
                        let Some(record) = calendar.pop() else {
                            prop_assert!(first.is_empty());
                            calendar.end_first();
                            model.pop_front();
                            continue;
                        };
                        prop_assert_eq!((record.shard, record.db != 0), (record.id as u8, record.id % 50 == 0));
                        let at = first.iter().position(|number| *number == record.id);
                        prop_assert!(at.is_some(), "{} is not of this bucket", record.id);
                        first.swap_remove(at.unwrap());
                    },
                }
                prop_assert_eq!(calendar.len(), model.len());
                prop_assert!(model.iter().enumerate().all(|(at, bucket)| calendar.get(at).unwrap().1 == bucket.len()));
            }
            while calendar.len() > 0 {
                let records = std::iter::from_fn(|| calendar.pop()).count();
                prop_assert_eq!(records, model.pop_front().unwrap().len());
                calendar.end_first();
            }
            prop_assert!(calendar.bytes() < 20_000);
        }
    }
}
