//! Typed calls as commands to a backend: what each asks, and what it makes of the reply.

use std::time::Duration;

use itoa::Buffer;
use smallvec::SmallVec;

use super::{Condition, Found, Ttl, found, ttl_ms};
use crate::alloc;
use crate::backend::{Backend, Connection};
use crate::command::tape::Item;
use crate::command::{Form, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::num;
use crate::pattern;
use crate::value::Text;

/// The typed calls on one database of an engine elsewhere. They do what those of [`super::Typed`] and [`crate::Database`] do, by the same names.
pub(crate) struct Forward<'b> {
    pub(crate) backend: &'b dyn Backend,
    pub(crate) db: usize,
}

/// Keys of one MGET, EXISTS or SCAN.
const BATCH: usize = 1000;

impl Forward<'_> {
    pub(crate) fn get<R>(&self, key: &[u8], read: impl FnOnce(Option<Found<'_>>) -> R) -> Result<R> {
        self.ask(&[b"GET", key], |reply| string(&reply).map(read))
    }

    pub(crate) fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        mut read: impl FnMut(usize, Option<Found<'_>>),
    ) -> Result<()> {
        let mut position = 0;
        for batch in keys.chunks(BATCH) {
            self.ask(&words(&[b"MGET"], batch)?, |reply| {
                for value in array(&reply, batch.len())? {
                    read(position, string(value)?);
                    position += 1;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(crate) fn hget<R>(
        &self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        self.ask(&[b"HGET", key, field], |reply| Ok(read(bytes(&reply)?)))
    }

    pub(crate) fn hset(&self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool> {
        self.ask(&[b"HSET", key, field, value], |reply| Ok(integer(&reply)? > 0))
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8], ttl: Ttl, condition: Condition) -> Result<bool> {
        let (mut buffer, milliseconds) = (Buffer::new(), ttl_ms(ttl)?.unwrap_or_default());
        let time = buffer.format(milliseconds).as_bytes();
        self.ask(&set_words(key, value, ttl, time, condition), |reply| match reply {
            Item::Simple(_) => Ok(true),
            Item::Null => Ok(false),
            _ => Err(unexpected()),
        })
    }

    pub(crate) fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)], ttl: Ttl) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        if ttl == Ttl::None {
            let mut argv: Vec<&[u8]> = alloc::with_room_for(1 + 2 * pairs.len())?;
            argv.push(b"MSET");
            argv.extend(pairs.iter().flat_map(|(key, value)| [key.as_ref(), value.as_ref()]));
            return self.ask(&argv, |_| Ok(()));
        }
        // MSETEX is younger than some servers.
        let (mut buffer, milliseconds) = (Buffer::new(), ttl_ms(ttl)?.unwrap_or_default());
        let time = buffer.format(milliseconds).as_bytes();
        let mut transaction = Transaction::on(self.connect()?);
        for (key, value) in pairs {
            let always = Condition::Always;
            transaction.queue(&set_words(key.as_ref(), value.as_ref(), ttl, time, always))?;
        }
        transaction.exec(|_| Ok(())).map(drop)
    }

    pub(crate) fn delete<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize> {
        self.number_of_existing(b"DEL", keys)
    }

    pub(crate) fn count_existing<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize> {
        // Each is looked up on its own, so they need not go together.
        keys.chunks(BATCH).map(|batch| self.number_of_existing(b"EXISTS", batch)).sum()
    }

    fn number_of_existing<K: AsRef<[u8]>>(&self, name: &[u8], keys: &[K]) -> Result<usize> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.ask(&words(&[name], keys)?, |reply| count(&reply))
    }

    pub(crate) fn incr(&self, key: &[u8], by: i64) -> Result<i64> {
        self.ask(&[b"INCRBY", key, Buffer::new().format(by).as_bytes()], |reply| integer(&reply))
    }

    pub(crate) fn expire(&self, key: &[u8], ttl_ms: u64) -> Result<bool> {
        self.ask(
            &[b"PEXPIRE", key, Buffer::new().format(ttl_ms).as_bytes()],
            |reply| Ok(integer(&reply)? > 0),
        )
    }

    pub(crate) fn persist(&self, key: &[u8]) -> Result<bool> {
        self.ask(&[b"PERSIST", key], |reply| Ok(integer(&reply)? > 0))
    }

    pub(crate) fn ttl(&self, key: &[u8]) -> Result<Option<Option<Duration>>> {
        self.ask(&[b"PTTL", key], |reply| {
            Ok(match integer(&reply)? {
                -2 => None,
                left => Some(u64::try_from(left).ok().map(Duration::from_millis)),
            })
        })
    }

    pub(crate) fn len(&self) -> Result<usize> {
        self.ask(&[b"DBSIZE"], |reply| count(&reply))
    }

    /// Removes all keys and returns how many there were.
    pub(crate) fn flush(&self) -> Result<usize> {
        let mut transaction = Transaction::on(self.connect()?);
        transaction.queue(&[b"DBSIZE"])?;
        transaction.queue(&[b"FLUSHDB"])?;
        transaction.exec(|replies| count(replies.first().ok_or_else(unexpected)?))?.ok_or_else(unexpected)
    }

    /// A page of the keys that begin with `prefix`, and the next cursor.
    pub(crate) fn page(&self, cursor: u64, prefix: &[u8]) -> Result<(u64, Vec<Vec<u8>>)> {
        let (mut from, mut most) = (Buffer::new(), Buffer::new());
        let pattern = pattern::beginning_with(prefix)?;
        let mut words: SmallVec<[&[u8]; 6]> = SmallVec::new();
        words.extend([b"SCAN", from.format(cursor).as_bytes(), b"COUNT", most.format(BATCH).as_bytes()]);
        // No pattern with a star matches the empty key.
        if !prefix.is_empty() {
            words.extend([&b"MATCH"[..], &pattern]);
        }
        self.ask(&words, |reply| {
            let [next, keys] = array(&reply, 2)? else { return Err(unexpected()) };
            let next = bytes(next)?.and_then(num::parse_u64);
            let Item::Array(keys) = keys else { return Err(unexpected()) };
            let mut page = alloc::with_room_for(keys.len())?;
            for key in keys {
                page.push(alloc::copied(bytes(key)?.ok_or_else(unexpected)?)?);
            }
            Ok((next.ok_or_else(unexpected)?, page))
        })
    }

    /// Reads a string and removes its key if `read` says so: asks again as long as others change it in between.
    pub(crate) fn take<R>(
        &self,
        key: &[u8],
        mut read: impl FnMut(Option<Found<'_>>) -> (R, bool),
    ) -> Result<R> {
        loop {
            let watched = Watched::begin(self, key)?;
            let mut reply = Reply::new(Form::Tape);
            let mut connection = watched.connection;
            connection.execute(&[b"GET", key], &mut reply);
            let (result, is_taken) = with_item(&reply, |item| string(&item).map(&mut read))?;
            if !is_taken {
                return Ok(result);
            }
            let mut transaction = Transaction::on(connection);
            transaction.queue(&[b"DEL", key])?;
            if transaction.exec(|_| Ok(()))?.is_some() {
                return Ok(result);
            }
        }
    }

    fn connect(&self) -> Result<Box<dyn Connection>> {
        let mut connection = self.backend.connect();
        if self.db != 0 {
            ask(&mut *connection, &[b"SELECT", Buffer::new().format(self.db).as_bytes()])?;
        }
        Ok(connection)
    }

    fn ask<R>(&self, argv: &[&[u8]], take: impl FnOnce(Item<'_>) -> Result<R>) -> Result<R> {
        let mut reply = Reply::new(Form::Tape);
        self.backend.execute(self.db, argv, &mut reply);
        with_item(&reply, take)
    }
}

/// A key that a connection watches, to change it only if nobody else has.
pub(crate) struct Watched {
    connection: Box<dyn Connection>,
}

impl Watched {
    pub(crate) fn begin(forward: &Forward<'_>, key: &[u8]) -> Result<Self> {
        let mut connection = forward.connect()?;
        ask(&mut *connection, &[b"WATCH", key])?;
        Ok(Self { connection })
    }

    /// Sets the string of the key, unless somebody has changed the key since; says whether it did.
    pub(crate) fn set(self, key: &[u8], value: &[u8], ttl: Ttl) -> Result<bool> {
        let (mut buffer, milliseconds) = (Buffer::new(), ttl_ms(ttl)?.unwrap_or_default());
        let time = buffer.format(milliseconds).as_bytes();
        let mut transaction = Transaction::on(self.connection);
        transaction.queue(&set_words(key, value, ttl, time, Condition::Always))?;
        Ok(transaction.exec(|_| Ok(()))?.is_some())
    }
}

/// Commands that are executed together on a connection, or not at all.
struct Transaction {
    connection: Box<dyn Connection>,
    begun: bool,
}

impl Transaction {
    fn on(connection: Box<dyn Connection>) -> Self {
        Self { connection, begun: false }
    }

    fn queue(&mut self, argv: &[&[u8]]) -> Result<()> {
        if !self.begun {
            ask(&mut *self.connection, &[b"MULTI"])?;
            self.begun = true;
        }
        ask(&mut *self.connection, argv)
    }

    /// The replies, or `None` if a watched key was changed.
    fn exec<R>(mut self, take: impl FnOnce(&[Item<'_>]) -> Result<R>) -> Result<Option<R>> {
        let mut reply = Reply::new(Form::Tape);
        self.connection.execute(&[b"EXEC"], &mut reply);
        with_item(&reply, |item| match &item {
            Item::Null | Item::NullArray => Ok(None),
            Item::Array(replies) => {
                replies.iter().try_for_each(fail)?;
                take(replies).map(Some)
            }
            _ => Err(unexpected()),
        })
    }
}

/// Executes a command of which only an error counts.
fn ask(connection: &mut dyn Connection, argv: &[&[u8]]) -> Result<()> {
    let mut reply = Reply::new(Form::Tape);
    connection.execute(argv, &mut reply);
    with_item(&reply, |_| Ok(()))
}

fn with_item<R>(reply: &Reply, take: impl FnOnce(Item<'_>) -> Result<R>) -> Result<R> {
    let (item, _) = Item::read(reply.as_bytes()).ok_or_else(unexpected)?;
    fail(&item)?;
    take(item)
}

/// The error that a reply is.
fn fail(item: &Item<'_>) -> Result<()> {
    match *item {
        Item::Error { kind, text } => {
            let kind = ErrorKind::ALL.iter().copied().find(|known| *known as u8 == kind);
            Err(Error::from_bytes(kind.unwrap_or(ErrorKind::Internal), text.to_vec()))
        }
        _ => Ok(()),
    }
}

#[cold]
fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "ERR the backend's reply is not what the command replies")
}

fn bytes<'t>(item: &Item<'t>) -> Result<Option<&'t [u8]>> {
    match *item {
        Item::Null => Ok(None),
        Item::Bulk(text) => Ok(Some(text)),
        _ => Err(unexpected()),
    }
}

fn string<'t>(item: &Item<'t>) -> Result<Option<Found<'t>>> {
    Ok(bytes(item)?.map(|text| found(Text::Bytes(text), text.is_ascii())))
}

