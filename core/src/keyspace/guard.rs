//! A shard behind its lock, and what readers without the lock share with it.
//!
//! Whoever gets a mutable reference to a shard turns those readers away until the guard goes: nobody can forget it. What
//! such readers do is in [`super::read`].
//!
//! **Compaction** goes on whenever a write ends, since then nobody refers to an entry; see [`super::compaction`]. Writes over what stands
//! in a block already ([`InPlaceGuard`]) leave it to others: they make no holes and fill none.
//!
//! **Touches.** A reader without the lock must not write to an entry: its memory may be another's by then. It notes that
//! the entry should be stamped, with the count of the shard's sequence. Whoever takes the lock next stamps the entries whose
//! note bears the present count: nothing has changed since, so they are still where they were. Other notes are void.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::shard::ShardData;
use super::shared::{ShardLine, Shared};
use crate::os::Guard;
use crate::store::key::HashSeed;
use crate::store::memory::Ref;
use crate::store::sequence::Write;
use crate::sync::{Arc, Mutex, MutexGuard};

/// Notes of touches that fit before somebody has to take the lock for them.
const TOUCHES: usize = 16;

/// How often a shard that is being written to is looked at before whoever waits for it goes to sleep: some 50 us. Expiry and compaction write for
/// about 20.
const SPINS: usize = if cfg!(loom) { 0 } else { 1500 };

/// See the module's text.
pub(crate) struct Shard {
    shared: Arc<Shared>,
    /// Its place among the shards, and which of them is having its entries moved together.
    number: u32,
    turn: Arc<Turn>,
    data: Mutex<ShardData>,
    /// Entries to stamp: reference in the upper half, low half of the sequence count in the lower. How many there are stands in the shard's line.
    notes: [AtomicU64; TOUCHES],
}

/// Takes the entries out of the notes that are not void.
pub(super) struct Noted<'s> {
    notes: std::slice::Iter<'s, AtomicU64>,
    count: u32,
}

impl Iterator for Noted<'_> {
    type Item = Ref;

    #[inline]
    fn next(&mut self) -> Option<Ref> {
        let count = self.count;
        self.notes.find_map(|note| {
            // No exchange, which would wait for each entry's memory in turn: a note that comes in between is lost, as others are.
            let noted = note.load(Ordering::Relaxed);
            note.store(0, Ordering::Relaxed);
            Ref::new((noted >> 32) as u32).filter(|_| noted as u32 == count)
        })
    }
}

/// A locked shard.
pub(crate) struct ShardGuard<'s> {
    shard: &'s Shard,
    data: MutexGuard<'s, ShardData>,
    /// Readers without the lock are turned away.
    writing: bool,
}

/// A shard locked to write over what stands in its blocks: nothing is allocated, freed, or stored in a database that is new.
pub(crate) struct InPlaceGuard<'s> {
    shard: &'s Shard,
    data: MutexGuard<'s, ShardData>,
}

impl Shard {
    pub(crate) fn new(seed: &HashSeed, number: usize, turn: &Arc<Turn>, shared: &Arc<Shared>) -> Self {
        Self {
            shared: shared.clone(),
            number: number as u32,
            turn: turn.clone(),
            data: Mutex::new(ShardData::new(seed, number, shared)),
            notes: Default::default(),
        }
    }

    #[inline(always)]
    fn line(&self) -> &ShardLine {
        self.shared.line(self.number as usize)
    }

