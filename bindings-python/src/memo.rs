//! `Cached`: the object that a function decorated with `@cache.cached` becomes: it builds the key and answers hits.
//!
//! Misses and everything else on a decorated function are Python's part, in `keystead/_cached.py`.

use std::sync::Arc;

use md5::{Digest, Md5};
use pyo3::exceptions::{PyRecursionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PyMemoryView, PySet, PyString,
    PyTuple, PyType,
};
use smallvec::SmallVec;
use std::ffi::CStr;

use crate::cache::CacheInner;
use crate::errors::{Outcome, Raised};
use crate::exit::enter;
use crate::hot::{
    Argument, Arguments, Body, Exact, blob, body, bytes_of, call_last, callable, exact, integer_of,
    ready_object, with_arguments,
};
use crate::live::{Form, Live};
use crate::loads::cache_of;
use crate::memory::{Add, collected, joined};

/// A key while it is built; nearly all fit without an allocation.
type Buffer = SmallVec<[u8; 160]>;

/// The name of a parameter, and its default if it has one.
type Parameter = (Py<PyString>, Option<Py<PyAny>>);

/// A decorated function.
pub struct Memo {
    cache: Arc<CacheInner>,
    /// What its keys begin with, the cache's namespace included.
    head: Vec<u8>,
    /// Bytes of the namespace.
    namespace: usize,
    /// Names and defaults of the parameters; `None` if the function takes any.
    parameters: Option<Vec<Parameter>>,
    /// The first so many parameters can be given by position.
    positional: usize,
    make_key: Option<Py<PyAny>>,
    /// Called on a miss with the decorated function, the key, the arguments and the keyword arguments.
    miss: Py<PyAny>,
    /// Hits are wrapped in ready awaitables.
    is_async: bool,
    /// Decoded objects of this function alone.
    live: Option<Live>,
}

impl Body for Memo {
    const NAME: &'static CStr = c"keystead._keystead.Cached";

    fn kind() -> &'static PyOnceLock<Py<PyType>> {
        static KIND: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        &KIND
    }

    #[inline]
    fn call<'py>(&self, this: Argument<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
        let py = arguments.py();
        self.cache.check_open(py)?;
        if let Some(live) = &self.live {
            return self.call_live(this, arguments, live);
        }
        let mut key = Buffer::new();
        key.extend_from_slice(&self.head);
        self.write_key(&mut key, arguments)?;
        match self.cache.look_up(py, &key)? {
            Some(value) => self.answer(value),
            None => self.miss(this, &key, arguments),
        }
    }

    fn traverse(&self, visit: &mut dyn FnMut(&Py<PyAny>)) {
        visit(&self.miss);
        self.make_key.iter().for_each(&mut *visit);
        let parameters = self.parameters.iter().flatten();
        parameters.filter_map(|(_, default)| default.as_ref()).for_each(visit);
    }
}

/// A parameter as Python gives it: its name, whether it has a default, and the default.
type Given<'py> = (Bound<'py, PyString>, bool, Py<PyAny>);

/// What a decorated function is made of: see `keystead/_cached.py`. `live`: how many decoded objects it keeps for itself, 0 for none.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "called in one place, by Python")]
pub fn cached<'py>(
    cache: &Bound<'py, PyAny>,
    head: &[u8],
    parameters: Option<Vec<Given<'py>>>,
    positional: usize,
    make_key: Option<Py<PyAny>>,
    miss: Py<PyAny>,
    is_async: bool,
    live: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let py = cache.py();
    let cache = cache_of(cache)?;
    let interned = |name: &Bound<'py, PyString>| PyString::intern(py, &name.to_string_lossy()).unbind();
    let parameters = parameters.map(|parameters| {
        let each = parameters.into_iter();
        each.map(|(name, optional, value)| (interned(&name), optional.then_some(value))).collect()
    });
    let live = (live > 0).then(|| Live::new(cache.store.sessions.engine(), live));
    let head = cache.full_key(head)?.as_ref().to_vec();
    let namespace = cache.namespace().len();
    callable(py, Memo { cache, head, namespace, parameters, positional, make_key, miss, is_async, live })
}

