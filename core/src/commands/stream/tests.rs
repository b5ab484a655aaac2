//! Tests of what two servers side by side do not show: a model, events, bounds of replies, sizes, memory that is refused, what is logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::commands::testing::{Ear, ask, engine, execute};
use crate::keyspace::Key;
use crate::store::memory::refusal;
use crate::value::Kind;
use crate::{Engine, Form, Session};

const CASES: u32 = if cfg!(miri) { 2 } else { 150 };

#[derive(Clone, Debug)]
enum Op {
    Add(usize),
    AddTo(usize, usize),
    Delete(usize),
    Trim(usize),
    Read(u8, usize),
    Acknowledge(usize),
    Claim(u8, usize),
    AutoClaim(u8),
    Leave(u8),
    Disband,
    Copy,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![6 => 1..20_usize, 3 => 100..900_usize, 1 => 4000..9000_usize];
    let who = || 0..3_u8;
    prop_oneof![
        12 => len().prop_map(Op::Add),
        2 => (len(), 0..20_usize).prop_map(|(len, most)| Op::AddTo(len, most)),
        4 => (0..60_usize).prop_map(Op::Delete),
        1 => (0..20_usize).prop_map(Op::Trim),
        5 => (who(), 1..8_usize).prop_map(|(who, most)| Op::Read(who, most)),
        3 => (0..60_usize).prop_map(Op::Acknowledge),
        2 => (who(), 0..60_usize).prop_map(|(who, at)| Op::Claim(who, at)),
        1 => who().prop_map(Op::AutoClaim),
        1 => who().prop_map(Op::Leave),
        2 => Just(Op::Disband),
        1 => Just(Op::Copy),
    ]
}

#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<u64, usize>,
    has_group: bool,
    pending: BTreeMap<u64, (u8, u64)>,
    given: u64,
}

struct Tried {
    session: Session,
    engine: Engine,
    model: Model,
    next: u64,
}

fn pick<V>(map: &BTreeMap<u64, V>, at: usize) -> Option<u64> {
    map.keys().nth(at % map.len().max(1)).copied()
}

impl Tried {
    fn new(config: &str) -> Self {
        let engine = engine(config);
        Self { session: engine.session(Form::Resp), engine, model: Model::default(), next: 0 }
    }

    fn line(&mut self, words: &str) -> String {
        ask(&mut self.session, words)
    }

    fn apply(&mut self, op: &Op) {
        let needs_group =
            matches!(op, Op::Read(..) | Op::Acknowledge(_) | Op::Claim(..) | Op::AutoClaim(_) | Op::Leave(_));
        if needs_group && !self.model.has_group {
            if self.line("XGROUP CREATE k g 0 MKSTREAM").starts_with("-OOM") {
                return;
            }
            self.model = Model { has_group: true, given: 0, ..self.model.clone() };
        }
        let mut model = self.model.clone();
        let reply = match *op {
            Op::Add(len) | Op::AddTo(len, _) => {
                self.next += 1;
                model.entries.insert(self.next, len);
                let trim = match op {
                    Op::AddTo(_, most) => {
                        keep_last(&mut model.entries, *most);
                        format!("MAXLEN {most} ")
                    }
                    _ => String::new(),
                };
                self.line(&format!("XADD k {trim}{}-1 field {}", self.next, "v".repeat(len)))
            }
            Op::Delete(at) => {
                let Some(id) = pick(&model.entries, at) else { return };
                model.entries.remove(&id);
                self.line(&format!("XDEL k {id}-1 {}-1", self.next + 9))
            }
            Op::Trim(most) => {
                keep_last(&mut model.entries, most);
                self.line(&format!("XTRIM k MAXLEN {most}"))
            }
            Op::Read(who, most) => {
                let given: Vec<u64> =
                    model.entries.range(model.given + 1..).map(|(id, _)| *id).take(most).collect();
                model.given = given.last().copied().unwrap_or(model.given);
                model.pending.extend(given.into_iter().map(|id| (id, (who, 1))));
                self.line(&format!("XREADGROUP GROUP g {who} COUNT {most} STREAMS k >"))
            }
            Op::Acknowledge(at) => {
                let Some(id) = pick(&model.pending, at) else { return };
                model.pending.remove(&id);
                self.line(&format!("XACK k g {id}-1"))
            }
            Op::Claim(who, at) => {
                let Some(id) = pick(&model.pending, at) else { return };
                claim(&mut model, who, id);
                self.line(&format!("XCLAIM k g {who} 0 {id}-1"))
            }
            Op::AutoClaim(who) => {
                let ids: Vec<u64> = model.pending.keys().copied().collect();
                ids.into_iter().for_each(|id| claim(&mut model, who, id));
                self.line(&format!("XAUTOCLAIM k g {who} 0 0 COUNT 10000"))
            }
            Op::Leave(who) => {
                model.pending.retain(|_, (owner, _)| *owner != who);
                self.line(&format!("XGROUP DELCONSUMER k g {who}"))
            }
            Op::Disband if !model.has_group => return,
            Op::Disband => {
                model.has_group = false;
                model.pending.clear();
                self.line("XGROUP DESTROY k g")
            }
            Op::Copy => {
                self.line("COPY k copy REPLACE");
                // The copy goes its own way.
                self.line("XREADGROUP GROUP g 1 COUNT 3 STREAMS copy >");
                self.line("XAUTOCLAIM copy g 2 0 0");
                self.line(&format!("XDEL copy {}-1", self.next))
            }
        };
        if !reply.starts_with("-OOM") {
            assert!(!reply.starts_with('-'), "{op:?}: {reply}");
            self.model = model;
        }
    }

