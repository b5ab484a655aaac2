//! Incremental parser of requests: arrays of bulk strings and inline lines, pipelined, however the bytes are split.
//!
//! What the arguments mean, and when an oversized client is cut off, is decided by the session and the listener.
//!
//! [`RequestBuffer`] owns the bytes received. Arguments are borrowed from it until the next call, and no byte is looked at twice:
//! the place reached is kept between calls. The bytes of finished requests are dropped when more are fed.

use std::{fmt, ops::Range};

use super::inline;
#[cfg(feature = "listener")]
use crate::error::{Error, ErrorKind};
use crate::num;

/// Longest line: an inline request, or a count in front of an array or a string.
const MAX_LINE: usize = 64 * 1024;

/// Buffers that grew beyond this for one large request are given back when it is done.
const KEPT_CAPACITY: usize = 1024 * 1024;

/// Arguments of one request, and bytes of one argument, that are taken from a client that has not authenticated.
const UNTRUSTED_ARGS: i64 = 10;
const UNTRUSTED_BULK_LEN: usize = 16 * 1024;

/// Why a connection must be closed; the `Display` form (behind `ERR `) is sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    /// The count behind `*` is no integer up to 2^31 - 1.
    InvalidMultibulkLength,
    /// No end of line within 64 KiB behind `*`.
    TooBigMultibulkCount,
    /// An array holds something else than a bulk string; the byte found instead of `$`.
    ExpectedBulk(u8),
    /// More than a few arguments from a client that has not authenticated.
    UnauthenticatedMultibulkLength,
    /// The length behind `$` is negative, no integer, or above the limit.
    InvalidBulkLength,
    /// A long argument from a client that has not authenticated.
    UnauthenticatedBulkLength,
    /// No end of line within 64 KiB behind `$`.
    TooBigBulkCount,
    /// A carriage return without its newline, or a string without its line end.
    InvalidLineEnd,
    /// Quotes of an inline request do not close.
    UnbalancedQuotes,
    /// No newline within 64 KiB of an inline request.
    TooBigInlineRequest,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::InvalidMultibulkLength => f.write_str("invalid multibulk length"),
            Self::TooBigMultibulkCount => f.write_str("too big mbulk count string"),
            // The reply is one line, so the byte must not end it. Bytes above 127 come out as one char each.
            Self::ExpectedBulk(b'\r' | b'\n') => f.write_str("expected '$', got ' '"),
            Self::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", char::from(*byte)),
            Self::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            Self::InvalidBulkLength => f.write_str("invalid bulk length"),
            Self::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            Self::TooBigBulkCount => f.write_str("too big bulk count string"),
            Self::InvalidLineEnd => f.write_str("invalid CRLF in request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::TooBigInlineRequest => f.write_str("too big inline request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl ProtocolError {
    /// The error's bytes exactly as the server sends them (behind `-ERR `): unlike in the `Display` form, an unexpected byte above 127
    /// is itself.
    #[cfg(any(test, feature = "listener"))]
    fn write(&self, buf: &mut Vec<u8>) {
        buf.extend(self.to_string().chars().map(|char| u8::try_from(char).expect("all texts are Latin-1")));
    }

    /// As the client is told.
    #[cfg(feature = "listener")]
    pub(crate) fn told(&self) -> Error {
        let mut text = b"ERR ".to_vec();
        self.write(&mut text);
        Error::from_bytes(ErrorKind::Command, text)
    }
}

/// The arguments of one request, at least one, borrowed from the buffer.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Args<'a> {
    /// How many there are, the command's name included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The argument at `index`, zero being the command's name.
    #[cfg(test)]
    pub(crate) fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| &self.buf[range.clone()])
    }

    /// All of them in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let buf = self.buf;
        self.ranges.iter().map(move |range| &buf[range.clone()])
    }
}

/// What the parser is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// At the first byte of a request.
    Start,
    /// Within an array of which this many arguments are missing; at a `$`.
    Array { missing: usize },
    /// Within a bulk string of this length, `missing` arguments counted with it.
    Bulk { missing: usize, len: usize },
}

/// The memory that a parser works in: what it gives to the next one when it has nothing left.
#[derive(Debug, Default)]
pub(crate) struct Room {
    buf: Vec<u8>,
    args: Vec<Range<usize>>,
    ends: Vec<usize>,
}

/// Bytes received from one client and the parser's place in them.
#[derive(Debug)]
pub(crate) struct RequestBuffer {
    room: Room,
    /// Next byte to parse; everything before belongs to finished arguments.
    at: usize,
    /// Bytes behind `at` known to hold no end of line.
    searched: usize,
    progress: Progress,
    /// Complete requests in front that were taken. The arguments of each end where `ends` says.
    taken: usize,
    failed: Option<ProtocolError>,
    max_bulk_len: usize,
    /// Whether the client has authenticated, or need not.
    trusted: bool,
}

