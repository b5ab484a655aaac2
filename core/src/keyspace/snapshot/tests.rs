//! Tests of snapshots: what the writer gets is what there was when they began, whatever is done meanwhile.

use crate::typed::Typed as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use super::*;
use crate::keyspace::compaction::compact_all;
use crate::keyspace::db::Copied;
use crate::store::HashSeed;
use crate::store::memory::Arena;
use crate::store::table::BUCKET;
use crate::sync::Mutex;
use crate::value::Value;
use crate::{Clock, Config, Database, Engine, Form, Session, SetOptions};

/// A value to compare, and the deadline of its key.
type Dump = (String, Option<u64>);
/// All keys by database.
type State = BTreeMap<(usize, Vec<u8>), Dump>;

fn dump(value: Value<'_>) -> String {
    let Value::Hash(hash) = value else { return value.text().unwrap().escape_ascii().to_string() };
    let mut fields = BTreeMap::new();
    hash.each(0, |field, value| {
        let field = field.with(<[u8]>::to_vec);
        let deadline = hash.deadline(&field, 0).unwrap();
        fields.insert(field, (value.with(<[u8]>::to_vec), deadline));
    });
    format!("{fields:?}")
}

fn dump_copied(keyspace: &Keyspace, copied: &Copied) -> String {
    copied.read(keyspace, dump)
}

/// Database, key, value as it was read or shared, and deadline.
type Kept = (usize, Vec<u8>, Result<String, Copied>, Option<u64>);

/// Keeps what it gets: some entries read at once, the others shared and read at the end.
#[derive(Default)]
struct Keeper {
    entries: Mutex<Vec<Kept>>,
}

impl SnapshotWriter for Keeper {
    fn entry(&self, db: usize, entry: &Entry<'_>) {
        let mut entries = self.entries.lock();
        let value =
            if entries.len().is_multiple_of(3) { Ok(dump(entry.value())) } else { Err(entry.share()) };
        entries.push((db, entry.key().to_vec(), value, entry.deadline()));
    }
}

impl Keeper {
    fn state(&self, keyspace: &Keyspace) -> State {
        let mut state = State::new();
        for (db, key, value, deadline) in self.entries.lock().drain(..) {
            let value = value.unwrap_or_else(|copied| dump_copied(keyspace, &copied));
            let twice = state.insert((db, key.clone()), (value, deadline));
            assert!(twice.is_none(), "{} came twice", key.escape_ascii());
        }
        state
    }
}

/// What there is now.
fn present(keyspace: &Keyspace) -> State {
    let mut state = State::new();
    for index in keyspace.made_shards() {
        let shard = keyspace.lock(index);
        for db in shard.databases() {
            shard.each(db, |at| {
                let entry = Entry::at(&shard, at);
                state.insert((db, entry.key().to_vec()), (dump(entry.value()), entry.deadline()));
            });
        }
    }
    state
}

/// That what is in tables is all that the arenas hold.
fn check_accounts(keyspace: &Keyspace) {
    for index in keyspace.made_shards() {
        let shard = keyspace.lock(index);
        let mut used = 0;
        for (place, space) in shard.spaces.iter().enumerate() {
            each_at(&shard, place, |at| used += Arena::class_bytes(shard.head(at).size()));
            used += space.table.overflow_count() as usize * BUCKET;
        }
        assert_eq!(used, shard.arena.used(), "shard {index}");
    }
}

fn each_at(shard: &ShardData, place: usize, mut visit: impl FnMut(Ref)) {
    let mut cursor = 0;
    while {
        cursor = shard.scan_place(place, cursor, &mut visit);
        cursor != 0
    } {}
}

