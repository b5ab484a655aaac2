//! Typed methods of the hot commands: what `GET` or `SET` do, without words to parse and replies to decode.
//!
//! Bindings and Rust programs use these for the few commands that count and a [`crate::Session`] for all others. They do what the
//! commands do, expiry, WATCH, log and observers included, but are not counted by command.

pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod loads;
mod values;

use std::time::Duration;

use smallvec::SmallVec;

use crate::alloc;
use crate::backend::Backend;
use crate::commands::generic::delete::delete;
use crate::commands::string::set::announce;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::read::{BATCH, copy_text, exists, prefetch, read_one, read_text_unlocked};
use crate::keyspace::{Db, Key, Version, Versions};
use crate::local::Local;
use crate::store::memory::words::Scratch;
use crate::sync::Arc;
pub use crate::typed::{Condition, Found, SetOptions, Ttl};
use crate::typed::{Typed, found_in, ttl_ms};
use crate::value::Text;

/// One numbered database of an engine.
///
/// Its calls, and those of the cache faces that stand on it, act for the process that the engine is a part of: no rule of a user (`ACL SETUSER`), and no
/// password, concerns them. Rules are for sessions: what a session executes is asked for its user's rights, be it in this process or behind a listener.
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
    index: usize,
}

impl Engine {
    /// The database of this number.
    ///
    /// # Errors
    /// There is no such database.
    pub fn database(&self, index: usize) -> Result<Database> {
        // How many there are elsewhere is for the other side to say. Nobody has as many as that, and what is near may stand beyond.
        let is_elsewhere = self.backend().is_some() && i32::try_from(index).is_ok();
        if index < self.config().hot().databases() || is_elsewhere {
            Ok(Database { engine: self.clone(), index })
        } else {
            Err(Error::command("DB index is out of range"))
        }
    }
}

impl Typed for Database {
    #[inline(always)]
    fn local(&self) -> &Arc<Local> {
        &self.engine.inner
    }

    #[inline(always)]
    fn db(&self) -> usize {
        self.index
    }

    #[inline(always)]
    fn backend(&self) -> Option<&dyn Backend> {
        self.engine.backend()
    }
}

