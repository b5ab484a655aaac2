//! What a session is subscribed to. Who hears what is published is [`super::channels`]' affair.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::channels::Kind;

type Names = BTreeSet<Box<[u8]>>;

/// The channels, shard channels and patterns of a session.
#[derive(Default)]
pub(crate) struct Subscriptions {
    channels: Names,
    shard_channels: Names,
    patterns: Names,
}

impl Subscriptions {
    /// Those of a kind.
    pub(crate) fn of(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::ShardChannel => &self.shard_channels,
            Kind::Pattern => &self.patterns,
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::ShardChannel => &mut self.shard_channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    /// Whether there are none.
    pub(crate) fn are_none(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.of(kind).is_empty())
    }

    /// How many there are, as the confirmation of one of a kind tells it: channels and patterns count together, shard channels by themselves.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::ShardChannel => self.shard_channels.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }
}

/// How many subscriptions a client has, for others to see.
#[derive(Debug, Default)]
pub(crate) struct Subscribed {
    channels: AtomicUsize,
    shard_channels: AtomicUsize,
    patterns: AtomicUsize,
}

impl Subscribed {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Channel => &self.channels,
            Kind::ShardChannel => &self.shard_channels,
            Kind::Pattern => &self.patterns,
        }
    }

    /// Those of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.of(kind).load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, kind: Kind, count: usize) {
        self.of(kind).store(count, Ordering::Relaxed);
    }

    /// Whether there are any.
    pub(crate) fn is_any(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| self.count(kind) > 0)
    }
}
