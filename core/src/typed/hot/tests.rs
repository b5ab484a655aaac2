//! The short way of sessions against the long one: same replies, same data, same counts.

use proptest::prelude::*;

use super::*;
use crate::{Clock, Engine, Form, Session};

/// Two engines that are given the same commands; the options of the second keep its sessions from the short way.
struct Twins {
    short: Session,
    long: Session,
}

impl Twins {
    fn new(form: Form) -> Self {
        let open = || {
            let engine = Engine::builder().clock(Clock::manual(1_000_000));
            engine.seed(crate::keyspace::HashSeed::of(7)).open().unwrap()
        };
        let (short, long) = (open(), open());
        let mut setup = long.session(Form::Resp);
        assert_eq!(setup.execute(&[b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0"]), b"+OK\r\n");
        assert!(long.inner.measures_all() && !short.inner.measures_all());
        Self { short: short.session(form), long: long.session(form) }
    }

    fn execute(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let reply = self.short.execute(words).to_vec();
        assert_eq!(reply, self.long.execute(words), "{words:?}");
        reply
    }

    fn advance(&self, time: Duration) {
        self.short.engine().advance(time);
        self.long.engine().advance(time);
    }

    /// INFO's counts of calls and errors, and of what was found.
    fn counts(session: &Session) -> Vec<String> {
        let mut asking = session.engine().session(Form::Resp);
        let info = asking.execute(&[b"INFO", b"commandstats", b"errorstats", b"stats", b"keyspace"]).to_vec();
        let info = String::from_utf8(info).unwrap();
        let kept = |line: &&str| {
            ["cmdstat_", "errorstat_", "keyspace_", "db0:", "expired_keys"]
                .iter()
                .any(|start| line.starts_with(start))
                && !["cmdstat_config", "cmdstat_info"].iter().any(|start| line.starts_with(start))
        };
        let without_times = |line: &str| {
            let parts = line.split(',').filter(|part| !part.starts_with("usec"));
            parts.collect::<Vec<_>>().join(",")
        };
        info.lines().filter(kept).map(without_times).collect()
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(Self::counts(&self.short), Self::counts(&self.long));
        }
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let words =
        ["a", "b", "hash", "7", "-3", "9223372036854775807", "text", "EX", "px", "100", "0", "abc", ""];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names = [
        "GET", "get", "SET", "Set", "HGET", "HSET", "INCR", "INCRBY", "DEL", "EXISTS", "EXPIRE", "STRLEN",
        "MULTI", "EXEC", "SELECT", "GETX", "HGETALL", "PERSIST", "hget\0\0", "TTL", "LPUSH", "rpush", "LPOP",
        "RPOP", "SADD", "SREM", "ZADD", "zpopmin", "ZPOPMAX", "XADD", "LRANGE", "SMEMBERS", "ZRANGE",
        "XRANGE", "OBJECT", "DBSIZE",
    ];
    let name = proptest::sample::select(names.to_vec()).prop_map(|name| name.as_bytes().to_vec());
    (name, proptest::collection::vec(word(), 0..5)).prop_map(|(name, words)| [vec![name], words].concat())
}

/// A command on one of a few collections, which grow beyond all limits of packed ones.
fn collection_command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names = [
        "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "SREM", "ZADD", "ZADD", "ZPOPMIN", "ZPOPMAX", "XADD",
        "HSET", "EXPIRE", "DEL",
    ];
    let element = prop_oneof![
        4 => (-2_i64..20).prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        3 => (0_u32..20).prop_map(|number| format!("member {number}")),
        1 => (0_usize..9000).prop_map(|length| "x".repeat(length)),
    ];
    let key = (proptest::sample::select(names.to_vec()), 0_u32..12);
    (key, proptest::collection::vec(element, 2)).prop_map(|((name, number), elements)| {
        // Mostly the key is of the type that the command is of.
        let of = match name {
            _ if number == 0 => "list",
            "SADD" | "SREM" => "set",
            "ZADD" | "ZPOPMIN" | "ZPOPMAX" => "zset",
            "XADD" => "stream",
            "HSET" => "hash",
            _ => ["list", "list", "list", "set", "zset", "stream", "hash"][number as usize % 7],
        };
        let of = if name.ends_with("PUSH") || name.ends_with("POP") { "list" } else { of };
        let key = format!("{of}{}", number % 2);
        let [first, second] = &elements[..] else { unreachable!("there are two") };
        let words: Vec<&str> = match name {
            "LPOP" | "RPOP" | "ZPOPMIN" | "ZPOPMAX" | "DEL" => vec![name, &key],
            "LPUSH" | "RPUSH" | "SADD" | "SREM" => vec![name, &key, first],
            "EXPIRE" => vec![name, &key, "1"],
            "XADD" => vec![name, &key, "*", first, second],
            _ => vec![name, &key, first, second],
        };
        words.into_iter().map(|word| word.as_bytes().to_vec()).collect()
    })
}

proptest! {
    #[test]
    fn collections_become_the_same_without_the_short_way(
        commands in proptest::collection::vec((collection_command(), 0_u64..40), 1..300),
        limits in 0_usize..3,
    ) {
        let mut twins = Twins::new(Form::Resp);
        for options in [
            &[b"list-max-listpack-size".as_slice(), b"-1", b"set-max-listpack-value", b"100"][..],
            &[b"set-max-intset-entries", b"5", b"set-max-listpack-entries", b"7"],
            &[b"zset-max-listpack-entries", b"6", b"list-max-listpack-size", b"3"],
        ].iter().take(limits) {
            set(&mut twins.short, options);
            set(&mut twins.long, options);
        }
        let mut keys = std::collections::BTreeSet::new();
        for (words, time) in commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            twins.execute(&words);
            twins.execute(&[b"OBJECT", b"ENCODING", words[1]]);
            keys.insert(words[1].to_vec());
            if time == 0 {
                twins.advance(Duration::from_millis(70));
            }
        }
        for key in &keys {
            for name in ["LRANGE", "ZRANGE", "XRANGE"] {
                let all: [&[u8]; 2] = if name == "XRANGE" { [b"-", b"+"] } else { [b"0", b"-1"] };
                twins.execute(&[name.as_bytes(), key, all[0], all[1]]);
            }
            twins.execute(&[b"HGETALL", key]);
            twins.execute(&[b"SORT", key, b"ALPHA"]);
            twins.execute(&[b"PTTL", key]);
            twins.execute(&[b"MEMORY", b"USAGE", key, b"SAMPLES", b"0"]);
        }
    }

    #[test]
    fn sessions_answer_as_without_the_short_way(
        commands in proptest::collection::vec((command(), 0_u64..40), 1..60),
        resp in any::<bool>(),
    ) {
        let mut twins = Twins::new(if resp { Form::Resp } else { Form::Tape });
        for (words, time) in commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            twins.execute(&words);
            if time == 0 {
                twins.advance(Duration::from_millis(70));
            }
        }
    }
}

