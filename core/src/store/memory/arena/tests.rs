//! Tests of the arena: classes, runs, readers without the lock, compaction, and blocks against a list of vectors.
//! What blocks mean is left out here too: they are bytes.
use proptest::prelude::*;

use super::super::words::{LONGEST_COPY, Scratch, WINDOW};
use super::*;

impl Arena {
    fn alone() -> Self {
        Self::new(Arc::default())
    }

    /// What it has taken, in runs of 32 KiB.
    fn runs(&self) -> usize {
        self.pool.used_bytes() / (LONG_RUN * UNIT)
    }

    /// The smallest bytes of a run.
    const SHORTEST: usize = PAGE;
}

const CASES: u32 = if cfg!(miri) { 4 } else { 200 };

#[test]
fn classes_waste_little_and_are_consistent() {
    for units in 1..=LARGEST / UNIT {
        let class = class_of(units);
        let size = class_units(class);
        assert!(size >= units && (units <= FINE_UNITS && size == units || (size - units) * 8 < units));
        assert!(class == 0 || class_units(class - 1) < units);
        assert!(class_units(class_within(units)) <= units);
        if cfg!(miri) && units > 2000 {
            break;
        }
    }
    assert_eq!(class_of(LARGEST / UNIT), CLASSES - 1);
    assert_eq!(class_units(CLASSES - 1), LARGEST / UNIT);
}

#[test]
fn an_empty_arena_takes_nothing() {
    let mut arena = Arena::alone();
    assert_eq!((arena.runs(), arena.used(), arena.reserved()), (0, 0, 0));
    arena.clear();
    assert!([77, u32::MAX].iter().all(|at| arena.region().window(Ref::new(*at).unwrap()).is_none()));
    arena.alloc(1).unwrap();
    assert_eq!((arena.pool.used_bytes(), arena.used(), arena.kept()), (Arena::SHORTEST, 8, 0));
}

#[test]
fn large_blocks_get_runs_of_their_own() {
    let mut arena = Arena::alone();
    // Too long for a piece of a page.
    let small = arena.alloc(300).unwrap();
    let large = arena.alloc(LARGEST).unwrap();
    arena.write(large, 0, [&vec![1; LARGEST]]);
    assert_eq!((arena.reserved(), arena.runs()), (Arena::SHORTEST + LARGEST, 64));
    assert!(arena.holes() <= UNIT, "moving would not help");
    // What was left of the first run serves the small ones.
    for _ in 0..30 {
        arena.alloc(100).unwrap();
    }
    assert_eq!(arena.reserved(), Arena::SHORTEST + LARGEST);
    let other = arena.alloc(LONG_RUN * UNIT + 1).unwrap();
    arena.write(other, 0, [&vec![2; LONG_RUN * UNIT + 1]]);
    assert!(arena.bytes(large, LARGEST).iter().all(|byte| *byte == 1));
    let whole = arena.alloc(LONG_RUN * UNIT).unwrap();
    assert_eq!(arena.bytes(whole, LONG_RUN * UNIT).len(), LONG_RUN * UNIT);
    assert!(arena.runs() <= 64 + 16 && arena.block(small).words().get(12).is_some(), "{}", arena.runs());
    let (used, holes) = (arena.used(), arena.holes());
    let huge = [LARGEST + 1, 5 << 20].map(|bytes| {
        let block = arena.alloc(bytes).unwrap();
        arena.write(block, 0, [&vec![7; bytes]]);
        (block, bytes)
    });
    let bytes: usize = huge.iter().map(|(_, bytes)| Arena::class_bytes(*bytes)).sum();
    assert_eq!((arena.used(), arena.holes()), (used + bytes, holes));
    for (block, bytes) in huge {
        assert!(arena.bytes(block, bytes).iter().all(|byte| *byte == 7));
        arena.free(block, bytes);
    }
    assert_eq!((arena.used(), arena.holes()), (used, holes));
    let mut middling = Arena::alone();
    assert!((0..500).all(|_| middling.alloc(17_000).is_ok()));
    assert!(middling.runs() * LONG_RUN * UNIT < 500 * 17_000 * 7 / 6, "{}", middling.runs());
}

