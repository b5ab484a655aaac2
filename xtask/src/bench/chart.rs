//! Draws the charts of the README as SVG under `benches/charts/`: horizontal bars, ours in colour, readable on light and dark pages.
//!
//! The figures are `report.rs`'s; a chart whose case has not been measured is left as it was.

use super::report::{Findings, number};
use crate::sh;

/// File, face, case, and what the chart is called.
const CHARTS: &[(&str, &str, &str, &str)] = &[
    ("rust-get", "rust", "GET 5 M uniform", "Rust: GET, 5 million keys, ns"),
    ("rust-mget", "rust", "MGET of 16 at 5 M, per key", "Rust: MGET of 16, 5 million keys, ns per key"),
    ("rust-set", "rust", "SET over 5 M", "Rust: SET over 5 million keys, ns"),
    ("python-get", "python", "get(str) -> bytes, hot", "Python: get, ns"),
    ("python-cached", "python", "@cached hit, live object", "Python: hit of a decorated function, ns"),
    ("node-get", "node", "get(string) -> string, 100 bytes, hot", "Node: get, ns"),
    ("node-ioredis", "node", "await get through the ioredis face", "Node: await redis.get, ns"),
];
const MEMORY: &str = "bytes per key by RSS";

const WIDTH: f64 = 780.0;
const LEFT: f64 = 290.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;
/// Beyond this ratio of the longest bar to the shortest, lengths are logarithms.
const STEEP: f64 = 30.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}.small{font-size:11px;fill:#656d76}\
.ours{fill:#0969da}.peer{fill:#afb8c1}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#8d96a0}.ours{fill:#4493f8}.peer{fill:#57606a}}";

/// A bar: its name, its figure, whether it is ours.
type Bar = (String, f64, bool);

/// Draws every chart that has figures.
pub fn write(parts: &[Findings]) -> Result<(), String> {
    for (file, face, case, title) in CHARTS {
        let rows = parts.iter().flat_map(|part| &part.timings);
        let rows: Vec<_> = rows.filter(|row| row.face == *face && row.case == *case).collect();
        let Some(ours) = rows.iter().find(|row| row.peer.is_empty()).or(rows.first()) else { continue };
        let mut bars = vec![("Keystead".to_owned(), ours.ours_ns, true)];
        // A peer's time beside ours of the same run: its ratio times the figure shown for ours.
        let peers = rows.iter().filter_map(|row| Some((row.peer.clone(), row.ratio? * ours.ours_ns, false)));
        bars.extend(peers);
        save(file, title, bars)?;
    }
    for part in parts {
        let mut bars = Vec::new();
        for row in part.limits.iter().filter(|row| row.case.ends_with(MEMORY)) {
            let case = row.case.split(':').next().unwrap_or_default();
            bars.push((format!("Keystead, {case}"), row.ours, true));
            let theirs = part.theirs.iter().filter(|other| other.case == row.case);
            bars.extend(theirs.map(|other| (format!("{}, {case}", other.peer), other.theirs, false)));
        }
        if !bars.is_empty() {
            save_in_order("memory", "Memory: bytes per key by RSS, 5 million keys", &bars)?;
        }
    }
    Ok(())
}

fn save(file: &str, title: &str, mut bars: Vec<Bar>) -> Result<(), String> {
    bars.sort_by(|one, other| one.1.total_cmp(&other.1));
    save_in_order(file, title, &bars)
}

fn save_in_order(file: &str, title: &str, bars: &[Bar]) -> Result<(), String> {
    let folder = sh::root().join("benches/charts");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    std::fs::write(folder.join(format!("{file}.svg")), draw(title, bars)).map_err(|error| error.to_string())
}

fn draw(title: &str, bars: &[Bar]) -> String {
    let least = bars.iter().map(|bar| bar.1).fold(f64::INFINITY, f64::min);
    let most = bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
    let steep = most / least > STEEP;
    let share = |figure: f64| match steep {
        // The shortest bar stays visible.
        true => (figure / least * 2.0).ln() / (most / least * 2.0).ln(),
        false => figure / most,
    };
    let height = TOP + ROW * bars.len() as f64 + 10.0;
    let scale = if steep { "shorter is better; logarithmic" } else { "shorter is better" };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\
         <title>{title}</title><style>{STYLE}</style>\
         <text class=\"title\" x=\"8\" y=\"22\">{title}</text>\
         <text class=\"small\" x=\"{}\" y=\"22\" text-anchor=\"end\">{scale}</text>\n",
        WIDTH - 8.0,
        title = escaped(title),
    );
    for (at, (name, figure, ours)) in bars.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let length = (WIDTH - LEFT - RIGHT) * share(*figure);
        svg += &format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{}\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            LEFT - 8.0,
            y + 15.0,
            escaped(name),
            if *ours { "ours" } else { "peer" },
            y + 2.0,
            ROW - 6.0,
            LEFT + length + 6.0,
            y + 15.0,
            number(*figure),
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let svg = draw("A < B", &[("Keystead".into(), 50.0, true), ("peer".into(), 100.0, false)]);
        assert!(
            svg.contains("A &lt; B") && svg.contains("width=\"200.0\"") && svg.contains("width=\"400.0\"")
        );
        let steep = draw("x", &[("Keystead".into(), 50.0, true), ("peer".into(), 50_000.0, false)]);
        assert!(steep.contains("logarithmic"));
    }
}
