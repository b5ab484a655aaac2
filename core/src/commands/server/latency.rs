//! LATENCY: slow events and histograms by command. What is recorded is decided in [`crate::command`] and [`crate::stats`].

use crate::command::{Args, Command, Context, Reply, Session};
use crate::commands::table::{self, Found};
use crate::error::{Error, Result};
use crate::latency::Histogram;

/// Holds the commands about latency.
#[derive(Command)]
#[command(
    name = "LATENCY", group = Server, since = "2.8.13", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Latency {}

/// Returns the latest sample of each event.
///
/// Returns per event: name, unix time and milliseconds of the latest sample, greatest latency, sum and number of all.
#[derive(Command)]
#[command(
    name = "LATENCY|LATEST", group = Server, since = "2.8.13", complexity = "O(1)", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
    reply = "array(array(bulk | int))",
)]
pub struct LatencyLatest {}

impl Session for LatencyLatest {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let events = context.engine.latency.lock().latest();
        reply.array(events.len());
        for event in events {
            reply.array(6);
            reply.bulk(event.event.as_bytes());
            for number in [event.latest.time, event.latest.latency, event.max, event.sum, event.count] {
                reply.integer(number as i64);
            }
        }
        Ok(())
    }
}

/// Returns the samples of an event, oldest first.
///
/// Returns pairs of unix time and milliseconds, of the last 160 seconds in which there were any.
#[derive(Command)]
#[command(
    name = "LATENCY|HISTORY", group = Server, since = "2.8.13", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
    reply = "array(array(int))",
)]
pub struct LatencyHistory<'a> {
    event: &'a [u8],
}

impl Session for LatencyHistory<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let samples = context.engine.latency.lock().history(&String::from_utf8_lossy(self.event));
        reply.array(samples.len());
        for sample in samples {
            reply.array(2);
            reply.integer(sample.time as i64);
            reply.integer(sample.latency as i64);
        }
        Ok(())
    }
}

/// Forgets the samples of events, of all if none is named.
///
/// Returns how many events had any.
#[derive(Command)]
#[command(
    name = "LATENCY|RESET", group = Server, since = "2.8.13", complexity = "O(1)", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("request_policy:all_nodes", "response_policy:agg_sum"),
    custom_parse, reply = "int",
)]
pub struct LatencyReset<'a> {
    #[arg(optional)]
    event: Vec<&'a [u8]>,
}

impl<'a> LatencyReset<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { event: args.take_rest().to_vec() })
    }
}

impl Session for LatencyReset<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let names: Vec<_> = self.event.iter().map(|event| String::from_utf8_lossy(event)).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        reply.count(context.engine.latency.lock().reset(&names));
        Ok(())
    }
}

/// Draws the samples of an event.
///
/// Returns lines of text.
#[derive(Command)]
#[command(
    name = "LATENCY|GRAPH", group = Server, since = "2.8.13", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
    reply = "verbatim",
)]
pub struct LatencyGraph<'a> {
    event: &'a [u8],
}

impl Session for LatencyGraph<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let now_s = context.engine.keyspace.clock.now_ms() / 1000;
        let event = String::from_utf8_lossy(self.event);
        let graph = context.engine.latency.lock().graph(&event, now_s);
        let missing = || Error::repeating("No samples available for event '", self.event, "'");
        let graph = graph.ok_or_else(missing)?;
        reply.verbatim(b"txt", graph.as_bytes());
        Ok(())
    }
}

/// Reports on latency and gives advice.
///
/// Returns lines of text.
#[derive(Command)]
#[command(
    name = "LATENCY|DOCTOR", group = Server, since = "2.8.13", complexity = "O(1)", arity = 2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
    reply = "verbatim",
)]
pub struct LatencyDoctor {}

impl Session for LatencyDoctor {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let enabled = context.engine.config.hot().latency_monitor_threshold() != 0;
        let report = context.engine.latency.lock().doctor(enabled);
        reply.verbatim(b"txt", report.as_bytes());
        Ok(())
    }
}

/// Returns how long commands took, as cumulative histograms.
///
/// Returns a map by command, of all that were called if none is named; a container stands for its subcommands. Each has its number of
/// calls and a map from microseconds to the number of calls that took no longer.
#[derive(Command)]
#[command(
    name = "LATENCY|HISTOGRAM", group = Server, since = "7.0.0", complexity = "O(N) where N is the number of commands with latency information being retrieved.", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
    custom_parse, reply = "map(bulk, map(bulk, int | map(int, int)))",
)]
pub struct LatencyHistogram<'a> {
    #[arg(optional)]
    command: Vec<&'a [u8]>,
}

impl<'a> LatencyHistogram<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { command: args.take_rest().to_vec() })
    }

    fn names(&self, found: &Found) -> bool {
        let (container, _) = found.spec.name.split_once('|').unwrap_or((found.spec.name, ""));
        let is = |word: &&[u8]| {
            word.eq_ignore_ascii_case(found.spec.name.as_bytes())
                || word.eq_ignore_ascii_case(container.as_bytes())
        };
        self.command.is_empty() || self.command.iter().any(is)
    }
}

impl Session for LatencyHistogram<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let open = reply.open_map();
        let mut count = 0;
        for found in table::all().iter().filter(|found| self.names(found)) {
            let histogram = context.engine.stats.of(found.id).latency;
            if let Some(histogram) = histogram.filter(|histogram| histogram.count() > 0) {
                reply.bulk(found.spec.name.as_bytes());
                write_histogram(&histogram, reply);
                count += 1;
            }
        }
        reply.close(open, count);
        Ok(())
    }
}

fn write_histogram(histogram: &Histogram, reply: &mut Reply) {
    let buckets = histogram.cumulative_microseconds();
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(histogram.count() as i64);
    reply.bulk(b"histogram_usec");
    reply.map(buckets.len());
    for (bound, count) in buckets {
        reply.integer(bound as i64);
        reply.integer(count as i64);
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "LATENCY|HELP", group = Server, since = "2.8.13", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct LatencyHelp {}

impl Session for LatencyHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "LATENCY",
            &[
                ("DOCTOR", "A report with advice."),
                ("GRAPH <event>", "A drawing of the samples of an event."),
                ("HISTOGRAM [<command> ...]", "How long commands took, as cumulative histograms."),
                ("HISTORY <event>", "The samples of an event."),
                ("LATEST", "The latest sample of each event."),
                ("RESET [<event> ...]", "Forgets the samples of events, of all if none is named."),
            ],
        );
        Ok(())
    }
}
