//! Tests of edits in place: against a model, with sizes around every border between classes, and without memory.

use crate::typed::Typed as _;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Block, Edited, Packed, Splice};
use crate::store::key::Key;
use crate::store::memory::{Arena, refusal};
use crate::value::Kind;
use crate::value::hash::Hash;
use crate::value::listpack::Listpack;
use crate::{Clock, Config, Database, Engine, Form, Session};

const CASES: u32 = if cfg!(miri) { 2 } else { 100 };
/// Fields of up to so many bytes stay packed here.
const LONGEST: usize = 300;
const NAME: &[u8] = b"h";

#[derive(Clone, Debug)]
enum Op {
    /// Fields, by number, and the lengths of their values.
    Set(Vec<(u8, usize)>),
    Delete(Vec<u8>),
    Add(u8, i64),
    Expire(u8, u64),
    Persist(u8),
    /// Milliseconds that pass.
    Wait(u64),
    /// The key gets a deadline, or loses it: its entry moves.
    Deadline(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![8 => 0..20_usize, 4 => 0..200_usize, 1 => 290..310_usize];
    let field = 0..12_u8;
    prop_oneof![
        8 => prop::collection::vec((field.clone(), length), 1..4).prop_map(Op::Set),
        4 => prop::collection::vec(field.clone(), 1..3).prop_map(Op::Delete),
        3 => (field.clone(), -300_i64..100_000).prop_map(|(field, by)| Op::Add(field, by)),
        1 => (field.clone(), 1..100_u64).prop_map(|(field, ttl)| Op::Expire(field, ttl)),
        1 => field.prop_map(Op::Persist),
        1 => (1..60_u64).prop_map(Op::Wait),
        1 => any::<bool>().prop_map(Op::Deadline),
    ]
}

/// Value and deadline of each field.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

struct Tried {
    db: Database,
    session: Session,
    clock: Clock,
    now: u64,
    model: Model,
}

fn field(number: u8) -> Vec<u8> {
    // Some are integers, and some long.
    match number {
        0..4 => number.to_string().into_bytes(),
        4..8 => vec![b'a' + number; 1 + usize::from(number)],
        _ => vec![b'a' + number; 100 + usize::from(number)],
    }
}

/// Keys in the shard of the one that is edited: what is spliced too far would be seen in them.
fn others(db: &Database) -> Vec<Vec<u8>> {
    neighbours(db, "other").take(15).collect()
}

fn neighbours<'d>(db: &'d Database, kind: &'d str) -> impl Iterator<Item = Vec<u8>> + use<'d> {
    let shard = db.key(NAME).shard();
    let names = (0..).map(move |number| format!("{kind}:{number}").into_bytes());
    names.filter(move |name| db.key(name).shard() == shard)
}

impl Tried {
    fn new() -> Self {
        let clock = Clock::manual(1_000_000);
        let config = format!("hash-max-listpack-value {LONGEST}\nhash-max-listpack-entries 8");
        let config = Config::from_text(config.as_bytes()).unwrap();
        let engine = Engine::builder().clock(clock.clone()).config(config).open().unwrap();
        let db = engine.database(0).unwrap();
        for name in others(&db) {
            db.hset(name, b"f", b"value").unwrap();
        }
        Self { session: engine.session(Form::Resp), db, clock, now: 1_000_000, model: Model::new() }
    }

    fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        self.session.execute(words).to_vec()
    }

