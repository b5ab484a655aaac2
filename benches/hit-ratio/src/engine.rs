//! Replays through a real engine under a `maxmemory`; under which one is [`crate::limit`]'s to find.
//!
//! All values have one size, so that a memory limit is a number of keys.

use std::error::Error;
use std::time::Duration;

use keystead::{Config, Database, Engine, ErrorKind, Form, SetOptions, Ttl};

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
pub const AMPLE: u64 = 1 << 40;
/// How often in a replay the keys are counted, about.
const SAMPLES: usize = 2_000;

/// What a replay showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replay {
    /// Requests whose key was there.
    pub hits: u64,
    /// Keys held on average, counted again and again from the first eviction on; without one, those at the end.
    pub held: f64,
    /// The whole trace was replayed.
    pub complete: bool,
}

/// The keys counted since the engine was full.
#[derive(Default)]
struct Held {
    sum: usize,
    samples: usize,
    /// Keys created when the first was counted.
    since: usize,
}

impl Held {
    fn note(&mut self, keys: usize, created: usize) {
        if self.samples == 0 {
            self.since = created;
        }
        self.sum += keys;
        self.samples += 1;
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.samples.max(1) as f64
    }
}

/// Replays requests from an empty engine. Breaks off if `hopeless`, asked for the keys held on average so far and those created meanwhile, says so.
pub fn replay(
    policy: &str,
    requests: &[u32],
    limit: u64,
    hopeless: impl Fn(f64, usize) -> bool,
) -> Result<Replay, Box<dyn Error>> {
    let db = open(policy, limit)?;
    let ttl = ttl(policy);
    let period = (requests.len() / SAMPLES).max(1);
    let (mut hits, mut created, mut refused) = (0, 0, 0);
    let mut held = Held::default();
    for (position, key) in requests.iter().enumerate() {
        let name = name(*key);
        if db.get_with(name, |found| found.is_some())? {
            hits += 1;
        } else {
            match db.set_with(name, VALUE, SetOptions::new().ttl(ttl)) {
                Ok(_) => created += 1,
                // Where the shards' own needs leave no room, nothing is cached, and that is the result.
                Err(error) if error.kind() == ErrorKind::OutOfMemory => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        if position % period == period - 1 {
            let keys = db.len()?;
            // Nothing else removes keys.
            if keys < created || refused > 0 {
                held.note(keys, created);
                if hopeless(held.mean(), created + refused - held.since) {
                    return Ok(Replay { hits, held: held.mean(), complete: false });
                }
            }
        }
    }
    let held = if held.samples == 0 { db.len()? as f64 } else { held.mean() };
    Ok(Replay { hits, held, complete: true })
}

/// Bytes that so many keys take in an engine that holds nothing else and has never held more.
pub fn memory_when_fresh(policy: &str, keys: usize) -> Result<u64, Box<dyn Error>> {
    let db = open(policy, AMPLE)?;
    for key in 0..keys {
        db.set_with(name(key as u32), VALUE, SetOptions::new().ttl(ttl(policy)))?;
    }
    let mut session = db.engine().session(Form::Resp);
    let info = String::from_utf8_lossy(session.execute(&[b"INFO", b"memory"])).into_owned();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.ok_or("INFO has no used_memory")?.trim().parse()?)
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
