//! Tests of what two servers side by side do not show: a model, events, bounds of replies, sizes, memory that is refused, and elements of any length.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use crate::commands::testing::{Ear, ask, engine, execute};
use crate::store::memory::refusal;
use crate::{Engine, Form, Session};

const CASES: u32 = if cfg!(miri) { 2 } else { 200 };

#[derive(Clone, Debug)]
enum Op {
    Push(bool, Vec<(u8, usize)>),
    Pop(bool, usize),
    Set(usize, (u8, usize)),
    Insert(bool, (u8, usize), (u8, usize)),
    Remove(i64, (u8, usize)),
    Trim(usize, usize),
    Turn(bool, bool),
    Copy,
}

/// An element: which, and how long.
fn text((number, len): (u8, usize)) -> Vec<u8> {
    if len == 0 { number.to_string().into_bytes() } else { vec![b'a' + number; len] }
}

fn element() -> impl Strategy<Value = (u8, usize)> {
    let len = prop_oneof![6 => Just(0_usize), 6 => 1..4_usize, 3 => 60..140_usize, 2 => 1000..1500_usize, 1 => 4000..5000_usize, 1 => 8100..9000_usize];
    (0..4_u8, len)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), prop::collection::vec(element(), 1..8)).prop_map(|(left, all)| Op::Push(left, all)),
        3 => (any::<bool>(), 1..6_usize).prop_map(|(left, count)| Op::Pop(left, count)),
        4 => (0..40_usize, element()).prop_map(|(at, element)| Op::Set(at, element)),
        6 => (any::<bool>(), element(), element()).prop_map(|(behind, pivot, new)| Op::Insert(behind, pivot, new)),
        2 => (-3..4_i64, element()).prop_map(|(count, element)| Op::Remove(count, element)),
        1 => (0..6_usize, 0..6_usize).prop_map(|(front, back)| Op::Trim(front, back)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(from, to)| Op::Turn(from, to)),
        1 => Just(Op::Copy),
    ]
}

struct Tried {
    session: Session,
    engine: Engine,
    model: VecDeque<Vec<u8>>,
}

impl Tried {
    fn new(size: &str) -> Self {
        let engine = engine(&format!("list-max-listpack-size {size}"));
        Self { session: engine.session(Form::Resp), engine, model: VecDeque::new() }
    }

    fn run(&mut self, words: &[&[u8]]) -> String {
        execute(&mut self.session, words)
    }

    fn apply(&mut self, op: &Op) {
        let mut model = self.model.clone();
        let reply = match op {
            Op::Push(left, elements) => {
                let elements: Vec<_> = elements.iter().map(|element| text(*element)).collect();
                for element in &elements {
                    if *left { model.push_front(element.clone()) } else { model.push_back(element.clone()) }
                }
                let name: &[u8] = if *left { b"LPUSH" } else { b"RPUSH" };
                let words = [name, b"k"].into_iter().chain(elements.iter().map(Vec::as_slice));
                self.run(&words.collect::<Vec<_>>())
            }
            Op::Pop(left, count) => {
                for _ in 0..*count {
                    if *left {
                        model.pop_front()
                    } else {
                        model.pop_back()
                    };
                }
                let name: &[u8] = if *left { b"LPOP" } else { b"RPOP" };
                self.run(&[name, b"k", count.to_string().as_bytes()])
            }
            Op::Set(at, element) => {
                if let Some(old) = model.get_mut(*at) {
                    *old = text(*element);
                }
                self.run(&[b"LSET", b"k", at.to_string().as_bytes(), &text(*element)])
            }
            Op::Insert(behind, pivot, element) => {
                let (pivot, element) = (text(*pivot), text(*element));
                if let Some(at) = model.iter().position(|other| *other == pivot) {
                    model.insert(at + usize::from(*behind), element.clone());
                }
                let side: &[u8] = if *behind { b"AFTER" } else { b"BEFORE" };
                self.run(&[b"LINSERT", b"k", side, &pivot, &element])
            }
            Op::Remove(count, element) => {
                let (element, mut left) =
                    (text(*element), if *count == 0 { u64::MAX } else { count.unsigned_abs() });
                let mut stays = |other: &Vec<u8>| {
                    let goes = left > 0 && *other == element;
                    left -= u64::from(goes);
                    !goes
                };
                model = if *count < 0 {
                    model.into_iter().rev().filter(&mut stays).collect::<Vec<_>>().into_iter().rev().collect()
                } else {
                    model.into_iter().filter(&mut stays).collect()
                };
                self.run(&[b"LREM", b"k", count.to_string().as_bytes(), &element])
            }
            Op::Trim(front, back) => {
                (0..*front).for_each(|_| drop(model.pop_front()));
                (0..*back).for_each(|_| drop(model.pop_back()));
                let stop = -1 - *back as i64;
                self.run(&[b"LTRIM", b"k", front.to_string().as_bytes(), stop.to_string().as_bytes()])
            }
            Op::Turn(from, to) => {
                let element = if *from { model.pop_front() } else { model.pop_back() };
                if let Some(element) = element {
                    if *to { model.push_front(element) } else { model.push_back(element) }
                }
                let side = |left: bool| if left { &b"LEFT"[..] } else { b"RIGHT" };
                self.run(&[b"LMOVE", b"k", b"k", side(*from), side(*to)])
            }
            Op::Copy => {
                self.run(&[b"COPY", b"k", b"copy", b"REPLACE"]);
                self.run(&[b"LPUSH", b"copy", b"other"]);
                self.run(&[b"LREM", b"copy", b"0", b"a"])
            }
        };
        if !reply.starts_with("-OOM") {
            self.model = model;
        }
    }

