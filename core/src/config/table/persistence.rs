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
    ),
    option("dir", Kind::Text(check::directory), ".", "Directory of the data files.").protected(),
    option("dbfilename", Kind::Text(check::db_file_name), "dump.rdb", "Name of the snapshot file.")
        .protected(),
    option("rdbcompression", Kind::Bool, "yes", "Compress strings in snapshots and dumps."),
    option("rdbchecksum", Kind::Bool, "yes", "Write and check a checksum at the end of snapshots.")
        .immutable(),
    option("rdb-del-sync-files", Kind::Bool, "no", "Delete snapshots that served replication only."),
    option(
        "base-format",
        Kind::Choice(&["rdb", "snapshot"]),
        "rdb",
        "Format of the file that a log begins with: Valkey's, or Keystead's own, which is mapped.",
    ),
    option("snapshot-map", Kind::Bool, "yes", "Map snapshots of Keystead's own format; else they are read."),
    option(
        "snapshot-verify-at-open",
        Kind::Bool,
        "no",
        "Verify large snapshots before they are used, not in the background.",
    ),
    option(
        "rdb-save-incremental-fsync",
        Kind::Bool,
        "yes",
        "Sync a snapshot to disk piecewise while it is written.",
    ),
    option(
        "rdb-version-check",
        Kind::Choice(&["strict", "relaxed"]),
        "strict",
        "Whether snapshots of newer or foreign versions are refused.",
    ),
    option(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        "Refuse writes after a snapshot in the background failed.",
    ),
    option(
        "backup-schedule",
        Kind::Text(check::schedule),
        "",
        "When snapshots are taken besides, in UTC: hourly, daily 03:00, weekly sunday 03:00, or every 6h (m, h, d); empty is never.",
    )
    .applied(),
    option("backup-keep", NATURAL_32, "7", "How many of these snapshots are kept, the newest; 0 is all.")
        .applied(),
    option("appendonly", Kind::Bool, "no", "Keep an append-only log."),
    option(
        "appendfilename",
        Kind::Text(check::append_file_name),
        "appendonly.aof",
        "Name of the log's files.",
    )
    .immutable(),
    option(
        "appenddirname",
        Kind::Text(check::append_dir_name),
        "appendonlydir",
        "Directory of the log's files.",
    )
    .immutable(),
    option(
        "appendfsync",
        Kind::Choice(&["everysec", "always", "no"]),
        "everysec",
        "When the log is synced to disk.",
    ),
    option(
        "no-appendfsync-on-rewrite",
        Kind::Bool,
        "no",
        "Do not sync the log while a snapshot or rewrite runs.",
    ),
    option(
        "auto-aof-rewrite-percentage",
        NATURAL_32,
        "100",
        "Growth in percent at which the log is rewritten; 0 is never.",
    ),
    option(
        "auto-aof-rewrite-min-size",
        MEMORY,
        "67108864",
        "Bytes below which the log is not rewritten by itself.",
    ),
    option("aof-load-truncated", Kind::Bool, "yes", "Load a log whose end is cut off."),
    option(
        "aof-use-rdb-preamble",
        Kind::Bool,
        "yes",
        "Begin a rewritten log with a snapshot, or else with commands.",
    )
    .applied(),
    option("aof-timestamp-enabled", Kind::Bool, "no", "Note times in the log."),
    option("aof-rewrite-incremental-fsync", Kind::Bool, "yes", "Sync a rewritten log to disk piecewise."),
];