impl RequestBuffer {
    /// An empty buffer. `max_bulk_len` is the limit of one argument in bytes (`proto-max-bulk-len`).
    pub(crate) fn new(max_bulk_len: usize) -> Self {
        Self {
            room: Room::default(),
            at: 0,
            searched: 0,
            progress: Progress::Start,
            taken: 0,
            failed: None,
            max_bulk_len,
            trusted: true,
        }
    }

    /// Follows a change of `proto-max-bulk-len`; arguments already begun keep their length.
    #[cfg(feature = "listener")]
    pub(crate) fn set_max_bulk_len(&mut self, max_bulk_len: usize) {
        self.max_bulk_len = max_bulk_len;
    }

    /// Who has not authenticated gets small requests through alone, as many as AUTH and HELLO need.
    #[cfg(feature = "listener")]
    pub(crate) fn set_trusted(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// Appends received bytes.
    #[cfg(test)]
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input().extend_from_slice(bytes);
    }

    /// The vector to append received bytes to, for readers that fill it themselves. Bytes already in it must stay.
    pub(crate) fn input(&mut self) -> &mut Vec<u8> {
        self.drop_finished();
        &mut self.room.buf
    }

    /// Bytes held: of requests that are not complete, and of those not yet taken.
    pub(crate) fn buffered(&self) -> usize {
        self.room.buf.len() - self.finished()
    }

    /// Capacity in bytes, for the client's memory figures.
    #[cfg(any(test, feature = "listener"))]
    pub(crate) fn capacity(&self) -> usize {
        self.room.buf.capacity()
    }

    /// Works in memory that somebody else has left, if it has none of its own.
    #[cfg(feature = "listener")]
    pub(crate) fn borrow_room(&mut self, spare: &mut Room) {
        if self.room.buf.capacity() == 0 {
            std::mem::swap(&mut self.room, spare);
        }
    }

    /// Leaves its memory to others, if there is nothing in it and it is of the usual size.
    #[cfg(feature = "listener")]
    pub(crate) fn leave_room(&mut self, spare: &mut Room) {
        if self.buffered() > 0 || self.room.buf.capacity() == 0 {
            return;
        }
        self.drop_finished();
        let room = std::mem::take(&mut self.room);
        if spare.buf.capacity() == 0 && room.buf.capacity() <= KEPT_CAPACITY {
            *spare = room;
        }
    }

