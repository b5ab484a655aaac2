//! `Engine`: a handle to an engine, from which stores, caches and clients are made.

use keystead::{Config, Engine};
use pyo3::prelude::*;

use crate::errors::{raise, usage};

/// An engine: private to its handle, or shared by everyone in this process who opens its name.
#[pyclass(frozen, name = "Engine", module = "keystead", weakref)]
pub struct PyEngine {
    pub engine: Engine,
    name: Option<String>,
}

#[pymethods]
impl PyEngine {
    /// `config` is text as in `valkey.conf`; it counts only for whoever opens a name first.
    #[new]
    #[pyo3(signature = (name=None, *, config=None))]
    fn new(py: Python<'_>, name: Option<String>, config: Option<&str>) -> PyResult<Self> {
        let mut builder = Engine::builder();
        if let Some(config) = config {
            let config =
                Config::from_text(config.as_bytes()).map_err(|error| usage(py, &error.to_string()))?;
            builder = builder.config(config);
        }
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
