//! The table of encodings: one row for each way a value can stand in an entry. Whoever handles values of any type asks the row, so a type costs
//! its rows here and its own file.
//!
//! Where the bytes of a value are kept is the keyspace's affair, what they mean that of the type's file.

use std::ops::{Deref, DerefMut};

use super::hash::table::TableRef;
use super::hash::{Hash, HashRef};
use super::list::{Large, List, ListRef};
use super::long::{self, LongString};
use super::rooted::{Root, Rooted};
use super::set::{self, Set, SetRef};
use super::stream::{Stream, StreamRef};
use super::string;
use super::zset::{TreeRef, ZSet, ZSetRef};
use crate::store::memory::Pool;
use crate::store::memory::words::Words;
use crate::sync::Arc;

/// A value being read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A string that is a 64-bit integer.
    Int(i64),
    /// Any other string.
    Str(&'a [u8]),
    /// A hash.
    Hash(HashRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    ZSet(ZSetRef<'a>),
    /// A stream.
    Stream(StreamRef<'a>),
}

/// Types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    String,
    Hash,
    List,
    Set,
    ZSet,
    Stream,
}

impl Type {
    /// The name that TYPE replies.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::Hash => "hash",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Stream => "stream",
        }
    }
}

impl Value<'_> {
    pub(crate) fn data_type(&self) -> Type {
        match self {
            Value::Int(_) | Value::Str(_) => Type::String,
            Value::Hash(_) => Type::Hash,
            Value::List(_) => Type::List,
            Value::Set(_) => Type::Set,
            Value::ZSet(_) => Type::ZSet,
            Value::Stream(_) => Type::Stream,
        }
    }

    /// A time not after the earliest deadline of something inside the value; `None` if nothing in it expires by itself.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        match self {
            Value::Hash(hash) => hash.next_deadline(),
            _ => None,
        }
    }
}