    /// The next complete request, if there is one. Empty requests are skipped, as they get no reply.
    ///
    /// # Errors
    /// What the client did against the protocol, again at every later call.
    pub(crate) fn next(&mut self) -> Result<Option<Args<'_>>, ProtocolError> {
        if self.parse_ahead(1)? == 0 {
            return Ok(None);
        }
        self.taken += 1;
        Ok(Some(self.request(self.taken - 1)))
    }

    /// Parses until so many requests wait to be taken, or there are no more. Returns how many wait, which can be more.
    ///
    /// # Errors
    /// What the client did against the protocol, once all requests before it are taken, and again at every later call.
    pub(crate) fn parse_ahead(&mut self, most: usize) -> Result<usize, ProtocolError> {
        let waiting = self.room.ends.len() - self.taken;
        if waiting > 0 {
            return Ok(waiting);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.forget_taken();
        while self.room.ends.len() < most {
            match self.parse() {
                Ok(true) => self.room.ends.push(self.room.args.len()),
                Ok(false) => break,
                Err(error) => {
                    self.failed = Some(error);
                    if self.room.ends.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(self.room.ends.len())
    }

    /// The requests that wait to be taken.
    #[cfg(feature = "listener")]
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Args<'_>> {
        (self.taken..self.room.ends.len()).map(|index| self.request(index))
    }

    /// Takes so many of them.
    #[cfg(feature = "listener")]
    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
    }

    fn request(&self, index: usize) -> Args<'_> {
        let start = if index == 0 { 0 } else { self.room.ends[index - 1] };
        Args { buf: &self.room.buf, ranges: &self.room.args[start..self.room.ends[index]] }
    }

    /// Bytes in front that no request needs which is unfinished, or not taken.
    fn finished(&self) -> usize {
        let taken = if self.taken == 0 { 0 } else { self.room.ends[self.taken - 1] };
        self.room.args.get(taken).map_or(self.at, |first| first.start.min(self.at))
    }

    fn forget_taken(&mut self) {
        if self.taken > 0 {
            self.room.args.drain(..self.room.ends[self.taken - 1]);
            self.room.ends.clear();
            self.taken = 0;
        }
    }

    fn drop_finished(&mut self) {
        let finished = self.finished();
        if self.taken == self.room.ends.len() {
            self.forget_taken();
        }
        if finished == 0 {
            return;
        }
        self.room.buf.drain(..finished);
        self.at -= finished;
        for range in &mut self.room.args {
            // Those of requests that were taken are not looked at any more.
            *range = range.start.saturating_sub(finished)..range.end.saturating_sub(finished);
        }
        if self.room.buf.is_empty() && self.room.buf.capacity() > KEPT_CAPACITY {
            self.room.buf = Vec::new();
        }
    }

    /// Parses on. Says whether a request is complete.
    fn parse(&mut self) -> Result<bool, ProtocolError> {
        let before = self.room.ends.last().copied().unwrap_or(0);
        loop {
            let moved = match self.progress {
                Progress::Start => match self.room.buf.get(self.at) {
                    None => false,
                    Some(b'*') => self.parse_array_header()?,
                    Some(_) => self.parse_inline()?,
                },
                Progress::Array { missing } => self.parse_bulk_header(missing)?,
                Progress::Bulk { missing, len } => self.parse_bulk(missing, len)?,
            };
            if !moved {
                return Ok(false);
            }
            if matches!(self.progress, Progress::Start) && self.room.args.len() > before {
                return Ok(true);
            }
        }
    }

    fn parse_array_header(&mut self) -> Result<bool, ProtocolError> {
        let Some(line) = self.header_line(ProtocolError::TooBigMultibulkCount)? else { return Ok(false) };
        let count = num::parse_i64(&self.room.buf[line.start + 1..line.end])
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        if count > UNTRUSTED_ARGS && !self.trusted {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.at = line.end + 2;
        if count > 0 {
            self.progress = Progress::Array { missing: count as usize };
        }
        Ok(true)
    }

    fn parse_bulk_header(&mut self, missing: usize) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(ProtocolError::TooBigBulkCount)? else { return Ok(false) };
        match self.room.buf[line.start] {
            b'$' => self.check_line_end(&line)?,
            other => return Err(ProtocolError::ExpectedBulk(other)),
        }
        let len = num::parse_u64(&self.room.buf[line.start + 1..line.end])
            .and_then(|len| usize::try_from(len).ok())
            .filter(|len| *len <= self.max_bulk_len)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if len > UNTRUSTED_BULK_LEN && !self.trusted {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.at = line.end + 2;
        self.progress = Progress::Bulk { missing, len };
        Ok(true)
    }

    fn parse_bulk(&mut self, missing: usize, len: usize) -> Result<bool, ProtocolError> {
        let end = self.at + len;
        let Some(line_end) = self.room.buf.get(end..end + 2) else { return Ok(false) };
        if line_end != b"\r\n" {
            return Err(ProtocolError::InvalidLineEnd);
        }
        self.room.args.push(self.at..end);
        self.at = end + 2;
        self.progress = match missing {
            1 => Progress::Start,
            _ => Progress::Array { missing: missing - 1 },
        };
        Ok(true)
    }

    /// A whole line with a checked end, without it.
    fn header_line(&mut self, too_long: ProtocolError) -> Result<Option<Range<usize>>, ProtocolError> {
        let line = self.line(too_long)?;
        if let Some(line) = &line {
            self.check_line_end(line)?;
        }
        Ok(line)
    }

    fn check_line_end(&self, line: &Range<usize>) -> Result<(), ProtocolError> {
        if self.room.buf[line.end + 1] == b'\n' { Ok(()) } else { Err(ProtocolError::InvalidLineEnd) }
    }

    /// The bytes up to a carriage return that has a byte behind it.
    fn line(&mut self, too_long: ProtocolError) -> Result<Option<Range<usize>>, ProtocolError> {
        let Some(end) = self.find(b'\r', too_long)? else { return Ok(None) };
        if end + 1 >= self.room.buf.len() {
            return Ok(None);
        }
        self.searched = 0;
        Ok(Some(self.at..end))
    }

    fn find(&mut self, byte: u8, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let from = self.at + self.searched;
        let limit = self.room.buf.len().min(self.at + MAX_LINE + 1);
        if let Some(offset) = memchr::memchr(byte, &self.room.buf[from..limit]) {
            self.searched += offset;
            return Ok(Some(from + offset));
        }
        self.searched = limit - self.at;
        if self.searched > MAX_LINE { Err(too_long) } else { Ok(None) }
    }

    fn parse_inline(&mut self) -> Result<bool, ProtocolError> {
        let Some(newline) = self.find(b'\n', ProtocolError::TooBigInlineRequest)? else { return Ok(false) };
        self.searched = 0;
        let line = self.at..newline;
        // The server searches the newline in a C string: behind a NUL it finds none, and waits for ever.
        if let Some(nul) = memchr::memchr(0, &self.room.buf[line.clone()]) {
            return self.inline_with_nul(nul);
        }
        inline::split_in_place(&mut self.room.buf, line, &mut self.room.args)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.at = newline + 1;
        Ok(true)
    }

    fn inline_with_nul(&mut self, nul: usize) -> Result<bool, ProtocolError> {
        self.searched = nul;
        let too_long = self.room.buf.len() - self.at > MAX_LINE;
        if too_long { Err(ProtocolError::TooBigInlineRequest) } else { Ok(false) }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
