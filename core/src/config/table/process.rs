//! Options: the process, its scripts and its rights.
//!
//! What the kinds mean is said in `spec.rs`; reading the values is left to those who honour them.

use super::{NATURAL, NATURAL_32, SHUTDOWN_FLAGS, TEXT, option};
use crate::config::{
    check,
    spec::{Kind, OptionSpec},
};

pub(super) const OPTIONS: &[OptionSpec] = &[
    option("daemonize", Kind::Bool, "no", "Detach from the terminal.")
        .immutable()
        .inert("the program stays in the foreground; a supervisor can put it elsewhere"),
    option(
        "supervised",
        Kind::Choice(&["upstart", "systemd", "auto", "no"]),
        "no",
        "How the supervisor of the process is told that it is ready.",
    )
    .immutable()
    .inert("no supervisor is told"),
    option("pidfile", TEXT, "", "File that holds the process id.")
        .immutable()
        .inert("no file of the process's number is written"),
    option("set-proc-title", Kind::Bool, "yes", "Set the title of the process.")
        .immutable()
        .inert("the title of the process is the host's"),
    option(
        "proc-title-template",
        Kind::Text(check::title_template),
        "{title} {listen-addr} {server-mode}",
        "Template of the title of the process.",
    )
    .inert("the title of the process is the host's"),
    option("locale-collate", Kind::Text(check::locale), "", "Locale that SORT ALPHA compares in.")
        .inert("SORT ALPHA compares bytes"),
    option(
        "oom-score-adj",
        Kind::Choice(&["no", "yes", "relative", "absolute"]),
        "no",
        "Adjust the score for the kernel's out-of-memory killer.",
    )
    .inert("the score is the host process's"),
    option(
        "oom-score-adj-values",
        Kind::OomScores,
        "0 200 800",
        "Scores of a primary, a replica and a child.",
    )
    .inert("the score is the host process's"),
    option("disable-thp", Kind::Bool, "yes", "Switch transparent huge pages off for the process.")
        .immutable()
        .inert("huge pages are asked for where they are used"),
    option("ignore-warnings", TEXT, "", "Warnings at start to be ignored.")
        .inert("nothing of the system is warned about"),
    option("shutdown-timeout", NATURAL_32, "10", "Seconds that a shutdown waits for replicas.")
        .inert("there are no replicas to wait for"),
    option("shutdown-on-sigint", Kind::ShutdownFlags(SHUTDOWN_FLAGS), "default", "What a SIGINT does.")
        .inert("SIGINT and SIGTERM do what SHUTDOWN does"),
    option("shutdown-on-sigterm", Kind::ShutdownFlags(SHUTDOWN_FLAGS), "default", "What a SIGTERM does.")
        .inert("SIGINT and SIGTERM do what SHUTDOWN does"),
    option("server-cpulist", TEXT, "", "Processors of the main thread.")
        .alias("server_cpulist")
        .immutable()
        .inert("which processors threads run on is the host process's"),
    option("bio-cpulist", TEXT, "", "Processors of the background threads.")
        .alias("bio_cpulist")
        .immutable()
        .inert("which processors threads run on is the host process's"),
    option("aof-rewrite-cpulist", TEXT, "", "Processors of log rewrites.")
        .alias("aof_rewrite_cpulist")
        .immutable()
        .inert("which processors threads run on is the host process's"),
    option("bgsave-cpulist", TEXT, "", "Processors of snapshots.")
        .alias("bgsave_cpulist")
        .immutable()
        .inert("which processors threads run on is the host process's"),
    option(
        "busy-reply-threshold",
        NATURAL,
        "5000",
        "Milliseconds after which a running script counts as busy; 0 is never.",
    )
    .alias("lua-time-limit")
    .applied(),
    option("enable-debug-command", Kind::Choice(&["no", "yes", "local"]), "no", "Who may use DEBUG.")
        .immutable()
        .applied(),
    option("enable-module-command", Kind::Choice(&["no", "yes", "local"]), "no", "Who may use MODULE.")
        .immutable()
        .inert("there are no modules"),
    option(
        "enable-protected-configs",
        Kind::Choice(&["no", "yes", "local"]),
        "no",
        "Who may set protected options.",
    )
    .immutable()
    .applied(),
    option("requirepass", TEXT, "", "Password of the default user.").applied(),
    option("aclfile", TEXT, "", "File of the users.").immutable().applied(),
    option(
        "acl-pubsub-default",
        Kind::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        "Whether new users may use any channel.",
    )
    .applied(),
    option("extended-redis-compatibility", Kind::Bool, "no", "Call the server Redis where clients insist.")
        .applied(),
    option("hash-seed", TEXT, "", "What the seed of hashes is made from, for tests; empty is random.")
        .immutable()
        .inert("hashes have a random seed"),
    option("availability-zone", TEXT, "", "Name of the zone the server is in, for clients.").applied(),
];
