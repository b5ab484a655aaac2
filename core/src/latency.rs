//! Latency records: histograms by command, the monitor of slow events, and the slow log.
//!
//! Measuring and deciding what to record (thresholds, `latency-tracking`) is the executor's; replies are the commands'.

mod graph;
mod histogram;
mod monitor;
mod slowlog;

pub(crate) use histogram::Histogram;
pub(crate) use monitor::{EventSummary, LatencyMonitor, Sample};
pub(crate) use slowlog::{SlowLog, SlowLogEntry};
