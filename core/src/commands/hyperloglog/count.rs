//! PFCOUNT.

use crate::command::{Command, Read, Reply};
use crate::error::Result;
use crate::keyspace::{Db, Key};
use crate::value::hyperloglog::{Union, cached, estimate, form_of};

/// Estimates how many distinct elements were added to a HyperLogLog, or to several taken together.
///
/// Returns the estimate, whose standard error is 0.81 %; 0 for keys that are missing. That of a single key is kept in its string until an element changes
/// it, and takes O(1) until then.
#[derive(Command)]
#[command(
    name = "PFCOUNT", group = HyperLogLog, since = "2.8.9", complexity = "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, and much bigger constant times, when called with multiple keys.", arity = -2,
    flags(READONLY),
    reply = "int",
)]
pub struct PfCount<'a> {
    #[key(RW, ACCESS, last = -1, notes = "RW because it may change the internal representation of the key, and propagate to replicas")]
    key: Vec<Key<'a>>,
}

impl Read for PfCount<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let count = match &self.key[..] {
            [key] => count_one(db, key)?,
            keys => count_all(db, keys)?,
        };
        reply.integer(count as i64);
        Ok(())
    }
}

fn count_one(db: &Db<'_>, key: &Key<'_>) -> Result<u64> {
    let Some(entry) = db.lookup(key) else { return Ok(0) };
    let text = entry.value().text()?;
    form_of(&text)?;
    if let Some(count) = cached(&text) {
        if entry.encoding() != "raw" {
            db.keep_estimate_later(key, None);
        }
        return Ok(count);
    }
    let count = estimate(&text);
    db.keep_estimate_later(key, count.as_ref().ok().copied());
    count
}

fn count_all(db: &Db<'_>, keys: &[Key<'_>]) -> Result<u64> {
    let mut union = Union::new();
    for key in keys {
        if let Some(entry) = db.lookup(key) {
            union.add(&entry.value().text()?)?;
        }
    }
    Ok(union.estimate())
}
