//! Our own policy: two queues and a counter per entry, whose proportions are chosen while it runs: `allkeys-adaptive`, `volatile-adaptive`.
//!
//! In the family of S3-FIFO (Yang et al., SOSP 2023) and Clock2Q+. A new key enters the *small* queue. At its end, a key that was used
//! often enough moves to the *main* queue; any other is evicted and leaves a ghost. A key that comes back while its ghost is
//! remembered goes to the main queue at once. At the end of the main queue a key that was used since pays one use and stays; one that was
//! not is evicted. So keys that are never used again, the bulk of most workloads, pass through a small part of the cache.
//!
//! A use counts only if it comes some time after the key was filed: as long as half the small queue takes to pass. Uses in quick
//! succession are one use; without this rule a burst would look like popularity (Clock2Q+'s correlation window).
//!
//! **What is chosen** ([`CHOICES`]): the share of the small queue, from 2 % (scans and loops) to 75 % (recency, as LRU has it); how often a key
//! must be used to leave it; how long ghosts are remembered; and whether a key that stays in the main queue is asked again before the
//! keys that came during this round or after them. The latter, which is the only difference between CLOCK and SIEVE, is a second queue
//! here: [`Adaptive::kept`]. One choice puts a few new keys into the main queue at once (bimodal insertion: Qureshi et al., "Adaptive insertion
//! policies for high performance caching", ISCA 2007), which keeps a part even of a loop that is longer than any memory of ghosts. Every
//! choice runs on a sample of the keys as a miniature of the cache, and the one with the most hits of late rules the whole
//! ([`super::miniature`]).
//!
//! **A small cache** is no larger than its miniatures. It has no queues of its own then, but evicts what the best miniature has evicted: a change of
//! choice takes effect as fast as keys come (as in Subramanian et al., "Adaptive caches", MICRO 2006).
//!
//! **The stamp** of an entry holds the tick in which it was filed (29 bits) and a counter up to 3. A hit loads two words and compares;
//! it writes only to count up, at most three times before an evictor looks at the key.

use std::num::NonZeroU32;

use super::ghost::Ghosts;
use super::miniature::Tuner;
use super::records::{Fifo, Filed};
use super::ticks::{SHORT_BITS, Ticks, age};
use super::{Event, Eviction, Facts, Keys, Policy, Record, Verdict};

/// How the cache is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Share of the small queue.
    pub(crate) small: f64,
    /// Uses that bring a key from the small to the main queue.
    pub(crate) promote_at: u8,
    /// A key that stays in the main queue waits for the next round.
    pub(crate) next_round: bool,
    /// Ghosts that count, as a multiple of the keys.
    pub(crate) ghosts: f64,
    /// One new key in so many goes to the main queue at once.
    pub(crate) at_once: Option<NonZeroU32>,
}

impl Choice {
    /// Whether the new key of this number goes to the main queue at once.
    pub(crate) fn favours(&self, number: u32) -> bool {
        self.at_once.is_some_and(|period| number.is_multiple_of(period.get()))
    }
}

const fn choice(small: f64, promote_at: u8, next_round: bool, ghosts: f64) -> Choice {
    Choice { small, promote_at, next_round, ghosts, at_once: None }
}

/// From most to least suspicious of new keys.
pub(crate) const CHOICES: [Choice; 7] = [
    Choice { at_once: NonZeroU32::new(32), ..choice(0.02, 1, false, 0.9) },
    choice(0.02, 1, false, 0.9),
    choice(0.1, 1, false, 1.5),
    choice(0.1, 2, false, 0.9),
    choice(0.2, 2, true, 1.5),
    choice(0.4, 1, false, 0.5),
    choice(0.75, 1, false, 0.9),
];
/// Where a cache begins.
pub(crate) const FIRST_CHOICE: usize = 2;
/// The longest memory of all choices.
pub(crate) const MOST_GHOSTS: f64 = 1.5;

/// The counter stops here.
pub(crate) const MOST_USES: u8 = 3;
/// A new key moves the clock on once in as many parts of all keys.
const TICKS_PER_TURN: usize = 4096;

/// One eviction in so many looks at the main queue first, whatever the small one holds. Without it a main queue full of keys that are not
/// used any more would stay so for as long as nothing new is promoted.
pub(crate) const AGING: u32 = 128;
/// The same while the cache does worse than the miniature it follows: what that has and the cache has not is another past, and this is how
/// it is left behind.
const FAST_AGING: u32 = 3;

/// Keys that the small queue may hold of this many.
pub(crate) fn small_part(choice: &Choice, keys: usize) -> usize {
    ((keys as f64 * choice.small) as usize).max(1)
}

fn stamp(uses: u8, time: u32) -> u32 {
    u32::from(uses) << SHORT_BITS | time & ((1 << SHORT_BITS) - 1)
}

