//! GETRANGE, its old name SUBSTR, and SETRANGE.

use super::{check_length, write_over};
use crate::command::{Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};

/// Returns a part of the string of a key; negative positions count from the end.
///
/// Returns an empty string where the range or the key does not exist.
#[derive(Command)]
#[command(
    name = "GETRANGE", group = String, since = "2.4.0", complexity = "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", arity = 4,
    flags(READONLY),
    reply = "bulk",
)]
pub struct GetRange<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    start: i64,
    end: i64,
}

impl Read for GetRange<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        range(db, &self.key, self.start, self.end, reply)
    }
}

/// Returns a part of the string of a key; the old name of GETRANGE.
#[derive(Command)]
#[command(
    name = "SUBSTR", group = String, since = "1.0.0", complexity = "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", arity = 4,
    flags(READONLY),
    reply = "bulk",
)]
pub struct Substr<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    start: i64,
    end: i64,
}

impl Read for Substr<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        range(db, &self.key, self.start, self.end, reply)
    }
}

fn range(db: &Db<'_>, key: &Key<'_>, start: i64, end: i64, reply: &mut Reply) -> Result<()> {
    match db.lookup(key) {
        Some(entry) => {
            let text = entry.value().text()?;
            reply.bulk(&text[clamp(start, end, text.len())]);
        }
        None => reply.bulk(b""),
    }
    Ok(())
}

/// The part of `0..len` that inclusive positions name, negative ones counting from the end. Of two that count from there the second may not come first, even
/// where both lie before the beginning.
pub(crate) fn clamp(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    if start < 0 && end < 0 && start > end { 0..0 } else { within(start, end, len) }
}

/// As [`clamp`], but two positions before the beginning are always its first place.
pub(crate) fn within(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_start = |position: i64| if position < 0 { (position + len).max(0) } else { position };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

/// Overwrites a part of the string of a key, padding with zero bytes where it is too short.
///
/// Returns the new length.
#[derive(Command)]
#[command(
    name = "SETRANGE", group = String, since = "2.2.0", complexity = "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.", arity = 4,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct SetRange<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    offset: i64,
    value: &'a [u8],
}

impl Write for SetRange<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let offset = usize::try_from(self.offset).map_err(|_| Error::command("offset is out of range"))?;
        let old = match db.peek(&self.key) {
            Some(entry) => Some(entry.value().text()?.len()),
            None => None,
        };
        if self.value.is_empty() {
            reply.count(old.unwrap_or(0));
            return Ok(());
        }
        let end = offset.saturating_add(self.value.len());
        check_length(db, end)?;
        write_over(db, &self.key, offset, self.value)?;
        db.notify(EventClass::String, "setrange", self.key.bytes());
        reply.count(end.max(old.unwrap_or(0)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_count_from_both_ends() {
        assert_eq!(clamp(0, -1, 5), 0..5);
        assert_eq!(clamp(-3, -2, 5), 2..4);
        assert_eq!(clamp(-100, 100, 5), 0..5);
        assert_eq!(clamp(3, 2, 5), 0..0);
        assert_eq!(clamp(-1, -5, 5), 0..0);
        assert_eq!(clamp(0, 0, 0), 0..0);
        assert_eq!(clamp(i64::MIN, i64::MAX, 5), 0..5);
        assert_eq!(clamp(7, 9, 5), 0..0);
    }
}
