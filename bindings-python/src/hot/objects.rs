//! Objects of types that we make ourselves: the awaitable that is already done, and callables. What they do is safe code elsewhere ([`Body::call`]).
//!
//! # Unsafe: invariants
//! Those of [`super`], and
//! 7. A [`Callable`] gets its body and its vectorcall function before anybody else sees it and keeps both until nobody refers to it.
//! 8. A [`Ready`] object owns its outcome; its type has no Python-visible constructor, so its fields are always set.
//! 9. A thread that runs Python code when the interpreter ends is unwound by it. Calls that may take long are therefore made by [`call_last`], below
//!    frames that may be unwound: `C-unwind`, nothing to drop, nothing caught.

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{Borrowed, ffi};

use super::{Arguments, give, owned, protect, with_arguments};
use crate::bodies::{self, Body};
use crate::errors::Outcome;

/// An awaitable that is done: its result, or the exception it raises.
#[repr(C)]
struct Ready {
    head: ffi::PyObject,
    outcome: *mut ffi::PyObject,
    failed: bool,
}

/// Types whose objects only we make.
const DISALLOW_INSTANTIATION: c_ulong = 1 << 7;

static READY: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A ready awaitable of an outcome. Errors are raised where it is awaited, as from any coroutine.
pub fn ready(py: Python<'_>, outcome: Outcome<'_>) -> *mut ffi::PyObject {
    let kind = match READY.get_or_try_init(py, || make_ready_type(py)) {
        Ok(kind) => kind.as_ptr().cast::<ffi::PyTypeObject>(),
        Err(error) => return give(Err(error.into())),
    };
    // SAFETY: the type's instances are `Ready` objects; both fields are set before anybody else sees the object (invariant 8).
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0).cast::<Ready>();
        if !object.is_null() {
            (*object).failed = outcome.is_err();
            (*object).outcome = match outcome {
                Ok(value) => value.into_ptr(),
                Err(_) => PyErr::fetch(py).into_value(py).into_ptr(),
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
    unsafe { owned(py, ready(py, outcome)) }
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
    // SAFETY: invariant 8; an instance of a heap type holds a reference to its type, which goes last.
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
    // SAFETY: invariant 8.
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
    // SAFETY: invariant 8. The value is wrapped: a tuple or an exception would be unpacked by PyErr_SetObject.
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

/// A callable with attributes, which binds to instances as functions do.
#[repr(C)]
struct Callable<B> {
    head: ffi::PyObject,
    vectorcall: Option<Vectorcall>,
    dict: *mut ffi::PyObject,
    weak: *mut ffi::PyObject,
    body: Option<Box<B>>,
}

type Vectorcall = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// A new callable.
///
/// # Errors
/// Python has no memory.
pub fn callable<B: Body>(py: Python<'_>, body: B) -> PyResult<Bound<'_, PyAny>> {
    let kind = callable_type::<B>(py)?.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: the type's instances are `Callable<B>`s, zeroed, which every field may be.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let this = object.as_ptr().cast::<Callable<B>>();
        (*this).vectorcall = Some(callable_vectorcall::<B>);
        (*this).body = Some(Box::new(body));
        Ok(object)
    }
}

/// The body of a callable; `None` if the object is none of this type.
pub fn body<'a, B: Body>(object: &'a Bound<'_, PyAny>) -> Option<&'a B> {
    let kind = B::kind().get(object.py())?;
    // SAFETY: the object is valid; instances of exactly this type, which can't be subclassed, are `Callable<B>`s; invariant 7.
    unsafe {
        ptr::eq(ffi::Py_TYPE(object.as_ptr()).cast(), kind.as_ptr())
            .then(|| (*object.as_ptr().cast::<Callable<B>>()).body.as_deref())?
    }
}

/// The type of these callables.
///
/// # Errors
/// Python has no memory.
pub fn callable_type<B: Body>(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    Ok(B::kind().get_or_try_init(py, || make_callable_type::<B>(py))?.bind(py))
}

fn make_callable_type<B: Body>(py: Python<'_>) -> PyResult<Py<PyType>> {
    let offset = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    // SAFETY: all zeroes end a table of members.
    let end = unsafe { std::mem::zeroed() };
    let members = Box::leak(Box::new([
        offset(c"__vectorcalloffset__", std::mem::offset_of!(Callable<B>, vectorcall)),
        offset(c"__dictoffset__", std::mem::offset_of!(Callable<B>, dict)),
        offset(c"__weaklistoffset__", std::mem::offset_of!(Callable<B>, weak)),
        end,
    ]));
    let attributes = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
        ffi::PyGetSetDef::default(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, callable_dealloc::<B> as *mut c_void),
        slot(ffi::Py_tp_traverse, callable_traverse::<B> as *mut c_void),
        slot(ffi::Py_tp_clear, callable_clear::<B> as *mut c_void),
        slot(ffi::Py_tp_call, callable_call::<B> as *mut c_void),
        slot(ffi::Py_tp_descr_get, callable_get as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        ffi::PyType_Slot::default(),
    ];
    // The limited headers leave these two out.
    const HAVE_VECTORCALL: c_ulong = 1 << 11;
    const METHOD_DESCRIPTOR: c_ulong = 1 << 17;
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | HAVE_VECTORCALL | METHOD_DESCRIPTOR;
    let mut spec = ffi::PyType_Spec {
        name: B::NAME.as_ptr(),
        basicsize: size_of::<Callable<B>>() as c_int,
        itemsize: 0,
        flags: (flags | DISALLOW_INSTANTIATION) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec describes `Callable<B>`; its slots have the signatures their numbers ask for, its tables are never freed.
    let kind = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    Ok(kind.cast_into::<PyType>()?.unbind())
}

/// # Safety
/// Called by CPython: `slf` is a `Callable<B>`, the arguments are as invariant 2 says; the top bit of `count` is CPython's own.
unsafe extern "C-unwind" fn callable_vectorcall<B: Body>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let count = count & (usize::MAX >> 1);
    // SAFETY: the caller's promise; invariant 7. An empty tuple of names is as good as none.
    let (py, this, arguments, body) = unsafe {
        let py = Python::assume_attached();
        let names = if names.is_null() || ffi::PyTuple_Size(names) == 0 { ptr::null_mut() } else { names };
        let body = (*slf.cast::<Callable<B>>()).body.as_deref();
        (py, Borrowed::from_ptr(py, slf), Arguments::new(py, args, count, names), body)
    };
    let given = give(protect(py, || body.expect("a callable has its body").call(this, &arguments)));
    // SAFETY: attached; nothing is left here that has to be dropped (invariant 9).
    if given.is_null() { unsafe { call_what_is_left() } } else { given }
}

/// # Safety
/// Called by CPython: a `Callable<B>`, a tuple, and a dict or null.
unsafe extern "C-unwind" fn callable_call<B: Body>(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    let given = unsafe { call_unpacked::<B>(slf, args, kwargs) };
    // SAFETY: attached; nothing is left here that has to be dropped (invariant 9).
    if given.is_null() { unsafe { call_what_is_left() } } else { given }
}

/// # Safety
/// As [`callable_call`].
unsafe fn call_unpacked<B: Body>(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise; invariant 7.
    let (py, this, args, kwargs, body) = unsafe {
        let py = Python::assume_attached();
        let args = Borrowed::from_ptr(py, args).cast_unchecked::<PyTuple>().to_owned();
        let kwargs =
            Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|dict| dict.cast_into_unchecked::<PyDict>());
        let body = (*slf.cast::<Callable<B>>()).body.as_deref();
        (py, Borrowed::from_ptr(py, slf), args, kwargs, body)
    };
    let body = || body.expect("a callable has its body");
    give(protect(py, || with_arguments(&args, kwargs.as_ref(), |arguments| body().call(this, arguments))?))
}

/// Calls what [`call_last`] was given, if anything; else an exception is set.
///
/// # Safety
/// Attached, and called by a frame that has nothing to drop and catches nothing.
#[cold]
#[inline(never)]
unsafe extern "C-unwind" fn call_what_is_left() -> *mut ffi::PyObject {
    unsafe extern "C-unwind" {
        // As PyO3 declares it, but that it may be unwound.
        #[link_name = "PyObject_Call"]
        fn object_call(
            callable: *mut ffi::PyObject,
            args: *mut ffi::PyObject,
            kwargs: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject;
    }
    let Some((function, args, kwargs)) = bodies::take_left() else { return ptr::null_mut() };
    let kwargs = kwargs.map_or(ptr::null_mut(), Py::into_ptr);
    let (function, args) = (function.into_ptr(), args.into_ptr());
    // SAFETY: owned here, a callable, a tuple, and a dict or null, until they are given back.
    unsafe {
        let result = object_call(function, args, kwargs);
        ffi::Py_XDECREF(kwargs);
        ffi::Py_DECREF(args);
        ffi::Py_DECREF(function);
        result
    }
}

/// Binds to an instance as functions do.
///
/// # Safety
/// Called by CPython: a valid object, and an instance or null.
unsafe extern "C" fn callable_get(
    slf: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    _owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    // SAFETY: valid objects, attached; new references are returned.
    unsafe {
        let py = Python::assume_attached();
        if instance.is_null() || instance == ffi::Py_None() {
            return ffi::Py_NewRef(slf);
        }
        let end: *mut ffi::PyObject = ptr::null_mut();
        match METHOD.import(py, "types", "MethodType") {
            Ok(method) => ffi::PyObject_CallFunctionObjArgs(method.as_ptr(), slf, instance, end),
            Err(error) => give(Err(error.into())),
        }
    }
}

/// # Safety
/// Called by CPython's collector: a `Callable<B>`.
unsafe extern "C" fn callable_traverse<B: Body>(
    slf: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the fields are valid objects or null; no reference count changes.
    unsafe {
        let this = slf.cast::<Callable<B>>();
        let mut result = visit(ffi::Py_TYPE(slf).cast(), argument);
        if result == 0 && !(*this).dict.is_null() {
            result = visit((*this).dict, argument);
        }
        if let Some(body) = (*this).body.as_deref() {
            body.traverse(&mut |object| {
                if result == 0 {
                    result = visit(object.as_ptr(), argument);
                }
            });
        }
        result
    }
}

/// The body stays: a call may still be under way in it, and what it refers to in a circle can be cleared from the other side.
///
/// # Safety
/// Called by CPython's collector: a `Callable<B>`.
unsafe extern "C" fn callable_clear<B: Body>(slf: *mut ffi::PyObject) -> c_int {
    // SAFETY: taken out before it is dropped: dropping can run Python code, which then finds no attributes.
    unsafe {
        let this = slf.cast::<Callable<B>>();
        let dict = std::mem::replace(&mut (*this).dict, ptr::null_mut());
        ffi::Py_XDECREF(dict);
    }
    0
}

/// # Safety
/// The last reference to a `Callable<B>` is gone.
unsafe extern "C" fn callable_dealloc<B: Body>(slf: *mut ffi::PyObject) {
    // SAFETY: nobody sees the object any more; an instance of a heap type holds a reference to its type, which goes last.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        if !(*slf.cast::<Callable<B>>()).weak.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        callable_clear::<B>(slf);
        drop((*slf.cast::<Callable<B>>()).body.take());
        let kind = ffi::Py_TYPE(slf);
        ffi::PyObject_GC_Del(slf.cast());
        ffi::Py_DECREF(kind.cast());
    }
}
