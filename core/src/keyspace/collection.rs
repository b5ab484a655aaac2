//! Changing the collection of a key: where it comes from, where it goes to, what becomes of the key, and elements that expire.
//!
//! What can be done to a collection of a type is [`crate::value::editing`]'s affair and that of the type's file.
//!
//! **In place.** A packed collection is spliced in its block, as long as the block's class holds it: nothing else is written. One that outgrows its class,
//! or falls below it, is copied and stored anew when the edit has ended. What was spliced before is taken back where that finds no memory: each
//! splice leaves what it replaced.

use smallvec::SmallVec;

use crate::error::Result;
use crate::keyspace::db::EntryMut;
use crate::keyspace::entry::Head;
use crate::keyspace::{Db, EventClass, Key, Keyspace};
use crate::value::editing::{Around, Collection, Edited, Editing, LazyTime, Packed, Splice};
use crate::value::{Kind, NewValue};

/// Changes the collection of a key, creating it if need be. What `edit` leaves empty is removed.
///
/// # Errors
/// WRONGTYPE, out of memory, or whatever `edit` returns; it must fail before it changes anything.
pub(crate) fn edit_or_create<T: Collection, R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Editing<'_, T>) -> Result<R>,
) -> Result<R> {
    run(db, key, true, edit).map(|result| result.expect("the collection exists or was created"))
}

/// Changes the collection of a key; `None` if there is none. What `edit` leaves empty is removed.
///
/// # Errors
/// As [`edit_or_create`].
pub(crate) fn edit<T: Collection, R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Editing<'_, T>) -> Result<R>,
) -> Result<Option<R>> {
    run(db, key, false, edit)
}

#[inline]
fn run<T: Collection, R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    create: bool,
    edit: impl FnOnce(&mut Editing<'_, T>) -> Result<R>,
) -> Result<Option<R>> {
    let keyspace = db.keyspace();
    let Some(mut entry) = db.lookup_collection(key) else {
        if !create {
            return Ok(None);
        }
        let time = db.lazy_time();
        let around = around(keyspace, &time);
        let mut fresh = T::NEW.map(|(kind, empty)| Fresh { kind, bytes: Copy::from_slice(empty) });
        let mut editing = match &mut fresh {
            Some(fresh) => Editing::packed(fresh, around),
            None => Editing::unpacked(around),
        };
        let result = editing.run(edit)?;
        let Edited { has_changed, goes, unpacked, repacked, .. } = editing.end();
        db.remember_time(&time);
        if has_changed && !goes {
            let is_large = unpacked.is_some();
            let large = unpacked.map(|large| NewValue::Owned(large.into()));
            let again = || repacked.as_ref().map(|(kind, bytes)| NewValue::Bytes(*kind, bytes));
            let packed = || fresh.as_ref().map(|fresh| NewValue::Bytes(fresh.kind, &fresh.bytes));
            db.insert(key, large.or_else(again).or_else(packed).expect("it is large or packed"), None)?;
            if is_large {
                db.arm_inside(key);
            }
        }
        return Ok(Some(result));
    };
    let kind = entry.kind();
    if kind.data_type() != T::TYPE {
        return Err(crate::Error::wrong_type());
    }
    // Looking the key up may have read the time.
    let time = entry.db().lazy_time();
    let around = around(keyspace, &time);
    if !kind.owns() {
        let mut block = Block::new(entry);
        let mut editing = Editing::packed(&mut block, around);
        let result = editing.run(edit);
        let edited = editing.end();
        block.entry.db().remember_time(&time);
        return match result {
            Ok(result) => block.end(edited).map(|()| Some(result)),
            Err(error) => {
                block.undo();
                Err(error)
            }
        };
    }
    let edited = entry.edit_owned(|value, _| {
        let large = T::of_owned(value).expect("the type was checked");
        let mut editing = Editing::large(large, around);
        let result = editing.run(edit);
        let Edited { has_changed, is_unheard, goes, repacked, .. } = editing.end();
        let is_unheard = is_unheard && !has_changed;
        ((result, large.timer_to_arm(), is_unheard, goes.then_some(has_changed), repacked), has_changed)
    })?;
    entry.db().remember_time(&time);
    let (result, timer, is_unheard, goes, repacked) = edited.expect("the kind says that it owns something");
    if is_unheard {
        entry.modified_unheard();
    }
    if let Some(timer) = timer {
        entry.arm(timer);
    }
    if let Some(is_recorded) = goes {
        entry.remove_emptied(is_recorded);
    } else if let Some((kind, bytes)) = repacked {
        // Without memory for that it stays large.
        let _ = entry.set_form(NewValue::Bytes(kind, &bytes));
    }
    result.map(Some)
}

#[inline]
pub(super) fn around<'e, T: Collection>(keyspace: &'e Keyspace, time: &'e LazyTime<'e>) -> Around<'e, T> {
    Around {
        limits: T::limits(keyspace.config.hot()),
        seed: &keyspace.seed,
        pool: &keyspace.shared.pool,
        time,
    }
}

