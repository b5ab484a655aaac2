//! Who hears what is published: the subscribers of channels, of shard channels and of patterns.
//!
//! What a message says, and how much of it may wait for a client, is the caller's affair; what a session is subscribed to it knows itself
//! ([`super::Subscriptions`]).
//!
//! A message is put into the outboxes of its hearers while the channel is locked, so all of them get a channel's messages in one order, and nobody
//! gets one after having unsubscribed. Nobody is woken then: the caller does that when nothing is locked.

use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;

use super::ClientInfo;
use crate::alloc;
use crate::error::{Error, Result};
use crate::os::{self, Guard};
use crate::pattern::glob_matches;
use crate::store::HashSeed;
use crate::sync::{Arc, Mutex};

/// Channels with a lock of their own, as near as makes no difference.
const STRIPES: usize = if cfg!(loom) { 1 } else { 64 };

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    ShardChannel,
    Pattern,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Channel, Kind::ShardChannel, Kind::Pattern];
}

/// A client that is subscribed, and [`os::generation`] of the process in which it is.
struct Subscriber {
    client: Arc<ClientInfo>,
    generation: u64,
}

impl Subscriber {
    /// Whether it is this process that it listens in.
    fn is_here(&self) -> bool {
        self.generation == os::generation()
    }
}

type Subscribers = HashMap<Box<[u8]>, Vec<Subscriber>>;

/// Patterns in the order in which they were first subscribed to.
type Patterns = Vec<(Box<[u8]>, Vec<Subscriber>)>;

#[derive(Default)]
struct Stripe {
    channels: Subscribers,
    shard_channels: Subscribers,
}

impl Stripe {
    fn of(&mut self, kind: Kind) -> &mut Subscribers {
        match kind {
            Kind::ShardChannel => &mut self.shard_channels,
            _ => &mut self.channels,
        }
    }
}

/// See the module's text.
pub(crate) struct Channels {
    seed: HashSeed,
    stripes: Box<[Mutex<Stripe>]>,
    patterns: Mutex<Patterns>,
    /// How many patterns there are, so that who publishes need not lock them where there are none.
    pattern_count: AtomicUsize,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            seed: HashSeed::random(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            patterns: Mutex::default(),
            pattern_count: AtomicUsize::new(0),
        }
    }
}

