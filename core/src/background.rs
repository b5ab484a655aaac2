//! The background thread of an engine: keeps the coarse clock and reclaims what has expired.
//!
//! One thread per engine and process, started on demand, ended with the engine. It holds the engine only weakly.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Inner;
use crate::expire::reaper;
use crate::keyspace::access::TICK_MS;
use crate::keyspace::{compaction, upkeep};
use crate::os;
use crate::pulse::Totals;
use crate::sync::Arc;

/// Time that one round spends on moving entries together.
const COMPACTION_BUDGET: Duration = Duration::from_micros(500);

/// Which process runs the thread of an engine.
#[derive(Default)]
pub(crate) struct Background {
    /// [`os::generation`] of the process that runs it, 0 before the first.
    running_in: AtomicU64,
}

impl Background {
    /// Starts the thread unless this process runs it already.
    #[inline]
    pub(crate) fn ensure(&self, engine: &Arc<Inner>) {
        let here = os::generation();
        if self.running_in.load(Ordering::Relaxed) != here {
            self.start(engine, here);
        }
    }

    #[cold]
    fn start(&self, engine: &Arc<Inner>, here: u64) {
        if self.running_in.swap(here, Ordering::Relaxed) == here || engine.keyspace.clock.is_manual() {
            return;
        }
        let weak = Arc::downgrade(engine);
        let started = std::thread::Builder::new().name("keystead".into()).spawn(move || run(&weak));
        if started.is_err() {
            // Out of threads: expired keys stay invisible but keep their memory until a later call succeeds.
            self.running_in.store(0, Ordering::Relaxed);
        }
    }
}

fn run(engine: &Weak<Inner>) {
    loop {
        std::thread::sleep(Duration::from_millis(TICK_MS));
        let Some(engine) = engine.upgrade() else { return };
        round(&engine);
    }
}

/// What is done at every tick.
fn round(engine: &Inner) {
    let clock = &engine.keyspace.clock;
    let timer = clock.timer();
    clock.refresh();
    engine.keyspace.refresh_stamp();
    if engine.active_expiry.load(Ordering::Relaxed) {
        reaper::reap(&engine.keyspace);
        engine.pulse.reaped(timer.elapsed());
        engine.note_latency("expire-cycle", timer.elapsed());
    }
    compaction::advance(&engine.keyspace, clock.timer(), COMPACTION_BUDGET);
    upkeep::round(&engine.keyspace);
    if let Some(evicting) = engine.keyspace.evictor.work(&engine.keyspace) {
        engine.note_latency("eviction-cycle", evicting);
    }
    engine.keyspace.note_peak(engine.keyspace.used_bytes());
    engine.pulse.sample(clock.coarse_ms(), || Totals {
        commands: engine.stats.commands_processed(),
        input: engine.network.input.load(Ordering::Relaxed),
        output: engine.network.output.load(Ordering::Relaxed),
    });
    engine.pulse.ended(timer.elapsed());
}
