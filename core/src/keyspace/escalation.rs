//! How a script that has locked the shards of the keys it declared gets all others once it touches one that it did not.
//!
//! It already holds shards that are not the first, so it can't take the rest in order. Therefore whoever locks several shards never sleeps at one while it
//! holds others: it looks on, and gives way as soon as a script escalates. It has executed nothing by then and begins anew. Only one script at a
//! time has the [`turn`](Escalation::turn) that this needs, so no two scripts wait for each other. Who can't give way, as a fork, takes the turn first.

#[cfg(not(loom))]
use std::time::Duration;

use super::Keyspace;
use super::guard::ShardGuard;
use super::locks::Locks;
#[cfg(feature = "scripting")]
use super::locks::Several;
use crate::store::key::SHARDS;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The state of it, one for each keyspace.
#[derive(Default)]
pub(crate) struct Escalation {
    turn: Mutex<()>,
    is_on: AtomicBool,
}

impl Escalation {
    /// Waits for the turn to hold some shards and ask for the rest, or to hold all and give none away. The caller holds no shard.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Whether a script waits for shards that others hold.
    #[inline]
    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Waits, holding no shard, until the script that escalates has what it wants.
    #[cold]
    fn wait(&self) {
        let mut patience = Patience::default();
        while self.is_on() {
            patience.wait();
        }
    }
}

/// How somebody waits who has to look on: awake at first, asleep for ever longer after that.
#[derive(Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// A model has no clock: it is told that others have to go on.
    #[cfg(loom)]
    pub(crate) fn wait(&mut self) {
        loom::thread::yield_now();
        self.0 = self.0.saturating_add(1);
    }

    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) {
        /// Some 50 us, which is longer than most writes take.
        const AWAKE: u32 = 100;
        const SOON: u32 = AWAKE + 20;
        match self.0 {
            ..AWAKE => (0..16).for_each(|_| std::hint::spin_loop()),
            AWAKE..SOON => std::thread::sleep(Duration::from_micros(50)),
            SOON.. => std::thread::sleep(Duration::from_millis(1)),
        }
        self.0 = self.0.saturating_add(1);
    }
}

impl Keyspace {
    /// Locks these shards, which ascend, as soon as no script escalates.
    pub(super) fn lock_ascending<'e, T>(
        &'e self,
        indices: impl Iterator<Item = usize> + Clone,
        count: usize,
        entry: impl Fn(usize, ShardGuard<'e>) -> T,
    ) -> Vec<T> {
        loop {
            let mut guards = Vec::with_capacity(count);
            for index in indices.clone() {
                let guard = match guards.is_empty() {
                    true => Some(self.lock(index)),
                    false => self.lock_beside(index, || self.escalation.is_on()),
                };
                match guard {
                    Some(guard) => guards.push(entry(index, guard)),
                    None => break,
                }
            }
            if guards.len() == count {
                return guards;
            }
            drop(guards);
            self.escalation.wait();
        }
    }
}

impl<'e> Locks<'e> {
    /// Locks the shards of the keys that a script declares, or all, if it declares none.
    #[cfg(feature = "scripting")]
    pub(crate) fn declared(keyspace: &'e Keyspace, db: usize, hashes: &[u64]) -> Self {
        if hashes.is_empty() {
            return Locks::all(keyspace);
        }
        let turn = keyspace.escalation.turn();
        match Locks::of(keyspace, db, hashes) {
            Locks::One(index, guard) => Locks::Declared(Several::new(vec![(index, guard)]), turn),
            Locks::Some(several) => Locks::Declared(several, turn),
            locks => locks,
        }
    }

    /// Locks the shards that are not locked yet, if these are the locks of a script: all others have locked what they may touch.
    pub(super) fn escalated(self, keyspace: &'e Keyspace) -> Self {
        struct Off<'e>(&'e AtomicBool);
        impl Drop for Off<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let (own, _turn) = match self {
            Locks::Declared(several, turn) => (several.into_guards(), turn),
            complete => return complete,
        };
        keyspace.escalation.is_on.store(true, Ordering::Release);
        let _off = Off(&keyspace.escalation.is_on);
        let mut own = own.into_iter().peekable();
        let guard = |index| match own.next_if(|(held, _)| *held == index) {
            Some((_, guard)) => guard,
            None => keyspace.lock_beside(index, || false).expect("it does not give way"),
        };
        Locks::All((0..SHARDS).map(guard).collect())
    }
}
