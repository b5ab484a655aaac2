//! Lists that are waited for: nothing that is popped for a waiter is lost with it, and every element goes to one who takes it, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn waits(engine: &Engine, line: &str) -> Session {
    let mut session = engine.session(Form::Resp);
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    assert_eq!(session.begin(&argv), Outcome::Blocked, "{line}");
    session
}

#[test]
fn what_was_popped_for_who_has_gone_is_put_back_where_it_was() {
    for (command, left) in [
        ("BLPOP k 0", "*3 $1 1 $1 2 $1 3"),
        ("BRPOP k 0", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k LEFT COUNT 2", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k RIGHT COUNT 2", "*3 $1 1 $1 2 $1 3"),
        ("BLMPOP 0 1 k RIGHT COUNT 9", "*3 $1 1 $1 2 $1 3"),
        // This one has arrived somewhere else.
        ("BLMOVE k j LEFT RIGHT 0", "*2 $1 2 $1 3"),
    ] {
        for is_dropped in [false, true] {
            let engine = engine();
            let mut host = engine.session(Form::Resp);
            let mut waiting = waits(&engine, command);
            assert_eq!(execute(&mut host, "RPUSH k 1 2 3"), ":3");
            if is_dropped {
                drop(waiting);
            } else {
                assert!(!waiting.cancel(), "it was served");
                waiting.abandon();
                assert!(!waiting.is_blocked());
                assert_eq!(execute(&mut waiting, "PING"), "+PONG", "and goes on");
            }
            assert_eq!(execute(&mut host, "LRANGE k 0 -1"), left, "{command}");
            assert_eq!(queues(&engine), (0, false));
        }
    }
}

#[test]
fn what_is_put_back_goes_to_the_next_who_waits() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let gone = waits(&engine, "BLPOP k 0");
    let mut next = waits(&engine, "BLPOP j k 0");
    assert_eq!(execute(&mut host, "RPUSH k 1"), ":1");
    assert!(!next.try_take());
    drop(gone);
    assert_eq!(taken(&mut next), "*2 $1 k $1 1");
    assert_eq!(execute(&mut host, "EXISTS k"), ":0");
    // And to nobody if the key is something else by then: that is all that is lost.
    let gone = waits(&engine, "BLPOP k 0");
    execute(&mut host, "RPUSH k 1");
    execute(&mut host, "SET k v");
    drop(gone);
    assert_eq!(execute(&mut host, "GET k"), "$1 v");
}

#[test]
fn the_log_has_what_is_put_back() {
    let engine = engine();
    let ear = std::sync::Arc::new(Ear::default());
    engine.set_journal(Some(ear.clone()));
    let mut host = engine.session(Form::Resp);
    let gone = waits(&engine, "BLMPOP 0 1 k RIGHT COUNT 2");
    execute(&mut host, "RPUSH k 1 2 3");
    drop(gone);
    assert_eq!(*ear.heard.lock(), ["RPUSH k 1 2 3", "RPOP k 2", "RPUSH k 2 3"]);
    ear.heard.lock().clear();
    let mut one = waits(&engine, "BLMOVE j l LEFT RIGHT 0");
    let mut two = waits(&engine, "BRPOPLPUSH l m 0");
    execute(&mut host, "LPUSH j x");
    assert_eq!((taken(&mut one), taken(&mut two)), ("$1 x".into(), "$1 x".into()));
    assert_eq!(*ear.heard.lock(), ["LPUSH j x", "LMOVE j l LEFT RIGHT", "RPOPLPUSH l m"]);
}

