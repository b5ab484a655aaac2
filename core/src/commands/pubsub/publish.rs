//! PUBLISH and SPUBLISH.

use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Command, Context, Reply, Session};
use crate::error::Result;

/// Posts a message to a channel.
///
/// Returns how many subscriptions hear it: one client may have several, by patterns.
#[derive(Command)]
#[command(
    name = "PUBLISH", group = PubSub, since = "2.0.0",
    complexity = "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).",
    arity = 3, flags(PUBSUB, LOADING, STALE, FAST), reply = "int",
)]
pub struct Publish<'a> {
    channel: &'a [u8],
    message: &'a [u8],
}

impl Session for Publish<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let hearers = context.publish(false, self.channel, self.message);
        reply.count(hearers);
        Ok(())
    }
}

/// Posts a message to a shard channel.
///
/// Returns how many clients hear it. Patterns don't match shard channels, whose names are apart from those of channels.
#[derive(Command)]
#[command(
    name = "SPUBLISH", group = PubSub, since = "7.0.0",
    complexity = "O(N) where N is the number of clients subscribed to the receiving shard channel.",
    arity = 3, flags(PUBSUB, LOADING, STALE, FAST),
    extra_key(NOT_KEY, begin = BeginSearch::Index(1), find = FindKeys::Range { last: 0, step: 1, limit: 0 }),
    reply = "int",
)]
pub struct SPublish<'a> {
    shardchannel: &'a [u8],
    message: &'a [u8],
}

impl Session for SPublish<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let hearers = context.publish(true, self.shardchannel, self.message);
        reply.count(hearers);
        Ok(())
    }
}
