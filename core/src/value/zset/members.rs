//! Changing the members of a sorted set, whatever its encoding, and making new ones.
//!
//! A sorted set stays packed up to the limits of the configuration.

use std::ops::Range;

use super::table::ZSet;
use super::{Member, PackedScore, ZSetRef, pairs, place_of, score_of};
use crate::config::Hot;
use crate::store::HashSeed;
use crate::store::memory::{OutOfMemory, Pool};
use crate::sync::Arc;
use crate::value::editing::{Collection, Editing, Form};
use crate::value::listpack::{self, Element, Listpack};
use crate::value::patch::Patch;
use crate::value::rooted::Rooted;
use crate::value::{Kind, MAX_IN_ARENA, NewValue, Owned, Type};

/// `zset-max-listpack-entries`, and `zset-max-listpack-value` in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    members: usize,
    bytes: usize,
}

/// The members of a sorted set that is being changed.
pub(crate) type Members<'e> = Editing<'e, ZSet>;

impl Collection for ZSet {
    const TYPE: Type = Type::ZSet;
    const NEW: Option<(Kind, &'static [u8])> = Some((Kind::ZSetPacked, &listpack::EMPTY));

    type Limits = Limits;

    fn limits(options: &Hot) -> Limits {
        Limits { members: options.zset_max_listpack_entries(), bytes: options.zset_max_listpack_value() }
    }

    fn new(pool: &Arc<Pool>) -> Self {
        ZSet::new(pool)
    }

    fn of_owned(owned: &mut Owned) -> Option<&mut Self> {
        match owned {
            Owned::ZSetTree(zset) => Some(zset),
            _ => None,
        }
    }

    fn is_empty(_: Kind, packed: &[u8]) -> bool {
        Listpack::new(packed).is_empty()
    }

    fn unpack(_: Kind, packed: &[u8], pool: &Arc<Pool>, seed: &HashSeed) -> Result<Self, OutOfMemory> {
        let mut zset = ZSet::new(pool);
        for (member, score) in pairs(Listpack::new(packed)) {
            member.with(|member| zset.append(seed, member, score))?;
        }
        Ok(zset)
    }

    fn duplicate(&self) -> Self {
        self.share()
    }

    fn become_again(&mut self, before: Self) {
        self.set_left(false);
        *self = before;
    }

    fn is_in_pages(&self) -> bool {
        self.has_pages()
    }
}

/// The member of a rank of a packed sorted set, its score, and what removing it comes to; `None` if there is none.
pub(crate) fn taking(packed: &[u8], rank: usize) -> Option<(Member<'_>, Patch)> {
    let pack = Listpack::new(packed);
    let at = pack.seek(rank * 2)?;
    let mut elements = pack.iter_from(at);
    let member = (elements.next()?, score_of(elements.next()?));
    Some((member, pack.splice(at, 2, &[])))
}

/// What giving a member a score comes to in a packed sorted set, and whether the member is new; no patch if that is its score. `None`: it does not
/// stay packed, or the member moves.
pub(crate) fn setting(
    packed: &[u8],
    member: &[u8],
    score: f64,
    limits: Limits,
) -> Option<(Option<Patch>, bool)> {
    if limits.members == 0 || member.len() > limits.bytes {
        return None;
    }
    let pack = Listpack::new(packed);
    let packed_score = PackedScore::new(score);
    let Some(old) = pack.find_pair(member) else {
        if pack.len() / 2 >= limits.members {
            return None;
        }
        let at = place_of(pack, member, score);
        let patch = pack.splice(at, 0, &[Element::Bytes(member), packed_score.element()]);
        return patch.is_within(packed).then_some((Some(patch), true));
    };
    if pack.element(old).is_some_and(|old| score_of(old) == score) {
        return Some((None, false));
    }
    let (place, own) = (place_of(pack, member, score).index, old.index - 1);
    let stays = place == own || place == own + 2;
    stays.then(|| (Some(pack.splice(old, 1, &[packed_score.element()])), false))
}

impl Editing<'_, ZSet> {
    /// The sorted set to read.
    pub(crate) fn as_ref(&self) -> ZSetRef<'_> {
        match &self.form {
            Form::Packed(packed) => ZSetRef::packed(packed.bytes()),
            Form::Unpacked(zset) => ZSetRef::tree(zset.as_ref(self.seed)),
            Form::Large(zset) => ZSetRef::tree(zset.as_ref(self.seed)),
        }
    }

    /// Leaves the listpack if so many members, of so many bytes at most, are more than it may hold.
    pub(crate) fn make_room_for(&mut self, members: usize, longest: usize) {
        if members > self.limits.members || longest > self.limits.bytes {
            self.unpack();
        }
    }

    /// Leaves the listpack.
    pub(crate) fn unpack_anyway(&mut self) {
        self.unpack();
    }

    /// Gives a member a score, whether or not it has one.
    pub(crate) fn set(&mut self, member: &[u8], score: f64) {
        if self.is_packed() && !self.is_refused {
            let is_new = self.as_ref().score(member).is_none();
            if is_new {
                self.make_room_for(self.as_ref().len() + 1, member.len());
            }
        }
        if self.is_refused {
            return;
        }
        if self.is_packed() {
            self.set_packed(member, score);
            self.has_changed = true;
        } else {
            self.has_changed |= self.change(|zset, seed| zset.set(seed, member, score)).is_some();
        }
    }

    fn set_packed(&mut self, member: &[u8], score: f64) {
        let Form::Packed(packed) = &mut self.form else { return };
        let pack = Listpack::new(packed.bytes());
        let packed_score = PackedScore::new(score);
        let mut place = place_of(pack, member, score).index;
        if let Some(old) = pack.find_pair(member) {
            let own = old.index - 1;
            if place == own || place == own + 2 {
                return pack.splice(old, 1, &[packed_score.element()]).apply_to(&mut **packed);
            }
            let at = pack.seek(own).expect("it is there");
            pack.splice(at, 2, &[]).apply_to(&mut **packed);
            if place > own {
                place -= 2;
            }
        }
        let pack = Listpack::new(packed.bytes());
        let at = pack.seek(place).expect("there are as many elements");
        let patch = pack.splice(at, 0, &[Element::Bytes(member), packed_score.element()]);
        let len = patch.len_after(packed.bytes().len());
        patch.apply_to(&mut **packed);
        if len > MAX_IN_ARENA {
            self.unpack();
        }
    }

    /// Removes a member and says whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let removed = match &mut self.form {
            Form::Packed(packed) => {
                let pack = Listpack::new(packed.bytes());
                let patch = pack.find(member, 0, 2).map(|at| pack.splice(at, 2, &[]));
                patch.map(|patch| patch.apply_to(&mut **packed)).is_some()
            }
            _ => self.change(|zset, seed| zset.remove(seed, member)) == Some(true),
        };
        self.has_changed |= removed;
        removed
    }

    /// Removes the members of these ranks.
    pub(crate) fn remove_ranks(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        self.expect(ranks.len(), || 0);
        if let Form::Packed(packed) = &mut self.form {
            let pack = Listpack::new(packed.bytes());
            let at = pack.seek(ranks.start * 2).expect("there are as many elements");
            pack.splice(at, ranks.len() * 2, &[]).apply_to(&mut **packed);
        } else {
            for _ in ranks.clone() {
                if self.change(|zset, seed| zset.remove_rank(seed, ranks.start)).is_none() {
                    return;
                }
            }
        }
        self.has_changed = true;
    }
}

