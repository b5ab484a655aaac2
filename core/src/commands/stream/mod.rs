//! Commands on streams.
//!
//! How streams are stored is [`crate::value::stream`]'s affair.

pub(crate) mod add;
pub(crate) mod autoclaim;
pub(crate) mod claim;
pub(crate) mod delete;
pub(crate) mod group;
mod id;
pub(crate) mod info;
pub(crate) mod pending;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod readgroup;
pub(crate) mod trim;

use crate::command::Reply;
use crate::error::{Error, ErrorKind, Result, until_zero};
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::store::memory::OutOfMemory;
use crate::value::StreamRef;
use crate::value::stream::groups::{ConsumerId, GroupId, GroupRef, NEVER};
use crate::value::stream::{Entries, Entry, Id, Stream};

/// The stream of a key, for reading; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE.
fn stream_of<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<StreamRef<'d>>> {
    db.lookup(key).map(|entry| entry.value().stream()).transpose()
}

/// As [`stream_of`], for a command that goes on to write: neither a hit nor a miss.
///
/// # Errors
/// WRONGTYPE.
fn stream_to_change<'d>(db: &'d Db<'_>, key: &Key<'_>) -> Result<Option<StreamRef<'d>>> {
    db.peek(key).map(|entry| entry.value().stream()).transpose()
}

/// Changes the stream of a key; `None` if there is none.
///
/// # Errors
/// WRONGTYPE, out of memory, or whatever `change` returns; it must fail before it changes anything.
fn edit<R>(
    db: &mut Db<'_>,
    key: &Key<'_>,
    change: impl FnOnce(&mut Entries<'_>) -> Result<R>,
) -> Result<Option<R>> {
    collection::edit(db, key, change)
}

/// The present time as streams keep it: unix milliseconds.
fn now(db: &Db<'_>) -> i64 {
    db.now() as i64
}

/// An error whose text repeats words of the caller's among others.
fn error_of(parts: &[&[u8]]) -> Error {
    let text = parts.iter().flat_map(|part| until_zero(part)).copied().collect();
    Error::from_bytes(ErrorKind::Command, text)
}

/// No stream, or it has no such group.
fn no_key_or_group(key: &Key<'_>, group: &[u8]) -> Error {
    error_of(&[b"NOGROUP No such key '", key.bytes(), b"' or consumer group '", group, b"'"])
}

/// The stream has no such group.
fn no_group(key: &Key<'_>, group: &[u8]) -> Error {
    error_of(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key.bytes(), b"'"])
}

/// A stream that is there and its group, to claim from; counts a hit or a miss.
///
/// # Errors
/// WRONGTYPE, or NOGROUP.
fn group_to_claim<'d>(db: &'d Db<'_>, key: &Key<'_>, group: &[u8]) -> Result<(StreamRef<'d>, GroupRef<'d>)> {
    let stream = stream_of(db, key)?.ok_or_else(|| no_key_or_group(key, group))?;
    let group = stream.group(group).ok_or_else(|| no_key_or_group(key, group))?;
    Ok((stream, group))
}

/// A consumer of a group, which is made if it is not there. Says whether it was. It was last seen now.
///
/// # Errors
/// Out of memory; nothing has changed.
fn see_consumer(
    stream: &mut Stream,
    group: GroupId,
    (name, known): (&[u8], Option<ConsumerId>),
    now: i64,
) -> Result<ConsumerId, OutOfMemory> {
    match known {
        Some(consumer) => stream.note_seen(consumer, now, None).map(|()| consumer),
        None => stream.add_consumer(group, name, (now, NEVER)),
    }
}

/// Announces that a consumer was made.
fn announce_consumer(db: &mut Db<'_>, key: &Key<'_>) {
    db.notify(EventClass::Stream, "xgroup-createconsumer", key.bytes());
}

fn reply_id(reply: &mut Reply, id: Id) {
    reply.bulk(&id.text());
}

/// Writes an entry: its ID, and an array of fields and values.
fn reply_entry(reply: &mut Reply, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(entry.len());
    entry.each(|element| element.with(|bytes| reply.bulk(bytes)));
}

/// Writes the entries from an ID to another, as many as are wanted, as far as the reply has room. `seen` hears of each.
fn reply_range(
    reply: &mut Reply,
    stream: StreamRef<'_>,
    (from, to): (Id, Id),
    (reverse, most): (bool, usize),
    mut seen: impl FnMut(&Entry<'_>),
) {
    let open = reply.open_array();
    let mut count = 0;
    if most > 0 {
        stream.each(from, to, reverse, |entry| {
            reply_entry(reply, &entry);
            seen(&entry);
            count += 1;
            count < most && !reply.is_full()
        });
    }
    reply.close(open, count);
}

/// The words by which the log has something be pending.
fn log_claim(
    db: &mut Db<'_>,
    (key, group): (&Key<'_>, &[u8]),
    consumer: &[u8],
    (id, delivered, count): (Id, i64, i64),
    last: Id,
) {
    db.propagate(|| {
        let (id, last) = (id.text(), last.text());
        let (delivered, count) = (delivered.to_string(), count.to_string());
        let words: [&[u8]; 6] = [b"XCLAIM", key.bytes(), group, consumer, b"0", &id];
        let told: [&[u8]; 8] = [
            b"TIME",
            delivered.as_bytes(),
            b"RETRYCOUNT",
            count.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &last,
        ];
        words.into_iter().chain(told).map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
}

/// The words by which the log has a group go on from an ID.
fn log_group(db: &mut Db<'_>, key: &Key<'_>, group: &[u8], last: Id, read: i64) {
    db.propagate(|| {
        let (last, read) = (last.text(), read.to_string());
        let words: [&[u8]; 7] =
            [b"XGROUP", b"SETID", key.bytes(), group, &last, b"ENTRIESREAD", read.as_bytes()];
        words.map(<[u8]>::to_vec)
    });
}

#[cfg(test)]
mod tests;
