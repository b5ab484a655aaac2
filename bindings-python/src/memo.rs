//! `Memo`: the native part of a function decorated with `@cache.cached`: it builds the key and answers hits.
//!
//! Misses, single-flight and everything else are the Python subclasses' part, in `keystead/_cached.py`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet, PyString, PyTuple,
};

use crate::cache::{AsyncCache, Cache, CacheInner};
use crate::hot::{Exact, Outcome, bytes_of, exact, ready_object};
use crate::sessions::bytes;

/// A decorated function.
#[pyclass(frozen, subclass, module = "keystead._keystead")]
pub struct Memo {
    cache: Py<PyAny>,
    /// What its keys begin with.
    head: Vec<u8>,
    /// Names and defaults of the parameters; `None` if the function takes any.
    parameters: Option<Vec<(String, Option<Py<PyAny>>)>>,
    /// The first so many parameters can be given by position.
    positional: usize,
    make_key: Option<Py<PyAny>>,
    /// Hits are wrapped in ready awaitables.
    is_async: bool,
}

#[pymethods]
impl Memo {
    #[new]
    fn new(
        cache: Py<PyAny>,
        head: &[u8],
        parameters: Option<Vec<(String, bool, Py<PyAny>)>>,
        positional: usize,
        make_key: Option<Py<PyAny>>,
        is_async: bool,
    ) -> Self {
        let parameters = parameters.map(|parameters| {
            parameters.into_iter().map(|(name, optional, value)| (name, optional.then_some(value))).collect()
        });
        Self { cache, head: head.to_vec(), parameters, positional, make_key, is_async }
    }

    /// The value of a hit; on a miss, what `_miss(key, args, kwargs)` returns.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> Outcome<'py> {
        let (py, this) = (slf.py(), slf.get());
        let key = this.key(args, kwargs)?;
        let found = this.with_cache(py, |cache| {
            cache.check_open(py)?;
            cache.look_up(py, &key)?.finish(py, &cache.codec)
        })?;
        match found {
            Some(value) if this.is_async => ready_object(py, Ok(value)),
            Some(value) => Ok(value),
            None => slf.call_method1("_miss", (bytes(py, &key), args, kwargs)),
        }
    }

    /// The key, without the cache's namespace, under which a call with these arguments is kept.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_key<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> Outcome<'py> {
        let py = args.py();
        let key = self.key(args, kwargs)?;
        Ok(std::str::from_utf8(&key)
            .map_or_else(|_| bytes(py, &key), |text| PyString::new(py, text).into_any()))
    }
}

impl Memo {
    fn with_cache<'py, R>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(&CacheInner) -> PyResult<R>,
    ) -> PyResult<R> {
        let cache = self.cache.bind(py);
        if let Ok(cache) = cache.cast::<Cache>() {
            return work(cache.get().as_ref());
        }
        work(cache.cast::<AsyncCache>()?.get().as_ref())
    }

    fn key(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<u8>> {
        let mut key = self.head.clone();
        if let Some(make) = &self.make_key {
            let made = make.bind(args.py()).call(args.clone(), kwargs)?;
            key.extend_from_slice(bytes_of(made.str()?.as_any().as_borrowed())?);
            return Ok(key);
        }
        match &self.parameters {
            Some(parameters) => self.write_bound(&mut key, parameters, args, kwargs)?,
            None => write_loose(&mut key, args, kwargs)?,
        }
        Ok(key)
    }

    /// Every parameter in its place, defaults too: however a call is spelled, its key is the same.
    fn write_bound(
        &self,
        key: &mut Vec<u8>,
        parameters: &[(String, Option<Py<PyAny>>)],
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = args.py();
        if args.len() > self.positional {
            return Err(PyTypeError::new_err(format!(
                "at most {} positional arguments are expected, {} were given",
                self.positional,
                args.len()
            )));
        }
        let mut used = 0;
        for (index, (name, default)) in parameters.iter().enumerate() {
            if index > 0 {
                key.push(b',');
            }
            let keyword = match kwargs {
                Some(kwargs) => kwargs.get_item(name)?,
                None => None,
            };
            used += usize::from(keyword.is_some());
            match (args.get_borrowed_item(index).ok(), keyword, default) {
                (Some(_), Some(_), _) => {
                    return Err(PyTypeError::new_err(format!("multiple values for argument '{name}'")));
                }
                (Some(given), None, _) => write(key, &given)?,
                (None, Some(given), _) => write(key, &given)?,
                (None, None, Some(default)) => write(key, default.bind(py))?,
                (None, None, None) => {
                    return Err(PyTypeError::new_err(format!("missing argument: '{name}'")));
                }
            }
        }
        if kwargs.is_some_and(|kwargs| kwargs.len() > used) {
            return Err(PyTypeError::new_err("unexpected keyword argument"));
        }
        Ok(())
    }
}

