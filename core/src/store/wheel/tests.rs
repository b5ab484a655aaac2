//! Tests of timing wheels: against a sorted list of deadlines, over every level, and what they take.

use proptest::prelude::*;

use super::*;

const CASES: u32 = if cfg!(miri) { 3 } else { 300 };
const DAY: u64 = 86_400_000;

#[test]
fn an_empty_wheel_is_tiny() {
    let mut wheel = Wheel::new(1_760_000_000_000);
    assert!(size_of::<Wheel>() <= 160, "{}", size_of::<Wheel>());
    assert_eq!((wheel.len(), wheel.bytes(), wheel.next_tick()), (0, 0, None));
    assert_eq!(wheel.advance(1_770_000_000_000, 10, |_| unreachable!()), Progress::default());
    wheel.arm(1_770_000_000_000, 1).unwrap();
    assert_eq!(wheel.next_tick(), Some(1_770_000_000_000));
    wheel.advance(1_770_000_000_000, 10, |_| Fired::Gone);
    assert_eq!((wheel.len(), wheel.bytes()), (0, 0), "an emptied wheel too");
}

#[test]
#[cfg_attr(miri, ignore)]
fn a_million_timers_cost_five_bytes_each() {
    for slots in [1, 100, 3000] {
        let mut wheel = Wheel::new(0);
        for id in 0..1_000_000_u32 {
            wheel.arm(5000 + u64::from(id % slots) * 256, id).unwrap();
        }
        assert!(wheel.bytes() <= 5_000_000, "{slots}: {}", wheel.bytes());
        let reserved: usize = wheel.chunks.segments.iter().map(|s| size_of_val(&s[..])).sum();
        assert!(
            (reserved..reserved + 100_000).contains(&wheel.chunks.bytes()),
            "the formula counts what is there"
        );
        let mut left = 1_000_000;
        while wheel.advance(10_000_000, 1000, |_| Fired::Gone).more {
            left -= 1000;
            assert_eq!(wheel.len(), left);
            assert!(wheel.bytes() <= left * 24 + 100_000, "{left} left in {}", wheel.bytes());
        }
        assert_eq!(wheel.bytes(), 0);
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn timers_of_a_shard_stand_in_pages_of_the_pool_and_give_them_back() {
    let pool = Arc::new(Pool::default());
    let mut wheel = Wheel::in_pool(&pool, 0);
    let arm = |wheel: &mut Wheel| (0..20_000).for_each(|id| wheel.arm(5000 + u64::from(id % 7), id).unwrap());
    arm(&mut wheel);
    assert!(wheel.chunks.segments.iter().map(Vec::len).sum::<usize>() == 64, "a page's worth besides");
    let in_pages = wheel.bytes() - 64 * size_of::<Line>();
    assert!(
        (in_pages - in_pages / 20..=in_pages).contains(&pool.used_bytes()),
        "{} {in_pages}",
        pool.used_bytes()
    );
    let mut seen = vec![false; 20_000];
    while wheel
        .advance(10_000, 100, |id| {
            if std::mem::replace(&mut seen[id as usize], true) { Fired::Later(1) } else { Fired::Gone }
        })
        .more
    {}
    assert!(seen.iter().all(|seen| *seen) && wheel.len() == 0);
    assert_eq!(pool.used_bytes(), 0);
    arm(&mut wheel);
    wheel.clear();
    assert_eq!(pool.used_bytes(), 0);
    arm(&mut wheel);
    drop(wheel);
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn what_comes_up_next_is_known_once_its_time_has_come() {
    let mut wheel = Wheel::new(0);
    (0..100).for_each(|id| wheel.arm(5000, id).unwrap());
    assert_eq!(wheel.upcoming().count(), 0);
    for left in (0..10).rev() {
        let foreseen: Vec<u32> = wheel.upcoming().take(10).collect();
        let mut came = Vec::new();
        wheel.advance(5000, 10, |id| {
            came.push(id);
            Fired::Gone
        });
        assert!(foreseen == came || left == 9, "{foreseen:?} {came:?}");
        assert_eq!(wheel.upcoming().count(), left * 10);
    }
}

#[test]
fn deadlines_beyond_all_levels_wait_in_the_last() {
    let mut wheel = Wheel::new(5);
    wheel.arm(u64::MAX, 1).unwrap();
    let mut asked = 0;
    wheel.advance(300_000 * DAY, 10, |_| {
        asked += 1;
        Fired::Later(u64::MAX)
    });
    assert!((0..=10).contains(&asked));
    assert_eq!(wheel.len(), 1);
    assert!(wheel.next_tick().unwrap() > 300_000 * DAY);
    assert_eq!(wheel.advance(u64::MAX, 10, |_| Fired::Gone).fired, 1);
}

#[test]
fn a_timer_that_says_later_than_now_but_past_waits_for_the_next_advance() {
    let mut wheel = Wheel::new(100);
    wheel.arm(50, 1).unwrap();
    for _ in 0..3 {
        assert_eq!(wheel.next_tick(), Some(100));
        assert_eq!(wheel.advance(100, 10, |_| Fired::Later(70)), Progress { fired: 1, more: false });
    }
}

#[test]
fn a_step_back_files_everything_anew() {
    let mut wheel = Wheel::new(5000);
    for (id, deadline) in [4000, 5001, 5300, 90_000, 10_000_000].into_iter().enumerate() {
        wheel.arm(deadline, id as u32).unwrap();
    }
    // Armed by the new clock before the wheel has heard of it.
    wheel.arm(1001, 5).unwrap();
    let deadlines = [4000, 5001, 5300, 90_000, 10_000_000, 1001];
    let mut seen = Vec::new();
    let done = wheel.advance(1000, 100, |id| {
        seen.push(id);
        Fired::Later(deadlines[id as usize])
    });
    seen.sort_unstable();
    assert_eq!((done, seen), (Progress { fired: 6, more: false }, vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(wheel.next_tick(), Some(1001));
    for deadline in [1001, 4000, 5001] {
        let early = wheel.advance(deadline - 1, 100, |id| Fired::Later(deadlines[id as usize]));
        assert!(!early.more && wheel.next_tick().unwrap() <= deadline);
        let due = |id| {
            if deadlines[id as usize] == deadline {
                Fired::Gone
            } else {
                Fired::Later(deadlines[id as usize])
            }
        };
        let before = wheel.len();
        wheel.advance(deadline, 100, due);
        assert_eq!(wheel.len(), before - 1);
    }
}

#[test]
fn timers_in_the_time_stepped_back_do_not_keep_the_others_waiting() {
    let mut wheel = Wheel::new(1000);
    (0..20).for_each(|id| wheel.arm(900, id).unwrap());
    wheel.arm(1000, 20).unwrap();
    let mut given = Vec::new();
    for calls in 1.. {
        let progress = wheel.advance(800, 5, |id| {
            given.push(id);
            Fired::Later(900)
        });
        if !progress.more {
            assert_eq!((calls, given.len()), (5, 21));
            break;
        }
        assert!(calls < 5);
    }
    assert_eq!(wheel.next_tick(), Some(1000));
}

#[derive(Clone, Debug)]
enum Op {
    Arm(u64),
    ArmPast(u64),
    ArmMany(u64, u16),
    /// Moves a deadline without telling the wheel, as lengthening one does.
    Lengthen(usize, u64),
    Delete(usize),
    Advance(u64, usize),
    Back(u64),
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..300,
        0_u64..70_000,
        0..DAY,
        0..3000 * DAY,
        Just(1 << 40),
        any::<u64>(),
        prop::sample::select(vec![
            1,
            255,
            256,
            257,
            511,
            512,
            65_535,
            65_536,
            65_537,
            1 << 24,
            (1 << 24) + 1
        ]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => span().prop_map(Op::Arm),
        2 => span().prop_map(Op::ArmPast),
        3 => (span(), 0..if cfg!(miri) { 20_u16 } else { 2000 }).prop_map(|(d, n)| Op::ArmMany(d, n)),
        3 => (any::<usize>(), span()).prop_map(|(at, by)| Op::Lengthen(at, by)),
        3 => any::<usize>().prop_map(Op::Delete),
        20 => (0..600_u64, 1..50_usize).prop_map(|(by, budget)| Op::Advance(by, budget)),
        5 => (0..100_000_u64, 1..2000_usize).prop_map(|(by, budget)| Op::Advance(by, budget)),
        2 => (0..40 * DAY, 1..2000_usize).prop_map(|(by, budget)| Op::Advance(by, budget)),
        1 => (0..5000_u64).prop_map(Op::Back),
        1 => (0..5 * DAY).prop_map(Op::Back),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Against a plain list of deadlines: once an advance is through, nothing that is due is left, nothing else has
    /// gone, and `next_tick` is not after the nearest deadline.
    #[test]
    fn behaves_as_a_list_of_deadlines(
        start in prop_oneof![Just(0), Just(1_760_000_000_000_u64), 0..1_u64 << 41],
        ops in prop::collection::vec(op(), 0..if cfg!(miri) { 15 } else { 80 }),
    ) {
        let mut now = start;
        let mut wheel = Wheel::new(now);
        // By id: the deadline, None once expired or deleted.
        let mut model: Vec<Option<u64>> = Vec::new();
        for op in ops {
            match op {
                Op::Arm(by) => {
                    wheel.arm(now.saturating_add(by), model.len() as u32).unwrap();
                    model.push(Some(now.saturating_add(by)));
                }
                Op::ArmPast(by) => {
                    wheel.arm(now.saturating_sub(by), model.len() as u32).unwrap();
                    model.push(Some(now.saturating_sub(by)));
                }
                Op::ArmMany(by, count) => for i in 0..u64::from(count) {
                    let deadline = now.saturating_add(by).saturating_add(i / 16);
                    wheel.arm(deadline, model.len() as u32).unwrap();
                    model.push(Some(deadline));
                },
                Op::Lengthen(at, by) if !model.is_empty() => {
                    let at = at % model.len();
                    model[at] = model[at].map(|deadline| deadline.saturating_add(by));
                }
                Op::Delete(at) if !model.is_empty() => {
                    let at = at % model.len();
                    model[at] = None;
                }
                Op::Lengthen(..) | Op::Delete(_) => {}
                Op::Back(by) => now = now.saturating_sub(by),
                Op::Advance(by, budget) => {
                    now += by;
                    loop {
                        let mut fired = 0;
                        let progress = wheel.advance(now, budget, |id| {
                            fired += 1;
                            let timer = &mut model[id as usize];
                            match *timer {
                                Some(deadline) if deadline > now => Fired::Later(deadline),
                                _ => {
                                    *timer = None;
                                    Fired::Gone
                                }
                            }
                        });
                        prop_assert_eq!(progress.fired, fired);
                        prop_assert!(fired <= budget);
                        prop_assert!(!progress.more || fired == budget);
                        if !progress.more {
                            break;
                        }
                    }
                    prop_assert!(model.iter().flatten().all(|&deadline| deadline > now));
                }
            }
            let armed = model.iter().flatten().count();
            prop_assert!(wheel.len() >= armed && wheel.len() <= model.len());
            if let Some(&nearest) = model.iter().flatten().min() {
                // A wheel whose clock stepped back knows so only at the next advance.
                prop_assert!(wheel.next_tick().unwrap() <= nearest.max(wheel.now));
            }
        }
    }
}