#[test]
fn runs_are_as_long_as_leaves_least() {
    for used in [0, 1, 1000, 100_000, 1 << 20, 1 << 30] {
        for block in [8, 64, 1000, 9216, 100_000, LARGEST] {
            let run = run_bytes(used, block);
            assert!(run.is_power_of_two() && run >= PAGE.max(block) && run <= PAGE << LONGEST_RUN, "{run}");
            let root = ((used * (block + PER_RUN)) as f64).sqrt() as usize;
            assert!(run <= (4 * root).max(2 * (block + UNIT)).max(PAGE), "{used} {block}: {run}");
            assert!(run >= root.min(LONG_RUN * UNIT) / 2, "{used} {block}: {run}");
        }
    }
}

#[test]
fn what_the_pool_gave_is_counted_but_for_pages_and_ends() {
    for len in [40, 300, 5000] {
        let mut arena = Arena::alone();
        for _ in 0..200_000 / len {
            arena.alloc(len).unwrap();
            let counted = arena.used() + arena.kept();
            let taken = arena.pool.used_bytes();
            assert!(taken <= counted + arena.ends + 2 * PAGE, "{len}: {taken} for {counted}");
            assert!(taken <= arena.used() + arena.used() / 2 + 4 * len.max(PAGE), "{len}: {taken}");
        }
    }
}

#[test]
fn condemned_blocks_are_moved_and_their_memory_is_used_again() {
    let mut arena = Arena::alone();
    let mut blocks: Vec<_> = (0..5000_u32)
        .map(|i| {
            let block = arena.alloc(200).unwrap();
            arena.write(block, 0, [&i.to_le_bytes(), &[7; 196]]);
            block
        })
        .collect();
    for round in 0..6 {
        // Every other block goes, the rest is moved while new ones come.
        let gone = blocks.split_off(2500);
        gone.iter().for_each(|block| arena.free(*block, 200));
        assert_eq!(arena.holes() + arena.ends, arena.reserved() - 2500 * 200);
        assert!(arena.ends < arena.reserved() / 50, "{}", arena.ends);
        arena.condemn();
        assert_eq!((arena.holes(), arena.used()), (0, 2500 * 200));
        assert!(arena.condemned_bytes() >= 5000 * 200);
        for block in &mut blocks {
            let before = arena.bytes(*block, 200).to_vec();
            assert!(arena.is_condemned(*block));
            *block = arena.relocate(*block, 200).unwrap();
            assert!(!arena.is_condemned(*block) && arena.bytes(*block, 200) == before);
        }
        blocks.extend((0..2500).map(|_| arena.alloc(200).unwrap()));
        arena.release_condemned();
        assert_eq!((arena.used(), arena.condemned_bytes()), (5000 * 200, 0), "{round}");
        assert!(arena.holes() < 100_000, "{}", arena.holes());
    }
    assert!(arena.runs() <= 5000 * 200 / (LONG_RUN * UNIT) + 4, "runs go back: {}", arena.runs());
}

#[test]
fn freed_blocks_are_reused_and_split() {
    let mut arena = Arena::alone();
    let block = arena.alloc(800).unwrap();
    arena.free(block, 800);
    assert_eq!(arena.alloc(800), Ok(block));
    arena.free(block, 800);
    let small = arena.alloc(40).unwrap();
    assert_eq!(small, block, "the larger free block is split");
    assert_eq!(arena.alloc(760).unwrap().get(), block.get() + 5, "and its rest used");
    assert_eq!(arena.used(), 800);
}

#[test]
#[should_panic(expected = "outside the region")]
fn a_wild_reference_is_refused() {
    let mut arena = Arena::alone();
    arena.alloc(10).unwrap();
    arena.bytes(Ref::new(1 << 30).unwrap(), 1);
}

#[test]
#[should_panic(expected = "outside the region")]
fn a_range_over_the_end_of_the_region_is_refused() {
    let mut arena = Arena::alone();
    arena.alloc(10).unwrap();
    let last = arena.region().committed() / UNIT - 1;
    arena.bytes(Ref::new(last as u32).unwrap(), 9);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "freed twice")]
fn a_double_free_is_caught_in_debug_builds() {
    let mut arena = Arena::alone();
    let block = arena.alloc(24).unwrap();
    arena.alloc(24).unwrap();
    arena.free(block, 24);
    arena.free(block, 24);
}