    fn check(&mut self) {
        let Model { entries, pending, has_group, .. } = self.model.clone();
        let mut expected = format!("*{}", entries.len());
        for (id, len) in &entries {
            let id = format!("{id}-1");
            expected += &format!(" *2 ${} {id} *2 $5 field ${len} {}", id.len(), "v".repeat(*len));
        }
        assert!(self.line("XRANGE k - +") == expected, "{} entries", entries.len());
        let backwards = self.line("XREVRANGE k + -");
        assert_eq!(backwards.len(), expected.len());
        assert_eq!(self.line("XLEN k"), format!(":{}", entries.len()));
        if !has_group {
            return;
        }
        let mut expected = format!("*{}", pending.len());
        for (id, (who, count)) in &pending {
            let id = format!("{id}-1");
            expected += &format!(" *4 ${} {id} $1 {who} :0 :{count}", id.len());
        }
        assert_eq!(self.line("XPENDING k g - + 10000"), expected);
        for who in 0..3 {
            let own = pending.values().filter(|(owner, _)| *owner == who).count();
            assert!(self.line(&format!("XPENDING k g - + 10000 {who}")).starts_with(&format!("*{own}")));
        }
    }

    /// Nothing is left of it but what the empty engine has.
    fn end(mut self) {
        self.line("DEL k copy");
        assert!(crate::lazyfree::leads_to(|| self.engine.inner.keyspace.shared.pool.shareable_bytes() == 0));
    }
}

fn keep_last(entries: &mut BTreeMap<u64, usize>, most: usize) {
    while entries.len() > most {
        entries.pop_first();
    }
}

fn claim(model: &mut Model, who: u8, id: u64) {
    if model.entries.contains_key(&id) {
        let count = model.pending[&id].1 + 1;
        model.pending.insert(id, (who, count));
    } else {
        model.pending.remove(&id);
    }
}

