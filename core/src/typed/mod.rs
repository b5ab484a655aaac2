//! Typed calls: what the hot commands do, without words to parse and replies to decode.
//!
//! [`crate::Database`] shows them to programs; a session runs them for commands in their plainest form ([`hot`]). They do what the commands do,
//! expiry, WATCH, log and observers included. Where the engine stands elsewhere they become commands to its backend ([`forward`]), behind the short
//! cuts: what has no backend pays nothing for it.

mod edits;
pub(crate) mod forward;
pub(crate) mod hot;
pub(crate) mod options;

use std::time::Duration;

use crate::alloc;
use crate::backend::Backend;
use crate::commands::generic::delete::delete;
use crate::commands::generic::expire::set_or_delete;
use crate::commands::hash::set::set_field;
use crate::commands::string::counter;
use crate::commands::string::set::store;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::edits::edit_at_once;
use crate::keyspace::insert::insert_text;
use crate::keyspace::locks::Locks;
use crate::keyspace::overwrite::{
    Expiry, add_in_place, add_in_place_heard, overwrite_text, overwrite_text_heard,
};
use crate::keyspace::read::{EntryView, read_field_unlocked, read_large, read_one, read_text_unlocked};
use crate::keyspace::{Db, Key, Keyspace};
use crate::local::Local;
use crate::store::memory::words::Scratch;
use crate::sync::Arc;
use crate::value::Text;
use crate::value::listpack::Element;
use edits::SetField;
use forward::Forward;
pub use options::{Condition, SetOptions, Ttl};

/// A string while it is being read, under its shard's lock.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The text.
    pub text: Text<'a>,
    /// Every byte is ASCII.
    pub is_ascii: bool,
}

/// A length that `proto-max-bulk-len` always allows.
const ALWAYS_ALLOWED: usize = 1 << 20;

/// The longest time to live, in milliseconds: a deadline must fit a signed 64-bit number, with room to add to it.
const MAX_TTL_MS: u64 = 1 << 62;

/// The typed calls, on what has an engine and a database at hand. A trait, so that the calls have one pointer to carry along and not several: with
/// two, what is known no longer fits into registers (SET took a third more instructions).
pub(crate) trait Typed {
    /// The engine.
    fn local(&self) -> &Arc<Local>;

    /// The number of the database.
    fn db(&self) -> usize;

    /// The number of the session that calls; 0 is nobody's.
    #[inline(always)]
    fn client(&self) -> u64 {
        0
    }

    /// Whose change it is to which database: what listeners are told.
    #[inline(always)]
    fn origin(&self) -> (usize, u64) {
        (self.db(), self.client())
    }

    /// Where the engine stands, if that is elsewhere.
    fn backend(&self) -> Option<&dyn Backend>;

