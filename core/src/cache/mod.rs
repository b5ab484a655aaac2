//! The cache face's part of the engine: what every language's `Cache` shares.
//!
//! Loaders, decorators and codecs themselves live in the languages; [`crate::Database`] has the methods that lead here.

pub mod codec;
pub(crate) mod keys;
pub(crate) mod leases;

pub use leases::{Caller, Landing, Runner, this_thread};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// The least `maxmemory` of a cache, in bytes. Below it, what 256 shards keep for themselves could leave no room for a single key.
pub const LEAST_MEMORY: u64 = 512 << 10;

/// How many loads of this process others began anew because they took too long, and how many waits there are at present: by these, tests tell
/// what happened without a look at the time.
pub fn load_counts() -> (u64, usize) {
    leases::LEASES.counts()
}

/// Refuses options with which a cache could end up full and empty.
///
/// # Errors
/// There is a limit, of less than [`LEAST_MEMORY`].
pub fn check_options(config: &Config) -> Result<()> {
    match config.maxmemory() {
        0 | LEAST_MEMORY.. => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Usage,
            "ERR maxmemory of a cache must be at least 512kb, or 0 for no limit",
        )),
    }
}
