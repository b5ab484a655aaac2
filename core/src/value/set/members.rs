//! Changing the members of a set, whatever its encoding.
//!
//! A set of integers stays an intset, and any other a listpack, up to the limits of the configuration. What is an intset becomes a listpack with the
//! first member that is no integer, where the limits allow it, and is a table beyond them.

use super::SetRef;
use super::table::Set;
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Editing, Form, Packed};
use crate::value::intset::{self, Intset};
use crate::value::listpack::{self, Element, Listpack};
use crate::value::patch::Patch;
use crate::value::rooted::Rooted;
use crate::value::{Kind, MAX_IN_ARENA, Owned, Type};

/// `set-max-intset-entries`, `set-max-listpack-entries`, and `set-max-listpack-value` in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(super) ints: usize,
    pub(super) members: usize,
    pub(super) bytes: usize,
}

/// The members of a set that is being changed.
pub(crate) type Members<'e> = Editing<'e, Set>;

impl Collection for Set {
    const TYPE: Type = Type::Set;
    const NEW: Option<(Kind, &'static [u8])> = Some((Kind::SetInts, &intset::EMPTY));

    type Limits = Limits;

    fn limits(options: &Hot) -> Limits {
        Limits {
            ints: options.set_max_intset_entries(),
            members: options.set_max_listpack_entries(),
            bytes: options.set_max_listpack_value(),
        }
    }

    fn new(pool: &Arc<Pool>) -> Self {
        Set::new(pool)
    }

    fn of_owned(owned: &mut Owned) -> Option<&mut Self> {
        match owned {
            Owned::SetTable(set) => Some(set),
            _ => None,
        }
    }

    fn is_empty(kind: Kind, packed: &[u8]) -> bool {
        match kind {
            Kind::SetInts => Intset::new(packed).is_empty(),
            _ => Listpack::new(packed).is_empty(),
        }
    }

    fn unpack(kind: Kind, packed: &[u8], pool: &Arc<Pool>, seed: &HashSeed) -> Result<Self, OutOfMemory> {
        let mut set = Set::new(pool);
        let mut added = Ok(());
        of_packed(kind, packed).each(|member| {
            if added.is_ok() {
                added = set.add(seed, member).map(drop);
            }
        });
        added.map(|()| set)
    }

    fn duplicate(&self) -> Self {
        self.share()
    }

    fn become_again(&mut self, before: Self) {
        self.set_left(false);
        *self = before;
    }

    fn is_in_pages(&self) -> bool {
        self.has_pages()
    }
}

/// The set that packed bytes of that kind are.
pub(super) fn of_packed(kind: Kind, packed: &[u8]) -> SetRef<'_> {
    match kind {
        Kind::SetInts => SetRef::ints(packed),
        _ => SetRef::packed(packed),
    }
}

/// What adding a member to a packed set comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    Known,
    /// It is new and was not added: the limits allow no packed set that has it.
    TooLarge,
}

/// What a new set begins as whose first member this is, if it is packed.
pub(crate) fn beginning(member: &[u8], limits: Limits) -> Option<(Kind, &'static [u8])> {
    match limits.beginning(Element::of(member), 1) {
        Beginning::Ints => Some((Kind::SetInts, &intset::EMPTY)),
        Beginning::Packed => Some((Kind::SetPacked, &listpack::EMPTY)),
        Beginning::Table => None,
    }
}

/// What adding a member to a packed set comes to, where it goes on being packed as it is; no patch if the member is there. `None`: it does not go on so.
pub(crate) fn adding(kind: Kind, packed: &[u8], member: &[u8], limits: Limits) -> Option<Option<Patch>> {
    let member = Element::of(member);
    if kind == Kind::SetInts {
        if limits.ints == 0 {
            return None;
        }
        let (ints, Element::Int(integer)) = (Intset::new(packed), member) else { return None };
        return match ints.insertion(integer) {
            Err(true) => Some(None),
            Ok(patch) if ints.len() < limits.ints && ints.len_with(integer) <= MAX_IN_ARENA => {
                Some(Some(patch))
            }
            _ => None,
        };
    }
    if limits.members == 0 { None } else { adding_to_pack(packed, member, limits) }
}

/// [`adding`] to a listpack.
fn adding_to_pack(packed: &[u8], member: Element<'_>, limits: Limits) -> Option<Option<Patch>> {
    let pack = Listpack::new(packed);
    if pack.find_element(member, 0, 1).is_some() {
        return Some(None);
    }
    if pack.len() >= limits.members || member.len() > limits.bytes {
        return None;
    }
    let patch = pack.splice(pack.end(), 0, &[member]);
    patch.is_within(packed).then_some(Some(patch))
}

/// Adds a member to a packed set, which is packed in another way if need be.
pub(super) fn add_packed(packed: &mut dyn Packed, member: Element<'_>, limits: Limits) -> Added {
    if packed.kind() == Kind::SetInts {
        let ints = Intset::new(packed.bytes());
        if let Element::Int(integer) = member {
            if ints.contains(integer) {
                return Added::Known;
            }
            if ints.len() >= limits.ints || ints.len_with(integer) > MAX_IN_ARENA {
                return Added::TooLarge;
            }
            intset::insert(packed, integer);
            return Added::New;
        }
        if !limits.allow_pack_of(ints, member) {
            return Added::TooLarge;
        }
        pack_ints(packed);
    }
    match adding_to_pack(packed.bytes(), member, limits) {
        Some(Some(patch)) => {
            patch.apply_to(packed);
            Added::New
        }
        Some(None) => Added::Known,
        None => Added::TooLarge,
    }
}

