//! Invalidations: what clients that track are told of keys that have changed, and what is written down of those that they have read.
//!
//! Who may keep which key, [`crate::clients`] knows. A message goes to the client's outbox while the key's shard is locked, or, where it is told by
//! prefixes, when nothing is locked any more: then it is about all keys that a command, or a transaction, has changed.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::Reply;
use super::publish::form_of;
use super::run::Context;
use crate::clients::{ClientInfo, Trait};
use crate::config::BufferClass;
use crate::keyspace::Db;
use crate::keyspace::hooks::{Tracked, Tracker, Waking};
use crate::local::Local;
use crate::sync::Arc;

/// Where a RESP2 client hears of keys.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What a message is about.
#[derive(Clone, Copy)]
enum About<'k> {
    Keys(&'k [&'k [u8]]),
    /// All keys.
    Everything,
}

impl About<'_> {
    fn write(self, reply: &mut Reply, is_tracker_resp3: bool) {
        match self {
            About::Keys(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            About::Everything if reply.form() == super::Form::Resp && !is_tracker_resp3 => {
                // In the protocol of who has asked, as the server does: that of who reads may be another.
                let resp3 = reply.resp3();
                reply.set_resp3(false);
                reply.null();
                reply.set_resp3(resp3);
            }
            About::Everything => reply.null(),
        }
    }
}

impl Local {
    /// Tells a client, or whoever it has told in its place, of keys. Returns what wakes it.
    fn invalidate(self: &Arc<Self>, tracker: &Arc<ClientInfo>, about: About<'_>) -> Option<Waking> {
        let resp3 = |client: &ClientInfo| client.resp3.load(Ordering::Relaxed);
        let redirect = tracker.redirects_to.load(Ordering::Relaxed);
        let target = if redirect == 0 { Some(tracker.clone()) } else { self.clients.of(redirect) };
        let Some(target) = target else {
            tracker.traits.set(Trait::BROKEN_REDIRECT, true);
            return resp3(tracker).then(|| {
                self.put(tracker, |reply| {
                    reply.push(2);
                    reply.bulk(b"tracking-redir-broken");
                    reply.integer(redirect as i64);
                })
            });
        };
        if resp3(&target) {
            let is_tracker_resp3 = resp3(tracker);
            return Some(self.put(&target, |reply| {
                reply.push(2);
                reply.bulk(b"invalidate");
                about.write(reply, is_tracker_resp3);
            }));
        }
        // Without pushes there are only messages of a channel, to who reads such.
        let hears = redirect != 0 && target.subscribed.is_any();
        hears.then(|| {
            self.put(&target, |reply| {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(CHANNEL);
                about.write(reply, false);
            })
        })
    }

    /// Puts a message into the outbox of a client, and returns what wakes it.
    fn put(self: &Arc<Self>, client: &Arc<ClientInfo>, write: impl FnOnce(&mut Reply)) -> Waking {
        let (form, resp3) = form_of(client);
        let mut reply = Reply::new(form);
        reply.set_resp3(resp3);
        write(&mut reply);
        let class = if client.subscribed.is_any() { BufferClass::PubSub } else { BufferClass::Normal };
        let limit = self.config.push_limit(class);
        let now_ms = self.keyspace.clock.coarse_ms();
        let fits = client.outbox.put(&reply.as_bytes().into(), &limit, now_ms);
        let (engine, client) = (self.clone(), client.clone());
        Box::new(move || engine.pushed(&client, fits))
    }

    /// Tells clients of keys that have changed from now on, or no longer.
    fn set_tracked(self: &Arc<Self>, is_so: bool) {
        let tracker: Arc<dyn Tracker> = Arc::new(Invalidator(Arc::downgrade(self)));
        self.keyspace.hooks.set_tracker(is_so.then_some(tracker));
    }
}

/// Tells the clients of an engine.
struct Invalidator(Weak<Local>);

impl Tracker for Invalidator {
    fn changed(&self, key: &[u8], client: u64, wakings: &mut Vec<Waking>) -> bool {
        let Some(engine) = self.0.upgrade() else { return false };
        for reader in engine.clients.tracking.forget(key) {
            // It is no longer written down all the same, as in the server.
            if reader.id != client || !reader.traits.has(Trait::NO_LOOP) {
                wakings.extend(engine.invalidate(&reader, About::Keys(&[key])));
            }
        }
        engine.clients.tracking.has_prefixes()
    }