/// The key, without the cache's namespace, under which a call with these arguments is kept.
#[pyfunction]
pub fn cached_key<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = args.py();
    let _inside = enter(py)?;
    let memo = body::<Memo>(function).ok_or_else(|| PyTypeError::new_err("that is no cached function"))?;
    let mut key = Buffer::new();
    with_arguments(args, kwargs, |arguments| memo.write_key(&mut key, arguments))??;
    let key = memo.behind_head(&key);
    let key = &key[memo.namespace..];
    match std::str::from_utf8(key) {
        Ok(_) => Ok(PyString::from_bytes(py, key)?.into_any()),
        Err(_) => Ok(blob(py, key)?),
    }
}

/// The object that hits of a call will return, if the function keeps objects; what it was loaded as may be another.
#[pyfunction]
pub fn cached_object<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    loaded: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let memo = body::<Memo>(function).ok_or_else(|| PyTypeError::new_err("that is no cached function"))?;
    let _inside = enter(args.py())?;
    let Some(live) = &memo.live else { return Ok(loaded) };
    let found = with_arguments(args, kwargs, |arguments| memo.find_object(arguments, live))??;
    Ok(found.unwrap_or(loaded))
}

/// What arguments make of a key by themselves. For the names of partial functions.
#[pyfunction]
pub fn arguments_key<'py>(
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut key = Buffer::new();
    with_arguments(args, kwargs, |arguments| write_loose(&mut key, arguments))??;
    Ok(blob(args.py(), &key)?)
}

