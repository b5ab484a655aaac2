//! Overwriting small values where they stand: what most writes of a cache or of a counter come to.
//!
//! It is a short cut past [`super::Db`] for the one case in which nothing but the value changes: the key exists and has not
//! expired, the new value takes the place of the old one in its block, and no snapshot that is being written needs the old one.
//! Logs, observers and whoever watches the key are told here too ([`super::hearing`]). All else is for [`super::Db`], whose every effect this must have.
//!
//! Where the entry most likely is gets found out before the lock is taken, as readers find it, and its memory fetched: it comes while the lock is
//! taken and the rest is judged. What is there is looked at last, so that a processor that runs ahead reaches the next write's first
//! miss before this one's last has come. For the same reason nothing is in memory that can be in registers: what seldom runs is given
//! numbers and slices, not references to what was made of them.

use super::Keyspace;
use super::entry::Head;
use super::guard::Work;
use super::hearing::{Became, Hear, Listeners, Named, Nobody, events_of, log_set};
use super::hooks::EventClass;
use super::shard::ShardData;
use super::shared::{Located, Lookup, ShardLine, Shared};
use crate::error::Result;
use crate::store::key::{Key, shard_of};
use crate::store::memory::Ref;
use crate::store::memory::words::Window;
use crate::value::Kind;
use crate::value::string::{integer, kind_over_deadline};

/// A deadline, and the time it was reckoned from, both in unix milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Expiry {
    pub(crate) now: u64,
    pub(crate) deadline: u64,
}

impl Expiry {
    /// That of a key that is set now. `ttl_ms` is at most 2^62, so that no deadline is beyond 64 bits.
    #[inline]
    pub(crate) fn after(ttl_ms: u64, keyspace: &Keyspace) -> Self {
        let now = keyspace.clock.now_ms();
        Self { now, deadline: now + ttl_ms }
    }
}

/// Where an entry most likely is, found before its shard was locked, and its memory on the way.
#[derive(Clone, Copy)]
pub(super) struct Prefetched<'k> {
    shared: &'k Shared,
    line: &'k ShardLine,
    count: Option<u64>,
    at: Ref,
    window: Window<'k>,
}

/// Gives a key another string, and another deadline if it has one, where nobody listens. False: nothing was done, and
/// [`overwrite_text_heard`] or [`super::Db`] must do it. O(length). `expiry` reads the clock while the entry's memory is on its way.
#[inline(always)]
pub(crate) fn overwrite_text(
    keyspace: &Keyspace,
    db: usize,
    key: Key<'_>,
    value: &[u8],
    expiry: impl FnOnce(&Keyspace) -> Option<Expiry>,
) -> bool {
    overwrite(keyspace, db, key, value, expiry, &mut Nobody)
}

/// [`overwrite_text`] by a session, where somebody may listen. False: nothing was done, and [`super::Db`] must do it. O(length).
///
/// # Errors
/// The log refuses writes, or cannot keep this one, which stands then.
pub(crate) fn overwrite_text_heard(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: Key<'_>,
    value: &[u8],
    expiry: Option<Expiry>,
) -> Result<bool> {
    let bytes = key.bytes().len() + value.len();
    let deadline = expiry.map(|expiry| expiry.deadline);
    let named = Named::set(deadline.is_some());
    let Some(mut listeners) = Listeners::of(keyspace, client, bytes, named) else { return Ok(false) };
    listeners.log(|group| log_set(group, db, key.bytes(), value, deadline));
    let written = overwrite(keyspace, db, key, value, |_| expiry, &mut listeners);
    if written {
        listeners.tell(db, key.bytes())?;
    }
    Ok(written)
}

