//! What the raw entries of [`crate::hot`] call: the bodies of methods and of callable objects, and what these leave to be called last.
//!
//! How arguments come in and outcomes go out is left to that file.

use std::cell::Cell;
use std::ffi::CStr;

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::errors::{Outcome, Raised};
use crate::hot::{Argument, Arguments};

/// A method of a class, called without PyO3's argument handling.
pub trait Method: 'static {
    /// The class whose instances it is called on.
    type Class: PyClass<Frozen = True> + Sync;
    /// Whether what it gave is awaited as it is, where a method gives awaitables: it is still to come.
    #[inline(always)]
    fn is_awaitable(_: &Bound<'_, PyAny>) -> bool {
        false
    }
    /// What it does.
    fn call<'py>(
        this: Argument<'_, 'py>,
        class: &Self::Class,
        arguments: &Arguments<'_, 'py>,
    ) -> Outcome<'py>;
}

/// What an object of a type of callables does. PyO3's classes are called through a tuple and a dict; these by vectorcall, as functions are.
pub trait Body: Send + Sync + 'static {
    /// The type's full name.
    const NAME: &'static CStr;
    /// Where the type is kept once it was made.
    fn kind() -> &'static PyOnceLock<Py<PyType>>;
    /// What calling an object does.
    fn call<'py>(&self, this: Argument<'_, 'py>, arguments: &Arguments<'_, 'py>) -> Outcome<'py>;
    /// Shows the garbage collector what the body refers to.
    fn traverse(&self, visit: &mut dyn FnMut(&Py<PyAny>));
}

/// A function to call, its arguments and its keyword arguments.
pub type Left = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>);

thread_local! {
    static LEFT: Cell<Option<Left>> = const { Cell::new(None) };
}

/// Has a Python function called in place of what a body returns, once the body and all that it used are gone: for functions that may take long. While
/// Python ends, it ends the threads that still run its code by unwinding them, which frames of Rust with anything to drop, or that catch panics,
/// do not survive (invariant 9 of [`crate::hot`]). Only what a [`Body`] returns at once.
pub fn call_last(function: Py<PyAny>, args: Bound<'_, PyTuple>, kwargs: Option<Bound<'_, PyDict>>) -> Raised {
    LEFT.set(Some((function, args.unbind(), kwargs.map(Bound::unbind))));
    Raised::already()
}

/// What [`call_last`] was given in this thread since this was last asked.
pub fn take_left() -> Option<Left> {
    LEFT.take()
}
