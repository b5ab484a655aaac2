//! The commands: one small file each, or one for a family that shares its logic.
//!
//! [`LIST`] names every command once; whatever needs to know what commands there are reads it.

pub(crate) mod bitmap;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod generic;
pub(crate) mod geo;
pub(crate) mod hash;
pub(crate) mod hyperloglog;
pub(crate) mod list;
mod pops;
pub(crate) mod pubsub;
#[cfg(feature = "scripting")]
pub(crate) mod scripting;
pub(crate) mod server;
pub(crate) mod set;
pub(crate) mod stream;
pub(crate) mod string;
pub mod table;
#[cfg(test)]
mod testing;
pub(crate) mod transactions;
#[cfg(test)]
mod twins;
pub(crate) mod zset;

#[cfg(test)]
use crate::command::Parse;
use crate::command::Reply;
use table::{Declared, Listed};

/// Writes the list: `Struct` for a command, `Struct { Struct, ... }` for a container and its subcommands.
macro_rules! commands {
    ($( $group:ident: $( $(#[$when:meta])* $module:ident::$command:ident $({ $($file:ident::$sub:ident),* $(,)? })? ),* $(,)?; )*) => {
        /// Every command of the engine, in the order of groups and names.
        #[allow(elided_lifetimes_in_paths, reason = "the list names the structs, whatever they borrow")]
        pub static LIST: &[Listed] = &[
            $( $( $(#[$when])* Listed {
                command: Declared::of::<$group::$module::$command>(),
                subcommands: &[$( $( Declared::of::<$group::$file::$sub>(), )* )?],
            }, )* )*
        ];

        /// Parses and encodes the words of each command, to test that the two are twins.
        #[cfg(test)]
        #[allow(elided_lifetimes_in_paths, reason = "as above")]
        pub(crate) static TWINS: &[&[(&str, fn(&[&[u8]]) -> crate::Result<crate::command::Argv>)]] = &[
            $( $( $(#[$when])* &[
                (<$group::$module::$command as Parse<'static>>::SPEC.name, |argv| twins::again::<$group::$module::$command>(argv)),
                $( $( (<$group::$file::$sub as Parse<'static>>::SPEC.name, |argv| twins::again::<$group::$file::$sub>(argv)), )* )?
            ], )* )*
        ];
    };
}

commands! {
    bitmap:
        bit::GetBit, bit::SetBit,
        count::BitCount,
        field::BitField, field::BitFieldRo,
        op::BitOp,
        position::BitPos;
    cluster:
        standalone::Cluster { standalone::ClusterKeySlot, nodes::ClusterAddSlots, nodes::ClusterAddSlotsRange, nodes::ClusterBumpEpoch, nodes::ClusterCancelSlotMigrations, nodes::ClusterCountFailureReports, nodes::ClusterCountKeysInSlot, nodes::ClusterDelSlots, nodes::ClusterDelSlotsRange, nodes::ClusterFailover, nodes::ClusterFlushSlot, nodes::ClusterFlushSlots, nodes::ClusterForget, nodes::ClusterGetKeysInSlot, nodes::ClusterGetSlotMigrations, nodes::ClusterHelp, nodes::ClusterInfo, nodes::ClusterLinks, nodes::ClusterMeet, nodes::ClusterMigrateSlots, nodes::ClusterMyId, nodes::ClusterMyShardId, nodes::ClusterNodes, nodes::ClusterReplicas, nodes::ClusterReplicate, nodes::ClusterReset, nodes::ClusterSaveConfig, nodes::ClusterSetConfigEpoch, nodes::ClusterSetSlot, nodes::ClusterShards, nodes::ClusterSlaves, nodes::ClusterSlotStats, nodes::ClusterSlots, nodes::ClusterSyncSlots },
        standalone::Asking, standalone::ClusterScan, standalone::ReadOnly, standalone::ReadWrite;
    connection:
        client::Client { client_tracking::ClientCaching, client_modes::ClientCapa, client::ClientGetName, client_tracking::ClientGetRedir, client::ClientHelp, client::ClientId, client_modes::ClientImportSource, client::ClientInfo, client_kill::ClientKill, client_list::ClientList, client_modes::ClientNoEvict, client_modes::ClientNoTouch, client_pause::ClientPause, client_modes::ClientReply, client::ClientSetInfo, client::ClientSetName, client_tracking::ClientTracking, client_tracking::ClientTrackingInfo, client_unblock::ClientUnblock, client_pause::ClientUnpause },
        hello::Auth, hello::Hello,
        ping::Echo, ping::Ping, ping::Quit, ping::Reset, ping::Select;
    generic:
        delete::Del, delete::Exists, delete::Touch, delete::Unlink,
        expire::Expire, expire::ExpireAt, expire::PExpire, expire::PExpireAt,
        object::Object { object::ObjectEncoding, object::ObjectFreq, object::ObjectHelp, object::ObjectIdleTime, object::ObjectRefCount },
        dump::Dump, dump::Restore, dump::RestoreAsking,
        migrate::Migrate,
        rename::Copy, rename::Move, rename::Rename, rename::RenameNx,
        scan::Keys, scan::RandomKey, scan::Scan, scan::Type,
        sort::Sort, sort::SortRo,
        ttl::ExpireTime, ttl::PExpireTime, ttl::PTtl, ttl::Persist, ttl::Ttl,
        wait::Wait, wait::WaitAof;
    geo:
        add::GeoAdd,
        get::GeoDist, get::GeoHash, get::GeoPos,
        radius::GeoRadius, radius::GeoRadiusByMember, radius::GeoRadiusByMemberRo, radius::GeoRadiusRo,
        search::GeoSearch, search::GeoSearchStore;
    hash:
        all::HGetAll, all::HKeys, all::HVals,
        delete::HDel, delete::HGetDel,
        expire::HExpire, expire::HExpireAt, expire::HPExpire, expire::HPExpireAt, expire::HPersist,
        get::HExists, get::HGet, get::HLen, get::HMGet, get::HStrLen,
        getex::HGetEx,
        incr::HIncrBy, incr::HIncrByFloat,
        random::HRandField,
        scan::HScan,
        set::HMSet, set::HSet, set::HSetNx,
        setex::HSetEx,
        ttl::HExpireTime, ttl::HPExpireTime, ttl::HPTtl, ttl::HTtl;
    hyperloglog:
        add::PfAdd,
        count::PfCount,
        debug::PfDebug, debug::PfSelfTest,
        merge::PfMerge;
    list:
        change::LInsert, change::LRem, change::LSet, change::LTrim,
        get::LIndex, get::LLen, get::LRange,
        moving::BLMove, moving::BRPopLPush, moving::LMove, moving::RPopLPush,
        mpop::BLMPop, mpop::LMPop,
        pop::BLPop, pop::BRPop, pop::LPop, pop::RPop,
        position::LPos,
        push::LPush, push::LPushX, push::RPush, push::RPushX;
    pubsub:
        info::PubSub { info::PubSubChannels, info::PubSubHelp, info::PubSubNumPat, info::PubSubNumSub, info::PubSubShardChannels, info::PubSubShardNumSub },
        publish::Publish, publish::SPublish,
        subscribe::PSubscribe, subscribe::PUnsubscribe, subscribe::SSubscribe, subscribe::SUnsubscribe, subscribe::Subscribe, subscribe::Unsubscribe;
    scripting:
        #[cfg(feature = "scripting")]
        eval::Eval,
        #[cfg(feature = "scripting")]
        eval::EvalRo,
        #[cfg(feature = "scripting")]
        eval::EvalSha,
        #[cfg(feature = "scripting")]
        eval::EvalShaRo,
        #[cfg(feature = "scripting")]
        fcall::FCall,
        #[cfg(feature = "scripting")]
        fcall::FCallRo,
        #[cfg(feature = "scripting")]
        function::Function { function::FunctionDelete, function::FunctionDump, function::FunctionFlush, function::FunctionHelp, function::FunctionKill, function::FunctionList, function::FunctionLoad, function::FunctionRestore, function::FunctionStats },
        #[cfg(feature = "scripting")]
        script::Script { script::ScriptDebug, script::ScriptExists, script::ScriptFlush, script::ScriptHelp, script::ScriptKill, script::ScriptLoad, script::ScriptShow };
    server:
        acl::Acl { acl_log::AclCat, acl::AclDelUser, acl_log::AclDryRun, acl_log::AclGenPass, acl::AclGetUser, acl_log::AclHelp, acl::AclList, acl::AclLoad, acl_log::AclLog, acl::AclSave, acl::AclSetUser, acl::AclUsers, acl_log::AclWhoAmI },
        command::Command { command_list::CommandCount, command_docs::CommandDocs, command_keys::CommandGetKeys, command_keys::CommandGetKeysAndFlags, command_list::CommandHelp, command::CommandInfo, command_list::CommandList },
        commandlog::CommandLog { commandlog::CommandLogGet, commandlog::CommandLogHelp, commandlog::CommandLogLen, commandlog::CommandLogReset },
        config::Config { config::ConfigGet, config::ConfigHelp, config::ConfigResetStat, config::ConfigRewrite, config::ConfigSet },
        debug::Debug,
        flush::DbSize, flush::FlushAll, flush::FlushDb, flush::SwapDb,
        info::Info,
        latency::Latency { latency::LatencyDoctor, latency::LatencyGraph, latency::LatencyHelp, latency::LatencyHistogram, latency::LatencyHistory, latency::LatencyLatest, latency::LatencyReset },
        memory::Memory { memory::MemoryDoctor, memory::MemoryHelp, memory::MemoryMallocStats, memory::MemoryPurge, memory_stats::MemoryStats, memory::MemoryUsage },
        module::Module { module::ModuleHelp, module::ModuleList, module::ModuleLoad, module::ModuleLoadEx, module::ModuleUnload },
        monitor::Monitor,
        replication::Failover, replication::PSync, replication::ReplConf, replication::ReplicaOf, replication::SlaveOf, replication::Sync,
        save::BgRewriteAof, save::BgSave, save::LastSave, save::Save,
        shutdown::Shutdown,
        slowlog::SlowLog { slowlog::SlowLogGet, slowlog::SlowLogHelp, slowlog::SlowLogLen, slowlog::SlowLogReset },
        time::Lolwut, time::Role, time::Time;
    set:
        add::SAdd,
        get::SCard, get::SIsMember, get::SMIsMember, get::SMembers,
        inter::SInter, inter::SInterCard, inter::SInterStore,
        moving::SMove,
        pop::SPop,
        random::SRandMember,
        remove::SRem,
        scan::SScan,
        union::SDiff, union::SDiffStore, union::SUnion, union::SUnionStore;
    stream:
        add::XAdd,
        autoclaim::XAutoClaim,
        claim::XClaim,
        delete::XDel, delete::XSetId,
        group::XGroup { group::XGroupCreate, group::XGroupCreateConsumer, group::XGroupDelConsumer, group::XGroupDestroy, group::XGroupHelp, group::XGroupSetId },
        info::XInfo { info::XInfoConsumers, info::XInfoGroups, info::XInfoHelp, info::XInfoStream },
        pending::XAck, pending::XPending,
        range::XLen, range::XRange, range::XRevRange,
        read::XRead,
        readgroup::XReadGroup,
        trim::XTrim;
    string:
        append::Append,
        counter::Decr, counter::DecrBy, counter::Incr, counter::IncrBy,
        get::Get, get::GetDel, get::GetEx, get::StrLen,
        incrbyfloat::IncrByFloat,
        lcs::Lcs,
        many::MGet, many::MSet, many::MSetNx,
        msetex::MSetEx,
        range::GetRange, range::SetRange, range::Substr,
        set::DelIfEq, set::GetSet, set::PSetEx, set::Set, set::SetEx, set::SetNx;
    transactions:
        exec::Exec, multi::Discard, multi::Multi, watch::Unwatch, watch::Watch;
    zset:
        add::ZAdd, add::ZIncrBy,
        algebra::ZDiff, algebra::ZDiffStore, algebra::ZInter, algebra::ZInterCard, algebra::ZInterStore, algebra::ZUnion, algebra::ZUnionStore,
        get::ZCard, get::ZCount, get::ZLexCount, get::ZMScore, get::ZRank, get::ZRevRank, get::ZScore,
        pop::BZMPop, pop::BZPopMax, pop::BZPopMin, pop::ZMPop, pop::ZPopMax, pop::ZPopMin,
        random::ZRandMember,
        range::ZRange, range::ZRangeByLex, range::ZRangeByScore, range::ZRangeStore, range::ZRevRange, range::ZRevRangeByLex, range::ZRevRangeByScore,
        remove::ZRem, remove::ZRemRangeByLex, remove::ZRemRangeByRank, remove::ZRemRangeByScore,
        scan::ZScan;
}

/// Writes a container's HELP: its subcommands with a line about each.
pub(crate) fn help(reply: &mut Reply, container: &str, subcommands: &[(&str, &str)]) {
    reply.array(1 + (subcommands.len() + 1) * 2);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, what) in subcommands.iter().chain(&[("HELP", "Print this help.")]) {
        reply.simple(usage);
        reply.simple(&format!("    {what}"));
    }
}
