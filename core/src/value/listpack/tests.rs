//! Tests of listpacks: against a vector, in every width and length, and with bytes from anywhere.

use proptest::prelude::*;

use super::*;

/// Adds elements at the end.
fn push(bytes: &mut Vec<u8>, elements: &[Element<'_>]) {
    let len = Listpack::new(bytes).len();
    edit(bytes, len, 0, elements);
}

fn insert(bytes: &mut Vec<u8>, index: usize, elements: &[Element<'_>]) {
    edit(bytes, index, 0, elements);
}

fn replace(bytes: &mut Vec<u8>, index: usize, element: Element<'_>) {
    edit(bytes, index, 1, &[element]);
}

fn remove(bytes: &mut Vec<u8>, index: usize, count: usize) {
    edit(bytes, index, count, &[]);
}

fn edit(bytes: &mut Vec<u8>, index: usize, removed: usize, inserted: &[Element<'_>]) {
    let listpack = Listpack::new(bytes);
    let at = listpack.seek(index).expect("an index within the listpack");
    listpack.splice(at, removed, inserted).apply_to(bytes);
}

const CASES: u32 = if cfg!(miri) { 4 } else { 400 };

fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = EMPTY.to_vec();
    for element in elements {
        push(&mut bytes, &[Element::Bytes(element)]);
    }
    bytes
}

fn unpack(bytes: &[u8]) -> Vec<Vec<u8>> {
    let to_vec = |element: Element<'_>| element.with(<[u8]>::to_vec);
    Listpack::validate(bytes).expect("edits leave a valid listpack").iter().map(to_vec).collect()
}

/// What an element takes in Valkey's listpack, by its documented format.
fn size_in_valkey(bytes: &[u8]) -> usize {
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

#[test]
fn a_hash_of_ten_fields_takes_225_bytes() {
    let elements: Vec<_> = (0..10)
        .flat_map(|i| [format!("f{i:03}").into_bytes(), format!("value-{i:010}").into_bytes()])
        .collect();
    assert_eq!(pack(&elements).len(), 225);
    assert_eq!(EMPTY.len(), 5);
}

#[test]
fn integers_are_those_written_the_usual_way() {
    let yes =
        ["0", "1", "-1", "101", "102", "127", "-128", "128", "9223372036854775807", "-9223372036854775808"];
    for text in yes {
        let int = text.parse().unwrap();
        assert_eq!(parse_int(text.as_bytes()), Some(int));
        let bytes = pack(&[text.into()]);
        assert_eq!(Listpack::new(&bytes).get(0), Some(Element::Int(int)));
    }
    let no =
        ["", "-", "-0", "+1", "01", "-01", "1 ", " 1", "1.0", "9223372036854775808", "-9223372036854775809"];
    for text in no.into_iter().chain(["99999999999999999999", "1e3", "0x1", "00"]) {
        assert_eq!(parse_int(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn all_lengths_and_widths_come_back_from_both_ends() {
    let lengths = [0, 1, 63, 64, 127, 128, 129, 255, 256, 4095, 4096, 65_535, 65_536];
    let mut elements: Vec<_> = lengths.map(|len| vec![b'x'; len]).into();
    if !cfg!(miri) {
        elements.extend([vec![1; 0xff_ffff], vec![2; 0x100_0000]]);
    }
    for shift in 0..64 {
        for int in [1_i64 << shift, (1_i64 << shift).wrapping_sub(1), -1 << shift, (-1 << shift) ^ 1] {
            elements.push(int.to_string().into_bytes());
        }
    }
    let bytes = pack(&elements);
    assert_eq!(unpack(&bytes), elements);
    let mut backward: Vec<_> = Listpack::new(&bytes).iter().rev().map(|e| e.with(<[u8]>::to_vec)).collect();
    backward.reverse();
    assert_eq!(backward, elements);
    for element in &elements {
        let size = pack(std::slice::from_ref(element)).len() - EMPTY.len();
        assert!(size <= size_in_valkey(element), "{size} for {} bytes", element.len());
    }
}

#[test]
fn find_takes_only_every_stride() {
    let bytes = pack(&["a", "b", "b", "c", "7", "a"].map(|s| s.as_bytes().to_vec()));
    let listpack = Listpack::new(&bytes);
    let index =
        |string: &str, start, stride| listpack.find(string.as_bytes(), start, stride).map(|at| at.index);
    assert_eq!(index("b", 0, 1), Some(1));
    assert_eq!(index("b", 0, 2), Some(2));
    assert_eq!(index("c", 0, 2), None);
    assert_eq!(index("c", 1, 2), Some(3));
    assert_eq!(index("7", 0, 2), Some(4));
    assert_eq!(index("07", 0, 1), None);
    assert_eq!(index("a", 6, 1), None);
    assert_eq!(index("a", 7, 1), None);
    let field = listpack.find(b"b", 0, 2).unwrap();
    assert_eq!(listpack.element(listpack.skip(field, 1).unwrap()), Some(Element::Bytes(b"c")));
    assert_eq!(listpack.skip(field, 5), None);
}

#[test]
fn what_stands_behind_a_field_is_found_whatever_its_length() {
    let texts =
        (0..20).map(|len| vec![b'f'; len]).chain([vec![b'f'; 127], vec![b'f'; 130], vec![b'f'; 5000]]);
    let numbers = ["0", "101", "102", "-1", "123456789"].map(|text| text.as_bytes().to_vec());
    let fields: Vec<_> = texts.chain(numbers).collect();
    let elements: Vec<_> =
        fields.iter().enumerate().flat_map(|(at, field)| [field.clone(), format!("v{at}").into()]).collect();
    let bytes = pack(&elements);
    let listpack = Listpack::new(&bytes);
    for (at, field) in fields.iter().enumerate() {
        let value = format!("v{at}");
        assert_eq!(listpack.behind(field), Some(Element::Bytes(value.as_bytes())), "{}", field.len());
        // The last field there is: nothing but its value stands behind it.
        let alone = pack(&[field.clone(), Vec::new()]);
        assert_eq!(Listpack::new(&alone).behind(field), Some(Element::Bytes(b"")));
        let mut other = field.clone();
        other.extend_from_slice(b"?");
        assert_eq!(Listpack::new(&alone).behind(&other), None);
        if let Some(last) = other.len().checked_sub(2) {
            other.truncate(last + 1);
            other[last] ^= 0x40;
            assert_eq!(Listpack::new(&alone).behind(&other), None);
        }
    }
    assert_eq!((listpack.behind(b"v0"), Listpack::new(&EMPTY).behind(b"")), (None, None));
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 100..300),
        1 => prop::collection::vec(any::<u8>(), 4000..4200),
        3 => any::<i64>().prop_map(|int| int.to_string().into_bytes()),
        3 => (-300_i64..300).prop_map(|int| int.to_string().into_bytes()),
        2 => (any::<i64>(), 0..64_u32).prop_map(|(int, shift)| (int >> shift).to_string().into_bytes()),
        1 => "-?[0-9]{1,21}".prop_map(String::into_bytes),
        2 => prop::sample::select(vec![&b"a"[..], b"b", b"", b"1"]).prop_map(<[u8]>::to_vec),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Push(Vec<u8>),
    Insert(usize, Vec<Vec<u8>>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    Splice(usize, usize, Vec<Vec<u8>>),
}

fn op() -> impl Strategy<Value = Op> {
    let strings = || prop::collection::vec(string(), 0..4);
    prop_oneof![
        4 => string().prop_map(Op::Push),
        2 => (any::<usize>(), strings()).prop_map(|(at, new)| Op::Insert(at, new)),
        3 => (any::<usize>(), string()).prop_map(|(at, new)| Op::Replace(at, new)),
        2 => (any::<usize>(), 0..4_usize).prop_map(|(at, count)| Op::Remove(at, count)),
        2 => (any::<usize>(), 0..4_usize, strings()).prop_map(|(at, count, new)| Op::Splice(at, count, new)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn behaves_as_a_vector(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 8 } else { 40 })) {
        let mut bytes = EMPTY.to_vec();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for op in ops {
            match op {
                Op::Push(new) => {
                    push(&mut bytes, &[Element::Bytes(&new)]);
                    model.push(new);
                }
                Op::Insert(at, new) => {
                    let at = at % (model.len() + 1);
                    let elements: Vec<_> = new.iter().map(|new| Element::of(new)).collect();
                    insert(&mut bytes, at, &elements);
                    model.splice(at..at, new);
                }
                Op::Replace(at, new) if !model.is_empty() => {
                    let at = at % model.len();
                    replace(&mut bytes, at, Element::Bytes(&new));
                    model[at] = new;
                }
                Op::Replace(..) => {}
                Op::Remove(at, count) => {
                    let at = at % (model.len() + 1);
                    let count = count.min(model.len() - at);
                    remove(&mut bytes, at, count);
                    model.drain(at..at + count);
                }
                Op::Splice(at, count, new) => {
                    let at = at % (model.len() + 1);
                    let count = count.min(model.len() - at);
                    let elements: Vec<_> = new.iter().map(|new| Element::Bytes(new)).collect();
                    let listpack = Listpack::new(&bytes);
                    let patch = listpack.splice(listpack.seek(at).unwrap(), count, &elements);
                    prop_assert_eq!(patch.count_after(), model.len() - count + new.len());
                    let len = patch.len_after(bytes.len());
                    patch.apply_to(&mut bytes);
                    prop_assert_eq!(bytes.len(), len);
                    model.splice(at..at + count, new);
                }
            }
            prop_assert_eq!(&unpack(&bytes), &model);
            prop_assert_eq!(&bytes, &pack(&model), "one form only");
        }
        let listpack = Listpack::new(&bytes);
        prop_assert_eq!(Some(listpack.end()), listpack.seek(model.len()));
        for pair in model.chunks_exact(2) {
            let first = model.chunks_exact(2).position(|other| other[0] == pair[0]).unwrap();
            prop_assert_eq!(listpack.find_pair(&pair[0]), listpack.seek(2 * first + 1));
        }
        prop_assert_eq!((listpack.len(), listpack.is_empty()), (model.len(), model.is_empty()));
        prop_assert!(bytes.len() <= 7 + model.iter().map(|e| size_in_valkey(e)).sum::<usize>());
        prop_assert_eq!((listpack.get(model.len()), listpack.seek(model.len() + 1)), (None, None));
        for (index, string) in model.iter().enumerate() {
            let element = listpack.get(index).unwrap();
            prop_assert!(element.eq(string) && element.len() == string.len());
            prop_assert!(!element.eq(b"not there"));
            let mut out = vec![9];
            element.write_to(&mut out);
            prop_assert_eq!(&out[1..], &string[..]);
            for stride in 1..3 {
                let expected = (index..model.len()).step_by(stride).find(|&at| model[at] == *string);
                prop_assert_eq!(listpack.find(string, index % stride, stride).map(|at| at.index),
                    (index % stride..model.len()).step_by(stride).find(|&at| model[at] == *string));
                let found = listpack.find(string, index, stride).unwrap();
                prop_assert_eq!(Some(found.index), expected);
                prop_assert_eq!(Some(found), listpack.seek(found.index));
            }
        }
        // Both ends at once meet in the middle.
        let mut iter = listpack.iter();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        while let Some(element) = iter.next() {
            front.push(element.with(<[u8]>::to_vec));
            back.extend(iter.next_back().map(|element| element.with(<[u8]>::to_vec)));
        }
        front.extend(back.into_iter().rev());
        prop_assert_eq!(front, model);
    }

    /// Bytes from anywhere are refused or readable, never a panic.
    #[test]
    fn validate_stands_any_bytes(
        strings in prop::collection::vec(string(), 0..5),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<usize>()),
    ) {
        let mut bytes = pack(&strings);
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % (bytes.len() + 1));
        }
        if let Some(listpack) = Listpack::validate(&bytes) {
            let forward: Vec<_> = listpack.iter().collect();
            let mut backward: Vec<_> = listpack.iter().rev().collect();
            backward.reverse();
            prop_assert_eq!(forward, backward);
        }
    }
}
