//! The only unsafe code of the Python bindings: raw method entries, and the awaitable that is already done.
//!
//! PyO3 always emits `METH_FASTCALL | METH_KEYWORDS` behind a generic argument walk and a trampoline, 9 to 12 ns a call. Here the same
//! flags are used with entries of our own, installed on finished PyO3 classes with `PyDescr_NewMethod`. What the methods do is safe
//! code elsewhere ([`Method::call`]).
//!
//! # Invariants
//! 1. Entries are installed only on frozen, `Sync` PyO3 classes; CPython checks the receiver's type before it calls a method
//!    descriptor's function, so `slf` is an instance of the class.
//! 2. CPython calls entries attached to the interpreter, with `count` valid arguments behind `args` followed by one value per name in
//!    `names`, a tuple of strings or null; all stay alive, borrowed, for the call.
//! 3. Every entry catches panics: none crosses into C.
//! 4. An entry returns a new reference, or null with an exception set.
//! 5. Method definitions are leaked: descriptors point to them for the life of the process.
//! 6. A [`Ready`] object owns its outcome; its type has no Python-visible constructor, so its fields are always set.

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use pyo3::{Borrowed, PyClass, PyTypeInfo, ffi};

/// What a method returns.
pub type Outcome<'py> = PyResult<Bound<'py, PyAny>>;

/// A method of a class, called without PyO3's argument handling.
pub trait Method: 'static {
    /// The class whose instances it is called on.
    type Class: PyClass<Frozen = True> + Sync;
    /// What it does.
    fn call<'py>(
        this: Bound<'py, PyAny>,
        class: &Self::Class,
        arguments: &Arguments<'_, 'py>,
    ) -> Outcome<'py>;
}

/// The arguments of one call.
pub struct Arguments<'a, 'py> {
    py: Python<'py>,
    positional: &'a [*mut ffi::PyObject],
    keyword: &'a [*mut ffi::PyObject],
    names: *mut ffi::PyObject,
}

/// One argument, alive for the call.
pub type Argument<'a, 'py> = Borrowed<'a, 'py, PyAny>;

