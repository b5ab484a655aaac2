//! The table of INFO's fields: for each section its fields in order, and how each is made from the snapshot.
//!
//! Sections that list things (commands, errors, databases) and the choice of sections are in `info.rs`.

use std::time::Duration;

use super::REDIS_VERSION;
use crate::config::VALKEY_VERSION;

use super::{
    Snapshot,
    datum::{Datum, dataset_percent, difference, percent, ratio},
};
use Datum::{Human, Int, Percent, Ratio, Seconds, Status, Text, Uint};

/// One line of INFO.
pub(super) struct Field {
    /// What stands in front of the colon.
    pub(super) name: &'static str,
    /// What stands behind it.
    pub(super) datum: fn(&Snapshot) -> Datum<'_>,
}

const fn field(name: &'static str, datum: fn(&Snapshot) -> Datum<'_>) -> Field {
    Field { name, datum }
}

pub(super) const SERVER: &[Field] = &[
    field("redis_version", |_| Text(REDIS_VERSION)),
    field("server_name", |_| Text("valkey")),
    field("valkey_version", |_| Text(VALKEY_VERSION)),
    field("valkey_release_stage", |_| Text("ga")),
    field("redis_git_sha1", |_| Text("00000000")),
    field("redis_git_dirty", |_| Text("0")),
    field("redis_build_id", |s| Text(&s.redis_build_id)),
    field("server_mode", |_| Text("standalone")),
    field("os", |s| Text(&s.os)),
    field("arch_bits", |_| Uint(usize::BITS.into())),
    field("monotonic_clock", |s| Text(&s.monotonic_clock)),
    field("multiplexing_api", |s| Text(&s.multiplexing_api)),
    field("gcc_version", |_| Text("0.0.0")),
    field("process_id", |s| Uint(s.process_id)),
    field("process_supervised", |_| Text("no")),
    field("run_id", |s| Text(&s.run_id)),
    field("tcp_port", |s| Uint(s.tcp_port)),
    field("server_time_usec", |s| Uint(s.server_time_usec)),
    field("uptime_in_seconds", |s| Uint(s.uptime_in_seconds)),
    field("uptime_in_days", |s| Uint(s.uptime_in_seconds / 86_400)),
    field("hz", |s| Uint(s.hz)),
    field("configured_hz", |s| Uint(s.configured_hz)),
    field("clients_hz", |s| Uint(s.hz)),
    field("lru_clock", |s| Uint((s.server_time_usec / 1_000_000) & 0x00ff_ffff)),
    field("executable", |s| Text(&s.executable)),
    field("config_file", |s| Text(&s.config_file)),
    field("io_threads_active", |s| Uint(s.io_threads_active)),
    field("availability_zone", |s| Text(&s.availability_zone)),
];

/// Nothing here is encrypted.
pub(super) const TLS: &[Field] = &[
    field("tls_server_cert_serial", |_| Text("none")),
    field("tls_server_cert_expires_in_seconds", |_| Text("0")),
    field("tls_client_cert_serial", |_| Text("none")),
    field("tls_client_cert_expires_in_seconds", |_| Text("0")),
    field("tls_ca_cert_serial", |_| Text("none")),
    field("tls_ca_cert_expires_in_seconds", |_| Text("0")),
];

pub(super) const CLIENTS: &[Field] = &[
    field("connected_clients", |s| Uint(s.connected_clients)),
    field("cluster_connections", |_| Text("0")),
    field("maxclients", |s| Uint(s.maxclients)),
    field("client_recent_max_input_buffer", |s| Uint(s.client_recent_max_input_buffer)),
    field("client_recent_max_output_buffer", |s| Uint(s.client_recent_max_output_buffer)),
    field("blocked_clients", |s| Uint(s.blocked_clients)),
    field("tracking_clients", |s| Uint(s.tracking_clients)),
    field("pubsub_clients", |s| Uint(s.pubsub_clients)),
    field("watching_clients", |s| Uint(s.watching_clients)),
    field("clients_in_timeout_table", |s| Uint(s.clients_in_timeout_table)),
    field("total_watched_keys", |s| Uint(s.total_watched_keys)),
    field("total_blocking_keys", |s| Uint(s.total_blocking_keys)),
    field("total_blocking_keys_on_nokey", |s| Uint(s.total_blocking_keys_on_nokey)),
    field("paused_reason", |s| Text(&s.paused_reason)),
    field("paused_actions", |s| Text(&s.paused_actions)),
    field("paused_timeout_milliseconds", |s| Uint(s.paused_timeout_milliseconds)),
];

