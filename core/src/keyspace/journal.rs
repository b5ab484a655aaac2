//! The log as the keyspace sees it: what it is handed, and when. How it keeps that is its own affair.

use std::cell::Cell;

use smallvec::SmallVec;

use crate::error::{Error, Result};

/// Receives the effects of write commands, in their order per key.
pub trait Journal: Send + Sync {
    /// Why no write may begin at present. Asked before a command changes anything, so it should take no longer than a load.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// Appends a group, called while the shards of its keys are locked: it must not wait for a disk, nor for anybody who may wait for a shard.
    ///
    /// # Errors
    /// The log cannot take the group. The changes stand all the same, and whoever made them gets the error.
    fn append(&self, group: &Group) -> Result<Ticket>;

    /// Waits until everything up to the ticket is as safe as the log promises. The caller holds no shard.
    ///
    /// # Errors
    /// It cannot be made safe. The changes stand all the same, and whoever made them gets the error.
    fn wait(&self, _ticket: Ticket) -> Result<()> {
        Ok(())
    }
}

/// A place in a log, greater for what was appended later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A command to repeat on a copy of the data to get the same effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect<'g> {
    /// Database it applies to.
    pub db: usize,
    /// The command in RESP, as a client would send it.
    pub command: &'g [u8],
}

impl<'g> Effect<'g> {
    /// The words of the command.
    pub fn words(self) -> impl Iterator<Item = &'g [u8]> {
        let mut rest = after_line(self.command);
        std::iter::from_fn(move || {
            let digits = rest.strip_prefix(b"$")?.split(|byte| *byte == b'\r').next()?;
            let len: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
            let (word, behind) = after_line(rest).split_at_checked(len)?;
            rest = behind.strip_prefix(b"\r\n")?;
            Some(word)
        })
    }
}

fn after_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == b'\n').map_or(&[], |end| &bytes[end + 1..])
}

thread_local! {
    /// Memory of a group that is done with, for the next one of this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Most groups are no longer.
const USUAL: usize = 256;

/// What is longer is not kept.
const LONGEST_SPARE: usize = 4 << 10;

fn digit(number: usize) -> u8 {
    b'0' + number as u8
}

/// Effects that are one atomic step.
#[derive(Clone, Debug, Default)]
pub struct Group {
    bytes: Vec<u8>,
    /// The database of each effect, and where it ends.
    effects: SmallVec<[(usize, usize); 2]>,
}

impl Group {
    /// Whether there is no effect.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Number of effects.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// The effects, in their order.
    pub fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        self.effects.iter().scan(0, |start, &(db, end)| {
            let command = &self.bytes[std::mem::replace(start, end)..end];
            Some(Effect { db, command })
        })
    }

    /// All commands one after the other, whatever their databases.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a command.
    pub(crate) fn push<W: AsRef<[u8]>>(&mut self, db: usize, words: impl IntoIterator<Item = W>) {
        /// More than the longest `*9223372036854775807\r\n`.
        const HEAD: usize = 24;
        let start = self.bytes.len();
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.try_with(Cell::take).unwrap_or_default();
            self.bytes.reserve(USUAL);
        }
        self.bytes.reserve(HEAD);
        // How many words there are is known last. Most often it is one digit: then nothing has to move.
        self.bytes.extend_from_slice(b"*0\r\n");
        let mut count = 0_usize;
        for word in words {
            let word = word.as_ref();
            self.bytes.reserve(HEAD + word.len());
            match word.len() {
                len @ ..10 => self.bytes.extend_from_slice(&[b'$', digit(len), b'\r', b'\n']),
                len @ ..100 => {
                    self.bytes.extend_from_slice(&[b'$', digit(len / 10), digit(len % 10), b'\r', b'\n']);
                }
                len => {
                    self.bytes.push(b'$');
                    self.bytes.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
                    self.bytes.extend_from_slice(b"\r\n");
                }
            }
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
            count += 1;
        }
        match count {
            ..10 => self.bytes[start + 1] = digit(count),
            _ => {
                let digits = itoa::Buffer::new().format(count).as_bytes().to_vec();
                drop(self.bytes.splice(start + 1..start + 2, digits));
            }
        }
        self.effects.push((db, self.bytes.len()));
    }

    /// Ends it: the next one has its memory.
    #[inline]
    pub(crate) fn recycle(self) {
        let mut bytes = self.bytes;
        if (1..=LONGEST_SPARE).contains(&bytes.capacity()) {
            bytes.clear();
            // A thread that ends has no next one.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }

    /// Adds the effects of another group behind those that are here, and leaves that one empty.
    pub(crate) fn append(&mut self, other: &mut Group) {
        let start = self.bytes.len();
        if start == 0 {
            std::mem::swap(self, other);
        } else {
            self.bytes.append(&mut other.bytes);
            self.effects.extend(other.effects.drain(..).map(|(db, end)| (db, start + end)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_the_commands_that_were_put_in() {
        let mut group = Group::default();
        assert!(group.is_empty() && group.bytes().is_empty() && group.effects().next().is_none());
        group.push(3, [&b"SET"[..], b"k", b""]);
        for len in [9, 10, 40, 99, 100] {
            let mut alone = Group::default();
            alone.push(0, [vec![b'x'; len]]);
            assert_eq!(alone.bytes(), format!("*1\r\n${len}\r\n{}\r\n", "x".repeat(len)).as_bytes());
        }
        let many: Vec<String> = (0..123).map(|number| format!("\r\n${number}")).collect();
        group.push(0, &many);
        let mut other = Group::default();
        other.push(7, ["DEL", "a"]);
        group.append(&mut other);
        assert!(other.is_empty());
        other.append(&mut group);
        assert!(group.is_empty() && group.bytes().is_empty());
        let effects: Vec<(usize, Vec<&[u8]>)> =
            other.effects().map(|effect| (effect.db, effect.words().collect())).collect();
        let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
        assert_eq!(effects, [(3, vec![&b"SET"[..], b"k", b""]), (0, many), (7, vec![&b"DEL"[..], b"a"])]);
        assert!(
            other.bytes().starts_with(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*123\r\n$4\r\n\r\n$0\r\n")
        );
        assert!(other.bytes().ends_with(b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"));
        assert_eq!(other.effects().map(|effect| effect.command.len()).sum::<usize>(), other.bytes().len());
    }
}
