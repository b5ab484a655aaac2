//! `cargo xtask test`: the named stages in order, their progress, and a table at the end.
//!
//! A stage whose folder is not there yet is reported as missing, never as passed.

use crate::count::{Count, count};
use crate::table::table;
use crate::{check, fuzz, plugins, setup, sh, soak};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A part of the test suite: its name, and what it does.
struct Stage {
    name: &'static str,
    run: fn() -> Result<Outcome, String>,
}

/// The stage that runs only if it is named, since it takes hours.
const SOAK: &str = "soak";
/// Stages that run only if they are named: the packages of the ecosystem, for which the gate has no time left beside all others; `cargo cinstall`, whose tool
/// takes five minutes to build; and what takes longer than all others together.
const NAMED: &[Stage] = &[
    Stage { name: "plugins", run: plugins },
    Stage { name: "cinstall", run: installed_c },
    Stage { name: "long", run: long },
];

/// How the packages are built that the stages test: as the engine's own tests are, which is a fifth of the time that optimising takes.
const PROFILE: &str = "dev";

/// What a stage that could run has to say.
enum Outcome {
    Ran(Count),
    Missing(String),
}

/// Cheap and telling first. Those from `loom` on each build the engine's dependencies anew.
const STAGES: &[Stage] = &[
    Stage { name: "check", run: check },
    Stage { name: "rust", run: rust },
    Stage { name: "compat", run: compat },
    Stage { name: "property", run: property },
    Stage { name: "instructions", run: instructions },
    Stage { name: "python", run: python },
    Stage { name: "node", run: node },
    Stage { name: "c", run: c },
    Stage { name: "loom", run: loom },
    Stage { name: "fuzz", run: fuzz },
    Stage { name: "asan", run: asan },
    Stage { name: "tsan", run: tsan },
];

/// What is built with a sanitizer is built for this by name, so that build scripts and macros are not.
pub const HOST: &str = "x86_64-unknown-linux-gnu";
/// The client whose face the Node package has; the version is that of its development dependency.
const IOREDIS: &str = "ioredis@6.0.0";

/// Runs all ordinary stages, or those named; `soak` so many rounds.
pub fn run(names: &[String], complete: bool, rounds: usize) -> Result<(), String> {
    let known: Vec<&str> = STAGES.iter().chain(NAMED).map(|stage| stage.name).chain([SOAK]).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no stage {unknown}; there are {}", known.join(", ")));
    }
    let is_named = |stage: &&Stage| names.iter().any(|name| name == stage.name);
    let chosen = STAGES.iter().filter(|stage| names.is_empty() || is_named(stage));
    let chosen = chosen.chain(NAMED.iter().filter(is_named));
    let chosen =
        chosen.map(|stage| (stage.name, Box::new(stage.run) as Box<dyn Fn() -> Result<Outcome, String>>));
    let soak = || soak::run(rounds).map(Outcome::Ran);
    let soak = names.iter().any(|name| name == SOAK).then(|| (SOAK, Box::new(soak) as Box<dyn Fn() -> _>));
    let (mut rows, mut sum, mut bad) = (Vec::new(), Count::default(), Vec::new());
    let begin = Instant::now();
    for (name, run_stage) in chosen.chain(soak) {
        println!("== {name}");
        let start = Instant::now();
        let _ = std::fs::remove_file(sh::target().join("xtask").join(format!("{name}.log")));
        let (count, result) = match run_stage() {
            Ok(Outcome::Ran(count)) if count.failed == 0 && count.passed > 0 => (count, "passed".to_owned()),
            Ok(Outcome::Ran(count)) => {
                (count, format!("FAILED: {} of {}", count.failed, count.passed + count.failed))
            }
            Ok(Outcome::Missing(what)) => (Count::default(), format!("missing: {what}")),
            Err(message) => (Count::one(false), format!("FAILED: {message}")),
        };
        if result.starts_with("FAILED") || (complete && result.starts_with("missing")) {
            println!("   {name:<9} {result}");
            bad.push(name);
        }
        sum += count;
        rows.push(row(name, start.elapsed(), count, result));
    }
    rows.push(row("all", begin.elapsed(), sum, String::new()));
    println!("\n{}", table(&["stage", "seconds", "passed", "failed", "result"], &rows, &[1, 2, 3]));
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if bad.is_empty() {
        Ok(())
    } else {
        Err(format!("not passed: {}; see target/xtask/*.log", bad.join(", ")))
    }
}