    /// Does it here and in the model, if it is not refused.
    fn apply(&mut self, op: &Op) {
        let texts = |fields: &[(u8, usize)]| -> Vec<(Vec<u8>, Vec<u8>)> {
            fields.iter().map(|(name, len)| (field(*name), vec![b'v' + name % 3; *len])).collect()
        };
        let mut changed = self.model.clone();
        let reply = match op {
            Op::Set(fields) => {
                let fields = texts(fields);
                let words = fields.iter().flat_map(|(field, value)| [&field[..], value]);
                let words: Vec<&[u8]> = [&b"HSET"[..], NAME].into_iter().chain(words).collect();
                for (field, value) in &fields {
                    changed.insert(field.clone(), (value.clone(), None));
                }
                self.run(&words)
            }
            Op::Delete(fields) => {
                let fields: Vec<_> = fields.iter().map(|number| field(*number)).collect();
                let words = [&b"HDEL"[..], NAME].into_iter().chain(fields.iter().map(Vec::as_slice));
                let reply = self.run(&words.collect::<Vec<_>>());
                fields.iter().for_each(|field| drop(changed.remove(field)));
                reply
            }
            Op::Add(number, by) => {
                let field = field(*number);
                let (old, deadline) = changed.get(&field).cloned().unwrap_or((b"0".to_vec(), None));
                if let Ok(Ok(old)) = String::from_utf8(old).map(|old| old.parse::<i64>()) {
                    changed.insert(field.clone(), ((old + by).to_string().into_bytes(), deadline));
                }
                self.run(&[b"HINCRBY", NAME, &field, by.to_string().as_bytes()])
            }
            Op::Expire(number, ttl) => {
                let (field, deadline) = (field(*number), Some(self.now + ttl));
                changed.entry(field.clone()).and_modify(|(_, old)| *old = deadline);
                self.run(&[b"HPEXPIRE", NAME, ttl.to_string().as_bytes(), b"FIELDS", b"1", &field])
            }
            Op::Persist(number) => {
                let field = field(*number);
                changed.entry(field.clone()).and_modify(|(_, old)| *old = None);
                self.run(&[b"HPERSIST", NAME, b"FIELDS", b"1", &field])
            }
            Op::Wait(ms) => {
                self.now += ms;
                self.clock.advance(std::time::Duration::from_millis(*ms));
                changed.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > self.now));
                Vec::new()
            }
            Op::Deadline(true) => self.run(&[b"EXPIRE", NAME, b"100000"]),
            Op::Deadline(false) => self.run(&[b"PERSIST", NAME]),
        };
        if reply.starts_with(b"-OOM") {
            return;
        }
        self.model = changed;
    }

    /// That what is stored is the model.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let mut stored = Model::new();
        let mut deadlines = Vec::new();
        let names: Vec<_> = self.model.keys().cloned().collect();
        for name in &names {
            let value = self.db.hget_with(NAME, name, |value| value.map(<[u8]>::to_vec)).unwrap();
            if let Some(value) = value {
                stored.insert(name.clone(), (value, self.model[name].1));
            }
            let reply = self.run(&[b"HPEXPIRETIME", NAME, b"FIELDS", b"1", name]);
            deadlines.push((name.clone(), String::from_utf8(reply).unwrap()));
        }
        prop_assert_eq!(&stored, &self.model);
        for (name, reply) in deadlines {
            let deadline = self.model[&name].1.map_or(-1, |deadline| deadline as i64);
            prop_assert_eq!(reply, format!("*1\r\n:{deadline}\r\n"));
        }
        let count = self.run(&[b"HLEN", NAME]);
        prop_assert_eq!(count, format!(":{}\r\n", self.model.len()).into_bytes());
        let keyspace = &self.db.engine().inner.keyspace;
        let key = Key::new(NAME, &keyspace.seed);
        let shard = keyspace.lock(key.shard());
        let Some(at) = shard.find(0, &key) else {
            prop_assert!(self.model.is_empty());
            return Ok(());
        };
        if shard.head(at).kind() == Kind::HashPacked {
            let head = shard.head(at);
            let pack = Listpack::validate(head.value(&shard.arena, at));
            prop_assert_eq!(pack.map(Listpack::len), Some(2 * self.model.len()));
        }
        let mut used = 0;
        shard.each(0, |at| used += Arena::class_bytes(shard.head(at).size()));
        let overflows = shard.space(0).unwrap().table.overflow_count() as usize;
        prop_assert_eq!(shard.arena.used(), used + overflows * crate::store::table::BUCKET);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn edits_leave_what_a_map_would_hold(ops in prop::collection::vec((op(), 0..8_u8), 1..60)) {
        let mut tried = Tried::new();
        for (op, chance) in &ops {
            let is_large = tried.model.len() > 8 || tried.model.values().any(|(_, deadline)| deadline.is_some());
            refusal::set(*chance == 0 && !is_large);
            tried.apply(op);
            refusal::set(false);
            tried.check()?;
        }
        for name in others(&tried.db) {
            let value = tried.db.hget_with(&name, b"f", |value| value.map(<[u8]>::to_vec));
            prop_assert_eq!(value.unwrap(), Some(b"value".to_vec()));
        }
    }
}

/// Every length of one value, up and down, beside another: each border between classes is crossed both ways.
#[test]
fn every_length_is_spliced_in_and_out() {
    let mut tried = Tried::new();
    tried.apply(&Op::Set(vec![(4, 3), (8, 17)]));
    let lengths = || (0..LONGEST).chain((0..LONGEST).rev());
    for (one, other) in lengths().zip(lengths().skip(40)) {
        tried.apply(&Op::Set(vec![(8, one)]));
        tried.check().unwrap();
        tried.apply(&Op::Set(vec![(4, other), (8, one / 2)]));
        tried.check().unwrap();
    }
}

