//! `cargo xtask bench`: the benchmarks of `benches/`, built with the release profile.
//!
//! Workloads, peers and their figures are that crate's business.

use crate::sh;

/// Runs criterion with what the command line passes on.
pub fn run(rest: &[String]) -> Result<(), String> {
    if !sh::root().join("benches/Cargo.toml").is_file() {
        return Err("there is no benches/Cargo.toml yet".into());
    }
    let mut command = sh::cargo(&["bench", "--manifest-path", "benches/Cargo.toml"]);
    if !rest.is_empty() {
        command.arg("--").args(rest);
    }
    // Figures are for reading as they come, so this one is not captured.
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo bench: {status}")),
        Err(error) => Err(error.to_string()),
    }
}
