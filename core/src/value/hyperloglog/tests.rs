//! Tests of HyperLogLog strings: both forms against plain registers, estimates, and strings that are none.

use proptest::prelude::*;

use super::model::{MOST, Place};
use super::*;

/// Places as elements have them: low ranks are much more frequent.
fn places() -> impl Strategy<Value = Vec<Place>> {
    let index = prop_oneof![0..REGISTERS, 0..40_usize, REGISTERS - 40..REGISTERS];
    let rank = prop_oneof![8 => 1..4_u8, 2 => 1..33_u8, 1 => 1..52_u8];
    proptest::collection::vec((index, rank), 0..600)
}

/// A string that begins as a sketch does.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        proptest::collection::vec(prop_oneof![Just(0x7f), Just(0xff), Just(0x80), any::<u8>()], 0..80),
    ];
    (any::<bool>(), any::<[u8; 8]>(), runs, any::<bool>())
        .prop_map(|(is_sparse, estimate, runs, is_long)| model::hostile(is_sparse, estimate, &runs, is_long))
}

#[test]
fn of_no_element_it_is_eighteen_bytes() {
    assert_eq!(Sketch::empty(MOST).text(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
    assert_eq!(estimate(Sketch::empty(MOST).text()), Ok(0));
}

#[test]
fn the_bytes_of_few_elements_are_those_of_the_server() {
    let mut sketch = Sketch::empty(MOST);
    for element in ["a", "b", "c"] {
        assert_eq!(sketch.raise(place(element.as_bytes())), Ok(true));
        assert_eq!(sketch.raise(place(element.as_bytes())), Ok(false));
    }
    sketch.make_stale();
    assert_eq!(sketch.text(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80`\xf3\x80P\xb1\x84K\xfb\x80BZ");
    assert_eq!(decoded(sketch.text()).unwrap(), b"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603");
    assert_eq!((cached(sketch.text()), estimate(sketch.text())), (None, Ok(3)));
}

#[test]
fn estimates_are_within_three_percent() {
    let mut sketch = Sketch::empty(MOST);
    let mut count = 0_u32;
    for limit in [10, 100, 1000, 10_000, 100_000, 1_000_000] {
        while count < limit {
            sketch.raise(place(&count.to_le_bytes())).unwrap();
            count += 1;
        }
        let error = estimate(sketch.text()).unwrap() as f64 / f64::from(count) - 1.0;
        assert!(error.abs() < 0.03, "{error} of {count}");
    }
}

#[test]
fn registers_that_no_element_leads_to_give_the_number_beyond_all() {
    let mut text = head(Form::Dense).to_vec();
    text.resize(DENSE_LEN, 0xff);
    assert_eq!(estimate(&text), Ok(1 << 63));
}

#[test]
fn runs_that_are_too_many_too_few_or_cut_are_corrupt() {
    let text = |runs: &[u8]| [&head(Form::Sparse)[..], runs].concat();
    for runs in [&b""[..], b"\x7f", b"\x7f\xfe", b"\x7f\xff\0", b"\xff", b"\x7f\xff\x7f\xff", b"\x7f\xff\x7f"]
    {
        let text = text(runs);
        assert_eq!(estimate(&text), Err(Corrupted.into()), "{runs:?}");
        assert_eq!(Sketch::copied(&text, MOST).unwrap().make_dense(), Err(Corrupted.into()), "{runs:?}");
    }
    let mut short = Sketch::copied(&text(b"\0\x03"), MOST).unwrap();
    assert_eq!(short.raise((9, 1)), Err(Corrupted.into()));
    assert_eq!(short.raise((3, 2)), Ok(true));
    assert_eq!(short.text()[HEAD..], [0x00, 0x01, 0x84, 0x00]);
    // Of a cut run the missing byte is read as 0, but nothing is set in it.
    let mut cut = Sketch::copied(&text(b"\0\x41"), MOST).unwrap();
    assert_eq!(decoded(cut.text()).unwrap(), b"z:1 Z:257");
    assert_eq!((cut.raise((257, 1)), cut.raise((0, 2))), (Err(Corrupted.into()), Ok(true)));
    for text in
        [&b""[..], b"HYLL", &[b'x'; 30], b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", &head(Form::Dense)]
    {
        assert_eq!(form_of(text).unwrap_err().code(), b"WRONGTYPE");
    }
}

proptest! {
    #[test]
    fn both_forms_hold_what_plain_registers_hold(places in places(), most in prop_oneof![Just(0), Just(200), Just(MOST), Just(1 << 20)]) {
        model::raise(&places, most);
    }

    #[test]
    fn a_union_is_as_if_all_had_been_added_in_order(one in places(), other in places(), most in prop_oneof![Just(300), Just(MOST)]) {
        model::merge(&one, &other, most);
    }

    #[test]
    fn hostile_strings_are_errors_at_worst(text in hostile(), places in proptest::collection::vec((0..REGISTERS, 1..52_u8), 0..50)) {
        model::bear(&text, &places);
    }
}
