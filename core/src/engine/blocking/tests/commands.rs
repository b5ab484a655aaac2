//! Two commands that wait, for tests: no command of the list waits for keys yet.

use std::time::Duration;

use crate::Session;
use crate::command::run::{self, Found};
use crate::command::{Attempt, Block, Command, Outcome, Parse, Reply};
use crate::commands::table;
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Takes the string of the first of these keys that has one, or waits.
#[derive(Command)]
#[command(
    name = "TAKE", group = Generic, since = "0.0.0", complexity = "O(N)", arity = -3,
    flags(WRITE, BLOCKING), reply = "any",
)]
struct Take<'a> {
    timeout_ms: i64,
    #[key(RW, ACCESS, DELETE, last = -1)]
    key: Vec<Key<'a>>,
}

fn patience(timeout_ms: i64) -> Option<Duration> {
    (timeout_ms > 0).then_some(Duration::from_millis(timeout_ms as u64))
}

impl Block for Take<'_> {
    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        for key in &self.key {
            let Some(entry) = db.lookup(key) else { continue };
            let text = entry.value().text()?.to_vec();
            reply.array(2);
            reply.bulk(key.bytes());
            reply.bulk(&text);
            reply.check()?;
            db.remove(key);
            db.notify(EventClass::Generic, "taken", key.bytes());
            db.propagate(|| [b"DEL", key.bytes()]);
            return Ok(Attempt::Done);
        }
        Ok(Attempt::Wait)
    }

    fn patience(&self) -> Option<Duration> {
        patience(self.timeout_ms)
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        self.key.iter().for_each(|key| visit(key.bytes()));
    }
}

/// Moves the string of a key to another key, or waits for it.
#[derive(Command)]
#[command(
    name = "PASS", group = Generic, since = "0.0.0", complexity = "O(1)", arity = 4,
    flags(WRITE, BLOCKING), reply = "any",
)]
struct Pass<'a> {
    timeout_ms: i64,
    #[key(RW, ACCESS, DELETE)]
    source: Key<'a>,
    #[key(RW, INSERT)]
    destination: Key<'a>,
}

impl Block for Pass<'_> {
    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let index = db.index();
        match db.relocate(&self.source, &self.destination, index)? {
            None => return Ok(Attempt::Wait),
            Some(()) => db.propagate(|| [b"RENAME", self.source.bytes(), self.destination.bytes()]),
        }
        reply.ok();
        Ok(Attempt::Done)
    }

    fn patience(&self) -> Option<Duration> {
        patience(self.timeout_ms)
    }

    fn give_up(&self, reply: &mut Reply) {
        reply.null();
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        visit(self.source.bytes());
    }
}

/// What these commands are counted as: a command of the list that may reply anything.
pub(super) fn found(name: &[u8]) -> Found {
    let id = table::by_name(b"client").unwrap().id;
    match name {
        b"TAKE" => Found { spec: <Take<'static> as Parse<'static>>::SPEC, id, run: Take::RUN },
        _ => Found { spec: <Pass<'static> as Parse<'static>>::SPEC, id, run: Pass::RUN },
    }
}

/// Begins TAKE or PASS.
pub(crate) fn begin(session: &mut Session, line: &str) -> Outcome {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let Session { client, reply, .. } = session;
    reply.clear();
    run::execute(&client.engine.inner, &mut client.state, Ok(&found(argv[0])), &argv, reply)
}
