//! `Listener`: an engine of this process behind an address, for other processes and for programs in any language.

use keystead::Listener;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::engine::PyEngine;
use crate::errors::raise;
use crate::exit::{detach, enter};

/// Sockets on which an engine listens for Valkey's clients. `keystead.Engine.listen` makes one.
///
/// `close()`, the end of a `with` block, or its own end stops it: nobody is accepted any more, and connections that are open go on.
#[pyclass(frozen, name = "Listener", module = "keystead")]
pub struct PyListener {
    listener: Mutex<Option<Listener>>,
    /// Where it listens, for as long as it does.
    addresses: Vec<String>,
}

impl PyListener {
    /// Has an engine listen at an address.
    ///
    /// # Errors
    /// As `keystead.Engine.listen` says.
    pub fn new(py: Python<'_>, engine: &PyEngine, address: &str) -> PyResult<Self> {
        let listener = detach(py, || engine.engine.listen(address));
        let listener = listener.map_err(|error| raise(py, &error))?;
        let addresses = listener.places().iter().map(ToString::to_string).collect();
        Ok(Self { listener: Mutex::new(Some(listener)), addresses })
    }
}

#[pymethods]
impl PyListener {
    /// Where it listens, as a list of texts such as "127.0.0.1:6379"; empty once it was closed.
    #[getter]
    fn addresses(&self) -> Vec<String> {
        if self.closed() { Vec::new() } else { self.addresses.clone() }
    }

    /// The first of them, or None.
    #[getter]
    fn address(&self) -> Option<String> {
        self.addresses().into_iter().next()
    }

    /// Stops listening. Closing it again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = enter(py)?;
        let listener = self.listener.lock().take();
        // Its thread ends meanwhile.
        detach(py, || drop(listener));
        Ok(())
    }

    /// It was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.listener.lock().is_none()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        match &self.addresses()[..] {
            [] => "<keystead.Listener, closed>".into(),
            addresses => format!("<keystead.Listener on {}>", addresses.join(", ")),
        }
    }
}
