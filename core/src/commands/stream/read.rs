//! XREAD, and the words that it has in common with XREADGROUP.

use std::time::Duration;

use super::{id, reply_range, stream_of};
use crate::alloc;
use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Arg, Args, Attempt, Block, Command, Reply, patience_of_milliseconds};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::StreamRef;
use crate::value::stream::Id;

/// Keys, and from where each is read.
#[derive(Arg)]
pub(crate) struct Streams<'a> {
    #[arg(key_spec = 0)]
    pub(super) key: Vec<Key<'a>>,
    pub(super) id: Vec<&'a [u8]>,
}

/// The words of XREAD and XREADGROUP.
pub(super) struct Words<'a> {
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) count: Option<i64>,
    pub(super) block: Option<&'a [u8]>,
    /// How long it waits; `None` where it does not.
    pub(super) patience: Option<Option<Duration>>,
    pub(super) noack: bool,
    pub(super) streams: Streams<'a>,
}

impl<'a> Words<'a> {
    /// # Errors
    /// What the server replies to wrong ones.
    pub(super) fn parse(args: &mut Args<'a>, with_group: bool) -> Result<Self> {
        let only_with_group = |option: &str| {
            let text =
                format!("The {option} option is only supported by XREADGROUP. You called XREAD instead.");
            Err(Error::command(text))
        };
        let (mut group, mut count, mut block, mut patience, mut noack) = (None, None, None, None, false);
        let streams = loop {
            let left = args.remaining();
            if left == 0 {
                return Err(Error::syntax());
            }
            if left > 1 && args.skip_token("BLOCK") {
                let text = args.value()?;
                patience = Some(patience_of_milliseconds(text)?);
                block = Some(text);
            } else if left > 1 && args.skip_token("COUNT") {
                count = Some(num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?);
            } else if left > 1 && args.skip_token("STREAMS") {
                break Self::streams(args, with_group)?;
            } else if left > 2 && args.skip_token("GROUP") {
                if !with_group {
                    return only_with_group("GROUP");
                }
                group = Some((args.value()?, args.value()?));
            } else if args.skip_token("NOACK") {
                if !with_group {
                    return only_with_group("NOACK");
                }
                noack = true;
            } else {
                return Err(Error::syntax());
            }
        };
        Ok(Self { group, count, block, patience, noack, streams })
    }

    fn streams(args: &mut Args<'a>, with_group: bool) -> Result<Streams<'a>> {
        let count = args.remaining();
        if count % 2 == 1 {
            let (name, token) = if with_group { ("xreadgroup", '>') } else { ("xread", '$') };
            return Err(Error::command(format_args!(
                "Unbalanced '{name}' list of streams: for each stream key an ID or '{token}' must be specified."
            )));
        }
        let mut key = alloc::with_room_for(count / 2)?;
        for _ in 0..count / 2 {
            key.push(Key::parse(args)?);
        }
        let id = alloc::collected(args.take_rest().iter().copied())?;
        Ok(Streams { key, id })
    }

    /// Entries of a stream that are wanted; 0 and less is all.
    pub(super) fn most(count: Option<i64>) -> usize {
        count.filter(|count| *count > 0).map_or(usize::MAX, |count| count as usize)
    }
}

/// Begins the reply of a stream: its name, behind which come its entries.
pub(super) fn reply_key(reply: &mut Reply, key: &Key<'_>) {
    if !reply.resp3() {
        reply.array(2);
    }
    reply.bulk(key.bytes());
}

/// Writes what several streams have. `write` writes one of them, and says whether it has anything. Says whether any has.
///
/// # Errors
/// Those of `write`.
pub(super) fn reply_streams<'k, 'a: 'k>(
    reply: &mut Reply,
    keys: impl Iterator<Item = (usize, &'k Key<'a>)>,
    mut write: impl FnMut(&mut Reply, usize, &Key<'a>) -> Result<bool>,
) -> Result<bool> {
    let mut open = None;
    let mut count = 0;
    for (at, key) in keys {
        let begun = open.take();
        let begun =
            begun.unwrap_or_else(|| if reply.resp3() { reply.open_map() } else { reply.open_array() });
        count += usize::from(write(reply, at, key)?);
        open = Some(begun);
    }
    if let Some(open) = open {
        reply.close(open, count);
    }
    Ok(count > 0)
}

/// Reads several streams from IDs on, or waits until one of them has more.
///
/// Returns the names of those that have, each with its entries. `$` is the last entry that there is now, `+` asks for that one itself, unless it was deleted. A time of 0
/// milliseconds is for ever.
#[derive(Command)]
#[command(
    name = "XREAD", group = Stream, since = "5.0.0", complexity = "", arity = -4,
    flags(READONLY, BLOCKING, MOVABLEKEYS),
    extra_key(RO, ACCESS, begin = BeginSearch::Keyword("STREAMS", 1), find = FindKeys::Range { last: -1, step: 1, limit: 2 }),
    custom_parse, reply = "array(array(bulk | array(array(bulk | array(bulk))))) | map(bulk, array(array(bulk | array(bulk)))) | nullarray",
)]
pub struct XRead<'a> {
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "BLOCK", kind = Integer)]
    milliseconds: Option<&'a [u8]>,
    #[arg(token = "STREAMS")]
    streams: Streams<'a>,
    #[arg(hidden)]
    patience: Option<Option<Duration>>,
}

