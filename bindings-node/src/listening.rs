//! Listeners: an engine's port for clients of other processes, behind `lib/listener.cjs`, and `keystead serve`.
//!
//! What is served, and how, is the engine's affair. What may take long is done off the isolate's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use keystead::{Config, Engine, Error, ErrorKind, Listener};
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
    engine: Option<Engine>,
    listener: Mutex<Option<Listener>>,
    addresses: Vec<String>,
    notes: Vec<String>,
    failure: Vec<String>,
}

impl Listening {
    fn of(opened: keystead::Result<(Engine, Listener)>) -> Self {
        match opened {
            Ok((engine, listener)) => Self {
                addresses: listener.addresses().iter().map(ToString::to_string).collect(),
                notes: engine.opening_notes(),
                engine: Some(engine),
                listener: Mutex::new(Some(listener)),
                failure: Vec::new(),
            },
            Err(error) => Self {
                engine: None,
                listener: Mutex::new(None),
                addresses: Vec::new(),
                notes: Vec::new(),
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

    /// What the engine's opening had to say of what was on disk.
    #[napi(getter, catch_unwind)]
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// Begins to end it; the promise says whether it was open.
    #[napi(catch_unwind)]
    pub fn close(&self) -> AsyncTask<Closing> {
        AsyncTask::new(Closing { listener: self.listener.lock().take() })
    }

    /// Waits, for as long as that takes, until SHUTDOWN ends it; then what is on disk is whole.
    #[napi(catch_unwind)]
    pub fn served(&self) -> AsyncTask<Serving> {
        AsyncTask::new(Serving { listener: self.listener.lock().take(), engine: self.engine.clone() })
    }

    /// Ends a server as SHUTDOWN does.
    #[napi(catch_unwind)]
    pub fn shut_down(&self) -> napi::Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        guarded(|| engine.shut_down()).map_err(|error| coded(&error))
    }
}

/// What is to be opened.
enum Wanted {
    /// A listener on an address.
    At(Engine, String),
    /// A server, by the arguments of valkey-server.
    Server(Vec<String>),
}

/// A listener that is to be opened.
pub struct Opening(Option<Wanted>);

impl Task for Opening {
    type Output = Listening;
    type JsValue = Listening;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let wanted = self.0.take();
        let opened = guarded(|| match wanted {
            Some(Wanted::At(engine, address)) => {
                let listener = Listener::bind(&engine, address.as_str())?;
                Ok((engine, listener))
            }
            Some(Wanted::Server(arguments)) => {
                let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
                let config = Config::from_arguments(&arguments)?;
                let engine = Engine::builder().config(config).durable().open()?;
                let listener = Listener::serve(&engine)?;
                Ok((engine, listener))
            }
            None => Err(handles::closed()),
        });
        Ok(Listening::of(opened))
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

/// A server that is waited for.
pub struct Serving {
    listener: Option<Listener>,
    engine: Option<Engine>,
}

impl Task for Serving {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let (listener, engine) = (self.listener.take(), self.engine.take());
        let _ = guarded(|| {
            if let Some(listener) = listener {
                listener.join();
            }
            // Connections have threads of their own, which end with the process.
            if let Some(engine) = engine {
                engine.end_files();
            }
            Ok(())
        });
        Ok(())
    }

    fn resolve(&mut self, _: Env, (): Self::Output) -> napi::Result<Self::JsValue> {
        Ok(())
    }
}

/// Begins to let clients talk to a handle's engine at an address.
#[napi(catch_unwind)]
pub fn listen(handle: u32, address: String) -> napi::Result<AsyncTask<Opening>, String> {
    let store = handles::find(handle).ok_or_else(|| coded(&handles::closed()))?;
    Ok(AsyncTask::new(Opening(Some(Wanted::At(store.engine().clone(), address)))))
}

/// Begins to serve an engine as valkey-server does with these arguments.
#[napi(catch_unwind)]
pub fn serve(arguments: Vec<String>) -> AsyncTask<Opening> {
    AsyncTask::new(Opening(Some(Wanted::Server(arguments))))
}
