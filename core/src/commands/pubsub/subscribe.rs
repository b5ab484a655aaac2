//! SUBSCRIBE and UNSUBSCRIBE, of channels, shard channels and patterns.

use crate::clients::SubscriptionKind as Kind;
use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Args, Command, Context, Form, Reply, Session};
use crate::error::{Error, ErrorKind, Result};

impl Context<'_, '_> {
    fn subscribe_all(&mut self, what: &[u8], kind: Kind, names: &[&[u8]], reply: &mut Reply) -> Result<()> {
        if self.session.refuses_pushes {
            return Err(Error::new(ErrorKind::Usage, "ERR nobody reads what is pushed to this session"));
        }
        for name in names {
            self.subscribe(what, kind, name, reply)?;
        }
        end(reply);
        Ok(())
    }

    /// Without names, of all of the kind.
    fn unsubscribe_all(&mut self, what: &[u8], kind: Kind, names: &[&[u8]], reply: &mut Reply) {
        let all: Vec<Box<[u8]>> = match names {
            [] => self.session.subscriptions().of(kind).iter().cloned().collect(),
            _ => Vec::new(),
        };
        for name in all.iter().map(|name| &**name).chain(names.iter().copied()) {
            self.unsubscribe(what, kind, Some(name), reply);
        }
        if all.is_empty() && names.is_empty() {
            self.unsubscribe(what, kind, None, reply);
        }
        end(reply);
    }
}

/// A tape has one reply for each command.
fn end(reply: &mut Reply) {
    if reply.form() == Form::Tape {
        reply.ok();
    }
}

/// Listens for messages published to channels.
///
/// A message for each name says how many subscriptions there are by then.
#[derive(Command)]
#[command(
    name = "SUBSCRIBE", group = PubSub, since = "2.0.0", complexity = "O(N) where N is the number of channels to subscribe to.", arity = -2,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    reply = "any",
)]
pub struct Subscribe<'a> {
    channel: Vec<&'a [u8]>,
}

impl Session for Subscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.subscribe_all(b"subscribe", Kind::Channel, &self.channel, reply)
    }
}

/// Listens for messages published to channels that match one or more patterns.
///
/// A message for each name says how many subscriptions there are by then.
#[derive(Command)]
#[command(
    name = "PSUBSCRIBE", group = PubSub, since = "2.0.0", complexity = "O(N) where N is the number of patterns to subscribe to.", arity = -2,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    reply = "any",
)]
pub struct PSubscribe<'a> {
    #[arg(kind = Pattern)]
    pattern: Vec<&'a [u8]>,
}

impl Session for PSubscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.subscribe_all(b"psubscribe", Kind::Pattern, &self.pattern, reply)
    }
}

/// Listens for messages published to shard channels.
///
/// A message for each name says how many subscriptions there are by then.
#[derive(Command)]
#[command(
    name = "SSUBSCRIBE", group = PubSub, since = "7.0.0", complexity = "O(N) where N is the number of shard channels to subscribe to.", arity = -2,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    extra_key(NOT_KEY, begin = BeginSearch::Index(1), find = FindKeys::Range { last: -1, step: 1, limit: 0 }),
    reply = "any",
)]
pub struct SSubscribe<'a> {
    shardchannel: Vec<&'a [u8]>,
}

impl Session for SSubscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.transaction.is_some() {
            // In a transaction no client may block. The server lets the older ways of subscribing pass.
            return Err(Error::command("SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
        }
        context.subscribe_all(b"ssubscribe", Kind::ShardChannel, &self.shardchannel, reply)
    }
}

/// Stops listening to messages posted to channels.
///
/// A message for each name says how many subscriptions are left. Without names all of the kind end.
#[derive(Command)]
#[command(
    name = "UNSUBSCRIBE", group = PubSub, since = "2.0.0", complexity = "O(N) where N is the number of channels to unsubscribe.", arity = -1,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "any",
)]
pub struct Unsubscribe<'a> {
    #[arg(optional)]
    channel: Vec<&'a [u8]>,
}

impl<'a> Unsubscribe<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { channel: args.take_rest().to_vec() })
    }
}

impl Session for Unsubscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.unsubscribe_all(b"unsubscribe", Kind::Channel, &self.channel, reply);
        Ok(())
    }
}

/// Stops listening to messages published to channels that match one or more patterns.
///
/// A message for each name says how many subscriptions are left. Without names all of the kind end.
#[derive(Command)]
#[command(
    name = "PUNSUBSCRIBE", group = PubSub, since = "2.0.0", complexity = "O(N) where N is the number of patterns to unsubscribe.", arity = -1,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "any",
)]
pub struct PUnsubscribe<'a> {
    #[arg(kind = Pattern, optional)]
    pattern: Vec<&'a [u8]>,
}

impl<'a> PUnsubscribe<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { pattern: args.take_rest().to_vec() })
    }
}

impl Session for PUnsubscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.unsubscribe_all(b"punsubscribe", Kind::Pattern, &self.pattern, reply);
        Ok(())
    }
}

/// Stops listening to messages posted to shard channels.
///
/// A message for each name says how many subscriptions are left. Without names all of the kind end.
#[derive(Command)]
#[command(
    name = "SUNSUBSCRIBE", group = PubSub, since = "7.0.0", complexity = "O(N) where N is the number of shard channels to unsubscribe.", arity = -1,
    flags(PUBSUB, NOSCRIPT, LOADING, STALE),
    extra_key(NOT_KEY, begin = BeginSearch::Index(1), find = FindKeys::Range { last: -1, step: 1, limit: 0 }),
    custom_parse, reply = "any",
)]
pub struct SUnsubscribe<'a> {
    #[arg(optional)]
    shardchannel: Vec<&'a [u8]>,
}

impl<'a> SUnsubscribe<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { shardchannel: args.take_rest().to_vec() })
    }
}

impl Session for SUnsubscribe<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.unsubscribe_all(b"sunsubscribe", Kind::ShardChannel, &self.shardchannel, reply);
        Ok(())
    }
}