#[inline(always)]
fn overwrite(
    keyspace: &Keyspace,
    db: usize,
    key: Key<'_>,
    value: &[u8],
    expiry: impl FnOnce(&Keyspace) -> Option<Expiry>,
    listeners: &mut impl Hear,
) -> bool {
    if integer(value).is_some() {
        return false;
    }
    let Some(prefetched) = prefetch_entry(keyspace, db, &key) else { return false };
    let expiry = expiry(keyspace);
    let written = keyspace.in_place(key.shard(), prefetched.line, |data: &mut ShardData| {
        let found = prefetched.confirm(keyspace, data, db, key, Kind::TEXTS, listeners)?;
        if !found.head.has_room_for(value.len()) {
            return None;
        }
        let mut kind = Kind::Embedded;
        let mut deadlines = None;
        match (found.head.deadline_in(found.window), expiry) {
            (None, None) => {}
            (Some(before), Some(expiry)) if before > expiry.now => {
                kind = kind_over_deadline(key.bytes().len(), kind, value.len());
                deadlines = Some((before, expiry.deadline)).filter(|(before, after)| before != after);
            }
            _ => return None,
        }
        let _turned_away = prefetched.line.sequence.write();
        found.write(keyspace, data, kind, value);
        if let Some((before, after)) = deadlines {
            data.move_deadline(db, key.hash(), found.at, before, after);
        }
        found.note(keyspace, data, key);
        listeners.changed(data, db, key.bytes(), Became::Changed);
        Some(())
    });
    written.is_some()
}

/// Adds to the integer of a key and returns the sum, where nobody listens. `None`: nothing was done, and [`add_in_place_heard`] or
/// [`super::Db`] must do it, or find the error. O(1).
#[inline(always)]
pub(crate) fn add_in_place(keyspace: &Keyspace, db: usize, key: Key<'_>, by: i64) -> Option<i64> {
    add(keyspace, db, key, by, &mut Nobody)
}

/// [`add_in_place`] by a session, where somebody may listen. `None`: nothing was done, and [`super::Db`] must do it, or find the error. O(1).
///
/// # Errors
/// The log refuses writes, or cannot keep this one, which stands then.
pub(crate) fn add_in_place_heard(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: Key<'_>,
    by: i64,
) -> Result<Option<i64>> {
    let named = Named::edit(&const { events_of(EventClass::String, "incrby") });
    let Some(mut listeners) = Listeners::of(keyspace, client, key.bytes().len(), named) else {
        return Ok(None);
    };
    listeners.log(|group| {
        group.push(db, [b"INCRBY", key.bytes(), itoa::Buffer::new().format(by).as_bytes()]);
    });
    let sum = add(keyspace, db, key, by, &mut listeners);
    if sum.is_some() {
        listeners.tell(db, key.bytes())?;
    }
    Ok(sum)
}

#[inline(always)]
fn add(keyspace: &Keyspace, db: usize, key: Key<'_>, by: i64, listeners: &mut impl Hear) -> Option<i64> {
    let prefetched = prefetch_entry(keyspace, db, &key)?;
    let line = prefetched.line;
    keyspace.in_place(key.shard(), line, Adding { keyspace, db, key, by, listeners, prefetched })
}

/// [`add`] under the lock.
struct Adding<'a, 'k, H> {
    keyspace: &'k Keyspace,
    db: usize,
    key: Key<'a>,
    by: i64,
    listeners: &'a mut H,
    prefetched: Prefetched<'k>,
}

impl<H: Hear> Work for Adding<'_, '_, H> {
    type Done = i64;

    #[inline(always)]
    fn run(self, data: &mut ShardData) -> Option<i64> {
        let Self { keyspace, db, key, by, listeners, prefetched } = self;
        let found = prefetched.confirm(keyspace, data, db, key, [Kind::Int; 2], listeners)?;
        if found.head.deadline_in(found.window).is_some_and(|deadline| keyspace.has_passed(deadline)) {
            return None;
        }
        let number = found.window.eight(found.head.value_at())? as i64;
        let sum = number.checked_add(by)?;
        let _turned_away = prefetched.line.sequence.write();
        found.write(keyspace, data, Kind::Int, &sum.to_le_bytes());
        found.note(keyspace, data, key);
        listeners.changed(data, db, key.bytes(), Became::Changed);
        Some(sum)
    }
}

/// Looks where the entry of a key most likely is. `None` if the key is new, as far as one can see: then it is not locked for in vain.
#[inline(always)]
pub(super) fn prefetch_entry<'k>(keyspace: &'k Keyspace, db: usize, key: &Key<'_>) -> Option<Prefetched<'k>> {
    let shared = &*keyspace.shared;
    let line = shared.line(key.shard());
    let count = line.sequence.begin_read();
    let (at, window) = match shared.prefetch(db, key.hash()) {
        Some(home) => home,
        None => prefetch_overflow(shared, db, key.bytes(), key.hash())?,
    };
    Some(Prefetched { shared, line, count, at, window })
}

