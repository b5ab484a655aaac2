//! Commands on keys of any type.

pub(crate) mod delete;
pub(crate) mod dump;
pub(crate) mod expire;
pub(crate) mod migrate;
pub(crate) mod object;
pub(crate) mod rename;
pub(crate) mod scan;
pub(crate) mod sort;
pub(crate) mod ttl;
pub(crate) mod wait;
