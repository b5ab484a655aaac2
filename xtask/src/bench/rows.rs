//! The lines that benches print, one JSON object each, and the files of them under `target/bench`.
//!
//! What they say in tables and charts is `report.rs`'s and `chart.rs`'s affair.

use crate::sh;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a part of the comparison was and in which circumstances it ran; the first line of its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its name, which is its file's.
    pub part: String,
    /// When it began, as `date -u` writes it.
    pub date: String,
    /// Load averages of 1, 5 and 15 minutes when it began.
    pub load: String,
    /// The commit that was measured, as `git describe` writes it.
    #[serde(default)]
    pub engine: String,
    /// Tenth of the counts, three rounds.
    pub quick: bool,
    /// What a reader must know about how these lines came about; written by hand where a run was cut short.
    #[serde(default)]
    pub remark: String,
    /// How to run it by hand.
    pub commands: Vec<String>,
}

/// A time of ours, alone or beside a peer's.
#[derive(Clone, Debug, Deserialize)]
pub struct Timing {
    pub face: String,
    pub case: String,
    pub ours_ns: f64,
    /// Empty for our own time against its goal.
    pub peer: String,
    pub peer_ns: Option<f64>,
    /// The median of peer / ours by round.
    pub ratio: Option<f64>,
    pub low: f64,
    pub high: f64,
    pub goal_ns: Option<f64>,
    pub goal_ratio: Option<f64>,
}

/// A figure of the engine that is no time per call: bytes, seconds of mass expiry. At most `goal` is good, if there is one.
#[derive(Clone, Debug, Deserialize)]
pub struct Limit {
    pub case: String,
    pub unit: String,
    pub ours: f64,
    pub goal: Option<f64>,
}

/// What a peer needs for the case of a [`Limit`].
#[derive(Clone, Debug, Deserialize)]
pub struct Theirs {
    pub case: String,
    pub peer: String,
    pub theirs: f64,
}

/// Something that could not be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missing {
    pub face: String,
    pub missing: String,
    pub reason: String,
}

/// A line of a bench; the fields decide which.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Part(Part),
    Timing(Timing),
    Theirs(Theirs),
    Limit(Limit),
    Missing(Missing),
}

/// The lines among other output.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))).collect()
}

/// What benches say about peers they go without: `NAME is left out: REASON`.
pub fn left_out(face: &str, text: &str) -> Vec<Missing> {
    let says = |line: &str| {
        let (missing, reason) = line.split_once(" is left out: ")?;
        Some(Missing { face: face.into(), missing: missing.into(), reason: reason.into() })
    };
    text.lines().filter_map(says).collect()
}

/// Where the lines are kept.
pub fn folder() -> PathBuf {
    sh::target().join("bench")
}

/// Writes the file of a part.
pub fn store(part: &Part, text: &str, missing: &[Missing]) -> Result<(), String> {
    let mut content = json(part)?;
    text.lines().filter(|line| line.starts_with('{')).for_each(|line| content += &format!("{line}\n"));
    for row in missing {
        content += &json(row)?;
    }
    std::fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
    let path = folder().join(format!("{}.jsonl", part.part));
    std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))
}

fn json(row: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(row).map(|line| line + "\n").map_err(|error| error.to_string())
}

/// The lines of a part; none if it never ran.
pub fn load(part: &str) -> Result<Vec<Line>, String> {
    let path = folder().join(format!("{part}.jsonl"));
    std::fs::read_to_string(path).map_or_else(|_| Ok(Vec::new()), |text| parse(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_known_by_its_fields() {
        let text = r#"noise
{"face":"rust","case":"GET","ours_ns":1.0,"peer":"","peer_ns":null,"ratio":null,"low":1.0,"high":1.0,"goal_ns":2,"goal_ratio":null}
{"face":"engine","case":"bytes","unit":"bytes","ours":50.1,"goal":54.0}
{"face":"engine","case":"bytes","unit":"bytes","peer":"Valkey","theirs":80.5}
{"face":"rust","missing":"kevy","reason":"not built"}
{"part":"c","date":"today","load":"0 0 0","quick":true,"commands":[]}
"#;
        let lines = parse(text).unwrap();
        assert!(matches!(&lines[0], Line::Timing(row) if row.goal_ns == Some(2.0)));
        assert!(matches!(&lines[1], Line::Limit(row) if row.goal == Some(54.0)));
        assert!(matches!(&lines[2], Line::Theirs(row) if row.theirs == 80.5));
        assert!(matches!(&lines[3], Line::Missing(row) if row.missing == "kevy"));
        assert!(matches!(&lines[4], Line::Part(part) if part.quick));
        assert!(parse("{\"face\":1}").is_err());
    }

    #[test]
    fn a_peer_left_out_is_a_row() {
        let rows = left_out("node", "x\nkeyv is left out: cannot find it\n");
        assert_eq!((rows[0].missing.as_str(), rows[0].reason.as_str()), ("keyv", "cannot find it"));
    }
}
