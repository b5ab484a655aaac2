//! Wakes the thread of a connection that sleeps at its socket, when something has come for its session.
//!
//! Connections that never wait and are pushed nothing do without: a signal takes two descriptors.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Session, Wake};

/// The receiving end, once it is needed.
#[derive(Default)]
pub(super) struct Signal(Option<UnixStream>);

/// The sending end, which the session's outbox has.
struct Bell(UnixStream);

impl Wake for Bell {
    fn wake(&self) {
        // A full pipe wakes as well as a byte more.
        let _ = (&self.0).write(&[0]);
    }
}

/// Why a thread goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something may have come for the session, or a time is over.
    Signalled,
    /// The client has sent something.
    Readable,
    /// The client has gone.
    Closed,
}

/// What a client that has gone looks like: the whole connection has ended, or its half.
const CLOSED: PollFlags = {
    let closed = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);
    #[cfg(target_os = "linux")]
    let closed = closed.union(PollFlags::RDHUP);
    closed
};

impl Signal {
    /// Has what comes for the session from now on wake whoever waits here.
    ///
    /// # Errors
    /// The system has no descriptors.
    pub(super) fn attach(&mut self, session: &Session) -> io::Result<()> {
        if self.0.is_none() {
            let (bell, signal) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            signal.set_nonblocking(true)?;
            session.set_waker(Some(Arc::new(Bell(bell))));
            self.0 = Some(signal);
        }
        Ok(())
    }

    /// Sleeps until it is signalled, the client has gone, or a time has passed. What the client sends wakes nobody.
    pub(super) fn wait_unless_closed(&self, stream: &TcpStream, time: Option<Duration>) -> io::Result<Woken> {
        self.wait(stream, PollFlags::empty(), time)
    }

    /// Sleeps until it is signalled, or the client has sent something or gone.
    pub(super) fn wait_until_readable(&self, stream: &TcpStream) -> io::Result<Woken> {
        self.wait(stream, PollFlags::IN, None)
    }

    fn wait(&self, stream: &TcpStream, wanted: PollFlags, time: Option<Duration>) -> io::Result<Woken> {
        /// Whatever the system can take; nobody minds being woken so seldom.
        const LONGEST: Duration = Duration::from_secs(1 << 20);
        let signal = self.0.as_ref().expect("it was attached before");
        let mut places = [
            PollFd::new(stream, wanted | (CLOSED - PollFlags::HUP - PollFlags::ERR - PollFlags::NVAL)),
            PollFd::new(signal, PollFlags::IN),
        ];
        // A time is rounded up: to be woken too early would mean to ask again.
        let time = time.map(|time| time.min(LONGEST) + Duration::from_micros(1));
        let time = time.map(|time| Timespec::try_from(time).expect("some days at most"));
        match poll(&mut places, time.as_ref()) {
            // A signal of the system: everything is looked at again.
            Err(Errno::INTR) => return Ok(Woken::Signalled),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let (socket, signalled) = (places[0].revents(), !places[1].revents().is_empty());
        if signalled {
            self.drain();
        }
        // What was sent before the end is read first, where reading is wanted.
        Ok(if socket.intersects(PollFlags::IN) {
            Woken::Readable
        } else if socket.intersects(CLOSED) {
            Woken::Closed
        } else {
            Woken::Signalled
        })
    }

    fn drain(&self) {
        let mut bytes = [0; 64];
        let Some(mut signal) = self.0.as_ref() else { return };
        while signal.read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}