/// What removing a member of a packed set comes to, if it is there.
pub(crate) fn removing(kind: Kind, packed: &[u8], member: Element<'_>) -> Option<Patch> {
    if kind == Kind::SetInts {
        return if let Element::Int(integer) = member { Intset::new(packed).removal(integer) } else { None };
    }
    let pack = Listpack::new(packed);
    pack.find_element(member, 0, 1).map(|at| pack.splice(at, 1, &[]))
}

/// Removes a member of a packed set and says whether it was there.
pub(super) fn remove_packed(packed: &mut dyn Packed, member: Element<'_>) -> bool {
    removing(packed.kind(), packed.bytes(), member).map(|patch| patch.apply_to(packed)).is_some()
}

/// Packs integers as a listpack from now on.
pub(super) fn pack_ints(packed: &mut dyn Packed) {
    let members: Vec<_> = Intset::new(packed.bytes()).iter().map(Element::Int).collect();
    let empty = Listpack::new(&listpack::EMPTY);
    let mut bytes = listpack::EMPTY.to_vec();
    empty.splice(empty.end(), 0, &members).apply_to(&mut bytes);
    packed.set_kind(Kind::SetPacked);
    let before = packed.bytes().len();
    packed.splice(0, before, &bytes);
}

/// How a set begins of which this many members are announced, the first of which is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    Ints,
    Packed,
    Table,
}

impl Limits {
    fn beginning(self, first: Element<'_>, announced: usize) -> Beginning {
        match first {
            Element::Int(_) if announced <= self.ints => Beginning::Ints,
            _ if announced <= self.members => Beginning::Packed,
            _ => Beginning::Table,
        }
    }

    /// Whether these integers may be a listpack, with a member more.
    fn allow_pack_of(self, ints: Intset<'_>, member: Element<'_>) -> bool {
        let longest =
            ints.bounds().map_or(0, |(first, last)| Element::Int(first).len().max(Element::Int(last).len()));
        ints.len() < self.members && member.len().max(longest) <= self.bytes
    }
}

impl Editing<'_, Set> {
    /// Adds members and says how many are new. As in the server, their number decides about the encoding before duplicates are known.
    pub(crate) fn add_all(&mut self, names: &[&[u8]]) -> usize {
        if let Some(first) = names.first() {
            self.announce(Element::of(first), names.len());
        }
        self.expect(names.len(), || names.iter().map(|name| name.len()).sum());
        names.iter().filter(|name| self.add(Element::of(name))).count()
    }

    /// Adds a member and says whether it is new.
    pub(crate) fn add_one(&mut self, name: &[u8]) -> bool {
        let member = Element::of(name);
        if matches!(&self.form, Form::Packed(packed) if <Set as Collection>::is_empty(packed.kind(), packed.bytes()))
        {
            self.announce(member, 1);
        }
        self.add(member)
    }

    /// Chooses the encoding where so many members are about to be added.
    fn announce(&mut self, first: Element<'_>, count: usize) {
        let Form::Packed(packed) = &mut self.form else { return };
        let kind = packed.kind();
        let is_beyond = if <Set as Collection>::is_empty(kind, packed.bytes()) {
            match self.limits.beginning(first, count) {
                Beginning::Ints => return,
                Beginning::Packed => return pack_ints(&mut **packed),
                Beginning::Table => true,
            }
        } else {
            count > if kind == Kind::SetInts { self.limits.ints } else { self.limits.members }
        };
        if is_beyond {
            self.unpack();
        }
    }

    /// Adds a member and says whether it is new.
    fn add(&mut self, member: Element<'_>) -> bool {
        if self.is_refused {
            return false;
        }
        let limits = self.limits;
        if let Form::Packed(packed) = &mut self.form {
            match add_packed(&mut **packed, member, limits) {
                Added::Known => return false,
                Added::New => {
                    self.has_changed = true;
                    return true;
                }
                Added::TooLarge => self.unpack(),
            }
        }
        let is_new = !self.is_refused && self.change(|set, seed| set.add(seed, member)) == Some(true);
        self.has_changed |= is_new;
        is_new
    }

    /// Removes members and says how many were there.
    pub(crate) fn remove_all<'n>(&mut self, names: impl ExactSizeIterator<Item = &'n [u8]>) -> usize {
        self.expect(names.len(), || 0);
        names.filter(|name| self.remove(Element::of(name))).count()
    }

    /// Removes a member and says whether it was there.
    fn remove(&mut self, member: Element<'_>) -> bool {
        let removed = match &mut self.form {
            Form::Packed(packed) => remove_packed(&mut **packed, member),
            _ => self.change(|set, seed| set.remove(seed, member)) == Some(true),
        };
        self.has_changed |= removed;
        removed
    }
}
