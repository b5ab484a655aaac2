//! Changing the hash of a key: one interface over both encodings, the move from the listpack to the table, and expired fields.
//!
//! How hashes are laid out and read is [`crate::value::hash`]'s affair.

use crate::alloc;
use crate::error::Result;
use crate::keyspace::{Db, EventClass, HashSeed, Key};
use crate::store::memory::{OutOfMemory, PAGE, Pool};
use crate::sync::Arc;
use crate::value::hash::Hash;
use crate::value::listpack::{self, Element, Listpack};
use crate::value::{HashRef, Kind, MAX_IN_ARENA, NewValue, Owned, Value};

/// The fields of a hash that is being changed.
pub(crate) struct Fields<'h> {
    encoding: Encoding<'h>,
    limits: Limits,
    seed: &'h HashSeed,
    pool: &'h Arc<Pool>,
    now: u64,
    changed: bool,
    /// There was no memory for something: nothing is changed from then on, and the edit fails.
    refused: bool,
    /// What a table was before several changes, while memory is short.
    before: Option<Box<Hash>>,
}

enum Encoding<'h> {
    Packed(Vec<u8>),
    /// Just converted from a listpack.
    New(Hash),
    Table(&'h mut Hash),
}

/// `hash-max-listpack-entries` and `hash-max-listpack-value`.
#[derive(Clone, Copy)]
struct Limits {
    fields: usize,
    bytes: usize,
}