pub(super) const MEMORY: &[Field] = &[
    field("used_memory", |s| Uint(s.used_memory)),
    field("used_memory_human", |s| Human(s.used_memory)),
    field("used_memory_rss", |s| Uint(s.used_memory_rss)),
    field("used_memory_rss_human", |s| Human(s.used_memory_rss)),
    field("used_memory_peak", |s| Uint(s.used_memory_peak)),
    field("used_memory_peak_human", |s| Human(s.used_memory_peak)),
    field("used_memory_peak_perc", |s| Percent(percent(s.used_memory, s.used_memory_peak))),
    field("used_memory_overhead", |s| Uint(s.used_memory_overhead)),
    field("used_memory_startup", |s| Uint(s.used_memory_startup)),
    field("used_memory_dataset", |s| Uint(s.used_memory.saturating_sub(s.used_memory_overhead))),
    field("used_memory_dataset_perc", |s| Percent(dataset_percent(s))),
    field("allocator_allocated", |s| Uint(s.allocator_allocated)),
    field("allocator_active", |s| Uint(s.allocator_active)),
    field("allocator_resident", |s| Uint(s.allocator_resident)),
    field("allocator_muzzy", |_| Text("0")),
    field("total_system_memory", |s| Uint(s.total_system_memory)),
    field("total_system_memory_human", |s| Human(s.total_system_memory)),
    field("used_memory_lua", |s| Uint(s.used_memory_lua)),
    field("used_memory_vm_eval", |s| Uint(s.used_memory_lua)),
    field("used_memory_lua_human", |s| Human(s.used_memory_lua)),
    field("used_memory_scripts_eval", |s| Uint(s.used_memory_scripts_eval)),
    field("number_of_cached_scripts", |s| Uint(s.number_of_cached_scripts)),
    field("number_of_functions", |s| Uint(s.number_of_functions)),
    field("number_of_libraries", |s| Uint(s.number_of_libraries)),
    field("used_memory_vm_functions", |s| Uint(s.used_memory_vm_functions)),
    field("used_memory_vm_total", |s| Uint(s.used_memory_lua + s.used_memory_vm_functions)),
    field("used_memory_vm_total_human", |s| Human(s.used_memory_lua + s.used_memory_vm_functions)),
    field("used_memory_functions", |s| Uint(s.used_memory_functions)),
    field("used_memory_scripts", |s| Uint(s.used_memory_scripts_eval + s.used_memory_functions)),
    field("used_memory_scripts_human", |s| Human(s.used_memory_scripts_eval + s.used_memory_functions)),
    field("maxmemory", |s| Uint(s.maxmemory)),
    field("maxmemory_human", |s| Human(s.maxmemory)),
    field("maxmemory_policy", |s| Text(&s.maxmemory_policy)),
    field("allocator_frag_ratio", |s| Ratio(ratio(s.allocator_active, s.allocator_allocated))),
    field("allocator_frag_bytes", |s| Int(difference(s.allocator_active, s.allocator_allocated))),
    field("allocator_rss_ratio", |s| Ratio(ratio(s.allocator_resident, s.allocator_active))),
    field("allocator_rss_bytes", |s| Int(difference(s.allocator_resident, s.allocator_active))),
    field("rss_overhead_ratio", |s| Ratio(ratio(s.used_memory_rss, s.allocator_resident))),
    field("rss_overhead_bytes", |s| Int(difference(s.used_memory_rss, s.allocator_resident))),
    field("mem_fragmentation_ratio", |s| Ratio(ratio(s.used_memory_rss, s.used_memory))),
    field("mem_fragmentation_bytes", |s| Int(difference(s.used_memory_rss, s.used_memory))),
    field("mem_not_counted_for_evict", |s| Uint(s.mem_not_counted_for_evict)),
    field("mem_replication_backlog", |_| Text("0")),
    field("mem_total_replication_buffers", |_| Text("0")),
    field("mem_replicas_repl_buffer", |_| Text("0")),
    field("mem_clients_slaves", |_| Text("0")),
    field("mem_clients_normal", |s| Uint(s.mem_clients_normal)),
    field("mem_cluster_links", |_| Text("0")),
    field("mem_cluster_slot_import", |_| Text("0")),
    field("mem_cluster_slot_export", |_| Text("0")),
    field("mem_aof_buffer", |s| Uint(s.mem_aof_buffer)),
    field("mem_allocator", |s| Text(&s.mem_allocator)),
    field("mem_overhead_db_hashtable_rehashing", |s| Uint(s.mem_overhead_db_hashtable_rehashing)),
    field("active_defrag_running", |s| Uint(s.active_defrag_running)),
    field("lazyfree_pending_objects", |s| Uint(s.lazyfree_pending_objects)),
    field("lazyfreed_objects", |s| Uint(s.lazyfreed_objects)),
];

