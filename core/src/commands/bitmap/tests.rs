//! Tests of bitmaps: bits against a model of single bits, integers against arithmetic of 128 bits, and large strings.

use proptest::prelude::*;

use super::bits::{find, ones, ones_in};
use super::integer::{Overflow, Width};
use super::op::{Operation, combine};
use crate::commands::testing::ask;
use crate::store::memory::refusal;
use crate::value::Text;
use crate::{Clock, Engine, Form, Session};

fn bit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

/// Bytes of which many are 0 or 255.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::collection::vec(any::<u8>(), 0..1500);
    let even = (any::<bool>(), 0..3000_usize, any::<[u8; 2]>(), any::<prop::sample::Index>());
    let even = even.prop_map(|(is_set, len, odd, at)| {
        let mut bytes = vec![if is_set { 0xff } else { 0 }; len + 2];
        let at = at.index(len + 1);
        bytes[at..at + 2].copy_from_slice(&odd);
        bytes
    });
    prop_oneof![plain, even]
}

/// What all keys hold that a test uses.
fn values(session: &mut Session) -> Vec<u8> {
    session.execute(&[b"MGET", b"long", b"shared", b"short", b"number", b"dest", b"new"]).to_vec()
}

proptest! {
    #[test]
    fn bits_are_counted_and_found_as_one_by_one(bytes in bytes(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let len = bytes.len() * 8;
        let (from, to) = (from.index(len + 1), to.index(len + 1));
        let range = from.min(to)..from.max(to);
        prop_assert_eq!(ones(&bytes), (0..len).filter(|at| bit(&bytes, *at)).count() as u64);
        prop_assert_eq!(ones_in(&bytes, range.clone()), range.clone().filter(|at| bit(&bytes, *at)).count() as u64);
        for value in [false, true] {
            prop_assert_eq!(find(&bytes, range.clone(), value), range.clone().find(|at| bit(&bytes, *at) == value));
        }
    }

    #[test]
    fn combined_bytes_are_those_of_each_offset(texts in proptest::collection::vec(bytes(), 1..4), start in 0..500_usize, len in 0..600_usize) {
        let views: Vec<Text<'_>> = texts.iter().map(|text| Text::Bytes(text)).collect();
        let at = |text: &Vec<u8>, at: usize| text.get(at).copied().unwrap_or(0);
        for operation in [Operation::And, Operation::Or, Operation::Xor] {
            let mut result = vec![0xaa; len];
            combine(operation, &views, start, &mut result);
            for (offset, byte) in result.iter().enumerate() {
                let others = texts.iter().map(|text| at(text, start + offset));
                let expected = match operation {
                    Operation::And => others.reduce(|one, other| one & other),
                    Operation::Or => others.reduce(|one, other| one | other),
                    _ => others.reduce(|one, other| one ^ other),
                };
                prop_assert_eq!(Some(*byte), expected);
            }
        }
        let mut result = vec![0xaa; len];
        combine(Operation::Not, &views[..1], start, &mut result);
        prop_assert!(result.iter().enumerate().all(|(offset, byte)| *byte == !at(&texts[0], start + offset)));
    }

    #[test]
    fn integers_are_put_where_they_are_got(mut bytes in proptest::collection::vec(any::<u8>(), 20), offset in 0..90_usize, bits in 1..=64_u32, is_signed: bool, value: i64) {
        prop_assume!(is_signed || bits < 64);
        let width = Width { is_signed, bits };
        let before = bytes.clone();
        let value = width.fit(value.into(), Overflow::Wrap).unwrap();
        let (put, len) = width.put(&bytes, offset, value);
        bytes[offset / 8..offset / 8 + len].copy_from_slice(&put[..len]);
        prop_assert_eq!(width.get(&bytes, offset), value);
        prop_assert_eq!(offset / 8 + len, width.end(offset));
        let own = offset..offset + bits as usize;
        prop_assert!((0..160).all(|at| own.contains(&at) || bit(&bytes, at) == bit(&before, at)));
        // The highest bit comes first.
        let number = own.clone().fold(0_u64, |number, at| number << 1 | u64::from(bit(&bytes, at)));
        prop_assert_eq!(number, (value as u64) << (64 - bits) >> (64 - bits));
    }

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails(bits in 1..=64_u32, is_signed: bool, old: i64, increment: i64) {
        prop_assume!(is_signed || bits < 64);
        let width = Width { is_signed, bits };
        let old = width.fit(old.into(), Overflow::Wrap).unwrap();
        let sum = i128::from(old) + i128::from(increment);
        let wrapped = width.fit(sum, Overflow::Wrap).unwrap();
        prop_assert_eq!((i128::from(wrapped) - sum) & ((1_i128 << bits) - 1), 0);
        let saturated = width.fit(sum, Overflow::Saturate).unwrap();
        match width.fit(sum, Overflow::Fail) {
            Some(sum) => prop_assert!(sum == wrapped && sum == saturated),
            None => prop_assert_eq!(saturated < old, increment < 0 && saturated != old),
        }
    }
}

#[test]
fn a_large_bitmap_is_changed_in_its_place() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(ask(&mut session, "SETBIT k 80000000 1"), ":0");
    let used = engine.inner.keyspace.shared.pool.used_bytes();
    // Nothing of it needs memory.
    refusal::set(true);
    assert_eq!(ask(&mut session, "SETBIT k 8000 1"), ":0");
    assert_eq!(ask(&mut session, "SETBIT k 80000000 0"), ":1");
    assert_eq!(ask(&mut session, "BITFIELD k SET u63 40000000 5 INCRBY i16 64000000 -1"), "*2 :0 :-1");
    assert_eq!(ask(&mut session, "BITCOUNT k"), ":19");
    assert_eq!(ask(&mut session, "BITPOS k 1 1001"), ":40000060");
    refusal::set(false);
    assert_eq!(engine.inner.keyspace.shared.pool.used_bytes(), used);
}

#[test]
fn without_memory_nothing_is_written() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut session = engine.session(Form::Resp);
    for line in
        ["SETBIT long 800000 1", "COPY long shared", "SET short abc", "SET number 12", "SETBIT dest 7 1"]
    {
        ask(&mut session, line);
    }
    let before = values(&mut session);
    for line in [
        "SETBIT shared 5 1",
        "SETBIT new 800000 1",
        "SETBIT short 800000 1",
        "BITFIELD shared GET u8 0 INCRBY u8 0 0 SET u8 0 1 SET u8 8 1",
        "BITFIELD new SET u8 0 1 SET u8 800000 1",
        "BITFIELD short OVERFLOW FAIL INCRBY u2 0 9 SET u8 800000 1",
        "BITOP OR dest long short",
        "BITOP NOT long long",
    ] {
        refusal::set(true);
        let reply = ask(&mut session, line);
        refusal::set(false);
        assert!(reply.starts_with("-OOM"), "{line}: {reply}");
        assert!(values(&mut session) == before, "{line}");
    }
}
