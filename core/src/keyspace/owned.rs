//! Values with memory of their own: how they come into entries and out of them.
//!
//! An entry holds the root of such a value, which is numbers. Outside of entries it is an [`Owned`], which gives its memory back when it is
//! dropped. So there is always one owner: [`ShardData::settle`] makes the entry the owner, [`ShardData::unload`] whoever called it.

use std::sync::atomic::Ordering;

use super::entry::Head;
use super::shard::ShardData;
use crate::store::HashSeed;
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, Ref};
use crate::store::wheel::Wheel;
use crate::value::long::LongString;
use crate::value::{Kind, MAX_IN_ARENA, NewValue, Owned, Root};

/// A value as the bytes of an entry. It owns what it owned before: [`ShardData::settle`] or [`ShardData::abandon`] it.
pub(super) struct Encoded<'v> {
    kind: Kind,
    bytes: Bytes<'v>,
    owned: Option<Owned>,
    wheel_place: Option<usize>,
}

enum Bytes<'v> {
    Borrowed(&'v [u8]),
    Number([u8; 8]),
    Made(Vec<u8>),
}

impl Encoded<'_> {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Number(bytes) => bytes,
            Bytes::Made(bytes) => bytes,
        }
    }
}

/// Bytes before a root, behind a key of that length: words stand at multiples of their size.
pub(super) fn padding(key_len: usize) -> usize {
    key_len.wrapping_neg() % 8
}

/// The bytes that stand in the entry of a key of that length.
fn stored(owned: &Owned, key_len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    owned.with_root(&mut |root| {
        bytes = vec![0; padding(key_len) + size_of_val(root)];
        let places = bytes[padding(key_len)..].as_chunks_mut::<8>().0;
        for (place, word) in places.iter_mut().zip(root) {
            *place = word.load(Ordering::Relaxed).to_le_bytes();
        }
    });
    bytes
}

