//! One connection: receives requests, has them executed, and sends the replies, until either side ends it.
//!
//! It is a future that a worker polls; what it waits for wakes it: its socket, or what other threads have for its session. While it is idle it has no buffers: it
//! works in those of its thread and leaves them there. Accepting is `accept.rs`'s, the protocol [`crate::resp`]'s.
//!
//! **Order.** Replies are sent before anything more is done: who does not read them is not read from, once [`FLUSH`] bytes wait, unless
//! `client-output-buffer-limit` says how much may wait; then it is ended there.
//!
//! **Waiting.** What a client sends behind a command that waits stays in its socket. That it has gone is noticed at once.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use smallvec::SmallVec;

use super::transport::Transport;
use super::{Quiet, warn};
use crate::clients::{Buffers, ClientAddress, Link};
use crate::config::{BufferClass, BufferLimit};
use crate::engine::Engine;
use crate::error::until_zero;
use crate::keyspace::waiting::Undo;
use crate::resp::{RequestBuffer, Room};
use crate::{Session, Wake, os};

/// Replies are sent once this many bytes wait, even in the middle of a pipeline; and in pieces of so many.
const FLUSH: usize = 64 * 1024;

/// Bytes that a client may send without a whole request before it has authenticated.
const UNTRUSTED_BUFFER: usize = 1024 * 1024;

/// Bytes of replies that the server does not count for a client's limit, since they wait in a buffer that each client has.
const UNCOUNTED: usize = 16 * 1024;

/// Requests that are parsed at a time.
const PARSED: usize = 32;

thread_local! {
    /// The buffers of this thread, while no connection works in them.
    static SPARE: RefCell<(Room, Vec<u8>)> = RefCell::default();
}

/// See the module's text.
pub(super) struct Connection {
    session: Session,
    transport: Transport,
    requests: RequestBuffer,
    /// Bytes of the session's replies that were sent.
    sent: usize,
    /// Since when more is unsent than the soft limit allows, unix milliseconds; 0 if it is not.
    above_since_ms: u64,
    /// The session wakes this task.
    has_bell: bool,
    /// It ends when the replies have been sent.
    ends: bool,
    /// Puts back what the reply that is being sent alone has.
    undo: Option<Box<Undo>>,
}

/// How far executing has come.
#[derive(PartialEq, Eq)]
enum Answered {
    /// There is no whole request.
    All,
    /// Something was executed, or has to be sent first.
    Some,
    /// The connection ends at once.
    Drop,
}

/// Wakes the task of a connection, in the process that it is in: in a child the runtime's locks may be held by threads that are not there.
struct Bell {
    waker: Waker,
    generation: u64,
}

impl Wake for Bell {
    fn wake(&self) {
        if self.generation == os::generation() {
            self.waker.wake_by_ref();
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        SPARE.with_borrow_mut(|(room, replies)| {
            this.requests.borrow_room(room);
            this.session.reply().borrow_room(replies);
        });
        // The client is gone or misbehaves: either way there is nobody left to tell.
        let polled = this.serve(context).map(|_| ());
        if polled.is_pending() {
            SPARE.with_borrow_mut(|(room, replies)| {
                this.requests.leave_room(room);
                this.session.reply().leave_room(replies);
            });
            this.show();
        }
        polled
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.set_above_since(0);
        // It has not been sent whole.
        if let Some(undo) = self.undo.take() {
            undo.run(&self.session.engine().inner.keyspace);
        }
    }
}

impl Connection {
    /// Of a client that has connected. Only within a worker.
    ///
    /// # Errors
    /// The system has no room for what waits for the socket.
    pub(super) fn new(
        engine: &Engine,
        link: Arc<Link>,
        address: ClientAddress,
        encryption: Option<Box<rustls::ServerConnection>>,
    ) -> io::Result<Self> {
        let transport = Transport::new(&link, encryption)?;
        Ok(Self {
            session: engine.session_on(link, address),
            transport,
            requests: RequestBuffer::new(engine.config().hot().proto_max_bulk_len()),
            sent: 0,
            above_since_ms: 0,
            has_bell: false,
            ends: false,
            undo: None,
        })
    }

    fn engine(&self) -> &Engine {
        self.session.engine()
    }