impl<'a> XRead<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let Words { count, block: milliseconds, patience, streams, .. } = Words::parse(args, false)?;
        Ok(Self { count, milliseconds, streams, patience })
    }

    /// The ID behind which a stream is read.
    fn behind(stream: Option<StreamRef<'_>>, text: &[u8]) -> Result<Id> {
        match until_zero(text) {
            b"$" => Ok(stream.map_or(Id::MIN, |stream| stream.last_id())),
            // The entry of the last ID, if there is one: where it was deleted there is nothing to read.
            b"+" => Ok(stream.map_or(Id::MIN, |stream| match stream.len() {
                0 => stream.last_id(),
                _ => stream.last_id().previous().unwrap_or_default(),
            })),
            b">" => Err(Error::command(
                "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            )),
            _ => id::exact(text, 0),
        }
    }
}

impl Block for XRead<'_> {
    const AWAITED: Option<&'static str> = Some("stream");

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let Streams { key: keys, id: texts } = &self.streams;
        let mut from = alloc::with_room_for(keys.len())?;
        for (key, text) in keys.iter().zip(texts) {
            from.push(Self::behind(stream_of(db, key)?, text)?.next());
        }
        let has_more = |at: usize, stream: &StreamRef<'_>| {
            from[at].is_some_and(|from| stream.last().is_some_and(|entry| entry.id >= from))
        };
        let db = &*db;
        let mut found = alloc::with_room_for(keys.len())?;
        for (at, key) in keys.iter().enumerate() {
            // The server looks twice, and counts that.
            if stream_of(db, key)?.is_some_and(|stream| has_more(at, &stream)) {
                found.push((at, key));
            }
        }
        let is_done = reply_streams(reply, found.into_iter(), |reply, at, key| {
            let Some(entry) = db.peek(key) else { return Ok(false) };
            reply_key(reply, key);
            let range = (from[at].unwrap_or(Id::MAX), Id::MAX);
            reply_range(reply, entry.value().stream()?, range, (false, Words::most(self.count)), |_| ());
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

    /// What `$` stands for is what it stands for now.
    fn settle_words(&self, db: &Db<'_>, words: &mut [Box<[u8]>]) -> Result<()> {
        let first = words.len() - self.streams.id.len();
        for (at, (key, text)) in self.streams.key.iter().zip(&self.streams.id).enumerate() {
            if until_zero(text) == b"$" {
                let stream = db.peek(key).map(|entry| entry.value().stream()).transpose()?;
                words[first + at] = alloc::boxed(&Self::behind(stream, text)?.text())?;
            }
        }
        Ok(())
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        self.streams.key.iter().for_each(|key| visit(key.bytes()));
    }
}
