//! The table encoding of a hash: a collection of fields, and a timing wheel for those with deadlines.
//!
//! ```text
//! byte 0      1 if a deadline follows
//! [8 bytes]   deadline, unix milliseconds
//! varint      length of the field
//! varint      length of the value
//! field, value, padding to 8
//! ```
//!
//! What the collection keeps of the hash beside fields: how many have a deadline, the earliest time at which one may be due, and the time for which
//! the key's shard has a timer. The wheel stands beside: timers are in no file, but follow from the fields.

use std::sync::atomic::AtomicU64;

use crate::store::collection::{Collection, Elements, Own, View};
use crate::store::key::{hash_of_timer, timer_id};
use crate::store::memory::chunks::PutPages;
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, Pool, Ref};
use crate::store::wheel::{Fired, Wheel};
use crate::store::{HashSeed, random};
use crate::sync::Arc;
use crate::value::{Root, Rooted};

/// Fields with a deadline.
const EXPIRING: Own = Own::First;
/// When a field may be due, at the earliest; 0 for never.
const NEXT: Own = Own::Second;
/// The earliest time for which the key's shard has a timer for this hash; 0 for none.
const ARMED: Own = Own::Third;
/// The place of the wheel among those of the shard, plus one.
const WHEEL: Own = Own::Half;

/// Fields with their values.
struct Fields;

impl Elements for Fields {
    fn size(head: &[u8]) -> usize {
        let head = Head::of(head);
        head.end()
    }

    fn key(element: &[u8]) -> &[u8] {
        Field::of(element).field
    }
}

/// A hash with a table that is read.
#[derive(Clone, Copy)]
pub(crate) struct TableRef<'a> {
    view: View<'a>,
    seed: &'a HashSeed,
}

/// A hash with a table that is changed: one that stands in no entry, or not at the moment. It owns its memory.
pub(crate) struct Hash {
    collection: Collection,
    /// Timers of fields, from the first that was given a deadline on.
    wheel: Option<Box<Wheel>>,
}

/// A field found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) field: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) deadline: Option<u64>,
}

impl<'a> Field<'a> {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }

    #[inline]
    fn of(bytes: &'a [u8]) -> Self {
        let head = Head::of(bytes);
        let (field, value) = bytes[head.len..head.end()].split_at(head.field);
        Self { field, value, deadline: head.deadline }
    }
}

impl<'a> TableRef<'a> {
    #[inline]
    pub(crate) fn new(root: Root<'a>) -> Self {
        Self { view: View::new(root.words, root.region), seed: root.seed }
    }

    /// A field that has not expired. O(1).
    #[inline]
    pub(crate) fn get(&self, field: &[u8], now: u64) -> Option<Field<'a>> {
        let (_, element) = self.view.find::<Fields>(self.seed, field)?;
        Some(Field::of(element)).filter(|found| found.is_live(now))
    }

    /// Number of fields, expired ones included.
    pub(crate) fn len(&self) -> usize {
        self.view.len()
    }

    /// Number of fields that have not expired.
    pub(crate) fn live_len(&self, now: u64) -> usize {
        match self.next_deadline() {
            Some(deadline) if deadline <= now => {
                let mut live = 0;
                self.each(|found| live += usize::from(found.is_live(now)));
                live
            }
            _ => self.len(),
        }
    }

    /// Visits all fields, in no order.
    pub(crate) fn each(&self, mut visit: impl FnMut(Field<'a>)) {
        self.view.each::<Fields>(|element| visit(Field::of(element)));
    }

    pub(crate) fn scan(&self, mut cursor: u64, count: usize, mut visit: impl FnMut(Field<'a>)) -> u64 {
        let mut seen = 0;
        loop {
            cursor = self.view.scan::<Fields>(cursor, |element| {
                seen += 1;
                visit(Field::of(element));
            });
            if cursor == 0 || seen >= count {
                return cursor;
            }
        }
    }

    /// A live field drawn with equal chances.
    pub(crate) fn random(&self, now: u64) -> Option<Field<'a>> {
        /// Draws that may meet an expired field before all live ones are listed.
        const DRAWS: usize = 32;
        for _ in 0..DRAWS {
            let found = Field::of(self.view.random::<Fields>(&mut random)?);
            if found.is_live(now) {
                return Some(found);
            }
        }
        let mut live = Vec::new();
        self.each(|found| live.extend(found.is_live(now).then_some(found)));
        let drawn = random().checked_rem(live.len() as u64)?;
        Some(live[drawn as usize])
    }

    /// A time not after the earliest deadline of a field.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        Some(self.view.own(NEXT)).filter(|next| *next != 0)
    }

    /// Bytes that it takes beside its root and its wheel.
    pub(crate) fn page_bytes(&self) -> usize {
        self.view.pages() * crate::store::memory::PAGE
    }
}

impl std::fmt::Debug for TableRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        self.each(|found| {
            map.entry(&found.field, &found.value);
        });
        map.finish()
    }
}

