//! What a command declares about itself: one [`Spec`] per command, written by `derive(Command)`.
//!
//! Dispatch, COMMAND, ACL categories, key extraction, docs and bindings read these; none of them keeps a list of its own.

/// Declares a set type over single bits with their wire names.
macro_rules! bit_names {
    ($(#[$doc:meta])* $set:ident: $repr:ty { $( $(#[$item:meta])* $bit:ident = $shift:literal, $name:literal; )* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set($repr);

        #[allow(missing_docs, reason = "each bit is Valkey's flag of the same name")]
        impl $set {
            $( $(#[$item])* pub const $bit: $set = $set(1 << $shift); )*

            /// No bit.
            pub const NONE: $set = $set(0);

            const NAMES: &[($set, &str)] = &[$( ($set::$bit, $name), )*];

            /// Both sets together.
            pub const fn with(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// The bits that are not in `other`.
            pub const fn without(self, other: $set) -> $set {
                $set(self.0 & !other.0)
            }

            /// Whether every bit of `other` is in this set.
            pub const fn contains(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// The wire names of the bits in this set, in the server's order.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }

            /// The bit of a wire name.
            pub fn from_name(name: &[u8]) -> Option<$set> {
                Self::NAMES.iter().find(|(_, own)| own.as_bytes().eq_ignore_ascii_case(name)).map(|(bit, _)| *bit)
            }

            /// Every bit with its wire name.
            pub fn all() -> &'static [($set, &'static str)] {
                Self::NAMES
            }
        }
    };
}

bit_names! {
    /// Command flags, as COMMAND INFO prints them.
    Flags: u32 {
        WRITE = 0, "write";
        READONLY = 1, "readonly";
        DENYOOM = 2, "denyoom";
        ADMIN = 3, "admin";
        PUBSUB = 4, "pubsub";
        NOSCRIPT = 5, "noscript";
        BLOCKING = 6, "blocking";
        LOADING = 7, "loading";
        STALE = 8, "stale";
        SKIP_MONITOR = 9, "skip_monitor";
        NO_MANDATORY_KEYS = 19, "no_mandatory_keys";
        SKIP_COMMANDLOG = 10, "skip_commandlog";
        ASKING = 18, "asking";
        FAST = 11, "fast";
        NO_AUTH = 12, "no_auth";
        MAY_REPLICATE = 13, "may_replicate";
        NO_ASYNC_LOADING = 14, "no_async_loading";
        NO_MULTI = 15, "no_multi";
        MOVABLEKEYS = 16, "movablekeys";
        ALLOW_BUSY = 17, "allow_busy";
    }
}

impl Flags {
    /// Needs an option to be allowed at all, such as `enable-debug-command`. It has no name on the wire.
    pub const PROTECTED: Flags = Flags(1 << 31);

    /// Is for tests and other internals; COMMAND DOCS says so with the flag `syscmd`.
    pub const SYSCMD: Flags = Flags(1 << 30);
}

bit_names! {
    /// ACL categories, without the `@`.
    Categories: u32 {
        KEYSPACE = 0, "keyspace";
        READ = 1, "read";
        WRITE = 2, "write";
        SET = 3, "set";
        SORTEDSET = 4, "sortedset";
        LIST = 5, "list";
        HASH = 6, "hash";
        STRING = 7, "string";
        BITMAP = 8, "bitmap";
        HYPERLOGLOG = 9, "hyperloglog";
        GEO = 10, "geo";
        STREAM = 11, "stream";
        PUBSUB = 12, "pubsub";
        ADMIN = 13, "admin";
        FAST = 14, "fast";
        SLOW = 15, "slow";
        BLOCKING = 16, "blocking";
        DANGEROUS = 17, "dangerous";
        CONNECTION = 18, "connection";
        TRANSACTION = 19, "transaction";
        SCRIPTING = 20, "scripting";
    }
}

bit_names! {
    /// What a command does to the keys of one key spec.
    KeyFlags: u16 {
        RO = 0, "RO";
        RW = 1, "RW";
        OW = 2, "OW";
        RM = 3, "RM";
        ACCESS = 4, "access";
        UPDATE = 5, "update";
        INSERT = 6, "insert";
        DELETE = 7, "delete";
        NOT_KEY = 8, "not_key";
        INCOMPLETE = 9, "incomplete";
        VARIABLE_FLAGS = 10, "variable_flags";
    }
}

/// Command groups of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after Valkey's groups")]
pub enum Group {
    String,
    Generic,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Bitmap,
    HyperLogLog,
    Geo,
    PubSub,
    Transactions,
    Scripting,
    Connection,
    Server,
    Cluster,
}

impl Group {
    /// The name as COMMAND DOCS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }

    /// The ACL category that every command of the group carries, if the group has one.
    const fn category(self) -> Categories {
        match self {
            Group::String => Categories::STRING,
            Group::Generic => Categories::KEYSPACE,
            Group::Hash => Categories::HASH,
            Group::List => Categories::LIST,
            Group::Set => Categories::SET,
            Group::SortedSet => Categories::SORTEDSET,
            Group::Stream => Categories::STREAM,
            Group::Bitmap => Categories::BITMAP,
            Group::HyperLogLog => Categories::HYPERLOGLOG,
            Group::Geo => Categories::GEO,
            Group::Transactions => Categories::TRANSACTION,
            Group::Scripting => Categories::SCRIPTING,
            Group::Connection => Categories::CONNECTION,
            // Those about messages have a flag, and its category.
            Group::PubSub | Group::Server | Group::Cluster => Categories::NONE,
        }
    }
}

/// Where a key spec starts looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    /// At an argument position; 0 is the command's name.
    Index(usize),
    /// After the first occurrence of a keyword, searching from a position (negative: from the end).
    Keyword(&'static str, i32),
    /// Nobody can tell before the command runs.
    Unknown,
}

/// How the keys follow from there. Positions count from the start that [`BeginSearch`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// Up to `last` (negative: from the end of the arguments), every `step`th, at most 1/`limit` of them.
    Range {
        /// Last key, relative to the start, or from the end when negative.
        last: i32,
        /// Distance between keys.
        step: usize,
        /// Divisor of the argument count when `last` is -1; 0 and 1 mean no limit.
        limit: usize,
    },
    /// An argument holds the number of keys.
    KeyNum {
        /// Position of the number.
        at: usize,
        /// Position of the first key.
        first: usize,
        /// Distance between keys.
        step: usize,
    },
    /// Nobody can tell before the command runs.
    Unknown,
}

/// One key spec, as in COMMAND INFO.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Where to start.
    pub begin: BeginSearch,
    /// Which arguments are keys from there.
    pub find: FindKeys,
    /// What happens to these keys.
    pub flags: KeyFlags,
    /// A remark for the documentation, or empty.
    pub notes: &'static str,
}

/// Valkey's argument types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after Valkey's argument types")]
pub enum ArgKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgKind {
    /// The name as COMMAND DOCS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            ArgKind::String => "string",
            ArgKind::Integer => "integer",
            ArgKind::Double => "double",
            ArgKind::Key => "key",
            ArgKind::Pattern => "pattern",
            ArgKind::UnixTime => "unix-time",
            ArgKind::PureToken => "pure-token",
            ArgKind::OneOf => "oneof",
            ArgKind::Block => "block",
        }
    }
}

