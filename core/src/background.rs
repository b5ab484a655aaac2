//! The background thread of an engine: keeps the coarse clock and reclaims what has expired.
//!
//! One thread per engine and process, started on demand, ended with the engine. It holds the engine only weakly.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crate::engine::Inner;
use crate::expire::reaper;
use crate::keyspace::access::TICK_MS;
use crate::keyspace::{compaction, upkeep};
use crate::os::{self, Guard};
use crate::pulse::Totals;
use crate::sync::{Arc, Mutex};

/// Time that one round spends on moving entries together.
const COMPACTION_BUDGET: Duration = Duration::from_micros(500);

/// The thread of an engine, and which process runs it.
#[derive(Default)]
pub(crate) struct Background {
    /// [`os::generation`] of the process that runs it, 0 before the first.
    running_in: AtomicU64,
    thread: Mutex<Option<Thread>>,
}

impl Drop for Background {
    /// Has the thread see at once that the engine is gone. Threads that sleep out their time would pile up where engines are opened and closed in
    /// quick succession, and one that follows another gets its stack for nothing.
    fn drop(&mut self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }
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

    /// Locks what leads to the thread.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.thread.lock()));
    }

    #[cold]
    fn start(&self, engine: &Arc<Inner>, here: u64) {
        if self.running_in.swap(here, Ordering::Relaxed) == here || engine.keyspace.clock.is_manual() {
            return;
        }
        let weak = Arc::downgrade(engine);
        let started = std::thread::Builder::new()
            .name("keystead".into())
            .spawn(move || run(&weak, Duration::from_millis(TICK_MS)));
        match started {
            Ok(started) => *self.thread.lock() = Some(started.thread().clone()),
            // Out of threads: expired keys stay invisible but keep their memory until a later call succeeds.
            Err(_) => self.running_in.store(0, Ordering::Relaxed),
        }
    }
}

fn run(engine: &Weak<Inner>, tick: Duration) {
    loop {
        std::thread::park_timeout(tick);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Engine};

    #[test]
    #[cfg_attr(any(miri, loom), ignore = "a thread that waits on the wall's time")]
    fn the_thread_does_not_sleep_on_when_its_engine_has_gone() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let weak = Arc::downgrade(&engine.inner);
        let thread = std::thread::spawn(move || run(&weak, Duration::from_secs(3600)));
        *engine.inner.background.thread.lock() = Some(thread.thread().clone());
        drop(engine);
        thread.join().unwrap();
    }
}
