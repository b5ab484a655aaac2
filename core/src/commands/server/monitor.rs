//! MONITOR: shows the session each command that is executed.

use crate::command::{Command, Context, Form, Reply, Session};
use crate::error::{Error, ErrorKind, Result};

/// Shows the session each command that any session executes, from now on until RESET.
///
/// Returns `OK`, and nothing if the session monitors already. Meanwhile all commands take the long way; typed calls of the process have no words and are
/// not shown.
#[derive(Command)]
#[command(
    name = "MONITOR", group = Server, since = "1.0.0", complexity = "", arity = 1,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    reply = "ok",
)]
pub struct Monitor {}

impl Session for Monitor {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.transaction.is_some() {
            return Err(Error::command("MONITOR isn't allowed for DENY BLOCKING client"));
        }
        if context.session.refuses_pushes {
            return Err(Error::new(ErrorKind::Usage, "ERR nobody reads what is pushed to this session"));
        }
        let is_new = context.engine.set_monitor(&context.session.info, true);
        // A tape has one reply for each command.
        if is_new || reply.form() == Form::Tape {
            reply.ok();
        }
        Ok(())
    }
}
