//! Commands on HyperLogLogs, which are strings of a certain format.
//!
//! What the bytes mean is in [`crate::value::hyperloglog`].

pub(crate) mod add;
pub(crate) mod count;
pub(crate) mod debug;
pub(crate) mod merge;

use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};
use crate::value::hyperloglog::Sketch;
use crate::value::{Kind, NewValue};

/// Bytes up to which sketches stay sparse.
fn most_sparse(db: &Db<'_>) -> usize {
    db.keyspace().config.hot().hll_sparse_max_bytes()
}

/// Stores a sketch that has changed, and tells so.
fn store(db: &mut Db<'_>, key: &Key<'_>, mut sketch: Sketch) -> Result<()> {
    sketch.make_stale();
    let value = NewValue::Bytes(Kind::Raw, sketch.text());
    match db.lookup_mut(key) {
        Some(mut entry) => entry.set_value(value)?,
        None => db.insert(key, value, None)?,
    }
    tell(db, key);
    Ok(())
}

fn tell(db: &mut Db<'_>, key: &Key<'_>) {
    db.notify(EventClass::String, "pfadd", key.bytes());
}

/// A copy of the sketch of a key, if there is one.
///
/// # Errors
/// The key holds something else, or there is no memory.
fn copied(db: &Db<'_>, key: &Key<'_>) -> Result<Option<Sketch>> {
    let Some(entry) = db.peek(key) else { return Ok(None) };
    Sketch::copied(&entry.value().text()?, most_sparse(db)).map(Some)
}

#[cfg(test)]
mod tests;
