//! The engine's errors as Python exceptions, by kind: the classes of `keystead.exceptions`.
//!
//! The clients built on valkey-py and redis-py raise the classes of those libraries instead; see `sessions.rs`.

use std::any::Any;
use std::convert::Infallible;

use keystead::{Error, ErrorKind};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use crate::memory::no_memory;

/// An exception is set in the interpreter: what [`PyErr`] stands for, in no bytes, so that an [`Outcome`] fits a register.
#[derive(Debug)]
pub struct Raised(());

/// What a hot method returns.
pub type Outcome<'py> = Result<Bound<'py, PyAny>, Raised>;

impl Raised {
    /// For whoever has just set the exception, or seen that it was set.
    pub fn already() -> Self {
        Self(())
    }
}

impl From<PyErr> for Raised {
    #[cold]
    fn from(error: PyErr) -> Self {
        crate::hot::restore(error);
        Self(())
    }
}

impl From<Infallible> for Raised {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

impl From<Raised> for PyErr {
    #[cold]
    fn from(_: Raised) -> Self {
        crate::hot::fetch()
    }
}

static EXCEPTIONS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn exceptions(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let load = || Ok::<_, PyErr>(py.import("keystead.exceptions")?.unbind());
    Ok(EXCEPTIONS.get_or_try_init(py, load)?.bind(py))
}

/// An exception of the class that belongs to a kind of error; its `kind` attribute is the kind's constant.
pub fn of_kind(py: Python<'_>, kind: ErrorKind, text: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = exceptions(py)?.getattr(kind.python_class())?;
        let value = class.call1((text,))?;
        value.setattr("kind", kind.constant())?;
        Ok(PyErr::from_value(value))
    };
    make().unwrap_or_else(|error| error)
}

/// An exception of a kind given by its number, as errors on a tape have it.
pub fn of_number(py: Python<'_>, number: u8, text: &str) -> PyErr {
    let kind = ErrorKind::ALL.iter().find(|kind| **kind as u8 == number);
    of_kind(py, kind.copied().unwrap_or(ErrorKind::Internal), text)
}

/// The exception for an error of the engine.
#[cold]
pub fn raise(py: Python<'_>, error: &Error) -> PyErr {
    of_kind(py, error.kind(), &error.to_string())
}

/// Misuse of the Python interface itself.
#[cold]
pub fn usage(py: Python<'_>, text: &str) -> PyErr {
    of_kind(py, ErrorKind::Usage, text)
}

/// The exception of whoever uses what was closed.
#[cold]
pub fn closed(py: Python<'_>) -> PyErr {
    of_kind(py, ErrorKind::Closed, "ERR this cache is closed")
}

/// The exception for a panic: a bug of ours, reported as an ordinary exception.
#[cold]
pub fn from_panic(py: Python<'_>, panic: &Box<dyn Any + Send>) -> PyErr {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    // What PyO3 says where Python has no memory for a small object.
    if matches!(&*text, "PyObject pointer is null" | "Python API call failed") {
        return no_memory();
    }
    of_kind(py, ErrorKind::Internal, &format!("ERR internal error in Keystead, please report it: {text}"))
}

/// TypeError: more positional arguments than there are parameters.
#[cold]
pub fn too_many(most: usize, given: usize) -> Raised {
    let text = format!("at most {most} positional arguments are expected, {given} were given");
    PyTypeError::new_err(text).into()
}

/// TypeError: a parameter without an argument.
#[cold]
pub fn missing(name: &str) -> Raised {
    PyTypeError::new_err(format!("missing argument: '{name}'")).into()
}
