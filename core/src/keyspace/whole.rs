//! What is done to whole databases: emptying and exchanging them. All of it needs every shard.
//!
//! Single keys are [`super::db`]'s.

use super::db::{Db, preserve_for};
use super::hooks::Snapshot;
use super::key::Key;
use super::shard::ShardData;

impl Db<'_> {
    /// Removes every key of this database and returns how many there were. O(keys), O(shards) if no other database holds any.
    pub(crate) fn clear(&mut self) -> usize {
        let (db, count) = (self.index, self.len());
        self.raise_marks(&[db], |shard, key| shard.find(db, key).is_some());
        self.preserve_all(&[db]);
        for index in self.locks.indices() {
            let garbage = self.locks.shard_mut(index).clear(db);
            self.effects.garbage.extend(garbage);
        }
        self.emptied(Some(db), count)
    }

    /// Removes every key of every database and returns how many there were. Time is O(values on the heap).
    pub(crate) fn clear_all(&mut self) -> usize {
        let all: Vec<usize> = (0..self.databases()).collect();
        let home = self.index();
        let count = all.iter().map(|db| {
            self.index = *db;
            self.len()
        });
        let count = count.sum();
        self.index = home;
        for db in &all {
            self.raise_marks(&[*db], |shard, key| shard.find(*db, key).is_some());
        }
        self.preserve_all(&all);
        for index in self.locks.indices() {
            let garbage = self.locks.shard_mut(index).clear_all();
            self.effects.garbage.extend(garbage);
        }
        self.emptied(None, count)
    }

    fn emptied(&mut self, db: Option<usize>, count: usize) -> usize {
        self.add_changes(count as u64);
        self.note_flushed(db);
        count
    }

    /// Exchanges two databases. O(shards).
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        self.raise_marks(&[one, other], |shard, key| {
            shard.find(one, key).is_some() || shard.find(other, key).is_some()
        });
        self.preserve_all(&[one, other]);
        for index in self.locks.indices() {
            self.locks.shard_mut(index).swap(one, other);
        }
        self.add_changes(1);
        self.note_flushed(Some(one));
        self.note_flushed(Some(other));
    }

    /// Has the values removed by this command dropped before it returns, rather than on the lazy-free thread.
    pub(crate) fn drop_garbage_here(&mut self) {
        self.effects.drop_here = true;
    }

    /// One more than the highest number of a database that was ever used.
    pub(crate) fn databases(&self) -> usize {
        self.locks.indices().into_iter().map(|index| self.locks.shard(index).databases()).max().unwrap_or(0)
    }

    fn note_flushed(&mut self, db: Option<usize>) {
        if self.keyspace.hooks.observed() {
            self.effects.flushed.push(db);
        }
    }

    /// Raises the WATCH marks of keys of these databases for which `changed` holds.
    fn raise_marks(&self, databases: &[usize], changed: impl Fn(&ShardData, &Key<'_>) -> bool) {
        let seed = self.keyspace.seed;
        for index in self.locks.indices() {
            let shard = self.locks.shard(index);
            for db in databases {
                shard.watchers.touch_where(*db, |name| changed(shard, &Key::new(name, seed)));
            }
        }
    }

    /// Hands all entries of these databases that a running snapshot has not visited to its writer. O(keys) while one runs.
    fn preserve_all(&self, databases: &[usize]) {
        let Some(snapshot) = self.keyspace.hooks.snapshot() else { return };
        for index in self.locks.indices() {
            let shard = self.locks.shard(index);
            databases.iter().for_each(|db| preserve_space(&*snapshot, shard, *db));
        }
    }
}

fn preserve_space(snapshot: &dyn Snapshot, shard: &ShardData, db: usize) {
    if let Some(space) = shard.space(db) {
        space.table.iter().for_each(|at| preserve_for(snapshot, shard, at, db));
    }
}
