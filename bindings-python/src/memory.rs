//! Allocations whose size a caller decides: MemoryError where there is no memory for one, as for any Python object.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use smallvec::SmallVec;

use crate::hot::{NewList, blob};

/// The exception.
#[cold]
pub fn no_memory() -> PyErr {
    PyMemoryError::new_err(())
}

/// An empty vector with room for so many items.
///
/// # Errors
/// MemoryError.
pub fn with_room_for<T>(items: usize) -> PyResult<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(items).map_err(|_| no_memory())?;
    Ok(all)
}

/// A copy of bytes.
///
/// # Errors
/// MemoryError.
pub fn copied(bytes: &[u8]) -> PyResult<Vec<u8>> {
    let mut copy = with_room_for(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Bytes one behind the other, short ones in place.
///
/// # Errors
/// MemoryError.
#[inline]
pub fn joined<const N: usize, const P: usize>(parts: [&[u8]; P]) -> PyResult<SmallVec<[u8; N]>>
where
    [u8; N]: smallvec::Array<Item = u8>,
{
    let mut bytes = SmallVec::new();
    bytes.try_reserve_exact(parts.iter().map(|part| part.len()).sum()).map_err(|_| no_memory())?;
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(bytes)
}

/// Adds bytes to others.
pub trait Add {
    /// Appends these.
    ///
    /// # Errors
    /// MemoryError.
    fn add(&mut self, bytes: &[u8]) -> PyResult<()>;
}

impl<const N: usize> Add for SmallVec<[u8; N]>
where
    [u8; N]: smallvec::Array<Item = u8>,
{
    #[inline]
    fn add(&mut self, bytes: &[u8]) -> PyResult<()> {
        if self.capacity() - self.len() < bytes.len() {
            self.try_reserve(bytes.len()).map_err(|_| no_memory())?;
        }
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// What items are added to.
pub trait Push<T> {
    /// Appends one.
    ///
    /// # Errors
    /// MemoryError.
    fn try_push(&mut self, item: T) -> PyResult<()>;
}

impl<T> Push<T> for Vec<T> {
    #[inline]
    fn try_push(&mut self, item: T) -> PyResult<()> {
        self.try_reserve(1).map_err(|_| no_memory())?;
        self.push(item);
        Ok(())
    }
}

impl<T, const N: usize> Push<T> for SmallVec<[T; N]>
where
    [T; N]: smallvec::Array<Item = T>,
{
    #[inline]
    fn try_push(&mut self, item: T) -> PyResult<()> {
        self.try_reserve(1).map_err(|_| no_memory())?;
        self.push(item);
        Ok(())
    }
}

/// What an iterator yields, which knows how many items that are.
///
/// # Errors
/// The first error that it yields, or MemoryError.
pub fn collected<T>(items: impl Iterator<Item = PyResult<T>>) -> PyResult<Vec<T>> {
    let mut all = with_room_for(items.size_hint().0)?;
    for item in items {
        let item = item?;
        if all.len() == all.capacity() {
            all.try_reserve(1).map_err(|_| no_memory())?;
        }
        all.push(item);
    }
    Ok(all)
}

/// A bytes object.
///
/// # Errors
/// MemoryError.
pub fn bytes<'py>(py: Python<'py>, content: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    Ok(blob(py, content)?.cast_into()?)
}

/// A list of these objects.
///
/// # Errors
/// MemoryError.
pub fn list<'py>(py: Python<'py>, objects: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let mut list = NewList::new(py, objects.len())?;
    objects.into_iter().for_each(|object| list.push(object));
    Ok(list.finish())
}
