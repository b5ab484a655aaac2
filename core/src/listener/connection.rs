//! One connection: receives requests, has them executed, and sends the replies, until either side ends it.
//!
//! Accepting is `accept.rs`'s, the protocol [`crate::resp`]'s.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::signal::{Signal, Woken};
use super::{Quiet, sockets, warn};
use crate::Session;
use crate::command::Outcome;
use crate::engine::Engine;
use crate::error::{Error, until_zero};
use crate::resp::{ProtocolError, RequestBuffer};

/// Bytes asked of a socket at a time.
const READ: usize = 16 * 1024;

/// Replies are sent once this many bytes wait, even in the middle of a pipeline; and in pieces of so many.
const FLUSH: usize = 64 * 1024;

/// Bytes that a client may send without a whole request before it has authenticated.
const UNTRUSTED_BUFFER: usize = 1024 * 1024;

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    /// It does, once more has been received.
    Receive,
    /// It ends when the replies have been sent.
    End,
    /// It ends at once.
    Drop,
}

/// Serves one connection until it ends.
pub(super) fn serve(engine: &Engine, stream: Arc<TcpStream>) -> io::Result<()> {
    sockets::prepare(&stream, engine.config())?;
    let mut session = engine.session_on(stream.clone())?;
    let mut requests = RequestBuffer::new(engine.config().hot().proto_max_bulk_len());
    let mut signal = Signal::default();
    loop {
        if !send_pushes_until_readable(&mut session, &mut signal, &stream)? {
            return Ok(());
        }
        let received = receive(&stream, &mut requests)?;
        if received == 0 {
            return Ok(());
        }
        session.received(received);
        if is_overfull(&session, &requests) {
            engine.inner.network.overfull.fetch_add(1, Ordering::Relaxed);
            warn(format_args!("Closing client that reached max query buffer length: {}", peer(&stream)));
            return Ok(());
        }
        requests.set_max_bulk_len(engine.config().hot().proto_max_bulk_len());
        match answer(&mut session, &mut signal, &mut requests, &stream)? {
            Next::Receive => flush(&mut session, &stream)?,
            Next::End => return flush(&mut session, &stream),
            Next::Drop => return Ok(()),
        }
    }
}

/// Executes what has arrived in full.
fn answer(
    session: &mut Session,
    signal: &mut Signal,
    requests: &mut RequestBuffer,
    stream: &TcpStream,
) -> io::Result<Next> {
    loop {
        requests.set_trusted(session.is_authenticated());
        match requests.next() {
            Ok(Some(args)) => {
                let argv: SmallVec<[&[u8]; 8]> = args.iter().collect();
                match argv.first() {
                    Some(name) if is_of_a_browser(name) => {
                        warn_of_attack(session.engine(), stream);
                        return Ok(Next::Drop);
                    }
                    Some(_) => {
                        // What was pushed before the command came stands before its reply.
                        if session.is_pushed_to() && session.take_pushes(FLUSH) {
                            send_pushes(session, stream)?;
                        }
                        if session.begin_pipelined(&argv) == Outcome::Blocked
                            && !wait_for_reply(session, signal, stream)?
                        {
                            return Ok(Next::Drop);
                        }
                        if session.is_pushed_to() {
                            session.take_pushes(FLUSH);
                        }
                    }
                    None => {}
                }
            }
            Ok(None) => return Ok(Next::Receive),
            Err(error) => {
                session.reply().error(&protocol_error(error));
                return Ok(Next::End);
            }
        }
        if session.is_quitting() {
            return Ok(Next::End);
        }
        if session.replies().len() >= FLUSH {
            flush(session, stream)?;
        }
    }
}

/// Sends the messages that there are.
fn send_pushes(session: &mut Session, stream: &TcpStream) -> io::Result<()> {
    loop {
        let has_more = session.take_pushes(FLUSH);
        if !session.replies().is_empty() {
            flush(session, stream)?;
        }
        if !has_more {
            return Ok(());
        }
    }
}

/// Waits for the reply of a command that has to wait, and sends it, and meanwhile what is pushed. Says whether it has come: false, if the client has gone.
/// What it has sent behind the command stays in its socket.
fn wait_for_reply(session: &mut Session, signal: &mut Signal, stream: &TcpStream) -> io::Result<bool> {
    signal.attach(session)?;
    loop {
        send_pushes(session, stream)?;
        if let Some(undo) = session.try_take_with_undo() {
            let sent = flush(session, stream);
            // The connection may have ended since the command was served: what it has popped is put back then. The reply is the last that was written,
            // so it has not been sent whole.
            if let (Err(_), Some(undo)) = (&sent, undo) {
                undo.run(&session.engine().inner.keyspace);
            }
            return sent.map(|()| true);
        }
        if signal.wait_unless_closed(stream, session.time_left())? == Woken::Closed {
            return Ok(false);
        }
    }
}

/// Where messages may come, sends them until the client sends something. Says whether it goes on.
fn send_pushes_until_readable(
    session: &mut Session,
    signal: &mut Signal,
    stream: &TcpStream,
) -> io::Result<bool> {
    if !session.is_pushed_to() {
        return Ok(true);
    }
    signal.attach(session)?;
    loop {
        send_pushes(session, stream)?;
        match signal.wait_until_readable(stream)? {
            Woken::Readable => return Ok(true),
            Woken::Closed => return Ok(false),
            Woken::Signalled => {}
        }
    }
}

/// Whether a request is a line of HTTP. Any web page can have a browser send one, with commands behind it, to a server of the browser's machine.
fn is_of_a_browser(name: &[u8]) -> bool {
    let name = until_zero(name);
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

fn warn_of_attack(engine: &Engine, stream: &TcpStream) {
    static QUIET: Quiet = Quiet::new();
    QUIET.warn(
        engine,
        format_args!(
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Keystead. This is likely due to an \
             attacker attempting to use Cross Protocol Scripting to compromise your Keystead instance. Connection from {} aborted.",
            peer(stream)
        ),
    );
}

fn peer(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|_| "?".to_owned(), |peer| peer.to_string())
}

/// Whether more waits for the rest of a request, or for EXEC, than a client may have wait.
fn is_overfull(session: &Session, requests: &RequestBuffer) -> bool {
    let waiting = requests.buffered() + session.queued_bytes();
    let limit = session.engine().config().hot().client_query_buffer_limit();
    waiting > limit || waiting > UNTRUSTED_BUFFER && !session.is_authenticated()
}

/// Sends the replies that wait.
fn flush(session: &mut Session, mut stream: &TcpStream) -> io::Result<()> {
    session.sending(session.replies().len());
    for piece in session.replies().chunks(FLUSH) {
        stream.write_all(piece)?;
        session.seen();
    }
    session.clear_replies();
    Ok(())
}

fn protocol_error(error: ProtocolError) -> Error {
    let mut text = b"ERR ".to_vec();
    error.write(&mut text);
    Error::from_bytes(crate::error::ErrorKind::Command, text)
}

/// Reads what is there, at least one byte; 0 at the end of the connection.
fn receive(mut stream: &TcpStream, requests: &mut RequestBuffer) -> io::Result<usize> {
    let input = requests.input();
    let len = input.len();
    input.resize(len + READ, 0);
    let read = loop {
        match stream.read(&mut input[len..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    input.truncate(len + *read.as_ref().unwrap_or(&0));
    read
}
