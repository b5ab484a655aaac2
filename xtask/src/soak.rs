//! `cargo xtask test soak [--rounds N]`: the tests of forks, flights, exits, expiry and the background, again and again, under the address sanitizer and
//! beside busy processes. What shows itself once in thousands of times shows itself here.
//!
//! A round is each of the engine's tests once, in a process of its own, and each test of loads in Python. Tests of Python's that start processes take
//! many times as long as what they test: they run less often, and end as many interpreters as there are rounds. Rounds mostly wait for clocks, so that
//! many run at once. The output of what fails is in `target/xtask/soak.log`.

use crate::count::{Count, count};
use crate::{setup, sh, test};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Rounds if nobody says how many.
pub const ROUNDS: usize = 2_000;

/// The engine's own tests that are meant, by what their names contain.
const TESTS: &[&str] =
    &["fork", "flight", "lease", "exit", "expir", "deadline", "reaper", "background::", "rounds::"];

/// Tests among them in which no time passes: what is evicted first where some keys have deadlines.
const SKIPPED: &[&str] = &["--skip", "evictor::"];

/// Python's tests of loads that stay in one process, as an expression of pytest's.
const LOADS: &str = "(test_loads or computation or waiter or leader or exception_reaches or share_a_load) \
                     and not (interpreter_ends or forked or nobody_was_to_retrieve)";

/// Python's tests that fork or end interpreters.
const EXITS: &str = "(test_exit and not objects_back) or interpreter_ends or forked or exit_with_work";

/// Rounds whose Python tests are run by one interpreter.
const ROUNDS_OF_PYTHON: usize = 40;

/// Engines that are opened and closed in turn for each round.
const ENGINES_PER_ROUND: usize = 50;

/// Forks of each test that forks, in one round.
const FORKS: usize = 3;

/// Processes of tests at once, for each processor.
const AT_ONCE: usize = 6;

/// A process of tests.
enum Job {
    /// Many engines in turn, for all rounds together.
    Engines,
    /// Python's loads for so many rounds.
    Loads(usize),
    /// Python's exits and forks, for so many rounds.
    Exits(usize),
    /// The engine's own tests.
    Round,
}

impl Job {
    /// All of them, the long ones first.
    fn all(rounds: usize) -> Vec<Self> {
        let mut jobs = vec![Self::Engines];
        for start in (0..rounds).step_by(ROUNDS_OF_PYTHON) {
            let count = ROUNDS_OF_PYTHON.min(rounds - start);
            jobs.extend([Self::Loads(count), Self::Exits(count)]);
            jobs.extend((0..count).map(|_| Self::Round));
        }
        jobs
    }
}

/// What is run: copies, so that builds go on meanwhile.
struct Programs {
    engine: PathBuf,
    engines: PathBuf,
    python: PathBuf,
    /// The folder with the Python package, its tests, and the sanitizer's runtime.
    folder: PathBuf,
}

/// Runs so many rounds and counts the tests that passed.
pub fn run(rounds: usize) -> Result<Count, String> {
    let programs = Programs::build()?;
    let jobs = Job::all(rounds);
    let busy = Busy::start()?;
    let start = Instant::now();
    let (next, done) = (AtomicUsize::new(0), Mutex::new((Count::default(), 0)));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let counted = programs.run(job, rounds)?;
            let mut done = done.lock().expect("nobody panics who holds it");
            done.0 += counted;
            done.1 += 1;
            let (sum, count) = *done;
            if counted.failed > 0 || count % (jobs.len() / 20).max(1) == 0 {
                let (seconds, of) = (start.elapsed().as_secs(), jobs.len());
                println!(
                    "   soak      {count} of {of} processes, {seconds} s, {} passed, {} failed",
                    sum.passed, sum.failed
                );
            }
        }
        Ok(())
    };
    let outcome: Result<(), String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE * sh::processors()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker ends"))
    });
    drop(busy);
    outcome?;
    let (sum, _) = *done.lock().expect("all have ended");
    Ok(sum)
}

