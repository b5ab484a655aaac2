//! SAVE, BGSAVE, LASTSAVE and BGREWRITEAOF: what is written to disk.

use crate::command::{Arg, Command, Context, Reply, Session};
use crate::error::{Error, Result};
use crate::persist::{Begun, Task};

/// Writes all databases to disk, as they are now, and waits for it.
///
/// Returns `OK`. Other sessions go on meanwhile; what they change is not in it.
#[derive(Command)]
#[command(
    name = "SAVE", group = Server, since = "1.0.0", complexity = "O(N) where N is the total number of keys in all databases", arity = 1,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI),
    session, reply = "ok",
)]
pub struct Save {}

impl Session for Save {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        context.engine.save()?;
        reply.ok();
        Ok(())
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Operation {
    #[arg(token = "SCHEDULE", once, since = "3.2.2")]
    Schedule,
    #[arg(token = "CANCEL", once, since = "8.1.0")]
    Cancel,
}

/// Has all databases written to disk, as they are now, by a thread of its own.
///
/// Returns that it has begun, with SCHEDULE also that it will when what is being written is done. CANCEL ends it, without a file.
#[derive(Command)]
#[command(
    name = "BGSAVE", group = Server, since = "1.0.0", complexity = "O(1)", arity = -1,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING),
    history(("3.2.2", "Added the `SCHEDULE` option."), ("8.1.0", "Added the `CANCEL` option.")),
    session, reply = "simple",
)]
pub struct BgSave {
    #[arg(oneof)]
    operation: Option<Operation>,
}

impl Session for BgSave {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let engine = context.engine;
        reply.simple(match self.operation {
            Some(Operation::Cancel) => match engine.persistence.cancel_save() {
                Some(Begun::Started) => "Background saving cancelled",
                Some(Begun::Scheduled) => "Scheduled background saving cancelled",
                None => {
                    return Err(Error::command(
                        "Background saving is currently not in progress or scheduled",
                    ));
                }
            },
            Some(Operation::Schedule) if engine.persistence.schedule(Task::Save) => {
                "Background saving scheduled"
            }
            _ => {
                engine.write_in_background(Task::Save)?;
                "Background saving started"
            }
        });
        Ok(())
    }
}

/// Has the log written anew, as short as it can be, by a thread of its own.
///
/// Returns that it has begun, or that it will when what is being written is done. Writes go on meanwhile.
#[derive(Command)]
#[command(
    name = "BGREWRITEAOF", group = Server, since = "1.0.0", complexity = "O(1)", arity = 1,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING),
    session, reply = "simple",
)]
pub struct BgRewriteAof {}

impl Session for BgRewriteAof {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if context.engine.persistence.schedule(Task::Rewrite) {
            reply.simple("Background append only file rewriting scheduled");
            return Ok(());
        }
        context.engine.write_in_background(Task::Rewrite)?;
        reply.simple("Background append only file rewriting started");
        Ok(())
    }
}

/// Returns the time of the last snapshot.
///
/// Returns unix seconds; before the first snapshot the time at which the engine was opened.
#[derive(Command)]
#[command(
    name = "LASTSAVE", group = Server, since = "1.0.0", complexity = "O(1)", arity = 1,
    flags(LOADING, STALE, FAST), acl(ADMIN, DANGEROUS), tips("nondeterministic_output"),
    reply = "int",
)]
pub struct LastSave {}

impl Session for LastSave {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.integer(context.engine.persistence.last_save_s() as i64);
        Ok(())
    }
}
