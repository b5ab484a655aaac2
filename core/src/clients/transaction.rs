//! The commands that a session has queued since MULTI.

use smallvec::SmallVec;

use crate::error::{Error, Result};

/// The words of a command.
pub(crate) type Words<'t> = SmallVec<[&'t [u8]; 8]>;

/// Commands between MULTI and EXEC. All their words stand in one piece of memory: to allocate each by itself took a quarter of a transaction's time.
#[derive(Default)]
pub(crate) struct Transaction {
    /// The number in the command table of each, and how many words there are up to its end.
    commands: Vec<(usize, usize)>,
    /// Where each word ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// A command could not be queued: EXEC will refuse.
    pub(crate) poisoned: bool,
    /// A command in it may change something.
    pub(crate) may_change: bool,
}

impl Transaction {
    /// Adds a command: its number in the table, and its words. O(bytes), amortised.
    ///
    /// # Errors
    /// The system has no memory for it; nothing has changed.
    pub(super) fn queue(&mut self, command: usize, argv: &[&[u8]]) -> Result<()> {
        /// What is there from the first command on, so that a short transaction allocates three times.
        const COMMANDS: usize = 16;
        const BYTES: usize = 512;
        if self.commands.is_empty() {
            reserve(&mut self.commands, COMMANDS)?;
            reserve(&mut self.ends, COMMANDS * 3)?;
            reserve(&mut self.bytes, BYTES)?;
        }
        reserve(&mut self.commands, 1)?;
        reserve(&mut self.ends, argv.len())?;
        reserve(&mut self.bytes, argv.iter().map(|word| word.len()).sum())?;
        for word in argv {
            self.bytes.extend_from_slice(word);
            self.ends.push(self.bytes.len());
        }
        self.commands.push((command, self.ends.len()));
        Ok(())
    }

    /// Number of commands.
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Bytes of the words.
    #[cfg(feature = "listener")]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The numbers of the commands in the table, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.commands.iter().map(|(command, _)| *command)
    }

    /// The commands in order: number in the table, and words.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (usize, Words<'_>)> {
        let (mut word, mut start) = (0, 0);
        self.commands.iter().map(move |&(command, last)| {
            let ends = &self.ends[word..last];
            word = last;
            let words = ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]);
            (command, words.collect())
        })
    }
}

fn reserve<T>(all: &mut Vec<T>, more: usize) -> Result<()> {
    all.try_reserve(more).map_err(|_| Error::no_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_were_queued() {
        let mut transaction = Transaction::default();
        assert_eq!(transaction.commands().count(), 0);
        let long = vec![b'x'; 5000];
        let queued: [(usize, &[&[u8]]); 5] = [
            (3, &[b"SET", b"k", b""]),
            (7, &[b"PING"]),
            (3, &[b"SET", b"k", &long]),
            (1, &[b""]),
            (7, &[b"PING"]),
        ];
        for (command, words) in queued {
            transaction.queue(command, words).unwrap();
        }
        assert_eq!((transaction.len(), transaction.numbers().sum::<usize>()), (5, 21));
        let back: Vec<(usize, Words<'_>)> = transaction.commands().collect();
        assert_eq!(back.len(), queued.len());
        for ((command, words), (number, back)) in queued.into_iter().zip(&back) {
            assert_eq!((command, words), (*number, &back[..]));
        }
    }
}
