//! LCS: the longest common subsequence of two strings.
//!
//! The textbook dynamic program (Wagner and Fischer 1974): a table of the lengths for all pairs of prefixes, walked back from its
//! corner. O(N*M) time and memory, 4 bytes a cell.

use crate::alloc;
use crate::command::{Arg, Args, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};

/// Finds the longest common subsequence of two strings.
///
/// Returns the subsequence; with LEN its length; with IDX the ranges that match in both strings, last first, and the length.
#[derive(Command)]
#[command(
    name = "LCS", group = String, since = "7.0.0", complexity = "O(N*M) where N and M are the lengths of s1 and s2, respectively", arity = -3,
    flags(READONLY),
    custom_parse, reply = "bulk | int | map(bulk, any)",
)]
pub struct Lcs<'a> {
    #[key(RO, ACCESS, last = 1)]
    key1: Key<'a>,
    #[arg(key_spec = 0)]
    key2: Key<'a>,
    #[arg(token = "LEN")]
    len: bool,
    #[arg(token = "IDX")]
    idx: bool,
    #[arg(token = "MINMATCHLEN")]
    min_match_len: Option<i64>,
    #[arg(token = "WITHMATCHLEN")]
    withmatchlen: bool,
    /// Wrong options are told only once both keys have turned out to hold strings.
    #[arg(hidden)]
    refused: Option<Error>,
}

impl<'a> Lcs<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key1, key2) = (Key::parse(args)?, Key::parse(args)?);
        let mut this = Self {
            key1,
            key2,
            len: false,
            idx: false,
            min_match_len: None,
            withmatchlen: false,
            refused: None,
        };
        this.refused = this.read_options(args).err();
        Ok(this)
    }

    fn read_options(&mut self, args: &mut Args<'a>) -> Result<()> {
        while args.remaining() > 0 {
            if args.skip_token("LEN") {
                self.len = true;
            } else if args.skip_token("IDX") {
                self.idx = true;
            } else if args.skip_token("WITHMATCHLEN") {
                self.withmatchlen = true;
            } else if args.remaining() > 1 && args.skip_token("MINMATCHLEN") {
                self.min_match_len = Some(i64::parse(args)?);
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(())
    }
}

impl Read for Lcs<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let (one, other) = (self.text(db, &self.key1)?, self.text(db, &self.key2)?);
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        if self.len && self.idx {
            return Err(Error::command("If you want both the length and indexes, please just use IDX."));
        }
        let lengths = Lengths::of(&one, &other, db.keyspace().config.hot().proto_max_bulk_len())?;
        if self.len {
            reply.count(lengths.at(one.len(), other.len()) as usize);
        } else if self.idx {
            self.reply_ranges(&lengths, &one, &other, reply);
        } else {
            reply.bulk(&subsequence(&lengths, &one, &other)?);
        }
        Ok(())
    }
}

impl Lcs<'_> {
    fn text(&self, db: &Db<'_>, key: &Key<'_>) -> Result<Vec<u8>> {
        match db.lookup(key).map(|entry| entry.value().text()) {
            Some(Ok(text)) => alloc::copied(&text),
            Some(Err(_)) => Err(Error::command("The specified keys must contain string values")),
            None => Ok(Vec::new()),
        }
    }

    fn reply_ranges(&self, lengths: &Lengths, one: &[u8], other: &[u8], reply: &mut Reply) {
        let least = self.min_match_len.unwrap_or(0).max(0) as usize;
        reply.map(2);
        reply.bulk(b"matches");
        let open = reply.open_array();
        let mut count = 0;
        each_range(lengths, one, other, |start_one, start_other, length| {
            if length < least {
                return;
            }
            count += 1;
            reply.array(if self.withmatchlen { 3 } else { 2 });
            for start in [start_one, start_other] {
                reply.array(2);
                reply.count(start);
                reply.count(start + length - 1);
            }
            if self.withmatchlen {
                reply.count(length);
            }
        });
        reply.close(open, count);
        reply.bulk(b"len");
        reply.count(lengths.at(one.len(), other.len()) as usize);
    }
}

/// Length of the longest common subsequence of every pair of prefixes.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    /// Refuses a table of more than `max_bytes`.
    fn of(one: &[u8], other: &[u8], max_bytes: usize) -> Result<Self> {
        let too_long =
            || Error::command("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
        let width = other.len() + 1;
        let cells = (one.len() + 1).checked_mul(width).filter(|cells| cells.saturating_mul(4) <= max_bytes);
        let cells = cells.ok_or_else(too_long)?;
        let mut lengths = Lengths { cells: alloc::with_room_for(cells)?, width };
        lengths.cells.resize(cells, 0);
        for (i, a) in one.iter().enumerate() {
            for (j, b) in other.iter().enumerate() {
                let cell = if a == b {
                    lengths.at(i, j) + 1
                } else {
                    lengths.at(i, j + 1).max(lengths.at(i + 1, j))
                };
                lengths.cells[(i + 1) * width + j + 1] = cell;
            }
        }
        Ok(lengths)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }
}

/// Walks the table back and calls `visit` for each matching pair of positions, last first.
fn each_match(lengths: &Lengths, one: &[u8], other: &[u8], mut visit: impl FnMut(usize, usize)) {
    let (mut i, mut j) = (one.len(), other.len());
    while i > 0 && j > 0 {
        if one[i - 1] == other[j - 1] {
            i -= 1;
            j -= 1;
            visit(i, j);
        } else if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
}

/// Joins matching positions into ranges: start in both strings, and length.
fn each_range(lengths: &Lengths, one: &[u8], other: &[u8], mut visit: impl FnMut(usize, usize, usize)) {
    let mut range: Option<(usize, usize, usize)> = None;
    each_match(lengths, one, other, |i, j| match &mut range {
        Some((start_one, start_other, length)) if *start_one == i + 1 && *start_other == j + 1 => {
            (*start_one, *start_other) = (i, j);
            *length += 1;
        }
        _ => {
            if let Some((start_one, start_other, length)) = range.replace((i, j, 1)) {
                visit(start_one, start_other, length);
            }
        }
    });
    if let Some((start_one, start_other, length)) = range {
        visit(start_one, start_other, length);
    }
}

fn subsequence(lengths: &Lengths, one: &[u8], other: &[u8]) -> Result<Vec<u8>> {
    let mut found = alloc::with_room_for(lengths.at(one.len(), other.len()) as usize)?;
    each_match(lengths, one, other, |i, _| found.push(one[i]));
    found.reverse();
    Ok(found)
}
