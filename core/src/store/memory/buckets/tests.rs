//! Tests of home buckets: growth by several shards, what is given back and when it must not be, huge pages, a full region.
//! What stands in a bucket is left out here too, but for a mark of whose it is.

use std::cell::Cell;
use std::thread;

use super::*;
use crate::store::memory::refusal;
use crate::sync::Arc;

/// The two ends of a bucket.
fn words(buckets: &Buckets, shard: usize, row: u32) -> [u64; 2] {
    let line = buckets.line(shard, row).unwrap();
    [&line.0[0], &line.0[7]].map(|word| word.load(Ordering::Relaxed))
}

fn mark(buckets: &Buckets, shard: usize, row: u32, mark: u64) {
    let line = buckets.line(shard, row).unwrap();
    [&line.0[0], &line.0[7]].into_iter().for_each(|word| word.store(mark, Ordering::Relaxed));
}

/// What a shard whose table becomes longer does: takes the rows from `from` on, which have to be zero, and writes to them.
fn lengthen(buckets: &Buckets, shard: usize, rows: Range<u32>) {
    for row in rows {
        buckets.grow(row).unwrap();
        assert_eq!(words(buckets, shard, row), [0; 2], "row {row} of shard {shard}");
        mark(buckets, shard, row, u64::from(row) << 8 | shard as u64 | 1 << 63);
    }
}

/// What a shard whose table becomes shorter does: leaves zeroes behind.
fn shorten(buckets: &Buckets, shard: usize, rows: Range<u32>) {
    rows.for_each(|row| mark(buckets, shard, row, 0));
    buckets.note_shrinking();
}

/// Whether these rows of a shard hold what [`lengthen`] wrote.
fn is_whole(buckets: &Buckets, shard: usize, mut rows: Range<u32>) -> bool {
    rows.all(|row| words(buckets, shard, row) == [u64::from(row) << 8 | shard as u64 | 1 << 63; 2])
}

fn backed_rows(buckets: &Buckets) -> u32 {
    (buckets.backed_bytes() / ROW) as u32
}

/// Shards that are not the same under loom, which has two.
const ONE: usize = 0;
const OTHER: usize = SHARDS - 1;

#[test]
fn nothing_is_there_before_it_is_asked_for() {
    let buckets = Buckets::new(3);
    assert_eq!((buckets.space(), buckets.backed_bytes()), (3, 0));
    assert!(buckets.line(0, 0).is_none() && !buckets.has_shrunk());
    assert!(!buckets.prepare() && !buckets.collapse());
    buckets.trim(|| 0);
    buckets.grow(0).unwrap();
    assert!(backed_rows(&buckets) <= 2, "a small table stays small: {}", backed_rows(&buckets));
    assert_eq!(words(&buckets, OTHER, 0), [0; 2]);
}