    fn check(&mut self) {
        let mut expected = format!("*{}\r\n", self.model.len());
        for element in &self.model {
            expected += &format!("${}\r\n{}\r\n", element.len(), String::from_utf8_lossy(element));
        }
        let found = self.run(&[b"LRANGE", b"k", b"0", b"-1"]);
        assert!(found == expected, "{} elements", self.model.len());
        assert_eq!(self.run(&[b"LLEN", b"k"]), format!(":{}\r\n", self.model.len()));
        for at in [0, self.model.len() / 2, self.model.len().saturating_sub(1)] {
            let element = self.model.get(at).map_or("$-1\r\n".to_owned(), |element| {
                format!("${}\r\n{}\r\n", element.len(), String::from_utf8_lossy(element))
            });
            assert!(self.run(&[b"LINDEX", b"k", at.to_string().as_bytes()]) == element);
        }
    }

    /// Nothing is left of it but what the empty engine has.
    fn end(mut self) {
        self.run(&[b"DEL", b"k", b"copy"]);
        assert!(crate::lazyfree::leads_to(|| self.engine.inner.keyspace.shared.pool.shareable_bytes() == 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_list_is_what_a_deque_is(size in prop_oneof![Just("-2"), Just("-1"), Just("2"), Just("4"), Just("128")], ops in prop::collection::vec(op(), 1..40)) {
        let mut tried = Tried::new(size);
        for op in &ops {
            tried.apply(op);
            tried.check();
        }
        tried.end();
    }

    #[test]
    fn where_memory_is_refused_a_list_is_as_before(size in prop_oneof![Just("-2"), Just("-1"), Just("3")], ops in prop::collection::vec((op(), 0..12_usize), 1..25)) {
        let mut tried = Tried::new(size);
        for (op, allowed) in &ops {
            refusal::after(*allowed);
            tried.apply(op);
            refusal::set(false);
            tried.check();
        }
        tried.end();
    }
}

#[test]
fn events_have_the_names_and_the_order_of_the_server() {
    let engine = engine("");
    let ear = Arc::new(Ear::default());
    engine.observe(ear.clone());
    let mut session = engine.session(Form::Resp);
    // What a real 9.1.2 with `notify-keyspace-events KEA` sent.
    for (command, expected) in [
        ("RPUSH k a", "new k, rpush k"),
        ("LMOVE k k LEFT RIGHT", "rpush k, lpop k"),
        ("LMOVE k d LEFT RIGHT", "new d, rpush d, lpop k, del k"),
        ("LPOP d", "lpop d, del d"),
        ("LPUSH k 1 2 1", "new k, lpush k"),
        ("LREM k 0 1", "lrem k"),
        ("LREM k 0 none", ""),
        ("LTRIM k 0 -1", "ltrim k"),
        ("LTRIM k 5 6", "ltrim k, del k"),
        ("RPUSH k 1 2 3", "new k, rpush k"),
        ("LSET k 0 x", "lset k"),
        ("LINSERT k BEFORE x y", "linsert k"),
        ("LINSERT k BEFORE none y", ""),
        ("RPOP k 10", "rpop k, del k"),
        ("RPUSH k 1", "new k, rpush k"),
        ("LMPOP 1 k LEFT COUNT 5", "lpop k, del k"),
        ("RPUSH k 1 2", "new k, rpush k"),
        ("RPOPLPUSH k k", "lpush k, rpop k"),
        ("BRPOP k 0", "rpop k"),
        ("LPUSHX none x", ""),
    ] {
        ask(&mut session, command);
        let heard = ear.heard();
        assert_eq!(heard, expected, "{command}");
    }
}

#[test]
fn replies_are_bounded_before_anything_is_popped() {
    let engine = engine("max-reply-bytes 1mb");
    let mut session = engine.session(Form::Resp);
    for number in 0..30 {
        let element = vec![b'a' + number; 100_000];
        execute(&mut session, &[b"RPUSH", b"k", &element]);
    }
    let full = "-ERR the reply is larger than max-reply-bytes\r\n";
    for words in
        ["LRANGE k 0 -1", "LPOP k 20", "RPOP k 20", "LMPOP 1 k LEFT COUNT 30", "BLMPOP 0 1 k RIGHT COUNT 30"]
    {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        assert_eq!(execute(&mut session, &words), full);
    }
    assert_eq!(ask(&mut session, "LLEN k"), ":30");
    assert!(execute(&mut session, &[b"LPOP", b"k", b"5"]).len() > 500_000);
}

#[test]
fn elements_may_be_of_any_length() {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let long = vec![b'l'; if cfg!(miri) { 100_000 } else { 100 << 20 }];
    for (command, len) in [("RPUSH", ":1"), ("LPUSH", ":2")] {
        assert_eq!(execute(&mut session, &[command.as_bytes(), b"k", &long]), format!("{len}\r\n"));
    }
    assert_eq!(ask(&mut session, "RPUSH k short"), ":3");
    assert_eq!(ask(&mut session, "OBJECT ENCODING k"), "$9 quicklist");
    // Copies share them.
    let before = engine.inner.keyspace.shared.pool.shareable_bytes();
    assert_eq!(ask(&mut session, "COPY k copy"), ":1");
    assert_eq!(ask(&mut session, "LPUSH copy x"), ":4");
    assert!(engine.inner.keyspace.shared.pool.shareable_bytes() < before + (1 << 20));
    assert_eq!(ask(&mut session, "LSET k 0 y"), "+OK");
    assert_eq!(ask(&mut session, "LTRIM k 2 -1"), "+OK");
    assert_eq!(ask(&mut session, "OBJECT ENCODING k"), "$8 listpack");
    assert!(execute(&mut session, &[b"LINDEX", b"copy", b"2"]).len() > long.len());
    ask(&mut session, "DEL k copy");
    assert!(crate::lazyfree::leads_to(|| engine.inner.keyspace.shared.pool.shareable_bytes() == 0));
}

#[test]
fn many_elements_are_found_by_their_index() {
    const ELEMENTS: usize = if cfg!(miri) { 2_000 } else { 300_000 };
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let texts: Vec<Vec<u8>> =
        (0..ELEMENTS).map(|number| format!("element:{number:08}").into_bytes()).collect();
    for some in texts.chunks(1000) {
        let words = [&b"RPUSH"[..], b"k"].into_iter().chain(some.iter().map(Vec::as_slice));
        execute(&mut session, &words.collect::<Vec<_>>());
    }
    for at in (0..ELEMENTS).step_by(ELEMENTS / 100 + 1) {
        assert_eq!(ask(&mut session, &format!("LINDEX k {at}")), format!("$16 element:{at:08}"));
    }
    // 16 bytes take 17 and a share of their node.
    let bytes = engine.inner.keyspace.shared.pool.shareable_bytes();
    assert!(bytes < ELEMENTS * 19 + 100_000, "{bytes}");
    ask(&mut session, &format!("LSET k {} middle", ELEMENTS / 2));
    ask(&mut session, "LINSERT k BEFORE middle inserted");
    assert_eq!(ask(&mut session, &format!("LRANGE k {0} {0}", ELEMENTS / 2)), "*1 $8 inserted");
    ask(&mut session, &format!("LTRIM k {0} -{0}", ELEMENTS / 2));
    assert_eq!(ask(&mut session, "LRANGE k 0 -1"), "*2 $8 inserted $6 middle");
}

#[test]
fn small_lists_take_what_was_promised() {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let element = |number: usize| format!("element:{number:08}").into_bytes();
    let fill = |session: &mut Session, key: &str, count: usize| {
        (0..count).for_each(|number| drop(execute(session, &[b"RPUSH", key.as_bytes(), &element(number)])));
        let reply = ask(session, &format!("MEMORY USAGE {key}"));
        reply.trim_start_matches(':').parse::<usize>().unwrap()
    };
    // GOALS: 254 bytes for ten strings. A key alone has a bucket of 64 bytes, which twelve others would share.
    let ten = fill(&mut session, "sixteen-byte-key", 10);
    assert!(ten - 64 + 64 / 10 <= 254, "{ten}");
    // Valkey takes 18,287: nodes of 8 kB stand in two pages each, and what is left in a third.
    fill(&mut session, "another-16-bytes", 1000);
    let thousand = engine.inner.keyspace.shared.pool.shareable_bytes();
    assert!(thousand <= 5 * 4096, "{thousand}");
}
