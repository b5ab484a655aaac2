//! Waiting in tests for what has to come.

use std::time::Duration;

use crate::clock::Clock;
use crate::fork::forks;

/// As long as anything takes that has to come, on a busy machine.
pub(crate) const SOME_TIME: Duration = Duration::from_secs(20);

/// Looks every millisecond until something is so, for [`SOME_TIME`].
///
/// Time in which a test of this process forks does not count: all engines are held then, and the system may take as long to make a process. A thread or a process
/// can't begin or end while any is moved to another control group, which waits for every processor to pass by; on a machine of two with thirty
/// threads at work that took 6 s while we measured, for all processes at once, and was the cause of tests that failed after 20 s.
///
/// # Panics
/// In vain: `what` says for what.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut waited = Duration::ZERO;
    while !is_so() {
        assert!(waited < SOME_TIME, "in vain: {what}");
        let (before, timer) = (forks::ended(), Clock::system().timer());
        std::thread::sleep(Duration::from_millis(1));
        if before.is_some() && forks::ended() == before {
            waited += timer.elapsed();
        }
    }
}
