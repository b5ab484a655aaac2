//! The journal against replay: repeating the recorded effects on an empty engine gives the same data, whatever the commands were.
//!
//! How effects are kept in a file is the log's business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keystead::{
    Clock, Database, Engine, Form, Group, Item, Journal, Outcome, Session, SetOptions, Ticket, Ttl,
};

const START_MS: u64 = 1_700_000_000_000;
const COMMANDS: usize = 400;
/// Sequences of commands, unless `PROPTEST_CASES` says how many.
const RUNS: u64 = 120;

/// Small numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A command that was logged, and its database.
#[derive(Clone)]
struct Effect {
    db: usize,
    argv: Vec<Vec<u8>>,
}

/// Effects, each with the time at which it happened.
struct Recorder {
    clock: Clock,
    effects: Mutex<Vec<(u64, Effect)>>,
}

impl Recorder {
    fn len(&self) -> usize {
        self.effects.lock().expect("no test panics under it").len()
    }

    fn since(&self, start: usize) -> Vec<(u64, Effect)> {
        self.effects.lock().expect("no test panics under it")[start..].to_vec()
    }
}

impl Journal for Recorder {
    fn append(&self, group: &Group) -> keystead::Result<Ticket> {
        let now = self.clock.now_ms();
        let effects = group.effects().map(|effect| {
            let argv = effect.words().map(<[u8]>::to_vec).collect();
            (now, Effect { db: effect.db, argv })
        });
        self.effects.lock().expect("no test panics under it").extend(effects);
        Ok(Ticket::default())
    }
}

