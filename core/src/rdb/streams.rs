//! Streams: nodes, each an ID and a listpack, then numbers, then groups with what is pending.
//!
//! ```text
//! listpack   entries | deleted entries | fields | field names | 0 | entries
//! entry      flags | milliseconds, number, as differences to the node's ID | values | elements before
//!            flags | milliseconds, number | fields | field, value, ... | elements before
//! ```
//! What was deleted leaves its entry in the server, with a flag. Here it leaves nothing, and is not written.

use super::decoder::{Damage, Decoder, Result};
use super::encoder::Encoder;
use super::form;
use super::packs::{Pack, PackWriter};
use super::values::Making;
use crate::error;
use crate::value::editing::Collection as _;
use crate::value::listpack::Element;
use crate::value::stream::{GroupId, Id, Node, Stream, StreamRef, UNKNOWN};

const IS_DELETED: i64 = 1;
const HAS_SAME_FIELDS: i64 = 2;

fn write_id(id: Id, out: &mut Encoder<'_>) -> error::Result<()> {
    out.length(id.ms)?;
    out.length(id.seq)
}

/// An ID as nodes and what is pending have it: big-endian.
fn raw_id(id: Id) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.ms.to_be_bytes());
    bytes[8..].copy_from_slice(&id.seq.to_be_bytes());
    bytes
}

/// Writes a stream. O(bytes).
///
/// # Errors
/// There is no memory.
pub(super) fn write(stream: StreamRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    let mut nodes = 0;
    stream.each_node(|_, count| {
        nodes += u64::from(count > 0);
        Ok::<_, error::Error>(())
    })?;
    out.length(nodes)?;
    stream.each_node(|node, count| if count > 0 { write_node(node, count, out) } else { Ok(()) })?;
    out.length(stream.len())?;
    write_id(stream.last_id(), out)?;
    write_id(stream.first_id(), out)?;
    write_id(stream.max_deleted_id(), out)?;
    out.length(stream.entries_added())?;
    write_groups(stream, out)
}

fn write_node(node: Node<'_>, count: u64, out: &mut Encoder<'_>) -> error::Result<()> {
    out.packed(&raw_id(node.id()))?;
    let mut pack = PackWriter::new();
    let int = |pack: &mut PackWriter, int: i64| pack.push(Element::Int(int));
    int(&mut pack, count as i64)?;
    int(&mut pack, 0)?;
    int(&mut pack, node.names().len() as i64)?;
    node.names().try_for_each(|name| pack.push(name))?;
    int(&mut pack, 0)?;
    for entry in node.entries() {
        let is_same = entry.has_same_fields();
        int(&mut pack, if is_same { HAS_SAME_FIELDS } else { 0 })?;
        int(&mut pack, entry.id.ms.wrapping_sub(node.id().ms) as i64)?;
        int(&mut pack, entry.id.seq.wrapping_sub(node.id().seq) as i64)?;
        let values = entry.values();
        // The flags, the ID, and how many fields.
        let around = if is_same { 3 } else { 4 };
        if !is_same {
            int(&mut pack, (values.len() / 2) as i64)?;
        }
        values.iter().try_for_each(|value| pack.push(*value))?;
        int(&mut pack, (values.len() + around) as i64)?;
    }
    out.packed(&pack.finish()?)
}

fn write_groups(stream: StreamRef<'_>, out: &mut Encoder<'_>) -> error::Result<()> {
    out.length(stream.group_count() as u64)?;
    for group in stream.groups() {
        out.string(group.name())?;
        write_id(group.last_id(), out)?;
        out.length(group.entries_read() as u64)?;
        out.length(group.pending_count() as u64)?;
        let mut written = Ok(());
        group.each_pending(Id::MIN, |pending| {
            written = out
                .raw(&raw_id(pending.id))
                .and_then(|()| out.ms(pending.delivered))
                .and_then(|()| out.length(pending.count as u64));
            written.is_ok()
        });
        written?;
        out.length(group.consumer_count() as u64)?;
        for consumer in group.consumers() {
            out.string(consumer.name())?;
            out.ms(consumer.seen())?;
            out.ms(consumer.active())?;
            out.length(consumer.pending_count() as u64)?;
            let mut written = Ok(());
            consumer.each_pending(Id::MIN, |pending| {
                written = out.raw(&raw_id(pending.id));
                written.is_ok()
            });
            written?;
        }
    }
    Ok(())
}

const WRONG: Damage = Damage::Data("a stream is damaged");

/// Reads a stream of a form. O(bytes), and O(log n) for each entry.
///
/// # Errors
/// The bytes are none that the server writes, or there is no memory.
pub(super) fn read(form: u8, bytes: &mut Decoder<'_>, making: &Making<'_>) -> Result<Stream> {
    let mut stream = Stream::new(making.pool);
    let limits = Stream::limits(making.options);
    for _ in 0..bytes.length()? {
        let id = read_raw_id(bytes.string()?)?;
        read_node(id, Pack::listpack(bytes.string()?)?, |id, fields| {
            if id > stream.as_ref().last_id() { Ok(stream.append(id, fields, limits)?) } else { Err(WRONG) }
        })?;
    }
    let (len, last) = (bytes.length()?, read_id(bytes)?);
    if len != stream.as_ref().len() || (len > 0 && stream.as_ref().last_id() > last) {
        return Err(WRONG);
    }
    let (mut deleted, mut added) = (Id::MIN, len);
    if form != form::STREAM {
        // The first ID is that of the first entry.
        read_id(bytes)?;
        deleted = read_id(bytes)?;
        added = bytes.length()?;
    }
    stream.set_ids(last, Some(deleted), Some(added))?;
    for _ in 0..bytes.length()? {
        read_group(form, bytes, &mut stream)?;
    }
    Ok(stream)
}