#[test]
fn another_type_is_waited_past_and_an_error_where_it_is_met() {
    let engine = engine();
    let mut host = engine.session(Form::Resp);
    let mut waiting = waits(&engine, "BLPOP s k 0");
    execute(&mut host, "SET s v");
    assert!(!waiting.try_take());
    execute(&mut host, "RPUSH k a");
    assert!(taken(&mut waiting).starts_with("-WRONGTYPE"));
    assert_eq!(execute(&mut host, "LRANGE k 0 -1"), "*1 $1 a");
    execute(&mut host, "DEL k");
    let mut waiting = waits(&engine, "BLMOVE k s LEFT LEFT 0");
    execute(&mut host, "RPUSH k a");
    assert!(taken(&mut waiting).starts_with("-WRONGTYPE"));
    assert_eq!(execute(&mut host, "LRANGE k 0 -1"), "*1 $1 a");
}

#[test]
fn fractions_of_seconds_are_waited_for() {
    let engine = engine();
    let mut waiting = waits(&engine, "BLPOP k 0.25");
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(250)));
    engine.advance(Duration::from_millis(250));
    assert_eq!(taken(&mut waiting), "*-1");
    let waiting = waits(&engine, "BLMOVE k j LEFT LEFT 0.0001");
    assert_eq!(waiting.time_left(), Some(Duration::from_millis(1)));
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

const KEYS: [&str; 3] = ["one", "two", "three"];

/// Elements that were taken, by key, each with the time at which it was pushed and by whom.
type Taken = Mutex<BTreeMap<String, Vec<String>>>;

/// What a reply of BLPOP, BRPOP or BLMPOP gave.
fn note(reply: &str, all: &Taken) -> usize {
    let words: Vec<&str> = reply.split("\r\n").collect();
    let Some(key) = words.get(2).filter(|_| words[0] == "*2") else { return 0 };
    let elements: Vec<String> =
        words[3..].iter().filter(|word| word.contains(':')).map(|word| (*word).to_owned()).collect();
    let count = elements.len();
    all.lock().entry((*key).to_owned()).or_default().extend(elements);
    count
}

