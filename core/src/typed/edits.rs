//! Edits of collections, as the short way makes them: [`crate::keyspace::edits`].

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::clock::Clock;
use crate::command::Reply;
use crate::commands::stream::add::{add_now, next_id};
use crate::commands::zset::pop::End as Extreme;
use crate::config::Hot;
use crate::error::Result;
use crate::keyspace::edits::{Change, Edit};
use crate::keyspace::hearing::{Events, events_of};
use crate::keyspace::{EventClass, Keyspace};
use crate::value::editing::{Collection, Editing};
use crate::value::hash::{Hash, fields};
use crate::value::list::editing::{popping, pushing};
use crate::value::list::{End, List};
use crate::value::listpack::Element;
use crate::value::patch::Patch;
use crate::value::set::{Set, members as set};
use crate::value::stream::{Id, Stream, packed};
use crate::value::zset::{ZSet, members as zset};
use crate::value::{Kind, MAX_IN_ARENA, ZSetRef};

/// HSET of one field; says whether it is new.
pub(super) struct SetField<'w> {
    field: &'w [u8],
    value: &'w [u8],
    limits: <Hash as Collection>::Limits,
}

impl<'w> SetField<'w> {
    pub(super) fn new(field: &'w [u8], value: &'w [u8], options: &Hot) -> Self {
        Self { field, value, limits: Hash::limits(options) }
    }
}

impl Edit for SetField<'_> {
    type Of = Hash;
    type Done = bool;
    /// Fields of one may have expired.
    const EDITS_LARGE: bool = false;

    fn events(&self) -> &'static Events {
        &const { events_of(EventClass::Hash, "hset") }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[b"HSET", key, self.field, self.value])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        Hash::NEW
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change, bool)> {
        if !self.limits.allow(self.field.len()) || !self.limits.allow(self.value.len()) {
            return None;
        }
        let (patch, is_new) = fields::setting(packed, self.field, self.value);
        let stays = patch.count_after() / 2 <= self.limits.fields && patch.is_within(packed);
        stays.then_some((Change::Patched(patch), is_new))
    }

    fn edit_large(&mut self, _: &mut Editing<'_, Hash>) -> Result<Option<bool>> {
        Ok(None)
    }
}

/// LPUSH and RPUSH of one element; says how many there are then.
pub(super) struct Push<'w> {
    end: End,
    element: &'w [u8],
    limits: <List as Collection>::Limits,
}

impl<'w> Push<'w> {
    pub(super) fn new(end: End, element: &'w [u8], options: &Hot) -> Self {
        Self { end, element, limits: List::limits(options) }
    }
}

impl Edit for Push<'_> {
    type Of = List;
    type Done = usize;

    fn events(&self) -> &'static Events {
        if self.end == End::Left {
            &const { events_of(EventClass::List, "lpush") }
        } else {
            &const { events_of(EventClass::List, "rpush") }
        }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[if self.end == End::Left { b"LPUSH" } else { b"RPUSH" }, key, self.element])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        List::NEW
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change, usize)> {
        let patch = pushing(packed, self.end, self.element, self.limits)?;
        let len = patch.count_after();
        Some((Change::Patched(patch), len))
    }

    fn edit_large(&mut self, list: &mut Editing<'_, List>) -> Result<Option<usize>> {
        list.push(self.end, &[self.element]);
        Ok(Some(list.len()))
    }
}

/// An element that was taken out.
pub(super) enum Taken {
    Int(i64),
    Bytes(SmallVec<[u8; 128]>),
}

impl Taken {
    /// Copies an element; `None` if it is long, or there is no memory.
    #[inline]
    fn of(element: Element<'_>) -> Option<Self> {
        Some(match element {
            Element::Int(int) => Taken::Int(int),
            Element::Bytes(bytes) if bytes.len() > MAX_IN_ARENA => return None,
            Element::Bytes(bytes) => {
                let mut copy = SmallVec::new();
                copy.try_reserve_exact(bytes.len()).ok()?;
                copy.extend_from_slice(bytes);
                Taken::Bytes(copy)
            }
        })
    }

