//! Tests of the pool: its books after every step, what is given back to the system, and that no page is anyone's twice.
//! What pages hold is left out here too, but for a mark of whose they are.

use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;
use crate::os::Spans;

const CASES: u32 = if cfg!(miri) { 3 } else { 100 };

/// One page a span.
type Pages = Spans<AtomicU64, { PAGE / 8 }>;

impl Pool {
    /// Checks the books.
    fn check(&self) {
        let state = self.state.lock();
        let count = |bits: fn(&Chunk) -> Bits| state.chunks.iter().map(|chunk| bits(chunk).count()).sum();
        assert_eq!((state.in_use, state.idle), (count(|chunk| chunk.taken), count(Chunk::idle)));
        let ready = state.chunks.iter().filter(|chunk| chunk.stage == Stage::Ready).count();
        assert_eq!(ready, state.ready);
        assert_eq!((self.used_bytes(), self.idle_bytes()), (state.in_use * PAGE, state.idle * PAGE));
        for chunk in &state.chunks {
            assert!(chunk.taken.minus(chunk.backed) == Bits::default(), "what is taken is backed");
            assert!(chunk.stage == Stage::Used || chunk.taken == Bits::default());
            assert_eq!(
                chunk.stage == Stage::Ready,
                chunk.stage != Stage::Used && chunk.backed == Bits::all()
            );
        }
        for (log, hint) in state.hints.iter().enumerate() {
            let has_room =
                |chunk: &Chunk| chunk.stage == Stage::Used && chunk.taken.vacancy(log as u32).is_some();
            assert!(!state.chunks.iter().take(*hint).any(has_room), "no room below the hint");
        }
    }

    fn chunks(&self, stage: Stage) -> usize {
        self.state.lock().chunks.iter().filter(|chunk| chunk.stage == stage).count()
    }

    /// [`Pool::collapse`] until nothing was taken for long enough.
    fn collapse_when_calm(&self) -> bool {
        assert!((0..CALM).all(|_| !self.collapse()), "not so soon");
        self.collapse()
    }

    fn take_many(&self, count: usize, log: u32) -> Vec<Run> {
        (0..count).map(|_| self.take(log).unwrap().0).collect()
    }
}

#[test]
fn vacancies_are_found_at_multiples_of_their_length() {
    let mut bits = Bits::default();
    assert_eq!((bits.vacancy(0), bits.vacancy(LONGEST_RUN)), (Some(0), Some(0)));
    bits.set(0, 0, true);
    for (log, at) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 256)] {
        assert_eq!(bits.vacancy(log), Some(at), "{log}");
    }
    assert_eq!(bits.vacancy(LONGEST_RUN), None);
    bits.set(256, 0, true);
    assert_eq!((bits.vacancy(8), bits.vacancy(7)), (None, Some(128)));
    bits.set(128, 7, true);
    assert_eq!((bits.vacancy(7), bits.count(), bits.count_in(128, 7)), (Some(384), 130, 128));
    assert_eq!(bits.runs().collect::<Vec<_>>(), [0..1, 128..257]);
    assert!((0..=LONGEST_RUN).all(|log| Bits::all().vacancy(log).is_none()));
    assert!(Bits::all().runs().eq(std::iter::once(0..PAGES)));
}

#[test]
fn the_lowest_room_is_taken_first() {
    let pool = Pool::default();
    let runs = pool.take_many(PAGES + 1, 0);
    assert_eq!(runs.last().unwrap().first as usize, PAGES);
    assert_eq!(pool.take(3).unwrap().0.first as usize, PAGES + 8);
    pool.give([runs[5], runs[PAGES]]);
    assert_eq!((pool.take(0).unwrap().0, pool.take(0).unwrap().0), (runs[5], runs[PAGES]));
    pool.check();
}

#[test]
fn few_idle_pages_stay_and_all_go_when_asked() {
    let pool = Pool::default();
    let runs = pool.take_many(4 * PAGES, 0);
    let (some, rest) = runs.split_at(PAGES / 16);
    pool.give(some.iter().copied());
    assert_eq!(pool.idle_bytes(), some.len() * PAGE, "kept for whoever comes next");
    assert!(!pool.trim_some());
    pool.give(rest[..2 * PAGES].iter().copied());
    assert!(pool.idle_bytes() > 2 * PAGES * PAGE, "whoever gives pages may hold a lock");
    let portions = std::iter::from_fn(|| pool.trim_some().then(|| pool.check())).count();
    assert!((2..5).contains(&portions), "{portions}");
    assert!(pool.idle_bytes() < PAGES * PAGE / 8, "{}", pool.idle_bytes());
    pool.check();
    let place = pool.take(0).unwrap();
    pool.trim();
    assert_eq!((pool.idle_bytes(), pool.chunks(Stage::Used)), (0, 2));
    pool.give([place.0]);
    pool.give(rest[2 * PAGES..].iter().copied());
    pool.trim();
    assert_eq!((pool.used_bytes(), pool.idle_bytes(), pool.chunks(Stage::Used)), (0, 0, 0));
    pool.check();
}

