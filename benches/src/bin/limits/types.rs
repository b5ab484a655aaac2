//! Lists, sets, sorted sets and streams: bytes by RSS, what a call through a session takes, and the longest call while one grows to a million elements,
//! or is copied.

use std::hint::black_box;

use keystead::{Engine, Form, Session};
use keystead_benches::{key, uniform};

use crate::{judge_pauses, report, resident, slowest_calls, thread_ns};

/// A key of many elements.
const LARGE: u64 = 100_000;
/// Small keys, and elements of each.
const SMALL: u64 = 1_000;
const EACH: u64 = 10;

/// A session that says what went wrong.
struct Client {
    session: Session,
    // Ends after its session.
    _engine: Engine,
}

impl Client {
    fn new() -> Self {
        let engine = Engine::new();
        Self { session: engine.session(Form::Resp), _engine: engine }
    }

    fn call(&mut self, words: &[&[u8]]) {
        let reply = self.session.execute(words);
        assert!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(reply));
        black_box(reply);
    }
}

/// Elements of 16 bytes, as strings are measured.
fn element(number: u64) -> [u8; 16] {
    key(number)
}

/// What one of each type takes.
pub fn memory(scale: u64) {
    let strings = |number: u64| element(number).to_vec();
    let integers = |number: u64| (1_000_000 + number).to_string().into_bytes();
    bytes("list of 10 strings", 500_000 / scale, 10, 254.0, |_, text| vec![b"RPUSH".to_vec(), text], strings);
    bytes("set of 10 strings", 500_000 / scale, 10, 254.0, |_, text| vec![b"SADD".to_vec(), text], strings);
    bytes("set of 10 integers", 500_000 / scale, 10, 110.0, |_, text| vec![b"SADD".to_vec(), text], integers);
    bytes("sorted set of 10", 500_000 / scale, 10, 297.0, scored, strings);
    bytes(
        "set of 1,000 strings",
        5_000 / scale,
        1_000,
        0.8 * 41_390.0,
        |_, text| vec![b"SADD".to_vec(), text],
        strings,
    );
    bytes(
        "set of 1,000 integers",
        5_000 / scale,
        1_000,
        0.4 * 41_388.0,
        |_, text| vec![b"SADD".to_vec(), text],
        integers,
    );
    bytes("sorted set of 1,000", 5_000 / scale, 1_000, 0.65 * 87_320.0, scored, strings);
    bytes(
        "list of 1,000 strings",
        5_000 / scale,
        1_000,
        18_287.0,
        |_, text| vec![b"RPUSH".to_vec(), text],
        strings,
    );
}

fn scored(number: u64, text: Vec<u8>) -> Vec<Vec<u8>> {
    vec![b"ZADD".to_vec(), number.to_string().into_bytes(), text]
}

/// Bytes by RSS of so many keys of so many elements. `words`: a command and what stands behind the key.
fn bytes(
    name: &str,
    keys: u64,
    elements: u64,
    goal: f64,
    words: impl Fn(u64, Vec<u8>) -> Vec<Vec<u8>>,
    text: impl Fn(u64) -> Vec<u8>,
) {
    let mut client = Client::new();
    let before = resident();
    for number in 0..keys {
        let key = key(number);
        for at in 0..elements {
            let words = words(at, text(at));
            let mut argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            argv.insert(1, &key);
            client.call(&argv);
        }
    }
    report(&format!("{name}: bytes by RSS"), "bytes", (resident() - before) as f64 / keys as f64, goal);
}

/// Nanoseconds of CPU time that a call takes, of so many.
pub fn time(count: u64, mut call: impl FnMut(u64)) -> f64 {
    let start = thread_ns();
    (0..count).for_each(&mut call);
    (thread_ns() - start) as f64 / count as f64
}

pub fn judge_calls(name: &str, goal: f64, figures: &[f64]) {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    report(&format!("{name}, CPU time"), "ns", figures[figures.len() / 2], goal);
}

/// What calls take, through a session, each with words of its own: the median of some rounds. Small keys end empty.
pub fn calls(scale: u64) {
    const ROUNDS: usize = 21;
    let mut client = Client::new();
    let names: Vec<[u8; 16]> = (0..SMALL).map(key).collect();
    let elements: Vec<[u8; 16]> = (0..SMALL * EACH).map(element).collect();
    let scores: Vec<String> = (0..SMALL * EACH).map(|number| (number * 7919 % 10_007).to_string()).collect();
    let mut figures: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let at = |number: u64| (&names[(number % SMALL) as usize], &elements[number as usize]);
        let mut run = |figure: usize, call: &mut dyn FnMut(&mut Client, u64)| {
            figures[figure].push(time(SMALL * EACH, |number| call(&mut client, number)));
            // Popping empties what was pushed to.
            if figure != 0 {
                client.call(&[b"FLUSHALL"]);
            }
        };
        run(0, &mut |client, number| client.call(&[b"LPUSH", at(number).0, at(number).1]));
        run(1, &mut |client, number| client.call(&[b"RPOP", at(number).0]));
        run(2, &mut |client, number| client.call(&[b"SADD", at(number).0, at(number).1]));
        run(3, &mut |client, number| {
            client.call(&[b"ZADD", at(number).0, scores[number as usize].as_bytes(), at(number).1]);
        });
        run(4, &mut |client, number| client.call(&[b"XADD", at(number).0, b"*", b"field", at(number).1]));
    }
    let names =
        ["LPUSH to lists", "RPOP from lists", "SADD to sets", "ZADD to sorted sets", "XADD to streams"];
    for (at, (name, goal)) in names.iter().zip([200.0, 200.0, 300.0, 300.0, 300.0]).enumerate() {
        judge_calls(&format!("{name} of up to {EACH}"), goal, &figures[at]);
    }
    let large = LARGE / scale;
    let mut draw = uniform(large);
    for number in 0..large {
        let score = draw().to_string();
        client.call(&[b"ZADD", b"large", score.as_bytes(), &element(number)]);
    }
    let (mut ranks, mut ranges) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ranks.push(time(large, |_| client.call(&[b"ZRANK", b"large", &element(draw())])));
        ranges.push(time(large, |_| {
            let from = draw();
            client.call(&[
                b"ZRANGE",
                b"large",
                from.to_string().as_bytes(),
                (from + 9).to_string().as_bytes(),
            ]);
        }));
    }
    judge_calls("ZRANK of 100,000 members", 1000.0, &ranks);
    judge_calls("ZRANGE of 10 of 100,000 members", 1000.0, &ranges);
}