/// One argument in the tree that COMMAND DOCS prints.
#[derive(Clone, Copy, Debug)]
pub struct ArgSpec {
    /// Lower-case name with hyphens.
    pub name: &'static str,
    /// What to show for the value in a usage line, if not the name.
    pub display: Option<&'static str>,
    /// The type.
    pub kind: ArgKind,
    /// The keyword before the value, or the keyword that is the argument.
    pub token: Option<&'static str>,
    /// Which key spec finds it, for keys.
    pub key_spec: Option<usize>,
    /// Version that added it, or empty.
    pub since: &'static str,
    /// Version that made it obsolete, or empty.
    pub deprecated_since: &'static str,
    /// May be left out.
    pub optional: bool,
    /// May stand several times.
    pub multiple: bool,
    /// The token is repeated with each value.
    pub multiple_token: bool,
    /// What it is made of.
    pub args: &'static [ArgSpec],
}

impl ArgSpec {
    /// A required string argument without anything special; the derive overrides what differs.
    pub const PLAIN: ArgSpec = ArgSpec {
        name: "",
        display: None,
        kind: ArgKind::String,
        token: None,
        key_spec: None,
        since: "",
        deprecated_since: "",
        optional: false,
        multiple: false,
        multiple_token: false,
        args: &[],
    };
}

