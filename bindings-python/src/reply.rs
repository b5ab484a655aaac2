//! Replies as Python objects, decoded from the engine's tape after every lock is gone.
//!
//! Which Python type stands for which reply follows the pure-Python parsers of valkey-py and redis-py. What becomes of
//! errors is the caller's choice, through [`Style`].

use keystead::Item;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyList, PyString};

use crate::errors;
use crate::hot::blob;
use crate::memory;

/// How strings and errors are to look.
pub struct Style<'a, 'py> {
    /// Strings become str, by strict UTF-8, instead of bytes.
    pub text: bool,
    /// Makes an exception of an error's text; without it the classes of `keystead.exceptions` are used.
    pub error: Option<&'a Bound<'py, PyAny>>,
}

/// The engine writes whole items: only memory can be missing.
fn read(tape: &[u8]) -> PyResult<(Item<'_>, &[u8])> {
    Item::read(tape).ok_or_else(memory::no_memory)
}

/// One item at the start of a tape; an error becomes an exception object, returned and not raised.
///
/// # Errors
/// Text that is not UTF-8 where text is wanted.
pub fn decode<'py>(py: Python<'py>, tape: &[u8], style: &Style<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let (item, _) = read(tape)?;
    object(py, &item, style)
}

/// As [`decode`], but an error is raised.
///
/// # Errors
/// The reply is an error, or as `decode`.
#[inline]
pub fn decode_or_raise<'py>(
    py: Python<'py>,
    tape: &[u8],
    style: &Style<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let (item, _) = read(tape)?;
    match item {
        Item::Error { .. } => Err(PyErr::from_value(object(py, &item, style)?)),
        item => object(py, &item, style),
    }
}

/// All items of a tape, in a list.
///
/// # Errors
/// As [`decode`].
pub fn decode_all<'py>(py: Python<'py>, tape: &[u8], style: &Style<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let list = PyList::empty(py);
    let mut rest = tape;
    while !rest.is_empty() {
        let (item, behind) = read(rest)?;
        list.append(object(py, &item, style)?)?;
        rest = behind;
    }
    Ok(list.into_any())
}

/// Whether decoding a tape creates no container, so that it may happen before the session is given back.
#[inline]
pub fn is_plain(tape: &[u8]) -> bool {
    // Null, OK, simple, bulk and integer: see `keystead::command::tape`.
    tape.first().is_some_and(|tag| *tag <= 4)
}

fn object<'py>(py: Python<'py>, item: &Item<'_>, style: &Style<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match item {
        Item::Null | Item::NullArray => py.None().into_bound(py),
        Item::Simple(bytes) | Item::Bulk(bytes) => string(py, bytes, style)?,
        // The parsers cut off the format and the colon.
        Item::Verbatim(bytes) => string(py, &bytes[4..], style)?,
        Item::Integer(number) => number.into_pyobject(py)?.into_any(),
        Item::Double(number) => PyFloat::new(py, *number).into_any(),
        Item::Boolean(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Item::BigNumber(digits) => {
            py.get_type::<PyInt>().call1((PyString::new(py, &String::from_utf8_lossy(digits)),))?
        }
        Item::Error { kind, text } => error(py, *kind, text, style)?,
        Item::Array(items) | Item::Set(items) | Item::Push(items) => {
            memory::list(py, memory::collected(items.iter().map(|item| object(py, item, style)))?)?
        }
        Item::Map(items) => {
            let dict = PyDict::new(py);
            for pair in items.chunks_exact(2) {
                dict.set_item(object(py, &pair[0], style)?, object(py, &pair[1], style)?)?;
            }
            dict.into_any()
        }
    })
}

#[inline]
fn string<'py>(py: Python<'py>, bytes: &[u8], style: &Style<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    if style.text { Ok(PyString::from_bytes(py, bytes)?.into_any()) } else { Ok(blob(py, bytes)?) }
}

fn error<'py>(py: Python<'py>, kind: u8, text: &[u8], style: &Style<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let text = String::from_utf8_lossy(text);
    match style.error {
        Some(make) => make.call1((&*text,)),
        None => Ok(errors::of_number(py, kind, &text).into_value(py).into_bound(py).into_any()),
    }
}