/// Entries with a mark.
fn marked(keyspace: &Keyspace) -> usize {
    let mut marked = 0;
    for index in keyspace.made_shards() {
        let shard = keyspace.lock(index);
        for place in 0..shard.spaces.len() {
            each_at(&shard, place, |at| marked += usize::from(shard.head(at).is_saved()));
            assert!(!shard.is_retired(place));
        }
    }
    marked
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// An engine whose keys are in few shards, so that tables there are long.
struct Busy {
    engine: Engine,
    session: Session,
    databases: Vec<Database>,
    keys: Vec<Vec<u8>>,
    random: Random,
}

const SOME_SHARDS: [usize; 3] = [3, 77, 200];
const DATABASES: usize = 9;

impl Busy {
    fn new(config: &str, seed: u64) -> Self {
        let config = Config::from_text(config.as_bytes()).unwrap();
        let builder =
            Engine::builder().clock(Clock::manual(1_000_000)).config(config).seed(HashSeed::of(seed));
        let engine = builder.open().unwrap();
        let databases: Vec<_> = (0..DATABASES).map(|db| engine.database(db).unwrap()).collect();
        let keys = (0..90_000).map(|number| format!("k{number}").into_bytes());
        let keys = keys.filter(|key| SOME_SHARDS.contains(&databases[0].key(key).shard())).collect();
        Self { session: engine.session(Form::Resp), engine, databases, keys, random: Random(seed) }
    }

    fn keyspace(&self) -> &Keyspace {
        &self.engine.inner.keyspace
    }

    fn run(&mut self, words: &[&[u8]]) {
        let reply = String::from_utf8_lossy(self.session.execute(words)).into_owned();
        for mistake in ["syntax", "wrong number", "unknown"] {
            assert!(!reply.starts_with('-') || !reply.contains(mistake), "{words:?}: {reply}");
        }
    }

    fn key(&mut self) -> Vec<u8> {
        // Some are asked for again and again.
        let bound = if self.random.below(3) == 0 { 30 } else { self.keys.len() };
        self.keys[self.random.below(bound)].clone()
    }

    fn value(&mut self) -> Vec<u8> {
        let len = [0, 5, 20, 64, 300, 70_000][self.random.below(60).min(5 + self.random.below(55)) % 6];
        let len = if len == 70_000 && self.random.below(6) > 0 { 8 } else { len };
        vec![b'a' + self.random.below(20) as u8; len]
    }

    /// One write of any kind. `growing` says whether keys become more or fewer.
    fn write(&mut self, growing: bool) {
        let (one, other, value) = (self.key(), self.key(), self.value());
        let draw = self.random.below(1000);
        let db = self
            .random
            .below(10)
            .saturating_sub(6)
            .max(usize::from(draw.is_multiple_of(97)) * self.random.below(DATABASES));
        self.run(&[b"SELECT", db.to_string().as_bytes()]);
        let number = self.random.below(40).to_string();
        let ttl = (1 + self.random.below(60)).to_string();
        let typed = self.databases[db].clone();
        match draw {
            0..300 if growing => drop(typed.set(&one, &value)),
            0..350 if !growing => self.run(&[b"DEL", &one, &other]),
            350..450 => self.run(&[b"SET", &one, &value]),
            450..500 => drop(typed.incr(&one, 3)),
            500..560 => drop(typed.hset(&one, number.as_bytes(), &value[..value.len().min(400)])),
            560..600 => self.run(&[b"HSET", &one, number.as_bytes(), b"1", b"f", b"2"]),
            600..620 => self.run(&[b"HDEL", &one, number.as_bytes(), b"f"]),
            620..640 => {
                self.run(&[b"HPEXPIRE", &one, ttl.as_bytes(), b"FIELDS", b"2", number.as_bytes(), b"f"])
            }
            640..660 => self.run(&[b"HINCRBY", &one, number.as_bytes(), b"5"]),
            660..700 => self.run(&[b"PEXPIRE", &one, ttl.as_bytes()]),
            700..720 => self.run(&[b"PERSIST", &one]),
            720..740 => {
                drop(typed.set_with(&one, &value, SetOptions::new().expires_in(Duration::from_millis(30))))
            }
            740..780 => self.run(&[b"RENAME", &one, &other]),
            780..820 => {
                self.run(&[b"COPY", &one, &other, b"DB", (draw % 4).to_string().as_bytes(), b"REPLACE"])
            }
            820..840 => self.run(&[b"MOVE", &one, (draw % 3).to_string().as_bytes()]),
            840..880 => self.run(&[b"APPEND", &one, &value]),
            880..900 => self.run(&[b"SETRANGE", &one, b"3", b"xyz"]),
            900..930 => drop(self.engine.advance(Duration::from_millis(7))),
            930..940 => drop(self.engine.reap()),
            940..945 => compact_all(self.keyspace()),
            945..950 => self.run(&[
                b"SWAPDB",
                (draw % 3).to_string().as_bytes(),
                number.as_bytes().get(..1).unwrap_or(b"1"),
            ]),
            950..953 => self.run(&[b"FLUSHDB"]),
            953 => self.run(&[b"FLUSHALL"]),
            954..970 => self.run(&[b"GETDEL", &one]),
            _ => self.run(&[b"GET", &one]),
        }
    }

    /// Takes a snapshot while writes go on, and gives it up after so many steps, if any. Says whether it was given up.
    fn snapshot(&mut self, given_up_after: usize) -> bool {
        let engine = self.engine.clone();
        let keyspace = &engine.inner.keyspace;
        let expected = present(keyspace);
        let keeper = Arc::new(Keeper::default());
        let writer: Arc<dyn SnapshotWriter> = keeper.clone();
        let mut snapshot = Snapshot::begin(keyspace, &writer, || ()).unwrap();
        assert!(Snapshot::begin(keyspace, &writer, || ()).is_none(), "one at a time");
        let mut steps = 0;
        let growing = self.random.below(2) == 0;
        while {
            for _ in 0..self.random.below(12) {
                self.write(growing);
            }
            if steps % 10 == 1 {
                check_accounts(keyspace);
            }
            steps += 1;
            steps != given_up_after && snapshot.step(1 + self.random.below(600))
        } {}
        drop(snapshot);
        assert_eq!(marked(keyspace), 0);
        if steps == given_up_after {
            return true;
        }
        let state = keeper.state(keyspace);
        for (key, value) in &expected {
            assert_eq!(state.get(key), Some(value), "{} {}", key.0, key.1.escape_ascii());
        }
        assert_eq!(state.len(), expected.len(), "nothing that was born since");
        false
    }
}

fn snapshots_of(config: &str, seed: u64, rounds: usize) {
    let mut busy = Busy::new(config, seed);
    let mut given_up = 0;
    for round in 0..rounds {
        // Few at times, so that tables shrink and grow.
        for _ in 0..[3_000, 200, 3_000, 1_500][round % 4] {
            busy.write(round % 4 != 3);
        }
        given_up += usize::from(busy.snapshot(if round % 5 == 2 { 20 } else { 0 }));
    }
    assert!(given_up > 0);
    // All is given back.
    busy.run(&[b"FLUSHALL", b"SYNC"]);
    let keyspace = busy.keyspace();
    assert_eq!(keyspace.shared.pool.shareable_bytes(), 0);
    assert!(keyspace.made_shards().all(|index| keyspace.lock(index).arena.used() == 0));
}

#[test]
fn each_is_of_the_moment_when_it_began() {
    (1..4).for_each(|seed| snapshots_of("", seed, 9));
}

#[test]
fn eviction_changes_nothing_of_it() {
    snapshots_of("maxmemory 400kb\nmaxmemory-policy allkeys-lru", 5, 9);
    snapshots_of("maxmemory 400kb\nmaxmemory-policy allkeys-random\nhash-max-listpack-entries 4", 6, 6);
}

#[test]
fn short_cuts_go_on_once_an_entry_is_saved() {
    let mut busy = Busy::new("", 7);
    let keys: Vec<_> = busy.keys[..100].to_vec();
    let db = busy.databases[0].clone();
    for key in &keys {
        db.set(key, "before").unwrap();
    }
    let expected = present(busy.keyspace());
    let keeper = Arc::new(Keeper::default());
    let writer: Arc<dyn SnapshotWriter> = keeper.clone();
    let engine = busy.engine.clone();
    let keyspace = &engine.inner.keyspace;
    let mut snapshot = Snapshot::begin(keyspace, &writer, || ()).unwrap();
    for round in 0..3 {
        for key in &keys {
            let overwritten =
                crate::keyspace::overwrite::overwrite_text(keyspace, 0, db.key(key), b"after!", |_| None);
            assert_eq!(overwritten, round > 0, "the first change saves what was there");
            db.set(key, "behind").unwrap();
        }
    }
    while snapshot.step(100) {}
    drop(snapshot);
    assert_eq!(keeper.state(keyspace), expected);
    busy.run(&[b"GET", &keys[0]]);
}

#[test]
fn a_flushed_database_is_left_to_the_snapshot_and_freed_as_it_goes() {
    let mut busy = Busy::new("", 8);
    for _ in 0..4_000 {
        busy.write(true);
    }
    let engine = busy.engine.clone();
    let keyspace = &engine.inner.keyspace;
    let expected = present(keyspace);
    let keeper = Arc::new(Keeper::default());
    let writer: Arc<dyn SnapshotWriter> = keeper.clone();
    let mut snapshot = Snapshot::begin(keyspace, &writer, || ()).unwrap();
    assert!(snapshot.step(2_000));
    for round in 0..3 {
        busy.run(&[b"FLUSHALL"]);
        assert_eq!(present(keyspace), State::new());
        assert!(keeper.entries.lock().len() < expected.len() / 2, "nothing is given by the flush: {round}");
        busy.run(&[b"SET", &busy.keys[0].clone(), b"new"]);
    }
    while snapshot.step(2_000) {}
    drop(snapshot);
    assert_eq!(keeper.state(keyspace), expected);
    assert_eq!(present(keyspace).len(), 1);
    let used: usize = keyspace.made_shards().map(|index| keyspace.lock(index).arena.used()).sum();
    assert!(used < 100, "{used}");
    // Places are used again: the engine has no more of them than it has databases, twice.
    assert!(keyspace.shared.all_buckets().len() <= 2 * DATABASES);
}

#[test]
fn what_the_process_before_a_fork_was_writing_is_cleaned_up() {
    let mut busy = Busy::new("", 9);
    (0..3_000).for_each(|_| busy.write(true));
    let engine = busy.engine.clone();
    let keyspace = &engine.inner.keyspace;
    let writer: Arc<dyn SnapshotWriter> = Arc::new(Keeper::default());
    let mut snapshot = Snapshot::begin(keyspace, &writer, || ()).unwrap();
    snapshot.step(5_000);
    (0..300).for_each(|_| busy.write(false));
    busy.run(&[b"FLUSHDB"]);
    // The child has its copy of all this, and nobody who goes on with it.
    std::mem::forget(snapshot);
    keyspace.snapshot.store(os::generation() + 2, Ordering::Relaxed);
    for index in keyspace.made_shards() {
        if let Some(visit) = keyspace.lock(index).visit.as_mut() {
            visit.generation += 1;
        }
    }
    (0..300).for_each(|_| busy.write(true));
    assert!(!busy.snapshot(0));
    check_accounts(keyspace);
}

/// Amounts move between keys on several threads; each snapshot has the same sum.
#[test]
fn transactions_are_in_it_whole_or_not_at_all() {
    const ACCOUNTS: usize = 400;
    let engine = Engine::new();
    let db = engine.database(0).unwrap();
    for account in 0..ACCOUNTS {
        db.incr(format!("account:{account}"), 100).unwrap();
    }
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (engine, stop, done) = (&engine, &stop, &done);
            scope.spawn(move || {
                let (mut session, mut random) = (engine.session(Form::Resp), Random(thread));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let [from, to] = [(); 2].map(|()| format!("account:{}", random.below(ACCOUNTS)));
                    session.execute(&[b"MULTI"]);
                    session.execute(&[b"DECRBY", from.as_bytes(), b"7"]);
                    session.execute(&[b"INCRBY", to.as_bytes(), b"7"]);
                    session.execute(&[b"EXEC"]);
                    session.execute(&[b"SET", format!("other:{}", random.below(5_000)).as_bytes(), b"v"]);
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        let keyspace = &engine.inner.keyspace;
        for round in 0..8 {
            let keeper = Arc::new(Keeper::default());
            let writer: Arc<dyn SnapshotWriter> = keeper.clone();
            let mut snapshot = Snapshot::begin(keyspace, &writer, || ()).unwrap();
            while snapshot.step(500) {
                std::thread::yield_now();
            }
            drop(snapshot);
            let state = keeper.state(keyspace);
            let accounts = state.iter().filter(|((_, key), _)| key.starts_with(b"account:"));
            let sum: i64 = accounts.map(|(_, (value, _))| value.parse::<i64>().unwrap()).sum();
            assert_eq!(sum, 100 * ACCOUNTS as i64, "{round}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(done.load(std::sync::atomic::Ordering::Relaxed) > 0);
}
