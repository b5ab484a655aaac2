//! What scripts and transactions take through a session, and whether a million calls leave memory as it was.

use keystead::{Engine, Form, Session};
use keystead_benches::key;

use super::types::{judge_calls, time};
use super::{report, resident};

/// Clients whose calls are limited.
const CLIENTS: u64 = 1_000;
/// Calls of each.
const EACH: u64 = 10;
const ROUNDS: usize = 21;

/// Four calls of a client within forty milliseconds are let through.
const LIMIT: &str = include_str!("../../limit.lua");

fn call(session: &mut Session, argv: &[&[u8]]) {
    let reply = session.execute(argv);
    assert!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(reply));
}

/// Scripts with their key declared and not, and transactions of ten commands.
pub fn scripts(scale: u64) {
    let engine = Engine::new();
    let mut session = engine.session(Form::Resp);
    let digest = session.execute(&[b"SCRIPT", b"LOAD", LIMIT.as_bytes()])[5..45].to_vec();
    let names: Vec<[u8; 16]> = (0..CLIENTS).map(key).collect();
    let times: Vec<String> =
        (0..CLIENTS * EACH).map(|number| (10_000_000 + number / CLIENTS * 10).to_string()).collect();
    let (mut declared, mut undeclared, mut exec) = (Vec::new(), Vec::new(), Vec::new());
    let limit = |session: &mut Session, is_declared: bool, number: u64| {
        let (name, now) = (&names[(number % CLIENTS) as usize], times[number as usize].as_bytes());
        if is_declared {
            call(session, &[b"EVALSHA", &digest, b"1", name, now, b"40", b"4"]);
        } else {
            call(session, &[b"EVALSHA", &digest, b"0", now, b"40", b"4", name]);
        }
    };
    for _ in 0..ROUNDS {
        for (figures, is_declared) in [(&mut declared, true), (&mut undeclared, false)] {
            figures.push(time(CLIENTS * EACH, |number| limit(&mut session, is_declared, number)));
            call(&mut session, &[b"FLUSHALL"]);
        }
        let queue = |session: &mut Session, number: u64| {
            call(session, &[b"MULTI"]);
            for at in 0..10 {
                call(
                    session,
                    &[b"SET", &names[((number + at) % CLIENTS) as usize], times[number as usize].as_bytes()],
                );
            }
        };
        let whole = time(CLIENTS, |number| {
            queue(&mut session, number);
            call(&mut session, &[b"EXEC"]);
        });
        let queueing = time(CLIENTS, |number| {
            queue(&mut session, number);
            call(&mut session, &[b"DISCARD"]);
        });
        exec.push(whole - queueing);
        call(&mut session, &[b"FLUSHALL"]);
    }
    judge_calls("EVALSHA of a sliding-window limit, its key declared", 4000.0, &declared);
    judge_calls("EVALSHA of a sliding-window limit, its key not declared", 8000.0, &undeclared);
    judge_calls("EXEC of 10 commands, beyond DISCARD", 2000.0, &exec);
    let before = resident();
    for round in 0..(1_000_000 / scale / CLIENTS / EACH) {
        (0..CLIENTS * EACH).for_each(|number| limit(&mut session, round % 2 == 0, number));
        call(&mut session, &[b"FLUSHALL"]);
    }
    let grown = resident().saturating_sub(before) as f64 / f64::from(1 << 20);
    report("a million EVALs: memory that stays, by RSS", "MiB", grown, 1.0);
}
