//! The large encoding of a sorted set, for Valkey a skip list: a collection of members with their scores, and a counted tree of them in order.
//!
//! ```text
//! 8 bytes     score, a double
//! varint      length of the member
//! member, padding to 8
//! ```
//!
//! The table finds a member, the tree its rank and its neighbours. Both hold the number of its block, which never moves: another score is written over the
//! old one.

use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

use super::bounds::{LexRange, ScoreRange};
use crate::store::collection::tree::{Items, Place, Tree, TreeMut};
use crate::store::collection::{Collection, Elements, View};
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, PAGE, Pool, Ref};
use crate::store::{HashSeed, random};
use crate::sync::Arc;
use crate::value::rooted::as_its_collection;
use crate::value::{Root, Rooted};

/// Members with their scores.
struct Members;

const SCORE: usize = 8;
/// A score and a length.
const LONGEST_HEAD: usize = SCORE + 10;

impl Elements for Members {
    fn size(head: &[u8]) -> usize {
        let (at, len) = length(head);
        at + len
    }

    fn key(element: &[u8]) -> &[u8] {
        member_of(element)
    }
}

/// Where the member begins, and how long it is.
#[inline]
fn length(element: &[u8]) -> (usize, usize) {
    let (mut at, mut len) = (SCORE, 0);
    for shift in (0..).step_by(7) {
        let byte = element[at];
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    (at, len)
}

fn encode_head(head: &mut [u8; LONGEST_HEAD], member: &[u8], score: f64) -> usize {
    head[..SCORE].copy_from_slice(&score.to_le_bytes());
    let (mut at, mut rest) = (SCORE, member.len());
    while rest >= 0x80 {
        head[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    head[at] = rest as u8;
    at + 1
}

#[inline]
fn member_of(element: &[u8]) -> &[u8] {
    let (at, len) = length(element);
    &element[at..at + len]
}

#[inline]
fn score_of(element: &[u8]) -> f64 {
    f64::from_le_bytes(*element.first_chunk().expect("an element begins with its score"))
}

/// The order of members in the tree: by score, then by their bytes.
struct Order;

impl Items for Order {
    const UNIT: bool = true;

    fn hint(view: View<'_>, item: Ref) -> u64 {
        hint(f64::from_bits(u64::from_le(view.word_of(item, 0))))
    }
}

/// A number that is ordered as scores are.
#[inline]
fn hint(score: f64) -> u64 {
    // Both zeroes are one score.
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// A large sorted set that is read.
#[derive(Clone, Copy)]
pub(crate) struct TreeRef<'a> {
    view: View<'a>,
    seed: &'a HashSeed,
}

impl<'a> TreeRef<'a> {
    pub(crate) fn new(root: Root<'a>) -> Self {
        Self { view: View::new(root.words, root.region), seed: root.seed }
    }

    fn order(&self) -> Tree<'a, Order> {
        Tree::new(self.view)
    }

    fn element(&self, block: Ref) -> &'a [u8] {
        self.view.element::<Members>(block)
    }

    pub(crate) fn len(&self) -> usize {
        self.view.len()
    }

    /// The score of a member. O(1).
    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.view.find::<Members>(self.seed, member).map(|(_, element)| score_of(element))
    }

    /// Rank and score of a member. O(log n).
    pub(crate) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.place(member, score).before() as usize, score))
    }

    /// The place before the first member that is not before this one with this score.
    fn place(&self, member: &[u8], score: f64) -> Place {
        self.order().seek(hint(score), |other| member_of(self.element(other)) < member)
    }

    /// The ranks of a range that is not empty. O(log n).
    pub(crate) fn ranks_of_scores(&self, range: &ScoreRange) -> Range<usize> {
        let before =
            |score: f64, with_equal: bool| self.order().seek(hint(score), |_| with_equal).before() as usize;
        let start = before(range.min.score, range.min.is_open);
        start..before(range.max.score, !range.max.is_open).max(start)
    }

    /// The ranks of a range that is not empty, if all members have the same score. O(log n).
    pub(crate) fn ranks_of_members(&self, range: &LexRange<'_>) -> Range<usize> {
        let Some((first, _)) = self.order().walk(self.order().first()).next() else { return 0..0 };
        let hint = Order::hint(self.view, first);
        let before = |is_before: &dyn Fn(&[u8]) -> bool| {
            self.order().seek(hint, |other| is_before(member_of(self.element(other)))).before() as usize
        };
        let start = before(&|member| range.is_before(member));
        start..before(&|member| !range.is_behind(member)).max(start)
    }

    /// Calls `visit` with the members of these ranks, in order or in reverse, until it breaks off.
    pub(crate) fn walk(
        &self,
        ranks: Range<usize>,
        reverse: bool,
        mut visit: impl FnMut(&'a [u8], f64) -> ControlFlow<()>,
    ) {
        let from = if reverse { ranks.end } else { ranks.start } as u64;
        let place = self.order().at(from).map_or_else(|| self.order().end(), |(place, _)| place);
        let mut walk = self.order().walk(place);
        for _ in ranks {
            let Some((item, _)) = (if reverse { walk.previous() } else { walk.next() }) else { return };
            let element = self.element(item);
            if visit(member_of(element), score_of(element)).is_break() {
                return;
            }
        }
    }

    pub(crate) fn scan(&self, mut cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8], f64)) -> u64 {
        let mut seen = 0;
        loop {
            cursor = self.view.scan::<Members>(cursor, |element| {
                seen += 1;
                visit(member_of(element), score_of(element));
            });
            if cursor == 0 || seen >= count {
                return cursor;
            }
        }
    }

    /// A member drawn with equal chances.
    pub(crate) fn random(&self) -> Option<(&'a [u8], f64)> {
        self.random_block().map(|(_, member, score)| (member, score))
    }

    /// The same with the number of its block.
    pub(crate) fn random_block(&self) -> Option<(Ref, &'a [u8], f64)> {
        let block = self.view.random_reference(&mut random)?;
        let element = self.element(block);
        Some((block, member_of(element), score_of(element)))
    }
}

