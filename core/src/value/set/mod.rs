//! Sets: reading one whatever its encoding.
//!
//! A small set of integers is an intset in its entry, any other small one a listpack; a larger one is a [`table::Set`].
//! How they are changed is in [`members`], how whole ones are made in [`build`].
//!
//! Members are [`Element`]s, and one that reads as an integer is always told as such: so two are equal exactly if their elements are.

pub(crate) mod build;
pub(crate) mod members;
pub(crate) mod table;

use std::ops::ControlFlow;

pub(crate) use build::{Builder, Built};
pub(crate) use table::{Set, TableRef};

use super::Value;
use super::intset::Intset;
use super::listpack::{Element, Listpack};
use crate::error::{Error, Result};
use crate::store::random;

impl<'a> Value<'a> {
    /// The set.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn set(&self) -> Result<SetRef<'a>> {
        match *self {
            Value::Set(set) => Ok(set),
            _ => Err(Error::wrong_type()),
        }
    }
}

/// A set being read.
#[derive(Clone, Copy)]
pub struct SetRef<'a>(Encoding<'a>);

#[derive(Clone, Copy)]
enum Encoding<'a> {
    Ints(Intset<'a>),
    Packed(Listpack<'a>),
    Table(TableRef<'a>),
}

impl<'a> SetRef<'a> {
    pub(crate) fn ints(bytes: &'a [u8]) -> Self {
        Self(Encoding::Ints(Intset::new(bytes)))
    }

    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Encoding::Packed(Listpack::new(bytes)))
    }

    pub(crate) fn table(set: TableRef<'a>) -> Self {
        Self(Encoding::Table(set))
    }

    /// Whether it is packed as integers, which are visited in ascending order.
    pub(crate) fn is_ints(&self) -> bool {
        matches!(self.0, Encoding::Ints(_))
    }

    /// Whether it is packed, be it as integers.
    pub(crate) fn is_packed(&self) -> bool {
        !matches!(self.0, Encoding::Table(_))
    }

    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        match self.0 {
            Encoding::Ints(ints) => ints.len(),
            Encoding::Packed(pack) => pack.len(),
            Encoding::Table(set) => set.len(),
        }
    }

    /// Whether a member is there. O(1), O(log members) of integers that are packed, or O(members) of others.
    #[inline]
    pub(crate) fn has(&self, member: &[u8]) -> bool {
        self.contains(Element::of(member))
    }

    /// As [`has`](Self::has), for a member of another set.
    pub(crate) fn contains(&self, member: Element<'_>) -> bool {
        match (self.0, member) {
            (Encoding::Ints(ints), Element::Int(integer)) => ints.contains(integer),
            (Encoding::Ints(_), Element::Bytes(_)) => false,
            (Encoding::Packed(pack), member) => pack.find_element(member, 0, 1).is_some(),
            (Encoding::Table(set), member) => set.contains(member),
        }
    }

    /// Calls `visit` with each member: integers that are packed in ascending order, others that are packed in the order in which they came, and
    /// those of a table in none.
    pub(crate) fn each(&self, mut visit: impl FnMut(Element<'a>)) {
        let _ = self.each_until(|member| {
            visit(member);
            ControlFlow::Continue(())
        });
    }

    /// As [`each`](Self::each), until `visit` breaks.
    pub(crate) fn each_until(
        &self,
        mut visit: impl FnMut(Element<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.0 {
            Encoding::Ints(ints) => ints.iter().map(Element::Int).try_for_each(visit),
            Encoding::Packed(pack) => pack.iter().try_for_each(&mut visit),
            Encoding::Table(set) => set.each_until(visit),
        }
    }

    /// Visits some members from a cursor on and returns the next, 0 at the end. A packed set is visited whole.
    pub(crate) fn scan(&self, cursor: u64, count: usize, visit: impl FnMut(Element<'a>)) -> u64 {
        match self.0 {
            Encoding::Table(set) => set.scan(cursor, count, visit),
            _ => {
                self.each(visit);
                0
            }
        }
    }

    /// A member drawn at random, each with the same chance; `None` if there is none. O(1), or O(members) of a listpack.
    pub(crate) fn random(&self) -> Option<Element<'a>> {
        let below = |count: usize| (random().checked_rem(count as u64)).map(|drawn| drawn as usize);
        match self.0 {
            Encoding::Ints(ints) => below(ints.len()).map(|index| Element::Int(ints.get(index))),
            Encoding::Packed(pack) => pack.get(below(pack.len())?),
            Encoding::Table(set) => set.random().map(|(_, member)| member),
        }
    }

    /// Visits so many different members drawn at random, every choice with the same chance; all of them if there are no more. O(count), or O(members)
    /// of a packed set.
    ///
    /// # Errors
    /// There is no memory to remember what was drawn.
    pub(crate) fn draw(&self, count: usize, mut visit: impl FnMut(Element<'a>)) -> Result<()> {
        /// From so large a part of the members on, what is drawn would mostly have been drawn before.
        const PART: usize = 3;
        let len = self.len();
        if let Encoding::Table(set) = self.0
            && count < len / PART
        {
            let mut drawn = hashbrown::HashSet::new();
            drawn.try_reserve(count).map_err(|_| Error::no_memory())?;
            while drawn.len() < count {
                let Some((number, member)) = set.random() else { break };
                if drawn.insert(number) {
                    visit(member);
                }
            }
            return Ok(());
        }
        // Each is taken with the chance that is left for it (Knuth's algorithm S).
        let (mut wanted, mut left) = (count.min(len) as u64, len as u64);
        let _ = self.each_until(|member| {
            if wanted == 0 {
                return ControlFlow::Break(());
            }
            if random() % left < wanted {
                wanted -= 1;
                visit(member);
            }
            left -= 1;
            ControlFlow::Continue(())
        });
        Ok(())
    }
}

impl std::fmt::Debug for SetRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut set = f.debug_set();
        self.each(|member| {
            set.entry(&member);
        });
        set.finish()
    }
}
