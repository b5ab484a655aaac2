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

#[cfg(any(test, feature = "fuzzing"))]
thread_local! {
    /// How often memory is still given; `None` for always.
    static LEFT: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// Whether this thread gets memory: a test can have it refused.
pub(super) fn check() -> Result<(), OutOfMemory> {
    #[cfg(any(test, feature = "fuzzing"))]
    if let Some(left) = LEFT.get() {
        LEFT.set(Some(left.saturating_sub(1)));
        return if left == 0 { Err(OutOfMemory) } else { Ok(()) };
    }
    Ok(())
}

/// Whether a test will have memory refused.
pub(super) fn is_near() -> bool {
    #[cfg(any(test, feature = "fuzzing"))]
    return LEFT.get().is_some();
    #[cfg(not(any(test, feature = "fuzzing")))]
    false
}

/// Whether this thread gets no memory from now on.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn set(refusing: bool) {
    LEFT.set(refusing.then_some(0));
}

/// This thread gets memory so many times more.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn after(times: usize) {
    LEFT.set(Some(times));
}
