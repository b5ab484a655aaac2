//! GETBIT and SETBIT.

use super::offset;
use crate::command::{Command, Read, Reply, Write};
use crate::commands::string::write_over;
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};

/// The bit of a byte that an offset leads to.
fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

/// Returns a bit of the string of a key; behind its end all bits are 0.
///
/// Returns 0 or 1.
#[derive(Command)]
#[command(
    name = "GETBIT", group = Bitmap, since = "2.2.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct GetBit<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    offset: &'a [u8],
}

impl Read for GetBit<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let offset = offset(db, self.offset, None)?;
        let byte = match db.lookup(&self.key) {
            Some(entry) => entry.value().text()?.get(offset / 8).copied(),
            None => None,
        };
        reply.integer(byte.is_some_and(|byte| byte & mask(offset) != 0).into());
        Ok(())
    }
}

/// Sets a bit of the string of a key to 0 or 1, padding with zero bytes where it is too short.
///
/// Returns the bit that was there. What it costs does not depend on the length of the string, unless that grows.
#[derive(Command)]
#[command(
    name = "SETBIT", group = Bitmap, since = "2.2.0", complexity = "O(1)", arity = 4,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct SetBit<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    offset: &'a [u8],
    #[arg(kind = Integer)]
    value: &'a [u8],
}

impl Write for SetBit<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let offset = offset(db, self.offset, None)?;
        let is_set = match self.value {
            b"0" => false,
            b"1" => true,
            _ => return Err(Error::command("bit is not an integer or out of range")),
        };
        let old = match db.peek(&self.key) {
            Some(entry) => entry.value().text()?.get(offset / 8).copied(),
            None => None,
        };
        let (byte, mask) = (old.unwrap_or(0), mask(offset));
        let was_set = byte & mask != 0;
        reply.integer(was_set.into());
        if old.is_some() && was_set == is_set {
            // Nothing to tell anybody.
            return db.lookup_mut(&self.key).map_or(Ok(()), |mut entry| entry.make_raw());
        }
        let byte = if is_set { byte | mask } else { byte & !mask };
        write_over(db, &self.key, offset / 8, &[byte])?;
        db.notify(EventClass::String, "setbit", self.key.bytes());
        Ok(())
    }
}
