//! What an engine that stands elsewhere offers: another process's, or a server's.
//!
//! An [`crate::Engine`] over a backend keeps no key of its own. Its typed calls and sessions go the long way, since nothing is found where short cuts
//! look and nothing there is silent, and the long way leads here. So an engine in this process pays nothing for there being others. What a backend
//! keeps near to answer faster is its own affair, and an engine of its own.

use crate::command::Reply;
use crate::error::Result;

/// An engine elsewhere. Its methods may wait; they are never called under a lock.
pub trait Backend: Send + Sync {
    /// Executes a command that depends on no session, in the database of this number, and appends its reply, in the form of `reply`. What goes
    /// wrong is a reply too: of kind [`crate::ErrorKind::Io`] where the other side can't be reached.
    fn execute(&self, db: usize, argv: &[&[u8]], reply: &mut Reply);

    /// A client of its own there, on database 0. If the other side can't be reached, its commands say so.
    fn connect(&self) -> Box<dyn Connection>;

    /// Ends it, after the last handle of the engine.
    ///
    /// # Errors
    /// Something that was acknowledged could not be brought to the other side.
    fn close(&self) -> Result<()>;
}

/// A client of an engine elsewhere: its database, protocol, transaction and watched keys are kept there. Dropping it ends it.
pub trait Connection: Send {
    /// Executes a command and appends its reply, in the form of `reply`; errors are replies too. HELLO sets the protocol of `reply`.
    fn execute(&mut self, argv: &[&[u8]], reply: &mut Reply);

    /// Executes commands in turn, without waiting for one reply before the next is sent.
    fn execute_all(&mut self, commands: &[&[&[u8]]], reply: &mut Reply) {
        commands.iter().for_each(|argv| self.execute(argv, reply));
    }

    /// The database that SELECT chose.
    fn db(&self) -> usize;

    /// Ends a transaction and watches no key any more, and goes to a database: as DISCARD, UNWATCH and SELECT would.
    fn clean(&mut self, db: usize);

    /// Whether it is to be ended: QUIT was executed, or the other side has ended it.
    fn is_quitting(&self) -> bool;
}

#[cfg(test)]
pub(crate) mod tests;
