//! Tests of listpacks: against a vector, in every width and length, and with bytes from anywhere.

use proptest::prelude::*;

use super::model::{Damage, Op, damage, pack, run, size_in_valkey, unpack};
use super::*;

const CASES: u32 = if cfg!(miri) { 4 } else { 400 };

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

fn op() -> impl Strategy<Value = Op> {
    let strings = || prop::collection::vec(string(), 0..4);
    prop_oneof![
        4 => string().prop_map(Op::Push),
        2 => (any::<usize>(), strings()).prop_map(|(at, new)| Op::Insert(at, new)),
        3 => (any::<usize>(), string()).prop_map(|(at, new)| Op::Replace(at, new)),
        2 => (any::<usize>(), 0..4_u8).prop_map(|(at, count)| Op::Remove(at, count)),
        2 => (any::<usize>(), 0..4_u8, strings()).prop_map(|(at, count, new)| Op::Splice(at, count, new)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn behaves_as_a_vector(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 8 } else { 40 })) {
        run(ops);
    }

    /// Bytes from anywhere are refused or readable, never a panic.
    #[test]
    fn validate_stands_any_bytes(
        strings in prop::collection::vec(string(), 0..5),
        bytes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<usize>()),
    ) {
        damage(pack(&strings), Damage { bytes, cut });
    }
}
