//! Miniature caches: every choice of the adaptive policy tried out on a sample of the keys.
//!
//! Keys are sampled by their hash (SHARDS, Waldspurger et al., FAST 2015): all uses of a sampled key are seen, none of any other, and a cache
//! of `share * keys` entries fed with them has nearly the hit ratio of the whole one. The miniatures hold up to [`ENTRIES`] keys each; a
//! cache of fewer keys is simulated whole. They hold no values, and one table of keys serves all of them.
//!
//! Hits count with a weight that halves in about eight turnovers of a miniature, so that a change of regime is followed within a few
//! turnovers. A switch moves nothing at once: the queues drift to the new proportions as keys are evicted.
//!
//! **A switch has its price**: a miniature has always lived by its choice, the cache has not, and loses the keys that the other proportions
//! have no room for. So another choice must have gained as many hits over the present one as it displaces keys, each of which may have
//! been one (as in ski rental, this costs at most twice what knowing the future would), and more than the chance of the sample. Without
//! this, choices that do equally well were exchanged for each other, at up to 4 points of hit ratio.
//!
//! The choices see the same keys, so what sampling gets wrong, it gets wrong for all of them. Keys count alike whatever their size.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::Event;
use super::adaptive::{AGING, CHOICES, Choice, FIRST_CHOICE, MOST_GHOSTS, MOST_USES, small_part};
use super::ticks::Ticks;

/// Keys that a miniature holds at most, about.
const ENTRIES: usize = 1024;
/// Uses after which the choices are compared, as a part of a miniature's keys.
const EPOCH: f64 = 0.25;
/// What is left of earlier hits at each comparison.
const MEMORY: f64 = 0.98;
const COUNT: usize = CHOICES.len();

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Tuner {
    miniatures: Vec<Miniature>,
    /// The place of each key that any miniature remembers.
    places: HashMap<u64, u32, foldhash::fast::FixedState>,
    keys: Vec<u64>,
    free: Vec<u32>,
    /// What each miniature knows of the key at a place.
    states: Vec<[State; COUNT]>,
    /// Sampled part of the keys; 0 before the first eviction.
    share: f64,
    capacity: usize,
    seen: usize,
    scores: [f64; COUNT],
    best: usize,
    /// Hits of the cache itself on sampled keys, since the last comparison and in all, weighted as the scores are.
    real_hits: f64,
    real_score: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Where {
    #[default]
    Nowhere,
    Small,
    Main,
    Ghost,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    at: Where,
    uses: u8,
    /// Removed by a command, but still in its queue.
    removed: bool,
    /// When it was filed, in keys filed; of a ghost, when it was evicted, in ghosts.
    time: u32,
}

/// One cache without values. Mirrors what [`super::adaptive`] does.
#[derive(Debug)]
struct Miniature {
    choice: Choice,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    kept: VecDeque<u32>,
    ghosts: VecDeque<(u32, u32)>,
    filed: u32,
    evictions: u32,
    evicted: u32,
    hits: f64,
}

/// What a miniature works on: the states of its column, and the places it has let go.
struct Column<'t> {
    states: &'t mut [[State; COUNT]],
    number: usize,
    dropped: &'t mut Vec<u32>,
    capacity: usize,
}

impl Column<'_> {
    fn state(&mut self, place: u32) -> &mut State {
        &mut self.states[place as usize][self.number]
    }

    fn drop_key(&mut self, place: u32) {
        *self.state(place) = State::default();
        self.dropped.push(place);
    }
}

impl Miniature {
    fn new(choice: Choice) -> Self {
        Self {
            choice,
            small: VecDeque::new(),
            main: VecDeque::new(),
            kept: VecDeque::new(),
            ghosts: VecDeque::new(),
            filed: 0,
            evictions: 0,
            evicted: 0,
            hits: 0.0,
        }
    }

    fn access(&mut self, place: u32, column: &mut Column<'_>) {
        let (filed, evicted) = (self.filed, self.evicted);
        let window = (small_part(&self.choice, column.capacity) / 2) as u32;
        let remembered = (self.choice.ghosts * column.capacity as f64) as u32;
        let state = column.state(place);
        match state.at {
            Where::Small | Where::Main if state.removed => {
                *state = State { removed: false, uses: 0, time: filed, ..*state };
            }
            Where::Small | Where::Main => {
                if filed.wrapping_sub(state.time) > window && state.uses < MOST_USES {
                    state.uses += 1;
                }
                self.hits += 1.0;
            }
            at => {
                let came_back = at == Where::Ghost && evicted.wrapping_sub(state.time) <= remembered;
                // No ghost any more: making room must not drop the place.
                state.at = Where::Nowhere;
                self.make_room(column);
                self.filed = self.filed.wrapping_add(1);
                let (at, queue) =
                    if came_back { (Where::Main, &mut self.main) } else { (Where::Small, &mut self.small) };
                queue.push_back(place);
                *column.state(place) = State { at, time: self.filed, ..State::default() };
            }
        }
    }

