//! What scripts do to an engine, its log, and those who wait for it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::commands::testing::{engine, execute};
use crate::{Config, Engine, Form, Session};

fn eval(session: &mut Session, script: &str) -> String {
    execute(session, &[b"EVAL", script.as_bytes(), b"0"])
}

#[test]
fn scripts_leave_no_memory_behind() {
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    let run = |session: &mut Session, round: usize| {
        for number in 0..600 {
            assert_eq!(
                eval(
                    session,
                    "local t = {} for i = 1, 10 do t[i] = i end return redis.call('incr', 'n') > 0"
                ),
                ":1\r\n"
            );
            assert_eq!(eval(session, &format!("return {round} + {number} * 0")), format!(":{round}\r\n"));
            assert!(eval(session, "return redis.call('nonsense')").starts_with("-ERR Unknown command"));
        }
        let (scripts, _) = engine.inner.scripts.cached();
        assert!(scripts <= 500, "{scripts}");
        engine.inner.scripts.vm_bytes()
    };
    run(&mut session, 0);
    let before = run(&mut session, 1);
    let after = (2..4).map(|round| run(&mut session, round)).max().unwrap_or(0);
    assert!(after < before + before / 2 + 1_000_000, "{before} {after}");
}

#[test]
fn engines_of_one_thread_share_nothing_that_scripts_change() {
    let (one, other) = (engine(""), engine(""));
    let (mut one, mut other) = (one.session(Form::Resp), other.session(Form::Resp));
    assert_eq!(eval(&mut one, "return cjson.encode_max_depth(5)"), ":5\r\n");
    assert_eq!(eval(&mut other, "return cjson.encode_max_depth()"), ":1000\r\n");
    assert_eq!(eval(&mut one, "return cjson.encode_max_depth()"), ":5\r\n");
    let counts =
        b"#!lua name=l\nlocal n = 0 redis.register_function('count', function() n = n + 1 return n end)";
    for session in [&mut one, &mut other] {
        assert_eq!(execute(session, &[b"FUNCTION", b"LOAD", counts]), "$1\r\nl\r\n");
    }
    assert_eq!(execute(&mut one, &[b"FCALL", b"count", b"0"]), ":1\r\n");
    assert_eq!(execute(&mut one, &[b"FCALL", b"count", b"0"]), ":2\r\n");
    assert_eq!(execute(&mut other, &[b"FCALL", b"count", b"0"]), ":1\r\n");
    assert_eq!(execute(&mut other, &[b"FUNCTION", b"FLUSH"]), "+OK\r\n");
    assert_eq!(execute(&mut one, &[b"FCALL", b"count", b"0"]), ":3\r\n");
}