/// Templates: K is a key, B one of bitmaps, P one of HyperLogLogs, X one of streams, I an ID, F a field, V a value, N a small number, T a time to live in ms, S one in seconds,
/// A a deadline in ms,
/// D a database.
const TEMPLATES: &[&str] = &[
    "SET K V",
    "SET K V",
    "SET K V PX T",
    "SET K V EX S",
    "SET K V PXAT A",
    "SET K V NX",
    "SET K V XX KEEPTTL",
    "SET K V GET PX T",
    "SET K V NX GET",
    "SET K V IFEQ V",
    "SET K V IFEQ V PX T",
    "SETEX K S V",
    "PSETEX K T V",
    "SETNX K V",
    "GETSET K V",
    "GET K",
    "GETDEL K",
    "GETEX K PX T",
    "GETEX K PXAT A",
    "GETEX K PERSIST",
    "GETEX K",
    "STRLEN K",
    "APPEND K V",
    "SETRANGE K N V",
    "GETRANGE K 0 N",
    "SETBIT B N 1",
    "SETBIT B N 0",
    "SETBIT K N 1",
    "BITOP OR B B K",
    "BITOP NOT B B",
    "BITOP XOR B B B",
    "BITFIELD B SET u8 N N INCRBY i5 #1 N",
    "BITFIELD B OVERFLOW FAIL INCRBY u2 N N SET u3 N N",
    "BITFIELD K GET u8 0",
    "BITCOUNT B",
    "BITPOS B 1",
    "PFADD P V V",
    "PFADD P",
    "PFADD P N V F",
    "PFCOUNT P",
    "PFCOUNT P P",
    "PFMERGE P P P",
    "PFMERGE P",
    "PFDEBUG TODENSE P",
    "PFDEBUG GETREG P",
    "PEXPIRE P T",
    "COPY P P REPLACE",
    "SET P V",
    "DEL P",
    "INCR K",
    "DECR K",
    "INCRBY K N",
    "INCRBYFLOAT K 0.1",
    "MSET K V K V",
    "MSETNX K V K V",
    "MSETEX 2 K V K V",
    "MSETEX 2 K V K V PX T",
    "MSETEX 2 K V K V XX EX S",
    "MSETEX 1 K V NX PXAT A",
    "MSETEX 2 K V K V PXAT 1",
    "MSETEX 2 K V K V KEEPTTL",
    "MGET K K",
    "DELIFEQ K V",
    "DEL K K",
    "UNLINK K",
    "EXISTS K K",
    "TOUCH K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "COPY K K REPLACE",
    "COPY K K DB D REPLACE",
    "MOVE K D",
    "SELECT D",
    "SWAPDB D D",
    "RANDOMKEY",
    "KEYS *",
    "SCAN 0 COUNT 100",
    "DBSIZE",
    "TYPE K",
    "EXPIRE K S",
    "EXPIRE K S NX",
    "EXPIRE K S GT",
    "PEXPIRE K T",
    "PEXPIRE K T LT",
    "PEXPIREAT K A",
    "PEXPIREAT K A XX",
    "EXPIRE K -1",
    "PERSIST K",
    "TTL K",
    "OBJECT ENCODING K",
    "HSET H F V F V",
    "HSET H F V",
    "HMSET H F V",
    "HSETNX H F V",
    "HDEL H F F",
    "HGET H F",
    "HGETALL H",
    "HINCRBY H F N",
    "HINCRBYFLOAT H F 0.5",
    "HLEN H",
    "HRANDFIELD H 2",
    "HSCAN H 0",
    "HSETEX H PX T FIELDS 2 F V F V",
    "HSETEX H EX S FIELDS 1 F V",
    "HSETEX H PXAT A FIELDS 1 F V",
    "HSETEX H FXX KEEPTTL FIELDS 1 F V",
    "HSETEX H FNX FIELDS 1 F V",
    "HSETEX H FIELDS 1 F V",
    "HGETEX H PX T FIELDS 2 F F",
    "HGETEX H PERSIST FIELDS 2 F F",
    "HGETEX H PXAT A FIELDS 1 F",
    "HGETEX H EX 0 FIELDS 2 F F",
    "HSETEX H EX 0 FIELDS 2 F V F V",
    "HSETEX FIELDS 2 F V F V",
    "HGETEX FIELDS 2 F F",
    "HGETDEL H FIELDS 2 F F",
    "HPEXPIRE H T FIELDS 2 F F",
    "HEXPIRE H S FIELDS 1 F",
    "HPEXPIRE H T NX FIELDS 2 F F",
    "HPEXPIRE H T GT FIELDS 1 F",
    "HPEXPIREAT H A FIELDS 2 F F",
    "HPEXPIRE H 0 FIELDS 1 F",
    "HPERSIST H FIELDS 2 F F",
    "HPTTL H FIELDS 1 F",
    "RPUSH L V",
    "RPUSH L V V V",
    "LPUSH L V N",
    "LPUSHX L V",
    "RPUSHX L V",
    "LPOP L",
    "RPOP L",
    "LPOP L 2",
    "RPOP L N",
    "LSET L N V",
    "LINSERT L BEFORE N V",
    "LINSERT L AFTER V V",
    "LREM L 0 N",
    "LREM L 1 V",
    "LTRIM L 0 N",
    "LTRIM L 1 -1",
    "LMOVE L L LEFT RIGHT",
    "LMOVE L L RIGHT RIGHT",
    "RPOPLPUSH L L",
    "LMPOP 2 L L LEFT COUNT 2",
    "LMPOP 1 L RIGHT",
    "BLPOP L L 0.001",
    "BRPOP L 0.001",
    "BLMOVE L L LEFT RIGHT 0.001",
    "BRPOPLPUSH L L 0.001",
    "BLMPOP 0.001 2 L L RIGHT COUNT 2",
    "LRANGE L 0 -1",
    "DEL L",
    "RENAME L L",
    "COPY L L REPLACE",
    "MOVE L D",
    "PEXPIRE L T",
    "SET L V",
    "SADD U V",
    "SADD U V V V",
    "SADD U N N",
    "SREM U V N",
    "SMOVE U U V",
    "SMOVE U U N",
    "SPOP U",
    "SPOP U 2",
    "SPOP U 100",
    "SPOP U 0",
    "SRANDMEMBER U 2",
    "SINTERSTORE U U U",
    "SUNIONSTORE U U U",
    "SDIFFSTORE U U U",
    "SDIFFSTORE U U U U U",
    "SUNIONSTORE K U",
    "SINTER U U",
    "SMEMBERS U",
    "SSCAN U 0",
    "XADD X I F V F V",
    "XADD X I F V",
    "XADD X * F V",
    "XADD X N-* F V",
    "XADD X NOMKSTREAM MAXLEN N * F V",
    "XADD X MAXLEN ~ 3 I F V",
    "XADD X MAXLEN ~ 3 LIMIT 2 * F V",
    "XADD X MINID N I F V",
    "XADD X MINID ~ N * F V",
    "XDEL X I I",
    "XTRIM X MAXLEN 3",
    "XTRIM X MAXLEN ~ 3",
    "XTRIM X MINID N",
    "XTRIM X MINID ~ I",
    "XSETID X I",
    "XSETID X 30 ENTRIESADDED 100 MAXDELETEDID I",
    "XGROUP CREATE X F I MKSTREAM",
    "XGROUP CREATE X F $ ENTRIESREAD N",
    "XGROUP SETID X F I",
    "XGROUP SETID X F I ENTRIESREAD N",
    "XGROUP DESTROY X F",
    "XGROUP CREATECONSUMER X F V",
    "XGROUP DELCONSUMER X F N",
    "XREADGROUP GROUP F N COUNT 2 STREAMS X >",
    "XREADGROUP GROUP F N STREAMS X >",
    "XREADGROUP GROUP F N NOACK STREAMS X >",
    "XREADGROUP GROUP F N STREAMS X X > 0",
    "XREADGROUP GROUP F N BLOCK 5 STREAMS X X > >",
    "XREAD BLOCK 5 COUNT 2 STREAMS X $",
    "XACK X F I I",
    "XCLAIM X F N 0 I I",
    "XCLAIM X F N 0 I FORCE JUSTID LASTID I",
    "XCLAIM X F N 50 I I TIME 5 RETRYCOUNT N",
    "XAUTOCLAIM X F N 0 0 COUNT 2",
    "XAUTOCLAIM X F N 50 I JUSTID",
    "XRANGE X - +",
    "DEL X",
    "RENAME X X",
    "COPY X X REPLACE",
    "COPY X X DB D",
    "MOVE X D",
    "PEXPIRE X T",
    "SET X V",
    "ZADD Z N F N F",
    "ZADD Z N V 1.5 V 0.25 F",
    "ZADD Z NX CH N F",
    "ZADD Z GT INCR N F",
    "ZADD Z XX 3 F",
    "ZINCRBY Z 0.1 F",
    "ZREM Z F V",
    "ZPOPMIN Z",
    "ZPOPMAX Z 2",
    "ZMPOP 2 Z Z MIN COUNT 2",
    "BZPOPMIN Z Z 0.001",
    "BZPOPMAX Z 0.001",
    "BZMPOP 0.001 2 Z Z MAX",
    "ZREMRANGEBYRANK Z 1 2",
    "ZREMRANGEBYSCORE Z 3 5",
    "ZREMRANGEBYLEX Z [field:1 [field:2",
    "ZRANGESTORE Z Z 0 3",
    "ZRANGESTORE Z Z 2 9 BYSCORE",
    "ZUNIONSTORE Z 2 Z U",
    "ZINTERSTORE Z 2 Z Z WEIGHTS 0.1 3",
    "ZDIFFSTORE Z 2 Z Z",
    "ZUNIONSTORE K 1 Z",
    "GEOADD Z N N F",
    "GEOADD Z CH N 1.5 V N 2.5 F",
    "GEOSEARCHSTORE Z Z FROMLONLAT 1 1 BYRADIUS 1000 km",
    "GEORADIUS Z 5 5 2000 km STOREDIST Z",
    "GEORADIUSBYMEMBER Z F 500 km STORE Z",
    "ZRANDMEMBER Z 2",
    "ZRANGE Z 0 -1",
    "DEL Z",
    "RESTORE K 0 W REPLACE",
    "RESTORE H T W REPLACE IDLETIME 5",
    "RESTORE H A W ABSTTL",
    "RESTORE-ASKING H T W REPLACE",
    "RENAME Z Z",
    "COPY Z Z REPLACE",
    "COPY Z Z DB D",
    "MOVE Z D",
    "PEXPIRE Z T",
    "SET Z V",
    "DEL U",
    "RENAME U U",
    "COPY U U REPLACE",
    "COPY U U DB D",
    "MOVE U D",
    "PEXPIRE U T",
    "SET U V",
    "DEL H",
    "RENAME H H",
    "COPY H H REPLACE",
    "COPY H H DB D",
    "MOVE H D",
    "PEXPIRE H T",
    "PERSIST H",
    "SET H V",
    "RENAME H K",
    "RENAME K H",
    "MULTI",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH K",
    "UNWATCH",
];
/// Rarer, since they leave so little behind.
const RARE: &[&str] = &["FLUSHDB", "FLUSHALL", "HSET big F V", "DEL big"];