impl Fields<'_> {
    /// Unix milliseconds, for deadlines.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    fn as_ref(&self) -> HashRef<'_> {
        match &self.encoding {
            Encoding::Packed(bytes) => HashRef::packed(bytes),
            Encoding::New(hash) => HashRef::table(hash.as_ref(self.seed)),
            Encoding::Table(hash) => HashRef::table(hash.as_ref(self.seed)),
        }
    }

    /// The value of a field.
    pub(crate) fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        self.as_ref().get(field, self.now)
    }

    /// The deadline of a field: `None` if there is no such field, `Some(None)` if it does not expire.
    pub(crate) fn deadline(&self, field: &[u8]) -> Option<Option<u64>> {
        self.as_ref().deadline(field, self.now)
    }

    /// Moves to the table if a text of this length may not stand in the listpack.
    pub(crate) fn make_room(&mut self, texts: &[&[u8]]) {
        if texts.iter().any(|text| text.len() > self.limits.bytes) {
            self.leave_listpack();
        }
    }

    /// Moves to the table if more fields than a listpack may hold are about to be set, new or not.
    pub(crate) fn make_room_for(&mut self, fields: usize) {
        if fields > self.limits.fields {
            self.leave_listpack();
        }
    }

    /// Sets a field and says whether it is new. A deadline it had is replaced by `deadline`.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8], deadline: Option<u64>) -> bool {
        self.make_room(&[field, value]);
        if deadline.is_some() {
            self.leave_listpack();
        }
        let now = self.now;
        if let Encoding::Packed(bytes) = &mut self.encoding {
            self.changed = true;
            let pack = Listpack::new(bytes);
            let is_new = match pack.find(field, 0, 2) {
                Some(at) => {
                    listpack::replace(bytes, at.index + 1, Element::of(value));
                    false
                }
                None => {
                    listpack::push(bytes, &[Element::of(field), Element::of(value)]);
                    true
                }
            };
            let too_large = bytes.len() > MAX_IN_ARENA || Listpack::new(bytes).len() / 2 > self.limits.fields;
            if too_large {
                self.leave_listpack();
            }
            return is_new;
        }
        let was_live = self.as_ref().get(field, now).is_some();
        let is_set = self.change(|hash, seed| hash.set(seed, field, value, deadline)).is_some();
        self.changed |= is_set;
        is_set && !was_live
    }

    /// Changes the table, unless there was no memory before.
    fn change<R>(
        &mut self,
        change: impl FnOnce(&mut Hash, &HashSeed) -> Result<R, OutOfMemory>,
    ) -> Option<R> {
        if self.refused {
            return None;
        }
        let seed = self.seed;
        let changed = change(self.table(), seed);
        self.refused = changed.is_err();
        changed.ok()
    }

    /// Gives an existing field another deadline, or none.
    pub(crate) fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) {
        if deadline.is_some() {
            self.leave_listpack();
        }
        let (Encoding::New(_) | Encoding::Table(_)) = &self.encoding else { return };
        let copied = self.as_ref().get(field, self.now).map(|value| value.with(alloc::copied));
        let Some(Ok(value)) = copied else {
            self.refused |= copied.is_some();
            return;
        };
        self.changed |= self.change(|hash, seed| hash.set(seed, field, &value, deadline)).is_some();
    }

    /// Removes a field and says whether it was there.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let now = self.now;
        let removed = match &mut self.encoding {
            Encoding::Packed(bytes) => match Listpack::new(bytes).find(field, 0, 2) {
                Some(at) => {
                    listpack::remove(bytes, at.index, 2);
                    true
                }
                None => false,
            },
            _ => {
                let was_live = self.as_ref().get(field, now).is_some();
                self.change(|hash, seed| hash.remove(seed, field)) == Some(true) && was_live
            }
        };
        self.changed |= removed;
        removed
    }

    fn table(&mut self) -> &mut Hash {
        match &mut self.encoding {
            Encoding::New(hash) => hash,
            Encoding::Table(hash) => hash,
            Encoding::Packed(_) => unreachable!("the caller has left the listpack"),
        }
    }

    fn leave_listpack(&mut self) {
        let Encoding::Packed(bytes) = &self.encoding else { return };
        let mut hash = Hash::new(self.pool);
        let mut refused = false;
        HashRef::packed(bytes).each(self.now, |field, value| {
            let set = field.with(|field| value.with(|value| hash.set(self.seed, field, value, None)));
            refused |= set.is_err();
        });
        self.encoding = Encoding::New(hash);
        self.refused |= refused;
        self.changed = true;
    }

    /// Announces that so many fields are about to be changed, by so many bytes: all of them are, or none. Each single change undoes itself; for several
    /// a table is shared with what it was, which costs a copy of each page that is written to. So it is only done while memory is short.
    #[inline]
    pub(crate) fn expect(&mut self, changes: usize, bytes: impl FnOnce() -> usize) {
        if changes > 1 {
            self.expect_several(changes, bytes());
        }
    }

    #[inline(never)]
    fn expect_several(&mut self, changes: usize, bytes: usize) {
        /// Pages that a change may take: of the field, of its bucket, and of the way to either.
        const PAGES: usize = 4;
        /// Those that the first changes may take beside them.
        const AT_FIRST: usize = 64;
        let Encoding::Table(hash) = &self.encoding else { return };
        let pages = changes * PAGES + bytes.div_ceil(PAGE) * 2 + AT_FIRST;
        if !(hash.is_in_pages() && self.pool.has_plenty(pages)) {
            self.before = Some(Box::new(hash.duplicate()));
        }
    }

    /// [`Fields::expect`] of another deadline for each of these, whose values are written anew.
    pub(crate) fn expect_each(&mut self, names: &[&[u8]]) {
        if names.len() > 1 && matches!(self.encoding, Encoding::Table(_)) {
            let bytes = |name: &&[u8]| name.len() + self.get(name).map_or(0, |value| value.with(<[u8]>::len));
            let bytes = names.iter().map(bytes).sum();
            self.expect_several(names.len(), bytes);
        }
    }

    /// Removes fields and says how many were there.
    pub(crate) fn remove_all(&mut self, names: &[&[u8]]) -> usize {
        self.expect(names.len(), || 0);
        names.iter().filter(|name| self.remove(name)).count()
    }

    /// Runs an edit. What there was no memory for makes it fail.
    fn run<R>(&mut self, edit: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let result = edit(self)?;
        if !self.refused {
            return Ok(result);
        }
        if let (Some(before), Encoding::Table(hash)) = (self.before.take(), &mut self.encoding) {
            hash.become_again(*before);
            self.changed = false;
        }
        Err(OutOfMemory.into())
    }

    fn is_empty(&self) -> bool {
        match &self.encoding {
            Encoding::Packed(bytes) => Listpack::new(bytes).is_empty(),
            Encoding::New(hash) => hash.len() == 0,
            Encoding::Table(hash) => hash.len() == 0,
        }
    }
}