#[test]
fn the_short_way_is_taken() {
    let mut twins = Twins::new(Form::Resp);
    let untimed = |session: &Session, name: &[u8]| {
        let command = crate::commands::table::by_name(name).unwrap().id;
        session.engine().inner.stats.stripe(session.id()).of(command).untimed()
    };
    twins.execute(&[b"XADD", b"x", b"1-1", b"f", b"v"]);
    twins.advance(Duration::from_millis(5));
    let calls: [(&[u8], &[&[u8]]); 19] = [
        (b"SET", &[b"k", b"1"]),
        (b"GET", &[b"k"]),
        (b"INCR", &[b"k"]),
        (b"INCRBY", &[b"k", b"5"]),
        (b"HSET", &[b"h", b"f", b"v"]),
        (b"HGET", &[b"h", b"f"]),
        (b"EXISTS", &[b"k"]),
        (b"EXPIRE", &[b"k", b"100"]),
        (b"DEL", &[b"k"]),
        (b"LPUSH", &[b"l", b"1"]),
        (b"RPUSH", &[b"l", b"text"]),
        (b"LPOP", &[b"l"]),
        (b"RPOP", &[b"l"]),
        (b"SADD", &[b"s", b"m"]),
        (b"SREM", &[b"s", b"m"]),
        (b"ZADD", &[b"z", b"1", b"m"]),
        (b"ZPOPMIN", &[b"z"]),
        (b"ZPOPMAX", &[b"z"]),
        (b"XADD", &[b"x", b"*", b"f", b"v"]),
    ];
    for (name, words) in calls {
        let argv = [&[name], words].concat();
        // The first call of a command is timed.
        let before = untimed(&twins.short, name);
        (0..3).for_each(|_| drop(twins.execute(&argv)));
        let (short, long) = (untimed(&twins.short, name) - before, untimed(&twins.long, name));
        assert!((2..=3).contains(&short) && long == 0, "{argv:?}: {short} {long}");
    }
}

