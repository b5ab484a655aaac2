//! Options: encodings of the data types.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{INTEGER_32, MEMORY, NATURAL, NATURAL_32, POSITIVE_32, option};
use crate::config::spec::OptionSpec;

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("hash-max-listpack-entries", NATURAL, "512", "Fields up to which a hash stays packed.")
        .alias("hash-max-ziplist-entries")
        .applied(),
    option(
        "hash-max-listpack-value",
        MEMORY,
        "64",
        "Bytes of the longest field or value up to which a hash stays packed.",
    )
    .alias("hash-max-ziplist-value")
    .applied(),
    option(
        "list-max-listpack-size",
        INTEGER_32,
        "-2",
        "Entries of a list's node, or a class of bytes where negative (-2: 8 kB).",
    )
    .alias("list-max-ziplist-size")
    .applied(),
    option(
        "list-compress-depth",
        NATURAL_32,
        "0",
        "Nodes at each end of a list that are not compressed; 0 compresses none.",
    )
    .inert("lists are not compressed"),
    option("set-max-intset-entries", NATURAL, "512", "Members up to which a set of integers stays packed.")
        .applied(),
    option("set-max-listpack-entries", NATURAL, "128", "Members up to which a set stays packed.").applied(),
    option(
        "set-max-listpack-value",
        NATURAL,
        "64",
        "Bytes of the longest member up to which a set stays packed.",
    )
    .applied(),
    option("zset-max-listpack-entries", NATURAL, "128", "Members up to which a sorted set stays packed.")
        .alias("zset-max-ziplist-entries")
        .applied(),
    option(
        "zset-max-listpack-value",
        MEMORY,
        "64",
        "Bytes of the longest member up to which a sorted set stays packed.",
    )
    .alias("zset-max-ziplist-value")
    .applied(),
    option("stream-node-max-bytes", MEMORY, "4096", "Bytes of a stream's node; 0 is no limit.").applied(),
    option("stream-node-max-entries", NATURAL, "100", "Entries of a stream's node; 0 is no limit.").applied(),
    option("hll-sparse-max-bytes", MEMORY, "3000", "Bytes up to which a HyperLogLog stays sparse.").applied(),
    option("databases", POSITIVE_32, "16", "Number of databases.").immutable().applied(),
];
