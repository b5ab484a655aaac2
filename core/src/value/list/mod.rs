//! Lists: reading one whatever its encoding.
//!
//! A small list is a listpack in its entry; a larger one is a [`large::List`]. How either is changed is in [`editing`].

mod collected;
pub(crate) mod editing;
pub(crate) mod large;
mod node;
pub(in crate::value) mod sizes;

pub(crate) use collected::{Collected, Collecting};
pub(crate) use editing::Elements;
pub(crate) use large::List;
pub(crate) use node::Content;

use super::Value;
use super::listpack::{Element, Listpack};
use crate::error::{Error, Result};
use crate::store::collection::View;

impl<'a> Value<'a> {
    /// The list.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn list(&self) -> Result<ListRef<'a>> {
        match *self {
            Value::List(list) => Ok(list),
            _ => Err(Error::wrong_type()),
        }
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Where it begins.
    Left,
    /// Where it ends.
    Right,
}

/// A list being read.
#[derive(Clone, Copy, Debug)]
pub struct ListRef<'a>(Encoding<'a>);

#[derive(Clone, Copy, Debug)]
enum Encoding<'a> {
    Packed(Listpack<'a>),
    Large(Large<'a>),
}

/// A large list being read.
#[derive(Clone, Copy)]
pub(crate) struct Large<'a> {
    view: View<'a>,
}

impl<'a> ListRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Encoding::Packed(Listpack::new(bytes)))
    }

    pub(crate) fn large(list: Large<'a>) -> Self {
        Self(Encoding::Large(list))
    }

    /// Number of elements. O(1).
    pub(crate) fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(pack) => pack.len(),
            Encoding::Large(list) => list.len(),
        }
    }

    /// The element at an index. O(log n), and the elements of a listpack.
    pub(crate) fn get(&self, index: usize) -> Option<Element<'a>> {
        match self.0 {
            Encoding::Packed(pack) => pack.get(index),
            Encoding::Large(list) => list.get(index),
        }
    }

    /// The element at an end, if there is one. O(log n).
    pub(crate) fn end(&self, end: End) -> Option<Element<'a>> {
        match end {
            End::Left => self.get(0),
            End::Right => self.get(self.len().checked_sub(1)?),
        }
    }

    /// Visits the elements from an index on, in either direction, until `visit` says no. O(log n) and the elements.
    pub(crate) fn each_from(&self, from: usize, backwards: bool, mut visit: impl FnMut(Element<'a>) -> bool) {
        match self.0 {
            _ if from >= self.len() => {}
            Encoding::Packed(pack) => {
                node::Content::Pack(pack).each(from, backwards, &mut visit);
            }
            Encoding::Large(list) => list.each(from, backwards, &mut visit),
        }
    }

    /// Visits all elements in order.
    pub(crate) fn each(&self, mut visit: impl FnMut(Element<'a>)) {
        self.each_from(0, false, |element| {
            visit(element);
            true
        });
    }

    /// Visits the nodes in order; a packed list is one.
    pub(crate) fn each_node(&self, mut visit: impl FnMut(Content<'a>)) {
        match self.0 {
            Encoding::Packed(pack) => visit(Content::Pack(pack)),
            Encoding::Large(list) => list.each_node(visit),
        }
    }

    /// Whether OBJECT ENCODING calls it a listpack.
    pub(crate) fn is_listpack(&self) -> bool {
        match self.0 {
            Encoding::Packed(_) => true,
            Encoding::Large(list) => list.is_listpack(),
        }
    }

    /// Whether numbers in it are told apart from other strings when they are moved: the server takes their digits for nothing then.
    pub(crate) fn is_in_nodes(&self) -> bool {
        !self.is_listpack()
    }
}

impl std::fmt::Debug for Large<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        ListRef::large(*self).each(|element| {
            list.entry(&element);
        });
        list.finish()
    }
}

/// The elements of a listpack without those that are equal to this one, up to so many of them from either end; `None` if there are none of these. O(n).
fn without<'a>(pack: Listpack<'a>, end: End, element: &[u8], most: usize) -> Option<Vec<Element<'a>>> {
    let wanted = Element::of(element);
    let mut left = most;
    let mut stays = |other: &Element<'_>| {
        let goes = left > 0 && *other == wanted;
        left -= usize::from(goes);
        !goes
    };
    let mut kept: Vec<Element<'a>> = match end {
        End::Left => pack.iter().filter(&mut stays).collect(),
        End::Right => pack.iter().rev().filter(&mut stays).collect(),
    };
    if kept.len() == pack.len() {
        return None;
    }
    if end == End::Right {
        kept.reverse();
    }
    Some(kept)
}
