//! Tests of miniatures: which choice they come to, what a cache that is sampled whole holds, and what they remember.

use super::*;

fn record(key: u64) -> Record {
    let mixed = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Record::new(mixed ^ mixed >> 29, 0)
}

/// A cache of so many keys, all of them sampled.
struct Small {
    tuner: Tuner,
    capacity: usize,
}

impl Small {
    fn new(capacity: usize) -> Self {
        let mut tuner = Tuner::new();
        tuner.begin(capacity, &Ticks::default());
        Self { tuner, capacity }
    }

    fn place(&self, key: u64) -> Option<u32> {
        self.tuner.places.get(&record(key).digest()).copied()
    }

    fn has(&self, key: u64) -> bool {
        self.place(key).is_some_and(|place| self.tuner.cache.as_ref().unwrap().holds(place))
    }

    /// Whether the best miniature has it.
    fn should_have(&self, key: u64) -> bool {
        self.place(key).is_some_and(|place| self.tuner.states[place as usize][self.tuner.best].is_held())
    }

    /// Uses a key, or creates it. Says whether it was there.
    fn request(&mut self, key: u64) -> bool {
        let has = self.has(key);
        if has {
            self.tuner.observe(record(key).digest(), Event::Used);
        } else {
            while self.tuner.held() >= self.capacity {
                let victim = self.tuner.next_victim().expect("one key is too many");
                self.tuner.gone(victim);
            }
            self.tuner.file(record(key));
        }
        has
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *state >> 33
}

#[test]
fn a_loop_a_little_too_long_asks_for_a_suspicious_choice() {
    let mut cache = Small::new(500);
    for use_ in 0..100_000 {
        cache.request(use_ % 550);
    }
    assert!(cache.tuner.choice().small <= 0.2, "{:?}", cache.tuner.choice());
}

#[test]
fn keys_used_soon_or_never_ask_for_a_large_small_queue() {
    let mut cache = Small::new(500);
    // Every key comes back twice, about 300 new keys later, and never again.
    for use_ in 0..100_000u64 {
        cache.request(use_);
        for back in [300, 310] {
            cache.request(use_.saturating_sub(back));
        }
    }
    assert!(cache.tuner.choice().small > 0.5, "{:?}", cache.tuner.choice());
}

#[test]
fn choices_that_do_equally_well_are_not_exchanged() {
    let mut cache = Small::new(500);
    let (mut switches, mut state) = (0, 1);
    // All keys are used alike: whatever a cache keeps, what differs is chance.
    for _ in 0..200_000 {
        let before = cache.tuner.best;
        cache.request(random(&mut state) % 1024);
        switches += u32::from(cache.tuner.best != before);
    }
    assert!(switches <= 1, "{switches}");
}

#[test]
fn a_cache_that_is_sampled_whole_comes_to_hold_what_the_best_miniature_does() {
    let mut cache = Small::new(200);
    let (mut state, mut switched_at, mut switches) = (1, 0, 0);
    for at in 0..60_000_u64 {
        let before = cache.tuner.best;
        // Loops and recency in turns.
        cache.request(match at / 10_000 % 2 {
            0 => at % 230,
            _ => at / 3 - random(&mut state) % 150,
        });
        if at % 50 == 0 && random(&mut state).is_multiple_of(8) {
            let key = at % 230;
            cache.tuner.observe(record(key).digest(), Event::Removed);
            assert!(!cache.has(key));
        }
        if cache.tuner.best != before {
            (switched_at, switches) = (at, switches + 1);
        }
        let inner = cache.tuner.cache.as_ref().unwrap();
        assert_eq!(inner.count, inner.records.iter().flatten().count());
        let may_go = |place: &u32| inner.victims.contains(place);
        if at % 100 == 0 {
            for key in (0..at + 230).filter(|key| cache.has(*key)) {
                assert!(cache.should_have(key) || may_go(&cache.place(key).unwrap()), "{at}: {key}");
            }
        }
        if at % 1000 == 999 && at - switched_at > 3_000 {
            let missing = (0..at).filter(|key| cache.should_have(*key) && !cache.has(*key)).count();
            assert!(missing <= 5, "{missing} at {at}");
        }
    }
    assert!((2..10).contains(&switches), "{switches}");
}

#[test]
fn victims_that_nobody_asks_for_do_not_pile_up() {
    let mut cache = Small::new(100);
    for key in 0..50_000 {
        cache.tuner.file(record(key));
        // Half go by a command, the others are used again.
        cache.tuner.observe(record(key / 2 * 2).digest(), Event::Removed);
        cache.tuner.observe(record(key % 301 * 2 + 1).digest(), Event::Used);
    }
    let inner = cache.tuner.cache.as_ref().unwrap();
    assert!(inner.count == 25_000 && inner.victims.len() <= 2 * inner.count + ENTRIES);
    let mut cache = Small::new(100);
    for key in 0..50_000 {
        cache.tuner.file(record(key % 150));
    }
    let inner = cache.tuner.cache.as_ref().unwrap();
    assert!(inner.count == 150 && inner.victims.len() <= 300 + ENTRIES, "{}", inner.victims.len());
}

#[test]
fn the_last_key_can_be_evicted() {
    let mut cache = Small::new(1);
    assert!(cache.tuner.next_victim().is_none());
    cache.tuner.file(record(1));
    let victim = cache.tuner.next_victim().unwrap();
    assert_eq!(victim, record(1));
    cache.tuner.gone(victim);
    assert!(cache.tuner.held() == 0 && cache.tuner.next_victim().is_none());
    assert!(!cache.request(1) && cache.request(1) && !cache.request(2) && !cache.request(1));
}

#[test]
fn places_are_used_again_and_removed_keys_are_misses() {
    let ticks = Ticks::default();
    let mut tuner = Tuner::new();
    tuner.begin(64 * ENTRIES, &ticks);
    assert!(!tuner.is_whole());
    tuner.capacity = 64;
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
    assert!(!tuner.fit(ENTRIES / 4) && !tuner.fit(200 * ENTRIES) && tuner.fit(100 * ENTRIES));
    tuner.begin(100 * ENTRIES, &ticks);
    assert!(tuner.keys.is_empty() && tuner.capacity == ENTRIES);
}
