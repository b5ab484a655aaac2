//! Connections without tracking: one request at a time, for what needs a connection of its own. And the greeting that every connection begins with.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::ClientConfig;

use super::address::{Address, Endpoint, Options};
use super::breaker::Breaker;
use super::codec;
use super::flight::Lost;
use super::link::Greeted;
use super::transport::{Transport, is_silence};
use crate::clock::Clock;
use crate::resp::{Decoder, Value};
use crate::sync::{Arc, Mutex};

/// A reply in the place of a result: the text of an error.
type Told<T> = Result<T, Vec<u8>>;

/// Asks one thing after the other over a connection that nobody else uses yet.
pub(super) struct Greeting<'t> {
    transport: &'t Transport,
    decoder: Decoder,
    timeout: Duration,
}

impl<'t> Greeting<'t> {
    pub(super) fn new(transport: &'t Transport, timeout: Duration) -> Self {
        Self { transport, decoder: Decoder::default(), timeout }
    }

    pub(super) fn ask(&mut self, argv: &[&[u8]]) -> io::Result<Value> {
        self.send(argv)?;
        self.next(self.timeout)
    }

    pub(super) fn send(&mut self, argv: &[&[u8]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, argv);
        self.transport.write_all(&bytes)
    }

    /// What comes next, within so much time.
    pub(super) fn next(&mut self, most: Duration) -> io::Result<Value> {
        let frame = next_frame(self.transport, &mut self.decoder, Some(most), |frame| frame.to_vec())?;
        Value::read(&frame).map_err(io::Error::other)
    }

    /// Says who calls, where only that matters.
    pub(super) fn authenticate(&mut self, address: &Address) -> io::Result<()> {
        let Some(password) = &address.password else { return Ok(()) };
        let words = [&b"AUTH"[..], address.user.as_deref().unwrap_or(b"default"), password];
        match self.ask(&words)? {
            value if codec::failure(&value).is_some() => Err(refused(&value)),
            _ => Ok(()),
        }
    }

    pub(super) fn is_ok(&mut self, argv: &[&[u8]]) -> io::Result<bool> {
        Ok(codec::failure(&self.ask(argv)?).is_none())
    }

    /// Chooses the protocol, and says who calls.
    pub(super) fn hello(&mut self, address: &Address, resp3: bool) -> io::Result<Told<Greeted>> {
        let mut words: Vec<&[u8]> = vec![b"HELLO", if resp3 { b"3" } else { b"2" }];
        if let Some(password) = &address.password {
            words.extend([b"AUTH", address.user.as_deref().unwrap_or(b"default"), password]);
        }
        words.extend([&b"SETNAME"[..], b"keystead"]);
        let value = self.ask(&words)?;
        if let Some(told) = codec::failure(&value) {
            return Ok(Err(told.to_vec()));
        }
        let mut greeted = Greeted { role: Vec::new(), version: Vec::new() };
        let mut note = |key: &Value, value: Value| match (key, value) {
            (Value::Bulk(key), Value::Bulk(value)) if key == b"role" => greeted.role = value,
            (Value::Bulk(key), Value::Bulk(value)) if key == b"version" => greeted.version = value,
            _ => {}
        };
        match value {
            Value::Map(pairs) => pairs.into_iter().for_each(|(key, value)| note(&key, value)),
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                    note(&key, value);
                }
            }
            _ => {}
        }
        Ok(Ok(greeted))
    }

    pub(super) fn select(&mut self, db: usize) -> io::Result<()> {
        match self.ask(&[b"SELECT", itoa::Buffer::new().format(db).as_bytes()])? {
            value if db == 0 || codec::failure(&value).is_none() => Ok(()),
            value => Err(refused(&value)),
        }
    }
}

/// What a remote refused a connection with.
fn refused(value: &Value) -> io::Error {
    let told = codec::failure(value).unwrap_or(b"it replies what it does not know");
    io::Error::other(String::from_utf8_lossy(told).into_owned())
}