    /// Does what can be done.
    fn serve(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.is_above_hard_limit() {
                return Poll::Ready(Ok(()));
            }
            let is_stuck = self.unsent() > 0 && self.flush(context)?.is_pending();
            if is_stuck {
                if self.is_above_for_long() {
                    return Poll::Ready(Ok(()));
                }
                if self.ends || self.undo.is_some() || self.must_send_first() {
                    return Poll::Pending;
                }
            } else {
                if self.ends {
                    return Poll::Ready(Ok(()));
                }
                self.undo = None;
            }
            if self.session.is_blocked() {
                match self.take_late(context) {
                    true => continue,
                    false => return self.transport.poll_gone(context).map(|()| Ok(())),
                }
            }
            if self.session.is_pushed_to() {
                self.attach(context);
                let before = self.session.replies().len();
                self.session.take_pushes(before.max(FLUSH));
                if self.session.replies().len() > before && !is_stuck {
                    continue;
                }
            }
            match self.answer() {
                Answered::All => {}
                Answered::Some => continue,
                Answered::Drop => return Poll::Ready(Ok(())),
            }
            // What it has sent before it was cut off can still be read.
            if self.session.is_quitting() {
                return Poll::Ready(Ok(()));
            }
            let has_more = match ready!(self.receive(context))? {
                0 => return Poll::Ready(Ok(())),
                received => received >= FULL,
            };
            if self.is_overfull() {
                self.engine().inner.network.overfull.fetch_add(1, Ordering::Relaxed);
                warn(format_args!("Closing client that reached max query buffer length: {}", self.peer()));
                return Poll::Ready(Ok(()));
            }
            if has_more {
                // Others of this worker come first.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Bytes of replies that wait to be sent.
    fn unsent(&self) -> usize {
        self.session.replies().len() - self.sent
    }

    /// Sends the replies that wait.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        while self.unsent() > 0 {
            let end = (self.sent + FLUSH).min(self.session.replies().len());
            let Poll::Ready(sent) =
                self.transport.poll_send(context, &self.session.replies()[self.sent..end])?
            else {
                self.drop_sent();
                return Ok(Poll::Pending);
            };
            self.session.sending(sent);
            self.sent += sent;
        }
        self.session.clear_replies();
        self.sent = 0;
        self.set_above_since(0);
        Ok(self.transport.poll_flush(context)?)
    }

    /// Forgets what was sent of the replies, once that is most of it.
    fn drop_sent(&mut self) {
        if self.sent >= FLUSH && self.sent >= self.unsent() {
            self.session.reply().drop_front(self.sent);
            self.sent = 0;
        }
    }

    /// What may wait to be sent to the client.
    fn limit(&self) -> BufferLimit {
        let class = if self.session.is_subscribed() { BufferClass::PubSub } else { BufferClass::Normal };
        self.engine().config().buffer_limit(class)
    }

    /// Whether the client has to take its replies before more of its commands are executed: no limit says how much may wait.
    fn must_send_first(&self) -> bool {
        let BufferLimit { hard, soft, .. } = self.limit();
        self.unsent() >= FLUSH && hard == 0 && soft == 0
    }

    /// Whether more waits to be sent than ever may.
    fn is_above_hard_limit(&self) -> bool {
        let waiting = self.unsent();
        waiting > UNCOUNTED && {
            let BufferLimit { hard, .. } = self.limit();
            hard > 0 && waiting as u64 > hard && self.end_slow()
        }
    }

    /// Whether more waits to be sent than may for so long.
    fn is_above_for_long(&mut self) -> bool {
        let (waiting, BufferLimit { soft, soft_seconds, .. }) = (self.unsent(), self.limit());
        if waiting <= UNCOUNTED || soft == 0 || waiting as u64 <= soft {
            self.set_above_since(0);
            return false;
        }
        let now_ms = self.engine().inner.keyspace.clock.now_ms();
        if self.above_since_ms == 0 {
            self.set_above_since(now_ms.max(1));
            // Who does not read at all is ended by the accepting thread.
            self.engine().inner.network.look();
            return false;
        }
        let longest_ms = soft_seconds.unsigned_abs().saturating_mul(1000);
        now_ms.saturating_sub(self.above_since_ms) > longest_ms && self.end_slow()
    }

    fn set_above_since(&mut self, ms: u64) {
        if self.above_since_ms != ms {
            let slow = &self.engine().inner.network.slow;
            match (self.above_since_ms, ms) {
                (0, _) => slow.fetch_add(1, Ordering::Relaxed),
                (_, 0) => slow.fetch_sub(1, Ordering::Relaxed),
                _ => 0,
            };
            self.above_since_ms = ms;
            self.session.link().inspect(|link| link.set_above_since(ms));
        }
    }

    fn end_slow(&self) -> bool {
        self.engine().inner.network.too_slow.fetch_add(1, Ordering::Relaxed);
        warn(format_args!("Client {} closed for overcoming of output buffer limits.", self.peer()));
        true
    }

