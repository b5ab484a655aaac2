//! What an engine in this process consists of: the keyspace, the options, its clients, and what is counted about it.
//!
//! It is below the commands, which run in it; opening and closing are [`crate::engine`]'s.

mod alarms;
mod notifier;
mod opening;
mod renames;
mod rounds;
mod saving;
mod standing;

use std::fmt::Write as _;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::acl::{Catalog, Users};
#[cfg(feature = "listener")]
use crate::clients::Trait;
use crate::clients::{ClientInfo, Clients, Paused};
use crate::clock::Clock;
use crate::commandlog::CommandLogs;
use crate::config::{Config, PushLimit};
use crate::keyspace::evictor::Room;
use crate::keyspace::{HashSeed, Keyspace};
use crate::latency::LatencyMonitor;
use crate::network::Network;
use crate::os::Guard;
use crate::persist::Persistence;
use crate::pulse::Pulse;
use crate::scripts::Scripts;
use crate::stats::Stats;
use crate::sync::{Arc, Mutex};
use crate::targets::Targets;
use alarms::Alarms;
use notifier::Notifier;
use renames::Renames;
use rounds::Rounds;

/// Why no command may take the short way.
const MEASURED: u32 = 1;
const MONITORED: u32 = 2;
/// The engine stands elsewhere.
const ELSEWHERE: u32 = 4;
/// Clients are paused.
const PAUSED: u32 = 8;
/// A session may do less than it knows.
const UNAWARE: u32 = 16;
/// A script runs, and perhaps for longer than others are to wait for it.
const SCRIPT: u32 = 32;
const BUSY_SCRIPT: u32 = 64;
/// A command has another name.
const RENAMED: u32 = 128;

/// What CLIENT LIST says of a client at a time, in unix milliseconds.
pub(crate) type Describe = fn(&ClientInfo, u64) -> String;

/// Everything an engine consists of.
pub(crate) struct Local {
    pub(crate) keyspace: Keyspace,
    pub(crate) config: Arc<Config>,
    /// No other engine of this process has it, not even a later one.
    pub(crate) number: u64,
    pub(crate) users: Users,
    pub(crate) clients: Clients,
    /// What CLIENT LIST says of a client at a time.
    pub(crate) describe: Describe,
    pub(crate) stats: Stats,
    pub(crate) command_logs: CommandLogs,
    pub(crate) scripts: Scripts,
    pub(crate) latency: Mutex<LatencyMonitor>,
    pub(crate) network: Network,
    pub(crate) pulse: Pulse,
    own: Weak<Local>,
    /// When to look next whether a snapshot is due, unix milliseconds.
    next_look_ms: AtomicU64,
    /// What it has on disk.
    pub(crate) persistence: Persistence,
    /// Why no command may take the short way, as bits: an option asks for each command's time, or for sizes of requests and replies as small as those
    /// of hot commands; somebody monitors; a session may do less than it knows.
    measures_all: AtomicU32,
    /// Scripts that run, or wait for the locks.
    #[cfg(feature = "scripting")]
    running_scripts: AtomicU32,
    pub(crate) started_ms: u64,
    pub(crate) run_id: String,
    rounds: Rounds,
    /// Tasks whose time may be over before anything comes.
    pub(crate) alarms: Alarms,
    /// Connections to servers that values were moved to.
    pub(crate) targets: Targets,
    /// Publishes keyspace events.
    notifier: Notifier,
    renames: Renames,
}

