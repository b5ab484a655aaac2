//! Miniature caches: every choice of the adaptive policy tried out on a sample of the keys.
//!
//! Keys are sampled by their hash (SHARDS, Waldspurger et al., FAST 2015): all uses of a sampled key are seen, none of any other, and a cache
//! of `share * keys` entries fed with them has nearly the hit ratio of the whole one. The miniatures hold up to [`ENTRIES`] keys each. They
//! hold no values, and one table of keys serves all of them.
//!
//! Hits count with a weight that halves in about eight turnovers of a miniature, so that a change of regime is followed within a few, and with
//! one that halves in some 170, since a small lead becomes worth a change only in time. A switch moves nothing at once: the queues drift to
//! the new proportions as keys are evicted.
//!
//! **A cache of fewer keys** is simulated whole, so its miniatures know more than which choice is best: what the best one holds. Such a cache keeps no
//! queues ([`Cache`]) and evicts what the best miniature has evicted; after a switch, what the new one does not hold. It is then soon the same as if
//! it had always lived by that choice, where queues of its own would still hold the past: on one trace the hits that the miniature had and the
//! cache had not were a tenth.
//!
//! **A switch has its price**: a miniature has always lived by its choice, the cache has not, and loses the keys that the other proportions
//! have no room for. So another choice must have gained as many hits over the present one as it displaces keys, each of which may have
//! been one (as in ski rental, this costs at most twice what knowing the future would), and more than the chance of the sample: of late, or in
//! the long run while it leads of late. Without this, choices that do equally well were exchanged for each other, at up to 4 points of hit ratio.
//!
//! The choices see the same keys, so what sampling gets wrong, it gets wrong for all of them. Keys count alike whatever their size.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::Event;
use super::adaptive::{AGING, CHOICES, Choice, FIRST_CHOICE, MOST_GHOSTS, MOST_USES, small_part};
use super::records::Record;
use super::ticks::Ticks;

/// Keys that a miniature holds at most, about.
const ENTRIES: usize = 1024;
/// Uses after which the choices are compared, as a part of a miniature's keys.
const EPOCH: f64 = 0.25;
/// What is left of earlier hits at each comparison, where those of late count, and in the long run.
const MEMORY: f64 = 0.98;
const LONG_MEMORY: f64 = 0.999;
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
    /// Hits of late, and in the long run.
    scores: [f64; COUNT],
    long_scores: [f64; COUNT],
    best: usize,
    /// Hits of the cache itself on sampled keys, since the last comparison and in all, weighted as the scores are.
    real_hits: f64,
    real_score: f64,
    /// The keys of the cache, if all of them are sampled.
    cache: Option<Cache>,
}

/// A cache whose keys are all sampled, so that it can do what the best miniature does.
#[derive(Debug, Default)]
struct Cache {
    /// The record of the key at each place, if the cache holds it.
    records: Vec<Option<Record>>,
    count: usize,
    /// Places of keys that the best miniature may have evicted: all that it does not hold are among them.
    victims: VecDeque<u32>,
}

impl Cache {
    fn record(&mut self, place: u32) -> &mut Option<Record> {
        let place = place as usize;
        if place >= self.records.len() {
            self.records.resize(place + 1, None);
        }
        &mut self.records[place]
    }

