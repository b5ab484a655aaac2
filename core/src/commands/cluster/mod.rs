//! Commands about clusters, as a server that is in none answers them.

pub(crate) mod nodes;
pub(crate) mod standalone;
