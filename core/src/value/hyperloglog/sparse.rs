//! The sparse form: runs of equal registers.
//!
//! ```text
//! 00xxxxxx            x + 1 registers of rank 0 (up to 64)
//! 01xxxxxx yyyyyyyy   xy + 1 registers of rank 0 (up to 16,384), the high bits first
//! 1vvvvvxx            x + 1 registers (up to 4) of rank v + 1 (up to 32)
//! ```
//!
//! All runs together are 16,384 registers. Which of the ways to write the same registers is taken is part of the format as far as two servers are to
//! have equal bytes: a run is split in place, and the five runs from the one before on are looked through for neighbours to join.
//!
//! What a caller stored may be anything. Reading never leaves the bytes, and a text that does not add up is [`Corrupted`].

use super::{Corrupted, REGISTERS, Rank};
use crate::error::{Error, Result};

/// Greatest rank of the sparse form.
pub(super) const MAX_RANK: Rank = 32;
/// Longest run of a rank that is not 0.
const MAX_RUN: usize = 4;
/// Longest run of rank 0 in one byte.
const MAX_SHORT_ZEROES: usize = 64;

/// Some registers in a row with the same rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) rank: Rank,
    pub(super) len: usize,
    /// Bytes that it takes.
    size: usize,
    is_long: bool,
}

