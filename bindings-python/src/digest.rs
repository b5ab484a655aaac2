//! The hit path of `keystead.flask.cache_result`: the digest of a call, and the JSON that is kept under it.
//!
//! What the decorator means is said in Python (`keystead/flask.py`), which also answers whatever this file hands back to it: misses, a
//! server as the cache, results that are no plain JSON, calls that are to be logged, and arguments that are no ordinary values.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead::Database;
use md5::{Digest, Md5};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytesMethods, PyDict, PyString, PyTuple, PyType};
use smallvec::SmallVec;

use crate::errors::Outcome;
use crate::hot::{
    Argument, Arguments, Body, Exact, Guarded, body, bytes_of, call_last, call_one, callable, exact,
    with_arguments,
};
use crate::memory::bytes;
use crate::store::Store;

/// What `logging` calls INFO.
const INFO: i32 = 20;
/// What the text of an object without one of its own has in it.
const ADDRESS: &[u8] = b" at 0x";
/// How results begin that are more than JSON.
const MARK: &[u8] = b"{\"__keystead__\":";

/// The engine that `cache_result` uses at present, shared by all decorated functions.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct ResultStore {
    db: Guarded<Option<Database>>,
    hits: AtomicU64,
}

#[pymethods]
impl ResultStore {
    #[new]
    fn new() -> Self {
        Self { db: Guarded::new(None), hits: AtomicU64::new(0) }
    }

    /// Uses this store, or none: then every call is Python's affair.
    #[pyo3(signature = (store))]
    fn use_store(&self, py: Python<'_>, store: Option<&Bound<'_, Store>>) {
        let db = store.map(|store| store.get().as_ref().db.clone());
        self.hits.store(0, Ordering::Relaxed);
        let old = self.db.with(py, |current| std::mem::replace(current, db));
        // Outside: with the last handle an engine ends.
        drop(old);
    }

    /// Hits that Python did not see, since the store is in use.
    #[getter]
    fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// A function decorated with `cache_result`.
pub struct CachedResult {
    /// Key prefix, function's name and a colon: what the digest begins with.
    head: Vec<u8>,
    store: Py<ResultStore>,
    /// The decorated function as Python defines it.
    python: Py<PyAny>,
    loads: Py<PyAny>,
    /// What the logger remembers of its levels; a level that is not in it is asked for in Python.
    levels: Py<PyDict>,
    hits: AtomicU64,
}

impl Body for CachedResult {
    const NAME: &'static CStr = c"keystead._keystead.CachedResult";

    fn kind() -> &'static PyOnceLock<Py<PyType>> {
        static KIND: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        &KIND
    }

    #[inline]
    fn call<'py>(&self, _this: Argument<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
        match self.hit(arguments) {
            Some(found) => Ok(found),
            None => self.ask_python(arguments),
        }
    }

    fn traverse(&self, visit: &mut dyn FnMut(&Py<PyAny>)) {
        visit(&self.python);
    }
}

/// What a decorated function is made of: see `keystead/flask.py`.
#[pyfunction]
pub fn cached_result<'py>(
    py: Python<'py>,
    head: &[u8],
    store: Py<ResultStore>,
    python: Py<PyAny>,
    loads: Py<PyAny>,
    levels: Py<PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let hits = AtomicU64::new(0);
    callable(py, CachedResult { head: head.to_vec(), store, python, loads, levels, hits })
}

/// The digest of a call, and the hits that Python did not see: `(None or str, int)`. For tests and statistics.
#[pyfunction]
pub fn cached_result_state<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<(Option<String>, u64)> {
    let this = body::<CachedResult>(function)
        .ok_or_else(|| pyo3::exceptions::PyTypeError::new_err("that is no cached result"))?;
    let digest = with_arguments(args, kwargs, |arguments| this.digest(arguments))?;
    let text = digest.map(|digest| String::from_utf8_lossy(&digest).into_owned());
    Ok((text, this.hits.load(Ordering::Relaxed)))
}

type Buffer = SmallVec<[u8; 256]>;

