//! Tests of eviction through whole engines: every policy holds the limit, takes only keys it may take, and loses none uncounted.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::config::MAXMEMORY_POLICIES;
use crate::keyspace::{Effect, Event, EventClass, Group, Journal, Observer, Ticket};
use crate::store::key::SHARDS;
use crate::store::random;
use crate::sync::{Arc, Mutex};
use crate::{Clock, Config, Database, Engine, Form, Session, SetOptions, Ttl};

/// What the tables and arenas of an engine with a few thousand keys take at least: below it a limit would leave nothing to evict.
const SMALL: u64 = 256 << 10;
/// The same where keys have deadlines, which takes some memory for timing wheels in every shard.
const TIMED: u64 = 2 << 20;

fn engine(policy: &str, limit: u64) -> Engine {
    let config = Config::default();
    config
        .set(&[(b"maxmemory-policy", policy.as_bytes()), (b"maxmemory", limit.to_string().as_bytes())])
        .unwrap();
    config.set(&[(b"maxmemory-eviction-tenacity", b"100")]).unwrap();
    Engine::builder().config(config).clock(Clock::manual(1_000_000)).open().unwrap()
}

fn run(session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(session.execute(&words)).into_owned()
}

fn field(engine: &Engine, name: &str) -> u64 {
    let info = run(&mut engine.session(Form::Resp), "INFO everything");
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().parse().unwrap()
}

fn set(db: &Database, key: &str, value: &[u8]) -> bool {
    db.set(key, value).is_ok()
}

fn evicting() -> impl Iterator<Item = &'static str> {
    MAXMEMORY_POLICIES.iter().copied().filter(|policy| *policy != "noeviction")
}

#[test]
fn every_policy_over_all_keys_holds_the_limit_and_counts_what_goes() {
    for policy in evicting().filter(|policy| policy.starts_with("allkeys")) {
        let engine = engine(policy, SMALL);
        let db = engine.database(0).unwrap();
        for number in 0..10_000 {
            assert!(set(&db, &format!("key:{number}"), &[b'v'; 100]), "{policy}");
            // One write may pass the limit; the next makes room first.
            assert!(engine.used_bytes() as u64 <= SMALL + 2_000, "{policy}: {}", engine.used_bytes());
        }
        let evicted = field(&engine, "evicted_keys");
        assert_eq!(db.len().unwrap() as u64 + evicted, 10_000, "{policy}");
        assert!(db.len().unwrap() > 500, "{policy} keeps {} keys", db.len().unwrap());
    }
}

#[test]
fn volatile_policies_take_only_keys_with_a_deadline() {
    for policy in evicting().filter(|policy| policy.starts_with("volatile")) {
        let engine = engine(policy, TIMED);
        let db = engine.database(0).unwrap();
        let minute = Ttl::After(Duration::from_secs(60));
        for number in 0..300 {
            assert!(set(&db, &format!("lasting:{number}"), &[b'v'; 100]), "{policy}");
            // Some of them get their deadline only later, others lose it.
            let key = format!("some:{number}");
            db.set_with(
                &key,
                [b'v'; 100],
                SetOptions::new().ttl(if number % 2 == 0 { minute } else { Ttl::None }),
            )
            .unwrap();
            if number % 2 == 1 {
                db.expire(&key, Duration::from_secs(60)).unwrap();
            } else if number % 4 == 0 {
                db.persist(&key).unwrap();
            }
        }
        for number in 0..12_000 {
            db.set_with(format!("brief:{number}"), [b'v'; 100], SetOptions::new().ttl(minute)).unwrap();
        }
        let lasting = (0..300).filter(|number| db.contains(format!("lasting:{number}")).unwrap()).count();
        let persisted =
            (0..300).step_by(4).filter(|number| db.contains(format!("some:{number}")).unwrap()).count();
        assert_eq!((lasting, persisted), (300, 75), "{policy}");
        let evicted = field(&engine, "evicted_keys");
        assert_eq!(db.len().unwrap() as u64 + evicted, 12_600, "{policy}");
        // Only keys that last are left in the end: then a write fails, and says so.
        let mut failed = None;
        for number in 0..30_000 {
            if !set(&db, &format!("more:{number}"), &[b'v'; 100]) {
                failed = Some(number);
                break;
            }
        }
        assert!(failed.is_some(), "{policy}");
        let left = db.len().unwrap() - 375 - failed.unwrap();
        assert_eq!(left, 0, "{policy}: keys with a deadline are left over");
        assert!(db.delete("more:0").unwrap() && db.contains("lasting:0").unwrap(), "{policy}");
    }
}