/// The longest single call while something grows to a million elements.
pub fn growth(scale: u64) {
    let count = 1_000_000 / scale;
    let scores = |number: u64| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24).to_string();
    pauses("list growth: worst single RPUSH", count, |client, number| {
        client.call(&[b"RPUSH", b"k", &element(number)]);
    });
    pauses("set growth: worst single SADD", count, |client, number| {
        client.call(&[b"SADD", b"k", &element(number)]);
    });
    pauses("sorted set growth: worst single ZADD", count, |client, number| {
        client.call(&[b"ZADD", b"k", scores(number).as_bytes(), &element(number)]);
    });
    pauses("stream growth: worst single XADD", count, |client, number| {
        client.call(&[b"XADD", b"k", b"*", b"field", &element(number)]);
    });
    // What is asked of a million elements, but not of all of them.
    pauses("of a million: worst single call of those O(log n)", 2 * count, |client, number| {
        let element = element(number % count);
        let at = (number % count).to_string();
        let id = format!("{}-0", number % count + 1);
        match number {
            // First they grow, unjudged by this case.
            _ if number < count => {
                client.call(&[b"RPUSH", b"l", &element]);
                client.call(&[b"SADD", b"s", &element]);
                client.call(&[b"ZADD", b"z", at.as_bytes(), &element]);
                client.call(&[b"XADD", b"x", id.as_bytes(), b"f", &element]);
            }
            _ => match number % 8 {
                0 => client.call(&[b"LINDEX", b"l", at.as_bytes()]),
                1 => client.call(&[b"SREM", b"s", &element]),
                2 => client.call(&[b"ZRANK", b"z", &element]),
                3 => client.call(&[b"ZREM", b"z", &element]),
                4 => client.call(&[b"XDEL", b"x", id.as_bytes()]),
                5 => client.call(&[b"XRANGE", b"x", id.as_bytes(), b"+", b"COUNT", b"1"]),
                6 => client.call(&[b"SRANDMEMBER", b"s"]),
                _ => client.call(&[b"LPOP", b"l"]),
            },
        }
    });
}

/// The longest that COPY of a million elements takes, or a change of either of the two afterwards, when they may still share what has not changed; and XINFO STREAM.
pub fn copies(scale: u64) {
    type Call = fn(&mut Client, &[u8], u64);
    let count = 1_000_000 / scale;
    let add: [(&str, Call, Call); 4] = [
        (
            "list",
            |client, key, number| client.call(&[b"RPUSH", key, &element(number)]),
            |client, key, number| {
                client.call(&[b"LSET", key, number.to_string().as_bytes(), &element(number + 1)]);
            },
        ),
        (
            "set",
            |client, key, number| client.call(&[b"SADD", key, &element(number)]),
            |client, key, number| client.call(&[b"SREM", key, &element(number)]),
        ),
        (
            "sorted set",
            |client, key, number| {
                client.call(&[b"ZADD", key, number.to_string().as_bytes(), &element(number)]);
            },
            |client, key, number| client.call(&[b"ZINCRBY", key, b"1000.5", &element(number)]),
        ),
        (
            "stream",
            |client, key, number| {
                client.call(&[b"XADD", key, id(number).as_bytes(), b"field", &element(number)])
            },
            |client, key, number| client.call(&[b"XDEL", key, id(number).as_bytes()]),
        ),
    ];
    for (name, add, change) in add {
        let name = format!("{name} copy: COPY of a million and 20,000 changes after it, worst, CPU time");
        judge_pauses(&name, "copies", || {
            let mut client = Client::new();
            (0..count).for_each(|number| add(&mut client, b"source", number));
            let mut slowest = slowest_calls(1, 1, |_| client.call(&[b"COPY", b"source", b"copy"]));
            let mut draw = uniform(count);
            for _ in 0..10 {
                for key in [b"source", &b"copy"[..]] {
                    slowest.extend(slowest_calls(1_000, 1_000, |_| change(&mut client, key, draw())));
                }
            }
            slowest
        });
    }
    judge_pauses("XINFO STREAM of a million entries, CPU time", "streams", || {
        let mut client = Client::new();
        for number in 0..count {
            client.call(&[b"XADD", b"k", id(number).as_bytes(), b"field", &element(number)]);
        }
        slowest_calls(10, 1, |_| client.call(&[b"XINFO", b"STREAM", b"k"]))
    });
}

fn id(number: u64) -> String {
    format!("{}-0", 1_700_000_000_000 + number)
}

fn pauses(name: &str, count: u64, mut call: impl FnMut(&mut Client, u64)) {
    judge_pauses(&format!("{name}, CPU time"), "growths", || {
        let mut client = Client::new();
        slowest_calls(count, 10_000, |number| call(&mut client, number))
    });
}