fn row(name: &str, time: Duration, count: Count, result: String) -> Vec<String> {
    let seconds = format!("{:.1}", time.as_secs_f64());
    vec![name.to_owned(), seconds, count.passed.to_string(), count.failed.to_string(), result]
}

/// Runs a test command; failing tests are counted, a failure without a counted test is an error.
pub fn tests(stage: &str, command: &mut Command) -> Result<Count, String> {
    let output = sh::run(stage, command)?;
    let mut sum = count(&output.text);
    if !output.success {
        let message = output.ok("the tests").err().unwrap_or_default();
        if sum == Count::default() {
            return Err(message);
        }
        // A crash after the last counted test must not look like success.
        sum.failed = sum.failed.max(1);
    }
    Ok(sum)
}

fn missing(path: &str) -> Option<Outcome> {
    let is_there = sh::root().join(path).exists();
    (!is_there).then(|| Outcome::Missing(format!("there is no {path}")))
}

fn check() -> Result<Outcome, String> {
    Ok(Outcome::Ran(check::count()?))
}

fn rust() -> Result<Outcome, String> {
    let mut command = sh::cargo(&["test", "--workspace", "--no-fail-fast"]);
    Ok(Outcome::Ran(tests("rust", sh::unified(&mut command))?))
}

/// Builds the `keystead` command; nothing if the engine has none yet.
fn keystead(log: &str) -> Result<Option<PathBuf>, String> {
    if !sh::root().join("core/src/bin/keystead.rs").is_file() {
        return Ok(None);
    }
    let arguments = ["build", "-p", "keystead", "--bin", "keystead"];
    sh::run(log, sh::unified(&mut sh::cargo(&arguments)))?.ok("building keystead")?;
    Ok(Some(sh::target().join("debug/keystead")))
}

/// The command that runs test targets of `tests/` with both servers named; nothing if the engine has no command yet.
pub fn beside_oracle(log: &str, targets: &[&str]) -> Result<Option<Command>, String> {
    let Some(keystead) = keystead(log)? else { return Ok(None) };
    let mut command = sh::cargo(&["test", "-p", "keystead-tests", "--no-fail-fast"]);
    sh::unified(&mut command).args(targets.iter().flat_map(|target| ["--test", target]));
    command.env("KEYSTEAD_ORACLE", setup::oracle()?).env("KEYSTEAD_OLDER", setup::peer()?);
    command.env("KEYSTEAD_BIN", keystead).env("KEYSTEAD_PYTHON", setup::venv()?.join("python"));
    Ok(Some(command))
}

fn against_oracle(stage: &str, targets: &[&str]) -> Result<Outcome, String> {
    match beside_oracle(stage, targets)? {
        Some(mut command) => Ok(Outcome::Ran(tests(stage, &mut command)?)),
        None => Ok(Outcome::Missing("there is no core/src/bin/keystead.rs".into())),
    }
}

fn compat() -> Result<Outcome, String> {
    against_oracle("compat", &["selfcheck", "compat", "files", "mapped", "remote", "faults"])
}

fn property() -> Result<Outcome, String> {
    against_oracle("property", &["property"])
}