#[test]
fn the_least_recently_used_go_first() {
    let engine = engine("allkeys-lru", SMALL);
    let db = engine.database(0).unwrap();
    for number in 0..5_000 {
        set(&db, &format!("key:{number}"), &[b'v'; 100]);
        for hot in 0..5 {
            db.get(format!("key:{hot}")).unwrap();
        }
    }
    assert!((0..5).all(|hot| db.contains(format!("key:{hot}")).unwrap()));
    let kept: Vec<usize> =
        (5..5_000).filter(|number| db.contains(format!("key:{number}")).unwrap()).collect();
    assert_eq!(kept.first(), Some(&(5_000 - kept.len())), "what is left is what came last");
}

#[test]
fn often_used_keys_survive_under_lfu_and_adaptive() {
    for policy in ["allkeys-lfu", "allkeys-adaptive"] {
        let engine = engine(policy, SMALL);
        let db = engine.database(0).unwrap();
        for number in 0..20_000 {
            set(&db, &format!("key:{number}"), &[b'v'; 100]);
            if number % 10 == 0 {
                let hot = format!("hot:{}", number / 10 % 100);
                if db.get(&hot).unwrap().is_none() {
                    set(&db, &hot, &[b'v'; 100]);
                }
            }
        }
        let kept = (0..100).filter(|hot| db.contains(format!("hot:{hot}")).unwrap()).count();
        assert!(kept >= 90, "{policy}: {kept}");
    }
}

#[test]
fn the_nearest_deadlines_go_first_under_ttl() {
    let engine = engine("volatile-ttl", TIMED);
    let db = engine.database(0).unwrap();
    for number in 0..12_000u64 {
        let ttl = Ttl::After(Duration::from_secs(1_000 + number * 7_919 % 4_000));
        db.set_with(format!("key:{number}"), [b'v'; 100], SetOptions::new().ttl(ttl)).unwrap();
    }
    let kept: Vec<u64> = (0..12_000)
        .filter_map(|number| db.ttl(format!("key:{number}")).unwrap()??.as_secs().into())
        .collect();
    let mean = kept.iter().sum::<u64>() / kept.len() as u64;
    assert!(mean > 3_500, "{mean}");
}

#[test]
fn without_a_policy_writes_fail_and_reads_and_deletions_do_not() {
    let engine = engine("noeviction", SMALL);
    let mut session = engine.session(Form::Resp);
    let value = "v".repeat(100);
    let failed =
        (0..10_000).find(|number| run(&mut session, &format!("SET key:{number} {value}")).starts_with('-'));
    let failed = failed.unwrap();
    let error = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    assert_eq!(run(&mut session, "SET k v"), error);
    assert!(run(&mut session, "GET key:0").starts_with('$'));
    // A transaction is poisoned by what it may not queue, and refused whole if memory ran short later.
    assert_eq!(run(&mut session, "MULTI"), "+OK\r\n");
    assert_eq!(run(&mut session, "SET k v"), error);
    assert!(run(&mut session, "EXEC").starts_with("-EXECABORT"));
    assert_eq!(run(&mut session, "CONFIG SET maxmemory 0"), "+OK\r\n");
    run(&mut session, "MULTI");
    run(&mut session, "SET k v");
    engine.config().set(&[(b"maxmemory", b"1000")]).unwrap();
    let discarded = format!("-EXECABORT Transaction discarded because of: {}", &error[1..]);
    assert_eq!(run(&mut session, "EXEC"), discarded);
    assert_eq!(run(&mut session, "EXISTS k"), ":0\r\n");
    assert_eq!(run(&mut session, &format!("DEL key:0 key:{}", failed - 1)), ":2\r\n");
    assert_eq!(field(&engine, "evicted_keys"), 0);
}

