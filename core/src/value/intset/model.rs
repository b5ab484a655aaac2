//! A packed set of integers beside a `BTreeSet` of what it should hold: for tests, and for the fuzz target `intset`.

use std::collections::BTreeSet;

use super::*;

/// An edit.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "fuzzing", derive(arbitrary::Arbitrary))]
pub(super) enum Op {
    Insert(#[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::integer))] i64),
    Remove(#[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::integer))] i64),
    /// The one of this index, taken modulo how many there are.
    RemoveAt(usize),
}

/// Removes an integer and says whether it was there.
pub(super) fn remove(bytes: &mut Vec<u8>, integer: i64) -> bool {
    Intset::new(bytes).removal(integer).map(|patch| patch.apply_to(bytes)).is_some()
}

/// Makes edits to an empty set and compares it with the model after each.
pub(super) fn run(ops: impl IntoIterator<Item = Op>) {
    let (mut bytes, mut model) = (EMPTY.to_vec(), BTreeSet::new());
    let mut widest = usize::from(EMPTY[0]);
    for op in ops {
        let (adds, integer) = match op {
            Op::Insert(integer) => (true, integer),
            Op::Remove(integer) => (false, integer),
            Op::RemoveAt(at) => match model.iter().nth(at % model.len().max(1)) {
                Some(integer) => (false, *integer),
                None => continue,
            },
        };
        let expected = Intset::new(&bytes).len_with(integer);
        if adds {
            let is_new = insert(&mut bytes, integer);
            assert_eq!(is_new, model.insert(integer));
            assert!(!is_new || bytes.len() == expected);
            widest = widest.max(width_of(integer));
        } else {
            assert_eq!(remove(&mut bytes, integer), model.remove(&integer));
        }
        let set = Intset::new(&bytes);
        assert!(set.iter().eq(model.iter().copied()));
        assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        assert_eq!((set.width(), bytes.len()), (widest, HEAD + model.len() * widest));
        assert_eq!(set.contains(integer), adds);
        for near in [integer.wrapping_sub(1), integer.wrapping_add(1)] {
            assert_eq!(set.contains(near), model.contains(&near));
        }
        assert_eq!(set.bounds(), model.first().copied().zip(model.last().copied()));
    }
    let sorted: Vec<i64> = model.into_iter().collect();
    assert!(Intset::new(&of_sorted(&sorted)).iter().eq(sorted.iter().copied()));
}

#[cfg(feature = "fuzzing")]
mod fuzzed {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::*;

    /// What a fuzzer makes of its bytes.
    #[derive(Arbitrary, Debug)]
    pub struct Input(Vec<Op>);

    impl Input {
        /// Runs it.
        ///
        /// # Panics
        /// If a set is not what its model is.
        pub fn run(self) {
            /// Each is compared with all that there is.
            const MOST: usize = 400;
            run(self.0.into_iter().take(MOST));
        }
    }

    /// An integer: small ones, those around the limits of widths, and any.
    pub(super) fn integer(from: &mut Unstructured<'_>) -> Result<i64> {
        const LIMITS: [i64; 6] =
            [i16::MIN as i64, i16::MAX as i64, i32::MIN as i64, i32::MAX as i64, i64::MIN, i64::MAX];
        Ok(match from.int_in_range(0..=3)? {
            0 => from.choose(&LIMITS)?.wrapping_add(i8::arbitrary(from)?.into()),
            1 => i64::arbitrary(from)? >> from.int_in_range(0..=63)?,
            _ => i8::arbitrary(from)?.into(),
        })
    }
}

#[cfg(feature = "fuzzing")]
pub use fuzzed::Input;