#[test]
fn shards_grow_side_by_side_and_none_gets_anothers_bucket() {
    let buckets = Arc::new(Buckets::new(0));
    let length = |shard: usize| 300 + shard as u32 % 7 * 40;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let buckets = buckets.clone();
            thread::spawn(move || {
                let own = || (thread..SHARDS).step_by(4);
                for row in 0..600 {
                    own().filter(|shard| row < length(*shard)).for_each(|shard| {
                        lengthen(&buckets, shard, row..row + 1);
                    });
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for shard in 0..SHARDS {
        assert!(is_whole(&buckets, shard, 0..length(shard)), "shard {shard}");
    }
    let (longest, backed) = ((0..SHARDS).map(length).max().unwrap(), backed_rows(&buckets));
    assert!(backed >= longest && backed <= longest + longest / 32 + 2, "{backed} rows for {longest}");
}

#[test]
fn rows_stay_as_long_as_one_shard_has_them() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..1000);
    lengthen(&buckets, OTHER, 0..10);
    let before = backed_rows(&buckets);
    buckets.trim(|| 1000);
    assert_eq!(backed_rows(&buckets), before);
    assert!(is_whole(&buckets, ONE, 0..1000) && is_whole(&buckets, OTHER, 0..10));
    shorten(&buckets, ONE, 10..1000);
    assert!(buckets.has_shrunk() && !buckets.has_shrunk(), "told once");
    buckets.trim(|| 10);
    let kept = backed_rows(&buckets);
    assert_eq!(kept, 10 + FEW);
    assert!(is_whole(&buckets, ONE, 0..10) && is_whole(&buckets, OTHER, 0..10));
    lengthen(&buckets, OTHER, 10..kept);
    assert_eq!(backed_rows(&buckets), kept, "these few were kept for that");
    buckets.trim(|| kept);
    assert_eq!(backed_rows(&buckets), kept, "next to nothing would be gained");
}

#[test]
fn rows_given_back_are_zero_and_serve_again() {
    let buckets = Buckets::new(0);
    for _ in 0..3 {
        lengthen(&buckets, ONE, 0..700);
        // Nobody may leave anything behind; here it shows that the memory went.
        buckets.trim(|| 10);
        assert_eq!(backed_rows(&buckets), 10 + FEW);
        for row in 10 + FEW..700 {
            assert_eq!(words(&buckets, ONE, row), [0; 2], "row {row}");
        }
        assert!(is_whole(&buckets, ONE, 0..10));
        shorten(&buckets, ONE, 0..10 + FEW);
    }
    buckets.trim(|| 0);
    assert_eq!(backed_rows(&buckets), FEW);
}

#[test]
fn what_is_raised_after_the_shards_were_asked_stays() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..900);
    shorten(&buckets, ONE, 10..900);
    let asked = Cell::new(0);
    buckets.trim(|| {
        asked.set(asked.get() + 1);
        if asked.get() == 2 {
            // The shard was asked, and grows before anything is given back.
            lengthen(&buckets, OTHER, 0..301);
        }
        10
    });
    assert_eq!(asked.get(), 2);
    assert!(is_whole(&buckets, OTHER, 0..301) && is_whole(&buckets, ONE, 0..10));
    let kept = backed_rows(&buckets);
    assert!((301..320).contains(&kept), "the rest went: {kept}");
}

#[test]
fn what_grows_before_the_ceiling_is_lowered_stays() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..900);
    shorten(&buckets, ONE, 10..900);
    let lengths = Cell::new(10);
    buckets.trim(|| {
        let longest = lengths.get();
        if longest == 10 {
            // Below the present ceiling: nobody is asked.
            lengthen(&buckets, OTHER, 0..601);
            lengths.set(601);
        }
        longest
    });
    assert!(is_whole(&buckets, OTHER, 0..601) && is_whole(&buckets, ONE, 0..10));
    assert_eq!(backed_rows(&buckets), 601, "the rest went");
    // Its rows are above the ceiling now, which does it no harm.
    lengthen(&buckets, ONE, 10..400);
    lengthen(&buckets, OTHER, 601..700);
    buckets.trim(|| 700);
    assert!(is_whole(&buckets, OTHER, 0..700) && is_whole(&buckets, ONE, 0..400));
}

#[test]
fn two_who_trim_at_once_take_nothing_that_is_in_use() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..1000);
    shorten(&buckets, ONE, 650..1000);
    let asked = Cell::new(0);
    // The first has asked twice when the other lowers the ceiling further, and between the table grows below what was the ceiling.
    buckets.trim(|| {
        asked.set(asked.get() + 1);
        match asked.get() {
            1 => 650,
            _ => {
                shorten(&buckets, ONE, 10..650);
                let lengths = Cell::new(10);
                buckets.trim(|| {
                    let longest = lengths.get();
                    if longest == 10 {
                        lengthen(&buckets, ONE, 10..601);
                        lengths.set(601);
                    }
                    longest
                });
                10
            }
        }
    });
    assert!(is_whole(&buckets, ONE, 0..601));
    assert_eq!(backed_rows(&buckets), 601, "the rest went all the same");
}

