//! One miniature by itself, for tests that compare it with the policy that it stands for.

use super::{COUNT, Choice, Column, Miniature, State};

/// A miniature of so many keys, which are numbers below some bound.
pub(in crate::evict) struct Alone {
    miniature: Miniature,
    states: Vec<[State; COUNT]>,
    capacity: usize,
}

impl Alone {
    pub(in crate::evict) fn new(choice: Choice, capacity: usize, keys: usize) -> Self {
        Self { miniature: Miniature::new(choice), states: vec![Default::default(); keys], capacity }
    }

    /// Uses a key, or creates it. Says whether it was there.
    pub(in crate::evict) fn request(&mut self, key: u64) -> bool {
        let (states, capacity) = (&mut self.states[..], self.capacity);
        let (mut dropped, mut evicted) = (Vec::new(), Vec::new());
        let mut column = Column { states, number: 0, dropped: &mut dropped, evicted: &mut evicted, capacity };
        let before = self.miniature.hits;
        self.miniature.access(key as u32, &mut column);
        self.miniature.hits > before
    }

    pub(in crate::evict) fn holds(&self, key: u64) -> bool {
        self.states[key as usize][0].is_held()
    }
}
