//! `cargo xtask bench`: criterion's benchmarks, the replay of traces, the engine's limits, and the comparison with the peers.
//!
//! Workloads, peers and their figures are the benches' business; `bench/` runs them and makes tables of what they print.

mod chart;
mod compare;
mod limits;
mod report;
mod rows;

use crate::sh;

/// Runs what the first word names; anything else is passed on to criterion.
pub fn run(rest: &[String]) -> Result<(), String> {
    match rest.split_first().map(|(first, options)| (first.as_str(), options)) {
        Some(("hit-ratio", options)) => hit_ratio(options),
        Some(("limits", options)) => limits::run(options),
        Some(("--compare", options)) => compare::run(options),
        Some(("results", [])) => report::write(),
        _ => criterion(rest),
    }
}

fn criterion(rest: &[String]) -> Result<(), String> {
    let mut command = sh::cargo(&["bench", "--manifest-path", "benches/Cargo.toml"]);
    if !rest.is_empty() {
        command.arg("--").args(rest);
    }
    show(command, "cargo bench")
}

/// Replays traces: ratios do not depend on the last percent of speed, so the quicker build will do.
fn hit_ratio(options: &[String]) -> Result<(), String> {
    let mut command = sh::cargo(&["run", "--quiet", "--profile", "quick", "-p", "keystead-hit-ratio", "--"]);
    command.args(options);
    show(command, "hit-ratio")
}

/// Figures are for reading as they come, so the output is not captured.
fn show(mut command: std::process::Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(error.to_string()),
    }
}
