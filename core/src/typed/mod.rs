//! Typed calls: what the hot commands do, without words to parse and replies to decode.
//!
//! [`crate::Database`] shows them to programs; a session runs them for commands in their plainest form ([`hot`]). They do what the commands do,
//! expiry, WATCH, log and observers included.

pub(crate) mod hot;
pub(crate) mod options;

use std::time::Duration;

use crate::alloc;
use crate::commands::generic::delete::delete;
use crate::commands::generic::expire::set_or_delete;
use crate::commands::hash::set::set_field;
use crate::commands::string::counter;
use crate::commands::string::set::store;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::insert::insert_text;
use crate::keyspace::locks::Locks;
use crate::keyspace::overwrite::{
    Expiry, add_in_place, add_in_place_heard, overwrite_text, overwrite_text_heard, set_field_in_place,
    set_field_in_place_heard,
};
use crate::keyspace::read::{EntryView, read_field_unlocked, read_large, read_one, read_text_unlocked};
use crate::keyspace::{Db, Key};
use crate::local::Local;
use crate::store::memory::words::Scratch;
use crate::sync::Arc;
use crate::value::Text;
use crate::value::listpack::Element;
pub use options::{Condition, SetOptions, Ttl};

/// A string while it is being read, under its shard's lock.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The text.
    pub text: Text<'a>,
    /// Every byte is ASCII.
    pub is_ascii: bool,
}

/// The longest time to live, in milliseconds: a deadline must fit a signed 64-bit number, with room to add to it.
const MAX_TTL_MS: u128 = 1 << 62;

/// The typed calls, on what has an engine and a database at hand. A trait, so that the calls have one pointer to carry along and not several: with
/// two, what is known no longer fits into registers (SET took a third more instructions).
pub(crate) trait Typed {
    /// The engine.
    fn local(&self) -> &Arc<Local>;

    /// The number of the database.
    fn db(&self) -> usize;