#[test]
fn what_was_given_back_is_zero_and_what_was_not_is_as_it_was() {
    let pool = Pool::default();
    let (run, extent, offset) = pool.take(0).unwrap();
    let pages = Pages::new();
    pages.put(0, 9, &extent, offset).unwrap();
    let word = pages.get(9).unwrap();
    word.store(7, Ordering::Relaxed);
    pool.give([run]);
    assert_eq!((pool.take(0).unwrap().0, word.load(Ordering::Relaxed)), (run, 7));
    pool.give([run]);
    pool.trim();
    assert_eq!((pool.take(0).unwrap().0, word.load(Ordering::Relaxed)), (run, 0));
}

#[test]
fn pages_on_their_way_back_are_nobodys() {
    let pool = Pool::default();
    let runs = pool.take_many(2 * PAGES, 0);
    pool.give(runs[PAGES / 2..].iter().copied());
    let mut parting = Vec::new();
    pool.state.lock().trim(0, 0, &mut parting);
    let pages: usize = parting.iter().map(|gone| gone.pages.count()).sum();
    assert_eq!((parting.len(), pages), (2, 3 * PAGES / 2));
    assert_eq!(pool.state.lock().idle, 0);
    assert!(!pool.collapse_when_calm(), "full, but not to be made a huge page");
    let elsewhere = pool.take(0).unwrap().0;
    assert_eq!(elsewhere.first as usize, 2 * PAGES);
    for gone in parting {
        gone.give_back();
        pool.state.lock().parted(&gone);
    }
    pool.give([elsewhere]);
    pool.check();
    assert_eq!(pool.take(0).unwrap().0, runs[PAGES / 2]);
}

#[test]
fn chunks_are_made_ready_when_much_is_in_use() {
    let pool = Pool::default();
    assert!(!pool.prepare() && !pool.collapse());
    let runs = pool.take_many(2 * PAGES_PER_READY / 8, 3);
    assert!(pool.collapse_when_calm(), "full chunks are none of huge pages yet");
    assert!(pool.prepare() && pool.prepare() && !pool.prepare());
    assert_eq!((pool.chunks(Stage::Ready), pool.idle_bytes()), (2, 2 * HUGE_PAGE));
    pool.check();
    // The next pages come from what is ready.
    let next = pool.take(0).unwrap().0;
    assert_eq!((next.first as usize, pool.chunks(Stage::Ready)), (2 * PAGES_PER_READY, 1));
    assert_eq!(pool.idle_bytes(), 2 * HUGE_PAGE - PAGE);
    pool.check();
    assert!(pool.collapse_when_calm());
    assert_eq!(std::iter::from_fn(|| pool.collapse().then_some(())).count(), 2 * PAGES_PER_READY / PAGES - 2);
    pool.dismiss();
    assert_eq!((pool.chunks(Stage::Ready), pool.idle_bytes()), (0, HUGE_PAGE - PAGE));
    assert!(pool.prepare());
    pool.give(runs);
    while pool.trim_some() {}
    assert_eq!(pool.chunks(Stage::Ready), 0, "a small engine keeps none ready");
    pool.check();
}

#[test]
fn without_memory_taking_is_an_error() {
    let pool = Pool::default();
    crate::os::refusal::set(true);
    assert!(matches!(pool.take(0), Err(OutOfMemory)));
    crate::os::refusal::set(false);
    assert!(pool.take(LONGEST_RUN).is_ok());
}

#[derive(Clone, Debug)]
enum Op {
    Take(u32),
    Give(usize),
    GiveMany(usize),
    Prepare,
    Collapse,
    Trim,
    TrimSome,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..=LONGEST_RUN).prop_map(Op::Take),
        10 => (0..2_u32).prop_map(Op::Take),
        12 => any::<usize>().prop_map(Op::Give),
        2 => any::<usize>().prop_map(Op::GiveMany),
        1 => Just(Op::Prepare),
        1 => Just(Op::Collapse),
        1 => Just(Op::Trim),
        6 => Just(Op::TrimSome),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// What was written to the pages of a run stays until the run is given back, and the books are right after every step.
    #[test]
    fn no_page_is_anyones_twice(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 20 } else { 300 })) {
        let pool = Pool::default();
        let mut model: Vec<(Run, Pages, u64)> = Vec::new();
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Take(log) => {
                    let (run, extent, offset) = pool.take(log).unwrap();
                    let pages = Pages::new();
                    pages.put(0, 9, &extent, offset).unwrap();
                    pages.put(1, 9, &extent, offset + ((PAGE << log) - PAGE)).unwrap();
                    let mark = step as u64 + 1;
                    for index in [0, 1023] {
                        pages.get(index).unwrap().store(mark, Ordering::Relaxed);
                    }
                    model.push((run, pages, mark));
                }
                Op::Give(which) if !model.is_empty() => {
                    pool.give([model.swap_remove(which % model.len()).0]);
                }
                Op::GiveMany(which) if !model.is_empty() => {
                    let left = which % model.len();
                    pool.give(model.drain(left..).map(|(run, ..)| run));
                }
                Op::Give(_) | Op::GiveMany(_) => pool.give([]),
                Op::Prepare => drop(pool.prepare()),
                Op::Collapse => drop((0..=CALM).map(|_| pool.collapse()).last()),
                Op::Trim => pool.trim(),
                Op::TrimSome => drop(pool.trim_some()),
            }
            pool.check();
            for (run, pages, mark) in &model {
                for index in [0, 1023] {
                    prop_assert_eq!(pages.get(index).unwrap().load(Ordering::Relaxed), *mark, "{:?}", run);
                }
            }
        }
    }
}
