//! Publishing and subscribing: messages to whoever listens at the moment.
//!
//! Messages come to a session beside its replies: inline for who speaks RESP, and for everybody by `Session::next_push`.

pub(crate) mod info;
pub(crate) mod publish;
pub(crate) mod subscribe;

#[cfg(test)]
mod tests;
