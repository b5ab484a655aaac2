//! Values of the cache face between Python objects and stored bytes; the format is `keystead::cache::codec`'s.
//!
//! Lists, dicts and other objects go through the codec that the cache was opened with.

use keystead::Found;
use keystead::cache::codec::{self, Stored, tag};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};
use smallvec::SmallVec;

use crate::errors::{Outcome, Raised, usage};
use crate::hot::{Argument, Exact, ascii, blob, bytes_of, call_one, exact, integer_of};
use crate::memory::{self, joined};

/// The functions of a codec, and those that read what others wrote.
pub struct Codec {
    /// The tag behind which `dumps` writes.
    pub tag: u8,
    /// Object to bytes.
    pub dumps: Py<PyAny>,
    /// JSON bytes to object.
    pub loads_json: Py<PyAny>,
    /// Tag and bytes to object, for the other tags.
    pub loads: Py<PyAny>,
}

/// A value as it is to be stored.
pub enum Encoded<'a> {
    /// Bytes of the Python object itself.
    Borrowed(&'a [u8]),
    /// Anything else.
    Owned(SmallVec<[u8; 64]>),
}

impl AsRef<[u8]> for Encoded<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Encoded::Borrowed(bytes) => bytes,
            Encoded::Owned(bytes) => bytes,
        }
    }
}

fn tagged<'a>(tag: u8, payload: &[u8]) -> PyResult<Encoded<'a>> {
    joined([&[tag], payload]).map(Encoded::Owned)
}

fn behind(tag: Option<u8>, payload: &[u8]) -> PyResult<Encoded<'_>> {
    tag.map_or(Ok(Encoded::Borrowed(payload)), |tag| tagged(tag, payload))
}

impl Codec {
    /// The bytes to store for an object.
    ///
    /// # Errors
    /// The codec's own, or a str with lone surrogates.
    #[inline]
    pub fn encode<'a>(&self, object: Argument<'a, '_>) -> PyResult<Encoded<'a>> {
        match exact(&object) {
            Exact::Str => encode_text(bytes_of(object)?),
            Exact::Bytes => {
                let bytes = bytes_of(object)?;
                behind(codec::bytes_tag(bytes), bytes)
            }
            Exact::Int => match integer_of(&object) {
                Some(number) => {
                    Ok(Encoded::Owned(SmallVec::from_slice(itoa::Buffer::new().format(number).as_bytes())))
                }
                None => self.dump(object),
            },
            Exact::Float => tagged(tag::FLOAT, &codec::float_payload(object.extract()?)),
            Exact::Bool | Exact::None => self.dump(object),
            Exact::Other => self.encode_other(object),
        }
    }

    /// Subclasses of the plain types are written as these, except where the codec keeps the class.
    fn encode_other<'a>(&self, object: Argument<'a, '_>) -> PyResult<Encoded<'a>> {
        // No codec writes views, and only the one that keeps classes writes the other.
        let is_view = object.is_instance_of::<PyMemoryView>();
        if is_view || self.tag != tag::PRIVATE && object.is_instance_of::<PyByteArray>() {
            let bytes = object.py().get_type::<PyBytes>().call1((object,))?;
            let bytes = bytes_of(bytes.as_borrowed())?;
            return match codec::bytes_tag(bytes) {
                Some(tag) => tagged(tag, bytes),
                None => joined([bytes]).map(Encoded::Owned),
            };
        }
        if self.tag == tag::PRIVATE {
            return self.dump(object);
        }
        if object.is_instance_of::<PyString>() {
            return encode_text(bytes_of(object)?);
        }
        if object.is_instance_of::<PyBytes>() {
            let bytes = bytes_of(object)?;
            return behind(codec::bytes_tag(bytes), bytes);
        }
        if object.is_instance_of::<PyFloat>() {
            return tagged(tag::FLOAT, &codec::float_payload(object.extract()?));
        }
        if object.is_instance_of::<PyInt>()
            && let Some(number) = integer_of(&object)
        {
            return Ok(Encoded::Owned(SmallVec::from_slice(itoa::Buffer::new().format(number).as_bytes())));
        }
        self.dump(object)
    }

    fn dump<'a>(&self, object: Argument<'a, '_>) -> PyResult<Encoded<'a>> {
        let bytes = self.dumps.bind(object.py()).call1((object,))?;
        tagged(self.tag, bytes_of(bytes.as_borrowed())?)
    }
}

fn encode_text(bytes: &[u8]) -> PyResult<Encoded<'_>> {
    // Only what begins like an integer can need a tag: no second look at the rest.
    let text = match bytes.first() {
        Some(first) if first.is_ascii_digit() || *first == b'-' => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    behind(text.and_then(codec::text_tag), bytes)
}

