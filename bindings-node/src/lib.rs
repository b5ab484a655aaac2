//! Keystead in Node: the native half of the npm package.
//!
//! The classes that users see are JavaScript, in `lib/`; here are opening and closing, and in [`calls`] every function that is called
//! often.

mod calls;
mod handles;
mod hot;
pub mod listening;
mod loads;
mod outcome;
mod packed;
pub mod saving;
mod scratch;
mod waits;
mod wires;

use handles::Place;
use keystead::cache::check_options;
use keystead::{Config, Error, ErrorKind};
use napi::bindgen_prelude::{Env, Object};
use napi_derive::napi;

/// Adds the functions of [`calls`] to an object: the module's own, once per isolate.
#[napi(catch_unwind)]
pub fn install(env: &Env, exports: Object<'_>) -> napi::Result<()> {
    hot::install(env, &exports)
}

/// A handle on the engine of a name, on that of a folder, or on a private one; `config` is text as in valkey.conf, `options` has names and values in
/// turn; both count for the first opener. `is_cache`: there is a least memory limit.
#[napi(catch_unwind)]
#[allow(clippy::needless_pass_by_value, reason = "Node-API's arguments are values")]
pub fn open(
    name: Option<String>,
    path: Option<String>,
    config: Option<String>,
    options: Option<Vec<String>>,
    is_cache: Option<bool>,
) -> napi::Result<u32, String> {
    let opened = || {
        let chosen = Config::default();
        for pair in options.as_deref().unwrap_or_default().chunks_exact(2) {
            chosen.set_option(&pair[0], &pair[1])?;
        }
        chosen.add_text(config.unwrap_or_default().as_bytes())?;
        if is_cache == Some(true) {
            check_options(&chosen)?;
        }
        let place = match (name, path) {
            (Some(_), Some(_)) => {
                return Err(Error::new(ErrorKind::Usage, "ERR name and path exclude each other"));
            }
            (Some(name), None) => Place::Name(name),
            (None, Some(path)) => Place::Path(path.into()),
            (None, None) => Place::Own,
        };
        handles::open(place, chosen)
    };
    opened().map_err(|error| coded(&error))
}

/// Another handle, with a session of its own, on the same engine.
#[napi(catch_unwind)]
pub fn duplicate(handle: u32) -> napi::Result<u32, String> {
    handles::duplicate(handle).map_err(|error| coded(&error))
}

/// Ends a handle; says whether it was open.
#[napi(catch_unwind)]
pub fn close(handle: u32) -> bool {
    handles::close(handle)
}

/// What the engine's opening had to say of what was on disk.
#[napi(catch_unwind)]
pub fn opening_notes(handle: u32) -> napi::Result<Vec<String>, String> {
    let store = handles::find(handle).ok_or_else(|| coded(&handles::closed()))?;
    Ok(store.engine().opening_notes())
}

/// The constants of the kinds of errors, the first of which has number 1.
#[napi(catch_unwind)]
pub fn error_codes() -> Vec<String> {
    ErrorKind::ALL.iter().map(|kind| kind.constant().to_owned()).collect()
}

fn coded(error: &Error) -> napi::Error<String> {
    napi::Error::new(error.kind().constant().to_owned(), error.to_string())
}
