//! What is done to whole databases: emptying and exchanging them. All of it needs every shard.
//!
//! Single keys are [`super::db`]'s.

use super::db::Db;
use super::shard::ShardData;
use crate::store::key::Key;

impl Db<'_> {
    /// Removes every key of this database and returns how many there were. O(keys), O(buckets) if no other database holds any and no value has memory of its own.
    pub(crate) fn clear(&mut self) -> usize {
        let (db, count) = (self.index, self.len());
        self.raise_marks(&[db], |shard, key| shard.find(db, key).is_some());
        let place = self.keyspace.shared.place_of(db);
        self.leave_to_snapshot(&[db]);
        for index in self.locks.indices() {
            let garbage = place.map(|place| self.locks.shard_mut(index).clear(place));
            self.effects.discard(garbage.into_iter().flatten());
        }
        self.note_all_ready(&[db]);
        self.emptied(Some(db), count)
    }

    /// Removes every key of every database and returns how many there were. Time is O(buckets), O(keys) where values have memory of their own.
    pub(crate) fn clear_all(&mut self) -> usize {
        let all = self.databases();
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
        // A key may be being loaded in a database that nobody has used yet.
        self.locks.each_mut(|shard| shard.watchers.void_all(None));
        self.leave_to_snapshot(&all);
        for index in self.locks.indices() {
            let garbage = self.locks.shard_mut(index).clear_all();
            self.effects.discard(garbage);
        }
        self.note_all_ready(&all);
        self.emptied(None, count)
    }

    /// Gives databases whose tables a snapshot that is being written needs other places. O(shards).
    fn leave_to_snapshot(&mut self, databases: &[usize]) {
        for db in databases {
            let Some(place) = self.keyspace.shared.place_of(*db) else { continue };
            if self.locks.indices().into_iter().any(|index| self.locks.shard(index).needs_table(place)) {
                // As in `swap`.
                self.locks.each_mut(|_| ());
                self.keyspace.shared.renew(*db);
            }
        }
    }

    fn emptied(&mut self, db: Option<usize>, count: usize) -> usize {
        self.add_changes(count as u64);
        self.note_flushed(db);
        if self.keyspace.hooks.are_tracked() {
            self.effects.track_flush(&self.keyspace.hooks);
        }
        count
    }

    /// Exchanges two databases. O(shards).
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        self.raise_marks(&[one, other], |shard, key| {
            shard.find(one, key).is_some() || shard.find(other, key).is_some()
        });
        // Readers without the lock are turned away from every shard before any of them can see the exchange.
        self.locks.each_mut(|_| ());
        self.keyspace.shared.swap(one, other);
        self.add_changes(1);
        self.note_flushed(Some(one));
        self.note_flushed(Some(other));
        self.note_all_ready(&[one, other]);
    }

    /// Has the values removed by this command dropped before it returns, rather than on the lazy-free thread.
    pub(crate) fn drop_garbage_here(&mut self) {
        self.effects.rare().drop_here = true;
    }

    /// The numbers of all databases that were ever used, in order.
    pub(crate) fn databases(&self) -> Vec<usize> {
        self.keyspace.shared.databases().to_vec()
    }

    /// All keys of a database, or of all of them, have changed.
    fn note_flushed(&mut self, db: Option<usize>) {
        self.keyspace.counters.bump_all();
        self.keyspace.evictor.forget_records();
        if self.keyspace.hooks.want_changes() {
            self.effects.rare().told.flushed.push(db);
        }
    }

    /// Raises the WATCH marks of keys of these databases for which `changed` holds, and the marks of all loads.
    fn raise_marks(&self, databases: &[usize], changed: impl Fn(&ShardData, &Key<'_>) -> bool) {
        let seed = &self.keyspace.seed;
        for index in self.locks.indices() {
            let shard = self.locks.shard(index);
            for db in databases {
                shard.watchers.touch_where(*db, |name| changed(shard, &Key::new(name, seed)));
                shard.watchers.void_all(Some(*db));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::keyspace::{Event, Observer};
    use crate::sync::Mutex;
    use crate::{Engine, Form, Session};
    use std::sync::Arc;

    fn run(session: &mut Session, line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        session.execute(&words).to_vec()
    }

    #[derive(Default)]
    struct Recorder {
        flushed: Mutex<Vec<Option<usize>>>,
    }

    impl Observer for Recorder {
        fn modified(&self, _: usize, _: &[u8], _: u64) {}

        fn flushed(&self, db: Option<usize>) {
            self.flushed.lock().push(db);
        }

        fn notified(&self, _: &Event<'_>) {}
    }

    #[test]
    fn observers_hear_which_databases_changed() {
        let engine = Engine::new();
        let recorder = Arc::new(Recorder::default());
        engine.observe(recorder.clone());
        let mut session = engine.session(Form::Resp);
        for line in ["FLUSHALL", "SELECT 3", "FLUSHDB", "SWAPDB 4 5", "MULTI", "FLUSHDB", "EXEC"] {
            run(&mut session, line);
        }
        assert_eq!(*recorder.flushed.lock(), [None, Some(3), Some(4), Some(5), Some(3)]);
    }
}