pub(super) const PERSISTENCE: &[Field] = &[
    field("loading", |s| Uint(s.loading)),
    field("async_loading", |_| Text("0")),
    field("current_cow_peak", |s| Uint(s.current_cow_peak)),
    field("current_cow_size", |s| Uint(s.current_cow_size)),
    field("current_cow_size_age", |s| Uint(s.current_cow_size_age)),
    field("current_fork_perc", |s| Ratio(percent(s.current_save_keys_processed, s.current_save_keys_total))),
    field("current_save_keys_processed", |s| Uint(s.current_save_keys_processed)),
    field("current_save_keys_total", |s| Uint(s.current_save_keys_total)),
    field("rdb_changes_since_last_save", |s| Uint(s.rdb_changes_since_last_save)),
    field("rdb_bgsave_in_progress", |s| Uint(s.rdb_bgsave_in_progress)),
    field("rdb_last_save_time", |s| Uint(s.rdb_last_save_time)),
    field("rdb_last_bgsave_status", |s| Status(s.rdb_last_bgsave_status)),
    field("rdb_last_bgsave_time_sec", |s| Int(s.rdb_last_bgsave_time_sec)),
    field("rdb_current_bgsave_time_sec", |s| Int(s.rdb_current_bgsave_time_sec)),
    field("rdb_saves", |s| Uint(s.rdb_saves)),
    field("rdb_last_cow_size", |s| Uint(s.rdb_last_cow_size)),
    field("rdb_last_load_keys_expired", |s| Uint(s.rdb_last_load_keys_expired)),
    field("rdb_last_load_keys_loaded", |s| Uint(s.rdb_last_load_keys_loaded)),
    field("aof_enabled", |s| Uint(s.aof_enabled)),
    field("aof_rewrite_in_progress", |s| Uint(s.aof_rewrite_in_progress)),
    field("aof_rewrite_scheduled", |s| Uint(s.aof_rewrite_scheduled)),
    field("aof_last_rewrite_time_sec", |s| Int(s.aof_last_rewrite_time_sec)),
    field("aof_current_rewrite_time_sec", |s| Int(s.aof_current_rewrite_time_sec)),
    field("aof_last_bgrewrite_status", |s| Status(s.aof_last_bgrewrite_status)),
    field("aof_rewrites", |s| Uint(s.aof_rewrites)),
    field("aof_rewrites_consecutive_failures", |s| Uint(s.aof_rewrites_consecutive_failures)),
    field("aof_last_write_status", |s| Status(s.aof_last_write_status)),
    field("aof_last_cow_size", |s| Uint(s.aof_last_cow_size)),
    field("module_fork_in_progress", |_| Text("0")),
    field("module_fork_last_cow_size", |_| Text("0")),
    field("slot_migration_fork_in_progress", |_| Text("0")),
];

/// Further fields of Persistence while the log is on.
pub(super) const PERSISTENCE_AOF: &[Field] = &[
    field("aof_current_size", |s| Uint(s.aof_current_size)),
    field("aof_base_size", |s| Uint(s.aof_base_size)),
    field("aof_pending_rewrite", |s| Uint(s.aof_pending_rewrite)),
    field("aof_buffer_length", |s| Uint(s.mem_aof_buffer)),
    field("aof_pending_bio_fsync", |s| Uint(s.aof_pending_bio_fsync)),
    field("aof_delayed_fsync", |s| Uint(s.aof_delayed_fsync)),
];

