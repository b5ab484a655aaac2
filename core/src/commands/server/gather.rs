//! Fills INFO's snapshot from the engine.
//!
//! What is printed of it, and how, is [`crate::info`]'s; how the shards are counted, the keyspace's.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::clients::{ClientInfo, SubscriptionKind};
use crate::commands::table;
use crate::config::{MAXMEMORY_POLICIES, Value};
use crate::info::{CommandLatency, CommandStats, DatabaseStats, Snapshot};
use crate::keyspace::survey::Survey;
use crate::local::Local;
use crate::network::Place;
use crate::persist::Tries;
use crate::{lazyfree, process};

impl Local {
    /// The state of the engine, whose shards were counted in `survey`.
    pub(crate) fn snapshot(&self, survey: &Survey) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.describe_server(&mut snapshot);
        self.describe_clients(&mut snapshot, survey);
        self.describe_memory(&mut snapshot, survey);
        self.describe_persistence(&mut snapshot, survey);
        self.describe_traffic(&mut snapshot);
        self.describe_refusals(&mut snapshot);
        self.describe_commands(&mut snapshot);
        self.describe_keyspace(&mut snapshot, survey);
        snapshot
    }

    /// Bytes that libraries of functions take.
    pub(super) fn function_bytes(&self) -> usize {
        #[cfg(feature = "scripting")]
        return crate::script::functions::of(self).bytes();
        #[cfg(not(feature = "scripting"))]
        0
    }

    fn describe_server(&self, snapshot: &mut Snapshot) {
        let now_us = self.keyspace.clock.now_us();
        let hot = self.config.hot();
        let addresses = self.network.listeners();
        snapshot.redis_build_id = build_id();
        snapshot.os = process::system_name();
        snapshot.monotonic_clock = "POSIX clock_gettime".to_owned();
        snapshot.multiplexing_api = if cfg!(target_os = "linux") { "epoll" } else { "kqueue" }.to_owned();
        snapshot.process_id = std::process::id().into();
        snapshot.run_id.clone_from(&self.run_id);
        let port = |place: &Place| if let Place::Tcp(address) = place { Some(address.port()) } else { None };
        snapshot.tcp_port = addresses.iter().find_map(port).unwrap_or(0).into();
        snapshot.server_time_usec = now_us;
        snapshot.uptime_in_seconds = (now_us / 1000).saturating_sub(self.started_ms) / 1000;
        snapshot.hz = hot.hz();
        snapshot.configured_hz = hot.hz();
        snapshot.executable = process::executable();
        snapshot.config_file = self.config.file().map(|path| path.display().to_string()).unwrap_or_default();
        snapshot.availability_zone = self.text("availability-zone");
        snapshot.extended_redis_compatibility = self.text("extended-redis-compatibility") == "yes";
        snapshot.listeners = listener_lines(&addresses);
        let (all, own) = (process::processor_time(), process::thread_time());
        (snapshot.used_cpu_sys, snapshot.used_cpu_user) = (all.system, all.user);
        (snapshot.used_cpu_sys_main_thread, snapshot.used_cpu_user_main_thread) = (own.system, own.user);
        // One history of the data per engine: there is no replication.
        snapshot.master_replid.clone_from(&self.run_id);
        snapshot.repl_backlog_size = match self.config.value("repl-backlog-size") {
            Some(Value::Memory(bytes)) => bytes,
            _ => 0,
        };
    }

    fn describe_clients(&self, snapshot: &mut Snapshot, survey: &Survey) {
        let clients = self.clients.all();
        let watching = clients.iter().filter(|client| client.watched() > 0);
        snapshot.watching_clients = watching.count() as u64;
        snapshot.connected_clients = clients.len() as u64;
        snapshot.pubsub_clients = clients.iter().filter(|client| client.subscribed.is_any()).count() as u64;
        let waits: Vec<_> = clients.iter().filter_map(|client| client.blocking()).collect();
        snapshot.blocked_clients = waits.len() as u64;
        snapshot.clients_in_timeout_table =
            waits.iter().filter(|wait| wait.deadline_ms().is_some()).count() as u64;
        snapshot.total_blocking_keys = survey.awaited as u64;
        snapshot.mem_clients_normal = self.client_bytes() as u64;
        snapshot.maxclients = self.config.hot().maxclients() as u64;
        snapshot.total_watched_keys = survey.watched as u64;
        snapshot.tracking_clients = self.clients.tracking.trackers() as u64;
        let (keys, items, prefixes) = self.clients.tracking.counts();
        snapshot.tracking_total_keys = keys as u64;
        snapshot.tracking_total_items = items as u64;
        snapshot.tracking_total_prefixes = prefixes as u64;
        let paused = self.paused();
        snapshot.paused_reason = if paused.is_some() { "client_pause" } else { "none" }.to_owned();
        snapshot.paused_actions =
            paused.map_or("none", |paused| if paused.all { "all" } else { "write" }).to_owned();
        let now_ms = self.keyspace.clock.now_ms();
        snapshot.paused_timeout_milliseconds =
            paused.map_or(0, |paused| paused.until_ms.saturating_sub(now_ms));
    }

    /// Bytes that the engine keeps about its sessions, and that connections hold.
    pub(crate) fn client_bytes(&self) -> usize {
        self.clients.len() * size_of::<ClientInfo>() + self.network.held.load(Ordering::Relaxed)
    }

    fn describe_memory(&self, snapshot: &mut Snapshot, survey: &Survey) {
        let rss = process::resident_bytes();
        let used = survey.bytes + self.keyspace.evictor.bytes();
        snapshot.used_memory = used as u64;
        snapshot.used_memory_rss = rss;
        snapshot.used_memory_peak = self.keyspace.note_peak(used) as u64;
        snapshot.used_memory_overhead = (survey.overhead() + self.keyspace.evictor.bytes()) as u64;
        snapshot.allocator_allocated = used as u64;
        snapshot.allocator_active = survey.reserved as u64;
        snapshot.allocator_resident = (survey.reserved + self.keyspace.shared.pool.idle_bytes()) as u64;
        snapshot.total_system_memory = process::machine_bytes();
        snapshot.maxmemory = self.config.hot().maxmemory();
        let now = self.keyspace.clock.now_ms();
        let evictions = &self.keyspace.evictor.counters;
        evictions.note_exceeded(self.keyspace.is_over_limit(), now);
        let (total, current) = evictions.exceeded_ms(now);
        snapshot.total_eviction_exceeded_time = total;
        snapshot.current_eviction_exceeded_time = current;
        snapshot.evicted_keys = evictions.evicted();
        let (scripts, script_bytes) = self.scripts.cached();
        snapshot.number_of_cached_scripts = scripts as u64;
        snapshot.used_memory_scripts_eval = script_bytes as u64;
        snapshot.used_memory_lua = self.scripts.vm_bytes();
        snapshot.evicted_scripts = self.scripts.evicted();
        let bytes = self.scripts.vm_bytes();
        snapshot.scripting_engine =
            format!("name=LUA,module=lua,abi_version=4,used_memory={bytes},memory_overhead=0");
        #[cfg(feature = "scripting")]
        {
            let libraries = crate::script::functions::of(self);
            snapshot.number_of_libraries = libraries.iter().len() as u64;
            snapshot.number_of_functions = libraries.functions() as u64;
            snapshot.used_memory_functions = self.function_bytes() as u64;
        }
        snapshot.maxmemory_policy = MAXMEMORY_POLICIES[self.config.hot().maxmemory_policy()].to_owned();
        snapshot.lazyfree_pending_objects = lazyfree::pending();
        snapshot.lazyfreed_objects = lazyfree::freed();
        snapshot.mem_allocator = "keystead-arena".to_owned();
    }

    fn describe_persistence(&self, snapshot: &mut Snapshot, survey: &Survey) {
        let changes = survey.changes + self.keyspace.dirty.load(Ordering::Relaxed);
        let status = self.persistence.status(changes, self.keyspace.clock.now_ms() / 1000);
        let (saves, rewrites) = (status.saves, status.rewrites);
        let took = |tries: Tries| tries.last_took.map_or(-1, |took| took.as_secs() as i64);
        let takes = |tries: Tries| tries.takes_s.map_or(-1, |seconds| seconds as i64);
        snapshot.rdb_changes_since_last_save = status.changes;
        snapshot.rdb_bgsave_in_progress = saves.is_running.into();
        snapshot.rdb_last_save_time = status.last_save_s;
        snapshot.rdb_last_bgsave_status = saves.failures == 0;
        snapshot.rdb_last_bgsave_time_sec = took(saves);
        snapshot.rdb_current_bgsave_time_sec = takes(saves);
        snapshot.rdb_saves = saves.count;
        snapshot.rdb_last_load_keys_expired = status.keys_expired;
        snapshot.rdb_last_load_keys_loaded = status.keys_loaded;
        snapshot.aof_rewrite_in_progress = rewrites.is_running.into();
        snapshot.aof_rewrite_scheduled = rewrites.is_scheduled.into();
        snapshot.aof_last_rewrite_time_sec = took(rewrites);
        snapshot.aof_current_rewrite_time_sec = takes(rewrites);
        snapshot.aof_last_bgrewrite_status = rewrites.failures == 0;
        snapshot.aof_rewrites = rewrites.count;
        snapshot.aof_rewrites_consecutive_failures = rewrites.failures;
        snapshot.aof_last_write_status = true;
        if let Some(log) = self.persistence.log_status() {
            snapshot.aof_enabled = 1;
            snapshot.aof_last_write_status = log.is_well;
            (snapshot.aof_current_size, snapshot.aof_base_size) = (log.bytes, log.bytes_at_rewrite);
            (snapshot.mem_aof_buffer, snapshot.aof_delayed_fsync) = (log.pending, log.delayed);
        }
    }

    fn describe_traffic(&self, snapshot: &mut Snapshot) {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        self.sample_pace();
        let (network, rates) = (&self.network, self.pulse.rates());
        snapshot.migrate_cached_sockets = self.targets.len() as u64;
        snapshot.total_connections_received = self.clients.opened();
        let channels = &self.clients.channels;
        snapshot.pubsub_channels = channels.count(SubscriptionKind::Channel) as u64;
        snapshot.pubsubshard_channels = channels.count(SubscriptionKind::ShardChannel) as u64;
        snapshot.pubsub_patterns = channels.patterns() as u64;
        snapshot.total_commands_processed = self.stats.commands_processed();
        snapshot.instantaneous_ops_per_sec = rates.commands as u64;
        snapshot.total_net_input_bytes = load(&network.input);
        snapshot.total_net_output_bytes = load(&network.output);
        snapshot.instantaneous_input_kbps = rates.input / 1024.0;
        snapshot.instantaneous_output_kbps = rates.output / 1024.0;
        snapshot.rejected_connections = load(&network.rejected);
        snapshot.evicted_clients = load(&network.evicted);
        snapshot.client_query_buffer_limit_disconnections = load(&network.overfull);
        snapshot.client_output_buffer_limit_disconnections = load(&network.too_slow);
        snapshot.total_reads_processed = load(&network.reads);
        snapshot.total_writes_processed = load(&network.writes);
        let rounds = self.pulse.rounds();
        snapshot.eventloop_cycles = rounds;
        snapshot.eventloop_duration_sum = self.pulse.busy().as_micros() as u64;
        snapshot.instantaneous_eventloop_duration_usec = snapshot.eventloop_duration_sum / rounds.max(1);
        snapshot.instantaneous_eventloop_cycles_per_sec = rounds / snapshot.uptime_in_seconds.max(1);
        snapshot.expire_cycle_cpu_milliseconds = self.pulse.reaping().as_millis() as u64;
    }

    fn describe_refusals(&self, snapshot: &mut Snapshot) {
        let denied = &self.users.denied;
        snapshot.acl_access_denied_auth = denied.authentication.load(Ordering::Relaxed);
        snapshot.acl_access_denied_cmd = denied.command.load(Ordering::Relaxed);
        snapshot.acl_access_denied_key = denied.key.load(Ordering::Relaxed);
        snapshot.acl_access_denied_channel = denied.channel.load(Ordering::Relaxed);
        snapshot.acl_access_denied_db = denied.database.load(Ordering::Relaxed);
    }

    fn describe_commands(&self, snapshot: &mut Snapshot) {
        let percentiles = match self.config.value("latency-tracking-info-percentiles") {
            Some(Value::Percentiles(percentiles)) => percentiles,
            _ => Vec::new(),
        };
        let mut nanoseconds = 0;
        for found in table::all() {
            let stats = self.stats.of(found.id);
            let name = found.spec.name.to_owned();
            nanoseconds += stats.nanoseconds;
            if stats.calls + stats.rejected > 0 {
                snapshot.commands.push(CommandStats {
                    name: name.clone(),
                    calls: stats.calls,
                    usec: stats.nanoseconds / 1000,
                    rejected_calls: stats.rejected,
                    failed_calls: stats.failed,
                });
            }
            if let Some(histogram) = stats.latency.filter(|histogram| histogram.count() > 0) {
                let value = |percentile: &f64| (*percentile, histogram.value_at_percentile(*percentile));
                snapshot
                    .latencies
                    .push(CommandLatency { name, percentiles: percentiles.iter().map(value).collect() });
            }
        }
        snapshot.eventloop_duration_cmd_sum = nanoseconds / 1000;
        snapshot.errors = self.stats.errors().into_iter().collect();
        snapshot.total_error_replies = snapshot.errors.iter().map(|(_, count)| count).sum();
    }

    fn describe_keyspace(&self, snapshot: &mut Snapshot, survey: &Survey) {
        let now_ms = self.keyspace.clock.now_ms();
        snapshot.keyspace_hits = survey.hits;
        snapshot.keyspace_misses = survey.misses;
        snapshot.expired_keys = survey.expired;
        snapshot.expired_fields = self.keyspace.expired_fields.load(Ordering::Relaxed);
        let databases = survey.databases.iter();
        snapshot.databases = databases
            .map(|database| DatabaseStats {
                index: database.index,
                keys: database.keys as u64,
                expires: database.with_deadline as u64,
                avg_ttl: database.average_ttl(now_ms),
                volatile_items: database.with_inside as u64,
            })
            .collect();
    }

    fn text(&self, option: &str) -> String {
        String::from_utf8_lossy(&self.config.text(option).unwrap_or_default()).into_owned()
    }
}

