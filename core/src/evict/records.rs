//! Records of keys, and the containers that hold many of them in little memory.
//!
//! A record is enough of a key's hash to find its entry wherever that has moved; what a record is filed under is the policy's.

use super::shelf::Shelf;
use super::ticks::{self, SHORT_BITS};
use crate::store::key::{hash_of_timer, shard_of, timer_id};

/// What stands for a key: 40 bits of its hash, and its database. Two keys that agree in them share their records; since both are
/// judged by their own stamps, that only costs accuracy, for one pair in 2^40.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) db: u32,
    pub(crate) shard: u8,
    pub(crate) id: u32,
}

impl Record {
    pub(crate) fn new(hash: u64, db: usize) -> Self {
        let db = u32::try_from(db).expect("a database's number is an option of 31 bits");
        Self { db, shard: shard_of(hash) as u8, id: timer_id(hash) }
    }

    /// The bits of the hash that its table needs to find the entry.
    pub(crate) fn table_hash(self) -> u64 {
        hash_of_timer(self.id)
    }

    /// What the record knows of the hash, mixed, as ghosts and miniatures remember keys.
    pub(crate) fn digest(self) -> u64 {
        let bits = u64::from(self.id) | u64::from(self.shard) << 32;
        let mixed = (bits ^ bits >> 23).wrapping_mul(0x2127_599b_f432_5c37);
        mixed ^ mixed >> 47
    }
}

/// Bytes a record takes in a [`Bag`].
pub(crate) const RECORD_BYTES: usize = 5;

/// Records in no promised order: 5 bytes each, 9 while any of them is of another database than 0.
#[derive(Debug, Default)]
pub(crate) struct Bag {
    ids: Vec<u32>,
    shards: Vec<u8>,
    /// Empty as long as all records are of database 0.
    databases: Vec<u32>,
}

impl Bag {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn push(&mut self, record: Record) {
        if record.db != 0 || !self.databases.is_empty() {
            self.databases.resize(self.ids.len(), 0);
            self.databases.push(record.db);
        }
        self.ids.push(record.id);
        self.shards.push(record.shard);
    }

    pub(crate) fn get(&self, index: usize) -> Record {
        let db = self.databases.get(index).copied().unwrap_or(0);
        Record { db, shard: self.shards[index], id: self.ids[index] }
    }

    /// Takes out a record; the last takes its place.
    pub(crate) fn swap_remove(&mut self, index: usize) -> Record {
        let record = self.get(index);
        self.ids.swap_remove(index);
        self.shards.swap_remove(index);
        if !self.databases.is_empty() {
            self.databases.swap_remove(index);
        }
        if self.ids.len() < self.ids.capacity() / 2 {
            self.shrink();
        }
        record
    }

    /// Gives back what a bag that was fuller had grown to.
    #[cold]
    fn shrink(&mut self) {
        let room = self.len() + self.len() / 4;
        self.ids.shrink_to(room);
        self.shards.shrink_to(room);
        self.databases.shrink_to(room);
    }
}

/// Records in the order they came, in chunks that remember when they were begun.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    shelf: Shelf,
    /// The chunk that has been here longest, and the one with room.
    first: u32,
    last: u32,
    /// Records taken out of the first chunk.
    taken: usize,
    len: usize,
}

/// A record taken from a [`Fifo`], and the span of ticks in which it was put there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filed {
    pub(crate) record: Record,
    since: u32,
    until: u32,
}

impl Filed {
    /// Whether a key that was filed at `time` can be the one that this record was made for, and not a later one of the same name.
    pub(crate) fn is_of(&self, time: u32) -> bool {
        ticks::age(time, self.since, SHORT_BITS) <= ticks::age(self.until, self.since, SHORT_BITS)
    }
}