    fn flushed(&self, wakings: &mut Vec<Waking>) {
        let Some(engine) = self.0.upgrade() else { return };
        engine.clients.tracking.forget_all();
        for tracker in engine.clients.tracking.all() {
            wakings.extend(engine.invalidate(&tracker, About::Everything));
        }
    }

    fn broadcast(&self, mut changed: Vec<Tracked>) {
        let Some(engine) = self.0.upgrade() else { return };
        // The first who has changed a key is the one who has, as in the server.
        changed.sort_by(|(one, _), (other, _)| one.cmp(other));
        changed.dedup_by(|(later, _), (first, _)| later == first);
        for (prefix, clients) in engine.clients.tracking.prefixes() {
            let of_prefix = || changed.iter().filter(|(key, _)| key.starts_with(&prefix));
            let all: Vec<&[u8]> = of_prefix().map(|(key, _)| &**key).collect();
            for client in clients.iter().filter(|_| !all.is_empty()) {
                let wake = if client.traits.has(Trait::NO_LOOP) {
                    let others = of_prefix().filter(|(_, changer)| *changer != client.id);
                    let others: Vec<&[u8]> = others.map(|(key, _)| &**key).collect();
                    (!others.is_empty()).then(|| engine.invalidate(client, About::Keys(&others))).flatten()
                } else {
                    engine.invalidate(client, About::Keys(&all))
                };
                wake.into_iter().for_each(|wake| wake());
            }
        }
    }

    fn trim(&self) {
        let Some(engine) = self.0.upgrade() else { return };
        let most = engine.config.hot().tracking_table_max_keys();
        while most > 0
            && let Some((key, readers)) = engine.clients.tracking.forget_one_above(most)
        {
            let wakings = readers.iter().filter_map(|reader| engine.invalidate(reader, About::Keys(&[&key])));
            wakings.for_each(|wake| wake());
        }
    }
}

impl Context<'_, '_> {
    /// Who writes down what the command reads: the engine and the session's number, if it tracks and the command counts.
    #[inline]
    pub(super) fn reader(&self) -> Option<Reader> {
        if !self.session.info.traits.has(Trait::TRACKING) { None } else { self.reader_of_tracking() }
    }

    #[cold]
    fn reader_of_tracking(&self) -> Option<Reader> {
        let counts = self.session.wishes.as_ref().is_some_and(|wishes| wishes.count_reads());
        let is_single = !self.session.info.traits.has(Trait::BROADCAST);
        (counts && is_single)
            .then(|| Reader { engine: self.engine.clone(), client: self.session.info.clone() })
    }

    /// Has the session track, as it wishes, from now on.
    pub(crate) fn track(&mut self, wishes: crate::clients::Wishes, traits: Trait, redirect: u64) {
        let engine = self.engine.clone();
        self.session.track(&engine.clients, wishes, traits, redirect, |is_so| engine.set_tracked(is_so));
    }

    /// Ends that.
    pub(crate) fn stop_tracking(&mut self) {
        let engine = self.engine.clone();
        self.session.stop_tracking(&engine.clients, |is_so| engine.set_tracked(is_so));
    }
}

impl Local {
    /// Ends the tracking of a session that ends.
    pub(crate) fn stop_tracking(self: &Arc<Self>, session: &mut crate::clients::SessionState) {
        session.stop_tracking(&self.clients, |is_so| self.set_tracked(is_so));
    }
}

/// A client that may keep what it reads.
pub(super) struct Reader {
    engine: Arc<Local>,
    client: Arc<ClientInfo>,
}

impl Reader {
    /// Writes down the keys that a command has read, while their shards are locked.
    pub(super) fn has_read(&self, db: &mut Db<'_>, each_key: impl FnOnce(&mut dyn FnMut(&[u8]))) {
        // What was met and had expired is gone before.
        db.settle_met();
        each_key(&mut |key| {
            if !self.engine.clients.tracking.remember(key, self.client.id) {
                // It can't be told later, so it is told now.
                if let Some(wake) = self.engine.invalidate(&self.client, About::Keys(&[key])) {
                    db.after_unlock(wake);
                }
            }
        });
    }
}
