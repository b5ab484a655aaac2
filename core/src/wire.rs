//! A connection without a socket: requests go in as bytes of RESP, replies and messages come out as bytes.
//!
//! It is for clients that can be handed another transport than a socket. Those that come over sockets are [`crate::Listener`]'s.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::command::Form;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::resp::RequestBuffer;
use crate::{Session, Wake};

/// One client of an [`Engine`] that speaks RESP2, RESP3 or lines, without a socket. It keeps no thread waiting.
///
/// ```
/// use keystead::{Engine, Wire};
///
/// let mut wire = Wire::new(&Engine::new());
/// wire.receive(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n")?;
/// assert_eq!(wire.output(), b"+PONG\r\n$2\r\nhi\r\n");
/// wire.clear_output();
/// # Ok::<(), keystead::Error>(())
/// ```
pub struct Wire {
    session: Session,
    requests: RequestBuffer,
    has_ended: bool,
}

impl Wire {
    /// A connection of its own to `engine`, on database 0. O(1).
    pub fn new(engine: &Engine) -> Wire {
        let requests = RequestBuffer::new(engine.config().hot().proto_max_bulk_len());
        Wire { session: engine.session(Form::Resp), requests, has_ended: false }
    }

    /// Takes bytes that the client sends, however requests are split among them, and executes what is whole. Replies are appended to
    /// [`Wire::output`]; what comes behind a command that has to wait is executed when that has its reply. After the end nothing is taken.
    ///
    /// # Errors
    /// There is no memory for the bytes: none was taken.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<()> {
        if self.has_ended {
            return Ok(());
        }
        let input = self.requests.input();
        input.try_reserve(bytes.len()).map_err(|_| Error::no_memory())?;
        input.extend_from_slice(bytes);
        self.go_on();
        // As a server does, which has no place for more either.
        if self.requests.buffered() + self.session.queued_bytes() > self.most() {
            self.has_ended = true;
        }
        Ok(())
    }

    /// Appends what has come for the client to [`Wire::output`]: the reply of a command that had to wait, those behind it, and messages. To be called
    /// when the waker was, and when [`Wire::time_left`] is over.
    pub fn look(&mut self) {
        self.take_pushes();
        self.go_on();
    }

    /// What is to be brought to the client, since the last [`Wire::clear_output`].
    pub fn output(&self) -> &[u8] {
        self.session.replies()
    }

    /// Forgets what was brought to the client.
    pub fn clear_output(&mut self) {
        self.session.clear_replies();
    }

    /// Whether the connection is over, once the client has the output: it has quit, has broken the protocol, or did not take its messages.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a command waits for its reply.
    pub fn is_blocked(&self) -> bool {
        self.session.is_blocked()
    }

    /// Whether it hears messages: it is subscribed to something, or monitors.
    pub fn hears(&self) -> bool {
        self.session.hears()
    }

    /// After how long to [`Wire::look`] though the waker was not called; `None` if never.
    pub fn time_left(&self) -> Option<Duration> {
        self.session.time_left()
    }

    /// Has `waker` called from now on whenever something has come, or nothing with `None`.
    pub fn set_waker(&self, waker: Option<Arc<dyn Wake>>) {
        self.session.set_waker(waker);
    }

    /// The session behind it.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Bytes that may wait to become requests, or for EXEC.
    fn most(&self) -> usize {
        self.session.engine().config().hot().client_query_buffer_limit()
    }

    /// Executes what is there, until a command has to wait.
    fn go_on(&mut self) {
        let max_bulk_len = self.session.engine().config().hot().proto_max_bulk_len();
        self.requests.set_max_bulk_len(max_bulk_len);
        while !self.has_ended {
            if self.session.is_blocked() && !self.session.try_take() {
                return;
            }
            // What was pushed before a command came stands before its reply.
            if self.session.is_pushed_to() {
                self.take_pushes();
            }
            self.requests.set_trusted(self.session.is_authenticated());
            match self.requests.next() {
                Ok(Some(args)) => {
                    let argv: SmallVec<[&[u8]; 8]> = args.iter().collect();
                    // The next round sees it.
                    let _ = self.session.begin_pipelined(&argv);
                }
                Ok(None) => return,
                Err(error) => {
                    self.session.reply().error(&error.told());
                    self.has_ended = true;
                }
            }
            self.has_ended |= self.session.is_quitting();
        }
    }

    /// Appends the messages that there are. Who has lost some is ended, as a server ends who does not keep up.
    fn take_pushes(&mut self) {
        self.has_ended |= self.session.take_all_pushes().is_err();
    }
}

#[cfg(test)]
mod tests;
