//! Tests of the pool: its books after every step, what is given back to the system, and that no page is anyone's twice.
//! What pages hold is left out here too, but for a mark of whose they are.

use proptest::prelude::*;

use super::*;
use crate::store::memory::region::Ref;

const CASES: u32 = if cfg!(miri) { 3 } else { 100 };

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

    fn take_many(&self, count: usize, log: u32) -> Vec<Run> {
        (0..count).map(|_| self.take(1 << log).unwrap()).collect()
    }
}

#[test]
fn vacancies_are_found_at_multiples_of_their_length() {
    let mut bits = Bits::default();
    assert_eq!((bits.vacancy(0), bits.vacancy(LONGEST_RUN)), (Some(0), Some(0)));
    bits.set(0..1, true);
    for (log, at) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 256)] {
        assert_eq!(bits.vacancy(log), Some(at), "{log}");
    }
    assert_eq!(bits.vacancy(LONGEST_RUN), None);
    bits.set(256..257, true);
    assert_eq!((bits.vacancy(8), bits.vacancy(7)), (None, Some(128)));
    bits.set(128..256, true);
    assert_eq!((bits.vacancy(7), bits.count(), bits.count_in(100..300)), (Some(384), 130, 129));
    assert_eq!(bits.runs().collect::<Vec<_>>(), [0..1, 128..257]);
    bits.set(200..210, false);
    assert_eq!(bits.runs().collect::<Vec<_>>(), [0..1, 128..200, 210..257]);
    assert!((0..=LONGEST_RUN).all(|log| Bits::all().vacancy(log).is_none()));
    assert!(Bits::all().runs().eq(std::iter::once(0..PAGES)));
    assert_eq!(Bits::all().count_in(0..PAGES), PAGES);
}

#[test]
fn runs_of_any_length_lie_in_a_row_and_leave_the_rest() {
    let pool = Pool::default();
    let three = pool.take(3).unwrap();
    assert_eq!((three, pool.take(1).unwrap().first), (Run::of(0, 3), 3));
    let long = pool.take(2 * PAGES + 7).unwrap();
    assert_eq!((long.first as usize, long.pages as usize), (PAGES, 2 * PAGES + 7));
    assert_eq!(pool.take(200).unwrap().first as usize, 256, "the first chunk has room");
    assert_eq!(pool.take(300).unwrap().first as usize, 4 * PAGES, "the others have none in a row");
    pool.check();
    pool.give([long, three]);
    assert_eq!(pool.take(2 * PAGES + 1).unwrap().first as usize, PAGES);
    pool.check();
}

#[test]
fn the_lowest_room_is_taken_first() {
    let pool = Pool::default();
    let runs = pool.take_many(PAGES + 1, 0);
    assert_eq!(runs.last().unwrap().first as usize, PAGES);
    assert_eq!(pool.take(8).unwrap().first as usize, PAGES + 8);
    pool.give([runs[5], runs[PAGES]]);
    assert_eq!((pool.take(1).unwrap(), pool.take(1).unwrap()), (runs[5], runs[PAGES]));
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
    let place = pool.take(1).unwrap();
    pool.trim();
    assert_eq!((pool.idle_bytes(), pool.chunks(Stage::Used)), (0, 2));
    pool.give([place]);
    pool.give(rest[2 * PAGES..].iter().copied());
    pool.trim();
    assert_eq!((pool.used_bytes(), pool.idle_bytes(), pool.chunks(Stage::Used)), (0, 0, 0));
    pool.check();
}

#[test]
fn pieces_share_pages_which_go_back_with_the_last() {
    let pool = Pool::default();
    let mut pieces: Vec<Run> = (0..20).map(|_| pool.take_piece().unwrap()).collect();
    assert_eq!(pool.used_bytes(), 3 * PAGE);
    let starts: std::collections::BTreeSet<usize> = pieces.iter().map(|run| run.start()).collect();
    assert!(starts.len() == 20 && starts.iter().all(|start| start % Run::PIECE == 0));
    assert!(
        pieces
            .iter()
            .all(|run| run.units() == Run::PIECE && run.holds(Ref::new(run.start() as u32 + 63).unwrap()))
    );
    assert!(!pieces[0].holds(Ref::new(64).unwrap()) && pieces[1].holds(Ref::new(64).unwrap()));
    pool.give([pieces[3]]);
    assert_eq!(pool.take_piece().unwrap(), pieces[3], "the page that has room");
    pool.give(pieces.drain(8..));
    assert_eq!(pool.used_bytes(), PAGE);
    pool.give(pieces);
    assert_eq!(pool.used_bytes(), 0);
    pool.check();
}

