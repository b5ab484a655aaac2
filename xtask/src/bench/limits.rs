//! `cargo xtask bench limits [ROUNDS [SCALE]]`: the engine's figures at its limits, three times in a row, each against its goal.
//!
//! SCALE divides the numbers of keys, for a quick look; figures count without it. What a case does is written in `benches/src/bin/limits/`.

use super::rows::{self, Limit, Line};
use crate::sh;
use std::path::PathBuf;

/// The arguments of `limits`, each run in a process of its own: memory given back by one case is no gift to the next.
pub const CASES: &[&str] = &[
    "bytes-16",
    "bytes-16-ttl",
    "bytes-64",
    "hash-10",
    "hash-1000",
    "memory-limit",
    "mass-expiry",
    "growth",
    "hash-growth",
    "hash-copy",
    "small-engine",
    "rearm",
    "idle",
    "type-memory",
    "type-calls",
    "type-growth",
    "type-copies",
    "scripts",
    "files",
];

/// Runs every case so often and says of each figure whether it held every time.
pub fn run(options: &[String]) -> Result<(), String> {
    let rounds = options.first().map_or(Ok(3), |rounds| rounds.parse().map_err(|_| "ROUNDS is a number"))?;
    let scale = options.get(1).map_or("1", String::as_str);
    let program = build()?;
    let mut runs: Vec<Vec<Limit>> = Vec::new();
    for _ in 0..rounds {
        let mut figures = Vec::new();
        for case in CASES {
            let output = sh::run("limits", &mut sh::program(&program, &[case, scale]))?.ok(case)?;
            figures.extend(rows::parse(&output)?.into_iter().filter_map(|line| match line {
                Line::Limit(limit) => Some(limit),
                _ => None,
            }));
        }
        runs.push(figures);
    }
    let first = runs.first().ok_or("at least one round is needed")?;
    let mut failed = 0;
    for (at, limit) in first.iter().enumerate() {
        let figures: Vec<f64> = runs.iter().map(|run| run[at].ours).collect();
        let holds = limit.goal.is_none_or(|goal| figures.iter().all(|figure| *figure <= goal));
        failed += usize::from(!holds);
        let shown: Vec<String> = figures.iter().map(|figure| format!("{figure:.1}")).collect();
        println!(
            "{} {}: {} {}{}",
            if !holds {
                "FAIL"
            } else if limit.goal.is_some() {
                "pass"
            } else {
                "    "
            },
            limit.case,
            shown.join(", "),
            limit.unit,
            limit.goal.map_or(String::new(), |goal| format!(" (at most {goal:.1})"))
        );
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} figures do not hold", first.len())) }
}

/// The path of the program, built.
pub fn build() -> Result<PathBuf, String> {
    let mut command = sh::cargo(&["build", "--release", "-p", "keystead-benches", "--bin", "limits"]);
    sh::run("limits", &mut command)?.ok("cargo build")?;
    Ok(sh::target().join("release/limits"))
}
