//! Commands about the connection, which here is a session.

pub(crate) mod client;
pub(crate) mod client_kill;
pub(crate) mod client_list;
pub(crate) mod client_modes;
pub(crate) mod client_pause;
pub(crate) mod client_tracking;
pub(crate) mod client_unblock;
pub(crate) mod hello;
pub(crate) mod ping;

#[cfg(test)]
mod tests;