fn config() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("stream-node-max-entries 3"),
        Just("stream-node-max-bytes 300"),
        Just("stream-node-max-bytes 0\nstream-node-max-entries 0"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_stream_is_what_ordered_maps_are(config in config(), ops in prop::collection::vec(op(), 1..80)) {
        let mut tried = Tried::new(config);
        for op in &ops {
            tried.apply(op);
            tried.check();
        }
        tried.end();
    }

    #[test]
    fn where_memory_is_refused_a_stream_is_as_before(config in config(), ops in prop::collection::vec((op(), 0..12_usize), 1..50)) {
        let mut tried = Tried::new(config);
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
        ("XADD k 1-1 a b", "new k, xadd k"),
        ("XADD k MAXLEN 1 1-2 a b", "xadd k, xtrim k"),
        ("XADD k MAXLEN 5 1-3 a b", "xadd k"),
        ("XADD none NOMKSTREAM 1-3 a b", ""),
        ("XTRIM k MAXLEN 1", "xtrim k"),
        ("XTRIM k MAXLEN 1", ""),
        ("XSETID k 2-1", "xsetid k"),
        ("XGROUP CREATE k g 0", "xgroup-create k"),
        ("XGROUP CREATE m g 0 MKSTREAM", "new m, xgroup-create m"),
        ("XGROUP SETID k g 0", "xgroup-setid k"),
        ("XGROUP CREATECONSUMER k g c", "xgroup-createconsumer k"),
        ("XGROUP CREATECONSUMER k g c", ""),
        ("XREADGROUP GROUP g c STREAMS k m > >", "xgroup-createconsumer m"),
        ("XREADGROUP GROUP g c STREAMS k 0", ""),
        ("XCLAIM k g d 0 1-3", "xgroup-createconsumer k"),
        ("XAUTOCLAIM k g e 0 0", "xgroup-createconsumer k"),
        ("XACK k g 1-3", ""),
        ("XDEL k 1-3", "xdel k"),
        ("XDEL k 1-3", ""),
        ("XGROUP DELCONSUMER k g c", "xgroup-delconsumer k"),
        ("XGROUP DESTROY k g", "xgroup-destroy k"),
        ("DEL k", "del k"),
    ] {
        ask(&mut session, command);
        let heard = ear.heard();
        assert_eq!(heard, expected, "{command}");
    }
}

#[test]
fn replies_are_bounded_before_anything_is_delivered() {
    let engine = engine("max-reply-bytes 1mb");
    let mut session = engine.session(Form::Resp);
    ask(&mut session, "XGROUP CREATE k g 0 MKSTREAM");
    for number in 1..=30 {
        let value = vec![b'v'; 100_000];
        execute(&mut session, &[b"XADD", b"k", format!("{number}-1").as_bytes(), b"f", &value]);
    }
    let full = "-ERR the reply is larger than max-reply-bytes";
    for words in ["XRANGE k - +", "XREVRANGE k + -", "XREAD STREAMS k 0", "XREADGROUP GROUP g c STREAMS k >"]
    {
        assert_eq!(ask(&mut session, words), full, "{words}");
    }
    assert_eq!(ask(&mut session, "XPENDING k g"), "*4 :0 $-1 $-1 *-1");
    assert!(ask(&mut session, "XREADGROUP GROUP g c COUNT 5 STREAMS k >").len() > 500_000);
    assert!(ask(&mut session, "XREADGROUP GROUP g c STREAMS k 0").len() > 500_000);
    ask(&mut session, "XREADGROUP GROUP g c COUNT 8 STREAMS k >");
    for words in [
        "XREADGROUP GROUP g c STREAMS k 0",
        "XCLAIM k g d 0 1-1 2-1 3-1 4-1 5-1 6-1 7-1 8-1 9-1 10-1 11-1 12-1",
        "XAUTOCLAIM k g d 0 0",
    ] {
        assert_eq!(ask(&mut session, words), full, "{words}");
    }
    assert!(ask(&mut session, "XPENDING k g").ends_with("*1 *2 $1 c $2 13"));
}

#[test]
fn streams_take_what_was_promised() {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let mut fill = |key: &str, count: usize, entry: &dyn Fn(usize) -> String| {
        for number in 0..count {
            let id = 1_700_000_000_000 + 3 * number;
            ask(&mut session, &format!("XADD {key} {id}-0 {}", entry(number)));
        }
        let reply = ask(&mut session, &format!("MEMORY USAGE {key}"));
        reply.trim_start_matches(':').parse::<usize>().unwrap()
    };
    let short = |number| format!("f1 v{number} f2 w{number}");
    let sixteen = |number| format!("field:1 value:{number:010} field:2 other:{number:010}");
    // What a real 9.1.2 says of the same: 4,344, 4,328, 23,259 and 45,976 bytes.
    for (key, count, entry, most) in [
        ("one", 1, &short as &dyn Fn(usize) -> String, 400),
        ("ten", 10, &sixteen, 1000),
        ("short", 1000, &short, 23_259),
        ("sixteen", 1000, &sixteen, 45_976),
    ] {
        let bytes = fill(key, count, entry);
        assert!(bytes <= most, "{key}: {bytes}");
    }
}

