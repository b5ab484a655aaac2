//! Keys as the commands that make them, as the server writes them to a log that begins with commands.
//!
//! Long values are several commands of up to [`AT_ONCE`] elements. As with the server, of groups of streams there is no more than commands can say: not when
//! consumers were seen, and not what is pending of entries that were deleted.

use std::borrow::Cow;

use crate::error::Result;
use crate::keyspace::Group;
use crate::num;
use crate::value::listpack::Element;
use crate::value::stream::{Id, StreamRef};
use crate::value::{HashRef, Value, ZSetRef};

/// Elements of one command.
const AT_ONCE: usize = 64;

/// Bytes that are held before they are passed on.
const PIECE: usize = 64 << 10;

/// Takes bytes of commands, whole ones.
pub(super) type Take<'t> = dyn FnMut(&[u8]) -> Result<()> + 't;

/// Passes on the commands that make a key, which is not there. O(bytes).
///
/// # Errors
/// The first of `take`.
pub(super) fn write(key: &[u8], deadline: Option<u64>, value: Value<'_>, take: &mut Take<'_>) -> Result<()> {
    let mut out = Out { key, group: Group::default(), result: Ok(()), take };
    match value {
        Value::Int(int) => out.push("SET", [text(int)]),
        Value::Str(bytes) => out.push("SET", [bytes]),
        Value::Hash(hash) => write_hash(hash, &mut out),
        Value::List(list) => {
            let mut batch = Batch::of("RPUSH");
            list.each(|element| batch.add(&mut out, [word(element)]));
            batch.end(&mut out);
        }
        Value::Set(set) => {
            let mut batch = Batch::of("SADD");
            set.each(|member| batch.add(&mut out, [word(member)]));
            batch.end(&mut out);
        }
        Value::ZSet(zset) => write_zset(zset, &mut out),
        Value::Stream(stream) => write_stream(stream, &mut out),
    }
    if let Some(deadline) = deadline {
        out.push("PEXPIREAT", [text(deadline)]);
    }
    out.flush();
    out.result
}

/// Passes on a command.
///
/// # Errors
/// That of `take`.
pub(super) fn write_one<W: AsRef<[u8]>>(
    words: impl IntoIterator<Item = W>,
    take: &mut Take<'_>,
) -> Result<()> {
    let mut group = Group::default();
    group.push(0, words);
    let result = take(group.bytes());
    group.recycle();
    result
}

/// Commands on one key.
struct Out<'o, 't> {
    key: &'o [u8],
    group: Group,
    result: Result<()>,
    take: &'o mut Take<'t>,
}

impl Out<'_, '_> {
    /// Adds a command of a name, the key, and what follows.
    fn push<W: AsRef<[u8]>>(&mut self, name: &str, words: impl IntoIterator<Item = W>) {
        let head = [name.as_bytes(), self.key].map(Cow::Borrowed);
        let words: Vec<W> = words.into_iter().collect();
        self.add(head.into_iter().chain(words.iter().map(|word| Cow::Borrowed(word.as_ref()))));
    }

    fn add<'w>(&mut self, words: impl IntoIterator<Item = Cow<'w, [u8]>>) {
        self.group.push(0, words);
        if self.group.bytes().len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let group = std::mem::take(&mut self.group);
        if self.result.is_ok() {
            self.result = (self.take)(group.bytes());
        }
        group.recycle();
    }
}

/// Elements that go into one command.
struct Batch<'v> {
    name: &'static str,
    words: Vec<Cow<'v, [u8]>>,
    count: usize,
}

impl<'v> Batch<'v> {
    fn of(name: &'static str) -> Self {
        Self { name, words: Vec::new(), count: 0 }
    }

    fn add<const WORDS: usize>(&mut self, out: &mut Out<'_, '_>, words: [Cow<'v, [u8]>; WORDS]) {
        self.words.extend(words);
        self.count += 1;
        if self.count == AT_ONCE {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Out<'_, '_>) {
        if self.count > 0 {
            out.push(self.name, self.words.drain(..));
            self.count = 0;
        }
    }
}

fn text(number: impl itoa::Integer) -> String {
    itoa::Buffer::new().format(number).to_owned()
}

fn word(element: Element<'_>) -> Cow<'_, [u8]> {
    match element {
        Element::Bytes(bytes) => Cow::Borrowed(bytes),
        Element::Int(int) => Cow::Owned(text(int).into_bytes()),
    }
}

fn write_hash(hash: HashRef<'_>, out: &mut Out<'_, '_>) {
    // No field has expired at this time: they are written too, as the server writes them.
    const BEFORE_ALL: u64 = 0;
    let mut batch = Batch::of("HMSET");
    if hash.is_packed() {
        hash.each(BEFORE_ALL, |field, value| batch.add(out, [word(field), word(value)]));
    } else {
        hash.each_with_deadline(|field, value, deadline| match deadline {
            Some(deadline) => {
                let deadline = text(deadline);
                out.push("HSETEX", [b"PXAT", deadline.as_bytes(), b"FIELDS", b"1", field, value]);
            }
            None => batch.add(out, [Cow::Borrowed(field), Cow::Borrowed(value)]),
        });
    }
    batch.end(out);
}

fn write_zset(zset: ZSetRef<'_>, out: &mut Out<'_, '_>) {
    let mut batch = Batch::of("ZADD");
    zset.each(|member, score| {
        let mut text = Vec::new();
        num::write_f64(&mut text, score);
        batch.add(out, [Cow::Owned(text), word(member)]);
    });
    batch.end(out);
}

fn id_text(Id { ms, seq }: Id) -> String {
    format!("{ms}-{seq}")
}

fn write_stream(stream: StreamRef<'_>, out: &mut Out<'_, '_>) {
    if stream.len() == 0 {
        // A stream without entries is there when one was added and trimmed away.
        out.push("XADD", ["MAXLEN", "0", "0-1", "x", "y"]);
    }
    stream.each(Id::MIN, Id::MAX, false, |entry| {
        let mut words = vec![Cow::Owned(id_text(entry.id).into_bytes())];
        entry.each(|element| words.push(word(element)));
        out.push("XADD", words);
        out.result.is_ok()
    });
    let last = id_text(stream.last_id());
    let (added, deleted) = (text(stream.entries_added()), id_text(stream.max_deleted_id()));
    out.push("XSETID", [&last[..], "ENTRIESADDED", &added, "MAXDELETEDID", &deleted]);
    for group in stream.groups() {
        let (key, name) = (out.key, group.name());
        let (last, read) = (id_text(group.last_id()), text(group.entries_read()));
        out.add(
            [b"XGROUP", b"CREATE", key, name, last.as_bytes(), b"ENTRIESREAD", read.as_bytes()]
                .map(Cow::Borrowed),
        );
        for consumer in group.consumers() {
            if consumer.pending_count() == 0 {
                let words = [b"XGROUP", &b"CREATECONSUMER"[..], key, name, consumer.name()];
                out.add(words.map(Cow::Borrowed));
            }
            consumer.each_pending(Id::MIN, |pending| {
                let (id, count) = (id_text(pending.id), text(pending.count));
                let time = text(pending.delivered);
                let claimed = [name, consumer.name(), b"0", id.as_bytes()];
                let how: [&[u8]; 6] =
                    [b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"JUSTID", b"FORCE"];
                out.push("XCLAIM", claimed.into_iter().chain(how));
                out.result.is_ok()
            });
        }
    }
}