impl Fifo {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shelf.bytes()
    }

    /// Puts a record at the end, for a key whose stamp bears this time. O(1).
    pub(crate) fn push(&mut self, record: Record, time: u32) {
        const HALF: u32 = 1 << (SHORT_BITS - 1);
        self.len += 1;
        if self.last != 0 && self.shelf.chunk(self.last).push(record) {
            let chunk = self.shelf.chunk(self.last);
            let (since, until) = chunk.times();
            if ticks::age(time, since, SHORT_BITS) > HALF {
                chunk.set_times(time, until);
            } else if ticks::age(time, until, SHORT_BITS) <= HALF {
                chunk.set_times(since, time);
            }
            return;
        }
        let new = self.shelf.add();
        let chunk = self.shelf.chunk(new);
        chunk.push(record);
        chunk.set_times(time, time);
        chunk.set_back(self.last);
        match self.last {
            0 => self.first = new,
            last => self.shelf.chunk(last).set_next(new),
        }
        self.last = new;
    }

    /// Takes the record that has been here longest. O(1).
    pub(crate) fn pop(&mut self) -> Option<Filed> {
        if self.first == 0 {
            return None;
        }
        let chunk = self.shelf.chunk(self.first);
        let (since, until) = chunk.times();
        let filed = Filed { record: chunk.record(self.taken), since, until };
        self.taken += 1;
        self.len -= 1;
        if self.taken == chunk.len() {
            self.drop_first();
        }
        Some(filed)
    }

    fn drop_first(&mut self) {
        let old = self.first;
        self.taken = 0;
        self.first = self.shelf.chunk(old).next();
        match self.first {
            0 => self.last = 0,
            first => self.shelf.chunk(first).set_back(0),
        }
        // The chunk that took the place of the old one was named by its neighbours, or as first or last.
        if let Some(moved) = self.shelf.remove(old) {
            let chunk = self.shelf.chunk(old);
            match chunk.back() {
                0 => self.first = old,
                back => self.shelf.chunk(back).set_next(old),
            }
            match chunk.next() {
                0 => self.last = old,
                next => self.shelf.chunk(next).set_back(old),
            }
            debug_assert!(self.first != moved && self.last != moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::shelf::NARROW;

    fn record(id: u32, db: u32) -> Record {
        Record { db, shard: id as u8, id }
    }

    #[test]
    fn a_record_finds_the_bits_of_its_hash() {
        let hash = 0xab12_3456_789a_bcde;
        let record = Record::new(hash, 3);
        assert_eq!((record.db, usize::from(record.shard)), (3, shard_of(hash)));
        assert_eq!(record.table_hash() >> 56, hash >> 56);
        assert_eq!(record.table_hash() & 0xff_ffff, hash & 0xff_ffff);
        assert_ne!(record.digest(), Record::new(hash ^ 1, 3).digest());
    }

    #[test]
    fn a_bag_keeps_databases_apart() {
        let mut bag = Bag::default();
        for (id, db) in [(1, 0), (2, 0), (3, 7), (4, 0)] {
            bag.push(record(id, db));
        }
        assert_eq!(bag.swap_remove(0), record(1, 0));
        assert_eq!((bag.get(0), bag.get(2)), (record(4, 0), record(3, 7)));
        assert_eq!((bag.swap_remove(2), bag.swap_remove(0)), (record(3, 7), record(4, 0)));
        assert_eq!((bag.len(), bag.swap_remove(0)), (1, record(2, 0)));
    }

    #[test]
    fn a_fifo_returns_records_in_order_and_knows_when_they_came() {
        let mut fifo = Fifo::default();
        for id in 0..1_000 {
            fifo.push(record(id, id % 2), id);
        }
        assert_eq!(fifo.len(), 1_000);
        for id in 0..1_000 {
            let filed = fifo.pop().unwrap();
            assert_eq!(filed.record, record(id, id % 2));
            assert!(filed.is_of(id) && !filed.is_of(id + 200));
        }
        assert!(fifo.pop().is_none() && fifo.bytes() == 0);
    }

    #[test]
    fn a_fifo_that_others_fill_and_empty_takes_what_its_records_take() {
        let mut fifo = Fifo::default();
        let (mut put, mut taken) = (0, 0);
        for (more, less) in [(100_000, 10), (0, 60_000), (70_000, 100_000), (1_000, 1_000), (500, 10_000)] {
            for _ in 0..more {
                fifo.push(record(put, put % 700 / 699), 0);
                put += 1;
            }
            for _ in 0..less.min(put - taken) {
                assert_eq!(fifo.pop().unwrap().record, record(taken, taken % 700 / 699));
                taken += 1;
            }
            let most = fifo.len() * 256 / NARROW * 5 / 4 + 2 * 256;
            assert!(fifo.bytes() <= most, "{} for {}", fifo.bytes(), fifo.len());
        }
        assert_eq!(fifo.len(), (put - taken) as usize);
    }
}
