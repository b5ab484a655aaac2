//! The RESP protocol without sockets: requests in, replies out of their bytes.
//!
//! Replies are written by the command machinery's sink; reading from and writing to connections is the listener's.

#[cfg(any(test, debug_assertions, feature = "fuzzing", feature = "remote"))]
mod decode;
mod inline;
mod request;
#[cfg(any(test, debug_assertions, feature = "fuzzing", feature = "remote"))]
mod value;

#[cfg(any(debug_assertions, feature = "fuzzing", feature = "remote"))]
pub(crate) use decode::Decoder;
pub(crate) use inline::{UnbalancedQuotes, split_line};
pub(crate) use request::RequestBuffer;
#[cfg(feature = "listener")]
pub(crate) use request::Room;
#[cfg(any(debug_assertions, feature = "fuzzing", feature = "remote"))]
pub(crate) use value::Value;
