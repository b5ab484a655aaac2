//! What reads meet that is to be seen to: a command that reads changes nothing, so that waits until it has ended, and is done before its shards are unlocked.
//!
//! Whoever reads says what it found; what becomes of that is decided here. Events of it come before those of what the command did after the read.

use super::Db;
use crate::keyspace::collection;
use crate::keyspace::hooks::{EventClass, KEY_MISS};
use crate::store::key::Key;
use crate::sync::Ordering;
use crate::value::hyperloglog;
use crate::value::zset::members::Members;

/// A key that a read met.
pub(super) struct Met {
    db: usize,
    key: Box<[u8]>,
    what: What,
    /// Events that were announced before.
    events: usize,
}

/// What there is to do.
enum What {
    /// It is not there, and somebody wants to hear of that.
    Miss,
    /// It has expired, and is reclaimed.
    Reclaim,
    /// Its sorted set was sorted, and leaves its listpack as the server's does.
    Unpack,
    /// Its HyperLogLog was counted: the string is `raw` from then on, and keeps the estimate if it is a new one.
    Keep(Option<u64>),
}

impl Db<'_> {
    /// Has a read of a key that is not there announced.
    #[cold]
    pub(super) fn found_missing(&self, key: &[u8]) {
        self.meet(key, What::Miss);
    }

    /// Has a key that was met and had expired reclaimed when the command has ended.
    pub(crate) fn found_stale(&self, key: &[u8]) {
        if !self.keyspace.keeps_expired.load(Ordering::Relaxed) {
            self.meet(key, What::Reclaim);
        }
    }

    /// Has the sorted set of a key leave its listpack when the command has ended. Its members stay the same.
    pub(crate) fn unpack_later(&self, key: &[u8]) {
        self.meet(key, What::Unpack);
    }

    /// Has the HyperLogLog of a key keep its estimate when the command has ended, if it is a new one. For all who look that is a change: the string is
    /// another, and the log gets the command that has counted.
    pub(crate) fn keep_estimate_later(&self, key: &Key<'_>, estimate: Option<u64>) {
        self.meet(key.bytes(), What::Keep(estimate));
    }

    fn meet(&self, key: &[u8], what: What) {
        let events = self.announced();
        self.met.borrow_mut().push(Met { db: self.index, key: key.into(), what, events });
    }

    /// Sees to the keys that reads met.
    #[inline]
    pub(crate) fn settle_met(&mut self) {
        if !self.met.get_mut().is_empty() {
            self.settle_all_met();
        }
    }

    #[inline(never)]
    fn settle_all_met(&mut self) {
        let home = self.index;
        let mut moved = 0;
        for Met { db, key, what, events } in std::mem::take(self.met.get_mut()) {
            self.index = db;
            let key = self.key(&key);
            let before = self.announced();
            match what {
                What::Miss => self.notify(EventClass::KeyMiss, KEY_MISS, key.bytes()),
                What::Reclaim => {
                    self.find_live(&key);
                }
                What::Unpack => {
                    // Without memory it stays packed.
                    let _ = collection::edit(self, &key, |members: &mut Members<'_>| {
                        members.unpack_anyway();
                        Ok(())
                    });
                }
                What::Keep(estimate) => self.keep_estimate(&key, estimate),
            }
            moved += self.move_events(before, events + moved);
        }
        self.index = home;
    }

    /// Without memory, or where the log takes no writes, the next who asks counts anew.
    fn keep_estimate(&mut self, key: &Key<'_>, estimate: Option<u64>) {
        let log_takes_it = self.keyspace.hooks.refusal().is_none();
        let Some(mut entry) = self.lookup_mut_untouched(key) else { return };
        if entry.make_raw().is_ok()
            && log_takes_it
            && let Some(estimate) = estimate
        {
            let _ = entry.write_string(hyperloglog::ESTIMATE_AT, &estimate.to_le_bytes());
        }
    }
}
