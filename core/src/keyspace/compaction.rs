//! Moving the entries of shards together, so that memory follows what is stored ("active defragmentation").
//!
//! How it is done is [`super::shard`]'s and the arena's affair: every write takes one step. Here the background thread and MEMORY
//! PURGE finish what writes began, since the memory only goes back to the system at the end.

use std::time::Duration;

use super::Keyspace;
use crate::clock::Timer;
use crate::store::key::SHARDS;

/// Steps per hold of a shard's lock, each some ten entries.
const STEPS: usize = 16;

/// Goes on with compactions that have begun, for about `budget`.
pub(crate) fn advance(keyspace: &Keyspace, timer: Timer, budget: Duration) {
    for index in 0..SHARDS {
        while keyspace.shards[index].is_compacting() {
            if timer.elapsed() >= budget {
                return;
            }
            step(keyspace, index);
        }
    }
}

/// Moves all entries of all shards together. O(bytes), with each shard locked for some microseconds at a time.
pub(crate) fn compact_all(keyspace: &Keyspace) {
    for index in 0..SHARDS {
        keyspace.lock(index).start_compaction();
        while keyspace.shards[index].is_compacting() {
            step(keyspace, index);
        }
    }
}

fn step(keyspace: &Keyspace, index: usize) {
    let mut shard = keyspace.lock(index);
    for _ in 0..STEPS {
        shard.step_compaction();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Database, Engine, Ttl};
    use std::collections::HashMap;

    fn value(number: u32, len: usize) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(len).collect()
    }

    fn set(db: &Database, number: u32, value: &[u8]) {
        db.set(number.to_le_bytes(), value, Ttl::None, Condition::Always).unwrap();
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
                assert_eq!(db.delete(number.to_le_bytes()), model.remove(&number).is_some());
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
        assert!(reserved < used + used / 100, "{reserved} for {used}");
        for (number, value) in &model {
            assert_eq!(db.get(number.to_le_bytes()).unwrap().as_ref(), Some(value));
        }
        assert_eq!(db.len(), model.len());
        assert!(!other.is_empty());
    }

    #[test]
    fn deleting_nearly_everything_gives_the_memory_back() {
        let engine = Engine::new();
        let db = engine.database(0).unwrap();
        (0..100_000).for_each(|number| set(&db, number, &[7; 100]));
        let (before, _) = sizes(&engine);
        (0..99_000_u32).for_each(|number| assert!(db.delete(number.to_le_bytes())));
        compact_all(&engine.inner.keyspace);
        let (used, reserved) = sizes(&engine);
        assert!(reserved < before / 8, "{reserved} of {before} for {used}");
        (99_000..100_000)
            .for_each(|number: u32| assert_eq!(db.get(number.to_le_bytes()).unwrap().unwrap(), [7; 100]));
    }
}
