//! `cargo xtask check`: formatting, lints, licences and bans, types, the house rules, and the freshness of generated files.
//!
//! The house rules themselves are in `tidy.rs`, the generators in `gen.rs`.

use crate::count::Count;
use crate::{r#gen, setup, sh, test, tidy};

/// Runs every check; fails if one does.
pub fn run() -> Result<(), String> {
    match count()? {
        Count { failed: 0, passed } => {
            println!("{passed} checks passed");
            Ok(())
        }
        Count { failed, .. } => Err(format!("{failed} checks failed")),
    }
}

/// A check: its name, and what it does; `None` where there is nothing to check.
type Check = (&'static str, fn() -> Option<Result<(), String>>);

const CHECKS: &[Check] = &[
    ("tidy", tidy),
    ("fmt", fmt),
    ("generated files", generated),
    ("clippy", clippy),
    ("features", features),
    ("fuzz targets", fuzz_targets),
    ("commands", commands),
    ("deny", deny),
    ("ruff", ruff),
    ("mypy", mypy),
    ("tsc", tsc),
];

/// Runs every check and counts.
pub fn count() -> Result<Count, String> {
    let mut sum = Count::default();
    for (name, check) in CHECKS {
        match check() {
            Some(Ok(())) => sum.passed += 1,
            Some(Err(message)) => {
                println!("{name}: {message}");
                sum.failed += 1;
            }
            None => println!("   check     {name}: nothing to check yet"),
        }
    }
    Ok(sum)
}

fn tidy() -> Option<Result<(), String>> {
    let violations = match tidy::check(&sh::root()) {
        Ok(violations) => violations,
        Err(error) => return Some(Err(error.to_string())),
    };
    let all: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    Some(if violations.is_empty() { Ok(()) } else { Err(format!("{} violations{all}", violations.len())) })
}

fn fmt() -> Option<Result<(), String>> {
    Some(cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Option<Result<(), String>> {
    Some(cargo(&[
        "clippy",
        "--workspace",
        "--features",
        "keystead/cli,keystead/redis",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// With all features at once one may lean on what another brings: here are those that bring it, alone. What the fuzz targets need is linted with them.
fn features() -> Option<Result<(), String>> {
    let alone = |features: &[&str]| {
        let arguments = [&["clippy", "-p", "keystead"], features, &["--", "-D", "warnings"]].concat();
        cargo(&arguments)
    };
    let without_scripts = |feature: &str| alone(&["--no-default-features", "--features", feature]);
    Some(alone(&[]).and_then(|()| without_scripts("listener")).and_then(|()| without_scripts("remote")))
}

/// They are a workspace of their own, which the checks of the other do not see.
fn fuzz_targets() -> Option<Result<(), String>> {
    const MANIFEST: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];
    let fmt = || cargo(&["fmt", MANIFEST[0], MANIFEST[1], "--check"]);
    let clippy = || {
        let mut command =
            sh::cargo(&["clippy", MANIFEST[0], MANIFEST[1], "--locked", "--", "-D", "warnings"]);
        let build = sh::target().join("fuzz");
        sh::run("check", command.env("CARGO_TARGET_DIR", build))?.ok("cargo clippy").map(drop)
    };
    Some(fmt().and_then(|()| clippy()))
}

/// What is said of each command, beside a real server; what differs is in `tests/command_differences.txt` with its reason.
fn commands() -> Option<Result<(), String>> {
    let run = |mut command| sh::run("check", &mut command)?.ok("the comparison of commands").map(drop);
    let compared = test::beside_oracle("check", &["commands"]).transpose()?;
    Some(compared.and_then(run))
}

/// The advisory database lies in a git repository that an offline machine cannot reach; the other checks need no network.
fn deny() -> Option<Result<(), String>> {
    let deny = || {
        let tool = setup::cargo_deny()?;
        let arguments = ["--workspace", "check", "bans", "licenses", "sources"];
        sh::run("check", &mut sh::program(tool, &arguments))?.ok("cargo deny").map(drop)
    };
    Some(deny())
}

fn ruff() -> Option<Result<(), String>> {
    let folders: Vec<&str> =
        ["benches", "bindings-python", "examples", "tests"].into_iter().filter(|f| has_python(f)).collect();
    if folders.is_empty() {
        return None;
    }
    let ruff = || {
        let ruff = setup::venv()?.join("ruff");
        for task in [["check"].as_slice(), &["format", "--check"]] {
            let mut command = sh::program(&ruff, task);
            sh::run("check", command.args(&folders))?.ok("ruff")?;
        }
        Ok(())
    };
    Some(ruff())
}

/// What is checked, and how, is in the package's `pyproject.toml`.
fn mypy() -> Option<Result<(), String>> {
    let folder = sh::root().join("bindings-python");
    if !folder.join("pyproject.toml").is_file() {
        return None;
    }
    let mypy = || {
        let mut command = sh::program(setup::venv()?.join("mypy"), &[]);
        sh::run("check", command.current_dir(folder))?.ok("mypy").map(drop)
    };
    Some(mypy())
}

fn has_python(folder: &str) -> bool {
    tidy::files(&sh::root().join(folder), &["py", "pyi"]).is_ok_and(|files| !files.is_empty())
}

fn tsc() -> Option<Result<(), String>> {
    let folder = sh::root().join("bindings-node");
    if !folder.join("tsconfig.json").is_file() {
        return None;
    }
    let tsc = || {
        setup::npm(&folder)?;
        let mut command = sh::program("npx", &["--no-install", "tsc", "--noEmit", "-p", "."]);
        sh::run("check", command.current_dir(&folder))?.ok("tsc").map(drop)
    };
    Some(tsc())
}

fn generated() -> Option<Result<(), String>> {
    match r#gen::stale() {
        Ok(files) if files.is_empty() => Some(Ok(())),
        Ok(files) => Some(Err(format!("stale: {}; run cargo xtask gen", files.join(", ")))),
        Err(message) => Some(Err(message)),
    }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    let what = format!("cargo {}", arguments[0]);
    sh::run("check", &mut sh::cargo(arguments))?.ok(&what).map(drop)
}
