//! The timers of a shard: those of keys that expire, and one for each value in which something does.
//!
//! What a timer leads to is judged by [`crate::expire`].

use super::ShardData;
use crate::background::NEVER;
use crate::keyspace::stored::rehash;
use crate::store::key::timer_id;
use crate::store::memory::Ref;
use crate::store::wheel::Wheel;
use crate::value::Kind;

impl ShardData {
    pub(super) fn deadline_changed(&mut self, db: usize, hash: u64, before: Option<u64>, after: Option<u64>) {
        let space = self.space_mut(db);
        match (before, after) {
            (None, Some(_)) => space.with_deadline += 1,
            (Some(_), None) => space.with_deadline -= 1,
            _ => {}
        }
        let part = |deadline: Option<u64>| deadline.map_or(0, u128::from);
        space.deadlines = space.deadlines + part(after) - part(before);
        // A later deadline needs no timer: the one already armed fires early and files itself again.
        if let Some(after) = after
            && before.is_none_or(|before| after < before)
        {
            self.arm(db, hash, after);
        }
    }

    /// Whether the value of the entry at `at` has deadlines inside.
    #[inline]
    pub(in crate::keyspace) fn has_inside(&self, at: Ref) -> bool {
        let head = self.head(at);
        // Only hashes have elements that expire.
        head.kind() == Kind::HashTable && self.value_of(at, head).next_deadline().is_some()
    }

    /// Counts the keys with deadlines inside their values.
    #[inline]
    pub(in crate::keyspace) fn inside_changed(&mut self, db: usize, before: bool, after: bool) {
        if before != after {
            let count = &mut self.space_mut(db).with_inside;
            *count = if after { *count + 1 } else { *count - 1 };
        }
    }

    /// Arms a timer for the key of this hash.
    pub(crate) fn arm(&mut self, db: usize, hash: u64, deadline: u64) {
        let place = self.number_of(db);
        self.arm_at(place, hash, deadline);
    }

    /// [`ShardData::arm`] for the table at a place.
    pub(super) fn arm_at(&mut self, place: usize, hash: u64, deadline: u64) {
        self.shared.deadlines.note(self.number, deadline);
        let Self { arena, spaces, .. } = self;
        let wheel = spaces[place].wheel.get_or_insert_with(|| Box::new(Wheel::in_pool(arena.pool(), 0)));
        // Without memory for a timer the key still expires on time; only its memory waits for an access.
        let _ = wheel.arm(deadline, timer_id(hash));
    }

    /// Frees the timing wheel of a database without keys; the next deadline makes another.
    pub(crate) fn drop_idle_wheel(&mut self, db: usize) {
        let space = self.space_mut(db);
        if space.table.len() == 0 {
            space.wheel = None;
        }
    }

    /// Arms all timers anew if most are of keys that went before their time, as they do when keys with long deadlines are evicted: such
    /// timers would stay until they are due. O(1) on average, O(entries) when it happens.
    pub(super) fn drop_stale_timers(&mut self, db: usize) {
        let space = self.space_mut(db);
        if space.timers() <= space.timers_allowed() {
            return;
        }
        let Some(mut wheel) = space.wheel.take() else { return };
        wheel.clear();
        if let Some(space) = self.space(db) {
            self.each_of(space, |at| {
                let head = self.head(at);
                let inside = self.value_of(at, head).next_deadline();
                for deadline in head.deadline(&self.arena, at).into_iter().chain(inside) {
                    // Without memory for a timer the key still expires on time.
                    let _ = wheel.arm(deadline, timer_id(rehash(&self.arena, &self.shared.seed, at)));
                }
            });
        }
        let space = self.space_mut(db);
        space.timers_kept = wheel.len();
        space.wheel = Some(wheel);
    }

    /// Timers of database `db`, and how many there may be once a key with a deadline was deleted.
    #[cfg(test)]
    pub(crate) fn timers(&self, db: usize) -> (usize, usize) {
        self.space(db).map_or((0, 0), |space| (space.timers(), space.timers_allowed()))
    }

    /// Notes when something in the shard is due next, in unix milliseconds, as far as its wheels tell at `now`.
    pub(crate) fn note_next_deadline(&self, now: u64) {
        let wheels = self.spaces.iter().filter_map(|space| space.wheel.as_ref());
        let next = wheels.filter_map(|wheel| wheel.next_look(now)).min();
        self.shared.deadlines.set(self.number, next.unwrap_or(NEVER));
    }

    /// The wheel of database `db`, if it ever had a timer.
    pub(crate) fn wheel(&self, db: usize) -> Option<&Wheel> {
        self.space(db)?.wheel.as_deref()
    }

    /// The wheel of database `db`, taken out so that its records can be checked against the shard.
    pub(crate) fn take_wheel(&mut self, db: usize) -> Option<Box<Wheel>> {
        self.wheel(db)?;
        self.space_mut(db).wheel.take()
    }

    /// Puts back what [`ShardData::take_wheel`] took.
    pub(crate) fn put_wheel(&mut self, db: usize, wheel: Box<Wheel>) {
        let armed_meanwhile = self.space_mut(db).wheel.replace(wheel);
        debug_assert!(armed_meanwhile.is_none(), "whoever takes the wheel returns new deadlines to it");
    }
}
