//! Entries as commands see them: read, changed, and copied. How they are stored is the affair of [`super::super::shard`].

use super::{Db, apart_from_key};
use crate::alloc;
use crate::error::{Error, Result};
use crate::keyspace::entry::Head;
use crate::keyspace::shard::ShardData;
use crate::keyspace::{EventClass, Keyspace};
use crate::store::key::{HashSeed, Key};
use crate::store::memory::Ref;
use crate::store::memory::words::Words;
use crate::value::long::{self, LongString};
use crate::value::string::{is_embedded, over_deadline};
use crate::value::{Kind, NewValue, Owned, Root, Value};

/// A value copied from the keyspace.
#[derive(Debug)]
pub(crate) enum Copied {
    Int(i64),
    Bytes(Kind, Vec<u8>),
    Owned(Option<Owned>),
}

impl Copied {
    /// Reads the value. O(1), and what `read` takes.
    pub(crate) fn read<R>(&self, keyspace: &Keyspace, read: impl FnOnce(Value<'_>) -> R) -> R {
        let owned = match self {
            Copied::Int(number) => return read(Value::Int(*number)),
            Copied::Bytes(kind, bytes) => return read(kind.value(bytes).expect("what has a root is owned")),
            Copied::Owned(owned) => owned.as_ref().expect("it was not inserted anywhere"),
        };
        let (mut read, mut result) = (Some(read), None);
        owned.with_root(&mut |root| {
            let root =
                || Root { words: Words::new(root), region: keyspace.shared.region(), seed: &keyspace.seed };
            result = read.take().map(|read| read(owned.kind().read(&[], root)));
        });
        result.expect("a root is shown once")
    }

    /// As a value to insert, once.
    pub(crate) fn as_new(&mut self) -> NewValue<'_> {
        match self {
            Copied::Int(number) => NewValue::Int(*number),
            Copied::Bytes(kind, bytes) => NewValue::Bytes(*kind, bytes),
            Copied::Owned(owned) => {
                let mut owned = owned.take().expect("a value is inserted once");
                owned.forget_timer();
                NewValue::Owned(owned)
            }
        }
    }
}

/// An entry being read.
pub struct Entry<'d> {
    pub(super) shard: &'d ShardData,
    pub(super) at: Ref,
}

impl<'d> Entry<'d> {
    pub(in crate::keyspace) fn at(shard: &'d ShardData, at: Ref) -> Self {
        Self { shard, at }
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> Value<'d> {
        self.shard.value(self.at)
    }

    /// Its key.
    pub fn key(&self) -> &'d [u8] {
        self.shard.head(self.at).key(&self.shard.arena, self.at)
    }

    /// Its deadline in unix milliseconds, if it has one.
    pub fn deadline(&self) -> Option<u64> {
        self.shard.head(self.at).deadline(&self.shard.arena, self.at)
    }

    /// Whether a string value is known to be pure ASCII; bindings choose the cheaper conversion by it.
    #[inline]
    pub fn is_ascii(&self) -> bool {
        self.shard.head(self.at).ascii()
    }

    /// Bytes of the value as it stands in the entry.
    pub(crate) fn value_len(&self) -> usize {
        self.shard.head(self.at).value_len
    }

    /// Whether the value has memory of its own.
    pub(crate) fn is_apart(&self) -> bool {
        self.shard.head(self.at).kind().owns()
    }

    /// The name that OBJECT ENCODING replies.
    pub(crate) fn encoding(&self) -> &'static str {
        match self.value() {
            Value::List(list) if list.is_listpack() => Kind::ListPacked.encoding(),
            _ => apart_from_key(&self.shard.head(self.at)).encoding(),
        }
    }

    /// A copy, which shares what is larger than 64 KiB. O(length).
    pub(crate) fn share(&self) -> Copied {
        self.copy_with(ShardData::share)
    }

    /// [`Entry::share`] without timers, which follow from the value.
    pub(in crate::keyspace) fn share_without_timers(&self) -> Copied {
        self.copy_with(ShardData::share_without_timers)
    }

    /// Bytes of the whole entry.
    pub(in crate::keyspace) fn size(&self) -> usize {
        self.shard.head(self.at).size()
    }

    /// Appends the entry as it is to stand in a file, with another stamp. O(bytes).
    pub(in crate::keyspace) fn copy_out(&self, stamp: u32, out: &mut Vec<u8>) {
        self.shard.head(self.at).copy_out(&self.shard.arena, self.at, stamp, out);
    }

    pub(super) fn copy_with(&self, share: impl FnOnce(&ShardData, Ref) -> Owned) -> Copied {
        let head = self.shard.head(self.at);
        match self.value() {
            Value::Int(number) => Copied::Int(number),
            _ if head.kind().owns() => Copied::Owned(Some(share(self.shard, self.at))),
            _ => Copied::Bytes(apart_from_key(&head), head.value(&self.shard.arena, self.at).to_vec()),
        }
    }

    pub(crate) fn stamp(&self) -> u32 {
        self.shard.head(self.at).stamp()
    }

    /// Bytes of memory that the entry takes.
    pub fn bytes(&self) -> usize {
        self.shard.entry_bytes(self.at)
    }
}

