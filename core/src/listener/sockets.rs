//! Opens the sockets that a listener accepts on: the addresses and the path that the options name, and how long their queues are.
//!
//! When they are opened and closed is the accepting thread's affair.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clients::ClientAddress;
use crate::config::{Config, Value};
use crate::error::{Error, ErrorKind as Kind, Result};
use crate::network::Place;
use crate::os;

/// The option `tcp-backlog`; the system bounds it further (`net.core.somaxconn`).
pub(super) fn backlog(config: &Config) -> i32 {
    match config.value("tcp-backlog") {
        Some(Value::Int(len)) => i32::try_from(len).unwrap_or(i32::MAX),
        _ => 0,
    }
}

/// A socket that accepts connections. None of its calls waits.
pub(super) struct Door {
    place: Place,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection that was accepted.
pub(super) struct Visitor {
    pub(super) socket: OwnedFd,
    pub(super) address: ClientAddress,
    /// Where it comes from, if that is an address.
    pub(super) ip: Option<IpAddr>,
}

/// The file of a Unix socket. It goes with this value.
struct SocketFile {
    path: PathBuf,
    /// The file that was made: another may stand there by now.
    identity: (u64, u64),
    generation: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.generation == os::generation() && identity(&self.path).ok() == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl Door {
    /// Where it is: with the port that the system chose, if it did.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether what comes in is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.place, Place::Tls(_))
    }

    /// A connection that waits.
    pub(super) fn accept(&self) -> io::Result<Visitor> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                let local = stream.local_addr()?.to_string();
                let address = ClientAddress::Socket { peer: peer.to_string(), local };
                Ok(Visitor { socket: stream.into(), address, ip: Some(peer.ip()) })
            }
            Socket::Unix(socket, file) => {
                let address = ClientAddress::Unix(file.path.display().to_string());
                Ok(Visitor { socket: socket.accept()?.0.into(), address, ip: None })
            }
        }
    }
}

/// Listens at a place. Of an address with port 0 the system chooses the port.
pub(super) fn open(place: &Place, backlog: i32) -> io::Result<Door> {
    let (place, socket) = match place {
        Place::Tcp(address) => {
            let socket = open_tcp(*address, backlog)?;
            (Place::Tcp(socket.local_addr()?), Socket::Tcp(socket))
        }
        Place::Tls(address) => {
            let socket = open_tcp(*address, backlog)?;
            (Place::Tls(socket.local_addr()?), Socket::Tcp(socket))
        }
        Place::Unix(path) => {
            let (socket, file) = open_unix(path, backlog)?;
            (place.clone(), Socket::Unix(socket, file))
        }
    };
    Ok(Door { place, socket })
}

fn open_tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
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

/// A socket that nobody listens on any more gives way, as with the server; one that somebody does, and any other file, stays.
fn open_unix(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there"));
        }
        fs::remove_file(path)?;
    }
    let socket: OwnedFd = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)?, generation: os::generation() };
    listen(&socket, backlog)?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// Who may use a Unix socket, as the options `unixsocketperm` and `unixsocketgroup` say.
fn share(path: &Path, config: &Config) -> Result<()> {
    let told = |what: &str, error: io::Error| {
        Error::new(Kind::Io, format!("ERR Can't set the {what} of {}: {error}", path.display()))
    };
    let group = config.text("unixsocketgroup").filter(|group| !group.is_empty());
    if let Some(group) = group {
        let changed = group_id(&group).and_then(|id| std::os::unix::fs::chown(path, None, Some(id)));
        changed.map_err(|error| told("group", error))?;
    }
    match config.value("unixsocketperm") {
        Some(Value::Int(mode @ 1..)) => {
            let mode = fs::Permissions::from_mode(u32::try_from(mode).unwrap_or(0o600));
            fs::set_permissions(path, mode).map_err(|error| told("permissions", error))
        }
        _ => Ok(()),
    }
}

/// The number of a group of this machine.
fn group_id(name: &[u8]) -> io::Result<u32> {
    let name = String::from_utf8_lossy(name);
    let groups = fs::read_to_string("/etc/group")?;
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(&*name)).then(|| fields.nth(1).and_then(|id| id.parse().ok())).flatten()
    };
    let found = groups.lines().find_map(number);
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no group {name}")))
}

/// One address of the option `bind`, or the path of `unixsocket`.
enum Wish {
    Address {
        /// As it was written, without the dash.
        host: String,
        port: u16,
        is_encrypted: bool,
        /// It had a dash in front: it is left out where this machine does not have it.
        optional: bool,
    },
    Path(PathBuf),
}

/// Where the options say to listen.
fn wishes(config: &Config) -> Vec<Wish> {
    let of_port = |port: u16, is_encrypted: bool| {
        let wish = move |word: String| match word.strip_prefix('-') {
            Some(host) => Wish::Address { host: host.to_owned(), port, is_encrypted, optional: true },
            None => Wish::Address { host: word, port, is_encrypted, optional: false },
        };
        let binds = if port == 0 { Vec::new() } else { config.bind() };
        binds.into_iter().map(wish)
    };
    let path = config.unix_socket().map(Wish::Path);
    of_port(config.port(), false).chain(path).chain(of_port(config.tls_port(), true)).collect()
}