#[test]
fn a_transaction_evicts_before_it_begins() {
    let engine = engine("allkeys-lru", SMALL);
    let mut session = engine.session(Form::Resp);
    let value = "v".repeat(100);
    for number in 0..3_000 {
        run(&mut session, &format!("SET key:{number} {value}"));
    }
    run(&mut session, "MULTI");
    for number in 0..50 {
        assert_eq!(run(&mut session, &format!("SET own:{number} {value}")), "+QUEUED\r\n");
    }
    assert!(run(&mut session, "EXEC").starts_with("*50\r\n+OK"));
    assert_eq!(run(&mut session, "EXISTS own:0 own:49"), ":2\r\n");
    // Nothing in a transaction waits for the evictor, which waits for shards.
    let limit = format!("CONFIG SET maxmemory {}", SMALL / 2);
    for line in [
        "MULTI",
        "FLUSHDB",
        "OBJECT IDLETIME own:0",
        &limit,
        "INFO",
        "CONFIG RESETSTAT",
        "SET own:1 1",
        "EXEC",
    ] {
        run(&mut session, line);
    }
    assert_eq!(run(&mut session, "DBSIZE"), ":1\r\n");
    run(&mut session, &format!("CONFIG SET maxmemory {SMALL}"));
    for number in 0..3_000 {
        run(&mut session, &format!("SET key:{number} {value}"));
    }
    run(&mut session, "SET after 1");
    // What one write may add: an entry, a chunk of records, room for more buckets.
    assert!(engine.used_bytes() as u64 <= SMALL + 2_000);
}

#[test]
fn a_lowered_limit_and_a_new_policy_apply_to_what_is_there() {
    for policy in evicting() {
        let engine = engine("noeviction", 0);
        let db = engine.database(3).unwrap();
        let ttl =
            if policy.starts_with("volatile") { Ttl::After(Duration::from_secs(60)) } else { Ttl::None };
        for number in 0..20_000 {
            db.set_with(format!("key:{number}"), [b'v'; 100], SetOptions::new().ttl(ttl)).unwrap();
        }
        let half = field(&engine, "used_memory") as usize / 2;
        let mut session = engine.session(Form::Resp);
        run(&mut session, &format!("CONFIG SET maxmemory {half} maxmemory-policy {policy}"));
        assert!(engine.used_bytes() <= half, "{policy}: {} > {half}", engine.used_bytes());
        assert!((5_000..15_000).contains(&db.len().unwrap()), "{policy}: {}", db.len().unwrap());
        // Exchanged and emptied databases are followed.
        run(&mut session, "SWAPDB 3 5");
        run(&mut session, &format!("CONFIG SET maxmemory {}", half / 2));
        assert!(engine.used_bytes() <= half / 2, "{policy}: {}", engine.used_bytes());
        run(&mut session, "FLUSHALL");
        assert!(set(&db, "k", b"v"), "{policy}");
    }
}

#[derive(Default)]
struct Recorder {
    logged: Mutex<Vec<Vec<Vec<u8>>>>,
    modified: Mutex<Vec<Vec<u8>>>,
    evicted: Mutex<Vec<Vec<u8>>>,
}

impl Journal for Recorder {
    fn append(&self, group: &Group) -> crate::Result<Ticket> {
        let words = |effect: Effect<'_>| effect.words().map(<[u8]>::to_vec).collect();
        self.logged.lock().extend(group.effects().map(words));
        Ok(Ticket::default())
    }
}

impl Observer for Recorder {
    fn modified(&self, _: usize, key: &[u8], _: u64) {
        self.modified.lock().push(key.to_vec());
    }

    fn notified(&self, event: &Event<'_>) {
        if event.class == EventClass::Evicted {
            assert_eq!(event.name, "evicted");
            self.evicted.lock().push(event.key.to_vec());
        }
    }
}