    fn holds(&self, place: u32) -> bool {
        self.records.get(place as usize).is_some_and(Option::is_some)
    }
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

impl State {
    fn is_held(self) -> bool {
        matches!(self.at, Where::Small | Where::Main) && !self.removed
    }
}

/// One cache without values. Does what [`super::adaptive`] does with its queues: a test there holds them together.
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
    evicted: &'t mut Vec<u32>,
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
        let filed = self.filed;
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
                let evicted_at = (at == Where::Ghost).then_some(state.time);
                // No ghost any more: making room must not drop the place.
                state.at = Where::Nowhere;
                self.make_room(column, 1);
                let came_back = evicted_at.is_some_and(|at| self.evicted.wrapping_sub(at) <= remembered);
                let to_main = came_back || self.choice.favours(filed);
                let (at, queue) =
                    if to_main { (Where::Main, &mut self.main) } else { (Where::Small, &mut self.small) };
                queue.push_back(place);
                *column.state(place) = State { at, time: filed, ..State::default() };
                self.filed = filed.wrapping_add(1);
            }
        }
    }

    fn len(&self) -> usize {
        self.small.len() + self.main.len() + self.kept.len()
    }

    /// Evicts until so many more keys fit, or none is left.
    fn make_room(&mut self, column: &mut Column<'_>, more: usize) {
        let part = small_part(&self.choice, column.capacity);
        let capacity = column.capacity;
        let is_full = |this: &Self| this.len() > 0 && this.len() + more > capacity;
        let mut ages = false;
        if is_full(self) {
            self.evictions = self.evictions.wrapping_add(1);
            ages = self.evictions.is_multiple_of(AGING);
        }
        while is_full(self) {
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
            column.evicted.push(place);
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
            column.evicted.push(place);
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
            long_scores: [0.0; COUNT],
            best: FIRST_CHOICE,
            real_hits: 0.0,
            real_score: 0.0,
            cache: None,
        }
    }

    /// The choice that does best of late.
    pub(crate) fn choice(&self) -> Choice {
        CHOICES[self.best]
    }

    /// Fits the miniatures to a cache in which this many keys fit; false if they are far too small or too large for it.
    pub(crate) fn fit(&mut self, keys: usize) -> bool {
        let capacity = keys as f64 * self.share;
        let too_small = self.share < 1.0 && capacity < (ENTRIES / 2) as f64;
        if self.share == 0.0 || too_small || capacity > 2.0 * ENTRIES as f64 {
            return false;
        }
        self.capacity = (capacity.round() as usize).max(1);
        true
    }

    /// Begins anew for a cache in which this many keys fit, the scores kept. If all its keys are sampled, those that it holds are to be
    /// [filed](Tuner::file) again.
    pub(crate) fn begin(&mut self, keys: usize, ticks: &Ticks) {
        let Self { scores, long_scores, best, real_score, .. } = *self;
        let share = (ENTRIES as f64 / keys as f64).min(1.0);
        let cache = (share == 1.0).then(Cache::default);
        *self = Self { share, scores, long_scores, best, real_score, cache, ..Self::new() };
        self.miniatures = CHOICES.iter().map(|choice| Miniature::new(*choice)).collect();
        self.fit(keys);
        ticks.set_sampled_share(self.share);
    }

    /// Whether all keys are sampled: the cache then evicts what the [best miniature does](Tuner::next_victim).
    pub(crate) fn is_whole(&self) -> bool {
        self.cache.is_some()
    }

    /// Keys that a cache holds whose keys are all sampled.
    pub(crate) fn held(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.count)
    }

    /// Learns that a key was created, in a cache whose keys are all sampled.
    pub(crate) fn file(&mut self, record: Record) {
        let place = self.place(record.digest());
        if let Some(cache) = &mut self.cache {
            let is_new = cache.record(place).replace(record).is_none();
            cache.count += usize::from(is_new);
        }
        self.access(place);
    }

    /// What the best miniature has evicted of what the cache holds. [`Tuner::gone`] must follow.
    pub(crate) fn next_victim(&mut self) -> Option<Record> {
        self.capacity = self.held().saturating_sub(1);
        loop {
            let cache = self.cache.as_mut()?;
            let Some(place) = cache.victims.pop_front() else {
                self.each(|miniature, column| miniature.make_room(column, 0));
                if self.cache.as_ref()?.victims.is_empty() {
                    return None;
                }
                continue;
            };
            let record = *cache.record(place);
            if record.is_some() && !self.states[place as usize][self.best].is_held() {
                return record;
            }
        }
    }

    /// Learns that the cache does not hold a key any more.
    pub(crate) fn gone(&mut self, record: Record) {
        if let Some(place) = self.places.get(&record.digest()).copied() {
            self.forget(place);
        }
    }

    /// The cache does not hold the key at this place any more.
    fn forget(&mut self, place: u32) {
        if let Some(cache) = &mut self.cache
            && cache.record(place).take().is_some()
        {
            cache.count -= 1;
        }
        self.release(place);
    }

    /// Takes out all records of a cache whose keys are all sampled, those first that should go first, with whether they belong to the main
    /// queue.
    pub(crate) fn take_records(&mut self) -> Vec<(Record, bool)> {
        let Some(mut cache) = self.cache.take() else { return Vec::new() };
        let best = &self.miniatures[self.best];
        let others = 0..self.states.len() as u32;
        let others = others.filter(|place| !self.states[*place as usize][self.best].is_held());
        let small = others.chain(best.small.iter().copied()).map(|place| (place, false));
        let main = best.main.iter().chain(&best.kept).map(|place| (*place, true));
        small.chain(main).filter_map(|(place, main)| Some((cache.record(place).take()?, main))).collect()
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
        if self.cache.is_none() {
            let place = self.place(key);
            self.real_hits += f64::from(u8::from(event == Event::Used));
            self.access(place);
        } else if event == Event::Used
            && let Some(place) = self.places.get(&key).copied()
            && self.cache.as_ref().is_some_and(|cache| cache.holds(place))
        {
            // Keys that are created are filed.
            self.access(place);
        }
    }

    fn access(&mut self, place: u32) {
        self.each(|miniature, column| miniature.access(place, column));
        self.seen += 1;
        if self.seen as f64 >= EPOCH * self.capacity as f64 {
            self.compare();
        }
    }

    /// Has every miniature do something, and takes note of what they let go.
    fn each(&mut self, mut act: impl FnMut(&mut Miniature, &mut Column<'_>)) {
        let (mut dropped, mut evicted) = (Vec::new(), Vec::new());
        for (number, miniature) in self.miniatures.iter_mut().enumerate() {
            evicted.clear();
            let (states, capacity) = (&mut self.states[..], self.capacity);
            let mut column =
                Column { states, number, dropped: &mut dropped, evicted: &mut evicted, capacity };
            act(miniature, &mut column);
            if let Some(cache) = self.cache.as_mut().filter(|_| number == self.best) {
                evicted.retain(|place| cache.holds(*place));
                cache.victims.extend(&evicted);
            }
        }
        dropped.into_iter().for_each(|place| self.release(place));
        // Where keys come and go by commands, nobody asks for victims, and some are evicted again and again.
        if self.cache.as_ref().is_some_and(|cache| cache.victims.len() > 2 * cache.count + ENTRIES) {
            self.find_victims();
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
        let is_held = self.cache.as_ref().is_some_and(|cache| cache.holds(place));
        let forgotten =
            !is_held && self.states[place as usize].iter().all(|state| state.at == Where::Nowhere);
        let key = self.keys[place as usize];
        if forgotten && self.places.get(&key) == Some(&place) {
            self.places.remove(&key);
            self.free.push(place);
        }
    }

    fn remove(&mut self, key: u64) {
        let Some(place) = self.places.get(&key).copied() else { return };
        for state in &mut self.states[place as usize] {
            state.removed = matches!(state.at, Where::Small | Where::Main);
        }
        self.forget(place);
    }

    /// Whether the cache does clearly worse than the miniature it follows: by more than a fifth and more than chance explains.
    pub(crate) fn lags(&self) -> bool {
        if self.is_whole() {
            return false;
        }
        let promised = self.scores[self.best];
        promised - self.real_score > promised * 0.2 + 4.0 * promised.sqrt()
    }

    fn compare(&mut self) {
        self.seen = 0;
        self.real_score = self.real_score * MEMORY + std::mem::take(&mut self.real_hits);
        for (number, miniature) in self.miniatures.iter_mut().enumerate() {
            let hits = std::mem::take(&mut miniature.hits);
            self.scores[number] = self.scores[number] * MEMORY + hits;
            self.long_scores[number] = self.long_scores[number] * LONG_MEMORY + hits;
        }
        let gain = |number: usize| {
            let of_late = self.gain(number, &self.scores);
            let leads = self.scores[number] > self.scores[self.best];
            if leads { of_late.max(self.gain(number, &self.long_scores)) } else { of_late }
        };
        let most =
            (0..COUNT).map(|number| (gain(number), number)).max_by(|one, other| one.0.total_cmp(&other.0));
        let best = most.filter(|(gain, _)| *gain > 0.0).map_or(self.best, |(_, number)| number);
        if std::mem::replace(&mut self.best, best) != best {
            self.find_victims();
        }
    }

    /// The keys of the cache that the best miniature does not hold.
    fn find_victims(&mut self) {
        let Some(cache) = &mut self.cache else { return };
        let places = 0..self.states.len() as u32;
        let is_held = |place: &u32| self.states[*place as usize][self.best].is_held();
        cache.victims = places.filter(|place| cache.holds(*place) && !is_held(place)).collect();
    }

    /// Hits by which a choice is ahead of the present one beyond what the change costs.
    fn gain(&self, number: usize, scores: &[f64; COUNT]) -> f64 {
        let moved = (CHOICES[number].small - CHOICES[self.best].small).abs() * self.capacity as f64;
        let chance = scores[self.best].sqrt();
        scores[number] - scores[self.best] - moved - chance
    }
}

#[cfg(test)]
pub(super) mod alone;
#[cfg(test)]
mod tests;
