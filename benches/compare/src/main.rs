//! Keystead beside its peers, one peer a process: `keystead-compare PEER [--quick] [--layout NAME]`, one JSON object per line.
//! `keystead-compare --list` names the peers; `cargo xtask bench --compare` runs them all and makes tables of the lines.
//!
//! Keys of 16 bytes and values of 64; GET copies into a buffer that is used again. Keys are prepared beforehand, both stores see them in the same order, and rounds
//! go A B A B. `--layout` measures only GET, under the name of the build that this is: a loop may be twice as slow for where it lies.

#![allow(clippy::print_stdout, reason = "a benchmark shows its results")]

mod measure;
mod remote;
mod stores;
mod valkey;

use std::process::ExitCode;

use keystead_benches::{key, uniform};

use crate::measure::{batches, gets, gets_of_two, in_turn, print_own, print_pair, sets};
use crate::stores::{DashMap, Foyer, Key, Keystead, Moka, Papaya, QuickCache, Scc, Store};
use crate::valkey::Valkey;

const SMALL: u64 = 100_000;
const LARGE: u64 = 5_000_000;
const OPERATIONS: usize = 1_000_000;
const ROUNDS: usize = 7;
/// Filling five million keys takes seconds.
const INSERT_ROUNDS: usize = 5;

/// How much is measured.
struct Plan {
    large: u64,
    operations: usize,
    rounds: usize,
    insert_rounds: usize,
    /// The build's name where only GET is measured.
    layout: Option<String>,
}

/// The least that peer / ours shall be, by case.
#[derive(Clone, Copy)]
struct Goals {
    get_small: f64,
    get_large: f64,
    get_zipf: f64,
    set: f64,
    insert: f64,
}

impl Goals {
    const fn new(get_small: f64, get_large: f64, get_zipf: f64, set: f64, insert: f64) -> Self {
        Self { get_small, get_large, get_zipf, set, insert }
    }
}

type Run = fn(&Plan);

/// What the first argument can be.
const PEERS: &[(&str, Run)] = &[
    ("keystead", alone),
    ("dashmap", |plan| compare::<DashMap>(plan, "dashmap 6 (ahash)", Goals::new(0.85, 1.3, 1.4, 1.3, 2.0))),
    ("scc", |plan| compare::<Scc>(plan, "scc::HashMap 3 (ahash)", Goals::new(0.9, 1.3, 1.5, 1.3, 1.8))),
    ("papaya", |plan| compare::<Papaya>(plan, "papaya 0.2 (ahash)", Goals::new(0.8, 1.3, 1.2, 2.5, 2.3))),
    ("quick_cache", |plan| {
        compare::<QuickCache>(plan, "quick_cache 0.7", Goals::new(1.4, 1.9, 1.9, 4.0, 2.5));
    }),
    #[cfg(feature = "kevy")]
    ("kevy", |plan| {
        compare::<stores::Kevy>(plan, "kevy-embedded 7", Goals::new(1.1, 1.4, 2.5, 4.0, 3.0));
    }),
    // No goal is set for foyer on two threads.
    ("foyer", |plan| {
        compare::<Foyer>(plan, "foyer-memory 0.22", Goals::new(6.0, 6.0, f64::NAN, 5.0, 2.0));
    }),
    ("moka", |plan| compare::<Moka>(plan, "moka 0.12 (ahash)", Goals::new(10.0, 10.0, 10.0, 10.0, 4.0))),
    ("valkey", |plan| {
        let name = format!("{}, Unix socket, one client", valkey::name());
        compare::<Valkey>(plan, &name, Goals::new(150.0, 60.0, f64::NAN, 50.0, f64::NAN));
    }),
    ("remote", |plan| remote::run((LARGE / plan.large) as usize, plan.rounds)),
    ("valkey-memory", |plan| valkey::memory(LARGE / plan.large)),
    ("valkey-calls", |plan| valkey::calls(LARGE / plan.large)),
    ("valkey-scripts", |_| valkey::scripts()),
    ("valkey-expiry", |plan| valkey::mass_expiry(LARGE / plan.large)),
    ("valkey-files", |plan| valkey::files(LARGE / plan.large)),
];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--list") {
        PEERS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let layout = args.iter().position(|arg| arg == "--layout").map(|at| {
        args.remove(at);
        if at < args.len() { args.remove(at) } else { "unnamed".into() }
    });
    let scale = if args.iter().any(|arg| arg == "--quick") { 10 } else { 1 };
    let Some((_, run)) = args.first().and_then(|wanted| PEERS.iter().find(|(name, _)| name == wanted)) else {
        eprintln!("usage: keystead-compare --list | PEER [--quick] [--layout NAME]");
        return ExitCode::FAILURE;
    };
    let quick = scale > 1;
    run(&Plan {
        large: LARGE / scale,
        operations: OPERATIONS / scale as usize,
        rounds: if quick { 3 } else { ROUNDS },
        insert_rounds: if quick { 3 } else { INSERT_ROUNDS },
        layout,
    });
    ExitCode::SUCCESS
}