impl Wish {
    /// The place of this machine that it means.
    fn place(&self) -> io::Result<Place> {
        let (host, port, is_encrypted) = match self {
            Wish::Path(path) => return Ok(Place::Unix(path.clone())),
            Wish::Address { host, port, is_encrypted, .. } => (host, *port, *is_encrypted),
        };
        let host = match host.as_str() {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        };
        let wants_ipv6 = host.contains(':');
        let mut found = (host, port).to_socket_addrs()?;
        let address = found
            .find(|address| address.is_ipv6() == wants_ipv6)
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the name has no address of this family"))?;
        Ok(if is_encrypted { Place::Tls(address) } else { Place::Tcp(address) })
    }

    /// Whether the machine's lack of the address is no error.
    fn bears(&self, error: &io::Error) -> bool {
        let Wish::Address { optional, .. } = self else { return false };
        match Errno::from_io_error(error) {
            Some(Errno::ADDRNOTAVAIL) => *optional,
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

    /// Listens on it, by a door among `kept` if one does already; none where it may be left out.
    fn open(&self, config: &Config, kept: &mut Vec<Door>) -> Result<Option<Door>> {
        let told = |error: io::Error| match self {
            Wish::Address { host, port, .. } => {
                let text = format!("ERR Could not create server TCP listening socket {host}:{port}");
                Error::new(Kind::Io, format!("{text}: {error}"))
            }
            Wish::Path(path) => describe(&Place::Unix(path.clone()), &error),
        };
        let place = self.place().map_err(told)?;
        if let Some(index) = kept.iter().position(|door| *door.place() == place) {
            return Ok(Some(kept.swap_remove(index)));
        }
        match open(&place, backlog(config)) {
            Ok(door) => {
                if let Place::Unix(path) = &place {
                    share(path, config)?;
                }
                Ok(Some(door))
            }
            Err(error) if self.bears(&error) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }
}

/// Listens where the options say.
///
/// # Errors
/// The first address that can't be listened on.
pub(super) fn open_all(config: &Config) -> Result<Vec<Door>> {
    open_wishes(&wishes(config), config, &mut Vec::new())
}

fn open_wishes(wishes: &[Wish], config: &Config, kept: &mut Vec<Door>) -> Result<Vec<Door>> {
    let mut opened = Vec::new();
    for wish in wishes {
        match wish.open(config, kept) {
            Ok(door) => opened.extend(door),
            Err(error) => {
                // They stay what they were.
                kept.append(&mut opened);
                return Err(error);
            }
        }
    }
    Ok(opened)
}

/// Listens where the options say instead of at `doors`, which hold the new ones afterwards, or stay what they were.
///
/// Doors at places that stay go on; others are closed first, since an address can be in the way of a wider one.
///
/// # Errors
/// An address can't be listened on.
pub(super) fn follow(config: &Config, doors: &mut Vec<Door>) -> Result<()> {
    let wishes = wishes(config);
    let before: Vec<Place> = doors.iter().map(|door| door.place().clone()).collect();
    let wanted: Vec<Place> = wishes.iter().filter_map(|wish| wish.place().ok()).collect();
    doors.retain(|door| wanted.contains(door.place()));
    match open_wishes(&wishes, config, doors) {
        Ok(opened) => {
            *doors = opened;
            Ok(())
        }
        Err(error) => {
            doors.retain(|door| before.contains(door.place()));
            for place in before {
                if doors.iter().any(|door| *door.place() == place) {
                    continue;
                }
                match open(&place, backlog(config)) {
                    Ok(door) => doors.push(door),
                    Err(error) => super::warn(format_args!("{}", describe(&place, &error))),
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

/// The error of a place that can't be listened at.
pub(super) fn describe(place: &Place, error: &io::Error) -> Error {
    let what = match place {
        Place::Tcp(address) | Place::Tls(address) => format!("server TCP listening socket {address}"),
        Place::Unix(path) => format!("Unix socket {}", path.display()),
    };
    Error::new(Kind::Io, format!("ERR Could not create {what}: {error}"))
}

/// Prepares an accepted connection: never blocking, and, if it is no Unix socket's, without delay and probed as `tcp-keepalive` says.
pub(super) fn prepare(visitor: &Visitor, config: &Config) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&visitor.socket, true)?;
    if visitor.ip.is_none() {
        return Ok(());
    }
    let socket = &visitor.socket;
    sockopt::set_tcp_nodelay(socket, true)?;
    let Some(Value::Int(seconds @ 1..)) = config.value("tcp-keepalive") else { return Ok(()) };
    let seconds = seconds.unsigned_abs();
    // Three probes within the time that the first waited for.
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(seconds))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs((seconds / 3).max(1)))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}
