//! Options that the engine reads at every command: the same values as in the store, as atomics.
//!
//! Setting and checking them is the store's; it publishes each new value here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{events::KeyspaceEvents, value::Value};

/// How a published value is kept in 64 bits and read back.
trait HotValue {
    fn from_bits(bits: u64) -> Self;
}

impl HotValue for u64 {
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl HotValue for usize {
    fn from_bits(bits: u64) -> Self {
        usize::try_from(bits).unwrap_or(usize::MAX)
    }
}

impl HotValue for i64 {
    fn from_bits(bits: u64) -> Self {
        bits as i64
    }
}

impl HotValue for bool {
    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

impl HotValue for KeyspaceEvents {
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }
}

fn to_bits(value: &Value) -> u64 {
    match value {
        Value::Bool(value) => u64::from(*value),
        Value::Int(value) => *value as u64,
        Value::Memory(bytes) => *bytes,
        Value::Choice(index) => *index as u64,
        Value::KeyspaceEvents(events) => u64::from(events.bits()),
        other => unreachable!("{other:?} has no form of 64 bits"),
    }
}

macro_rules! hot_options {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $name:literal,)*) => {
        /// The hot options; each read is one relaxed load.
        #[derive(Debug, Default)]
        pub(crate) struct Hot {
            $($field: AtomicU64,)*
        }

        impl Clone for Hot {
            fn clone(&self) -> Self {
                Self { $($field: AtomicU64::new(self.$field.load(Relaxed)),)* }
            }
        }

        #[expect(dead_code, reason = "options of types, eviction and logs that are yet to come")]
        impl Hot {
            $($(#[$doc])* pub(crate) fn $field(&self) -> $type {
                <$type as HotValue>::from_bits(self.$field.load(Relaxed))
            })*

            /// Takes over the value of the option `name`, if it is a hot one.
            pub(super) fn publish(&self, name: &str, value: &Value) {
                match name {
                    $($name => self.$field.store(to_bits(value), Relaxed),)*
                    _ => {}
                }
            }
        }

        #[cfg(test)]
        pub(super) const HOT_NAMES: &[&str] = &[$($name),*];
    };
}

