//! What the background thread measures about itself and about the engine's pace: rounds, their cost, and rates per second.
//!
//! What is done in a round is [`crate::local`]'s affair.
//!
//! A rate is the mean of the last sixteen samples, one each tenth of a second, as the server's `instantaneous_` fields are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::os::Guard;
use crate::sync::Mutex;

/// Milliseconds between two samples of the totals.
const SAMPLE_MS: u64 = 100;

/// Samples that a rate is the mean of.
const SAMPLES: usize = 16;

/// Totals that only grow, between resets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Commands executed.
    pub(crate) commands: u64,
    /// Bytes received.
    pub(crate) input: u64,
    /// Bytes sent.
    pub(crate) output: u64,
}

/// Growth of the totals per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) commands: f64,
    pub(crate) input: f64,
    pub(crate) output: f64,
}

/// The measurements of one engine.
#[derive(Default)]
pub(crate) struct Pulse {
    rounds: AtomicU64,
    busy_us: AtomicU64,
    reaping_us: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    /// When the last sample was taken, unix milliseconds; 0 before the first.
    at_ms: u64,
    last: Totals,
    rates: [Rates; SAMPLES],
    next: usize,
}

impl Pulse {
    /// Locks the window of samples.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.window.lock()));
    }

    /// Counts a round and what it took.
    pub(crate) fn ended(&self, took: Duration) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.busy_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Counts the time of one run of the reaper.
    pub(crate) fn reaped(&self, took: Duration) {
        self.reaping_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Samples the totals if it is time. Where no sample was taken for long, since the engine was not used, this one stands for all of them.
    pub(crate) fn sample(&self, now_ms: u64, totals: impl FnOnce() -> Totals) {
        let mut window = self.window.lock();
        if now_ms.saturating_sub(window.at_ms) >= SAMPLE_MS {
            window.add(now_ms, totals());
        }
    }

    /// The rates of late.
    pub(crate) fn rates(&self) -> Rates {
        let window = self.window.lock();
        let mean = |of: fn(&Rates) -> f64| window.rates.iter().map(of).sum::<f64>() / SAMPLES as f64;
        Rates {
            commands: mean(|rates| rates.commands),
            input: mean(|rates| rates.input),
            output: mean(|rates| rates.output),
        }
    }

    /// Rounds so far.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Time that the rounds took.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Ordering::Relaxed))
    }

    /// Time that the reaper took.
    pub(crate) fn reaping(&self) -> Duration {
        Duration::from_micros(self.reaping_us.load(Ordering::Relaxed))
    }

    /// Forgets everything, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        for counter in [&self.rounds, &self.busy_us, &self.reaping_us] {
            counter.store(0, Ordering::Relaxed);
        }
        *self.window.lock() = Window::default();
    }
}

impl Window {
    fn add(&mut self, now_ms: u64, totals: Totals) {
        let seconds = now_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        if self.at_ms != 0 && seconds > 0.0 {
            // A total may have been reset in between.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let rates = Rates {
                commands: rate(totals.commands, self.last.commands),
                input: rate(totals.input, self.last.input),
                output: rate(totals.output, self.last.output),
            };
            let samples = (now_ms.saturating_sub(self.at_ms) / SAMPLE_MS).min(SAMPLES as u64);
            for _ in 0..samples {
                self.rates[self.next] = rates;
                self.next = (self.next + 1) % SAMPLES;
            }
        }
        (self.at_ms, self.last) = (now_ms, totals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_of_the_last_samples() {
        let pulse = Pulse::default();
        let at = |tenth: u64| Totals { commands: tenth * 50, input: tenth * 1000, output: 0 };
        pulse.sample(1_000, || at(0));
        pulse.sample(1_050, || panic!("too early"));
        for tenth in 1..=40 {
            pulse.sample(1_000 + tenth * 100, || at(tenth));
        }
        assert_eq!(pulse.rates(), Rates { commands: 500.0, input: 10_000.0, output: 0.0 });
        // Nobody used it for a second: ten of the sixteen samples are of that time.
        pulse.sample(6_000, || at(40));
        assert_eq!(pulse.rates().commands, 500.0 * 6.0 / 16.0);
        pulse.sample(9_000, || at(40));
        assert_eq!(pulse.rates(), Rates::default());
        pulse.reset();
        assert_eq!(pulse.rates(), Rates::default());
    }
}
