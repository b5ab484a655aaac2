//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! A transaction locks the shards of all its keys, then runs its commands one after the other; nobody sees it half done.

pub(crate) mod exec;
pub(crate) mod multi;
pub(crate) mod watch;
