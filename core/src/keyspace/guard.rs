//! A shard behind its lock. What readers without the lock share with it is in [`super::shared`], what they do in [`super::read`].
//!
//! Whoever gets a mutable reference to a shard turns those readers away until the guard goes: nobody can forget it.
//!
//! **Compaction** goes on whenever a write ends, since then nobody refers to an entry; see [`super::compaction`]. Writes over what stands
//! in a block already ([`Shard::in_place`]) leave it to others: they make no holes and fill none.
//!
//! **Touches.** A reader without the lock must not write to an entry: its memory may be another's by then. It notes that
//! the entry should be stamped, with the count of the shard's sequence. Whoever takes the lock next stamps the entries whose
//! note bears the present count: nothing has changed since, so they are still where they were. Other notes are void.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use super::escalation::Patience;
use super::shard::ShardData;
use super::shared::{ShardLine, Shared, TOUCHES};
use crate::os::Guard;
use crate::store::memory::Ref;
use crate::sync::{Arc, Mutex, MutexGuard};

/// How often a shard that is being written to is looked at before whoever waits for it goes to sleep: some 50 us. Expiry and compaction write for
/// about 20.
const SPINS: usize = if cfg!(loom) { 0 } else { 1500 };

/// What is done under the lock of a shard by [`Shard::in_place`]: a closure, or what must be compiled into the place where it is called. Of closures the
/// compiler makes functions where it likes: INCR then takes a fifth more instructions.
pub(crate) trait Work {
    /// What it comes to.
    type Done;

    /// Does it, or does nothing.
    fn run(self, data: &mut ShardData) -> Option<Self::Done>;
}

impl<R, F: FnOnce(&mut ShardData) -> Option<R>> Work for F {
    type Done = R;

    #[inline(always)]
    fn run(self, data: &mut ShardData) -> Option<R> {
        self(data)
    }
}

/// See the module's text.
#[repr(align(64))]
pub(crate) struct Shard {
    shared: Arc<Shared>,
    /// Its place among the shards, and which of them is having its entries moved together.
    number: u32,
    turn: Arc<Turn>,
    /// Made when it is locked first: a small engine takes little.
    data: Mutex<Option<Box<ShardData>>>,
}

pub(super) type DataGuard<'s> = MutexGuard<'s, Option<Box<ShardData>>>;

#[inline(always)]
fn made<'d>(data: &'d DataGuard<'_>) -> &'d ShardData {
    data.as_deref().expect("a locked shard has its data")
}

#[inline(always)]
fn made_mut<'d>(data: &'d mut DataGuard<'_>) -> &'d mut ShardData {
    data.as_deref_mut().expect("a locked shard has its data")
}

/// Takes the entries out of the notes that are not void.
pub(super) struct Noted<'s> {
    shared: &'s Shared,
    shard: usize,
    next: usize,
    count: u32,
}

impl Iterator for Noted<'_> {
    type Item = Ref;

    #[inline]
    fn next(&mut self) -> Option<Ref> {
        while self.next < TOUCHES {
            let note = self.shared.note(self.shard, self.next)?;
            self.next += 1;
            // No exchange, which would wait for each entry's memory in turn: a note that comes in between is lost, as others are.
            let noted = note.load(Ordering::Relaxed);
            note.store(0, Ordering::Relaxed);
            if let Some(at) = Ref::new((noted >> 32) as u32).filter(|_| noted as u32 == self.count) {
                return Some(at);
            }
        }
        None
    }
}

/// A locked shard.
pub(crate) struct ShardGuard<'s> {
    shard: &'s Shard,
    data: DataGuard<'s>,
    /// Readers without the lock are turned away.
    writing: bool,
}

