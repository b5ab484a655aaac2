//! The one table of options: every name that CONFIG GET prints, by themes.
//!
//! Their values are kept in `config.rs`; each theme's rows are in a file of its own.

mod cluster;
mod memory;
mod network;
mod observe;
mod persistence;
mod process;
mod replication;
mod tls;
mod types;

use std::{collections::HashMap, sync::LazyLock};

use super::{
    check,
    spec::{Kind, OptionSpec},
};

/// Bounds that many options share.
const NATURAL: Kind = Kind::Int { min: 0, max: i64::MAX };
const POSITIVE: Kind = Kind::Int { min: 1, max: i64::MAX };
const FROM_MINUS_ONE: Kind = Kind::Int { min: -1, max: i64::MAX };
const INTEGER_32: Kind = Kind::Int { min: i32::MIN as i64, max: i32::MAX as i64 };
const NATURAL_32: Kind = Kind::Int { min: 0, max: i32::MAX as i64 };
const POSITIVE_32: Kind = Kind::Int { min: 1, max: i32::MAX as i64 };
const PORT: Kind = Kind::Int { min: 0, max: 65535 };
const MAX_MEMORY: u64 = i64::MAX as u64;
const MEMORY: Kind = Kind::Memory { min: 0, max: MAX_MEMORY };
const ANY_MEMORY: Kind = Kind::Memory { min: 0, max: u64::MAX };
const TEXT: Kind = Kind::Text(check::anything);

/// Options that the server does not have.
pub(super) const OURS: &[&str] = &[
    "max-reply-bytes",
    "backup-schedule",
    "backup-keep",
    "base-format",
    "snapshot-map",
    "snapshot-verify-at-open",
];

const SHUTDOWN_FLAGS: &[&str] = &["default", "save", "nosave", "now", "force"];

const fn option(name: &'static str, kind: Kind, default: &'static str, summary: &'static str) -> OptionSpec {
    OptionSpec::new(name, kind, default, summary)
}

/// All options in the order they are listed.
pub(crate) static OPTIONS: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
    [
        memory::OPTIONS,
        types::OPTIONS,
        persistence::OPTIONS,
        network::OPTIONS,
        observe::OPTIONS,
        process::OPTIONS,
        replication::OPTIONS,
        cluster::OPTIONS,
        tls::OPTIONS,
    ]
    .concat()
});

static INDEX: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let names =
        |(index, spec): (usize, &OptionSpec)| [Some(spec.name), spec.alias].map(|name| Some((name?, index)));
    OPTIONS.iter().enumerate().flat_map(names).flatten().collect()
});

/// Makes the tables of options now, or waits until they are made, and not at their first use.
pub(crate) fn make_tables() {
    LazyLock::force(&INDEX);
    LazyLock::force(&super::values::DEFAULTS);
}

/// The place in [`OPTIONS`] of the option called `name` or known as it formerly, in any case.
pub(crate) fn find(name: &[u8]) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    INDEX.get(std::str::from_utf8(&name).ok()?).copied()
}