#[test]
fn the_log_watchers_and_observers_hear_of_evictions() {
    for (lazy, command) in [("yes", "UNLINK"), ("no", "DEL")] {
        let engine = engine("allkeys-lru", SMALL);
        engine.config().set(&[(b"lazyfree-lazy-eviction", lazy.as_bytes())]).unwrap();
        let recorder = Arc::new(Recorder::default());
        engine.set_journal(Some(recorder.clone()));
        engine.observe(recorder.clone());
        let mut session = engine.session(Form::Resp);
        run(&mut session, "SET watched 1");
        run(&mut session, "WATCH watched");
        let db = engine.database(0).unwrap();
        for number in 0..4_000 {
            set(&db, &format!("key:{number}"), &[b'v'; 100]);
        }
        run(&mut session, "MULTI");
        run(&mut session, "PING");
        assert_eq!(run(&mut session, "EXEC"), "*-1\r\n", "the watched key was evicted");
        let counted = field(&engine, "evicted_keys");
        let evicted = recorder.evicted.lock().clone();
        assert_eq!(evicted.len() as u64, counted);
        assert_eq!(evicted.first().map(Vec::as_slice), Some(b"watched".as_slice()));
        let removed: Vec<Vec<u8>> = recorder
            .logged
            .lock()
            .iter()
            .filter(|words| words[0] == command.as_bytes())
            .map(|words| words[1].clone())
            .collect();
        assert_eq!(removed, evicted, "each removal is logged, in order");
        assert!(recorder.modified.lock().iter().any(|key| key == b"watched"));
    }
}

/// Writes to the engine it observes.
struct Meddler(Mutex<Option<Database>>);

impl Observer for Meddler {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        let db = self.0.lock().take();
        if let Some(db) = db.filter(|_| event.class == EventClass::Evicted) {
            assert!(set(&db, "meddler", &[b'v'; 5_000]));
        }
    }
}

#[test]
fn observers_of_evictions_may_write() {
    let engine = engine("allkeys-adaptive", SMALL);
    let db = engine.database(0).unwrap();
    let meddler = Arc::new(Meddler(Mutex::default()));
    engine.observe(meddler.clone());
    for number in 0..3_000 {
        *meddler.0.lock() = Some(db.clone());
        assert!(set(&db, &format!("key:{number}"), &[b'v'; 100]));
    }
    *meddler.0.lock() = None;
    assert!(engine.used_bytes() as u64 <= SMALL + 8_000);
}

#[test]
fn idle_times_are_seconds_under_every_clock() {
    let engine = engine("allkeys-lru", 100 << 20);
    let mut session = engine.session(Form::Resp);
    run(&mut session, "SET k v");
    for number in 0..5_000 {
        run(&mut session, &format!("SET other:{number} v"));
        if number % 500 == 0 {
            engine.advance(Duration::from_secs(1));
        }
    }
    assert_eq!(run(&mut session, "OBJECT IDLETIME k"), ":10\r\n");
    run(&mut session, "GET k");
    engine.advance(Duration::from_secs(3));
    assert_eq!(run(&mut session, "OBJECT IDLETIME k"), ":3\r\n");
}

#[test]
fn time_above_the_limit_is_told() {
    let engine = engine("noeviction", SMALL);
    let mut session = engine.session(Form::Resp);
    run(&mut session, "SET k v");
    run(&mut session, "CONFIG SET maxmemory 10");
    run(&mut session, "SET k v");
    engine.advance(Duration::from_millis(700));
    assert_eq!(field(&engine, "current_eviction_exceeded_time"), 700);
    run(&mut session, "CONFIG SET maxmemory 1gb");
    run(&mut session, "SET k v");
    assert_eq!(
        (field(&engine, "current_eviction_exceeded_time"), field(&engine, "total_eviction_exceeded_time")),
        (0, 700)
    );
}

