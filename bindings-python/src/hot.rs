//! The only unsafe code of the Python bindings, with [`objects`]: raw method entries, and a cell that the interpreter's lock guards.
//!
//! PyO3 always emits `METH_FASTCALL | METH_KEYWORDS` behind a generic argument walk and a trampoline, 9 to 12 ns a call. Here the same
//! flags are used with entries of our own, installed on finished PyO3 classes with `PyDescr_NewMethod`. What the methods do is safe
//! code elsewhere ([`Method::call`]).
//!
//! # Invariants
//! 1. Entries are installed only on frozen, `Sync` PyO3 classes and on subclasses of theirs; CPython checks the receiver's type before it
//!    calls a method descriptor's function, so `slf` is an instance of the class.
//! 2. CPython calls entries attached to the interpreter, with `count` valid arguments behind `args` followed by one value per name in
//!    `names`, a tuple of strings or null; all stay alive, borrowed, for the call.
//! 3. Every entry catches panics: none crosses into C.
//! 4. An entry returns a new reference, or null with an exception set.
//! 5. Method definitions are leaked: descriptors point to them for the life of the process.
//! 6. A [`Raised`] exists only while an exception is set in this thread.
//! 7. Those of the objects that we make ourselves are in [`objects`].

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi};
use smallvec::SmallVec;

pub use crate::arguments::Exact;
mod objects;

pub use crate::bodies::{Body, Method, call_last};
use crate::errors::{Outcome, Raised};
use crate::exit;
use crate::memory::no_memory;
pub use objects::{body, callable, callable_type, ready, ready_object};

/// The names of a method's parameters, interned at the first call that has keywords, so that names are compared by address.
pub struct Names<const N: usize> {
    names: [&'static CStr; N],
    interned: [AtomicPtr<ffi::PyObject>; N],
}

impl<const N: usize> Names<N> {
    /// These names.
    pub const fn new(names: [&'static CStr; N]) -> Self {
        Self { names, interned: [const { AtomicPtr::new(ptr::null_mut()) }; N] }
    }

    /// The name of this position.
    pub fn text(&self, index: usize) -> &'static str {
        self.names[index].to_str().expect("parameters have ASCII names")
    }

    /// The position of a name among the parameters.
    ///
    /// # Errors
    /// It is no text.
    pub fn position(&self, name: Argument<'_, '_>) -> PyResult<Option<usize>> {
        for (index, interned) in self.interned.iter().enumerate() {
            let mut known = interned.load(Ordering::Relaxed);
            if known.is_null() {
                // SAFETY: attached, since `name` is; the reference is kept for ever, which interned names are anyway.
                known = unsafe { ffi::PyUnicode_InternFromString(self.names[index].as_ptr()) };
                interned.store(known, Ordering::Relaxed);
            }
            if known == name.as_ptr() {
                return Ok(Some(index));
            }
        }
        let text = bytes_of(name)?;
        Ok(self.names.iter().position(|known| known.to_bytes() == text))
    }
}

/// A static [`Names`].
macro_rules! names {
    ($($name:literal),*) => {{
        static NAMES: $crate::hot::Names<{ [$($name),*].len() }> = $crate::hot::Names::new([$($name),*]);
        &NAMES
    }};
}
pub(crate) use names;

/// The arguments of one call.
pub struct Arguments<'a, 'py> {
    py: Python<'py>,
    positional: &'a [*mut ffi::PyObject],
    /// A tuple of names or null; the values stand behind the positional arguments.
    names: *mut ffi::PyObject,
}

/// One argument, alive for the call.
pub type Argument<'a, 'py> = Borrowed<'a, 'py, PyAny>;

const _: () = assert!(size_of::<Argument<'_, '_>>() == size_of::<*mut ffi::PyObject>());

impl<'a, 'py> Arguments<'a, 'py> {
    /// # Safety
    /// As invariant 2, with `'a` within the call.
    #[inline]
    unsafe fn new(
        py: Python<'py>,
        args: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> Self {
        // SAFETY: the caller's promise; a slice of nothing may begin anywhere but at null.
        let positional =
            unsafe { if args.is_null() { &[] } else { std::slice::from_raw_parts(args, count) } };
        Self { py, positional, names }
    }

    /// The interpreter.
    #[inline]
    pub fn py(&self) -> Python<'py> {
        self.py
    }

