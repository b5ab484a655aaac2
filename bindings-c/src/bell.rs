//! What a program polls to learn that something has come for a session: a pair of sockets, of which it has one.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use keystead::Wake;

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

impl Wake for Clapper {
    fn wake(&self) {
        // One that is full rings already.
        while matches!((&self.rings).write(&[0]), Err(error) if error.kind() == ErrorKind::Interrupted) {}
    }
}