#[test]
fn what_finds_no_memory_is_taken_back() {
    let mut tried = Tried::new();
    tried.apply(&Op::Set(vec![(1, 3), (4, 9), (5, 9)]));
    refusal::set(true);
    // No block of a hundred bytes is left.
    for len in [2_000, 300, 100] {
        let db = tried.db.clone();
        let mut names =
            neighbours(&db, ["long", "short", "shorter"][usize::from(len < 2_000) + usize::from(len < 300)]);
        while !tried.run(&[b"SET", &names.next().unwrap(), &vec![b'z'; len]]).starts_with(b"-OOM") {}
    }
    let before = tried.run(&[b"HGETALL", NAME]);
    // The first two find room in the block, the last does not; nor does what is moved to a table.
    for last in [(6, 200), (7, LONGEST + 1)] {
        let fields =
            [(field(4), vec![b'x'; 9]), (field(1), b"77".to_vec()), (field(last.0), vec![b'y'; last.1])];
        let words = fields.iter().flat_map(|(field, value)| [&field[..], value]);
        let words: Vec<&[u8]> = [&b"HSET"[..], NAME].into_iter().chain(words).collect();
        assert!(tried.run(&words).starts_with(b"-OOM"));
    }
    let reply = tried.run(&[b"HPEXPIRE", NAME, b"1000", b"FIELDS", b"1", &field(4)]);
    refusal::set(false);
    assert!(reply.starts_with(b"-OOM"), "{}", reply.escape_ascii());
    assert!(before.starts_with(b"*6"));
    assert_eq!(tried.run(&[b"HGETALL", NAME]), before);
    tried.check().unwrap();
}

/// Values of many lengths are spliced in place and stored anew, while others read without the lock.
#[test]
fn readers_see_whole_values_while_they_are_spliced() {
    let engine = Engine::new();
    let db = engine.database(0).unwrap();
    let set = |number: usize| {
        let value = vec![b'a' + (number % 23) as u8; number % 40 + 1];
        db.hset(NAME, format!("f{}", number % 5).as_bytes(), &value).unwrap();
    };
    (0..5).for_each(set);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut read = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let name = format!("f{}", read % 5);
                    let is_whole = |value: Option<&[u8]>| {
                        let value = value.expect("the field is never removed");
                        (1..=40).contains(&value.len()) && value.iter().all(|byte| *byte == value[0])
                    };
                    assert!(db.hget_with(NAME, name.as_bytes(), is_whole).unwrap());
                    read += 1;
                }
                assert!(read > 0);
            });
        }
        let rounds = if cfg!(miri) { 50 } else { 60_000 };
        (0..rounds).for_each(|round| set(round * 7 + round / 40));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn of_several_fields_none_is_changed_where_memory_is_refused() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut session = engine.session(Form::Resp);
    let mut run = |words: &[&[u8]]| String::from_utf8_lossy(session.execute(words)).into_owned();
    run(&[b"CONFIG", b"SET", b"enable-debug-command", b"yes"]);
    let names: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
    let value = [b'v'; 300];
    for (key, fields) in [(&b"large"[..], 200), (b"small", 3)] {
        for name in &names[..fields] {
            run(&[b"HSET", key, name.as_bytes(), &value]);
        }
        run(&[b"HPEXPIRE", key, b"90000", b"FIELDS", b"2", b"f0", b"f2"]);
        // Memory that is shared has to be copied before anything is removed.
        run(&[b"COPY", key, &[key, b"-copy"].concat()]);
    }
    let state = |run: &mut dyn FnMut(&[&[u8]]) -> String| {
        let times = [b"large", b"small"]
            .map(|key| run(&[b"HPTTL", key, b"FIELDS", b"4", b"f0", b"f1", b"f2", b"f9"]));
        (run(&[b"DEBUG", b"DIGEST"]), times)
    };
    let before = state(&mut run);
    let used = engine.inner.keyspace.shared.pool.shareable_bytes();
    let (long, longer) = (vec![b'l'; 9_000], vec![b'x'; 70_000]);
    let pairs: Vec<&[u8]> = vec![b"f0", &long, b"f1", b"short", b"new", &longer, b"f2", &value, b"f9", &long];
    for key in [&b"large"[..], b"small"] {
        let fields: &[&[u8]] = &[b"FIELDS", b"5"];
        let some: &[&[u8]] = &[b"FIELDS", b"4", b"f0", b"f1", b"f2", b"f9"];
        let commands = [
            [&[b"HSET", key][..], &pairs].concat(),
            [&[b"HMSET", key][..], &pairs].concat(),
            [&[b"HSETEX", key, b"EX", b"10"][..], fields, &pairs].concat(),
            [&[b"HPEXPIRE", key, b"70000"][..], some].concat(),
            [&[b"HPERSIST", key][..], some].concat(),
            [&[b"HGETEX", key, b"EX", b"10"][..], some].concat(),
            [&[b"HDEL", key][..], &some[2..]].concat(),
            [&[b"HGETDEL", key][..], some].concat(),
        ];
        for command in &commands {
            let name = String::from_utf8_lossy(command[0]).into_owned();
            let mut refused = 0;
            for allowed in 0.. {
                refusal::after(allowed);
                let reply = run(command);
                refusal::set(false);
                if !reply.starts_with("-OOM") {
                    break;
                }
                refused += 1;
                assert_eq!(state(&mut run), before, "{name} {allowed}");
                assert_eq!(engine.inner.keyspace.shared.pool.shareable_bytes(), used, "{name} {allowed}");
            }
            assert!(refused > 0 || key == b"small", "{name}");
            // As it was, for the next command.
            run(&[b"COPY", &[key, b"-copy"].concat(), key, b"REPLACE"]);
            assert_eq!(state(&mut run), before, "{name}");
        }
    }
}