    /// The typed calls on an engine elsewhere.
    #[inline]
    fn elsewhere(&self) -> Option<Forward<'_>> {
        self.backend().map(|backend| Forward { backend, db: self.db() })
    }

    /// As [`Typed::elsewhere`], for who sets or removes a key: those who load it in this process must know.
    #[inline]
    fn elsewhere_to_change(&self, key: &[u8]) -> Option<Forward<'_>> {
        if self.backend().is_some() { self.void_elsewhere(key) } else { None }
    }

    #[cold]
    #[inline(never)]
    fn void_elsewhere(&self, key: &[u8]) -> Option<Forward<'_>> {
        self.local().keyspace.void_loads(self.db(), &self.key(key));
        self.elsewhere()
    }

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
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.get(key.bytes(), read);
        }
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
        if let Some(elsewhere) = self.elsewhere() {
            return elsewhere.hget(key.bytes(), field, read);
        }
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
        let longest = key.len().max(field.len()).max(value.len());
        if !self.local().is_calm() || longest > ALWAYS_ALLOWED {
            self.admit(longest)?;
            if let Some(elsewhere) = self.elsewhere_to_change(key) {
                return elsewhere.hset(key, field, value);
            }
        }
        self.local().ensure_background();
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let mut edit = SetField::new(field, value, keyspace.config.hot());
        if let Some(is_new) = edit_at_once(keyspace, self.origin(), &key, &mut edit)? {
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
    #[inline]
    fn set(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        match (condition, ttl) {
            (Condition::Always, Ttl::None) => self.put(key, value).map(|()| true),
            (Condition::Always, Ttl::After(time)) => {
                self.put_for(key, value, milliseconds(time)?).map(|()| true)
            }
            _ => self.set_if(key, value, ttl, condition),
        }
    }

    /// Sets the string of a key, whatever it held; it does not expire. O(1).
    ///
    /// # Errors
    /// Out of memory, or a value above `proto-max-bulk-len`.
    #[inline]
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_at_once(key, value).or_else(|hash| self.put_otherwise(key, hash, value, None))
    }

    /// As [`Typed::put`]; the key expires after so many milliseconds, at least 1 and at most 2^62.
    ///
    /// # Errors
    /// As there.
    #[inline]
    fn put_for(&self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<()> {
        self.put_for_at_once(key, value, ttl_ms)
            .or_else(|hash| self.put_otherwise(key, hash, value, Some(ttl_ms)))
    }

    /// [`Typed::put`] where a short value takes the place of another, nothing listens and no room has to be made: most of the time. Apart from
    /// [`Typed::put_for_at_once`], so that either has what it works with in registers.
    ///
    /// # Errors
    /// Nothing was done: the key's hash, for [`Typed::put_otherwise`].
    #[inline(never)]
    fn put_at_once(&self, key: &[u8], value: &[u8]) -> Result<(), u64> {
        self.put_in_place(key, value, |_| None)
    }

    /// [`Typed::put_at_once`] with a time to live.
    ///
    /// # Errors
    /// As there.
    #[inline(never)]
    fn put_for_at_once(&self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), u64> {
        self.put_in_place(key, value, |keyspace| Some(Expiry::after(ttl_ms, keyspace)))
    }

    #[inline(always)]
    fn put_in_place(
        &self,
        key: &[u8],
        value: &[u8],
        expiry: impl FnOnce(&Keyspace) -> Option<Expiry>,
    ) -> Result<(), u64> {
        let (local, key) = (self.local(), self.key(key));
        local.ensure_background();
        let is_done = local.is_calm() && overwrite_text(&local.keyspace, self.db(), key, value, expiry);
        if is_done { Ok(()) } else { Err(key.hash()) }
    }

    /// [`Typed::put`] and [`Typed::put_for`] where it could not be done at once.
    ///
    /// # Errors
    /// As there.
    #[inline(never)]
    fn put_otherwise(&self, key: &[u8], hash: u64, value: &[u8], ttl_ms: Option<u64>) -> Result<()> {
        if !self.local().is_calm() || value.len().max(key.len()) > ALWAYS_ALLOWED {
            self.admit(value.len().max(key.len()))?;
            if self.backend().is_some() {
                return self.put_elsewhere(key, value, ttl_ms);
            }
        }
        let keyspace = &self.local().keyspace;
        let key = Key::with_hash(key, hash);
        let expiry = ttl_ms.map(|ttl| Expiry::after(ttl, keyspace));
        if keyspace.hooks.may_hear() && overwrite_text_heard(keyspace, self.origin(), key, value, expiry)?
            || insert_text(keyspace, self.origin(), &key, value, expiry)?
        {
            return Ok(());
        }
        self.put_by_db(&key, value, expiry)
    }

    #[cold]
    #[inline(never)]
    fn put_elsewhere(&self, key: &[u8], value: &[u8], ttl_ms: Option<u64>) -> Result<()> {
        let ttl = ttl_ms.map_or(Ttl::None, |ttl| Ttl::After(Duration::from_millis(ttl)));
        let set = |elsewhere: Forward<'_>| elsewhere.set(key, value, ttl, Condition::Always).map(drop);
        self.elsewhere_to_change(key).map_or(Ok(()), set)
    }

    #[inline(never)]
    fn put_by_db(&self, key: &Key<'_>, value: &[u8], expiry: Option<Expiry>) -> Result<()> {
        self.write(key, |db, key| {
            let deadline = deadline_of(expiry, db);
            db.brace_for(5, key.bytes().len() + value.len())?;
            store(db, key, value, deadline)?;
            db.propagate_set(key, value, deadline);
            Ok(())
        })
    }

    /// [`Typed::set`] where it depends on what there is.
    ///
    /// # Errors
    /// As there.
    #[inline(never)]
    fn set_if(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        let ttl_ms = ttl_ms(ttl)?;
        self.admit(value.len().max(key.len()))?;
        if let Some(elsewhere) = self.elsewhere_to_change(key) {
            return elsewhere.set(key, value, ttl, condition);
        }
        self.local().ensure_background();
        let (keyspace, key) = (&self.local().keyspace, self.key(key));
        let expiry = ttl_ms.map(|ttl| Expiry::after(ttl, keyspace));
        if condition == Condition::IfAbsent && insert_text(keyspace, self.origin(), &key, value, expiry)? {
            return Ok(true);
        }
        self.write(&key, |db, key| {
            let new = deadline_of(expiry, db);
            let old = db.peek(key).map(|entry| entry.deadline());
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
                Ttl::After(_) => new,
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
        if let Some(elsewhere) = self.elsewhere_to_change(key) {
            return Ok(elsewhere.delete(&[key])? > 0);
        }
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
    #[inline]
    fn incr(&self, key: &[u8], by: i64) -> Result<i64> {
        match self.incr_at_once(key, by) {
            Some(sum) => Ok(sum),
            None => self.incr_otherwise(key, by),
        }
    }

    /// [`Typed::incr`] of an integer that there is, where nothing listens and no room has to be made. `None`: nothing was done, and
    /// [`Typed::incr_otherwise`] must do it, or find the error.
    fn incr_at_once(&self, key: &[u8], by: i64) -> Option<i64> {
        let local = self.local();
        local.ensure_background();
        if local.is_calm() { add_in_place(&local.keyspace, self.db(), self.key(key), by) } else { None }
    }

    /// [`Typed::incr`] where it could not be done at once.
    ///
    /// # Errors
    /// As there.
    #[inline(never)]
    fn incr_otherwise(&self, key: &[u8], by: i64) -> Result<i64> {
        self.admit(key.len())?;
        if let Some(elsewhere) = self.elsewhere_to_change(key) {
            return elsewhere.incr(key, by);
        }
        let keyspace = &self.local().keyspace;
        let key = self.key(key);
        if keyspace.hooks.may_hear()
            && let Some(sum) = add_in_place_heard(keyspace, self.origin(), key, by)?
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
        let ttl = milliseconds(ttl)?;
        if let Some(elsewhere) = self.elsewhere_to_change(key) {
            return elsewhere.expire(key, ttl);
        }
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

    /// Lets a value of that length come in, and makes room for it.
    ///
    /// # Errors
    /// It is too long, or there is no room.
    #[inline(never)]
    fn admit(&self, length: usize) -> Result<()> {
        let local = self.local();
        if length > local.config.hot().proto_max_bulk_len() {
            Err(Error::too_long())
        } else if local.make_room() {
            Ok(())
        } else {
            Err(Error::out_of_memory())
        }
    }

    /// Runs a write on one key, under the lock of its shard.
    #[inline]
    fn write<R>(&self, key: &Key<'_>, work: impl FnOnce(&mut Db<'_>, &Key<'_>) -> Result<R>) -> Result<R> {
        let keyspace = &self.local().keyspace;
        self.local().ensure_background();
        self.refuse_write()?;
        let mut db = Db::new(keyspace, self.origin(), Locks::one_with_waiters(keyspace, key.hash()));
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
        let mut db = Db::new(keyspace, self.origin(), Locks::with_waiters(keyspace, self.db(), &hashes));
        let result = work(&mut db);
        db.finish(self.db())?;
        result
    }
}

/// The deadline of what is set. The time goes on as it was when that was reckoned, lest a short one has passed already.
fn deadline_of(expiry: Option<Expiry>, db: &Db<'_>) -> Option<u64> {
    let Expiry { now, deadline } = expiry?;
    db.go_by(now);
    Some(deadline)
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
    milliseconds(time).map(Some)
}

/// The whole milliseconds of a time to live, at most [`MAX_TTL_MS`].
#[inline]
fn milliseconds(time: Duration) -> Result<u64> {
    match time.as_secs().checked_mul(1000) {
        Some(whole) if !time.is_zero() && whole <= MAX_TTL_MS - 999 => {
            // Less than a millisecond is one: no time at all is not what was asked for.
            Ok((whole + u64::from(time.subsec_millis())).max(1))
        }
        _ => Err(wrong_ttl(time)),
    }
}

#[cold]
fn wrong_ttl(time: Duration) -> Error {
    let text = if time.is_zero() {
        "ERR a time to live must be above 0"
    } else {
        "ERR the time to live is too long"
    };
    Error::new(ErrorKind::Usage, text)
}