/// Changes the hash of a key, creating it if need be. What `edit` leaves empty is removed.
///
/// # Errors
/// WRONGTYPE, or whatever `edit` returns; it must fail before it changes anything.
pub(crate) fn edit_or_create<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<R> {
    run(db, key, true, edit).map(|result| result.expect("the hash exists or was created"))
}

/// Changes the hash of a key; `None` if there is none. What `edit` leaves empty is removed.
///
/// # Errors
/// As [`edit_or_create`].
pub(crate) fn edit<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<Option<R>> {
    run(db, key, false, edit)
}

fn run<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    create: bool,
    edit: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<Option<R>> {
    reclaim(db, key);
    let keyspace = db.keyspace();
    let hot = keyspace.config.hot();
    let limits = Limits { fields: hot.hash_max_listpack_entries(), bytes: hot.hash_max_listpack_value() };
    let fields = Fields {
        encoding: Encoding::Packed(listpack::EMPTY.to_vec()),
        limits,
        seed: &keyspace.seed,
        pool: &keyspace.shared.pool,
        now: db.now(),
        changed: false,
        refused: false,
        before: None,
    };
    let Some(mut entry) = db.lookup_mut(key) else {
        return if create { created(db, key, fields, edit).map(Some) } else { Ok(None) };
    };
    let Value::Hash(_) = entry.value() else { return Err(crate::Error::wrong_type()) };
    if entry.kind() == Kind::HashPacked {
        let packed = Encoding::Packed(entry.bytes().to_vec());
        let mut fields = Fields { encoding: packed, ..fields };
        let result = fields.run(edit)?;
        if fields.changed {
            if fields.is_empty() {
                entry.remove();
                db.notify(EventClass::Generic, "del", key.bytes());
            } else {
                match fields.encoding {
                    Encoding::Packed(bytes) => entry.set_value(NewValue::Bytes(Kind::HashPacked, &bytes))?,
                    Encoding::New(hash) => {
                        entry.set_value(NewValue::Owned(Owned::Hash(hash)))?;
                        db.adopt_field_deadlines(key);
                    }
                    Encoding::Table(_) => unreachable!("a packed hash becomes a new one"),
                }
            }
        }
        return Ok(Some(result));
    }
    let edited = entry.edit_owned(|value, _| {
        let Owned::Hash(hash) = value else { unreachable!("the type was checked") };
        let mut fields = Fields { encoding: Encoding::Table(hash), ..fields };
        let result = fields.run(edit);
        let (changed, is_empty) = (fields.changed, fields.is_empty());
        let Encoding::Table(hash) = fields.encoding else { unreachable!("a table stays one") };
        ((result, hash.timer_to_arm(), is_empty), changed)
    })?;
    let (result, timer, is_empty) = edited.expect("the kind says that it owns something");
    if let Some(timer) = timer {
        entry.arm(timer);
    }
    if is_empty {
        entry.remove();
        db.notify(EventClass::Generic, "del", key.bytes());
    }
    result.map(Some)
}

fn created<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    mut fields: Fields<'_>,
    edit: impl FnOnce(&mut Fields<'_>) -> Result<R>,
) -> Result<R> {
    let result = fields.run(edit)?;
    if fields.changed && !fields.is_empty() {
        match fields.encoding {
            Encoding::Packed(bytes) => db.insert(key, NewValue::Bytes(Kind::HashPacked, &bytes), None)?,
            Encoding::New(hash) => {
                db.insert(key, NewValue::Owned(Owned::Hash(hash)), None)?;
                db.adopt_field_deadlines(key);
            }
            Encoding::Table(_) => unreachable!("a hash that is created has no table yet"),
        }
    }
    Ok(result)
}

/// Removes expired fields first: a write must not find them, nor leave a hash of nothing but them.
fn reclaim(db: &mut Db<'_>, key: &Key<'_>) {
    let due = match db.peek(key).map(|entry| entry.value()) {
        Some(Value::Hash(hash)) => hash.next_deadline().is_some_and(|deadline| deadline <= db.now()),
        _ => false,
    };
    if due {
        expire_fields(db, key);
    }
}

