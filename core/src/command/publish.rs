//! Publishing: what a message is in each form, and that it reaches those who hear it.
//!
//! Who that is, [`crate::clients`] knows.

use smallvec::SmallVec;

use super::Reply;
use super::reply::Form;
use super::run::Context;
use crate::clients::{ClientInfo, SessionState, SubscriptionKind};
use crate::config::BufferClass;
use crate::error::Result;
use crate::local::Local;
use crate::sync::Arc;

/// A message that stands in the outboxes of its hearers, who have not been woken yet.
#[must_use = "the hearers are to be woken when nothing is locked"]
pub(crate) struct Published {
    /// How many subscriptions heard it.
    pub(crate) hearers: usize,
    /// They, and whether it fitted into their outboxes.
    clients: SmallVec<[(Arc<ClientInfo>, bool); 4]>,
}

impl Published {
    /// Wakes the hearers. The caller holds no shard.
    pub(crate) fn wake(self, engine: &Local) {
        self.clients.iter().for_each(|(client, fits)| engine.pushed(client, *fits));
    }
}

/// A message in the forms that were asked for.
#[derive(Default)]
struct Encoded([Option<Arc<[u8]>>; 3]);

impl Encoded {
    /// The message of these parts as a client reads it.
    fn of(&mut self, client: &ClientInfo, parts: &[&[u8]]) -> &Arc<[u8]> {
        let (form, resp3) = form_of(client);
        let place = match (form, resp3) {
            (Form::Resp, false) => 0,
            (Form::Resp, true) => 1,
            (Form::Tape, _) => 2,
        };
        self.0[place].get_or_insert_with(|| {
            message(form, resp3, |reply| {
                reply.push(parts.len());
                parts.iter().for_each(|part| reply.bulk(part));
            })
        })
    }
}

/// The form that messages to a client have, and whether it is RESP3's.
pub(super) fn form_of(client: &ClientInfo) -> (Form, bool) {
    if client.reads_tape {
        (Form::Tape, true)
    } else {
        (Form::Resp, client.resp3.load(std::sync::atomic::Ordering::Relaxed))
    }
}

fn message(form: Form, resp3: bool, write: impl FnOnce(&mut Reply)) -> Arc<[u8]> {
    let mut reply = Reply::new(form);
    reply.set_resp3(resp3);
    write(&mut reply);
    reply.as_bytes().into()
}

impl Local {
    /// Puts a message into the outboxes of all who hear a channel. O(hearers + patterns).
    pub(crate) fn publish(&self, is_sharded: bool, channel: &[u8], text: &[u8]) -> Published {
        let limit = self.config.push_limit(BufferClass::PubSub);
        let now_ms = self.keyspace.clock.coarse_ms();
        let name: &[u8] = if is_sharded { b"smessage" } else { b"message" };
        let (mut direct, mut matching) = (Encoded::default(), (Vec::new(), Encoded::default()));
        let mut clients = SmallVec::new();
        let hearers = self.clients.channels.publish(is_sharded, channel, |client, pattern| {
            let message = match pattern {
                None => direct.of(client, &[name, channel, text]),
                Some(pattern) => {
                    if matching.0 != pattern {
                        matching = (pattern.to_vec(), Encoded::default());
                    }
                    matching.1.of(client, &[b"pmessage", pattern, channel, text])
                }
            };
            let fits = client.outbox.put(message, &limit, now_ms);
            clients.push((client.clone(), fits));
        });
        Published { hearers, clients }
    }
}

impl Local {
    /// Puts the confirmation of a subscription, or of its end, into the outbox of a client that reads tapes.
    fn tell(&self, client: &Arc<ClientInfo>, what: &[u8], name: Option<&[u8]>, count: usize) -> Published {
        let limit = self.config.push_limit(BufferClass::PubSub);
        let now_ms = self.keyspace.clock.coarse_ms();
        let message = message(Form::Tape, true, |reply| write_confirmation(reply, what, name, count));
        let fits = client.outbox.put(&message, &limit, now_ms);
        Published { hearers: 1, clients: SmallVec::from_iter([(client.clone(), fits)]) }
    }
}

impl SessionState {
    /// Appends the messages that are there to the replies of a session that speaks RESP.
    pub(crate) fn take_messages(&self, reply: &mut Reply) {
        while reply.form() == Form::Resp
            && let Ok(Some(message)) = self.info.outbox.take_push()
        {
            reply.append(&message);
        }
    }
}

impl Context<'_, '_> {
    /// Publishes a message and says how many hear it.
    pub(crate) fn publish(&mut self, is_sharded: bool, channel: &[u8], text: &[u8]) -> usize {
        let published = self.engine.publish(is_sharded, channel, text);
        let hearers = published.hearers;
        self.wake_later(published);
        hearers
    }

    /// Wakes the hearers of a message, as soon as nothing is locked.
    fn wake_later(&mut self, published: Published) {
        match &mut self.transaction {
            None => published.wake(self.engine),
            Some(locked) => {
                let engine = self.engine.clone();
                locked.db.after_unlock(Box::new(move || published.wake(&engine)));
            }
        }
    }

    /// Subscribes the session, and tells it how many subscriptions of the kind it has now. One that reads tapes, which have one reply for each command, is
    /// told by a message.
    ///
    /// # Errors
    /// The system has no memory.
    pub(crate) fn subscribe(
        &mut self,
        what: &[u8],
        kind: SubscriptionKind,
        name: &[u8],
        reply: &mut Reply,
    ) -> Result<()> {
        let (engine, client) = (self.engine, self.session.info.clone());
        let mut confirmed = None;
        let mut count = 0;
        self.session.subscribe(&engine.clients.channels, kind, name, |now| {
            count = now;
            if client.reads_tape {
                confirmed = Some(engine.tell(&client, what, Some(name), now));
            }
        })?;
        self.confirmed(confirmed, (what, Some(name), count), reply);
        Ok(())
    }

    /// Ends a subscription of the session, if there is a name, and tells it how many of the kind are left, as [`Context::subscribe`] does. What was
    /// published before comes before that.
    pub(crate) fn unsubscribe(
        &mut self,
        what: &[u8],
        kind: SubscriptionKind,
        name: Option<&[u8]>,
        reply: &mut Reply,
    ) {
        if let Some(name) = name {
            self.session.unsubscribe(&self.engine.clients.channels, kind, name);
        }
        let count = self.session.subscriptions().count(kind);
        let client = &self.session.info;
        let confirmed = client.reads_tape.then(|| self.engine.tell(client, what, name, count));
        self.confirmed(confirmed, (what, name, count), reply);
    }

    /// Wakes the session for the message that confirms what it did, or replies it.
    fn confirmed(
        &mut self,
        message: Option<Published>,
        (what, name, count): (&[u8], Option<&[u8]>, usize),
        reply: &mut Reply,
    ) {
        self.session.has_sent_messages = true;
        match message {
            Some(message) => self.wake_later(message),
            None => {
                // Within a transaction they would stand inside its reply.
                if self.transaction.is_none() {
                    self.session.take_messages(reply);
                }
                write_confirmation(reply, what, name, count);
            }
        }
    }
}

fn write_confirmation(reply: &mut Reply, what: &[u8], name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(what);
    reply.bulk_or_null(name);
    reply.count(count);
}
