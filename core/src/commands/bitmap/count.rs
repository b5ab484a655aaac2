//! BITCOUNT.

use super::Part;
use super::bits::ones_in;
use crate::command::{Arg, Args, Command, Read, Reply};
use crate::commands::string::range::clamp;
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Counts the bits that are 1 in the string of a key, or in a part of it; negative positions count from the end.
///
/// Returns the number of bits. Positions are those of bytes, with BIT those of bits; both ends are included.
#[derive(Command)]
#[command(
    name = "BITCOUNT", group = Bitmap, since = "2.6.0", complexity = "O(N)", arity = -2,
    flags(READONLY),
    history(
        ("7.0.0", "Added the `BYTE|BIT` option."),
        ("8.0.0", "`end` made optional; when called without argument the command reports the last BYTE."),
    ),
    custom_parse, reply = "int",
)]
pub struct BitCount<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    range: Option<Part>,
}

impl<'a> BitCount<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { key: Key::parse(args)?, range: Part::read(args)? })
    }
}

impl Read for BitCount<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let count = match db.lookup(&self.key) {
            Some(entry) => {
                let text = entry.value().text()?;
                let bits = self.range.map_or(0..text.len() * 8, |range| range.bits(text.len(), clamp));
                ones_in(&text, bits)
            }
            None => 0,
        };
        reply.integer(count as i64);
        Ok(())
    }
}
