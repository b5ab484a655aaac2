//! Writes `benches/RESULTS.md` and its charts from the lines of the last runs: what was measured where, and what misses its goal by how much.
//!
//! Why it misses, and what was tried, people write in `benches/notes.toml`.

use super::chart;
use super::compare::{PARTS, word};
use super::rows::{self, Limit, Line, Missing, Part, Theirs, Timing};
use crate::sh;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "\
# Results

Written by `cargo xtask bench --compare`; do not edit. A ratio is the peer's time divided by ours, higher is better: the median of the rounds' ratios, in \
brackets the lowest and highest. Contenders take turns, A B A B, in one process. The times are for orientation, the ratios for reading: the machine is shared.

Rust times are CPU time of the thread (on the wall where a server answers), keys of 16 bytes, values of 64, GET copies into a reused buffer. Python, Node and C: \
see the heads of their benches.
";

/// Why a case misses its goal and what was tried; `case` is the beginning of the case's name.
#[derive(Debug, Deserialize)]
struct Note {
    face: String,
    case: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Notes {
    #[serde(default)]
    note: Vec<Note>,
}

/// What the lines of a part say.
#[derive(Default)]
pub struct Findings {
    part: Option<Part>,
    pub timings: Vec<Timing>,
    pub limits: Vec<Limit>,
    pub theirs: Vec<Theirs>,
    missing: Vec<Missing>,
}

/// Writes the document and the charts.
pub fn write() -> Result<(), String> {
    let notes = std::fs::read_to_string(sh::root().join("benches/notes.toml")).unwrap_or_default();
    let notes: Notes = toml::from_str(&notes).map_err(|error| format!("benches/notes.toml: {error}"))?;
    let mut text = format!("{HEAD}\n{}", machine());
    let path = sh::root().join("benches/RESULTS.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut all = Vec::new();
    for (part, _) in PARTS {
        let findings = gather(rows::load(part)?);
        let _ = write!(text, "\n## {}\n", title(part));
        match kept(&before, part).filter(|_| findings.part.is_none()) {
            Some(section) => text.push_str(section),
            None => section(&mut text, part, &findings, &notes.note),
        }
        all.push(findings);
    }
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("   bench     wrote benches/RESULTS.md");
    chart::write(&all)
}

fn gather(lines: Vec<Line>) -> Findings {
    let mut findings = Findings::default();
    for line in lines {
        match line {
            Line::Part(part) => findings.part = Some(part),
            Line::Timing(row) => findings.timings.push(row),
            Line::Limit(row) => findings.limits.push(row),
            Line::Theirs(row) => findings.theirs.push(row),
            Line::Missing(row) => findings.missing.push(row),
        }
    }
    // One process a peer prints its cases; tables are read by case.
    let cases: Vec<String> = findings.timings.iter().map(|row| row.case.clone()).collect();
    findings.timings.sort_by_key(|row| cases.iter().position(|case| *case == row.case));
    findings
}

fn machine() -> String {
    let read = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let threads = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let rows = [
        ("Processor", format!("{}, {threads} threads", read("/proc/cpuinfo", "model name"))),
        ("Memory", read("/proc/meminfo", "MemTotal")),
        ("System", format!("{} {}", word("uname", &["-s"]), word("uname", &["-r"]))),
        ("Compiler", word("rustc", &["--version"])),
        ("Python, Node", format!("{}, {}", word("python3", &["--version"]), word("node", &["--version"]))),
        ("Rust peers", crates()),
        ("Python peers", pins("bindings-python/benches/requirements.txt")),
        ("Node peers", packages()),
    ];
    rows.iter().fold(String::new(), |text, (name, value)| text + &format!("* **{name}**: {value}\n"))
}

/// Versions of the Rust peers as the lock file has them.
fn crates() -> String {
    let lock = std::fs::read_to_string(sh::root().join("Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let names = ["ahash", "dashmap", "scc", "papaya", "quick_cache", "kevy-embedded", "foyer-memory", "moka"];
    names.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

fn pins(path: &str) -> String {
    let text = std::fs::read_to_string(sh::root().join(path)).unwrap_or_default();
    text.lines().map(|line| line.replace("==", " ")).collect::<Vec<_>>().join(", ")
}

fn packages() -> String {
    let text =
        std::fs::read_to_string(sh::root().join("bindings-node/bench/package.json")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let list = json["dependencies"].as_object().into_iter().flatten();
    list.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What the document has said of a part so far.
fn kept<'d>(document: &'d str, part: &str) -> Option<&'d str> {
    let (_, section) = document.split_once(&format!("\n## {}\n", title(part)))?;
    Some(section.split_once("\n## ").map_or(section, |(section, _)| section))
}

/// What stands below the title of a part.
fn section(text: &mut String, name: &str, findings: &Findings, notes: &[Note]) {
    text.push('\n');
    let Some(part) = &findings.part else {
        text.push_str("Not run yet.\n");
        return;
    };
    let quick = match (part.quick, name) {
        (true, "rust" | "limits" | "files") => " **With `--quick`: a tenth of the counts, three rounds.**",
        (true, _) => " **With `--quick`: three rounds.**",
        (false, _) => "",
    };
    let _ = writeln!(
        text,
        "{}, commit {}; load average at the start {}.{quick}\n",
        part.date, part.engine, part.load
    );
    if !part.remark.is_empty() {
        let _ = writeln!(text, "{}\n", part.remark);
    }
    if !findings.timings.is_empty() {
        text.push_str(
            "| case | ours, ns | peer | peer, ns | ratio | goal | reached |\n|---|--:|---|--:|--:|--:|---|\n",
        );
        findings.timings.iter().for_each(|row| timing(text, row));
    }
    if !findings.limits.is_empty() {
        text.push_str("| case | unit | ours | Valkey | goal | reached |\n|---|---|--:|--:|--:|---|\n");
        findings.limits.iter().for_each(|row| limit(text, row, &findings.theirs));
    }
    if !findings.missing.is_empty() {
        text.push_str("\nCould not be measured:\n\n");
        for row in &findings.missing {
            let _ = writeln!(text, "* {}: {}", row.missing, row.reason);
        }
    }
    misses(text, name, findings, notes);
    let _ = writeln!(text, "\n<details><summary>Commands</summary>\n\n```console");
    part.commands.iter().for_each(|command| {
        let _ = writeln!(text, "$ {command}");
    });
    text.push_str("```\n\n</details>\n");
}

fn title(part: &str) -> &'static str {
    match part {
        "rust" => "Rust: the engine beside maps and caches in one process",
        "limits" => "The engine at its limits: memory, mass expiry, growth, copies, small and idle engines",
        "files" => "What is on disk: opening, snapshots, the log (5 M keys of 16 + 64 bytes)",
        "listener" => {
            "The listener beside a server of the same version, under redis-benchmark (time on the wall per request)"
        }
        "remote" => {
            "A near cache in front of a server on loopback (hits: processor time; misses: time on the wall)"
        }
        "python" => "Python",
        "node" => "Node",
        _ => "C",
    }
}

fn timing(text: &mut String, row: &Timing) {
    let (peer, theirs, ratio) = match (row.peer_ns, row.ratio) {
        (Some(theirs), Some(ratio)) => (
            row.peer.as_str(),
            number(theirs),
            format!("{}x [{}-{}]", number(ratio), number(row.low), number(row.high)),
        ),
        _ => ("", String::new(), format!("[{}-{} ns]", number(row.low), number(row.high))),
    };
    let goal = match (row.goal_ns, row.goal_ratio) {
        (Some(goal), _) => format!("{} ns", number(goal)),
        (None, Some(goal)) => format!("{}x", number(goal)),
        (None, None) => String::new(),
    };
    let reached =
        missed(row).map_or(if goal.is_empty() { "" } else { "yes" }.into(), |miss| format!("no: {miss}"));
    let _ = writeln!(
        text,
        "| {} | {} | {peer} | {theirs} | {ratio} | {goal} | {reached} |",
        row.case,
        number(row.ours_ns)
    );
}

/// By how much the row misses its goal.
fn missed(row: &Timing) -> Option<String> {
    match (row.goal_ns, row.goal_ratio, row.ratio) {
        (Some(goal), ..) if row.ours_ns > goal => Some(format!(
            "{} ns more ({:.0} %)",
            number(row.ours_ns - goal),
            (row.ours_ns / goal - 1.0) * 100.0
        )),
        (None, Some(goal), Some(ratio)) if ratio < goal => {
            Some(format!("{:.0} % below", (1.0 - ratio / goal) * 100.0))
        }
        _ => None,
    }
}

fn limit(text: &mut String, row: &Limit, theirs: &[Theirs]) {
    let theirs = theirs.iter().find(|other| other.case == row.case);
    let theirs = theirs.map_or(String::new(), |other| number(other.theirs));
    let reached = match (row.goal, exceeded(row)) {
        (_, Some(miss)) => format!("no: {miss}"),
        (Some(_), None) => "yes".into(),
        (None, None) => String::new(),
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {theirs} | {} | {reached} |",
        row.case,
        row.unit,
        number(row.ours),
        row.goal.map_or(String::new(), number)
    );
}

fn exceeded(row: &Limit) -> Option<String> {
    let goal = row.goal.filter(|goal| row.ours > *goal)?;
    Some(format!("{} {} more ({:.0} %)", number(row.ours - goal), row.unit, (row.ours / goal - 1.0) * 100.0))
}

/// The list of what misses its goal, by case, with the notes.
fn misses(text: &mut String, face: &str, findings: &Findings, notes: &[Note]) {
    let mut cases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in &findings.timings {
        if let Some(miss) = missed(row) {
            let beside =
                if row.peer.is_empty() { "our own goal".into() } else { format!("beside {}", row.peer) };
            cases.entry(&row.case).or_default().push(format!("{beside}: {miss}"));
        }
    }
    for row in &findings.limits {
        if let Some(miss) = exceeded(row) {
            cases.entry(&row.case).or_default().push(miss);
        }
    }
    if cases.is_empty() {
        return;
    }
    // Cases that share their reason stand together under it.
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (case, misses) in cases {
        // The longest beginning is the most particular.
        let fits = |note: &&Note| note.face == face && case.starts_with(&note.case);
        let note = notes.iter().filter(fits).max_by_key(|note| note.case.len());
        let reason = note.map_or("No note in benches/notes.toml yet.", |note| note.text.trim());
        reasons.entry(reason).or_default().push(format!("* **{case}**: {}", misses.join("; ")));
    }
    text.push_str("\n### What misses its goal, why, and what was tried\n");
    for (reason, lines) in reasons {
        let _ = writeln!(text, "\n{}\n\n{reason}", lines.join("\n"));
    }
}

/// A figure with three digits or so, and thousands apart.
pub fn number(figure: f64) -> String {
    let size = figure.abs();
    if size >= 1000.0 {
        let digits = format!("{figure:.0}");
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
        let groups = digits.as_bytes().rchunks(3).rev();
        let groups: Vec<String> = groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        return format!("{sign}{}", groups.join(","));
    }
    match size {
        0.0 => "0".into(),
        _ if size >= 100.0 => format!("{figure:.0}"),
        _ if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, ratio: Option<f64>, goal_ns: Option<f64>, goal_ratio: Option<f64>) -> Timing {
        Timing {
            face: "rust".into(),
            case: "GET 5 M, build x".into(),
            ours_ns: ours,
            peer: if ratio.is_some() { "map".into() } else { String::new() },
            peer_ns: ratio.map(|ratio| ratio * ours),
            ratio,
            low: 1.0,
            high: 2.0,
            goal_ns,
            goal_ratio,
        }
    }

    #[test]
    fn a_miss_says_by_how_much() {
        assert_eq!(missed(&row(60.0, None, Some(50.0), None)).unwrap(), "10.0 ns more (20 %)");
        assert_eq!(missed(&row(60.0, Some(0.9), None, Some(1.2))).unwrap(), "25 % below");
        assert!(missed(&row(60.0, Some(1.3), None, Some(1.2))).is_none());
        assert!(missed(&row(60.0, None, None, None)).is_none());
    }

    #[test]
    fn the_most_particular_note_is_taken() {
        let note =
            |case: &str, text: &str| Note { face: "rust".into(), case: case.into(), text: text.into() };
        let notes = [note("GET", "all gets"), note("GET 5 M", "large ones")];
        let findings =
            Findings { timings: vec![row(1.0, Some(0.5), None, Some(1.0))], ..Findings::default() };
        let mut text = String::new();
        misses(&mut text, "rust", &findings, &notes);
        assert!(text.contains("* **GET 5 M, build x**: beside map: 50 % below\n\nlarge ones"), "{text}");
        let mut text = String::new();
        misses(&mut text, "c", &findings, &notes);
        assert!(text.contains("No note"));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.314, 9.99, 54.32, 543.2, 57_343.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.31", "9.99", "54.3", "543", "57,343", "1,234,567"]);
    }
}