/// Keys in the order they are asked in.
struct Orders {
    uniform: Vec<Key>,
    zipf: [Vec<Key>; 2],
    hot: [Vec<Key>; 2],
}

impl Orders {
    fn new(keys: u64, count: usize) -> Self {
        let zipf = zipf(keys, count * 2);
        let (first, second) = zipf.split_at(count);
        let hot = vec![key(keys / 2); count];
        Self {
            uniform: uniform_order(keys, count),
            zipf: [first.to_vec(), second.to_vec()],
            hot: [hot.clone(), hot],
        }
    }
}

fn uniform_order(keys: u64, count: usize) -> Vec<Key> {
    let mut draw = uniform(keys);
    (0..count).map(|_| key(draw())).collect()
}

/// Keys by Zipf's law with exponent 0.99, the popular ones spread over the whole range.
fn zipf(keys: u64, count: usize) -> Vec<Key> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-0.99);
            sum
        })
        .collect();
    let mut draw = uniform(1 << 53);
    let rank = |point: f64| sums.partition_point(|below| *below < point) as u64;
    // A prime far above the counts: every rank has a number of its own.
    (0..count).map(|_| key(rank(draw() as f64 / (1u64 << 53) as f64 * sum) * 2_654_435_761 % keys)).collect()
}

fn all_keys(count: u64) -> Vec<Key> {
    (0..count).map(key).collect()
}

const VALUE: [u8; 64] = [b'v'; 64];

fn filled<S: Store>(keys: &[Key]) -> S {
    let store = S::open(keys.len());
    store.fill(keys, &VALUE);
    store
}

/// A store filled key by key, and the nanoseconds that one took.
fn inserted<S: Store>(keys: &[Key]) -> (S, f64) {
    let store = S::open(keys.len());
    let time = S::CLOCK.time(|| keys.iter().for_each(|key| store.set(key, &VALUE)));
    (store, time / keys.len() as f64)
}

fn compare<P: Store>(plan: &Plan, peer: &str, goals: Goals) {
    let suffix = plan.layout.as_ref().map(|name| format!(", build {name}")).unwrap_or_default();
    let row = |case: &str, rounds: &[(f64, f64)], goal: f64| {
        print_pair("rust", &format!("{case}{suffix}"), peer, rounds, (!goal.is_nan()).then_some(goal));
    };
    {
        let keys = all_keys(SMALL);
        let (ours, theirs) = (filled::<Keystead>(&keys), filled::<P>(&keys));
        let order = uniform_order(SMALL, plan.operations);
        let rounds =
            in_turn(plan.rounds, || gets(&ours, &order, P::CLOCK), || gets(&theirs, &order, P::CLOCK));
        row("GET 100 k uniform", &rounds, goals.get_small);
    }
    let keys = all_keys(plan.large);
    let insert = P::SHARED && plan.layout.is_none();
    let rounds = if insert { plan.insert_rounds } else { 0 };
    let mut times = Vec::new();
    for _ in 1..rounds {
        times.push((inserted::<Keystead>(&keys).1, inserted::<P>(&keys).1));
    }
    let (ours, theirs) = if insert {
        let ((ours, our_time), (theirs, their_time)) = (inserted::<Keystead>(&keys), inserted::<P>(&keys));
        times.push((our_time, their_time));
        row("insert 5 M", &times, goals.insert);
        (ours, theirs)
    } else {
        (filled::<Keystead>(&keys), filled::<P>(&keys))
    };
    let orders = Orders::new(plan.large, plan.operations);
    let turn =
        |ours: &mut dyn FnMut() -> f64, theirs: &mut dyn FnMut() -> f64| in_turn(plan.rounds, ours, theirs);
    let rounds = turn(&mut || gets(&ours, &orders.uniform, P::CLOCK), &mut || {
        gets(&theirs, &orders.uniform, P::CLOCK)
    });
    row("GET 5 M uniform", &rounds, goals.get_large);
    if plan.layout.is_some() {
        return;
    }
    let rounds = turn(&mut || batches(&ours, &orders.uniform, P::CLOCK), &mut || {
        batches(&theirs, &orders.uniform, P::CLOCK)
    });
    row("MGET of 16 at 5 M, per key", &rounds, f64::NAN);
    let rounds = turn(&mut || sets(&ours, &orders.uniform, P::CLOCK), &mut || {
        sets(&theirs, &orders.uniform, P::CLOCK)
    });
    row("SET over 5 M", &rounds, goals.set);
    if !P::SHARED {
        return;
    }
    for (case, orders, goal) in [
        ("GET 5 M Zipf, 2 threads", &orders.zipf, goals.get_zipf),
        ("GET of one hot key, 2 threads", &orders.hot, f64::NAN),
    ] {
        let rounds = turn(&mut || gets_of_two(&ours, orders, P::CLOCK), &mut || {
            gets_of_two(&theirs, orders, P::CLOCK)
        });
        row(case, &rounds, goal);
    }
}