#[test]
fn pieces_are_made_ready_for_a_table_that_grows_and_become_huge_pages_once() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..PIECES_PER_READY * PIECE / 2);
    assert!(!buckets.prepare(), "not for so few");
    lengthen(&buckets, ONE, PIECES_PER_READY * PIECE / 2..PIECES_PER_READY * PIECE);
    let used = backed_rows(&buckets).div_ceil(PIECE);
    buckets.note_shrinking();
    assert!(!buckets.prepare() && buckets.has_shrunk(), "not while tables become shorter");
    assert!(buckets.prepare() && !buckets.prepare(), "one is enough");
    assert_eq!(backed_rows(&buckets), (used + 1) * PIECE);
    assert!(is_whole(&buckets, ONE, 0..PIECES_PER_READY * PIECE));
    let collapsed = || std::iter::from_fn(|| buckets.collapse().then_some(())).count() as u32;
    assert_eq!((collapsed(), collapsed()), (PIECES_PER_READY, 0), "full ones, each once");
    assert!(is_whole(&buckets, ONE, 0..PIECES_PER_READY * PIECE));
    lengthen(&buckets, ONE, PIECES_PER_READY * PIECE..(used + 1) * PIECE);
    assert_eq!(collapsed(), used - PIECES_PER_READY, "what was made ready is a huge page already");
    let (full, in_use) = (backed_rows(&buckets), buckets.ceiling.load(Ordering::Relaxed));
    assert!(buckets.prepare() && backed_rows(&buckets) > full);
    buckets.dismiss();
    assert_eq!(backed_rows(&buckets), in_use.next_multiple_of(PIECE), "only what was ahead");
    assert!(is_whole(&buckets, ONE, 0..(used + 1) * PIECE));
    assert!(buckets.prepare());
    buckets.trim(|| 10);
    assert_eq!(backed_rows(&buckets), 10 + FEW);
    assert!(!buckets.prepare() && !buckets.collapse());
    shorten(&buckets, ONE, 0..10 + FEW);
    lengthen(&buckets, ONE, 0..2 * PIECE);
    assert_eq!(collapsed(), 2, "nothing is known of huge pages that were given back");
}

#[test]
fn a_full_region_is_out_of_memory_and_what_it_holds_stays() {
    let buckets = Buckets::of(0, 3 * HUGE_PAGE);
    lengthen(&buckets, ONE, 0..3 * PIECE);
    assert_eq!(backed_rows(&buckets), 3 * PIECE);
    for beyond in [3 * PIECE, 3 * PIECE + 1, u32::MAX] {
        assert_eq!(buckets.grow(beyond), Err(OutOfMemory));
        assert!(buckets.line(ONE, beyond).is_none());
    }
    assert!(!buckets.prepare());
    lengthen(&buckets, OTHER, 0..3 * PIECE);
    assert!(is_whole(&buckets, ONE, 0..3 * PIECE));
    [ONE, OTHER].into_iter().for_each(|shard| shorten(&buckets, shard, 10..3 * PIECE));
    buckets.trim(|| 10);
    lengthen(&buckets, OTHER, 10..3 * PIECE);
    assert_eq!((buckets.grow(3 * PIECE), Buckets::of(0, 0).grow(0)), (Err(OutOfMemory), Err(OutOfMemory)));
}

#[test]
fn refusal_is_an_error_and_loses_nothing() {
    let buckets = Buckets::new(0);
    lengthen(&buckets, ONE, 0..2);
    let before = backed_rows(&buckets);
    refusal::set(true);
    assert_eq!(
        (buckets.grow(before - 1), buckets.grow(500), buckets.prepare()),
        (Ok(()), Err(OutOfMemory), false)
    );
    refusal::set(false);
    assert!(is_whole(&buckets, ONE, 0..2) && backed_rows(&buckets) == before);
    lengthen(&buckets, ONE, 2..500);
}
