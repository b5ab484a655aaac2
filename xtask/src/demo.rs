//! `cargo xtask demo`: sets everything up, runs the example applications, and prints one table of their loads, and one of their restarts.
//!
//! An example prints, among anything else, a line `DEMO {json}` per scenario with the fields of [`COLUMNS`], and a line `RESTART {json}`
//! with those of [`RESTARTS`] if it keeps its cache; what it measures and how is its own business.

use crate::table::table;
use crate::test::install_c;
use crate::{setup, sh};
use std::path::Path;
use std::process::Command;

/// Installs and builds what the example in a folder needs, and gives the command that runs it.
type Prepare = fn(&Path) -> Result<Command, String>;

/// What the examples are built as: fast enough for their figures, without the minutes that fat LTO costs each.
const PROFILE: &str = "quick";

/// An example: its folder and how it is run; the list is in the order of the table.
const EXAMPLES: &[(&str, Prepare)] = &[
    ("flask-valuation", python),
    ("property-cache", node),
    ("queue-service", python),
    ("policy-cache", python),
    ("c-file-digests", c),
    ("rust-word-counts", rust),
];

/// Fields of a line, and their headings.
type Columns = [(&'static str, &'static str)];

/// Of a `DEMO` line.
const COLUMNS: &Columns = &[
    ("scenario", "scenario"),
    ("requests", "requests"),
    ("per_second", "per second"),
    ("hit_rate", "hit rate"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("p50_without_ms", "p50 without"),
    ("p99_without_ms", "p99 without"),
];

/// Of a `RESTART` line: how the first start ended and what it kept, what the second one found, and how long after the start of its process the
/// first answer came out of the cache.
const RESTARTS: &Columns = &[
    ("ended", "first start ended by"),
    ("keys", "keys kept"),
    ("keys_found", "keys found"),
    ("first_hit_without_ms", "first hit without, ms"),
    ("first_hit_ms", "with, ms"),
];

/// Runs every example; fails if one does, or is not there, or reports nothing.
pub fn run() -> Result<(), String> {
    let (mut loads, mut restarts, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (name, prepare)) in EXAMPLES.iter().enumerate() {
        println!("== {name} ({} of {})", at + 1, EXAMPLES.len());
        match example(name, *prepare) {
            Ok(text) => {
                loads.extend(rows(name, &text, "DEMO", COLUMNS));
                restarts.extend(rows(name, &text, "RESTART", RESTARTS));
            }
            Err(message) => {
                println!("   {message}");
                bad.push(*name);
            }
        }
    }
    println!("\n{}", table(&head(COLUMNS), &loads, &[2, 3, 4, 5, 6, 7, 8]));
    if !restarts.is_empty() {
        println!("started again, with the cache of the first start and without\n");
        println!("{}", table(&head(RESTARTS), &restarts, &[2, 3, 4, 5]));
    }
    if bad.is_empty() { Ok(()) } else { Err(format!("did not run: {}", bad.join(", "))) }
}

fn head(columns: &Columns) -> Vec<&'static str> {
    std::iter::once("example").chain(columns.iter().map(|(_, heading)| *heading)).collect()
}

/// What an example printed, a `DEMO` line at least.
fn example(name: &str, prepare: Prepare) -> Result<String, String> {
    let folder = sh::root().join("examples").join(name);
    if !folder.is_dir() {
        return Err(format!("there is no examples/{name} yet"));
    }
    let mut command = prepare(&folder)?;
    let text = sh::run("demo", command.current_dir(&folder))?.ok(name)?;
    if rows(name, &text, "DEMO", COLUMNS).is_empty() {
        Err("it printed no DEMO line".into())
    } else {
        Ok(text)
    }
}

/// The rows of all lines that begin with a word.
fn rows(name: &str, text: &str, word: &str, columns: &Columns) -> Vec<Vec<String>> {
    text.lines().filter_map(|line| row(name, line, word, columns)).collect()
}