/// The stamp of an entry that is filed at `now`.
pub(crate) fn first_stamp(now: u32) -> u32 {
    stamp(0, now)
}

/// The stamp after a use, if the use counts.
#[inline]
pub(crate) fn used(old: u32, now: u32, window: u32) -> Option<u32> {
    let counts = uses(old) < MOST_USES && age(now, old, SHORT_BITS) > window;
    counts.then(|| old + (1 << SHORT_BITS))
}

/// The whole clock when a key of that stamp was filed, which is not long before `now`.
pub(crate) fn clock_of(stamp: u32, now: u32) -> u32 {
    now.wrapping_sub(age(now, stamp, SHORT_BITS)) & (u32::MAX >> 1)
}

/// A stamp of as many uses, filed when the clock stood there.
pub(crate) fn with_clock(old: u32, clock: u32) -> u32 {
    stamp(uses(old), clock)
}

fn uses(stamp: u32) -> u8 {
    (stamp >> SHORT_BITS) as u8
}

fn time(stamp: u32) -> u32 {
    stamp & ((1 << SHORT_BITS) - 1)
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Adaptive {
    volatile: bool,
    small: Fifo,
    main: Fifo,
    /// Keys of the main queue that wait for its next round.
    kept: Fifo,
    ghosts: Ghosts,
    tuner: Tuner,
    /// Keys filed, and those since the last tick.
    filed: u32,
    since_tick: usize,
    evictions: u32,
    /// Keys at the last eviction: how many fit. 0 as long as nothing was evicted.
    fits: usize,
}

/// What became of a record.
enum Fate {
    Stale,
    Promoted,
    Stays,
    Evicted,
}

impl Adaptive {
    pub(crate) fn new(volatile: bool) -> Self {
        Self {
            volatile,
            small: Fifo::default(),
            main: Fifo::default(),
            kept: Fifo::default(),
            ghosts: Ghosts::default(),
            tuner: Tuner::new(),
            filed: 0,
            since_tick: 0,
            evictions: 0,
            fits: 0,
        }
    }

    /// Fits windows, ghosts and miniatures to the number of keys there are.
    fn fit(&mut self, keys: &mut dyn Keys, ticks: &Ticks) -> Choice {
        self.fits = self.records();
        if !self.tuner.fit(self.fits) {
            self.begin(keys, ticks);
        }
        let choice = self.tuner.choice();
        self.fit_window(&choice, ticks);
        choice
    }

    fn fit_window(&self, choice: &Choice, ticks: &Ticks) {
        let per_tick = self.fits / TICKS_PER_TURN + 1;
        let window = (small_part(choice, self.fits) / 2 / per_tick) as u32;
        if ticks.read().1.abs_diff(window) > window / 16 {
            ticks.set_window(window);
        }
    }

    /// Begins anew with miniatures of another size.
    #[cold]
    fn begin(&mut self, keys: &mut dyn Keys, ticks: &Ticks) {
        let records = self.tuner.take_records();
        self.tuner.begin(self.fits, ticks);
        if self.tuner.is_whole() {
            for queue in [&mut self.small, &mut self.main, &mut self.kept] {
                std::iter::from_fn(|| queue.pop()).for_each(|filed| self.tuner.file(filed.record));
            }
        }
        let now = ticks.now();
        for (record, main) in records {
            if self.tuner.is_whole() {
                self.tuner.file(record);
            } else if keys.examine(record, &mut |_| Verdict::Stamp(first_stamp(now))) {
                let queue = if main { &mut self.main } else { &mut self.small };
                queue.push(record, now);
            }
        }
    }

    /// Evicts what the best miniature has.
    fn evict_as_miniature(&mut self, keys: &mut dyn Keys, effort: &mut usize) -> Eviction {
        while *effort > 0 {
            *effort -= 1;
            let Some(record) = self.tuner.next_victim() else { return Eviction::NoCandidate };
            let mut evicted = false;
            keys.examine(record, &mut |facts| {
                evicted = self.may_evict(facts);
                if evicted { Verdict::Evict } else { Verdict::Keep }
            });
            self.tuner.gone(record);
            if evicted {
                return Eviction::Evicted;
            }
        }
        Eviction::OutOfEffort
    }

    /// Whether a key may be evicted.
    fn may_evict(&self, facts: Facts) -> bool {
        !self.volatile || facts.deadline.is_some()
    }

    fn examine(&self, filed: Filed, keys: &mut dyn Keys, decide: impl Fn(Facts) -> (Fate, Verdict)) -> Fate {
        let mut fate = Fate::Stale;
        keys.examine(filed.record, &mut |facts| {
            if !self.may_evict(facts) || !filed.is_of(time(facts.stamp)) {
                return Verdict::Keep;
            }
            let verdict;
            (fate, verdict) = decide(facts);
            verdict
        });
        fate
    }

    /// Evicts from the end of one queue or the other. One eviction in `period` looks at the main queue first.
    fn evict_from_queues(
        &mut self,
        keys: &mut dyn Keys,
        choice: &Choice,
        period: u32,
        now: u32,
        effort: &mut usize,
    ) -> Eviction {
        self.evictions = self.evictions.wrapping_add(1);
        let mut ages = self.evictions.is_multiple_of(period);
        while self.records() > 0 {
            if *effort == 0 {
                return Eviction::OutOfEffort;
            }
            *effort -= 1;
            let no_main = self.main.len() + self.kept.len() == 0;
            let small = self.small.len() >= small_part(choice, self.fits) && !std::mem::take(&mut ages);
            let evicted = if small || no_main {
                self.turn_small(keys, choice, now)
            } else {
                self.turn_main(keys, choice, now)
            };
            if evicted {
                return Eviction::Evicted;
            }
        }
        Eviction::NoCandidate
    }

    /// Files a key in the queue that a choice says.
    fn file_by(&mut self, choice: &Choice, record: Record, stamp: u32) {
        let within = (self.fits as f64 * choice.ghosts) as usize;
        let mut came_back = || self.ghosts.take(record.digest(), within);
        let to_main = self.fits > 0 && (came_back() || choice.favours(self.filed));
        let queue = if to_main { &mut self.main } else { &mut self.small };
        queue.push(record, time(stamp));
    }

    /// Moves the clock on, and makes room for ghosts.
    fn count_filed(&mut self, ticks: &Ticks) {
        // Before they are needed: what a number of keys takes is then the same before and after the limit is reached.
        self.ghosts.fit((self.records() as f64 * MOST_GHOSTS) as usize);
        self.filed = self.filed.wrapping_add(1);
        self.since_tick += 1;
        if self.since_tick > self.records() / TICKS_PER_TURN {
            self.since_tick = 0;
            ticks.advance();
        }
    }

    /// Looks at the end of the small queue. Says whether a key was evicted.
    fn turn_small(&mut self, keys: &mut dyn Keys, choice: &Choice, now: u32) -> bool {
        let Some(filed) = self.small.pop() else { return false };
        let fate = self.examine(filed, keys, |facts| {
            if uses(facts.stamp) >= choice.promote_at {
                (Fate::Promoted, Verdict::Stamp(first_stamp(now)))
            } else {
                (Fate::Evicted, Verdict::Evict)
            }
        });
        match fate {
            Fate::Promoted => self.main.push(filed.record, now),
            Fate::Evicted => self.ghosts.add(filed.record.digest()),
            Fate::Stale | Fate::Stays => {}
        }
        matches!(fate, Fate::Evicted)
    }

    /// Looks at the end of the main queue. Says whether a key was evicted.
    fn turn_main(&mut self, keys: &mut dyn Keys, choice: &Choice, now: u32) -> bool {
        if self.main.len() == 0 {
            std::mem::swap(&mut self.main, &mut self.kept);
        }
        let Some(filed) = self.main.pop() else { return false };
        let fate = self.examine(filed, keys, |facts| match uses(facts.stamp) {
            0 => (Fate::Evicted, Verdict::Evict),
            uses => (Fate::Stays, Verdict::Stamp(stamp(uses - 1, now))),
        });
        if let Fate::Stays = fate {
            let queue = if choice.next_round { &mut self.kept } else { &mut self.main };
            queue.push(filed.record, now);
        }
        matches!(fate, Fate::Evicted)
    }
}

impl Policy for Adaptive {
    fn file(&mut self, record: Record, stamp: u32, ticks: &Ticks) {
        if self.tuner.is_whole() {
            self.tuner.file(record);
        } else {
            let choice = self.tuner.choice();
            self.file_by(&choice, record, stamp);
        }
        self.count_filed(ticks);
    }

    fn evict(&mut self, keys: &mut dyn Keys, ticks: &Ticks, effort: &mut usize) -> Eviction {
        let choice = self.fit(keys, ticks);
        if self.tuner.is_whole() {
            return self.evict_as_miniature(keys, effort);
        }
        let period = if self.tuner.lags() { FAST_AGING } else { AGING };
        self.evict_from_queues(keys, &choice, period, ticks.now(), effort)
    }

    fn observe(&mut self, digest: u64, event: Event) {
        self.tuner.observe(digest, event);
    }

    fn records(&self) -> usize {
        self.tuner.held() + self.small.len() + self.main.len() + self.kept.len()
    }

    fn bytes(&self) -> usize {
        self.small.bytes() + self.main.bytes() + self.kept.bytes() + self.ghosts.bytes()
    }
}

#[cfg(test)]
mod tests;
