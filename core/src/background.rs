//! The background thread of the process: one for all engines, asleep while nothing is due. What an engine does at its turn is [`Work`]'s affair.
//!
//! **Turns.** Each engine has a time at which it wants its next turn. The thread takes the one that has waited longest, for a millisecond or so: who
//! has more to do waits again, behind all those whose time has come. So a deadline waits for one turn of each engine at work, never for the
//! end of one engine's work. Times to come are multiples of [`TICK_MS`]: engines whose times are near to each other share a waking.
//!
//! **Sleep.** An engine that is in use has a turn every [`TICK_MS`]. One that nobody has used for some turns falls asleep: it gets turns only for
//! deadlines and for work that it has begun. Whoever uses it then wakes it ([`Task::tell`]), and so brings its clock up to date before anything depends
//! on it. To be told, the thread takes the mark of each task back at each turn; writes and commands look at it, at the cost of one load. Reads look
//! at nothing more than before: they find no stamp that counts as the present one, and so come to a path that they seldom take.
//!
//! **Time.** Turns are in unix time, as deadlines are. While there are any the thread wakes every second, to see whether the time was set.
//!
//! **End.** The thread ends when there has been no engine for [`LINGER`]. An engine that is closed waits for its own turn to end, and for no other's.
//!
//! **Fork.** A fork waits for the turn of the moment to end, so that no child finds work half done. There all engines are asleep, until somebody uses
//! one, which starts the child's own thread.
//!
//! The schedule is a leaf among locks: whoever holds it takes no other.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Jumps};
use crate::os;
use crate::sync::Arc;
use crate::sync::apart::{Condvar, Mutex, MutexGuard};

/// No time at all.
pub(crate) const NEVER: u64 = u64::MAX;

/// Milliseconds between two turns of an engine that is in use.
pub(crate) const TICK_MS: u64 = 10;

/// How long the thread waits for another engine when there is none.
const LINGER: Duration = Duration::from_millis(100);

/// The longest that the thread sleeps while a turn is to come, in milliseconds.
const LONGEST_SLEEP_MS: u64 = 1000;

/// What is done for an engine in the background.
pub(crate) trait Work: Send + Sync {
    /// How the engine and the thread reach each other.
    fn task(&self) -> &Task;

    /// Does some of what is due, for a millisecond or so.
    fn turn(&self) -> Next;

    /// Has the next use tell of itself. Only sets what is atomic: it is called under the schedule's lock.
    fn fall_asleep(&self);
}

/// What a turn ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Unix milliseconds of the next turn, at the latest; if that is not to come, it is had as soon as the others had theirs.
    pub(crate) at: u64,
    /// The engine may fall asleep unless it was used in the meantime.
    pub(crate) is_idle: bool,
}

/// An engine's end of the line to the thread.
#[derive(Debug)]
pub(crate) struct Task {
    /// Its number; 0 if nothing is done in the background.
    id: u64,
    /// [`os::generation`] of the process in which the thread knows of the engine's use; 0 where the next use is to be told.
    told_in: AtomicU64,
    asleep: AtomicBool,
}

impl Task {
    /// Of an engine with a turn every now and then, or without (`never`).
    pub(crate) fn new(never: bool) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = if never { 0 } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 };
        Self { id, told_in: AtomicU64::new(0), asleep: AtomicBool::new(!never) }
    }

    /// Its number among all of the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether a use of the engine need not be told. Two loads.
    #[inline(always)]
    pub(crate) fn is_told(&self) -> bool {
        self.told_in.load(Ordering::Relaxed) == os::generation()
    }

    /// Whether the engine has a clock that stands.
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Tells of a use: the engine is awake from now on, and has turns. Its clock is the caller's to set before.
    pub(crate) fn tell(&self) {
        let here = os::generation();
        if self.id == 0 {
            return self.told_in.store(here, Ordering::Relaxed);
        }
        let mut schedule = SCHEDULE.lock();
        self.asleep.store(false, Ordering::Relaxed);
        // Without a thread the next use tries again. Expired keys stay invisible but keep their memory.
        let is_heard = schedule.hasten(self.id, Clock::system_ms() + 1);
        self.told_in.store(if is_heard { here } else { 0 }, Ordering::Relaxed);
    }

    /// Whether the engine's use was told since the last call. Only for its turn.
    pub(crate) fn was_told(&self) -> bool {
        self.told_in.swap(0, Ordering::Relaxed) == os::generation()
    }
}

/// Has turns from now on. The schedule keeps the engine alive until it [leaves](leave).
pub(crate) fn enter(work: Arc<dyn Work>) {
    let id = work.task().id;
    if id != 0 {
        SCHEDULE.lock().slots.insert(id, Slot { work, at: NEVER, is_leaving: false });
    }
}

