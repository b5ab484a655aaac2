//! Reads of one key: without the lock where it can be done, else under it.
//!
//! The first is for strings and packed collections of up to 256 bytes, which nearly all are: they are copied to the stack and
//! used if no writer came between. It writes to nothing that other threads read, but for the note of an access that
//! has to be stamped. Large values, those with memory of their own, and whatever a writer is at, are read under the lock.

use super::Keyspace;
use super::entry::Head;
use super::guard::{Noted, ShardGuard};
use super::shard::ShardData;
use super::shared::{Located, Lookup, ShardLine};
use crate::store::key::{Key, shard_of};
use crate::store::memory::Ref;
use crate::store::memory::words::{Scratch, Window};
use crate::value::listpack::{Element, Listpack};
use crate::value::{Kind, Value};

/// An entry as readers get it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryView<'s> {
    pub(crate) value: Value<'s>,
    /// A string value is known to be pure ASCII.
    pub(crate) is_ascii: bool,
    /// Unix milliseconds.
    pub(crate) deadline: Option<u64>,
}

/// Reads a key and counts a hit or a miss; expired entries are left to the reaper. O(1). What `read` gets may be under the
/// lock of the key's shard.
#[inline]
pub(crate) fn read_one<R>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    read: impl FnOnce(Option<EntryView<'_>>) -> R,
) -> R {
    let mut scratch = Scratch::new();
    match read_unlocked(keyspace, db, key, &mut scratch) {
        Lookup::Found(view) => {
            keyspace.lookups.count(true);
            read(Some(view))
        }
        Lookup::Missing => {
            missed(keyspace, db, key);
            read(None)
        }
        Lookup::NeedsLock => read_locked(keyspace, db, key, read),
    }
}

/// [`read_one`] where it can be done without the lock and the key has not expired, nor would anybody hear that it is missing; `None` otherwise,
/// and nothing is counted. `read` may still decline.
#[inline(never)]
pub(crate) fn read_if_unlocked<R>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    read: impl FnOnce(Option<EntryView<'_>>) -> Option<R>,
) -> Option<R> {
    let mut scratch = Scratch::new();
    let view = match find(keyspace, db, key) {
        Lookup::Found(found) => Some(view(keyspace, key, &found, &mut scratch).ok()?),
        Lookup::Missing if keyspace.hooks.want_misses() => return None,
        Lookup::Missing => None,
        Lookup::NeedsLock => return None,
    };
    let exists = view.is_some();
    let result = read(view)?;
    keyspace.lookups.count(exists);
    Some(result)
}

/// [`read_one`] for what most likely has memory of its own: it goes to the lock straight away, unless the key is missing.
#[inline]
pub(crate) fn read_large<R>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    read: impl FnOnce(Option<EntryView<'_>>) -> R,
) -> R {
    let index = keyspace.shared.index(db, key.shard());
    if index.is_some_and(|index| index.first_candidate(key.hash()).is_none())
        && let Lookup::Missing = find(keyspace, db, key)
    {
        missed(keyspace, db, key);
        return read(None);
    }
    read_locked(keyspace, db, key, read)
}

/// Whether a key exists. Counts a hit or a miss. O(1).
#[inline(never)]
pub(crate) fn exists(keyspace: &Keyspace, db: usize, key: &Key<'_>) -> bool {
    let exists = match find(keyspace, db, key) {
        Lookup::Missing => false,
        Lookup::NeedsLock => return read_locked(keyspace, db, key, |seen| seen.is_some()),
        Lookup::Found(found) => match found.state(keyspace) {
            State::Disturbed => return read_locked(keyspace, db, key, |seen| seen.is_some()),
            State::Expired => false,
            State::Live => {
                found.touch(keyspace, key);
                true
            }
        },
    };
    if exists {
        keyspace.lookups.count(true);
    } else {
        missed(keyspace, db, key);
    }
    exists
}

/// Counts a miss, and tells whoever wants to hear of it.
#[inline]
fn missed(keyspace: &Keyspace, db: usize, key: &Key<'_>) {
    keyspace.lookups.count(false);
    if keyspace.hooks.want_misses() {
        keyspace.hooks.tell_miss(db, key.bytes());
    }
}

/// [`read_one`] under the lock.
#[inline(never)]
fn read_locked<R>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    read: impl FnOnce(Option<EntryView<'_>>) -> R,
) -> R {
    let guard = keyspace.lock(key.shard());
    let seen = under_lock(keyspace, &guard, db, key);
    if seen.is_none() {
        drop(guard);
        missed(keyspace, db, key);
        return read(None);
    }
    keyspace.lookups.count(true);
    read(seen)
}

