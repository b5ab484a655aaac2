//! What comes back, what older servers wrote, and what damaged payloads come to.

use crate::commands::testing::{ask, engine, execute, run};
use crate::rdb::payload_of;
use crate::{Form, Session};

/// Lines that make a key `k` of each type and encoding.
const VALUES: &[&[&str]] = &[
    &["SET k text"],
    &["SET k -70000"],
    &["SET k 12345678901"],
    &["HSET k f 1 g text"],
    &["HSET k f 1", "HPEXPIRE k 5000 FIELDS 1 f", "HSET k g 2"],
    &["RPUSH k a 1 300 b"],
    &["RPUSH k a 1 300 b", "CONFIG SET list-max-listpack-size 2", "RPUSH k c d e"],
    &["SADD k 1 70000 -5"],
    &["SADD k 1 a b"],
    &["ZADD k 1.5 a 2 b -inf c"],
    // A listpack knows no negative zero, so it matters that this never was one.
    &["ZADD k -0 a 5 a-member-that-is-too-long-for-a-listpack-as-it-has-more-bytes-than-sixty-four"],
    &["XADD k 5-1 a 1 b 2", "XADD k 6-1 a 1 b 2", "XADD k 7-0 c d", "XDEL k 6-1"],
    &[
        "XADD k 5-1 a 1",
        "XADD k 6-1 a 2",
        "XGROUP CREATE k g 0",
        "XREADGROUP GROUP g one COUNT 1 STREAMS k >",
        "XREADGROUP GROUP g two COUNT 1 STREAMS k >",
        "XGROUP CREATE k h $",
    ],
];

fn session() -> Session {
    let engine = engine("");
    engine.session(Form::Resp)
}

fn dump(session: &mut Session) -> Vec<u8> {
    let reply = session.execute(&[b"DUMP", b"k"]);
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a reply has lines") + 1;
    assert_eq!(reply[0], b'$', "{reply:?}");
    reply[start..reply.len() - 2].to_vec()
}

fn restore(session: &mut Session, payload: &[u8]) -> String {
    execute(session, &[b"RESTORE", b"k", b"0", payload, b"REPLACE"])
}

/// All that can be read of the key.
fn told(session: &mut Session) -> String {
    let value = match &ask(session, "TYPE k")[..] {
        "+string" => ask(session, "GET k"),
        "+hash" => {
            let deadlines = ask(session, "HPEXPIRETIME k FIELDS 2 f g");
            let all = ask(session, "HGETALL k");
            let mut fields: Vec<&str> = all.split(' ').collect();
            fields.sort_unstable();
            format!("{deadlines} {fields:?}")
        }
        "+list" => ask(session, "LRANGE k 0 -1"),
        "+set" => {
            let all = ask(session, "SMEMBERS k");
            let mut members: Vec<&str> = all.split(' ').collect();
            members.sort_unstable();
            format!("{members:?}")
        }
        "+zset" => ask(session, "ZRANGE k 0 -1 WITHSCORES"),
        "+stream" => {
            let lines = [
                "XRANGE k - +",
                "XINFO GROUPS k",
                "XPENDING k g",
                "XPENDING k g - + 9",
                "XINFO CONSUMERS k g",
            ];
            lines.map(|line| ask(session, line)).join(" ")
        }
        other => panic!("{other}"),
    };
    format!("{} {value}", ask(session, "OBJECT ENCODING k"))
}

