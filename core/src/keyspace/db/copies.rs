//! Values that go from key to key: copied, or moved.

use super::{Copied, Db, Entry};
use crate::error::Result;
use crate::evict::Event as Use;
use crate::keyspace::hooks::EventClass;
use crate::keyspace::shard::ShardData;
use crate::store::key::Key;
use crate::store::memory::Ref;
use crate::value::{NewValue, Owned};

impl Db<'_> {
    /// Stores a value that comes from another key: in Valkey it takes the place of an entry, not of a value, so the key is announced as new. Else as
    /// [`Db::insert`].
    ///
    /// # Errors
    /// As [`Db::insert`].
    pub(crate) fn insert_from_elsewhere(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
    ) -> Result<()> {
        let takes_place = self.find_live(key).is_some();
        self.put(key, value, deadline, |_, value| value)?;
        if takes_place {
            self.notify(EventClass::New, "new", key.bytes());
        }
        Ok(())
    }

    /// Stores a value that was dumped, as [`Db::insert_from_elsewhere`], with a stamp of its use if there is one.
    ///
    /// # Errors
    /// As [`Db::insert`].
    pub(crate) fn restore(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        stamp: Option<u32>,
    ) -> Result<()> {
        self.insert_from_elsewhere(key, value, deadline)?;
        self.arm_inside(key);
        if let (Some(stamp), Some(at)) = (stamp, self.find_live(key)) {
            self.shard(key).stamp(at, |_| stamp);
        }
        Ok(())
    }

    /// A copy of the value and the deadline of a key. O(size of the value), but at most of 64 KiB: what is larger is shared.
    ///
    /// While nothing is reclaimed the copy is without the elements that have expired, unless all have.
    pub(crate) fn copy(&mut self, key: &Key<'_>) -> Option<(Copied, Option<u64>)> {
        let at = self.find_live(key)?;
        if self.reclaims() || !self.is_due_inside(key, at) {
            return self.copy_with(key, ShardData::share);
        }
        let (now, seed) = (self.now(), &self.keyspace.seed);
        self.copy_with(key, |shard, at| {
            let mut copy = shard.share(at);
            copy.take_expired(seed, now);
            if copy.elements() > 0 { copy } else { shard.share(at) }
        })
    }

    fn copy_with(
        &mut self,
        key: &Key<'_>,
        share: impl FnOnce(&ShardData, Ref) -> Owned,
    ) -> Option<(Copied, Option<u64>)> {
        let at = self.find_live(key)?;
        let entry = Entry { shard: self.shard(key), at };
        Some((entry.copy_with(share), entry.deadline()))
    }

    /// Moves a value with its deadline to another key, or to a key of another database, over whatever is there. `None`: no such key. O(size of the
    /// value), but at most of 64 KiB.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn relocate(&mut self, from: &Key<'_>, to: &Key<'_>, target: usize) -> Result<Option<()>> {
        let Some((mut value, deadline)) = self.copy_with(from, ShardData::share_without_timers) else {
            return Ok(None);
        };
        // Before they hear of the other, as on a server.
        self.tell_trackers(from);
        let home = self.select(target);
        let moved = self.insert_from_elsewhere(to, value.as_new(), deadline);
        self.select(home);
        moved?;
        if let Some(owned) = self.remove_moved(from) {
            self.select(target);
            self.hand_timers_on(owned, to)?;
            self.arm_inside(to);
            self.select(home);
        }
        Ok(Some(()))
    }

    /// Removes a key whose value is another key's by now, and returns what its entry owned.
    fn remove_moved(&mut self, key: &Key<'_>) -> Option<Owned> {
        let at = self.find_live(key)?;
        self.keyspace.evictor.note(key.hash(), Use::Removed);
        self.preserve(key, at);
        let db = self.index;
        let owned = self.shard_mut(key).delete(db, key.hash(), at);
        self.modified(key);
        owned
    }

    /// Gives the timers of a value that was moved to the entry that has its elements now. What is left of the old one is dropped here: its pages are
    /// the other's, so it takes no time.
    fn hand_timers_on(&mut self, mut old: Owned, to: &Key<'_>) -> Result<()> {
        let Some(wheel) = old.take_wheel() else { return Ok(()) };
        let Some(at) = self.find_live(to) else { return Ok(()) };
        let db = self.index;
        let edited = self.shard_mut(to).edit_owned(db, to.hash(), at, |new, _| {
            new.set_wheel(Some(wheel));
            ((), true)
        });
        Ok(edited.map(|_| ())?)
    }
}
