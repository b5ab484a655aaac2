//! `Engine`: a handle to an engine, from which stores, caches and clients are made.

use keystead::cache::check_options;
use keystead::{Config, Engine};
use pyo3::prelude::*;

use crate::errors::raise;

/// An engine: private to its handle, or shared by everyone in this process who opens its name.
#[pyclass(frozen, name = "Engine", module = "keystead", weakref)]
pub struct PyEngine {
    pub engine: Engine,
    name: Option<String>,
}

#[pymethods]
impl PyEngine {
    /// `config` is text as in `valkey.conf`, `options` are names and values; both count only for whoever opens a name first. `is_cache`: there is a least
    /// memory limit.
    #[new]
    #[pyo3(signature = (name=None, *, config=None, options=None, is_cache=false))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        config: Option<&str>,
        options: Option<Vec<(String, String)>>,
        is_cache: bool,
    ) -> PyResult<Self> {
        let chosen = || -> keystead::Result<Config> {
            let chosen = Config::from_text(config.unwrap_or_default().as_bytes())?;
            for (name, value) in options.iter().flatten() {
                chosen.set_option(name, value)?;
            }
            if is_cache {
                check_options(&chosen)?;
            }
            Ok(chosen)
        };
        let mut builder = Engine::builder().config(chosen().map_err(|error| raise(py, &error))?);
        if let Some(name) = &name {
            builder = builder.name(name);
        }
        let engine = builder.open().map_err(|error| raise(py, &error))?;
        Ok(Self { engine, name })
    }

    /// The name it was opened by, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The engine's number: no other of this process has it.
    #[getter]
    fn _number(&self) -> u64 {
        self.engine.number()
    }

    /// Bytes in use by data, tables and timers.
    #[getter]
    fn used_bytes(&self) -> usize {
        self.engine.used_bytes()
    }

    fn __repr__(&self) -> String {
        match &self.name {
            Some(name) => format!("<keystead.Engine {name:?}>"),
            None => "<keystead.Engine, private>".into(),
        }
    }
}

/// Panics, for the tests that show that panics stay inside.
#[pyfunction]
#[pyo3(name = "_panic")]
pub fn panic_for_test(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(crate::hot::protect(py, || panic!("asked for"))?)
}
