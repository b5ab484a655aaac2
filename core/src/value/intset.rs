//! A packed set of integers, sorted, all of one width: the encoding of small sets whose members are integers.
//! Where its bytes are kept is left to the caller, as is how many members it may have.
//!
//! ```text
//! width (2, 4 or 8) | integer 0 | integer 1 | ... | integer n-1      (little-endian, two's complement, ascending)
//! ```
//! The width is that of the widest integer there has been: one that needs more has all others written anew, which then stand to one side of
//! it. Removing an integer narrows nothing.
//!
//! Searching is O(log n), the smallest, the largest and the n-th are O(1); an edit moves the bytes behind it.

use smallvec::SmallVec;

use super::editing::Splice;
use super::patch::Patch;

const HEAD: usize = 1;

/// The bytes of a set without integers.
pub(crate) const EMPTY: [u8; HEAD] = [2];

/// Bytes that an integer needs.
fn width_of(integer: i64) -> usize {
    if i16::try_from(integer).is_ok() {
        2
    } else if i32::try_from(integer).is_ok() {
        4
    } else {
        8
    }
}

/// A set to read. See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intset<'a> {
    bytes: &'a [u8],
}

impl<'a> Intset<'a> {
    /// Reads bytes that this module wrote. O(1).
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    fn width(self) -> usize {
        self.bytes[0].into()
    }

    /// Number of integers. O(1).
    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.bytes.len() - HEAD) / self.width()
    }

    /// Whether there are no integers. O(1).
    pub(crate) fn is_empty(self) -> bool {
        self.bytes.len() == HEAD
    }

    /// The integer of this index, in ascending order. O(1).
    ///
    /// # Panics
    /// If there are not as many.
    #[inline]
    pub(crate) fn get(self, index: usize) -> i64 {
        let width = self.width();
        let mut integer = [0; 8];
        integer[8 - width..].copy_from_slice(&self.bytes[HEAD + index * width..][..width]);
        i64::from_le_bytes(integer) >> (64 - 8 * width)
    }

    /// The integers in ascending order.
    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = i64> + 'a {
        (0..self.len()).map(move |index| self.get(index))
    }

    /// The smallest and the largest; `None` of an empty set. O(1).
    pub(crate) fn bounds(self) -> Option<(i64, i64)> {
        let last = self.len().checked_sub(1)?;
        Some((self.get(0), self.get(last)))
    }

    /// Where an integer is, or else would be. O(log n).
    fn search(self, integer: i64) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        // Those who count upwards add behind the last.
        if to > 0 && self.get(to - 1) < integer {
            return Err(to);
        }
        while from < to {
            let middle = from + (to - from) / 2;
            match self.get(middle).cmp(&integer) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// Whether an integer is there. O(log n).
    pub(crate) fn contains(self, integer: i64) -> bool {
        self.search(integer).is_ok()
    }

    /// What adding an integer comes to where none needs another width: `Err` says whether it is there. O(log n).
    pub(crate) fn insertion(self, integer: i64) -> Result<Patch, bool> {
        let Err(index) = self.search(integer) else { return Err(true) };
        let width = self.width();
        if width_of(integer) > width {
            return Err(false);
        }
        let (at, bytes) = (HEAD + index * width, SmallVec::from_slice(&integer.to_le_bytes()[..width]));
        Ok(Patch::new(at..at, bytes, self.len() + 1, None))
    }

    /// What removing an integer comes to, if it is there. O(log n).
    pub(crate) fn removal(self, integer: i64) -> Option<Patch> {
        let index = self.search(integer).ok()?;
        let at = HEAD + index * self.width();
        Some(Patch::new(at..at + self.width(), SmallVec::new(), self.len() - 1, None))
    }

    /// Length in bytes once an integer is added that is not there. O(1).
    pub(crate) fn len_with(self, integer: i64) -> usize {
        HEAD + (self.len() + 1) * self.width().max(width_of(integer))
    }
}

/// Adds an integer and says whether it is new. O(n).
pub(crate) fn insert(bytes: &mut (impl Splice + ?Sized), integer: i64) -> bool {
    let set = Intset::new(bytes.bytes());
    let index = match set.insertion(integer) {
        Ok(patch) => {
            patch.apply_to(bytes);
            return true;
        }
        Err(true) => return false,
        // All others are narrower: it is smaller than each, or larger.
        Err(false) => {
            if integer < 0 {
                0
            } else {
                set.len()
            }
        }
    };
    let needed = width_of(integer);
    let mut wider = Vec::with_capacity(set.len_with(integer));
    wider.push(needed as u8);
    let mut write = |integer: i64| wider.extend_from_slice(&integer.to_le_bytes()[..needed]);
    set.iter().take(index).for_each(&mut write);
    write(integer);
    set.iter().skip(index).for_each(&mut write);
    let before = bytes.bytes().len();
    bytes.splice(0, before, &wider);
    true
}

/// The bytes of a set of these integers, which are sorted and differ from each other. O(n).
pub(crate) fn of_sorted(integers: &[i64]) -> Vec<u8> {
    let width = integers.iter().map(|integer| width_of(*integer)).max().unwrap_or(EMPTY[0].into());
    let mut bytes = Vec::with_capacity(HEAD + integers.len() * width);
    bytes.push(width as u8);
    integers.iter().for_each(|integer| bytes.extend_from_slice(&integer.to_le_bytes()[..width]));
    bytes
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::Union;

    use super::model::{Op, remove, run};
    use super::*;

    fn integers(bytes: &[u8]) -> Vec<i64> {
        Intset::new(bytes).iter().collect()
    }

    #[test]
    fn the_width_grows_with_what_needs_it_and_stays() {
        let mut bytes = EMPTY.to_vec();
        assert!(insert(&mut bytes, 5) && insert(&mut bytes, -5) && !insert(&mut bytes, 5));
        assert_eq!(bytes, [2, 0xfb, 0xff, 5, 0]);
        assert!(insert(&mut bytes, 40_000));
        assert_eq!((bytes[0], bytes.len()), (4, 1 + 3 * 4));
        assert!(insert(&mut bytes, i64::MIN) && insert(&mut bytes, i64::MAX));
        assert_eq!((bytes[0], bytes.len()), (8, 1 + 5 * 8));
        assert_eq!(integers(&bytes), [i64::MIN, -5, 5, 40_000, i64::MAX]);
        assert!(remove(&mut bytes, i64::MIN) && remove(&mut bytes, i64::MAX) && !remove(&mut bytes, 0));
        assert_eq!((integers(&bytes), bytes[0]), (vec![-5, 5, 40_000], 8));
        assert_eq!(Intset::new(&bytes).bounds(), Some((-5, 40_000)));
        assert_eq!(Intset::new(&EMPTY).bounds(), None);
    }

    fn integer() -> impl Strategy<Value = i64> {
        let around = |border: i64| (border.saturating_sub(3)..=border.saturating_add(3)).boxed();
        let borders =
            [0, i16::MIN.into(), i16::MAX.into(), i32::MIN.into(), i32::MAX.into(), i64::MIN, i64::MAX];
        prop_oneof![Union::new(borders.map(around)), -40_i64..40, any::<i64>()]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => integer().prop_map(Op::Insert),
            2 => integer().prop_map(Op::Remove),
            1 => any::<usize>().prop_map(Op::RemoveAt),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 200 }))]
        #[test]
        fn as_a_set_of_integers(ops in prop::collection::vec(op(), 0..80)) {
            run(ops);
        }
    }
}