/// An empty folder outside the source tree's packages.
pub fn fresh_folder(name: &str) -> Result<PathBuf, String> {
    let folder = sh::target().join("xtask").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Builds the wheel of the Python package.
pub fn wheel(log: &str) -> Result<PathBuf, String> {
    let wheels = fresh_folder("wheels")?;
    let out = wheels.to_string_lossy().into_owned();
    let maturin = setup::venv()?.join("maturin");
    let manifest =
        ["build", "--manifest-path", "bindings-python/Cargo.toml", "--profile", PROFILE, "--out", &out];
    sh::run(log, sh::unified(&mut sh::program(maturin, &manifest)))?.ok("maturin build")?;
    only_file(&wheels, "whl")
}

/// Builds the wheel, installs it in a fresh environment, and tests what was installed.
fn python() -> Result<Outcome, String> {
    if let Some(missing) = missing("bindings-python/Cargo.toml") {
        return Ok(missing);
    }
    let wheel = wheel("python")?.to_string_lossy().into_owned();
    let environment = sh::target().join("xtask/venv-python");
    setup::new_venv(&environment)?;
    let list = sh::root().join("xtask/requirements.txt").to_string_lossy().into_owned();
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement", &list, &wheel];
    sh::run("python", &mut sh::program(environment.join("bin/pip"), &install))?.ok("pip install")?;
    let mut pytest = sh::program(environment.join("bin/python"), &["-m", "pytest", "-q"]);
    let examples = ["flask-valuation", "policy-cache", "queue-service"];
    pytest.arg(sh::root().join("bindings-python/tests"));
    pytest.args(examples.map(|name| sh::root().join("examples").join(name).join("tests")));
    // Elsewhere than in the sources, so that the installed package is the one imported.
    pytest.current_dir(fresh_folder("python")?).env("KEYSTEAD_ORACLE", setup::oracle()?);
    Ok(Outcome::Ran(tests("python", &mut pytest)?))
}

/// Runs npm in a folder.
pub fn npm(log: &str, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let mut command = sh::program("npm", arguments);
    sh::run(log, command.current_dir(folder))?.ok(&format!("npm {}", arguments[0]))
}

/// Builds the Node package, and packs it into a folder.
pub fn pack_npm(log: &str, folder: &Path) -> Result<(), String> {
    let source = sh::root().join("bindings-node");
    setup::npm(&source)?;
    let mut build = sh::program("npm", &["run", "build"]);
    sh::run(log, sh::unified(&mut build).env("KEYSTEAD_PROFILE", PROFILE).current_dir(&source))?
        .ok("npm run build")?;
    npm(log, &["pack", "--pack-destination", &folder.to_string_lossy()], &source)?;
    Ok(())
}

/// Builds and packs the package, installs the tarball in a fresh folder, and tests it there.
fn node() -> Result<Outcome, String> {
    if let Some(missing) = missing("bindings-node/package.json") {
        return Ok(missing);
    }
    let source = sh::root().join("bindings-node");
    let folder = fresh_folder("node")?;
    pack_npm("node", &folder)?;
    let tarball = only_file(&folder, "tgz")?.to_string_lossy().into_owned();
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")
        .map_err(|error| error.to_string())?;
    // An optional peer, which npm does not install by itself.
    npm("node", &["install", "--no-audit", "--no-fund", &tarball, IOREDIS], &folder)?;
    copy_files(&source.join("test"), &folder.join("test"))?;
    let node_tests = |folder: &Path| {
        let mut command = sh::program("node", &["--test", "--test-reporter", "tap"]);
        command.args(node_files(&folder.join("test"))?);
        tests("node", command.current_dir(folder).env("KEYSTEAD_ORACLE", setup::oracle()?))
    };
    let mut sum = node_tests(&folder)?;
    let example = sh::root().join("examples/property-cache");
    npm("node", &["install", "--no-audit", "--no-fund"], &example)?;
    sum += node_tests(&example)?;
    Ok(Outcome::Ran(sum))
}

/// The files of Node's tests in a folder, without what they share: by itself the runner takes every file for a test.
fn node_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| error.to_string()));
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let mut files = paths.collect::<Result<Vec<_>, _>>()?;
    files.retain(is_test);
    files.sort();
    Ok(files)
}

