//! BITOP.

use crate::alloc;
use crate::command::{Arg, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::value::Text;

/// What is done with the bits at each offset.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    #[arg(token = "AND")]
    And,
    #[arg(token = "OR")]
    Or,
    #[arg(token = "XOR")]
    Xor,
    #[arg(token = "NOT")]
    Not,
}

/// Combines the bits of strings and stores the result; shorter strings, and missing ones, are followed by zeroes.
///
/// Returns the length of the result, which is that of the longest string. Where that is 0 the destination is deleted.
#[derive(Command)]
#[command(
    name = "BITOP", group = Bitmap, since = "2.6.0", complexity = "O(N)", arity = -4,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct BitOp<'a> {
    operation: Operation,
    #[key(OW, UPDATE)]
    destkey: Key<'a>,
    #[key(RO, ACCESS, last = -1)]
    #[arg(key_spec = 1)]
    key: Vec<Key<'a>>,
}

impl Write for BitOp<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if self.operation == Operation::Not && self.key.len() > 1 {
            return Err(Error::command("BITOP NOT must be called with a single source key."));
        }
        let mut texts = alloc::with_room_for(self.key.len())?;
        for key in &self.key {
            if let Some(entry) = db.lookup(key) {
                texts.push(entry.value().text()?);
            } else {
                texts.push(Text::Bytes(&[]));
            }
        }
        let len = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        reply.count(len);
        if len == 0 {
            if db.remove(&self.destkey) {
                db.notify(EventClass::Generic, "del", self.destkey.bytes());
            }
            return Ok(());
        }
        let mut result = db.filled(len, |start, part| combine(self.operation, &texts, start, part))?;
        db.insert(&self.destkey, result.as_new(), None)?;
        db.notify(EventClass::String, "set", self.destkey.bytes());
        Ok(())
    }
}

/// Writes the part of the result that begins at byte `start`. O(length * texts), and byte for byte, so that the compiler takes as many at a time as the
/// processor can.
pub(super) fn combine(operation: Operation, texts: &[Text<'_>], start: usize, result: &mut [u8]) {
    let of = |text: &'_ Text<'_>| -> std::ops::Range<usize> {
        let from = start.min(text.len());
        from..(start + result.len()).min(text.len())
    };
    let ranges = texts.iter().map(of).collect::<smallvec::SmallVec<[_; 8]>>();
    let mut parts = texts.iter().zip(ranges).map(|(text, range)| &text[range]);
    let first = parts.next().unwrap_or_default();
    let (copied, padding) = result.split_at_mut(first.len());
    copied.copy_from_slice(first);
    padding.fill(0);
    for part in parts {
        let (both, rest) = result.split_at_mut(part.len());
        let pairs = both.iter_mut().zip(part);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => unreachable!("it has one key"),
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
}
