//! Options: snapshots, the append-only log and files.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{MEMORY, NATURAL_32, option};
use crate::config::{
    check,
    spec::{Kind, OptionSpec},
};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "save",
        Kind::Save,
        "3600 1 300 100 60 10000",
        "Seconds and changes after which a snapshot is taken; several pairs.",
    ).applied(),
    option("dir", Kind::Text(check::directory), ".", "Directory of the data files.").protected().applied(),
    option("dbfilename", Kind::Text(check::db_file_name), "dump.rdb", "Name of the snapshot file.")
        .protected().applied(),
    option("rdbcompression", Kind::Bool, "yes", "Compress strings in snapshots and dumps.").applied(),
    option("rdbchecksum", Kind::Bool, "yes", "Write and check a checksum at the end of snapshots.")
        .immutable().applied(),
    option("rdb-del-sync-files", Kind::Bool, "no", "Delete snapshots that served replication only.").inert("there are no replicas, and no snapshots for them"),
    option(
        "base-format",
        Kind::Choice(&["rdb", "snapshot"]),
        "rdb",
        "Format of the file that a log begins with: Valkey's, or Keystead's own, which is mapped.",
    ).applied(),
    option("snapshot-map", Kind::Bool, "yes", "Map snapshots of Keystead's own format; else they are read.").applied(),
    option(
        "snapshot-verify-at-open",
        Kind::Bool,
        "no",
        "Verify large snapshots before they are used, not in the background.",
    ).applied(),
    option(
        "rdb-save-incremental-fsync",
        Kind::Bool,
        "yes",
        "Sync a snapshot to disk piecewise while it is written.",
    ).applied(),
    option(
        "rdb-version-check",
        Kind::Choice(&["strict", "relaxed"]),
        "strict",
        "Whether snapshots of newer or foreign versions are refused.",
    ).applied(),
    option(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        "Refuse writes after a snapshot in the background failed.",
    ).applied(),
    option(
        "backup-schedule",
        Kind::Text(check::schedule),
        "",
        "When snapshots are taken besides, in UTC: hourly, daily 03:00, weekly sunday 03:00, or every 6h (m, h, d); empty is never.",
    )
    .applied(),
    option("backup-keep", NATURAL_32, "7", "How many of these snapshots are kept, the newest; 0 is all.")
        .applied(),
    option("appendonly", Kind::Bool, "no", "Keep an append-only log.").applied(),
    option(
        "appendfilename",
        Kind::Text(check::append_file_name),
        "appendonly.aof",
        "Name of the log's files.",
    )
    .immutable().applied(),
    option(
        "appenddirname",
        Kind::Text(check::append_dir_name),
        "appendonlydir",
        "Directory of the log's files.",
    )
    .immutable().applied(),
    option(
        "appendfsync",
        Kind::Choice(&["everysec", "always", "no"]),
        "everysec",
        "When the log is synced to disk.",
    ).applied(),
    option(
        "no-appendfsync-on-rewrite",
        Kind::Bool,
        "no",
        "Do not sync the log while a snapshot or rewrite runs.",
    ).applied(),
    option(
        "auto-aof-rewrite-percentage",
        NATURAL_32,
        "100",
        "Growth in percent at which the log is rewritten; 0 is never.",
    ).applied(),
    option(
        "auto-aof-rewrite-min-size",
        MEMORY,
        "67108864",
        "Bytes below which the log is not rewritten by itself.",
    ).applied(),
    option("aof-load-truncated", Kind::Bool, "yes", "Load a log whose end is cut off.").applied(),
    option(
        "aof-use-rdb-preamble",
        Kind::Bool,
        "yes",
        "Begin a rewritten log with a snapshot, or else with commands.",
    )
    .applied(),
    option("aof-timestamp-enabled", Kind::Bool, "no", "Note times in the log.").applied(),
    option("aof-rewrite-incremental-fsync", Kind::Bool, "yes", "Sync a rewritten log to disk piecewise.").inert("a rewritten log is synced as snapshots are"),
];
