//! Opens the sockets that a listener accepts on: the addresses that the options name, and how long their queues are.
//!
//! When they are opened and closed is the accepting thread's affair.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Value};
use crate::error::{Error, ErrorKind, Result};

/// The option `tcp-backlog`; the system bounds it further (`net.core.somaxconn`).
pub(super) fn backlog(config: &Config) -> i32 {
    match config.value("tcp-backlog") {
        Some(Value::Int(len)) => i32::try_from(len).unwrap_or(i32::MAX),
        _ => 0,
    }
}

/// Listens on an address. The socket never blocks.
pub(super) fn open(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket: OwnedFd = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // A port whose last connections are being wound up can be listened on again.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // `*` and `::*` stand beside each other.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One address of the option `bind`.
pub(super) struct Wish {
    /// As it was written, without the dash.
    host: String,
    port: u16,
    /// It had a dash in front: it is left out where this machine does not have it.
    optional: bool,
}

/// The addresses that the options name; none with port 0.
pub(super) fn wishes(config: &Config) -> Vec<Wish> {
    let port = config.port();
    if port == 0 {
        return Vec::new();
    }
    let wish = |word: String| match word.strip_prefix('-') {
        Some(host) => Wish { host: host.to_owned(), port, optional: true },
        None => Wish { host: word, port, optional: false },
    };
    config.bind().into_iter().map(wish).collect()
}

impl Wish {
    /// The address of this machine that it means.
    fn address(&self) -> io::Result<SocketAddr> {
        let host = match self.host.as_str() {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        };
        let wants_ipv6 = host.contains(':');
        let mut found = (host, self.port).to_socket_addrs()?;
        found
            .find(|address| address.is_ipv6() == wants_ipv6)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address of this family"))
    }

    /// Whether the machine's lack of the address is no error.
    fn bears(&self, error: &io::Error) -> bool {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::ADDRNOTAVAIL) => self.optional,
            Some(
                Errno::NOPROTOOPT
                | Errno::PROTONOSUPPORT
                | Errno::SOCKTNOSUPPORT
                | Errno::PFNOSUPPORT
                | Errno::AFNOSUPPORT,
            ) => true,
            _ => false,
        }
    }

    /// Listens on it, by a socket among `kept` if one does already; none where it may be left out.
    fn open(&self, backlog: i32, kept: &mut Vec<TcpListener>) -> Result<Option<TcpListener>> {
        let place = |error: &io::Error| {
            let text =
                format!("ERR Could not create server TCP listening socket {}:{}", self.host, self.port);
            Error::new(ErrorKind::Io, format!("{text}: {error}"))
        };
        let address = self.address().map_err(|error| place(&error))?;
        let same = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
        if let Some(index) = kept.iter().position(same) {
            return Ok(Some(kept.swap_remove(index)));
        }
        match open(address, backlog) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if self.bears(&error) => Ok(None),
            Err(error) => Err(place(&error)),
        }
    }
}

/// Listens where the options say.
///
/// # Errors
/// The first address that can't be listened on.
pub(super) fn open_all(config: &Config) -> Result<Vec<TcpListener>> {
    open_wishes(&wishes(config), backlog(config), &mut Vec::new())
}

fn open_wishes(wishes: &[Wish], backlog: i32, kept: &mut Vec<TcpListener>) -> Result<Vec<TcpListener>> {
    wishes.iter().filter_map(|wish| wish.open(backlog, kept).transpose()).collect()
}

/// Listens where the options say instead of on `sockets`, which hold the new ones afterwards, or stay what they were.
///
/// Sockets for addresses that stay go on; others are closed first, since an address can be in the way of a wider one.
///
/// # Errors
/// An address can't be listened on.
pub(super) fn follow(config: &Config, sockets: &mut Vec<TcpListener>) -> Result<()> {
    let (wishes, backlog) = (wishes(config), backlog(config));
    let before: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    let wanted: Vec<SocketAddr> = wishes.iter().filter_map(|wish| wish.address().ok()).collect();
    sockets.retain(|socket| socket.local_addr().is_ok_and(|own| wanted.contains(&own)));
    let mut kept: Vec<TcpListener> = sockets.iter().filter_map(|socket| socket.try_clone().ok()).collect();
    match open_wishes(&wishes, backlog, &mut kept) {
        Ok(opened) => {
            *sockets = opened;
            Ok(())
        }
        Err(error) => {
            let is_open = |address: &SocketAddr, sockets: &[TcpListener]| {
                sockets.iter().any(|socket| socket.local_addr().is_ok_and(|own| own == *address))
            };
            let closed = before.into_iter().filter(|address| !is_open(address, sockets));
            for address in closed.collect::<Vec<_>>() {
                match open(address, backlog) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) => super::warn(format_args!("{}", describe(address, &error))),
                }
            }
            Err(error)
        }
    }
}

/// Descriptors that a process needs besides its clients'.
const RESERVED: u64 = 32;

/// Raises the process's limit of descriptors as far as so many clients need and the system lets it. Returns how many there can be if those are fewer.
pub(super) fn most_clients(wanted: u64) -> Option<u64> {
    let needed = wanted.saturating_add(RESERVED);
    let mut limit = getrlimit(Resource::Nofile);
    let allows = |limit: Rlimit| limit.current.is_none_or(|current| current >= needed);
    if !allows(limit) {
        let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        let raised = Rlimit { current: Some(raised), maximum: limit.maximum };
        // Where it is refused the limit stays what it was.
        let _ = setrlimit(Resource::Nofile, raised);
        limit = getrlimit(Resource::Nofile);
    }
    match limit.current {
        Some(current) if !allows(limit) => Some(current.saturating_sub(RESERVED)),
        _ => None,
    }
}

/// The error of an address that can't be listened on.
pub(super) fn describe(address: SocketAddr, error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("ERR Could not create server TCP listening socket {address}: {error}"))
}

/// Prepares an accepted connection: blocking, without delay, and probed as `tcp-keepalive` says.
pub(super) fn prepare(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let Some(Value::Int(seconds @ 1..)) = config.value("tcp-keepalive") else { return Ok(()) };
    let seconds = seconds.unsigned_abs();
    // Three probes within the time that the first waited for.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(seconds))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs((seconds / 3).max(1)))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}