impl<'a, 'py> Arguments<'a, 'py> {
    /// The interpreter.
    pub fn py(&self) -> Python<'py> {
        self.py
    }

    /// The positional arguments.
    pub fn positional(&self) -> impl ExactSizeIterator<Item = Argument<'a, 'py>> + use<'a, 'py> {
        let py = self.py;
        // SAFETY: invariant 2: each is a valid object for the call, which `'a` does not outlive.
        self.positional.iter().map(move |argument| unsafe { Borrowed::from_ptr(py, *argument) })
    }

    /// Whether there are keyword arguments.
    pub fn has_keywords(&self) -> bool {
        !self.keyword.is_empty()
    }

    /// The keyword arguments, in a dict.
    ///
    /// # Errors
    /// Python has no memory.
    pub fn keywords(&self) -> PyResult<Bound<'py, PyDict>> {
        let keywords = PyDict::new(self.py);
        for (index, value) in self.keyword.iter().enumerate() {
            // SAFETY: invariant 2: a name per value, all valid for the call.
            let (name, value) = unsafe {
                let name = ffi::PyTuple_GetItem(self.names, index as ffi::Py_ssize_t);
                (Borrowed::from_ptr(self.py, name), Borrowed::from_ptr(self.py, *value))
            };
            keywords.set_item(name, value)?;
        }
        Ok(keywords)
    }

    /// Sorts the arguments into the parameters of these names, the first `required` of which must be there.
    ///
    /// # Errors
    /// TypeError, as for any Python function.
    #[inline]
    pub fn bind<const N: usize>(
        &self,
        names: [&'static str; N],
        required: usize,
    ) -> PyResult<[Option<Argument<'a, 'py>>; N]> {
        let mut bound = [None; N];
        if self.positional.len() > N {
            return Err(too_many(N, self.positional.len()));
        }
        for (place, argument) in bound.iter_mut().zip(self.positional()) {
            *place = Some(argument);
        }
        if self.has_keywords() {
            self.bind_keywords(names, &mut bound)?;
        }
        match bound.iter().take(required).position(Option::is_none) {
            None => Ok(bound),
            Some(missing) => Err(PyTypeError::new_err(format!("missing argument: '{}'", names[missing]))),
        }
    }

    fn bind_keywords<const N: usize>(
        &self,
        names: [&'static str; N],
        bound: &mut [Option<Argument<'a, 'py>>; N],
    ) -> PyResult<()> {
        for (index, value) in self.keyword.iter().enumerate() {
            // SAFETY: invariant 2: the tuple of names is as long as `keyword`, its items are strings that live as long as it does.
            let name = unsafe {
                Borrowed::from_ptr(self.py, ffi::PyTuple_GetItem(self.names, index as ffi::Py_ssize_t))
            };
            let name = bytes_of(name)?;
            let Some(place) = names.iter().position(|known| known.as_bytes() == name) else {
                let name = String::from_utf8_lossy(name);
                return Err(PyTypeError::new_err(format!("unexpected keyword argument '{name}'")));
            };
            if bound[place].is_some() {
                return Err(PyTypeError::new_err(format!("multiple values for argument '{}'", names[place])));
            }
            // SAFETY: invariant 2: a valid object for the call, which `'a` does not outlive.
            bound[place] = Some(unsafe { Borrowed::from_ptr(self.py, *value) });
        }
        Ok(())
    }
}

#[cold]
fn too_many(most: usize, given: usize) -> PyErr {
    PyTypeError::new_err(format!("at most {most} positional arguments are expected, {given} were given"))
}

/// The bytes of a str (its UTF-8) or of a bytes object, borrowed from it.
///
/// # Errors
/// TypeError for anything else, UnicodeEncodeError for a str with lone surrogates.
#[inline]
pub fn bytes_of<'a>(object: Argument<'a, '_>) -> PyResult<&'a [u8]> {
    let raw = object.as_ptr();
    // SAFETY: `raw` is a valid object, and the address of a static type is only compared.
    let kind = unsafe { ffi::Py_TYPE(raw) };
    if ptr::eq(kind, &raw const ffi::PyUnicode_Type) || object.is_instance_of::<PyString>() {
        let mut length = 0;
        // SAFETY: `raw` is a str; the returned buffer belongs to it and is as long as `length` says.
        unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(raw, &mut length);
            if start.is_null() {
                return Err(PyErr::fetch(object.py()));
            }
            return Ok(std::slice::from_raw_parts(start.cast(), length as usize));
        }
    }
    if ptr::eq(kind, &raw const ffi::PyBytes_Type) || object.is_instance_of::<PyBytes>() {
        // SAFETY: `raw` is a bytes object, immutable, with that many bytes.
        unsafe {
            let (start, length) = (ffi::PyBytes_AsString(raw), ffi::PyBytes_Size(raw));
            return Ok(std::slice::from_raw_parts(start.cast(), length as usize));
        }
    }
    Err(not_text(object))
}

#[cold]
fn not_text(object: Argument<'_, '_>) -> PyErr {
    let name = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("a str or bytes is needed, not {name}"))
}

/// Exactly this built-in type: cheaper than a check that allows subclasses.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after Python's types")]
pub enum Exact {
    Str,
    Bytes,
    Int,
    Float,
    Bool,
    None,
    Other,
}

/// Which built-in type an object is exactly of.
#[inline]
pub fn exact(object: &Bound<'_, PyAny>) -> Exact {
    // SAFETY: the object is valid, and addresses of static types are only compared.
    unsafe {
        let kind: *const ffi::PyTypeObject = ffi::Py_TYPE(object.as_ptr());
        if ptr::eq(kind, &raw const ffi::PyUnicode_Type) {
            Exact::Str
        } else if ptr::eq(kind, &raw const ffi::PyBytes_Type) {
            Exact::Bytes
        } else if ptr::eq(kind, &raw const ffi::PyLong_Type) {
            Exact::Int
        } else if ptr::eq(kind, &raw const ffi::PyFloat_Type) {
            Exact::Float
        } else if ptr::eq(kind, &raw const ffi::PyBool_Type) {
            Exact::Bool
        } else if object.is_none() {
            Exact::None
        } else {
            Exact::Other
        }
    }
}

