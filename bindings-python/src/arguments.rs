//! Python arguments as the methods and the engine take them: parameters by name, words of a command, times to live, flags.

use std::time::Duration;

use keystead::{Condition, Ttl};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyFloat, PyInt, PyList, PyMemoryView, PyTuple};
use smallvec::SmallVec;

use crate::errors::{Raised, missing, too_many, usage};
use crate::hot::{Argument, Arguments, Names, bytes_of, exact, integer_of};
use crate::memory::{collected, joined};

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

impl<'a, 'py> Arguments<'a, 'py> {
    /// Sorts the arguments into the parameters of these names, the first `required` of which must be there.
    ///
    /// # Errors
    /// TypeError, as for any Python function.
    #[inline(always)]
    pub fn bind<const N: usize>(
        &self,
        names: &'static Names<N>,
        required: usize,
    ) -> Result<[Option<Argument<'a, 'py>>; N], Raised> {
        let mut bound = [None; N];
        if self.positional().len() > N {
            return Err(too_many(N, self.positional().len()));
        }
        for (place, argument) in bound.iter_mut().zip(self.positional()) {
            *place = Some(argument);
        }
        if self.has_keywords() {
            self.bind_keywords(names, &mut bound)?;
        }
        for (index, place) in bound.iter().enumerate().take(required) {
            if place.is_none() {
                return Err(missing(names.text(index)));
            }
        }
        Ok(bound)
    }

    fn bind_keywords<const N: usize>(
        &self,
        names: &'static Names<N>,
        bound: &mut [Option<Argument<'a, 'py>>; N],
    ) -> Result<(), Raised> {
        for (name, value) in self.keyword() {
            let Some(place) = names.position(name)? else {
                let text =
                    format!("unexpected keyword argument '{}'", String::from_utf8_lossy(bytes_of(name)?));
                return Err(PyTypeError::new_err(text).into());
            };
            if bound[place].replace(value).is_some() {
                let text = format!("multiple values for argument '{}'", names.text(place));
                return Err(PyTypeError::new_err(text).into());
            }
        }
        Ok(())
    }
}

/// The objects of a list, tuple or other iterable in a tuple, which nobody changes while their bytes are used.
///
/// # Errors
/// It can't be iterated over, or is a str or bytes, which would be taken apart.
pub fn held<'py>(iterable: Argument<'_, 'py>) -> PyResult<Bound<'py, PyTuple>> {
    if let Ok(list) = iterable.cast::<PyList>() {
        return Ok(list.to_tuple());
    }
    if let Ok(tuple) = iterable.cast::<PyTuple>() {
        return Ok(tuple.to_owned());
    }
    if bytes_of(iterable).is_ok() {
        return Err(PyTypeError::new_err("several keys are needed, not one str or bytes"));
    }
    PyTuple::new(iterable.py(), collected(iterable.try_iter()?)?)
}

/// A word of a command: borrowed from a str or bytes, or written out.
pub enum Word<'a> {
    Borrowed(&'a [u8]),
    Owned(SmallVec<[u8; 24]>),
}

impl AsRef<[u8]> for Word<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Word::Borrowed(bytes) => bytes,
            Word::Owned(bytes) => bytes,
        }
    }
}

/// The words of one command.
pub type Words<'a> = SmallVec<[Word<'a>; 8]>;

/// A str, bytes, bytes-like object, int or float as a word. `None`: of another type, bool included.
///
/// # Errors
/// UnicodeEncodeError for a str with lone surrogates.
#[inline]
pub fn word<'a>(object: Argument<'a, '_>) -> PyResult<Option<Word<'a>>> {
    match exact(&object) {
        Exact::Str | Exact::Bytes => bytes_of(object).map(|bytes| Some(Word::Borrowed(bytes))),
        Exact::Int => match integer_of(&object) {
            Some(number) => {
                Ok(Some(Word::Owned(SmallVec::from_slice(itoa::Buffer::new().format(number).as_bytes()))))
            }
            None => printed(object),
        },
        Exact::Float => printed(object),
        Exact::Bool | Exact::None => Ok(None),
        Exact::Other => unusual_word(object),
    }
}

fn unusual_word<'a>(object: Argument<'a, '_>) -> PyResult<Option<Word<'a>>> {
    if let Ok(bytes) = bytes_of(object) {
        return Ok(Some(Word::Borrowed(bytes)));
    }
    if object.is_instance_of::<PyMemoryView>() || object.is_instance_of::<PyByteArray>() {
        let bytes = object.py().get_type::<pyo3::types::PyBytes>().call1((object,))?;
        return Ok(Some(Word::Owned(joined([bytes_of(bytes.as_borrowed())?])?)));
    }
    if object.is_instance_of::<PyInt>() || object.is_instance_of::<PyFloat>() {
        return printed(object);
    }
    Ok(None)
}

