//! The slow log: a bounded list of commands that took long, with their arguments cut short.
//!
//! The logs of large requests and large replies are two more of the same, with bytes in place of microseconds. Thresholds are the executor's.

use std::collections::VecDeque;

/// Arguments kept of one command; the last place tells how many are missing.
const MAX_ARGS: usize = 32;

/// Bytes kept of one argument.
const MAX_ARG_LEN: usize = 128;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowLogEntry {
    /// Number of the entry, counted since the engine was opened; RESET does not restart it.
    pub(crate) id: u64,
    /// Unix time in seconds.
    pub(crate) time: u64,
    /// Microseconds; bytes in the logs of large requests and replies.
    pub(crate) value: u64,
    /// The arguments, cut short.
    pub(crate) args: Vec<Vec<u8>>,
    /// The client's address; empty for sessions within the process.
    pub(crate) client_addr: String,
    /// The client's name.
    pub(crate) client_name: Vec<u8>,
}

/// A log of at most so many entries as it was told at each call.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    /// Newest first.
    entries: VecDeque<SlowLogEntry>,
    next_id: u64,
}

impl SlowLog {
    /// Adds an entry and drops the oldest above `max_len` (`slowlog-max-len`). O(bytes kept of the arguments).
    pub(crate) fn push<'a>(
        &mut self,
        max_len: usize,
        time: u64,
        value: u64,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        client_addr: &str,
        client_name: &[u8],
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let (client_addr, client_name) = (client_addr.to_owned(), client_name.to_vec());
        self.entries.push_front(SlowLogEntry {
            id,
            time,
            value,
            args: shortened(args),
            client_addr,
            client_name,
        });
        self.entries.truncate(max_len);
    }

    /// The newest entries, at most `count`; all with `None`.
    pub(crate) fn get(&self, count: Option<usize>) -> impl ExactSizeIterator<Item = &SlowLogEntry> {
        self.entries.iter().take(count.unwrap_or(usize::MAX))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets all entries.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
    }
}

fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = args.len();
    let kept = if count > MAX_ARGS { MAX_ARGS - 1 } else { count };
    let mut short: Vec<Vec<u8>> = args.take(kept).map(shortened_arg).collect();
    if count > kept {
        short.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    short
}

fn shortened_arg(arg: &[u8]) -> Vec<u8> {
    match arg.split_at_checked(MAX_ARG_LEN) {
        Some((kept, rest)) if !rest.is_empty() => {
            [kept, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
        }
        _ => arg.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logged(args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut log = SlowLog::default();
        log.push(1, 0, 0, args.iter().map(Vec::as_slice), "", b"");
        log.get(None).next().unwrap().args.clone()
    }

    #[test]
    fn arguments_are_cut_as_the_server_does() {
        let numbers =
            |count: usize| -> Vec<Vec<u8>> { (0..count).map(|n| n.to_string().into_bytes()).collect() };
        assert_eq!(logged(&numbers(32)), numbers(32));
        let cut = logged(&numbers(33));
        assert_eq!(
            (cut.len(), cut[30].as_slice(), cut[31].as_slice()),
            (32, &b"30"[..], &b"... (2 more arguments)"[..])
        );
        assert_eq!(logged(&[vec![b'x'; 128]]), [vec![b'x'; 128]]);
        let cut = logged(&[vec![b'x'; 1000]]);
        assert_eq!(cut, [[&[b'x'; 128][..], b"... (872 more bytes)"].concat()]);
    }

    #[test]
    fn newest_come_first_and_numbers_go_on() {
        let mut log = SlowLog::default();
        for value in 0..5 {
            log.push(3, 1_000, value, [&b"ping"[..]].into_iter(), "127.0.0.1:1", b"name");
        }
        let ids: Vec<u64> = log.get(Some(2)).map(|entry| entry.id).collect();
        assert_eq!((ids, log.len()), (vec![4, 3], 3));
        assert_eq!(log.get(None).next().unwrap().client_addr, "127.0.0.1:1");
        log.reset();
        assert_eq!(log.len(), 0);
        log.push(3, 1_000, 0, [&b"ping"[..]].into_iter(), "", b"");
        assert_eq!(log.get(None).next().unwrap().id, 5);
        log.push(0, 1_000, 0, [&b"ping"[..]].into_iter(), "", b"");
        assert_eq!(log.len(), 0);
    }

    proptest! {
        #[test]
        fn entries_are_bounded(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..60)) {
            let cut = logged(&args);
            prop_assert!(cut.len() <= 32);
            prop_assert!(cut.iter().all(|arg| arg.len() <= 128 + "... (000 more bytes)".len()));
            prop_assert_eq!(cut.len(), args.len().min(32));
        }
    }
}