/// The entry of a method.
///
/// # Safety
/// Called by CPython only, as invariants 1 and 2 say.
unsafe extern "C" fn entry<M: Method, const READY: bool>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: invariants 1 and 2.
    let (py, this, arguments) = unsafe {
        let py = Python::assume_attached();
        let positional = if count == 0 { &[] } else { std::slice::from_raw_parts(args, count as usize) };
        let keyword = if names.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(args.offset(count), ffi::PyTuple_Size(names) as usize)
        };
        (py, Borrowed::from_ptr(py, slf), Arguments { py, positional, keyword, names })
    };
    let outcome = protect(py, || {
        // SAFETY: invariant 1: `slf` is an instance of the class or of a subclass.
        let class = unsafe { this.cast_unchecked::<M::Class>() };
        M::call(this.to_owned(), class.get(), &arguments)
    });
    if READY { ready(py, outcome) } else { give(py, outcome) }
}

/// Runs `work` and turns a panic into an exception of kind Internal.
#[inline]
pub fn protect<'py>(py: Python<'py>, work: impl FnOnce() -> Outcome<'py>) -> Outcome<'py> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(crate::errors::from_panic(py, &panic)))
}

#[inline]
fn give(py: Python<'_>, outcome: Outcome<'_>) -> *mut ffi::PyObject {
    match outcome {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

/// Adds a method to a class; `signature` is its documentation, beginning with a line for `inspect.signature`.
///
/// # Errors
/// Python has no memory.
pub fn install<M: Method, const READY: bool>(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    signature: &'static CStr,
) -> PyResult<()> {
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry::<M, READY> },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: signature.as_ptr(),
    }));
    // SAFETY: the class is a valid type, the definition is never freed (invariant 5); a new reference or null comes back.
    let method = unsafe {
        Bound::from_owned_ptr_or_err(
            class.py(),
            ffi::PyDescr_NewMethod(class.as_ptr().cast::<ffi::PyTypeObject>(), definition),
        )?
    };
    class.setattr(name.to_str().expect("method names are ASCII"), method)
}

/// An awaitable that is done: its result, or the exception it raises.
#[repr(C)]
struct Ready {
    head: ffi::PyObject,
    outcome: *mut ffi::PyObject,
    failed: bool,
}

static READY: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A ready awaitable of an outcome. Errors are raised where it is awaited, as from any coroutine.
pub fn ready(py: Python<'_>, outcome: Outcome<'_>) -> *mut ffi::PyObject {
    let kind = match READY.get_or_try_init(py, || make_ready_type(py)) {
        Ok(kind) => kind.as_ptr().cast::<ffi::PyTypeObject>(),
        Err(error) => return give(py, Err(error)),
    };
    // SAFETY: the type's instances are `Ready` objects; both fields are set before anybody else sees the object (invariant 6).
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0).cast::<Ready>();
        if !object.is_null() {
            (*object).failed = outcome.is_err();
            (*object).outcome = match outcome {
                Ok(value) => value.into_ptr(),
                Err(error) => error.into_value(py).into_ptr(),
            };
        }
        object.cast()
    }
}

/// A ready awaitable as a Python object.
///
/// # Errors
/// Python has no memory.
pub fn ready_object<'py>(py: Python<'py>, outcome: Outcome<'py>) -> Outcome<'py> {
    // SAFETY: `ready` gives a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ready(py, outcome)) }
}