fn word(random: &mut Random, word: &str, now: u64) -> String {
    match word {
        "K" => format!("key:{}", random.below(6)),
        "H" => format!("hash:{}", random.below(4)),
        "F" => format!("field:{}", random.below(5)),
        "B" => format!("bits:{}", random.below(3)),
        "P" => format!("log:{}", random.below(3)),
        "L" => format!("list:{}", random.below(3)),
        "U" => format!("set:{}", random.below(4)),
        "Z" => format!("zset:{}", random.below(4)),
        "X" => format!("stream:{}", random.below(3)),
        "I" => format!("{}-{}", random.below(20), random.below(3)),
        "N-*" => format!("{}-*", random.below(20)),
        "V" => match random.below(8) {
            0 => "x".repeat(100),
            1..4 => random.below(100).to_string(),
            other => format!("value {other}"),
        },
        "N" => random.below(20).to_string(),
        "T" => (1 + random.below(400)).to_string(),
        "S" => (1 + random.below(2)).to_string(),
        // Some of them have passed.
        "A" => (now - 50 + random.below(400)).to_string(),
        "D" => random.below(3).to_string(),
        other => other.to_owned(),
    }
}

/// What DUMP of 9.1.2 replies to a string, and to a hash of which a field expires in the year 2030.
fn dumped(random: &mut Random) -> Vec<u8> {
    let (string, hash) = (
        &b"\x00\x05helloP\x00\xacX\x16\xe7\xfbfG\xfe"[..],
        &b"\x16\x02\x01f\xc0\x01\x008\xd3`\xba\x01\x00\x00\x01g\x01x\xff\xff\xff\xff\xff\xff\xff\xffP\x00>\xf3\x85_\x07h\t\xc5"[..],
    );
    [string, hash][random.below(2) as usize].to_vec()
}

