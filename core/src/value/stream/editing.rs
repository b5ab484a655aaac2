//! Changing a stream. It is large from the beginning: what is small stands in its entry all the same.

use super::StreamRef;
use super::large::{NodeLimits, Stream};
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
    const NEW: Option<(Kind, &'static [u8])> = None;
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

    fn is_empty(_: Kind, _: &[u8]) -> bool {
        unreachable!("no stream is packed")
    }

    fn unpack(_: Kind, _: &[u8], _: &Arc<Pool>, _: &HashSeed) -> Result<Self, OutOfMemory> {
        unreachable!("no stream is packed")
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
}

impl Editing<'_, Stream> {
    pub(crate) fn as_ref(&self) -> StreamRef<'_> {
        match &self.form {
            Form::Unpacked(stream) => stream.as_ref(),
            Form::Large(stream) => stream.as_ref(),
            Form::Packed(_) => unreachable!("no stream is packed"),
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
        self.change(|stream, _| {
            let changed = change(stream);
            stream.tidy();
            changed
        })
    }
}