/// Packages that are built on Valkey's clients.
fn plugins() -> Result<Outcome, String> {
    let nothing = || Outcome::Missing("there is no folder of plug-ins".into());
    Ok(plugins::run()?.map_or_else(nothing, Outcome::Ran))
}

/// Hot operations stay within their bounds.
fn instructions() -> Result<Outcome, String> {
    crate::instructions::run().map(Outcome::Ran)
}

/// The C tests with the library as cargo builds it.
fn c() -> Result<Outcome, String> {
    if let Some(missing) = missing("bindings-c/Cargo.toml") {
        return Ok(missing);
    }
    let prefix = fresh_folder("c-prefix")?;
    let flags = install_c("c", PROFILE, &prefix)?;
    c_tests(&prefix, &flags)
}

/// The C tests with the library as cargo-c installs it, found by pkg-config.
fn installed_c() -> Result<Outcome, String> {
    setup::debian(&["pkg-config"])?;
    let prefix = fresh_folder("cinstall-prefix")?;
    cinstall(&prefix)?;
    let flags = pkg_config(&prefix)?;
    c_tests(&prefix, &flags)
}

/// Builds each C test with these flags, and runs it under valgrind.
fn c_tests(prefix: &Path, flags: &[String]) -> Result<Outcome, String> {
    setup::debian(&["valgrind"])?;
    let mut sum = header(flags)?;
    for source in files(&sh::root().join("bindings-c/tests"), "c")? {
        let name = source.file_stem().expect("a .c file has a name").to_string_lossy().into_owned();
        let program = prefix.join(&name);
        let (from, to) = (source.to_string_lossy().into_owned(), program.to_string_lossy().into_owned());
        let mut compile = sh::program(
            "cc",
            &["-std=c11", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", &to, &from],
        );
        sh::run("c", compile.args(flags).arg("-pthread"))?.ok(&format!("compiling {name}.c"))?;
        let checks =
            ["--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", &to];
        let mut valgrind = sh::program("valgrind", &checks);
        let output = sh::run("c", valgrind.env("LD_LIBRARY_PATH", prefix.join("lib")).current_dir(prefix))?;
        let success = output.success;
        // A program that counts its own checks says so in cargo's words.
        let counted = count(&output.text);
        let _ = output.ok(&name);
        sum += if counted == Count::default() || !success { Count::one(success) } else { counted };
    }
    Ok(Outcome::Ran(sum))
}

/// The header compiles without a warning in every language that includes it.
fn header(flags: &[String]) -> Result<Count, String> {
    const LANGUAGES: &[(&str, &str, &str)] = &[
        ("cc", "c", "-std=c99"),
        ("cc", "c", "-std=c11"),
        ("cc", "c", "-std=c17"),
        ("c++", "c++", "-std=c++11"),
        ("c++", "c++", "-std=c++17"),
    ];
    let source = sh::root().join("bindings-c/tests/header.c");
    let mut sum = Count::default();
    for (compiler, language, standard) in LANGUAGES {
        let warnings = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
        let mut compile = sh::program(compiler, &["-x", language, standard]);
        let output = sh::run("c", compile.args(warnings).args(flags).arg(&source))?;
        sum += Count::one(output.success);
    }
    Ok(sum)
}

/// Builds the C library and puts it and its header into a prefix, without cargo-c; returns the flags that find them there.
pub fn install_c(log: &str, profile: &str, prefix: &Path) -> Result<Vec<String>, String> {
    let mut build = sh::cargo(&["build", "-p", "keystead-c", "--profile", profile]);
    sh::run(log, sh::unified(&mut build))?.ok("cargo build")?;
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let built = sh::target().join(if profile == "dev" { "debug" } else { profile });
    let copies = [
        (sh::root().join("include/keystead.h"), include.join("keystead.h")),
        (built.join("libkeystead_c.so"), lib.join("libkeystead.so")),
    ];
    for (from, to) in &copies {
        let folder = to.parent().expect("it stands in a folder");
        let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(from, to));
        copied.map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(vec![format!("-I{}", include.display()), format!("-L{}", lib.display()), "-lkeystead".to_owned()])
}

/// `cargo cinstall` of the C library into a prefix.
fn cinstall(prefix: &Path) -> Result<(), String> {
    let tool = setup::cargo_c()?;
    let prefix = prefix.to_string_lossy();
    let manifest =
        ["cinstall", "--manifest-path", "bindings-c/Cargo.toml", "--profile", "quick", "--libdir", "lib"];
    let mut command = sh::program(tool, &manifest);
    sh::run("c", command.args(["--prefix", &prefix]))?.ok("cargo cinstall")?;
    Ok(())
}

/// Compiler and linker flags for the library installed in a prefix.
fn pkg_config(prefix: &Path) -> Result<Vec<String>, String> {
    let mut command = sh::program("pkg-config", &["--cflags", "--libs", "keystead"]);
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let flags = sh::run("c", &mut command)?.ok("pkg-config")?;
    Ok(flags.split_whitespace().map(str::to_owned).collect())
}

/// The engine's loom models, with preemptions bounded so that they end.
fn loom() -> Result<Outcome, String> {
    let arguments = ["test", "-p", "keystead", "--no-default-features", "--lib", "--profile", "loom", "loom"];
    let mut command = sh::cargo(&arguments);
    let build = sh::target().join("loom");
    command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", build);
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        command.env("LOOM_MAX_PREEMPTIONS", "2");
    }
    let count = tests("loom", &mut command)?;
    if count == Count::default() {
        Ok(Outcome::Missing("no test is named loom".into()))
    } else {
        Ok(Outcome::Ran(count))
    }
}