/// Sixteen hexadecimal digits that differ between versions.
fn build_id() -> String {
    let hash = env!("CARGO_PKG_VERSION")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// One line per port or path, as `name=tcp,bind=127.0.0.1,bind=::1,port=6379`: those without encryption, those by a path, and those with.
fn listener_lines(places: &[Place]) -> Vec<String> {
    let mut lines = BTreeMap::<(u8, u16), String>::new();
    let mut paths = Vec::new();
    for place in places {
        let (kind, address) = match place {
            Place::Tcp(address) => (0, address),
            Place::Tls(address) => (2, address),
            Place::Unix(path) => {
                paths.push(format!("name=unix,bind={}", path.display()));
                continue;
            }
        };
        let line = lines.entry((kind, address.port())).or_default();
        line.push_str(&format!("bind={},", address.ip()));
    }
    let line = |((kind, port), binds): ((u8, u16), String)| {
        let name = if kind == 0 { "tcp" } else { "tls" };
        format!("name={name},{binds}port={port}")
    };
    let (plain, encrypted): (Vec<_>, Vec<_>) = lines.into_iter().partition(|((kind, _), _)| *kind == 0);
    plain.into_iter().map(line).chain(paths).chain(encrypted.into_iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_one_port_share_a_line() {
        let mut places = ["127.0.0.1:7000", "[::1]:7000", "127.0.0.1:6999"]
            .map(|text| Place::Tcp(text.parse().unwrap()))
            .to_vec();
        places.push(Place::Tls("127.0.0.1:7001".parse().unwrap()));
        places.push(Place::Unix("/tmp/s".into()));
        assert_eq!(
            listener_lines(&places),
            [
                "name=tcp,bind=127.0.0.1,port=6999",
                "name=tcp,bind=127.0.0.1,bind=::1,port=7000",
                "name=unix,bind=/tmp/s",
                "name=tls,bind=127.0.0.1,port=7001",
            ]
        );
    }
}