    /// The positional arguments.
    #[inline]
    pub fn positional(&self) -> impl ExactSizeIterator<Item = Argument<'a, 'py>> + use<'a, 'py> {
        let py = self.py;
        // SAFETY: invariant 2: each is a valid object for the call, which `'a` does not outlive.
        self.positional.iter().map(move |argument| unsafe { Borrowed::from_ptr(py, *argument) })
    }

    /// The positional arguments in one piece.
    #[inline]
    pub fn places(&self) -> &'a [Argument<'a, 'py>] {
        // SAFETY: invariant 2; a `Borrowed` is a pointer to an object and markers without size, which `size_of` below confirms.
        unsafe { std::slice::from_raw_parts(self.positional.as_ptr().cast(), self.positional.len()) }
    }

    /// The arguments, if they are so many and all positional: the call that is worth a path of its own.
    #[inline(always)]
    pub fn plain<const N: usize>(&self) -> Option<[Argument<'a, 'py>; N]> {
        if self.has_keywords() { None } else { self.all() }
    }

    /// The positional arguments, if they are so many.
    #[inline(always)]
    fn all<const N: usize>(&self) -> Option<[Argument<'a, 'py>; N]> {
        let pointers: &[*mut ffi::PyObject; N] = self.positional.try_into().ok()?;
        // SAFETY: invariant 2: each is a valid object for the call, which `'a` does not outlive.
        Some(pointers.map(|argument| unsafe { Borrowed::from_ptr(self.py, argument) }))
    }

    /// As [`Arguments::plain`], with one keyword argument of this name behind them.
    #[inline(always)]
    pub fn plain_and<const N: usize>(
        &self,
        name: &'static Names<1>,
    ) -> Option<([Argument<'a, 'py>; N], Argument<'a, 'py>)> {
        let plain = self.all()?;
        if !self.has_keywords() || !self.is_only(name).ok()? {
            return None;
        }
        // SAFETY: invariant 2: the value of the only name stands behind the positional arguments.
        Some((plain, unsafe { Borrowed::from_ptr(self.py, *self.positional.as_ptr_range().end) }))
    }

    /// Whether there is just one keyword argument, of this name.
    ///
    /// # Errors
    /// A name is no text.
    #[inline]
    pub fn is_only(&self, names: &'static Names<1>) -> PyResult<bool> {
        // SAFETY: invariant 2: a tuple if there are keywords; an item of it, if it has one.
        unsafe {
            if ffi::PyTuple_Size(self.names) != 1 {
                return Ok(false);
            }
            let first = Borrowed::from_ptr(self.py, ffi::PyTuple_GetItem(self.names, 0));
            Ok(names.position(first)?.is_some())
        }
    }

    /// Whether there are keyword arguments.
    #[inline]
    pub fn has_keywords(&self) -> bool {
        !self.names.is_null()
    }

    /// The positional arguments in a tuple.
    ///
    /// # Errors
    /// Python has no memory.
    pub fn tuple(&self) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(self.py, self.positional())
    }

    /// Names and values of the keyword arguments.
    pub fn keyword(&self) -> impl Iterator<Item = (Argument<'a, 'py>, Argument<'a, 'py>)> + use<'a, 'py> {
        let (py, names) = (self.py, self.names);
        let values = self.positional.as_ptr_range().end;
        // SAFETY: invariant 2: a tuple, or null.
        let count = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_Size(names) } };
        (0..count).map(move |index| {
            // SAFETY: invariant 2: a name per value, all valid for the call.
            unsafe {
                let name = Borrowed::from_ptr(py, ffi::PyTuple_GetItem(names, index));
                (name, Borrowed::from_ptr(py, *values.offset(index)))
            }
        })
    }

    /// The keyword arguments, in a dict.
    ///
    /// # Errors
    /// Python has no memory.
    pub fn keywords(&self) -> PyResult<Bound<'py, PyDict>> {
        let keywords = PyDict::new(self.py);
        for (name, value) in self.keyword() {
            keywords.set_item(name, value)?;
        }
        Ok(keywords)
    }
}