#[test]
fn without_memory_it_works_on_with_what_it_has() {
    let mut arena = Arena::alone();
    crate::store::memory::refusal::set(true);
    assert_eq!(arena.alloc(8), Err(OutOfMemory));
    crate::store::memory::refusal::set(false);
    let first = arena.alloc(1000).unwrap();
    crate::store::memory::refusal::set(true);
    let fitting = std::iter::from_fn(|| arena.alloc(1000).ok()).count();
    assert_eq!((fitting, arena.used()), (3, 4000));
    arena.free(first, 1000);
    assert_eq!(arena.alloc(1000), Ok(first));
    arena.alloc(80).expect("the end of the run has room");
    crate::store::memory::refusal::set(false);
    arena.alloc(1000).unwrap();
}

#[test]
fn words_are_the_bytes() {
    let mut arena = Arena::alone();
    let block = arena.alloc(24).unwrap();
    arena.set_word(block, 1, 0x0102_0304_0506_0708);
    assert_eq!(arena.word(block, 1), 0x0102_0304_0506_0708);
    let bytes: [u8; 8] = arena.bytes(block, 24)[8..16].try_into().unwrap();
    assert_eq!(bytes, bytemuck::cast::<u64, [u8; 8]>(0x0102_0304_0506_0708));
}

#[test]
#[cfg_attr(miri, ignore)]
fn many_runs() {
    let mut arena = Arena::alone();
    let blocks: Vec<_> = (0..200_000_u64)
        .map(|i| {
            let block = arena.alloc(104).unwrap();
            arena.write(block, 0, [&[i as u8; 104]]);
            arena.set_word(block, 0, i);
            block
        })
        .collect();
    assert!(arena.runs() > 600);
    for (i, &block) in blocks.iter().enumerate() {
        assert_eq!(arena.word(block, 0), i as u64);
        assert!(arena.bytes(block, 104)[8..].iter().all(|&b| b == i as u8));
    }
    let before = arena.runs();
    arena.clear();
    assert_eq!(arena.runs(), 0);
    for _ in 0..200_000 {
        arena.alloc(104).unwrap();
    }
    assert_eq!(arena.runs(), before, "cleared runs are used again");
}

#[test]
fn bytes_are_written_anywhere_and_nothing_beside_them() {
    let mut arena = Arena::alone();
    let block = arena.alloc(64).unwrap();
    for from in 0..20 {
        for (first, second) in (0..20).flat_map(|first| (0..20).map(move |second| (first, second))) {
            arena.write(block, 0, [&[0xff; 64]]);
            let content: Vec<u8> = (0..first + second).map(|i| i as u8 + 1).collect();
            let (one, two) = content.split_at(first);
            arena.write(block, from, [one, two]);
            let bytes = arena.bytes(block, 64);
            assert_eq!(&bytes[from..from + content.len()], content);
            assert!(bytes[..from].iter().chain(&bytes[from + content.len()..]).all(|b| *b == 0xff));
            let words = arena.block(block).words();
            let (mut scratch, window) = (Scratch::new(), arena.region().window(block).unwrap());
            let mut buffer = [7; 50];
            for room in [content.len(), content.len() / 2, 50] {
                assert!(window.copy_into(from, content.len(), &mut buffer[..room]));
                let fits = room.min(content.len());
                assert_eq!(buffer[..fits], content[..fits]);
            }
            assert_eq!(window.copy(from, content.len(), &mut scratch), Some(&content[..]));
            if from % UNIT == 0 && !content.is_empty() {
                assert!(words.equal(from / UNIT, &content) && window.equal(from / UNIT, &content));
                let mut other = content.clone();
                other[first.min(content.len() - 1)] ^= 0x80;
                assert!(!words.equal(from / UNIT, &other) && !window.equal(from / UNIT, &other));
            }
        }
    }
}

