//! The keyspace as eviction policies see it: looking at the keys behind records, drawing keys, removing victims.
//!
//! Each call takes one shard's lock and releases it before it returns. When and how much to evict is [`super::evictor`]'s.

use smallvec::SmallVec;

use super::Keyspace;
use super::db::{Aftermath, Db};
use super::guard::ShardGuard;
use super::locks::Locks;
use super::shard::ShardData;
use crate::evict::{Facts, Keys, Record, Verdict};
use crate::store::key::{Key, SHARDS};
use crate::store::memory::Ref;
use crate::store::random;

/// Draws that may meet a shard too empty before all shards are counted anew.
const DRAWS: usize = 1024;

/// The keys of a keyspace.
pub(crate) struct Victims<'k, 's> {
    keyspace: &'k Keyspace,
    now_ms: u64,
    /// At least as many keys as the fullest shard has, to draw fairly among shards.
    fullest: &'s mut usize,
    pub(crate) evicted: u64,
    /// What is left to do for evicted keys once nothing is locked.
    aftermath: &'s mut Vec<Aftermath<'k>>,
}

impl<'k, 's> Victims<'k, 's> {
    pub(crate) fn new(
        keyspace: &'k Keyspace,
        fullest: &'s mut usize,
        aftermath: &'s mut Vec<Aftermath<'k>>,
    ) -> Self {
        Self { keyspace, now_ms: keyspace.clock.now_ms(), fullest, evicted: 0, aftermath }
    }

    fn facts(&self, shard: &ShardData, at: Ref) -> Facts {
        let head = shard.head(at);
        Facts {
            stamp: head.stamp(),
            deadline: head.deadline(&shard.arena, at),
            frequency: self.keyspace.recording().frequency(head.stamp(), self.now_ms),
        }
    }

    /// Removes an entry: as evicted, or as expired if it is past its deadline.
    fn remove(&mut self, shard: usize, guard: ShardGuard<'k>, db: usize, name: &[u8], expired: bool) {
        let mut db = Db::new(self.keyspace, (db, 0), Locks::One(shard, guard));
        let key = db.key(name);
        if expired {
            db.expire_key(&key);
        } else {
            db.evict(&key);
            self.evicted += 1;
        }
        let index = db.index();
        self.aftermath.extend(db.finish_later(index).1);
    }

    fn draw_from(&mut self, shard: usize) -> Option<(Record, Facts)> {
        if !self.keyspace.shared.is_made(shard) {
            return None;
        }
        let guard = self.keyspace.lock(shard);
        let lens: SmallVec<[(usize, usize); 16]> = guard.databases().map(|db| (db, guard.len(db))).collect();
        *self.fullest = (*self.fullest).max(lens.iter().map(|(_, len)| len).sum());
        let mut drawn = (random() % (*self.fullest).max(1) as u64) as usize;
        for (db, len) in lens {
            if drawn < len {
                let at = guard.random(db, &mut random)?;
                let key = Key::new(guard.head(at).key(&guard.arena, at), &self.keyspace.seed);
                return Some((Record::new(key.hash(), db), self.facts(&guard, at)));
            }
            drawn -= len;
        }
        None
    }
}

impl Keys for Victims<'_, '_> {
    fn examine(&mut self, record: Record, judge: &mut dyn FnMut(Facts) -> Verdict) -> bool {
        let (shard, db) = (usize::from(record.shard), record.db as usize);
        let guard = self.keyspace.lock(shard);
        // The table compares fewer bits than the record has, so the key is hashed again.
        let is_it = |at| {
            let key = Key::new(guard.head(at).key(&guard.arena, at), &self.keyspace.seed);
            Record::new(key.hash(), db) == record
        };
        let Some(at) = guard.find_by(db, record.table_hash(), is_it) else {
            return false;
        };
        let facts = self.facts(&guard, at);
        let expired = facts.deadline.is_some_and(|deadline| deadline <= self.now_ms);
        let verdict = if expired { Verdict::Evict } else { judge(facts) };
        match verdict {
            Verdict::Keep => {}
            Verdict::Stamp(stamp) => guard.stamp(at, |_| stamp),
            Verdict::Evict => {
                let name: SmallVec<[u8; 64]> = SmallVec::from_slice(guard.head(at).key(&guard.arena, at));
                self.remove(shard, guard, db, &name, expired);
            }
        }
        !expired
    }

    fn draw(&mut self) -> Option<(Record, Facts)> {
        loop {
            for _ in 0..DRAWS {
                let shard = (random() % SHARDS as u64) as usize;
                if let Some(drawn) = self.draw_from(shard) {
                    return Some(drawn);
                }
            }
            let count = |shard| {
                let guard = self.keyspace.lock(shard);
                guard.databases().map(|db| guard.len(db)).sum::<usize>()
            };
            *self.fullest = (0..SHARDS).map(count).max().unwrap_or(0);
            if *self.fullest == 0 {
                return None;
            }
        }
    }
}
