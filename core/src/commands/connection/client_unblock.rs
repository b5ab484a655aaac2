//! CLIENT UNBLOCK: ends the wait of another session.

use crate::clients::Ending;
use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::error::{Error, Result, until_zero};
use crate::num;

/// Ends the wait of a session for the reply of its command.
///
/// Returns whether it waited. With TIMEOUT, or neither, it replies as if its time were over; with ERROR an error.
#[derive(Command)]
#[command(
    name = "CLIENT|UNBLOCK", group = Connection, since = "5.0.0", complexity = "O(log N) where N is the number of client connections", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    custom_parse, whole_keyspace, reply = "int",
)]
pub struct ClientUnblock<'a> {
    #[arg(kind = Integer)]
    client_id: &'a [u8],
    #[arg(oneof)]
    unblock_type: Option<UnblockType>,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum UnblockType {
    #[arg(token = "TIMEOUT")]
    Timeout,
    #[arg(token = "ERROR")]
    Error,
}

impl<'a> ClientUnblock<'a> {
    /// The kind is read before the number, and only where it is all that follows.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let client_id = args.required()?;
        let unblock_type = match *args.take_rest() {
            [word] => match &until_zero(word).to_ascii_lowercase()[..] {
                b"timeout" => Some(UnblockType::Timeout),
                b"error" => Some(UnblockType::Error),
                _ => return Err(Error::command("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
            },
            _ => None,
        };
        Ok(Self { client_id, unblock_type })
    }
}

impl Session for ClientUnblock<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let id = num::parse_i64(self.client_id).ok_or_else(Error::not_an_integer)?;
        let client = u64::try_from(id).ok().and_then(|id| context.engine.clients.of(id));
        let how = match self.unblock_type {
            Some(UnblockType::Error) => Ending::Unblocked,
            _ => Ending::TimedOut,
        };
        let was_blocked = client.is_some_and(|client| context.unblock(&client, how));
        reply.integer(was_blocked.into());
        Ok(())
    }
}
