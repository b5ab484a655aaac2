//! BITPOS.

use super::Part;
use super::bits::find;
use crate::command::{Arg, Args, Command, Read, Reply};
use crate::commands::string::range::within;
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};

/// Finds the first bit that is 0 or 1 in the string of a key, or in a part of it; negative positions count from the end.
///
/// Returns the offset of the bit from the beginning of the string, or -1. Where a 0 is looked for and no end is given, the string is followed by zeroes.
#[derive(Command)]
#[command(
    name = "BITPOS", group = Bitmap, since = "2.8.7", complexity = "O(N)", arity = -3,
    flags(READONLY),
    history(("7.0.0", "Added the `BYTE|BIT` option.")),
    custom_parse, reply = "int",
)]
pub struct BitPos<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    bit: i64,
    range: Option<Part>,
}

impl<'a> BitPos<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, bit) = (Key::parse(args)?, i64::parse(args)?);
        if ![0, 1].contains(&bit) {
            return Err(Error::command("The bit argument must be 1 or 0."));
        }
        Ok(Self { key, bit, range: Part::read(args)? })
    }
}

impl Read for BitPos<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let is_set = self.bit == 1;
        let position = match db.lookup(&self.key) {
            Some(entry) => {
                let text = entry.value().text()?;
                let bits = self.range.map_or(0..text.len() * 8, |range| range.bits(text.len(), within));
                let has_end = self.range.is_some_and(|range| range.has_end());
                let behind = (!is_set && !has_end && !bits.is_empty()).then_some(bits.end);
                find(&text, bits, is_set).or(behind)
            }
            None => (!is_set).then_some(0),
        };
        reply.integer(position.map_or(-1, |position| position as i64));
        Ok(())
    }
}