pub(super) const STATS: &[Field] = &[
    field("total_connections_received", |s| Uint(s.total_connections_received)),
    field("total_commands_processed", |s| Uint(s.total_commands_processed)),
    field("instantaneous_ops_per_sec", |s| Uint(s.instantaneous_ops_per_sec)),
    field("total_net_input_bytes", |s| Uint(s.total_net_input_bytes)),
    field("total_net_output_bytes", |s| Uint(s.total_net_output_bytes)),
    field("total_net_repl_input_bytes", |_| Text("0")),
    field("total_net_repl_output_bytes", |_| Text("0")),
    field("total_net_cluster_slot_import_bytes", |_| Text("0")),
    field("total_net_cluster_slot_export_bytes", |_| Text("0")),
    field("instantaneous_input_kbps", |s| Ratio(s.instantaneous_input_kbps)),
    field("instantaneous_output_kbps", |s| Ratio(s.instantaneous_output_kbps)),
    field("instantaneous_input_repl_kbps", |_| Text("0.00")),
    field("instantaneous_output_repl_kbps", |_| Text("0.00")),
    field("rejected_connections", |s| Uint(s.rejected_connections)),
    field("sync_full", |_| Text("0")),
    field("sync_partial_ok", |_| Text("0")),
    field("sync_partial_err", |_| Text("0")),
    field("expired_keys", |s| Uint(s.expired_keys)),
    field("expired_fields", |s| Uint(s.expired_fields)),
    field("expired_stale_perc", |s| Ratio(s.expired_stale_perc)),
    // Nothing is sampled: the wheels know what is due.
    field("expired_keys_with_volatile_items_stale_perc", |_| Text("0.00")),
    field("expired_time_cap_reached_count", |s| Uint(s.expired_time_cap_reached_count)),
    field("expire_cycle_cpu_milliseconds", |s| Uint(s.expire_cycle_cpu_milliseconds)),
    field("evicted_keys", |s| Uint(s.evicted_keys)),
    field("evicted_clients", |s| Uint(s.evicted_clients)),
    field("evicted_scripts", |s| Uint(s.evicted_scripts)),
    field("total_eviction_exceeded_time", |s| Uint(s.total_eviction_exceeded_time)),
    field("current_eviction_exceeded_time", |s| Uint(s.current_eviction_exceeded_time)),
    field("keyspace_hits", |s| Uint(s.keyspace_hits)),
    field("keyspace_misses", |s| Uint(s.keyspace_misses)),
    field("pubsub_channels", |s| Uint(s.pubsub_channels)),
    field("pubsub_patterns", |s| Uint(s.pubsub_patterns)),
    field("pubsubshard_channels", |s| Uint(s.pubsubshard_channels)),
    field("latest_fork_usec", |_| Text("0")),
    field("total_forks", |_| Text("0")),
    field("migrate_cached_sockets", |s| Uint(s.migrate_cached_sockets)),
    field("slave_expires_tracked_keys", |_| Text("0")),
    field("active_defrag_hits", |s| Uint(s.active_defrag_hits)),
    field("active_defrag_misses", |s| Uint(s.active_defrag_misses)),
    field("active_defrag_key_hits", |s| Uint(s.active_defrag_key_hits)),
    field("active_defrag_key_misses", |s| Uint(s.active_defrag_key_misses)),
    field("total_active_defrag_time", |s| Uint(s.total_active_defrag_time)),
    field("current_active_defrag_time", |s| Uint(s.current_active_defrag_time)),
    field("tracking_total_keys", |s| Uint(s.tracking_total_keys)),
    field("tracking_total_items", |s| Uint(s.tracking_total_items)),
    field("tracking_total_prefixes", |s| Uint(s.tracking_total_prefixes)),
    field("unexpected_error_replies", |s| Uint(s.unexpected_error_replies)),
    field("total_error_replies", |s| Uint(s.total_error_replies)),
    field("dump_payload_sanitizations", |s| Uint(s.dump_payload_sanitizations)),
    field("total_reads_processed", |s| Uint(s.total_reads_processed)),
    field("total_writes_processed", |s| Uint(s.total_writes_processed)),
    field("io_threaded_reads_processed", |_| Text("0")),
    field("io_threaded_writes_processed", |_| Text("0")),
    field("io_threaded_freed_objects", |_| Text("0")),
    field("io_threaded_accept_processed", |_| Text("0")),
    field("io_threaded_poll_processed", |_| Text("0")),
    field("io_threaded_total_prefetch_batches", |_| Text("0")),
    field("io_threaded_total_prefetch_entries", |_| Text("0")),
    field("client_query_buffer_limit_disconnections", |s| Uint(s.client_query_buffer_limit_disconnections)),
    field("client_output_buffer_limit_disconnections", |s| Uint(s.client_output_buffer_limit_disconnections)),
    field("reply_buffer_shrinks", |s| Uint(s.reply_buffer_shrinks)),
    field("reply_buffer_expands", |s| Uint(s.reply_buffer_expands)),
    field("eventloop_cycles", |s| Uint(s.eventloop_cycles)),
    field("eventloop_duration_sum", |s| Uint(s.eventloop_duration_sum)),
    field("eventloop_duration_cmd_sum", |s| Uint(s.eventloop_duration_cmd_sum)),
    field("instantaneous_eventloop_cycles_per_sec", |s| Uint(s.instantaneous_eventloop_cycles_per_sec)),
    field("instantaneous_eventloop_duration_usec", |s| Uint(s.instantaneous_eventloop_duration_usec)),
    field("acl_access_denied_auth", |s| Uint(s.acl_access_denied_auth)),
    field("acl_access_denied_cmd", |s| Uint(s.acl_access_denied_cmd)),
    field("acl_access_denied_key", |s| Uint(s.acl_access_denied_key)),
    field("acl_access_denied_channel", |s| Uint(s.acl_access_denied_channel)),
    field("acl_access_denied_tls_cert", |_| Text("0")),
    field("acl_access_denied_db", |s| Uint(s.acl_access_denied_db)),
];

