//! Typed methods: conditions, times, ways of reading, batches.

use super::*;
use crate::Clock;

fn database() -> Database {
    Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap().database(0).unwrap()
}

#[test]
fn conditions_and_times_hold() {
    let db = database();
    let minute = Ttl::After(Duration::from_secs(60));
    assert!(!db.set_with("k", "v", SetOptions::new().if_present()).unwrap());
    assert!(db.set_with("k", "v", SetOptions::new().ttl(minute).if_absent()).unwrap());
    assert!(!db.set_with("k", "w", SetOptions::new().if_absent()).unwrap());
    assert!(db.set_with("k", "w", SetOptions::new().keep_ttl().if_present()).unwrap());
    assert_eq!(db.ttl("k").unwrap(), Some(Some(Duration::from_secs(60))));
    assert_eq!(db.get("k").unwrap().unwrap(), b"w");
    db.engine().advance(Duration::from_millis(59_999));
    assert!(db.contains("k").unwrap());
    db.engine().advance(Duration::from_millis(1));
    assert!(!db.contains("k").unwrap() && db.is_empty().unwrap());
}

#[test]
fn what_is_found_without_a_lock_goes_another_way_than_the_rest() {
    let db = database();
    let long = "v".repeat(1000);
    for (key, value) in [("short", "v"), ("long", &long), ("number", "17")] {
        db.set(key, value).unwrap();
    }
    let way = |key: &str| {
        let free = |found: Found<'_>| ("free", Some(found.text.to_vec()));
        let held = |found: Option<Found<'_>>| ("held", found.map(|found| found.text.to_vec()));
        db.get_with_either(key.as_bytes(), free, held)
    };
    assert_eq!(way("short").unwrap(), ("free", Some(b"v".to_vec())));
    assert_eq!(way("long").unwrap(), ("held", Some(long.clone().into_bytes())));
    assert_eq!(way("number").unwrap(), ("held", Some(b"17".to_vec())));
    assert_eq!(way("none").unwrap(), ("held", None));
    db.hset("hash", b"f", b"v").unwrap();
    db.hset("big", b"f", long.as_bytes()).unwrap();
    assert!(way("hash").is_err());
    let length = |key: &str, field: &[u8]| {
        let (free, held) = (
            |found: Option<&[u8]>| ("free", found.map(<[u8]>::len)),
            |found: Option<&[u8]>| ("held", found.map(<[u8]>::len)),
        );
        db.hget_with_either(key.as_bytes(), field, free, held)
    };
    assert_eq!(length("hash", b"f").unwrap(), ("free", Some(1)));
    assert_eq!(length("hash", b"none").unwrap(), ("free", None));
    assert_eq!(length("big", b"f").unwrap(), ("held", Some(1000)));
    assert_eq!(length("none", b"f").unwrap(), ("held", None));
    assert!(length("short", b"f").is_err());
}

#[test]
fn a_buffer_that_is_too_short_learns_the_length() {
    let db = database();
    db.set("k", "hello").unwrap();
    let mut buffer = [0; 3];
    assert_eq!(db.get_into(b"k", &mut buffer).unwrap(), Some(5));
    assert_eq!(&buffer, b"hel");
}

#[test]
fn counters_and_strings_share_their_keys() {
    let db = database();
    assert_eq!(db.incr("n", 5).unwrap(), 5);
    assert_eq!(db.get("n").unwrap().unwrap(), b"5");
    db.set_many(&[("n", "x"), ("m", "1")], Ttl::None).unwrap();
    assert!(db.incr("n", 1).is_err());
    let mut seen = Vec::new();
    let text = |found: Option<Found<'_>>| found.map(|found| found.text.to_vec());
    db.get_many_with(&["m", "none", "n"], |_, found| seen.push(text(found))).unwrap();
    assert_eq!(seen, [Some(b"1".to_vec()), None, Some(b"x".to_vec())]);
    assert!(db.delete("m").unwrap() && !db.delete("m").unwrap());
}

#[test]
fn several_keys_are_counted_and_removed() {
    let db = database();
    // Enough for their memory to be worth fetching.
    let keys: Vec<String> = (0..30_000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        db.set(key, [b'v'; 100]).unwrap();
    }
    assert!(db.inner().keyspace.is_worth_fetching());
    assert_eq!(db.count_existing(&keys).unwrap(), keys.len());
    assert_eq!(db.count_existing(&["key:1", "none", "key:1"]).unwrap(), 2);
    db.prefetch([b"key:2".as_slice(), b"none"]);
    assert_eq!(db.delete_many(&["key:1", "none", "key:1", "key:2"]).unwrap(), 2);
    assert_eq!(db.count_existing(&["key:1", "key:2", "key:3"]).unwrap(), 1);
    assert_eq!(db.delete_many::<&str>(&[]).unwrap(), 0);
    assert_eq!(db.delete_many(&keys).unwrap(), keys.len() - 2);
    assert!(db.is_empty().unwrap());
}

