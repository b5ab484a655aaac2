//! The latency monitor: samples of events that took longer than `latency-monitor-threshold`, by event.
//!
//! Comparing with the threshold is left to those who measure; the graph is drawn in `graph.rs`.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use super::graph;

/// Samples kept for each event.
const MAX_SAMPLES: usize = 160;

/// The longest latency of an event within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Unix time in seconds.
    pub(crate) time: u64,
    /// Milliseconds.
    pub(crate) latency: u64,
}

/// One row of LATENCY LATEST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventSummary {
    /// The event, such as `command` or `expire-cycle`.
    pub(crate) event: String,
    /// Its latest sample.
    pub(crate) latest: Sample,
    /// Greatest latency ever, in milliseconds.
    pub(crate) max: u64,
    /// Sum of all latencies ever recorded, in milliseconds.
    pub(crate) sum: u64,
    /// How many were recorded.
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
struct Series {
    samples: VecDeque<Sample>,
    max: u64,
    sum: u64,
    count: u64,
}

/// Samples of all events.
#[derive(Debug, Default)]
pub(crate) struct LatencyMonitor {
    events: BTreeMap<String, Series>,
}

impl LatencyMonitor {
    /// Records that `event` took `latency` milliseconds at `time`, unix seconds. Of one second only the longest is kept.
    pub(crate) fn record(&mut self, event: &str, time: u64, latency: u64) {
        if !self.events.contains_key(event) {
            self.events.insert(event.to_owned(), Series::default());
        }
        let series = self.events.get_mut(event).expect("the event was inserted if it was missing");
        series.max = series.max.max(latency);
        series.sum += latency;
        series.count += 1;
        match series.samples.back_mut() {
            Some(last) if last.time == time => last.latency = last.latency.max(latency),
            _ => {
                if series.samples.len() == MAX_SAMPLES {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { time, latency });
            }
        }
    }

    /// LATENCY LATEST: a summary of each event, by name.
    pub(crate) fn latest(&self) -> Vec<EventSummary> {
        let summary = |(event, series): (&String, &Series)| EventSummary {
            event: event.clone(),
            latest: *series.samples.back().expect("a series begins with a sample"),
            max: series.max,
            sum: series.sum,
            count: series.count,
        };
        self.events.iter().map(summary).collect()
    }

    /// LATENCY HISTORY: the samples of one event, oldest first; none if the event is unknown.
    pub(crate) fn history(&self, event: &str) -> Vec<Sample> {
        self.events.get(event).map(|series| series.samples.iter().copied().collect()).unwrap_or_default()
    }

    /// LATENCY RESET: forgets the events named, all of them if none is; how many there were.
    pub(crate) fn reset(&mut self, events: &[&str]) -> usize {
        if events.is_empty() {
            return std::mem::take(&mut self.events).len();
        }
        events.iter().filter(|event| self.events.remove(**event).is_some()).count()
    }

    /// LATENCY GRAPH: the samples of one event as a drawing with their ages at `now` (unix seconds); `None` if the event is
    /// unknown, which the command answers with `No samples available for event '...'`.
    pub(crate) fn graph(&self, event: &str, now: u64) -> Option<String> {
        let series = self.events.get(event)?;
        let latencies = || series.samples.iter().map(|sample| sample.latency);
        let (high, low) = (latencies().max()?, latencies().min()?);
        let all_time = series.max;
        let mut text = format!(
            "{event} - high {high} ms, low {low} ms (all time high {all_time} ms)\n{}\n",
            "-".repeat(80)
        );
        let points: Vec<(u64, String)> = series
            .samples
            .iter()
            .map(|sample| (sample.latency, age(now.saturating_sub(sample.time))))
            .collect();
        text.push_str(&graph::draw(&points));
        Some(text)
    }

    /// LATENCY DOCTOR: what the samples say, and what may help. `enabled` tells whether the threshold lets anything be
    /// recorded.
    pub(crate) fn doctor(&self, enabled: bool) -> String {
        if self.events.is_empty() {
            return if enabled { NO_SPIKES } else { DISABLED }.to_owned();
        }
        let mut report = "Latency spikes are observed in this Valkey instance.\n\n".to_owned();
        for (index, (event, series)) in self.events.iter().enumerate() {
            let Statistics { average, deviation, period } = series.statistics();
            writeln!(
                report,
                "{}. {event}: {} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} sec). \
                 Worst all time event {}ms.",
                index + 1,
                series.samples.len(),
                series.max
            )
            .expect("writing to a string does not fail");
        }
        report.push_str("\nHere is some advice for you:\n\n");
        for (concerns, advice) in ADVICE {
            if self.events.keys().any(|event| concerns.iter().any(|prefix| event.starts_with(prefix))) {
                report.push_str("- ");
                report.push_str(advice);
                report.push('\n');
            }
        }
        report
    }
}

