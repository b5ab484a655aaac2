//! A listpack beside a vector of what it should hold: for tests, and for the fuzz target `listpack`.

use super::*;

/// An edit. Indexes are taken modulo what there is, counts are cut to it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "fuzzing", derive(arbitrary::Arbitrary))]
pub(super) enum Op {
    Push(#[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::string))] Vec<u8>),
    Insert(usize, #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::strings))] Vec<Vec<u8>>),
    Replace(usize, #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::string))] Vec<u8>),
    Remove(usize, u8),
    Splice(usize, u8, #[cfg_attr(feature = "fuzzing", arbitrary(with = fuzzed::strings))] Vec<Vec<u8>>),
}

/// What is done to a written listpack before it is read as bytes from anywhere.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "fuzzing", derive(arbitrary::Arbitrary))]
pub(super) struct Damage {
    pub(super) bytes: Vec<(usize, u8)>,
    pub(super) cut: Option<usize>,
}

pub(super) fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    for element in elements {
        let len = Listpack::new(&bytes).len();
        edit(&mut bytes, len, 0, &[Element::Bytes(element)]);
    }
    bytes
}

pub(super) fn unpack(bytes: &[u8]) -> Vec<Vec<u8>> {
    let to_vec = |element: Element<'_>| element.with(<[u8]>::to_vec);
    Listpack::validate(bytes).expect("edits leave a valid listpack").iter().map(to_vec).collect()
}

/// Puts elements in the place of as many as are removed, in exactly the bytes that were foretold.
fn edit(bytes: &mut Vec<u8>, index: usize, removed: usize, inserted: &[Element<'_>]) {
    let listpack = Listpack::new(bytes);
    let at = listpack.seek(index).expect("an index within the listpack");
    let patch = listpack.splice(at, removed, inserted);
    assert_eq!(patch.count_after(), listpack.len() - removed + inserted.len());
    let len = patch.len_after(bytes.len());
    patch.apply_to(bytes);
    assert_eq!(bytes.len(), len);
}

/// What an element takes in Valkey's listpack, by its documented format.
pub(super) fn size_in_valkey(bytes: &[u8]) -> usize {
    let entry = match parse_int(bytes) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x80_0000..=0x7f_ffff) => 4,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        Some(_) => 9,
        None if bytes.len() < 64 => 1 + bytes.len(),
        None if bytes.len() < 4096 => 2 + bytes.len(),
        None => 5 + bytes.len(),
    };
    entry + [128, 16_383, 2_097_151, 268_435_455].iter().filter(|&&limit| entry >= limit).count() + 1
}

/// Makes edits to an empty listpack and compares it with the model after each.
pub(super) fn run(ops: impl IntoIterator<Item = Op>) {
    let mut bytes = EMPTY.to_vec();
    let mut model: Vec<Vec<u8>> = Vec::new();
    for op in ops {
        let place = |at: usize| at % (model.len() + 1);
        let (at, removed, new, is_stored) = match op {
            Op::Push(new) => (model.len(), 0, vec![new], false),
            Op::Insert(at, new) => (place(at), 0, new, true),
            Op::Replace(..) if model.is_empty() => continue,
            Op::Replace(at, new) => (at % model.len(), 1, vec![new], false),
            Op::Remove(at, count) => (place(at), count.into(), Vec::new(), false),
            Op::Splice(at, count, new) => (place(at), count.into(), new, false),
        };
        let removed = removed.min(model.len() - at);
        let element = |new| if is_stored { Element::of(new) } else { Element::Bytes(new) };
        let elements: Vec<_> = new.iter().map(|new: &Vec<u8>| element(new)).collect();
        edit(&mut bytes, at, removed, &elements);
        model.splice(at..at + removed, new);
        assert_eq!(unpack(&bytes), model);
        assert_eq!(bytes, pack(&model), "one form only");
    }
    check(&bytes, &model);
}

/// That all ways to read a listpack give what the model has.
fn check(bytes: &[u8], model: &[Vec<u8>]) {
    let listpack = Listpack::new(bytes);
    assert_eq!(Some(listpack.end()), listpack.seek(model.len()));
    for pair in model.chunks_exact(2) {
        let first = model.chunks_exact(2).position(|other| other[0] == pair[0]).expect("it is there");
        assert_eq!(listpack.find_pair(&pair[0]), listpack.seek(2 * first + 1));
    }
    assert_eq!((listpack.len(), listpack.is_empty()), (model.len(), model.is_empty()));
    assert!(bytes.len() <= 7 + model.iter().map(|element| size_in_valkey(element)).sum::<usize>());
    assert_eq!((listpack.get(model.len()), listpack.seek(model.len() + 1)), (None, None));
    for (index, string) in model.iter().enumerate() {
        let element = listpack.get(index).expect("an element of each index");
        assert!(element.eq(string) && element.len() == string.len());
        assert!(!element.eq(b"not there") || string == b"not there");
        let mut out = vec![9];
        element.write_to(&mut out);
        assert_eq!(out[1..], string[..]);
        for stride in 1..3 {
            let first = |from: usize| (from..model.len()).step_by(stride).find(|&at| model[at] == *string);
            let from = index % stride;
            assert_eq!(listpack.find(string, from, stride).map(|at| at.index), first(from));
            let found = listpack.find(string, index, stride).expect("it is there");
            assert_eq!(Some(found.index), first(index));
            assert_eq!(Some(found), listpack.seek(found.index));
        }
        let at = listpack.seek(index).expect("an index within the listpack");
        assert_eq!(listpack.iter_from(at).len() + listpack.iter_until(at).len(), model.len());
        assert_eq!(listpack.iter_until(at).next_back(), index.checked_sub(1).and_then(|at| listpack.get(at)));
    }
    // Both ends at once meet in the middle.
    let mut iter = listpack.iter();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some(element) = iter.next() {
        front.push(element.with(<[u8]>::to_vec));
        back.extend(iter.next_back().map(|element| element.with(<[u8]>::to_vec)));
    }
    front.extend(back.into_iter().rev());
    assert_eq!(front, model);
}

/// Reads a damaged listpack as bytes from anywhere.
pub(super) fn damage(mut bytes: Vec<u8>, damage: Damage) {
    for (at, byte) in damage.bytes {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    if let Some(cut) = damage.cut {
        bytes.truncate(cut % (bytes.len() + 1));
    }
    read_foreign(&bytes);
}

/// Bytes from anywhere are refused, or are what this module writes for the same elements; never a panic.
pub(super) fn read_foreign(bytes: &[u8]) {
    let Some(listpack) = Listpack::validate(bytes) else { return };
    let elements: Vec<_> = listpack.iter().map(|element| element.with(<[u8]>::to_vec)).collect();
    assert_eq!(pack(&elements), bytes);
    check(bytes, &elements);
}

#[cfg(feature = "fuzzing")]
mod fuzzed {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::*;

    /// What a fuzzer makes of its bytes.
    #[derive(Arbitrary, Debug)]
    pub struct Input(Kind);

    #[derive(Arbitrary, Debug)]
    enum Kind {
        Edits(Vec<Op>),
        Damaged(#[arbitrary(with = strings)] Vec<Vec<u8>>, Damage),
        Foreign(Vec<u8>),
    }

    impl Input {
        /// Runs it.
        ///
        /// # Panics
        /// If a listpack is not what its model is.
        pub fn run(self) {
            /// Each costs as much as all before it.
            const MOST_EDITS: usize = 60;
            match self.0 {
                Kind::Edits(ops) => run(ops.into_iter().take(MOST_EDITS)),
                Kind::Damaged(strings, damage) => super::damage(pack(&strings), damage),
                Kind::Foreign(bytes) => read_foreign(&bytes),
            }
        }
    }

    /// A string: integers of all widths, texts that are nearly such, and lengths around the limits of codes.
    pub(super) fn string(from: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let int = |int: i64| int.to_string().into_bytes();
        Ok(match from.int_in_range(0..=5)? {
            0 => int(i8::arbitrary(from)?.into()),
            1 => int(i64::arbitrary(from)? >> from.int_in_range(0..=63)?),
            2 => {
                [from.choose(&["0", "-", "-0", "+", "00"])?.as_bytes(), &int(i64::arbitrary(from)?)].concat()
            }
            3 => {
                let limit: usize = *from.choose(&[0, 64, 128, 0x1000, 0x1_0000])?;
                let len = (limit + from.int_in_range(0..=4_usize)?).saturating_sub(2);
                vec![u8::arbitrary(from)?; len]
            }
            _ => Vec::arbitrary(from)?,
        })
    }

    pub(super) fn strings(from: &mut Unstructured<'_>) -> Result<Vec<Vec<u8>>> {
        (0..from.int_in_range(0..=4)?).map(|_| string(from)).collect()
    }
}

#[cfg(feature = "fuzzing")]
pub use fuzzed::Input;
