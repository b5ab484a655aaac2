//! Hit ratios on request traces: every eviction policy of the engine beside exact LRU, OPT and other caches.
//!
//! `cargo xtask bench hit-ratio --traces DIR [--json OUT] [--only NAME,...]`. Every trace of the folder is replayed from an empty cache, at
//! capacities of [`SHARES`] per cent of its keys, each request a look-up that inserts on a miss. Ratios are in per cent of all requests.
//! The engine's limit is one of memory; the line below the ratios says how many keys it held on average once it was full, so that gains
//! of capacity can be told from those of policy. The others hold as many as the line says that fit.

#![allow(clippy::print_stdout, reason = "a benchmark shows its results")]

mod engine;
mod limit;
mod peers;
mod reference;
mod trace;

use std::error::Error;
use std::path::PathBuf;

use trace::Trace;

/// Capacities in per cent of a trace's keys.
const SHARES: [f64; 5] = [0.1, 1.0, 5.0, 10.0, 20.0];

/// One measured ratio.
struct Point {
    trace: String,
    share: f64,
    policy: String,
    hit_ratio: f64,
}

/// The command line.
#[derive(Default)]
struct Options {
    traces: Option<PathBuf>,
    json: Option<PathBuf>,
    /// Columns to measure; empty for all.
    only: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let folder =
        options.traces.as_ref().ok_or("usage: hit-ratio --traces DIR [--json OUT] [--only NAME,...]")?;
    let columns: Vec<&str> = columns().into_iter().filter(|name| options.wants(name)).collect();
    println!("{:<14}{:>6}{}", "trace", "share", columns.iter().map(|name| heading(name)).collect::<String>());
    let mut points = Vec::new();
    for path in trace::files(folder)? {
        let trace = Trace::read(&path)?;
        for share in SHARES {
            points.extend(row(&columns, &trace, share)?);
        }
    }
    if let Some(path) = options.json {
        std::fs::write(path, json(&points))?;
    }
    Ok(())
}

fn columns() -> Vec<&'static str> {
    ["opt", "lru"].into_iter().chain(engine::POLICIES).chain(peers::PEERS.map(|(name, _)| name)).collect()
}

fn heading(name: &str) -> String {
    format!("{name:>width$}", width = name.len().max(6) + 2)
}

/// Measures and prints all columns of a trace at one capacity.
fn row(columns: &[&str], trace: &Trace, share: f64) -> Result<Vec<Point>, Box<dyn Error>> {
    let capacity = trace.capacity(share);
    let mut ratios = format!("{:<14}{share:>6}", trace.name);
    let mut keys = format!("{:>20}", format!("{capacity} keys fit"));
    let mut points = Vec::new();
    for policy in columns {
        let (hits, held) = measure(policy, trace, capacity)?;
        let hit_ratio = 100.0 * hits as f64 / trace.requests.len().max(1) as f64;
        let width = heading(policy).len();
        ratios += &format!("{hit_ratio:>width$.2}");
        keys += &format!("{:>width$}", held.map_or(String::new(), |held| format!("{held:.0}")));
        points.push(Point { trace: trace.name.clone(), share, policy: (*policy).to_owned(), hit_ratio });
    }
    println!("{ratios}");
    if keys.split_whitespace().count() > 3 {
        println!("{keys}");
    }
    Ok(points)
}

/// Hits of a column, and how many keys were held if that is not certain.
fn measure(policy: &str, trace: &Trace, capacity: usize) -> Result<(u64, Option<f64>), Box<dyn Error>> {
    let Trace { requests, unique, .. } = trace;
    if let Some((_, make)) = peers::PEERS.iter().find(|(name, _)| *name == policy) {
        let mut cache = make(capacity);
        return Ok((requests.iter().map(|key| u64::from(cache.request(*key))).sum(), None));
    }
    Ok(match policy {
        "opt" => (reference::opt(requests, *unique, capacity), None),
        "lru" => (reference::lru(requests, *unique, capacity), None),
        _ => {
            let replay = limit::replay(policy, requests, *unique, capacity)?;
            (replay.hits, Some(replay.held))
        }
    })
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match &*word {
                "--traces" => options.traces = Some(value.into()),
                "--json" => options.json = Some(value.into()),
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// A list of objects. Names are file names and policies: nothing in them needs escaping but quotes and backslashes.
fn json(points: &[Point]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let object = |point: &Point| {
        format!(
            "  {{\"trace\": {}, \"share\": {}, \"policy\": {}, \"hit_ratio\": {:.4}}}",
            quoted(&point.trace),
            point.share,
            quoted(&point.policy),
            point.hit_ratio
        )
    };
    format!("[\n{}\n]\n", points.iter().map(object).collect::<Vec<_>>().join(",\n"))
}
