//! A list that is made in one piece, as SORT stores one: nodes first, as in the server, and a listpack if there is one node that is short enough.

use super::large::List;
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

impl Collected {
    /// A list of these elements. O(n).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new<'t>(
        texts: impl Iterator<Item = &'t [u8]>,
        options: &Hot,
        pool: &Arc<Pool>,
    ) -> Result<Self, OutOfMemory> {
        let fill = List::limits(options);
        let mut list = List::empty(pool);
        list.set_form(fill, false);
        for text in texts {
            list.push(super::End::Right, text)?;
        }
        Ok(Self::of(list, fill))
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
