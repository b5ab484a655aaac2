//! A shard that goes on with what an image holds of it.

use super::{ShardData, Space};
use crate::keyspace::entry::Head;
use crate::keyspace::image::ShardImage;
use crate::keyspace::stored::rehash;
use crate::store::memory::pool::Run;
use crate::store::memory::{Arena, Ref};
use crate::store::table::Table;
use crate::value::Kind;

impl ShardData {
    /// Goes on with an image, whose memory is there. The shard has held nothing. O(fields) of hashes that have some with deadlines.
    pub(in crate::keyspace) fn adopt(&mut self, image: &ShardImage, databases: &[usize]) {
        let runs = |runs: &[(u32, u32)]| {
            runs.iter().map(|(first, pages)| Run::of(*first as usize, *pages as usize)).collect()
        };
        let pool = self.shared.pool.clone();
        self.arena = Arena::adopted(pool, runs(&image.runs), runs(&image.huge), image.used as usize);
        self.owners = image.owners as usize;
        for found in &image.tables {
            let db = databases[found.database as usize];
            let place = self.number_of(db);
            let space = &mut self.spaces[place];
            *space = Space {
                table: Table::from_words(found.table),
                with_deadline: found.with_deadline as usize,
                deadlines: found.deadlines,
                with_inside: found.inside.len(),
                ..Space::new(space.buckets.clone())
            };
            self.shared.publish(self.number, place, self.spaces[place].table.homes());
            found.inside.iter().filter_map(|at| Ref::new(*at)).for_each(|at| self.arm_fields(db, at));
        }
    }

    /// Makes the timers of fields that are in no file; none where something else stands than a hash, since pages may be verified later.
    fn arm_fields(&mut self, db: usize, at: Ref) {
        let Some(hash) = self.hash_of_table(db, at) else { return };
        let armed = self.edit_owned(db, hash, at, |owned, seed| {
            let timers = owned.timers_anew(seed);
            owned.set_wheel(Some(timers));
            (owned.timer_to_arm(), false)
        });
        // Without memory for it fields expire on time; only their memory waits.
        if let Ok((_, Some(deadline), _)) = armed {
            self.arm(db, hash, deadline);
        }
    }

    /// The hash of a key whose value is a hash that is a table, if such an entry stands there and is in the table of its database.
    fn hash_of_table(&self, db: usize, at: Ref) -> Option<u64> {
        let words = self.arena.region().words(at)?;
        let head = Head::of(words)?;
        let is_it = words.get(0)? & Kind::MASK == Kind::HashTable as u64
            && head.size() <= words.len() * size_of::<u64>();
        let hash = is_it.then(|| rehash(&self.arena, &self.shared.seed, at))?;
        self.find_by(db, hash, |found| found == at).map(|_| hash)
    }

    /// Arms the timers of keys of one chain of the table at a place. Returns the next cursor; `None` if there is no such place.
    pub(in crate::keyspace) fn arm_chain(&mut self, place: usize, cursor: u64) -> Option<u64> {
        let space = self.spaces.get(place)?;
        if space.with_deadline == 0 || space.is_retired {
            return Some(0);
        }
        let mut due = smallvec::SmallVec::<[(u64, u64); 32]>::new();
        let next = self.scan_place(place, cursor, |at| {
            if let Some(deadline) = self.head(at).deadline(&self.arena, at) {
                due.push((rehash(&self.arena, &self.shared.seed, at), deadline));
            }
        });
        due.into_iter().for_each(|(hash, deadline)| self.arm_at(place, hash, deadline));
        Some(next)
    }
}
