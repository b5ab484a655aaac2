//! `cargo xtask bench`: the benchmarks of `benches/`, built with the release profile, and the replay of traces.
//!
//! Workloads, peers and their figures are that crate's business.

use crate::sh;

/// Runs criterion with what the command line passes on.
pub fn run(rest: &[String]) -> Result<(), String> {
    if let Some(("hit-ratio", options)) = rest.split_first().map(|(first, options)| (first.as_str(), options))
    {
        return hit_ratio(options);
    }
    if !sh::root().join("benches/Cargo.toml").is_file() {
        return Err("there is no benches/Cargo.toml yet".into());
    }
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