/// Has no turn any more. Waits for the end of the one of the moment, unless the caller is in it.
pub(crate) fn leave(task: &Task) {
    let mut schedule = SCHEDULE.lock();
    let Some(slot) = schedule.slots.get_mut(&task.id) else { return };
    slot.is_leaving = true;
    let at = slot.at;
    schedule.queue.remove(&(at, task.id));
    while schedule.running == Some(task.id) && !ON_TURN.get() {
        schedule.waiting += 1;
        schedule = TURN_ENDED.wait(schedule, None);
        schedule.waiting -= 1;
    }
    let slot = schedule.slots.remove(&task.id);
    if schedule.slots.is_empty() && schedule.sleeps_until == Some(NEVER) {
        schedule.wake();
    }
    drop(schedule);
    drop(slot);
}

/// Has an engine get a turn at this time at the latest, in unix milliseconds.
pub(crate) fn hasten(task: u64, at: u64) {
    if task != 0 {
        SCHEDULE.lock().hasten(task, at);
    }
}

/// Whether an engine is at its turn, or has one to come.
#[cfg(test)]
pub(crate) fn is_scheduled(task: &Task) -> bool {
    let schedule = SCHEDULE.lock();
    let is_to_come = schedule.slots.get(&task.id).is_some_and(|slot| slot.at != NEVER);
    is_to_come || schedule.running == Some(task.id)
}

static SCHEDULE: Mutex<Schedule> = Mutex::new(Schedule::new());
/// Notified when the thread shall look at the schedule.
static CHANGED: Condvar = Condvar::new();
/// Notified when a turn has ended for whose end somebody waits.
static TURN_ENDED: Condvar = Condvar::new();

thread_local! {
    /// This thread is doing an engine's work.
    static ON_TURN: Cell<bool> = const { Cell::new(false) };
}

/// See the module's text.
struct Schedule {
    slots: BTreeMap<u64, Slot>,
    /// When engines have their turns, and which.
    queue: BTreeSet<(u64, u64)>,
    /// The engine whose turn it is.
    running: Option<u64>,
    /// [`os::generation`] of the process whose thread runs; 0 if none does.
    thread: u64,
    /// Until when the thread sleeps, in unix milliseconds, if it does.
    sleeps_until: Option<u64>,
    /// Forks that are under way.
    forks: usize,
    /// Threads that wait for the end of a turn.
    waiting: usize,
}

struct Slot {
    work: Arc<dyn Work>,
    at: u64,
    is_leaving: bool,
}

/// What the thread does next.
enum Step {
    Turn(u64, Arc<dyn Work>),
    SleepUntil(u64),
    /// No turn begins as long as somebody forks.
    Pause,
    Linger,
}

impl Schedule {
    const fn new() -> Self {
        Self {
            slots: BTreeMap::new(),
            queue: BTreeSet::new(),
            running: None,
            thread: 0,
            sleeps_until: None,
            forks: 0,
            waiting: 0,
        }
    }

    /// Gives an engine a turn at the first tick after this time, or before. False if there can be none.
    fn hasten(&mut self, id: u64, at: u64) -> bool {
        self.queue_up(id, at.checked_next_multiple_of(TICK_MS).unwrap_or(NEVER))
    }