/// Whether the stream at `k` is packed.
fn is_packed(engine: &Engine) -> bool {
    let keyspace = &engine.inner.keyspace;
    let key = Key::new(b"k", &keyspace.seed);
    let shard = keyspace.lock(key.shard());
    let at = shard.find(0, &key).expect("it is there");
    shard.head(at).kind() == Kind::StreamPacked
}

#[test]
fn a_short_stream_without_groups_is_packed() {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let mut after = |line: &str, packed: bool| {
        let reply = ask(&mut session, line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        assert_eq!(is_packed(&engine), packed, "{line}");
        reply
    };
    // By both ways.
    after("XADD k 1-1 field one", true);
    after("XADD k * field two", true);
    after("XADD k MAXLEN 5 * other three", true);
    assert_eq!(after("XDEL k 1-1", true), ":1");
    assert_eq!(after("XTRIM k MAXLEN 1", true), ":1");
    after("XSETID k 99999999-7 ENTRIESADDED 40 MAXDELETEDID 3-3", true);
    let told = after("XINFO STREAM k", true);
    for part in [
        "length :1",
        "last-generated-id $10 99999999-7",
        "max-deleted-entry-id $3 3-3",
        "entries-added :40",
        "groups :0",
        "radix-tree-keys :1",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    after("XGROUP CREATE k g 0", false);
    after("XADD k 99999999-8 field four", false);
    after("XGROUP DESTROY k g", true);
    for number in 0..96 {
        after(&format!("XADD k 99999999-{} field value", 100 + number), true);
    }
    // A node has a hundred entries, those that were deleted included.
    after("XADD k 99999999-300 field value", false);
    after("XTRIM k MAXLEN 1", true);
    after("XADD k 99999999-301 field value", true);
    assert_eq!(after("XRANGE k 99999999-301 +", true), "*1 *2 $12 99999999-301 *2 $5 field $5 value");
    // Without entries it isn't.
    assert_eq!(after("XTRIM k MAXLEN 0", false), ":2");
    assert_eq!(after("XLEN k", false), ":0");
}

#[test]
fn a_copy_of_a_large_stream_shares_its_pages() {
    const ENTRIES: usize = if cfg!(miri) { 300 } else { 50_000 };
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    ask(&mut session, "XGROUP CREATE k g 0 MKSTREAM");
    for number in 1..=ENTRIES {
        ask(&mut session, &format!("XADD k {number}-0 field value:{number}"));
    }
    ask(&mut session, &format!("XREADGROUP GROUP g c COUNT {} STREAMS k >", ENTRIES / 2));
    let before = engine.inner.keyspace.shared.pool.shareable_bytes();
    assert_eq!(ask(&mut session, "COPY k copy"), ":1");
    ask(&mut session, &format!("XADD copy {}-0 field last", ENTRIES + 1));
    ask(&mut session, "XACK copy g 10-0");
    ask(&mut session, "XDEL copy 20-0");
    assert!(engine.inner.keyspace.shared.pool.shareable_bytes() < before + (1 << 17));
    assert_eq!(ask(&mut session, "XLEN k"), format!(":{ENTRIES}"));
    assert_eq!(ask(&mut session, "XLEN copy"), format!(":{ENTRIES}"));
    assert_eq!(ask(&mut session, "XRANGE k 20 20"), "*1 *2 $4 20-0 *2 $5 field $8 value:20");
    let pending = |count: usize| format!("*4 :{count} ");
    assert!(ask(&mut session, "XPENDING k g").starts_with(&pending(ENTRIES / 2)));
    assert!(ask(&mut session, "XPENDING copy g").starts_with(&pending(ENTRIES / 2 - 1)));
    assert_eq!(ask(&mut session, "XGROUP DESTROY k g"), ":1");
    assert_eq!(ask(&mut session, "XTRIM k MAXLEN 3"), format!(":{}", ENTRIES - 3));
    ask(&mut session, "DEL k copy");
    assert!(crate::lazyfree::leads_to(|| engine.inner.keyspace.shared.pool.shareable_bytes() == 0));
}