/// Calls `work` with the arguments that a tuple and a dict hold.
///
/// # Errors
/// Python has no memory.
pub fn with_arguments<'py, R>(
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    work: impl FnOnce(&Arguments<'_, 'py>) -> R,
) -> PyResult<R> {
    let py = args.py();
    let named: Vec<_> = kwargs.into_iter().flatten().collect();
    let names = PyTuple::new(py, named.iter().map(|(name, _)| name))?;
    let mut held: Vec<Bound<'py, PyAny>> = args.iter().collect();
    held.extend(named.iter().map(|(_, value)| value.clone()));
    let pointers: Vec<_> = held.iter().map(Bound::as_ptr).collect();
    let tuple = if named.is_empty() { ptr::null_mut() } else { names.as_ptr() };
    // SAFETY: the values are held above, a name for each behind the positional ones, until `work` is done.
    let arguments = unsafe { Arguments::new(py, pointers.as_ptr(), args.len(), tuple) };
    Ok(work(&arguments))
}

/// The bytes of a str (its UTF-8) or of a bytes object, borrowed from it.
///
/// # Errors
/// TypeError for anything else, UnicodeEncodeError for a str with lone surrogates.
#[inline(always)]
pub fn bytes_of<'a>(object: Argument<'a, '_>) -> PyResult<&'a [u8]> {
    match exact(&object) {
        Exact::Str => utf8_of(object),
        Exact::Bytes => Ok(content_of(object)),
        _ => unusual_bytes_of(object),
    }
}

#[inline]
fn utf8_of<'a>(object: Argument<'a, '_>) -> PyResult<&'a [u8]> {
    let mut length = 0;
    // SAFETY: the object is a str; the returned buffer belongs to it and is as long as `length` says.
    unsafe {
        let start = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &mut length);
        if start.is_null() {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(std::slice::from_raw_parts(start.cast(), length as usize))
    }
}

#[inline]
fn content_of<'a>(object: Argument<'a, '_>) -> &'a [u8] {
    // SAFETY: the object is a bytes object, immutable, with that many bytes.
    unsafe {
        let (start, length) = (ffi::PyBytes_AsString(object.as_ptr()), ffi::PyBytes_Size(object.as_ptr()));
        std::slice::from_raw_parts(start.cast(), length as usize)
    }
}

#[inline(never)]
fn unusual_bytes_of<'a>(object: Argument<'a, '_>) -> PyResult<&'a [u8]> {
    if object.is_instance_of::<PyString>() {
        utf8_of(object)
    } else if object.is_instance_of::<PyBytes>() {
        Ok(content_of(object))
    } else {
        Err(not_text(object))
    }
}

#[cold]
fn not_text(object: Argument<'_, '_>) -> PyErr {
    let name = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("a str or bytes is needed, not {name}"))
}

/// The value of an int that 64 bits hold. Without an exception otherwise, which would be costly, and which PyO3 would free some time later: it
/// does not know that calls of ours are attached.
#[inline]
pub fn integer_of(object: &Bound<'_, PyAny>) -> Option<i64> {
    let mut overflow = 0;
    // SAFETY: a valid object, and a place for the flag. What is no int sets an exception, which is taken back.
    unsafe {
        let number = ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &mut overflow);
        if number == -1 && overflow == 0 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        (overflow == 0).then_some(number)
    }
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
        (py, Borrowed::from_ptr(py, slf), Arguments::new(py, args, count as usize, names))
    };
    let outcome = protect(py, || {
        // SAFETY: invariant 1: `slf` is an instance of the class or of a subclass.
        let class = unsafe { this.cast_unchecked::<M::Class>() };
        M::call(this, class.get(), &arguments)
    });
    let is_ready = READY && !outcome.as_ref().is_ok_and(M::is_awaitable);
    if is_ready { ready(py, outcome) } else { give(outcome) }
}

