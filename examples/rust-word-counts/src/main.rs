//! Word counts of this project's own sources: counted anew for every request, then kept in hashes with a time to live.
//!
//! Shows both ways into the engine from Rust: a session for any command, typed methods for the hot ones.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keystead::{Engine, Form, Item, Session};

const REQUESTS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    find_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/src"), &mut files)?;
    files.sort();
    let engine = Engine::new();
    let mut session = engine.session(Form::Tape);
    let requests = engine.database(0)?;
    let (mut without, mut with, mut hits) = (Vec::new(), Vec::new(), 0);
    for request in 0..REQUESTS {
        let file = &files[draw(request, files.len())];
        let start = Instant::now();
        let counted = count(file)?;
        without.push(start.elapsed());
        let start = Instant::now();
        let cached = cached_count(&mut session, file, &mut hits)?;
        with.push(start.elapsed());
        assert_eq!(counted, cached, "the cache answers as the file does");
        requests.incr("requests", 1)?;
    }
    println!("{} files, {} keys", files.len(), requests.len()?);
    let hit_rate = hits as f64 / REQUESTS as f64;
    let (p50, p99, p50_without, p99_without) = (
        percentile(&mut with, 50),
        percentile(&mut with, 99),
        percentile(&mut without, 50),
        percentile(&mut without, 99),
    );
    println!(
        "DEMO {{\"scenario\": \"word count of a file\", \"requests\": {REQUESTS}, \"hit_rate\": {hit_rate:.3}, \
         \"p50_ms\": {p50:.5}, \"p99_ms\": {p99:.5}, \"p50_without_ms\": {p50_without:.5}, \"p99_without_ms\": {p99_without:.5}}}"
    );
    Ok(())
}

fn find_sources(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The file of a request: some are asked for far more often than others.
fn draw(request: usize, files: usize) -> usize {
    let share = (request.wrapping_mul(2_654_435_761) >> 7) % 1000;
    share * share * files / 1_000_000
}

/// Occurrences of the ten most frequent words.
fn count(file: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(file)?;
    let mut words: BTreeMap<&str, u64> = BTreeMap::new();
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 2)
        .for_each(|word| *words.entry(word).or_default() += 1);
    let mut ranked: Vec<_> = words.into_iter().collect();
    ranked.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
    Ok(ranked.into_iter().take(10).map(|(word, count)| (word.to_owned(), count)).collect())
}

fn cached_count(
    session: &mut Session,
    file: &Path,
    hits: &mut usize,
) -> Result<BTreeMap<String, u64>, Box<dyn std::error::Error>> {
    let key = format!("words:{}", file.display());
    let (item, _) = Item::read(session.execute(&[b"HGETALL", key.as_bytes()])).ok_or("half a reply")?;
    if let Item::Array(pairs) = item
        && !pairs.is_empty()
    {
        *hits += 1;
        return pairs.chunks_exact(2).map(|pair| Ok((text(&pair[0])?, text(&pair[1])?.parse()?))).collect();
    }
    let counted = count(file)?;
    let mut argv: Vec<Vec<u8>> = vec![b"HSET".to_vec(), key.clone().into_bytes()];
    for (word, count) in &counted {
        argv.extend([word.clone().into_bytes(), count.to_string().into_bytes()]);
    }
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    session.execute(&argv);
    session.engine().database(0)?.expire(key, Duration::from_secs(60))?;
    Ok(counted)
}

fn text(item: &Item<'_>) -> Result<String, Box<dyn std::error::Error>> {
    match item {
        Item::Bulk(bytes) => Ok(String::from_utf8(bytes.to_vec())?),
        other => Err(format!("expected a string, got {other:?}").into()),
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[times.len() * percent / 100].as_secs_f64() * 1e3
}