/// Our own figures against their goals in nanoseconds.
fn alone(plan: &Plan) {
    let clock = Keystead::CLOCK;
    let suffix = plan.layout.as_ref().map(|name| format!(", build {name}")).unwrap_or_default();
    let own = |case: &str, goal: Option<f64>, run: &mut dyn FnMut() -> f64| {
        let times: Vec<f64> = (0..=plan.rounds).map(|_| run()).skip(1).collect();
        print_own(&format!("{case}{suffix}"), &times, goal);
    };
    let small: Keystead = filled(&all_keys(SMALL));
    let order = uniform_order(SMALL, plan.operations);
    own("GET 100 k uniform", Some(60.0), &mut || gets(&small, &order, clock));
    let large: Keystead = filled(&all_keys(plan.large));
    let orders = Orders::new(plan.large, plan.operations);
    own("GET 5 M uniform", Some(150.0), &mut || gets(&large, &orders.uniform, clock));
    if plan.layout.is_some() {
        return;
    }
    own("MGET of 16 at 5 M, per key", Some(80.0), &mut || batches(&large, &orders.uniform, clock));
    own("SET over 5 M", None, &mut || sets(&large, &orders.uniform, clock));
    own("GET 5 M Zipf, 2 threads", None, &mut || gets_of_two(&large, &orders.zipf, clock));
    own("GET of one hot key, 2 threads", Some(25.0), &mut || gets_of_two(&large, &orders.hot, clock));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_prefers_few_keys_and_stays_in_range() {
        let drawn = zipf(1000, 10_000);
        let known = all_keys(1000);
        assert!(drawn.iter().all(|key| known.contains(key)));
        let first = drawn.iter().filter(|drawn| **drawn == key(0)).count();
        assert!((1_000..2_000).contains(&first), "{first}");
    }

    fn keeps_what_is_set<S: Store>() {
        let (store, mut buffer) = (filled::<S>(&all_keys(100)), [0; 64]);
        store.set(&key(7), &[b'x'; 64]);
        assert!(store.get(&key(7), &mut buffer) && buffer == [b'x'; 64]);
        assert!(store.get(&key(8), &mut buffer) && buffer == VALUE);
        assert!(!store.get(&key(100), &mut buffer));
        let keys = std::array::from_fn(|at| key(at as u64));
        let mut buffers = [[0; 64]; stores::BATCH];
        assert_eq!(store.get_many(&keys, &mut buffers), stores::BATCH);
        assert_eq!((buffers[7], buffers[8]), ([b'x'; 64], VALUE));
    }

    #[test]
    fn every_store_in_the_process_keeps_what_is_set() {
        keeps_what_is_set::<Keystead>();
        keeps_what_is_set::<DashMap>();
        keeps_what_is_set::<Scc>();
        keeps_what_is_set::<Papaya>();
        keeps_what_is_set::<QuickCache>();
        keeps_what_is_set::<Foyer>();
        keeps_what_is_set::<Moka>();
    }
}