hot_options! {
    /// Bytes the data may use; zero is no limit.
    maxmemory: u64 = "maxmemory",
    /// Index of the eviction policy in [`super::MAXMEMORY_POLICIES`].
    maxmemory_policy: usize = "maxmemory-policy",
    /// Keys looked at for one eviction.
    maxmemory_samples: usize = "maxmemory-samples",
    /// Effort of eviction per command, 0 to 100.
    maxmemory_eviction_tenacity: usize = "maxmemory-eviction-tenacity",
    /// How slowly the frequency counter grows.
    lfu_log_factor: u64 = "lfu-log-factor",
    /// Minutes after which the frequency counter halves; zero is never.
    lfu_decay_time: u64 = "lfu-decay-time",
    /// Fields above which a hash is no longer packed.
    hash_max_listpack_entries: usize = "hash-max-listpack-entries",
    /// Bytes of a field or value above which a hash is no longer packed.
    hash_max_listpack_value: usize = "hash-max-listpack-value",
    /// Entries (positive) or size class (negative) of a list's nodes.
    list_max_listpack_size: i64 = "list-max-listpack-size",
    /// Nodes at each end of a list that are not compressed; zero compresses none.
    list_compress_depth: usize = "list-compress-depth",
    /// Members above which a set of integers is no longer packed.
    set_max_intset_entries: usize = "set-max-intset-entries",
    /// Members above which a set is no longer packed.
    set_max_listpack_entries: usize = "set-max-listpack-entries",
    /// Bytes of a member above which a set is no longer packed.
    set_max_listpack_value: usize = "set-max-listpack-value",
    /// Members above which a sorted set is no longer packed.
    zset_max_listpack_entries: usize = "zset-max-listpack-entries",
    /// Bytes of a member above which a sorted set is no longer packed.
    zset_max_listpack_value: usize = "zset-max-listpack-value",
    /// Whether strings are compressed in snapshots and dumps.
    rdb_compression: bool = "rdbcompression",
    /// Whether a snapshot is sent to the disk piece by piece while it is written.
    rdb_save_incremental_fsync: bool = "rdb-save-incremental-fsync",
    /// Index of the format of a log's base: Valkey's, or Keystead's own.
    base_format: usize = "base-format",
    /// Whether snapshots of Keystead's own format are mapped.
    snapshot_map: bool = "snapshot-map",
    /// Whether large ones are verified before they are used.
    snapshot_verify_at_open: bool = "snapshot-verify-at-open",
    /// Whether snapshots end with a checksum, and it is looked at.
    rdb_checksum: bool = "rdbchecksum",
    /// Index of what becomes of snapshots and dumps of unknown versions: refused, or read.
    rdb_version_check: usize = "rdb-version-check",
    /// Bytes above which a HyperLogLog becomes dense.
    hll_sparse_max_bytes: usize = "hll-sparse-max-bytes",
    /// Bytes above which a stream's node is closed; zero is no limit.
    stream_node_max_bytes: usize = "stream-node-max-bytes",
    /// Entries above which a stream's node is closed; zero is no limit.
    stream_node_max_entries: usize = "stream-node-max-entries",
    /// Microseconds above which a command enters the slow log; negative is never.
    slowlog_log_slower_than: i64 = "commandlog-execution-slower-than",
    /// Entries of the slow log.
    slowlog_max_len: usize = "commandlog-slow-execution-max-len",
    /// Bytes above which a request enters the log of large requests; negative is never.
    commandlog_request_larger_than: i64 = "commandlog-request-larger-than",
    /// Entries of the log of large requests.
    commandlog_large_request_max_len: usize = "commandlog-large-request-max-len",
    /// Bytes above which a reply enters the log of large replies; negative is never.
    commandlog_reply_larger_than: i64 = "commandlog-reply-larger-than",
    /// Entries of the log of large replies.
    commandlog_large_reply_max_len: usize = "commandlog-large-reply-max-len",
    /// Whether latency histograms by command are kept.
    latency_tracking: bool = "latency-tracking",
    /// Milliseconds above which an event enters the latency monitor; zero is never.
    latency_monitor_threshold: u64 = "latency-monitor-threshold",
    /// Whether evicted values are freed in the background.
    lazyfree_lazy_eviction: bool = "lazyfree-lazy-eviction",
    /// Whether expired values are freed in the background.
    lazyfree_lazy_expire: bool = "lazyfree-lazy-expire",
    /// Whether overwritten values are freed in the background.
    lazyfree_lazy_server_del: bool = "lazyfree-lazy-server-del",
    /// Whether DEL frees as UNLINK does.
    lazyfree_lazy_user_del: bool = "lazyfree-lazy-user-del",
    /// Whether FLUSHALL and FLUSHDB free in the background unless told otherwise.
    lazyfree_lazy_user_flush: bool = "lazyfree-lazy-user-flush",
    /// Number of databases.
    databases: usize = "databases",
    /// Runs of the background tasks per second.
    hz: u64 = "hz",
    /// Effort of active expiry, 1 to 10.
    active_expire_effort: u64 = "active-expire-effort",
    /// Greatest length of one argument in bytes.
    proto_max_bulk_len: usize = "proto-max-bulk-len",
    /// Bytes of one command's reply above which it is an error instead.
    max_reply_bytes: usize = "max-reply-bytes",
    /// Bytes of unparsed requests at which a client is cut off.
    client_query_buffer_limit: usize = "client-query-buffer-limit",
    /// Events that are published.
    notify_keyspace_events: KeyspaceEvents = "notify-keyspace-events",
    /// Keys remembered for client tracking; zero is no limit.
    tracking_table_max_keys: usize = "tracking-table-max-keys",
    /// Commands whose keys are fetched together.
    prefetch_batch_max_size: usize = "prefetch-batch-max-size",
    /// Greatest number of clients.
    maxclients: usize = "maxclients",
    /// Seconds after which an idle client is cut off; zero is never.
    timeout: u64 = "timeout",
    /// Milliseconds after which a script counts as busy; zero is never.
    busy_reply_threshold: u64 = "busy-reply-threshold",
    /// Entries of the ACL log.
    acllog_max_len: usize = "acllog-max-len",
    /// Whether expired keys are kept as during an import.
    import_mode: bool = "import-mode",
    /// Index of the fsync policy: 0 everysec, 1 always, 2 no.
    appendfsync: usize = "appendfsync",
    /// Whether the append-only log is on.
    appendonly: bool = "appendonly",
    /// Whether the log is not synced every second while a snapshot or a rewrite is being written.
    no_appendfsync_on_rewrite: bool = "no-appendfsync-on-rewrite",
    /// Whether the log notes times.
    aof_timestamp_enabled: bool = "aof-timestamp-enabled",
    /// Whether a rewritten log begins with a snapshot, or else with commands.
    aof_use_rdb_preamble: bool = "aof-use-rdb-preamble",
    /// Whether a log whose end is cut off is loaded.
    aof_load_truncated: bool = "aof-load-truncated",
    /// Growth in percent at which the log is rewritten; zero is never.
    auto_aof_rewrite_percentage: u64 = "auto-aof-rewrite-percentage",
    /// Bytes below which the log is not rewritten by itself.
    auto_aof_rewrite_min_size: u64 = "auto-aof-rewrite-min-size",
    /// Whether writes are refused after a failed snapshot.
    stop_writes_on_bgsave_error: bool = "stop-writes-on-bgsave-error",
}
