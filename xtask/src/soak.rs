//! `cargo xtask test soak [--rounds N]`: the tests of forks, flights, expiry and the background, again and again, under the address sanitizer and beside
//! busy processes. What shows itself once in thousands of times shows itself here.
//!
//! A round is each of the tests once; the output of one that fails is in `target/xtask/soak.log`.

use crate::count::{Count, count};
use crate::{sh, test};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Rounds if nobody says how many.
pub const ROUNDS: usize = 2_000;

/// The engine's own tests that are meant, by what their names contain.
const TESTS: &[&str] =
    &["fork", "flight", "lease", "exit", "expir", "deadline", "reaper", "background::", "rounds::"];

/// Engines that are opened and closed in turn for each round, all of them at the end.
const ENGINES_PER_ROUND: usize = 50;

/// Forks of each test that forks, in one round.
const FORKS: usize = 3;

/// Runs so many rounds and counts the tests that passed.
pub fn run(rounds: usize) -> Result<Count, String> {
    let [engine, engines] =
        ["unittests src/lib.rs", "tests/engines.rs"].map(|name| format!("Executable {name} ("));
    let mut build = test::sanitized_cargo("asan", test::ADDRESS);
    let text = sh::run("soak", build.arg("--no-run"))?.ok("building the tests")?;
    let program = |start: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(start));
        let path = line.and_then(|line| line.strip_suffix(')'));
        path.map(|path| sh::root().join(path)).ok_or_else(|| format!("cargo names no {start}...)"))
    };
    let (engine, engines) = (program(&engine)?, program(&engines)?);
    let busy = Busy::start()?;
    let start = Instant::now();
    let mut sum = Count::default();
    for round in 1..=rounds {
        let mut command = tests_of(&engine);
        command.args(TESTS).env("KEYSTEAD_FORKS", FORKS.to_string());
        let outcome = ran(&mut command, round)?;
        if outcome.failed > 0 || round % (rounds / 20).max(1) == 0 {
            let seconds = start.elapsed().as_secs();
            println!(
                "   soak      round {round} of {rounds}, {seconds} s, {} failed so far",
                sum.failed + outcome.failed
            );
        }
        sum += outcome;
    }
    let mut command = tests_of(&engines);
    sum += ran(command.env("KEYSTEAD_ENGINES", (rounds * ENGINES_PER_ROUND).to_string()), rounds)?;
    drop(busy);
    Ok(sum)
}

fn tests_of(program: &PathBuf) -> Command {
    let mut command = sh::program(program, &[]);
    command.env("ASAN_OPTIONS", test::ASAN_OPTIONS).env("RUST_BACKTRACE", "0").env("PROPTEST_CASES", "8");
    command
}

/// Runs tests and keeps their output if one fails.
fn ran(command: &mut Command, round: usize) -> Result<Count, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let mut counted = count(&text);
    if counted.passed == 0 {
        counted.failed = counted.failed.max(1);
    }
    if !output.status.success() {
        // A crash after the last counted test must not look like success.
        counted.failed = counted.failed.max(1);
    }
    if counted.failed > 0 {
        let log = sh::target().join("xtask/soak.log");
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        writeln!(log, "== round {round}: {}\n{text}", output.status).map_err(|error| error.to_string())?;
    }
    Ok(counted)
}

/// Processes that do nothing but take time, two more than there are processors, until they are dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Result<Self, String> {
        let count = std::thread::available_parallelism().map_or(1, usize::from) + 2;
        let mut busy = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            // Not for ever, if nobody is left who ends them.
            command.args([
                "-c",
                "while kill -0 $PPID 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done",
            ]);
            busy.0.push(command.stdin(Stdio::null()).spawn().map_err(|error| format!("sh: {error}"))?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
