//! Tests of the short cuts: that they leave what the long way leaves, and that listeners hear of either alike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::keyspace::{Event, Group, HashSeed, Journal, Observer, Ticket};
use crate::store::key::SHARDS;
use crate::sync::{Arc, Mutex};
use crate::{Clock, Condition, Database, Engine, Error, Form, SetOptions, Ttl};

/// All that it hears, by key.
#[derive(Default)]
struct Ear(Mutex<BTreeMap<Vec<u8>, Vec<String>>>);

impl Ear {
    fn hear(&self, key: &[u8], what: String) {
        self.0.lock().entry(key.to_vec()).or_default().push(what);
    }

    fn len(&self) -> usize {
        self.0.lock().values().map(Vec::len).sum()
    }
}

impl Observer for Ear {
    fn modified(&self, db: usize, key: &[u8], client: u64) {
        self.hear(key, format!("modified in {db} by {client}"));
    }

    fn notified(&self, event: &Event<'_>) {
        self.hear(event.key, format!("{} of {:?} by {}", event.name, event.class, event.client));
    }
}

impl Journal for Ear {
    fn append(&self, group: &Group) -> Result<Ticket> {
        for effect in group.effects() {
            let words: Vec<&[u8]> = effect.words().collect();
            let told = words.iter().map(|word| word[..word.len().min(30)].escape_ascii().to_string());
            self.hear(words[1], told.collect::<Vec<_>>().join(" "));
        }
        Ok(Ticket::default())
    }
}

fn database(config: &str, short_cuts: bool) -> Database {
    let config = crate::Config::from_text(config.as_bytes()).unwrap();
    let engine = Engine::builder()
        .clock(Clock::manual(1_000_000))
        .config(config)
        .seed(HashSeed::of(7))
        .open()
        .unwrap();
    if !short_cuts {
        engine.inner.keyspace.hooks.take_no_short_cut();
    }
    engine.database(0).unwrap()
}

fn key(number: u64) -> Vec<u8> {
    let mut key = format!("key:{}", number % 300).into_bytes();
    key.resize(key.len() + (number % 7) as usize * 50, b'k');
    key
}

