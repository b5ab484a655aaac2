//! Values of each type, written and read. Streams are [`super::streams`].

use std::ops::ControlFlow;

use super::decoder::{Damage, Decoder, Result};
use super::encoder::Encoder;
use super::packs::{self, Pack, PackWriter};
use super::{form, streams};
use crate::alloc::Texts;
use crate::clock::Clock;
use crate::config::Hot;
use crate::error;
use crate::num;
use crate::store::HashSeed;
use crate::store::memory::Pool;
use crate::sync::Arc;
use crate::value::editing::{Around, Collection, Editing, LazyTime, Loose};
use crate::value::hash::Hash;
use crate::value::list::{Collected, Collecting, Content};
use crate::value::listpack::{self, Element, Listpack};
use crate::value::set;
use crate::value::stream::Stream;
use crate::value::zset::ZSet;
use crate::value::{HashRef, Kind, ListRef, NewValue, Owned, SetRef, Value, ZSetRef, string};

/// The byte that says how a value is encoded.
pub(super) fn form_of(value: Value<'_>) -> u8 {
    match value {
        Value::Int(_) | Value::Str(_) => form::STRING,
        Value::Hash(hash) if hash.is_packed() => form::HASH_LISTPACK,
        Value::Hash(hash) if hash.next_deadline().is_some() => form::HASH_2,
        Value::Hash(_) => form::HASH,
        Value::List(_) => form::LIST_QUICKLIST_2,
        Value::Set(set) if set.is_ints() => form::SET_INTSET,
        Value::Set(set) if set.is_packed() => form::SET_LISTPACK,
        Value::Set(_) => form::SET,
        Value::ZSet(zset) if zset.is_packed() => form::ZSET_LISTPACK,
        Value::ZSet(_) => form::ZSET_2,
        Value::Stream(_) => form::STREAM_3,
    }
}

/// Writes a value behind its [form](form_of). O(bytes).
///
/// # Errors
/// There is no memory.
pub(super) fn write(value: Value<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    match value {
        Value::Int(int) => out.integer(int),
        Value::Str(bytes) => out.string(bytes),
        Value::Hash(hash) => write_hash(hash, out),
        Value::List(list) => write_list(list, out),
        Value::Set(set) => write_set(set, out),
        Value::ZSet(zset) => write_zset(zset, out),
        Value::Stream(stream) => streams::write(stream, out),
    }
}

/// Visits what can't be stopped, up to the first error.
struct Visiting(error::Result<()>);

impl Visiting {
    fn run(&mut self, visit: impl FnOnce() -> error::Result<()>) {
        if self.0.is_ok() {
            self.0 = visit();
        }
    }
}

/// The deadline of a field that has none.
const NEVER: i64 = -1;

fn write_hash(hash: HashRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    // No field has expired at this time: they are written too, as the server writes them.
    const BEFORE_ALL: u64 = 0;
    let mut visiting = Visiting(Ok(()));
    if hash.is_packed() {
        let mut pack = PackWriter::new();
        hash.each(BEFORE_ALL, |field, value| {
            visiting.run(|| pack.push(field).and_then(|()| pack.push(value)));
        });
        visiting.0?;
        return out.packed(&pack.finish()?);
    }
    let has_deadlines = hash.next_deadline().is_some();
    out.length(hash.len(BEFORE_ALL) as u64)?;
    hash.each_with_deadline(|field, value, deadline| {
        visiting.run(|| {
            out.string(field)?;
            out.string(value)?;
            let deadline = deadline.map_or(NEVER, |deadline| deadline as i64);
            if has_deadlines { out.ms(deadline) } else { Ok(()) }
        });
    });
    visiting.0
}

/// What a node of a list is, before it.
const PLAIN: u64 = 1;
const PACKED: u64 = 2;

fn write_list(list: ListRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    let mut nodes = 0;
    list.each_node(|_| nodes += 1);
    out.length(nodes)?;
    let mut visiting = Visiting(Ok(()));
    list.each_node(|node| {
        visiting.run(|| match node {
            Content::Plain(element) => {
                out.length(PLAIN)?;
                out.packed(element)
            }
            Content::Pack(pack) => {
                let mut written = PackWriter::new();
                pack.iter().try_for_each(|element| written.push(element))?;
                out.length(PACKED)?;
                out.packed(&written.finish()?)
            }
        });
    });
    visiting.0
}

