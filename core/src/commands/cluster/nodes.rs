//! Subcommands of CLUSTER that only a node of a cluster knows what to do with: here they are refused, with the error of a server that is in none.

use crate::command::run::{self, Run};
use crate::command::spec::{ArgKind, ArgSpec, Categories, Flags, Group, Spec, nothing_secret};
use crate::command::{Args, Argv, Context, Parse, Reply, Session};
use crate::error::{Error, Result};
use crate::keyspace::Key;

/// The error of whatever is about a cluster.
pub(super) fn disabled() -> Error {
    Error::command("This instance has cluster support disabled")
}

/// Declares subcommands: what they are for, struct, words, version, arity, complexity, flags, tips, what replaces them, and arguments.
macro_rules! disabled {
    ($( $summary:literal, $command:ident, $word:literal, $name:literal, $since:literal, $arity:literal, $complexity:literal, [$($flag:ident),*], [$($tip:literal),*],
        $deprecated:expr, [$($arg:expr),*]; )*) => { $(
        #[doc = $summary]
        ///
        /// Returns an error: the engine is in no cluster.
        pub struct $command<'a>(&'a [&'a [u8]]);

        impl<'a> Parse<'a> for $command<'a> {
            const SPEC: &'static Spec = &Spec {
                name: $name,
                summary: $summary,
                since: $since,
                group: Group::Cluster,
                complexity: $complexity,
                arity: $arity,
                flags: Flags::NONE $(.with(Flags::$flag))*,
                extra_categories: if Flags::NONE $(.with(Flags::$flag))*.contains(Flags::WRITE) {
                    Categories::KEYSPACE
                } else {
                    Categories::NONE
                },
                tips: &[$($tip),*],
                keys: &[],
                args: &[$($arg),*],
                history: &[],
                deprecated: $deprecated,
                reply: "any",
                secrets: nothing_secret,
                whole_keyspace: false,
                outside: false,
                container: false,
            };
            const NAME_WORDS: usize = 2;
            const RUN: Run = |context, argv, reply| run::session::<$command<'_>>(context, argv, reply);

            fn parse(args: &mut Args<'a>) -> Result<Self> {
                Ok(Self(args.take_rest()))
            }

            fn encode(&self) -> Argv {
                [&b"CLUSTER"[..], $word.as_bytes()].iter().chain(self.0).map(|word| word.to_vec()).collect()
            }

            fn each_key(&self, _: &mut dyn FnMut(&Key<'a>)) {}
        }

        impl Session for $command<'_> {
            fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
                Err(disabled())
            }
        }
    )* };
}

const fn text(name: &'static str) -> ArgSpec {
    ArgSpec { name, ..ArgSpec::PLAIN }
}

const fn number(name: &'static str) -> ArgSpec {
    ArgSpec { kind: ArgKind::Integer, ..text(name) }
}

const fn token(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { kind: ArgKind::PureToken, token: Some(token), ..text(name) }
}

const fn choice(name: &'static str, args: &'static [ArgSpec]) -> ArgSpec {
    ArgSpec { kind: ArgKind::OneOf, args, ..text(name) }
}

const fn block(name: &'static str, args: &'static [ArgSpec]) -> ArgSpec {
    ArgSpec { kind: ArgKind::Block, args, ..text(name) }
}

