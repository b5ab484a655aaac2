//! The gate that noise can't touch: instructions of hot operations, counted by callgrind, against what they may take.
//!
//! The operations are those of `benches/src/bin/instructions.rs`. A count is the difference of two runs, less that of an empty loop, in which a session's words are put
//! together.

use crate::count::Count;
use crate::table::table;
use crate::{setup, sh};

/// An operation and the instructions it may take: what it took when the bound was set and a fiftieth, for where the compiler draws its lines.
struct Bound {
    operation: &'static str,
    most: i64,
}

const BOUNDS: &[Bound] = &[
    Bound { operation: "get", most: 214 },
    Bound { operation: "set", most: 396 },
    Bound { operation: "setex", most: 445 },
    // What makes the key counts in, about 170.
    Bound { operation: "insert", most: 1737 },
    Bound { operation: "incr", most: 327 },
    Bound { operation: "hget", most: 517 },
    Bound { operation: "hset", most: 1340 },
    // The same with a log and an observer.
    Bound { operation: "heard-set", most: 1750 },
    Bound { operation: "heard-incr", most: 1575 },
    Bound { operation: "heard-hset", most: 2530 },
    // The same with the real log, in a folder for temporary files.
    Bound { operation: "logged-set", most: 1750 },
    Bound { operation: "logged-incr", most: 1575 },
    Bound { operation: "logged-hset", most: 2530 },
    Bound { operation: "session-get", most: 350 },
    Bound { operation: "session-set", most: 501 },
    Bound { operation: "session-hget", most: 660 },
    Bound { operation: "session-incr", most: 477 },
    // What makes the key and the element counts in, about 400, and the long way that each tenth takes to a new stream.
    Bound { operation: "session-lpush", most: 2470 },
    Bound { operation: "session-sadd", most: 2880 },
    Bound { operation: "session-zadd", most: 3720 },
    Bound { operation: "session-xadd", most: 3790 },
    // Two commands.
    Bound { operation: "session-queue", most: 4430 },
    // No short cut has these, so they ask what every other command asks: about its user, pauses, scripts and tracking, some 80 instructions.
    Bound { operation: "session-zrank", most: 4310 },
    Bound { operation: "session-zrange", most: 6600 },
];

/// Counts, prints a table, and says how many operations stay within their bounds.
pub fn run() -> Result<Count, String> {
    setup::debian(&["valgrind"])?;
    let build = ["build", "--release", "--quiet", "-p", "keystead-benches", "--bin", "instructions"];
    sh::run("instructions", &mut sh::cargo(&build))?.ok("cargo build")?;
    let (empty, empty_session) = (count("none")?, count("session-none")?);
    let mut rows = Vec::new();
    let mut outcome = Count::default();
    for bound in BOUNDS {
        let loop_alone = if bound.operation.starts_with("session-") { empty_session } else { empty };
        let taken = count(bound.operation)? - loop_alone;
        let holds = taken <= bound.most;
        outcome += Count::one(holds);
        let verdict = if holds { "ok" } else { "TOO MANY" };
        rows.push(vec![bound.operation.into(), taken.to_string(), bound.most.to_string(), verdict.into()]);
    }
    println!("{}", table(&["operation", "instructions", "at most", ""], &rows, &[1, 2]));
    Ok(outcome)
}

/// Instructions of one operation, the loop around it included.
fn count(operation: &str) -> Result<i64, String> {
    const FEW: i64 = 2560;
    const MANY: i64 = 12_800;
    Ok((collected(operation, MANY)? - collected(operation, FEW)?) / (MANY - FEW))
}

fn collected(operation: &str, times: i64) -> Result<i64, String> {
    let program = sh::target().join("release").join("instructions").to_string_lossy().into_owned();
    let times = times.to_string();
    let arguments = ["--tool=callgrind", "--callgrind-out-file=/dev/null", &program, operation, &times];
    let text = sh::run("instructions", &mut sh::program("valgrind", &arguments))?.ok("valgrind")?;
    let figure = text.lines().find_map(|line| line.split("Collected :").nth(1));
    figure
        .and_then(|figure| figure.trim().parse().ok())
        .ok_or_else(|| format!("callgrind counted nothing:\n{text}"))
}
