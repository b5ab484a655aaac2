//! The house rules that a machine can check: layers, unsafe, time, file sizes, first lines.
//!
//! Each rule is a function from a file's path and text to its violations; the tests plant one of each.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The layers of `core/src`, lowest first. A module may use its own layer and those below.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "ground",
        &[
            "alloc",
            "background",
            "clock",
            "sync",
            "os",
            "error",
            "num",
            "pattern",
            "resp",
            "config",
            "striped",
        ],
    ),
    ("store", &["store"]),
    ("values", &["value", "lazyfree"]),
    ("keyspace", &["keyspace", "expire", "evict", "notify", "blocking", "pubsub", "tracking"]),
    ("cache", &["cache"]),
    // Commands and the engine they run in know each other: INFO is a command, and a session runs commands.
    (
        "engine",
        &[
            "command",
            "commands",
            "session",
            "engine",
            "clients",
            "stats",
            "info",
            "latency",
            "commandlog",
            "gather",
            "network",
            "loom_models",
            "process",
            "pulse",
            "rounds",
            "fork",
            "script",
        ],
    ),
    ("api", &["database", "persist", "remote"]),
    ("faces", &["listener", "share", "monitor", "redis", "bin", "lib"]),
];

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
/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", ".venv", "__pycache__", ".library"];

/// Checks the whole tree.
pub fn check(root: &Path) -> io::Result<Vec<String>> {
    let mut violations = Vec::new();
    for path in files(root, &["rs", "py", "pyi", "js", "mjs", "cjs", "ts", "c", "h"])? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        violations.extend(check_file(&name, &std::fs::read_to_string(&path)?));
    }
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
            violations.extend(layers(name, text));
            violations.extend(time(name, text));
        }
    }
    violations
}

fn long_file(name: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    // Generated files are as long as their tables.
    if lines <= MAX_LINES || name == "include/keystead.h" || name.ends_with(".pyi") {
        return Vec::new();
    }
    vec![format!("{name}: {lines} lines, {MAX_LINES} is the limit")]
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

/// Arrows that run upward.
fn layers(name: &str, text: &str) -> Vec<String> {
    let module = module(name);
    let Some(own) = layer(module) else {
        return vec![format!(
            "{name}: module `{module}` is in no layer; add it to LAYERS in xtask/src/tidy.rs"
        )];
    };
    let mut violations = Vec::new();
    for (line, used) in uses(text) {
        match layer(&used) {
            Some(layer) if layer > own => {
                let (from, to) = (LAYERS[own].0, LAYERS[layer].0);
                violations.push(format!(
                    "{name}:{line}: `{module}` ({from}) uses `{used}` ({to}), a layer above it"
                ));
            }
            _ => {}
        }
    }
    violations
}

/// The first part of a path below `core/src`: a folder or a file without its ending.
fn module(name: &str) -> &str {
    let rest = name.strip_prefix(CORE).unwrap_or(name);
    rest.split(['/', '.']).next().unwrap_or(rest)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// The modules named by `use crate::...` items, with their lines; groups in braces are followed.
///
/// Test modules may look anywhere, so reading stops where they begin.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test") {
            break;
        }
        let line = code(line);
        let item = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let Some(rest) = item.strip_prefix("use crate::") else { continue };
        let mut rest = rest.to_owned();
        while !rest.contains(';') {
            let Some((_, next)) = lines.next() else { break };
            rest.push_str(&code(next));
        }
        found.extend(heads(&rest).into_iter().map(|module| (index + 1, module)));
    }
    found
}

/// First path segments of `a::b` or of each member of `{a::b, c::{d, e}}`.
fn heads(path: &str) -> BTreeSet<String> {
    let (mut heads, mut depth, mut head, mut taking) = (BTreeSet::new(), 0, String::new(), true);
    let outer = usize::from(path.trim_start().starts_with('{'));
    for letter in path.chars().chain([';']) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let is_end = matches!(letter, ',' | ';' | '}') && depth <= outer;
        if is_end {
            if !head.is_empty() {
                heads.insert(std::mem::take(&mut head));
            }
            taking = true;
        } else if letter.is_alphanumeric() || letter == '_' {
            if taking {
                head.push(letter);
            }
        } else if !head.is_empty() {
            taking = false;
        }
        if letter == ';' {
            break;
        }
    }
    heads
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
    fn an_arrow_that_runs_upward() {
        let planted = "use crate::clock::Clock;\nuse crate::commands::string;\n";
        assert!(
            found("core/src/keyspace/db.rs", planted)
                .contains("db.rs:3: `keyspace` (keyspace) uses `commands`")
        );
        assert_eq!(
            found(
                "core/src/commands/string/get.rs",
                "use crate::keyspace::Db;\nuse crate::command::Reply;\n"
            ),
            ""
        );
        let group = "use crate::{\n    clock::Clock,\n    engine::{Engine, Handle},\n    value,\n};\n";
        assert!(found("core/src/expire/wheel.rs", group).contains("uses `engine`"));
        assert!(
            found("core/src/value/hash.rs", "pub(crate) use crate::listener::Port;\n")
                .contains("uses `listener`")
        );
        assert!(found("core/src/drawer.rs", "").contains("in no layer"));
        assert_eq!(
            found(
                "core/src/keyspace/db.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}\n"
            ),
            ""
        );
    }

    #[test]
    fn heads_of_groups() {
        let heads = |path| heads(path).into_iter().collect::<Vec<_>>();
        assert_eq!(heads("a::b::C;"), ["a"]);
        assert_eq!(heads("{a::b, c::{d, e::F}, g};"), ["a", "c", "g"]);
        assert_eq!(heads("a::{b, c};"), ["a"]);
        assert_eq!(heads("Engine;"), ["Engine"]);
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
        // Three of bindings, two of memory, and what else the system is asked.
        assert!(UNSAFE.len() <= 6);
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
        assert!(found("core/src/engine.rs", &"x\n".repeat(1000)).contains("1001 lines"));
        assert_eq!(found("core/src/engine.rs", &"x\n".repeat(999)), "");
        assert!(check_file("core/src/engine.rs", "use std::io;\n").join("").contains("begins with a `//!`"));
    }

    #[test]
    fn this_tree_is_walked() {
        let names = files(&crate::sh::root().join("xtask"), &["rs"]).unwrap();
        assert!(names.iter().any(|name| name.ends_with("tidy.rs")));
    }
}
