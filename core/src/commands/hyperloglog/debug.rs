//! PFDEBUG and PFSELFTEST, for tests of the format.

use super::copied;
use crate::command::{Command, Context, Reply, Session, Write, is_token};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::hyperloglog::{Form, Sketch, Union, check_itself, decoded};
use crate::value::{Kind, NewValue};

/// Shows what a HyperLogLog consists of: its registers, its runs, its encoding; or makes it dense.
///
/// Returns what the subcommand returns: GETREG makes it dense and returns all registers, DECODE the runs of a sparse one, ENCODING `sparse` or `dense`,
/// TODENSE whether it was sparse. SIMD is accepted and changes nothing: there is one implementation.
#[derive(Command)]
#[command(
    name = "PFDEBUG", group = HyperLogLog, since = "2.8.9", complexity = "N/A", arity = 3,
    flags(WRITE, DENYOOM, ADMIN, SYSCMD),
    reply = "array(int) | bulk | simple | int",
)]
pub struct PfDebug<'a> {
    subcommand: &'a [u8],
    #[key(RW, ACCESS)]
    key: Key<'a>,
}

impl Write for PfDebug<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if is_token(self.subcommand, "SIMD") {
            return simd(self.key.bytes(), reply);
        }
        let Some(mut sketch) = copied(db, &self.key)? else {
            return Err(Error::command("The specified key does not exist"));
        };
        if let Some(mut entry) = db.lookup_mut(&self.key) {
            entry.make_raw()?;
        }
        let is = |name: &str| is_token(self.subcommand, name);
        let was_sparse = sketch.form() == Form::Sparse;
        if is("GETREG") {
            let mut union = Union::new();
            union.add(sketch.text())?;
            reply.array(union.registers().len());
            union.registers().iter().for_each(|rank| reply.integer((*rank).into()));
            reply.check()?;
            self.make_dense(db, &mut sketch)?;
        } else if is("DECODE") {
            reply.bulk(&decoded(sketch.text())?);
        } else if is("ENCODING") {
            reply.simple(if was_sparse { "sparse" } else { "dense" });
        } else if is("TODENSE") {
            self.make_dense(db, &mut sketch)?;
            reply.integer(was_sparse.into());
        } else {
            return Err(Error::repeating("Unknown PFDEBUG subcommand '", self.subcommand, "'"));
        }
        Ok(())
    }
}

impl PfDebug<'_> {
    fn make_dense(&self, db: &mut Db<'_>, sketch: &mut Sketch) -> Result<()> {
        if sketch.form() == Form::Dense {
            return Ok(());
        }
        sketch.make_dense()?;
        match db.lookup_mut(&self.key) {
            Some(mut entry) => entry.set_value(NewValue::Bytes(Kind::Raw, sketch.text())),
            None => Ok(()),
        }
    }
}

/// The server's second reply to any other word is left out: it would be taken for that of the next command.
fn simd(word: &[u8], reply: &mut Reply) -> Result<()> {
    match word {
        word if is_token(word, "ON") => reply.simple("enabled"),
        word if is_token(word, "OFF") => reply.simple("disabled"),
        _ => return Err(Error::command("Argument must be ON or OFF")),
    }
    Ok(())
}

/// Tests the forms of HyperLogLogs against plain registers, and the estimates against true numbers.
///
/// Returns `OK`, or an error that says what is wrong. It takes some seconds.
#[derive(Command)]
#[command(
    name = "PFSELFTEST", group = HyperLogLog, since = "2.8.9", complexity = "N/A", arity = 1,
    flags(ADMIN, SYSCMD),
    reply = "ok",
)]
pub struct PfSelfTest {}

impl Session for PfSelfTest {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let _ = context;
        check_itself()?;
        reply.ok();
        Ok(())
    }
}