impl ShardData {
    /// A value as it is to stand in the entry of a key of that length.
    ///
    /// # Errors
    /// There is no memory for a long string.
    #[inline]
    pub(super) fn encode<'v>(
        &mut self,
        value: NewValue<'v>,
        key_len: usize,
    ) -> Result<Encoded<'v>, OutOfMemory> {
        let owned = match value {
            NewValue::Bytes(Kind::Raw | Kind::Embedded, bytes) if bytes.len() > MAX_IN_ARENA => {
                LongString::new(self.arena.pool(), bytes, 0)?.into()
            }
            NewValue::Bytes(kind, bytes) => {
                return Ok(Encoded { kind, bytes: Bytes::Borrowed(bytes), owned: None, wheel_place: None });
            }
            NewValue::Int(number) => {
                let bytes = Bytes::Number(number.to_le_bytes());
                return Ok(Encoded { kind: Kind::Int, bytes, owned: None, wheel_place: None });
            }
            NewValue::Owned(owned) => owned,
        };
        Ok(self.encode_owned(owned, key_len))
    }

    #[inline(never)]
    fn encode_owned<'v>(&mut self, mut owned: Owned, key_len: usize) -> Encoded<'v> {
        let wheel_place = self.keep_wheel(&mut owned, None);
        let bytes = Bytes::Made(stored(&owned, key_len));
        Encoded { kind: owned.kind(), bytes, owned: Some(owned), wheel_place }
    }

    /// The value stands in an entry now, which owns what it owns.
    #[inline]
    pub(super) fn settle(&mut self, encoded: Encoded<'_>) {
        if let Some(mut owned) = encoded.owned {
            self.owners += 1;
            owned.set_left(true);
        }
    }

    /// The value stands in no entry.
    pub(super) fn abandon(&mut self, encoded: Encoded<'_>) {
        if let Some(place) = encoded.wheel_place {
            self.wheels.remove(place);
        }
    }

    /// Keeps the wheel of a value, if it has one, at the place that it had, and has the value name that.
    fn keep_wheel(&mut self, owned: &mut Owned, place: Option<usize>) -> Option<usize> {
        let place = owned.take_wheel().map(|wheel| self.wheels.keep(place, wheel));
        owned.set_wheel_place(place);
        place
    }

    /// The root that the entry at `at` holds.
    #[inline]
    pub(super) fn root(&self, at: Ref, head: Head) -> Root<'_> {
        let padding = padding(head.key_len);
        let first = (head.value_at() + padding) / 8;
        let words = self.arena.block(at).words().from(first).first((head.value_len - padding) / 8);
        Root { words, region: self.arena.region(), seed: &self.shared.seed }
    }

    /// Where the wheel of the value of an entry is.
    fn wheel_place(&self, at: Ref, head: Head) -> Option<usize> {
        head.kind().wheel_place(self.root(at, head))
    }

    /// Bytes that an entry owns beside itself.
    pub(super) fn owned_bytes(&self, at: Ref, head: Head) -> usize {
        if !head.kind().owns() {
            return 0;
        }
        let wheel = self.wheel_place(at, head).and_then(|place| self.wheels.get(place));
        let pages = head.kind().page_bytes(self.root(at, head), self.arena.pool());
        pages + wheel.map_or(0, Wheel::bytes)
    }

    /// What an entry owns, and goes on owning: a panic of whoever looks at it gives nothing away.
    fn look_at(&self, at: Ref, head: Head) -> Owned {
        let owned = head.kind().owner(self.root(at, head).words, self.arena.pool());
        let mut owned = owned.expect("the caller knows that the entry holds a root");
        owned.set_left(true);
        owned
    }

    /// Takes what an entry owns, which is about to go.
    pub(super) fn unload(&mut self, at: Ref, head: Head) -> Owned {
        let mut owned = self.look_at(at, head);
        if let Some(place) = self.wheel_place(at, head) {
            owned.set_wheel(self.wheels.remove(place));
        }
        self.owners -= 1;
        owned.set_left(false);
        owned
    }

    /// Gives an entry back what [`ShardData::unload`] took, unchanged.
    pub(super) fn reload(&mut self, at: Ref, mut owned: Owned) {
        self.keep_wheel(&mut owned, None);
        let head = self.head(at);
        self.arena.write(at, head.value_at(), [&stored(&owned, head.key_len)]);
        self.owners += 1;
        owned.set_left(true);
    }

    /// A copy of what an entry owns, which shares its memory. O(elements with deadlines).
    pub(crate) fn share(&self, at: Ref) -> Owned {
        let mut copy = self.share_without_timers(at);
        let wheel = self.wheel_place(at, self.head(at)).and_then(|place| self.wheels.get(place));
        copy.set_wheel(wheel.map(|wheel| Box::new(wheel.duplicate())));
        copy
    }

    /// [`ShardData::share`] without timers: for whoever takes these from the entry later. O(1).
    pub(crate) fn share_without_timers(&self, at: Ref) -> Owned {
        self.look_at(at, self.head(at)).share()
    }

    /// Has the entry at `at` hold what has become of the root that it held. Returns where it is now.
    ///
    /// # Errors
    /// There is no memory for another size; the entry is as it was.
    fn put_root(
        &mut self,
        db: usize,
        hash: u64,
        (at, head): (Ref, Head),
        owned: &Owned,
    ) -> Result<Ref, OutOfMemory> {
        debug_assert_eq!(owned.kind(), head.kind(), "an edit leaves a value what it is");
        let mut put = Ok(at);
        owned.with_root(&mut |root| {
            let len = padding(head.key_len) + size_of_val(root);
            // What has pages has a root of fixed size: nothing can go wrong with it.
            put = if len == head.value_len { Ok(at) } else { self.resize(db, hash, (at, head), len) };
            if let Ok(at) = put {
                self.root(at, self.head(at)).words.copy_from(Words::new(root), root.len());
            }
        });
        put
    }

    /// Gives a root another length: the caller writes it. Returns where the entry is now.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    fn resize(
        &mut self,
        db: usize,
        hash: u64,
        (at, head): (Ref, Head),
        len: usize,
    ) -> Result<Ref, OutOfMemory> {
        if head.has_room_for(len) {
            head.resized(&self.arena, at, len);
            return Ok(at);
        }
        let new = self.arena.alloc(head.size() - head.value_len + len)?;
        head.copy_resized(&self.arena, at, new, len);
        self.refer(db, hash, at, new);
        self.arena.free(at, head.size());
        Ok(new)
    }

    /// Edits what the entry at `at` owns. `edit` says whether it changed anything beside what it returns. Returns where the entry is now.
    ///
    /// # Errors
    /// There is no memory for the entry's new size; then it is as it was.
    pub(crate) fn edit_owned<R>(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        edit: impl FnOnce(&mut Owned, &HashSeed) -> (R, bool),
    ) -> Result<(Ref, R, bool), OutOfMemory> {
        let (head, had_inside) = (self.head(at), self.has_inside(at));
        let mut owned = self.look_at(at, head);
        let place = self.wheel_place(at, head);
        owned.set_wheel(place.and_then(|place| self.wheels.take(place)));
        let (result, changed) = edit(&mut owned, &self.shared.seed);
        let wheel_place = self.keep_wheel(&mut owned, place);
        match self.put_root(db, hash, (at, head), &owned) {
            Ok(at) => {
                if let Some(place) = place.filter(|_| wheel_place.is_none()) {
                    self.wheels.vacate(place);
                }
                owned.set_left(true);
                self.inside_changed(db, had_inside, self.has_inside(at));
                Ok((at, result, changed))
            }
            Err(error) => {
                // The entry had no pages, or its root would have been of fixed size: those there are now are nobody's.
                owned.set_left(false);
                // The root in the entry still names the place, if it named one; timers of fields that are not there are dropped as they fire.
                match (place, wheel_place) {
                    (Some(place), None) => {
                        let timers = self.look_at(at, head).timers_anew(&self.shared.seed);
                        self.wheels.keep(Some(place), timers);
                    }
                    (None, Some(place)) => drop(self.wheels.remove(place)),
                    _ => {}
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
