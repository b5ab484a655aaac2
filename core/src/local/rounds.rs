//! What an engine does at its turn on the background thread: it keeps the coarse clock and the stamps, reclaims what has expired, keeps memory in
//! shape, and samples its pace.
//!
//! When turns come, and when an engine falls asleep, is [`crate::background`]'s affair.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Local;
use crate::background::{NEVER, Next, TICK_MS, Task, Work};
use crate::error::Error;
use crate::expire::reaper;
use crate::keyspace::{compaction, upkeep};
use crate::lazyfree;
use crate::pulse::Totals;

/// Time that one round spends on moving entries together.
const COMPACTION_BUDGET: Duration = Duration::from_micros(500);

/// Time that one round spends on timers of keys that came with a snapshot.
const ARMING_BUDGET: Duration = Duration::from_micros(500);

/// Milliseconds of reclaiming after which memory is looked after in between. It takes time from both: the reclaiming, and whoever reads.
const LONGEST_REAPING_MS: u64 = 1000;

/// Rounds in a row without a use of the engine after which it may fall asleep.
const PATIENCE: u32 = 10;

/// What the rounds of an engine remember of those before. Only they write to it, and one turn follows the other.
#[derive(Default)]
pub(crate) struct Rounds {
    /// When the stamps were moved on last, unix milliseconds.
    ticked_ms: AtomicU64,
    /// When memory was looked after last, where more is due than one turn reclaims.
    tended_ms: AtomicU64,
    /// Look-ups up to then.
    lookups: AtomicU64,
    /// Rounds in a row without a use.
    unused: AtomicU32,
}

impl Work for Local {
    fn task(&self) -> &Task {
        &self.keyspace.task
    }

    fn fall_asleep(&self) {
        self.keyspace.hide_stamp();
    }

    fn turn(&self) -> Next {
        let Rounds { ticked_ms, tended_ms, .. } = &self.rounds;
        let clock = &self.keyspace.clock;
        let timer = clock.timer();
        clock.refresh();
        let is_over = !self.reclaim();
        let now = clock.coarse_ms();
        self.alarms.ring(now);
        self.targets.close_idle(now);
        let since = |time: &AtomicU64| now.wrapping_sub(time.load(Ordering::Relaxed));
        if is_over || since(ticked_ms) >= TICK_MS {
            ticked_ms.store(now, Ordering::Relaxed);
            self.keep_time();
        }
        let mut next = Next { at: now, is_idle: false };
        if is_over || since(tended_ms) >= LONGEST_REAPING_MS {
            tended_ms.store(now, Ordering::Relaxed);
            self.keyspace.hooks.trim_tracked();
            let goes_on = self.tend();
            let save = self.save_if_due(now);
            next.is_idle = self.rounds.are_idle(&self.keyspace.task, self.keyspace.lookups.sum());
            if is_over {
                let tick = if goes_on || !next.is_idle { now + TICK_MS } else { NEVER };
                let awaited = self.alarms.earliest().min(self.targets.earliest()).min(save);
                next.at = tick.min(self.next_deadline()).min(awaited);
            }
        }
        self.keyspace.shared.deadlines.promise(next.at);
        self.pulse.ended(timer.elapsed());
        next
    }
}

impl Local {
    /// Reclaims what has expired, for a while. Says whether more is due.
    fn reclaim(&self) -> bool {
        // Whoever asks for the pause ends it when its time is over.
        self.paused();
        let keeps = self.keyspace.keeps_expired.load(Ordering::Relaxed);
        if keeps || !self.keyspace.active_expiry.load(Ordering::Relaxed) {
            return false;
        }
        let timer = self.keyspace.clock.timer();
        let (_, more) = reaper::reap_for(&self.keyspace, reaper::STRETCH);
        self.pulse.reaped(timer.elapsed());
        self.note_latency("expire-cycle", timer.elapsed());
        more
    }

    fn next_deadline(&self) -> u64 {
        if let Some(paused) = self.paused() {
            paused.until_ms
        } else if self.keyspace.keeps_expired.load(Ordering::Relaxed) {
            NEVER
        } else if self.keyspace.active_expiry.load(Ordering::Relaxed) {
            self.keyspace.shared.deadlines.earliest()
        } else {
            NEVER
        }
    }

    /// Moves the stamps on with the time and samples the pace.
    fn keep_time(&self) {
        let keyspace = &self.keyspace;
        keyspace.refresh_stamp();
        if keyspace.task.is_asleep() {
            keyspace.hide_stamp();
        }
        self.sample_pace();
    }

    /// Keeps memory in shape. Says whether there is more to do even if nobody uses the engine.
    fn tend(&self) -> bool {
        let keyspace = &self.keyspace;
        let mut goes_on = compaction::advance(keyspace, keyspace.clock.timer(), COMPACTION_BUDGET);
        goes_on |= upkeep::round(keyspace);
        goes_on |= keyspace.arm_adopted(ARMING_BUDGET);
        if keyspace.has_lost() {
            self.set_damaged(Error::lost());
        }
        if self.paused().is_some() {
            // Whatever is due then is looked at again.
            return true;
        }
        let (evicting, is_left) = keyspace.evictor.work(keyspace);
        goes_on |= is_left;
        if let Some(evicting) = evicting {
            self.note_latency("eviction-cycle", evicting);
        }
        keyspace.note_peak(keyspace.used_bytes());
        // What is dropped elsewhere gives pages back, of which the surplus is the system's.
        goes_on || lazyfree::pending() > 0
    }

    /// Samples the engine's pace if it is time.
    pub(crate) fn sample_pace(&self) {
        self.pulse.sample(self.keyspace.clock.coarse_ms(), || Totals {
            commands: self.stats.commands_processed(),
            input: self.network.input.load(Ordering::Relaxed),
            output: self.network.output.load(Ordering::Relaxed),
        });
    }
}

impl Rounds {
    /// Whether the engine has not been used for a while, where it has looked up so many keys by now.
    fn are_idle(&self, task: &Task, (hits, misses): (u64, u64)) -> bool {
        let lookups = hits.wrapping_add(misses);
        let was_used = task.was_told() | (self.lookups.swap(lookups, Ordering::Relaxed) != lookups);
        let unused = if was_used { 0 } else { self.unused.load(Ordering::Relaxed).saturating_add(1) };
        self.unused.store(unused, Ordering::Relaxed);
        unused >= PATIENCE
    }
}

#[cfg(test)]
mod tests;
