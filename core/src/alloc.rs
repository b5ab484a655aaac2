//! Allocations whose size a caller decides: where the system has no memory for one, that is an error of the call and not the end of the process.
//!
//! Small allocations of fixed size are left to the standard library, which aborts without them.

use crate::error::{Error, Result};

/// So little is there, or nothing goes on anyway.
const SMALL: usize = 4096;

/// A copy of bytes. O(length).
#[inline]
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.len() <= SMALL { Ok(bytes.to_vec()) } else { copied_long(bytes) }
}

#[inline(never)]
fn copied_long(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = with_room_for(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// As [`copied`], in a box.
pub(crate) fn boxed(bytes: &[u8]) -> Result<Box<[u8]>> {
    copied(bytes).map(Vec::into_boxed_slice)
}

/// What an iterator yields. It should know how many items that are.
pub(crate) fn collected<T>(items: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
    let items = items.into_iter();
    let mut all = with_room_for(items.size_hint().0)?;
    for item in items {
        if all.len() == all.capacity() {
            all.try_reserve(1).map_err(|_| Error::no_memory())?;
        }
        all.push(item);
    }
    Ok(all)
}

/// An empty vector with room for so many items.
pub(crate) fn with_room_for<T>(items: usize) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(items).map_err(|_| Error::no_memory())?;
    Ok(all)
}

/// Texts, one behind the other.
#[derive(Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a copy of a text. O(length).
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<()> {
        self.bytes.try_reserve(text.len()).map_err(|_| Error::no_memory())?;
        self.ends.try_reserve(1).map_err(|_| Error::no_memory())?;
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The sum of their lengths.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The texts in the order in which they were added.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let start = |at: usize| at.checked_sub(1).map_or(0, |before| self.ends[before]);
        (0..self.ends.len()).map(move |at| &self.bytes[start(at)..self.ends[at]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_memory_for_is_an_error() {
        assert!(with_room_for::<u64>(usize::MAX / 8).is_err());
        assert_eq!(copied(b"abc").unwrap(), b"abc");
        assert_eq!(&*boxed(b"").unwrap(), b"");
        let mut texts = Texts::default();
        [&b"ab"[..], b"", b"c"].into_iter().for_each(|text| texts.push(text).unwrap());
        assert!(texts.iter().eq([&b"ab"[..], b"", b"c"]) && (texts.len(), texts.bytes()) == (3, 3));
        assert_eq!(collected((0..100).filter(|number| number % 3 == 0)).unwrap().len(), 34);
    }
}
