//! Tests of HyperLogLog commands: what the log and the watchers get of an estimate that is kept, and refusals of memory.

use std::sync::{Arc, Mutex};

use crate::commands::testing::ask;
use crate::store::memory::refusal;
use crate::{Clock, Engine, Error, Form, Group, Journal, Result, Session, Ticket};

/// What all keys hold that a test uses.
fn values(session: &mut Session) -> Vec<u8> {
    session.execute(&[b"MGET", b"dense", b"sparse", b"pages", b"shared", b"new"]).to_vec()
}

fn engine() -> Engine {
    Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap()
}

/// Adds elements by the thousand.
fn fill(session: &mut Session, key: &str, elements: std::ops::Range<u32>) {
    let elements: Vec<String> = elements.map(|element| format!("element:{element}")).collect();
    for some in elements.chunks(1000) {
        ask(session, &format!("PFADD {key} {}", some.join(" ")));
    }
}

#[test]
fn a_count_that_is_kept_is_a_change_and_any_further_is_none() {
    let engine = engine();
    let (mut one, mut other) = (engine.session(Form::Resp), engine.session(Form::Resp));
    ask(&mut one, "PFADD k a b c");
    for (counts, is_null) in [(1, true), (1, false)] {
        ask(&mut other, "WATCH k");
        for _ in 0..counts {
            assert_eq!(ask(&mut one, "PFCOUNT k"), ":3");
        }
        ask(&mut other, "MULTI");
        assert_eq!(ask(&mut other, "EXEC") == "*-1", is_null);
    }
}

#[test]
fn without_memory_nothing_is_added_and_what_is_dense_needs_none() {
    let engine = engine();
    let mut session = engine.session(Form::Resp);
    ask(&mut session, "CONFIG SET hll-sparse-max-bytes 0");
    fill(&mut session, "dense", 0..3000);
    ask(&mut session, "CONFIG SET hll-sparse-max-bytes 3000");
    fill(&mut session, "sparse", 0..50);
    // What was appended to stands in pages of its own, which a copy shares.
    let text = session.execute(&[b"GET", b"dense"]).to_vec();
    let text = &text[b"$12304\r\n".len()..][..12_304];
    session.execute(&[b"SET", b"pages", &text[..4000]]);
    session.execute(&[b"APPEND", b"pages", &text[4000..]]);
    ask(&mut session, "COPY pages shared");
    let before = values(&mut session);
    refusal::set(true);
    let refused =
        [ask(&mut session, "PFADD shared some new elements"), ask(&mut session, "PFMERGE new dense sparse")];
    let counted = [ask(&mut session, "PFCOUNT dense sparse"), ask(&mut session, "PFCOUNT shared")];
    refusal::set(false);
    assert!(refused.iter().all(|reply| reply.starts_with("-OOM")), "{refused:?}");
    assert!(counted.iter().all(|reply| reply == ":3002"), "{counted:?}");
    assert!(values(&mut session) == before);
    refusal::set(true);
    let added = ask(&mut session, "PFADD dense some new elements or other");
    refusal::set(false);
    assert_eq!(added, ":1");
    assert!(values(&mut session) != before);
}

/// A log that notes what it gets, and takes nothing while there is a reason.
#[derive(Default)]
struct Log {
    reason: Mutex<Option<Error>>,
    commands: Mutex<Vec<String>>,
}

impl Journal for Log {
    fn refusal(&self) -> Option<Error> {
        self.reason.lock().expect("no test panics under it").clone()
    }

    fn append(&self, group: &Group) -> Result<Ticket> {
        let mut commands = self.commands.lock().expect("no test panics under it");
        for effect in group.effects() {
            let words: Vec<_> = effect.words().map(String::from_utf8_lossy).collect();
            commands.push(words.join(" "));
        }
        Ok(Ticket::default())
    }
}

#[test]
fn the_log_gets_a_count_that_is_kept_and_where_it_refuses_none_is() {
    let engine = engine();
    let mut session = engine.session(Form::Resp);
    ask(&mut session, "PFADD k a b c");
    let log = Arc::new(Log::default());
    engine.set_journal(Some(log.clone()));
    let before = session.execute(&[b"GET", b"k"]).to_vec();
    *log.reason.lock().unwrap() = Some(Error::command("no room"));
    assert_eq!(ask(&mut session, "PFCOUNT k"), ":3");
    assert!(session.execute(&[b"GET", b"k"]) == before && log.commands.lock().unwrap().is_empty());
    *log.reason.lock().unwrap() = None;
    for _ in 0..2 {
        assert_eq!(ask(&mut session, "PFCOUNT k"), ":3");
    }
    assert!(session.execute(&[b"GET", b"k"]) != before);
    ask(&mut session, "PFCOUNT k k");
    assert_eq!(*log.commands.lock().unwrap(), ["PFCOUNT k"]);
}