impl CachedResult {
    #[cold]
    fn ask_python<'py>(&self, arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
        let keywords = if arguments.has_keywords() { Some(arguments.keywords()?) } else { None };
        Err(call_last(self.python.clone_ref(arguments.py()), arguments.tuple()?, keywords))
    }

    /// The result, if it is there and all is as usual. Exceptions are dropped: Python meets them again, and logs them.
    #[inline]
    fn hit<'py>(&self, arguments: &Arguments<'_, 'py>) -> Option<Bound<'py, PyAny>> {
        let py = arguments.py();
        let store = self.store.get();
        // What stands elsewhere may have to be waited for, and nobody else gets at the store meanwhile.
        if store.db.with(py, |db| db.as_ref().is_none_or(|db| db.engine().stands_elsewhere()))
            || self.logs(py)
        {
            return None;
        }
        let key = self.digest(arguments)?;
        let found = store.db.with(py, |db| {
            db.as_ref()?.get_with(key, |found| found.and_then(|found| bytes(py, &found.text).ok())).ok()?
        })?;
        if found.as_bytes().starts_with(MARK) {
            return None;
        }
        match call_one(self.loads.bind(py), &found) {
            Ok(result) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                store.hits.fetch_add(1, Ordering::Relaxed);
                Some(result)
            }
            Err(raised) => {
                drop(PyErr::from(raised));
                None
            }
        }
    }

    /// Whether hits are, or may be, to be logged.
    #[inline]
    fn logs(&self, py: Python<'_>) -> bool {
        let known = self.levels.bind(py).get_item(INFO);
        !known.is_ok_and(|level| level.is_some_and(|level| level.is(pyo3::types::PyBool::new(py, false))))
    }

    /// First 16 hexadecimal digits of the MD5 of head, arguments as text in a tuple and keywords as sorted JSON; arguments with an `environ`
    /// left out. `None`: Python must make it.
    #[inline]
    fn digest(&self, arguments: &Arguments<'_, '_>) -> Option<[u8; 16]> {
        let mut text = Buffer::from_slice(&self.head);
        text.push(b'(');
        let mut count = 0;
        for argument in arguments.positional() {
            if is_left_out(argument)? {
                continue;
            }
            if count > 0 {
                text.extend_from_slice(b", ");
            }
            write_repr(&mut text, argument)?;
            count += 1;
        }
        text.extend_from_slice(if count == 1 { b",):{" } else { b"):{" });
        if arguments.has_keywords() {
            write_keywords(&mut text, arguments)?;
        }
        text.push(b'}');
        let digest: [u8; 16] = Md5::digest(&text).into();
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(digest) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Some(digits)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether an argument belongs to the request and not to the call.
#[inline]
fn is_left_out(argument: Argument<'_, '_>) -> Option<bool> {
    match exact(&argument) {
        Exact::Other => argument.hasattr("environ").ok(),
        _ => Some(false),
    }
}

/// `repr(str(argument))`.
#[inline]
fn write_repr(text: &mut Buffer, argument: Argument<'_, '_>) -> Option<()> {
    with_str(argument, |string| {
        let bytes = bytes_of(string).ok()?;
        if bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\')) {
            text.push(b'\'');
            text.extend_from_slice(bytes);
            text.push(b'\'');
        } else {
            let shown = string.repr().ok()?;
            text.extend_from_slice(bytes_of(shown.as_any().as_borrowed()).ok()?);
        }
        Some(())
    })
}

/// Calls `write` with `str(argument)`.
#[inline]
fn with_str(argument: Argument<'_, '_>, write: impl FnOnce(Argument<'_, '_>) -> Option<()>) -> Option<()> {
    if exact(&argument) == Exact::Str {
        return write(argument);
    }
    let string: Bound<'_, PyString> = argument.str().ok()?;
    let string = string.as_any().as_borrowed();
    // An address, perhaps: Python knows what that means.
    if exact(&argument) == Exact::Other
        && bytes_of(string).ok()?.windows(ADDRESS.len()).any(|part| part == ADDRESS)
    {
        return None;
    }
    write(string)
}

/// What `json.dumps(..., sort_keys=True)` writes between the braces, for text under names.
fn write_keywords(text: &mut Buffer, arguments: &Arguments<'_, '_>) -> Option<()> {
    let mut pairs: SmallVec<[(&[u8], Argument<'_, '_>); 8]> = SmallVec::new();
    for (name, value) in arguments.keyword() {
        if !is_left_out(value)? {
            pairs.push((bytes_of(name).ok()?, value));
        }
    }
    // UTF-8 sorts as the characters do.
    pairs.sort_unstable_by_key(|(name, _)| *name);
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        write_json(text, name)?;
        text.extend_from_slice(b": ");
        with_str(*value, |string| write_json(text, bytes_of(string).ok()?))?;
    }
    Some(())
}

/// A JSON string in ASCII.
fn write_json(text: &mut Buffer, string: &[u8]) -> Option<()> {
    text.push(b'"');
    for letter in std::str::from_utf8(string).ok()?.chars() {
        match letter {
            '"' => text.extend_from_slice(b"\\\""),
            '\\' => text.extend_from_slice(b"\\\\"),
            '\n' => text.extend_from_slice(b"\\n"),
            '\r' => text.extend_from_slice(b"\\r"),
            '\t' => text.extend_from_slice(b"\\t"),
            '\u{8}' => text.extend_from_slice(b"\\b"),
            '\u{c}' => text.extend_from_slice(b"\\f"),
            ' '..='~' => text.push(letter as u8),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    text.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        text.push(HEX[usize::from(*unit >> shift & 15)]);
                    }
                }
            }
        }
    }
    text.push(b'"');
    Some(())
}
