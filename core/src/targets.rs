//! Connections to other servers that values are moved to, and the ones of them that are kept for the next move.
//!
//! What is sent, and what becomes of the keys, is MIGRATE's affair. No lock of the engine is held while anything here waits for a network.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::background::NEVER;
use crate::clock::Clock;
use crate::os::{self, Guard};
use crate::sync::Mutex;

/// Milliseconds that a connection is kept for the next move to its place.
const KEPT_MS: u64 = 10_000;

/// The most connections that are kept; beyond them the one goes that was kept first.
const MOST: usize = 64;

/// Bytes that are collected before they are sent, and the most that are sent at a time: each such part has the whole timeout.
const PART: usize = 64 << 10;

/// The longest reply that is waited for. Nothing is asked for but statuses and errors.
const LONGEST_REPLY: usize = 64 << 10;

/// A host and a port.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    /// A connection to it, within so much time.
    ///
    /// # Errors
    /// The host has no address, nobody listens there, or the time is over. Looking up a name has a time limit of the system's.
    pub(crate) fn connect(&self, timeout: Duration) -> io::Result<Target> {
        Target::over(self.open(timeout)?)
    }

    /// A socket that is connected to it, within so much time.
    ///
    /// # Errors
    /// As [`Place::connect`].
    pub(crate) fn open(&self, timeout: Duration) -> io::Result<TcpStream> {
        let timer = Clock::system().timer();
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            let left = timeout.saturating_sub(timer.elapsed());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A connection.
pub(crate) struct Target {
    socket: TcpStream,
    /// The database that it is known to be in.
    pub(crate) db: Option<i64>,
    /// What has not been sent yet.
    unsent: Vec<u8>,
    /// What has been received and not been read.
    unread: Vec<u8>,
}

impl Target {
    fn over(socket: TcpStream) -> io::Result<Self> {
        // What is sent is collected here.
        socket.set_nodelay(true)?;
        Ok(Self { socket, db: None, unsent: Vec::new(), unread: Vec::new() })
    }

    /// Has what is sent and received from now on fail if nothing moves for so long, which is not zero.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(timeout))?;
        self.socket.set_write_timeout(Some(timeout))
    }

    /// Sends a command, or keeps it until more is sent.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.put(format!("*{}\r\n", words.len()).as_bytes())?;
        for word in words {
            self.put(format!("${}\r\n", word.len()).as_bytes())?;
            self.put(word)?;
            self.put(b"\r\n")?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.len() + bytes.len() > PART {
            self.flush()?;
        }
        if bytes.len() > PART {
            // What is large is not copied.
            return bytes.chunks(PART).try_for_each(|part| self.socket.write_all(part));
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what was kept.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = self.socket.write_all(&self.unsent);
        self.unsent.clear();
        sent
    }

    /// The next reply: a status, or the text of an error.
    ///
    /// # Errors
    /// Those of the socket, its end among them; or it is neither of both, so that nobody knows what the other side has done.
    pub(crate) fn reply(&mut self) -> io::Result<Result<(), Vec<u8>>> {
        let line = self.line()?;
        match line.split_first() {
            Some((b'+', _)) => Ok(Ok(())),
            Some((b'-', text)) => Ok(Err(text.to_vec())),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.unread[seen..]) {
                let mut line: Vec<u8> = self.unread.drain(..=seen + at).collect();
                line.pop();
                return if line.pop() == Some(b'\r') { Ok(line) } else { Err(ErrorKind::InvalidData.into()) };
            }
            seen = self.unread.len();
            if seen > LONGEST_REPLY {
                return Err(ErrorKind::InvalidData.into());
            }
            self.receive()?;
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        loop {
            match self.socket.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.unread.extend_from_slice(&part[..len]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a new connection would be no better: the time was over, so that the other side may still do what it was sent, or it speaks another language.
pub(crate) fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::InvalidData)
}

/// The connections that an engine keeps.
#[derive(Default)]
pub(crate) struct Targets(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// In the order in which they were kept, each with the unix milliseconds when it is closed.
    list: Vec<(u64, Place, Target)>,
    /// [`os::generation`] of the process whose connections they are.
    generation: u64,
}

impl Kept {
    /// Takes out what was inherited by a fork: the parent talks there. Closing it here does not end it.
    fn take_inherited(&mut self) -> Vec<(u64, Place, Target)> {
        let here = os::generation();
        if self.generation == here {
            return Vec::new();
        }
        self.generation = here;
        std::mem::take(&mut self.list)
    }
}

impl Targets {
    /// Takes out the connection to a place that was kept last.
    pub(crate) fn take(&self, place: &Place, now_ms: u64) -> Option<Target> {
        let mut kept = self.0.lock();
        let inherited = kept.take_inherited();
        let is_it = |(until, own, _): &(u64, Place, Target)| own == place && *until > now_ms;
        let found = kept.list.iter().rposition(is_it).map(|at| kept.list.remove(at).2);
        drop(kept);
        drop(inherited);
        found
    }

    /// Keeps a connection, and says until when, in unix milliseconds.
    pub(crate) fn keep(&self, place: Place, target: Target, now_ms: u64) -> u64 {
        let until = now_ms + KEPT_MS;
        let mut kept = self.0.lock();
        let inherited = kept.take_inherited();
        let surplus = (kept.list.len() >= MOST).then(|| kept.list.remove(0));
        kept.list.push((until, place, target));
        drop(kept);
        drop((inherited, surplus));
        until
    }

    /// Closes those whose time is over.
    pub(crate) fn close_idle(&self, now_ms: u64) {
        let mut kept = self.0.lock();
        let inherited = kept.take_inherited();
        let closed: Vec<_> = kept.list.extract_if(.., |(until, ..)| *until <= now_ms).collect();
        drop(kept);
        drop((inherited, closed));
    }

    /// When the next is to be closed.
    pub(crate) fn earliest(&self) -> u64 {
        self.0.lock().list.iter().map(|(until, ..)| *until).min().unwrap_or(NEVER)
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        let mut kept = self.0.lock();
        let inherited = kept.take_inherited();
        let len = kept.list.len();
        drop(kept);
        drop(inherited);
        len
    }

    /// Locks what it guards.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.0.lock()));
    }
}
