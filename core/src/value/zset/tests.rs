//! Tests of sorted sets: scores in a listpack, and the large encoding beside a sorted vector, with shared copies and refused memory.

use proptest::prelude::*;

use super::bounds::{LexBound, ScoreBound};
use super::*;
use crate::store::HashSeed;
use crate::store::memory::{Pool, refusal};
use crate::sync::Arc;
use crate::value::Rooted;
use crate::value::listpack;

const NUMBERS: &[f64] = &[
    0.0,
    1.0,
    -1.0,
    101.0,
    102.0,
    -1234.0,
    0.5,
    -0.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    9_007_199_254_740_992.0,
    -9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    1e300,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
];

/// A listpack of these members and scores.
fn packed(members: &[(&[u8], f64)]) -> Vec<u8> {
    let mut bytes = listpack::EMPTY.to_vec();
    for (member, score) in members {
        let (pack, score) = (Listpack::new(&bytes), PackedScore::new(*score));
        pack.splice(pack.end(), 0, &[Element::Bytes(member), score.element()]).apply_to(&mut bytes);
    }
    bytes
}

#[test]
fn scores_come_back_from_a_listpack_bit_by_bit() {
    // The bytes of some doubles read as an integer.
    let digits = ["12345678", "-1234567", "99999999", "10000000"]
        .map(|text| f64::from_le_bytes(text.as_bytes().try_into().unwrap()));
    for score in NUMBERS.iter().copied().chain(digits) {
        let bytes = packed(&[(b"m", score)]);
        let found = ZSetRef::packed(&bytes).score(b"m").unwrap();
        assert_eq!(found.to_bits(), score.to_bits(), "{score}");
    }
}

#[test]
fn small_integers_take_a_byte_or_two() {
    let len = |score| packed(&[(b"m", score)]).len();
    assert_eq!((len(7.0), len(-3.0), len(1000.0), len(0.5)), (8, 9, 10, 16));
}

type Model = Vec<(f64, Vec<u8>)>;

fn seed() -> HashSeed {
    HashSeed::of(3)
}

fn sort(model: &mut Model) {
    model.sort_by(|(one, member), (other, others)| {
        one.partial_cmp(other).unwrap().then_with(|| member.cmp(others))
    });
}

/// A large sorted set and what it should hold.
struct Tried {
    zset: ZSet,
    model: Model,
}

impl Tried {
    fn share(&self) -> Self {
        Self { zset: self.zset.share(), model: self.model.clone() }
    }

    fn find(&self, member: &[u8]) -> Option<usize> {
        self.model.iter().position(|(_, other)| other == member)
    }

    fn set(&mut self, member: &[u8], score: f64) {
        let found = self.find(member);
        let Ok(is_new) = self.zset.set(&seed(), member, score) else { return };
        assert_eq!(is_new, found.is_none());
        match found {
            Some(at) => self.model[at].0 = score,
            None => self.model.push((score, member.to_vec())),
        }
        sort(&mut self.model);
    }

    fn remove(&mut self, member: &[u8]) {
        let found = self.find(member);
        let Ok(was_there) = self.zset.remove(&seed(), member) else { return };
        assert_eq!(was_there, found.is_some());
        if let Some(at) = found {
            self.model.remove(at);
        }
    }

    fn remove_rank(&mut self, rank: usize) {
        if rank < self.model.len() && self.zset.remove_rank(&seed(), rank).is_ok() {
            self.model.remove(rank);
        }
    }