impl Database {
    pub(crate) fn inner(&self) -> &Arc<Local> {
        &self.engine.inner
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a client monitors commands, which typed calls are none of.
    #[doc(hidden)]
    #[inline]
    pub fn is_monitored(&self) -> bool {
        self.engine.inner.is_monitored()
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
    pub fn get_with<R>(&self, key: impl AsRef<[u8]>, read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        Typed::get_with(self, key.as_ref(), read)
    }

    /// As [`Database::get_with`], for callers whose way to make a result must not run under a lock: `free` is called for a string that was
    /// read without one, `held` for everything else, perhaps under it.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[doc(hidden)]
    #[inline]
    pub fn get_with_either<R>(
        &self,
        key: &[u8],
        free: impl FnOnce(Found<'_>) -> R,
        held: impl FnOnce(Option<Found<'_>>) -> R,
    ) -> Result<R> {
        Typed::get_with_either(self, key, free, held)
    }

    /// As [`Database::get_with`], with what a copy of the value must be kept with: [`Versions::is_current`] then tells whether the
    /// copy still holds.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[doc(hidden)]
    pub fn get_versioned_with<R>(
        &self,
        versions: &Versions,
        key: &[u8],
        read: impl FnOnce(Option<Found<'_>>, Version) -> R,
    ) -> Result<R> {
        if let Some(elsewhere) = self.elsewhere() {
            // No write there counts here, so the version has ended as it begins.
            let version = Version { deadline: 0, ..versions.version_of(key) };
            return elsewhere.get(key, |found| read(found, version));
        }
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
    #[inline]
    pub fn get_into(&self, key: impl AsRef<[u8]>, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.copy_into(key.as_ref(), buffer)
    }

    fn copy_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
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
    /// Each key is read on its own, not all of them at one moment. O(keys).
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached; some keys may have been read.
    pub fn get_many_with<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        mut read: impl FnMut(usize, Option<Found<'_>>),
    ) -> Result<()> {
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.get_many(keys, read);
        }
        let mut position = 0;
        for chunk in keys.chunks(BATCH) {
            for key in &self.fetched(chunk) {
                self.read_fetched(key, |found| read(position, found));
                position += 1;
            }
        }
        Ok(())
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
        match read_text_unlocked(keyspace, self.index, key, &mut scratch) {
            Some((text, is_ascii)) => read(Some(Found { text: Text::Bytes(text), is_ascii })),
            None => {
                read_one(keyspace, self.index, key, |seen| read(seen.and_then(|seen| found_in(&seen).ok())))
            }
        }
    }

    /// A copy of the value of a field of a hash. O(length), and O(fields) while the hash is small.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash, or the system has no memory for the copy.
    pub fn hget(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.hget_with(key, field, |found| found.map(alloc::copied))?.transpose()
    }

    /// Calls `read` with the value of a field of a hash, or `None`, under the lock of the key's shard; what holds for
    /// [`Database::get_with`] holds here.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[inline]
    pub fn hget_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        read: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        Typed::hget_with(self, key.as_ref(), field.as_ref(), read)
    }

    /// As [`Database::hget_with`], with one closure for what was read without a lock and one for what may be under it: see
    /// [`Database::get_with_either`].
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[doc(hidden)]
    #[inline]
    pub fn hget_with_either<R>(
        &self,
        key: &[u8],
        field: &[u8],
        free: impl FnOnce(Option<&[u8]>) -> R,
        held: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        Typed::hget_with_either(self, key, field, free, held)
    }

    /// Sets a field of a hash, which is created if need be, and says whether the field is new. O(1), O(fields) while the hash is small.
    ///
    /// # Errors
    /// WRONGTYPE, a key, field or value above `proto-max-bulk-len`, or out of memory.
    pub fn hset(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool> {
        Typed::hset(self, key.as_ref(), field.as_ref(), value.as_ref())
    }

    /// Sets the string of a key, whatever it held; it does not expire. O(1).
    ///
    /// # Errors
    /// Out of memory, or a key or value above `proto-max-bulk-len`.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put(key.as_ref(), value.as_ref())
    }

    /// Sets the string of a key as the options say, whatever it held, and says whether their condition let it. O(1).
    ///
    /// # Errors
    /// Out of memory, a key or value above `proto-max-bulk-len`, or a time to live of 0 or of more than 2^62 ms.
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<bool> {
        Typed::set(self, key.as_ref(), value.as_ref(), options.ttl, options.condition)
    }

    /// Sets several strings at once: nobody sees some of them set and others not. O(keys).
    ///
    /// # Errors
    /// As [`Database::set_with`]; then nothing is set.
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)], ttl: Ttl) -> Result<()> {
        let longest = |(key, value): &(K, V)| key.as_ref().len().max(value.as_ref().len());
        pairs.iter().try_for_each(|pair| self.admit(longest(pair)))?;
        let ttl_ms = ttl_ms(ttl)?;
        if let Some(elsewhere) = self.elsewhere() {
            pairs.iter().for_each(|(key, _)| self.void_loads(key.as_ref()));
            return elsewhere.set_many(pairs, ttl);
        }
        let keys = alloc::collected(pairs.iter().map(|(key, _)| self.key(key.as_ref())))?;
        self.write_many(&keys, |db| {
            let string = |number: usize| (&keys[number], pairs[number].1.as_ref());
            let deadline = |db: &Db<'_>, key: &Key<'_>| match ttl {
                Ttl::None => None,
                Ttl::Keep => db.peek(key).and_then(|entry| entry.deadline()),
                Ttl::After(_) => ttl_ms.map(|ttl| db.now() + ttl),
            };
            let bytes = pairs.iter().map(|(key, value)| key.as_ref().len() + value.as_ref().len()).sum();
            db.brace_for(5 * pairs.len(), bytes)?;
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
        Typed::delete(self, key.as_ref())
    }

    /// Removes several keys at once and returns how many existed: nobody sees some of them gone and others not. O(keys).
    ///
    /// # Errors
    /// The log refuses writes.
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize> {
        if keys.is_empty() {
            return Ok(0);
        }
        if let Some(elsewhere) = self.elsewhere() {
            keys.iter().for_each(|key| self.void_loads(key.as_ref()));
            return elsewhere.delete(keys);
        }
        let keys = alloc::collected(keys.iter().map(|key| self.key(key.as_ref())))?;
        self.write_many(&keys, |db| {
            db.brace_for(keys.len() + 1, keys.iter().map(|key| key.bytes().len()).sum())?;
            let removed = delete(db, &keys);
            if removed > 0 {
                db.propagate(|| std::iter::once(&b"DEL"[..]).chain(keys.iter().map(Key::bytes)));
            }
            Ok(removed)
        })
    }

    /// Whether a key exists, of whatever type. O(1).
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        match self.elsewhere() {
            None => Ok(exists(&self.inner().keyspace, self.index, &self.key(key))),
            Some(elsewhere) => Ok(elsewhere.count_existing(&[key])? > 0),
        }
    }

    /// How many of these keys exist, of whatever type; one that is given twice counts twice. Each is looked up on its own, not all of them at
    /// one moment. O(keys).
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn count_existing<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize> {
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.count_existing(keys);
        }
        let keyspace = &self.inner().keyspace;
        let count = |chunk| {
            let fetched = self.fetched(chunk);
            fetched.iter().filter(|key| exists(keyspace, self.index, key)).count()
        };
        Ok(keys.chunks(BATCH).map(count).sum())
    }

    /// Has the memory of keys that are about to be read or written, one after the other, fetched into the processor's cache, all at once.
    /// Changes nothing, and does nothing while the engine is small. For at most some ten keys at a time: O(keys).
    #[doc(hidden)]
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
        Typed::incr(self, key.as_ref(), by)
    }

    /// Gives a key a new time to live and says whether it exists. O(1).
    ///
    /// # Errors
    /// A time to live of 0 or of more than 2^62 ms.
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        Typed::expire(self, key.as_ref(), ttl)
    }

    /// Removes the deadline of a key and says whether there was one. O(1).
    ///
    /// # Errors
    /// Out of memory.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        if let Some(elsewhere) = self.elsewhere_to_change(key.as_ref()) {
            return elsewhere.persist(key.as_ref());
        }
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
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<Duration>>> {
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.ttl(key.as_ref());
        }
        let keyspace = &self.inner().keyspace;
        let deadline =
            read_one(keyspace, self.index, &self.key(key.as_ref()), |entry| entry.map(|seen| seen.deadline));
        let left = |deadline: u64| Duration::from_millis(deadline.saturating_sub(keyspace.clock.now_ms()));
        Ok(deadline.map(|deadline| deadline.map(left)))
    }

    /// Number of keys. O(shards).
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn len(&self) -> Result<usize> {
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.len();
        }
        let keyspace = &self.inner().keyspace;
        Ok(keyspace.made_shards().map(|shard| keyspace.lock(shard).len(self.index)).sum())
    }

    /// Whether there is no key.
    ///
    /// # Errors
    /// The engine stands elsewhere and can't be reached.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Has those who load a key in this process know that it is set or removed elsewhere.
    fn void_loads(&self, key: &[u8]) {
        self.inner().keyspace.void_loads(self.index, &self.key(key));
    }
}

#[cfg(test)]
mod tests;
