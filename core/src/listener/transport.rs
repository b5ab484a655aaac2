//! The socket of a connection, with or without encryption: what a task asks of it, and what wakes the task.
//!
//! Sockets never block. What they can do is tried first, and waited for only if they can't: a request takes one call that receives and one that sends.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, send};
use rustls::ServerConnection;
use tokio::io::unix::AsyncFd;

use super::encryption;
use crate::clients::Link;
use crate::config::Config;
use crate::os;

/// Bytes asked of a socket at a time.
pub(super) const READ: usize = 16 * 1024;

/// What a broken pipe shall not do is end the process by a signal.
#[cfg(target_os = "linux")]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const SEND: SendFlags = SendFlags::empty();

/// See the module's text.
pub(super) struct Transport {
    socket: AsyncFd<Arc<OwnedFd>>,
    encryption: Option<Box<ServerConnection>>,
    /// There may be something to receive, though that is not known.
    is_untried: bool,
    /// Its handshake is over, and nobody has asked yet as whom it acts.
    is_greeted: bool,
}

impl Transport {
    pub(super) fn new(link: &Link, encryption: Option<Box<ServerConnection>>) -> io::Result<Self> {
        Ok(Self {
            socket: os::watched(link.socket().clone())?,
            encryption,
            is_untried: false,
            is_greeted: false,
        })
    }

    /// Appends what there is to `input`; 0 is the end.
    pub(super) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        input: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        input.try_reserve(READ).map_err(|_| ErrorKind::OutOfMemory)?;
        if self.encryption.is_some() {
            return self.poll_receive_encrypted(context, input);
        }
        loop {
            let asked = input.capacity() - input.len();
            if std::mem::take(&mut self.is_untried) {
                match read(self.socket.get_ref(), spare_capacity(input)) {
                    Ok(received) => {
                        self.is_untried = received == asked;
                        return Poll::Ready(Ok(received));
                    }
                    Err(Errno::AGAIN) => {}
                    Err(Errno::INTR) => self.is_untried = true,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
                continue;
            }
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            match read(self.socket.get_ref(), spare_capacity(input)) {
                Ok(received) => {
                    // There was no more. The end of the connection is remembered all the same.
                    if received < asked {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(received));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Sends some of `bytes`, which are not empty.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(encryption) = &mut self.encryption {
            let taken = encryption.writer().write(bytes)?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_flush(context))?;
            let encryption = self.encryption.as_mut().expect("it was there before");
            return Poll::Ready(encryption.writer().write(bytes));
        }
        loop {
            match send(self.socket.get_ref(), bytes, SEND) {
                Ok(sent) => return Poll::Ready(Ok(sent)),
                Err(Errno::AGAIN) => ready!(self.socket.poll_write_ready(context))?.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Sends what encryption has yet to send.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(encryption) = &mut self.encryption else { return Poll::Ready(Ok(())) };
        while encryption.wants_write() {
            match encryption.write_tls(&mut Raw(self.socket.get_ref())) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(context))?.clear_ready();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has gone. What it sends stays where it is.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut ready) = ready!(self.socket.poll_read_ready(context)) else { return Poll::Ready(()) };
            if ready.ready().is_read_closed() {
                return Poll::Ready(());
            }
            // Only what comes after this wakes again.
            ready.clear_ready();
            self.is_untried = true;
        }
    }

    /// The users that the client's certificate names, once it has been seen; asked once.
    pub(super) fn take_names(&mut self, config: &Config) -> Vec<Vec<u8>> {
        match &self.encryption {
            Some(encryption) if !self.is_greeted && !encryption.is_handshaking() => {
                self.is_greeted = true;
                encryption::names_of(encryption, config)
            }
            _ => Vec::new(),
        }
    }

    /// Whether the handshake has yet to end.
    fn is_handshaking(&self) -> bool {
        self.encryption.as_ref().is_some_and(|encryption| encryption.is_handshaking())
    }

    fn poll_receive_encrypted(
        &mut self,
        context: &mut Context<'_>,
        input: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let encryption = self.encryption.as_mut().expect("asked only with encryption");
            let before = input.len();
            input.resize(before + READ, 0);
            let received = encryption.reader().read(&mut input[before..]);
            input.truncate(before + *received.as_ref().unwrap_or(&0));
            match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without its farewell it may have been cut off by others; there is nobody to tell.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                other => return Poll::Ready(other),
            }
            if self.is_handshaking() {
                ready!(self.poll_flush(context))?;
            }
            let encryption = self.encryption.as_mut().expect("it was there before");
            match encryption.read_tls(&mut Raw(self.socket.get_ref())) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_read_ready(context))?.clear_ready();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let processed = encryption.process_new_packets();
            if encryption.wants_write() {
                // What is said of an error as well; it may have to wait.
                let flushed = self.poll_flush(context)?;
                if processed.is_ok() && flushed.is_pending() && self.is_handshaking() {
                    return Poll::Pending;
                }
            }
            processed.map_err(io::Error::other)?;
        }
    }
}

/// A socket without encryption.
struct Raw<'s>(&'s Arc<OwnedFd>);

impl Read for Raw<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(read(self.0, bytes)?)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SEND)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
