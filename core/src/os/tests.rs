//! Tests of memory: segments, extents and spans, boards, bytes that match.
//! What has to do with processes is tested beside the unsafe code.

use super::*;

#[test]
fn segments_are_zero_and_shared_while_they_grow() {
    let array = Segments::<AtomicU64, 2>::new();
    assert!(array.get(0).is_none() && array.segment(0).is_none());
    for segment in 0..14 {
        array.grow(segment).unwrap();
    }
    assert_eq!(array.grow(3), Err(OutOfMemory), "there already");
    let all = (2 << 14) - 2;
    for index in 0..all {
        assert_eq!(array.get(index).unwrap().swap(u64::from(index), Ordering::Relaxed), 0);
    }
    assert!(array.get(all).is_none() && array.get(u32::MAX).is_none());
    let mut index = 0;
    for segment in 0..14 {
        assert_eq!(array.segment(segment).unwrap().len(), Segments::<AtomicU64, 2>::segment_len(segment));
        for word in array.segment(segment).unwrap() {
            assert_eq!(word.load(Ordering::Relaxed), index);
            index += 1;
        }
    }
}

type Pages = Spans<AtomicU64, 512, 75>;

#[test]
fn spans_are_put_anywhere_and_taken_out() {
    let (one, other) =
        (Arc::new(Extent::reserve(HUGE_PAGE).unwrap()), Arc::new(Extent::reserve(2 * HUGE_PAGE).unwrap()));
    let pages = Pages::new();
    assert!(pages.get(0).is_none() && pages.window(u32::MAX).is_none() && pages.rest(5).is_none());
    pages.put(1, 9, &one, 7 * PAGE).unwrap();
    pages.put(4, 11, &other, HUGE_PAGE - PAGE).unwrap();
    let word = |index: u32| pages.get(index).unwrap();
    for (index, number) in [(512, 1), (1023, 2), (2048, 3), (4095, 4)] {
        assert_eq!(word(index).swap(number, Ordering::Relaxed), 0);
    }
    assert!([0, 511, 1024, 2047, 4096].iter().all(|index| pages.get(*index).is_none()));
    assert_eq!((pages.rest(513).unwrap().len(), pages.rest(2050).unwrap().len()), (511, 2046));
    assert_eq!(pages.rest(2560).unwrap()[1535].load(Ordering::Relaxed), 4);
    // A longer directory, the same words.
    pages.put(100_000, 9, &one, HUGE_PAGE - PAGE).unwrap();
    word(51_200_511).store(5, Ordering::Relaxed);
    assert_eq!(pages.window(51_200_511).unwrap().each_ref().map(|w| w.load(Ordering::Relaxed))[..2], [5, 0]);
    assert_eq!([512, 1023, 2048, 4095].map(|index| word(index).load(Ordering::Relaxed)), [1, 2, 3, 4]);
    pages.take(4);
    pages.take(3);
    assert!(pages.get(2048).is_none() && pages.get(4095).is_none() && pages.get(512).is_some());
    pages.put(7, 9, &other, HUGE_PAGE - PAGE).unwrap();
    assert_eq!(word(3584).load(Ordering::Relaxed), 3, "memory goes on as it is");
    drop((one, other));
    assert_eq!(word(512).load(Ordering::Relaxed), 1, "the extents are kept");
}

#[test]
fn a_run_can_be_the_beginning_of_a_span() {
    let extent = Arc::new(Extent::reserve(HUGE_PAGE).unwrap());
    let spans = Spans::<AtomicU64, 4096, 64>::new();
    // The last page of the extent: what the span has no memory for is mapped all the same.
    spans.put(3, 9, &extent, HUGE_PAGE - PAGE).unwrap();
    let first = 3 * 4096;
    assert_eq!([0, 100, 511].map(|at| spans.rest(first + at).unwrap().len()), [512, 412, 1]);
    assert!([512, 1024, 4095].iter().all(|at| spans.rest(first + at).is_none()));
    assert!(spans.window(first + 4095).unwrap().iter().all(|word| word.load(Ordering::Relaxed) == 0));
    assert!(spans.get(first - 1).is_none() && spans.get(first + 4096).is_none());
    spans.take(3);
    assert!(spans.get(first).is_none());
}

