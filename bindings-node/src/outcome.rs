//! What calls come to: a value, an error of the engine, or an exception that Node has already.
//!
//! How errors are thrown is `hot.rs`'s.

use keystead::{Error, ErrorKind};
use napi::sys;

/// Why a callback returns no value.
pub enum Failure {
    /// Node has an exception pending, or refused a call.
    Pending,
    /// The engine, or a check of the arguments, said no.
    Engine(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Engine(error)
    }
}

/// A misuse of the interface.
pub fn usage(text: &'static str) -> Failure {
    Failure::Engine(Error::new(ErrorKind::Usage, text))
}

/// The system has no memory for a copy of an argument.
pub fn out_of_memory(_: std::collections::TryReserveError) -> Failure {
    Failure::Engine(Error::no_memory())
}

/// A result of a callback, or of a step in it.
pub type Outcome<T = sys::napi_value> = Result<T, Failure>;

/// What is no key or value.
pub const MISUSED: &str = "ERR a key or value must be a string, a Buffer or a Uint8Array";
/// What UTF-8 can't say.
pub const SURROGATE: &str = "ERR a string with a lone surrogate has no UTF-8 form";

/// A number that is an integer no larger than numbers can hold exactly.
///
/// # Errors
/// It is another.
pub fn whole(number: f64) -> Outcome<i64> {
    let whole = number as i64;
    if whole as f64 == number && number.abs() < 9_007_199_254_740_992.0 {
        Ok(whole)
    } else {
        Err(usage("ERR value is not an integer or out of range"))
    }
}