/// Makes [`Kind`], [`Owned`] and what is asked of both from the rows. A row of `whole` reads the value from the bytes in the entry, wherever they were
/// copied to; one of `rooted` from the root in the entry.
macro_rules! encodings {
    (
        whole { $($(#[$whole_doc:meta])* $whole:ident = $whole_number:literal: $whole_type:ident, $whole_name:literal, $whole_read:expr;)* }
        rooted { $($(#[$doc:meta])* $rooted:ident($owner:ty) = $number:literal: $type:ident, $name:literal, $read:expr;)* }
    ) => {
        /// Type and encoding of a value, in five bits of the header. The numbers are part of file formats.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($(#[$whole_doc])* $whole = $whole_number,)*
            $($(#[$doc])* $rooted = $number,)*
        }

        impl Kind {
            #[cfg(test)]
            pub(crate) const ALL: &[Kind] = &[$(Kind::$whole,)* $(Kind::$rooted,)*];

            #[inline]
            pub(crate) fn from_bits(bits: u64) -> Kind {
                match bits & Kind::MASK {
                    $($whole_number => Kind::$whole,)*
                    $($number => Kind::$rooted,)*
                    other => unreachable!("no kind {other}: headers are only written from kinds"),
                }
            }

            /// Whether the entry holds a root only: the value may have memory beside it.
            #[inline]
            pub(crate) fn owns(self) -> bool {
                matches!(self, $(Kind::$rooted)|*)
            }

            pub(crate) fn data_type(self) -> Type {
                match self {
                    $(Kind::$whole => Type::$whole_type,)*
                    $(Kind::$rooted => Type::$type,)*
                }
            }

            /// The name that OBJECT ENCODING replies.
            pub(crate) fn encoding(self) -> &'static str {
                match self {
                    $(Kind::$whole => $whole_name,)*
                    $(Kind::$rooted => $name,)*
                }
            }

            /// The value that these bytes of an entry are; `None` if the entry holds a root.
            #[inline(always)]
            pub(crate) fn value(self, bytes: &[u8]) -> Option<Value<'_>> {
                match self {
                    $(Kind::$whole => Some($whole_read(bytes)),)*
                    $(Kind::$rooted)|* => None,
                }
            }

            /// The value of an entry that holds these bytes, or this root.
            #[inline(always)]
            pub(crate) fn read<'a>(self, bytes: &'a [u8], root: impl FnOnce() -> Root<'a>) -> Value<'a> {
                match self {
                    $(Kind::$whole => $whole_read(bytes),)*
                    $(Kind::$rooted => $read(root()),)*
                }
            }

            /// Bytes of the pages that a value of this root has.
            pub(crate) fn page_bytes(self, root: Root<'_>, pool: &Pool) -> usize {
                match self {
                    $(Kind::$rooted => <$owner>::page_bytes(root, pool),)*
                    _ => 0,
                }
            }

            /// Where the shard keeps the timers of what expires inside a value of this root.
            pub(crate) fn wheel_place(self, root: Root<'_>) -> Option<usize> {
                match self {
                    $(Kind::$rooted => <$owner>::wheel_place(root),)*
                    _ => None,
                }
            }

            /// The owner of a value of this root. Whoever calls this sees to it that there is one.
            pub(crate) fn owner(self, root: Words<'_>, pool: &Arc<Pool>) -> Option<Owned> {
                match self {
                    $(Kind::$rooted => Some(Owned::$rooted(<$owner>::of(root, pool))),)*
                    _ => None,
                }
            }
        }

        /// A value that has memory of its own and stands in no entry, or not at the moment: dropping it gives the memory back. What can be asked of
        /// all of them is [`Rooted`]'s.
        #[derive(Debug)]
        pub(crate) enum Owned {
            $($(#[$doc])* $rooted($owner),)*
        }

        impl Owned {
            /// What the entry of such a value is.
            pub(crate) fn kind(&self) -> Kind {
                match self {
                    $(Owned::$rooted(_) => Kind::$rooted,)*
                }
            }

            /// A copy that shares its memory, without timers.
            pub(crate) fn share(&self) -> Self {
                match self {
                    $(Owned::$rooted(value) => Owned::$rooted(value.share()),)*
                }
            }
        }

        impl Deref for Owned {
            type Target = dyn Rooted;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Owned::$rooted(value) => value,)*
                }
            }
        }

        impl DerefMut for Owned {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self {
                    $(Owned::$rooted(value) => value,)*
                }
            }
        }

        $(impl From<$owner> for Owned {
            fn from(value: $owner) -> Self {
                Owned::$rooted(value)
            }
        })*
    };
}

encodings! {
    whole {
        /// String: a 64-bit integer.
        Int = 0: String, "int", |bytes| Value::Int(string::stored_integer(bytes));
        /// Hash: a listpack.
        HashPacked = 1: Hash, "listpack", |bytes| Value::Hash(HashRef::packed(bytes));
        /// String: bytes that arrived in one piece and are short.
        Embedded = 2: String, "embstr", Value::Str;
        /// String: bytes. Both kinds of text differ in the lowest bit alone, so that one comparison tells them from the rest.
        Raw = 3: String, "raw", Value::Str;
        /// List: a listpack.
        ListPacked = 6: List, "listpack", |bytes| Value::List(ListRef::packed(bytes));
        /// Set: an intset.
        SetInts = 8: Set, "intset", |bytes| Value::Set(SetRef::ints(bytes));
        /// Set: a listpack.
        SetPacked = 9: Set, "listpack", |bytes| Value::Set(SetRef::packed(bytes));
        /// Sorted set: a listpack.
        ZSetPacked = 11: ZSet, "listpack", |bytes| Value::ZSet(ZSetRef::packed(bytes));
        /// Stream: a listpack, and numbers; there are no groups.
        StreamPacked = 14: Stream, "stream", |bytes| Value::Stream(StreamRef::packed(bytes));
    }
    rooted {
        /// String: bytes in pages of their own.
        Long(LongString) = 4: String, "raw", |root| Value::Str(long::text(root));
        /// Hash: a table.
        HashTable(Hash) = 5: Hash, "hashtable", |root| Value::Hash(HashRef::table(TableRef::new(root)));
        /// List: listpacks in sequence.
        List(List) = 7: List, "quicklist", |root| Value::List(ListRef::large(Large::new(root)));
        /// Set: a table.
        SetTable(Set) = 10: Set, "hashtable", |root| Value::Set(SetRef::table(set::TableRef::new(root)));
        /// Sorted set: a table and a tree.
        ZSetTree(ZSet) = 12: ZSet, "skiplist", |root| Value::ZSet(ZSetRef::tree(TreeRef::new(root)));
        /// Stream: trees of listpacks, groups, consumers and what is pending.
        Stream(Stream) = 13: Stream, "stream", |root| Value::Stream(StreamRef::large(root));
    }
}

impl Kind {
    /// What short texts are, both of them.
    pub(crate) const TEXTS: [Kind; 2] = [Kind::Embedded, Kind::Raw];

    /// The bits of a header that hold a kind.
    pub(crate) const MASK: u64 = 0x1f;
}

/// A value on its way into an entry.
#[derive(Debug)]
pub(crate) enum NewValue<'a> {
    /// Bytes of a string or a packed collection.
    Bytes(Kind, &'a [u8]),
    /// An integer string.
    Int(i64),
    /// A value with memory of its own.
    Owned(Owned),
}

/// Strings and packed collections above this many bytes stand in no entry.
pub(crate) const MAX_IN_ARENA: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_kinds_stay_what_files_say() {
        let mut numbers: Vec<_> = Kind::ALL.iter().map(|kind| (*kind as u64, format!("{kind:?}"))).collect();
        numbers.sort_unstable();
        let expected = [
            (0, "Int"),
            (1, "HashPacked"),
            (2, "Embedded"),
            (3, "Raw"),
            (4, "Long"),
            (5, "HashTable"),
            (6, "ListPacked"),
            (7, "List"),
            (8, "SetInts"),
            (9, "SetPacked"),
            (10, "SetTable"),
            (11, "ZSetPacked"),
            (12, "ZSetTree"),
            (13, "Stream"),
            (14, "StreamPacked"),
        ];
        assert_eq!(numbers, expected.map(|(number, name)| (number, String::from(name))));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_bits(*kind as u64 | !Kind::MASK), *kind);
        }
    }
}
