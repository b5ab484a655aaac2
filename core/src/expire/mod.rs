//! Expiry: the timing wheels that know when something ends, and the reaper that reclaims it.

pub(crate) mod reaper;