impl Hash {
    /// An empty one.
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()), wheel: None }
    }

    pub(crate) fn as_ref<'a>(&'a self, seed: &'a HashSeed) -> TableRef<'a> {
        TableRef { view: self.collection.view(), seed }
    }

    /// A copy that shares its memory, with a wheel of its own. O(fields with deadlines).
    pub(super) fn duplicate_with_wheel(&self) -> Self {
        let wheel = self.wheel.as_ref().map(|wheel| Box::new(wheel.duplicate()));
        Self { collection: self.collection.share(), wheel }
    }

    /// Whether its memory is in pages, beside the root.
    pub(super) fn has_pages(&self) -> bool {
        self.collection.is_in_pages()
    }

    /// Number of fields, expired ones included.
    pub(crate) fn len(&self) -> usize {
        self.collection.view().len()
    }

    /// Sets a field with its deadline and says whether it is new. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn set(
        &mut self,
        seed: &HashSeed,
        field: &[u8],
        value: &[u8],
        deadline: Option<u64>,
    ) -> Result<bool, OutOfMemory> {
        let mut head = [0; LONGEST_HEAD];
        let head = encode_head(&mut head, field, value, deadline);
        let old = self.collection.view().find::<Fields>(seed, field);
        let old = old.map(|(block, element)| (block, element.len(), Field::of(element).deadline));
        match old {
            Some((block, size, _)) => {
                self.collection.replace::<Fields, 3>(seed, field, (block, size), [head, field, value])?;
            }
            None => {
                self.collection.insert::<Fields, 3>(seed, field, [head, field, value])?;
            }
        }
        self.deadline_changed(seed.hash(field), old.and_then(|(.., deadline)| deadline), deadline);
        self.tidy(seed);
        Ok(old.is_none())
    }

    /// Removes a field and says whether it was there, expired or not. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`] where its memory is shared; nothing has changed.
    pub(crate) fn remove(&mut self, seed: &HashSeed, field: &[u8]) -> Result<bool, OutOfMemory> {
        let Some((block, element)) = self.collection.view().find::<Fields>(seed, field) else {
            return Ok(false);
        };
        let (size, deadline) = (element.len(), Field::of(element).deadline);
        self.collection.remove::<Fields>(seed, field, (block, size))?;
        self.deadline_changed(seed.hash(field), deadline, None);
        self.tidy(seed);
        Ok(true)
    }

    /// Writes a hash anew that is short and mostly holes.
    fn tidy(&mut self, seed: &HashSeed) {
        if !self.collection.is_wasteful() {
            return;
        }
        let mut new = Collection::new(self.collection.pool().clone());
        let mut is_whole = true;
        self.collection.view().each::<Fields>(|element| {
            is_whole &= new.insert::<Fields, 1>(seed, Field::of(element).field, [element]).is_ok();
        });
        // A root in an entry that is of fixed size stays one: putting it back can't fail. Without memory all stays as it is.
        if is_whole && (!self.collection.is_in_pages() || new.move_to_pages().is_ok()) {
            for which in [EXPIRING, NEXT, ARMED, WHEEL] {
                new.set_own(which, self.collection.view().own(which));
            }
            // Its pages go, whoever owned them: the new root takes the old one's place.
            self.collection.set_left(false);
            self.collection = new;
        }
    }

    fn deadline_changed(&mut self, hash: u64, before: Option<u64>, after: Option<u64>) {
        if before.is_none() && after.is_none() {
            return;
        }
        let expiring =
            self.collection.view().own(EXPIRING) + u64::from(after.is_some()) - u64::from(before.is_some());
        self.collection.set_own(EXPIRING, expiring);
        if expiring == 0 {
            self.wheel = None;
            self.forget_timer();
        } else if let Some(after) = after
            && before.is_none_or(|before| after < before)
        {
            let wheel = self.wheel.get_or_insert_with(|| Box::new(Wheel::new(0)));
            // Without memory for a timer the field still expires on time; only its memory waits.
            let _ = wheel.arm(after, timer_id(hash));
        }
        self.note_next();
    }

    fn note_next(&mut self) {
        let next = self.wheel.as_ref().and_then(|wheel| wheel.next_tick());
        // A time that is 0 has passed, as 1 has: and where there is a deadline without a timer it may have, for all that is known.
        let unknown = u64::from(self.collection.view().own(EXPIRING) > 0);
        self.collection.set_own(NEXT, next.map_or(unknown, |next| next.max(1)));
    }

    /// What is to happen to a timer: the fields it may stand for are due, or have a later deadline.
    fn judge(&self, id: u32, now: u64, due: &mut Vec<Vec<u8>>) -> Fired {
        let mut next: Option<u64> = None;
        let view = self.collection.view();
        view.table().find(&view, hash_of_timer(id), |at: Ref| {
            let found = Field::of(view.element::<Fields>(at));
            match found.deadline {
                Some(deadline) if deadline <= now => due.push(found.field.to_vec()),
                Some(deadline) => next = Some(next.map_or(deadline, |earlier| earlier.min(deadline))),
                None => {}
            }
            false
        });
        next.map_or(Fired::Gone, Fired::Later)
    }
}

impl Rooted for Hash {
    fn of(root: Words<'_>, pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::of(root, pool.clone()), wheel: None }
    }