impl Local {
    /// A new one, in which there are these commands.
    pub(crate) fn new(
        config: Config,
        clock: Option<Clock>,
        seed: HashSeed,
        (catalog, describe): (&'static Catalog, Describe),
    ) -> Arc<Local> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let clock = clock.unwrap_or_default();
        let (config, clock_s) = (Arc::new(config), clock.now_ms() / 1000);
        let measures_all = if measures_all(&config) { MEASURED } else { 0 };
        let stats = Stats::new(catalog.len());
        stats.track(config.hot().latency_tracking());
        let local = Arc::new_cyclic(|own| Local {
            number: LAST.fetch_add(1, Ordering::Relaxed),
            started_ms: clock.now_ms(),
            keyspace: Keyspace::new(clock, config.clone(), seed),
            config,
            users: Users::new(catalog),
            clients: Clients::default(),
            describe,
            stats,
            command_logs: CommandLogs::default(),
            scripts: Scripts::default(),
            network: Network::default(),
            pulse: Pulse::default(),
            own: own.clone(),
            next_look_ms: AtomicU64::new(0),
            persistence: Persistence::new(clock_s),
            measures_all: AtomicU32::new(measures_all),
            #[cfg(feature = "scripting")]
            running_scripts: AtomicU32::new(0),
            latency: Mutex::new(LatencyMonitor::default()),
            run_id: run_id(),
            rounds: Rounds::default(),
            alarms: Alarms::default(),
            targets: Targets::default(),
            notifier: Notifier::new(own.clone()),
            renames: Renames::default(),
        });
        local.notifier.adopt(&local);
        local.keep_expired(false);
        local
    }

