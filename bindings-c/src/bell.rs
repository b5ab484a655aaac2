//! What a program polls to learn that something has come for a session: a pair of sockets, of which it has one.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use std::time::Duration;

use keystead::{Error, Session, Wake};

/// The end that a program polls. It can be read from as long as something may have come that nobody has looked for.
pub struct Bell {
    heard: UnixStream,
}

/// The end that the engine writes to.
struct Clapper {
    rings: UnixStream,
}

impl Bell {
    /// A bell, and what rings it.
    pub fn new() -> io::Result<(Self, impl Wake + use<>)> {
        let (heard, rings) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        Ok((Self { heard }, Clapper { rings }))
    }

    /// Forgets that it rang. Whoever does this looks after it, not before.
    pub fn silence(&mut self) {
        let mut rung = [0; 64];
        while matches!(self.heard.read(&mut rung), Ok(1..)) {}
    }

    pub fn descriptor(&self) -> RawFd {
        self.heard.as_raw_fd()
    }
}

/// Looks for something at a session, and waits for it that many milliseconds at most, or for ever. The bell is silent afterwards if there is nothing.
pub fn look<T>(
    session: &mut Session,
    bell: &mut Option<Bell>,
    timeout_ms: i64,
    mut find: impl FnMut(&mut Session, Option<Duration>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let time = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let found = find(session, time)?;
    match bell {
        Some(bell) if found.is_none() => {
            bell.silence();
            // What has come since then may have rung before.
            find(session, Some(Duration::ZERO))
        }
        _ => Ok(found),
    }
}

impl Wake for Clapper {
    fn wake(&self) {
        // One that is full rings already.
        while matches!((&self.rings).write(&[0]), Err(error) if error.kind() == ErrorKind::Interrupted) {}
    }
}
