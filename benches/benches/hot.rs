//! The hot calls of the engine: typed methods and the session, on 100,000 keys of 16 bytes with values of 64.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use keystead::{Database, Engine, Form};
use keystead_benches::{key, uniform};

const KEYS: u64 = 100_000;
const VALUE: [u8; 64] = [b'v'; 64];

fn filled() -> Database {
    let db = Engine::new().database(0).expect("database 0 exists");
    for number in 0..KEYS {
        db.set(key(number), VALUE).expect("there is memory");
    }
    db
}

fn typed(criterion: &mut Criterion) {
    let db = filled();
    let mut group = criterion.benchmark_group("typed");
    let mut buffer = [0; 64];
    group.bench_function("get one key", |bencher| {
        bencher.iter(|| db.get_into(black_box(&key(7)), &mut buffer))
    });
    let mut next = uniform(KEYS);
    group.bench_function("get uniform", |bencher| bencher.iter(|| db.get_into(key(next()), &mut buffer)));
    group.bench_function("get missing", |bencher| {
        bencher.iter(|| db.get_into(key(KEYS + next()), &mut buffer))
    });
    group.bench_function("set uniform", |bencher| bencher.iter(|| db.set(key(next()), VALUE)));
    group.bench_function("incr one key", |bencher| bencher.iter(|| db.incr(b"counter", 1)));
    group.finish();
}

fn session(criterion: &mut Criterion) {
    let db = filled();
    let mut session = db.engine().session(Form::Tape);
    session.execute(&[b"HSET", b"hash", b"field", b"value", b"other", b"value"]);
    let mut group = criterion.benchmark_group("session");
    let mut next = uniform(KEYS);
    group.bench_function("GET uniform", |bencher| {
        bencher.iter(|| session.execute(&[b"GET", &key(next())]).len());
    });
    group.bench_function("SET uniform", |bencher| {
        bencher.iter(|| session.execute(&[b"SET", &key(next()), &VALUE]).len());
    });
    group.bench_function("HGET", |bencher| {
        bencher.iter(|| session.execute(&[b"HGET", b"hash", b"other"]).len())
    });
    group.finish();
}

criterion_group!(benches, typed, session);
criterion_main!(benches);