/// No word of a command is a secret.
pub fn nothing_secret(_: &[&[u8]]) -> Vec<usize> {
    Vec::new()
}

/// What is shown of the words of a command: something else instead of its secrets.
pub(crate) fn shown<'w>(spec: &Spec, argv: &[&'w [u8]]) -> Vec<&'w [u8]> {
    let mut words = argv.to_vec();
    for at in (spec.secrets)(argv) {
        words[at] = b"(redacted)";
    }
    words
}

/// Everything a command declares.
pub struct Spec {
    /// Lower-case name; subcommands as `container|name`.
    pub name: &'static str,
    /// One sentence: the first of the struct's doc comment.
    pub summary: &'static str,
    /// Version of Valkey (or its ancestor) that has it first.
    pub since: &'static str,
    /// Documentation group.
    pub group: Group,
    /// Complexity, in the server's notation.
    pub complexity: &'static str,
    /// Number of arguments with the name; negative: at least as many.
    pub arity: i32,
    /// Flags.
    pub flags: Flags,
    /// ACL categories beside those that flags and group imply.
    pub extra_categories: Categories,
    /// Command tips.
    pub tips: &'static [&'static str],
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// The argument tree.
    pub args: &'static [ArgSpec],
    /// Version and change, oldest first.
    pub history: &'static [(&'static str, &'static str)],
    /// Since when deprecated, and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Declared reply shape, in the language of [`super::shape`].
    pub reply: &'static str,
    /// Positions of words in an argv that are shown to nobody, as passwords.
    pub secrets: fn(&[&[u8]]) -> Vec<usize>,
    /// Needs every shard: its keys aren't known beforehand, or it is about all of them.
    pub whole_keyspace: bool,
    /// Works outside of the engine, so that a transaction, which holds locks from its first command to its last, cannot have it.
    pub outside: bool,
    /// Only holds subcommands.
    pub container: bool,
}

impl Spec {
    /// All ACL categories: declared, and implied by flags and group.
    pub fn categories(&self) -> Categories {
        const IMPLIED: &[(Flags, Categories)] = &[
            (Flags::WRITE, Categories::WRITE),
            (Flags::ADMIN, Categories::ADMIN.with(Categories::DANGEROUS)),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::FAST, Categories::FAST),
            (Flags::BLOCKING, Categories::BLOCKING),
        ];
        let mut all = self.extra_categories;
        if self.has_group_category() {
            all = all.with(self.group.category());
        }
        for (flag, category) in IMPLIED {
            if self.flags.contains(*flag) {
                all = all.with(*category);
            }
        }
        let scripting = self.extra_categories.contains(Categories::SCRIPTING);
        if self.flags.contains(Flags::READONLY) && !scripting {
            all = all.with(Categories::READ);
        }
        if !all.contains(Categories::FAST) {
            all = all.with(Categories::SLOW);
        }
        all
    }

    /// A container has only what it declares, as has a generic command that belongs to data types or connections.
    fn has_group_category(&self) -> bool {
        const ELSEWHERE: [Categories; 4] =
            [Categories::LIST, Categories::SET, Categories::SORTEDSET, Categories::CONNECTION];
        let elsewhere = ELSEWHERE.iter().any(|own| self.extra_categories.contains(*own));
        !self.container && (self.group != Group::Generic || !elsewhere)
    }

    /// Whether `count` arguments, the name included, satisfy the arity.
    pub fn arity_allows(&self, count: usize) -> bool {
        let count = count as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }

    /// The name without its container.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec").field("name", &self.name).field("arity", &self.arity).finish_non_exhaustive()
    }
}