    fn queue_up(&mut self, id: u64, at: u64) -> bool {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.is_leaving) else { return false };
        if at < slot.at {
            self.queue.remove(&(slot.at, id));
            slot.at = at;
            self.queue.insert((at, id));
        }
        if self.sleeps_until.is_some_and(|until| at < until) {
            self.wake();
        }
        at == NEVER || self.has_thread()
    }

    fn wake(&mut self) {
        self.sleeps_until = None;
        CHANGED.notify_all();
    }

    /// Starts the thread if this process has none. False if the system has none to give.
    fn has_thread(&mut self) -> bool {
        let here = os::generation();
        if self.thread != here {
            let started = std::thread::Builder::new().name("keystead".into()).spawn(move || run(here));
            self.thread = if started.is_ok() { here } else { 0 };
        }
        self.thread == here
    }

    fn next_step(&self, now: u64) -> Step {
        match self.queue.first() {
            _ if self.forks > 0 => Step::Pause,
            Some((at, id)) if *at <= now => Step::Turn(*id, self.slots[id].work.clone()),
            Some((at, _)) => Step::SleepUntil((*at).min(now + LONGEST_SLEEP_MS)),
            None if self.slots.is_empty() => Step::Linger,
            None => Step::SleepUntil(NEVER),
        }
    }

    fn begin_turn(&mut self, id: u64) {
        if let Some(slot) = self.slots.get_mut(&id) {
            self.queue.remove(&(slot.at, id));
            slot.at = NEVER;
        }
        self.running = Some(id);
    }

    fn end_turn(&mut self, id: u64, next: Next, now: u64) {
        self.running = None;
        if self.waiting > 0 {
            TURN_ENDED.notify_all();
        }
        let Some(slot) = self.slots.get(&id) else { return };
        let task = slot.work.task();
        if next.is_idle && task.told_in.load(Ordering::Relaxed) == 0 {
            task.asleep.store(true, Ordering::Relaxed);
            slot.work.fall_asleep();
        }
        if next.at <= now {
            self.queue_up(id, now);
        } else {
            self.hasten(id, next.at);
        }
    }

    /// The time was set: everybody has to look how far their deadlines are.
    fn hasten_all(&mut self, now: u64) {
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        ids.into_iter().for_each(|id| _ = self.queue_up(id, now));
    }

    /// Waits until the schedule has changed, or that time has come.
    fn sleep(mut schedule: MutexGuard<'_, Self>, until: u64, now: u64) -> MutexGuard<'_, Self> {
        let time = (until != NEVER).then(|| Duration::from_millis(until.saturating_sub(now)));
        schedule.sleeps_until = Some(until);
        let mut schedule = CHANGED.wait(schedule, time);
        schedule.sleeps_until = None;
        schedule
    }
}

/// The thread's life, in the process of that generation.
fn run(here: u64) {
    let mut jumps = Jumps::new();
    let mut has_lingered = false;
    let mut schedule = SCHEDULE.lock();
    while schedule.thread == here {
        let (now, has_jumped) = jumps.look();
        if has_jumped {
            schedule.hasten_all(now);
        }
        let step = schedule.next_step(now);
        if matches!(step, Step::Linger) && has_lingered {
            schedule.thread = 0;
            return;
        }
        has_lingered = matches!(step, Step::Linger);
        schedule = match step {
            Step::Turn(id, work) => {
                schedule.begin_turn(id);
                drop(schedule);
                let next = take_turn(work);
                let mut schedule = SCHEDULE.lock();
                if os::generation() != here {
                    // An observer has forked, and this is the child, which had its thread taken from the schedule.
                    return;
                }
                schedule.end_turn(id, next, Clock::system_ms());
                schedule
            }
            Step::SleepUntil(until) => Schedule::sleep(schedule, until, now),
            Step::Pause => CHANGED.wait(schedule, None),
            Step::Linger => Schedule::sleep(schedule, now + LINGER.as_millis() as u64, now),
        };
    }
}

/// A turn of an engine. The schedule still keeps the engine, unless it was closed by what was done at this turn.
fn take_turn(work: Arc<dyn Work>) -> Next {
    ON_TURN.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| work.turn()));
    let has_more = outcome.as_ref().is_ok_and(|next| next.at <= Clock::system_ms());
    // An engine that can't have its turn waits for the next use.
    let next = outcome.unwrap_or(Next { at: NEVER, is_idle: true });
    let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    ON_TURN.set(false);
    if has_more {
        // Whoever is set aside by the system is so for milliseconds: better now, when nobody waits for it.
        std::thread::yield_now();
    }
    next
}

/// Lets the turn of the moment end and no other begin until the fork that the caller is about to make is over: [`hold`] goes on from here.
/// An observer that forks does so in a turn.
pub(crate) fn pause() {
    let mut schedule = SCHEDULE.lock();
    schedule.forks += 1;
    while schedule.running.is_some() && !ON_TURN.get() {
        schedule.waiting += 1;
        schedule = TURN_ENDED.wait(schedule, None);
        schedule.waiting -= 1;
    }
}

/// Holds the schedule across a fork, after everything else.
pub(crate) fn hold() -> Held {
    Held(SCHEDULE.lock())
}

/// The schedule, held by who forks.
pub(crate) struct Held(MutexGuard<'static, Schedule>);

impl Held {
    /// In the child: there is no thread, and nobody else forks or waits.
    pub(crate) fn begin_anew(&mut self) {
        let schedule = &mut *self.0;
        (schedule.forks, schedule.waiting) = (1, 0);
        (schedule.running, schedule.thread, schedule.sleeps_until) = (None, 0, None);
        for slot in schedule.slots.values() {
            slot.work.task().asleep.store(true, Ordering::Relaxed);
            slot.work.fall_asleep();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.forks -= 1;
        CHANGED.notify_all();
    }
}

#[cfg(test)]
mod tests;