fn command(random: &mut Random, now: u64) -> Vec<Vec<u8>> {
    let template = if random.below(60) == 0 { random.of(RARE) } else { random.of(TEMPLATES) };
    let word = |name| if name == "W" { dumped(random) } else { word(random, name, now).into_bytes() };
    template.split(' ').map(word).collect()
}

/// A typed call; those leave effects of their own.
fn call(random: &mut Random, db: &Database) -> &'static str {
    let (key, hash) = (word(random, "K", START_MS), word(random, "H", START_MS));
    let (value, field) = (word(random, "V", START_MS), word(random, "F", START_MS));
    let ttl = Duration::from_millis(1 + random.below(400));
    let choice = random.below(8) as usize;
    // Some calls are refused, for a wrong type say; they must leave no effect then.
    let _ = match choice {
        0 => db.set_with(&key, &value, SetOptions::new().expires_in(ttl)).map(drop),
        1 => db.set_with(&key, &value, SetOptions::new().keep_ttl().if_present()).map(drop),
        2 => db.set_many(&[(&key, &value), (&hash, &field)], Ttl::After(ttl)),
        3 => db.incr(&key, 7).map(drop),
        4 => db.expire(&key, ttl).map(drop),
        5 => db.persist(&key).map(drop),
        6 => db.hset(&hash, field.as_bytes(), value.as_bytes()).map(drop),
        _ => db.delete(&key).map(drop),
    };
    ["set", "set keep", "set_many", "incr", "expire", "persist", "hset", "delete"][choice]
}

