//! Reads of one key: without the lock where it can be done, else under it.
//!
//! The first is for strings and packed collections of up to 256 bytes, which nearly all are: they are copied to the stack and
//! used if no writer came between. It writes to nothing that other threads read, but for the note of an access that
//! has to be stamped. Large values, those on the heap, and whatever a writer is at, are read under the lock.

use super::Keyspace;
use super::access::Recording;
use super::entry::Head;
use super::guard::ShardGuard;
use crate::store::arena::{Ref, Scratch};
use crate::store::key::Key;
use crate::value::{HashRef, Kind, Value};

/// What a reader sees of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'s> {
    pub(crate) value: Value<'s>,
    /// A string value is known to be pure ASCII.
    pub(crate) is_ascii: bool,
    /// Unix milliseconds.
    pub(crate) deadline: Option<u64>,
}

/// The outcome of a read without the lock.
enum Glance<'s> {
    Seen(Seen<'s>),
    Missing,
    /// The entry, or the moment, asks for the lock.
    LockNeeded,
}

/// Reads a key and counts a hit or a miss; expired entries are left to the reaper. O(1). What `read` gets may be under the
/// lock of the key's shard.
#[inline]
pub(crate) fn read_one<R>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    read: impl FnOnce(Option<Seen<'_>>) -> R,
) -> R {
    let mut scratch = Scratch::new();
    let guard;
    let seen = match glance(keyspace, db, key, &mut scratch) {
        Glance::Seen(seen) => Some(seen),
        Glance::Missing => None,
        Glance::LockNeeded => {
            guard = keyspace.lock(key.shard());
            under_lock(keyspace, &guard, db, key)
        }
    };
    keyspace.lookups.count(seen.is_some());
    read(seen)
}

/// Keys whose memory is fetched ahead of reading them.
pub(crate) const BATCH: usize = 32;

/// Has the memory of up to [`BATCH`] keys fetched into the cache, all at once instead of one after the other: first the buckets,
/// then the entries they lead to.
pub(crate) fn prefetch(keyspace: &Keyspace, db: usize, keys: &[Key<'_>]) {
    for key in keys {
        if let Some(index) = keyspace.shards[key.shard()].index(db) {
            index.prefetch(key.hash());
        }
    }
    for key in keys {
        let shard = &keyspace.shards[key.shard()];
        if let Some(at) = shard.index(db).and_then(|index| index.first_candidate(key.hash())) {
            shard.memory.prefetch(at);
        }
    }
}

#[inline(always)]
fn glance<'s>(keyspace: &Keyspace, db: usize, key: &Key<'_>, scratch: &'s mut Scratch) -> Glance<'s> {
    let shard = &keyspace.shards[key.shard()];
    let Some(count) = shard.sequence.begin_read() else { return Glance::LockNeeded };
    let Some(index) = shard.index(db) else { return Glance::LockNeeded };
    let mut found = None;
    let at = index.find(key.hash(), |at| {
        let Some(words) = shard.memory.words(at) else { return false };
        let Some(head) = Head::of(words) else { return false };
        let is_it = head.is_of(words, key.bytes());
        if is_it {
            found = Some((words, head));
        }
        is_it
    });
    let (Some(at), Some((words, head))) = (at, found) else {
        return if shard.sequence.is_still(count) { Glance::Missing } else { Glance::LockNeeded };
    };
    let deadline = head.deadline_of(words);
    let bytes = words.copy(head.value_at(), head.value_len, scratch);
    if !shard.sequence.is_still(count) {
        return Glance::LockNeeded;
    }
    let Some(bytes) = bytes else { return Glance::LockNeeded };
    let value = match head.kind() {
        Kind::Embedded | Kind::Raw => Value::Str(bytes),
        Kind::Int => Value::Int(integer(bytes)),
        Kind::HashPacked => Value::Hash(HashRef::packed(bytes)),
        Kind::RawHeap | Kind::HashTable => return Glance::LockNeeded,
    };
    if deadline.is_some_and(|deadline| keyspace.has_passed(deadline)) {
        return Glance::Missing;
    }
    let now = keyspace.clock.coarse_ms();
    let recording = keyspace.recording();
    if recording.is_due(head.stamp(), now) {
        note(keyspace, key, at, count, recording, now);
    }
    Glance::Seen(Seen { value, is_ascii: head.ascii(), deadline })
}

#[inline(never)]
fn note(keyspace: &Keyspace, key: &Key<'_>, at: Ref, count: u64, recording: Recording, now: u64) {
    let stamp = |shard: &super::shard::ShardData, at| shard.stamp(at, recording, now);
    keyspace.shards[key.shard()].note_touch(at, count, keyspace.touch_limit(), stamp);
}

#[inline(never)]
fn under_lock<'s>(
    keyspace: &Keyspace,
    shard: &'s ShardGuard<'_>,
    db: usize,
    key: &Key<'_>,
) -> Option<Seen<'s>> {
    let at = shard.find(db, key)?;
    let head = shard.head(at);
    let deadline = head.deadline(&shard.arena, at);
    if deadline.is_some_and(|deadline| keyspace.has_passed(deadline)) {
        return None;
    }
    shard.stamp(at, keyspace.recording(), keyspace.clock.coarse_ms());
    Some(Seen { value: shard.value(at), is_ascii: head.ascii(), deadline })
}

#[inline]
fn integer(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("an integer is eight bytes"))
}
