//! Which commands are remarkable: those for the three command logs and for the latency monitor.

use std::time::Duration;

use super::run::Found;
use super::spec::{Flags, shown};
use crate::clients::SessionState;
use crate::commandlog::Log;
use crate::local::Local;

impl Local {
    /// Puts a command that was executed on the logs and into the latency monitor where it passes their thresholds. `replied` is
    /// the length of its reply in bytes.
    #[inline]
    pub(crate) fn note_if_remarkable(
        &self,
        found: &Found,
        argv: &[&[u8]],
        elapsed: Duration,
        replied: usize,
        session: &SessionState,
    ) {
        let hot = self.config.hot();
        let microseconds = elapsed.as_micros() as i64;
        let passes = |value: i64, threshold: i64| threshold >= 0 && value >= threshold;
        if passes(microseconds, hot.slowlog_log_slower_than()) {
            self.log_command(Log::Slow, found, argv, microseconds as u64, session);
        }
        if passes(replied as i64, hot.commandlog_reply_larger_than()) {
            self.log_command(Log::LargeReply, found, argv, replied as u64, session);
        }
        let limit = hot.commandlog_request_larger_than();
        if limit >= 0 && request_may_reach(argv, limit) {
            let bytes = request_bytes(argv);
            if passes(bytes as i64, limit) {
                self.log_command(Log::LargeRequest, found, argv, bytes as u64, session);
            }
        }
        let event = if found.spec.flags.contains(Flags::FAST) { "fast-command" } else { "command" };
        self.note_latency(event, elapsed);
    }

    #[cold]
    fn log_command(&self, log: Log, found: &Found, argv: &[&[u8]], value: u64, session: &SessionState) {
        if found.spec.flags.contains(Flags::SKIP_COMMANDLOG) {
            return;
        }
        let hot = self.config.hot();
        let max_len = match log {
            Log::Slow => hot.slowlog_max_len(),
            Log::LargeRequest => hot.commandlog_large_request_max_len(),
            Log::LargeReply => hot.commandlog_large_reply_max_len(),
        };
        if max_len == 0 {
            return;
        }
        let name = session.info.names.lock().name.clone();
        let now_s = self.keyspace.clock.now_ms() / 1000;
        let peer = session.info.address.peer();
        self.command_logs.of(log).lock().push(
            max_len,
            now_s,
            value,
            shown(found.spec, argv).into_iter(),
            &peer,
            name.as_bytes(),
        );
    }
}

/// Cheap first look at [`request_bytes`]: no frame of an argument is longer than 32 bytes.
#[inline]
fn request_may_reach(argv: &[&[u8]], limit: i64) -> bool {
    const FRAME: usize = 32;
    argv.iter().map(|word| word.len() + FRAME).sum::<usize>() + FRAME > limit as usize
}

/// Bytes of a request as RESP, whether or not it came that way.
fn request_bytes(argv: &[&[u8]]) -> usize {
    let head = |number: usize| 1 + number.checked_ilog10().unwrap_or(0) as usize + 1 + 2;
    head(argv.len()) + argv.iter().map(|word| head(word.len()) + word.len() + 2).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_measured_as_they_stand_on_the_wire() {
        let long = [b'x'; 100];
        let wire = format!("*2\r\n$3\r\nGET\r\n$100\r\n{}\r\n", "x".repeat(100));
        assert_eq!(request_bytes(&[b"GET", &long]), wire.len());
        assert_eq!(request_bytes(&[b""]), "*1\r\n$0\r\n\r\n".len());
        assert!(request_may_reach(&[b"GET", &long], wire.len() as i64));
    }
}
