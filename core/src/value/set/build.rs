//! Whole sets, made of the members of others: what SINTERSTORE and its like store. Their encodings are chosen as the server chooses them.
//!
//! Where a set that is made goes to is the keyspace's affair.

use super::SetRef;
use super::members::{Added, Limits, add_packed, of_packed, pack_ints, remove_packed};
use super::table::Set;
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Loose};
use crate::value::intset::{self, Intset};
use crate::value::listpack::Element;
use crate::value::{Kind, NewValue};

/// A set that is being made.
pub(crate) struct Builder<'e> {
    form: Form,
    limits: Limits,
    pool: &'e Arc<Pool>,
    seed: &'e HashSeed,
    /// No member was added but integers.
    has_only_ints: bool,
}

enum Form {
    Packed(Loose),
    Table(Set),
}

impl<'e> Builder<'e> {
    /// An empty set, which is an intset.
    pub(crate) fn new(options: &Hot, pool: &'e Arc<Pool>, seed: &'e HashSeed) -> Self {
        Self {
            form: Form::Packed(Loose::new(Kind::SetInts, &intset::EMPTY)),
            limits: <Set as Collection>::limits(options),
            pool,
            seed,
            has_only_ints: true,
        }
    }

    /// Begins as a listpack, for members that are not known to be integers.
    pub(crate) fn packed(mut self) -> Self {
        if let Form::Packed(packed) = &mut self.form {
            pack_ints(packed);
        }
        self
    }

    fn as_ref(&self) -> SetRef<'_> {
        match &self.form {
            Form::Packed(packed) => of_packed(packed.kind, &packed.bytes),
            Form::Table(set) => SetRef::table(set.as_ref(self.seed)),
        }
    }

    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// So many members are about to be added to an empty one: more than are packed in any way make it a table at once.
    pub(crate) fn expect(&mut self, members: usize) {
        if members > self.limits.ints.max(self.limits.members) {
            self.form = Form::Table(Set::new(self.pool));
        }
    }

    /// Adds a member, if it is new. O(1), or O(members) of a packed set.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn add(&mut self, member: Element<'_>) -> Result<(), OutOfMemory> {
        self.has_only_ints &= matches!(member, Element::Int(_));
        if let Form::Packed(packed) = &mut self.form {
            if add_packed(packed, member, self.limits) != Added::TooLarge {
                return Ok(());
            }
            self.form = Form::Table(Set::unpack(packed.kind, &packed.bytes, self.pool, self.seed)?);
        }
        if let Form::Table(set) = &mut self.form {
            set.add(self.seed, member)?;
        }
        Ok(())
    }

    /// Removes a member, if it is there. As [`add`](Self::add).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn remove(&mut self, member: Element<'_>) -> Result<(), OutOfMemory> {
        match &mut self.form {
            Form::Packed(packed) => {
                remove_packed(packed, member);
            }
            Form::Table(set) => {
                set.remove(self.seed, member)?;
            }
        }
        Ok(())
    }

    /// Becomes an intset where that is allowed. O(members log members).
    pub(crate) fn pack_ints(&mut self) {
        if !self.has_only_ints || self.len() > self.limits.ints || self.as_ref().is_ints() {
            return;
        }
        let mut ints = Vec::new();
        self.as_ref().each(|member| {
            if let Element::Int(integer) = member {
                ints.push(integer);
            }
        });
        ints.sort_unstable();
        let bytes = intset::of_sorted(&ints);
        if bytes.len() <= crate::value::MAX_IN_ARENA {
            debug_assert_eq!(Intset::new(&bytes).len(), self.len(), "all members are integers");
            self.form = Form::Packed(Loose { kind: Kind::SetInts, bytes });
        }
    }

    /// What was made; `None` if it has no member.
    pub(crate) fn finish(self) -> Option<Built> {
        (self.len() > 0).then_some(match self.form {
            Form::Packed(packed) => Built::Packed(packed.kind, packed.bytes),
            Form::Table(set) => Built::Table(set),
        })
    }
}

/// A set that was made and has a member.
pub(crate) enum Built {
    Packed(Kind, Vec<u8>),
    Table(Set),
}

impl Built {
    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        match self {
            Built::Packed(kind, bytes) => of_packed(*kind, bytes).len(),
            Built::Table(set) => set.len(),
        }
    }

    /// As a value to insert.
    pub(crate) fn with<R>(self, insert: impl FnOnce(NewValue<'_>) -> R) -> R {
        match self {
            Built::Packed(kind, bytes) => insert(NewValue::Bytes(kind, &bytes)),
            Built::Table(set) => insert(NewValue::Owned(set.into())),
        }
    }
}