#[test]
fn what_was_given_back_is_zero_and_what_was_not_is_as_it_was() {
    let pool = Pool::default();
    let run = pool.take(1).unwrap();
    let word = &pool.region().lines(0..1)[9].0[3];
    word.store(7, Ordering::Relaxed);
    pool.give([run]);
    assert_eq!((pool.take(1).unwrap(), word.load(Ordering::Relaxed)), (run, 7));
    pool.give([run]);
    pool.trim();
    assert_eq!((pool.take(1).unwrap(), word.load(Ordering::Relaxed)), (run, 0));
}

#[test]
fn a_full_region_is_out_of_memory_and_serves_again_what_comes_back() {
    let pool = Pool::of(3 * HUGE_PAGE);
    let runs = pool.take_many(3, LONGEST_RUN);
    assert_eq!((pool.take(1), pool.take(PAGES + 1)), (Err(OutOfMemory), Err(OutOfMemory)));
    pool.give([runs[1]]);
    assert_eq!(pool.take(PAGES + 1), Err(OutOfMemory), "not in a row");
    assert_eq!(pool.take(PAGES), Ok(runs[1]));
    pool.check();
    let nothing = Pool::of(0);
    assert_eq!(nothing.take(1), Err(OutOfMemory));
}

#[test]
fn pages_on_their_way_back_are_nobodys() {
    let pool = Pool::default();
    let runs = pool.take_many(2 * PAGES, 0);
    pool.give(runs[PAGES / 2..].iter().copied());
    let mut releases = Vec::new();
    pool.state.lock().trim(0, 0, &mut releases);
    let pages: usize = releases.iter().map(|gone| gone.pages.count()).sum();
    assert_eq!((releases.len(), pages), (2, 3 * PAGES / 2));
    assert_eq!(pool.state.lock().idle, 0);
    assert!(!pool.collapse(), "full, but not to be made a huge page");
    let elsewhere = pool.take(1).unwrap();
    assert_eq!(elsewhere.first as usize, 2 * PAGES);
    for gone in releases {
        pool.give_back(&gone);
        pool.state.lock().end_release(&gone);
    }
    pool.give([elsewhere]);
    pool.check();
    assert_eq!(pool.take(1).unwrap(), runs[PAGES / 2]);
}

#[test]
fn a_pool_is_calm_when_nothing_was_taken_for_a_while() {
    let pool = Pool::default();
    let pages = pool.take_many(FAST as usize, 0);
    assert_eq!((pool.look(), pool.look()), (Pace::Fast, Pace::Slow));
    pool.give(pages);
    pool.take(FAST as usize - 1).unwrap();
    let paces: Vec<Pace> = (0..=CALM).map(|_| pool.look()).collect();
    assert!(paces[..CALM as usize].iter().all(|pace| *pace == Pace::Slow), "not so soon");
    assert_eq!(paces[CALM as usize], Pace::Calm);
    pool.take(FAST as usize).unwrap();
    assert_eq!(pool.look(), Pace::Fast);
}

#[test]
fn chunks_are_made_ready_when_much_is_in_use() {
    let pool = Pool::default();
    assert!(!pool.prepare() && !pool.collapse());
    let runs = pool.take_many(2 * PAGES_PER_READY / 8, 3);
    assert!(pool.collapse(), "full chunks are none of huge pages yet");
    assert!(pool.prepare() && !pool.prepare());
    assert_eq!((pool.chunks(Stage::Ready), pool.idle_bytes()), (1, HUGE_PAGE));
    pool.check();
    // The next pages come from what is ready.
    let next = pool.take(1).unwrap();
    assert_eq!((next.first as usize, pool.chunks(Stage::Ready)), (2 * PAGES_PER_READY, 0));
    assert!(pool.prepare());
    assert_eq!(pool.idle_bytes(), 2 * HUGE_PAGE - PAGE);
    pool.check();
    assert_eq!(std::iter::from_fn(|| pool.collapse().then_some(())).count(), 2 * PAGES_PER_READY / PAGES - 1);
    pool.dismiss();
    assert_eq!((pool.chunks(Stage::Ready), pool.idle_bytes()), (0, HUGE_PAGE - PAGE));
    assert!(pool.prepare());
    pool.give(runs);
    while pool.trim_some() {}
    assert_eq!(pool.chunks(Stage::Ready), 0, "a small engine keeps none ready");
    pool.check();
}

