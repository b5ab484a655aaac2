//! Changing the fields of a hash, whatever its encoding.
//!
//! A hash stays packed up to the limits of the configuration, as long as no field has a deadline.

use super::HashRef;
use super::table::Hash;
use crate::alloc;
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Editing, Form};
use crate::value::listpack::{self, Element, Listpack};
use crate::value::patch::Patch;
use crate::value::rooted::Rooted;
use crate::value::{Kind, MAX_IN_ARENA, Owned, Type};

/// `hash-max-listpack-entries`, and `hash-max-listpack-value` in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) fields: usize,
    bytes: usize,
}

impl Limits {
    /// Whether a field or value of that length may stand in a listpack.
    #[inline]
    pub(crate) fn allow(self, len: usize) -> bool {
        len <= self.bytes
    }
}

/// The fields of a hash that is being changed.
pub(crate) type Fields<'e> = Editing<'e, Hash>;

impl Collection for Hash {
    const TYPE: Type = Type::Hash;
    const NEW: Option<(Kind, &'static [u8])> = Some((Kind::HashPacked, &listpack::EMPTY));

    type Limits = Limits;

    fn limits(options: &Hot) -> Limits {
        Limits { fields: options.hash_max_listpack_entries(), bytes: options.hash_max_listpack_value() }
    }

    fn new(pool: &Arc<Pool>) -> Self {
        Hash::new(pool)
    }

    fn of_owned(owned: &mut Owned) -> Option<&mut Self> {
        match owned {
            Owned::HashTable(hash) => Some(hash),
            _ => None,
        }
    }

    fn is_empty(_: Kind, packed: &[u8]) -> bool {
        Listpack::new(packed).is_empty()
    }

    fn unpack(_: Kind, packed: &[u8], pool: &Arc<Pool>, seed: &HashSeed) -> Result<Self, OutOfMemory> {
        let mut hash = Hash::new(pool);
        let mut elements = Listpack::new(packed).iter();
        while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
            field.with(|field| value.with(|value| hash.set(seed, field, value, None)))?;
        }
        Ok(hash)
    }

    fn duplicate(&self) -> Self {
        self.duplicate_with_wheel()
    }

    fn become_again(&mut self, before: Self) {
        self.set_left(false);
        *self = before;
    }

    fn is_in_pages(&self) -> bool {
        self.has_pages()
    }
}

/// What setting a field comes to in a listpack, and whether the field is new.
#[inline]
pub(crate) fn setting(packed: &[u8], field: &[u8], value: &[u8]) -> (Patch, bool) {
    let pack = Listpack::new(packed);
    match pack.find_pair(field) {
        Some(at) => (pack.splice(at, 1, &[Element::Bytes(value)]), false),
        None => (pack.splice(pack.end(), 0, &[Element::Bytes(field), Element::Bytes(value)]), true),
    }
}

impl Editing<'_, Hash> {
    fn as_ref(&self) -> HashRef<'_> {
        match &self.form {
            Form::Packed(packed) => HashRef::packed(packed.bytes()),
            Form::Unpacked(hash) => HashRef::table(hash.as_ref(self.seed)),
            Form::Large(hash) => HashRef::table(hash.as_ref(self.seed)),
        }
    }

    /// The time that deadlines of fields are judged by, where there can be any.
    fn judged_at(&self) -> u64 {
        if let Form::Packed(_) = self.form { 0 } else { self.now() }
    }

    /// Whether a deadline has passed.
    pub(crate) fn is_late(&self, deadline: Option<u64>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.now())
    }

    /// The value of a field.
    pub(crate) fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        self.as_ref().get(field, self.judged_at())
    }

    /// The deadline of a field: `None` if there is no such field, `Some(None)` if it does not expire.
    pub(crate) fn deadline(&self, field: &[u8]) -> Option<Option<u64>> {
        self.as_ref().deadline(field, self.judged_at())
    }

    /// Moves to the table if a text of this length may not stand in the listpack.
    pub(crate) fn make_room(&mut self, texts: &[&[u8]]) {
        if !texts.iter().all(|text| self.limits.allow(text.len())) {
            self.unpack();
        }
    }

    /// Moves to the table if more fields than a listpack may hold are about to be set, new or not.
    pub(crate) fn make_room_for(&mut self, fields: usize) {
        if fields > self.limits.fields {
            self.unpack();
        }
    }

    /// Sets a field and says whether it is new. A deadline it had is replaced by `deadline`.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8], deadline: Option<u64>) -> bool {
        self.make_room(&[field, value]);
        if deadline.is_some() {
            self.unpack();
        }
        if self.is_packed() {
            return !self.is_refused && self.set_packed(field, value);
        }
        let was_live = self.get(field).is_some();
        let is_set = self.change(|hash, seed| hash.set(seed, field, value, deadline)).is_some();
        self.has_changed |= is_set;
        is_set && !was_live
    }

    fn set_packed(&mut self, field: &[u8], value: &[u8]) -> bool {
        let Form::Packed(packed) = &mut self.form else { return false };
        let (patch, is_new) = setting(packed.bytes(), field, value);
        let (len, count) = (patch.len_after(packed.bytes().len()), patch.count_after());
        patch.apply_to(&mut **packed);
        self.has_changed = true;
        if len > MAX_IN_ARENA || count / 2 > self.limits.fields {
            self.unpack();
        }
        is_new
    }

    /// Gives an existing field another deadline, or none.
    pub(crate) fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) {
        if deadline.is_some() {
            self.unpack();
        }
        if self.is_packed() {
            return;
        }
        let copied = self.get(field).map(|value| value.with(alloc::copied));
        let Some(Ok(value)) = copied else {
            self.is_refused |= copied.is_some();
            return;
        };
        self.has_changed |= self.change(|hash, seed| hash.set(seed, field, &value, deadline)).is_some();
    }

    /// [`Editing::expect`] of another deadline for each of these, whose values are written anew.
    pub(crate) fn expect_each(&mut self, names: &[&[u8]]) {
        if names.len() > 1 && matches!(self.form, Form::Large(_)) {
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

    /// Removes a field and says whether it was there. One that has expired is not, and is left to those who reclaim.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let removed = match &mut self.form {
            Form::Packed(packed) => {
                let pack = Listpack::new(packed.bytes());
                let patch = pack.find(field, 0, 2).map(|at| pack.splice(at, 2, &[]));
                patch.map(|patch| patch.apply_to(&mut **packed)).is_some()
            }
            _ => {
                self.get(field).is_some() && self.change(|hash, seed| hash.remove(seed, field)) == Some(true)
            }
        };
        self.has_changed |= removed;
        removed
    }
}