/// Keys whose memory is fetched ahead of reading them: of more than a processor can wait for at once, the first are there no sooner and the
/// last push others out.
pub(crate) const BATCH: usize = 8;

/// Keys of one command whose memory is fetched ahead: what is fetched for more pushes out what was fetched first.
const MOST_FETCHED: usize = 256;

/// Has the memory of keys fetched into the cache, [`BATCH`] at once instead of one after the other: first the buckets, then the entries they
/// lead to. Does nothing for a keyspace that [needs none](Keyspace::is_worth_fetching). `keys` are whatever `hash` gives the hash of.
pub(crate) fn prefetch<K>(keyspace: &Keyspace, db: usize, keys: &[K], hash: impl Fn(&K) -> u64) {
    if !keyspace.is_worth_fetching() {
        return;
    }
    for batch in keys[..keys.len().min(MOST_FETCHED)].chunks(BATCH) {
        for hash in batch.iter().map(&hash) {
            if let Some(index) = keyspace.shared.index(db, shard_of(hash)) {
                index.prefetch(hash);
            }
        }
        for hash in batch.iter().map(&hash) {
            let _ = keyspace.shared.prefetch(db, hash);
        }
    }
}

/// The text of a key's string where it can be had without the lock and is no integer, and whether it is ASCII. `None` says nothing:
/// [`read_one`] knows. Counts a hit.
#[inline(never)]
pub(crate) fn read_text_unlocked<'s>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    scratch: &'s mut Scratch,
) -> Option<(&'s [u8], bool)> {
    copy_unlocked(keyspace, db, key, Kind::TEXTS, scratch)
}

/// A field of a key's packed hash where it can be had without the lock: `Some(None)` is a hash without that field, `None` says nothing:
/// [`read_one`] knows. Counts a hit if there is the hash.
#[inline(never)]
pub(crate) fn read_field_unlocked<'s>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    field: &[u8],
    scratch: &'s mut Scratch,
) -> Option<Option<Element<'s>>> {
    let (packed, _) = copy_unlocked(keyspace, db, key, [Kind::HashPacked; 2], scratch)?;
    Some(Listpack::new(packed).behind(field))
}

/// As [`read_text_unlocked`], into a sink that may have been written to in vain.
#[inline(always)]
pub(crate) fn send_text<S: Sink>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    sink: S,
) -> Option<S::Copied> {
    copy_unlocked(keyspace, db, key, Kind::TEXTS, sink).map(|(copied, _)| copied)
}

/// As [`read_text_unlocked`], copies what fits into `buffer` and returns the whole length. The buffer may be written to in vain.
#[inline(always)]
pub(crate) fn copy_text(keyspace: &Keyspace, db: usize, key: &Key<'_>, buffer: &mut [u8]) -> Option<usize> {
    copy_unlocked(keyspace, db, key, Kind::TEXTS, buffer).map(|(len, _)| len)
}

/// Where the copy of a value goes.
pub(crate) trait Sink {
    type Copied;
    /// Copies `len` bytes from byte `from` of the window on, if it can be done.
    fn take(self, window: Window<'_>, from: usize, len: usize) -> Option<Self::Copied>;
}

impl<'s> Sink for &'s mut Scratch {
    type Copied = &'s [u8];
    #[inline(always)]
    fn take(self, window: Window<'_>, from: usize, len: usize) -> Option<&'s [u8]> {
        window.copy(from, len, self)
    }
}

impl Sink for &mut [u8] {
    type Copied = usize;
    #[inline(always)]
    fn take(self, window: Window<'_>, from: usize, len: usize) -> Option<usize> {
        window.copy_into(from, len, self).then_some(len)
    }
}

/// The path of nearly all reads, so it is straight: of the entries with the key's tag it looks at the first.
#[inline(always)]
fn copy_unlocked<S: Sink>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    kinds: [Kind; 2],
    sink: S,
) -> Option<(S::Copied, bool)> {
    let shared = &*keyspace.shared;
    let line = shared.line(key.shard());
    let count = line.sequence.begin_read()?;
    let at = shared.index(db, key.shard())?.first_candidate(key.hash())?;
    let window = shared.region().window(at)?;
    let head = Head::short_of(window, key.bytes(), kinds)?;
    let found = Optimistic { line, count, entry: Located { at, window, head } };
    let copied = sink.take(window, head.value_at(), head.value_len)?;
    if found.state(keyspace) != State::Live {
        return None;
    }
    found.touch(keyspace, key);
    keyspace.lookups.count(true);
    Some((copied, head.ascii()))
}

/// An entry found without the lock, which a writer may change at any time.
struct Optimistic<'k> {
    line: &'k ShardLine,
    /// What the sequence stood at.
    count: u64,
    entry: Located<'k>,
}