    /// Replies it.
    pub(super) fn write_to(&self, reply: &mut Reply) {
        match self {
            Taken::Int(int) => reply.bulk_integer(*int),
            Taken::Bytes(bytes) => reply.bulk(bytes),
        }
    }
}

/// LPOP and RPOP of one element.
pub(super) struct Pop {
    end: End,
}

impl Pop {
    pub(super) fn new(end: End) -> Self {
        Self { end }
    }
}

impl Edit for Pop {
    type Of = List;
    /// The element, if there is a list.
    type Done = Option<Taken>;

    fn events(&self) -> &'static Events {
        if self.end == End::Left {
            &const { events_of(EventClass::List, "lpop") }
        } else {
            &const { events_of(EventClass::List, "rpop") }
        }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[if self.end == End::Left { b"LPOP" } else { b"RPOP" }, key])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        None
    }

    fn absent(&self) -> Option<Option<Taken>> {
        Some(None)
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change, Option<Taken>)> {
        let (element, patch) = popping(packed, self.end)?;
        Some((rest(patch), Some(Taken::of(element)?)))
    }

    fn edit_large(&mut self, list: &mut Editing<'_, List>) -> Result<Option<Option<Taken>>> {
        Ok(list.take_end(self.end, Taken::of).map(Some))
    }
}

/// SADD of one member; says whether it is new.
pub(super) struct AddMember<'w> {
    member: &'w [u8],
    limits: <Set as Collection>::Limits,
}

impl<'w> AddMember<'w> {
    pub(super) fn new(member: &'w [u8], options: &Hot) -> Self {
        Self { member, limits: Set::limits(options) }
    }
}

impl Edit for AddMember<'_> {
    type Of = Set;
    type Done = bool;

    fn events(&self) -> &'static Events {
        &const { events_of(EventClass::Set, "sadd") }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[b"SADD", key, self.member])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        set::beginning(self.member, self.limits)
    }

    #[inline(always)]
    fn plan(&mut self, kind: Kind, packed: &[u8]) -> Option<(Change, bool)> {
        Some(match set::adding(kind, packed, self.member, self.limits)? {
            Some(patch) => (Change::Patched(patch), true),
            None => (Change::Nothing, false),
        })
    }

    fn edit_large(&mut self, set: &mut Editing<'_, Set>) -> Result<Option<bool>> {
        Ok(Some(set.add_all(&[self.member]) == 1))
    }
}

/// SREM of one member; says whether it was there.
pub(super) struct RemoveMember<'w> {
    member: &'w [u8],
}

impl<'w> RemoveMember<'w> {
    pub(super) fn new(member: &'w [u8]) -> Self {
        Self { member }
    }
}

impl Edit for RemoveMember<'_> {
    type Of = Set;
    type Done = bool;

    fn events(&self) -> &'static Events {
        &const { events_of(EventClass::Set, "srem") }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[b"SREM", key, self.member])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        None
    }

    fn absent(&self) -> Option<bool> {
        Some(false)
    }

    #[inline(always)]
    fn plan(&mut self, kind: Kind, packed: &[u8]) -> Option<(Change, bool)> {
        Some(match set::removing(kind, packed, Element::of(self.member)) {
            Some(patch) => (rest(patch), true),
            None => (Change::Nothing, false),
        })
    }

    fn edit_large(&mut self, set: &mut Editing<'_, Set>) -> Result<Option<bool>> {
        Ok(Some(set.remove_all(std::iter::once(self.member)) == 1))
    }
}

/// ZADD of one member without options; says whether the member is new.
pub(super) struct SetScore<'w> {
    member: &'w [u8],
    /// As it was written, and as a number.
    text: &'w [u8],
    score: f64,
    limits: <ZSet as Collection>::Limits,
}

impl<'w> SetScore<'w> {
    pub(super) fn new(member: &'w [u8], text: &'w [u8], score: f64, options: &Hot) -> Self {
        Self { member, text, score, limits: ZSet::limits(options) }
    }
}