/// Whether a value is what JSON writes and reads without a loss, whoever does it: dicts of text, lists, tuples, text, integers of 64 bits, finite
/// floats, True, False and None, of just these types. O(elements).
#[pyfunction]
pub fn is_plain_json(object: &Bound<'_, PyAny>) -> bool {
    is_plain_within(object, 0)
}

fn is_plain_within(object: &Bound<'_, PyAny>, depth: usize) -> bool {
    /// What is nested deeper is left to Python, which knows where its stack ends.
    const DEEPEST: usize = 100;
    match exact(object) {
        Exact::Str | Exact::Bool | Exact::None => true,
        Exact::Int => integer_of(object).is_some(),
        Exact::Float => object.extract::<f64>().is_ok_and(f64::is_finite),
        Exact::Bytes => false,
        Exact::Other if depth == DEEPEST => false,
        Exact::Other => {
            if let Ok(list) = object.cast_exact::<PyList>() {
                list.iter().all(|item| is_plain_within(&item, depth + 1))
            } else if let Ok(dict) = object.cast_exact::<PyDict>() {
                dict.iter()
                    .all(|(name, item)| exact(&name) == Exact::Str && is_plain_within(&item, depth + 1))
            } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
                tuple.iter().all(|item| is_plain_within(&item, depth + 1))
            } else {
                false
            }
        }
    }
}

/// What can be made of a value while it is locked: an object, or the payload that a codec has yet to read.
pub enum Made<'py> {
    /// Nothing was stored.
    Missing,
    /// The value.
    Object(Bound<'py, PyAny>),
    /// A payload and its tag.
    Payload(u8, Bound<'py, PyBytes>),
    /// Python had no memory for it.
    Failed(Raised),
    /// No value that any cache wrote.
    Unreadable,
}

/// The str of what is text at first sight. `None` says nothing: [`make`] knows.
#[inline(always)]
pub fn plain_text<'py>(py: Python<'py>, found: &Found<'_>) -> Option<Outcome<'py>> {
    codec::is_plain_text(&found.text, found.is_ascii).then(|| ascii(py, &found.text))
}

/// Reads a stored value as far as that needs no Python code: bytes, str, int and float objects run none.
#[inline]
pub fn make<'py>(py: Python<'py>, found: &Found<'_>) -> Made<'py> {
    let stored = &*found.text;
    // No tag is ASCII, so what is not an integer is text, which Python need not be told to check twice.
    if found.is_ascii && codec::integer(stored).is_none() {
        return ascii(py, stored).map_or_else(Made::Failed, Made::Object);
    }
    match codec::read(stored) {
        Stored::Text(text) => match PyString::from_bytes(py, text.as_bytes()) {
            Ok(text) => Made::Object(text.into_any()),
            Err(error) => Made::Failed(error.into()),
        },
        Stored::Bytes(bytes) => blob(py, bytes).map_or_else(Made::Failed, Made::Object),
        Stored::Integer(number) => {
            let Ok(number) = number.into_pyobject(py);
            Made::Object(number.into_any())
        }
        Stored::Float(number) => Made::Object(PyFloat::new(py, number).into_any()),
        Stored::Encoded(tag, payload) => match memory::bytes(py, payload) {
            Ok(payload) => Made::Payload(tag, payload),
            Err(error) => Made::Failed(error.into()),
        },
        Stored::Unreadable => Made::Unreadable,
    }
}

impl<'py> Made<'py> {
    /// The object; `None` if nothing was stored.
    ///
    /// # Errors
    /// The codec's own, or a value that no cache wrote.
    #[inline]
    pub fn finish(self, py: Python<'py>, codec: &Codec) -> Result<Option<Bound<'py, PyAny>>, Raised> {
        match self {
            Made::Missing => Ok(None),
            Made::Failed(raised) => Err(raised),
            Made::Object(object) => Ok(Some(object)),
            // A leading space marks what only Python's own decoder reads without loss.
            Made::Payload(tag::JSON, payload) if payload.as_bytes().first() != Some(&b' ') => {
                let read = call_one(codec.loads_json.bind(py), &payload);
                read.or_else(|raised| read_by_python(codec, payload, raised)).map(Some)
            }
            Made::Payload(tag, payload) => Ok(Some(codec.loads.bind(py).call1((tag, payload))?)),
            Made::Unreadable => {
                Err(usage(py, "ERR the value begins with a tag byte, but no cache wrote it").into())
            }
        }
    }
}

/// Python's own decoder reads what a faster one refuses, such as a half of a surrogate pair that JavaScript wrote.
#[cold]
fn read_by_python<'py>(codec: &Codec, payload: Bound<'py, PyBytes>, raised: Raised) -> Outcome<'py> {
    let error = PyErr::from(raised);
    let py = payload.py();
    if !error.is_instance_of::<PyValueError>(py) {
        return Err(error.into());
    }
    Ok(codec.loads.bind(py).call1((tag::JSON, payload))?)
}