#[test]
fn the_log_has_what_scripts_did_as_one_step_and_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        || Engine::builder().path(folder.path()).config(Config::from_text(b"").unwrap()).open().unwrap();
    let library = |name: &str, value: u8| {
        format!("#!lua name={name}\nredis.register_function('{name}_f', function() return {value} end)")
            .into_bytes()
    };
    let engine = open();
    let mut session = engine.session(Form::Resp);
    assert_eq!(
        eval(&mut session, "redis.call('set','a',1) redis.call('incr','b') return redis.call('spop','none')"),
        "$-1\r\n"
    );
    assert_eq!(eval(&mut session, "redis.call('select',1) redis.call('set','c',1)"), "$-1\r\n");
    for (name, value) in [("one", 1), ("two", 2), ("three", 3)] {
        execute(&mut session, &[b"FUNCTION", b"LOAD", &library(name, value)]);
    }
    execute(&mut session, &[b"FUNCTION", b"LOAD", b"REPLACE", &library("one", 9)]);
    assert_eq!(execute(&mut session, &[b"FUNCTION", b"DELETE", b"two"]), "+OK\r\n");
    // One that fails changes nothing.
    let taken = b"#!lua name=new\nredis.register_function('one_f', function() end)";
    assert!(
        execute(&mut session, &[b"FUNCTION", b"LOAD", taken])
            .starts_with("-ERR Function one_f already exists")
    );
    drop(session);
    drop(engine);
    let log = fs::read(folder.path().join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let log = String::from_utf8_lossy(&log).to_lowercase();
    assert!(!log.contains("eval") && log.contains("multi") && log.contains("exec"), "{log}");
    for round in 0..3 {
        let engine = open();
        let mut session = engine.session(Form::Resp);
        assert_eq!(execute(&mut session, &[b"MGET", b"a", b"b"]), "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
        assert_eq!(execute(&mut session, &[b"FCALL", b"one_f", b"0"]), ":9\r\n", "{round}");
        assert!(execute(&mut session, &[b"FCALL", b"two_f", b"0"]).starts_with("-ERR Function not found"));
        assert_eq!(execute(&mut session, &[b"FCALL", b"three_f", b"0"]), ":3\r\n");
        // What comes next is loaded from a base that was written anew.
        assert!(execute(&mut session, &[b"BGREWRITEAOF"]).starts_with('+'));
        while execute(&mut session, &[b"INFO", b"persistence"]).contains("aof_rewrite_in_progress:1") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn others_are_told_of_a_script_that_runs_for_too_long() {
    let engine =
        Engine::builder().config(Config::from_text(b"busy-reply-threshold 50").unwrap()).open().unwrap();
    let mut session = engine.session(Form::Resp);
    assert_eq!(execute(&mut session, &[b"SET", b"k", b"v"]), "+OK\r\n");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let runs = |script: &'static str| {
            let (engine, over) = (&engine, &over);
            over.store(false, Ordering::Relaxed);
            scope.spawn(move || {
                let reply = eval(&mut engine.session(Form::Resp), script);
                over.store(true, Ordering::Relaxed);
                reply
            })
        };
        let is_busy = |session: &mut Session, words: &[&[u8]]| execute(session, words).starts_with("-BUSY");
        let endless = runs("while true do pcall(function() while true do end end) end");
        // What takes no lock tells when it is; who came before the script would wait for its locks, and so would this test.
        while !is_busy(&mut session, &[b"PING", b"x"]) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Short cuts and all else.
        for words in [&[&b"SET"[..], b"k", b"w"][..], &[b"MGET", b"k", b"l"], &[b"EVAL", b"return 1", b"0"]] {
            while !is_busy(&mut session, words) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert_eq!(execute(&mut session, &[b"SCRIPT", b"KILL"]), "+OK\r\n");
        assert!(endless.join().unwrap().starts_with("-ERR Script killed by user with SCRIPT KILL."));
        assert!(execute(&mut session, &[b"SCRIPT", b"KILL"]).starts_with("-NOTBUSY"));
        assert_eq!(execute(&mut session, &[b"EVAL", b"return 1", b"0"]), ":1\r\n");
        // One that has written comes to its own end.
        let writes =
            runs("redis.call('set','k','x') local t = os.clock() while os.clock() - t < 0.3 do end return 7");
        while !is_busy(&mut session, &[b"PING", b"x"]) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(execute(&mut session, &[b"SCRIPT", b"KILL"]).starts_with("-UNKILLABLE"));
        assert_eq!(writes.join().unwrap(), ":7\r\n");
        assert_eq!(execute(&mut session, &[b"GET", b"k"]), "$1\r\nx\r\n");
    });
}

#[test]
fn scripts_of_several_threads_are_steps_of_one_row() {
    const EACH: usize = 300;
    let engine = engine("");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut session = engine.session(Form::Resp);
                for _ in 0..EACH {
                    eval(&mut session, "local n = redis.call('get','n') or 0 redis.call('set','n',n + 1) redis.call('incr','m')");
                    execute(&mut session, &[b"INCR", b"m"]);
                }
            });
        }
    });
    let mut session = engine.session(Form::Resp);
    assert_eq!(
        execute(&mut session, &[b"GET", b"n"]),
        format!("${}\r\n{}\r\n", (3 * EACH).to_string().len(), 3 * EACH)
    );
    assert_eq!(execute(&mut session, &[b"GET", b"m"]), format!("$4\r\n{}\r\n", 6 * EACH));
}

