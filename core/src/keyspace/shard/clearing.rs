//! Emptying the tables of a shard, at once or, where a snapshot needs them, as that goes on ([`super::super::snapshot`]).

use smallvec::SmallVec;

use super::ShardData;
use crate::store::memory::Ref;
use crate::store::table::Index;
use crate::value::Owned;

impl ShardData {
    /// Empties the table at a place and returns what its entries owned. O(entries), O(buckets) if it is the only one and none owns anything. A table
    /// that a snapshot needs is left to it: its database has another place by now.
    pub(crate) fn clear(&mut self, place: usize) -> Vec<Owned> {
        if place >= self.spaces.len() || self.retire(place) {
            return Vec::new();
        }
        let mut owned = Vec::new();
        let alone =
            self.spaces.iter().enumerate().all(|(other, space)| other == place || space.table.len() == 0);
        if !alone || self.owners > 0 {
            self.take_apart(place, |shard, at| {
                let head = shard.head(at);
                if head.kind().owns() {
                    owned.push(shard.unload(at, head));
                }
                if !alone {
                    shard.arena.free(at, head.size());
                }
            });
        }
        self.clear_space(place);
        if alone {
            self.arena.clear();
            self.compaction = None;
        }
        owned
    }

    /// Empties every table, gives the memory back and returns what the entries owned. O(buckets), O(entries) if any owns something. Tables that a snapshot
    /// needs are left to it: their databases have other places by now.
    pub(crate) fn clear_all(&mut self) -> Vec<Owned> {
        let mut owned = Vec::new();
        let mut places = 0..self.spaces.len();
        if places.any(|place| self.is_retired(place) || self.needs_table(place)) {
            (0..self.spaces.len()).for_each(|place| owned.append(&mut self.clear(place)));
            return owned;
        }
        for place in 0..self.spaces.len() {
            if self.owners > 0 {
                self.take_apart(place, |shard, at| {
                    let head = shard.head(at);
                    if head.kind().owns() {
                        owned.push(shard.unload(at, head));
                    }
                });
            }
            self.clear_space(place);
        }
        self.arena.clear();
        self.compaction = None;
        owned
    }

    /// Visits all entries of a space, of which nothing is used afterwards.
    fn take_apart(&mut self, place: usize, mut visit: impl FnMut(&mut Self, Ref)) {
        let (shared, shard) = (self.shared.clone(), self.number);
        let (table, buckets) = (self.spaces[place].table, self.spaces[place].buckets.clone());
        let lines = Index { buckets: &buckets, region: shared.region(), shard, homes: table.homes() };
        table.each(&lines, |at| visit(self, at));
    }

    fn clear_space(&mut self, place: usize) {
        let Self { arena, spaces, shared, number, .. } = self;
        spaces[place].clear(arena, &shared.seed, *number);
        shared.publish(*number, place, spaces[place].table.homes());
    }

    /// Leaves the table at a place to the snapshot that is being written, if it needs it. Says whether it has it.
    fn retire(&mut self, place: usize) -> bool {
        let is_needed = self.needs_table(place);
        let space = &mut self.spaces[place];
        if is_needed {
            space.is_retired = true;
            space.forget_deadlines();
        }
        space.is_retired
    }

    /// Whether the table at a place is the snapshot's alone.
    pub(in crate::keyspace) fn is_retired(&self, place: usize) -> bool {
        self.spaces.get(place).is_some_and(|space| space.is_retired)
    }

    /// Takes the entries out of a chain of a table that nobody uses any more. Returns them, and the cursor of the next chain.
    pub(in crate::keyspace) fn take_chain(
        &mut self,
        place: usize,
        cursor: u64,
    ) -> (SmallVec<[Ref; 32]>, u64) {
        let mut entries = SmallVec::new();
        let next =
            self.change_table(place, |table, stored| table.take_chain(stored, cursor, |at| entries.push(at)));
        (entries, next)
    }

    /// A table whose entries have all been taken out can be some database's again.
    pub(in crate::keyspace) fn readmit(&mut self, place: usize) {
        self.clear_space(place);
        self.spaces[place].is_retired = false;
    }
}
