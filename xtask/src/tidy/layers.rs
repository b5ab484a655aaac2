//! The layers of the engine: which module may use which, read from the paths in the sources.
//!
//! A module is a folder or file directly below `core/src`. It may use what is below its layer, and its own layer as long as nobody there uses it in
//! turn. Paths count wherever they stand: in `use` items and in code, from `crate::` or up through `super::`, and by way of what `lib.rs` exports.

use std::collections::{BTreeMap, BTreeSet};

use super::{CORE, code};

/// The layers of `core/src`, lowest first.
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
            "files",
            "config",
            "striped",
        ],
    ),
    ("store", &["store"]),
    ("values", &["value", "lazyfree", "rdb"]),
    ("keyspace", &["keyspace", "expire", "evict", "notify", "blocking", "pubsub", "tracking"]),
    ("cache", &["cache"]),
    (
        "state",
        &[
            "acl",
            "clients",
            "stats",
            "latency",
            "commandlog",
            "network",
            "process",
            "pulse",
            "persist",
            "targets",
            "scripts",
            "local",
        ],
    ),
    ("machinery", &["command", "backend", "info", "recovery", "script"]),
    ("commands", &["commands"]),
    ("engine", &["typed", "remote", "engine", "fork"]),
    ("api", &["check", "transfer", "database"]),
    (
        "faces",
        &["listener", "wire", "share", "monitor", "redis", "cli", "bin", "lib", "loom_models", "fuzzing"],
    ),
];

/// One module's use of another.
struct Use {
    file: String,
    line: usize,
    from: String,
    to: String,
}

/// Arrows that run upward, and circles within a layer. `files` are all sources with their names.
pub(super) fn check(files: &[(String, String)]) -> Vec<String> {
    let core = files.iter().filter(|(name, _)| name.starts_with(CORE) && name.ends_with(".rs"));
    let tests: BTreeSet<String> = core.clone().flat_map(|(name, text)| test_modules(name, text)).collect();
    let exports = core.clone().find(|(name, _)| name == "core/src/lib.rs").map(|(_, text)| exports(text));
    let exports = exports.unwrap_or_default();
    let core = core.filter(|(name, _)| !tests.iter().any(|test| is_within(name, test)));
    let mut violations = Vec::new();
    let mut uses = Vec::new();
    for (name, text) in core {
        let from = module(name);
        if layer(from).is_none() {
            violations.push(format!(
                "{name}: module `{from}` is in no layer; add it to LAYERS in xtask/src/tidy/layers.rs"
            ));
            continue;
        }
        // The title page names everything.
        if from != "lib" {
            uses.extend(uses_of(name, text, &exports));
        }
    }
    violations.extend(uses.iter().filter_map(upward));
    violations.extend(circles(&uses));
    violations
}

fn upward(used: &Use) -> Option<String> {
    let (own, other) = (layer(&used.from)?, layer(&used.to)?);
    let Use { file, line, from, to } = used;
    (other > own).then(|| {
        format!(
            "{file}:{line}: `{from}` ({}) uses `{to}` ({}), a layer above it",
            LAYERS[own].0, LAYERS[other].0
        )
    })
}

/// Modules of one layer that use each other in a circle, each circle once, with a file and line for each step.
fn circles(uses: &[Use]) -> Vec<String> {
    let mut arrows: BTreeMap<&str, BTreeMap<&str, &Use>> = BTreeMap::new();
    for used in uses.iter().filter(|used| layer(&used.from) == layer(&used.to)) {
        arrows.entry(&used.from).or_default().entry(&used.to).or_insert(used);
    }
    let mut found = BTreeMap::new();
    for start in arrows.keys() {
        if let Some(circle) = circle_from(start, &arrows) {
            let members: BTreeSet<&str> = circle.iter().map(|used| used.from.as_str()).collect();
            found.entry(members).or_insert(circle);
        }
    }
    let step = |used: &&Use| format!("`{}` uses `{}` ({}:{})", used.from, used.to, used.file, used.line);
    let told = |circle: &Vec<&Use>| {
        let steps: Vec<String> = circle.iter().map(step).collect();
        format!("a circle of modules: {}", steps.join(", "))
    };
    found.values().map(told).collect()
}