const NO_SPIKES: &str =
    "No latency spike was observed during the lifetime of this Valkey instance, not in the slightest bit.\n";

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Valkey instance. You may use \
                        \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it.\n";

/// Beginnings of event names and what may help against them.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["command", "fast-command"],
        "SLOWLOG GET shows which commands took long. Look for those that touch many elements at once (KEYS, SMEMBERS, LRANGE over \
         everything, SORT, long scripts) and replace them by their SCAN twins or smaller ranges.",
    ),
    (
        &["command", "expire", "eviction"],
        "Freeing very large values takes time: keep lazyfree-lazy-user-del, lazyfree-lazy-expire and lazyfree-lazy-eviction on, or \
         cut such values into smaller ones.",
    ),
    (
        &["eviction"],
        "Writes wait for evictions when the memory limit is reached: raise maxmemory or lower maxmemory-eviction-tenacity.",
    ),
    (
        &["aof", "rdb"],
        "The disk is slow to take the data: use appendfsync everysec or no, or put the data directory on a faster disk.",
    ),
];

struct Statistics {
    average: u64,
    deviation: u64,
    period: f64,
}

impl Series {
    fn statistics(&self) -> Statistics {
        let count = self.samples.len() as u64;
        let average = self.samples.iter().map(|sample| sample.latency).sum::<u64>() / count;
        let deviations = self.samples.iter().map(|sample| sample.latency.abs_diff(average)).sum::<u64>();
        let span = match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.time.saturating_sub(first.time),
            _ => 0,
        };
        Statistics { average, deviation: deviations / count, period: span as f64 / count as f64 }
    }
}

/// An age in the largest unit that is not zero.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What DEBUG SLEEP made a server record.
    fn recorded() -> LatencyMonitor {
        let mut monitor = LatencyMonitor::default();
        for (time, latency) in [(277, 30), (277, 50), (277, 40), (278, 100), (278, 20), (280, 200)] {
            monitor.record("command", time, latency);
        }
        monitor
    }

    #[test]
    fn summaries_and_samples_are_the_servers() {
        let monitor = recorded();
        let latest = Sample { time: 280, latency: 200 };
        assert_eq!(
            monitor.latest(),
            [EventSummary { event: "command".to_owned(), latest, max: 200, sum: 440, count: 6 }]
        );
        let pairs: Vec<(u64, u64)> =
            monitor.history("command").iter().map(|sample| (sample.time, sample.latency)).collect();
        assert_eq!(pairs, [(277, 50), (278, 100), (280, 200)]);
        assert_eq!(monitor.history("nosuch"), []);
    }

    #[test]
    fn the_graph_is_the_servers() {
        let expected = format!(
            "command - high 200 ms, low 50 ms (all time high 200 ms)\n{}\n  #\n  |\n o|\n_||\n   \n320\nsss\n",
            "-".repeat(80)
        );
        assert_eq!(recorded().graph("command", 280).unwrap(), expected);
        assert_eq!(recorded().graph("nosuch", 280), None);
    }

    #[test]
    fn the_doctor_names_the_events() {
        let monitor = recorded();
        let report = monitor.doctor(true);
        assert!(report.contains(
            "\n1. command: 3 latency spikes (average 116ms, mean deviation 55ms, period 1.00 sec). Worst all time event 200ms.\n"
        ));
        assert!(report.contains("- SLOWLOG GET"));
        assert!(!report.contains("maxmemory-eviction-tenacity"));
        assert!(LatencyMonitor::default().doctor(true).starts_with("No latency spike"));
        assert!(LatencyMonitor::default().doctor(false).contains("latency-monitor-threshold"));
    }

    #[test]
    fn resetting_counts_what_was_there() {
        let mut monitor = recorded();
        monitor.record("expire-cycle", 281, 5);
        assert_eq!(monitor.reset(&["command", "x"]), 1);
        assert_eq!(monitor.reset(&[]), 1);
        assert_eq!(monitor.latest(), []);
    }

    #[test]
    fn ages_have_one_unit() {
        assert_eq!([0, 59, 60, 3_599, 3_600, 86_400].map(age), ["0s", "59s", "1m", "59m", "1h", "1d"]);
    }

    proptest! {
        #[test]
        fn only_the_last_samples_are_kept(latencies in prop::collection::vec(1u64..1000, 1..400)) {
            let mut monitor = LatencyMonitor::default();
            for (time, latency) in latencies.iter().enumerate() {
                monitor.record("fork", time as u64, *latency);
            }
            let kept: Vec<u64> = monitor.history("fork").iter().map(|sample| sample.latency).collect();
            prop_assert_eq!(&kept, &latencies[latencies.len().saturating_sub(160)..]);
            prop_assert_eq!(monitor.latest()[0].max, *latencies.iter().max().unwrap());
            let graph = monitor.graph("fork", 1000).unwrap();
            prop_assert!(graph.lines().skip(2).all(|line| line.chars().count() <= 80));
        }
    }
}