fn execute(session: &mut Session, argv: &[Vec<u8>]) -> Vec<u8> {
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    // A command that would wait does nothing: the clock does not move by itself.
    if session.begin(&argv) == Outcome::Blocked {
        session.abandon();
    }
    session.replies().to_vec()
}

fn ask(session: &mut Session, words: &[&[u8]]) -> String {
    let reply = session.execute(words);
    let (item, _) = Item::read(reply).expect("a whole reply");
    format!("{item:?}")
}

fn texts(session: &mut Session, words: &[&[u8]]) -> Vec<Vec<u8>> {
    let (item, _) = Item::read(session.execute(words)).expect("a whole reply");
    let (Item::Array(items) | Item::Map(items)) = item else { panic!("{item:?}") };
    let text = |item: &Item<'_>| match item {
        Item::Bulk(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    items.iter().map(text).collect()
}

/// Everything in the databases: type, deadline, value, deadlines of fields.
fn state(engine: &Engine) -> State {
    let mut all = BTreeMap::new();
    let session = &mut engine.session(Form::Tape);
    for db in 0..3 {
        session.execute(&[b"SELECT", db.to_string().as_bytes()]);
        for key in texts(session, &[b"KEYS", b"*"]) {
            let kind = ask(session, &[b"TYPE", &key]);
            let deadline = ask(session, &[b"PEXPIRETIME", &key]);
            let value = if kind.contains(&format!("{:?}", b"hash")) {
                fields(session, &key)
            } else if kind.contains(&format!("{:?}", b"list")) {
                format!("{:?}", texts(session, &[b"LRANGE", &key, b"0", b"-1"]))
            } else if kind.contains(&format!("{:?}", b"stream")) {
                told_of_stream(session, &key)
            } else if kind.contains(&format!("{:?}", b"zset")) {
                format!("{:?}", texts(session, &[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]))
            } else if kind.contains(&format!("{:?}", b"set")) {
                let mut members = texts(session, &[b"SMEMBERS", &key]);
                members.sort();
                format!("{members:?}")
            } else {
                ask(session, &[b"GET", &key])
            };
            all.insert((db, key), format!("{kind} {deadline} {value}"));
        }
    }
    all
}

/// Entries, groups and what is pending. That a consumer was there, and how often it has looked at what is its own anyway, is in no log, as with the server.
fn told_of_stream(session: &mut Session, key: &[u8]) -> String {
    let mut told = ask(session, &[b"XRANGE", key, b"-", b"+"]);
    let groups = ask(session, &[b"XINFO", b"GROUPS", key]);
    let full = ask(session, &[b"XINFO", b"STREAM", key]);
    // The names of consumers are numbers, and how many there are is left out.
    for name in 0..5 {
        let name = format!("field:{name}");
        told += &ask(session, &[b"XPENDING", key, name.as_bytes()]);
    }
    let consumers = format!("Bulk({:?}), Integer(", b"consumers");
    let without = groups.split(&consumers).map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    format!("{told} {} {full}", without.collect::<String>())
}

fn fields(session: &mut Session, key: &[u8]) -> String {
    let flat = texts(session, &[b"HGETALL", key]);
    let pairs: BTreeMap<&[u8], &[u8]> = flat.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let told = pairs.iter().map(|(field, value)| {
        let deadline = ask(session, &[b"HPEXPIRETIME", key, b"FIELDS", b"1", field]);
        format!("{field:?}={value:?} until {deadline}; ")
    });
    told.collect()
}

fn shown(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

fn engine(clock: &Clock) -> Engine {
    Engine::builder().clock(clock.clone()).open().expect("default options can be honoured")
}

/// Repeats effects on an empty engine, each at the time that `clock_at` makes of its own. None of them may fail.
fn replay(effects: &[(u64, Effect)], end: u64, clock_at: impl Fn(u64) -> u64) -> Engine {
    let clock = Clock::manual(clock_at(START_MS));
    let copy = engine(&clock);
    let session = &mut copy.session(Form::Tape);
    for (time, effect) in effects {
        clock.advance(Duration::from_millis(clock_at(*time) - clock.now_ms()));
        session.execute(&[b"SELECT", effect.db.to_string().as_bytes()]);
        let reply = execute(session, &effect.argv);
        let failed = matches!(Item::read(&reply), Some((Item::Error { .. }, _)));
        assert!(!failed, "{}: {}", shown(&effect.argv), String::from_utf8_lossy(&reply));
    }
    clock.advance(Duration::from_millis(clock_at(end) - clock.now_ms()));
    copy
}

#[test]
fn replayed_effects_give_the_same_data() {
    let runs = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(RUNS);
    (1..=runs).for_each(run);
}

fn run(seed: u64) {
    let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let clock = Clock::manual(START_MS);
    let original = engine(&clock);
    let recorder = Arc::new(Recorder { clock: clock.clone(), effects: Mutex::default() });
    assert!(original.set_journal(Some(recorder.clone())).is_none());
    let mut sessions = [original.session(Form::Tape), original.session(Form::Tape)];
    let mut history = Vec::new();
    for _ in 0..COMMANDS {
        if random.below(4) == 0 {
            let time = Duration::from_millis(random.below(120));
            history.push(format!("advance {time:?}"));
            // Sometimes the reaper comes later than those who look.
            clock.advance(time);
            if random.below(2) == 0 {
                original.reap();
            }
        }
        if random.below(8) == 0 {
            let db = original.database(0).expect("there is a database 0");
            history.push(format!("typed call {}", call(random, &db)));
            continue;
        }
        let who = random.below(2) as usize;
        let argv = command(random, clock.now_ms());
        let before = recorder.len();
        let reply = execute(&mut sessions[who], &argv);
        history.push(format!("{who}> {}   -> {}", shown(&argv), reply.escape_ascii()));
        for (_, effect) in recorder.since(before) {
            history.push(format!("       effect in {}: {}", effect.db, shown(&effect.argv)));
        }
    }
    original.reap();
    let (expected, effects, end) = (state(&original), recorder.since(0), clock.now_ms());
    // A replica repeats the effects as they happen.
    compare("replica", seed, &expected, &state(&replay(&effects, end, |time| time)), &history);
    // Whoever reads a log later must not depend on the clock at all: for him no deadline has passed yet, and what expired was
    // deleted by name.
    compare("log", seed, &expected, &state(&replay(&effects, end, |_| 1)), &history);
}

type State = BTreeMap<(usize, Vec<u8>), String>;

fn compare(reader: &str, seed: u64, expected: &State, copy: &State, history: &[String]) {
    let differing = expected.keys().chain(copy.keys()).find(|key| expected.get(*key) != copy.get(*key));
    if let Some((db, key)) = differing {
        let (name, place) = (String::from_utf8_lossy(key).into_owned(), (*db, key.clone()));
        let (original, copy) = (expected.get(&place), copy.get(&place));
        panic!(
            "{reader}, seed {seed}, {name} of {db}:\n  {original:?}\n  {copy:?}\n{}",
            about(history, &name)
        );
    }
}

/// The part of a history that has to do with keys of this kind.
fn about(history: &[String], key: &str) -> String {
    let kind = key.split(':').next().unwrap_or_default();
    let general = ["FLUSH", "SWAPDB"];
    let told =
        history.iter().filter(|line| line.contains(kind) || general.iter().any(|word| line.contains(word)));
    let lines: Vec<String> = told.map(|line| line.chars().take(140).collect()).collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}