#[test]
fn replies_of_all_lengths_are_written_wherever_values_stand_and_whatever_room_there_is() {
    for form in [Form::Resp, Form::Tape] {
        let mut twins = Twins::new(form);
        // Lengths of keys move values within their words; what is longer than 256 bytes is not read at once.
        for length in (0..270).chain([300, 1000, 70_000]) {
            let (key, value) = (vec![b'k'; length % 20 + 1], vec![b'v'; length]);
            let (by, less) = (length.to_string(), format!("-{length}"));
            let commands: [&[&[u8]]; 6] = [
                &[b"SET", &key, &value],
                &[b"GET", &key],
                &[b"HSET", b"hash", &key, &value],
                &[b"HGET", b"hash", &key],
                &[b"INCRBY", b"sum", by.as_bytes()],
                &[b"INCRBY", b"difference", less.as_bytes()],
            ];
            // Behind each other: the buffer has room for some, and grows for others.
            for argv in commands {
                twins.short.execute_pipelined(argv);
                twins.long.execute_pipelined(argv);
            }
            assert!(twins.short.replies() == twins.long.replies(), "{length}");
        }
    }
}

#[test]
fn what_asks_for_the_long_way_gets_it() {
    let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
    let mut session = engine.session(Form::Resp);
    let mut admin = engine.session(Form::Resp);
    (0..3).for_each(|_| assert_eq!(session.execute(&[b"SET", b"k", b"v"]), b"+OK\r\n"));
    assert_eq!(session.execute(&[b"MULTI"]), b"+OK\r\n");
    assert_eq!(session.execute(&[b"GET", b"k"]), b"+QUEUED\r\n");
    assert_eq!(session.execute(&[b"EXEC"]), b"*1\r\n$1\r\nv\r\n");
    set(&mut admin, &[b"commandlog-reply-larger-than", b"1000"]);
    assert!(engine.inner.measures_all());
    set(&mut admin, &[b"commandlog-reply-larger-than", b"1048576", b"slowlog-log-slower-than", b"0"]);
    admin.execute(&[b"SLOWLOG", b"RESET"]);
    (0..5).for_each(|_| drop(session.execute(&[b"GET", b"k"]).to_vec()));
    let logged = String::from_utf8(admin.execute(&[b"SLOWLOG", b"GET", b"-1"]).to_vec()).unwrap();
    assert_eq!(logged.matches("$3\r\nGET\r\n").count(), 5, "{logged}");
    set(&mut admin, &[b"maxmemory", b"1", b"maxmemory-policy", b"noeviction"]);
    assert!(session.execute(&[b"SET", b"k", b"w"]).starts_with(b"-OOM"));
    assert_eq!(session.execute(&[b"GET", b"k"]), b"$1\r\nv\r\n");
}

fn set(session: &mut Session, options: &[&[u8]]) {
    let words = [&[b"CONFIG".as_slice(), b"SET"], options].concat();
    assert_eq!(session.execute(&words), b"+OK\r\n", "{words:?}");
}
