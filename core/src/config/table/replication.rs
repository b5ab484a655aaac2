//! Options: replication, which an engine inside a process does not do.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{MAX_MEMORY, NATURAL, NATURAL_32, PORT, POSITIVE_32, TEXT, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("replicaof", Kind::ReplicaOf, "", "Primary to copy.").alias("slaveof").immutable().refused(),
    option("primaryauth", TEXT, "", "Password for the primary.")
        .alias("masterauth")
        .inert("there are no replicas"),
    option("primaryuser", TEXT, "", "User for the primary.")
        .alias("masteruser")
        .inert("there are no replicas"),
    option(
        "replica-serve-stale-data",
        Kind::Bool,
        "yes",
        "Let a replica answer while it has lost its primary.",
    )
    .alias("slave-serve-stale-data")
    .inert("there are no replicas"),
    option("replica-read-only", Kind::Bool, "yes", "Let a replica refuse writes.")
        .alias("slave-read-only")
        .inert("there are no replicas"),
    option("replica-priority", NATURAL_32, "100", "Priority of a replica in a failover; 0 is never.")
        .alias("slave-priority")
        .inert("there are no replicas"),
    option("replica-announced", Kind::Bool, "yes", "Show the replica to Sentinel.")
        .inert("there are no replicas"),
    option("replica-announce-ip", TEXT, "", "Address a replica says it has.")
        .alias("slave-announce-ip")
        .inert("there are no replicas"),
    option("replica-announce-port", PORT, "0", "Port a replica says it has.")
        .alias("slave-announce-port")
        .inert("there are no replicas"),
    option(
        "replica-ignore-maxmemory",
        Kind::Bool,
        "yes",
        "Let a replica evict only what its primary evicts.",
    )
    .alias("slave-ignore-maxmemory")
    .inert("there are no replicas"),
    option(
        "replica-ignore-disk-write-errors",
        Kind::Bool,
        "no",
        "Let a replica go on after it failed to write to disk.",
    )
    .inert("there are no replicas"),
    option("replica-lazy-flush", Kind::Bool, "yes", "Let a replica free its old data in the background.")
        .alias("slave-lazy-flush")
        .inert("there are no replicas"),
    option("repl-timeout", POSITIVE_32, "60", "Seconds after which a replication link counts as lost.")
        .inert("there are no replicas"),
    option("repl-ping-replica-period", POSITIVE_32, "10", "Seconds between a primary's pings.")
        .alias("repl-ping-slave-period")
        .inert("there are no replicas"),
    option(
        "repl-backlog-size",
        Kind::Memory { min: 1, max: MAX_MEMORY },
        "10485760",
        "Bytes kept for replicas that come back.",
    )
    .inert("there are no replicas"),
    option("repl-backlog-ttl", NATURAL, "3600", "Seconds after which the backlog is freed without replicas.")
        .inert("there are no replicas"),
    option("repl-disable-tcp-nodelay", Kind::Bool, "no", "Send to replicas in larger packets.")
        .inert("there are no replicas"),
    option("repl-mptcp", Kind::Bool, "no", "Connect to the primary with multipath TCP.")
        .immutable()
        .inert("there are no replicas"),
    option("repl-diskless-sync", Kind::Bool, "yes", "Send snapshots to replicas without a file.")
        .inert("there are no replicas"),
    option("repl-diskless-sync-delay", NATURAL_32, "5", "Seconds to wait for further replicas.")
        .inert("there are no replicas"),
    option(
        "repl-diskless-sync-max-replicas",
        NATURAL_32,
        "0",
        "Replicas at which waiting ends; 0 is no limit.",
    )
    .inert("there are no replicas"),
    option(
        "repl-diskless-load",
        Kind::Choice(&["disabled", "on-empty-db", "swapdb", "flush-before-load"]),
        "disabled",
        "How a replica loads a snapshot without a file.",
    )
    .inert("there are no replicas"),
    option(
        "dual-channel-replication-enabled",
        Kind::Bool,
        "no",
        "Send snapshot and changes over two connections.",
    )
    .inert("there are no replicas"),
    option("min-replicas-to-write", NATURAL_32, "0", "Replicas below which writes are refused; 0 is none.")
        .alias("min-slaves-to-write")
        .inert("there are no replicas"),
    option("min-replicas-max-lag", NATURAL_32, "10", "Seconds of lag up to which a replica counts.")
        .alias("min-slaves-max-lag")
        .inert("there are no replicas"),
    option(
        "propagation-error-behavior",
        Kind::Choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        "What a replica does about a command that fails.",
    )
    .inert("there are no replicas"),
];
