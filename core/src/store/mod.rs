//! The structures in memory that the keyspace and large values are both made of: memory, bucket table, timing wheel, hashed keys.
//!
//! They know neither entries nor locks; what their references mean is their user's affair.

pub(crate) mod collection;
pub(crate) mod key;
pub(crate) mod memory;
mod random;
pub(crate) mod sequence;
pub(crate) mod table;
pub(crate) mod wheel;

pub use key::{HashSeed, Key};
pub(crate) use random::random;
#[cfg(test)]
pub(crate) use random::seed_random;
