//! CLIENT PAUSE and UNPAUSE: the commands of all sessions wait for a while.

use crate::command::block::patience_of_milliseconds;
use crate::command::{Arg, Args, Command, Context, Reply, Session, is_token};
use crate::error::{Error, Result};

/// Has commands of all sessions wait for so many milliseconds: those that may change something, or all.
///
/// Returns `OK`. A pause that is on already is lengthened, and never shortened. Meanwhile nothing expires for good and nothing is evicted. Typed calls of the
/// process do not wait.
#[derive(Command)]
#[command(
    name = "CLIENT|PAUSE", group = Connection, since = "3.0.0", complexity = "O(1)", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    history(("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")),
    custom_parse, reply = "ok",
)]
pub struct ClientPause<'a> {
    #[arg(kind = Integer)]
    timeout: &'a [u8],
    #[arg(oneof, since = "6.2.0")]
    mode: Option<Mode>,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[arg(token = "WRITE")]
    Write,
    #[arg(token = "ALL")]
    All,
}

impl<'a> ClientPause<'a> {
    /// The mode is read before the time, and only where it is all that follows.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let timeout = args.required()?;
        let mode = match *args.take_rest() {
            [word] if is_token(word, "WRITE") => Some(Mode::Write),
            [word] if is_token(word, "ALL") => Some(Mode::All),
            [_] => return Err(Error::command("CLIENT PAUSE mode must be WRITE or ALL")),
            _ => None,
        };
        Ok(Self { timeout, mode })
    }
}

impl Session for ClientPause<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let patience = patience_of_milliseconds(self.timeout)?.unwrap_or_default();
        let now_ms = context.engine.keyspace.clock.now_ms();
        let until_ms = now_ms.saturating_add(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        context.engine.pause(until_ms, self.mode != Some(Mode::Write));
        reply.ok();
        Ok(())
    }
}

/// Ends the pause of CLIENT PAUSE.
///
/// Returns `OK`, whether or not there was one.
#[derive(Command)]
#[command(
    name = "CLIENT|UNPAUSE", group = Connection, since = "6.2.0", complexity = "O(N) Where N is the number of paused clients", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    reply = "ok",
)]
pub struct ClientUnpause {}

impl Session for ClientUnpause {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.end_pause();
        reply.ok();
        Ok(())
    }
}