#[test]
fn what_was_made_ready_stays_when_it_comes_into_use() {
    let pool = Pool::default();
    let runs = pool.take_many(2 * PAGES_PER_READY / 8, 3);
    assert!(pool.prepare());
    let next = pool.take(8).unwrap();
    assert!(pool.prepare());
    assert!(!pool.trim_some(), "{} bytes are idle", pool.idle_bytes());
    assert_eq!(pool.idle_bytes(), 2 * HUGE_PAGE - 8 * PAGE);
    pool.check();
    // Others are given back before.
    pool.give(runs[..PAGES / 8].iter().copied());
    while pool.trim_some() {}
    assert_eq!(pool.idle_bytes(), 2 * HUGE_PAGE - 8 * PAGE);
    pool.check();
    pool.dismiss();
    while pool.trim_some() {}
    assert!(pool.idle_bytes() < HUGE_PAGE / 2, "an engine that shall not grow keeps nothing for it");
    pool.check();
    pool.give([next]);
}

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn chunks_that_were_huge_pages_serve_a_page_at_a_time_once_they_were_given_back() {
    let pool = Pool::default();
    let runs = pool.take_many(PAGES_PER_READY / 8, 3);
    assert!(pool.prepare());
    let (before, next) = (pool.region().resident(), pool.take(PAGES).unwrap());
    assert!(before >= HUGE_PAGE);
    pool.give([next]);
    pool.trim();
    let again = pool.take(1).unwrap();
    assert_eq!(again.first, next.first);
    pool.region().lines(again.first as usize..again.first as usize + 1)[0].0[0].store(1, Ordering::Relaxed);
    assert!(pool.region().resident() <= before - HUGE_PAGE + 4 * PAGE);
    pool.give(runs);
}

#[test]
fn without_memory_taking_is_an_error() {
    let pool = Pool::default();
    crate::store::memory::refusal::set(true);
    assert!(pool.take(1) == Err(OutOfMemory));
    crate::store::memory::refusal::set(false);
    assert!(pool.take(PAGES).is_ok());
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize),
    Give(usize),
    GiveMany(usize),
    Prepare,
    Collapse,
    Trim,
    TrimSome,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..=LONGEST_RUN).prop_map(|log| Op::Take(1 << log)),
        10 => (1..40_usize).prop_map(Op::Take),
        2 => (1..4 * PAGES).prop_map(Op::Take),
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
        let mut model: Vec<(Run, u64)> = Vec::new();
        let ends = |run: &Run| {
            let lines = pool.region().lines(run.first as usize..(run.first + run.pages) as usize);
            [&lines[0].0[0], &lines[lines.len() - 1].0[7]]
        };
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Take(pages) => {
                    let run = pool.take(pages).unwrap();
                    let mark = step as u64 + 1;
                    ends(&run).iter().for_each(|word| word.store(mark, Ordering::Relaxed));
                    model.push((run, mark));
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
                Op::Collapse => drop(pool.collapse()),
                Op::Trim => pool.trim(),
                Op::TrimSome => drop(pool.trim_some()),
            }
            pool.check();
            for (run, mark) in &model {
                for word in ends(run) {
                    prop_assert_eq!(word.load(Ordering::Relaxed), *mark, "{:?}", run);
                }
            }
        }
    }
}

#[test]
fn what_is_held_is_left_to_its_thread() {
    const CHUNKS: usize = 4;
    let pool = Pool::of(CHUNKS * HUGE_PAGE);
    let first = pool.take(1).unwrap();
    let held = pool.hold(PAGES + 1).expect("there are three more");
    assert!(pool.hold(1).is_none(), "a thread holds once");
    let taken = std::thread::scope(|scope| {
        let others = || {
            assert!(pool.hold(2 * PAGES).is_none(), "two of three are held");
            let mut taken = Vec::new();
            while let Ok(run) = pool.take(1) {
                taken.push(run);
            }
            assert!(pool.take(PAGES + 1).is_err());
            taken
        };
        scope.spawn(others).join().unwrap()
    });
    assert_eq!(taken.len(), 2 * PAGES - 1, "the rest of the first, and one chunk");
    let own = pool.take(PAGES).unwrap();
    assert!(std::thread::scope(|scope| scope.spawn(|| pool.take(1).is_err()).join().unwrap()));
    let last = pool.take(1).unwrap();
    drop(held);
    let more = std::thread::scope(|scope| scope.spawn(|| pool.take(1).unwrap()).join().unwrap());
    pool.give(taken.into_iter().chain([first, own, last, more]));
    pool.check();
    assert_eq!(pool.used_bytes(), 0);
}