/// A sorted set that is being made of members in order.
pub(crate) struct Builder {
    limits: Limits,
    len: usize,
    form: NewForm,
}

enum NewForm {
    Packed(Vec<u8>),
    /// As soon as there is a member.
    Expected,
    Large(ZSet),
}

impl Builder {
    /// An empty one.
    pub(crate) fn new(options: &Hot) -> Self {
        let limits = <ZSet as Collection>::limits(options);
        Self { limits, len: 0, form: NewForm::Packed(listpack::EMPTY.to_vec()) }
    }

    /// So many members, of so many bytes at most, are about to be added to an empty one.
    pub(crate) fn expect(&mut self, members: usize, longest: usize) {
        if members > self.limits.members || longest > self.limits.bytes {
            self.form = NewForm::Expected;
        }
    }

    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a member that comes behind all others, and is not there. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn append(
        &mut self,
        pool: &Arc<Pool>,
        seed: &HashSeed,
        member: &[u8],
        score: f64,
    ) -> Result<(), OutOfMemory> {
        /// What a member takes at most beside its bytes: its score, and the ends of both.
        const AROUND: usize = 24;
        self.len += 1;
        match &mut self.form {
            NewForm::Packed(packed) => {
                let is_within = self.len <= self.limits.members && member.len() <= self.limits.bytes;
                if is_within && packed.len() + member.len() + AROUND <= MAX_IN_ARENA {
                    let (pack, score) = (Listpack::new(packed), PackedScore::new(score));
                    let patch = pack.splice(pack.end(), 0, &[Element::Bytes(member), score.element()]);
                    patch.apply_to(packed);
                    return Ok(());
                }
                let large = ZSet::unpack(Kind::ZSetPacked, packed, pool, seed)?;
                self.form = NewForm::Large(large);
            }
            NewForm::Expected => self.form = NewForm::Large(ZSet::new(pool)),
            NewForm::Large(_) => {}
        }
        match &mut self.form {
            NewForm::Large(large) => large.append(seed, member, score),
            _ => unreachable!("it just became large"),
        }
    }

    /// As a value to insert; it has a member.
    pub(crate) fn with<R>(self, insert: impl FnOnce(NewValue<'_>) -> R) -> R {
        match self.form {
            NewForm::Large(large) => insert(NewValue::Owned(large.into())),
            NewForm::Packed(packed) => insert(NewValue::Bytes(Kind::ZSetPacked, &packed)),
            NewForm::Expected => unreachable!("it has a member"),
        }
    }
}
