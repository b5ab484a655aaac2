//! XREADGROUP.

use std::time::Duration;

use super::read::{Streams, Words, reply_key, reply_streams};
use super::{
    announce_consumer, edit, error_of, id, log_claim, log_group, now, reply_entry, reply_id, reply_range,
    see_consumer, stream_of,
};
use crate::alloc;
use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Arg, Args, Attempt, Block, Command, Reply};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::{Db, Key};
use crate::value::StreamRef;
use crate::value::stream::groups::{GroupRef, UNKNOWN};
use crate::value::stream::{Entries, Id};

/// A group, and who reads for it.
#[derive(Arg)]
struct GroupBlock<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
}

/// Reads several streams for a consumer of a group: what nobody of the group has been given yet, or what this consumer has been given and not acknowledged.
///
/// Returns the names of the streams, each with its entries; null for the fields of one that was deleted. With BLOCK it waits until there is something new; a
/// time of 0 milliseconds is for ever.
#[derive(Command)]
#[command(
    name = "XREADGROUP", group = Stream, since = "5.0.0", complexity = "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.", arity = -7,
    flags(WRITE, BLOCKING, MOVABLEKEYS),
    extra_key(RO, ACCESS, begin = BeginSearch::Keyword("STREAMS", 4), find = FindKeys::Range { last: -1, step: 1, limit: 2 }),
    custom_parse, reply = "array(array(bulk | array(array(bulk | array(bulk) | nullarray)))) | map(bulk, array(array(bulk | array(bulk) | nullarray))) | nullarray",
)]
pub struct XReadGroup<'a> {
    #[arg(token = "GROUP")]
    group_block: GroupBlock<'a>,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "BLOCK", kind = Integer)]
    milliseconds: Option<&'a [u8]>,
    #[arg(token = "NOACK")]
    noack: bool,
    #[arg(token = "STREAMS")]
    streams: Streams<'a>,
    #[arg(hidden)]
    patience: Option<Option<Duration>>,
}