/// Pushers, takers, cancellers, and clients that die while they wait, or when their reply has come: every element that is pushed is taken exactly once.
/// `KEYSTEAD_STRESS_ROUNDS` says how many rounds, `KEYSTEAD_STRESS_SEED` where the numbers begin.
#[test]
fn every_element_that_is_pushed_is_popped_exactly_once() {
    const PUSHERS: usize = 2;
    const TAKERS: usize = 4;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("KEYSTEAD_STRESS_ROUNDS").unwrap_or(if cfg!(miri) { 1 } else { 3 });
    let seed = number("KEYSTEAD_STRESS_SEED").unwrap_or(1);
    let each = if cfg!(miri) { 8 } else { 400 };
    for round in 0..rounds {
        let engine = Engine::new();
        let (taken, left) = (Taken::default(), AtomicUsize::new(PUSHERS * each));
        std::thread::scope(|scope| {
            for pusher in 0..PUSHERS {
                let engine = &engine;
                let mut random =
                    Random((seed + round * 100 + pusher as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                scope.spawn(move || {
                    let mut session = engine.session(Form::Resp);
                    let mut pushed = 0;
                    while pushed < each {
                        let key = KEYS[random.below(KEYS.len())];
                        let count = (1 + random.below(4)).min(each - pushed);
                        let elements: Vec<String> =
                            (pushed..pushed + count).map(|at| format!("{pusher}:{at}")).collect();
                        let command = match random.below(4) {
                            0 => format!("MULTI\nRPUSH {key} {}\nEXEC", elements.join(" ")),
                            _ => format!("RPUSH {key} {}", elements.join(" ")),
                        };
                        for line in command.split('\n') {
                            assert!(!execute(&mut session, line).starts_with('-'));
                        }
                        pushed += count;
                        if random.below(8) == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            for taker in 0..TAKERS {
                let (engine, taken, left) = (&engine, &taken, &left);
                let mut random =
                    Random((seed + round * 100 + 50 + taker as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                scope.spawn(move || {
                    let mut session = engine.session(Form::Resp);
                    while left.load(Ordering::Relaxed) > 0 {
                        let at = random.below(KEYS.len());
                        let (first, second) = (KEYS[at], KEYS[(at + 1) % KEYS.len()]);
                        let line = match random.below(4) {
                            0 => format!("BLPOP {first} 0.01"),
                            1 => format!("BLPOP {first} {second} 0.005"),
                            2 => format!("BLMPOP 0.01 2 {first} {second} LEFT COUNT 3"),
                            _ => format!("BRPOP {second} {first} 0.003"),
                        };
                        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                        if session.begin(&argv) == Outcome::Blocked {
                            match random.below(6) {
                                // Cancelled at once, or a little later.
                                0 => session.abandon(),
                                1 => {
                                    session.wait(Some(Duration::from_micros(random.below(300) as u64)));
                                    if session.is_blocked() {
                                        session.abandon();
                                    }
                                }
                                // Dies.
                                2 => session = engine.session(Form::Resp),
                                _ => assert!(session.wait(None)),
                            }
                        }
                        let count = note(&String::from_utf8_lossy(session.replies()), taken);
                        session.clear_replies();
                        left.fetch_sub(count, Ordering::Relaxed);
                    }
                });
            }
        });
        let mut all: Vec<String> = taken.lock().values().flatten().cloned().collect();
        assert_eq!(all.len(), PUSHERS * each, "round {round}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), PUSHERS * each, "round {round}");
        assert_eq!(
            (queues(&engine), execute(&mut engine.session(Form::Resp), "DBSIZE")),
            ((0, false), ":0".into())
        );
    }
}

/// With one taker of each key, who neither dies nor is cancelled in vain, the elements of a pusher come in their order.
#[test]
fn elements_of_a_key_come_in_the_order_in_which_they_were_pushed() {
    const PUSHERS: usize = 3;
    let each = if cfg!(miri) { 10 } else { 1000 };
    let engine = Engine::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let takers: Vec<_> = (0..KEYS.len())
            .map(|at| {
                let (engine, is_over) = (&engine, &is_over);
                scope.spawn(move || {
                    let taken = Taken::default();
                    let mut session = engine.session(Form::Resp);
                    let mut random = Random(at as u64 + 7);
                    loop {
                        let was_over = is_over.load(Ordering::Acquire);
                        let line = format!("BLPOP {} 0.01", KEYS[at]);
                        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                        if session.begin(&argv) == Outcome::Blocked {
                            if random.below(3) == 0 {
                                // What was popped meanwhile comes first again.
                                session.abandon();
                            } else {
                                assert!(session.wait(None));
                            }
                        }
                        let count = note(&String::from_utf8_lossy(session.replies()), &taken);
                        session.clear_replies();
                        if was_over
                            && count == 0
                            && !session.is_blocked()
                            && execute(&mut session, &format!("EXISTS {}", KEYS[at])) == ":0"
                        {
                            return std::mem::take(&mut *taken.lock());
                        }
                        session.clear_replies();
                    }
                })
            })
            .collect();
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let engine = &engine;
                scope.spawn(move || {
                    let mut session = engine.session(Form::Resp);
                    for number in 0..each {
                        execute(
                            &mut session,
                            &format!("RPUSH {} {pusher}:{number}", KEYS[number % KEYS.len()]),
                        );
                    }
                })
            })
            .collect();
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        is_over.store(true, Ordering::Release);
        let mut count = 0;
        for taker in takers {
            for elements in taker.join().unwrap().into_values() {
                let mut last = BTreeMap::new();
                for element in &elements {
                    let (pusher, number) = element.split_once(':').unwrap();
                    let number: i64 = number.parse().unwrap();
                    let before = last.insert(pusher.to_owned(), number).unwrap_or(-1);
                    assert!(before < number, "{element} came behind {before}");
                    count += 1;
                }
            }
        }
        assert_eq!(count, PUSHERS * each);
    });
}
