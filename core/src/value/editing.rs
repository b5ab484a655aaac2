//! A collection that is being changed, whatever its encoding: what all types share of it. Each type adds its own operations to [`Editing`], in its file.
//!
//! A small collection is packed: bytes that are spliced where they stand, or wherever the keyspace moves them to ([`Packed`]). One that outgrows its
//! limits is unpacked into a value with memory of its own, and stays one. Where either comes from and goes to is the keyspace's affair.

use std::cell::Cell;

use super::kind::{Kind, Owned, Type};
use super::rooted::Rooted;
use crate::clock::Clock;
use crate::config::Hot;
use crate::error::Result;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, PAGE, Pool};
use crate::sync::Arc;

/// A type of collection.
pub(crate) trait Collection: Rooted + Into<Owned> {
    const TYPE: Type;

    /// The encoding of a new one, and its bytes when it is empty.
    const PACKED: Kind;
    const EMPTY: &'static [u8];

    /// Up to where it stays packed.
    fn limits(options: &Hot) -> Limits;

    /// The large one, if that is what it is.
    fn of_owned(owned: &mut Owned) -> Option<&mut Self>;

    /// Whether packed bytes hold no element.
    fn is_empty(packed: &[u8]) -> bool;

    /// A large one of the same elements.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    fn unpack(packed: &[u8], pool: &Arc<Pool>, seed: &HashSeed) -> Result<Self, OutOfMemory>;

    /// A copy that shares its memory, with timers of its own.
    fn duplicate(&self) -> Self;

    /// Takes the place of what it has become in an entry that is being edited, whose pages go.
    fn become_again(&mut self, before: Self);

    /// Whether its memory is in pages, beside the root.
    fn is_in_pages(&self) -> bool;
}

/// Up to where a collection stays packed.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) elements: usize,
    /// The length of one.
    pub(crate) bytes: usize,
}

impl Limits {
    /// Whether an element of that length may stand in a packed collection.
    #[inline]
    pub(crate) fn allow(self, len: usize) -> bool {
        len <= self.bytes
    }
}

/// The bytes of a packed collection that is being changed.
pub(crate) trait Packed {
    fn bytes(&self) -> &[u8];

    /// Puts `new` in the place of the `removed` bytes from `at` on.
    fn splice(&mut self, at: usize, removed: usize, new: &[u8]);
}

impl Packed for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        Vec::splice(self, at..at + removed, new.iter().copied());
    }
}

/// The time, read when it is first asked for.
pub(crate) struct LazyTime<'e> {
    clock: &'e Clock,
    /// Unix milliseconds; 0 is "not yet".
    read: Cell<u64>,
}

impl<'e> LazyTime<'e> {
    /// `read` is what the time was read as, or 0.
    pub(crate) fn new(clock: &'e Clock, read: u64) -> Self {
        Self { clock, read: Cell::new(read) }
    }

    pub(crate) fn now(&self) -> u64 {
        if self.read.get() == 0 {
            self.read.set(self.clock.now_ms());
        }
        self.read.get()
    }

    /// What it was read as; 0 is "never".
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }
}

/// See the module's text.
pub(crate) struct Editing<'e, T> {
    pub(super) form: Form<'e, T>,
    pub(super) limits: Limits,
    pub(super) seed: &'e HashSeed,
    pool: &'e Arc<Pool>,
    time: &'e LazyTime<'e>,
    pub(super) has_changed: bool,
    /// There was no memory for something: nothing is changed from then on, and the edit fails.
    pub(super) is_refused: bool,
    /// What a large one was before several changes, while memory is short.
    before: Option<Box<T>>,
}