    /// Has what comes for the session wake this task from now on.
    fn attach(&mut self, context: &Context<'_>) {
        if !self.has_bell {
            let bell = Bell { waker: context.waker().clone(), generation: os::generation() };
            self.session.set_waker(Some(Arc::new(bell)));
            self.has_bell = true;
        }
    }

    /// Takes the reply of a command that has to wait, and what is pushed meanwhile. Says whether there is something to send.
    fn take_late(&mut self, context: &Context<'_>) -> bool {
        self.attach(context);
        let before = self.session.replies().len();
        self.session.take_pushes(before.max(FLUSH));
        if self.session.replies().len() == before {
            if let Some(undo) = self.session.try_take_with_undo() {
                self.undo = undo.map(Box::new);
                return true;
            }
            self.session.set_alarm();
        }
        self.session.replies().len() > before
    }

    /// Executes some of what has arrived in full.
    fn answer(&mut self) -> Answered {
        self.requests.set_trusted(self.session.is_authenticated());
        let most = if self.session.is_authenticated() { PARSED } else { 1 };
        match self.requests.parse_ahead(most) {
            Ok(0) => return Answered::All,
            Ok(_) => {}
            Err(error) => {
                self.session.reply().error(&error.told());
                self.ends = true;
                return Answered::Some;
            }
        }
        let mut words = SmallVec::<[&[u8]; 4 * PARSED]>::new();
        let mut ends = SmallVec::<[usize; PARSED]>::new();
        let mut of_a_browser = None;
        for (index, args) in self.requests.waiting().enumerate() {
            let start = words.len();
            words.extend(args.iter());
            if is_of_a_browser(words[start]) {
                of_a_browser = Some(index);
                break;
            }
            ends.push(words.len());
        }
        let mut commands = SmallVec::<[&[&[u8]]; PARSED]>::new();
        let mut start = 0;
        for end in &ends {
            commands.push(&words[start..*end]);
            start = *end;
        }
        let most = self.sent.max(self.session.replies().len()) + FLUSH;
        let ahead = self.session.engine().config().hot().prefetch_batch_max_size();
        let begun = self.session.begin_served(&commands, most, ahead);
        let is_whole = begun == commands.len();
        drop(commands);
        drop(words);
        self.requests.take(begun);
        self.ends |= self.session.is_quitting();
        if is_whole && of_a_browser.is_some() && !self.session.is_blocked() && !self.ends {
            warn_of_attack(self.engine(), &self.peer());
            return Answered::Drop;
        }
        Answered::Some
    }

    /// Receives what is there; 0 at the end of the connection.
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SPARE.with_borrow_mut(|(room, _)| self.requests.borrow_room(room));
        let received = ready!(self.transport.poll_receive(context, self.requests.input()))?;
        if received > 0 {
            self.session.received(received);
            self.requests.set_max_bulk_len(self.engine().config().hot().proto_max_bulk_len());
            let names = self.transport.take_names(self.session.engine().config());
            names.iter().any(|name| self.session.act_as(name));
        }
        Poll::Ready(Ok(received))
    }

    /// Whether more waits for the rest of a request, or for EXEC, than a client may have wait.
    fn is_overfull(&self) -> bool {
        let waiting = self.requests.buffered() + self.session.queued_bytes();
        let limit = self.engine().config().hot().client_query_buffer_limit();
        waiting > limit || waiting > UNTRUSTED_BUFFER && !self.session.is_authenticated()
    }

    /// Tells what it holds; if that makes it too much of all clients, has the largest go.
    fn show(&mut self) {
        let output_room = self.session.reply().capacity();
        let Some(link) = self.session.link() else { return };
        let (input, room) = (self.requests.buffered(), self.requests.capacity());
        let buffers =
            Buffers { input, input_free: room.saturating_sub(input), output: self.unsent(), output_room };
        if link.show(buffers, self.session.queued_bytes(), self.session.message_bytes()) {
            self.engine().inner.evict_clients();
        }
    }

    fn peer(&self) -> String {
        self.session.peer()
    }
}

/// A read that brings so much may have left something.
const FULL: usize = super::transport::READ;

/// Whether a request is a line of HTTP. Any web page can have a browser send one, with commands behind it, to a server of the browser's machine.
fn is_of_a_browser(name: &[u8]) -> bool {
    if !matches!(name.first(), Some(b'P' | b'p' | b'H' | b'h')) {
        return false;
    }
    let name = until_zero(name);
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

fn warn_of_attack(engine: &Engine, peer: &str) {
    static QUIET: Quiet = Quiet::new();
    QUIET.warn(
        engine,
        format_args!(
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Keystead. This is likely due to an \
             attacker attempting to use Cross Protocol Scripting to compromise your Keystead instance. Connection from {peer} aborted."
        ),
    );
}
