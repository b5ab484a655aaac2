//! PUBSUB: who listens to what.

use crate::clients::SubscriptionKind as Kind;
use crate::command::{Args, Command, Context, Reply, Session};
use crate::error::{Error, Result};
use crate::pattern::glob_matches;

/// A container for Pub/Sub commands.
#[derive(Command)]
#[command(
    name = "PUBSUB", group = PubSub, since = "2.8.0", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct PubSub {}

/// Returns the active channels.
///
/// Returns those that have subscribers, in no order; of a pattern, those that match it.
#[derive(Command)]
#[command(
    name = "PUBSUB|CHANNELS", group = PubSub, since = "2.8.0",
    complexity = "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels and patterns)",
    arity = -2, flags(PUBSUB, LOADING, STALE), custom_parse, reply = "array(bulk)",
)]
pub struct PubSubChannels<'a> {
    #[arg(kind = Pattern)]
    pattern: Option<&'a [u8]>,
}

/// Returns the active shard channels.
///
/// Returns those that have subscribers, in no order; of a pattern, those that match it.
#[derive(Command)]
#[command(
    name = "PUBSUB|SHARDCHANNELS", group = PubSub, since = "7.0.0",
    complexity = "O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively short shard channels).",
    arity = -2, flags(PUBSUB, LOADING, STALE), custom_parse, reply = "array(bulk)",
)]
pub struct PubSubShardChannels<'a> {
    #[arg(kind = Pattern)]
    pattern: Option<&'a [u8]>,
}

/// A pattern, and nothing behind it.
fn pattern<'a>(args: &mut Args<'a>) -> Result<Option<&'a [u8]>> {
    let pattern = args.next();
    if args.remaining() == 0 {
        return Ok(pattern);
    }
    let text = "unknown subcommand or wrong number of arguments for '";
    Err(Error::repeating(text, args.spelled(), "'. Try PUBSUB HELP."))
}

impl<'a> PubSubChannels<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { pattern: pattern(args)? })
    }
}

impl<'a> PubSubShardChannels<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { pattern: pattern(args)? })
    }
}

fn list(context: &Context<'_, '_>, kind: Kind, pattern: Option<&[u8]>, reply: &mut Reply) {
    let is_wanted = |name: &[u8]| pattern.is_none_or(|pattern| glob_matches(pattern, name, false));
    let names = context.engine.clients.channels.names(kind, is_wanted);
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
}

impl Session for PubSubChannels<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        list(context, Kind::Channel, self.pattern, reply);
        Ok(())
    }
}

impl Session for PubSubShardChannels<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        list(context, Kind::ShardChannel, self.pattern, reply);
        Ok(())
    }
}

/// Returns a count of subscribers to channels.
///
/// Returns names and counts in turn. Subscriptions to patterns don't count.
#[derive(Command)]
#[command(
    name = "PUBSUB|NUMSUB", group = PubSub, since = "2.8.0",
    complexity = "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
    arity = -2, flags(PUBSUB, LOADING, STALE), custom_parse, reply = "array(bulk | int)",
)]
pub struct PubSubNumSub<'a> {
    #[arg(optional)]
    channel: Vec<&'a [u8]>,
}

/// Returns the count of subscribers of shard channels.
///
/// Returns names and counts in turn.
#[derive(Command)]
#[command(
    name = "PUBSUB|SHARDNUMSUB", group = PubSub, since = "7.0.0",
    complexity = "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
    arity = -2, flags(PUBSUB, LOADING, STALE), custom_parse, reply = "array(bulk | int)",
)]
pub struct PubSubShardNumSub<'a> {
    #[arg(optional)]
    shardchannel: Vec<&'a [u8]>,
}

fn count(context: &Context<'_, '_>, kind: Kind, names: &[&[u8]], reply: &mut Reply) {
    reply.array(names.len() * 2);
    for name in names {
        reply.bulk(name);
        reply.count(context.engine.clients.channels.subscribers(kind, name));
    }
}

impl<'a> PubSubNumSub<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { channel: args.take_rest().to_vec() })
    }
}

impl Session for PubSubNumSub<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        count(context, Kind::Channel, &self.channel, reply);
        Ok(())
    }
}

impl<'a> PubSubShardNumSub<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { shardchannel: args.take_rest().to_vec() })
    }
}

impl Session for PubSubShardNumSub<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        count(context, Kind::ShardChannel, &self.shardchannel, reply);
        Ok(())
    }
}

/// Returns a count of unique pattern subscriptions.
///
/// Returns how many patterns have subscribers.
#[derive(Command)]
#[command(
    name = "PUBSUB|NUMPAT", group = PubSub, since = "2.8.0", complexity = "O(1)", arity = 2,
    flags(PUBSUB, LOADING, STALE), reply = "int",
)]
pub struct PubSubNumPat {}

impl Session for PubSubNumPat {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.count(context.engine.clients.channels.patterns());
        Ok(())
    }
}

/// Returns helpful text about the different subcommands.
///
/// Returns a list of lines.
#[derive(Command)]
#[command(
    name = "PUBSUB|HELP", group = PubSub, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE), reply = "array(simple)",
)]
pub struct PubSubHelp {}

impl Session for PubSubHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "PUBSUB",
            &[
                (
                    "CHANNELS [<pattern>]",
                    "The channels that have subscribers, or those of them that match a pattern.",
                ),
                ("NUMPAT", "How many patterns have subscribers."),
                (
                    "NUMSUB [<channel> ...]",
                    "How many clients are subscribed to each of these channels, by its name.",
                ),
                ("SHARDCHANNELS [<pattern>]", "As CHANNELS, of shard channels."),
                ("SHARDNUMSUB [<shardchannel> ...]", "As NUMSUB, of shard channels."),
            ],
        );
        Ok(())
    }
}
