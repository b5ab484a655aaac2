//! The house rules that a machine can check: layers, unsafe, time, file sizes, first lines.
//!
//! Each rule is a function from a file's path and text to its violations; that on layers sees all files. The tests plant one of each.

mod layers;

use std::io;
use std::path::{Path, PathBuf};

/// The only files that may contain unsafe code.
const UNSAFE: &[&str] = &[
    "core/src/os.rs",
    "core/src/store/memory/region.rs",
    "core/src/store/memory/words.rs",
    "bindings-python/src/hot.rs",
    "bindings-python/src/hot/objects.rs",
    "bindings-node/src/hot.rs",
    "bindings-c/src/abi.rs",
];

/// The only file of the engine that reads time.
const CLOCK: &str = "core/src/clock.rs";
/// The engine's own source; the rules on layers and time hold there.
const CORE: &str = "core/src/";
const MAX_LINES: usize = 1000;
/// A file longer than this says at its head, in a sentence with [`WHOLE`], why it is not split.
const LONG: usize = 600;
const WHOLE: &str = "stays whole";
const HEAD: usize = 30;
/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", ".venv", "__pycache__", ".library"];

/// Checks the whole tree.
pub fn check(root: &Path) -> io::Result<Vec<String>> {
    let mut sources = Vec::new();
    for path in files(root, &["rs", "py", "pyi", "js", "mjs", "cjs", "ts", "c", "h"])? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        sources.push((name, std::fs::read_to_string(&path)?));
    }
    let mut violations: Vec<String> =
        sources.iter().flat_map(|(name, text)| check_file(name, text)).collect();
    violations.extend(layers::check(&sources));
    Ok(violations)
}

/// All files below a folder with one of the extensions, sorted.
pub fn files(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
            found.extend(files(&path, extensions)?);
        } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Every rule on one file.
fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut violations = long_file(name, text);
    if name.ends_with(".rs") {
        violations.extend(doc(name, text));
        violations.extend(unsafe_code(name, text));
        if name.starts_with(CORE) {
            violations.extend(time(name, text));
        }
    }
    violations
}

fn long_file(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    // Generated files are as long as their tables.
    if lines <= LONG || name == "include/keystead.h" || name.ends_with(".pyi") {
        return Vec::new();
    }
    if lines > MAX_LINES {
        return vec![format!("{name}: {lines} lines, {MAX_LINES} is the limit")];
    }
    if text.lines().take(HEAD).any(|line| line.contains(WHOLE)) {
        return Vec::new();
    }
    vec![format!("{name}: {lines} lines, and no sentence at its head that says why it \"{WHOLE}\"")]
}

fn doc(name: &str, text: &str) -> Vec<String> {
    if text.starts_with("//!") {
        return Vec::new();
    }
    vec![format!("{name}:1: a file begins with a `//!` sentence that says what it is")]
}

fn unsafe_code(name: &str, text: &str) -> Vec<String> {
    if UNSAFE.contains(&name) {
        return Vec::new();
    }
    let is_unsafe = |line: &str| {
        let code = code(line);
        words(&code).any(|word| word == "unsafe")
    };
    at_lines(name, text, is_unsafe, "unsafe code outside the listed files (xtask/src/tidy.rs)")
}

fn time(name: &str, text: &str) -> Vec<String> {
    if name == CLOCK {
        return Vec::new();
    }
    let reads = |line: &str| {
        ["Instant::now", "SystemTime::now", "UNIX_EPOCH"].iter().any(|call| code(line).contains(call))
    };
    at_lines(name, text, reads, &format!("time is read in {CLOCK} only"))
}

/// A line without its comment and the contents of its string literals.
fn code(line: &str) -> String {
    let (mut kept, mut in_string, mut letters) = (String::new(), false, line.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if in_string => drop(letters.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && letters.peek() == Some(&'/') => break,
            _ if !in_string => kept.push(letter),
            _ => {}
        }
    }
    kept
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

fn at_lines(name: &str, text: &str, is_bad: impl Fn(&str) -> bool, rule: &str) -> Vec<String> {
    let bad = text.lines().enumerate().filter(|(_, line)| is_bad(line));
    bad.map(|(index, _)| format!("{name}:{}: {rule}", index + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> String {
        check_file(name, &format!("//! A file.\n{text}")).join("\n")
    }

    #[test]
    fn unsafe_outside_the_listed_files() {
        let planted = "fn f() { unsafe { g() } }\n";
        assert!(found("core/src/keyspace/table.rs", planted).contains("table.rs:2: unsafe"));
        assert_eq!(found("core/src/store/memory/region.rs", planted), "");
        assert_eq!(
            found("core/src/keyspace/table.rs", "// nothing unsafe\n#![deny(unsafe_op_in_unsafe_fn)]\n"),
            ""
        );
        // Four of bindings, two of memory, and what else the system is asked.
        assert!(UNSAFE.len() <= 7);
    }

    #[test]
    fn time_read_elsewhere() {
        assert!(found("core/src/engine.rs", "let t = Instant::now();\n").contains("time is read in"));
        assert!(
            found("core/src/engine.rs", "let t = std::time::SystemTime::now();\n")
                .contains("time is read in")
        );
        assert_eq!(found("core/src/clock.rs", "let t = Instant::now();\n"), "");
        assert_eq!(found("core/src/engine.rs", "// like Instant::now\n"), "");
        assert_eq!(found("tests/src/run.rs", "let t = Instant::now();\n"), "");
    }

    #[test]
    fn a_file_too_long_and_a_file_without_a_doc() {
        assert!(found("core/src/engine.rs", &"x\n".repeat(1000)).contains("1001 lines, 1000 is the limit"));
        assert_eq!(found("core/src/engine.rs", &"x\n".repeat(599)), "");
        assert!(found("core/src/engine.rs", &"x\n".repeat(600)).contains("601 lines, and no sentence"));
        let reasoned = format!("//! It stays whole, being one table.\n{}", "x\n".repeat(700));
        assert_eq!(found("core/src/engine.rs", &reasoned), "");
        assert!(check_file("core/src/engine.rs", "use std::io;\n").join("").contains("begins with a `//!`"));
    }

    #[test]
    fn this_tree_is_walked() {
        let names = files(&crate::sh::root().join("xtask"), &["rs"]).unwrap();
        assert!(names.iter().any(|name| name.ends_with("tidy.rs")));
    }
}