fn read_id(bytes: &mut Decoder<'_>) -> Result<Id> {
    Ok(Id { ms: bytes.length()?, seq: bytes.length()? })
}

fn read_raw_id(bytes: &[u8]) -> Result<Id> {
    let halves = bytes.split_first_chunk().and_then(|(ms, seq)| Some((ms, seq.try_into().ok()?)));
    let (ms, seq) = halves.ok_or(WRONG)?;
    Ok(Id { ms: u64::from_be_bytes(*ms), seq: u64::from_be_bytes(seq) })
}

/// Hands over the entries of a node: its fields and values, in turn.
fn read_node(id: Id, mut pack: Pack<'_>, mut take: impl FnMut(Id, &[&[u8]]) -> Result<()>) -> Result<()> {
    let count = |int: i64| usize::try_from(int).map_err(|_| WRONG);
    let entries = count(pack.next_int()?)?.checked_add(count(pack.next_int()?)?).ok_or(WRONG)?;
    let fields = count(pack.next_int()?)?;
    let mut names = Vec::new();
    read_texts(&mut pack, fields, &mut names)?;
    pack.next_int()?;
    let mut texts = Vec::new();
    for _ in 0..entries {
        let flags = pack.next_int()?;
        let (ms, seq) = (pack.next_int()?, pack.next_int()?);
        let is_same = flags & HAS_SAME_FIELDS != 0;
        texts.clear();
        let values = if is_same { fields } else { 2 * count(pack.next_int()?)?.min(usize::MAX / 2) };
        read_texts(&mut pack, values, &mut texts)?;
        let before = pack.next_int()?;
        let around = if is_same { 3 } else { 4 };
        if before != (texts.len() + around) as i64 {
            return Err(WRONG);
        }
        if flags & IS_DELETED != 0 {
            continue;
        }
        let id = Id { ms: id.ms.wrapping_add(ms as u64), seq: id.seq.wrapping_add(seq as u64) };
        let words: Vec<&[u8]> = if is_same {
            names.iter().zip(&texts).flat_map(|(name, value)| [&name[..], &value[..]]).collect()
        } else {
            texts.iter().map(|text| &text[..]).collect()
        };
        if words.is_empty() {
            return Err(WRONG);
        }
        take(id, &words)?;
    }
    if pack.next()?.is_some() { Err(WRONG) } else { Ok(()) }
}

fn read_texts(pack: &mut Pack<'_>, count: usize, texts: &mut Vec<Vec<u8>>) -> Result<()> {
    for _ in 0..count {
        let text = pack.next()?.ok_or(WRONG)?;
        texts.try_reserve(1).map_err(|_| error::Error::no_memory())?;
        texts.push(text.with(crate::alloc::copied)?);
    }
    Ok(())
}

fn read_group(form: u8, bytes: &mut Decoder<'_>, stream: &mut Stream) -> Result<()> {
    let name = crate::alloc::copied(bytes.string()?)?;
    if stream.as_ref().group(&name).is_some() {
        return Err(WRONG);
    }
    let last = read_id(bytes)?;
    let read = if form == form::STREAM { UNKNOWN } else { bytes.length()? as i64 };
    let group = stream.add_group(&name, last, read)?;
    let mut deliveries = Vec::new();
    for _ in 0..bytes.length()? {
        let id = read_raw_id(bytes.raw(16)?)?;
        let delivery = (bytes.ms()?, bytes.length()? as i64);
        if deliveries.last().is_some_and(|(before, _)| *before >= id) {
            return Err(WRONG);
        }
        deliveries.try_reserve(1).map_err(|_| error::Error::no_memory())?;
        deliveries.push((id, delivery));
    }
    for _ in 0..bytes.length()? {
        read_consumer(form, bytes, (stream, group), &deliveries)?;
    }
    // What is pending is somebody's.
    let pending = stream.as_ref().group_of(group).pending_count();
    if pending == deliveries.len() { Ok(()) } else { Err(WRONG) }
}

/// When entries were delivered, and how often, by their IDs.
type Deliveries = [(Id, (i64, i64))];

fn read_consumer(
    form: u8,
    bytes: &mut Decoder<'_>,
    (stream, group): (&mut Stream, GroupId),
    deliveries: &Deliveries,
) -> Result<()> {
    let name = crate::alloc::copied(bytes.string()?)?;
    let seen = bytes.ms()?;
    let active = if form == form::STREAM_3 { bytes.ms()? } else { seen };
    if stream.as_ref().group_of(group).consumer(&name).is_some() {
        return Err(WRONG);
    }
    let consumer = stream.add_consumer(group, &name, (seen, active))?;
    for _ in 0..bytes.length()? {
        let id = read_raw_id(bytes.raw(16)?)?;
        let at = deliveries.binary_search_by_key(&id, |(id, _)| *id).map_err(|_| WRONG)?;
        if stream.as_ref().group_of(group).pending(id).is_some() {
            return Err(WRONG);
        }
        stream.set_pending(group, consumer, id, deliveries[at].1)?;
    }
    Ok(())
}