/// The packed collection of a key that is being changed.
struct Block<'d, 'e> {
    entry: EntryMut<'d, 'e>,
    head: Head,
    kind: Kind,
    /// What it is by now, where its block does not hold that.
    copy: Option<Copy>,
    /// What was done in the block.
    splices: SmallVec<[Done; 1]>,
}

/// A splice that can be taken back.
struct Done {
    at: usize,
    /// Length of what stands there now.
    len: usize,
    /// What stood there.
    before: SmallVec<[u8; 64]>,
}

impl<'d, 'e> Block<'d, 'e> {
    fn new(entry: EntryMut<'d, 'e>) -> Self {
        let head = entry.head();
        Self { head, kind: head.kind(), entry, copy: None, splices: SmallVec::new() }
    }

    /// Ends the edit that has come to this.
    fn end<T: Collection>(mut self, edited: Edited<T>) -> Result<()> {
        if !edited.has_changed {
            let form = match (edited.unpacked, &edited.repacked) {
                (Some(large), _) => NewValue::Owned(large.into()),
                (None, Some((kind, bytes))) if edited.is_unheard => NewValue::Bytes(*kind, bytes),
                _ => return Ok(()),
            };
            self.entry.set_form(form)?;
            if edited.is_unheard {
                self.entry.modified_unheard();
            }
            return Ok(());
        }
        if edited.goes {
            self.entry.remove_emptied(false);
            return Ok(());
        }
        let is_large = edited.unpacked.is_some();
        let value = match (edited.unpacked, &edited.repacked, &self.copy) {
            (Some(large), ..) => NewValue::Owned(large.into()),
            (None, Some((kind, bytes)), _) => NewValue::Bytes(*kind, bytes),
            (None, None, Some(copy)) => NewValue::Bytes(self.kind, copy),
            (None, None, None) => {
                self.entry.modified();
                return Ok(());
            }
        };
        let stored = self.entry.set_value(value);
        if stored.is_err() {
            self.undo();
        } else if is_large {
            self.entry.arm_inside();
        }
        stored
    }

    /// Takes back what was done.
    fn undo(&mut self) {
        self.copy = None;
        while let Some(Done { at, len, before }) = self.splices.pop() {
            self.head = self.entry.splice(self.head, at, len, &before);
        }
    }
}

impl Splice for Block<'_, '_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.copy {
            Some(copy) => copy,
            None => self.entry.bytes_of(self.head),
        }
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        if let Some(copy) = &mut self.copy {
            return copy.splice(at, removed, new);
        }
        let bytes = self.entry.bytes_of(self.head);
        if self.head.has_room_for(bytes.len() - removed + new.len()) {
            let before = SmallVec::from_slice(&bytes[at..at + removed]);
            self.splices.push(Done { at, len: new.len(), before });
            self.head = self.entry.splice(self.head, at, removed, new);
        } else {
            let mut copy = Copy::from_slice(bytes);
            copy.splice(at, removed, new);
            self.copy = Some(copy);
        }
    }
}

impl Packed for Block<'_, '_> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
        if self.copy.is_none() {
            self.copy = Some(Copy::from_slice(self.bytes()));
        }
    }
}

/// A packed collection that is new.
struct Fresh {
    kind: Kind,
    bytes: Copy,
}

impl Splice for Fresh {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        self.bytes.splice(at, removed, new);
    }
}

impl Packed for Fresh {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }
}

type Copy = SmallVec<[u8; 256]>;

impl Splice for Copy {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        let kept = removed.min(new.len());
        self[at..at + kept].copy_from_slice(&new[..kept]);
        if removed > kept {
            self.drain(at + kept..at + removed);
        } else {
            self.insert_from_slice(at + kept, &new[kept..]);
        }
    }
}

impl Db<'_> {
    /// Arms the timer of a value that was inserted whole and has deadlines inside.
    pub(crate) fn arm_inside(&mut self, key: &Key<'_>) {
        if let Some(deadline) = self.peek(key).and_then(|entry| entry.value().next_deadline()) {
            self.arm(key, deadline);
        }
    }
}

/// Reclaims the expired elements of a collection, and the collection with its last one. Returns how many went.
pub(crate) fn expire_elements(db: &mut Db<'_>, key: &Key<'_>) -> usize {
    let (now, changes) = (db.now(), db.changes());
    let Some(mut entry) = db.lookup_mut_untouched(key) else { return 0 };
    let expired = entry.edit_owned(|value, seed| {
        let expired = value.take_expired(seed, now);
        let changed = !expired.is_empty();
        ((expired, value.elements() == 0), changed)
    });
    // Without memory for the entry they wait for the next time.
    let (expired, is_empty) = expired.ok().flatten().unwrap_or_default();
    if expired.is_empty() {
        return 0;
    }
    if is_empty {
        entry.remove();
    }
    // Only hashes have elements that expire.
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
mod tests;
