//! The command machinery: what a command declares, how its arguments are read and its reply is written, and the one place
//! that runs it.
//!
//! The commands themselves live in [`crate::commands`].

pub mod arg;
pub mod block;
pub mod keys;
mod monitor;
mod outside;
mod pause;
pub(crate) mod permit;
mod publish;
mod remarkable;
pub mod reply;
pub mod run;
pub mod shape;
pub mod spec;
pub mod tape;
mod tracking;

/// The words of a command.
pub type Argv = Vec<Vec<u8>>;
pub use arg::{Arg, Args, DbIndex, Positive, is_token};
pub use block::{Attempt, Block, Outcome};
pub(crate) use block::{patience_of_milliseconds, patience_of_seconds};
pub use keystead_macros::{Arg, Command};
pub use reply::{Form, Reply};
pub use run::Context;

use crate::error::Result;
use crate::keyspace::{Db, Key};

/// A command that parses from its words and encodes back to them; derived.
pub trait Parse<'a>: Sized {
    /// What it declares.
    const SPEC: &'static spec::Spec;
    /// Words of its name: two for subcommands.
    const NAME_WORDS: usize;
    /// Parses and executes it.
    const RUN: run::Run;

    /// Reads the arguments behind the command's name.
    ///
    /// # Errors
    /// Whatever the server answers to these arguments.
    fn parse(args: &mut Args<'a>) -> Result<Self>;

    /// The words it was read from, or equivalent ones, name first.
    fn encode(&self) -> Argv;

    /// Calls `visit` for each of its keys.
    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>));
}

/// A command that only reads.
pub trait Read {
    /// Does it. The shards of its keys are locked.
    ///
    /// # Errors
    /// The error reply; what was written to `reply` before is dropped.
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()>;
}

/// A command that may change keys.
pub trait Write {
    /// Does it. The shards of its keys are locked.
    ///
    /// # Errors
    /// The error reply; it must come before any change.
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()>;
}

/// A command about the session or the engine rather than about keys.
pub trait Session {
    /// Does it. No shard is locked, unless a transaction holds some.
    ///
    /// # Errors
    /// The error reply; it must come before any change.
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()>;
}