    fn check(&self) {
        let seed = seed();
        let zset = ZSetRef::tree(self.zset.as_ref(&seed));
        assert_eq!(zset.len(), self.model.len());
        let mut all = Model::new();
        zset.each(|member, score| all.push((score, member.with(<[u8]>::to_vec))));
        assert_eq!(all, self.model);
        let mut back = Model::new();
        zset.walk(0..zset.len(), true, |member, score| {
            back.push((score, member.with(<[u8]>::to_vec)));
            ControlFlow::Continue(())
        });
        back.reverse();
        assert_eq!(back, self.model);
        for (rank, (score, member)) in self.model.iter().enumerate() {
            assert_eq!(zset.rank(member), Some((rank, *score)));
        }
        let range = ScoreRange {
            min: ScoreBound { score: -1.0, is_open: true },
            max: ScoreBound { score: 2.0, is_open: false },
        };
        let ranks = zset.ranks_of_scores(&range);
        let expected = self.model.iter().filter(|(score, _)| *score > -1.0 && *score <= 2.0);
        assert!(self.model[ranks].iter().eq(expected));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(usize, usize),
    Many(usize),
    Remove(usize),
    RemoveRank(usize, usize),
    Copy,
    Swap,
}

fn op() -> impl Strategy<Value = Op> {
    let member = prop_oneof![0..20_usize, 0..400_usize];
    prop_oneof![
        8 => (member.clone(), 0..NUMBERS.len()).prop_map(|(member, score)| Op::Set(member, score)),
        2 => (0..NUMBERS.len()).prop_map(Op::Many),
        4 => member.prop_map(Op::Remove),
        3 => (0..300_usize, 1..60_usize).prop_map(|(rank, times)| Op::RemoveRank(rank, times)),
        1 => Just(Op::Copy),
        1 => Just(Op::Swap),
    ]
}

fn name(number: usize) -> Vec<u8> {
    match number % 5 {
        0 => number.to_string().into_bytes(),
        // Some are longer than a page.
        1 if number % 100 == 1 => vec![b'x'; 5000 + number],
        other => format!("{:width$}", number, width = other * 12).into_bytes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 60 }))]

    #[test]
    fn a_large_sorted_set_is_a_sorted_vector(ops in prop::collection::vec((op(), 0..24_usize), 1..50)) {
        let pool = Arc::<Pool>::default();
        let mut tried = Tried { zset: ZSet::new(&pool), model: Model::new() };
        let mut copy = tried.share();
        for (op, allowed) in &ops {
            if *allowed < 6 {
                refusal::after(*allowed);
            }
            match op {
                Op::Set(member, score) => tried.set(&name(*member), NUMBERS[*score]),
                Op::Many(first) => {
                    for number in 0..120 {
                        tried.set(&name(number * 3), NUMBERS[(first + number * number) % NUMBERS.len()]);
                    }
                }
                Op::Remove(member) => tried.remove(&name(*member)),
                Op::RemoveRank(rank, times) => (0..*times).for_each(|_| tried.remove_rank(*rank)),
                Op::Copy => copy = tried.share(),
                Op::Swap => std::mem::swap(&mut tried, &mut copy),
            }
            refusal::set(false);
            tried.check();
        }
        copy.check();
        drop((tried, copy));
        prop_assert_eq!(pool.used_bytes(), 0);
    }
}

#[test]
fn ranges_of_members_in_both_encodings() {
    let members: [&[u8]; 7] = [b"", b"10", b"9", b"a", b"aa", b"b", b"\xff"];
    let pairs: Vec<_> = members.iter().map(|member| (*member, 0.0)).collect();
    let bytes = packed(&pairs);
    let pool = Arc::<Pool>::default();
    let mut large = ZSet::new(&pool);
    for (member, score) in &pairs {
        large.set(&seed(), member, *score).unwrap();
    }
    let seed = seed();
    let both = [ZSetRef::packed(&bytes), ZSetRef::tree(large.as_ref(&seed))];
    let ends = || members.iter().flat_map(|member| [LexBound::Closed(member), LexBound::Open(member)]);
    let bounds: Vec<_> =
        ends().chain([LexBound::Lowest, LexBound::Highest, LexBound::Closed(b"zz")]).collect();
    for min in &bounds {
        for max in &bounds {
            let range = LexRange { min: *min, max: *max };
            let is_in = |member: &[u8]| !range.is_before(member) && !range.is_behind(member);
            let expected: Vec<_> = members.iter().filter(|member| is_in(member)).collect();
            for zset in both {
                for from_end in [false, true] {
                    let ranks = zset.ranks_of_members(&range, from_end);
                    assert!(members[ranks].iter().eq(expected.iter().copied()), "{range:?}");
                }
            }
        }
    }
}

/// Goal: no more than 0.65 of what 9.1.2 takes for a thousand members, which is 87,320 bytes.
#[test]
fn a_thousand_members_take_little() {
    let pool = Arc::<Pool>::default();
    let mut zset = ZSet::new(&pool);
    for number in 0..1000 {
        let score = f64::from(number * 7919 % 1000);
        zset.set(&seed(), format!("member:{number:09}").as_bytes(), score).unwrap();
    }
    let mut words = 0;
    zset.with_root(&mut |root| words = root.len());
    let bytes = words * 8 + pool.used_bytes();
    assert!(bytes <= 87_320 * 65 / 100, "{bytes}");
}