/// Runs `work` and turns a panic into an exception of kind Internal.
#[inline]
pub fn protect<'py>(py: Python<'py>, work: impl FnOnce() -> Outcome<'py>) -> Outcome<'py> {
    let work = || {
        let _inside = exit::enter(py)?;
        work()
    };
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(crate::errors::from_panic(py, &panic).into()))
}

#[inline]
fn give(outcome: Outcome<'_>) -> *mut ffi::PyObject {
    outcome.map_or(ptr::null_mut(), Bound::into_ptr)
}

/// Adds a method to its class, or to a subclass; `signature` is its documentation, beginning with a line for `inspect.signature`.
///
/// # Errors
/// TypeError if it is another class, or Python has no memory.
pub fn install<M: Method, const READY: bool>(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    signature: &'static CStr,
) -> PyResult<()> {
    if !class.is_subclass_of::<M::Class>()? {
        return Err(PyTypeError::new_err("methods belong to their class and to what extends it"));
    }
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

/// What a function of the C API gave.
///
/// # Safety
/// A new reference, or null with an exception set.
#[inline]
unsafe fn owned(py: Python<'_>, object: *mut ffi::PyObject) -> Outcome<'_> {
    // SAFETY: the caller's promise, and invariant 6.
    unsafe { Bound::from_owned_ptr_or_opt(py, object).ok_or_else(Raised::already) }
}

/// A str of bytes that are known to be ASCII: cheaper than reading them as UTF-8. Runs no Python code, and fails only without memory.
///
/// # Errors
/// Python has no memory.
#[inline]
pub fn ascii<'py>(py: Python<'py>, text: &[u8]) -> Outcome<'py> {
    // SAFETY: that many bytes are there; a new reference, or null with an exception set, comes back.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(text.as_ptr().cast(), text.len() as isize, ptr::null());
        owned(py, text)
    }
}

/// Whether this is the first interpreter of the process, and no subinterpreter.
///
/// # Errors
/// Python can't tell.
pub fn is_main_interpreter(_: Python<'_>) -> PyResult<bool> {
    // SAFETY: attached; the state of the interpreter that the thread is attached to lives as long as that.
    match unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) } {
        -1 => Err(fetch()),
        number => Ok(number == 0),
    }
}

/// Sets an exception in the interpreter. At its end, too, when PyO3 attaches no more.
#[cold]
pub fn restore(error: PyErr) {
    // SAFETY: outcomes are made, and turned into each other, within calls from CPython alone, where the thread is attached (invariant 2).
    error.restore(unsafe { Python::assume_attached() });
}

/// The exception that is set in the interpreter.
#[cold]
pub fn fetch() -> PyErr {
    // SAFETY: as in `restore`.
    PyErr::fetch(unsafe { Python::assume_attached() })
}

/// A bytes object. Runs no Python code, and fails only without memory.
///
/// # Errors
/// Python has no memory.
#[inline]
pub fn blob<'py>(py: Python<'py>, content: &[u8]) -> Outcome<'py> {
    // SAFETY: that many bytes are there; a new reference, or null with an exception set, comes back.
    unsafe { owned(py, ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), content.len() as isize)) }
}

/// Calls with one argument, without a tuple around it.
///
/// # Errors
/// Whatever the callee raises.
#[inline]
pub fn call_one<'py>(callable: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> Outcome<'py> {
    let end: *mut ffi::PyObject = ptr::null_mut();
    // SAFETY: valid objects, and a null that ends them; a new reference or null comes back.
    unsafe {
        let result = ffi::PyObject_CallFunctionObjArgs(callable.as_ptr(), argument.as_ptr(), end);
        owned(callable.py(), result)
    }
}

/// The items of a tuple, borrowed from it.
#[inline]
pub fn items<'a, 'py>(
    tuple: &'a Bound<'py, PyTuple>,
) -> impl ExactSizeIterator<Item = Argument<'a, 'py>> + use<'a, 'py> {
    items_of(tuple.as_borrowed())
}

