//! Locks on the shards of a command's keys, always taken in ascending order of shards, so that no two commands can wait
//! for each other.

use smallvec::SmallVec;

use super::Keyspace;
use super::guard::ShardGuard;
use super::read;
use super::shard::ShardData;
use crate::store::key::{SHARDS, shard_of};
use crate::sync::MutexGuard;

/// The shards a command has locked.
pub(crate) enum Locks<'e> {
    /// The shard of a single key, and its index.
    One(usize, ShardGuard<'e>),
    /// Several shards, ascending.
    Some(Several<'e>),
    #[cfg_attr(not(feature = "scripting"), expect(dead_code, reason = "only scripts hold them"))]
    /// Those of the keys that a script has declared, ascending, and its turn to ask for the others.
    Declared(Several<'e>, MutexGuard<'e, ()>),
    /// Every shard.
    All(Vec<ShardGuard<'e>>),
}

/// Several locked shards, ascending. Which of them is a certain one is counted, not searched for: a transaction asks for it several times a command, and
/// the processor can't foresee how a search ends.
#[derive(Default)]
pub(crate) struct Several<'e> {
    guards: Vec<(usize, ShardGuard<'e>)>,
    /// A bit for each shard that is locked.
    locked: [u64; SHARDS.div_ceil(64)],
    /// How many are locked that come before those of each word.
    before: [u8; SHARDS.div_ceil(64)],
}

impl<'e> Several<'e> {
    /// These, which ascend.
    pub(super) fn new(guards: Vec<(usize, ShardGuard<'e>)>) -> Self {
        let mut locked = [0_u64; SHARDS.div_ceil(64)];
        for (index, _) in &guards {
            locked[index / 64] |= 1 << (index % 64);
        }
        let mut before = [0; SHARDS.div_ceil(64)];
        for word in 1..before.len() {
            before[word] = before[word - 1] + locked[word - 1].count_ones() as u8;
        }
        Self { guards, locked, before }
    }

    /// The guards and their shards, ascending.
    pub(super) fn into_guards(self) -> Vec<(usize, ShardGuard<'e>)> {
        self.guards
    }

    #[inline]
    fn has(&self, index: usize) -> bool {
        self.locked[index / 64] >> (index % 64) & 1 != 0
    }

    /// Where the guard of a shard is.
    ///
    /// # Panics
    /// If the shard is not locked.
    #[inline]
    fn place(&self, index: usize) -> usize {
        if !self.has(index) {
            undeclared();
        }
        let below = self.locked[index / 64] & ((1 << (index % 64)) - 1);
        usize::from(self.before[index / 64]) + below.count_ones() as usize
    }
}

impl<'e> Locks<'e> {
    #[inline]
    pub(crate) fn one(keyspace: &'e Keyspace, hash: u64) -> Self {
        let index = shard_of(hash);
        Locks::One(index, keyspace.lock(index))
    }

    /// Locks the shards of keys with these hashes, in any order and with repeats. Where there are several, their memory is fetched before:
    /// what misses the cache under a lock keeps others waiting.
    pub(crate) fn of(keyspace: &'e Keyspace, db: usize, hashes: &[u64]) -> Self {
        if let [hash] = hashes {
            return Locks::one(keyspace, *hash);
        }
        read::prefetch(keyspace, db, hashes, |hash| *hash);
        let mut indices: SmallVec<[usize; 16]> = hashes.iter().map(|hash| shard_of(*hash)).collect();
        indices.sort_unstable();
        indices.dedup();
        match indices[..] {
            [index] => Locks::One(index, keyspace.lock(index)),
            _ if indices.len() == SHARDS => Locks::all(keyspace),
            _ => {
                let indices = indices.iter().copied();
                let count = indices.len();
                Locks::Some(Several::new(
                    keyspace.lock_ascending(indices, count, |index, guard| (index, guard)),
                ))
            }
        }
    }

    pub(crate) fn all(keyspace: &'e Keyspace) -> Self {
        Locks::All(keyspace.lock_ascending(0..SHARDS, SHARDS, |_, guard| guard))
    }

    /// A locked shard.
    ///
    /// # Panics
    /// If the shard is not locked: the command touches a key that it did not declare.
    #[inline]
    pub(crate) fn shard(&self, index: usize) -> &ShardData {
        match self {
            Locks::One(own, guard) if *own == index => guard,
            Locks::Some(several) | Locks::Declared(several, _) => &several.guards[several.place(index)].1,
            Locks::All(guards) => &guards[index],
            Locks::One(..) => undeclared(),
        }
    }

    /// A locked shard, to change.
    ///
    /// # Panics
    /// As [`Locks::shard`].
    #[inline]
    pub(crate) fn shard_mut(&mut self, index: usize) -> &mut ShardData {
        match self {
            Locks::One(own, guard) if *own == index => guard,
            Locks::Some(several) | Locks::Declared(several, _) => {
                let place = several.place(index);
                &mut several.guards[place].1
            }
            Locks::All(guards) => &mut guards[index],
            Locks::One(..) => undeclared(),
        }
    }

    /// Whether these are all shards that whoever has them will touch: only a script may come to need more.
    #[inline]
    pub(super) fn are_complete(&self) -> bool {
        !matches!(self, Locks::Declared(..))
    }

    /// Indices of the locked shards, ascending.
    pub(crate) fn indices(&self) -> Vec<usize> {
        match self {
            Locks::One(index, _) => vec![*index],
            Locks::Some(several) | Locks::Declared(several, _) => {
                several.guards.iter().map(|(index, _)| *index).collect()
            }
            Locks::All(guards) => (0..guards.len()).collect(),
        }
    }

    /// Whether a shard is locked.
    #[inline]
    pub(super) fn has(&self, index: usize) -> bool {
        match self {
            Locks::One(own, _) => *own == index,
            Locks::Some(several) | Locks::Declared(several, _) => several.has(index),
            Locks::All(_) => true,
        }
    }

    /// Whether `is_it` holds for a locked shard.
    #[inline]
    pub(super) fn any(&self, mut is_it: impl FnMut(&ShardData) -> bool) -> bool {
        match self {
            Locks::One(_, guard) => is_it(guard),
            Locks::Some(several) | Locks::Declared(several, _) => {
                several.guards.iter().any(|(_, guard)| is_it(guard))
            }
            Locks::All(guards) => guards.iter().any(|guard| is_it(guard)),
        }
    }

    /// Calls `visit` for each locked shard that may have been changed.
    #[inline]
    pub(super) fn each_written(&mut self, mut visit: impl FnMut(&mut ShardData)) {
        let mut visit = |guard: &mut ShardGuard<'_>| {
            if guard.is_writing() {
                visit(guard);
            }
        };
        match self {
            Locks::One(_, guard) => visit(guard),
            Locks::Some(several) | Locks::Declared(several, _) => {
                several.guards.iter_mut().for_each(|(_, guard)| visit(guard))
            }
            Locks::All(guards) => guards.iter_mut().for_each(visit),
        }
    }

    /// Calls `visit` for each locked shard.
    #[inline]
    pub(crate) fn each_mut(&mut self, mut visit: impl FnMut(&mut ShardData)) {
        match self {
            Locks::One(_, guard) => visit(guard),
            Locks::Some(several) | Locks::Declared(several, _) => {
                several.guards.iter_mut().for_each(|(_, guard)| visit(guard))
            }
            Locks::All(guards) => guards.iter_mut().for_each(|guard| visit(guard)),
        }
    }
}

#[cold]
fn undeclared() -> ! {
    panic!("a command may only touch keys that it declared");
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Engine;

    #[test]
    fn each_of_several_shards_is_found_and_no_other() {
        let engine = Engine::new();
        let keyspace = &engine.inner.keyspace;
        let wanted = [0, 1, 62, 63, 64, 65, 127, 128, 191, 192, 254, 255];
        let locks = Locks::Some(Several::new(keyspace.lock_ascending(
            wanted.into_iter(),
            wanted.len(),
            |index, guard| (index, guard),
        )));
        let Locks::Some(several) = &locks else { unreachable!("they are several") };
        for index in 0..SHARDS {
            assert_eq!(locks.has(index), wanted.contains(&index), "{index}");
            if locks.has(index) {
                assert_eq!(several.guards[several.place(index)].0, index);
            }
        }
        assert_eq!(locks.indices(), wanted);
    }
}