#[test]
fn a_window_is_written_as_any_block_is() {
    let mut arena = Arena::alone();
    let (block, model) = (arena.alloc(200).unwrap(), arena.alloc(200).unwrap());
    for from in 0..20 {
        for len in 0..40_usize {
            let text: Vec<u8> = (0..len).map(|at| at as u8 + 40).collect();
            for (at, ascii) in [(0, true), (len / 2, false), (len.saturating_sub(1), false)] {
                let mut text = text.clone();
                if let Some(byte) = text.get_mut(at).filter(|_| !ascii) {
                    *byte = 0xc3;
                }
                for block in [block, model] {
                    arena.write(block, 0, [&[7; 200]]);
                }
                arena.write(model, from, [&text]);
                let written = arena.window_mut(block).unwrap().write(from, &text);
                assert_eq!(written, Some(ascii || len == 0));
                assert_eq!(arena.bytes(block, from + len), arena.bytes(model, from + len));
                let next = (from + len).next_multiple_of(UNIT);
                assert_eq!(arena.bytes(block, 200)[next..], [7; 200][next..], "{from} {len}");
                let word = arena.region().window(block).unwrap().eight(from);
                let bytes = arena.bytes_from(block, from, UNIT);
                assert_eq!(word, Some(u64::from_le_bytes(bytes.try_into().unwrap())));
            }
        }
    }
    let mut window = arena.window_mut(block).unwrap();
    assert_eq!(window.write(WINDOW * UNIT, b"x"), None);
    assert_eq!(window.write(usize::MAX, b"x"), None);
    assert_eq!(arena.region().window(block).unwrap().eight(WINDOW * UNIT - 7), None);
}

#[test]
fn readers_without_the_lock_see_words_wherever_a_number_leads() {
    let mut arena = Arena::alone();
    arena.alloc(8).unwrap();
    let region = arena.region();
    let end = (region.committed() / UNIT) as u32;
    let at = |number| Ref::new(number).unwrap();
    assert!(region.words(at(end)).is_none() && region.window(at(end)).is_none(), "not there");
    assert!(region.eight(at(end)).is_none() && region.line(end as usize / 8).is_none());
    let last = region.words(at(end - 1)).unwrap();
    assert_eq!((last.get(0), last.get(1)), (Some(0), None));
    assert!(last.equal(0, &[0; 8]) && !last.equal(0, &[0; 9]));
    let window = region.window(at(end - 1)).unwrap();
    assert_eq!(window.copy(0, 200, &mut Scratch::new()), Some(&[0; 200][..]), "zeroes beyond");
    assert!(window.copy(0, LONGEST_COPY + 1, &mut Scratch::new()).is_none());
    assert!(window.copy(8 * WINDOW, 1, &mut Scratch::new()).is_none() && !window.equal(WINDOW, b"x"));
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize),
    Free(usize),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => (0..300_usize).prop_map(Op::Alloc),
        5 => (0..20_000_usize).prop_map(Op::Alloc),
        1 => (0..LARGEST + 1).prop_map(Op::Alloc),
        30 => any::<usize>().prop_map(Op::Free),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Blocks keep what was written, never overlap, and the count of used bytes is exact.
    #[test]
    fn behaves_as_a_list_of_vectors(ops in prop::collection::vec(op(), 0..if cfg!(miri) { 40 } else { 400 })) {
        let mut arena = Arena::alone();
        let mut model: Vec<(Ref, Vec<u8>)> = Vec::new();
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Alloc(bytes) => {
                    let block = arena.alloc(bytes).unwrap();
                    let content: Vec<u8> = (0..bytes).map(|i| (i ^ step) as u8).collect();
                    arena.write(block, 0, [&content]);
                    model.push((block, content));
                }
                Op::Free(at) if !model.is_empty() => {
                    let (block, content) = model.swap_remove(at % model.len());
                    prop_assert_eq!(arena.bytes(block, content.len()), &content[..]);
                    arena.free(block, content.len());
                }
                Op::Free(_) => {}
                Op::Clear => {
                    arena.clear();
                    model.clear();
                }
            }
            let used: usize = model.iter().map(|(_, content)| Arena::class_bytes(content.len())).sum();
            prop_assert_eq!(arena.used(), used);
            prop_assert!(arena.reserved() >= used);
        }
        for (block, content) in &model {
            prop_assert_eq!(arena.bytes(*block, content.len()), &content[..]);
        }
        let mut ranges: Vec<_> = model
            .iter()
            .map(|(block, content)| (block.get() as usize, Arena::class_bytes(content.len()) / UNIT))
            .collect();
        ranges.sort_unstable();
        prop_assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    }
}