/// Numbers as Python's `repr` prints them.
fn printed<'a>(object: Argument<'a, '_>) -> PyResult<Option<Word<'a>>> {
    let text = object.repr()?;
    Ok(Some(Word::Owned(joined([text.to_str()?.as_bytes()])?)))
}

/// The bytes of what is exactly a str or bytes; `None` for anything else.
///
/// # Errors
/// UnicodeEncodeError for a str with lone surrogates.
#[inline(always)]
pub fn text_of<'a>(object: Argument<'a, '_>) -> PyResult<Option<&'a [u8]>> {
    match exact(&object) {
        Exact::Str | Exact::Bytes => bytes_of(object).map(Some),
        _ => Ok(None),
    }
}

/// A key or a raw value.
///
/// # Errors
/// TypeError, naming the type.
#[inline(always)]
pub fn raw_value<'a>(object: Argument<'a, '_>) -> PyResult<Word<'a>> {
    match exact(&object) {
        Exact::Str | Exact::Bytes => bytes_of(object).map(Word::Borrowed),
        _ => other_value(object),
    }
}

#[inline(never)]
fn other_value<'a>(object: Argument<'a, '_>) -> PyResult<Word<'a>> {
    match word(object)? {
        Some(word) => Ok(word),
        None => Err(PyTypeError::new_err(format!(
            "a str, bytes, int or float is needed, not {}",
            object.get_type().name()?
        ))),
    }
}

/// A time to live in seconds (int or float) or a timedelta; absent and None: none.
///
/// # Errors
/// TypeError; ValueError if it is not above 0 or not finite.
#[inline]
pub fn ttl(object: Option<Argument<'_, '_>>) -> PyResult<Ttl> {
    match object {
        None => Ok(Ttl::None),
        Some(object) => match exact(&object) {
            Exact::None => Ok(Ttl::None),
            Exact::Int => match integer_of(&object) {
                Some(seconds @ 1..) => after(object, Duration::from_secs(seconds as u64)),
                _ => Err(bad_ttl(object)),
            },
            _ => other_ttl(object),
        },
    }
}

fn other_ttl(object: Argument<'_, '_>) -> PyResult<Ttl> {
    let seconds: f64 = if object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>() {
        object.extract()?
    } else {
        match object.call_method0("total_seconds") {
            Ok(seconds) => seconds.extract()?,
            Err(_) => {
                let name = object.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "ttl is a number of seconds or a timedelta, not {name}"
                )));
            }
        }
    };
    // Less than a nanosecond would be no time at all.
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds > 0.0 => after(object, time.max(Duration::from_millis(1))),
        _ => Err(bad_ttl(object)),
    }
}

/// The same bound and the same error for calls that set at once and for those that are recorded, whatever becomes of these.
#[inline]
fn after(object: Argument<'_, '_>, time: Duration) -> PyResult<Ttl> {
    const LONGEST: Duration = Duration::from_millis(1 << 62);
    if time <= LONGEST {
        Ok(Ttl::After(time))
    } else {
        Err(usage(object.py(), "ERR the time to live is too long"))
    }
}

#[cold]
fn bad_ttl(object: Argument<'_, '_>) -> PyErr {
    PyValueError::new_err(format!("ttl must be above 0 and fit 64 bits, not {}", *object))
}

/// A flag, by Python's truth.
#[inline]
pub fn flag(object: Option<Argument<'_, '_>>) -> PyResult<bool> {
    object.map_or(Ok(false), |object| object.is_truthy())
}

/// The condition that `nx` and `xx` stand for.
///
/// # Errors
/// ValueError if both are given.
#[inline]
pub fn condition(nx: Option<Argument<'_, '_>>, xx: Option<Argument<'_, '_>>) -> PyResult<Condition> {
    match (flag(nx)?, flag(xx)?) {
        (false, false) => Ok(Condition::Always),
        (true, false) => Ok(Condition::IfAbsent),
        (false, true) => Ok(Condition::IfPresent),
        (true, true) => Err(PyValueError::new_err("nx and xx exclude each other")),
    }
}

/// An optional integer.
///
/// # Errors
/// TypeError or OverflowError.
#[inline]
pub fn integer(object: Option<Argument<'_, '_>>, default: i64) -> PyResult<i64> {
    object.map_or(Ok(default), |object| object.extract())
}
