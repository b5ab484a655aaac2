//! Hashes: reading one whatever its encoding, and the timers of its fields.
//!
//! A small hash is a listpack in its entry; a larger one, and any with deadlines on fields, is a [`table::Hash`].
//! How either is changed is in [`fields`].

pub(crate) mod fields;
pub(crate) mod table;

pub(crate) use table::{Hash, TableRef};

use super::Value;
use super::listpack::{Element, Listpack};
use crate::error::{Error, Result};
use crate::store::random;

impl<'a> Value<'a> {
    /// The hash.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn hash(&self) -> Result<HashRef<'a>> {
        match *self {
            Value::Hash(hash) => Ok(hash),
            _ => Err(Error::wrong_type()),
        }
    }
}

/// A hash being read. Fields whose deadline has passed `now` don't exist.
#[derive(Clone, Copy, Debug)]
pub struct HashRef<'a>(Encoding<'a>);

#[derive(Clone, Copy, Debug)]
enum Encoding<'a> {
    Packed(Listpack<'a>),
    Table(TableRef<'a>),
}

impl<'a> HashRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Encoding::Packed(Listpack::new(bytes)))
    }

    pub(crate) fn table(hash: TableRef<'a>) -> Self {
        Self(Encoding::Table(hash))
    }

    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.0, Encoding::Packed(_))
    }

    /// The value of a field. O(1), or O(fields) of a packed hash.
    #[inline]
    pub(crate) fn get(&self, field: &[u8], now: u64) -> Option<Element<'a>> {
        match self.0 {
            Encoding::Packed(pack) => pack.behind(field),
            Encoding::Table(hash) => hash.get(field, now).map(|found| Element::Bytes(found.value)),
        }
    }

    /// The deadline of a field: `None` if there is no such field, `Some(None)` if it does not expire.
    pub(crate) fn deadline(&self, field: &[u8], now: u64) -> Option<Option<u64>> {
        match self.0 {
            Encoding::Packed(pack) => pack.find(field, 0, 2).map(|_| None),
            Encoding::Table(hash) => hash.get(field, now).map(|found| found.deadline),
        }
    }

    /// Number of fields. O(1), or O(fields) while some have expired and were not reclaimed yet.
    pub(crate) fn len(&self, now: u64) -> usize {
        match self.0 {
            Encoding::Packed(pack) => pack.len() / 2,
            Encoding::Table(hash) => hash.live_len(now),
        }
    }

    /// Calls `visit` with each field and value.
    pub(crate) fn each(&self, now: u64, mut visit: impl FnMut(Element<'a>, Element<'a>)) {
        match self.0 {
            Encoding::Packed(pack) => {
                let mut elements = pack.iter();
                while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                    visit(field, value);
                }
            }
            Encoding::Table(hash) => hash.each(|found| {
                if found.is_live(now) {
                    visit(Element::Bytes(found.field), Element::Bytes(found.value));
                }
            }),
        }
    }

    /// Calls `visit` with each field of a table, its value and its deadline, expired ones included.
    pub(crate) fn each_with_deadline(&self, mut visit: impl FnMut(&'a [u8], &'a [u8], Option<u64>)) {
        if let Encoding::Table(hash) = self.0 {
            hash.each(|found| visit(found.field, found.value, found.deadline));
        }
    }

    /// Visits some fields from a cursor on and returns the next, 0 at the end. A packed hash is visited whole.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
        now: u64,
        mut visit: impl FnMut(Element<'a>, Element<'a>),
    ) -> u64 {
        match self.0 {
            Encoding::Packed(_) => {
                self.each(now, visit);
                0
            }
            Encoding::Table(hash) => hash.scan(cursor, count, |found| {
                if found.is_live(now) {
                    visit(Element::Bytes(found.field), Element::Bytes(found.value));
                }
            }),
        }
    }

    /// A field drawn at random, each with the same chance; `None` if there is none.
    pub(crate) fn random(&self, now: u64) -> Option<(Element<'a>, Element<'a>)> {
        match self.0 {
            Encoding::Packed(pack) => {
                let fields = pack.len() as u64 / 2;
                let at = pack.seek(random().checked_rem(fields)? as usize * 2)?;
                let mut elements = pack.iter_from(at);
                elements.next().zip(elements.next())
            }
            Encoding::Table(hash) => {
                hash.random(now).map(|found| (Element::Bytes(found.field), Element::Bytes(found.value)))
            }
        }
    }

    /// A time not after the earliest deadline of a field; `None` if no field expires.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        match self.0 {
            Encoding::Packed(_) => None,
            Encoding::Table(hash) => hash.next_deadline(),
        }
    }
}
