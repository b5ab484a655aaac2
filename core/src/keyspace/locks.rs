//! Locks on the shards of a command's keys, always taken in ascending order of shards, so that no two commands can wait
//! for each other.

use super::shard::ShardData;
use crate::store::key::{SHARDS, shard_of};
use crate::sync::{Mutex, MutexGuard};

type Guard<'e> = MutexGuard<'e, ShardData>;

/// The shards a command has locked.
pub(crate) enum Locks<'e> {
    /// The shard of a single key, and its index.
    One(usize, Guard<'e>),
    /// Several shards, ascending.
    Some(Vec<(usize, Guard<'e>)>),
    /// Every shard.
    All(Vec<Guard<'e>>),
}

impl<'e> Locks<'e> {
    pub(crate) fn one(shards: &'e [Mutex<ShardData>], hash: u64) -> Self {
        let index = shard_of(hash);
        Locks::One(index, shards[index].lock())
    }

    /// Locks the shards of these indices, in any order and with repeats.
    pub(crate) fn of(shards: &'e [Mutex<ShardData>], mut indices: smallvec::SmallVec<[usize; 16]>) -> Self {
        indices.sort_unstable();
        indices.dedup();
        match indices[..] {
            [index] => Locks::One(index, shards[index].lock()),
            _ if indices.len() == SHARDS => Locks::all(shards),
            _ => Locks::Some(indices.into_iter().map(|index| (index, shards[index].lock())).collect()),
        }
    }

    pub(crate) fn all(shards: &'e [Mutex<ShardData>]) -> Self {
        Locks::All(shards.iter().map(Mutex::lock).collect())
    }

    /// A locked shard.
    ///
    /// # Panics
    /// If the shard is not locked: the command touches a key that it did not declare.
    #[inline]
    pub(crate) fn shard(&self, index: usize) -> &ShardData {
        match self {
            Locks::One(own, guard) if *own == index => guard,
            Locks::Some(guards) => {
                let at = guards.binary_search_by_key(&index, |(own, _)| *own).expect("the key was declared");
                &guards[at].1
            }
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
            Locks::Some(guards) => {
                let at = guards.binary_search_by_key(&index, |(own, _)| *own).expect("the key was declared");
                &mut guards[at].1
            }
            Locks::All(guards) => &mut guards[index],
            Locks::One(..) => undeclared(),
        }
    }

    /// Indices of the locked shards, ascending.
    pub(crate) fn indices(&self) -> Vec<usize> {
        match self {
            Locks::One(index, _) => vec![*index],
            Locks::Some(guards) => guards.iter().map(|(index, _)| *index).collect(),
            Locks::All(guards) => (0..guards.len()).collect(),
        }
    }

    /// Calls `visit` for each locked shard.
    #[inline]
    pub(crate) fn each_mut(&mut self, mut visit: impl FnMut(&mut ShardData)) {
        match self {
            Locks::One(_, guard) => visit(guard),
            Locks::Some(guards) => guards.iter_mut().for_each(|(_, guard)| visit(guard)),
            Locks::All(guards) => guards.iter_mut().for_each(|guard| visit(guard)),
        }
    }
}

#[cold]
fn undeclared() -> ! {
    panic!("a command may only touch keys that it declared");
}
