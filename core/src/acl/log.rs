//! The log of what was refused: entries that are alike are one, with a count.

use std::collections::VecDeque;

/// Entries that are alike are one for so long.
const GROUPED_MS: u64 = 60_000;

/// Where a call came from that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, outside of a transaction.
    TopLevel,
    /// A client's transaction.
    Transaction,
    /// A script.
    #[cfg_attr(not(feature = "scripting"), expect(dead_code, reason = "there are no scripts"))]
    Script,
}

impl Origin {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Transaction => "multi",
            Self::Script => "lua",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) count: u64,
    /// What was refused: `command`, `key`, `channel`, `database` or `auth`.
    pub(crate) reason: &'static str,
    pub(crate) origin: Origin,
    /// The command, key, channel or database.
    pub(crate) object: Vec<u8>,
    pub(crate) user: Vec<u8>,
    /// The client, as CLIENT LIST describes it.
    pub(crate) client: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// The log, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    next: u64,
}

impl Log {
    /// Adds what its caller knows of an entry: not its number, nor its count.
    pub(crate) fn add(&mut self, entry: Entry, most: usize) {
        if most == 0 {
            self.entries.clear();
            return;
        }
        let is_alike = |own: &Entry| {
            own.reason == entry.reason
                && own.origin == entry.origin
                && entry.created_ms.saturating_sub(own.updated_ms) <= GROUPED_MS
                && own.object == entry.object
                && own.user == entry.user
        };
        let entry = match self.entries.iter().position(is_alike).and_then(|at| self.entries.remove(at)) {
            Some(earlier) => Entry {
                number: earlier.number,
                count: earlier.count + 1,
                created_ms: earlier.created_ms,
                updated_ms: entry.created_ms,
                ..entry
            },
            None => {
                let number = self.next;
                self.next += 1;
                Entry { number, count: 1, ..entry }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(most);
    }

    /// The newest entries, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.iter().take(count).cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
