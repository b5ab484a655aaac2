//! Snapshots that are written and restored off the isolate's thread: promises, behind `lib/saving.cjs`.
//!
//! What is written, and how, is the engine's affair. An environment that ends waits for what is under way, so a file is whole or not there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use keystead::{Engine, Error, ErrorKind};
use napi::Task;
use napi::bindgen_prelude::{AsyncTask, Env};
use napi_derive::napi;

use crate::{coded, handles};

/// What is done with an engine and a file.
type Run = fn(&Engine, &Path) -> keystead::Result<()>;

/// A snapshot that is to be written or restored.
pub struct Saving {
    /// Until it has run: nobody waits for the isolate to let go of an engine.
    engine: Option<Engine>,
    path: PathBuf,
    run: Run,
}

impl Task for Saving {
    /// The code and the text of what went wrong; nothing if nothing did.
    type Output = Vec<String>;
    type JsValue = Vec<String>;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let Some(engine) = self.engine.take() else { return Ok(Vec::new()) };
        let run = catch_unwind(AssertUnwindSafe(|| (self.run)(&engine, &self.path)));
        let bug = |_| Err(Error::new(ErrorKind::Internal, "ERR internal error: a panic"));
        let failed = run.unwrap_or_else(bug).err();
        Ok(failed.map_or(Vec::new(), |error| vec![error.kind().constant().to_owned(), error.to_string()]))
    }

    fn resolve(&mut self, _: Env, failure: Self::Output) -> napi::Result<Self::JsValue> {
        Ok(failure)
    }
}

fn begin(handle: u32, path: String, run: Run) -> napi::Result<AsyncTask<Saving>, String> {
    let store = handles::find(handle).ok_or_else(|| coded(&handles::closed()))?;
    Ok(AsyncTask::new(Saving { engine: Some(store.engine().clone()), path: path.into(), run }))
}

/// Begins to write all databases to a file. The promise has the code and the text of an error, or nothing.
#[napi(catch_unwind)]
pub fn snapshot(handle: u32, path: String) -> napi::Result<AsyncTask<Saving>, String> {
    begin(handle, path, |engine, path| engine.snapshot(path))
}

/// Begins to have all databases hold what is in a file. The promise is as that of [`snapshot`].
#[napi(catch_unwind)]
pub fn restore(handle: u32, path: String) -> napi::Result<AsyncTask<Saving>, String> {
    begin(handle, path, |engine, path| engine.restore(path))
}
