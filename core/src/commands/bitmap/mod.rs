//! Commands on the bits of strings.
//!
//! A bit's offset counts from the highest bit of the first byte. How strings are stored is the affair of [`crate::value`]: a long one is read where it
//! stands and written to in its place. How bits are counted and found is in [`bits`].

pub(crate) mod bit;
pub(crate) mod bits;
pub(crate) mod count;
pub(crate) mod field;
mod integer;
pub(crate) mod op;
pub(crate) mod position;

use std::ops::Range;

use crate::command::{Arg, Args, is_token};
use crate::error::{Error, Result};
use crate::keyspace::Db;
use crate::num;

/// What positions of a range count.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    #[arg(token = "BYTE")]
    Byte,
    #[arg(token = "BIT")]
    Bit,
}

impl Unit {
    fn of(word: &[u8]) -> Result<Self> {
        match word {
            word if is_token(word, "BYTE") => Ok(Unit::Byte),
            word if is_token(word, "BIT") => Ok(Unit::Bit),
            _ => Err(Error::syntax()),
        }
    }
}

/// Where a range ends, both ends included.
#[derive(Arg, Clone, Copy, Debug)]
pub(crate) struct End {
    end: i64,
    #[arg(oneof, since = "7.0.0")]
    unit: Option<Unit>,
}

/// A part of a string.
#[derive(Arg, Clone, Copy, Debug)]
pub(crate) struct Part {
    start: i64,
    end_unit_block: Option<End>,
}

impl Part {
    /// Reads what is left, in the server's order: where it begins, what it counts, where it ends.
    fn read(args: &mut Args<'_>) -> Result<Option<Self>> {
        let words = args.take_rest();
        let (Some(start), 1..=3) = (words.first(), words.len()) else {
            return if words.is_empty() { Ok(None) } else { Err(Error::syntax()) };
        };
        let position = |word: &[u8]| num::parse_i64(word).ok_or_else(Error::not_an_integer);
        let start = position(start)?;
        let unit = words.get(2).map(|word| Unit::of(word)).transpose()?;
        let end = words.get(1).map(|word| position(word)).transpose()?;
        Ok(Some(Self { start, end_unit_block: end.map(|end| End { end, unit }) }))
    }

    fn has_end(&self) -> bool {
        self.end_unit_block.is_some()
    }

    /// The bits that it names of a string of so many bytes. `clamp` makes a range of inclusive positions and a length.
    fn bits(&self, len: usize, clamp: impl Fn(i64, i64, usize) -> Range<usize>) -> Range<usize> {
        let End { end, unit } = self.end_unit_block.unwrap_or(End { end: -1, unit: None });
        match unit {
            Some(Unit::Bit) => clamp(self.start, end, len * 8),
            Some(Unit::Byte) | None => {
                let bytes = clamp(self.start, end, len);
                bytes.start * 8..bytes.end * 8
            }
        }
    }
}

/// The offset of a bit, from its word; in units of `width` bits where it begins with `#`, if that is allowed. Such a product wraps as the server's does.
fn offset(db: &Db<'_>, word: &[u8], width: Option<u32>) -> Result<usize> {
    let (digits, factor) = match (word, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (word, 1),
    };
    let most = db.keyspace().config.hot().proto_max_bulk_len();
    let offset = num::parse_i64(digits).map(|offset| offset.wrapping_mul(factor));
    offset
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset / 8 < most)
        .ok_or_else(|| Error::command("bit offset is not an integer or out of range"))
}

#[cfg(test)]
mod tests;
