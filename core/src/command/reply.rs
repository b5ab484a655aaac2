//! The reply sink: every command writes its answer once into one flat, reusable buffer.
//!
//! The form of the bytes is chosen per session: RESP2 and RESP3 for sockets, a tape of fixed-width headers for
//! bindings, which decode it after the shards are unlocked. Reading tapes is [`super::tape`]'s work. It stays whole: each kind of
//! reply stands in one place, in all forms.

use crate::error::{Error, Result};
use crate::keyspace::read::Sink;
use crate::num::{MOST_SHORT, short_decimal};
use crate::store::memory::words::{FRAME, Short, Window, append_framed, append_short};

/// Bytes before and behind a text, at most.
const LONGEST_FRAME: usize = "$18446744073709551615\r\n\r\n".len();
const _: () = assert!(FRAME <= LONGEST_FRAME);

/// What any element takes, however short.
const LEAST: usize = 5;

/// How replies are laid out in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RESP text, as a socket client reads it.
    Resp,
    /// Binary tape: a tag byte, then a fixed-width little-endian header, then the payload. See [`super::tape`].
    Tape,
}

/// Tags of the tape form.
pub(crate) mod tag {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const OK: u8 = 1;
    pub(crate) const SIMPLE: u8 = 2;
    pub(crate) const BULK: u8 = 3;
    pub(crate) const INTEGER: u8 = 4;
    pub(crate) const ERROR: u8 = 5;
    pub(crate) const ARRAY: u8 = 6;
    pub(crate) const MAP: u8 = 7;
    pub(crate) const SET: u8 = 8;
    pub(crate) const DOUBLE: u8 = 9;
    pub(crate) const BOOLEAN: u8 = 10;
    pub(crate) const VERBATIM: u8 = 11;
    pub(crate) const BIG_NUMBER: u8 = 12;
    pub(crate) const PUSH: u8 = 13;
    pub(crate) const NULL_ARRAY: u8 = 14;
}

/// The sink. Aggregates are written head first; their elements follow.
#[derive(Debug)]
pub struct Reply {
    buffer: Vec<u8>,
    form: Form,
    resp3: bool,
    /// Where the reply that is being written must end, and whether it would go on beyond.
    end: usize,
    left_out: LeftOut,
    /// Messages that follow the reply.
    behind: Vec<u8>,
}

/// Why something is not in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum LeftOut {
    #[default]
    Nothing,
    /// The reply is too large.
    TooLarge,
    /// There was no memory.
    NoMemory,
}

/// An aggregate whose length was not known when its head was written. Close it with [`Reply::close`].
#[derive(Debug)]
#[must_use = "an open aggregate must be closed"]
pub struct Open {
    at: usize,
    kind: Aggregate,
}

/// The bound of a reply within which another was [begun](Reply::begin).
pub(crate) struct Outer {
    end: usize,
    left_out: LeftOut,
}

#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Array,
    Map,
    Set,
}

impl LeftOut {
    #[cold]
    fn error(self) -> Error {
        match self {
            LeftOut::NoMemory => Error::no_memory(),
            _ => Error::command("the reply is larger than max-reply-bytes"),
        }
    }
}

impl Reply {
    /// A sink of the given form, speaking RESP2 until [`Reply::set_resp3`].
    pub fn new(form: Form) -> Self {
        let left_out = LeftOut::Nothing;
        Self { buffer: Vec::new(), form, resp3: false, end: usize::MAX, left_out, behind: Vec::new() }
    }