#[test]
fn fields_of_hashes_are_read_and_written() {
    let db = database();
    assert!(db.hset("h", b"f", b"v").unwrap() && !db.hset("h", b"f", b"w").unwrap());
    let field = |name: &[u8]| db.hget_with(b"h", name, |found| found.map(<[u8]>::to_vec)).unwrap();
    assert_eq!((field(b"f").as_deref(), field(b"none")), (Some(b"w".as_slice()), None));
    db.set("s", "v").unwrap();
    assert!(db.hget_with(b"s", b"f", |_| ()).is_err() && db.hset("s", b"f", b"v").is_err());
    let mut session = db.engine().session(crate::Form::Resp);
    session.execute(&[b"HPEXPIRE", b"h", b"100", b"FIELDS", b"1", b"f"]);
    db.engine().advance(Duration::from_millis(100));
    assert_eq!(field(b"f"), None);
}

#[test]
fn keys_fields_and_values_may_be_as_long_as_words() {
    let db = database();
    let mut session = db.engine().session(crate::Form::Resp);
    let long = vec![b'k'; 3 << 20];
    for round in 0..2 {
        assert_eq!(session.execute(&[b"SET", &long, b"v", b"EX", b"100"]), b"+OK\r\n");
        assert_eq!(session.execute(&[b"SET", b"other", b"v"]), b"+OK\r\n");
        assert_eq!(session.execute(&[b"RENAME", b"other", &long]), b"+OK\r\n");
        assert_eq!(session.execute(&[b"APPEND", &long, &long]), b":3145729\r\n");
        assert_eq!(session.execute(&[b"DEL", &long]), b":1\r\n");
        assert!(db.hset(&long, &long, &long).unwrap());
        assert_eq!(db.hget_with(&long, &long, |found| found.map(<[u8]>::len)).unwrap(), Some(long.len()));
        assert_eq!(session.execute(&[b"EXPIRE", &long, b"100"]), b":1\r\n");
        assert_eq!(session.execute(&[b"PERSIST", &long]), b":1\r\n");
        if round == 0 {
            assert!(db.delete(&long).unwrap());
        } else {
            assert_eq!(session.execute(&[b"FLUSHALL"]), b"+OK\r\n");
        }
        assert!(db.is_empty().unwrap());
    }
    assert_eq!(session.execute(&[b"CONFIG", b"SET", b"proto-max-bulk-len", b"1mb"]), b"+OK\r\n");
    let refused = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    for words in [
        &[&b"SET"[..], &long, b"v"][..],
        &[b"SET", b"k", &long],
        &[b"HSET", b"k", &long, b"v"],
        &[b"GET", &long],
    ] {
        assert_eq!(session.execute(words), refused);
    }
    assert!(db.set(&long, "v").is_err());
    assert!(db.set("k", &long).is_err());
    assert!(db.hset("k", &long, b"v").is_err() && db.hset("k", b"f", &long).is_err());
    assert!(db.set_many(&[("a", &b"v"[..]), ("b", &long)], Ttl::None).is_err());
    assert!(db.incr(&long, 1).is_err() && db.is_empty().unwrap());
}

#[test]
fn there_are_sixteen_databases() {
    let engine = Engine::new();
    assert!(engine.database(15).is_ok() && engine.database(16).is_err());
}

/// A log that keeps nothing.
#[cfg(all(target_os = "linux", not(miri)))]
struct Nothing;

#[cfg(all(target_os = "linux", not(miri)))]
impl crate::Journal for Nothing {
    fn append(&self, _: &crate::Group) -> Result<crate::Ticket> {
        Ok(crate::Ticket::default())
    }
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
#[cfg_attr(any(tsan, loom), ignore = "forks a process with threads")]
fn without_memory_for_what_the_log_gets_nothing_changes() {
    use crate::os::{in_fork, limit_address_space};
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        // Its allocator ends a process that has no memory.
        return;
    }
    let db = database();
    db.set("k", "before").unwrap();
    let long = "v".repeat(128 << 20);
    db.engine().set_journal(Some(crate::sync::Arc::new(Nothing)));
    assert!(in_fork(|| {
        // Space for whatever is small; that for the value itself was reserved when the engine was opened.
        let taken: u64 =
            std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
        let is_refused =
            |result: Result<()>| result.is_err_and(|error| error.kind() == crate::ErrorKind::OutOfMemory);
        limit_address_space(taken * 4096 + (32 << 20))
            && is_refused(db.set("k", &long))
            && is_refused(db.set_with("k", &long, SetOptions::new().keep_ttl()).map(drop))
            && is_refused(db.set_many(&[("other", "1"), ("k", &long)], Ttl::None))
            && is_refused(db.hset("hash", b"field", long.as_bytes()).map(drop))
            && db.get("k").unwrap().as_deref() == Some(&b"before"[..])
            && db.len().unwrap() == 1
    }));
}
