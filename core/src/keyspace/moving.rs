//! Moving the entries of one shard together: when it pays, and a step of it. Whose turn it is and who takes the steps is in [`super::compaction`].

use super::entry::Head;
use super::shard::ShardData;
use crate::store::memory::OutOfMemory;
use crate::store::table::{BUCKET, Block};

/// Holes are filled by moving entries when they are more than this, in bytes, and more than one part in this many.
const HOLES: usize = 4 << 10;
const HOLES_SHARE: usize = 20;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The place of the database, and the cursor in its table.
    space: usize,
    cursor: u64,
}

impl ShardData {
    /// Whether entries are being moved together.
    pub(super) fn is_compacting(&self) -> bool {
        self.compaction.is_some()
    }

    /// Whether there are so many holes between the entries that moving them together pays.
    #[inline]
    pub(super) fn is_compaction_due(&self) -> bool {
        self.arena.holes() > HOLES.max(self.arena.reserved() / HOLES_SHARE)
    }

    /// Begins to move the entries together, whatever it gains. For the guard, who takes turns.
    pub(super) fn start_compaction(&mut self) {
        if self.arena.used() == 0 {
            self.arena.clear();
        } else if self.compaction.is_none() && self.arena.holes() > 0 {
            self.arena.condemn();
            self.compaction = Some(Progress { space: 0, cursor: 0 });
        }
    }

    /// Moves the entries of one chain of buckets, some ten; nothing may refer to an entry across this. O(1).
    pub(super) fn step_compaction(&mut self) {
        let Some(Progress { space, cursor }) = self.compaction else { return };
        if space == self.spaces.len() {
            self.arena.release_condemned();
            self.compaction = None;
            return;
        }
        let moved = self.change_table(space, |table, stored| {
            table.relocate(stored, cursor, |stored, block| {
                let (at, is_entry) = match block {
                    Block::Entry(at) => (at, true),
                    Block::Overflow(at) => (at, false),
                };
                if !stored.arena.is_condemned(at) {
                    return Ok(None);
                }
                let size = if is_entry { Head::read(stored.arena, at).size() } else { BUCKET };
                stored.arena.relocate(at, size).map(Some)
            })
        });
        self.compaction = match moved {
            Ok(0) => Some(Progress { space: space + 1, cursor: 0 }),
            Ok(cursor) => Some(Progress { space, cursor }),
            // The system has no memory now: what was moved is moved, and the step is tried again.
            Err(OutOfMemory) => return,
        };
    }
}
