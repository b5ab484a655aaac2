//! Moving the entries of shards together, so that memory follows what is stored ("active defragmentation").
//!
//! How it is done is [`super::shard`]'s and the arena's affair, whose turn it is the guard's. Every write that changes the size
//! of something takes a few steps for the shard whose turn it is, so moving keeps pace with what makes holes; the
//! background thread and MEMORY PURGE go on where writes stop.

use std::time::Duration;

use super::Keyspace;
use crate::clock::Timer;
use crate::store::key::SHARDS;

/// Steps per hold of a shard's lock, each some ten entries.
const STEPS: usize = 16;

/// Steps that one write takes.
const STEPS_OF_A_WRITE: usize = 4;

/// What a write ends with: takes a few steps, if a shard is having its entries moved together and nobody is at work in it, and gives some memory back
/// to the system, if much is idle. The caller holds no lock.
#[inline]
pub(crate) fn help(keyspace: &Keyspace) {
    if let Some(index) = keyspace.turn.whose() {
        step(keyspace, index, STEPS_OF_A_WRITE);
    }
    keyspace.shared.pool.trim_some();
}

/// Goes on with a compaction that has begun, and with others that are due, for about `budget`. Says whether some is left.
pub(crate) fn advance(keyspace: &Keyspace, timer: Timer, budget: Duration) -> bool {
    while let Some(index) = keyspace.turn.whose() {
        if timer.elapsed() >= budget {
            return true;
        }
        step(keyspace, index, STEPS);
        if keyspace.turn.whose().is_none() {
            start_next(keyspace, index);
        }
    }
    false
}

/// Gives the turn to the next shard after `last` that needs it, if one does that nobody is at work in.
fn start_next(keyspace: &Keyspace, last: usize) {
    for offset in 1..SHARDS {
        if let Some(mut shard) = keyspace.try_lock((last + offset) % SHARDS)
            && shard.is_compaction_due()
        {
            return shard.start_compaction();
        }
    }
}

/// Moves all entries of all shards together. O(bytes), with each shard locked for some microseconds at a time.
pub(crate) fn compact_all(keyspace: &Keyspace) {
    for index in keyspace.made_shards() {
        finish(keyspace, None);
        keyspace.lock(index).start_compaction();
        finish(keyspace, Some(index));
    }
}

/// Goes on until it is no longer that shard's turn, or any's.
fn finish(keyspace: &Keyspace, shard: Option<usize>) {
    while let Some(index) = keyspace.turn.whose().filter(|index| shard.is_none_or(|shard| shard == *index)) {
        step(keyspace, index, STEPS);
        std::thread::yield_now();
    }
}

fn step(keyspace: &Keyspace, index: usize, steps: usize) {
    if let Some(mut shard) = keyspace.try_lock(index) {
        (0..steps).for_each(|_| shard.step_compaction());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::access::CALM_TICK_MS;
    use crate::store::key::Key;
    use crate::{Clock, Database, Engine};
    use std::collections::HashMap;

    fn value(number: u32, len: usize) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(len).collect()
    }

    fn set(db: &Database, number: u32, value: &[u8]) {
        db.set(number.to_le_bytes(), value).unwrap();
    }

    fn sizes(engine: &Engine) -> (usize, usize) {
        let keyspace = &engine.inner.keyspace;
        let shards = || (0..SHARDS).map(|index| keyspace.lock(index));
        (shards().map(|shard| shard.bytes()).sum(), shards().map(|shard| shard.reserved_bytes()).sum())
    }

    #[test]
    fn memory_follows_what_is_stored_and_nothing_is_lost() {
        let engine = Engine::new();
        let (db, other) = (engine.database(0).unwrap(), engine.database(3).unwrap());
        let mut model = HashMap::new();
        let mut random = 1_u32;
        let mut draw = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 8
        };
        for round in 0..40_000 {
            let (number, len) = (draw() % 9_000, draw() as usize % 7_000);
            if round % 5 == 0 {
                assert_eq!(db.delete(number.to_le_bytes()).unwrap(), model.remove(&number).is_some());
            } else {
                let value = value(round, len);
                set(&db, number, &value);
                model.insert(number, value);
            }
            if round % 50 == 0 {
                set(&other, number, b"in another database");
            }
        }
        let (used, reserved) = sizes(&engine);
        assert!(reserved < used + used / 4, "{reserved} for {used}");
        compact_all(&engine.inner.keyspace);
        let (used, reserved) = sizes(&engine);
        // With entries of some 4 KB in shards of 100 KB the ends of runs are a 20th.
        assert!(reserved < used + used / 16, "{reserved} for {used}");
        let taken = engine.inner.keyspace.shared.pool.used_bytes();
        assert!(taken < used + used / 6, "{taken} for {used}");
        for (number, value) in &model {
            assert_eq!(db.get(number.to_le_bytes()).unwrap().as_ref(), Some(value));
        }
        assert_eq!(db.len().unwrap(), model.len());
        assert!(!other.is_empty().unwrap());
    }

    #[test]
    fn what_readers_noted_survives_moving() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let (db, keyspace) = (engine.database(0).unwrap(), &engine.inner.keyspace);
        set(&db, 1, b"value");
        engine.advance(Duration::from_millis(CALM_TICK_MS));
        let bytes = 1_u32.to_le_bytes();
        let key = Key::new(&bytes, &keyspace.seed);
        keyspace.lock(key.shard()).start_compaction();
        assert!(db.get(bytes).unwrap().is_some());
        finish(keyspace, None);
        let shard = keyspace.lock(key.shard());
        let stamp = shard.head(shard.find(0, &key).unwrap()).stamp();
        assert_eq!(stamp, keyspace.evictor.ticks.now());
    }

    #[test]
    fn deleting_nearly_everything_gives_the_memory_back() {
        let engine = Engine::new();
        let db = engine.database(0).unwrap();
        (0..100_000).for_each(|number| set(&db, number, &[7; 100]));
        let (before, _) = sizes(&engine);
        (0..99_000_u32).for_each(|number| assert!(db.delete(number.to_le_bytes()).unwrap()));
        compact_all(&engine.inner.keyspace);
        let (used, reserved) = sizes(&engine);
        assert!(reserved < before / 8, "{reserved} of {before} for {used}");
        (99_000..100_000)
            .for_each(|number: u32| assert_eq!(db.get(number.to_le_bytes()).unwrap().unwrap(), [7; 100]));
    }
}
