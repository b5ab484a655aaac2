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
use crate::store::memory::{Held, OutOfMemory, PAGE, Pool};
use crate::sync::Arc;

/// A type of collection, as its large values are.
pub(crate) trait Collection: Rooted + Into<Owned> {
    const TYPE: Type;

    /// How a new one is packed, and its bytes when it is empty. `None`: it is large from the beginning.
    const NEW: Option<(Kind, &'static [u8])>;

    /// Whether a key goes with the last element.
    const GOES_WHEN_EMPTY: bool = true;

    /// Up to where it stays packed.
    type Limits: Copy;

    fn limits(options: &Hot) -> Self::Limits;

    /// A large one without elements.
    fn new(pool: &Arc<Pool>) -> Self;

    /// The large one, if that is what it is.
    fn of_owned(owned: &mut Owned) -> Option<&mut Self>;

    /// Whether packed bytes of that kind hold no element.
    fn is_empty(kind: Kind, packed: &[u8]) -> bool;

    /// A large one of the elements of packed bytes of that kind.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    fn unpack(kind: Kind, packed: &[u8], pool: &Arc<Pool>, seed: &HashSeed) -> Result<Self, OutOfMemory>;

    /// A copy that shares its memory, with timers of its own.
    fn duplicate(&self) -> Self;

    /// Takes the place of what it has become in an entry that is being edited, whose pages go.
    fn become_again(&mut self, before: Self);

    /// Whether its memory is in pages, beside the root.
    fn is_in_pages(&self) -> bool;

    /// The bytes that one packs into which has shrunk so much that it is to be packed again.
    fn repack(&self, _: Self::Limits) -> Option<(Kind, Vec<u8>)> {
        None
    }
}

/// Bytes that can be spliced.
pub(crate) trait Splice {
    fn bytes(&self) -> &[u8];

    /// Puts `new` in the place of the `removed` bytes from `at` on.
    fn splice(&mut self, at: usize, removed: usize, new: &[u8]);
}

/// A packed collection that is being changed.
pub(crate) trait Packed: Splice {
    fn kind(&self) -> Kind;

    /// Says that the bytes are to be packed in another way from now on. Whoever calls this splices all of them.
    fn set_kind(&mut self, kind: Kind);
}

/// A packed collection that stands in no entry.
pub(crate) struct Loose {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Loose {
    pub(crate) fn new(kind: Kind, bytes: &[u8]) -> Self {
        Self { kind, bytes: bytes.to_vec() }
    }

    pub(crate) fn into_parts(self) -> (Kind, Vec<u8>) {
        (self.kind, self.bytes)
    }
}

impl Splice for Loose {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        Splice::splice(&mut self.bytes, at, removed, new);
    }
}

impl Packed for Loose {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }
}

impl Splice for Vec<u8> {
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
pub(crate) struct Editing<'e, T: Collection> {
    pub(super) form: Form<'e, T>,
    pub(super) limits: T::Limits,
    pub(super) seed: &'e HashSeed,
    pool: &'e Arc<Pool>,
    time: &'e LazyTime<'e>,
    pub(super) has_changed: bool,
    /// Something was changed that only the log is to hear of.
    pub(super) is_unheard: bool,
    /// There was no memory for something: nothing is changed from then on, and the edit fails.
    pub(super) is_refused: bool,
    /// A large one has shrunk, and is packed again if it is small enough.
    pub(super) may_repack: bool,
    /// What makes several changes of a large one all or nothing.
    surety: Option<Box<Surety<'e, T>>>,
}

/// What makes several changes of a large collection all or nothing.
enum Surety<'e, T> {
    /// Memory for all of them is held.
    Held(#[expect(dead_code, reason = "what counts is when it is dropped")] Held<'e>),
    /// What it was before, while memory is short.
    Before(T),
}

pub(super) enum Form<'e, T> {
    Packed(&'e mut dyn Packed),
    /// Just unpacked.
    Unpacked(T),
    Large(&'e mut T),
}

/// What an edit has to know beside the collection.
pub(crate) struct Around<'e, T: Collection> {
    pub(crate) limits: T::Limits,
    pub(crate) seed: &'e HashSeed,
    pub(crate) pool: &'e Arc<Pool>,
    pub(crate) time: &'e LazyTime<'e>,
}

