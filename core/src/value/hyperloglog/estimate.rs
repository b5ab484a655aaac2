//! How many elements a sketch has seen.
//!
//! The estimator is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6. It needs only how many
//! registers hold each rank, and neither constants that were fitted nor a threshold. The order of its operations decides about the last digit, so it
//! is kept.

use super::{INDEX_BITS, REGISTERS, Registers};

/// Greatest rank that a hash can have is one more.
const BITS: usize = (u64::BITS - INDEX_BITS) as usize;

/// Limit of the bias factor for many registers: 1 / (2 ln 2).
const ALPHA: f64 = 0.5 / std::f64::consts::LN_2;

/// How many registers hold each value of six bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Histogram([u32; 64]);

impl Histogram {
    /// Of no register.
    pub(super) fn new() -> Self {
        Self([0; 64])
    }

    /// Of all of these. O(registers).
    pub(super) fn of(registers: &Registers) -> Self {
        // Four counters each, so that equal neighbours do not wait for each other's count.
        let mut parts = [[0_u32; 64]; 4];
        let (groups, _) = registers.as_chunks::<4>();
        for group in groups {
            for (part, register) in parts.iter_mut().zip(group) {
                part[usize::from(register & 63)] += 1;
            }
        }
        let mut sums = Self::new();
        for part in &parts {
            sums.0.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// Counts so many registers with a rank.
    pub(super) fn add(&mut self, rank: u8, registers: usize) {
        self.0[usize::from(rank & 63)] += registers as u32;
    }

    fn count(&self, rank: usize) -> f64 {
        f64::from(self.0[rank])
    }

    /// The number of distinct elements, estimated: the standard error is 0.81 %. O(64).
    ///
    /// What no element can have led to may come to more than 63 bits; that is the number whose highest bit alone is set, as in the server.
    pub(super) fn estimate(&self) -> u64 {
        const M: f64 = REGISTERS as f64;
        let mut z = M * tau((M - self.count(BITS + 1)) / M);
        for rank in (1..=BITS).rev() {
            z = (z + self.count(rank)) * 0.5;
        }
        z += M * sigma(self.count(0) / M);
        let estimate = (ALPHA * M * M / z).round();
        const BEYOND: f64 = (1_u64 << 63) as f64;
        if estimate < BEYOND { estimate as u64 } else { 1 << 63 }
    }
}

/// What registers of the greatest rank contribute.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = x.sqrt();
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// What registers of rank 0 contribute.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}
