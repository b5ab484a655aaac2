//! What one option is: its name, kind, default, and whether the engine honours it.
//!
//! The options themselves are listed in `table.rs` and its themes; parsing and formatting of values is `value.rs`'s.

use super::check;

/// When an option can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutability {
    /// At any time, by CONFIG SET.
    Mutable,
    /// Only in the file or on the command line.
    Immutable,
    /// By CONFIG SET only where `enable-protected-configs` allows it.
    Protected,
}

/// Whether the engine honours an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    /// It does what it says.
    Applied,
    /// It is stored and reported, but has no effect in an embedded engine.
    Accepted,
    /// Any value but the default is refused.
    Refused,
}

/// What values an option takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `yes` or `no`.
    Bool,
    /// An integer within the bounds, both inclusive.
    Int {
        /// Least value taken.
        min: i64,
        /// Greatest value taken.
        max: i64,
    },
    /// File permissions in octal digits, up to 777.
    Octal,
    /// A number of bytes within the bounds, units allowed.
    Memory {
        /// Least value taken.
        min: u64,
        /// Greatest value taken.
        max: u64,
    },
    /// A number of bytes, or percent of `maxmemory`.
    MemoryOrPercent,
    /// One of the words.
    Choice(&'static [&'static str]),
    /// Any of the words but the first, which stands for none of the others (what a process does at SIGINT and SIGTERM).
    ShutdownFlags(&'static [&'static str]),
    /// A string that passes the check.
    Text(check::Check),
    /// Several strings.
    Words {
        /// How many at most.
        max: usize,
    },
    /// Pairs of seconds and changes.
    Save,
    /// Hard limit, soft limit and seconds for each class of clients.
    BufferLimits,
    /// Three scores between -2000 and 2000.
    OomScores,
    /// Letters of the classes of keyspace events.
    KeyspaceEvents,
    /// Percentiles between 0 and 100.
    Percentiles,
    /// Host and port of a primary.
    ReplicaOf,
}

impl Kind {
    /// Whether several arguments make one value.
    pub(super) fn takes_many(&self) -> bool {
        matches!(
            self,
            Self::ShutdownFlags(_)
                | Self::Words { .. }
                | Self::Save
                | Self::BufferLimits
                | Self::OomScores
                | Self::Percentiles
                | Self::ReplicaOf
        )
    }
}

/// One row of the table of options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionSpec {
    /// The name that CONFIG REWRITE writes.
    pub(crate) name: &'static str,
    /// An older name for the same option.
    pub(crate) alias: Option<&'static str>,
    /// What values it takes.
    pub(crate) kind: Kind,
    /// The default as CONFIG GET prints it.
    pub(crate) default: &'static str,
    /// When it can be set.
    pub(crate) mutability: Mutability,
    /// Whether the engine honours it.
    pub(crate) applies: Applies,
    summary: &'static str,
    /// Why it has no effect; empty if it has.
    why_inert: &'static str,
}

impl OptionSpec {
    /// A mutable option without effect; the methods below refine it.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            alias: None,
            kind,
            default,
            mutability: Mutability::Mutable,
            applies: Applies::Accepted,
            summary,
            why_inert: "",
        }
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub(super) const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    pub(super) const fn protected(mut self) -> Self {
        self.mutability = Mutability::Protected;
        self
    }

    pub(super) const fn applied(mut self) -> Self {
        self.applies = Applies::Applied;
        self
    }

    /// It has no effect, for a reason that is worded to follow a colon.
    pub(super) const fn inert(mut self, why: &'static str) -> Self {
        self.why_inert = why;
        self
    }

    pub(super) const fn refused(mut self) -> Self {
        self.applies = Applies::Refused;
        self
    }

    /// What the option is for, in one line that also says where it has no effect.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the generated page of options"))]
    pub(crate) fn doc(&self) -> String {
        let effect = match self.applies {
            Applies::Applied => String::new(),
            Applies::Accepted => format!(" Accepted and reported, without effect: {}.", self.why_inert),
            Applies::Refused => " Refused: only the default is taken.".to_owned(),
        };
        format!("{}{effect}", self.summary)
    }

    /// What whoever has set the option should know: that it has no effect, and why. Nothing if it has.
    pub(crate) fn warning(&self) -> Option<String> {
        let is_inert = self.applies == Applies::Accepted;
        is_inert.then(|| format!("The option {} has no effect: {}.", self.name, self.why_inert))
    }
}
