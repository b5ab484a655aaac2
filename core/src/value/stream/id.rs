//! IDs of entries: a time in milliseconds and a number, which together grow from entry to entry.

use smallvec::SmallVec;

/// An ID, as `1526919030474-55`. The default is `0-0`, which no entry has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    /// Unix milliseconds, unless the caller has chosen something else.
    pub(crate) ms: u64,
    /// Tells entries of the same millisecond apart.
    pub(crate) seq: u64,
}

impl Id {
    /// The least ID.
    pub(crate) const MIN: Id = Id { ms: 0, seq: 0 };
    /// The greatest ID.
    pub(crate) const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// The ID that follows this one, if there is a greater one.
    pub(crate) fn next(self) -> Option<Id> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The ID before this one, if there is a lesser one.
    pub(crate) fn previous(self) -> Option<Id> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The usual way to write it.
    pub(crate) fn text(self) -> SmallVec<[u8; 41]> {
        let mut text = SmallVec::from_slice(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b'-');
        text.extend_from_slice(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }

    /// The ID of a [key](Id::key).
    pub(super) fn of_key(key: u128) -> Self {
        Self { ms: (key >> 64) as u64, seq: key as u64 }
    }

    /// Both numbers in one, which is ordered as IDs are: the server's key of a node.
    pub(super) fn key(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }
}
