//! The `maxmemory` under which an engine holds as many keys as shall fit, found by trial. Replaying is [`crate::engine`]'s.
//!
//! What a key takes depends on the policy, on the requests, and on all that has passed through the engine before, so it cannot be computed:
//! the trace itself is replayed, each time from an empty engine, until the number of keys held on average is the one wanted. Trials are
//! judged by that number alone and never by their hits. Engines differ from one another by their random seeds, most where there is
//! about one key in a shard; so the figures are those of the very replay whose keys were counted.

use std::error::Error;

use crate::engine::{self, Replay};

/// Replays at most; two or three are enough but for the smallest capacities.
const TRIALS: usize = 8;
/// The keys held may miss the number wanted by one part in so many, or by as many keys.
const NEAR_PARTS: f64 = 400.0;
const NEAR_KEYS: f64 = 0.5;
/// A replay is broken off if it is off by one part in so many, and more than a key; but for the last trials, so that one is complete.
/// The beginning of a trace may hold a few per cent more or less than the whole.
const HOPELESS_PARTS: f64 = 10.0;
const UNBROKEN: usize = 5;
/// Keys created in the full engine before it is broken off: in multiples of those that shall fit, and at least.
const PATIENCE: usize = 3;
const PATIENCE_LEAST: usize = 20_000;

/// What one more key takes, in bytes: a first guess, and bounds. Key and value alone are 72.
const BYTES: f64 = 100.0;
const LEAST_BYTES: f64 = 72.0;
const MOST_BYTES: f64 = 300.0;
/// The bytes of a key are computed from two trials if these differ by so many of the keys wanted, else it is chance by how much they do.
const APART: f64 = 0.01;

/// Replays requests under a limit at which about `capacity` of the `unique` keys are held. O(requests) for each trial.
pub fn replay(
    policy: &str,
    requests: &[u32],
    unique: usize,
    capacity: usize,
) -> Result<Replay, Box<dyn Error>> {
    if capacity >= unique {
        return engine::replay(policy, requests, engine::AMPLE, |_, _| false);
    }
    let mut search = Search::new(capacity, engine::memory_when_fresh(policy, capacity)?);
    let mut best: Option<Replay> = None;
    for trial in 0..TRIALS {
        let may_break = trial + UNBROKEN < TRIALS;
        let replay = engine::replay(policy, requests, search.limit as u64, |held, created| {
            may_break && created > (PATIENCE * capacity).max(PATIENCE_LEAST) && search.is_hopeless(held)
        })?;
        if replay.complete {
            if best.is_none_or(|best| search.misses_by(replay.held) < search.misses_by(best.held)) {
                best = Some(replay);
            }
            if search.is_near(replay.held) {
                break;
            }
        }
        search.learn(replay.held, replay.complete);
    }
    Ok(best.expect("the last trials are not broken off"))
}

/// The search for the limit at which so many keys are held: by secants, since memory grows with keys almost in a straight line.
struct Search {
    wanted: f64,
    limit: f64,
    /// Bytes that one more key takes.
    slope: f64,
    /// The complete trial before: its limit, and the keys held.
    before: Option<(f64, f64)>,
}

impl Search {
    fn new(wanted: usize, guess: u64) -> Self {
        Self { wanted: wanted as f64, limit: guess as f64, slope: BYTES, before: None }
    }

    fn misses_by(&self, held: f64) -> f64 {
        (held - self.wanted).abs()
    }

    fn is_near(&self, held: f64) -> bool {
        self.misses_by(held) <= NEAR_KEYS.max(self.wanted / NEAR_PARTS)
    }

    fn is_hopeless(&self, held: f64) -> bool {
        self.misses_by(held) > 1.0f64.max(self.wanted / HOPELESS_PARTS)
    }

    /// Corrects the limit, under which so many keys were held, in a `complete` replay or in the beginning of one.
    fn learn(&mut self, held: f64, complete: bool) {
        if held < 1.0 {
            // Not even the shards' own needs are met, and by how much they are missed nothing tells.
            self.limit *= 1.5;
            return;
        }
        if let Some((limit, keys)) = self.before
            && complete
            && (held - keys).abs() > (self.wanted * APART).max(2.0)
        {
            self.slope = ((self.limit - limit) / (held - keys)).clamp(LEAST_BYTES, MOST_BYTES);
        }
        if complete {
            self.before = Some((self.limit, held));
        }
        self.limit += (self.wanted - held) * self.slope;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    /// Limits tried until the search is near, in an engine that holds `held` keys under a limit.
    fn trials(wanted: usize, guess: u64, held: impl Fn(f64) -> f64) -> usize {
        let mut search = Search::new(wanted, guess);
        (1..=TRIALS)
            .find(|_| {
                let keys = held(search.limit);
                let near = search.is_near(keys);
                search.learn(keys, true);
                near
            })
            .expect("the search ends")
    }

    #[test]
    fn a_straight_line_takes_three_trials_whatever_its_slope_and_base() {
        for bytes in [80.0, 110.0, 250.0] {
            for base in [0.0, 20_000.0] {
                let held = |limit: f64| ((limit - base) / bytes).max(0.0).floor();
                assert!(trials(10_000, 1_500_000, held) <= 3, "{bytes} bytes a key, {base} beside them");
            }
        }
    }

    #[test]
    fn a_limit_below_the_shards_own_needs_is_left_behind() {
        assert!(trials(100, 9_000, |limit| ((limit - 16_000.0) / 100.0).max(0.0).floor()) <= 5);
    }

    #[test]
    fn the_engine_holds_as_many_keys_as_shall_fit() {
        // Squares prefer small numbers, and most keys come again.
        let (mut state, keys) = (1u64, 4_000);
        let requests: Vec<u32> = (0..60_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let random = ((state >> 33) * keys) >> 31;
                (random * random / keys) as u32
            })
            .collect();
        // Not a volatile one: what the timing wheels take depends on how fast the machine is.
        for policy in ["allkeys-lru", "allkeys-adaptive", "allkeys-random"] {
            let replay = replay(policy, &requests, keys as usize, 1_000).unwrap();
            assert!(replay.complete && (replay.held - 1_000.0).abs() <= 10.0, "{policy}: {replay:?}");
            if policy == "allkeys-lru" {
                let exact = reference::lru(&requests, keys as usize, 1_000);
                assert!(replay.hits.abs_diff(exact) < 300, "{} and {exact} hits", replay.hits);
            }
        }
    }

    #[test]
    fn nothing_is_evicted_where_all_keys_fit() {
        let requests: Vec<u32> = (0..300).map(|at| at % 100).collect();
        let replay = replay("allkeys-lru", &requests, 100, 100).unwrap();
        assert_eq!((replay.hits, replay.held), (200, 100.0));
    }
}
