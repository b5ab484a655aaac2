//! `Link`: what stands in for the socket of one connection of valkey-py or redis-py, with a session of its own.
//!
//! Pipelines, WATCH and everything else that must stay on one connection go through it. The connection classes are in Python.

use std::collections::VecDeque;

use keystead::{Form, Session};
use parking_lot::Mutex;
use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use crate::engine::PyEngine;
use crate::exit::enter;
use crate::memory::copied;
use crate::reply::{Style, decode};
use crate::sessions::{argv_of, encode};

/// A session and the replies that nobody has read yet.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Link {
    inner: Mutex<Option<Inner>>,
    make_error: Py<PyAny>,
}

struct Inner {
    session: Session,
    replies: VecDeque<Vec<u8>>,
}

#[pymethods]
impl Link {
    #[new]
    fn new(engine: &Bound<'_, PyEngine>, make_error: Py<PyAny>) -> Self {
        let session = engine.get().engine.session(Form::Tape);
        Self { inner: Mutex::new(Some(Inner { session, replies: VecDeque::new() })), make_error }
    }

    /// Executes a packed command; its reply waits for [`Link::read`]. Named after the socket method whose place it takes.
    fn sendall(&self, words: &Bound<'_, PyTuple>) -> PyResult<()> {
        let _inside = enter(words.py())?;
        let objects: SmallVec<[Bound<'_, PyAny>; 8]> = words.iter().collect();
        let none = words.py().None().into_bound(words.py());
        let words = encode(words.py(), objects.iter().map(|object| object.as_borrowed()), &none)?;
        let argv = argv_of(&words)?;
        let mut guard = self.inner.lock();
        let inner = guard.as_mut().ok_or_else(closed)?;
        let reply = copied(inner.session.execute(&argv))?;
        inner.replies.push_back(reply);
        Ok(())
    }

    /// The oldest reply; errors are returned as exceptions.
    #[pyo3(signature = (text))]
    fn read<'py>(&self, py: Python<'py>, text: bool) -> PyResult<Bound<'py, PyAny>> {
        let _inside = enter(py)?;
        let reply = self.inner.lock().as_mut().ok_or_else(closed)?.replies.pop_front();
        let tape = reply.ok_or_else(|| PyConnectionError::new_err("no command was sent"))?;
        decode(py, &tape, &Style { text, error: Some(self.make_error.bind(py)) })
    }

    /// Whether a reply waits.
    fn can_read(&self) -> bool {
        self.inner.lock().as_ref().is_some_and(|inner| !inner.replies.is_empty())
    }

    /// Ends the session.
    fn close(&self) {
        let ended = self.inner.lock().take();
        drop(ended);
    }
}

fn closed() -> PyErr {
    PyConnectionError::new_err("the session was closed")
}

/// The words of a command as a tuple of bytes, checked and encoded as valkey-py does before it sends anything.
#[pyfunction]
pub fn pack<'py>(
    words: &Bound<'py, PyTuple>,
    data_error: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = words.py();
    let objects: SmallVec<[Bound<'_, PyAny>; 8]> = words.iter().collect();
    let words = encode(py, objects.iter().map(|object| object.as_borrowed()), data_error)?;
    PyTuple::new(
        py,
        crate::memory::collected(words.iter().map(|word| crate::memory::bytes(py, word.as_ref())))?,
    )
}