    fn with_root(&self, visit: &mut dyn FnMut(&[AtomicU64])) {
        visit(self.collection.root());
    }

    fn copy_pages(&self, put: PutPages<'_>) -> crate::Result<Vec<u64>> {
        let mut bare = Collection::of(Words::new(self.collection.root()), self.collection.pool().clone());
        bare.set_left(true);
        [ARMED, WHEEL].into_iter().for_each(|which| bare.set_own(which, 0));
        bare.copy_pages(put)
    }

    fn share(&self) -> Self {
        Self { collection: self.collection.share(), wheel: None }
    }

    fn set_left(&mut self, has_left: bool) {
        self.collection.set_left(has_left);
    }

    fn depart(&mut self) {
        self.collection.depart();
    }

    fn elements(&self) -> usize {
        self.len()
    }

    fn page_bytes(root: Root<'_>, _: &Pool) -> usize {
        TableRef::new(root).page_bytes()
    }

    fn next_deadline(&self) -> Option<u64> {
        Some(self.collection.view().own(NEXT)).filter(|next| *next != 0)
    }

    fn take_expired(&mut self, seed: &HashSeed, now: u64) -> Vec<Vec<u8>> {
        let Some(mut wheel) = self.wheel.take() else { return Vec::new() };
        let mut due: Vec<Vec<u8>> = Vec::new();
        while wheel.advance(now, usize::MAX, |id| self.judge(id, now, &mut due)).more {}
        self.wheel = Some(wheel);
        due.retain(|field| {
            let removed = self.remove(seed, field);
            if removed.is_err()
                && let Some(wheel) = &mut self.wheel
            {
                let _ = wheel.arm(now, timer_id(seed.hash(field)));
            }
            removed.unwrap_or(false)
        });
        self.note_next();
        self.collection.set_own(ARMED, self.next_deadline().unwrap_or(0));
        due
    }

    fn timer_to_arm(&mut self) -> Option<u64> {
        let next = self.next_deadline()?;
        let armed = self.collection.view().own(ARMED);
        if armed != 0 && armed <= next {
            return None;
        }
        self.collection.set_own(ARMED, next);
        Some(next)
    }

    fn forget_timer(&mut self) {
        self.collection.set_own(ARMED, 0);
    }

    fn take_wheel(&mut self) -> Option<Box<Wheel>> {
        self.wheel.take()
    }

    fn timers_anew(&self, seed: &HashSeed) -> Box<Wheel> {
        let mut wheel = Box::new(Wheel::new(0));
        self.as_ref(seed).each(|found| {
            if let Some(deadline) = found.deadline {
                // As above: without a timer only its memory waits.
                let _ = wheel.arm(deadline, timer_id(seed.hash(found.field)));
            }
        });
        wheel
    }

    fn set_wheel(&mut self, wheel: Option<Box<Wheel>>) {
        self.wheel = wheel;
    }

    fn set_wheel_place(&mut self, place: Option<usize>) {
        self.collection.set_own(WHEEL, place.map_or(0, |place| place as u64 + 1));
    }

    fn wheel_place(root: Root<'_>) -> Option<usize> {
        (TableRef::new(root).view.own(WHEEL) as usize).checked_sub(1)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What stands before field and value.
struct Head {
    len: usize,
    field: usize,
    value: usize,
    deadline: Option<u64>,
}

/// A flag, a deadline, and two lengths.
const LONGEST_HEAD: usize = 1 + 8 + 2 * 10;

impl Head {
    fn end(&self) -> usize {
        self.len + self.field + self.value
    }

    #[inline]
    fn of(bytes: &[u8]) -> Self {
        // Most have no deadline, and lengths of one byte each.
        if let [0, field @ 0..0x80, value @ 0..0x80, ..] = bytes {
            return Self { len: 3, field: usize::from(*field), value: usize::from(*value), deadline: None };
        }
        Self::of_any(bytes)
    }

    fn of_any(bytes: &[u8]) -> Self {
        let mut at = 1;
        let deadline = (bytes[0] != 0).then(|| {
            at = 9;
            u64::from_le_bytes(bytes[1..9].try_into().expect("a deadline is eight bytes"))
        });
        let mut length = || {
            let mut number = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes[at];
                at += 1;
                number |= usize::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            number
        };
        let (field, value) = (length(), length());
        Self { len: at, field, value, deadline }
    }
}

fn encode_head<'h>(
    head: &'h mut [u8; LONGEST_HEAD],
    field: &[u8],
    value: &[u8],
    deadline: Option<u64>,
) -> &'h [u8] {
    let mut at = 1;
    head[0] = deadline.is_some().into();
    if let Some(deadline) = deadline {
        head[1..9].copy_from_slice(&deadline.to_le_bytes());
        at = 9;
    }
    for length in [field.len(), value.len()] {
        let mut rest = length;
        while rest >= 0x80 {
            head[at] = rest as u8 | 0x80;
            rest >>= 7;
            at += 1;
        }
        head[at] = rest as u8;
        at += 1;
    }
    &head[..at]
}

#[cfg(test)]
mod tests;
