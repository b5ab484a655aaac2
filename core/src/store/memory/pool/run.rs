//! A run of pages: where it is. Who has it is the pool's affair.

use crate::store::memory::region::{PAGE, Ref, UNIT};

/// Pages taken from a pool: so many, beginning with number `first` of the region; or, if they are none, one piece of that page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) first: u32,
    pub(crate) pages: u32,
    pub(super) piece: u8,
}

const _: () = assert!(PAGE / UNIT / Run::PIECE == u8::BITS as usize);

impl Run {
    /// Units of a piece: an eighth of a page.
    pub(crate) const PIECE: usize = 64;

    pub(crate) fn of(first: usize, pages: usize) -> Self {
        Self { first: first as u32, pages: pages as u32, piece: 0 }
    }

    /// The number of its first unit.
    pub(crate) fn start(self) -> usize {
        self.first as usize * (PAGE / UNIT) + usize::from(self.piece) * Self::PIECE
    }

    /// Units of it.
    pub(crate) fn units(self) -> usize {
        if self.pages == 0 { Self::PIECE } else { self.pages as usize * (PAGE / UNIT) }
    }

    /// Whether a block lies in it.
    pub(crate) fn holds(self, block: Ref) -> bool {
        (block.get() as usize).wrapping_sub(self.start()) < self.units()
    }
}