impl Programs {
    fn build() -> Result<Self, String> {
        let folder = test::fresh_folder("soak")?;
        let [engine, engines] =
            ["unittests src/lib.rs", "tests/engines.rs"].map(|name| format!("Executable {name} ("));
        let mut build = test::sanitized_cargo("asan", test::ADDRESS, &["--test", "engines"]);
        let text = sh::run("soak", build.arg("--no-run"))?.ok("building the tests")?;
        let program = |start: &str, name: &str| {
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix(start));
            let path = line.and_then(|line| line.strip_suffix(')'));
            let path = path.ok_or_else(|| format!("cargo names no {start}...)"))?;
            copy(&sh::root().join(path), &folder.join(name))
        };
        let (engine, engines) = (program(&engine, "engine")?, program(&engines, "engines")?);
        let python = setup::venv()?.join("python");
        let bindings = sh::root().join("bindings-python");
        test::copy_files(&bindings.join("python/keystead"), &folder.join("python/keystead"))?;
        test::copy_files(&bindings.join("tests"), &folder.join("tests"))?;
        copy(&bindings.join("pyproject.toml"), &folder.join("pyproject.toml"))?;
        let module = test::sanitized_module()?;
        copy(&module, &folder.join("python/keystead/_keystead.abi3.so"))?;
        shared_runtime(&folder)?;
        Ok(Self { engine, engines, python, folder })
    }

    /// Runs tests and keeps their output if one fails.
    fn run(&self, job: &Job, rounds: usize) -> Result<Count, String> {
        let mut command = match job {
            Job::Engines => {
                let mut command = sh::program(&self.engines, &[]);
                command.env("KEYSTEAD_ENGINES", (rounds * ENGINES_PER_ROUND).to_string());
                command
            }
            Job::Round => {
                let mut command = sh::program(&self.engine, TESTS);
                // Tests that wait side by side, but for a fork: whatever is busy meanwhile is so until the child has ended.
                command.args(SKIPPED).arg("--test-threads=2").env("KEYSTEAD_FORKS", FORKS.to_string());
                command
            }
            Job::Loads(count) => self.pytest(LOADS, &[("KEYSTEAD_REPEAT", *count)]),
            Job::Exits(count) => {
                let ends = [("KEYSTEAD_ENDS", count.div_ceil(ROUNDS_OF_PYTHON)), ("KEYSTEAD_FORKS", *count)];
                self.pytest(EXITS, &ends)
            }
        };
        if matches!(job, Job::Engines | Job::Round) {
            command.env("ASAN_OPTIONS", test::ASAN_OPTIONS);
        }
        command.env("RUST_BACKTRACE", "0").env("PROPTEST_CASES", "8");
        ran(&mut command)
    }

    /// Python's tests of an expression.
    fn pytest(&self, which: &str, variables: &[(&str, usize)]) -> Command {
        // By `env`: what is preloaded is for Python alone.
        let preload = format!("LD_PRELOAD={}", self.folder.join(RUNTIME).display());
        let python = self.python.to_string_lossy().into_owned();
        let tests = self.folder.join("tests").to_string_lossy().into_owned();
        let mut command = sh::program("env", &[&preload, &python, "-m", "pytest", "-q", "-k", which, &tests]);
        command.args(["-p", "no:cacheprovider"]).current_dir(&self.folder);
        command.envs(variables.iter().map(|(name, value)| (name, value.to_string())));
        // Python's own objects as well, which the module must not use once they are freed. What Python leaves behind is no leak of ours.
        command.env("PYTHONMALLOC", "malloc").env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PYTHONPATH", self.folder.join("python"));
        let options = test::ASAN_OPTIONS.replace("detect_leaks=1", "detect_leaks=0");
        command.env("ASAN_OPTIONS", options);
        command
    }
}

/// The sanitizer's runtime as a library. One named libasan.so it would take for a second runtime.
const RUNTIME: &str = "libsanitizer.so";

/// Makes a library of the compiler's own runtime of the address sanitizer, which it ships for programs only: Python must load it first.
/// That of another compiler would do, but not all hold the allocator's locks across a fork.
fn shared_runtime(folder: &Path) -> Result<(), String> {
    let output = sh::program("rustc", &["--print", "target-libdir"]).output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let archive = test::files(&libraries, "a")?
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with("rt.asan.a"))
        .ok_or_else(|| format!("there is no runtime of the address sanitizer in {}", libraries.display()))?;
    let reduced = copy(&archive, &folder.join("libasan.a"))?.to_string_lossy().into_owned();
    // What runs before all constructors is for programs alone; it is in there twice.
    for _ in 0..2 {
        sh::run("soak", &mut sh::program("ar", &["d", &reduced, "asan_preinit.cpp.o"]))?.ok("ar")?;
    }
    let library = folder.join(RUNTIME).to_string_lossy().into_owned();
    let mut link = sh::program("cc", &["-shared", "-o", &library, "-Wl,--whole-archive", &reduced]);
    link.args(["-Wl,--no-whole-archive", "-Wl,--no-undefined"]);
    sh::run("soak", link.args(["-lpthread", "-ldl", "-lm", "-lrt", "-lgcc_s"]))?.ok("cc")?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, String> {
    std::fs::copy(from, to).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(to.to_path_buf())
}

/// Runs tests and keeps their output if one fails.
fn ran(command: &mut Command) -> Result<Count, String> {
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
        let program = Path::new(command.get_program()).display();
        // In one piece: others write as well.
        let text = format!("== {program}: {}\n{text}\n", output.status);
        log.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    }
    Ok(counted)
}

/// Processes that do nothing but take time, two more than there are processors, until they are dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Result<Self, String> {
        let mut busy = Self(Vec::new());
        for _ in 0..sh::processors() + 2 {
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
