//! The cache face's part of the engine: what every language's `Cache` shares.
//!
//! Loaders, decorators and codecs themselves live in the languages; [`crate::Database`] has the methods that lead here.

pub mod codec;
pub(crate) mod keys;
pub(crate) mod leases;

pub use leases::{Caller, Landing, Runner, this_thread};