    /// Locks everything: the shards first, since whoever holds one may take the others, never the other way round.
    pub(crate) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        self.keyspace.freeze(held);
        self.network.freeze_setting(held);
        // Whoever changes users asks for the clients.
        self.users.freeze(held);
        self.clients.freeze(held);
        // Whoever samples the pace asks the statistics.
        self.pulse.freeze(held);
        self.stats.freeze(held);
        self.config.freeze(held);
        self.command_logs.freeze(held);
        self.scripts.freeze(held);
        held.push(Box::new(self.latency.lock()));
        self.network.freeze(held);
        self.notifier.freeze(held);
        self.alarms.freeze(held);
        self.persistence.freeze(held);
        self.targets.freeze(held);
    }

    /// Tells the background thread that the engine is in use, if it does not know. What depends on the clock comes after it.
    #[inline(always)]
    pub(crate) fn ensure_background(&self) {
        if !self.keyspace.task.is_told() {
            self.keyspace.wake();
        }
    }

    /// Has every typed call and command go the long way, which leads elsewhere.
    pub(crate) fn stand_elsewhere(&self) {
        self.keyspace.hooks.stand_elsewhere();
        self.set_measured(ELSEWHERE, true);
    }

    /// Takes over options that the keyspace does not look at by itself. A limit that was lowered is worked towards at once, and further by the
    /// background thread.
    pub(crate) fn options_changed(&self) {
        self.set_measured(MEASURED, measures_all(&self.config));
        self.stats.track(self.config.hot().latency_tracking());
        self.keyspace.evictor.adopt(&self.keyspace);
        self.keyspace.show_stamp();
        self.keyspace.spare_mapped();
        self.keyspace.report_all();
        self.make_room();
        self.network.look();
        self.refuse_if_unsaved();
        // Whoever sets the option hears of an error; what a transaction could not begin is tried again here.
        let _ = self.adopt_log();
        self.notifier.adopt(self);
        self.keep_expired(self.paused().is_some());
    }

    /// Whether each command has to be timed and measured. One load.
    #[inline(always)]
    pub(crate) fn measures_all(&self) -> bool {
        self.measures_all.load(Ordering::Relaxed) != 0
    }

    fn set_measured(&self, why: u32, is_so: bool) {
        if is_so {
            self.measures_all.fetch_or(why, Ordering::Relaxed);
        } else {
            self.measures_all.fetch_and(!why, Ordering::Relaxed);
        }
    }

    /// Whether something may be paused. One load.
    #[inline]
    pub(crate) fn may_be_paused(&self) -> bool {
        self.measures_all.load(Ordering::Relaxed) & PAUSED != 0
    }

    /// The pause of clients that is on.
    #[inline]
    pub(crate) fn paused(&self) -> Option<Paused> {
        self.clients.pause.at(|| self.keyspace.clock.now_ms(), |is_on| self.set_paused(is_on))
    }

    /// Begins a pause until that time, in unix milliseconds, or lengthens it. Meanwhile nothing expires for good, and nothing is evicted.
    pub(crate) fn pause(&self, until_ms: u64, all: bool) {
        let now_ms = self.keyspace.clock.now_ms();
        self.clients.pause.begin(until_ms, all, now_ms, |is_on| self.set_paused(is_on));
    }

    /// Ends it.
    pub(crate) fn unpause(&self) {
        self.clients.pause.end(|is_on| self.set_paused(is_on));
    }

    fn set_paused(&self, is_on: bool) {
        self.set_measured(PAUSED, is_on);
        self.keep_expired(is_on);
    }

    /// Has whoever meets what has expired leave it there, while clients are paused or an import is under way.
    fn keep_expired(&self, are_paused: bool) {
        let keeps = are_paused || self.config.hot().import_mode();
        self.keyspace.keeps_expired.store(keeps, Ordering::Relaxed);
    }

    /// A script is about to take the locks: those who come from now on look up while they wait for them.
    #[cfg(feature = "scripting")]
    pub(crate) fn script_begins(&self) {
        self.running_scripts.fetch_add(1, Ordering::SeqCst);
        self.set_measured(SCRIPT, true);
    }

    /// The script that runs has run for so long that others are told so from now on.
    #[cfg(feature = "scripting")]
    pub(crate) fn script_is_busy(&self) {
        if !self.has_busy_script() {
            self.set_measured(BUSY_SCRIPT, true);
            crate::network::relieve();
        }
    }

    /// The script has ended, and still has the locks.
    #[cfg(feature = "scripting")]
    pub(crate) fn script_is_over(&self) {
        if self.has_busy_script() {
            self.set_measured(BUSY_SCRIPT, false);
        }
        if self.running_scripts.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.set_measured(SCRIPT, false);
            // Another one may have begun in between.
            if self.running_scripts.load(Ordering::SeqCst) != 0 {
                self.set_measured(SCRIPT, true);
            }
        }
    }

    /// Whether a script runs or is about to, so that nobody should wait for its locks without looking up.
    pub(crate) fn has_script(&self) -> bool {
        self.measures_all.load(Ordering::Relaxed) & SCRIPT != 0
    }

    /// Whether a script runs for longer than others are to wait.
    #[inline]
    pub(crate) fn has_busy_script(&self) -> bool {
        self.measures_all.load(Ordering::Relaxed) & BUSY_SCRIPT != 0
    }

    /// Whether anybody monitors. One load.
    #[inline]
    pub(crate) fn is_monitored(&self) -> bool {
        self.measures_all.load(Ordering::Relaxed) & MONITORED != 0
    }

    /// Has a client see all commands from now on, or no longer. Says whether that is new.
    pub(crate) fn set_monitor(&self, client: &Arc<ClientInfo>, is_one: bool) -> bool {
        let was_one = client.is_monitor.swap(is_one, Ordering::Relaxed);
        let changed = |is_monitored| self.set_measured(MONITORED, is_monitored);
        match (was_one, is_one) {
            (false, true) => self.clients.monitors.enter(client, changed),
            (true, false) => self.clients.monitors.leave(client.id, changed),
            _ => {}
        }
        if was_one && !is_one {
            client.outbox.forget_pushes();
        }
        was_one != is_one
    }

    /// Who monitors.
    pub(crate) fn monitors(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.monitors.all(|is_monitored| self.set_measured(MONITORED, is_monitored))
    }

    /// Pushes a message to a client. The caller holds no shard.
    pub(crate) fn push(&self, client: &ClientInfo, message: &Arc<[u8]>, limit: &PushLimit) {
        let fits = client.outbox.put(message, limit, self.keyspace.clock.coarse_ms());
        self.pushed(client, fits);
    }

    /// Wakes a client that a message was put into the outbox of. One for which it did not fit is too slow: its connection is ended, or, in process, it
    /// has lost what waited. The caller holds no shard.
    pub(crate) fn pushed(&self, client: &ClientInfo, fits: bool) {
        if !fits && client.has_connection() && !client.is_cut() {
            self.network.too_slow.fetch_add(1, Ordering::Relaxed);
            client.cut();
        }
        client.outbox.wake();
    }

    /// Ends the connections that take most, as long as all together take more than `maxmemory-clients` allows; but not those that asked to be spared.
    #[cfg(feature = "listener")]
    pub(crate) fn evict_clients(&self) {
        let limit = self.config.client_memory_limit();
        if limit == 0 || self.network.held.load(Ordering::Relaxed) as u64 <= limit {
            return;
        }
        // What those held who were ended already is about to be given back.
        let mut clients = self.clients.all();
        clients.retain(|client| client.has_connection() && !client.is_cut());
        let mut left: u64 = clients.iter().map(|client| client.held() as u64).sum();
        clients.retain(|client| !client.traits.has(Trait::NO_EVICT));
        clients.sort_by_key(|client| std::cmp::Reverse(client.held()));
        for client in clients {
            if left <= limit {
                return;
            }
            left = left.saturating_sub(client.held() as u64);
            self.network.evicted.fetch_add(1, Ordering::Relaxed);
            client.cut();
        }
    }

    /// Whether a write may begin without making room and without an error of the log.
    #[inline(always)]
    pub(crate) fn takes_writes(&self) -> bool {
        let keyspace = &self.keyspace;
        !keyspace.is_over_limit() && (keyspace.hooks.are_silent() || keyspace.hooks.refusal().is_none())
    }

    /// Whether a write can begin without making room, and nobody hears of it. Three loads.
    #[inline(always)]
    pub(crate) fn is_calm(&self) -> bool {
        !self.keyspace.is_over_limit() && self.keyspace.hooks.are_silent()
    }

    /// Evicts as far as needed and allowed, and says whether a command that may take memory can run.
    #[inline]
    pub(crate) fn make_room(&self) -> bool {
        !self.keyspace.is_over_limit() || self.evict()
    }

    /// Records an event in the latency monitor if it took at least `latency-monitor-threshold`.
    #[inline]
    pub(crate) fn note_latency(&self, event: &str, elapsed: Duration) {
        let threshold = self.config.hot().latency_monitor_threshold();
        let milliseconds = elapsed.as_millis() as u64;
        if threshold != 0 && milliseconds >= threshold {
            self.latency.lock().record(event, self.keyspace.clock.now_ms() / 1000, milliseconds);
        }
    }

    #[cold]
    fn evict(&self) -> bool {
        if self.paused().is_some() {
            return true;
        }
        let timer = self.keyspace.clock.timer();
        let room = self.keyspace.make_room();
        self.note_latency("eviction-cycle", timer.elapsed());
        room != Room::None
    }
}

/// Whether the options ask for more than a sample of what hot commands take. The server counts no waiting for others, so a hot command that takes a
/// millisecond is the system's doing.
fn measures_all(config: &Config) -> bool {
    const SHORT_US: i64 = 1000;
    const SMALL: i64 = 64 * 1024;
    let hot = config.hot();
    (0..SHORT_US).contains(&hot.slowlog_log_slower_than())
        || hot.latency_monitor_threshold() != 0
        || (0..SMALL).contains(&hot.commandlog_request_larger_than())
        || (0..SMALL).contains(&hot.commandlog_reply_larger_than())
}

/// Forty random hexadecimal digits.
fn run_id() -> String {
    let mut digits = String::with_capacity(40);
    (0..5).for_each(|_| {
        write!(digits, "{:08x}", crate::store::random() as u32).expect("strings can be written to");
    });
    digits
}
