//! What it is when memory is refused, and how a test has it refused.

use std::fmt;

/// The system or a limit (`RLIMIT_AS`, a full region) refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

#[cfg(test)]
thread_local! {
    static REFUSING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread gets memory: a test can have it refused.
pub(super) fn check() -> Result<(), OutOfMemory> {
    #[cfg(test)]
    if REFUSING.get() {
        return Err(OutOfMemory);
    }
    Ok(())
}

/// Whether this thread gets no memory from now on.
#[cfg(test)]
pub(crate) fn set(refusing: bool) {
    REFUSING.set(refusing);
}