impl<'a> XReadGroup<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let words = Words::parse(args, true)?;
        let Words { group, count, block: milliseconds, patience, noack, streams } = words;
        let missing = || Error::command("Missing GROUP option for XREADGROUP");
        let (group, consumer) = group.ok_or_else(missing)?;
        let group_block = GroupBlock { group, consumer };
        Ok(Self { group_block, count, milliseconds, noack, streams, patience })
    }

    /// From which ID on the consumer's own entries are read; `None`: it is new ones that are wanted.
    fn own_from(&self, db: &Db<'_>, key: &Key<'_>, text: &[u8]) -> Result<Option<Id>> {
        let group = self.group_block.group;
        let stream = stream_of(db, key)?;
        if stream.and_then(|stream| stream.group(group)).is_none() {
            return Err(error_of(&[
                b"NOGROUP No such key '",
                key.bytes(),
                b"' or consumer group '",
                group,
                b"' in XREADGROUP with GROUP option",
            ]));
        }
        match until_zero(text) {
            b">" => Ok(None),
            token @ (b"$" | b"+") => {
                let token = char::from(token[0]);
                Err(Error::command(format_args!(
                    "The {token} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The {token} ID would just return an empty result set."
                )))
            }
            _ => id::exact(text, 0).map(Some),
        }
    }

    /// Makes the consumer, or notes that it was there.
    fn see(&self, db: &mut Db<'_>, key: &Key<'_>) -> Result<()> {
        let now = now(db);
        let is_new = edit(db, key, |stream| {
            let group = self.group_of(stream)?;
            let known = group.consumer(self.group_block.consumer).map(|consumer| consumer.id);
            let (group, name) = (group.id, self.group_block.consumer);
            stream.alter_unheard(1, |stream| see_consumer(stream, group, (name, known), now));
            Ok(known.is_none())
        })?;
        if is_new == Some(true) {
            announce_consumer(db, key);
        }
        Ok(())
    }

    fn group_of<'s>(&self, stream: &'s Entries<'_>) -> Result<GroupRef<'s>> {
        stream.as_ref().group(self.group_block.group).ok_or_else(Error::no_such_key)
    }

    /// Whether a group has not been given all that a stream has.
    fn has_new(&self, stream: StreamRef<'_>) -> bool {
        let group = stream.group(self.group_block.group);
        group.is_some_and(|group| stream.last().is_some_and(|entry| entry.id > group.last_id()))
    }

    /// Gives the consumer what is new.
    fn deliver(&self, db: &mut Db<'_>, key: &Key<'_>, reply: &mut Reply) -> Result<()> {
        let (now, name) = (now(db), self.group_block.consumer);
        let given = edit(db, key, |stream| {
            let group = self.group_of(stream)?;
            let (mut last, mut read) = (group.last_id(), group.entries_read());
            let Some(from) = last.next() else { return Ok((Vec::new(), last, read)) };
            let consumer = group.consumer(name).ok_or_else(Error::no_such_key)?.id;
            let (group, view) = (group.id, stream.as_ref());
            let mut ids = Vec::new();
            let mut kept = Ok(());
            reply_range(reply, view, (from, Id::MAX), (false, Words::most(self.count)), |entry| {
                read = if read != UNKNOWN && last >= view.first_id() && !view.has_holes_from(last) {
                    read.wrapping_add(1)
                } else if view.entries_added() > 0 {
                    view.entries_up_to(entry.id)
                } else {
                    read
                };
                last = entry.id;
                match ids.try_reserve(1) {
                    Ok(()) => ids.push(entry.id),
                    Err(_) => kept = Err(Error::no_memory()),
                }
            });
            kept?;
            reply.check()?;
            let changes = if self.noack { 1 } else { 2 + 2 * ids.len() };
            let done = stream.alter_unheard(changes, |stream| {
                if !self.noack {
                    for id in &ids {
                        stream.set_pending(group, consumer, *id, (now, 1))?;
                    }
                    stream.note_seen(consumer, now, Some(now))?;
                }
                stream.set_group(group, last, read)
            });
            if done.is_some() {
                stream.log();
            }
            Ok((ids, last, read))
        })?;
        let Some((ids, last, read)) = given else { return Ok(()) };
        let group = self.group_block.group;
        if !self.noack {
            for id in ids {
                log_claim(db, (key, group), name, (id, now, 1), id);
            }
        }
        log_group(db, key, group, last, read);
        Ok(())
    }

    /// Tells the consumer again what it was given.
    fn tell_own(&self, db: &mut Db<'_>, key: &Key<'_>, behind: Id, reply: &mut Reply) -> Result<()> {
        let (now, most) = (now(db), Words::most(self.count));
        edit(db, key, |stream| {
            let group = self.group_of(stream)?;
            let consumer = group.consumer(self.group_block.consumer).ok_or_else(Error::no_such_key)?;
            let (group, view) = (group.id, stream.as_ref());
            let mut told = Vec::new();
            let mut kept = Ok(());
            let (open, mut count) = (reply.open_array(), 0);
            let write = |pending: crate::value::stream::groups::Pending<'_>| {
                match view.get(pending.id) {
                    Some(entry) => {
                        reply_entry(reply, &entry);
                        match told.try_reserve(1) {
                            Ok(()) => told.push((pending.id, pending.count)),
                            Err(_) => kept = Err(Error::no_memory()),
                        }
                    }
                    None => {
                        reply.array(2);
                        reply_id(reply, pending.id);
                        reply.null_array();
                    }
                }
                count += 1;
                count < most && !reply.is_full()
            };
            if let Some(from) = behind.next() {
                consumer.each_pending(from, write);
            }
            reply.close(open, count);
            kept?;
            reply.check()?;
            let consumer = consumer.id;
            if !told.is_empty() {
                stream.alter_unheard(told.len(), |stream| {
                    told.iter().try_for_each(|(id, count)| {
                        stream.set_pending(group, consumer, *id, (now, count.saturating_add(1)))
                    })
                });
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl Block for XReadGroup<'_> {
    const AWAITED: Option<&'static str> = Some("stream");
    const AWAITS_LOSS: bool = true;

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let Streams { key: keys, id: texts } = &self.streams;
        let mut own = alloc::with_room_for(keys.len())?;
        for (key, text) in keys.iter().zip(texts) {
            own.push(self.own_from(db, key, text)?);
        }
        let mut found = alloc::with_room_for(keys.len())?;
        for (at, key) in keys.iter().enumerate() {
            self.see(db, key)?;
            let stream = stream_of(db, key)?;
            if own[at].is_some() || stream.is_some_and(|stream| self.has_new(stream)) {
                found.push((at, key));
            }
        }
        let is_done = reply_streams(reply, found.into_iter(), |reply, at, key| {
            // The same key may be named twice.
            let stream = db.peek(key).map(|entry| entry.value().stream()).transpose()?;
            if own[at].is_none() && !stream.is_some_and(|stream| self.has_new(stream)) {
                return Ok(false);
            }
            reply_key(reply, key);
            match own[at] {
                Some(behind) => self.tell_own(db, key, behind, reply)?,
                None => self.deliver(db, key, reply)?,
            }
            Ok(true)
        })?;
        if !is_done && self.patience.is_none() {
            reply.null_array();
            return Ok(Attempt::Done);
        }
        Ok(if is_done { Attempt::Done } else { Attempt::Wait })
    }

    fn patience(&self) -> Option<Duration> {
        self.patience.flatten()
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        self.streams.key.iter().for_each(|key| visit(key.bytes()));
    }
}
