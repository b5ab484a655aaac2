//! Runs other programs: progress line, log file, captured output, readable failure.
//!
//! What to run is decided by the tasks; nothing here knows a tool by name.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

static VERBOSE: AtomicBool = AtomicBool::new(false);
/// Lines of a failed command's output that are shown.
const TAIL: usize = 120;

/// Shows output as it comes.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The build folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// What a command printed.
#[derive(Debug)]
pub struct Output {
    /// Standard output and standard error, interleaved as they came.
    pub text: String,
    /// Whether it ended with status 0.
    pub success: bool,
}

impl Output {
    /// Fails with the end of the output if the command failed.
    pub fn ok(self, what: &str) -> Result<String, String> {
        if self.success {
            return Ok(self.text);
        }
        if !VERBOSE.load(Ordering::Relaxed) {
            let lines: Vec<&str> = self.text.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
        }
        Err(format!("{what} failed"))
    }
}

/// Has cargo, or what runs it, build each dependency once for all packages of the workspace, the engine above all: by itself it builds them anew for each
/// package that asks for other features. That is not stable yet; a cargo that does not know it builds more often.
pub fn unified(command: &mut Command) -> &mut Command {
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_FEATURE_UNIFICATION", "true")
        .env("CARGO_RESOLVER_FEATURE_UNIFICATION", "workspace")
}

/// A cargo command in the root folder, with the cargo that runs this program.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(arguments);
    // Set by `cargo run` for this package; they would make build scripts of others rebuild.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// Any program, in the root folder.
pub fn program(path: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root()).args(arguments);
    command
}

/// Runs a command to its end, with a progress line, its output written to `target/xtask/LOG.log`.
///
/// # Errors
/// A program that cannot be started or a log that cannot be written; a failing status is in the output.
pub fn run(log: &str, command: &mut Command) -> Result<Output, String> {
    let shown = shown(command);
    println!("   {log:<9} $ {shown}");
    let start = Instant::now();
    let path = target().join("xtask").join(format!("{log}.log"));
    std::fs::create_dir_all(path.parent().expect("a file has a folder")).map_err(|e| e.to_string())?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    let output = pump(command, &mut file).map_err(|error| format!("{shown}: {error}"))?;
    let result = if output.success { "ok" } else { "failed" };
    println!("   {log:<9}   {result} after {:.1} s", start.elapsed().as_secs_f64());
    Ok(output)
}

/// Reads standard output and standard error as one stream.
fn pump(command: &mut Command, log: &mut impl Write) -> std::io::Result<Output> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    writeln!(log, "$ {}", shown(command))?;
    let mut child = command.spawn()?;
    // The command holds the writing ends: the pipe closes only when both it and the child are done.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = String::new();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let shown = String::from_utf8_lossy(&line);
        log.write_all(&line)?;
        if VERBOSE.load(Ordering::Relaxed) {
            print!("{shown}");
        }
        text.push_str(&shown);
        line.clear();
    }
    let success = child.wait()?.success();
    Ok(Output { text, success })
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words =
        std::iter::once(name).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned());
    let variables = command.get_envs().filter_map(|(key, value)| {
        let key = key.to_string_lossy();
        let shown = key.starts_with("RUSTFLAGS") || key.starts_with("KEYSTEAD") || key.starts_with("LOOM");
        value.filter(|_| shown).map(|value| format!("{key}={:?}", value.to_string_lossy()))
    });
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// True if a program of that name is in `PATH`.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_both_streams_and_the_status() {
        let mut log = Vec::new();
        let output = pump(&mut program("sh", &["-c", "echo out; echo err >&2; exit 3"]), &mut log).unwrap();
        assert_eq!((output.text.as_str(), output.success), ("out\nerr\n", false));
        assert!(String::from_utf8(log).unwrap().ends_with("out\nerr\n"));
        assert!(output.ok("it").is_err());
    }
}
