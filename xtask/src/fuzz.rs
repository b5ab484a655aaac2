//! `cargo xtask test fuzz`: each fuzz target of `fuzz/` for half a minute, and in `cargo xtask test long` for ten. As many run at once as there are
//! processors.
//!
//! The targets are laid out as cargo-fuzz wants them, but built here: what that program adds are compiler flags, and it would be one more to install,
//! and by itself wants a nightly compiler. An input that crashes a target is written where the log says; a found corpus stays in the build folder.

use crate::count::Count;
use crate::table::table;
use crate::{sh, test};
use std::path::Path;
use std::time::Duration;

/// How long each target runs, if nobody says otherwise.
pub const SHORT: Duration = Duration::from_secs(30);

/// What cargo-fuzz passes: counters and a table of all edges, and the operands of comparisons, for libFuzzer to steer by.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Runs each target for so long and counts those in which nothing was found.
pub fn run(log: &str, time: Duration) -> Result<Count, String> {
    let folder = sh::target().join("fuzz");
    let manifest = sh::root().join("fuzz/Cargo.toml");
    let names = targets(&std::fs::read_to_string(&manifest).map_err(|error| error.to_string())?)?;
    let manifest = manifest.to_string_lossy();
    let build = ["build", "--manifest-path", &manifest, "--release", "--locked", "--target", test::HOST];
    let mut build = sh::cargo(&build);
    build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", format!("{} {COVERAGE}", test::ADDRESS));
    sh::run(log, build.env("CARGO_TARGET_DIR", &folder))?.ok("building the fuzz targets")?;
    let programs = folder.join(test::HOST).join("release");
    let (mut sum, mut rows) = (Count::default(), Vec::new());
    for (name, found) in names.iter().zip(all(log, &programs, &names, time)?) {
        sum += Count::one(found.crash.is_none());
        if let Some(crash) = &found.crash {
            println!("   {log:<9} {name}: {crash}");
        }
        let verdict = if found.crash.is_none() { "ok" } else { "FAILED" };
        rows.push(vec![name.clone(), found.inputs, found.edges, verdict.to_owned()]);
    }
    println!("{}", table(&["target", "inputs", "edges reached", ""], &rows, &[1, 2]));
    Ok(sum)
}

/// What a run has found.
struct Found {
    inputs: String,
    edges: String,
    /// What was wrong, and where the input is.
    crash: Option<String>,
}

/// Runs the targets, in the order of their names.
fn all(log: &str, programs: &Path, names: &[String], time: Duration) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for some in names.chunks(sh::processors()) {
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for name in some {
                running.push(scope.spawn(move || one(log, &programs.join(name), name, time)));
            }
            for thread in running {
                found.push(thread.join().expect("a target's thread ends")?);
            }
            Ok::<_, String>(())
        })?;
    }
    Ok(found)
}

fn one(log: &str, program: &Path, name: &str, time: Duration) -> Result<Found, String> {
    let corpus = sh::target().join("fuzz/corpus").join(name);
    let crashes = sh::target().join("xtask/fuzz").join(name);
    for folder in [&corpus, &crashes] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let arguments = [
        corpus.to_string_lossy().into_owned(),
        format!("-artifact_prefix={}/", crashes.to_string_lossy()),
        format!("-max_total_time={}", time.as_secs()),
        "-print_final_stats=1".to_owned(),
        // Long inputs from the beginning: what is tried is many edits, one after the other.
        "-len_control=0".to_owned(),
        "-max_len=1024".to_owned(),
        // Seconds for one input: nothing hangs.
        "-timeout=60".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = sh::run(log, &mut sh::program(program, &arguments))?;
    let figures = (figure(&output.text, "stat::number_of_executed_units:"), figure(&output.text, " cov:"));
    let crash = (!output.success).then(|| crash(&output.text, &crashes));
    Ok(Found { inputs: figures.0, edges: figures.1, crash })
}

/// The word behind the last place where a name stands.
fn figure(text: &str, name: &str) -> String {
    let behind = text.rsplit_once(name).and_then(|(_, rest)| rest.split_whitespace().next());
    behind.unwrap_or("?").to_owned()
}

/// What was wrong, in the words of who noticed it, and where the input was written.
fn crash(text: &str, folder: &Path) -> String {
    let what = text.lines().find(|line| line.contains("panicked at") || line.contains("ERROR: "));
    let place = text.rsplit_once("Test unit written to ").and_then(|(_, rest)| rest.lines().next());
    let place = place.map_or_else(|| folder.to_string_lossy().into_owned(), str::to_owned);
    format!("{}; the input is {place}", what.unwrap_or("it ended").trim())
}

/// The names of the targets: the programs that a manifest lists.
fn targets(manifest: &str) -> Result<Vec<String>, String> {
    let manifest: toml::Table = manifest.parse().map_err(|error| format!("fuzz/Cargo.toml: {error}"))?;
    let programs = manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten();
    let names: Vec<String> =
        programs.filter_map(|program| Some(program.get("name")?.as_str()?.to_owned())).collect();
    if names.is_empty() { Err("fuzz/Cargo.toml lists no target".to_owned()) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_what_the_manifest_lists() {
        let text = "[package]\nname = \"x\"\n[[bin]]\nname = \"a\"\npath = \"a.rs\"\n[[bin]]\nname = \"b\"\n";
        assert_eq!(targets(text).unwrap(), ["a", "b"]);
        assert!(targets("[package]\nname = \"x\"\n").is_err());
        let manifest = std::fs::read_to_string(sh::root().join("fuzz/Cargo.toml")).unwrap();
        for name in targets(&manifest).unwrap() {
            assert!(sh::root().join(format!("fuzz/fuzz_targets/{name}.rs")).is_file(), "{name}");
        }
        let files = test::files(&sh::root().join("fuzz/fuzz_targets"), "rs").unwrap();
        assert_eq!(files.len(), targets(&manifest).unwrap().len(), "a file that no row names");
    }

    #[test]
    fn a_crash_is_told_with_its_input() {
        let text = "#5 NEW cov: 12 ft: 3\n#9 pulse cov: 17 ft: 4\nthread 'x' panicked at core/a.rs:5:1:\nleft\nTest unit written to /t/crash-1\n\
                    stat::number_of_executed_units: 77\n";
        assert_eq!(
            crash(text, Path::new("/f")),
            "thread 'x' panicked at core/a.rs:5:1:; the input is /t/crash-1"
        );
        assert_eq!(crash("", Path::new("/f")), "it ended; the input is /f");
        assert_eq!(
            (figure(text, " cov:"), figure(text, "executed_units:"), figure(text, "rss")),
            ("17".into(), "77".into(), "?".into())
        );
    }
}
