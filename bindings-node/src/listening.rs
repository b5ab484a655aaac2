//! Listeners: an engine's port for clients of other processes, behind `lib/listener.cjs`; and the command line of `npx keystead`.
//!
//! What is served, and how, is the engine's affair. What may take long is done off the isolate's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use keystead::{Engine, Error, ErrorKind, Listener};
use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env};
use napi_derive::napi;
use parking_lot::Mutex;

use crate::{coded, handles};

/// Runs what a task does; a panic becomes an error.
fn guarded<T>(body: impl FnOnce() -> keystead::Result<T>) -> keystead::Result<T> {
    let bug = |_| Err(Error::new(ErrorKind::Internal, "ERR internal error: a panic"));
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(bug)
}

/// A listener, or why there is none.
#[napi]
pub struct Listening {
    listener: Mutex<Option<Listener>>,
    addresses: Vec<String>,
    failure: Vec<String>,
}

impl Listening {
    fn of(opened: keystead::Result<Listener>) -> Self {
        match opened {
            Ok(listener) => Self {
                addresses: listener.places().iter().map(ToString::to_string).collect(),
                listener: Mutex::new(Some(listener)),
                failure: Vec::new(),
            },
            Err(error) => Self {
                listener: Mutex::new(None),
                addresses: Vec::new(),
                failure: vec![error.kind().constant().to_owned(), error.to_string()],
            },
        }
    }
}

#[napi]
impl Listening {
    /// The code and the text of what went wrong; nothing if nothing did.
    #[napi(getter, catch_unwind)]
    pub fn failure(&self) -> Vec<String> {
        self.failure.clone()
    }

    /// Where it listens, as text.
    #[napi(getter, catch_unwind)]
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// Begins to end it; the promise says whether it was open.
    #[napi(catch_unwind)]
    pub fn close(&self) -> AsyncTask<Closing> {
        AsyncTask::new(Closing { listener: self.listener.lock().take() })
    }
}

/// A listener that is to be opened, for an engine at an address.
pub struct Opening(Option<(Engine, String)>);

impl Task for Opening {
    type Output = Listening;
    type JsValue = Listening;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let wanted = self.0.take();
        Ok(Listening::of(guarded(|| {
            let (engine, address) = wanted.ok_or_else(handles::closed)?;
            engine.listen(&address)
        })))
    }

    fn resolve(&mut self, _: Env, listening: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(listening)
    }
}

/// A listener that is to be closed.
pub struct Closing {
    listener: Option<Listener>,
}

impl Task for Closing {
    type Output = bool;
    type JsValue = bool;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let listener = self.listener.take();
        let was_open = listener.is_some();
        let _ = guarded(|| {
            drop(listener);
            Ok(())
        });
        Ok(was_open)
    }

    fn resolve(&mut self, _: Env, was_open: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(was_open)
    }
}

/// Begins to let clients talk to a handle's engine at an address.
#[napi(catch_unwind)]
pub fn listen(handle: u32, address: String) -> napi::Result<AsyncTask<Opening>, String> {
    let store = handles::find(handle).ok_or_else(|| coded(&handles::closed()))?;
    Ok(AsyncTask::new(Opening(Some((store.engine().clone(), address)))))
}

/// Runs the command line to its end, on the isolate's thread, and returns the exit status. The first of the arguments is the program's name.
#[napi(catch_unwind)]
pub fn run_command_line(arguments: Vec<String>) -> u8 {
    keystead::main_with(arguments.into_iter().map(Into::into))
}
