//! A listener: lets Valkey's clients talk RESP2 and RESP3 to an engine over TCP.
//!
//! One thread per connection, plain blocking sockets. Unix sockets, TLS and an event loop are not here yet.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use smallvec::SmallVec;

use crate::command::Form;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::resp::{ProtocolError, RequestBuffer};
use crate::{ClientAddress, Session};

/// Bytes asked of a socket at a time.
const READ: usize = 16 * 1024;

/// Replies are sent once this many bytes wait, even in the middle of a pipeline.
const FLUSH: usize = 64 * 1024;

/// A listening socket. Dropping it stops accepting; connections that are open go on.
pub struct Listener {
    address: SocketAddr,
    engine: Engine,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn bind(engine: &Engine, address: impl ToSocketAddrs) -> Result<Listener> {
        let socket = TcpListener::bind(address)?;
        let address = socket.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (accepting, stop) = (engine.clone(), stopping.clone());
        // Before the first client can ask: INFO tells where the engine listens.
        engine.inner.network.listens(address);
        let thread = std::thread::Builder::new()
            .name("keystead-accept".into())
            .spawn(move || accept(&accepting, &socket, &stop))
            .inspect_err(|_| engine.inner.network.stopped_listening(address))?;
        Ok(Listener { address, engine: engine.clone(), stopping, thread: Some(thread) })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the listener ends, which it does only when the process does.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.engine.inner.network.stopped_listening(self.address);
        self.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread; if that fails it stops at the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(engine: &Engine, socket: &TcpListener, stopping: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in socket.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let count = open.clone();
        if count.fetch_add(1, Ordering::AcqRel) >= engine.config().hot().maxclients() {
            engine.inner.network.rejected.fetch_add(1, Ordering::Relaxed);
            refuse(&stream);
            count.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let engine = engine.clone();
        let started = std::thread::Builder::new().name("keystead-client".into()).spawn(move || {
            // The client is gone or misbehaves: either way there is nobody left to tell.
            let _ = serve(&engine, stream);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn refuse(mut stream: &TcpStream) {
    let _ = stream.write_all(b"-ERR max number of clients reached\r\n");
}

/// Serves one connection until it ends.
fn serve(engine: &Engine, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let address = ClientAddress::Socket {
        peer: stream.peer_addr()?.to_string(),
        local: stream.local_addr()?.to_string(),
    };
    let mut session = engine.session_from(Form::Resp, address);
    let mut requests = RequestBuffer::new(engine.config().hot().proto_max_bulk_len());
    loop {
        requests.set_max_bulk_len(engine.config().hot().proto_max_bulk_len());
        let went_on = answer(&mut session, &mut requests, &mut stream)?;
        flush(&mut session, &mut stream)?;
        if !went_on {
            return Ok(());
        }
        let received = receive(&mut stream, &mut requests)?;
        if received == 0 {
            return Ok(());
        }
        session.received(received);
    }
}

/// Executes what has arrived in full. Returns whether the connection goes on.
fn answer(
    session: &mut Session,
    requests: &mut RequestBuffer,
    stream: &mut TcpStream,
) -> std::io::Result<bool> {
    loop {
        match requests.next() {
            Ok(Some(args)) => {
                let argv: SmallVec<[&[u8]; 8]> = args.iter().collect();
                if !argv.is_empty() {
                    session.execute_pipelined(&argv);
                }
            }
            Ok(None) => return Ok(true),
            Err(error) => {
                session.reply().error(&protocol_error(error));
                return Ok(false);
            }
        }
        if session.is_quitting() {
            return Ok(false);
        }
        if session.replies().len() >= FLUSH {
            flush(session, stream)?;
        }
    }
}

/// Sends the replies that wait.
fn flush(session: &mut Session, stream: &mut TcpStream) -> std::io::Result<()> {
    session.sent(session.replies().len());
    stream.write_all(session.replies())?;
    session.clear_replies();
    Ok(())
}

fn protocol_error(error: ProtocolError) -> Error {
    let mut text = b"ERR ".to_vec();
    error.write(&mut text);
    Error::from_bytes(crate::error::ErrorKind::Command, text)
}

/// Reads what is there, at least one byte; 0 at the end of the connection.
fn receive(stream: &mut TcpStream, requests: &mut RequestBuffer) -> std::io::Result<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn pipelined_requests_are_answered_in_order() {
        let listener = Listener::bind(&Engine::new(), "127.0.0.1:0").unwrap();
        let request = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        assert_eq!(exchange(listener.address(), request), "+OK\r\n:2\r\n$1\r\n2\r\n");
    }

    #[test]
    fn a_protocol_error_ends_the_connection_after_earlier_replies() {
        let listener = Listener::bind(&Engine::new(), "127.0.0.1:0").unwrap();
        let reply = exchange(listener.address(), b"GET a\r\n*x\r\nGET a\r\n");
        assert_eq!(reply, "$-1\r\n-ERR Protocol error: invalid multibulk length\r\n");
    }
}