#[test]
fn spans_are_lines_too() {
    let extent = Arc::new(Extent::reserve(HUGE_PAGE).unwrap());
    let lines = Spans::<Line, 64>::new();
    lines.put(0, 6, &extent, PAGE).unwrap();
    let line = lines.get(63).unwrap();
    assert!(std::ptr::from_ref(line).addr().is_multiple_of(64));
    line.0[7].store(9, Ordering::Relaxed);
    assert!(lines.get(64).is_none());
    let words = Pages::new();
    words.put(0, 9, &extent, PAGE).unwrap();
    assert_eq!(words.get(511).unwrap().load(Ordering::Relaxed), 9);
}

#[test]
fn pages_of_an_extent_given_back_are_zeroes_and_their_neighbours_stay() {
    let extent = Arc::new(Extent::reserve(2 * HUGE_PAGE).unwrap());
    extent.populate_huge(0..HUGE_PAGE);
    let pages = Pages::new();
    pages.put(0, 11, &extent, 0).unwrap();
    pages.rest(0).unwrap().iter().for_each(|word| word.store(9, Ordering::Relaxed));
    extent.populate_huge(0..HUGE_PAGE);
    extent.give_back(PAGE..3 * PAGE);
    for (at, expected) in [(0, 9), (511, 9), (512, 0), (3 * 512 - 1, 0), (3 * 512, 9)] {
        assert_eq!(pages.get(at).unwrap().load(Ordering::Relaxed), expected, "at {at}");
    }
    assert_eq!(extent.len(), 2 * HUGE_PAGE);
    assert!(matches!(Extent::reserve(usize::MAX & !(HUGE_PAGE - 1)), Err(OutOfMemory)));
}

#[test]
fn a_board_keeps_what_it_named() {
    let board = Board::<String, 2>::new();
    let (one, other) = (Arc::new("one".to_owned()), Arc::new("other".to_owned()));
    board.set(0, Some(&one));
    let seen = board.get(0).unwrap();
    board.set(0, Some(&other));
    board.set(1, Some(&one));
    board.set(7, Some(&one));
    drop((one, other));
    assert_eq!((seen.as_str(), board.get(0).unwrap().as_str()), ("one", "other"));
    board.set(0, None);
    assert!(board.get(0).is_none() && board.get(1).is_some() && board.get(2).is_none());
}

#[test]
fn zeroes_given_back_are_zeroes() {
    let array = Segments::<AtomicU64, 4096>::new();
    array.grow(0).unwrap();
    let words = array.segment(0).unwrap();
    words[0].store(9, Ordering::Relaxed);
    array.give_back_zeroes(0, 3..4000);
    assert!(
        words[0].load(Ordering::Relaxed) == 9
            && words[1..].iter().all(|word| word.load(Ordering::Relaxed) == 0)
    );
}

#[test]
fn impossible_sizes_are_errors() {
    let array = Segments::<AtomicU64, { 1 << 50 }>::new();
    assert_eq!(array.grow(0), Err(OutOfMemory));
    assert_eq!(array.grow(20), Err(OutOfMemory));
    assert_eq!(array.grow(MOST_SEGMENTS), Err(OutOfMemory));
}

#[test]
fn both_ways_to_match_bytes_agree() {
    let mut seed = 1_u64;
    for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let words = [seed & (seed >> 32) & 0x0303_0303_0303_0303, seed & 0x8001_0301_8001_0301];
        for byte in [0, 1, 2, 3, 0x80, 0xff] {
            let plain = (0..16)
                .fold(0, |bits, at| bits | u32::from((words[at / 8] >> (at % 8 * 8)) as u8 == byte) << at);
            assert_eq!(matching_bytes(words, byte), plain, "{words:x?} {byte}");
            assert_eq!(matching_bytes_portable(words, byte), plain, "{words:x?} {byte}");
        }
    }
}

#[test]
fn prefetch_takes_any_address() {
    prefetch(std::ptr::null::<u8>());
    prefetch(&5_u64);
}
