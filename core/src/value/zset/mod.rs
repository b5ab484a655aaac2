//! Sorted sets: reading one whatever its encoding.
//!
//! A small sorted set is a listpack in its entry: members with their scores, in order. A larger one is a [`table::ZSet`]. How either is changed is in
//! [`members`], what ranges are in [`bounds`].
//!
//! Members are in the order of their scores, those of one score in the order of their bytes. Ranges of all kinds become ranges of ranks first.

pub(crate) mod bounds;
pub(crate) mod members;
pub(crate) mod table;

use std::ops::{ControlFlow, Range};

pub(crate) use table::{TreeRef, ZSet};

use super::Value;
use super::listpack::{Element, Listpack, Position, parse_int};
use crate::error::{Error, Result};
use crate::store::random;
use bounds::{LexRange, ScoreRange};

impl<'a> Value<'a> {
    /// The sorted set.
    ///
    /// # Errors
    /// WRONGTYPE for any other type.
    pub fn zset(&self) -> Result<ZSetRef<'a>> {
        match *self {
            Value::ZSet(zset) => Ok(zset),
            _ => Err(Error::wrong_type()),
        }
    }
}

/// A member with its score.
pub(crate) type Member<'a> = (Element<'a>, f64);

/// A sorted set being read.
#[derive(Clone, Copy, Debug)]
pub struct ZSetRef<'a>(Encoding<'a>);

