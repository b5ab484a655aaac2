//! Splitting and merging nodes of a large list, where the server would.

use super::{Found, List};
use crate::store::memory::OutOfMemory;
use crate::value::list::{node, sizes};
use crate::value::listpack::{Element, Listpack};

impl List {
    /// Splits a node before its element number `offset`, which is neither the first nor behind the last.
    pub(super) fn split(&mut self, node: &Found, offset: usize) -> Result<(), OutOfMemory> {
        let pack = self.pack(node);
        let at = pack.seek(offset).expect("it is in the node");
        let (mut right, mut size) = (crate::value::listpack::EMPTY.to_vec(), sizes::EMPTY);
        let elements: Vec<Element<'_>> = pack.iter_from(at).collect();
        size += elements.iter().copied().map(sizes::of_element).sum::<usize>();
        let empty = Listpack::new(&crate::value::listpack::EMPTY);
        empty.splice(empty.end(), 0, &elements).apply_to(&mut right);
        let (count, growth) = (elements.len(), self.growth());
        drop(elements);
        let block = node::store_pack(&mut self.collection, &right, size, growth)?;
        if let Err(error) = self.thin(node, offset, count) {
            node::free(&mut self.collection, block);
            return Err(error);
        }
        self.insert_node(node.start() + offset, block, count)
    }

    /// Makes one node of two neighbours, if they may be one.
    fn merge(&mut self, left: Option<Found>, right: Option<Found>) -> Result<(), OutOfMemory> {
        let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
        if left.head.is_plain || right.head.is_plain || !self.limit().may_merge(left.extent(), right.extent())
        {
            return Ok(());
        }
        let pack = self.pack(&left);
        let elements: Vec<Element<'_>> = self.pack(&right).iter().collect();
        let patch = pack.splice(pack.end(), 0, &elements);
        drop(elements);
        self.patch(&left, &patch, left.head.size + right.head.size - sizes::EMPTY)?;
        // It begins further on, behind what was doubled.
        let right = self.node_of(left.end() + right.count).expect("it is behind the other");
        self.remove_node(&right)
    }

    /// Merges the nodes around the one that holds an element, as far as they may be: the two before it, the two behind it, it with the one before it, and
    /// what that is with the one behind it.
    pub(super) fn merge_around(&mut self, index: usize) -> Result<(), OutOfMemory> {
        let center = |list: &Self| list.node_of(index).expect("the element is there");
        let before = self.before(&center(self));
        let before_that = before.as_ref().and_then(|node| self.before(node));
        self.merge(before_that, before)?;
        let after = self.after(&center(self));
        let after_that = after.as_ref().and_then(|node| self.after(node));
        self.merge(after, after_that)?;
        self.merge(self.before(&center(self)), Some(center(self)))?;
        self.merge(Some(center(self)), self.after(&center(self)))
    }
}