fn write_set(set: SetRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    let mut visiting = Visiting(Ok(()));
    if set.is_ints() {
        let mut ints = crate::alloc::with_room_for(set.len())?;
        set.each(|member| match member {
            Element::Int(int) => ints.push(int),
            Element::Bytes(_) => unreachable!("an intset has integers"),
        });
        return out.packed(&packs::intset(ints.iter().copied())?);
    }
    if set.is_packed() {
        let mut pack = PackWriter::new();
        set.each(|member| visiting.run(|| pack.push(member)));
        visiting.0?;
        return out.packed(&pack.finish()?);
    }
    out.length(set.len() as u64)?;
    set.each(|member| visiting.run(|| out.element(member)));
    visiting.0
}

fn write_zset(zset: ZSetRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    let mut visiting = Visiting(Ok(()));
    if zset.is_packed() {
        let (mut pack, mut text) = (PackWriter::new(), Vec::new());
        zset.each(|member, score| {
            visiting.run(|| {
                text.clear();
                num::write_f64(&mut text, score);
                pack.push(member)?;
                pack.push(Element::of(&text))
            });
        });
        visiting.0?;
        return out.packed(&pack.finish()?);
    }
    out.length(zset.len() as u64)?;
    // From the last one on: so the server reads it fastest.
    zset.walk(0..zset.len(), true, |member, score| {
        visiting.run(|| {
            out.element(member)?;
            out.score(score)
        });
        if visiting.0.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    visiting.0
}

/// What values are made with.
#[derive(Clone, Copy)]
pub(crate) struct Making<'e> {
    /// They say how a collection is stored.
    pub(crate) options: &'e Hot,
    pub(crate) pool: &'e Arc<Pool>,
    pub(crate) seed: &'e HashSeed,
    pub(crate) clock: &'e Clock,
}

/// A value that was read.
#[derive(Debug)]
pub(crate) enum Built {
    Text(Vec<u8>),
    Packed(Kind, Vec<u8>),
    Owned(Owned),
}

impl Built {
    /// As a value to insert.
    pub(crate) fn with<R>(self, insert: impl FnOnce(NewValue<'_>) -> R) -> R {
        match self {
            Built::Text(bytes) => insert(string::encode(&bytes)),
            Built::Packed(kind, bytes) => insert(NewValue::Bytes(kind, &bytes)),
            Built::Owned(value) => insert(NewValue::Owned(value)),
        }
    }
}

impl From<Loose> for Built {
    fn from(loose: Loose) -> Self {
        let (kind, bytes) = loose.into_parts();
        Built::Packed(kind, bytes)
    }
}

impl From<Collected> for Built {
    fn from(list: Collected) -> Self {
        match list {
            Collected::Packed(bytes) => Built::Packed(Kind::ListPacked, bytes),
            Collected::Large(list) => Built::Owned(list.into()),
        }
    }
}

const EMPTY: Damage = Damage::Data("a collection has no elements");
const NO_SCORE: Damage = Damage::Data("a score is no number");
const TWICE: Damage = Damage::Data("a collection has an element twice");

impl Making<'_> {
    /// Reads a value of a form. O(bytes), and what its elements cost to add.
    ///
    /// # Errors
    /// The bytes are none that the server writes, or there is no memory.
    pub(super) fn read(&self, form: u8, bytes: &mut Decoder<'_>) -> Result<Built> {
        match form {
            form::STRING => Ok(Built::Text(crate::alloc::copied(bytes.string()?)?)),
            form::LIST..=form::HASH | form::ZSET_2 => self.read_plain(form, bytes),
            form::HASH_2 => {
                let count = bytes.length()?;
                self.hash(count, |take| fields(count, bytes, true, take))
            }
            form::LIST_QUICKLIST | form::LIST_QUICKLIST_2 => self.read_nodes(form, bytes),
            form::STREAM | form::STREAM_2 | form::STREAM_3 => {
                let stream = streams::read(form, bytes, self)?;
                Ok(stream.repack(Stream::limits(self.options)).map_or_else(
                    || Built::Owned(stream.into()),
                    |(kind, packed)| Built::Packed(kind, packed),
                ))
            }
            form::HASH_ZIPMAP..=form::HASH_ZIPLIST
            | form::HASH_LISTPACK
            | form::ZSET_LISTPACK
            | form::SET_LISTPACK => self.read_packed(form, bytes.string()?),
            _ => Err(Damage::Data("there is no such type of value")),
        }
    }

    /// Elements that stand there one by one.
    fn read_plain(&self, form: u8, bytes: &mut Decoder<'_>) -> Result<Built> {
        let count = bytes.length()?;
        match form {
            form::LIST => {
                let mut list = Collecting::new(self.options, self.pool);
                for _ in 0..count {
                    list.push(bytes.string()?)?;
                }
                self.list(list)
            }
            form::SET => {
                let mut set = set::Builder::new(self.options, self.pool, self.seed);
                set.expect(usize::try_from(count).unwrap_or(usize::MAX));
                for _ in 0..count {
                    add(&mut set, Element::of(bytes.string()?))?;
                }
                built(set)
            }
            form::HASH => self.hash(count, |take| fields(count, bytes, false, take)),
            _ => self.read_scores(count, form == form::ZSET, bytes),
        }
    }

    /// Members that stand there one by one. How long they are decides how they are stored, before any is: a listpack knows one zero only.
    fn read_scores(&self, count: u64, are_texts: bool, bytes: &mut Decoder<'_>) -> Result<Built> {
        if count > self.options.zset_max_listpack_entries() as u64 {
            return self.zset((count, 0), |take| members(count, bytes, are_texts, take));
        }
        let (mut texts, mut scores, mut longest) = (Texts::default(), Vec::new(), 0);
        members(count, bytes, are_texts, &mut |member, score| {
            texts.push(member)?;
            scores.push(score);
            longest = longest.max(member.len());
            Ok(())
        })?;
        let mut all = texts.iter().zip(scores);
        self.zset((count, longest), |take| all.try_for_each(|(member, score)| take(member, score)))
    }

    /// A collection that is one string.
    fn read_packed(&self, form: u8, packed: &[u8]) -> Result<Built> {
        match form {
            form::LIST_ZIPLIST => {
                let mut list = Collecting::new(self.options, self.pool);
                push_node(&mut list, Pack::ziplist(packed)?)?;
                self.list(list)
            }
            form::SET_INTSET => {
                let mut set = set::Builder::new(self.options, self.pool, self.seed);
                let ints = packs::ints_of(packed)?;
                set.expect(ints.len());
                ints.map(Element::Int).try_for_each(|int| add(&mut set, int))?;
                built(set)
            }
            form::SET_LISTPACK => {
                let mut set = set::Builder::new(self.options, self.pool, self.seed).packed();
                let mut pack = Pack::listpack(packed)?;
                while let Some(member) = pack.next()? {
                    add(&mut set, member)?;
                }
                built(set)
            }
            form::ZSET_ZIPLIST | form::ZSET_LISTPACK => {
                let pack =
                    if form == form::ZSET_ZIPLIST { Pack::ziplist(packed) } else { Pack::listpack(packed) }?;
                self.zset((pack.expected() / 2, 0), |take| packed_members(pack, take))
            }
            form::HASH_ZIPMAP => self.hash(0, |take| {
                let mut map = Pack::zipmap(packed)?;
                while let Some((field, value)) = map.next_two()? {
                    field.with(|field| value.with(|value| take(field, value, None)))?;
                }
                Ok(())
            }),
            _ => {
                let pack =
                    if form == form::HASH_ZIPLIST { Pack::ziplist(packed) } else { Pack::listpack(packed) }?;
                self.hash(pack.expected() / 2, |take| packed_fields(pack, take))
            }
        }
    }

    /// A list of nodes.
    fn read_nodes(&self, form: u8, bytes: &mut Decoder<'_>) -> Result<Built> {
        let mut list = Collecting::new(self.options, self.pool);
        for _ in 0..bytes.length()? {
            if form == form::LIST_QUICKLIST {
                push_node(&mut list, Pack::ziplist(bytes.string()?)?)?;
                continue;
            }
            match bytes.length()? {
                PLAIN => list.push_alone(bytes.string()?)?,
                PACKED => push_node(&mut list, Pack::listpack(bytes.string()?)?)?,
                _ => return Err(Damage::Data("a list has a node that is none")),
            }
        }
        self.list(list)
    }

    fn list(&self, list: Collecting) -> Result<Built> {
        if list.is_empty() { Err(EMPTY) } else { Ok(list.finish().into()) }
    }

    /// A hash of about so many fields, which `feed` hands over.
    fn hash(&self, count: u64, feed: impl FnOnce(&mut TakeField<'_>) -> Result<()>) -> Result<Built> {
        self.edited::<Hash>(|hash| {
            hash.make_room_for(usize::try_from(count).unwrap_or(usize::MAX));
            let mut fields = 0;
            feed(&mut |field, value, deadline| {
                fields += 1;
                if hash.set(field, value, deadline) || hash.is_late(deadline) { Ok(()) } else { Err(TWICE) }
            })?;
            if fields == 0 { Err(EMPTY) } else { Ok(()) }
        })
    }

    /// A sorted set of about so many members, of so many bytes at most as far as that is known, which `feed` hands over.
    fn zset(
        &self,
        (count, longest): (u64, usize),
        feed: impl FnOnce(&mut TakeMember<'_>) -> Result<()>,
    ) -> Result<Built> {
        self.edited::<ZSet>(|zset| {
            zset.make_room_for(usize::try_from(count).unwrap_or(usize::MAX), longest);
            feed(&mut |member, score| {
                if score.is_nan() {
                    return Err(NO_SCORE);
                }
                let before = zset.as_ref().len();
                zset.set(member, score);
                if zset.as_ref().len() == before { Err(TWICE) } else { Ok(()) }
            })?;
            if zset.as_ref().len() == 0 { Err(EMPTY) } else { Ok(()) }
        })
    }

    /// A collection that begins packed and is filled.
    fn edited<T: Collection>(&self, fill: impl FnOnce(&mut Editing<'_, T>) -> Result<()>) -> Result<Built> {
        let (kind, empty) = T::NEW.expect("these begin packed");
        let mut loose = Loose::new(kind, empty);
        let time = LazyTime::new(self.clock, 0);
        let around =
            Around { limits: T::limits(self.options), seed: self.seed, pool: self.pool, time: &time };
        let mut editing = Editing::<T>::packed(&mut loose, around);
        editing.run(|editing| Ok(fill(editing)))??;
        Ok(match editing.end().unpacked {
            Some(large) => Built::Owned(large.into()),
            None => loose.into(),
        })
    }
}

/// Adds a node of the elements of a pack. It is made as a whole: which nodes there are decides about the encoding.
fn push_node(list: &mut Collecting, mut pack: Pack<'_>) -> Result<()> {
    let mut node = listpack::EMPTY.to_vec();
    while let Some(element) = pack.next()? {
        let end = Listpack::new(&node).end();
        let patch = Listpack::new(&node).splice(end, 0, &[element]);
        node.try_reserve(patch.len_after(node.len()) - node.len()).map_err(|_| error::Error::no_memory())?;
        patch.apply_to(&mut node);
    }
    Ok(list.push_node(Listpack::new(&node))?)
}

fn add(set: &mut set::Builder<'_>, member: Element<'_>) -> Result<()> {
    let before = set.len();
    set.add(member)?;
    if set.len() == before { Err(TWICE) } else { Ok(()) }
}

fn built(set: set::Builder<'_>) -> Result<Built> {
    match set.finish() {
        None => Err(EMPTY),
        Some(set::Built::Packed(kind, bytes)) => Ok(Built::Packed(kind, bytes)),
        Some(set::Built::Table(set)) => Ok(Built::Owned(set.into())),
    }
}

/// Takes a field, its value, and its deadline if it has one.
type TakeField<'t> = dyn FnMut(&[u8], &[u8], Option<u64>) -> Result<()> + 't;

/// Takes a member and its score.
type TakeMember<'t> = dyn FnMut(&[u8], f64) -> Result<()> + 't;

/// Fields that stand there one by one.
fn fields(count: u64, bytes: &mut Decoder<'_>, has_deadlines: bool, take: &mut TakeField<'_>) -> Result<()> {
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..count {
        copy_to(&mut field, bytes.string()?)?;
        if !has_deadlines {
            take(&field, bytes.string()?, None)?;
            continue;
        }
        copy_to(&mut value, bytes.string()?)?;
        let deadline = match bytes.ms()? {
            NEVER => None,
            deadline => {
                Some(u64::try_from(deadline).map_err(|_| Damage::Data("a field expires before time began"))?)
            }
        };
        take(&field, &value, deadline)?;
    }
    Ok(())
}

/// Fields that stand in a pack, in turn with their values.
fn packed_fields(mut pack: Pack<'_>, take: &mut TakeField<'_>) -> Result<()> {
    while let Some((field, value)) = pack.next_two()? {
        field.with(|field| value.with(|value| take(field, value, None)))?;
    }
    Ok(())
}

/// Members that stand there one by one.
fn members(count: u64, bytes: &mut Decoder<'_>, are_texts: bool, take: &mut TakeMember<'_>) -> Result<()> {
    let mut member = Vec::new();
    for _ in 0..count {
        copy_to(&mut member, bytes.string()?)?;
        let score = if are_texts { bytes.score_text() } else { bytes.score() }?;
        take(&member, score)?;
    }
    Ok(())
}

/// Members that stand in a pack, in turn with their scores.
fn packed_members(mut pack: Pack<'_>, take: &mut TakeMember<'_>) -> Result<()> {
    while let Some((member, score)) = pack.next_two()? {
        let score = match score {
            Element::Int(int) => int as f64,
            Element::Bytes(text) => num::parse_f64(text).ok_or(NO_SCORE)?,
        };
        member.with(|member| take(member, score))?;
    }
    Ok(())
}

fn copy_to(copy: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    copy.clear();
    copy.try_reserve(bytes.len()).map_err(|_| error::Error::no_memory())?;
    copy.extend_from_slice(bytes);
    Ok(())
}