/// The shortest way from a module back to itself.
fn circle_from<'u>(
    start: &str,
    arrows: &BTreeMap<&'u str, BTreeMap<&'u str, &'u Use>>,
) -> Option<Vec<&'u Use>> {
    let mut ways: Vec<Vec<&Use>> = arrows.get(start)?.values().map(|used| vec![*used]).collect();
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        if let Some(way) = ways.iter().find(|way| way.last().is_some_and(|used| used.to == start)) {
            return Some(way.clone());
        }
        let mut longer = Vec::new();
        for way in ways {
            let end = way.last()?.to.as_str();
            if seen.insert(end) {
                let on = arrows.get(end).into_iter().flat_map(BTreeMap::values);
                longer.extend(on.map(|used| [way.clone(), vec![*used]].concat()));
            }
        }
        ways = longer;
    }
    None
}

/// The first part of a path below `core/src`: a folder or a file without its ending.
fn module(name: &str) -> &str {
    let rest = name.strip_prefix(CORE).unwrap_or(name);
    rest.split(['/', '.']).next().unwrap_or(rest)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// What a file uses outside its tests.
fn uses_of(name: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<Use> {
    let from = module(name);
    let depth = depth(name);
    let mut found = BTreeMap::new();
    let (code, lines) = flat(text);
    for (at, path) in paths_from_root(&code, depth) {
        for head in heads(path) {
            let to = exports.get(&head).cloned().unwrap_or(head);
            if layer(&to).is_some() && to != from {
                found.entry(to).or_insert(lines.partition_point(|start| *start <= at));
            }
        }
    }
    let file = |(to, line)| Use { file: name.to_owned(), line, from: from.to_owned(), to };
    found.into_iter().map(file).collect()
}

/// How many `super::` lead from a file's own module to the crate.
fn depth(name: &str) -> usize {
    let path = name.strip_prefix(CORE).unwrap_or(name).trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').count()
}

/// The code of a file without comments, strings and tests in one line, and where in it each line begins.
fn flat(text: &str) -> (String, Vec<usize>) {
    let (mut flat, mut starts) = (String::new(), Vec::new());
    let mut skipped: Option<usize> = None;
    for line in text.lines() {
        starts.push(flat.len());
        let code = code(line);
        let indent = code.len() - code.trim_start().len();
        let is_test =
            code.trim_start().starts_with("#[cfg(test)]") || code.trim_start().starts_with("#[cfg(all(test");
        if let Some(outer) = skipped {
            // The item under the attribute ends with its own line, or with the brace that stands where it began.
            let end = code.trim_end();
            let ends =
                indent == outer && (end.ends_with(';') || end.ends_with('}')) && !end.trim().starts_with('#');
            skipped = (!ends).then_some(outer);
        } else if is_test {
            skipped = Some(indent);
        } else {
            flat.push_str(&code);
            flat.push('\n');
        }
    }
    (flat, starts)
}

/// Every path that begins at the crate's root, without that beginning, and where it stands.
fn paths_from_root(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for beginning in ["crate::", up.as_str()] {
        let mut from = 0;
        while let Some(at) = code[from..].find(beginning) {
            let at = from + at;
            from = at + beginning.len();
            let before = code[..at].chars().next_back();
            if before.is_none_or(|letter| !(letter.is_alphanumeric() || matches!(letter, '_' | ':' | '$'))) {
                found.push((at, &code[from..]));
            }
        }
    }
    found
}

/// The items that `lib.rs` exports, with the modules they come from.
fn exports(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for item in flat(text).0.split(';') {
        let Some((_, path)) = item.split_once("pub use ") else { continue };
        let Some((head, rest)) = path.split_once("::") else { continue };
        let names = rest.split([',', '{', '}', '\n', ' ']).filter(|name| !name.is_empty());
        for name in names {
            let name = name.rsplit("::").next().unwrap_or(name);
            found.insert(name.to_owned(), head.trim().to_owned());
        }
    }
    found
}

/// The files, without their endings, of modules that are declared for tests only.
fn test_modules(name: &str, text: &str) -> Vec<String> {
    let folder = name.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/lib");
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let declared = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        match declared.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(module) if is_test => found.push(format!("{folder}/{module}")),
            _ => {}
        }
        is_test = line.starts_with("#[cfg(test)]")
            || line.starts_with("#[cfg(all(test")
            || is_test && line.starts_with("#[");
    }
    found
}

fn is_within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// First path segments of `a::b` or of each member of `{a::b, c::{d, e}}`.
fn heads(path: &str) -> BTreeSet<String> {
    let mut heads = BTreeSet::new();
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        heads.insert(path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        return heads;
    };
    let (mut depth, mut head, mut taking) = (0, String::new(), true);
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.insert(std::mem::take(&mut head));
                taking = true;
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                if taking {
                    head.push(letter);
                }
            }
            _ => taking &= head.is_empty(),
        }
    }
    heads.insert(head);
    heads.remove("");
    heads
}

#[cfg(test)]
mod tests;
