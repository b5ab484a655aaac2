//! How bounds of ranges are spelled: of ranks, of scores (`1.5`, `(1.5`, `-inf`), of members (`[a`, `(a`, `-`, `+`).

use std::ops::Range;

use crate::error::{Error, Result};
use crate::num;
use crate::value::ZSetRef;
use crate::value::zset::bounds::{LexBound, LexRange, ScoreBound, ScoreRange};

/// What a range is a range of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Rank,
    Score,
    Lex,
}

/// A range of members.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bounds<'a> {
    /// First and last, from the end where they are negative.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    /// Reads both ends.
    ///
    /// # Errors
    /// Those of the server for each kind.
    pub(crate) fn parse(by: By, start: &'a [u8], stop: &'a [u8]) -> Result<Self> {
        Ok(match by {
            By::Rank => {
                let rank = |text| num::parse_i64(text).ok_or_else(Error::not_an_integer);
                Self::Ranks(rank(start)?, rank(stop)?)
            }
            By::Score => Self::Scores(ScoreRange { min: score_bound(start)?, max: score_bound(stop)? }),
            By::Lex => Self::Members(LexRange { min: lex_bound(start)?, max: lex_bound(stop)? }),
        })
    }

    /// The ranks that are in it, from the lowest score up. Ranks are counted from the highest score, and members looked for from the last, where it is in
    /// `reverse`.
    pub(crate) fn ranks(&self, zset: ZSetRef<'_>, reverse: bool) -> Range<usize> {
        match self {
            Self::Ranks(start, stop) => {
                let ranks = normalized(*start, *stop, zset.len());
                if reverse { zset.len() - ranks.end..zset.len() - ranks.start } else { ranks }
            }
            Self::Scores(range) => zset.ranks_of_scores(range),
            Self::Members(range) => zset.ranks_of_members(range, reverse),
        }
    }
}

/// Ranks that may count from the end as ranks of so many members.
fn normalized(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn score_bound(text: &[u8]) -> Result<ScoreBound> {
    let (is_open, number) = match text {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    let score = num::parse_f64_bound(number).ok_or_else(|| Error::command("min or max is not a float"))?;
    Ok(ScoreBound { score, is_open })
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>> {
    match text {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'[', member @ ..] => Ok(LexBound::Closed(member)),
        [b'(', member @ ..] => Ok(LexBound::Open(member)),
        _ => Err(Error::command("min or max not valid string range item")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_both_ends() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (-2, -1, 3..5),
            (-100, 1, 0..2),
            (3, 100, 3..5),
            (5, 9, 0..0),
            (3, 2, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (0, i64::MIN, 0..0),
        ] {
            assert_eq!(normalized(start, stop, 5), expected, "{start} {stop}");
        }
        assert_eq!(normalized(0, -1, 0), 0..0);
    }
}
