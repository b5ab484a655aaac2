//! Random numbers for sampling: fast, never secret.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = Cell::new({
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0) | 1
    });
}

/// Has this thread draw the same numbers again and again.
#[cfg(test)]
pub(crate) fn seed_random(seed: u64) {
    STATE.set(seed | 1);
}

/// 64 random bits from a per-thread xorshift generator (Marsaglia 2003): for sampling, never for secrets.
pub(crate) fn random() -> u64 {
    STATE.with(|state| {
        let mut next = state.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.set(next);
        next.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}
