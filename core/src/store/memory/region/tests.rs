//! Tests of regions: commitment, what is given back, limits of address space, many at once and one after the other.

use super::*;

/// Bytes that the process has mapped, by the system's account.
#[cfg(target_os = "linux")]
fn mapped() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').next().unwrap().parse::<usize>().unwrap() * PAGE
}

fn word(region: &Region, number: u32) -> Option<&AtomicU64> {
    region.eight(Ref::new(number)?).map(|words| &words[0])
}

#[test]
fn what_is_committed_is_zero_and_stays_where_it_is() {
    let region = Region::reserve(64 << 20);
    assert_eq!((region.len(), region.committed()), (64 << 20, 0));
    assert!(word(&region, 1).is_none() && region.line(0).is_none(), "nothing is there yet");
    region.commit(1).unwrap();
    assert_eq!(region.committed(), LEAST_COMMITTED, "a call to the system is for more than a page");
    let first = word(&region, 1).unwrap();
    assert_eq!(first.swap(7, Ordering::Relaxed), 0);
    for bytes in [LEAST_COMMITTED, LEAST_COMMITTED + 1, 5 << 20, 64 << 20] {
        region.commit(bytes).unwrap();
        let last = word(&region, (region.committed() / UNIT - 1) as u32).unwrap();
        assert!(region.committed() >= bytes && last.load(Ordering::Relaxed) == 0);
        assert!(word(&region, (region.committed() / UNIT) as u32).is_none());
    }
    assert_eq!((region.committed(), first.load(Ordering::Relaxed)), (64 << 20, 7));
    assert_eq!(region.commit((64 << 20) + 1), Err(OutOfMemory));
    assert!(std::ptr::from_ref(region.line(3).unwrap()).addr().is_multiple_of(64));
}

#[test]
fn pages_given_back_are_zeroes_and_their_neighbours_stay() {
    let region = Region::reserve(8 << 20);
    region.commit(4 << 20).unwrap();
    region.populate_huge(0..HUGE_PAGE);
    let set = || region.lines(0..4).iter().for_each(|line| line.0[5].store(9, Ordering::Relaxed));
    set();
    region.populate_huge(0..HUGE_PAGE);
    region.collapse(0..HUGE_PAGE);
    region.give_back(PAGE..3 * PAGE);
    let lines = region.lines(0..4);
    for (at, expected) in [(0, 9), (63, 9), (64, 0), (3 * 64 - 1, 0), (3 * 64, 9)] {
        assert_eq!(lines[at].0[5].load(Ordering::Relaxed), expected, "at {at}");
    }
    region.give_back(0..usize::MAX & !(PAGE - 1));
    assert_eq!(lines[0].0[5].load(Ordering::Relaxed), 0, "only what is committed is asked for");
}

#[test]
fn impossible_sizes_leave_a_region_of_what_there_is() {
    let region = Region::reserve(1 << 60);
    assert!(region.len() < 1 << 60 && region.len().is_power_of_two() | (region.len() == 0));
    let nothing = Region::empty();
    assert_eq!((nothing.commit(1), nothing.len()), (Err(OutOfMemory), 0));
    assert!(nothing.words(Ref::new(1).unwrap()).is_none());
}

#[test]
fn refusal_is_an_error_and_loses_nothing() {
    let region = Region::reserve(8 << 20);
    region.commit(1).unwrap();
    word(&region, 5).unwrap().store(3, Ordering::Relaxed);
    refusal::set(true);
    assert_eq!(region.commit(4 << 20), Err(OutOfMemory));
    assert_eq!((region.committed(), region.commit(8)), (LEAST_COMMITTED, Ok(())));
    refusal::set(false);
    region.commit(4 << 20).unwrap();
    assert_eq!(word(&region, 5).unwrap().load(Ordering::Relaxed), 3);
}

#[test]
#[should_panic(expected = "pages are committed")]
fn pages_beyond_are_refused() {
    let region = Region::reserve(8 << 20);
    region.commit(1).unwrap();
    region.lines(0..region.committed() / PAGE + 1);
}

