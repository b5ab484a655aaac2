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
        .immutable(),
    option("cluster-node-timeout", NATURAL, "15000", "Milliseconds after which a node counts as failing."),
    option("cluster-port", PORT, "0", "Port of the cluster's bus.").immutable(),
    option("cluster-announce-ip", TEXT, "", "Address a node says it has."),
    option("cluster-announce-client-ipv4", Kind::Text(check::ipv4), "", "IPv4 address a node tells clients."),
    option("cluster-announce-client-ipv6", Kind::Text(check::ipv6), "", "IPv6 address a node tells clients."),
    option("cluster-announce-client-port", PORT, "0", "Port a node tells clients; 0 is its own."),
    option("cluster-announce-client-tls-port", PORT, "0", "TLS port a node tells clients; 0 is its own."),
    option("cluster-announce-port", PORT, "0", "Port a node says it has."),
    option("cluster-announce-tls-port", PORT, "0", "TLS port a node says it has."),
    option("cluster-announce-bus-port", PORT, "0", "Bus port a node says it has."),
    option("cluster-announce-hostname", Kind::Text(check::host_name), "", "Host name a node says it has."),
    option("cluster-announce-human-nodename", Kind::Text(check::node_name), "", "Name of a node for people."),
    option(
        "cluster-preferred-endpoint-type",
        Kind::Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        "What redirections name a node by.",
    ),
    option("cluster-require-full-coverage", Kind::Bool, "yes", "Refuse queries while a slot has no node."),
    option("cluster-allow-reads-when-down", Kind::Bool, "no", "Serve reads while the cluster is down."),
    option(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        "Serve shard channels while the cluster is down.",
    ),
    option(
        "cluster-allow-replica-migration",
        Kind::Bool,
        "yes",
        "Let replicas move to primaries without one.",
    ),
    option("cluster-migration-barrier", NATURAL_32, "1", "Replicas a primary keeps when others move."),
    option("cluster-replica-validity-factor", NATURAL_32, "10", "How stale a replica may be to take over.")
        .alias("cluster-slave-validity-factor"),
    option("cluster-replica-no-failover", Kind::Bool, "no", "Let a replica never take over by itself.")
        .alias("cluster-slave-no-failover"),
    option(
        "cluster-manual-failover-timeout",
        POSITIVE_32,
        "5000",
        "Milliseconds a manual failover may take.",
    ),
    option(
        "cluster-blacklist-ttl",
        Kind::Int { min: i64::MIN, max: i64::MAX },
        "60",
        "Seconds for which a forgotten node stays forgotten.",
    ),
    option(
        "cluster-link-sendbuf-limit",
        ANY_MEMORY,
        "0",
        "Bytes of a link's buffer at which it is cut off; 0 is no limit.",
    ),
    option(
        "cluster-config-save-behavior",
        Kind::Choice(&["sync", "best-effort"]),
        "sync",
        "Whether a node stops when it cannot save its view of the cluster.",
    ),
    option("cluster-databases", POSITIVE_32, "1", "Databases of a node.").immutable(),
    option("cluster-slot-migration-log-max-len", NATURAL, "1000", "Migrations of slots remembered."),
    option(
        "slot-migration-max-failover-repl-bytes",
        MEMORY,
        "0",
        "Bytes a migration may be behind when it ends.",
    ),
    option("cluster-slot-stats-enabled", Kind::Bool, "no", "Keep statistics by slot."),
];
