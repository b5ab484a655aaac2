//! HyperLogLog strings beside plain registers: for tests, and for the fuzz target `hyperloglog`.

use super::*;

/// Bytes up to which sketches stay sparse by default.
pub(super) const MOST: usize = 3000;

const SOUND: &str = "what was made here is a sketch";

/// The register that an element leads to, and the rank that it has there.
pub(super) type Place = (usize, Rank);

fn registers(text: &[u8]) -> Vec<Rank> {
    let mut union = Union::new();
    union.add(text).expect(SOUND);
    union.registers().to_vec()
}

fn sketch_of(places: &[Place], most: usize) -> Sketch {
    let mut sketch = Sketch::empty(most);
    places.iter().for_each(|place| _ = sketch.raise(*place).expect(SOUND));
    sketch
}

/// Raises registers of an empty sketch, which is sparse up to `most` bytes, and compares it with plain ones; then makes it dense.
pub(super) fn raise(places: &[Place], most: usize) {
    let mut model = vec![0; REGISTERS];
    let mut sketch = Sketch::empty(most);
    for (index, rank) in places {
        let before = sketch.text().to_vec();
        let patch = (sketch.form() == Form::Dense).then(|| raising(sketch.text(), (*index, *rank)));
        assert_eq!(sketch.raise((*index, *rank)), Ok(model[*index] < *rank));
        model[*index] = model[*index].max(*rank);
        if let Some(patch) = patch {
            let mut patched = before;
            if let Some(patch) = patch {
                patched[patch.at..patch.at + patch.bytes().len()].copy_from_slice(patch.bytes());
            }
            assert!(patched == sketch.text());
        }
    }
    assert!(registers(sketch.text()) == model);
    assert!(sketch.form() == Form::Dense || sketch.text().len() <= most.max(HEAD + 2));
    let before = estimate(sketch.text()).expect(SOUND);
    sketch.make_dense().expect(SOUND);
    assert!(registers(sketch.text()) == model);
    assert_eq!(estimate(sketch.text()), Ok(before));
}

/// Merges a sketch into another: as if all had been added in the order of their registers.
pub(super) fn merge(one: &[Place], other: &[Place], most: usize) {
    let (mut merged, second) = (sketch_of(one, most), sketch_of(other, most));
    let mut union = Union::new();
    union.add(second.text()).expect(SOUND);
    union.add(merged.text()).expect(SOUND);
    let mut by_hand = Sketch::copied(merged.text(), most).expect(SOUND);
    for (index, rank) in union.registers().iter().enumerate().filter(|(_, rank)| **rank > 0) {
        by_hand.raise((index, *rank)).expect(SOUND);
    }
    merged.raise_all(&union).expect(SOUND);
    assert!(merged.text() == by_hand.text());
    assert!(registers(merged.text()) == union.registers());
    assert_eq!(estimate(merged.text()), Ok(union.estimate()));
}

/// Reads and changes a string that may be anything: it is an error at worst, and what fails changes nothing.
pub(super) fn bear(text: &[u8], places: &[Place]) {
    let _ = (form_of(text), cached(text), estimate(text), decoded(text), Union::new().add(text));
    if let Ok(mut sketch) = Sketch::copied(text, MOST) {
        for place in places {
            let before = sketch.text().to_vec();
            if sketch.raise(*place).is_err() {
                assert!(sketch.text() == before);
            }
        }
        let _ = sketch.make_dense();
    }
}

/// What begins as a sketch does, with these bytes behind; repeated to the length of a dense one, if it `is_long`.
pub(super) fn hostile(is_sparse: bool, estimate: [u8; 8], runs: &[u8], is_long: bool) -> Vec<u8> {
    let mut text = head(if is_sparse { Form::Sparse } else { Form::Dense }).to_vec();
    text[ESTIMATE_AT..].copy_from_slice(&estimate);
    if is_long {
        text.extend(runs.iter().cycle().take(DENSE_LEN - HEAD));
        text.resize(DENSE_LEN, 0xff);
    } else {
        text.extend_from_slice(runs);
    }
    text
}

#[cfg(feature = "fuzzing")]
mod fuzzed {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::*;

    /// What a fuzzer makes of its bytes.
    #[derive(Arbitrary, Debug)]
    pub enum Input {
        /// Elements of one sketch, and how long it stays sparse.
        Raise(Places, u16),
        /// Those of two, which are merged.
        Merge(Places, Places, u16),
        /// What is behind the head of a string that a client stored, [hostile] or not, and what is raised in it.
        Bear((bool, [u8; 8], Vec<u8>, bool), Places),
    }

    /// Some places: low ranks, and neighbours, are much more frequent, as with elements.
    #[derive(Debug)]
    pub struct Places(Vec<Place>);

    impl<'a> Arbitrary<'a> for Places {
        fn arbitrary(from: &mut Unstructured<'a>) -> Result<Self> {
            let place = |from: &mut Unstructured<'a>| {
                let index = match from.int_in_range(0..=3)? {
                    0 => from.int_in_range(0..=REGISTERS - 1)?,
                    1 => REGISTERS - 1 - usize::from(u8::arbitrary(from)?),
                    _ => u8::arbitrary(from)?.into(),
                };
                let most = if bool::arbitrary(from)? { 4 } else { 51 };
                Ok((index, from.int_in_range(1..=most)?))
            };
            let count = from.int_in_range(0..=400_usize)?;
            (0..count).map(|_| place(from)).collect::<Result<_>>().map(Self)
        }
    }

    impl Input {
        /// Runs it.
        ///
        /// # Panics
        /// If a sketch is not what its model is.
        pub fn run(self) {
            match self {
                Self::Raise(Places(places), most) => raise(&places, most.into()),
                Self::Merge(Places(one), Places(other), most) => merge(&one, &other, most.into()),
                Self::Bear((is_sparse, estimate, runs, is_long), Places(places)) => {
                    bear(&hostile(is_sparse, estimate, &runs, is_long), &places);
                }
            }
        }
    }
}

#[cfg(feature = "fuzzing")]
pub use fuzzed::Input;