    fn make_room(&mut self, column: &mut Column<'_>) {
        let part = small_part(&self.choice, column.capacity);
        let mut ages = false;
        if self.small.len() + self.main.len() + self.kept.len() >= column.capacity {
            self.evictions = self.evictions.wrapping_add(1);
            ages = self.evictions.is_multiple_of(AGING);
        }
        while self.small.len() + self.main.len() + self.kept.len() >= column.capacity {
            let small = self.small.len() >= part && !std::mem::take(&mut ages);
            if small || self.main.len() + self.kept.len() == 0 {
                self.turn_small(column);
            } else {
                self.turn_main(column);
            }
        }
    }

    fn turn_small(&mut self, column: &mut Column<'_>) {
        let Some(place) = self.small.pop_front() else { return };
        let state = column.state(place);
        if state.removed {
            column.drop_key(place);
        } else if state.uses >= self.choice.promote_at {
            *state = State { at: Where::Main, time: self.filed, ..State::default() };
            self.main.push_back(place);
        } else {
            self.evicted = self.evicted.wrapping_add(1);
            *state = State { at: Where::Ghost, time: self.evicted, ..State::default() };
            self.ghosts.push_back((place, self.evicted));
            self.forget_ghosts(column);
        }
    }

    fn forget_ghosts(&mut self, column: &mut Column<'_>) {
        let remembered = (MOST_GHOSTS.min(self.choice.ghosts) * column.capacity as f64) as u32;
        while let Some(&(place, time)) = self.ghosts.front()
            && self.evicted.wrapping_sub(time) > remembered
        {
            self.ghosts.pop_front();
            let state = column.state(place);
            if state.at == Where::Ghost && state.time == time {
                column.drop_key(place);
            }
        }
    }

    fn turn_main(&mut self, column: &mut Column<'_>) {
        if self.main.is_empty() {
            std::mem::swap(&mut self.main, &mut self.kept);
        }
        let Some(place) = self.main.pop_front() else { return };
        let state = column.state(place);
        if state.uses == 0 || state.removed {
            column.drop_key(place);
            return;
        }
        *state = State { uses: state.uses - 1, time: self.filed, ..*state };
        let queue = if self.choice.next_round { &mut self.kept } else { &mut self.main };
        queue.push_back(place);
    }
}

impl Tuner {
    pub(crate) fn new() -> Self {
        Self {
            miniatures: Vec::new(),
            places: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            keys: Vec::new(),
            free: Vec::new(),
            states: Vec::new(),
            share: 0.0,
            capacity: 0,
            seen: 0,
            scores: [0.0; COUNT],
            best: FIRST_CHOICE,
            real_hits: 0.0,
            real_score: 0.0,
        }
    }

    /// The choice that does best of late.
    pub(crate) fn choice(&self) -> Choice {
        CHOICES[self.best]
    }

    /// Fits the miniatures to a cache in which this many keys fit. Begins them anew, the scores kept, if they would be far too small
    /// or too large.
    pub(crate) fn fit(&mut self, keys: usize, ticks: &Ticks) {
        let capacity = keys as f64 * self.share;
        let most = 2 * ENTRIES;
        let too_small = self.share < 1.0 && capacity < (ENTRIES / 2) as f64;
        if self.share == 0.0 || too_small || capacity > most as f64 {
            let Self { scores, best, real_score, .. } = *self;
            let share = (ENTRIES as f64 / keys as f64).min(1.0);
            *self = Self { share, scores, best, real_score, ..Self::new() };
            self.miniatures = CHOICES.iter().map(|choice| Miniature::new(*choice)).collect();
            ticks.set_sampled_share(self.share);
        }
        self.capacity = ((keys as f64 * self.share).round() as usize).max(1);
    }

    /// Learns that a sampled key was used, or is gone.
    pub(crate) fn observe(&mut self, key: u64, event: Event) {
        if self.share == 0.0 {
            return;
        }
        if event == Event::Removed {
            self.remove(key);
            return;
        }
        self.real_hits += f64::from(u8::from(event == Event::Used));
        let place = self.place(key);
        let mut dropped = Vec::new();
        for (number, miniature) in self.miniatures.iter_mut().enumerate() {
            let capacity = self.capacity;
            let mut column = Column { states: &mut self.states, number, dropped: &mut dropped, capacity };
            miniature.access(place, &mut column);
        }
        dropped.into_iter().for_each(|place| self.release(place));
        self.seen += 1;
        if self.seen as f64 >= EPOCH * self.capacity as f64 {
            self.compare();
        }
    }