impl<'k> Prefetched<'k> {
    /// The entry of the key, whose shard is locked now, if it is where it most likely is, and short.
    #[inline(always)]
    pub(super) fn located(self, key: &Key<'_>) -> Option<Located<'k>> {
        let Self { at, window, .. } = self;
        let is_there = self.count == Some(self.line.sequence.count());
        let head = is_there.then(|| Head::short_of_any(window, key.bytes())).flatten()?;
        Some(Located { at, window, head })
    }

    /// The entry of the key, whose shard is locked now, if it is there, short, of one of these kinds, and all who listen are told here. It may
    /// have expired.
    #[inline(always)]
    fn confirm(
        self,
        keyspace: &Keyspace,
        shard: &ShardData,
        db: usize,
        key: Key<'_>,
        kinds: [Kind; 2],
        listeners: &mut impl Hear,
    ) -> Option<Located<'k>> {
        if !listeners.stand_for(&keyspace.hooks, shard, db, key) {
            return None;
        }
        if shard.visit.is_some() && shard.is_key_needed(db, key.bytes(), key.hash()) {
            return None;
        }
        let again = || look_up(self.shared, db, key.bytes(), key.hash());
        let (mut at, mut window) =
            if self.count == Some(self.line.sequence.count()) { (self.at, self.window) } else { again()? };
        let mut head = Head::short_of(window, key.bytes(), kinds);
        if head.is_none() {
            (at, window) = again()?;
            head = Head::short_of(window, key.bytes(), kinds);
        }
        Some(Located { at, window, head: head? })
    }
}

/// Goes on where the home bucket leads to no entry.
#[inline(never)]
fn prefetch_overflow<'k>(shared: &'k Shared, db: usize, key: &[u8], hash: u64) -> Option<(Ref, Window<'k>)> {
    if shared.index(db, shard_of(hash))?.overflows(hash) { look_up(shared, db, key, hash) } else { None }
}

/// [`Shared::look_up`], out of the way of those who seldom need it. Without the lock the answer is a guess.
#[inline(never)]
fn look_up<'k>(shared: &'k Shared, db: usize, key: &[u8], hash: u64) -> Option<(Ref, Window<'k>)> {
    match shared.look_up(db, &Key::with_hash(key, hash)) {
        Lookup::Found(Located { at, window, .. }) => Some((at, window)),
        _ => None,
    }
}

impl Located<'_> {
    /// Writes a value for which there is room over the present one, and with it the stamp, if that is a time.
    #[inline(always)]
    fn write(mut self, keyspace: &Keyspace, data: &mut ShardData, kind: Kind, value: &[u8]) {
        if let Some(stamp) = keyspace.present_stamp() {
            self.head = self.head.stamped(stamp);
        }
        if !self.head.write_over(&mut data.arena.writable(self.window), kind, value) {
            self.write_long(data, kind, value);
        }
    }

    #[inline(never)]
    fn write_long(self, data: &mut ShardData, kind: Kind, value: &[u8]) {
        let Located { at, window, head } = self;
        let deadline = head.deadline_in(window);
        let is_written = head.overwrite(&mut data.arena, at, kind, value, deadline, value.is_ascii());
        debug_assert!(is_written, "there is room, and the deadline stays");
    }

    /// What every change of a key entails.
    #[inline(always)]
    fn note(self, keyspace: &Keyspace, shard: &ShardData, key: Key<'_>) {
        if keyspace.present_stamp().is_none() {
            touch(keyspace, shard, key.hash(), self.at, self.head.stamp());
        }
        shard.stats.count_change();
        keyspace.counters.bump(key.hash());
    }
}

/// Records a use where that is more than the time.
#[inline(never)]
fn touch(keyspace: &Keyspace, shard: &ShardData, hash: u64, at: Ref, old: u32) {
    if keyspace.used(hash, old) {
        keyspace.stamp(shard, [at]);
    }
}

#[cfg(test)]
mod tests;