/// What an engine reserves at most, twice: entries and home buckets.
const ENGINE: [usize; 2] = [32 << 30, 8 << 30];

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn two_thousand_engines_fit_and_each_can_be_used() {
    let regions: Vec<Region> = (0..2 * 2_000).map(|number| Region::reserve(ENGINE[number % 2])).collect();
    assert!(regions.iter().zip(ENGINE.iter().cycle()).all(|(region, wish)| region.len() == *wish));
    for (number, region) in regions.iter().enumerate() {
        region.commit(1).unwrap();
        word(region, 1).unwrap().store(number as u64, Ordering::Relaxed);
    }
    let held =
        |(number, region)| word(region, 1).is_some_and(|word| word.load(Ordering::Relaxed) == number as u64);
    assert!(regions.iter().enumerate().all(held));
}

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn a_hundred_thousand_in_turn_leave_no_address_space_behind() {
    // In a child: other tests map and unmap meanwhile.
    let is_flat = crate::os::in_fork(|| {
        let open = || {
            let region = Region::reserve(ENGINE[0]);
            region.commit(1).unwrap();
            word(&region, 9).unwrap().store(1, Ordering::Relaxed);
        };
        open();
        let before = mapped();
        (0..100_000).for_each(|_| open());
        mapped() <= before + (1 << 20)
    });
    assert!(is_flat);
}

/// Runs `child` in a forked process that has so many bytes of address space left, or none beyond a megabyte. What is mapped is asked there: other tests map and
/// unmap meanwhile here.
#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
fn within(left: Option<u64>, child: impl FnOnce() -> bool) -> bool {
    crate::os::in_fork(|| {
        crate::os::limit_address_space(left.map_or(1 << 20, |left| mapped() as u64 + left)) && child()
    })
}

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn a_limit_of_address_space_leaves_a_smaller_region_and_room_beside_it() {
    let free = 6 << 30;
    let fine = within(Some(free), || {
        let region = Region::reserve(ENGINE[0]);
        let len = region.len();
        // At least a quarter of half the room, and no more than half.
        let fits = len >= free as usize / 8 && len <= free as usize / 2;
        let beside = Region::of(free as usize / 4).is_some();
        fits && beside && region.commit(len).is_ok() && region.commit(len + 1) == Err(OutOfMemory)
    });
    assert!(fine);
    assert!(within(None, || Region::reserve(ENGINE[0]).len() == 0));
}

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn locking_all_memory_to_come_takes_only_what_is_committed() {
    let fine = crate::os::in_fork(|| {
        if !crate::os::lock_memory_to_come() {
            // Not allowed here, so nothing can be seen.
            return true;
        }
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
        };
        let before = resident();
        let region = Region::reserve(1 << 30);
        region.commit(1).unwrap();
        word(&region, 9).unwrap().store(5, Ordering::Relaxed);
        // Locked pages can't be given back, and read as zeroes all the same.
        region.give_back(0..PAGE);
        let is_zero = word(&region, 9).unwrap().load(Ordering::Relaxed) == 0;
        is_zero && resident() < before + (8 << 20)
    });
    assert!(fine);
}

#[cfg(all(unix, not(miri)))]
#[test]
fn a_forked_child_has_a_copy_of_its_own() {
    let region = Region::reserve(8 << 20);
    region.commit(1).unwrap();
    let at = word(&region, 1).unwrap();
    at.store(1, Ordering::Relaxed);
    assert!(crate::os::in_fork(|| {
        let seen = at.swap(2, Ordering::Relaxed) == 1;
        seen && region.commit(2 << 20).is_ok() && word(&region, 200_000).is_some()
    }));
    assert_eq!((at.load(Ordering::Relaxed), word(&region, 200_000).is_none()), (1, true));
}

#[cfg(target_os = "linux")]
impl Region {
    /// Bytes of memory behind it, by the system's account.
    pub(crate) fn resident(&self) -> usize {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let own = self.base.addr().get()..self.base.addr().get() + self.len;
        let (mut is_own, mut sum) = (false, 0);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            let start = first.split_once('-').and_then(|(start, _)| usize::from_str_radix(start, 16).ok());
            if let Some(start) = start {
                is_own = own.contains(&start);
            } else if is_own && first == "Rss:" {
                sum += words.next().unwrap().parse::<usize>().unwrap() * 1024;
            }
        }
        sum
    }
}

#[cfg(all(target_os = "linux", not(any(miri, tsan))))]
#[test]
fn huge_pages_given_back_serve_a_page_at_a_time() {
    let region = Region::reserve(8 << 20);
    region.commit(4 << 20).unwrap();
    region.populate_huge(0..2 * HUGE_PAGE);
    assert!(region.resident() >= 2 * HUGE_PAGE);
    region.give_back(0..2 * HUGE_PAGE);
    region.prefer_small_pages(0..2 * HUGE_PAGE);
    word(&region, 1).unwrap().store(1, Ordering::Relaxed);
    assert!(region.resident() <= 4 * PAGE, "{}", region.resident());
}
