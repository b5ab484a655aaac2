//! `cargo xtask bench --compare [--quick] [--only PART,...]`: builds all, runs the benches of every face one after the other, writes `benches/RESULTS.md`.
//!
//! A peer that cannot be installed or crashes becomes a row that says so. Parts that are not run keep the lines of their last run.

use super::rows::{self, Missing, Part};
use super::{limits, report};
use crate::{setup, sh};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts in the order they run, and what runs each.
pub const PARTS: &[(&str, Bench)] = &[
    ("rust", rust),
    ("limits", engine),
    ("files", files),
    ("listener", listener),
    ("remote", remote),
    ("python", python),
    ("node", node),
    ("c", c),
];

/// Runs the benches of a part.
type Bench = fn(&mut Run) -> Result<(), String>;

/// A part while it runs.
pub struct Run {
    part: Part,
    text: String,
    missing: Vec<Missing>,
}

impl Run {
    /// Runs a bench and keeps its lines; a failure becomes a row.
    fn bench(&mut self, name: &str, command: &mut Command) -> Result<(), String> {
        self.part.commands.push(shown(command));
        let output = sh::run("bench", command.env("KEYSTEAD_ORACLE", setup::peer()?))?;
        self.text += &output.text;
        self.missing.extend(rows::left_out(&self.part.part, &output.text));
        if !output.success {
            let last = output.text.lines().rfind(|line| !line.starts_with('{') && !line.starts_with("note:"));
            self.lacks(name, last.unwrap_or("it failed without a word"));
        }
        // What is measured stays measured if a later bench takes too long for somebody's patience.
        self.store()
    }

    fn store(&self) -> Result<(), String> {
        rows::store(&self.part, &self.text, &self.missing)
    }

    fn lacks(&mut self, what: &str, why: &str) {
        self.missing.push(Missing { face: self.part.part.clone(), missing: what.into(), reason: why.into() });
    }

