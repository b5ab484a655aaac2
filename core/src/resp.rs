//! The RESP protocol without sockets: requests in, replies out of their bytes.
//!
//! Replies are written by the command machinery's sink; reading from and writing to connections is the listener's.

mod decode;
mod inline;
mod request;
mod value;

pub(crate) use decode::{DecodeError, Decoder};
pub(crate) use inline::{UnbalancedQuotes, split_line};
pub(crate) use request::{Args, ProtocolError, RequestBuffer};
pub(crate) use value::Value;
