//! Setting a field of a packed hash where it stands.
//!
//! What [`super`] is for strings, this is for the one other case that counts: the hash is there and packed, and stays so in its block. All else is for
//! the commands, by way of [`super::super::collection`].

use super::prefetch_entry;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::keyspace::hearing::{Hear, Listeners, Nobody};
use crate::keyspace::hooks::EventClass;
use crate::keyspace::shard::ShardData;
use crate::keyspace::shared::Located;
use crate::store::key::Key;
use crate::value::Kind;
use crate::value::editing::{Collection, Splice};
use crate::value::hash::{Hash, fields};

/// Sets a field and says whether it is new, where nobody listens. `None`: nothing was done, and [`set_field_in_place_heard`] or the command must do
/// it. O(fields).
#[inline(never)]
pub(crate) fn set_field_in_place(
    keyspace: &Keyspace,
    db: usize,
    key: Key<'_>,
    field: &[u8],
    value: &[u8],
) -> Option<bool> {
    set_field(keyspace, db, key, field, value, &mut Nobody)
}

/// [`set_field_in_place`] by a session, where somebody may listen. `None`: nothing was done, and the command must do it. O(fields).
///
/// # Errors
/// The log refuses writes, or cannot keep this one, which stands then.
pub(crate) fn set_field_in_place_heard(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: Key<'_>,
    field: &[u8],
    value: &[u8],
) -> Result<Option<bool>> {
    let bytes = key.bytes().len() + field.len() + value.len();
    let Some(mut listeners) = Listeners::of(keyspace, client, bytes)? else { return Ok(None) };
    listeners.log(|group| group.push(db, [b"HSET", key.bytes(), field, value]));
    let is_new = set_field(keyspace, db, key, field, value, &mut listeners);
    if is_new.is_some() {
        listeners.tell(db, key.bytes(), &[(EventClass::Hash, "hset")])?;
    }
    Ok(is_new)
}

#[inline(always)]
fn set_field(
    keyspace: &Keyspace,
    db: usize,
    key: Key<'_>,
    field: &[u8],
    value: &[u8],
    listeners: &mut impl Hear,
) -> Option<bool> {
    let limits = Hash::limits(keyspace.config.hot());
    if !limits.allow(field.len()) || !limits.allow(value.len()) {
        return None;
    }
    let prefetched = prefetch_entry(keyspace, db, &key)?;
    keyspace.in_place(key.shard(), prefetched.line, |data: &mut ShardData| {
        let found = prefetched.confirm(keyspace, data, db, key, [Kind::HashPacked; 2], listeners)?;
        if found.head.deadline_in(found.window).is_some_and(|deadline| keyspace.has_passed(deadline)) {
            return None;
        }
        let mut block = InPlace { data, found };
        let (patch, is_new) = fields::setting(block.bytes(), field, value);
        let is_too_long = patch.count_after() / 2 > limits.fields;
        if is_too_long || !found.head.has_room_for(patch.len_after(found.head.value_len)) {
            return None;
        }
        let _turned_away = prefetched.line.sequence.write();
        patch.apply_to(&mut block);
        let InPlace { data, mut found } = block;
        if let Some(stamp) = keyspace.present_stamp().filter(|stamp| *stamp != found.head.stamp()) {
            found.head = found.head.stamped(stamp);
            data.stamp(found.at, |_| stamp);
        }
        found.note(keyspace, data, key);
        listeners.changed(data, db, key.bytes());
        Some(is_new)
    })
}

/// A packed collection whose block holds what it becomes.
struct InPlace<'d, 'k> {
    data: &'d mut ShardData,
    found: Located<'k>,
}

impl Splice for InPlace<'_, '_> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.found.head.value(&self.data.arena, self.found.at)
    }

    #[inline(always)]
    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        self.found.head = self.data.splice(self.found.at, self.found.head, at, removed, new);
    }
}