/// Each fuzz target for a short while.
fn fuzz() -> Result<Outcome, String> {
    fuzz::run("fuzz", fuzz::SHORT).map(Outcome::Ran)
}

/// What finds more the longer it runs: those who push, pop, cancel and die, clients that mean no good, and each fuzz target, ten minutes each; processes
/// that are killed, and power that goes; a million random commands.
fn long() -> Result<Outcome, String> {
    const TIME: Duration = Duration::from_secs(600);
    const KILLS: usize = 501;
    const LOSSES: usize = 4000;
    const COMMANDS: usize = 1_000_000;
    // An integration test, and how long it is to go on; its figures are for the log.
    let part = |name: &str, variable: &str, value: String| {
        let arguments =
            ["test", "--profile", "quick", "-p", "keystead", "--features", "listener", "--test", name];
        let mut command = sh::cargo(&arguments);
        tests("long", command.args(["--", "--nocapture"]).env(variable, value))
    };
    let seconds = || TIME.as_secs().to_string();
    let mut sum = part("blocking", "KEYSTEAD_STRESS_SECONDS", seconds())?;
    sum += part("hostile", "KEYSTEAD_HOSTILE_SECONDS", seconds())?;
    sum += part("kills", "KEYSTEAD_KILLS", KILLS.to_string())?;
    sum += part("power", "KEYSTEAD_LOSSES", LOSSES.to_string())?;
    if let Some(mut property) = beside_oracle("long", &["property"])? {
        property.env("KEYSTEAD_SEED", "random").env("KEYSTEAD_COMMANDS", COMMANDS.to_string());
        sum += tests("long", &mut property)?;
    }
    sum += fuzz::run("long", TIME)?;
    // The contract of `docs/remote.md`: races that come out right once have to do so always.
    const ON_THE_FAKE: usize = 200;
    const ON_REAL_ONES: usize = 20;
    for _ in 0..ON_THE_FAKE {
        let arguments = ["test", "-p", "keystead", "--features", "cli", "--lib", "remote::"];
        sum += tests("long", &mut sh::cargo(&arguments))?;
    }
    if let Some(mut faults) = beside_oracle("long", &["faults"])? {
        const FAULTS: Duration = Duration::from_secs(1_800);
        faults.env("KEYSTEAD_FAULTS_SECONDS", FAULTS.as_secs().to_string());
        sum += tests("long", &mut faults)?;
    }
    for _ in 0..ON_REAL_ONES {
        if let Some(mut remote) = beside_oracle("long", &["remote"])? {
            sum += tests("long", &mut remote)?;
        }
    }
    Ok(Outcome::Ran(sum))
}

