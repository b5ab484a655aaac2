//! PING, ECHO, SELECT, QUIT and RESET.

use crate::command::{Args, Command, Context, DbIndex, Reply, Session};
use crate::error::Result;

/// Answers, to show that the engine is there.
///
/// Returns `PONG`, or the message.
#[derive(Command)]
#[command(
    name = "PING", group = Connection, since = "1.0.0", complexity = "O(1)", arity = -1,
    flags(FAST), tips("request_policy:all_shards", "response_policy:all_succeeded"),
    custom_parse, reply = "simple | bulk | array(bulk)",
)]
pub struct Ping<'a> {
    message: Option<&'a [u8]>,
}

impl<'a> Ping<'a> {
    fn parse_args(args: &mut crate::command::Args<'a>) -> Result<Self> {
        let message = args.next();
        if args.remaining() > 0 { Err(args.arity_error()) } else { Ok(Self { message }) }
    }
}

impl Session for Ping<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        match self.message {
            _ if context.session.reads_messages_alone() => {
                // As a message: that is all that such a client reads.
                reply.array(2);
                reply.bulk(b"pong");
                reply.bulk(self.message.unwrap_or_default());
            }
            Some(message) => reply.bulk(message),
            None => reply.simple("PONG"),
        }
        Ok(())
    }
}

/// Returns the given string.
///
/// Returns it unchanged.
#[derive(Command)]
#[command(
    name = "ECHO", group = Connection, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE, FAST),
    reply = "bulk",
)]
pub struct Echo<'a> {
    message: &'a [u8],
}

impl Session for Echo<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.bulk(self.message);
        Ok(())
    }
}

/// Chooses the database that the session works on.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "SELECT", group = Connection, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE, FAST, ALLOW_BUSY),
    reply = "ok",
)]
pub struct Select {
    index: DbIndex,
}

impl Session for Select {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.session.select(self.index.0);
        reply.ok();
        Ok(())
    }
}

/// Ends the connection once the reply is sent.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "QUIT", group = Connection, since = "1.0.0", complexity = "O(1)", arity = -1,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    custom_parse, reply = "ok",
)]
pub struct Quit {}

impl Quit {
    /// Whatever stands behind it does not count.
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        args.take_rest();
        Ok(Self {})
    }
}

impl Session for Quit {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.session.quitting = true;
        reply.ok();
        Ok(())
    }
}

/// Brings the session back to what it was when it was opened.
///
/// Returns `RESET`. Transaction, WATCH marks, database, protocol, name and authentication are gone.
#[derive(Command)]
#[command(
    name = "RESET", group = Connection, since = "6.2.0", complexity = "O(1)", arity = 1,
    flags(NOSCRIPT, LOADING, STALE, FAST, NO_AUTH, ALLOW_BUSY),
    reply = "simple",
)]
pub struct Reset {}

impl Session for Reset {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.set_monitor(&context.session.info, false);
        context.stop_tracking();
        context.session.unsubscribe_all(&context.engine.clients.channels);
        context.session.take_messages(reply);
        context.session.info.outbox.forget_pushes();
        context.session.reset(&context.engine.keyspace);
        context.engine.begin_as_default(&context.session.info);
        context.session.adopt_standing(context.session.info.standing());
        reply.set_resp3(false);
        context.session.has_sent_messages |= !reply.is_empty();
        reply.simple("RESET");
        Ok(())
    }
}