fn row(name: &str, line: &str, word: &str, columns: &Columns) -> Option<Vec<String>> {
    let json = line.trim().strip_prefix(word)?.strip_prefix(' ')?;
    let cells = columns.iter().map(|(field, _)| {
        let found = value(json, field);
        let share =
            found.as_deref().filter(|_| *field == "hit_rate").and_then(|share| share.parse::<f64>().ok());
        share.map(|share| format!("{:.1} %", share * 100.0)).or(found).unwrap_or_else(|| "-".into())
    });
    Some(std::iter::once(name.to_owned()).chain(cells).collect())
}

/// The value of a field in a flat JSON object, which is all that examples print.
fn value(json: &str, field: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{field}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next().map(str::to_owned),
        None => rest.split([',', '}']).next().map(|number| number.trim().to_owned()),
    }
}

/// Runs `main.py` in an environment with the wheel and the example's own requirements.
fn python(folder: &Path) -> Result<Command, String> {
    let maturin = setup::venv()?.join("maturin");
    let environment = sh::target().join("xtask/venv-demo");
    setup::new_venv(&environment)?;
    let pip = environment.join("bin/pip");
    let requirements = folder.join("requirements.txt").to_string_lossy().into_owned();
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement", &requirements];
    sh::run("demo", &mut sh::program(&pip, &install))?.ok("pip install")?;
    let arguments = ["develop", "--manifest-path", "bindings-python/Cargo.toml", "--profile", PROFILE];
    let mut develop = sh::program(maturin, &arguments);
    sh::run("demo", sh::unified(&mut develop).env("VIRTUAL_ENV", &environment))?.ok("maturin develop")?;
    Ok(sh::program(environment.join("bin/python"), &["main.py"]))
}

/// Runs `main.mjs` with the package built in place.
fn node(folder: &Path) -> Result<Command, String> {
    let package = sh::root().join("bindings-node");
    setup::npm(&package)?;
    let mut build = sh::program("npm", &["run", "build"]);
    sh::run("demo", sh::unified(&mut build).env("KEYSTEAD_PROFILE", PROFILE).current_dir(&package))?
        .ok("npm run build")?;
    if folder.join("package.json").is_file() {
        let mut install = sh::program("npm", &["install", "--no-audit", "--no-fund"]);
        sh::run("demo", install.current_dir(folder))?.ok("npm install")?;
    }
    Ok(sh::program("node", &["main.mjs"]))
}

/// Compiles `main.c` against an installed library.
fn c(folder: &Path) -> Result<Command, String> {
    let prefix = sh::target().join("xtask/demo-prefix");
    let flags = install_c("demo", PROFILE, &prefix)?;
    let program = prefix.join("demo").to_string_lossy().into_owned();
    let source = folder.join("main.c").to_string_lossy().into_owned();
    let mut compile =
        sh::program("cc", &["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", &program, &source]);
    sh::run("demo", compile.args(flags).arg("-pthread"))?.ok("cc")?;
    let mut command = sh::program(program, &[]);
    command.env("LD_LIBRARY_PATH", prefix.join("lib"));
    Ok(command)
}

/// Runs the folder's crate.
fn rust(folder: &Path) -> Result<Command, String> {
    let manifest = folder.join("Cargo.toml").to_string_lossy().into_owned();
    let mut run = sh::cargo(&["run", "--quiet", "--profile", PROFILE, "--manifest-path", &manifest]);
    sh::unified(&mut run);
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_demo_line() {
        let line = r#"DEMO {"scenario": "areas", "requests": 5000, "hit_rate": 0.98, "p50_ms":0.05,"p99_without_ms": 90.5}"#;
        let cells = row("x", line, "DEMO", COLUMNS).unwrap();
        assert_eq!(cells, ["x", "areas", "5000", "-", "98.0 %", "0.05", "-", "-", "90.5"]);
        assert_eq!(row("x", "other output", "DEMO", COLUMNS), None);
        let text = "some\nRESTART {\"ended\": \"SIGKILL\", \"keys\": 7, \"first_hit_ms\": 1.5}\n";
        assert_eq!(rows("x", text, "RESTART", RESTARTS), [["x", "SIGKILL", "7", "-", "-", "1.5"]]);
    }
}
