//! What the engine fills in for INFO: plain numbers and texts.
//!
//! How they are printed is in `fields.rs`; fields that never vary in an embedded engine stand there only.

use std::time::Duration;

/// The state of an engine at one moment, by INFO's own field names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Identifier of the build.
    pub(crate) redis_build_id: String,
    /// Name, release and machine of the system.
    pub(crate) os: String,
    /// How monotonic time is read.
    pub(crate) monotonic_clock: String,
    /// What the listener waits with.
    pub(crate) multiplexing_api: String,
    /// Process id.
    pub(crate) process_id: u64,
    /// 40 hexadecimal digits that name this engine.
    pub(crate) run_id: String,
    /// Port of the listener; 0 is none.
    pub(crate) tcp_port: u64,
    /// Unix time in microseconds.
    pub(crate) server_time_usec: u64,
    /// Seconds since the engine was opened.
    pub(crate) uptime_in_seconds: u64,
    /// Runs of the background tasks per second, as they are.
    pub(crate) hz: u64,
    /// Runs of the background tasks per second, as configured.
    pub(crate) configured_hz: u64,
    /// Path of the program.
    pub(crate) executable: String,
    /// Path of the configuration file; empty is none.
    pub(crate) config_file: String,
    /// Whether threads serve connections: 0 or 1.
    pub(crate) io_threads_active: u64,
    /// Zone as configured.
    pub(crate) availability_zone: String,
    /// Whether names are those that clients of Redis insist on.
    pub(crate) extended_redis_compatibility: bool,
    /// Sessions.
    pub(crate) connected_clients: u64,
    /// Greatest number of clients.
    pub(crate) maxclients: u64,
    /// Largest input buffer of late, in bytes.
    pub(crate) client_recent_max_input_buffer: u64,
    /// Largest output buffer of late, in bytes.
    pub(crate) client_recent_max_output_buffer: u64,
    /// Sessions that wait in a blocking command.
    pub(crate) blocked_clients: u64,
    /// Sessions with client side caching.
    pub(crate) tracking_clients: u64,
    /// Sessions with subscriptions.
    pub(crate) pubsub_clients: u64,
    /// Sessions that watch keys.
    pub(crate) watching_clients: u64,
    /// Sessions that wait with a timeout.
    pub(crate) clients_in_timeout_table: u64,
    /// Keys watched.
    pub(crate) total_watched_keys: u64,
    /// Keys waited for.
    pub(crate) total_blocking_keys: u64,
    /// Keys waited for until they go.
    pub(crate) total_blocking_keys_on_nokey: u64,
    /// Why clients are paused: `none` or `client_pause`.
    pub(crate) paused_reason: String,
    /// What is paused: `none`, `write` or `all`.
    pub(crate) paused_actions: String,
    /// How long the pause lasts.
    pub(crate) paused_timeout_milliseconds: u64,
    /// Bytes accounted to data and bookkeeping.
    pub(crate) used_memory: u64,
    /// Bytes of the process in memory.
    pub(crate) used_memory_rss: u64,
    /// Greatest `used_memory` so far.
    pub(crate) used_memory_peak: u64,
    /// Bytes of bookkeeping.
    pub(crate) used_memory_overhead: u64,
    /// Bytes used by an empty engine.
    pub(crate) used_memory_startup: u64,
    /// Bytes handed out by the allocator.
    pub(crate) allocator_allocated: u64,
    /// Bytes in pages that hold any of them.
    pub(crate) allocator_active: u64,
    /// Bytes of the allocator in memory.
    pub(crate) allocator_resident: u64,
    /// Bytes of the machine's memory.
    pub(crate) total_system_memory: u64,
    /// Bytes of the interpreter for EVAL.
    pub(crate) used_memory_lua: u64,
    /// What there is to say of the engine of scripts.
    pub(crate) scripting_engine: String,
    /// Bytes of cached scripts.
    pub(crate) used_memory_scripts_eval: u64,
    /// Cached scripts.
    pub(crate) number_of_cached_scripts: u64,
    /// Functions loaded.
    pub(crate) number_of_functions: u64,
    /// Libraries loaded.
    pub(crate) number_of_libraries: u64,
    /// Bytes of the interpreter for functions.
    pub(crate) used_memory_vm_functions: u64,
    /// Bytes of functions.
    pub(crate) used_memory_functions: u64,
    /// Bytes the data may use; 0 is no limit.
    pub(crate) maxmemory: u64,
    /// Name of the eviction policy.
    pub(crate) maxmemory_policy: String,
    /// Bytes that eviction does not count.
    pub(crate) mem_not_counted_for_evict: u64,
    /// Bytes of sessions and their buffers.
    pub(crate) mem_clients_normal: u64,
    /// Bytes waiting to be written to the log.
    pub(crate) mem_aof_buffer: u64,
    /// Name of the allocator.
    pub(crate) mem_allocator: String,
    /// Bytes of tables being moved to larger ones.
    pub(crate) mem_overhead_db_hashtable_rehashing: u64,
    /// Percent of processor time that compaction takes; 0 is not running.
    pub(crate) active_defrag_running: u64,
    /// Values waiting to be freed in the background.
    pub(crate) lazyfree_pending_objects: u64,
    /// Values freed in the background so far.
    pub(crate) lazyfreed_objects: u64,
    /// Whether data is being loaded: 0 or 1.
    pub(crate) loading: u64,
    /// Greatest number of bytes copied for the running snapshot.
    pub(crate) current_cow_peak: u64,
    /// Bytes copied for the running snapshot.
    pub(crate) current_cow_size: u64,
    /// Seconds since that was measured.
    pub(crate) current_cow_size_age: u64,
    /// Keys written by the running snapshot.
    pub(crate) current_save_keys_processed: u64,
    /// Keys it will have written.
    pub(crate) current_save_keys_total: u64,
    /// Changes since the last snapshot.
    pub(crate) rdb_changes_since_last_save: u64,
    /// Whether a snapshot is running: 0 or 1.
    pub(crate) rdb_bgsave_in_progress: u64,
    /// Unix time in seconds of the last snapshot.
    pub(crate) rdb_last_save_time: u64,
    /// Whether the last snapshot succeeded.
    pub(crate) rdb_last_bgsave_status: bool,
    /// Seconds the last snapshot took; -1 is none.
    pub(crate) rdb_last_bgsave_time_sec: i64,
    /// Seconds the running snapshot has taken; -1 is none.
    pub(crate) rdb_current_bgsave_time_sec: i64,
    /// Snapshots taken.
    pub(crate) rdb_saves: u64,
    /// Bytes copied for the last snapshot.
    pub(crate) rdb_last_cow_size: u64,
    /// Expired keys found in the last load.
    pub(crate) rdb_last_load_keys_expired: u64,
    /// Keys of the last load.
    pub(crate) rdb_last_load_keys_loaded: u64,
    /// Whether the log is on: 0 or 1.
    pub(crate) aof_enabled: u64,
    /// Whether the log is being rewritten: 0 or 1.
    pub(crate) aof_rewrite_in_progress: u64,
    /// Whether a rewrite waits for a snapshot: 0 or 1.
    pub(crate) aof_rewrite_scheduled: u64,
    /// Seconds the last rewrite took; -1 is none.
    pub(crate) aof_last_rewrite_time_sec: i64,
    /// Seconds the running rewrite has taken; -1 is none.
    pub(crate) aof_current_rewrite_time_sec: i64,
    /// Whether the last rewrite succeeded.
    pub(crate) aof_last_bgrewrite_status: bool,
    /// Rewrites done.
    pub(crate) aof_rewrites: u64,
    /// Rewrites that failed in a row.
    pub(crate) aof_rewrites_consecutive_failures: u64,
    /// Whether the last write to the log succeeded.
    pub(crate) aof_last_write_status: bool,
    /// Bytes copied for the last rewrite.
    pub(crate) aof_last_cow_size: u64,
    /// Bytes of the log.
    pub(crate) aof_current_size: u64,
    /// Bytes of the log after its last rewrite.
    pub(crate) aof_base_size: u64,
    /// Whether a rewrite is pending: 0 or 1.
    pub(crate) aof_pending_rewrite: u64,
    /// Syncs waiting for the background thread.
    pub(crate) aof_pending_bio_fsync: u64,
    /// Writes delayed by a running sync.
    pub(crate) aof_delayed_fsync: u64,
    /// Sessions opened so far.
    pub(crate) total_connections_received: u64,
    /// Commands executed so far.
    pub(crate) total_commands_processed: u64,
    /// Commands per second of late.
    pub(crate) instantaneous_ops_per_sec: u64,
    /// Bytes received so far.
    pub(crate) total_net_input_bytes: u64,
    /// Bytes sent so far.
    pub(crate) total_net_output_bytes: u64,
    /// Kilobytes received per second of late.
    pub(crate) instantaneous_input_kbps: f64,
    /// Kilobytes sent per second of late.
    pub(crate) instantaneous_output_kbps: f64,
    /// Clients turned away.
    pub(crate) rejected_connections: u64,
    /// Keys expired so far.
    pub(crate) expired_keys: u64,
    /// Fields of hashes expired so far.
    pub(crate) expired_fields: u64,
    /// Percent of keys that are expired and not reclaimed.
    pub(crate) expired_stale_perc: f64,
    /// Runs of the reaper that used up their time.
    pub(crate) expired_time_cap_reached_count: u64,
    /// Milliseconds the reaper has taken.
    pub(crate) expire_cycle_cpu_milliseconds: u64,
    /// Keys evicted so far.
    pub(crate) evicted_keys: u64,
    /// Clients cut off for memory.
    pub(crate) evicted_clients: u64,
    /// Scripts evicted from the cache.
    pub(crate) evicted_scripts: u64,
    /// Milliseconds spent above the limit so far.
    pub(crate) total_eviction_exceeded_time: u64,
    /// Milliseconds spent above the limit this time.
    pub(crate) current_eviction_exceeded_time: u64,
    /// Lookups that found a key.
    pub(crate) keyspace_hits: u64,
    /// Lookups that found none.
    pub(crate) keyspace_misses: u64,
    /// Channels with subscribers.
    pub(crate) pubsub_channels: u64,
    /// Patterns with subscribers.
    pub(crate) pubsub_patterns: u64,
    /// Shard channels with subscribers.
    pub(crate) pubsubshard_channels: u64,
    /// Connections kept by MIGRATE.
    pub(crate) migrate_cached_sockets: u64,
    /// Allocations moved by compaction.
    pub(crate) active_defrag_hits: u64,
    /// Allocations looked at and left.
    pub(crate) active_defrag_misses: u64,
    /// Keys of which any was moved.
    pub(crate) active_defrag_key_hits: u64,
    /// Keys of which none was moved.
    pub(crate) active_defrag_key_misses: u64,
    /// Milliseconds of compaction so far.
    pub(crate) total_active_defrag_time: u64,
    /// Milliseconds of the running compaction.
    pub(crate) current_active_defrag_time: u64,
    /// Keys tracked.
    pub(crate) tracking_total_keys: u64,
    /// Pairs of key and client tracked.
    pub(crate) tracking_total_items: u64,
    /// Prefixes tracked.
    pub(crate) tracking_total_prefixes: u64,
    /// Errors that should not happen.
    pub(crate) unexpected_error_replies: u64,
    /// Errors answered so far.
    pub(crate) total_error_replies: u64,
    /// Payloads of RESTORE checked.
    pub(crate) dump_payload_sanitizations: u64,
    /// Reads from connections.
    pub(crate) total_reads_processed: u64,
    /// Writes to connections.
    pub(crate) total_writes_processed: u64,
    /// Clients cut off for their input.
    pub(crate) client_query_buffer_limit_disconnections: u64,
    /// Clients cut off for their output.
    pub(crate) client_output_buffer_limit_disconnections: u64,
    /// Reply buffers made smaller.
    pub(crate) reply_buffer_shrinks: u64,
    /// Reply buffers made larger.
    pub(crate) reply_buffer_expands: u64,
    /// Rounds of the background thread.
    pub(crate) eventloop_cycles: u64,
    /// Microseconds they took.
    pub(crate) eventloop_duration_sum: u64,
    /// Microseconds that commands took.
    pub(crate) eventloop_duration_cmd_sum: u64,
    /// Rounds per second of late.
    pub(crate) instantaneous_eventloop_cycles_per_sec: u64,
    /// Microseconds of a round of late.
    pub(crate) instantaneous_eventloop_duration_usec: u64,
    /// Failed authentications.
    pub(crate) acl_access_denied_auth: u64,
    /// Commands denied.
    pub(crate) acl_access_denied_cmd: u64,
    /// Keys denied.
    pub(crate) acl_access_denied_key: u64,
    /// Channels denied.
    pub(crate) acl_access_denied_channel: u64,
    /// Calls on databases that the user may not use.
    pub(crate) acl_access_denied_db: u64,
    /// 40 hexadecimal digits that name the history of the data.
    pub(crate) master_replid: String,
    /// Bytes of the backlog as configured.
    pub(crate) repl_backlog_size: u64,
    /// Time in the kernel.
    pub(crate) used_cpu_sys: Duration,
    /// Time in the program.
    pub(crate) used_cpu_user: Duration,
    /// Time of the calling thread in the kernel.
    pub(crate) used_cpu_sys_main_thread: Duration,
    /// Time of the calling thread in the program.
    pub(crate) used_cpu_user_main_thread: Duration,
    /// Listeners, as `name=tcp,bind=127.0.0.1,port=6379`.
    pub(crate) listeners: Vec<String>,
    /// Commands that were called.
    pub(crate) commands: Vec<CommandStats>,
    /// Error codes and how often each was answered.
    pub(crate) errors: Vec<(String, u64)>,
    /// Commands with a latency histogram.
    pub(crate) latencies: Vec<CommandLatency>,
    /// Databases; empty ones are not printed.
    pub(crate) databases: Vec<DatabaseStats>,
}

/// Counters of one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CommandStats {
    /// Name, with its subcommand behind a bar.
    pub(crate) name: String,
    /// Calls that were executed.
    pub(crate) calls: u64,
    /// Microseconds they took.
    pub(crate) usec: u64,
    /// Calls refused before execution.
    pub(crate) rejected_calls: u64,
    /// Calls that answered an error.
    pub(crate) failed_calls: u64,
}

/// Latencies of one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CommandLatency {
    /// Name, with its subcommand behind a bar.
    pub(crate) name: String,
    /// Percentiles and their latencies in nanoseconds.
    pub(crate) percentiles: Vec<(f64, u64)>,
}

/// Counters of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DatabaseStats {
    /// Number of the database.
    pub(crate) index: usize,
    /// Keys.
    pub(crate) keys: u64,
    /// Keys with a deadline.
    pub(crate) expires: u64,
    /// Average time to live in milliseconds.
    pub(crate) avg_ttl: u64,
    /// Keys some of whose fields have a deadline.
    pub(crate) volatile_items: u64,
}