impl Memo {
    #[inline]
    fn answer<'py>(&self, value: Bound<'py, PyAny>) -> Outcome<'py> {
        if self.is_async { ready_object(value.py(), Ok(value)) } else { Ok(value) }
    }

    #[inline]
    fn call_live<'py>(
        &self,
        this: Argument<'_, 'py>,
        arguments: &Arguments<'_, 'py>,
        live: &Live,
    ) -> Outcome<'py> {
        match self.find_object(arguments, live)? {
            Some(value) => self.answer(value),
            None => {
                let mut full = Buffer::from_slice(&self.head);
                self.write_key(&mut full, arguments)?;
                self.miss(this, &full, arguments)
            }
        }
    }

    /// The object that is kept for a call, or is by now.
    #[inline]
    fn find_object<'py>(
        &self,
        arguments: &Arguments<'_, 'py>,
        live: &Live,
    ) -> Result<Option<Bound<'py, PyAny>>, Raised> {
        let py = arguments.py();
        // In its own table a function needs no head before its keys, and a single plain argument need not be written out.
        let mut key = Buffer::new();
        let number;
        let own = match self.single(arguments).map(|argument| (exact(&argument), argument)) {
            Some((Exact::Str, argument)) => live.own(Form::Text, bytes_of(argument)?),
            Some((Exact::Int, argument)) if let Some(value) = integer_of(&argument) => {
                number = value.to_le_bytes();
                live.own(Form::Integer, &number)
            }
            _ => {
                self.write_key(&mut key, arguments)?;
                live.own(Form::Key, &key)
            }
        };
        if let Some(value) = live.get(py, &own) {
            return Ok(Some(value));
        }
        let mut full = Buffer::from_slice(&self.head);
        self.write_key(&mut full, arguments)?;
        self.cache.bring_to_life(py, &own, live, &full)
    }

    /// The argument of a call of a function that has just one parameter, by position or by name.
    #[inline]
    fn single<'a, 'py: 'a>(&self, arguments: &Arguments<'a, 'py>) -> Option<Argument<'a, 'py>> {
        let [(name, _)] = self.parameters.as_deref()? else { return None };
        if self.make_key.is_some() {
            return None;
        }
        match *arguments.places() {
            [only] if self.positional == 1 && !arguments.has_keywords() => Some(only),
            [] => {
                let mut named = arguments.keyword();
                named
                    .next()
                    .filter(|(given, _)| given.as_ptr() == name.as_ptr())
                    .map(|(_, value)| value)
                    .filter(|_| named.next().is_none())
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn behind_head(&self, arguments: &[u8]) -> Buffer {
        let mut key = Buffer::from_slice(&self.head);
        key.extend_from_slice(arguments);
        key
    }

    #[cold]
    fn miss<'py>(&self, this: Argument<'_, 'py>, key: &[u8], arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
        let py = arguments.py();
        let keywords = if arguments.has_keywords() { Some(arguments.keywords()?) } else { None };
        let key = blob(py, &key[self.namespace..])?;
        let args = (this, key, arguments.tuple()?, keywords).into_pyobject(py)?;
        Err(call_last(self.miss.clone_ref(py), args, None))
    }

    /// The part of the key that the arguments make. Writes in place: a buffer that is returned is copied.
    #[inline]
    fn write_key(&self, key: &mut Buffer, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        let Some(parameters) = self.parameters.as_ref().filter(|_| self.make_key.is_none()) else {
            return self.write_other(key, arguments);
        };
        let count = arguments.positional().len();
        if count != parameters.len() || count > self.positional || arguments.has_keywords() {
            return self.write_bound(key, parameters, arguments);
        }
        for (index, argument) in arguments.positional().enumerate() {
            if index > 0 {
                key.push(b',');
            }
            write(key, &argument, &Within::NOTHING)?;
        }
        Ok(())
    }

    fn write_other(&self, key: &mut Buffer, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        let Some(make) = &self.make_key else { return write_loose(key, arguments) };
        let made = make.bind(arguments.py()).call(arguments.tuple()?, Some(&arguments.keywords()?))?;
        key.add(bytes_of(made.str()?.as_any().as_borrowed())?)
    }

    /// Every parameter in its place, defaults too: however a call is spelled, its key is the same.
    fn write_bound(
        &self,
        key: &mut Buffer,
        parameters: &[Parameter],
        arguments: &Arguments<'_, '_>,
    ) -> PyResult<()> {
        let (py, count) = (arguments.py(), arguments.positional().len());
        if count > self.positional {
            let most = self.positional;
            return Err(PyTypeError::new_err(format!(
                "at most {most} positional arguments are expected, {count} were given"
            )));
        }
        let mut places: SmallVec<[Option<Argument<'_, '_>>; 8]> = arguments.positional().map(Some).collect();
        places.resize(parameters.len(), None);
        for (name, value) in arguments.keyword() {
            let known = parameters.iter().position(|(known, _)| known.as_ptr() == name.as_ptr());
            let known = match known {
                Some(known) => known,
                None => {
                    let text = bytes_of(name)?;
                    let is_named = |(known, _): &Parameter| {
                        bytes_of(known.bind(py).as_any().as_borrowed()).is_ok_and(|known| known == text)
                    };
                    let Some(known) = parameters.iter().position(is_named) else {
                        let text = String::from_utf8_lossy(text);
                        return Err(PyTypeError::new_err(format!("unexpected keyword argument '{text}'")));
                    };
                    known
                }
            };
            if places[known].replace(value).is_some() {
                let name = parameters[known].0.bind(py);
                return Err(PyTypeError::new_err(format!("multiple values for argument '{name}'")));
            }
        }
        for (index, (place, (name, default))) in places.iter().zip(parameters).enumerate() {
            if index > 0 {
                key.push(b',');
            }
            match (place, default) {
                (Some(given), _) => write(key, given, &Within::NOTHING)?,
                (None, Some(default)) => write(key, default.bind(py), &Within::NOTHING)?,
                (None, None) => {
                    let name = name.bind(py);
                    return Err(PyTypeError::new_err(format!("missing argument: '{name}'")));
                }
            }
        }
        Ok(())
    }
}

/// Arguments as they were given, for functions with `*args` or `**kwargs`; keywords sorted by name.
fn write_loose(key: &mut Buffer, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let mut parts = collected(arguments.positional().map(|argument| written(&argument, &Within::NOTHING)))?;
    let mut named = Vec::new();
    for (name, value) in arguments.keyword() {
        let mut part = joined([bytes_of(name)?, b"="])?;
        write(&mut part, &value, &Within::NOTHING)?;
        named.push(part);
    }
    named.sort();
    parts.append(&mut named);
    join(key, &parts)
}

