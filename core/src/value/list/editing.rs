//! Changing the elements of a list, whatever its encoding.
//!
//! A list stays packed up to the limit of the configuration, and is packed again when it has shrunk to half of that: by the server's rules, which count its
//! own bytes ([`super::sizes`]).

use super::large::List;
use super::sizes::{self, Fill};
use super::{End, ListRef, without};
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Editing, Form};
use crate::value::listpack::{self, Element, Listpack};
use crate::value::patch::Patch;
use crate::value::rooted::Rooted;
use crate::value::{Kind, MAX_IN_ARENA, Owned, Type};

/// The elements of a list that is being changed.
pub(crate) type Elements<'e> = Editing<'e, List>;

impl Collection for List {
    const TYPE: Type = Type::List;
    const NEW: Option<(Kind, &'static [u8])> = Some((Kind::ListPacked, &listpack::EMPTY));

    type Limits = Fill;

    fn limits(options: &Hot) -> Fill {
        Fill::of_option(options.list_max_listpack_size())
    }

    fn new(pool: &Arc<Pool>) -> Self {
        List::empty(pool)
    }

    fn of_owned(owned: &mut Owned) -> Option<&mut Self> {
        match owned {
            Owned::List(list) => Some(list),
            _ => None,
        }
    }

    fn is_empty(_: Kind, packed: &[u8]) -> bool {
        Listpack::new(packed).is_empty()
    }

    fn unpack(_: Kind, packed: &[u8], pool: &Arc<Pool>, _: &HashSeed) -> Result<Self, OutOfMemory> {
        List::of_pack(packed, pool)
    }

    fn duplicate(&self) -> Self {
        self.share()
    }

    fn become_again(&mut self, before: Self) {
        self.set_left(false);
        *self = before;
    }

    fn is_in_pages(&self) -> bool {
        List::is_in_pages(self)
    }

    fn repack(&self, fill: Fill) -> Option<(Kind, Vec<u8>)> {
        let (size, pack) = self.only_pack()?;
        let becomes = if self.as_ref().is_listpack() {
            pack.len() <= MAX_IN_ARENA / 2
        } else {
            pack.len() <= MAX_IN_ARENA && fill.is_fallen_below(size, Listpack::new(pack).len())
        };
        becomes.then(|| (Kind::ListPacked, pack.to_vec()))
    }
}

/// What pushing an element to a packed list comes to. `None`: it does not stay packed.
pub(crate) fn pushing(packed: &[u8], end: End, element: &[u8], fill: Fill) -> Option<Patch> {
    let pack = Listpack::new(packed);
    if sizes::outgrows(fill, pack, element.len(), 1) {
        return None;
    }
    let at = if end == End::Left { pack.start() } else { pack.end() };
    let patch = pack.splice(at, 0, &[Element::Bytes(element)]);
    patch.is_within(packed).then_some(patch)
}

/// The element at an end of a packed list, which has one, and what removing it comes to.
pub(crate) fn popping(packed: &[u8], end: End) -> Option<(Element<'_>, Patch)> {
    let pack = Listpack::new(packed);
    let at = if end == End::Left { pack.start() } else { pack.before_last()? };
    Some((pack.element(at)?, pack.splice(at, 1, &[])))
}

impl Editing<'_, List> {
    pub(crate) fn as_ref(&self) -> ListRef<'_> {
        match &self.form {
            Form::Packed(packed) => ListRef::packed(packed.bytes()),
            Form::Unpacked(list) => ListRef::large(list.as_ref()),
            Form::Large(list) => ListRef::large(list.as_ref()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_ref().len()
    }

    fn as_pack(&self) -> Option<Listpack<'_>> {
        match &self.form {
            Form::Packed(packed) => Some(Listpack::new(packed.bytes())),
            _ => None,
        }
    }

    /// Moves to nodes. `is_listpack`: the server does not, but there it would be too large for an entry.
    fn unpack_as(&mut self, is_listpack: bool) {
        let fill = self.limits;
        self.unpack();
        self.change(|list, _| {
            list.set_form(fill, is_listpack);
            Ok(())
        });
    }