    fn place(&mut self, key: u64) -> u32 {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.keys[place as usize] = key;
                place
            }
            None => {
                self.keys.push(key);
                self.states.push(Default::default());
                self.keys.len() as u32 - 1
            }
        };
        self.places.insert(key, place);
        place
    }

    /// Gives a place free that no miniature needs any more.
    fn release(&mut self, place: u32) {
        let forgotten = self.states[place as usize].iter().all(|state| state.at == Where::Nowhere);
        let key = self.keys[place as usize];
        if forgotten && self.places.get(&key) == Some(&place) {
            self.places.remove(&key);
            self.free.push(place);
        }
    }

    fn remove(&mut self, key: u64) {
        let Some(place) = self.places.get(&key) else { return };
        for state in &mut self.states[*place as usize] {
            state.removed = matches!(state.at, Where::Small | Where::Main);
        }
    }

    /// Whether the cache does clearly worse than the miniature it follows: by more than a fifth and more than chance explains.
    pub(crate) fn lags(&self) -> bool {
        let promised = self.scores[self.best];
        promised - self.real_score > promised * 0.2 + 4.0 * promised.sqrt()
    }

    fn compare(&mut self) {
        self.seen = 0;
        self.real_score = self.real_score * MEMORY + std::mem::take(&mut self.real_hits);
        for (score, miniature) in self.scores.iter_mut().zip(&mut self.miniatures) {
            *score = *score * MEMORY + std::mem::take(&mut miniature.hits);
        }
        let gain = |number: usize| self.scores[number] - self.scores[self.best] - self.price(number);
        let number = (0..COUNT).max_by(|one, other| gain(*one).total_cmp(&gain(*other)));
        self.best = number.filter(|number| gain(*number) > 0.0).unwrap_or(self.best);
    }

    /// Hits that a choice must be ahead by to be worth the change.
    fn price(&self, number: usize) -> f64 {
        let moved = (CHOICES[number].small - CHOICES[self.best].small).abs();
        let chance = self.scores[self.best].sqrt();
        moved * self.capacity as f64 + chance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuner(keys: usize) -> (Tuner, Ticks) {
        let ticks = Ticks::default();
        let mut tuner = Tuner::new();
        tuner.fit(keys, &ticks);
        (tuner, ticks)
    }

    #[test]
    fn a_loop_a_little_too_long_asks_for_a_suspicious_choice() {
        let (mut tuner, _) = tuner(500);
        for use_ in 0..100_000u64 {
            tuner.observe(use_ % 550, Event::Used);
        }
        assert!(tuner.choice().small <= 0.2, "{:?}", tuner.choice());
    }

    #[test]
    fn keys_used_soon_or_never_ask_for_a_large_small_queue() {
        let (mut tuner, _) = tuner(500);
        // Every key comes back twice, about 300 new keys later, and never again.
        for use_ in 0..100_000u64 {
            tuner.observe(use_, Event::Used);
            for back in [300, 310] {
                tuner.observe(use_.saturating_sub(back), Event::Used);
            }
        }
        assert!(tuner.choice().small > 0.5, "{:?}", tuner.choice());
    }

    #[test]
    fn choices_that_do_equally_well_are_not_exchanged() {
        let (mut tuner, _) = tuner(500);
        let mut switches = 0;
        let mut random = 1u64;
        // All keys are used alike: whatever a cache keeps, what differs is chance.
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let before = tuner.best;
            tuner.observe(random >> 54, Event::Used);
            switches += u32::from(tuner.best != before);
        }
        assert!(switches <= 1, "{switches}");
    }

    #[test]
    fn places_are_used_again_and_removed_keys_are_misses() {
        let (mut tuner, ticks) = tuner(64);
        for use_ in 0..10_000u64 {
            tuner.observe(use_, Event::Used);
            tuner.observe(use_, Event::Removed);
        }
        assert!(tuner.keys.len() < 64 * 4, "{}", tuner.keys.len());
        assert!(tuner.scores.iter().all(|score| *score == 0.0), "{:?}", tuner.scores);
        tuner.observe(9_999, Event::Used);
        assert!(tuner.miniatures.iter().all(|miniature| miniature.hits == 0.0));
        tuner.observe(9_999, Event::Used);
        assert!(tuner.miniatures.iter().all(|miniature| miniature.hits == 1.0));
        tuner.fit(100_000, &ticks);
        assert!(tuner.keys.is_empty() && tuner.capacity == ENTRIES);
    }
}