fn join(key: &mut Buffer, parts: &[Buffer]) -> PyResult<()> {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.add(b",")?;
        }
        key.add(part)?;
    }
    Ok(())
}

fn written(object: &Bound<'_, PyAny>, within: &Within<'_>) -> PyResult<Buffer> {
    let mut part = Buffer::new();
    write(&mut part, object, within)?;
    Ok(part)
}

/// Containers within containers, as deep as that: the stack has an end.
const DEEPEST: usize = 100;

/// The containers that an object is in.
#[derive(Clone, Copy)]
struct Within<'w> {
    depth: usize,
    /// The innermost, and what it is in.
    container: Option<(usize, &'w Within<'w>)>,
}

impl<'w> Within<'w> {
    const NOTHING: Self = Self { depth: 0, container: None };

    /// What is in this container is in.
    fn enter(&'w self, container: &Bound<'_, PyAny>) -> PyResult<Self> {
        let address = container.as_ptr() as usize;
        let mut outer = self.container;
        while let Some((one, around)) = outer {
            if one == address {
                return Err(too_deep());
            }
            outer = around.container;
        }
        if self.depth == DEEPEST {
            return Err(too_deep());
        }
        Ok(Self { depth: self.depth + 1, container: Some((address, self)) })
    }
}

#[cold]
fn too_deep() -> PyErr {
    PyRecursionError::new_err(format!(
        "an argument that is nested more than {DEEPEST} deep, or holds itself, can't be part of a cache key"
    ))
}

/// Writes an argument so that different values never look alike: text in quotes, containers in brackets, sets and dicts sorted.
#[inline]
fn write(key: &mut Buffer, object: &Bound<'_, PyAny>, within: &Within<'_>) -> PyResult<()> {
    match exact(object) {
        Exact::Str => quote(key, b"", bytes_of(object.as_borrowed())?),
        Exact::Bytes => quote(key, b"b", bytes_of(object.as_borrowed())?),
        Exact::Int => match integer_of(object) {
            Some(number) => key.add(itoa::Buffer::new().format(number).as_bytes()),
            None => key.add(object.repr()?.to_str()?.as_bytes()),
        },
        Exact::Float | Exact::Bool => key.add(object.repr()?.to_str()?.as_bytes()),
        Exact::None => key.add(b"None"),
        Exact::Other => write_other(key, object, within),
    }
}

fn quote(key: &mut Buffer, mark: &[u8], text: &[u8]) -> PyResult<()> {
    key.add(mark)?;
    key.add(b"\"")?;
    if text.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                key.add(b"\\")?;
            }
            key.add(&[*byte])?;
        }
    } else {
        key.add(text)?;
    }
    key.add(b"\"")
}

/// Containers: those of subclasses and of kinds that are equal to others begin with their type.
fn write_other(key: &mut Buffer, object: &Bound<'_, PyAny>, within: &Within<'_>) -> PyResult<()> {
    let within = &within.enter(object)?;
    let each = |iterable: &Bound<'_, PyAny>| -> PyResult<Vec<Buffer>> {
        collected(iterable.try_iter()?.map(|item| written(&item?, within)))
    };
    let is_exact = object.is_exact_instance_of::<PyTuple>()
        || object.is_exact_instance_of::<PyList>()
        || object.is_exact_instance_of::<PySet>()
        || object.is_exact_instance_of::<PyDict>();
    let mut enclose = |open: u8, parts: Vec<Buffer>, close: u8| -> PyResult<()> {
        if !is_exact {
            write_kind(key, &object.get_type())?;
        }
        key.add(&[open])?;
        join(key, &parts)?;
        key.add(&[close])
    };
    if object.is_instance_of::<PyTuple>() {
        enclose(b'(', each(object)?, b')')
    } else if object.is_instance_of::<PyList>() {
        enclose(b'[', each(object)?, b']')
    } else if object.is_instance_of::<PySet>() || object.is_instance_of::<PyFrozenSet>() {
        let mut parts = each(object)?;
        parts.sort();
        enclose(b'{', parts, b'}')
    } else if let Ok(mapping) = object.cast::<PyMapping>() {
        let mut parts = Vec::new();
        for pair in mapping.items()?.iter() {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let mut part = written(&name, within)?;
            part.add(b":")?;
            write(&mut part, &value, within)?;
            parts.push(part);
        }
        // The order of an OrderedDict is part of what it is.
        if object.get_type().hasattr("move_to_end").is_ok_and(|ordered| !ordered) {
            parts.sort();
        }
        enclose(b'{', parts, b'}')
    } else {
        write_named(key, object)
    }
}