    /// Moves to nodes if the listpack would be too large with so many more elements, of so many bytes.
    pub(crate) fn make_room(&mut self, elements: usize, bytes: usize) {
        let fill = self.limits;
        match &self.form {
            Form::Packed(packed) if sizes::outgrows(fill, Listpack::new(packed.bytes()), bytes, elements) => {
                self.unpack_as(false);
            }
            Form::Packed(_) => {}
            _ if self.as_ref().is_listpack() => {
                let outgrows = |list: &mut List| {
                    let (size, len) = (list.only_pack().map_or(0, |(size, _)| size), list.as_ref().len());
                    fill.is_exceeded(size + bytes, len + elements)
                };
                self.change(|list, _| {
                    if outgrows(list) {
                        list.set_form(fill, false);
                    }
                    Ok(())
                });
            }
            _ => {}
        }
    }

    /// Replaces elements of the listpack.
    fn splice(&mut self, at: usize, removed: usize, new: &[Element<'_>]) {
        let Form::Packed(packed) = &mut self.form else { unreachable!("the caller knows that it is packed") };
        let pack = Listpack::new(packed.bytes());
        let patch = pack.splice(pack.seek(at).expect("it is in the list"), removed, new);
        let len = patch.len_after(packed.bytes().len());
        patch.apply_to(&mut **packed);
        self.has_changed = true;
        if len > MAX_IN_ARENA {
            self.unpack_as(true);
        }
    }

    /// Changes the nodes, after it was announced how many changes that takes at most.
    fn change_nodes<R: Default>(&mut self, change: impl FnOnce(&mut List) -> Result<R, OutOfMemory>) -> R {
        let changed = self.change(|list, _| change(list));
        self.has_changed |= changed.is_some();
        changed.unwrap_or_default()
    }

    /// Pushes elements to an end, one after the other. O(elements), and O(n) of a listpack.
    pub(crate) fn push(&mut self, end: End, elements: &[&[u8]]) {
        let bytes = elements.iter().map(|element| element.len()).sum();
        self.push_counted(end, elements, bytes);
    }

    /// Pushes an element that was another list's. The server takes a number out of nodes for nothing when it looks whether there is room.
    pub(crate) fn push_moved(&mut self, end: End, element: &[u8], is_from_nodes: bool) {
        let is_number = matches!(Element::of(element), Element::Int(_));
        let bytes = if is_number && is_from_nodes { 0 } else { element.len() };
        self.push_counted(end, &[element], bytes);
    }

    fn push_counted(&mut self, end: End, elements: &[&[u8]], bytes: usize) {
        self.make_room(elements.len(), bytes);
        if self.is_refused {
            return;
        }
        if self.is_packed() {
            let at = if end == End::Left { 0 } else { self.len() };
            if let [element] = elements {
                return self.splice(at, 0, &[Element::Bytes(element)]);
            }
            let elements: Vec<_> = match end {
                End::Left => elements.iter().rev().map(|element| Element::Bytes(element)).collect(),
                End::Right => elements.iter().map(|element| Element::Bytes(element)).collect(),
            };
            return self.splice(at, 0, &elements);
        }
        self.expect(elements.len(), || elements.iter().map(|element| element.len()).sum());
        self.change_nodes(|list| elements.iter().try_for_each(|element| list.push(end, element)));
    }

    /// Removes elements from an index on, of which there are so many, and lets the list be packed again. O(removed), and O(n) of a listpack.
    pub(crate) fn remove_range(&mut self, start: usize, count: usize) {
        if count == 0 {
            return;
        }
        if self.is_packed() {
            return self.splice(start, count, &[]);
        }
        if count > 1 {
            self.expect_nodes(count);
        }
        self.change_nodes(|list| list.remove_range(start, count));
        self.may_repack = true;
    }

    /// Takes out the element at an end, which is there, after `read` has had it. `None`: that said no, and it stays. O(log n), and O(n) of a listpack.
    pub(crate) fn take_end<R>(&mut self, end: End, read: impl FnOnce(Element<'_>) -> Option<R>) -> Option<R> {
        if self.is_packed() {
            let read = self.as_ref().end(end).and_then(read)?;
            self.remove_end(end);
            return Some(read);
        }
        let (read, may_repack) = self.change(|list, _| list.pop(end, read))??;
        self.has_changed = true;
        self.may_repack |= may_repack;
        Some(read)
    }

    /// Removes the element at an end, which is there.
    pub(crate) fn remove_end(&mut self, end: End) {
        let at = if end == End::Left { 0 } else { self.len() - 1 };
        self.remove_range(at, 1);
    }

    /// Removes all elements but so many from an index on.
    pub(crate) fn keep(&mut self, first: usize, count: usize) {
        let end = first + count;
        let behind = self.len() - end;
        if first > 0 && behind > 0 && !self.is_packed() {
            // Both ends, or neither.
            self.expect_nodes(first + behind);
        }
        self.remove_range(end, behind);
        self.remove_range(0, first);
        self.may_repack |= !self.is_packed();
    }

    /// Moves the element at an end, which is this one, to an end.
    pub(crate) fn turn(&mut self, from: End, to: End, element: &[u8], is_from_nodes: bool) {
        if !self.is_packed() {
            self.expect_some(element.len());
        }
        self.remove_end(from);
        if !self.is_refused {
            self.push_moved(to, element, is_from_nodes);
        }
        self.may_repack |= !self.is_packed();
    }

    /// Announces that so many elements go, at most.
    fn expect_nodes(&mut self, elements: usize) {
        if let Form::Large(list) = &self.form {
            // A page is copied once, however many nodes it has.
            let pages = elements.min(list.pages());
            self.expect_several(pages, 0);
        }
    }

    /// Announces a change of a few nodes.
    fn expect_some(&mut self, bytes: usize) {
        /// Nodes that are split or merged, at most.
        const NODES: usize = 8;
        self.expect_several(NODES, bytes);
    }

    /// Inserts an element before or behind the first that is equal to `pivot`; false, and no change, if there is none. O(n).
    pub(crate) fn insert(&mut self, pivot: &[u8], behind: bool, element: &[u8]) -> bool {
        // The server moves the list to nodes whether or not it finds the other element.
        self.make_room(1, element.len());
        let Some(at) = self.find(pivot) else { return false };
        if self.is_refused {
            return true;
        }
        if self.is_packed() {
            self.splice(at + usize::from(behind), 0, &[Element::Bytes(element)]);
        } else {
            self.expect_some(element.len());
            self.change_nodes(|list| list.insert(at, behind, element));
        }
        true
    }

    /// The index of the first element that is equal to this one. O(n).
    fn find(&self, wanted: &[u8]) -> Option<usize> {
        if let Some(pack) = self.as_pack() {
            return pack.find(wanted, 0, 1).map(|at| at.index);
        }
        let (mut index, mut found) = (0, None);
        let wanted = Element::of(wanted);
        self.as_ref().each_from(0, false, |element| {
            if element == wanted {
                found = Some(index);
            }
            index += 1;
            found.is_none()
        });
        found
    }

    /// Puts another element in the place of one that is there, and lets the list be packed again. O(log n), and O(n) of a listpack.
    pub(crate) fn set(&mut self, index: usize, element: &[u8]) {
        if self.is_refused {
            return;
        }
        if self.is_packed() {
            return self.splice(index, 1, &[Element::Bytes(element)]);
        }
        self.expect_some(element.len());
        self.change_nodes(|list| list.replace(index, element));
        self.may_repack = true;
    }

    /// Removes elements that are equal to this one, up to so many, from either end, and says how many; lets the list be packed again. O(n).
    pub(crate) fn remove_equal(&mut self, end: End, element: &[u8], most: usize) -> usize {
        if let Some(pack) = self.as_pack() {
            let bytes = pack.bytes().to_vec();
            let pack = Listpack::new(&bytes);
            let Some(kept) = without(pack, end, element, most) else { return 0 };
            self.splice(0, pack.len(), &kept);
            return pack.len() - kept.len();
        }
        self.expect_nodes(most.min(self.len()));
        let removed = self.change(|list, _| list.remove_equal(end, element, most)).unwrap_or_default();
        self.has_changed |= removed > 0;
        self.may_repack = removed > 0;
        removed
    }
}