fn make_ready_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let methods = Box::leak(Box::new([
        plain(c"send", ready_send_method, ffi::METH_O),
        plain(c"close", ready_close, ffi::METH_NOARGS),
        fast(c"throw", ready_throw),
        ffi::PyMethodDef::zeroed(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, ready_dealloc as *mut c_void),
        slot(ffi::Py_am_await, ready_self as *mut c_void),
        slot(ffi::Py_tp_iter, ready_self as *mut c_void),
        slot(ffi::Py_tp_iternext, ready_next as *mut c_void),
        slot(ffi::Py_am_send, ready_send as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        ffi::PyType_Slot::default(),
    ];
    // From Python 3.10 on types announce `am_send` with this flag; the limited headers leave it out.
    const HAVE_AM_SEND: c_ulong = 1 << 21;
    const DISALLOW_INSTANTIATION: c_ulong = 1 << 7;
    let mut spec = ffi::PyType_Spec {
        name: c"keystead._keystead.Ready".as_ptr(),
        basicsize: size_of::<Ready>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | HAVE_AM_SEND | DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec describes `Ready`; its slots have the signatures their numbers ask for, its methods are never freed.
    let kind = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    Ok(kind.cast_into::<PyType>()?.unbind())
}

fn plain(name: &'static CStr, function: ffi::PyCFunction, flags: c_int) -> ffi::PyMethodDef {
    let ml_meth = ffi::PyMethodDefPointer { PyCFunction: function };
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth, ml_flags: flags, ml_doc: ptr::null() }
}

fn fast(name: &'static CStr, function: ffi::PyCFunctionFast) -> ffi::PyMethodDef {
    let ml_meth = ffi::PyMethodDefPointer { PyCFunctionFast: function };
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth, ml_flags: ffi::METH_FASTCALL, ml_doc: ptr::null() }
}

/// # Safety
/// The last reference to a `Ready` object is gone.
unsafe extern "C" fn ready_dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: invariant 6; an instance of a heap type holds a reference to its type, which goes last.
    unsafe {
        let kind = ffi::Py_TYPE(slf);
        ffi::Py_XDECREF((*slf.cast::<Ready>()).outcome);
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// # Safety
/// `slf` is a `Ready` object.
unsafe extern "C" fn ready_self(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a valid object.
    unsafe { ffi::Py_NewRef(slf) }
}

/// # Safety
/// `slf` is a `Ready` object, `result` a place for a reference.
unsafe extern "C" fn ready_send(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: invariant 6.
    unsafe {
        let this = slf.cast::<Ready>();
        if (*this).failed {
            ffi::PyErr_SetObject(ffi::Py_TYPE((*this).outcome).cast(), (*this).outcome);
            *result = ptr::null_mut();
            return ffi::PySendResult::PYGEN_ERROR;
        }
        *result = ffi::Py_NewRef((*this).outcome);
    }
    ffi::PySendResult::PYGEN_RETURN
}

/// Raises StopIteration with the value, or the exception.
///
/// # Safety
/// `slf` is a `Ready` object.
unsafe extern "C" fn ready_next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: invariant 6. The value is wrapped: a tuple or an exception would be unpacked by PyErr_SetObject.
    unsafe {
        let this = slf.cast::<Ready>();
        if (*this).failed {
            ffi::PyErr_SetObject(ffi::Py_TYPE((*this).outcome).cast(), (*this).outcome);
            return ptr::null_mut();
        }
        let arguments = ffi::PyTuple_New(1);
        if !arguments.is_null() && ffi::PyTuple_SetItem(arguments, 0, ffi::Py_NewRef((*this).outcome)) == 0 {
            let stop = ffi::PyObject_Call(ffi::PyExc_StopIteration, arguments, ptr::null_mut());
            if !stop.is_null() {
                ffi::PyErr_SetObject(ffi::PyExc_StopIteration, stop);
                ffi::Py_DECREF(stop);
            }
        }
        ffi::Py_XDECREF(arguments);
    }
    ptr::null_mut()
}

/// # Safety
/// As `ready_next`.
unsafe extern "C" fn ready_send_method(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the same contract.
    unsafe { ready_next(slf) }
}

/// # Safety
/// Called by CPython.
unsafe extern "C" fn ready_close(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: attached, as in every call from CPython.
    unsafe { ffi::Py_NewRef(ffi::Py_None()) }
}

/// Raises what it is given: `throw(exception)` or `throw(type, value, traceback)`.
///
/// # Safety
/// Called by CPython with `count` valid arguments.
unsafe extern "C" fn ready_throw(
    _: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: attached; only the first `count` arguments are read.
    unsafe {
        let py = Python::assume_attached();
        let argument = |index: ffi::Py_ssize_t| {
            (index < count)
                .then(|| Borrowed::from_ptr(py, *args.offset(index)))
                .filter(|object| !object.is_none())
        };
        let error = match (argument(0), argument(1)) {
            (Some(_), Some(value)) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
                PyErr::from_value(value.to_owned())
            }
            (Some(kind), Some(value)) => match kind.call1((value,)) {
                Ok(value) => PyErr::from_value(value),
                Err(error) => error,
            },
            (Some(first), None) => PyErr::from_value(first.to_owned()),
            (None, _) => PyTypeError::new_err("throw() needs an exception"),
        };
        error.restore(py);
        ptr::null_mut()
    }
}

/// The type object of a class, to install methods on.
pub fn class<T: PyTypeInfo>(py: Python<'_>) -> Bound<'_, PyType> {
    T::type_object(py)
}
