//! Replays through a real engine under `maxmemory`.
//!
//! All values have one size, so that a memory limit is a number of keys. Tables that have seen keys come and go take more than freshly
//! filled ones, so the limit is found by trial: that under which an engine through which many keys pass holds as many as shall fit.

use std::error::Error;
use std::time::Duration;

use crate::reference;
use keystead::{Condition, Config, Database, Engine, Form, Ttl};

/// The policies that evict.
pub const POLICIES: [&str; 9] = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "allkeys-adaptive",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "volatile-adaptive",
];

const VALUE: [u8; 64] = [b'v'; 64];
/// A limit that is never reached: with one the policy's own memory counts too.
const AMPLE: u64 = 1 << 40;

/// Hits of a replay, and how many keys there were on average in its second half.
pub fn replay(
    policy: &str,
    requests: &[u32],
    unique: usize,
    capacity: usize,
) -> Result<(u64, f64), Box<dyn Error>> {
    // Tables grow a little with all that passes through them, so as much has to pass in the trials.
    let misses = requests.len() - reference::lru(requests, unique, capacity) as usize;
    let limit = if capacity >= unique { AMPLE } else { memory_of(policy, capacity, misses)? };
    let db = open(policy, limit)?;
    let ttl = ttl(policy);
    let (mut hits, mut samples, mut held) = (0, 0u32, 0);
    for (position, key) in requests.iter().enumerate() {
        let name = name(*key);
        if db.get_with(&name, |found| found.is_some())? {
            hits += 1;
        } else {
            match db.set(name, VALUE, ttl, Condition::Always) {
                // Where the shards' own needs leave no room, nothing is cached, and that is the result.
                Err(error) if error.kind() != keystead::ErrorKind::OutOfMemory => return Err(error.into()),
                _ => {}
            }
        }
        if position > requests.len() / 2 && position % 10_000 == 0 {
            held += db.len();
            samples += 1;
        }
    }
    Ok((hits, held as f64 / f64::from(samples.max(1))))
}

/// Bytes that as many keys take under a policy, once more than that have passed through.
fn memory_of(policy: &str, keys: usize, misses: usize) -> Result<u64, Box<dyn Error>> {
    /// Trials; the number of keys is met to about a part in 200 after two or three, or later where the shards' own needs exceed the keys'.
    const TRIALS: usize = 8;
    /// Keys that pass through in one trial at most.
    const MOST: usize = 500_000;
    let inserts = misses.min(MOST).max(3 * keys);
    let mut limit = memory_when_fresh(policy, keys)? as f64;
    let mut slope = f64::from(BYTES_PER_KEY);
    let mut before: Option<(f64, f64)> = None;
    for _ in 0..TRIALS {
        let held = held_by(policy, limit as u64, inserts)?;
        if held == 0.0 {
            limit *= 2.0;
            continue;
        }
        let missing = keys as f64 - held;
        if missing.abs() <= (keys as f64 / 200.0).max(0.7) {
            break;
        }
        if let Some((old_limit, old_held)) = before
            && (held - old_held).abs() > 1.0
        {
            slope = ((limit - old_limit) / (held - old_held)).clamp(slope / 2.0, slope * 4.0);
        }
        before = Some((limit, held));
        limit += missing * slope;
    }
    Ok(limit as u64)
}

/// A first guess of what one more key takes.
const BYTES_PER_KEY: u32 = 120;

fn memory_when_fresh(policy: &str, keys: usize) -> Result<u64, Box<dyn Error>> {
    let db = open(policy, AMPLE)?;
    for key in 0..keys {
        db.set(name(key as u32), VALUE, ttl(policy), Condition::Always)?;
    }
    let mut session = db.engine().session(Form::Resp);
    let info = String::from_utf8_lossy(session.execute(&[b"INFO", b"memory"])).into_owned();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.ok_or("INFO has no used_memory")?.trim().parse()?)
}

/// How many keys an engine holds on average in the second half of so many inserts of new ones.
fn held_by(policy: &str, limit: u64, inserts: usize) -> Result<f64, Box<dyn Error>> {
    let db = open(policy, limit)?;
    let (mut held, mut samples) = (0, 0u32);
    for key in 0..inserts {
        if db.set(name(key as u32), VALUE, ttl(policy), Condition::Always).is_err() {
            return Ok(0.0);
        }
        if key > inserts / 2 && key % (inserts / 64).max(1) == 0 {
            held += db.len();
            samples += 1;
        }
    }
    Ok(held as f64 / f64::from(samples.max(1)))
}

fn open(policy: &str, limit: u64) -> Result<Database, Box<dyn Error>> {
    let limit = limit.to_string();
    let words: [&[u8]; 4] = [b"--maxmemory-policy", policy.as_bytes(), b"--maxmemory", limit.as_bytes()];
    let config = Config::from_arguments(&words)?;
    Ok(Engine::builder().config(config).open()?.database(0)?)
}

/// Keys need a deadline to be evicted under some policies; it lies far ahead, in the order in which they are created.
fn ttl(policy: &str) -> Ttl {
    if policy.starts_with("volatile") { Ttl::After(Duration::from_secs(86_400)) } else { Ttl::None }
}

fn name(key: u32) -> [u8; 8] {
    // Mixed, as real keys are; a bijection keeps them apart.
    u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}