/// What an edit has come to.
pub(crate) struct Edited<T> {
    /// Elements are other than before, or have another value or deadline.
    pub(crate) has_changed: bool,
    /// Something else was changed, of which only the log is to hear.
    pub(crate) is_unheard: bool,
    /// The key goes, since nothing is left.
    pub(crate) goes: bool,
    /// What packed bytes were unpacked into: they are of no use any more. Where nothing `has_changed`, the elements are the same.
    pub(crate) unpacked: Option<T>,
    /// What a large one was packed into, and is to be replaced by.
    pub(crate) repacked: Option<(Kind, Vec<u8>)>,
}

impl<'e, T: Collection> Editing<'e, T> {
    /// Of a packed collection.
    pub(crate) fn packed(packed: &'e mut dyn Packed, around: Around<'e, T>) -> Self {
        Self::of(Form::Packed(packed), around)
    }

    /// Of one that is large from the beginning, and new.
    pub(crate) fn unpacked(around: Around<'e, T>) -> Self {
        Self::of(Form::Unpacked(T::new(around.pool)), around)
    }

    /// Of a large one.
    pub(crate) fn large(large: &'e mut T, around: Around<'e, T>) -> Self {
        Self::of(Form::Large(large), around)
    }

    #[inline]
    fn of(form: Form<'e, T>, Around { limits, seed, pool, time }: Around<'e, T>) -> Self {
        Self {
            form,
            limits,
            seed,
            pool,
            time,
            has_changed: false,
            is_unheard: false,
            is_refused: false,
            may_repack: false,
            surety: None,
        }
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
        if let (Some(surety), Form::Large(large)) = (self.surety.take(), &mut self.form)
            && let Surety::Before(before) = *surety
        {
            large.become_again(before);
            self.has_changed = false;
            self.is_unheard = false;
        }
        Err(OutOfMemory.into())
    }

    /// Announces that so many elements are about to be changed, by so many bytes: all of them are, or none. Each single change undoes itself, and what is
    /// packed is taken back whole; for several of a large collection memory is held. While that is short, it is shared with what it was instead, which
    /// costs a copy of each page that is written to.
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
        if self.surety.is_some() {
            // Who announced the whole has seen to its parts.
            return;
        }
        let held = if large.is_in_pages() { self.pool.hold(pages) } else { None };
        self.surety = Some(Box::new(match held {
            Some(held) => Surety::Held(held),
            None => Surety::Before(large.duplicate()),
        }));
    }

    /// Ends the edit.
    #[inline]
    pub(crate) fn end(self) -> Edited<T> {
        let (has_changed, is_unheard) = (self.has_changed, self.is_unheard);
        let repack = |large: &T, goes: bool| {
            if self.may_repack && !goes { large.repack(self.limits) } else { None }
        };
        match self.form {
            Form::Packed(packed) => {
                let goes = T::GOES_WHEN_EMPTY && T::is_empty(packed.kind(), packed.bytes());
                Edited { has_changed, is_unheard, goes, unpacked: None, repacked: None }
            }
            Form::Unpacked(large) => {
                let goes = T::GOES_WHEN_EMPTY && large.elements() == 0;
                let repacked = repack(&large, goes);
                let unpacked = if repacked.is_some() { None } else { Some(large) };
                Edited { has_changed, is_unheard, goes, unpacked, repacked }
            }
            Form::Large(large) => {
                let goes = T::GOES_WHEN_EMPTY && large.elements() == 0;
                Edited { has_changed, is_unheard, goes, unpacked: None, repacked: repack(large, goes) }
            }
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

    /// Unpacks a packed collection. That changes none of its elements.
    pub(super) fn unpack(&mut self) {
        let Form::Packed(packed) = &self.form else { return };
        match T::unpack(packed.kind(), packed.bytes(), self.pool, self.seed) {
            Ok(large) => {
                self.form = Form::Unpacked(large);
            }
            Err(OutOfMemory) => self.is_refused = true,
        }
    }
}