/// Reclaims the expired fields of a hash, and the hash with its last field. Returns how many fields went.
pub(crate) fn expire_fields(db: &mut Db<'_>, key: &Key<'_>) -> usize {
    let (now, changes) = (db.now(), db.changes());
    let Some(mut entry) = db.lookup_mut_untouched(key) else { return 0 };
    let expired = entry.edit_owned(|value, seed| {
        let expired = match value {
            Owned::Hash(hash) => hash.take_expired(seed, now),
            Owned::Str(_) => Vec::new(),
        };
        let changed = !expired.is_empty();
        (expired, changed)
    });
    // Without memory for the entry they wait for the next time.
    let expired = expired.ok().flatten().unwrap_or_default();
    if expired.is_empty() {
        return 0;
    }
    let is_empty = entry.value().hash().is_ok_and(|hash| hash.len(now) == 0);
    if is_empty {
        entry.remove();
    }
    db.count_expired_fields(expired.len());
    db.notify(EventClass::Hash, "hexpired", key.bytes());
    let count = expired.len();
    db.log_expired_fields(key, expired, changes);
    if is_empty {
        db.notify(EventClass::Generic, "del", key.bytes());
    }
    count
}

#[cfg(test)]
mod tests {
    use crate::store::memory::refusal;
    use crate::{Clock, Engine, Form};

    #[test]
    fn of_several_fields_none_is_changed_where_memory_is_refused() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let mut session = engine.session(Form::Resp);
        let mut run = |words: &[&[u8]]| String::from_utf8_lossy(session.execute(words)).into_owned();
        run(&[b"CONFIG", b"SET", b"enable-debug-command", b"yes"]);
        let names: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
        let value = [b'v'; 300];
        for (key, fields) in [(&b"large"[..], 200), (b"small", 3)] {
            for name in &names[..fields] {
                run(&[b"HSET", key, name.as_bytes(), &value]);
            }
            run(&[b"HPEXPIRE", key, b"90000", b"FIELDS", b"2", b"f0", b"f2"]);
            // Memory that is shared has to be copied before anything is removed.
            run(&[b"COPY", key, &[key, b"-copy"].concat()]);
        }
        let state = |run: &mut dyn FnMut(&[&[u8]]) -> String| {
            let times = [b"large", b"small"]
                .map(|key| run(&[b"HPTTL", key, b"FIELDS", b"4", b"f0", b"f1", b"f2", b"f9"]));
            (run(&[b"DEBUG", b"DIGEST"]), times)
        };
        let before = state(&mut run);
        let used = engine.inner.keyspace.shared.pool.shareable_bytes();
        let (long, longer) = (vec![b'l'; 9_000], vec![b'x'; 70_000]);
        let pairs: Vec<&[u8]> =
            vec![b"f0", &long, b"f1", b"short", b"new", &longer, b"f2", &value, b"f9", &long];
        for key in [&b"large"[..], b"small"] {
            let fields: &[&[u8]] = &[b"FIELDS", b"5"];
            let some: &[&[u8]] = &[b"FIELDS", b"4", b"f0", b"f1", b"f2", b"f9"];
            let commands = [
                [&[b"HSET", key][..], &pairs].concat(),
                [&[b"HMSET", key][..], &pairs].concat(),
                [&[b"HSETEX", key, b"EX", b"10"][..], fields, &pairs].concat(),
                [&[b"HPEXPIRE", key, b"70000"][..], some].concat(),
                [&[b"HPERSIST", key][..], some].concat(),
                [&[b"HGETEX", key, b"EX", b"10"][..], some].concat(),
                [&[b"HDEL", key][..], &some[2..]].concat(),
                [&[b"HGETDEL", key][..], some].concat(),
            ];
            for command in &commands {
                let name = String::from_utf8_lossy(command[0]).into_owned();
                let mut refused = 0;
                for allowed in 0.. {
                    refusal::after(allowed);
                    let reply = run(command);
                    refusal::set(false);
                    if !reply.starts_with("-OOM") {
                        break;
                    }
                    refused += 1;
                    assert_eq!(state(&mut run), before, "{name} {allowed}");
                    assert_eq!(engine.inner.keyspace.shared.pool.shareable_bytes(), used, "{name} {allowed}");
                }
                assert!(refused > 0 || key == b"small", "{name}");
                // As it was, for the next command.
                run(&[b"COPY", &[key, b"-copy"].concat(), key, b"REPLACE"]);
                assert_eq!(state(&mut run), before, "{name}");
            }
        }
    }
}
