//! CLIENT REPLY, NO-EVICT, NO-TOUCH, IMPORT-SOURCE and CAPA: how a session is served from then on.

use crate::clients::Trait;
use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::error::{Error, Result};

/// Has the session get replies, or none.
///
/// Returns `OK` with ON, else nothing. OFF ends all replies but messages, SKIP leaves out that of the next command. A tape, which has one reply for each
/// command, has null instead.
#[derive(Command)]
#[command(
    name = "CLIENT|REPLY", group = Connection, since = "3.2.0", complexity = "O(1)", arity = 3,
    flags(NOSCRIPT, LOADING, STALE, NO_MULTI, ALLOW_BUSY),
    reply = "ok",
)]
pub struct ClientReply {
    action: Action,
}

#[derive(Arg, Clone, Copy)]
enum Action {
    #[arg(token = "ON")]
    On,
    #[arg(token = "OFF")]
    Off,
    #[arg(token = "SKIP")]
    Skip,
}

impl Session for ClientReply {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        match self.action {
            Action::On => {
                context.session.set_replies(true);
                reply.ok();
            }
            Action::Off => context.session.set_replies(false),
            Action::Skip => context.session.skip_next_reply(),
        }
        Ok(())
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Switch {
    #[arg(token = "ON")]
    On,
    #[arg(token = "OFF")]
    Off,
}

/// Spares the session where clients take more memory than `maxmemory-clients`.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "CLIENT|NO-EVICT", group = Connection, since = "7.0.0", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "ok",
)]
pub struct ClientNoEvict {
    enabled: Switch,
}

impl Session for ClientNoEvict {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.session.set_trait(Trait::NO_EVICT, self.enabled == Switch::On);
        reply.ok();
        Ok(())
    }
}

/// Has the session's commands leave no trace in what is known of keys' use, but for TOUCH.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "CLIENT|NO-TOUCH", group = Connection, since = "7.2.0", complexity = "O(1)", arity = 3,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "ok",
)]
pub struct ClientNoTouch {
    enabled: Switch,
}

impl Session for ClientNoTouch {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.session.set_trait(Trait::NO_TOUCH, self.enabled == Switch::On);
        reply.ok();
        Ok(())
    }
}

/// Has the session see keys that have expired, as long as `import-mode` is on.
///
/// Returns `OK`.
#[derive(Command)]
#[command(
    name = "CLIENT|IMPORT-SOURCE", group = Connection, since = "8.1.0", complexity = "O(1)", arity = 3,
    flags(NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "ok",
)]
pub struct ClientImportSource<'a> {
    #[arg(hidden)]
    word: &'a [u8],
    enabled: Switch,
}

impl<'a> ClientImportSource<'a> {
    /// That the server is in no such mode comes before what is wrong with the word.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let word = args.required()?;
        let enabled = if crate::command::is_token(word, "ON") { Switch::On } else { Switch::Off };
        Ok(Self { word, enabled })
    }
}

impl Session for ClientImportSource<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let is_off = crate::command::is_token(self.word, "OFF");
        if !context.engine.config.hot().import_mode() && !is_off {
            return Err(Error::command("Server is not in import mode"));
        }
        if self.enabled == Switch::Off && !is_off {
            return Err(Error::syntax());
        }
        context.session.set_trait(Trait::IMPORT_SOURCE, self.enabled == Switch::On);
        reply.ok();
        Ok(())
    }
}

/// Tells what the client can do: `redirect` means that it would follow to another primary, which nobody here sends it to.
///
/// Returns `OK`, whatever was told.
#[derive(Command)]
#[command(
    name = "CLIENT|CAPA", group = Connection, since = "8.0.0", complexity = "O(1)", arity = -3,
    flags(NOSCRIPT, LOADING, STALE, ALLOW_BUSY),
    reply = "ok",
)]
pub struct ClientCapa<'a> {
    capability: Vec<&'a [u8]>,
}

impl Session for ClientCapa<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if self.capability.iter().any(|word| crate::command::is_token(word, "REDIRECT")) {
            context.session.set_trait(Trait::FOLLOWS_REDIRECTS, true);
        }
        reply.ok();
        Ok(())
    }
}
