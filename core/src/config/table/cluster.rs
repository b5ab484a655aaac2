//! Options: cluster mode, which an engine inside a process does not have.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{ANY_MEMORY, MEMORY, NATURAL, NATURAL_32, PORT, POSITIVE_32, TEXT, option};
use crate::config::{
    check,
    spec::{Kind, OptionSpec},
};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("cluster-enabled", Kind::Bool, "no", "Be a node of a cluster.").immutable().refused(),
    option("cluster-config-file", TEXT, "nodes.conf", "File in which a node keeps its view of the cluster.")
        .immutable()
        .inert("there is no cluster"),
    option("cluster-node-timeout", NATURAL, "15000", "Milliseconds after which a node counts as failing.")
        .inert("there is no cluster"),
    option("cluster-port", PORT, "0", "Port of the cluster's bus.").immutable().inert("there is no cluster"),
    option("cluster-announce-ip", TEXT, "", "Address a node says it has.").inert("there is no cluster"),
    option("cluster-announce-client-ipv4", Kind::Text(check::ipv4), "", "IPv4 address a node tells clients.")
        .inert("there is no cluster"),
    option("cluster-announce-client-ipv6", Kind::Text(check::ipv6), "", "IPv6 address a node tells clients.")
        .inert("there is no cluster"),
    option("cluster-announce-client-port", PORT, "0", "Port a node tells clients; 0 is its own.")
        .inert("there is no cluster"),
    option("cluster-announce-client-tls-port", PORT, "0", "TLS port a node tells clients; 0 is its own.")
        .inert("there is no cluster"),
    option("cluster-announce-port", PORT, "0", "Port a node says it has.").inert("there is no cluster"),
    option("cluster-announce-tls-port", PORT, "0", "TLS port a node says it has.")
        .inert("there is no cluster"),
    option("cluster-announce-bus-port", PORT, "0", "Bus port a node says it has.")
        .inert("there is no cluster"),
    option("cluster-announce-hostname", Kind::Text(check::host_name), "", "Host name a node says it has.")
        .inert("there is no cluster"),
    option("cluster-announce-human-nodename", Kind::Text(check::node_name), "", "Name of a node for people.")
        .inert("there is no cluster"),
    option(
        "cluster-preferred-endpoint-type",
        Kind::Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        "What redirections name a node by.",
    )
    .inert("there is no cluster"),
    option("cluster-require-full-coverage", Kind::Bool, "yes", "Refuse queries while a slot has no node.")
        .inert("there is no cluster"),
    option("cluster-allow-reads-when-down", Kind::Bool, "no", "Serve reads while the cluster is down.")
        .inert("there is no cluster"),
    option(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        "Serve shard channels while the cluster is down.",
    )
    .inert("there is no cluster"),
    option(
        "cluster-allow-replica-migration",
        Kind::Bool,
        "yes",
        "Let replicas move to primaries without one.",
    )
    .inert("there is no cluster"),
    option("cluster-migration-barrier", NATURAL_32, "1", "Replicas a primary keeps when others move.")
        .inert("there is no cluster"),
    option("cluster-replica-validity-factor", NATURAL_32, "10", "How stale a replica may be to take over.")
        .alias("cluster-slave-validity-factor")
        .inert("there is no cluster"),
    option("cluster-replica-no-failover", Kind::Bool, "no", "Let a replica never take over by itself.")
        .alias("cluster-slave-no-failover")
        .inert("there is no cluster"),
    option(
        "cluster-manual-failover-timeout",
        POSITIVE_32,
        "5000",
        "Milliseconds a manual failover may take.",
    )
    .inert("there is no cluster"),
    option(
        "cluster-blacklist-ttl",
        Kind::Int { min: i64::MIN, max: i64::MAX },
        "60",
        "Seconds for which a forgotten node stays forgotten.",
    )
    .inert("there is no cluster"),
    option(
        "cluster-link-sendbuf-limit",
        ANY_MEMORY,
        "0",
        "Bytes of a link's buffer at which it is cut off; 0 is no limit.",
    )
    .inert("there is no cluster"),
    option(
        "cluster-config-save-behavior",
        Kind::Choice(&["sync", "best-effort"]),
        "sync",
        "Whether a node stops when it cannot save its view of the cluster.",
    )
    .inert("there is no cluster"),
    option("cluster-databases", POSITIVE_32, "1", "Databases of a node.")
        .immutable()
        .inert("there is no cluster"),
    option("cluster-slot-migration-log-max-len", NATURAL, "1000", "Migrations of slots remembered.")
        .inert("there is no cluster"),
    option(
        "slot-migration-max-failover-repl-bytes",
        MEMORY,
        "0",
        "Bytes a migration may be behind when it ends.",
    )
    .inert("there is no cluster"),
    option("cluster-slot-stats-enabled", Kind::Bool, "no", "Keep statistics by slot.")
        .inert("there is no cluster"),
];
