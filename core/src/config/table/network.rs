//! Options: listening, clients and their limits.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{MAX_MEMORY, NATURAL_32, PORT, TEXT, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("port", PORT, "6379", "TCP port to listen on; 0 is none.").applied(),
    option(
        "bind",
        Kind::Words { max: 16 },
        "* -::*",
        "Addresses to listen on; the loopback address alone where it was never set.",
    )
    .applied(),
    option("bind-source-addr", TEXT, "", "Address that outgoing connections come from.")
        .inert("connections to other servers leave from the address that the system chooses"),
    option("unixsocket", TEXT, "", "Path of the Unix socket to listen on.").immutable().applied(),
    option("unixsocketgroup", TEXT, "", "Group of the Unix socket.").immutable().applied(),
    option("unixsocketperm", Kind::Octal, "0", "Permissions of the Unix socket.").immutable().applied(),
    option("protected-mode", Kind::Bool, "yes", "Refuse clients of other machines while no password is set.")
        .applied(),
    option("tcp-backlog", NATURAL_32, "511", "Length of the queue of connections not yet accepted.")
        .immutable()
        .applied(),
    option("tcp-keepalive", NATURAL_32, "300", "Seconds between probes of idle connections; 0 is none.")
        .applied(),
    option("timeout", NATURAL_32, "0", "Seconds after which an idle client is cut off; 0 is never.")
        .applied(),
    option("maxclients", Kind::Int { min: 1, max: 4_294_967_295 }, "10000", "Greatest number of clients.")
        .applied(),
    option(
        "max-new-connections-per-cycle",
        Kind::Int { min: 1, max: 1_000 },
        "10",
        "Connections accepted at once.",
    )
    .applied(),
    option(
        "max-new-tls-connections-per-cycle",
        Kind::Int { min: 1, max: 1_000 },
        "1",
        "TLS connections accepted at once.",
    )
    .applied(),
    option(
        "client-output-buffer-limit",
        Kind::BufferLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        "Output buffer limits of normal clients, replicas and subscribers.",
    )
    .applied(),
    option(
        "client-query-buffer-limit",
        Kind::Memory { min: 1_048_576, max: MAX_MEMORY },
        "1073741824",
        "Bytes of unparsed requests at which a client is cut off.",
    )
    .applied(),
    option(
        "proto-max-bulk-len",
        Kind::Memory { min: 1_048_576, max: MAX_MEMORY },
        "536870912",
        "Greatest length of one argument in bytes.",
    )
    .applied(),
    option(
        "max-reply-bytes",
        // Lengths on a tape have 32 bits.
        Kind::Memory { min: 1_048_576, max: 4_294_967_295 },
        "1gb",
        "Bytes of one command's reply above which it is an error instead.",
    )
    .applied(),
    option(
        "socket-mark-id",
        Kind::Int { min: 0, max: 4_294_967_295 },
        "0",
        "Mark of the listening sockets' packets.",
    )
    .immutable()
    .inert("packets are not marked"),
    option("io-threads", Kind::Int { min: 1, max: 256 }, "1", "Threads that read and write for clients.")
        .applied(),
    option("mptcp", Kind::Bool, "no", "Listen with multipath TCP.")
        .immutable()
        .inert("connections are accepted by plain TCP"),
    option(
        "prefetch-batch-max-size",
        Kind::Int { min: 0, max: 128 },
        "16",
        "Commands whose keys are prefetched together.",
    )
    .applied(),
    option("rdma-bind", Kind::Words { max: 16 }, "", "Addresses to listen on for RDMA.").refused(),
    option("rdma-port", PORT, "0", "Port to listen on for RDMA.").refused(),
    option(
        "rdma-rx-size",
        Kind::Int { min: 65536, max: 16_777_216 },
        "1048576",
        "Bytes of an RDMA receive buffer.",
    )
    .immutable()
    .refused(),
    option("rdma-completion-vector", Kind::Int { min: -1, max: 1_024 }, "-1", "Completion vector of RDMA.")
        .immutable()
        .refused(),
];
