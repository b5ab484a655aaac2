//! Typed methods of the hot commands: what `GET` or `SET` do, without words to parse and replies to decode.
//!
//! Bindings and Rust programs use these for the few commands that count and a [`crate::Session`] for all others. They do what the
//! commands do, expiry, WATCH, log and observers included, but are not counted by command.

pub(crate) mod keys;
pub(crate) mod loads;
mod values;

use std::time::Duration;

use smallvec::SmallVec;

use crate::alloc;
use crate::commands::generic::delete::delete;
use crate::commands::generic::expire::set_or_delete;
use crate::commands::hash::set::set_field;
use crate::commands::string::counter;
use crate::commands::string::set::{announce, store};
use crate::engine::{Engine, Inner};
use crate::error::{Error, Result};
use crate::keyspace::insert::insert_text;
use crate::keyspace::locks::Locks;
use crate::keyspace::overwrite::{
    Expiry, add_in_place, add_in_place_heard, overwrite_text, overwrite_text_heard,
};
use crate::keyspace::read::{
    BATCH, Seen, copy_text, exists, glance_at_field, glance_at_text, prefetch, read_large, read_one,
};
use crate::keyspace::{Db, Key, Version, Versions};
use crate::store::memory::words::Scratch;
use crate::sync::Arc;
use crate::value::Text;
use crate::value::listpack::Element;

/// One numbered database of an engine.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
    index: usize,
}

/// A string while it is being read, under its shard's lock.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The text.
    pub text: Text<'a>,
    /// Every byte is ASCII.
    pub is_ascii: bool,
}

/// When a key that is set shall expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Never.
    #[default]
    None,
    /// When its previous value would have.
    Keep,
    /// After this time, of which whole milliseconds count.
    After(Duration),
}

/// Under which condition a key is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// None.
    #[default]
    Always,
    /// Only if it does not exist (NX).
    IfAbsent,
    /// Only if it exists (XX).
    IfPresent,
}

/// The longest time to live, in milliseconds: a deadline must fit a signed 64-bit number, with room to add to it.
const MAX_TTL_MS: u128 = 1 << 62;

impl Engine {
    /// The database of this number.
    ///
    /// # Errors
    /// There is no such database.
    pub fn database(&self, index: usize) -> Result<Database> {
        if index < self.config().hot().databases() {
            Ok(Database { engine: self.clone(), index })
        } else {
            Err(Error::command("DB index is out of range"))
        }
    }
}

