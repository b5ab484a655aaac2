//! A call as permissions see it, and why one is refused.

/// What a call does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// It gets to know the value.
    pub(crate) reads: bool,
    /// It changes the value.
    pub(crate) writes: bool,
}

/// What a call touches. Positions are those of its words.
pub(crate) struct Call<'a> {
    /// The number of the command.
    pub(crate) command: usize,
    /// Whoever has not even authenticated may make it.
    pub(crate) is_free: bool,
    pub(crate) words: &'a [&'a [u8]],
    /// Where its keys stand, and what happens to them.
    pub(crate) keys: &'a [(usize, Access)],
    /// Where its channels stand.
    pub(crate) channels: &'a [usize],
    /// The channels are patterns, which have to be allowed as they are written.
    pub(crate) are_patterns: bool,
    /// The databases that it names, and where.
    pub(crate) databases: &'a [(usize, usize)],
    /// The database that it works on as the session's.
    pub(crate) database: Option<usize>,
    /// It is about all databases.
    pub(crate) is_about_all: bool,
}

/// What is not allowed. Of several refusals the later one in this order tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A database.
    Database,
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

/// What is not allowed, and the word that it is about; the first for the command and for the session's own database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) at: usize,
}