disabled! {
    "Gives slots to this node.",
    ClusterAddSlots, "ADDSLOTS", "cluster|addslots", "3.0.0", -3, "O(N) where N is the total number of hash slot arguments", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { multiple: true, ..number("slot") }];
    "Gives ranges of slots to this node.",
    ClusterAddSlotsRange, "ADDSLOTSRANGE", "cluster|addslotsrange", "7.0.0", -4, "O(N) where N is the total number of the slots between the start slot and end slot arguments.", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { multiple: true, ..block("range", const { &[number("start-slot"), number("end-slot")] }) }];
    "Moves the epoch of the cluster's configuration on.",
    ClusterBumpEpoch, "BUMPEPOCH", "cluster|bumpepoch", "3.0.0", 2, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], ["nondeterministic_output"], None,
    [];
    "Cancels the migrations of slots that are under way.",
    ClusterCancelSlotMigrations, "CANCELSLOTMIGRATIONS", "cluster|cancelslotmigrations", "9.0.0", 2, "O(N), where N is the number of slot migration operations being cancelled.", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [];
    "Counts the reports that a node has failed.",
    ClusterCountFailureReports, "COUNT-FAILURE-REPORTS", "cluster|count-failure-reports", "3.0.0", 3, "O(N) where N is the number of failure reports", [ADMIN, STALE], ["nondeterministic_output"], None,
    [text("node-id")];
    "Counts the keys of a slot.",
    ClusterCountKeysInSlot, "COUNTKEYSINSLOT", "cluster|countkeysinslot", "3.0.0", 3, "O(1)", [STALE], [], None,
    [number("slot")];
    "Takes slots from this node.",
    ClusterDelSlots, "DELSLOTS", "cluster|delslots", "3.0.0", -3, "O(N) where N is the total number of hash slot arguments", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { multiple: true, ..number("slot") }];
    "Takes ranges of slots from this node.",
    ClusterDelSlotsRange, "DELSLOTSRANGE", "cluster|delslotsrange", "7.0.0", -4, "O(N) where N is the total number of the slots between the start slot and end slot arguments.", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { multiple: true, ..block("range", const { &[number("start-slot"), number("end-slot")] }) }];
    "Has a replica take over from its primary.",
    ClusterFailover, "FAILOVER", "cluster|failover", "3.0.0", -2, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { optional: true, ..choice("options", const { &[token("force", "FORCE"), token("takeover", "TAKEOVER")] }) }];
    "Removes the keys of a slot.",
    ClusterFlushSlot, "FLUSHSLOT", "cluster|flushslot", "9.0.0", -3, "O(N) where N is the number of keys in the target slot", [WRITE, ADMIN, NO_ASYNC_LOADING], [], None,
    [number("slot"), ArgSpec { optional: true, ..choice("flush-type", const { &[token("async", "ASYNC"), token("sync", "SYNC")] }) }];
    "Takes all slots from this node.",
    ClusterFlushSlots, "FLUSHSLOTS", "cluster|flushslots", "3.0.0", 2, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [];
    "Forgets a node.",
    ClusterForget, "FORGET", "cluster|forget", "3.0.0", 3, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [text("node-id")];
    "Returns keys of a slot.",
    ClusterGetKeysInSlot, "GETKEYSINSLOT", "cluster|getkeysinslot", "3.0.0", 4, "O(N) where N is the number of requested keys", [STALE], ["nondeterministic_output"], None,
    [number("slot"), number("count")];
    "Tells of migrations of slots.",
    ClusterGetSlotMigrations, "GETSLOTMIGRATIONS", "cluster|getslotmigrations", "9.0.0", 2, "O(N), where N is the number of active slot import and export jobs.", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [];
    "Returns what the subcommands do.",
    ClusterHelp, "HELP", "cluster|help", "5.0.0", 2, "O(1)", [LOADING, STALE], [], None,
    [];
    "Tells about the state of the cluster.",
    ClusterInfo, "INFO", "cluster|info", "3.0.0", 2, "O(1)", [LOADING, STALE], ["nondeterministic_output"], None,
    [];
    "Lists the links to other nodes.",
    ClusterLinks, "LINKS", "cluster|links", "7.0.0", 2, "O(N) where N is the total number of Cluster nodes", [STALE], ["nondeterministic_output"], None,
    [];
    "Introduces another node.",
    ClusterMeet, "MEET", "cluster|meet", "3.0.0", -4, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [text("ip"), number("port"), ArgSpec { optional: true, since: "4.0.0", ..number("cluster-bus-port") }];
    "Moves slots to other nodes.",
    ClusterMigrateSlots, "MIGRATESLOTS", "cluster|migrateslots", "9.0.0", -4, "O(N) where N is the total number of the slots between all start slot and end slot arguments.", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [ArgSpec { multiple: true, ..block("migration-group", const { &[token("slotsrange-token", "SLOTSRANGE"), ArgSpec { multiple: true, ..block("range", const { &[number("start-slot"), number("end-slot")] }) }, token("node-token", "NODE"), text("node-id")] }) }];
    "Returns the name of this node.",
    ClusterMyId, "MYID", "cluster|myid", "3.0.0", 2, "O(1)", [LOADING, STALE], [], None,
    [];
    "Returns the name of this node's shard.",
    ClusterMyShardId, "MYSHARDID", "cluster|myshardid", "7.2.0", 2, "O(1)", [LOADING, STALE], ["nondeterministic_output"], None,
    [];
    "Lists the nodes.",
    ClusterNodes, "NODES", "cluster|nodes", "3.0.0", 2, "O(N) where N is the total number of Cluster nodes", [LOADING, STALE], ["nondeterministic_output"], None,
    [];
    "Lists the replicas of a primary.",
    ClusterReplicas, "REPLICAS", "cluster|replicas", "5.0.0", 3, "O(N) where N is the number of replicas.", [ADMIN, STALE], ["nondeterministic_output"], None,
    [text("node-id")];
    "Makes this node a replica of another, or of none.",
    ClusterReplicate, "REPLICATE", "cluster|replicate", "3.0.0", -3, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [choice("args", const { &[text("node-id"), ArgSpec { since: "9.0.0", ..block("no-one", const { &[token("no", "NO"), token("one", "ONE")] }) }] })];
    "Forgets all about the cluster.",
    ClusterReset, "RESET", "cluster|reset", "3.0.0", -2, "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.", [ADMIN, NOSCRIPT, STALE], [], None,
    [ArgSpec { optional: true, ..choice("reset-type", const { &[token("hard", "HARD"), token("soft", "SOFT")] }) }];
    "Writes the cluster's configuration to the disk.",
    ClusterSaveConfig, "SAVECONFIG", "cluster|saveconfig", "3.0.0", 2, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [];
    "Sets the epoch of a new node's configuration.",
    ClusterSetConfigEpoch, "SET-CONFIG-EPOCH", "cluster|set-config-epoch", "3.0.0", 3, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [number("config-epoch")];
    "Says whose a slot is.",
    ClusterSetSlot, "SETSLOT", "cluster|setslot", "3.0.0", -4, "O(1)", [ADMIN, STALE, NO_ASYNC_LOADING], [], None,
    [number("slot"), choice("subcommand", const { &[ArgSpec { token: Some("IMPORTING"), display: Some("node-id"), ..text("importing") }, ArgSpec { token: Some("MIGRATING"), display: Some("node-id"), ..text("migrating") }, ArgSpec { token: Some("NODE"), display: Some("node-id"), ..text("node") }, token("stable", "STABLE")] }), ArgSpec { token: Some("TIMEOUT"), optional: true, since: "8.0.0", ..number("timeout") }];
    "Lists the shards and their slots.",
    ClusterShards, "SHARDS", "cluster|shards", "7.0.0", 2, "O(N) where N is the total number of cluster nodes", [LOADING, STALE], ["nondeterministic_output"], None,
    [];
    "Lists the replicas of a primary.",
    ClusterSlaves, "SLAVES", "cluster|slaves", "3.0.0", 3, "O(N) where N is the number of replicas.", [ADMIN, STALE], ["nondeterministic_output"], Some(("5.0.0", "`CLUSTER REPLICAS`")),
    [text("node-id")];
    "Tells how much slots are used.",
    ClusterSlotStats, "SLOT-STATS", "cluster|slot-stats", "8.0.0", -4, "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY subcommand.", [LOADING, STALE], ["nondeterministic_output", "request_policy:all_shards"], None,
    [choice("filter", const { &[ArgSpec { token: Some("SLOTSRANGE"), ..block("slotsrange", const { &[number("start-slot"), number("end-slot")] }) }, ArgSpec { token: Some("ORDERBY"), ..block("orderby", const { &[text("metric"), ArgSpec { token: Some("LIMIT"), optional: true, ..number("limit") }, ArgSpec { optional: true, ..choice("order", const { &[token("asc", "ASC"), token("desc", "DESC")] }) }] }) }] })];
    "Lists the slots and their nodes.",
    ClusterSlots, "SLOTS", "cluster|slots", "3.0.0", 2, "O(N) where N is the total number of Cluster nodes", [LOADING, STALE], ["nondeterministic_output"], None,
    [];
    "Serves the migration of slots between nodes.",
    ClusterSyncSlots, "SYNCSLOTS", "cluster|syncslots", "9.0.0", -3, "Depends on subcommand.", [ADMIN, STALE, NO_ASYNC_LOADING, SYSCMD], [], None,
    [];
}
