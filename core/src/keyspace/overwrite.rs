//! Overwriting small values where they stand: what most writes of a cache or of a counter come to.
//!
//! It is a short cut past [`super::Db`] for the one case in which nothing but the value changes: the key exists and has not
//! expired, the new value takes the place of the old one in its block, and nobody listens: no snapshot, log, observer or
//! WATCH. All else is for [`super::Db`], whose every effect this must have.

use super::Keyspace;
use super::entry::Head;
use super::guard::ShardGuard;
use crate::store::arena::Ref;
use crate::store::key::Key;
use crate::value::string::{encode, over_deadline};
use crate::value::{Kind, NewValue};

/// Gives a key another string, and another deadline if it has one. False: nothing was done, and [`super::Db`] must do it. O(length).
pub(crate) fn overwrite_text(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    value: &[u8],
    deadline: Option<u64>,
) -> bool {
    let NewValue::Bytes(kind, value) = encode(value) else { return false };
    let Some((mut shard, at, head)) = lock_entry(keyspace, db, key) else { return false };
    if !matches!(head.kind(), Kind::Embedded | Kind::Raw) || head.has_deadline() != deadline.is_some() {
        return false;
    }
    let kind = if deadline.is_none() {
        kind
    } else {
        match over_deadline(key.bytes().len(), NewValue::Bytes(kind, value)) {
            NewValue::Bytes(kind, _) => kind,
            _ => return false,
        }
    };
    if !head.has_room_for(value.len()) {
        return false;
    }
    shard.overwrite(db, key.hash(), at, head, kind, value, deadline);
    note(keyspace, &shard, key, at, head);
    true
}

/// Adds to the integer of a key and returns the sum. `None`: nothing was done, and [`super::Db`] must do it, or find the error. O(1).
pub(crate) fn add_in_place(keyspace: &Keyspace, db: usize, key: &Key<'_>, by: i64) -> Option<i64> {
    let (mut shard, at, head) = lock_entry(keyspace, db, key)?;
    if head.kind() != Kind::Int {
        return None;
    }
    let bytes = head.value(&shard.arena, at).try_into().expect("an integer is eight bytes");
    let sum = i64::from_le_bytes(bytes).checked_add(by)?;
    let deadline = head.deadline(&shard.arena, at);
    shard.overwrite(db, key.hash(), at, head, Kind::Int, &sum.to_le_bytes(), deadline);
    note(keyspace, &shard, key, at, head);
    Some(sum)
}

/// The entry of a key, its shard locked, if it is there and nobody listens to its changes.
#[inline(always)]
fn lock_entry<'k>(keyspace: &'k Keyspace, db: usize, key: &Key<'_>) -> Option<(ShardGuard<'k>, Ref, Head)> {
    if !keyspace.hooks.are_silent() {
        return None;
    }
    // A key that is new, as far as one can see, is not locked for in vain.
    keyspace.shards[key.shard()].prefetch(db, key.hash())?;
    let shard = keyspace.lock(key.shard());
    if !shard.watchers.is_empty() {
        return None;
    }
    let (at, head) = shard.find_shared(db, key)?;
    let deadline = head.deadline(&shard.arena, at);
    let has_expired = deadline.is_some_and(|deadline| keyspace.has_passed(deadline));
    (!has_expired).then_some((shard, at, head))
}

/// What every change of a key entails.
#[inline(always)]
fn note(keyspace: &Keyspace, shard: &ShardGuard<'_>, key: &Key<'_>, at: Ref, head: Head) {
    if keyspace.is_touch_due(head.stamp()) && keyspace.used(key.hash(), head.stamp()) {
        shard.stamp(at, keyspace.recording(), keyspace.clock.coarse_ms());
    }
    shard.stats.count_change();
    keyspace.counters.bump(key.hash());
}