/// As [`items`], of a tuple that is borrowed itself.
#[inline]
pub fn items_of<'a, 'py>(
    tuple: Borrowed<'a, 'py, PyTuple>,
) -> impl ExactSizeIterator<Item = Argument<'a, 'py>> + use<'a, 'py> {
    let py = tuple.py();
    // SAFETY: tuples don't change: its items live as long as it is borrowed.
    (0..tuple.len()).map(move |index| unsafe {
        Borrowed::from_ptr(py, ffi::PyTuple_GetItem(tuple.as_ptr(), index as ffi::Py_ssize_t))
    })
}

/// As [`items`], with the memory of all of them asked for: who came to one after the other would wait for each.
#[inline]
///
/// # Errors
/// MemoryError.
pub fn fetched<'a, 'py>(tuple: &'a Bound<'py, PyTuple>) -> PyResult<SmallVec<[Argument<'a, 'py>; 128]>> {
    let mut all = SmallVec::new();
    all.try_reserve_exact(tuple.len()).map_err(|_| no_memory())?;
    let fetch = |item: &Argument<'a, 'py>| {
        // A string of common length begins in one line and ends in the next; the tuple's reference has brought the first.
        // SAFETY: a prefetch never faults and changes nothing but the cache.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(item.as_ptr().cast::<i8>().wrapping_add(64));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = item;
    };
    all.extend(items(tuple).inspect(fetch));
    Ok(all)
}

/// A list that is filled from front to back.
pub struct NewList<'py> {
    list: Bound<'py, PyAny>,
    filled: usize,
    length: usize,
}

impl<'py> NewList<'py> {
    /// A list of so many places. Making it may run the garbage collector, filling it runs nothing.
    ///
    /// # Errors
    /// Python has no memory.
    pub fn new(py: Python<'py>, length: usize) -> Result<Self, Raised> {
        // SAFETY: a new reference or null with an exception set.
        let list = unsafe { owned(py, ffi::PyList_New(length as ffi::Py_ssize_t))? };
        Ok(Self { list, filled: 0, length })
    }

    /// Fills the next place.
    #[inline]
    pub fn push(&mut self, object: Bound<'py, PyAny>) {
        assert!(self.filled < self.length, "there is a place for each object");
        // SAFETY: a place within the list, empty until now; the list takes the reference over.
        unsafe {
            ffi::PyList_SetItem(self.list.as_ptr(), self.filled as ffi::Py_ssize_t, object.into_ptr());
        }
        self.filled += 1;
    }

    /// The list; places that were not filled hold None.
    #[inline]
    pub fn finish(mut self) -> Bound<'py, PyAny> {
        let py = self.list.py();
        while self.filled < self.length {
            self.push(py.None().into_bound(py));
        }
        self.list
    }
}

/// Whether this thread holds the interpreter's lock.
pub fn holds_lock() -> bool {
    // Not of the limited API, but exported by every interpreter since 3.4.
    unsafe extern "C" {
        fn PyGILState_Check() -> std::ffi::c_int;
    }
    // SAFETY: it may be called from any thread at any time, and only looks at the thread's own state.
    unsafe { PyGILState_Check() == 1 }
}

/// A value that the interpreter's lock guards. A build for interpreters without one has a mutex instead.
#[derive(Default)]
pub struct Guarded<T> {
    #[cfg(not(Py_GIL_DISABLED))]
    value: std::cell::RefCell<T>,
    #[cfg(Py_GIL_DISABLED)]
    value: parking_lot::Mutex<T>,
}

// SAFETY: `with` wants proof of being attached, and only one thread is at a time; `T` moves between threads with it.
#[cfg(not(Py_GIL_DISABLED))]
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// Guards a value.
    pub fn new(value: T) -> Self {
        Self { value: value.into() }
    }

    /// Works on the value. `work` must run no Python code, which dropping objects can: hand them out and drop them afterwards.
    ///
    /// # Panics
    /// If `work` comes back here.
    #[inline]
    pub fn with<R>(&self, _: Python<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(not(Py_GIL_DISABLED))]
        return work(&mut self.value.borrow_mut());
        #[cfg(Py_GIL_DISABLED)]
        return work(&mut self.value.lock());
    }
}