pub(super) enum Form<'e, T> {
    Packed(&'e mut dyn Packed),
    /// Just unpacked.
    Unpacked(T),
    Large(&'e mut T),
}

/// What an edit has come to.
pub(crate) struct Edited<T> {
    pub(crate) has_changed: bool,
    pub(crate) is_empty: bool,
    /// What packed bytes were unpacked into: they are of no use any more.
    pub(crate) unpacked: Option<T>,
}

impl<'e, T: Collection> Editing<'e, T> {
    /// Of a packed collection.
    pub(crate) fn packed(
        packed: &'e mut dyn Packed,
        limits: Limits,
        (seed, pool): (&'e HashSeed, &'e Arc<Pool>),
        time: &'e LazyTime<'e>,
    ) -> Self {
        let form = Form::Packed(packed);
        Self { form, limits, seed, pool, time, has_changed: false, is_refused: false, before: None }
    }

    /// Of a large one.
    pub(crate) fn large(
        large: &'e mut T,
        limits: Limits,
        (seed, pool): (&'e HashSeed, &'e Arc<Pool>),
        time: &'e LazyTime<'e>,
    ) -> Self {
        let form = Form::Large(large);
        Self { form, limits, seed, pool, time, has_changed: false, is_refused: false, before: None }
    }

    /// Whether it is packed still.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// Unix milliseconds, for deadlines.
    pub(crate) fn now(&self) -> u64 {
        self.time.now()
    }

    /// Runs an edit. What there was no memory for makes it fail.
    #[inline]
    pub(crate) fn run<R>(&mut self, edit: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let result = edit(self)?;
        if !self.is_refused {
            return Ok(result);
        }
        if let (Some(before), Form::Large(large)) = (self.before.take(), &mut self.form) {
            large.become_again(*before);
            self.has_changed = false;
        }
        Err(OutOfMemory.into())
    }

    /// Announces that so many elements are about to be changed, by so many bytes: all of them are, or none. Each single change undoes itself, and what is
    /// packed is taken back whole; for several a large collection is shared with what it was, which costs a copy of each page that is written to. So it
    /// is only done while memory is short.
    #[inline]
    pub(crate) fn expect(&mut self, changes: usize, bytes: impl FnOnce() -> usize) {
        if changes > 1 {
            self.expect_several(changes, bytes());
        }
    }

    #[inline(never)]
    pub(super) fn expect_several(&mut self, changes: usize, bytes: usize) {
        /// Pages that a change may take: of the element, of its bucket, and of the way to either.
        const PAGES: usize = 4;
        /// Those that the first changes may take beside them.
        const AT_FIRST: usize = 64;
        let Form::Large(large) = &self.form else { return };
        let pages = changes * PAGES + bytes.div_ceil(PAGE) * 2 + AT_FIRST;
        if !(large.is_in_pages() && self.pool.has_plenty(pages)) {
            self.before = Some(Box::new(large.duplicate()));
        }
    }

    /// Ends the edit.
    #[inline]
    pub(crate) fn end(self) -> Edited<T> {
        let has_changed = self.has_changed;
        match self.form {
            Form::Packed(packed) => {
                Edited { has_changed, is_empty: T::is_empty(packed.bytes()), unpacked: None }
            }
            Form::Unpacked(large) => {
                Edited { has_changed, is_empty: large.elements() == 0, unpacked: Some(large) }
            }
            Form::Large(large) => Edited { has_changed, is_empty: large.elements() == 0, unpacked: None },
        }
    }

    /// Changes a large collection, unless there was no memory before.
    pub(super) fn change<R>(
        &mut self,
        change: impl FnOnce(&mut T, &HashSeed) -> Result<R, OutOfMemory>,
    ) -> Option<R> {
        if self.is_refused {
            return None;
        }
        let large = match &mut self.form {
            Form::Unpacked(large) => large,
            Form::Large(large) => large,
            Form::Packed(_) => unreachable!("the caller has unpacked it"),
        };
        let changed = change(large, self.seed);
        self.is_refused = changed.is_err();
        changed.ok()
    }

    /// Unpacks a packed collection.
    pub(super) fn unpack(&mut self) {
        let Form::Packed(packed) = &self.form else { return };
        match T::unpack(packed.bytes(), self.pool, self.seed) {
            Ok(large) => {
                self.form = Form::Unpacked(large);
                self.has_changed = true;
            }
            Err(OutOfMemory) => self.is_refused = true,
        }
    }
}