pub(super) const SCRIPTING_ENGINES: &[Field] = &[
    field("engines_count", |_| Text(if HAS_SCRIPTS { "1" } else { "0" })),
    field("engines_total_used_memory", |s| Uint(s.used_memory_lua + s.used_memory_vm_functions)),
    field("engines_total_memory_overhead", |_| Text("0")),
    #[cfg(feature = "scripting")]
    field("engine_0", |s| Text(&s.scripting_engine)),
];

/// Whether scripts were built along.
const HAS_SCRIPTS: bool = cfg!(feature = "scripting");

pub(super) const REPLICATION: &[Field] = &[
    field("role", |_| Text("master")),
    field("connected_slaves", |_| Text("0")),
    field("replicas_waiting_psync", |_| Text("0")),
    field("master_failover_state", |_| Text("no-failover")),
    field("master_replid", |s| Text(&s.master_replid)),
    field("master_replid2", |_| Text("0000000000000000000000000000000000000000")),
    field("master_repl_offset", |_| Text("0")),
    field("second_repl_offset", |_| Text("-1")),
    field("repl_backlog_active", |_| Text("0")),
    field("repl_backlog_size", |s| Uint(s.repl_backlog_size)),
    field("repl_backlog_first_byte_offset", |_| Text("0")),
    field("repl_backlog_histlen", |_| Text("0")),
];

pub(super) const CPU: &[Field] = &[
    field("used_cpu_sys", |s| Seconds(s.used_cpu_sys)),
    field("used_cpu_user", |s| Seconds(s.used_cpu_user)),
    field("used_cpu_sys_children", |_| Text("0.000000")),
    field("used_cpu_user_children", |_| Text("0.000000")),
    field("used_cpu_sys_main_thread", |s| Seconds(s.used_cpu_sys_main_thread)),
    field("used_cpu_user_main_thread", |s| Seconds(s.used_cpu_user_main_thread)),
    field("used_active_time_main_thread", |s| Seconds(Duration::from_micros(s.eventloop_duration_sum))),
];

pub(super) const CLUSTER: &[Field] = &[field("cluster_enabled", |_| Text("0"))];
