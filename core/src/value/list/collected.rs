//! A list that is made in one piece, as SORT stores one: nodes first, as in the server, and a listpack if there is one node that is short enough.

use super::End;
use super::large::List;
use super::node::Growth;
use super::sizes::Fill;
use crate::config::Hot;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::Collection as _;
use crate::value::listpack::Listpack;
use crate::value::{Kind, MAX_IN_ARENA, NewValue};

/// A list on its way into an entry.
#[derive(Debug)]
pub(crate) enum Collected {
    Packed(Vec<u8>),
    Large(List),
}

/// A list that is being made.
pub(crate) struct Collecting {
    list: List,
    fill: Fill,
}

impl Collecting {
    pub(crate) fn new(options: &Hot, pool: &Arc<Pool>) -> Self {
        let (mut list, fill) = (List::empty(pool), List::limits(options));
        list.set_form(fill, false);
        Self { list, fill }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.as_ref().len() == 0
    }

    /// Adds an element behind the others. O(log nodes + bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<(), OutOfMemory> {
        self.list.push(End::Right, text)
    }

    /// Adds a node of these elements behind the others, however long it is: its ends stay. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn push_node(&mut self, pack: Listpack<'_>) -> Result<(), OutOfMemory> {
        self.list.push_node(pack, Growth::None)
    }

    /// Adds an element in a node of its own. O(bytes).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn push_alone(&mut self, element: &[u8]) -> Result<(), OutOfMemory> {
        self.list.push_alone(element)
    }

    /// The list of what was added.
    pub(crate) fn finish(self) -> Collected {
        Collected::of(self.list, self.fill)
    }
}

impl Collected {
    /// A list of these elements. O(n).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new<'t>(
        mut texts: impl Iterator<Item = &'t [u8]>,
        options: &Hot,
        pool: &Arc<Pool>,
    ) -> Result<Self, OutOfMemory> {
        let mut list = Collecting::new(options, pool);
        texts.try_for_each(|text| list.push(text))?;
        Ok(list.finish())
    }

    fn of(mut list: List, fill: Fill) -> Self {
        let is_listpack = |size: usize, pack: &[u8]| fill.allows_listpack(size, Listpack::new(pack).len());
        match list.only_pack() {
            Some((size, pack)) if is_listpack(size, pack) && pack.len() <= MAX_IN_ARENA => {
                Self::Packed(pack.to_vec())
            }
            Some((size, pack)) if is_listpack(size, pack) => {
                list.set_form(fill, true);
                Self::Large(list)
            }
            _ => Self::Large(list),
        }
    }

    /// Hands the value over.
    pub(crate) fn with<R>(self, store: impl FnOnce(NewValue<'_>) -> R) -> R {
        match self {
            Self::Packed(bytes) => store(NewValue::Bytes(Kind::ListPacked, &bytes)),
            Self::Large(list) => store(NewValue::Owned(list.into())),
        }
    }
}
