//! Changing a stream. A packed one takes entries as it is; for all else it is unpacked, and packed again if it is short then.

use super::large::{NodeLimits, Stream};
use super::{Id, StreamRef, packed};
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Editing, Form};
use crate::value::rooted::Rooted;
use crate::value::{Kind, Owned, Type};

/// A stream that is being changed.
pub(crate) type Entries<'e> = Editing<'e, Stream>;

impl Collection for Stream {
    const TYPE: Type = Type::Stream;
    const NEW: Option<(Kind, &'static [u8])> = Some((Kind::StreamPacked, &packed::EMPTY));
    const GOES_WHEN_EMPTY: bool = false;

    type Limits = NodeLimits;

    fn limits(options: &Hot) -> NodeLimits {
        NodeLimits { bytes: options.stream_node_max_bytes(), entries: options.stream_node_max_entries() }
    }

    fn new(pool: &Arc<Pool>) -> Self {
        Stream::empty(pool)
    }

    fn of_owned(owned: &mut Owned) -> Option<&mut Self> {
        match owned {
            Owned::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn is_empty(_: Kind, packed: &[u8]) -> bool {
        StreamRef::packed(packed).len() == 0
    }

    fn unpack(_: Kind, packed: &[u8], pool: &Arc<Pool>, _: &HashSeed) -> Result<Self, OutOfMemory> {
        Stream::unpack(packed, pool)
    }

    fn duplicate(&self) -> Self {
        self.share()
    }

    fn become_again(&mut self, before: Self) {
        self.set_left(false);
        *self = before;
    }

    fn is_in_pages(&self) -> bool {
        Stream::is_in_pages(self)
    }

    fn repack(&self, _: NodeLimits) -> Option<(Kind, Vec<u8>)> {
        self.pack().map(|packed| (Kind::StreamPacked, packed))
    }
}

impl Editing<'_, Stream> {
    pub(crate) fn as_ref(&self) -> StreamRef<'_> {
        match &self.form {
            Form::Unpacked(stream) => stream.as_ref(),
            Form::Large(stream) => stream.as_ref(),
            Form::Packed(packed) => StreamRef::packed(packed.bytes()),
        }
    }

    pub(crate) fn node_limits(&self) -> NodeLimits {
        self.limits
    }

    /// Makes up to so many changes, all or none: WATCH and waiters hear of it. `None`: there was no memory, and the edit fails.
    pub(crate) fn alter<R>(
        &mut self,
        changes: usize,
        change: impl FnOnce(&mut Stream) -> Result<R, OutOfMemory>,
    ) -> Option<R> {
        let changed = self.alter_unheard(changes, change);
        self.has_changed |= changed.is_some();
        changed
    }

    /// Says that what was altered unheard is to be heard of after all.
    pub(crate) fn heard(&mut self) {
        self.has_changed |= !self.is_refused;
    }

    /// Says that what was altered unheard is to be in the log.
    pub(crate) fn log(&mut self) {
        self.is_unheard |= !self.is_refused;
    }

    /// The same of what WATCH and waiters do not hear of: groups and what they have. The log hears of it after [`Editing::log`].
    pub(crate) fn alter_unheard<R>(
        &mut self,
        changes: usize,
        change: impl FnOnce(&mut Stream) -> Result<R, OutOfMemory>,
    ) -> Option<R> {
        if changes > 1 {
            // A page is copied once, however many changes there are in it.
            let pages = match &self.form {
                Form::Large(stream) => stream.pages(),
                _ => 0,
            };
            self.expect_several(changes.min(pages.max(16)), changes * 64);
        }
        let was_packed = self.is_packed();
        if !self.is_refused {
            self.unpack();
        }
        let mut is_shorter = was_packed;
        let changed = self.change(|stream, _| {
            let parts = stream.parts();
            let changed = change(stream);
            stream.tidy();
            is_shorter |= stream.parts() < parts;
            changed
        });
        self.may_repack |= is_shorter;
        changed
    }

    /// Adds an entry to a packed stream, of an ID that is greater than all before it, if it stays one. Says whether it did; nothing has changed else.
    pub(crate) fn add_packed(&mut self, id: Id, fields: &[&[u8]]) -> bool {
        let Form::Packed(packed) = &mut self.form else { return false };
        if self.is_refused {
            return false;
        }
        let Some((patch, _)) = packed::adding(packed.bytes(), |_| Some(id), fields, self.limits) else {
            return false;
        };
        patch.apply_to(&mut **packed);
        self.has_changed = true;
        true
    }
}