/// A session in which the lines were run, with small collections in their entries or large ones in tables.
fn made(lines: &[&str], is_large: bool) -> Session {
    let mut session = session();
    if is_large {
        run(
            &mut session,
            "CONFIG SET hash-max-listpack-entries 0 set-max-listpack-entries 0 zset-max-listpack-entries 0 set-max-intset-entries 0",
        );
    }
    for line in lines {
        let reply = ask(&mut session, line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    session
}

#[test]
fn what_is_dumped_comes_back() {
    for lines in VALUES {
        for is_large in [false, true] {
            let mut session = made(lines, is_large);
            let (before, payload) = (told(&mut session), dump(&mut session));
            for compression in ["yes", "no"] {
                run(&mut session, &format!("CONFIG SET rdbcompression {compression}"));
                run(&mut session, "DEL k");
                assert_eq!(restore(&mut session, &payload), "+OK\r\n", "{lines:?}");
                assert_eq!(told(&mut session), before, "{lines:?}");
            }
        }
    }
}

#[test]
fn long_strings_and_large_collections_come_back() {
    let mut session = session();
    let text = "some text of some words, ".repeat(100_000);
    session.execute(&[b"SET", b"k", text.as_bytes()]);
    let payload = dump(&mut session);
    assert!(payload.len() < text.len() / 50, "{}", payload.len());
    assert_eq!(restore(&mut session, &payload), "+OK\r\n");
    assert!(session.execute(&[b"GET", b"k"]).windows(text.len()).any(|part| part == text.as_bytes()));
    for add in ["RPUSH k", "SADD k", "ZADD k 5", "HSET k f", "XADD k *  f"] {
        run(&mut session, "DEL k");
        for at in 0..3_000 {
            let unique = at.to_string().repeat(20);
            let words: Vec<&[u8]> = add.split_whitespace().map(str::as_bytes).collect();
            let (field, words) = (format!("f{at}"), [&words[..], &[unique.as_bytes()]].concat());
            let words: Vec<&[u8]> =
                words.iter().map(|word| if *word == b"f" { field.as_bytes() } else { word }).collect();
            session.execute(&words);
        }
        let (before, payload) = (told(&mut session), dump(&mut session));
        run(&mut session, "DEL k");
        assert_eq!(restore(&mut session, &payload), "+OK\r\n", "{add}");
        assert!(told(&mut session) == before, "{add}");
    }
}

/// Values as servers before 9.1 wrote them, and what they are.
const OLDER: &[(&[u8], &str)] = &[
    (b"\x01\x02\x01f\xc0\x01", "$8 listpack *2 $1 f $1 1"),
    (b"\x03\x02\x01a\x031.5\x01b\xfe", "$8 listpack *4 $1 a $3 1.5 $1 b $3 inf"),
    (b"\x09\x0d\x01\x01f\x05\x02world..\xff", "$8 listpack *2 :-1 :-2"),
    (b"\x0a\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\x01a\x03\xf2\xff", "$8 listpack *2 $1 a $1 1"),
    (b"\x0c\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\x01a\x03\xf3\xff", "$8 listpack *2 $1 a $1 2"),
    (
        b"\x0d\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\x01f\x03\xf3\xff",
        "$8 listpack *2 :-1 :-2 [\"$1\", \"$1\", \"*2\", \"2\", \"f\"]",
    ),
    (b"\x0e\x01\x10\x10\0\0\0\x0c\0\0\0\x02\0\0\x01a\x03\xf2\xff", "$8 listpack *2 $1 a $1 1"),
];

#[test]
fn values_of_older_servers_are_read() {
    for (value, expected) in OLDER {
        let mut session = session();
        assert_eq!(restore(&mut session, &payload_of(value)), "+OK\r\n", "{value:?}");
        let told = told(&mut session);
        assert!(told.starts_with(expected), "{value:?}: {told}");
    }
}

#[test]
fn damaged_payloads_are_errors_or_values_and_never_half_of_one() {
    let mut values: Vec<Vec<u8>> = OLDER.iter().map(|(value, _)| value.to_vec()).collect();
    for lines in VALUES {
        for is_large in [false, true] {
            let payload = dump(&mut made(lines, is_large));
            values.push(payload[..payload.len() - 10].to_vec());
        }
    }
    let mut session = session();
    let mut try_it = |value: &[u8]| {
        run(&mut session, "DEL k");
        let reply = restore(&mut session, &payload_of(value));
        if reply == "+OK\r\n" {
            told(&mut session);
            dump(&mut session);
        } else {
            assert_eq!(reply, "-ERR Bad data format\r\n", "{value:?}");
            assert_eq!(ask(&mut session, "EXISTS k"), ":0");
        }
    };
    for value in values {
        for len in 0..value.len() {
            try_it(&value[..len]);
        }
        for at in 0..value.len() {
            for other in [
                0,
                1,
                2,
                0x3f,
                0x40,
                0x7f,
                0x80,
                0x81,
                0xc3,
                0xf0,
                0xff,
                value[at] ^ 1,
                value[at].wrapping_add(1),
            ] {
                let mut damaged = value.clone();
                damaged[at] = other;
                try_it(&damaged);
            }
        }
    }
}

#[test]
fn lengths_that_nothing_has_allocate_nothing() {
    let mut session = session();
    for value in [
        // A string, a compressed one, a list, a hash, a set and a sorted set of 2^62 elements, and a stream of as many nodes.
        &b"\x00\x81\x40\0\0\0\0\0\0\0a"[..],
        b"\x00\xc3\x03\x81\x40\0\0\0\0\0\0\0abc",
        b"\x01\x81\x40\0\0\0\0\0\0\0\x01a",
        b"\x04\x81\x40\0\0\0\0\0\0\0\x01a\x01b",
        b"\x02\x81\x40\0\0\0\0\0\0\0\x01a",
        b"\x05\x81\x40\0\0\0\0\0\0\0\x01a",
        b"\x15\x81\x40\0\0\0\0\0\0\0",
    ] {
        assert_eq!(restore(&mut session, &payload_of(value)), "-ERR Bad data format\r\n", "{value:?}");
    }
}

#[test]
fn a_few_bytes_do_not_stand_for_a_string_that_is_too_long() {
    let mut session = session();
    // One letter, and so often 264 more of it.
    let string = |copies: usize| {
        let packed = [&b"\0a"[..], &b"\xe0\xff\0".repeat(copies)].concat();
        let lengths =
            [packed.len(), 1 + 264 * copies].map(|len| [&[0x80][..], &(len as u32).to_be_bytes()].concat());
        payload_of(&[&b"\0\xc3"[..], &lengths[0], &lengths[1], &packed].concat())
    };
    run(&mut session, "CONFIG SET proto-max-bulk-len 1mb");
    assert_eq!(restore(&mut session, &string(1000)), "+OK\r\n");
    assert_eq!(ask(&mut session, "STRLEN k"), ":264001");
    assert_eq!(restore(&mut session, &string(4000)), "-ERR Bad data format\r\n");
}