#[derive(Clone, Copy, Debug)]
enum Encoding<'a> {
    Packed(Listpack<'a>),
    Tree(TreeRef<'a>),
}

impl<'a> ZSetRef<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Encoding::Packed(Listpack::new(bytes)))
    }

    pub(crate) fn tree(zset: TreeRef<'a>) -> Self {
        Self(Encoding::Tree(zset))
    }

    /// Whether it is a listpack.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.0, Encoding::Packed(_))
    }

    /// Number of members. O(1).
    pub(crate) fn len(&self) -> usize {
        match self.0 {
            Encoding::Packed(pack) => pack.len() / 2,
            Encoding::Tree(zset) => zset.len(),
        }
    }

    /// The score of a member. O(1), or O(members) of a packed sorted set.
    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Encoding::Packed(pack) => pack.behind(member).map(score_of),
            Encoding::Tree(zset) => zset.score(member),
        }
    }

    /// The rank of a member from the lowest score up, and its score. O(log members).
    pub(crate) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Encoding::Packed(pack) => {
                let at = pack.find_pair(member)?;
                Some((at.index / 2, score_of(pack.element(at)?)))
            }
            Encoding::Tree(zset) => zset.rank(member),
        }
    }

    /// The ranks of the members whose scores are in a range. O(log members).
    pub(crate) fn ranks_of_scores(&self, range: &ScoreRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match self.0 {
            Encoding::Packed(pack) => {
                let scores = || pairs(pack).map(|(_, score)| score);
                let start = scores().take_while(|score| range.is_before(*score)).count();
                let len = scores().skip(start).take_while(|score| !range.is_behind(*score)).count();
                start..start + len
            }
            Encoding::Tree(zset) => zset.ranks_of_scores(range),
        }
    }

    /// The ranks of the members that are in a range, if all have the same score. If not, a packed sorted set is looked through from the first member on, or
    /// `from_end` from the last one back, as far as members go on being in the range. O(log members).
    pub(crate) fn ranks_of_members(&self, range: &LexRange<'_>, from_end: bool) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match self.0 {
            Encoding::Packed(pack) => ranks_of_packed(pack, range, from_end),
            Encoding::Tree(zset) => zset.ranks_of_members(range),
        }
    }

    /// Calls `visit` with the members of these ranks, in order or in reverse, until it breaks off. O(log members), and O(1) for each.
    pub(crate) fn walk(
        &self,
        ranks: Range<usize>,
        reverse: bool,
        mut visit: impl FnMut(Element<'a>, f64) -> ControlFlow<()>,
    ) {
        if ranks.is_empty() {
            return;
        }
        match self.0 {
            Encoding::Packed(pack) => {
                let Some(at) = pack.seek(ranks.start * 2) else { return };
                let mut elements = pack.iter_from(at).take(ranks.len() * 2);
                loop {
                    let (first, second) = if reverse {
                        let second = elements.next_back();
                        (elements.next_back(), second)
                    } else {
                        (elements.next(), elements.next())
                    };
                    let (Some(member), Some(score)) = (first, second) else { return };
                    if visit(member, score_of(score)).is_break() {
                        return;
                    }
                }
            }
            Encoding::Tree(zset) => {
                zset.walk(ranks, reverse, |member, score| visit(Element::Bytes(member), score))
            }
        }
    }

    /// Calls `visit` with each member, from the lowest score up.
    pub(crate) fn each(&self, mut visit: impl FnMut(Element<'a>, f64)) {
        self.walk(0..self.len(), false, |member, score| {
            visit(member, score);
            ControlFlow::Continue(())
        });
    }

    /// Visits some members from a cursor on and returns the next, 0 at the end. A packed sorted set is visited whole.
    pub(crate) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'a>, f64)) -> u64 {
        match self.0 {
            Encoding::Packed(_) => {
                self.each(visit);
                0
            }
            Encoding::Tree(zset) => {
                zset.scan(cursor, count, |member, score| visit(Element::Bytes(member), score))
            }
        }
    }

    /// A member drawn at random, each with the same chance; `None` if there is none.
    pub(crate) fn random(&self) -> Option<Member<'a>> {
        match self.0 {
            Encoding::Packed(pack) => {
                let members = pack.len() as u64 / 2;
                let at = pack.seek(random().checked_rem(members)? as usize * 2)?;
                let mut elements = pack.iter_from(at);
                Some((elements.next()?, score_of(elements.next()?)))
            }
            Encoding::Tree(zset) => zset.random().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    /// Visits so many different members drawn at random, every choice with the same chance, until `visit` breaks off; all of them if there are no more.
    /// O(count), or O(members) of a packed sorted set and where a third of all is drawn.
    ///
    /// # Errors
    /// There is no memory to remember what was drawn.
    pub(crate) fn draw(
        &self,
        count: usize,
        mut visit: impl FnMut(Element<'a>, f64) -> ControlFlow<()>,
    ) -> Result<()> {
        /// From so large a part of the members on, what is drawn would mostly have been drawn before.
        const PART: usize = 3;
        let len = self.len();
        if let Encoding::Tree(zset) = self.0
            && count < len / PART
        {
            let mut drawn = hashbrown::HashSet::new();
            drawn.try_reserve(count).map_err(|_| Error::no_memory())?;
            while drawn.len() < count {
                let Some((block, member, score)) = zset.random_block() else { break };
                if drawn.insert(block) && visit(Element::Bytes(member), score).is_break() {
                    break;
                }
            }
            return Ok(());
        }
        // Each is taken with the chance that is left for it (Knuth's algorithm S).
        let (mut wanted, mut left) = (count.min(len) as u64, len as u64);
        self.walk(0..len, false, |member, score| {
            if wanted == 0 {
                return ControlFlow::Break(());
            }
            let is_drawn = random() % left < wanted;
            left -= 1;
            if is_drawn {
                wanted -= 1;
                return visit(member, score);
            }
            ControlFlow::Continue(())
        });
        Ok(())
    }
}

/// The members of a packed sorted set with their scores.
fn pairs(pack: Listpack<'_>) -> impl Iterator<Item = Member<'_>> {
    let mut elements = pack.iter();
    std::iter::from_fn(move || Some((elements.next()?, score_of(elements.next()?))))
}

fn ranks_of_packed(pack: Listpack<'_>, range: &LexRange<'_>, from_end: bool) -> Range<usize> {
    let len = pack.len() / 2;
    let is_before = |member: Element<'_>| member.with(|member| range.is_before(member));
    let is_behind = |member: Element<'_>| member.with(|member| range.is_behind(member));
    let mut elements = pack.iter();
    let (first, last) = (elements.next(), elements.nth_back(1).or(pack.iter().next()));
    if first.is_none_or(is_behind) || last.is_none_or(is_before) {
        return 0..0;
    }
    let members = || pack.iter().step_by(2);
    if from_end {
        let behind = pack.iter().rev().skip(1).step_by(2).take_while(|member| is_behind(*member)).count();
        let within = pack.iter().rev().skip(1 + behind * 2).step_by(2);
        let within = within.take_while(|member| !is_before(*member)).count();
        return len - behind - within..len - behind;
    }
    let before = members().take_while(|member| is_before(*member)).count();
    let within = members().skip(before).take_while(|member| !is_behind(*member)).count();
    before..before + within
}

/// The score that an element of a listpack stands for: an integer, or the eight bytes of a double, and one more where they would read as an integer.
fn score_of(element: Element<'_>) -> f64 {
    match element {
        Element::Int(int) => int as f64,
        Element::Bytes(bytes) => {
            f64::from_le_bytes(*bytes.first_chunk().expect("a score that is no integer is eight bytes"))
        }
    }
}

/// A score as an element of a listpack.
struct PackedScore {
    int: Option<i64>,
    bytes: [u8; 9],
    len: usize,
}

impl PackedScore {
    fn new(score: f64) -> Self {
        /// All integers up to here, and no others above, are doubles.
        const EXACT: f64 = (1_u64 << 53) as f64;
        // As in the server, a listpack has one zero.
        let is_integer = score.trunc() == score && score.abs() <= EXACT;
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&score.to_le_bytes());
        let len = if parse_int(&bytes[..8]).is_some() { 9 } else { 8 };
        Self { int: is_integer.then_some(score as i64), bytes, len }
    }

    fn element(&self) -> Element<'_> {
        self.int.map_or(Element::Bytes(&self.bytes[..self.len]), Element::Int)
    }
}

/// Where a member with this score belongs in a packed sorted set. Its own element, if it has one with another score, counts as any other.
fn place_of(pack: Listpack<'_>, member: &[u8], score: f64) -> Position {
    let mut elements = pack.iter();
    loop {
        let place = elements.position(pack);
        let (Some(other), Some(its_score)) = (elements.next(), elements.next()) else { return place };
        let its_score = score_of(its_score);
        if its_score > score || (its_score == score && other.with(|other| other >= member)) {
            return place;
        }
    }
}

#[cfg(test)]
mod tests;