fn integer(item: &Item<'_>) -> Result<i64> {
    match *item {
        Item::Integer(value) => Ok(value),
        _ => Err(unexpected()),
    }
}

fn count(item: &Item<'_>) -> Result<usize> {
    usize::try_from(integer(item)?).map_err(|_| unexpected())
}

fn array<'i, 't>(item: &'i Item<'t>, len: usize) -> Result<&'i [Item<'t>]> {
    match item {
        Item::Array(items) if items.len() == len => Ok(items),
        _ => Err(unexpected()),
    }
}

fn words<'w, K: AsRef<[u8]>>(first: &[&'w [u8]], keys: &'w [K]) -> Result<Vec<&'w [u8]>> {
    let mut words = alloc::with_room_for(first.len() + keys.len())?;
    words.extend_from_slice(first);
    words.extend(keys.iter().map(AsRef::as_ref));
    Ok(words)
}

fn set_words<'w>(
    key: &'w [u8],
    value: &'w [u8],
    ttl: Ttl,
    time: &'w [u8],
    condition: Condition,
) -> SmallVec<[&'w [u8]; 6]> {
    let mut words: SmallVec<[&[u8]; 6]> = SmallVec::from_slice(&[b"SET", key, value]);
    match ttl {
        Ttl::None => {}
        Ttl::Keep => words.push(b"KEEPTTL"),
        Ttl::After(_) => words.extend([b"PX", time]),
    }
    match condition {
        Condition::Always => {}
        Condition::IfAbsent => words.push(b"NX"),
        Condition::IfPresent => words.push(b"XX"),
    }
    words
}