impl Database {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.engine.inner
    }

    #[inline]
    pub(crate) fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key::new(bytes, &self.inner().keyspace.seed)
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Calls `read` with the string of a key, or `None`, under the lock of the key's shard: keep it short, and call nothing that could come
    /// back to the engine. O(1).
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[inline]
    pub fn get_with<R>(&self, key: &[u8], read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        let (keyspace, key) = (&self.inner().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match glance_at_text(keyspace, self.index, &key, &mut scratch) {
            Some((text, is_ascii)) => Ok(read(Some(Found { text: Text::Bytes(text), is_ascii }))),
            None => self.get_otherwise(&key, read),
        }
    }

    /// As [`Database::get_with`], for callers whose way to make a result must not run under a lock: `free` is called for a string that was
    /// read without one, `held` for everything else, perhaps under it.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[inline]
    pub fn get_with_either<R>(
        &self,
        key: &[u8],
        free: impl FnOnce(Found<'_>) -> R,
        held: impl FnOnce(Option<Found<'_>>) -> R,
    ) -> Result<R> {
        let (keyspace, key) = (&self.inner().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match glance_at_text(keyspace, self.index, &key, &mut scratch) {
            Some((text, is_ascii)) => Ok(free(Found { text: Text::Bytes(text), is_ascii })),
            None => self.get_otherwise(&key, held),
        }
    }

    #[inline(never)]
    fn get_otherwise<R>(&self, key: &Key<'_>, read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        read_one(&self.inner().keyspace, self.index, key, |seen| match seen {
            None => Ok(read(None)),
            Some(seen) => Ok(read(Some(found_in(&seen)?))),
        })
    }

    /// As [`Database::get_with`], with what a copy of the value must be kept with: [`Versions::is_current`] then tells whether the
    /// copy still holds.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    pub fn get_versioned_with<R>(
        &self,
        versions: &Versions,
        key: &[u8],
        read: impl FnOnce(Option<Found<'_>>, Version) -> R,
    ) -> Result<R> {
        // The count first: a write that comes in between then ends this version before it returns.
        let key = self.key(key);
        let mut version = versions.version_at(&key);
        read_one(&self.inner().keyspace, self.index, &key, |seen| match seen {
            None => Ok(read(None, version)),
            Some(seen) => {
                version.deadline = seen.deadline.unwrap_or(u64::MAX);
                Ok(read(Some(found_in(&seen)?), version))
            }
        })
    }

    /// A copy of the string of a key. O(length).
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string, or the system has no memory for the copy.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.get_with(key.as_ref(), |found| found.map(|found| alloc::copied(&found.text)))?.transpose()
    }

    /// Copies the string of a key into `buffer`, as much as fits, and returns its full length. The rest of the buffer, or all of it if
    /// there is no such key, may have been written to. O(length).
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        let (keyspace, key) = (&self.inner().keyspace, self.key(key));
        if let Some(length) = copy_text(keyspace, self.index, &key, buffer) {
            return Ok(Some(length));
        }
        self.get_otherwise(&key, |found| {
            found.map(|found| {
                let text = &*found.text;
                let fits = text.len().min(buffer.len());
                buffer[..fits].copy_from_slice(&text[..fits]);
                text.len()
            })
        })
    }

    /// Calls `read` for each key in turn, with its position and its string; keys of another type count as missing, as in MGET.
    /// Each key is read on its own, not all of them at one moment.
    pub fn get_many_with<K: AsRef<[u8]>>(&self, keys: &[K], mut read: impl FnMut(usize, Option<Found<'_>>)) {
        let mut position = 0;
        for chunk in keys.chunks(BATCH) {
            for key in &self.fetched(chunk) {
                self.read_fetched(key, |found| read(position, found));
                position += 1;
            }
        }
    }

    /// Up to [`BATCH`] keys, whose memory was asked for.
    #[inline]
    fn fetched<'k, K: AsRef<[u8]>>(&self, keys: &'k [K]) -> SmallVec<[Key<'k>; BATCH]> {
        let keys: SmallVec<_> = keys.iter().map(|key| self.key(key.as_ref())).collect();
        prefetch(&self.inner().keyspace, self.index, &keys, Key::hash);
        keys
    }

    #[inline]
    fn read_fetched(&self, key: &Key<'_>, read: impl FnOnce(Option<Found<'_>>)) {
        let keyspace = &self.inner().keyspace;
        let mut scratch = Scratch::new();
        match glance_at_text(keyspace, self.index, key, &mut scratch) {
            Some((text, is_ascii)) => read(Some(Found { text: Text::Bytes(text), is_ascii })),
            None => {
                read_one(keyspace, self.index, key, |seen| read(seen.and_then(|seen| found_in(&seen).ok())))
            }
        }
    }

    /// Calls `read` with the value of a field of a hash, or `None`, under the lock of the key's shard; what holds for
    /// [`Database::get_with`] holds here.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[inline]
    pub fn hget_with<R>(&self, key: &[u8], field: &[u8], read: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        let (keyspace, key) = (&self.inner().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match glance_at_field(keyspace, self.index, &key, field, &mut scratch) {
            Some(element) => Ok(hand_on(element, read)),
            None => self.hget_otherwise(&key, field, read),
        }
    }

    /// As [`Database::hget_with`], with one closure for what was read without a lock and one for what may be under it: see
    /// [`Database::get_with_either`].
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[inline]
    pub fn hget_with_either<R>(
        &self,
        key: &[u8],
        field: &[u8],
        free: impl FnOnce(Option<&[u8]>) -> R,
        held: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        let (keyspace, key) = (&self.inner().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match glance_at_field(keyspace, self.index, &key, field, &mut scratch) {
            Some(element) => Ok(hand_on(element, free)),
            None => self.hget_otherwise(&key, field, held),
        }
    }

    #[inline(never)]
    fn hget_otherwise<R>(
        &self,
        key: &Key<'_>,
        field: &[u8],
        read: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        let keyspace = &self.inner().keyspace;
        read_large(keyspace, self.index, key, |entry| {
            let hash = entry.map(|seen| seen.value.hash()).transpose()?;
            let now = match &hash {
                Some(hash) if hash.next_deadline().is_some() => keyspace.clock.now_ms(),
                _ => 0,
            };
            Ok(hand_on(hash.and_then(|hash| hash.get(field, now)), read))
        })
    }

    /// Sets a field of a hash, which is created if need be, and says whether the field is new. O(1), O(fields) while the hash is small.
    ///
    /// # Errors
    /// WRONGTYPE, a key, field or value above `proto-max-bulk-len`, or out of memory.
    pub fn hset(&self, key: impl AsRef<[u8]>, field: &[u8], value: &[u8]) -> Result<bool> {
        let longest = key.as_ref().len().max(field.len()).max(value.len());
        self.admission(longest).check()?;
        self.write(&self.key(key.as_ref()), |db, key| {
            let created = set_field(db, key, field, value)?;
            db.propagate(|| [b"HSET", key.bytes(), field, value]);
            Ok(created)
        })
    }

    /// Sets the string of a key, whatever it held, and says whether the condition let it. O(1).
    ///
    /// # Errors
    /// Out of memory, a key or value above `proto-max-bulk-len`, or a time to live of 0 or of more than 2^62 ms.
    pub fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Ttl,
        condition: Condition,
    ) -> Result<bool> {
        self.set_bytes(key.as_ref(), value.as_ref(), ttl, condition)
    }

    #[inline(never)]
    fn set_bytes(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        let admission = self.admission(value.len().max(key.len()));
        if admission != Admission::Silent {
            admission.check()?;
            return self.set_heard(key, value, ttl, condition);
        }
        let ttl_ms = ttl_ms(ttl)?;
        let key = self.key(key);
        self.inner().ensure_background();
        let keyspace = &self.inner().keyspace;
        let expiry = ttl_ms.map(|ttl| {
            let now = keyspace.clock.now_ms();
            Expiry { now, deadline: now + ttl }
        });
        let is_plain = condition == Condition::Always && ttl != Ttl::Keep;
        if is_plain && overwrite_text(keyspace, self.index, key, value, expiry) {
            return Ok(true);
        }
        self.set_otherwise(key.bytes(), key.hash(), value, (ttl, condition), expiry)
    }

    #[cold]
    #[inline(never)]
    fn set_heard(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        self.inner().ensure_background();
        let keyspace = &self.inner().keyspace;
        let key = self.key(key);
        let expiry = ttl_ms(ttl)?.map(|ttl| {
            let now = keyspace.clock.now_ms();
            Expiry { now, deadline: now + ttl }
        });
        self.set_otherwise(key.bytes(), key.hash(), value, (ttl, condition), expiry)
    }

    #[inline(never)]
    fn set_otherwise(
        &self,
        key: &[u8],
        hash: u64,
        value: &[u8],
        (ttl, condition): (Ttl, Condition),
        expiry: Option<Expiry>,
    ) -> Result<bool> {
        let key = Key::with_hash(key, hash);
        let keyspace = &self.inner().keyspace;
        let is_plain = condition == Condition::Always && ttl != Ttl::Keep;
        let is_heard = is_plain && keyspace.hooks.may_hear();
        let may_be_new = condition == Condition::IfAbsent || is_plain;
        if is_heard && overwrite_text_heard(keyspace, self.index, key, value, expiry)?
            || may_be_new && insert_text(keyspace, self.index, &key, value, expiry)?
        {
            return Ok(true);
        }
        self.write(&key, |db, key| {
            let old = match (condition, ttl) {
                (Condition::Always, Ttl::None | Ttl::After(_)) => None,
                _ => db.peek(key).map(|entry| entry.deadline()),
            };
            let allowed = match condition {
                Condition::Always => true,
                Condition::IfAbsent => old.is_none(),
                Condition::IfPresent => old.is_some(),
            };
            if !allowed {
                return Ok(false);
            }
            let deadline = match ttl {
                Ttl::None => None,
                Ttl::Keep => old.flatten(),
                Ttl::After(_) => expiry.map(|expiry| expiry.deadline),
            };
            store(db, key, value, deadline)?;
            db.propagate_set(key, value, deadline);
            Ok(true)
        })
    }

    /// Sets several strings at once: nobody sees some of them set and others not. O(keys).
    ///
    /// # Errors
    /// As [`Database::set`]; then nothing is set.
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)], ttl: Ttl) -> Result<()> {
        let longest = |(key, value): &(K, V)| key.as_ref().len().max(value.as_ref().len());
        pairs.iter().try_for_each(|pair| self.admission(longest(pair)).check())?;
        let ttl_ms = ttl_ms(ttl)?;
        let keys = alloc::collected(pairs.iter().map(|(key, _)| self.key(key.as_ref())))?;
        self.write_many(&keys, |db| {
            let string = |number: usize| (&keys[number], pairs[number].1.as_ref());
            let deadline = |db: &Db<'_>, key: &Key<'_>| match ttl {
                Ttl::None => None,
                Ttl::Keep => db.peek(key).and_then(|entry| entry.deadline()),
                Ttl::After(_) => ttl_ms.map(|ttl| db.now() + ttl),
            };
            db.insert_strings(pairs.len(), string, deadline, |db, number, deadline| {
                let (key, value) = string(number);
                announce(db, key, deadline);
                db.propagate_set(key, value, deadline);
            })
        })
    }

    /// Removes a key and says whether it existed. O(1).
    ///
    /// # Errors
    /// The log refuses writes.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.write(&self.key(key.as_ref()), |db, key| {
            let removed = delete(db, std::slice::from_ref(key)) > 0;
            if removed {
                db.propagate(|| [b"DEL", key.bytes()]);
            }
            Ok(removed)
        })
    }

    /// Removes several keys at once and returns how many existed: nobody sees some of them gone and others not. O(keys).
    ///
    /// # Errors
    /// The log refuses writes.
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize> {
        let keys = alloc::collected(keys.iter().map(|key| self.key(key.as_ref())))?;
        self.write_many(&keys, |db| {
            let removed = delete(db, &keys);
            if removed > 0 {
                db.propagate(|| std::iter::once(&b"DEL"[..]).chain(keys.iter().map(Key::bytes)));
            }
            Ok(removed)
        })
    }

    /// Whether a key exists, of whatever type. O(1).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        exists(&self.inner().keyspace, self.index, &self.key(key.as_ref()))
    }

    /// How many of these keys exist, of whatever type; one that is given twice counts twice. Each is looked up on its own, not all of them at
    /// one moment. O(keys).
    pub fn count_existing<K: AsRef<[u8]>>(&self, keys: &[K]) -> usize {
        let keyspace = &self.inner().keyspace;
        let count = |chunk| {
            let fetched = self.fetched(chunk);
            fetched.iter().filter(|key| exists(keyspace, self.index, key)).count()
        };
        keys.chunks(BATCH).map(count).sum()
    }

    /// Has the memory of keys that are about to be read or written, one after the other, fetched into the processor's cache, all at once.
    /// Changes nothing, and does nothing while the engine is small. For at most some ten keys at a time: O(keys).
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        let keyspace = &self.inner().keyspace;
        if keyspace.is_worth_fetching() {
            let hashes: SmallVec<[u64; BATCH]> =
                keys.into_iter().map(|key| keyspace.seed.hash(key)).collect();
            prefetch(keyspace, self.index, &hashes, |hash| *hash);
        }
    }

    /// Adds to the integer of a key and returns the sum; a missing key counts as 0. O(1).
    ///
    /// # Errors
    /// WRONGTYPE, a string that is no integer, overflow, or out of memory.
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64> {
        let (key, inner) = (key.as_ref(), self.inner());
        inner.ensure_background();
        if inner.make_room()
            && inner.keyspace.hooks.are_silent()
            && let Some(sum) = add_in_place(&inner.keyspace, self.index, self.key(key), by)
        {
            return Ok(sum);
        }
        self.incr_otherwise(key, by)
    }

    #[inline(never)]
    fn incr_otherwise(&self, key: &[u8], by: i64) -> Result<i64> {
        self.admission(key.len()).check()?;
        let keyspace = &self.inner().keyspace;
        let key = self.key(key);
        if keyspace.hooks.may_hear()
            && let Some(sum) = add_in_place_heard(keyspace, self.index, key, by)?
        {
            return Ok(sum);
        }
        self.write(&key, |db, key| {
            let sum = counter::add(db, key, by)?;
            db.propagate(|| [b"INCRBY".to_vec(), key.bytes().to_vec(), by.to_string().into_bytes()]);
            Ok(sum)
        })
    }

    /// Gives a key a new time to live and says whether it exists. O(1).
    ///
    /// # Errors
    /// A time to live of 0 or of more than 2^62 ms.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        let ttl = ttl_ms(Ttl::After(ttl))?.unwrap_or_default();
        // A deadline may take memory too, but is never refused for it.
        self.inner().make_room();
        self.write(&self.key(key.as_ref()), |db, key| {
            let exists = db.contains(key);
            if exists {
                set_or_delete(db, key, (db.now() + ttl) as i64)?;
            }
            Ok(exists)
        })
    }

    /// Removes the deadline of a key and says whether there was one. O(1).
    ///
    /// # Errors
    /// Out of memory.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.write(&self.key(key.as_ref()), |db, key| {
            let Some(mut entry) = db.lookup_mut(key).filter(|entry| entry.deadline().is_some()) else {
                return Ok(false);
            };
            entry.set_deadline(None)?;
            db.propagate(|| [b"PERSIST", key.bytes()]);
            Ok(true)
        })
    }

    /// The time to live of a key: `None` if it does not exist, `Some(None)` if it does not expire. O(1).
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Option<Option<Duration>> {
        let keyspace = &self.inner().keyspace;
        let deadline =
            read_one(keyspace, self.index, &self.key(key.as_ref()), |entry| entry.map(|seen| seen.deadline));
        deadline.map(|deadline| {
            deadline.map(|deadline| Duration::from_millis(deadline.saturating_sub(keyspace.clock.now_ms())))
        })
    }

    /// Number of keys. O(shards).
    pub fn len(&self) -> usize {
        let keyspace = &self.inner().keyspace;
        keyspace.made_shards().map(|shard| keyspace.lock(shard).len(self.index)).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a value of that length may come in, and who hears of it.
    #[inline(never)]
    pub(crate) fn admission(&self, length: usize) -> Admission {
        let inner = self.inner();
        if length > inner.config.hot().proto_max_bulk_len() {
            Admission::TooLong
        } else if !inner.make_room() {
            Admission::Full
        } else if inner.keyspace.hooks.are_silent() {
            Admission::Silent
        } else {
            Admission::Heard
        }
    }

    /// Runs a write on one key, under the lock of its shard.
    #[inline]
    pub(crate) fn write<R>(
        &self,
        key: &Key<'_>,
        work: impl FnOnce(&mut Db<'_>, &Key<'_>) -> Result<R>,
    ) -> Result<R> {
        let keyspace = &self.inner().keyspace;
        self.inner().ensure_background();
        self.refuse_write()?;
        let mut db = Db::new(keyspace, self.index, Locks::one(keyspace, key.hash()));
        let result = work(&mut db, key);
        db.finish(self.index)?;
        result
    }

    /// Errors where the log takes no write.
    pub(crate) fn refuse_write(&self) -> Result<()> {
        self.inner().keyspace.hooks.refusal().map_or(Ok(()), Err)
    }

    fn write_many<R>(&self, keys: &[Key<'_>], work: impl FnOnce(&mut Db<'_>) -> Result<R>) -> Result<R> {
        let keyspace = &self.inner().keyspace;
        self.inner().ensure_background();
        self.refuse_write()?;
        let hashes = alloc::collected(keys.iter().map(Key::hash))?;
        let mut db = Db::new(keyspace, self.index, Locks::of(keyspace, self.index, &hashes));
        let result = work(&mut db);
        db.finish(self.index)?;
        result
    }
}

