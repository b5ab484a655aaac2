//! A connection to a remote as bytes: over TCP or a Unix socket, encrypted or not. One thread reads while others write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::address::{Address, Endpoint};
use crate::sync::{Arc, Mutex};
use crate::targets::Place;

/// A connection.
pub(super) struct Transport {
    socket: Socket,
    encryption: Option<Mutex<Box<ClientConnection>>>,
    place: Option<Place>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport {
    /// Connects, within so much time. Each write from now on fails if nothing of it moves for `write_timeout`.
    ///
    /// # Errors
    /// Those of the system, or of the handshake that encryption begins with.
    pub(super) fn connect(
        address: &Address,
        encryption: Option<&Arc<ClientConfig>>,
        timeout: Duration,
        write_timeout: Duration,
    ) -> io::Result<Self> {
        let place = match &address.endpoint {
            Endpoint::Tcp(place) => Some(place.clone()),
            Endpoint::Watched(sentinels) => Some(sentinels.primary(timeout)?),
            Endpoint::Unix(_) => None,
        };
        let socket = match (&address.endpoint, &place) {
            (_, Some(place)) => {
                let socket = place.open(timeout)?;
                // What is sent is collected before.
                socket.set_nodelay(true)?;
                keep_alive(&socket, write_timeout)?;
                Socket::Tcp(socket)
            }
            (Endpoint::Unix(path), None) => Socket::Unix(UnixStream::connect(path)?),
            (_, None) => return Err(ErrorKind::AddrNotAvailable.into()),
        };
        socket.set_write_timeout(write_timeout)?;
        socket.set_read_timeout(timeout)?;
        let encryption = match (encryption, &place) {
            (Some(config), Some(place)) => {
                let name = ServerName::try_from(place.host.clone()).map_err(io::Error::other)?;
                let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut &socket)?;
                }
                Some(Mutex::new(Box::new(connection)))
            }
            _ => None,
        };
        Ok(Self { socket, encryption, place })
    }

    /// The host and port at its other end, if it has any.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// How long a read waits before it fails.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(time)
    }

    /// Waits until there is something to read, for so long at most, and says whether there is.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let fd = match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        };
        let most = Timespec::try_from(most).ok();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        // An error is one that reading tells, too.
        poll(&mut fds, most.as_ref()).map_or(true, |ready| ready > 0)
    }

    /// Reads what has come, or waits for it; 0 bytes are the end. For one thread at a time.
    ///
    /// # Errors
    /// Of the kinds `WouldBlock` and `TimedOut` where nothing has come in time, or what the system or the encryption says.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(encryption) = &self.encryption else { return (&self.socket).read(buffer) };
        loop {
            // What was received with what was read before may be left.
            match encryption.lock().reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            let mut sealed = [0; 16 << 10];
            let len = (&self.socket).read(&mut sealed)?;
            let mut rest = &sealed[..len];
            let mut connection = encryption.lock();
            if rest.is_empty() {
                return Ok(0);
            }
            while !rest.is_empty() {
                connection.read_tls(&mut rest)?;
                connection.process_new_packets().map_err(io::Error::other)?;
            }
            while connection.wants_write() {
                connection.write_tls(&mut &self.socket)?;
            }
        }
    }

    /// Writes all of it. For one thread at a time.
    ///
    /// # Errors
    /// The connection has ended, or nothing moved for as long as a write waits.
    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(encryption) = &self.encryption else { return (&self.socket).write_all(bytes) };
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut connection = encryption.lock();
            let taken = connection.writer().write(rest)?;
            while connection.wants_write() {
                connection.write_tls(&mut &self.socket)?;
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Ends it: whoever reads or writes hears so.
    pub(super) fn shut_down(&self) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
        };
    }

    /// Whether nothing has come since what was read last, neither bytes nor the end: it can be used again.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let received = match &self.socket {
            Socket::Tcp(socket) => recv(socket, &mut byte, flags),
            Socket::Unix(socket) => recv(socket, &mut byte, flags),
        };
        matches!(received, Err(rustix::io::Errno::AGAIN))
    }
}

/// Has the system tell of a peer that is gone without having said so.
fn keep_alive(socket: &TcpStream, unanswered: Duration) -> io::Result<()> {
    rustix::net::sockopt::set_socket_keepalive(socket, true)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(15))?;
        sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
        sockopt::set_tcp_keepcnt(socket, 3)?;
        sockopt::set_tcp_user_timeout(socket, unanswered.as_millis().min(u128::from(u32::MAX)) as u32)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unanswered;
    Ok(())
}

impl Socket {
    fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_read_timeout(Some(time)),
            Socket::Unix(socket) => socket.set_read_timeout(Some(time)),
        }
    }

    fn set_write_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_write_timeout(Some(time)),
            Socket::Unix(socket) => socket.set_write_timeout(Some(time)),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Socket::Tcp(socket) => (&*socket).read(buffer),
                Socket::Unix(socket) => (&*socket).read(buffer),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&*socket).write(bytes),
            Socket::Unix(socket) => (&*socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an error of reading says only that nothing has come yet.
pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