#[test]
fn threads_evict_together() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-adaptive"] {
        let engine = engine(policy, SMALL);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let db = engine.database(thread).unwrap();
                scope.spawn(move || {
                    for number in 0..3_000 {
                        assert!(set(&db, &format!("key:{number}"), &[b'v'; 100]), "{policy}");
                        db.get(format!("key:{}", number / 2)).unwrap();
                        if number % 7 == 0 {
                            db.delete(format!("key:{}", number - number % 3)).unwrap();
                        }
                        if thread == 0 && number % 1_000 == 0 {
                            run(&mut db.engine().session(Form::Resp), "FLUSHALL");
                        }
                    }
                });
            }
        });
        let db = engine.database(0).unwrap();
        set(&db, "last", b"v");
        assert!(engine.used_bytes() as u64 <= SMALL + 2_000, "{policy}: {}", engine.used_bytes());
        let left: usize = (0..4).map(|db| engine.database(db).unwrap().len().unwrap()).sum();
        // What the first thread stored after its last FLUSHALL, even if the others were through by then: 1,000 less 143.
        assert!(left > 300, "{policy}: {left}");
    }
}

#[test]
fn timers_of_evicted_keys_do_not_fill_the_memory() {
    let engine = engine("volatile-lru", TIMED);
    let mut session = engine.session(Form::Resp);
    run(&mut session, "HSET h f v");
    run(&mut session, "HPEXPIRE h 5000 FIELDS 1 f");
    let db = engine.database(0).unwrap();
    for number in 0..120_000u64 {
        let ttl = Ttl::After(Duration::from_secs(3_600 + number % 5_000));
        db.set_with(format!("key:{number}"), [b'v'; 100], SetOptions::new().ttl(ttl)).unwrap();
    }
    // A deletion looks whether the dead timers are too many. Keys that came since the last one in a shard have armed more.
    for index in 0..SHARDS {
        let shard = engine.inner.keyspace.lock(index);
        let drawn = || shard.random(0, &mut random).map(|at| shard.head(at).key(&shard.arena, at).to_vec());
        let key = std::iter::repeat_with(drawn).find(|key| key.as_deref() != Some(b"h")).flatten();
        drop(shard);
        assert!(db.delete(key.expect("many keys in each shard")).unwrap());
        let (armed, allowed) = engine.inner.keyspace.lock(index).timers(0);
        assert!(armed <= allowed, "{armed} timers in shard {index}, where {allowed} may be");
    }
    // 5,900 keys fit, with a standard deviation of 50 by how the hash spreads them; 1,420 if dead timers stay.
    assert!(db.len().unwrap() > 2_500, "{}", db.len().unwrap());
    // What is left still expires, fields included.
    assert_eq!(run(&mut session, "HEXISTS h f"), ":1\r\n");
    engine.advance(Duration::from_secs(5));
    assert_eq!(run(&mut session, "EXISTS h"), ":0\r\n");
    engine.advance(Duration::from_secs(9_000));
    assert_eq!(db.len().unwrap(), 0);
}

