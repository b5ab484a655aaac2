//! Storing short strings under keys that are new: what filling a cache comes to.
//!
//! It is a short cut past [`super::Db`]; logs, observers and whoever watches the key are told here too ([`super::hearing`]). All else is for [`super::Db`], whose every effect this must have; so are keys that exist,
//! expired or not. The caller has made room for it.

use super::evictor::Created;
use super::guard::ShardGuard;
use super::hearing::{Became, Hear, Listeners, Named, Nobody, log_set};
use super::overwrite::Expiry;
use super::shared::Lookup;
use super::{Keyspace, compaction};
use crate::error::Result;
use crate::evict::Event as Used;
use crate::store::key::Key;
use crate::value::string::encode;
use crate::value::{MAX_IN_ARENA, NewValue};

/// Stores a string for a session under a key that is new, and says whether it did; if not, nothing was done, and [`super::Db`] must do it. O(length).
///
/// # Errors
/// The system has no memory, or the log refuses writes: nothing has changed. The log cannot keep this one: it stands.
#[inline(never)]
pub(crate) fn insert_text(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: &Key<'_>,
    value: &[u8],
    expiry: Option<Expiry>,
) -> Result<bool> {
    if value.len() > MAX_IN_ARENA || expiry.is_some_and(|expiry| expiry.deadline <= expiry.now) {
        return Ok(false);
    }
    let deadline = expiry.map(|expiry| expiry.deadline);
    if !keyspace.hooks.may_hear() {
        return insert(keyspace, db, key, value, deadline, &mut Nobody);
    }
    let bytes = key.bytes().len() + value.len();
    let named = Named::set(deadline.is_some());
    let Some(mut listeners) = Listeners::of(keyspace, client, bytes, named) else { return Ok(false) };
    listeners.log(|group| log_set(group, db, key.bytes(), value, deadline));
    let is_stored = insert(keyspace, db, key, value, deadline, &mut listeners)?;
    if is_stored {
        listeners.tell(db, key.bytes())?;
    }
    Ok(is_stored)
}

fn insert(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    value: &[u8],
    deadline: Option<u64>,
    listeners: &mut impl Hear,
) -> Result<bool> {
    let shard = keyspace.lock(key.shard());
    if !listeners.stand_for(&keyspace.hooks, &shard, db, *key) {
        return Ok(false);
    }
    let Lookup::Missing = keyspace.shared.look_up(db, key) else { return Ok(false) };
    create(keyspace, shard, db, key, encode(value), deadline, listeners)?;
    Ok(true)
}

/// Stores a value without memory of its own under a key that is new, and unlocks its shard.
///
/// # Errors
/// The system has no memory; nothing has changed.
#[inline(always)]
pub(super) fn create(
    keyspace: &Keyspace,
    mut shard: ShardGuard<'_>,
    db: usize,
    key: &Key<'_>,
    value: NewValue<'_>,
    deadline: Option<u64>,
    listeners: &mut impl Hear,
) -> Result<()> {
    let stamp = keyspace.first_stamp();
    let data = &mut *shard;
    data.create_plain(db, key, value, deadline, stamp)?;
    data.stats.count_change();
    keyspace.evictor.note(key.hash(), Used::Created);
    keyspace.counters.bump(key.hash());
    keyspace.report(data);
    listeners.changed(data, db, key.bytes(), Became::Created);
    drop(shard);
    compaction::help(keyspace);
    if keyspace.evictor.files(deadline.is_some()) {
        keyspace.evictor.file(&[Created { hash: key.hash(), db: db as u32, stamp }]);
    }
    Ok(())
}