#[test]
fn an_edit_that_finds_no_room_leaves_fields_their_timers() {
    let mut tried = Tried::new();
    let mut run = |words: &[&[u8]]| tried.session.execute(words).to_vec();
    run(&[b"HSET", NAME, b"a", b"v", b"b", &[b'v'; 100]]);
    run(&[b"HPEXPIRE", NAME, b"10", b"FIELDS", b"1", b"a"]);
    tried.clock.advance(std::time::Duration::from_millis(20));
    refusal::set(true);
    let mut names = neighbours(&tried.db, "filler");
    while !run(&[b"SET", &names.next().unwrap(), &[b'z'; 200]]).starts_with(b"-OOM") {}
    // Without a field that expires the hash would have no timers any more.
    let refused = run(&[b"HSET", NAME, b"a", &[b'w'; 250]]);
    refusal::set(false);
    assert!(refused.starts_with(b"-OOM"), "{refused:?}");
    assert_eq!(run(&[b"HSET", NAME, b"c", b"v"]), b":1\r\n");
    assert_eq!(run(&[b"HLEN", NAME]), b":2\r\n");
}

/// Sets will be packed in two ways; here a string stands for the second.
#[test]
fn what_is_packed_in_another_way_is_stored_as_such_or_not_at_all() {
    let mut tried = Tried::new();
    tried.apply(&Op::Set(vec![(4, 9)]));
    let db = tried.db.clone();
    let repack = |fails: bool| {
        db.write(&db.key(NAME), |db, key| {
            let mut block = Block::new(db.lookup_collection(key).expect("it is there"));
            let len = block.bytes().len();
            block.splice(len - 1, 1, b"!");
            block.set_kind(Kind::Raw);
            block.splice(0, len, b"another");
            assert_eq!((block.kind(), block.bytes()), (Kind::Raw, &b"another"[..]));
            if fails {
                block.undo();
                return Ok(());
            }
            block.end(Edited::<Hash> {
                has_changed: true,
                is_unheard: false,
                goes: false,
                unpacked: None,
                repacked: None,
            })
        })
    };
    repack(true).unwrap();
    tried.check().unwrap();
    repack(false).unwrap();
    assert_eq!(tried.db.get(NAME).unwrap().as_deref(), Some(&b"another"[..]));
}

#[test]
fn an_edit_goes_by_the_time_that_the_lookup_read() {
    let mut tried = Tried::new();
    let mut run = |words: &[&[u8]]| tried.session.execute(words).to_vec();
    // Packed and large, both with a deadline: looking them up reads the time.
    for key in [&b"packed"[..], b"large"] {
        run(&[b"HSET", key, b"a", b"v"]);
        run(&[b"PEXPIRE", key, b"100000"]);
    }
    run(&[b"HSET", b"large", b"b", &[b'v'; LONGEST + 1]]);
    let mut first = tried.now;
    for key in [&b"packed"[..], b"large"] {
        for asks in [true, false] {
            let key = tried.db.key(key);
            let seen = tried.db.write(&key, |db, key| {
                let clock = &tried.clock;
                let during = super::edit::<Hash, _>(db, key, |fields| {
                    clock.advance(std::time::Duration::from_millis(10));
                    Ok(if asks { fields.now() } else { first })
                })?;
                Ok((during, db.now()))
            });
            assert_eq!(seen, Ok((Some(first), first)), "{key:?}, {asks}");
            first += 10;
        }
    }
}