/// Values of other types count by their type's name and what `repr` says, if that tells more than an address: another object may have that next.
fn write_named(key: &mut Buffer, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let kind = object.get_type();
    let is_plain = object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyInt>()
        || object.is_instance_of::<PyFloat>()
        || object.is_instance_of::<PyBool>();
    let base = object.py().get_type::<PyAny>().getattr("__repr__")?;
    if !is_plain && kind.getattr("__repr__")?.is(&base) {
        return Err(no_key(&kind));
    }
    write_kind(key, &kind)?;
    if !is_plain && shows_memory(&kind)? && write_buffer(key, object)? {
        return Ok(());
    }
    if let Ok(class) = object.cast::<PyType>() {
        quote(key, b"", b"")?;
        return write_kind(key, class);
    }
    let text = object.repr()?;
    let text = text.to_str()?;
    if !is_plain && (tells_an_address(text, object) || shows_memory(&kind)?) {
        return Err(no_key(&kind));
    }
    quote(key, b"", text.as_bytes())
}

fn no_key(kind: &Bound<'_, PyType>) -> PyErr {
    let name = kind.name().map_or_else(|_| "of this kind".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "an argument of type {name} can't be part of a cache key: its repr does not tell it apart; give the decorator key="
    ))
}

/// A class by its full name; classes that functions make have one name each and a number besides.
fn write_kind(key: &mut Buffer, kind: &Bound<'_, PyType>) -> PyResult<()> {
    let name = kind.fully_qualified_name()?;
    key.extend_from_slice(name.to_str()?.as_bytes());
    if name.to_str()?.contains("<locals>") {
        let number = kind.py().import("keystead._names")?.call_method1("number_of", (kind,))?;
        key.push(b'#');
        key.extend_from_slice(number.str()?.to_str()?.as_bytes());
    }
    Ok(())
}

/// Whether a repr speaks of where an object stands, this one or one in it.
fn tells_an_address(text: &str, object: &Bound<'_, PyAny>) -> bool {
    let address = object.as_ptr() as usize;
    let lower = text.to_ascii_lowercase();
    lower.contains(" at 0x")
        || lower.contains(&format!("{address:x}"))
        || lower.contains(&address.to_string())
}

/// Whether objects of a class are arrays or the like, whose repr leaves out digits, elements, or all of them.
fn shows_memory(kind: &Bound<'_, PyType>) -> PyResult<bool> {
    const PLAIN: [&str; 4] = ["bytearray", "memoryview", "array.array", "mmap.mmap"];
    Ok(PLAIN.contains(&kind.fully_qualified_name()?.to_str()?) || kind.hasattr("__array__")?)
}

/// Objects that show their memory count by what is in it: format, shape and a digest. Says whether it is one.
fn write_buffer(key: &mut Buffer, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let Ok(view) = py.get_type::<PyMemoryView>().call1((object,)) else { return Ok(false) };
    let format: String = view.getattr("format")?.extract()?;
    if format.contains(['O', 'P', '&']) {
        // Addresses of objects.
        return Ok(false);
    }
    let contents = view.call_method0("tobytes")?;
    quote(key, b"", format.as_bytes())?;
    key.add(view.getattr("shape")?.repr()?.to_str()?.as_bytes())?;
    quote(key, b"b", &Md5::digest(bytes_of(contents.as_borrowed())?))?;
    Ok(true)
}
