//! Options: logs, statistics and notifications.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{FROM_MINUS_ONE, NATURAL, TEXT, option};
use crate::config::spec::{Kind, OptionSpec};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "commandlog-execution-slower-than",
        FROM_MINUS_ONE,
        "10000",
        "Microseconds above which a command enters the slow log; negative is never.",
    )
    .alias("slowlog-log-slower-than")
    .applied(),
    option("commandlog-slow-execution-max-len", NATURAL, "128", "Entries of the slow log.")
        .alias("slowlog-max-len")
        .applied(),
    option(
        "commandlog-request-larger-than",
        FROM_MINUS_ONE,
        "1048576",
        "Bytes above which a request enters the log of large requests; negative is never.",
    )
    .applied(),
    option("commandlog-large-request-max-len", NATURAL, "128", "Entries of the log of large requests.")
        .applied(),
    option(
        "commandlog-reply-larger-than",
        FROM_MINUS_ONE,
        "1048576",
        "Bytes above which a reply enters the log of large replies; negative is never.",
    )
    .applied(),
    option("commandlog-large-reply-max-len", NATURAL, "128", "Entries of the log of large replies.")
        .applied(),
    option(
        "latency-monitor-threshold",
        NATURAL,
        "0",
        "Milliseconds from which an event enters the latency monitor; 0 is never.",
    )
    .applied(),
    option("latency-tracking", Kind::Bool, "yes", "Keep a histogram of latencies for each command.")
        .applied(),
    option(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "Percentiles that INFO latencystats shows.",
    )
    .applied(),
    option("notify-keyspace-events", Kind::KeyspaceEvents, "", "Classes of events that are published.")
        .applied(),
    option("acllog-max-len", NATURAL, "128", "Entries of the ACL log.").applied(),
    option(
        "loglevel",
        Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        "How much of what scripts log is shown.",
    )
    .applied(),
    option("logfile", TEXT, "", "File to log to; empty is standard output.")
        .immutable()
        .inert("what there is to say goes to standard error"),
    option("log-format", Kind::Choice(&["legacy", "logfmt"]), "legacy", "Form of log lines.")
        .inert("there is no log file, only lines on standard error"),
    option(
        "log-timestamp-format",
        Kind::Choice(&["legacy", "iso8601", "milliseconds"]),
        "legacy",
        "Form of times in log lines.",
    )
    .inert("there is no log file, only lines on standard error"),
    option("hide-user-data-from-log", Kind::Bool, "yes", "Keep keys and values out of the log.")
        .inert("keys and values are never written to standard error"),
    option("syslog-enabled", Kind::Bool, "no", "Log to syslog.")
        .immutable()
        .inert("what there is to say goes to standard error"),
    option("syslog-ident", TEXT, "valkey", "Name in syslog.")
        .immutable()
        .inert("what there is to say goes to standard error"),
    option(
        "syslog-facility",
        Kind::Choice(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
        "Facility in syslog.",
    )
    .immutable()
    .inert("what there is to say goes to standard error"),
    option("crash-log-enabled", Kind::Bool, "yes", "Write a report at a crash.")
        .inert("reports of crashes are the host process's"),
    option("crash-memcheck-enabled", Kind::Bool, "yes", "Test memory at a crash.")
        .inert("reports of crashes are the host process's"),
    option("always-show-logo", Kind::Bool, "no", "Show the logo at start.")
        .immutable()
        .inert("there is no logo"),
];