/// Accounts, more than there are shards among which they could fall together.
const ACCOUNTS: usize = 40;

fn account(number: usize) -> String {
    format!("account:{}", number % ACCOUNTS)
}

#[test]
fn scripts_that_touch_more_than_they_declare_stay_one_step_and_wait_for_nobody_who_waits() {
    /// From an account that is declared to one that is not.
    const MOVE: &[u8] =
        b"redis.call('DECRBY', KEYS[1], ARGV[2]) local got = redis.call('INCRBY', ARGV[1], ARGV[2]) return got";
    let engine = engine("");
    let mut session = engine.session(Form::Resp);
    for number in 0..ACCOUNTS {
        execute(&mut session, &[b"SET", account(number).as_bytes(), b"100"]);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let movers = [1, 7].map(|step| {
            let (engine, is_over) = (&engine, &is_over);
            scope.spawn(move || {
                let mut session = engine.session(Form::Resp);
                for round in 0..1500 {
                    let (from, to) = (account(round * step), account(round * step * 3 + 1));
                    let reply =
                        execute(&mut session, &[b"EVAL", MOVE, b"1", from.as_bytes(), to.as_bytes(), b"3"]);
                    assert!(reply.starts_with(':'), "{reply}");
                }
                is_over.store(true, Ordering::Relaxed);
            })
        });
        // Those who lock several shards, in a form that sees all accounts at one moment, and another that changes two.
        let (engine, is_over) = (&engine, &is_over);
        scope.spawn(move || {
            let mut session = engine.session(Form::Resp);
            let names: Vec<String> = (0..ACCOUNTS).map(account).collect();
            let mut words: Vec<&[u8]> = vec![b"MGET"];
            words.extend(names.iter().map(String::as_bytes));
            while !is_over.load(Ordering::Relaxed) {
                let reply = execute(&mut session, &words);
                let texts = reply.lines().filter(|line| !line.starts_with(['$', '*']));
                let sum: i64 = texts.map(|text| text.parse::<i64>().unwrap()).sum();
                assert_eq!(sum, 100 * ACCOUNTS as i64);
            }
        });
        scope.spawn(move || {
            let mut session = engine.session(Form::Resp);
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                execute(&mut session, &[b"MULTI"]);
                execute(&mut session, &[b"DECR", account(round).as_bytes()]);
                execute(&mut session, &[b"INCR", account(round * 5 + 2).as_bytes()]);
                assert!(execute(&mut session, &[b"EXEC"]).starts_with("*2"));
            }
        });
        movers.into_iter().for_each(|mover| mover.join().unwrap());
    });
}

#[test]
fn who_waits_for_several_keys_is_served_by_a_script_that_declares_one() {
    let engine = engine("");
    let (mut waiter, mut session) = (engine.session(Form::Resp), engine.session(Form::Resp));
    for number in 0..50 {
        let (one, other) = (format!("one:{number}"), format!("other:{number}"));
        let wait: [&[u8]; 4] = [b"BLMOVE", one.as_bytes(), other.as_bytes(), b"LEFT"];
        let wait = [&wait[..], &[b"RIGHT", b"0"]].concat();
        assert_eq!(waiter.begin(&wait), crate::command::Outcome::Blocked);
        let script = b"return redis.call('RPUSH', KEYS[1], 'element')";
        assert_eq!(execute(&mut session, &[b"EVAL", script, b"1", one.as_bytes()]), ":1\r\n");
        assert!(waiter.wait(None));
        assert_eq!(waiter.replies(), b"$7\r\nelement\r\n");
        assert_eq!(execute(&mut session, &[b"LLEN", other.as_bytes()]), ":1\r\n");
    }
}