/// A type of collections: its name, the names of commands that add and that take away, and one that reads all.
type Collections = (&'static str, [&'static str; 2], [&'static str; 2], &'static [&'static str]);

const COLLECTIONS: [Collections; 4] = [
    ("list", ["LPUSH", "RPUSH"], ["LPOP", "RPOP"], &["LRANGE", "list", "0", "-1"]),
    ("set", ["SADD", "SADD"], ["SREM", "SREM"], &["SORT", "set", "ALPHA"]),
    ("zset", ["ZADD", "ZADD"], ["ZREM", "ZPOPMIN"], &["ZRANGE", "zset", "0", "-1", "WITHSCORES"]),
    ("stream", ["XADD", "XADD"], ["XDEL", "XDEL"], &["XRANGE", "stream", "-", "+"]),
];

/// Adds to a collection, or takes from it. A few keys hold many elements, of all encodings; others come and go.
fn change_collection(session: &mut crate::Session, draw: u64, number: u64) {
    let (name, adding, removing, _) = COLLECTIONS[draw as usize / 16 % 4];
    let key = format!("{name}:{}", if draw.is_multiple_of(3) { number % 40 } else { number % 3 });
    let element = match draw / 64 % 4 {
        0 => (draw % 300).to_string(),
        1 => format!("member {}", draw % 500),
        2 => "x".repeat(draw as usize % 90),
        _ => (draw as i64 % 7 - 3).to_string(),
    };
    let which = draw as usize / 256 % 2;
    let few = draw / 512 % 5 < if number.is_multiple_of(3) { 1 } else { 2 };
    let words = match (name, few) {
        (_, true) if removing[which].contains("POP") => vec![removing[which], &key],
        ("stream", true) => vec![removing[which], &key, "5-5"],
        (_, true) => vec![removing[which], &key, &element],
        ("stream", false) => vec![adding[which], &key, "*", "field", &element],
        ("zset", false) => {
            vec![adding[which], &key, ["-1.5", "7", "0", "2e3"][draw as usize / 4096 % 4], &element]
        }
        (_, false) => vec![adding[which], &key, &element],
    };
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    session.execute(&words);
}

/// Writes of all kinds, the same for everybody.
fn write(db: &Database) {
    let mut random = 1_u64;
    let mut session = db.engine().session(Form::Resp);
    for round in 0..8_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (draw, number) = (random >> 33, random >> 45);
        let ttl = match draw % 5 {
            0 => Ttl::After(Duration::from_millis(draw % 5_000 + 1)),
            1 => Ttl::Keep,
            _ => Ttl::None,
        };
        let condition = [Condition::Always, Condition::Always, Condition::IfAbsent, Condition::IfPresent]
            [draw as usize / 8 % 4];
        let length = [5, 30, 64, 300, 700, 70_000][draw as usize / 64 % 6] * usize::from(draw % 11 < 9);
        let text = vec![if draw % 3 == 0 { 0xc3 } else { b'v' }; length + draw as usize % 9];
        match draw % 16 {
            0 => drop(db.delete(key(number))),
            1..4 => drop(
                db.set_with(key(number), round.to_string(), SetOptions::new().ttl(ttl).condition(condition))
                    .unwrap(),
            ),
            4..7 => drop(db.incr(key(number), draw as i64)),
            7 => drop(db.engine().advance(Duration::from_millis(draw % 20))),
            8 => drop(db.get(key(number))),
            11..13 => change_collection(&mut session, draw / 16, number),
            // Mostly of one key, so that its hash grows, has fields of many lengths, and becomes a table at last.
            9 | 10 => {
                let name =
                    if draw % 4 == 0 { key(number) } else { format!("hash:{}", draw % 3).into_bytes() };
                let value = vec![b'w'; draw as usize / 7 % 66];
                drop(db.hset(name, (number % (round / 100 + 1)).to_string().as_bytes(), &value));
            }
            _ => {
                db.set_with(key(number), text, SetOptions::new().ttl(ttl).condition(condition)).unwrap();
            }
        }
    }
}

/// All that writes leave behind in a keyspace.
fn traces(db: &Database) -> Vec<String> {
    let keyspace = &db.engine().inner.keyspace;
    let shard = |index| {
        let shard = keyspace.lock(index);
        let deadlines = shard.space(0).map(|space| (space.table.len(), space.with_deadline, space.deadlines));
        let (changes, expired) = (shard.stats.changes.get(), shard.stats.expired.get());
        format!("shard {index}: {deadlines:?}, {changes} changes, {expired} expired, {} bytes", shard.bytes())
    };
    let mut session = db.engine().session(Form::Resp);
    let entry = |number| {
        let key = key(number);
        let name = Key::new(&key, &keyspace.seed);
        let shard = keyspace.lock(name.shard());
        let head = shard.find(0, &name).map(|at| shard.head(at));
        // Notes of reads wait for whoever locks the shard next: compaction too, whose turns differ. Near a limit they do not.
        let is_exact = keyspace.touch_limit() == 1;
        let head = head
            .map(|head| (head.kind(), is_exact.then_some(head.stamp()), head.ascii(), head.has_deadline()));
        drop(shard);
        let reply = |words: &[&[u8]], session: &mut crate::Session| session.execute(words).to_vec();
        let replies = [&b"GET"[..], b"PTTL"].map(|command| reply(&[command, &key], &mut session));
        format!("{head:?} {replies:?}")
    };
    let whole = [format!("{:?} lookups, {} records", keyspace.lookups.sum(), keyspace.evictor.bytes())];
    let shards: Vec<_> = (0..SHARDS).map(shard).collect();
    let hashes = (0..3).map(|number| {
        let reply = db
            .engine()
            .session(Form::Resp)
            .execute(&[b"HGETALL", format!("hash:{number}").as_bytes()])
            .to_vec();
        reply.escape_ascii().to_string()
    });
    let collections = COLLECTIONS
        .iter()
        .flat_map(|(name, _, _, reading)| (0..40).map(move |number| (name, number, reading)));
    let mut session = db.engine().session(Form::Resp);
    let collections = collections.map(|(name, number, reading)| {
        let key = format!("{name}:{number}");
        let words: Vec<&[u8]> =
            reading.iter().map(|word| if word == name { key.as_bytes() } else { word.as_bytes() }).collect();
        let elements = session.execute(&words).escape_ascii().to_string();
        let usage = session.execute(&[b"MEMORY", b"USAGE", key.as_bytes()]).escape_ascii().to_string();
        format!("{key} {elements} {usage}")
    });
    let hashes = hashes.chain(collections);
    whole.into_iter().chain(hashes.collect::<Vec<_>>()).chain(shards).chain((0..300).map(entry)).collect()
}

#[test]
fn short_cuts_leave_what_the_long_way_leaves() {
    for config in
        ["", "maxmemory 1gb\nmaxmemory-policy allkeys-lru", "maxmemory-policy volatile-ttl\nmaxmemory 1gb"]
    {
        let [short, long] = [true, false].map(|short_cuts| {
            let db = database(config, short_cuts);
            write(&db);
            traces(&db)
        });
        for (short, long) in short.iter().zip(&long) {
            assert_eq!(short, long, "{config}");
        }
    }
}

#[test]
fn listeners_hear_of_short_writes_what_they_hear_of_others() {
    let [short, long] = [true, false].map(|short_cuts| {
        let db = database("", short_cuts);
        let (ear, log) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
        db.engine().observe(ear.clone());
        db.engine().set_journal(Some(log.clone()));
        write(&db);
        assert!(ear.len() > 5_000 && log.len() > 3_000);
        let heard = [ear, log].map(|heard| heard.0.lock().clone());
        (traces(&db), heard)
    });
    assert_eq!(short.0, long.0);
    for (short, long) in short.1.iter().zip(&long.1) {
        let differing = short.keys().chain(long.keys()).find(|key| short.get(*key) != long.get(*key));
        if let Some(key) = differing {
            panic!("{}: {:?}\nbut {:?}", key.escape_ascii(), short.get(key), long.get(key));
        }
    }
}

#[test]
fn listeners_come_and_go_at_any_time() {
    let db = database("", true);
    let set = |value: &str| db.set("k", value).unwrap();
    let (ear, log) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
    set("before");
    let observer: Arc<dyn Observer> = ear.clone();
    db.engine().observe(observer.clone());
    assert!(db.engine().set_journal(Some(log.clone())).is_none());
    set("heard");
    assert!(db.engine().set_journal(None).is_some() && db.engine().unobserve(&observer));
    assert!(!db.engine().unobserve(&observer));
    set("after");
    assert_eq!(log.0.lock()[&b"k"[..]], ["SET k heard"]);
    assert_eq!(ear.0.lock()[&b"k"[..]], ["modified in 0 by 0", "set of String by 0"]);
    assert!(db.engine().inner.keyspace.hooks.are_silent());
}

#[test]
fn listeners_hear_whose_change_it_is() {
    for short_cuts in [true, false] {
        let db = database("", short_cuts);
        let ear = Arc::new(Ear::default());
        db.engine().observe(ear.clone());
        let (mut one, mut other) = (db.engine().session(Form::Resp), db.engine().session(Form::Resp));
        assert_eq!((one.id(), other.id()), (1, 2));
        // Twice: to a new key, and to one that is there.
        for round in ["1", "2"] {
            db.set("text", round).unwrap();
            one.execute(&[b"SET", b"text", b"word"]);
            other.execute(&[b"HSET", b"hash", b"field", round.as_bytes()]);
            other.execute(&[b"INCR", b"number"]);
            one.execute(&[b"MULTI"]);
            one.execute(&[b"APPEND", b"text", b"s"]);
            one.execute(&[b"EXEC"]);
        }
        other.execute(&[b"PEXPIRE", b"number", b"1"]);
        db.engine().advance(Duration::from_millis(100));
        let whose = |key: &str| -> Vec<String> {
            let told = ear.0.lock()[key.as_bytes()].clone();
            let modified = told.iter().filter_map(|told| told.strip_prefix("modified in 0 by "));
            modified.map(str::to_owned).collect()
        };
        assert_eq!(whose("text"), ["0", "1", "1", "0", "1", "1"]);
        assert_eq!(
            (whose("hash"), whose("number")),
            (vec!["2".into(); 2], ["2", "2", "2", "0"].map(String::from).to_vec())
        );
        assert_eq!(ear.0.lock()[&b"number"[..]].last().unwrap(), "expired of Expired by 0");
    }
}

/// A log that is full, or breaks when it is waited for.
#[derive(Default)]
struct Broken {
    is_full: AtomicBool,
    fails_to_append: AtomicBool,
    fails_to_wait: AtomicBool,
}

impl Broken {
    fn fail(flag: &AtomicBool, text: &'static str) -> Result<()> {
        if flag.load(Ordering::Relaxed) { Err(Error::command(text)) } else { Ok(()) }
    }
}

impl Journal for Broken {
    fn refusal(&self) -> Option<Error> {
        Broken::fail(&self.is_full, "full").err()
    }

    fn append(&self, _: &Group) -> Result<Ticket> {
        Broken::fail(&self.fails_to_append, "append").map(|()| Ticket(1))
    }

    fn wait(&self, ticket: Ticket) -> Result<()> {
        assert_eq!(ticket, Ticket(1));
        Broken::fail(&self.fails_to_wait, "wait")
    }
}

#[test]
fn what_the_log_cannot_keep_is_an_error_and_what_it_refuses_is_not_done() {
    let db = database("", true);
    let log = Arc::new(Broken::default());
    db.set("k", "old").unwrap();
    db.set("n", "1").unwrap();
    db.engine().set_journal(Some(log.clone()));
    let mut session = db.engine().session(Form::Resp);
    let mut all = |round: i64, error: Option<&str>| {
        let texts = [
            db.set("k", format!("new {round}")).err(),
            db.set(format!("fresh {round}"), "v").err(),
            db.set_with("k", format!("if {round}"), SetOptions::new().if_present()).err(),
            db.incr("n", 1).err(),
            db.hset("h", b"f", round.to_string().as_bytes()).err(),
            db.delete("k").err(),
            db.set_many(&[("k", "old")], Ttl::None).err(),
        ];
        for text in texts {
            assert_eq!(text.map(|text| text.to_string()), error.map(|error| format!("ERR {error}")));
        }
        let reply = session.execute(&[b"SET", b"s", round.to_string().as_bytes()]).to_vec();
        session.execute(&[b"MULTI"]);
        session.execute(&[b"INCR", b"in exec"]);
        let exec = session.execute(&[b"EXEC"]).to_vec();
        (reply, exec)
    };
    assert_eq!(all(1, None), (b"+OK\r\n".to_vec(), b"*1\r\n:1\r\n".to_vec()));
    log.fails_to_wait.store(true, Ordering::Relaxed);
    assert_eq!(all(2, Some("wait")), (b"-ERR wait\r\n".to_vec(), b"-ERR wait\r\n".to_vec()));
    log.fails_to_append.store(true, Ordering::Relaxed);
    assert_eq!(all(3, Some("append")), (b"-ERR append\r\n".to_vec(), b"-ERR append\r\n".to_vec()));
    assert_eq!((db.incr("n", 0).is_err(), db.get("n").unwrap().unwrap()), (true, b"4".to_vec()));
    log.is_full.store(true, Ordering::Relaxed);
    let refused = b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
    assert_eq!(all(4, Some("full")), (b"-ERR full\r\n".to_vec(), refused));
    assert_eq!(db.get("n").unwrap().unwrap(), b"4");
    assert!(db.get("fresh 3").unwrap().is_some() && db.get("fresh 4").unwrap().is_none());
    assert_eq!(session.execute(&[b"GET", b"in exec"]), b"$1\r\n3\r\n");
    assert_eq!(session.execute(&[b"GET", b"s"]), b"$1\r\n3\r\n");
}

#[test]
fn whoever_watches_hears_of_short_writes() {
    let db = database("", true);
    for (before, word) in [(None, "new"), (Some("old"), "new"), (Some("1"), "incr")] {
        db.delete("k").unwrap();
        if let Some(value) = before {
            db.set("k", value).unwrap();
        }
        let mut session = db.engine().session(Form::Resp);
        session.execute(&[b"WATCH", b"k"]);
        if word == "incr" {
            db.incr("k", 1).unwrap();
        } else {
            db.set("k", word).unwrap();
        }
        session.execute(&[b"MULTI"]);
        session.execute(&[b"GET", b"k"]);
        assert_eq!(session.execute(&[b"EXEC"]), b"*-1\r\n", "{before:?} {word}");
    }
}

#[test]
fn entries_in_overflow_buckets_are_overwritten_in_place_too() {
    let db = database("", true);
    for number in 0..20_000 {
        db.incr(format!("counter:{number}"), 1).unwrap();
        db.set(format!("text:{number}"), "old").unwrap();
    }
    let keyspace = &db.engine().inner.keyspace;
    let mut beyond = 0;
    for number in 0..20_000 {
        let names = ["counter", "text"].map(|kind| format!("{kind}:{number}"));
        let [counter, text] = names.each_ref().map(|name| Key::new(name.as_bytes(), &keyspace.seed));
        let is_beyond = |key: Key<'_>| keyspace.shared.prefetch(0, key.hash()).is_none();
        beyond += usize::from(is_beyond(counter)) + usize::from(is_beyond(text));
        assert_eq!(add_in_place(keyspace, 0, counter, 1), Some(2));
        assert!(overwrite_text(keyspace, 0, text, b"new", |_| None));
        assert_eq!(db.get(&names[1]).unwrap().unwrap(), b"new");
    }
    assert!(beyond > 0, "none of so many keys is in an overflow bucket");
}