impl Edit for SetScore<'_> {
    type Of = ZSet;
    type Done = bool;

    fn events(&self) -> &'static Events {
        &const { events_of(EventClass::ZSet, "zadd") }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[b"ZADD", key, self.text, self.member])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        ZSet::NEW
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change, bool)> {
        let (patch, is_new) = zset::setting(packed, self.member, self.score, self.limits)?;
        Some((patch.map_or(Change::Nothing, Change::Patched), is_new))
    }

    fn edit_large(&mut self, zset: &mut Editing<'_, ZSet>) -> Result<Option<bool>> {
        let old = zset.as_ref().score(self.member);
        if old != Some(self.score) {
            zset.set(self.member, self.score);
        }
        Ok(Some(old.is_none()))
    }
}

/// ZPOPMIN and ZPOPMAX of one member.
pub(super) struct PopScore {
    end: Extreme,
}

impl PopScore {
    pub(super) fn new(end: Extreme) -> Self {
        Self { end }
    }
}

impl Edit for PopScore {
    type Of = ZSet;
    /// The member and its score, if there is a sorted set.
    type Done = Option<(Taken, f64)>;

    fn events(&self) -> &'static Events {
        match self.end {
            Extreme::Min => &const { events_of(EventClass::ZSet, Extreme::Min.event()) },
            Extreme::Max => &const { events_of(EventClass::ZSet, Extreme::Max.event()) },
        }
    }

    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R {
        hand_on(&[self.end.command(), key])
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        None
    }

    fn absent(&self) -> Option<Option<(Taken, f64)>> {
        Some(None)
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change, Option<(Taken, f64)>)> {
        let rank = self.end.ranks(1, ZSetRef::packed(packed).len()).start;
        let ((member, score), patch) = zset::taking(packed, rank)?;
        Some((rest(patch), Some((Taken::of(member)?, score))))
    }

    fn edit_large(&mut self, zset: &mut Editing<'_, ZSet>) -> Result<Option<Option<(Taken, f64)>>> {
        let ranks = self.end.ranks(1, zset.as_ref().len());
        let mut taken = None;
        zset.as_ref().walk(ranks.clone(), false, |member, score| {
            taken = Taken::of(member).map(|member| (member, score));
            ControlFlow::Break(())
        });
        if taken.is_some() {
            zset.remove_ranks(ranks);
        }
        Ok(taken.map(Some))
    }
}

/// XADD of an ID of the time, without options; says which.
pub(super) struct AddEntry<'w> {
    fields: &'w [&'w [u8]],
    clock: &'w Clock,
    limits: <Stream as Collection>::Limits,
}

impl<'w> AddEntry<'w> {
    pub(super) fn new(fields: &'w [&'w [u8]], keyspace: &'w Keyspace) -> Self {
        Self { fields, clock: &keyspace.clock, limits: Stream::limits(keyspace.config.hot()) }
    }
}

impl Edit<{ packed::FRONT }> for AddEntry<'_> {
    type Of = Stream;
    type Done = Id;
    /// The log gets the ID, which is known last.
    const IS_HEARD: bool = false;

    fn events(&self) -> &'static Events {
        unreachable!("nobody hears of it")
    }

    fn words<R>(&self, _: &[u8], _: impl FnOnce(&[&[u8]]) -> R) -> R {
        unreachable!("nobody hears of it")
    }

    fn beginning(&self) -> Option<(Kind, &'static [u8])> {
        Stream::NEW
    }

    #[inline(always)]
    fn plan(&mut self, _: Kind, packed: &[u8]) -> Option<(Change<{ packed::FRONT }>, Id)> {
        let next = |last| next_id(last, || self.clock.now_ms());
        let (patch, id) = packed::adding(packed, next, self.fields, self.limits)?;
        Some((Change::Patched(patch), id))
    }

    fn edit_large(&mut self, stream: &mut Editing<'_, Stream>) -> Result<Option<Id>> {
        add_now(stream, self.fields).map(Some)
    }
}

/// What taking something away leaves.
#[inline(always)]
fn rest(patch: Patch) -> Change {
    if patch.count_after() == 0 { Change::Gone } else { Change::Patched(patch) }
}