    /// Appends what was written elsewhere, of the same form.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.put([bytes]);
    }

    /// The bytes written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Empties the buffer and keeps its memory up to 64 KiB.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(64 * 1024);
    }

    /// Works in memory that somebody else has left, if it has none of its own.
    #[cfg(feature = "listener")]
    pub(crate) fn borrow_room(&mut self, spare: &mut Vec<u8>) {
        if self.buffer.capacity() == 0 {
            self.buffer = std::mem::take(spare);
        }
    }

    /// Leaves its memory to others, if there is nothing in it.
    #[cfg(feature = "listener")]
    pub(crate) fn leave_room(&mut self, spare: &mut Vec<u8>) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            let room = std::mem::take(&mut self.buffer);
            if spare.capacity() == 0 {
                *spare = room;
            }
        }
    }

    /// Forgets what stands in front: it was sent.
    #[cfg(feature = "listener")]
    pub(crate) fn drop_front(&mut self, len: usize) {
        self.buffer.drain(..len);
    }

    /// Bytes that the buffer has room for.
    #[cfg(feature = "listener")]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets everything after the first `len` bytes: a command that fails half-way replies only its error.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.buffer.truncate(len);
    }

    /// Begins a reply of at most so many bytes, perhaps within another. What does not fit is left out, and [`Reply::is_full`] tells. Returns what
    /// [`Reply::end`] needs.
    pub(crate) fn begin(&mut self, most: usize) -> Outer {
        let end = self.buffer.len().saturating_add(most);
        Outer { end: std::mem::replace(&mut self.end, end), left_out: std::mem::take(&mut self.left_out) }
    }

    /// Ends what was begun.
    ///
    /// # Errors
    /// Something was left out.
    pub(crate) fn end(&mut self, outer: Outer) -> Result<()> {
        let checked = self.check();
        (self.end, self.left_out) = (outer.end, outer.left_out);
        checked
    }

    /// Whether all that was written so far has found its place: a command that gives away what it then removes asks before that.
    ///
    /// # Errors
    /// The reply that was [begun](Reply::begin) last is too large, or there is no memory for it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.left_out == LeftOut::Nothing { Ok(()) } else { Err(self.left_out.error()) }
    }

    /// Sees to it that so many bytes more will find their place, for whoever makes changes while it replies.
    ///
    /// # Errors
    /// As [`Reply::check`].
    pub(crate) fn reserve(&mut self, len: usize) -> Result<()> {
        self.fits(len);
        self.check()
    }

    /// Whether the reply that was [begun](Reply::begin) last has no room for what was to be written: whoever writes a long one may stop.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.left_out != LeftOut::Nothing
    }

    /// Bytes that the reply may still have.
    pub(crate) fn room(&self) -> usize {
        self.end.saturating_sub(self.buffer.len())
    }

    /// Whether there is room for a text, or `is_full` from now on.
    #[inline]
    fn fits(&mut self, len: usize) -> bool {
        if self.left_out == LeftOut::Nothing && len + LEAST > self.room() {
            self.left_out = LeftOut::TooLarge;
        }
        self.left_out == LeftOut::Nothing && self.has_memory(len + LONGEST_FRAME)
    }

    /// Whether the buffer can take so many bytes more; nothing more is written if not.
    #[inline(always)]
    fn has_memory(&mut self, len: usize) -> bool {
        self.buffer.capacity() - self.buffer.len() >= len || self.grows(len)
    }

    #[cold]
    fn grows(&mut self, len: usize) -> bool {
        /// Room behind whatever is written, for the error that may have to follow.
        const SPARE: usize = 256;
        let len = len + SPARE;
        // Where there is not as much as would be handy there may be as much as is needed.
        let has_grown = self.left_out != LeftOut::NoMemory
            && (self.buffer.try_reserve(len).is_ok() || self.buffer.try_reserve_exact(len).is_ok());
        if !has_grown {
            self.left_out = LeftOut::NoMemory;
        }
        has_grown
    }

    /// Appends a short part, unless there is no memory for it.
    #[inline(always)]
    fn put_short(&mut self, part: Short) {
        if !append_short(&mut self.buffer, [part]) {
            self.put_short_otherwise(part);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_short_otherwise(&mut self, part: Short) {
        if self.grows(size_of::<Short>()) {
            append_short(&mut self.buffer, [part]);
        }
    }

    /// Appends these parts, unless there is no memory for them.
    #[inline(always)]
    fn put<const N: usize>(&mut self, parts: [&[u8]; N]) {
        if self.has_memory(parts.iter().map(|part| part.len()).sum()) {
            parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        }
    }

    /// The form chosen at construction.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether the session speaks RESP3: maps, sets, doubles and nulls of their own.
    pub fn resp3(&self) -> bool {
        self.resp3
    }

    /// Chooses RESP3 (`true`) or RESP2 for what is written from now on.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// Whole replies of this sink's form and protocol, as they are.
    pub fn verbatim_replies(&mut self, replies: &[u8]) {
        self.put([replies]);
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        match self.form {
            Form::Resp => self.put_short(const { Short::new(*b"+OK\r\n\0\0\0", 5) }),
            Form::Tape => self.put_short(const { tagged(tag::OK) }),
        }
    }

    /// A status line, such as `PONG`.
    pub fn simple(&mut self, text: &str) {
        match self.form {
            Form::Resp => self.line(b'+', text.as_bytes()),
            Form::Tape => self.tape_bytes(tag::SIMPLE, text.as_bytes()),
        }
    }

    /// A status line of bytes that need be no text, and have no line ends.
    #[cfg(any(feature = "scripting", feature = "remote"))]
    pub(crate) fn status(&mut self, text: &[u8]) {
        match self.form {
            Form::Resp => self.line(b'+', text),
            Form::Tape => self.tape_bytes(tag::SIMPLE, text),
        }
    }

    /// An error line. It is written whatever was left out before it.
    pub fn error(&mut self, error: &Error) {
        let _ = self.buffer.try_reserve_exact(error.as_bytes().len() + LONGEST_FRAME);
        let left_out = std::mem::take(&mut self.left_out);
        match self.form {
            Form::Resp => self.line(b'-', error.as_bytes()),
            Form::Tape => {
                let text = error.as_bytes();
                self.put([&[tag::ERROR, error.kind() as u8], &(text.len() as u32).to_le_bytes(), text]);
            }
        }
        self.left_out = left_out;
    }

    /// A signed integer.
    pub fn integer(&mut self, value: i64) {
        match self.form {
            Form::Resp => self.number(b':', value),
            Form::Tape => self.tape_word(tag::INTEGER, value as u64),
        }
    }

    /// A count of something in memory, which always fits an i64.
    pub fn count(&mut self, value: usize) {
        self.integer(value as i64);
    }

    /// A binary-safe string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.left_out == LeftOut::Nothing
            && bytes.len() + LEAST <= self.room()
            && let Some((head, tail)) = self.frame(bytes.len())
            && append_framed(&mut self.buffer, head, bytes, tail)
        {
            return;
        }
        self.bulk_otherwise(bytes);
    }

    /// A string that is long, does not fit, or needs memory first.
    #[inline(never)]
    fn bulk_otherwise(&mut self, bytes: &[u8]) {
        if !self.fits(bytes.len()) {
            return;
        }
        match self.frame(bytes.len()) {
            Some((head, tail)) => {
                append_framed(&mut self.buffer, head, bytes, tail);
            }
            None => {
                self.head(b'$', bytes.len() as i64);
                self.put([bytes, b"\r\n"]);
            }
        }
    }

    /// What goes before and behind a string of this length; `None` if that is more than short.
    #[inline(always)]
    fn frame(&self, length: usize) -> Option<(Short, Short)> {
        const END: Short = Short::new(*b"\r\n\0\0\0\0\0\0", 2);
        let digit = |number: usize| b'0' + number as u8;
        Some(match (self.form, length) {
            (Form::Resp, 10..100) => {
                let (tens, ones) = (digit(length / 10), digit(length % 10));
                (Short::new([b'$', tens, ones, b'\r', b'\n', 0, 0, 0], 5), END)
            }
            (Form::Resp, 0..10) => (Short::new([b'$', digit(length), b'\r', b'\n', 0, 0, 0, 0], 4), END),
            (Form::Resp, 100..100_000) => {
                let (digits, len) = short_decimal(length as u32);
                let line =
                    (digits | u64::from(u16::from_le_bytes(*b"\r\n")) << (8 * len)) << 8 | u64::from(b'$');
                (Short::new(line.to_le_bytes(), len + 3), END)
            }
            (Form::Resp, _) => return None,
            (Form::Tape, _) => {
                let [a, b, c, d] = (length as u32).to_le_bytes();
                (Short::new([tag::BULK, a, b, c, d, 0, 0, 0], 5), Short::EMPTY)
            }
        })
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A bulk string, or null where there is none.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// No value: `$-1` in RESP2, `_` in RESP3.
    pub fn null(&mut self) {
        if !self.fits(0) {
            return;
        }
        self.put_short(match (self.form, self.resp3) {
            (Form::Resp, false) => const { Short::new(*b"$-1\r\n\0\0\0", 5) },
            (Form::Resp, true) => const { Short::new(*b"_\r\n\0\0\0\0\0", 3) },
            (Form::Tape, _) => const { tagged(tag::NULL) },
        });
    }

    /// No aggregate: `*-1` in RESP2, `_` in RESP3.
    pub fn null_array(&mut self) {
        match (self.form, self.resp3) {
            (Form::Resp, false) => self.put([b"*-1\r\n"]),
            (Form::Resp, true) => self.put([b"_\r\n"]),
            (Form::Tape, _) => self.put([&[tag::NULL_ARRAY]]),
        }
    }

    /// Head of an array; `len` elements follow.
    pub fn array(&mut self, len: usize) {
        self.aggregate(b'*', tag::ARRAY, len);
    }

    /// Head of a map; `len` pairs of key and value follow. In RESP2 a flat array.
    pub fn map(&mut self, len: usize) {
        if self.resp3 {
            self.aggregate(b'%', tag::MAP, len);
        } else {
            self.aggregate(b'*', tag::ARRAY, len * 2);
        }
    }

    /// Head of a set; `len` members follow. In RESP2 an array.
    pub fn set(&mut self, len: usize) {
        if self.resp3 {
            self.aggregate(b'~', tag::SET, len);
        } else {
            self.aggregate(b'*', tag::ARRAY, len);
        }
    }

    /// Head of attributes of the reply that follows them, if the client knows such; `len` pairs of key and value follow, and then the reply.
    pub fn attributes(&mut self, len: usize) -> bool {
        let known = self.resp3 && self.form == Form::Resp;
        if known {
            self.head(b'|', len as i64);
        }
        known
    }

    /// Writes a message that follows the whole reply. Clients without RESP3 get none, and tapes, which hold one reply a command.
    pub(crate) fn behind(&mut self, write: impl FnOnce(&mut Reply)) {
        if self.resp3 && self.form == Form::Resp {
            let start = self.buffer.len();
            write(self);
            self.behind.extend(self.buffer.drain(start..));
        }
    }

    /// Ends a reply: what is to follow it does.
    #[inline]
    pub(crate) fn close_all(&mut self) {
        if !self.behind.is_empty() {
            self.buffer.append(&mut self.behind);
        }
    }

    /// Head of an out-of-band message; `len` elements follow. In RESP2 an array.
    pub fn push(&mut self, len: usize) {
        if self.resp3 {
            self.aggregate(b'>', tag::PUSH, len);
        } else {
            self.aggregate(b'*', tag::ARRAY, len);
        }
    }

    /// A double; in RESP2 its shortest decimal form as a bulk string.
    pub fn double(&mut self, value: f64) {
        match (self.form, self.resp3) {
            (Form::Tape, true) => self.tape_word(tag::DOUBLE, value.to_bits()),
            (Form::Resp, true) => {
                let mut text = Vec::with_capacity(24);
                crate::num::write_f64(&mut text, value);
                self.line(b',', &text);
            }
            (_, false) => {
                let mut text = Vec::with_capacity(24);
                crate::num::write_f64(&mut text, value);
                self.bulk(&text);
            }
        }
    }

    /// A double as the server writes what it holds as a long double, such as a coordinate: up to 17 digits behind the point. It is finite.
    pub(crate) fn long_double(&mut self, value: f64) {
        if (self.form, self.resp3) == (Form::Tape, true) {
            return self.tape_word(tag::DOUBLE, value.to_bits());
        }
        let mut text = Vec::with_capacity(24);
        crate::num::LongDouble::from_f64(value).write_human(&mut text);
        if self.resp3 { self.line(b',', &text) } else { self.bulk(&text) }
    }

    /// A boolean; in RESP2 the integer 0 or 1.
    pub fn boolean(&mut self, value: bool) {
        match (self.form, self.resp3) {
            (_, false) => self.integer(value.into()),
            (Form::Resp, true) => self.put([if value { b"#t\r\n" } else { b"#f\r\n" }]),
            (Form::Tape, true) => self.put([&[tag::BOOLEAN, value.into()]]),
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`); in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        match (self.form, self.resp3) {
            (_, false) => self.bulk(text),
            (Form::Resp, true) => {
                self.head(b'=', text.len() as i64 + 4);
                self.put([format, b":", text, b"\r\n"]);
            }
            (Form::Tape, true) => {
                self.put([&[tag::VERBATIM], &(text.len() as u32 + 4).to_le_bytes(), format, b":", text]);
            }
        }
    }

    /// An integer beyond 64 bits, as decimal digits; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match (self.form, self.resp3) {
            (_, false) => self.bulk(digits.as_bytes()),
            (Form::Resp, true) => self.line(b'(', digits.as_bytes()),
            (Form::Tape, true) => self.tape_bytes(tag::BIG_NUMBER, digits.as_bytes()),
        }
    }

    /// Begins an array whose length only the end knows.
    pub fn open_array(&mut self) -> Open {
        self.open(Aggregate::Array)
    }

    /// Begins a map whose number of pairs only the end knows.
    pub fn open_map(&mut self) -> Open {
        self.open(Aggregate::Map)
    }

    /// Begins a set whose number of members only the end knows.
    pub fn open_set(&mut self) -> Open {
        self.open(Aggregate::Set)
    }

    /// Ends what [`Reply::open_array`], [`Reply::open_set`] (`len` elements) or [`Reply::open_map`] (`len` pairs) began.
    pub fn close(&mut self, open: Open, len: usize) {
        // What is full is replied as an error: its heads do not matter, and may not be there.
        if self.is_full() {
            return;
        }
        match self.form {
            Form::Tape => {
                let (tag, len) = match open.kind {
                    Aggregate::Array => (tag::ARRAY, len),
                    Aggregate::Map if self.resp3 => (tag::MAP, len),
                    Aggregate::Map => (tag::ARRAY, len * 2),
                    Aggregate::Set if self.resp3 => (tag::SET, len),
                    Aggregate::Set => (tag::ARRAY, len),
                };
                self.buffer[open.at] = tag;
                self.buffer[open.at + 1..open.at + 5].copy_from_slice(&(len as u32).to_le_bytes());
            }
            Form::Resp => {
                let end = self.buffer.len();
                match open.kind {
                    Aggregate::Array => self.array(len),
                    Aggregate::Map => self.map(len),
                    Aggregate::Set => self.set(len),
                }
                let head = self.buffer.len() - end;
                self.buffer[open.at..].rotate_right(head);
            }
        }
    }

    fn open(&mut self, kind: Aggregate) -> Open {
        let at = self.buffer.len();
        if self.form == Form::Tape {
            self.put([&[0; 5]]);
        }
        Open { at, kind }
    }

    fn aggregate(&mut self, sigil: u8, tag: u8, len: usize) {
        match self.form {
            Form::Resp => self.head(sigil, len as i64),
            Form::Tape => {
                self.put([&[tag], &(len as u32).to_le_bytes()]);
            }
        }
    }

    fn head(&mut self, sigil: u8, value: i64) {
        self.number(sigil, value);
    }

    /// A line that is a number.
    #[inline(always)]
    fn number(&mut self, sigil: u8, value: i64) {
        const END: Short = Short::new(*b"\r\n\0\0\0\0\0\0", 2);
        let size = value.unsigned_abs();
        if size < MOST_SHORT {
            let sign = Short::new([sigil, b'-', 0, 0, 0, 0, 0, 0], 1 + usize::from(value < 0));
            let (digits, len) = short_decimal(size as u32);
            if append_short(&mut self.buffer, [sign, Short::new(digits.to_le_bytes(), len), END]) {
                return;
            }
        }
        self.number_otherwise(sigil, value);
    }

    /// A number that is long, or needs memory first.
    #[inline(never)]
    fn number_otherwise(&mut self, sigil: u8, value: i64) {
        self.line(sigil, itoa::Buffer::new().format(value).as_bytes());
    }

    fn line(&mut self, sigil: u8, text: &[u8]) {
        self.put([&[sigil], text, b"\r\n"]);
    }

    fn tape_word(&mut self, tag: u8, word: u64) {
        if !append_short(&mut self.buffer, [tagged(tag), Short::new(word.to_le_bytes(), 8)]) {
            self.tape_word_otherwise(tag, word);
        }
    }

    #[cold]
    #[inline(never)]
    fn tape_word_otherwise(&mut self, tag: u8, word: u64) {
        self.put([&[tag], &word.to_le_bytes()]);
    }

    fn tape_bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.put([&[tag], &(bytes.len() as u32).to_le_bytes(), bytes]);
    }
}

/// A tag alone.
#[inline(always)]
const fn tagged(tag: u8) -> Short {
    Short::new([tag, 0, 0, 0, 0, 0, 0, 0], 1)
}

/// Where a string that is read without a lock is written to as a bulk string. Nothing is written where its frame is long or there is no room: then it is
/// read another way. What was written in vain is the caller's to truncate.
pub(crate) struct BulkSink<'r>(pub(crate) &'r mut Reply);

impl Sink for BulkSink<'_> {
    type Copied = ();

    #[inline(always)]
    fn take(self, window: Window<'_>, from: usize, len: usize) -> Option<()> {
        let (head, tail) = self.0.frame(len)?;
        window.append_to(from, len, &mut self.0.buffer, head, tail).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp(resp3: bool, write: impl FnOnce(&mut Reply)) -> String {
        let mut reply = Reply::new(Form::Resp);
        reply.set_resp3(resp3);
        write(&mut reply);
        String::from_utf8(reply.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn both_protocols_write_their_own_nulls_maps_and_doubles() {
        assert_eq!(resp(false, Reply::null), "$-1\r\n");
        assert_eq!(resp(true, Reply::null), "_\r\n");
        assert_eq!(resp(false, |reply| reply.map(2)), "*4\r\n");
        assert_eq!(resp(true, |reply| reply.map(2)), "%2\r\n");
        assert_eq!(resp(false, |reply| reply.double(1.5)), "$3\r\n1.5\r\n");
        assert_eq!(resp(true, |reply| reply.double(1.5)), ",1.5\r\n");
        assert_eq!(resp(true, |reply| reply.verbatim(b"txt", b"hi")), "=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn integers_of_all_lengths() {
        for value in [0, 9, 10, 99, 100, 12_345, 99_999, 100_000, 99_999_999, 100_000_000, i64::MAX] {
            for value in [value, -value, -value - 1] {
                assert_eq!(resp(false, |reply| reply.integer(value)), format!(":{value}\r\n"));
            }
        }
    }

    #[test]
    fn strings_of_all_lengths_in_replies_of_all_sizes() {
        for length in (0..300).chain([999, 1000, 4096, 9_999, 10_000, 99_999, 100_000, 1_000_000]) {
            let text = "x".repeat(length);
            let mut reply = Reply::new(Form::Resp);
            let mut expected = String::new();
            // The buffer grows at some of these, and has room at others.
            for _ in 0..3 {
                reply.bulk(text.as_bytes());
                expected += &format!("${length}\r\n{text}\r\n");
                assert!(reply.as_bytes() == expected.as_bytes(), "{length}");
            }
            let mut tape = Reply::new(Form::Tape);
            tape.bulk(text.as_bytes());
            let (head, bytes) = tape.as_bytes().split_at(5);
            assert_eq!((head[0], &head[1..]), (tag::BULK, (length as u32).to_le_bytes().as_slice()));
            assert!(bytes == text.as_bytes());
        }
    }

    #[test]
    fn an_aggregate_of_unknown_length_gets_its_head_in_place() {
        let nested = |reply: &mut Reply| {
            reply.array(2);
            let open = reply.open_map();
            reply.bulk(b"a");
            reply.integer(1);
            reply.close(open, 1);
            reply.ok();
        };
        assert_eq!(resp(false, nested), "*2\r\n*2\r\n$1\r\na\r\n:1\r\n+OK\r\n");
        assert_eq!(resp(true, nested), "*2\r\n%1\r\n$1\r\na\r\n:1\r\n+OK\r\n");
    }
}
