//! Rounds of two stores in turn, and the rows made of them: one JSON object per line.
//!
//! A ratio is made within a round, so that what disturbs the machine for longer than one disturbs both; what is shown is the rounds' median.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::stores::{BATCH, Key, Store, Value};

/// What time is taken of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// CPU time of the thread: others on the machine do not count.
    Thread,
    /// Time on the wall, where somebody else works for the answer.
    Wall,
}

impl Clock {
    /// Nanoseconds that the work takes.
    pub fn time(self, work: impl FnOnce()) -> f64 {
        match self {
            Self::Thread => {
                let start = thread_ns();
                work();
                (thread_ns() - start) as f64
            }
            Self::Wall => {
                let start = Instant::now();
                work();
                start.elapsed().as_nanos() as f64
            }
        }
    }
}

/// CPU time of this thread, in nanoseconds.
fn thread_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The part of the keys that a store of this slowness is asked for.
fn share<S: Store>(order: &[Key]) -> &[Key] {
    &order[..order.len() / S::SLOWNESS]
}

/// Nanoseconds per GET.
#[inline(never)]
pub fn gets<S: Store>(store: &S, order: &[Key], clock: Clock) -> f64 {
    let (order, mut buffer, mut hits) = (share::<S>(order), [0; 64], 0);
    let time = clock.time(|| {
        for key in order {
            hits += usize::from(store.get(key, &mut buffer));
            black_box(&buffer);
        }
    });
    // A cache may lose some to its own accounting; one that lost many is measured at something else.
    assert!(hits > order.len() * 9 / 10, "{hits} hits of {}", order.len());
    time / order.len() as f64
}

/// Nanoseconds per key of MGET.
#[inline(never)]
pub fn batches<S: Store>(store: &S, order: &[Key], clock: Clock) -> f64 {
    let (order, mut buffers, mut hits) = (share::<S>(order), [[0; 64]; BATCH], 0);
    let (batches, _) = order.as_chunks::<BATCH>();
    let time = clock.time(|| {
        for batch in batches {
            hits += store.get_many(batch, &mut buffers);
            black_box(&buffers);
        }
    });
    assert!(hits > order.len() * 9 / 10, "{hits} hits of {}", order.len());
    time / (batches.len() * BATCH) as f64
}

/// Nanoseconds per SET.
#[inline(never)]
pub fn sets<S: Store>(store: &S, order: &[Key], clock: Clock) -> f64 {
    const VALUE: Value = [b'w'; 64];
    let order = share::<S>(order);
    clock.time(|| order.iter().for_each(|key| store.set(key, black_box(&VALUE)))) / order.len() as f64
}

/// Nanoseconds per GET and thread, two threads at once.
pub fn gets_of_two<S: Store>(store: &S, orders: &[Vec<Key>; 2], clock: Clock) -> f64 {
    let start = Barrier::new(2);
    let run = |order: &[Key]| {
        start.wait();
        gets(store, order, clock)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&orders[1]));
        (run(&orders[0]) + other.join().expect("the other thread ends")) / 2.0
    })
}

/// Runs ours and theirs in turn; their figures by round.
pub fn in_turn(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> Vec<(f64, f64)> {
    // The first round warms caches and branch predictors.
    (0..=rounds).map(|_| (ours(), theirs())).skip(1).collect()
}

/// Prints the row of a case of a part of the comparison: ours beside theirs.
pub fn print_pair(face: &str, case: &str, peer: &str, rounds: &[(f64, f64)], goal: Option<f64>) {
    let (ours, _, _) = spread(rounds.iter().map(|(ours, _)| *ours));
    let (theirs, _, _) = spread(rounds.iter().map(|(_, theirs)| *theirs));
    let (ratio, low, high) = spread(rounds.iter().map(|(ours, theirs)| theirs / ours));
    let goal = goal.map_or("null".into(), |goal| goal.to_string());
    println!(
        r#"{{"face":"{face}","case":"{case}","ours_ns":{ours:.1},"peer":"{peer}","peer_ns":{theirs:.1},"ratio":{ratio:.3},"low":{low:.3},"high":{high:.3},"goal_ns":null,"goal_ratio":{goal}}}"#
    );
}

/// Prints the row of a case without a peer: ours beside its goal in nanoseconds.
pub fn print_own(case: &str, rounds: &[f64], goal: Option<f64>) {
    let (ours, low, high) = spread(rounds.iter().copied());
    let goal = goal.map_or("null".into(), |goal| goal.to_string());
    println!(
        r#"{{"face":"rust","case":"{case}","ours_ns":{ours:.1},"peer":"","peer_ns":null,"ratio":null,"low":{low:.1},"high":{high:.1},"goal_ns":{goal},"goal_ratio":null}}"#
    );
}

/// Median, least and most.
fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_least_and_most() {
        assert_eq!(spread([3.0, 1.0, 2.0].into_iter()), (2.0, 1.0, 3.0));
    }

    #[test]
    fn rounds_alternate_and_the_first_is_dropped() {
        let calls = std::cell::Cell::new(0.0);
        let call = |who: f64| {
            calls.set(calls.get() + 1.0);
            who + calls.get()
        };
        let rounds = in_turn(2, || call(0.0), || call(100.0));
        assert_eq!(rounds, [(3.0, 104.0), (5.0, 106.0)]);
    }
}
