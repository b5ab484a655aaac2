//! Bounds of ranges: of scores, and of members in the order of their bytes. How they are spelled is the commands' affair.

use std::cmp::Ordering;

/// An end of a range of scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreBound {
    pub(crate) score: f64,
    /// The range is without this score itself.
    pub(crate) is_open: bool,
}

/// A range of scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreRange {
    pub(crate) min: ScoreBound,
    pub(crate) max: ScoreBound,
}

impl ScoreRange {
    /// Whether no score can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.min.score > self.max.score
            || (self.min.score == self.max.score && (self.min.is_open || self.max.is_open))
    }

    /// Whether a score lies before the range.
    pub(crate) fn is_before(&self, score: f64) -> bool {
        if self.min.is_open { score <= self.min.score } else { score < self.min.score }
    }

    /// Whether a score lies behind the range.
    pub(crate) fn is_behind(&self, score: f64) -> bool {
        if self.max.is_open { score >= self.max.score } else { score > self.max.score }
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LexBound<'a> {
    /// Before all members.
    Lowest,
    /// Behind all members.
    Highest,
    /// At this one, which is in the range.
    Closed(&'a [u8]),
    /// At this one, which is not.
    Open(&'a [u8]),
}

impl LexBound<'_> {
    fn is_open(&self) -> bool {
        matches!(self, LexBound::Open(_))
    }

    /// Where it stands, whether or not it is in the range.
    fn compare(&self, other: &LexBound<'_>) -> Ordering {
        fn place<'b>(bound: &LexBound<'b>) -> (u8, &'b [u8]) {
            match *bound {
                LexBound::Lowest => (0, &[]),
                LexBound::Closed(member) | LexBound::Open(member) => (1, member),
                LexBound::Highest => (2, &[]),
            }
        }
        place(self).cmp(&place(other))
    }
}

/// A range of members in the order of their bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LexRange<'a> {
    pub(crate) min: LexBound<'a>,
    pub(crate) max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether no member can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self.min.compare(&self.max) {
            Ordering::Greater => true,
            Ordering::Equal => self.min.is_open() || self.max.is_open(),
            Ordering::Less => false,
        }
    }

    /// Whether a member lies before the range.
    pub(crate) fn is_before(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Closed(min) => member < min,
            LexBound::Open(min) => member <= min,
        }
    }

    /// Whether a member lies behind the range.
    pub(crate) fn is_behind(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => true,
            LexBound::Highest => false,
            LexBound::Closed(max) => member > max,
            LexBound::Open(max) => member >= max,
        }
    }
}