impl Channels {
    /// Locks what it guards, before the outboxes.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        self.stripes.iter().for_each(|stripe| held.push(Box::new(stripe.lock())));
        held.push(Box::new(self.patterns.lock()));
    }

    fn stripe(&self, name: &[u8]) -> &Mutex<Stripe> {
        &self.stripes[self.seed.hash(name) as usize % STRIPES]
    }

    /// Has a client, which is not subscribed to it, hear what is published there. `tell` is called before anything is; it must wait for nothing.
    /// O(1), of patterns O(patterns).
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn subscribe(
        &self,
        kind: Kind,
        name: &[u8],
        client: &Arc<ClientInfo>,
        tell: impl FnOnce(),
    ) -> Result<()> {
        let subscriber = Subscriber { client: client.clone(), generation: os::generation() };
        let key = alloc::boxed(name)?;
        let no_memory = |_| Error::no_memory();
        if kind != Kind::Pattern {
            let mut stripe = self.stripe(name).lock();
            let channels = stripe.of(kind);
            channels.try_reserve(1).map_err(|_| Error::no_memory())?;
            let subscribers = channels.entry(key).or_default();
            subscribers.try_reserve(1).map_err(no_memory)?;
            subscribers.push(subscriber);
            tell();
            return Ok(());
        }
        let mut patterns = self.patterns.lock();
        let at = match patterns.iter().position(|(pattern, _)| **pattern == *name) {
            Some(at) => at,
            None => {
                patterns.try_reserve(1).map_err(no_memory)?;
                patterns.push((key, Vec::new()));
                self.pattern_count.store(patterns.len(), Ordering::SeqCst);
                patterns.len() - 1
            }
        };
        let (_, subscribers) = &mut patterns[at];
        subscribers.try_reserve(1).map_err(no_memory)?;
        subscribers.push(subscriber);
        tell();
        Ok(())
    }

    /// Ends that. O(subscribers), of patterns O(patterns) too. What was published before is in the client's outbox, and nothing more comes.
    pub(crate) fn unsubscribe(&self, kind: Kind, name: &[u8], client: u64) {
        let leave = |subscribers: &mut Vec<Subscriber>| {
            subscribers.retain(|subscriber| subscriber.client.id != client);
            subscribers.is_empty()
        };
        if kind != Kind::Pattern {
            let mut stripe = self.stripe(name).lock();
            let channels = stripe.of(kind);
            if channels.get_mut(name).is_some_and(leave) {
                channels.remove(name);
            }
            return;
        }
        let mut patterns = self.patterns.lock();
        if let Some(at) = patterns.iter().position(|(pattern, _)| **pattern == *name)
            && leave(&mut patterns[at].1)
        {
            patterns.remove(at);
            self.pattern_count.store(patterns.len(), Ordering::SeqCst);
        }
    }

    /// Calls `put` for each client that hears what is published on a channel, with the pattern by which it does, if that is one. Returns how often it was
    /// called. `put` must wait for nothing: the channel is locked. O(hearers + patterns).
    pub(crate) fn publish(
        &self,
        is_sharded: bool,
        channel: &[u8],
        mut put: impl FnMut(&Arc<ClientInfo>, Option<&[u8]>),
    ) -> usize {
        let mut hearers = 0;
        let mut stripe = self.stripe(channel).lock();
        let kind = if is_sharded { Kind::ShardChannel } else { Kind::Channel };
        if let Some(subscribers) = stripe.of(kind).get(channel) {
            for subscriber in subscribers.iter().filter(|subscriber| subscriber.is_here()) {
                put(&subscriber.client, None);
                hearers += 1;
            }
        }
        if is_sharded || self.pattern_count.load(Ordering::SeqCst) == 0 {
            return hearers;
        }
        for (pattern, subscribers) in &*self.patterns.lock() {
            if !subscribers.is_empty() && glob_matches(pattern, channel, false) {
                for subscriber in subscribers.iter().filter(|subscriber| subscriber.is_here()) {
                    put(&subscriber.client, Some(pattern));
                    hearers += 1;
                }
            }
        }
        hearers
    }

    /// The channels that have subscribers, in no order. O(channels).
    pub(crate) fn names(&self, kind: Kind, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Box<[u8]>> {
        let mut names = Vec::new();
        for stripe in &*self.stripes {
            for (name, subscribers) in &*stripe.lock().of(kind) {
                if is_wanted(name) && subscribers.iter().any(Subscriber::is_here) {
                    names.push(name.clone());
                }
            }
        }
        names
    }

    /// What a client is subscribed to. O(channels).
    pub(crate) fn of_client(&self, kind: Kind, client: u64) -> Vec<Box<[u8]>> {
        let is_one = |all: &[Subscriber]| all.iter().any(|subscriber| subscriber.client.id == client);
        let mut names = Vec::new();
        if kind == Kind::Pattern {
            let patterns = self.patterns.lock();
            names.extend(patterns.iter().filter(|(_, all)| is_one(all)).map(|(name, _)| name.clone()));
            return names;
        }
        for stripe in &*self.stripes {
            let mut stripe = stripe.lock();
            let heard = stripe.of(kind).iter().filter(|(_, all)| is_one(all));
            names.extend(heard.map(|(name, _)| name.clone()));
        }
        names
    }

    /// How many channels have subscribers. O(channels).
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let is_heard = |subscribers: &&Vec<Subscriber>| subscribers.iter().any(Subscriber::is_here);
        self.stripes.iter().map(|stripe| stripe.lock().of(kind).values().filter(is_heard).count()).sum()
    }

    /// How many clients are subscribed to a channel. O(subscribers).
    pub(crate) fn subscribers(&self, kind: Kind, channel: &[u8]) -> usize {
        let mut stripe = self.stripe(channel).lock();
        let subscribers = stripe.of(kind).get(channel);
        subscribers.map_or(0, |all| all.iter().filter(|subscriber| subscriber.is_here()).count())
    }

    /// How many patterns have subscribers. O(patterns).
    pub(crate) fn patterns(&self) -> usize {
        let patterns = self.patterns.lock();
        patterns.iter().filter(|(_, subscribers)| subscribers.iter().any(Subscriber::is_here)).count()
    }
}
