//! GET and SET of Keystead beside dashmap and quick_cache: 16-byte keys, 64-byte values, interleaved rounds, medians.
//!
//! Absolute times mean little on a shared machine; read the ratio, peer over Keystead.

#![allow(clippy::print_stdout, reason = "a benchmark shows its results")]

use std::hint::black_box;
use std::time::Instant;

use keystead::{Condition, Engine, Ttl};
use keystead_benches::{key, uniform};

const OPERATIONS: u64 = 400_000;
const ROUNDS: usize = 9;
const VALUE: [u8; 64] = [b'v'; 64];

/// One store under test: fills itself on construction.
trait Store {
    fn name(&self) -> &'static str;
    fn get(&self, key: &[u8; 16], buffer: &mut [u8; 64]) -> bool;
    fn set(&self, key: &[u8; 16]);
}

struct Keystead(keystead::Database);

impl Store for Keystead {
    fn name(&self) -> &'static str {
        "keystead"
    }

    fn get(&self, key: &[u8; 16], buffer: &mut [u8; 64]) -> bool {
        matches!(self.0.get_into(key, buffer), Ok(Some(64)))
    }

    fn set(&self, key: &[u8; 16]) {
        self.0.set(key, VALUE, Ttl::None, Condition::Always).expect("there is memory");
    }
}

struct DashMap(dashmap::DashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>);

impl Store for DashMap {
    fn name(&self) -> &'static str {
        "dashmap 6 (ahash)"
    }

    fn get(&self, key: &[u8; 16], buffer: &mut [u8; 64]) -> bool {
        self.0.get(&key[..]).is_some_and(|value| {
            buffer.copy_from_slice(&value);
            true
        })
    }

    fn set(&self, key: &[u8; 16]) {
        self.0.insert(Box::from(&key[..]), Box::from(&VALUE[..]));
    }
}

struct QuickCache(quick_cache::sync::Cache<Box<[u8]>, Box<[u8]>>);

impl Store for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache 0.7"
    }

    fn get(&self, key: &[u8; 16], buffer: &mut [u8; 64]) -> bool {
        self.0.get(&key[..]).is_some_and(|value| {
            buffer.copy_from_slice(&value);
            true
        })
    }

    fn set(&self, key: &[u8; 16]) {
        self.0.insert(Box::from(&key[..]), Box::from(&VALUE[..]));
    }
}

fn main() {
    for keys in [100_000, 2_000_000] {
        println!("\n{keys} keys of 16 bytes, values of 64 bytes, one thread");
        println!("{:<20} {:>12} {:>8} {:>12} {:>8}", "store", "get ns", "ratio", "set ns", "ratio");
        let stores: Vec<Box<dyn Store>> = vec![
            Box::new(Keystead(Engine::new().database(0).expect("database 0 exists"))),
            Box::new(DashMap(dashmap::DashMap::with_hasher(ahash::RandomState::new()))),
            Box::new(QuickCache(quick_cache::sync::Cache::new(keys as usize * 2))),
        ];
        stores.iter().for_each(|store| (0..keys).for_each(|number| store.set(&key(number))));
        let mut times: Vec<[Vec<f64>; 2]> = stores.iter().map(|_| [Vec::new(), Vec::new()]).collect();
        for _ in 0..ROUNDS {
            for (store, [gets, sets]) in stores.iter().zip(&mut times) {
                gets.push(get_round(&**store, keys));
                sets.push(set_round(&**store, keys));
            }
        }
        let medians: Vec<[f64; 2]> =
            times.iter_mut().map(|[gets, sets]| [median(gets), median(sets)]).collect();
        for (store, [get, set]) in stores.iter().zip(&medians) {
            let (get_ratio, set_ratio) = (get / medians[0][0], set / medians[0][1]);
            println!("{:<20} {get:>12.1} {get_ratio:>7.2}x {set:>12.1} {set_ratio:>7.2}x", store.name());
        }
    }
}

fn get_round(store: &dyn Store, keys: u64) -> f64 {
    let (mut next, mut buffer) = (uniform(keys), [0; 64]);
    let start = Instant::now();
    let hits = (0..OPERATIONS).filter(|_| store.get(&key(next()), &mut buffer)).count();
    black_box(&buffer);
    assert!(hits as u64 > OPERATIONS * 9 / 10, "{} lost keys", store.name());
    start.elapsed().as_nanos() as f64 / OPERATIONS as f64
}

fn set_round(store: &dyn Store, keys: u64) -> f64 {
    let mut next = uniform(keys);
    let start = Instant::now();
    (0..OPERATIONS).for_each(|_| store.set(&key(next())));
    start.elapsed().as_nanos() as f64 / OPERATIONS as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
