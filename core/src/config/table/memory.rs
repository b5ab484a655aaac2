//! Options: memory, eviction, expiry and lazy freeing.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::super::policies::MAXMEMORY_POLICIES;
use super::{ANY_MEMORY, MAX_MEMORY, NATURAL, NATURAL_32, POSITIVE, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("maxmemory", ANY_MEMORY, "0", "Bytes the data may use before eviction starts; 0 is no limit.")
        .applied(),
    option(
        "maxmemory-policy",
        Kind::Choice(MAXMEMORY_POLICIES),
        "noeviction",
        "Which entries are evicted when the limit is reached.",
    )
    .applied(),
    option(
        "maxmemory-samples",
        Kind::Int { min: 1, max: 64 },
        "5",
        "How many entries are looked at to find one to evict.",
    )
    .applied(),
    option(
        "maxmemory-eviction-tenacity",
        Kind::Int { min: 0, max: 100 },
        "10",
        "How long eviction may delay a command: 0 least, 100 without bound.",
    )
    .applied(),
    option(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        "0",
        "Bytes, or percent of maxmemory, that all clients' buffers may use; 0 is no limit.",
    )
    .applied(),
    option(
        "lfu-log-factor",
        NATURAL_32,
        "10",
        "How many accesses saturate the frequency counter: more with a greater factor.",
    )
    .applied(),
    option(
        "lfu-decay-time",
        NATURAL_32,
        "1",
        "Minutes after which the frequency counter of an idle entry goes down by one.",
    )
    .applied(),
    option(
        "active-expire-effort",
        Kind::Int { min: 1, max: 10 },
        "1",
        "How much time active expiry may take, from 1 to 10.",
    )
    .applied(),
    option("hz", NATURAL_32, "10", "Runs of the background tasks per second, from 1 to 500.").applied(),
    option("lazyfree-lazy-eviction", Kind::Bool, "yes", "Free evicted values in the background.").applied(),
    option("lazyfree-lazy-expire", Kind::Bool, "yes", "Free expired values in the background.").applied(),
    option(
        "lazyfree-lazy-server-del",
        Kind::Bool,
        "yes",
        "Free values that a write replaces in the background.",
    )
    .applied(),
    option("lazyfree-lazy-user-del", Kind::Bool, "yes", "Let DEL free in the background as UNLINK does.")
        .applied(),
    option(
        "lazyfree-lazy-user-flush",
        Kind::Bool,
        "yes",
        "Let FLUSHDB and FLUSHALL free in the background unless they say SYNC.",
    )
    .applied(),
    option("activedefrag", Kind::Bool, "no", "Compact memory while serving.")
        .inert("memory is always kept compact"),
    option(
        "active-defrag-cycle-min",
        Kind::Int { min: 1, max: 99 },
        "1",
        "Least effort of compaction in percent of processor time.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-cycle-max",
        Kind::Int { min: 1, max: 99 },
        "25",
        "Greatest effort of compaction in percent of processor time.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-cycle-us",
        Kind::Int { min: 0, max: 100_000 },
        "500",
        "Length of one step of compaction in microseconds.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-ignore-bytes",
        Kind::Memory { min: 1, max: MAX_MEMORY },
        "104857600",
        "Bytes of waste below which compaction does not start.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-max-scan-fields",
        POSITIVE,
        "1000",
        "Fields of a collection handled in one step; larger ones in a separate pass.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-threshold-lower",
        Kind::Int { min: 0, max: 1_000 },
        "10",
        "Percent of waste at which compaction starts.",
    )
    .inert("memory is always kept compact"),
    option(
        "active-defrag-threshold-upper",
        Kind::Int { min: 0, max: 1_000 },
        "100",
        "Percent of waste at which compaction takes its greatest effort.",
    )
    .inert("memory is always kept compact"),
    option("activerehashing", Kind::Bool, "yes", "Rehash tables in idle time too.")
        .inert("tables grow and shrink with each write, and never all at once"),
    option(
        "jemalloc-bg-thread",
        Kind::Bool,
        "yes",
        "Let the allocator return memory in a thread of its own.",
    )
    .inert("the allocator is the host process's"),
    option(
        "tracking-table-max-keys",
        NATURAL,
        "1000000",
        "Keys remembered for client side caching; 0 is no limit.",
    )
    .applied(),
    option("import-mode", Kind::Bool, "no", "Keep expired keys as during an import from another server.")
        .applied(),
];