/// Arguments as they were given, for functions with `*args` or `**kwargs`; keywords sorted by name.
fn write_loose(
    key: &mut Vec<u8>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let mut parts = args.iter().map(|argument| written(&argument)).collect::<PyResult<Vec<_>>>()?;
    if let Some(kwargs) = kwargs {
        let mut named = Vec::new();
        for (name, value) in kwargs.iter() {
            let mut part = bytes_of(name.as_borrowed())?.to_vec();
            part.push(b'=');
            write(&mut part, &value)?;
            named.push(part);
        }
        named.sort();
        parts.append(&mut named);
    }
    key.extend(parts.join(&b','));
    Ok(())
}

fn written(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut part = Vec::new();
    write(&mut part, object)?;
    Ok(part)
}

/// Writes an argument so that different values never look alike: text in quotes, containers in brackets, sets and dicts sorted.
#[inline]
fn write(key: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> PyResult<()> {
    match exact(object) {
        Exact::Str => quote(key, b"", bytes_of(object.as_borrowed())?),
        Exact::Bytes => quote(key, b"b", bytes_of(object.as_borrowed())?),
        Exact::Int => match object.extract::<i64>() {
            Ok(number) => key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Err(_) => key.extend_from_slice(object.repr()?.to_str()?.as_bytes()),
        },
        Exact::Float | Exact::Bool => key.extend_from_slice(object.repr()?.to_str()?.as_bytes()),
        Exact::None => key.extend_from_slice(b"None"),
        Exact::Other => write_other(key, object)?,
    }
    Ok(())
}

fn quote(key: &mut Vec<u8>, mark: &[u8], text: &[u8]) {
    key.extend_from_slice(mark);
    key.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            key.push(b'\\');
        }
        key.push(*byte);
    }
    key.push(b'"');
}

fn write_other(key: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let each = |iterable: &Bound<'_, PyAny>| -> PyResult<Vec<Vec<u8>>> {
        iterable.try_iter()?.map(|item| written(&item?)).collect()
    };
    let mut enclose = |open: u8, parts: Vec<Vec<u8>>, close: u8| {
        key.push(open);
        key.extend(parts.join(&b','));
        key.push(close);
    };
    if object.is_instance_of::<PyTuple>() {
        enclose(b'(', each(object)?, b')');
    } else if object.is_instance_of::<PyList>() {
        enclose(b'[', each(object)?, b']');
    } else if object.is_instance_of::<PySet>() || object.is_instance_of::<PyFrozenSet>() {
        let mut parts = each(object)?;
        parts.sort();
        enclose(b'{', parts, b'}');
    } else if let Ok(mapping) = object.cast::<PyMapping>() {
        let mut parts = Vec::new();
        for pair in mapping.items()?.iter() {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let mut part = written(&name)?;
            part.push(b':');
            write(&mut part, &value)?;
            parts.push(part);
        }
        parts.sort();
        enclose(b'{', parts, b'}');
    } else {
        return write_named(key, object);
    }
    Ok(())
}

/// Values of other types count by their type's name and what `repr` says, if that does not only tell an address.
fn write_named(key: &mut Vec<u8>, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let kind = object.get_type();
    let is_plain = object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyInt>()
        || object.is_instance_of::<PyFloat>()
        || object.is_instance_of::<PyBool>();
    let base = object.py().get_type::<PyAny>().getattr("__repr__")?;
    if !is_plain && kind.getattr("__repr__")?.is(&base) {
        return Err(PyTypeError::new_err(format!(
            "an argument of type {} can't be part of a cache key: give the decorator key=",
            kind.name()?
        )));
    }
    key.extend_from_slice(kind.fully_qualified_name()?.to_str()?.as_bytes());
    quote(key, b"", object.repr()?.to_str()?.as_bytes());
    Ok(())
}
