//! Eviction: which key goes when the memory limit is reached.
//!
//! The policies here are pure: they see keys only through [`Keys`], and know neither locks nor limits. When to evict, and what else an
//! eviction entails, is `keyspace::evictor`'s.
//!
//! Two kinds of policy share the trait [`Policy`]:
//!
//! * **Filing** policies ([`lru`], [`adaptive`], and the volatile ones of [`sampled`]) keep a 5-byte [`Record`] of every key they may
//!   evict. A record is never updated by a hit and never removed with its key: a hit only changes the access stamp in the entry, and
//!   whoever takes a record out looks at the stamp and decides whether the key goes or the record is filed again. So a hit touches
//!   nothing that is shared, and an eviction examines a small constant number of keys on average.
//! * **Sampling** policies (random, LFU over all keys) keep nothing and draw keys.

pub(crate) mod adaptive;
pub(crate) mod calendar;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod ghost;
pub(crate) mod lru;
pub(crate) mod memory;
pub(crate) mod miniature;
pub(crate) mod records;
pub(crate) mod sampled;
pub(crate) mod shelf;
pub(crate) mod ticks;
pub(crate) mod uses;

use crate::config::{EvictionPolicy, Rule, Scope};
pub(crate) use records::Record;
use ticks::Ticks;

/// What a policy learns of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The entry's access stamp.
    pub(crate) stamp: u32,
    /// Unix milliseconds.
    pub(crate) deadline: Option<u64>,
    /// The decayed access counter of the stamp; 0 unless accesses are counted.
    pub(crate) frequency: u8,
}

/// What shall be done with a key that a policy looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// It gets this access stamp.
    Stamp(u32),
    /// It is evicted.
    Evict,
}

/// What happened to a sampled key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was found, and read or changed.
    Used,
    /// It was missing, and was created.
    Created,
    /// It was removed by a command or has expired.
    Removed,
}

/// The keys, as far as a policy may touch them.
///
/// Whoever implements it guarantees that `judge` sees an entry under its shard's lock and that the verdict is carried out before the lock
/// is released.
pub(crate) trait Keys {
    /// Looks at the key that a record stands for and does what `judge` says. Returns `false`, without calling `judge`, if there is no
    /// such key any more. O(1).
    fn examine(&mut self, record: Record, judge: &mut dyn FnMut(Facts) -> Verdict) -> bool;

    /// Draws a key, all with about the same chance. `None`: there is none. Expected O(1).
    fn draw(&mut self) -> Option<(Record, Facts)>;
}

/// How a call of [`Policy::evict`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// A key was evicted.
    Evicted,
    /// There is no key that the policy may evict.
    NoCandidate,
    /// The effort is used up; a later call goes on.
    OutOfEffort,
}

/// Chooses the keys to evict. One file a family; the caller holds the evictor's lock and no shard's.
pub(crate) trait Policy: Send {
    /// Learns of a key: it was created, or got a deadline, or was found when the policy was chosen. `stamp` is its access stamp.
    /// A key may be filed twice; both records then stand for it. O(1), O(log keys) at worst.
    fn file(&mut self, record: Record, stamp: u32, ticks: &Ticks);

    /// Evicts one key. Each key that is looked at costs one of `effort`.
    fn evict(&mut self, keys: &mut dyn Keys, ticks: &Ticks, effort: &mut usize) -> Eviction;

    /// Learns what happened to a key that `ticks` samples, before a new one is filed. O(1).
    fn observe(&mut self, _digest: u64, _event: Event) {}

    /// Records kept, stale ones included.
    fn records(&self) -> usize;

    /// Bytes that the policy keeps for each key; what it needs however few keys there are is not among them.
    fn bytes(&self) -> usize;
}

/// What does as a policy says, looking at `samples` keys where it samples. `None`: no key is evicted at all.
pub(crate) fn policy(policy: &EvictionPolicy, samples: usize) -> Option<Box<dyn Policy>> {
    use sampled::{Sampled, Worth};
    let volatile = policy.scope == Scope::Volatile;
    Some(match policy.rule {
        Rule::Never => return None,
        Rule::Lru => Box::new(lru::Lru::new(volatile)),
        Rule::Adaptive => Box::new(adaptive::Adaptive::new(volatile)),
        Rule::Lfu => Box::new(Sampled::new(Worth::Frequency, volatile, samples)),
        Rule::Ttl => Box::new(Sampled::new(Worth::Deadline, volatile, samples)),
        Rule::Random => Box::new(Sampled::new(Worth::None, volatile, samples)),
    })
}
