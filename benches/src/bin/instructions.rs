//! Repeats one operation, for callgrind to count: `instructions OPERATION COUNT`. The loop and the choice of keys count in. Words come out of
//! `black_box`, or the compiler makes the operation anew for keys of sixteen bytes.
//! What is made of the counts is `cargo xtask bench instructions`'s affair.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use keystead::keyspace::{Event, Group, HashSeed, Journal, Observer, Ticket};
use keystead::{Clock, Database, Engine, Form, Session, SetOptions, Ttl};
use keystead_benches::key;

/// Keys in the database; few, so that filling it costs little beside the counted operations.
const KEYS: usize = 256;
/// Members of the sorted set that is asked for ranks.
const RANKS: u64 = 10_000;
/// Elements of the collections that are popped from: more than are popped.
const MANY: u64 = 20_000;
const VALUE: [u8; 64] = [b'v'; 64];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(operation), Some(Ok(count))) = (args.next(), args.next().map(|count| count.parse::<usize>()))
    else {
        eprintln!("usage: instructions OPERATION COUNT");
        return ExitCode::FAILURE;
    };
    let keys: Vec<[u8; 16]> = (0..KEYS as u64).map(key).collect();
    // A clock that stands still: how slow callgrind is must not decide what is counted.
    let clock = Clock::manual(1_000_000);
    // With a seed of its own, one in some hundred runs has two keys of one bucket and tag, and other ways to go.
    let (operation, folder) = match operation.strip_prefix("logged-") {
        Some(logged) => {
            (logged.to_owned(), Some(tempfile::tempdir().expect("there is a folder for temporary files")))
        }
        None => (operation, None),
    };
    let mut builder = Engine::builder().clock(clock).seed(HashSeed::of(7));
    if let Some(folder) = &folder {
        builder = builder.path(folder.path());
    }
    let engine = builder.open().expect("an engine opens");
    let database = engine.database(0).expect("there is a first database");
    fill(&database, &keys);
    let operation = match operation.strip_prefix("heard-") {
        Some(heard) => {
            engine.set_journal(Some(Arc::new(Listener)));
            engine.observe(Arc::new(Listener));
            heard
        }
        None => &operation,
    };
    let mut turn = (0..count).map(|at| hidden(&keys[at % KEYS]));
    let mut buffer = [0; 256];
    match operation {
        "none" => turn.for_each(|key| {
            black_box(key);
        }),
        "get" => turn.for_each(|key| {
            black_box(database.get_into(key, &mut buffer).expect("a string"));
        }),
        "set" => turn.for_each(|key| {
            database.set(key, hidden(&VALUE)).expect("there is memory");
            black_box(());
        }),
        "insert" => (0..count).for_each(|at| {
            let key = key((KEYS + at) as u64);
            let key = hidden(&key);
            database.set(key, hidden(&VALUE)).expect("there is memory");
            black_box(());
        }),
        "setex" => turn.for_each(|key| {
            let ttl = Ttl::After(Duration::from_secs(3600));
            black_box(
                database.set_with(key, hidden(&VALUE), SetOptions::new().ttl(ttl)).expect("there is memory"),
            );
        }),
        "hset" => turn.for_each(|_| {
            black_box(database.hset(hidden(b"hash"), hidden(b"five"), hidden(b"another")).expect("a hash"));
        }),
        "incr" => turn.for_each(|_| {
            black_box(database.incr(hidden(b"counter"), black_box(1)).expect("an integer"));
        }),
        "hget" => turn.for_each(|_| {
            black_box(
                database
                    .hget_with(hidden(b"hash"), hidden(b"five"), |value| value.map(<[u8]>::len))
                    .expect("a hash"),
            );
        }),
        "mget" => {
            let batch: Vec<&[u8; 16]> = keys.iter().take(16).collect();
            for _ in 0..count / batch.len() {
                let read = database.get_many_with(&batch, |_, found| {
                    black_box(found.map(|found| found.text.len()));
                });
                read.expect("the engine is in this process");
            }
        }
        "session-none" => session(&engine, &mut turn, |session, key| {
            black_box(&[hidden(b"GET"), key]);
            session.replies()
        }),
        "session-get" => session(&engine, &mut turn, |session, key| session.execute(&[hidden(b"GET"), key])),
        "session-set" => session(&engine, &mut turn, |session, key| {
            session.execute(&[hidden(b"SET"), key, hidden(&VALUE)])
        }),
        "session-hget" => {
            session(&engine, &mut turn, |session, _| {
                session.execute(&[hidden(b"HGET"), hidden(b"hash"), hidden(b"five")])
            });
        }
        "session-incr" => {
            session(&engine, &mut turn, |session, _| session.execute(&[hidden(b"INCR"), hidden(b"counter")]))
        }
        "session-lpush" => growing(&engine, count, |session, key, element, _| {
            session.execute(&[hidden(b"LPUSH"), key, element])
        }),
        "session-sadd" => growing(&engine, count, |session, key, element, _| {
            session.execute(&[hidden(b"SADD"), key, element])
        }),
        "session-zadd" => growing(&engine, count, |session, key, element, score| {
            session.execute(&[hidden(b"ZADD"), key, score, element])
        }),
        "session-xadd" => growing(&engine, count, |session, key, element, _| {
            session.execute(&[hidden(b"XADD"), key, hidden(b"*"), hidden(b"field"), element])
        }),
        // What goes through a list of a few elements.
        "session-queue" => {
            let element = key(0);
            session(&engine, &mut turn, |session, _| {
                session.execute(&[hidden(b"LPUSH"), hidden(b"queue"), hidden(&element)]);
                session.execute(&[hidden(b"RPOP"), hidden(b"queue")])
            });
        }
        "session-pop" => {
            let mut filling = engine.session(Form::Resp);
            (0..MANY).for_each(|number| {
                filling.execute(&[b"RPUSH", b"jobs", &key(number)]);
            });
            session(&engine, &mut turn, |session, _| session.execute(&[hidden(b"RPOP"), hidden(b"jobs")]));
        }
        "session-pop-none" => {
            session(&engine, &mut turn, |session, _| session.execute(&[hidden(b"LPOP"), hidden(b"jobs")]));
        }
        "session-zpopmin" => {
            fill_ranks(&engine, MANY);
            session(&engine, &mut turn, |session, _| {
                session.execute(&[hidden(b"ZPOPMIN"), hidden(b"ranks")])
            });
        }
        "session-exec" => {
            session(&engine, &mut turn, |session, key| {
                session.execute(&[hidden(b"MULTI")]);
                for _ in 0..5 {
                    session.execute(&[hidden(b"SET"), key, hidden(&VALUE)]);
                    session.execute(&[hidden(b"INCR"), hidden(b"counter")]);
                }
                session.execute(&[hidden(b"EXEC")])
            });
        }
        "session-zrank" => {
            fill_ranks(&engine, RANKS);
            session(&engine, &mut turn, |session, key| {
                session.execute(&[hidden(b"ZRANK"), hidden(b"ranks"), key])
            });
        }
        "session-zrange" => {
            fill_ranks(&engine, RANKS);
            session(&engine, &mut turn, |session, _| {
                session.execute(&[hidden(b"ZRANGE"), hidden(b"ranks"), hidden(b"1000"), hidden(b"1009")])
            });
        }
        other => {
            eprintln!("no operation {other}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A log and an observer that do as little as they can.
struct Listener;

impl Journal for Listener {
    fn append(&self, group: &Group) -> keystead::Result<Ticket> {
        Ok(Ticket(black_box(group.bytes()).len() as u64))
    }
}

impl Observer for Listener {
    fn modified(&self, db: usize, key: &[u8], client: u64) {
        black_box((db, key, client));
    }

    fn notified(&self, event: &Event<'_>) {
        black_box(event);
    }
}

/// Bytes of which the compiler knows nothing.
fn hidden(bytes: &[u8]) -> &[u8] {
    black_box(bytes)
}

fn fill(database: &Database, keys: &[[u8; 16]]) {
    for key in keys {
        database.set(key, VALUE).expect("there is memory");
    }
    for field in ["one", "two", "three", "four", "five"] {
        database.hset(b"hash", field.as_bytes(), b"a value").expect("a hash");
    }
    let mut session = database.engine().session(Form::Resp);
    for element in keys.iter().take(5) {
        session.execute(&[b"LPUSH", b"queue", element]);
    }
}

fn fill_ranks(engine: &Engine, members: u64) {
    let mut session = engine.session(Form::Resp);
    for number in 0..members {
        session.execute(&[b"ZADD", b"ranks", number.to_string().as_bytes(), &key(number)]);
    }
}

/// Has elements added to collections that grow to ten in turn; what makes the words counts in, and a tenth of what a new key takes.
fn growing(
    engine: &Engine,
    count: usize,
    run: impl for<'s> Fn(&'s mut Session, &[u8], &[u8], &[u8]) -> &'s [u8],
) {
    const EACH: usize = 10;
    let mut session = engine.session(Form::Resp);
    for at in 0..count {
        let (name, element) = (key((KEYS + at / EACH) as u64), key(at as u64));
        let score = key((1000 + at * 7919 % 9000) as u64);
        black_box(run(&mut session, hidden(&name), hidden(&element), hidden(&score[12..])));
    }
}

fn session<'k>(
    engine: &Engine,
    turn: &mut impl Iterator<Item = &'k [u8]>,
    run: impl for<'s> Fn(&'s mut Session, &[u8]) -> &'s [u8],
) {
    let mut session = engine.session(Form::Resp);
    turn.for_each(|key| {
        black_box(run(&mut session, key));
    });
}