/// Whether a value may come in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may, and nobody listens: short cuts for that case may be tried.
    Silent,
    /// It may, and somebody hears of it.
    Heard,
    TooLong,
    Full,
}

impl Admission {
    #[cold]
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Admission::Silent | Admission::Heard => Ok(()),
            Admission::TooLong => Err(Error::too_long()),
            Admission::Full => Err(Error::out_of_memory()),
        }
    }
}

/// Calls `read` with the text of a hash's element.
#[inline]
fn hand_on<R>(element: Option<Element<'_>>, read: impl FnOnce(Option<&[u8]>) -> R) -> R {
    match element {
        Some(element) => element.with(|bytes| read(Some(bytes))),
        None => read(None),
    }
}

#[inline]
fn found_in<'s>(seen: &Seen<'s>) -> Result<Found<'s>> {
    Ok(found(seen.value.text()?, seen.is_ascii))
}

fn found(text: Text<'_>, is_ascii: bool) -> Found<'_> {
    Found { text, is_ascii: is_ascii || matches!(text, Text::Number(..)) }
}

pub(crate) fn ttl_ms(ttl: Ttl) -> Result<Option<u64>> {
    let Ttl::After(time) = ttl else { return Ok(None) };
    if time.is_zero() {
        return Err(Error::new(crate::ErrorKind::Usage, "ERR a time to live must be above 0"));
    }
    // Less than a millisecond is one: no time at all is not what was asked for.
    match time.as_millis().max(1) {
        milliseconds if milliseconds > MAX_TTL_MS => {
            Err(Error::new(crate::ErrorKind::Usage, "ERR the time to live is too long"))
        }
        milliseconds => Ok(Some(milliseconds as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    fn database() -> Database {
        Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap().database(0).unwrap()
    }

    #[test]
    fn conditions_and_times_hold() {
        let db = database();
        let minute = Ttl::After(Duration::from_secs(60));
        assert!(!db.set("k", "v", Ttl::None, Condition::IfPresent).unwrap());
        assert!(db.set("k", "v", minute, Condition::IfAbsent).unwrap());
        assert!(!db.set("k", "w", Ttl::None, Condition::IfAbsent).unwrap());
        assert!(db.set("k", "w", Ttl::Keep, Condition::IfPresent).unwrap());
        assert_eq!(db.ttl("k"), Some(Some(Duration::from_secs(60))));
        assert_eq!(db.get("k").unwrap().unwrap(), b"w");
        db.engine().advance(Duration::from_millis(59_999));
        assert!(db.contains("k"));
        db.engine().advance(Duration::from_millis(1));
        assert!(!db.contains("k") && db.is_empty());
    }

    #[test]
    fn what_is_found_without_a_lock_goes_another_way_than_the_rest() {
        let db = database();
        let long = "v".repeat(1000);
        for (key, value) in [("short", "v"), ("long", &long), ("number", "17")] {
            db.set(key, value, Ttl::None, Condition::Always).unwrap();
        }
        let way = |key: &str| {
            let free = |found: Found<'_>| ("free", Some(found.text.to_vec()));
            let held = |found: Option<Found<'_>>| ("held", found.map(|found| found.text.to_vec()));
            db.get_with_either(key.as_bytes(), free, held)
        };
        assert_eq!(way("short").unwrap(), ("free", Some(b"v".to_vec())));
        assert_eq!(way("long").unwrap(), ("held", Some(long.clone().into_bytes())));
        assert_eq!(way("number").unwrap(), ("held", Some(b"17".to_vec())));
        assert_eq!(way("none").unwrap(), ("held", None));
        db.hset("hash", b"f", b"v").unwrap();
        db.hset("big", b"f", long.as_bytes()).unwrap();
        assert!(way("hash").is_err());
        let length = |key: &str, field: &[u8]| {
            let (free, held) = (
                |found: Option<&[u8]>| ("free", found.map(<[u8]>::len)),
                |found: Option<&[u8]>| ("held", found.map(<[u8]>::len)),
            );
            db.hget_with_either(key.as_bytes(), field, free, held)
        };
        assert_eq!(length("hash", b"f").unwrap(), ("free", Some(1)));
        assert_eq!(length("hash", b"none").unwrap(), ("free", None));
        assert_eq!(length("big", b"f").unwrap(), ("held", Some(1000)));
        assert_eq!(length("none", b"f").unwrap(), ("held", None));
        assert!(length("short", b"f").is_err());
    }

    #[test]
    fn a_buffer_that_is_too_short_learns_the_length() {
        let db = database();
        db.set("k", "hello", Ttl::None, Condition::Always).unwrap();
        let mut buffer = [0; 3];
        assert_eq!(db.get_into(b"k", &mut buffer).unwrap(), Some(5));
        assert_eq!(&buffer, b"hel");
    }

    #[test]
    fn counters_and_strings_share_their_keys() {
        let db = database();
        assert_eq!(db.incr("n", 5).unwrap(), 5);
        assert_eq!(db.get("n").unwrap().unwrap(), b"5");
        db.set_many(&[("n", "x"), ("m", "1")], Ttl::None).unwrap();
        assert!(db.incr("n", 1).is_err());
        let mut seen = Vec::new();
        db.get_many_with(&["m", "none", "n"], |_, found| seen.push(found.map(|found| found.text.to_vec())));
        assert_eq!(seen, [Some(b"1".to_vec()), None, Some(b"x".to_vec())]);
        assert!(db.delete("m").unwrap() && !db.delete("m").unwrap());
    }

    #[test]
    fn several_keys_are_counted_and_removed() {
        let db = database();
        // Enough for their memory to be worth fetching.
        let keys: Vec<String> = (0..30_000).map(|number| format!("key:{number}")).collect();
        for key in &keys {
            db.set(key, [b'v'; 100], Ttl::None, Condition::Always).unwrap();
        }
        assert!(db.inner().keyspace.is_worth_fetching());
        assert_eq!(db.count_existing(&keys), keys.len());
        assert_eq!(db.count_existing(&["key:1", "none", "key:1"]), 2);
        db.prefetch([b"key:2".as_slice(), b"none"]);
        assert_eq!(db.delete_many(&["key:1", "none", "key:1", "key:2"]).unwrap(), 2);
        assert_eq!(db.count_existing(&["key:1", "key:2", "key:3"]), 1);
        assert_eq!(db.delete_many::<&str>(&[]).unwrap(), 0);
        assert_eq!(db.delete_many(&keys).unwrap(), keys.len() - 2);
        assert!(db.is_empty());
    }

    #[test]
    fn fields_of_hashes_are_read_and_written() {
        let db = database();
        assert!(db.hset("h", b"f", b"v").unwrap() && !db.hset("h", b"f", b"w").unwrap());
        let field = |name: &[u8]| db.hget_with(b"h", name, |found| found.map(<[u8]>::to_vec)).unwrap();
        assert_eq!((field(b"f").as_deref(), field(b"none")), (Some(b"w".as_slice()), None));
        db.set("s", "v", Ttl::None, Condition::Always).unwrap();
        assert!(db.hget_with(b"s", b"f", |_| ()).is_err() && db.hset("s", b"f", b"v").is_err());
        let mut session = db.engine().session(crate::Form::Resp);
        session.execute(&[b"HPEXPIRE", b"h", b"100", b"FIELDS", b"1", b"f"]);
        db.engine().advance(Duration::from_millis(100));
        assert_eq!(field(b"f"), None);
    }

    #[test]
    fn keys_fields_and_values_may_be_as_long_as_words() {
        let db = database();
        let mut session = db.engine().session(crate::Form::Resp);
        let long = vec![b'k'; 3 << 20];
        for round in 0..2 {
            assert_eq!(session.execute(&[b"SET", &long, b"v", b"EX", b"100"]), b"+OK\r\n");
            assert_eq!(session.execute(&[b"SET", b"other", b"v"]), b"+OK\r\n");
            assert_eq!(session.execute(&[b"RENAME", b"other", &long]), b"+OK\r\n");
            assert_eq!(session.execute(&[b"APPEND", &long, &long]), b":3145729\r\n");
            assert_eq!(session.execute(&[b"DEL", &long]), b":1\r\n");
            assert!(db.hset(&long, &long, &long).unwrap());
            assert_eq!(db.hget_with(&long, &long, |found| found.map(<[u8]>::len)).unwrap(), Some(long.len()));
            assert_eq!(session.execute(&[b"EXPIRE", &long, b"100"]), b":1\r\n");
            assert_eq!(session.execute(&[b"PERSIST", &long]), b":1\r\n");
            if round == 0 {
                assert!(db.delete(&long).unwrap());
            } else {
                assert_eq!(session.execute(&[b"FLUSHALL"]), b"+OK\r\n");
            }
            assert!(db.is_empty());
        }
        assert_eq!(session.execute(&[b"CONFIG", b"SET", b"proto-max-bulk-len", b"1mb"]), b"+OK\r\n");
        let refused = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
        for words in [
            &[&b"SET"[..], &long, b"v"][..],
            &[b"SET", b"k", &long],
            &[b"HSET", b"k", &long, b"v"],
            &[b"GET", &long],
        ] {
            assert_eq!(session.execute(words), refused);
        }
        assert!(db.set(&long, "v", Ttl::None, Condition::Always).is_err());
        assert!(db.set("k", &long, Ttl::None, Condition::Always).is_err());
        assert!(db.hset("k", &long, b"v").is_err() && db.hset("k", b"f", &long).is_err());
        assert!(db.set_many(&[("a", &b"v"[..]), ("b", &long)], Ttl::None).is_err());
        assert!(db.incr(&long, 1).is_err() && db.is_empty());
    }

    #[test]
    fn there_are_sixteen_databases() {
        let engine = Engine::new();
        assert!(engine.database(15).is_ok() && engine.database(16).is_err());
    }
}