impl Run {
    /// The run that begins there. A missing second byte is 0, as it is to the server.
    fn read(runs: &[u8]) -> Result<Run, Corrupted> {
        let first = *runs.first().ok_or(Corrupted)?;
        let low = usize::from(first & 0x3f);
        Ok(match first >> 6 {
            0 => Run { rank: 0, len: low + 1, size: 1, is_long: false },
            1 => {
                let second = runs.get(1).copied().unwrap_or(0);
                let len = (low << 8 | usize::from(second)) + 1;
                Run { rank: 0, len, size: runs.len().min(2), is_long: true }
            }
            _ => {
                let (rank, len) = ((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1);
                Run { rank, len, size: 1, is_long: false }
            }
        })
    }

    /// Whether its second byte is missing.
    fn is_cut(self) -> bool {
        self.is_long && self.size == 1
    }
}

/// Up to three runs, as bytes: what takes the place of one that is split.
#[derive(Default)]
struct Pieces {
    bytes: [u8; 5],
    len: usize,
}

impl Pieces {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// A run of so many registers, none of which is none.
    fn run(&mut self, rank: Rank, len: usize) {
        match (rank, len) {
            (_, 0) => {}
            (0, 1..=MAX_SHORT_ZEROES) => self.push(len as u8 - 1),
            (0, _) => {
                self.push(0x40 | ((len - 1) >> 8) as u8);
                self.push((len - 1) as u8);
            }
            _ => self.push(0x80 | (rank - 1) << 2 | (len as u8 - 1)),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The runs of no element at all.
pub(super) fn empty() -> [u8; 2] {
    let mut pieces = Pieces::default();
    pieces.run(0, REGISTERS);
    [pieces.bytes[0], pieces.bytes[1]]
}

/// Each run with the register that it begins at, up to the end of the bytes. O(runs).
pub(super) fn each_run(runs: &[u8], mut visit: impl FnMut(usize, Run)) {
    let (mut at, mut first) = (0, 0);
    while let Ok(run) = Run::read(&runs[at..]) {
        visit(first, run);
        at += run.size;
        first += run.len;
    }
}

/// As [`each_run`], of runs that are the registers of a sketch.
///
/// # Errors
/// They are more registers than there are, or fewer. No run that reaches beyond was visited.
pub(super) fn each_valid_run(runs: &[u8], mut visit: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let mut end = 0;
    each_run(runs, |first, run| {
        end = first + run.len;
        if end <= REGISTERS {
            visit(first, run);
        }
    });
    if end == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// What became of a rank that was to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// The register has that rank now.
    Raised,
    /// It had that rank, or a greater one.
    Kept,
    /// The sparse form does not hold that, or is too long with it; nothing has changed.
    TooLarge,
}

/// Where to begin to look for a register: no register before `first` is asked for any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    at: usize,
    first: usize,
}

/// A place between runs, and what is there.
struct Found {
    at: usize,
    first: usize,
    run: Run,
    /// The run before, and the one before that, if they were passed.
    before: Option<Cursor>,
    long_before: Option<Cursor>,
}

fn find(runs: &[u8], from: Cursor, index: usize) -> Result<Found, Corrupted> {
    let Cursor { mut at, mut first } = from;
    let (mut before, mut long_before) = (None, None);
    loop {
        let run = Run::read(runs.get(at..).ok_or(Corrupted)?)?;
        if index < first + run.len {
            return Ok(Found { at, first, run, before, long_before });
        }
        long_before = before.replace(Cursor { at, first });
        at += run.size;
        first += run.len;
    }
}

/// Raises a register of the runs behind `head` bytes of a text to a rank that is not 0, as long as the text has no more than `most` bytes if it grows.
/// O(runs from the cursor on).
///
/// # Errors
/// The runs end before that register, or there is no memory; nothing has changed.
pub(super) fn raise(
    text: &mut Vec<u8>,
    head: usize,
    cursor: &mut Cursor,
    (index, rank): (usize, Rank),
    most: usize,
) -> Result<Set> {
    if rank > MAX_RANK {
        return Ok(Set::TooLarge);
    }
    let Found { at, first, run, before, long_before } = find(&text[head..], *cursor, index)?;
    let join_from = before.map_or(0, |before| before.at).max(cursor.at);
    if run.rank >= rank {
        *cursor = long_before.unwrap_or(*cursor);
        return Ok(Set::Kept);
    }
    if run.is_cut() {
        return Err(Corrupted.into());
    }
    let mut pieces = Pieces::default();
    pieces.run(run.rank, index - first);
    pieces.run(rank, 1);
    pieces.run(run.rank, first + run.len - index - 1);
    let grows = pieces.len.saturating_sub(run.size);
    if grows > 0 && text.len() + grows > most {
        return Ok(Set::TooLarge);
    }
    text.try_reserve(grows).map_err(|_| Error::no_memory())?;
    text.splice(head + at..head + at + run.size, pieces.bytes().iter().copied());
    join(text, head + join_from);
    // Runs from the one before on may be others now; what lies before that one is as it was.
    *cursor = long_before.unwrap_or(*cursor);
    Ok(Set::Raised)
}

/// Joins neighbours of one rank, from the run at `at` on.
fn join(text: &mut Vec<u8>, mut at: usize) {
    const LOOKS: usize = 5;
    for _ in 0..LOOKS {
        let Some(Ok(run)) = text.get(at..).map(Run::read) else { return };
        let next = text.get(at + run.size..).map(Run::read);
        if run.rank > 0
            && let Some(Ok(next)) = next
            && next.rank == run.rank
            && run.len + next.len <= MAX_RUN
        {
            let mut joined = Pieces::default();
            joined.run(run.rank, run.len + next.len);
            text[at] = joined.bytes[0];
            text.remove(at + 1);
        } else {
            at += run.size;
        }
    }
}

/// What PFDEBUG DECODE tells: each run as a word. O(runs).
///
/// # Errors
/// There is no memory.
pub(super) fn decoded(runs: &[u8]) -> Result<Vec<u8>> {
    let mut told = Vec::new();
    let mut has_memory = true;
    each_run(runs, |_, run| {
        let Run { rank, len, .. } = run;
        let word = match rank {
            0 if run.is_long => format!("Z:{len} "),
            0 => format!("z:{len} "),
            _ => format!("v:{rank},{len} "),
        };
        has_memory = has_memory && told.try_reserve(word.len()).is_ok();
        if has_memory {
            told.extend_from_slice(word.as_bytes());
        }
    });
    told.pop();
    if has_memory { Ok(told) } else { Err(Error::no_memory()) }
}
