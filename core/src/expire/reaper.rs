//! Reclaims what has expired: asks each shard's wheels for due timers and removes the keys and fields behind them.
//!
//! Visibility never depends on it, since look-ups judge deadlines themselves; it bounds how long memory stays taken. A lock is
//! held for at most [`BUDGET`] timers at a time. What these lead to is fetched into the cache before the shard is changed, as long as those
//! who read without the lock still may.
//!
//! While a lot is due, the thread offers its processor to others every millisecond ([`STRETCH`]), when it holds no lock: a thread whose time is up
//! while it holds one is set aside for milliseconds, and whoever reads that shard then waits as long.

use std::time::Duration;

use crate::keyspace::collection::expire_elements;
use crate::keyspace::db::Db;
use crate::keyspace::locks::Locks;
use crate::keyspace::shard::ShardData;
use crate::keyspace::{Key, Keyspace, read};
use crate::store::key::hash_in;
use crate::store::wheel::{Fired, Wheel};
use smallvec::SmallVec;

/// Timers handled per hold of a shard's lock.
const BUDGET: usize = 64;

/// Time after which others are offered the processor: below what schedulers give a thread at once (some 3 ms).
pub(crate) const STRETCH: Duration = Duration::from_millis(1);

/// [`STRETCH`], but for models: what they do must not depend on how busy the machine is.
const AT_ONCE: Duration = if cfg!(loom) { Duration::MAX } else { STRETCH };

/// Reclaims everything due by now in all shards; returns how many keys and fields that were.
pub(crate) fn reap(keyspace: &Keyspace) -> usize {
    let mut reclaimed = 0;
    loop {
        let (count, more) = reap_for(keyspace, AT_ONCE);
        reclaimed += count;
        if !more {
            return reclaimed;
        }
        std::thread::yield_now();
    }
}

/// Reclaims what is due by now, for about so long. Returns how many keys and fields that were, and whether more are due.
///
/// Goes round the shards, one hold of a lock each: whoever waits for a shard gets it before the reaper comes back.
pub(crate) fn reap_for(keyspace: &Keyspace, time: Duration) -> (usize, bool) {
    let deadlines = &keyspace.shared.deadlines;
    let (now, timer) = (keyspace.clock.now_ms(), keyspace.clock.timer());
    let mut reclaimed = 0;
    let mut more = true;
    deadlines.begin();
    while more {
        more = false;
        for shard in deadlines.due(now) {
            let (count, is_left) = reap_shard(keyspace, shard);
            reclaimed += count;
            more |= is_left;
            keyspace.shared.pool.trim_some();
            if timer.elapsed() >= time {
                deadlines.go_on_at(shard + 1);
                return (reclaimed, true);
            }
        }
    }
    (reclaimed, false)
}

/// Reclaims some of what is due in a shard. Returns how many keys and fields went, and whether more are due.
fn reap_shard(keyspace: &Keyspace, index: usize) -> (usize, bool) {
    let mut reclaimed = 0;
    let databases = keyspace.shared.databases();
    let mut at = 0;
    loop {
        let mut data = keyspace.lock(index);
        let Some(&database) = databases.get(at) else {
            // A look into the wheels at a time before the one they were advanced to would find nothing to wait for.
            data.note_next_deadline(keyspace.clock.now_ms());
            return (reclaimed, false);
        };
        fetch_upcoming(keyspace, &data, index, database);
        let Some(mut wheel) = data.take_wheel(database) else {
            at += 1;
            continue;
        };
        let mut db = Db::new(keyspace, (database, 0), Locks::One(index, data));
        let (count, more) = turn(&mut db, index, &mut wheel);
        reclaimed += count;
        db.locks_mut().shard_mut(index).put_wheel(database, wheel);
        db.finish_unasked(database);
        if more {
            return (reclaimed, true);
        }
        at += 1;
    }
}

/// Has the memory of what comes up next fetched.
fn fetch_upcoming(keyspace: &Keyspace, data: &ShardData, shard: usize, database: usize) {
    let upcoming = data.wheel(database).into_iter().flat_map(Wheel::upcoming).take(BUDGET);
    let hashes: SmallVec<[u64; BUDGET]> = upcoming.map(|id| hash_in(shard, id)).collect();
    read::prefetch(keyspace, database, &hashes, |hash| *hash);
}

/// Handles up to [`BUDGET`] due timers. Returns how many keys and fields went, and whether more timers are due.
fn turn(db: &mut Db<'_>, shard: usize, wheel: &mut Wheel) -> (usize, bool) {
    let now = db.now();
    let mut reclaimed = 0;
    let progress = wheel.advance(now, BUDGET, |id| {
        let (count, next) = fire(db, shard, id, now);
        reclaimed += count;
        next
    });
    (reclaimed, progress.more)
}

/// Looks up the entries that a timer may stand for and reclaims what is due.
fn fire(db: &mut Db<'_>, shard: usize, id: u32, now: u64) -> (usize, Fired) {
    let mut reclaimed = 0;
    let mut next: Option<u64> = None;
    for at in db.timer_candidates(shard, id) {
        let entry = db.entry_at(shard, at);
        let deadline = entry.deadline();
        let mut inside = entry.value().next_deadline();
        let is_due = deadline.is_some_and(|deadline| deadline <= now);
        if is_due || inside.is_some_and(|deadline| deadline <= now) {
            let name: SmallVec<[u8; 64]> = SmallVec::from_slice(entry.key());
            let key = Key::new(&name, &db.keyspace().seed);
            if is_due {
                db.expire_key(&key);
                reclaimed += 1;
                continue;
            }
            reclaimed += expire_elements(db, &key);
            inside = db.peek(&key).and_then(|entry| entry.value().next_deadline());
        }
        next = next.into_iter().chain(deadline).chain(inside).min();
    }
    (reclaimed, next.map_or(Fired::Gone, Fired::Later))
}