/// A step of a random workload.
#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16, bool),
    Get(u8),
    Delete(u8),
    Expire(u8),
    Persist(u8),
    Hash(u8, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..2_000u16, any::<bool>()).prop_map(|(key, len, timed)| Step::Set(key, len, timed)),
        4 => any::<u8>().prop_map(Step::Get),
        1 => any::<u8>().prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::Expire),
        1 => any::<u8>().prop_map(Step::Persist),
        2 => (any::<u8>(), 0..300u16).prop_map(|(key, len)| Step::Hash(key, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 24 }, ..ProptestConfig::default() })]
    #[test]
    fn no_policy_loses_a_key_uncounted_or_leaves_the_limit(
        policy in 0..MAXMEMORY_POLICIES.len(),
        steps in prop::collection::vec(step(), 200..1_500),
    ) {
        const LIMIT: u64 = 96 << 10;
        let policy = MAXMEMORY_POLICIES[policy];
        let engine = engine(policy, LIMIT);
        let db = engine.database(0).unwrap();
        let (mut keys, mut timed): (HashSet<u8>, HashSet<u8>) = Default::default();
        let mut gone = 0;
        for step in steps {
            let name = |key: u8| format!("key:{key}");
            let mut written = None;
            match step {
                Step::Set(key, len, with_ttl) => {
                    let ttl = if with_ttl { Ttl::After(Duration::from_secs(100)) } else { Ttl::None };
                    if db.set_with(name(key), vec![b'v'; len.into()], SetOptions::new().ttl(ttl)).is_ok() {
                        written = Some((key, with_ttl));
                    }
                }
                Step::Get(key) => drop(db.get(name(key))),
                Step::Delete(key) => {
                    prop_assert_eq!(db.delete(name(key)).unwrap(), keys.remove(&key));
                    timed.remove(&key);
                }
                Step::Expire(key) => {
                    if db.expire(name(key), Duration::from_secs(50)).unwrap() {
                        timed.insert(key);
                    }
                }
                Step::Persist(key) => {
                    db.persist(name(key)).unwrap();
                    timed.remove(&key);
                }
                Step::Hash(key, len) => {
                    let created = db.hset(name(key), b"field", vec![b'v'; len.into()]);
                    if created.is_ok() {
                        written = Some((key, timed.contains(&key) && keys.contains(&key) && db.ttl(name(key)).unwrap().flatten().is_some()));
                    }
                }
            }
            if let Some((key, with_ttl)) = written {
                keys.insert(key);
                if with_ttl { timed.insert(key); } else { timed.remove(&key); }
            }
            let total = engine.inner.keyspace.evictor.counters.evicted();
            let missing: Vec<u8> = keys.iter().copied().filter(|key| !db.contains(name(*key)).unwrap()).collect();
            let overwritten = written.map_or(0, |_| 1);
            let evicted = total - gone;
            // A key that was evicted to make room for its own new value is there again.
            prop_assert!((missing.len() as u64..=missing.len() as u64 + overwritten).contains(&evicted), "{} of {:?}", evicted, missing);
            for key in missing {
                prop_assert!(!policy.starts_with("volatile") || timed.contains(&key), "{policy} took a lasting key");
                keys.remove(&key);
                timed.remove(&key);
            }
            gone += evicted;
            prop_assert!(engine.used_bytes() as u64 <= LIMIT + 4_000 || policy == "noeviction" || policy.starts_with("volatile"));
        }
        prop_assert!(policy != "noeviction" || gone == 0);
        prop_assert_eq!(db.len().unwrap(), keys.len());
    }
}

#[test]
fn keys_of_an_engine_that_began_empty_have_one_record_each() {
    for policy in ["allkeys-lru", "allkeys-adaptive", "volatile-lru", "volatile-adaptive"] {
        let engine = engine(policy, 1 << 30);
        let db = engine.database(0).unwrap();
        for number in 0..5_000 {
            let minute = Ttl::After(Duration::from_secs(60));
            db.set_with(format!("key:{number}"), [b'v'; 10], SetOptions::new().ttl(minute)).unwrap();
        }
        let keyspace = &engine.inner.keyspace;
        let bytes = keyspace.evictor.bytes();
        assert!(bytes > 0, "{policy} files keys");
        keyspace.evictor.work(keyspace);
        assert_eq!(keyspace.evictor.bytes(), bytes, "{policy}");
    }
}

#[test]
fn what_is_used_while_a_snapshot_is_written_is_no_older_than_that() {
    const CLOCK: u32 = 1 << 30;
    for policy in evicting() {
        let engine = engine(policy, SMALL);
        let keyspace = &engine.inner.keyspace;
        let stamps = keyspace.stamps();
        let [earlier, later] =
            [stamps.clock.wrapping_sub(4), stamps.clock + 4].map(|clock| clock & (u32::MAX >> 1));
        if let Some(idle_ms) = stamps.idle_ms(later) {
            assert_eq!(idle_ms, 0, "{policy}");
            assert_eq!(stamps.at_clock(later, CLOCK) % (1 << 29), CLOCK % (1 << 29), "{policy}");
            assert!(stamps.idle_ms(earlier) > Some(0), "{policy}");
        }
    }
}