impl Shard {
    pub(crate) fn new(number: usize, turn: &Arc<Turn>, shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), number: number as u32, turn: turn.clone(), data: Mutex::new(None) }
    }

    #[inline(always)]
    fn line(&self) -> &ShardLine {
        self.shared.line(self.number as usize)
    }

    /// Takes the lock; `stamp` touches the entries that readers noted.
    #[inline]
    pub(super) fn lock(&self, stamp: impl FnOnce(&ShardData, Noted<'_>)) -> ShardGuard<'_> {
        let data = self.lock_data();
        self.stamp_if_noted(made(&data), stamp);
        ShardGuard { shard: self, data, writing: false }
    }

    /// Runs `work` under the lock, to write over what stands in blocks: it allocates and frees nothing, and turns readers away by itself, by the
    /// shard's line. `None` if nobody has locked the shard before.
    #[inline(always)]
    pub(super) fn in_place<R>(
        &self,
        line: &ShardLine,
        stamp: impl FnOnce(&ShardData, Noted<'_>),
        work: impl Work<Done = R>,
    ) -> Option<R> {
        if line.sequence.begin_read().is_none() {
            self.wait_for_writer();
        }
        let mut data = self.data.lock();
        let data = data.as_deref_mut()?;
        if line.noted.load(Ordering::Relaxed) != 0 {
            self.stamp_noted(data, stamp);
        }
        work.run(data)
    }

    #[inline(always)]
    fn lock_data(&self) -> DataGuard<'_> {
        if self.line().sequence.begin_read().is_none() {
            self.wait_for_writer();
        }
        let mut data = self.data.lock();
        if data.is_none() {
            self.make(&mut data);
        }
        data
    }

    #[cold]
    fn make(&self, data: &mut Option<Box<ShardData>>) {
        *data = Some(Box::new(ShardData::new(self.number as usize, &self.shared)));
        self.line().is_made.store(true, Ordering::Relaxed);
    }

    /// Holds the lock, whether anybody did before or not. Nothing that readers without the lock look at may be changed.
    pub(super) fn hold(&self) -> DataGuard<'_> {
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

    /// [`Shard::lock`] for who holds other shards: it never sleeps in the mutex, but looks whether it is to give way, and gets nothing then.
    #[inline]
    pub(super) fn lock_beside(
        &self,
        gives_way: impl Fn() -> bool,
        stamp: impl FnOnce(&ShardData, Noted<'_>),
    ) -> Option<ShardGuard<'_>> {
        let mut data = match self.data.try_lock() {
            Some(data) => data,
            None => self.wait_beside(gives_way)?,
        };
        if data.is_none() {
            self.make(&mut data);
        }
        self.stamp_if_noted(made(&data), stamp);
        Some(ShardGuard { shard: self, data, writing: false })
    }

    #[cold]
    fn wait_beside(&self, gives_way: impl Fn() -> bool) -> Option<DataGuard<'_>> {
        let mut patience = Patience::default();
        while !gives_way() {
            if let Some(data) = self.data.try_lock() {
                return Some(data);
            }
            patience.wait();
        }
        None
    }

    /// [`Shard::lock`] if nobody holds the lock, and somebody did before.
    pub(super) fn try_lock(&self, stamp: impl FnOnce(&ShardData, Noted<'_>)) -> Option<ShardGuard<'_>> {
        let data = self.data.try_lock().filter(|data| data.is_some())?;
        self.stamp_if_noted(made(&data), stamp);
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
        if let Some(place) = self.shared.note(self.number as usize, noted as usize) {
            place.store(note, Ordering::Relaxed);
        }
        line.noted.store(noted.wrapping_add(1), Ordering::Relaxed);
        if noted >= limit.min(TOUCHES as u32) - 1
            && let Some(data) = self.data.try_lock()
            && data.is_some()
        {
            self.stamp_noted(made(&data), stamp);
        }
    }

    #[inline(never)]
    fn stamp_noted(&self, data: &ShardData, stamp: impl FnOnce(&ShardData, Noted<'_>)) {
        let line = self.line();
        let (shared, shard) = (&*self.shared, self.number as usize);
        stamp(data, Noted { shared, shard, next: 0, count: line.sequence.count() as u32 });
        line.noted.store(0, Ordering::Relaxed);
    }
}

impl Deref for ShardGuard<'_> {
    type Target = ShardData;
    #[inline]
    fn deref(&self) -> &ShardData {
        made(&self.data)
    }
}

impl DerefMut for ShardGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut ShardData {
        if !self.writing {
            self.shard.line().sequence.begin_write();
            self.writing = true;
        }
        made_mut(&mut self.data)
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
    /// Whether what it guards may have been changed.
    pub(super) fn is_writing(&self) -> bool {
        self.writing
    }

    /// Runs `work`, which writes over what stands in blocks: it allocates and frees nothing.
    #[inline(always)]
    pub(super) fn in_place<R>(&mut self, work: impl FnOnce(&mut ShardData) -> R) -> R {
        let _turned_away = (!self.writing).then(|| self.shard.line().sequence.write());
        work(made_mut(&mut self.data))
    }

    /// What a write that may have changed anything ends with.
    #[inline(never)]
    fn tidy(&mut self) {
        if made(&self.data).is_compaction_due() {
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
            if !made(&self.data).is_compacting() {
                self.shard.turn.pass();
            }
        }
    }
}

impl Guard for ShardGuard<'_> {}

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
