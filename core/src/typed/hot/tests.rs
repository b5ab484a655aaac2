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
        let open = || Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
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
        "MULTI", "EXEC", "SELECT", "GETX", "HGETALL", "PERSIST", "hget\0\0", "TTL",
    ];
    let name = proptest::sample::select(names.to_vec()).prop_map(|name| name.as_bytes().to_vec());
    (name, proptest::collection::vec(word(), 0..5)).prop_map(|(name, words)| [vec![name], words].concat())
}

proptest! {
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
    let calls: [(&[u8], &[&[u8]]); 9] = [
        (b"SET", &[b"k", b"1"]),
        (b"GET", &[b"k"]),
        (b"INCR", &[b"k"]),
        (b"INCRBY", &[b"k", b"5"]),
        (b"HSET", &[b"h", b"f", b"v"]),
        (b"HGET", &[b"h", b"f"]),
        (b"EXISTS", &[b"k"]),
        (b"EXPIRE", &[b"k", b"100"]),
        (b"DEL", &[b"k"]),
    ];
    for (name, words) in calls {
        let argv = [&[name], words].concat();
        // The first call is timed.
        (0..3).for_each(|_| drop(twins.execute(&argv)));
        assert_eq!((untimed(&twins.short, name), untimed(&twins.long, name)), (2, 0), "{argv:?}");
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