#[inline(always)]
fn find<'k>(keyspace: &'k Keyspace, db: usize, key: &Key<'_>) -> Lookup<Optimistic<'k>> {
    let line = keyspace.shared.line(key.shard());
    let Some(count) = line.sequence.begin_read() else { return Lookup::NeedsLock };
    match keyspace.shared.look_up(db, key) {
        Lookup::Found(entry) => Lookup::Found(Optimistic { line, count, entry }),
        Lookup::Missing if line.sequence.is_still(count) => Lookup::Missing,
        Lookup::Missing | Lookup::NeedsLock => Lookup::NeedsLock,
    }
}

/// What became of an entry while it was read.
#[derive(PartialEq, Eq)]
enum State {
    Live,
    Expired,
    /// A writer came between: nothing that was read may be used.
    Disturbed,
}

impl Optimistic<'_> {
    #[inline(always)]
    fn copy<'s>(&self, scratch: &'s mut Scratch) -> Option<&'s [u8]> {
        let Located { window, head, .. } = self.entry;
        window.copy(head.value_at(), head.value_len, scratch)
    }

    #[inline(always)]
    fn state(&self, keyspace: &Keyspace) -> State {
        let deadline = self.entry.head.deadline_in(self.entry.window);
        if !self.line.sequence.is_still(self.count) {
            return State::Disturbed;
        }
        match deadline {
            Some(deadline) if keyspace.has_passed(deadline) => State::Expired,
            _ => State::Live,
        }
    }

    #[inline(always)]
    fn touch(&self, keyspace: &Keyspace, key: &Key<'_>) {
        let Located { at, head, .. } = self.entry;
        if keyspace.is_touch_due(head.stamp()) {
            note(keyspace, key, at, self.count, head.stamp());
        }
    }
}

#[inline(always)]
fn read_unlocked<'s>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    scratch: &'s mut Scratch,
) -> Lookup<EntryView<'s>> {
    match find(keyspace, db, key) {
        Lookup::Found(found) => match view(keyspace, key, &found, scratch) {
            Ok(view) => Lookup::Found(view),
            Err(State::Expired) => Lookup::Missing,
            Err(_) => Lookup::NeedsLock,
        },
        Lookup::Missing => Lookup::Missing,
        Lookup::NeedsLock => Lookup::NeedsLock,
    }
}

/// The entry that was found. An error is what keeps it from being read without the lock, [`State::Live`] if that is its own size.
#[inline(always)]
fn view<'s>(
    keyspace: &Keyspace,
    key: &Key<'_>,
    found: &Optimistic<'_>,
    scratch: &'s mut Scratch,
) -> Result<EntryView<'s>, State> {
    let Located { window, head, .. } = found.entry;
    let deadline = head.deadline_in(window);
    let bytes = found.copy(scratch).ok_or(State::Live)?;
    match found.state(keyspace) {
        State::Live => {}
        state => return Err(state),
    }
    let value = head.kind().value(bytes).ok_or(State::Live)?;
    found.touch(keyspace, key);
    Ok(EntryView { value, is_ascii: head.ascii(), deadline })
}

#[inline(never)]
fn note(keyspace: &Keyspace, key: &Key<'_>, at: Ref, count: u64, old: u32) {
    if keyspace.shared.region().is_spared(at) {
        return keyspace.wake_if_asleep();
    }
    if keyspace.present_stamp().is_none() {
        keyspace.wake_if_asleep();
        if !keyspace.used(key.hash(), old) {
            return;
        }
    }
    let stamp = |shard: &ShardData, noted: Noted<'_>| keyspace.stamp(shard, noted);
    keyspace.shards[key.shard()].note_touch(at, count, keyspace.touch_limit(), stamp);
}

#[inline(never)]
fn under_lock<'s>(
    keyspace: &Keyspace,
    shard: &'s ShardGuard<'_>,
    db: usize,
    key: &Key<'_>,
) -> Option<EntryView<'s>> {
    let (at, head, deadline) = match keyspace.shared.look_up(db, key) {
        Lookup::Found(Located { at, window, head }) => (at, head, head.deadline_in(window)),
        Lookup::Missing => return None,
        Lookup::NeedsLock => {
            let at = shard.find(db, key)?;
            let head = shard.head(at);
            (at, head, head.deadline(&shard.arena, at))
        }
    };
    if deadline.is_some_and(|deadline| keyspace.has_passed(deadline)) {
        return None;
    }
    if keyspace.is_touch_due(head.stamp()) {
        keyspace.wake_if_asleep();
        if keyspace.used(key.hash(), head.stamp()) {
            keyspace.stamp_read(shard, at);
        }
    }
    Some(EntryView { value: shard.value_of(at, head), is_ascii: head.ascii(), deadline })
}