/// Calls `take` with the next complete reply, messages included; waits for it, for so long at most.
fn next_frame<R>(
    transport: &Transport,
    decoder: &mut Decoder,
    most: Option<Duration>,
    take: impl FnOnce(&[u8]) -> R,
) -> io::Result<R> {
    let timer = Clock::system().timer();
    let mut buffer = [0; 16 << 10];
    loop {
        let frame = decoder.next_frame().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let Some(frame) = frame {
            return Ok(take(decoder.bytes(frame)));
        }
        // A second at a time: who waits without a limit is told all the same when the connection ends.
        let left = most.map_or(Duration::from_secs(1), |most| most.saturating_sub(timer.elapsed()));
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        transport.set_read_timeout(left)?;
        match transport.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => decoder.feed(&buffer[..len]),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Why no reply came, by what reading told.
fn lost(error: &io::Error) -> Lost {
    if error.kind() == ErrorKind::TimedOut { Lost::Late } else { Lost::Link }
}

/// A connection that has been greeted.
pub(super) struct Plain {
    transport: Transport,
    decoder: Decoder,
    pub(super) db: usize,
    pub(super) resp3: bool,
    /// It can't be used again: a reply is outstanding, or it has ended.
    pub(super) is_broken: bool,
}

impl Plain {
    /// Executes a command and calls `take` with the bytes of the reply, which is waited for without a limit if there is none.
    pub(super) fn execute<R>(
        &mut self,
        argv: &[&[u8]],
        most: Option<Duration>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Lost> {
        let mut bytes = Vec::with_capacity(codec::encoded_len(argv));
        codec::encode(&mut bytes, argv);
        self.is_broken = true;
        if self.transport.write_all(&bytes).is_err() {
            return Err(Lost::Link);
        }
        let mut take = Some(take);
        loop {
            let taken = next_frame(&self.transport, &mut self.decoder, most, |frame| {
                // Messages of what nobody asked for are nobody's reply.
                if frame.first() == Some(&b'>') { None } else { take.take().map(|take| take(frame)) }
            });
            match taken {
                Ok(None) => {}
                Ok(Some(taken)) => {
                    self.is_broken = false;
                    return Ok(taken);
                }
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Executes commands that are sent together, and calls `take` with the bytes of each reply in turn. Each is waited for as long as the one of a command alone.
    pub(super) fn execute_all(
        &mut self,
        commands: &[&[&[u8]]],
        most: Duration,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Lost> {
        let mut bytes = Vec::with_capacity(commands.iter().map(|argv| codec::encoded_len(argv)).sum());
        commands.iter().for_each(|argv| codec::encode(&mut bytes, argv));
        self.is_broken = true;
        self.transport.write_all(&bytes).map_err(|_| Lost::Link)?;
        let mut left = commands.len();
        while left > 0 {
            let is_reply = next_frame(&self.transport, &mut self.decoder, Some(most), |frame| {
                // Messages of what nobody asked for are nobody's reply.
                let is_reply = frame.first() != Some(&b'>');
                if is_reply {
                    take(frame);
                }
                is_reply
            });
            left -= usize::from(is_reply.map_err(|error| lost(&error))?);
        }
        self.is_broken = false;
        Ok(())
    }

    /// Goes to a database.
    pub(super) fn select(&mut self, db: usize, most: Duration) -> Result<Result<(), Vec<u8>>, Lost> {
        if self.db == db {
            return Ok(Ok(()));
        }
        let mut number = itoa::Buffer::new();
        let words = [&b"SELECT"[..], number.format(db).as_bytes()];
        let told = self.execute(&words, Some(most), |frame| match frame {
            [b'-', text @ ..] => Err(text.strip_suffix(b"\r\n").unwrap_or(text).to_vec()),
            _ => Ok(()),
        })?;
        if told.is_ok() {
            self.db = db;
        }
        Ok(told)
    }
}

/// Connections of one remote that wait for work.
pub(super) struct Pool {
    address: Address,
    options: Options,
    encryption: Option<Arc<ClientConfig>>,
    breaker: Arc<Breaker>,
    idle: Mutex<VecDeque<Plain>>,
}

impl Pool {
    pub(super) fn new(
        address: Address,
        options: Options,
        encryption: Option<Arc<ClientConfig>>,
        breaker: Arc<Breaker>,
    ) -> Self {
        Self { address, options, encryption, breaker, idle: Mutex::default() }
    }

    /// A connection of this protocol: the one that was used last, if it is sound, or a new one.
    ///
    /// # Errors
    /// Nobody is there, or the remote refuses; or the breaker is open.
    pub(super) fn take(&self, resp3: bool) -> io::Result<Plain> {
        loop {
            let mut idle = self.idle.lock();
            let place = idle.iter().rposition(|plain| plain.resp3 == resp3);
            let Some(plain) = place.and_then(|place| idle.remove(place)) else { break };
            drop(idle);
            if plain.transport.is_quiet() {
                return Ok(plain);
            }
        }
        if !self.breaker.allows() {
            let reason = self.breaker.reason();
            let text =
                format!("it could not be reached several times, so it is left alone for a moment: {reason}");
            return Err(io::Error::other(text));
        }
        self.connect(resp3).inspect_err(|error| self.breaker.connection_failed(error))
    }

    fn connect(&self, resp3: bool) -> io::Result<Plain> {
        let Options { connect_timeout, timeout, .. } = self.options;
        let transport =
            Transport::connect(&self.address, self.encryption.as_ref(), connect_timeout, timeout)?;
        let mut greeting = Greeting::new(&transport, connect_timeout);
        let greeted = greeting.hello(&self.address, resp3)?;
        let greeted =
            greeted.map_err(|told| io::Error::other(String::from_utf8_lossy(&told).into_owned()))?;
        // Sentinels may be late, or wrong about a server that came back.
        if matches!(self.address.endpoint, Endpoint::Watched(_)) && greeted.role != b"master" {
            return Err(io::Error::other("it is no primary"));
        }
        greeting.select(self.address.db)?;
        let decoder = Decoder::default();
        Ok(Plain { transport, decoder, db: self.address.db, resp3, is_broken: false })
    }

    /// Keeps a connection for whoever comes next.
    pub(super) fn give_back(&self, plain: Plain) {
        if plain.is_broken {
            return;
        }
        let mut idle = self.idle.lock();
        idle.push_back(plain);
        let over = idle.len() > self.options.pool_size;
        let oldest = if over { idle.pop_front() } else { None };
        drop(idle);
        // It is closed without the lock.
        drop(oldest);
    }

    /// Closes those that wait.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}