    /// Takes the lock; `stamp` touches the entries that readers noted.
    #[inline]
    pub(super) fn lock(&self, stamp: impl FnOnce(&ShardData, Noted<'_>)) -> ShardGuard<'_> {
        let data = self.lock_data();
        self.stamp_if_noted(&data, stamp);
        ShardGuard { shard: self, data, writing: false }
    }

    /// [`Shard::lock`] for an overwrite.
    #[inline(always)]
    pub(super) fn lock_in_place(&self, stamp: impl FnOnce(&ShardData, Noted<'_>)) -> InPlaceGuard<'_> {
        let data = self.lock_data();
        self.stamp_if_noted(&data, stamp);
        InPlaceGuard { shard: self, data }
    }

    #[inline(always)]
    fn lock_data(&self) -> MutexGuard<'_, ShardData> {
        if self.line().sequence.begin_read().is_none() {
            self.wait_for_writer();
        }
        self.data.lock()
    }

    /// Waits until whoever writes has ended, awake as long as most writes take. The mutex goes to sleep after a microsecond or two, and a
    /// processor that has nothing else to do then sleeps as well: on a virtual machine that takes up to milliseconds.
    #[cold]
    #[inline(never)]
    fn wait_for_writer(&self) {
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if self.line().sequence.begin_read().is_some() {
                return;
            }
        }
    }

    /// [`Shard::lock`] if nobody holds the lock.
    pub(super) fn try_lock(&self, stamp: impl FnOnce(&ShardData, Noted<'_>)) -> Option<ShardGuard<'_>> {
        let data = self.data.try_lock()?;
        self.stamp_if_noted(&data, stamp);
        Some(ShardGuard { shard: self, data, writing: false })
    }

    #[inline(always)]
    fn stamp_if_noted(&self, data: &ShardData, stamp: impl FnOnce(&ShardData, Noted<'_>)) {
        if self.line().noted.load(Ordering::Relaxed) != 0 {
            self.stamp_noted(data, stamp);
        }
    }

    /// Notes that an entry was read while the sequence stood at `count`. Gives the notes to `stamp` when there is no room for
    /// more, or loses them if somebody holds the lock.
    #[inline]
    pub(super) fn note_touch(
        &self,
        at: Ref,
        count: u64,
        limit: u32,
        stamp: impl FnOnce(&ShardData, Noted<'_>),
    ) {
        let line = self.line();
        let noted = line.noted.load(Ordering::Relaxed);
        let note = u64::from(at.get()) << 32 | u64::from(count as u32);
        self.notes[noted as usize % TOUCHES].store(note, Ordering::Relaxed);
        line.noted.store(noted.wrapping_add(1), Ordering::Relaxed);
        if noted >= limit.min(TOUCHES as u32) - 1
            && let Some(data) = self.data.try_lock()
        {
            self.stamp_noted(&data, stamp);
        }
    }

    #[inline(never)]
    fn stamp_noted(&self, data: &ShardData, stamp: impl FnOnce(&ShardData, Noted<'_>)) {
        let line = self.line();
        stamp(data, Noted { notes: self.notes.iter(), count: line.sequence.count() as u32 });
        line.noted.store(0, Ordering::Relaxed);
    }
}

impl Deref for ShardGuard<'_> {
    type Target = ShardData;
    #[inline]
    fn deref(&self) -> &ShardData {
        &self.data
    }
}

impl DerefMut for ShardGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut ShardData {
        if !self.writing {
            self.shard.line().sequence.begin_write();
            self.writing = true;
        }
        &mut self.data
    }
}

impl Drop for ShardGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.writing {
            self.tidy();
            self.shard.line().sequence.end_write();
        }
    }
}

impl ShardGuard<'_> {
    /// What a write that may have changed anything ends with.
    #[inline(never)]
    fn tidy(&mut self) {
        if self.data.is_compaction_due() {
            self.start_compaction();
        }
        self.step_compaction();
    }

    /// Has the entries of this shard moved together from now on, unless another shard's are.
    #[cold]
    pub(super) fn start_compaction(&mut self) {
        if self.shard.turn.take(self.shard.number) {
            self.deref_mut().start_compaction();
        }
    }

    /// Moves some ten entries if they are being moved together.
    #[inline]
    pub(super) fn step_compaction(&mut self) {
        if self.shard.turn.is_of(self.shard.number) {
            self.deref_mut().step_compaction();
            if !self.data.is_compacting() {
                self.shard.turn.pass();
            }
        }
    }
}

impl Guard for ShardGuard<'_> {}

impl Deref for InPlaceGuard<'_> {
    type Target = ShardData;
    #[inline(always)]
    fn deref(&self) -> &ShardData {
        &self.data
    }
}

/// A shard that is being written to.
pub(super) struct InPlace<'g> {
    data: &'g mut ShardData,
    _readers: Write<'g>,
}

impl Deref for InPlace<'_> {
    type Target = ShardData;
    #[inline(always)]
    fn deref(&self) -> &ShardData {
        self.data
    }
}

impl DerefMut for InPlace<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut ShardData {
        self.data
    }
}

impl InPlaceGuard<'_> {
    /// Where the shard's sequence stands.
    #[inline(always)]
    pub(super) fn count(&self) -> u64 {
        self.shard.line().sequence.count()
    }

    /// Turns readers without the lock away until what is returned goes.
    #[inline(always)]
    pub(super) fn write(&mut self) -> InPlace<'_> {
        InPlace { _readers: self.shard.line().sequence.write(), data: &mut self.data }
    }
}

/// Which shard is having its entries moved together: one at a time, since meanwhile it takes memory twice.
#[derive(Default)]
pub(crate) struct Turn(AtomicU32);

impl Turn {
    /// The shard whose turn it is.
    #[inline]
    pub(super) fn whose(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed).checked_sub(1)? as usize)
    }

    #[inline]
    fn is_of(&self, shard: u32) -> bool {
        self.0.load(Ordering::Relaxed) == shard + 1
    }

    fn take(&self, shard: u32) -> bool {
        self.is_of(shard)
            || self.0.compare_exchange(0, shard + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn pass(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
