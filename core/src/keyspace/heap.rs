//! Values too large or too structured for the arena: ordinary Rust values, owned through a 32-bit handle in their entry.

use crate::value::HeapValue;

/// A shard's slab of heap values.
#[derive(Default)]
pub(crate) struct Heap {
    slots: Vec<Option<HeapValue>>,
    free: Vec<u32>,
    bytes: usize,
}

/// Index of a value in its shard's [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(u32);

impl Handle {
    /// The bytes that stand in the entry.
    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// Reads what [`Handle::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Handle {
        Handle(u32::from_le_bytes(bytes.try_into().expect("a handle is four bytes")))
    }
}

impl Heap {
    pub(crate) fn add(&mut self, value: HeapValue) -> Handle {
        self.bytes += value.bytes();
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(value);
                Handle(slot)
            }
            None => {
                self.slots.push(Some(value));
                Handle(u32::try_from(self.slots.len() - 1).expect("a shard has fewer than 2^32 entries"))
            }
        }
    }

    pub(crate) fn get(&self, handle: Handle) -> &HeapValue {
        self.slots[handle.0 as usize].as_ref().expect("an entry's handle is live")
    }

    /// Edits a value and keeps the account of bytes.
    pub(crate) fn edit<R>(&mut self, handle: Handle, edit: impl FnOnce(&mut HeapValue) -> R) -> R {
        let value = self.slots[handle.0 as usize].as_mut().expect("an entry's handle is live");
        let before = value.bytes();
        let result = edit(value);
        self.bytes = self.bytes - before + value.bytes();
        result
    }

    pub(crate) fn take(&mut self, handle: Handle) -> HeapValue {
        let value = self.slots[handle.0 as usize].take().expect("an entry's handle is live");
        self.bytes -= value.bytes();
        self.free.push(handle.0);
        value
    }

    /// All values, to be dropped elsewhere.
    pub(crate) fn into_values(self) -> Vec<HeapValue> {
        self.slots.into_iter().flatten().collect()
    }

    /// Bytes of all values and of the slab itself.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.slots.capacity() * size_of::<Option<HeapValue>>() + self.free.capacity() * 4
    }
}