impl std::fmt::Debug for TreeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        self.walk(0..self.len(), false, |member, score| {
            map.entry(&member, &score);
            ControlFlow::Continue(())
        });
        map.finish()
    }
}

/// A large sorted set that is changed: one that stands in no entry, or not at the moment. It owns its memory.
pub(crate) struct ZSet {
    collection: Collection,
}

impl ZSet {
    /// An empty one.
    pub(crate) fn new(pool: &Arc<Pool>) -> Self {
        Self { collection: Collection::new(pool.clone()) }
    }

    pub(crate) fn as_ref<'a>(&'a self, seed: &'a HashSeed) -> TreeRef<'a> {
        TreeRef { view: self.collection.view(), seed }
    }

    fn order(&mut self) -> TreeMut<'_, Order> {
        TreeMut::new(&mut self.collection)
    }

    /// Whether its memory is in pages, beside the root.
    pub(super) fn has_pages(&self) -> bool {
        self.collection.is_in_pages()
    }

    /// Gives a member a score and says whether it is new. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn set(&mut self, seed: &HashSeed, member: &[u8], score: f64) -> Result<bool, OutOfMemory> {
        let view = self.as_ref(seed);
        let found =
            view.view.find::<Members>(seed, member).map(|(block, element)| (block, score_of(element)));
        let place = view.place(member, score);
        match found {
            Some((block, old)) => self.update(seed, (block, member), (old, score), place)?,
            None => self.add(seed, member, score, place)?,
        }
        Ok(found.is_none())
    }

    /// Adds a member that is not there behind all others.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn append(&mut self, seed: &HashSeed, member: &[u8], score: f64) -> Result<(), OutOfMemory> {
        let place = self.order().as_ref().end();
        self.add(seed, member, score, place)
    }

    fn add(&mut self, seed: &HashSeed, member: &[u8], score: f64, place: Place) -> Result<(), OutOfMemory> {
        let mut head = [0; LONGEST_HEAD];
        let len = encode_head(&mut head, member, score);
        let block = self.collection.insert::<Members, 2>(seed, member, [&head[..len], member])?;
        let ordered = self.order().insert(place, block, 1);
        if ordered.is_err() {
            let size = len + member.len();
            let removed = self.collection.remove::<Members>(seed, member, (block, size));
            debug_assert!(removed.is_ok(), "what was just added is nobody else's");
        }
        ordered
    }

    /// Gives a member another score: its place was found as if it had that already.
    fn update(
        &mut self,
        seed: &HashSeed,
        (block, member): (Ref, &[u8]),
        (old, score): (f64, f64),
        place: Place,
    ) -> Result<(), OutOfMemory> {
        let old_place = self.as_ref(seed).place(member, old);
        self.collection.own(block)?;
        self.order().own(&old_place)?;
        let (from, to) = (old_place.before(), place.before());
        self.collection.write(block, 0, [&score.to_le_bytes()]);
        if to == from || to == from + 1 {
            return self.order().set(&old_place, block, 1);
        }
        if let Err(error) = self.order().insert(place, block, 1) {
            self.collection.write(block, 0, [&old.to_le_bytes()]);
            return Err(error);
        }
        // It stands in both places now. The nodes on the way to the old one are its own, or new.
        let from = if to < from { from + 1 } else { from };
        let (old_place, _) = self.order().as_ref().at(from).expect("it stands there still");
        let removed = self.order().remove(&old_place);
        debug_assert!(removed.is_ok(), "the way there is nobody else's");
        removed
    }

    /// Removes a member and says whether it was there. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`] where its memory is shared; nothing has changed.
    pub(crate) fn remove(&mut self, seed: &HashSeed, member: &[u8]) -> Result<bool, OutOfMemory> {
        let Some((block, element)) = self.collection.view().find::<Members>(seed, member) else {
            return Ok(false);
        };
        let (size, score) = (element.len(), score_of(element));
        let place = self.as_ref(seed).place(member, score);
        self.remove_at(seed, &place, (block, size), member)?;
        self.tidy(seed);
        Ok(true)
    }

    /// Removes the member of a rank. O(log n).
    ///
    /// # Errors
    /// As [`ZSet::remove`].
    pub(crate) fn remove_rank(&mut self, seed: &HashSeed, rank: usize) -> Result<(), OutOfMemory> {
        let tree = self.order();
        let Some((place, _)) = tree.as_ref().at(rank as u64) else { return Ok(()) };
        let (block, _) = tree.as_ref().item(&place).expect("there is a member of this rank");
        let element = self.collection.view().element::<Members>(block);
        let (size, member) = (element.len(), SmallVec::<[u8; 64]>::from_slice(member_of(element)));
        self.remove_at(seed, &place, (block, size), &member)?;
        self.tidy(seed);
        Ok(())
    }

    fn remove_at(
        &mut self,
        seed: &HashSeed,
        place: &Place,
        (block, size): (Ref, usize),
        member: &[u8],
    ) -> Result<(), OutOfMemory> {
        self.order().own(place)?;
        self.collection.remove::<Members>(seed, member, (block, size))?;
        let removed = self.order().remove(place);
        debug_assert!(removed.is_ok(), "the way there is nobody else's");
        removed
    }

    /// Writes a sorted set anew that is short and mostly holes. Without memory all stays as it is.
    fn tidy(&mut self, seed: &HashSeed) {
        if !self.collection.is_wasteful() {
            return;
        }
        let mut new = ZSet::new(self.collection.pool());
        let mut is_whole = true;
        let old = self.as_ref(seed);
        old.walk(0..old.len(), false, |member, score| match new.append(seed, member, score) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => {
                is_whole = false;
                ControlFlow::Break(())
            }
        });
        // A root in an entry that is of fixed size stays one: putting it back can't fail.
        if is_whole && (!self.has_pages() || new.collection.move_to_pages().is_ok()) {
            // Its pages go, whoever owned them: the new root takes the old one's place.
            self.collection.set_left(false);
            *self = new;
        }
    }
}

impl Rooted for ZSet {
    as_its_collection!();

    fn elements(&self) -> usize {
        self.collection.view().len()
    }

    fn page_bytes(root: Root<'_>, _: &Pool) -> usize {
        View::new(root.words, root.region).pages() * PAGE
    }
}

impl std::fmt::Debug for ZSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZSet").field("len", &self.elements()).finish_non_exhaustive()
    }
}