    fn rounds(&self, otherwise: &'static str) -> &'static str {
        if self.part.quick { "3" } else { otherwise }
    }
}

/// Runs the parts, all or those named, and writes the results.
pub fn run(options: &[String]) -> Result<(), String> {
    let quick = options.iter().any(|option| option == "--quick");
    let only = options.iter().position(|option| option == "--only").and_then(|at| options.get(at + 1));
    let wanted = |part: &str| only.is_none_or(|only| only.split(',').any(|name| name == part));
    for (part, bench) in PARTS.iter().filter(|(part, _)| wanted(part)) {
        let (date, load) = (word("date", &["-u", "+%Y-%m-%d %H:%M UTC"]), load());
        let engine = word("git", &["describe", "--always", "--dirty"]);
        let part = Part {
            part: (*part).into(),
            date,
            load,
            engine,
            quick,
            remark: String::new(),
            commands: Vec::new(),
        };
        let mut run = Run { part, text: String::new(), missing: Vec::new() };
        if let Err(error) = bench(&mut run) {
            run.lacks(&run.part.part.clone(), &error);
        }
        run.store()?;
    }
    report::write()
}

/// Each peer in a process of its own: two stores of five million keys at a time.
fn rust(run: &mut Run) -> Result<(), String> {
    let program = peers(run)?;
    let listed = sh::program(&program, &["--list"]).output().map_err(|error| error.to_string())?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for peer in listed.lines().filter(|peer| !peer.starts_with("valkey-") && *peer != "remote") {
        run.bench(peer, &mut peer_command(&program, peer, run.part.quick))?;
    }
    // The same GET where the compiler laid it out otherwise: without LTO, in sixteen units.
    sh::run("bench", &mut sh::cargo(&["build", "--profile", "quick", "-p", "keystead-compare"]))?
        .ok("cargo build")?;
    let other = sh::target().join("quick/keystead-compare");
    for peer in ["keystead", "dashmap"] {
        let mut command = peer_command(&other, peer, run.part.quick);
        run.bench(peer, command.args(["--layout", "without LTO"]))?;
    }
    Ok(())
}

/// The path of the program with the peers, built with all that this compiler builds.
fn peers(run: &mut Run) -> Result<PathBuf, String> {
    let all = ["build", "--release", "-p", "keystead-compare", "--features", "kevy", "--ignore-rust-version"];
    if !sh::run("bench", &mut sh::cargo(&all))?.success {
        run.lacks("kevy-embedded 7", "it does not build with this compiler");
        sh::run("bench", &mut sh::cargo(&all[..4]))?.ok("cargo build")?;
    }
    Ok(sh::target().join("release/keystead-compare"))
}

fn peer_command(program: &Path, peer: &str, quick: bool) -> Command {
    let mut command = sh::program(program, &[peer]);
    if quick {
        command.arg("--quick");
    }
    command
}

/// Ours, and the same of a real server.
fn engine(run: &mut Run) -> Result<(), String> {
    let cases: Vec<&str> = limits::CASES.iter().copied().filter(|case| *case != "files").collect();
    beside_a_server(run, &cases, &["valkey-memory", "valkey-calls", "valkey-scripts", "valkey-expiry"])
}

/// The same of what is on disk.
fn files(run: &mut Run) -> Result<(), String> {
    beside_a_server(run, &["files"], &["valkey-files"])
}

fn beside_a_server(run: &mut Run, cases: &[&str], theirs: &[&str]) -> Result<(), String> {
    let program = limits::build()?;
    for case in cases {
        let mut command = sh::program(&program, &[case]);
        if run.part.quick {
            command.arg("10");
        }
        run.bench(case, &mut command)?;
    }
    let program = peers(run)?;
    for case in theirs {
        run.bench(case, &mut peer_command(&program, case, run.part.quick))?;
    }
    Ok(())
}

/// `keystead serve` beside the server whose behaviour it has, under the same load.
fn listener(run: &mut Run) -> Result<(), String> {
    let build = ["build", "--release", "-p", "keystead", "--features", "cli"];
    sh::run("bench", &mut sh::cargo(&build))?.ok("cargo build")?;
    let (program, libraries) = setup::load_generator()?;
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let (ours, theirs) = (path(sh::target().join("release/keystead")), path(setup::oracle()?));
    let script = path(sh::root().join("benches/listener/compare.py"));
    let words = [&script, "--ours", &ours, "--theirs", &theirs, "--benchmark", &path(program)];
    let mut command = sh::program(setup::venv()?.join("python"), &words);
    command.args(["--rounds", run.rounds("5")]);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    run.bench("compare.py", &mut command)
}

/// An engine in a real server, beside one in this process and beside redis-rs.
fn remote(run: &mut Run) -> Result<(), String> {
    let program = peers(run)?;
    run.bench("remote", &mut peer_command(&program, "remote", run.part.quick))
}

/// The wheel and the peers in an environment of their own.
fn python(run: &mut Run) -> Result<(), String> {
    let wheels = sh::target().join("bench/wheels");
    let _ = std::fs::remove_dir_all(&wheels);
    let out = wheels.to_string_lossy().into_owned();
    let build = ["build", "--manifest-path", "bindings-python/Cargo.toml", "--release", "--out", &out];
    sh::run("bench", &mut sh::program(setup::venv()?.join("maturin"), &build))?.ok("maturin build")?;
    let wheel = std::fs::read_dir(&wheels)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("maturin built no wheel")?;
    let environment = sh::target().join("bench/venv");
    setup::new_venv(&environment)?;
    let pip = |words: &[&str]| {
        let mut command = sh::program(environment.join("bin/pip"), &["install", "--quiet"]);
        sh::run("bench", command.arg("--disable-pip-version-check").args(words))
    };
    pip(&[&wheel.to_string_lossy()])?.ok("pip install")?;
    let list = sh::root().join("bindings-python/benches/requirements.txt");
    if !pip(&["--requirement", &list.to_string_lossy()])?.success {
        // One that is not to be had shall not keep the others away; the bench tells which are missing.
        let pins = std::fs::read_to_string(&list).map_err(|error| error.to_string())?;
        for pin in pins.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            pip(&[pin])?;
        }
    }
    let script = sh::root().join("bindings-python/benches/compare.py").to_string_lossy().into_owned();
    let mut command = sh::program(environment.join("bin/python"), &[&script, "--rounds", run.rounds("5")]);
    // Elsewhere than in the sources, so that the installed package is the one imported.
    run.bench("compare.py", command.current_dir(&wheels))
}

fn node(run: &mut Run) -> Result<(), String> {
    let source = sh::root().join("bindings-node");
    setup::npm(&source)?;
    let mut build = sh::program("npm", &["run", "build"]);
    sh::run("bench", build.current_dir(&source))?.ok("npm run build")?;
    if let Err(error) = setup::npm(&source.join("bench")) {
        run.lacks("the peers", &error);
    }
    let mut command = sh::program("node", &["--expose-gc", "bench/compare.mjs", run.rounds("7")]);
    run.bench("compare.mjs", command.current_dir(&source))
}

/// Linked statically: what is measured is the call, not where a loader finds it.
fn c(run: &mut Run) -> Result<(), String> {
    sh::run("bench", &mut sh::cargo(&["build", "--release", "-p", "keystead-c"]))?.ok("cargo build")?;
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let program = path(sh::target().join("bench/bench-c"));
    let library = path(sh::target().join("release/libkeystead_c.a"));
    std::fs::create_dir_all(rows::folder()).map_err(|error| error.to_string())?;
    let words = ["-O2", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Iinclude", "bindings-c/bench/bench.c"];
    let mut compile = sh::program("cc", &words);
    compile.args([&library, "-o", &program, "-pthread", "-ldl", "-lm"]);
    sh::run("bench", &mut compile)?.ok("cc")?;
    run.bench("bench.c", &mut sh::program(&program, &[run.rounds("9")]))
}

/// A command as one would type it in the root folder.
fn shown(command: &Command) -> String {
    let root = sh::root().to_string_lossy().into_owned() + "/";
    let target = sh::target().to_string_lossy().into_owned();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().replace(&target, "target").replace(&root, ""));
    words.collect::<Vec<_>>().join(" ")
}

/// The first line that a program prints; empty if it is not there.
pub fn word(program: &str, arguments: &[&str]) -> String {
    let output = sh::program(program, arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