    #[inline(always)]
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key::new(bytes, &self.local().keyspace.seed)
    }

    /// Calls `read` with the string of a key, or `None`, under the lock of the key's shard: keep it short, and call nothing that could come
    /// back to the engine. O(1).
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[inline]
    fn get_with<R>(&self, key: &[u8], read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match read_text_unlocked(keyspace, self.db(), &key, &mut scratch) {
            Some((text, is_ascii)) => Ok(read(Some(Found { text: Text::Bytes(text), is_ascii }))),
            None => self.get_otherwise(&key, read),
        }
    }

    /// As [`Typed::get_with`], for callers whose way to make a result must not run under a lock: `free` is called for a string that was
    /// read without one, `held` for everything else, perhaps under it.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no string.
    #[inline]
    fn get_with_either<R>(
        &self,
        key: &[u8],
        free: impl FnOnce(Found<'_>) -> R,
        held: impl FnOnce(Option<Found<'_>>) -> R,
    ) -> Result<R> {
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match read_text_unlocked(keyspace, self.db(), &key, &mut scratch) {
            Some((text, is_ascii)) => Ok(free(Found { text: Text::Bytes(text), is_ascii })),
            None => self.get_otherwise(&key, held),
        }
    }

    #[inline(never)]
    fn get_otherwise<R>(&self, key: &Key<'_>, read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        read_one(&self.local().keyspace, self.db(), key, |seen| match seen {
            None => Ok(read(None)),
            Some(seen) => Ok(read(Some(found_in(&seen)?))),
        })
    }

    /// Calls `read` with the value of a field of a hash, or `None`, under the lock of the key's shard; what holds for
    /// [`Typed::get_with`] holds here.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[inline]
    fn hget_with<R>(&self, key: &[u8], field: &[u8], read: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match read_field_unlocked(keyspace, self.db(), &key, field, &mut scratch) {
            Some(element) => Ok(hand_on(element, read)),
            None => self.hget_otherwise(&key, field, read),
        }
    }

    /// As [`Typed::hget_with`], with one closure for what was read without a lock and one for what may be under it: see
    /// [`Typed::get_with_either`].
    ///
    /// # Errors
    /// WRONGTYPE if the key holds no hash.
    #[inline]
    fn hget_with_either<R>(
        &self,
        key: &[u8],
        field: &[u8],
        free: impl FnOnce(Option<&[u8]>) -> R,
        held: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let mut scratch = Scratch::new();
        match read_field_unlocked(keyspace, self.db(), &key, field, &mut scratch) {
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
        let keyspace = &self.local().keyspace;
        read_large(keyspace, self.db(), key, |entry| {
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
    /// WRONGTYPE, or out of memory.
    fn hset(&self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool> {
        let admission = self.admission(key.len().max(field.len()).max(value.len()));
        admission.check()?;
        self.local().ensure_background();
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let is_new = if admission == Admission::Silent {
            set_field_in_place(keyspace, self.db(), key, field, value)
        } else {
            set_field_in_place_heard(keyspace, self.db(), key, field, value)?
        };
        if let Some(is_new) = is_new {
            return Ok(is_new);
        }
        self.write(&key, |db, key| {
            db.brace_for(4, key.bytes().len() + field.len() + value.len())?;
            let created = set_field(db, key, field, value)?;
            db.propagate(|| [b"HSET", key.bytes(), field, value]);
            Ok(created)
        })
    }

    /// Sets the string of a key, whatever it held, and says whether the condition let it. O(1).
    ///
    /// # Errors
    /// Out of memory, a value above `proto-max-bulk-len`, or a time to live of 0 or of more than 2^62 ms.
    #[inline(never)]
    fn set(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        let admission = self.admission(value.len().max(key.len()));
        if admission != Admission::Silent {
            admission.check()?;
            return self.set_heard(key, value, ttl, condition);
        }
        let ttl_ms = ttl_ms(ttl)?;
        let key = self.key(key);
        self.local().ensure_background();
        let keyspace = &self.local().keyspace;
        let expiry = ttl_ms.map(|ttl| {
            let now = keyspace.clock.now_ms();
            Expiry { now, deadline: now + ttl }
        });
        let is_plain = condition == Condition::Always && ttl != Ttl::Keep;
        if is_plain && overwrite_text(keyspace, self.db(), key, value, expiry) {
            return Ok(true);
        }
        self.set_otherwise(key.bytes(), key.hash(), value, (ttl, condition), expiry)
    }

    #[cold]
    #[inline(never)]
    fn set_heard(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        self.local().ensure_background();
        let keyspace = &self.local().keyspace;
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
        let keyspace = &self.local().keyspace;
        let is_plain = condition == Condition::Always && ttl != Ttl::Keep;
        let is_heard = is_plain && keyspace.hooks.may_hear();
        let may_be_new = condition == Condition::IfAbsent || is_plain;
        if is_heard && overwrite_text_heard(keyspace, self.db(), key, value, expiry)?
            || may_be_new && insert_text(keyspace, self.db(), &key, value, expiry)?
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
            db.brace_for(5, key.bytes().len() + value.len())?;
            store(db, key, value, deadline)?;
            db.propagate_set(key, value, deadline);
            Ok(true)
        })
    }

    /// Removes a key and says whether it existed. O(1).
    ///
    /// # Errors
    /// The log refuses writes.
    fn delete(&self, key: &[u8]) -> Result<bool> {
        self.write(&self.key(key), |db, key| {
            let removed = delete(db, std::slice::from_ref(key)) > 0;
            if removed {
                db.propagate(|| [b"DEL", key.bytes()]);
            }
            Ok(removed)
        })
    }

    /// Adds to the integer of a key and returns the sum; a missing key counts as 0. O(1).
    ///
    /// # Errors
    /// WRONGTYPE, a string that is no integer, overflow, or out of memory.
    fn incr(&self, key: &[u8], by: i64) -> Result<i64> {
        let inner = self.local();
        inner.ensure_background();
        if inner.make_room()
            && inner.keyspace.hooks.are_silent()
            && let Some(sum) = add_in_place(&inner.keyspace, self.db(), self.key(key), by)
        {
            return Ok(sum);
        }
        self.incr_otherwise(key, by)
    }

    #[inline(never)]
    fn incr_otherwise(&self, key: &[u8], by: i64) -> Result<i64> {
        self.admission(key.len()).check()?;
        let keyspace = &self.local().keyspace;
        let key = self.key(key);
        if keyspace.hooks.may_hear()
            && let Some(sum) = add_in_place_heard(keyspace, self.db(), key, by)?
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
    fn expire(&self, key: &[u8], ttl: Duration) -> Result<bool> {
        let ttl = ttl_ms(Ttl::After(ttl))?.unwrap_or_default();
        // A deadline may take memory too, but is never refused for it.
        self.local().make_room();
        self.write(&self.key(key), |db, key| {
            let exists = db.contains(key);
            if exists {
                set_or_delete(db, key, (db.now() + ttl) as i64)?;
            }
            Ok(exists)
        })
    }

    /// Whether a value of that length may come in, and who hears of it.
    #[inline(never)]
    fn admission(&self, length: usize) -> Admission {
        let inner = self.local();
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
    fn write<R>(&self, key: &Key<'_>, work: impl FnOnce(&mut Db<'_>, &Key<'_>) -> Result<R>) -> Result<R> {
        let keyspace = &self.local().keyspace;
        self.local().ensure_background();
        self.refuse_write()?;
        let mut db = Db::new(keyspace, self.db(), Locks::one(keyspace, key.hash()));
        let result = work(&mut db, key);
        db.finish(self.db())?;
        result
    }

    /// Errors where the log takes no write.
    fn refuse_write(&self) -> Result<()> {
        self.local().keyspace.hooks.refusal().map_or(Ok(()), Err)
    }

    fn write_many<R>(&self, keys: &[Key<'_>], work: impl FnOnce(&mut Db<'_>) -> Result<R>) -> Result<R> {
        let keyspace = &self.local().keyspace;
        self.local().ensure_background();
        self.refuse_write()?;
        let hashes = alloc::collected(keys.iter().map(Key::hash))?;
        let mut db = Db::new(keyspace, self.db(), Locks::of(keyspace, self.db(), &hashes));
        let result = work(&mut db);
        db.finish(self.db())?;
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
pub(crate) fn found_in<'s>(seen: &EntryView<'s>) -> Result<Found<'s>> {
    Ok(found(seen.value.text()?, seen.is_ascii))
}

pub(crate) fn found(text: Text<'_>, is_ascii: bool) -> Found<'_> {
    Found { text, is_ascii: is_ascii || matches!(text, Text::Number(..)) }
}

pub(crate) fn ttl_ms(ttl: Ttl) -> Result<Option<u64>> {
    let Ttl::After(time) = ttl else { return Ok(None) };
    if time.is_zero() {
        return Err(Error::new(ErrorKind::Usage, "ERR a time to live must be above 0"));
    }
    // Less than a millisecond is one: no time at all is not what was asked for.
    match time.as_millis().max(1) {
        milliseconds if milliseconds > MAX_TTL_MS => {
            Err(Error::new(ErrorKind::Usage, "ERR the time to live is too long"))
        }
        milliseconds => Ok(Some(milliseconds as u64)),
    }
}