/// An entry being changed. Every change through it is recorded.
pub struct EntryMut<'d, 'e> {
    pub(super) db: &'d mut Db<'e>,
    pub(super) key: Key<'d>,
    pub(super) at: Ref,
}

impl<'d, 'e> EntryMut<'d, 'e> {
    /// Its value.
    pub fn value(&self) -> Value<'_> {
        self.db.shard(&self.key).value(self.at)
    }

    /// Its deadline in unix milliseconds, if it has one.
    pub fn deadline(&self) -> Option<u64> {
        let shard = self.db.shard(&self.key);
        shard.head(self.at).deadline(&shard.arena, self.at)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.db.shard(&self.key).head(self.at).kind()
    }

    /// The bytes of the value as they stand in the entry: a string's or a packed collection's.
    pub(crate) fn bytes(&self) -> &[u8] {
        let shard = self.db.shard(&self.key);
        shard.head(self.at).value(&shard.arena, self.at)
    }

    pub(in crate::keyspace) fn head(&self) -> Head {
        self.db.shard(&self.key).head(self.at)
    }

    /// [`EntryMut::bytes`] of an entry whose head this is.
    pub(in crate::keyspace) fn bytes_of(&self, head: Head) -> &[u8] {
        head.value(&self.db.shard(&self.key).arena, self.at)
    }

    /// Puts `new` in the place of `removed` bytes of a packed collection from `from` on, where its block holds that. Returns what the head is then.
    /// Whoever calls this also calls [`EntryMut::modified`], or takes it back.
    pub(in crate::keyspace) fn splice(
        &mut self,
        head: Head,
        from: usize,
        removed: usize,
        new: &[u8],
    ) -> Head {
        self.db.preserve(&self.key, self.at);
        let at = self.at;
        self.db.shard_mut(&self.key).splice(at, head, from, removed, new)
    }

    /// Records that the value was changed where it stands.
    pub(in crate::keyspace) fn modified(&mut self) {
        self.db.modified(&self.key);
    }

    /// The same of what only the log hears of.
    pub(in crate::keyspace) fn modified_unheard(&mut self) {
        self.db.modified_unheard(&self.key);
    }

    /// The database, for its clock, log and events.
    pub fn db(&mut self) -> &mut Db<'e> {
        self.db
    }

    /// Gives the entry another value; its deadline stays.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn set_value(&mut self, value: NewValue<'_>) -> Result<()> {
        self.store(value)?;
        self.db.modified(&self.key);
        Ok(())
    }

    /// Has a string stand as one that is written to where it is, as the server's does from the first write on. To nobody it has changed. O(length), once.
    ///
    /// # Errors
    /// WRONGTYPE, or the system has no memory; nothing has changed.
    pub(crate) fn make_raw(&mut self) -> Result<()> {
        let text = self.value().text()?;
        if self.kind() == Kind::Raw || self.kind().owns() {
            return Ok(());
        }
        let text = alloc::copied(&text)?;
        self.set_form(NewValue::Bytes(Kind::Raw, &text))
    }

    /// Stores the value of the entry in another form, with the same elements: to nobody it has changed.
    ///
    /// # Errors
    /// As [`EntryMut::set_value`].
    pub(in crate::keyspace) fn set_form(&mut self, form: NewValue<'_>) -> Result<()> {
        self.db.has_changed = true;
        self.store(form)
    }

    fn store(&mut self, value: NewValue<'_>) -> Result<()> {
        let deadline = self.deadline();
        self.db.preserve(&self.key, self.at);
        let value = if deadline.is_some() { over_deadline(self.key.bytes().len(), value) } else { value };
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let (at, old) = self.db.shard_mut(&self.key).replace(db, hash, at, value, deadline)?;
        self.at = at;
        self.db.effects.discard(old);
        Ok(())
    }

    /// Sets or removes the deadline, in unix milliseconds.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub fn set_deadline(&mut self, deadline: Option<u64>) -> Result<()> {
        if deadline.is_none() {
            self.stay_apart_from_key()?;
        }
        self.db.preserve(&self.key, self.at);
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let had_deadline = self.db.shard(&self.key).head(at).has_deadline();
        self.at = self.db.shard_mut(&self.key).set_deadline(db, hash, at, deadline)?;
        if deadline.is_some() && !had_deadline {
            self.db.gained_deadline(&self.key, self.at);
        }
        self.db.modified(&self.key);
        Ok(())
    }

    /// What had no room beside its key and a deadline is `raw` also when the deadline goes.
    fn stay_apart_from_key(&mut self) -> Result<()> {
        let head = self.db.shard(&self.key).head(self.at);
        let is_embedded = |has_deadline| is_embedded(head.key_len, head.value_len, has_deadline);
        if head.kind() != Kind::Embedded || is_embedded(head.has_deadline()) || !is_embedded(false) {
            return Ok(());
        }
        let text = self.bytes().to_vec();
        self.set_value(NewValue::Bytes(Kind::Raw, &text))
    }

    /// Writes bytes over those of a string in the entry, its length unchanged.
    fn edit_bytes(&mut self, from: usize, bytes: &[u8]) -> Result<()> {
        self.db.preserve(&self.key, self.at);
        let at = self.at;
        self.db.shard_mut(&self.key).edit_string(at, from, bytes);
        self.db.modified(&self.key);
        Ok(())
    }

    /// Edits the value, if it has memory of its own. `edit` says whether it changed anything beside what it returns.
    ///
    /// # Errors
    /// The system has no memory for the entry; nothing has changed.
    pub(crate) fn edit_owned<R>(
        &mut self,
        edit: impl FnOnce(&mut Owned, &HashSeed) -> (R, bool),
    ) -> Result<Option<R>> {
        if !self.kind().owns() {
            return Ok(None);
        }
        self.db.preserve(&self.key, self.at);
        let (db, hash, at) = (self.db.index, self.key.hash(), self.at);
        let (at, result, changed) = self.db.shard_mut(&self.key).edit_owned(db, hash, at, edit)?;
        self.at = at;
        // What changes nothing may take memory all the same, as a consumer that reads nothing.
        self.db.has_changed = true;
        if changed {
            self.db.modified(&self.key);
        }
        Ok(Some(result))
    }

    /// Writes bytes over those of a string from `from` on, with zeroes before them where it is shorter. A string that grows beyond a page gets pages of its
    /// own. O(bytes), amortised, O(length) for shorter strings.
    ///
    /// # Errors
    /// WRONGTYPE, or the system has no memory; nothing has changed.
    pub(crate) fn write_string(&mut self, from: usize, bytes: &[u8]) -> Result<()> {
        let written = self.edit_owned(|value, _| match value {
            Owned::Long(string) => {
                let written = string.write(from, bytes);
                (written.map_err(Error::from), written.is_ok())
            }
            _ => (Err(Error::wrong_type()), false),
        })?;
        if let Some(written) = written {
            return written;
        }
        let text = self.value().text()?;
        let end = from + bytes.len();
        if end <= text.len() && self.kind() == Kind::Raw {
            return self.edit_bytes(from, bytes);
        }
        let len = end.max(text.len());
        if len < long::GROWING {
            let mut whole = text.to_vec();
            whole.resize(len, 0);
            whole[from..end].copy_from_slice(bytes);
            return self.set_value(NewValue::Bytes(Kind::Raw, &whole));
        }
        let mut string = LongString::new(&self.db.keyspace.shared.pool, &text, len + len / 4)?;
        string.write(from, bytes)?;
        self.set_value(NewValue::Owned(string.into()))
    }

    /// Arms a timer for something inside the value, such as a field with a deadline.
    pub(in crate::keyspace) fn arm(&mut self, deadline: u64) {
        self.db.arm(&self.key, deadline);
    }

    /// Arms a timer for what is inside the value, if something there expires.
    pub(in crate::keyspace) fn arm_inside(&mut self) {
        self.db.arm_inside(&self.key);
    }

    /// Removes the entry, since its collection became empty. `is_recorded`: the change that emptied it was recorded; it is one change with this.
    pub(in crate::keyspace) fn remove_emptied(self, is_recorded: bool) {
        let Self { db, key, at } = self;
        db.delete(&key, at);
        if !is_recorded {
            db.modified(&key);
        }
        db.notify(EventClass::Generic, "del", key.bytes());
    }

    /// Removes the entry.
    pub fn remove(self) {
        self.db.delete(&self.key, self.at);
        self.db.modified(&self.key);
    }
}

impl From<crate::store::memory::OutOfMemory> for Error {
    fn from(_: crate::store::memory::OutOfMemory) -> Self {
        Error::no_memory()
    }
}
