//! DEL, UNLINK, EXISTS and TOUCH: what can be asked of several keys at once.

use crate::command::{Command, Read, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Deletes keys.
///
/// Returns how many existed.
#[derive(Command)]
#[command(
    name = "DEL", group = Generic, since = "1.0.0", complexity = "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).", arity = -2,
    flags(WRITE), tips("request_policy:multi_shard", "response_policy:agg_sum"),
    reply = "int",
)]
pub struct Del<'a> {
    #[key(RM, DELETE, last = -1)]
    key: Vec<Key<'a>>,
}

impl Write for Del<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(delete(db, &self.key));
        Ok(())
    }
}

/// Deletes keys and leaves the release of large values to another thread.
///
/// Returns how many existed. In Keystead DEL does the same: no value is released while a lock is held.
#[derive(Command)]
#[command(
    name = "UNLINK", group = Generic, since = "4.0.0", complexity = "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.", arity = -2,
    flags(WRITE, FAST), tips("request_policy:multi_shard", "response_policy:agg_sum"),
    reply = "int",
)]
pub struct Unlink<'a> {
    #[key(RM, DELETE, last = -1)]
    key: Vec<Key<'a>>,
}

impl Write for Unlink<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(delete(db, &self.key));
        Ok(())
    }
}

/// Removes keys and tells of each; how many existed.
pub(crate) fn delete(db: &mut Db<'_>, keys: &[Key<'_>]) -> usize {
    let mut deleted = 0;
    for key in keys {
        if db.remove(key) {
            db.notify(EventClass::Generic, "del", key.bytes());
            deleted += 1;
        }
    }
    deleted
}

/// Counts the keys that exist; a key given twice counts twice.
///
/// Returns the count.
#[derive(Command)]
#[command(
    name = "EXISTS", group = Generic, since = "1.0.0", complexity = "O(N) where N is the number of keys to check.", arity = -2,
    flags(READONLY, FAST), tips("request_policy:multi_shard", "response_policy:agg_sum"),
    history(("3.0.3", "Accepts multiple `key` arguments.")),
    reply = "int",
)]
pub struct Exists<'a> {
    #[key(RO, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for Exists<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(self.key.iter().filter(|key| db.lookup_untouched(key).is_some()).count());
        Ok(())
    }
}

/// Stamps keys as accessed.
///
/// Returns how many exist.
#[derive(Command)]
#[command(
    name = "TOUCH", group = Generic, since = "3.2.1", complexity = "O(N) where N is the number of keys that will be touched.", arity = -2,
    flags(READONLY, FAST), tips("request_policy:multi_shard", "response_policy:agg_sum"),
    reply = "int",
)]
pub struct Touch<'a> {
    #[key(RO, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for Touch<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(self.key.iter().filter(|key| db.touch(key)).count());
        Ok(())
    }
}