/// The compiler's flag for the address sanitizer.
pub const ADDRESS: &str = "-Zsanitizer=address";

/// A thread frees so much before it takes a lock that the sanitizer does not hold across a fork (see `core/src/os.rs`).
pub const ASAN_OPTIONS: &str = "detect_leaks=1:thread_local_quarantine_size_kb=4096";

fn asan() -> Result<Outcome, String> {
    sanitized("asan", ADDRESS, &[("ASAN_OPTIONS", ASAN_OPTIONS)])
}

fn tsan() -> Result<Outcome, String> {
    // The standard library itself is not instrumented: allow the mix, and leave its own synchronisation out.
    let suppressions = sh::root().join("xtask/tsan.supp");
    let options = format!("suppressions={} halt_on_error=1", suppressions.display());
    sanitized(
        "tsan",
        "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg tsan",
        &[("TSAN_OPTIONS", &options)],
    )
}

/// `cargo test` of some of the engine's own tests under a sanitizer, on the stable toolchain.
pub fn sanitized_cargo(name: &str, flags: &str, which: &[&str]) -> Command {
    let mut command = sh::cargo(&[
        "test",
        "-p",
        "keystead",
        "--features",
        "remote",
        "--target",
        HOST,
        "--profile",
        "sanitized",
        "--lib",
    ]);
    command
        .args(which)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("{flags} --cfg sanitized"))
        .env("CARGO_TARGET_DIR", sh::target().join(name));
    command
}

/// The Python module under the address sanitizer, whose runtime is loaded with the interpreter.
pub fn sanitized_module() -> Result<PathBuf, String> {
    let flags = format!("{ADDRESS} -Zexternal-clangrt");
    let build = sh::target().join("asan-python");
    let mut command =
        sh::cargo(&["build", "-p", "keystead-python", "--target", HOST, "--profile", "sanitized"]);
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &build);
    sh::run("soak", &mut command)?.ok("building the Python module")?;
    Ok(build.join(HOST).join("sanitized/lib_keystead.so"))
}

fn sanitized(name: &str, flags: &str, variables: &[(&str, &str)]) -> Result<Outcome, String> {
    let mut command = sanitized_cargo(name, flags, &[]);
    // Random tests run shorter: the sanitizers cost five to fifteen times.
    command.env("PROPTEST_CASES", "32").envs(variables.iter().copied());
    // Backtraces of expected panics are read through a cache that std guards by a mutex of its own.
    command.env("RUST_BACKTRACE", "0");
    let count = tests(name, &mut command)?;
    if count == Count::default() {
        Ok(Outcome::Missing("keystead has no tests".into()))
    } else {
        Ok(Outcome::Ran(count))
    }
}

pub fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    if files.is_empty() { Err(format!("no .{extension} file in {}", folder.display())) } else { Ok(files) }
}

pub fn only_file(folder: &Path, extension: &str) -> Result<PathBuf, String> {
    let mut files = files(folder, extension)?;
    match files.len() {
        1 => Ok(files.remove(0)),
        count => Err(format!("{count} .{extension} files in {}, one was expected", folder.display())),
    }
}

pub fn copy_files(from: &Path, to: &Path) -> Result<(), String> {
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                copy_files(&entry.path(), &to.join(entry.file_name())).map_err(std::io::Error::other)?;
            } else {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    copy().map_err(|error| format!("{}: {error}", from.display()))
}
