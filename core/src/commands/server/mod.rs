//! Commands about the engine as a whole: its options, statistics, logs and memory, its databases, and the commands themselves.

pub(crate) mod command;
pub(crate) mod command_docs;
pub(crate) mod command_keys;
pub(crate) mod command_list;
pub(crate) mod commandlog;
pub(crate) mod config;
pub(crate) mod debug;
pub(crate) mod debug_protocol;
pub(crate) mod flush;
pub(crate) mod info;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod memory_stats;
pub(crate) mod slowlog;
pub(crate) mod time;
